/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/rules_ways.h"

#include "controller/paths.h"
#include "controller/rule_table.h"
#include "openvswitch/util.h"
#include "packets.h"
#include "util.h"

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

#define HOPS_MAX 64

/* Rendezvous hashing: if a port goes, only its own traffic moves.  The switch
 * is in the hash ('seed'), or those of the next layer would get only traffic
 * that all chooses alike (polarisation). */
static uint32_t
weight_of(uint64_t seed, uint32_t salt, uint32_t port)
{
    return mix(seed, (uint64_t) salt << 32 | port);
}

/* Stores up to 'max' of 'hops', which are used up, the heaviest first. */
static size_t
sort_hops(uint64_t seed, uint32_t salt, uint32_t hops[], size_t n,
          uint16_t ports[], size_t max)
{
    uint32_t weights[HOPS_MAX];

    for (size_t i = 0; i < n; i++) {
        weights[i] = weight_of(seed, salt, hops[i]);
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

/* The equal next hop of 'from' towards 'to' that traffic of 'salt' prefers;
 * false if there is none. */
static bool
preferred_hop(const struct paths *paths, uint32_t from, uint32_t to,
              uint32_t salt, uint16_t *ret_port)
{
    uint32_t hops[HOPS_MAX];
    size_t n = MIN(paths_next_hops(paths, from, to, hops, HOPS_MAX),
                   HOPS_MAX);

    return sort_hops(paths_dpid(paths, from), salt, hops, n, ret_port, 1);
}

/* Stores the equal next hops in the order in which a variant of the group
 * prefers them.  No port is the first of two variants before each is that of
 * one; where there are more ports than variants, other destinations use the
 * others. */
static size_t
variant_hops(const struct paths *paths, uint32_t from, uint32_t to,
             uint32_t variant, uint16_t ports[RULE_GROUP_PORTS_MAX])
{
    uint32_t hops[HOPS_MAX], taken[HOPS_MAX] = {0};
    size_t n = MIN(paths_next_hops(paths, from, to, hops, HOPS_MAX),
                   HOPS_MAX);
    uint64_t seed = paths_dpid(paths, from) ^ mix(paths_dpid(paths, to), 1);
    size_t best = 0;

    if (!n) {
        return 0;
    }
    for (uint32_t v = 0; v <= variant; v++) {
        best = 0;
        for (size_t i = 1; i < n; i++) {
            if (taken[i] < taken[best]
                || (taken[i] == taken[best]
                    && weight_of(seed, v, hops[i])
                           > weight_of(seed, v, hops[best]))) {
                best = i;
            }
        }
        taken[best]++;
    }
    ports[0] = hops[best];
    hops[best] = hops[--n];
    return 1 + sort_hops(seed, variant, hops, n, ports + 1,
                         RULE_GROUP_PORTS_MAX - 1);
}

/* Stock switches may know no fast failover. */
static bool
uses_groups(const struct rules_config *config, const struct paths *paths,
            uint32_t index)
{
    return config->groups && paths_has_sal(paths, index);
}

struct rules_destination
rules_destination_at(struct topology_end at, const struct in6_addr *locator)
{
    return (struct rules_destination) {.at = at,
                                       .salt = locator_salt(locator)};
}

/* The way of what is to go to 'd'.  False if there is none. */
static bool
find_way(const struct paths *paths, uint32_t from,
         const struct rules_destination *d, struct paths_way *ret_way)
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

uint32_t
rules_group_variant(const struct in6_addr *locator)
{
    return variant_of(locator_salt(locator));
}

bool
rules_send_towards(const struct rules_config *config,
                   const struct paths *paths, uint32_t from,
                   const struct rules_destination *d, struct rule *rule)
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
    } else if (preferred_hop(way.paths, from, way.to, d->salt, &hop)) {
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
    size_t n = variant_hops(way->paths, from, way->to, variant, ports);
    if (n == 1) {
        ports[1] = paths_alternate(way->paths, from, way->to, ports[0]);
        n += ports[1] != 0;
    }
    return n;
}

size_t
rules_ports_of(const struct paths *paths, uint32_t from,
               const struct rules_destination *d, const struct rule *rule,
               uint16_t ports[RULE_GROUP_PORTS_MAX])
{
    struct paths_way way;

    if (!(rule->flags & RULE_VIA_GROUP)) {
        ports[0] = rule->port;
        return 1;
    }
    return find_way(paths, from, d, &way)
           ? group_ports(&way, from, variant_of(d->salt), ports) : 0;
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
                     const uint8_t towards[], struct rule_table *table)
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
