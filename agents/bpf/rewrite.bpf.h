/* SPDX-License-Identifier: Apache-2.0 */
/* Changing the addresses and ports of inner packets. */
#ifndef SALIENT_REWRITE_BPF_H
#define SALIENT_REWRITE_BPF_H 1

#include "agents/bpf/flow.bpf.h"

/* Prepares rewriting: what the change from the local to the wire tuple adds
 * to a checksum.  IPv4-mapped or not, the difference is that of all words. */
static __always_inline void
flow_prepare_rewrite(struct sal_flow *flow)
{
    struct sal_tuple *from = &flow->local, *to = &flow->wire;
    __be32 old_ports = from->lport | (__u32) from->rport << 16;
    __be32 new_ports = to->lport | (__u32) to->rport << 16;

    if (addr_equal(&from->local, &to->local)
        && addr_equal(&from->remote, &to->remote) && old_ports == new_ports) {
        return;
    }
    flow->flags |= SAL_FLOW_REWRITE;
    flow->address_diff = bpf_csum_diff(from->local.w, 2 * sizeof from->local,
                                       to->local.w, 2 * sizeof to->local, 0);
    flow->port_diff = bpf_csum_diff(&old_ports, 4, &new_ports, 4, 0);
}
_Static_assert(__builtin_offsetof(struct sal_tuple, remote)
               == sizeof(struct sal_addr), "addresses stand side by side");

/* Ones' complement negation: what undoes a checksum difference. */
static __always_inline __u32
diff_negate(__u32 diff)
{
    return ~diff;
}

static __always_inline void
write_addresses(void *header, const struct sal_addr *src,
                const struct sal_addr *dst, __u32 diff, const int v6)
{
    if (v6) {
        struct ipv6hdr *ip = header;
        addr_to_v6(&ip->saddr, src);
        addr_to_v6(&ip->daddr, dst);
    } else {
        struct iphdr *ip = header;
        ip->check = ~checksum_fold((__u64) (__u16) ~ip->check + diff);
        ip->saddr = src->w[3];
        ip->daddr = dst->w[3];
    }
}

/* Changes the inner addresses and ports of the TCP or UDP packet at the start
 * of 'skb' between what the local stack sees and what is on the wire.  Right
 * with any kind of checksum offload: TCP's and UDP's is left to the helper,
 * which knows whether it is a partial one. */
static __always_inline int
rewrite_inner_v(struct __sk_buff *skb, const struct sal_flow *flow,
                int outbound, const int v6)
{
    const struct sal_tuple *to = outbound ? &flow->wire : &flow->local;
    const __u32 tcp_ofs = ETH_HLEN + IP_LEN(v6);
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
    if (v6) {
        /* Where a device summed up the whole packet the helper takes
         * 'address_diff' off that sum, since IPv4's header checksum makes up
         * for the addresses.  IPv6 has none. */
        bpf_csum_update(skb, address_diff);
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
    struct udphdr *ports = data + tcp_ofs; /* TCP's are where UDP's are. */
    if ((void *) (ports + 1) > end) {
        return -1;
    }
    if (outbound) {
        write_addresses(data + ETH_HLEN, &to->local, &to->remote,
                        address_diff, v6);
        ports->source = to->lport;
        ports->dest = to->rport;
    } else {
        write_addresses(data + ETH_HLEN, &to->remote, &to->local,
                        address_diff, v6);
        ports->source = to->rport;
        ports->dest = to->lport;
    }
    return 0;
}

static __always_inline int
rewrite_inner(struct __sk_buff *skb, const struct sal_flow *flow, int outbound)
{
    return flow->flags & SAL_FLOW_INNER6
           ? rewrite_inner_v(skb, flow, outbound, 1)
           : rewrite_inner_v(skb, flow, outbound, 0);
}

#endif /* rewrite.bpf.h */
