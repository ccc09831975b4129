/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "controller/addresses.h"
#include "controller/paths.h"
#include "controller/registry.h"
#include "controller/routes.h"
#include "controller/topology.h"
#include "controller/zones.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "tests/unit/topology_builder.h"

/* A line of three SAL switches 1 - 2 - 3; host i may be anywhere. */
static struct address_pool *identities, *services;
static struct registry *registry;
static struct topology *topology;
static struct paths *paths;
static struct routes *routes;

static void
start(enum route_policy policy)
{
    const struct routes_config config = {policy, TILES_TOLERANCE_DEFAULT};
    identities = address_pool_create(ADDRESS_IDENTITY_NETWORK, 10);
    services = address_pool_create(ADDRESS_SERVICE_NETWORK, 15);
    registry = registry_create(identities, services);
    topology = topology_create();
    for (int i = 1; i <= 3; i++) {
        build_switch(topology, i, 20, true);
    }
    build_link(topology, 1, 1, 2, 1);
    build_link(topology, 2, 2, 3, 1);
    paths = paths_compute(topology, NULL);
    routes = routes_create(&config);
}

static void
stop(void)
{
    routes_destroy(routes);
    paths_destroy(paths);
    topology_destroy(topology);
    registry_destroy(registry);
    address_pool_destroy(identities);
    address_pool_destroy(services);
}

static void
session(int i)
{
    struct endpoint_id id = build_endpoint_id(i);
    uint64_t number;
    CU_ASSERT_EQUAL(registry_session_begin(registry, &id, "h", 0,
                                           BUILDER_NEVER, &number), 0);
}

static void
attach(int i, uint64_t dpid)
{
    static uint32_t seq;
    struct topology_probe probe = build_probe(i, dpid, 10 + i, ++seq);
    CU_ASSERT_EQUAL(topology_attach(topology, &probe, BUILDER_NEVER), 1);
}

static struct registry_key
key_of(int i, const char *name, int protocol, int port)
{
    struct registry_key key;
    memset(&key, 0, sizeof key);
    key.endpoint = build_endpoint_id(i);
    service_prefix_from_name(name, &key.prefix);
    key.protocol = protocol;
    key.port = port;
    return key;
}

static void
serve(int i, const char *name, int protocol, int port, int weight)
{
    struct registry_key key = key_of(i, name, protocol, port);
    CU_ASSERT_EQUAL(registry_register(registry, &key, name,
        &(struct registry_offer) {.weight = weight}, NULL), 0);
}

static bool
update(const char *name)
{
    struct service_prefix prefix;
    struct service_routes *old = NULL;
    service_prefix_from_name(name, &prefix);
    bool changed = routes_update(routes, registry, topology, paths, &prefix,
                                 &old);
    service_routes_destroy(old);
    return changed;
}

static const struct route *
at(uint64_t dpid, const char *name, int protocol)
{
    struct service_prefix prefix;
    service_prefix_from_name(name, &prefix);
    const struct service_routes *service = routes_of(routes, &prefix);
    return service ? route_at(service, dpid, protocol, false) : NULL;
}

static uint32_t
share(const struct route *route, int i)
{
    struct endpoint_id id = build_endpoint_id(i);
    uint32_t key = registry_endpoint(registry, &id)->identity_v4, sum = 0;
    for (size_t t = 0; t < route->tiling.n; t++) {
        if (route->tiling.tiles[t].key == key) {
            sum += TILES_MAX >> route->tiling.tiles[t].bits;
        }
    }
    return sum;
}

