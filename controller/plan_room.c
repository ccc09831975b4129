/* SPDX-License-Identifier: Apache-2.0 */
/* The plan's switches that have no room for all rules. */
#include "controller/plan.h"
#include "controller/plan_private.h"

#include <stdlib.h>
#include "controller/overflow.h"
#include "controller/paths.h"
#include "openvswitch/util.h"
#include "util.h"

/* What a limited switch might hold. */
struct candidate {
    const struct service_routes *service; /* This */
    const struct topology_attachment *host; /* or this, as an endpoint. */
};

static void
compute_candidate(const struct rules_config *config,
                  const struct paths *paths, const struct candidate *candidate,
                  uint64_t dpid, struct rule_table *table)
{
    if (candidate->service) {
        rules_compute_service(config, paths, candidate->service, dpid, table);
    } else {
        rules_compute_endpoint(config, paths, candidate->host, dpid, table);
    }
}

static void
add_item(const struct plan *plan, struct overflow_item *item,
         struct candidate *candidate)
{
    memset(item, 0, sizeof *item);
    item->aux = candidate;
    if (candidate->service) {
        item->prefix = candidate->service->prefix;
    } else {
        service_prefix_of_endpoint(candidate->host->endpoint.bytes,
                                   &item->prefix);
    }
    if (plan->use) {
        item->use = plan->use(&item->prefix, plan->use_aux);
    }
}

bool
plan_compute_limited(const struct plan *plan,
                     const struct rules_config *config,
                     const struct paths *paths, const struct routes *routes,
                     const struct plan_switch *sw, struct rule_table *table)
{
    size_t max = hmap_count(routes_services(routes))
                 + hmap_count(topology_attachments(plan->topology));
    struct candidate *candidates = xcalloc(max + 1, sizeof *candidates);
    struct overflow_item *items = xcalloc(max + 1, sizeof *items);
    struct rule_table *scratch = rule_table_create();
    const struct service_routes *service;
    const struct topology_attachment *host;
    size_t n = 0;

    ROUTES_FOR_EACH_SERVICE (service, routes) {
        candidates[n++].service = service;
    }
    TOPOLOGY_FOR_EACH_ATTACHMENT (host, plan->topology) {
        if (host == topology_attachment_by(
                        plan->topology, &host->endpoint,
                        !IN6_IS_ADDR_V4MAPPED(&host->locator))) {
            candidates[n++].host = host;
        }
    }
    for (size_t i = 0; i < n; i++) {
        add_item(plan, &items[i], &candidates[i]);
        rule_table_clear(scratch);
        compute_candidate(config, paths, &candidates[i], sw->dpid, scratch);
        items[i].n_rules = rule_table_count(scratch);
    }
    bool all = true;
    overflow_choose(items, n, sw->limit);
    for (size_t i = 0; i < n; i++) {
        all &= items[i].fits;
        if (items[i].fits) {
            compute_candidate(config, paths, items[i].aux, sw->dpid, table);
        }
    }
    rule_table_destroy(scratch);
    free(items);
    free(candidates);
    return all;
}

void
plan_set_limit(struct plan *plan, uint64_t dpid, size_t limit)
{
    struct plan_switch *sw = plan_find_switch(plan, dpid);
    if (sw && sw->limit != limit) {
        sw->limit = limit;
        sw->apart = sw->no_groups || sw->short_of_hosts || limit != SIZE_MAX;
        sw->stale = true;
    }
}

size_t
plan_limit(const struct plan *plan, uint64_t dpid)
{
    const struct plan_switch *sw = plan_find_switch(plan, dpid);
    return sw ? sw->limit : SIZE_MAX;
}

bool
plan_is_cut(const struct plan *plan, uint64_t dpid)
{
    const struct plan_switch *sw = plan_find_switch(plan, dpid);
    return sw && sw->cut;
}

void
plan_set_no_groups(struct plan *plan, uint64_t dpid)
{
    struct plan_switch *sw = plan_find_switch(plan, dpid);
    if (sw && !sw->no_groups) {
        sw->no_groups = sw->apart = sw->stale = true;
    }
}

bool
plan_has_no_groups(const struct plan *plan, uint64_t dpid)
{
    const struct plan_switch *sw = plan_find_switch(plan, dpid);
    return sw && sw->no_groups;
}

void
plan_set_usage(struct plan *plan,
               uint32_t (*use)(const struct service_prefix *,
                               const void *aux), const void *aux)
{
    struct plan_switch *sw;
    plan->use = use;
    plan->use_aux = aux;
    HMAP_FOR_EACH (sw, node, &plan->switches) {
        sw->stale |= sw->limit != SIZE_MAX;
    }
}

/* Hosts. */

/* All switches that are short of routes send the rest towards the same one,
 * which is not: so what nobody has does not go round in circles.  One without
 * hosts is likely to be in the middle. */
static uint32_t
root_of(const struct plan *plan, const struct paths *paths, uint32_t from)
{
    uint32_t root = PATHS_NO_SWITCH;

    for (uint32_t i = 0; i < paths_n_switches(paths); i++) {
        const struct plan_switch *sw
            = plan_find_switch(plan, paths_dpid(paths, i));
        if (sw && !sw->short_of_hosts
            && paths_distance(paths, from, i) != PATHS_UNREACHABLE
            && (root == PATHS_NO_SWITCH
                || (paths_has_hosts(paths, root)
                    && !paths_has_hosts(paths, i)))) {
            root = i;
        }
    }
    return root;
}

uint32_t
plan_rest_port(const struct plan *plan, const struct paths *paths,
               const struct plan_switch *sw)
{
    uint32_t from = paths_index(paths, sw->dpid);

    if (!sw->short_of_hosts || from == PATHS_NO_SWITCH) {
        return 0;
    }
    uint32_t root = root_of(plan, paths, from);
    return root == PATHS_NO_SWITCH ? 0 : paths_next_hop(paths, from, root);
}

void
plan_set_short_of_hosts(struct plan *plan, uint64_t dpid, bool is_short)
{
    struct plan_switch *sw = plan_find_switch(plan, dpid);

    if (sw && sw->short_of_hosts != is_short) {
        sw->short_of_hosts = is_short;
        sw->apart = is_short || sw->no_groups || sw->limit != SIZE_MAX;
        sw->stale = true;
        HMAP_FOR_EACH (sw, node, &plan->switches) {
            sw->stale |= sw->short_of_hosts; /* Of another root, perhaps. */
        }
    }
}

bool
plan_is_short_of_hosts(const struct plan *plan, uint64_t dpid)
{
    const struct plan_switch *sw = plan_find_switch(plan, dpid);
    return sw && sw->short_of_hosts;
}
