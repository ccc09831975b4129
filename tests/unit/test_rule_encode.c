/* SPDX-License-Identifier: Apache-2.0 */
/* Templates against the library: byte for byte the same. */
#include "tests/unit/unit.h"

#include "controller/addresses.h"
#include "controller/paths.h"
#include "controller/rule_encode.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/ofpbuf.h"
#include "util.h"

static struct rules_config config = RULES_CONFIG_DEFAULT;

/* Few shapes, so that templates are used again. */
static const uint16_t prefix_lens[] = {0, 1, 64, 100, 192, 255, 256};
static const uint16_t flags[] = {
    0, RULE_VIA_GROUP, RULE_ONWARD, RULE_ONWARD | RULE_VIA_GROUP,
    RULE_MARK | 7 << RULE_MARK_CLASS_SHIFT,
    RULE_MARK | RULE_VIA_GROUP | 3 << RULE_MARK_CLASS_SHIFT, RULE_STALE};

static struct in6_addr
random_address(bool v6)
{
    struct in6_addr address;

    if (!v6) {
        return locator_from_v4(unit_random());
    }
    for (int i = 0; i < 4; i++) {
        uint32_t word = unit_random();
        memcpy(&address.s6_addr[4 * i], &word, sizeof word);
    }
    return address;
}

static void
random_target(struct rule *rule, bool v6)
{
    /* Now and then something that no template is for. */
    rule->target = random_address(unit_random_below(50) ? v6 : !v6);
    for (int i = 0; i < sizeof rule->mac; i++) {
        rule->mac.ea[i] = unit_random();
    }
}

static void
random_service(struct rule *rule, bool v6)
{
    for (int i = 0; i < SAL_SERVICE_ID_LEN; i++) {
        rule->service.bytes[i] = unit_random();
    }
    rule->prefix_len
        = prefix_lens[unit_random_below(ARRAY_SIZE(prefix_lens))];
    if (unit_random_below(2)) {
        struct service_prefix prefix = {rule->service, rule->prefix_len};
        service_prefix_normalize(&prefix);
        rule->service = prefix.id;
    }
    rule->protocol = unit_random_below(2) ? IPPROTO_TCP : 0;
    rule->tile_bits = unit_random_below(15);
    rule->tile_value = unit_random() & ((1u << rule->tile_bits) - 1);
    random_target(rule, v6);
}

static struct rule
random_rule(void)
{
    struct rule rule = RULE_INIT(1 + unit_random_below(RULE_N_KINDS - 1));
    uint8_t kinds[] = {RULE_SERVICE, RULE_SERVICE6, RULE_ENDPOINT,
                       RULE_ENDPOINT6, RULE_HOST, RULE_HOST6};
    if (unit_random_below(8)) {
        rule.kind = kinds[unit_random_below(ARRAY_SIZE(kinds))];
    }
    bool v6 = rule.kind == RULE_SERVICE6 || rule.kind == RULE_ENDPOINT6
              || rule.kind == RULE_HOST6;

    if (rule_is_group(&rule)) {
        rule.group = unit_random();
        rule.ports[0] = 1 + unit_random_below(100);
        return rule;
    }
    if (rule.kind == RULE_FLOOD) {
        rule.port = 1 + unit_random_below(4); /* So many actions. */
        return rule;
    }
    if (rule_has_target(&rule)) {
        random_service(&rule, v6);
    } else if (rule.kind == RULE_HOST || rule.kind == RULE_HOST6) {
        rule.address = random_address(unit_random_below(50) ? v6 : !v6);
        rule.path_class = unit_random_below(3) ? 0 : 7;
        if (rule.path_class && unit_random_below(2)) {
            rule.path_class |= RULE_MARKED_CLASS;
        }
    }
    rule.flags = flags[unit_random_below(ARRAY_SIZE(flags))];
    rule.port = rule.flags & RULE_VIA_GROUP
                ? PATHS_GROUP_BASE | unit_random_below(1 << 24)
                : 1 + unit_random_below(unit_random_below(50) ? 0xfeff
                                                              : 0xffff);
    return rule;
}

