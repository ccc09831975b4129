/* SPDX-License-Identifier: Apache-2.0 */
/* Which hosts and endpoints the plan has computed rules for, and where they
 * were then; and who has gone since. */
#include "controller/plan_private.h"

#include <stdlib.h>
#include "openvswitch/util.h"
#include "hash.h"
#include "packets.h"
#include "util.h"

/* A host that went. */
struct gone_host {
    struct hmap_node node;
    struct in6_addr locator;
    uint64_t generation;
};
#define GONE_HOSTS_MAX 4096

static uint32_t
hash_locator(const struct in6_addr *locator)
{
    return hash_bytes(locator, sizeof *locator, 0);
}

struct plan_host *
plan_find_host(const struct plan *plan, const struct in6_addr *locator)
{
    struct plan_host *host;
    HMAP_FOR_EACH_WITH_HASH (host, node, hash_locator(locator),
                             &plan->hosts) {
        if (ipv6_addr_equals(&host->at.locator, locator)) {
            return host;
        }
    }
    return NULL;
}

void
plan_remember_host(struct plan *plan, const struct topology_attachment *now)
{
    struct plan_host *host = plan_find_host(plan, &now->locator);
    if (!host) {
        host = xmalloc(sizeof *host);
        hmap_insert(&plan->hosts, &host->node, hash_locator(&now->locator));
    }
    host->at = *now;
}

void
plan_forget_host(struct plan *plan, struct plan_host *host)
{
    if (host) {
        hmap_remove(&plan->hosts, &host->node);
        free(host);
    }
}

static struct gone_host *
find_gone_host(const struct plan *plan, const struct in6_addr *locator)
{
    struct gone_host *host;
    HMAP_FOR_EACH_WITH_HASH (host, node, hash_locator(locator), &plan->gone) {
        if (ipv6_addr_equals(&host->locator, locator)) {
            return host;
        }
    }
    return NULL;
}

/* From now on all count as gone with the next generation. */
void
plan_forget_gone_hosts(struct plan *plan)
{
    struct gone_host *host;
    HMAP_FOR_EACH_POP (host, node, &plan->gone) {
        free(host);
    }
    plan->gone_generation = plan->generation + 1;
}

void
plan_forget_hosts(struct plan *plan)
{
    struct plan_host *host;
    HMAP_FOR_EACH_POP (host, node, &plan->hosts) {
        free(host);
    }
    struct plan_endpoint *endpoint;
    HMAP_FOR_EACH_POP (endpoint, node, &plan->endpoints) {
        free(endpoint);
    }
}

uint64_t
plan_gone_since(const struct plan *plan, const struct in6_addr *locator)
{
    const struct gone_host *host = find_gone_host(plan, locator);
    return host ? MAX(host->generation, plan->gone_generation)
                : plan->gone_generation;
}

void
plan_remember_gone_host(struct plan *plan, const struct in6_addr *locator)
{
    struct gone_host *host = find_gone_host(plan, locator);
    if (!host && hmap_count(&plan->gone) >= GONE_HOSTS_MAX) {
        plan_forget_gone_hosts(plan);
    }
    if (!host) {
        host = xmalloc(sizeof *host);
        host->locator = *locator;
        hmap_insert(&plan->gone, &host->node, hash_locator(locator));
    }
    host->generation = plan->generation + 1; /* Of the run under way. */
}

struct plan_endpoint *
plan_find_endpoint(const struct plan *plan, const struct endpoint_id *id)
{
    struct plan_endpoint *endpoint;
    HMAP_FOR_EACH_WITH_HASH (endpoint, node, endpoint_id_hash(id),
                             &plan->endpoints) {
        if (endpoint_id_equal(&endpoint->id, id)) {
            return endpoint;
        }
    }
    return NULL;
}

/* Takes down where the endpoint is now.  Returns NULL, and forgets it, if it
 * is nowhere. */
struct plan_endpoint *
plan_remember_endpoint(struct plan *plan, const struct endpoint_id *id)
{
    struct plan_endpoint *endpoint = plan_find_endpoint(plan, id);
    const struct topology_attachment *at[2];

    for (int v6 = 0; v6 < 2; v6++) {
        at[v6] = topology_attachment_by(plan->topology, id, v6);
    }
    if (!at[0] && !at[1]) {
        if (endpoint) {
            hmap_remove(&plan->endpoints, &endpoint->node);
            free(endpoint);
        }
        return NULL;
    }
    if (!endpoint) {
        endpoint = xzalloc(sizeof *endpoint);
        endpoint->id = *id;
        hmap_insert(&plan->endpoints, &endpoint->node, endpoint_id_hash(id));
    }
    for (int v6 = 0; v6 < 2; v6++) {
        endpoint->attached[v6] = at[v6] != NULL;
        if (at[v6]) {
            endpoint->at[v6] = *at[v6];
        }
    }
    return endpoint;
}
