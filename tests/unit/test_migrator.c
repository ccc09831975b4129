/* SPDX-License-Identifier: Apache-2.0 */
/* Migrators that move flows: of themselves, by command, to where the peer is
 * found. */
#include "tests/unit/migrator_network.h"

static void
test_introduction(void)
{
    set_up();
    for (int host = 0; host < 2; host++) {
        const struct host *h = &hosts[host];
        CU_ASSERT_PTR_NOT_NULL(migrator_peer_key(
            h->migrator, hosts[!host].identity.endpoint_id));
        CU_ASSERT_EQUAL(migrator_n_groups(h->migrator), 1);
        CU_ASSERT_EQUAL(h->n_events[MIGRATOR_MOVED], 0);
    }
    CU_ASSERT_EQUAL(
        memcmp(migrator_peer_key(hosts[0].migrator,
                                 hosts[1].identity.endpoint_id),
               migrator_peer_key(hosts[1].migrator,
                                 hosts[0].identity.endpoint_id),
               IDENTITY_SESSION_KEY_LEN), 0);
    n_sent = 0;
    pass(60000);
    CU_ASSERT_EQUAL(n_sent, 0);
}

static void
test_uplink_lost(void)
{
    set_up();
    n_sent = 0;
    hosts[0].uplinks[0].usable = false;
    uplinks_changed(0);
    CU_ASSERT_EQUAL(hosts[0].flows[0].path.ifindex, 0); /* Held. */
    pass(5);
    expect_at(0, v4(0, 1));
    CU_ASSERT_EQUAL(hosts[0].n_events[MIGRATOR_MOVED], 1);
    CU_ASSERT_EQUAL(hosts[1].n_events[MIGRATOR_PEER_MOVED], 1);
    CU_ASSERT_TRUE(hosts[0].n_wakes && hosts[1].n_wakes);
    CU_ASSERT_TRUE(n_sent <= 6);

    /* It comes back, and is not believed at once. */
    hosts[0].uplinks[0].usable = true;
    uplinks_changed(0);
    pass(4900);
    expect_at(0, v4(0, 1));
    pass(200);
    expect_at(0, v4(0, 0));
    CU_ASSERT_EQUAL(hosts[0].reason, MIGRATOR_PREFERRED);
}

/* Make before break: until the peer has confirmed, the old path is used. */
static void
test_soft(void)
{
    struct migrator_moves moves;
    struct migrator_choice choice = {.ifindex = IFINDEX};
    set_up();
    migrator_move(hosts[0].migrator, &choice, &now, &moves);
    CU_ASSERT_EQUAL(moves.n_groups, 1);
    CU_ASSERT_EQUAL(moves.n_flows, 3);
    CU_ASSERT_FALSE(migrator_moves_check(hosts[0].migrator, &moves));
    for (int i = 0; i < 20 && n_queued; i++) {
        struct wire_packet wire = queue[0];
        memmove(queue, queue + 1, --n_queued * sizeof queue[0]);
        CU_ASSERT_TRUE(works(0));
        deliver(&wire);
        CU_ASSERT_TRUE(works(0));
    }
    pass(5);
    expect_at(0, v4(0, 1));
    CU_ASSERT_TRUE(migrator_moves_check(hosts[0].migrator, &moves));
    CU_ASSERT_EQUAL(moves.n_confirmed, 1);
    /* A command counts more than the order of the uplinks. */
    pass(20000);
    expect_at(0, v4(0, 1));
}

static void
test_both_at_once(void)
{
    set_up();
    for (int host = 0; host < 2; host++) {
        hosts[host].uplinks[0].usable = false;
        uplinks_changed(host);
    }
    drain(); /* The rendezvous does not know yet. */
    CU_ASSERT_FALSE(works(0));
    hosts[0].registered = v4(0, 1);
    hosts[1].registered = v4(1, 1);
    pass(300);
    expect_at(0, v4(0, 1));
    expect_at(1, v4(1, 1));
}

