/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/switch_session.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include "flow.h"
#include "hash.h"
#include "ofp-ext/sal_pipeline.h"
#include "openflow/openflow.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(switch_session);

static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(60, 20);

/* Message types that are the same in every version. */
#define TYPE_HELLO 0
#define TYPE_ERROR 1

const struct switch_session_config switch_session_defaults = {
    .echo_interval_ms = 5000,
    .echo_timeout_ms = 5000,
    .handshake_timeout_ms = 10000,
    .retry_ms = 10000,
    .patience_ms = 120000,
    .max_ports = 4096,
    .max_rules = 1000000,
    .max_malformed = 100,
    .max_connections = 4096,
    .sal_port = SAL_UDP_PORT,
    .role = OFPCR12_ROLE_EQUAL,
};

static void
emit(struct switch_session *s, enum switch_event_type type,
     const struct switch_port *port,
     const struct openflow_message *message)
{
    struct switch_event event = {
        .type = type, .port = port, .message = message};
    s->event(s, &event, s->aux);
}

void
switch_session_init(struct switch_session *s,
                    const struct switch_session_config *config,
                    switch_event_cb *event, void *aux, long long now)
{
    memset(s, 0, sizeof *s);
    s->config = *config;
    s->event = event;
    s->aux = aux;
    s->next_xid = 1;
    s->role = OFPCR12_ROLE_EQUAL; /* Of every connection at first. */
    s->connected_at = s->last_received = now;
    hmap_init(&s->ports);
    openflow_stream_init(&s->stream);
    ofpbuf_init(&s->output, 0);
    switch_session_send(s, openflow_hello());
}

static void
forget_ports(struct switch_session *s)
{
    struct switch_port *port;

    HMAP_FOR_EACH_POP (port, hmap_node, &s->ports) {
        free(port);
    }
}

void
switch_session_destroy(struct switch_session *s)
{
    if (s) {
        forget_ports(s);
        hmap_destroy(&s->ports);
        openflow_stream_destroy(&s->stream);
        ofpbuf_uninit(&s->output);
    }
}

uint32_t
switch_session_reserve_xid(struct switch_session *s)
{
    uint32_t xid = s->next_xid++;

    if (!s->next_xid) {
        s->next_xid = 1; /* 0 stands for "no question under way". */
    }
    return xid;
}

void
switch_session_send_as_is(struct switch_session *s, struct ofpbuf *message)
{
    if (s->state != SWITCH_SESSION_CLOSED) {
        ofpmsg_update_length(message); /* The encoders leave that to us. */
        ofpbuf_put(&s->output, message->data, message->size);
        s->counters.sent++;
    }
    ofpbuf_delete(message);
}

uint32_t
switch_session_send(struct switch_session *s, struct ofpbuf *message)
{
    uint32_t xid = switch_session_reserve_xid(s);

    openflow_set_xid(message, xid);
    switch_session_send_as_is(s, message);
    return xid;
}

void
switch_session_close(struct switch_session *s, const char *reason)
{
    if (s->state != SWITCH_SESSION_CLOSED) {
        struct switch_event event = {
            .type = SWITCH_EVENT_CLOSED, .reason = reason};
        s->state = SWITCH_SESSION_CLOSED;
        s->event(s, &event, s->aux);
    }
}

/* Ports. */

static struct switch_port *
find_port(const struct switch_session *s, uint32_t number)
{
    struct switch_port *port;

    HMAP_FOR_EACH_WITH_HASH (port, hmap_node, hash_int(number, 0),
                             &s->ports) {
        if (port->number == number) {
            return port;
        }
    }
    return NULL;
}

const struct switch_port *
switch_session_port(const struct switch_session *s, uint32_t number)
{
    return find_port(s, number);
}

static void
remove_port(struct switch_session *s, struct switch_port *port)
{
    if (s->state == SWITCH_SESSION_UP) {
        emit(s, SWITCH_EVENT_PORT_GONE, port, NULL);
    }
    hmap_remove(&s->ports, &port->hmap_node);
    free(port);
}

