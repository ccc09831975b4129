/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's dealings with switches. */
#include <inttypes.h>
#include <limits.h>
#include "controller/controller_private.h"
#include "controller/resolve.h"
#include "flow.h"
#include "hash.h"
#include "openflow/openflow.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(controller_switches);

struct managed_switch *
controller_switch(const struct controller *c, uint64_t dpid)
{
    struct managed_switch *sw;

    HMAP_FOR_EACH_WITH_HASH (sw, node, hash_uint64(dpid), &c->switches) {
        if (sw->dpid == dpid) {
            return sw;
        }
    }
    return NULL;
}

/* The server's events. */

static void
switch_up(struct switch_connection *connection, void *c_)
{
    struct controller *c = c_;
    struct switch_session *s = switch_connection_session(connection);
    struct managed_switch *sw = controller_switch(c, s->datapath_id);

    c->input_us = controller_now_us();
    if (!sw) {
        sw = xzalloc(sizeof *sw);
        sw->dpid = s->datapath_id;
        hmap_insert(&c->switches, &sw->node, hash_uint64(sw->dpid));
    }
    controller_note_generation(c, s);
    sw->connection = connection;
    sw->room_tries = 0;
    sw->grow_after = 0;
    sw->ready = false;
    sw->dirty = true;
    *switch_connection_user(connection) = sw;

    topology_switch_set(c->topology, sw->dpid, s->sal);
    topology_switch_set_meters(c->topology, sw->dpid, s->max_meters);
    controller_take_ports(c, s);
    sw->put = put_create(s, &c->config->rules, controller_now(c));
    sw->order = (struct put_order_member) {
        .dpid = sw->dpid, .installed = sw->put->installed,
        .going = sw->put->going, .coming = sw->put->coming,
        .unsettled = true};
    put_order_join(&c->order, &sw->order);
    controller_event(c, "switch %016" PRIx64 " is up%s", sw->dpid,
                     s->sal ? "" : " (stock: no SAL fields)");
    if (!s->sal) {
        VLOG_WARN("%016" PRIx64 ": no SAL fields; it forwards, services are "
                  "resolved by its neighbours",
                  sw->dpid);
    }
}

/* A patched Open vSwitch names the fields among its tables' features whatever
 * its datapath is; on the Linux kernel's it refuses the rules. */
static void
datapath_lacks_fields(struct controller *c, struct managed_switch *sw)
{
    struct switch_session *s = switch_connection_session(sw->connection);

    sw->put->no_sal_fields = false;
    if (s->sal) {
        s->sal = false;
        topology_switch_set(c->topology, sw->dpid, false);
        controller_event(c, "switch %016" PRIx64 " is stock: its datapath has "
                         "no SAL fields", sw->dpid);
        VLOG_WARN("%016" PRIx64 ": its datapath has no SAL fields; it "
                  "forwards, services are resolved by its neighbours",
                  sw->dpid);
    }
}

static void
switch_down(struct switch_connection *connection, const char *reason,
            void *c_)
{
    struct controller *c = c_;
    struct managed_switch *sw = *switch_connection_user(connection);

    c->input_us = controller_now_us();
    c->confirmations++;
    put_order_leave(&c->order, &sw->order);
    put_destroy(sw->put);
    sw->put = NULL;
    sw->connection = NULL;
    sw->forget_at = controller_now(c) + c->config->forget_switch_ms;
    if (!c->stopping) {
        topology_switch_disconnected(c->topology, sw->dpid);
        discovery_switch_gone(c->discovery, sw->dpid);
        controller_event(c, "switch %016" PRIx64 " is gone: %s", sw->dpid,
                         reason);
    }
}

/* By the rule that handed it in. */
static enum sal_meter_kind
packet_kind(const struct openflow_message *m)
{
    const struct rule rule = RULE_INIT((uint8_t) m->packet_in.cookie);
    int kind = rule_meter_kind(&rule);

    return kind ? kind : SAL_METER_SERVICE_MISS;
}

