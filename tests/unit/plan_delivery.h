/* SPDX-License-Identifier: Apache-2.0 */
/* Do packets arrive where they should?  What the rules do with them against
 * oracles that look at the topology and the registry alone. */
#ifndef SALIENT_TEST_PLAN_DELIVERY_H
#define SALIENT_TEST_PLAN_DELIVERY_H 1

#include "tests/unit/plan_packets.h"

/* It reaches each port that a host may be behind once, and ends. */
static inline void
check_broadcast(uint64_t from, const bool reached[SWITCHES + 1])
{
    int out[SWITCHES + 1][PORTS + 1] = {{0}}, budget = 2 * SWITCHES;
    if (!options.plain_hosts) {
        return;
    }
    broadcast(from, HOST_PORT, out, &budget);
    for (uint64_t dpid = 1; dpid <= SWITCHES; dpid++) {
        for (uint32_t p = 1; p <= PORTS; p++) {
            const struct topology_port *port = topology_port(topology, dpid,
                                                             p);
            bool is_own = dpid == from && p == HOST_PORT;
            if (port && port->up && topology_is_host_port(port)) {
                CU_ASSERT_EQUAL(out[dpid][p], reached[dpid] && !is_own);
            }
        }
    }
}

/* Oracle: which hosts can be reached, over links, by flooding. */
static inline void
flood(uint64_t from, bool reached[SWITCHES + 1])
{
    reached[from] = true;
    for (uint32_t p = 1; p <= PORTS; p++) {
        struct topology_end far;
        const struct topology_port *port = topology_port(topology, from, p);
        if (port && topology_port_link(topology,
                                       topology_switch(topology, from), port,
                                       &far) && !reached[far.dpid]) {
            flood(far.dpid, reached);
        }
    }
}

/* The port that it is behind: dpid * 1000 + port, 0 if it is not reached. */
static inline uint32_t
where_attached(const struct in6_addr *locator,
               const bool reached[SWITCHES + 1])
{
    const struct topology_attachment *host = topology_attachment(topology,
                                                                 locator);
    return host && reached[host->dpid] ? host->dpid * 1000 + host->port : 0;
}

/* Oracle: is there a way over SAL switches alone, without what class 2 avoids
 * if 'avoiding'?  Whatever 'to' is, it is only arrived at. */
static inline bool
is_way(uint64_t from, uint64_t to, bool avoiding, bool seen[SWITCHES + 1])
{
    if (from == to) {
        return true;
    }
    const struct topology_switch *sw = topology_switch(topology, from);
    if (!sw->has_sal || seen[from] || (avoiding && from == 2)) {
        return false;
    }
    seen[from] = true;
    for (uint32_t p = 1; p <= PORTS; p++) {
        struct topology_end far;
        const struct topology_port *port = topology_port(topology, from, p);
        if (port && topology_port_link(topology, sw, port, &far)
            && far.dpid != from
            && !(avoiding && ((from == 3 && p == 1)
                              || (far.dpid == 3 && far.port == 1)))
            && is_way(far.dpid, to, avoiding, seen)) {
            return true;
        }
    }
    return false;
}

static inline bool
has_way(uint64_t from, uint64_t to, bool avoiding)
{
    bool seen[SWITCHES + 1] = {false};
    return is_way(from, to, avoiding, seen);
}

static inline bool
is_sal(uint64_t dpid)
{
    const struct topology_switch *sw = topology_switch(topology, dpid);
    return sw && sw->has_sal;
}

/* Whatever the class, packets arrive; and the way is what the class asks for,
 * where that can be. */
static inline void
check_classes(uint64_t from, const bool reached[SWITCHES + 1])
{
    for (int class = 1; options.classes && class <= 4; class++) {
        struct in6_addr locator = locator_of(unit_random_below(HOSTS),
                                             unit_random_below(2));
        uint32_t expected = where_attached(&locator, reached);
        struct packet packet = {.at = from, .to = locator, .class = class};
        CU_ASSERT_EQUAL(follow_packet(&packet), expected);
        uint64_t to = expected / 1000;
        if (!expected || !is_sal(from)) {
            continue;
        }
        if (class == 2 && has_way(from, to, true)) {
            CU_ASSERT(!packet.avoided);
            CU_ASSERT(!packet.visited[2] || from == 2 || to == 2);
        }
        if (class == 3 && is_sal(4) && has_way(from, 4, false)) {
            CU_ASSERT(packet.visited[4] && packet.marked);
        }
    }
}

