/* SPDX-License-Identifier: Apache-2.0 */
/* The host's data plane: the programs and where they attach.
 *
 *     sal_egress    tc egress of sal0: inner packets to encapsulate
 *     sal_ingress   tc ingress of each uplink: SAL packets to decapsulate
 *     sal_xdp       XDP of each uplink that has it: makes GRO work
 *     sal_sockops   cgroup: tells when TCP sockets close
 *     sal_inject    run by the daemon: what it held goes to sal_egress, or
 *                   sal_ingress, again
 *     sal_move      run by the daemon: changes flows that migrate
 *     sal_wake      run by the daemon: hands a packet to the local stack
 *     sal_sweep     run by the daemon: forgets UDP flows that are idle */
#include "agents/bpf/control.bpf.h"
#include "agents/bpf/fragment.bpf.h"
#include "agents/bpf/icmp.bpf.h"
#include "agents/bpf/inner_icmp.bpf.h"
#include "agents/bpf/move.bpf.h"
#include "agents/bpf/sweep.bpf.h"
#include "agents/bpf/xdp.bpf.h"

char LICENSE[] SEC("license") = "Apache-2.0";

SEC("tc")
int
sal_egress(struct __sk_buff *skb)
{
    struct sal_settings *settings = settings_get();
    if (!settings) {
        return TC_ACT_SHOT;
    }
    int v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
    if (!v6 && skb->protocol != bpf_htons(ETH_P_IP)) {
        return drop(SAL_COUNT_OUT_UNSUPPORTED);
    }
    int verdict = v6 ? egress(skb, settings, 1) : egress(skb, settings, 0);
    if (verdict == EGRESS_FRAGMENT) {
        return egress_fragment(skb, settings, v6);
    }
    return verdict == EGRESS_ICMP ? egress_icmp(skb, settings, v6) : verdict;
}

/* A packet that XDP did not strip.  INGRESS_CONTROL if 'outer' is filled in,
 * and the packet is for ingress_control(). */
#define INGRESS_CONTROL (-2)
static __always_inline int
ingress(struct __sk_buff *skb, struct sal_settings *settings,
        struct outer *outer, const int v6)
{
    int verdict;
    if (parse_outer(skb, settings, outer, &verdict, v6) != NEXT_SAL) {
        return verdict;
    }

    void *data = packet_data(skb);
    void *end = packet_end(skb);
    struct sal_data_header *sal = data + SAL_OFS(v6);
    if ((void *) (sal + 1) > end) {
        return drop(SAL_COUNT_IN_TRUNCATED);
    }
    if (sal->version >> 4 != SAL_VERSION) {
        return drop(SAL_COUNT_IN_VERSION);
    }
    switch (sal->type) {
    case SAL_TYPE_DATA:
        return ingress_data(skb, settings, outer, v6);
    case SAL_TYPE_SYN:
    case SAL_TYPE_SYN_ACK:
    case SAL_TYPE_ACK:
    case SAL_TYPE_DATAGRAM:
    case SAL_TYPE_RESET:
        return INGRESS_CONTROL;
    case SAL_TYPE_RSYN:
        if (settings->flags & SAL_SETTINGS_ROUTER) {
            return INGRESS_CONTROL;
        }
        /* Fall through. */
    case SAL_TYPE_FIN:
    case SAL_TYPE_RSYN_ACK:
    case SAL_TYPE_RSYN_DONE:
    case SAL_TYPE_PROBE:
        count(SAL_COUNT_IN_PASSED);
        return PASS;
    default:
        return drop(SAL_COUNT_IN_TYPE);
    }
}

/* Not in sal_ingress() itself: what they keep on the stack, they and what they
 * call, adds up to its limit. */
static __noinline int
ingress_v4(struct __sk_buff *skb, struct sal_settings *settings,
           struct outer *outer)
{
    return settings && outer ? ingress(skb, settings, outer, 0) : PASS;
}

static __noinline int
ingress_v6(struct __sk_buff *skb, struct sal_settings *settings,
           struct outer *outer)
{
    return settings && outer ? ingress(skb, settings, outer, 1) : PASS;
}

