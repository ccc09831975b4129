/* SPDX-License-Identifier: Apache-2.0 */
/* Single flows of the data plane, for the part of the daemon that migrates
 * them: news of flows, looking at one or at all, giving many another path.
 *
 * Flow IDs are numbers in host byte order here.  One thread. */
#ifndef SALIENT_DATAPATH_FLOWS_H
#define SALIENT_DATAPATH_FLOWS_H 1

#include "agents/datapath.h"
#include "agents/migration.h"
#include "ofp-ext/service_id.h"

/* Between which outer addresses a flow runs. */
struct datapath_path {
    int ifindex; /* 0: held; there is no way to the peer now. */
    bool nat;    /* A NAT is in between at our side. */
    struct migration_locator own, peer;
};

struct datapath_flow {
    uint32_t id, peer_id;
    uint32_t group;
    uint8_t peer_endpoint[SAL_ENDPOINT_ID_LEN]; /* All zero: unknown. */
    uint8_t protocol;
    bool server;
    bool bound; /* Else half open or closing. */
    struct datapath_path path;
    struct service_id service;
    uint64_t in_bytes, out_bytes;
    int64_t quiet_ms; /* Nothing came in for so long. */
    bool unanswered;  /* Something went out since. */
};

/* -ENOENT if there is none. */
int datapath_flow_get(struct datapath *, uint32_t id, struct datapath_flow *);

/* Calls 'visit' for each flow that is bound. */
void datapath_flows_visit(struct datapath *,
                          void (*visit)(const struct datapath_flow *,
                                        void *aux), void *aux);

struct datapath_move {
    struct datapath_path path;
    uint32_t group;
    uint8_t peer_endpoint[SAL_ENDPOINT_ID_LEN]; /* Others are left alone. */
    unsigned int late_ms; /* If the peer's locator changes, its DATA is taken
                           * from the old one, too, for so long. */
};

/* Puts the flows into the group and on the path.  Returns how many of them
 * there were, or a negative errno. */
int datapath_flows_move(struct datapath *, const struct datapath_move *,
                        const uint32_t ids[], size_t n);

/* Tells the local TCP of each flow that its path is good again, or has just
 * changed: it acknowledges anew to the peer, sends what it held back, and does
 * not wait for a timer that backed off.  The path was good until 'good_ms' of
 * CLOCK_MONOTONIC: what was said since may be lost.  WAKE_NOT_SURE: perhaps
 * the peer does not take our DATA yet. */
#define WAKE_NOT_SURE INT64_MAX
void datapath_flows_wake(struct datapath *, const uint32_t ids[], size_t n,
                         int64_t good_ms);

/* Ends the flow: neither end can reach the other by it any more, and TCP here
 * is told at its next segment. */
void datapath_flow_end(struct datapath *, uint32_t id);

/* DATA came for flow 'id', which is not here.  Told of by
 * datapath_events_take(), at most every 10 ms. */
struct datapath_unknown_flow {
    uint32_t id, peer_id;
    struct migration_locator own;
    struct migration_locator other; /* Port: where the DATA came from. */
    uint16_t sal_len; /* Of it. */
};
void datapath_on_unknown_flow(
    struct datapath *, void (*)(const struct datapath_unknown_flow *,
                                void *aux), void *aux);

/* News: a flow was bound or has ended. */
struct datapath_flow_event {
    uint32_t id;
    bool bound; /* Else closed. */
};

/* Readable when there are news; but who has seen some looks again 25 ms later,
 * since not each wakes. */
int datapath_events_fd(const struct datapath *);
/* Takes up to 'max' of them; returns how many.  '*ret_lost': some found no
 * room since the last call; datapath_flows_visit() knows all. */
int datapath_events_take(struct datapath *, unsigned int max,
                         void (*take)(const struct datapath_flow_event *,
                                      void *aux), void *aux,
                         bool *ret_lost);

#endif /* datapath_flows.h */
