/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/whereabouts.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "agents/wire_bytes.h"
#include "ofp-ext/service_id.h"

#define OFS_ENDPOINT SAL_SERVICE_HEADER_LEN
#define OFS_PUBLIC_KEY (OFS_ENDPOINT + 20)
#define OFS_LOCATOR (OFS_PUBLIC_KEY + 36)
#define OFS_CHALLENGE (OFS_LOCATOR + 20)
#define OFS_MAC (OFS_CHALLENGE + 28)

_Static_assert(OFS_MAC + 20 == WHEREABOUTS_LEN, "options fill the packet");

/* Keys of other protocols are of other contexts. */
static const uint8_t context[IDENTITY_NONCE_LEN]
    = "Salient: where an endpoint is";

static uint8_t *
put_option(uint8_t *p, enum sal_option_type type, uint8_t len)
{
    p[0] = type;
    p[1] = sizeof(struct sal_option) + len;
    return p + sizeof(struct sal_option);
}

/* Whether the option is there, and as long as it must be. */
static bool
is_option(const uint8_t *p, enum sal_option_type type, uint8_t len)
{
    return p[0] == type && p[1] == sizeof(struct sal_option) + len;
}

static bool
is_padding(const uint8_t *p, size_t len)
{
    return sodium_is_zero(p, len);
}

static bool
has_mac(enum whereabouts_kind kind)
{
    return kind == WHEREABOUTS_TELL || kind == WHEREABOUTS_KNOWN;
}

static bool
has_challenge(enum whereabouts_kind kind)
{
    return kind == WHEREABOUTS_CHALLENGE || kind == WHEREABOUTS_TELL;
}

static bool
is_by_host(enum whereabouts_kind kind)
{
    return kind == WHEREABOUTS_ASK || kind == WHEREABOUTS_TELL;
}

/* Of 'packet', without its checksum and MAC. */
static int
compute_mac(const struct identity *self, bool by_host,
            const uint8_t peer_key[SAL_PUBLIC_KEY_LEN],
            const uint8_t packet[WHEREABOUTS_LEN],
            uint8_t mac[IDENTITY_MAC_LEN])
{
    uint8_t key[IDENTITY_SESSION_KEY_LEN], copy[WHEREABOUTS_LEN];
    int error = identity_session_key(self, peer_key, context, by_host, key);

    if (!error) {
        memcpy(copy, packet, sizeof copy);
        memset(copy + SAL_OFS_CHECKSUM, 0, 2);
        memset(copy + OFS_MAC + 2, 0, IDENTITY_MAC_LEN);
        identity_mac(key, copy, sizeof copy, mac);
    }
    sodium_memzero(key, sizeof key);
    return error;
}

static void
put_header(const struct whereabouts *w, uint8_t *packet)
{
    struct service_prefix service;

    packet[SAL_OFS_VERSION] = SAL_VERSION << 4;
    packet[SAL_OFS_HEADER_LEN] = WHEREABOUTS_LEN / 4;
    packet[SAL_OFS_TYPE] = SAL_TYPE_PROBE;
    /* No flow is meant, but a source flow ID is never 0. */
    put_be32(packet + SAL_OFS_SRC_FLOW, w->seq);
    packet[SAL_OFS_INNER] = SAL_INNER_NONE;
    put_be32(packet + SAL_OFS_SEQ, w->seq);
    memcpy(packet + SAL_OFS_NONCE, &w->nonce, sizeof w->nonce);
    service_prefix_of_endpoint(w->host, &service);
    memcpy(packet + SAL_OFS_SERVICE, service.id.bytes, SAL_SERVICE_ID_LEN);
}

static void
put_locator(const struct migration_locator *locator, uint8_t *option)
{
    uint32_t v4;

    if (migration_locator_to_v4(locator, &v4)) {
        put_be32(put_option(option, SAL_OPTION_LOCATOR4, 4), v4);
    } else {
        memcpy(put_option(option, SAL_OPTION_LOCATOR6, 16), locator->address,
               16);
    }
}

int
whereabouts_build(const struct identity *self, const struct whereabouts *w,
                  const uint8_t peer_key[SAL_PUBLIC_KEY_LEN],
                  uint8_t packet[WHEREABOUTS_LEN])
{
    memset(packet, 0, WHEREABOUTS_LEN);
    put_header(w, packet);
    memcpy(put_option(packet + OFS_ENDPOINT, SAL_OPTION_ENDPOINT_ID,
                      SAL_ENDPOINT_ID_LEN),
           self->endpoint_id, SAL_ENDPOINT_ID_LEN);
    memcpy(put_option(packet + OFS_PUBLIC_KEY, SAL_OPTION_PUBLIC_KEY,
                      SAL_PUBLIC_KEY_LEN),
           self->public_key, SAL_PUBLIC_KEY_LEN);
    put_locator(&w->locator, packet + OFS_LOCATOR);
    if (has_challenge(w->kind)) {
        uint8_t *value = put_option(packet + OFS_CHALLENGE,
                                    SAL_OPTION_CHALLENGE, SAL_CHALLENGE_LEN);
        put_be64(value + SAL_CHALLENGE_OFS_STAMP, w->stamp);
        memcpy(value + SAL_CHALLENGE_OFS_TAG, w->tag, sizeof w->tag);
    }
    if (has_mac(w->kind)) {
        uint8_t *value = put_option(packet + OFS_MAC, SAL_OPTION_MAC,
                                    IDENTITY_MAC_LEN);
        int error = compute_mac(self, is_by_host(w->kind), peer_key, packet,
                                value);
        if (error) {
            return error;
        }
    }
    uint16_t sum = internet_checksum(packet, WHEREABOUTS_LEN);
    packet[SAL_OFS_CHECKSUM] = sum >> 8;
    packet[SAL_OFS_CHECKSUM + 1] = sum;
    return 0;
}

