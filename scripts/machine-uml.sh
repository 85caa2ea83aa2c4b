#!/usr/bin/env bash
# Runs one command on a machine with cgroup v2 and reports how it ended: User-Mode Linux on this machine's own root.
#
#   scripts/machine-uml.sh [-m MEMORY] [-t SECONDS] COMMAND [ARGUMENT...]
#
# The machine sees this one's files read-only; /tmp, /var/tmp and /run are its own, and /sys/fs/cgroup is cgroup v2 with cpu, io,
# memory and pids. It ends with the command, whose output and exit status become this script's; 125 is the machine's own
# failure. It has one slow processor: time nothing in it.
set -euo pipefail

memory=1024M
limit=1500
while getopts 'm:t:' option; do
  case $option in
    m) memory=$OPTARG ;;
    t) limit=$OPTARG ;;
    *) exit 125 ;;
  esac
done
shift $((OPTIND - 1))
if [ $# = 0 ]; then
  echo "usage: $0 [-m MEMORY] [-t SECONDS] COMMAND [ARGUMENT...]" >&2
  exit 125
fi
if ! command -v linux.uml > /dev/null; then
  echo "machine-uml: linux.uml is missing; install Debian's package user-mode-linux (make peers does)" >&2
  exit 125
fi
if [ "$(id -u)" != 0 ]; then
  echo "machine-uml: needs root: its pid 1 would not be root in the machine" >&2
  exit 125
fi

dir=$(mktemp -d /tmp/sampan-uml.XXXXXX)
machine= reader=
finish() {
  code=$?
  [ -z "$reader" ] || kill "$reader" 2> /dev/null || true
  # Not -KILL: it is timeout's, which hands it on to the machine and sees to its end.
  if [ -n "$machine" ] && kill "$machine" 2> /dev/null; then wait "$machine" || true; fi
  rm -rf "$dir"
  exit "$code"
}
trap finish EXIT
trap 'exit 125' INT TERM HUP
: > "$dir/out"

# What the machine's pid 1 does. It is read before /tmp, where it lies, is covered.
cat > "$dir/init" << END
#!/bin/bash
{
  export PATH=$(printf %q "$PATH") HOME=/root RUST_BACKTRACE=0 SAMPAN_MACHINE=uml
  mount -t proc proc /proc
  mount -t sysfs sysfs /sys
  mount -t devtmpfs dev /dev
  mkdir -p /dev/pts /dev/shm
  mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts /dev/pts
  mount -t tmpfs tmpfs /dev/shm
  ln -sf /proc/self/fd /dev/fd
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir /run/lock /run/machine
  mount -t hostfs -o $dir machine /run/machine
  exec > /run/machine/out 2>&1 < /dev/null
  mount -t tmpfs -o mode=1777 tmpfs /tmp
  mount -t tmpfs -o mode=1777 tmpfs /var/tmp
  for directory in /var/cache /var/lib/containers; do # podman's locks
    if [ -d \$directory ]; then mount -t tmpfs -o mode=755 tmpfs \$directory; fi
  done
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  for module in overlay veth; do
    insmod \$(find /usr/lib/uml/modules -name \$module.ko) 2> /dev/null || true
  done
  ip link set lo up
  hostname machine
  cd $(printf %q "$PWD")
  $(printf '%q ' "$@")
  echo \$? > /run/machine/status
  halt -f > /dev/null 2>&1
}
END
chmod 700 "$dir/init"

# uml_dir: the management socket would otherwise be left in the home directory.
timeout -k 5 "$limit" linux.uml mem="$memory" rootfstype=hostfs rootflags=/ ro init="$dir/init" uml_dir="$dir/" umid=m \
  con0=null,fd:1 con=null quiet pty.legacy_count=0 < /dev/null > "$dir/console" 2>&1 &
machine=$!
tail -q -n +1 -s 0.1 -f --pid=$machine "$dir/out" &
reader=$!
wait "$machine" || true
machine=
wait "$reader" || true
reader=
if [ ! -s "$dir/status" ]; then
  echo "machine-uml: the machine ended, or was ended after $limit seconds, before the command did:" >&2
  tail -n 30 "$dir/console" >&2
  exit 125
fi
exit "$(cat "$dir/status")"
