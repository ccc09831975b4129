/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "agents/names.h"

static struct service_prefix
named(const char *name)
{
    struct service_prefix prefix;
    CU_ASSERT_EQUAL_FATAL(service_prefix_from_name(name, &prefix), 0);
    return prefix;
}

static bool
put(struct names *names, const char *name, uint32_t address)
{
    struct service_prefix prefix = named(name);
    return names_put(names, name, &prefix, address);
}

static void
test_put_and_find(void)
{
    struct names names;
    names_init(&names);

    CU_ASSERT_TRUE(put(&names, "web.shop.acme", 1));
    CU_ASSERT_FALSE(put(&names, "web.shop.acme", 1));
    CU_ASSERT_TRUE(put(&names, "db.shop.acme", 2));
    CU_ASSERT_EQUAL(names_count(&names), 2);

    const struct names_entry *entry = names_by_name(&names, "web.shop.acme");
    CU_ASSERT_PTR_NOT_NULL_FATAL(entry);
    CU_ASSERT_EQUAL(entry->address, 1);
    CU_ASSERT_PTR_EQUAL(names_by_address(&names, 1), entry);
    struct service_prefix prefix = named("web.shop.acme");
    CU_ASSERT_PTR_EQUAL(names_by_prefix(&names, &prefix), entry);

    /* A new address replaces the old one. */
    CU_ASSERT_TRUE(put(&names, "web.shop.acme", 3));
    CU_ASSERT_PTR_NULL(names_by_address(&names, 1));
    CU_ASSERT_PTR_EQUAL(names_by_address(&names, 3), entry);

    CU_ASSERT_TRUE(names_remove(&names, &prefix));
    CU_ASSERT_FALSE(names_remove(&names, &prefix));
    CU_ASSERT_PTR_NULL(names_by_name(&names, "web.shop.acme"));
    CU_ASSERT_PTR_NULL(names_by_address(&names, 3));
    names_destroy(&names);
}

/* The latest word about an address counts. */
static void
test_address_moves(void)
{
    struct names names;
    names_init(&names);
    put(&names, "a.x", 7);
    put(&names, "b.x", 7);
    CU_ASSERT_STRING_EQUAL(names_by_address(&names, 7)->name, "b.x");
    CU_ASSERT_EQUAL(names_by_name(&names, "a.x")->address, 0);
    names_destroy(&names);
}

static void
test_parents(void)
{
    const struct names_entry *entry;
    struct names names;
    names_init(&names);
    put(&names, "web.shop.acme", 1);
    put(&names, "db.shop.acme", 2);

    CU_ASSERT_EQUAL(names_lookup(&names, "web.shop.acme", &entry),
                    NAMES_FOUND);
    CU_ASSERT_EQUAL(names_lookup(&names, "shop.acme", &entry), NAMES_PARENT);
    CU_ASSERT_EQUAL(names_lookup(&names, "acme", &entry), NAMES_PARENT);
    CU_ASSERT_EQUAL(names_lookup(&names, "hop.acme", &entry), NAMES_UNKNOWN);
    CU_ASSERT_EQUAL(names_lookup(&names, "x.web.shop.acme", &entry),
                    NAMES_UNKNOWN);

    struct service_prefix prefix = named("web.shop.acme");
    names_remove(&names, &prefix);
    CU_ASSERT_EQUAL(names_lookup(&names, "shop.acme", &entry), NAMES_PARENT);
    prefix = named("db.shop.acme");
    names_remove(&names, &prefix);
    CU_ASSERT_EQUAL(names_lookup(&names, "shop.acme", &entry), NAMES_UNKNOWN);
    CU_ASSERT_TRUE(shash_is_empty(&names.parents));
    names_destroy(&names);
}

static void
test_service_id(void)
{
    struct names names;
    names_init(&names);
    put(&names, "shop.acme", 1);
    put(&names, "web.shop.acme", 2);

    struct service_prefix shard = named("7.web.shop.acme");
    struct service_prefix other = named("cart.shop.acme");
    struct service_prefix foreign = named("web.shop.other");
    CU_ASSERT_EQUAL(names_by_service_id(&names, &shard.id)->address, 2);
    CU_ASSERT_EQUAL(names_by_service_id(&names, &other.id)->address, 1);
    CU_ASSERT_PTR_NULL(names_by_service_id(&names, &foreign.id));
    names_destroy(&names);
}

