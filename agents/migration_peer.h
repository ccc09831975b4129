/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon keeps for each peer endpoint besides the machines of its
 * groups (migration.h): the key that the two share, the sequence number of
 * our messages, and how much of what cannot be told from an attack is still
 * answered.  Opens and seals the messages of migration_message.h.
 *
 * The key comes from both X25519 key pairs and is the same on both sides at
 * any time, so a daemon that restarts has lost nothing.  A peer's public key
 * needs nobody's word: it hashes to the endpoint ID.
 *
 * Pure; not thread-safe. */
#ifndef SALIENT_MIGRATION_PEER_H
#define SALIENT_MIGRATION_PEER_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agents/migration.h"
#include "agents/migration_message.h"
#include "proto/identity.h"

/* Answers to RSYNs that may be forged or replayed: at once, and a second. */
#define MIGRATION_ANSWER_BURST 32
#define MIGRATION_ANSWER_PER_S 32

struct migration_peer {
    uint8_t id[SAL_ENDPOINT_ID_LEN];
    bool has_key;
    uint8_t key[IDENTITY_SESSION_KEY_LEN];
    uint32_t seq; /* Of our last message; 0 = none yet. */
    int64_t answer_credit_ms; /* 1000 are one answer. */
    int64_t credited_at;
    /* Counted for people. */
    uint64_t n_forged;  /* Wrong MAC, or a key that is not the peer's. */
    uint64_t n_limited; /* Not answered, for there were too many. */
};

void migration_peer_init(struct migration_peer *,
                         const uint8_t id[SAL_ENDPOINT_ID_LEN], int64_t now);
/* Wipes the key. */
void migration_peer_clear(struct migration_peer *);

/* The payload of a UDP packet. */
struct migration_packet {
    const uint8_t *data;
    size_t len;
    struct migration_locator source;
};

/* 'packet', parsed as 'message', is for 'peer', its sender.  Checks receiver,
 * key and MAC; learns the key at the first opportunity, which costs one X25519
 * operation in the life of a peer.  Stores what the machine is to receive.
 * -EPERM: forged, or for somebody else. */
int migration_peer_open(struct migration_peer *, const struct identity *self,
                        const struct migration_packet *packet,
                        const struct migration_message *message,
                        struct migration_received *ret_received);

/* False if 'received' is not to be given to the machine: an RSYN that anybody
 * could have sent, of which enough were answered, or the copy of one. */
bool migration_peer_admit(struct migration_peer *, const struct migration *,
                          const struct migration_received *, int64_t now);

/* What to say, besides the signal of an action. */
struct migration_details {
    uint32_t group;
    uint32_t ack;        /* RSYN-ACK: 'seq' of what is answered. */
    uint8_t part, parts; /* 0 stands for 1 of 1. */
    const uint32_t *flows; /* Up to MIGRATION_FLOWS_PER_PART. */
    size_t n_flows;
    int64_t unix_ms; /* The wall clock: sequence numbers go up also across
                      * restarts. */
};

/* Builds the SAL part of the message that says 'signal' to the peer.  Returns
 * its length.  The RSYNs of one step are one message, sent to several places:
 * the peer answers the first that arrives. */
size_t migration_peer_seal(struct migration_peer *,
                           const struct identity *self,
                           const struct migration_signal *,
                           const struct migration_details *,
                           uint8_t packet[SAL_MAX_HEADER_LEN]);

/* Parts of a list of flows that the peer has not confirmed; the machine gets
 * the BOUND that completes them. */
struct migration_parts {
    uint64_t missing; /* Bit i - 1: part i. */
};

/* How many parts 'n_flows' flows make; 1 for none (the group as it is). */
unsigned int migration_parts_needed(size_t n_flows);
/* 'n' parts, 1..MIGRATION_MAX_PARTS, are to be confirmed. */
void migration_parts_begin(struct migration_parts *, unsigned int n);
/* True when none is missing. */
bool migration_parts_confirm(struct migration_parts *, unsigned int part);

#endif /* migration_peer.h */
