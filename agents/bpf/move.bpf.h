/* SPDX-License-Identifier: Apache-2.0 */
/* Flows that migrate: the daemon names them, many at a time, and the path that
 * they are to take.  It is done here, in place, since a flow that user space
 * wrote back whole would lose what packets changed meanwhile. */
#ifndef SALIENT_MOVE_BPF_H
#define SALIENT_MOVE_BPF_H 1

#include "agents/bpf/echo.bpf.h"
#include "agents/bpf/path.bpf.h"

static __always_inline int
addr_is_mapped(const struct sal_addr *a)
{
    return !(a->w[0] | a->w[1]) && a->w[2] == bpf_htonl(SAL_ADDR_MAPPED);
}

/* Behind a NAT, at either end, the UDP source port is the SAL port. */
static __always_inline void
flow_move_port(struct sal_flow *flow, const struct sal_move *move,
               __be16 sal_port)
{
    if (move->peer_port || move->flags & SAL_UPLINK_NAT) {
        flow->entropy = sal_port;
    } else if (flow->entropy == sal_port) {
        flow->entropy =
            bpf_htons(SAL_ENTROPY_BASE | (flow->id & SAL_ENTROPY_MASK));
    }
}

/* Less than TCP's shortest retransmission timer. */
#define HOLD_REFUSE_NS 150000000ULL

struct flows_move {
    struct sal_move *move;
    __be16 sal_port;
    __u16 uplink_mtu;
};

static long
flow_move(__u32 i, struct flows_move *context)
{
    struct sal_move *move = context->move;
    if (!move || i >= SAL_MOVE_MAX) {
        return 1;
    }
    __u32 id = move->ids[i];
    struct sal_flow *flow = flow_by_id(id);
    if (!flow) {
        flow = half_flow_by_id(id);
    }
    if (!flow || flow->state == SAL_FLOW_HALF_OPEN
        || !endpoint_equal(flow->peer_endpoint, move->peer_endpoint)) {
        return 0;
    }
    __u64 l2_expires_ns = 0;
    if (!move->ifindex) {
        l2_expires_ns = flow->ifindex
                        ? bpf_ktime_get_ns() + HOLD_REFUSE_NS
                        : flow->l2_expires_ns;
    }
    flow->group = move->group;
    if (!addr_equal(&flow->peer_locator, &move->peer_locator)) {
        flow->previous_locator = flow->peer_locator;
        flow->previous_expires_ns = move->previous_expires_ns;
    }
    flow->l2_expires_ns = 0;
    flow->own_locator = move->own_locator;
    flow->peer_locator = move->peer_locator;
    flow->peer_port = move->peer_port;
    flow->ifindex = move->ifindex;
    flow_move_port(flow, move, context->sal_port);
    if (addr_is_mapped(&flow->peer_locator)) {
        flow->flags &= ~SAL_FLOW_OUTER6;
    } else {
        flow->flags |= SAL_FLOW_OUTER6;
    }
    path_recall(flow);
    if (flow_outer_v6(flow) && !flow->path_mtu) {
        /* sal0's MTU may leave room for IPv4 only. */
        path_set(flow, context->uplink_mtu, ~0ULL);
    }
    flow->l2_expires_ns = l2_expires_ns;
    if (move->ifindex) {
        echo_expect_old(flow);
    }
    move->n_moved++;
    return 0;
}

static __always_inline int
flows_move(void)
{
    __u32 key = 0;
    struct sal_move *move = bpf_map_lookup_elem(&sal_moves, &key);
    struct sal_settings *settings = settings_get();
    if (!move || !settings) {
        return 0;
    }
    struct flows_move context = {.move = move, .sal_port = settings->sal_port,
                                 .uplink_mtu = settings->uplink_mtu};
    move->n_moved = 0;
    bpf_loop(move->n, flow_move, &context, 0);
    count_many(SAL_COUNT_FLOW_MOVED, move->n_moved);
    return 0;
}

#endif /* move.bpf.h */
