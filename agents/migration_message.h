/* SPDX-License-Identifier: Apache-2.0 */
/* RSYN, RSYN-ACK and RSYN-DONE on the wire: SAL headers with options, behind
 * IP and UDP, with nothing inside.
 *
 *   RSYN        endpoint ID, public key, migration, locator, [MAC], padding
 *   RSYN-ACK    endpoint ID, public key, migration, locator, challenge, [MAC]
 *   RSYN-ACK    endpoint ID, migration (BOUND), MAC
 *   RSYN-DONE   endpoint ID, public key, migration, locator, challenge,
 *               flows..., MAC
 *
 * No answer is longer than what it answers, so nobody's traffic is amplified:
 * an RSYN is padded to MIGRATION_RSYN_LEN, and one that is shorter is
 * refused.  The service ID is that of the receiver's endpoint service, by
 * which switches and hosts resolve an RSYN.
 *
 * Pure; not thread-safe. */
#ifndef SALIENT_MIGRATION_MESSAGE_H
#define SALIENT_MIGRATION_MESSAGE_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agents/migration.h"
#include "ofp-ext/sal.h"
#include "proto/identity.h"

/* Length of every RSYN, and of the longest answer to one. */
#define MIGRATION_RSYN_LEN 204

/* Flow IDs in one RSYN-DONE, and parts of one list. */
#define MIGRATION_FLOWS_PER_OPTION 63
#define MIGRATION_FLOWS_PER_PART (3 * MIGRATION_FLOWS_PER_OPTION)
#define MIGRATION_MAX_PARTS 64

struct migration_message {
    struct migration_signal signal; /* Its 'mac': there is a MAC.  Whether it
                                     * is right is another question. */
    uint32_t seq; /* The sender's count of messages; never 0. */
    uint32_t ack; /* RSYN-ACK: 'seq' of the message answered.  Else 0. */
    uint32_t group;
    uint8_t part, parts; /* 1..parts, 1..MIGRATION_MAX_PARTS. */
    uint8_t sender[SAL_ENDPOINT_ID_LEN];
    uint8_t receiver[SAL_ENDPOINT_ID_LEN];
    uint8_t public_key[SAL_PUBLIC_KEY_LEN]; /* The sender's; not in BOUND. */
    size_t n_flows; /* DONE: flows that are to be in 'group'; 0 = it stays as
                     * it is.  Never 0 in a part of several. */
    uint32_t flows[MIGRATION_FLOWS_PER_PART]; /* The receiver's IDs. */
    size_t mac_ofs; /* Of the MAC in what was parsed; set by the parser. */
};

/* Builds the SAL part (no IP, no UDP); 'key' is used if 'signal.mac'.  Returns
 * the length.  The message must be one that the parser takes. */
size_t migration_message_build(const struct migration_message *,
                               const uint8_t key[IDENTITY_SESSION_KEY_LEN],
                               uint8_t packet[SAL_MAX_HEADER_LEN]);

/* Reads the payload of a UDP packet; any bytes will do.  -EPROTO if it is not
 * an RSYN, RSYN-ACK or RSYN-DONE as above; options of unknown types are
 * skipped.  The MAC is not checked. */
int migration_message_parse(const uint8_t *packet, size_t len,
                            struct migration_message *ret_message);

/* Whether the MAC of 'packet', which parsed as 'message', is right. */
bool migration_message_authentic(const struct migration_message *,
                                 const uint8_t *packet, size_t len,
                                 const uint8_t key[IDENTITY_SESSION_KEY_LEN]);

#endif /* migration_message.h */
