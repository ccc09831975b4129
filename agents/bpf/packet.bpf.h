/* SPDX-License-Identifier: Apache-2.0 */
/* Packets: offsets, checksums, address conversions, verdicts. */
#ifndef SALIENT_PACKET_BPF_H
#define SALIENT_PACKET_BPF_H 1

#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "agents/bpf/maps.bpf.h"

/* Lets other programs on the hook, then the stack, have the packet. */
#define PASS TC_ACT_UNSPEC

#define IP4_LEN 20
#define IP6_LEN 40
#define UDP_LEN 8
#define TCP_LEN 20

/* Lengths by the IP version; V6 is 0 or 1, a constant in the hot paths. */
#define IP_LEN(V6) ((V6) ? IP6_LEN : IP4_LEN)
#define OUTER_LEN(V6) (IP_LEN(V6) + UDP_LEN)
#define SAL_OFS(V6) (ETH_HLEN + OUTER_LEN(V6)) /* SAL header. */
#define INNER_MIN(V6) (IP_LEN(V6) + UDP_LEN) /* Any transport protocol. */
#define INNER_TCP_MIN(V6) (IP_LEN(V6) + TCP_LEN)

/* IPv6 next headers that stand between it and TCP or UDP. */
#define IP6_HOP_BY_HOP 0
#define IP6_ROUTING 43
#define IP6_FRAGMENT 44
#define IP6_FRAGMENT_LEN 8
#define IP6_DESTINATION 60

#define IP_FRAGMENT 0x3fff /* More fragments, or an offset. */
#define IP_DONT_FRAGMENT 0x4000
#define ECN_MASK 3
#define ECN_ECT_1 1
#define ECN_ECT_0 2
#define ECN_CE 3

/* TCP's byte 13. */
#define TCP_FLAGS_OFS 13
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_CWR 0x80

/* Hides from clang what it knows of 'x', so that a bound that the verifier
 * must see is not optimised away. */
#define bound_hint(x) asm volatile("" : "+r"(x))

/* Start and end of the linear part.  clang 14 likes to pass the two fields
 * through 32-bit moves, after which the verifier takes them for numbers.
 * (Fuzzing compiles this for the host.) */
#ifdef __bpf__
#define packet_pointer(SKB, FIELD)                                            \
    ({                                                                        \
        void *p_;                                                             \
        asm volatile("%0 = *(u32 *)(%1 + %2)"                                 \
                     : "=r"(p_)                                               \
                     : "r"(SKB),                                              \
                       "i"(__builtin_offsetof(struct __sk_buff, FIELD)));     \
        p_;                                                                   \
    })
#else
#define packet_pointer(SKB, FIELD) ((void *) (long) (SKB)->FIELD)
#endif

static __always_inline void *
packet_data(const struct __sk_buff *skb)
{
    return packet_pointer(skb, data);
}

/* What XDP left in front of the packet. */
static __always_inline void *
packet_meta(const struct __sk_buff *skb)
{
    return packet_pointer(skb, data_meta);
}

static __always_inline void *
packet_end(const struct __sk_buff *skb)
{
    return packet_pointer(skb, data_end);
}

static __always_inline __u32
drop(enum sal_counter reason)
{
    count(reason);
    return TC_ACT_SHOT;
}

static __always_inline void
addr_from_v4(struct sal_addr *addr, __be32 v4)
{
    addr->w[0] = 0;
    addr->w[1] = 0;
    addr->w[2] = bpf_htonl(SAL_ADDR_MAPPED);
    addr->w[3] = v4;
}

static __always_inline void
addr_from_v6(struct sal_addr *addr, const struct in6_addr *v6)
{
    addr->w[0] = v6->s6_addr32[0];
    addr->w[1] = v6->s6_addr32[1];
    addr->w[2] = v6->s6_addr32[2];
    addr->w[3] = v6->s6_addr32[3];
}

static __always_inline void
addr_to_v6(struct in6_addr *v6, const struct sal_addr *addr)
{
    v6->s6_addr32[0] = addr->w[0];
    v6->s6_addr32[1] = addr->w[1];
    v6->s6_addr32[2] = addr->w[2];
    v6->s6_addr32[3] = addr->w[3];
}

static __always_inline int
addr_is_v6(const struct sal_addr *a)
{
    return a->w[0] | a->w[1] || a->w[2] != bpf_htonl(SAL_ADDR_MAPPED);
}

static __always_inline int
addr_equal(const struct sal_addr *a, const struct sal_addr *b)
{
    return a->w[3] == b->w[3] && a->w[2] == b->w[2] && a->w[1] == b->w[1]
           && a->w[0] == b->w[0];
}

static __always_inline int
endpoint_equal(const __u8 *a, const __u8 *b)
{
    const __u64 *x = (const void *) a, *y = (const void *) b;
    return x[0] == y[0] && x[1] == y[1];
}

static __always_inline int
addr_is_zero(const struct sal_addr *a)
{
    return !(a->w[0] | a->w[1] | a->w[2] | a->w[3]);
}

