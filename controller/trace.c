/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/trace.h"

#include <string.h>
#include "ofp-ext/sal.h"
#include "openvswitch/util.h"
#include "packets.h"
#include "util.h"

struct tracer {
    const struct plan *plan;
    const struct topology *topology;
    const struct trace_question *question;
    struct trace *trace;
    bool v6;
    struct in6_addr destination; /* Outer; unspecified: the resolver. */
    bool marked;                 /* It has passed its class's waypoint. */
};

const char *
trace_end_string(enum trace_end end)
{
    static const char *const strings[] = {
        [TRACE_DELIVERED] = "delivered",
        [TRACE_ASTRAY] = "sent to a port where nobody is known to be",
        [TRACE_NOT_ADMITTED] = "dropped: the port does not take packets of "
                               "this host",
        [TRACE_NO_SERVICE] = "to the controller, which answers RESET: nobody "
                             "serves it",
        [TRACE_NO_ROOM] = "to the controller, which resolves it: the switch "
                          "has no room for all services",
        [TRACE_NO_SAL] = "dropped: no switch with SAL fields can be reached",
        [TRACE_NO_ROUTE] = "dropped: the switch knows no way there",
        [TRACE_NO_PORT] = "dropped: the port is down",
        [TRACE_LOOP] = "given up: it goes round in circles",
    };
    return strings[end];
}

/* Takes note of the rule with this key, if there is one. */
static const struct rule *
meet(const struct rule_table *table, const struct rule *key,
     struct trace_step *step)
{
    const struct rule *rule = rule_table_find(table, key);

    if (rule && step->n_rules < TRACE_RULES_MAX) {
        step->rules[step->n_rules++] = *rule;
    }
    return rule;
}

static const struct rule *
meet_kind(const struct rule_table *table, enum rule_kind kind,
          struct trace_step *step)
{
    return meet(table, &RULE_INIT(kind), step);
}

static bool
admit(const struct tracer *t, const struct rule_table *table,
      struct trace_step *step)
{
    struct rule key = RULE_INIT(RULE_ADMIT_LINK);

    key.in_port = step->in_port;
    if (meet(table, &key, step) || meet_kind(table, RULE_ADMIT_ALL, step)) {
        return true;
    }
    key = RULE_INIT(t->v6 ? RULE_ADMIT_HOST6 : RULE_ADMIT_HOST);
    key.address = t->question->from->locator;
    key.in_port = step->in_port;
    key.source = t->question->from->mac;
    return meet(table, &key, step) != NULL;
}

/* The tile of 'prefix' that holds our entropy. */
static const struct rule *
find_tile(const struct tracer *t, const struct rule_table *table,
          const struct service_prefix *prefix, uint8_t protocol,
          struct trace_step *step)
{
    for (int bits = 0; bits <= SAL_ENTROPY_BITS; bits++) {
        struct rule key = RULE_INIT(t->v6 ? RULE_SERVICE6 : RULE_SERVICE);

        key.protocol = protocol;
        key.tile_bits = bits;
        key.tile_value = t->question->entropy & ((1u << bits) - 1);
        key.prefix_len = prefix->len;
        key.service = prefix->id;
        const struct rule *rule = meet(table, &key, step);
        if (rule) {
            return rule;
        }
    }
    return NULL;
}

static const struct rule *
find_endpoint(const struct tracer *t, const struct rule_table *table,
              const struct service_prefix *prefix, struct trace_step *step)
{
    struct rule key = RULE_INIT(t->v6 ? RULE_ENDPOINT6 : RULE_ENDPOINT);

    key.prefix_len = prefix->len;
    key.service = prefix->id;
    return meet(table, &key, step);
}

/* The longest prefix wins. */
static const struct rule *
find_service(const struct tracer *t, const struct rule_table *table,
             struct trace_step *step)
{
    struct service_prefix prefix = {.id = t->question->id,
                                    .len = SAL_SERVICE_ID_BITS};
    uint8_t protocol = t->question->protocol;
    const struct rule *rule;

    for (;; prefix.len--) {
        service_prefix_normalize(&prefix);
        if ((rule = find_endpoint(t, table, &prefix, step))
            || (rule = find_tile(t, table, &prefix, protocol, step))
            || (rule = find_tile(t, table, &prefix, 0, step))) {
            return rule;
        }
        if (!prefix.len) {
            return NULL;
        }
    }
}

/* By a route that is not in the switch? */
static bool
is_served(const struct tracer *t, uint64_t dpid)
{
    struct service_prefix prefix = {.id = t->question->id,
                                    .len = SAL_SERVICE_ID_BITS};

    for (;; prefix.len--) {
        service_prefix_normalize(&prefix);
        const struct service_routes *service
            = routes_of(plan_routes(t->plan), &prefix);
        if (service && route_at(service, dpid, t->question->protocol,
                                t->v6)) {
            return true;
        }
        if (!prefix.len) {
            return false;
        }
    }
}

/* What the plan knows about why. */
static void
explain(struct tracer *t, const struct rule *rule, uint64_t dpid)
{
    struct service_prefix prefix = {.id = rule->service,
                                    .len = rule->prefix_len};

    t->trace->resolved_at = t->trace->n_steps - 1;
    t->trace->target = topology_attachment(t->topology, &rule->target);
    t->trace->service = routes_of(plan_routes(t->plan), &prefix);
    if (t->trace->service) {
        t->trace->route = route_at(t->trace->service, dpid, rule->protocol,
                                   t->v6);
    }
}

