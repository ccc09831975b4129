/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "controller/rule_bundle.h"
#include "controller/rule_table.h"
#include "controller/topology.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"

static struct rule
host_rule(uint32_t address, uint32_t port)
{
    struct rule rule = RULE_INIT(RULE_HOST);
    rule.address = locator_from_v4(address);
    rule.port = port;
    return rule;
}

static void
test_set(void)
{
    struct rule_table *table = rule_table_create();
    struct rule a = host_rule(1, 1), b = host_rule(2, 1);

    CU_ASSERT(rule_table_put(table, &a));
    CU_ASSERT(!rule_table_put(table, &a));
    CU_ASSERT(rule_table_put(table, &b));
    a.port = 2;
    CU_ASSERT(rule_table_put(table, &a));
    CU_ASSERT_EQUAL(rule_table_count(table), 2);
    a.port = 9; /* Not part of the key. */
    CU_ASSERT_EQUAL(rule_table_find(table, &a)->port, 2);
    CU_ASSERT(rule_table_remove(table, &a));
    CU_ASSERT(!rule_table_remove(table, &a));
    CU_ASSERT_PTR_NULL(rule_table_find(table, &a));
    rule_table_clear(table);
    CU_ASSERT_EQUAL(rule_table_count(table), 0);
    rule_table_destroy(table);
    rule_table_destroy(NULL);
}

/* New rules from the end of the pipeline, services, then removals from its
 * start. */
static void
test_order(void)
{
    struct rule_table *desired = rule_table_create();
    struct rule_table *installed = rule_table_create();
    struct rule host = host_rule(1, 1), old_host = host_rule(2, 1);
    struct rule resolve = RULE_INIT(RULE_RESOLVE);
    struct rule service = RULE_INIT(RULE_SERVICE), tile = service;
    struct rule arp = RULE_INIT(RULE_ARP), guard = RULE_INIT(RULE_GUARD);
    tile.tile_bits = 1;
    rule_table_put(desired, &resolve);
    rule_table_put(desired, &host);
    rule_table_put(installed, &service);
    tile.tile_value = 0;
    rule_table_put(desired, &tile);
    tile.tile_value = 1;
    rule_table_put(desired, &tile);
    rule_table_put(desired, &guard);
    guard.port = 5;
    rule_table_put(installed, &guard);
    rule_table_put(installed, &old_host);
    rule_table_put(installed, &arp);

    struct rule_changes changes = RULE_CHANGES_INITIALIZER;
    rule_diff(desired, installed, &changes);
    static const struct {
        enum rule_op op;
        enum rule_kind kind;
    } expected[] = {
        {RULE_ADD, RULE_HOST},       {RULE_ADD, RULE_RESOLVE},
        {RULE_MODIFY, RULE_GUARD},   {RULE_ADD, RULE_SERVICE},
        {RULE_ADD, RULE_SERVICE},    {RULE_DELETE, RULE_SERVICE},
        {RULE_DELETE, RULE_ARP},     {RULE_DELETE, RULE_HOST},
    };
    CU_ASSERT_EQUAL_FATAL(changes.n, 8);
    for (size_t i = 0; i < changes.n; i++) {
        CU_ASSERT_EQUAL(changes.changes[i].op, expected[i].op);
        CU_ASSERT_EQUAL(changes.changes[i].rule.kind, expected[i].kind);
    }
    rule_changes_destroy(&changes);
    rule_table_destroy(desired);
    rule_table_destroy(installed);
}

/* Few different keys, so that tables overlap. */
static struct rule
random_rule(void)
{
    struct rule rule = RULE_INIT(1 + unit_random_below(RULE_N_KINDS - 1));
    rule.address.s6_addr[15] = unit_random_below(20);
    rule.tile_value = unit_random_below(2);
    rule.prefix_len = unit_random_below(3) * 64;
    rule.port = unit_random_below(3);
    return rule;
}

static struct rule_table *
random_table(void)
{
    struct rule_table *table = rule_table_create();
    for (int i = unit_random_below(600); i > 0; i--) {
        struct rule rule = random_rule();
        rule_table_put(table, &rule);
    }
    return table;
}

/* apply(diff(desired, installed), installed) == desired, and no change that is
 * not needed. */
