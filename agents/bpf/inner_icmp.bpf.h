/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP and ICMPv6 errors about inner packets: what one end's stack says of a
 * packet of the other's (port unreachable, too big).  They travel as DATA of
 * the flow, and the addresses in them, also of the packet that they quote, are
 * translated as those of the flow are (RFC 5508, section 4). */
#ifndef SALIENT_INNER_ICMP_BPF_H
#define SALIENT_INNER_ICMP_BPF_H 1

#include "agents/bpf/egress.bpf.h"
#include "agents/bpf/ingress.bpf.h"

/* IP, ICMP, what is quoted: IP, and 8 bytes that begin with the ports. */
#define INNER_ICMP_LEN(V6) (IP_LEN(V6) + 8 + INNER_MIN(V6))
#define INNER_QUOTE_OFS(V6) (IP_LEN(V6) + 8)

static __always_inline int
is_icmp_error(__u8 type, const int v6)
{
    return v6 ? type >= 1 && type <= 4
              : type == 3 || type == 11 || type == 12;
}

/* Reads the error at 'packet' (INNER_ICMP_LEN() bytes) as the end that made
 * it sees the flow: 'tuple' is local there.  0 if it is no error, or not about
 * a packet that went to that end. */
static __always_inline int
inner_icmp_read(const __u8 *packet, struct sal_tuple *tuple, const int v6)
{
    const void *quoted = packet + INNER_QUOTE_OFS(v6);
    const struct udphdr *ports = quoted + IP_LEN(v6);
    struct sal_addr to;

    if (!is_icmp_error(packet[IP_LEN(v6)], v6)) {
        return 0;
    }
    __builtin_memset(tuple, 0, sizeof *tuple);
    if (v6) {
        const struct ipv6hdr *ip = (const void *) packet, *about = quoted;
        if (about->version != 6) {
            return 0;
        }
        addr_from_v6(&to, &ip->daddr);
        addr_from_v6(&tuple->local, &about->daddr);
        addr_from_v6(&tuple->remote, &about->saddr);
        tuple->proto = about->nexthdr;
    } else {
        const struct iphdr *ip = (const void *) packet, *about = quoted;
        if (ip->ihl != 5 || about->version != 4 || about->ihl != 5
            || about->frag_off & bpf_htons(0x1fff)) {
            return 0;
        }
        addr_from_v4(&to, ip->daddr);
        addr_from_v4(&tuple->local, about->daddr);
        addr_from_v4(&tuple->remote, about->saddr);
        tuple->proto = about->protocol;
    }
    tuple->lport = ports->dest;
    tuple->rport = ports->source;
    return addr_equal(&to, &tuple->remote)
           && (tuple->proto == IPPROTO_UDP || tuple->proto == IPPROTO_TCP);
}

/* Makes the error at 'packet' one between the ends of 'to', as
 * inner_icmp_read() would read it.  Its checksum follows by the difference. */
static __always_inline void
inner_icmp_write(__u8 *packet, const __u8 *old, const struct sal_tuple *to,
                 const int v6)
{
    void *quoted = packet + INNER_QUOTE_OFS(v6);
    struct udphdr *ports = quoted + IP_LEN(v6);
    __u16 *check = (void *) packet + IP_LEN(v6) + 2;
    __u64 sum = (__u16) ~*check;

    if (v6) {
        struct ipv6hdr *ip = (void *) packet, *about = quoted;
        const struct ipv6hdr *old_ip = (const void *) old;
        addr_to_v6(&ip->saddr, &to->local);
        addr_to_v6(&ip->daddr, &to->remote);
        addr_to_v6(&about->saddr, &to->remote);
        addr_to_v6(&about->daddr, &to->local);
        sum += (__u32) bpf_csum_diff((__be32 *) &old_ip->saddr, 32,
                                     (__be32 *) &ip->saddr, 32, 0);
    } else {
        struct iphdr *ip = (void *) packet, *about = quoted;
        ip->saddr = to->local.w[3];
        ip->daddr = to->remote.w[3];
        about->saddr = to->remote.w[3];
        about->daddr = to->local.w[3];
        ip_checksum(ip);
        ip_checksum(about);
    }
    ports->source = to->rport;
    ports->dest = to->lport;
    sum += (__u32) bpf_csum_diff((__be32 *) (old + INNER_QUOTE_OFS(v6)),
                                 INNER_MIN(v6), quoted, INNER_MIN(v6), 0);
    *check = ~checksum_fold(sum);
}

/* Changes the error in 'skb', which is in scratch->chunk. */
static __always_inline int
inner_icmp_translate(struct __sk_buff *skb, struct scratch *scratch,
                     const struct sal_tuple *to, const int v6)
{
    __u8 *old = scratch->chunk, *new = scratch->chunk + 256;

    __builtin_memcpy(new, old, INNER_ICMP_LEN(v6));
    inner_icmp_write(new, old, to, v6);
    return bpf_skb_store_bytes(skb, ETH_HLEN, new, INNER_ICMP_LEN(v6),
                               BPF_F_RECOMPUTE_CSUM);
}

