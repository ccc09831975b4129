/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "agents/desired.h"

#include <arpa/inet.h>

static const uint8_t endpoint_id[SAL_ENDPOINT_ID_LEN] = {1, 2, 3};
static const struct session_welcome welcome = {
    .identity_v4 = 0x64400001, .resolver_v4 = 0x0afffffe, .sal_port = 6090};

static struct local_service
service(const char *name, uint16_t port, uint16_t target)
{
    struct local_service s = {.name = (char *) name,
                              .protocol = 6,
                              .service_port = port,
                              .target_port = target,
                              .weight = 1};
    CU_ASSERT_EQUAL_FATAL(service_prefix_from_name(name, &s.prefix), 0);
    return s;
}

static void
put_name(struct names *names, const char *name, uint32_t address)
{
    struct service_prefix prefix;
    CU_ASSERT_EQUAL_FATAL(service_prefix_from_name(name, &prefix), 0);
    names_put(names, name, &prefix, address);
}

static void
want(struct registrations *registrations, const char *name, uint16_t port,
     uint16_t target)
{
    struct local_service s = service(name, port, target);
    registrations_want(registrations, &s, false);
}

static struct desired_input
input_of(const struct names *names, const struct registrations *registrations)
{
    return (struct desired_input) {.welcome = &welcome,
                                   .endpoint_id = endpoint_id,
                                   .names = names,
                                   .registrations = registrations,
                                   .default_action = SERVICE_FORWARD};
}

