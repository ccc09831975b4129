/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of switches that do not exist: fast failover, each bucket a port. */
#include "tests/bench/controller/load.h"

#include "flow.h"
#include "hash.h"
#include "openflow/openflow.h"
#include "openvswitch/ofp-actions.h"
#include "openvswitch/ofp-group.h"
#include "util.h"

const struct load_group *
load_group_find(const struct load_switch *sw, uint32_t id)
{
    const struct load_group *group;

    HMAP_FOR_EACH_WITH_HASH (group, node, hash_int(id, 0), &sw->groups) {
        if (group->id == id) {
            return group;
        }
    }
    return NULL;
}

static void
take_away(struct load_switch *sw, uint32_t id)
{
    struct load_group *group
        = CONST_CAST(struct load_group *, load_group_find(sw, id));

    if (group) {
        hmap_remove(&sw->groups, &group->node);
        free(group);
    }
}

/* False if that is not what a bucket of fast failover should be. */
static bool
add_port(struct load_group *group, const struct ofputil_bucket *bucket)
{
    const struct ofpact *action = bucket->ofpacts;

    if (group->n == LOAD_GROUP_PORTS || !bucket->ofpacts_len
        || action->type != OFPACT_OUTPUT
        || ofpact_get_OUTPUT(action)->port != bucket->watch_port) {
        return false;
    }
    group->ports[group->n++] = ofp_to_u16(bucket->watch_port);
    return true;
}

bool
load_group_mod(struct load_switch *sw, const struct ofp_header *oh)
{
    const struct ofputil_bucket *bucket;
    struct ofputil_group_mod mod;
    bool ok;

    if (ofputil_decode_group_mod(oh, &mod)) {
        return false;
    }
    if (mod.command == OFPGC11_DELETE) {
        ok = load_group_find(sw, mod.group_id) != NULL;
        take_away(sw, mod.group_id);
    } else {
        struct load_group *group = xzalloc(sizeof *group);

        ok = mod.type == OFPGT11_FF
             && (mod.command == OFPGC11_ADD)
                == !load_group_find(sw, mod.group_id);
        take_away(sw, mod.group_id);
        group->id = mod.group_id;
        hmap_insert(&sw->groups, &group->node, hash_int(group->id, 0));
        LIST_FOR_EACH (bucket, list_node, &mod.buckets) {
            ok &= add_port(group, bucket);
        }
    }
    ofputil_uninit_group_mod(&mod);
    return ok;
}

static void
tell_group(const struct load_group *group, struct ovs_list *replies)
{
    struct ofputil_group_desc desc = {.type = OFPGT11_FF,
                                      .group_id = group->id};

    ovs_list_init(&desc.buckets);
    for (int i = 0; i < group->n; i++) {
        struct ofputil_bucket *bucket = xzalloc(sizeof *bucket);
        struct ofpbuf ofpacts;

        ofpbuf_init(&ofpacts, 64);
        ofpact_put_OUTPUT(&ofpacts)->port = u16_to_ofp(group->ports[i]);
        bucket->ofpacts_len = ofpacts.size;
        bucket->ofpacts = ofpbuf_steal_data(&ofpacts);
        bucket->bucket_id = i;
        bucket->watch_port = u16_to_ofp(group->ports[i]);
        bucket->watch_group = OFPG_ANY;
        ovs_list_push_back(&desc.buckets, &bucket->list_node);
    }
    ofputil_append_group_desc_reply(&desc, &desc.buckets, replies);
    ofputil_uninit_group_desc(&desc);
}

void
load_groups_tell(const struct load_switch *sw, struct ovs_list *replies)
{
    const struct load_group *group;

    HMAP_FOR_EACH (group, node, &sw->groups) {
        tell_group(group, replies);
    }
}

void
load_groups_forget(struct load_switch *sw)
{
    struct load_group *group;

    HMAP_FOR_EACH_POP (group, node, &sw->groups) {
        free(group);
    }
    hmap_destroy(&sw->groups);
}
