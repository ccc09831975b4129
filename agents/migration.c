/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/migration.h"

#include <sodium.h>
#include <string.h>
#include "openvswitch/util.h"
#include "util.h"

/* The functions below bear the names that tests/model/endpoint.pml gives the
 * same transitions. */

const char *
migration_state_name(enum migration_state state)
{
    static const char *const names[MIGRATION_N_STATES] = {
        "CLOSED", "SYN_RCVD", "ESTABLISHED", "NOADDRESS", "RSYN_SENT",
        "RSYN_RCVD", "RSYN_SENT_RCVD", "NOADDRESS_RSYN_RCVD"};
    return state < MIGRATION_N_STATES ? names[state] : "?";
}

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};
static const struct migration_locator none;

void
migration_locator_from_v4(uint32_t address, struct migration_locator *locator)
{
    memcpy(locator->address, v4_mapped, sizeof v4_mapped);
    locator->address[12] = address >> 24;
    locator->address[13] = address >> 16;
    locator->address[14] = address >> 8;
    locator->address[15] = address;
    locator->port = 0;
}

bool
migration_locator_to_v4(const struct migration_locator *locator,
                        uint32_t *ret_address)
{
    const uint8_t *a = locator->address;
    if (memcmp(a, v4_mapped, sizeof v4_mapped)) {
        return false;
    }
    *ret_address = (uint32_t) a[12] << 24 | a[13] << 16 | a[14] << 8 | a[15];
    return true;
}

bool
migration_locator_equal(const struct migration_locator *a,
                        const struct migration_locator *b)
{
    return !memcmp(a->address, b->address, sizeof a->address)
           && a->port == b->port;
}

bool
migration_locator_is_none(const struct migration_locator *locator)
{
    return !memcmp(locator->address, none.address, sizeof none.address);
}

bool
migration_own_outstanding(const struct migration *m)
{
    return m->state == MIGRATION_SYN_RCVD || m->state == MIGRATION_RSYN_SENT
           || m->state == MIGRATION_RSYN_SENT_RCVD;
}

bool
migration_peer_outstanding(const struct migration *m)
{
    return m->state == MIGRATION_RSYN_RCVD
           || m->state == MIGRATION_RSYN_SENT_RCVD
           || m->state == MIGRATION_NOADDRESS_RSYN_RCVD;
}

/* A challenge for 'observed'.  Everything that it proves goes into the tag. */
static void
make_challenge(const struct migration *m, const uint8_t *secret,
               uint64_t nonce, const struct migration_locator *observed,
               struct migration_challenge *challenge)
{
    crypto_generichash_state state;
    uint8_t tag[MIGRATION_TAG_LEN];

    crypto_generichash_init(&state, secret, MIGRATION_SECRET_LEN, sizeof tag);
    crypto_generichash_update(&state, m->peer_id, sizeof m->peer_id);
    crypto_generichash_update(&state, (const uint8_t *) &m->group,
                              sizeof m->group);
    crypto_generichash_update(&state, (const uint8_t *) &nonce, sizeof nonce);
    crypto_generichash_update(&state, observed->address,
                              sizeof observed->address);
    crypto_generichash_update(&state, (const uint8_t *) &observed->port,
                              sizeof observed->port);
    crypto_generichash_update(&state, (const uint8_t *) &challenge->stamp,
                              sizeof challenge->stamp);
    crypto_generichash_final(&state, tag, sizeof tag);
    memcpy(challenge->tag, tag, sizeof tag);
}

static bool
is_own_challenge(const struct migration *m, const uint8_t *secret,
                 const struct migration_received *received)
{
    const struct migration_challenge *given = &received->signal.challenge;
    struct migration_challenge mine = {.stamp = given->stamp};

    /* The number first: it costs nothing. */
    if (!given->stamp || given->stamp >= m->next_stamp) {
        return false;
    }
    make_challenge(m, secret, received->signal.nonce, &received->source,
                   &mine);
    return !sodium_memcmp(mine.tag, given->tag, sizeof mine.tag);
}

static struct migration_action *
add_action(struct migration_actions *actions, enum migration_action_type type)
{
    ovs_assert(actions->n < MIGRATION_MAX_ACTIONS);
    struct migration_action *action = &actions->actions[actions->n++];
    memset(action, 0, sizeof *action);
    action->type = type;
    return action;
}

