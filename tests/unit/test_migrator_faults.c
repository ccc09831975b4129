/* SPDX-License-Identifier: Apache-2.0 */
/* Migrators among faults: no uplink, silent paths, daemons that die, forged
 * packets; random faults, then peace. */
#include "openvswitch/json.h"
#include "tests/unit/migrator_network.h"

static void
test_nowhere(void)
{
    set_up();
    hosts[0].uplinks[0].usable = hosts[0].uplinks[1].usable = false;
    uplinks_changed(0);
    CU_ASSERT_EQUAL(hosts[0].n_events[MIGRATOR_HELD], 1);
    pass(30000);
    CU_ASSERT_FALSE(works(0));
    hosts[0].uplinks[0].usable = true;
    hosts[0].uplinks[0].locators[MIGRATOR_V4] = v4(0, 7);
    hosts[0].registered = v4(0, 7);
    uplinks_changed(0);
    pass(200);
    expect_at(0, v4(0, 7));
}

/* Back where it was: no flow moves, but TCP's timers have backed off at both
 * ends. */
static void
test_absence(void)
{
    set_up();
    hosts[0].uplinks[0].usable = hosts[0].uplinks[1].usable = false;
    uplinks_changed(0);
    pass(30000);
    hosts[0].uplinks[0].usable = true;
    hosts[0].n_wakes = hosts[1].n_wakes = 0;
    uplinks_changed(0);
    pass(200);
    expect_at(0, v4(0, 0));
    CU_ASSERT_EQUAL(hosts[1].n_events[MIGRATOR_PEER_MOVED], 0);
    CU_ASSERT_TRUE(hosts[0].n_wakes > 0 && hosts[1].n_wakes > 0);

    /* The same for a path that was silent in between. */
    pass(10000);
    hosts[0].silent[0] = hosts[0].silent[1] = true;
    pass(5000);
    hosts[0].silent[0] = hosts[0].silent[1] = false;
    hosts[0].n_wakes = hosts[1].n_wakes = 0;
    pass(60000);
    expect_at(0, v4(0, 0));
    CU_ASSERT_TRUE(hosts[0].n_wakes > 0 && hosts[1].n_wakes > 0);
}

/* A path that was silent now and then, and answered in between, is probed as
 * soon as ever when it dies. */
static void
test_silent_again(void)
{
    set_up();
    hosts[0].uplinks[1].usable = false;
    uplinks_changed(0);
    for (int i = 0; i < 10; i++) {
        hosts[0].silent[0] = true;
        pass(2500);
        hosts[0].silent[0] = false;
        pass(20000);
        expect_at(0, v4(0, 0));
    }
    CU_ASSERT_TRUE(migrator_counters(hosts[0].migrator)->probes >= 10);
    hosts[0].uplinks[1].usable = true;
    uplinks_changed(0);
    hosts[0].silent[0] = true;
    hosts[0].registered = v4(0, 1);
    pass(4000);
    expect_at(0, v4(0, 1));
}

/* An uplink that stays up but whose address comes and goes is not believed,
 * either. */
static void
test_address_flaps(void)
{
    const struct migration_locator none = {.port = 0};

    set_up();
    hosts[0].uplinks[0].locators[MIGRATOR_V4] = none;
    uplinks_changed(0);
    pass(100);
    expect_at(0, v4(0, 1));
    for (int i = 0; i < 3; i++) {
        hosts[0].uplinks[0].locators[MIGRATOR_V4] = v4(0, 0);
        uplinks_changed(0);
        pass(4900);
        expect_at(0, v4(0, 1));
        hosts[0].uplinks[0].locators[MIGRATOR_V4] = none;
        uplinks_changed(0);
        pass(1000);
    }
    hosts[0].uplinks[0].locators[MIGRATOR_V4] = v4(0, 0);
    uplinks_changed(0);
    pass(5100);
    expect_at(0, v4(0, 0));
}

/* A path dies and nobody tells: either end that has data unanswered finds
 * out. */
