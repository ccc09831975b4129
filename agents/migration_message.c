/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/migration_message.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "agents/wire_bytes.h"
#include "ofp-ext/service_id.h"
#include "openvswitch/util.h"
#include "util.h"

/* An option's length with header and padding. */
#define OPTION_LEN(VALUE_LEN) ((2 + (VALUE_LEN) + 3) / 4 * 4)

_Static_assert(MIGRATION_RSYN_LEN
               == SAL_SERVICE_HEADER_LEN + OPTION_LEN(SAL_ENDPOINT_ID_LEN)
                  + OPTION_LEN(SAL_PUBLIC_KEY_LEN)
                  + OPTION_LEN(SAL_MIGRATION_LEN) + OPTION_LEN(16)
                  + OPTION_LEN(SAL_CHALLENGE_LEN)
                  + OPTION_LEN(IDENTITY_MAC_LEN),
               "an RSYN is as long as the longest answer to it");
_Static_assert(MIGRATION_RSYN_LEN
               + 3 * OPTION_LEN(4 * MIGRATION_FLOWS_PER_OPTION)
               <= SAL_MAX_HEADER_LEN, "a full list of flows fits");

/* Where the service ID of an endpoint holds its ID. */
static int
receiver_from_service(const uint8_t *bytes,
                      uint8_t ret_receiver[SAL_ENDPOINT_ID_LEN])
{
    struct service_prefix expected;

    service_prefix_of_endpoint(bytes + 8, &expected);
    if (memcmp(expected.id.bytes, bytes, SAL_SERVICE_ID_LEN)) {
        return -EPROTO;
    }
    memcpy(ret_receiver, bytes + 8, SAL_ENDPOINT_ID_LEN);
    return 0;
}

/* Building.  The packet is all zero behind what was put. */

struct writer {
    uint8_t *packet;
    size_t len;
};

/* Returns where the value goes. */
static uint8_t *
put_option(struct writer *writer, enum sal_option_type type, size_t value_len)
{
    uint8_t *option = writer->packet + writer->len;
    option[0] = type;
    option[1] = sizeof(struct sal_option) + value_len;
    writer->len += OPTION_LEN(value_len);
    return option + sizeof(struct sal_option);
}

static void
put_migration(struct writer *writer, const struct migration_message *message)
{
    const struct migration_signal *signal = &message->signal;
    uint8_t *value = put_option(writer, SAL_OPTION_MIGRATION,
                                SAL_MIGRATION_LEN);

    put_be32(value + SAL_MIGRATION_OFS_GROUP, message->group);
    value[SAL_MIGRATION_OFS_FLAGS]
        = (signal->kind == MIGRATION_BOUND ? SAL_MIGRATION_BOUND : 0)
          | (signal->nat ? SAL_MIGRATION_NAT : 0)
          | (signal->need_flows ? SAL_MIGRATION_LIST : 0);
    value[SAL_MIGRATION_OFS_PART] = message->part;
    value[SAL_MIGRATION_OFS_PARTS] = message->parts;
    put_be16(value + SAL_MIGRATION_OFS_PORT, signal->locator.port);
}

static void
put_locator(struct writer *writer, const struct migration_locator *locator)
{
    uint32_t v4;
    if (migration_locator_to_v4(locator, &v4)) {
        put_be32(put_option(writer, SAL_OPTION_LOCATOR4, 4), v4);
    } else {
        memcpy(put_option(writer, SAL_OPTION_LOCATOR6, 16), locator->address,
               16);
    }
}

static void
put_challenge(struct writer *writer,
              const struct migration_challenge *challenge)
{
    uint8_t *value = put_option(writer, SAL_OPTION_CHALLENGE,
                                SAL_CHALLENGE_LEN);
    put_be64(value + SAL_CHALLENGE_OFS_STAMP, challenge->stamp);
    memcpy(value + SAL_CHALLENGE_OFS_TAG, challenge->tag,
           SAL_CHALLENGE_TAG_LEN);
}

static void
put_flows(struct writer *writer, const struct migration_message *message)
{
    for (size_t i = 0; i < message->n_flows;) {
        size_t n = MIN(message->n_flows - i, MIGRATION_FLOWS_PER_OPTION);
        uint8_t *value = put_option(writer, SAL_OPTION_FLOWS, 4 * n);
        for (size_t j = 0; j < n; j++) {
            put_be32(value + 4 * j, message->flows[i++]);
        }
    }
}

