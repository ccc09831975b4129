/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP and ICMPv6 errors about outer packets of ours.  They are believed only
 * if they quote enough to show that a packet of a flow was seen: addresses,
 * ports, both flow IDs; of a half-open flow, whose SYN a switch may have sent
 * to another address than we did, the nonce.  Then the kernel has them, too. */
#ifndef SALIENT_ICMP_BPF_H
#define SALIENT_ICMP_BPF_H 1

#include "agents/bpf/ingress.bpf.h"
#include "agents/bpf/path.bpf.h"

#define ICMP_HEADER_LEN 8

/* Where things stand in the frame behind the Ethernet header. */
#define ICMP_OFS(V6) IP_LEN(V6)
#define QUOTED_OFS(V6) (ICMP_OFS(V6) + ICMP_HEADER_LEN)
#define QUOTED_SAL_OFS(V6) (QUOTED_OFS(V6) + OUTER_LEN(V6))

struct quoted {
    struct sal_addr src, dst;
    __be16 sport, dport;
    __u32 mtu; /* 0: unreachable. */
    struct sal_data_header sal;
};

/* What an ICMP header says: 0 if it is nothing for us. */
static __always_inline int
icmp_read(const __u8 *icmp, struct quoted *quoted, const int v6)
{
    __u8 type = icmp[0], code = icmp[1];
    __be32 rest = *(const __be32 *) (icmp + 4);

    if (v6 ? type == 2 : type == 3 && code == 4) {
        /* RFC 1191: routers before it say 0. */
        quoted->mtu = bpf_ntohl(rest);
        if (!v6) {
            quoted->mtu &= 0xffff;
        }
        quoted->mtu = quoted->mtu < PATH_MIN_V4 ? PATH_MIN_V4 : quoted->mtu;
        return 1;
    }
    quoted->mtu = 0;
    return type == (v6 ? 1 : 3);
}

/* Reads what is quoted: 'ip' is followed by UDP and the SAL header. */
static __always_inline int
quoted_read(const void *ip, struct quoted *quoted, const int v6)
{
    const struct udphdr *udp = ip + IP_LEN(v6);
    if (v6) {
        const struct ipv6hdr *ip6 = ip;
        if (ip6->version != 6 || ip6->nexthdr != IPPROTO_UDP) {
            return 0;
        }
        addr_from_v6(&quoted->src, &ip6->saddr);
        addr_from_v6(&quoted->dst, &ip6->daddr);
    } else {
        const struct iphdr *ip4 = ip;
        if (ip4->version != 4 || ip4->ihl != 5
            || ip4->protocol != IPPROTO_UDP
            || ip4->frag_off & bpf_htons(0x1fff)) {
            return 0;
        }
        addr_from_v4(&quoted->src, ip4->saddr);
        addr_from_v4(&quoted->dst, ip4->daddr);
    }
    quoted->sport = udp->source;
    quoted->dport = udp->dest;
    quoted->sal = *(const struct sal_data_header *) (udp + 1);
    return quoted->sal.version >> 4 == SAL_VERSION;
}

static __always_inline int
icmp_checksum_ok(struct __sk_buff *skb, const void *header, const int v6)
{
    __u32 len = ip_total_len(header, v6);
    __u64 sum = 0;
    if (len > skb->len - ETH_HLEN || len < IP_LEN(v6)) {
        return 0;
    }
    len -= IP_LEN(v6);
    if (v6) {
        const struct ipv6hdr *ip = header;
        sum = (__u64) (__u32) bpf_csum_diff(NULL, 0, (__be32 *) &ip->saddr,
                                            2 * sizeof ip->saddr, 0)
              + bpf_htons(IPPROTO_ICMPV6) + bpf_htons(len);
    }
    return checksum_ok(skb, ETH_HLEN + ICMP_OFS(v6), len, sum);
}

/* The flow that the quoted packet is of, or NULL.  'nonce_ofs' is where the
 * nonce would stand in the frame. */
