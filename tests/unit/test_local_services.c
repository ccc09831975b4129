/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "agents/local_services.h"

static struct local_service
service(const char *name, uint16_t port, uint32_t weight)
{
    struct local_service s = {.name = (char *) name,
                              .protocol = 6,
                              .service_port = port,
                              .target_port = port,
                              .weight = weight};
    CU_ASSERT_EQUAL_FATAL(service_prefix_from_name(name, &s.prefix), 0);
    return s;
}

static void
test_set(void)
{
    struct local_services set;
    struct local_service web = service("web.shop.acme", 80, 1);
    struct local_service tls = service("web.shop.acme", 443, 1);
    local_services_init(&set);

    CU_ASSERT_TRUE(local_services_put(&set, &web));
    CU_ASSERT_FALSE(local_services_put(&set, &web));
    CU_ASSERT_TRUE(local_services_put(&set, &tls));
    CU_ASSERT_EQUAL(set.n, 2);
    web.weight = 5;
    CU_ASSERT_TRUE(local_services_put(&set, &web));
    CU_ASSERT_EQUAL(set.n, 2);
    CU_ASSERT_EQUAL(local_services_find(&set, &web)->weight, 5);
    CU_ASSERT_TRUE(local_services_remove(&set, &web));
    CU_ASSERT_FALSE(local_services_remove(&set, &web));
    CU_ASSERT_PTR_NULL(local_services_find(&set, &web));
    CU_ASSERT_PTR_NOT_NULL(local_services_find(&set, &tls));
    local_services_destroy(&set);
}

static void
test_merge(void)
{
    struct local_services file, masked, commands, merged;
    struct local_service a = service("a.x", 80, 1), b = service("b.x", 80, 1);
    struct local_service c = service("c.x", 80, 1);
    local_services_init(&file);
    local_services_init(&masked);
    local_services_init(&commands);
    local_services_put(&file, &a);
    local_services_put(&file, &b);
    local_services_put(&masked, &b);
    a.weight = 9;
    local_services_put(&commands, &a);
    local_services_put(&commands, &c);

    local_services_merge(&file, &masked, &commands, &merged);
    CU_ASSERT_EQUAL(merged.n, 2);
    CU_ASSERT_EQUAL(local_services_find(&merged, &a)->weight, 9);
    CU_ASSERT_PTR_NULL(local_services_find(&merged, &b));
    CU_ASSERT_PTR_NOT_NULL(local_services_find(&merged, &c));
    local_services_destroy(&file);
    local_services_destroy(&masked);
    local_services_destroy(&commands);
    local_services_destroy(&merged);
}

static void
test_sorted(void)
{
    struct local_services set;
    local_services_init(&set);
    for (int step = 0; step < 2000; step++) {
        char name[16];
        snprintf(name, sizeof name, "s%u.x", unit_random_below(50));
        struct local_service s
            = service(name, 1 + unit_random_below(4), step % 7);
        if (unit_random_below(3)) {
            local_services_put(&set, &s);
            CU_ASSERT_PTR_NOT_NULL_FATAL(local_services_find(&set, &s));
        } else {
            local_services_remove(&set, &s);
            CU_ASSERT_PTR_NULL_FATAL(local_services_find(&set, &s));
        }
        for (size_t i = 1; i < set.n; i++) {
            CU_ASSERT_TRUE_FATAL(local_service_compare(&set.items[i - 1],
                                                       &set.items[i]) < 0);
        }
    }
    local_services_destroy(&set);
}

static void
test_target(void)
{
    uint32_t address = 1;
    uint16_t port = 2;

    CU_ASSERT_PTR_NULL(local_service_parse_target("8080", &address, &port));
    CU_ASSERT_EQUAL(address, 1);
    CU_ASSERT_EQUAL(port, 8080);
    CU_ASSERT_PTR_NULL(
        local_service_parse_target("127.0.0.1:81", &address, &port));
    CU_ASSERT_EQUAL(address, 0x7f000001);
    CU_ASSERT_EQUAL(port, 81);
    CU_ASSERT_PTR_NULL(local_service_parse_target("10.0.0.1", &address,
                                                  &port));
    CU_ASSERT_EQUAL(address, 0x0a000001);
    CU_ASSERT_EQUAL(port, 81);

    static const char *const bad[] = {
        "",          "0",        "65536",       "80x",      "-1",
        "+1",        " 1",       "10.0.0.1:",   "10.0.0.1:0", "10.0.0",
        "10.0.0.1:80:80", "localhost:80", "224.0.0.1:80", "255.255.255.255:1",
        "10.0.0.256:80", ":80", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CU_ASSERT_PTR_NOT_NULL(
            local_service_parse_target(bad[i], &address, &port));
        CU_ASSERT_EQUAL(port, 81);
    }
}

UNIT_MAIN("local_services", UNIT_TEST(test_set), UNIT_TEST(test_merge),
          UNIT_TEST(test_sorted), UNIT_TEST(test_target))
