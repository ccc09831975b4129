/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP errors about inner packets: they cross with the flow they are about. */
#include "tests/bpf/bpf_udp.h"

/* An error from 'src' about 'about' to its sender. */
static void
build_icmp(struct frame *f, uint32_t src, const struct segment *about,
           uint8_t code, uint32_t rest)
{
    put_ethernet(f, test_sal_mac);
    put_ipv4(f, src, about->src, 1, 20 + 8 + 28, 0);
    put16(f, 0x0300 | code);
    put16(f, 0);
    put32(f, rest);
    struct frame quote;
    build_inner(&quote, about);
    put_bytes(f, quote.data + 14, 28);
    /* The UDP checksum that is quoted nobody looks at. */
    set16(f, 34 + 8 + 26, 0xbeef);
    set16(f, 36, test_checksum(f->data + 34, 36, 0));
}

/* Nobody listens at the server's port: the client's application learns that;
 * likewise that its datagrams are too big.  And the other way round. */
static void
test_inner_icmp(void)
{
    struct sal_flow ours, theirs;
    struct frame f, want, inner;

    set_up_udp();
    f = syn_reaches(&server);
    expect_delivered(&asked);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    for (int i = 0; i < 2; i++) {
        uint8_t code = i ? 4 : 3;
        uint32_t rest = i ? 1300 : 0;
        build_icmp(&f, ID_S, &asked, code, rest);
        CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
        struct sal_packet p = udp_control(&server, &theirs, SAL_TYPE_DATA);
        build_icmp(&inner, WEB, &ask, code, rest);
        put_ethernet(&want, no_mac);
        put_sal(&want, &p, 4, inner.len - 14);
        put_bytes(&want, inner.data + 14, inner.len - 14);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        memset(f.data, 0, 12);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT_TRUE(frame_equal(&f, &inner, 12));
        CU_ASSERT_EQUAL(memcmp(f.data, test_sal_mac, 6), 0);
    }
    build_icmp(&f, ID_C, &told, 3, 0);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_SHOT); /* Half open. */
    f = client_sends(&ask);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    build_icmp(&f, ID_C, &told, 3, 0);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    build_icmp(&want, ID_C, &tell, 3, 0);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    tear_down();
}

/* Only errors, and only about packets of the flow. */
static void
test_inner_icmp_forged(void)
{
    struct sal_flow ours, theirs;
    struct frame f, inner;

    set_up_udp();
    f = syn_reaches(&server);
    expect_delivered(&asked);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    struct sal_packet p = udp_control(&server, &theirs, SAL_TYPE_DATA);
    for (int i = 0; i < 6; i++) {
        struct segment about = ask;
        about.sport += i == 1;
        about.dst += i == 2;
        build_icmp(&inner, WEB, &about, 3, 0);
        inner.data[34] = i == 3 ? 8 : 3; /* Echo request. */
        inner.data[33] += i == 4;        /* To somebody else. */
        put_ethernet(&f, no_mac);
        put_sal(&f, &p, 4, inner.len - 14);
        put_bytes(&f, inner.data + 14, inner.len - 14 - (i == 5 ? 20 : 0));
        CU_ASSERT_EQUAL(run_ingress(&client, &f),
                        i ? TC_ACT_SHOT : TC_ACT_REDIRECT);
    }
    build_icmp(&f, ID_S, &asked, 3, 0);
    f.data[34] = 0; /* Echo reply. */
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_OUT_UNSUPPORTED), 1);
    tear_down();
}

UNIT_MAIN("sal_icmp", UNIT_TEST(test_inner_icmp),
          UNIT_TEST(test_inner_icmp_forged))
