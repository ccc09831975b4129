/* SPDX-License-Identifier: Apache-2.0 */
/* The migration machine with real packets between two hosts, by hand and at
 * random.  That its transitions are the model's is test_migration_model's. */
#include "tests/unit/migration_network.h"

static struct network net;

static const struct migration_locator nowhere;

static struct migration *
machine(int host)
{
    return &net.hosts[host].machine;
}

static void
settle(void)
{
    network_init(&net);
    network_drain(&net);
    CU_ASSERT_TRUE(network_is_settled(&net));
    net.n_sent = net.hosts[0].n_used = 0;
}

static void
move(int host, int i, bool soft)
{
    struct migration_locator to = host_address(host, i);
    network_move(&net, host, &to, soft);
}

static void
test_introduction(void)
{
    settle();
    for (int host = 0; host < 2; host++) {
        struct host *h = &net.hosts[host];
        CU_ASSERT_TRUE(h->peer.has_key);
        CU_ASSERT_EQUAL(h->n_bound, 0); /* Nobody has moved. */
        CU_ASSERT_EQUAL(h->n_confirmed, 1);
        CU_ASSERT_EQUAL(migration_deadline(machine(host)), INT64_MAX);
    }
    CU_ASSERT_EQUAL(memcmp(net.hosts[0].peer.key, net.hosts[1].peer.key,
                           IDENTITY_SESSION_KEY_LEN), 0);
}

/* Two RSYNs (one resolved), of which one is answered; RSYN-ACK, RSYN-DONE,
 * RSYN-ACK. */
static void
test_move(void)
{
    settle();
    move(0, 2, false);
    CU_ASSERT_EQUAL(machine(0)->state, MIGRATION_RSYN_SENT);
    CU_ASSERT_EQUAL(net.n_sent, 2);
    network_drain(&net);
    CU_ASSERT_TRUE(network_is_settled(&net));
    CU_ASSERT_EQUAL(net.hosts[1].n_bound, 1);
    CU_ASSERT_EQUAL(net.hosts[0].n_used, 1);
    CU_ASSERT_EQUAL(net.n_sent, 5);
}

static void
test_both_move(void)
{
    settle();
    move(0, 2, false);
    move(1, 2, false);
    network_drain(&net); /* The rendezvous does not know yet. */
    CU_ASSERT_FALSE(network_is_settled(&net));
    net.hosts[0].registered = machine(0)->local;
    network_advance(&net);
    network_drain(&net);
    CU_ASSERT_TRUE(network_is_settled(&net));
}

static void
test_fifty_moves(void)
{
    settle();
    for (int i = 0; i < 50; i++) {
        move(i % 2, 2 + i, i % 3 == 0);
        net.now += 100;
        network_drain(&net);
        CU_ASSERT_TRUE(network_is_settled(&net));
    }
}

static void
test_nowhere_for_30_s(void)
{
    settle();
    network_move(&net, 0, &nowhere, false);
    CU_ASSERT_EQUAL(machine(0)->state, MIGRATION_NOADDRESS);
    CU_ASSERT_EQUAL(migration_deadline(machine(0)), INT64_MAX);
    /* The peer moves meanwhile, and asks in vain. */
    move(1, 2, false);
    net.hosts[1].registered = machine(1)->local;
    for (int64_t end = net.now + 30000; net.now < end;) {
        network_advance(&net);
        network_drain(&net);
    }
    CU_ASSERT_TRUE(net.n_sent < 40);
    int64_t returned = net.now;
    move(0, 1, false);
    network_drain(&net);
    CU_ASSERT_TRUE(migration_locator_equal(&machine(1)->peer,
                                           &machine(0)->local));
    network_advance(&net);
    network_drain(&net);
    CU_ASSERT_TRUE(network_is_settled(&net));
    CU_ASSERT_TRUE(net.now - returned <= MIGRATION_RETRANSMIT_MIN_MS);
}

