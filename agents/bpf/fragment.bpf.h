/* SPDX-License-Identifier: Apache-2.0 */
/* Fragments of inner packets: datagrams that are larger than what sal0, or the
 * path, has room for, and that the local stack has cut into pieces.  Only the
 * first has ports; sal_fragments tells those of the others.  Each travels as
 * DATA of the flow, whose ID says at the other end what it belongs to, and the
 * stack there puts them together.  TCP and DATAGRAMs are never in pieces. */
#ifndef SALIENT_FRAGMENT_BPF_H
#define SALIENT_FRAGMENT_BPF_H 1

#include "agents/bpf/egress.bpf.h"
#include "agents/bpf/ingress.bpf.h"

#define FRAGMENT_OFFSET_V4 0x1fff
#define FRAGMENT_OFFSET_V6 0xfff8

struct fragment_header { /* RFC 8200, 4.5. */
    __u8 next;
    __u8 reserved;
    __be16 offset;
    __be32 id;
};
_Static_assert(sizeof(struct fragment_header) == IP6_FRAGMENT_LEN,
               "fragment_header");

/* Reads the IP headers at 'ofs' of the frame, of which 'len' bytes are there.
 * False if it is no fragment, or not well formed. */
static __always_inline int
fragment_read(struct __sk_buff *skb, struct scratch *scratch, __u32 ofs,
              __u32 len, struct fragment *fragment)
{
    const struct iphdr *ip4 = (void *) scratch->chunk;
    const struct ipv6hdr *ip6 = (void *) scratch->chunk;
    const struct fragment_header *more = (void *) (ip6 + 1);
    const int v6 = fragment->v6;

    if (v6) {
        if (len < IP6_LEN + IP6_FRAGMENT_LEN
            || bpf_skb_load_bytes(skb, ofs, scratch->chunk,
                                  IP6_LEN + IP6_FRAGMENT_LEN)
            || ip6->version != 6 || ip6->nexthdr != IP6_FRAGMENT
            || ip6_is_reserved(&ip6->saddr) || ip6_is_reserved(&ip6->daddr)) {
            return 0;
        }
        addr_from_v6(&fragment->src, &ip6->saddr);
        addr_from_v6(&fragment->dst, &ip6->daddr);
        fragment->id = more->id;
        fragment->proto = more->next;
        fragment->tos = ip6_traffic_class(ip6);
        fragment->is_first = !(more->offset & bpf_htons(FRAGMENT_OFFSET_V6));
        fragment->transport_ofs = IP6_LEN + IP6_FRAGMENT_LEN;
    } else {
        if (len < IP4_LEN
            || bpf_skb_load_bytes(skb, ofs, scratch->chunk, IP4_LEN)
            || ip4->version != 4 || ip4->ihl != 5
            || !(ip4->frag_off & bpf_htons(IP_FRAGMENT))) {
            return 0;
        }
        addr_from_v4(&fragment->src, ip4->saddr);
        addr_from_v4(&fragment->dst, ip4->daddr);
        fragment->id = ip4->id;
        fragment->proto = ip4->protocol;
        fragment->tos = ip4->tos;
        fragment->is_first = !(ip4->frag_off & bpf_htons(FRAGMENT_OFFSET_V4));
        fragment->transport_ofs = IP4_LEN;
    }
    fragment->len = ip_total_len(scratch->chunk, v6);
    /* The first has at least all of UDP's header, so that no other one can
     * change it. */
    return fragment->len == len
           && len > fragment->transport_ofs
                    + (fragment->is_first ? UDP_LEN - 1 : 0);
}

