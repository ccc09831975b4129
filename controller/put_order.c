/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/put_order.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "hash.h"
#include "openvswitch/util.h"
#include "packets.h"
#include "util.h"

/* Switches that a way may touch before we stop looking. */
#define WAY_MAX 64

void
put_order_init(struct put_order *order, const struct plan *plan,
               const struct topology *topology)
{
    order->patience_ms = PUT_ORDER_PATIENCE_MS;
    order->plan = plan;
    order->topology = topology;
    hmap_init(&order->members);
}

void
put_order_destroy(struct put_order *order)
{
    hmap_destroy(&order->members);
}

void
put_order_join(struct put_order *order, struct put_order_member *member)
{
    hmap_insert(&order->members, &member->node, hash_uint64(member->dpid));
}

void
put_order_leave(struct put_order *order, struct put_order_member *member)
{
    hmap_remove(&order->members, &member->node);
}

static const struct put_order_member *
find_member(const struct put_order *order, uint64_t dpid)
{
    const struct put_order_member *member;

    HMAP_FOR_EACH_WITH_HASH (member, node, hash_uint64(dpid),
                             &order->members) {
        if (member->dpid == dpid) {
            return member;
        }
    }
    return NULL;
}

/* Coming: the way to a host. */

struct way {
    const struct put_order *order;
    struct rule host;          /* Key of the route to it. */
    uint64_t seen[WAY_MAX];
    size_t n_seen;
};

static bool all_know(struct way *, uint64_t dpid);

/* Does everybody behind 'number' of 'dpid' know the host? */
static bool
knows_behind(struct way *way, uint64_t dpid, uint32_t number)
{
    const struct topology *topology = way->order->topology;
    const struct topology_switch *sw = topology_switch(topology, dpid);
    const struct topology_port *port = topology_port(topology, dpid, number);
    struct topology_end far;

    return !sw || !port || !topology_port_link(topology, sw, port, &far)
           || all_know(way, far.dpid);
}

/* Does everybody where 'rule' sends it? */
static bool
know_behind_rule(struct way *way, uint64_t dpid,
                 const struct rule_table *table, const struct rule *rule)
{
    if (!(rule->flags & RULE_VIA_GROUP)) {
        return knows_behind(way, dpid, rule->port);
    }
    struct rule key = RULE_INIT(RULE_GROUP);
    key.group = rule->port;
    const struct rule *group = rule_table_find(table, &key);
    for (int i = 0; group && i < RULE_GROUP_PORTS_MAX && group->ports[i];
         i++) {
        if (!knows_behind(way, dpid, group->ports[i])) {
            return false;
        }
    }
    return true;
}

/* The route to the host of key 'host'. */
static const struct rule *
route_in(const struct rule_table *table, const struct rule *host)
{
    const struct rule *rule = rule_table_find(table, host);

    if (!rule) {
        struct rule rest = RULE_INIT(host->kind == RULE_HOST ? RULE_REST
                                                             : RULE_REST6);
        rule = rule_table_find(table, &rest);
    }
    return rule;
}

static bool
all_know(struct way *way, uint64_t dpid)
{
    const struct put_order_member *member = find_member(way->order, dpid);
    const struct rule_table *desired = plan_desired(way->order->plan, dpid);

    for (size_t i = 0; i < way->n_seen; i++) {
        if (way->seen[i] == dpid) {
            return true;
        }
    }
    const struct rule *rule = desired ? route_in(desired, &way->host) : NULL;
    if (!member || !rule || way->n_seen == WAY_MAX) {
        return true; /* Nobody to wait for. */
    }
    way->seen[way->n_seen++] = dpid;
    if (member->unsettled) {
        /* Until it has changed its way, packets take the one it has. */
        const struct rule *now = route_in(member->installed, &way->host);
        if (!now || rule_table_find(member->going, &way->host)
            || (!rule_equal(now, rule)
                && !know_behind_rule(way, dpid, member->installed, now))) {
            return false;
        }
    }
    return know_behind_rule(way, dpid, desired, rule);
}

