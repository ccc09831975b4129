#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# check-ovs.sh PATCHED_BUILD_DIR PRISTINE_BUILD_DIR OUT_DIR: runs the upstream
# suite on both trees and prints the difference.  Tests that only the patched
# tree has are those of the series.  The result of the pristine tree does not
# change and is kept; REDO=1 runs it again.
set -u

here=$(dirname "$0")
out=$3
mkdir -p "$out"
patched=$out/check-patched.txt
pristine=$out/check-pristine.txt

"$here/run-suite.sh" "$1" "$patched" || exit 1
if [ "${REDO:-0}" = 1 ] || [ ! -s "$pristine" ]; then
    "$here/run-suite.sh" "$2" "$pristine" || exit 1
fi

count() {
    grep -c "^$1 " "$2"
}
for side in patched pristine; do
    file=$out/check-$side.txt
    echo "$side: $(count ok "$file") ok, $(count FAILED "$file") failed," \
         "$(count skipped "$file") skipped"
done

# Of the tests that both have.  Some names occur more than once.
awk '
    FNR == NR { before[substr($0, index($0, " ") + 1)] = 1; next }
    substr($0, index($0, " ") + 1) in before' "$pristine" "$patched" \
    > "$out/check-common.txt"
diff "$pristine" "$out/check-common.txt" > "$out/check-difference.txt"
only=$(awk '
    FNR == NR { before[substr($0, index($0, " ") + 1)] = 1; next }
    !(substr($0, index($0, " ") + 1) in before)' "$pristine" "$patched" |
    tee "$out/check-new.txt" | wc -l)
new_failed=$(count FAILED "$out/check-new.txt")
echo "new tests of the series: $only, $new_failed of them failed"
if [ -s "$out/check-difference.txt" ]; then
    echo "difference ( < pristine, > patched ):"
    cat "$out/check-difference.txt"
    difference=$(grep -c '^>' "$out/check-difference.txt")
else
    echo "difference: none"
    difference=0
fi
echo "$(count ok "$patched") passed, $((difference + new_failed)) failed," \
     "$(count skipped "$patched") skipped"
[ "$((difference + new_failed))" = 0 ]
