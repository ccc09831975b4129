/* SPDX-License-Identifier: Apache-2.0 */
/* Packets that the daemon keeps for the data plane until they can leave: a
 * datagram that is too large to travel with its flow's SYN, until that is
 * answered; a first packet that met a DELAY rule, until it is known where the
 * service is.
 *
 * Bounded in number and bytes, as a whole and for each flow; nothing stays
 * longer than a few seconds.  Whoever holds packets loses them when it dies:
 * the application's retransmission is the remedy, as for any lost packet.
 *
 * Pure: what is to be done goes to 'ops'.  Not thread-safe. */
#ifndef SALIENT_HOLDER_H
#define SALIENT_HOLDER_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agents/bpf/sal_maps.h"
#include "ofp-ext/service_id.h"
#include "openvswitch/list.h"

#define HOLDER_MAX_PACKETS 512
#define HOLDER_MAX_BYTES (1024 * 1024)
#define HOLDER_MAX_PER_FLOW 64

/* A datagram whose SYN found no answer is sent again, which sends another SYN,
 * a little after the data plane resolves it afresh. */
#define HOLDER_BIND_MS 1100
#define HOLDER_BIND_ATTEMPTS 3

/* What has not been resolved by then is refused: before TCP's first
 * retransmission would tell the user less. */
#define HOLDER_RESOLVE_MS 3000
#define HOLDER_RESOLVE_ATTEMPTS 3

struct holder_ops {
    /* Asks where the service is; holder_resolved() is called later, or not. */
    void (*resolve)(const struct service_id *, void *aux);
    /* Hands the frame back to the data plane, with this mark. */
    void (*send)(const void *frame, size_t len, uint32_t mark, void *aux);
};

struct holder_stats {
    uint64_t held;      /* Packets taken, */
    uint64_t sent;      /* of these, sent on; */
    uint64_t refused;   /* dropped, as what they waited for was refused; */
    uint64_t timed_out; /* dropped, as nothing came; */
    uint64_t full;      /* not taken for lack of room. */
    uint64_t questions; /* Asked. */
};

struct holder {
    struct ovs_list packets; /* In the order of arrival. */
    size_t n, bytes;
    const struct holder_ops *ops;
    void *aux;
    struct holder_stats stats;
};

void holder_init(struct holder *, const struct holder_ops *, void *aux);
void holder_destroy(struct holder *);

/* What the ring buffer said: 'held', then 'held->len' bytes at 'frame'. */
void holder_take(struct holder *, const struct sal_held *, const void *frame,
                 int64_t now);

/* The answer for all IDs below 'prefix': the rule is in the data plane, or, if
 * not 'found', the applications are to be told no. */
void holder_resolved(struct holder *, const struct service_prefix *,
                     bool found);

/* To be called at the deadline. */
void holder_run(struct holder *, int64_t now);
/* INT64_MAX: never. */
int64_t holder_deadline(const struct holder *);

#endif /* holder.h */
