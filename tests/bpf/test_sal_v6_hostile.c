/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile packets from the network, of IPv6. */
#include "tests/bpf/bpf_v6.h"

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

UNIT_MAIN("sal_v6_hostile", UNIT_TEST(test_hostile_data),
          UNIT_TEST(test_hostile_syn), UNIT_TEST(test_outer_extensions))
