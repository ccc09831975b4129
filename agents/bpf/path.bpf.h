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
 * (RFC 1122), and 1280 over IPv6 and inside (RFC 8200). */
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

static __always_inline __u32
path_floor(const struct sal_flow *flow)
{
    if (flow->flags & SAL_FLOW_INNER6) {
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

/* Takes over what other flows learnt of the way to the peer. */
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
    if (mtu >= settings->uplink_mtu
        || (flow->path_mtu && flow->path_mtu <= mtu)) {
        return 0;
    }
    path_set(flow, mtu, path.expires_ns);
    bpf_map_update_elem(&sal_paths, peer, &path, BPF_ANY);
    return 1;
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

/* Tells the local sender of 'skb', a packet of 'flow' with tuple and IP length
 * as given, if it is too large for the path.  PATH_FITS, or the verdict. */
#define PATH_FITS (-2)
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
    if (path_wire_len(skb, tuple, len) <= limit) {
        return PATH_FITS;
    }
    count(SAL_COUNT_OUT_PATH_MTU);
    return deliver_too_big(skb, settings, tuple, limit);
}

#endif /* path.bpf.h */
