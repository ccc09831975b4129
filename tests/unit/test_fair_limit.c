/* SPDX-License-Identifier: Apache-2.0 */
/* The limit is kept, and who sends little gets through. */
#include "tests/unit/unit.h"

#include "controller/fair_limit.h"

enum { PPS = 100 };

/* 'n' packets of 'port' at 'now'; how many are taken. */
static int
send(struct fair_limit *limit, uint32_t port, int n, long long now)
{
    int taken = 0;

    for (int i = 0; i < n; i++) {
        taken += fair_limit_take(limit, port, PPS, now);
    }
    return taken;
}

static void
test_alone(void)
{
    struct fair_limit limit = {0};

    /* A port by itself may use it all, in one go. */
    CU_ASSERT_EQUAL(send(&limit, 7, 1000, 5000), PPS);
    CU_ASSERT_EQUAL(send(&limit, 7, 1000, 5999), 0);
    CU_ASSERT_EQUAL(send(&limit, 7, 1000, 6000), PPS);
    /* The clock of another life. */
    CU_ASSERT_EQUAL(send(&limit, 7, 1000, 10), PPS);
    fair_limit_destroy(&limit);
}

static void
test_neighbours(void)
{
    struct fair_limit limit = {0};

    CU_ASSERT_EQUAL(send(&limit, 1, 100000, 0), PPS);
    /* Each of nine has its tenth, whatever the first one does. */
    for (uint32_t port = 2; port <= 10; port++) {
        CU_ASSERT_EQUAL(send(&limit, port, PPS / 10, 500), PPS / 10);
        CU_ASSERT_EQUAL(send(&limit, 1, 1000, 500), 0);
    }
    CU_ASSERT(send(&limit, 2, 1000, 900) == 0);
    /* More ports than packets: one each. */
    for (uint32_t port = 100; port < 400; port++) {
        send(&limit, port, 5, 999);
    }
    send(&limit, 1, 100000, 1000);
    for (uint32_t port = 100; port < 400; port++) {
        CU_ASSERT_EQUAL(send(&limit, port, 5, 1999), 1);
    }
    fair_limit_destroy(&limit);
}

/* Whatever comes: no second has more than twice the limit and one of each
 * port, and who stays below its share loses nothing. */
static void
test_random(void)
{
    struct fair_limit limit = {0};

    uint32_t n_ports = 1;
    for (long long second = 0; second < 500; second++) {
        bool steady = second % 5;
        n_ports = steady ? n_ports : 1 + unit_random_below(150);
        int modest = 0, modest_taken = 0, taken = 0;

        for (int i = 0; i < 2000; i++) {
            long long now = second * 1000 + i / 2;
            if (unit_random_below(4)) {
                taken += fair_limit_take(
                    &limit, 1 + unit_random_below(n_ports), PPS, now);
            }
            if (i == 100 * modest && modest < PPS / 151 + 1) {
                modest++;
                modest_taken += fair_limit_take(&limit, 0, PPS, now);
            }
        }
        CU_ASSERT_EQUAL(modest_taken, modest);
        CU_ASSERT(!steady || taken <= 2 * PPS + (int) n_ports + 1);
        CU_ASSERT(taken >= PPS - modest);
    }
    fair_limit_destroy(&limit);
}

/* A switch that makes up ports costs no memory beyond a bound. */
static void
test_bound(void)
{
    struct fair_limit limit = {0};

    for (uint32_t port = 0; port < 4 * FAIR_LIMIT_PORTS_MAX; port++) {
        fair_limit_take(&limit, port, PPS, 0);
    }
    CU_ASSERT_EQUAL(limit.n_ports, FAIR_LIMIT_PORTS_MAX);
    CU_ASSERT(limit.n_slots <= 4 * FAIR_LIMIT_PORTS_MAX);
    CU_ASSERT_EQUAL(send(&limit, 3, 200, 1000), PPS);
    CU_ASSERT_EQUAL(send(&limit, 3, 200, 2000), PPS);
    CU_ASSERT(limit.n_slots <= 32);
    fair_limit_destroy(&limit);
}

UNIT_MAIN("fair_limit", UNIT_TEST(test_alone), UNIT_TEST(test_neighbours),
          UNIT_TEST(test_random), UNIT_TEST(test_bound))
