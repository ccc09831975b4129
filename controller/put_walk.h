/* SPDX-License-Identifier: Apache-2.0 */
/* Where packets for a host get to, by what the switches hold now and by what
 * is on its way to them: either may be what a packet meets.
 *
 * Only put_order.c asks.  A link that is down is followed like any other: its
 * switches may lose their packets there today, and have the link back
 * tomorrow.
 *
 * Pure.  One thread. */
#ifndef CONTROLLER_PUT_WALK_H
#define CONTROLLER_PUT_WALK_H 1

#include <stdint.h>
#include "controller/put_order.h"

enum put_walk_end {
    PUT_WALK_ARRIVES, /* Or there is nobody to wait for. */
    PUT_WALK_UNKNOWN, /* A switch does not know the host yet. */
    PUT_WALK_LOOPS,   /* They may come back to where they have been. */
};

/* The worst that may happen to packets to 'host' that switch 'dpid' sends as
 * 'by' says, a RULE_GROUP or a rule that names a port.  'host' is the key of
 * a RULE_HOST or RULE_HOST6. */
enum put_walk_end put_walk(const struct put_order *, uint64_t dpid,
                           const struct rule *by, const struct rule *host);

#endif /* put_walk.h */
