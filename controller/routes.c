/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/routes.h"

#include <stdlib.h>
#include "controller/paths.h"
#include "controller/registry.h"
#include "controller/topology.h"
#include "controller/zones.h"
#include "openvswitch/util.h"
#include "hash.h"
#include "packets.h"
#include "util.h"

/* A tiling that switches held before a restart, most often all of them. */
struct memory {
    struct hmap_node node; /* By 'prefix' alone. */
    struct service_prefix prefix;
    uint64_t *dpids;
    size_t n_dpids, allocated_dpids;
    uint8_t protocol;
    bool v6;
    struct tiling tiling;
};

struct routes {
    struct routes_config config;
    struct hmap services; /* struct service_routes. */
    struct hmap memories; /* struct memory. */
    const struct zones *zones;
};

static uint32_t
hash_prefix(const struct service_prefix *prefix)
{
    return hash_bytes(prefix, sizeof *prefix, 0);
}

struct routes *
routes_create(const struct routes_config *config)
{
    struct routes *routes = xzalloc(sizeof *routes);
    routes->config = *config;
    hmap_init(&routes->services);
    hmap_init(&routes->memories);
    return routes;
}

void
routes_set_zones(struct routes *routes, const struct zones *zones)
{
    routes->zones = zones;
}

void
routes_configure(struct routes *routes, const struct routes_config *config)
{
    routes->config = *config;
}

static void
route_destroy(struct route *route)
{
    free(route->targets);
    free(route->dpids);
    tiling_destroy(&route->tiling);
    free(route);
}

void
service_routes_destroy(struct service_routes *service)
{
    if (!service) {
        return;
    }
    for (size_t i = 0; i < service->n_routes; i++) {
        route_destroy(service->routes[i]);
    }
    free(service->routes);
    free(service);
}

static void
memory_destroy(struct memory *memory)
{
    tiling_destroy(&memory->tiling);
    free(memory->dpids);
    free(memory);
}

void
routes_destroy(struct routes *routes)
{
    if (!routes) {
        return;
    }
    struct service_routes *service;
    HMAP_FOR_EACH_POP (service, node, &routes->services) {
        service_routes_destroy(service);
    }
    struct memory *memory;
    HMAP_FOR_EACH_POP (memory, node, &routes->memories) {
        memory_destroy(memory);
    }
    hmap_destroy(&routes->services);
    hmap_destroy(&routes->memories);
    free(routes);
}

/* Lookups. */

static struct service_routes *
find_service(const struct routes *routes, const struct service_prefix *prefix)
{
    struct service_routes *service;
    HMAP_FOR_EACH_WITH_HASH (service, node, hash_prefix(prefix),
                             &routes->services) {
        if (service_prefix_equal(&service->prefix, prefix)) {
            return service;
        }
    }
    return NULL;
}

const struct service_routes *
routes_of(const struct routes *routes, const struct service_prefix *prefix)
{
    return find_service(routes, prefix);
}

const struct hmap *
routes_services(const struct routes *routes)
{
    return &routes->services;
}

