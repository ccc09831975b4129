/* SPDX-License-Identifier: Apache-2.0 */
/* What a rule is, and which rules a switch should have.  The OpenFlow side is
 * in rules_flow.c. */
#include "controller/rules.h"

#include "controller/paths.h"
#include "controller/routes.h"
#include "controller/rule_table.h"
#include "controller/topology.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/util.h"
#include "hash.h"
#include "packets.h"
#include "util.h"

static const struct kind {
    const char *name;
    uint8_t table;
    uint16_t priority;
    enum sal_cookie_kind cookie;
} kinds[RULE_N_KINDS] = {
    [RULE_LINK_PROBE] = {"link-probe", SAL_TABLE_ADMIT,
                         SAL_PRIORITY_LINK_PROBE, SAL_COOKIE_ADMIT},
    [RULE_ADMIT_ALL] = {"admit-all", SAL_TABLE_ADMIT, SAL_PRIORITY_ADMIT_ALL,
                        SAL_COOKIE_ADMIT},
    [RULE_ADMIT_ASK] = {"admit-ask", SAL_TABLE_ADMIT, SAL_PRIORITY_ADMIT_ASK,
                        SAL_COOKIE_ADMIT},
    [RULE_ADMIT_ASK6] = {"admit-ask6", SAL_TABLE_ADMIT,
                         SAL_PRIORITY_ADMIT_ASK, SAL_COOKIE_ADMIT},
    [RULE_LEARN] = {"learn", SAL_TABLE_ADMIT, SAL_PRIORITY_LEARN,
                    SAL_COOKIE_LEARN},
    [RULE_ALIVE] = {"alive", SAL_TABLE_ADMIT, SAL_PRIORITY_HOST_PROBE,
                    SAL_COOKIE_LEARN},
    [RULE_ALIVE6] = {"alive6", SAL_TABLE_ADMIT, SAL_PRIORITY_HOST_PROBE,
                     SAL_COOKIE_LEARN},
    [RULE_FLOOD] = {"flood", SAL_TABLE_FORWARD, SAL_PRIORITY_FLOOD,
                    SAL_COOKIE_HOST},
    [RULE_ADMIT_ND] = {"admit-nd", SAL_TABLE_ADMIT, SAL_PRIORITY_ADMIT_ASK,
                       SAL_COOKIE_ADMIT},
    [RULE_ADMIT_LINK] = {"admit-link", SAL_TABLE_ADMIT,
                         SAL_PRIORITY_ADMIT_LINK, SAL_COOKIE_ADMIT},
    [RULE_ADMIT_ARP] = {"admit-arp", SAL_TABLE_ADMIT, SAL_PRIORITY_ADMIT_HOST,
                        SAL_COOKIE_ADMIT},
    [RULE_ADMIT_HOST] = {"admit-host", SAL_TABLE_ADMIT,
                         SAL_PRIORITY_ADMIT_HOST, SAL_COOKIE_ADMIT},
    [RULE_ADMIT_HOST6] = {"admit-host", SAL_TABLE_ADMIT,
                          SAL_PRIORITY_ADMIT_HOST, SAL_COOKIE_ADMIT},
    [RULE_HOST_PROBE] = {"host-probe", SAL_TABLE_ADMIT,
                         SAL_PRIORITY_HOST_PROBE, SAL_COOKIE_ADMIT},
    [RULE_HOST_PROBE6] = {"host-probe6", SAL_TABLE_ADMIT,
                          SAL_PRIORITY_HOST_PROBE, SAL_COOKIE_ADMIT},
    [RULE_STOCK_PROBE6] = {"stock-probe6", SAL_TABLE_ADMIT,
                           SAL_PRIORITY_HOST_PROBE, SAL_COOKIE_ADMIT},
    [RULE_STOCK_PROBE] = {"stock-probe", SAL_TABLE_ADMIT,
                          SAL_PRIORITY_HOST_PROBE, SAL_COOKIE_ADMIT},
    [RULE_ARP] = {"arp", SAL_TABLE_CLASSIFY, SAL_PRIORITY_ARP,
                  SAL_COOKIE_ARP},
    [RULE_ARP_PROBE] = {"arp-probe", SAL_TABLE_CLASSIFY,
                        SAL_PRIORITY_ARP_PROBE, SAL_COOKIE_ARP},
    [RULE_ND] = {"nd", SAL_TABLE_CLASSIFY, SAL_PRIORITY_ARP, SAL_COOKIE_ARP},
    [RULE_ND_PROBE] = {"nd-probe", SAL_TABLE_CLASSIFY, SAL_PRIORITY_ARP_PROBE,
                       SAL_COOKIE_ARP},
    [RULE_ND_UNKNOWN] = {"nd-unknown", SAL_TABLE_CLASSIFY,
                         SAL_PRIORITY_ND_UNKNOWN, SAL_COOKIE_ARP},
    [RULE_ND_ANSWER] = {"nd-answer", SAL_TABLE_ND, SAL_PRIORITY_ND,
                        SAL_COOKIE_ARP},
    [RULE_DEFAULT] = {"default", SAL_TABLE_CLASSIFY, SAL_PRIORITY_DEFAULT,
                      SAL_COOKIE_CLASSIFY},
    [RULE_RESOLVE] = {"resolve", SAL_TABLE_CLASSIFY, SAL_PRIORITY_RESOLVE,
                      SAL_COOKIE_CLASSIFY},
    [RULE_RESOLVE6] = {"resolve6", SAL_TABLE_CLASSIFY, SAL_PRIORITY_RESOLVE,
                       SAL_COOKIE_CLASSIFY},
    [RULE_GUARD6] = {"guard6", SAL_TABLE_CLASSIFY, SAL_PRIORITY_GUARD,
                     SAL_COOKIE_CLASSIFY},
    [RULE_UPLINK6] = {"uplink6", SAL_TABLE_CLASSIFY, SAL_PRIORITY_RESOLVE,
                      SAL_COOKIE_CLASSIFY},
    [RULE_GUARD] = {"guard", SAL_TABLE_CLASSIFY, SAL_PRIORITY_GUARD,
                    SAL_COOKIE_CLASSIFY},
    [RULE_UPLINK] = {"uplink", SAL_TABLE_CLASSIFY, SAL_PRIORITY_RESOLVE,
                     SAL_COOKIE_CLASSIFY},
    [RULE_SERVICE] = {"service", SAL_TABLE_SERVICE, 0, SAL_COOKIE_SERVICE},
    [RULE_SERVICE6] = {"service6", SAL_TABLE_SERVICE, 0, SAL_COOKIE_SERVICE},
    [RULE_ENDPOINT] = {"endpoint", SAL_TABLE_SERVICE, 0, SAL_COOKIE_ENDPOINT},
    [RULE_ENDPOINT6] = {"endpoint6", SAL_TABLE_SERVICE, 0,
                        SAL_COOKIE_ENDPOINT},
    [RULE_SERVICE_MISS] = {"service-miss", SAL_TABLE_SERVICE,
                           SAL_PRIORITY_SERVICE_MISS, SAL_COOKIE_MISS},
    [RULE_HOST] = {"host", SAL_TABLE_FORWARD, SAL_PRIORITY_HOST,
                   SAL_COOKIE_HOST},
    [RULE_HOST6] = {"host", SAL_TABLE_FORWARD, SAL_PRIORITY_HOST,
                    SAL_COOKIE_HOST},
    [RULE_REST] = {"rest", SAL_TABLE_FORWARD, SAL_PRIORITY_REST,
                   SAL_COOKIE_HOST},
    [RULE_REST6] = {"rest6", SAL_TABLE_FORWARD, SAL_PRIORITY_REST,
                    SAL_COOKIE_HOST},
    /* As if in a table behind all others: there before what refers to it, gone
     * after. */
    [RULE_GROUP] = {"group", UINT8_MAX, 0, 0},
    [RULE_FLOOD_GROUP] = {"flood-group", UINT8_MAX, 0, 0},
};

