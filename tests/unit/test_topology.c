/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include "controller/topology.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "tests/unit/topology_builder.h"

static bool
take_graph(struct topology *topology)
{
    struct topology_changes changes;
    topology_take_changes(topology, &changes);
    bool graph = changes.graph;
    topology_changes_destroy(&changes);
    return graph;
}

static bool
has_link(const struct topology *topology, uint64_t dpid, uint32_t port)
{
    struct topology_end far;
    return topology_port_link(topology, topology_switch(topology, dpid),
                              topology_port(topology, dpid, port), &far);
}

/* A link needs probes in both directions, and both ports up. */
static void
test_link(void)
{
    struct topology *topology = topology_create();
    const struct topology_end a = {1, 1}, b = {2, 1}, none = {3, 1};

    CU_ASSERT(topology_switch_set(topology, 1, true));
    CU_ASSERT(!topology_switch_set(topology, 1, true));
    CU_ASSERT(take_graph(topology));
    build_switch(topology, 1, 2, true);
    build_switch(topology, 2, 2, false);
    CU_ASSERT(take_graph(topology));
    CU_ASSERT(!topology_has_changes(topology));

    CU_ASSERT_EQUAL(topology_link_seen(topology, &a, &none, 100), -ENOENT);
    CU_ASSERT_EQUAL(topology_link_seen(topology, &none, &a, 100), -ENOENT);
    CU_ASSERT_EQUAL(topology_link_seen(topology, &a, &a, 100), -ELOOP);

    CU_ASSERT_EQUAL(topology_link_seen(topology, &a, &b, 100), 0);
    CU_ASSERT(!has_link(topology, 1, 1) && !has_link(topology, 2, 1));
    CU_ASSERT(topology_is_host_port(topology_port(topology, 1, 1)));
    CU_ASSERT(!topology_is_host_port(topology_port(topology, 2, 1)));
    CU_ASSERT(!take_graph(topology));
    CU_ASSERT_EQUAL(topology_link_seen(topology, &b, &a, 200), 0);
    CU_ASSERT(has_link(topology, 1, 1) && has_link(topology, 2, 1));
    CU_ASSERT(take_graph(topology));

    /* The same again is no news. */
    CU_ASSERT_EQUAL(topology_link_seen(topology, &a, &b, 150), 0);
    CU_ASSERT(!topology_has_changes(topology));
    CU_ASSERT_EQUAL(topology_run(topology, 149), 150);
    CU_ASSERT(!topology_has_changes(topology));
    CU_ASSERT_EQUAL(topology_run(topology, 150), 200);
    CU_ASSERT(!has_link(topology, 1, 1));
    CU_ASSERT(take_graph(topology));
    CU_ASSERT_EQUAL(topology_run(topology, 200), LLONG_MAX);
    CU_ASSERT(!take_graph(topology));

    build_link(topology, 1, 1, 2, 1);
    CU_ASSERT(take_graph(topology));
    build_port(topology, 2, 1, false);
    CU_ASSERT(!has_link(topology, 1, 1));
    CU_ASSERT(take_graph(topology));
    CU_ASSERT_EQUAL(topology_link_seen(topology, &a, &b, 100), -ENOENT);
    build_port(topology, 2, 1, true);
    CU_ASSERT(!has_link(topology, 1, 1));
    topology_destroy(topology);
}

/* A cable is plugged into another port: the old link goes, the new comes. */
static void
test_recabling(void)
{
    struct topology *topology = topology_create();
    build_switch(topology, 1, 3, true);
    build_switch(topology, 2, 3, true);
    build_link(topology, 1, 1, 2, 1);
    build_link(topology, 1, 1, 2, 2);
    CU_ASSERT(has_link(topology, 1, 1));
    CU_ASSERT(!has_link(topology, 2, 1));
    CU_ASSERT(has_link(topology, 2, 2));
    take_graph(topology);

    topology_switch_remove(topology, 2);
    CU_ASSERT(take_graph(topology));
    CU_ASSERT(!has_link(topology, 1, 1));
    CU_ASSERT_PTR_NULL(topology_switch(topology, 2));
    topology_switch_remove(topology, 2);
    CU_ASSERT(!take_graph(topology));
    topology_destroy(topology);
}

