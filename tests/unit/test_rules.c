/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include "controller/paths.h"
#include "controller/rule_table.h"
#include "controller/rules.h"
#include "controller/topology.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/list.h"
#include "openvswitch/ofp-actions.h"
#include "openvswitch/ofp-group.h"
#include "openvswitch/ofp-meter.h"
#include "openvswitch/ofp-msgs.h"
#include "openvswitch/ofpbuf.h"
#include "tests/unit/topology_builder.h"
#include "byte-order.h"
#include "packets.h"

static const struct rules_config config = RULES_CONFIG_DEFAULT;
static const struct rule_dialect of15
    = {&config, OFPUTIL_P_OF15_OXM, true};
static const struct rule_dialect of13
    = {&config, OFPUTIL_P_OF13_OXM, true};

/* The flow as a switch would hold it, from the bytes of a flow_mod; and as we
 * read it from the switch, from the bytes of its answer. */
struct read {
    struct ofpbuf *reply;
    struct ofputil_flow_stats fs;
    struct ofpbuf ofpacts;
};

static void
flow_destroy(struct read *flow)
{
    ofpbuf_delete(flow->reply);
    ofpbuf_uninit(&flow->ofpacts);
}

static void
read_flow(const struct rule *rule, const struct rule_dialect *dialect,
          struct read *flow)
{
    struct rule_change change = {RULE_ADD, *rule};
    struct ofpbuf *message = rule_change_encode(&change, dialect);
    CU_ASSERT_PTR_NOT_NULL_FATAL(message);

    struct ofpbuf ofpacts;
    struct ofputil_flow_mod fm;
    ofpbuf_init(&ofpacts, 0);
    enum ofperr error = ofputil_decode_flow_mod(
        &fm, message->data, dialect->protocol, NULL, NULL, &ofpacts,
        OFPP_MAX, 255);
    CU_ASSERT_EQUAL_FATAL(error, 0);
    ofpbuf_delete(message);

    struct ofputil_flow_stats fs = {
        .cookie = fm.new_cookie,
        .table_id = fm.table_id,
        .priority = fm.priority,
        .ofpacts = fm.ofpacts,
        .ofpacts_len = fm.ofpacts_len,
    };
    minimatch_expand(&fm.match, &fs.match);
    minimatch_destroy(&fm.match);

    struct ofputil_flow_stats_request request = {
        .table_id = 0xff, .out_port = OFPP_ANY, .out_group = OFPG_ANY};
    struct ofpbuf *asked = ofputil_encode_flow_stats_request(
        &request, dialect->protocol);
    struct ovs_list replies;
    ofpmp_init(&replies, asked->data);
    ofputil_append_flow_stats_reply(&fs, &replies, NULL);
    ofpbuf_delete(asked);
    ofpbuf_uninit(&ofpacts);

    struct ofpbuf *reply = ofpbuf_from_list(ovs_list_pop_front(&replies));
    ofpmsg_update_length(reply);
    flow->reply = ofpbuf_clone_data(reply->data, reply->size);
    ofpbuf_delete(reply);
    ofpbuf_init(&flow->ofpacts, 0);
    CU_ASSERT_EQUAL_FATAL(ofputil_decode_flow_stats_reply(
        &flow->fs, flow->reply, false, &flow->ofpacts), 0);
}

static struct rule
service_rule(void)
{
    struct rule rule = RULE_INIT(RULE_SERVICE);
    struct service_prefix prefix;
    service_prefix_from_name("web.shop.acme", &prefix);
    rule.service = prefix.id;
    rule.prefix_len = prefix.len;
    rule.protocol = 6;
    rule.tile_value = 2;
    rule.tile_bits = 2;
    rule.target = locator_from_v4(0x0a000002);
    rule.mac = (struct eth_addr) {{{2, 0, 0, 0, 0, 2}}};
    rule.port = 3;
    return rule;
}

