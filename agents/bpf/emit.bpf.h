/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to packets: encapsulate, send, decapsulate, deliver. */
#ifndef SALIENT_EMIT_BPF_H
#define SALIENT_EMIT_BPF_H 1

#include "agents/bpf/rewrite.bpf.h"
#include "ofp-ext/sal_pipeline.h"

#define ENCAP_FLAGS(V6)                                                       \
    (((V6) ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4)     \
     | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_FIXED_GSO)

/* Since Linux 6.3, so not in all headers. */
#define DECAP_L3_IPV4 (1ULL << 7)
#define DECAP_L3_IPV6 (1ULL << 8)

/* Length of the headers of SYN and SYN-ACK: an endpoint ID follows the
 * service ID, padded to 4 bytes. */
#define ENDPOINT_OPTION_LEN (2 + SAL_ENDPOINT_ID_LEN)
#define SYN_HEADER_LEN (SAL_SERVICE_HEADER_LEN + ENDPOINT_OPTION_LEN + 2)

/* How long an Ethernet address that was learnt is used. */
#define L2_LIFE_NS 1000000000ULL

/* A switch, the waypoint of a path class, has put a mark into its place. */
static __always_inline int
is_waypoint_mark(const __u8 mac[ETH_ALEN])
{
    static const __u8 mark[ETH_ALEN] = SAL_WAYPOINT_MAC;
    return mac[0] == mark[0] && mac[1] == mark[1] && mac[2] == mark[2]
           && mac[3] == mark[3] && mac[4] == mark[4];
}

/* Learns from a valid DATA packet of 'flow' the Ethernet addresses of the way
 * back: who hands us the peer's packets takes ours to it.  That saves a route
 * and a neighbour look-up per packet; where nothing was heard from the peer
 * for a while, the kernel's tables are asked. */
static __always_inline void
l2_learn(struct __sk_buff *skb, struct sal_flow *flow,
         const struct sal_addr *src, __u64 now)
{
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    const struct ethhdr *eth = data;
    if (data + ETH_HLEN > end || skb->ifindex != flow->ifindex
        || eth->h_source[0] & 1 || is_waypoint_mark(eth->h_source)
        || !addr_equal(src, &flow->peer_locator)) {
        return;
    }
    __builtin_memcpy(flow->l2, eth->h_source, ETH_ALEN);
    __builtin_memcpy(flow->l2 + ETH_ALEN, eth->h_dest, ETH_ALEN);
    if (*(volatile __u32 *) &flow->ifindex == skb->ifindex) {
        flow->l2_expires_ns = now + L2_LIFE_NS; /* Not moved meanwhile. */
    }
}

/* Sends an encapsulated packet of 'flow' to its peer. */
static __always_inline int
output(struct __sk_buff *skb, struct sal_flow *flow, __u64 now)
{
    if (now < flow->l2_expires_ns) {
        void *data = packet_data(skb);
        void *end = packet_end(skb);
        if (data + ETH_HLEN <= end) {
            __builtin_memcpy(data, flow->l2, 2 * ETH_ALEN);
            return bpf_redirect(flow->ifindex, 0);
        }
    }
    return bpf_redirect_neigh(flow->ifindex, NULL, 0, 0);
}

static __always_inline int
flow_outer_v6(const struct sal_flow *flow)
{
    return !!(flow->flags & SAL_FLOW_OUTER6);
}

static __always_inline __u8
flow_inner_format(const struct sal_flow *flow)
{
    return flow->flags & SAL_FLOW_INNER6 ? SAL_INNER_IPV6 : SAL_INNER_IPV4;
}

static __always_inline void
write_outer_ip4(struct iphdr *ip, const struct sal_flow *flow, __u32 ip_len,
                __u8 tos)
{
    ip->version = 4;
    ip->ihl = 5;
    ip->tos = tos;
    ip->tot_len = bpf_htons(ip_len);
    ip->id = 0;
    ip->frag_off = bpf_htons(IP_DONT_FRAGMENT);
    ip->ttl = 64;
    ip->protocol = IPPROTO_UDP;
    ip->saddr = flow->own_locator.w[3];
    ip->daddr = flow->peer_locator.w[3];
    ip_checksum(ip);
}

