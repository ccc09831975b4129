/* SPDX-License-Identifier: Apache-2.0 */
/* Which rules a switch should have. */
#include "controller/rules.h"

#include "controller/paths.h"
#include "controller/routes.h"
#include "controller/rule_table.h"
#include "controller/rules_ways.h"
#include "controller/topology.h"
#include "openvswitch/util.h"
#include "packets.h"
#include "util.h"

static void
put_simple(struct rule_table *table, enum rule_kind kind)
{
    struct rule rule = RULE_INIT(kind);
    rule_table_put(table, &rule);
}

static void
put_address(struct rule_table *table, enum rule_kind kind,
            const struct in6_addr *address, const struct eth_addr *mac)
{
    struct rule rule = RULE_INIT(kind);
    rule.address = *address;
    rule.mac = *mac;
    rule_table_put(table, &rule);
}

/* The rules that answer who has 'address'. */
static void
put_neighbour(struct rule_table *table, const struct in6_addr *address,
              const struct eth_addr *mac)
{
    if (IN6_IS_ADDR_V4MAPPED(address)) {
        put_address(table, RULE_ARP, address, mac);
    } else {
        put_address(table, RULE_ND, address, mac);
        put_address(table, RULE_ND_ANSWER, address, mac);
    }
}

static void
admit_host(const struct topology_attachment *host, struct rule_table *table)
{
    bool v4 = IN6_IS_ADDR_V4MAPPED(&host->locator);
    struct rule rule = RULE_INIT(v4 ? RULE_ADMIT_HOST : RULE_ADMIT_HOST6);

    rule.address = host->locator;
    rule.in_port = host->port;
    rule.source = host->mac;
    rule_table_put(table, &rule);
    if (v4) {
        rule.kind = RULE_ADMIT_ARP;
        rule_table_put(table, &rule);
    }
}

/* A host has to find the resolver before anybody knows the host. */
static void
compute_admission(const struct rules_config *config,
                  const struct paths *paths, uint32_t index,
                  struct rule_table *table)
{
    if (!config->anti_spoofing) {
        put_simple(table, RULE_ADMIT_ALL);
        return;
    }
    put_simple(table, RULE_ADMIT_ASK);
    if (rules_has_v6(config)) {
        put_simple(table, RULE_ADMIT_ASK6);
    }
    if (config->plain_hosts) {
        put_simple(table, RULE_LEARN);
        put_simple(table, RULE_ALIVE);
        put_simple(table, RULE_ALIVE6);
    } else if (rules_has_v6(config)) {
        put_simple(table, RULE_ADMIT_ND);
    }
    uint32_t port;
    for (size_t i = 0; (port = paths_link_port(paths, index, i)); i++) {
        struct rule rule = RULE_INIT(RULE_ADMIT_LINK);
        rule.in_port = port;
        rule_table_put(table, &rule);
    }
}

/* The routes of the path classes, where they differ from the default one.
 * Of a waypoint's two, the one for marked packets must not hide behind the
 * other. */
static void
put_classes(const struct rules_config *config, const struct paths *paths,
            uint32_t from, const struct rule *by_default,
            struct rules_destination d, struct rule_table *table)
{
    for (int i = 1; i <= PATH_CLASSES_MAX && paths_has_sal(paths, from); i++) {
        enum path_class_kind kind = paths_class_kind(paths, i);
        bool two = kind == PATH_CLASS_WAYPOINT;

        d.class = i;
        for (int marked = 0; kind != PATH_CLASS_NONE && marked <= two;
             marked++) {
            struct rule rule = RULE_INIT(by_default->kind);
            rule.address = by_default->address;
            rule.path_class = i | (marked ? RULE_MARKED_CLASS : 0);
            d.marked = marked;
            if (rules_send_towards(config, paths, from, &d, &rule)
                && (two || rule.port != by_default->port
                    || rule.flags != by_default->flags)) {
                rule_table_put(table, &rule);
            }
        }
    }
}

/* True if the way to the host may as well begin with config->rest_port. */
static bool
is_of_rest(const struct rules_config *config, const struct paths *paths,
           uint32_t from, const struct topology_attachment *host)
{
    uint32_t to = paths_index(paths, host->dpid);
    uint32_t hops[64];
    size_t n = from == to ? 0 : paths_next_hops(paths, from, to, hops,
                                                ARRAY_SIZE(hops));

    for (size_t i = 0; i < MIN(n, ARRAY_SIZE(hops)); i++) {
        if (hops[i] == config->rest_port) {
            return true;
        }
    }
    return false;
}

static void
put_rest(const struct rules_config *config, enum rule_kind kind,
         struct rule_table *table)
{
    struct rule rule = RULE_INIT(kind);

    rule.port = config->rest_port;
    rule_table_put(table, &rule);
}

static struct rules_destination
to_host(const struct topology_attachment *host)
{
    return rules_destination_at((struct topology_end) {host->dpid, host->port},
                                &host->locator);
}