static void
test_spread(void)
{
    start(ROUTE_SPREAD);
    for (int i = 1; i <= 4; i++) {
        session(i);
    }
    attach(1, 1);
    attach(2, 2);
    attach(3, 3);
    serve(1, "web", 6, 80, 1);
    serve(2, "web", 6, 80, 1);
    serve(3, "web", 6, 80, 2);
    serve(4, "web", 6, 80, 9); /* Not attached. */
    CU_ASSERT(update("web"));
    CU_ASSERT(!update("web"));

    const struct route *route = at(1, "web", 6);
    CU_ASSERT_PTR_NOT_NULL_FATAL(route);
    CU_ASSERT_PTR_EQUAL(route, at(3, "web", 6));
    CU_ASSERT_PTR_NULL(at(4, "web", 6));
    CU_ASSERT_PTR_NULL(at(1, "web", 17));
    CU_ASSERT_EQUAL(route->n_targets, 3);
    CU_ASSERT_EQUAL(route->tiling.n, 3);
    CU_ASSERT_EQUAL(share(route, 3), TILES_MAX / 2);

    /* Drained: no share any more. */
    serve(3, "web", 6, 80, 0);
    CU_ASSERT(update("web"));
    CU_ASSERT_EQUAL(share(at(1, "web", 6), 1), TILES_MAX / 2);
    CU_ASSERT_EQUAL(share(at(1, "web", 6), 3), 0);

    /* Host 2's port goes down: 1 has all.  Then 1's does: nobody. */
    build_port(topology, 2, 12, false);
    CU_ASSERT(update("web"));
    CU_ASSERT_EQUAL(at(1, "web", 6)->tiling.n, 1);
    build_port(topology, 1, 11, false);
    CU_ASSERT(update("web"));
    CU_ASSERT_PTR_NULL(at(1, "web", 6));
    CU_ASSERT(!update("web"));
    CU_ASSERT(!update("unknown"));
    stop();
}

/* Several ports of one endpoint are one instance; protocols are apart. */
static void
test_protocols(void)
{
    start(ROUTE_SPREAD);
    session(1);
    session(2);
    attach(1, 1);
    attach(2, 2);
    serve(1, "dns", 6, 53, 1);
    serve(1, "dns", 6, 853, 3);
    serve(1, "dns", 17, 53, 1);
    serve(2, "dns", 6, 53, 1);
    CU_ASSERT(update("dns"));
    CU_ASSERT_EQUAL(at(1, "dns", 6)->n_targets, 2);
    CU_ASSERT_EQUAL(share(at(1, "dns", 6), 1), TILES_MAX / 4 * 3);
    CU_ASSERT_EQUAL(at(1, "dns", 17)->n_targets, 1);
    stop();
}

static void
test_nearest(void)
{
    start(ROUTE_NEAREST);
    for (int i = 1; i <= 3; i++) {
        session(i);
        serve(i, "web", 6, 80, 1);
    }
    attach(1, 1);
    attach(2, 3);
    attach(3, 3);
    CU_ASSERT(update("web"));
    CU_ASSERT_EQUAL(at(1, "web", 6)->n_targets, 1);
    CU_ASSERT_EQUAL(at(2, "web", 6)->n_targets, 3);
    CU_ASSERT_EQUAL(at(3, "web", 6)->n_targets, 2);
    stop();
}

/* Each side of a partition uses what it can reach. */
static void
test_partition(void)
{
    start(ROUTE_SPREAD);
    for (int i = 1; i <= 2; i++) {
        session(i);
        serve(i, "web", 6, 80, 1);
    }
    attach(1, 1);
    attach(2, 3);
    CU_ASSERT(update("web"));
    const struct route *whole = at(1, "web", 6);
    CU_ASSERT_PTR_EQUAL(whole, at(3, "web", 6));
    struct tile before = whole->tiling.tiles[0];

    build_port(topology, 2, 2, false);
    paths_destroy(paths);
    paths = paths_compute(topology, NULL);
    CU_ASSERT(update("web"));
    CU_ASSERT_EQUAL(share(at(1, "web", 6), 1), TILES_MAX);
    CU_ASSERT_PTR_EQUAL(at(1, "web", 6), at(2, "web", 6));
    CU_ASSERT_EQUAL(share(at(3, "web", 6), 2), TILES_MAX);

    build_port(topology, 2, 2, true);
    build_link(topology, 2, 2, 3, 1);
    paths_destroy(paths);
    paths = paths_compute(topology, NULL);
    CU_ASSERT(update("web"));
    CU_ASSERT_PTR_EQUAL(at(1, "web", 6), at(3, "web", 6));
    CU_ASSERT_EQUAL(share(at(1, "web", 6), 1), TILES_MAX / 2);
    CU_ASSERT_EQUAL(at(1, "web", 6)->tiling.tiles[0].bits, before.bits);
    stop();
}

