/* SPDX-License-Identifier: Apache-2.0 */
/* IPv6 inside and outside, byte by byte: each step of a connection in each of
 * the four combinations, what is refused, ECN and DSCP, path MTUs.
 *
 * "in" and "out" are the IP versions inside and outside: 0 IPv4, 1 IPv6. */
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

static struct in6_addr
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

static void
put_link(struct frame *f, const uint8_t dst[6], int v6)
{
    put_ethernet(f, dst);
    set16(f, 12, v6 ? 0x86dd : 0x0800);
}

static void
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

static uint32_t
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

static size_t
payload_len(const struct inner_packet *p)
{
    return (p->udp ? 8 : 20) + (p->payload ? strlen(p->payload) : 0);
}

static size_t
packet_len(const struct inner_packet *p)
{
    return IP_HEADER(p->v6) + payload_len(p);
}

static void
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

static void
build_plain(struct frame *f, const struct inner_packet *p)
{
    put_link(f, test_sal_mac, p->v6);
    put_inner(f, p);
}

/* A SAL packet of 'flow' of 'host'; 'p' may be NULL: nothing inside. */
static void
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

static struct sal_packet
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

static void
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
static void
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

static struct inner_packet
syn_packet(int in)
{
    return (struct inner_packet) {.v6 = in, .src = id_c[in],
                                  .dst = web_at[in], .sport = 40000,
                                  .dport = 80, .seq = 1000, .flags = SYN,
                                  .tos = 0x10};
}

/* The same at the server: the target instead of the service. */
static struct inner_packet
at_target(struct inner_packet p)
{
    p.dst = id_s[p.v6];
    p.dport = p.udp ? 9953 : 8080;
    return p;
}

static struct inner_packet
answer_of(int in, uint8_t flags, const char *payload)
{
    return (struct inner_packet) {.v6 = in, .src = id_s[in], .dst = id_c[in],
                                  .sport = 8080, .dport = 40000, .seq = 5000,
                                  .ack = 1001, .flags = flags,
                                  .payload = payload};
}

static struct inner_packet
from_service(struct inner_packet p)
{
    p.src = web_at[p.v6];
    p.sport = p.udp ? 53 : 80;
    return p;
}

/* The network brings 'f' to the server's locator instead. */
static void
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
static void
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

static struct inner_packet
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

static struct frame
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

static void
test_connection(void)
{
    FOR_EACH_COMBINATION (in, out) {
        struct sal_flow ours, theirs;
        struct frame f, want;
        set_up_both(out);
        connect_pair(in, out, &ours, &theirs);

        struct inner_packet p = request(in);
        build_plain(&f, &p);
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        want = request_frame(in, out, &ours, 0, 0);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        memset(f.data, 0, 12);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
        p = at_target(p);
        build_plain(&want, &p);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 0));

        p = answer_of(in, PSH | ACK, "odd");
        build_plain(&f, &p);
        CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
        p = from_service(p);
        struct sal_packet sal = header_of(&server, &theirs, SAL_TYPE_DATA);
        build_tunnelled(&want, out, &loc_s[out], &loc_c[out], &sal, 0, &p);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        memset(f.data, 0, 12);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
        build_plain(&want, &p);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 0));
        tear_down();
    }
}

/* As run(), whose context is not XDP's. */
static int
run_xdp(struct host *host, struct frame *frame)
{
    struct frame in = *frame;
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in.data,
                .data_size_in = in.len, .data_out = frame->data,
                .data_size_out = sizeof frame->data, .repeat = 1);
    int fd = bpf_program__fd(host->dp->skeleton->progs.sal_xdp);
    CU_ASSERT_EQUAL_FATAL(bpf_prog_test_run_opts(fd, &opts), 0);
    frame->len = opts.data_size_out;
    return opts.retval;
}