static struct migration_signal *
add_send(struct migration_actions *actions, enum migration_kind kind,
         const struct migration_locator *to, uint64_t nonce)
{
    struct migration_action *action = add_action(actions, MIGRATION_SEND);
    action->to = *to;
    action->signal.kind = kind;
    action->signal.nonce = nonce;
    return &action->signal;
}

static void
add_rsyn(const struct migration *m, struct migration_actions *actions,
         const struct migration_locator *to, bool resolve)
{
    struct migration_signal *signal = add_send(actions, MIGRATION_RSYN, to,
                                               m->nonce);
    signal->nat = m->behind_nat;
    signal->mac = m->key_known;
    signal->locator = m->local;
    actions->actions[actions->n - 1].resolve = resolve;
}

static int64_t
retransmit_delay(const struct migration *m)
{
    int64_t max = m->state == MIGRATION_SYN_RCVD ? MIGRATION_INTRODUCE_MAX_MS
                                                 : MIGRATION_RETRANSMIT_MAX_MS;
    unsigned int doublings = MIN(m->attempts, 16);
    return MIN((int64_t) MIGRATION_RETRANSMIT_MIN_MS << doublings, max);
}

/* To the peer's bound locator, to the one it announced, and to its endpoint
 * service ID, which the network resolves: one of them finds a peer that has
 * moved at the same time. */
static void
send_rsyn(struct migration *m, const struct migration_context *context,
          struct migration_actions *actions)
{
    if (!migration_locator_is_none(&m->peer)) {
        add_rsyn(m, actions, &m->peer, false);
    }
    if (!migration_locator_is_none(&m->candidate)
        && !migration_locator_equal(&m->candidate, &m->peer)) {
        add_rsyn(m, actions, &m->candidate, false);
    }
    add_rsyn(m, actions, &none, true);
    m->retransmit_at = context->now + retransmit_delay(m);
    m->attempts++;
}

/* A move of ours begins. */
static void
begin(struct migration *m, const struct migration_context *context)
{
    m->nonce = context->nonce;
    m->started_at = context->now;
    m->attempts = 0;
}

static void
set_peer_outstanding(struct migration *m)
{
    switch (m->state) {
    case MIGRATION_ESTABLISHED:
        m->state = MIGRATION_RSYN_RCVD;
        break;
    case MIGRATION_RSYN_SENT:
        m->state = MIGRATION_RSYN_SENT_RCVD;
        break;
    case MIGRATION_NOADDRESS:
        m->state = MIGRATION_NOADDRESS_RSYN_RCVD;
        break;
    default:
        break;
    }
}

static void
clear_peer_outstanding(struct migration *m)
{
    m->candidate = none;
    switch (m->state) {
    case MIGRATION_RSYN_RCVD:
        m->state = MIGRATION_ESTABLISHED;
        break;
    case MIGRATION_RSYN_SENT_RCVD:
        m->state = MIGRATION_RSYN_SENT;
        break;
    case MIGRATION_NOADDRESS_RSYN_RCVD:
        m->state = MIGRATION_NOADDRESS;
        break;
    default:
        break;
    }
}

void
migration_start(struct migration *m, const struct migration_context *context,
                const struct migration_locator *local,
                const struct migration_locator *peer,
                struct migration_actions *ret_actions)
{
    ret_actions->n = 0;
    m->local = *local;
    m->peer = *peer;
    m->candidate = none;
    m->key_known = m->peer_seq_known = m->peer_seq_seen = false;
    m->bound_stamp = 0;
    m->next_stamp = 1;
    m->flows_known = !m->group;
    if (migration_locator_is_none(local)) {
        m->state = MIGRATION_NOADDRESS;
        return;
    }
    m->state = MIGRATION_SYN_RCVD;
    begin(m, context);
    send_rsyn(m, context, ret_actions);
}

