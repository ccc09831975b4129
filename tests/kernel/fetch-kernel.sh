#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fetches the newest kernel package of Debian 12 and unpacks it into a folder.
# Nothing of it is installed: this machine goes on with its own kernel.
#
#     fetch-kernel.sh FOLDER    makes FOLDER/boot, FOLDER/lib/modules
set -eu
folder=$1
[ ! -e "$folder/complete" ] || exit 0
rm -rf "$folder"
mkdir -p "$folder"
apt-get update -qq
package=$(apt-cache depends linux-image-amd64 |
          sed -n 's/^ *Depends: \(linux-image-6\.1\.[^ ]*\)$/\1/p')
[ -n "$package" ] || {
    echo "linux-image-amd64 of this machine's package sources is not" \
         "Debian 12's Linux 6.1" >&2
    exit 1
}
echo "  FETCH   $package into $folder (70 MB, not installed)"
(cd "$folder" && apt-get download -qq -o APT::Sandbox::User=root "$package")
dpkg-deb -x "$folder"/linux-image-*.deb "$folder"
rm "$folder"/linux-image-*.deb
depmod -b "$folder" "$(ls "$folder/lib/modules")"
touch "$folder/complete"