static void
test_random_diff(void)
{
    for (int round = 0; round < 500; round++) {
        struct rule_table *desired = random_table();
        struct rule_table *installed = random_table();
        struct rule_table *before = rule_table_clone(installed);
        struct rule_changes changes = RULE_CHANGES_INITIALIZER;

        rule_diff(desired, installed, &changes);
        for (size_t i = 0; i < changes.n; i++) {
            const struct rule *rule = &changes.changes[i].rule;
            const struct rule *have = rule_table_find(installed, rule);
            const struct rule *want = rule_table_find(desired, rule);
            switch (changes.changes[i].op) {
            case RULE_ADD:
                CU_ASSERT(!have && want);
                break;
            case RULE_MODIFY:
                CU_ASSERT(have && want && !rule_equal(have, want));
                break;
            case RULE_DELETE:
                CU_ASSERT(have && !want);
                break;
            }
        }
        rule_changes_apply(&changes, changes.n, installed);
        CU_ASSERT(rule_table_equal(desired, installed));
        CU_ASSERT(rule_table_equal(installed, desired));
        rule_diff(desired, installed, &changes);
        CU_ASSERT_EQUAL(changes.n, 0);
        rule_diff(before, installed, &changes);
        rule_changes_apply(&changes, changes.n, installed);
        CU_ASSERT(rule_table_equal(before, installed));
        rule_changes_destroy(&changes);
        rule_table_destroy(desired);
        rule_table_destroy(installed);
        rule_table_destroy(before);
    }
}

/* Looking only at what was touched finds the same. */
static void
test_random_touched(void)
{
    struct rule_table *desired = random_table();
    struct rule_table *installed = rule_table_clone(desired);
    struct rule_changes touched = RULE_CHANGES_INITIALIZER;

    for (int round = 0; round < 2000; round++) {
        for (int i = unit_random_below(8); i > 0; i--) {
            struct rule rule = random_rule();
            if (unit_random_below(2)) {
                rule_table_put(desired, &rule);
            } else {
                rule_table_remove(desired, &rule);
            }
            for (int j = unit_random_below(3); j >= 0; j--) {
                rule_changes_add(&touched, RULE_ADD, &rule);
            }
        }
        struct rule_changes full = RULE_CHANGES_INITIALIZER;
        struct rule_changes quick = RULE_CHANGES_INITIALIZER;
        rule_diff(desired, installed, &full);
        rule_diff_touched(desired, installed, &touched, &quick);
        CU_ASSERT_EQUAL_FATAL(full.n, quick.n);
        for (size_t i = 0; i < full.n; i++) {
            CU_ASSERT_EQUAL(full.changes[i].op, quick.changes[i].op);
            CU_ASSERT(rule_equal(&full.changes[i].rule,
                                 &quick.changes[i].rule));
        }
        rule_changes_apply(&quick, quick.n, installed);
        touched.n = 0;
        rule_changes_destroy(&full);
        rule_changes_destroy(&quick);
    }
    rule_table_destroy(desired);
    rule_table_destroy(installed);
    rule_changes_destroy(&touched);
}

/* The hash table against an array. */
static void
test_random_set(void)
{
    enum { KEYS = 500 };
    struct rule_table *table = rule_table_create();
    uint32_t ports[KEYS] = {0};
    size_t n = 0;

    for (int step = 0; step < 100000; step++) {
        uint32_t k = unit_random_below(KEYS);
        struct rule rule = host_rule(k, 1 + unit_random_below(3));
        if (unit_random_below(2)) {
            CU_ASSERT_EQUAL(rule_table_put(table, &rule),
                            ports[k] != rule.port);
            n += !ports[k];
            ports[k] = rule.port;
        } else {
            CU_ASSERT_EQUAL(rule_table_remove(table, &rule), ports[k] != 0);
            n -= ports[k] != 0;
            ports[k] = 0;
        }
        uint32_t q = unit_random_below(KEYS);
        rule = host_rule(q, 0);
        const struct rule *found = rule_table_find(table, &rule);
        CU_ASSERT_EQUAL(found ? found->port : 0, ports[q]);
        CU_ASSERT_EQUAL(rule_table_count(table), n);
    }
    size_t i = 0, seen = 0;
    while (rule_table_next(table, &i)) {
        seen++;
    }
    CU_ASSERT_EQUAL(seen, n);
    rule_table_destroy(table);
}