static struct rule
random_rule(void)
{
    struct rule rule = RULE_INIT(1 + unit_random_below(RULE_GROUP - 1));
    if (rule.kind == RULE_FLOOD) {
        rule.port = 1 + unit_random_below(4);
        return rule;
    }
    uint32_t v4 = unit_random() | 1;

    switch (rule.kind) {
    case RULE_ARP:
    case RULE_ND:
    case RULE_ND_ANSWER:
        rule.mac = (struct eth_addr) {{{2, v4, v4 >> 8, 1, 2, 3}}};
        break;
    case RULE_ADMIT_HOST:
    case RULE_ADMIT_HOST6:
    case RULE_ADMIT_ARP:
        rule.source = (struct eth_addr) {{{2, v4, v4 >> 8, 1, 2, 3}}};
        /* Fall through. */
    case RULE_ADMIT_LINK:
        rule.in_port = 1 + unit_random_below(0xfeff);
        break;
    case RULE_HOST:
    case RULE_HOST6:
    case RULE_UPLINK:
    case RULE_UPLINK6:
        if (rule.kind != RULE_UPLINK && rule.kind != RULE_UPLINK6) {
            rule.path_class = unit_random_below(16);
            if (rule.path_class && unit_random_below(2)) {
                rule.path_class |= RULE_MARKED_CLASS;
            }
        }
        rule.port = 1 + unit_random_below(0xfeff);
        if (unit_random_below(2)) {
            rule.port = PATHS_GROUP_BASE | unit_random_below(1 << 24);
            rule.flags = RULE_VIA_GROUP;
        }
        if (rule.path_class && unit_random_below(2)) {
            rule.flags |= RULE_MARK | 7 << RULE_MARK_CLASS_SHIFT;
        }
        break;
    case RULE_SERVICE:
    case RULE_SERVICE6:
    case RULE_ENDPOINT:
    case RULE_ENDPOINT6: {
        uint8_t kind = rule.kind;
        rule = service_rule();
        rule.kind = kind;
        rule.port = 1 + unit_random_below(0xfeff);
        rule.protocol = unit_random_below(3) ? 6 : 0;
        rule.target = locator_from_v4(v4);
        rule.tile_bits = unit_random_below(15);
        rule.tile_value = unit_random() & ((1 << rule.tile_bits) - 1);
        rule.prefix_len = unit_random_below(257);
        struct service_prefix prefix = {rule.service, rule.prefix_len};
        service_prefix_normalize(&prefix);
        rule.service = prefix.id;
        if (kind == RULE_SERVICE6 || kind == RULE_ENDPOINT6) {
            rule.target.s6_addr[0] = 0xfd;
        }
        if (unit_random_below(2)) {
            rule.flags |= RULE_MARK | 7 << RULE_MARK_CLASS_SHIFT;
        } else if (unit_random_below(2)) {
            memset(&rule.target, 0, sizeof rule.target);
            memset(&rule.mac, 0, sizeof rule.mac);
            rule.flags |= RULE_ONWARD;
        }
        return rule;
    }
    default:
        if (rule_meter_kind(&rule) && unit_random_below(2)) {
            rule.in_port = 1 + unit_random_below(0xfeff);
        }
        break;
    }
    if (rule.kind == RULE_ARP || rule.kind == RULE_HOST
        || rule.kind == RULE_ADMIT_HOST || rule.kind == RULE_ADMIT_ARP) {
        rule.address = locator_from_v4(v4);
    } else if (rule.kind == RULE_ND || rule.kind == RULE_ND_ANSWER
               || rule.kind == RULE_HOST6 || rule.kind == RULE_ADMIT_HOST6) {
        rule.address.s6_addr[0] = 0xfd;
        rule.address.s6_addr[15] = v4;
    }
    return rule;
}

static bool
can_express(const struct rule *rule)
{
    return rules_sal_supported()
           || (!rule_has_target(rule) && !rule->path_class
               && rule->kind != RULE_RESOLVE
               && rule->kind != RULE_RESOLVE6
               && rule->kind != RULE_HOST_PROBE
               && rule->kind != RULE_HOST_PROBE6);
}

/* Every rule survives its way to a switch and back. */
static void
test_random_round_trip(void)
{
    for (int round = 0; round < 5000; round++) {
        struct rule rule = random_rule(), back;
        if (!can_express(&rule)) {
            continue;
        }
        const struct rule_dialect *dialect = round % 2 ? &of15 : &of13;
        struct read flow;
        read_flow(&rule, dialect, &flow);
        memset(&back, 0xff, sizeof back);
        CU_ASSERT_EQUAL(rule_from_flow(&flow.fs, dialect, &back), 0);
        CU_ASSERT(rule_equal(&rule, &back));
        if (!rule_equal(&rule, &back)) {
            struct ds s = DS_EMPTY_INITIALIZER;
            rule_format(&rule, &s);
            ds_put_cstr(&s, " came back as ");
            rule_format(&back, &s);
            fprintf(stderr, "%s\n", ds_cstr(&s));
            ds_destroy(&s);
        }
        flow_destroy(&flow);
    }
}

