/* SPDX-License-Identifier: Apache-2.0 */
/* Full recompute, to compare the plan with. */
#include "controller/plan.h"
#include "controller/plan_private.h"

#include "controller/paths.h"
#include "controller/zones.h"
#include "openvswitch/dynamic-string.h"
#include "util.h"

/* Tilings have a history, so the fresh routes are told that. */
static struct routes *
recompute_routes(const struct plan *plan, const struct paths *paths)
{
    struct routes *routes = routes_create(&plan->routes_config);
    struct zones *zones = zones_compute(plan->registry, plan->topology,
                                        paths);
    const struct service_routes *service;

    ROUTES_FOR_EACH_SERVICE (service, plan->routes) {
        for (size_t i = 0; i < service->n_routes; i++) {
            const struct route *route = service->routes[i];
            const struct route_memory memory = {
                .dpid = route->dpids[0],
                .prefix = service->prefix,
                .protocol = route->protocol,
                .v6 = route->v6,
                .tiling = route->tiling,
            };
            routes_remember(routes, &memory);
        }
    }
    routes_set_zones(routes, zones);
    routes_update_all(routes, plan->registry, plan->topology, paths);
    routes_set_zones(routes, NULL);
    zones_destroy(zones);
    return routes;
}

static bool
check_switch(const struct rule_table *fresh, const struct plan_switch *sw,
             struct ds *why)
{
    struct rule_changes changes = RULE_CHANGES_INITIALIZER;
    rule_diff(fresh, sw->desired, &changes);
    for (size_t i = 0; i < changes.n; i++) {
        static const char *const ops[] = {"lacks", "is wrong about",
                                          "should not have"};
        ds_put_format(why, "%016"PRIx64" %s ", sw->dpid,
                      ops[changes.changes[i].op]);
        rule_format(&changes.changes[i].rule, why);
        ds_put_char(why, '\n');
    }
    bool same = !changes.n;
    rule_changes_destroy(&changes);
    return same;
}

bool
plan_check(const struct plan *plan, struct ds *why)
{
    struct paths *paths = paths_compute(plan->topology, plan->classes);
    struct routes *routes = recompute_routes(plan, paths);
    const struct topology_switch *known;
    bool same = true;

    TOPOLOGY_FOR_EACH_SWITCH (known, plan->topology) {
        const struct plan_switch *sw = plan_find_switch(plan, known->dpid);
        if (!sw) {
            ds_put_format(why, "%016"PRIx64" is missing\n", known->dpid);
            same = false;
            continue;
        }
        bool cut;
        struct rule_table *fresh = plan_compute_switch(plan, paths, routes, sw,
                                                       &cut);
        same &= check_switch(fresh, sw, why);
        rule_table_destroy(fresh);
    }
    if (hmap_count(&plan->switches)
        != hmap_count(topology_switches(plan->topology))) {
        ds_put_cstr(why, "switches that are gone are still planned\n");
        same = false;
    }
    routes_destroy(routes);
    paths_destroy(paths);
    return same;
}
