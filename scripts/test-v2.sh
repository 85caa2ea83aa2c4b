#!/usr/bin/env bash
# Runs the tests of sampan-runtime on a machine with cgroup v2. Arguments are libtest's, and go to each test program:
#
#   scripts/test-v2.sh                          all of them
#   scripts/test-v2.sh limits_are_set           those with this in their names
set -euo pipefail
cd "$(dirname "$0")/.."

list=$(cargo test --quiet --locked -p sampan-runtime --no-run --message-format=json |
  jq -r 'select(.reason == "compiler-artifact" and .profile.test and .executable != null) | .executable')
mapfile -t programs <<< "$list"
# One thread: the machine has one processor, and a test's own waits are what is slow.
# shellcheck disable=SC2016
exec scripts/machine-uml.sh sh -c '
  failed=0
  while [ "$1" != -- ]; do programs="$programs $1"; shift; done
  shift
  for program in $programs; do
    echo "# ${program##*/}"
    "$program" --test-threads=1 "$@" || failed=1
  done
  exit $failed' sh "${programs[@]}" -- "$@"
