/* SPDX-License-Identifier: Apache-2.0 */
/* Ingress of an uplink: DATA, and what all types have in common. */
#ifndef SALIENT_INGRESS_BPF_H
#define SALIENT_INGRESS_BPF_H 1

#include "agents/bpf/admit.bpf.h"
#include "agents/bpf/echo.bpf.h"
#include "agents/bpf/path.bpf.h"

/* In place of a verdict: the packet is ICMP, for ingress_icmp(). */
#define INGRESS_ICMP (-3)
/* It is DATA with an ICMP packet in it, for ingress_inner_icmp(). */
#define INGRESS_INNER_ICMP (-9)
/* With a fragment, or too short for anything else: for ingress_fragment(). */
#define INGRESS_FRAGMENT (-10)

/* Says how to go on after a check. */
enum ingress_next {
    NEXT_SAL = 0,       /* It is ours. */
    NEXT_VERDICT = 1,   /* Return the verdict. */
};

/* Makes the outer headers readable, and what follows if there is so much. */
static __always_inline void
pull_headers(struct __sk_buff *skb, const int v6)
{
    /* They are hardly ever elsewhere than in the linear part. */
    const __u32 want = SAL_OFS(v6) + SAL_DATA_HEADER_LEN + INNER_TCP_MIN(1);
    if (packet_data(skb) + want > packet_end(skb)
        && skb->len >= SAL_OFS(v6)) {
        bpf_skb_pull_data(skb, skb->len < want ? skb->len : want);
    }
}

/* IPv4 options and IPv6 extension headers move the UDP header; it is found
 * only to refuse what is for the SAL port. */
static __always_inline int
is_for_sal_port(struct __sk_buff *skb, const struct sal_settings *settings,
                __u32 udp_ofs)
{
    __be16 port = 0;
    return !bpf_skb_load_bytes(skb, udp_ofs + 2, &port, sizeof port)
           && port == settings->sal_port;
}

/* Most extension headers that are looked behind. */
#define EXTENSIONS_MAX 4

/* What is to be done with an IPv6 packet whose next header is not UDP. */
static __noinline int
outer6_extended(struct __sk_buff *skb, const struct sal_settings *settings)
{
    __u8 header[8];
    __u8 next = 0;
    __u32 ofs = ETH_HLEN + IP6_LEN;
    enum sal_counter reason = SAL_COUNT_IN_OUTER_EXTENSION;

    if (!settings
        || bpf_skb_load_bytes(skb, ETH_HLEN + 6, &next, sizeof next)) {
        return PASS;
    }
    for (int i = 0; i <= EXTENSIONS_MAX; i++) {
        if (next == IPPROTO_UDP) {
            return is_for_sal_port(skb, settings, ofs) ? drop(reason) : PASS;
        }
        if ((next != IP6_HOP_BY_HOP && next != IP6_ROUTING
             && next != IP6_FRAGMENT && next != IP6_DESTINATION)
            || bpf_skb_load_bytes(skb, ofs, header, sizeof header)) {
            return PASS;
        }
        if (next == IP6_FRAGMENT) {
            if (header[2] || header[3] & 0xf8) {
                return PASS; /* Not the first: it has no port. */
            }
            reason = SAL_COUNT_IN_OUTER_FRAGMENT;
            ofs += 8;
        } else {
            ofs += 8 + header[1] * 8;
        }
        next = header[0];
    }
    return PASS;
}

/* Reads the outer IPv4 or IPv6 header at 'data', of which all is there.
 * Returns IP's total length; 0 if the packet is not ours, with '*verdict'. */