static __always_inline void
write_outer_ip6(struct ipv6hdr *ip, const struct sal_flow *flow, __u32 ip_len,
                __u8 tos)
{
    /* RFC 6438: the flow label has the entropy, too. */
    *(__be32 *) ip = ip6_first_word(tos, bpf_ntohs(flow->entropy));
    ip->payload_len = bpf_htons(ip_len - IP6_LEN);
    ip->nexthdr = IPPROTO_UDP;
    ip->hop_limit = 64;
    addr_to_v6(&ip->saddr, &flow->own_locator);
    addr_to_v6(&ip->daddr, &flow->peer_locator);
}

/* Writes the outer headers into the room made for them at 'data', which holds
 * them.  RFC 6040: DSCP and ECN ('tos') are copied outwards. */
static __always_inline void
write_outer(void *data, __u32 ip_len, const struct sal_settings *settings,
            const struct sal_flow *flow, __u8 tos, const int v6)
{
    struct ethhdr *eth = data;
    struct udphdr *udp = data + ETH_HLEN + IP_LEN(v6);

    eth->h_proto = v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
    if (v6) {
        write_outer_ip6(data + ETH_HLEN, flow, ip_len, tos);
    } else {
        write_outer_ip4(data + ETH_HLEN, flow, ip_len, tos);
    }
    udp->source = flow->entropy;
    udp->dest = flow->peer_port ? flow->peer_port : settings->sal_port;
    udp->len = bpf_htons(ip_len - IP_LEN(v6));
    udp->check = 0; /* RFC 6935, 6936. */
}

static __always_inline int
send_data_v(struct __sk_buff *skb, const struct sal_settings *settings,
            struct sal_flow *flow, __u64 now, __u8 tos, const int v6)
{
    if (bpf_skb_adjust_room(skb, OUTER_LEN(v6) + SAL_DATA_HEADER_LEN,
                            BPF_ADJ_ROOM_MAC, ENCAP_FLAGS(v6))) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    struct sal_data_header *sal = data + SAL_OFS(v6);
    if ((void *) (sal + 1) > end) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    write_outer(data, skb->len - ETH_HLEN, settings, flow, tos, v6);
    sal->version = SAL_VERSION << 4;
    sal->header_len = SAL_DATA_HEADER_LEN / 4;
    sal->type = SAL_TYPE_DATA;
    sal->proto = flow->wire.proto;
    sal->src_flow = flow->id;
    sal->dst_flow = flow->peer_id;
    sal->flags_class = flow->flags_class;
    sal->inner = flow_inner_format(flow);
    sal->checksum = 0;
    count(SAL_COUNT_OUT_DATA);
    return output(skb, flow, now);
}

/* Sends the inner packet in 'skb' on as DATA of 'flow'. */
static __always_inline int
send_data(struct __sk_buff *skb, const struct sal_settings *settings,
          struct sal_flow *flow, __u64 now, __u8 tos)
{
    if (!flow->ifindex) {
        /* At first TCP is told, as of a queue that is full: new data stays
         * with it.  Later what it sends is retransmissions, and these must
         * seem to leave, since its timers are driven by that: sal0 drops
         * them. */
        drop(SAL_COUNT_OUT_HELD);
        return now < flow->l2_expires_ns ? TC_ACT_SHOT : PASS;
    }
    return flow_outer_v6(flow)
           ? send_data_v(skb, settings, flow, now, tos, 1)
           : send_data_v(skb, settings, flow, now, tos, 0);
}

/* Builds the SAL header of a control packet of 'flow' in scratch->header. */
static __always_inline void
build_header(const struct sal_settings *settings, struct scratch *scratch,
             const struct sal_flow *flow, __u8 type, __u8 flags, __u32 len)
{
    struct sal_service_header *sal = (void *) scratch->header;
    struct sal_data_header *base = &sal->control.base;

    base->version = SAL_VERSION << 4;
    base->header_len = len / 4;
    base->type = type;
    base->proto = flow->wire.proto;
    base->src_flow = flow->id;
    base->dst_flow = flow->peer_id;
    base->flags_class = flow->flags_class | flags;
    base->inner = flow_inner_format(flow);
    base->checksum = 0;
    sal->control.seq = 0;
    sal->control.ack = 0;
    sal->control.nonce = flow->nonce;
    if (len >= SYN_HEADER_LEN) {
        __builtin_memcpy(sal->service_id, flow->service_id,
                         SAL_SERVICE_ID_LEN);
        __u8 *option = scratch->header + SAL_OFS_OPTIONS;
        option[0] = SAL_OPTION_ENDPOINT_ID;
        option[1] = ENDPOINT_OPTION_LEN;
        __builtin_memcpy(option + 2, settings->endpoint_id,
                         SAL_ENDPOINT_ID_LEN);
        option[2 + SAL_ENDPOINT_ID_LEN] = 0;
        option[3 + SAL_ENDPOINT_ID_LEN] = 0;
    }
    base->checksum = ~header_sum(scratch, len);
}