/* XDP strips the same headers, and tc does the rest. */
static void
test_xdp(void)
{
    FOR_EACH_COMBINATION (in, out) {
        struct sal_flow ours, theirs;
        struct frame want;
        set_up_both(out);
        connect_pair(in, out, &ours, &theirs);
        struct frame f = request_frame(in, out, &ours, 0, 0);
        CU_ASSERT_EQUAL(run_xdp(&server, &f), XDP_PASS);
        /* Its note for tc comes first: which flow. */
        CU_ASSERT_EQUAL(memcmp(f.data + 4, &theirs.id, 4), 0);
        f.len -= 8;
        memmove(f.data, f.data + 8, f.len);
        struct inner_packet p = request(in);
        build_plain(&want, &p);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_XDP), 1);

        /* What it leaves alone. */
        f = request_frame(in, out, &ours, 3, 2);
        want = f;
        run_xdp(&server, &f);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 0));
        f = request_frame(in, out, &ours, 0, 0);
        f.data[14 + (out ? 23 : 15)] ^= 1; /* The peer's locator. */
        want = f;
        run_xdp(&server, &f);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 0));
        tear_down();
    }
}

/* The datagram reaches the server, and a bare SYN-ACK the client. */
static void
test_datagram(void)
{
    FOR_EACH_COMBINATION (in, out) {
        struct sal_flow ours, theirs;
        struct frame f, want;
        test_device();
        set_up_both(out);
        struct inner_packet p = syn_packet(in);
        p.udp = true;
        p.dport = 53;
        p.tos = 0;
        p.payload = "ask"; /* In 4 inside 6: less than an IPv6 header. */
        build_plain(&f, &p);
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
        struct sal_packet sal = header_of(&client, &ours, SAL_TYPE_SYN);
        build_tunnelled(&want, out, &loc_c[out], &resolver_at[out], &sal, 0,
                        &p);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));

        resolve(&f, out);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
        sal = header_of(&server, &theirs, SAL_TYPE_SYN_ACK);
        build_tunnelled(&want, out, &loc_s[out], &loc_c[out], &sal, 0, NULL);
        CU_ASSERT_TRUE(f.len >= want.len);
        f.len = want.len; /* Padding. */
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        memset(f.data, 0, 12);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);

        /* Bound: DATA, and the answer. */
        build_plain(&f, &p);
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        memset(f.data, 0, 12);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
        struct inner_packet there = at_target(p);
        build_plain(&want, &there);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 0));
        tear_down();
    }
}

/* Refusals. */

static void
expect_answer(struct frame *f, const struct frame *want)
{
    CU_ASSERT_TRUE(f->len >= want->len);
    f->len = MIN(f->len, want->len); /* The rest is padding. */
    CU_ASSERT_TRUE(frame_equal(f, want, 0));
}

/* ICMPv6 error about 'p', as the stack sees it. */
static void
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

static void
test_refused_here(void)
{
    struct frame f, want;
    set_up_both(1);
    struct inner_packet p = syn_packet(1);
    p.dst = closed_at[1];
    p.tos = 0;
    build_plain(&f, &p);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    struct inner_packet rst = {.v6 = 1, .src = p.dst, .dst = p.src,
                               .sport = 80, .dport = 40000, .ack = 1001,
                               .flags = RST | ACK};
    build_plain(&want, &rst);
    expect_answer(&f, &want);

    p.udp = true;
    p.payload = "anybody?";
    build_plain(&f, &p);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    build_icmp6(&want, &p, 1, 4, 0, 8);
    expect_answer(&f, &want);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_RULE_REJECT), 2);
    tear_down();
}

