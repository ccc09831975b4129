/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to packets: encapsulate, decapsulate, rewrite, answer. */
#ifndef SALIENT_EMIT_BPF_H
#define SALIENT_EMIT_BPF_H 1

#include "agents/bpf/flow.bpf.h"

#define ENCAP_FLAGS                                                           \
    (BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP               \
     | BPF_F_ADJ_ROOM_FIXED_GSO)

/* Length of the headers of SYN and SYN-ACK: an endpoint ID follows the
 * service ID, padded to 4 bytes. */
#define ENDPOINT_OPTION_LEN (2 + SAL_ENDPOINT_ID_LEN)
#define SYN_HEADER_LEN (SAL_SERVICE_HEADER_LEN + ENDPOINT_OPTION_LEN + 2)

/* How long an Ethernet address that was learnt is used. */
#define L2_LIFE_NS 1000000000ULL

/* Prepares rewriting: what the change from the local to the wire tuple adds
 * to a checksum. */
static __always_inline void
flow_prepare_rewrite(struct sal_flow *flow)
{
    const struct sal_tuple *from = &flow->local, *to = &flow->wire;
    __be32 old[2] = {from->local.w[3], from->remote.w[3]};
    __be32 new[2] = {to->local.w[3], to->remote.w[3]};
    __be32 old_ports = from->lport | (__u32) from->rport << 16;
    __be32 new_ports = to->lport | (__u32) to->rport << 16;

    if (old[0] == new[0] && old[1] == new[1] && old_ports == new_ports) {
        return;
    }
    flow->flags |= SAL_FLOW_REWRITE;
    flow->address_diff = bpf_csum_diff(old, 8, new, 8, 0);
    flow->port_diff = bpf_csum_diff(&old_ports, 4, &new_ports, 4, 0);
}

/* Ones' complement negation: what undoes a checksum difference. */
static __always_inline __u32
diff_negate(__u32 diff)
{
    return ~diff;
}

/* Changes the inner addresses and ports of the IPv4 TCP or UDP packet at
 * the start of 'skb' between what the local stack sees and what is on the
 * wire.  Right with any kind of checksum offload: its checksum is left to the helper,
 * which knows whether it is a partial one. */
static __always_inline int
rewrite_inner(struct __sk_buff *skb, const struct sal_flow *flow, int outbound)
{
    const struct sal_tuple *to = outbound ? &flow->wire : &flow->local;
    const __u32 tcp_ofs = ETH_HLEN + IP4_LEN;
    int udp = flow->local.proto == IPPROTO_UDP;
    const __u32 check_ofs = tcp_ofs
                            + (udp ? __builtin_offsetof(struct udphdr, check)
                                   : __builtin_offsetof(struct tcphdr, check));
    /* UDP's checksum may be absent, and is never 0 otherwise. */
    const __u64 mangled = udp ? BPF_F_MARK_MANGLED_0 : 0;
    __u32 address_diff = outbound ? flow->address_diff
                                  : diff_negate(flow->address_diff);

    if (bpf_l4_csum_replace(skb, check_ofs, 0, address_diff,
                            BPF_F_PSEUDO_HDR | mangled)) {
        return -1;
    }
    if (flow->port_diff) {
        __u32 port_diff = outbound ? flow->port_diff
                                   : diff_negate(flow->port_diff);
        if (bpf_l4_csum_replace(skb, check_ofs, 0, port_diff, mangled)) {
            return -1;
        }
    }

    void *data = packet_data(skb);
    void *end = packet_end(skb);
    struct iphdr *ip = data + ETH_HLEN;
    struct udphdr *ports = data + tcp_ofs; /* TCP's are where UDP's are. */
    if ((void *) (ports + 1) > end) {
        return -1;
    }
    ip->check = ~checksum_fold((__u64) (__u16) ~ip->check + address_diff);
    if (outbound) {
        ip->saddr = to->local.w[3];
        ip->daddr = to->remote.w[3];
        ports->source = to->lport;
        ports->dest = to->rport;
    } else {
        ip->saddr = to->remote.w[3];
        ip->daddr = to->local.w[3];
        ports->source = to->rport;
        ports->dest = to->lport;
    }
    return 0;
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
        || eth->h_source[0] & 1 || !addr_equal(src, &flow->peer_locator)) {
        return;
    }
    __builtin_memcpy(flow->l2, eth->h_source, ETH_ALEN);
    __builtin_memcpy(flow->l2 + ETH_ALEN, eth->h_dest, ETH_ALEN);
    flow->l2_expires_ns = now + L2_LIFE_NS;
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

