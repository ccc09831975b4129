/* SPDX-License-Identifier: Apache-2.0 */
/* Make before break across switches: whatever order the switches confirm in,
 * no installed service rule ever sends to a host that a switch on the way does
 * not know.  Without the order that happens all the time. */
#include "tests/unit/unit.h"

#include "controller/addresses.h"
#include "controller/plan.h"
#include "controller/put_order.h"
#include "tests/unit/topology_builder.h"

enum { SWITCHES = 6, PORTS = 10, HOSTS = 8, SERVICES = 4, HOST_PORT = 4 };

static const char *const names[SERVICES] = {"a.x", "b.x", "c.x", "x"};

/* A switch and what is on its way to it. */
static struct member {
    struct put_order_member order;
    struct rule_table *installed, *going;
    struct rule_changes flight; /* In flight if 'busy'. */
    struct put_order_held held;
    uint64_t generation;        /* Of the plan, when 'flight' was sent. */
    bool busy, dirty;
} members[SWITCHES];

static struct address_pool *identities, *services;
static struct registry *registry;
static struct topology *topology;
static struct plan *plan;
static struct put_order order;
static uint32_t seq;
static bool ordered;
static long long now; /* Stands still: nobody loses patience. */

static void
start(bool groups)
{
    struct rules_config rules = RULES_CONFIG_DEFAULT;
    const struct routes_config routes = ROUTES_CONFIG_DEFAULT;

    rules.groups = groups;
    identities = address_pool_create(ADDRESS_IDENTITY_NETWORK, 10);
    services = address_pool_create(ADDRESS_SERVICE_NETWORK, 15);
    registry = registry_create(identities, services);
    topology = topology_create();
    plan = plan_create(&rules, &routes, NULL, registry, topology);
    put_order_init(&order, plan, topology);
    for (int i = 0; i < SWITCHES; i++) {
        struct member *m = &members[i];

        memset(m, 0, sizeof *m);
        m->installed = rule_table_create();
        m->going = rule_table_create();
        m->dirty = true;
        m->order = (struct put_order_member) {
            .dpid = i + 1, .installed = m->installed, .going = m->going,
            .unsettled = true};
        put_order_join(&order, &m->order);
        build_switch(topology, i + 1, PORTS, true);
    }
    for (int i = 1; i <= SWITCHES; i++) {
        build_link(topology, i, 1, i % SWITCHES + 1, 2);
    }
    build_link(topology, 1, 3, 4, 3);
}

static void
stop(void)
{
    for (int i = 0; i < SWITCHES; i++) {
        put_order_leave(&order, &members[i].order);
        rule_table_destroy(members[i].installed);
        rule_table_destroy(members[i].going);
        rule_changes_destroy(&members[i].flight);
        put_order_held_destroy(&members[i].held);
    }
    put_order_destroy(&order);
    plan_destroy(plan);
    topology_destroy(topology);
    registry_destroy(registry);
    address_pool_destroy(identities);
    address_pool_destroy(services);
}

/* What put.c and controller_switches.c do. */

static void
update_members(void)
{
    for (int i = 0; i < SWITCHES; i++) {
        members[i].order.unsettled = members[i].dirty || members[i].busy;
    }
}

static void
settle(struct member *m, uint64_t generation)
{
    if (!m->held.upper) {
        m->order.upper_generation = generation;
    }
    m->dirty = m->held.changes.n > 0;
}

static void
put(struct member *m)
{
    if (m->busy || !m->dirty) {
        return;
    }
    plan_diff(plan, m->order.dpid, m->installed, false, &m->flight);
    if (ordered) {
        put_order_split(&order, m->order.dpid, &m->flight, &m->held, now);
        plan_touch_again(plan, m->order.dpid, &m->held.changes);
    }
    rule_table_clear(m->going);
    put_order_note_going(&m->flight, m->going);
    m->generation = plan_generation(plan);
    m->busy = m->flight.n > 0;
    if (!m->busy) {
        settle(m, m->generation);
    }
    update_members();
}

static void
put_all(void)
{
    uint64_t dpid;

    plan_run(plan, NULL);
    while (plan_pop_changed(plan, &dpid)) {
        members[dpid - 1].dirty = true;
    }
    update_members();
    int first = unit_random_below(SWITCHES);
    for (int i = 0; i < SWITCHES; i++) {
        put(&members[(first + i) % SWITCHES]);
    }
}

