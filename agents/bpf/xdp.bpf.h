/* SPDX-License-Identifier: Apache-2.0 */
/* Native XDP on an uplink.  tc sees packets after the driver's GRO, which does
 * not look into the SAL: inner segments would never be merged.  So XDP strips
 * the outer headers of DATA of bound flows, after the same checks that tc
 * makes, and leaves the flow ID in front of the packet; GRO merges what has
 * the same; then tc rewrites and delivers, once per aggregate.  Whatever is
 * not plain (control packets, congestion marks, checksums, errors) is left to
 * tc as it is. */
#ifndef SALIENT_XDP_BPF_H
#define SALIENT_XDP_BPF_H 1

#include "agents/bpf/ingress.bpf.h"

/* Metadata from XDP to tc.  Only XDP can write there. */
struct xdp_note {
    __u32 magic;
    __u32 flow_id;
};
#define XDP_NOTE_MAGIC 0x53414c31 /* "SAL1". */

/* The bound flow whose plain DATA the frame is, or NULL. */
static __always_inline struct sal_flow *
xdp_flow(const struct sal_settings *settings, void *data, void *end,
         const int outer_v6, const int inner_v6)
{
    const struct udphdr *udp = data + ETH_HLEN + IP_LEN(outer_v6);
    const struct sal_data_header *sal = data + SAL_OFS(outer_v6);
    const void *ip = sal + 1;
    if (ip + INNER_TCP_MIN(inner_v6) > end) {
        return NULL;
    }
    __u32 len = bpf_ntohs(udp->len) - UDP_LEN - SAL_DATA_HEADER_LEN;
    struct sal_flow *flow = flow_by_id(sal->dst_flow);
    if (!flow || flow->state != SAL_FLOW_BOUND
        || flow->peer_id != sal->src_flow) {
        return NULL;
    }
    __u8 outer_tos;
    if (outer_v6) {
        const struct ipv6hdr *ip6 = data + ETH_HLEN;
        struct outer outer;
        addr_from_v6(&outer.src, &ip6->saddr);
        addr_from_v6(&outer.dst, &ip6->daddr);
        if (!addr_equal(&outer.src, &flow->peer_locator)
            || !addr_equal(&outer.dst, &flow->own_locator)) {
            return NULL;
        }
        outer_tos = ip6_traffic_class(ip6);
    } else {
        const struct iphdr *ip4 = data + ETH_HLEN;
        if (flow_outer_v6(flow) || ip4->saddr != flow->peer_locator.w[3]
            || ip4->daddr != flow->own_locator.w[3]) {
            return NULL;
        }
        outer_tos = ip4->tos;
    }
    struct inner inner;
    if (inner_parse(ip, len, IPPROTO_TCP, &inner, inner_v6) >= 0
        || !inner_matches(&inner, flow, inner_v6)
        || inner.tcp_flags & TCP_SYN
        || (outer_tos ^ inner.tos) & ECN_MASK) {
        return NULL;
    }
    return flow;
}

/* True if the outer headers and SAL header are those of plain DATA with TCP
 * inside. */
static __always_inline int
xdp_outer_is_plain(const struct sal_settings *settings, void *data, void *end,
                   const int v6)
{
    const struct udphdr *udp = data + ETH_HLEN + IP_LEN(v6);
    const struct sal_data_header *sal = data + SAL_OFS(v6);
    if ((void *) (sal + 1) > end) {
        return 0;
    }
    __u32 ip_len;
    if (v6) {
        const struct ipv6hdr *ip = data + ETH_HLEN;
        if (ip->version != 6 || ip->nexthdr != IPPROTO_UDP) {
            return 0;
        }
        ip_len = bpf_ntohs(ip->payload_len) + IP6_LEN;
    } else {
        const struct iphdr *ip = data + ETH_HLEN;
        if (ip->version != 4 || ip->ihl != 5 || ip->protocol != IPPROTO_UDP
            || ip->frag_off & bpf_htons(IP_FRAGMENT)) {
            return 0;
        }
        ip_len = bpf_ntohs(ip->tot_len);
    }
    return udp->dest == settings->sal_port && !udp->check
           && sal->version >> 4 == SAL_VERSION && sal->type == SAL_TYPE_DATA
           && sal->header_len * 4 == SAL_DATA_HEADER_LEN
           && sal->proto == IPPROTO_TCP
           && ip_len + ETH_HLEN <= end - data
           && ip_len >= OUTER_LEN(v6) + SAL_DATA_HEADER_LEN + INNER_TCP_MIN(0)
           && bpf_ntohs(udp->len) == ip_len - IP_LEN(v6);
}

