#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run-suite.sh OVS_BUILD_DIR RESULTS: runs the whole autotest suite of the tree
# that build-ovs.sh left in OVS_BUILD_DIR and writes "STATUS NAME" lines, one a
# test, sorted by name, to RESULTS.  STATUS is ok, skipped or FAILED.
#
# The suite runs in a network namespace that has only lo: some tests assume that
# nobody answers.  A test that fails is run again, alone: there are some that
# depend on timing.
#
# Environment: JOBS, tests at a time (default: 6 a CPU; they mostly wait).
set -u

top=$(cd "$1" && pwd) || exit 1
results=$2
jobs=${JOBS:-$(($(nproc) * 6))}
log=$top/check-ovs.log
tests=$top/ovs-build/tests

# See build-ovs.sh.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES CFLAGS LDFLAGS CPPFLAGS LIBS

suite() {
    unshare -n sh -c '
        ip link set lo up
        exec make -C "$1" check TESTSUITEFLAGS="$2"' sh "$top/ovs-build" "$1"
}

# statuses LOG: "NUMBER STATUS NAME".
statuses() {
    sed -nE 's/^ *([0-9]+): (.*[^ ]) +(ok|skipped|FAILED|expected failure|UNEXPECTED PASS)( .*)?$/\1 \3 \2/p' "$1" |
        sed 's/ expected failure / ok /; s/ UNEXPECTED PASS / FAILED /'
}

# Nobody else may use the folder of the tests meanwhile.
exec 9> "$top/ovs.lock"
flock 9

echo "  CHECK  $top: all tests, $jobs at a time (log: $log)"
start=$(date +%s)
suite "-j$jobs" > "$log" 2>&1
statuses "$log" > "$log.statuses"
if [ "$(wc -l < "$log.statuses")" -lt 1000 ]; then
    tail -n 20 "$log"
    echo "  CHECK  the suite did not run; see $log"
    exit 1
fi
echo "  CHECK  $top: $(wc -l < "$log.statuses") tests in \
$(($(date +%s) - start)) s, $(grep -c ' FAILED ' "$log.statuses") failed"

for number in $(sed -n 's/^\([0-9]*\) FAILED .*/\1/p' "$log.statuses"); do
    for try in 1 2; do
        suite "$number" > "$log.again" 2>&1 && break
    done
    name=$(sed -n "s/^$number FAILED //p" "$log.statuses")
    if grep -qE "^ *$number: .* ok" "$log.again"; then
        echo "  CHECK  $number: $name: passes alone"
        sed -i "s/^$number FAILED /$number ok /" "$log.statuses"
    else
        echo "  CHECK  $number: $name: fails alone, too"
    fi
done
sed 's/^[0-9]* //' "$log.statuses" | sort -k2 > "$results"