/* The route for what is marked, of the class, of all. */
static const struct rule *
find_host(const struct tracer *t, const struct rule_table *table,
          struct trace_step *step)
{
    uint8_t class = t->question->path_class;
    uint8_t tries[] = {class | RULE_MARKED_CLASS, class, 0};
    const struct rule *rule = NULL;

    for (size_t i = class && t->marked ? 0 : class ? 1 : 2;
         i < ARRAY_SIZE(tries) && !rule; i++) {
        struct rule key = RULE_INIT(t->v6 ? RULE_HOST6 : RULE_HOST);

        key.address = t->destination;
        key.path_class = tries[i];
        rule = meet(table, &key, step);
    }
    if (!rule) {
        const struct rule key = RULE_INIT(t->v6 ? RULE_REST6 : RULE_REST);
        rule = meet(table, &key, step);
    }
    return rule;
}

static bool
port_is_up(const struct tracer *t, uint64_t dpid, uint32_t number)
{
    const struct topology_port *port = topology_port(t->topology, dpid,
                                                     number);
    return port && port->up;
}

/* Where 'rule' sends it.  False if that is nowhere. */
static bool
leave(const struct tracer *t, const struct rule_table *table,
      const struct rule *rule, struct trace_step *step)
{
    if (!(rule->flags & RULE_VIA_GROUP)) {
        step->out_port = rule->port;
        return port_is_up(t, step->dpid, rule->port);
    }
    struct rule key = RULE_INIT(RULE_GROUP);
    key.group = rule->port;
    const struct rule *group = meet(table, &key, step);
    for (int i = 0; group && i < RULE_GROUP_PORTS_MAX && group->ports[i];
         i++) {
        if (port_is_up(t, step->dpid, group->ports[i])) {
            step->out_port = group->ports[i];
            step->bucket = i;
            return true;
        }
    }
    return false;
}

static bool
end(struct tracer *t, enum trace_end why)
{
    t->trace->end = why;
    return false;
}

/* The tables of one switch.  True if the packet leaves it. */
static bool
cross(struct tracer *t, struct trace_step *step)
{
    const struct rule_table *table = plan_desired(t->plan, step->dpid);
    const struct rule *rule;

    if (!table) {
        return end(t, TRACE_NO_ROUTE);
    }
    if (!admit(t, table, step)) {
        return end(t, TRACE_NOT_ADMITTED);
    }
    if (!IN6_IS_ADDR_UNSPECIFIED(&t->destination)) {
        meet_kind(table, RULE_DEFAULT, step);
        rule = find_host(t, table, step);
        if (!rule) {
            return end(t, TRACE_NO_ROUTE);
        }
    } else if (meet_kind(table, t->v6 ? RULE_RESOLVE6 : RULE_RESOLVE, step)) {
        rule = find_service(t, table, step);
        if (!rule) {
            meet_kind(table, RULE_SERVICE_MISS, step);
            return end(t, is_served(t, step->dpid) ? TRACE_NO_ROOM
                                                   : TRACE_NO_SERVICE);
        }
        explain(t, rule, step->dpid);
        t->destination = rule->target;
    } else {
        rule = meet_kind(table, t->v6 ? RULE_UPLINK6 : RULE_UPLINK, step);
        if (!rule) {
            return end(t, TRACE_NO_SAL);
        }
    }
    t->marked |= rule->flags & RULE_MARK
                 && rule->flags >> RULE_MARK_CLASS_SHIFT
                    == t->question->path_class;
    return leave(t, table, rule, step) || end(t, TRACE_NO_PORT);
}

/* Is the instance behind the port? */
static bool
arrives(const struct tracer *t, const struct trace_step *step)
{
    const struct topology_attachment *target = t->trace->target;

    return target && target->dpid == step->dpid
           && target->port == step->out_port;
}

void
trace_run(const struct plan *plan, const struct topology *topology,
          const struct trace_question *question, struct trace *trace)
{
    struct tracer t = {
        .plan = plan, .topology = topology, .question = question,
        .trace = trace,
        .v6 = !IN6_IS_ADDR_V4MAPPED(&question->from->locator),
    };
    struct topology_end at = {question->from->dpid, question->from->port};

    memset(trace, 0, sizeof *trace);
    trace->resolved_at = -1;
    trace->end = TRACE_LOOP;
    while (trace->n_steps < TRACE_STEPS_MAX) {
        struct trace_step *step = &trace->steps[trace->n_steps++];

        step->dpid = at.dpid;
        step->in_port = at.port;
        step->bucket = -1;
        if (!cross(&t, step)) {
            return;
        }
        if (arrives(&t, step)) {
            trace->end = TRACE_DELIVERED;
            return;
        }
        const struct topology_switch *sw = topology_switch(topology,
                                                           step->dpid);
        const struct topology_port *port
            = topology_port(topology, step->dpid, step->out_port);
        if (!sw || !port || !topology_port_link(topology, sw, port, &at)) {
            trace->end = TRACE_ASTRAY;
            return;
        }
    }
}
