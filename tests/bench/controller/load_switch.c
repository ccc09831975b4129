/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/controller/load.h"

#include <string.h>
#include "bitmap.h"
#include "flow.h"
#include "openflow/openflow.h"
#include "openvswitch/meta-flow.h"
#include "openvswitch/ofp-actions.h"
#include "openvswitch/ofp-bundle.h"
#include "openvswitch/ofp-meter.h"
#include "openvswitch/ofp-table.h"
#include "openvswitch/ofp-util.h"
#include "util.h"

#define RETRY_MS 10
/* Of OpenFlow 1.5. */
#define TYPE_FLOW_MOD 14
#define TYPE_GROUP_MOD 15
#define BUNDLE_ADD_LEN 16 /* Before the message within. */
#define TELL_AT_ONCE (256 * 1024)

static void try_to_connect(uv_timer_t *);

static struct load *
load_of(const struct load_switch *sw)
{
    return sw->tcp.loop->data;
}

/* Sending. */

struct pending {
    uv_write_t request;
    uint8_t data[];
};

static void work(uv_timer_t *);

static void
written(uv_write_t *request, int status)
{
    struct load_switch *sw = request->handle->data;

    free(CONTAINER_OF(request, struct pending, request));
    if (!status && sw->telling) {
        work(&sw->late);
    }
}

static void
flush(struct load_switch *sw)
{
    uv_buf_t buf = uv_buf_init(sw->output.data, sw->output.size);

    if (!sw->open || !buf.len) {
        return;
    }
    int n = uv_try_write((uv_stream_t *) &sw->tcp, &buf, 1);
    n = MAX(n, 0);
    if (n < buf.len) {
        struct pending *pending = xmalloc(sizeof *pending + buf.len - n);

        memcpy(pending->data, buf.base + n, buf.len - n);
        buf = uv_buf_init((char *) pending->data, buf.len - n);
        if (uv_write(&pending->request, (uv_stream_t *) &sw->tcp, &buf, 1,
                     written)) {
            free(pending);
        }
    }
    ofpbuf_clear(&sw->output);
}

static void
put(struct load_switch *sw, struct ofpbuf *b)
{
    ofpmsg_update_length(b);
    ofpbuf_put(&sw->output, b->data, b->size);
    ofpbuf_delete(b);
}

static void
put_list(struct load_switch *sw, struct ovs_list *messages)
{
    struct ofpbuf *b;

    LIST_FOR_EACH_POP (b, list_node, messages) {
        put(sw, b);
    }
}

/* What the switch is. */

static struct ofputil_phy_port
describe_port(const struct load_switch *sw, int number)
{
    struct ofputil_phy_port port = {
        .port_no = u16_to_ofp(number),
        .hw_addr = {{{6, 0, sw->index >> 8, sw->index, number >> 8,
                      number}}},
        .state = sw->ports[number].up ? OFPUTIL_PS_LIVE
                                      : OFPUTIL_PS_LINK_DOWN,
        .curr_speed = 10000000,
    };
    snprintf(port.name, sizeof port.name, "eth%d", number);
    return port;
}

static void
tell_features(struct load_switch *sw, const struct ofp_header *oh)
{
    struct ofputil_switch_features features = {
        .datapath_id = sw->index + 1,
        .n_tables = 254,
        .capabilities = OFPUTIL_C_BUNDLES,
    };
    put(sw, ofputil_encode_switch_features(
                &features, openflow_protocol(oh->version), oh->xid));
}

static void
tell_tables(struct load_switch *sw, const struct ofp_header *oh)
{
    struct ofputil_table_features features = {.any_properties = true};
    const struct mf_field *service = mf_from_name("sal_service");
    struct ovs_list replies;

    ofpmp_init(&replies, oh);
    bitmap_set1(features.match.bm, service->id);
    bitmap_set1(features.mask.bm, service->id);
    ofputil_append_table_features(&features, NULL, &replies);
    put_list(sw, &replies);
}

static void
tell_ports(struct load_switch *sw, const struct ofp_header *oh)
{
    struct ovs_list replies;

    ofpmp_init(&replies, oh);
    for (int i = 1; i <= sw->n_ports; i++) {
        struct ofputil_phy_port port = describe_port(sw, i);
        ofputil_append_port_desc_stats_reply(&port, &replies);
    }
    put_list(sw, &replies);
    sw->up = true;
}

