/* SPDX-License-Identifier: Apache-2.0 */
/* Links came, went or cost something else: what depends on the ways that are
 * no longer the same. */
#include "controller/plan.h"
#include "controller/plan_private.h"

#include <stdlib.h>
#include "controller/paths.h"
#include "util.h"

/* A switch whose ways have changed: towards which others. */
struct detour {
    const struct paths *before;
    struct plan_switch *sw;
    uint8_t *towards; /* One a switch, by index in both paths. */
};

static bool
is_detoured(const struct plan *plan, const struct detour *detour,
            uint64_t dpid, enum paths_change least)
{
    uint32_t index = paths_index(plan->paths, dpid);
    return index != PATHS_NO_SWITCH && detour->towards[index] >= least;
}

/* Replaces what has been computed for the way before and the one now. */
static void
replace_scratch(struct plan *plan, struct plan_switch *sw)
{
    plan_replace(sw, plan->before, plan->after);
    rule_table_clear(plan->before);
    rule_table_clear(plan->after);
}

static bool
service_is_detoured(const struct plan *plan, const struct detour *detour,
                    const struct service_routes *service,
                    enum paths_change least)
{
    for (size_t i = 0; i < service->n_routes; i++) {
        const struct route *route = service->routes[i];
        for (size_t j = 0; j < route->n_targets; j++) {
            if (is_detoured(plan, detour, route->targets[j].dpid, least)) {
                return true;
            }
        }
    }
    return false;
}

static void
detour_services(struct plan *plan, const struct detour *detour,
                enum paths_change least)
{
    const struct rules_config *config = &plan->rules_config;
    uint64_t dpid = detour->sw->dpid;
    const struct service_routes *service;

    ROUTES_FOR_EACH_SERVICE (service, plan->routes) {
        if (service_is_detoured(plan, detour, service, least)) {
            rules_compute_service(config, detour->before, service, dpid,
                                  plan->before);
            rules_compute_service(config, plan->paths, service, dpid,
                                  plan->after);
            replace_scratch(plan, detour->sw);
        }
    }
}

/* They have no class. */
static void
detour_endpoints(struct plan *plan, const struct detour *detour)
{
    uint64_t dpid = detour->sw->dpid;
    const struct plan_endpoint *endpoint;

    HMAP_FOR_EACH (endpoint, node, &plan->endpoints) {
        plan_compute_endpoint(plan, detour->before, endpoint, dpid,
                              plan->before);
        plan_compute_endpoint(plan, plan->paths, endpoint, dpid, plan->after);
        replace_scratch(plan, detour->sw);
    }
}

static void
detour_hosts(struct plan *plan, const struct detour *detour,
             enum paths_change least)
{
    const struct rules_config *config = &plan->rules_config;
    uint64_t dpid = detour->sw->dpid;
    const struct plan_host *host;

    HMAP_FOR_EACH (host, node, &plan->hosts) {
        if (is_detoured(plan, detour, host->at.dpid, least)) {
            rules_compute_host(config, detour->before, &host->at, dpid,
                               plan->before);
            rules_compute_host(config, plan->paths, &host->at, dpid,
                               plan->after);
            replace_scratch(plan, detour->sw);
        }
    }
}

static bool
is_any_detoured(const struct plan *plan, const struct detour *detour,
                enum paths_change least)
{
    for (size_t i = 0; i < paths_n_switches(plan->paths); i++) {
        if (detour->towards[i] >= least) {
            return true;
        }
    }
    return false;
}

/* What goes to hosts where the way there has changed. */
static void
detour_switch(struct plan *plan, const struct detour *detour)
{
    const struct rules_config *config = &plan->rules_config;
    uint64_t dpid = detour->sw->dpid;
    bool groups = rules_uses_groups(config, plan->paths, dpid);
    enum paths_change least = groups ? PATHS_OTHER_GROUP : PATHS_OTHER_HOPS;

    if (groups) {
        rules_compute_groups(config, detour->before, dpid, detour->towards,
                             plan->before);
        rules_compute_groups(config, plan->paths, dpid, detour->towards,
                             plan->after);
        replace_scratch(plan, detour->sw);
    }
    bool resolves = paths_resolves(plan->paths,
                                   paths_index(plan->paths, dpid));
    if (is_any_detoured(plan, detour, least)) {
        detour_hosts(plan, detour, least);
    }
    /* Who hands on looks at the ports of the groups. */
    least = config->hop_by_hop ? PATHS_OTHER_HOPS : least;
    if (resolves && is_any_detoured(plan, detour, least)) {
        detour_services(plan, detour, least);
    }
    if (resolves && !groups) {
        detour_endpoints(plan, detour);
    }
}

void
plan_update_ways(struct plan *plan, const struct paths *old)
{
    struct detour detour = {
        .before = old,
        .towards = xcalloc(paths_n_switches(plan->paths) + 1,
                           sizeof *detour.towards),
    };

    rule_table_clear(plan->before);
    rule_table_clear(plan->after);
    struct plan_switch *sw;
    HMAP_FOR_EACH (sw, node, &plan->switches) {
        uint32_t index = paths_index(plan->paths, sw->dpid);
        if (sw->apart || index == PATHS_NO_SWITCH) {
            continue; /* See update_apart(). */
        }
        rules_compute_base(&plan->rules_config, old, sw->dpid, plan->before);
        rules_compute_base(&plan->rules_config, plan->paths, sw->dpid,
                           plan->after);
        replace_scratch(plan, sw);
        detour.sw = sw;
        if (paths_changed_ways(old, plan->paths, index, detour.towards)) {
            detour_switch(plan, &detour);
        }
    }
    free(detour.towards);
}
