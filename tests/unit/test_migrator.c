/* SPDX-License-Identifier: Apache-2.0 */
/* Two hosts with two uplinks each, real migrators and packets; network, data
 * planes and clock are variables.
 *
 *     host 0  eth0 10.0.0.1, 2001:db8::1:0    eth0 10.0.0.2  host 1
 *             eth1 10.0.1.1, 2001:db8::1:1    eth1 10.0.1.2
 */
#include "tests/unit/unit.h"

#include "agents/migrator.h"
#include <errno.h>
#include "openvswitch/json.h"
#include "util.h"

enum { N_UPLINKS = 2, MAX_FLOWS = 10000, MAX_PACKETS = 512, IFINDEX = 10 };

struct wire_packet {
    uint8_t data[SAL_MAX_HEADER_LEN];
    size_t len;
    int from;
    struct migration_locator own, other;
};

struct host {
    struct identity identity;
    struct migrator *migrator;
    struct migrator_uplink uplinks[N_UPLINKS];
    bool silent[N_UPLINKS]; /* What goes in or out is lost. */
    bool deaf;              /* Its daemon hears nothing. */
    struct datapath_flow flows[MAX_FLOWS];
    struct migration_locator previous[MAX_FLOWS];
    struct migration_locator registered; /* What the rendezvous knows. */
    bool asked; /* Where its peer is. */
    int n_wakes, n_events[5];
    enum migrator_reason reason; /* Of the last event. */
};

static struct host hosts[2];
static int n_flows;
static struct wire_packet queue[MAX_PACKETS];
static int n_queued, n_sent, n_lost;
static int loss_percent;
static bool rendezvous_lost; /* Nobody resolves endpoint service IDs; */
static bool can_ask;         /* but there is somebody to ask. */
static struct migrator_clock now;

static int
host_of(const void *aux)
{
    return aux == &hosts[1];
}

static struct migration_locator
v4(int host, int uplink)
{
    struct migration_locator locator;
    migration_locator_from_v4(0x0a000001 + (uplink << 8) + host, &locator);
    return locator;
}

static struct migration_locator
v6(int host, int uplink)
{
    return (struct migration_locator) {
        .address = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, host + 1,
                    0, uplink}};
}

/* The uplink that has the locator and works; -1 = none. */
static int
uplink_with(const struct host *host, const struct migration_locator *locator)
{
    for (int i = 0; i < N_UPLINKS; i++) {
        for (int f = 0; f < MIGRATOR_N_FAMILIES; f++) {
            if (host->uplinks[i].usable && !host->silent[i]
                && !migration_locator_is_none(locator)
                && migration_locator_equal(&host->uplinks[i].locators[f],
                                           locator)) {
                return i;
            }
        }
    }
    return -1;
}

/* Does DATA of flow 'i' get from 'host' to the other? */
static bool
works_one_way(int host, int i)
{
    const struct datapath_path *out = &hosts[host].flows[i].path;
    const struct datapath_path *in = &hosts[!host].flows[i].path;
    int uplink = uplink_with(&hosts[host], &out->own);

    return out->ifindex && uplink >= 0 && out->ifindex == IFINDEX + uplink
           && uplink_with(&hosts[!host], &out->peer) >= 0
           && (migration_locator_equal(&in->peer, &out->own)
               || migration_locator_equal(&hosts[!host].previous[i],
                                          &out->own));
}

static bool
works(int i)
{
    return works_one_way(0, i) && works_one_way(1, i);
}

/* What migrators do. */

static int
op_send(const struct migrator_packet *packet, void *host_)
{
    struct host *host = host_;

    n_sent++;
    if (uplink_with(host, &packet->own) < 0) {
        return -ENETUNREACH;
    }
    CU_ASSERT_EQUAL(packet->ifindex,
                    IFINDEX + uplink_with(host, &packet->own));
    if (n_queued >= MAX_PACKETS
        || (rendezvous_lost && migration_locator_is_none(&packet->other))
        || (int) unit_random_below(100) < loss_percent) {
        n_lost++;
        return 0;
    }
    struct wire_packet *wire = &queue[n_queued++];
    memcpy(wire->data, packet->data, packet->len);
    wire->len = packet->len;
    wire->from = host_of(host);
    wire->own = packet->own;
    wire->other = packet->other;
    if (migration_locator_is_none(&wire->other)) {
        wire->other = hosts[!wire->from].registered;
    }
    return 0;
}

