/* SPDX-License-Identifier: Apache-2.0 */
/* When a group is to move, and where to. */
#include "agents/migrator_private.h"

#include <stdlib.h>
#include <string.h>
#include "openvswitch/util.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(migrator_policy);

/* RSYNs of a move (or of a probe) are not answered: after so long another
 * uplink is tried, or the old one again.  Three RSYNs are out by then. */
#define GIVE_UP_MS 1000
/* Nothing else is to be had: the machine goes on, and we look again. */
#define TRY_AGAIN_MS 3000

/* An uplink that did not answer is left alone for so long, doubled each time,
 * five times. */
#define BAD_MS 10000

/* A NAT must see a packet this often (RFC 4787, REQ-5: it forgets after two
 * minutes; many do much earlier).  It also tells the peer which port a NAT
 * that has forgotten gives us then. */
#define NAT_KEEP_MS 15000

/* Between probes of a path that proves to be good. */
#define PROBE_MAX_MS 60000

#define SUSPECT_AFTER_MS 1000

/* Flows looked at in one go. */
#define LOOK_FLOWS 256

/* Places. */

void
migrator_place_at(const struct migrator_uplink *uplink, int family,
                  struct migrator_place *place)
{
    place->ifindex = uplink->ifindex;
    place->nat = uplink->nat;
    place->locator = uplink->locators[family];
}

bool
migrator_has_place(const struct migrator_uplink *uplink, int family)
{
    return uplink->ifindex && uplink->usable
           && !migration_locator_is_none(&uplink->locators[family]);
}

bool
migrator_place_of_address(const struct migrator *m, int ifindex,
                          const struct migration_locator *own,
                          struct migrator_place *ret_place)
{
    for (size_t i = 0; i < m->n_uplinks; i++) {
        const struct migrator_uplink *uplink = &m->uplinks[i];
        for (int f = 0; f < MIGRATOR_N_FAMILIES; f++) {
            if (migrator_has_place(uplink, f)
                && (!ifindex || uplink->ifindex == ifindex)
                && migration_locator_equal(&uplink->locators[f], own)) {
                migrator_place_at(uplink, f, ret_place);
                return true;
            }
        }
    }
    return false;
}

bool
migrator_place_of_path(const struct migrator *m,
                       const struct datapath_path *path,
                       struct migrator_place *ret_place)
{
    return migrator_place_of_address(m, path->ifindex, &path->own, ret_place);
}

static bool
is_bad(const struct migrator_group *group, int ifindex,
       const struct migrator_clock *clock)
{
    return group->bad == ifindex && clock->ms < group->bad_until;
}

struct candidate {
    bool found;
    size_t uplink;
    int family;
    unsigned int rank;
};

/* The best usable uplink with an address of 'family' but 'not' (0 = any):
 * lowest rank, then the one in use, then the first. */
static void
find_in_family(const struct migrator_group *group, int not, int family,
               const struct migrator_clock *clock, struct candidate *best)
{
    const struct migrator *m = group->migrator;

    for (size_t i = 0; i < m->n_uplinks; i++) {
        const struct migrator_uplink *uplink = &m->uplinks[i];
        if (!migrator_has_place(uplink, family) || uplink->ifindex == not
            || is_bad(group, uplink->ifindex, clock)) {
            continue;
        }
        if (!best->found || uplink->rank < best->rank
            || (uplink->rank == best->rank
                && uplink->ifindex == group->path.ifindex)) {
            *best = (struct candidate) {true, i, family, uplink->rank};
        }
    }
}

bool
migrator_choose_place(const struct migrator_group *group, int not,
                      const struct migrator_clock *clock,
                      struct migrator_place *ret_place)
{
    int family = migrator_family(&group->path.peer);
    struct candidate best = {.found = false};

    find_in_family(group, not, family, clock, &best);
    if (!best.found) {
        find_in_family(group, not, !family, clock, &best);
    }
    if (best.found) {
        migrator_place_at(&group->migrator->uplinks[best.uplink], best.family,
                 ret_place);
    }
    return best.found;
}

/* The address of the other version of IP on the uplink where the group is. */
static bool
other_version(const struct migrator_group *group,
              struct migrator_place *ret_place)
{
    const struct migrator *m = group->migrator;
    int family = !migrator_family(&group->place.locator);

    for (size_t i = 0; i < m->n_uplinks; i++) {
        if (m->uplinks[i].ifindex == group->place.ifindex
            && migrator_has_place(&m->uplinks[i], family)) {
            migrator_place_at(&m->uplinks[i], family, ret_place);
            return true;
        }
    }
    return false;
}

