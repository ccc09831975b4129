/* SPDX-License-Identifier: Apache-2.0 */
/* Ingress of an uplink: SYN, SYN-ACK, ACK, DATAGRAM, RESET, and RSYN at a
 * service router. */
#ifndef SALIENT_CONTROL_BPF_H
#define SALIENT_CONTROL_BPF_H 1

#include "agents/bpf/egress.bpf.h"
#include "agents/bpf/identity.bpf.h"
#include "agents/bpf/ingress.bpf.h"
#include "agents/bpf/resolve.bpf.h"

/* Smallest header length of the types that are handled here. */
static __always_inline __u32
control_min_len(__u8 type)
{
    return type == SAL_TYPE_RESET || type == SAL_TYPE_ACK
           ? SAL_CONTROL_HEADER_LEN : SAL_SERVICE_HEADER_LEN;
}

/* Loads and checks the inner headers.  The counter to drop under, or -1. */
static __always_inline int
control_load_inner(struct __sk_buff *skb, struct scratch *scratch,
                   struct control *control, const int v6)
{
    const struct sal_data_header *base = (void *) scratch->header;
    __u32 want = base->proto == IPPROTO_UDP ? INNER_MIN(v6)
                                            : INNER_TCP_MIN(v6);
    if (control->inner_len < want
        || bpf_skb_load_bytes(skb,
                              control->outer.sal_ofs + control->header_len,
                              scratch->chunk, want)) {
        return SAL_COUNT_IN_TRUNCATED;
    }
    control->has_inner = 1;
    __u32 inner_len = control->inner_len;
    if (base->proto == IPPROTO_UDP && inner_len == INNER_MIN(v6)) {
        inner_len = ip_total_len(scratch->chunk, v6);
        control->quoted = inner_len > INNER_MIN(v6);
    }
    return inner_parse(scratch->chunk, inner_len, base->proto,
                       &control->inner, v6);
}

/* Loads and checks the header and the inner headers.  The counter to drop
 * under, or -1. */
static __noinline int
control_load(struct __sk_buff *skb, struct scratch *scratch,
             struct control *control)
{
    if (!scratch || !control) {
        return SAL_COUNT_IN_FAILED;
    }
    struct sal_data_header *base = (void *) scratch->header;
    if (bpf_skb_load_bytes(skb, control->outer.sal_ofs, base,
                           sizeof *base)) {
        return SAL_COUNT_IN_TRUNCATED;
    }
    __u32 len = base->header_len * 4;
    if (len < control_min_len(base->type)) {
        return SAL_COUNT_IN_HEADER_LEN;
    }
    if (len > control->outer.sal_len) {
        return SAL_COUNT_IN_TRUNCATED;
    }
    if (len < SAL_CONTROL_HEADER_LEN || len > SAL_MAX_HEADER_LEN
        || bpf_skb_load_bytes(skb, control->outer.sal_ofs,
                              scratch->header, len)) {
        return SAL_COUNT_IN_TRUNCATED;
    }
    if (header_sum(scratch, len) != 0xffff) {
        return SAL_COUNT_IN_CHECKSUM;
    }
    if (control->outer.udp_checksum
        && !udp_checksum_ok(skb, &control->outer)) {
        return SAL_COUNT_IN_UDP_CHECKSUM;
    }

    control->header_len = len;
    control->inner_len = control->outer.sal_len - len;
    if (base->inner == SAL_INNER_NONE) {
        return control->inner_len ? SAL_COUNT_IN_INNER_FORMAT : -1;
    }
    switch (base->inner) {
    case SAL_INNER_IPV4:
        return control_load_inner(skb, scratch, control, 0);
    case SAL_INNER_IPV6:
        return control_load_inner(skb, scratch, control, 1);
    default:
        return SAL_COUNT_IN_INNER_FORMAT;
    }
}

/* Makes the inner packet of a control packet of 'flow' what the stack is to
 * see.  The counter to drop under, or -1. */