static void
test_daemon_dies_in_a_move(void)
{
    for (int step = 0; step < 8; step++) {
        for (int victim = 0; victim < 2; victim++) {
            settle();
            move(0, 2, false);
            for (int i = 0; i < step; i++) {
                network_deliver(&net, i);
            }
            network_start(&net, victim);
            CU_ASSERT_EQUAL(machine(victim)->state, MIGRATION_SYN_RCVD);
            network_drain(&net);
            network_advance(&net);
            network_drain(&net);
            CU_ASSERT_TRUE(network_is_settled(&net));
        }
    }
}

static void
test_ipv4_to_ipv6(void)
{
    struct migration_locator v6 = {.address = {0x20, 1, 0x0d, 0xb8, 1}};
    settle();
    network_move(&net, 0, &v6, false);
    network_drain(&net);
    CU_ASSERT_TRUE(network_is_settled(&net));
    CU_ASSERT_TRUE(migration_locator_equal(&machine(1)->peer, &v6));
}

static void
test_retransmission(void)
{
    static const int64_t delays[] = {100, 200, 400, 800, 1600, 3200, 5000,
                                     5000};
    settle();
    net.hosts[1].held[0] = nowhere; /* Unplugged. */
    move(0, 2, false);
    network_drain(&net);
    for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
        int64_t before = net.now;
        net.n_sent = 0;
        network_advance(&net);
        CU_ASSERT_EQUAL(net.now - before, delays[i]);
        CU_ASSERT_EQUAL(net.n_sent, 2);
        network_drain(&net);
    }
    /* Not before it is due. */
    net.n_sent = 0;
    network_run_timers(&net);
    CU_ASSERT_EQUAL(net.n_sent, 0);
}

/* A peer that announces a locator and never proves it. */
static void
test_expiry(void)
{
    settle();
    move(0, 2, false);
    net.hosts[0].held[0] = nowhere;
    network_drain(&net);
    CU_ASSERT_EQUAL(machine(1)->state, MIGRATION_RSYN_RCVD);
    CU_ASSERT_FALSE(migration_locator_is_none(&machine(1)->candidate));
    int64_t deadline = migration_deadline(machine(1));
    CU_ASSERT_EQUAL(deadline, net.now + MIGRATION_EXPIRE_MS);

    /* Our own move goes to it meanwhile, so three RSYNs. */
    net.n_sent = 0;
    move(1, 2, true);
    CU_ASSERT_EQUAL(machine(1)->state, MIGRATION_RSYN_SENT_RCVD);
    CU_ASSERT_EQUAL(net.n_sent, 3);
    network_drain(&net);

    net.now = deadline;
    network_run_timers(&net);
    CU_ASSERT_EQUAL(machine(1)->state, MIGRATION_RSYN_SENT);
    CU_ASSERT_TRUE(migration_locator_is_none(&machine(1)->candidate));
}

/* What leaves host 0 comes from 198.51.100.1, port 40000, and back. */
static int
translate(const struct migration_locator *outside)
{
    int n = 0;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < NETWORK_SLOTS; i++) {
            struct packet *p = &net.slots[i];
            if (p->used && !p->sender) {
                p->source = *outside;
            } else if (p->used && migration_locator_equal(&p->to, outside)) {
                p->to = machine(0)->local;
            }
            if (p->used) {
                network_deliver(&net, i);
                n++;
            }
        }
    }
    return n;
}

static void
test_nat(void)
{
    struct migration_locator outside;
    migration_locator_from_v4(0xc6336401, &outside);
    outside.port = 40000;

    /* Not allowed: then it looks as if somebody carried our messages on. */
    settle();
    move(0, 2, false);
    translate(&outside);
    CU_ASSERT_EQUAL(machine(0)->state, MIGRATION_RSYN_SENT);
    CU_ASSERT_EQUAL(net.hosts[1].n_bound, 0);

    settle();
    machine(0)->behind_nat = true;
    move(0, 2, false);
    net.proved[0][net.n_proved[0]++] = outside;
    CU_ASSERT_TRUE(translate(&outside) >= 4);
    CU_ASSERT_EQUAL(machine(0)->state, MIGRATION_ESTABLISHED);
    CU_ASSERT_TRUE(migration_locator_equal(&machine(1)->peer, &outside));
}

