/* SPDX-License-Identifier: Apache-2.0 */
/* put against a scripted switch that keeps rules as a real one would: what it
 * holds afterwards is what was desired, also when it refuses. */
#include "tests/unit/unit.h"

#include <limits.h>
#include "byte-order.h"
#include "controller/addresses.h"
#include "controller/put.h"
#include "tests/unit/fake_switch.h"
#include "tests/unit/topology_builder.h"

/* Route, ARP, and what admits its IPv4 and its ARP. */
#define RULES_OF_A_HOST 5
/* Hosts' probes, link probes, what nobody serves. */
#define METERS_OF_A_PORT 3

static const struct rules_config config = RULES_CONFIG_DEFAULT;

struct bench {
    struct switch_session session;
    struct fake_switch fake;
    struct put *put;
    struct address_pool *identities, *services;
    struct registry *registry;
    struct topology *topology;
    struct plan *plan;
    int reads, confirms;
    /* The switch's side. */
    struct rule_table *held, *staged;
    struct rule_dialect dialect;
    enum ofperr refuse;      /* Error for flow_mods of 'refuse_kind'. */
    enum rule_kind refuse_kind;
    enum ofperr refuse_meters; /* Error for meters of one port. */
    bool anonymous;          /* The commit fails without naming a rule. */
    bool bad_bundle;
    bool tolerant;           /* Takes flow_mods that are no rule of ours. */
    unsigned int n_flow_mods, n_meter_mods, n_commits;
    long long now;
};

/* Turns a flow_mod into the flow that a dump would show. */
static bool
rule_of_flow_mod(const struct bench *b, const struct ofp_header *oh,
                 struct rule *rule, int *command)
{
    struct ofputil_flow_mod fm;
    struct ofputil_flow_stats fs;
    struct ofpbuf ofpacts;

    ofpbuf_init(&ofpacts, 0);
    if (ofputil_decode_flow_mod(&fm, oh, b->dialect.protocol, NULL, NULL,
                                &ofpacts, OFPP_MAX, 255)) {
        abort();
    }
    memset(&fs, 0, sizeof fs);
    minimatch_expand(&fm.match, &fs.match);
    fs.cookie = fm.command == OFPFC_ADD ? fm.new_cookie : fm.cookie;
    fs.table_id = fm.table_id;
    fs.priority = fm.priority;
    fs.ofpacts = fm.ofpacts;
    fs.ofpacts_len = fm.ofpacts_len;
    *command = fm.command;
    int error = rule_from_flow(&fs, &b->dialect, rule);
    minimatch_destroy(&fm.match);
    ofpbuf_uninit(&ofpacts);
    return !error;
}

static bool
lacks_meter(const struct rule_table *table, const struct rule *rule)
{
    struct rule meter = RULE_INIT(RULE_METER);

    meter.meter = rule_meter(rule);
    return meter.meter && !rule_table_find(table, &meter);
}

static bool
is_named(const struct rule_table *table, const struct rule *meter)
{
    size_t i = 0;
    for (const struct rule *rule; (rule = rule_table_next(table, &i));) {
        if (rule_meter_kind(rule) && rule_meter(rule) == meter->meter) {
            return true;
        }
    }
    return false;
}

/* As Open vSwitch does: with a meter go the flows that name it, and none may
 * name what is not there. */
static void
take_meter_mod(struct bench *b, const struct ofp_header *oh)
{
    struct ofputil_meter_mod mm;
    struct ofpbuf bands;
    struct rule rule;

    b->n_meter_mods++;
    ofpbuf_init(&bands, 0);
    CU_ASSERT_FATAL(!ofputil_decode_meter_mod(oh, &mm, &bands));
    CU_ASSERT_FATAL(!rule_from_meter(&mm.meter, &rule));
    bool exists = rule_table_find(b->held, &rule);
    if (b->refuse_meters && rule.meter > RULES_N_METERS) {
        fake_switch_send(&b->fake, ofperr_encode_reply(b->refuse_meters, oh));
    } else if (mm.command == OFPMC13_DELETE) {
        CU_ASSERT(!is_named(b->held, &rule));
        rule_table_remove(b->held, &rule);
    } else {
        CU_ASSERT_EQUAL(exists, mm.command == OFPMC13_MODIFY);
        CU_ASSERT_EQUAL(rule.flags, 0);
        rule_table_put(b->held, &rule);
    }
    ofpbuf_uninit(&bands);
}

