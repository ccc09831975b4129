/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/wake_queue.h"

#include <stdlib.h>
#include <string.h>
#include "util.h"

void
wake_queue_destroy(struct wake_queue *queue)
{
    free(queue->ids);
    free(queue->good_ms);
    memset(queue, 0, sizeof *queue);
}

/* What is done makes room, if there is much of it. */
static void
make_room(struct wake_queue *queue, size_t n)
{
    if (queue->done && queue->done >= queue->n - queue->done) {
        queue->n -= queue->done;
        memmove(queue->ids, queue->ids + queue->done,
                queue->n * sizeof *queue->ids);
        memmove(queue->good_ms, queue->good_ms + queue->done,
                queue->n * sizeof *queue->good_ms);
        queue->done = 0;
    }
    if (queue->n + n > queue->allocated) {
        queue->allocated = MAX(queue->n + n, 2 * queue->allocated);
        queue->ids = xrealloc(queue->ids,
                              queue->allocated * sizeof *queue->ids);
        queue->good_ms = xrealloc(queue->good_ms,
                               queue->allocated * sizeof *queue->good_ms);
    }
}

size_t
wake_queue_add(struct wake_queue *queue, const uint32_t ids[], size_t n,
               int64_t good_ms)
{
    n = MIN(n, WAKE_QUEUE_MAX - (queue->n - queue->done));
    if (!n) {
        return 0;
    }
    make_room(queue, n);
    memcpy(queue->ids + queue->n, ids, n * sizeof *ids);
    for (size_t i = 0; i < n; i++) {
        queue->good_ms[queue->n + i] = good_ms;
    }
    queue->n += n;
    return n;
}

size_t
wake_queue_take(struct wake_queue *queue, size_t max, const uint32_t **ret_ids,
                int64_t *ret_good_ms)
{
    size_t from = queue->done;
    size_t end = MIN(queue->n, from + max);

    if (from == end) {
        return 0;
    }
    *ret_ids = queue->ids + from;
    *ret_good_ms = queue->good_ms[from];
    while (queue->done < end && queue->good_ms[queue->done] == *ret_good_ms) {
        queue->done++;
    }
    return queue->done - from;
}
