/* SPDX-License-Identifier: Apache-2.0 */
/* The hosts of bpf_pair.h with IPv6 as well, and packets of either IP version
 * inside and outside.
 *
 * "in" and "out" are the IP versions inside and outside: 0 IPv4, 1 IPv6. */
#ifndef SALIENT_BPF_V6_H
#define SALIENT_BPF_V6_H 1

#include "tests/bpf/bpf_pair.h"

struct ip {
    uint8_t bytes[16]; /* IPv4: the first four. */
};

/* Indexed by IP version. */
static const struct ip id_c[2] = {{{100, 64, 0, 1}},
                                  {{0xfd, 0x64, [15] = 1}}};
static const struct ip id_s[2] = {{{100, 64, 0, 2}},
                                  {{0xfd, 0x64, [15] = 2}}};
static const struct ip web_at[2] = {{{198, 18, 0, 1}},
                                    {{0xfd, 0x5a, [15] = 1}}};
static const struct ip closed_at[2] = {{{198, 18, 0, 2}},
                                       {{0xfd, 0x5a, [15] = 2}}};
static const struct ip loc_c[2] = {{{10, 0, 0, 1}},
                                   {{0x20, 1, 0xd, 0xb8, [15] = 1}}};
static const struct ip loc_s[2] = {{{10, 0, 0, 2}},
                                   {{0x20, 1, 0xd, 0xb8, [15] = 2}}};
static const struct ip resolver_at[2] = {{{10, 255, 0, 1}},
                                         {{0x20, 1, 0xd, 0xb8, [15] = 0xff}}};

#define IP_BYTES(V6) ((V6) ? 16 : 4)
#define IP_HEADER(V6) ((V6) ? 40u : 20u)
#define SAL_AT(OUT) (14 + IP_HEADER(OUT) + 8)

static inline struct in6_addr
in6_of(const struct ip *ip, int v6)
{
    struct in6_addr in6;
    memset(&in6, 0, sizeof in6);
    if (v6) {
        memcpy(&in6, ip->bytes, 16);
    } else {
        memset(&in6.s6_addr[10], 0xff, 2);
        memcpy(&in6.s6_addr[12], ip->bytes, 4);
    }
    return in6;
}

/* Packets. */

static inline void
put_link(struct frame *f, const uint8_t dst[6], int v6)
{
    put_ethernet(f, dst);
    set16(f, 12, v6 ? 0x86dd : 0x0800);
}

static inline void
put_ip(struct frame *f, int v6, const struct ip *src, const struct ip *dst,
       uint8_t proto, uint16_t len, uint8_t tos)
{
    if (v6) {
        put32(f, 6u << 28 | tos << 20);
        put16(f, len);
        put8(f, proto);
        put8(f, 64);
        put_bytes(f, src->bytes, 16);
        put_bytes(f, dst->bytes, 16);
    } else {
        size_t start = f->len;
        put16(f, 0x4500 | tos);
        put16(f, 20 + len);
        put32(f, 0x00004000);
        put16(f, 64 << 8 | proto);
        put16(f, 0);
        put_bytes(f, src->bytes, 4);
        put_bytes(f, dst->bytes, 4);
        set16(f, start + 10, test_checksum(f->data + start, 20, 0));
    }
}

static inline uint32_t
pseudo(int v6, const struct ip *src, const struct ip *dst, uint16_t len,
       uint8_t proto)
{
    uint32_t sum = len + proto;
    for (int i = 0; i < IP_BYTES(v6); i += 2) {
        sum += (src->bytes[i] << 8 | src->bytes[i + 1])
               + (dst->bytes[i] << 8 | dst->bytes[i + 1]);
    }
    return sum;
}

/* One inner packet. */
struct inner_packet {
    int v6;
    struct ip src, dst;
    uint16_t sport, dport;
    uint32_t seq, ack;
    uint8_t flags, tos;
    bool udp;
    const char *payload;
};

static inline size_t
payload_len(const struct inner_packet *p)
{
    return (p->udp ? 8 : 20) + (p->payload ? strlen(p->payload) : 0);
}

static inline size_t
packet_len(const struct inner_packet *p)
{
    return IP_HEADER(p->v6) + payload_len(p);
}

