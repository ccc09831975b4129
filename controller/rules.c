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
    [RULE_LINK_PROBE] = {"link-probe", SAL_TABLE_CLASSIFY,
                         SAL_PRIORITY_LINK_PROBE, SAL_COOKIE_CLASSIFY},
    [RULE_ARP] = {"arp", SAL_TABLE_CLASSIFY, SAL_PRIORITY_ARP,
                  SAL_COOKIE_ARP},
    [RULE_ARP_PROBE] = {"arp-probe", SAL_TABLE_CLASSIFY, SAL_PRIORITY_ARP_PROBE,
                        SAL_COOKIE_ARP},
    [RULE_ND] = {"nd", SAL_TABLE_CLASSIFY, SAL_PRIORITY_ARP, SAL_COOKIE_ARP},
    [RULE_ND_PROBE] = {"nd-probe", SAL_TABLE_CLASSIFY, SAL_PRIORITY_ARP_PROBE,
                       SAL_COOKIE_ARP},
    [RULE_ND_ANSWER] = {"nd-answer", SAL_TABLE_ND, SAL_PRIORITY_ND,
                        SAL_COOKIE_ARP},
    [RULE_DEFAULT] = {"default", SAL_TABLE_CLASSIFY, SAL_PRIORITY_DEFAULT,
                      SAL_COOKIE_CLASSIFY},
    [RULE_HOST_PROBE] = {"host-probe", SAL_TABLE_CLASSIFY,
                         SAL_PRIORITY_HOST_PROBE, SAL_COOKIE_CLASSIFY},
    [RULE_RESOLVE] = {"resolve", SAL_TABLE_CLASSIFY, SAL_PRIORITY_RESOLVE,
                      SAL_COOKIE_CLASSIFY},
    [RULE_GUARD] = {"guard", SAL_TABLE_CLASSIFY, SAL_PRIORITY_GUARD,
                    SAL_COOKIE_CLASSIFY},
    [RULE_STOCK_PROBE] = {"stock-probe", SAL_TABLE_CLASSIFY,
                          SAL_PRIORITY_HOST_PROBE, SAL_COOKIE_CLASSIFY},
    [RULE_UPLINK] = {"uplink", SAL_TABLE_CLASSIFY, SAL_PRIORITY_RESOLVE,
                     SAL_COOKIE_CLASSIFY},
    [RULE_SERVICE] = {"service", SAL_TABLE_SERVICE, 0, SAL_COOKIE_SERVICE},
    [RULE_SERVICE_MISS] = {"service-miss", SAL_TABLE_SERVICE,
                           SAL_PRIORITY_SERVICE_MISS, SAL_COOKIE_MISS},
    [RULE_HOST] = {"host", SAL_TABLE_FORWARD, SAL_PRIORITY_HOST,
                   SAL_COOKIE_HOST},
    [RULE_HOST6] = {"host", SAL_TABLE_FORWARD, SAL_PRIORITY_HOST,
                    SAL_COOKIE_HOST},
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
    return rule->kind == RULE_SERVICE ? SAL_PRIORITY_SERVICE(rule->prefix_len)
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
            const struct in6_addr *address, const struct eth_addr *mac,
            uint32_t port)
{
    struct rule rule = RULE_INIT(kind);
    rule.address = *address;
    rule.port = port;
    if (mac) {
        rule.mac = *mac;
    }
    rule_table_put(table, &rule);
}

/* The port of 'from' towards what is attached to 'port' of 'dpid'.  Where
 * several next hops are equal, hosts are spread over them by 'salt'.  0 if
 * there is no way. */
static uint32_t
port_towards(const struct paths *paths, uint32_t from, uint64_t dpid,
             uint32_t port, uint32_t salt)
{
    uint32_t to = paths_index(paths, dpid);
    if (to == from) {
        return port;
    }
    if (to == PATHS_NO_SWITCH) {
        return 0;
    }
    uint32_t ports[16];
    size_t n = paths_next_hops(paths, from, to, ports, ARRAY_SIZE(ports));
    n = MIN(n, ARRAY_SIZE(ports));
    /* The switch is in the hash, or the switches of the next layer would get
     * only hosts that all choose alike (polarisation).  Multiplication by an
     * odd constant is a bijection; the high half is well mixed. */
    uint64_t mix = (paths_dpid(paths, from) << 32 ^ salt)
                   * 0x9e3779b97f4a7c15ULL;
    return n ? ports[(mix >> 32) % n] : 0;
}