/* Moves. */

void
migrator_tell(struct migrator_group *group, enum migrator_event_type type,
              const struct datapath_path *from,
              const struct migrator_clock *clock)
{
    struct migrator *m = group->migrator;
    struct migrator_event event = {.type = type,
                                   .reason = group->reason,
                                   .group = group->machine.group,
                                   .n_flows = group->n_flows,
                                   .from = *from,
                                   .to = group->path};

    if (type == MIGRATOR_PEER_MOVED) {
        event.reason = MIGRATOR_BY_PEER;
    } else {
        event.duration_ms = clock->ms - group->started_at;
    }
    if (type == MIGRATOR_MOVING) {
        event.to.ifindex = group->place.ifindex;
        event.to.own = group->place.locator;
    }
    memcpy(event.peer, group->peer->crypto.id, sizeof event.peer);
    m->ops->event(&event, m->aux);
}

static void
hold(struct migrator_group *group)
{
    if (!group->held) {
        group->held = true;
        migrator_group_apply(group);
    }
}

void
migrator_begin(struct migrator_group *group,
               const struct migrator_place *place,
               enum migrator_reason reason, const struct migrator_clock *clock)
{
    static const struct migrator_place none;

    if (!group->moving) {
        group->moving = true;
        group->started_at = clock->ms;
        group->from = group->path;
        group->reason = reason;
    }
    /* Make before break, where the old path is good. */
    if (reason == MIGRATOR_SILENT || group->held
        || !migrator_same_family(&group->path.own, &group->path.peer)
        || !migrator_place_of_path(group->migrator, &group->path,
                                   &group->back)) {
        group->back = none;
    }
    group->probing = false;
    group->give_up_at = clock->ms
                        + ((int64_t) GIVE_UP_MS << MIN(group->n_bad, 5));
    migrator_group_announce(group, place, clock);
    /* If nobody answers by the old path, perhaps it is only the peer's daemon
     * that is not there: DATA goes on. */
    if (!group->back.ifindex && reason != MIGRATOR_SILENT) {
        hold(group);
    }
    migrator_tell(group, MIGRATOR_MOVING, &group->from, clock);
}

static void
lose(struct migrator_group *group, const struct migrator_clock *clock)
{
    if (!group->moving) {
        group->moving = true;
        group->started_at = clock->ms;
        group->from = group->path;
        group->reason = MIGRATOR_LOST;
    }
    group->probing = false;
    group->give_up_at = INT64_MAX;
    group->back.ifindex = 0;
    migrator_group_lose(group, clock);
    hold(group);
    migrator_tell(group, MIGRATOR_HELD, &group->from, clock);
}

static bool
is_settled(const struct migrator *m, const struct migrator_place *place,
           const struct migrator_clock *clock)
{
    int family = migrator_family(&place->locator);

    for (size_t i = 0; i < m->n_uplinks; i++) {
        if (m->uplinks[i].ifindex == place->ifindex) {
            return clock->ms
                   >= m->usable_since[i][family] + m->config.hysteresis_ms;
        }
    }
    return false;
}

static unsigned int
rank_of(const struct migrator *m, int ifindex)
{
    for (size_t i = 0; i < m->n_uplinks; i++) {
        if (m->uplinks[i].ifindex == ifindex) {
            return m->uplinks[i].rank;
        }
    }
    return UINT_MAX;
}

/* A better uplink than the one that it is on. */
static void
consider_better(struct migrator_group *group,
                const struct migrator_clock *clock)
{
    struct migrator *m = group->migrator;
    struct migrator_place place;

    if (group->pinned || group->moving
        || !migrator_choose_place(group, 0, clock, &place)
        || rank_of(m, place.ifindex) >= rank_of(m, group->place.ifindex)
        || !migrator_same_family(&place.locator, &group->place.locator)) {
        return;
    }
    if (is_settled(m, &place, clock)) {
        migrator_begin(group, &place, MIGRATOR_PREFERRED, clock);
    }
}

/* While nobody answers over the other version of IP: an address of the peer's
 * has come (back). */
static void
consider_peers_version(struct migrator_group *group,
                       const struct migrator_clock *clock)
{
    struct migrator_place place;

    if (group->moving && !group->back.ifindex
        && migration_own_outstanding(&group->machine)
        && !migrator_same_family(&group->place.locator, &group->path.peer)
        && migrator_choose_place(group, 0, clock, &place)
        && migrator_same_family(&place.locator, &group->path.peer)) {
        migrator_begin(group, &place, MIGRATOR_LOST, clock);
    }
}

