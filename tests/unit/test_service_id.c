/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <sodium.h>
#include "ofp-ext/sal.h"
#include "ofp-ext/sal_oxm.h"
#include "ofp-ext/sal_pipeline.h"
#include "ofp-ext/service_id.h"

static struct service_prefix
named(const char *name)
{
    struct service_prefix prefix;
    CU_ASSERT_EQUAL_FATAL(service_prefix_from_name(name, &prefix), 0);
    return prefix;
}

static void
test_names(void)
{
    static const char *const bad[] = {
        "",     ".",     "a.",     ".a",      "a..b", "A.b", "-a",
        "a-.b", "a_b.c", "a b",    "a/b",     "\xc3\xa4"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct service_prefix prefix;
        CU_ASSERT_PTR_NOT_NULL(service_name_check(bad[i]));
        CU_ASSERT_EQUAL(service_prefix_from_name(bad[i], &prefix), -EINVAL);
    }

    char label[SERVICE_LABEL_MAX + 2];
    memset(label, 'a', sizeof label);
    label[SERVICE_LABEL_MAX] = '\0';
    CU_ASSERT_PTR_NULL(service_name_check(label));
    label[SERVICE_LABEL_MAX] = 'a';
    label[SERVICE_LABEL_MAX + 1] = '\0';
    CU_ASSERT_PTR_NOT_NULL(service_name_check(label));

    char name[SERVICE_NAME_MAX + 2];
    for (size_t i = 0; i < sizeof name; i++) {
        name[i] = i % 2 ? '.' : 'x';
    }
    name[SERVICE_NAME_MAX] = '\0';
    CU_ASSERT_PTR_NULL(service_name_check(name));
    name[SERVICE_NAME_MAX] = 'x';
    name[SERVICE_NAME_MAX + 1] = '\0';
    CU_ASSERT_PTR_NOT_NULL(service_name_check(name));
}

static void
test_nesting(void)
{
    struct service_prefix acme = named("acme");
    struct service_prefix shop = named("shop.acme");
    struct service_prefix web = named("web.shop.acme");
    struct service_prefix shard = named("7.web.shop.acme");
    struct service_prefix deep = named("a.b.web.shop.acme");
    struct service_prefix other = named("web.shop.other");

    CU_ASSERT_EQUAL(acme.len, 64);
    CU_ASSERT_EQUAL(shop.len, 128);
    CU_ASSERT_EQUAL(web.len, 192);
    CU_ASSERT_EQUAL(shard.len, 256);
    CU_ASSERT_EQUAL(deep.len, 256);
    CU_ASSERT(service_prefix_contains(&acme, &shop));
    CU_ASSERT(service_prefix_contains(&shop, &web));
    CU_ASSERT(service_prefix_contains(&web, &shard));
    CU_ASSERT(service_prefix_contains(&web, &deep));
    CU_ASSERT(!service_prefix_contains(&web, &shop));
    CU_ASSERT(!service_prefix_contains(&acme, &other));
    CU_ASSERT(!service_prefix_equal(&shard, &deep));
}

/* The ID of a name is part of the protocol: agents and controllers of
 * different versions must agree.  Figure: BLAKE2b-128 of "acme", as
 * `b2sum -l 128` prints it. */
static void
test_known_value(void)
{
    struct service_prefix acme = named("acme");
    char buf[SERVICE_PREFIX_STRLEN];
    CU_ASSERT_STRING_EQUAL(
        service_prefix_format(&acme, buf),
        "0xbded55e7ce1c08f2000000000000000000000000000000000000000000000000/64");
}

/* What is remembered of labels does not show, also where they take each
 * other's place. */
static void
test_labels_again(void)
{
    for (int i = 0; i < 20000; i++) {
        uint8_t digest[crypto_generichash_BYTES_MIN];
        char label[SERVICE_LABEL_MAX + 1];
        int len = snprintf(label, sizeof label, "%0*u",
                           1 + unit_random_below(SERVICE_LABEL_MAX),
                           unit_random_below(40));
        struct service_prefix prefix = named(label);

        crypto_generichash(digest, sizeof digest, (const uint8_t *) label,
                           len, NULL, 0);
        CU_ASSERT(!memcmp(prefix.id.bytes, digest, 8));
    }
}

