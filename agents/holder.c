/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/holder.h"

#include <netinet/in.h>
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

/* Has the application told no. */
static void
refuse(struct holder *holder, const void *frame, size_t len)
{
    holder->ops->send(frame, len, SAL_MARK_REFUSE, holder->aux);
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

static bool
has_room(const struct holder *holder, const struct sal_held *held)
{
    return holder->n < HOLDER_MAX_PACKETS
           && holder->bytes + held->len <= HOLDER_MAX_BYTES
           && count_of(holder, &held->tuple) < HOLDER_MAX_PER_FLOW;
}

static void
keep(struct holder *holder, const struct sal_held *held, const void *frame,
     int64_t now)
{
    bool resolve = held->kind == SAL_HELD_RESOLVE;

    if (!has_room(holder, held)) {
        holder->stats.full++;
        if (resolve) {
            refuse(holder, frame, held->len);
        }
        return;
    }
    struct held_packet *packet = xmalloc(sizeof *packet + held->len);
    packet->held = *held;
    packet->deadline = now + (resolve ? HOLDER_RESOLVE_MS : HOLDER_BIND_MS);
    memcpy(packet->frame, frame, held->len);
    ovs_list_push_back(&holder->packets, &packet->node);
    holder->n++;
    holder->bytes += held->len;
    holder->stats.held += !held->attempts;
}

static const struct service_id *
id_of(const struct sal_held *held)
{
    return ALIGNED_CAST(const struct service_id *, held->service_id);
}

/* Is the answer for the service of 'held' under way? */
static bool
is_asked(const struct holder *holder, const struct sal_held *held)
{
    const struct held_packet *packet;

    LIST_FOR_EACH (packet, node, &holder->packets) {
        if (packet->held.kind == SAL_HELD_RESOLVE
            && !memcmp(packet->held.service_id, held->service_id,
                       sizeof held->service_id)) {
            return true;
        }
    }
    return false;
}

/* TCP sends its SYN again: one is enough. */
static bool
is_again(const struct holder *holder, const struct sal_held *held)
{
    return held->tuple.proto == IPPROTO_TCP && count_of(holder, &held->tuple);
}

static void
delay(struct holder *holder, const struct sal_held *held, const void *frame,
      int64_t now)
{
    if (held->attempts >= HOLDER_RESOLVE_ATTEMPTS) {
        /* Resolved, and yet held again. */
        holder->stats.timed_out++;
        refuse(holder, frame, held->len);
        return;
    }
    if (is_again(holder, held)) {
        return;
    }
    bool asked = is_asked(holder, held);
    keep(holder, held, frame, now);
    if (!asked && is_asked(holder, held)) {
        holder->stats.questions++;
        holder->ops->resolve(id_of(held), holder->aux);
    }
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
    if (held->kind == SAL_HELD_RESOLVE) {
        delay(holder, held, frame, now);
        return;
    }
    LIST_FOR_EACH_SAFE (packet, node, &holder->packets) {
        if (packet->held.kind != SAL_HELD_BIND
            || !is_of(packet, &held->tuple)) {
            continue;
        }
        if (held->kind == SAL_HELD_BOUND) {
            send_on(holder, packet);
        } else {
            drop(holder, packet, &holder->stats.refused);
        }
    }
}

void
holder_resolved(struct holder *holder, const struct service_prefix *prefix,
                bool found)
{
    struct held_packet *packet;

    LIST_FOR_EACH_SAFE (packet, node, &holder->packets) {
        if (packet->held.kind != SAL_HELD_RESOLVE
            || !service_prefix_contains_id(prefix, id_of(&packet->held))) {
            continue;
        }
        if (found) {
            holder->stats.sent++;
            holder->ops->send(packet->frame, packet->held.len,
                              SAL_MARK_AGAIN | (packet->held.attempts + 1),
                              holder->aux);
            forget(holder, packet);
        } else {
            refuse(holder, packet->frame, packet->held.len);
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
        if (now < packet->deadline) {
            continue;
        }
        if (packet->held.kind == SAL_HELD_RESOLVE) {
            refuse(holder, packet->frame, packet->held.len);
            drop(holder, packet, &holder->stats.timed_out);
        } else {
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