void
migration_set_local(struct migration *m,
                    const struct migration_context *context,
                    const struct migration_locator *local,
                    struct migration_actions *ret_actions)
{
    ret_actions->n = 0;
    if (m->state == MIGRATION_CLOSED) {
        return;
    }
    m->local = *local;
    begin(m, context);
    switch (m->state) {
    case MIGRATION_ESTABLISHED:
    case MIGRATION_NOADDRESS:
        m->state = MIGRATION_RSYN_SENT;
        break;
    case MIGRATION_RSYN_RCVD:
    case MIGRATION_NOADDRESS_RSYN_RCVD:
        m->state = MIGRATION_RSYN_SENT_RCVD;
        break;
    default:
        break;
    }
    send_rsyn(m, context, ret_actions);
}

void
migration_lose_local(struct migration *m,
                     struct migration_actions *ret_actions)
{
    ret_actions->n = 0;
    if (m->state == MIGRATION_CLOSED) {
        return;
    }
    m->local = none;
    m->state = migration_peer_outstanding(m) ? MIGRATION_NOADDRESS_RSYN_RCVD
                                             : MIGRATION_NOADDRESS;
}

/* Serial number arithmetic, RFC 1982. */
static bool
is_later(uint32_t a, uint32_t b)
{
    return (int32_t) (a - b) > 0;
}

bool
migration_is_new(const struct migration *m,
                 const struct migration_received *received)
{
    return received->signal.mac && m->key_known && m->peer_seq_known
           && is_later(received->seq, m->peer_seq);
}

static bool
same_place(const struct migration_received *received)
{
    return received->signal.nat
           || migration_locator_equal(&received->source,
                                      &received->signal.locator);
}

/* Also of what may be a replay: it can only be something that the peer has
 * said, so an earlier replay that was not yet known as one (the daemon has
 * just started) is known from now on. */
static void
note_seq(struct migration *m, const struct migration_received *received)
{
    if (received->signal.mac
        && (!m->peer_seq_seen || is_later(received->seq, m->peer_seq))) {
        m->peer_seq = received->seq;
        m->peer_seq_seen = true;
    }
}

/* Answers without keeping anything, unless the RSYN is authentic and new. */
static void
on_rsyn(struct migration *m, const struct migration_context *context,
        const struct migration_received *received,
        struct migration_actions *actions)
{
    if (!same_place(received)) {
        return;
    }
    bool is_new = migration_is_new(m, received);
    note_seq(m, received);
    if (is_new) {
        set_peer_outstanding(m);
        if (migration_peer_outstanding(m)) {
            m->candidate = received->source;
            m->expire_at = context->now + MIGRATION_EXPIRE_MS;
        }
    }

    struct migration_signal *answer = add_send(actions, MIGRATION_CHALLENGE,
                                               &received->source,
                                               received->signal.nonce);
    answer->mac = m->key_known;
    answer->need_flows = !m->flows_known;
    answer->locator = received->source;
    answer->challenge.stamp = m->next_stamp++;
    make_challenge(m, context->secret, answer->nonce, &answer->locator,
                   &answer->challenge);
}

/* The challenge is good for the locator that the peer saw; if that is not
 * ours, somebody carries our messages on. */
static void
on_challenge(struct migration *m, const struct migration_received *received,
             struct migration_actions *actions)
{
    const struct migration_signal *signal = &received->signal;

    if (!migration_own_outstanding(m) || signal->nonce != m->nonce
        || !(m->behind_nat
             || migration_locator_equal(&signal->locator, &m->local))) {
        return;
    }
    m->key_known = true;
    struct migration_signal *done = add_send(actions, MIGRATION_DONE,
                                             &received->source, m->nonce);
    done->nat = m->behind_nat;
    done->mac = true;
    /* A list is longer than the challenge: not for one that may be forged. */
    done->need_flows = signal->need_flows && signal->mac;
    done->locator = m->local;
    done->challenge = signal->challenge;
    add_action(actions, MIGRATION_USE);
}

static void
confirm(const struct migration *m, const struct migration_received *received,
        struct migration_actions *actions)
{
    struct migration_signal *bound = add_send(actions, MIGRATION_BOUND,
                                              &received->source,
                                              received->signal.nonce);
    bound->mac = true;
    bound->need_flows = !m->flows_known;
}

static void
bind_peer(struct migration *m, const struct migration_context *context,
          const struct migration_received *received,
          struct migration_actions *actions)
{
    bool moved = !migration_locator_equal(&m->peer, &received->source);