/* Strips the headers of 'flow', plain DATA of which the frame is. */
static __always_inline int
xdp_strip(struct xdp_md *ctx, const struct sal_flow *flow, const int outer_v6,
          const int inner_v6)
{
    void *data = (void *) (long) *(volatile __u32 *) &ctx->data;
    void *end = (void *) (long) *(volatile __u32 *) &ctx->data_end;
    if (data + ETH_HLEN > end) {
        return XDP_PASS;
    }
    struct ethhdr eth = *(struct ethhdr *) data;
    __u32 id = flow->id;
    const int room = OUTER_LEN(outer_v6) + SAL_DATA_HEADER_LEN;
    if (bpf_xdp_adjust_head(ctx, room)) {
        return XDP_PASS;
    }
    /* In this order: notes move with the head, and where this one would stand
     * before has not been read yet, which takes 100 ns. */
    if (bpf_xdp_adjust_meta(ctx, -(int) sizeof(struct xdp_note))) {
        return bpf_xdp_adjust_head(ctx, -room) ? XDP_DROP : XDP_PASS;
    }
    data = (void *) (long) *(volatile __u32 *) &ctx->data;
    end = (void *) (long) *(volatile __u32 *) &ctx->data_end;
    struct xdp_note *note =
        (void *) (long) *(volatile __u32 *) &ctx->data_meta;
    struct ethhdr *new_eth = data;
    if ((void *) (new_eth + 1) > end || (void *) (note + 1) > data) {
        return XDP_DROP;
    }
    eth.h_proto = inner_v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
    *new_eth = eth;
    note->magic = XDP_NOTE_MAGIC;
    note->flow_id = id;
    count(SAL_COUNT_IN_XDP);
    return XDP_PASS;
}

static __always_inline int
xdp_ingress_v(struct xdp_md *ctx, const int outer_v6)
{
    void *data = (void *) (long) *(volatile __u32 *) &ctx->data;
    void *end = (void *) (long) *(volatile __u32 *) &ctx->data_end;
    struct sal_settings *settings = settings_get();
    if (!settings || !xdp_outer_is_plain(settings, data, end, outer_v6)) {
        return XDP_PASS;
    }
    const struct sal_data_header *sal = data + SAL_OFS(outer_v6);
    if ((void *) (sal + 1) > end) {
        return XDP_PASS;
    }
    struct sal_flow *flow;
    if (sal->inner == SAL_INNER_IPV4) {
        flow = xdp_flow(settings, data, end, outer_v6, 0);
        return flow ? xdp_strip(ctx, flow, outer_v6, 0) : XDP_PASS;
    }
    if (sal->inner == SAL_INNER_IPV6) {
        flow = xdp_flow(settings, data, end, outer_v6, 1);
        return flow ? xdp_strip(ctx, flow, outer_v6, 1) : XDP_PASS;
    }
    return XDP_PASS;
}

static __always_inline int
xdp_ingress(struct xdp_md *ctx)
{
    void *data = (void *) (long) *(volatile __u32 *) &ctx->data;
    void *end = (void *) (long) *(volatile __u32 *) &ctx->data_end;
    const struct ethhdr *eth = data;
    if ((void *) (eth + 1) > end) {
        return XDP_PASS;
    }
    if (eth->h_proto == bpf_htons(ETH_P_IP)) {
        return xdp_ingress_v(ctx, 0);
    }
    return eth->h_proto == bpf_htons(ETH_P_IPV6) ? xdp_ingress_v(ctx, 1)
                                                 : XDP_PASS;
}

/* The flow that XDP noted on 'skb', or NULL. */
static __always_inline struct sal_flow *
xdp_noted_flow(struct __sk_buff *skb)
{
    struct xdp_note *note = packet_meta(skb);
    if ((void *) (note + 1) > packet_data(skb)
        || note->magic != XDP_NOTE_MAGIC) {
        return NULL;
    }
    return flow_by_id(note->flow_id);
}

/* Delivers an inner packet, or an aggregate of them, that XDP let through. */
static __always_inline int
ingress_stripped(struct __sk_buff *skb, const struct sal_settings *settings,
                 struct sal_flow *flow, const int v6)
{
    const __u32 want = ETH_HLEN + INNER_TCP_MIN(v6);
    if (packet_data(skb) + want > packet_end(skb)
        && bpf_skb_pull_data(skb, want)) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    if (data + want > end) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    __u32 len = ip_total_len(data + ETH_HLEN, v6);
    struct inner inner;
    if (inner_parse(data + ETH_HLEN, len, IPPROTO_TCP, &inner, v6) >= 0
        || !inner_matches(&inner, flow, v6)) {
        return drop(SAL_COUNT_IN_WRONG_TUPLE);
    }
    __u32 n = skb->gso_segs ? skb->gso_segs : 1;
    __u64 now = bpf_ktime_get_coarse_ns();
    l2_learn(skb, flow, &flow->peer_locator, now);
    if (flow->flags & SAL_FLOW_REWRITE && rewrite_inner_v(skb, flow, 0, v6)) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    if (echo_matters(flow)) {
        int reason = echo_forget(skb, flow, inner.tcp_flags, inner.ack, len);
        if (reason >= 0) {
            return drop(reason);
        }
    }
    flow->in_packets += n;
    flow->in_bytes += len;
    flow->last_in_ns = now;
    flow->ack_in = inner.ack;
    flow->window_in = inner.window;
    count(SAL_COUNT_IN_DATA);
    if (flow->state == SAL_FLOW_BOUND) {
        flow_track_close(settings, flow, inner.tcp_flags,
                         SAL_FLOW_END_FIN_IN);
    }
    return deliver(skb, settings, v6);
}

#endif /* xdp.bpf.h */
