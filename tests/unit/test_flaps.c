/* SPDX-License-Identifier: Apache-2.0 */
/* Ports that flap are held, and come back when they are stable. */
#include "tests/unit/unit.h"

#include <limits.h>
#include "controller/flaps.h"
#include "util.h"

enum { HOLD = 3000, PERIOD = 10 };

static const struct topology_end port = {1, 7}, other = {2, 7};

/* What the topology would have. */
struct world {
    struct flaps flaps;
    bool up;
    int changes;
};

static void
take(struct world *w, bool up, long long now)
{
    bool result = flaps_take(&w->flaps, &port, w->up, up, now);

    w->changes += result != w->up;
    w->up = result;
    CU_ASSERT(up || !result);
}

static void
release(struct world *w, long long now)
{
    struct topology_end end;

    while (flaps_release(&w->flaps, now, &end)) {
        CU_ASSERT(end.dpid == port.dpid && end.port == port.port);
        CU_ASSERT(!w->up);
        w->changes++;
        w->up = true;
    }
}

static void
begin(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->up = true;
    flaps_init(&w->flaps, HOLD);
}

/* Now and then: it is back at once, whatever came before. */
static void
test_now_and_then(void)
{
    struct world w;
    long long now = 0;

    begin(&w);
    for (int i = 0; i < 100; i++, now += 500) {
        release(&w, now);
        take(&w, false, now);
        CU_ASSERT(!w.up);
        take(&w, true, now + 20);
        CU_ASSERT(w.up);
    }
    CU_ASSERT_EQUAL(w.changes, 200);
    CU_ASSERT_EQUAL(w.flaps.n_held, 0);
    /* Nothing is remembered for long. */
    release(&w, now + HOLD);
    CU_ASSERT(hmap_is_empty(&w.flaps.ports));
    CU_ASSERT_EQUAL(flaps_wakeup(&w.flaps), LLONG_MAX);
    flaps_destroy(&w.flaps);
}

static void
test_a_hundred_times_a_second(void)
{
    struct world w;
    long long now = 0;

    begin(&w);
    for (int i = 0; i < 1000; i++, now += PERIOD) {
        release(&w, now);
        take(&w, false, now);
        take(&w, true, now + PERIOD / 2);
        if (i % 100 == 50) { /* Others do not notice. */
            CU_ASSERT(!flaps_take(&w.flaps, &other, true, false, now));
            CU_ASSERT(flaps_take(&w.flaps, &other, false, true, now));
        }
    }
    CU_ASSERT(w.changes <= 2 * (FLAPS_SUPPRESS + 1));
    CU_ASSERT_EQUAL(w.flaps.n_held, 1);
    CU_ASSERT(!w.up);
    CU_ASSERT_EQUAL(flaps_n_held(&w.flaps), 1);
    /* It is back when it said, and it said in time. */
    long long end = now, wakes = 0;
    while (!w.up && wakes++ < 10) {
        CU_ASSERT_FATAL(flaps_wakeup(&w.flaps) > now);
        now = flaps_wakeup(&w.flaps);
        release(&w, now);
    }
    CU_ASSERT(w.up && now - end <= HOLD && now - end > HOLD / 2);
    CU_ASSERT_EQUAL(flaps_n_held(&w.flaps), 0);
    flaps_destroy(&w.flaps);
}

/* Down when the hold is over: it stays down, and is up at once when it is. */
static void
test_down_at_the_end(void)
{
    struct world w;
    long long now = 0;

    begin(&w);
    for (int i = 0; i < 50; i++, now += PERIOD) {
        take(&w, false, now);
        take(&w, true, now + PERIOD / 2);
    }
    take(&w, false, now);
    release(&w, now + HOLD);
    CU_ASSERT(!w.up);
    take(&w, true, now + HOLD + 1);
    CU_ASSERT(w.up);
    /* Not wanted: never held. */
    w.flaps.hold_ms = 0;
    for (int i = 0; i < 50; i++) {
        CU_ASSERT(!flaps_take(&w.flaps, &other, true, false, now + i));
        CU_ASSERT(flaps_take(&w.flaps, &other, false, true, now + i));
    }
    flaps_forget_switch(&w.flaps, port.dpid);
    CU_ASSERT(hmap_is_empty(&w.flaps.ports));
    flaps_destroy(&w.flaps);
}

/* Whatever it does, what it says last counts, HOLD later at most. */
static void
test_random(void)
{
    for (int round = 0; round < 200; round++) {
        struct world w;
        bool up = true;
        long long now = 0;

        begin(&w);
        for (int i = 0; i < 200; i++) {
            now += unit_random_below(round + 2);
            release(&w, now);
            up = unit_random_below(2);
            take(&w, up, now);
            CU_ASSERT(up || !w.up);
        }
        while (flaps_wakeup(&w.flaps) != LLONG_MAX && now < 1000000) {
            CU_ASSERT(up == w.up || now <= 200LL * (round + 2) + HOLD);
            now = MAX(now + 1, flaps_wakeup(&w.flaps));
            release(&w, now);
        }
        CU_ASSERT_EQUAL(w.up, up);
        CU_ASSERT(hmap_is_empty(&w.flaps.ports));
        flaps_destroy(&w.flaps);
    }
}

UNIT_MAIN("flaps", UNIT_TEST(test_now_and_then),
          UNIT_TEST(test_a_hundred_times_a_second),
          UNIT_TEST(test_down_at_the_end), UNIT_TEST(test_random))
