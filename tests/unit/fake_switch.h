/* SPDX-License-Identifier: Apache-2.0 */
/* A scripted OpenFlow switch for tests of switch_session and put: reads what
 * the session wants to send, answers as a switch would.
 *
 * It keeps no flow table; 'on_message' sees every request and may take
 * over. */
#ifndef SALIENT_FAKE_SWITCH_H
#define SALIENT_FAKE_SWITCH_H 1

#include <stdbool.h>
#include "bitmap.h"
#include "controller/switch_session.h"
#include "flow.h"
#include "openflow/openflow.h"
#include "openvswitch/list.h"
#include "openvswitch/meta-flow.h"
#include "openvswitch/ofp-bundle.h"
#include "openvswitch/ofp-table.h"
#include "openvswitch/ofp-util.h"
#include "util.h"

struct fake_switch {
    struct switch_session *session;
    struct openflow_stream stream;
    uint32_t versions;       /* Of HELLO. */
    uint64_t dpid;
    bool sal;                /* Stock if not. */
    int sal_flows;           /* There already; -1: an error without data. */
    bool no_table_features;  /* Answers with an error. */
    bool no_meters;
    bool mute;               /* Answers nothing any more. */
    int n_ports;
    int refuse_command;      /* Bundle control that draws an error, or -1. */
    long long now;
    unsigned int n_echoes, n_barriers, n_table_features;
    /* Returns true if it dealt with the request. */
    bool (*on_message)(struct fake_switch *, const struct ofp_header *,
                       enum ofptype);
    void *aux;
};

static inline void
fake_switch_init(struct fake_switch *f, struct switch_session *session)
{
    memset(f, 0, sizeof *f);
    f->session = session;
    f->versions = 1u << OFP13_VERSION | 1u << OFP15_VERSION;
    f->dpid = 0x11;
    f->sal = true;
    f->n_ports = 3;
    f->refuse_command = -1;
    openflow_stream_init(&f->stream);
}

/* Hands 'b' to the session and deletes it. */
static inline void
fake_switch_send(struct fake_switch *f, struct ofpbuf *b)
{
    ofpmsg_update_length(b);
    switch_session_receive(f->session, b->data, b->size, f->now);
    ofpbuf_delete(b);
}

static inline void
fake_switch_send_list(struct fake_switch *f, struct ovs_list *messages)
{
    struct ofpbuf *b;

    LIST_FOR_EACH_POP (b, list_node, messages) {
        fake_switch_send(f, b);
    }
}

static inline struct ofputil_phy_port
fake_switch_port(int number, bool up)
{
    struct ofputil_phy_port port = {
        .port_no = u16_to_ofp(number),
        .hw_addr = {{{2, 0, 0, 0, 0, number}}},
        .state = up ? OFPUTIL_PS_LIVE : OFPUTIL_PS_LINK_DOWN,
        .curr_speed = 10000000,
    };
    snprintf(port.name, sizeof port.name, "eth%d", number);
    return port;
}

static inline void
fake_switch_port_status(struct fake_switch *f, int number, bool up,
                        enum ofp_port_reason reason)
{
    struct ofputil_port_status status = {
        .reason = reason, .desc = fake_switch_port(number, up)};

    fake_switch_send(f, ofputil_encode_port_status(
        &status, openflow_protocol(f->session->version)));
}

static inline void
fake_switch_ports(struct fake_switch *f, const struct ofp_header *oh)
{
    struct ovs_list replies;

    ofpmp_init(&replies, oh);
    for (int i = 1; i <= f->n_ports; i++) {
        struct ofputil_phy_port port = fake_switch_port(i, true);
        ofputil_append_port_desc_stats_reply(&port, &replies);
    }
    fake_switch_send_list(f, &replies);
}

static inline void
fake_switch_tables(struct fake_switch *f, const struct ofp_header *oh)
{
    const struct mf_field *sal = mf_from_name("sal_service");
    struct ovs_list replies;

    ofpmp_init(&replies, oh);
    for (int i = 0; i < 3; i++) {
        struct ofputil_table_features features = {
            .table_id = i, .any_properties = true};

        bitmap_set1(features.match.bm, MFF_IPV4_DST);
        if (f->sal && sal) {
            bitmap_set1(features.match.bm, sal->id);
            bitmap_set1(features.mask.bm, sal->id);
        }
        ofputil_append_table_features(&features, NULL, &replies);
    }
    fake_switch_send_list(f, &replies);
}

static inline void
fake_switch_bundle(struct fake_switch *f, const struct ofp_header *oh)
{
    struct ofputil_bundle_ctrl_msg control;

    if (ofputil_decode_bundle_ctrl(oh, &control)) {
        return;
    }
    if (control.type == f->refuse_command) {
        fake_switch_send(f, ofperr_encode_reply(OFPERR_OFPBFC_MSG_FAILED,
                                                oh));
        return;
    }
    control.type++; /* The reply's number follows the request's. */
    fake_switch_send(f, ofputil_encode_bundle_ctrl_reply(oh, &control));
}

