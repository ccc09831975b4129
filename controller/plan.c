/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/plan.h"
#include "controller/plan_private.h"

#include <stdlib.h>
#include "controller/paths.h"
#include "controller/rule_bundle.h"
#include "controller/zones.h"
#include "openvswitch/util.h"
#include "hash.h"
#include "packets.h"
#include "util.h"

struct plan *
plan_create(const struct rules_config *rules_config,
            const struct routes_config *routes_config,
            const struct path_classes *classes, struct registry *registry,
            struct topology *topology)
{
    struct plan *plan = xzalloc(sizeof *plan);
    plan->rules_config = *rules_config;
    plan->routes_config = *routes_config;
    plan->classes = classes;
    plan->registry = registry;
    plan->topology = topology;
    plan->paths = paths_compute(topology, classes);
    plan->zones = zones_compute(registry, topology, plan->paths);
    plan->routes = routes_create(routes_config);
    routes_set_zones(plan->routes, plan->zones);
    hmap_init(&plan->switches);
    hmap_init(&plan->hosts);
    hmap_init(&plan->gone);
    hmap_init(&plan->endpoints);
    plan->before = rule_table_create();
    plan->after = rule_table_create();
    return plan;
}

void
plan_configure(struct plan *plan, const struct rules_config *rules_config,
               const struct routes_config *routes_config)
{
    plan->rules_config = *rules_config;
    plan->routes_config = *routes_config;
    routes_configure(plan->routes, routes_config);
    plan->started = false;
    /* What was found out of switches is found out again. */
    struct plan_switch *sw;
    HMAP_FOR_EACH (sw, node, &plan->switches) {
        sw->limit = rules_config->service_rules
                    ? rules_config->service_rules : SIZE_MAX;
        sw->no_groups = sw->short_of_hosts = false;
        sw->apart = sw->limit != SIZE_MAX;
    }
}

static void
remove_switch(struct plan *plan, struct plan_switch *sw)
{
    hmap_remove(&plan->switches, &sw->node);
    rule_table_destroy(sw->desired);
    rule_changes_destroy(&sw->touched);
    free(sw->metered);
    free(sw);
}

void
plan_destroy(struct plan *plan)
{
    if (!plan) {
        return;
    }
    struct plan_switch *sw;
    HMAP_FOR_EACH_SAFE (sw, node, &plan->switches) {
        remove_switch(plan, sw);
    }
    hmap_destroy(&plan->switches);
    plan_forget_hosts(plan);
    hmap_destroy(&plan->hosts);
    plan_forget_gone_hosts(plan);
    hmap_destroy(&plan->gone);
    hmap_destroy(&plan->endpoints);
    paths_destroy(plan->paths);
    zones_destroy(plan->zones);
    routes_destroy(plan->routes);
    rule_table_destroy(plan->before);
    rule_table_destroy(plan->after);
    plan_forget_memories(plan);
    free(plan);
}

struct plan_switch *
plan_find_switch(const struct plan *plan, uint64_t dpid)
{
    struct plan_switch *sw;
    HMAP_FOR_EACH_WITH_HASH (sw, node, hash_uint64(dpid), &plan->switches) {
        if (sw->dpid == dpid) {
            return sw;
        }
    }
    return NULL;
}

const struct rule_table *
plan_desired(const struct plan *plan, uint64_t dpid)
{
    const struct plan_switch *sw = plan_find_switch(plan, dpid);
    return sw ? sw->desired : NULL;
}

/* The next switch that has changed, from where the last look ended. */
static struct plan_switch *
next_changed(struct plan *plan)
{
    struct hmap_node *node;
    while ((node = hmap_at_position(&plan->switches, &plan->popped))) {
        struct plan_switch *sw = CONTAINER_OF(node, struct plan_switch, node);
        if (sw->changed) {
            return sw;
        }
    }
    plan->popped = (struct hmap_position) {0, 0};
    return NULL;
}

bool
plan_pop_changed(struct plan *plan, uint64_t *ret_dpid)
{
    struct plan_switch *sw = next_changed(plan);
    if (!sw) {
        sw = next_changed(plan); /* From the beginning. */
    }
    if (!sw) {
        return false;
    }
    sw->changed = false;
    *ret_dpid = sw->dpid;
    return true;
}

