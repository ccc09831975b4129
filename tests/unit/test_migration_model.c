/* SPDX-License-Identifier: Apache-2.0 */
/* The C machine against the verified model, exhaustively: tests/model/
 * transitions.pml prints what the model does in every state with every event;
 * here agents/migration.c must do the same. */
#include "tests/unit/unit.h"

#include "agents/migration.h"

/* Numbers of the model; see tests/model/transitions.pml. */
enum {
    EVENT_LOCATOR = 1, EVENT_LOST, EVENT_TIMER, EVENT_EXPIRE, EVENT_RESTART,
    EVENT_RSYN, EVENT_CHALLENGE, EVENT_DONE, EVENT_BOUND, N_EVENTS
};
#define NONCE_PEER 9   /* Of the peer's moves. */
#define NONCE_NEXT 100 /* Of a move of ours that begins. */
#define CHALLENGE_PEER 6
#define PEER_SEQ 1000

struct model_state {
    int state, local, peer, candidate, bound, base, known, key;
};
struct model_event {
    int type, args[5];
};
struct model_after {
    int state, local, peer, candidate, bound, new_nonce, stamp, known, key;
    int n_sent, sent[3];
};
struct transition {
    struct model_state before;
    struct model_event event;
    struct model_after after;
};

static const uint8_t secret[MIGRATION_SECRET_LEN] = {1};
static const uint8_t old_secret[MIGRATION_SECRET_LEN] = {2};

static struct migration_locator
locator(int i)
{
    struct migration_locator l = {.port = 0};
    if (i) {
        migration_locator_from_v4(0x0a000000 + i, &l);
    }
    return l;
}

static int
locator_number(const struct migration_locator *l)
{
    uint32_t address;
    return migration_locator_to_v4(l, &address) ? address - 0x0a000000 : 0;
}

static void
set_state(const struct model_state *s, struct migration *m)
{
    memset(m, 0, sizeof *m);
    m->state = s->state;
    m->local = locator(s->local);
    m->peer = locator(s->peer);
    m->candidate = locator(s->candidate);
    m->nonce = 2;
    m->bound_stamp = s->bound;
    m->next_stamp = 3;
    m->peer_seq_known = m->peer_seq_seen = s->known;
    m->peer_seq = PEER_SEQ;
    m->key_known = s->key;
    m->flows_known = true;
    m->retransmit_at = m->expire_at = INT64_MAX;
}

/* The challenge that the machine makes with 'stamp' for 'observed': asked
 * from a copy of it. */
static struct migration_challenge
challenge_for(const struct migration *m, int observed, int stamp,
              const uint8_t *by)
{
    struct migration copy = *m;
    struct migration_context context = {.secret = by};
    struct migration_received rsyn = {
        .signal = {.kind = MIGRATION_RSYN, .nonce = NONCE_PEER,
                   .locator = locator(observed)},
        .source = locator(observed)};
    struct migration_actions actions;

    copy.state = MIGRATION_ESTABLISHED;
    copy.local = locator(1);
    copy.next_stamp = stamp;
    migration_receive(&copy, &context, &rsyn, &actions);
    CU_ASSERT_EQUAL_FATAL(actions.n, 1);
    return actions.actions[0].signal.challenge;
}

static void
receive(const struct transition *t, struct migration *m,
        const struct migration_context *context,
        struct migration_actions *actions)
{
    const int *a = t->event.args;
    struct migration_received r = {.source = locator(a[0]),
                                   .seq = PEER_SEQ + 1};
    struct migration_signal *s = &r.signal;

    switch (t->event.type) {
    case EVENT_RSYN:
        s->kind = MIGRATION_RSYN;
        s->locator = locator(a[1]);
        s->mac = a[2];
        r.seq = a[3] ? PEER_SEQ + 1 : PEER_SEQ - 1;
        s->nonce = NONCE_PEER;
        break;
    case EVENT_CHALLENGE:
        s->kind = MIGRATION_CHALLENGE;
        s->locator = locator(a[1]);
        s->nonce = a[2];
        s->challenge.stamp = CHALLENGE_PEER;
        break;
    case EVENT_DONE:
        s->kind = MIGRATION_DONE;
        s->locator = locator(a[2]);
        s->nonce = NONCE_PEER;
        s->mac = a[4];
        s->challenge = challenge_for(m, a[1], a[3], a[3] < t->before.base
                                                    ? old_secret : secret);
        break;
    case EVENT_BOUND:
        r.source = locator(3);
        s->kind = MIGRATION_BOUND;
        s->nonce = a[0];
        s->mac = a[1];
        break;
    }
    migration_receive(m, context, &r, actions);
}