static inline void
put_inner(struct frame *f, const struct inner_packet *p)
{
    size_t len = payload_len(p);
    uint8_t proto = p->udp ? 17 : 6;
    put_ip(f, p->v6, &p->src, &p->dst, proto, len, p->tos);
    size_t start = f->len;
    put16(f, p->sport);
    put16(f, p->dport);
    if (p->udp) {
        put16(f, len);
        put16(f, 0);
    } else {
        put32(f, p->seq);
        put32(f, p->ack);
        put16(f, 0x5000 | p->flags);
        put16(f, p->flags & RST ? 0 : 64240);
        put32(f, 0);
    }
    if (p->payload) {
        put_bytes(f, p->payload, strlen(p->payload));
    }
    uint16_t sum = test_checksum(f->data + start, len,
                                 pseudo(p->v6, &p->src, &p->dst, len, proto));
    set16(f, start + (p->udp ? 6 : 16), sum);
}

static inline void
build_plain(struct frame *f, const struct inner_packet *p)
{
    put_link(f, test_sal_mac, p->v6);
    put_inner(f, p);
}

/* A SAL packet of 'flow' of 'host'; 'p' may be NULL: nothing inside. */
static inline void
build_tunnelled(struct frame *f, int out, const struct ip *src,
                const struct ip *dst, const struct sal_packet *sal, int tos,
                const struct inner_packet *p)
{
    size_t header = sal_header_len(sal), inner = p ? packet_len(p) : 0;
    uint32_t start;
    put_link(f, no_mac, out);
    put_ip(f, out, src, dst, 17, 8 + header + inner, tos);
    if (out) { /* The flow label is the entropy. */
        set16(f, 16, sal->entropy);
    }
    put16(f, sal->entropy);
    put16(f, 6090);
    put16(f, 8 + header + inner);
    put16(f, 0);
    start = f->len;
    put8(f, 0x10);
    put8(f, header / 4);
    put8(f, sal->type);
    put8(f, sal->udp ? 17 : 6);
    put32(f, sal->src_flow);
    put32(f, sal->dst_flow);
    put8(f, sal->flags_class);
    put8(f, !p ? 59 : p->v6 ? 41 : 4);
    put16(f, 0);
    if (header > 16) {
        put32(f, 0);
        put32(f, 0);
        put_bytes(f, sal->nonce, 8);
        if (header > 32) {
            put_bytes(f, sal->service_id, 32);
        }
        if (header > 64) {
            put16(f, 0x0112);
            put_bytes(f, sal->endpoint_id, 16);
            put16(f, 0);
        }
        set16(f, start + 14, test_checksum(f->data + start, header, 0));
    }
    if (p) {
        put_inner(f, p);
    }
}

static inline struct sal_packet
header_of(const struct host *host, const struct sal_flow *flow, uint8_t type)
{
    struct sal_packet p = control_of(host, flow, type);
    if (type == SAL_TYPE_DATA) {
        p.service_id = NULL;
        p.endpoint_id = NULL;
    }
    p.udp = flow->wire.proto == 17;
    return p;
}

/* Hosts. */

static inline void
add_v6(struct host *host, const struct ip *locator, const struct ip *identity)
{
    struct sal_settings settings;
    struct in6_addr own = in6_of(locator, 1);
    uint32_t ifindex = 1;
    host->tables.settings.identity_v6 = in6_of(identity, 1);
    host_apply(host);
    datapath_get_settings(host->dp, &settings);
    settings.uplink_ifindex_v6 = 1;
    addr_from_in6(&settings.locator_v6, &own);
    datapath_put_settings(host->dp, &settings);
    bpf_map_update_elem(bpf_map__fd(host->dp->skeleton->maps.sal_locators),
                        &own, &ifindex, BPF_ANY);
}

/* The hosts of bpf_pair.h with IPv6, new flows over version 'out'. */
static inline void
set_up_both(int out)
{
    set_up();
    struct service_address a = {.address = in6_of(&web_at[1], 1),
                                .id = web.id};
    host_tables_put_address(&client.tables, &a);
    a.address = in6_of(&closed_at[1], 1);
    a.id = closed.id;
    host_tables_put_address(&client.tables, &a);
    client.tables.settings.resolver_v6 = in6_of(&resolver_at[1], 1);
    client.tables.settings.prefer_v6 = out;
    add_v6(&client, &loc_c[1], &id_c[1]);
    put_target(&server, &web, 80, 8080);
    struct local_target dns = {.prefix = web, .protocol = 17,
                               .service_port = 53, .port = 9953};
    host_tables_put_target(&server.tables, &dns);
    add_v6(&server, &loc_s[1], &id_s[1]);
}

static inline struct inner_packet
syn_packet(int in)
{
    return (struct inner_packet) {.v6 = in, .src = id_c[in],
                                  .dst = web_at[in], .sport = 40000,
                                  .dport = 80, .seq = 1000, .flags = SYN,
                                  .tos = 0x10};
}