static inline void
check_hosts(uint64_t from, const bool reached[SWITCHES + 1])
{
    for (int i = 0; i < 2 * HOSTS; i++) {
        struct in6_addr locator = locator_of(i / 2, i % 2);
        CU_ASSERT_EQUAL(follow_host(from, &locator),
                        where_attached(&locator, reached));
    }
}

/* Of 'i' among the instances of 's'; UINT32_MAX if it is none. */
static inline uint32_t
priority_of(int i, int s, bool v6, uint8_t protocol, const bool reached[])
{
    struct in6_addr locator = locator_of(i, v6);
    uint32_t priority = UINT32_MAX;
    if (!where_attached(&locator, reached)
        || topology_attachment(topology, &locator)->plain) {
        return priority;
    }
    for (int port = 1; port <= 3; port++) {
        struct registry_key key = key_of(i, s, port);
        const struct registry_instance *instance = registry_instance(registry,
                                                                     &key);
        if (instance && instance->offer.weight
            && instance->protocol == protocol) {
            priority = MIN(priority, instance->offer.priority);
        }
    }
    return priority;
}

/* Does 'i' serve exactly prefix 's' for 'protocol', as the SAL switch that
 * resolves for 'reached' should see it? */
static inline bool
is_instance(int i, int s, bool v6, uint8_t protocol, const bool reached[])
{
    return priority_of(i, s, v6, protocol, reached) <= UINT16_MAX;
}

/* The same where the policy may leave some out. */
static inline bool
is_chosen(int i, int s, bool v6, uint8_t protocol, const bool reached[])
{
    struct service_prefix prefix;
    uint32_t own = priority_of(i, s, v6, protocol, reached);
    service_prefix_from_name(names[s], &prefix);
    const struct registry_service *service = registry_service(registry,
                                                              &prefix);
    for (int j = 0; j < HOSTS && service->definition.policy == ROUTE_FAILOVER;
         j++) {
        if (priority_of(j, s, v6, protocol, reached) < own) {
            return false;
        }
    }
    return own <= UINT16_MAX;
}

/* A SYN for names[s] must reach an instance of the longest prefix that has
 * one. */
static inline void
check_service(uint64_t from, int s, bool v6, uint8_t protocol,
              const bool reached[SWITCHES + 1])
{
    struct service_prefix wanted;
    service_prefix_from_name(names[s], &wanted);
    struct in6_addr locator;
    uint32_t end = follow_syn_over(v6, from, &wanted.id, protocol,
                                   SAL_ENTROPY_BASE | (unit_random()
                                                       & SAL_ENTROPY_MASK),
                                   &locator);
    int best = -1, best_len = -1;
    for (int t = 0; t < SERVICES; t++) {
        struct service_prefix prefix;
        service_prefix_from_name(names[t], &prefix);
        if (service_prefix_contains(&prefix, &wanted)
            && prefix.len > best_len) {
            for (int i = 0; i < HOSTS; i++) {
                if (is_instance(i, t, v6, protocol, reached)) {
                    best = t;
                    best_len = prefix.len;
                }
            }
        }
    }
    if (options.limited && IN6_IS_ADDR_UNSPECIFIED(&locator)) {
        return; /* No room for it there: the controller resolves it. */
    }
    if (best < 0) {
        CU_ASSERT(IN6_IS_ADDR_UNSPECIFIED(&locator));
        return;
    }
    int i = locator.s6_addr[15];
    CU_ASSERT_FATAL(i >= 0 && i < HOSTS);
    struct in6_addr own = locator_of(i, v6);
    CU_ASSERT(ipv6_addr_equals(&locator, &own));
    CU_ASSERT(is_chosen(i, best, v6, protocol, reached));
    CU_ASSERT_EQUAL(end, where_attached(&locator, reached));
}

