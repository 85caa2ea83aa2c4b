#!/usr/bin/env bash
# Runs a command in a machine of its own: Debian's kernel under qemu's emulation, on this host's own root.
#
#   scripts/machine-tcg.sh [--init plain|systemd] [--cgroup v2|hybrid|v1] [--share DIR] [--memory MiB] [--cpus N]
#                          [--timeout SECONDS] COMMAND [ARGUMENT...]
#
# The command runs as root in the directory it is called from, with the environment's PATH, and sees the host's files.
# Whatever it writes is lost, except below --share (the same path inside). Its output and its exit status are this
# script's. There is no network but loopback.
#
# --init plain     the command's parent is a small pid 1; cgroups are mounted as --cgroup says (default).
# --init systemd   pid 1 is the host's systemd, with the system bus; machine.service is the command.
# --cgroup v2      one hierarchy with every controller (default); hybrid, v1: as systemd lays them out.
#
# The kernel is downloaded and unpacked once, into $SAMPAN_MACHINE_CACHE (default: <target>/machine).
set -euo pipefail

init=plain cgroup=v2 share= memory=2048 cpus=2 timeout=900
usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2; exit 125; }
while (($#)); do
  case $1 in
    --init) init=$2; shift 2 ;;
    --cgroup) cgroup=$2; shift 2 ;;
    --share) share=$(realpath -e "$2"); shift 2 ;;
    --memory) memory=$2; shift 2 ;;
    --cpus) cpus=$2; shift 2 ;;
    --timeout) timeout=$2; shift 2 ;;
    --) shift; break ;;
    -*) usage ;;
    *) break ;;
  esac
done
(($#)) || usage
case $init:$cgroup in plain:v2 | plain:v1 | plain:hybrid | systemd:v2 | systemd:v1 | systemd:hybrid) ;; *) usage ;; esac

repository=$(cd "$(dirname "$0")/.." && pwd)
cache=${SAMPAN_MACHINE_CACHE:-${CARGO_TARGET_DIR:-$repository/target}/machine}
mkdir -p "$cache"
cache=$(realpath "$cache")
[ "$(id -u)" = 0 ] || { echo "machine-tcg: needs root, as whom files are read" >&2; exit 125; }
for program in qemu-system-x86_64 cpio busybox; do
  command -v "$program" >/dev/null || { echo "machine-tcg: $program is missing; run scripts/peers.sh" >&2; exit 125; }
done

# The modules that the first file system needs, each after those it builds on.
first_modules=(
  drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_modern_dev
  drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci fs/netfs/netfs fs/fscache/fscache net/9p/9pnet
  net/9p/9pnet_virtio fs/9p/9p fs/overlayfs/overlay
)

# Fills the cache: boot/vmlinuz-*, lib/modules/*. Never installs anything.
fetch_kernel() {
  echo "machine-tcg: fetching Debian's kernel into $cache" >&2
  local package staging
  package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -1)
  [ -n "$package" ] || { echo "machine-tcg: apt knows no linux-image-amd64; run apt-get update" >&2; exit 125; }
  staging=$(mktemp -d "$cache/fetch.XXXXXX")
  (cd "$staging" && apt-get -o Acquire::Retries=5 -o APT::Sandbox::User=root download "$package" >/dev/null)
  dpkg -x "$staging"/*.deb "$staging/kernel"
  local version
  version=$(ls "$staging/kernel/lib/modules")
  busybox depmod -b "$staging/kernel" "$version"
  rm -rf "$cache/kernel"
  mv "$staging/kernel" "$cache/kernel"
  rm -rf "$staging"
}

# The initial file system: static busybox, the modules above, and the program that goes on to the host's root.
build_initramfs() {
  local version modules tree
  version=$(ls "$cache/kernel/lib/modules")
  modules=$cache/kernel/lib/modules/$version/kernel
  tree=$(mktemp -d "$cache/initramfs.XXXXXX")
  mkdir -p "$tree"/{bin,dev,proc,sys,host,writable,root,modules}
  cp "$(command -v busybox)" "$tree/bin/busybox"
  local number=10
  for module in "${first_modules[@]}"; do
    cp "$modules/$module.ko" "$tree/modules/$number-${module##*/}.ko"
    number=$((number + 1))
  done
  cp "$repository/scripts/machine-init.sh" "$tree/init"
  chmod 755 "$tree/init"
  (cd "$tree" && find . | cpio -o -H newc -R 0:0 --quiet) >"$cache/initramfs.new"
  mv "$cache/initramfs.new" "$cache/initramfs"
  rm -rf "$tree"
}

exec 9>"$cache/lock"
flock 9
[ -d "$cache/kernel/lib/modules" ] || fetch_kernel
if [ ! -e "$cache/initramfs" ] || [ "$repository/scripts/machine-init.sh" -nt "$cache/initramfs" ] ||
  [ "$0" -nt "$cache/initramfs" ]; then
  build_initramfs
fi
exec 9>&-

directory=$(mktemp -d "${TMPDIR:-/tmp}/sampan-machine.XXXXXX")
machine=
finish() {
  code=$?
  [ -z "$machine" ] || kill "$machine" 2>/dev/null || true
  rm -rf "$directory"
  exit "$code"
}
trap finish EXIT
trap 'exit 125' INT TERM HUP
{
  printf 'export PATH=%q HOME=/root SAMPAN_MACHINE=tcg\n' "$PATH"
  # What test programs look at.
  for name in ${!CARGO_*} ${!NEXTEST*} ${!RUST_*} ${!SAMPAN_*}; do printf 'export %s=%q\n' "$name" "${!name}"; done
  printf 'cd %q\n' "$PWD"
  printf '%q ' "$@"
  echo
} >"$directory/command"

# On a busy host the emulated timer is too late for the kernel's check of it, which would end in a panic.
append="no_timer_check console=ttyS0 quiet loglevel=3 panic=-1 rdinit=/init machine.init=$init machine.cgroup=$cgroup"
append+=" machine.modules=$cache/kernel/lib/modules machine.share=$share"
# systemd's own words for the layout; it mounts the hierarchies itself.
case $cgroup in
  v2) append+=" systemd.unified_cgroup_hierarchy=1" ;;
  hybrid) append+=" systemd.unified_cgroup_hierarchy=0" ;;
  v1) append+=" systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1" ;;
esac
append+=" systemd.unit=machine.target systemd.show_status=no systemd.log_target=console"

virtfs() { echo "local,path=$1,mount_tag=$2,security_model=none,multidevs=remap${3:-}"; }
qemu=(
  qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp "$cpus" -m "$memory" -no-reboot -display none -nodefaults
  -kernel "$(ls "$cache"/kernel/boot/vmlinuz-*)" -initrd "$cache/initramfs" -append "$append"
  -virtfs "$(virtfs / root ,readonly=on)" -virtfs "$(virtfs "$directory" machine)"
  -serial "file:$directory/console" -chardev stdio,id=output,signal=off -serial chardev:output
)
[ -z "$share" ] || qemu+=(-virtfs "$(virtfs "$share" share)")

outcome=0
timeout --kill-after=5 "$timeout" "${qemu[@]}" </dev/null &
machine=$!
wait "$machine" || outcome=$?
machine=
if [ -e "$directory/status" ]; then
  exit "$(cat "$directory/status")"
fi
case $outcome in
  124 | 137) echo "machine-tcg: the machine did not end within $timeout seconds; its console:" >&2 ;;
  *) echo "machine-tcg: the machine ended (qemu: $outcome) before the command did; its console:" >&2 ;;
esac
tail -n 40 "$directory/console" >&2 || true
exit 125
