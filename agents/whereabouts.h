/* SPDX-License-Identifier: Apache-2.0 */
/* A host tells a service router where it is, so that RSYNs for it, which the
 * router resolves for networks with neither SAL switches nor a controller, are
 * sent on to there:
 *
 *     host -> router    ASK: I am this endpoint, at this locator
 *     router -> host    CHALLENGE, to that locator
 *     host -> router    TELL: the challenge, and a MAC
 *     router -> host    KNOWN: a MAC
 *
 * All are PROBEs of one length (so nothing is amplified), whose service ID is
 * the host's endpoint service.  The MAC's key is that of the two X25519 key
 * pairs; the host's public key hashes to its endpoint ID, so nobody can tell
 * where somebody else is.  The router keeps nothing before TELL: its
 * challenge, bound to the locator that it goes to, is computed again.
 *
 *     endpoint ID, public key, locator, [challenge], [MAC], padding
 *
 * Pure; not thread-safe. */
#ifndef SALIENT_WHEREABOUTS_H
#define SALIENT_WHEREABOUTS_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agents/migration.h"
#include "ofp-ext/sal.h"
#include "proto/identity.h"

#define WHEREABOUTS_LEN 188
#define WHEREABOUTS_SECRET_LEN 32

/* How often a host says it again; routers forget it after thrice that. */
#define WHEREABOUTS_REFRESH_MS 15000

enum whereabouts_kind {
    WHEREABOUTS_ASK = 1,
    WHEREABOUTS_CHALLENGE = 2,
    WHEREABOUTS_TELL = 3,
    WHEREABOUTS_KNOWN = 4,
};

struct whereabouts {
    enum whereabouts_kind kind;
    uint8_t host[SAL_ENDPOINT_ID_LEN];       /* Of whom it is told. */
    uint8_t public_key[SAL_PUBLIC_KEY_LEN];  /* The sender's. */
    struct migration_locator locator; /* The host's; its port is 0. */
    uint32_t seq;  /* The host's, rising; the same in all four. */
    uint64_t nonce; /* The same; as it is on the wire. */
    uint64_t stamp; /* CHALLENGE and TELL. */
    uint8_t tag[SAL_CHALLENGE_TAG_LEN];
};

/* Builds the message 'self' sends; 'peer_key' is the receiver's public key,
 * needed for TELL and KNOWN.  -EINVAL if that makes no key. */
int whereabouts_build(const struct identity *self, const struct whereabouts *,
                      const uint8_t peer_key[SAL_PUBLIC_KEY_LEN],
                      uint8_t packet[WHEREABOUTS_LEN]);

/* Any bytes will do; -EPROTO if it is none of the four.  Of ASK and TELL, the
 * public key is the host's.  The MAC is not checked. */
int whereabouts_parse(const uint8_t *packet, size_t len, struct whereabouts *);

/* Whether TELL or KNOWN 'packet', which parsed as the struct, is by the owner
 * of its public key, for us. */
bool whereabouts_authentic(const struct identity *self,
                           const struct whereabouts *,
                           const uint8_t packet[WHEREABOUTS_LEN]);

/* Fills in the tag of the challenge that answers an ASK and is good for
 * 'stamp'. */
void whereabouts_challenge(const uint8_t secret[WHEREABOUTS_SECRET_LEN],
                           const struct whereabouts *ask, uint64_t stamp,
                           uint8_t tag[SAL_CHALLENGE_TAG_LEN]);

#endif /* whereabouts.h */
