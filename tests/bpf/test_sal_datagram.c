/* SPDX-License-Identifier: Apache-2.0 */
/* DATAGRAM: each one resolved by itself, nothing bound. */
#include "tests/bpf/bpf_udp.h"

static void
set_up_datagram(void)
{
    set_up_udp();
    struct service_rule rule = {.prefix = web, .action = SERVICE_FORWARD,
                                .datagram = true};
    host_tables_put_rule(&client.tables, &rule);
    host_apply(&client);
}

/* Each datagram has a source port of its own, and so finds an instance of its
 * own; each answer reaches the client, and nothing is bound. */
static void
test_datagram(void)
{
    struct sal_flow ours, theirs;
    uint16_t last = 0;
    bool changed = false;
    struct frame f, want;

    set_up_datagram();
    for (int i = 0; i < 6; i++) {
        struct host *to = i % 2 ? &other : &server;
        f = client_sends(&ask);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
        struct sal_packet p = udp_control(&client, &ours, SAL_TYPE_DATAGRAM);
        expect_sal(&f, &p, &ask);
        CU_ASSERT_EQUAL(p.dst_flow, 0);
        changed |= i && last != ours.entropy;
        last = ours.entropy;

        resolve_to(&f, to->locator);
        CU_ASSERT_EQUAL(run_ingress(to, &f), TC_ACT_REDIRECT);
        struct segment there = asked;
        there.dst = to == &server ? ID_S : ID_T;
        build_inner(&want, &there);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));

        struct segment answer = tell;
        answer.src = there.dst;
        build_inner(&f, &answer);
        CU_ASSERT_EQUAL(run_egress(to, &f), TC_ACT_REDIRECT);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(to), &theirs));
        p = udp_control(to, &theirs, SAL_TYPE_DATAGRAM);
        p.dst = LOC_C;
        CU_ASSERT_EQUAL(p.dst_flow, ntohl(ours.id));
        expect_sal(&f, &p, &told);
        memset(f.data, 0, 12);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
        build_inner(&want, &told);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    }
    CU_ASSERT_TRUE(changed);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_DATAGRAM), 6);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_DATAGRAM), 6);
    tear_down();
}

/* Too large beside the header: the sender is told how much fits. */
static void
test_datagram_too_big(void)
{
    struct frame f, quote;

    set_up_datagram();
    build_inner(&quote, large());
    f = client_sends(large());
    CU_ASSERT_EQUAL(get16(&f, 34), 0x0304);
    CU_ASSERT_EQUAL(get32(&f, 38), 1500 - 28 - 84);
    CU_ASSERT_EQUAL(test_checksum(f.data + 34, 36, 0), 0);
    CU_ASSERT_EQUAL(memcmp(f.data + 42, quote.data + 14, 28), 0);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_DATAGRAM_TOO_BIG), 1);
    struct segment fits = *large();
    char payload[1360 + 1];
    memset(payload, 'y', 1360);
    payload[1360] = '\0';
    fits.payload = payload;
    f = client_sends(&fits);
    CU_ASSERT_EQUAL(f.data[44], SAL_TYPE_DATAGRAM);
    CU_ASSERT_EQUAL(f.len, 1514);
    tear_down();
}

/* Answers are taken from whoever knows the nonce, and from nobody else; a
 * refusal reaches the application. */
static void
test_datagram_forged(void)
{
    struct sal_flow ours;
    struct frame f;

    set_up_datagram();
    client_sends(&ask);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    struct sal_packet p = udp_control(&client, &ours, SAL_TYPE_DATAGRAM);
    p.src = LOC_T;
    p.dst = LOC_C;
    p.src_flow = 7;
    p.dst_flow = ntohl(ours.id);
    build_sal(&f, &p, &told);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    p.nonce[5] ^= 1;
    build_sal(&f, &p, &told);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_WRONG_NONCE), 1);
    p.nonce[5] ^= 1;
    struct segment forged = told;
    forged.src = SHADOW;
    build_sal(&f, &p, &forged);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_WRONG_TUPLE), 1);
    p.dst_flow ^= 1;
    build_sal(&f, &p, &told);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_UNKNOWN_FLOW), 1);

    struct segment closed_port = ask;
    closed_port.dport = 54;
    f = client_sends(&closed_port);
    resolve_to(&f, LOC_S);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[44], SAL_TYPE_DATAGRAM); /* Resolved on. */
    resolve_to(&f, LOC_S);
    set_hops(&f, 3);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(get16(&f, 34), 0x0303);
    tear_down();
}

UNIT_MAIN("sal_datagram", UNIT_TEST(test_datagram),
          UNIT_TEST(test_datagram_too_big), UNIT_TEST(test_datagram_forged))