/* As rewrite_inner(), of a fragment at the start of 'skb'. */
static __always_inline int
fragment_rewrite(struct __sk_buff *skb, struct scratch *scratch,
                 const struct sal_flow *flow, const struct fragment *fragment,
                 int outbound)
{
    const struct sal_tuple *to = outbound ? &flow->wire : &flow->local;
    const struct sal_addr *src = outbound ? &to->local : &to->remote;
    const struct sal_addr *dst = outbound ? &to->remote : &to->local;
    const __u32 udp_ofs = ETH_HLEN + fragment->transport_ofs;
    const __u32 check_ofs = udp_ofs + __builtin_offsetof(struct udphdr, check);
    __u32 diff = outbound ? flow->address_diff
                          : diff_negate(flow->address_diff);
    int error;

    if (!(flow->flags & SAL_FLOW_REWRITE)) {
        return 0;
    }
    if (fragment->is_first) {
        __u32 port_diff = outbound ? flow->port_diff
                                   : diff_negate(flow->port_diff);
        __be16 ports[2] = {outbound ? to->lport : to->rport,
                           outbound ? to->rport : to->lport};
        if (bpf_l4_csum_replace(skb, check_ofs, 0, diff,
                                BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0)
            || (flow->port_diff
                && bpf_l4_csum_replace(skb, check_ofs, 0, port_diff,
                                       BPF_F_MARK_MANGLED_0))
            || bpf_skb_store_bytes(skb, udp_ofs, ports, sizeof ports, 0)) {
            return -1;
        }
    }
    if (fragment->v6) {
        error = bpf_skb_load_bytes(skb, ETH_HLEN, scratch->chunk, IP6_LEN);
        write_addresses(scratch->chunk, src, dst, diff, 1);
        bpf_csum_update(skb, diff); /* See rewrite_inner_v(). */
        return error || bpf_skb_store_bytes(skb, ETH_HLEN, scratch->chunk,
                                            IP6_LEN, 0);
    }
    error = bpf_skb_load_bytes(skb, ETH_HLEN, scratch->chunk, IP4_LEN);
    write_addresses(scratch->chunk, src, dst, diff, 0);
    return error || bpf_skb_store_bytes(skb, ETH_HLEN, scratch->chunk, IP4_LEN,
                                        0);
}

/* Reads the fragment in 'skb', of the IP version of scratch->fragment, into
 * that, scratch->packet and its key.  The
 * counter to drop it under, or -1. */
static __noinline int
egress_fragment_read(struct __sk_buff *skb)
{
    struct scratch *scratch = scratch_get();
    if (!scratch) {
        return SAL_COUNT_OUT_FAILED;
    }
    struct fragment *fragment = &scratch->fragment;
    if (!fragment_read(skb, scratch, ETH_HLEN, skb->len - ETH_HLEN,
                       fragment)) {
        return SAL_COUNT_OUT_MALFORMED;
    }
    if (fragment->proto != IPPROTO_UDP) {
        return SAL_COUNT_OUT_FRAGMENT;
    }
    struct egress *packet = &scratch->packet;
    struct sal_fragment_key *key = &scratch->fragment_key;
    __builtin_memset(packet, 0, sizeof *packet);
    packet->tuple.local = key->local = fragment->src;
    packet->tuple.remote = key->remote = fragment->dst;
    packet->tuple.proto = IPPROTO_UDP;
    packet->len = fragment->len;
    packet->segment_len = 65535; /* No SYN has room for all of it. */
    packet->tos = fragment->tos;
    packet->v6 = fragment->v6;
    packet->fragment = 1;
    key->id = fragment->id;
    if (fragment->is_first) {
        struct sal_fragment ports = {.held = 0};
        if (bpf_skb_load_bytes(skb, ETH_HLEN + fragment->transport_ofs, &ports,
                               2 * sizeof ports.lport)) {
            return SAL_COUNT_OUT_MALFORMED;
        }
        packet->tuple.lport = ports.lport;
        packet->tuple.rport = ports.rport;
        bpf_map_update_elem(&sal_fragments, key, &ports, BPF_ANY);
        return -1;
    }
    const struct sal_fragment *ports =
        bpf_map_lookup_elem(&sal_fragments, key);
    if (!ports) {
        return SAL_COUNT_OUT_FRAGMENT_LATE;
    }
    packet->tuple.lport = ports->lport;
    packet->tuple.rport = ports->rport;
    return -1;
}