/* A group of 10,000 flows: listed where the peer does not know them, which is
 * at first and after it has restarted; one message otherwise. */
static int
n_got(void)
{
    int n = 0;
    for (int i = 0; i < NETWORK_FLOWS; i++) {
        n += net.hosts[1].got_flow[i];
    }
    return n;
}

static void
test_list_of_flows(void)
{
    int n_parts = migration_parts_needed(NETWORK_FLOWS);

    network_init(&net);
    for (int host = 0; host < 2; host++) {
        machine(host)->group = 5;
    }
    for (int host = 0; host < 2; host++) {
        network_start(&net, host);
        net.hosts[host].n_flows = NETWORK_FLOWS;
        for (size_t i = 0; i < NETWORK_FLOWS; i++) {
            net.hosts[host].flows[i] = i + 1;
        }
    }
    memset(net.slots, 0, sizeof net.slots);
    machine(0)->flows_known = true;
    for (int i = 0; i < 4 && !network_is_settled(&net); i++) {
        network_advance(&net);
        network_drain(&net);
    }
    CU_ASSERT_TRUE(network_is_settled(&net));
    CU_ASSERT_TRUE(machine(1)->flows_known);
    CU_ASSERT_EQUAL(n_got(), NETWORK_FLOWS);
    CU_ASSERT_TRUE(net.hosts[1].n_list_parts <= 2 * n_parts);
    CU_ASSERT_EQUAL(net.n_overflow, 0);

    net.n_sent = 0;
    move(0, 2, false);
    network_drain(&net);
    CU_ASSERT_TRUE(network_is_settled(&net));
    CU_ASSERT_EQUAL(net.n_sent, 5);

    memset(net.hosts[1].got_flow, 0, sizeof net.hosts[1].got_flow);
    network_start(&net, 1);
    CU_ASSERT_FALSE(machine(1)->flows_known);
    network_drain(&net);
    move(0, 3, false);
    for (int i = 0; i < 4 && !network_is_settled(&net); i++) {
        network_drain(&net);
        network_advance(&net);
    }
    CU_ASSERT_TRUE(network_is_settled(&net));
    CU_ASSERT_TRUE(machine(1)->flows_known);
    CU_ASSERT_EQUAL(n_got(), NETWORK_FLOWS);
}

static void
test_closed(void)
{
    settle();
    move(0, 2, false);
    migration_close(machine(0));
    migration_close(machine(1));
    net.n_sent = 0;
    network_drain(&net);
    move(0, 3, false);
    network_move(&net, 1, &nowhere, false);
    network_run_timers(&net);
    CU_ASSERT_EQUAL(net.n_sent, 0);
    CU_ASSERT_EQUAL(machine(0)->state, MIGRATION_CLOSED);
    CU_ASSERT_EQUAL(migration_deadline(machine(0)), INT64_MAX);
}

static void
test_names(void)
{
    uint32_t v4;
    struct migration_locator l = host_address(1, 7);
    CU_ASSERT_TRUE(migration_locator_to_v4(&l, &v4));
    CU_ASSERT_EQUAL(v4, 0x0a010007);
    CU_ASSERT_FALSE(migration_locator_to_v4(&nowhere, &v4));
    CU_ASSERT_STRING_EQUAL(migration_state_name(MIGRATION_NOADDRESS_RSYN_RCVD),
                           "NOADDRESS_RSYN_RCVD");
    CU_ASSERT_STRING_EQUAL(migration_state_name(99), "?");
}

