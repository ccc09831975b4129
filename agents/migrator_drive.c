/* SPDX-License-Identifier: Apache-2.0 */
/* A group's machine: what goes in, what comes out. */
#include "agents/migrator_private.h"

#include <sodium.h>
#include <string.h>
#include "openvswitch/util.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(migrator_drive);

/* After a break, our DATA follows the RSYN-DONE that allows it by so long: the
 * peer's data plane is faster than its daemon, and would drop it. */
#define USE_DELAY_MS 2

/* Flows that were silent for so long may wait for TCP's second timer, or a
 * later one. */
#define SILENT_MS 500

/* A link is down for less than this until we know. */
#define NOTICED_MS 100

/* Where a peer is, is asked at most so often of each, and of all together. */
#define ASK_INTERVAL_MS 50
#define ASK_MAX 16

static const struct migration_locator nowhere;

/* Nonces need only be unpredictable and unique. */
void
migrator_context(struct migrator *m, const struct migrator_clock *clock,
                 struct migration_context *context)
{
    uint64_t nonce[2];

    m->n_nonces++;
    crypto_generichash((uint8_t *) nonce, sizeof nonce,
                       (const uint8_t *) &m->n_nonces, sizeof m->n_nonces,
                       m->secret, sizeof m->secret);
    context->now = clock->ms;
    context->nonce = nonce[0] | 1;
    context->secret = m->secret;
}

/* One step of a machine. */
struct step {
    struct migrator_group *group;
    const struct migrator_clock *clock;
    const struct migrator_packet *in;    /* What is answered, or NULL; */
    const struct migration_message *message;
    uint8_t rsyn[SAL_MAX_HEADER_LEN];    /* Sealed once, sent to several. */
    size_t rsyn_len;
    bool bound;                          /* The peer's flows moved, */
    struct datapath_path from;           /* away from here. */
};

/* Sending. */

/* Nobody has answered: perhaps the network does not know endpoint service IDs,
 * and the peer is not where it was. */
static void
ask_for_peer(struct migrator_group *group, const struct migrator_clock *clock)
{
    struct migrator *m = group->migrator;
    struct migrator_peer *peer = group->peer;

    if (clock->ms >= m->asking_at + ASK_INTERVAL_MS) {
        m->asking_at = clock->ms;
        m->n_asked = 0;
    }
    if (m->n_asked < ASK_MAX
        && !(peer->asked && clock->ms < peer->asked_at + ASK_INTERVAL_MS)
        && m->ops->ask(peer->crypto.id, m->aux)) {
        m->n_asked++;
        m->counters.asked++;
        peer->asked = true;
        peer->asked_at = clock->ms;
    }
}

static void
transmit(struct step *step, const struct migration_action *action,
         const void *data, size_t len)
{
    struct migrator_group *group = step->group;
    struct migrator *m = group->migrator;
    struct migrator_packet out = {.data = data, .len = len,
                                  .ifindex = group->place.ifindex,
                                  .own = group->machine.local,
                                  .other = action->to};

    /* Answers leave from where the question arrived. */
    if (step->in && (action->signal.kind == MIGRATION_CHALLENGE
                     || action->signal.kind == MIGRATION_BOUND)) {
        out.ifindex = step->in->ifindex;
        out.own = step->in->own;
    }
    if (!action->resolve && !migrator_same_family(&out.own, &out.other)) {
        return;
    }
    if (action->signal.kind == MIGRATION_RSYN) {
        out.again = group->machine.attempts > 1;
        if (out.again && action->resolve) {
            ask_for_peer(group, step->clock);
        }
    } else if (action->signal.kind == MIGRATION_CHALLENGE) {
        out.again = group->challenged == action->signal.nonce;
        group->challenged = action->signal.nonce;
    }
    if (m->ops->send(&out, m->aux)) {
        m->counters.send_failed++;
    } else {
        m->counters.sent++;
    }
}

static void
send_list(struct step *step, const struct migration_action *action,
          struct migration_details *details)
{
    struct migrator_group *group = step->group;
    struct migrator *m = group->migrator;
    uint8_t packet[SAL_MAX_HEADER_LEN];
    uint32_t flows[MIGRATION_FLOWS_PER_PART];
    size_t n = MIN(group->n_flows,
                   MIGRATION_FLOWS_PER_PART * MIGRATION_MAX_PARTS);