uint64_t
plan_generation(const struct plan *plan)
{
    return plan->generation;
}

const struct paths *
plan_paths(const struct plan *plan)
{
    return plan->paths;
}

const struct routes *
plan_routes(const struct plan *plan)
{
    return plan->routes;
}

void
plan_diff(struct plan *plan, uint64_t dpid,
          const struct rule_table *installed, bool full,
          struct rule_changes *changes)
{
    struct plan_switch *sw = plan_find_switch(plan, dpid);

    changes->n = 0;
    if (!sw) {
        return;
    }
    if (full || sw->touched_all) {
        rule_diff(sw->desired, installed, changes);
    } else {
        rule_diff_touched(sw->desired, installed, &sw->touched, changes);
    }
    rule_changes_destroy(&sw->touched);
    sw->touched_all = false;
}

/* Changes of desired rules. */

/* A switch that is away for long, or new: comparing everything will cost less
 * than a list of so many rules. */
static bool
is_too_long(const struct plan_switch *sw, size_t n)
{
    return n > 4096 && n > rule_table_count(sw->desired) / 4;
}

static void
touch_all(struct plan_switch *sw)
{
    sw->changed = true;
    sw->touched_all = true;
    rule_changes_destroy(&sw->touched);
}

static void
touch(struct plan_switch *sw, const struct rule *rule)
{
    sw->changed = true;
    if (sw->touched_all) {
        return;
    }
    if (is_too_long(sw, sw->touched.n)) {
        touch_all(sw);
        return;
    }
    rule_changes_add(&sw->touched, RULE_MODIFY, rule);
}

/* What becomes other rules than before. */
static void
touch_differences(struct plan_switch *sw, const struct rule_table *desired)
{
    size_t before = rule_table_count(sw->desired);
    size_t n = rule_table_count(desired);
    struct rule_changes changes = RULE_CHANGES_INITIALIZER;

    if (is_too_long(sw, MAX(n, before) - MIN(n, before))) {
        touch_all(sw);
        return;
    }
    rule_diff(desired, sw->desired, &changes);
    for (size_t i = 0; i < changes.n; i++) {
        touch(sw, &changes.changes[i].rule);
    }
    rule_changes_destroy(&changes);
}

void
plan_touch_again(struct plan *plan, uint64_t dpid,
                 const struct rule_changes *changes)
{
    struct plan_switch *sw = plan_find_switch(plan, dpid);

    if (sw && changes->n) {
        bool changed = sw->changed;
        for (size_t i = 0; i < changes->n; i++) {
            touch(sw, &changes->changes[i].rule);
        }
        sw->changed = changed;
    }
}

static void
replace_singles(struct plan_switch *sw, const struct rule_table *before,
                const struct rule_table *after)
{
    size_t i = 0, j = 0;
    for (const struct rule *rule;
         (rule = rule_table_next_single(before, &i));) {
        if (!rule_table_find(after, rule)
            && rule_table_remove(sw->desired, rule)) {
            touch(sw, rule);
        }
    }
    for (const struct rule *rule;
         (rule = rule_table_next_single(after, &j));) {
        if (rule_table_put(sw->desired, rule)) {
            touch(sw, rule);
        }
    }
}

/* The bundle that 'key' is of goes, unless it is in 'after'. */
static void
remove_bundle(struct plan_switch *sw, const struct rule *key,
              const struct rule_table *after)
{
    if (!rule_table_bundle(after, key)
        && rule_table_remove_bundle(sw->desired, key)) {
        touch(sw, key);
    }
}

static void
put_bundles(struct plan_switch *sw, const struct rule_table *after)
{
    struct rule_bundle *bundle;
    size_t i = 0;
    while ((bundle = rule_table_next_bundle(after, &i))) {
        if (rule_table_put_bundle(sw->desired, bundle)) {
            struct rule first;
            rule_bundle_get(bundle, 0, &first);
            touch(sw, &first);
        }
    }
}

