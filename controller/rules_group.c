/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that are OpenFlow groups, and the way back: RULE_GROUP (fast failover)
 * and RULE_FLOOD_GROUP (all). */
#include "controller/rules.h"

#include <errno.h>
#include "controller/paths.h"
#include "openvswitch/ofp-actions.h"
#include "openvswitch/ofp-group.h"
#include "openvswitch/ofpbuf.h"
#include "openvswitch/util.h"
#include "flow.h"
#include "util.h"

static void
add_bucket(struct ofputil_group_mod *mod, uint32_t id, uint16_t port)
{
    bool watches = mod->type == OFPGT11_FF;
    struct ofputil_bucket *bucket = xzalloc(sizeof *bucket);
    struct ofpbuf ofpacts;

    ofpbuf_init(&ofpacts, 64);
    ofpact_put_OUTPUT(&ofpacts)->port = u16_to_ofp(port);
    bucket->ofpacts_len = ofpacts.size;
    bucket->ofpacts = ofpbuf_steal_data(&ofpacts);
    bucket->bucket_id = id;
    bucket->watch_port = watches ? u16_to_ofp(port) : OFPP_ANY;
    bucket->watch_group = OFPG_ANY;
    ovs_list_push_back(&mod->buckets, &bucket->list_node);
}

struct ofpbuf *
rule_encode_group(const struct rule *rule, const struct rule_dialect *dialect,
                  int command)
{
    bool floods = rule->kind == RULE_FLOOD_GROUP;
    struct ofputil_group_mod mod = {
        .command = command,
        .type = floods ? OFPGT11_ALL : OFPGT11_FF,
        .group_id = floods ? RULE_FLOOD_GROUP_BASE + rule->group
                           : rule->group,
        .command_bucket_id = OFPG15_BUCKET_ALL,
    };
    ovs_list_init(&mod.buckets);
    for (int i = 0; command != OFPGC11_DELETE && !floods
                    && i < RULE_GROUP_PORTS_MAX && rule->ports[i]; i++) {
        add_bucket(&mod, i, rule->ports[i]);
    }
    for (int i = 0; command != OFPGC11_DELETE && floods
                    && i < RULE_FLOOD_PORTS; i++) {
        if (rule->port_set[i / 8] & 1 << i % 8) {
            add_bucket(&mod, i, rule->group * RULE_FLOOD_PORTS + i);
        }
    }
    struct ofpbuf *message = ofputil_encode_group_mod(
        ofputil_protocol_to_ofp_version(dialect->protocol), &mod, NULL, -1);
    ofputil_uninit_group_mod(&mod);
    return message;
}

/* The port that the bucket sends to; 0 if that is not all it does. */
static uint16_t
bucket_port(const struct ofputil_bucket *bucket)
{
    const struct ofpact *action = bucket->ofpacts;
    if (bucket->ofpacts_len != OFPACT_ALIGN(sizeof(struct ofpact_output))
        || action->type != OFPACT_OUTPUT
        || bucket->watch_group != OFPG_ANY) {
        return 0;
    }
    uint16_t port = ofp_to_u16(ofpact_get_OUTPUT(action)->port);
    return port < ofp_to_u16(OFPP_MAX) ? port : 0;
}

/* True if it sends to the port it watches, and does no more. */
static bool
is_our_bucket(const struct ofputil_bucket *bucket)
{
    return bucket_port(bucket)
           && bucket_port(bucket) == ofp_to_u16(bucket->watch_port);
}

static int
read_flood_group(const struct ofputil_group_desc *group,
                 struct rule *ret_rule)
{
    struct rule rule = RULE_INIT(RULE_FLOOD_GROUP);
    const struct ofputil_bucket *bucket;

    rule.group = group->group_id - RULE_FLOOD_GROUP_BASE;
    if (group->type != OFPGT11_ALL) {
        rule.flags |= RULE_STALE;
    }
    LIST_FOR_EACH (bucket, list_node, &group->buckets) {
        uint32_t port = bucket_port(bucket);
        if (port && port / RULE_FLOOD_PORTS == rule.group) {
            uint32_t bit = port % RULE_FLOOD_PORTS;
            rule.port_set[bit / 8] |= 1 << bit % 8;
        } else {
            rule.flags |= RULE_STALE;
        }
    }
    *ret_rule = rule;
    return 0;
}

int
rule_from_group(const struct ofputil_group_desc *group, struct rule *ret_rule)
{
    struct rule rule = RULE_INIT(RULE_GROUP);
    const struct ofputil_bucket *bucket;
    int n = 0;

    if ((group->group_id & PATHS_GROUP_BASE_MASK) == RULE_FLOOD_GROUP_BASE) {
        return read_flood_group(group, ret_rule);
    }
    if ((group->group_id & PATHS_GROUP_BASE_MASK) != PATHS_GROUP_BASE) {
        return -ENOENT;
    }
    rule.group = group->group_id;
    if (group->type != OFPGT11_FF) {
        rule.flags |= RULE_STALE;
    }
    LIST_FOR_EACH (bucket, list_node, &group->buckets) {
        if (n < RULE_GROUP_PORTS_MAX && is_our_bucket(bucket)) {
            rule.ports[n++] = ofp_to_u16(bucket->watch_port);
        } else {
            rule.flags |= RULE_STALE;
        }
    }
    *ret_rule = rule;
    return 0;
}
