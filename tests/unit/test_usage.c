/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "controller/usage.h"

static void
test_usage(void)
{
    struct service_prefix a, b, c;
    struct usage usage;
    usage_init(&usage);
    service_prefix_from_name("a.acme", &a);
    service_prefix_from_name("b.acme", &b);
    service_prefix_from_name("c.acme", &c);
    usage_note_rule(&usage, &a, 50, 100); /* 0.5 a second in two tiles. */
    usage_note_rule(&usage, &a, 50, 100);
    for (int i = 0; i < 100; i++) {
        usage_note_miss(&usage, &b);
    }
    CU_ASSERT_EQUAL(usage_of(&a, &usage), 0);
    usage_turn(&usage, 10000); /* 1 and 10 a second. */
    CU_ASSERT_EQUAL(usage_of(&a, &usage), 7);
    CU_ASSERT_EQUAL(usage_of(&b, &usage), 10);
    CU_ASSERT_EQUAL(usage_of(&c, &usage), 0);
    usage_turn(&usage, 10000);
    CU_ASSERT_EQUAL(usage_of(&b, &usage), 0);
    CU_ASSERT(hmap_is_empty(&usage.entries));
    usage_destroy(&usage);
}

UNIT_MAIN("usage", UNIT_TEST(test_usage))