/* Goes on to tell its flows, as far as the socket takes them.  A switch that
 * tells does nothing else. */
static void
tell_flows(struct load_switch *sw)
{
    while (sw->telling && sw->output.size < TELL_AT_ONCE) {
        if (!load_flows_tell(&sw->flows, &load_of(sw)->book,
                             sw->telling->data, &sw->tell_position,
                             &sw->output)) {
            ofpbuf_delete(sw->telling);
            sw->telling = NULL;
        }
    }
}

static void
begin_to_tell_flows(struct load_switch *sw, const struct ofp_header *oh)
{
    sw->telling = ofpbuf_clone_data(oh, ntohs(oh->length));
    sw->tell_position = 0;
}

static void
tell_meters(struct load_switch *sw, const struct ofp_header *oh)
{
    struct ovs_list replies;

    ofpmp_init(&replies, oh);
    load_meters_tell(sw, &replies);
    put_list(sw, &replies);
}

/* Asked for in order to learn whether there are any. */
static void
tell_aggregate(struct load_switch *sw, const struct ofp_header *oh)
{
    struct ofputil_aggregate_stats stats = {
        .flow_count = sw->flows.n};

    put(sw, ofputil_encode_aggregate_stats_reply(&stats, oh));
}

static void
tell_groups(struct load_switch *sw, const struct ofp_header *oh)
{
    struct ovs_list replies;

    ofpmp_init(&replies, oh);
    load_groups_tell(sw, &replies);
    put_list(sw, &replies);
}

/* What it is told to do. */

static void
handle_flow_mod(struct load_switch *sw, const struct ofp_header *oh)
{
    struct load *l = load_of(sw);

    l->flow_mods++;
    sw->written = true;
    l->faults += !load_flows_mod(&sw->flows, &l->book, oh);
}

/* Its flows have changed. */
static void
told(const struct load_switch *sw)
{
    struct load *l = load_of(sw);

    if (l->committed) {
        l->committed(l, sw->index);
    }
}

static void
handle_group_mod(struct load_switch *sw, const struct ofp_header *oh)
{
    struct load *l = load_of(sw);

    l->flow_mods++;
    sw->written = true;
    l->faults += !load_group_mod(sw, oh);
}

static void
commit(struct load_switch *sw)
{
    size_t ofs = 0;

    while (ofs < sw->bundle.size) {
        const struct ofp_header *oh
            = (const void *) ((uint8_t *) sw->bundle.data + ofs);

        if (oh->type == TYPE_FLOW_MOD) {
            handle_flow_mod(sw, oh);
        } else if (oh->type == TYPE_GROUP_MOD) {
            handle_group_mod(sw, oh);
        } else {
            load_of(sw)->faults++;
        }
        ofs += ROUND_UP(ntohs(oh->length), 8);
    }
    ofpbuf_clear(&sw->bundle);
    told(sw);
}

static void
handle_bundle_add(struct load_switch *sw, const struct ofp_header *oh)
{
    const uint8_t *inner = (const uint8_t *) oh + BUNDLE_ADD_LEN;
    size_t len = ntohs(((const struct ofp_header *) inner)->length);

    if (BUNDLE_ADD_LEN + len > ntohs(oh->length)) {
        load_of(sw)->faults++;
        return;
    }
    ofpbuf_put(&sw->bundle, inner, len);
    ofpbuf_put_zeros(&sw->bundle, ROUND_UP(len, 8) - len);
}

static void
handle_bundle(struct load_switch *sw, const struct ofp_header *oh)
{
    struct ofputil_bundle_ctrl_msg control;

    if (ofputil_decode_bundle_ctrl(oh, &control)) {
        load_of(sw)->faults++;
        return;
    }
    if (control.type == OFPBCT_COMMIT_REQUEST) {
        commit(sw);
    } else {
        ofpbuf_clear(&sw->bundle);
    }
    control.type++; /* The reply's number follows the request's. */
    put(sw, ofputil_encode_bundle_ctrl_reply(oh, &control));
}

void
load_switch_packet_in(struct load_switch *sw, int port, const void *data,
                      size_t len)
{
    struct ofputil_packet_in_private pin = {
        .base = {
            .packet = CONST_CAST(void *, data),
            .packet_len = len,
            .reason = OFPR_ACTION,
        },
    };

    if (!sw->up) {
        return;
    }
    match_init_catchall(&pin.base.flow_metadata);
    match_set_in_port(&pin.base.flow_metadata, u16_to_ofp(port));
    put(sw, ofputil_encode_packet_in_private(&pin, OFPUTIL_P_OF15_OXM,
                                             OFPUTIL_PACKET_IN_STD));
    flush(sw);
}