    details->parts = migration_parts_needed(n);
    details->flows = flows;
    migration_parts_begin(&group->sent, details->parts);
    for (size_t i = 0; i < n || !i; i += MIGRATION_FLOWS_PER_PART) {
        details->part++;
        details->n_flows = 0;
        for (size_t k = i; k < n && k < i + MIGRATION_FLOWS_PER_PART; k++) {
            struct datapath_flow flow;
            if (!m->ops->look(group->ids[k], &flow, m->aux)
                && flow.peer_id) {
                flows[details->n_flows++] = flow.peer_id;
            }
        }
        if (!details->n_flows && details->parts > 1) {
            /* All of them have just ended; a part is never empty. */
            flows[details->n_flows++] = UINT32_MAX;
        }
        size_t len = migration_peer_seal(&group->peer->crypto, m->self,
                                         &action->signal, details, packet);
        transmit(step, action, packet, len);
    }
}

static void
act_send(struct step *step, const struct migration_action *action)
{
    struct migrator_group *group = step->group;
    struct migrator *m = group->migrator;
    enum migration_kind kind = action->signal.kind;
    struct migration_details details = {.group = group->machine.group,
                                        .unix_ms = step->clock->unix_ms};
    uint8_t packet[SAL_MAX_HEADER_LEN];

    if (step->message) {
        details.ack = kind == MIGRATION_CHALLENGE || kind == MIGRATION_BOUND
                      ? step->message->seq : 0;
        if (kind == MIGRATION_BOUND) {
            details.part = step->message->part;
            details.parts = step->message->parts;
        }
    }
    if (kind == MIGRATION_DONE) {
        bool authentic = step->message && step->message->signal.mac;
        if (action->signal.need_flows || (group->list_wanted && authentic)) {
            group->list_wanted = false;
            send_list(step, action, &details);
            return;
        }
        migration_parts_begin(&group->sent, 1);
    }
    if (kind == MIGRATION_RSYN && step->rsyn_len) {
        transmit(step, action, step->rsyn, step->rsyn_len);
        return;
    }
    size_t len = migration_peer_seal(&group->peer->crypto, m->self,
                                     &action->signal, &details, packet);
    if (kind == MIGRATION_RSYN) {
        memcpy(step->rsyn, packet, len);
        step->rsyn_len = len;
    }
    transmit(step, action, packet, len);
}

/* The RSYN of our move to some more places. */
static void
announce_at(struct migrator_group *group,
            const struct migration_locator locators[], size_t n,
            const struct migrator_clock *clock)
{
    const struct migration *machine = &group->machine;
    struct step step = {.group = group, .clock = clock};
    struct migration_action action = {
        .type = MIGRATION_SEND,
        .signal = {.kind = MIGRATION_RSYN, .nat = machine->behind_nat,
                   .mac = machine->key_known, .nonce = machine->nonce,
                   .locator = machine->local}};

    for (size_t i = 0; i < n; i++) {
        if (!migration_locator_is_none(&locators[i])
            && !migration_locator_equal(&locators[i], &machine->peer)
            && !migration_locator_equal(&locators[i], &machine->candidate)) {
            action.to = locators[i];
            act_send(&step, &action);
        }
    }
}

bool
migrator_peer_at(struct migrator *m, const uint8_t id[SAL_ENDPOINT_ID_LEN],
                 const struct migration_locator locators[], size_t n,
                 const struct migrator_clock *clock)
{
    struct migrator_peer *peer = migrator_find_peer(m, id);
    struct migrator_group *group;

    if (!peer || !peer->asked) {
        return false;
    }
    peer->asked = false;
    LIST_FOR_EACH (group, node, &peer->groups) {
        if (group->place.ifindex
            && migration_own_outstanding(&group->machine)) {
            announce_at(group, locators, n, clock);
        }
    }
    return true;
}

/* The data plane. */

static void
apply_to(struct migrator_group *group, const uint32_t *ids, size_t n)
{
    struct migrator *m = group->migrator;
    struct datapath_move move = {.path = group->path,
                                 .group = group->machine.group,
                                 .late_ms = m->config.late_ms};

    /* Between an IPv4 and an IPv6 locator there is no way. */
    if (group->held
        || !migrator_same_family(&group->path.own, &group->path.peer)
        || migration_locator_is_none(&group->path.peer)) {
        move.path.ifindex = 0;
    }
    memcpy(move.peer_endpoint, group->peer->crypto.id,
           sizeof move.peer_endpoint);
    if (n) {
        m->ops->move(&move, ids, n, m->aux);
    }
}

void
migrator_group_apply(struct migrator_group *group)
{
    apply_to(group, group->ids, group->n_flows);
}