/* The same for groups. */
static void
test_random_groups(void)
{
    for (int round = 0; round < 1000; round++) {
        const struct rule_dialect *dialect = round % 2 ? &of15 : &of13;
        enum ofp_version version
            = ofputil_protocol_to_ofp_version(dialect->protocol);
        bool floods = unit_random_below(2);
        struct rule rule = RULE_INIT(floods ? RULE_FLOOD_GROUP : RULE_GROUP);
        struct rule back;
        rule.group = floods ? 1 + unit_random_below(300)
                            : PATHS_GROUP_BASE | unit_random_below(1 << 24);
        int n = unit_random_below(RULE_GROUP_PORTS_MAX + 1);
        for (int i = 0; i < n; i++) {
            if (floods) {
                rule.port_set[unit_random_below(RULE_FLOOD_SET_LEN)]
                    |= 1 << unit_random_below(8);
            } else {
                rule.ports[i] = 1 + unit_random_below(0xfeff);
            }
        }

        struct rule_change change = {RULE_ADD, rule};
        struct ofpbuf *message = rule_change_encode(&change, dialect);
        struct ofputil_group_mod mod;
        CU_ASSERT_PTR_NOT_NULL_FATAL(message);
        CU_ASSERT_EQUAL_FATAL(ofputil_decode_group_mod(message->data, &mod),
                              0);
        ofpbuf_delete(message);
        CU_ASSERT_EQUAL(mod.command, OFPGC11_ADD);
        CU_ASSERT_EQUAL(mod.type, floods ? OFPGT11_ALL : OFPGT11_FF);

        struct ofpbuf *asked = ofputil_encode_group_desc_request(version,
                                                                 OFPG_ALL);
        struct ovs_list replies;
        struct ofputil_group_desc desc = {.type = mod.type,
                                          .group_id = mod.group_id};
        ofpmp_init(&replies, asked->data);
        ofputil_append_group_desc_reply(&desc, &mod.buckets, &replies);
        ofpbuf_delete(asked);
        ofputil_uninit_group_mod(&mod);
        struct ofpbuf *reply = ofpbuf_from_list(ovs_list_pop_front(&replies));
        ofpmsg_update_length(reply);
        struct ofpbuf *copy = ofpbuf_clone_data(reply->data, reply->size);
        CU_ASSERT_EQUAL_FATAL(ofputil_decode_group_desc_reply(&desc, copy,
                                                              version), 0);

        CU_ASSERT_EQUAL(rule_from_group(&desc, &back), 0);
        CU_ASSERT(rule_equal(&rule, &back));
        desc.type = OFPGT11_SELECT;
        CU_ASSERT_EQUAL(rule_from_group(&desc, &back), 0);
        CU_ASSERT(back.flags & RULE_STALE);
        CU_ASSERT(rule_same_key(&rule, &back));
        desc.group_id &= ~PATHS_GROUP_BASE_MASK;
        CU_ASSERT_EQUAL(rule_from_group(&desc, &back), -ENOENT);
        ofputil_uninit_group_desc(&desc);
        ofpbuf_delete(copy);
        ofpbuf_delete(reply);
    }
}

/* What a person sees with ovs-ofctl. */
static char *
flow_text(const struct rule *rule)
{
    uint64_t stub[128];
    struct ofpbuf ofpacts = OFPBUF_STUB_INITIALIZER(stub);
    struct ofputil_flow_mod fm;
    struct ds s = DS_EMPTY_INITIALIZER;

    CU_ASSERT_EQUAL_FATAL(rule_to_flow_mod(rule, &of15, OFPFC_ADD, &ofpacts,
                                           &fm), 0);
    ds_put_format(&s, "%u ", fm.table_id);
    minimatch_format(&fm.match, NULL, NULL, &s, fm.priority);
    ds_put_char(&s, ' ');
    struct ofpact_format_params fp = {.s = &s};
    ofpacts_format(fm.ofpacts, fm.ofpacts_len, &fp);
    minimatch_destroy(&fm.match);
    ofpbuf_uninit(&ofpacts);
    return ds_steal_cstr(&s);
}

static void
check_text(const struct rule *rule, const char *expected)
{
    char *text = flow_text(rule);
    CU_ASSERT_STRING_EQUAL(text, expected);
    if (strcmp(text, expected)) {
        fprintf(stderr, "is:     %s\nshould: %s\n", text, expected);
    }
    free(text);
}

