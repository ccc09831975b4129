/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenFlow session against a scripted switch, a stock one, and noise. */
#include "tests/unit/unit.h"

#include <limits.h>
#include "openvswitch/ofp-connection.h"
#include "tests/unit/fake_switch.h"

/* What the session said. */
struct heard {
    int ups, closes, ports, ports_gone, messages, roles;
    enum ofptype last_message;
    uint32_t last_xid;
    bool last_port_up;
    uint8_t packet[64];
    size_t packet_len;
    uint32_t packet_port;
    char reason[128];
};

static void
hear(struct switch_session *s, const struct switch_event *event, void *heard_)
{
    struct heard *heard = heard_;

    switch (event->type) {
    case SWITCH_EVENT_UP:
        heard->ups++;
        break;
    case SWITCH_EVENT_PORT:
        heard->ports++;
        heard->last_port_up = event->port->up;
        break;
    case SWITCH_EVENT_PORT_GONE:
        heard->ports_gone++;
        break;
    case SWITCH_EVENT_MESSAGE:
        heard->messages++;
        heard->last_message = event->message->type;
        heard->last_xid = event->message->xid;
        if (event->message->type == OFPTYPE_PACKET_IN) {
            heard->packet_len = MIN(event->message->packet_in.len,
                                    sizeof heard->packet);
            memcpy(heard->packet, event->message->packet_in.data,
                   heard->packet_len);
            heard->packet_port = event->message->packet_in.in_port;
        }
        break;
    case SWITCH_EVENT_ROLE:
        heard->roles++;
        break;
    case SWITCH_EVENT_CLOSED:
        heard->closes++;
        ovs_strlcpy(heard->reason, event->reason, sizeof heard->reason);
        break;
    }
}

struct bench {
    struct switch_session session;
    struct fake_switch fake;
    struct heard heard;
};

static void
bench_start(struct bench *b)
{
    memset(&b->heard, 0, sizeof b->heard);
    switch_session_init(&b->session, &switch_session_defaults, hear,
                        &b->heard, 0);
    fake_switch_init(&b->fake, &b->session);
}

static void
bench_stop(struct bench *b)
{
    fake_switch_destroy(&b->fake);
    switch_session_destroy(&b->session);
}

static void
test_handshake(void)
{
    struct bench b;

    bench_start(&b);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_HELLO);
    fake_switch_run(&b.fake);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_UP);
    CU_ASSERT_EQUAL(b.heard.ups, 1);
    CU_ASSERT_EQUAL(b.session.version, OFP15_VERSION);
    CU_ASSERT_EQUAL(b.session.datapath_id, 0x11);
    CU_ASSERT_EQUAL(hmap_count(&b.session.ports), 3);
    CU_ASSERT_EQUAL(b.session.sal, mf_from_name("sal_service") != NULL);
    CU_ASSERT(b.session.bundles);
    CU_ASSERT_EQUAL(b.session.max_meters, 100);
    CU_ASSERT_EQUAL(strlen(b.session.software),
                    sizeof b.session.software - 1);
    const struct switch_port *port = switch_session_port(&b.session, 2);
    CU_ASSERT_FATAL(port != NULL);
    CU_ASSERT_STRING_EQUAL(port->name, "eth2");
    CU_ASSERT(port->up);
    CU_ASSERT_EQUAL(port->speed, 10000000);
    CU_ASSERT_EQUAL(b.session.counters.malformed, 0);
    bench_stop(&b);
}

static void
test_stock_switch(void)
{
    struct bench b;

    bench_start(&b);
    b.fake.sal = false;
    b.fake.versions = 1u << OFP13_VERSION | 1u << OFP10_VERSION;
    fake_switch_run(&b.fake);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_UP);
    CU_ASSERT_EQUAL(b.session.version, OFP13_VERSION);
    CU_ASSERT(!b.session.sal);
    CU_ASSERT(!b.session.bundles);
    bench_stop(&b);

    /* One that does not even know the question. */
    bench_start(&b);
    b.fake.no_table_features = true;
    b.fake.no_meters = true;
    fake_switch_run(&b.fake);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_UP);
    CU_ASSERT(!b.session.sal);
    CU_ASSERT_EQUAL(b.session.max_meters, 0);
    bench_stop(&b);
}

