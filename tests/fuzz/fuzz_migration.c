/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an RSYN, RSYN-ACK or RSYN-DONE, as they come and with the
 * header put right (or nothing random would pass the checksum); what parses
 * survives being built again.  None of it moves a flow. */
#include "tests/fuzz/fuzz_message.h"

#include "agents/migration.h"
#include "agents/migration_message.h"
#include "agents/migration_peer.h"
#include "ofp-ext/service_id.h"

static const uint8_t key[IDENTITY_SESSION_KEY_LEN] = {1, 2, 3};
/* The inputs of the corpus have right MACs by 'key'; this one made none. */
static const uint8_t other_key[IDENTITY_SESSION_KEY_LEN] = {7, 8, 9};
static const uint8_t secret[MIGRATION_SECRET_LEN] = {4, 5, 6};

static void
put_right(uint8_t *packet, size_t len, const uint8_t *receiver)
{
    struct service_prefix service;

    packet[SAL_OFS_VERSION] = SAL_VERSION << 4;
    packet[SAL_OFS_HEADER_LEN] = len / 4;
    packet[SAL_OFS_INNER] = SAL_INNER_NONE;
    service_prefix_of_endpoint(receiver, &service);
    memcpy(packet + SAL_OFS_SERVICE, service.id.bytes, SAL_SERVICE_ID_LEN);
    fuzz_mend_checksum(packet, len);
}

static void
check_rebuilt(const struct migration_message *message)
{
    struct migration_message again;
    uint8_t packet[SAL_MAX_HEADER_LEN];
    size_t len = migration_message_build(message, key, packet);

    FUZZ_CHECK(len <= SAL_MAX_HEADER_LEN);
    FUZZ_CHECK(!migration_message_parse(packet, len, &again));
    FUZZ_CHECK(again.signal.mac == message->signal.mac);
    FUZZ_CHECK(migration_message_authentic(&again, packet, len, key)
               == message->signal.mac);
    /* What only the encoding decides need not be the same. */
    again.mac_ofs = message->mac_ofs;
    FUZZ_CHECK(!memcmp(&again, message, sizeof again));
}

/* A flow in the middle of a move, between 'self' and the sender. */
static void
check_unmoved(const struct migration_message *message,
              const struct migration_packet *in,
              const struct identity *self)
{
    struct migration_context context = {.now = 1, .nonce = 1,
                                        .secret = secret};
    struct migration_received received;
    struct migration_actions actions;
    struct migration_peer peer;
    struct migration m = {.state = MIGRATION_RSYN_SENT, .key_known = true,
                          .next_stamp = 100, .nonce = message->signal.nonce,
                          .local = message->signal.locator};

    migration_locator_from_v4(0x0a000001, &m.peer);
    if (migration_locator_is_none(&m.local)) {
        m.local = m.peer;
    }
    migration_peer_init(&peer, message->sender, 0);
    peer.has_key = true;
    memcpy(peer.key, other_key, sizeof other_key);
    if (!migration_peer_open(&peer, self, in, message, &received)) {
        FUZZ_CHECK(!received.signal.mac); /* Nobody guesses a MAC. */
        migration_receive(&m, &context, &received, &actions);
        for (size_t i = 0; i < actions.n; i++) {
            FUZZ_CHECK(actions.actions[i].type == MIGRATION_SEND
                       || actions.actions[i].type == MIGRATION_USE);
        }
        FUZZ_CHECK(m.state == MIGRATION_RSYN_SENT);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct identity self = {.endpoint_id = {9, 9, 9}};
    struct migration_message message;
    struct migration_packet in;

    if (!migration_message_parse(data, size, &message)) {
        check_rebuilt(&message);
    }
    if (size < SAL_SERVICE_HEADER_LEN || size > SAL_MAX_HEADER_LEN) {
        return 0;
    }
    in.len = size / 4 * 4;
    uint8_t *packet = malloc(in.len); /* Of its own, to see reads past it. */
    memcpy(packet, data, in.len);
    put_right(packet, in.len, self.endpoint_id);
    in.data = packet;
    if (!migration_message_parse(packet, in.len, &message)) {
        check_rebuilt(&message);
        in.source = message.signal.locator;
        check_unmoved(&message, &in, &self);
    }
    free(packet);
    return 0;
}