/* The rules that answer who has 'address'. */
static void
put_neighbour(struct rule_table *table, const struct in6_addr *address,
              const struct eth_addr *mac)
{
    if (IN6_IS_ADDR_V4MAPPED(address)) {
        put_address(table, RULE_ARP, address, mac, 0);
    } else {
        put_address(table, RULE_ND, address, mac, 0);
        put_address(table, RULE_ND_ANSWER, address, mac, 0);
    }
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
    uint32_t salt = v4 ? v4 : ntohl(host->locator.s6_addr32[3]);
    uint32_t port = port_towards(paths, from, host->dpid, host->port, salt);
    if (!port) {
        return;
    }
    put_neighbour(table, &host->locator, &host->mac);
    put_address(table, v4 ? RULE_HOST : RULE_HOST6, &host->locator, NULL,
                port);
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
    put_simple(table, RULE_DEFAULT);
    put_simple(table, RULE_ARP_PROBE);
    put_simple(table, RULE_ND_PROBE);

    struct in6_addr resolver = locator_from_v4(config->resolver_v4);
    uint32_t sal = paths_nearest_sal(paths, index);
    if (paths_has_sal(paths, index)) {
        put_simple(table, RULE_HOST_PROBE);
        put_simple(table, RULE_RESOLVE);
        put_simple(table, RULE_GUARD);
        put_simple(table, RULE_SERVICE_MISS);
    } else {
        put_simple(table, RULE_STOCK_PROBE);
        if (sal != PATHS_NO_SWITCH) {
            uint32_t port = paths_next_hop(paths, index, sal);
            put_address(table, RULE_UPLINK, &in6addr_any, NULL, port);
        }
    }
    put_neighbour(table, &resolver, &config->resolver_mac);
    if (!IN6_IS_ADDR_UNSPECIFIED(&config->resolver_v6)) {
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
    TOPOLOGY_FOR_EACH_ATTACHMENT (host, topology) {
        rules_compute_host(config, paths, host, dpid, table);
    }
}

static void
compute_route(const struct service_routes *service, const struct route *route,
              const struct paths *paths, uint32_t from,
              struct rule_table *table)
{
    for (size_t i = 0; i < route->tiling.n; i++) {
        const struct tile *tile = &route->tiling.tiles[i];
        const struct route_target *target = route_target(route, tile->key);
        struct rule rule = RULE_INIT(RULE_SERVICE);

        rule.protocol = route->protocol;
        rule.tile_bits = tile->bits;
        rule.tile_value = tile->value;
        rule.prefix_len = service->prefix.len;
        rule.service = service->prefix.id;
        rule.target_v4 = target->locator_v4;
        rule.mac = target->mac;
        rule.port = port_towards(paths, from, target->dpid, target->port,
                                 target->locator_v4);
        if (rule.port) {
            rule_table_put(table, &rule);
        }
    }
}

void
rules_compute_service(const struct service_routes *service,
                      const struct paths *paths, uint64_t dpid,
                      struct rule_table *table)
{
    uint32_t from = paths_index(paths, dpid);
    if (from == PATHS_NO_SWITCH || !paths_resolves(paths, from)) {
        return;
    }
    for (size_t i = 0; i < service->n_routes; i++) {
        const struct route *route = service->routes[i];
        if (route == route_at(service, dpid, route->protocol)) {
            compute_route(service, route, paths, from, table);
        }
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

    ds_put_format(s, " %s protocol %u udp_src=%u/%u -> "IP_FMT" "ETH_ADDR_FMT,
                  service_prefix_format(&prefix, buf), rule->protocol,
                  rule->tile_value, rule->tile_bits,
                  IP_ARGS(htonl(rule->target_v4)), ETH_ADDR_ARGS(rule->mac));
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
        break;
    case RULE_SERVICE:
        format_service(rule, s);
        break;
    default:
        break;
    }
    if (rule->port) {
        ds_put_format(s, " port %"PRIu32, rule->port);
    }
    if (rule->stale) {
        ds_put_cstr(s, " (stale)");
    }
}
