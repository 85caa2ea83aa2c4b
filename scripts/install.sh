#!/usr/bin/env bash
# install.sh [--remove] DESTDIR PREFIX BIN: programs, systemd units, completions and man pages.
set -euo pipefail
remove=
if [ "$1" = --remove ]; then remove=1; shift; fi
root=$1$2 bin=$3
here=$(cd "$(dirname "$0")/.." && pwd)

files=(
  bin/sampan bin/sampand bin/sampan-runtime bin/sampan-net bin/containerd-shim-sampan-v2
  lib/systemd/system/sampand.service
  share/bash-completion/completions/sampan share/zsh/site-functions/_sampan share/fish/vendor_completions.d/sampan.fish
)
if [ -n "$remove" ]; then
  for file in "${files[@]}"; do rm -f "$root/$file"; done
  rm -f "$root"/share/man/man1/sampan.1 "$root"/share/man/man1/sampan-*.1
  exit 0
fi

for program in sampan sampand sampan-runtime sampan-net containerd-shim-sampan-v2; do
  install -D -m 755 "$bin/$program" "$root/bin/$program"
done
install -d "$root/lib/systemd/system" "$root/share/man/man1"
for unit in sampand.service; do
  sed "s|@PREFIX@|$2|g" "$here/dist/$unit" > "$root/lib/systemd/system/$unit"
done
install -d "$root/share/bash-completion/completions" "$root/share/zsh/site-functions" "$root/share/fish/vendor_completions.d"
"$bin/sampan" completion bash > "$root/share/bash-completion/completions/sampan"
"$bin/sampan" completion zsh > "$root/share/zsh/site-functions/_sampan"
"$bin/sampan" completion fish > "$root/share/fish/vendor_completions.d/sampan.fish"
"$bin/sampan" man "$root/share/man/man1"