static void
update_port(struct switch_session *s, const struct ofputil_phy_port *pp)
{
    uint32_t number = ofp_to_u16(pp->port_no);
    struct switch_port *port = find_port(s, number);

    if (number >= OFPP_MAX) {
        return; /* LOCAL and other reserved ports carry no traffic of ours. */
    }
    if (!port) {
        if (hmap_count(&s->ports) >= s->config.max_ports) {
            VLOG_WARN_RL(&rl, "%016" PRIx64 ": more than %u ports; port "
                         "%" PRIu32 " is ignored", s->datapath_id,
                         s->config.max_ports,
                         number);
            return;
        }
        port = xzalloc(sizeof *port);
        port->number = number;
        hmap_insert(&s->ports, &port->hmap_node, hash_int(number, 0));
    }
    memcpy(port->mac, pp->hw_addr.ea, sizeof port->mac);
    ovs_strlcpy(port->name, pp->name, sizeof port->name);
    port->up = !(pp->config & OFPUTIL_PC_PORT_DOWN)
               && !(pp->state & OFPUTIL_PS_LINK_DOWN);
    port->speed = pp->curr_speed;
    if (s->state == SWITCH_SESSION_UP) {
        emit(s, SWITCH_EVENT_PORT, port, NULL);
    }
}

static void
handle_port_status(struct switch_session *s, const struct openflow_message *m)
{
    if (m->port_status.reason == OFPPR_DELETE) {
        struct switch_port *port
            = find_port(s, ofp_to_u16(m->port_status.desc.port_no));
        if (port) {
            remove_port(s, port);
        }
    } else {
        update_port(s, &m->port_status.desc);
    }
}

/* Roles: of several controllers one writes. */

const char *
switch_session_role_string(enum ofp12_controller_role role)
{
    return role == OFPCR12_ROLE_PRIMARY ? "master"
           : role == OFPCR12_ROLE_SECONDARY ? "slave" : "equal";
}

bool
switch_session_role_from_string(const char *name,
                                enum ofp12_controller_role *ret_role)
{
    static const enum ofp12_controller_role roles[] = {
        OFPCR12_ROLE_EQUAL, OFPCR12_ROLE_PRIMARY, OFPCR12_ROLE_SECONDARY};

    for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
        if (!strcmp(name, switch_session_role_string(roles[i]))) {
            *ret_role = roles[i];
            return true;
        }
    }
    return false;
}

static void
ask_role(struct switch_session *s)
{
    s->asked.role = switch_session_send(
        s, openflow_role_request(s->version, s->config.role,
                                 s->config.generation_id));
}

void
switch_session_set_role(struct switch_session *s,
                        enum ofp12_controller_role role,
                        uint64_t generation_id)
{
    s->config.role = role;
    s->config.generation_id = generation_id;
    if (s->state == SWITCH_SESSION_FEATURES
        || s->state == SWITCH_SESSION_UP) {
        ask_role(s);
    }
}

static void
take_role(struct switch_session *s, enum ofp12_controller_role role,
          uint64_t generation_id)
{
    bool changed = role != s->role;

    s->role = role;
    if (generation_id != UINT64_MAX) {
        s->generation_seen = MAX(s->generation_seen, generation_id);
    }
    if (changed && s->state == SWITCH_SESSION_UP) {
        emit(s, SWITCH_EVENT_ROLE, NULL, NULL);
    }
}

/* A switch without roles has one controller, which may write unless it does
 * not want to. */
static void
role_refused(struct switch_session *s, const struct openflow_message *m)
{
    bool stale = m->error == OFPERR_OFPRRFC_STALE;
    char text[128];

    VLOG_WARN_RL(&rl, "%016" PRIx64 ": refuses that we are %s: %s%s",
                 s->datapath_id, switch_session_role_string(s->config.role),
                 openflow_error_string(m->error, text, sizeof text),
                 stale ? "; another controller has taken over since" : "");
    take_role(s, stale || s->config.role == OFPCR12_ROLE_SECONDARY
                 ? OFPCR12_ROLE_SECONDARY : OFPCR12_ROLE_EQUAL, UINT64_MAX);
    if (stale) {
        s->stale = true;
        s->asked.role = switch_session_send(
            s, openflow_role_request(s->version, OFPCR12_ROLE_NOCHANGE, 0));
    }
}

