/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/put_order.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "controller/paths.h"
#include "controller/put_waits.h"
#include "controller/put_walk.h"
#include "hash.h"
#include "openvswitch/util.h"
#include "packets.h"
#include "util.h"

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

const struct put_order_member *
put_order_find(const struct put_order *order, uint64_t dpid)
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

static bool
is_route(const struct rule *rule)
{
    return rule->kind == RULE_HOST || rule->kind == RULE_HOST6;
}

static bool
is_route_going(const struct rule_change *change)
{
    return change->op == RULE_DELETE && is_route(&change->rule);
}

/* To where a rule sends packets. */
static const struct in6_addr *
destination_of(const struct rule *rule)
{
    return is_route(rule) ? &rule->address : &rule->target;
}

/* One call of put_order_split(). */
struct split {
    const struct put_order *order;
    const struct put_order_member *self;
    const struct rule_table *desired;
    struct put_order_held *held;
    struct put_waits *waits;    /* Of 'held'. */
    struct early_cache *cache;
    uint64_t *services_towards; /* services_of_others(), one a switch, and */
    uint64_t services_of_nowhere; /* where that is none; 0: not known yet. */
    long long now;
};

/* Coming. */

/* Where packets end that a rule of ours sends, as it is to be. */
static enum put_walk_end
end_of(const struct split *split, const struct rule *rule)
{
    const struct in6_addr *to = destination_of(rule);
    struct rule host = RULE_INIT(IN6_IS_ADDR_V4MAPPED(to) ? RULE_HOST
                                                          : RULE_HOST6);
    struct rule key = RULE_INIT(RULE_GROUP);

    host.address = *to;
    host.path_class = rule->flags & RULE_MARK
                      ? rule->flags >> RULE_MARK_CLASS_SHIFT
                        | RULE_MARKED_CLASS
                      : is_route(rule) ? rule->path_class : 0;
    if (!(rule->flags & RULE_VIA_GROUP)) {
        return put_walk(split->order, split->self->dpid, rule, &host);
    }
    key.group = rule->port;
    const struct rule *found
        = rule_table_find(put_waits_has(split->waits, &key)
                          ? split->self->installed : split->desired, &key);
    if (!found) {
        return PUT_WALK_ARRIVES;
    }
    const struct rule group = *found;
    return put_walk(split->order, split->self->dpid, &group, &host);
}

/* Where packets to the host end that the group, as it is to be, sends. */
static enum put_walk_end
end_by_group(const struct split *split, const struct rule *group,
             const struct in6_addr *locator)
{
    struct rule host = RULE_INIT(IN6_IS_ADDR_V4MAPPED(locator) ? RULE_HOST
                                                               : RULE_HOST6);

    host.address = *locator;
    return put_walk(split->order, split->self->dpid, group, &host);
}

/* A group is used by all hosts behind a switch.  Those of path classes, which
 * may be a waypoint's, are not looked at. */
static bool
group_is_early(const struct split *split, const struct rule *group)
{
    const struct paths *paths = plan_paths(split->order->plan);
    uint32_t to = paths_group_to(paths, group->group);
    const struct topology_switch *sw
        = to == PATHS_NO_SWITCH
          ? NULL : topology_switch(split->order->topology,
                                   paths_dpid(paths, to));
    const struct topology_attachment *at;
    const struct topology_port *port;

    if (!sw) {
        return false;
    }
    TOPOLOGY_FOR_EACH_PORT (port, sw) {
        LIST_FOR_EACH (at, port_node, &port->attachments) {
            if (rules_group_variant(&at->locator)
                == group->group % PATHS_GROUP_VARIANTS
                && end_by_group(split, group, &at->locator)
                   != PUT_WALK_ARRIVES) {
                return true;
            }
        }
    }
    return false;
}

/* Many rules send to few hosts: the last answers are remembered. */
#define N_REMEMBERED 64

struct early_cache {
    struct {
        struct in6_addr target;
        uint32_t port;
        uint16_t flags;
        bool used;
        enum put_walk_end end;
    } slots[N_REMEMBERED];
};

