/* SPDX-License-Identifier: Apache-2.0 */
/* Whose address is that?  A SYN's inner source and endpoint ID are claims.
 * The data plane holds the first SYN of a client that it does not know; this
 * module asks the controller who is at the outer source, tells the data plane,
 * and gives it the SYN back.
 *
 *     attached   The network sees an endpoint at that locator, and pins the
 *                locator there: only that endpoint's own addresses are taken.
 *     claimed    It sees nobody there (a NAT, a router between): the address
 *                must be that of the endpoint that is claimed, and once a
 *                flow is bound the endpoint has CLAIMS_PROOF_MS to prove its
 *                key from there (docs/migration.md); otherwise its flows end.
 *     refused    The address is another's, or that proof failed.
 *
 * Bounded in number and bytes.  Who dies with SYNs in hand loses them: they
 * are sent again.
 *
 * Pure: what is to be done goes to 'ops', which must not call back.  Not
 * thread-safe. */
#ifndef SALIENT_CLAIMS_H
#define SALIENT_CLAIMS_H 1

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agents/bpf/sal_maps.h"
#include "agents/migration.h"
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"

#define CLAIMS_MAX_PACKETS 512
#define CLAIMS_MAX_BYTES (512 * 1024)
#define CLAIMS_MAX_PER_CLAIM 16
#define CLAIMS_MAX_WATCHED 4096

/* Before TCP sends its SYN again. */
#define CLAIMS_ANSWER_MS 900
/* Longer than all that delays an introduction that is not refused: an earlier
 * one that has to expire (MIGRATION_EXPIRE_MS), and messages lost. */
#define CLAIMS_PROOF_MS 15000
#define CLAIMS_WATCH_MS 60000
#define CLAIMS_REFUSED_MS 10000 /* Doubles, at most so often: */
#define CLAIMS_REFUSED_DOUBLINGS 3

/* What a SYN says, and where it came from. */
struct claim {
    struct in6_addr locator;               /* IPv4 as ::ffff:a.b.c.d. */
    uint8_t endpoint[SAL_ENDPOINT_ID_LEN]; /* All zero: not said. */
    uint32_t identity_v4;                  /* Host byte order; 0: IPv6. */
};

/* What the controller says, see Identified in proto/salient.proto. */
struct claim_answer {
    bool attached, known;
    uint8_t endpoint[SAL_ENDPOINT_ID_LEN];
    uint32_t identity_v4; /* Host byte order. */
    uint32_t ttl_ms;
};

struct claims_ops {
    /* False if that cannot be asked now. */
    bool (*ask)(const struct claim *, void *aux);
    /* Tells the data plane, for so long. */
    void (*enter)(const struct sal_peer_key *, const struct sal_peer *,
                  uint32_t ttl_ms, void *aux);
    /* Gives the frame back to the data plane, as if it came just now. */
    void (*deliver)(const void *frame, size_t len, uint32_t ifindex,
                    void *aux);
    /* Has the endpoint proved that it has its key, and is there? */
    bool (*is_proved)(const uint8_t endpoint[SAL_ENDPOINT_ID_LEN],
                      const struct migration_locator *, void *aux);
    /* Ends the flows with the endpoint there; returns how many. */
    size_t (*cut)(const uint8_t endpoint[SAL_ENDPOINT_ID_LEN],
                const struct migration_locator *, void *aux);
};

#define CLAIMS_COUNTERS(X)                                                    \
    X(asked)                                                                  \
    X(attached)  /* Answers: see above. */                                    \
    X(claimed)                                                                \
    X(refused)                                                                \
    X(delivered) /* SYNs. */                                                  \
    X(full)      /* SYNs dropped: no room, */                                 \
    X(timed_out) /* or no answer. */                                          \
    X(unproved)  /* Endpoints whose flows were ended. */

struct claims_counters {
#define X(NAME) uint64_t NAME;
    CLAIMS_COUNTERS(X)
#undef X
};

struct claims {
    struct ovs_list pending; /* struct pending_claim, in order of deadline. */
    size_t n_packets, bytes;
    struct hmap watched;     /* struct watched_claim. */
    int64_t watch_at;        /* The earliest deadline of these, or before. */
    const struct claims_ops *ops;
    void *aux;
    struct claims_counters counters;
};

void claims_init(struct claims *, const struct claims_ops *, void *aux);
void claims_destroy(struct claims *);

/* What the ring buffer said: 'held' of kind IDENTIFY, then 'held->len' bytes
 * at 'frame'. */
void claims_take(struct claims *, const struct sal_held *, const void *frame,
                 int64_t now);
/* NULL: there is none, and will not be. */
void claims_answered(struct claims *, const struct claim *,
                     const struct claim_answer *, int64_t now);
/* Nobody can be asked any more; the data plane has been told so. */
void claims_give_back(struct claims *);

/* A flow of a client of ours is bound. */
void claims_bound(struct claims *,
                  const uint8_t endpoint[SAL_ENDPOINT_ID_LEN],
                  const struct migration_locator *, int64_t now);

/* To be called at the deadline; INT64_MAX: never. */
void claims_run(struct claims *, int64_t now);
int64_t claims_deadline(const struct claims *);

#endif /* claims.h */