static bool
is_route(const struct rule *rule)
{
    return rule->kind == RULE_HOST || rule->kind == RULE_HOST6;
}

/* To where a rule sends packets. */
static const struct in6_addr *
destination_of(const struct rule *rule)
{
    return is_route(rule) ? &rule->address : &rule->target;
}

static bool
comes_too_early(const struct put_order *order, uint64_t dpid,
                const struct rule *rule)
{
    struct way way = {.order = order, .seen = {dpid}, .n_seen = 1};
    bool v4 = IN6_IS_ADDR_V4MAPPED(destination_of(rule));

    way.host = RULE_INIT(v4 ? RULE_HOST : RULE_HOST6);
    way.host.address = *destination_of(rule);
    return !know_behind_rule(&way, dpid, plan_desired(order->plan, dpid),
                             rule);
}

/* Many rules send to few hosts: the last answers are remembered. */
#define N_REMEMBERED 64

struct early_cache {
    struct {
        struct in6_addr target;
        uint32_t port;
        uint16_t flags;
        bool used, early;
    } slots[N_REMEMBERED];
};

static bool
is_early(const struct put_order *order, uint64_t dpid,
         const struct rule *rule, struct early_cache *cache)
{
    const struct in6_addr *target = destination_of(rule);
    uint32_t hash = hash_bytes(target, sizeof *target, rule->port);
    size_t i = hash % N_REMEMBERED;

    if (!cache->slots[i].used || cache->slots[i].port != rule->port
        || cache->slots[i].flags != rule->flags
        || !ipv6_addr_equals(&cache->slots[i].target, target)) {
        cache->slots[i].used = true;
        cache->slots[i].target = *target;
        cache->slots[i].port = rule->port;
        cache->slots[i].flags = rule->flags;
        cache->slots[i].early = comes_too_early(order, dpid, rule);
    }
    return cache->slots[i].early;
}

/* What must wait: services as a whole, single routes. */

struct held_service {
    struct hmap_node node;
    struct rule key; /* A rule of it. */
};

static bool
same_service(const struct rule *a, const struct rule *b)
{
    return a->kind == b->kind && a->protocol == b->protocol
           && a->prefix_len == b->prefix_len
           && !memcmp(&a->service, &b->service, sizeof a->service);
}

static uint32_t
hash_service(const struct rule *rule)
{
    return hash_bytes(&rule->service, sizeof rule->service,
                      rule->kind + (rule->protocol << 8));
}

static bool
is_held(const struct hmap *services, const struct rule *rule)
{
    const struct held_service *held;

    HMAP_FOR_EACH_WITH_HASH (held, node, hash_service(rule), services) {
        if (same_service(&held->key, rule)) {
            return true;
        }
    }
    return false;
}

/* How long they have waited. */

struct wait {
    struct hmap_node node;
    struct rule key;
    long long since;
    bool goes_on; /* Since the present look began. */
};

static struct wait *
find_wait(const struct put_order_held *held, const struct rule *rule)
{
    struct wait *wait;

    HMAP_FOR_EACH_WITH_HASH (wait, node, hash_service(rule), held->waits) {
        if (same_service(&wait->key, rule)) {
            return wait;
        }
    }
    return NULL;
}

/* May the service or route wait on? */
static bool
waits_on(const struct put_order *order, struct put_order_held *held,
         const struct rule *rule, long long now)
{
    struct wait *wait = find_wait(held, rule);

    if (!wait) {
        wait = xzalloc(sizeof *wait);
        wait->key = *rule;
        wait->since = now;
        hmap_insert(held->waits, &wait->node, hash_service(rule));
    }
    if (now - wait->since >= order->patience_ms) {
        return false;
    }
    wait->goes_on = true;
    return true;
}

static void
begin_waits(struct put_order_held *held)
{
    struct wait *wait;

    if (!held->waits) {
        held->waits = xmalloc(sizeof *held->waits);
        hmap_init(held->waits);
    }
    HMAP_FOR_EACH (wait, node, held->waits) {
        wait->goes_on = false;
    }
}