/* The dear question is asked only where the cheap one does not settle it. */
static void
test_sal_detection(void)
{
    static const struct {
        uint32_t version;
        bool sal;
        int flows;
        unsigned int asked;
    } cases[] = {
        {OFP15_VERSION, true, 0, 1}, {OFP15_VERSION, true, 2, 0},
        {OFP15_VERSION, true, -1, 1}, {OFP15_VERSION, false, 0, 0},
        {OFP15_VERSION, false, -1, 1}, {OFP13_VERSION, true, 0, 1},
        {OFP13_VERSION, true, 2, 0}, {OFP13_VERSION, false, 0, 0},
        {OFP13_VERSION, false, -1, 1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct bench b;

        bench_start(&b);
        b.fake.versions = 1u << cases[i].version;
        b.fake.sal = cases[i].sal;
        b.fake.sal_flows = cases[i].flows;
        fake_switch_run(&b.fake);
        CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_UP);
        CU_ASSERT_EQUAL(b.session.sal, cases[i].sal);
        CU_ASSERT_EQUAL(b.fake.n_table_features, cases[i].asked);
        CU_ASSERT_EQUAL(b.session.counters.malformed, 0);
        bench_stop(&b);
    }
}

static void
test_no_common_version(void)
{
    struct bench b;

    bench_start(&b);
    b.fake.versions = 1u << OFP10_VERSION | 1u << OFP12_VERSION;
    b.fake.on_message = NULL;
    fake_switch_run(&b.fake);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_CLOSED);
    CU_ASSERT_EQUAL(b.heard.closes, 1);
    CU_ASSERT(strstr(b.heard.reason, "no OpenFlow version in common")
              != NULL);
    bench_stop(&b);
}

static void
test_ports(void)
{
    struct bench b;

    bench_start(&b);
    fake_switch_run(&b.fake);
    fake_switch_port_status(&b.fake, 2, false, OFPPR_MODIFY);
    CU_ASSERT_EQUAL(b.heard.ports, 1);
    CU_ASSERT(!b.heard.last_port_up);
    fake_switch_port_status(&b.fake, 7, true, OFPPR_ADD);
    CU_ASSERT_EQUAL(b.heard.ports, 2);
    CU_ASSERT(b.heard.last_port_up);
    CU_ASSERT_EQUAL(hmap_count(&b.session.ports), 4);
    fake_switch_port_status(&b.fake, 7, true, OFPPR_DELETE);
    fake_switch_port_status(&b.fake, 9, true, OFPPR_DELETE);
    CU_ASSERT_EQUAL(b.heard.ports_gone, 1);
    CU_ASSERT_EQUAL(hmap_count(&b.session.ports), 3);
    bench_stop(&b);
}

static void
test_barriers_and_errors_by_xid(void)
{
    struct bench b;

    bench_start(&b);
    fake_switch_run(&b.fake);
    uint32_t xid = switch_session_send(
        &b.session, openflow_barrier_request(b.session.version));
    fake_switch_run(&b.fake);
    CU_ASSERT_EQUAL(b.heard.messages, 1);
    CU_ASSERT_EQUAL(b.heard.last_message, OFPTYPE_BARRIER_REPLY);
    CU_ASSERT_EQUAL(b.heard.last_xid, xid);

    struct ofpbuf *request = openflow_barrier_request(b.session.version);
    openflow_set_xid(request, 4711);
    fake_switch_send(&b.fake, ofperr_encode_reply(
        OFPERR_OFPFMFC_TABLE_FULL, request->data));
    ofpbuf_delete(request);
    CU_ASSERT_EQUAL(b.heard.last_message, OFPTYPE_ERROR);
    CU_ASSERT_EQUAL(b.heard.last_xid, 4711);
    CU_ASSERT_EQUAL(b.session.counters.errors, 2); /* One: group features. */
    CU_ASSERT_EQUAL(openflow_errno(OFPERR_OFPFMFC_TABLE_FULL), -ENOSPC);
    bench_stop(&b);
}