static __always_inline __u32
parse_outer_ip(struct __sk_buff *skb, const struct sal_settings *settings,
               struct outer *outer, int *verdict, const int v6)
{
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    if (data + SAL_OFS(v6) > end) {
        return 0;
    }
    const struct udphdr *udp = data + ETH_HLEN + IP_LEN(v6);
    if (v6) {
        const struct ipv6hdr *ip = data + ETH_HLEN;
        if (ip->version != 6) {
            return 0;
        }
        if (ip->nexthdr != IPPROTO_UDP) {
            __u8 next = ip->nexthdr;
            if (next == IPPROTO_ICMPV6) {
                *verdict = INGRESS_ICMP;
            } else if (next == IP6_HOP_BY_HOP || next == IP6_ROUTING
                || next == IP6_FRAGMENT || next == IP6_DESTINATION) {
                *verdict = outer6_extended(skb, settings);
            }
            return 0;
        }
        if (udp->dest != settings->sal_port) {
            return 0;
        }
        if (ip6_is_reserved(&ip->saddr)) {
            *verdict = drop(SAL_COUNT_IN_OUTER_MALFORMED);
            return 0;
        }
        addr_from_v6(&outer->src, &ip->saddr);
        addr_from_v6(&outer->dst, &ip->daddr);
        outer->tos = ip6_traffic_class(ip);
        return bpf_ntohs(ip->payload_len) + IP6_LEN;
    }

    const struct iphdr *ip = data + ETH_HLEN;
    if (ip->protocol != IPPROTO_UDP || ip->version != 4
        || ip->frag_off & bpf_htons(0x1fff)) {
        if (ip->protocol == IPPROTO_ICMP && ip->ihl == 5
            && !(ip->frag_off & bpf_htons(IP_FRAGMENT))) {
            *verdict = INGRESS_ICMP;
        }
        return 0;
    }
    if (ip->ihl != 5) {
        if (is_for_sal_port(skb, settings, ETH_HLEN + ip->ihl * 4)) {
            *verdict = drop(SAL_COUNT_IN_OUTER_MALFORMED);
        }
        return 0;
    }
    if (udp->dest != settings->sal_port) {
        return 0;
    }
    if (ip->frag_off & bpf_htons(IP_FRAGMENT)) {
        *verdict = drop(SAL_COUNT_IN_OUTER_FRAGMENT);
        return 0;
    }
    addr_from_v4(&outer->src, ip->saddr);
    addr_from_v4(&outer->dst, ip->daddr);
    outer->tos = ip->tos;
    return bpf_ntohs(ip->tot_len);
}

/* Tells whether 'skb' is SAL and, if so, for whom.  Anything else is left
 * alone; what claims to be SAL but is not well-formed is dropped. */
static __always_inline int
parse_outer(struct __sk_buff *skb, const struct sal_settings *settings,
            struct outer *outer, int *verdict, const int v6)
{
    *verdict = PASS;
    if (skb->pkt_type != 0 /* PACKET_HOST */ || skb->vlan_present) {
        return NEXT_VERDICT; /* A VLAN's packets reach its own device. */
    }
    pull_headers(skb, v6);
    __u32 ip_len = parse_outer_ip(skb, settings, outer, verdict, v6);
    void *data = packet_data(skb);
    const struct udphdr *udp = data + ETH_HLEN + IP_LEN(v6);
    if (!ip_len || (void *) (udp + 1) > packet_end(skb)) {
        return NEXT_VERDICT;
    }
    __u32 udp_len = bpf_ntohs(udp->len);
    if (ip_len > skb->len - ETH_HLEN || udp_len != ip_len - IP_LEN(v6)
        || ip_len < OUTER_LEN(v6)) {
        *verdict = drop(SAL_COUNT_IN_OUTER_MALFORMED);
        return NEXT_VERDICT;
    }
    if (udp_len < UDP_LEN + SAL_DATA_HEADER_LEN) {
        *verdict = drop(SAL_COUNT_IN_TRUNCATED);
        return NEXT_VERDICT;
    }
    outer->sal_ofs = SAL_OFS(v6);
    outer->sal_len = udp_len - UDP_LEN;
    outer->src_port = udp->source;
    outer->udp_checksum = udp->check;
    outer->v6 = v6;
    return NEXT_SAL;
}

