/* SPDX-License-Identifier: Apache-2.0 */
/* Wakes the local TCP of flows whose path changed.
 *
 * Nobody but the owner of a socket can tell it to send, so the stack is given
 * packets that make it do so by itself, as if the peer or a router had sent
 * them (docs/migration.md says what was tried):
 *
 *   keep-alive     what the peer sent last, once more: answered with an
 *                  acknowledgement, the first packet on the new path.  It
 *                  has the window, too: if that was full, and the news that
 *                  it is not any more was lost, the peer would ask for it
 *                  after up to two minutes.  For flows that wait for nothing,
 *                  if they have said something last since the path was good;
 *                  to those that wait:
 *   acknowledgement  the peer's last one, once more: new data that was held
 *                  back is sent
 *   unreachable    ICMP, quoting the first segment that is not acknowledged:
 *                  takes back one doubling of the retransmission timer (RFC
 *                  6069), and as soon as that is due, retransmits */
#include "agents/datapath_flows.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <netinet/ip6.h>
#include <string.h>
#include <time.h>
#include "agents/datapath_private.h"
#include "agents/sal.skel.h"
#include "util.h"

/* TCP's first timer, at least; each further one takes twice as long. */
#define FIRST_TIMER_NS 200000000ULL
#define MAX_DOUBLINGS 12 /* Linux: at most 2 minutes. */
_Static_assert(MAX_DOUBLINGS <= SAL_WAKE_MAX, "all at once");

/* IP begins at a multiple of 4. */
struct frame {
    _Alignas(4) uint8_t pad[2];
    uint8_t data[ETH_HLEN + 128];
    size_t len;
};

/* RFC 1071; network byte order. */
static uint32_t
sum_of(const void *data, size_t len, uint32_t sum)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++) {
        sum += i % 2 ? p[i] : p[i] << 8;
    }
    return sum;
}

static ovs_be16
checksum_of(uint32_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return htons(~sum);
}

static bool
is_v6(const struct sal_flow *flow)
{
    return flow->flags & SAL_FLOW_INNER6;
}

/* The IP header of a packet from 'src' to 'dst', with 'len' bytes to follow,
 * which the caller writes at the result. */
static void *
put_ip(struct frame *f, const struct sal_addr *src, const struct sal_addr *dst,
       bool v6, struct iphdr *shape)
{
    uint8_t protocol = shape->protocol;
    size_t len = ntohs(shape->tot_len);
    struct iphdr *ip = (void *) (f->data + f->len);
    struct ip6_hdr *ip6 = (void *) ip;

    if (v6) {
        memset(ip6, 0, sizeof *ip6);
        ip6->ip6_vfc = 6 << 4;
        ip6->ip6_plen = htons(len);
        ip6->ip6_nxt = protocol;
        ip6->ip6_hlim = 64;
        memcpy(&ip6->ip6_src, src, sizeof ip6->ip6_src);
        memcpy(&ip6->ip6_dst, dst, sizeof ip6->ip6_dst);
        f->len += sizeof *ip6 + len;
        return ip6 + 1;
    }
    memset(ip, 0, sizeof *ip);
    ip->version = 4;
    ip->ihl = 5;
    ip->tot_len = htons(sizeof *ip + len);
    ip->frag_off = htons(0x4000);
    ip->ttl = 64;
    ip->protocol = protocol;
    ip->saddr = src->w[3];
    ip->daddr = dst->w[3];
    ip->check = checksum_of(sum_of(ip, sizeof *ip, 0));
    f->len += sizeof *ip + len;
    return ip + 1;
}

static uint32_t
pseudo_sum(const struct sal_flow *flow, uint8_t protocol, size_t len)
{
    size_t from = is_v6(flow) ? 0 : 12;
    const uint8_t *a = (const uint8_t *) &flow->local.local;
    const uint8_t *b = (const uint8_t *) &flow->local.remote;

    return sum_of(a + from, 16 - from, 0) + sum_of(b + from, 16 - from, 0)
           + protocol + len;
}

static void
begin(struct frame *f, const struct sal_flow *flow)
{
    struct ethhdr *eth = (void *) f->data;

    memset(f, 0, sizeof *f);
    eth->h_proto = htons(is_v6(flow) ? ETH_P_IPV6 : ETH_P_IP);
    f->len = sizeof *eth;
}