/* Our flows leave from the announced place from now on. */
void
migrator_group_use(struct migrator_group *group,
                   const struct migrator_clock *clock)
{
    struct migrator *m = group->migrator;
    bool was_held = group->held;
    struct datapath_path was = group->path;

    group->use_pending = false;
    group->use_at = INT64_MAX;
    group->held = !group->place.ifindex;
    group->path.ifindex = group->place.ifindex;
    group->path.nat = group->place.nat;
    group->path.own = group->place.locator;
    if (was_held || memcmp(&was, &group->path, sizeof was)) {
        migrator_group_apply(group);
        if (was_held) {
            m->ops->wake(group->ids, group->n_flows, WAKE_NOT_SURE, m->aux);
        }
    }
}

static void
act_use(struct step *step)
{
    struct migrator_group *group = step->group;

    group->use_pending = true;
    if (!group->moving
        && migration_locator_equal(&group->path.own, &group->place.locator)
        && group->path.ifindex == group->place.ifindex) {
        group->use_at = INT64_MAX; /* An introduction: we are there. */
    } else if (group->back.ifindex) {
        /* The old path lasts until the peer has confirmed the new one. */
        group->use_at = INT64_MAX;
    } else {
        group->use_at = step->clock->ms + USE_DELAY_MS;
    }
}

static void
act_bind(struct step *step, const struct migration_action *action)
{
    struct migrator_group *group = step->group;

    step->bound = true;
    step->from = group->path;
    group->path.peer = action->to;
    migrator_group_apply(group);
}

/* After the flows of a list are in the group. */
static void
finish_bind(struct step *step)
{
    struct migrator_group *group = step->group;
    struct migrator *m = group->migrator;

    m->ops->wake(group->ids, group->n_flows, group->alive_at, m->aux);
    m->counters.peer_moves++;
    m->counters.flows_moved += group->n_flows;
    migrator_tell(group, MIGRATOR_PEER_MOVED, &step->from, step->clock);
}

/* The path is as it was, but has perhaps not been there for a while: our
 * flows were held, or the peer's. */
static void
resume_if_silent(struct migrator_group *group,
                 const struct migrator_clock *clock)
{
    struct migrator *m = group->migrator;

    if (!group->held && clock->ms >= group->alive_at + SILENT_MS) {
        int64_t good_ms = group->alive_at;
        group->alive_at = clock->ms;
        migrator_group_apply(group);
        m->ops->wake(group->ids, group->n_flows, good_ms, m->aux);
    }
}

/* The path that we left. */
static int64_t
was_good_until(const struct migrator_group *group)
{
    return group->reason == MIGRATOR_SILENT
           ? group->alive_at : group->started_at - NOTICED_MS;
}

static void
act_confirmed(struct step *step)
{
    struct migrator_group *group = step->group;
    struct migrator *m = group->migrator;
    bool probed = group->probing;

    group->confirmed_from = step->in->other;
    if (group->use_pending) {
        migrator_group_use(group, step->clock);
    }
    group->probing = false;
    group->give_up_at = INT64_MAX;
    group->back.ifindex = 0;
    if (group->moving) {
        group->moving = false;
        group->took_ms = step->clock->ms - group->started_at;
        group->n_probes = group->n_bad = 0;
        m->ops->wake(group->ids, group->n_flows, was_good_until(group),
                     m->aux);
        m->counters.moves++;
        m->counters.flows_moved += group->n_flows;
        migrator_tell(group, MIGRATOR_MOVED, &group->from, step->clock);
    } else if (probed) {
        resume_if_silent(group, step->clock);
    }
}

static void
act(struct step *step, const struct migration_actions *actions)
{
    for (size_t i = 0; i < actions->n; i++) {
        const struct migration_action *action = &actions->actions[i];
        switch (action->type) {
        case MIGRATION_SEND:
            act_send(step, action);
            break;
        case MIGRATION_BIND:
            act_bind(step, action);
            break;
        case MIGRATION_USE:
            act_use(step);
            break;
        case MIGRATION_CONFIRMED:
            act_confirmed(step);
            break;
        }
    }
    /* Flows that joined meanwhile are perhaps not where the peer takes them
     * to be. */
    struct migrator_group *group = step->group;
    if (group->list_wanted && group->place.ifindex
        && group->machine.key_known
        && !migration_own_outstanding(&group->machine)) {
        migrator_group_announce(group, &group->place, step->clock);
    }
}

/* Inputs. */