static void
test_text(void)
{
    struct rule rule = RULE_INIT(RULE_LINK_PROBE);
    check_text(&rule, "0 priority=60000,dl_type=0x88cc "
                      "meter:3,CONTROLLER:65535");
    rule = RULE_INIT(RULE_ARP);
    rule.address = locator_from_v4(0x0a000002);
    rule.mac = (struct eth_addr) {{{2, 0, 0, 0, 0, 2}}};
    check_text(&rule, "1 priority=40000,arp,arp_tpa=10.0.0.2,arp_op=1 "
        "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],"
        "set_field:02:00:00:00:00:02->eth_src,set_field:2->arp_op,"
        "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],"
        "set_field:02:00:00:00:00:02->arp_sha,"
        "move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],"
        "set_field:10.0.0.2->arp_spa,IN_PORT");
    rule = RULE_INIT(RULE_DEFAULT);
    check_text(&rule, "1 priority=0 goto_table:20");
    rule = RULE_INIT(RULE_GUARD);
    check_text(&rule, "1 priority=20000,ip,nw_dst=10.255.255.254 drop");
    rule = RULE_INIT(RULE_STOCK_PROBE);
    check_text(&rule, "0 priority=50000,udp,nw_dst=10.255.255.254,"
                      "tp_src=6090,tp_dst=6090 meter:1,CONTROLLER:65535");
    rule = RULE_INIT(RULE_HOST);
    rule.address = locator_from_v4(0x0a000002);
    rule.port = 7;
    check_text(&rule, "20 priority=1000,ip,nw_dst=10.0.0.2 output:7");
    rule = RULE_INIT(RULE_SERVICE_MISS);
    check_text(&rule, "10 priority=1 meter:2,CONTROLLER:65535");
    if (!rules_sal_supported()) {
        return;
    }
    rule = RULE_INIT(RULE_HOST_PROBE);
    check_text(&rule, "0 priority=50000,udp,nw_dst=10.255.255.254,"
                      "tp_dst=6090,sal_type=0x15 meter:1,CONTROLLER:65535");
    rule.in_port = 258;
    check_text(&rule, "0 priority=50001,udp,in_port=258,nw_dst=10.255.255.254,"
                      "tp_dst=6090,sal_type=0x15 "
                      "meter:1392574722,CONTROLLER:65535");
    rule = service_rule();
    char *text = flow_text(&rule);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "priority=1192,udp,"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "tp_src=0x2/0x3,tp_dst=6090"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "sal_type=0x10/0x10"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "sal_service=0x"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text,
        "set_field:02:00:00:00:00:02->eth_dst,"
        "set_field:10.0.0.2->ip_dst,set_field:ANY->in_port,output:3"));
    free(text);

    rule.kind = RULE_SERVICE6;
    CU_ASSERT_EQUAL(inet_pton(AF_INET6, "fd00::2", &rule.target), 1);
    text = flow_text(&rule);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "priority=1192,udp6,"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "tp_src=0x2/0x3,tp_dst=6090"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text,
        "set_field:02:00:00:00:00:02->eth_dst,"
        "set_field:fd00::2->ipv6_dst,set_field:ANY->in_port,output:3"));
    free(text);
    rule = RULE_INIT(RULE_HOST_PROBE6);
    check_text(&rule, "0 priority=50000,udp6,ipv6_dst=fd53:414c::1,"
                      "tp_dst=6090,sal_type=0x15 meter:1,CONTROLLER:65535");
    rule = RULE_INIT(RULE_HOST);
    rule.address = locator_from_v4(0x0a000002);
    rule.port = 7;
    rule.path_class = 3;
    rule.flags = RULE_MARK | 3 << RULE_MARK_CLASS_SHIFT;
    check_text(&rule, "20 priority=2000,udp,nw_dst=10.0.0.2,tp_dst=6090,"
                      "sal_flags=0x3/0xf "
                      "set_field:02:53:41:4c:02:03->eth_src,"
                      "set_field:ANY->in_port,output:7");
    rule.path_class |= RULE_MARKED_CLASS;
    rule.flags = 0;
    check_text(&rule, "20 priority=3000,udp,dl_src=02:53:41:4c:02:03,"
                      "nw_dst=10.0.0.2,tp_dst=6090,sal_flags=0x3/0xf "
                      "output:7");
    rule = RULE_INIT(RULE_RESOLVE6);
    check_text(&rule, "1 priority=30000,udp6,ipv6_dst=fd53:414c::1,"
                      "tp_dst=6090,sal_type=0x10/0x10 "
                      "move:NXM_OF_UDP_SRC[0..2]->NXM_NX_REG0[0..2],"
                      "goto_table:10");
}