static void
test_ports(void)
{
    struct topology *topology = topology_create();
    const struct eth_addr mac = {{{0}}};
    CU_ASSERT_EQUAL(topology_port_set(topology, 1, 1, &mac, "x", true, 0),
                    -ENOENT);
    topology_switch_set(topology, 1, true);
    CU_ASSERT_EQUAL(topology_port_set(topology, 1, 0, &mac, "x", true, 0),
                    -EINVAL);
    CU_ASSERT_EQUAL(topology_port_set(topology, 1, 0xfffffffe, &mac, "x",
                                      true, 0), -EINVAL);
    build_switch(topology, 1, 4, true);
    const uint32_t kept[] = {2, 4, 9};
    topology_ports_retain(topology, 1, kept, 3);
    CU_ASSERT_PTR_NULL(topology_port(topology, 1, 1));
    CU_ASSERT_PTR_NOT_NULL(topology_port(topology, 1, 2));
    CU_ASSERT_PTR_NULL(topology_port(topology, 1, 3));
    CU_ASSERT_PTR_NOT_NULL(topology_port(topology, 1, 4));
    topology_switch_disconnected(topology, 1);
    CU_ASSERT(!topology_switch(topology, 1)->connected);
    topology_destroy(topology);
}

static void
test_attach(void)
{
    struct topology *topology = topology_create();
    struct topology_changes changes;
    build_switch(topology, 1, 4, true);
    build_switch(topology, 2, 4, true);
    take_graph(topology);

    struct topology_probe p = build_probe(5, 1, 9, 1);
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), -ENOENT);
    p = build_probe(5, 1, 1, 7);
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), 1);
    const struct topology_attachment *a
        = topology_attachment(topology, &p.locator);
    CU_ASSERT_PTR_NOT_NULL_FATAL(a);
    CU_ASSERT_PTR_EQUAL(a, topology_attachment_of(topology, &p.endpoint));
    topology_take_changes(topology, &changes);
    CU_ASSERT(!changes.graph);
    CU_ASSERT_EQUAL_FATAL(changes.n_hosts, 1);
    CU_ASSERT(changes.hosts[0].attached);
    topology_changes_destroy(&changes);

    /* Replay, straggler, confirmation. */
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), -ESTALE);
    p.seq = 6;
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), -ESTALE);
    p.seq = 8;
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 200), 0);
    CU_ASSERT(!topology_has_changes(topology));
    CU_ASSERT_EQUAL(topology_run(topology, 199), 200);

    /* Somebody else claims the locator. */
    struct topology_probe thief = build_probe(6, 2, 1, 1);
    thief.locator = p.locator;
    CU_ASSERT_EQUAL(topology_attach(topology, &thief, 900), -EADDRINUSE);

    /* A move. */
    p.at = (struct topology_end) {2, 2};
    p.seq = 9;
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 300), 1);
    CU_ASSERT_EQUAL(a->dpid, 2);
    CU_ASSERT(ovs_list_is_empty(&topology_port(topology, 1, 1)->attachments));

    /* A later session may begin anywhere; the old one is history. */
    p.session = 2;
    p.seq = 3;
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 300), 0);
    p.session = 1;
    p.seq = 10;
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 300), -ESTALE);

    CU_ASSERT_EQUAL(topology_run(topology, 299), 300);
    CU_ASSERT_EQUAL(topology_run(topology, 300), LLONG_MAX);
    CU_ASSERT_PTR_NULL(topology_attachment(topology, &p.locator));
    topology_take_changes(topology, &changes);
    CU_ASSERT_EQUAL_FATAL(changes.n_hosts, 1);
    CU_ASSERT(!changes.hosts[0].attached);
    topology_changes_destroy(&changes);

    /* Now it is free for the other. */
    thief.seq = 2;
    CU_ASSERT_EQUAL(topology_attach(topology, &thief, 900), 1);
    topology_destroy(topology);
}

static void
test_sequence_wraps(void)
{
    struct topology *topology = topology_create();
    build_switch(topology, 1, 1, true);
    struct topology_probe p = build_probe(1, 1, 1, 0xfffffff0);
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), 1);
    p.seq = 5;
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), 0);
    p.seq = 0xfffffff1;
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), -ESTALE);

    /* Replays stay stale while nothing is attached, until the endpoint is
     * forgotten. */
    build_port(topology, 1, 1, false);
    build_port(topology, 1, 1, true);
    p.seq = 5;
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), -ESTALE);
    topology_detach_endpoint(topology, &p.endpoint);
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), 1);
    topology_destroy(topology);
}