bool
route_is_at(const struct route *route, uint64_t dpid)
{
    size_t low = 0, high = route->n_dpids;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (route->dpids[middle] < dpid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < route->n_dpids && route->dpids[low] == dpid;
}

const struct route *
route_at(const struct service_routes *service, uint64_t dpid,
         uint8_t protocol, bool v6)
{
    for (size_t i = 0; i < service->n_routes; i++) {
        const struct route *route = service->routes[i];
        if (route->protocol == protocol && route->v6 == v6
            && route_is_at(route, dpid)) {
            return route;
        }
    }
    return NULL;
}

const struct route_target *
route_target(const struct route *route, uint32_t key)
{
    size_t low = 0, high = route->n_targets;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (route->targets[middle].key < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < route->n_targets && route->targets[low].key == key
           ? &route->targets[low] : NULL;
}

/* Candidates: the instances of a service that are attached, by protocol and
 * kind of locator, then by key. */

struct candidate {
    uint8_t protocol;
    bool v6;
    uint32_t at; /* Index of its switch in the paths. */
    uint32_t priority, capacity;
    const char *zone;
    struct route_target target;
};

static int
compare_candidates(const void *a_, const void *b_)
{
    const struct candidate *a = a_, *b = b_;
    if (a->protocol != b->protocol) {
        return a->protocol - b->protocol;
    }
    if (a->v6 != b->v6) {
        return a->v6 - b->v6;
    }
    if (a->target.key != b->target.key) {
        return a->target.key < b->target.key ? -1 : 1;
    }
    /* The one that is kept: the most important, then the largest. */
    if (a->priority != b->priority) {
        return a->priority < b->priority ? -1 : 1;
    }
    return a->target.weight > b->target.weight
           ? -1 : a->target.weight < b->target.weight;
}

static bool
same_class(const struct candidate *a, const struct candidate *b)
{
    return a->protocol == b->protocol && a->v6 == b->v6;
}

/* Stores the instance as a candidate, if it is attached by a locator of that
 * kind. */
static bool
make_candidate(const struct registry_instance *instance, bool v6,
               const struct topology *topology, const struct paths *paths,
               struct candidate *candidate)
{
    const struct registry_endpoint *endpoint = instance->endpoint;
    const struct topology_attachment *host
        = instance->offer.weight
          ? topology_attachment_by(topology, &endpoint->id, v6) : NULL;
    uint32_t at = host ? paths_index(paths, host->dpid) : PATHS_NO_SWITCH;

    if (at == PATHS_NO_SWITCH) {
        return false;
    }
    memset(candidate, 0, sizeof *candidate);
    candidate->protocol = instance->protocol;
    candidate->v6 = v6;
    candidate->at = at;
    candidate->priority = instance->offer.priority;
    candidate->capacity = instance->offer.capacity;
    candidate->zone = endpoint->zone;
    candidate->target = (struct route_target) {
        .endpoint = endpoint->id,
        .key = endpoint->identity_v4,
        .weight = instance->offer.weight,
        .locator = host->locator,
        .mac = host->mac,
        .dpid = host->dpid,
        .port = host->port,
    };
    return true;
}

static struct candidate *
find_candidates(const struct registry_service *service,
                const struct topology *topology, const struct paths *paths,
                size_t *ret_n)
{
    struct candidate *candidates = xmalloc((2 * service->n_instances + 1)
                                           * sizeof *candidates);
    const struct registry_instance *instance;
    size_t n = 0;

    REGISTRY_FOR_EACH_INSTANCE_OF (instance, service) {
        n += make_candidate(instance, false, topology, paths, &candidates[n]);
        n += make_candidate(instance, true, topology, paths, &candidates[n]);
    }
    if (n) {
        qsort(candidates, n, sizeof *candidates, compare_candidates);
    }

    /* One per endpoint and class. */
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (!kept || !same_class(&candidates[kept - 1], &candidates[i])
            || candidates[kept - 1].target.key != candidates[i].target.key) {
            candidates[kept++] = candidates[i];
        }
    }
    *ret_n = kept;
    return candidates;
}

/* What the policy decides for one service on one switch after the other. */
struct choice {
    enum route_policy policy;
    const struct zones *zones;
    const struct paths *paths;
    const struct candidate *candidates;
    struct policy_instance *instances;
    uint32_t *shares; /* The result. */
    size_t n;
};

static size_t
choose(struct choice *choice, uint32_t from)
{
    const char *zone = choice->zones ? zones_of(choice->zones, from) : "";

    for (size_t i = 0; i < choice->n; i++) {
        const struct candidate *candidate = &choice->candidates[i];
        choice->instances[i] = (struct policy_instance) {
            .distance = choice->policy == ROUTE_NEAREST_LATENCY
                        ? paths_latency(choice->paths, from, candidate->at)
                        : paths_distance(choice->paths, from, candidate->at),
            .weight = candidate->target.weight,
            .priority = candidate->priority,
            .capacity = candidate->capacity,
            .local = zone[0] && !strcmp(zone, candidate->zone),
        };
    }
    return policy_choose(choice->policy, choice->instances, choice->n,
                         choice->shares);
}

/* True if 'route' has exactly the chosen candidates, by these weights. */
static bool
is_same_choice(const struct route *route, const struct choice *choice)
{
    size_t j = 0;
    for (size_t i = 0; i < choice->n; i++) {
        if (!choice->shares[i]) {
            continue;
        }
        if (j >= route->n_targets
            || route->targets[j].key != choice->candidates[i].target.key
            || route->targets[j].weight != choice->shares[i]) {
            return false;
        }
        j++;
    }
    return j == route->n_targets;
}

static struct route *
create_route(const struct choice *choice, size_t n_chosen)
{
    struct route *route = xzalloc(sizeof *route);
    route->protocol = choice->candidates[0].protocol;
    route->v6 = choice->candidates[0].v6;
    route->targets = xmalloc(n_chosen * sizeof *route->targets);
    for (size_t i = 0; i < choice->n; i++) {
        if (choice->shares[i]) {
            struct route_target *target = &route->targets[route->n_targets++];
            *target = choice->candidates[i].target;
            target->weight = choice->shares[i];
        }
    }
    return route;
}

static void
add_route(struct service_routes *service, struct route *route)
{
    service->routes = xrealloc(service->routes, (service->n_routes + 1)
                                                * sizeof *service->routes);
    service->routes[service->n_routes++] = route;
}

/* The route of those added since 'first' that is this choice, made if there is
 * none. */
static struct route *
get_route(struct service_routes *service, size_t first,
          const struct choice *choice, size_t n_chosen)
{
    for (size_t i = first; i < service->n_routes; i++) {
        if (is_same_choice(service->routes[i], choice)) {
            return service->routes[i];
        }
    }
    struct route *route = create_route(choice, n_chosen);
    route->dpids = xmalloc(paths_n_switches(choice->paths)
                           * sizeof *route->dpids);
    add_route(service, route);
    return route;
}

/* Routes of one class for all switches that resolve; equal choices share
 * one. */
static void
compute_class(struct choice *choice, struct service_routes *service)
{
    size_t first = service->n_routes;

    choice->instances = xmalloc(choice->n * sizeof *choice->instances);
    choice->shares = xmalloc(choice->n * sizeof *choice->shares);
    for (uint32_t from = 0; from < paths_n_switches(choice->paths); from++) {
        if (!paths_resolves(choice->paths, from)
            && !paths_delegates(choice->paths, from)) {
            continue;
        }
        size_t n_chosen = choose(choice, from);
        if (n_chosen) {
            struct route *route = get_route(service, first, choice, n_chosen);
            route->dpids[route->n_dpids++] = paths_dpid(choice->paths, from);
        }
    }
    free(choice->instances);
    free(choice->shares);
}

/* Tilings. */

static bool
is_memory_of(const struct memory *memory, uint64_t dpid)
{
    for (size_t i = 0; i < memory->n_dpids; i++) {
        if (memory->dpids[i] == dpid) {
            return true;
        }
    }
    return false;
}

static const struct memory *
find_memory(const struct routes *routes, const struct service_prefix *prefix,
            const struct route *route, uint64_t dpid)
{
    const struct memory *memory;
    HMAP_FOR_EACH_WITH_HASH (memory, node, hash_prefix(prefix),
                             &routes->memories) {
        if (memory->protocol == route->protocol && memory->v6 == route->v6
            && is_memory_of(memory, dpid)
            && service_prefix_equal(&memory->prefix, prefix)) {
            return memory;
        }
    }
    return NULL;
}

/* Forgets what is remembered of 'prefix'. */
static void
forget(struct routes *routes, const struct service_prefix *prefix)
{
    struct hmap_node *node, *next;
    for (node = hmap_first_with_hash(&routes->memories, hash_prefix(prefix));
         node; node = next) {
        struct memory *memory = CONTAINER_OF(node, struct memory, node);
        next = hmap_next_with_hash(node);
        if (service_prefix_equal(&memory->prefix, prefix)) {
            hmap_remove(&routes->memories, node);
            memory_destroy(memory);
        }
    }
}

static bool
overlaps(const struct tiling *tiling, const struct tile *tile)
{
    for (size_t i = 0; i < tiling->n; i++) {
        const struct tile *other = &tiling->tiles[i];
        if (!((other->value ^ tile->value)
              & tile_mask(other->bits < tile->bits ? other : tile))) {
            return true;
        }
    }
    return false;
}

static bool
is_whole(const struct tiling *tiling)
{
    uint32_t places = 0;
    for (size_t i = 0; i < tiling->n; i++) {
        places += TILES_MAX >> tiling->tiles[i].bits;
    }
    return places >= TILES_MAX;
}

static void
add_tiles(struct tiling *to, const struct tiling *from)
{
    to->tiles = xrealloc(to->tiles, (to->n + from->n) * sizeof *to->tiles);
    for (size_t i = 0; i < from->n; i++) {
        if (!overlaps(to, &from->tiles[i])) {
            to->tiles[to->n++] = from->tiles[i];
        }
    }
}

/* What the switches of 'route' held before a restart.  Where resolution is hop
 * by hop, no switch alone knows all tiles: then they are put together in
 * 'merged' (empty; the caller's). */
static const struct tiling *
find_remembered(const struct routes *routes,
                const struct service_prefix *prefix,
                const struct route *route, struct tiling *merged)
{
    const struct memory *first = NULL;
    for (size_t i = 0; i < route->n_dpids; i++) {
        const struct memory *memory = find_memory(routes, prefix, route,
                                                  route->dpids[i]);
        if (!memory || memory == first) {
            continue;
        }
        if (!first && is_whole(&memory->tiling)) {
            return &memory->tiling;
        }
        first = first ? first : memory;
        add_tiles(merged, &memory->tiling);
        if (is_whole(merged)) {
            break;
        }
    }
    return first ? merged : NULL;
}

/* The tiling that the switches of 'route' should change as little as possible:
 * that of the first of them that has one. */
static const struct tiling *
find_previous(const struct routes *routes, const struct service_routes *old,
              const struct service_prefix *prefix, const struct route *route,
              struct tiling *merged)
{
    for (size_t i = 0; old && i < route->n_dpids; i++) {
        const struct route *before = route_at(old, route->dpids[i],
                                              route->protocol, route->v6);
        if (before) {
            return &before->tiling;
        }
    }
    return hmap_is_empty(&routes->memories)
           ? NULL : find_remembered(routes, prefix, route, merged);
}

static void
compute_tiling(const struct routes *routes, const struct service_routes *old,
               const struct service_prefix *prefix, struct route *route)
{
    size_t n = MIN(route->n_targets, TILES_MAX);
    struct tile_weight *weights = xmalloc(n * sizeof *weights);
    for (size_t i = 0; i < n; i++) {
        weights[i] = (struct tile_weight) {route->targets[i].key,
                                           route->targets[i].weight};
    }
    struct tiling merged = TILING_INITIALIZER;
    int error = tiling_compute(weights, n, routes->config.tolerance_permille,
                               find_previous(routes, old, prefix, route,
                                             &merged),
                               &route->tiling);
    ovs_assert(!error);
    tiling_destroy(&merged);
    free(weights);
}

static bool
same_target(const struct route_target *a, const struct route_target *b)
{
    return endpoint_id_equal(&a->endpoint, &b->endpoint) && a->key == b->key
           && a->weight == b->weight
           && ipv6_addr_equals(&a->locator, &b->locator)
           && eth_addr_equals(a->mac, b->mac) && a->dpid == b->dpid
           && a->port == b->port;
}

static bool
same_route(const struct route *a, const struct route *b)
{
    if (a->protocol != b->protocol || a->v6 != b->v6
        || a->n_targets != b->n_targets
        || a->n_dpids != b->n_dpids
        || memcmp(a->dpids, b->dpids, a->n_dpids * sizeof *a->dpids)
        || !tiling_equal(&a->tiling, &b->tiling)) {
        return false;
    }
    for (size_t i = 0; i < a->n_targets; i++) {
        if (!same_target(&a->targets[i], &b->targets[i])) {
            return false;
        }
    }
    return true;
}

bool
service_routes_equal(const struct service_routes *a,
                     const struct service_routes *b)
{
    if (a->n_routes != b->n_routes || a->path_class != b->path_class) {
        return false;
    }
    for (size_t i = 0; i < a->n_routes; i++) {
        if (!same_route(a->routes[i], b->routes[i])) {
            return false;
        }
    }
    return true;
}

/* Updates. */

static struct service_routes *
compute_service(const struct routes *routes,
                const struct registry_service *service,
                const struct topology *topology, const struct paths *paths,
                const struct service_routes *old)
{
    struct service_routes *new = xzalloc(sizeof *new);
    size_t n;

    new->prefix = service->prefix;
    new->path_class = service->definition.path_class;
    struct candidate *candidates = find_candidates(service, topology, paths,
                                                   &n);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1;
             end < n && same_class(&candidates[end], &candidates[i]); end++) {
            continue;
        }
        struct choice choice = {
            .policy = service->definition.policy != ROUTE_DEFAULT
                      ? service->definition.policy : routes->config.policy,
            .zones = routes->zones,
            .paths = paths,
            .candidates = &candidates[i],
            .n = end - i,
        };
        compute_class(&choice, new);
    }
    free(candidates);
    for (size_t i = 0; i < new->n_routes; i++) {
        compute_tiling(routes, old, &new->prefix, new->routes[i]);
    }
    return new;
}

