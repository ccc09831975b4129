/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/claims.h"

#include <stdlib.h>
#include <string.h>
#include "hash.h"
#include "util.h"

/* SYNs that wait for one answer. */
struct pending_claim {
    struct ovs_list node;    /* In claims->pending. */
    struct ovs_list packets; /* struct pending_packet. */
    size_t n_packets;
    struct claim claim;
    bool asked;
    int64_t deadline;
};

struct pending_packet {
    struct ovs_list node;
    uint32_t ifindex;
    uint16_t len;
    uint8_t frame[];
};

/* An endpoint that claims to be at 'locator'.  Not 'waiting': any flow from
 * there (whatever its port, which is 0 here) is one to watch, until
 * 'deadline'.  Waiting: such a flow is bound, and if the endpoint has not
 * proved by 'deadline' that it is there, it ends.  'n_unproved' of the former
 * says how often that happened in a row. */
struct watched_claim {
    struct hmap_node node; /* In claims->watched. */
    uint8_t endpoint[SAL_ENDPOINT_ID_LEN];
    struct migration_locator locator;
    bool waiting;
    unsigned int n_unproved;
    int64_t deadline;
};

void
claims_init(struct claims *c, const struct claims_ops *ops, void *aux)
{
    memset(c, 0, sizeof *c);
    ovs_list_init(&c->pending);
    hmap_init(&c->watched);
    c->watch_at = INT64_MAX;
    c->ops = ops;
    c->aux = aux;
}

/* Pending. */

static struct pending_packet *
pop_packet(struct claims *c, struct pending_claim *pending)
{
    struct pending_packet *packet
        = CONTAINER_OF(ovs_list_pop_front(&pending->packets),
                       struct pending_packet, node);

    c->n_packets--;
    c->bytes -= packet->len;
    return packet;
}

static void
forget_pending(struct claims *c, struct pending_claim *pending)
{
    while (!ovs_list_is_empty(&pending->packets)) {
        free(pop_packet(c, pending));
    }
    ovs_list_remove(&pending->node);
    free(pending);
}

static void
give_back(struct claims *c, struct pending_claim *pending)
{
    while (!ovs_list_is_empty(&pending->packets)) {
        struct pending_packet *packet = pop_packet(c, pending);
        c->counters.delivered++;
        c->ops->deliver(packet->frame, packet->len, packet->ifindex, c->aux);
        free(packet);
    }
    forget_pending(c, pending);
}

void
claims_give_back(struct claims *c)
{
    struct pending_claim *pending;

    LIST_FOR_EACH_SAFE (pending, node, &c->pending) {
        give_back(c, pending);
    }
}

void
claims_destroy(struct claims *c)
{
    struct pending_claim *pending;
    struct watched_claim *watched;

    LIST_FOR_EACH_SAFE (pending, node, &c->pending) {
        forget_pending(c, pending);
    }
    HMAP_FOR_EACH_POP (watched, node, &c->watched) {
        free(watched);
    }
    hmap_destroy(&c->watched);
}

static struct pending_claim *
find_pending(const struct claims *c, const struct claim *claim)
{
    struct pending_claim *pending;

    LIST_FOR_EACH (pending, node, &c->pending) {
        if (!memcmp(&pending->claim, claim, sizeof *claim)) {
            return pending;
        }
    }
    return NULL;
}

/* Asks what could not be asked before. */
static void
ask_next(struct claims *c)
{
    struct pending_claim *pending;

    LIST_FOR_EACH (pending, node, &c->pending) {
        if (!pending->asked) {
            if (!c->ops->ask(&pending->claim, c->aux)) {
                return;
            }
            pending->asked = true;
            c->counters.asked++;
        }
    }
}

static void
claim_of(const struct sal_held *held, struct claim *claim)
{
    const struct sal_addr *source = &held->tuple.remote;

    memset(claim, 0, sizeof *claim);
    memcpy(&claim->locator, &held->claim.locator, sizeof claim->locator);
    memcpy(claim->endpoint, held->claim.endpoint, sizeof claim->endpoint);
    if (!source->w[0] && !source->w[1]
        && source->w[2] == htonl(SAL_ADDR_MAPPED)) {
        claim->identity_v4 = ntohl(source->w[3]);
    }
}

