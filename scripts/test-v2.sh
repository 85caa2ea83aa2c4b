#!/usr/bin/env bash
# Runs the tests of sampan-runtime on a machine with cgroup v2. Arguments are libtest's, and go to each test program:
#
#   scripts/test-v2.sh                          all of them that make sense there
#   scripts/test-v2.sh limits_are_set           those with this in their names
set -euo pipefail
cd "$(dirname "$0")/.."

list=$(cargo test --quiet --locked -p sampan-runtime --no-run --message-format=json |
  jq -r 'select(.reason == "compiler-artifact" and .profile.test and .executable != null) | .executable')
mapfile -t programs <<< "$list"
if [ $# = 0 ]; then
  # Hundreds of containers each, hours on one slow processor, and a race needs two;
  # those of engines, systemd and criu have a machine of their own.
  mapfile -t programs < <(printf '%s\n' "${programs[@]}" |
    grep -Ev '/(scenarios|fuzz|engines|systemd|checkpoint_criu)-[0-9a-f]+$')
  set -- --skip races::
  echo "skipped: scenarios, fuzz, engines, systemd, checkpoint_criu and races; name one of their tests to run it"
fi
# One thread: the machine has one processor, and a test's own waits are what is slow.
# shellcheck disable=SC2016
exec scripts/machine-uml.sh -t 3600 sh -c '
  failed=0
  while [ "$1" != -- ]; do programs="$programs $1"; shift; done
  shift
  for program in $programs; do
    echo "# ${program##*/}"
    "$program" --test-threads=1 "$@" || failed=1
  done
  exit $failed' sh "${programs[@]}" -- "$@"
