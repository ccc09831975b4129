#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run-topologies.sh COMMAND SHAPE...: tests each shape (with its options) in a
# network of its own; the last line counts all of them.
set -u
command=$1; shift
passed=0 failed=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
trap 'exit 130' INT TERM
for shape in "$@"; do
    # Not a pipe: a Ctrl-C must reach the network, and the count us.
    # shellcheck disable=SC2086
    $command $shape --test > "$out" 2>&1
    rc=$?
    grep -vE '^([0-9]+ passed, .*|)$' "$out"
    counts=$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, .*/\1 \2/p' "$out" |
             tail -n 1)
    : "${counts:=0 0}"
    passed=$((passed + ${counts%% *})) failed=$((failed + ${counts##* }))
    if [ $rc != 0 ] && [ "${counts##* }" = 0 ]; then
        echo "FAIL  $shape: exit status $rc"
        failed=$((failed + 1))
    fi
done
echo
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