    if (moved) {
        struct migration_action *bind = add_action(actions, MIGRATION_BIND);
        bind->to = received->source;
        bind->previous = m->peer;
    }
    m->peer = received->source;
    m->bound_stamp = received->signal.challenge.stamp;
    note_seq(m, received);
    m->peer_seq_known = true;
    m->key_known = true;
    /* What it announced since is still to be proved. */
    if (migration_locator_equal(&m->candidate, &received->source)) {
        clear_peer_outstanding(m);
    }
    confirm(m, received, actions);
    if (m->state == MIGRATION_SYN_RCVD) {
        m->state = MIGRATION_RSYN_SENT;
    }
    /* Our own move need not wait for its timer now.  Only now: two ends that
     * answered each DONE with an RSYN would never stop. */
    if (moved && migration_own_outstanding(m)) {
        send_rsyn(m, context, actions);
    }
    /* The peer is there again: no need to wait as long as for one that is
     * not. */
    m->attempts = 0;
    m->retransmit_at = MIN(m->retransmit_at,
                           context->now + MIGRATION_RETRANSMIT_MIN_MS);
}

/* The only way to change 'peer'. */
static void
on_done(struct migration *m, const struct migration_context *context,
        const struct migration_received *received,
        struct migration_actions *actions)
{
    uint64_t stamp = received->signal.challenge.stamp;

    if (!received->signal.mac || !same_place(received)
        || !is_own_challenge(m, context->secret, received)) {
        return;
    }
    if (stamp == m->bound_stamp
        && migration_locator_equal(&received->source, &m->peer)) {
        /* Bound by it already; another part of a long list of flows. */
        confirm(m, received, actions);
    } else if (stamp > m->bound_stamp) {
        bind_peer(m, context, received, actions);
    }
}

static void
on_bound(struct migration *m, const struct migration_context *context,
         const struct migration_received *received,
         struct migration_actions *actions)
{
    if (!received->signal.mac || !migration_own_outstanding(m)
        || received->signal.nonce != m->nonce) {
        return;
    }
    if (received->signal.need_flows) {
        /* We and our key are known now, but not the flows: once more, and
         * the challenge will be one that a list may answer. */
        m->retransmit_at = context->now;
        return;
    }
    m->state = m->state == MIGRATION_RSYN_SENT_RCVD ? MIGRATION_RSYN_RCVD
                                                    : MIGRATION_ESTABLISHED;
    add_action(actions, MIGRATION_CONFIRMED);
}

void
migration_receive(struct migration *m,
                  const struct migration_context *context,
                  const struct migration_received *received,
                  struct migration_actions *ret_actions)
{
    ret_actions->n = 0;
    /* Without a locator there is nothing to answer from. */
    if (m->state == MIGRATION_CLOSED
        || migration_locator_is_none(&m->local)) {
        return;
    }
    switch (received->signal.kind) {
    case MIGRATION_RSYN:
        on_rsyn(m, context, received, ret_actions);
        break;
    case MIGRATION_CHALLENGE:
        on_challenge(m, received, ret_actions);
        break;
    case MIGRATION_DONE:
        on_done(m, context, received, ret_actions);
        break;
    case MIGRATION_BOUND:
        on_bound(m, context, received, ret_actions);
        break;
    }
}

void
migration_run(struct migration *m, const struct migration_context *context,
              struct migration_actions *ret_actions)
{
    ret_actions->n = 0;
    if (migration_peer_outstanding(m) && context->now >= m->expire_at) {
        clear_peer_outstanding(m);
    }
    if (migration_own_outstanding(m) && context->now >= m->retransmit_at) {
        send_rsyn(m, context, ret_actions);
    }
}

int64_t
migration_deadline(const struct migration *m)
{
    int64_t deadline = INT64_MAX;
    if (migration_own_outstanding(m)) {
        deadline = m->retransmit_at;
    }
    if (migration_peer_outstanding(m)) {
        deadline = MIN(deadline, m->expire_at);
    }
    return deadline;
}

void
migration_close(struct migration *m)
{
    m->state = MIGRATION_CLOSED;
}
