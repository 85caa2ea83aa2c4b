#!/usr/bin/env bash
# A private node with embedded defaults runs one container from an image and shows how it started.
# It needs no network and leaves nothing behind: `sampand --ephemeral` removes what it made when it ends.
set -euo pipefail
bin=$(cd "$1" && pwd)

if [ "$(id -u)" != 0 ]; then
  echo "make run needs root: it makes namespaces, mounts and cgroups. Try: sudo -E make run" >&2
  exit 1
fi

dir=$(mktemp -d /tmp/sampan-run.XXXXXX)
daemon=
finish() {
  code=$?
  if [ -n "$daemon" ] && kill -TERM "$daemon" 2>/dev/null; then wait "$daemon" || code=$?; fi
  [ "$code" = 0 ] || cat "$dir/sampand.log" >&2
  rm -rf "$dir"
  exit "$code"
}
trap finish EXIT

"$bin/sampand" --ephemeral --root "$dir/root" --state "$dir/state" --docker-socket "$dir/docker.sock" \
  --cgroup-parent "/${dir##*/}" >"$dir/sampand.log" 2>&1 &
daemon=$!

export SAMPAN_HOST="unix://$dir/docker.sock" DOCKER_CONFIG="$dir"
for _ in $(seq 500); do
  if [ -S "$dir/docker.sock" ]; then break; fi
  kill -0 "$daemon" 2>/dev/null || { daemon=; exit 1; }
  sleep 0.01
done

echo '$ sampan run --rm --timeline hello'
"$bin/sampan" run --rm --timeline hello
