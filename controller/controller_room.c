/* SPDX-License-Identifier: Apache-2.0 */
/* Switches that have no room for all rules: what goes in, and how much it is
 * used.  What stays out is resolved by the controller (forward()). */
#include <inttypes.h>
#include "controller/controller_private.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(controller_room);

/* Old rules must go before new ones fit; more often than this, something else
 * fills the table. */
#define TRIES_SOON 5
#define SOON_MS 200
/* More room is tried for after one interval, two, four, ... */
#define GROW_AFTER_MAX 64

static size_t
count_service_rules(const struct rule_table *table)
{
    size_t i = 0, n = 0;
    for (const struct rule *rule; (rule = rule_table_next(table, &i));) {
        n += rule_has_target(rule);
    }
    return n;
}

/* When it may have more room. */
static void
try_later(const struct controller *c, struct managed_switch *sw, long long now)
{
    sw->grow_after = MIN(MAX(1, 2 * sw->grow_after), GROW_AFTER_MAX);
    sw->grow_at = now + (long long) sw->grow_after
                        * c->config->usage_interval_ms;
}

/* Takes what the switch holds now as its limit, but for room to put new rules
 * in before old ones are taken out.  A round that only lacks that room says
 * nothing about the limit. */
static void
shrink(struct controller *c, struct managed_switch *sw, long long now)
{
    size_t held = count_service_rules(sw->put->installed);
    size_t before = plan_limit(c->plan, sw->dpid);

    if (before != SIZE_MAX && (sw->room_tries < 2 || before <= held)) {
        return;
    }
    plan_set_limit(c->plan, sw->dpid, held - held / 8);
    try_later(c, sw, now);
    if (before == SIZE_MAX) {
        controller_event(c, "switch %016" PRIx64 " is full: %" PRIuSIZE
                         " service rules, the controller resolves the rest",
                         sw->dpid, held);
        VLOG_WARN("%016" PRIx64 ": the service table is full at %" PRIuSIZE
                  " rules; what does not fit is resolved by the controller, "
                  "%u packets a second at most", sw->dpid, held,
                  c->config->rules.service_miss_pps);
    }
}

/* What leads elsewhere anyway needs no route of its own. */
static void
make_room_for_hosts(struct controller *c, struct managed_switch *sw,
                    long long now)
{
    if (!plan_is_short_of_hosts(c->plan, sw->dpid)) {
        plan_set_short_of_hosts(c->plan, sw->dpid, true);
        sw->room_tries = 0;
        try_later(c, sw, now);
        controller_event(c, "switch %016" PRIx64 " has no room for a route to "
                         "each host: others know the rest", sw->dpid);
        VLOG_WARN("%016" PRIx64 ": the forwarding table is full; hosts that "
                  "are behind another switch get no route of their own",
                  sw->dpid);
        sw->put->retry_at = now;
    } else if (sw->room_tries++ < TRIES_SOON) {
        sw->put->retry_at = now; /* Old routes have made room by now. */
    }
}

/* Ports that have no meters of their own share some, or go without. */
static void
save_meters(struct controller *c, struct managed_switch *sw, long long now)
{
    const struct topology_switch *known = topology_switch(c->topology,
                                                          sw->dpid);
    bool own = known->max_meters > RULES_N_METERS;

    if (own) {
        topology_switch_set_meters(c->topology, sw->dpid, RULES_N_METERS);
        controller_event(c, "switch %016" PRIx64 " has no room for meters of "
                         "each port: its ports share them", sw->dpid);
        VLOG_WARN("%016" PRIx64 ": no room for meters of each port; a host "
                  "that floods takes what its neighbours may send to the "
                  "controller", sw->dpid);
        sw->put->retry_at = now;
    } else if (sw->put->meters_refused && known->max_meters) {
        topology_switch_set_meters(c->topology, sw->dpid, 0);
        sw->put->dialect.meters = false;
        controller_event(c, "switch %016" PRIx64 " takes no meters: packets "
                         "for the controller are not limited there",
                         sw->dpid);
        VLOG_WARN("%016" PRIx64 ": refuses meters; packets for the controller "
                  "are not limited there", sw->dpid);
        sw->put->retry_at = now;
    }
}