/* Sends a fragment of bound 'flow'. */
static __noinline int
send_fragment(struct __sk_buff *skb, const struct sal_settings *settings,
              struct sal_flow *flow)
{
    struct scratch *scratch = scratch_get();
    if (!settings || !flow || !scratch) {
        return TC_ACT_SHOT;
    }
    const struct fragment *fragment = &scratch->fragment;
    if (flow->marks & SAL_FLOW_MARK_DATAGRAM) {
        return fragment->is_first
               ? send_datagram(skb, (struct sal_settings *) settings,
                               &scratch->packet, flow)
               : drop(SAL_COUNT_OUT_FRAGMENT);
    }
    __u64 now = bpf_ktime_get_coarse_ns();
    if (flow->path_mtu && now >= flow->path_expires_ns) {
        flow->path_mtu = 0;
    }
    if (flow->path_mtu
        && fragment->len > flow->path_mtu - path_overhead(flow)) {
        count(SAL_COUNT_OUT_PATH_MTU);
        return fragment->is_first
                       && !fragment_to_headers(skb, &scratch->packet)
               ? deliver_too_big(skb, settings, &scratch->packet.tuple,
                                 flow->path_mtu - path_overhead(flow))
               : TC_ACT_SHOT;
    }
    if (fragment_rewrite(skb, scratch, flow, fragment, 1)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    count(SAL_COUNT_OUT_FRAGMENTED);
    flow->out_packets += 1;
    flow->out_bytes += fragment->len;
    flow->last_out_ns = now;
    if (flow->flags & SAL_FLOW_LOCAL) {
        return deliver(skb, settings, fragment->v6);
    }
    int verdict = send_data(skb, settings, flow, now, fragment->tos);
    flow_keep_if_used(flow);
    return verdict;
}

/* The flow that scratch->packet is of, if it can be sent as DATA. */
static __always_inline struct sal_flow *
fragment_flow(const struct scratch *scratch)
{
    const struct sal_tuple *tuple = &scratch->packet.tuple;
    struct sal_flow *flow = flow_by_tuple(tuple);
    if (!flow) {
        flow = half_flow_by_tuple(tuple);
    }
    return flow && (flow->state == SAL_FLOW_BOUND
                    || flow->flags & SAL_FLOW_SERVER) ? flow : NULL;
}

/* What the stack sends by sal0 that is not a whole packet.  As long as there
 * is no flow to send it with, the daemon holds it: the first fragment sends
 * the SYN, or asks, as any first datagram. */
static __noinline int
egress_fragment(struct __sk_buff *skb, struct sal_settings *settings, int v6)
{
    struct scratch *scratch = scratch_get();
    if (!scratch || !settings) {
        return TC_ACT_SHOT;
    }
    struct fragment *fragment = &scratch->fragment;
    fragment->v6 = v6;
    int reason = egress_fragment_read(skb);
    if (reason >= 0) {
        return drop(reason);
    }
    struct sal_flow *flow = fragment_flow(scratch);
    if (!flow && !fragment->is_first) {
        const struct sal_fragment *state =
            bpf_map_lookup_elem(&sal_fragments, &scratch->fragment_key);
        if (!state || !state->held) {
            return drop(SAL_COUNT_OUT_FRAGMENT_LATE);
        }
        count(SAL_COUNT_OUT_HOLD);
        hold(skb, scratch, &scratch->packet.tuple, SAL_HELD_BIND);
        return TC_ACT_SHOT;
    }
    if (!flow) {
        scratch->held.kind = 0;
        int verdict = egress_first(skb);
        struct sal_fragment *state =
            bpf_map_lookup_elem(&sal_fragments, &scratch->fragment_key);
        if (state && scratch->held.kind) {
            state->held = 1;
        }
        if (verdict != EGRESS_FRAGMENT) {
            return verdict;
        }
        flow = fragment_flow(scratch); /* A service of this host's own. */
    }
    return flow ? send_fragment(skb, settings, flow)
                : drop(SAL_COUNT_OUT_NO_FLOW);
}

/* True if 'fragment' goes to the local end of 'flow', as far as it says. */
static __always_inline int
fragment_matches(struct __sk_buff *skb, const struct fragment *fragment,
                 __u32 ofs, const struct sal_flow *flow)
{
    const struct sal_tuple *wire = &flow->wire;
    __be16 ports[2];
    if (fragment->proto != IPPROTO_UDP || wire->proto != IPPROTO_UDP
        || !addr_equal(&fragment->src, &wire->remote)
        || !addr_equal(&fragment->dst, &wire->local)) {
        return 0;
    }
    return !fragment->is_first
           || (!bpf_skb_load_bytes(skb, ofs + fragment->transport_ofs, ports,
                                   sizeof ports)
               && ports[0] == wire->rport && ports[1] == wire->lport);
}

/* As data_flow(), of the SAL header in 'skb', which goes to
 * scratch->header. */
static __noinline struct sal_flow *
ingress_fragment_flow(struct __sk_buff *skb, const struct outer *outer,
                      int *ret_verdict)
{
    struct scratch *scratch = scratch_get();
    if (!scratch || !outer || !ret_verdict) {
        return NULL;
    }
    const struct sal_data_header *sal = (void *) scratch->header;
    *ret_verdict = TC_ACT_SHOT;
    if (bpf_skb_load_bytes(skb, outer->sal_ofs, scratch->header,
                           sizeof *sal)) {
        return NULL;
    }
    scratch->fragment.v6 = sal->inner == SAL_INNER_IPV6;
    return data_flow(sal->dst_flow, sal->src_flow, outer,
                     bpf_ktime_get_coarse_ns(), ret_verdict);
}

/* The counter to drop the fragment in 'skb' under, or -1. */
static __noinline int
ingress_fragment_check(struct __sk_buff *skb, const struct outer *outer,
                       const struct sal_flow *flow)
{
    struct scratch *scratch = scratch_get();
    if (!scratch || !outer || !flow) {
        return SAL_COUNT_IN_FAILED;
    }
    struct fragment *fragment = &scratch->fragment;
    const __u32 ofs = outer->sal_ofs + SAL_DATA_HEADER_LEN;
    const __u32 len = outer->sal_len - SAL_DATA_HEADER_LEN;
    if (!fragment_read(skb, scratch, ofs, len, fragment)) {
        return len < INNER_MIN(fragment->v6) ? SAL_COUNT_IN_TRUNCATED
                                             : SAL_COUNT_IN_INNER_MALFORMED;
    }
    if (flow->wire.proto != IPPROTO_UDP
        || flow->marks & SAL_FLOW_MARK_DATAGRAM) {
        return SAL_COUNT_IN_INNER_FRAGMENT;
    }
    if (!!(flow->flags & SAL_FLOW_INNER6) != fragment->v6
        || !fragment_matches(skb, fragment, ofs, flow)) {
        return SAL_COUNT_IN_WRONG_TUPLE;
    }
    if (ecn_is_lost(outer->tos, fragment->tos)) {
        return SAL_COUNT_IN_ECN;
    }
    if (outer->udp_checksum && !udp_checksum_ok(skb, outer)) {
        return SAL_COUNT_IN_UDP_CHECKSUM;
    }
    return flow->state == SAL_FLOW_HALF_OPEN
                   && (!(flow->flags & SAL_FLOW_SERVER) || !flow->isn_out)
           ? SAL_COUNT_IN_NOT_BOUND : -1;
}

/* DATA with a fragment in it, or with too little for anything else. */
static __noinline int
ingress_fragment(struct __sk_buff *skb, const struct sal_settings *settings,
                 const struct outer *outer)
{
    struct scratch *scratch = scratch_get();
    int verdict;
    if (!scratch || !settings || !outer) {
        return TC_ACT_SHOT;
    }
    struct sal_flow *flow = ingress_fragment_flow(skb, outer, &verdict);
    if (!flow) {
        return verdict;
    }
    int reason = ingress_fragment_check(skb, outer, flow);
    if (reason >= 0) {
        return drop(reason);
    }
    const struct fragment *fragment = &scratch->fragment;
    if (flow->state == SAL_FLOW_HALF_OPEN) {
        flow = bind_and_find(flow);
        if (!flow) {
            return drop(SAL_COUNT_IN_UNKNOWN_FLOW);
        }
    }
    if (decapsulate(skb, outer->v6, fragment->v6, SAL_DATA_HEADER_LEN)
        || fragment_rewrite(skb, scratch, flow, fragment, 0)
        || ecn_restore(skb, outer->tos, fragment->tos, fragment->v6)) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    flow->in_packets += 1;
    flow->in_bytes += fragment->len;
    flow->last_in_ns = bpf_ktime_get_coarse_ns();
    count(SAL_COUNT_IN_DATA);
    count(SAL_COUNT_IN_FRAGMENTED);
    flow_keep_if_used(flow);
    return deliver(skb, settings, fragment->v6);
}

#endif /* fragment.bpf.h */