static void
test_packet_in(void)
{
    static const uint8_t frame[20] = {1, 2, 3};
    struct bench b;

    bench_start(&b);
    fake_switch_run(&b.fake);
    struct ofputil_packet_in_private pin = {
        .base = {
            .packet = CONST_CAST(uint8_t *, frame),
            .packet_len = sizeof frame,
            .reason = OFPR_ACTION,
            .cookie = htonl(5),
        },
    };
    match_init_catchall(&pin.base.flow_metadata);
    match_set_in_port(&pin.base.flow_metadata, u16_to_ofp(3));
    fake_switch_send(&b.fake, ofputil_encode_packet_in_private(
        &pin, openflow_protocol(b.session.version), OFPUTIL_PACKET_IN_STD));
    CU_ASSERT_EQUAL(b.heard.last_message, OFPTYPE_PACKET_IN);
    CU_ASSERT_EQUAL(b.heard.packet_len, sizeof frame);
    CU_ASSERT(!memcmp(b.heard.packet, frame, sizeof frame));
    CU_ASSERT_EQUAL(b.heard.packet_port, 3);
    CU_ASSERT_EQUAL(b.session.counters.packet_ins, 1);
    bench_stop(&b);
}

static void
test_echo_and_inactivity(void)
{
    struct bench b;

    bench_start(&b);
    fake_switch_run(&b.fake);
    CU_ASSERT_EQUAL(switch_session_wakeup(&b.session), 5000);
    switch_session_run(&b.session, 4999);
    CU_ASSERT_EQUAL(b.session.output.size, 0);
    switch_session_run(&b.session, 5000);
    CU_ASSERT(b.session.output.size > 0);
    CU_ASSERT_EQUAL(switch_session_wakeup(&b.session), 10000);
    b.fake.now = 5001;
    fake_switch_run(&b.fake);
    CU_ASSERT_EQUAL(b.fake.n_echoes, 1);
    CU_ASSERT_EQUAL(switch_session_wakeup(&b.session), 10001);

    b.fake.mute = true;
    switch_session_run(&b.session, 10001);
    fake_switch_run(&b.fake);
    switch_session_run(&b.session, 15000);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_UP);
    switch_session_run(&b.session, 15001);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_CLOSED);
    CU_ASSERT_STRING_EQUAL(b.heard.reason, "the switch no longer answers");
    CU_ASSERT_EQUAL(switch_session_wakeup(&b.session), LLONG_MAX);
    bench_stop(&b);
}

static void
test_probe_finds_a_dead_switch_early(void)
{
    struct bench b;

    bench_start(&b);
    fake_switch_run(&b.fake);
    b.fake.mute = true;
    switch_session_probe(&b.session, 1000);
    CU_ASSERT(b.session.output.size > 0);
    switch_session_run(&b.session, 5999);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_UP);
    switch_session_run(&b.session, 6000);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_CLOSED);
    bench_stop(&b);
}

static void
test_handshake_timeout(void)
{
    struct bench b;

    bench_start(&b);
    switch_session_run(&b.session, 9999);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_HELLO);
    CU_ASSERT_EQUAL(switch_session_wakeup(&b.session), 10000);
    switch_session_run(&b.session, 10000);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_CLOSED);
    bench_stop(&b);
}

static void
test_answers_echo(void)
{
    struct bench b;
    struct ofpbuf *reply;
    struct openflow_stream stream;

    bench_start(&b);
    fake_switch_run(&b.fake);
    struct ofpbuf *request = ofputil_encode_echo_request(b.session.version);
    openflow_set_xid(request, 99);
    fake_switch_send(&b.fake, request);
    openflow_stream_init(&stream);
    openflow_stream_push(&stream, b.session.output.data,
                         b.session.output.size);
    CU_ASSERT_EQUAL_FATAL(openflow_stream_next(&stream, &reply), 1);
    CU_ASSERT_EQUAL(openflow_get_xid(reply), 99);
    ofpbuf_delete(reply);
    openflow_stream_destroy(&stream);
    bench_stop(&b);
}

/* Bytes that no switch sends. */

static void
test_malformed_is_counted_and_survived(void)
{
    /* Version 6, FEATURES_REPLY, 9 octets: too short for its type. */
    static const uint8_t short_reply[] = {6, 6, 0, 9, 0, 0, 0, 1, 0};
    /* A FLOW_MOD: only controllers send that. */
    static const uint8_t flow_mod[] = {6, 14, 0, 8, 0, 0, 0, 1};
    struct bench b;

    bench_start(&b);
    fake_switch_run(&b.fake);
    switch_session_receive(&b.session, short_reply, sizeof short_reply, 0);
    switch_session_receive(&b.session, flow_mod, sizeof flow_mod, 0);
    CU_ASSERT_EQUAL(b.session.counters.malformed, 2);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_UP);
    CU_ASSERT(b.session.output.size > 0); /* Errors for the peer. */
    for (int i = 0; i < 200; i++) {
        switch_session_receive(&b.session, flow_mod, sizeof flow_mod, 0);
    }
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_CLOSED);
    CU_ASSERT_EQUAL(b.heard.closes, 1);
    bench_stop(&b);
}

