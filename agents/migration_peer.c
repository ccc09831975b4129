/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/migration_peer.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "agents/probe.h"
#include "openvswitch/util.h"
#include "util.h"

#define ANSWER_COST 1000 /* Milliseconds times answers a second. */

void
migration_peer_init(struct migration_peer *peer,
                    const uint8_t id[SAL_ENDPOINT_ID_LEN], int64_t now)
{
    memset(peer, 0, sizeof *peer);
    memcpy(peer->id, id, sizeof peer->id);
    peer->answer_credit_ms = MIGRATION_ANSWER_BURST * ANSWER_COST;
    peer->credited_at = now;
}

void
migration_peer_clear(struct migration_peer *peer)
{
    sodium_memzero(peer, sizeof *peer);
}

/* Both ends put the same into the key: the endpoint IDs, lower one first, as
 * the nonce, and the owner of the lower one as the initiator. */
static int
compute_key(struct migration_peer *peer, const struct identity *self,
            const uint8_t public_key[SAL_PUBLIC_KEY_LEN])
{
    bool lower = memcmp(self->endpoint_id, peer->id, sizeof peer->id) < 0;
    uint8_t nonce[IDENTITY_NONCE_LEN];

    BUILD_ASSERT(IDENTITY_NONCE_LEN == 2 * SAL_ENDPOINT_ID_LEN);
    memcpy(nonce + (lower ? 0 : SAL_ENDPOINT_ID_LEN), self->endpoint_id,
           SAL_ENDPOINT_ID_LEN);
    memcpy(nonce + (lower ? SAL_ENDPOINT_ID_LEN : 0), peer->id,
           SAL_ENDPOINT_ID_LEN);
    return identity_session_key(self, public_key, nonce, lower, peer->key);
}

/* Only the key that hashes to the endpoint ID is taken, so there is nothing to
 * change later, and nothing that an attacker could bring in. */
static int
learn_key(struct migration_peer *peer, const struct identity *self,
          const struct migration_message *message)
{
    uint8_t id[SAL_ENDPOINT_ID_LEN];

    identity_endpoint_id(message->public_key, id);
    if (memcmp(id, peer->id, sizeof id)
        || compute_key(peer, self, message->public_key)) {
        return -EPERM;
    }
    peer->has_key = true;
    return 0;
}

static int
open_message(struct migration_peer *peer, const struct identity *self,
             const struct migration_packet *packet,
             const struct migration_message *message)
{
    if (memcmp(message->sender, peer->id, sizeof peer->id)
        || memcmp(message->receiver, self->endpoint_id,
                  sizeof self->endpoint_id)) {
        return -EPERM;
    }
    if (!peer->has_key) {
        /* BOUND has no key, and answers a DONE that took one. */
        if (message->signal.kind == MIGRATION_BOUND
            || learn_key(peer, self, message)) {
            return -EPERM;
        }
    }
    return !message->signal.mac
           || migration_message_authentic(message, packet->data, packet->len,
                                          peer->key)
           ? 0 : -EPERM;
}

int
migration_peer_open(struct migration_peer *peer, const struct identity *self,
                    const struct migration_packet *packet,
                    const struct migration_message *message,
                    struct migration_received *ret_received)
{
    int error = open_message(peer, self, packet, message);
    if (error) {
        peer->n_forged++;
        return error;
    }
    ret_received->signal = message->signal;
    ret_received->source = packet->source;
    ret_received->seq = message->seq;
    return 0;
}

bool
migration_peer_admit(struct migration_peer *peer, const struct migration *m,
                     const struct migration_received *received, int64_t now)
{
    if (received->signal.kind != MIGRATION_RSYN
        || migration_is_new(m, received)) {
        return true;
    }
    /* The same RSYN by another way, already answered to the same place. */
    if (received->signal.mac && m->peer_seq_known
        && received->seq == m->peer_seq
        && migration_locator_equal(&received->source, &m->candidate)) {
        return false;
    }
    if (now > peer->credited_at) {
        int64_t most = MIGRATION_ANSWER_BURST * ANSWER_COST;
        int64_t passed = MIN(now - peer->credited_at, most);
        peer->answer_credit_ms = MIN(most, peer->answer_credit_ms
                                           + passed * MIGRATION_ANSWER_PER_S);
        peer->credited_at = now;
    }
    if (peer->answer_credit_ms < ANSWER_COST) {
        peer->n_limited++;
        return false;
    }
    peer->answer_credit_ms -= ANSWER_COST;
    return true;
}

size_t
migration_peer_seal(struct migration_peer *peer, const struct identity *self,
                    const struct migration_signal *signal,
                    const struct migration_details *details,
                    uint8_t packet[SAL_MAX_HEADER_LEN])
{
    struct migration_message message;

    ovs_assert(!signal->mac || peer->has_key);
    ovs_assert(details->n_flows <= MIGRATION_FLOWS_PER_PART);
    memset(&message, 0, sizeof message);
    peer->seq = probe_next_seq(peer->seq, details->unix_ms);
    message.signal = *signal;
    if (signal->kind == MIGRATION_DONE) {
        message.signal.need_flows = false; /* Meant for our caller. */
    }
    message.seq = peer->seq;
    message.ack = details->ack;
    message.group = details->group;
    message.part = MAX(details->part, 1);
    message.parts = MAX(details->parts, 1);
    memcpy(message.sender, self->endpoint_id, sizeof message.sender);
    memcpy(message.receiver, peer->id, sizeof message.receiver);
    memcpy(message.public_key, self->public_key, sizeof message.public_key);
    message.n_flows = details->n_flows;
    if (details->n_flows) {
        memcpy(message.flows, details->flows,
               details->n_flows * sizeof *details->flows);
    }
    return migration_message_build(&message, peer->key, packet);
}

unsigned int
migration_parts_needed(size_t n_flows)
{
    return n_flows ? DIV_ROUND_UP(n_flows, MIGRATION_FLOWS_PER_PART) : 1;
}

void
migration_parts_begin(struct migration_parts *parts, unsigned int n)
{
    ovs_assert(n >= 1 && n <= MIGRATION_MAX_PARTS);
    parts->missing = UINT64_MAX >> (64 - n);
}

bool
migration_parts_confirm(struct migration_parts *parts, unsigned int part)
{
    if (part >= 1 && part <= MIGRATION_MAX_PARTS) {
        parts->missing &= ~(UINT64_C(1) << (part - 1));
    }
    return !parts->missing;
}