GLOBAL int
control_unwrap(struct __sk_buff *skb, const struct control *control,
               struct sal_flow *flow)
{
    if (!control || !flow) {
        return SAL_COUNT_IN_FAILED;
    }
    const struct inner *inner = &control->inner;
    __u8 outer_tos = control->outer.tos;
    if (ecn_is_lost(outer_tos, inner->tos)) {
        return SAL_COUNT_IN_ECN;
    }
    if (decapsulate(skb, control->outer.v6, inner->v6, control->header_len)
        || (flow->flags & SAL_FLOW_REWRITE && rewrite_inner(skb, flow, 0))
        || ecn_restore(skb, outer_tos, inner->tos, inner->v6)
        || (flow->path_mtu && inner->v6 && inner->proto == IPPROTO_TCP
            && path_clamp_mss(skb, flow))) {
        return SAL_COUNT_IN_FAILED;
    }
    flow->in_packets += 1;
    flow->in_bytes += control->inner_len;
    flow->last_in_ns = bpf_ktime_get_coarse_ns();
    return -1;
}

/* Decapsulates and delivers a control packet of 'flow'. */
static __always_inline int
deliver_control(struct __sk_buff *skb, const struct sal_settings *settings,
                const struct control *control, struct sal_flow *flow)
{
    int reason = control_unwrap(skb, control, flow);
    return reason >= 0 ? drop(reason)
                       : deliver(skb, settings, control->inner.v6);
}

/* Makes room in front of the datagram in 'skb' for the headers of our SYN-ACK
 * of 'flow'.  Where the IP versions differ the kernel must be told, and then
 * replaces the datagram's IP header by one of another length. */
static __always_inline int
make_room(struct __sk_buff *skb, const struct sal_flow *flow, int inner_v6)
{
    int v6 = flow_outer_v6(flow);
    __s32 room = OUTER_LEN(v6) + SYN_HEADER_LEN;
    if (v6 != !!inner_v6
        && !bpf_skb_change_proto(
            skb, v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP), 0)) {
        room += inner_v6 ? IP6_LEN - IP4_LEN : IP4_LEN - IP6_LEN;
    }
    return bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC,
                               BPF_F_ADJ_ROOM_FIXED_GSO);
}