void
migrator_reconsider(struct migrator_group *group,
                    const struct migrator_clock *clock)
{
    struct migrator *m = group->migrator;
    struct migrator_place place;

    if (!m->config.enabled || !group->n_flows) {
        return;
    }
    if (group->place.ifindex
        && migrator_place_of_address(m, group->place.ifindex,
                                     &group->place.locator, &place)) {
        /* An old path that was good until now is not needed any more. */
        if (group->moving && group->back.ifindex
            && !migrator_place_of_path(m, &group->path, &place)) {
            group->back.ifindex = 0;
            hold(group);
            if (group->use_pending) {
                migrator_group_use(group, clock);
            }
        }
        if (place.nat != group->place.nat && !group->moving) {
            /* It is known only now that there is one, or none. */
            migrator_begin(group, &place, MIGRATOR_COMMAND, clock);
        }
        consider_peers_version(group, clock);
        consider_better(group, clock);
        return;
    }
    group->pinned = 0;
    if (migrator_choose_place(group, 0, clock, &place)) {
        migrator_begin(group, &place, MIGRATOR_LOST, clock);
    } else if (group->place.ifindex
               || group->machine.state != MIGRATION_NOADDRESS) {
        if (!group->held || group->place.ifindex) {
            lose(group, clock);
        }
    }
}

/* When an uplink has lasted long enough. */
static void
plan_reconsidering(struct migrator *m, const struct migrator_clock *clock)
{
    for (size_t i = 0; i < m->n_uplinks; i++) {
        for (int f = 0; f < MIGRATOR_N_FAMILIES; f++) {
            int64_t at = m->usable_since[i][f] + m->config.hysteresis_ms;
            if (migrator_has_place(&m->uplinks[i], f) && at > clock->ms) {
                m->reconsider_at = MIN(m->reconsider_at, at);
            }
        }
    }
}

void
migrator_reconsider_all(struct migrator *m, const struct migrator_clock *clock)
{
    struct migrator_peer *peer;

    m->reconsider_at = INT64_MAX;
    HMAP_FOR_EACH (peer, node, &m->peers) {
        struct migrator_group *group;
        LIST_FOR_EACH (group, node, &peer->groups) {
            migrator_reconsider(group, clock);
            migrator_arm(group);
            /* When one that did not answer is to be tried again. */
            if (group->bad && group->bad_until > clock->ms) {
                m->reconsider_at = MIN(m->reconsider_at, group->bad_until);
            }
        }
    }
    plan_reconsidering(m, clock);
}

void
migrator_set_uplinks(struct migrator *m, const struct migrator_uplink *uplinks,
                     size_t n, const struct migrator_clock *clock)
{
    n = MIN(n, MIGRATOR_MAX_UPLINKS);
    for (size_t i = 0; i < n; i++) {
        for (int f = 0; f < MIGRATOR_N_FAMILIES; f++) {
            bool was = i < m->n_uplinks
                       && m->uplinks[i].ifindex == uplinks[i].ifindex
                       && migrator_has_place(&m->uplinks[i], f);
            if (!was && migrator_has_place(&uplinks[i], f)) {
                m->usable_since[i][f] = clock->ms;
            }
        }
        m->uplinks[i] = uplinks[i];
    }
    m->n_uplinks = n;
    migrator_reconsider_all(m, clock);
}

/* Silence. */

void
migrator_probe(struct migrator_group *group,
               const struct migrator_clock *clock)
{
    struct migrator *m = group->migrator;

    if (!m->config.enabled || !m->config.probe_ms || group->held
        || group->moving || group->probing || clock->ms < group->probe_at
        || !group->place.ifindex
        || migration_own_outstanding(&group->machine)) {
        return;
    }
    /* The path was good, and yet something is not answered: perhaps the peer
     * takes a flow to be elsewhere. */
    group->list_wanted = group->n_probes > 0;
    group->probing = true;
    group->probe_at = clock->ms
                      + MIN(m->config.probe_ms << MIN(group->n_probes, 8),
                            PROBE_MAX_MS);
    group->n_probes++;
    group->give_up_at = clock->ms + GIVE_UP_MS;
    m->counters.probes++;
    migrator_group_announce(group, &group->place, clock);
}

