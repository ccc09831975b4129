/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "controller/overflow.h"

enum { N = 12 };

static struct overflow_item
random_item(void)
{
    struct overflow_item item = {
        .n_rules = 1 + unit_random_below(6), .use = unit_random_below(4)};
    static const uint16_t lengths[] = {0, 8, 16, 24};
    item.prefix.len = lengths[unit_random_below(4)];
    for (int i = 0; i < 3; i++) {
        item.prefix.id.bytes[i] = unit_random_below(2);
    }
    service_prefix_normalize(&item.prefix);
    return item;
}

/* Whatever is asked for, the longest prefix that fits is the right one, or
 * none fits at all. */
static void
test_nothing_is_caught(void)
{
    for (int round = 0; round < 2000; round++) {
        struct overflow_item items[N];
        size_t limit = unit_random_below(30), used = 0, all = 0;
        for (int i = 0; i < N; i++) {
            items[i] = random_item();
            all += items[i].n_rules;
        }
        size_t n = overflow_choose(items, N, limit);
        for (int i = 0; i < N; i++) {
            used += items[i].fits ? items[i].n_rules : 0;
            for (int j = 0; j < N; j++) {
                CU_ASSERT(!(items[i].fits && !items[j].fits
                            && items[j].prefix.len > items[i].prefix.len
                            && service_prefix_contains(&items[i].prefix,
                                                       &items[j].prefix)));
            }
        }
        CU_ASSERT_EQUAL(n, used);
        CU_ASSERT(used <= limit);
        CU_ASSERT(used == all || limit < all);
    }
}

static void
test_order(void)
{
    struct overflow_item items[3] = {
        {.prefix = {.len = 64}, .n_rules = 2, .use = 9},
        {.prefix = {.id = {{1}}, .len = 192}, .n_rules = 2, .use = 1},
        {.prefix = {.id = {{2}}, .len = 192}, .n_rules = 2, .use = 5},
    };
    CU_ASSERT_EQUAL(overflow_choose(items, 3, 5), 4);
    /* The specific ones; the catch-all for others has no room. */
    CU_ASSERT(items[0].fits && items[0].use == 5);
    CU_ASSERT(items[1].fits && items[1].use == 1);
    CU_ASSERT(!items[2].fits);
    CU_ASSERT_EQUAL(overflow_choose(items, 3, 2), 2);
    CU_ASSERT(items[0].fits && items[0].use == 5 && !items[1].fits);
    CU_ASSERT_EQUAL(overflow_choose(items, 3, 0), 0);
}

UNIT_MAIN("overflow", UNIT_TEST(test_order),
          UNIT_TEST(test_nothing_is_caught))
