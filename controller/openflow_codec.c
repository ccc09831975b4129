/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/openflow_codec.h"

#include <errno.h>
#include <string.h>
#include "bitmap.h"
#include "byte-order.h"
#include "ofp-ext/sal.h" /* Before flow.h, which defines one of its names. */
#include "ofp-ext/sal_pipeline.h"
#include "flow.h"
#include "openflow/openflow.h"
#include "openvswitch/meta-flow.h"
#include "openvswitch/ofp-actions.h"
#include "openvswitch/ofp-bundle.h"
#include "openvswitch/ofp-connection.h"
#include "openvswitch/ofp-protocol.h"
#include "openvswitch/ofp-table.h"
#include "openvswitch/ofp-util.h"
#include "util.h"

#define HELLO_MAX 1024 /* Octets; its bitmap of versions takes 16. */

void
openflow_stream_init(struct openflow_stream *stream)
{
    memset(stream, 0, sizeof *stream);
}

void
openflow_stream_destroy(struct openflow_stream *stream)
{
    free(stream->buf);
    openflow_stream_init(stream);
}

void
openflow_stream_push(struct openflow_stream *stream, const void *data,
                     size_t n)
{
    if (stream->broken || !n) {
        return;
    }
    if (stream->consumed) {
        stream->len -= stream->consumed;
        memmove(stream->buf, stream->buf + stream->consumed, stream->len);
        stream->consumed = 0;
    }
    if (stream->len + n > stream->allocated) {
        stream->allocated = MAX(stream->len + n, 2 * stream->allocated);
        stream->buf = xrealloc(stream->buf, stream->allocated);
    }
    memcpy(stream->buf + stream->len, data, n);
    stream->len += n;
}

int
openflow_stream_next(struct openflow_stream *stream,
                     struct ofpbuf **ret_message)
{
    size_t left = stream->len - stream->consumed;
    const uint8_t *bytes = stream->buf + stream->consumed;

    if (stream->broken) {
        return -EPROTO;
    }
    if (left < sizeof(struct ofp_header)) {
        return 0;
    }
    size_t length = bytes[2] << 8 | bytes[3];
    if (length < sizeof(struct ofp_header)) {
        stream->broken = true;
        return -EPROTO;
    }
    if (left < length) {
        return 0;
    }

    /* The library reads 64-bit fields through plain pointers. */
    *ret_message = ofpbuf_clone_data(bytes, length);
    stream->consumed += length;
    return 1;
}

bool
openflow_stream_may_begin(const struct openflow_stream *stream)
{
    const uint8_t *bytes = stream->buf + stream->consumed;
    size_t left = stream->len - stream->consumed;

    return (left < 1 || (bytes[0] >= OFP10_VERSION && bytes[0] <= 0x0f))
           && (left < 2 || bytes[1] <= 1) /* HELLO, ERROR. */
           && (left < 3 || bytes[2] < HELLO_MAX >> 8);
}

static void
decode_packet_in(const struct ofputil_packet_in *pin,
                 struct openflow_message *m)
{
    m->packet_in.data = pin->packet;
    m->packet_in.len = pin->packet_len;
    m->packet_in.in_port
        = ofp_to_u16(pin->flow_metadata.flow.in_port.ofp_port);
    m->packet_in.cookie = ntohll(pin->cookie);
    m->packet_in.table_id = pin->table_id;
    m->packet_in.reason = pin->reason;
}

static enum ofperr
decode_role_status(const struct ofp_header *oh, struct openflow_message *m)
{
    struct ofputil_role_status status;
    enum ofperr error = ofputil_decode_role_status(oh, &status);

    if (!error) {
        m->role.role = status.role;
        m->role.generation_id = status.generation_id;
    }
    return error;
}

/* The strings on the wire need not be terminated. */
static void
copy_string(char *dst, size_t dst_size, const char *src, size_t src_size)
{
    size_t n = MIN(strnlen(src, src_size), dst_size - 1);

    memcpy(dst, src, n);
    dst[n] = '\0';
}

static void
decode_desc(const struct ofp_header *oh, struct openflow_message *m)
{
    const struct ofp_desc_stats *ods = ofpmsg_body(oh);

    copy_string(m->desc.manufacturer, sizeof m->desc.manufacturer,
                ods->mfr_desc, sizeof ods->mfr_desc);
    copy_string(m->desc.hardware, sizeof m->desc.hardware, ods->hw_desc,
                sizeof ods->hw_desc);
    copy_string(m->desc.software, sizeof m->desc.software, ods->sw_desc,
                sizeof ods->sw_desc);
}

