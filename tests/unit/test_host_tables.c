/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/host_tables.h"
#include "tests/unit/unit.h"

/* IPv4 and IPv6 in turn. */
static struct in6_addr
address_of(uint32_t number)
{
    struct in6_addr address;
    memset(&address, 0, sizeof address);
    if (number % 2) {
        address.s6_addr[10] = address.s6_addr[11] = 0xff;
    } else {
        address.s6_addr[0] = 0xfd;
    }
    address.s6_addr[15] = number;
    return address;
}

/* Small key spaces, so that random tables share keys. */
static struct service_prefix
random_prefix(void)
{
    struct service_prefix prefix = {.len = 64 * unit_random_below(5)};
    for (int i = 0; i < 4; i++) {
        prefix.id.bytes[i * 8] = unit_random_below(3);
    }
    service_prefix_normalize(&prefix);
    return prefix;
}

static void
put_random(struct host_tables *tables)
{
    struct service_address address = {
        .address = address_of(unit_random_below(12))};
    struct service_rule rule = {.prefix = random_prefix(),
                                .action = 1 + unit_random_below(5),
                                .path_class = unit_random_below(2),
                                .datagram = unit_random_below(2)};
    struct service_hop hop = {.prefix = random_prefix(),
                              .locator = {[15] = unit_random_below(3)},
                              .weight = 1 + unit_random_below(2)};
    struct local_target target = {.prefix = random_prefix(),
                                  .protocol = unit_random_below(2) ? 6 : 17,
                                  .service_port = unit_random_below(3),
                                  .address = address_of(unit_random_below(2)),
                                  .port = unit_random_below(2)};
    address.id.bytes[0] = unit_random_below(2);
    switch (unit_random_below(4)) {
    case 0:
        host_tables_put_address(tables, &address);
        break;
    case 1:
        host_tables_put_rule(tables, &rule);
        break;
    case 2:
        host_tables_put_hop(tables, &hop);
        break;
    default:
        host_tables_put_target(tables, &target);
    }
}

static void
make_random(struct host_tables *tables)
{
    host_tables_init(tables);
    tables->settings.identity_v4 = unit_random_below(2);
    tables->settings.resolver_v4 = unit_random_below(2);
    tables->settings.identity_v6.s6_addr[15] = unit_random_below(2);
    tables->settings.resolver_v6.s6_addr[0] = unit_random_below(2);
    tables->settings.prefer_v6 = unit_random_below(2);
    tables->settings.sal_port = unit_random_below(2);
    tables->settings.router = unit_random_below(2);
    tables->settings.endpoint_id[15] = unit_random_below(2);
    for (unsigned int n = unit_random_below(40); n; n--) {
        put_random(tables);
    }
}

static void
test_put_replaces_by_key(void)
{
    struct host_tables tables;
    host_tables_init(&tables);
    struct in6_addr seven = address_of(7), eight = address_of(8);
    struct service_address a = {.address = seven}, b = {.address = seven};
    b.id.bytes[0] = 1;
    host_tables_put_address(&tables, &a);
    host_tables_put_address(&tables, &b);
    CU_ASSERT_EQUAL(tables.n_addresses, 1);
    CU_ASSERT_EQUAL(tables.addresses[0].id.bytes[0], 1);
    CU_ASSERT_FALSE(host_tables_remove_address(&tables, &eight));
    CU_ASSERT_TRUE(host_tables_remove_address(&tables, &seven));
    CU_ASSERT_FALSE(host_tables_remove_address(&tables, &seven));

    /* The target's address and port are value, the rest is key. */
    struct local_target t = {.protocol = 6, .service_port = 80, .port = 8080};
    host_tables_put_target(&tables, &t);
    t.port = 8081;
    host_tables_put_target(&tables, &t);
    CU_ASSERT_EQUAL(tables.n_targets, 1);
    CU_ASSERT_EQUAL(tables.targets[0].port, 8081);
    t.protocol = 17;
    host_tables_put_target(&tables, &t);
    CU_ASSERT_EQUAL(tables.n_targets, 2);

    /* One ID, two prefix lengths: two rules. */
    struct service_rule r = {.action = SERVICE_DROP};
    r.prefix.len = 64;
    host_tables_put_rule(&tables, &r);
    r.prefix.len = 128;
    host_tables_put_rule(&tables, &r);
    CU_ASSERT_EQUAL(tables.n_rules, 2);
    CU_ASSERT_TRUE(host_tables_remove_rule(&tables, &r.prefix));
    CU_ASSERT_EQUAL(tables.rules[0].prefix.len, 64);
    host_tables_destroy(&tables);
    host_tables_destroy(NULL);
}

static void
test_tables_stay_sorted(void)
{
    struct host_tables tables;
    make_random(&tables);
    for (int round = 0; round < 200; round++) {
        put_random(&tables);
        for (size_t i = 1; i < tables.n_addresses; i++) {
            CU_ASSERT_TRUE(memcmp(&tables.addresses[i - 1].address,
                                  &tables.addresses[i].address, 16) < 0);
        }
        for (size_t i = 1; i < tables.n_rules; i++) {
            CU_ASSERT_TRUE(
                service_prefix_compare(&tables.rules[i - 1].prefix,
                                       &tables.rules[i].prefix) < 0);
        }
    }
    host_tables_destroy(&tables);
}

