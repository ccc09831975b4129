/* SPDX-License-Identifier: Apache-2.0 */
/* Path MTUs.  A router that cannot pass an outer packet on says so by ICMP,
 * and quotes it (icmp.bpf.h); what it says is kept with the flow, and by peer
 * for the next flows.  An inner packet that is too large for it is answered as
 * that router would answer if there were no SAL, and its sender adapts. */
#ifndef SALIENT_PATH_BPF_H
#define SALIENT_PATH_BPF_H 1

#include "agents/bpf/refuse.bpf.h"

/* RFC 1191, 6.3: what was learnt is tried again after ten minutes. */
#define PATH_LIFE_NS 600000000000ULL

/* Nobody can make us believe in less than what IP itself promises: 576 bytes
 * (RFC 1122), and 1280 over IPv6 (RFC 8200). */
#define PATH_MIN_V4 576
#define PATH_MIN_V6 1280

static __always_inline __u32
path_overhead(const struct sal_flow *flow)
{
    return OUTER_LEN(flow_outer_v6(flow)) + SAL_DATA_HEADER_LEN;
}

/* What outer packets of 'flow' may have. */
static __always_inline __u32
path_mtu(const struct sal_settings *settings, const struct sal_flow *flow)
{
    return flow->path_mtu ? flow->path_mtu : settings->uplink_mtu;
}

/* TCP over IPv6 inside can be cut (path_cut()); all else must have what IPv6
 * promises. */
static __always_inline __u32
path_floor(const struct sal_flow *flow)
{
    if (flow->flags & SAL_FLOW_INNER6 && flow->wire.proto != IPPROTO_TCP) {
        return PATH_MIN_V6 + path_overhead(flow);
    }
    return flow_outer_v6(flow) ? PATH_MIN_V6 : PATH_MIN_V4;
}

static __always_inline void
path_set(struct sal_flow *flow, __u32 mtu, __u64 expires_ns)
{
    __u32 floor = path_floor(flow);
    flow->path_mtu = mtu < floor ? floor : mtu;
    flow->path_expires_ns = expires_ns;
}

/* Takes over what other flows learnt of the way to the peer.  'flow' knows its
 * protocol. */
static __always_inline void
path_recall(struct sal_flow *flow)
{
    const struct sal_path *path =
        bpf_map_lookup_elem(&sal_paths, &flow->peer_locator);
    flow->path_mtu = 0;
    if (path && bpf_ktime_get_ns() < path->expires_ns) {
        path_set(flow, path->mtu, path->expires_ns);
    }
}

/* Learns that only 'mtu' bytes fit to 'peer'.  True if that is news. */
static __always_inline int
path_learn(const struct sal_settings *settings, struct sal_flow *flow,
           const struct sal_addr *peer, __u32 mtu)
{
    struct sal_path path = {
        .mtu = mtu,
        .expires_ns = bpf_ktime_get_coarse_ns() + PATH_LIFE_NS};
    __u32 known = flow->path_mtu;
    if (mtu >= settings->uplink_mtu || (known && known <= mtu)) {
        return 0;
    }
    path_set(flow, mtu, path.expires_ns);
    bpf_map_update_elem(&sal_paths, peer, &path, BPF_ANY);
    return flow->path_mtu != known; /* It may be at its floor. */
}

/* IPv6 cannot be told of less than 1280 bytes, which do not fit a path that
 * has less than that and our headers.  But TCP keeps to the MSS that the other
 * end asks for: in a SYN or SYN-ACK of 'flow' that came (at the start of
 * 'skb', with IPv6) it becomes what fits.  Not 0 if the kernel refuses. */