/* Port down, or a switch behind the port: hosts are withdrawn at once. */
static void
test_withdraw(void)
{
    struct topology *topology = topology_create();
    struct topology_end a = {1, 1}, b = {2, 1};
    build_switch(topology, 1, 4, true);
    build_switch(topology, 2, 4, true);
    struct topology_probe p = build_probe(1, 1, 1, 1);

    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), 1);
    build_port(topology, 1, 1, false);
    CU_ASSERT_PTR_NULL(topology_attachment(topology, &p.locator));
    p.seq++;
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), -ENETDOWN);
    build_port(topology, 1, 1, true);
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), 1);

    CU_ASSERT_EQUAL(topology_link_seen(topology, &b, &a, 100), 0);
    CU_ASSERT_PTR_NULL(topology_attachment(topology, &p.locator));
    p.seq++;
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), -EBUSY);

    p.at.port = 2;
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), 1);
    topology_detach(topology, &p.locator);
    CU_ASSERT_PTR_NULL(topology_attachment_of(topology, &p.endpoint));
    p.seq++;
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), 1);
    topology_switch_remove(topology, 1);
    CU_ASSERT_PTR_NULL(topology_attachment_of(topology, &p.endpoint));
    topology_destroy(topology);
}

/* A host with two interfaces; traffic uses IPv4, the lower address. */
static void
test_two_locators(void)
{
    struct topology *topology = topology_create();
    build_switch(topology, 1, 4, true);
    struct topology_probe p = build_probe(1, 1, 1, 1);

    p.locator = locator_from_v4(0x0a000009);
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), 1);
    p.locator = (struct in6_addr) {.s6_addr = {0xfd, 1}};
    p.at.port = 2;
    p.seq++;
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), 1);
    CU_ASSERT_EQUAL(locator_get_v4(&p.locator), 0);
    p.locator = locator_from_v4(0x0a000003);
    p.at.port = 3;
    p.seq++;
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), 1);
    CU_ASSERT_EQUAL(topology_attachment_of(topology, &p.endpoint)->port, 3);
    build_port(topology, 1, 3, false);
    CU_ASSERT_EQUAL(topology_attachment_of(topology, &p.endpoint)->port, 1);
    build_port(topology, 1, 1, false);
    CU_ASSERT_EQUAL(topology_attachment_of(topology, &p.endpoint)->port, 2);
    topology_destroy(topology);
}

static void
test_show(void)
{
    struct topology *topology = topology_create();
    build_switch(topology, 1, 2, true);
    build_switch(topology, 2, 2, false);
    build_link(topology, 1, 1, 2, 1);
    struct topology_probe p = build_probe(3, 1, 2, 1);
    CU_ASSERT_EQUAL(topology_attach(topology, &p, 100), 1);

    struct ds s = DS_EMPTY_INITIALIZER;
    topology_format(topology, &s);
    CU_ASSERT_PTR_NOT_NULL(strstr(ds_cstr(&s),
        "switch 0000000000000001 sal\n"
        "    port 1 eth up 1000 Mbit/s link to 0000000000000002 port 1"));
    CU_ASSERT_PTR_NOT_NULL(strstr(ds_cstr(&s),
        "host 10.0.0.3 02:01:00:00:00:03 at 0000000000000001 port 2"));
    ds_destroy(&s);
    struct json *json = topology_to_json(topology);
    char *text = json_to_string(json, JSSF_SORT);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"locator\":\"10.0.0.3\""));
    free(text);
    json_destroy(json);
    topology_destroy(topology);
}

/* Random events against arrays: which locator is where. */
enum { SWITCHES = 3, PORTS = 4, HOSTS = 6 };

struct model {
    bool up[SWITCHES][PORTS];
    int peer[SWITCHES][PORTS]; /* Switch * PORTS + port + 1; 0 = none. */
    long long int peer_deadline[SWITCHES][PORTS];
    int at[HOSTS];             /* As 'peer'. */
    long long int deadline[HOSTS];
    uint32_t seq[HOSTS];
};

static void
model_withdraw(struct model *m, int end)
{
    for (int h = 0; h < HOSTS; h++) {
        if (m->at[h] == end) {
            m->at[h] = 0;
        }
    }
}

static void
model_expire(struct model *m, long long int now)
{
    for (int h = 0; h < HOSTS; h++) {
        if (m->at[h] && m->deadline[h] <= now) {
            m->at[h] = 0;
        }
    }
    for (int i = 0; i < SWITCHES * PORTS; i++) {
        int s = i / PORTS, p = i % PORTS;
        if (m->peer[s][p] && m->peer_deadline[s][p] <= now) {
            m->peer[s][p] = 0;
        }
    }
}

