/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/holder.h"

#include <stdlib.h>
#include <string.h>
#include "util.h"

struct held_packet {
    struct ovs_list node; /* In holder->packets. */
    struct sal_held held;
    int64_t deadline;
    uint8_t frame[]; /* held.len bytes. */
};

void
holder_init(struct holder *holder, const struct holder_ops *ops, void *aux)
{
    memset(holder, 0, sizeof *holder);
    ovs_list_init(&holder->packets);
    holder->ops = ops;
    holder->aux = aux;
}

static void
forget(struct holder *holder, struct held_packet *packet)
{
    ovs_list_remove(&packet->node);
    holder->n--;
    holder->bytes -= packet->held.len;
    free(packet);
}

void
holder_destroy(struct holder *holder)
{
    struct held_packet *packet;

    LIST_FOR_EACH_SAFE (packet, node, &holder->packets) {
        forget(holder, packet);
    }
}

static bool
is_of(const struct held_packet *packet, const struct sal_tuple *tuple)
{
    return !memcmp(&packet->held.tuple, tuple, sizeof *tuple);
}

static size_t
count_of(const struct holder *holder, const struct sal_tuple *tuple)
{
    const struct held_packet *packet;
    size_t n = 0;

    LIST_FOR_EACH (packet, node, &holder->packets) {
        n += is_of(packet, tuple);
    }
    return n;
}

static void
keep(struct holder *holder, const struct sal_held *held, const void *frame,
     int64_t now)
{
    if (holder->n >= HOLDER_MAX_PACKETS
        || holder->bytes + held->len > HOLDER_MAX_BYTES
        || count_of(holder, &held->tuple) >= HOLDER_MAX_PER_FLOW) {
        holder->stats.full++;
        return;
    }
    struct held_packet *packet = xmalloc(sizeof *packet + held->len);
    packet->held = *held;
    packet->deadline = now + HOLDER_BIND_MS;
    memcpy(packet->frame, frame, held->len);
    ovs_list_push_back(&holder->packets, &packet->node);
    holder->n++;
    holder->bytes += held->len;
    holder->stats.held += !held->attempts;
}

static void
send_on(struct holder *holder, struct held_packet *packet)
{
    holder->stats.sent++;
    holder->ops->send(packet->frame, packet->held.len, 0, holder->aux);
    forget(holder, packet);
}

static void
drop(struct holder *holder, struct held_packet *packet, uint64_t *counter)
{
    ++*counter;
    forget(holder, packet);
}

void
holder_take(struct holder *holder, const struct sal_held *held,
            const void *frame, int64_t now)
{
    struct held_packet *packet;

    if (held->kind == SAL_HELD_BIND) {
        keep(holder, held, frame, now);
        return;
    }
    LIST_FOR_EACH_SAFE (packet, node, &holder->packets) {
        if (!is_of(packet, &held->tuple)) {
            continue;
        }
        if (held->kind == SAL_HELD_BOUND) {
            send_on(holder, packet);
        } else {
            drop(holder, packet, &holder->stats.refused);
        }
    }
}

/* The data plane holds it again, with one attempt more, if its flow is not
 * bound even now. */
static void
try_again(struct holder *holder, struct held_packet *packet)
{
    uint32_t mark = SAL_MARK_AGAIN | (packet->held.attempts + 1);

    if (packet->held.attempts + 1 >= HOLDER_BIND_ATTEMPTS) {
        drop(holder, packet, &holder->stats.timed_out);
        return;
    }
    holder->ops->send(packet->frame, packet->held.len, mark, holder->aux);
    forget(holder, packet);
}

void
holder_run(struct holder *holder, int64_t now)
{
    struct held_packet *packet;

    LIST_FOR_EACH_SAFE (packet, node, &holder->packets) {
        if (now >= packet->deadline) {
            try_again(holder, packet);
        }
    }
}

int64_t
holder_deadline(const struct holder *holder)
{
    const struct held_packet *packet;
    int64_t deadline = INT64_MAX;

    LIST_FOR_EACH (packet, node, &holder->packets) {
        deadline = MIN(deadline, packet->deadline);
    }
    return deadline;
}
