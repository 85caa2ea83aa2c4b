#!/usr/bin/env bash
# Runs the tests of checkpoint and restore with the real criu, on a machine where it works: Debian's kernel, emulated.
# Arguments are libtest's:
#
#   scripts/test-criu.sh                        all of them, in two machines side by side
#   scripts/test-criu.sh bind_mounts            those with this in their names, in one
set -euo pipefail
cd "$(dirname "$0")/.."

program=$(cargo test --quiet --locked -p sampan-runtime --test checkpoint_criu --no-run --message-format=json |
  jq -r 'select(.reason == "compiler-artifact" and .profile.test and .executable != null) | .executable')

if (($#)); then
  exec scripts/machine-tcg.sh --timeout 1800 "$program" --test-threads=1 "$@"
fi
mapfile -t tests < <("$program" --list --format=terse | sed -n 's/: test$//p')
half=$(((${#tests[@]} + 1) / 2))
failed=0
scripts/machine-tcg.sh --timeout 1800 "$program" --test-threads=1 --exact "${tests[@]:0:half}" &
first=$!
scripts/machine-tcg.sh --timeout 1800 "$program" --test-threads=1 --exact "${tests[@]:half}" || failed=1
wait "$first" || failed=1
exit "$failed"