static __always_inline struct sal_flow *
quoted_flow(struct __sk_buff *skb, const struct sal_settings *settings,
            const struct quoted *quoted, __u32 nonce_ofs)
{
    struct sal_flow *flow = flow_by_id(quoted->sal.src_flow);
    if (!flow) {
        flow = half_flow_by_id(quoted->sal.src_flow);
    }
    __be16 port = settings->sal_port;
    if (flow && flow->peer_port) {
        port = flow->peer_port;
    }
    if (!flow || !addr_equal(&flow->own_locator, &quoted->src)
        || flow->entropy != quoted->sport || quoted->dport != port
        || flow->peer_id != quoted->sal.dst_flow) {
        return NULL;
    }
    if (flow->state == SAL_FLOW_HALF_OPEN) {
        __u64 nonce = 0;
        return !bpf_skb_load_bytes(skb, nonce_ofs, &nonce, sizeof nonce)
               && nonce == flow->nonce ? flow : NULL;
    }
    return addr_equal(&flow->peer_locator, &quoted->dst) ? flow : NULL;
}

static __always_inline int
quote_datagram(struct __sk_buff *skb, struct scratch *scratch,
               const struct sal_tuple *tuple, const int v6)
{
    struct sal_tuple *back = &scratch->flow.wire;
    struct udphdr *udp = (void *) scratch->chunk + IP_LEN(v6);

    back->local = tuple->remote;
    back->remote = tuple->local;
    write_local_ip(scratch->chunk, back, UDP_LEN, IPPROTO_UDP, v6);
    udp->source = tuple->lport;
    udp->dest = tuple->rport;
    udp->len = bpf_htons(UDP_LEN);
    udp->check = 0;
    return bpf_skb_store_bytes(skb, ETH_HLEN, scratch->chunk, INNER_MIN(v6),
                               0);
}

/* Ends half-open client 'flow', whose SYN does not arrive. */
static __noinline int
icmp_refuse(struct __sk_buff *skb, const struct sal_settings *settings,
            struct sal_flow *flow)
{
    struct scratch *scratch = scratch_get();
    if (!settings || !flow || !scratch) {
        return TC_ACT_SHOT;
    }
    struct sal_tuple *tuple = &scratch->flow.local; /* Outlives the flow. */
    *tuple = flow->local;
    __be32 ack = bpf_htonl(bpf_ntohl(flow->isn_out) + 1);
    half_flow_delete(flow);
    count(SAL_COUNT_IN_ICMP_REFUSED);
    if (tuple->proto == IPPROTO_TCP) {
        return deliver_rst(skb, settings, tuple, 0, ack);
    }
    /* ICMP quotes, but there is only what the router quoted. */
    if (addr_is_v6(&tuple->local) ? quote_datagram(skb, scratch, tuple, 1)
                                  : quote_datagram(skb, scratch, tuple, 0)) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    return deliver_unreachable(skb, settings, tuple);
}

static __always_inline int
ingress_icmp_v(struct __sk_buff *skb, const struct sal_settings *settings,
               struct scratch *scratch, const int v6)
{
    const __u32 want = QUOTED_SAL_OFS(v6) + SAL_DATA_HEADER_LEN;
    const void *header = scratch->chunk;
    struct quoted quoted;

    if (bpf_skb_load_bytes(skb, ETH_HLEN, scratch->chunk, want)
        || !icmp_read(header + ICMP_OFS(v6), &quoted, v6)
        || !quoted_read(header + QUOTED_OFS(v6), &quoted, v6)
        || (quoted.dport != settings->sal_port
            && quoted.sport != settings->sal_port)) {
        return PASS;
    }
    struct sal_flow *flow =
        quoted_flow(skb, settings, &quoted,
                    ETH_HLEN + QUOTED_SAL_OFS(v6) + SAL_OFS_NONCE);
    if (!flow || !icmp_checksum_ok(skb, header, v6)) {
        count(SAL_COUNT_IN_ICMP_UNKNOWN);
        return PASS;
    }
    if (quoted.mtu) {
        if (path_learn(settings, flow, &quoted.dst, quoted.mtu)) {
            count(SAL_COUNT_IN_PATH_MTU);
        }
        return PASS;
    }
    if (flow->state != SAL_FLOW_HALF_OPEN || flow->flags & SAL_FLOW_SERVER) {
        return PASS; /* It may pass; the transport decides. */
    }
    return icmp_refuse(skb, settings, flow);
}

/* An ICMP or ICMPv6 packet on an uplink. */
static __noinline int
ingress_icmp(struct __sk_buff *skb, const struct sal_settings *settings,
             int v6)
{
    struct scratch *scratch = scratch_get();
    if (!settings || !scratch) {
        return PASS;
    }
    return v6 ? ingress_icmp_v(skb, settings, scratch, 1)
              : ingress_icmp_v(skb, settings, scratch, 0);
}

#endif /* icmp.bpf.h */
