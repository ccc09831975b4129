/* SPDX-License-Identifier: Apache-2.0 */
/* Ingress of an uplink: DATA, and what all types have in common. */
#ifndef SALIENT_INGRESS_BPF_H
#define SALIENT_INGRESS_BPF_H 1

#include "agents/bpf/emit.bpf.h"

/* Says how to go on after a check. */
enum ingress_next {
    NEXT_SAL = 0,       /* It is ours. */
    NEXT_VERDICT = 1,   /* Return the verdict. */
};

/* Tells whether 'skb' is SAL in IPv4 and, if so, for whom.  Anything else is
 * left alone; what claims to be SAL but is not well-formed is dropped. */
static __always_inline int
parse_outer4(struct __sk_buff *skb, const struct sal_settings *settings,
             struct outer *outer, int *verdict)
{
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    *verdict = PASS;
    if (data + SAL_OFS4 + SAL_DATA_HEADER_LEN + sizeof(struct inner) > end) {
        /* Headers are hardly ever elsewhere than in the linear part. */
        __u32 want = SAL_OFS4 + SAL_DATA_HEADER_LEN + sizeof(struct inner);
        if (skb->len < SAL_OFS4) {
            return NEXT_VERDICT;
        }
        bpf_skb_pull_data(skb, skb->len < want ? skb->len : want);
        data = packet_data(skb);
        end = packet_end(skb);
        if (data + SAL_OFS4 > end) {
            return NEXT_VERDICT;
        }
    }

    struct iphdr *ip = data + ETH_HLEN;
    struct udphdr *udp = data + ETH_HLEN + IP4_LEN;
    if (ip->protocol != IPPROTO_UDP || ip->version != 4) {
        return NEXT_VERDICT;
    }
    if (ip->ihl != 5) {
        /* Options move the port; the offset is found only to refuse it. */
        __be16 port = 0;
        __u32 ofs = ETH_HLEN + ip->ihl * 4 + 2;
        if (ip->frag_off & bpf_htons(0x1fff)
            || bpf_skb_load_bytes(skb, ofs, &port, sizeof port)
            || port != settings->sal_port) {
            return NEXT_VERDICT;
        }
        *verdict = drop(SAL_COUNT_IN_OUTER_MALFORMED);
        return NEXT_VERDICT;
    }
    if (ip->frag_off & bpf_htons(0x1fff) || udp->dest != settings->sal_port) {
        return NEXT_VERDICT;
    }
    if (skb->pkt_type != 0 /* PACKET_HOST */) {
        return NEXT_VERDICT;
    }
    if (ip->frag_off & bpf_htons(IP_FRAGMENT)) {
        *verdict = drop(SAL_COUNT_IN_OUTER_FRAGMENT);
        return NEXT_VERDICT;
    }
    __u32 ip_len = bpf_ntohs(ip->tot_len);
    __u32 udp_len = bpf_ntohs(udp->len);
    if (ip_len > skb->len - ETH_HLEN || udp_len != ip_len - IP4_LEN
        || ip_len < OUTER4_LEN) {
        *verdict = drop(SAL_COUNT_IN_OUTER_MALFORMED);
        return NEXT_VERDICT;
    }
    if (udp_len < UDP_LEN + SAL_DATA_HEADER_LEN) {
        *verdict = drop(SAL_COUNT_IN_TRUNCATED);
        return NEXT_VERDICT;
    }
    addr_from_v4(&outer->src, ip->saddr);
    addr_from_v4(&outer->dst, ip->daddr);
    outer->sal_ofs = SAL_OFS4;
    outer->sal_len = udp_len - UDP_LEN;
    outer->src_port = udp->source;
    outer->udp_checksum = udp->check;
    outer->tos = ip->tos;
    return NEXT_SAL;
}

