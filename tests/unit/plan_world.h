/* SPDX-License-Identifier: Apache-2.0 */
/* The world of the plan's tests: hosts, services, switches and links, the plan
 * and what the switches have of it.
 *
 * start() makes it by 'options', stop() ends it; everything in between changes
 * the inputs, and put_all() brings the switches up to date. */
#ifndef SALIENT_TEST_PLAN_WORLD_H
#define SALIENT_TEST_PLAN_WORLD_H 1

#include "tests/unit/unit.h"

#include "controller/addresses.h"
#include "controller/paths.h"
#include "controller/plan.h"
#include "controller/rule_table.h"
#include "openvswitch/dynamic-string.h"
#include "tests/unit/topology_builder.h"
#include "packets.h"

enum { SWITCHES = 6, PORTS = 12, HOSTS = 12, SERVICES = 5, HOST_PORT = 7 };

static const char *const names[SERVICES] = {
    "acme", "shop.acme", "web.shop.acme", "a.web.shop.acme", "db.acme"};

static struct address_pool *identities, *services;
static struct registry *registry;
static struct topology *topology;
static struct plan *plan;
static struct rule_table *installed[SWITCHES];
static bool reconnected[SWITCHES]; /* The next diff must be a full one. */
static uint32_t seq;
/* Changes of the graph, and those after which everything was computed anew. */
static size_t n_graphs, n_everything;

static struct plan_options {
    bool groups; /* Fast failover. */
    bool anti_spoofing;
    bool classes;
    bool hop_by_hop;
    bool plain_hosts;
    bool same_policy; /* Of all services: only ways follow from links. */
    bool limited; /* Some switches have no room for all services. */
} options;

static struct path_classes classes;

/* 1: lowest latency; 2: not through switch 2 nor over one link; 3: by way of
 * switch 4; 4: by way of the stock switch, which cannot be. */
static inline void
build_classes(void)
{
    memset(&classes, 0, sizeof classes);
    classes.n = 4;
    classes.latency = true;
    classes.classes[1].kind = PATH_CLASS_LOWEST_LATENCY;
    classes.classes[2].kind = PATH_CLASS_AVOID;
    classes.classes[2].switches[classes.classes[2].n_switches++] = 2;
    classes.classes[2].links[classes.classes[2].n_links++]
        = (struct topology_end) {3, 1};
    classes.classes[3].kind = PATH_CLASS_WAYPOINT;
    classes.classes[3].waypoint = 4;
    classes.classes[4].kind = PATH_CLASS_WAYPOINT;
    classes.classes[4].waypoint = 5;
    topology_watch_latency(topology);
}

static inline struct rules_config
rules_config_of_options(void)
{
    struct rules_config rules_config = RULES_CONFIG_DEFAULT;
    rules_config.groups = options.groups;
    rules_config.anti_spoofing = options.anti_spoofing;
    rules_config.hop_by_hop = options.hop_by_hop;
    rules_config.plain_hosts = options.plain_hosts;
    return rules_config;
}

static inline void
start_plan(void)
{
    struct rules_config rules_config = rules_config_of_options();
    if (options.plain_hosts) {
        topology_watch_host_ports(topology);
    }
    const struct routes_config routes_config = ROUTES_CONFIG_DEFAULT;
    plan = plan_create(&rules_config, &routes_config, &classes, registry,
                       topology);
}

static inline void
start(void)
{
    identities = address_pool_create(ADDRESS_IDENTITY_NETWORK, 10);
    services = address_pool_create(ADDRESS_SERVICE_NETWORK, 15);
    registry = registry_create(identities, services);
    topology = topology_create();
    memset(&classes, 0, sizeof classes);
    if (options.classes) {
        build_classes();
    }
    classes.hop_by_hop = options.hop_by_hop;
    start_plan();
    for (int i = 0; i < SWITCHES; i++) {
        installed[i] = rule_table_create();
    }
    seq = 0;
}

static inline void
stop(void)
{
    plan_destroy(plan);
    topology_destroy(topology);
    registry_destroy(registry);
    address_pool_destroy(identities);
    address_pool_destroy(services);
    for (int i = 0; i < SWITCHES; i++) {
        rule_table_destroy(installed[i]);
    }
}

/* What put does: brings the installed rules up to date.  Returns the number of
 * rules written. */
static inline size_t
put_all(bool full)
{
    struct rule_changes changes = RULE_CHANGES_INITIALIZER;
    uint64_t dpid;
    size_t n = 0;

    struct plan_result result;
    plan_run(plan, &result);
    n_graphs += result.topology.graph;
    n_everything += result.everything;
    plan_result_destroy(&result);
    while (plan_pop_changed(plan, &dpid)) {
        plan_diff(plan, dpid, installed[dpid - 1],
                  full || reconnected[dpid - 1], &changes);
        reconnected[dpid - 1] = false;
        rule_changes_apply(&changes, changes.n, installed[dpid - 1]);
        CU_ASSERT(rule_table_equal(plan_desired(plan, dpid),
                                   installed[dpid - 1]));
        n += changes.n;
    }
    rule_changes_destroy(&changes);
    return n;
}

static inline void
check(void)
{
    struct ds why = DS_EMPTY_INITIALIZER;
    bool same = plan_check(plan, &why);
    CU_ASSERT(same);
    if (!same) {
        fprintf(stderr, "%s", ds_cstr(&why));
    }
    ds_destroy(&why);
}

static inline void
session(int i)
{
    struct endpoint_id id = build_endpoint_id(i);
    uint64_t number;
    CU_ASSERT_EQUAL(registry_session_begin(registry, &id, "h", 0,
                                           BUILDER_NEVER, &number), 0);
}

static inline void
attach(int i, uint64_t dpid, uint32_t port)
{
    struct topology_probe probe = build_probe(i, dpid, port, ++seq);
    topology_attach(topology, &probe, BUILDER_NEVER);
}

static inline void
attach6(int i, uint64_t dpid, uint32_t port)
{
    struct topology_probe probe = build_probe6(i, dpid, port, ++seq);
    topology_attach(topology, &probe, BUILDER_NEVER);
}

static inline struct in6_addr
locator_of(int i, bool v6)
{
    return v6 ? build_probe6(i, 1, 1, 1).locator
              : build_probe(i, 1, 1, 1).locator;
}

static inline struct registry_key
key_of(int i, int service, int port)
{
    struct registry_key key;
    memset(&key, 0, sizeof key);
    key.endpoint = build_endpoint_id(i);
    service_prefix_from_name(names[service], &key.prefix);
    key.protocol = port % 2 ? 6 : 17;
    key.port = port;
    return key;
}

static inline void
offer(int i, int service, int port, const struct registry_offer *what)
{
    struct registry_key key = key_of(i, service, port);
    registry_register(registry, &key, names[service], what, NULL);
}

static inline void
serve(int i, int service, int port, int weight)
{
    offer(i, service, port, &(struct registry_offer) {.weight = weight});
}

/* A ring of switches, every second pair also linked across; 5 is stock. */
static inline void
build_fabric(void)
{
    for (int i = 1; i <= SWITCHES; i++) {
        build_switch(topology, i, PORTS, i != 5);
    }
    for (int i = 1; i <= SWITCHES; i++) {
        build_link(topology, i, 1, i % SWITCHES + 1, 2);
    }
    for (int i = 1; i <= SWITCHES / 2; i++) {
        build_link(topology, i, 3, i + SWITCHES / 2, 3);
    }
}

#endif /* plan_world.h */