static enum sal_type
type_of_kind(enum migration_kind kind)
{
    return kind == MIGRATION_RSYN ? SAL_TYPE_RSYN
           : kind == MIGRATION_DONE ? SAL_TYPE_RSYN_DONE
           : SAL_TYPE_RSYN_ACK;
}

static void
put_header(const struct migration_message *message, uint8_t *packet)
{
    struct service_prefix service;

    packet[SAL_OFS_VERSION] = SAL_VERSION << 4;
    packet[SAL_OFS_TYPE] = type_of_kind(message->signal.kind);
    /* No single flow is meant, but a source flow ID is never 0. */
    put_be32(packet + SAL_OFS_SRC_FLOW, message->seq);
    packet[SAL_OFS_INNER] = SAL_INNER_NONE;
    put_be32(packet + SAL_OFS_SEQ, message->seq);
    put_be32(packet + SAL_OFS_ACK, message->ack);
    put_be64(packet + SAL_OFS_NONCE, message->signal.nonce);
    service_prefix_of_endpoint(message->receiver, &service);
    memcpy(packet + SAL_OFS_SERVICE, service.id.bytes, SAL_SERVICE_ID_LEN);
}

size_t
migration_message_build(const struct migration_message *message,
                        const uint8_t key[IDENTITY_SESSION_KEY_LEN],
                        uint8_t packet[SAL_MAX_HEADER_LEN])
{
    enum migration_kind kind = message->signal.kind;
    struct writer writer = {packet, SAL_SERVICE_HEADER_LEN};
    uint8_t *mac = NULL;

    memset(packet, 0, SAL_MAX_HEADER_LEN);
    put_header(message, packet);
    memcpy(put_option(&writer, SAL_OPTION_ENDPOINT_ID, SAL_ENDPOINT_ID_LEN),
           message->sender, SAL_ENDPOINT_ID_LEN);
    put_migration(&writer, message);
    if (kind != MIGRATION_BOUND) {
        memcpy(put_option(&writer, SAL_OPTION_PUBLIC_KEY, SAL_PUBLIC_KEY_LEN),
               message->public_key, SAL_PUBLIC_KEY_LEN);
        put_locator(&writer, &message->signal.locator);
    }
    if (kind == MIGRATION_CHALLENGE || kind == MIGRATION_DONE) {
        put_challenge(&writer, &message->signal.challenge);
    }
    put_flows(&writer, message);
    if (message->signal.mac) {
        mac = put_option(&writer, SAL_OPTION_MAC, IDENTITY_MAC_LEN);
    }
    if (kind == MIGRATION_RSYN) {
        writer.len = MIGRATION_RSYN_LEN; /* Zero words are padding. */
    }

    /* The MAC covers the header with checksum and MAC zero, the checksum
     * covers the MAC. */
    packet[SAL_OFS_HEADER_LEN] = writer.len / 4;
    if (mac) {
        uint8_t code[IDENTITY_MAC_LEN];
        identity_mac(key, packet, writer.len, code);
        memcpy(mac, code, sizeof code);
    }
    put_be16(packet + SAL_OFS_CHECKSUM,
             internet_checksum(packet, writer.len));
    return writer.len;
}

/* Parsing. */

/* What was seen; each but FLOWS at most once. */
#define SEEN(OPTION) (1u << SAL_OPTION_##OPTION)

static int
parse_migration(const uint8_t *value, struct migration_message *message)
{
    struct migration_signal *signal = &message->signal;
    uint8_t flags = value[SAL_MIGRATION_OFS_FLAGS];

    message->group = get_be32(value + SAL_MIGRATION_OFS_GROUP);
    message->part = value[SAL_MIGRATION_OFS_PART];
    message->parts = value[SAL_MIGRATION_OFS_PARTS];
    signal->nat = flags & SAL_MIGRATION_NAT;
    signal->need_flows = flags & SAL_MIGRATION_LIST;
    signal->locator.port = get_be16(value + SAL_MIGRATION_OFS_PORT);
    if (flags & SAL_MIGRATION_BOUND) {
        if (signal->kind != MIGRATION_CHALLENGE) {
            return -EPROTO;
        }
        signal->kind = MIGRATION_BOUND;
    }
    return message->part >= 1 && message->part <= message->parts
           && message->parts <= MIGRATION_MAX_PARTS ? 0 : -EPROTO;
}

