/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/lost_flow.h"

#include <errno.h>
#include <string.h>
#include "agents/wire_bytes.h"

#define OFS_ENDPOINT SAL_SERVICE_HEADER_LEN
#define OFS_PUBLIC_KEY (OFS_ENDPOINT + 20)
#define OFS_MAC (OFS_PUBLIC_KEY + 36)

_Static_assert(OFS_MAC == LOST_FLOW_PROBE_LEN, "PROBE");
_Static_assert(OFS_MAC + 20 == LOST_FLOW_FIN_LEN, "FIN");

/* Keys of other protocols are of other contexts. */
static const uint8_t context[IDENTITY_NONCE_LEN] = "Salient: a flow was lost";

static void
put_option(uint8_t *p, enum sal_option_type type, const void *value,
           uint8_t len)
{
    p[0] = type;
    p[1] = sizeof(struct sal_option) + len;
    if (value) {
        memcpy(p + 2, value, len);
    }
}

static bool
is_option(const uint8_t *p, enum sal_option_type type, uint8_t len)
{
    return p[0] == type && p[1] == sizeof(struct sal_option) + len;
}

/* Of 'packet', as it is before checksum and MAC are put in. */
static int
compute_mac(const struct identity *self,
            const uint8_t peer_key[SAL_PUBLIC_KEY_LEN], bool initiator,
            const uint8_t packet[LOST_FLOW_FIN_LEN],
            uint8_t mac[IDENTITY_MAC_LEN])
{
    uint8_t key[IDENTITY_SESSION_KEY_LEN], copy[LOST_FLOW_FIN_LEN];
    int error = identity_session_key(self, peer_key, context, initiator, key);

    if (!error) {
        memcpy(copy, packet, sizeof copy);
        memset(copy + SAL_OFS_CHECKSUM, 0, 2);
        memset(copy + OFS_MAC + 2, 0, IDENTITY_MAC_LEN);
        identity_mac(key, copy, sizeof copy, mac);
    }
    memset(key, 0, sizeof key);
    return error;
}

int
lost_flow_build(const struct identity *self, const struct lost_flow *flow,
                const uint8_t peer_key[SAL_PUBLIC_KEY_LEN],
                uint8_t packet[LOST_FLOW_FIN_LEN])
{
    bool fin = flow->type == SAL_TYPE_FIN;
    size_t len = fin ? LOST_FLOW_FIN_LEN : LOST_FLOW_PROBE_LEN;

    memset(packet, 0, LOST_FLOW_FIN_LEN);
    packet[0] = SAL_VERSION << 4;
    packet[1] = len / 4;
    packet[SAL_OFS_TYPE] = flow->type;
    packet[3] = 59; /* There is no transport protocol. */
    put_be32(packet + SAL_OFS_SRC_FLOW, flow->src_flow);
    put_be32(packet + SAL_OFS_DST_FLOW, flow->dst_flow);
    packet[13] = SAL_INNER_NONE;
    memcpy(packet + SAL_OFS_NONCE, &flow->nonce, sizeof flow->nonce);
    put_option(packet + OFS_ENDPOINT, SAL_OPTION_ENDPOINT_ID,
               self->endpoint_id, SAL_ENDPOINT_ID_LEN);
    put_option(packet + OFS_PUBLIC_KEY, SAL_OPTION_PUBLIC_KEY,
               self->public_key, SAL_PUBLIC_KEY_LEN);
    if (fin) {
        put_option(packet + OFS_MAC, SAL_OPTION_MAC, NULL, IDENTITY_MAC_LEN);
        int error = compute_mac(self, peer_key, true, packet,
                                packet + OFS_MAC + 2);
        if (error) {
            return error;
        }
    }
    uint16_t sum = internet_checksum(packet, len);
    packet[SAL_OFS_CHECKSUM] = sum >> 8;
    packet[SAL_OFS_CHECKSUM + 1] = sum;
    return len;
}

int
lost_flow_parse(const uint8_t *packet, size_t len, struct lost_flow *flow)
{
    uint8_t endpoint[SAL_ENDPOINT_ID_LEN];
    size_t want = len > SAL_OFS_TYPE && packet[SAL_OFS_TYPE] == SAL_TYPE_FIN
                  ? LOST_FLOW_FIN_LEN : LOST_FLOW_PROBE_LEN;

    if (len != want || packet[0] >> 4 != SAL_VERSION || packet[1] * 4u != len
        || (packet[SAL_OFS_TYPE] != SAL_TYPE_FIN
            && packet[SAL_OFS_TYPE] != SAL_TYPE_PROBE)
        || packet[13] != SAL_INNER_NONE || internet_checksum(packet, len)
        || !is_option(packet + OFS_ENDPOINT, SAL_OPTION_ENDPOINT_ID,
                      SAL_ENDPOINT_ID_LEN)
        || !is_option(packet + OFS_PUBLIC_KEY, SAL_OPTION_PUBLIC_KEY,
                      SAL_PUBLIC_KEY_LEN)
        || (len == LOST_FLOW_FIN_LEN
            && !is_option(packet + OFS_MAC, SAL_OPTION_MAC,
                          IDENTITY_MAC_LEN))) {
        return -EPROTO;
    }
    identity_endpoint_id(packet + OFS_PUBLIC_KEY + 2, endpoint);
    if (memcmp(endpoint, packet + OFS_ENDPOINT + 2, sizeof endpoint)) {
        return -EPROTO; /* Somebody else's key. */
    }
    flow->type = packet[SAL_OFS_TYPE];
    flow->src_flow = get_be32(packet + SAL_OFS_SRC_FLOW);
    flow->dst_flow = get_be32(packet + SAL_OFS_DST_FLOW);
    memcpy(&flow->nonce, packet + SAL_OFS_NONCE, sizeof flow->nonce);
    memcpy(flow->endpoint, endpoint, sizeof flow->endpoint);
    memcpy(flow->public_key, packet + OFS_PUBLIC_KEY + 2,
           sizeof flow->public_key);
    return flow->src_flow && flow->dst_flow ? 0 : -EPROTO;
}

/* In constant time. */
static bool
equal(const uint8_t *a, const uint8_t *b, size_t n)
{
    uint8_t difference = 0;

    while (n--) {
        difference |= *a++ ^ *b++;
    }
    return !difference;
}

bool
lost_flow_authentic(const struct identity *self, const struct lost_flow *flow,
                    const uint8_t packet[LOST_FLOW_FIN_LEN])
{
    uint8_t mac[IDENTITY_MAC_LEN];

    return flow->type == SAL_TYPE_FIN
           && !compute_mac(self, flow->public_key, false, packet, mac)
           && equal(mac, packet + OFS_MAC + 2, sizeof mac);
}

uint64_t
lost_flow_challenge(const uint8_t secret[LOST_FLOW_SECRET_LEN], uint32_t own,
                    uint32_t other, uint64_t slot)
{
    uint8_t input[16], mac[IDENTITY_MAC_LEN];
    uint64_t challenge;

    _Static_assert(LOST_FLOW_SECRET_LEN == IDENTITY_SESSION_KEY_LEN, "key");
    put_be32(input, own);
    put_be32(input + 4, other);
    put_be32(input + 8, slot >> 32);
    put_be32(input + 12, slot);
    identity_mac(secret, input, sizeof input, mac);
    memcpy(&challenge, mac, sizeof challenge);
    return challenge ? challenge : 1;
}