static void
take_flow_mod(struct bench *b, const struct ofp_header *oh, bool in_bundle)
{
    struct rule_table *table = in_bundle ? b->staged : b->held;
    struct rule rule;
    int command;

    b->n_flow_mods++;
    memset(&rule, 0, sizeof rule);
    if (!rule_of_flow_mod(b, oh, &rule, &command)) {
        CU_ASSERT_FATAL(b->tolerant);
        if (b->refuse) {
            fake_switch_send(&b->fake, ofperr_encode_reply(b->refuse, oh));
        }
        return;
    }
    if (b->refuse && rule.kind == b->refuse_kind) {
        b->bad_bundle |= in_bundle;
        if (!b->anonymous || !in_bundle) {
            fake_switch_send(&b->fake, ofperr_encode_reply(b->refuse, oh));
        }
    } else if (command == OFPFC_ADD && lacks_meter(table, &rule)) {
        b->bad_bundle |= in_bundle;
        fake_switch_send(&b->fake, ofperr_encode_reply(
            OFPERR_OFPMMFC_INVALID_METER, oh));
    } else if (command == OFPFC_ADD) {
        rule_table_put(table, &rule);
    } else {
        rule_table_remove(table, &rule);
    }
}

static void
take_commit(struct bench *b, const struct ofp_header *oh)
{
    b->n_commits++;
    if (b->bad_bundle || b->fake.refuse_command >= 0) {
        fake_switch_send(&b->fake,
                         ofperr_encode_reply(OFPERR_OFPBFC_MSG_FAILED, oh));
    } else {
        rule_table_destroy(b->held);
        b->held = rule_table_clone(b->staged);
        fake_switch_bundle(&b->fake, oh);
    }
}

static bool
on_message(struct fake_switch *f, const struct ofp_header *oh,
           enum ofptype type)
{
    struct bench *b = f->aux;
    struct ofputil_bundle_ctrl_msg control;
    struct ofputil_bundle_add_msg add;
    enum ofptype inner;

    switch ((int) type) {
    case OFPTYPE_METER_MOD:
        take_meter_mod(b, oh);
        return true;
    case OFPTYPE_FLOW_MOD:
        take_flow_mod(b, oh, false);
        return true;
    case OFPTYPE_BUNDLE_ADD_MESSAGE:
        CU_ASSERT(!ofputil_decode_bundle_add(oh, &add, &inner));
        CU_ASSERT_EQUAL(add.msg->xid, oh->xid);
        take_flow_mod(b, add.msg, true);
        return true;
    case OFPTYPE_BUNDLE_CONTROL:
        CU_ASSERT(!ofputil_decode_bundle_ctrl(oh, &control));
        if (control.type == OFPBCT_COMMIT_REQUEST) {
            take_commit(b, oh);
            return true;
        }
        rule_table_destroy(b->staged);
        b->staged = rule_table_clone(b->held);
        b->bad_bundle = false;
        return false;
    default:
        return false;
    }
}

static void
hear(struct switch_session *s, const struct switch_event *event, void *b_)
{
    struct bench *b = b_;

    if (event->type == SWITCH_EVENT_MESSAGE && b->put) {
        enum put_event e = put_message(b->put, event->message, b->now);
        b->reads += e == PUT_READ;
        b->confirms += e == PUT_CONFIRMED;
    }
}

static void
bench_start(struct bench *b, uint32_t versions)
{
    const struct routes_config routes = ROUTES_CONFIG_DEFAULT;

    memset(b, 0, sizeof *b);
    b->identities = address_pool_create(ADDRESS_IDENTITY_NETWORK,
                                        ADDRESS_IDENTITY_LEN);
    b->services = address_pool_create(ADDRESS_SERVICE_NETWORK,
                                      ADDRESS_SERVICE_LEN);
    b->registry = registry_create(b->identities, b->services);
    b->topology = topology_create();
    b->plan = plan_create(&config, &routes, NULL, b->registry,
                          b->topology);
    b->held = rule_table_create();
    b->staged = rule_table_create();
    switch_session_init(&b->session, &switch_session_defaults, hear, b, 0);
    fake_switch_init(&b->fake, &b->session);
    b->fake.versions = versions;
    b->fake.on_message = on_message;
    b->fake.aux = b;
    fake_switch_run(&b->fake);
    b->dialect = (struct rule_dialect) {
        .config = &config,
        .protocol = openflow_protocol(b->session.version),
        .meters = true,
    };
    topology_switch_set(b->topology, 0x11, b->session.sal);
    topology_switch_set_meters(b->topology, 0x11, b->session.max_meters);
    build_port(b->topology, 0x11, 1, true);
    plan_run(b->plan, NULL);
    b->put = put_create(&b->session, &config, 0);
    fake_switch_run(&b->fake);
}