/* RFC 6935, 6936: 0 or right.  Ours are always 0, so this hardly ever runs. */
static __noinline int
udp_checksum_ok(struct __sk_buff *skb, const struct outer *outer)
{
    if (!outer) {
        return 0;
    }
    __u32 udp_len = outer->sal_len + UDP_LEN;
    /* Of IPv4-mapped addresses, too: 0xffff is 0 in ones' complement. */
    __u64 sum = (__u64) (__u32) bpf_csum_diff(NULL, 0,
                                              (__be32 *) outer->src.w,
                                              2 * sizeof outer->src, 0)
                + bpf_htons(IPPROTO_UDP) + bpf_htons(udp_len);
    return checksum_ok(skb, outer->sal_ofs - UDP_LEN, udp_len, sum);
}

/* True if 'outer' is for an address of ours, rather than to be forwarded. */
static __always_inline int
is_for_us(const struct outer *outer)
{
    return bpf_map_lookup_elem(&sal_locators, &outer->dst) != NULL;
}

/* RFC 6040, figure 4: what may not be forwarded. */
static __always_inline int
ecn_is_lost(__u8 outer_tos, __u8 inner_tos)
{
    return (outer_tos & ECN_MASK) == ECN_CE && !(inner_tos & ECN_MASK);
}

/* RFC 6040, figure 4: what an inner packet's ECN field becomes that is not
 * lost. */
static __always_inline __u8
ecn_merge(__u8 outer_tos, __u8 inner_tos)
{
    __u8 outer = outer_tos & ECN_MASK, inner = inner_tos & ECN_MASK;
    int stronger = outer == ECN_CE
                   || (outer == ECN_ECT_1 && inner == ECN_ECT_0);
    return inner && stronger ? outer : inner;
}

static __noinline int
ecn_write(struct __sk_buff *skb, __u8 tos, int v6)
{
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    if (v6) {
        struct ipv6hdr *ip = data + ETH_HLEN;
        if ((void *) (ip + 1) > end) {
            return -1;
        }
        __be32 word = (*(__be32 *) ip & ~bpf_htonl(0xff << 20))
                      | bpf_htonl((__u32) tos << 20);
        return bpf_skb_store_bytes(skb, ETH_HLEN, &word, sizeof word,
                                   BPF_F_RECOMPUTE_CSUM);
    }
    struct iphdr *ip = data + ETH_HLEN;
    if ((void *) (ip + 1) > end) {
        return -1;
    }
    ip->check = checksum_update(ip->check, bpf_htons(ip->tos),
                                bpf_htons(tos));
    ip->tos = tos;
    return 0;
}

/* Merges the outer ECN field into that of the inner packet in 'skb'. */
static __always_inline int
ecn_restore(struct __sk_buff *skb, __u8 outer_tos, __u8 inner_tos, int v6)
{
    __u8 merged = ecn_merge(outer_tos, inner_tos);
    return merged == (inner_tos & ECN_MASK)
           ? 0 : ecn_write(skb, (inner_tos & ~ECN_MASK) | merged, v6);
}

/* Reads the inner IP header at 'ip', which stands for 'len' bytes, into
 * 'inner'.  The counter to drop under, or -1. */
static __always_inline int
inner_parse_ip(const void *ip, __u32 len, __u8 proto, struct inner *inner,
               const int v6)
{
    if (v6) {
        const struct ipv6hdr *ip6 = ip;
        __u8 next = ip6->nexthdr;
        if (ip6->version != 6
            || bpf_ntohs(ip6->payload_len) + IP6_LEN != len) {
            return SAL_COUNT_IN_INNER_MALFORMED;
        }
        if (next == IP6_FRAGMENT) {
            return SAL_COUNT_IN_INNER_FRAGMENT;
        }
        if (next == IP6_HOP_BY_HOP || next == IP6_ROUTING
            || next == IP6_DESTINATION) {
            return SAL_COUNT_IN_INNER_EXTENSION;
        }
        if (ip6_is_reserved(&ip6->saddr) || ip6_is_reserved(&ip6->daddr)) {
            return SAL_COUNT_IN_INNER_SOURCE;
        }
        addr_from_v6(&inner->src, &ip6->saddr);
        addr_from_v6(&inner->dst, &ip6->daddr);
        inner->proto = next;
        inner->tos = ip6_traffic_class(ip6);
        inner->v6 = 1;
    } else {
        const struct iphdr *ip4 = ip;
        if (ip4->version != 4 || ip4->ihl != 5
            || bpf_ntohs(ip4->tot_len) != len) {
            return SAL_COUNT_IN_INNER_MALFORMED;
        }
        if (ip4->frag_off & bpf_htons(IP_FRAGMENT)) {
            return SAL_COUNT_IN_INNER_FRAGMENT;
        }
        addr_from_v4(&inner->src, ip4->saddr);
        addr_from_v4(&inner->dst, ip4->daddr);
        inner->proto = ip4->protocol;
        inner->tos = ip4->tos;
        inner->v6 = 0;
    }
    return inner->proto == proto ? -1 : SAL_COUNT_IN_INNER_MALFORMED;
}

