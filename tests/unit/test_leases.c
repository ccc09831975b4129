/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "agents/leases.h"

#define POOL 0xf0000000

static struct service_id
id_of(uint32_t n)
{
    struct service_id id = {{0}};
    memcpy(id.bytes, &n, sizeof n);
    return id;
}

static uint32_t
get(struct leases *leases, uint32_t n, int64_t now, bool *ret_new,
    uint32_t *ret_gone)
{
    struct service_id id = id_of(n);
    const struct lease *lease
        = leases_get(leases, &id, NULL, now, ret_new, ret_gone);
    return lease ? lease->address : 0;
}

static void
test_get(void)
{
    struct leases leases;
    bool new;
    uint32_t gone;
    leases_init(&leases, POOL + 77, 20);
    uint32_t a = get(&leases, 1, 0, &new, &gone);
    CU_ASSERT_TRUE(new);
    CU_ASSERT_TRUE(leases_in_pool(&leases, a));
    CU_ASSERT_EQUAL(a >> 12, POOL >> 12);
    CU_ASSERT_EQUAL(get(&leases, 1, 5, &new, &gone), a);
    CU_ASSERT_FALSE(new);
    CU_ASSERT_EQUAL(gone, 0);
    CU_ASSERT_NOT_EQUAL(get(&leases, 2, 5, &new, &gone), a);
    CU_ASSERT_EQUAL(leases_by_address(&leases, a)->used_ms, 5);
    CU_ASSERT_PTR_NULL(leases_by_address(&leases, POOL));
    CU_ASSERT_EQUAL(leases_count(&leases), 2);

    struct service_id id = id_of(1);
    CU_ASSERT_STRING_EQUAL(
        leases_get(&leases, &id, "a.b", 6, &new, &gone)->name, "a.b");
    leases_destroy(&leases);

    /* The same ID gets the same address in another life. */
    leases_init(&leases, POOL, 20);
    CU_ASSERT_EQUAL(get(&leases, 1, 0, &new, &gone), a);
    leases_destroy(&leases);
}

static void
test_pool_limits(void)
{
    struct leases leases;
    leases_init(&leases, POOL, 30); /* .1 and .2. */
    CU_ASSERT_FALSE(leases_in_pool(&leases, POOL));
    CU_ASSERT_TRUE(leases_in_pool(&leases, POOL + 1));
    CU_ASSERT_TRUE(leases_in_pool(&leases, POOL + 2));
    CU_ASSERT_FALSE(leases_in_pool(&leases, POOL + 3));
    leases_destroy(&leases);
    leases_init(&leases, POOL, 8);
    CU_ASSERT_EQUAL(leases.n_pool, LEASES_MAX);
    leases_destroy(&leases);
}

static void
test_full(void)
{
    struct leases leases;
    bool new;
    uint32_t gone;
    leases_init(&leases, POOL, 29); /* Six. */
    uint32_t first = get(&leases, 0, 0, &new, &gone);
    for (uint32_t i = 1; i < 6; i++) {
        CU_ASSERT_NOT_EQUAL(get(&leases, i, i, &new, &gone), 0);
    }
    /* All are young. */
    CU_ASSERT_EQUAL(get(&leases, 6, 10, &new, &gone), 0);
    CU_ASSERT_FALSE(new);
    CU_ASSERT_EQUAL(gone, 0);
    /* 0 was just asked for, so 1 goes. */
    get(&leases, 0, LEASE_MIN_AGE_MS, &new, &gone);
    uint32_t a = get(&leases, 6, LEASE_MIN_AGE_MS + 1, &new, &gone);
    CU_ASSERT_TRUE(new);
    CU_ASSERT_EQUAL(gone, a); /* The only free one. */
    CU_ASSERT_NOT_EQUAL(a, first);
    CU_ASSERT_EQUAL(leases_count(&leases), 6);
    leases_destroy(&leases);
}

static void
test_restore(void)
{
    struct leases leases;
    struct service_id a = id_of(1), b = id_of(2);
    bool new;
    uint32_t gone;
    leases_init(&leases, POOL, 24);
    CU_ASSERT_TRUE(leases_restore(&leases, &a, POOL + 9, 0));
    CU_ASSERT_FALSE(leases_restore(&leases, &a, POOL + 10, 0));
    CU_ASSERT_FALSE(leases_restore(&leases, &b, POOL + 9, 0));
    CU_ASSERT_FALSE(leases_restore(&leases, &b, 0xc6120001, 0));
    CU_ASSERT_EQUAL(get(&leases, 1, 1, &new, &gone), POOL + 9);
    CU_ASSERT_FALSE(new);
    leases_destroy(&leases);
}

/* However the pool is used: no two IDs share an address. */
static void
test_random(void)
{
    struct leases leases;
    uint32_t held[200] = {0};
    int64_t now = 0;
    leases_init(&leases, POOL, 26);
    for (int step = 0; step < 20000; step++) {
        bool new;
        uint32_t gone, n = unit_random_below(200);
        now += unit_random_below(60000);
        uint32_t address = get(&leases, n, now, &new, &gone);
        for (size_t i = 0; i < 200; i++) {
            if (gone && held[i] == gone) {
                held[i] = 0;
            }
        }
        if (!address) {
            continue;
        }
        CU_ASSERT_EQUAL_FATAL(new, !held[n]);
        held[n] = address;
        for (size_t i = 0; i < 200; i++) {
            CU_ASSERT_TRUE_FATAL(i == n || held[i] != address);
        }
    }
    leases_destroy(&leases);
}

static void
test_overlap(void)
{
    struct leases leases;
    leases_init(&leases, 0xf0000000, 20);
    CU_ASSERT_FALSE(leases_overlap(&leases, 0xc6120000, 15));
    CU_ASSERT_FALSE(leases_overlap(&leases, 0xf0001000, 20));
    CU_ASSERT_FALSE(leases_overlap(&leases, 0xefffff00, 24));
    CU_ASSERT_FALSE(leases_overlap(&leases, 0, 0)); /* No pool. */
    CU_ASSERT_TRUE(leases_overlap(&leases, 0xf0000000, 20));
    CU_ASSERT_TRUE(leases_overlap(&leases, 0xf0000000, 8));
    CU_ASSERT_TRUE(leases_overlap(&leases, 0xf0000f00, 24));
    CU_ASSERT_TRUE(leases_overlap(&leases, 0xe0000000, 3));
    CU_ASSERT_TRUE(leases_overlap(&leases, 0xf0000fff, 32));
    leases_destroy(&leases);
}

UNIT_MAIN("leases", UNIT_TEST(test_get), UNIT_TEST(test_pool_limits),
          UNIT_TEST(test_full), UNIT_TEST(test_restore),
          UNIT_TEST(test_random), UNIT_TEST(test_overlap))