static enum put_walk_end
remembered_end_of(struct split *split, const struct rule *rule)
{
    uint32_t hash = hash_bytes(&rule->target, sizeof rule->target, rule->port);
    size_t i = hash % N_REMEMBERED;

    if (!split->cache) {
        split->cache = xzalloc(sizeof *split->cache);
    }
    struct early_cache *cache = split->cache;
    if (!cache->slots[i].used || cache->slots[i].port != rule->port
        || cache->slots[i].flags != rule->flags
        || !ipv6_addr_equals(&cache->slots[i].target, &rule->target)) {
        cache->slots[i].used = true;
        cache->slots[i].target = rule->target;
        cache->slots[i].port = rule->port;
        cache->slots[i].flags = rule->flags;
        cache->slots[i].end = end_of(split, rule);
    }
    return cache->slots[i].end;
}

static bool
is_early(struct split *split, const struct rule_change *change)
{
    const struct rule *rule = &change->rule;

    if (rule_has_target(rule)) {
        return change->op != RULE_DELETE && !(rule->flags & RULE_ONWARD)
               && remembered_end_of(split, rule) != PUT_WALK_ARRIVES;
    }
    /* A route that is new is not used yet; one that changes may be. */
    return change->op == RULE_MODIFY && is_route(rule)
           && end_of(split, rule) != PUT_WALK_ARRIVES;
}

/* True if that is news. */
static bool
hold(struct split *split, const struct rule *rule)
{
    if (put_waits_has(split->waits, rule)
        || !put_waits_hold(split->waits, rule, split->now,
                           split->order->patience_ms)) {
        return false;
    }
    if (rule->kind == RULE_GROUP) {
        split->held->groups = true;
    } else {
        split->held->upper = true;
    }
    return true;
}

static void
hold_groups(struct split *split, const struct rule_changes *changes)
{
    for (size_t i = 0; i < changes->n; i++) {
        const struct rule_change *change = &changes->changes[i];
        if (change->op == RULE_MODIFY && change->rule.kind == RULE_GROUP
            && group_is_early(split, &change->rule)) {
            hold(split, &change->rule);
        }
    }
}

static void
hold_services(struct split *split, const struct rule_changes *changes)
{
    free(split->cache);
    split->cache = NULL;
    for (size_t i = 0; i < changes->n; i++) {
        if (is_early(split, &changes->changes[i])) {
            hold(split, &changes->changes[i].rule);
        }
    }
}

/* Where packets end that a rule of ours sends by a group until it is changed,
 * once the group is as it is to be. */
static enum put_walk_end
end_of_installed(const struct split *split, const struct rule_change *change,
                 struct rule *ret_group)
{
    struct rule key = RULE_INIT(RULE_GROUP);
    const struct rule *now = rule_table_find(split->self->installed,
                                             &change->rule);

    if (!now || !(now->flags & RULE_VIA_GROUP)) {
        return PUT_WALK_ARRIVES;
    }
    const struct in6_addr to = *destination_of(now);
    key.group = now->port;
    const struct rule *installed = rule_table_find(split->self->installed,
                                                   &key);
    const struct rule *desired = rule_table_find(split->desired, &key);
    if (!installed || !desired || rule_equal(installed, desired)
        || put_waits_has(split->waits, &key)) {
        return PUT_WALK_ARRIVES;
    }
    *ret_group = *desired;
    return end_by_group(split, ret_group, &to);
}

/* A rule that waits still sends by its group, and should not meet another way
 * there.  True if the group has to wait as well.  (A route to who is gone may
 * wait for those who wait for the group: so not for long.) */
static bool
holds_group(struct split *split, const struct rule_change *change)
{
    struct rule group;
    bool waits = is_route_going(change)
                 ? put_waits_age(split->waits, &change->rule, split->now)
                   < split->order->patience_ms / 4
                 : change->op != RULE_ADD && !rule_is_group(&change->rule)
                   && put_waits_has(split->waits, &change->rule);

    return waits
           && end_of_installed(split, change, &group) != PUT_WALK_ARRIVES
           && hold(split, &group);
}

/* What waits makes others wait, never the other way round: what can go
 * together goes. */
static void
hold_all(struct split *split, const struct rule_changes *changes)
{
    bool more;

    hold_groups(split, changes);
    do {
        more = false;
        hold_services(split, changes);
        for (size_t i = 0; i < changes->n; i++) {
            more |= holds_group(split, &changes->changes[i]);
        }
    } while (more);
}

/* Going. */