static void
test_copy_is_deep(void)
{
    struct host_tables a, b;
    make_random(&a);
    struct service_address address = {.address = address_of(3)};
    host_tables_put_address(&a, &address);
    host_tables_copy(&b, &a);
    CU_ASSERT_TRUE(host_tables_equal(&a, &b));
    host_tables_remove_address(&b, &address.address);
    CU_ASSERT_FALSE(host_tables_equal(&a, &b));
    host_tables_destroy(&a);
    host_tables_put_address(&b, &address);
    CU_ASSERT_TRUE(memcmp(&b.addresses[b.n_addresses - 1].address,
                          &b.addresses[0].address, 16) >= 0);
    host_tables_destroy(&b);
}

/* apply(diff(a, b), a) == b, and the diff says no more than it must. */
static void
test_diff_apply(void)
{
    for (int round = 0; round < 2000; round++) {
        struct host_tables a, b;
        struct host_tables_diff diff, none;
        make_random(&a);
        make_random(&b);
        if (round % 10 == 0) {
            host_tables_destroy(&b);
            host_tables_copy(&b, &a);
        }
        host_tables_diff(&a, &b, &diff);
        CU_ASSERT_EQUAL(host_tables_diff_is_empty(&diff),
                        host_tables_equal(&a, &b));
        CU_ASSERT_TRUE(diff.put.n_rules <= b.n_rules);
        CU_ASSERT_TRUE(diff.remove.n_rules <= a.n_rules);
        for (size_t i = 0; i < diff.remove.n_rules; i++) {
            CU_ASSERT_FALSE(host_tables_remove_rule(
                &diff.put, &diff.remove.rules[i].prefix));
        }
        host_tables_diff_apply(&diff, &a);
        CU_ASSERT_TRUE(host_tables_equal(&a, &b));
        host_tables_diff(&a, &b, &none);
        CU_ASSERT_TRUE(host_tables_diff_is_empty(&none));
        host_tables_diff_destroy(&diff);
        host_tables_diff_destroy(&none);
        host_tables_destroy(&a);
        host_tables_destroy(&b);
    }
}

/* Every single difference is seen. */
static void
test_equal_sees_all(void)
{
    struct host_tables a, b;
    struct local_target t = {.protocol = 6, .service_port = 1};
    struct service_rule r = {.action = SERVICE_FORWARD};
    host_tables_init(&a);
    host_tables_put_target(&a, &t);
    host_tables_put_rule(&a, &r);
    host_tables_copy(&b, &a);
    b.targets[0].address.s6_addr[15] = 1;
    CU_ASSERT_FALSE(host_tables_equal(&a, &b));
    b.targets[0].address.s6_addr[15] = 0;
    b.rules[0].action = SERVICE_DEMUX;
    CU_ASSERT_FALSE(host_tables_equal(&a, &b));
    b.rules[0].action = SERVICE_FORWARD;
    CU_ASSERT_TRUE(host_tables_equal(&a, &b));
    b.settings.endpoint_id[3] = 1;
    CU_ASSERT_FALSE(host_tables_equal(&a, &b));
    b.settings.endpoint_id[3] = 0;
    b.settings.identity_v6.s6_addr[7] = 1;
    CU_ASSERT_FALSE(host_tables_equal(&a, &b));
    b.settings.identity_v6.s6_addr[7] = 0;
    b.settings.prefer_v6 = true;
    CU_ASSERT_FALSE(host_tables_equal(&a, &b));
    host_tables_destroy(&a);
    host_tables_destroy(&b);
}

/* Against a look at each. */
static void
test_find(void)
{
    for (int round = 0; round < 2000; round++) {
        const struct service_rule *best = NULL;
        struct host_tables tables;
        make_random(&tables);
        struct service_prefix prefix = random_prefix();
        prefix.id.bytes[31] = unit_random_below(2);
        for (size_t i = 0; i < tables.n_rules; i++) {
            const struct service_rule *rule = &tables.rules[i];
            if (service_prefix_contains_id(&rule->prefix, &prefix.id)
                && (!best || rule->prefix.len > best->prefix.len)) {
                best = rule;
            }
        }
        CU_ASSERT_PTR_EQUAL(host_tables_find_rule(&tables, &prefix.id), best);

        size_t n = 0, got;
        const struct service_hop *hops
            = host_tables_find_hops(&tables, &prefix, &got);
        for (size_t i = 0; i < tables.n_hops; i++) {
            if (service_prefix_equal(&tables.hops[i].prefix, &prefix)) {
                CU_ASSERT_PTR_EQUAL(hops + n, &tables.hops[i]);
                n++;
            }
        }
        CU_ASSERT_EQUAL(got, n);
        host_tables_destroy(&tables);
    }
}

UNIT_MAIN("host_tables", UNIT_TEST(test_put_replaces_by_key),
          UNIT_TEST(test_tables_stay_sorted), UNIT_TEST(test_copy_is_deep),
          UNIT_TEST(test_diff_apply), UNIT_TEST(test_equal_sees_all),
          UNIT_TEST(test_find))
