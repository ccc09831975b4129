#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the unit test programs given; one line each, all of a failing one's
# output; ends with a line that counts programs.
set -u
passed=0 failed=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
for program in "$@"; do
    name=$(basename "$program")
    if timeout 300 "$program" > "$out" 2>&1; then
        passed=$((passed + 1))
        printf '  PASS    %-24s %s\n' "$name" \
            "$(awk '$1 == "tests" {print $4 " tests"} $1 == "asserts" {print $4 " asserts"}' "$out" | paste -sd, | sed 's/,/, /')"
    else
        failed=$((failed + 1))
        printf '  FAIL    %s\n' "$name"
        cat "$out"
    fi
done
echo "unit: $passed passed, $failed failed"
[ $failed = 0 ]