static int
index_of(int host, uint32_t id)
{
    uint32_t i = id - 1000000 * (host + 1);
    return i < (uint32_t) n_flows ? (int) i : -1;
}

static int
op_look(uint32_t id, struct datapath_flow *flow, void *host_)
{
    struct host *host = host_;
    int i = index_of(host_of(host), id);

    if (i < 0) {
        return -ENOENT;
    }
    *flow = host->flows[i];
    flow->unanswered = !works(i);
    flow->quiet_ms = flow->unanswered ? 5000 : 0;
    return 0;
}

static void
op_move(const struct datapath_move *move, const uint32_t ids[], size_t n,
        void *host_)
{
    struct host *host = host_;

    for (size_t k = 0; k < n; k++) {
        int i = index_of(host_of(host), ids[k]);
        struct datapath_flow *flow = &host->flows[i];
        CU_ASSERT_TRUE_FATAL(i >= 0);
        if (!migration_locator_equal(&flow->path.peer, &move->path.peer)) {
            host->previous[i] = flow->path.peer;
        }
        flow->path = move->path;
        flow->group = move->group;
    }
}

static void
op_wake(const uint32_t ids[], size_t n, bool sure, void *host_)
{
    struct host *host = host_;
    host->n_wakes++;
}

static void
op_event(const struct migrator_event *event, void *host_)
{
    struct host *host = host_;
    host->n_events[event->type]++;
    host->reason = event->reason;
}

static bool
op_ask(const uint8_t peer[SAL_ENDPOINT_ID_LEN], void *host_)
{
    struct host *host = host_;

    CU_ASSERT_EQUAL(memcmp(peer, hosts[!host_of(host)].identity.endpoint_id,
                           SAL_ENDPOINT_ID_LEN), 0);
    host->asked |= can_ask;
    return can_ask;
}

static const struct migrator_ops ops = {
    .send = op_send, .look = op_look, .move = op_move, .wake = op_wake,
    .event = op_event, .ask = op_ask};

/* The world. */

static void
deliver(const struct wire_packet *wire)
{
    struct host *to = &hosts[!wire->from];
    int uplink = uplink_with(to, &wire->other);
    struct migrator_packet in = {.data = wire->data, .len = wire->len,
                                 .ifindex = IFINDEX + uplink,
                                 .own = wire->other, .other = wire->own};
    if (uplink >= 0 && !to->deaf
        && uplink_with(&hosts[wire->from], &wire->own) >= 0) {
        migrator_receive(to->migrator, &in, &now);
    }
}

static void
drain(void)
{
    for (int round = 0; round < 200 && n_queued; round++) {
        struct wire_packet wire = queue[0];
        memmove(queue, queue + 1, --n_queued * sizeof queue[0]);
        deliver(&wire);
    }
    for (int round = 0; round < 5000 && n_queued; round++) {
        struct wire_packet wire = queue[--n_queued];
        deliver(&wire);
    }
    CU_ASSERT_EQUAL(n_queued, 0);
}

static void
answer_questions(void)
{
    for (int host = 0; host < 2; host++) {
        const struct host *peer = &hosts[!host];
        if (hosts[host].asked) {
            hosts[host].asked = false;
            migrator_peer_at(hosts[host].migrator,
                             peer->identity.endpoint_id, &peer->registered,
                             1, &now);
        }
    }
}

static void
pass(int64_t ms)
{
    int64_t end = now.ms + ms;

    drain();
    for (int i = 0; i < 100000; i++) {
        int64_t next = MIN(migrator_deadline(hosts[0].migrator),
                           migrator_deadline(hosts[1].migrator));
        if (next > end) {
            break;
        }
        if (next > now.ms) {
            now.unix_ms += next - now.ms;
            now.ms = next;
        }
        migrator_run(hosts[0].migrator, &now);
        migrator_run(hosts[1].migrator, &now);
        answer_questions();
        drain();
    }
    now.unix_ms += end - now.ms;
    now.ms = end;
}