/* What is not as we would install it is noticed. */
static void
test_stale(void)
{
    struct rule rule = RULE_INIT(RULE_HOST), back;
    struct read flow;

    rule.address = locator_from_v4(0x0a000002);
    rule.port = 7;
    read_flow(&rule, &of15, &flow);

    flow.fs.cookie = htonll(0x1234);
    CU_ASSERT_EQUAL(rule_from_flow(&flow.fs, &of15, &back), -ENOENT);
    flow.fs.cookie = htonll(SAL_COOKIE(77, 78));
    CU_ASSERT_EQUAL(rule_from_flow(&flow.fs, &of15, &back), -EBADMSG);
    flow.fs.cookie = htonll(rule_cookie(&rule));
    flow.fs.priority++;
    CU_ASSERT_EQUAL(rule_from_flow(&flow.fs, &of15, &back), -EBADMSG);
    flow.fs.priority--;
    flow.fs.table_id++;
    CU_ASSERT_EQUAL(rule_from_flow(&flow.fs, &of15, &back), -EBADMSG);
    flow.fs.table_id--;
    flow.fs.idle_timeout = 5;
    CU_ASSERT_EQUAL(rule_from_flow(&flow.fs, &of15, &back), 0);
    CU_ASSERT((back.flags & RULE_STALE) && rule_same_key(&rule, &back));
    flow.fs.idle_timeout = 0;
    match_set_nw_ttl(&flow.fs.match, 4);
    CU_ASSERT_EQUAL(rule_from_flow(&flow.fs, &of15, &back), -EBADMSG);
    flow_destroy(&flow);

    /* Other actions: our match, to be modified. */
    read_flow(&rule, &of15, &flow);
    ofpact_put_OUTPUT(&flow.ofpacts)->port = 8;
    flow.fs.ofpacts = flow.ofpacts.data;
    flow.fs.ofpacts_len = flow.ofpacts.size;
    CU_ASSERT_EQUAL(rule_from_flow(&flow.fs, &of15, &back), 0);
    CU_ASSERT((back.flags & RULE_STALE) && rule_same_key(&rule, &back));
    flow_destroy(&flow);
}

/* A controller starts and finds flows: its own stay, strange ones with its
 * cookie go, others' are ignored. */
static void
test_read_flows(void)
{
    struct rule_table *desired = rule_table_create();
    struct rule_table *installed = rule_table_create();
    struct rule host = RULE_INIT(RULE_HOST);
    struct read flow;

    host.address = locator_from_v4(0x0a000002);
    host.port = 7;
    rule_table_put(desired, &host);
    read_flow(&host, &of15, &flow);
    CU_ASSERT(rule_table_read_flow(installed, &flow.fs, &of15));
    CU_ASSERT(rule_table_equal(desired, installed));

    flow.fs.cookie = 0;
    CU_ASSERT(!rule_table_read_flow(installed, &flow.fs, &of15));
    flow.fs.cookie = htonll(SAL_COOKIE(77, 78));
    CU_ASSERT(rule_table_read_flow(installed, &flow.fs, &of15));
    flow_destroy(&flow);
    CU_ASSERT_EQUAL(rule_table_count(installed), 2);

    struct rule_table *clone = rule_table_clone(installed);
    CU_ASSERT_EQUAL(rule_table_count(clone), 2);
    rule_table_destroy(clone);

    /* The strange one has the match of the good one: the deletion must name
     * its very cookie, or it would hit both. */
    struct rule_changes changes = RULE_CHANGES_INITIALIZER;
    rule_diff(desired, installed, &changes);
    CU_ASSERT_EQUAL_FATAL(changes.n, 1);
    CU_ASSERT_EQUAL(changes.changes[0].op, RULE_DELETE);
    struct ofpbuf *message = rule_change_encode(&changes.changes[0], &of15);
    CU_ASSERT_PTR_NOT_NULL_FATAL(message);
    struct ofpbuf ofpacts;
    struct ofputil_flow_mod fm;
    ofpbuf_init(&ofpacts, 0);
    CU_ASSERT_EQUAL(ofputil_decode_flow_mod(&fm, message->data,
                                            of15.protocol, NULL, NULL,
                                            &ofpacts, OFPP_MAX, 255), 0);
    CU_ASSERT_EQUAL(fm.command, OFPFC_DELETE_STRICT);
    CU_ASSERT_EQUAL(fm.table_id, SAL_TABLE_FORWARD);
    CU_ASSERT_EQUAL(fm.priority, SAL_PRIORITY_HOST);
    CU_ASSERT_EQUAL(ntohll(fm.cookie), SAL_COOKIE(77, 78));
    CU_ASSERT_EQUAL(fm.cookie_mask, htonll(UINT64_MAX >> 1));
    minimatch_destroy(&fm.match);
    ofpbuf_uninit(&ofpacts);
    ofpbuf_delete(message);

    rule_changes_apply(&changes, changes.n, installed);
    CU_ASSERT(rule_table_equal(desired, installed));
    rule_changes_destroy(&changes);
    rule_table_destroy(desired);
    rule_table_destroy(installed);
}

