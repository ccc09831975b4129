#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
#   run-checks.sh [--beside TARGET]... TARGET...
#
# Runs the make targets given, one after the other, all of them even if one
# fails.  Those that only compute run meanwhile, --beside the others, at a low
# priority; they are shown at the end.  Each prints a line
# "[NAME:] N passed, N failed[, N skipped]" as its last; the sum is our last
# line.
set -u
passed=0 failed=0 skipped=0
failing= # Targets.
dir=$(mktemp -d)
lane=
finish() {
    # The whole process group of what runs beside.
    [ -z "$lane" ] || kill -TERM -- "-$lane" 2> /dev/null
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Runs a target; its output is in $dir/TARGET.
run() {
    start=$(date +%s)
    { make --no-print-directory "$1" 2>&1; echo $? > "$dir/$1.rc"; } |
        tee "$dir/$1"
    echo $(($(date +%s) - start)) > "$dir/$1.time"
}

# Adds up what a target has printed.
add() {
    rc=$(cat "$dir/$1.rc" 2> /dev/null || echo 1)
    counts=$(sed -nE 's/^([a-z-]+: )?([0-9]+) passed, ([0-9]+) failed(, ([0-9]+) skipped)?$/\2 \3 \5/p' "$dir/$1" | tail -n 1)
    if [ -z "$counts" ]; then
        counts="0 0"
        [ "$rc" = 0 ] && echo "$1 printed no count" && rc=1
    fi
    target=$1
    # shellcheck disable=SC2086
    set -- $counts
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + ${3:-0}))
    [ "$rc" != 0 ] && [ "$2" = 0 ] && failed=$((failed + 1))
    [ "$rc" = 0 ] || failing="$failing $target"
    echo "== $target: $([ "$rc" = 0 ] && echo passed || echo FAILED) ($(cat "$dir/$target.time" 2> /dev/null) s)"
}

beside=
while [ "${1:-}" = --beside ]; do
    beside="$beside $2"
    shift 2
done
if [ -n "$beside" ]; then
    echo "== beside the others, shown at the end:$beside"
    set -m
    (
        renice -n 10 -p "$(exec sh -c 'echo $PPID')" > /dev/null
        for target in $beside; do run "$target"; done
    ) > /dev/null 2>&1 &
    lane=$!
    set +m
fi

for target in "$@"; do
    case " $beside " in *" $target "*) continue ;; esac
    echo "== $target"
    run "$target"
    add "$target"
done
if [ -n "$lane" ]; then
    wait "$lane"
    lane=
    for target in $beside; do
        echo "== $target"
        cat "$dir/$target"
        add "$target"
    done
fi
# Far above, in the middle of much that is well: what to look at.
for target in $failing; do
    echo "== FAILED: $target (again: make $target)"
    grep -E '^ *(FAIL|not ok|[^ ]*: [^ ]* does not hold)|FAILED' "$dir/$target" |
        head -n 20
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