static void
test_lost_framing_closes(void)
{
    static const uint8_t zero_length[] = {6, 0, 0, 7, 0, 0, 0, 1};
    struct bench b;

    bench_start(&b);
    fake_switch_run(&b.fake);
    switch_session_receive(&b.session, zero_length, sizeof zero_length, 0);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_CLOSED);
    switch_session_receive(&b.session, zero_length, sizeof zero_length, 0);
    CU_ASSERT_EQUAL(b.heard.closes, 1);
    bench_stop(&b);
}

static void
test_wrong_version_closes(void)
{
    static const uint8_t echo_13[] = {4, 2, 0, 8, 0, 0, 0, 1};
    struct bench b;

    bench_start(&b);
    fake_switch_run(&b.fake);
    switch_session_receive(&b.session, echo_13, sizeof echo_13, 0);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_CLOSED);
    bench_stop(&b);
}

static void
test_before_hello(void)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    static const uint8_t echo[] = {6, 2, 0, 8, 0, 0, 0, 1};
    uint8_t tls[] = {22, 3, 0, 60, 0};
    struct bench b;

    bench_start(&b);
    switch_session_receive(&b.session, echo, sizeof echo, 0);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_CLOSED);
    bench_stop(&b);

    bench_start(&b);
    for (int i = 0; i < 1000; i++) {
        switch_session_receive(&b.session, http, sizeof http, 0);
    }
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_CLOSED);
    bench_stop(&b);

    bench_start(&b);
    for (int i = 0; i < 20; i++) {
        switch_session_receive(&b.session, tls, sizeof tls, 0);
    }
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_CLOSED);
    bench_stop(&b);
}

static void
test_byte_by_byte(void)
{
    struct ofpbuf *hello = ofputil_encode_hello(1u << OFP15_VERSION);
    struct bench b;

    ofpmsg_update_length(hello);
    bench_start(&b);
    for (size_t i = 0; i < hello->size; i++) {
        CU_ASSERT_EQUAL(b.session.version, 0);
        switch_session_receive(&b.session, (uint8_t *) hello->data + i, 1, 0);
    }
    CU_ASSERT_EQUAL(b.session.version, OFP15_VERSION);
    ofpbuf_delete(hello);
    bench_stop(&b);
}

/* Messages of a real session with random octets changed: never a crash, and
 * the session either lives or says why not. */
static void
corrupt(struct fake_switch *f, const struct ofp_header *oh)
{
    size_t len = ntohs(oh->length);
    uint8_t *copy = xmemdup(oh, len);

    for (int n = unit_random_below(4); n >= 0; n--) {
        copy[4 + unit_random_below(len - 4)] = unit_random();
    }
    switch_session_receive(f->session, copy, len, f->now);
    free(copy);
}

static struct ofpbuf *
random_reply(const struct switch_session *s)
{
    static const enum ofpraw raws[] = {
        OFPRAW_OFPT13_FEATURES_REPLY, OFPRAW_OFPT13_PACKET_IN,
        OFPRAW_OFPT14_PORT_STATUS, OFPRAW_OFPT14_BUNDLE_CONTROL,
        OFPRAW_OFPT_ERROR, OFPRAW_OFPST14_PORT_DESC_REPLY,
        OFPRAW_OFPST13_TABLE_FEATURES_REPLY, OFPRAW_OFPT12_ROLE_REPLY,
        OFPRAW_OFPST15_FLOW_REPLY, OFPRAW_OFPST13_METER_CONFIG_REPLY,
        OFPRAW_OFPST15_AGGREGATE_REPLY,
    };
    struct ofpbuf *b = ofpraw_alloc_xid(
        raws[unit_random_below(ARRAY_SIZE(raws))], OFP15_VERSION,
        htonl(1 + unit_random_below(10)), 0);
    size_t n = unit_random_below(200);

    for (size_t i = 0; i < n; i++) {
        uint8_t byte = unit_random_below(4) ? 0 : unit_random();
        ofpbuf_put(b, &byte, 1);
    }
    ofpmsg_update_length(b);
    return b;
}