/* Every endpoint is a service by its ID, for any protocol. */
static inline void
check_endpoints(uint64_t from, const bool reached[SWITCHES + 1])
{
    for (int i = 0; i < 2 * HOSTS; i++) {
        struct endpoint_id id = build_endpoint_id(i / 2);
        struct in6_addr own = locator_of(i / 2, i % 2), locator;
        struct service_prefix prefix;
        service_prefix_of_endpoint(id.bytes, &prefix);
        uint32_t expected = where_attached(&own, reached);
        if (expected && topology_attachment(topology, &own)->plain) {
            expected = 0; /* It is nobody's service. */
        }
        uint32_t end = follow_syn_over(i % 2, from, &prefix.id, i,
                                       unit_random(), &locator);
        if (options.limited && IN6_IS_ADDR_UNSPECIFIED(&locator)) {
            continue;
        }
        CU_ASSERT_EQUAL(end, expected);
        CU_ASSERT(!expected || ipv6_addr_equals(&locator, &own));
    }
}

static inline bool
has_sal_nearby(const bool reached[SWITCHES + 1])
{
    for (int i = 1; i <= SWITCHES; i++) {
        const struct topology_switch *sw = topology_switch(topology, i);
        if (reached[i] && sw && sw->has_sal) {
            return true;
        }
    }
    return false;
}

/* Would the switch take an IP packet with these addresses from 'in'? */
static inline bool
is_admitted(uint64_t dpid, uint32_t in, const struct eth_addr *mac,
            const struct in6_addr *locator)
{
    bool link = false, host = false, arp = false;
    size_t i = 0;
    for (const struct rule *r;
         (r = rule_table_next(installed[dpid - 1], &i));) {
        bool own = r->in_port == in && eth_addr_equals(r->source, *mac)
                   && !memcmp(&r->address, locator, sizeof *locator);
        link |= r->kind == RULE_ADMIT_ALL
                || (r->kind == RULE_ADMIT_LINK && r->in_port == in);
        host |= (r->kind == RULE_ADMIT_HOST || r->kind == RULE_ADMIT_HOST6)
                && own;
        arp |= r->kind == RULE_ADMIT_ARP && own;
    }
    CU_ASSERT_EQUAL(host && IN6_IS_ADDR_V4MAPPED(locator), arp);
    return link || host;
}

/* Hosts are admitted as themselves where they are, other switches' packets in
 * any case, nothing else. */
static inline void
check_admission(uint64_t dpid)
{
    const struct topology_switch *sw = topology_switch(topology, dpid);
    for (int step = 0; step < 20; step++) {
        int i = unit_random_below(HOSTS);
        bool v6 = unit_random_below(2);
        struct in6_addr locator = locator_of(i, v6);
        struct eth_addr mac = build_probe(unit_random_below(4)
                                          ? i : unit_random_below(HOSTS),
                                          1, 1, 1).mac;
        const struct topology_attachment *host = topology_attachment(topology,
                                                                     &locator);
        uint32_t in = host && unit_random_below(2)
                      ? host->port : 1 + unit_random_below(PORTS);
        struct topology_end far;
        const struct topology_port *port = topology_port(topology, dpid, in);
        bool expected = !options.anti_spoofing
            || (port && topology_port_link(topology, sw, port, &far)
                && far.dpid != dpid)
            || (host && host->dpid == dpid && host->port == in
                && eth_addr_equals(mac, host->mac));
        CU_ASSERT_EQUAL(is_admitted(dpid, in, &mac, &locator), expected);
    }
}

/* Packets arrive where they should, from everywhere. */
static inline void
check_delivery(void)
{
    for (uint64_t from = 1; from <= SWITCHES; from++) {
        if (!topology_switch(topology, from)) {
            continue;
        }
        bool reached[SWITCHES + 1] = {false};
        flood(from, reached);
        check_hosts(from, reached);
        check_classes(from, reached);
        check_broadcast(from, reached);
        check_admission(from);
        /* Where no host may be, nothing is resolved. */
        if (topology_switch(topology, from)->n_host_ports
            && has_sal_nearby(reached)) {
            for (int s = 0; s < SERVICES; s++) {
                check_service(from, s, unit_random_below(2),
                              unit_random_below(2) ? 6 : 17, reached);
            }
            check_endpoints(from, reached);
        }
    }
}

#endif /* plan_delivery.h */
