#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the make targets given, one after the other, all of them even if one
# fails.  Each prints a line "[NAME:] N passed, N failed[, N skipped]" as its
# last; the sum is our last line.
set -u
passed=0 failed=0 skipped=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
for target in "$@"; do
    echo "== $target"
    start=$(date +%s)
    { make --no-print-directory "$target" 2>&1; echo $? > "$out.rc"; } | tee "$out"
    rc=$(cat "$out.rc"); rm -f "$out.rc"
    counts=$(sed -nE 's/^([a-z-]+: )?([0-9]+) passed, ([0-9]+) failed(, ([0-9]+) skipped)?$/\2 \3 \5/p' "$out" | tail -n 1)
    if [ -z "$counts" ]; then
        counts="0 0"
        [ "$rc" = 0 ] && echo "$target printed no count" && rc=1
    fi
    # shellcheck disable=SC2086
    set -- $counts
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + ${3:-0}))
    [ "$rc" != 0 ] && [ "$2" = 0 ] && failed=$((failed + 1))
    echo "== $target: $([ "$rc" = 0 ] && echo passed || echo FAILED) ($(($(date +%s) - start)) s)"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