void
claims_take(struct claims *c, const struct sal_held *held, const void *frame,
            int64_t now)
{
    struct pending_claim *pending;
    struct claim claim;

    claim_of(held, &claim);
    pending = find_pending(c, &claim);
    if (c->n_packets >= CLAIMS_MAX_PACKETS
        || c->bytes + held->len > CLAIMS_MAX_BYTES
        || (pending && pending->n_packets >= CLAIMS_MAX_PER_CLAIM)) {
        c->counters.full++;
        return;
    }
    if (!pending) {
        pending = xzalloc(sizeof *pending);
        pending->claim = claim;
        pending->deadline = now + CLAIMS_ANSWER_MS;
        ovs_list_init(&pending->packets);
        ovs_list_push_back(&c->pending, &pending->node);
    }
    struct pending_packet *packet = xmalloc(sizeof *packet + held->len);
    packet->ifindex = held->ifindex;
    packet->len = held->len;
    memcpy(packet->frame, frame, held->len);
    ovs_list_push_back(&pending->packets, &packet->node);
    pending->n_packets++;
    c->n_packets++;
    c->bytes += held->len;
    ask_next(c);
}

/* Watched. */

static uint32_t
watched_hash(const uint8_t endpoint[SAL_ENDPOINT_ID_LEN],
             const struct migration_locator *locator)
{
    return hash_bytes(locator->address, sizeof locator->address,
                      hash_bytes(endpoint, SAL_ENDPOINT_ID_LEN, 0));
}

static struct watched_claim *
find_watched(const struct claims *c,
             const uint8_t endpoint[SAL_ENDPOINT_ID_LEN],
             const struct migration_locator *locator, bool waiting)
{
    struct watched_claim *watched;

    HMAP_FOR_EACH_WITH_HASH (watched, node, watched_hash(endpoint, locator),
                             &c->watched) {
        if (watched->waiting == waiting
            && !memcmp(watched->endpoint, endpoint, sizeof watched->endpoint)
            && migration_locator_equal(&watched->locator, locator)) {
            return watched;
        }
    }
    return NULL;
}

/* NULL if there are too many. */
static struct watched_claim *
watch(struct claims *c, const uint8_t endpoint[SAL_ENDPOINT_ID_LEN],
      const struct migration_locator *locator, bool waiting)
{
    struct watched_claim *watched = find_watched(c, endpoint, locator,
                                                 waiting);

    if (!watched && hmap_count(&c->watched) < CLAIMS_MAX_WATCHED) {
        watched = xzalloc(sizeof *watched);
        memcpy(watched->endpoint, endpoint, sizeof watched->endpoint);
        watched->locator = *locator;
        watched->waiting = waiting;
        watched->deadline = INT64_MAX;
        hmap_insert(&c->watched, &watched->node,
                    watched_hash(endpoint, locator));
    }
    return watched;
}

static void
locator_of(const struct claim *claim, struct migration_locator *locator)
{
    memset(locator, 0, sizeof *locator);
    memcpy(locator->address, &claim->locator, sizeof locator->address);
}

void
claims_bound(struct claims *c, const uint8_t endpoint[SAL_ENDPOINT_ID_LEN],
             const struct migration_locator *locator, int64_t now)
{
    struct migration_locator any_port = *locator;

    any_port.port = 0;
    if (!find_watched(c, endpoint, &any_port, false)
        || find_watched(c, endpoint, locator, true)
        || c->ops->is_proved(endpoint, locator, c->aux)) {
        return;
    }
    struct watched_claim *watched = watch(c, endpoint, locator, true);
    if (watched) {
        watched->deadline = now + CLAIMS_PROOF_MS;
        c->watch_at = MIN(c->watch_at, watched->deadline);
    } else {
        c->ops->cut(endpoint, locator, c->aux);
        c->counters.unproved++;
    }
}

/* Answers. */

static void
enter(struct claims *c, const struct claim *claim, enum sal_peer_state state,
      const struct claim_answer *answer)
{
    struct sal_peer_key key;
    struct sal_peer peer;

    memset(&key, 0, sizeof key);
    memset(&peer, 0, sizeof peer);
    memcpy(&key.locator, &claim->locator, sizeof key.locator);
    if (state != SAL_PEER_ATTACHED) {
        memcpy(key.endpoint, claim->endpoint, sizeof key.endpoint);
    }
    memcpy(peer.endpoint, answer->endpoint, sizeof peer.endpoint);
    peer.identity_v4 = htonl(answer->identity_v4);
    peer.state = state;
    c->ops->enter(&key, &peer, answer->ttl_ms, c->aux);
}

