#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# check-sal.sh OVS_BUILD_DIR: runs the SAL autotests inside the patched tree
# that build-ovs.sh left in OVS_BUILD_DIR.  The tests get a network namespace
# that has only lo: Open vSwitch's suite assumes that nothing else answers.
#
# Prints a line a test and, last, "N passed, N failed, N skipped".
set -u

top=$(cd "$1" && pwd) || exit 1
log=$top/check-sal.log

# See build-ovs.sh.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES CFLAGS LDFLAGS CPPFLAGS LIBS

exec 9> "$top/ovs.lock"
flock 9

unshare -n sh -c '
    ip link set lo up
    exec make -C "$1/ovs-build" check TESTSUITEFLAGS="-k SAL -j$(($(nproc) * 2))"' sh "$top" \
    > "$log" 2>&1
status=$?

sed -n 's/^ *[0-9]*: SAL - \(.*\)$/  SAL  \1/p' "$log"
count() {
    grep -cE "^ *[0-9]+: SAL.* $1" "$log"
}
passed=$(count 'ok *$')
failed=$(count 'FAILED|UNEXPECTED PASS')
skipped=$(count 'skipped')
if [ "$status" != 0 ] || [ "$passed" = 0 ]; then
    [ "$((passed + failed))" = 0 ] && tail -n 40 "$log"
    echo "  SAL  log: $log, details: $top/ovs-build/tests/testsuite.dir"
    [ "$failed" = 0 ] && failed=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