void
rules_compute_host(const struct rules_config *config,
                   const struct paths *paths,
                   const struct topology_attachment *host, uint64_t dpid,
                   struct rule_table *table)
{
    uint32_t from = paths_index(paths, dpid);
    uint32_t v4 = locator_get_v4(&host->locator);
    /* Nobody is the resolver but the switches. */
    if (from == PATHS_NO_SWITCH || v4 == config->resolver_v4
        || ipv6_addr_equals(&host->locator, &config->resolver_v6)) {
        return;
    }
    struct rules_destination d = to_host(host);
    struct rule rule = RULE_INIT(v4 ? RULE_HOST : RULE_HOST6);
    if (!rules_send_towards(config, paths, from, &d, &rule)) {
        return;
    }
    rule.address = host->locator;
    if (config->rest_port && is_of_rest(config, paths, from, host)) {
        /* What the classes differ from; no group has this one port. */
        rule.port = config->rest_port;
        rule.flags &= ~RULE_VIA_GROUP;
    } else {
        rule_table_put(table, &rule);
    }
    put_classes(config, paths, from, &rule, d, table);
    put_neighbour(table, &host->locator, &host->mac);
    if (config->anti_spoofing && host->dpid == dpid) {
        admit_host(host, table);
    }
}

/* To all hosts, over a tree: those that nobody knows yet must be asked for. */
static void
put_flood(const struct paths *paths, uint32_t index, struct rule_table *table)
{
    uint32_t ports[1024];
    size_t n = MIN(paths_flood_ports(paths, index, ports, ARRAY_SIZE(ports)),
                   ARRAY_SIZE(ports));
    struct rule flood = RULE_INIT(RULE_FLOOD);

    if (!n) {
        return;
    }
    flood.port = ports[n - 1] / RULE_FLOOD_PORTS + 1;
    rule_table_put(table, &flood);
    for (size_t i = 0, chunk = 0; chunk < flood.port; chunk++) {
        struct rule rule = RULE_INIT(RULE_FLOOD_GROUP);
        rule.group = chunk;
        for (; i < n && ports[i] / RULE_FLOOD_PORTS == chunk; i++) {
            uint32_t bit = ports[i] % RULE_FLOOD_PORTS;
            rule.port_set[bit / 8] |= 1 << bit % 8;
        }
        rule_table_put(table, &rule);
    }
}

static void
put_resolution(struct rule_table *table, enum rule_kind probe,
               enum rule_kind resolve, enum rule_kind guard)
{
    put_simple(table, probe);
    put_simple(table, resolve);
    put_simple(table, guard);
}

static void
put_uplink(struct rule_table *table, const struct paths *paths,
           uint32_t index, enum rule_kind probe, enum rule_kind uplink)
{
    uint32_t sal = paths_nearest_sal(paths, index);

    put_simple(table, probe);
    if (sal != PATHS_NO_SWITCH) {
        struct rule rule = RULE_INIT(uplink);
        rule.port = paths_next_hop(paths, index, sal);
        rule_table_put(table, &rule);
    }
}

void
rules_compute_base(const struct rules_config *config,
                   const struct paths *paths, uint64_t dpid,
                   struct rule_table *table)
{
    uint32_t index = paths_index(paths, dpid);
    if (index == PATHS_NO_SWITCH) {
        return;
    }
    put_simple(table, RULE_LINK_PROBE);
    compute_admission(config, paths, index, table);
    put_simple(table, RULE_DEFAULT);
    put_simple(table, RULE_ARP_PROBE);
    put_simple(table, RULE_ND_PROBE);
    if (config->plain_hosts) {
        put_flood(paths, index, table);
    } else {
        put_simple(table, RULE_ND_UNKNOWN);
    }

    struct in6_addr resolver = locator_from_v4(config->resolver_v4);
    bool v6 = rules_has_v6(config);
    if (paths_has_sal(paths, index)) {
        put_simple(table, RULE_SERVICE_MISS);
        put_resolution(table, RULE_HOST_PROBE, RULE_RESOLVE, RULE_GUARD);
        if (v6) {
            put_resolution(table, RULE_HOST_PROBE6, RULE_RESOLVE6,
                           RULE_GUARD6);
        }
    } else {
        put_uplink(table, paths, index, RULE_STOCK_PROBE, RULE_UPLINK);
        if (v6) {
            put_uplink(table, paths, index, RULE_STOCK_PROBE6, RULE_UPLINK6);
        }
    }
    if (config->rest_port) {
        put_rest(config, RULE_REST, table);
        put_rest(config, RULE_REST6, table);
    }
    put_neighbour(table, &resolver, &config->resolver_mac);
    if (v6) {
        put_neighbour(table, &config->resolver_v6, &config->resolver_mac);
    }
}

void
rules_compute_forwarding(const struct rules_config *config,
                         const struct topology *topology,
                         const struct paths *paths, uint64_t dpid,
                         struct rule_table *table)
{
    const struct topology_switch *sw = topology_switch(topology, dpid);
    const struct topology_attachment *host;