static void
bench_stop(struct bench *b)
{
    put_destroy(b->put);
    fake_switch_destroy(&b->fake);
    switch_session_destroy(&b->session);
    rule_table_destroy(b->held);
    rule_table_destroy(b->staged);
    plan_destroy(b->plan);
    topology_destroy(b->topology);
    registry_destroy(b->registry);
    address_pool_destroy(b->services);
    address_pool_destroy(b->identities);
}

/* A host appears; some rules follow. */
static void
add_host(struct bench *b, int i)
{
    const struct topology_probe probe = {
        .endpoint.bytes = {i},
        .locator = locator_from_v4(0x0a000000 + i),
        .mac = {{{2, 0, 0, 0, 1, i}}},
        .at = {0x11, 1},
        .session = 1,
        .seq = 1,
    };

    CU_ASSERT_EQUAL(topology_attach(b->topology, &probe, 1000000), 1);
    plan_run(b->plan, NULL);
}

static void
run(struct bench *b)
{
    for (int i = 0; i < 20; i++) {
        put_run(b->put, b->plan, NULL, false, b->now);
        fake_switch_run(&b->fake);
    }
}

static void
check_equal(struct bench *b)
{
    const struct rule_table *desired = plan_desired(b->plan, 0x11);

    CU_ASSERT_EQUAL(b->put->state, PUT_READY);
    CU_ASSERT(rule_table_equal(desired, b->put->installed));
    CU_ASSERT(rule_table_equal(desired, b->held));
    CU_ASSERT_EQUAL(b->put->confirmed_generation, plan_generation(b->plan));
    CU_ASSERT_EQUAL(b->put->n_refusals, 0);
}

static void
test_a_round_in_a_bundle(void)
{
    struct bench b;

    bench_start(&b, 1u << OFP15_VERSION);
    CU_ASSERT_EQUAL(b.reads, 1);
    run(&b);
    CU_ASSERT_EQUAL(b.n_meter_mods, RULES_N_METERS + METERS_OF_A_PORT);
    CU_ASSERT_EQUAL(b.confirms, 1);
    CU_ASSERT_EQUAL(b.n_commits, 1);
    CU_ASSERT(rule_table_count(b.held) > 3);
    check_equal(&b);
    unsigned int before = b.n_flow_mods;
    run(&b);
    CU_ASSERT_EQUAL(b.n_flow_mods, before);
    add_host(&b, 1);
    run(&b);
    CU_ASSERT_EQUAL(b.n_flow_mods, before + RULES_OF_A_HOST);
    check_equal(&b);
    bench_stop(&b);
}

static void
test_without_bundles(void)
{
    struct bench b;

    bench_start(&b, 1u << OFP13_VERSION);
    run(&b);
    CU_ASSERT_EQUAL(b.n_commits, 0);
    CU_ASSERT(b.n_flow_mods > 0);
    check_equal(&b);
    bench_stop(&b);
}

/* The flows of 'table' as replies to a dump, some per message. */
static void
dump_flows(struct bench *b, const struct ofp_header *oh)
{
    struct ovs_list replies;
    const struct rule *rule;
    size_t i = 0;

    ofpmp_init(&replies, oh);
    while ((rule = rule_table_next(b->held, &i)) != NULL) {
        struct ofputil_flow_mod fm;
        struct ofputil_flow_stats fs;
        struct ofpbuf ofpacts;

        if (rule->kind == RULE_METER) {
            continue;
        }
        ofpbuf_init(&ofpacts, 0);
        CU_ASSERT(!rule_to_flow_mod(rule, &b->dialect, OFPFC_ADD, &ofpacts,
                                    &fm));
        memset(&fs, 0, sizeof fs);
        minimatch_expand(&fm.match, &fs.match);
        fs.cookie = fm.new_cookie;
        fs.table_id = fm.table_id;
        fs.priority = fm.priority;
        fs.ofpacts = fm.ofpacts;
        fs.ofpacts_len = fm.ofpacts_len;
        fs.idle_age = fs.hard_age = -1;
        ofputil_append_flow_stats_reply(&fs, &replies, NULL);
        minimatch_destroy(&fm.match);
        ofpbuf_uninit(&ofpacts);
    }
    fake_switch_send_list(&b->fake, &replies);
}