/* Writes the outer IPv4 and UDP headers into the room made for them. */
static __always_inline void
write_outer4(struct iphdr *ip, const struct sal_flow *flow, __be16 sal_port,
             __u32 ip_len, __u8 tos)
{
    struct udphdr *udp = (struct udphdr *) (ip + 1);

    ip->version = 4;
    ip->ihl = 5;
    ip->tos = tos; /* RFC 6040: DSCP and ECN are copied outwards. */
    ip->tot_len = bpf_htons(ip_len);
    ip->id = 0;
    ip->frag_off = bpf_htons(IP_DONT_FRAGMENT);
    ip->ttl = 64;
    ip->protocol = IPPROTO_UDP;
    ip->saddr = flow->own_locator.w[3];
    ip->daddr = flow->peer_locator.w[3];
    ip_checksum(ip);
    udp->source = flow->entropy;
    udp->dest = flow->peer_port ? flow->peer_port : sal_port;
    udp->len = bpf_htons(ip_len - IP4_LEN);
    udp->check = 0; /* RFC 6935. */
}

/* Sends the inner packet in 'skb' on as DATA of 'flow'. */
static __always_inline int
send_data(struct __sk_buff *skb, const struct sal_settings *settings,
          struct sal_flow *flow, __u64 now, __u8 tos)
{
    if (!flow->ifindex) {
        return drop(SAL_COUNT_OUT_HELD); /* TCP learns that it was dropped. */
    }
    if (bpf_skb_adjust_room(skb, OUTER4_LEN + SAL_DATA_HEADER_LEN,
                            BPF_ADJ_ROOM_MAC, ENCAP_FLAGS)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    struct iphdr *ip = data + ETH_HLEN;
    struct sal_data_header *sal = data + SAL_OFS4;
    if ((void *) (sal + 1) > end) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    write_outer4(ip, flow, settings->sal_port, skb->len - ETH_HLEN, tos);
    sal->version = SAL_VERSION << 4;
    sal->header_len = SAL_DATA_HEADER_LEN / 4;
    sal->type = SAL_TYPE_DATA;
    sal->proto = flow->wire.proto;
    sal->src_flow = flow->id;
    sal->dst_flow = flow->peer_id;
    sal->flags_class = flow->flags_class;
    sal->inner = SAL_INNER_IPV4;
    sal->checksum = 0;
    count(SAL_COUNT_OUT_DATA);
    return output(skb, flow, now);
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
    base->inner = SAL_INNER_IPV4;
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

/* Sends the inner packet in 'skb' on behind a control header of 'len' bytes
 * (a constant). */
static __always_inline int
send_control(struct __sk_buff *skb, const struct sal_settings *settings,
             struct scratch *scratch, const struct sal_flow *flow, __u8 type,
             __u8 flags, const __u32 len, __u8 tos)
{
    if (bpf_skb_adjust_room(skb, OUTER4_LEN + len, BPF_ADJ_ROOM_MAC,
                            ENCAP_FLAGS)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    build_header(settings, scratch, flow, type, flags, len);

    void *data = packet_data(skb);
    void *end = packet_end(skb);
    struct iphdr *ip = data + ETH_HLEN;
    if (data + SAL_OFS4 > end) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    write_outer4(ip, flow, settings->sal_port, skb->len - ETH_HLEN, tos);
    if (bpf_skb_store_bytes(skb, SAL_OFS4, scratch->header, len, 0)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    return bpf_redirect_neigh(flow->ifindex, NULL, 0, 0);
}

/* Cuts the frame to 'len' bytes if the kernel lets us: it does not where the
 * packet was encapsulated on this machine (veth), nor where a checksum offload
 * points behind that.  What then stays is padding, which IP trims. */
static __always_inline void
trim(struct __sk_buff *skb, __u32 len)
{
    if (skb->len > len) {
        bpf_skb_change_tail(skb, len, 0);
    }
}

/* Writes a control packet of 'flow' that carries nothing over the start of
 * 'skb', which is long enough, and sends it. */
static __always_inline int
send_bare(struct __sk_buff *skb, const struct sal_settings *settings,
          struct scratch *scratch, const struct sal_flow *flow, __u8 type,
          const __u32 len)
{
    build_header(settings, scratch, flow, type, 0, len);
    struct sal_data_header *base = (void *) scratch->header;
    base->inner = SAL_INNER_NONE;
    base->checksum = 0;
    base->checksum = ~header_sum(scratch, len);

    void *data = packet_data(skb);
    void *end = packet_end(skb);
    if (data + SAL_OFS4 > end) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    write_outer4(data + ETH_HLEN, flow, settings->sal_port, OUTER4_LEN + len,
                 0);
    if (bpf_skb_store_bytes(skb, SAL_OFS4, scratch->header, len, 0)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    return bpf_redirect_neigh(flow->ifindex, NULL, 0, 0);
}

/* Hands the inner packet in 'skb' to the stack as if sal0 had received it:
 * reverse-path filters look at the device. */
static __always_inline int
deliver(struct __sk_buff *skb, const struct sal_settings *settings)
{
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    struct ethhdr *eth = data;
    if ((void *) (eth + 1) > end) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    __builtin_memcpy(eth->h_dest, settings->sal_mac, ETH_ALEN);
    eth->h_proto = bpf_htons(ETH_P_IP);
    return bpf_redirect(settings->sal_ifindex, BPF_F_INGRESS);
}

/* As deliver(), of a copy; 'skb' stays.  Not 0 if that failed.  A stack that
 * drops the copy is no failure. */
static __always_inline int
deliver_copy(struct __sk_buff *skb, const struct sal_settings *settings)
{
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    struct ethhdr *eth = data;
    if ((void *) (eth + 1) > end) {
        return -1;
    }
    __builtin_memcpy(eth->h_dest, settings->sal_mac, ETH_ALEN);
    eth->h_proto = bpf_htons(ETH_P_IP);
    return bpf_clone_redirect(skb, settings->sal_ifindex, BPF_F_INGRESS) < 0;
}

/* Strips outer headers and a SAL header of 'header_len' bytes. */
static __always_inline int
decapsulate(struct __sk_buff *skb, __u32 header_len)
{
    return bpf_skb_adjust_room(skb, -(__s32) (OUTER4_LEN + header_len),
                               BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO);
}

/* Turns 'skb' (Ethernet, then 40 bytes or more) into a TCP RST for the local
 * end of 'tuple' and hands it to the stack.  Any checksum offload that points
 * at TCP's checksum stays valid. */
static __noinline int
deliver_rst(struct __sk_buff *skb, const struct sal_settings *settings,
            const struct sal_tuple *tuple, __be32 seq, __be32 ack)
{
    if (!settings || !tuple) {
        return TC_ACT_SHOT;
    }
    struct inner rst = {
        .ip = {.version = 4,
               .ihl = 5,
               .tot_len = bpf_htons(sizeof rst),
               .frag_off = bpf_htons(IP_DONT_FRAGMENT),
               .ttl = 64,
               .protocol = IPPROTO_TCP,
               .saddr = tuple->remote.w[3],
               .daddr = tuple->local.w[3]},
        .tcp = {.source = tuple->rport,
                .dest = tuple->lport,
                .seq = seq,
                .ack_seq = ack,
                .doff = 5,
                .rst = 1,
                .ack = ack != 0},
    };
    ip_checksum(&rst.ip);
    __u64 sum = (__u64) rst.ip.saddr + rst.ip.daddr
                + bpf_htons(IPPROTO_TCP) + bpf_htons(TCP_LEN);
    sum += (__u32) bpf_csum_diff(NULL, 0, (__be32 *) &rst.tcp, TCP_LEN, 0);
    rst.tcp.check = ~checksum_fold(sum);

    /* What is left behind it is padding to IP, which trims it.
     * bpf_skb_change_tail() would, too, but refuses (ENOTSUPP) packets that
     * were encapsulated. */
    if (bpf_skb_store_bytes(skb, ETH_HLEN, &rst, sizeof rst,
                            BPF_F_RECOMPUTE_CSUM)) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    count(SAL_COUNT_OUT_RST_LOCAL);
    return deliver(skb, settings);
}

/* ICMP destination unreachable. */
struct unreachable {
    struct iphdr ip;
    __u8 type, code;
    __u16 checksum;
    __u32 unused;
    __u8 quoted[INNER_MIN];
};

/* Tells the local sender of the IPv4 packet in 'skb' that its port is
 * unreachable (RFC 792), as if the other end of 'tuple' had said so. */
static __noinline int
deliver_unreachable(struct __sk_buff *skb, const struct sal_settings *settings,
                    const struct sal_tuple *tuple)
{
    struct scratch *scratch = scratch_get();
    if (!scratch || !settings || !tuple) {
        return TC_ACT_SHOT;
    }
    struct unreachable *error = (void *) scratch->chunk;
    __builtin_memset(error, 0, sizeof *error);
    if (bpf_skb_load_bytes(skb, ETH_HLEN, error->quoted, INNER_MIN)
        || bpf_skb_adjust_room(skb, IP4_LEN + 8, BPF_ADJ_ROOM_MAC, 0)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    error->ip.version = 4;
    error->ip.ihl = 5;
    error->ip.tot_len = bpf_htons(sizeof *error);
    error->ip.ttl = 64;
    error->ip.protocol = IPPROTO_ICMP;
    error->ip.saddr = tuple->remote.w[3];
    error->ip.daddr = tuple->local.w[3];
    ip_checksum(&error->ip);
    error->type = 3;
    error->code = 3;
    error->checksum =
        ~checksum_fold((__u32) bpf_csum_diff(NULL, 0, (__be32 *) &error->type,
                                             sizeof *error - IP4_LEN, 0));
    if (bpf_skb_store_bytes(skb, ETH_HLEN, error, sizeof *error, 0)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    count(SAL_COUNT_OUT_UNREACHABLE);
    return deliver(skb, settings);
}

/* Answers the control packet in 'skb', whose SAL header of 'header_len' bytes
 * is in scratch->header, with a RESET that echoes flow ID and nonce.  The rest
 * of the packet goes back with it: as in an ICMP error, the sender sees what
 * was refused, and a checksum offload that points into the inner packet stays
 * valid. */
static __noinline int
answer_reset(struct __sk_buff *skb, struct scratch *scratch, __u32 header_len)
{
    if (!scratch || header_len < SAL_CONTROL_HEADER_LEN
        || header_len > SAL_MAX_HEADER_LEN) {
        return TC_ACT_SHOT;
    }
    struct sal_data_header *base = (void *) scratch->header;
    __u32 src_flow = base->src_flow;
    int from_nat = base->type == SAL_TYPE_SYN
                   && base->flags_class & SAL_FLAG_NAT;

    base->type = SAL_TYPE_RESET;
    base->src_flow = base->dst_flow;
    base->dst_flow = src_flow;
    base->flags_class &= SAL_PATH_CLASS_MASK;
    base->checksum = 0;
    base->checksum = ~header_sum(scratch, header_len);
    if (bpf_skb_store_bytes(skb, SAL_OFS4, scratch->header, header_len,
                            BPF_F_RECOMPUTE_CSUM)) {
        return drop(SAL_COUNT_IN_FAILED);
    }

    void *data = packet_data(skb);
    void *end = packet_end(skb);
    struct iphdr *ip = data + ETH_HLEN;
    struct udphdr *udp = data + ETH_HLEN + IP4_LEN;
    if ((void *) (udp + 1) > end) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    __be32 dst = ip->saddr;
    ip->saddr = ip->daddr;
    ip->daddr = dst;
    if (from_nat) {
        __be16 port = udp->source;
        udp->source = udp->dest;
        udp->dest = port;
    }
    ip->tos = 0;
    ip->ttl = 64;
    ip_checksum(ip);
    udp->check = 0;
    count(SAL_COUNT_OUT_RESET);
    return bpf_redirect_neigh(skb->ifindex, NULL, 0, 0);
}

#endif /* emit.bpf.h */