static enum ofperr
decode_aggregate(const struct ofp_header *oh, struct openflow_message *m)
{
    struct ofputil_aggregate_stats stats;
    enum ofperr error = ofputil_decode_aggregate_stats_reply(&stats, oh);

    if (!error && stats.flow_count != UINT32_MAX) { /* It need not say. */
        m->n_flows = stats.flow_count;
    }
    return error;
}

static enum ofperr
decode_body(const struct ofp_header *oh, struct openflow_message *m)
{
    struct ofpbuf b = ofpbuf_const_initializer(oh, ntohs(oh->length));
    struct ofputil_bundle_ctrl_msg bundle;
    struct ofputil_role_request role;
    struct ofputil_packet_in pin;
    enum ofperr error;

    switch (m->type) {
    case OFPTYPE_HELLO:
        /* Elements that it does not understand are to be ignored. */
        ofputil_decode_hello(oh, &m->hello_versions);
        return 0;
    case OFPTYPE_ERROR:
        m->error = ofperr_decode_msg(oh, NULL);
        return 0;
    case OFPTYPE_FEATURES_REPLY:
        return ofputil_pull_switch_features(&b, &m->features);
    case OFPTYPE_PORT_STATUS:
        return ofputil_decode_port_status(oh, &m->port_status);
    case OFPTYPE_PACKET_IN:
        error = ofputil_decode_packet_in(oh, true, NULL, NULL, &pin, NULL,
                                         NULL, NULL);
        if (!error) {
            decode_packet_in(&pin, m);
        }
        return error;
    case OFPTYPE_BUNDLE_CONTROL:
        error = ofputil_decode_bundle_ctrl(oh, &bundle);
        if (!error) {
            m->bundle.id = bundle.bundle_id;
            m->bundle.type = bundle.type;
        }
        return error;
    case OFPTYPE_ROLE_REPLY:
        error = ofputil_decode_role_message(oh, &role);
        if (!error) {
            m->role.role = role.role;
            m->role.generation_id
                = role.have_generation_id ? role.generation_id : UINT64_MAX;
        }
        return error;
    case OFPTYPE_ROLE_STATUS:
        return decode_role_status(oh, m);
    case OFPTYPE_DESC_STATS_REPLY:
        decode_desc(oh, m);
        return 0;
    case OFPTYPE_AGGREGATE_STATS_REPLY:
        return decode_aggregate(oh, m);
    case OFPTYPE_GROUP_FEATURES_STATS_REPLY:
        ofputil_decode_group_features_reply(oh, &m->group_features);
        return 0;
    case OFPTYPE_METER_FEATURES_STATS_REPLY:
        ofputil_decode_meter_features(oh, &m->meter_features);
        return 0;
    default:
        return 0;
    }
}

/* What only a controller may send is foreign here, whatever its length. */
static bool
sent_by_switches(enum ofptype type)
{
    switch ((int) type) {
    case OFPTYPE_HELLO:
    case OFPTYPE_ERROR:
    case OFPTYPE_ECHO_REQUEST:
    case OFPTYPE_ECHO_REPLY:
    case OFPTYPE_FEATURES_REPLY:
    case OFPTYPE_GET_CONFIG_REPLY:
    case OFPTYPE_PACKET_IN:
    case OFPTYPE_FLOW_REMOVED:
    case OFPTYPE_PORT_STATUS:
    case OFPTYPE_BARRIER_REPLY:
    case OFPTYPE_ROLE_REPLY:
    case OFPTYPE_ROLE_STATUS:
    case OFPTYPE_REQUESTFORWARD:
    case OFPTYPE_TABLE_STATUS:
    case OFPTYPE_BUNDLE_CONTROL:
    case OFPTYPE_DESC_STATS_REPLY:
    case OFPTYPE_FLOW_STATS_REPLY:
    case OFPTYPE_AGGREGATE_STATS_REPLY:
    case OFPTYPE_GROUP_DESC_STATS_REPLY:
    case OFPTYPE_GROUP_FEATURES_STATS_REPLY:
    case OFPTYPE_METER_CONFIG_STATS_REPLY:
    case OFPTYPE_METER_FEATURES_STATS_REPLY:
    case OFPTYPE_TABLE_FEATURES_STATS_REPLY:
    case OFPTYPE_PORT_DESC_STATS_REPLY:
        return true;
    default:
        return false;
    }
}

