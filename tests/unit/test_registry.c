/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <limits.h>
#include "controller/addresses.h"
#include "controller/registry.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"

#define LEASE 1000

static struct address_pool *identities, *services;
static struct registry *registry;

static void
start(void)
{
    identities = address_pool_create(ADDRESS_IDENTITY_NETWORK, 10);
    services = address_pool_create(ADDRESS_SERVICE_NETWORK, 15);
    registry = registry_create(identities, services);
}

static void
stop(void)
{
    registry_destroy(registry);
    address_pool_destroy(identities);
    address_pool_destroy(services);
}

static struct endpoint_id
endpoint(int i)
{
    struct endpoint_id id = {{i, i >> 8, 'e', 'p'}};
    return id;
}

static uint64_t
begin(int i, long long int now)
{
    struct endpoint_id id = endpoint(i);
    uint64_t session = 0;
    CU_ASSERT_EQUAL_FATAL(registry_session_begin(registry, &id, "host", 0,
                                                 now + LEASE, &session), 0);
    return session;
}

static struct registry_key
key_of(int i, const char *name, int port)
{
    struct registry_key key;
    memset(&key, 0, sizeof key);
    key.endpoint = endpoint(i);
    CU_ASSERT_EQUAL_FATAL(service_prefix_from_name(name, &key.prefix), 0);
    key.port = port;
    key.protocol = 6;
    return key;
}

static int
serve(int i, const char *name, int port, int weight)
{
    struct registry_key key = key_of(i, name, port);
    return registry_register(registry, &key, name,
        &(struct registry_offer) {.weight = weight}, NULL);
}

static int
unserve(int i, const char *name, int port)
{
    struct registry_key key = key_of(i, name, port);
    return registry_unregister(registry, &key);
}

static const struct registry_service *
service(const char *name)
{
    struct service_prefix prefix;
    CU_ASSERT_EQUAL_FATAL(service_prefix_from_name(name, &prefix), 0);
    return registry_service(registry, &prefix);
}

/* Number of changes waiting; the flags of the first. */
static size_t
take(bool *exists, bool *names)
{
    struct registry_change *changes;
    size_t n = registry_take_changes(registry, &changes);
    if (n) {
        *exists = changes[0].exists;
        *names = changes[0].names_changed;
    }
    free(changes);
    return n;
}

static void
test_register(void)
{
    bool exists, names;

    start();
    CU_ASSERT_EQUAL(serve(1, "web.shop.acme", 80, 1), -ENOENT);
    begin(1, 0);
    CU_ASSERT_EQUAL(take(&exists, &names), 0);
    CU_ASSERT_EQUAL(serve(1, "web.shop.acme", 0, 1), -EINVAL);
    struct registry_key key = key_of(1, "web.shop.acme", 80);
    CU_ASSERT_EQUAL(registry_register(registry, &key, "x.shop.acme",
        &(struct registry_offer) {.weight = 1}, NULL),
                    -EINVAL);
    CU_ASSERT_EQUAL(hmap_count(registry_services(registry)), 0);

    CU_ASSERT_EQUAL(serve(1, "web.shop.acme", 80, 3), 0);
    CU_ASSERT_EQUAL(take(&exists, &names), 1);
    CU_ASSERT(exists && names);
    CU_ASSERT_STRING_EQUAL(service("web.shop.acme")->name, "web.shop.acme");
    CU_ASSERT(address_pool_contains(services,
                                    service("web.shop.acme")->service_v4));
    CU_ASSERT_EQUAL(registry_instance(registry, &key)->offer.weight, 3);

    /* The same again is no change; another weight is, but not of names. */
    CU_ASSERT_EQUAL(serve(1, "web.shop.acme", 80, 3), 0);
    CU_ASSERT_EQUAL(take(&exists, &names), 0);
    CU_ASSERT_EQUAL(serve(1, "web.shop.acme", 80, 0), 0);
    CU_ASSERT_EQUAL(take(&exists, &names), 1);
    CU_ASSERT(exists && !names);
    CU_ASSERT_EQUAL(registry_n_instances(registry), 1);

    CU_ASSERT_EQUAL(unserve(1, "web.shop.acme", 81), -ENOENT);
    CU_ASSERT_EQUAL(unserve(1, "web.shop.acme", 80), 0);
    CU_ASSERT_EQUAL(take(&exists, &names), 1);
    CU_ASSERT(!exists && names);
    CU_ASSERT_PTR_NULL(service("web.shop.acme"));
    CU_ASSERT_EQUAL(address_pool_used(services), 0);
    stop();
}