/* The network does not resolve: only an answer tells where the other is. */
static void
test_both_without_rendezvous(void)
{
    for (int answered = 0; answered < 2; answered++) {
        set_up();
        rendezvous_lost = true;
        can_ask = answered;
        for (int host = 0; host < 2; host++) {
            hosts[host].uplinks[0].usable = false;
            uplinks_changed(host);
            hosts[host].registered = v4(host, 1);
        }
        pass(90);
        CU_ASSERT_FALSE(works(0));
        pass(30);
        if (answered) {
            expect_at(0, v4(0, 1));
            expect_at(1, v4(1, 1));
            CU_ASSERT_EQUAL(migrator_counters(hosts[0].migrator)->asked, 1);
        } else {
            pass(30000);
            CU_ASSERT_FALSE(works(0));
        }
    }
}

/* Nobody knows where it is, or says what was not asked. */
static void
test_answers(void)
{
    struct migration_locator places[] = {v4(1, 1), v6(1, 1), {.port = 0},
                                         v4(1, 0)};
    const uint8_t *peer;

    set_up();
    peer = hosts[1].identity.endpoint_id;
    n_sent = 0;
    CU_ASSERT_FALSE(migrator_peer_at(hosts[0].migrator, peer, places, 4,
                                     &now));
    CU_ASSERT_FALSE(migrator_peer_at(hosts[0].migrator,
                                     hosts[0].identity.endpoint_id, places, 4,
                                     &now));
    CU_ASSERT_EQUAL(n_sent, 0);

    rendezvous_lost = hosts[1].deaf = true;
    hosts[0].uplinks[0].usable = false;
    uplinks_changed(0);
    now.ms += 110;
    migrator_run(hosts[0].migrator, &now);
    CU_ASSERT_TRUE(hosts[0].asked);
    /* Of these, one is known, one none and one not to be reached. */
    n_sent = 0;
    CU_ASSERT_TRUE(migrator_peer_at(hosts[0].migrator, peer, places, 4, &now));
    CU_ASSERT_EQUAL(n_sent, 1);
    CU_ASSERT_FALSE(migrator_peer_at(hosts[0].migrator, peer, places, 4,
                                     &now));
    /* It is asked again with each RSYN that is. */
    hosts[0].asked = false;
    now.ms += 210;
    migrator_run(hosts[0].migrator, &now);
    CU_ASSERT_TRUE(hosts[0].asked);
    n_sent = 0;
    CU_ASSERT_TRUE(migrator_peer_at(hosts[0].migrator, peer, NULL, 0, &now));
    CU_ASSERT_EQUAL(n_sent, 0);
}

/* Behind a NAT we are heard every 15 s, and nobody takes that for a move. */
static void
test_nat(void)
{
    set_up();
    hosts[0].uplinks[0].nat = true;
    uplinks_changed(0);
    pass(1000);
    expect_at(0, v4(0, 0));
    CU_ASSERT_TRUE(hosts[0].flows[0].path.nat);
    hosts[0].uplinks[1].nat = true;
    hosts[0].uplinks[0].usable = false;
    uplinks_changed(0);
    pass(1000);
    expect_at(0, v4(0, 1));
    CU_ASSERT_TRUE(hosts[0].flows[0].path.nat);

    int moved = hosts[0].n_events[MIGRATOR_MOVED];
    n_sent = 0;
    pass(13000);
    CU_ASSERT_EQUAL(n_sent, 0);
    pass(47000);
    /* RSYN and its copy, challenge, RSYN-DONE, confirmation. */
    CU_ASSERT_TRUE(n_sent >= 3 * 4 && n_sent <= 4 * 5);
    CU_ASSERT_EQUAL(hosts[0].n_events[MIGRATOR_MOVED], moved);
    CU_ASSERT_EQUAL(hosts[1].n_events[MIGRATOR_PEER_MOVED], 1);
    expect_at(0, v4(0, 1));
}