static void
model_compare(const struct model *m, const struct topology *topology)
{
    for (int h = 0; h < HOSTS; h++) {
        struct in6_addr locator = locator_from_v4(0x0a000000 + h);
        const struct topology_attachment *a = topology_attachment(topology,
                                                                  &locator);
        int at = a ? (a->dpid - 1) * PORTS + a->port : 0;
        CU_ASSERT_EQUAL(at, m->at[h]);
    }
    for (int i = 0; i < SWITCHES * PORTS; i++) {
        int s = i / PORTS, p = i % PORTS, peer = m->peer[s][p] - 1;
        bool link = peer >= 0 && m->up[s][p]
                    && m->up[peer / PORTS][peer % PORTS]
                    && m->peer[peer / PORTS][peer % PORTS] == i + 1;
        CU_ASSERT_EQUAL(has_link(topology, s + 1, p + 1), link);
    }
}

static void
model_step(struct model *m, struct topology *topology, long long int now)
{
    int s = unit_random_below(SWITCHES), p = unit_random_below(PORTS);
    int i = s * PORTS + p, h = unit_random_below(HOSTS);
    long long int deadline = now + 1 + unit_random_below(500);

    if (!unit_random_below(6)) {
        bool up = unit_random_below(4);
        build_port(topology, s + 1, p + 1, up);
        m->up[s][p] = up;
        if (!up) {
            m->peer[s][p] = 0;
            model_withdraw(m, i + 1);
        }
    } else if (!unit_random_below(3)) {
        /* Mostly the same cables, so that both directions come about. */
        int j = unit_random_below(5) ? i ^ 1
                                     : unit_random_below(SWITCHES * PORTS);
        struct topology_end from = {s + 1, p + 1};
        struct topology_end to = {j / PORTS + 1, j % PORTS + 1};
        bool up = m->up[s][p] && m->up[j / PORTS][j % PORTS];
        CU_ASSERT_EQUAL(topology_link_seen(topology, &from, &to, deadline),
                        !up ? -ENOENT : i == j ? -ELOOP : 0);
        if (up && i != j) {
            m->peer[j / PORTS][j % PORTS] = i + 1;
            m->peer_deadline[j / PORTS][j % PORTS] = deadline;
            model_withdraw(m, j + 1);
        }
    } else {
        struct topology_probe probe = build_probe(h, s + 1, p + 1, 0);
        bool fresh = unit_random_below(5);
        probe.seq = fresh ? m->seq[h] + 1 : m->seq[h];
        int expected = !m->up[s][p] ? -ENETDOWN
                       : m->peer[s][p] ? -EBUSY
                       : !fresh && m->seq[h] ? -ESTALE
                       : m->at[h] != i + 1;
        CU_ASSERT_EQUAL(topology_attach(topology, &probe, deadline),
                        expected);
        if (expected >= 0) {
            m->seq[h] = probe.seq;
            m->at[h] = i + 1;
            m->deadline[h] = deadline;
        }
    }
}

static void
test_random(void)
{
    struct topology *topology = topology_create();
    struct model m;
    long long int now = 1;

    memset(&m, 0, sizeof m);
    for (int s = 0; s < SWITCHES; s++) {
        build_switch(topology, s + 1, PORTS, true);
        for (int p = 0; p < PORTS; p++) {
            m.up[s][p] = true;
        }
    }
    for (int h = 0; h < HOSTS; h++) {
        m.seq[h] = 1;
        struct topology_probe probe = build_probe(h, 1, 1, 1);
        CU_ASSERT_EQUAL(topology_attach(topology, &probe, 1), 1);
    }
    topology_run(topology, now);
    for (int step = 0; step < 20000; step++) {
        now += unit_random_below(20);
        topology_run(topology, now);
        model_expire(&m, now);
        model_step(&m, topology, now);
        model_compare(&m, topology);
    }
    topology_destroy(topology);
}

UNIT_MAIN("topology", UNIT_TEST(test_link), UNIT_TEST(test_recabling),
          UNIT_TEST(test_ports), UNIT_TEST(test_attach),
          UNIT_TEST(test_sequence_wraps), UNIT_TEST(test_withdraw),
          UNIT_TEST(test_two_locators), UNIT_TEST(test_show),
          UNIT_TEST(test_random))