/* After a restart the tiles are where they were, whatever their history. */
static void
test_memory(void)
{
    struct service_prefix prefix;
    struct tile tiles[64];
    size_t n = 0;

    service_prefix_from_name("web", &prefix);
    for (int round = 0; round < 2; round++) {
        start(ROUTE_SPREAD);
        for (int i = 1; i <= 5; i++) {
            session(i);
            attach(i, 1 + i % 3);
            if (!round) {
                serve(i, "web", 6, 80, i);
                update("web"); /* One by one: history. */
            }
        }
        if (round) {
            const struct route_memory memory = {
                .dpid = 2, .prefix = prefix, .protocol = 6,
                .tiling = {tiles, n}};
            routes_remember(routes, &memory);
            for (int i = 1; i <= 5; i++) {
                serve(i, "web", 6, 80, i);
            }
            CU_ASSERT(update("web"));
            const struct tiling *tiling = &at(1, "web", 6)->tiling;
            CU_ASSERT_EQUAL_FATAL(tiling->n, n);
            for (size_t i = 0; i < n; i++) {
                CU_ASSERT_EQUAL(tiling->tiles[i].value, tiles[i].value);
                CU_ASSERT_EQUAL(tiling->tiles[i].key, tiles[i].key);
            }
        } else {
            n = at(1, "web", 6)->tiling.n;
            CU_ASSERT_FATAL(n > 5 && n <= 64);
            memcpy(tiles, at(1, "web", 6)->tiling.tiles, n * sizeof *tiles);
        }
        stop();
    }
}

static void
test_show(void)
{
    start(ROUTE_SPREAD);
    session(1);
    attach(1, 2);
    serve(1, "web", 6, 80, 3);
    CU_ASSERT(update("web"));
    struct ds s = DS_EMPTY_INITIALIZER;
    routes_format(routes, &s);
    CU_ASSERT_PTR_NOT_NULL(strstr(ds_cstr(&s),
        "    protocol 6 over IPv4 at 0000000000000001 0000000000000002 "
        "0000000000000003, 1 tiles\n"
        "        10.0.0.1 at 0000000000000002 port 11 weight 3: 100.0 % "
        "in 1 tiles\n"));
    ds_destroy(&s);
    struct json *json = routes_to_json(routes);
    char *text = json_to_string(json, JSSF_SORT);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"share_permille\":1000"));
    free(text);
    json_destroy(json);
    stop();
}

/* Random registrations and moves: shares against a naive count. */
enum { HOSTS = 8 };

static void
check_route(const struct route *route, const int weights[HOSTS])
{
    double sum = 0;
    for (int i = 0; i < HOSTS; i++) {
        sum += weights[i];
    }
    CU_ASSERT_EQUAL(!route, sum == 0);
    for (int i = 0; route && i < HOSTS; i++) {
        double ideal = weights[i] / sum * TILES_MAX;
        double error = share(route, i) - ideal;
        CU_ASSERT((error < 0 ? -error : error)
                  <= ideal * TILES_TOLERANCE_DEFAULT / 1000 + 1);
    }
}

static void
test_random(void)
{
    enum route_policy policy = ROUTE_SPREAD;
    int weights[HOSTS] = {0}, home[HOSTS] = {0};

    for (int step = 0; step < 4000; step++) {
        if (step % 1000 == 0) {
            if (step) {
                stop();
            }
            policy = step % 2000 ? ROUTE_NEAREST : ROUTE_SPREAD;
            start(policy);
            for (int i = 0; i < HOSTS; i++) {
                session(i);
                weights[i] = home[i] = 0;
            }
        }
        int i = unit_random_below(HOSTS);
        if (unit_random_below(2)) {
            weights[i] = unit_random_below(6);
            serve(i, "web", 6, 80, weights[i]);
        } else {
            int to = unit_random_below(4);
            struct in6_addr locator = locator_from_v4(0x0a000000 + i);
            topology_detach(topology, &locator);
            if (to) {
                attach(i, to);
            }
            home[i] = to;
        }
        update("web");
        for (int from = 1; from <= 3; from++) {
            int expected[HOSTS], least = 9;
            for (int h = 0; h < HOSTS; h++) {
                if (weights[h] && home[h] && abs(home[h] - from) < least) {
                    least = abs(home[h] - from);
                }
            }
            for (int h = 0; h < HOSTS; h++) {
                bool counts = home[h] && (policy == ROUTE_SPREAD
                                          || abs(home[h] - from) == least);
                expected[h] = counts ? weights[h] : 0;
            }
            check_route(at(from, "web", 6), expected);
        }
    }
    stop();
}

