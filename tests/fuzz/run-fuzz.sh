#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run-fuzz.sh FOLDER SECONDS SEED TARGET...
# Runs each FOLDER/fuzz_TARGET for SECONDS, two at a time; one line each, the
# output of a failing one but for its progress; ends with a line that counts.
# SEED 0 is another one each time; what a run took is printed when it fails.
set -u
folder=$1 seconds=$2 seed=$3
shift 3
here=$(dirname "$0")
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

run_one() {
    corpus=$folder/corpus/$1 crashes=$folder/crashes out=$results/$1.out
    seeds=$here/corpus/$1 # Or made by a program, in $corpus.
    mkdir -p "$corpus" "$crashes"
    [ -d "$seeds" ] || seeds=
    if "$folder/fuzz_$1" -max_total_time="$seconds" -seed="$seed" -timeout=10 \
        -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix="$crashes/$1-" "$corpus" ${seeds:+"$seeds"} \
        > "$out" 2>&1; then
        : > "$results/$1.passed"
        printf '  PASS    %-24s %s inputs, %s covered\n' "$1" \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' "$out")" \
            "$(sed -nE 's/.* cov: ([0-9]+) .*/\1/p' "$out" | tail -n 1)"
    else
        {
            printf '  FAIL    %s\n' "$1"
            grep -vE '^#[0-9]+\s+(NEW|REDUCE|pulse|RELOAD) ' "$out"
            crash=$(sed -n 's/.*Test unit written to //p' "$out" | tail -n 1)
            [ -n "$crash" ] && echo "repeat with: $folder/fuzz_$1 $crash"
        } > "$results/$1.report"
        cat "$results/$1.report"
    fi
}

# Two at a time: the next pair starts when both are done, and as all take the
# same time nothing is lost.
n=0
for target in "$@"; do
    run_one "$target" &
    n=$((n + 1))
    [ $((n % 2)) = 0 ] && wait
done
wait

passed=$(find "$results" -name '*.passed' | wc -l)
failed=$(($# - passed))
echo "fuzz: $passed passed, $failed failed"
[ $failed = 0 ]