static void
packet_in(struct controller *c, struct managed_switch *sw,
          const struct openflow_message *m)
{
    struct topology_end at = {sw->dpid, m->packet_in.in_port};
    enum sal_meter_kind kind = packet_kind(m);

    if (!fair_limit_take(&sw->limits[kind], at.port,
                         rules_meter_pps(&c->config->rules, kind),
                         controller_now(c))) {
        sw->n_limited++;
        c->packets_limited++;
        return;
    }
    if ((m->packet_in.cookie & ~(uint64_t) UINT32_MAX)
        == SAL_COOKIE(SAL_COOKIE_LEARN, 0)) {
        discovery_learn(c->discovery, &at, m->packet_in.data,
                        m->packet_in.len, controller_now(c));
        return;
    }
    discovery_packet_in(c->discovery, &at, m->packet_in.data,
                        m->packet_in.len, controller_now(c));
}

/* From now on the switch hands in what it receives of probes. */
static void
switch_ready(struct controller *c, struct managed_switch *sw)
{
    if (!sw->ready) {
        sw->ready = true;
        discovery_switch_ready(c->discovery, sw->dpid, controller_now(c));
        controller_ask_for_probes(c);
    }
}

/* Those that the rules speak of, so that they are back after a restart before
 * the rules are planned anew. */
static void
ask_plain_hosts(struct controller *c, const struct managed_switch *sw)
{
    size_t i = 0;

    for (const struct rule *rule;
         c->config->rules.plain_hosts
         && (rule = rule_table_next(sw->put->installed, &i)) != NULL;) {
        const struct topology_end at = {sw->dpid, rule->in_port};

        if ((rule->kind == RULE_ADMIT_HOST || rule->kind == RULE_ADMIT_HOST6)
            && !topology_attachment(c->topology, &rule->address)) {
            discovery_ask_plain(c->discovery, &at, &rule->source,
                                &rule->address);
        }
    }
}

static void
switch_message(struct switch_connection *connection,
               const struct openflow_message *m, void *c_)
{
    struct controller *c = c_;
    struct managed_switch *sw = *switch_connection_user(connection);

    c->input_us = controller_now_us();
    if (m->type == OFPTYPE_PACKET_IN) {
        packet_in(c, sw, m);
        return;
    }
    if (controller_take_counters(c, sw, m)) {
        return;
    }
    switch (put_message(sw->put, m, controller_now(c))) {
    case PUT_READ:
        c->confirmations++;
        if (!sw->put->dialect.meters) {
            topology_switch_set_meters(c->topology, sw->dpid, 0);
        }
        controller_hold_read(c, sw->put);
        if (!c->hold.over) {
            plan_remember(c->plan, sw->dpid, sw->put->installed);
            ask_plain_hosts(c, sw);
        }
        sw->dirty = true;
        if (sw->put->stats.rules_read) {
            switch_ready(c, sw);
        }
        break;
    case PUT_CONFIRMED:
        c->confirmations++;
        sw->changed_at = controller_now(c);
        switch_ready(c, sw);
        if (sw->put->no_sal_fields) {
            datapath_lacks_fields(c, sw);
        }
        controller_make_room(c, sw, controller_now(c));
        break;
    case PUT_NOTHING:
        break;
    }
}

static void
switch_role_changed(struct switch_connection *connection, void *c_)
{
    struct controller *c = c_;
    struct managed_switch *sw = *switch_connection_user(connection);
    const struct switch_session *s = switch_connection_session(connection);

    c->input_us = controller_now_us();
    sw->ready = false;
    sw->dirty = true;
    put_role_changed(sw->put, controller_now(c));
    controller_note_generation(c, s);
    VLOG_INFO("%016" PRIx64 ": we are %s", sw->dpid,
              switch_session_role_string(s->role));
    controller_event(c, "we are %s of switch %016" PRIx64,
                     switch_session_role_string(s->role), sw->dpid);
}

const struct openflow_server_ops controller_openflow_ops = {
    .up = switch_up,
    .port = controller_port_changed,
    .message = switch_message,
    .role = switch_role_changed,
    .down = switch_down,
};

/* What discovery asks for. */

static void
send_frame(uint64_t dpid, uint32_t in_port, uint32_t port, const void *frame,
           size_t len, void *c_)
{
    const struct controller *c = c_;
    const struct managed_switch *sw = controller_switch(c, dpid);

    if (sw && sw->connection && sw->put->state != PUT_STANDBY) {
        /* A switch does not send a packet back where it came from unless it
         * is told so. */
        bool back = in_port == port;
        switch_connection_packet_out(
            sw->connection, back ? in_port : ofp_to_u16(OFPP_CONTROLLER),
            back ? ofp_to_u16(OFPP_IN_PORT) : port, frame, len);
    }
}