/* Stamps are counted for all machines together. */
static void
stamps_begin(struct migrator_group *group)
{
    group->machine.next_stamp = MAX(group->machine.next_stamp,
                                    group->migrator->next_stamp);
    group->machine.key_known |= group->peer->crypto.has_key;
}

static void
stamps_end(struct migrator_group *group)
{
    group->migrator->next_stamp = group->machine.next_stamp;
}

void
migrator_group_start(struct migrator_group *group,
                     const struct migrator_place *place,
                     const struct migration_locator *peer,
                     const struct migrator_clock *clock)
{
    struct step step = {.group = group, .clock = clock};
    struct migration_context context;
    struct migration_actions actions;

    group->place = *place;
    group->machine.behind_nat = place->nat;
    migrator_context(group->migrator, clock, &context);
    migration_start(&group->machine, &context, &place->locator, peer,
                    &actions);
    act(&step, &actions);
    migrator_arm(group);
}

void
migrator_group_announce(struct migrator_group *group,
                        const struct migrator_place *place,
                        const struct migrator_clock *clock)
{
    struct step step = {.group = group, .clock = clock};
    struct migration_context context;
    struct migration_actions actions;

    group->place = *place;
    group->use_pending = false;
    group->machine.behind_nat = place->nat;
    group->machine.key_known |= group->peer->crypto.has_key;
    migrator_context(group->migrator, clock, &context);
    migration_set_local(&group->machine, &context, &place->locator, &actions);
    act(&step, &actions);
    migrator_arm(group);
}

void
migrator_group_lose(struct migrator_group *group,
                    const struct migrator_clock *clock)
{
    struct step step = {.group = group, .clock = clock};
    struct migration_actions actions;

    memset(&group->place, 0, sizeof group->place);
    group->use_pending = false;
    migration_lose_local(&group->machine, &actions);
    act(&step, &actions);
    migrator_arm(group);
}

void
migrator_group_run(struct migrator_group *group,
                   const struct migrator_clock *clock)
{
    struct step step = {.group = group, .clock = clock};
    struct migration_context context;
    struct migration_actions actions;

    if (group->use_pending && clock->ms >= group->use_at) {
        migrator_group_use(group, clock);
    }
    if (clock->ms >= migration_deadline(&group->machine)) {
        group->machine.key_known |= group->peer->crypto.has_key;
        migrator_context(group->migrator, clock, &context);
        migration_run(&group->machine, &context, &actions);
        act(&step, &actions);
    }
}

/* Messages. */

/* Would the list in 'message' be complete with it? */
static bool
note_part(struct migrator_group *group,
          const struct migration_message *message)
{
    uint64_t stamp = message->signal.challenge.stamp;

    if (group->got_stamp != stamp) {
        group->got_stamp = stamp;
        migration_parts_begin(&group->got, message->parts);
    }
    return migration_parts_confirm(&group->got, message->part);
}

/* The peer says that these flows are in the group. */
static void
take_list(struct migrator_group *group,
          const struct migration_message *message)
{
    struct migrator *m = group->migrator;
    uint64_t stamp = message->signal.challenge.stamp;
    uint32_t taken[MIGRATION_FLOWS_PER_PART];
    size_t n = 0;

    for (size_t i = 0; i < message->n_flows; i++) {
        struct migrator_flow *flow = migrator_find_flow(m, message->flows[i]);
        if (flow && flow->group->peer == group->peer
            && flow->group != group && stamp > flow->stamp) {
            struct migrator_group *old = flow->group;
            migrator_put_flow(flow, group);
            flow->stamp = stamp;
            taken[n++] = flow->id;
            if (!old->n_flows) {
                old->empty_since = 0; /* Nobody will come back to it. */
                migrator_arm(old);
            }
        }
    }
    apply_to(group, taken, n);
}

static bool
was_accepted(const struct migration_actions *actions)
{
    for (size_t i = 0; i < actions->n; i++) {
        if (actions->actions[i].type == MIGRATION_SEND
            && actions->actions[i].signal.kind == MIGRATION_BOUND) {
            return true;
        }
    }
    return false;
}

