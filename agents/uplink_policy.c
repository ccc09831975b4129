/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/uplink_policy.h"

#include <string.h>
#include "util.h"

/* Each slot goes to the uplink that is furthest behind its share of the slots
 * so far: that is largest remainders, and spreads them. */
void
uplink_policy_slots(const uint32_t *weights, size_t n, uint8_t *slots,
                    size_t n_slots)
{
    uint64_t total = 0, given[UPLINK_POLICY_MAX] = {0};

    ovs_assert(n <= UPLINK_POLICY_MAX);
    for (size_t i = 0; i < n; i++) {
        total += weights[i];
    }
    for (size_t slot = 0; slot < n_slots; slot++) {
        int64_t most = 0;
        slots[slot] = UPLINK_POLICY_NO_SLOT;
        for (size_t i = 0; i < n; i++) {
            int64_t behind = (int64_t) (weights[i] * (slot + 1))
                             - (int64_t) (given[i] * total);
            if (weights[i]
                && (slots[slot] == UPLINK_POLICY_NO_SLOT || behind > most)) {
                most = behind;
                slots[slot] = i;
            }
        }
        if (slots[slot] != UPLINK_POLICY_NO_SLOT) {
            given[slots[slot]]++;
        }
    }
}

void
uplink_policy_weights(const struct uplink_policy *uplinks, size_t n,
                      uint32_t *ret_weights)
{
    uint32_t first = UINT32_MAX;

    for (size_t i = 0; i < n; i++) {
        if (uplinks[i].usable && uplinks[i].weight) {
            first = MIN(first, uplinks[i].priority);
        }
    }
    for (size_t i = 0; i < n; i++) {
        ret_weights[i] = uplinks[i].usable && uplinks[i].priority == first
                         ? uplinks[i].weight : 0;
    }
}

static uint64_t
cost(uint64_t load, uint32_t weight)
{
    return weight ? load * 1024 / weight : load ? UINT64_MAX : 0;
}

static void
sum_loads(const struct uplink_flow *flows, size_t n_flows, uint64_t *loads)
{
    memset(loads, 0, UPLINK_POLICY_MAX * sizeof *loads);
    for (size_t i = 0; i < n_flows; i++) {
        loads[flows[i].uplink] += flows[i].load;
    }
}

uint64_t
uplink_policy_cost(const uint32_t *weights, size_t n,
                   const struct uplink_flow *flows, size_t n_flows)
{
    uint64_t loads[UPLINK_POLICY_MAX], most = 0;

    sum_loads(flows, n_flows, loads);
    for (size_t i = 0; i < n; i++) {
        most = MAX(most, cost(loads[i], weights[i]));
    }
    return most;
}

/* The move of 'load' from uplink 'from' to the best other one: the cost of the
 * busier of the two afterwards. */
static uint64_t
best_target(const uint32_t *weights, const uint64_t *loads, size_t n,
            const struct uplink_flow *flow, uint32_t *ret_target)
{
    uint64_t best = UINT64_MAX;

    for (uint32_t i = 0; i < n; i++) {
        if (i != flow->uplink && weights[i]) {
            /* What stays on an uplink of weight 0 is moved later. */
            uint64_t left = weights[flow->uplink]
                            ? cost(loads[flow->uplink] - flow->load,
                                   weights[flow->uplink])
                            : 0;
            uint64_t after = MAX(left, cost(loads[i] + flow->load,
                                            weights[i]));
            if (after < best) {
                best = after;
                *ret_target = i;
            }
        }
    }
    return best;
}

/* The best move away from 'busiest'; false if none is worth it. */
static bool
balance_once(const uint32_t *weights, uint64_t *loads, size_t n,
             struct uplink_flow *flows, size_t n_flows, uint64_t limit,
             uint32_t busiest)
{
    struct uplink_flow *best = NULL;
    uint64_t best_cost = limit;
    uint32_t best_uplink = 0;

    for (size_t i = 0; i < n_flows; i++) {
        uint32_t target = 0;
        if (flows[i].uplink == busiest && flows[i].load) {
            uint64_t after = best_target(weights, loads, n, &flows[i],
                                         &target);
            if (after < best_cost) {
                best_cost = after;
                best = &flows[i];
                best_uplink = target;
            }
        }
    }
    if (!best) {
        return false;
    }
    loads[busiest] -= best->load;
    loads[best_uplink] += best->load;
    best->uplink = best_uplink;
    return true;
}

size_t
uplink_policy_balance(const uint32_t *weights, size_t n,
                      struct uplink_flow *flows, size_t n_flows,
                      const struct uplink_balance *how)
{
    uint64_t loads[UPLINK_POLICY_MAX];
    size_t n_moves = 0;

    ovs_assert(n <= UPLINK_POLICY_MAX);
    sum_loads(flows, n_flows, loads);
    while (n_moves < how->max_moves) {
        uint32_t busiest = 0;
        for (uint32_t i = 1; i < n; i++) {
            if (cost(loads[i], weights[i])
                > cost(loads[busiest], weights[busiest])) {
                busiest = i;
            }
        }
        uint64_t now = n ? cost(loads[busiest], weights[busiest]) : 0;
        uint64_t limit = now == UINT64_MAX
                         ? now : now - now / 100 * how->least_percent;
        if (!now || !balance_once(weights, loads, n, flows, n_flows, limit,
                                  busiest)) {
            break;
        }
        n_moves++;
    }
    return n_moves;
}
