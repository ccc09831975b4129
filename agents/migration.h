/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine of flow migration: the flows of one group with one peer.
 *
 * A group is a set of flows that move together: all flows with a peer (group
 * 0), or those that were singled out since.  Both ends hold a machine for it.
 * The end that has a new locator says so with RSYN; its peer answers with a
 * challenge to that locator (RSYN-ACK); RSYN-DONE answers the challenge; a
 * last RSYN-ACK confirms that the flows are bound to the new locator.
 * docs/migration.md explains why.
 *
 * State in, actions out: no clock, no I/O, no memory of its own.  Messages
 * come with the verdict of whoever checked their MAC (migration_peer.h).  The
 * transitions are those of tests/model/endpoint.pml, which SPIN verifies;
 * test_migration_model compares every one of them.
 *
 * Pure; not thread-safe.  Times are milliseconds of any monotonic clock. */
#ifndef SALIENT_MIGRATION_H
#define SALIENT_MIGRATION_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ofp-ext/sal.h"

/* "Own move": we told the peer of our locator and it has not confirmed.
 * "Peer's move": the peer announced a locator that it has not proved yet. */
enum migration_state {
    MIGRATION_CLOSED = 0,
    MIGRATION_SYN_RCVD = 1,     /* Bound by SYN; we have not met the peer's
                                 * daemon since ours started. */
    MIGRATION_ESTABLISHED = 2,  /* Both ends know where the other is. */
    MIGRATION_NOADDRESS = 3,    /* We have no locator. */
    MIGRATION_RSYN_SENT = 4,    /* Own move. */
    MIGRATION_RSYN_RCVD = 5,    /* Peer's move. */
    MIGRATION_RSYN_SENT_RCVD = 6,      /* Both. */
    MIGRATION_NOADDRESS_RSYN_RCVD = 7, /* Peer's move; we have no locator. */
};
#define MIGRATION_N_STATES 8

/* "RSYN_SENT"; "?" for a number that is no state. */
const char *migration_state_name(enum migration_state);

/* An outer address: IPv6, or IPv4 as ::ffff:a.b.c.d.  The port is 0 where
 * the peer is reached at the SAL port, else the one that a NAT gave it.  All
 * zero = none. */
struct migration_locator {
    uint8_t address[16];
    uint16_t port; /* Host byte order. */
};

void migration_locator_from_v4(uint32_t address, struct migration_locator *);
/* False if it is IPv6 or none. */
bool migration_locator_to_v4(const struct migration_locator *,
                             uint32_t *ret_address);
bool migration_locator_is_none(const struct migration_locator *);
bool migration_locator_equal(const struct migration_locator *,
                             const struct migration_locator *);

#define MIGRATION_TAG_LEN SAL_CHALLENGE_TAG_LEN
#define MIGRATION_SECRET_LEN 32

/* Only its maker can tell a true challenge from a false one, and needs to
 * keep nothing for it: the tag is a keyed hash of peer, group, nonce, stamp
 * and the locator it is sent to. */
struct migration_challenge {
    uint64_t stamp; /* Counts the maker's challenges; 0 = none. */
    uint8_t tag[MIGRATION_TAG_LEN];
};

/* What the two ends say to each other. */
enum migration_kind {
    MIGRATION_RSYN = 0,      /* "I am at 'locator'." */
    MIGRATION_CHALLENGE = 1, /* RSYN-ACK: "I saw you at 'locator': prove it" */
    MIGRATION_DONE = 2,      /* RSYN-DONE: the challenge, given back. */
    MIGRATION_BOUND = 3,     /* RSYN-ACK: "Flows are bound to it." */
};

struct migration_signal {
    enum migration_kind kind;
    bool nat;   /* RSYN, DONE: the sender is behind a NAT, so 'locator' need
                 * not be what the receiver sees. */
    bool mac;   /* To send: with a MAC.  Received: with a right one. */
    bool need_flows; /* CHALLENGE, BOUND: the sender does not know which flows
                      * are in the group.  DONE to send: list them. */
    uint64_t nonce; /* Names a move: its maker's random choice. */
    struct migration_locator locator;     /* Not in BOUND. */
    struct migration_challenge challenge; /* In CHALLENGE and DONE. */
};