static bool
has(const struct rule_table *table, enum rule_kind kind, uint32_t address,
    uint32_t port)
{
    struct rule rule = RULE_INIT(kind);
    if (address) {
        rule.address = locator_from_v4(address);
    }
    const struct rule *found = rule_table_find(table, &rule);
    return found && found->port == port;
}

/* 1 (SAL) -- 2 (stock) -- 3 (SAL), hosts 5 at 1 and 6 at 2. */
static void
test_forwarding(void)
{
    struct topology *topology = topology_create();
    build_switch(topology, 1, 4, true);
    build_switch(topology, 2, 4, false);
    build_switch(topology, 3, 4, true);
    build_link(topology, 1, 1, 2, 1);
    build_link(topology, 2, 2, 3, 2);
    struct topology_probe probe = build_probe(5, 1, 4, 1);
    CU_ASSERT_EQUAL(topology_attach(topology, &probe, BUILDER_NEVER), 1);
    probe = build_probe(6, 2, 3, 1);
    CU_ASSERT_EQUAL(topology_attach(topology, &probe, BUILDER_NEVER), 1);
    /* This one claims to be the resolver. */
    probe = build_probe(7, 2, 4, 1);
    probe.locator = locator_from_v4(config.resolver_v4);
    CU_ASSERT_EQUAL(topology_attach(topology, &probe, BUILDER_NEVER), 1);
    struct paths *paths = paths_compute(topology, NULL);

    struct rules_config config = RULES_CONFIG_DEFAULT;
    config.groups = false;
    struct rule_table *table = rule_table_create();
    rules_compute_forwarding(&config, topology, paths, 1, table);
    CU_ASSERT(has(table, RULE_LINK_PROBE, 0, 0));
    CU_ASSERT(has(table, RULE_HOST_PROBE, 0, 0));
    CU_ASSERT(has(table, RULE_GUARD, 0, 0));
    CU_ASSERT(has(table, RULE_SERVICE_MISS, 0, 0));
    CU_ASSERT(!has(table, RULE_UPLINK, 0, 1));
    CU_ASSERT(has(table, RULE_HOST, 0x0a000005, 4));
    CU_ASSERT(has(table, RULE_HOST, 0x0a000006, 1));
    CU_ASSERT(has(table, RULE_ARP, 0x0a000006, 0));
    CU_ASSERT(!has(table, RULE_HOST, config.resolver_v4, 1));
    struct rule arp = RULE_INIT(RULE_ARP);
    arp.address = locator_from_v4(config.resolver_v4);
    CU_ASSERT(eth_addr_equals(rule_table_find(table, &arp)->mac,
                              config.resolver_mac));

    rule_table_clear(table);
    rules_compute_forwarding(&config, topology, paths, 2, table);
    CU_ASSERT(has(table, RULE_UPLINK, 0, 1));
    CU_ASSERT(has(table, RULE_STOCK_PROBE, 0, 0));
    CU_ASSERT(!has(table, RULE_HOST_PROBE, 0, 0));
    CU_ASSERT(!has(table, RULE_GUARD, 0, 0));
    CU_ASSERT(has(table, RULE_HOST, 0x0a000005, 1));

    rule_table_clear(table);
    rules_compute_forwarding(&config, topology, paths, 9, table);
    CU_ASSERT_EQUAL(rule_table_count(table), 0);

    /* Cut off: no route, no ARP. */
    paths_destroy(paths);
    build_port(topology, 1, 1, false);
    paths = paths_compute(topology, NULL);
    rules_compute_forwarding(&config, topology, paths, 1, table);
    CU_ASSERT(has(table, RULE_HOST, 0x0a000005, 4));
    CU_ASSERT(!has(table, RULE_ARP, 0x0a000006, 0));
    rule_table_destroy(table);
    paths_destroy(paths);
    topology_destroy(topology);
}

