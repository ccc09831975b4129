/* SPDX-License-Identifier: Apache-2.0 */
/* Moves that somebody asks for. */
#include "agents/migrator_private.h"

#include <stdlib.h>
#include <string.h>
#include "openvswitch/util.h"
#include "util.h"

/* A new group of 'n' of the group's flows. */
static struct migrator_group *
split(struct migrator_group *group, const uint32_t *ids, size_t n,
      const struct migrator_clock *clock)
{
    struct migrator *m = group->migrator;
    struct migration_context context;
    struct migrator_group *part;

    migrator_context(m, clock, &context);
    part = migrator_add_group(m, group->peer, (context.nonce >> 32) | 1);
    if (!part) {
        return NULL;
    }
    part->path = group->path;
    part->held = group->held;
    for (size_t i = 0; i < n; i++) {
        migrator_put_flow(migrator_find_flow(m, ids[i]), part);
    }
    migrator_group_start(part, &group->place, &group->machine.peer, clock);
    part->machine.flows_known = true;
    part->list_wanted = true;
    if (!group->n_flows) {
        group->empty_since = clock->ms;
    }
    migrator_group_apply(part);
    migrator_arm(group);
    return part;
}

static bool
target_place(const struct migrator_group *group, int to,
             const struct migrator_clock *clock, struct migrator_place *place)
{
    const struct migrator *m = group->migrator;
    int family = migrator_family(&group->path.peer);

    if (!to) {
        return migrator_choose_place(group, group->place.ifindex, clock,
                                     place);
    }
    for (size_t i = 0; i < m->n_uplinks; i++) {
        if (m->uplinks[i].ifindex == to) {
            if (!migrator_has_place(&m->uplinks[i], family)) {
                family = !family;
            }
            if (migrator_has_place(&m->uplinks[i], family)) {
                migrator_place_at(&m->uplinks[i], family, place);
                return true;
            }
        }
    }
    return false;
}

static void
command_group(struct migrator_group *group, int to,
              const struct migrator_clock *clock, struct migrator_moves *ret)
{
    struct migrator_place place;

    if (!target_place(group, to, clock, &place)) {
        ret->error = "there is no other uplink that is up and has an address";
        return;
    }
    group->pinned = place.ifindex;
    if (place.ifindex == group->path.ifindex && !group->moving
        && migration_locator_equal(&place.locator, &group->path.own)) {
        ret->n_stay += group->n_flows;
        return;
    }
    ret->n_groups++;
    ret->n_flows += group->n_flows;
    group->ticket = ret->ticket;
    group->bad = 0;
    migrator_begin(group, &place, MIGRATOR_COMMAND, clock);
    migrator_arm(group);
}

static int
compare_flows(const void *a_, const void *b_)
{
    const struct migrator_flow *a = *(struct migrator_flow *const *) a_;
    const struct migrator_flow *b = *(struct migrator_flow *const *) b_;
    return a->group < b->group ? -1 : a->group > b->group;
}

/* Flows of one group: all of it, or a part that becomes a group. */
static void
command_part(struct migrator_flow **flows, size_t n, int to,
             const struct migrator_clock *clock, struct migrator_moves *ret)
{
    struct migrator_group *group = flows[0]->group;

    if (n < group->n_flows) {
        uint32_t *ids = xmalloc(n * sizeof *ids);
        if (!group->peer->crypto.has_key) {
            ret->error = "the peer's daemon has not answered yet";
            free(ids);
            return;
        }
        for (size_t i = 0; i < n; i++) {
            ids[i] = flows[i]->id;
        }
        group = split(group, ids, n, clock);
        free(ids);
        if (!group) {
            ret->error = "the peer has 64 groups already";
            return;
        }
    }
    command_group(group, to, clock, ret);
}

static void
command_flows(struct migrator *m, const struct migrator_choice *choice,
              const struct migrator_clock *clock, struct migrator_moves *ret)
{
    struct migrator_flow **flows
        = xmalloc((choice->n_flows + 1) * sizeof *flows);
    size_t n = 0;

    for (size_t i = 0; i < choice->n_flows; i++) {
        flows[n] = migrator_find_flow(m, choice->flows[i]);
        n += flows[n] != NULL;
    }
    qsort(flows, n, sizeof *flows, compare_flows);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && flows[end]->group == flows[i]->group;
             end++) {
            continue;
        }
        command_part(flows + i, end - i, choice->to, clock, ret);
    }
    free(flows);
}

void
migrator_move(struct migrator *m, const struct migrator_choice *choice,
              const struct migrator_clock *clock, struct migrator_moves *ret)
{
    struct migrator_peer *peer;

    *ret = (struct migrator_moves) {.ticket = ++m->last_ticket};
    if (choice->flows) {
        command_flows(m, choice, clock, ret);
        return;
    }
    HMAP_FOR_EACH (peer, node, &m->peers) {
        struct migrator_group *group;
        if (choice->peer && memcmp(choice->peer, peer->crypto.id,
                                   sizeof peer->crypto.id)) {
            continue;
        }
        LIST_FOR_EACH (group, node, &peer->groups) {
            if (group->n_flows
                && (choice->peer || group->place.ifindex == choice->ifindex)) {
                command_group(group, choice->to, clock, ret);
            }
        }
    }
}

bool
migrator_moves_check(const struct migrator *m, struct migrator_moves *moves)
{
    const struct migrator_peer *peer;
    bool under_way = false;

    moves->n_confirmed = 0;
    moves->slowest_ms = 0;
    HMAP_FOR_EACH (peer, node, &m->peers) {
        const struct migrator_group *group;
        LIST_FOR_EACH (group, node, &peer->groups) {
            if (group->ticket == moves->ticket) {
                under_way |= group->moving && group->n_flows;
                moves->n_confirmed += !group->moving;
                moves->slowest_ms = MAX(moves->slowest_ms,
                                        group->moving ? 0 : group->took_ms);
            }
        }
    }
    return !under_way;
}
