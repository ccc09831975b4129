/* SPDX-License-Identifier: Apache-2.0 */
/* PROBE packets: "here I am, at this locator", to the resolver address.
 *
 * The edge switch hands them to the controller, which learns from them where
 * the host is attached.  A PROBE is authenticated by a MAC under the key of
 * the agent's session, so only the endpoint itself can move itself.
 *
 * Pure; not thread-safe. */
#ifndef SALIENT_PROBE_H
#define SALIENT_PROBE_H 1

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ofp-ext/sal.h"
#include "proto/identity.h"

/* SAL header, endpoint ID, one locator, IPv4 or IPv6, MAC. */
#define PROBE_LEN (SAL_SERVICE_HEADER_LEN + 20 + 8 + 20)
#define PROBE_LEN_V6 (SAL_SERVICE_HEADER_LEN + 20 + 20 + 20)

struct probe {
    uint8_t endpoint_id[SAL_ENDPOINT_ID_LEN];
    uint32_t locator_v4; /* Host byte order; 0: it is locator_v6. */
    struct in6_addr locator_v6;
    bool behind_nat;     /* The network sees another locator: the probe names
                          * none, and counts for where it comes from. */
    uint32_t seq;        /* Strictly increasing, also across restarts. */
};

/* Builds the SAL part (no IP, no UDP) into 'packet', which has room for
 * PROBE_LEN or PROBE_LEN_V6 bytes, as many as are returned. */
size_t probe_build(const struct probe *,
                   const uint8_t key[IDENTITY_SESSION_KEY_LEN],
                   uint8_t *packet);

/* The sequence number that follows 'last' (0 = none yet) when the wall clock
 * shows 'unix_ms': tenths of a second, so that a restarted agent starts above
 * where its predecessor ended, and at least one more than the last. */
uint32_t probe_next_seq(uint32_t last, int64_t unix_ms);

/* When to send: at once, after 50 and 200 ms, and then at the controller's
 * interval until it says that it has seen us; from then on rarely, in case
 * that it was moved without anybody noticing. */
struct probe_schedule {
    bool active;
    unsigned int burst;  /* Probes of the burst that were sent. */
    int64_t started_ms;
    int64_t next_ms;     /* Meaningful if active. */
};

#define PROBE_REFRESH_FACTOR 16 /* Intervals between refreshing probes. */

void probe_schedule_start(struct probe_schedule *, int64_t now);
void probe_schedule_stop(struct probe_schedule *);
/* True if a probe is due; then counts it as sent. */
bool probe_schedule_due(struct probe_schedule *, bool attached,
                        unsigned int interval_ms, int64_t now);
/* When probe_schedule_due() is next to be called; INT64_MAX: never. */
int64_t probe_schedule_deadline(const struct probe_schedule *);

#endif /* probe.h */