/* After a refusal we still are what we were to the switch, which knows
 * 'generation_id': become SECONDARY with that, or be younger. */
static void
settle_role(struct switch_session *s, uint64_t generation_id)
{
    s->stale = false;
    s->generation_seen = generation_id;
    s->config.generation_id = generation_id;
    if (s->config.insist) {
        s->config.generation_id++;
    } else {
        s->config.role = OFPCR12_ROLE_SECONDARY;
    }
    ask_role(s);
}

/* Handshake. */

static void
tables_are_due(struct switch_session *s)
{
    s->tables_due = true;
    if (!s->config.defer_tables) {
        switch_session_ask_tables(s);
    }
}

/* Our flows from before a restart tell whether the switch has the SAL fields.
 * The table features would, too, but the answer for 254 tables keeps Open
 * vSwitch busy for 7 ms, in the thread in which its userspace datapath
 * forwards; and all bridges of a machine return at once. */
static void
ask_sal(struct switch_session *s)
{
    struct ofpbuf *request = openflow_sal_flows_request(
        s->version, SAL_COOKIE_BASE, SAL_COOKIE_MASK, s->config.sal_port);

    if (request) {
        s->asked.sal = switch_session_send(s, request);
    } else {
        tables_are_due(s);
    }
}

static void
ask_features(struct switch_session *s)
{
    uint8_t v = s->version;

    s->state = SWITCH_SESSION_FEATURES;
    s->asked.features
        = switch_session_send(s, openflow_features_request(v));
    s->asked.desc = switch_session_send(s, openflow_desc_request(v));
    s->asked.groups
        = switch_session_send(s, openflow_group_features_request(v));
    s->asked.meters
        = switch_session_send(s, openflow_meter_features_request(v));
    ask_sal(s);
    if (s->config.role != OFPCR12_ROLE_EQUAL) {
        ask_role(s);
    }
    /* Last, so that no port status is older than the list. */
    s->asked.ports = switch_session_send(s, openflow_ports_request(v));
}

void
switch_session_ask_tables(struct switch_session *s)
{
    if (s->tables_due && s->state == SWITCH_SESSION_FEATURES) {
        s->tables_due = false;
        s->asked.tables = switch_session_send(
            s, openflow_table_features_request(s->version));
    }
}

static void
handle_hello(struct switch_session *s, const struct openflow_message *m)
{
    uint32_t common = m->hello_versions & OPENFLOW_VERSIONS;

    if (s->state != SWITCH_SESSION_HELLO) {
        return; /* The specification allows it any time, to no effect. */
    }
    if (!common) {
        struct ofpbuf *error = ofperr_encode_hello(
            OFPERR_OFPHFC_INCOMPATIBLE, OFP13_VERSION,
            "this controller speaks OpenFlow 1.5 and 1.3");
        switch_session_send_as_is(s, error);
        switch_session_close(s, "no OpenFlow version in common; enable 1.5 "
                                "or 1.3 in the switch");
        return;
    }
    s->version = leftmost_1bit_idx(common);
    ask_features(s);
}

static void
check_up(struct switch_session *s, long long now)
{
    if (s->state == SWITCH_SESSION_FEATURES && !s->asked.features
        && !s->tables_due && !s->asked.sal
        && !s->asked.ports && !s->asked.desc && !s->asked.tables
        && !s->asked.groups && !s->asked.meters && !s->asked.role) {
        s->state = SWITCH_SESSION_UP;
        s->up_at = now;
        emit(s, SWITCH_EVENT_UP, NULL, NULL);
    }
}

