/* SPDX-License-Identifier: Apache-2.0 */
/* Cryptographic identity of an endpoint (libsodium: X25519, BLAKE2b).
 *
 * An endpoint owns an X25519 key pair.  Its endpoint ID is the 128-bit BLAKE2b
 * hash of the public key, so anybody can check that a key belongs to an ID.
 * Key possession is proved by a MAC under a key that only the two parties of
 * the Diffie-Hellman exchange can compute.  The same session key
 * authenticates the agent's PROBE packets.
 *
 * Secrets are never logged and are wiped when released.  Any thread. */
#ifndef SALIENT_IDENTITY_H
#define SALIENT_IDENTITY_H 1

#include <stdbool.h>
#include <stdint.h>
#include "ofp-ext/sal.h"

#define IDENTITY_SECRET_LEN 32
#define IDENTITY_NONCE_LEN 32
#define IDENTITY_PROOF_LEN 32
#define IDENTITY_SESSION_KEY_LEN 32
#define IDENTITY_MAC_LEN 16 /* Of a PROBE: value of SAL_OPTION_MAC. */

struct identity {
    uint8_t public_key[SAL_PUBLIC_KEY_LEN];
    uint8_t secret_key[IDENTITY_SECRET_LEN];
    uint8_t endpoint_id[SAL_ENDPOINT_ID_LEN];
};

/* Makes a fresh key pair. */
void identity_generate(struct identity *);

/* Reads the secret key from 'path' (32 raw bytes, mode 0600 or tighter), or
 * makes one and writes it there atomically if there is none.  Negative errno:
 * -EPERM if others may read the file, -EINVAL if it is no key. */
int identity_load(const char *path, struct identity *);

/* Wipes the secret. */
void identity_clear(struct identity *);

void identity_endpoint_id(const uint8_t public_key[SAL_PUBLIC_KEY_LEN],
                          uint8_t ret_endpoint_id[SAL_ENDPOINT_ID_LEN]);

/* The key of a session between the holder of 'self' and the owner of
 * 'peer_public_key', bound to 'nonce' (of the Challenge).  Both sides compute
 * the same: 'initiator' says whether 'self' sent Hello.  -EINVAL for a public
 * key of low order. */
int identity_session_key(const struct identity *self,
                         const uint8_t peer_public_key[SAL_PUBLIC_KEY_LEN],
                         const uint8_t nonce[IDENTITY_NONCE_LEN],
                         bool initiator,
                         uint8_t ret_key[IDENTITY_SESSION_KEY_LEN]);

/* The Proof that answers a Challenge. */
void identity_proof(const uint8_t key[IDENTITY_SESSION_KEY_LEN],
                    uint8_t ret_proof[IDENTITY_PROOF_LEN]);
bool identity_proof_verify(const uint8_t key[IDENTITY_SESSION_KEY_LEN],
                           const uint8_t proof[IDENTITY_PROOF_LEN]);

/* MAC over 'len' bytes, for SAL packets between daemons.  The caller sets the
 * header's checksum and the MAC's own 16 bytes to 0 first. */
void identity_mac(const uint8_t key[IDENTITY_SESSION_KEY_LEN],
                  const void *, size_t len,
                  uint8_t ret_mac[IDENTITY_MAC_LEN]);

#endif /* identity.h */
