/* SPDX-License-Identifier: Apache-2.0 */
/* Which uplink a flow uses, on a host that has several: how new flows are
 * shared out by weight, which uplinks are in use by priority, and which
 * running flows are to move so that the load is even (the experiment of
 * Serval's paper, section 7.4).
 *
 * Pure; not thread-safe; allocates nothing. */
#ifndef SALIENT_UPLINK_POLICY_H
#define SALIENT_UPLINK_POLICY_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UPLINK_POLICY_MAX 16      /* Uplinks. */
#define UPLINK_POLICY_NO_SLOT 255

/* Gives each of 'n_slots' (at most 64) an index below 'n', or
 * UPLINK_POLICY_NO_SLOT if all weights are 0.  Largest remainders: an uplink's
 * number of slots differs from its exact share by less than 1.  The slots of
 * one uplink are not next to each other, so that a choice by few bits of the
 * slot number is a fair one, too. */
void uplink_policy_slots(const uint32_t *weights, size_t n, uint8_t *slots,
                         size_t n_slots);

struct uplink_policy {
    bool usable;       /* It is up and has an address. */
    uint32_t priority; /* Low ones first. */
    uint32_t weight;   /* Among those of the same priority. */
};

/* The weights in force: those of the usable uplinks of the lowest priority
 * that has any; 0 for all others. */
void uplink_policy_weights(const struct uplink_policy *uplinks, size_t n,
                           uint32_t *ret_weights);

/* A flow that can move.  'load' is in any unit that adds up (bytes per second,
 * or 1 for each), below 2^44 in all. */
struct uplink_flow {
    uint64_t load;
    uint32_t uplink; /* Index: where it is; balancing changes it. */
};

struct uplink_balance {
    size_t max_moves;       /* In one go. */
    uint32_t least_percent; /* A move is worth its trouble if the busier of the
                             * two uplinks gets better by so much. */
};

/* Changes 'uplink' of flows, one at a time, always of the flow whose move
 * lowers the load in proportion to weight of the busiest uplink most, until no
 * move is worth it.  Uplinks of weight 0 are emptied.  Returns the number of
 * moves. */
size_t uplink_policy_balance(const uint32_t *weights, size_t n,
                             struct uplink_flow *flows, size_t n_flows,
                             const struct uplink_balance *);

/* The load of the busiest uplink in proportion to its weight, times 1024;
 * UINT64_MAX if one of weight 0 has any. */
uint64_t uplink_policy_cost(const uint32_t *weights, size_t n,
                            const struct uplink_flow *flows, size_t n_flows);

#endif /* uplink_policy.h */
