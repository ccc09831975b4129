/* SPDX-License-Identifier: Apache-2.0 */
/* The plan under random events, by each set of options: incremental equals
 * full recompute, installed follows desired, and packets that follow the rules
 * arrive.  STEPS=n in the environment sets the length of the random walk. */
#include "tests/unit/plan_delivery.h"

static void
random_topology_event(void)
{
    uint64_t dpid = 1 + unit_random_below(SWITCHES);
    uint32_t port = 1 + unit_random_below(PORTS);

    switch (unit_random_below(8)) {
    case 0:
        if (!unit_random_below(10)) {
            topology_switch_remove(topology, dpid);
            rule_table_clear(installed[dpid - 1]);
            reconnected[dpid - 1] = true;
        }
        break;
    case 1:
        if (!topology_switch(topology, dpid)) {
            build_switch(topology, dpid, PORTS, unit_random_below(4));
        }
        break;
    case 2:
        if (topology_switch(topology, dpid)) {
            build_port(topology, dpid, port, unit_random_below(2));
        }
        /* Enough for all ports, for some, for none. */
        if (!unit_random_below(10)) {
            topology_switch_set_meters(topology, dpid,
                                       unit_random_below(64));
        }
        if (!unit_random_below(10)) {
            topology_port_remove(topology, dpid, port);
        }
        break;
    case 3: {
        struct topology_end a = {dpid, port};
        struct topology_end b = {1 + unit_random_below(SWITCHES),
                                 1 + unit_random_below(3)};
        a.port = 1 + a.port % 3;
        topology_link_seen(topology, &a, &b, BUILDER_NEVER);
        topology_link_seen(topology, &b, &a, BUILDER_NEVER);
        break;
    }
    case 4: {
        static const size_t limits[] = {0, 3, 10, 25, SIZE_MAX};
        if (options.limited) {
            plan_set_limit(plan, dpid, limits[unit_random_below(5)]);
        }
        if (options.limited && !unit_random_below(20)) {
            plan_set_no_groups(plan, dpid);
        }
        if (options.limited && !unit_random_below(50)) {
            /* The configuration is read again. */
            const struct rules_config rules = rules_config_of_options();
            const struct routes_config routes = ROUTES_CONFIG_DEFAULT;
            plan_configure(plan, &rules, &routes);
        }
        if (options.limited && !unit_random_below(3)) {
            plan_set_short_of_hosts(plan, dpid, unit_random_below(2));
        }
        struct topology_end a = {dpid, 1 + port % 3};
        topology_link_set_cost(topology, &a, 1 + unit_random_below(3));
        topology_link_set_latency(topology, &a, unit_random_below(5));
        break;
    }
    default: {
        struct in6_addr locator = locator_of(unit_random_below(HOSTS),
                                             unit_random_below(2));
        topology_detach(topology, &locator);
        break;
    }
    }
}

static void
random_definition(int s)
{
    struct service_definition definition = {
        .policy = options.same_policy
                  ? ROUTE_DEFAULT : unit_random_below(ROUTE_LOCAL_FIRST + 1),
        .path_class = unit_random_below(5)};
    if (unit_random_below(3)) {
        registry_define(registry, names[s], &definition);
    } else {
        registry_undefine(registry, names[s]);
    }
}

