/* SPDX-License-Identifier: Apache-2.0 */
/* Peers, groups, flows, timers. */
#include "agents/migrator_private.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "hash.h"
#include "openvswitch/util.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(migrator);

/* A group without flows is kept for so long: the next flow need not introduce
 * the daemons again. */
#define EMPTY_LIFE_MS 60000

static const uint8_t no_endpoint[SAL_ENDPOINT_ID_LEN];

/* Endpoint IDs are hashes, but a sender may choose what he claims. */
static uint32_t
hash_peer(const struct migrator *m, const uint8_t id[SAL_ENDPOINT_ID_LEN])
{
    uint32_t basis;
    memcpy(&basis, m->secret, sizeof basis);
    return hash_bytes(id, SAL_ENDPOINT_ID_LEN, basis);
}

struct migrator_peer *
migrator_find_peer(const struct migrator *m, const uint8_t id[])
{
    struct migrator_peer *peer;

    HMAP_FOR_EACH_WITH_HASH (peer, node, hash_peer(m, id), &m->peers) {
        if (!memcmp(peer->crypto.id, id, sizeof peer->crypto.id)) {
            return peer;
        }
    }
    return NULL;
}

static struct migrator_peer *
add_peer(struct migrator *m, const uint8_t id[SAL_ENDPOINT_ID_LEN],
         const struct migrator_clock *clock)
{
    if (hmap_count(&m->peers) >= MIGRATOR_MAX_PEERS) {
        return NULL;
    }
    struct migrator_peer *peer = xzalloc(sizeof *peer);
    migration_peer_init(&peer->crypto, id, clock->ms);
    ovs_list_init(&peer->groups);
    hmap_insert(&m->peers, &peer->node, hash_peer(m, id));
    return peer;
}

/* Groups. */

struct migrator_group *
migrator_find_group(const struct migrator_peer *peer, uint32_t number)
{
    struct migrator_group *group;

    LIST_FOR_EACH (group, node, &peer->groups) {
        if (group->machine.group == number) {
            return group;
        }
    }
    return NULL;
}

struct migrator_group *
migrator_add_group(struct migrator *m, struct migrator_peer *peer,
                   uint32_t number)
{
    if (peer->n_groups >= MIGRATOR_MAX_GROUPS) {
        return NULL;
    }
    struct migrator_group *group = xzalloc(sizeof *group);
    group->migrator = m;
    group->peer = peer;
    group->machine.group = number;
    memcpy(group->machine.peer_id, peer->crypto.id,
           sizeof group->machine.peer_id);
    group->use_at = group->give_up_at = INT64_MAX;
    group->empty_since = INT64_MIN;
    ovs_list_push_back(&peer->groups, &group->node);
    peer->n_groups++;
    m->n_groups++;
    heap_insert(&m->timers, &group->timer, 0);
    return group;
}

static void
remove_group(struct migrator_group *group)
{
    struct migrator *m = group->migrator;
    struct migrator_peer *peer = group->peer;

    ovs_assert(!group->n_flows);
    heap_remove(&m->timers, &group->timer);
    ovs_list_remove(&group->node);
    m->n_groups--;
    if (!--peer->n_groups) {
        hmap_remove(&m->peers, &peer->node);
        migration_peer_clear(&peer->crypto);
        free(peer);
    }
    free(group->ids);
    free(group);
}

/* Flows. */

struct migrator_flow *
migrator_find_flow(const struct migrator *m, uint32_t id)
{
    struct migrator_flow *flow;

    HMAP_FOR_EACH_WITH_HASH (flow, node, hash_int(id, 0), &m->flows) {
        if (flow->id == id) {
            return flow;
        }
    }
    return NULL;
}

static void
take_out(struct migrator_flow *flow)
{
    struct migrator_group *group = flow->group;
    uint32_t last = group->ids[--group->n_flows];

    if (last != flow->id) {
        struct migrator_flow *other = migrator_find_flow(group->migrator,
                                                         last);
        group->ids[flow->index] = last;
        other->index = flow->index;
    }
    flow->group = NULL;
}

