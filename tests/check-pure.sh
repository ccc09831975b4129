#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Rejects a pure file (or its header) that could do I/O or read a clock.
set -u
failed=0 passed=0
for source in "$@"; do
    bad=0
    for file in "$source" "${source%.c}.h"; do
        [ -e "$file" ] || continue
        if grep -nHE '#include *[<"](uv\.h|bpf/|sys/socket|sys/epoll|netlink/|time\.h|sys/time\.h|unistd\.h|fcntl\.h)|\b(time_msec|time_wall|clock_gettime|gettimeofday|uv_now|uv_hrtime|time) *\(' "$file"; then
            bad=1
        fi
    done
    if [ $bad = 1 ]; then
        echo "check-pure: $source is pure and must not do that" >&2
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
done
echo "pure: $passed passed, $failed failed"
[ $failed = 0 ]
