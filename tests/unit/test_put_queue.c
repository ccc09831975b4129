/* SPDX-License-Identifier: Apache-2.0 */
/* Large differences in rounds: nothing is lost, no service is cut in two, what
 * others refer to comes first and goes last. */
#include "tests/unit/unit.h"

#include "controller/put_queue.h"
#include "util.h"

static struct rule
service_rule(int service, int tile)
{
    struct rule rule = RULE_INIT(tile % 2 ? RULE_SERVICE : RULE_SERVICE6);

    rule.protocol = 6;
    rule.prefix_len = 192;
    rule.service.bytes[0] = service >> 8;
    rule.service.bytes[1] = service;
    rule.tile_bits = 14;
    rule.tile_value = tile;
    return rule;
}

static struct rule
host_rule(int host)
{
    struct rule rule = RULE_INIT(RULE_HOST);

    rule.address.s6_addr[14] = host >> 8;
    rule.address.s6_addr[15] = host;
    return rule;
}

static void
test_few_stay_one_round(void)
{
    struct rule_changes changes = RULE_CHANGES_INITIALIZER;
    struct rule_changes round = RULE_CHANGES_INITIALIZER;
    struct put_queue queue = {0};

    for (int i = 0; i < PUT_ROUND_MAX; i++) {
        struct rule rule = i % 2 ? host_rule(i) : service_rule(i, 0);
        rule_changes_add(&changes, i % 3 ? RULE_ADD : RULE_DELETE, &rule);
    }
    put_queue_fill(&queue, &changes, 7);
    CU_ASSERT_EQUAL(changes.n, 0);
    put_queue_take(&queue, &round);
    CU_ASSERT_EQUAL(round.n, PUT_ROUND_MAX);
    CU_ASSERT(put_queue_is_empty(&queue));
    CU_ASSERT_EQUAL(queue.generation, 7);
    for (int i = 0; i < PUT_ROUND_MAX; i++) { /* As they were. */
        struct rule rule = i % 2 ? host_rule(i) : service_rule(i, 0);
        CU_ASSERT(rule_equal(&round.changes[i].rule, &rule));
    }
    rule_changes_destroy(&round);
    put_queue_clear(&queue);
}

static int
phase_of(const struct rule_change *change)
{
    return change->rule.kind != RULE_HOST ? 1
           : change->op == RULE_DELETE ? 2 : 0;
}

static void
check_round(const struct rule_changes *round, int round_of_service[],
            int number, int *phase)
{
    for (size_t i = 0; i < round->n; i++) {
        const struct rule *rule = &round->changes[i].rule;
        int at = phase_of(&round->changes[i]);

        CU_ASSERT_FATAL(at >= *phase);
        *phase = at;
        if (rule->kind != RULE_HOST) {
            int service = rule->service.bytes[0] << 8
                          | rule->service.bytes[1];
            CU_ASSERT_FATAL(round_of_service[service] < 0
                            || round_of_service[service] == number);
            round_of_service[service] = number;
        }
    }
}

static void
test_many_keep_services_whole(void)
{
    for (int repeat = 0; repeat < 20; repeat++) {
        struct rule_changes changes = RULE_CHANGES_INITIALIZER;
        struct put_queue queue = {0};
        int round_of_service[512], phase = 0, number = 0;
        size_t n = PUT_ROUND_MAX + 1 + unit_random_below(20000), taken = 0;

        memset(round_of_service, -1, sizeof round_of_service);
        for (size_t i = 0; i < n; i++) {
            struct rule rule
                = unit_random_below(4)
                  ? service_rule(unit_random_below(repeat == 7 ? 1 : 512), i)
                  : host_rule(i);
            rule_changes_add(&changes, unit_random_below(3), &rule);
        }
        rule_changes_sort(&changes);
        CU_ASSERT_EQUAL(changes.n, n);
        put_queue_fill(&queue, &changes, 1);
        while (!put_queue_is_empty(&queue)) {
            struct rule_changes round = RULE_CHANGES_INITIALIZER;

            put_queue_take(&queue, &round);
            CU_ASSERT_FATAL(round.n > 0);
            check_round(&round, round_of_service, number++, &phase);
            taken += round.n;
            rule_changes_destroy(&round);
        }
        CU_ASSERT_EQUAL(taken, n);
        put_queue_clear(&queue);
    }
}

UNIT_MAIN("put_queue",
          UNIT_TEST(test_few_stay_one_round),
          UNIT_TEST(test_many_keep_services_whole))