void
plan_replace(struct plan_switch *sw, const struct rule_table *before,
             const struct rule_table *after)
{
    const struct rule_bundle *bundle;
    size_t i = 0;
    if (sw->apart) {
        return; /* See update_apart(). */
    }
    replace_singles(sw, before, after);
    while ((bundle = rule_table_next_bundle(before, &i))) {
        struct rule first;
        rule_bundle_get(bundle, 0, &first);
        remove_bundle(sw, &first, after);
    }
    put_bundles(sw, after);
}

uint64_t
plan_ways_generation(const struct plan *plan)
{
    return plan->ways_generation;
}

static bool
has_route(const struct rule_table *table, const struct in6_addr *locator)
{
    struct rule key = RULE_INIT(IN6_IS_ADDR_V4MAPPED(locator) ? RULE_HOST
                                                              : RULE_HOST6);
    key.address = *locator;
    return rule_table_find(table, &key) != NULL;
}

static void
replace_host(struct plan *plan, const struct in6_addr *locator)
{
    struct plan_host *old = plan_find_host(plan, locator);
    const struct topology_attachment *new
        = topology_attachment(plan->topology, locator);
    struct plan_switch *sw;
    bool gone = !new;

    HMAP_FOR_EACH (sw, node, &plan->switches) {
        rule_table_clear(plan->before);
        rule_table_clear(plan->after);
        if (old) {
            rules_compute_host(&plan->rules_config, plan->paths, &old->at,
                               sw->dpid, plan->before);
        }
        if (new) {
            rules_compute_host(&plan->rules_config, plan->paths, new,
                               sw->dpid, plan->after);
        }
        /* It may have moved to where this switch has no way. */
        gone |= has_route(plan->before, locator)
                && !has_route(plan->after, locator);
        plan_replace(sw, plan->before, plan->after);
    }
    if (new) {
        plan_remember_host(plan, new);
    } else {
        plan_forget_host(plan, old);
    }
    if (gone) {
        plan_remember_gone_host(plan, locator);
    }
}

void
plan_compute_endpoint(const struct plan *plan, const struct paths *paths,
                      const struct plan_endpoint *endpoint, uint64_t dpid,
                      struct rule_table *table)
{
    for (int v6 = 0; v6 < 2; v6++) {
        if (endpoint->attached[v6]) {
            rules_compute_endpoint(&plan->rules_config, paths,
                                   &endpoint->at[v6], dpid, table);
        }
    }
}

static void
replace_endpoint(struct plan *plan, const struct endpoint_id *id)
{
    const struct plan_endpoint *found = plan_find_endpoint(plan, id);
    struct plan_endpoint old;
    if (found) {
        old = *found;
    }
    const struct plan_endpoint *new = plan_remember_endpoint(plan, id);
    struct plan_switch *sw;

    HMAP_FOR_EACH (sw, node, &plan->switches) {
        rule_table_clear(plan->before);
        rule_table_clear(plan->after);
        if (found) {
            plan_compute_endpoint(plan, plan->paths, &old, sw->dpid,
                                  plan->before);
        }
        if (new) {
            plan_compute_endpoint(plan, plan->paths, new, sw->dpid,
                                  plan->after);
        }
        plan_replace(sw, plan->before, plan->after);
    }
}

/* As plan_replace(): services are bundles and nothing else, so nobody has to
 * know what 'old' was computed to. */
static void
replace_service(struct plan *plan, struct plan_switch *sw,
                const struct service_routes *old,
                const struct service_routes *new)
{
    if (sw->apart) {
        return;
    }
    rule_table_clear(plan->after);
    if (new) {
        rules_compute_service(&plan->rules_config, plan->paths, new, sw->dpid,
                              plan->after);
    }
    for (size_t i = 0; old && i < old->n_routes; i++) {
        if (route_is_at(old->routes[i], sw->dpid)) {
            struct rule key = rules_service_key(old, old->routes[i]);
            remove_bundle(sw, &key, plan->after);
        }
    }
    put_bundles(sw, plan->after);
}

static void
update_service(struct plan *plan, const struct service_prefix *prefix)
{
    struct service_routes *old;
    if (!routes_update(plan->routes, plan->registry, plan->topology,
                       plan->paths, prefix, &old)) {
        return;
    }
    const struct service_routes *new = routes_of(plan->routes, prefix);
    struct plan_switch *sw;
    HMAP_FOR_EACH (sw, node, &plan->switches) {
        replace_service(plan, sw, old, new);
    }
    service_routes_destroy(old);
}