/* The server refuses by RESET, which becomes a RST. */
static void
test_refused_there(void)
{
    FOR_EACH_COMBINATION (in, out) {
        struct sal_flow ours;
        struct frame f, want;
        set_up_both(out);
        struct inner_packet p = syn_packet(in);
        p.dport = 81;
        build_plain(&f, &p);
        run_egress(&client, &f);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
        /* Three times it is resolved on, in case that another host serves. */
        for (unsigned int i = 1; i <= 4; i++) {
            resolve(&f, out);
            CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
            CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_NO_TARGET), i);
            CU_ASSERT_EQUAL(f.data[SAL_AT(out) + 2], SAL_TYPE_RESET);
            CU_ASSERT_EQUAL(memcmp(f.data + 14 + (out ? 24 : 16),
                                   loc_c[out].bytes, IP_BYTES(out)), 0);
            memset(f.data, 0, 12);
            CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
        }
        struct inner_packet rst = {.v6 = in, .src = web_at[in],
                                   .dst = id_c[in], .sport = 81,
                                   .dport = 40000, .ack = 1001,
                                   .flags = RST | ACK};
        build_plain(&want, &rst);
        expect_answer(&f, &want);
        CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 0);
        tear_down();
    }
}

/* A local target of one IP version serves no clients of the other. */
static void
test_target_family(void)
{
    set_up_both(0);
    struct local_target t = {.prefix = web, .protocol = 6,
                             .service_port = 80, .port = 8080,
                             .address = mapped(0x7f000001)};
    host_tables_put_target(&server.tables, &t);
    host_apply(&server);
    for (int in = 0; in < 2; in++) {
        struct frame f;
        struct inner_packet p = syn_packet(in);
        build_plain(&f, &p);
        run_egress(&client, &f);
        resolve(&f, 0);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
        CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_TARGET_FAMILY), in);
    }
    tear_down();
}

/* What the local stack may not send. */
static void
test_local_headers(void)
{
    static const struct {
        uint8_t next;
        enum sal_counter reason;
    } cases[] = {
        {0, SAL_COUNT_OUT_EXTENSION},  {43, SAL_COUNT_OUT_EXTENSION},
        {60, SAL_COUNT_OUT_EXTENSION}, {44, SAL_COUNT_OUT_FRAGMENT},
        {58, SAL_COUNT_OUT_UNSUPPORTED}, {132, SAL_COUNT_OUT_UNSUPPORTED},
    };
    struct frame f;
    set_up_both(0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct inner_packet p = syn_packet(1);
        uint64_t before = counter(&client, cases[i].reason);
        build_plain(&f, &p);
        f.data[20] = cases[i].next;
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
        CU_ASSERT_EQUAL(counter(&client, cases[i].reason), before + 1);
    }
    /* An IPv4-mapped address in IPv6 is not IPv4. */
    struct inner_packet p = syn_packet(1);
    struct in6_addr v4 = in6_of(&id_c[0], 0);
    memcpy(p.src.bytes, &v4, 16);
    build_plain(&f, &p);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_MALFORMED), 1);
    tear_down();
}

/* RFC 6040, figure 4, and RFC 2983's pipe: DSCP inside stays. */
static void
test_ecn(void)
{
    /* By [inner][outer]: Not-ECT, ECT(1), ECT(0), CE; -1 is dropped. */
    static const int result[4][4] = {
        {0, 0, 0, -1}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
    FOR_EACH_COMBINATION (in, out) {
        struct sal_flow ours, theirs;
        set_up_both(out);
        connect_pair(in, out, &ours, &theirs);
        for (int i = 0; i < 16; i++) {
            int inner = i / 4, outer = i % 4;
            struct frame want;
            struct frame f = request_frame(in, out, &ours, 0x48 | outer,
                                           0xb8 | inner);
            int verdict = run_ingress(&server, &f);
            if (result[inner][outer] < 0) {
                CU_ASSERT_EQUAL(verdict, TC_ACT_SHOT);
                CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_ECN), 1);
                continue;
            }
            CU_ASSERT_EQUAL(verdict, TC_ACT_REDIRECT);
            struct inner_packet p = at_target(request(in));
            p.tos = 0xb8 | result[inner][outer];
            build_plain(&want, &p);
            CU_ASSERT_TRUE(frame_equal(&f, &want, 0));
        }
        /* Outwards both are copied. */
        struct inner_packet p = request(in);
        struct frame f, want = request_frame(in, out, &ours, 0xba, 0xba);
        p.tos = 0xba;
        build_plain(&f, &p);
        run_egress(&client, &f);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        tear_down();
    }
}

