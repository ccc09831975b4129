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

#define XDP_FRAME_LEN                                                         \
    (SAL_OFS4 + SAL_DATA_HEADER_LEN + sizeof(struct inner))

/* The bound flow whose plain DATA the frame at 'data' is, or NULL. */
static __always_inline struct sal_flow *
xdp_flow(const struct sal_settings *settings, void *data, __u32 frame_len)
{
    const struct ethhdr *eth = data;
    const struct iphdr *ip = data + ETH_HLEN;
    const struct udphdr *udp = data + ETH_HLEN + IP4_LEN;
    const struct sal_data_header *sal = data + SAL_OFS4;
    const struct inner *inner = data + SAL_OFS4 + SAL_DATA_HEADER_LEN;
    __u32 ip_len = bpf_ntohs(ip->tot_len);
    __u32 len = ip_len - OUTER4_LEN - SAL_DATA_HEADER_LEN;

    if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->version != 4
        || ip->ihl != 5 || ip->protocol != IPPROTO_UDP
        || ip->frag_off & bpf_htons(IP_FRAGMENT)
        || (ip->tos & ECN_MASK) == ECN_CE
        || udp->dest != settings->sal_port || udp->check
        || sal->version >> 4 != SAL_VERSION
        || sal->type != SAL_TYPE_DATA
        || sal->header_len * 4 != SAL_DATA_HEADER_LEN
        || sal->inner != SAL_INNER_IPV4
        || ip_len + ETH_HLEN > frame_len
        || ip_len < OUTER4_LEN + SAL_DATA_HEADER_LEN + sizeof *inner
        || bpf_ntohs(udp->len) != ip_len - IP4_LEN) {
        return NULL;
    }
    struct sal_flow *flow = flow_by_id(sal->dst_flow);
    if (!flow || flow->state != SAL_FLOW_BOUND
        || flow->peer_id != sal->src_flow
        || ip->saddr != flow->peer_locator.w[3]
        || ip->daddr != flow->own_locator.w[3]
        || sal->proto != IPPROTO_TCP || inner_check(inner, len, sal->proto) >= 0
        || !inner_matches(inner, &flow->wire)
        || tcp_flags(inner) & TCP_SYN) {
        return NULL;
    }
    return flow;
}

static __always_inline int
xdp_ingress(struct xdp_md *ctx)
{
    void *data = (void *) (long) *(volatile __u32 *) &ctx->data;
    void *end = (void *) (long) *(volatile __u32 *) &ctx->data_end;
    struct sal_settings *settings = settings_get();
    if (!settings || data + XDP_FRAME_LEN > end) {
        return XDP_PASS;
    }
    struct sal_flow *flow = xdp_flow(settings, data, end - data);
    if (!flow) {
        return XDP_PASS;
    }

    struct ethhdr eth = *(struct ethhdr *) data;
    __u32 id = flow->id;
    if (bpf_xdp_adjust_meta(ctx, -(int) sizeof(struct xdp_note))) {
        return XDP_PASS;
    }
    if (bpf_xdp_adjust_head(ctx, OUTER4_LEN + SAL_DATA_HEADER_LEN)) {
        return XDP_DROP;
    }
    data = (void *) (long) *(volatile __u32 *) &ctx->data;
    end = (void *) (long) *(volatile __u32 *) &ctx->data_end;
    struct xdp_note *note =
        (void *) (long) *(volatile __u32 *) &ctx->data_meta;
    struct ethhdr *new_eth = data;
    if ((void *) (new_eth + 1) > end || (void *) (note + 1) > data) {
        return XDP_DROP;
    }
    *new_eth = eth;
    note->magic = XDP_NOTE_MAGIC;
    note->flow_id = id;
    count(SAL_COUNT_IN_XDP);
    return XDP_PASS;
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
                 struct sal_flow *flow)
{
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    struct inner *inner = data + ETH_HLEN;
    if ((void *) (inner + 1) > end) {
        if (bpf_skb_pull_data(skb, ETH_HLEN + sizeof *inner)) {
            return drop(SAL_COUNT_IN_FAILED);
        }
        data = packet_data(skb);
        end = packet_end(skb);
        inner = data + ETH_HLEN;
        if ((void *) (inner + 1) > end) {
            return drop(SAL_COUNT_IN_FAILED);
        }
    }
    if (!inner_matches(inner, &flow->wire)) {
        return drop(SAL_COUNT_IN_WRONG_TUPLE);
    }
    __u8 flags = tcp_flags(inner);
    __u32 len = skb->len - ETH_HLEN;
    __u32 n = skb->gso_segs ? skb->gso_segs : 1;
    __u64 now = bpf_ktime_get_coarse_ns();
    l2_learn(skb, flow, &flow->peer_locator, now);
    if (flow->flags & SAL_FLOW_REWRITE && rewrite_inner(skb, flow, 0)) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    flow->in_packets += n;
    flow->in_bytes += len;
    flow->last_in_ns = now;
    count(SAL_COUNT_IN_DATA);
    if (flow->state == SAL_FLOW_BOUND) {
        flow_track_close(settings, flow, flags, SAL_FLOW_FIN_IN);
    }
    return deliver(skb, settings);
}

#endif /* xdp.bpf.h */