static void
take_features(struct switch_session *s, const struct openflow_message *m)
{
    s->datapath_id = m->features.datapath_id;
    s->n_tables = m->features.n_tables;
    /* 1.3 knows bundles as an extension only, without a bit that says so. */
    s->bundles = s->version >= OFP14_VERSION
                 && (s->version < OFP15_VERSION
                     || m->features.capabilities & OFPUTIL_C_BUNDLES);
    s->asked.features = 0;
    if (m->features.auxiliary_id) {
        switch_session_close(s, "auxiliary connections are not supported");
    }
}

static void
take_ports(struct switch_session *s, const struct openflow_message *m)
{
    struct ofputil_phy_port port;
    struct openflow_parts parts;
    int error;

    openflow_parts_begin(&parts, m);
    while ((error = openflow_next_port(&parts, &port)) > 0) {
        update_port(s, &port);
    }
    openflow_parts_end(&parts);
    s->counters.malformed += error < 0;
}

static void
take_desc(struct switch_session *s, const struct openflow_message *m)
{
    ovs_strlcpy(s->manufacturer, m->desc.manufacturer,
                sizeof s->manufacturer);
    ovs_strlcpy(s->hardware, m->desc.hardware, sizeof s->hardware);
    ovs_strlcpy(s->software, m->desc.software, sizeof s->software);
}

/* True if 'm' answers the question '*xid'; the last part settles it. */
static bool
answers(const struct openflow_message *m, uint32_t *xid)
{
    if (!*xid || m->xid != *xid) {
        return false;
    }
    if (!m->more) {
        *xid = 0;
    }
    return true;
}

/* Returns true if 'm' belonged to the handshake. */
static bool
handshake_reply(struct switch_session *s, const struct openflow_message *m)
{
    unsigned int n_tables;

    switch ((int) m->type) {
    case OFPTYPE_FEATURES_REPLY:
        if (answers(m, &s->asked.features)) {
            take_features(s, m);
        }
        return true;
    case OFPTYPE_PORT_DESC_STATS_REPLY:
        if (answers(m, &s->asked.ports)) {
            take_ports(s, m);
        }
        return true;
    case OFPTYPE_DESC_STATS_REPLY:
        if (answers(m, &s->asked.desc)) {
            take_desc(s, m);
        }
        return true;
    case OFPTYPE_AGGREGATE_STATS_REPLY:
        if (answers(m, &s->asked.sal)) {
            s->sal = m->n_flows > 0;
            if (!s->sal) {
                tables_are_due(s);
            }
        }
        return true;
    case OFPTYPE_TABLE_FEATURES_STATS_REPLY:
        /* One table that matches the fields suffices, and decoding all of
         * them (254 in Open vSwitch) takes its time. */
        if (answers(m, &s->asked.tables) && !s->sal) {
            s->sal = openflow_has_sal_fields(m, &n_tables);
        }
        return true;
    case OFPTYPE_GROUP_FEATURES_STATS_REPLY:
        if (answers(m, &s->asked.groups)) {
            s->max_groups = m->group_features.max_groups[OFPGT11_SELECT];
        }
        return true;
    case OFPTYPE_METER_FEATURES_STATS_REPLY:
        if (answers(m, &s->asked.meters)) {
            s->max_meters = m->meter_features.max_meters;
        }
        return true;
    default:
        return false;
    }
}

/* A switch may lack what we ask about; it then says so, and we do without.
 * Only its identity and its ports are indispensable. */
static void
handshake_error(struct switch_session *s, const struct openflow_message *m)
{
    char text[128];

    openflow_error_string(m->error, text, sizeof text);
    if (answers(m, &s->asked.features) || answers(m, &s->asked.ports)) {
        VLOG_WARN_RL(&rl, "%016" PRIx64 ": no answer to the handshake: %s",
                     s->datapath_id, text);
        switch_session_close(s, "the switch refuses to tell what it is");
    } else if (answers(m, &s->asked.role)) {
        role_refused(s, m);
    } else if (answers(m, &s->asked.sal)) {
        if (m->error != OFPERR_OFPBMC_BAD_FIELD) {
            tables_are_due(s);
        }
    } else if (answers(m, &s->asked.desc) || answers(m, &s->asked.tables)
               || answers(m, &s->asked.groups)
               || answers(m, &s->asked.meters)) {
        VLOG_DBG_RL(&rl, "%016" PRIx64 ": does not tell: %s", s->datapath_id,
                    text);
    }
}