static void
check_change(const struct rule_change *change,
             const struct rule_encoding *encoding)
{
    uint32_t xid = unit_random();
    struct ofpbuf made, plain;

    ofpbuf_init(&made, 0);
    ofpbuf_init(&plain, 0);
    /* Both append. */
    ofpbuf_put(&made, "before", 6);
    ofpbuf_put(&plain, "before", 6);
    bool ok = rule_change_append(change, encoding, xid, &made);
    CU_ASSERT_EQUAL(ok, rule_change_append_plainly(change, encoding, xid,
                                                   &plain));
    if (!ofpbuf_equal(&made, &plain)) {
        struct ds ds = DS_EMPTY_INITIALIZER;
        rule_format(&change->rule, &ds);
        printf("differs: op %d, %s\n", change->op, ds_cstr(&ds));
        ds_destroy(&ds);
        CU_FAIL("not what the library makes");
    }
    ofpbuf_uninit(&made);
    ofpbuf_uninit(&plain);
}

static void
test_equals_library(void)
{
    static const enum ofputil_protocol protocols[] = {OFPUTIL_P_OF15_OXM,
                                                      OFPUTIL_P_OF13_OXM};

    for (int i = 0; i < 100000; i++) {
        const struct rule_dialect dialect = {
            &config, protocols[unit_random_below(2)], unit_random_below(2)};
        const struct rule_encoding encoding = {
            &dialect, unit_random_below(2), unit_random()};
        struct rule_change change = {unit_random_below(3), random_rule()};

        check_change(&change, &encoding);
    }
    CU_ASSERT(rule_templates_count() > 100);
    rule_templates_clear();
}

static struct rule_change
service_change(uint16_t prefix_len, uint8_t tile_bits)
{
    struct rule_change change = {RULE_ADD, RULE_INIT(RULE_SERVICE)};

    random_service(&change.rule, false);
    change.rule.target = random_address(false);
    change.rule.protocol = IPPROTO_TCP;
    change.rule.prefix_len = prefix_len;
    change.rule.tile_bits = tile_bits;
    change.rule.tile_value &= (1u << tile_bits) - 1;
    change.rule.port = 1;
    return change;
}

/* One template for all rules of a shape; they end with the port of the
 * deployment. */
static void
test_templates(void)
{
    const struct rule_dialect dialect = {&config, OFPUTIL_P_OF15_OXM, true};
    const struct rule_encoding encoding = {&dialect, true, 7};

    for (int i = 0; i < 10; i++) {
        struct rule_change change = service_change(192, 3);
        check_change(&change, &encoding);
        CU_ASSERT_EQUAL(rule_templates_count(), 1);
    }
    struct rule_change change = service_change(192, 4);
    check_change(&change, &encoding);
    CU_ASSERT_EQUAL(rule_templates_count(), 2);

    config.sal_port++;
    check_change(&change, &encoding);
    CU_ASSERT_EQUAL(rule_templates_count(), 1);
    config.sal_port--;
    rule_templates_clear();
}

/* However many shapes somebody asks for. */
static void
test_limit(void)
{
    const struct rule_dialect dialect = {&config, OFPUTIL_P_OF15_OXM, true};
    const struct rule_encoding encoding = {&dialect, true, 7};

    for (int i = 0; i < 3000; i++) {
        struct rule_change change = service_change(1 + i % 256, i / 256);
        check_change(&change, &encoding);
    }
    CU_ASSERT_EQUAL(rule_templates_count(), 1024);
    rule_templates_clear();
}

UNIT_MAIN("rule_encode", UNIT_TEST(test_equals_library),
          UNIT_TEST(test_templates), UNIT_TEST(test_limit))
