/* SPDX-License-Identifier: Apache-2.0 */
/* Saying no: RST and ICMP to the local stack, RESET to the peer. */
#ifndef SALIENT_REFUSE_BPF_H
#define SALIENT_REFUSE_BPF_H 1

#include "agents/bpf/emit.bpf.h"

/* The sum of the pseudo header that TCP, UDP and ICMPv6 have, between the
 * ends of 'tuple'.  What makes IPv4 addresses IPv4-mapped adds nothing: 0xffff
 * is 0 in ones' complement. */
static __always_inline __u64
pseudo_header_sum(const struct sal_tuple *tuple, __u32 len, __u8 proto)
{
    return (__u64) (__u32) bpf_csum_diff(NULL, 0,
                                         (__be32 *) tuple->local.w,
                                         2 * sizeof tuple->local, 0)
           + bpf_htons(proto) + bpf_htons(len);
}

/* Writes the IP header of 'len' bytes of 'proto' from the remote to the local
 * end of 'tuple'. */
static __always_inline void
write_local_ip(void *header, const struct sal_tuple *tuple, __u32 len,
               __u8 proto, const int v6)
{
    if (v6) {
        struct ipv6hdr *ip = header;
        *(__be32 *) ip = ip6_first_word(0, 0);
        ip->payload_len = bpf_htons(len);
        ip->nexthdr = proto;
        ip->hop_limit = 64;
        addr_to_v6(&ip->saddr, &tuple->remote);
        addr_to_v6(&ip->daddr, &tuple->local);
    } else {
        struct iphdr *ip = header;
        ip->version = 4;
        ip->ihl = 5;
        ip->tos = 0;
        ip->tot_len = bpf_htons(IP4_LEN + len);
        ip->id = 0;
        ip->frag_off = bpf_htons(IP_DONT_FRAGMENT);
        ip->ttl = 64;
        ip->protocol = proto;
        ip->saddr = tuple->remote.w[3];
        ip->daddr = tuple->local.w[3];
        ip_checksum(ip);
    }
}

static __always_inline int
deliver_rst_v(struct __sk_buff *skb, const struct sal_settings *settings,
              struct scratch *scratch, const struct sal_tuple *tuple,
              const struct tcphdr *tcp, const int v6)
{
    const __u32 len = IP_LEN(v6) + TCP_LEN;
    write_local_ip(scratch->chunk, tuple, TCP_LEN, IPPROTO_TCP, v6);
    __builtin_memcpy(scratch->chunk + IP_LEN(v6), tcp, TCP_LEN);

    /* What is left behind it is padding to IP, which trims it.
     * bpf_skb_change_tail() would, too, but refuses (ENOTSUPP) packets that
     * were encapsulated. */
    if (bpf_skb_store_bytes(skb, ETH_HLEN, scratch->chunk, len,
                            BPF_F_RECOMPUTE_CSUM)) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    count(SAL_COUNT_OUT_RST_LOCAL);
    return deliver(skb, settings, v6);
}

/* Turns 'skb' (Ethernet, then a packet as large as what it becomes) into a
 * TCP RST for the local end of 'tuple' and hands it to the stack.  Any
 * checksum offload that points at TCP's checksum stays valid. */
GLOBAL int
deliver_rst(struct __sk_buff *skb, const struct sal_settings *settings,
            const struct sal_tuple *tuple, __be32 seq, __be32 ack)
{
    struct scratch *scratch = scratch_get();
    if (!settings || !tuple || !scratch) {
        return TC_ACT_SHOT;
    }
    struct tcphdr tcp = {.source = tuple->rport,
                         .dest = tuple->lport,
                         .seq = seq,
                         .ack_seq = ack,
                         .doff = 5,
                         .rst = 1,
                         .ack = ack != 0};
    __u64 sum = pseudo_header_sum(tuple, TCP_LEN, IPPROTO_TCP)
                + (__u32) bpf_csum_diff(NULL, 0, (__be32 *) &tcp, TCP_LEN, 0);
    tcp.check = ~checksum_fold(sum);
    return addr_is_v6(&tuple->local)
           ? deliver_rst_v(skb, settings, scratch, tuple, &tcp, 1)
           : deliver_rst_v(skb, settings, scratch, tuple, &tcp, 0);
}

/* An ICMP or ICMPv6 error.  It quotes the IP header and that of TCP, or 8
 * bytes: a checksum offload that points at TCP's checksum must point into the
 * packet, or IP does not trim what is behind it but drops all. */
struct icmp_error {
    __u8 type, code;
    __u16 checksum;
    __be32 rest;
    __u8 quoted[IP6_LEN + TCP_LEN];
};
#define ICMP_LEN(V6, QUOTED) (8 + IP_LEN(V6) + (QUOTED))