static void
start_daemon(int host)
{
    static const struct migrator_config config = {
        .enabled = true, .hysteresis_ms = 5000, .probe_ms = 1000,
        .late_ms = 10000};
    struct host *h = &hosts[host];
    uint8_t secret[MIGRATION_SECRET_LEN];

    for (size_t i = 0; i < sizeof secret; i++) {
        secret[i] = unit_random();
    }
    migrator_destroy(h->migrator);
    h->migrator = migrator_create(&h->identity, secret, &ops, h);
    migrator_configure(h->migrator, &config);
    migrator_set_uplinks(h->migrator, h->uplinks, N_UPLINKS, &now);
    for (int i = 0; i < n_flows; i++) {
        migrator_flow_bound(h->migrator, &h->flows[i], &now);
    }
}

static void
uplinks_changed(int host)
{
    migrator_set_uplinks(hosts[host].migrator, hosts[host].uplinks, N_UPLINKS,
                         &now);
}

static void
set_up_flows(int n)
{
    memset(&now, 0, sizeof now);
    now.ms = 1000000;
    now.unix_ms = 1800000000000;
    n_queued = n_sent = n_lost = loss_percent = 0;
    rendezvous_lost = false;
    can_ask = true;
    n_flows = n;
    for (int host = 0; host < 2; host++) {
        struct host *h = &hosts[host];
        struct migrator *old = h->migrator;
        memset(h, 0, sizeof *h);
        h->migrator = old;
        identity_generate(&h->identity);
        for (int i = 0; i < N_UPLINKS; i++) {
            sprintf(h->uplinks[i].name, "eth%d", i);
            h->uplinks[i].ifindex = IFINDEX + i;
            h->uplinks[i].usable = true;
            h->uplinks[i].rank = i;
            h->uplinks[i].locators[MIGRATOR_V4] = v4(host, i);
        }
        h->registered = v4(host, 0);
    }
    for (int i = 0; i < n; i++) {
        for (int host = 0; host < 2; host++) {
            struct datapath_flow *flow = &hosts[host].flows[i];
            flow->id = 1000000 * (host + 1) + i;
            flow->peer_id = 1000000 * (!host + 1) + i;
            flow->bound = true;
            flow->protocol = 6;
            memcpy(flow->peer_endpoint, hosts[!host].identity.endpoint_id,
                   sizeof flow->peer_endpoint);
            flow->path.ifindex = IFINDEX;
            flow->path.own = v4(host, 0);
            flow->path.peer = v4(!host, 0);
        }
    }
    start_daemon(0);
    start_daemon(1);
    pass(1000);
}

static void
set_up(void)
{
    set_up_flows(3);
}

static void
expect_at(int host, const struct migration_locator locator)
{
    for (int i = 0; i < n_flows; i++) {
        CU_ASSERT_TRUE(works(i));
        CU_ASSERT_TRUE(migration_locator_equal(&hosts[host].flows[i].path.own,
                                               &locator));
        CU_ASSERT_TRUE(migration_locator_equal(
            &hosts[!host].flows[i].path.peer, &locator));
    }
}

/* Tests. */

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

static void
tear_down(void)
{
    for (int host = 0; host < 2; host++) {
        migrator_destroy(hosts[host].migrator);
        hosts[host].migrator = NULL;
    }
}

UNIT_MAIN("migrator", UNIT_TEST(test_introduction),
          UNIT_TEST(test_uplink_lost), UNIT_TEST(test_soft),
          UNIT_TEST(test_both_at_once),
          UNIT_TEST(test_both_without_rendezvous), UNIT_TEST(test_answers),
          UNIT_TEST(test_nowhere),
          UNIT_TEST(test_silence), UNIT_TEST(test_nat),
          UNIT_TEST(test_reverted),
          UNIT_TEST(test_peer_without_daemon),
          UNIT_TEST(test_one_flow), UNIT_TEST(test_ipv4_to_ipv6),
          UNIT_TEST(test_daemon_dies_in_a_move), UNIT_TEST(test_many_flows),
          UNIT_TEST(test_flows_come_and_go), UNIT_TEST(test_hostile),
          UNIT_TEST(test_random), UNIT_TEST(tear_down))