/* The switches' zones are those of most hosts there; who is not local gets
 * nothing until the local ones are full. */
static void
test_local_first(void)
{
    static const char *const zones[] = {"", "east", "west", "east"};
    const struct service_definition definition = {.policy
                                                  = ROUTE_LOCAL_FIRST};
    start(ROUTE_SPREAD);
    registry_define(registry, "web", &definition);
    for (int i = 1; i <= 3; i++) {
        struct endpoint_id id = build_endpoint_id(i);
        session(i);
        attach(i, i);
        registry_set_zone(registry, &id, zones[i]);
        serve(i, "web", 6, 80, 4);
    }
    struct zones *computed = zones_compute(registry, topology, paths);
    CU_ASSERT_STRING_EQUAL(zones_of(computed, 0), "east");
    CU_ASSERT_STRING_EQUAL(zones_of(computed, 1), "west");
    routes_set_zones(routes, computed);
    CU_ASSERT(update("web"));
    CU_ASSERT_EQUAL(share(at(1, "web", 6), 1), TILES_MAX / 2);
    CU_ASSERT_EQUAL(share(at(1, "web", 6), 2), 0);
    CU_ASSERT_EQUAL(share(at(2, "web", 6), 2), TILES_MAX);
    CU_ASSERT_EQUAL(at(1, "web", 6), at(3, "web", 6));

    /* Of west's load of 4, 1 stays. */
    struct registry_key key = key_of(2, "web", 6, 80);
    registry_register(registry, &key, "web",
        &(struct registry_offer) {.weight = 4, .capacity = 1}, NULL);
    CU_ASSERT(update("web"));
    CU_ASSERT_EQUAL(share(at(2, "web", 6), 2), TILES_MAX / 4);
    CU_ASSERT_EQUAL(share(at(2, "web", 6), 1),
                    share(at(2, "web", 6), 3));
    routes_set_zones(routes, NULL);
    zones_destroy(computed);
    stop();
}

/* Nearest by cost is another one than nearest by latency. */
static void
test_nearest_latency(void)
{
    const struct path_classes classes = {.latency = true};
    struct service_definition definition = {.policy = ROUTE_NEAREST};
    start(ROUTE_SPREAD);
    session(1);
    session(3);
    attach(1, 1);
    attach(3, 3);
    serve(1, "web", 6, 80, 1);
    serve(3, "web", 6, 80, 1);
    struct topology_end slow = {2, 1}, fast = {2, 2};
    topology_link_set_latency(topology, &slow, 20000);
    topology_link_set_latency(topology, &fast, 500);
    topology_link_set_cost(topology, &fast, 5);
    paths_destroy(paths);
    paths = paths_compute(topology, &classes);
    registry_define(registry, "web", &definition);
    CU_ASSERT(update("web"));
    CU_ASSERT_EQUAL(share(at(2, "web", 6), 1), TILES_MAX);
    definition.policy = ROUTE_NEAREST_LATENCY;
    registry_define(registry, "web", &definition);
    CU_ASSERT(update("web"));
    CU_ASSERT_EQUAL(share(at(2, "web", 6), 3), TILES_MAX);
    stop();
}

UNIT_MAIN("routes", UNIT_TEST(test_nearest_latency),
          UNIT_TEST(test_local_first), UNIT_TEST(test_spread),
          UNIT_TEST(test_protocols), UNIT_TEST(test_nearest),
          UNIT_TEST(test_partition), UNIT_TEST(test_memory),
          UNIT_TEST(test_show), UNIT_TEST(test_random))
