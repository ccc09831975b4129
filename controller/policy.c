/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/policy.h"

#include <string.h>
#include "openvswitch/util.h"
#include "util.h"

static const char *const names[] = {
    [ROUTE_DEFAULT] = "default",
    [ROUTE_SPREAD] = "spread",
    [ROUTE_NEAREST] = "nearest",
    [ROUTE_NEAREST_LATENCY] = "nearest-latency",
    [ROUTE_FAILOVER] = "failover",
    [ROUTE_LOCAL_FIRST] = "local-first",
};

const char *
route_policy_string(enum route_policy policy)
{
    return policy < ARRAY_SIZE(names) ? names[policy] : NULL;
}

bool
route_policy_from_string(const char *s, enum route_policy *ret_policy)
{
    for (size_t i = ROUTE_SPREAD; i < ARRAY_SIZE(names); i++) {
        if (!strcmp(names[i], s)) {
            *ret_policy = i;
            return true;
        }
    }
    return false;
}

static bool
is_reachable(const struct policy_instance *instance)
{
    return instance->distance != UINT32_MAX;
}

static size_t
choose_all(const struct policy_instance instances[], size_t n,
           uint32_t shares[])
{
    size_t n_chosen = 0;
    for (size_t i = 0; i < n; i++) {
        shares[i] = is_reachable(&instances[i]) ? instances[i].weight : 0;
        n_chosen += shares[i] != 0;
    }
    return n_chosen;
}

/* Those with the least of what 'offset' says. */
static size_t
choose_least(const struct policy_instance instances[], size_t n,
             bool by_priority, uint32_t shares[])
{
    uint32_t least = UINT32_MAX;
    size_t n_chosen = 0;

    for (size_t i = 0; i < n; i++) {
        if (is_reachable(&instances[i])) {
            least = MIN(least, by_priority ? instances[i].priority
                                           : instances[i].distance);
        }
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t value = by_priority ? instances[i].priority
                                     : instances[i].distance;
        shares[i] = is_reachable(&instances[i]) && value == least
                    ? instances[i].weight : 0;
        n_chosen += shares[i] != 0;
    }
    return n_chosen;
}

/* The load of a zone is taken to be the sum of the weights of its instances:
 * that is what they are there for. */
struct zone {
    uint64_t load;      /* Of the local instances. */
    uint64_t capacity;  /* Of those with a limit. */
    bool unlimited;     /* One has none. */
    uint64_t elsewhere; /* Sum of the weights in other zones. */
};

static void
add_up(const struct policy_instance instances[], size_t n, struct zone *zone)
{
    memset(zone, 0, sizeof *zone);
    for (size_t i = 0; i < n; i++) {
        const struct policy_instance *instance = &instances[i];
        if (!is_reachable(instance)) {
            continue;
        }
        if (!instance->local) {
            zone->elsewhere += instance->weight;
        } else {
            zone->load += instance->weight;
            zone->capacity += instance->capacity;
            zone->unlimited |= !instance->capacity;
        }
    }
}

/* Deals the load out by weight among the local instances, none beyond its
 * capacity: who is full drops out, the others share what is left.  Stores
 * shares in units of 1/weight of those that are not full. */
static void
fill_up(const struct policy_instance instances[], size_t n, uint64_t load,
        uint64_t *ret_rest, uint64_t *ret_weight, bool full[])
{
    uint64_t rest = load, weight = 0;
    bool again = true;

    for (size_t i = 0; i < n; i++) {
        full[i] = false;
        if (is_reachable(&instances[i]) && instances[i].local) {
            weight += instances[i].weight;
        }
    }
    while (again) {
        again = false;
        for (size_t i = 0; i < n; i++) {
            const struct policy_instance *instance = &instances[i];
            if (is_reachable(instance) && instance->local && !full[i]
                && instance->capacity
                && rest * instance->weight > instance->capacity * weight) {
                full[i] = again = true;
                rest -= instance->capacity;
                weight -= instance->weight;
            }
        }
    }
    *ret_rest = rest;
    *ret_weight = weight;
}

static uint64_t
greatest_common_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* As small as they go, and none too large to be added up by others. */
static void
reduce(uint64_t wide[], size_t n, uint32_t shares[])
{
    uint64_t divisor = 0, largest = 0;

    for (size_t i = 0; i < n; i++) {
        divisor = greatest_common_divisor(wide[i], divisor);
        largest = MAX(largest, wide[i]);
    }
    divisor = MAX(divisor, 1);
    while (largest / divisor > UINT16_MAX) {
        divisor *= 2;
    }
    for (size_t i = 0; i < n; i++) {
        shares[i] = wide[i] ? MAX(wide[i] / divisor, 1) : 0;
    }
}

static size_t
choose_local_first(const struct policy_instance instances[], size_t n,
                   uint32_t shares[])
{
    struct zone zone;
    size_t n_chosen = 0;

    add_up(instances, n, &zone);
    if (!zone.load) {
        return choose_all(instances, n, shares);
    }
    bool overflows = !zone.unlimited && zone.load > zone.capacity
                     && zone.elsewhere;
    uint64_t *wide = xcalloc(n, sizeof *wide);
    if (overflows) {
        /* Each local one is full.  In units of 1/elsewhere. */
        for (size_t i = 0; i < n; i++) {
            const struct policy_instance *instance = &instances[i];
            if (is_reachable(instance)) {
                wide[i] = instance->local
                          ? instance->capacity * zone.elsewhere
                          : (zone.load - zone.capacity) * instance->weight;
            }
        }
    } else {
        bool *full = xmalloc(n * sizeof *full);
        uint64_t rest, weight;
        fill_up(instances, n, zone.load, &rest, &weight, full);
        for (size_t i = 0; i < n; i++) {
            const struct policy_instance *instance = &instances[i];
            if (is_reachable(instance) && instance->local) {
                wide[i] = full[i] ? instance->capacity * MAX(weight, 1)
                                  : rest * instance->weight;
            }
        }
        free(full);
    }
    reduce(wide, n, shares);
    free(wide);
    for (size_t i = 0; i < n; i++) {
        n_chosen += shares[i] != 0;
    }
    return n_chosen;
}

size_t
policy_choose(enum route_policy policy,
              const struct policy_instance instances[], size_t n,
              uint32_t shares[])
{
    switch (policy) {
    case ROUTE_NEAREST:
    case ROUTE_NEAREST_LATENCY:
        return choose_least(instances, n, false, shares);
    case ROUTE_FAILOVER:
        return choose_least(instances, n, true, shares);
    case ROUTE_LOCAL_FIRST:
        return choose_local_first(instances, n, shares);
    case ROUTE_DEFAULT:
    case ROUTE_SPREAD:
        break;
    }
    return choose_all(instances, n, shares);
}