bool
routes_update(struct routes *routes, const struct registry *registry,
              const struct topology *topology, const struct paths *paths,
              const struct service_prefix *prefix,
              struct service_routes **ret_old)
{
    const struct registry_service *service = registry_service(registry,
                                                              prefix);
    struct service_routes *old = find_service(routes, prefix);
    struct service_routes *new = NULL;

    if (service) {
        new = compute_service(routes, service, topology, paths, old);
        if (!new->n_routes) {
            service_routes_destroy(new);
            new = NULL;
        }
    }
    forget(routes, prefix);
    if (!old && !new) {
        return false;
    }
    if (old && new && service_routes_equal(old, new)) {
        service_routes_destroy(new);
        return false;
    }
    if (old) {
        hmap_remove(&routes->services, &old->node);
    }
    if (new) {
        hmap_insert(&routes->services, &new->node, hash_prefix(prefix));
    }
    *ret_old = old;
    return true;
}

void
routes_update_all(struct routes *routes, const struct registry *registry,
                  const struct topology *topology, const struct paths *paths)
{
    struct service_routes *old;
    HMAP_FOR_EACH_SAFE (old, node, &routes->services) {
        if (!registry_service(registry, &old->prefix)) {
            hmap_remove(&routes->services, &old->node);
            service_routes_destroy(old);
        }
    }
    const struct registry_service *service;
    REGISTRY_FOR_EACH_SERVICE (service, registry) {
        if (routes_update(routes, registry, topology, paths,
                          &service->prefix, &old)) {
            service_routes_destroy(old);
        }
    }
}

static struct memory *
find_same_memory(const struct routes *routes, const struct route_memory *what)
{
    struct memory *memory;
    HMAP_FOR_EACH_WITH_HASH (memory, node, hash_prefix(&what->prefix),
                             &routes->memories) {
        if (memory->protocol == what->protocol && memory->v6 == what->v6
            && service_prefix_equal(&memory->prefix, &what->prefix)
            && tiling_equal(&memory->tiling, &what->tiling)) {
            return memory;
        }
    }
    return NULL;
}

void
routes_remember(struct routes *routes, const struct route_memory *what)
{
    struct memory *memory = find_same_memory(routes, what);
    if (!memory) {
        memory = xzalloc(sizeof *memory);
        memory->prefix = what->prefix;
        memory->protocol = what->protocol;
        memory->v6 = what->v6;
        add_tiles(&memory->tiling, &what->tiling);
        hmap_insert(&routes->memories, &memory->node,
                    hash_prefix(&what->prefix));
    }
    if (memory->n_dpids >= memory->allocated_dpids) {
        memory->dpids = x2nrealloc(memory->dpids, &memory->allocated_dpids,
                                   sizeof *memory->dpids);
    }
    memory->dpids[memory->n_dpids++] = what->dpid;
}