static void
feed(struct migrator_group *group, const struct migrator_packet *in,
     const struct migration_message *message,
     const struct migration_received *received,
     const struct migrator_clock *clock)
{
    struct step step = {.group = group, .clock = clock, .in = in,
                        .message = message};
    struct migrator *m = group->migrator;
    struct migration_context context;
    struct migration_actions actions;
    bool known = group->machine.flows_known;
    bool list = message->signal.kind == MIGRATION_DONE && message->n_flows
                && message->signal.mac;

    if (message->signal.kind == MIGRATION_BOUND
        && message->signal.nonce == group->machine.nonce
        && !message->signal.need_flows
        && !migration_parts_confirm(&group->sent, message->part)) {
        return;
    }
    struct migration_parts got = group->got;
    uint64_t got_stamp = group->got_stamp;
    if (list && note_part(group, message)) {
        group->machine.flows_known = true;
    }
    migrator_context(m, clock, &context);
    stamps_begin(group);
    migration_receive(&group->machine, &context, received, &actions);
    stamps_end(group);
    if (list && !was_accepted(&actions)) {
        group->machine.flows_known = known;
        group->got = got;
        group->got_stamp = got_stamp;
    }
    if (!actions.n && message->signal.kind != MIGRATION_BOUND) {
        m->counters.refused++;
    }
    bool done = message->signal.kind == MIGRATION_DONE
                && was_accepted(&actions);
    act(&step, &actions);
    if (list && done) {
        take_list(group, message);
    }
    if (step.bound) {
        finish_bind(&step);
    } else if (done) {
        resume_if_silent(group, clock);
    }
}

/* A group that the peer has made, of flows that are in others now. */
static struct migrator_group *
make_group(struct migrator *m, struct migrator_peer *peer,
           const struct migrator_packet *in,
           const struct migration_message *message,
           const struct migrator_clock *clock)
{
    const struct migrator_group *other
        = CONTAINER_OF(ovs_list_front(&peer->groups), struct migrator_group,
                       node);
    struct migrator_place place;
    struct migrator_group *group;

    if (!message->signal.mac || message->signal.kind != MIGRATION_RSYN
        || !migrator_place_of_address(m, in->ifindex, &in->own, &place)
        || !(group = migrator_add_group(m, peer, message->group))) {
        m->counters.unknown_group++;
        return NULL;
    }
    if (migrator_same_family(&other->path.own, &in->other)) {
        migrator_place_of_path(m, &other->path, &place);
    }
    group->path = other->path;
    group->path.own = place.locator;
    group->path.ifindex = place.ifindex;
    group->path.nat = place.nat;
    group->empty_since = clock->ms;
    group->reason = MIGRATOR_BY_PEER;
    migrator_group_start(group, &place, &nowhere, clock);
    return group;
}

/* The peer's message found us elsewhere than we are for it: either it came by
 * the rendezvous because our path is dead, or the peer now uses the other
 * version of IP. */
static void
found_elsewhere(struct migrator_group *group,
                const struct migrator_packet *in,
                const struct migrator_clock *clock)
{
    struct migrator_place place;

    if (migration_locator_equal(&in->own, &group->machine.local)
        || !group->n_flows || group->moving) {
        return;
    }
    if (!migrator_same_family(&group->path.own, &group->path.peer)
        && migrator_place_of_address(group->migrator, in->ifindex, &in->own,
                                     &place)) {
        migrator_begin(group, &place, MIGRATOR_FAMILY, clock);
    } else {
        migrator_probe(group, clock);
    }
}

void
migrator_receive(struct migrator *m, const struct migrator_packet *in,
                 const struct migrator_clock *clock)
{
    struct migration_packet packet = {in->data, in->len, in->other};
    struct migration_message message;
    struct migration_received received;
    struct migrator_peer *peer;
    struct migrator_group *group;

    m->counters.received++;
    if (migration_message_parse(in->data, in->len, &message)) {
        m->counters.malformed++;
        return;
    }
    peer = migrator_find_peer(m, message.sender);
    if (!peer) {
        m->counters.unknown_peer++;
        return;
    }
    if (migration_peer_open(&peer->crypto, m->self, &packet, &message,
                            &received)) {
        m->counters.forged++;
        return;
    }
    group = migrator_find_group(peer, message.group);
    if (!group || group->machine.state == MIGRATION_CLOSED) {
        group = make_group(m, peer, in, &message, clock);
        if (!group) {
            return;
        }
    }
    if (!migration_peer_admit(&peer->crypto, &group->machine, &received,
                              clock->ms)) {
        m->counters.limited++;
        return;
    }
    bool was_empty = !group->n_flows;
    feed(group, in, &message, &received, clock);
    if (was_empty) {
        /* Flows may have come, and nobody told it of changes of uplinks. */
        migrator_reconsider(group, clock);
    }
    if (received.signal.mac && message.signal.kind != MIGRATION_BOUND
        && message.signal.kind != MIGRATION_CHALLENGE) {
        found_elsewhere(group, in, clock);
    }
    migrator_arm(group);
}
