/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/wake_queue.h"

#include <stdlib.h>
#include <string.h>
#include "util.h"

void
wake_queue_destroy(struct wake_queue *queue)
{
    free(queue->ids);
    free(queue->sure);
    memset(queue, 0, sizeof *queue);
}

/* What is done makes room, if there is much of it. */
static void
make_room(struct wake_queue *queue, size_t n)
{
    if (queue->done >= queue->n - queue->done) {
        queue->n -= queue->done;
        memmove(queue->ids, queue->ids + queue->done,
                queue->n * sizeof *queue->ids);
        memmove(queue->sure, queue->sure + queue->done,
                queue->n * sizeof *queue->sure);
        queue->done = 0;
    }
    if (queue->n + n > queue->allocated) {
        queue->allocated = MAX(queue->n + n, 2 * queue->allocated);
        queue->ids = xrealloc(queue->ids,
                              queue->allocated * sizeof *queue->ids);
        queue->sure = xrealloc(queue->sure,
                               queue->allocated * sizeof *queue->sure);
    }
}

size_t
wake_queue_add(struct wake_queue *queue, const uint32_t ids[], size_t n,
               bool sure)
{
    n = MIN(n, WAKE_QUEUE_MAX - (queue->n - queue->done));
    if (!n) {
        return 0;
    }
    make_room(queue, n);
    memcpy(queue->ids + queue->n, ids, n * sizeof *ids);
    memset(queue->sure + queue->n, sure, n * sizeof *queue->sure);
    queue->n += n;
    return n;
}

size_t
wake_queue_take(struct wake_queue *queue, size_t max, const uint32_t **ret_ids,
                bool *ret_sure)
{
    size_t from = queue->done;
    size_t end = MIN(queue->n, from + max);

    if (from == end) {
        return 0;
    }
    *ret_ids = queue->ids + from;
    *ret_sure = queue->sure[from];
    while (queue->done < end && queue->sure[queue->done] == *ret_sure) {
        queue->done++;
    }
    return queue->done - from;
}
