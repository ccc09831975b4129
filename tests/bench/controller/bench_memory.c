/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of the controller's core, without sockets (the load would need as
 * much again): a core switch with edge switches around it, hosts there, and
 * services of so many instances.  Everything is installed; then an oracle looks
 * at each rule.
 *
 *     bench_memory JSON [EDGES [SERVICES [INSTANCES]]]
 *
 * Prints `bench NAME VALUE UNIT` lines.  Exits with 1 if a rule is wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "controller/addresses.h"
#include "controller/plan.h"
#include "hash.h"
#include "openvswitch/dynamic-string.h"
#include "tests/bench/memory.h"
#include "util.h"

#define HOSTS_AT_EDGE 3
#define CORE 1 /* Datapath ID; the edges are 2, 3, ... */
#define UPLINK 1
#define HOST_PORT 2
#define HOSTS_MAX 1024
#define FIRST_LOCATOR 0x0a000001
#define ALL (1u << 16) /* Source ports. */
#define TOLERANCE (ALL / 20) /* weight_tolerance_permille. */

static int n_edges = 10, n_services = 100000, n_instances = 10, n_hosts;
static struct registry *registry;
static struct topology *topology;
static struct plan *plan;
static struct rule_table **installed; /* By datapath ID. */

/* What an edge switch says of one service. */
struct seen {
    struct hmap_node node;
    struct service_prefix prefix;
    int number;
    uint32_t all;                /* Source ports that find a rule. */
    uint32_t shares[HOSTS_MAX];  /* Of the same, by host. */
};

static void
add_switch(uint64_t dpid, int n_ports)
{
    topology_switch_set(topology, dpid, true);
    for (int port = 1; port <= n_ports; port++) {
        const struct eth_addr mac = {{{2, 0, 0, dpid >> 8, dpid, port}}};
        topology_port_set(topology, dpid, port, &mac, "p", true, 1000);
    }
}

static struct endpoint_id
host_id(int i)
{
    return (struct endpoint_id) {{i, i >> 8, 7}};
}

static uint64_t
edge_of(int host)
{
    return CORE + 1 + host / HOSTS_AT_EDGE;
}

static uint32_t
port_of(int host)
{
    return HOST_PORT + host % HOSTS_AT_EDGE;
}

static void
attach_host(int i)
{
    uint64_t session;
    struct topology_probe probe;

    memset(&probe, 0, sizeof probe);
    probe.endpoint = host_id(i);
    probe.locator = locator_from_v4(FIRST_LOCATOR + i);
    probe.mac = (struct eth_addr) {{{2, 1, 0, 0, i >> 8, i}}};
    probe.at = (struct topology_end) {edge_of(i), port_of(i)};
    probe.seq = 1;
    registry_session_begin(registry, &probe.endpoint, "h", 0, INT64_MAX,
                           &session);
    topology_attach(topology, &probe, INT64_MAX);
}

static void
build(void)
{
    add_switch(CORE, n_edges);
    for (int e = 1; e <= n_edges; e++) {
        struct topology_end up = {CORE + e, UPLINK}, down = {CORE, e};
        add_switch(CORE + e, HOST_PORT + HOSTS_AT_EDGE - 1);
        topology_link_seen(topology, &up, &down, INT64_MAX);
        topology_link_seen(topology, &down, &up, INT64_MAX);
    }
    for (int i = 0; i < n_hosts; i++) {
        attach_host(i);
    }
    installed = xcalloc(CORE + n_edges + 1, sizeof *installed);
    for (int dpid = CORE; dpid <= CORE + n_edges; dpid++) {
        installed[dpid] = rule_table_create();
    }
}

/* Different ones of one service, if there are so many hosts. */
static int
host_of(int service, int instance)
{
    return (service * 7 + instance) % n_hosts;
}

static void
service_name(int service, char name[40])
{
    snprintf(name, 40, "s%d.ns%d.acme", service, service % 100);
}