/* Random faults, then peace: both must find each other.  Replays (all packets
 * that ever arrived may come again, also from elsewhere) must change nothing
 * but counters. */

static struct packet recorded[32];
static int n_recorded;

static bool
same_machine(const struct migration *a, const struct migration *b)
{
    return a->state == b->state && a->nonce == b->nonce
           && a->bound_stamp == b->bound_stamp
           && (!a->peer_seq_known || a->peer_seq == b->peer_seq)
           && a->peer_seq_known == b->peer_seq_known
           && migration_locator_equal(&a->local, &b->local)
           && migration_locator_equal(&a->peer, &b->peer)
           && migration_locator_equal(&a->candidate, &b->candidate);
}

static void
replay(void)
{
    if (n_recorded) {
        struct packet packet
            = recorded[unit_random_below(n_recorded < 32 ? n_recorded : 32)];
        int host = !packet.sender;
        if (unit_random_below(3) == 0) {
            migration_locator_from_v4(0xc0000201, &packet.source);
        }
        struct migration before = *machine(host);
        network_receive(&net, host, &packet);
        CU_ASSERT_TRUE(same_machine(&before, machine(host)));
    }
}

static void
deliver_one(void)
{
    int slot = unit_random_below(NETWORK_SLOTS);
    for (int i = 0; i < NETWORK_SLOTS; i++) {
        struct packet *p = &net.slots[(slot + i) % NETWORK_SLOTS];
        if (p->used) {
            struct packet copy = *p;
            network_deliver(&net, p - net.slots);
            if (network_route(&net, &copy) >= 0) {
                recorded[n_recorded++ % 32] = copy;
            }
            return;
        }
    }
}

static void
random_step(void)
{
    int host = unit_random_below(2);
    switch (unit_random_below(20)) {
    case 0:
        move(host, 1 + unit_random_below(4), unit_random_below(2));
        break;
    case 1:
        if (unit_random_below(4) == 0) {
            network_move(&net, host, &nowhere, false);
        }
        break;
    case 2:
        net.slots[unit_random_below(NETWORK_SLOTS)].used = false;
        break;
    case 3:
        if (unit_random_below(4) == 0) {
            net.now += 30000; /* Sequence numbers follow the wall clock. */
            network_start(&net, host);
        }
        break;
    case 4:
        net.now += unit_random_below(300);
        network_run_timers(&net);
        break;
    case 5:
        replay();
        break;
    case 6:
        if (!migration_locator_is_none(&machine(host)->local)) {
            net.hosts[host].registered = machine(host)->local;
        }
        break;
    default:
        deliver_one();
        break;
    }
}

static void
test_random(void)
{
    for (int run = 0; run < 300; run++) {
        network_init(&net);
        n_recorded = 0;
        for (int step = 0; step < 300; step++) {
            random_step();
        }
        for (int host = 0; host < 2; host++) {
            if (migration_locator_is_none(&machine(host)->local)) {
                move(host, 1, false);
            }
            net.hosts[host].registered = machine(host)->local;
        }
        network_drain(&net);
        for (int i = 0; i < 4 && !network_is_settled(&net); i++) {
            net.now += 1000; /* Credit for answers. */
            network_advance(&net);
            network_drain(&net);
        }
        CU_ASSERT_TRUE(network_is_settled(&net));
    }
}

UNIT_MAIN("migration", UNIT_TEST(test_introduction), UNIT_TEST(test_move),
          UNIT_TEST(test_both_move), UNIT_TEST(test_fifty_moves),
          UNIT_TEST(test_nowhere_for_30_s),
          UNIT_TEST(test_daemon_dies_in_a_move), UNIT_TEST(test_ipv4_to_ipv6),
          UNIT_TEST(test_retransmission), UNIT_TEST(test_expiry),
          UNIT_TEST(test_nat), UNIT_TEST(test_list_of_flows),
          UNIT_TEST(test_closed), UNIT_TEST(test_names),
          UNIT_TEST(test_random))