enum ofperr
openflow_decode(const struct ofpbuf *b, struct openflow_message *m)
{
    const struct ofp_header *oh = b->data;

    memset(m, 0, sizeof *m);
    if (b->size < sizeof *oh || b->size != ntohs(oh->length)) {
        return OFPERR_OFPBRC_BAD_LEN;
    }
    m->header = oh;
    m->version = oh->version;
    m->xid = ntohl(oh->xid);

    enum ofperr error = ofptype_decode(&m->type, oh);
    if (error) {
        return error;
    }
    if (!sent_by_switches(m->type)) {
        return OFPERR_OFPBRC_BAD_TYPE;
    }
    m->more = ofpmsg_is_stat_reply(oh) && ofpmp_more(oh);
    return decode_body(oh, m);
}

void
openflow_parts_begin(struct openflow_parts *parts,
                     const struct openflow_message *m)
{
    ofpbuf_use_const(&parts->msg, m->header, ntohs(m->header->length));
    ofpbuf_init(&parts->ofpacts, 0);
    parts->version = m->version;
}

void
openflow_parts_end(struct openflow_parts *parts)
{
    ofpbuf_uninit(&parts->ofpacts);
}

static int
parts_result(int error)
{
    return !error ? 1 : error == EOF ? 0 : -EPROTO;
}

int
openflow_next_port(struct openflow_parts *parts,
                   struct ofputil_phy_port *port)
{
    if (!parts->msg.header) {
        ofpraw_pull_assert(&parts->msg);
    }
    return parts_result(
        ofputil_pull_phy_port(parts->version, &parts->msg, port));
}

int
openflow_next_flow(struct openflow_parts *parts,
                   struct ofputil_flow_stats *flow)
{
    return parts_result(ofputil_decode_flow_stats_reply(
        flow, &parts->msg, false, &parts->ofpacts));
}

int
openflow_next_group(struct openflow_parts *parts,
                    struct ofputil_group_desc *group)
{
    return parts_result(ofputil_decode_group_desc_reply(group, &parts->msg,
                                                        parts->version));
}

int
openflow_next_meter(struct openflow_parts *parts,
                    struct ofputil_meter_config *meter)
{
    return parts_result(ofputil_decode_meter_config(&parts->msg, meter,
                                                    &parts->ofpacts));
}

bool
openflow_has_sal_fields(const struct openflow_message *m,
                        unsigned int *ret_tables)
{
    const struct mf_field *service = mf_from_name("sal_service");
    struct ofputil_table_features features;
    struct openflow_parts parts;
    struct ofpbuf properties;
    bool found = false;

    *ret_tables = 0;
    openflow_parts_begin(&parts, m);
    while (!ofputil_decode_table_features(&parts.msg, &features,
                                          &properties)) {
        ++*ret_tables;
        if (service && bitmap_is_set(features.match.bm, service->id)) {
            found = true;
        }
    }
    openflow_parts_end(&parts);
    return found;
}

enum ofputil_protocol
openflow_protocol(uint8_t version)
{
    return ofputil_protocol_from_ofp_version(version);
}

struct ofpbuf *
openflow_hello(void)
{
    return ofputil_encode_hello(OPENFLOW_VERSIONS);
}

struct ofpbuf *
openflow_features_request(uint8_t version)
{
    return ofpraw_alloc(OFPRAW_OFPT_FEATURES_REQUEST, version, 0);
}

struct ofpbuf *
openflow_ports_request(uint8_t version)
{
    return ofputil_encode_port_desc_stats_request(version, OFPP_ANY);
}

struct ofpbuf *
openflow_desc_request(uint8_t version)
{
    return ofpraw_alloc(OFPRAW_OFPST_DESC_REQUEST, version, 0);
}

struct ofpbuf *
openflow_table_features_request(uint8_t version)
{
    return ofputil_encode_table_features_request(version);
}

struct ofpbuf *
openflow_group_features_request(uint8_t version)
{
    return ofputil_encode_group_features_request(version);
}

struct ofpbuf *
openflow_meter_features_request(uint8_t version)
{
    return ofputil_encode_meter_request(version, OFPUTIL_METER_FEATURES, 0);
}

struct ofpbuf *
openflow_flows_request(uint8_t version, uint64_t cookie, uint64_t mask)
{
    struct ofputil_flow_stats_request request = {
        .cookie = htonll(cookie),
        .cookie_mask = htonll(mask),
        .out_port = OFPP_ANY,
        .out_group = OFPG_ANY,
        .table_id = OFPTT_ALL,
    };
    match_init_catchall(&request.match);
    return ofputil_encode_flow_stats_request(&request,
                                             openflow_protocol(version));
}

