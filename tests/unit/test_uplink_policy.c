/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "agents/uplink_policy.h"

static void
test_slots_are_exact_shares(void)
{
    for (int round = 0; round < 2000; round++) {
        uint32_t weights[UPLINK_POLICY_MAX], total = 0;
        size_t n = 1 + unit_random_below(6);
        size_t n_slots = 1 + unit_random_below(64);
        uint8_t slots[64];
        size_t given[UPLINK_POLICY_MAX] = {0};
        for (size_t i = 0; i < n; i++) {
            weights[i] = unit_random_below(4) ? unit_random_below(100) : 0;
            total += weights[i];
        }
        uplink_policy_slots(weights, n, slots, n_slots);
        for (size_t i = 0; i < n_slots; i++) {
            if (!total) {
                CU_ASSERT_EQUAL_FATAL(slots[i], UPLINK_POLICY_NO_SLOT);
            } else {
                CU_ASSERT_FATAL(slots[i] < n);
                given[slots[i]]++;
            }
        }
        for (size_t i = 0; total && i < n; i++) {
            double share = (double) n_slots * weights[i] / total;
            CU_ASSERT(given[i] > share - 1.5 && given[i] < share + 1.5);
            CU_ASSERT(weights[i] || !given[i]);
        }
    }
}

static void
test_slots_by_hand(void)
{
    static const uint32_t equal[] = {1, 1}, skewed[] = {3, 0, 1};
    uint8_t slots[64];
    size_t n = 0;

    uplink_policy_slots(equal, 2, slots, 4);
    CU_ASSERT(slots[0] != slots[1] && slots[2] != slots[3]);
    uplink_policy_slots(skewed, 3, slots, 64);
    for (int i = 0; i < 64; i++) {
        n += slots[i] == 0;
        CU_ASSERT_NOT_EQUAL(slots[i], 1);
    }
    CU_ASSERT_EQUAL(n, 48);
}

static void
test_weights_by_priority(void)
{
    struct uplink_policy uplinks[] = {
        {true, 1, 3}, {true, 1, 1}, {true, 2, 5}, {false, 0, 9}};
    uint32_t weights[4];

    uplink_policy_weights(uplinks, 4, weights);
    CU_ASSERT(weights[0] == 3 && weights[1] == 1 && !weights[2]
              && !weights[3]);
    uplinks[0].usable = uplinks[1].usable = false;
    uplink_policy_weights(uplinks, 4, weights);
    CU_ASSERT(!weights[0] && !weights[1] && weights[2] == 5 && !weights[3]);
    uplinks[3].usable = true;
    uplink_policy_weights(uplinks, 4, weights);
    CU_ASSERT(weights[3] == 9 && !weights[2]);
    uplinks[3].weight = 0; /* Never by itself. */
    uplink_policy_weights(uplinks, 4, weights);
    CU_ASSERT(!weights[3] && weights[2] == 5);
}

static const struct uplink_balance thorough = {1000, 0};

/* The experiment: all flows on one of two uplinks, then evened. */
static void
test_balance_experiment(void)
{
    static const uint32_t weights[] = {1, 1};
    struct uplink_flow flows[15];
    size_t there = 0;

    for (int i = 0; i < 15; i++) {
        flows[i] = (struct uplink_flow) {100, 0};
    }
    CU_ASSERT_EQUAL(uplink_policy_balance(weights, 2, flows, 15, &thorough),
                    7);
    for (int i = 0; i < 15; i++) {
        there += flows[i].uplink;
    }
    CU_ASSERT_EQUAL(there, 7);
    CU_ASSERT_EQUAL(uplink_policy_balance(weights, 2, flows, 15, &thorough),
                    0);
}

static void
test_balance_hysteresis(void)
{
    static const uint32_t weights[] = {1, 1}, drained[] = {0, 1};
    struct uplink_flow flows[] = {{52, 0}, {4, 0}, {48, 1}};
    struct uplink_balance how = {1000, 10};

    /* 56 : 48 could be 52 : 52, which is not 10 % better. */
    CU_ASSERT_EQUAL(uplink_policy_balance(weights, 2, flows, 3, &how), 0);
    CU_ASSERT_EQUAL(uplink_policy_balance(weights, 2, flows, 3, &thorough),
                    1);
    CU_ASSERT_EQUAL(flows[1].uplink, 1);
    how.max_moves = 1;
    CU_ASSERT_EQUAL(uplink_policy_balance(drained, 2, flows, 3, &how), 1);
    how.max_moves = 9;
    CU_ASSERT_EQUAL(uplink_policy_balance(drained, 2, flows, 3, &how), 0);
    CU_ASSERT(flows[0].uplink == 1 && flows[2].uplink == 1);
    CU_ASSERT_EQUAL(uplink_policy_balance(weights, 0, NULL, 0, &how), 0);
}

/* The least cost of all ways to place the flows. */
static uint64_t
optimum(const uint32_t *weights, size_t n, struct uplink_flow *flows,
        size_t n_flows)
{
    uint64_t best = UINT64_MAX, ways = 1;

    for (size_t i = 0; i < n_flows; i++) {
        ways *= n;
    }
    for (uint64_t way = 0; way < ways; way++) {
        uint64_t rest = way;
        for (size_t i = 0; i < n_flows; i++, rest /= n) {
            flows[i].uplink = rest % n;
        }
        uint64_t c = uplink_policy_cost(weights, n, flows, n_flows);
        best = c < best ? c : best;
    }
    return best;
}

/* Against exhaustive search: never worse than before; where it stops no single
 * move helps; within twice the optimum (local search for the makespan on
 * uniform machines stays far below that for so few). */
static void
test_balance_against_search(void)
{
    double worst = 1;

    for (int round = 0; round < 400; round++) {
        uint32_t weights[3];
        struct uplink_flow flows[7], copy[7];
        size_t n = 2 + unit_random_below(2);
        size_t n_flows = 1 + unit_random_below(7);
        for (size_t i = 0; i < n; i++) {
            weights[i] = 1 + unit_random_below(4);
        }
        for (size_t i = 0; i < n_flows; i++) {
            flows[i].load = 1 + unit_random_below(1000);
            flows[i].uplink = unit_random_below(n);
        }
        memcpy(copy, flows, sizeof flows);
        uint64_t before = uplink_policy_cost(weights, n, flows, n_flows);
        size_t moves = uplink_policy_balance(weights, n, flows, n_flows,
                                             &thorough);
        uint64_t after = uplink_policy_cost(weights, n, flows, n_flows);
        CU_ASSERT_FATAL(moves < thorough.max_moves);
        CU_ASSERT(after <= before);

        for (size_t i = 0; i < n_flows; i++) {
            uint32_t home = flows[i].uplink;
            for (uint32_t u = 0; u < n; u++) {
                flows[i].uplink = u;
                CU_ASSERT(uplink_policy_cost(weights, n, flows, n_flows)
                          >= after);
            }
            flows[i].uplink = home;
        }
        uint64_t best = optimum(weights, n, copy, n_flows);
        CU_ASSERT(after <= 2 * best);
        worst = after > worst * best ? (double) after / best : worst;
    }
    printf("(at most %.2f times the optimum) ", worst);
}

UNIT_MAIN("uplink_policy",
          UNIT_TEST(test_slots_are_exact_shares),
          UNIT_TEST(test_slots_by_hand),
          UNIT_TEST(test_weights_by_priority),
          UNIT_TEST(test_balance_experiment),
          UNIT_TEST(test_balance_hysteresis),
          UNIT_TEST(test_balance_against_search))
