#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# fuzz-ovs.sh OVS_BUILD_DIR SECONDS: runs Open vSwitch's own fuzz targets, those
# that see SAL, SECONDS each, with AddressSanitizer and
# UndefinedBehaviorSanitizer, from a corpus that has SAL in it.  Findings and
# the corpus are kept in OVS_BUILD_DIR/ovs-fuzz.
#
# Environment: CLANG (default clang), TARGETS.
set -u

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$1" && pwd) || exit 1
seconds=$2
clang=${CLANG:-clang}
src=$top/ovs-src
fuzz=$top/ovs-fuzz
obj=$fuzz/obj
log=$fuzz/build.log
sanitize=address,undefined
targets=${TARGETS:-flow_extract_target miniflow_target odp_target
    ofctl_parse_target ofp_print_target}

# See build-ovs.sh.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES CFLAGS LDFLAGS CPPFLAGS LIBS

mkdir -p "$obj" "$fuzz/bin" "$fuzz/findings"
if [ ! -e "$obj/Makefile" ]; then
    echo "  FUZZ  configure"
    (cd "$obj" && "$src/configure" PYTHON3=/usr/bin/python3 CC="$clang" \
        --disable-afxdp \
        CFLAGS="-O1 -g1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,$sanitize") \
        > "$log" 2>&1 || { tail "$log"; exit 1; }
fi
echo "  FUZZ  compile"
# The generated headers come first: nothing but "all" would see to that.
sources=$(printf 'print:\n\t@echo $(BUILT_SOURCES)\n' |
    make -s -C "$obj" --no-print-directory -f Makefile -f - print)
# shellcheck disable=SC2086
{ make -C "$obj" V=0 $sources &&
  make -C "$obj" V=0 -j"$(nproc)" lib/libopenvswitch.la; } >> "$log" 2>&1 ||
    { tail -n 30 "$log"; exit 1; }
python3 "$here/make-corpus.py" "$fuzz/corpus"

printf 'alignment:*\nnonnull-attribute:*/ofpbuf.c\n' > "$fuzz/suppressions"

passed=0 failed=0
for target in $targets; do
    "$clang" -O1 -g1 -fsanitize=fuzzer,$sanitize -include "$obj/config.h" \
        -I"$obj" -I"$obj/include" -I"$obj/lib" -I"$src/include" \
        -I"$src/lib" -I"$src" "$src/tests/oss-fuzz/$target.c" \
        "$obj/lib/.libs/libopenvswitch.a" \
        "$obj/lib/.libs/libopenvswitchavx512.a" -o "$fuzz/bin/$target" \
        -latomic -lnuma -lm -lunbound -lssl -lcrypto -lcap-ng -lpthread -lbpf \
        >> "$log" 2>&1 || { tail -n 30 "$log"; exit 1; }
    options=$src/tests/oss-fuzz/config/$target.options
    dict=$(sed -n 's/^dict *= *//p' "$options")
    [ -n "$dict" ] && [ -e "$src/tests/oss-fuzz/config/$dict" ] &&
        dict=-dict=$src/tests/oss-fuzz/config/$dict || dict=
    # This one parses messages wherever they are in its input; real ones come
    # in buffers of their own.  And Open vSwitch compares empty buffers with
    # memcmp(NULL, NULL, 0), for which nothing in the series is to blame.
    suppress=
    [ "$target" = ofp_print_target ] && suppress=:suppressions=$fuzz/suppressions
    if UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1$suppress \
            "$fuzz/bin/$target" -max_total_time="$seconds" -timeout=10 \
            -close_fd_mask=1 -max_len=4096 $dict -print_final_stats=1 \
            -artifact_prefix="$fuzz/findings/$target-" \
            "$fuzz/corpus/$target" > "$fuzz/$target.log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' \
               "$fuzz/$target.log")
        echo "  FUZZ  $target: $runs inputs in $seconds s, nothing found"
        passed=$((passed + 1))
    else
        grep -m 5 -E "ERROR|runtime error|SUMMARY|Test unit" \
            "$fuzz/$target.log"
        echo "  FUZZ  $target: FAILED, see $fuzz/$target.log"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