/* The same at the server: the target instead of the service. */
static inline struct inner_packet
at_target(struct inner_packet p)
{
    p.dst = id_s[p.v6];
    p.dport = p.udp ? 9953 : 8080;
    return p;
}

static inline struct inner_packet
answer_of(int in, uint8_t flags, const char *payload)
{
    return (struct inner_packet) {.v6 = in, .src = id_s[in], .dst = id_c[in],
                                  .sport = 8080, .dport = 40000, .seq = 5000,
                                  .ack = 1001, .flags = flags,
                                  .payload = payload};
}

static inline struct inner_packet
from_service(struct inner_packet p)
{
    p.src = web_at[p.v6];
    p.sport = p.udp ? 53 : 80;
    return p;
}

/* The network brings 'f' to the server's locator instead. */
static inline void
resolve(struct frame *f, int out)
{
    size_t ofs = 14 + (out ? 24 : 16);
    memcpy(f->data + ofs, loc_s[out].bytes, IP_BYTES(out));
    if (!out) {
        set16(f, 24, 0);
        set16(f, 24, test_checksum(f->data + 14, 20, 0));
    }
    memset(f->data, 0, 12);
}

/* SYN, SYN-ACK and ACK; each frame as it must be. */
static inline void
connect_pair(int in, int out, struct sal_flow *ours, struct sal_flow *theirs)
{
    struct frame f, want;
    struct inner_packet syn = syn_packet(in);

    build_plain(&f, &syn);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), ours));
    CU_ASSERT_EQUAL(!!(ours->flags & SAL_FLOW_OUTER6), out);
    CU_ASSERT_EQUAL(!!(ours->flags & SAL_FLOW_INNER6), in);
    struct sal_packet sal = header_of(&client, ours, SAL_TYPE_SYN);
    build_tunnelled(&want, out, &loc_c[out], &resolver_at[out], &sal, 0x10,
                    &syn);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));

    resolve(&f, out);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    struct inner_packet inner = at_target(syn);
    build_plain(&want, &inner);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 0));
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), theirs));

    inner = answer_of(in, SYN | ACK, NULL);
    build_plain(&f, &inner);
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
    sal = header_of(&server, theirs, SAL_TYPE_SYN_ACK);
    inner = from_service(inner);
    build_tunnelled(&want, out, &loc_s[out], &loc_c[out], &sal, 0, &inner);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));

    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    build_plain(&want, &inner);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 0));
    CU_ASSERT_TRUE_FATAL(only_flow(FLOWS(&client), ours));

    struct inner_packet ack = syn;
    ack.flags = ACK;
    ack.seq = 1001;
    ack.ack = 5001;
    build_plain(&f, &ack);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(FLOWS(&server), theirs));
}

static inline struct inner_packet
request(int in)
{
    struct inner_packet p = syn_packet(in);
    p.flags = PSH | ACK;
    p.seq = 1001;
    p.ack = 5001;
    p.tos = 0;
    p.payload = "GET / HTTP/1.0\n";
    return p;
}

static inline struct frame
request_frame(int in, int out, const struct sal_flow *ours, int outer_tos,
              int inner_tos)
{
    struct frame f;
    struct inner_packet p = request(in);
    struct sal_packet sal = header_of(&client, ours, SAL_TYPE_DATA);
    p.tos = inner_tos;
    build_tunnelled(&f, out, &loc_c[out], &loc_s[out], &sal, outer_tos, &p);
    return f;
}

#define FOR_EACH_COMBINATION(IN, OUT)                                         \
    for (int IN = 0; IN < 2; IN++)                                            \
        for (int OUT = 0; OUT < 2; OUT++)

static inline void
expect_answer(struct frame *f, const struct frame *want)
{
    CU_ASSERT_TRUE(f->len >= want->len);
    f->len = MIN(f->len, want->len); /* The rest is padding. */
    CU_ASSERT_TRUE(frame_equal(f, want, 0));
}

/* ICMPv6 error about 'p', as the stack sees it. */
static inline void
build_icmp6(struct frame *f, const struct inner_packet *p, uint8_t type,
            uint8_t code, uint32_t rest, size_t transport)
{
    size_t len = 8 + 40 + transport;
    struct frame quoted;
    build_plain(&quoted, p);
    put_link(f, test_sal_mac, 1);
    put_ip(f, 1, &p->dst, &p->src, 58, len, 0);
    size_t start = f->len;
    put8(f, type);
    put8(f, code);
    put16(f, 0);
    put32(f, rest);
    put_bytes(f, quoted.data + 14, 40 + transport);
    set16(f, start + 2, test_checksum(f->data + start, len,
                                      pseudo(1, &p->dst, &p->src, len, 58)));
}

#endif /* bpf_v6.h */