/* A prefix gets its name from whoever first registers it by name. */
static void
test_register_by_prefix(void)
{
    start();
    begin(1, 0);
    struct registry_key key = key_of(1, "web.shop.acme", 80);
    const struct registry_service *s;
    CU_ASSERT_EQUAL(registry_register(registry, &key, NULL,
        &(struct registry_offer) {.weight = 1}, &s), 0);
    CU_ASSERT_PTR_NULL(s->name);
    uint32_t address = s->service_v4;
    CU_ASSERT_EQUAL(serve(1, "web.shop.acme", 81, 1), 0);
    CU_ASSERT_STRING_EQUAL(s->name, "web.shop.acme");
    CU_ASSERT_EQUAL(s->service_v4, address);
    CU_ASSERT_EQUAL(s->n_instances, 2);
    stop();
}

/* An agent restarts: nothing is withdrawn unless it stays away. */
static void
test_lease(void)
{
    bool exists, names;
    struct endpoint_id id = endpoint(1);

    start();
    CU_ASSERT_EQUAL(registry_run(registry, 0), LLONG_MAX);
    uint64_t first = begin(1, 0);
    begin(2, 500);
    CU_ASSERT_EQUAL(serve(1, "web.shop.acme", 80, 1), 0);
    CU_ASSERT_EQUAL(take(&exists, &names), 1);
    registry_session_end(registry, &id, first);
    CU_ASSERT_EQUAL(registry_endpoint(registry, &id)->state, REGISTRY_AWAY);
    CU_ASSERT_EQUAL(registry_run(registry, 999), 1000);

    /* It is back, and the end of its old session arrives late. */
    uint64_t second = begin(1, 999);
    CU_ASSERT(second > first);
    registry_session_end(registry, &id, first);
    CU_ASSERT_EQUAL(registry_endpoint(registry, &id)->state,
                    REGISTRY_CONNECTED);
    CU_ASSERT_EQUAL(registry_run(registry, 1000), 1500);
    CU_ASSERT_EQUAL(take(&exists, &names), 0);

    CU_ASSERT_EQUAL(registry_renew(registry, &id, 3000), 0);
    CU_ASSERT_EQUAL(registry_run(registry, 2999), 3000);
    CU_ASSERT_EQUAL(registry_n_instances(registry), 1);
    CU_ASSERT_EQUAL(registry_run(registry, 3000), LLONG_MAX);
    CU_ASSERT_EQUAL(registry_n_instances(registry), 0);
    CU_ASSERT_EQUAL(registry_renew(registry, &id, 4000), -ENOENT);
    CU_ASSERT_EQUAL(address_pool_used(identities), 0);

    /* The service is still known: clients are refused, not told NXDOMAIN. */
    CU_ASSERT_EQUAL(take(&exists, &names), 1);
    CU_ASSERT(exists && names); /* It has no ports any more. */
    CU_ASSERT_PTR_NOT_NULL_FATAL(service("web.shop.acme"));
    CU_ASSERT_EQUAL(service("web.shop.acme")->n_instances, 0);
    stop();
}

static void
test_define(void)
{
    bool exists, names;

    start();
    CU_ASSERT_EQUAL(registry_define(registry, "Web", NULL), -EINVAL);
    CU_ASSERT_EQUAL(registry_define(registry, "web.shop.acme", NULL), 0);
    CU_ASSERT_EQUAL(take(&exists, &names), 1);
    CU_ASSERT(exists && names);
    begin(1, 0);
    CU_ASSERT_EQUAL(serve(1, "web.shop.acme", 80, 1), 0);
    CU_ASSERT_EQUAL(unserve(1, "web.shop.acme", 80), 0);
    CU_ASSERT_PTR_NOT_NULL(service("web.shop.acme"));
    CU_ASSERT_EQUAL(registry_undefine(registry, "web.shop.acme"), 0);
    CU_ASSERT_PTR_NULL(service("web.shop.acme"));
    CU_ASSERT_EQUAL(registry_undefine(registry, "web.shop.acme"), -ENOENT);
    stop();
}

static void
test_remove_endpoint(void)
{
    struct endpoint_id id = endpoint(1);

    start();
    begin(1, 0);
    begin(2, 0);
    CU_ASSERT_EQUAL(serve(1, "a.acme", 80, 1), 0);
    CU_ASSERT_EQUAL(serve(1, "b.acme", 80, 1), 0);
    CU_ASSERT_EQUAL(serve(2, "b.acme", 80, 1), 0);
    registry_remove_endpoint(registry, &id);
    CU_ASSERT_PTR_NULL(service("a.acme"));
    CU_ASSERT_EQUAL(service("b.acme")->n_instances, 1);
    CU_ASSERT_PTR_NULL(registry_endpoint(registry, &id));
    registry_remove_endpoint(registry, &id);
    stop();
}

