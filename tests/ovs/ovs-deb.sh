#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# ovs-deb.sh OVS_BUILD_DIR: Debian packages of the patched Open vSwitch, in
# OVS_BUILD_DIR/ovs-deb.  Debian's own packaging is used, with the series on
# top; the flavour that is linked with DPDK is left out, because it is the one
# thing that pulls in all of DPDK.  Build dependencies that are missing are
# installed.
set -u

patches=$(cd "$(dirname "$0")/../../ovs-patches" && pwd)
top=$(cd "$1" && pwd) || exit 1
tarball=${OVS_TARBALL:-/usr/src/openvswitch/openvswitch.tar.gz}
deb=$top/ovs-deb
src=$deb/openvswitch
log=$deb/build.log

# Debian's packages are built with Debian's Python.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES CFLAGS LDFLAGS CPPFLAGS LIBS

step() {
    echo "  DEB  $1"
    shift
    "$@" >> "$log" 2>&1 || {
        tail -n 30 "$log"
        echo "  DEB  failed; the whole log is $log"
        exit 1
    }
}

unpack() {
    rm -rf "$src" && mkdir "$src" &&
        tar xzf "$tarball" -C "$src" --strip-components=1
}

apply() {
    grep -v '^[[:space:]]*\(#\|$\)' "$patches/series" | while read -r patch; do
        patch -p1 --no-backup-if-mismatch -d "$src" < "$patches/$patch" ||
            exit 1
    done
}

# Debian's rules build everything twice, the second time with DPDK.
without_dpdk() {
    python3 - "$src/debian" <<'PY'
import re
import sys

def edit(name, change):
    path = sys.argv[1] + "/" + name
    with open(path) as f:
        before = f.read()
    after = change(before)
    assert after != before, name
    with open(path, "w") as f:
        f.write(after)

def control(text):
    paragraphs = [p for p in re.split(r"\n\n+", text)
                  if "Package: openvswitch-switch-dpdk" not in p]
    return re.sub(r"\n libdpdk-dev[^\n]*", "", "\n\n".join(paragraphs))

edit("control", control)
edit("rules", lambda text: re.sub(
    r"ifneq \(,\$\(filter i386[^\n]*\)\)", "ifneq (,)", text))
PY
}

changelog() {
    version=$(dpkg-parsechangelog -l "$src/debian/changelog" -S Version)+sal1
    {
        printf 'openvswitch (%s) bookworm; urgency=medium\n\n' "$version"
        printf '  * Match Service Access Layer fields:\n'
        grep -v '^[[:space:]]*\(#\|$\)' "$patches/series" |
            sed 's/^/    - /; s/\.patch$//'
        printf '\n -- Salient developers <developers@salient.invalid>  %s\n\n' \
            "$(LC_ALL=C date -R)"
        cat "$src/debian/changelog"
    } > "$deb/changelog" && mv "$deb/changelog" "$src/debian/changelog"
}

dependencies() {
    missing=$(cd "$src" && dpkg-checkbuilddeps 2>&1 |
        sed -n 's/.*[Uu]nmet build dependencies: //p' | sed 's/ ([^)]*)//g')
    # A sequence of debhelper is a virtual package.
    missing=$(echo "$missing" | sed 's/dh-sequence-python3/dh-python/
        s/dh-sequence-sphinxdoc/python3-sphinx/
        s/debhelper-compat/debhelper/')
    [ -z "$missing" ] && return
    echo "installing: $missing"
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y \
        --no-install-recommends $missing
}

build() {
    cd "$src" && DEB_BUILD_OPTIONS="nocheck parallel=$(nproc)" \
        dpkg-buildpackage -b -uc -us
}

mkdir -p "$deb"
: > "$log"
step unpack unpack
step patch apply
step "leave out DPDK" without_dpdk
step changelog changelog
step "build dependencies" dependencies
step "build (minutes)" build
ls "$deb"/*.deb | sed 's/^/  DEB  /'