static __always_inline int
deliver_icmp_v(struct __sk_buff *skb, const struct sal_settings *settings,
               const struct sal_tuple *tuple, const struct icmp_error *like,
               const __u32 len, const int v6)
{
    struct scratch *scratch = scratch_get();
    if (!scratch) {
        return TC_ACT_SHOT;
    }
    const __u8 proto = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    struct icmp_error *error = (void *) (scratch->chunk + IP_LEN(v6));
    error->type = like->type;
    error->code = like->code;
    error->checksum = 0;
    error->rest = like->rest;
    if (bpf_skb_load_bytes(skb, ETH_HLEN, error->quoted, len - 8)
        || bpf_skb_adjust_room(skb, IP_LEN(v6) + 8, BPF_ADJ_ROOM_MAC, 0)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    write_local_ip(scratch->chunk, tuple, len, proto, v6);
    __u64 sum = (__u32) bpf_csum_diff(NULL, 0, (__be32 *) error, len, 0);
    if (v6) {
        sum += pseudo_header_sum(tuple, len, proto);
    }
    error->checksum = ~checksum_fold(sum);
    if (bpf_skb_store_bytes(skb, ETH_HLEN, scratch->chunk, IP_LEN(v6) + len,
                            0)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    return deliver(skb, settings, v6);
}

static __always_inline int
deliver_icmp(struct __sk_buff *skb, const struct sal_settings *settings,
             const struct sal_tuple *tuple, const struct icmp_error *like,
             const int v6)
{
    return tuple->proto == IPPROTO_TCP
           ? deliver_icmp_v(skb, settings, tuple, like, ICMP_LEN(v6, TCP_LEN),
                            v6)
           : deliver_icmp_v(skb, settings, tuple, like, ICMP_LEN(v6, UDP_LEN),
                            v6);
}

/* Tells the local sender of the packet in 'skb' that its port is unreachable
 * (RFC 792, RFC 4443), as if the other end of 'tuple' had said so. */
GLOBAL int
deliver_unreachable(struct __sk_buff *skb, const struct sal_settings *settings,
                    const struct sal_tuple *tuple)
{
    if (!settings || !tuple) {
        return TC_ACT_SHOT;
    }
    struct icmp_error v4 = {.type = 3, .code = 3}, v6 = {.type = 1, .code = 4};
    count(SAL_COUNT_OUT_UNREACHABLE);
    return addr_is_v6(&tuple->local)
           ? deliver_icmp(skb, settings, tuple, &v6, 1)
           : deliver_icmp(skb, settings, tuple, &v4, 0);
}

/* Tells the local sender of the packet in 'skb' that no more than 'mtu' bytes
 * fit (RFC 1191, RFC 8201). */
GLOBAL int
deliver_too_big(struct __sk_buff *skb, const struct sal_settings *settings,
                const struct sal_tuple *tuple, __u32 mtu)
{
    if (!settings || !tuple) {
        return TC_ACT_SHOT;
    }
    struct icmp_error v4 = {.type = 3, .code = 4, .rest = bpf_htonl(mtu)};
    struct icmp_error v6 = {.type = 2, .rest = bpf_htonl(mtu)};
    return addr_is_v6(&tuple->local)
           ? deliver_icmp(skb, settings, tuple, &v6, 1)
           : deliver_icmp(skb, settings, tuple, &v4, 0);
}

/* Sends the packet back whose outer headers 'skb' begins with, to the UDP port
 * that it is from if that is a NAT's. */
static __always_inline int
return_to_sender(struct __sk_buff *skb, int from_nat, const int v6)
{
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    struct udphdr *udp = data + ETH_HLEN + IP_LEN(v6);
    if ((void *) (udp + 1) > end) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    if (v6) {
        struct ipv6hdr *ip = data + ETH_HLEN;
        struct in6_addr dst = ip->saddr;
        *(__be32 *) ip = ip6_first_word(0, 0);
        ip->saddr = ip->daddr;
        ip->daddr = dst;
        ip->hop_limit = 64;
    } else {
        struct iphdr *ip = data + ETH_HLEN;
        __be32 dst = ip->saddr;
        ip->saddr = ip->daddr;
        ip->daddr = dst;
        ip->tos = 0;
        ip->ttl = 64;
        ip_checksum(ip);
    }
    if (from_nat) {
        __be16 port = udp->source;
        udp->source = udp->dest;
        udp->dest = port;
    }
    udp->check = 0;
    return bpf_redirect_neigh(skb->ifindex, NULL, 0, 0);
}

/* Answers the control packet in 'skb', whose SAL header is in
 * scratch->header, with a RESET or ACK that echoes flow ID and nonce.  The
 * rest of the packet goes back with it: as in an ICMP error, the sender sees
 * what was refused, and a checksum offload that points into the inner packet
 * stays valid. */
GLOBAL int
answer(struct __sk_buff *skb, struct scratch *scratch,
       const struct control *control, __u8 type)
{
    if (!scratch || !control) {
        return TC_ACT_SHOT;
    }
    __u32 header_len = control->header_len;
    if (header_len < SAL_CONTROL_HEADER_LEN
        || header_len > SAL_MAX_HEADER_LEN) {
        return TC_ACT_SHOT;
    }
    struct sal_data_header *base = (void *) scratch->header;
    __u32 src_flow = base->src_flow;
    int from_nat = (base->type == SAL_TYPE_SYN
                    || base->type == SAL_TYPE_DATAGRAM)
                   && base->flags_class & SAL_FLAG_NAT;

    base->type = type;
    base->src_flow = base->dst_flow;
    base->dst_flow = src_flow;
    base->flags_class = (base->flags_class & SAL_PATH_CLASS_MASK)
                        | control->reset_flags;
    base->checksum = 0;
    base->checksum = ~header_sum(scratch, header_len);
    if (bpf_skb_store_bytes(skb, control->outer.sal_ofs, scratch->header,
                            header_len, BPF_F_RECOMPUTE_CSUM)) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    count(type == SAL_TYPE_ACK ? SAL_COUNT_OUT_ACK : SAL_COUNT_OUT_RESET);
    return control->outer.v6 ? return_to_sender(skb, from_nat, 1)
                             : return_to_sender(skb, from_nat, 0);
}

#endif /* refuse.bpf.h */