/* A round has ended in which the switch refused rules for lack of room. */
void
controller_make_room(struct controller *c, struct managed_switch *sw,
                     long long now)
{
    struct put *put = sw->put;

    if (put->groups_full && !plan_has_no_groups(c->plan, sw->dpid)) {
        plan_set_no_groups(c->plan, sw->dpid);
        controller_event(c, "switch %016" PRIx64 " has no room for groups: "
                         "its rules name ports", sw->dpid);
        put->retry_at = now;
    }
    /* Of a bundle nothing went in: how much fits shows without one. */
    if (put->service_table_full && !put->in_bundle) {
        shrink(c, sw, now);
        if (sw->room_tries++ < TRIES_SOON) {
            put->retry_at = MIN(put->retry_at, now + SOON_MS);
        }
        put->service_table_full = false;
    }
    put->groups_full = false;
    if (put->meters_refused || put->admit_table_full) {
        save_meters(c, sw, now);
        put->meters_refused = put->admit_table_full = false;
    }
    if (put->host_table_full) {
        make_room_for_hosts(c, sw, now);
        put->host_table_full = false;
    }
}

/* Is there more room than there was?  A limit that somebody configured is left
 * alone. */
static void
grow(struct controller *c, struct managed_switch *sw, long long now)
{
    size_t limit = plan_limit(c->plan, sw->dpid);

    if (c->config->rules.service_rules || now < sw->grow_at) {
        return;
    }
    plan_set_limit(c->plan, sw->dpid,
                   plan_is_cut(c->plan, sw->dpid)
                   ? limit + MAX(limit / 4, 64) : SIZE_MAX);
    sw->room_tries = 0;
    sw->grow_at = now + c->config->usage_interval_ms;
}

/* The same for host routes.  Only by a bundle, which changes all or nothing:
 * what the switch has works. */
static void
grow_hosts(struct controller *c, struct managed_switch *sw, long long now)
{
    if (sw->put && sw->put->bundles && now >= sw->grow_at
        && sw->put->state == PUT_READY
        && plan_is_short_of_hosts(c->plan, sw->dpid)) {
        plan_set_short_of_hosts(c->plan, sw->dpid, false);
    }
}

/* Counters. */

static bool
is_limited(const struct controller *c, const struct managed_switch *sw)
{
    return sw->put && plan_limit(c->plan, sw->dpid) != SIZE_MAX;
}

/* True if the message was an answer to us. */
bool
controller_take_counters(struct controller *c, struct managed_switch *sw,
                         const struct openflow_message *m)
{
    struct ofputil_flow_stats flow;
    struct openflow_parts parts;
    struct rule rule;

    if (m->type != OFPTYPE_FLOW_STATS_REPLY || !sw->counters_xid
        || m->xid != sw->counters_xid) {
        return false;
    }
    openflow_parts_begin(&parts, m);
    while (openflow_next_flow(&parts, &flow) > 0) {
        if (!rule_from_flow(&flow, &sw->put->dialect, &rule)
            && rule_has_target(&rule)) {
            const struct service_prefix prefix = {rule.service,
                                                  rule.prefix_len};
            usage_note_rule(&c->usage, &prefix, flow.packet_count,
                            flow.duration_sec);
        }
    }
    openflow_parts_end(&parts);
    return true;
}

/* What the switches answered since the last time decides what they hold from
 * now on; then they are asked again. */
void
controller_count_usage(struct controller *c, long long now)
{
    struct managed_switch *sw;
    bool any = false;

    if (now < c->usage_at) {
        return;
    }
    HMAP_FOR_EACH (sw, node, &c->switches) {
        any |= is_limited(c, sw);
        grow_hosts(c, sw, now);
    }
    usage_turn(&c->usage, c->config->usage_interval_ms);
    if (any) {
        plan_set_usage(c->plan, usage_of, &c->usage);
    }
    HMAP_FOR_EACH (sw, node, &c->switches) {
        if (is_limited(c, sw) && sw->put->state == PUT_READY) {
            struct switch_session *s
                = switch_connection_session(sw->connection);
            grow(c, sw, now);
            sw->counters_xid = switch_session_send(
                s, openflow_flows_request(s->version, SAL_COOKIE_BASE,
                                          SAL_COOKIE_MASK));
        }
    }
    c->usage_at = now + c->config->usage_interval_ms;
}
