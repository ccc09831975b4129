#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the eBPF test programs given (in a network namespace that has nothing
# but a loopback device), then the data plane between namespaces.
#
#     run-bpf.sh BUILD PROGRAM...
set -u
build=$1; shift
failed=0 passed=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
run() {
    name=$1; shift
    if timeout 600 "$@" > "$out" 2>&1; then
        passed=$((passed + 1))
        printf '  PASS    %-24s %s\n' "$name" \
            "$(awk '$1 == "tests" {print $4 " tests"} $1 == "asserts" {print $4 " asserts"} /^[0-9]+ steps$/' "$out" | paste -sd, | sed 's/,/, /')"
    else
        failed=$((failed + 1))
        printf '  FAIL    %s\n' "$name"
        cat "$out"
    fi
}
for program in "$@"; do
    run "$(basename "$program")" unshare -n "$program"
done
run namespaces /usr/bin/python3 "$(dirname "$0")/test_namespaces.py" "$build"
run actions /usr/bin/python3 "$(dirname "$0")/test_actions.py" "$build"
run static /usr/bin/python3 "$(dirname "$0")/test_static.py" "$build"
run names /usr/bin/python3 "$(dirname "$0")/test_names.py" "$build"
run udp-clients /usr/bin/python3 "$(dirname "$0")/test_udp_clients.py" "$build"
run nat /usr/bin/python3 "$(dirname "$0")/test_nat.py" "$build"
run ipv6 /usr/bin/python3 "$(dirname "$0")/test_ipv6.py" "$build"
run flood /usr/bin/python3 "$(dirname "$0")/test_flood.py" "$build" 2 20000
run path-mtu /usr/bin/python3 "$(dirname "$0")/test_path.py" "$build"
echo "bpf: $passed passed, $failed failed"
[ $failed = 0 ]