/* Leaves 1..8, each linked to all spines 11, 12, ...: traffic of a leaf uses
 * all its spines, those towards one other leaf as evenly as may be. */
static void
check_spread(int spines, bool groups)
{
    enum { LEAVES = 8, HOSTS = 40 };
    struct topology *topology = topology_create();
    for (int leaf = 1; leaf <= LEAVES; leaf++) {
        build_switch(topology, leaf, spines + HOSTS, true);
    }
    for (int spine = 1; spine <= spines; spine++) {
        build_switch(topology, 10 + spine, LEAVES, true);
        for (int leaf = 1; leaf <= LEAVES; leaf++) {
            build_link(topology, leaf, spine, 10 + spine, leaf);
        }
    }
    for (int i = 0; i < LEAVES * HOSTS; i++) {
        struct topology_probe probe = build_probe(
            i, 1 + i % LEAVES, spines + 1 + i / LEAVES, 1);
        CU_ASSERT_EQUAL(topology_attach(topology, &probe, BUILDER_NEVER), 1);
    }
    struct paths *paths = paths_compute(topology, NULL);
    struct rules_config config = RULES_CONFIG_DEFAULT;
    config.groups = groups;
    struct rule_table *table = rule_table_create();
    for (int leaf = 1; leaf <= LEAVES; leaf++) {
        int used[20] = {0}, towards[LEAVES][20] = {{0}};
        rules_compute_forwarding(&config, topology, paths, leaf, table);
        for (int i = 0; i < LEAVES * HOSTS; i++) {
            struct rule key = RULE_INIT(RULE_HOST);
            key.address = build_probe(i, 1, 1, 1).locator;
            const struct rule *rule = rule_table_find(table, &key);
            uint32_t port = rule->port;
            if (rule->flags & RULE_VIA_GROUP) {
                struct rule group = RULE_INIT(RULE_GROUP);
                group.group = rule->port;
                port = rule_table_find(table, &group)->ports[0];
            }
            if (i % LEAVES != leaf - 1) {
                CU_ASSERT_FATAL(port >= 1 && port <= spines);
                used[port]++;
                towards[i % LEAVES][port]++;
            }
        }
        for (int spine = 1; spine <= spines; spine++) {
            CU_ASSERT(used[spine] > 0);
            for (int to = 0; groups && spines <= 4 && to < LEAVES; to++) {
                CU_ASSERT(to == leaf - 1 || towards[to][spine] > 0);
            }
        }
        rule_table_clear(table);
    }
    rule_table_destroy(table);
    paths_destroy(paths);
    topology_destroy(topology);
}

static void
test_spread(void)
{
    for (int spines = 1; spines <= 8; spines++) {
        check_spread(spines, false);
        check_spread(spines, true);
    }
}

/* A meter, encoded, as the switch would tell it. */
static void
check_meter(const struct rule *rule)
{
    struct ofpbuf *message = rule_encode_meter(rule, &of15, OFPMC13_ADD);
    struct ofputil_meter_mod mod;
    struct ofpbuf bands;
    struct rule back;

    ofpmsg_update_length(message);
    ofpbuf_init(&bands, 0);
    CU_ASSERT_FATAL(!ofputil_decode_meter_mod(message->data, &mod, &bands));
    CU_ASSERT_EQUAL(rule_from_meter(&mod.meter, &back), 0);
    CU_ASSERT(rule_equal(&back, rule));
    mod.meter.bands[0].burst_size++;
    CU_ASSERT_EQUAL(rule_from_meter(&mod.meter, &back), 0);
    CU_ASSERT(rule_same_key(&back, rule) && !rule_equal(&back, rule));
    ofpbuf_uninit(&bands);
    ofpbuf_delete(message);
}

static uint32_t
meter_rate(const struct rule_table *table, uint32_t id)
{
    struct rule key = RULE_INIT(RULE_METER);

    key.meter = id;
    const struct rule *found = rule_table_find(table, &key);
    if (found) {
        check_meter(found);
    }
    return found ? found->port : 0;
}