static bool
is_kind(const struct rule *rule)
{
    return rule->kind > RULE_NONE && rule->kind < RULE_N_KINDS;
}

uint8_t
rule_table_id(const struct rule *rule)
{
    if (!is_kind(rule)) {
        return rule->kind == RULE_FOREIGN ? rule->foreign.table : 0;
    }
    return kinds[rule->kind].table;
}

uint16_t
rule_priority(const struct rule *rule)
{
    if (!is_kind(rule)) {
        return rule->kind == RULE_FOREIGN ? rule->foreign.priority : 0;
    }
    if (rule_has_target(rule)) {
        return SAL_PRIORITY_SERVICE(rule->prefix_len);
    }
    return rule->path_class & RULE_MARKED_CLASS ? SAL_PRIORITY_HOST_MARKED
           : rule->path_class ? SAL_PRIORITY_HOST_CLASS
           : kinds[rule->kind].priority;
}

uint64_t
rule_cookie(const struct rule *rule)
{
    if (!is_kind(rule)) {
        return rule->kind == RULE_FOREIGN ? rule->foreign.cookie : 0;
    }
    return SAL_COOKIE(kinds[rule->kind].cookie, rule->kind);
}

/* Desired rules. */

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

static uint32_t
mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a ^ b << 32 ^ b >> 32) * 0x9e3779b97f4a7c15ULL;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93ULL;
    return x >> 32;
}