/* Messages. */

static void
handle_malformed(struct switch_session *s, const struct ofpbuf *b,
                 enum ofperr error)
{
    const struct ofp_header *oh = b->data;
    char text[128];

    s->counters.malformed++;
    VLOG_WARN_RL(&rl, "%016" PRIx64 ": malformed OpenFlow message (version "
                 "%u, type %u, %u bytes): %s", s->datapath_id, oh->version,
                 oh->type, b->size,
                 openflow_error_string(error, text, sizeof text));
    if (s->state == SWITCH_SESSION_HELLO) {
        switch_session_close(s, "the peer does not speak OpenFlow");
    } else if (error == OFPERR_OFPBRC_BAD_VERSION) {
        switch_session_send_as_is(s, openflow_error_reply(error, oh));
        switch_session_close(s, "a message of another OpenFlow version than "
                                "was negotiated");
    } else if (s->counters.malformed >= s->config.max_malformed) {
        switch_session_close(s, "too many malformed messages");
    } else if (oh->type != TYPE_ERROR) {
        switch_session_send_as_is(s, openflow_error_reply(error, oh));
    }
}

/* Returns true if 'm' is about our role. */
static bool
handle_role(struct switch_session *s, const struct openflow_message *m)
{
    switch ((int) m->type) {
    case OFPTYPE_ROLE_REPLY:
        if (answers(m, &s->asked.role)) {
            if (s->stale && m->role.generation_id != UINT64_MAX) {
                settle_role(s, m->role.generation_id);
            } else if (!s->stale) {
                take_role(s, m->role.role, m->role.generation_id);
            }
        }
        return true;
    case OFPTYPE_ROLE_STATUS: /* Somebody else has become master. */
        take_role(s, m->role.role, m->role.generation_id);
        return true;
    case OFPTYPE_ERROR:
        if (s->state == SWITCH_SESSION_UP && answers(m, &s->asked.role)) {
            role_refused(s, m);
            return true;
        }
        if (m->error == OFPERR_OFPBRC_IS_SECONDARY
            && s->role != OFPCR12_ROLE_SECONDARY) {
            take_role(s, OFPCR12_ROLE_SECONDARY, UINT64_MAX);
            return true;
        }
        return false;
    default:
        return false;
    }
}

static void
handle_message(struct switch_session *s, const struct openflow_message *m,
               long long now)
{
    if (handle_role(s, m)) {
        s->counters.errors += m->type == OFPTYPE_ERROR;
        check_up(s, now);
        return;
    }
    switch ((int) m->type) {
    case OFPTYPE_HELLO:
        handle_hello(s, m);
        return;
    case OFPTYPE_ECHO_REQUEST:
        switch_session_send_as_is(s, openflow_echo_reply(m));
        return;
    case OFPTYPE_ECHO_REPLY:
        return; /* 'last_received' is all that matters. */
    case OFPTYPE_PORT_STATUS:
        handle_port_status(s, m);
        return;
    case OFPTYPE_ERROR:
        s->counters.errors++;
        break;
    case OFPTYPE_PACKET_IN:
        s->counters.packet_ins++;
        break;
    }

    if (s->state == SWITCH_SESSION_FEATURES) {
        if (m->type == OFPTYPE_ERROR) {
            handshake_error(s, m);
        } else {
            handshake_reply(s, m);
        }
        check_up(s, now);
    } else if (s->state == SWITCH_SESSION_UP) {
        emit(s, SWITCH_EVENT_MESSAGE, NULL, m);
    }
}