/* Reads the inner headers at 'ip': INNER_MIN() bytes if 'proto', the SAL
 * header's, is UDP, and INNER_TCP_MIN() bytes otherwise.  Checks them against
 * the 'len' bytes that there are.  The counter to drop under, or -1. */
static __always_inline int
inner_parse(const void *ip, __u32 len, __u8 proto, struct inner *inner,
            const int v6)
{
    int reason = inner_parse_ip(ip, len, proto, inner, v6);
    if (reason >= 0) {
        return reason;
    }
    const struct udphdr *udp = ip + IP_LEN(v6);
    inner->sport = udp->source;
    inner->dport = udp->dest;
    inner->seq = inner->ack = 0;
    inner->window = 0;
    inner->tcp_flags = 0;
    if (proto == IPPROTO_UDP) {
        return bpf_ntohs(udp->len) == len - IP_LEN(v6)
               ? -1 : SAL_COUNT_IN_INNER_MALFORMED;
    }
    if (proto != IPPROTO_TCP) {
        return SAL_COUNT_IN_PROTO;
    }
    const struct tcphdr *tcp = ip + IP_LEN(v6);
    if (tcp->doff < 5 || tcp->doff * 4 > len - IP_LEN(v6)) {
        return SAL_COUNT_IN_INNER_MALFORMED;
    }
    inner->seq = tcp->seq;
    inner->ack = tcp->ack_seq;
    inner->window = tcp->window;
    inner->tcp_flags = ((const __u8 *) tcp)[TCP_FLAGS_OFS];
    return -1;
}

/* True if the inner packet, of version 'v6', goes from the remote to the local
 * end of the wire tuple of 'flow'. */