/* What spreads hosts over equal ways. */
static uint32_t
locator_salt(const struct in6_addr *locator)
{
    return ntohl(locator->s6_addr32[3]);
}

/* Stores up to 'max' of the equal next hops of 'from' towards 'to', in the
 * order in which traffic of 'salt' prefers them.  Rendezvous hashing: if one
 * goes, only its own traffic moves.  The switch is in the hash, or those of
 * the next layer would get only traffic that all chooses alike
 * (polarisation). */
static size_t
preferred_hops(const struct paths *paths, uint32_t from, uint32_t to,
               uint32_t salt, uint16_t ports[], size_t max)
{
    uint32_t hops[64], weights[64];
    size_t n = paths_next_hops(paths, from, to, hops, ARRAY_SIZE(hops));
    uint64_t here = paths_dpid(paths, from);

    n = MIN(n, ARRAY_SIZE(hops));
    for (size_t i = 0; i < n; i++) {
        weights[i] = mix(here, (uint64_t) salt << 32 | hops[i]);
    }
    max = MIN(max, n);
    for (size_t i = 0; i < max; i++) {
        size_t best = 0;
        for (size_t j = 1; j < n; j++) {
            if (weights[j] > weights[best]) {
                best = j;
            }
        }
        ports[i] = hops[best];
        hops[best] = hops[--n];
        weights[best] = weights[n];
    }
    return max;
}

/* Stock switches may know no fast failover. */
static bool
uses_groups(const struct rules_config *config, const struct paths *paths,
            uint32_t index)
{
    return config->groups && paths_has_sal(paths, index);
}

/* Where a rule is to send to, and how. */
struct destination {
    struct topology_end at;
    uint32_t salt;  /* Spreads over equal ways. */
    uint8_t class;  /* Of the path. */
    bool marked;    /* Its waypoint is behind us. */
};

static struct destination
to_host(const struct topology_attachment *host)
{
    return (struct destination) {.at = {host->dpid, host->port},
                                 .salt = locator_salt(&host->locator)};
}

/* The way of what is to go to 'd'.  False if there is none. */
static bool
find_way(const struct paths *paths, uint32_t from,
         const struct destination *d, struct paths_way *ret_way)
{
    uint32_t to = paths_index(paths, d->at.dpid);

    if (to == PATHS_NO_SWITCH
        || paths_distance(paths, from, to) == PATHS_UNREACHABLE) {
        return false;
    }
    *ret_way = paths_way(paths, d->class, d->marked, from, to);
    return true;
}

static uint32_t
variant_of(uint32_t salt)
{
    return mix(salt, 0) % PATHS_GROUP_VARIANTS;
}

/* Directs the rule to what is attached to a port.  False if there is no
 * way. */
static bool
send_towards(const struct rules_config *config, const struct paths *paths,
             uint32_t from, const struct destination *d, struct rule *rule)
{
    struct paths_way way;
    uint16_t hop;

    if (!find_way(paths, from, d, &way)) {
        return false;
    }
    if (way.mark) {
        rule->flags |= RULE_MARK | d->class << RULE_MARK_CLASS_SHIFT;
    }
    if (way.to == from) {
        rule->port = d->at.port;
    } else if (uses_groups(config, paths, from)
               && (way.class || paths_has_hosts(paths, way.to))) {
        rule->port = paths_group(paths, way.class, way.to)
                     + variant_of(d->salt);
        rule->flags |= RULE_VIA_GROUP;
    } else if (preferred_hops(way.paths, from, way.to, d->salt, &hop, 1)) {
        rule->port = hop;
    }
    return rule->port != 0;
}

/* What a group sends to, in that order.  Equal next hops protect each other; a
 * single one is protected by a loop-free alternate, where there is one. */
static size_t
group_ports(const struct paths_way *way, uint32_t from, uint32_t variant,
            uint16_t ports[RULE_GROUP_PORTS_MAX])
{
    size_t n = preferred_hops(way->paths, from, way->to, variant, ports,
                              RULE_GROUP_PORTS_MAX);
    if (n == 1) {
        ports[1] = paths_alternate(way->paths, from, way->to, ports[0]);
        n += ports[1] != 0;
    }
    return n;
}