/* The kind follows from what is there; 0 if that makes none. */
static enum whereabouts_kind
kind_of(const uint8_t *packet)
{
    bool challenge = is_option(packet + OFS_CHALLENGE, SAL_OPTION_CHALLENGE,
                               SAL_CHALLENGE_LEN);
    bool mac = is_option(packet + OFS_MAC, SAL_OPTION_MAC, IDENTITY_MAC_LEN);

    if ((!challenge && !is_padding(packet + OFS_CHALLENGE, 28))
        || (!mac && !is_padding(packet + OFS_MAC, 20))) {
        return 0;
    }
    return challenge ? mac ? WHEREABOUTS_TELL : WHEREABOUTS_CHALLENGE
                     : mac ? WHEREABOUTS_KNOWN : WHEREABOUTS_ASK;
}

static bool
parse_locator(const uint8_t *option, struct migration_locator *locator)
{
    memset(locator, 0, sizeof *locator);
    if (is_option(option, SAL_OPTION_LOCATOR4, 4)) {
        migration_locator_from_v4(get_be32(option + 2), locator);
    } else if (is_option(option, SAL_OPTION_LOCATOR6, 16)) {
        memcpy(locator->address, option + 2, 16);
    }
    return !migration_locator_is_none(locator);
}

static bool
header_is_good(const uint8_t *packet, size_t len)
{
    return len == WHEREABOUTS_LEN
           && packet[SAL_OFS_VERSION] >> 4 == SAL_VERSION
           && packet[SAL_OFS_HEADER_LEN] * 4 == WHEREABOUTS_LEN
           && packet[SAL_OFS_TYPE] == SAL_TYPE_PROBE
           && packet[SAL_OFS_INNER] == SAL_INNER_NONE
           && !internet_checksum(packet, len)
           && is_option(packet + OFS_ENDPOINT, SAL_OPTION_ENDPOINT_ID,
                        SAL_ENDPOINT_ID_LEN)
           && is_option(packet + OFS_PUBLIC_KEY, SAL_OPTION_PUBLIC_KEY,
                        SAL_PUBLIC_KEY_LEN);
}

int
whereabouts_parse(const uint8_t *packet, size_t len,
                  struct whereabouts *ret_whereabouts)
{
    uint8_t sender[SAL_ENDPOINT_ID_LEN];
    struct whereabouts w = {.seq = 0};
    struct service_prefix service;

    if (!header_is_good(packet, len) || !(w.kind = kind_of(packet))
        || !parse_locator(packet + OFS_LOCATOR, &w.locator)) {
        return -EPROTO;
    }
    memcpy(w.host, packet + SAL_OFS_SERVICE + 8, sizeof w.host);
    service_prefix_of_endpoint(w.host, &service);
    memcpy(w.public_key, packet + OFS_PUBLIC_KEY + 2, sizeof w.public_key);
    identity_endpoint_id(w.public_key, sender);
    w.seq = get_be32(packet + SAL_OFS_SEQ);
    memcpy(&w.nonce, packet + SAL_OFS_NONCE, sizeof w.nonce);
    if (has_challenge(w.kind)) {
        const uint8_t *value = packet + OFS_CHALLENGE + 2;
        w.stamp = get_be64(value + SAL_CHALLENGE_OFS_STAMP);
        memcpy(w.tag, value + SAL_CHALLENGE_OFS_TAG, sizeof w.tag);
    }
    if (memcmp(service.id.bytes, packet + SAL_OFS_SERVICE, SAL_SERVICE_ID_LEN)
        || memcmp(sender, packet + OFS_ENDPOINT + 2, sizeof sender)
        || !memcmp(sender, w.host, sizeof sender) != is_by_host(w.kind)
        || !w.seq || !w.nonce) {
        return -EPROTO;
    }
    *ret_whereabouts = w;
    return 0;
}

bool
whereabouts_authentic(const struct identity *self, const struct whereabouts *w,
                      const uint8_t packet[WHEREABOUTS_LEN])
{
    uint8_t mac[IDENTITY_MAC_LEN];

    return has_mac(w->kind)
           && !compute_mac(self, !is_by_host(w->kind), w->public_key, packet,
                           mac)
           && !sodium_memcmp(mac, packet + OFS_MAC + 2, sizeof mac);
}

void
whereabouts_challenge(const uint8_t secret[WHEREABOUTS_SECRET_LEN],
                      const struct whereabouts *ask, uint64_t stamp,
                      uint8_t tag[SAL_CHALLENGE_TAG_LEN])
{
    uint8_t input[SAL_ENDPOINT_ID_LEN + 16 + 4 + 8 + 8];
    uint8_t *p = input;

    _Static_assert(WHEREABOUTS_SECRET_LEN == IDENTITY_SESSION_KEY_LEN
                   && SAL_CHALLENGE_TAG_LEN == IDENTITY_MAC_LEN, "lengths");
    memcpy(p, ask->host, sizeof ask->host);
    p += sizeof ask->host;
    memcpy(p, ask->locator.address, 16);
    put_be32(p + 16, ask->seq);
    memcpy(p + 20, &ask->nonce, 8);
    put_be64(p + 28, stamp);
    identity_mac(secret, input, sizeof input, tag);
}
