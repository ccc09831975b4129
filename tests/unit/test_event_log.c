/* SPDX-License-Identifier: Apache-2.0 */
/* Events from their trigger to the last barrier. */
#include "tests/unit/unit.h"

#include "controller/event_log.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "util.h"

static const struct json *
event(const struct json *array, size_t i)
{
    return array->array.elems[i];
}

static const char *
state(const struct json *array, size_t i)
{
    return json_string(shash_find_data(event(array, i)->object, "state"));
}

#define SIZE 1024

static long long
confirm_us(const struct json *array, size_t i)
{
    const struct json *us = shash_find_data(event(array, i)->object,
                                            "confirm_us");
    return us ? json_integer(us) : -1;
}

static void
test_from_trigger_to_barrier(void)
{
    struct event_log *log = event_log_create(SIZE);

    event_log_add(log, 100, 0, "a port goes down");
    event_log_add(log, 150, 0, "another");
    event_log_planned(log, 1, true);
    event_log_add(log, 200, 0, "nothing follows");
    event_log_planned(log, 1, false);
    event_log_add(log, 300, 0, "a host comes");
    event_log_planned(log, 2, true);
    event_log_add(log, 400, 0, "not planned yet");
    CU_ASSERT_EQUAL(event_log_count(log), 5);
    CU_ASSERT_EQUAL(event_log_n_pending(log), 4);

    event_log_confirmed(log, 1, 1000);
    struct json *json = event_log_to_json(log, 10);
    CU_ASSERT_STRING_EQUAL(state(json, 0), "confirmed");
    CU_ASSERT_EQUAL(confirm_us(json, 0), 900);
    CU_ASSERT_EQUAL(confirm_us(json, 1), 850);
    CU_ASSERT_STRING_EQUAL(state(json, 2), "no-rules");
    CU_ASSERT_STRING_EQUAL(state(json, 3), "pending");
    CU_ASSERT_STRING_EQUAL(state(json, 4), "new");
    json_destroy(json);
    CU_ASSERT_EQUAL(event_log_n_pending(log), 2);

    event_log_confirmed(log, 2, 2000);
    const struct event_log_times *times = event_log_times(log);
    CU_ASSERT_EQUAL(times->n, 3);
    CU_ASSERT_EQUAL(times->sum_us, 900 + 850 + 1700);
    CU_ASSERT_EQUAL(times->buckets[2], 2); /* 0.5 to 1 ms. */
    CU_ASSERT_EQUAL(times->buckets[3], 1);
    event_log_planned(log, 2, false);
    CU_ASSERT_EQUAL(event_log_n_pending(log), 0);
    json = event_log_to_json(log, 2); /* The newest two. */
    CU_ASSERT_EQUAL(json->array.n, 2);
    CU_ASSERT_EQUAL(confirm_us(json, 0), 1700);
    json_destroy(json);
    event_log_destroy(log);
}

static void
test_old_events_go(void)
{
    struct event_log *log = event_log_create(SIZE);
    struct ds ds = DS_EMPTY_INITIALIZER;

    for (int i = 0; i < 3 * SIZE; i++) {
        event_log_add(log, i, 1000 * i, "x");
        if (i % 3 == 0) {
            event_log_planned(log, i, true);
        }
    }
    CU_ASSERT_EQUAL(event_log_n_pending(log), SIZE);
    event_log_confirmed(log, 3 * SIZE, 5000000);
    CU_ASSERT_EQUAL(event_log_n_pending(log), 2); /* The last, not planned. */
    event_log_format(log, 1000000, &ds);
    size_t lines = 0;
    for (const char *p = ds_cstr(&ds); *p; p++) {
        lines += *p == '\n';
    }
    CU_ASSERT_EQUAL(lines, SIZE);
    ds_destroy(&ds);
    event_log_destroy(log);
}

/* Whatever happens, an event is counted pending until it is settled. */
static void
test_random(void)
{
    struct event_log *log = event_log_create(SIZE);
    uint64_t generation = 0, confirmed = 0;

    for (int i = 0; i < 100000; i++) {
        switch (unit_random_below(4)) {
        case 0:
        case 1:
            event_log_add(log, i, i, "x");
            break;
        case 2: {
            bool changed = unit_random_below(2);
            generation += changed;
            event_log_planned(log, generation, changed);
            break;
        }
        case 3:
            confirmed += unit_random_below(generation - confirmed + 1);
            event_log_confirmed(log, confirmed, i);
            break;
        }
        CU_ASSERT_FATAL(event_log_n_pending(log) <= SIZE);
    }
    event_log_planned(log, generation, false);
    event_log_confirmed(log, generation, 0);
    CU_ASSERT_EQUAL(event_log_n_pending(log), 0);
    event_log_destroy(log);
}

UNIT_MAIN("event_log",
          UNIT_TEST(test_from_trigger_to_barrier),
          UNIT_TEST(test_old_events_go),
          UNIT_TEST(test_random))
