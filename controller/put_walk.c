/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/put_walk.h"

#include "openvswitch/util.h"
#include "util.h"

/* Switches that a way may touch before we stop looking. */
#define STEPS_MAX 64

struct step {
    uint64_t dpid;
    uint8_t path_class;
    bool left; /* All ways from here have been followed. */
};

struct walk {
    const struct put_order *order;
    bool shallow; /* Only ask whether switches know the host. */
    struct step steps[STEPS_MAX];
    size_t n;
};

/* No macro: what it compares has effects. */
static enum put_walk_end
worse_of(enum put_walk_end a, enum put_walk_end b)
{
    return a > b ? a : b;
}

static enum put_walk_end from_switch(struct walk *, uint64_t dpid,
                                     const struct rule *host);

static enum put_walk_end
by_port(struct walk *walk, uint64_t dpid, uint32_t number,
        const struct rule *host)
{
    const struct topology_port *port
        = topology_port(walk->order->topology, dpid, number);
    uint64_t next = !port ? 0
                    : port->peer_dpid ? port->peer_dpid : port->last_dpid;

    return next ? from_switch(walk, next, host) : PUT_WALK_ARRIVES;
}

/* The ports up to the first that is up; those before it may be up again when
 * the packets come.  Those behind it may be used by then, too, but are no way
 * on which packets come nearer at each switch, so whether they loop cannot be
 * asked of them; and there are many. */
static enum put_walk_end
by_group(struct walk *walk, uint64_t dpid, const struct rule *group,
         const struct rule *host)
{
    enum put_walk_end worst = PUT_WALK_ARRIVES;

    for (int i = 0; i < RULE_GROUP_PORTS_MAX && group->ports[i]; i++) {
        const struct topology_port *port
            = topology_port(walk->order->topology, dpid, group->ports[i]);
        worst = worse_of(worst, by_port(walk, dpid, group->ports[i], host));
        walk->shallow |= port && port->up;
    }
    walk->shallow = false;
    return worst;
}

static bool
find(const struct rule_table *table, const struct rule *key,
     struct rule *ret_rule)
{
    const struct rule *rule = rule_table_find(table, key);

    if (rule) {
        *ret_rule = *rule; /* What is found is valid until the next one. */
    }
    return rule != NULL;
}

static enum put_walk_end
by_rule(struct walk *walk, const struct put_order_member *member,
        const struct rule *rule, const struct rule *host)
{
    struct rule onward = *host;
    struct rule key = RULE_INIT(RULE_GROUP), group;
    enum put_walk_end worst = PUT_WALK_ARRIVES;

    if (walk->shallow) {
        return PUT_WALK_ARRIVES;
    }
    if (rule->flags & RULE_MARK) {
        onward.path_class = rule->flags >> RULE_MARK_CLASS_SHIFT
                            | RULE_MARKED_CLASS;
    }
    if (!(rule->flags & RULE_VIA_GROUP)) {
        return by_port(walk, member->dpid, rule->port, &onward);
    }
    key.group = rule->port;
    if (find(member->installed, &key, &group)) {
        worst = by_group(walk, member->dpid, &group, &onward);
    }
    if (member->unsettled && find(member->coming, &key, &group)) {
        worst = worse_of(worst, by_group(walk, member->dpid, &group, &onward));
    }
    return worst;
}

static bool
is_desired(const struct walk *walk, const struct put_order_member *member,
           const struct rule *key)
{
    const struct rule_table *desired = plan_desired(walk->order->plan,
                                                    member->dpid);
    return desired && rule_table_find(desired, key);
}

/* By the rules with this key.  False if none is there to stay. */
static bool
by_key(struct walk *walk, const struct put_order_member *member,
       const struct rule *key, const struct rule *host,
       enum put_walk_end *worst)
{
    struct rule rule;
    bool found = false;

    if (find(member->installed, key, &rule)) {
        *worst = worse_of(*worst, by_rule(walk, member, &rule, host));
        found = true;
    }
    if (member->unsettled && find(member->coming, key, &rule)) {
        *worst = worse_of(*worst, by_rule(walk, member, &rule, host));
    }
    return found && (!member->unsettled
                     || (is_desired(walk, member, key)
                         && !rule_table_find(member->going, key)));
}

static enum put_walk_end
by_member(struct walk *walk, const struct put_order_member *member,
          const struct rule *host)
{
    enum put_walk_end worst = PUT_WALK_ARRIVES;
    struct rule any = *host;
    struct rule rest = RULE_INIT(host->kind == RULE_HOST ? RULE_REST
                                                         : RULE_REST6);
    any.path_class = 0;
    if ((host->path_class && by_key(walk, member, host, host, &worst))
        || by_key(walk, member, &any, host, &worst)
        || by_key(walk, member, &rest, host, &worst)) {
        return worst;
    }
    /* It will know the host, or whoever sends there will not.  But what a
     * switch has refused it is not asked for. */
    return !member->unsettled && (is_desired(walk, member, &any)
                                  || is_desired(walk, member, &rest))
           ? worst : worse_of(worst, PUT_WALK_UNKNOWN);
}

static enum put_walk_end
from_switch(struct walk *walk, uint64_t dpid, const struct rule *host)
{
    const struct put_order_member *member
        = put_order_find(walk->order, dpid);

    for (size_t i = 0; i < walk->n; i++) {
        const struct step *step = &walk->steps[i];
        if (step->dpid == dpid && step->path_class == host->path_class) {
            return step->left || walk->shallow ? PUT_WALK_ARRIVES
                                               : PUT_WALK_LOOPS;
        }
    }
    if (!member || walk->n == STEPS_MAX) {
        return PUT_WALK_ARRIVES;
    }
    if (walk->shallow) {
        return by_member(walk, member, host);
    }
    struct step *step = &walk->steps[walk->n++];
    *step = (struct step) {dpid, host->path_class, false};
    enum put_walk_end end = by_member(walk, member, host);
    step->left = true;
    return end;
}

enum put_walk_end
put_walk(const struct put_order *order, uint64_t dpid, const struct rule *by,
         const struct rule *host)
{
    struct walk walk;

    walk.order = order;
    walk.shallow = false;
    walk.n = 1;
    walk.steps[0] = (struct step) {dpid, host->path_class, false};
    return by->kind == RULE_GROUP ? by_group(&walk, dpid, by, host)
                                  : by_port(&walk, dpid, by->port, host);
}