static void
test_random_octets(void)
{
    for (int round = 0; round < 300; round++) {
        struct bench b;

        bench_start(&b);
        if (round % 3) {
            fake_switch_run(&b.fake);
        } else {
            switch_session_receive(&b.session, "\6\0\0\10\0\0\0\1", 8, 0);
        }
        for (int i = 0; i < 200; i++) {
            struct ofpbuf *reply = random_reply(&b.session);
            corrupt(&b.fake, reply->data);
            ofpbuf_delete(reply);
        }
        CU_ASSERT(b.heard.closes
                  == (b.session.state == SWITCH_SESSION_CLOSED));
        bench_stop(&b);
    }
}

/* A switch with roles. */
struct roles {
    enum ofp12_controller_role role;
    uint64_t generation;
    int asked;
    bool unknown; /* It has never heard of roles. */
};

static bool
answer_role(struct fake_switch *f, const struct ofp_header *oh,
            enum ofptype type)
{
    struct roles *roles = f->aux;
    struct ofputil_role_request request;

    if (type != OFPTYPE_ROLE_REQUEST) {
        return false;
    }
    roles->asked++;
    CU_ASSERT_EQUAL(ofputil_decode_role_message(oh, &request), 0);
    if (roles->unknown) {
        fake_switch_send(f, ofperr_encode_reply(OFPERR_OFPBRC_BAD_TYPE, oh));
        return true;
    }
    if (request.have_generation_id) {
        if ((int64_t) (request.generation_id - roles->generation) < 0) {
            fake_switch_send(f, ofperr_encode_reply(OFPERR_OFPRRFC_STALE,
                                                    oh));
            return true;
        }
        roles->generation = request.generation_id;
    }
    if (request.role != OFPCR12_ROLE_NOCHANGE) {
        roles->role = request.role;
    }
    request.role = roles->role;
    request.have_generation_id = true;
    request.generation_id = roles->generation;
    fake_switch_send(f, ofputil_encode_role_reply(oh, &request));
    return true;
}

static void
roles_start(struct bench *b, struct roles *roles,
            enum ofp12_controller_role role, uint64_t generation)
{
    struct switch_session_config config = switch_session_defaults;

    config.role = role;
    config.generation_id = generation;
    memset(&b->heard, 0, sizeof b->heard);
    switch_session_init(&b->session, &config, hear, &b->heard, 0);
    fake_switch_init(&b->fake, &b->session);
    b->fake.on_message = answer_role;
    b->fake.aux = roles;
    fake_switch_run(&b->fake);
    CU_ASSERT_EQUAL(b->session.state, SWITCH_SESSION_UP);
}

static void
test_roles(void)
{
    struct roles roles = {.role = OFPCR12_ROLE_EQUAL};
    struct bench b;

    roles_start(&b, &roles, OFPCR12_ROLE_EQUAL, 5);
    CU_ASSERT_EQUAL(roles.asked, 0);
    CU_ASSERT_EQUAL(b.session.role, OFPCR12_ROLE_EQUAL);
    bench_stop(&b);

    roles_start(&b, &roles, OFPCR12_ROLE_PRIMARY, 5);
    CU_ASSERT_EQUAL(b.session.role, OFPCR12_ROLE_PRIMARY);
    CU_ASSERT_EQUAL(b.heard.roles, 0); /* It was before 'up'. */
    /* Somebody else takes it. */
    struct ofputil_role_status status = {
        .role = OFPCR12_ROLE_SECONDARY,
        .reason = OFPCRR_PRIMARY_REQUEST, .generation_id = 9};
    fake_switch_send(&b.fake, ofputil_encode_role_status(
        &status, openflow_protocol(b.session.version)));
    CU_ASSERT_EQUAL(b.session.role, OFPCR12_ROLE_SECONDARY);
    CU_ASSERT_EQUAL(b.session.generation_seen, 9);
    CU_ASSERT_EQUAL(b.heard.roles, 1);
    /* We take it back. */
    roles.role = OFPCR12_ROLE_SECONDARY;
    roles.generation = 9;
    switch_session_set_role(&b.session, OFPCR12_ROLE_PRIMARY, 10);
    fake_switch_run(&b.fake);
    CU_ASSERT_EQUAL(b.session.role, OFPCR12_ROLE_PRIMARY);
    CU_ASSERT_EQUAL(b.heard.roles, 2);
    bench_stop(&b);
}

