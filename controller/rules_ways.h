/* SPDX-License-Identifier: Apache-2.0 */
/* The ways that rules send packets: by a port, or by a group of ports.
 *
 * For rules.c; groups themselves are rules_compute_groups() of rules.h.
 *
 * Pure; any thread. */
#ifndef CONTROLLER_RULES_WAYS_H
#define CONTROLLER_RULES_WAYS_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/rules.h"
#include "controller/topology.h"

/* Where a rule is to send to, and how. */
struct rules_destination {
    struct topology_end at;
    uint32_t salt;  /* Spreads over equal ways. */
    uint8_t class;  /* Of the path. */
    bool marked;    /* Its waypoint is behind us. */
};

/* By the default way to the host of that locator. */
struct rules_destination rules_destination_at(struct topology_end,
                                              const struct in6_addr *locator);

/* Directs the rule there.  False if there is no way. */
bool rules_send_towards(const struct rules_config *, const struct paths *,
                        uint32_t from, const struct rules_destination *,
                        struct rule *);

/* Stores the ports by which packets of a rule that was directed there may
 * leave, the usual one first, and returns their number. */
size_t rules_ports_of(const struct paths *, uint32_t from,
                      const struct rules_destination *, const struct rule *,
                      uint16_t ports[RULE_GROUP_PORTS_MAX]);

#endif /* rules_ways.h */