static void
apply_event(const struct transition *t, struct migration *m,
            struct migration_actions *actions)
{
    struct migration_context context = {.now = 5000, .nonce = NONCE_NEXT,
                                        .secret = secret};
    struct migration_locator local, peer;

    switch (t->event.type) {
    case EVENT_LOCATOR:
        local = locator(t->event.args[0]);
        migration_set_local(m, &context, &local, actions);
        break;
    case EVENT_LOST:
        migration_lose_local(m, actions);
        break;
    case EVENT_TIMER:
        m->retransmit_at = context.now;
        migration_run(m, &context, actions);
        break;
    case EVENT_EXPIRE:
        m->expire_at = context.now;
        migration_run(m, &context, actions);
        break;
    case EVENT_RESTART:
        local = m->local;
        peer = m->peer;
        migration_start(m, &context, &local, &peer, actions);
        break;
    default:
        receive(t, m, &context, actions);
        break;
    }
}

/* 0 if the machine is where the model is, else what differs. */
static const char *
compare_state(const struct transition *t, const struct migration *m)
{
    const struct model_after *after = &t->after;
    /* A restart makes a new secret instead of counting on. */
    int stamp = t->event.type == EVENT_RESTART ? 1 : after->stamp;
    /* The model's nonces count; a daemon without a locator makes none. */
    uint64_t nonce = after->new_nonce ? NONCE_NEXT : 2;

    return m->state != after->state ? "state"
           : locator_number(&m->local) != after->local ? "local"
           : locator_number(&m->peer) != after->peer ? "peer"
           : locator_number(&m->candidate) != after->candidate ? "candidate"
           : m->bound_stamp != after->bound ? "bound"
           : m->nonce != nonce ? "nonce"
           : m->next_stamp != stamp ? "stamp"
           : m->peer_seq_known != after->known ? "known"
           : m->key_known != after->key ? "key"
           : NULL;
}

static int
model_nonce(uint64_t nonce)
{
    return nonce == NONCE_NEXT ? 3 : nonce;
}

/* RSYN is one message of the model with a second destination, and reaches
 * the resolver besides. */
static const char *
compare_rsyn(const struct transition *t, const struct migration_action *a,
             int sent, size_t *ret_n)
{
    int to = sent >> 3 & 7, second = sent >> 6 & 7;
    int n = second && second != to ? 3 : 2;

    for (int i = 0; i < n; i++) {
        const struct migration_signal *s = &a[i].signal;
        int expected = i == n - 1 ? 0 : i ? second : to;
        if (a[i].type != MIGRATION_SEND || s->kind != MIGRATION_RSYN
            || locator_number(&a[i].to) != expected
            || a[i].resolve != (i == n - 1)
            || locator_number(&s->locator) != (sent >> 9 & 7)
            || model_nonce(s->nonce) != (sent >> 12 & 15)
            || s->mac != (sent >> 20 & 1) || s->nat) {
            return "RSYN";
        }
    }
    *ret_n = n;
    return NULL;
}

static const char *
compare_message(const struct transition *t, const struct migration *m,
                const struct migration_action *a, int sent)
{
    const struct migration_signal *s = &a->signal;
    int observed = sent >> 6 & 7, stamp = sent >> 16 & 15;

    if (a->type != MIGRATION_SEND || a->resolve || s->kind != (sent & 7)
        || locator_number(&a->to) != (sent >> 3 & 7)
        || model_nonce(s->nonce) != (sent >> 12 & 15)
        || s->mac != (sent >> 20 & 1)) {
        return "message";
    }
    if (s->kind == MIGRATION_CHALLENGE) {
        struct migration_challenge c = challenge_for(m, observed, stamp,
                                                     secret);
        return locator_number(&s->locator) != observed
               || s->challenge.stamp != stamp
               || memcmp(&c.tag, s->challenge.tag, sizeof c.tag)
               ? "challenge" : NULL;
    } else if (s->kind == MIGRATION_DONE) {
        return locator_number(&s->locator) != (sent >> 9 & 7)
               || s->challenge.stamp != stamp ? "done" : NULL;
    }
    return NULL;
}