static void
test_text(void)
{
    static const char *const bad[] = {
        "", "0x", "12", "0x1g", "0x12/", "0x12/x", "0x12/257", "0x12/0008",
        "0x12/4", "0x12/8 ", "0x12 /8",
        "0x00000000000000000000000000000000"
        "000000000000000000000000000000000"};
    struct service_prefix prefix;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CU_ASSERT_EQUAL(service_prefix_from_string(bad[i], &prefix), -EINVAL);
    }
    CU_ASSERT_EQUAL_FATAL(service_prefix_from_string("0xAb8/9", &prefix), 0);
    CU_ASSERT_EQUAL(prefix.len, 9);
    CU_ASSERT_EQUAL(prefix.id.bytes[0], 0xab);
    CU_ASSERT_EQUAL(prefix.id.bytes[1], 0x80);
}

static void
random_prefix(struct service_prefix *prefix)
{
    for (size_t i = 0; i < sizeof prefix->id.bytes; i++) {
        prefix->id.bytes[i] = unit_random_below(2) ? 0 : unit_random();
    }
    prefix->len = unit_random_below(SAL_SERVICE_ID_BITS + 1);
    service_prefix_normalize(prefix);
}

static bool
bit(const struct service_id *id, int i)
{
    return id->bytes[i / 8] >> (7 - i % 8) & 1;
}

/* Oracle: compares bit by bit. */
static bool
naive_contains(const struct service_prefix *outer, const struct service_id *id)
{
    for (int i = 0; i < outer->len; i++) {
        if (bit(&outer->id, i) != bit(id, i)) {
            return false;
        }
    }
    return true;
}

static void
test_random(void)
{
    for (int i = 0; i < 20000; i++) {
        struct service_prefix a, b, parsed;
        char buf[SERVICE_PREFIX_STRLEN];

        random_prefix(&a);
        random_prefix(&b);
        if (unit_random_below(2)) {
            b.id = a.id;
            b.id.bytes[unit_random_below(32)] ^= 1 << unit_random_below(8);
        }
        for (int j = a.len; j < SAL_SERVICE_ID_BITS; j++) {
            CU_ASSERT_FALSE(bit(&a.id, j));
        }
        CU_ASSERT_EQUAL(service_prefix_contains_id(&a, &b.id),
                        naive_contains(&a, &b.id));
        service_prefix_format(&a, buf);
        CU_ASSERT_EQUAL_FATAL(service_prefix_from_string(buf, &parsed), 0);
        CU_ASSERT(service_prefix_equal(&a, &parsed));
    }
}

static void
test_endpoint_prefix(void)
{
    uint8_t id[SAL_ENDPOINT_ID_LEN] = {1, 2, 3};
    struct service_prefix prefix;
    service_prefix_of_endpoint(id, &prefix);
    CU_ASSERT_EQUAL(prefix.len, 192);
    CU_ASSERT_EQUAL(memcmp(prefix.id.bytes + 8, id, sizeof id), 0);
}

static void
test_addresses_v6(void)
{
    const uint8_t net[16] = {0xfd, 0x53, 0x41, 0x4c, 0, 1};
    const uint8_t id[SAL_ENDPOINT_ID_LEN] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    struct service_prefix web, shop;
    uint8_t a[16], b[16];

    identity_address_v6(id, net, a);
    CU_ASSERT_EQUAL(memcmp(a, net, 6), 0);
    CU_ASSERT_EQUAL(memcmp(a + 6, id, 10), 0);

    /* The same ID as a longer prefix is another service. */
    CU_ASSERT_EQUAL(service_prefix_from_name("web.shop.acme", &web), 0);
    shop = web;
    shop.len = 256;
    service_address_v6(&web, net, a);
    service_address_v6(&shop, net, b);
    CU_ASSERT_EQUAL(memcmp(a, net, 6), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(a, b, 16), 0);
    service_address_v6(&web, net, b);
    CU_ASSERT_EQUAL(memcmp(a, b, 16), 0);
}

UNIT_MAIN("service_id", UNIT_TEST(test_names), UNIT_TEST(test_nesting),
          UNIT_TEST(test_known_value), UNIT_TEST(test_labels_again),
          UNIT_TEST(test_text), UNIT_TEST(test_random),
          UNIT_TEST(test_endpoint_prefix), UNIT_TEST(test_addresses_v6))
