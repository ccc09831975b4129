/* SPDX-License-Identifier: Apache-2.0 */
/* Migration of all flows of this host: which peers and groups there are, when
 * a group is to move and where, what the data plane is to do about it.  It
 * drives one machine (migration.h) for each group, and answers peers that
 * move.  docs/migration.md explains it.
 *
 * The owner tells it of flows, uplinks, packets and time; it acts through a
 * table of functions, which must not call back.
 *
 * Pure (it logs); not thread-safe. */
#ifndef SALIENT_MIGRATOR_H
#define SALIENT_MIGRATOR_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agents/datapath_flows.h"
#include "agents/migration.h"
#include "agents/migration_peer.h"
#include "openvswitch/dynamic-string.h"
#include "proto/identity.h"

struct migrator;
struct json;

#define MIGRATOR_MAX_UPLINKS 16
#define MIGRATOR_MAX_PEERS 32768
#define MIGRATOR_MAX_GROUPS 64 /* Of one peer. */

enum { MIGRATOR_V4, MIGRATOR_V6, MIGRATOR_N_FAMILIES };

struct migrator_uplink {
    char name[16];
    int ifindex;   /* 0: there is no such interface. */
    bool usable;   /* Up, and packets find a way out. */
    bool nat;      /* A NAT is behind it. */
    unsigned int rank; /* Lower is better; flows stay among equals. */
    struct migration_locator locators[MIGRATOR_N_FAMILIES]; /* Or none. */
};

/* 'ms' of a monotonic clock, 'unix_ms' of the wall clock. */
struct migrator_clock {
    int64_t ms, unix_ms;
};

struct migrator_config {
    bool enabled;          /* Else nothing moves by itself. */
    int64_t hysteresis_ms; /* A better uplink must last that long. */
    int64_t probe_ms;      /* Unanswered for so long is probed. */
    int64_t late_ms;       /* DATA from a locator that the peer left. */
};

enum migrator_reason {
    MIGRATOR_START,     /* The first meeting, or after a restart. */
    MIGRATOR_LOST,      /* Link down, address or route gone. */
    MIGRATOR_PREFERRED, /* A better uplink is there. */
    MIGRATOR_COMMAND,
    MIGRATOR_SILENT,    /* No answer on the old path. */
    MIGRATOR_FAMILY,    /* The peer changed its IP version. */
    MIGRATOR_BY_PEER,
};
const char *migrator_reason_name(enum migrator_reason);

enum migrator_event_type {
    MIGRATOR_MOVING,     /* A move of ours has begun. */
    MIGRATOR_MOVED,      /* The peer has confirmed it. */
    MIGRATOR_PEER_MOVED,
    MIGRATOR_HELD,       /* No uplink is left. */
    MIGRATOR_REVERTED,   /* No answer by the new path; back to the old one. */
};
const char *migrator_event_name(enum migrator_event_type);

struct migrator_event {
    enum migrator_event_type type;
    enum migrator_reason reason;
    uint8_t peer[SAL_ENDPOINT_ID_LEN];
    uint32_t group;
    size_t n_flows;
    struct datapath_path from, to;
    int64_t duration_ms; /* Since it began. */
};

/* A message to send, or one that came. */
struct migrator_packet {
    const void *data;
    size_t len;
    int ifindex;                      /* Leaves, or came, by it, */
    struct migration_locator own;     /* from, or to, this address. */
    struct migration_locator other;   /* To send: none = the resolver. */
    bool again;                       /* To send: the last was in vain. */
};

struct migrator_ops {
    /* Negative errno if it did not leave. */
    int (*send)(const struct migrator_packet *, void *aux);
    int (*look)(uint32_t id, struct datapath_flow *, void *aux);
    void (*move)(const struct datapath_move *, const uint32_t ids[], size_t n,
                 void *aux);
    /* Their TCP is not to wait for its timers; 'good_ms' as in
     * datapath_flows_wake(). */
    void (*wake)(const uint32_t ids[], size_t n, int64_t good_ms, void *aux);
    void (*event)(const struct migrator_event *, void *aux);
    /* Asks where the endpoint is, for migrator_peer_at().  False: there is
     * nobody to ask now. */
    bool (*ask)(const uint8_t peer[SAL_ENDPOINT_ID_LEN], void *aux);
};

