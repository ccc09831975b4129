/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include "controller/addresses.h"

static void
test_create(void)
{
    CU_ASSERT_PTR_NULL(address_pool_create(0x64400000, 7));
    CU_ASSERT_PTR_NULL(address_pool_create(0x64400000, 31));
    CU_ASSERT_PTR_NULL(address_pool_create(0x64400001, 10));
    address_pool_destroy(NULL);

    struct address_pool *pool = address_pool_create(
        ADDRESS_IDENTITY_NETWORK, ADDRESS_IDENTITY_LEN);
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(address_pool_size(pool), (1 << 22) - 2);
    CU_ASSERT(!address_pool_contains(pool, 0x64400000));
    CU_ASSERT(address_pool_contains(pool, 0x64400001));
    CU_ASSERT(address_pool_contains(pool, 0x647ffffe));
    CU_ASSERT(!address_pool_contains(pool, 0x647fffff));
    CU_ASSERT(!address_pool_contains(pool, 0));
    CU_ASSERT(!address_pool_contains(pool, UINT32_MAX));
    address_pool_destroy(pool);
}

/* An agent that remembers its address gets it back, if nobody has it. */
static void
test_wanted(void)
{
    struct address_pool *pool = address_pool_create(0x0a000000, 24);
    uint32_t a, b, again;

    CU_ASSERT_EQUAL(address_pool_assign(pool, "a", 1, 0x0a000007, &a), 0);
    CU_ASSERT_EQUAL(a, 0x0a000007);
    CU_ASSERT_EQUAL(address_pool_assign(pool, "b", 1, 0x0a000007, &b), 0);
    CU_ASSERT_NOT_EQUAL(b, a);
    CU_ASSERT(address_pool_contains(pool, b));
    CU_ASSERT_EQUAL(address_pool_assign(pool, "a", 1, 0x0a000009, &again), 0);
    CU_ASSERT_EQUAL(again, a);
    uint32_t c;
    CU_ASSERT_EQUAL(address_pool_assign(pool, "c", 1, 0x0b000009, &c), 0);
    CU_ASSERT(address_pool_contains(pool, c));

    size_t len;
    CU_ASSERT_EQUAL(memcmp(address_pool_owner(pool, a, &len), "a", 1), 0);
    CU_ASSERT_EQUAL(len, 1);
    address_pool_release(pool, "a", 1);
    CU_ASSERT_PTR_NULL(address_pool_owner(pool, a, &len));
    CU_ASSERT_EQUAL(address_pool_lookup(pool, "a", 1), 0);
    address_pool_release(pool, "a", 1);
    CU_ASSERT_EQUAL(address_pool_used(pool), 2);
    address_pool_destroy(pool);
}

/* The same key gets the same address from a controller that forgot all. */
static void
test_deterministic(void)
{
    uint32_t first[100];
    for (int round = 0; round < 2; round++) {
        struct address_pool *pool = address_pool_create(0xc6120000, 15);
        for (int i = 0; i < 100; i++) {
            uint32_t address;
            CU_ASSERT_EQUAL(
                address_pool_assign(pool, &i, sizeof i, 0, &address), 0);
            if (round) {
                CU_ASSERT_EQUAL(address, first[i]);
            }
            first[i] = address;
        }
        address_pool_destroy(pool);
    }
}

/* Random assigns and releases against an array; small, so that it fills. */
static void
test_random(void)
{
    enum { KEYS = 300, SIZE = 254 };
    struct address_pool *pool = address_pool_create(0x0a000000, 24);
    uint32_t held[KEYS] = {0};
    int used = 0, exhausted = 0;

    for (int step = 0; step < 50000; step++) {
        uint16_t key = unit_random_below(KEYS);
        if (unit_random_below(20)) {
            uint32_t wanted = 0x0a000000 + unit_random_below(300);
            uint32_t address = 0;
            int error = address_pool_assign(pool, &key, sizeof key, wanted,
                                            &address);
            if (held[key]) {
                CU_ASSERT(!error && address == held[key]);
            } else if (used == SIZE) {
                CU_ASSERT_EQUAL(error, -ENOSPC);
                exhausted++;
            } else {
                CU_ASSERT_EQUAL(error, 0);
                CU_ASSERT(address > 0x0a000000 && address < 0x0a0000ff);
                for (int i = 0; i < KEYS; i++) {
                    CU_ASSERT_NOT_EQUAL(held[i], address);
                }
                held[key] = address;
                used++;
            }
        } else if (held[key]) {
            address_pool_release(pool, &key, sizeof key);
            held[key] = 0;
            used--;
        }
        CU_ASSERT_EQUAL(address_pool_used(pool), used);
    }
    CU_ASSERT(exhausted > 100);
    address_pool_destroy(pool);
}

UNIT_MAIN("addresses", UNIT_TEST(test_create), UNIT_TEST(test_wanted),
          UNIT_TEST(test_deterministic), UNIT_TEST(test_random))
