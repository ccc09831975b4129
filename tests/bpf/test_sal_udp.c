/* SPDX-License-Identifier: Apache-2.0 */
/* UDP flows, packet by packet: bound by the first datagram, whoever answers;
 * a service of the host's own. */
#include "tests/bpf/bpf_udp.h"

/* One datagram binds both ends, though the server's application is silent. */
static void
test_one_way(void)
{
    struct sal_flow ours, theirs;
    struct frame f;

    set_up_udp();
    f = syn_reaches(&server);
    expect_delivered(&asked);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    CU_ASSERT_EQUAL(theirs.state, SAL_FLOW_HALF_OPEN);
    struct sal_packet p = udp_control(&server, &theirs, SAL_TYPE_SYN_ACK);
    expect_sal(&f, &p, NULL);

    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    expect_none_delivered();
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    CU_ASSERT_EQUAL(ours.state, SAL_FLOW_BOUND);
    CU_ASSERT_EQUAL(ours.peer_id, theirs.id);
    p = udp_ack(&ours, &theirs);
    expect_sal(&f, &p, NULL);

    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_ACK), 1);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    CU_ASSERT_EQUAL(theirs.state, SAL_FLOW_BOUND);
    expect_none_delivered();

    f = client_sends(&ask);
    p = udp_control(&client, &ours, SAL_TYPE_DATA);
    expect_sal(&f, &p, &ask);
    build_inner(&f, &tell);
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
    p = udp_control(&server, &theirs, SAL_TYPE_DATA);
    expect_sal(&f, &p, &told);
    tear_down();
}

/* Where the kernel does not let the server's data plane cut the datagram off,
 * it comes back with the SYN-ACK, and goes back with the ACK. */
static void
test_syn_ack_with_datagram(void)
{
    struct sal_flow ours, theirs;
    struct frame f;

    set_up_udp();
    syn_reaches(&server);
    expect_delivered(&asked);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    struct sal_packet p = udp_control(&server, &theirs, SAL_TYPE_SYN_ACK);
    build_sal(&f, &p, &ask);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    expect_none_delivered();
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    CU_ASSERT_EQUAL(ours.state, SAL_FLOW_BOUND);
    p = udp_ack(&ours, &theirs);
    expect_sal(&f, &p, &ask);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_SHOT);
    expect_none_delivered();
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    CU_ASSERT_EQUAL(theirs.state, SAL_FLOW_BOUND);

    /* Anybody else's datagram is not taken for it. */
    struct segment forged = ask;
    forged.src = ID_T;
    p = udp_control(&server, &theirs, SAL_TYPE_SYN_ACK);
    build_sal(&f, &p, &forged);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_WRONG_TUPLE), 1);
    tear_down();
}

/* Until the SYN-ACK is here, each datagram says the same, so that all reach
 * one server; each is answered, as the SYN-ACK may have got lost. */
static void
test_burst(void)
{
    struct sal_flow ours, theirs;
    struct frame f;

    set_up_udp();
    for (int i = 0; i < 5; i++) {
        f = client_sends(&ask);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
        struct sal_packet p = udp_control(&client, &ours, SAL_TYPE_SYN);
        expect_sal(&f, &p, &ask);
        resolve_to(&f, LOC_S);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
        expect_delivered(&asked);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
        p = udp_control(&server, &theirs, SAL_TYPE_SYN_ACK);
        expect_sal(&f, &p, NULL);
    }
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_SYN_AGAIN), 4);
    tear_down();
}

/* A retried SYN was resolved to another server: the one whose SYN-ACK comes
 * late is told, and forgets. */