static inline void
fake_switch_features(struct fake_switch *f, const struct ofp_header *oh)
{
    struct ofputil_switch_features features = {
        .datapath_id = f->dpid,
        .n_tables = 254,
        .capabilities = OFPUTIL_C_BUNDLES,
    };
    fake_switch_send(f, ofputil_encode_switch_features(
        &features, openflow_protocol(oh->version), oh->xid));
}

static inline void
fake_switch_meter_features(struct fake_switch *f, const struct ofp_header *oh)
{
    struct ofputil_meter_features features = {
        .max_meters = f->no_meters ? 0 : 100, .max_bands = 1};

    fake_switch_send(f, ofputil_encode_meter_features_reply(&features, oh));
}

static inline void
fake_switch_aggregate(struct fake_switch *f, const struct ofp_header *oh)
{
    struct ofputil_aggregate_stats stats = {.flow_count = f->sal_flows};

    if (f->sal && f->sal_flows >= 0) {
        fake_switch_send(f, ofputil_encode_aggregate_stats_reply(&stats, oh));
    } else {
        fake_switch_send(f, ofperr_encode_reply(
            f->sal_flows < 0 ? OFPERR_OFPBRC_BAD_STAT
                             : OFPERR_OFPBMC_BAD_FIELD, oh));
    }
}

/* Answers one request. */
static inline void
fake_switch_answer(struct fake_switch *f, const struct ofp_header *oh)
{
    enum ofptype type;

    if (ofptype_decode(&type, oh)) {
        abort(); /* We sent nonsense. */
    }
    if (f->on_message && f->on_message(f, oh, type)) {
        return;
    }
    switch ((int) type) {
    case OFPTYPE_HELLO:
        fake_switch_send(f, ofputil_encode_hello(f->versions));
        break;
    case OFPTYPE_FEATURES_REQUEST:
        fake_switch_features(f, oh);
        break;
    case OFPTYPE_DESC_STATS_REQUEST: {
        struct ofpbuf *b = ofpraw_alloc_stats_reply(oh, 0);
        struct ofp_desc_stats *ods = ofpbuf_put_zeros(b, sizeof *ods);
        /* Not terminated, to the last octet. */
        memset(ods->sw_desc, 'x', sizeof ods->sw_desc);
        fake_switch_send(f, b);
        break;
    }
    case OFPTYPE_AGGREGATE_STATS_REQUEST:
        fake_switch_aggregate(f, oh);
        break;
    case OFPTYPE_TABLE_FEATURES_STATS_REQUEST:
        f->n_table_features++;
        if (f->no_table_features) {
            fake_switch_send(f, ofperr_encode_reply(OFPERR_OFPBRC_BAD_STAT,
                                                    oh));
        } else {
            fake_switch_tables(f, oh);
        }
        break;
    case OFPTYPE_GROUP_FEATURES_STATS_REQUEST:
        fake_switch_send(f, ofperr_encode_reply(OFPERR_OFPBRC_BAD_STAT, oh));
        break;
    case OFPTYPE_METER_FEATURES_STATS_REQUEST:
        fake_switch_meter_features(f, oh);
        break;
    case OFPTYPE_PORT_DESC_STATS_REQUEST:
        fake_switch_ports(f, oh);
        break;
    case OFPTYPE_FLOW_STATS_REQUEST:
    case OFPTYPE_METER_CONFIG_STATS_REQUEST: {
        struct ovs_list replies;
        ofpmp_init(&replies, oh);
        fake_switch_send_list(f, &replies);
        break;
    }
    case OFPTYPE_ECHO_REQUEST:
        f->n_echoes++;
        fake_switch_send(f, ofputil_encode_echo_reply(oh));
        break;
    case OFPTYPE_BARRIER_REQUEST:
        f->n_barriers++;
        fake_switch_send(f, ofpraw_alloc_reply(OFPRAW_OFPT11_BARRIER_REPLY,
                                               oh, 0));
        break;
    case OFPTYPE_BUNDLE_CONTROL:
        fake_switch_bundle(f, oh);
        break;
    }
}

/* Takes what the session has queued and answers it, until neither says
 * anything. */
static inline void
fake_switch_run(struct fake_switch *f)
{
    struct ofpbuf *request;

    while (f->session->output.size) {
        struct ofpbuf *output = &f->session->output;

        openflow_stream_push(&f->stream, output->data, output->size);
        ofpbuf_clear(output);
        while (openflow_stream_next(&f->stream, &request) > 0) {
            if (!f->mute) {
                fake_switch_answer(f, request->data);
            }
            ofpbuf_delete(request);
        }
    }
}

static inline void
fake_switch_destroy(struct fake_switch *f)
{
    openflow_stream_destroy(&f->stream);
}

#endif /* fake_switch.h */