struct migration {
    enum migration_state state;
    uint32_t group;
    uint8_t peer_id[SAL_ENDPOINT_ID_LEN];
    bool flows_known;    /* Which flows are in the group; always so of group
                          * 0.  The caller's to set when it makes the group
                          * or has got the whole list. */
    bool behind_nat;     /* Policy: a peer may see us elsewhere. */
    bool key_known;      /* The peer's public key is at hand. */
    bool peer_seq_seen;  /* 'peer_seq' is set. */
    bool peer_seq_known; /* A challenge has shown that the peer, and nobody who
                          * replays what it said, is there. */
    uint32_t peer_seq;   /* Highest in an authentic RSYN or RSYN-DONE. */
    struct migration_locator local;     /* Where we are; none = nowhere. */
    struct migration_locator peer;      /* Bound: where DATA goes. */
    struct migration_locator candidate; /* Announced by the peer, unproved. */
    uint64_t nonce;       /* Of our latest move. */
    uint64_t bound_stamp; /* Of the challenge that bound 'peer'; 0 = none. */
    uint64_t next_stamp;
    int64_t started_at;    /* Our latest move. */
    int64_t retransmit_at; /* Meaningful while our move is under way. */
    int64_t expire_at;     /* Meaningful while the peer's is. */
    unsigned int attempts; /* RSYNs of this move. */
};

/* RSYN is sent again after this, twice this, ... up to the maximum; to a peer
 * that we have never met (it may have no daemon), up to the second one. */
#define MIGRATION_RETRANSMIT_MIN_MS 100
#define MIGRATION_RETRANSMIT_MAX_MS 5000
#define MIGRATION_INTRODUCE_MAX_MS 60000
/* How long a peer's move may stay unproved. */
#define MIGRATION_EXPIRE_MS 10000

/* What a step needs from outside; valid during the call. */
struct migration_context {
    int64_t now;
    uint64_t nonce; /* Random, never used before; for a move that begins. */
    const uint8_t *secret; /* MIGRATION_SECRET_LEN bytes, ours alone, new at
                            * each start of the daemon. */
};

enum migration_action_type {
    MIGRATION_SEND = 1, /* 'signal' to 'to'. */
    MIGRATION_BIND,     /* DATA goes to 'to' from now on, and is accepted from
                         * there; from 'previous' for a while longer. */
    MIGRATION_USE,      /* Our DATA leaves from 'local' from now on; TCP is to
                         * be woken. */
    MIGRATION_CONFIRMED, /* Our move is over. */
};

struct migration_action {
    enum migration_action_type type;
    bool resolve; /* SEND: to the resolver address, with the peer's endpoint
                   * service ID, instead of 'to'. */
    struct migration_locator to;
    struct migration_locator previous;
    struct migration_signal signal;
};

#define MIGRATION_MAX_ACTIONS 6
struct migration_actions {
    struct migration_action actions[MIGRATION_MAX_ACTIONS];
    size_t n;
};

/* Each function below empties '*ret_actions' first and fills it in the order
 * in which to act. */

/* A machine with 'group' and 'peer_id' set, for flows bound by SYN, or found
 * in the pinned maps by a daemon that starts: SYN_RCVD, or NOADDRESS if
 * 'local' is none. */
void migration_start(struct migration *, const struct migration_context *,
                     const struct migration_locator *local,
                     const struct migration_locator *peer,
                     struct migration_actions *ret_actions);

/* Our locator for these flows, not none: a new one or, to announce it anew,
 * the same. */
void migration_set_local(struct migration *, const struct migration_context *,
                         const struct migration_locator *local,
                         struct migration_actions *ret_actions);
/* The last one is gone. */
void migration_lose_local(struct migration *,
                          struct migration_actions *ret_actions);

/* A signal from 'source', with the sequence number of its message. */
struct migration_received {
    struct migration_signal signal;
    struct migration_locator source;
    uint32_t seq;
};
void migration_receive(struct migration *, const struct migration_context *,
                       const struct migration_received *,
                       struct migration_actions *ret_actions);

/* Whether 'received' is authentic and later than all before it: nobody but
 * the peer can have made that, so it is worth an answer in any case. */
bool migration_is_new(const struct migration *,
                      const struct migration_received *);

/* Lets timers fire that are due. */
void migration_run(struct migration *, const struct migration_context *,
                   struct migration_actions *ret_actions);
/* When migration_run() is next to be called; INT64_MAX = never. */
int64_t migration_deadline(const struct migration *);

/* No flow of the group is left. */
void migration_close(struct migration *);

/* True while our move is not confirmed; while the peer's is not proved. */
bool migration_own_outstanding(const struct migration *);
bool migration_peer_outstanding(const struct migration *);

#endif /* migration.h */
