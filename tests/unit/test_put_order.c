/* SPDX-License-Identifier: Apache-2.0 */
/* Make before break across switches: whatever order the switches confirm in,
 * no installed service rule ever sends to a host that a switch on the way does
 * not know.  Without the order that happens all the time. */
#include "tests/unit/unit.h"

#include "controller/addresses.h"
#include "controller/paths.h"
#include "controller/plan.h"
#include "controller/put_order.h"
#include "tests/unit/topology_builder.h"

enum { SWITCHES = 6, PORTS = 10, HOSTS = 8, SERVICES = 4, HOST_PORT = 4 };

static const char *const names[SERVICES] = {"a.x", "b.x", "c.x", "x"};

/* A switch and what is on its way to it. */
static struct member {
    struct put_order_member order;
    struct rule_table *installed, *going, *coming;
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
static long long now; /* Stands still, so that nobody loses patience, but where
                       * two wait for each other. */

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
        m->coming = rule_table_create();
        m->dirty = true;
        m->order = (struct put_order_member) {
            .dpid = i + 1, .installed = m->installed, .going = m->going,
            .coming = m->coming, .unsettled = true};
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
        rule_table_destroy(members[i].coming);
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
        m->order.services_generation = generation;
    }
    if (!m->held.upper && !m->held.groups) {
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
    put_order_note(&m->flight, m->going, m->coming);
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
    rule_table_clear(m->coming);
    m->busy = false;
    settle(m, m->generation);
    m->dirty = true; /* Looks once more. */
}

/* The oracle: follows every service rule of every switch through what is
 * installed, as the switches would. */

/* The end of a packet. */
enum fate {
    ARRIVED,
    CUT,      /* At a port that is down. */
    STRAYED,  /* At a switch that does not know the host, */
    LOST,     /* or from which no way leads there. */
    LOOPED,
    BYPASSED, /* Looped, and a switch went round a dead port by itself. */
    N_FATES,
};
static int fates[N_FATES];

static uint32_t
port_of(uint64_t dpid, const struct rule *rule, bool *bypassed)
{
    struct rule key = RULE_INIT(RULE_GROUP);

    if (!(rule->flags & RULE_VIA_GROUP)) {
        return rule->port;
    }
    key.group = rule->port;
    const struct rule *group
        = rule_table_find(members[dpid - 1].installed, &key);
    for (int i = 0; group && i < RULE_GROUP_PORTS_MAX && group->ports[i];
         i++) {
        if (topology_port(topology, dpid, group->ports[i])->up) {
            *bypassed |= i > 0;
            return group->ports[i];
        }
    }
    return group ? group->ports[0] : 0;
}

static bool
is_within_reach(uint64_t dpid, const struct in6_addr *locator)
{
    const struct topology_attachment *at = topology_attachment(topology,
                                                               locator);
    const struct paths *paths = plan_paths(plan);

    return at && paths_distance(paths, paths_index(paths, dpid),
                                paths_index(paths, at->dpid))
                 != PATHS_UNREACHABLE;
}

static enum fate
follow(uint64_t dpid, const struct rule *rule, const struct rule *host)
{
    bool bypassed = false;

    for (int hops = 0; hops < 2 * SWITCHES; hops++) {
        uint32_t out = rule ? port_of(dpid, rule, &bypassed) : 0;
        if (!out) {
            return is_within_reach(dpid, &host->address) ? STRAYED : LOST;
        }
        const struct topology_port *port = topology_port(topology, dpid, out);
        if (!port->up) {
            return CUT;
        } else if (!port->peer_dpid) {
            return ARRIVED;
        }
        dpid = port->peer_dpid;
        rule = rule_table_find(members[dpid - 1].installed, host);
    }
    return bypassed ? BYPASSED : LOOPED;
}

static void
follow_all(void)
{
    for (int i = 0; i < SWITCHES; i++) {
        size_t position = 0;
        const struct rule *rule;
        while ((rule = rule_table_next(members[i].installed, &position))) {
            if (rule_has_target(rule)) {
                struct rule host = RULE_INIT(RULE_HOST);
                struct rule first = *rule;
                host.address = rule->target;
                fates[follow(i + 1, &first, &host)]++;
            }
        }
    }
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
drain(void)
{
    for (int round = 0; round < 20 * SWITCHES; round++) {
        put_all();
        for (int i = 0; i < SWITCHES; i++) {
            if (members[i].busy) {
                confirm(&members[i]);
                follow_all();
            }
        }
        if (round % (2 * SWITCHES) == 2 * SWITCHES - 1) {
            now += order.patience_ms / 4;
        }
    }
    for (int i = 0; i < SWITCHES; i++) {
        CU_ASSERT(!members[i].busy && !members[i].dirty);
        CU_ASSERT(rule_table_equal(members[i].installed,
                                   plan_desired(plan, i + 1)));
    }
}

/* Looks after each single confirmation. */
static void
walk(bool groups, bool links, int steps)
{
    memset(fates, 0, sizeof fates);
    start(groups);
    for (int step = 0; step < steps; step++) {
        if (!unit_random_below(3)) {
            random_event(links);
        }
        put_all();
        struct member *m = &members[unit_random_below(SWITCHES)];
        if (m->busy) {
            confirm(m);
            follow_all();
        }
        if (step % 500 == 499) {
            drain();
        }
    }
    stop();
    printf("%s%s%s: %d arrived, %d cut, %d strayed, %d to nobody, "
           "%d looped, %d by a bypass\n", ordered ? "ordered" : "not ordered",
           groups ? ", groups" : "", links ? ", links fail" : "",
           fates[ARRIVED], fates[CUT], fates[STRAYED], fates[LOST],
           fates[LOOPED], fates[BYPASSED]);
}

static void
test_nothing_strays(void)
{
    for (int groups = 0; groups < 2; groups++) {
        for (int links = 0; links < 2; links++) {
            ordered = true;
            walk(groups, links, 5000);
            CU_ASSERT_EQUAL(fates[STRAYED], 0);
            CU_ASSERT_EQUAL(fates[LOOPED], 0);
            ordered = false;
            walk(groups, links, 5000);
            CU_ASSERT(fates[STRAYED] > 100);
            CU_ASSERT(fates[LOOPED] > 100);
        }
    }
    ordered = true;
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
    drain();
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
    drain();
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
          UNIT_TEST(test_nothing_strays))