static const uint8_t *
session_key(const struct endpoint_id *id, uint64_t *ret_session, void *c_)
{
    const struct controller *c = c_;
    const struct agent_session *session = api_server_find(c->api, id);

    if (!session) {
        return NULL;
    }
    *ret_session = session->session;
    return session->key;
}

static void
ask_endpoint(const struct endpoint_id *id, void *c_)
{
    const struct controller *c = c_;
    struct agent_session *session = api_server_find(c->api, id);

    if (session) {
        agent_session_push_probe_request(session);
    }
}

static void
host_attached(const struct topology_probe *probe, bool appeared, void *c_)
{
    struct controller *c = c_;
    const struct registry_endpoint *endpoint
        = registry_endpoint(c->registry, &probe->endpoint);

    if (appeared) {
        struct ds locator = DS_EMPTY_INITIALIZER;

        ipv6_format_mapped(&probe->locator, &locator);
        controller_event(c, "%s is at port %" PRIu32 " of %016" PRIx64
                         ", locator %s",
                         endpoint ? endpoint->name : "?", probe->at.port,
                         probe->at.dpid, ds_cstr(&locator));
        ds_destroy(&locator);
    }
}

/* The switch has asked although it may have the rule by now, or will at once
 * (it has confirmed, but its datapath takes some milliseconds to follow), or
 * because it has no room for it. */
static bool
forward(const struct topology_end *at, const void *frame, size_t len,
        void *c_)
{
    struct controller *c = c_;
    const struct resolver resolver = {
        .config = &c->config->rules,
        .topology = c->topology,
        .paths = plan_paths(c->plan),
        .routes = plan_routes(c->plan),
    };
    struct managed_switch *sw = controller_switch(c, at->dpid);
    struct service_prefix prefix;
    uint32_t port;

    if (!c->hold.over || !sw || !sw->connection) {
        return false;
    }
    void *copy = xmemdup(frame, len);
    bool ok = !resolve_packet(&resolver, at->dpid, copy, len, &port, &prefix);
    if (ok) {
        usage_note_miss(&c->usage, &prefix);
        switch_connection_packet_out(sw->connection,
                                     ofp_to_u16(OFPP_CONTROLLER), port, copy,
                                     len);
    }
    free(copy);
    return ok;
}

/* After a start, who serves it may not be back yet. */
static bool
resolves_soon(const struct topology_end *at,
              const struct sal_service_header *header, void *c_)
{
    const struct controller *c = c_;

    return !c->hold.over;
}

static long long
now_us(void *c_)
{
    return controller_now_us();
}

const struct discovery_ops controller_discovery_ops = {
    .now_us = now_us,
    .send = send_frame,
    .session_key = session_key,
    .ask = ask_endpoint,
    .attached = host_attached,
    .forward = forward,
    .resolves_soon = resolves_soon,
};

/* Putting rules. */

/* What other switches may count on. */
static void
update_order(struct managed_switch *sw)
{
    sw->order.unsettled = sw->put->state != PUT_STANDBY
                          && (sw->dirty || sw->put->state != PUT_READY);
    sw->order.upper_generation = sw->put->upper_generation;
    sw->order.services_generation = sw->put->services_generation;
}

#define MAX_PASSES 3

static void
put_one(struct controller *c, struct managed_switch *sw, long long now)
{
    struct put *put = sw->put;
    /* A switch that comes when the hold of the others is over already. */
    bool hold = now < c->hold.until && put->stats.rules_read
                && !c->hold.back;

    if (put->state != PUT_READY
        || !(sw->dirty || now >= put->retry_at)
        || (put_is_held(put) && !sw->news && sw->tried == c->confirmations
            && now < put_wakeup(put, 0))) {
        return;
    }
    sw->news = false;
    sw->tried = c->confirmations;
    put_run(put, c->plan, &c->order, hold, now);
    if (put->state == PUT_READY && !put->holding && !put_is_held(put)) {
        sw->dirty = false;
        sw->settled = plan_generation(c->plan);
        c->confirmations++;
    }
    update_order(sw);
}