/* Before HELLO only HELLO and the refusal of ours make sense. */
static bool
check_order(struct switch_session *s, const struct openflow_message *m)
{
    if (s->state == SWITCH_SESSION_HELLO && m->type != OFPTYPE_HELLO) {
        switch_session_close(s, m->type == OFPTYPE_ERROR
                                ? "the switch refuses our OpenFlow versions; "
                                  "enable 1.5 or 1.3 in it"
                                : "a message before HELLO");
        return false;
    }
    return true;
}

static void
handle_bytes(struct switch_session *s, const struct ofpbuf *b, long long now)
{
    const struct ofp_header *oh = b->data;
    struct openflow_message m;
    enum ofperr error = 0;

    s->counters.received++;
    if (s->version && oh->version != s->version && oh->type != TYPE_HELLO) {
        error = OFPERR_OFPBRC_BAD_VERSION;
    }
    if (!error) {
        error = openflow_decode(b, &m);
    }
    if (error) {
        handle_malformed(s, b, error);
    } else if (check_order(s, &m)) {
        handle_message(s, &m, now);
    }
}

void
switch_session_receive(struct switch_session *s, const void *data, size_t n,
                       long long now)
{
    struct ofpbuf *message;
    int error = 0;

    openflow_stream_push(&s->stream, data, n);
    if (s->state == SWITCH_SESSION_HELLO
        && !openflow_stream_may_begin(&s->stream)) {
        s->counters.malformed++;
        switch_session_close(s, "the peer does not speak OpenFlow");
    }
    while (s->state != SWITCH_SESSION_CLOSED
           && (error = openflow_stream_next(&s->stream, &message)) > 0) {
        s->last_received = now;
        s->echo_sent = false;
        handle_bytes(s, message, now);
        ofpbuf_delete(message);
    }
    if (error < 0) {
        s->counters.malformed++;
        switch_session_close(s, "an OpenFlow message shorter than its own "
                                "header");
    }
}

void
switch_session_run(struct switch_session *s, long long now)
{
    long long silence = now - s->last_received;

    if (s->state == SWITCH_SESSION_CLOSED) {
        return;
    }
    if (s->state != SWITCH_SESSION_UP
        && now - s->connected_at >= s->config.handshake_timeout_ms) {
        switch_session_close(s, "the handshake took too long");
    } else if (silence >= s->config.echo_interval_ms
                          + s->config.echo_timeout_ms
               && now >= s->patience_until) {
        switch_session_close(s, "the switch no longer answers");
    } else if (silence >= s->config.echo_interval_ms && !s->echo_sent
               && s->version) {
        switch_session_send(s, openflow_echo_request(s->version));
        s->echo_sent = true;
    }
}

void
switch_session_probe(struct switch_session *s, long long now)
{
    if (s->state == SWITCH_SESSION_UP && !s->echo_sent) {
        s->last_received = MIN(s->last_received,
                               now - s->config.echo_interval_ms);
        switch_session_run(s, now);
    }
}

long long
switch_session_wakeup(const struct switch_session *s)
{
    long long at = s->last_received + s->config.echo_interval_ms;

    if (s->state == SWITCH_SESSION_CLOSED) {
        return LLONG_MAX;
    }
    if (s->echo_sent || !s->version) {
        at = MAX(at + s->config.echo_timeout_ms, s->patience_until);
    }
    return s->state == SWITCH_SESSION_UP
           ? at
           : MIN(at, s->connected_at + s->config.handshake_timeout_ms);
}

const char *
switch_session_state_string(enum switch_session_state state)
{
    switch (state) {
    case SWITCH_SESSION_HELLO:
        return "hello";
    case SWITCH_SESSION_FEATURES:
        return "features";
    case SWITCH_SESSION_UP:
        return "up";
    case SWITCH_SESSION_CLOSED:
        return "closed";
    }
    return "?";
}

const char *
switch_session_version_string(const struct switch_session *s)
{
    return s->version == OFP15_VERSION ? "1.5"
           : s->version == OFP13_VERSION ? "1.3" : "?";
}
