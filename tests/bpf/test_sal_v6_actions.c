/* SPDX-License-Identifier: Apache-2.0 */
/* The actions of the service table with IPv6 inside, outside and both, byte by
 * byte.  (IPv4 in IPv4: test_sal_actions.c, test_sal_datagram.c.) */
#include "agents/datapath_held.h"
#include "tests/bpf/bpf_v6.h"

#define FOR_EACH_WITH_V6(IN, OUT)                                             \
    FOR_EACH_COMBINATION (IN, OUT)                                            \
        if (IN || OUT)

/* TCP and UDP where both are IPv6, else one of them: each load costs time. */
#define FIRST_PROTOCOL(IN, OUT) ((IN) < (OUT))
#define LAST_PROTOCOL(IN, OUT) ((IN) <= (OUT))

/* The client's datagram to the service. */
static struct inner_packet
ask_packet(int in)
{
    struct inner_packet p = syn_packet(in);
    p.udp = true;
    p.dport = 53;
    p.tos = 0;
    p.payload = "who?";
    return p;
}

/* The server's answer, as its stack sends it. */
static struct inner_packet
tell_packet(int in)
{
    struct inner_packet p = answer_of(in, 0, "me");
    p.udp = true;
    p.sport = 9953;
    return p;
}

static void
put_hop_to(struct host *host, const struct ip *locator, int out)
{
    struct service_hop hop = {.prefix = web, .weight = 1};
    struct in6_addr at = in6_of(locator, out);
    memcpy(hop.locator, &at, sizeof hop.locator);
    host_tables_put_hop(&host->tables, &hop);
}

static void
set_rule(struct host *host, struct service_rule rule)
{
    rule.prefix = web;
    host_tables_put_rule(&host->tables, &rule);
    host_apply(host);
}

static struct frame
sends(struct host *host, const struct inner_packet *p)
{
    struct frame f;
    build_plain(&f, p);
    CU_ASSERT_EQUAL(run_egress(host, &f), TC_ACT_REDIRECT);
    return f;
}

static void
arrives(struct host *host, struct frame *f)
{
    memset(f->data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(host, f), TC_ACT_REDIRECT);
}

static void
expect_plain(const struct frame *f, const struct inner_packet *p)
{
    struct frame want;
    build_plain(&want, p);
    CU_ASSERT_TRUE(frame_equal(f, &want, 0));
}

/* FORWARD to a locator: there, and not to the resolver, with the path class. */
static void
test_hops(void)
{
    FOR_EACH_WITH_V6 (in, out) {
        struct sal_flow ours;
        struct frame f, want;
        set_up_both(!out); /* The hop's version decides, no preference. */
        put_hop_to(&client, &loc_s[out], out);
        set_rule(&client, (struct service_rule) {.action = SERVICE_FORWARD,
                                                 .path_class = 5});
        for (int udp = 0; udp < 2; udp++) {
            struct inner_packet p = udp ? ask_packet(in) : syn_packet(in);
            f = sends(&client, &p);
            uint32_t id = htonl(get32(&f, SAL_AT(out) + 4));
            CU_ASSERT_EQUAL_FATAL(
                bpf_map_lookup_elem(bpf_map__fd(HALF_FLOWS(&client)), &id,
                                    &ours), 0);
            struct sal_packet sal = header_of(&client, &ours, SAL_TYPE_SYN);
            sal.flags_class = 5;
            build_tunnelled(&want, out, &loc_c[out], &loc_s[out], &sal, p.tos,
                            &p);
            CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        }
        tear_down();
    }
}