/* An endpoint came, went or moved: so did what it serves. */
static void
update_services_of(struct plan *plan, const struct endpoint_id *id)
{
    const struct registry_endpoint *endpoint
        = registry_endpoint(plan->registry, id);
    const struct registry_instance *instance;

    if (endpoint) {
        LIST_FOR_EACH (instance, endpoint_node, &endpoint->instances) {
            update_service(plan, &instance->service->prefix);
        }
    }
}

/* All endpoints, from what the topology says now. */
static void
compute_endpoints(const struct plan *plan, const struct rules_config *config,
                  const struct paths *paths, uint64_t dpid,
                  struct rule_table *table)
{
    const struct topology_attachment *host;

    TOPOLOGY_FOR_EACH_ATTACHMENT (host, plan->topology) {
        bool v6 = !IN6_IS_ADDR_V4MAPPED(&host->locator);
        if (host == topology_attachment_by(plan->topology, &host->endpoint,
                                           v6)) {
            rules_compute_endpoint(config, paths, host, dpid, table);
        }
    }
}

static enum route_policy
policy_of(const struct plan *plan, const struct registry_service *service)
{
    return service->definition.policy != ROUTE_DEFAULT
           ? service->definition.policy : plan->routes_config.policy;
}

/* Finds out anew where switches are.  True if one of them has moved. */
static bool
update_zones(struct plan *plan)
{
    struct zones *old = plan->zones;

    plan->zones = zones_compute(plan->registry, plan->topology, plan->paths);
    plan->zones_generation = registry_zones_generation(plan->registry);
    routes_set_zones(plan->routes, plan->zones);
    bool changed = !zones_equal(old, plan->zones);
    zones_destroy(old);
    return changed;
}

static void
update_services_by_zone(struct plan *plan)
{
    const struct registry_service *service;
    REGISTRY_FOR_EACH_SERVICE (service, plan->registry) {
        if (policy_of(plan, service) == ROUTE_LOCAL_FIRST) {
            update_service(plan, &service->prefix);
        }
    }
}

struct rule_table *
plan_compute_switch(const struct plan *plan, const struct paths *paths,
                    const struct routes *routes, const struct plan_switch *sw,
                    bool *ret_cut)
{
    struct rules_config config = plan->rules_config;
    struct rule_table *table = rule_table_create();
    const struct service_routes *service;

    config.groups &= !sw->no_groups;
    config.rest_port = plan_rest_port(plan, paths, sw);
    rules_compute_forwarding(&config, plan->topology, paths, sw->dpid, table);
    *ret_cut = false;
    if (sw->limit != SIZE_MAX) {
        *ret_cut = !plan_compute_limited(plan, &config, paths, routes, sw,
                                         table);
        return table;
    }
    compute_endpoints(plan, &config, paths, sw->dpid, table);
    ROUTES_FOR_EACH_SERVICE (service, routes) {
        rules_compute_service(&config, paths, service, sw->dpid, table);
    }
    return table;
}

static size_t
default_limit(const struct plan *plan)
{
    return plan->rules_config.service_rules
           ? plan->rules_config.service_rules : SIZE_MAX;
}

static void
update_switch(struct plan *plan, uint64_t dpid)
{
    struct plan_switch *sw = plan_find_switch(plan, dpid);
    if (!sw) {
        sw = xzalloc(sizeof *sw);
        sw->dpid = dpid;
        sw->limit = default_limit(plan);
        sw->apart = sw->limit != SIZE_MAX;
        sw->desired = rule_table_create();
        hmap_insert(&plan->switches, &sw->node, hash_uint64(dpid));
    }
    struct rule_table *desired
        = plan_compute_switch(plan, plan->paths, plan->routes, sw, &sw->cut);
    touch_differences(sw, desired);
    rule_table_destroy(sw->desired);
    sw->desired = desired;
    sw->stale = false;
    plan_remember_meters(plan, sw);
}

/* Switches that do not hold what all others do.  What fits depends on
 * everything, so they are computed as a whole. */