static __always_inline int
egress_icmp_v(struct __sk_buff *skb, struct sal_settings *settings,
              struct scratch *scratch, const int v6)
{
    struct sal_tuple *tuple = &scratch->flow.local;
    if (bpf_skb_load_bytes(skb, ETH_HLEN, scratch->chunk, INNER_ICMP_LEN(v6))
        || !inner_icmp_read(scratch->chunk, tuple, v6)) {
        return drop(SAL_COUNT_OUT_UNSUPPORTED);
    }
    struct sal_flow *flow = flow_by_tuple(tuple);
    if (!flow) {
        flow = half_flow_by_tuple(tuple);
    }
    if (!flow) {
        return drop(SAL_COUNT_OUT_NO_FLOW);
    }
    if (!flow->peer_id || (flow->state == SAL_FLOW_HALF_OPEN
                           && !flow->isn_out)) {
        return drop(SAL_COUNT_OUT_NOT_BOUND);
    }
    if (inner_icmp_translate(skb, scratch, &flow->wire, v6)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    count(SAL_COUNT_OUT_ICMP);
    return flow->flags & SAL_FLOW_LOCAL
           ? deliver(skb, settings, v6)
           : send_data(skb, settings, flow, bpf_ktime_get_coarse_ns(), 0);
}

/* An ICMP packet that the stack sends by sal0. */
static __noinline int
egress_icmp(struct __sk_buff *skb, struct sal_settings *settings, int v6)
{
    struct scratch *scratch = scratch_get();
    if (!scratch || !settings) {
        return TC_ACT_SHOT;
    }
    return v6 ? egress_icmp_v(skb, settings, scratch, 1)
              : egress_icmp_v(skb, settings, scratch, 0);
}

static __always_inline int
deliver_inner_icmp(struct __sk_buff *skb, const struct sal_settings *settings,
                   struct scratch *scratch, struct sal_flow *flow,
                   const int v6)
{
    struct sal_tuple *tuple = &scratch->flow.local;
    struct sal_tuple *to = &scratch->flow.wire;
    const struct sal_tuple *wire = &flow->wire, *local = &flow->local;

    if (bpf_skb_load_bytes(skb, ETH_HLEN, scratch->chunk, INNER_ICMP_LEN(v6))
        || !inner_icmp_read(scratch->chunk, tuple, v6)) {
        return drop(SAL_COUNT_IN_INNER_MALFORMED);
    }
    /* The other end's view: its local is our remote. */
    if (!addr_equal(&tuple->local, &wire->remote)
        || !addr_equal(&tuple->remote, &wire->local)
        || tuple->lport != wire->rport || tuple->rport != wire->lport
        || tuple->proto != wire->proto) {
        return drop(SAL_COUNT_IN_WRONG_TUPLE);
    }
    to->local = local->remote;
    to->lport = local->rport;
    to->remote = local->local;
    to->rport = local->lport;
    if (inner_icmp_translate(skb, scratch, to, v6)) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    flow->last_in_ns = bpf_ktime_get_coarse_ns();
    count(SAL_COUNT_IN_ICMP);
    return deliver(skb, settings, v6);
}

/* DATA that has an ICMP packet in it; its header is good. */
static __noinline int
ingress_inner_icmp(struct __sk_buff *skb, const struct sal_settings *settings,
                   const struct outer *outer)
{
    struct scratch *scratch = scratch_get();
    struct sal_data_header sal;
    if (!scratch || !settings || !outer
        || bpf_skb_load_bytes(skb, outer->sal_ofs, &sal, sizeof sal)) {
        return TC_ACT_SHOT;
    }
    struct sal_flow *flow = flow_by_id(sal.dst_flow);
    if (!flow) {
        flow = half_flow_by_id(sal.dst_flow);
    }
    if (!flow || flow->state == SAL_FLOW_HALF_OPEN) {
        return drop(SAL_COUNT_IN_NOT_BOUND);
    }
    int v6 = sal.inner == SAL_INNER_IPV6;
    if (flow->peer_id != sal.src_flow
        || !!(flow->flags & SAL_FLOW_INNER6) != v6) {
        return drop(SAL_COUNT_IN_WRONG_TUPLE);
    }
    if (decapsulate(skb, outer->v6, v6, SAL_DATA_HEADER_LEN)) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    return v6 ? deliver_inner_icmp(skb, settings, scratch, flow, 1)
              : deliver_inner_icmp(skb, settings, scratch, flow, 0);
}

#endif /* inner_icmp.bpf.h */