void
migrator_put_flow(struct migrator_flow *flow, struct migrator_group *group)
{
    if (flow->group) {
        take_out(flow);
    }
    if (group->n_flows >= group->allocated_flows) {
        group->ids = x2nrealloc(group->ids, &group->allocated_flows,
                                sizeof *group->ids);
    }
    flow->group = group;
    flow->index = group->n_flows;
    group->ids[group->n_flows++] = flow->id;
    group->empty_since = INT64_MAX;
}

static bool
same_path(const struct datapath_path *a, const struct datapath_path *b)
{
    return a->ifindex == b->ifindex
           && migration_locator_equal(&a->own, &b->own)
           && migration_locator_equal(&a->peer, &b->peer);
}

/* Both ends give flows that were bound between the same two locators the same
 * number, so that they need not agree on it. */
static uint32_t
number_of_path(const struct migrator *m, const struct migrator_peer *peer,
               const struct datapath_path *path)
{
    bool lower = memcmp(m->self->endpoint_id, peer->crypto.id,
                        SAL_ENDPOINT_ID_LEN) < 0;
    uint8_t ends[32] = {0}, hash[crypto_generichash_BYTES_MIN];
    uint32_t number;

    /* Through a NAT the ends see different addresses. */
    if (!path->nat && !path->peer.port) {
        memcpy(ends + (lower ? 0 : 16), path->own.address, 16);
        memcpy(ends + (lower ? 16 : 0), path->peer.address, 16);
    }
    crypto_generichash(hash, sizeof hash, ends, sizeof ends, NULL, 0);
    memcpy(&number, hash, sizeof number);
    return ntohl(number) | 1;
}

/* The group of a new flow: one that is where it is, or a new one. */
static struct migrator_group *
choose_group(struct migrator *m, struct migrator_peer *peer,
             const struct datapath_flow *flow)
{
    struct migrator_group *group;
    uint32_t number = flow->group;

    if (!number) {
        LIST_FOR_EACH (group, node, &peer->groups) {
            if (same_path(&group->path, &flow->path) && !group->pinned) {
                return group;
            }
        }
        group = migrator_find_group(peer, 0);
        if (group && group->n_flows) {
            number = number_of_path(m, peer, &flow->path);
            /* The peer may see it in this one. */
            group->machine.flows_known = false;
        }
    }
    group = migrator_find_group(peer, number);
    return group ? group : migrator_add_group(m, peer, number);
}

/* Where its first flow is. */
static void
start_group(struct migrator_group *group, const struct datapath_flow *flow,
            const struct migrator_clock *clock)
{
    struct migrator_place place;

    group->path = flow->path;
    group->held = !flow->path.ifindex;
    group->moving = group->use_pending = group->probing = false;
    group->pinned = group->n_probes = 0;
    group->back.ifindex = 0;
    group->use_at = group->give_up_at = INT64_MAX;
    group->reason = MIGRATOR_START;
    group->started_at = group->alive_at = clock->ms;
    group->from = flow->path;
    group->empty_since = INT64_MAX;
    if (migrator_place_of_path(group->migrator, &flow->path, &place)) {
        migrator_group_start(group, &place, &flow->path.peer, clock);
    } else {
        static const struct migrator_place nowhere;
        migrator_group_start(group, &nowhere, &flow->path.peer, clock);
        migrator_reconsider(group, clock);
    }
}

/* A flow that began on another path than the group's: a daemon died while it
 * moved the group, or the peer has moved meanwhile. */
static void
adopt_path(struct migrator_group *group, struct migrator_flow *flow,
           const struct datapath_flow *seen)
{
    struct datapath_move move = {.path = group->path,
                                 .group = group->machine.group,
                                 .late_ms = group->migrator->config.late_ms};

    if (seen->group == move.group && same_path(&seen->path, &group->path)) {
        return;
    }
    if (group->held) {
        move.path.ifindex = 0;
    }
    memcpy(move.peer_endpoint, group->peer->crypto.id,
           sizeof move.peer_endpoint);
    group->migrator->ops->move(&move, &flow->id, 1, group->migrator->aux);
}

