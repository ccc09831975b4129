#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# check-unpatched.sh PATCHED_PREFIX PRISTINE_PREFIX: a switch without the series
# refuses flows that match SAL fields, and actions and groups that read them,
# with an error that a controller understands, in each OpenFlow version; other
# flows that come with them it takes.
set -u

bin=$(cd "$1/bin" && pwd) || exit 1
pristine=$(cd "$2" && pwd) || exit 1
dir=$(mktemp -d) && cd "$dir" || exit 1
export OVS_RUNDIR="$dir" OVS_LOGDIR="$dir" OVS_DBDIR="$dir" \
    OVS_SYSCONFDIR="$dir"
pids=
trap 'kill $pids 2> /dev/null; wait; cd /; rm -rf "$dir"' EXIT

passed=0 failed=0

# await FILE: until it exists, 20 seconds at most.
await() {
    for _ in $(seq 400); do
        [ -e "$1" ] && return
        sleep 0.05
    done
    echo "waited in vain for $1"
    exit 1
}

# expect WHAT WANTED GOT
expect() {
    if [ "$2" = "$3" ]; then
        echo "  PASS    $1: $2"
        passed=$((passed + 1))
    else
        echo "  FAIL    $1: $3 instead of $2"
        failed=$((failed + 1))
    fi
}

# errors COMMAND...: the OpenFlow errors that it gets.
errors() {
    "$@" 2>&1 | sed -n "s/^OFPT_ERROR.*: //p; s/^Error \\(.*\\) for: .*/\\1/p" | tr '\n' ' ' | sed 's/ $//'
}

"$bin/ovsdb-tool" create conf.db \
    "$pristine/share/openvswitch/vswitch.ovsschema"
"$pristine/sbin/ovsdb-server" conf.db --remote=punix:db.sock \
    --unixctl=db.ctl -vconsole:off &
pids=$!
await db.sock
"$bin/ovs-vsctl" --db=unix:db.sock --no-wait init
"$pristine/sbin/ovs-vswitchd" --enable-dummy=override --disable-system \
    unix:db.sock --unixctl=vswitchd.ctl -vconsole:off &
pids="$pids $!"
await vswitchd.ctl
"$bin/ovs-vsctl" --db=unix:db.sock add-br br0 -- set Bridge br0 \
    datapath_type=dummy fail_mode=secure \
    protocols=OpenFlow10,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15

match=udp,udp_dst=6090,sal_type=0x11
service=sal_service=0x1100000000000000000000000000000000000000000000000000000000000000/8
for version in 10 12 13 14 15; do
    ofctl="$bin/ovs-ofctl -O OpenFlow$version"
    # shellcheck disable=SC2086
    {
        expect "OpenFlow $version, match" OFPBMC_BAD_FIELD \
            "$(errors $ofctl add-flow br0 "$match,$service,actions=drop")"
        expect "OpenFlow $version, action" OFPBMC_BAD_FIELD \
            "$(errors $ofctl add-flow br0 \
                "udp,udp_dst=6090,actions=move:sal_src_flow->reg0")"
    }
done
printf '%s\n' udp,udp_dst=6090,actions=drop "$match,actions=drop" > flows.txt
expect "bundle" OFPBMC_BAD_FIELD \
    "$(errors "$bin/ovs-ofctl" -O OpenFlow14 --bundle add-flows br0 flows.txt |
       cut -d' ' -f1)"
expect "flows after all that" 0 \
    "$("$bin/ovs-ofctl" -O OpenFlow13 dump-flows br0 | grep -c udp)"
"$bin/ovs-ofctl" -O OpenFlow13 add-flow br0 udp,udp_dst=6090,actions=drop
expect "other flows" 1 \
    "$("$bin/ovs-ofctl" -O OpenFlow13 dump-flows br0 | grep -c udp)"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
