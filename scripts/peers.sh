#!/usr/bin/env bash
# Installs, from Debian's packages, the real programs that the tests talk to, and says which.
set -euo pipefail

packages=(
  runc crun              # OCI runtimes: peers in the runtime's tests, and run under our shim
  containerd podman conmon docker.io buildah  # engines that run our parts, and are measured beside us
  skopeo umoci docker-registry                # make, copy and serve images
  containernetworking-plugins nftables iproute2 iptables  # oracles and peers for the network
  busybox-static mmdebstrap                   # what images are made from
  user-mode-linux                             # a machine with cgroup v2: scripts/machine-uml.sh
  qemu-system-x86 cpio systemd dbus dbus-user-session uidmap  # one with Debian's kernel: scripts/machine-tcg.sh
  apparmor              # its parser, for the runtime's test on a kernel that has it
  criu                                        # checkpoint and restore, in that machine: scripts/test-criu.sh
  strace hyperfine libseccomp-dev netcat-openbsd jq openssl apache2-utils
)

# Not a Debian package, so looked for by itself.
if ! command -v cargo-nextest > /dev/null; then
  echo "peers: installing cargo-nextest from crates.io"
  cargo install --quiet --locked cargo-nextest
fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "peers: all ${#packages[@]} Debian packages are installed already"
  exit 0
fi
if [ "$(id -u)" != 0 ]; then
  echo "peers: missing packages: ${missing[*]}; run as root: apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "peers: installing from Debian: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# The daemons among them are started by the tests in private roots; keep the packages from starting system services.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
fi
apt-get -o Acquire::Retries=5 update -qq
apt-get -o Acquire::Retries=5 install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
echo "peers: installed ${#missing[@]} packages"