static int
parse_flows(const uint8_t *value, size_t len,
            struct migration_message *message)
{
    if (!len || len % 4
        || message->n_flows + len / 4 > MIGRATION_FLOWS_PER_PART) {
        return -EPROTO;
    }
    for (size_t i = 0; i < len; i += 4) {
        uint32_t flow = get_be32(value + i);
        if (!flow) {
            return -EPROTO;
        }
        message->flows[message->n_flows++] = flow;
    }
    return 0;
}

/* Length that the value of an option must have; 0 = any. */
static size_t
value_len_of(uint8_t type)
{
    switch (type) {
    case SAL_OPTION_ENDPOINT_ID: return SAL_ENDPOINT_ID_LEN;
    case SAL_OPTION_PUBLIC_KEY: return SAL_PUBLIC_KEY_LEN;
    case SAL_OPTION_LOCATOR4: return 4;
    case SAL_OPTION_LOCATOR6: return 16;
    case SAL_OPTION_MAC: return IDENTITY_MAC_LEN;
    case SAL_OPTION_MIGRATION: return SAL_MIGRATION_LEN;
    case SAL_OPTION_CHALLENGE: return SAL_CHALLENGE_LEN;
    default: return 0;
    }
}

static void
take_value(uint8_t type, const uint8_t *value,
           struct migration_message *message)
{
    struct migration_signal *signal = &message->signal;
    uint16_t port = signal->locator.port;

    switch (type) {
    case SAL_OPTION_ENDPOINT_ID:
        memcpy(message->sender, value, SAL_ENDPOINT_ID_LEN);
        break;
    case SAL_OPTION_PUBLIC_KEY:
        memcpy(message->public_key, value, SAL_PUBLIC_KEY_LEN);
        break;
    case SAL_OPTION_LOCATOR4:
        migration_locator_from_v4(get_be32(value), &signal->locator);
        signal->locator.port = port;
        break;
    case SAL_OPTION_LOCATOR6:
        memcpy(signal->locator.address, value, 16);
        break;
    case SAL_OPTION_CHALLENGE:
        signal->challenge.stamp = get_be64(value + SAL_CHALLENGE_OFS_STAMP);
        memcpy(signal->challenge.tag, value + SAL_CHALLENGE_OFS_TAG,
               SAL_CHALLENGE_TAG_LEN);
        break;
    default:
        break;
    }
}

static int
parse_option(const uint8_t *packet, size_t ofs, struct migration_message *m,
             unsigned int *seen)
{
    uint8_t type = packet[ofs];
    size_t len = packet[ofs + 1] - sizeof(struct sal_option);
    const uint8_t *value = packet + ofs + sizeof(struct sal_option);

    if (type > SAL_OPTION_FLOWS) {
        return 0;
    } else if (type == SAL_OPTION_FLOWS) {
        *seen |= 1u << type;
        return parse_flows(value, len, m);
    }
    if (len != value_len_of(type) || *seen & 1u << type) {
        return -EPROTO;
    }
    *seen |= 1u << type;
    if (type == SAL_OPTION_MIGRATION) {
        return parse_migration(value, m);
    } else if (type == SAL_OPTION_MAC) {
        m->signal.mac = true;
        m->mac_ofs = value - packet;
    }
    take_value(type, value, m);
    return 0;
}

static int
parse_options(const uint8_t *packet, size_t len, struct migration_message *m,
              unsigned int *seen)
{
    for (size_t ofs = SAL_OFS_OPTIONS; ofs < len;) {
        size_t option_len = packet[ofs + 1];

        if (packet[ofs] == SAL_OPTION_PAD) {
            ofs += 4;
            continue;
        }
        if (option_len < sizeof(struct sal_option)
            || option_len > len - ofs) {
            return -EPROTO;
        }
        int error = parse_option(packet, ofs, m, seen);
        if (error) {
            return error;
        }
        ofs += (option_len + 3) / 4 * 4;
    }
    return 0;
}

/* Whether the message has what its kind needs, and nothing that it must not
 * have. */
