#!/usr/bin/env bash
# Runs the tests of checkpoint and restore with the real criu, on a machine where it works: Debian's kernel, emulated.
# Arguments are libtest's:
#
#   scripts/test-criu.sh                        all of them, in two machines side by side, and then those of podman and,
#                                               with hybrid cgroups, those of mounts
#   scripts/test-criu.sh bind_mounts            those with this in their names, in one
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t programs < <(cargo test --quiet --locked -p sampan-runtime --test checkpoint_criu --test checkpoint_podman \
  --no-run --message-format=json |
  jq -r 'select(.reason == "compiler-artifact" and .profile.test and .executable != null) | .executable' | sort)
criu=${programs[0]} podman=${programs[1]}

machine() { scripts/machine-tcg.sh --timeout 1800 "$@"; }
if (($#)); then
  machine bash -c '"$1" --test-threads=1 "${@:3}" && "$2" --test-threads=1 "${@:3}"' tests "$criu" "$podman" "$@"
  exit
fi
mapfile -t tests < <("$criu" --list --format=terse | sed -n 's/: test$//p')
half=$(((${#tests[@]} + 1) / 2))
failed=0
# Two machines would write into each other's lines.
said=$(mktemp)
trap 'rm -f "$said"' EXIT
{
  code=0
  machine "$criu" --test-threads=1 --exact "${tests[@]:0:half}" || code=1
  machine "$podman" --test-threads=1 || code=1
  exit "$code"
} >"$said" 2>&1 &
first=$!
machine "$criu" --test-threads=1 --exact "${tests[@]:half}" || failed=1
machine --cgroup hybrid "$criu" --test-threads=1 bind_mounts || failed=1
wait "$first" || failed=1
cat "$said"
exit "$failed"