void
put_order_note(const struct rule_changes *changes, struct rule_table *going,
               struct rule_table *coming)
{
    rule_table_clear(going);
    rule_table_clear(coming);
    for (size_t i = 0; i < changes->n; i++) {
        const struct rule *rule = &changes->changes[i].rule;
        if (rule_table_id(rule) == SAL_TABLE_FORWARD
            || rule->kind == RULE_GROUP) {
            rule_table_put(changes->changes[i].op == RULE_DELETE ? going
                                                                 : coming,
                           rule);
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

/* The same for services that send to the host.  A switch that has no way there
 * may keep its groups: they lead its packets to others that have none. */
static uint64_t
services_of_others(struct split *split, const struct in6_addr *locator)
{
    const struct paths *paths = plan_paths(split->order->plan);
    const struct topology_attachment *at
        = topology_attachment(split->order->topology, locator);
    uint32_t to = at ? paths_index(paths, at->dpid) : PATHS_NO_SWITCH;
    uint64_t *known = to == PATHS_NO_SWITCH ? &split->services_of_nowhere
                                            : &split->services_towards[to];
    const struct put_order_member *member;
    uint64_t least = UINT64_MAX;

    if (*known) {
        return *known;
    }
    HMAP_FOR_EACH (member, node, &split->order->members) {
        uint32_t from = paths_index(paths, member->dpid);
        bool reaches = to != PATHS_NO_SWITCH && from != PATHS_NO_SWITCH
                       && paths_distance(paths, from, to)
                          != PATHS_UNREACHABLE;
        if (member != split->self && member->unsettled) {
            least = MIN(least, reaches ? member->upper_generation
                                       : member->services_generation);
        }
    }
    return *known = least;
}

/* Must the change wait? */
static bool
is_to_wait(struct split *split, const struct rule_change *change,
           uint64_t confirmed)
{
    struct put_order_held *held = split->held;

    if (is_route_going(change)) {
        const struct in6_addr *to = &change->rule.address;
        uint64_t gone = plan_gone_since(split->order->plan, to);
        struct rule group;
        /* Our own services that wait may still need it.  But rather than go
         * round in circles, packets to who is gone end here. */
        return (held->upper || (gone > confirmed
                                && gone > services_of_others(split, to)))
               && end_of_installed(split, change, &group) != PUT_WALK_LOOPS
               && put_waits_hold(split->waits, &change->rule, split->now,
                                 split->order->patience_ms);
    }
    if (change->op == RULE_DELETE && change->rule.kind == RULE_GROUP) {
        return held->changes.n > 0; /* What waits may still need it. */
    }
    return (rule_has_target(&change->rule) || is_route(&change->rule)
            || change->rule.kind == RULE_GROUP)
           && put_waits_has(split->waits, &change->rule);
}

void
put_order_split(const struct put_order *order, uint64_t dpid,
                struct rule_changes *changes, struct put_order_held *held,
                long long now)
{
    uint64_t confirmed = upper_generation_of_others(order, dpid);
    struct split split = {
        .order = order, .self = put_order_find(order, dpid),
        .desired = plan_desired(order->plan, dpid), .held = held, .now = now,
    };
    size_t n = 0;

    held->changes.n = 0;
    held->upper = held->groups = false;
    if (confirmed >= plan_ways_generation(order->plan)) {
        put_order_held_destroy(held);
        return; /* All ways are as they should be; which is usual. */
    }
    if (!held->waits) {
        held->waits = put_waits_create();
    }
    split.waits = held->waits;
    split.services_towards = xcalloc(
        paths_n_switches(plan_paths(order->plan)) + 1,
        sizeof *split.services_towards);
    put_waits_begin(held->waits);
    hold_all(&split, changes);
    for (size_t i = 0; i < changes->n; i++) {
        const struct rule_change *change = &changes->changes[i];

        if (is_to_wait(&split, change, confirmed)) {
            rule_changes_add(&held->changes, change->op, &change->rule);
        } else {
            changes->changes[n++] = *change;
        }
    }
    changes->n = n;
    held->since = put_waits_end(held->waits);
    free(split.cache);
    free(split.services_towards);
}

void
put_order_held_destroy(struct put_order_held *held)
{
    put_waits_destroy(held->waits);
    rule_changes_destroy(&held->changes);
    memset(held, 0, sizeof *held);
}