static void
confirm(struct member *m)
{
    rule_changes_apply(&m->flight, m->flight.n, m->installed);
    m->flight.n = 0;
    rule_table_clear(m->going);
    m->busy = false;
    settle(m, m->generation);
    m->dirty = true; /* Looks once more. */
}

/* The oracle: follows every service rule of every switch through what is
 * installed.  Returns how many meet a switch that does not know the host. */

static bool
is_known(uint64_t dpid, uint32_t out, const struct rule *host, int hops)
{
    const struct topology_switch *sw = topology_switch(topology, dpid);
    const struct topology_port *port = topology_port(topology, dpid, out);
    struct topology_end far;

    if (!topology_port_link(topology, sw, port, &far) || !hops) {
        return true;
    }
    const struct rule_table *installed = members[far.dpid - 1].installed;
    const struct rule *rule = rule_table_find(installed, host);
    if (!rule) {
        return false;
    }
    if (!(rule->flags & RULE_VIA_GROUP)) {
        return is_known(far.dpid, rule->port, host, hops - 1);
    }
    struct rule key = RULE_INIT(RULE_GROUP);
    key.group = rule->port;
    const struct rule *group = rule_table_find(installed, &key);
    return !group || is_known(far.dpid, group->ports[0], host, hops - 1);
}

static int
count_strays(void)
{
    int strays = 0;

    for (int i = 0; i < SWITCHES; i++) {
        size_t position = 0;
        const struct rule *rule;
        while ((rule = rule_table_next(members[i].installed, &position))) {
            struct rule host = RULE_INIT(RULE_HOST);
            uint32_t out = rule->port;

            if (!rule_has_target(rule)) {
                continue;
            }
            host.address = rule->target;
            if (rule->flags & RULE_VIA_GROUP) {
                struct rule key = RULE_INIT(RULE_GROUP);
                key.group = rule->port;
                const struct rule *group
                    = rule_table_find(members[i].installed, &key);
                out = group ? group->ports[0] : 0;
            }
            strays += out && !is_known(i + 1, out, &host, 2 * SWITCHES);
        }
    }
    return strays;
}

static void
random_event(bool links)
{
    int host = unit_random_below(HOSTS), s = unit_random_below(SERVICES);
    struct endpoint_id id = build_endpoint_id(host);
    struct in6_addr locator = build_probe(host, 1, 1, 1).locator;
    struct registry_key key = {.protocol = 6, .port = 80, .endpoint = id};
    struct topology_probe probe;
    uint64_t number;

    service_prefix_from_name(names[s], &key.prefix);
    switch (unit_random_below(links ? 7 : 6)) {
    case 0:
        topology_detach(topology, &locator);
        break;
    case 1:
    case 2:
        probe = build_probe(host, 1 + unit_random_below(SWITCHES),
                            HOST_PORT + unit_random_below(4), ++seq);
        topology_attach(topology, &probe, BUILDER_NEVER);
        break;
    case 3:
        registry_unregister(registry, &key);
        break;
    case 4:
    case 5:
        registry_session_begin(registry, &id, "h", 0, BUILDER_NEVER, &number);
        registry_register(registry, &key, names[s],
                          &(struct registry_offer) {
                              .weight = 1 + unit_random_below(3)}, NULL);
        break;
    case 6:
        build_port(topology, 1 + unit_random_below(SWITCHES), 1,
                   unit_random_below(4));
        for (int i = 1; i <= SWITCHES; i++) {
            topology_link_seen(topology, &(struct topology_end) {i, 1},
                               &(struct topology_end) {i % SWITCHES + 1, 2},
                               BUILDER_NEVER);
            topology_link_seen(topology, &(struct topology_end) {
                                   i % SWITCHES + 1, 2},
                               &(struct topology_end) {i, 1}, BUILDER_NEVER);
        }
        break;
    }
}

/* Everything that is desired gets there in the end. */
static void
drain(bool links)
{
    for (int round = 0; round < 20 * SWITCHES; round++) {
        put_all();
        for (int i = 0; i < SWITCHES; i++) {
            if (members[i].busy) {
                confirm(&members[i]);
                CU_ASSERT(!ordered || links || !count_strays());
            }
        }
    }
    for (int i = 0; i < SWITCHES; i++) {
        CU_ASSERT(!members[i].busy && !members[i].dirty);
        CU_ASSERT(rule_table_equal(members[i].installed,
                                   plan_desired(plan, i + 1)));
    }
}

