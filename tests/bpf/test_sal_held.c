/* SPDX-License-Identifier: Apache-2.0 */
/* What the data plane gives the daemon to hold: a first datagram that is too
 * large to share a packet with the SYN's header, and what a DELAY rule is to
 * resolve. */
#include "tests/bpf/bpf_udp.h"

/* A first datagram that does not fit beside the SYN's header is held; its
 * headers travel with the SYN, and the server binds without it. */
static void
test_large_first_datagram(void)
{
    struct sal_flow ours, theirs;
    struct frame f, want, datagram;

    set_up_udp();
    build_inner(&datagram, large());
    f = client_sends(large());
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    struct sal_packet p = udp_control(&client, &ours, SAL_TYPE_SYN);
    put_ethernet(&want, no_mac);
    put_sal(&want, &p, 4, 28);
    put_bytes(&want, datagram.data + 14, 28);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    take_held(&client);
    CU_ASSERT_EQUAL(taken.n, 1);
    CU_ASSERT_EQUAL(taken.held.kind, SAL_HELD_BIND);
    CU_ASSERT_EQUAL(taken.held.attempts, 0);
    CU_ASSERT_TRUE(frame_equal(&taken.frame, &datagram, 0));

    resolve_to(&f, LOC_S);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    expect_none_delivered();
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    p = udp_control(&server, &theirs, SAL_TYPE_SYN_ACK);
    expect_sal(&f, &p, NULL);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    take_held(&client);
    CU_ASSERT_EQUAL(taken.n, 1);
    CU_ASSERT_EQUAL(taken.held.kind, SAL_HELD_BOUND);
    CU_ASSERT_EQUAL(taken.held.len, 0);

    /* The answer to that was an ACK; the datagram follows as DATA. */
    p = udp_ack(&ours, &theirs);
    expect_sal(&f, &p, NULL);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    f = client_sends(large());
    p = udp_control(&client, &ours, SAL_TYPE_DATA);
    expect_sal(&f, &p, large());
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    struct segment there = *large();
    there.dst = ID_S;
    there.dport = TARGET_PORT;
    build_inner(&want, &there);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    tear_down();
}

/* Refused: the application is told, the daemon too. */
static void
test_large_refused(void)
{
    struct frame f, quote;

    set_up_udp();
    struct segment closed_port = *large();
    closed_port.dport = 54;
    f = client_sends(&closed_port);
    resolve_to(&f, LOC_S);
    set_hops(&f, 3);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[44], SAL_TYPE_RESET);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(get16(&f, 34), 0x0303);
    build_inner(&quote, &closed_port);
    CU_ASSERT_EQUAL(memcmp(f.data + 42, quote.data + 14, 28), 0);
    take_held(&client);
    CU_ASSERT_EQUAL(taken.n, 2);
    CU_ASSERT_EQUAL(taken.held.kind, SAL_HELD_REFUSED);
    tear_down();
}

/* The server's own large answer does not wait: its SYN-ACK is on the way. */
static void
test_large_answer(void)
{
    struct sal_flow theirs;
    struct frame f;

    set_up_udp();
    syn_reaches(&server);
    expect_delivered(&asked);
    struct segment answer = tell, seen = told;
    answer.payload = seen.payload = large()->payload;
    build_inner(&f, &answer);
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    struct sal_packet p = udp_control(&server, &theirs, SAL_TYPE_DATA);
    expect_sal(&f, &p, &seen);
    tear_down();
}

/* What the daemon hands back is sent by sal0 like anything else. */
static void
test_hand_back(void)
{
    struct frame f, is;

    set_up_udp();
    build_inner(&f, &ask);
    CU_ASSERT_EQUAL(datapath_held_send(client.dp, f.data, f.len, 0), 0);
    /* Nothing is attached to the test's sal0, an ifb device, which hands to
     * nobody what was not redirected to it; it is seen on the way in. */
    struct pollfd poll_fd = {.fd = test_device(), .events = POLLIN};
    CU_ASSERT_EQUAL_FATAL(poll(&poll_fd, 1, 10000), 1);
    is.len = recv(poll_fd.fd, is.data, sizeof is.data, 0);
    CU_ASSERT_TRUE(frame_equal(&is, &f, 12));
    tear_down();
}

/* DELAY: the packet is given to hold, and nothing leaves; handed back, it is
 * refused if the daemon says so, or goes its way by the new rule. */
static void
test_delay(void)
{
    struct frame f, syn;

    set_up_udp();
    put_rule(&client, &web, SERVICE_DELAY);
    host_apply(&client);
    build_inner(&syn, &client_syn);
    f = syn;
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
    take_held(&client);
    CU_ASSERT_EQUAL(taken.n, 1);
    CU_ASSERT_EQUAL(taken.held.kind, SAL_HELD_RESOLVE);
    CU_ASSERT_EQUAL(memcmp(taken.held.service_id, web.id.bytes, 32), 0);
    CU_ASSERT_TRUE(frame_equal(&taken.frame, &syn, 0));
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 0);
    build_inner(&f, &ask);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_DELAYED), 2);

    f = syn;
    CU_ASSERT_EQUAL(run_egress_marked(&client, &f, SAL_MARK_AGAIN | 2),
                    TC_ACT_SHOT);
    take_held(&client);
    CU_ASSERT_EQUAL(taken.held.attempts, 2);
    f = syn;
    CU_ASSERT_EQUAL(run_egress_marked(&client, &f, SAL_MARK_REFUSE),
                    TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[47], RST | ACK);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_DELAY_REFUSED), 1);
    put_rule(&client, &web, SERVICE_FORWARD);
    host_apply(&client);
    f = syn;
    CU_ASSERT_EQUAL(run_egress_marked(&client, &f, SAL_MARK_AGAIN),
                    TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[44], SAL_TYPE_SYN);
    tear_down();
}

UNIT_MAIN("sal_held", UNIT_TEST(test_large_first_datagram),
          UNIT_TEST(test_large_refused), UNIT_TEST(test_large_answer),
          UNIT_TEST(test_hand_back), UNIT_TEST(test_delay))
