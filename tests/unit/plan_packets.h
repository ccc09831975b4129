/* SPDX-License-Identifier: Apache-2.0 */
/* Packets that follow the rules which the switches have: out of which port of
 * which switch do they come? */
#ifndef SALIENT_TEST_PLAN_PACKETS_H
#define SALIENT_TEST_PLAN_PACKETS_H 1

#include "tests/unit/plan_world.h"

/* The port that a rule sends to: of a group, the first that is up.  0 if there
 * is none. */
static inline uint32_t
out_port(uint64_t dpid, const struct rule *rule)
{
    if (!(rule->flags & RULE_VIA_GROUP)) {
        return rule->port;
    }
    struct rule key = RULE_INIT(RULE_GROUP);
    key.group = rule->port;
    const struct rule *group = rule_table_find(installed[dpid - 1], &key);
    CU_ASSERT_PTR_NOT_NULL_FATAL(group);
    for (int i = 0; i < RULE_GROUP_PORTS_MAX && group->ports[i]; i++) {
        const struct topology_port *port
            = topology_port(topology, dpid, group->ports[i]);
        if (port && port->up) {
            return group->ports[i];
        }
    }
    return 0;
}

/* A packet on its way. */
struct packet {
    uint64_t at;
    uint32_t in;  /* Port; 0 = none. */
    struct in6_addr to;
    uint8_t class;
    bool marked;
    bool visited[SWITCHES + 1];
    bool avoided; /* Used what class 2 avoids, where it could not help it. */
};

/* The rule of the forwarding table that matches. */
static inline const struct rule *
match_packet(const struct packet *packet)
{
    const struct rule_table *table = installed[packet->at - 1];
    struct rule key = RULE_INIT(IN6_IS_ADDR_V4MAPPED(&packet->to)
                                ? RULE_HOST : RULE_HOST6);
    const struct rule *rule = NULL;
    key.address = packet->to;
    if (packet->class && packet->marked) {
        key.path_class = packet->class | RULE_MARKED_CLASS;
        rule = rule_table_find(table, &key);
    }
    if (!rule && packet->class) {
        key.path_class = packet->class;
        rule = rule_table_find(table, &key);
    }
    if (!rule) {
        key.path_class = 0;
        rule = rule_table_find(table, &key);
    }
    if (!rule) {
        key = RULE_INIT(key.kind == RULE_HOST ? RULE_REST : RULE_REST6);
        rule = rule_table_find(table, &key);
    }
    return rule;
}

/* Sends the packet by 'rule'.  Returns where it comes out: dpid * 1000 + port,
 * 0 if it is dropped, 1 if it is at another switch. */
static inline uint32_t
send_packet(struct packet *packet, const struct rule *rule, bool any_port)
{
    uint64_t dpid = packet->at;
    const struct topology_switch *sw = topology_switch(topology, dpid);
    uint32_t out = out_port(dpid, rule);
    const struct topology_port *port = topology_port(topology, dpid, out);
    struct topology_end far;

    if (rule->flags & RULE_MARK) {
        CU_ASSERT_EQUAL(rule->flags >> RULE_MARK_CLASS_SHIFT, packet->class);
        packet->marked = true;
        any_port = true;
    }
    if (!out || (packet->in && out == packet->in && !any_port)) {
        return 0; /* A switch sends nothing back. */
    }
    if (!port || !topology_port_link(topology, sw, port, &far)) {
        return dpid * 1000 + out;
    }
    packet->avoided |= dpid == 3 && out == 1;
    packet->avoided |= far.dpid == 3 && far.port == 1;
    packet->at = far.dpid;
    packet->in = far.port;
    return 1;
}

/* Follows it to where it comes out; 0 if it is dropped or loops. */
static inline uint32_t
follow_packet(struct packet *packet)
{
    for (int hops = 0; hops < 4 * SWITCHES; hops++) {
        packet->visited[packet->at] = true;
        const struct rule *rule = match_packet(packet);
        if (!rule) {
            return 0;
        }
        uint32_t end = send_packet(packet, rule, false);
        if (end != 1) {
            return end;
        }
    }
    return 0;
}

static inline uint32_t
follow_host(uint64_t dpid, const struct in6_addr *address)
{
    struct packet packet = {.at = dpid, .to = *address};
    return follow_packet(&packet);
}

/* The SAL switch that 'dpid' hands SYNs on to, itself if it is one; 0 if there
 * is none. */