/* DATAGRAM there and back, nothing bound; too large a one is answered. */
static void
test_datagram_mode(void)
{
    FOR_EACH_WITH_V6 (in, out) {
        struct sal_flow ours, theirs;
        struct frame f, want;
        set_up_both(out);
        set_rule(&client, (struct service_rule) {.action = SERVICE_FORWARD,
                                                 .datagram = true});
        struct inner_packet p = ask_packet(in);
        f = sends(&client, &p);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
        struct sal_packet sal = header_of(&client, &ours, SAL_TYPE_DATAGRAM);
        build_tunnelled(&want, out, &loc_c[out], &resolver_at[out], &sal, 0,
                        &p);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        resolve(&f, out);
        arrives(&server, &f);
        p = at_target(p);
        expect_plain(&f, &p);

        p = tell_packet(in);
        f = sends(&server, &p);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
        sal = header_of(&server, &theirs, SAL_TYPE_DATAGRAM);
        CU_ASSERT_EQUAL(sal.dst_flow, ntohl(ours.id));
        p = from_service(p);
        build_tunnelled(&want, out, &loc_s[out], &loc_c[out], &sal, 0, &p);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        arrives(&client, &f);
        expect_plain(&f, &p);

        char large[1400];
        memset(large, 'x', sizeof large);
        large[sizeof large - 1] = '\0';
        p = ask_packet(in);
        p.payload = large;
        f = sends(&client, &p);
        uint32_t fits = 1500 - (IP_HEADER(out) + 8) - 84;
        if (in) {
            build_icmp6(&want, &p, 2, 0, fits, 8);
            expect_answer(&f, &want);
        } else {
            CU_ASSERT_EQUAL(get16(&f, 34), 0x0304);
            CU_ASSERT_EQUAL(get32(&f, 38), fits);
        }
        CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_DATAGRAM_TOO_BIG), 1);
        CU_ASSERT_EQUAL(map_count(FLOWS(&client)), 0);
        tear_down();
    }
}

/* What is not served there comes back, and goes out again resolved afresh. */
static void
test_resolve_on(void)
{
    FOR_EACH_WITH_V6 (in, out) {
        for (int udp = FIRST_PROTOCOL(in, out); udp <= LAST_PROTOCOL(in, out);
             udp++) {
            struct sal_flow ours;
            struct frame f, want;
            set_up_both(out);
            struct service_prefix root = {.len = 0};
            host_tables_remove_rule(&server.tables, &web);
            put_rule(&server, &root, SERVICE_FORWARD);
            host_apply(&server);
            struct inner_packet p = udp ? ask_packet(in) : syn_packet(in);
            f = sends(&client, &p);
            resolve(&f, out);
            arrives(&server, &f);
            CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
            struct sal_packet sal = header_of(&client, &ours, SAL_TYPE_RESET);
            sal.dst_flow = sal.src_flow;
            sal.src_flow = 0;
            sal.flags_class = SAL_FLAG_RETRY;
            build_tunnelled(&want, out, &loc_s[out], &loc_c[out], &sal, 0, &p);
            if (out) { /* The flow label is not that of a flow of theirs. */
                set16(&want, 16, 0);
            }
            CU_ASSERT_TRUE(frame_equal(&f, &want, 12));

            arrives(&client, &f);
            CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
            sal = header_of(&client, &ours, SAL_TYPE_SYN);
            sal.flags_class = 1 << 5;
            build_tunnelled(&want, out, &loc_c[out], &resolver_at[out], &sal,
                            p.tos, &p);
            CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
            CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_RESOLVED_ON), 1);
            tear_down();
        }
    }
}

/* A service router changes the outer destination, the hop limit and its count
 * of hops, and nothing else. */
static void
test_router(void)
{
    static const struct ip loc_r[2] = {{{10, 0, 0, 9}},
                                       {{0x20, 1, 0xd, 0xb8, [15] = 9}}};
    static const struct ip id_r[2] = {{{100, 64, 0, 9}},
                                      {{0xfd, 0x64, [15] = 9}}};
    FOR_EACH_WITH_V6 (in, out) {
        struct sal_flow ours;
        struct host router;
        struct frame f, want;
        set_up_both(out);
        host_init(&router, 0x0a000009, 0x64400009, 16);
        router.tables.settings.resolver_v4 = RESOLVER;
        router.tables.settings.resolver_v6 = in6_of(&resolver_at[1], 1);
        router.tables.settings.router = true;
        put_rule(&router, &web, SERVICE_FORWARD);
        put_hop_to(&router, &loc_s[out], out);
        add_v6(&router, &loc_r[1], &id_r[1]);

        struct inner_packet p = syn_packet(in);
        f = sends(&client, &p);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
        arrives(&router, &f);
        struct sal_packet sal = header_of(&client, &ours, SAL_TYPE_SYN);
        sal.flags_class = 1 << 5;
        build_tunnelled(&want, out, &loc_c[out], &loc_s[out], &sal, 0x10, &p);
        if (out) {
            want.data[21]--;
        } else {
            want.data[22]--;
            set16(&want, 24, 0);
            set16(&want, 24, test_checksum(want.data + 14, 20, 0));
        }
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        arrives(&server, &f);
        p = at_target(p);
        expect_plain(&f, &p);
        CU_ASSERT_EQUAL(counter(&router, SAL_COUNT_IN_ROUTED), 1);
        host_destroy(&router);
        tear_down();
    }
}