static void
update_apart(struct plan *plan, bool changed)
{
    struct plan_switch *sw;
    HMAP_FOR_EACH (sw, node, &plan->switches) {
        if (sw->stale || (sw->apart && changed)) {
            update_switch(plan, sw->dpid);
        }
    }
}

static void
update_everything(struct plan *plan)
{
    routes_update_all(plan->routes, plan->registry, plan->topology,
                      plan->paths);

    struct plan_switch *sw;
    HMAP_FOR_EACH_SAFE (sw, node, &plan->switches) {
        if (!topology_switch(plan->topology, sw->dpid)) {
            remove_switch(plan, sw);
        }
    }
    const struct topology_switch *known;
    TOPOLOGY_FOR_EACH_SWITCH (known, plan->topology) {
        update_switch(plan, known->dpid);
    }
    const struct topology_attachment *host;
    plan_forget_gone_hosts(plan);
    plan_forget_hosts(plan);
    TOPOLOGY_FOR_EACH_ATTACHMENT (host, plan->topology) {
        plan_remember_host(plan, host);
        plan_remember_endpoint(plan, &host->endpoint);
    }
}

/* True if a service's routes depend on more than who can be reached. */
static bool
routes_depend_on_ways(const struct plan *plan)
{
    const struct registry_service *service;
    REGISTRY_FOR_EACH_SERVICE (service, plan->registry) {
        enum route_policy policy = policy_of(plan, service);
        if (policy != ROUTE_SPREAD && policy != ROUTE_FAILOVER) {
            return true;
        }
    }
    return false;
}

/* Computes paths.  True if the rules could be mended: only ways have changed,
 * and nothing but forwarding depends on them. */
static bool
update_graph(struct plan *plan)
{
    struct paths *old = plan->paths;
    plan->paths = paths_compute(plan->topology, plan->classes);

    bool mended = plan->started && paths_same_shape(old, plan->paths)
                  && !routes_depend_on_ways(plan);
    if (mended) {
        plan_update_ways(plan, old);
    }
    paths_destroy(old);
    return mended;
}

void
plan_run(struct plan *plan, struct plan_result *ret_result)
{
    struct plan_result result;
    memset(&result, 0, sizeof result);
    result.n_services = registry_take_changes(plan->registry,
                                              &result.services);
    topology_take_changes(plan->topology, &result.topology);

    plan_recall(plan);
    bool all = (result.topology.graph || !plan->started)
               && !update_graph(plan);
    if (result.topology.graph || result.topology.n_hosts || all) {
        plan->ways_generation = plan->generation + 1; /* Of this run. */
    }
    bool zones_changed = false;
    if (result.topology.graph || result.topology.n_hosts
        || plan->zones_generation
           != registry_zones_generation(plan->registry)) {
        zones_changed = update_zones(plan);
    }
    result.everything = all;
    if (all) {
        update_everything(plan);
        plan->started = true;
    } else {
        if (zones_changed) {
            update_services_by_zone(plan);
        }
        for (size_t i = 0; i < result.topology.n_hosts; i++) {
            replace_host(plan, &result.topology.hosts[i].locator);
            replace_endpoint(plan, &result.topology.hosts[i].endpoint);
            update_services_of(plan, &result.topology.hosts[i].endpoint);
        }
        for (size_t i = 0; i < result.n_services; i++) {
            update_service(plan, &result.services[i].prefix);
        }
        for (size_t i = 0; i < result.topology.n_meters; i++) {
            plan_update_meters(plan, result.topology.meters[i]);
        }
    }
    update_apart(plan, result.n_services || result.topology.n_hosts
                       || result.topology.graph || zones_changed);

    struct plan_switch *sw;
    HMAP_FOR_EACH (sw, node, &plan->switches) {
        result.n_switches += sw->changed;
    }
    plan->generation += result.n_switches != 0;
    if (ret_result) {
        *ret_result = result;
    } else {
        plan_result_destroy(&result);
    }
}

void
plan_result_destroy(struct plan_result *result)
{
    if (result) {
        free(result->services);
        result->services = NULL;
        result->n_services = 0;
        topology_changes_destroy(&result->topology);
    }
}