static void
handle_packet_out(struct load_switch *sw, const struct ofp_header *oh)
{
    struct ofputil_packet_out po;
    const struct ofpact *action;
    struct ofpbuf ofpacts;
    struct load *l = load_of(sw);

    ofpbuf_init(&ofpacts, 0);
    if (ofputil_decode_packet_out(&po, oh, NULL, &ofpacts)) {
        l->faults++;
        po.ofpacts_len = 0;
    }
    OFPACT_FOR_EACH (action, po.ofpacts, po.ofpacts_len) {
        int port = action->type == OFPACT_OUTPUT
                   ? ofp_to_u16(ofpact_get_OUTPUT(action)->port) : 0;

        if (port >= 1 && port <= sw->n_ports && sw->ports[port].up
            && sw->ports[port].peer >= 0) {
            load_switch_packet_in(&l->switches[sw->ports[port].peer],
                                  sw->ports[port].peer_port, po.packet,
                                  po.packet_len);
        }
    }
    ofpbuf_uninit(&ofpacts);
}

static void
handle_barrier(struct load_switch *sw, const struct ofp_header *oh)
{
    put(sw, ofpraw_alloc_reply(OFPRAW_OFPT11_BARRIER_REPLY, oh, 0));
    if (sw->written) {
        sw->written = false;
        load_of(sw)->last_written_us = load_now_us();
    }
}

static void
handle_request(struct load_switch *sw, const struct ofp_header *oh)
{
    struct ofputil_meter_features meters = {.max_meters = 1 << 18,
                                            .max_bands = 8};
    enum ofptype type;

    if (ofptype_decode(&type, oh)) {
        load_of(sw)->faults++;
        return;
    }
    switch ((int) type) {
    case OFPTYPE_HELLO:
        break;
    case OFPTYPE_FEATURES_REQUEST:
        tell_features(sw, oh);
        break;
    case OFPTYPE_TABLE_FEATURES_STATS_REQUEST:
        tell_tables(sw, oh);
        break;
    case OFPTYPE_PORT_DESC_STATS_REQUEST:
        tell_ports(sw, oh);
        break;
    case OFPTYPE_METER_FEATURES_STATS_REQUEST:
        put(sw, ofputil_encode_meter_features_reply(&meters, oh));
        break;
    case OFPTYPE_FLOW_STATS_REQUEST:
        begin_to_tell_flows(sw, oh);
        break;
    case OFPTYPE_AGGREGATE_STATS_REQUEST:
        tell_aggregate(sw, oh);
        break;
    case OFPTYPE_METER_CONFIG_STATS_REQUEST:
        tell_meters(sw, oh);
        break;
    case OFPTYPE_GROUP_DESC_STATS_REQUEST:
        tell_groups(sw, oh);
        break;
    case OFPTYPE_DESC_STATS_REQUEST:
    case OFPTYPE_GROUP_FEATURES_STATS_REQUEST:
        put(sw, ofperr_encode_reply(OFPERR_OFPBRC_BAD_STAT, oh));
        break;
    case OFPTYPE_ECHO_REQUEST:
        put(sw, ofputil_encode_echo_reply(oh));
        break;
    case OFPTYPE_BARRIER_REQUEST:
        handle_barrier(sw, oh);
        break;
    case OFPTYPE_BUNDLE_CONTROL:
        handle_bundle(sw, oh);
        break;
    case OFPTYPE_BUNDLE_ADD_MESSAGE:
        handle_bundle_add(sw, oh);
        break;
    case OFPTYPE_FLOW_MOD:
        handle_flow_mod(sw, oh);
        told(sw);
        break;
    case OFPTYPE_GROUP_MOD:
        handle_group_mod(sw, oh);
        break;
    case OFPTYPE_METER_MOD:
        load_of(sw)->faults += !load_meter_mod(sw, oh);
        break;
    case OFPTYPE_PACKET_OUT:
        handle_packet_out(sw, oh);
        break;
    default:
        load_of(sw)->faults++;
        break;
    }
}

/* The connection. */

