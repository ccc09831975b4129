/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "controller/latency.h"

static bool
add(struct latency *latency, uint32_t least, uint32_t noise)
{
    return latency_add(latency, least + unit_random_below(noise));
}

/* A link of 3 ms behind a busy machine: one value, and it stays. */
static void
test_noise_changes_nothing(void)
{
    struct latency latency = {.n = 0};
    CU_ASSERT_EQUAL(latency_least(&latency), 0);
    int changes = 0;
    for (int i = 0; i < 10000; i++) {
        /* One in four comes at once, the others up to 20 ms late. */
        changes += add(&latency, 3000, unit_random_below(4) ? 20000 : 300);
        if (i == 100) {
            CU_ASSERT(latency.value >= 3000 && latency.value <= 8000);
        }
    }
    CU_ASSERT(changes <= 200);
    changes = 0;
    for (int i = 0; i < 10000; i++) {
        changes += add(&latency, 3000, 400);
    }
    CU_ASSERT(changes <= 1);
    CU_ASSERT(latency.value >= 3000 && latency.value <= 4500);
}

/* A step up or down is followed, after some samples. */
static void
test_steps_are_followed(void)
{
    struct latency latency = {.n = 0};
    for (int i = 1; i < LATENCY_PATIENCE; i++) {
        CU_ASSERT(!latency_add(&latency, 100));
    }
    CU_ASSERT(latency_add(&latency, 100));
    CU_ASSERT_EQUAL(latency.value, LATENCY_STEP_US);
    int n = 0;
    while (!latency_add(&latency, 20000) && n < 100) {
        n++;
    }
    CU_ASSERT(n >= LATENCY_PATIENCE && n < LATENCY_WINDOW + LATENCY_PATIENCE);
    CU_ASSERT_EQUAL(latency.value, 20000);
    /* Single ones below count: nothing is faster than the link. */
    for (n = 0; !latency_add(&latency, n ? 20000 : 100) && n < 100; n++) {
        continue;
    }
    CU_ASSERT_EQUAL(n, LATENCY_PATIENCE - 1);
    CU_ASSERT_EQUAL(latency.value, LATENCY_STEP_US);
}

/* Between two steps: no to and fro. */
static void
test_borders(void)
{
    struct latency latency = {.n = 0};
    int changes = 0;
    for (int i = 0; i < 1000; i++) {
        changes += latency_add(&latency, 1000 + (i / 7 % 2 ? 300 : 0));
    }
    CU_ASSERT_EQUAL(changes, 1);
}

UNIT_MAIN("latency", UNIT_TEST(test_noise_changes_nothing),
          UNIT_TEST(test_steps_are_followed), UNIT_TEST(test_borders))
