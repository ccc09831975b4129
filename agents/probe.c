/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/probe.h"

#include <string.h>
#include "agents/wire_bytes.h"
#include "ofp-ext/service_id.h"

#define OFS_ENDPOINT SAL_SERVICE_HEADER_LEN
#define OFS_LOCATOR (OFS_ENDPOINT + 20)
#define MAC_OPTION_LEN 20

_Static_assert(PROBE_LEN % 4 == 0 && PROBE_LEN_V6 % 4 == 0,
               "header length counts words");
_Static_assert(OFS_LOCATOR + 8 + MAC_OPTION_LEN == PROBE_LEN,
               "options fill the packet");
_Static_assert(OFS_LOCATOR + 20 + MAC_OPTION_LEN == PROBE_LEN_V6,
               "options fill the packet");

/* 2024-01-01T00:00:00Z: 32 bits of tenths of a second last until 2037, and
 * serial-number arithmetic carries on from there. */
#define SEQ_EPOCH_MS 1704067200000LL
#define SEQ_TICK_MS 100

static void
put_option(uint8_t *p, enum sal_option_type type, size_t value_len)
{
    p[0] = type;
    p[1] = sizeof(struct sal_option) + value_len;
}

static void
put_locator(const struct probe *probe, uint8_t *option)
{
    if (probe->behind_nat) {
        return; /* Zeros are padding. */
    }
    if (probe->locator_v4) {
        put_option(option, SAL_OPTION_LOCATOR4, 4);
        put_be32(option + 2, probe->locator_v4);
    } else {
        put_option(option, SAL_OPTION_LOCATOR6, 16);
        memcpy(option + 2, &probe->locator_v6, 16);
    }
}

size_t
probe_build(const struct probe *probe,
            const uint8_t key[IDENTITY_SESSION_KEY_LEN], uint8_t *packet)
{
    struct service_prefix service;
    size_t len = probe->locator_v4 ? PROBE_LEN : PROBE_LEN_V6;
    uint8_t *mac_option = packet + len - MAC_OPTION_LEN;

    memset(packet, 0, len);
    packet[SAL_OFS_VERSION] = SAL_VERSION << 4;
    packet[SAL_OFS_HEADER_LEN] = len / 4;
    packet[SAL_OFS_TYPE] = SAL_TYPE_PROBE;
    /* No flow is meant, but a source flow ID is never 0. */
    put_be32(packet + SAL_OFS_SRC_FLOW, probe->seq);
    packet[SAL_OFS_INNER] = SAL_INNER_NONE;
    put_be32(packet + SAL_OFS_SEQ, probe->seq);
    service_prefix_of_endpoint(probe->endpoint_id, &service);
    memcpy(packet + SAL_OFS_SERVICE, service.id.bytes, SAL_SERVICE_ID_LEN);

    put_option(packet + OFS_ENDPOINT, SAL_OPTION_ENDPOINT_ID,
               SAL_ENDPOINT_ID_LEN);
    memcpy(packet + OFS_ENDPOINT + 2, probe->endpoint_id,
           SAL_ENDPOINT_ID_LEN);
    put_locator(probe, packet + OFS_LOCATOR);
    put_option(mac_option, SAL_OPTION_MAC, IDENTITY_MAC_LEN);

    /* The MAC covers the header with checksum and MAC zero, the checksum
     * covers the MAC. */
    uint8_t mac[IDENTITY_MAC_LEN];
    identity_mac(key, packet, len, mac);
    memcpy(mac_option + 2, mac, sizeof mac);

    uint16_t checksum = internet_checksum(packet, len);
    packet[SAL_OFS_CHECKSUM] = checksum >> 8;
    packet[SAL_OFS_CHECKSUM + 1] = checksum;
    return len;
}

uint32_t
probe_next_seq(uint32_t last, int64_t unix_ms)
{
    uint32_t seq = (unix_ms - SEQ_EPOCH_MS) / SEQ_TICK_MS;

    if (last && (int32_t) (seq - last) <= 0) {
        seq = last + 1;
    }
    return seq ? seq : 1;
}

/* Milliseconds from the start at which the probes of the burst go out. */
static const int64_t burst_ms[] = {0, 50, 200};
#define N_BURST (sizeof burst_ms / sizeof burst_ms[0])

void
probe_schedule_start(struct probe_schedule *schedule, int64_t now)
{
    schedule->active = true;
    schedule->burst = 0;
    schedule->started_ms = now;
    schedule->next_ms = now;
}

void
probe_schedule_stop(struct probe_schedule *schedule)
{
    schedule->active = false;
}

bool
probe_schedule_due(struct probe_schedule *schedule, bool attached,
                   unsigned int interval_ms, int64_t now)
{
    if (!schedule->active || now < schedule->next_ms) {
        return false;
    }
    if (schedule->burst < N_BURST && ++schedule->burst < N_BURST) {
        schedule->next_ms = schedule->started_ms + burst_ms[schedule->burst];
        if (schedule->next_ms <= now) {
            schedule->next_ms = now + 1;
        }
    } else {
        int64_t factor = attached ? PROBE_REFRESH_FACTOR : 1;
        schedule->next_ms = now + factor * interval_ms;
    }
    return true;
}

int64_t
probe_schedule_deadline(const struct probe_schedule *schedule)
{
    return schedule->active ? schedule->next_ms : INT64_MAX;
}