static void
dump_meters(struct bench *b, const struct ofp_header *oh)
{
    struct ovs_list replies;
    const struct rule *rule;
    size_t i = 0;

    ofpmp_init(&replies, oh);
    while ((rule = rule_table_next(b->held, &i)) != NULL) {
        struct ofpbuf *message;
        struct ofputil_meter_mod mm;
        struct ofpbuf bands;

        if (rule->kind != RULE_METER) {
            continue;
        }
        message = rule_encode_meter(rule, &b->dialect, OFPMC13_ADD);
        ofpmsg_update_length(message);
        ofpbuf_init(&bands, 0);
        CU_ASSERT(!ofputil_decode_meter_mod(message->data, &mm, &bands));
        ofputil_append_meter_config(&replies, &mm.meter);
        ofpbuf_uninit(&bands);
        ofpbuf_delete(message);
    }
    fake_switch_send_list(&b->fake, &replies);
}

static bool
dump_on_message(struct fake_switch *f, const struct ofp_header *oh,
                enum ofptype type)
{
    if (type == OFPTYPE_FLOW_STATS_REQUEST) {
        dump_flows(f->aux, oh);
        return true;
    }
    if (type == OFPTYPE_METER_CONFIG_STATS_REQUEST) {
        dump_meters(f->aux, oh);
        return true;
    }
    return on_message(f, oh, type);
}

static void
test_reconnect_writes_nothing(void)
{
    struct bench b;

    bench_start(&b, 1u << OFP15_VERSION);
    add_host(&b, 1);
    add_host(&b, 2);
    run(&b);
    check_equal(&b);
    unsigned int before = b.n_flow_mods;

    b.fake.on_message = dump_on_message;
    put_destroy(b.put);
    b.put = put_create(&b.session, &config, 0);
    fake_switch_run(&b.fake);
    CU_ASSERT_EQUAL(b.put->stats.rules_read, rule_table_count(b.held));
    run(&b);
    CU_ASSERT_EQUAL(b.n_flow_mods, before);
    check_equal(&b);

    /* And only what is missing. */
    struct rule guard = RULE_INIT(RULE_DEFAULT);
    CU_ASSERT(rule_table_remove(b.held, &guard));
    put_destroy(b.put);
    b.put = put_create(&b.session, &config, 0);
    fake_switch_run(&b.fake);
    run(&b);
    CU_ASSERT_EQUAL(b.n_flow_mods, before + 1);
    check_equal(&b);
    bench_stop(&b);
}

static void
test_a_refused_rule_does_not_stop_the_others(uint32_t versions,
                                             bool anonymous)
{
    struct bench b;

    bench_start(&b, versions);
    b.refuse = OFPERR_OFPFMFC_BAD_COMMAND;
    b.refuse_kind = RULE_DEFAULT;
    b.anonymous = anonymous;
    run(&b);
    CU_ASSERT_EQUAL(b.put->state, PUT_READY);
    CU_ASSERT_EQUAL(b.put->n_refusals, 1);
    CU_ASSERT_EQUAL(b.put->refusals[0].rule.kind, RULE_DEFAULT);
    CU_ASSERT_EQUAL(b.put->refusals[0].error, OFPERR_OFPFMFC_BAD_COMMAND);
    CU_ASSERT_EQUAL(rule_table_count(b.held),
                    rule_table_count(plan_desired(b.plan, 0x11)) - 1);
    CU_ASSERT(rule_table_equal(b.held, b.put->installed));
    unsigned int before = b.n_flow_mods;
    run(&b);
    CU_ASSERT_EQUAL(b.n_flow_mods, before); /* No hammering. */

    /* Later it is tried again. */
    b.refuse = 0;
    b.now = put_wakeup(b.put, 30000);
    CU_ASSERT(b.now >= switch_session_defaults.retry_ms);
    run(&b);
    check_equal(&b);
    bench_stop(&b);
}

static void
test_refused(void)
{
    test_a_refused_rule_does_not_stop_the_others(1u << OFP15_VERSION, false);
    test_a_refused_rule_does_not_stop_the_others(1u << OFP15_VERSION, true);
    test_a_refused_rule_does_not_stop_the_others(1u << OFP13_VERSION, false);
}