static void
test_silence(void)
{
    set_up();
    hosts[0].silent[0] = true;
    hosts[0].registered = v4(0, 1);
    pass(6000);
    expect_at(0, v4(0, 1));
    CU_ASSERT_EQUAL(hosts[0].reason, MIGRATOR_SILENT);
    CU_ASSERT_TRUE(migrator_counters(hosts[0].migrator)->probes > 0);

    /* In vain at first; then it works again. */
    pass(15000);
    expect_at(0, v4(0, 1));
    CU_ASSERT_EQUAL(hosts[0].n_events[MIGRATOR_REVERTED], 1);
    hosts[0].silent[0] = false;
    uplinks_changed(0);
    pass(30000);
    expect_at(0, v4(0, 0));
}

/* The peer's daemon is not there, and its data plane works: no flow is held,
 * nor is the network flooded. */
static void
test_peer_without_daemon(void)
{
    set_up();
    hosts[1].deaf = true;
    n_sent = 0;
    migrator_suspect(hosts[0].migrator, &now);
    for (int i = 0; i < 60; i++) {
        pass(1000);
        CU_ASSERT_TRUE(works(0));
    }
    CU_ASSERT_TRUE(n_sent < 120);
    CU_ASSERT_TRUE(hosts[0].n_events[MIGRATOR_MOVING] < 8);
    hosts[1].deaf = false;
    pass(40000);
    for (int i = 0; i < n_flows; i++) {
        CU_ASSERT_TRUE(works(i));
    }
    CU_ASSERT_TRUE(hosts[0].n_events[MIGRATOR_MOVED] >= 1);
}

/* An uplink that is up but leads nowhere is not moved to. */
static void
test_reverted(void)
{
    struct migrator_moves moves;
    struct migrator_choice choice = {.ifindex = IFINDEX, .to = IFINDEX + 1};
    set_up();
    hosts[0].silent[1] = true;
    migrator_move(hosts[0].migrator, &choice, &now, &moves);
    for (int i = 0; i < 30; i++) {
        CU_ASSERT_TRUE(works(0));
        pass(100);
    }
    expect_at(0, v4(0, 0));
    CU_ASSERT_EQUAL(hosts[0].n_events[MIGRATOR_REVERTED], 1);
    CU_ASSERT_TRUE(migrator_moves_check(hosts[0].migrator, &moves));
    CU_ASSERT_EQUAL(moves.n_confirmed, 0);
}

static void
test_daemon_dies_in_a_move(void)
{
    for (int step = 0; step < 10; step++) {
        for (int victim = 0; victim < 2; victim++) {
            set_up();
            hosts[0].uplinks[0].usable = false;
            uplinks_changed(0);
            hosts[0].registered = v4(0, 1);
            for (int i = 0; i < step && n_queued; i++) {
                struct wire_packet wire = queue[0];
                memmove(queue, queue + 1, --n_queued * sizeof queue[0]);
                deliver(&wire);
            }
            start_daemon(victim);
            pass(3000);
            expect_at(0, v4(0, 1));
        }
    }
}

/* A daemon that has lost everything knows its peer again with the first new
 * flow, though for the peer nothing is new. */
static void
test_peer_is_known_after_a_restart(void)
{
    struct migration_locator at = v4(0, 0), elsewhere = v4(0, 1);
    const uint8_t *peer;

    set_up();
    for (int i = 0; i < n_flows; i++) {
        migrator_flow_closed(hosts[0].migrator, hosts[0].flows[i].id, &now);
    }
    n_flows = 0;
    start_daemon(1);
    peer = hosts[0].identity.endpoint_id;
    CU_ASSERT_FALSE(migrator_peer_is_at(hosts[1].migrator, peer, &at));
    n_flows = 1;
    for (int host = 0; host < 2; host++) {
        migrator_flow_bound(hosts[host].migrator, &hosts[host].flows[0], &now);
    }
    pass(1000);
    CU_ASSERT_TRUE(migrator_peer_is_at(hosts[1].migrator, peer, &at));
    CU_ASSERT_FALSE(migrator_peer_is_at(hosts[1].migrator, peer, &elsewhere));
}