/* RFC 6935: 0 or right.  Ours are always 0, so this hardly ever runs. */
static __noinline int
udp_checksum_ok(struct __sk_buff *skb, const struct outer *outer)
{
    struct scratch *scratch = scratch_get();
    if (!scratch || !outer) {
        return 0;
    }
    __u32 udp_len = outer->sal_len + UDP_LEN;
    __u64 sum = (__u64) outer->src.w[3] + outer->dst.w[3]
                + bpf_htons(IPPROTO_UDP) + bpf_htons(udp_len);
    return checksum_ok(skb, scratch, outer->sal_ofs - UDP_LEN, udp_len, sum);
}

/* True if 'outer' is for an address of ours, rather than to be forwarded. */
static __always_inline int
is_for_us(const struct outer *outer)
{
    return bpf_map_lookup_elem(&sal_locators, &outer->dst) != NULL;
}

/* RFC 6040, figure 4.  0, or the drop counter. */
static __always_inline int
ecn_is_lost(__u8 outer_tos, __u8 inner_tos)
{
    return (outer_tos & ECN_MASK) == ECN_CE && !(inner_tos & ECN_MASK);
}

static __always_inline void
ecn_restore(struct __sk_buff *skb, __u8 outer_tos)
{
    if ((outer_tos & ECN_MASK) == ECN_CE) {
        bpf_skb_ecn_set_ce(skb);
    }
}

/* Checks the inner IPv4 and TCP or UDP headers against the 'len' bytes that there
 * are.  The counter to drop under, or -1. */
static __always_inline int
inner_check(const struct inner *inner, __u32 len, __u8 proto)
{
    if (inner->ip.version != 4 || inner->ip.ihl != 5
        || bpf_ntohs(inner->ip.tot_len) != len) {
        return SAL_COUNT_IN_INNER_MALFORMED;
    }
    if (inner->ip.frag_off & bpf_htons(IP_FRAGMENT)) {
        return SAL_COUNT_IN_INNER_FRAGMENT;
    }
    if (inner->ip.protocol != proto) {
        return SAL_COUNT_IN_INNER_MALFORMED;
    }
    if (proto == IPPROTO_UDP) {
        const struct udphdr *udp = (const void *) &inner->tcp;
        return bpf_ntohs(udp->len) == len - IP4_LEN
               ? -1 : SAL_COUNT_IN_INNER_MALFORMED;
    }
    if (proto != IPPROTO_TCP) {
        return SAL_COUNT_IN_PROTO;
    }
    if (inner->tcp.doff < 5 || inner->tcp.doff * 4 > len - IP4_LEN) {
        return SAL_COUNT_IN_INNER_MALFORMED;
    }
    return -1;
}

/* True if the inner packet goes from the remote to the local end of 'wire'. */
static __always_inline int
inner_matches(const struct inner *inner, const struct sal_tuple *wire)
{
    return inner->ip.saddr == wire->remote.w[3]
           && inner->ip.daddr == wire->local.w[3]
           && inner->tcp.source == wire->rport
           && inner->tcp.dest == wire->lport
           && inner->ip.protocol == wire->proto;
}

static __always_inline __u8
tcp_flags(const struct inner *inner)
{
    return ((const __u8 *) &inner->tcp)[TCP_FLAGS_OFS];
}

/* True if DATA of 'flow' may come from 'src': where the peer is, or where it
 * was a moment ago. */
static __always_inline int
is_from_peer(const struct sal_flow *flow, const struct sal_addr *src,
             __u64 now)
{
    if (addr_equal(&flow->peer_locator, src)) {
        return 1;
    }
    if (now >= flow->previous_expires_ns
        || !addr_equal(&flow->previous_locator, src)) {
        return 0;
    }
    count(SAL_COUNT_IN_PREVIOUS);
    return 1;
}

/* DATA that matches no bound flow: it may belong to a half-open one, whose
 * handshake it completes, or to one that is closing. */
static __noinline struct sal_flow *
data_other_flow(__u32 dst_flow, const struct outer *outer)
{
    if (!outer) {
        return NULL;
    }
    struct sal_flow *flow = half_flow_by_id(dst_flow);
    if (!flow) {
        count(SAL_COUNT_IN_UNKNOWN_FLOW);
        return NULL;
    }
    return flow;
}