static void
random_host_event(void)
{
    int i = unit_random_below(HOSTS), s = unit_random_below(SERVICES);
    int port = 1 + unit_random_below(3);
    struct endpoint_id id = build_endpoint_id(i);
    struct registry_key key = key_of(i, s, port);

    switch (unit_random_below(12)) {
    case 0:
        registry_remove_endpoint(registry, &id);
        topology_detach_endpoint(topology, &id);
        break;
    case 1:
    case 2:
        session(i);
        break;
    case 3:
        registry_unregister(registry, &key);
        break;
    case 4:
    case 5:
        attach(i, 1 + unit_random_below(SWITCHES),
               4 + unit_random_below(PORTS - 3));
        break;
    case 6:
        if (options.plain_hosts && unit_random_below(2)) {
            struct topology_probe seen = build_probe(
                i, 1 + unit_random_below(SWITCHES),
                4 + unit_random_below(PORTS - 3), 0);
            topology_learn(topology, &seen, BUILDER_NEVER);
            break;
        }
        attach6(i, 1 + unit_random_below(SWITCHES),
                4 + unit_random_below(PORTS - 3));
        break;
    case 7:
        registry_renew(registry, &id, 1); /* Its lease ends. */
        registry_run(registry, 1);
        break;
    case 8:
        if (!unit_random_below(10)) {
            random_definition(s);
        } else {
            static const char *const zones[] = {"", "east", "west"};
            registry_set_zone(registry, &id, zones[unit_random_below(3)]);
        }
        break;
    default:
        offer(i, s, port, &(struct registry_offer) {
            unit_random_below(5), unit_random_below(3), unit_random_below(4)});
        break;
    }
}

/* By the options of the moment. */
static void
random_walk(void)
{
    const char *steps_text = getenv("STEPS");
    int steps = steps_text ? atoi(steps_text) : 20000;
    unsigned int failures = CU_get_number_of_failures();
    size_t written = 0;

    start();
    build_fabric();
    for (int step = 0; step < steps; step++) {
        for (int i = unit_random_below(3); i >= 0; i--) {
            if (!unit_random_below(5)) {
                random_topology_event();
            } else {
                random_host_event();
            }
        }
        written += put_all(!unit_random_below(50));
        if (step % 10 == 0) {
            check();
            check_delivery();
        }
        if (CU_get_number_of_failures() > failures) {
            fprintf(stderr, "first failure at step %d\n", step);
            break;
        }
    }
    CU_ASSERT(written > (size_t) steps / 2);
    stop();
}

static void
test_no_options(void)
{
    options = (struct plan_options) {.groups = false};
    random_walk();
}

static void
test_groups(void)
{
    options = (struct plan_options) {.groups = true, .anti_spoofing = true};
    random_walk();
    options.classes = true;
    random_walk();
}

static void
test_plain_hosts(void)
{
    options = (struct plan_options) {.anti_spoofing = true, .classes = true};
    random_walk();
    options.plain_hosts = true;
    random_walk();
    options.groups = true;
    random_walk();
}

static void
test_limited(void)
{
    options = (struct plan_options) {.groups = true, .anti_spoofing = true,
                                     .classes = true, .plain_hosts = true,
                                     .limited = true};
    random_walk();
    options.groups = false;
    random_walk();
}

static void
test_hop_by_hop(void)
{
    options = (struct plan_options) {.anti_spoofing = true, .classes = true,
                                     .hop_by_hop = true};
    random_walk();
    options.classes = false;
    random_walk();
}

/* Some changes of the graph are mended: no switch is cut off, or back. */
static void
random_detours(void)
{
    n_graphs = n_everything = 0;
    random_walk();
    CU_ASSERT(n_everything < n_graphs);
}

static void
test_detours(void)
{
    options = (struct plan_options) {.same_policy = true};
    random_detours();
    options.groups = options.anti_spoofing = options.plain_hosts = true;
    random_detours();
    options.hop_by_hop = true;
    random_detours();
    options.groups = options.hop_by_hop = false;
    options.limited = true;
    random_detours();
}

static void
test_detours_of_classes(void)
{
    options = (struct plan_options) {.same_policy = true, .classes = true};
    random_detours();
    options.groups = options.anti_spoofing = true;
    random_detours();
    options.hop_by_hop = true;
    random_detours();
    options.groups = options.hop_by_hop = false;
    options.limited = options.plain_hosts = true;
    random_detours();
}

UNIT_MAIN("plan_random", UNIT_TEST(test_no_options), UNIT_TEST(test_groups),
          UNIT_TEST(test_plain_hosts), UNIT_TEST(test_limited),
          UNIT_TEST(test_hop_by_hop), UNIT_TEST(test_detours),
          UNIT_TEST(test_detours_of_classes))