static void
test_covering(void)
{
    struct names names;
    names_init(&names);
    put(&names, "shop.acme", 1);
    put(&names, "web.shop.acme", 2);
    put(&names, "b.web.shop.acme", 3);

    static const struct {
        const char *name;
        uint32_t address; /* 0: nobody's. */
    } cases[] = {
        {"cart.shop.acme", 1},     {"7.web.shop.acme", 2},
        {"x.cart.shop.acme", 1},   {"other.acme", 0},
        {"acme", 0},               {"shop.acme", 0},
        /* The ID of b.web... is a key of its own, no prefix of a.b.web... */
        {"a.b.web.shop.acme", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct service_prefix prefix = named(cases[i].name);
        const struct names_entry *entry
            = names_covering(&names, cases[i].name, &prefix.id);
        CU_ASSERT_EQUAL(entry ? entry->address : 0, cases[i].address);
    }
    names_destroy(&names);
}

static void
test_suffix(void)
{
    static const struct {
        const char *name, *suffix, *rest; /* NULL: does not end in it. */
    } cases[] = {
        {"web.shop.acme.sal", "sal", "web.shop.acme"},
        {"Web.Shop.ACME.SAL.", "sal", "web.shop.acme"},
        {"sal", "sal", ""},
        {"sal.", "sal", ""},
        {"a.sal", "sal", "a"},
        {"a.svc.example", "svc.example", "a"},
        {"asal", "sal", NULL},
        {"a.sal.com", "sal", NULL},
        {"", "sal", NULL},
        {".", "sal", NULL},
        {"al", "sal", NULL},
        {".sal", "sal", ""},
    };
    char buf[SERVICE_NAME_MAX + 1];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool ends = names_strip_suffix(cases[i].name, cases[i].suffix, buf);
        CU_ASSERT_EQUAL(ends, cases[i].rest != NULL);
        if (ends && cases[i].rest) {
            CU_ASSERT_STRING_EQUAL(buf, cases[i].rest);
        }
    }

    char long_name[400];
    memset(long_name, 'a', sizeof long_name);
    strcpy(long_name + 300, ".sal");
    CU_ASSERT_FALSE(names_strip_suffix(long_name, "sal", buf));
}

/* Against a naive table: an array of (name, address). */
static void
test_random(void)
{
    enum { N = 24, STEPS = 3000 };
    static const char *const tops[] = {"acme", "shop.acme", "x.shop.acme"};
    char name[N][SERVICE_NAME_MAX];
    uint32_t address[N] = {0};
    bool present[N] = {false};
    struct names names;
    names_init(&names);

    for (size_t i = 0; i < N; i++) {
        snprintf(name[i], sizeof name[i], "s%zu.%s", i, tops[i % 3]);
    }
    for (size_t step = 0; step < STEPS; step++) {
        size_t i = unit_random_below(N);
        struct service_prefix prefix = named(name[i]);
        if (unit_random_below(3)) {
            uint32_t a = unit_random_below(16);
            for (size_t j = 0; a && j < N; j++) {
                if (j != i && address[j] == a) {
                    address[j] = 0;
                }
            }
            address[i] = a;
            present[i] = true;
            names_put(&names, name[i], &prefix, a);
        } else {
            CU_ASSERT_EQUAL(names_remove(&names, &prefix), present[i]);
            present[i] = false;
            address[i] = 0;
        }

        size_t n = 0;
        for (size_t j = 0; j < N; j++) {
            const struct names_entry *entry = names_by_name(&names, name[j]);
            n += present[j];
            CU_ASSERT_EQUAL_FATAL(entry != NULL, present[j]);
            if (entry) {
                CU_ASSERT_EQUAL_FATAL(entry->address, address[j]);
            }
            if (address[j]) {
                CU_ASSERT_PTR_EQUAL(names_by_address(&names, address[j]),
                                    entry);
            }
        }
        CU_ASSERT_EQUAL_FATAL(names_count(&names), n);
    }
    names_destroy(&names);
}

UNIT_MAIN("names", UNIT_TEST(test_put_and_find), UNIT_TEST(test_address_moves),
          UNIT_TEST(test_parents), UNIT_TEST(test_service_id),
          UNIT_TEST(test_covering), UNIT_TEST(test_suffix),
          UNIT_TEST(test_random))