static __always_inline int
tuple_equal(const struct sal_tuple *a, const struct sal_tuple *b)
{
    return addr_equal(&a->local, &b->local) && a->lport == b->lport
           && addr_equal(&a->remote, &b->remote) && a->rport == b->rport
           && a->proto == b->proto;
}

static __always_inline __u16
checksum_fold(__u64 sum)
{
    sum = (sum >> 32) + (sum & 0xffffffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    return sum;
}

/* RFC 1624: the checksum after a 32-bit word changed. */
static __always_inline __u16
checksum_update(__u16 checksum, __u32 from, __u32 to)
{
    return ~checksum_fold((__u64) (__u16) ~checksum + (__u32) ~from + to);
}

/* Header checksum of an IPv4 header without options. */
static __always_inline void
ip_checksum(struct iphdr *ip)
{
    const __u16 *words = (const __u16 *) ip;
    __u64 sum = 0;

    ip->check = 0;
#pragma clang loop unroll(full)
    for (int i = 0; i < 10; i++) {
        sum += words[i];
    }
    ip->check = ~checksum_fold(sum);
}

/* The ones' complement sum of bytes 'ofs'..'ofs + len' of the frame and 'sum',
 * or -1.  Reads at most 9,216 bytes (a jumbo frame). */
GLOBAL int
packet_sum(struct __sk_buff *skb, __u32 ofs, __u32 len, __u64 sum)
{
    struct scratch *scratch = scratch_get();
    if (!scratch || len > 9216) {
        return -1;
    }
    for (int i = 0; i < 18 && len; i++) {
        __u32 n = len < sizeof scratch->chunk ? len : sizeof scratch->chunk;
        __u32 padded = n + 3 & ~3u;
        if (padded > n) {
            *(__u32 *) &scratch->chunk[(padded - 4) & 508] = 0;
        }
        /* Nothing changes, but Linux 6.1 sees that it is 1..512. */
        n = ((n - 1) & (sizeof scratch->chunk - 1)) + 1;
        if (bpf_skb_load_bytes(skb, ofs, scratch->chunk, n)) {
            return -1;
        }
        if (padded > sizeof scratch->chunk) {
            return -1;
        }
        sum += (__u32) bpf_csum_diff(NULL, 0, (__be32 *) scratch->chunk,
                                     padded, 0);
        ofs += n;
        len -= n;
    }
    return checksum_fold(sum);
}

/* True if these bytes and 'sum' make a good Internet checksum. */
static __always_inline int
checksum_ok(struct __sk_buff *skb, __u32 ofs, __u32 len, __u64 sum)
{
    return packet_sum(skb, ofs, len, sum) == 0xffff;
}

/* Internet checksum of the SAL header in scratch->header, with its checksum
 * field as it is; 'len' is a multiple of 4, 32..1020. */
static __always_inline __u16
header_sum(struct scratch *scratch, __u32 len)
{
    __u64 sum = 0;
    __u32 first = len < 512 ? len : 512;

    sum = (__u32) bpf_csum_diff(NULL, 0, (__be32 *) scratch->header, first, 0);
    if (len > 512) {
        __u32 rest = len - 512;
        bound_hint(rest);
        sum += (__u32) bpf_csum_diff(NULL, 0,
                                     (__be32 *) (scratch->header + 512),
                                     rest & 0x1fc, 0);
    }
    return checksum_fold(sum);
}

/* The word that IPv6 begins with. */
static __always_inline __be32
ip6_first_word(__u8 traffic_class, __u32 flow_label)
{
    return bpf_htonl(6u << 28 | (__u32) traffic_class << 20 | flow_label);
}

static __always_inline __u8
ip6_traffic_class(const struct ipv6hdr *ip)
{
    return bpf_ntohl(*(const __be32 *) ip) >> 20;
}

/* What an IP header says of its packet's length. */
static __always_inline __u32
ip_total_len(const void *header, const int v6)
{
    const struct iphdr *ip4 = header;
    const struct ipv6hdr *ip6 = header;
    return v6 ? bpf_ntohs(ip6->payload_len) + IP6_LEN
              : bpf_ntohs(ip4->tot_len);
}

/* Is an IPv6 address one that a packet to or from another host cannot have:
 * loopback, none, and above all IPv4-mapped, which stands for IPv4 here. */
static __always_inline int
ip6_is_reserved(const struct in6_addr *a)
{
    return !(a->s6_addr32[0] | a->s6_addr32[1]);
}

/* Tells who may be the source of a connection: a unicast address that is
 * neither a loopback nor a link-local address. */
static __always_inline int
source_is_bogus(const struct sal_addr *a)
{
    if (addr_is_v6(a)) {
        __u32 first = bpf_ntohl(a->w[0]);
        return !(a->w[0] | a->w[1]) || first >> 24 == 0xff
               || first >> 22 == 0xfe80 >> 6;
    }
    __u32 v4 = bpf_ntohl(a->w[3]);
    return !(v4 >> 24) || (v4 >> 24) == 127 || (v4 >> 28) >= 14;
}

#endif /* packet.bpf.h */