static void
test_bundles_that_do_not_work(void)
{
    struct bench b;

    bench_start(&b, 1u << OFP15_VERSION);
    b.fake.refuse_command = OFPBCT_OPEN_REQUEST;
    run(&b);
    CU_ASSERT(!b.put->bundles);
    CU_ASSERT_EQUAL(b.put->stats.refused, 0);
    check_equal(&b);
    bench_stop(&b);
}

/* A flow with our cookie that we would never install is deleted; if the switch
 * does not let us, the rest goes on. */
static void
test_a_stranger_with_our_cookie(bool refused)
{
    struct ofputil_flow_stats fs = {
        .cookie = htonll(SAL_COOKIE(SAL_COOKIE_HOST, 1)), .table_id = 77};
    struct bench b;

    bench_start(&b, 1u << OFP13_VERSION);
    match_init_catchall(&fs.match);
    CU_ASSERT(rule_table_read_flow(b.put->installed, &fs, &b.dialect));
    b.tolerant = true;
    if (refused) {
        b.refuse = OFPERR_OFPFMFC_EPERM;
        b.refuse_kind = RULE_NONE;
    }
    run(&b);
    CU_ASSERT_EQUAL(b.put->state, PUT_READY);
    CU_ASSERT_EQUAL(b.put->stats.refused, refused);
    CU_ASSERT_EQUAL(rule_table_count(b.put->installed),
                    rule_table_count(plan_desired(b.plan, 0x11)) + refused);
    unsigned int before = b.n_flow_mods;
    run(&b);
    CU_ASSERT_EQUAL(b.n_flow_mods, before);
    bench_stop(&b);
}

static void
test_strangers(void)
{
    test_a_stranger_with_our_cookie(false);
    test_a_stranger_with_our_cookie(true);
}

static void
test_a_full_table(void)
{
    struct bench b;

    bench_start(&b, 1u << OFP15_VERSION);
    for (int i = 1; i <= 100; i++) {
        add_host(&b, i);
    }
    b.refuse = OFPERR_OFPFMFC_TABLE_FULL;
    b.refuse_kind = RULE_HOST;
    run(&b);
    CU_ASSERT_EQUAL(b.put->state, PUT_READY);
    CU_ASSERT_EQUAL(b.put->n_refusals, PUT_REFUSALS_SHOWN);
    CU_ASSERT_EQUAL(b.put->stats.refused, 100);
    CU_ASSERT(b.put->stats.rounds <= 3); /* Not one a rule. */
    CU_ASSERT_EQUAL(rule_table_count(b.held),
                    rule_table_count(plan_desired(b.plan, 0x11)) - 100);
    b.refuse = 0;
    b.now = switch_session_defaults.retry_ms;
    run(&b);
    check_equal(&b);
    bench_stop(&b);
}

/* The switch has fewer meters than it said: its ports share them. */
static void
test_meters_that_do_not_fit(uint32_t versions)
{
    struct bench b;

    bench_start(&b, versions);
    b.fake.on_message = dump_on_message;
    b.refuse_meters = OFPERR_OFPMMFC_OUT_OF_METERS;
    run(&b);
    CU_ASSERT(b.put->meters_refused && !b.put->admit_table_full);
    CU_ASSERT_EQUAL(b.put->state, PUT_READY);
    CU_ASSERT(rule_table_equal(b.held, b.put->installed));
    unsigned int before = b.n_meter_mods;
    run(&b);
    CU_ASSERT_EQUAL(b.n_meter_mods, before); /* No hammering. */

    topology_switch_set_meters(b.topology, 0x11, RULES_N_METERS);
    plan_run(b.plan, NULL);
    b.now = switch_session_defaults.retry_ms;
    run(&b);
    check_equal(&b);
    CU_ASSERT_EQUAL(b.n_meter_mods, before);
    bench_stop(&b);
}

static void
test_few_meters(void)
{
    test_meters_that_do_not_fit(1u << OFP15_VERSION);
    test_meters_that_do_not_fit(1u << OFP13_VERSION);
}

/* Ports come and go, and their meters with them: never is there a flow that
 * names one that is not there. */
