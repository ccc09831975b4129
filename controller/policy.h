/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: which instances of a service get which share of a switch's new
 * connections.
 *
 *     spread           all that can be reached, by weight
 *     nearest          those at the least distance (sum of link costs)
 *     nearest-latency  those at the least measured latency
 *     failover         those with the lowest priority number
 *     local-first      those of the switch's zone, up to their capacity; the
 *                      rest goes to the other zones, by weight
 *
 * Pure; any thread. */
#ifndef CONTROLLER_POLICY_H
#define CONTROLLER_POLICY_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum route_policy {
    ROUTE_DEFAULT,         /* What the configuration says for all. */
    ROUTE_SPREAD,
    ROUTE_NEAREST,
    ROUTE_NEAREST_LATENCY,
    ROUTE_FAILOVER,
    ROUTE_LOCAL_FIRST,
};

#define ROUTE_POLICY_NAMES                                                    \
    "spread, nearest, nearest-latency, failover or local-first"

/* NULL for a number that is none. */
const char *route_policy_string(enum route_policy);
/* False, and '*ret_policy' left alone, if there is no such policy. */
bool route_policy_from_string(const char *, enum route_policy *ret_policy);

/* An instance as one switch sees it. */
struct policy_instance {
    uint32_t distance; /* In the policy's measure; UINT32_MAX: no way. */
    uint32_t weight;   /* 1..65535. */
    uint32_t priority;
    uint32_t capacity; /* In the unit of weights; 0 = no limit. */
    bool local;        /* In the switch's zone. */
};

/* Stores for each of the 'n' instances the weight that it has for the switch,
 * 0 if it is not used.  Returns how many are. */
size_t policy_choose(enum route_policy, const struct policy_instance[],
                     size_t n, uint32_t shares[]);

#endif /* policy.h */
