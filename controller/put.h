/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the desired rules into one switch, and knows what is installed there.
 *
 *     STANDBY   another controller writes
 *     READING   asks the switch for its flows and meters that are ours
 *     READY     installed == what the switch confirmed; the next difference
 *               to desired starts a round
 *     ROUND     one set of changes is under way: new meters, a bundle where the
 *               switch has bundles, meters that go, then a barrier; its reply
 *               makes them installed; a large difference takes several rounds
 *               (put_queue.h)
 *
 * A change that the switch refuses is remembered with its error and left out
 * until it is desired no more, or until 'retry_ms' of the session have passed;
 * the others
 * go in.  Rules without our cookie are never touched.
 *
 * Pure: sends through a switch_session.  One thread; lives as long as the
 * session's connection. */
#ifndef CONTROLLER_PUT_H
#define CONTROLLER_PUT_H 1

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "controller/plan.h"
#include "controller/put_order.h"
#include "controller/put_queue.h"
#include "controller/rule_table.h"
#include "controller/switch_session.h"

/* Refusals whose reason is kept. */
#define PUT_REFUSALS_SHOWN 32

enum put_state { PUT_STANDBY, PUT_READING, PUT_READY, PUT_ROUND };

/* A rule that the switch does not take. */
struct put_refusal {
    struct rule rule;
    bool sent;         /* False: libopenvswitch cannot express it. */
    enum ofperr error; /* 0: one that the controller does not know. */
};

struct put_stats {
    uint64_t rounds, failed_rounds;
    uint64_t adds, modifies, deletes; /* Confirmed. */
    uint64_t refused;                 /* Ever. */
    size_t rules_read;                /* At connect. */
};

struct put {
    /* For everybody to read. */
    enum put_state state;
    struct rule_table *installed;  /* Owned.  Confirmed by barrier. */
    uint64_t confirmed_generation; /* Of desired. */
    struct rule_table *refused;    /* Owned. */
    struct put_refusal refusals[PUT_REFUSALS_SHOWN]; /* The first of them. */
    size_t n_refusals;
    struct put_stats stats;
    bool holding; /* A difference waits for the hold time to end. */
    struct put_order_held held;  /* What waits for other switches; */
    long long held_until;        /* some of it until then. */
    uint64_t upper_generation;   /* As put_order_member has them. */
    uint64_t services_generation;

    /* Private. */
    struct switch_session *session;
    struct rule_dialect dialect;
    bool bundles;
    struct rule_table *going, *coming; /* Owned.  As put_order_member has
                                        * them: of 'queue' and 'round'. */
    struct put_queue queue;   /* What the next rounds are made of. */
    struct rule_changes round;
    uint8_t *failed;       /* One per change of the round. */
    uint32_t first_xid;    /* Of the round's changes: consecutive. */
    uint32_t bundle_id, open_xid, commit_xid, barrier_xid;
    uint32_t flows_xid, meters_xid;
    uint32_t groups_xid;
    bool in_bundle, committed;
    bool read_again; /* As soon as no round is under way. */
    bool full;       /* The next difference must look at everything. */
    bool service_table_full, host_table_full, groups_full; /* Since somebody
                                                            * cleared it. */
    bool no_sal_fields;         /* The same: its datapath lacks them. */
    bool admit_table_full, meters_refused; /* The same. */
    bool plain_once; /* No bundle for the next round, to hear all errors. */
    bool skip_foreign; /* It does not let us delete a flow with our cookie. */
    long long started_at, retry_at;
};

/* Starts to read, unless we are SECONDARY to the switch.  'config' and
 * 'session' must outlive the put. */
struct put *put_create(struct switch_session *, const struct rules_config *,
                       long long now);
void put_destroy(struct put *);

enum put_event {
    PUT_NOTHING,   /* Not for us, or nothing that matters. */
    PUT_READ,      /* 'installed' is what the switch holds. */
    PUT_CONFIRMED, /* A round has ended; run again. */
};

/* Handles a message of the session. */
enum put_event put_message(struct put *, const struct openflow_message *,
                           long long now);

/* Starts a round if the switch is READY and differs from what 'plan' desires;
 * without a difference the plan's generation is confirmed at once.  With
 * 'hold' only a difference that takes nothing away is put.  What has to wait
 * for other switches stays in 'held' (NULL 'order': nothing has to), to be
 * tried again when they have confirmed something. */
void put_run(struct put *, struct plan *plan, const struct put_order *order,
             bool hold, long long now);
static inline bool
put_is_held(const struct put *put)
{
    return put->held.changes.n > 0;
}

/* Our role has changed: drops what is under way and stands by, or reads what
 * the switch holds now. */
void put_role_changed(struct put *, long long now);

/* Reads anew what the switch holds, so that the next put_run() repairs what
 * somebody else has changed there.  False if a round is under way: then that
 * comes first. */
bool put_read_again(struct put *, long long now);

/* When put_run() or put_check() should be called at the latest. */
long long put_wakeup(const struct put *, long long timeout_ms);

/* Closes the session if the switch has not confirmed for 'timeout_ms'. */
void put_check(struct put *, long long timeout_ms, long long now);

const char *put_state_string(enum put_state);
/* Why a rule was refused, in 'buf'. */
const char *put_refusal_string(const struct put_refusal *, char *buf,
                               size_t size);

#endif /* put.h */
