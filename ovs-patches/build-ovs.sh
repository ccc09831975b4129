#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Builds the patched Open vSwitch of this folder's series into a private
# prefix.  ovs.mk calls it; by hand:
#
#     build-ovs.sh KEY OVS_BUILD_DIR
#
# makes OVS_BUILD_DIR/ovs-src (sources), ovs-build (objects), ovs (prefix) and
# ovs/.key-KEY once all of it is done.  Nothing outside OVS_BUILD_DIR is
# touched.  A second caller waits for the first and finds the work done.
#
# Environment: OVS_TARBALL, OVS_CONFIGURE (more arguments), OVS_PRISTINE=1
# (build without the series, for comparisons), V=1 (log to the terminal too).
set -u

key=$1
mkdir -p "$2" || exit 1
top=$(cd "$2" && pwd -P)
patches=$(cd "$(dirname "$0")" && pwd)
tarball=${OVS_TARBALL:-/usr/src/openvswitch/openvswitch.tar.gz}
src=$top/ovs-src
obj=$top/ovs-build
prefix=$top/ovs
log=$top/ovs.log
stamp=$prefix/.key-$key

# A make above us passes its own variables (BUILD, V, CFLAGS, ...) down, and
# Open vSwitch's makefiles would take them for theirs.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES CFLAGS LDFLAGS CPPFLAGS LIBS

say() {
    printf '  OVS  %s\n' "$*"
}

die() {
    say "failed: $*"
    exit 1
}

# Says every ten seconds how far a step is.  Holds neither the lock nor the
# terminal open for longer than the step.
tick() {
    began=$(date +%s)
    while sleep 10 > /dev/null 2>&1 && kill -0 $$ 2> /dev/null; do
        files=$(grep -c '^  CC ' "$log")
        [ "$files" = 0 ] && files= || files="$files files, "
        say "$1: $files$(($(date +%s) - began)) s"
    done
}

# step WHAT COMMAND...: runs it with its output in the log.
step() {
    what=$1
    shift
    say "$what"
    printf '\n==== %s: %s\n' "$what" "$*" >> "$log"
    if [ "${V:-0}" = 1 ]; then
        # No pipefail in POSIX sh: carry the status in a file.
        { "$@" 2>&1; echo $? > "$log.status"; } | tee -a "$log"
        status=$(cat "$log.status"; rm -f "$log.status")
    else
        tick "$what" 9>&- &
        ticker=$!
        "$@" >> "$log" 2>&1
        status=$?
        kill "$ticker"
        wait "$ticker" 2> /dev/null
    fi
    if [ "$status" != 0 ]; then
        tail -n 40 "$log"
        die "$what (exit $status); the whole log is $log"
    fi
}

apply_series() {
    grep -v '^[[:space:]]*\(#\|$\)' "$patches/series" | while read -r patch; do
        printf '%s\n' "-- $patch"
        patch -p1 --no-backup-if-mismatch -d "$src.new" < "$patches/$patch" ||
            exit 1
    done
}

# Gives every file that did not change the time stamp it had, so that the
# objects of a previous build are reused after a change of one patch.
keep_times() {
    /usr/bin/python3 - "$src" "$src.new" <<'PY'
import filecmp, os, sys
old, new = sys.argv[1:]
for folder, _, names in os.walk(new):
    for name in names:
        path = os.path.join(folder, name)
        before = os.path.join(old, os.path.relpath(path, new))
        if os.path.islink(path):
            continue
        if (os.path.isfile(before)
                and filecmp.cmp(before, path, shallow=False)):
            status = os.stat(before)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        elif os.path.isdir(old):
            os.utime(path)
PY
}

unpack() {
    rm -rf "$src.new" && mkdir "$src.new" &&
        tar xzf "$tarball" -C "$src.new" --strip-components=1
}

# Generated build files are stale as soon as one of their sources is patched.
needs_boot() {
    [ "${OVS_PRISTINE:-0}" = 1 ] && return 1
    grep -v '^[[:space:]]*\(#\|$\)' "$patches/series" | (
        cd "$patches" && xargs -r grep -hE '^\+\+\+ b/' ) |
        grep -qE '(configure\.ac|\.am|automake\.mk|\.m4)$'
}

exec 9> "$top/ovs.lock"
flock -n 9 || {
    say "another build is at work, waiting for it"
    flock 9
}
[ -e "$stamp" ] && exit 0
[ -r "$tarball" ] ||
    die "$tarball is missing: install the package openvswitch-source"

: > "$log"
started=$(date +%s)
rm -f "$prefix"/.key-*
step unpack unpack
if [ "${OVS_PRISTINE:-0}" != 1 ]; then
    n=$(grep -cv '^[[:space:]]*\(#\|$\)' "$patches/series")
    step "patch ($n)" apply_series
fi
if needs_boot; then
    step boot sh -c 'cd "$1" && ./boot.sh' sh "$src.new"
fi
if [ "${OVS_PRISTINE:-0}" != 1 ]; then
    # The tarball has the testsuite as generated from its own tests.  With the
    # time of now it would seem newer than those of the series.
    rm -f "$src.new"/tests/*testsuite
fi
step compare keep_times
rm -rf "$src" && mv "$src.new" "$src" || die "cannot replace $src"

args="$src/configure --prefix=$prefix PYTHON3=/usr/bin/python3
      ${OVS_CONFIGURE:-}"
if [ -e "$obj/.configured" ] && [ "$args" != "$(cat "$obj/.configured")" ]; then
    # Moved here from elsewhere: the dependencies name the old place.
    step "clean" rm -rf "$obj"
fi
mkdir -p "$obj"
if [ ! -e "$obj/Makefile" ] || [ ! -e "$obj/.configured" ] ||
        [ "$src/configure" -nt "$obj/config.status" ]; then
    step configure sh -c 'cd "$1" && shift && exec "$@"' sh "$obj" \
        $args CFLAGS="${OVS_OPT:--O2 -g0}"
    printf '%s\n' "$args" > "$obj/.configured"
fi
step compile make -C "$obj" -j"$(nproc)"
step install make -C "$obj" install
: > "$stamp"
say "ready in $(($(date +%s) - started)) s: $prefix"
