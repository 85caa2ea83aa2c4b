#!/usr/bin/env bash
# In the machine of scripts/machine-tcg.sh: Debian's containerd saves and restores a container, with the programs in $1
# behind it; once through runc's shim with our runtime, once through our shim in its place.
set -euo pipefail
bin=$1
export PATH=$bin:/usr/sbin:/usr/bin:/sbin:/bin
work=$(mktemp -d)
mkdir -p "$work"/rootfs/{bin,dev,etc,proc,sys,tmp,run}
cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
for applet in sh sleep echo cat mv; do ln -s busybox "$work/rootfs/bin/$applet"; done
umoci init --layout "$work/image"
umoci new --image "$work/image:latest"
umoci insert --image "$work/image:latest" "$work/rootfs" /
cat >"$work/containerd.toml" <<END
version = 2
root = "$work/root"
state = "/run/sampan-test-containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$work/containerd.sock"
END
trap 'kill $daemon; tail -n 20 "$work/log" >&2' EXIT
c() { ctr -a "$work/containerd.sock" "$@"; }
count() { c tasks exec --exec-id "e$RANDOM$RANDOM" "$1" cat /tmp/count; }
running() { c tasks ls | grep -q "^$1 .*RUNNING"; }
# ctr passes options only to shims with runc's name, so ours stands in for it.
mkdir "$work/theirs" "$work/ours"
ln -s "$bin/containerd-shim-sampan-v2" "$work/ours/containerd-shim-runc-v2"

for shim in ours theirs; do
  PATH=$work/$shim:$PATH containerd -c "$work/containerd.toml" >"$work/log" 2>&1 &
  daemon=$!
  for _ in $(seq 200); do c version >/dev/null 2>&1 && break; sleep 0.2; done
  tar -C "$work/image" -c . | c images import --base-name local/busybox -
  one=one-$shim two=two-$shim
  c run -d --runtime io.containerd.runc.v2 --runc-binary "$bin/sampan-runtime" local/busybox:latest "$one" \
    sh -c 'i=0; while :; do i=$((i+1)); echo $i >/tmp/new; mv /tmp/new /tmp/count; sleep 0.2; done'
  sleep 2
  # The container's parent is the shim.
  pid=$(c tasks ls | sed -n "s/^$one  *\([0-9]*\) .*/\1/p")
  program=$(readlink "/proc/$(sed 's/.*) . \([0-9]*\) .*/\1/' "/proc/$pid/stat")/exe")
  before=$(count "$one")
  c tasks checkpoint --image-path "$work/$one" "$one"
  [ -s "$work/$one/inventory.img" ]
  c containers checkpoint --rw --task --image "$one" "local/saved:$one"
  after=$(count "$one")
  [ "$after" -gt "$before" ]
  c tasks kill -s KILL "$one"
  for _ in $(seq 50); do running "$one" || break; sleep 0.2; done
  c tasks rm "$one" || true
  c containers rm "$one"
  c containers restore --rw --live "$two" "local/saved:$one" >"$work/restore" 2>&1 &
  for _ in $(seq 100); do running "$two" && break; sleep 0.3; done
  restored=$(count "$two") || { cat "$work/restore"; exit 1; }
  [ "$restored" -ge "$before" ]
  sleep 2
  [ "$(count "$two")" -gt "$restored" ]
  c tasks kill -s KILL "$two"
  for _ in $(seq 50); do running "$two" || break; sleep 0.2; done
  if running "$two"; then exit 1; fi
  c tasks rm "$two" || true
  c containers rm "$two"
  kill "$daemon"
  wait "$daemon" || true
  echo "restored through the shim $program: $before, $after, $restored"
done
trap - EXIT
