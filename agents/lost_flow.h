/* SPDX-License-Identifier: Apache-2.0 */
/* A host that lost a flow (it rebooted, its tables were replaced) tells the
 * peer, which goes on sending:
 *
 *     peer -> us    DATA for flow a of ours, from flow b of its
 *     us -> peer    PROBE a, b: our endpoint ID and public key, nonce 0
 *     peer -> us    PROBE b, a: its own, and a nonce that is a challenge
 *     us -> peer    FIN a, b: the same nonce, and a MAC
 *
 * The MAC's key is that of the two X25519 key pairs, so only the endpoint that
 * the flow is with can end it, and only now.  The peer keeps nothing in
 * between: the challenge is computed again.
 *
 * Header of 64 bytes (its service ID is zero), then options:
 *
 *     endpoint ID, public key, [MAC, in FIN]
 *
 * Pure; not thread-safe. */
#ifndef SALIENT_LOST_FLOW_H
#define SALIENT_LOST_FLOW_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ofp-ext/sal.h"
#include "proto/identity.h"

#define LOST_FLOW_PROBE_LEN 120
#define LOST_FLOW_FIN_LEN 140
#define LOST_FLOW_SECRET_LEN 32

struct lost_flow {
    enum sal_type type;            /* PROBE or FIN. */
    uint32_t src_flow, dst_flow;   /* Host byte order. */
    uint64_t nonce;                /* As it is on the wire; 0: none yet. */
    uint8_t endpoint[SAL_ENDPOINT_ID_LEN];    /* Of the sender: the hash of */
    uint8_t public_key[SAL_PUBLIC_KEY_LEN];   /* this, which is checked. */
};

/* Builds a PROBE or, with a MAC for the owner of 'peer_key', a FIN.  Returns
 * the length, or -EINVAL for a public key that makes no key. */
int lost_flow_build(const struct identity *self, const struct lost_flow *,
                    const uint8_t peer_key[SAL_PUBLIC_KEY_LEN],
                    uint8_t packet[LOST_FLOW_FIN_LEN]);

/* Any bytes will do; -EPROTO if it is neither.  A FIN's MAC is not checked. */
int lost_flow_parse(const uint8_t *packet, size_t len, struct lost_flow *);

/* Whether FIN 'packet', which parsed as 'flow', is by the owner of its public
 * key, for us. */
bool lost_flow_authentic(const struct identity *self, const struct lost_flow *,
                         const uint8_t packet[LOST_FLOW_FIN_LEN]);

/* The challenge to who claims to have lost the other end of our flow 'own', at
 * time 'slot'.  Never 0. */
uint64_t lost_flow_challenge(const uint8_t secret[LOST_FLOW_SECRET_LEN],
                             uint32_t own, uint32_t other, uint64_t slot);

#endif /* lost_flow.h */
