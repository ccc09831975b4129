/* SPDX-License-Identifier: Apache-2.0 */
/* Flows whose TCP is still to be woken (datapath_flows_wake()): thousands may
 * move at once, and packets do not wait until the last is woken.  In the order
 * in which they were added; those of one call need not be woken alike.
 *
 * Pure; not thread-safe.  The owner makes it of zeros. */
#ifndef SALIENT_WAKE_QUEUE_H
#define SALIENT_WAKE_QUEUE_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What finds no room is not woken, and waits for its own timers: a peer that
 * moves all the time cannot make us remember more. */
#define WAKE_QUEUE_MAX 262144

struct wake_queue {
    uint32_t *ids;
    int64_t *good_ms; /* As in datapath_flows_wake(). */
    size_t n, done, allocated;
};

void wake_queue_destroy(struct wake_queue *);

/* How many found room. */
size_t wake_queue_add(struct wake_queue *, const uint32_t ids[], size_t n,
                      int64_t good_ms);

/* Takes up to 'max' flows, all alike, which are good until the next call.  0
 * if there are none. */
size_t wake_queue_take(struct wake_queue *, size_t max,
                       const uint32_t **ret_ids, int64_t *ret_good_ms);

static inline bool
wake_queue_is_empty(const struct wake_queue *queue)
{
    return queue->done == queue->n;
}

#endif /* wake_queue.h */