static void
test_second_server_forgets(void)
{
    struct sal_flow ours, theirs;
    struct frame first, late, f;

    set_up_udp();
    first = syn_reaches(&server);
    expect_delivered(&asked);
    late = syn_reaches(&other);
    struct segment there = asked;
    there.dst = ID_T;
    expect_delivered(&there);
    CU_ASSERT_EQUAL(run_ingress(&client, &first), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    CU_ASSERT_EQUAL(ntohl(ours.peer_locator.w[3]), LOC_S);

    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&other), &theirs));
    CU_ASSERT_EQUAL(run_ingress(&client, &late), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_LATE_SYN_ACK), 1);
    struct sal_packet p = udp_control(&other, &theirs, SAL_TYPE_RESET);
    p.src = LOC_C;
    p.dst = LOC_T;
    p.src_flow = ntohl(ours.id);
    p.dst_flow = ntohl(theirs.id);
    expect_sal(&late, &p, NULL);
    memset(late.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&other, &late), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&other, SAL_COUNT_IN_RESET), 1);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&other)), 0);
    CU_ASSERT_EQUAL(map_count(HALF_TUPLES(&other)), 0);

    /* What its application says afterwards reaches nobody. */
    struct segment from_there = tell;
    from_there.src = ID_T;
    build_inner(&f, &from_there);
    run_egress(&other, &f);
    CU_ASSERT_EQUAL(counter(&other, SAL_COUNT_OUT_UNKNOWN_ADDRESS), 1);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &theirs));
    CU_ASSERT_EQUAL(memcmp(&theirs, &ours, 64), 0);
    tear_down();
}

/* An ACK binds only if flow ID, nonce and peer are right. */
static void
test_forged_ack(void)
{
    static const struct {
        uint32_t src_flow_xor, dst_flow_xor, src_xor;
        uint8_t nonce_xor;
        enum sal_counter reason;
    } cases[] = {
        {0, 0, 0, 1, SAL_COUNT_IN_WRONG_NONCE},
        {1, 0, 0, 0, SAL_COUNT_IN_WRONG_PEER},
        {0, 1, 0, 0, SAL_COUNT_IN_UNKNOWN_FLOW},
        {0, 0, 7, 0, SAL_COUNT_IN_WRONG_PEER},
    };
    struct sal_flow ours, theirs;
    struct frame f;

    set_up_udp();
    f = syn_reaches(&server);
    expect_delivered(&asked);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
        struct sal_packet p = udp_ack(&ours, &theirs);
        p.src_flow ^= cases[i].src_flow_xor;
        p.dst_flow ^= cases[i].dst_flow_xor;
        p.src ^= cases[i].src_xor;
        p.nonce[3] ^= cases[i].nonce_xor;
        uint64_t before = counter(&server, cases[i].reason);
        build_sal(&f, &p, NULL);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_SHOT);
        CU_ASSERT_EQUAL(counter(&server, cases[i].reason), before + 1);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
        CU_ASSERT_EQUAL(theirs.state, SAL_FLOW_HALF_OPEN);
    }
    tear_down();
}

static void
own_datagram(const struct segment *in, const struct segment *out)
{
    struct frame f = client_sends(in), want;
    build_inner(&want, out);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    CU_ASSERT_EQUAL(memcmp(f.data, test_sal_mac, 6), 0);
}

/* A host's own UDP service: nothing leaves, and both flows are bound. */
static void
test_own_udp_service(void)
{
    struct segment in = ask, out = ask, back = tell, seen = told;

    set_up_udp();
    put_udp_target(&client, &own);
    client.tables.settings.resolver_v4 = 0; /* Not needed. */
    host_apply(&client);
    in.dst = OWN;
    out.src = OWN;
    out.dst = ID_C;
    out.dport = TARGET_PORT;
    back.src = ID_C;
    back.dst = OWN;
    seen.src = OWN;
    for (int i = 0; i < 3; i++) {
        own_datagram(&in, &out);
    }
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 2);
    own_datagram(&back, &seen);
    own_datagram(&in, &out);
    in.payload = out.payload = large()->payload;
    own_datagram(&in, &out);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_LOCAL_SERVICE), 1);
    in.dport = 54;
    struct frame f = client_sends(&in);
    CU_ASSERT_EQUAL(get16(&f, 34), 0x0303);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_NO_TARGET), 1);
    tear_down();
}

UNIT_MAIN("sal_udp", UNIT_TEST(test_one_way),
          UNIT_TEST(test_syn_ack_with_datagram), UNIT_TEST(test_burst),
          UNIT_TEST(test_second_server_forgets), UNIT_TEST(test_forged_ack),
          UNIT_TEST(test_own_udp_service))