/* The flows have fallen silent, we announce ourselves, and only then the NAT
 * forgets. */
static void
test_nat_forgets_late(void)
{
    set_up();
    hosts[0].uplinks[0].nat = true;
    uplinks_changed(0);
    pass(10000);
    hosts[0].quiet_since = now.ms;
    pass(2000);
    n_sent = 0;
    pass(4000);
    CU_ASSERT_TRUE(n_sent >= 4 && n_sent <= 2 * 5);
    pass(30000);
    n_sent = 0;
    pass(60000);
    CU_ASSERT_TRUE(n_sent <= 4 * 5);
}

static void
test_one_flow(void)
{
    struct migrator_moves moves;
    uint32_t id;
    struct migrator_choice choice = {.flows = &id, .n_flows = 1};
    set_up();
    id = hosts[0].flows[1].id;
    migrator_move(hosts[0].migrator, &choice, &now, &moves);
    CU_ASSERT_EQUAL(moves.n_flows, 1);
    pass(500);
    for (int i = 0; i < 3; i++) {
        struct migration_locator want = v4(0, i == 1);
        CU_ASSERT_TRUE(works(i));
        CU_ASSERT_TRUE(migration_locator_equal(&hosts[1].flows[i].path.peer,
                                               &want));
        CU_ASSERT_EQUAL(hosts[0].flows[i].group, hosts[1].flows[i].group);
        CU_ASSERT_EQUAL(hosts[0].flows[i].group != 0, i == 1);
    }
    /* It survives restarts of both, and moves with the rest when it must. */
    start_daemon(0);
    start_daemon(1);
    pass(500);
    CU_ASSERT_EQUAL(migrator_n_groups(hosts[0].migrator), 2);
    hosts[0].uplinks[1].usable = false;
    uplinks_changed(0);
    pass(500);
    expect_at(0, v4(0, 0));
}

static void
test_ipv4_to_ipv6(void)
{
    set_up();
    hosts[0].uplinks[0].locators[MIGRATOR_V6] = v6(0, 0);
    hosts[1].uplinks[0].locators[MIGRATOR_V6] = v6(1, 0);
    hosts[1].registered = v6(1, 0);
    uplinks_changed(1);
    memset(&hosts[0].uplinks[0].locators[MIGRATOR_V4], 0,
           sizeof hosts[0].uplinks[0].locators[MIGRATOR_V4]);
    hosts[0].uplinks[1].usable = false;
    hosts[0].registered = v6(0, 0);
    uplinks_changed(0);
    pass(500);
    expect_at(0, v6(0, 0));
    expect_at(1, v6(1, 0));
}

static void
one_uplink_with_ipv6(void)
{
    for (int host = 0; host < 2; host++) {
        hosts[host].uplinks[1].usable = false;
        hosts[host].uplinks[0].locators[MIGRATOR_V6] = v6(host, 0);
        uplinks_changed(host);
    }
    pass(1000);
}

static void
expect_all_work(void)
{
    for (int i = 0; i < n_flows; i++) {
        CU_ASSERT_TRUE(works(i));
    }
}

/* Both get other IPv4 addresses, and have none in between.  Their IPv6 ones
 * are no way out: nobody resolves over IPv6. */
static void
test_ipv4_renumbered(void)
{
    set_up();
    one_uplink_with_ipv6();
    for (int host = 0; host < 2; host++) {
        memset(&hosts[host].uplinks[0].locators[MIGRATOR_V4], 0,
               sizeof hosts[host].uplinks[0].locators[MIGRATOR_V4]);
        uplinks_changed(host);
    }
    pass(100);
    can_ask = false;
    for (int host = 0; host < 2; host++) {
        hosts[host].registered = v4(host, 1);
        hosts[host].uplinks[0].locators[MIGRATOR_V4] = v4(host, 1);
        uplinks_changed(host);
    }
    pass(1000);
    expect_all_work();
    expect_at(0, v4(0, 1));
    expect_at(1, v4(1, 1));
}

