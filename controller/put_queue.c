/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/put_queue.h"

#include <stdlib.h>
#include <string.h>
#include "util.h"

void
put_queue_clear(struct put_queue *queue)
{
    rule_changes_destroy(&queue->changes);
    memset(queue, 0, sizeof *queue);
}

/* See the list in put_queue.h. */
static int
phase(const struct rule_change *change)
{
    return change->rule.kind == RULE_SERVICE ? 1
           : change->op == RULE_DELETE ? 2 : 0;
}

static int
compare_services(const struct rule *a, const struct rule *b)
{
    int diff = memcmp(&a->service, &b->service, sizeof a->service);

    return diff ? diff
           : a->prefix_len != b->prefix_len
               ? (a->prefix_len < b->prefix_len ? -1 : 1)
           : a->protocol - b->protocol;
}

struct placed_change {
    struct rule_change change;
    size_t place; /* Where it stood: the order within a phase or service. */
};

static int
compare_changes(const void *a_, const void *b_)
{
    const struct placed_change *a = a_, *b = b_;
    int diff = phase(&a->change) - phase(&b->change);

    if (!diff && phase(&a->change) == 1) {
        diff = compare_services(&a->change.rule, &b->change.rule);
    }
    return diff ? diff : a->place < b->place ? -1 : a->place > b->place;
}

static void
put_in_order(struct rule_changes *changes)
{
    struct placed_change *placed = xmalloc(changes->n * sizeof *placed);

    for (size_t i = 0; i < changes->n; i++) {
        placed[i] = (struct placed_change) {changes->changes[i], i};
    }
    qsort(placed, changes->n, sizeof *placed, compare_changes);
    for (size_t i = 0; i < changes->n; i++) {
        changes->changes[i] = placed[i].change;
    }
    free(placed);
}

void
put_queue_fill(struct put_queue *queue, struct rule_changes *changes,
               uint64_t generation)
{
    ovs_assert(put_queue_is_empty(queue));
    put_queue_clear(queue);
    queue->changes = *changes;
    queue->generation = generation;
    memset(changes, 0, sizeof *changes);
    if (queue->changes.n > PUT_ROUND_MAX) {
        put_in_order(&queue->changes);
    }
}

static bool
is_same_service(const struct rule_change *a, const struct rule_change *b)
{
    return phase(a) == 1 && phase(b) == 1
           && !compare_services(&a->rule, &b->rule);
}

void
put_queue_take(struct put_queue *queue, struct rule_changes *round)
{
    const struct rule_change *changes = queue->changes.changes;
    size_t end = MIN(queue->next + PUT_ROUND_MAX, queue->changes.n);

    while (end < queue->changes.n
           && is_same_service(&changes[end - 1], &changes[end])) {
        end++;
    }
    for (; queue->next < end; queue->next++) {
        rule_changes_add(round, changes[queue->next].op,
                         &changes[queue->next].rule);
    }
    if (put_queue_is_empty(queue)) {
        uint64_t generation = queue->generation;
        put_queue_clear(queue);
        queue->generation = generation;
    }
}
