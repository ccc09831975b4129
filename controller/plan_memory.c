/* SPDX-License-Identifier: Apache-2.0 */
/* What switches held when the controller started: tilings that should stay. */
#include "controller/plan.h"
#include "controller/plan_private.h"

#include <stdlib.h>
#include "openvswitch/util.h"
#include "util.h"

struct plan_memory {
    uint64_t dpid;
    struct rule_table *installed;
};

void
plan_remember(struct plan *plan, uint64_t dpid,
              const struct rule_table *installed)
{
    if (plan->n_memories >= plan->allocated_memories) {
        plan->memories = x2nrealloc(plan->memories, &plan->allocated_memories,
                                    sizeof *plan->memories);
    }
    plan->memories[plan->n_memories++] = (struct plan_memory) {
        dpid, rule_table_clone(installed)};
}

void
plan_forget_memories(struct plan *plan)
{
    for (size_t i = 0; i < plan->n_memories; i++) {
        rule_table_destroy(plan->memories[i].installed);
    }
    free(plan->memories);
    plan->memories = NULL;
    plan->n_memories = plan->allocated_memories = 0;
}

/* Tilings refer to instances by key, rules by locator.  False if nobody is
 * there. */
static bool
tile_of(const struct plan *plan, const struct rule *rule, struct tile *tile)
{
    const struct topology_attachment *host
        = topology_attachment(plan->topology, &rule->target);
    const struct registry_endpoint *endpoint
        = host ? registry_endpoint(plan->registry, &host->endpoint) : NULL;

    if (endpoint) {
        *tile = (struct tile) {rule->tile_value, rule->tile_bits,
                               endpoint->identity_v4};
    }
    return endpoint != NULL;
}

static bool
is_of(const struct route_memory *memory, const struct rule *rule)
{
    return memory->protocol == rule->protocol
           && memory->v6 == (rule->kind == RULE_SERVICE6)
           && memory->prefix.len == rule->prefix_len
           && !memcmp(&memory->prefix.id, &rule->service,
                      sizeof rule->service);
}

/* A table has the rules of one service and protocol one after the other. */
static void
recall_table(struct plan *plan, uint64_t dpid,
             const struct rule_table *installed)
{
    struct route_memory memory = {.dpid = dpid};
    struct tile *tiles = xmalloc(TILES_MAX * sizeof *tiles);
    size_t i = 0;

    memory.tiling.tiles = tiles;
    for (const struct rule *rule; (rule = rule_table_next(installed, &i));) {
        if (rule->kind != RULE_SERVICE && rule->kind != RULE_SERVICE6) {
            continue;
        }
        if (memory.tiling.n
            && (!is_of(&memory, rule) || memory.tiling.n == TILES_MAX)) {
            routes_remember(plan->routes, &memory);
            memory.tiling.n = 0;
        }
        memory.prefix = (struct service_prefix) {rule->service,
                                                 rule->prefix_len};
        memory.protocol = rule->protocol;
        memory.v6 = rule->kind == RULE_SERVICE6;
        memory.tiling.n += tile_of(plan, rule, &tiles[memory.tiling.n]);
    }
    if (memory.tiling.n) {
        routes_remember(plan->routes, &memory);
    }
    free(tiles);
}

void
plan_recall(struct plan *plan)
{
    for (size_t i = 0; i < plan->n_memories; i++) {
        recall_table(plan, plan->memories[i].dpid,
                     plan->memories[i].installed);
    }
    plan_forget_memories(plan);
}