static void
put_groups(const struct paths *paths, const struct paths_way *way,
           uint32_t from, struct rule_table *table)
{
    for (uint32_t v = 0; v < PATHS_GROUP_VARIANTS; v++) {
        struct rule rule = RULE_INIT(RULE_GROUP);
        if (group_ports(way, from, v, rule.ports)) {
            rule.group = paths_group(paths, way->class, way->to) + v;
            rule_table_put(table, &rule);
        }
    }
}

/* What a class needs besides the groups of the default graph. */
static void
put_class_groups(const struct paths *paths, uint8_t class, uint32_t from,
                 uint32_t to, struct rule_table *table)
{
    bool two = paths_class_kind(paths, class) == PATH_CLASS_WAYPOINT;

    for (int marked = 0; marked <= two; marked++) {
        struct paths_way way = paths_way(paths, class, marked, from, to);
        if (way.class) {
            put_groups(paths, &way, from, table);
        }
    }
}

bool
rules_uses_groups(const struct rules_config *config,
                  const struct paths *paths, uint64_t dpid)
{
    uint32_t index = paths_index(paths, dpid);
    return index != PATHS_NO_SWITCH && uses_groups(config, paths, index);
}

void
rules_compute_groups(const struct rules_config *config,
                     const struct paths *paths, uint64_t dpid,
                     const bool towards[], struct rule_table *table)
{
    uint32_t from = paths_index(paths, dpid);
    if (from == PATHS_NO_SWITCH || !uses_groups(config, paths, from)) {
        return;
    }
    for (uint32_t to = 0; to < paths_n_switches(paths); to++) {
        if (!paths_has_hosts(paths, to) || (towards && !towards[to])) {
            continue;
        }
        const struct paths_way way = {.paths = paths, .to = to};
        put_groups(paths, &way, from, table);
        for (int class = 1; class <= PATH_CLASSES_MAX; class++) {
            if (paths_class_kind(paths, class) != PATH_CLASS_NONE) {
                put_class_groups(paths, class, from, to, table);
            }
        }
    }
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
            struct destination d, struct rule_table *table)
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
            if (send_towards(config, paths, from, &d, &rule)
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
    struct destination d = to_host(host);
    struct rule rule = RULE_INIT(v4 ? RULE_HOST : RULE_HOST6);
    if (!send_towards(config, paths, from, &d, &rule)) {
        return;
    }
    rule.address = host->locator;
    if (config->rest_port && is_of_rest(config, paths, from, host)) {
        rule.port = config->rest_port;
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
    const struct topology_attachment *host;

    rules_compute_base(config, paths, dpid, table);
    rules_compute_groups(config, paths, dpid, NULL, table);
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
             uint32_t from, const struct destination *d,
             const struct route *route, const struct rule *rule)
{
    uint16_t ports[RULE_GROUP_PORTS_MAX];
    struct paths_way way;

    if (!config->hop_by_hop || rule->flags & RULE_MARK) {
        return false;
    }
    if (!(rule->flags & RULE_VIA_GROUP)) {
        return chooses_alike(paths, from, rule->port, route);
    }
    if (!find_way(paths, from, d, &way)) {
        return false;
    }
    size_t n = group_ports(&way, from, variant_of(d->salt), ports);
    for (size_t i = 0; i < n; i++) {
        if (!chooses_alike(paths, from, ports[i], route)) {
            return false;
        }
    }
    return n > 0;
}

static void
compute_route(const struct rules_config *config, const struct paths *paths,
              uint32_t from, const struct route *route,
              const struct service_routes *service, struct rule_table *table)
{
    struct rule template = RULE_INIT(route->v6 ? RULE_SERVICE6
                                               : RULE_SERVICE);
    template.prefix_len = service->prefix.len;
    template.service = service->prefix.id;
    template.protocol = route->protocol;
    for (size_t i = 0; i < route->tiling.n; i++) {
        const struct tile *tile = &route->tiling.tiles[i];
        const struct route_target *target = route_target(route, tile->key);
        const struct destination d = {
            .at = {target->dpid, target->port},
            .salt = locator_salt(&target->locator),
            .class = service->path_class,
        };
        struct rule rule = template;

        rule.tile_bits = tile->bits;
        rule.tile_value = tile->value;
        rule.target = target->locator;
        rule.mac = target->mac;
        if (!send_towards(config, paths, from, &d, &rule)) {
            continue;
        }
        if (is_handed_on(config, paths, from, &d, route, &rule)) {
            memset(&rule.target, 0, sizeof rule.target);
            memset(&rule.mac, 0, sizeof rule.mac);
            rule.flags |= RULE_ONWARD;
        }
        rule_table_put(table, &rule);
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
            compute_route(config, paths, from, route, service, table);
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
    struct destination d = to_host(host);
    struct service_prefix prefix;

    service_prefix_of_endpoint(host->endpoint.bytes, &prefix);
    rule.service = prefix.id;
    rule.prefix_len = prefix.len;
    rule.target = host->locator;
    rule.mac = host->mac;
    if (send_towards(config, paths, from, &d, &rule)) {
        rule_table_put(table, &rule);
    }
}

/* Text. */

static void
format_address(const struct rule *rule, struct ds *s)
{
    ipv6_format_mapped(&rule->address, s);
}

static void
format_service(const struct rule *rule, struct ds *s)
{
    struct service_prefix prefix = {rule->service, rule->prefix_len};
    char buf[SERVICE_PREFIX_STRLEN];

    ds_put_format(s, " %s protocol %u udp_src=%u/%u -> ",
                  service_prefix_format(&prefix, buf), rule->protocol,
                  rule->tile_value, rule->tile_bits);
    if (rule->flags & RULE_ONWARD) {
        ds_put_cstr(s, "the next switch");
    } else {
        ipv6_format_mapped(&rule->target, s);
        ds_put_format(s, " "ETH_ADDR_FMT, ETH_ADDR_ARGS(rule->mac));
    }
}

void
rule_format(const struct rule *rule, struct ds *s)
{
    ds_put_format(s, "table %u priority %u %s", rule_table_id(rule),
                  rule_priority(rule),
                  is_kind(rule) ? kinds[rule->kind].name : "foreign");
    switch (rule->kind) {
    case RULE_ARP:
    case RULE_ND:
    case RULE_ND_ANSWER:
        ds_put_char(s, ' ');
        format_address(rule, s);
        ds_put_format(s, " is at "ETH_ADDR_FMT, ETH_ADDR_ARGS(rule->mac));
        break;
    case RULE_HOST:
    case RULE_HOST6:
        ds_put_char(s, ' ');
        format_address(rule, s);
        if (rule->path_class) {
            ds_put_format(s, " path class %d%s",
                          rule->path_class & SAL_PATH_CLASS_MASK,
                          rule->path_class & RULE_MARKED_CLASS
                          ? " behind its waypoint" : "");
        }
        break;
    case RULE_ADMIT_ARP:
    case RULE_ADMIT_HOST:
    case RULE_ADMIT_HOST6:
        ds_put_char(s, ' ');
        format_address(rule, s);
        ds_put_format(s, " "ETH_ADDR_FMT, ETH_ADDR_ARGS(rule->source));
        ds_put_format(s, " from port %"PRIu32, rule->in_port);
        break;
    case RULE_ADMIT_LINK:
        ds_put_format(s, " from port %"PRIu32, rule->in_port);
        break;
    case RULE_SERVICE:
    case RULE_SERVICE6:
    case RULE_ENDPOINT:
    case RULE_ENDPOINT6:
        format_service(rule, s);
        break;
    default:
        break;
    }
    if (rule->kind == RULE_FLOOD_GROUP) {
        ds_put_format(s, " %"PRIu32" ports", rule->group);
        for (int i = 0; i < RULE_FLOOD_PORTS; i++) {
            if (rule->port_set[i / 8] & 1 << i % 8) {
                ds_put_format(s, " %"PRIu32,
                              rule->group * RULE_FLOOD_PORTS + i);
            }
        }
    } else if (rule->kind == RULE_FLOOD) {
        ds_put_format(s, " by %"PRIu32" groups", rule->port);
    } else if (rule->kind == RULE_GROUP) {
        ds_put_format(s, " %#"PRIx32" ports", rule->group);
        for (int i = 0; i < RULE_GROUP_PORTS_MAX && rule->ports[i]; i++) {
            ds_put_format(s, " %u", rule->ports[i]);
        }
    } else if (rule->flags & RULE_VIA_GROUP) {
        ds_put_format(s, " group %#"PRIx32, rule->port);
    } else if (rule->port) {
        ds_put_format(s, " port %"PRIu32, rule->port);
    }
    if (!rule_is_group(rule) && rule->flags & RULE_MARK) {
        ds_put_cstr(s, ", the waypoint");
    }
    if (rule->flags & RULE_STALE) {
        ds_put_cstr(s, " (stale)");
    }
}