static __always_inline int
send_control_v(struct __sk_buff *skb, const struct sal_settings *settings,
               struct scratch *scratch, const struct sal_flow *flow,
               const __u32 len, __u8 tos, const int v6)
{
    if (bpf_skb_adjust_room(skb, OUTER_LEN(v6) + len, BPF_ADJ_ROOM_MAC,
                            ENCAP_FLAGS(v6))) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    if (data + SAL_OFS(v6) > end) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    write_outer(data, skb->len - ETH_HLEN, settings, flow, tos, v6);
    if (bpf_skb_store_bytes(skb, SAL_OFS(v6), scratch->header, len, 0)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    return bpf_redirect_neigh(flow->ifindex, NULL, 0, 0);
}

/* Sends the inner packet in 'skb' on behind a control header of 'len' bytes
 * (a constant). */
static __always_inline int
send_control(struct __sk_buff *skb, const struct sal_settings *settings,
             struct scratch *scratch, const struct sal_flow *flow, __u8 type,
             __u8 flags, const __u32 len, __u8 tos)
{
    build_header(settings, scratch, flow, type, flags, len);
    return flow_outer_v6(flow)
           ? send_control_v(skb, settings, scratch, flow, len, tos, 1)
           : send_control_v(skb, settings, scratch, flow, len, tos, 0);
}

static __always_inline int
write_local_ethernet(struct __sk_buff *skb,
                     const struct sal_settings *settings, int v6)
{
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    struct ethhdr *eth = data;
    if ((void *) (eth + 1) > end) {
        return -1;
    }
    __builtin_memcpy(eth->h_dest, settings->sal_mac, ETH_ALEN);
    eth->h_proto = v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
    return 0;
}

/* Hands the inner packet in 'skb' to the stack as if sal0 had received it:
 * reverse-path filters look at the device. */
static __always_inline int
deliver(struct __sk_buff *skb, const struct sal_settings *settings, int v6)
{
    if (write_local_ethernet(skb, settings, v6)) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    return bpf_redirect(settings->sal_ifindex, BPF_F_INGRESS);
}

/* As deliver(), of a copy; 'skb' stays.  Not 0 if that failed.  A stack that
 * drops the copy is no failure. */
static __always_inline int
deliver_copy(struct __sk_buff *skb, const struct sal_settings *settings,
             int v6)
{
    return write_local_ethernet(skb, settings, v6)
           || bpf_clone_redirect(skb, settings->sal_ifindex,
                                 BPF_F_INGRESS) < 0;
}

/* Before Linux 6.3 there is no way to say that what comes out of IPv6 is IPv4
 * (of which less than 40 bytes may be left): IPv6 is made IPv4 first. */
static __noinline int
decapsulate_4in6(struct __sk_buff *skb, __u32 header_len)
{
    __u32 room = OUTER_LEN(0) + header_len; /* 20 bytes less than IPv6's. */
    return bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0)
           || bpf_skb_adjust_room(skb, -(__s32) room, BPF_ADJ_ROOM_MAC,
                                  BPF_F_ADJ_ROOM_FIXED_GSO);
}

/* Strips outer headers and a SAL header of 'header_len' bytes.  Not 0 if the
 * kernel refuses. */
static __always_inline int
decapsulate(struct __sk_buff *skb, int outer_v6, int inner_v6,
            __u32 header_len)
{
    __s32 room = -(__s32) (OUTER_LEN(outer_v6) + header_len);
    __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;
    if (outer_v6 == inner_v6) {
        return bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, flags);
    }
    __u64 decap = inner_v6 ? DECAP_L3_IPV6 : DECAP_L3_IPV4;
    if (!no_decap_flags
        && !bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, flags | decap)) {
        return 0;
    }
    /* What comes out of IPv4 has a header at least as long. */
    return inner_v6
           ? bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, flags)
           : decapsulate_4in6(skb, header_len);
}

#endif /* emit.bpf.h */