/* Hostile packets from the network. */

static void
expect_drop(struct frame f, enum sal_counter reason)
{
    uint64_t before = counter(&server, reason);
    int verdict = run_ingress(&server, &f);
    CU_ASSERT_EQUAL(verdict, TC_ACT_SHOT);
    if (counter(&server, reason) != before + 1) {
        fprintf(stderr, "verdict %d, reason %d is not counted\n", verdict,
                reason);
        CU_FAIL("reason");
    }
}

static void
test_hostile_data(void)
{
    const size_t sal = SAL_AT(1), inner = sal + 16;
    const struct {
        size_t ofs;
        uint8_t value;
        enum sal_counter reason;
    } cases[] = {
        {18, 0xff, SAL_COUNT_IN_OUTER_MALFORMED}, /* Payload length. */
        {19, 20, SAL_COUNT_IN_OUTER_MALFORMED},
        {14 + 8, 0, SAL_COUNT_IN_WRONG_PEER},
        {59, 7, SAL_COUNT_IN_OUTER_MALFORMED}, /* UDP length. */
        {60, 0x12, SAL_COUNT_IN_UDP_CHECKSUM},
        {sal, 0x20, SAL_COUNT_IN_VERSION},
        {sal + 1, 5, SAL_COUNT_IN_HEADER_LEN},
        {sal + 2, 0x77, SAL_COUNT_IN_TYPE},
        {sal + 3, 17, SAL_COUNT_IN_INNER_MALFORMED},
        {sal + 13, 4, SAL_COUNT_IN_INNER_MALFORMED},
        {sal + 13, 59, SAL_COUNT_IN_INNER_FORMAT},
        {inner, 0x45, SAL_COUNT_IN_INNER_MALFORMED},
        {inner + 4, 0xff, SAL_COUNT_IN_INNER_MALFORMED},
        {inner + 5, 20, SAL_COUNT_IN_INNER_MALFORMED},
        {inner + 6, 0, SAL_COUNT_IN_INNER_EXTENSION},
        {inner + 6, 43, SAL_COUNT_IN_INNER_EXTENSION},
        {inner + 6, 60, SAL_COUNT_IN_INNER_EXTENSION},
        {inner + 6, 44, SAL_COUNT_IN_INNER_FRAGMENT},
        {inner + 6, 17, SAL_COUNT_IN_INNER_MALFORMED},
        {inner + 8 + 15, 9, SAL_COUNT_IN_WRONG_TUPLE},
        {inner + 24, 0xfe, SAL_COUNT_IN_WRONG_TUPLE},
        {inner + 41, 1, SAL_COUNT_IN_WRONG_TUPLE},
        {inner + 52, 0x40, SAL_COUNT_IN_INNER_MALFORMED},
        {inner + 53, SYN, SAL_COUNT_IN_INNER_MALFORMED},
    };
    struct sal_flow ours, theirs, now;
    set_up_both(1);
    connect_pair(1, 1, &ours, &theirs);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct frame f = request_frame(1, 1, &ours, 0, 0);
        f.data[cases[i].ofs] = cases[i].value;
        expect_drop(f, cases[i].reason);
    }
    /* Loopback, none, IPv4-mapped: no address of a peer. */
    struct frame f = request_frame(1, 1, &ours, 0, 0);
    memset(f.data + inner + 8, 0, 8);
    expect_drop(f, SAL_COUNT_IN_INNER_SOURCE);
    f = request_frame(1, 1, &ours, 0, 0);
    memset(f.data + 14 + 8, 0, 8);
    expect_drop(f, SAL_COUNT_IN_OUTER_MALFORMED);
    for (size_t len = SAL_AT(1); len < request_frame(1, 1, &ours, 0, 0).len;
         len++) {
        f = request_frame(1, 1, &ours, 0, 0);
        f.len = len;
        CU_ASSERT_NOT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
        set16(&f, 18, len - 54);
        set16(&f, 58, len - 54);
        CU_ASSERT_NOT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    }
    CU_ASSERT_TRUE(only_flow(FLOWS(&server), &now));
    CU_ASSERT_EQUAL(memcmp(&now, &theirs,
                           offsetof(struct sal_flow, last_in_ns)), 0);

    /* DATA of another IP version than the flow's, all else being right. */
    f = request_frame(0, 1, &ours, 0, 0);
    expect_drop(f, SAL_COUNT_IN_WRONG_TUPLE);
    f = request_frame(1, 1, &ours, 0, 0);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    tear_down();
}