/* So long after a round its packets may still be queued. */
#define BUSY_ECHO_MS 1000

void
controller_check_switches(struct controller *c, long long now)
{
    struct managed_switch *sw;

    HMAP_FOR_EACH (sw, node, &c->switches) {
        if (sw->put) {
            put_check(sw->put, c->config->confirm_timeout_ms, now);
        }
        /* Silence of one that is busy, or was just now, means nothing. */
        if (!sw->put || sw->put->state != PUT_READY) {
            sw->busy_at = now;
        }
        if (now - sw->busy_at < BUSY_ECHO_MS && now >= sw->keep_at) {
            discovery_keep_links(c->discovery, sw->dpid, now);
            sw->keep_at = now + c->config->link_timeout_ms / 4;
        }
    }
}

void
controller_put_all(struct controller *c, long long now)
{
    struct managed_switch *sw;
    uint64_t dpid;

    while (plan_pop_changed(c->plan, &dpid)) {
        sw = controller_switch(c, dpid);
        if (sw) {
            sw->dirty = sw->news = true;
        }
    }
    HMAP_FOR_EACH (sw, node, &c->switches) {
        if (sw->put) {
            update_order(sw);
        }
    }
    /* Who has nothing to send has confirmed it, which may let others go. */
    uint64_t before;
    int passes = 0;
    do {
        before = c->confirmations;
        HMAP_FOR_EACH (sw, node, &c->switches) {
            if (sw->put) {
                put_one(c, sw, now);
            }
        }
    } while (c->confirmations != before && ++passes < MAX_PASSES);
}

bool
controller_in_sync(const struct controller *c,
                   const struct managed_switch *sw)
{
    return sw->put && sw->put->state == PUT_READY && !sw->dirty
           && !sw->put->n_refusals;
}

void
controller_update_confirmed(struct controller *c)
{
    uint64_t generation = plan_generation(c->plan);
    uint64_t confirmed = generation;
    struct managed_switch *sw;
    size_t n = 0;

    HMAP_FOR_EACH (sw, node, &c->switches) {
        if (!sw->put || sw->put->state == PUT_STANDBY) {
            continue; /* Nobody can wait for a switch that is not ours. */
        }
        n++;
        if (sw->put->state == PUT_READY && !sw->dirty) {
            sw->settled = generation;
        }
        confirmed = MIN(confirmed, MAX(sw->settled,
                                       sw->put->confirmed_generation));
    }
    /* Without any switch nothing is confirmed. */
    if (n && confirmed > c->confirmed) {
        c->confirmed = confirmed;
        event_log_confirmed(c->events, confirmed, controller_now_us());
    }
}

static void
free_switch(struct managed_switch *sw)
{
    for (int i = 0; i < SAL_METER_N_KINDS; i++) {
        fair_limit_destroy(&sw->limits[i]);
    }
    free(sw);
}

void
controller_forget_switches(struct controller *c, long long now)
{
    struct managed_switch *sw;

    HMAP_FOR_EACH_SAFE (sw, node, &c->switches) {
        if (!sw->connection && now >= sw->forget_at) {
            controller_event(c, "switch %016" PRIx64 " is forgotten",
                             sw->dpid);
            topology_switch_remove(c->topology, sw->dpid);
            flaps_forget_switch(&c->flaps, sw->dpid);
            hmap_remove(&c->switches, &sw->node);
            free_switch(sw);
        }
    }
}

long long
controller_switches_wakeup(const struct controller *c)
{
    const struct managed_switch *sw;
    long long at = LLONG_MAX;

    HMAP_FOR_EACH (sw, node, &c->switches) {
        at = MIN(at, sw->put
                     ? put_wakeup(sw->put, c->config->confirm_timeout_ms)
                     : sw->forget_at);
        if (!sw->put || sw->put->state != PUT_READY) {
            at = MIN(at, sw->keep_at);
        }
    }
    return at;
}

void
controller_destroy_switches(struct controller *c)
{
    struct managed_switch *sw;

    HMAP_FOR_EACH_POP (sw, node, &c->switches) {
        if (sw->put) {
            put_order_leave(&c->order, &sw->order);
        }
        put_destroy(sw->put);
        free_switch(sw);
    }
    hmap_destroy(&c->switches);
    put_order_destroy(&c->order);
}
