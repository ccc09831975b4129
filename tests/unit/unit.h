/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of every unit test program: lists its tests, seeds its random
 * numbers, ends with CUnit's summary.
 *
 *     static void test_x(void) { CU_ASSERT_EQUAL(1 + 1, 2); }
 *     UNIT_MAIN("frame", UNIT_TEST(test_x))
 *
 * SEED=n in the environment repeats a random test; the seed is printed. */
#ifndef SALIENT_UNIT_H
#define SALIENT_UNIT_H 1

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit_test {
    const char *name;
    void (*run)(void);
};

#define UNIT_TEST(FUNCTION) {#FUNCTION, FUNCTION}
#define UNIT_MAIN(SUITE, ...)                                                 \
    int main(void)                                                            \
    {                                                                         \
        const struct unit_test tests[] = {__VA_ARGS__};                       \
        return unit_run(SUITE, tests, sizeof tests / sizeof tests[0]);        \
    }

static uint64_t unit_random_state;

/* xorshift64*: the same numbers everywhere for one seed. */
static inline uint64_t
unit_random(void)
{
    unit_random_state ^= unit_random_state >> 12;
    unit_random_state ^= unit_random_state << 25;
    unit_random_state ^= unit_random_state >> 27;
    return unit_random_state * 0x2545f4914f6cdd1dULL;
}

/* Uniform enough in 0..n-1. */
static inline uint32_t
unit_random_below(uint32_t n)
{
    return (unit_random() >> 32) % n;
}

/* libsodium's random bytes, so that keys are the same for one seed, too.
 * A state of its own: unit_random() goes on as if no keys were made. */
static uint64_t unit_key_state;

static inline void
unit_random_bytes(void *p, size_t n)
{
    uint64_t tests = unit_random_state;
    uint8_t *bytes = p;

    unit_random_state = unit_key_state;
    for (size_t i = 0; i < n; i++) {
        bytes[i] = unit_random() >> 56;
    }
    unit_key_state = unit_random_state;
    unit_random_state = tests;
}

static inline uint32_t
unit_random_uint32(void)
{
    uint32_t value;
    unit_random_bytes(&value, sizeof value);
    return value;
}

static inline const char *
unit_random_name(void)
{
    return "unit";
}

static inline void
unit_seed(const char *seed)
{
    static struct randombytes_implementation keys = {
        .implementation_name = unit_random_name,
        .random = unit_random_uint32,
        .buf = unit_random_bytes};

    unit_random_state = seed ? strtoull(seed, NULL, 0) : 20120425;
    if (!unit_random_state) {
        unit_random_state = 1;
    }
    unit_key_state = ~unit_random_state ? ~unit_random_state : 1;
    randombytes_set_implementation(&keys);
}

static inline int
unit_run(const char *suite_name, const struct unit_test tests[], size_t n)
{
    unit_seed(getenv("SEED"));
    if (CU_initialize_registry()) {
        return EXIT_FAILURE;
    }
    CU_pSuite suite = CU_add_suite(suite_name, NULL, NULL);
    for (size_t i = 0; i < n; i++) {
        if (!suite || !CU_add_test(suite, tests[i].name, tests[i].run)) {
            return EXIT_FAILURE;
        }
    }
    CU_basic_set_mode(CU_BRM_NORMAL);
    uint64_t start_seed = unit_random_state;
    CU_basic_run_tests();
    bool failed = CU_get_number_of_failures() != 0;
    if (failed) {
        fprintf(stderr, "%s: repeat with SEED=%llu\n", suite_name,
                (unsigned long long) start_seed);
    }
    CU_cleanup_registry();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif /* unit.h */
