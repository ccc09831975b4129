/* SPDX-License-Identifier: Apache-2.0 */
/* Policies against an oracle in floating point that pours the load out drop by
 * drop. */
#include "tests/unit/unit.h"

#include <math.h>
#include "controller/policy.h"
#include "openvswitch/util.h"

enum { N = 6 };

static void
test_names(void)
{
    enum route_policy policy = ROUTE_DEFAULT;
    CU_ASSERT(route_policy_from_string("local-first", &policy));
    CU_ASSERT_EQUAL(policy, ROUTE_LOCAL_FIRST);
    CU_ASSERT(!route_policy_from_string("best", &policy));
    CU_ASSERT(!route_policy_from_string("default", &policy));
    CU_ASSERT_STRING_EQUAL(route_policy_string(ROUTE_NEAREST_LATENCY),
                           "nearest-latency");
}

static void
test_failover_and_nearest(void)
{
    const struct policy_instance instances[] = {
        {.distance = 2, .weight = 3, .priority = 1},
        {.distance = 1, .weight = 5, .priority = 2},
        {.distance = UINT32_MAX, .weight = 7, .priority = 0},
        {.distance = 1, .weight = 9, .priority = 1},
    };
    uint32_t shares[4];
    CU_ASSERT_EQUAL(policy_choose(ROUTE_FAILOVER, instances, 4, shares), 2);
    CU_ASSERT(shares[0] == 3 && !shares[1] && !shares[2] && shares[3] == 9);
    CU_ASSERT_EQUAL(policy_choose(ROUTE_NEAREST, instances, 4, shares), 2);
    CU_ASSERT(!shares[0] && shares[1] == 5 && !shares[2] && shares[3] == 9);
    CU_ASSERT_EQUAL(policy_choose(ROUTE_SPREAD, instances, 4, shares), 3);
    CU_ASSERT(shares[0] == 3 && shares[1] == 5 && !shares[2]);
}

/* Load 20 in the zone: one takes 4, the other has no limit. */
static void
test_capacity_within_the_zone(void)
{
    const struct policy_instance instances[] = {
        {.weight = 10, .capacity = 4, .local = true},
        {.weight = 10, .local = true},
        {.weight = 10},
    };
    uint32_t shares[3];
    CU_ASSERT_EQUAL(policy_choose(ROUTE_LOCAL_FIRST, instances, 3, shares),
                    2);
    CU_ASSERT(shares[0] == 1 && shares[1] == 4 && !shares[2]);
}

/* Load 20, room for 12: 8 go to the others, by weight. */
static void
test_overflow(void)
{
    const struct policy_instance instances[] = {
        {.weight = 10, .capacity = 4, .local = true},
        {.weight = 10, .capacity = 8, .local = true},
        {.weight = 1},
        {.weight = 3},
    };
    uint32_t shares[4];
    CU_ASSERT_EQUAL(policy_choose(ROUTE_LOCAL_FIRST, instances, 4, shares),
                    4);
    CU_ASSERT(shares[0] == 2 && shares[1] == 4 && shares[2] == 1
              && shares[3] == 3);
}

/* Pours the zone's load into those that are not full yet, by weight, in small
 * steps; what nobody local takes goes to the others. */
static void
pour(const struct policy_instance instances[], double shares[])
{
    double load = 0, remote = 0, local = 0;
    for (int i = 0; i < N; i++) {
        bool reachable = instances[i].distance != UINT32_MAX;
        shares[i] = 0;
        local += reachable && instances[i].local ? instances[i].weight : 0;
        remote += reachable && !instances[i].local ? instances[i].weight : 0;
    }
    load = local;
    const double step = load / 20000;
    for (double left = load; local && left > step / 2; left -= step) {
        double open = 0;
        for (int i = 0; i < N; i++) {
            const struct policy_instance *x = &instances[i];
            if (x->distance != UINT32_MAX && x->local
                && (!x->capacity || shares[i] < x->capacity)) {
                open += x->weight;
            }
        }
        for (int i = 0; i < N; i++) {
            const struct policy_instance *x = &instances[i];
            if (x->distance == UINT32_MAX) {
                continue;
            }
            if (open ? x->local && (!x->capacity || shares[i] < x->capacity)
                     : remote ? !x->local : x->local) {
                double whole = open ? open : remote ? remote : load;
                shares[i] += step * x->weight / whole;
            }
        }
    }
    for (int i = 0; i < N && !local; i++) {
        shares[i] = instances[i].distance != UINT32_MAX
                    ? instances[i].weight : 0;
    }
}

static void
test_local_first_at_random(void)
{
    for (int round = 0; round < 500; round++) {
        struct policy_instance instances[N];
        uint32_t shares[N];
        double expected[N], sum = 0, expected_sum = 0;
        bool any_room = false, remote = false;
        for (int i = 0; i < N; i++) {
            instances[i] = (struct policy_instance) {
                .distance = unit_random_below(6) ? 1 : UINT32_MAX,
                .weight = 1 + unit_random_below(20),
                .capacity = unit_random_below(3) ? unit_random_below(15) : 0,
                .local = unit_random_below(2),
            };
            if (instances[i].distance != UINT32_MAX) {
                any_room |= instances[i].local && !instances[i].capacity;
                remote |= !instances[i].local;
            }
        }
        pour(instances, expected);
        size_t n = policy_choose(ROUTE_LOCAL_FIRST, instances, N, shares);
        size_t counted = 0;
        for (int i = 0; i < N; i++) {
            sum += shares[i];
            expected_sum += expected[i];
            counted += shares[i] != 0;
        }
        CU_ASSERT_EQUAL(n, counted);
        CU_ASSERT_EQUAL(sum > 0, expected_sum > 0);
        if (!any_room && !remote) {
            continue; /* Nowhere else to go: any of the full ones will do. */
        }
        for (int i = 0; i < N && sum > 0; i++) {
            CU_ASSERT(fabs(shares[i] / sum - expected[i] / expected_sum)
                      < 0.02);
        }
    }
}

UNIT_MAIN("policy", UNIT_TEST(test_names),
          UNIT_TEST(test_failover_and_nearest),
          UNIT_TEST(test_capacity_within_the_zone), UNIT_TEST(test_overflow),
          UNIT_TEST(test_local_first_at_random))