/* Besides what is sent: BIND exactly when 'peer' changes, USE exactly with
 * DONE, CONFIRMED exactly when a move of ours ends. */
static const char *
compare_effect(const struct transition *t, const struct migration_action *a,
               int count[])
{
    count[a->type]++;
    if (a->type == MIGRATION_BIND) {
        return locator_number(&a->to) != t->after.peer
               || locator_number(&a->previous) != t->before.peer
               ? "bind" : NULL;
    }
    return a->type == MIGRATION_USE || a->type == MIGRATION_CONFIRMED
           ? NULL : "action";
}

static const char *
compare_actions(const struct transition *t, const struct migration *m,
                const struct migration_actions *actions)
{
    int count[8] = {0}, n_done = 0, n_sent = 0;
    size_t i = 0;

    while (i < actions->n) {
        const struct migration_action *a = &actions->actions[i];
        const char *problem;
        size_t n = 1;

        if (a->type != MIGRATION_SEND) {
            problem = compare_effect(t, a, count);
        } else if (n_sent >= t->after.n_sent) {
            problem = "too many messages";
        } else {
            int sent = t->after.sent[n_sent++];
            n_done += (sent & 7) == MIGRATION_DONE;
            problem = (sent & 7) == MIGRATION_RSYN
                      ? compare_rsyn(t, a, sent, &n)
                      : compare_message(t, m, a, sent);
        }
        if (problem) {
            return problem;
        }
        i += n;
    }
    bool ended = t->event.type == EVENT_BOUND
                 && t->after.state != t->before.state;
    return n_sent != t->after.n_sent ? "too few messages"
           : count[MIGRATION_BIND] != (t->after.peer != t->before.peer)
           ? "BIND"
           : count[MIGRATION_USE] != n_done ? "USE"
           : count[MIGRATION_CONFIRMED] != ended ? "CONFIRMED" : NULL;
}

static bool
read_transition(FILE *file, struct transition *t)
{
    char line[512];
    int *numbers[] = {(int *) &t->before, (int *) &t->event,
                      (int *) &t->after};
    size_t counts[] = {sizeof t->before / sizeof(int),
                       sizeof t->event / sizeof(int),
                       sizeof t->after / sizeof(int)};

    if (!fgets(line, sizeof line, file)) {
        return false;
    }
    CU_ASSERT_EQUAL_FATAL(line[0], 'T');
    char *p = line + 1;
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < counts[i]; j++) {
            char *end;
            numbers[i][j] = strtol(p, &end, 10);
            CU_ASSERT_TRUE_FATAL(end != p);
            p = end;
        }
    }
    CU_ASSERT_EQUAL_FATAL(*p, '\n');
    return true;
}

static void
test_every_transition(void)
{
    const char *name = getenv("MIGRATION_TRANSITIONS");
    FILE *file = fopen(name ? name : TRANSITIONS_FILE, "r");
    int per_event[N_EVENTS] = {0}, per_state[MIGRATION_N_STATES] = {0};
    int n = 0, n_wrong = 0;
    struct transition t;

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    while (read_transition(file, &t)) {
        struct migration_actions actions;
        struct migration m;

        set_state(&t.before, &m);
        apply_event(&t, &m, &actions);
        const char *problem = compare_state(&t, &m);
        if (!problem) {
            problem = compare_actions(&t, &m, &actions);
        }
        if (problem && n_wrong++ < 10) {
            fprintf(stderr, "line %d: %s differs: in %s, event %d\n", n + 1,
                    problem, migration_state_name(t.before.state),
                    t.event.type);
        }
        per_event[t.event.type]++;
        per_state[t.before.state]++;
        n++;
    }
    fclose(file);

    CU_ASSERT_EQUAL(n_wrong, 0);
    CU_ASSERT_TRUE(n > 100000);
    for (int i = 1; i < N_EVENTS; i++) {
        CU_ASSERT_TRUE(per_event[i] > 0);
    }
    for (int i = 1; i < MIGRATION_N_STATES; i++) {
        CU_ASSERT_TRUE(per_state[i] > 0);
    }
    printf("%d transitions compared ", n);
}

UNIT_MAIN("migration_model", UNIT_TEST(test_every_transition))