static __always_inline int
inner_matches(const struct inner *inner, const struct sal_flow *flow,
              const int v6)
{
    const struct sal_tuple *wire = &flow->wire;
    if (!!(flow->flags & SAL_FLOW_INNER6) != v6) {
        return 0;
    }
    int addresses = v6 ? addr_equal(&inner->src, &wire->remote)
                         && addr_equal(&inner->dst, &wire->local)
                       : inner->src.w[3] == wire->remote.w[3]
                         && inner->dst.w[3] == wire->local.w[3];
    return addresses && inner->sport == wire->rport
           && inner->dport == wire->lport && inner->proto == wire->proto;
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

static __always_inline int
inner_is_of(const struct inner *inner, const struct sal_flow *flow)
{
    return inner->v6 ? inner_matches(inner, flow, 1)
                     : inner_matches(inner, flow, 0);
}

/* The daemon tells the peer that its flow is not here; not each time. */
#define UNKNOWN_INTERVAL_NS 10000000ULL

static __always_inline void
tell_unknown_flow(__u32 dst_flow, __u32 src_flow, const struct outer *outer)
{
    __u32 key = 0;
    struct sal_notify *notify = bpf_map_lookup_elem(&sal_notify, &key);
    __u64 now = bpf_ktime_get_coarse_ns();
    if (!notify || now - notify->unknown_ns < UNKNOWN_INTERVAL_NS) {
        return;
    }
    notify->unknown_ns = now;
    struct sal_unknown_flow unknown = {.event.id = dst_flow,
                                       .event.type = SAL_FLOW_EVENT_UNKNOWN,
                                       .peer_id = src_flow,
                                       .peer_port = outer->src_port,
                                       .sal_len = outer->sal_len,
                                       .own = outer->dst,
                                       .other = outer->src};
    bpf_ringbuf_output(&sal_events, &unknown, sizeof unknown,
                       BPF_RB_FORCE_WAKEUP);
}

/* DATA that matches no bound flow: it may belong to a half-open one, whose
 * handshake it completes, or to one that is closing. */
static __noinline struct sal_flow *
data_other_flow(__u32 dst_flow, __u32 src_flow, const struct outer *outer)
{
    if (!outer) {
        return NULL;
    }
    struct sal_flow *flow = half_flow_by_id(dst_flow);
    if (!flow) {
        flow = flow_by_id(dst_flow); /* Another CPU has just bound it. */
    }
    if (!flow) {
        count(SAL_COUNT_IN_UNKNOWN_FLOW);
        tell_unknown_flow(dst_flow, src_flow, outer);
        return NULL;
    }
    return flow;
}

/* The flow that DATA is of, and may be by where it is from and to.  NULL if
 * there is none, with the verdict. */
static __always_inline struct sal_flow *
data_flow(__u32 dst_flow, __u32 src_flow, const struct outer *outer, __u64 now,
          int *ret_verdict)
{
    struct sal_flow *flow = flow_by_id(dst_flow);
    if (!flow) {
        *ret_verdict = PASS;
        if (!is_for_us(outer)) {
            return NULL;
        }
        *ret_verdict = TC_ACT_SHOT;
        flow = data_other_flow(dst_flow, src_flow, outer);
        if (!flow) {
            return NULL;
        }
    }
    /* We may have just moved: what the peer sent to another address of ours
     * is late, not wrong. */
    if (!addr_equal(&flow->own_locator, &outer->dst) && !is_for_us(outer)) {
        *ret_verdict = PASS;
        return NULL;
    }
    if (flow->peer_id != src_flow || !is_from_peer(flow, &outer->src, now)) {
        *ret_verdict = drop(SAL_COUNT_IN_WRONG_PEER);
        return NULL;
    }
    return flow;
}

/* DATA whose inner packet is none that a flow may have, for 'reason': an ICMP
 * error, or wrong.  What is wrong about its flow comes first. */
static __noinline int
ingress_bad_inner(__u32 dst_flow, __u32 src_flow, const struct outer *outer,
                  __u32 reason, int is_icmp)
{
    int verdict;
    if (!outer) {
        return TC_ACT_SHOT;
    }
    if (!data_flow(dst_flow, src_flow, outer, bpf_ktime_get_coarse_ns(),
                   &verdict)) {
        return verdict;
    }
    return is_icmp ? INGRESS_INNER_ICMP : drop(reason);
}

/* DATA whose SAL header is good so far. */
static __always_inline int
ingress_inner(struct __sk_buff *skb, struct sal_settings *settings,
              const struct outer *outer, const int outer_v6,
              const int inner_v6)
{
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    const struct sal_data_header *sal = data + SAL_OFS(outer_v6);
    const void *ip = sal + 1;
    __u32 len = outer->sal_len - SAL_DATA_HEADER_LEN;
    if (ip + INNER_MIN(inner_v6) > end || len < INNER_MIN(inner_v6)) {
        return INGRESS_FRAGMENT;
    }
    struct inner inner;
    inner.proto = 0;
    int reason; /* Each way for itself: Linux 6.1 would forget which it was. */
    if (sal->proto == IPPROTO_UDP) {
        reason = inner_parse(ip, len, IPPROTO_UDP, &inner, inner_v6);
    } else if (ip + INNER_TCP_MIN(inner_v6) > end
               || len < INNER_TCP_MIN(inner_v6)) {
        return drop(SAL_COUNT_IN_TRUNCATED);
    } else {
        reason = inner_parse(ip, len, sal->proto, &inner, inner_v6);
    }
    if (reason == SAL_COUNT_IN_INNER_FRAGMENT) {
        return INGRESS_FRAGMENT;
    }
    if (reason >= 0) {
        int is_icmp = reason == SAL_COUNT_IN_INNER_MALFORMED
                      && inner.proto == (inner_v6 ? IPPROTO_ICMPV6
                                                  : IPPROTO_ICMP);
        return ingress_bad_inner(sal->dst_flow, sal->src_flow, outer, reason,
                                 is_icmp);
    }
    __u64 now = bpf_ktime_get_coarse_ns();
    int verdict;
    struct sal_flow *flow = data_flow(sal->dst_flow, sal->src_flow, outer, now,
                                      &verdict);
    if (!flow) {
        return verdict;
    }
    if (!inner_matches(&inner, flow, inner_v6)) {
        return drop(SAL_COUNT_IN_WRONG_TUPLE);
    }
    if (inner.tcp_flags & TCP_SYN) {
        return drop(SAL_COUNT_IN_INNER_MALFORMED);
    }
    if (ecn_is_lost(outer->tos, inner.tos)) {
        return drop(SAL_COUNT_IN_ECN);
    }
    if (outer->udp_checksum && !udp_checksum_ok(skb, outer)) {
        return drop(SAL_COUNT_IN_UDP_CHECKSUM);
    }
    if (flow->state == SAL_FLOW_HALF_OPEN) {
        /* Any valid DATA is the handshake's ACK. */
        if (!(flow->flags & SAL_FLOW_SERVER) || !flow->isn_out) {
            return drop(SAL_COUNT_IN_NOT_BOUND);
        }
        syn_pay_back(flow);
        flow = bind_and_find(flow);
        if (!flow) {
            return drop(SAL_COUNT_IN_UNKNOWN_FLOW);
        }
    }

    l2_learn(skb, flow, &outer->src, now);
    if (decapsulate(skb, outer_v6, inner_v6, SAL_DATA_HEADER_LEN)
        || ((flow->flags & SAL_FLOW_REWRITE)
            && rewrite_inner_v(skb, flow, 0, inner_v6))
        || ecn_restore(skb, outer->tos, inner.tos, inner_v6)) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    if (echo_matters(flow)) {
        reason = echo_forget(skb, flow, inner.tcp_flags, inner.ack, len);
        if (reason >= 0) {
            return drop(reason);
        }
    }
    flow->in_packets += 1;
    flow->in_bytes += outer->sal_len - SAL_DATA_HEADER_LEN;
    flow->last_in_ns = now;
    flow->ack_in = inner.ack;
    flow->window_in = inner.window;
    count(SAL_COUNT_IN_DATA);
    if (inner.proto == IPPROTO_UDP) {
        flow_keep_if_used(flow);
    } else if (flow->state == SAL_FLOW_BOUND) {
        flow_track_close(settings, flow, inner.tcp_flags,
                         SAL_FLOW_END_FIN_IN);
    }
    return deliver(skb, settings, inner_v6);
}

static __always_inline int
ingress_data(struct __sk_buff *skb, struct sal_settings *settings,
             const struct outer *outer, const int v6)
{
    const struct sal_data_header *sal = packet_data(skb) + SAL_OFS(v6);
    if ((void *) (sal + 1) > packet_end(skb)) {
        return drop(SAL_COUNT_IN_TRUNCATED);
    }
    if (sal->header_len * 4 != SAL_DATA_HEADER_LEN) {
        return drop(SAL_COUNT_IN_HEADER_LEN);
    }
    switch (sal->inner) {
    case SAL_INNER_IPV4:
        return ingress_inner(skb, settings, outer, v6, 0);
    case SAL_INNER_IPV6:
        return ingress_inner(skb, settings, outer, v6, 1);
    default:
        return drop(SAL_COUNT_IN_INNER_FORMAT);
    }
}

#endif /* ingress.bpf.h */