    rules_compute_base(config, paths, dpid, table);
    rules_compute_groups(config, paths, dpid, NULL, table);
    if (sw) {
        rules_compute_meters(config, sw, table);
    }
    TOPOLOGY_FOR_EACH_ATTACHMENT (host, topology) {
        rules_compute_host(config, paths, host, dpid, table);
    }
}

/* True if the switch behind the port will choose like us. */
static bool
chooses_alike(const struct paths *paths, uint32_t from, uint32_t port,
              const struct route *route)
{
    uint32_t next = paths_neighbour(paths, from, port);
    return next != PATHS_NO_SWITCH && paths_resolves(paths, next)
           && route_is_at(route, paths_dpid(paths, next));
}

/* The same of all that the rule may send to. */
static bool
is_handed_on(const struct rules_config *config, const struct paths *paths,
             uint32_t from, const struct rules_destination *d,
             const struct route *route, const struct rule *rule)
{
    uint16_t ports[RULE_GROUP_PORTS_MAX];

    if (!config->hop_by_hop || rule->flags & RULE_MARK) {
        return false;
    }
    size_t n = rules_ports_of(paths, from, d, rule, ports);
    for (size_t i = 0; i < n; i++) {
        if (!chooses_alike(paths, from, ports[i], route)) {
            return false;
        }
    }
    return n > 0;
}

struct rule
rules_service_key(const struct service_routes *service,
                  const struct route *route)
{
    struct rule key = RULE_INIT(route->v6 ? RULE_SERVICE6 : RULE_SERVICE);

    key.prefix_len = service->prefix.len;
    key.service = service->prefix.id;
    key.protocol = route->protocol;
    return key;
}

/* A route as one switch has it. */
struct local_route {
    const struct rules_config *config;
    const struct paths *paths;
    uint32_t from;
    const struct service_routes *service;
    const struct route *route;
};

/* What all tiles of the target have in common; RULE_NONE if there is no way to
 * it. */
static struct rule
compute_target(const struct local_route *local,
               const struct route_target *target)
{
    struct rule rule = rules_service_key(local->service, local->route);
    struct rules_destination d = rules_destination_at(
        (struct topology_end) {target->dpid, target->port},
        &target->locator);

    d.class = local->service->path_class;
    rule.target = target->locator;
    rule.mac = target->mac;
    if (!rules_send_towards(local->config, local->paths, local->from, &d,
                            &rule)) {
        return RULE_INIT(RULE_NONE);
    }
    if (is_handed_on(local->config, local->paths, local->from, &d,
                     local->route, &rule)) {
        memset(&rule.target, 0, sizeof rule.target);
        memset(&rule.mac, 0, sizeof rule.mac);
        rule.flags |= RULE_ONWARD;
    }
    return rule;
}

static void
compute_route(const struct local_route *local, struct rule_table *table)
{
    const struct route *route = local->route;
    struct rule stub[16], *rules = stub; /* One a target. */

    if (route->n_targets > ARRAY_SIZE(stub)) {
        rules = xmalloc(route->n_targets * sizeof *rules);
    }
    for (size_t i = 0; i < route->n_targets; i++) {
        rules[i] = compute_target(local, &route->targets[i]);
    }
    for (size_t i = 0; i < route->tiling.n; i++) {
        const struct tile *tile = &route->tiling.tiles[i];
        struct rule *rule
            = &rules[route_target(route, tile->key) - route->targets];
        if (rule->kind != RULE_NONE) {
            rule->tile_bits = tile->bits;
            rule->tile_value = tile->value;
            rule_table_put(table, rule);
        }
    }
    if (rules != stub) {
        free(rules);
    }
}

void
rules_compute_service(const struct rules_config *config,
                      const struct paths *paths,
                      const struct service_routes *service, uint64_t dpid,
                      struct rule_table *table)
{
    uint32_t from = paths_index(paths, dpid);
    if (from == PATHS_NO_SWITCH || !paths_resolves(paths, from)) {
        return;
    }
    for (size_t i = 0; i < service->n_routes; i++) {
        const struct route *route = service->routes[i];
        if (route_is_at(route, dpid)) {
            const struct local_route local = {config, paths, from, service,
                                              route};
            compute_route(&local, table);
        }
    }
}

void
rules_compute_endpoint(const struct rules_config *config,
                       const struct paths *paths,
                       const struct topology_attachment *host, uint64_t dpid,
                       struct rule_table *table)
{
    uint32_t from = paths_index(paths, dpid);
    if (host->plain || from == PATHS_NO_SWITCH
        || !paths_resolves(paths, from)) {
        return;
    }
    bool v6 = !IN6_IS_ADDR_V4MAPPED(&host->locator);
    struct rule rule = RULE_INIT(v6 ? RULE_ENDPOINT6 : RULE_ENDPOINT);
    struct rules_destination d = to_host(host);
    struct service_prefix prefix;

    service_prefix_of_endpoint(host->endpoint.bytes, &prefix);
    rule.service = prefix.id;
    rule.prefix_len = prefix.len;
    rule.target = host->locator;
    rule.mac = host->mac;
    if (rules_send_towards(config, paths, from, &d, &rule)) {
        rule_table_put(table, &rule);
    }
}