static void
test_names_of_endpoints(void)
{
    struct endpoint_id id = endpoint(1);
    uint64_t session;
    char name[80];

    start();
    memset(name, 'n', sizeof name);
    name[63] = '\0';
    CU_ASSERT_EQUAL(registry_session_begin(registry, &id, name, 0, 1,
                                           &session), 0);
    name[63] = 'n';
    name[64] = '\0';
    CU_ASSERT_EQUAL(registry_session_begin(registry, &id, name, 0, 1,
                                           &session), -EINVAL);
    CU_ASSERT_EQUAL(registry_session_begin(registry, &id, "", 0, 1, &session),
                    -EINVAL);
    stop();
}

static void
test_show(void)
{
    start();
    begin(1, 0);
    CU_ASSERT_EQUAL(serve(1, "web.shop.acme", 80, 0), 0);
    struct ds s = DS_EMPTY_INITIALIZER;
    registry_format(registry, 10, &s);
    CU_ASSERT_PTR_NOT_NULL(strstr(ds_cstr(&s), "web.shop.acme 198.1"));
    CU_ASSERT_PTR_NOT_NULL(strstr(ds_cstr(&s),
                                  "port 80 weight 0 (draining)"));
    CU_ASSERT_PTR_NOT_NULL(strstr(ds_cstr(&s), "lease ends in 990 ms"));
    ds_destroy(&s);

    struct json *json = registry_to_json(registry, 10);
    char *text = json_to_string(json, JSSF_SORT);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"port\":80"));
    free(text);
    json_destroy(json);
    stop();
}

/* Random steps against arrays. */
enum { ENDPOINTS = 8, SERVICES = 6, PORTS = 2 };
struct model {
    long long int deadline[ENDPOINTS];          /* 0 = unknown. */
    int weight[ENDPOINTS][SERVICES][PORTS];     /* -1 = none. */
    bool known[SERVICES];
};

static const char *const names[SERVICES] = {
    "acme", "shop.acme", "web.shop.acme", "a.web.shop.acme", "b.acme", "x"};

static bool
model_served(const struct model *m, int s)
{
    for (int e = 0; e < ENDPOINTS; e++) {
        for (int p = 0; p < PORTS; p++) {
            if (m->weight[e][s][p] >= 0) {
                return true;
            }
        }
    }
    return false;
}

static void
model_withdraw(struct model *m, int e, bool wish)
{
    for (int s = 0; s < SERVICES; s++) {
        bool had = false;
        for (int p = 0; p < PORTS; p++) {
            had |= m->weight[e][s][p] >= 0;
            m->weight[e][s][p] = -1;
        }
        if (had && wish && !model_served(m, s)) {
            m->known[s] = false;
        }
    }
    m->deadline[e] = 0;
}

static void
model_compare(const struct model *m)
{
    for (int e = 0; e < ENDPOINTS; e++) {
        struct endpoint_id id = endpoint(e);
        CU_ASSERT_EQUAL(!!registry_endpoint(registry, &id), !!m->deadline[e]);
        for (int s = 0; s < SERVICES; s++) {
            for (int p = 0; p < PORTS; p++) {
                struct registry_key key = key_of(e, names[s], p + 1);
                const struct registry_instance *i
                    = registry_instance(registry, &key);
                CU_ASSERT_EQUAL(i ? i->offer.weight : -1, m->weight[e][s][p]);
            }
        }
    }
    for (int s = 0; s < SERVICES; s++) {
        CU_ASSERT_EQUAL(!!service(names[s]), m->known[s]);
    }
}

static void
model_step(struct model *m, long long int now)
{
    int e = unit_random_below(ENDPOINTS), s = unit_random_below(SERVICES);
    int p = unit_random_below(PORTS), w = unit_random_below(4);
    struct endpoint_id id = endpoint(e);

    switch (unit_random_below(8)) {
    case 0:
        begin(e, now);
        m->deadline[e] = now + LEASE;
        break;
    case 1: {
        long long int deadline = now + 1 + unit_random_below(2 * LEASE);
        CU_ASSERT_EQUAL(registry_renew(registry, &id, deadline),
                        m->deadline[e] ? 0 : -ENOENT);
        if (m->deadline[e]) {
            m->deadline[e] = deadline;
        }
        break;
    }
    case 2:
        if (!unit_random_below(4)) {
            registry_remove_endpoint(registry, &id);
            model_withdraw(m, e, true);
        }
        break;
    case 3:
        CU_ASSERT_EQUAL(unserve(e, names[s], p + 1),
                        m->weight[e][s][p] < 0 ? -ENOENT : 0);
        if (m->weight[e][s][p] >= 0) {
            m->weight[e][s][p] = -1;
            m->known[s] = model_served(m, s);
        }
        break;
    default:
        CU_ASSERT_EQUAL(serve(e, names[s], p + 1, w),
                        m->deadline[e] ? 0 : -ENOENT);
        if (m->deadline[e]) {
            m->weight[e][s][p] = w;
            m->known[s] = true;
        }
        break;
    }
}