/* What the peer's TCP would send to ours without payload. */
static void
build_segment(const struct sal_flow *flow, uint32_t back, struct frame *f)
{
    struct iphdr shape = {.protocol = IPPROTO_TCP,
                          .tot_len = htons(sizeof(struct tcphdr))};
    begin(f, flow);
    struct tcphdr *tcp = put_ip(f, &flow->local.remote, &flow->local.local,
                                is_v6(flow), &shape);
    tcp->source = flow->local.rport;
    tcp->dest = flow->local.lport;
    tcp->seq = htonl(ntohl(flow->ack_out) - back);
    tcp->ack_seq = flow->ack_in;
    tcp->doff = sizeof *tcp / 4;
    tcp->ack = 1;
    tcp->window = flow->window_in;
    tcp->check = checksum_of(
        sum_of(tcp, sizeof *tcp,
               pseudo_sum(flow, IPPROTO_TCP, sizeof *tcp)));
}

/* "Host unreachable", or "no route", about our first segment that is not
 * acknowledged. */
static void
build_unreachable(const struct sal_flow *flow, struct frame *f)
{
    bool v6 = is_v6(flow);
    size_t ip_len = v6 ? sizeof(struct ip6_hdr) : sizeof(struct iphdr);
    size_t len = 8 + ip_len + 8; /* ICMP, and what it quotes. */
    uint8_t protocol = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    struct iphdr shape = {.protocol = protocol, .tot_len = htons(len)};
    struct iphdr quoted = {.protocol = IPPROTO_TCP,
                           .tot_len = htons(sizeof(struct tcphdr))};
    struct frame inner = {.len = sizeof inner.pad};

    begin(f, flow);
    uint8_t *icmp = put_ip(f, &flow->local.remote, &flow->local.local, v6,
                           &shape);
    icmp[0] = v6 ? ICMP6_DST_UNREACH : ICMP_DEST_UNREACH;
    icmp[1] = v6 ? ICMP6_DST_UNREACH_NOROUTE : ICMP_HOST_UNREACH;
    struct tcphdr *tcp = put_ip(&inner, &flow->local.local,
                                &flow->local.remote, v6, &quoted);
    tcp->source = flow->local.lport;
    tcp->dest = flow->local.rport;
    tcp->seq = flow->ack_in;
    memcpy(icmp + 8, inner.data + sizeof inner.pad, ip_len + 8);
    ovs_be16 check = checksum_of(
        sum_of(icmp, len, v6 ? pseudo_sum(flow, protocol, len) : 0));
    memcpy(icmp + 2, &check, sizeof check);
}

static void
inject(struct datapath *dp, const struct frame *f, unsigned int times)
{
    struct __sk_buff skb = {.mark = times};
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->data,
                .data_size_in = f->len, .ctx_in = &skb,
                .ctx_size_in = sizeof skb);
    bpf_prog_test_run_opts(bpf_program__fd(dp->skeleton->progs.sal_wake),
                           &opts);
}

/* How often the timer has been doubled by now, at most; the retransmission
 * that we cause is one of the times. */
static unsigned int
doublings(uint64_t silent_ns)
{
    unsigned int n = 1;
    while (silent_ns >= FIRST_TIMER_NS && n < MAX_DOUBLINGS) {
        silent_ns /= 2;
        n++;
    }
    return n;
}

static void
wake(struct datapath *dp, const struct sal_flow *flow, uint64_t now,
     int64_t good_ms)
{
    bool sure = good_ms != WAKE_NOT_SURE;
    uint64_t heard = MAX(flow->last_in_ns, flow->created_ns);
    uint64_t silent = now > heard ? now - heard : 0;
    struct frame f;

    if (flow->local.proto != IPPROTO_TCP || flow->state != SAL_FLOW_BOUND
        || flow->flags & SAL_FLOW_LOCAL || !flow->ack_in || !flow->ack_out) {
        return;
    }
    if (flow_waits(flow)) {
        build_segment(flow, 0, &f);
        inject(dp, &f, 1);
        /* What came just now may be the peer's first packet after a long
         * silence.  TCP ignores what there is nothing to take back for. */
        unsigned int n = !sure                      ? 0
                         : silent < FIRST_TIMER_NS ? MAX_DOUBLINGS
                                                   : doublings(silent);
        if (n) {
            build_unreachable(flow, &f);
            inject(dp, &f, n);
        }
    } else if (silent < FIRST_TIMER_NS / 2
               || (sure && flow->last_out_ns >= flow->last_in_ns
                   && (int64_t) (flow->last_out_ns / 1000000) >= good_ms)) {
        build_segment(flow, 1, &f);
        inject(dp, &f, 1);
    }
}

void
datapath_flows_wake(struct datapath *dp, const uint32_t ids[], size_t n,
                    int64_t good_ms)
{
    int fd = bpf_map__fd(dp->skeleton->maps.sal_flows);
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    uint64_t now = time.tv_sec * 1000000000ULL + time.tv_nsec;
    for (size_t i = 0; i < n; i++) {
        uint32_t key = htonl(ids[i]);
        struct sal_flow flow;
        if (!bpf_map_lookup_elem(fd, &key, &flow)) {
            wake(dp, &flow, now, good_ms);
        }
    }
}