/* Bytes of all kinds: nothing moves, all is counted. */
static void
test_hostile(void)
{
    struct wire_packet kept[64];
    int n_kept;

    set_up();
    hosts[0].uplinks[0].usable = false;
    uplinks_changed(0);
    n_kept = MIN(n_queued, 64);
    memcpy(kept, queue, n_kept * sizeof kept[0]);
    pass(5);
    int moved = hosts[1].n_events[MIGRATOR_PEER_MOVED];
    for (int i = 0; i < 20000; i++) {
        struct wire_packet wire = kept[unit_random_below(n_kept)];
        int kind = unit_random_below(3);
        if (kind == 0) {
            wire.data[unit_random_below(wire.len)] ^= 1 << (i % 8);
        } else if (kind == 1) {
            wire.len = unit_random_below(wire.len);
        }
        wire.own = v4(0, 1);
        wire.other = v4(1, 0);
        deliver(&wire);
        n_queued = 0;
    }
    const struct migrator_counters *c = migrator_counters(hosts[1].migrator);
    CU_ASSERT_TRUE(c->malformed > 5000);
    CU_ASSERT_TRUE(c->limited > 1000);
    CU_ASSERT_EQUAL(hosts[1].n_events[MIGRATOR_PEER_MOVED], moved);
    expect_at(0, v4(0, 1));
    struct json *json = migrator_to_json(hosts[1].migrator);
    CU_ASSERT_EQUAL(json_array(json)->n, 1);
    json_destroy(json);
}

/* Another endpoint, which has a flow with host 1, and the key for it. */
struct greedy {
    struct identity identity;
    struct migration_peer peer;
    struct datapath_flow flow;
};

static void
set_up_greedy(struct greedy *greedy)
{
    struct migration_message message;
    struct migration_received received;
    bool met = false;

    memset(greedy, 0, sizeof *greedy);
    identity_generate(&greedy->identity);
    migration_peer_init(&greedy->peer, hosts[1].identity.endpoint_id, now.ms);
    greedy->flow = hosts[1].flows[0];
    greedy->flow.id = 9;
    greedy->flow.path.peer = v4(7, 0);
    memcpy(greedy->flow.peer_endpoint, greedy->identity.endpoint_id,
           sizeof greedy->flow.peer_endpoint);
    migrator_flow_bound(hosts[1].migrator, &greedy->flow, &now);
    for (int i = 0; i < n_queued; i++) {
        struct migration_packet packet = {queue[i].data, queue[i].len,
                                          v4(1, 0)};
        met |= !migration_message_parse(packet.data, packet.len, &message)
               && !migration_peer_open(&greedy->peer, &greedy->identity,
                                       &packet, &message, &received);
    }
    n_queued = 0;
    CU_ASSERT_TRUE_FATAL(met);
}

static void
announce_group(struct greedy *greedy, uint32_t group)
{
    struct migration_signal signal = {.kind = MIGRATION_RSYN, .mac = true,
                                      .nonce = group, .locator = v4(7, 0)};
    struct migration_details details = {.group = group,
                                        .unix_ms = now.unix_ms};
    uint8_t data[SAL_MAX_HEADER_LEN];
    struct migrator_packet in = {.data = data, .ifindex = IFINDEX,
                                 .own = v4(1, 0), .other = v4(7, 0)};

    in.len = migration_peer_seal(&greedy->peer, &greedy->identity, &signal,
                                 &details, data);
    migrator_receive(hosts[1].migrator, &in, &now);
    n_queued = 0;
}

/* Groups that host 1 keeps with 'endpoint'. */
static size_t
n_groups_with(const uint8_t endpoint[SAL_ENDPOINT_ID_LEN])
{
    struct json *json = migrator_to_json(hosts[1].migrator);
    char id[2 * SAL_ENDPOINT_ID_LEN + 1];
    size_t n = 0;

    for (int i = 0; i < SAL_ENDPOINT_ID_LEN; i++) {
        sprintf(id + 2 * i, "%02x", endpoint[i]);
    }
    for (size_t i = 0; i < json_array(json)->n; i++) {
        const struct shash *peer = json_object(json_array(json)->elems[i]);
        if (!strcmp(json_string(shash_find_data(peer, "peer")), id)) {
            n = json_array(shash_find_data(peer, "groups"))->n;
        }
    }
    json_destroy(json);
    return n;
}

/* A peer that makes one group after the other uses up its own: others can
 * still single out flows, and move. */