static __noinline int
path_clamp_mss(struct __sk_buff *skb, const struct sal_flow *flow)
{
    const __u32 tcp_ofs = ETH_HLEN + IP6_LEN, option_ofs = tcp_ofs + TCP_LEN;
    struct scratch *scratch = scratch_get();

    if (!flow || !scratch) {
        return 0;
    }
    /* From the header's length on, with the first option: stacks have it
     * there. */
    const struct {
        __u8 doff, before[7];
        __u8 kind, len;
        __be16 mss;
    } *tcp = (void *) scratch->chunk;
    scratch->next = flow->peer_locator; /* The stack is short. */
    const struct sal_path *path =
        bpf_map_lookup_elem(&sal_paths, &scratch->next);
    if (!path || path->mtu >= PATH_MIN_V6 + path_overhead(flow)
        || path->mtu < PATH_MIN_V4
        || bpf_ktime_get_coarse_ns() >= path->expires_ns
        || bpf_skb_load_bytes(skb, tcp_ofs + 12, scratch->chunk, sizeof *tcp)
        || tcp->doff >> 4 <= 5 || tcp->kind != 2 || tcp->len != 4) {
        return 0;
    }
    __u32 fits = path->mtu - path_overhead(flow) - IP6_LEN - TCP_LEN;
    __be16 mss = bpf_htons(fits);
    if (bpf_ntohs(tcp->mss) <= fits) {
        return 0;
    }
    count(SAL_COUNT_IN_MSS);
    return bpf_l4_csum_replace(skb,
                               tcp_ofs
                               + __builtin_offsetof(struct tcphdr, check),
                               tcp->mss, mss, sizeof mss)
           || bpf_skb_store_bytes(skb, option_ofs + 2, &mss, sizeof mss, 0);
}

/* Length of the largest IP packet that 'skb', of 'len' bytes with IP header,
 * is on the wire: GSO cuts it later. */
static __always_inline __u32
path_wire_len(struct __sk_buff *skb, const struct sal_tuple *tuple, __u32 len)
{
    __u32 headers = IP_LEN(addr_is_v6(&tuple->local));
    __u8 doff = 0;
    if (!skb->gso_size) {
        return len;
    }
    if (tuple->proto == IPPROTO_TCP) {
        bpf_skb_load_bytes(skb, ETH_HLEN + headers + 12, &doff, sizeof doff);
        headers += (doff >> 4) * 4;
    } else {
        headers += UDP_LEN;
    }
    return headers + skb->gso_size;
}

#define PATH_FITS (-2)

/* Has GSO cut 'skb' into segments that are shorter by 'n' bytes.  Room that is
 * made, and not said to be of a header, is taken from each. */
