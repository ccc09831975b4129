/* SPDX-License-Identifier: Apache-2.0 */
/* Flows to be woken, against a plain array. */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include "agents/wake_queue.h"
#include "util.h"

enum { MAX_STEPS = 3000, MAX_AT_ONCE = 400 };

static struct oracle {
    uint32_t ids[MAX_STEPS * MAX_AT_ONCE];
    int64_t good_ms[MAX_STEPS * MAX_AT_ONCE];
    size_t n, done;
} oracle;

static void
take_some(struct wake_queue *queue)
{
    size_t max = unit_random_below(MAX_AT_ONCE);
    const uint32_t *ids;
    int64_t good_ms;
    size_t n = wake_queue_take(queue, max, &ids, &good_ms);

    CU_ASSERT_TRUE(n <= max);
    CU_ASSERT_EQUAL(!n, !max || oracle.done == oracle.n);
    for (size_t i = 0; i < n; i++, oracle.done++) {
        CU_ASSERT_EQUAL(ids[i], oracle.ids[oracle.done]);
        CU_ASSERT_EQUAL(good_ms, oracle.good_ms[oracle.done]);
    }
}

static void
test_random(void)
{
    struct wake_queue queue = {NULL};

    memset(&oracle, 0, sizeof oracle);
    for (int step = 0; step < MAX_STEPS; step++) {
        if (unit_random_below(2)) {
            take_some(&queue);
            continue;
        }
        size_t n = unit_random_below(MAX_AT_ONCE);
        int64_t good_ms = unit_random_below(2);
        for (size_t i = 0; i < n; i++) {
            oracle.ids[oracle.n + i] = unit_random();
            oracle.good_ms[oracle.n + i] = good_ms;
        }
        CU_ASSERT_EQUAL(wake_queue_add(&queue, oracle.ids + oracle.n, n,
                                       good_ms),
                        n);
        oracle.n += n;
        CU_ASSERT_EQUAL(wake_queue_is_empty(&queue), oracle.done == oracle.n);
    }
    for (int i = 0; i < 100000 && !wake_queue_is_empty(&queue); i++) {
        take_some(&queue);
    }
    CU_ASSERT_EQUAL(oracle.done, oracle.n);
    wake_queue_destroy(&queue);
}

static void
test_full(void)
{
    struct wake_queue queue = {NULL};
    uint32_t *many = xcalloc(WAKE_QUEUE_MAX, sizeof *many);
    const uint32_t *ids;
    int64_t good_ms;

    CU_ASSERT_EQUAL(wake_queue_add(&queue, many, WAKE_QUEUE_MAX - 1, 7),
                    WAKE_QUEUE_MAX - 1);
    CU_ASSERT_EQUAL(wake_queue_add(&queue, many, 5, 8), 1);
    CU_ASSERT_EQUAL(wake_queue_add(&queue, many, 5, 8), 0);
    CU_ASSERT_EQUAL(wake_queue_take(&queue, WAKE_QUEUE_MAX, &ids, &good_ms),
                    WAKE_QUEUE_MAX - 1);
    CU_ASSERT_EQUAL(good_ms, 7);
    CU_ASSERT_EQUAL(wake_queue_add(&queue, many, 5, 8), 5);
    CU_ASSERT_EQUAL(wake_queue_take(&queue, 100, &ids, &good_ms), 6);
    CU_ASSERT_EQUAL(good_ms, 8);
    CU_ASSERT_EQUAL(wake_queue_take(&queue, 100, &ids, &good_ms), 0);
    wake_queue_destroy(&queue);
    free(many);
}

UNIT_MAIN("wake_queue", UNIT_TEST(test_random), UNIT_TEST(test_full))