void
migrator_suspect(struct migrator *m, const struct migrator_clock *clock)
{
    struct migrator_peer *peer;

    HMAP_FOR_EACH (peer, node, &m->peers) {
        struct migrator_group *group;
        LIST_FOR_EACH (group, node, &peer->groups) {
            /* One that has just moved was told by the same change. */
            if (group->n_flows
                && clock->ms >= group->started_at + SUSPECT_AFTER_MS) {
                group->n_probes = 0;
                group->probe_at = 0;
                migrator_probe(group, clock);
                migrator_arm(group);
            }
        }
    }
}

/* Announces again where we are, behind a NAT: now and then, and when a flow
 * falls silent.  If the NAT has forgotten us, who only receives learns it in
 * no other way.  Nor does once suffice: the NAT may forget right after that.
 * So it is done whenever the silence has doubled. */
static void
keep_mapping(struct migrator_group *group, int64_t quiet_ms, int64_t wait,
             const struct migrator_clock *clock)
{
    int64_t since = clock->ms - group->machine.started_at;

    if (group->place.nat && !group->held && !group->moving && !group->probing
        && !migration_own_outstanding(&group->machine)
        && (since >= NAT_KEEP_MS
            || (quiet_ms >= wait && since >= quiet_ms / 2))) {
        group->probing = true;
        group->give_up_at = clock->ms + GIVE_UP_MS;
        migrator_group_announce(group, &group->place, clock);
        migrator_arm(group);
    }
}

/* One silence is over: the next one is probed as soon as the first was. */
static void
note_heard(struct migrator_group *group, int64_t at)
{
    group->alive_at = MAX(group->alive_at, at);
    if (at > group->machine.started_at && !group->probing) {
        group->n_probes = 0;
        group->probe_at = 0;
    }
}

/* Looks at some of the flows: which are gone, which get no answer. */
void
migrator_look(struct migrator *m, const struct migrator_clock *clock)
{
    int64_t wait = m->config.probe_ms ? m->config.probe_ms : 1000;

    m->look_at = clock->ms + MAX(wait / 2, 50);
    for (int i = 0; i < LOOK_FLOWS && i < hmap_count(&m->flows); i++) {
        struct hmap_node *node = hmap_at_position(&m->flows, &m->cursor);
        if (!node) {
            m->cursor = (struct hmap_position) {0, 0};
            continue;
        }
        struct migrator_flow *flow = CONTAINER_OF(node, struct migrator_flow,
                                                  node);
        struct migrator_group *group = flow->group;
        struct datapath_flow seen;
        if (m->ops->look(flow->id, &seen, m->aux) || !seen.bound) {
            migrator_flow_closed(m, flow->id, clock);
            continue;
        }
        note_heard(group, clock->ms - seen.quiet_ms);
        if (seen.unanswered && clock->ms - group->alive_at >= wait) {
            migrator_probe(group, clock);
            migrator_arm(group);
        } else {
            keep_mapping(group, seen.quiet_ms, wait, clock);
        }
    }
}

/* No answer by the place that was announced. */
static void
give_up_place(struct migrator_group *group, const struct migrator_clock *clock)
{
    struct migrator *m = group->migrator;
    struct migrator_place place;

    group->give_up_at = clock->ms + TRY_AGAIN_MS;
    if (!migrator_choose_place(group, group->place.ifindex, clock, &place)
        && !group->back.ifindex) {
        if (other_version(group, &place)) {
            group->n_bad++;
            migrator_begin(group, &place, MIGRATOR_SILENT, clock);
        }
        return;
    }
    group->bad = group->place.ifindex;
    group->bad_until = clock->ms + ((int64_t) BAD_MS << MIN(group->n_bad, 5));
    group->n_bad++;
    m->reconsider_at = MIN(m->reconsider_at, group->bad_until);
    group->pinned = 0;
    if (group->moving && group->back.ifindex) {
        place = group->back;
        group->back.ifindex = 0;
        group->moving = false;
        group->ticket = 0;
        group->give_up_at = INT64_MAX;
        migrator_group_announce(group, &place, clock);
        migrator_tell(group, MIGRATOR_REVERTED, &group->from, clock);
    } else {
        migrator_begin(group, &place, MIGRATOR_SILENT, clock);
    }
}

void
migrator_policy_run(struct migrator_group *group,
                    const struct migrator_clock *clock)
{
    if (clock->ms >= group->give_up_at) {
        if (migration_own_outstanding(&group->machine)
            && (group->probing || group->moving)) {
            give_up_place(group, clock);
        } else {
            group->give_up_at = INT64_MAX;
        }
    }
}

int64_t
migrator_policy_deadline(const struct migrator_group *group)
{
    return group->give_up_at;
}