static __always_inline int
ingress_data(struct __sk_buff *skb, struct sal_settings *settings,
             const struct outer *outer)
{
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    struct sal_data_header *sal = data + SAL_OFS4;
    struct inner *inner = data + SAL_OFS4 + SAL_DATA_HEADER_LEN;

    if ((void *) (sal + 1) > end) {
        return drop(SAL_COUNT_IN_TRUNCATED);
    }
    if (sal->header_len * 4 != SAL_DATA_HEADER_LEN) {
        return drop(SAL_COUNT_IN_HEADER_LEN);
    }
    if (sal->inner != SAL_INNER_IPV4) {
        return drop(SAL_COUNT_IN_INNER_FORMAT);
    }
    __u32 len = outer->sal_len - SAL_DATA_HEADER_LEN;
    if ((void *) inner + INNER_MIN > end || len < INNER_MIN) {
        return drop(SAL_COUNT_IN_TRUNCATED);
    }
    __u8 proto = sal->proto;
    if (proto != IPPROTO_UDP
        && ((void *) (inner + 1) > end || len < sizeof *inner)) {
        return drop(SAL_COUNT_IN_TRUNCATED);
    }

    struct sal_flow *flow = flow_by_id(sal->dst_flow);
    int half = 0;
    if (!flow) {
        if (!is_for_us(outer)) {
            return PASS;
        }
        flow = data_other_flow(sal->dst_flow, outer);
        if (!flow) {
            return TC_ACT_SHOT;
        }
        half = 1;
    }
    /* We may have just moved: what the peer sent to another address of ours
     * is late, not wrong. */
    if (!addr_equal(&flow->own_locator, &outer->dst) && !is_for_us(outer)) {
        return PASS;
    }
    __u64 now = bpf_ktime_get_coarse_ns();
    if (flow->peer_id != sal->src_flow
        || !is_from_peer(flow, &outer->src, now)) {
        return drop(SAL_COUNT_IN_WRONG_PEER);
    }
    int reason = inner_check(inner, len, proto);
    if (reason >= 0) {
        return drop(reason);
    }
    if (!inner_matches(inner, &flow->wire)) {
        return drop(SAL_COUNT_IN_WRONG_TUPLE);
    }
    __u8 flags = 0;
    if (proto != IPPROTO_UDP) {
        flags = tcp_flags(inner);
    }
    if (flags & TCP_SYN) {
        return drop(SAL_COUNT_IN_INNER_MALFORMED);
    }
    __u8 inner_tos = inner->ip.tos;
    if (ecn_is_lost(outer->tos, inner_tos)) {
        return drop(SAL_COUNT_IN_ECN);
    }
    if (outer->udp_checksum && !udp_checksum_ok(skb, outer)) {
        return drop(SAL_COUNT_IN_UDP_CHECKSUM);
    }
    if (half && flow->state == SAL_FLOW_HALF_OPEN) {
        /* Any valid DATA is the handshake's ACK. */
        if (!(flow->flags & SAL_FLOW_SERVER) || !flow->isn_out) {
            return drop(SAL_COUNT_IN_NOT_BOUND);
        }
        flow = bind_and_find(flow);
        if (!flow) {
            return drop(SAL_COUNT_IN_UNKNOWN_FLOW);
        }
    }

    l2_learn(skb, flow, &outer->src, now);
    if (decapsulate(skb, SAL_DATA_HEADER_LEN)) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    if (flow->flags & SAL_FLOW_REWRITE
        && rewrite_inner(skb, flow, 0)) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    ecn_restore(skb, outer->tos);
    flow->in_packets += 1;
    flow->in_bytes += len;
    flow->last_in_ns = now;
    count(SAL_COUNT_IN_DATA);
    if (!half) {
        flow_track_close(settings, flow, flags, SAL_FLOW_FIN_IN);
    }
    return deliver(skb, settings);
}

#endif /* ingress.bpf.h */