/* The only uplink's IPv6 is dead, its IPv4 is not. */
static void
test_ipv6_falls_silent(void)
{
    set_up();
    one_uplink_with_ipv6();
    for (int host = 0; host < 2; host++) {
        memset(&hosts[host].uplinks[0].locators[MIGRATOR_V4], 0,
               sizeof hosts[host].uplinks[0].locators[MIGRATOR_V4]);
        hosts[host].registered = v6(host, 0);
        uplinks_changed(host);
    }
    pass(3000);
    expect_at(0, v6(0, 0));
    expect_at(1, v6(1, 0));
    for (int host = 0; host < 2; host++) {
        hosts[host].uplinks[0].locators[MIGRATOR_V4] = v4(host, 0);
        hosts[host].registered = v4(host, 0);
        uplinks_changed(host);
    }
    pass(1000);
    expect_at(0, v6(0, 0));
    no_ipv6 = true;
    pass(20000);
    expect_all_work();
    expect_at(0, v4(0, 0));
    expect_at(1, v4(1, 0));
}

static void
test_many_flows(void)
{
    struct migrator_moves moves;
    static uint32_t ids[MAX_FLOWS];
    struct migrator_choice choice = {.flows = ids, .n_flows = MAX_FLOWS - 1};

    set_up_flows(MAX_FLOWS);
    n_sent = 0;
    hosts[0].uplinks[0].usable = false;
    uplinks_changed(0);
    pass(5);
    expect_at(0, v4(0, 1));
    CU_ASSERT_TRUE(n_sent <= 6);

    /* All but one: they are listed. */
    hosts[0].uplinks[0].usable = true;
    uplinks_changed(0);
    for (int i = 0; i < MAX_FLOWS - 1; i++) {
        ids[i] = hosts[0].flows[i].id;
    }
    n_sent = 0;
    migrator_move(hosts[0].migrator, &choice, &now, &moves);
    CU_ASSERT_EQUAL(moves.n_flows, MAX_FLOWS - 1);
    pass(1000);
    CU_ASSERT_TRUE(n_sent < 300);
    for (int i = 0; i < MAX_FLOWS; i++) {
        struct migration_locator want = v4(0, i == MAX_FLOWS - 1);
        CU_ASSERT_TRUE(works(i));
        CU_ASSERT_TRUE(migration_locator_equal(&hosts[1].flows[i].path.peer,
                                               &want));
    }
}

static void
test_flows_come_and_go(void)
{
    set_up();
    for (int i = 0; i < n_flows; i++) {
        migrator_flow_closed(hosts[0].migrator, hosts[0].flows[i].id, &now);
    }
    CU_ASSERT_EQUAL(migrator_n_peers(hosts[0].migrator), 1);
    n_sent = 0;
    migrator_flow_bound(hosts[0].migrator, &hosts[0].flows[0], &now);
    pass(1000);
    CU_ASSERT_EQUAL(n_sent, 0); /* They know each other. */
    migrator_resync_begin(hosts[0].migrator);
    migrator_resync_end(hosts[0].migrator, &now);
    n_flows = 0;
    pass(61000);
    CU_ASSERT_EQUAL(migrator_n_peers(hosts[0].migrator), 0);
}

UNIT_MAIN("migrator", UNIT_TEST(test_introduction),
          UNIT_TEST(test_uplink_lost), UNIT_TEST(test_soft),
          UNIT_TEST(test_both_at_once),
          UNIT_TEST(test_both_without_rendezvous), UNIT_TEST(test_answers),
          UNIT_TEST(test_nat), UNIT_TEST(test_nat_forgets_late),
          UNIT_TEST(test_one_flow),
          UNIT_TEST(test_ipv4_to_ipv6), UNIT_TEST(test_ipv4_renumbered),
          UNIT_TEST(test_ipv6_falls_silent), UNIT_TEST(test_many_flows),
          UNIT_TEST(test_flows_come_and_go), UNIT_TEST(tear_down))
