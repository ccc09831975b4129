#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Packs what the guest boots from: busybox, the modules that lead to this
# machine's root file system, and the settings of the run.
#
#     make-initramfs.sh KERNEL-FOLDER SETTINGS OUTPUT
set -eu
kernel=$1 settings=$2 output=$3
version=$(ls "$kernel/lib/modules")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir "$root/bin" "$root/modules" "$root/proc" "$root/sys" "$root/dev" \
    "$root/lower" "$root/upper" "$root/root"
cp /bin/busybox "$root/bin/"
n=100
for module in virtio_pci 9pnet_virtio 9p overlay; do
    modprobe -d "$kernel" -S "$version" --show-depends $module
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
while read -r file; do
    n=$((n + 1))
    cp "$file" "$root/modules/$n-$(basename "$file")"
done
cp "$(dirname "$0")/guest-init" "$root/init"
cp "$settings" "$root/settings"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) > "$output"