/* Whatever hands packets in names a meter that is there; each port has its
 * own ones. */
static size_t
check_meters_named(const struct rule_table *table)
{
    size_t i = 0, n = 0;

    for (const struct rule *rule; (rule = rule_table_next(table, &i));) {
        if (rule_meter_kind(rule)) {
            CU_ASSERT(meter_rate(table, rule_meter(rule)) > 0);
            n += rule->in_port != 0;
        }
    }
    return n;
}

static void
test_meters(void)
{
    struct rules_config plain = config;
    struct topology *topology = topology_create();
    struct rule_table *table = rule_table_create();
    static const uint32_t foreign[] = {0, 5, 99, 0x53000001, 0x53050001,
                                       0x54010001, UINT32_MAX};
    plain.plain_hosts = true;
    build_switch(topology, 1, 3, true);
    struct paths *paths = paths_compute(topology, NULL);

    /* None; some; one each. */
    rules_compute_forwarding(&config, topology, paths, 1, table);
    CU_ASSERT_EQUAL(meter_rate(table, SAL_METER_HOST_PROBE), 0);
    for (uint32_t max = 4; max < 18; max++) {
        topology_switch_set_meters(topology, 1, max);
        rule_table_clear(table);
        rules_compute_forwarding(&plain, topology, paths, 1, table);
        CU_ASSERT_EQUAL(meter_rate(table, SAL_METER_HOST_PROBE), 1000);
        CU_ASSERT_EQUAL(meter_rate(table, SAL_METER_LEARN), 100);
        /* Link probes, PROBEs of both kinds, misses, three of plain hosts. */
        CU_ASSERT_EQUAL(check_meters_named(table), max < 16 ? 0 : 3 * 7);
    }
    CU_ASSERT_EQUAL(meter_rate(table, SAL_METER_PORT(SAL_METER_LEARN, 3)),
                    25);
    CU_ASSERT_EQUAL(meter_rate(table, SAL_METER_PORT(SAL_METER_HOST_PROBE,
                                                     4)), 0);
    for (size_t i = 0; i < ARRAY_SIZE(foreign); i++) {
        const struct ofputil_meter_config meter = {.meter_id = foreign[i]};
        struct rule rule;
        CU_ASSERT_EQUAL(rule_from_meter(&meter, &rule), -ENOENT);
    }
    rule_table_destroy(table);
    paths_destroy(paths);
    topology_destroy(topology);
}

/* A switch tells its flows in an order of its own, some of them twice: the
 * table is the same as one that was filled service by service. */
static void
test_read_in_any_order(void)
{
    enum { SERVICES = 7, TILES = 8, N = SERVICES * TILES };
    struct rule_table *desired = rule_table_create();
    struct rule_table *installed = rule_table_create();
    struct rule rules[N];

    for (int i = 0; i < N; i++) {
        struct rule *rule = &rules[i];
        *rule = RULE_INIT(RULE_SERVICE);
        rule->protocol = 6;
        rule->prefix_len = 192;
        rule->service.bytes[23] = 1 + i / TILES;
        rule->tile_bits = 3;
        rule->tile_value = i % TILES;
        rule->target = locator_from_v4(0x0a000001 + i % 3);
        rule->mac.ea[5] = i % 3;
        rule->port = 1 + i % 3;
        rule_table_put(desired, rule);
    }
    for (int i = 0; i < N + 10; i++) {
        /* 5 and 56 have no common divisor: each comes once, ten again. */
        struct read flow;
        read_flow(&rules[i * 5 % N], &of15, &flow);
        CU_ASSERT(rule_table_read_flow(installed, &flow.fs, &of15));
        flow_destroy(&flow);
    }
    CU_ASSERT(rule_table_equal(desired, installed));
    CU_ASSERT_EQUAL(rule_table_count(installed), N);
    rule_table_destroy(desired);
    rule_table_destroy(installed);
}

UNIT_MAIN("rules", UNIT_TEST(test_text), UNIT_TEST(test_random_round_trip),
          UNIT_TEST(test_random_groups),
          UNIT_TEST(test_stale), UNIT_TEST(test_read_flows),
          UNIT_TEST(test_read_in_any_order),
          UNIT_TEST(test_forwarding), UNIT_TEST(test_spread), UNIT_TEST(test_meters))