static struct {
    struct sal_held held;
    struct frame frame;
    int n;
} taken;

static void
note_taken(const struct sal_held *held, void *frame, void *aux OVS_UNUSED)
{
    taken.n++;
    taken.held = *held;
    taken.frame.len = MIN(held->len, sizeof taken.frame.data);
    memcpy(taken.frame.data, frame, taken.frame.len);
}

/* DELAY: the daemon has the packet as it was; handed back it is a SYN, or is
 * refused. */
static void
test_delay(void)
{
    FOR_EACH_WITH_V6 (in, out) {
        for (int udp = FIRST_PROTOCOL(in, out); udp <= LAST_PROTOCOL(in, out);
             udp++) {
            struct sal_flow ours;
            struct frame f, want;
            set_up_both(out);
            set_rule(&client, (struct service_rule) {
                                  .action = SERVICE_DELAY});
            struct inner_packet p = udp ? ask_packet(in) : syn_packet(in);
            build_plain(&f, &p);
            CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
            taken.n = 0;
            CU_ASSERT_EQUAL(datapath_held_take(client.dp, note_taken, NULL),
                            0);
            CU_ASSERT_EQUAL_FATAL(taken.n, 1);
            CU_ASSERT_EQUAL(taken.held.kind, SAL_HELD_RESOLVE);
            CU_ASSERT_EQUAL(memcmp(taken.held.service_id, web.id.bytes, 32),
                            0);
            expect_plain(&taken.frame, &p);

            f = taken.frame;
            CU_ASSERT_EQUAL(run_egress_marked(&client, &f, SAL_MARK_REFUSE),
                            TC_ACT_REDIRECT);
            CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_DELAY_REFUSED), 1);
            set_rule(&client, (struct service_rule) {
                                  .action = SERVICE_FORWARD});
            f = taken.frame;
            CU_ASSERT_EQUAL(run_egress_marked(&client, &f, SAL_MARK_AGAIN | 1),
                            TC_ACT_REDIRECT);
            CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
            struct sal_packet sal = header_of(&client, &ours, SAL_TYPE_SYN);
            build_tunnelled(&want, out, &loc_c[out], &resolver_at[out], &sal,
                            p.tos, &p);
            CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
            tear_down();
        }
    }
}

/* A UDP service of the host's own: rewritten, and never on the wire. */
static void
test_own_udp(void)
{
    const int in = 1;
    struct frame f;
    set_up_both(0);
    struct local_target dns = {.prefix = web, .protocol = 17,
                               .service_port = 53, .port = 9953};
    host_tables_put_target(&client.tables, &dns);
    set_rule(&client, (struct service_rule) {.action = SERVICE_DEMUX});
    struct inner_packet p = ask_packet(in);
    f = sends(&client, &p);
    p.src = web_at[in];
    p.dst = id_c[in];
    p.dport = 9953;
    memset(f.data + 6, 0, 6);
    expect_plain(&f, &p);

    p = (struct inner_packet) {.v6 = in, .src = id_c[in],
                               .dst = web_at[in], .sport = 9953,
                               .dport = 40000, .udp = true,
                               .payload = "me"};
    f = sends(&client, &p);
    p.src = web_at[in];
    p.dst = id_c[in];
    p.sport = 53;
    memset(f.data + 6, 0, 6);
    expect_plain(&f, &p);
    tear_down();
}

UNIT_MAIN("sal_v6_actions", UNIT_TEST(test_hops),
          UNIT_TEST(test_datagram_mode), UNIT_TEST(test_resolve_on),
          UNIT_TEST(test_router), UNIT_TEST(test_delay),
          UNIT_TEST(test_own_udp))