static void
test_hostile_syn(void)
{
    static const struct ip bad[] = {
        {{[15] = 1}},                                    /* Loopback. */
        {{0}},
        {{[10] = 0xff, 0xff, 100, 64, 0, 1}},            /* IPv4-mapped. */
        {{0xff, 0x02, [15] = 1}},                        /* Multicast. */
        {{0xfe, 0x80, [15] = 1}},                        /* Link-local. */
        {{0xfd, 0x64, [15] = 2}},                        /* The server's. */
    };
    struct sal_flow ours;
    set_up_both(1);
    struct inner_packet p = syn_packet(1);
    struct frame f;
    build_plain(&f, &p);
    run_egress(&client, &f);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    struct sal_packet sal = header_of(&client, &ours, SAL_TYPE_SYN);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        p.src = bad[i];
        build_tunnelled(&f, 1, &loc_c[1], &loc_s[1], &sal, 0, &p);
        expect_drop(f, SAL_COUNT_IN_INNER_SOURCE);
    }
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&server)), 0);
    tear_down();
}

/* Extension headers of the outer packet. */
static void
test_outer_extensions(void)
{
    static const struct {
        uint8_t next;
        uint16_t fragment;
        int verdict;
        enum sal_counter reason;
    } cases[] = {
        {0, 0, TC_ACT_SHOT, SAL_COUNT_IN_OUTER_EXTENSION},
        {43, 0, TC_ACT_SHOT, SAL_COUNT_IN_OUTER_EXTENSION},
        {60, 0, TC_ACT_SHOT, SAL_COUNT_IN_OUTER_EXTENSION},
        {44, 1, TC_ACT_SHOT, SAL_COUNT_IN_OUTER_FRAGMENT},
        {44, 8, TC_ACT_UNSPEC, 0}, /* Not the first: no port. */
        {51, 0, TC_ACT_UNSPEC, 0}, /* Not ours to look into. */
    };
    struct sal_flow ours, theirs;
    set_up_both(1);
    connect_pair(1, 1, &ours, &theirs);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct frame good = request_frame(1, 1, &ours, 0, 0), f = good;
        f.data[20] = cases[i].next;
        set16(&f, 18, good.len - 54 + 8);
        memset(f.data + 54, 0, 8);
        f.data[54] = 17;
        set16(&f, 56, cases[i].fragment);
        memcpy(f.data + 62, good.data + 54, good.len - 54);
        f.len = good.len + 8;
        uint64_t before = counter(&server, cases[i].reason);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), cases[i].verdict);
        if (cases[i].verdict == TC_ACT_SHOT) {
            CU_ASSERT_EQUAL(counter(&server, cases[i].reason), before + 1);
        }
        /* Of another port it is none of our business. */
        f.data[65]++;
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_UNSPEC);
    }
    tear_down();
}

/* Path MTU. */

/* An ICMP error of version 'out', from a router, about 'about'. */
static struct frame
router_error(int out, uint8_t type, uint8_t code, uint32_t rest,
             const struct frame *about, size_t quoted)
{
    static const struct ip router[2] = {{{10, 9, 9, 9}},
                                        {{0x20, 1, 0xd, 0xb8, 9, [15] = 9}}};
    struct frame f;
    size_t len = 8 + quoted;
    put_link(&f, no_mac, out);
    put_ip(&f, out, &router[out], &loc_c[out], out ? 58 : 1, len, 0);
    size_t start = f.len;
    put8(&f, type);
    put8(&f, code);
    put16(&f, 0);
    put32(&f, rest);
    put_bytes(&f, about->data + 14, quoted);
    set16(&f, start + 2,
          test_checksum(f.data + start, len,
                        out ? pseudo(1, &router[1], &loc_c[1], len, 58) : 0));
    return f;
}