void
migrator_flow_bound(struct migrator *m, const struct datapath_flow *seen,
                    const struct migrator_clock *clock)
{
    struct migrator_flow *flow = migrator_find_flow(m, seen->id);
    struct migrator_peer *peer;

    if (flow) {
        flow->generation = m->generation;
        return;
    }
    if (!seen->bound || !memcmp(seen->peer_endpoint, no_endpoint,
                                sizeof no_endpoint)) {
        return;
    }
    peer = migrator_find_peer(m, seen->peer_endpoint);
    if (!peer && !(peer = add_peer(m, seen->peer_endpoint, clock))) {
        m->counters.untracked++;
        return;
    }
    struct migrator_group *group = choose_group(m, peer, seen);
    if (!group) {
        m->counters.untracked++;
        return;
    }
    bool first = !group->n_flows;
    flow = xzalloc(sizeof *flow);
    flow->id = seen->id;
    flow->generation = m->generation;
    hmap_insert(&m->flows, &flow->node, hash_int(flow->id, 0));
    migrator_put_flow(flow, group);
    if (first && (group->machine.state == MIGRATION_CLOSED
                  || !same_path(&group->path, &seen->path))) {
        start_group(group, seen, clock);
    } else if (first) {
        migrator_reconsider(group, clock); /* Uplinks may have changed. */
    }
    adopt_path(group, flow, seen);
    if (!first && (group->moving || group->use_pending)) {
        group->list_wanted = true; /* The peer may think otherwise. */
    }
    migrator_arm(group);
}

static void
remove_flow(struct migrator_flow *flow, const struct migrator_clock *clock)
{
    struct migrator_group *group = flow->group;

    take_out(flow);
    hmap_remove(&group->migrator->flows, &flow->node);
    free(flow);
    if (!group->n_flows) {
        group->empty_since = clock->ms;
        migrator_arm(group);
    }
}

void
migrator_flow_closed(struct migrator *m, uint32_t id,
                     const struct migrator_clock *clock)
{
    struct migrator_flow *flow = migrator_find_flow(m, id);
    if (flow) {
        remove_flow(flow, clock);
    }
}

void
migrator_resync_begin(struct migrator *m)
{
    m->generation++;
}

void
migrator_resync_end(struct migrator *m, const struct migrator_clock *clock)
{
    struct migrator_flow *flow;

    HMAP_FOR_EACH_SAFE (flow, node, &m->flows) {
        if (flow->generation != m->generation) {
            remove_flow(flow, clock);
        }
    }
}

/* Timers. */

static int64_t
group_deadline(const struct migrator_group *group)
{
    int64_t deadline = migrator_policy_deadline(group);

    if (!group->n_flows) {
        return group->empty_since == INT64_MIN
               ? INT64_MAX : group->empty_since + EMPTY_LIFE_MS;
    }
    deadline = MIN(deadline, migration_deadline(&group->machine));
    return group->use_pending ? MIN(deadline, group->use_at) : deadline;
}

/* The heap has the largest first. */
void
migrator_arm(struct migrator_group *group)
{
    heap_change(&group->migrator->timers, &group->timer,
                INT64_MAX - group_deadline(group));
}

static int64_t
first_deadline(const struct migrator *m)
{
    return heap_is_empty(&m->timers)
           ? INT64_MAX
           : INT64_MAX - (int64_t) heap_max(&m->timers)->priority;
}

static void
run_group(struct migrator_group *group, const struct migrator_clock *clock)
{
    if (!group->n_flows) {
        if (clock->ms >= group->empty_since + EMPTY_LIFE_MS) {
            remove_group(group);
            return;
        }
    } else {
        migrator_group_run(group, clock);
        migrator_policy_run(group, clock);
    }
    migrator_arm(group);
}

/* Bounded: what is left is due again at once. */
#define RUNS_AT_ONCE 1024