/* Nobody is known to be at the locator: the endpoint may be as it says. */
static void
take_claim(struct claims *c, const struct claim *claim,
           const struct claim_answer *answer, int64_t now)
{
    struct claim_answer believed = *answer;
    struct migration_locator locator;

    memcpy(believed.endpoint, claim->endpoint, sizeof believed.endpoint);
    locator_of(claim, &locator);
    struct watched_claim *watched = watch(c, claim->endpoint, &locator, false);
    if (!watched) {
        c->counters.refused++;
        enter(c, claim, SAL_PEER_REFUSED, &believed);
        return;
    }
    watched->deadline = now + CLAIMS_WATCH_MS;
    c->watch_at = MIN(c->watch_at, watched->deadline);
    c->counters.claimed++;
    enter(c, claim, SAL_PEER_CLAIMED, &believed);
}

void
claims_answered(struct claims *c, const struct claim *claim,
                const struct claim_answer *answer, int64_t now)
{
    /* Of a controller that does not know the question. */
    static const struct claim_answer none = {.ttl_ms = CLAIMS_REFUSED_MS};
    static const uint8_t nobody[SAL_ENDPOINT_ID_LEN];
    struct pending_claim *pending = find_pending(c, claim);

    if (!answer) {
        answer = &none;
    }
    if (answer->attached) {
        c->counters.attached++;
        enter(c, claim, SAL_PEER_ATTACHED, answer);
    } else if (!memcmp(claim->endpoint, nobody, sizeof nobody)
               || (answer->known
                   && memcmp(answer->endpoint, claim->endpoint,
                             sizeof answer->endpoint))) {
        c->counters.refused++;
        enter(c, claim, SAL_PEER_REFUSED, answer);
    } else {
        take_claim(c, claim, answer, now);
    }
    if (pending) {
        give_back(c, pending);
    }
    ask_next(c);
}

/* Time. */

/* How long the endpoint that has not proved to be at 'where' is refused: longer
 * each time, so that who tries for ever is in a small part of the time. */
static uint32_t
refusal(struct claims *c, const uint8_t endpoint[SAL_ENDPOINT_ID_LEN],
        const struct migration_locator *where, int64_t now)
{
    struct watched_claim *known = find_watched(c, endpoint, where, false);
    uint32_t ms = CLAIMS_REFUSED_MS;

    if (known) {
        ms <<= MIN(known->n_unproved, CLAIMS_REFUSED_DOUBLINGS);
        known->n_unproved++;
        known->deadline = now + ms + CLAIMS_WATCH_MS;
    }
    return ms;
}

static void
end_unproved(struct claims *c, const struct watched_claim *watched,
             int64_t now)
{
    struct migration_locator any_port = watched->locator;
    struct claim_answer refused = {.ttl_ms = 0};
    struct claim claim = {.identity_v4 = 0};

    if (c->ops->is_proved(watched->endpoint, &watched->locator, c->aux)) {
        return;
    }
    if (!c->ops->cut(watched->endpoint, &watched->locator, c->aux)) {
        return; /* It was gone before it could prove anything. */
    }
    c->counters.unproved++;
    /* Of two behind one NAT, one may be honest. */
    any_port.port = 0;
    if (!c->ops->is_proved(watched->endpoint, &any_port, c->aux)) {
        memcpy(&claim.locator, watched->locator.address,
               sizeof claim.locator);
        memcpy(claim.endpoint, watched->endpoint, sizeof claim.endpoint);
        refused.ttl_ms = refusal(c, watched->endpoint, &any_port, now);
        enter(c, &claim, SAL_PEER_REFUSED, &refused);
    }
}

static void
run_watched(struct claims *c, int64_t now)
{
    struct watched_claim *watched;

    if (now < c->watch_at) {
        return;
    }
    c->watch_at = INT64_MAX;
    HMAP_FOR_EACH_SAFE (watched, node, &c->watched) {
        if (now < watched->deadline) {
            c->watch_at = MIN(c->watch_at, watched->deadline);
            continue;
        }
        if (watched->waiting) {
            end_unproved(c, watched, now);
        }
        hmap_remove(&c->watched, &watched->node);
        free(watched);
    }
}

void
claims_run(struct claims *c, int64_t now)
{
    struct pending_claim *pending;

    LIST_FOR_EACH_SAFE (pending, node, &c->pending) {
        if (now < pending->deadline) {
            break;
        }
        c->counters.timed_out += pending->n_packets;
        forget_pending(c, pending);
    }
    run_watched(c, now);
    ask_next(c);
}

int64_t
claims_deadline(const struct claims *c)
{
    int64_t deadline = c->watch_at;

    if (!ovs_list_is_empty(&c->pending)) {
        const struct pending_claim *first
            = CONTAINER_OF(ovs_list_front(&c->pending), struct pending_claim,
                           node);
        deadline = MIN(deadline, first->deadline);
    }
    return deadline;
}