static void
test_meters_follow_ports(void)
{
    for (int i = 0; i < 2; i++) {
        struct bench b;
        bench_start(&b, 1u << (i ? OFP13_VERSION : OFP15_VERSION));
        run(&b);
        for (uint32_t port = 2; port < 10; port++) {
            build_port(b.topology, 0x11, port, true);
        }
        plan_run(b.plan, NULL);
        run(&b);
        check_equal(&b);
        for (uint32_t port = 2; port < 10; port++) {
            topology_port_remove(b.topology, 0x11, port);
        }
        plan_run(b.plan, NULL);
        unsigned int before = b.n_meter_mods;
        run(&b);
        CU_ASSERT_EQUAL(b.n_meter_mods, before + 8 * METERS_OF_A_PORT);
        check_equal(&b);

        /* A port that flaps changes nothing. */
        unsigned int flows = b.n_flow_mods;
        before = b.n_meter_mods;
        for (int j = 0; j < 10; j++) {
            build_port(b.topology, 0x11, 1, j % 2);
            plan_run(b.plan, NULL);
            run(&b);
        }
        CU_ASSERT_EQUAL(b.n_flow_mods, flows);
        CU_ASSERT_EQUAL(b.n_meter_mods, before);
        bench_stop(&b);
    }
}

/* What a patched Open vSwitch on the Linux kernel's datapath does. */
static void
test_a_datapath_without_the_fields(void)
{
    static const enum ofperr errors[] = {OFPERR_OFPFMFC_BAD_COMMAND,
                                         OFPERR_OFPBMC_BAD_FIELD};
    static const enum rule_kind kinds[] = {RULE_DEFAULT, RULE_RESOLVE,
                                           RULE_HOST_PROBE};
    for (size_t i = 0; i < ARRAY_SIZE(errors) * ARRAY_SIZE(kinds); i++) {
        struct bench b;
        bench_start(&b, 1u << OFP15_VERSION);
        b.refuse = errors[i % 2];
        b.refuse_kind = kinds[i / 2];
        run(&b);
        /* PROBEs have a rule for all ports and one for each. */
        CU_ASSERT_EQUAL(b.put->n_refusals,
                        1 + (b.refuse_kind == RULE_HOST_PROBE));
        CU_ASSERT_EQUAL(b.put->no_sal_fields, i % 2 && i / 2);
        bench_stop(&b);
    }
}

static void
test_hold(void)
{
    struct bench b;

    bench_start(&b, 1u << OFP15_VERSION);
    add_host(&b, 1);
    run(&b);
    check_equal(&b);

    struct in6_addr locator = locator_from_v4(0x0a000001);
    topology_detach(b.topology, &locator);
    plan_run(b.plan, NULL);
    unsigned int before = b.n_flow_mods;
    put_run(b.put, b.plan, NULL, true, 0);
    CU_ASSERT(b.put->holding);
    CU_ASSERT_EQUAL(b.put->state, PUT_READY);
    fake_switch_run(&b.fake);
    CU_ASSERT_EQUAL(b.n_flow_mods, before);
    run(&b);
    CU_ASSERT_EQUAL(b.n_flow_mods, before + RULES_OF_A_HOST);
    check_equal(&b);
    bench_stop(&b);
}

static void
test_a_switch_that_stalls(void)
{
    struct bench b;

    bench_start(&b, 1u << OFP15_VERSION);
    b.fake.mute = true;
    put_run(b.put, b.plan, NULL, false, 1000);
    CU_ASSERT_EQUAL(b.put->state, PUT_ROUND);
    put_run(b.put, b.plan, NULL, false, 1001); /* One round at a time. */
    CU_ASSERT_EQUAL(put_wakeup(b.put, 30000), 31000);
    put_check(b.put, 30000, 30999);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_UP);
    put_check(b.put, 30000, 31000);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_CLOSED);
    bench_stop(&b);
}

UNIT_MAIN("put",
          UNIT_TEST(test_a_round_in_a_bundle),
          UNIT_TEST(test_without_bundles),
          UNIT_TEST(test_reconnect_writes_nothing),
          UNIT_TEST(test_refused),
          UNIT_TEST(test_bundles_that_do_not_work),
          UNIT_TEST(test_strangers),
          UNIT_TEST(test_a_full_table),
          UNIT_TEST(test_few_meters), UNIT_TEST(test_meters_follow_ports),
          UNIT_TEST(test_a_datapath_without_the_fields),
          UNIT_TEST(test_hold),
          UNIT_TEST(test_a_switch_that_stalls))