static struct frame
too_big(int out, uint32_t mtu, const struct frame *about)
{
    return out ? router_error(1, 2, 0, mtu, about, about->len - 14)
               : router_error(0, 3, 4, mtu, about, about->len - 14);
}

static uint16_t
path_mtu_of(struct host *host)
{
    struct sal_flow flow;
    CU_ASSERT_TRUE(only_flow(FLOWS(host), &flow));
    return flow.path_mtu;
}

static void
expect_ignored(struct frame f)
{
    uint64_t before = counter(&client, SAL_COUNT_IN_ICMP_UNKNOWN);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_UNSPEC);
    CU_ASSERT_EQUAL(path_mtu_of(&client), 0);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_ICMP_UNKNOWN), before + 1);
}

static void
test_path_mtu(void)
{
    FOR_EACH_COMBINATION (in, out) {
        const size_t l4 = 14 + IP_HEADER(out), sal = l4 + 8;
        const int overhead = out ? 64 : 44;
        struct sal_flow ours, theirs;
        set_up_both(out);
        connect_pair(in, out, &ours, &theirs);
        struct frame data = request_frame(in, out, &ours, 0, 0), f = data;

        /* Forged: anything that does not fit the flow, or a checksum. */
        static const int guesses[] = {0, 4, 8}; /* Version, flow IDs. */
        for (size_t i = 1; i < ARRAY_SIZE(guesses); i++) {
            f = data;
            f.data[sal + guesses[i]] ^= 1;
            expect_ignored(too_big(out, 1400, &f));
        }
        f = data;
        f.data[l4 + 1] ^= 1; /* Source port. */
        expect_ignored(too_big(out, 1400, &f));
        f = data;
        f.data[l4 - 1] ^= 1; /* Destination address. */
        expect_ignored(too_big(out, 1400, &f));
        f = too_big(out, 1400, &data);
        f.data[14 + IP_HEADER(out) + 2] ^= 1;
        expect_ignored(f);

        /* The SAL port was not meant, or too little is quoted: not ours. */
        f = data;
        f.data[l4 + 3] ^= 1;
        f = too_big(out, 1400, &f);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_UNSPEC);
        f = router_error(out, out ? 2 : 3, out ? 0 : 4, 1400, &data,
                         IP_HEADER(out) + 8 + 15);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_UNSPEC);
        CU_ASSERT_EQUAL(path_mtu_of(&client), 0);

        f = too_big(out, 1400, &data);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_UNSPEC);
        CU_ASSERT_EQUAL(path_mtu_of(&client), 1400);
        CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_PATH_MTU), 1);
        /* More than we know is no news. */
        f = too_big(out, 1450, &data);
        run_ingress(&client, &f);
        CU_ASSERT_EQUAL(path_mtu_of(&client), 1400);

        /* What fits leaves; what does not is answered. */
        char text[1400];
        struct inner_packet p = request(in);
        size_t fits = 1400 - overhead - IP_HEADER(in) - 20;
        memset(text, 'x', sizeof text);
        text[fits] = '\0';
        p.payload = text;
        build_plain(&f, &p);
        run_egress(&client, &f);
        CU_ASSERT_EQUAL(f.len, 14 + 1400);
        text[fits] = 'x';
        text[fits + 1] = '\0';
        build_plain(&f, &p);
        struct frame large = f;
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_PATH_MTU), 1);
        if (in) {
            struct frame want;
            build_icmp6(&want, &p, 2, 0, 1400 - overhead, 20);
            expect_answer(&f, &want);
        } else {
            CU_ASSERT_EQUAL(get16(&f, 16), 20 + 8 + 40);
            CU_ASSERT_EQUAL(f.data[23], 1);
            CU_ASSERT_EQUAL(test_checksum(f.data + 14, 20, 0), 0);
            CU_ASSERT_EQUAL(get16(&f, 34), 0x0304);
            CU_ASSERT_EQUAL(get32(&f, 38), (uint32_t) 1400 - overhead);
            CU_ASSERT_EQUAL(test_checksum(f.data + 34, 48, 0), 0);
            CU_ASSERT_EQUAL(memcmp(f.data + 42, large.data + 14, 40), 0);
        }

        /* Nobody makes it less than what IP promises. */
        f = too_big(out, 68, &data);
        run_ingress(&client, &f);
        CU_ASSERT_EQUAL(path_mtu_of(&client),
                        in ? 1280 + overhead : out ? 1280 : 576);
        tear_down();
    }
}