/* Refused messages have a counter each. */
#define MIGRATOR_COUNTERS(X)                                                  \
    X(received) /* Messages of migration. */                                  \
    X(malformed)                                                              \
    X(unknown_peer) /* No flow with the sender. */                            \
    X(forged)   /* Wrong MAC, wrong key, or for somebody else. */             \
    X(limited)  /* Beyond the rate at which the unproved are answered. */     \
    X(unknown_group) /* Without a MAC, or too many of them. */                \
    X(refused)  /* By the machine: late, replayed, carried on. */             \
    X(sent)                                                                   \
    X(send_failed)                                                            \
    X(moves)    /* Of ours, confirmed. */                                     \
    X(peer_moves)                                                             \
    X(flows_moved)                                                            \
    X(asked)    /* Where the peer is: the rendezvous did not answer. */       \
    X(probes)   /* Of paths that do not answer. */                            \
    X(untracked) /* Flows of more peers than can be kept. */

struct migrator_counters {
#define X(NAME) uint64_t NAME;
    MIGRATOR_COUNTERS(X)
#undef X
};

/* 'self' outlives it.  'secret': new at each start. */
struct migrator *migrator_create(const struct identity *self,
                                 const uint8_t secret[MIGRATION_SECRET_LEN],
                                 const struct migrator_ops *, void *aux);
void migrator_destroy(struct migrator *);
void migrator_configure(struct migrator *, const struct migrator_config *);

/* A flow that the data plane has bound; also one that is known already. */
void migrator_flow_bound(struct migrator *, const struct datapath_flow *,
                         const struct migrator_clock *);
void migrator_flow_closed(struct migrator *, uint32_t id,
                          const struct migrator_clock *);
/* Around telling it of all bound flows: what is not told is gone. */
void migrator_resync_begin(struct migrator *);
void migrator_resync_end(struct migrator *, const struct migrator_clock *);

/* All uplinks as they are now. */
void migrator_set_uplinks(struct migrator *, const struct migrator_uplink *,
                          size_t n, const struct migrator_clock *);

/* Something about the paths has changed: probes all. */
void migrator_suspect(struct migrator *, const struct migrator_clock *);

/* A packet from the SAL port: any bytes. */
void migrator_receive(struct migrator *, const struct migrator_packet *,
                      const struct migrator_clock *);

/* An answer: the peer may be at the 'n' locators, or nobody knows ('n' 0).
 * Our moves are announced there as well.  False if it was not asked for. */
bool migrator_peer_at(struct migrator *,
                      const uint8_t peer[SAL_ENDPOINT_ID_LEN],
                      const struct migration_locator locators[], size_t n,
                      const struct migrator_clock *);

/* Does what is due; when it is to be called again, INT64_MAX = not. */
void migrator_run(struct migrator *, const struct migrator_clock *);
int64_t migrator_deadline(const struct migrator *);

/* Commands.  What is to move: */
struct migrator_choice {
    const uint32_t *flows; /* 'n_flows' of them; or else */
    size_t n_flows;
    const uint8_t *peer;   /* all with this endpoint; or else */
    int ifindex;           /* all that leave by this uplink. */
    int to;                /* ifindex; 0 = the best of the others. */
};
struct migrator_moves {
    uint64_t ticket;          /* For migrator_moves_check(). */
    size_t n_groups, n_flows; /* That move. */
    size_t n_stay;            /* Flows that are there already. */
    const char *error;        /* If some cannot: why. */
    size_t n_confirmed;       /* Groups. */
    int64_t slowest_ms;       /* Of these. */
};
void migrator_move(struct migrator *, const struct migrator_choice *,
                   const struct migrator_clock *, struct migrator_moves *ret);
/* Updates n_confirmed and slowest_ms; true when all are. */
bool migrator_moves_check(const struct migrator *, struct migrator_moves *);

/* State. */
const struct migrator_counters *migrator_counters(const struct migrator *);
size_t migrator_n_peers(const struct migrator *);
size_t migrator_n_groups(const struct migrator *);
struct json *migrator_to_json(const struct migrator *);

/* "10.0.0.1", "2001:db8::1", with ":port" if it has one; "-" = none. */
#define MIGRATOR_LOCATOR_LEN 56
const char *migrator_format_locator(const struct migration_locator *,
                                    char buf[MIGRATOR_LOCATOR_LEN]);

/* Has the peer, since this daemon started, proved that it has its key and is
 * at 'locator'?  Port 0: any. */
bool migrator_peer_is_at(const struct migrator *,
                         const uint8_t peer[SAL_ENDPOINT_ID_LEN],
                         const struct migration_locator *);

/* The key that this daemon and the peer's have proved to share, for other
 * MACed messages between them (identity_mac()); NULL if they have not met. */
const uint8_t *migrator_peer_key(const struct migrator *,
                                 const uint8_t peer[SAL_ENDPOINT_ID_LEN]);

#endif /* migrator.h */