/* Returns the strays seen after all single confirmations together. */
static int
walk(bool groups, bool links, int steps)
{
    int strays = 0;

    start(groups);
    for (int step = 0; step < steps; step++) {
        if (!unit_random_below(3)) {
            random_event(links);
        }
        put_all();
        struct member *m = &members[unit_random_below(SWITCHES)];
        if (m->busy) {
            confirm(m);
            strays += count_strays();
        }
        if (step % 500 == 499) {
            drain(links);
        }
    }
    stop();
    return strays;
}

static void
test_no_stray(void)
{
    ordered = true;
    CU_ASSERT_EQUAL(walk(false, false, 5000), 0);
    CU_ASSERT_EQUAL(walk(true, false, 5000), 0);
    ordered = false;
    int strays = walk(false, false, 5000);
    CU_ASSERT(strays > 100);
    printf("without the order: %d strays\n", strays);
    ordered = true;
}

/* A link that fails cuts ways that rules still use, whatever the order; but
 * nothing gets stuck. */
static void
test_links(void)
{
    ordered = true;
    walk(false, true, 5000);
    walk(true, true, 5000);
}

/* Each change waits for so long at most, also while others begin to wait. */
static void
test_patience(void)
{
    struct put_order_held held = {.upper = false};
    struct rule_changes changes = RULE_CHANGES_INITIALIZER;

    ordered = true;
    start(false);
    put_all();
    drain(false);
    order.patience_ms = 1000;
    for (int i = 0; i < SWITCHES; i++) {
        members[i].order.unsettled = true;
    }
    for (long long t = 0; t < 5000; t += 500) {
        /* Another host that switch 4 does not know yet. */
        struct topology_probe probe = build_probe(t / 500, 4, HOST_PORT,
                                                  ++seq);
        uint64_t number;
        topology_attach(topology, &probe, BUILDER_NEVER);
        registry_session_begin(registry, &probe.endpoint, "h", 0,
                               BUILDER_NEVER, &number);
        plan_run(plan, NULL);
        plan_diff(plan, 1, members[0].installed, true, &changes);
        put_order_split(&order, 1, &changes, &held, t);
        /* Those of the last second wait: their endpoints' services. */
        CU_ASSERT_EQUAL(held.changes.n, t ? 2 : 1);
        CU_ASSERT_EQUAL(held.since, t ? t - 500 : 0);
        rule_changes_apply(&changes, changes.n, members[0].installed);
    }
    rule_changes_destroy(&changes);
    put_order_held_destroy(&held);
    stop();
}

/* A service is held as a whole; a switch that is settled is not waited for. */
static void
test_split(void)
{
    struct put_order_held held = {.upper = false};
    struct rule_changes changes = RULE_CHANGES_INITIALIZER;

    ordered = true;
    start(false);
    put_all();
    drain(false);
    struct topology_probe probe = build_probe(1, 4, HOST_PORT, ++seq);
    struct endpoint_id id = build_endpoint_id(1);
    struct registry_key key = {.protocol = 6, .port = 80, .endpoint = id};
    uint64_t number;
    topology_attach(topology, &probe, BUILDER_NEVER);
    registry_session_begin(registry, &id, "h", 0, BUILDER_NEVER, &number);
    service_prefix_from_name(names[0], &key.prefix);
    registry_register(registry, &key, names[0],
                      &(struct registry_offer) {.weight = 1}, NULL);
    plan_run(plan, NULL);
    for (int i = 0; i < SWITCHES; i++) {
        members[i].order.unsettled = true;
    }
    /* Switch 4 has the host: nothing to wait for; 1 waits for it. */
    plan_diff(plan, 4, members[3].installed, true, &changes);
    put_order_split(&order, 4, &changes, &held, 0);
    CU_ASSERT_EQUAL(held.changes.n, 0);
    plan_diff(plan, 1, members[0].installed, true, &changes);
    size_t n = changes.n;
    put_order_split(&order, 1, &changes, &held, 0);
    CU_ASSERT(held.upper);
    CU_ASSERT_EQUAL(held.changes.n, 2); /* The service, and the endpoint. */
    CU_ASSERT_EQUAL(held.changes.n + changes.n, n);
    /* Whoever cannot be told is not waited for. */
    members[3].order.unsettled = false;
    plan_diff(plan, 1, members[0].installed, true, &changes);
    put_order_split(&order, 1, &changes, &held, 0);
    CU_ASSERT_EQUAL(held.changes.n, 0);
    rule_changes_destroy(&changes);
    put_order_held_destroy(&held);
    stop();
}

UNIT_MAIN("put_order", UNIT_TEST(test_split), UNIT_TEST(test_patience),
          UNIT_TEST(test_no_stray), UNIT_TEST(test_links))