static void
closed(uv_handle_t *handle)
{
    struct load_switch *sw = handle->data;
    struct load *l = handle->loop->data;

    if (!l->stopping) {
        uv_timer_stop(&sw->late);
    }
    openflow_stream_destroy(&sw->input);
    ofpbuf_delete(sw->telling);
    sw->telling = NULL;
    ofpbuf_uninit(&sw->output);
    ofpbuf_uninit(&sw->bundle);
    l->open_handles--;
    if (!l->stopping) {
        uv_timer_start(&sw->retry, try_to_connect, RETRY_MS, 0);
    }
}

static void
close_connection(struct load_switch *sw)
{
    sw->open = sw->up = false;
    if (!uv_is_closing((uv_handle_t *) &sw->tcp)) {
        uv_close((uv_handle_t *) &sw->tcp, closed);
    }
}

static void
allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char buffer[256 * 1024];

    *buf = uv_buf_init(buffer, sizeof buffer);
}

/* Does all that it was told. */
static void
work(uv_timer_t *timer)
{
    struct load_switch *sw = timer->data;
    struct ofpbuf *message;

    do {
        while (sw->open && !sw->telling
               && openflow_stream_next(&sw->input, &message) > 0) {
            handle_request(sw, message->data);
            ofpbuf_delete(message);
        }
        tell_flows(sw);
        flush(sw);
        /* written() goes on where the socket takes no more. */
    } while (sw->open && sw->telling
             && !uv_stream_get_write_queue_size((uv_stream_t *) &sw->tcp));
}

static void
received(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct load_switch *sw = stream->data;

    if (n < 0) {
        close_connection(sw);
        return;
    }
    openflow_stream_push(&sw->input, buf->base, n);
    if (!sw->slow_ms) {
        work(&sw->late);
    } else if (!uv_is_active((uv_handle_t *) &sw->late)) {
        uv_timer_start(&sw->late, work, sw->slow_ms, 0);
    }
}

static void
connected(uv_connect_t *request, int status)
{
    struct load_switch *sw = request->data;

    if (status) {
        close_connection(sw);
        return;
    }
    sw->open = true;
    uv_tcp_nodelay(&sw->tcp, 1);
    put(sw, ofputil_encode_hello(1u << OFP15_VERSION));
    flush(sw);
    uv_read_start((uv_stream_t *) &sw->tcp, allocate, received);
}

static void
try_to_connect(uv_timer_t *timer)
{
    struct load_switch *sw = timer->data;
    struct load *l = timer->loop->data;
    struct sockaddr_in sin;

    uv_ip4_addr("127.0.0.1", l->openflow_port, &sin);
    uv_tcp_init(l->loop, &sw->tcp);
    l->open_handles++;
    sw->tcp.data = sw->connecting.data = sw;
    openflow_stream_init(&sw->input);
    ofpbuf_init(&sw->output, 0);
    ofpbuf_init(&sw->bundle, 0);
    if (uv_tcp_connect(&sw->connecting, &sw->tcp, (struct sockaddr *) &sin,
                       connected)) {
        close_connection(sw);
    }
}

void
load_switch_start(struct load *l, struct load_switch *sw)
{
    uv_timer_init(l->loop, &sw->retry);
    uv_timer_init(l->loop, &sw->late);
    sw->retry.data = sw->late.data = sw;
    try_to_connect(&sw->retry);
}

void
load_switch_stop(struct load_switch *sw)
{
    uv_close((uv_handle_t *) &sw->retry, NULL);
    uv_close((uv_handle_t *) &sw->late, NULL);
    if (sw->tcp.data && uv_is_active((uv_handle_t *) &sw->tcp)) {
        close_connection(sw);
    }
}

static void
tell_port(struct load_switch *sw, int port)
{
    struct ofputil_port_status status = {
        .reason = OFPPR_MODIFY, .desc = describe_port(sw, port)};

    put(sw, ofputil_encode_port_status(&status, OFPUTIL_P_OF15_OXM));
    flush(sw);
}

void
load_set_link(struct load *l, int index, int port, bool up)
{
    struct load_switch *sw = &l->switches[index];
    struct load_switch *peer = &l->switches[sw->ports[port].peer];
    int peer_port = sw->ports[port].peer_port;

    sw->ports[port].up = peer->ports[peer_port].up = up;
    tell_port(sw, port);
    tell_port(peer, peer_port);
}

void
load_set_port(struct load *l, int index, int port, bool up)
{
    struct load_switch *sw = &l->switches[index];

    sw->ports[port].up = up;
    if (sw->up) {
        tell_port(sw, port);
    }
}
