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

void
put_queue_fill(struct put_queue *queue, struct rule_changes *changes,
               uint64_t generation)
{
    ovs_assert(put_queue_is_empty(queue));
    put_queue_clear(queue);
    queue->changes = *changes;
    queue->generation = generation;
    memset(changes, 0, sizeof *changes);
}

void
put_queue_take(struct put_queue *queue, struct rule_changes *round)
{
    const struct rule_change *changes = queue->changes.changes;
    size_t end = MIN(queue->next + PUT_ROUND_MAX, queue->changes.n);

    while (end < queue->changes.n
           && rule_changes_same_service(&changes[end - 1], &changes[end])) {
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