/* Service rules, which are kept in bundles, against an array. */

enum { SERVICES = 6, TILES = 60, TARGETS = 4 };

static struct rule
tile_rule(uint32_t k, uint32_t target)
{
    struct rule rule = RULE_INIT(k % 2 ? RULE_SERVICE : RULE_SERVICE6);
    uint32_t tile = k / SERVICES;

    rule.protocol = 6;
    rule.service.bytes[31] = k % SERVICES / 2;
    rule.prefix_len = 192;
    rule.tile_bits = 1 + tile % 6;
    rule.tile_value = tile / 6 % (1u << rule.tile_bits) | tile << 8;
    if (target) {
        rule.target = locator_from_v4(target);
        rule.mac.ea[5] = target;
        rule.port = 10 + target % 2;
    }
    return rule;
}

static void
test_random_services(void)
{
    enum { KEYS = SERVICES * TILES };
    struct rule_table *tables[2];
    uint32_t targets[2][KEYS] = {{0}};

    tables[0] = rule_table_create();
    tables[1] = rule_table_create();
    for (int step = 0; step < 100000; step++) {
        int t = unit_random_below(2);
        uint32_t k = unit_random_below(KEYS);
        uint32_t target = unit_random_below(TARGETS);
        struct rule rule = tile_rule(k, target);

        if (target) {
            CU_ASSERT_EQUAL(rule_table_put(tables[t], &rule),
                            targets[t][k] != target);
        } else {
            CU_ASSERT_EQUAL(rule_table_remove(tables[t], &rule),
                            targets[t][k] != 0);
        }
        targets[t][k] = target;

        uint32_t q = unit_random_below(KEYS);
        struct rule key = tile_rule(q, 0);
        struct rule expected = tile_rule(q, targets[t][q]);
        const struct rule *found = rule_table_find(tables[t], &key);
        CU_ASSERT_EQUAL(found != NULL, targets[t][q] != 0);
        CU_ASSERT(!found || rule_equal(found, &expected));

        if (!unit_random_below(500)) {
            size_t n = 0, seen = 0, i = 0;
            for (k = 0; k < KEYS; k++) {
                n += targets[t][k] != 0;
            }
            CU_ASSERT_EQUAL(rule_table_count(tables[t]), n);
            while (rule_table_next(tables[t], &i)) {
                seen++;
            }
            CU_ASSERT_EQUAL(seen, n);
            /* Now they are the same, and share what they hold. */
            rule_table_destroy(tables[!t]);
            tables[!t] = rule_table_clone(tables[t]);
            memcpy(targets[!t], targets[t], sizeof targets[t]);
            CU_ASSERT(rule_table_equal(tables[0], tables[1]));
        }
    }
    rule_table_destroy(tables[0]);
    CU_ASSERT(rule_bundle_pool_count() > 0);
    rule_table_clear(tables[1]);
    CU_ASSERT_EQUAL(rule_bundle_pool_count(), 0);
    rule_table_destroy(tables[1]);
}

static void
test_text(void)
{
    struct rule_table *table = rule_table_create();
    struct rule host = host_rule(0x0a000001, 4);
    struct rule deflt = RULE_INIT(RULE_DEFAULT);
    rule_table_put(table, &host);
    rule_table_put(table, &deflt);
    struct ds s = DS_EMPTY_INITIALIZER;
    rule_table_format(table, &s);
    CU_ASSERT_STRING_EQUAL(ds_cstr(&s),
                           "table 1 priority 0 default\n"
                           "table 20 priority 1000 host 10.0.0.1 port 4\n");
    ds_destroy(&s);
    struct json *json = rule_table_to_json(table);
    CU_ASSERT_EQUAL(json_array(json)->n, 2);
    json_destroy(json);
    rule_table_destroy(table);
}

UNIT_MAIN("rule_table", UNIT_TEST(test_set), UNIT_TEST(test_order),
          UNIT_TEST(test_random_diff), UNIT_TEST(test_random_touched),
          UNIT_TEST(test_random_set),
          UNIT_TEST(test_random_services), UNIT_TEST(test_text))
