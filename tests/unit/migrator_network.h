/* SPDX-License-Identifier: Apache-2.0 */
/* Two hosts with two uplinks each, real migrators and packets; network, data
 * planes and clock are variables.
 *
 *     host 0  eth0 10.0.0.1, 2001:db8::1:0    eth0 10.0.0.2  host 1
 *             eth1 10.0.1.1, 2001:db8::1:1    eth1 10.0.1.2
 *
 * set_up() makes it anew; a test program ends with the test tear_down(). */
#ifndef SALIENT_TEST_MIGRATOR_NETWORK_H
#define SALIENT_TEST_MIGRATOR_NETWORK_H 1

#include "tests/unit/unit.h"

#include <errno.h>
#include "agents/migrator.h"
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
    int64_t quiet_since; /* Its flows; 0: only while the path is dead. */
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
static bool no_ipv6;         /* IPv6 packets are lost. */
static struct migrator_clock now;

static inline int
host_of(const void *aux)
{
    return aux == &hosts[1];
}

static inline struct migration_locator
v4(int host, int uplink)
{
    struct migration_locator locator;
    migration_locator_from_v4(0x0a000001 + (uplink << 8) + host, &locator);
    return locator;
}

static inline struct migration_locator
v6(int host, int uplink)
{
    return (struct migration_locator) {
        .address = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, host + 1,
                    0, uplink}};
}

static inline bool
is_v6(const struct migration_locator *locator)
{
    uint32_t address;
    return !migration_locator_to_v4(locator, &address);
}

/* The uplink that has the locator and works; -1 = none. */
static inline int
uplink_with(const struct host *host, const struct migration_locator *locator)
{
    for (int i = 0; i < N_UPLINKS; i++) {
        for (int f = 0; f < MIGRATOR_N_FAMILIES; f++) {
            if (host->uplinks[i].usable && !host->silent[i]
                && !(f == MIGRATOR_V6 && no_ipv6)
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
static inline bool
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

static inline bool
works(int i)
{
    return works_one_way(0, i) && works_one_way(1, i);
}

/* What migrators do. */

static inline int
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
    if (is_v6(&wire->own) != is_v6(&wire->other)) {
        n_queued--;
        n_lost++;
    }
    return 0;
}

static inline int
index_of(int host, uint32_t id)
{
    uint32_t i = id - 1000000 * (host + 1);
    return i < (uint32_t) n_flows ? (int) i : -1;
}

static inline int
op_look(uint32_t id, struct datapath_flow *flow, void *host_)
{
    struct host *host = host_;
    int i = index_of(host_of(host), id);

    if (i < 0) {
        return -ENOENT;
    }
    *flow = host->flows[i];
    flow->unanswered = !works(i);
    flow->quiet_ms = flow->unanswered ? 5000
                     : host->quiet_since ? now.ms - host->quiet_since : 0;
    return 0;
}

static inline void
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

static inline void
op_wake(const uint32_t ids[], size_t n, int64_t good_ms, void *host_)
{
    struct host *host = host_;
    host->n_wakes++;
}

static inline void
op_event(const struct migrator_event *event, void *host_)
{
    struct host *host = host_;
    host->n_events[event->type]++;
    host->reason = event->reason;
}

static inline bool
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

static inline void
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

static inline void
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

static inline void
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

static inline void
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

static inline void
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

static inline void
uplinks_changed(int host)
{
    migrator_set_uplinks(hosts[host].migrator, hosts[host].uplinks, N_UPLINKS,
                         &now);
}

static inline void
set_up_flows(int n)
{
    memset(&now, 0, sizeof now);
    now.ms = 1000000;
    now.unix_ms = 1800000000000;
    n_queued = n_sent = n_lost = loss_percent = 0;
    rendezvous_lost = no_ipv6 = false;
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

static inline void
set_up(void)
{
    set_up_flows(3);
}

static inline void
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

static inline void
tear_down(void)
{
    for (int host = 0; host < 2; host++) {
        migrator_destroy(hosts[host].migrator);
        hosts[host].migrator = NULL;
    }
}

#endif /* migrator_network.h */