struct ofpbuf *
openflow_sal_flows_request(uint8_t version, uint64_t cookie, uint64_t mask,
                           uint16_t sal_port)
{
    const struct mf_field *type = mf_from_name("sal_type");
    const union mf_value probe = {.u8 = SAL_TYPE_PROBE};
    struct ofputil_flow_stats_request request = {
        .aggregate = true,
        .cookie = htonll(cookie),
        .cookie_mask = htonll(mask),
        .out_port = OFPP_ANY,
        .out_group = OFPG_ANY,
        .table_id = SAL_TABLE_ADMIT,
    };

    if (!type) {
        return NULL;
    }
    match_init_catchall(&request.match);
    match_set_dl_type(&request.match, htons(ETH_TYPE_IP));
    match_set_nw_proto(&request.match, IPPROTO_UDP);
    match_set_tp_dst(&request.match, htons(sal_port));
    mf_set_value(type, &probe, &request.match, NULL);
    return ofputil_encode_flow_stats_request(&request,
                                             openflow_protocol(version));
}

struct ofpbuf *
openflow_groups_request(uint8_t version)
{
    return ofputil_encode_group_desc_request(version, OFPG_ALL);
}

struct ofpbuf *
openflow_meters_request(uint8_t version)
{
    return ofputil_encode_meter_request(version, OFPUTIL_METER_CONFIG,
                                        OFPM13_ALL);
}

struct ofpbuf *
openflow_barrier_request(uint8_t version)
{
    return ofputil_encode_barrier_request(version);
}

struct ofpbuf *
openflow_echo_request(uint8_t version)
{
    return ofputil_encode_echo_request(version);
}

struct ofpbuf *
openflow_echo_reply(const struct openflow_message *m)
{
    return ofputil_encode_echo_reply(m->header);
}

struct ofpbuf *
openflow_error_reply(enum ofperr error, const struct ofp_header *request)
{
    return ofperr_encode_reply(error, request);
}

struct ofpbuf *
openflow_role_request(uint8_t version, enum ofp12_controller_role role,
                      uint64_t generation_id)
{
    struct ofpbuf *b = ofpraw_alloc(OFPRAW_OFPT12_ROLE_REQUEST, version, 0);
    struct ofp12_role_request *request = ofpbuf_put_zeros(b, sizeof *request);

    request->role = htonl(role);
    request->generation_id = htonll(generation_id);
    return b;
}

struct ofpbuf *
openflow_bundle_control(uint8_t version, uint32_t id, uint16_t type)
{
    struct ofputil_bundle_ctrl_msg control = {
        .bundle_id = id,
        .type = type,
        .flags = OFPBF_ATOMIC | OFPBF_ORDERED,
    };
    return ofputil_encode_bundle_ctrl_request(version, &control);
}

struct ofpbuf *
openflow_bundle_add(uint8_t version, uint32_t id, struct ofpbuf *message)
{
    ofpmsg_update_length(message);

    struct ofputil_bundle_add_msg add = {
        .bundle_id = id,
        .flags = OFPBF_ATOMIC | OFPBF_ORDERED,
        .msg = message->data,
    };
    struct ofpbuf *b = ofputil_encode_bundle_add(version, &add);

    openflow_set_xid(b, openflow_get_xid(message));
    ofpbuf_delete(message);
    return b;
}

struct ofpbuf *
openflow_packet_out(uint8_t version, uint32_t in_port, uint32_t port,
                    const void *data, size_t len)
{
    struct ofputil_packet_out po = {
        .packet = data,
        .packet_len = len,
        .buffer_id = UINT32_MAX,
    };
    uint64_t stub[64 / 8];
    struct ofpbuf ofpacts;

    ofpbuf_use_stub(&ofpacts, stub, sizeof stub);
    struct ofpact_output *output = ofpact_put_OUTPUT(&ofpacts);
    output->port = u16_to_ofp(port);
    output->max_len = UINT16_MAX; /* All of it, should it come back to us. */
    match_init_catchall(&po.flow_metadata);
    match_set_in_port(&po.flow_metadata, u16_to_ofp(in_port));
    po.ofpacts = ofpacts.data;
    po.ofpacts_len = ofpacts.size;

    struct ofpbuf *b = ofputil_encode_packet_out(&po,
                                                 openflow_protocol(version));
    ofpbuf_uninit(&ofpacts);
    return b;
}

struct ofpbuf *
openflow_flow_mod(uint8_t version, const struct ofputil_flow_mod *fm)
{
    return ofputil_encode_flow_mod(fm, openflow_protocol(version));
}

void
openflow_set_xid(struct ofpbuf *b, uint32_t xid)
{
    ((struct ofp_header *) b->data)->xid = htonl(xid);
}

uint32_t
openflow_get_xid(const struct ofpbuf *b)
{
    return ntohl(((const struct ofp_header *) b->data)->xid);
}
