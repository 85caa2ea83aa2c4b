#!/usr/bin/env bash
# Runs the tests of other people's engines with our runtime on cgroup v2, on Debian's kernel, emulated. Where systemd is
# pid 1 it makes the cgroups, else the runtime does. After the kind of machine, arguments are libtest's:
#
#   scripts/test-engines.sh                     all of them, in one machine of each kind, one after the other
#   scripts/test-engines.sh systemd podman      those with this in their names, with systemd
set -euo pipefail
cd "$(dirname "$0")/.."

kinds=(plain systemd)
case ${1:-} in plain | systemd) kinds=("$1") && shift ;; esac
program=$(cargo test --quiet --locked -p sampan-runtime --test engines --no-run --message-format=json |
  jq -r 'select(.reason == "compiler-artifact" and .profile.test and .executable != null) | .executable')

failed=0
for kind in "${kinds[@]}"; do
  echo "# $kind"
  # Not in /tmp: systemd empties it when a user's own systemd starts.
  scripts/machine-tcg.sh --init "$kind" --timeout 1800 \
    env TMPDIR=/var/tmp "$program" --color=never --test-threads=2 "$@" || failed=1
done
exit "$failed"
