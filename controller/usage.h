/* SPDX-License-Identifier: Apache-2.0 */
/* How much services are used: new connections a second, by the counters of the
 * rules that a switch holds and by what the controller itself had to resolve.
 * Only asked for where not all services fit.
 *
 * Rates come in steps of a factor of two, so that what is used alike stays
 * where it is.
 *
 * Pure.  One thread. */
#ifndef CONTROLLER_USAGE_H
#define CONTROLLER_USAGE_H 1

#include <stdint.h>
#include "ofp-ext/service_id.h"
#include "openvswitch/hmap.h"

struct usage {
    struct hmap entries; /* struct usage_entry. */
};

void usage_init(struct usage *);
void usage_destroy(struct usage *);

/* A SYN had to be resolved here. */
void usage_note_miss(struct usage *, const struct service_prefix *);
/* A rule of the service has matched so often since it was put, so long ago. */
void usage_note_rule(struct usage *, const struct service_prefix *,
                     uint64_t n_packets, uint32_t duration_s);
/* An interval of 'ms' is over: what was noted becomes the rates, which the
 * next one replaces. */
void usage_turn(struct usage *, uint32_t ms);
/* 0, or one more than the power of two of the rate in hundredths. */
uint32_t usage_of(const struct service_prefix *, const void *usage);

#endif /* usage.h */
