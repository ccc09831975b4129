/* SPDX-License-Identifier: Apache-2.0 */
/* Changes on their way to one switch, cut into rounds.
 *
 * A switch that works on one huge bundle answers nothing else meanwhile: no
 * echo, no link probe, no PROBE.  So large differences go in pieces.  Few
 * changes go as one round, which is atomic.  Many are cut where no service is
 * torn apart: as they come in an order that makes before it breaks
 * (rule_changes.h), no service is ever half changed, and no rule refers to what
 * is not there.
 *
 * Pure.  One thread; zeroed memory is an empty queue. */
#ifndef CONTROLLER_PUT_QUEUE_H
#define CONTROLLER_PUT_QUEUE_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/rule_changes.h"

/* A round has more changes only if one service has. */
#define PUT_ROUND_MAX 2048

struct put_queue {
    struct rule_changes changes; /* Owned. */
    size_t next;                 /* The first that was not taken. */
    uint64_t generation;         /* Of the plan that asked for them. */
};

void put_queue_clear(struct put_queue *);

/* Fills an empty queue, whose memory 'changes' becomes.  They are sorted. */
void put_queue_fill(struct put_queue *, struct rule_changes *changes,
                    uint64_t generation);
static inline bool
put_queue_is_empty(const struct put_queue *queue)
{
    return queue->next == queue->changes.n;
}

/* Moves the next round to 'round' (initialised, empty). */
void put_queue_take(struct put_queue *, struct rule_changes *round);

#endif /* put_queue.h */