static __always_inline int
send_syn_ack_v(struct __sk_buff *skb, const struct sal_settings *settings,
               struct scratch *scratch, const struct sal_flow *flow,
               const int v6)
{
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    if (data + SAL_OFS(v6) > end) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    write_outer(data, skb->len - ETH_HLEN, settings, flow, 0, v6);
    if (bpf_skb_store_bytes(skb, SAL_OFS(v6), scratch->header, SYN_HEADER_LEN,
                            0)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    return bpf_redirect_neigh(flow->ifindex, NULL, 0, 0);
}

/* Puts the header of a SYN-ACK before the datagram that it answers, whose
 * headers as they came are in scratch->chunk.  The datagram goes away if the
 * kernel lets us cut it off.  It does not where the packet was encapsulated on
 * this machine, or a checksum offload points into it (veth, virtio): then it
 * goes back to the client, as in a RESET. */
static __noinline int
send_syn_ack(struct __sk_buff *skb, const struct sal_settings *settings,
             const struct sal_flow *flow, int inner_v6)
{
    struct scratch *scratch = scratch_get();
    if (!scratch || !settings || !flow) {
        return TC_ACT_SHOT;
    }
    if (make_room(skb, flow, inner_v6)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    const int v6 = flow_outer_v6(flow);
    const __u32 ofs = SAL_OFS(v6) + SYN_HEADER_LEN;
    build_header(settings, scratch, flow, SAL_TYPE_SYN_ACK, 0, SYN_HEADER_LEN);
    if (!bpf_skb_change_tail(skb, ofs, 0)) {
        struct sal_data_header *base = (void *) scratch->header;
        base->inner = SAL_INNER_NONE;
        base->checksum = 0;
        base->checksum = ~header_sum(scratch, SYN_HEADER_LEN);
    } else if (inner_v6 ? bpf_skb_store_bytes(skb, ofs, scratch->chunk,
                                              INNER_MIN(1), 0)
                        : bpf_skb_store_bytes(skb, ofs, scratch->chunk,
                                              INNER_MIN(0), 0)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    count(SAL_COUNT_OUT_SYN_ACK);
    return v6 ? send_syn_ack_v(skb, settings, scratch, flow, 1)
              : send_syn_ack_v(skb, settings, scratch, flow, 0);
}

/* UDP has no handshake of its own to ride on: the SYN-ACK is ours.  Delivers
 * the datagram of a SYN of 'flow' and turns what is left into that SYN-ACK. */
static __noinline int
answer_datagram(struct __sk_buff *skb, struct sal_settings *settings,
                const struct control *control, struct sal_flow *flow)
{
    if (!settings || !control || !flow) {
        return TC_ACT_SHOT;
    }
    int inner_v6 = control->inner.v6;
    if (control->quoted) {
        if (decapsulate(skb, control->outer.v6, inner_v6,
                        control->header_len)) {
            return drop(SAL_COUNT_IN_FAILED);
        }
    } else {
        int reason = control_unwrap(skb, control, flow);
        if (reason >= 0) {
            return drop(reason);
        }
        if (deliver_copy(skb, settings, inner_v6)) {
            return drop(SAL_COUNT_IN_FAILED);
        }
    }
    if (flow->state == SAL_FLOW_HALF_OPEN) {
        flow->isn_out = 1; /* Answered: DATA may bind it. */
    }
    return send_syn_ack(skb, settings, flow, inner_v6);
}

/* Notes the endpoint ID that a SYN or SYN-ACK claims: a claim, which the
 * daemons prove to each other later.  It is the first option of ours. */
static __always_inline void
take_endpoint(struct sal_flow *flow, const struct scratch *scratch,
              const struct control *control)
{
    const __u8 *option = scratch->header + SAL_OFS_OPTIONS;
    if (control->header_len >= SYN_HEADER_LEN
        && option[0] == SAL_OPTION_ENDPOINT_ID
        && option[1] == ENDPOINT_OPTION_LEN) {
        __builtin_memcpy(flow->peer_endpoint, option + 2,
                         sizeof flow->peer_endpoint);
    }
}

/* Finds the flow that an earlier copy of this SYN made, or makes room for a
 * new one: two services may share a target, so the client's port is mapped to
 * another where the tuple is in use for something else.  'flow' is in scratch.
 * Returns the existing flow; NULL with '*ret_free' set if there is none. */
static __noinline struct sal_flow *
server_flow_find(struct sal_settings *settings, struct scratch *scratch,
                 int *ret_free)
{
    if (!settings || !scratch || !ret_free) {
        return NULL;
    }
    struct sal_flow *flow = &scratch->flow;
    for (int i = 0; i < 8; i++) {
        struct sal_flow *bound = flow_by_tuple(&flow->local);
        struct sal_flow *half = half_flow_by_tuple(&flow->local);
        if (bound && bound->peer_id == flow->peer_id
            && bound->nonce == flow->nonce
            && addr_equal(&bound->peer_locator, &flow->peer_locator)) {
            return bound;
        }
        if (half && half->state != SAL_FLOW_CLOSING
            && half->peer_id == flow->peer_id && half->nonce == flow->nonce
            && addr_equal(&half->peer_locator, &flow->peer_locator)) {
            return half;
        }
        if ((!bound || tuple_equal(&bound->wire, &flow->wire))
            && (!half || tuple_equal(&half->wire, &flow->wire))) {
            *ret_free = 1;
            if (half && half->state == SAL_FLOW_HALF_OPEN) {
                half_flow_delete(half); /* Its SYN was given up. */
            }
            return NULL;
        }
        __u32 port = keyed_random(settings, scratch) & 0x7fff;
        flow->local.rport = bpf_htons(port + 32768);
    }
    return NULL;
}

/* A SYN, or a DATAGRAM that is no answer: what makes a flow here. */
static __noinline int
ingress_syn(struct __sk_buff *skb, struct sal_settings *settings,
            struct scratch *scratch, struct control *control)
{
    if (!settings || !scratch || !control) {
        return TC_ACT_SHOT;
    }
    struct sal_service_header *sal = (void *) scratch->header;
    struct sal_data_header *base = &sal->control.base;
    const struct inner *inner = &control->inner;
    const int datagram = base->type == SAL_TYPE_DATAGRAM;

    if (!base->src_flow || base->dst_flow) {
        return drop(SAL_COUNT_IN_FLOW_ID);
    }
    if (!control->has_inner) {
        return drop(SAL_COUNT_IN_INNER_FORMAT);
    }
    if (base->proto == IPPROTO_TCP
        && (inner->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN))
           != TCP_SYN) {
        return drop(SAL_COUNT_IN_INNER_MALFORMED);
    }
    if (datagram && (base->proto != IPPROTO_UDP || control->quoted)) {
        return drop(SAL_COUNT_IN_INNER_MALFORMED);
    }
    const struct sal_addr *identity = identity_of(settings, inner->v6);
    if (source_is_bogus(&inner->src) || !inner->sport
        || addr_equal(&inner->src, identity)) {
        return drop(SAL_COUNT_IN_INNER_SOURCE);
    }

    struct sal_rule *rule = rule_lookup(sal->service_id);
    if (!rule) {
        return refuse(skb, scratch, control, SAL_COUNT_IN_NO_RULE);
    }
    if (rule->action == SAL_RULE_DROP) {
        return drop(SAL_COUNT_IN_RULE_DROP);
    }
    if (rule->action == SAL_RULE_REJECT) {
        return refuse_final(skb, scratch, control, SAL_COUNT_IN_RULE_REJECT);
    }
    if (rule->action == SAL_RULE_FORWARD
        && settings->flags & SAL_SETTINGS_ROUTER) {
        return forward_on(skb, settings, scratch, control, rule);
    }
    if (rule->action != SAL_RULE_DEMUX) {
        return refuse(skb, scratch, control, SAL_COUNT_IN_NOT_LOCAL);
    }
    if (addr_is_zero(identity)) {
        return refuse(skb, scratch, control, SAL_COUNT_IN_NO_IDENTITY);
    }
    struct sal_target *target =
        target_lookup(scratch, rule, sal->service_id, base->proto,
                      inner->dport);
    if (!target) {
        return refuse(skb, scratch, control, SAL_COUNT_IN_NO_TARGET);
    }

    struct sal_flow *flow = &scratch->flow;
    __builtin_memset(flow, 0, sizeof *flow);
    flow->state = datagram ? SAL_FLOW_BOUND : SAL_FLOW_HALF_OPEN;
    flow->marks = datagram ? SAL_FLOW_MARK_DATAGRAM : 0;
    flow->flags = SAL_FLOW_SERVER | (inner->v6 ? SAL_FLOW_INNER6 : 0)
                  | (control->outer.v6 ? SAL_FLOW_OUTER6 : 0);
    flow->flags_class = base->flags_class & SAL_PATH_CLASS_MASK;
    flow->peer_id = base->src_flow;
    flow->nonce = sal->control.nonce;
    flow->ifindex = skb->ifindex;
    flow->own_locator = control->outer.dst;
    flow->peer_locator = control->outer.src;
    if (base->flags_class & SAL_FLAG_NAT) {
        flow->peer_port = control->outer.src_port;
        flow->entropy = settings->sal_port;
    }
    flow->isn_in = inner->seq;
    take_endpoint(flow, scratch, control);
    __builtin_memcpy(flow->service_id, sal->service_id, SAL_SERVICE_ID_LEN);
    flow->wire.local = inner->dst;
    flow->wire.remote = inner->src;
    flow->wire.lport = inner->dport;
    flow->wire.rport = inner->sport;
    flow->wire.proto = base->proto;
    path_recall(flow);
    flow->local = flow->wire;
    if (!target_address(settings, target, inner->v6, &flow->local.local)) {
        return refuse(skb, scratch, control, SAL_COUNT_IN_TARGET_FAMILY);
    }
    flow->local.lport = target->port;
    flow->created_ns = bpf_ktime_get_ns();

    if (settings->flags & SAL_SETTINGS_IDENTITY
        && !identity_ok(skb, settings, scratch)) {
        return TC_ACT_SHOT;
    }

    int is_free = 0;
    struct sal_flow *found = server_flow_find(settings, scratch, &is_free);
    if (found) {
        count_many(SAL_COUNT_IN_SYN_AGAIN, !datagram);
    } else if (!is_free) {
        return refuse(skb, scratch, control, SAL_COUNT_IN_TUPLE_TAKEN);
    } else {
        int limit = limit_reached(settings, flow);
        if (limit >= 0) {
            return refuse(skb, scratch, control, limit);
        }
        flow_prepare_rewrite(flow);
        if (half_flow_insert(settings)) {
            found = half_flow_by_id(flow->id);
        }
        if (!found) {
            return refuse(skb, scratch, control, SAL_COUNT_FLOW_TABLE_FULL);
        }
    }
    if (datagram) {
        count(SAL_COUNT_IN_DATAGRAM);
        return deliver_control(skb, settings, control, found);
    }
    count(SAL_COUNT_IN_SYN);
    return base->proto == IPPROTO_UDP
           ? answer_datagram(skb, settings, control, found)
           : deliver_control(skb, settings, control, found);
}

/* What the client does with a SYN-ACK of its flow. */
static __always_inline int
accept_syn_ack(struct __sk_buff *skb, const struct sal_settings *settings,
               struct scratch *scratch, const struct control *control,
               struct sal_flow *flow)
{
    if (control->has_inner && inner_is_of(&control->inner, flow)) {
        return deliver_control(skb, settings, control, flow);
    }
    /* Of UDP, with no answer of the application's.  There may be nothing more
     * to send: the server is to know all the same that it has us. */
    return answer(skb, scratch, control, SAL_TYPE_ACK);
}

static __noinline int
ingress_syn_ack(struct __sk_buff *skb, struct sal_settings *settings,
                struct scratch *scratch, struct control *control)
{
    if (!settings || !scratch || !control) {
        return TC_ACT_SHOT;
    }
    struct sal_service_header *sal = (void *) scratch->header;
    struct sal_data_header *base = &sal->control.base;
    const struct inner *inner = &control->inner;

    if (!base->src_flow || !base->dst_flow) {
        return drop(SAL_COUNT_IN_FLOW_ID);
    }
    if (!control->has_inner && base->proto != IPPROTO_UDP) {
        return drop(SAL_COUNT_IN_INNER_FORMAT);
    }
    if (base->proto == IPPROTO_TCP
        && (inner->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN))
           != (TCP_SYN | TCP_ACK)) {
        return drop(SAL_COUNT_IN_INNER_MALFORMED);
    }

    struct sal_flow *flow = flow_by_id(base->dst_flow);
    int bound = flow != NULL;
    if (!bound) {
        flow = half_flow_by_id(base->dst_flow);
    }
    if (!flow) {
        return refuse_final(skb, scratch, control, SAL_COUNT_IN_UNKNOWN_FLOW);
    }
    if (flow->flags & SAL_FLOW_SERVER || flow->nonce != sal->control.nonce) {
        return drop(SAL_COUNT_IN_WRONG_NONCE);
    }
    if (flow->wire.proto != base->proto
        || (control->has_inner && !inner_is_of(inner, flow)
            && (base->proto != IPPROTO_UDP || !inner_is_ours(inner, flow)))) {
        return drop(SAL_COUNT_IN_WRONG_TUPLE);
    }
    if (bound || flow->state != SAL_FLOW_HALF_OPEN) {
        if (flow->peer_id != base->src_flow
            || !addr_equal(&flow->peer_locator, &control->outer.src)) {
            /* A retried SYN was resolved elsewhere.  That server must learn
             * that it does not have the client. */
            return refuse_final(skb, scratch, control, SAL_COUNT_IN_LATE_SYN_ACK);
        }
        return accept_syn_ack(skb, settings, scratch, control, flow);
    }

    flow->peer_id = base->src_flow;
    flow->peer_locator = control->outer.src;
    flow->own_locator = control->outer.dst;
    flow->flags = (flow->flags & ~SAL_FLOW_OUTER6)
                  | (control->outer.v6 ? SAL_FLOW_OUTER6 : 0);
    path_recall(flow);
    flow->ifindex = skb->ifindex;
    flow->l2_expires_ns = 0;
    flow->isn_in = inner->seq;
    take_endpoint(flow, scratch, control);
    flow = bind_and_find(flow);
    if (!flow) {
        /* No room: the server forgets, the application tries again. */
        return refuse_final(skb, scratch, control, SAL_COUNT_FLOW_TABLE_FULL);
    }
    count(SAL_COUNT_IN_SYN_ACK);
    /* It comes from the server itself, where SYNs may have been sent on. */
    l2_learn(skb, flow, &control->outer.src, bpf_ktime_get_coarse_ns());
    release_held(scratch, flow, SAL_HELD_BOUND);
    return accept_syn_ack(skb, settings, scratch, control, flow);
}

/* The client has our SYN-ACK of a UDP flow. */
static __noinline int
ingress_ack(struct scratch *scratch, const struct control *control)
{
    if (!scratch || !control) {
        return TC_ACT_SHOT;
    }
    struct sal_control_header *sal = (void *) scratch->header;
    struct sal_flow *flow = flow_by_id(sal->base.dst_flow);
    if (!flow) {
        flow = half_flow_by_id(sal->base.dst_flow);
    }

    if (!sal->base.src_flow || !sal->base.dst_flow) {
        return drop(SAL_COUNT_IN_FLOW_ID);
    }
    if (!flow) {
        return drop(SAL_COUNT_IN_UNKNOWN_FLOW);
    }
    if (flow->nonce != sal->nonce) {
        return drop(SAL_COUNT_IN_WRONG_NONCE);
    }
    if (flow->peer_id != sal->base.src_flow
        || !addr_equal(&flow->peer_locator, &control->outer.src)) {
        return drop(SAL_COUNT_IN_WRONG_PEER);
    }
    if (!(flow->flags & SAL_FLOW_SERVER)
        || flow->local.proto != IPPROTO_UDP || !flow->isn_out) {
        return drop(SAL_COUNT_IN_NOT_BOUND);
    }
    if (flow->state == SAL_FLOW_HALF_OPEN) {
        syn_pay_back(flow);
        bind_and_find(flow);
    }
    flow->last_in_ns = bpf_ktime_get_coarse_ns();
    count(SAL_COUNT_IN_ACK);
    return TC_ACT_SHOT; /* There is nothing to deliver. */
}

/* A DATAGRAM that answers one of ours, from whichever server. */
static __noinline int
ingress_answer(struct __sk_buff *skb, struct sal_settings *settings,
               const struct scratch *scratch, const struct control *control)
{
    if (!settings || !scratch || !control) {
        return TC_ACT_SHOT;
    }
    const struct sal_control_header *sal = (void *) scratch->header;
    struct sal_flow *flow = half_flow_by_id(sal->base.dst_flow);
    if (!flow) {
        return drop(SAL_COUNT_IN_UNKNOWN_FLOW);
    }
    if (!(flow->marks & SAL_FLOW_MARK_DATAGRAM)
        || flow->flags & SAL_FLOW_SERVER) {
        return drop(SAL_COUNT_IN_NOT_BOUND);
    }
    if (flow->nonce != sal->nonce) {
        return drop(SAL_COUNT_IN_WRONG_NONCE);
    }
    if (!control->has_inner || control->quoted
        || !inner_is_of(&control->inner, flow)) {
        return drop(SAL_COUNT_IN_WRONG_TUPLE);
    }
    count(SAL_COUNT_IN_DATAGRAM);
    return deliver_control(skb, settings, control, flow);
}

/* A RESET of a UDP flow: the client's application is told by ICMP, which
 * quotes the datagram that came back with it; a bare RESET is silent. */
static __always_inline int
reset_udp(struct __sk_buff *skb, const struct sal_settings *settings,
          const struct sal_tuple *tuple, const struct control *control,
          int server)
{
    if (server || !control->has_inner
        || !addr_equal(&control->inner.src, &tuple->local)
        || !addr_equal(&control->inner.dst, &tuple->remote)
        || control->inner.sport != tuple->lport
        || control->inner.dport != tuple->rport) {
        return TC_ACT_SHOT;
    }
    return deliver_unreachable(skb, settings, tuple);
}

static __noinline int
ingress_reset(struct __sk_buff *skb, struct sal_settings *settings,
              struct scratch *scratch, struct control *control)
{
    if (!settings || !scratch || !control) {
        return TC_ACT_SHOT;
    }
    struct sal_service_header *sal = (void *) scratch->header;
    struct sal_data_header *base = &sal->control.base;

    if (!base->dst_flow) {
        return drop(SAL_COUNT_IN_FLOW_ID);
    }
    struct sal_flow *flow = half_flow_by_id(base->dst_flow);
    if (!flow || (flow->state != SAL_FLOW_HALF_OPEN
                  && !(flow->marks & SAL_FLOW_MARK_DATAGRAM))) {
        /* Of a bound flow: the daemon's, which checks its MAC. */
        count(SAL_COUNT_IN_PASSED);
        return PASS;
    }
    if (flow->nonce != sal->control.nonce) {
        return drop(SAL_COUNT_IN_WRONG_NONCE);
    }
    int server = flow->flags & SAL_FLOW_SERVER;
    if (server
        && (!addr_equal(&flow->peer_locator, &control->outer.src)
            || (base->src_flow && base->src_flow != flow->peer_id))) {
        return drop(SAL_COUNT_IN_WRONG_PEER);
    }
    count(SAL_COUNT_IN_RESET);
    int verdict = resolve_on(skb, settings, control, flow);
    if (verdict != NOT_RESOLVED) {
        return verdict;
    }
    if (control->has_inner
        && decapsulate(skb, control->outer.v6, control->inner.v6,
                       control->header_len)) {
        return drop(SAL_COUNT_IN_FAILED);
    }

    /* RFC 9293: in SYN-SENT a RST must acknowledge the SYN, in SYN-RECEIVED
     * it must stand at the next sequence number. */
    struct sal_tuple *tuple = &scratch->flow.local; /* Outlives the flow. */
    *tuple = flow->local;
    __be32 seq = 0, ack = 0;
    if (server) {
        seq = bpf_htonl(bpf_ntohl(flow->isn_in) + 1);
    } else {
        ack = bpf_htonl(bpf_ntohl(flow->isn_out) + 1);
    }
    release_held(scratch, flow, SAL_HELD_REFUSED);
    half_flow_delete(flow);
    if (tuple->proto == IPPROTO_UDP) {
        return reset_udp(skb, settings, tuple, control, server);
    }
    return deliver_rst(skb, settings, tuple, seq, ack);
}

static __always_inline int
ingress_control(struct __sk_buff *skb, struct sal_settings *settings,
                const struct outer *outer)
{
    struct scratch *scratch = scratch_get();
    if (!scratch || !settings || !outer) {
        return TC_ACT_SHOT;
    }
    if (!is_for_router(settings, outer)) {
        if (!is_for_us(outer)) {
            return PASS;
        }
        if (!syn_admit(skb, outer)) {
            return drop(SAL_COUNT_IN_SYN_FLOOD);
        }
    }
    struct control *control = &scratch->control;
    __builtin_memset(control, 0, sizeof *control);
    control->outer = *outer;
    int reason = control_load(skb, scratch, control);
    if (reason >= 0) {
        return drop(reason);
    }
    const struct sal_data_header *base = (void *) scratch->header;
    switch (base->type) {
    case SAL_TYPE_DATAGRAM:
        if (base->dst_flow) {
            return ingress_answer(skb, settings, scratch, control);
        }
        /* Fall through. */
    case SAL_TYPE_SYN:
        return ingress_syn(skb, settings, scratch, control);
    case SAL_TYPE_SYN_ACK:
        return ingress_syn_ack(skb, settings, scratch, control);
    case SAL_TYPE_ACK:
        return ingress_ack(scratch, control);
    case SAL_TYPE_RSYN:
        return ingress_rsyn(skb, settings, scratch, control);
    default:
        return ingress_reset(skb, settings, scratch, control);
    }
}

#endif /* control.bpf.h */