static __always_inline int
path_cut_gso(struct __sk_buff *skb, __u32 n)
{
    if (bpf_skb_adjust_room(skb, n, BPF_ADJ_ROOM_MAC, 0)
        || bpf_skb_adjust_room(skb, -(__s32) n, BPF_ADJ_ROOM_MAC,
                               BPF_F_ADJ_ROOM_FIXED_GSO)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    count(SAL_COUNT_OUT_PATH_CUT);
    return PATH_FITS;
}

/* The TCP segment that path_cut() has in hand, in scratch->held_frame: nothing
 * is held of TCP's. */
struct path_segment {
    struct ipv6hdr ip;
    struct tcphdr tcp;
    __u8 pad[4];
    __u8 rest[2048]; /* No more than PATH_MIN_V6, but a power of 2. */
};
_Static_assert(sizeof(struct path_segment) <= SAL_HELD_MAX, "path_segment");

/* The sum of what must change besides the length. */
static __always_inline __u32
path_segment_sum(const struct tcphdr *from, const struct tcphdr *to,
                 __u16 gone)
{
    const __be32 *old = (const void *) from, *new = (const void *) to;
    __be32 was[2] = {old[1], old[3]}, is[2] = {new[1], new[3]};
    return bpf_csum_diff(was, sizeof was, is, sizeof is, (__u16) ~gone);
}

/* Gives 'skb' the headers of a piece of segment 'scratch->held_frame': 'len'
 * bytes of IPv6 payload, data from 'skip' on, without flags 'not', and without
 * data whose sum is 'gone'.  A checksum that is left to a device is that of
 * the pseudo header alone, so the first helper changes it and the second does
 * not. */
static __noinline int
path_piece_headers(struct __sk_buff *skb, __u32 len, __u32 skip, __u8 not,
                   __u16 gone)
{
    const __u32 check_ofs = ETH_HLEN + IP6_LEN
                            + __builtin_offsetof(struct tcphdr, check);
    struct scratch *scratch = scratch_get();
    if (!scratch) {
        return -1;
    }
    const struct path_segment *segment = (void *) scratch->held_frame;
    struct path_segment *piece = (void *) scratch->chunk;
    __be32 was = bpf_htonl(bpf_ntohs(segment->ip.payload_len));
    __be32 is = bpf_htonl(len);

    __builtin_memcpy(piece, segment, INNER_TCP_MIN(1));
    piece->ip.payload_len = bpf_htons(len);
    piece->tcp.seq = bpf_htonl(bpf_ntohl(segment->tcp.seq) + skip);
    ((__u8 *) &piece->tcp)[TCP_FLAGS_OFS] &= ~not;
    return bpf_skb_store_bytes(skb, ETH_HLEN, piece, INNER_TCP_MIN(1), 0)
           || bpf_l4_csum_replace(skb, check_ofs, 0,
                                  bpf_csum_diff(&was, 4, &is, 4, 0),
                                  BPF_F_PSEUDO_HDR)
           || bpf_l4_csum_replace(skb, check_ofs, 0,
                                  path_segment_sum(&segment->tcp, &piece->tcp,
                                                   gone), 0);
}

/* Sends the TCP segment 'skb', IPv6 of 'len' bytes, as two, of which the first
 * has no more than 'limit'.  Both go by sal0 again, where the second may be
 * cut again.  (An IPv6 sender need not believe that less than 1280 bytes fit,
 * and Linux does not.) */
GLOBAL int
path_cut(struct __sk_buff *skb, const struct sal_settings *settings, __u32 len,
         __u32 limit)
{
    struct scratch *scratch = scratch_get();
    if (!scratch || !settings || len > PATH_MIN_V6
        || len > skb->len - ETH_HLEN) {
        return TC_ACT_SHOT;
    }
    struct path_segment *segment = (void *) scratch->held_frame;
    if (bpf_skb_load_bytes(skb, ETH_HLEN, segment, INNER_TCP_MIN(1))) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    const __u32 headers = IP6_LEN + segment->tcp.doff * 4;
    if (headers + 4 > limit || len <= limit) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    const __u32 first = (limit - headers) & ~3u; /* Sums want it even. */
    const __u32 rest_ofs = ETH_HLEN + headers + first;
    /* 1..1280, as 'len' is more than 'limit'; Linux 6.1 sees 1..2048. */
    __u32 rest = len - headers - first - 1;
    bound_hint(rest);
    rest = (rest & (sizeof segment->rest - 1)) + 1;
    if (bpf_skb_load_bytes(skb, rest_ofs, segment->rest, rest)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    int first_sum = packet_sum(skb, ETH_HLEN + headers, first, 0);
    int rest_sum = packet_sum(skb, rest_ofs, rest, 0);
    if (first_sum < 0 || rest_sum < 0
        || bpf_skb_change_tail(skb, rest_ofs, 0)
        || path_piece_headers(skb, headers - IP6_LEN + first, 0,
                              TCP_FIN | TCP_PSH, rest_sum)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    count(SAL_COUNT_OUT_PATH_CUT);
    bpf_clone_redirect(skb, settings->sal_ifindex, 0);
    if (bpf_skb_change_tail(skb, ETH_HLEN + headers + rest, 0)
        || path_piece_headers(skb, headers - IP6_LEN + rest, first, TCP_CWR,
                              first_sum)
        || bpf_skb_store_bytes(skb, ETH_HLEN + headers, segment->rest, rest,
                               0)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    return bpf_redirect(settings->sal_ifindex, 0);
}

/* Tells the local sender of 'skb', a packet of 'flow' with tuple and IP length
 * as given, if it is too large for the path.  PATH_FITS, or the verdict. */
GLOBAL int
path_check(struct __sk_buff *skb, const struct sal_settings *settings,
           struct sal_flow *flow, const struct sal_tuple *tuple, __u32 len)
{
    if (!settings || !flow || !tuple) {
        return TC_ACT_SHOT;
    }
    if (bpf_ktime_get_coarse_ns() >= flow->path_expires_ns) {
        flow->path_mtu = 0;
        return PATH_FITS;
    }
    __u32 limit = flow->path_mtu - path_overhead(flow);
    __u32 wire_len = path_wire_len(skb, tuple, len);
    if (wire_len <= limit) {
        return PATH_FITS;
    }
    if (limit < PATH_MIN_V6 && addr_is_v6(&tuple->local)) {
        if (wire_len <= PATH_MIN_V6) {
            return skb->gso_size ? path_cut_gso(skb, wire_len - limit)
                                 : path_cut(skb, settings, len, limit);
        }
        limit = PATH_MIN_V6;
    }
    count(SAL_COUNT_OUT_PATH_MTU);
    return deliver_too_big(skb, settings, tuple, limit);
}

#endif /* path.bpf.h */