static inline uint64_t
follow_uplinks(uint64_t dpid, bool v6)
{
    for (int hops = 0; !topology_switch(topology, dpid)->has_sal; hops++) {
        struct rule key = RULE_INIT(v6 ? RULE_UPLINK6 : RULE_UPLINK);
        struct topology_end far;
        const struct rule *rule = rule_table_find(installed[dpid - 1], &key);
        const struct topology_switch *sw = topology_switch(topology, dpid);
        if (!rule || hops > SWITCHES
            || !topology_port_link(topology, sw,
                                   topology_port(topology, dpid, rule->port),
                                   &far)) {
            return 0;
        }
        dpid = far.dpid;
    }
    return dpid;
}

/* Does the rule match a SYN for 'id'? */
static inline bool
resolves(const struct rule *r, const struct service_id *id, bool v6,
         uint8_t protocol, uint16_t source_port)
{
    struct service_prefix prefix = {r->service, r->prefix_len};
    return rule_has_target(r)
           && (r->kind == RULE_SERVICE6 || r->kind == RULE_ENDPOINT6) == v6
           && (!r->protocol || r->protocol == protocol)
           && service_prefix_contains_id(&prefix, id)
           && !((source_port ^ r->tile_value) & ((1u << r->tile_bits) - 1));
}

/* The path class that hosts put into the SYN of the service. */
static inline uint8_t
class_of(const struct rule *rule)
{
    struct service_prefix prefix = {rule->service, rule->prefix_len};
    const struct registry_service *service = registry_service(registry,
                                                              &prefix);
    return service ? service->definition.path_class : 0;
}

static inline const struct rule *
best_service_rule(uint64_t dpid, const struct service_id *id, bool v6,
                  uint8_t protocol, uint16_t source_port)
{
    static struct rule best;
    size_t i = 0;

    best = RULE_INIT(RULE_NONE);
    for (const struct rule *r;
         (r = rule_table_next(installed[dpid - 1], &i));) {
        if (resolves(r, id, v6, protocol, source_port)) {
            /* Tiles are disjoint, so no two of one length match. */
            CU_ASSERT(!best.kind || best.prefix_len != r->prefix_len);
            if (!best.kind || r->prefix_len > best.prefix_len) {
                best = *r;
            }
        }
    }
    return best.kind ? &best : NULL;
}

/* Follows a SYN: to the first SAL switch, through its service table by longest
 * prefix, on to the instance.  Stores the locator it was resolved to (:: if
 * nobody serves). */
static inline uint32_t
follow_syn_over(bool v6, uint64_t dpid, const struct service_id *id,
                uint8_t protocol, uint16_t source_port,
                struct in6_addr *ret_locator)
{
    *ret_locator = in6addr_any;
    dpid = follow_uplinks(dpid, v6);
    if (!dpid) {
        return 0;
    }

    struct packet packet = {.at = dpid};
    const struct rule *best;
    for (int hops = 0;; hops++) {
        best = best_service_rule(packet.at, id, v6, protocol, source_port);
        if (!best || hops > 2 * SWITCHES) {
            CU_ASSERT(!hops); /* What was handed on is not lost. */
            return 0;
        }
        packet.visited[packet.at] = true;
        packet.class = class_of(best);
        if (!(best->flags & RULE_ONWARD)) {
            break;
        }
        CU_ASSERT(options.hop_by_hop);
        if (send_packet(&packet, best, false) != 1) {
            return 0;
        }
    }
    *ret_locator = packet.to = best->target;
    uint32_t end = send_packet(&packet, best, true);
    return end == 1 ? follow_packet(&packet) : end;
}

static inline uint32_t
follow_syn(uint64_t dpid, const struct service_id *id, uint8_t protocol,
           uint16_t source_port, uint32_t *ret_locator)
{
    struct in6_addr locator;
    uint32_t end = follow_syn_over(false, dpid, id, protocol, source_port,
                                   &locator);
    *ret_locator = locator_get_v4(&locator);
    return end;
}

/* A broadcast that enters switch 'dpid' by 'in': counts how often it comes out
 * of each port of each switch.  Ends, or it is a storm. */
static inline void
broadcast(uint64_t dpid, uint32_t in, int out[SWITCHES + 1][PORTS + 1],
          int *budget)
{
    const struct topology_switch *sw = topology_switch(topology, dpid);
    struct rule key = RULE_INIT(RULE_FLOOD_GROUP);
    const struct rule *group = rule_table_find(installed[dpid - 1], &key);
    CU_ASSERT_FATAL(--*budget > 0);
    for (uint32_t p = 1; group && p <= PORTS; p++) {
        const struct topology_port *port = topology_port(topology, dpid, p);
        struct topology_end far;
        if (p == in || !(group->port_set[p / 8] & 1 << p % 8)) {
            continue;
        }
        out[dpid][p]++;
        if (port && topology_port_link(topology, sw, port, &far)) {
            broadcast(far.dpid, far.port, out, budget);
        }
    }
}

#endif /* plan_packets.h */