/* Action of the rule that a lookup of 'name' would find. */
static enum service_action
action_of(const struct host_tables *tables, const char *name)
{
    const struct service_rule *best = NULL;
    struct service_prefix prefix;
    service_prefix_from_name(name, &prefix);
    for (size_t i = 0; i < tables->n_rules; i++) {
        const struct service_rule *rule = &tables->rules[i];
        if (service_prefix_contains_id(&rule->prefix, &prefix.id)
            && (!best || rule->prefix.len > best->prefix.len)) {
            best = rule;
        }
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(best);
    return best->action;
}

static void
test_compute(void)
{
    struct names names;
    struct registrations registrations;
    struct host_tables tables;
    names_init(&names);
    registrations_init(&registrations);
    put_name(&names, "web.shop.acme", 1);
    put_name(&names, "db.shop.acme", 2);
    put_name(&names, "nothing.acme", 0);
    want(&registrations, "web.shop.acme", 80, 8080);
    want(&registrations, "web.shop.acme", 443, 8443);

    const struct desired_input input = input_of(&names, &registrations);
    desired_compute(&input, &tables);
    CU_ASSERT_EQUAL(tables.settings.identity_v4, welcome.identity_v4);
    CU_ASSERT_EQUAL(tables.settings.resolver_v4, welcome.resolver_v4);
    CU_ASSERT_EQUAL(tables.settings.sal_port, 6090);
    CU_ASSERT_EQUAL(memcmp(tables.settings.endpoint_id, endpoint_id,
                           sizeof endpoint_id), 0);
    CU_ASSERT_EQUAL(tables.n_addresses, 2); /* Not the one without. */
    CU_ASSERT_EQUAL(tables.n_targets, 2);
    CU_ASSERT_EQUAL(tables.targets[0].port, 8080);
    CU_ASSERT_EQUAL(tables.targets[1].port, 8443);
    CU_ASSERT_EQUAL(action_of(&tables, "web.shop.acme"), SERVICE_DEMUX);
    CU_ASSERT_EQUAL(action_of(&tables, "db.shop.acme"), SERVICE_FORWARD);
    CU_ASSERT_EQUAL(action_of(&tables, "who.knows"), SERVICE_FORWARD);
    host_tables_destroy(&tables);

    /* Unregistered, but not yet confirmed: still served. */
    struct local_service gone = service("web.shop.acme", 80, 8080);
    registrations_unwant(&registrations, &gone);
    desired_compute(&input, &tables);
    CU_ASSERT_EQUAL(tables.n_targets, 2);
    host_tables_destroy(&tables);
    names_destroy(&names);
    registrations_destroy(&registrations);
}

/* We serve all below shop.acme that has nothing more specific. */
static void
test_catch_all(void)
{
    struct names names;
    struct registrations registrations;
    struct host_tables tables;
    names_init(&names);
    registrations_init(&registrations);
    put_name(&names, "shop.acme", 1);
    put_name(&names, "web.shop.acme", 2);
    put_name(&names, "web.other.acme", 3);
    want(&registrations, "shop.acme", 80, 80);

    const struct desired_input input = input_of(&names, &registrations);
    desired_compute(&input, &tables);
    CU_ASSERT_EQUAL(action_of(&tables, "shop.acme"), SERVICE_DEMUX);
    CU_ASSERT_EQUAL(action_of(&tables, "cart.shop.acme"), SERVICE_DEMUX);
    CU_ASSERT_EQUAL(action_of(&tables, "web.shop.acme"), SERVICE_FORWARD);
    CU_ASSERT_EQUAL(action_of(&tables, "7.web.shop.acme"), SERVICE_FORWARD);
    CU_ASSERT_EQUAL(action_of(&tables, "web.other.acme"), SERVICE_FORWARD);
    CU_ASSERT_EQUAL(tables.n_rules, 3); /* No more than needed. */
    host_tables_destroy(&tables);
    names_destroy(&names);
    registrations_destroy(&registrations);
}

/* What a predecessor left, known without its target, harms nothing. */
static void
test_no_target(void)
{
    struct names names;
    struct registrations registrations;
    struct host_tables tables;
    struct local_service old = service("old.acme", 80, 0);
    names_init(&names);
    registrations_init(&registrations);
    registrations_unwant(&registrations, &old);

    const struct desired_input input = input_of(&names, &registrations);
    desired_compute(&input, &tables);
    CU_ASSERT_EQUAL(tables.n_targets, 0);
    CU_ASSERT_EQUAL(tables.n_rules, 1);
    host_tables_destroy(&tables);
    names_destroy(&names);
    registrations_destroy(&registrations);
}

/* Against the definition: the longest prefix of ours and of known services
 * decides, ours at equal length. */
static void
test_random(void)
{
    enum { N = 60 };
    static const char *const labels[] = {"a", "b", "c"};
    for (int round = 0; round < 200; round++) {
        char name[N][SERVICE_NAME_MAX];
        struct service_prefix prefix[N];
        bool known[N], own[N];
        struct names names;
        struct registrations registrations;
        struct host_tables tables;
        names_init(&names);
        registrations_init(&registrations);
        for (size_t i = 0; i < N; i++) {
            name[i][0] = '\0';
            for (uint32_t n = 1 + unit_random_below(5); n; n--) {
                strcat(name[i], labels[unit_random_below(3)]);
                strcat(name[i], n > 1 ? "." : "");
            }
            service_prefix_from_name(name[i], &prefix[i]);
            known[i] = unit_random_below(3) == 0;
            own[i] = unit_random_below(6) == 0;
            if (known[i]) {
                put_name(&names, name[i], 1000 * (round + 1) + i);
            }
            if (own[i]) {
                want(&registrations, name[i], 80, 80);
            }
        }
        const struct desired_input input = input_of(&names, &registrations);
        desired_compute(&input, &tables);
        for (size_t i = 0; i < N; i++) {
            int own_len = -1, known_len = -1;
            for (size_t j = 0; j < N; j++) {
                if (service_prefix_contains_id(&prefix[j], &prefix[i].id)) {
                    int len = prefix[j].len;
                    own_len = own[j] && len > own_len ? len : own_len;
                    known_len = known[j] && len > known_len ? len : known_len;
                }
            }
            CU_ASSERT_EQUAL_FATAL(action_of(&tables, name[i]),
                                  own_len >= 0 && own_len >= known_len
                                      ? SERVICE_DEMUX
                                      : SERVICE_FORWARD);
        }
        host_tables_destroy(&tables);
        names_destroy(&names);
        registrations_destroy(&registrations);
    }
}

/* With the prefixes of Welcome each service has an IPv6 address, too. */
static void
test_ipv6(void)
{
    struct session_welcome v6 = welcome;
    struct names names;
    struct registrations registrations;
    struct leases leases;
    struct host_tables tables;
    struct service_prefix prefix;
    uint32_t gone;
    bool new;
    names_init(&names);
    registrations_init(&registrations);
    leases_init(&leases, 0xf0000000, 20);
    put_name(&names, "web.shop.acme", 1);
    put_name(&names, "nothing.acme", 0);
    service_prefix_from_name("7.web.shop.acme", &prefix);
    leases_get(&leases, &prefix.id, "7.web.shop.acme", 0, &new, &gone);
    inet_pton(AF_INET6, "fd01:2:3::", &v6.identity_prefix_v6);
    inet_pton(AF_INET6, "fd04:5:6::", &v6.service_prefix_v6);
    inet_pton(AF_INET6, "2001:db8::1", &v6.resolver_v6);

    struct desired_input input = input_of(&names, &registrations);
    input.welcome = &v6;
    input.leases = &leases;
    input.prefer_v6 = true;
    desired_compute(&input, &tables);
    CU_ASSERT_EQUAL(memcmp(&tables.settings.resolver_v6, &v6.resolver_v6,
                           16), 0);
    CU_ASSERT_TRUE(tables.settings.prefer_v6);
    struct in6_addr want;
    inet_pton(AF_INET6, "fd01:2:3:102:300::", &want);
    CU_ASSERT_EQUAL(memcmp(&tables.settings.identity_v6, &want, 16), 0);

    /* One of each kind for web and the lease, IPv6 for what has no IPv4. */
    CU_ASSERT_EQUAL(tables.n_addresses, 5);
    struct in6_addr shard = desired_service_v6(&v6, &prefix);
    CU_ASSERT_EQUAL(memcmp(&shard, &v6.service_prefix_v6, 6), 0);
    bool found = false;
    for (size_t i = 0; i < tables.n_addresses; i++) {
        found |= !memcmp(&tables.addresses[i].address, &shard, 16)
                 && !memcmp(&tables.addresses[i].id, &prefix.id,
                            sizeof prefix.id);
    }
    CU_ASSERT_TRUE(found);
    host_tables_destroy(&tables);
    leases_destroy(&leases);
    names_destroy(&names);
    registrations_destroy(&registrations);
}

/* Each prefix's last word counts; our own services' count more than any. */
static void
test_routes(void)
{
    struct names names;
    struct registrations registrations;
    struct host_tables tables;
    struct service_routes first, second;
    struct route_hop hops[2];
    struct service_route route = {.name = "", .action = SERVICE_FORWARD,
                                  .hops = hops, .n_hops = 2,
                                  .path_class = 3, .datagram = true,
                                  .expires_ms = INT64_MAX};

    names_init(&names);
    registrations_init(&registrations);
    service_routes_init(&first);
    service_routes_init(&second);
    CU_ASSERT_PTR_NULL(route_hop_parse("10.0.0.2", &hops[0]));
    CU_ASSERT_PTR_NULL(route_hop_parse("2001:db8::1,7", &hops[1]));
    service_prefix_from_name("db.shop.acme", &route.prefix);
    CU_ASSERT_TRUE(service_routes_put(&first, &route));
    CU_ASSERT_FALSE(service_routes_put(&first, &route));
    service_prefix_from_name("web.shop.acme", &route.prefix);
    service_routes_put(&first, &route);
    service_prefix_from_name("own.shop.acme", &route.prefix);
    service_routes_put(&first, &route);
    service_prefix_from_name("asked.shop.acme", &route.prefix);
    service_routes_put(&first, &route);
    route.n_hops = 0;
    route.action = SERVICE_DELAY;
    service_routes_put(&second, &route);
    route.action = SERVICE_REJECT;
    service_prefix_from_name("web.shop.acme", &route.prefix);
    service_routes_put(&second, &route);
    want(&registrations, "own.shop.acme", 80, 8080);

    struct desired_input input = {
        .welcome = &welcome,
        .endpoint_id = endpoint_id,
        .names = &names,
        .registrations = &registrations,
        .routes = {&first, &second},
        .n_routes = 2,
        .default_action = SERVICE_DELAY,
        .router = true,
    };
    desired_compute(&input, &tables);
    CU_ASSERT_TRUE(tables.settings.router);
    CU_ASSERT_EQUAL(action_of(&tables, "db.shop.acme"), SERVICE_FORWARD);
    CU_ASSERT_EQUAL(action_of(&tables, "web.shop.acme"), SERVICE_REJECT);
    CU_ASSERT_EQUAL(action_of(&tables, "own.shop.acme"), SERVICE_DEMUX);
    CU_ASSERT_EQUAL(action_of(&tables, "who.knows"), SERVICE_DELAY);
    CU_ASSERT_EQUAL(action_of(&tables, "asked.shop.acme"), SERVICE_DELAY);
    service_prefix_from_name("db.shop.acme", &route.prefix);
    size_t n = 0;
    for (size_t i = 0; i < tables.n_hops; i++) {
        n += service_prefix_equal(&tables.hops[i].prefix, &route.prefix);
    }
    CU_ASSERT_EQUAL(n, 2);
    host_tables_destroy(&tables);

    /* Answers overrule DELAY, and nothing else. */
    input.answers = &first;
    desired_compute(&input, &tables);
    CU_ASSERT_EQUAL(action_of(&tables, "asked.shop.acme"), SERVICE_FORWARD);
    CU_ASSERT_EQUAL(action_of(&tables, "web.shop.acme"), SERVICE_REJECT);
    host_tables_destroy(&tables);
    service_routes_destroy(&first);
    service_routes_destroy(&second);
    names_destroy(&names);
    registrations_destroy(&registrations);
}

static void
test_route_hops(void)
{
    static const char *const bad[] = {"", "10.0.0", "10.0.0.2,", "10.0.0.2,0",
                                      "10.0.0.2,65536", "10.0.0.2,x", "host",
                                      "10.0.0.2,1,2", "::g"};
    static const char *const good[] = {"10.0.0.2", "10.0.0.2,65535",
                                       "2001:db8::1", "2001:db8::1,2"};
    struct route_hop hop;
    char text[ROUTE_HOP_STRLEN];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CU_ASSERT_PTR_NOT_NULL(route_hop_parse(bad[i], &hop));
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CU_ASSERT_PTR_NULL(route_hop_parse(good[i], &hop));
        CU_ASSERT_STRING_EQUAL(route_hop_format(&hop, text), good[i]);
    }
}

UNIT_MAIN("desired", UNIT_TEST(test_routes), UNIT_TEST(test_route_hops),
          UNIT_TEST(test_compute), UNIT_TEST(test_ipv6),
          UNIT_TEST(test_catch_all), UNIT_TEST(test_no_target),
          UNIT_TEST(test_random))