static void
test_greedy_peer(void)
{
    const uint8_t *honest = hosts[0].identity.endpoint_id;
    const struct migrator_counters *c;
    struct migrator_moves moves;
    struct greedy greedy;

    set_up();
    set_up_greedy(&greedy);
    for (uint32_t group = 1; group <= 500; group++) {
        announce_group(&greedy, group);
    }
    c = migrator_counters(hosts[1].migrator);
    CU_ASSERT_EQUAL(n_groups_with(greedy.identity.endpoint_id),
                    MIGRATOR_MAX_GROUPS);
    CU_ASSERT_EQUAL(c->unknown_group, 500 - (MIGRATOR_MAX_GROUPS - 1));
    CU_ASSERT_EQUAL(n_groups_with(honest), 1);

    uint32_t one = hosts[0].flows[1].id;
    struct migrator_choice choice = {.flows = &one, .n_flows = 1,
                                     .to = IFINDEX + 1};
    migrator_move(hosts[0].migrator, &choice, &now, &moves);
    CU_ASSERT_EQUAL(moves.n_flows, 1);
    pass(50); /* Nobody asks yet where the silent one is. */
    CU_ASSERT_TRUE(migrator_moves_check(hosts[0].migrator, &moves));
    CU_ASSERT_EQUAL(n_groups_with(honest), 2);
    for (int i = 0; i < n_flows; i++) {
        CU_ASSERT_TRUE(works(i));
    }
    /* And what the greedy one made goes, as it has no flows. */
    migrator_flow_closed(hosts[1].migrator, greedy.flow.id, &now);
    pass(70000);
    CU_ASSERT_EQUAL(n_groups_with(greedy.identity.endpoint_id), 0);
    CU_ASSERT_EQUAL(n_groups_with(honest), 2);
}

static void
random_step(void)
{
    int host = unit_random_below(2), i = unit_random_below(N_UPLINKS);
    struct host *h = &hosts[host];

    switch (unit_random_below(8)) {
    case 0:
    case 1:
        h->uplinks[i].usable = !h->uplinks[i].usable;
        uplinks_changed(host);
        break;
    case 2:
        h->uplinks[i].locators[MIGRATOR_V4] = v4(host,
                                                 i + 2 * unit_random_below(4));
        uplinks_changed(host);
        break;
    case 3:
        if (unit_random_below(4) == 0) {
            start_daemon(host);
        }
        break;
    case 4:
        h->silent[i] = unit_random_below(2);
        break;
    case 5: {
        struct migrator_moves moves;
        uint32_t id = h->flows[unit_random_below(n_flows)].id;
        struct migrator_choice choice = {.flows = &id, .n_flows = 1};
        migrator_move(h->migrator, &choice, &now, &moves);
        break;
    }
    default:
        break;
    }
    pass(unit_random_below(400));
}

/* Random faults, then peace: all flows work again. */
static void
test_random(void)
{
    for (int run = 0; run < 60; run++) {
        set_up();
        loss_percent = unit_random_below(30);
        rendezvous_lost = unit_random_below(2);
        for (int step = 0; step < 60; step++) {
            random_step();
        }
        loss_percent = 0;
        for (int host = 0; host < 2; host++) {
            for (int i = 0; i < N_UPLINKS; i++) {
                hosts[host].uplinks[i].usable = true;
                hosts[host].silent[i] = false;
            }
            hosts[host].registered
                = hosts[host].uplinks[0].locators[MIGRATOR_V4];
            uplinks_changed(host);
        }
        pass(150000);
        for (int i = 0; i < n_flows; i++) {
            CU_ASSERT_TRUE(works(i));
        }
    }
}

UNIT_MAIN("migrator_faults", UNIT_TEST(test_nowhere), UNIT_TEST(test_absence),
          UNIT_TEST(test_silent_again), UNIT_TEST(test_address_flaps),
          UNIT_TEST(test_silence),
          UNIT_TEST(test_peer_without_daemon), UNIT_TEST(test_reverted),
          UNIT_TEST(test_daemon_dies_in_a_move),
          UNIT_TEST(test_peer_is_known_after_a_restart),
          UNIT_TEST(test_hostile), UNIT_TEST(test_greedy_peer),
          UNIT_TEST(test_random), UNIT_TEST(tear_down))