/* A SYN that no router can pass on: its connect ends at once. */
static void
test_unreachable(void)
{
    FOR_EACH_COMBINATION (in, out) {
        struct frame syn, f, want;
        set_up_both(out);
        struct inner_packet p = syn_packet(in);
        build_plain(&syn, &p);
        run_egress(&client, &syn);
        resolve(&syn, out); /* A switch sent it to the server. */

        f = syn; /* Without the nonce nobody is believed. */
        f.data[SAL_AT(out) + 24] ^= 1;
        f = router_error(out, out ? 1 : 3, out ? 0 : 1, 0, &f,
                         IP_HEADER(out) + 8 + 32);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_UNSPEC);
        CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 1);

        f = router_error(out, out ? 1 : 3, out ? 0 : 1, 0, &syn,
                         IP_HEADER(out) + 8 + 32);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 0);
        struct inner_packet rst = {.v6 = in, .src = web_at[in],
                                   .dst = id_c[in], .sport = 80,
                                   .dport = 40000, .ack = 1001,
                                   .flags = RST | ACK};
        build_plain(&want, &rst);
        expect_answer(&f, &want);
        tear_down();
    }
}

#ifndef BPF_F_TEST_SKB_CHECKSUM_COMPLETE
#define BPF_F_TEST_SKB_CHECKSUM_COMPLETE 4
#endif

/* A device may have summed up the whole packet: that sum stays right when
 * headers go and addresses change.  The kernel checks it after the run. */
static void
test_whole_checksum(void)
{
    FOR_EACH_COMBINATION (in, out) {
        struct sal_flow ours, theirs;
        struct frame left;
        set_up_both(out);
        connect_pair(in, out, &ours, &theirs);
        for (int ce = 0; ce < 2; ce++) {
            struct frame f = request_frame(in, out, &ours, ce ? 3 : 2, 2);
            LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f.data,
                        .data_size_in = f.len, .data_out = left.data,
                        .data_size_out = sizeof left.data, .repeat = 1,
                        .flags = BPF_F_TEST_SKB_CHECKSUM_COMPLETE);
            int fd = bpf_program__fd(server.dp->skeleton->progs.sal_ingress);
            int error = bpf_prog_test_run_opts(fd, &opts);
            if (error == -EINVAL) {
                continue; /* Before Linux 6.13. */
            }
            CU_ASSERT_EQUAL(error, 0);
            CU_ASSERT_EQUAL(opts.retval, TC_ACT_REDIRECT);
        }
        tear_down();
    }
}

UNIT_MAIN("sal_v6", UNIT_TEST(test_connection), UNIT_TEST(test_xdp),
          UNIT_TEST(test_datagram), UNIT_TEST(test_refused_here),
          UNIT_TEST(test_refused_there), UNIT_TEST(test_target_family),
          UNIT_TEST(test_local_headers), UNIT_TEST(test_ecn),
          UNIT_TEST(test_whole_checksum),
          UNIT_TEST(test_hostile_data), UNIT_TEST(test_hostile_syn),
          UNIT_TEST(test_outer_extensions), UNIT_TEST(test_path_mtu),
          UNIT_TEST(test_unreachable))