static void
test_random(void)
{
    struct model m;
    long long int now = 1;

    start();
    memset(&m, 0, sizeof m);
    memset(m.weight, 0xff, sizeof m.weight);
    for (int step = 0; step < 20000; step++) {
        now += unit_random_below(100);
        long long int next = registry_run(registry, now);
        long long int expected = LLONG_MAX;
        for (int e = 0; e < ENDPOINTS; e++) {
            if (m.deadline[e] && m.deadline[e] <= now) {
                model_withdraw(&m, e, false);
            } else if (m.deadline[e] && m.deadline[e] < expected) {
                expected = m.deadline[e];
            }
        }
        CU_ASSERT_EQUAL(next, expected);
        uint64_t generation = registry_generation(registry);
        model_step(&m, now);
        CU_ASSERT(registry_has_changes(registry)
                  || registry_generation(registry) == generation);
        if (!(step % 7)) {
            model_compare(&m);
        }
        if (!(step % 3)) {
            bool exists, changed;
            take(&exists, &changed);
        }
    }
    stop();
}

/* Two keys whose IDs agree in the 80 bits that the IPv6 identity address is
 * made of: the second is refused as long as the first is there. */
static void
test_identity_v6_collision(void)
{
    start();
    struct endpoint_id a = endpoint(1), b = a;
    uint64_t session;
    b.bytes[10] ^= 1;
    begin(1, 0);
    CU_ASSERT_EQUAL(registry_session_begin(registry, &b, "b", 0, LEASE,
                                           &session), -EADDRINUSE);
    CU_ASSERT_PTR_NULL(registry_endpoint(registry, &b));
    begin(1, 1); /* Itself is no collision. */
    registry_remove_endpoint(registry, &a);
    CU_ASSERT_EQUAL(registry_session_begin(registry, &b, "b", 0, LEASE,
                                           &session), 0);
    stop();
}

/* What configuration says of a service, and what endpoints say of
 * themselves. */
static void
test_definitions_and_zones(void)
{
    bool exists, names;
    start();
    struct service_definition definition = {ROUTE_FAILOVER, 3, true};
    struct endpoint_id id = endpoint(1);
    begin(1, 0);
    serve(1, "web.shop.acme", 80, 1);
    CU_ASSERT_EQUAL(take(&exists, &names), 1);
    CU_ASSERT_EQUAL(registry_define(registry, "web.shop.acme", &definition),
                    0);
    CU_ASSERT(take(&exists, &names) == 1 && names);
    CU_ASSERT_EQUAL(service("web.shop.acme")->definition.path_class, 3);
    CU_ASSERT_EQUAL(registry_define(registry, "web.shop.acme", &definition),
                    0);
    CU_ASSERT_EQUAL(take(&exists, &names), 0);
    CU_ASSERT_EQUAL(registry_undefine(registry, "web.shop.acme"), 0);
    CU_ASSERT(take(&exists, &names) == 1 && names);
    CU_ASSERT_EQUAL(service("web.shop.acme")->definition.policy,
                    ROUTE_DEFAULT);

    /* A zone changes what the endpoint serves. */
    uint64_t generation = registry_zones_generation(registry);
    registry_set_zone(registry, &id, "east");
    CU_ASSERT(registry_zones_generation(registry) != generation);
    CU_ASSERT(take(&exists, &names) == 1 && !names);
    registry_set_zone(registry, &id, "east");
    CU_ASSERT_EQUAL(take(&exists, &names), 0);

    /* A second port is news for agents, a second instance of it is not. */
    begin(2, 0);
    serve(2, "web.shop.acme", 80, 1);
    CU_ASSERT(take(&exists, &names) == 1 && !names);
    serve(2, "web.shop.acme", 81, 1);
    CU_ASSERT(take(&exists, &names) == 1 && names);
    stop();
}

UNIT_MAIN("registry", UNIT_TEST(test_definitions_and_zones),
          UNIT_TEST(test_identity_v6_collision), UNIT_TEST(test_register),
          UNIT_TEST(test_register_by_prefix), UNIT_TEST(test_lease),
          UNIT_TEST(test_define), UNIT_TEST(test_remove_endpoint),
          UNIT_TEST(test_names_of_endpoints), UNIT_TEST(test_show),
          UNIT_TEST(test_random))