static void
serve(int service, int instance)
{
    struct registry_key key;
    char name[40];

    memset(&key, 0, sizeof key);
    service_name(service, name);
    service_prefix_from_name(name, &key.prefix);
    key.endpoint = host_id(host_of(service, instance));
    key.protocol = 6;
    key.port = 1000 + instance;
    registry_register(registry, &key, name,
                      &(struct registry_offer) {.weight = 1}, NULL);
}

static size_t
put_all(void)
{
    struct rule_changes changes = RULE_CHANGES_INITIALIZER;
    uint64_t dpid;
    size_t n = 0;

    plan_run(plan, NULL);
    while (plan_pop_changed(plan, &dpid)) {
        plan_diff(plan, dpid, installed[dpid], false, &changes);
        rule_changes_apply(&changes, changes.n, installed[dpid]);
        n += changes.n;
    }
    rule_changes_destroy(&changes);
    return n;
}

/* The oracle. */

static uint32_t
hash_prefix(const struct service_prefix *prefix)
{
    return hash_bytes(&prefix->id, sizeof prefix->id, 0);
}

static struct seen *
find_seen(const struct hmap *services, const struct service_id *id)
{
    struct seen *seen;

    HMAP_FOR_EACH_WITH_HASH (seen, node, hash_bytes(id, sizeof *id, 0),
                             services) {
        if (!memcmp(&seen->prefix.id, id, sizeof *id)) {
            return seen;
        }
    }
    return NULL;
}

/* Where it sends, by a group of its switch or without. */
static uint32_t
output_of(uint64_t dpid, const struct rule *rule)
{
    struct rule key = RULE_INIT(RULE_GROUP);

    if (!(rule->flags & RULE_VIA_GROUP)) {
        return rule->port;
    }
    key.group = rule->port;
    const struct rule *group = rule_table_find(installed[dpid], &key);
    return group ? group->ports[0] : 0;
}

/* True if the rule, at the switch, is what it should be; counts its share. */
static bool
take_rule(const struct hmap *services, uint64_t dpid, const struct rule *rule)
{
    struct seen *seen = find_seen(services, &rule->service);
    int host = locator_get_v4(&rule->target) - FIRST_LOCATOR;

    if (!seen || rule->prefix_len != seen->prefix.len || dpid == CORE
        || host < 0 || host >= n_hosts) {
        return false;
    }
    seen->all += ALL >> rule->tile_bits;
    seen->shares[host] += ALL >> rule->tile_bits;
    return rule->protocol == 6
           && output_of(dpid, rule) == (edge_of(host) == dpid ? port_of(host)
                                                              : UPLINK);
}

/* Each of its hosts has its share, all others nothing. */
static bool
is_right(const struct seen *seen, bool *is_host)
{
    uint32_t wanted = ALL / n_instances;
    bool right = seen->all == ALL;

    memset(is_host, 0, n_hosts * sizeof *is_host);
    for (int i = 0; i < n_instances; i++) {
        is_host[host_of(seen->number, i)] = true;
    }
    for (int host = 0; host < n_hosts; host++) {
        uint32_t share = seen->shares[host];
        right &= is_host[host]
                 ? share + TOLERANCE >= wanted && share <= wanted + TOLERANCE
                 : !share;
    }
    return right;
}

static size_t
check_switch(struct hmap *services, uint64_t dpid)
{
    bool *is_host = xcalloc(n_hosts, sizeof *is_host);
    size_t wrong = 0, i = 0;
    struct seen *seen;

    HMAP_FOR_EACH (seen, node, services) {
        seen->all = 0;
        memset(seen->shares, 0, n_hosts * sizeof *seen->shares);
    }
    for (const struct rule *rule;
         (rule = rule_table_next(plan_desired(plan, dpid), &i));) {
        if (rule->kind == RULE_SERVICE) {
            struct rule copy = *rule; /* The table has one at a time. */
            wrong += !take_rule(services, dpid, &copy);
        }
    }
    HMAP_FOR_EACH (seen, node, services) {
        wrong += dpid == CORE ? seen->all != 0 : !is_right(seen, is_host);
    }
    free(is_host);
    return wrong + !rule_table_equal(plan_desired(plan, dpid),
                                     installed[dpid]);
}

