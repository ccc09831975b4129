/* SPDX-License-Identifier: Apache-2.0 */
/* Resolves one packet as a switch's service rules would: for a SYN that missed
 * because its rules are on their way, or do not fit into the switch.
 *
 * Pure.  One thread. */
#ifndef CONTROLLER_RESOLVE_H
#define CONTROLLER_RESOLVE_H 1

#include <stddef.h>
#include <stdint.h>
#include "ofp-ext/service_id.h"

struct paths;
struct routes;
struct rules_config;
struct topology;

/* What it takes to know. */
struct resolver {
    const struct rules_config *config;
    const struct topology *topology;
    const struct paths *paths;
    const struct routes *routes;
};

/* Resolves the Ethernet frame that missed at switch 'dpid', in place, and
 * stores the port to send it out of, and the prefix that it was resolved by.
 *
 * -ENOENT: nobody serves it.  -ENOMSG, -EPROTO: nothing to be resolved. */
int resolve_packet(const struct resolver *, uint64_t dpid, void *frame,
                   size_t len, uint32_t *ret_port,
                   struct service_prefix *ret_prefix);

#endif /* resolve.h */