/* Who does not wait any more is forgotten. */
static void
end_waits(struct put_order_held *held)
{
    struct wait *wait;

    held->since = LLONG_MAX;
    HMAP_FOR_EACH_SAFE (wait, node, held->waits) {
        if (wait->goes_on) {
            held->since = MIN(held->since, wait->since);
        } else {
            hmap_remove(held->waits, &wait->node);
            free(wait);
        }
    }
}

static void
find_held_services(const struct put_order *order, uint64_t dpid,
                   const struct rule_changes *changes,
                   struct put_order_held *held, struct hmap *services,
                   long long now)
{
    struct early_cache *cache = NULL;

    for (size_t i = 0; i < changes->n; i++) {
        const struct rule_change *change = &changes->changes[i];

        /* A route that is new is not used yet; one that changes may be. */
        if (change->op == RULE_DELETE
            || !(rule_has_target(&change->rule)
                 || (is_route(&change->rule) && change->op == RULE_MODIFY))) {
            continue;
        }
        if (!cache) {
            cache = xzalloc(sizeof *cache);
        }
        if (is_early(order, dpid, &change->rule, cache)
            && !is_held(services, &change->rule)
            && waits_on(order, held, &change->rule, now)) {
            struct held_service *service = xmalloc(sizeof *service);
            service->key = change->rule;
            hmap_insert(services, &service->node,
                        hash_service(&service->key));
        }
    }
    free(cache);
}

static void
destroy_held_services(struct hmap *services)
{
    struct held_service *held;

    HMAP_FOR_EACH_POP (held, node, services) {
        free(held);
    }
    hmap_destroy(services);
}

/* Going. */

static bool
is_route_going(const struct rule_change *change)
{
    return change->op == RULE_DELETE && is_route(&change->rule);
}

void
put_order_note_going(const struct rule_changes *changes,
                     struct rule_table *going)
{
    for (size_t i = 0; i < changes->n; i++) {
        if (is_route_going(&changes->changes[i])) {
            rule_table_put(going, &changes->changes[i].rule);
        }
    }
}

/* Up to which generation all others have confirmed their services. */
static uint64_t
upper_generation_of_others(const struct put_order *order, uint64_t dpid)
{
    const struct put_order_member *member;
    uint64_t least = UINT64_MAX;

    HMAP_FOR_EACH (member, node, &order->members) {
        if (member->dpid != dpid && member->unsettled) {
            least = MIN(least, member->upper_generation);
        }
    }
    return least;
}

void
put_order_split(const struct put_order *order, uint64_t dpid,
                struct rule_changes *changes, struct put_order_held *held,
                long long now)
{
    struct hmap services = HMAP_INITIALIZER(&services);
    uint64_t confirmed = upper_generation_of_others(order, dpid);
    size_t n = 0;

    held->changes.n = 0;
    held->upper = false;
    if (confirmed >= plan_ways_generation(order->plan)) {
        put_order_held_destroy(held);
        return; /* All ways are as they should be; which is usual. */
    }
    begin_waits(held);
    find_held_services(order, dpid, changes, held, &services, now);
    held->upper = !hmap_is_empty(&services);
    for (size_t i = 0; i < changes->n; i++) {
        const struct rule_change *change = &changes->changes[i];

        if (is_route_going(change)
            /* Our own services that wait may still need it. */
            ? (held->upper
               || plan_gone_since(order->plan, &change->rule.address)
                  > confirmed)
              && waits_on(order, held, &change->rule, now)
            : (rule_has_target(&change->rule) || is_route(&change->rule))
              && is_held(&services, &change->rule)) {
            rule_changes_add(&held->changes, change->op, &change->rule);
        } else {
            changes->changes[n++] = *change;
        }
    }
    changes->n = n;
    destroy_held_services(&services);
    end_waits(held);
}

void
put_order_held_destroy(struct put_order_held *held)
{
    struct wait *wait;

    if (held->waits) {
        HMAP_FOR_EACH_POP (wait, node, held->waits) {
            free(wait);
        }
        hmap_destroy(held->waits);
        free(held->waits);
    }
    rule_changes_destroy(&held->changes);
    memset(held, 0, sizeof *held);
}