void
migrator_run(struct migrator *m, const struct migrator_clock *clock)
{
    if (clock->ms >= m->reconsider_at) {
        migrator_reconsider_all(m, clock);
    }
    if (clock->ms >= m->look_at) {
        migrator_look(m, clock);
    }
    for (int i = 0; i < RUNS_AT_ONCE && first_deadline(m) <= clock->ms; i++) {
        run_group(CONTAINER_OF(heap_max(&m->timers), struct migrator_group,
                               timer), clock);
    }
}

int64_t
migrator_deadline(const struct migrator *m)
{
    int64_t deadline = MIN(first_deadline(m), m->reconsider_at);
    return hmap_is_empty(&m->flows) ? deadline : MIN(deadline, m->look_at);
}

/* Life. */

struct migrator *
migrator_create(const struct identity *self,
                const uint8_t secret[MIGRATION_SECRET_LEN],
                const struct migrator_ops *ops, void *aux)
{
    struct migrator *m = xzalloc(sizeof *m);

    m->self = self;
    m->ops = ops;
    m->aux = aux;
    memcpy(m->secret, secret, sizeof m->secret);
    m->next_stamp = 1;
    m->reconsider_at = INT64_MAX;
    hmap_init(&m->peers);
    hmap_init(&m->flows);
    heap_init(&m->timers);
    return m;
}

void
migrator_configure(struct migrator *m, const struct migrator_config *config)
{
    m->config = *config;
}

void
migrator_destroy(struct migrator *m)
{
    struct migrator_flow *flow;
    struct migrator_peer *peer;

    if (!m) {
        return;
    }
    HMAP_FOR_EACH_SAFE (flow, node, &m->flows) {
        take_out(flow);
        hmap_remove(&m->flows, &flow->node);
        free(flow);
    }
    HMAP_FOR_EACH_SAFE (peer, node, &m->peers) {
        struct ovs_list groups = OVS_LIST_INITIALIZER(&groups);
        struct migrator_group *group;
        ovs_list_push_back_all(&groups, &peer->groups);
        LIST_FOR_EACH_SAFE (group, node, &groups) {
            remove_group(group); /* The last one takes the peer along. */
        }
    }
    hmap_destroy(&m->peers);
    hmap_destroy(&m->flows);
    heap_destroy(&m->timers);
    sodium_memzero(m->secret, sizeof m->secret);
    free(m);
}

const struct migrator_counters *
migrator_counters(const struct migrator *m)
{
    return &m->counters;
}

size_t
migrator_n_peers(const struct migrator *m)
{
    return hmap_count(&m->peers);
}

size_t
migrator_n_groups(const struct migrator *m)
{
    return m->n_groups;
}

const uint8_t *
migrator_peer_key(const struct migrator *m,
                  const uint8_t id[SAL_ENDPOINT_ID_LEN])
{
    const struct migrator_peer *peer = migrator_find_peer(m, id);
    struct migrator_group *group;

    if (peer && peer->crypto.has_key) {
        LIST_FOR_EACH (group, node, &peer->groups) {
            if (group->machine.peer_seq_known) {
                return peer->crypto.key;
            }
        }
    }
    return NULL;
}

/* It said where it is, or confirmed from there where we are: after a restart
 * only we have something to say. */
bool
migrator_peer_is_at(const struct migrator *m,
                    const uint8_t id[SAL_ENDPOINT_ID_LEN],
                    const struct migration_locator *locator)
{
    const struct migrator_peer *peer = migrator_find_peer(m, id);
    struct migrator_group *group;

    if (peer) {
        LIST_FOR_EACH (group, node, &peer->groups) {
            struct migration_locator at = group->machine.peer;
            struct migration_locator from = group->confirmed_from;
            if (!locator->port) {
                at.port = from.port = 0;
            }
            if ((group->machine.bound_stamp
                 && migration_locator_equal(&at, locator))
                || migration_locator_equal(&from, locator)) {
                return true;
            }
        }
    }
    return false;
}
