#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Verifies migration.pml with SPIN: run-model.sh OUTPUT-FOLDER SET [NAME...],
# where SET and the runs are as runs.txt says.  One run at a time, at low
# priority.  A run that fails leaves its story in OUTPUT-FOLDER/NAME/story.
#
# A search of set "far" is not expected to end: it counts as passed if it has
# found nothing within LIMIT_S and MEMORY_MB, and tells how far it came.
set -u
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd) set=$2
shift 2
names=" $* "
memory=${MEMORY_MB:-1900}
case $set in
far) limit=${LIMIT_S:-120} ;;
*) limit=${LIMIT_S:-1800} ;;
esac
passed=0 failed=0 states=0

# The property that an assertion of the model stands for.
property() {
    case $(grep -hm1 -E '^pan:[0-9]+:' "$1") in
    *'proved['*) echo proof ;;
    *'order['*) echo rollback ;;
    *s_st*) echo unmoved ;;
    *'loc[1]'*) echo lost ;;
    *rounds*|*non-progress*) echo livelock ;;
    *'<16'*) echo runaway ;;
    '') echo ok ;;
    *) echo other ;;
    esac
}

run() { # set name expected 8 budgets [definitions]
    run_set=$1 name=$2 expected=$3
    dir=$out/$1-$2
    defs="-DMOVES0=$4 -DMOVES1=$5 -DLOSSES=$6 -DREPLAYS=$7 -DCRASHES=$8"
    shift 8
    defs="$defs -DEARLY=$1 -DFORGERIES=$2 -DRELAYS=$3"
    shift 3
    compile=-DSAFETY flags= optimise=-O0
    for word in "$@"; do
        defs="$defs -D$word"
        [ "$word" = LIVELOCK ] && compile=-DNP && flags=-l
        [ "$word" = LONG ] && optimise=-O1
    done
    # 64-bit hashes instead of states: the larger runs would not fit otherwise.
    case $run_set in
    deep|far) optimise=-O2 compile="$compile -DHC4" ;;
    *) compile="$compile -DCOLLAPSE" ;;
    esac
    rm -rf "$dir"
    mkdir -p "$dir"
    cp "$here"/*.pml "$dir"
    cd "$dir" || exit 1
    # shellcheck disable=SC2086
    if ! { spin -a $defs migration.pml && \
           nice -n 19 gcc -w $optimise $compile -DVECTORSZ=256 \
               -DMEMLIM="$memory" -o pan pan.c; } > build.log 2>&1; then
        cat build.log
        failed=$((failed + 1))
        return
    fi
    start=$(date +%s.%N)
    timeout -s INT "$limit" nice -n 19 ./pan -n -m50000 -w23 $flags \
        > pan.log 2>&1
    rc=$?
    seconds=$(echo "$start $(date +%s.%N)" | awk '{printf "%.1f", $2 - $1}')
    stored=$(awk '/states, stored/ {print $1}' pan.log)
    stored=${stored:-0}
    states=$(echo "$states $stored" | awk '{printf "%d", $1 + $2}')
    found=$(property pan.log)
    verdict=PASS why=
    if [ "$found" != "$expected" ]; then
        verdict=FAIL why="expected $expected, found $found"
    elif [ $rc = 124 ] || grep -q 'Search not completed' pan.log; then
        if [ "$expected" = ok ]; then
            why="search not complete"
            [ "$run_set" = far ] || verdict=FAIL
        fi
    elif ! grep -q 'errors: ' pan.log; then
        verdict=FAIL why="pan did not finish"
    fi
    [ "$run_set" = mutant ] && [ $verdict = PASS ] && why="caught: $found"
    printf '  %s  %-6s %-20s %10d states %6s s  %s\n' $verdict "$run_set" \
        "$name" "$stored" "$seconds" "$why"
    if [ -e migration.pml.trail ]; then
        # shellcheck disable=SC2086
        spin -t -B $defs migration.pml 2>&1 | awk -f "$here/trail.awk" > story
    fi
    case $verdict in
    PASS) passed=$((passed + 1)) ;;
    *)  failed=$((failed + 1))
        [ -e story ] && sed 's/^/          /' story ;;
    esac
    rm -f pan pan.[bcmpt]* ./*.pml
}

# Read at once, so that it may be edited while a search goes on.
runs=$(cat "$here/runs.txt")
while read -r run_set rest; do
    case $run_set in
    "$set") ;;
    mutant) [ "$set" = check ] || continue ;;
    *) continue ;;
    esac
    if [ "$names" != "  " ]; then
        case $names in *" ${rest%% *} "*) ;; *) continue ;; esac
    fi
    # shellcheck disable=SC2086
    run "$run_set" $rest < /dev/null
done <<END
$runs
END
echo "$states states explored"
echo "model: $passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