static size_t
check(void)
{
    struct hmap services = HMAP_INITIALIZER(&services);
    size_t size = offsetof(struct seen, shares[n_hosts]), wrong = 0;
    struct seen *seen;

    for (int i = 0; i < n_services; i++) {
        char name[40];
        service_name(i, name);
        seen = xzalloc(size);
        service_prefix_from_name(name, &seen->prefix);
        seen->number = i;
        hmap_insert(&services, &seen->node, hash_prefix(&seen->prefix));
    }
    for (int dpid = CORE; dpid <= CORE + n_edges; dpid++) {
        wrong += check_switch(&services, dpid);
    }
    HMAP_FOR_EACH_POP (seen, node, &services) {
        free(seen);
    }
    hmap_destroy(&services);
    return wrong;
}

static void
report(FILE *json, const char *what, double value, const char *unit)
{
    int n = n_services * n_instances;
    char *name = n == 1000000 ? xasprintf("%s.1m", what)
                              : xasprintf("%s.%d", what, n);

    printf("bench controller.%s %.3f %s\n", name, value, unit);
    fprintf(json, "%s  \"controller.%s\": {\"value\": %.3f, \"unit\": \"%s\"}",
            ftell(json) > 2 ? ",\n" : "", name, value, unit);
    free(name);
}

int
main(int argc, char *argv[])
{
    struct rules_config rules_config = RULES_CONFIG_DEFAULT;
    const struct routes_config routes_config = ROUTES_CONFIG_DEFAULT;
    struct address_pool *identities
        = address_pool_create(ADDRESS_IDENTITY_NETWORK, 10);
    struct address_pool *services
        = address_pool_create(ADDRESS_SERVICE_NETWORK, 15);
    int *numbers[] = {&n_edges, &n_services, &n_instances};

    for (int i = 2; i < argc && i < 5; i++) {
        *numbers[i - 2] = atoi(argv[i]);
    }
    n_hosts = n_edges * HOSTS_AT_EDGE;
    FILE *json = argc > 1 ? fopen(argv[1], "w") : NULL;
    if (!json || n_edges < 1 || n_hosts > HOSTS_MAX || n_services < 1
        || n_instances < 1 || n_instances > n_hosts) {
        fprintf(stderr, "usage: bench_memory JSON [EDGES [SERVICES "
                        "[INSTANCES]]]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    fprintf(json, "{\n");
    rules_config.groups = true; /* The controller's default. */
    registry = registry_create(identities, services);
    topology = topology_create();
    plan = plan_create(&rules_config, &routes_config, NULL, registry,
                       topology);
    build();
    for (int i = 0; i < n_services * n_instances; i++) {
        serve(i / n_instances, i % n_instances);
    }
    report(json, "memory_rules", put_all(), "rules");
    report(json, "memory_mb", memory_mb(), "MB");
    report(json, "memory_peak_mb", peak_mb(), "MB");
    size_t wrong = check();
    report(json, "memory_wrong_rules", wrong, "rules");
    struct ds why = DS_EMPTY_INITIALIZER;
    bool same = plan_check(plan, &why);
    fprintf(json, "\n}\n");
    fclose(json);
    if (wrong || !same) {
        fprintf(stderr, "%"PRIuSIZE" rules or services are wrong\n%s", wrong,
                ds_cstr(&why));
    }
    ds_destroy(&why);
    for (int dpid = CORE; dpid <= CORE + n_edges; dpid++) {
        rule_table_destroy(installed[dpid]);
    }
    free(installed);
    plan_destroy(plan);
    topology_destroy(topology);
    registry_destroy(registry);
    address_pool_destroy(identities);
    address_pool_destroy(services);
    return wrong || !same;
}