static bool
is_complete(const struct migration_message *m, size_t len, unsigned int seen)
{
    unsigned int locators = seen & (SEEN(LOCATOR4) | SEEN(LOCATOR6));
    unsigned int rest = seen & ~(locators | SEEN(MAC) | SEEN(FLOWS));
    unsigned int base = SEEN(ENDPOINT_ID) | SEEN(MIGRATION);
    bool one_locator = locators == SEEN(LOCATOR4)
                       || locators == SEEN(LOCATOR6);
    bool has_flows = m->n_flows != 0;

    switch (m->signal.kind) {
    case MIGRATION_RSYN:
        return rest == (base | SEEN(PUBLIC_KEY)) && one_locator && !has_flows
               && len >= MIGRATION_RSYN_LEN;
    case MIGRATION_CHALLENGE:
        return rest == (base | SEEN(PUBLIC_KEY) | SEEN(CHALLENGE))
               && one_locator && !has_flows;
    case MIGRATION_DONE:
        return rest == (base | SEEN(PUBLIC_KEY) | SEEN(CHALLENGE))
               && one_locator && m->signal.mac
               && (has_flows || m->parts == 1);
    case MIGRATION_BOUND:
        return rest == base && !locators && !has_flows && m->signal.mac;
    }
    return false;
}

static int
parse_header(const uint8_t *packet, size_t len,
             struct migration_message *message)
{
    if (len < SAL_SERVICE_HEADER_LEN || len > SAL_MAX_HEADER_LEN || len % 4
        || packet[SAL_OFS_VERSION] >> 4 != SAL_VERSION
        || packet[SAL_OFS_HEADER_LEN] * 4 != len
        || packet[SAL_OFS_INNER] != SAL_INNER_NONE
        || internet_checksum(packet, len)) {
        return -EPROTO;
    }
    switch (packet[SAL_OFS_TYPE]) {
    case SAL_TYPE_RSYN:
        message->signal.kind = MIGRATION_RSYN;
        break;
    case SAL_TYPE_RSYN_ACK:
        message->signal.kind = MIGRATION_CHALLENGE; /* Or BOUND. */
        break;
    case SAL_TYPE_RSYN_DONE:
        message->signal.kind = MIGRATION_DONE;
        break;
    default:
        return -EPROTO;
    }
    message->seq = get_be32(packet + SAL_OFS_SEQ);
    message->ack = get_be32(packet + SAL_OFS_ACK);
    message->signal.nonce = get_be64(packet + SAL_OFS_NONCE);
    if (!message->seq || !message->signal.nonce) {
        return -EPROTO;
    }
    return receiver_from_service(packet + SAL_OFS_SERVICE, message->receiver);
}

int
migration_message_parse(const uint8_t *packet, size_t len,
                        struct migration_message *ret_message)
{
    struct migration_message message;
    unsigned int seen = 0;

    memset(&message, 0, sizeof message);
    int error = parse_header(packet, len, &message);
    if (!error) {
        error = parse_options(packet, len, &message, &seen);
    }
    if (!error && (!is_complete(&message, len, seen)
                   || (message.signal.kind != MIGRATION_BOUND
                       && migration_locator_is_none(&message.signal.locator))
                   || !memcmp(message.sender, message.receiver,
                              SAL_ENDPOINT_ID_LEN))) {
        error = -EPROTO;
    }
    if (!error) {
        *ret_message = message;
    }
    return error;
}

bool
migration_message_authentic(const struct migration_message *message,
                            const uint8_t *packet, size_t len,
                            const uint8_t key[IDENTITY_SESSION_KEY_LEN])
{
    uint8_t copy[SAL_MAX_HEADER_LEN], mac[IDENTITY_MAC_LEN];

    if (!message->signal.mac) {
        return false;
    }
    memcpy(copy, packet, len);
    put_be16(copy + SAL_OFS_CHECKSUM, 0);
    /* Who sends an RSYN on counts that in the header. */
    copy[SAL_OFS_FLAGS_CLASS] &= ~SAL_FLAG_HOP_MASK;
    memset(copy + message->mac_ofs, 0, IDENTITY_MAC_LEN);
    identity_mac(key, copy, len, mac);
    return !sodium_memcmp(mac, packet + message->mac_ofs, sizeof mac);
}