SEC("tc")
int
sal_ingress(struct __sk_buff *skb)
{
    int v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
    if (!v6 && skb->protocol != bpf_htons(ETH_P_IP)) {
        return PASS;
    }
    struct sal_settings *settings = settings_get();
    if (!settings) {
        return PASS;
    }
    struct sal_flow *flow = xdp_noted_flow(skb);
    if (flow) {
        return v6 ? ingress_stripped(skb, settings, flow, 1)
                  : ingress_stripped(skb, settings, flow, 0);
    }
    struct outer outer = {};
    int verdict = v6 ? ingress_v6(skb, settings, &outer)
                     : ingress_v4(skb, settings, &outer);
    if (verdict == INGRESS_CONTROL) {
        return ingress_control(skb, settings, &outer);
    }
    if (verdict == INGRESS_INNER_ICMP) {
        return ingress_inner_icmp(skb, settings, &outer);
    }
    if (verdict == INGRESS_FRAGMENT) {
        return ingress_fragment(skb, settings, &outer);
    }
    return verdict == INGRESS_ICMP ? ingress_icmp(skb, settings, v6)
                                   : verdict;
}

SEC("tc")
int
sal_inject(struct __sk_buff *skb)
{
    struct sal_settings *settings = settings_get();
    if (skb->mark == SAL_MARK_IDENTIFIED) {
        return bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS);
    }
    return settings ? bpf_clone_redirect(skb, settings->sal_ifindex, 0) : -1;
}

SEC("xdp")
int
sal_xdp(struct xdp_md *ctx)
{
    return xdp_ingress(ctx);
}

/* The local tuple of a socket.  IPv4 addresses of a dual-stack socket are
 * IPv4-mapped already. */
static __always_inline int
socket_tuple(struct bpf_sock_ops *ops, struct sal_tuple *tuple)
{
    __builtin_memset(tuple, 0, sizeof *tuple);
    if (ops->family == 2 /* AF_INET */) {
        addr_from_v4(&tuple->local, ops->local_ip4);
        addr_from_v4(&tuple->remote, ops->remote_ip4);
    } else if (ops->family == 10 /* AF_INET6 */) {
        tuple->local.w[0] = ops->local_ip6[0];
        tuple->local.w[1] = ops->local_ip6[1];
        tuple->local.w[2] = ops->local_ip6[2];
        tuple->local.w[3] = ops->local_ip6[3];
        tuple->remote.w[0] = ops->remote_ip6[0];
        tuple->remote.w[1] = ops->remote_ip6[1];
        tuple->remote.w[2] = ops->remote_ip6[2];
        tuple->remote.w[3] = ops->remote_ip6[3];
    } else {
        return 0;
    }
    tuple->lport = bpf_htons(ops->local_port);
    tuple->rport = bpf_htons(bpf_ntohl(ops->remote_port));
    tuple->proto = IPPROTO_TCP;
    return 1;
}

SEC("sockops")
int
sal_sockops(struct bpf_sock_ops *ops)
{
    __u32 op = ops->op;
    if (op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB
        && op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB
        && op != BPF_SOCK_OPS_STATE_CB) {
        return 1;
    }
    __u32 old_state = ops->args[0], new_state = ops->args[1];
    if (op == BPF_SOCK_OPS_STATE_CB && new_state != BPF_TCP_CLOSE) {
        return 1;
    }
    struct sal_settings *settings = settings_get();
    if (!settings || bpf_get_netns_cookie(ops) != settings->netns_cookie) {
        return 1;
    }
    struct sal_tuple tuple;
    if (!socket_tuple(ops, &tuple)) {
        return 1;
    }
    struct sal_flow *flow = flow_by_tuple(&tuple);
    if (!flow && op != BPF_SOCK_OPS_STATE_CB) {
        /* Two packets may bind a flow at once, and the second reaches the
         * stack while the first is still entering it. */
        flow = half_flow_by_tuple(&tuple);
        flow = flow ? flow : flow_by_tuple(&tuple);
    }
    if (!flow) {
        return 1;
    }
    if (op == BPF_SOCK_OPS_STATE_CB) {
        /* After LAST-ACK or the peer's RST, neither end has more to say. */
        flow_close(flow, old_state != BPF_TCP_LAST_ACK
                             && !(flow->ends & SAL_FLOW_END_RST_IN));
    } else {
        bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags
                                           | BPF_SOCK_OPS_STATE_CB_FLAG);
    }
    return 1;
}

SEC("syscall")
int
sal_move(void *ctx)
{
    return flows_move();
}

SEC("tc")
int
sal_wake(struct __sk_buff *skb)
{
    struct sal_settings *settings = settings_get();
    if (!settings) {
        return TC_ACT_SHOT;
    }
    /* All at once: what the first of them brings about comes after the last,
     * however near the peer is. */
    for (__u32 i = 0; i < SAL_WAKE_MAX && i < skb->mark; i++) {
        if (deliver_copy(skb, settings,
                         skb->protocol == bpf_htons(ETH_P_IPV6))) {
            break;
        }
    }
    return TC_ACT_SHOT;
}

SEC("syscall")
int
sal_sweep(void *ctx)
{
    return flows_sweep();
}