static void
test_stale_role(void)
{
    struct roles roles = {.role = OFPCR12_ROLE_EQUAL, .generation = 100};
    struct bench b;

    /* Refused, asked what the generation is, and slave with that one. */
    roles_start(&b, &roles, OFPCR12_ROLE_PRIMARY, 5);
    CU_ASSERT_EQUAL(b.session.role, OFPCR12_ROLE_SECONDARY);
    CU_ASSERT_EQUAL(b.session.generation_seen, 100);
    CU_ASSERT_EQUAL(roles.role, OFPCR12_ROLE_SECONDARY);
    CU_ASSERT_EQUAL(roles.asked, 3);
    switch_session_set_role(&b.session, OFPCR12_ROLE_PRIMARY, 101);
    fake_switch_run(&b.fake);
    CU_ASSERT_EQUAL(b.session.role, OFPCR12_ROLE_PRIMARY);
    bench_stop(&b);

    /* Who insists is younger. */
    roles = (struct roles) {.role = OFPCR12_ROLE_EQUAL, .generation = 200};
    struct switch_session_config config = switch_session_defaults;
    config.role = OFPCR12_ROLE_PRIMARY;
    config.insist = true;
    memset(&b.heard, 0, sizeof b.heard);
    switch_session_init(&b.session, &config, hear, &b.heard, 0);
    fake_switch_init(&b.fake, &b.session);
    b.fake.on_message = answer_role;
    b.fake.aux = &roles;
    fake_switch_run(&b.fake);
    CU_ASSERT_EQUAL(b.session.role, OFPCR12_ROLE_PRIMARY);
    CU_ASSERT_EQUAL(b.session.config.generation_id, 201);
    bench_stop(&b);

    /* Without roles: may write, unless it does not want to. */
    roles.unknown = true;
    roles_start(&b, &roles, OFPCR12_ROLE_PRIMARY, 5);
    CU_ASSERT_EQUAL(b.session.role, OFPCR12_ROLE_EQUAL);
    bench_stop(&b);
    roles_start(&b, &roles, OFPCR12_ROLE_SECONDARY, 5);
    CU_ASSERT_EQUAL(b.session.role, OFPCR12_ROLE_SECONDARY);
    bench_stop(&b);
}

/* Other protocols: told apart by their first octets. */
static void
test_other_protocols(void)
{
    static const char *const words[] = {"GET / HTTP/1.1\r\n", "S",
                                        "\x16\x03\x01", "\x04\x0a",
                                        "\x04\x01\xff"};
    struct bench b;

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        bench_start(&b);
        switch_session_receive(&b.session, words[i], strlen(words[i]), 0);
        CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_CLOSED);
        CU_ASSERT(strstr(b.heard.reason, "does not speak OpenFlow") != NULL);
        bench_stop(&b);
    }
    bench_start(&b);
    switch_session_receive(&b.session, "\6", 1, 0);
    CU_ASSERT_EQUAL(b.session.state, SWITCH_SESSION_HELLO);
    bench_stop(&b);
}

UNIT_MAIN("switch_session",
          UNIT_TEST(test_handshake),
          UNIT_TEST(test_stock_switch),
          UNIT_TEST(test_sal_detection),
          UNIT_TEST(test_no_common_version),
          UNIT_TEST(test_ports),
          UNIT_TEST(test_barriers_and_errors_by_xid),
          UNIT_TEST(test_packet_in),
          UNIT_TEST(test_echo_and_inactivity),
          UNIT_TEST(test_probe_finds_a_dead_switch_early),
          UNIT_TEST(test_handshake_timeout),
          UNIT_TEST(test_answers_echo),
          UNIT_TEST(test_malformed_is_counted_and_survived),
          UNIT_TEST(test_lost_framing_closes),
          UNIT_TEST(test_wrong_version_closes),
          UNIT_TEST(test_before_hello),
          UNIT_TEST(test_roles),
          UNIT_TEST(test_stale_role),
          UNIT_TEST(test_other_protocols),
          UNIT_TEST(test_byte_by_byte),
          UNIT_TEST(test_random_octets))
