/* SPDX-License-Identifier: Apache-2.0 */
/* Ports that go up and down in quick succession are taken as down until they
 * are stable: each time would cost rules in all switches, and packets.
 *
 * Going down counts at once, always.  Each time is one point, and points
 * halve in a third of 'hold_ms' (as in RFC 2439).  A port that comes up with
 * FLAPS_SUPPRESS points or more is held until it has FLAPS_RELEASE, at most
 * 'hold_ms' after it was last down.  So a port that fails now and then is back
 * at once, one that does so several times a second is not.
 *
 * Pure.  One thread. */
#ifndef CONTROLLER_FLAPS_H
#define CONTROLLER_FLAPS_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/topology.h"
#include "openvswitch/hmap.h"

#define FLAPS_SUPPRESS 5
#define FLAPS_RELEASE 2
#define FLAPS_MAX 16 /* Points: three halvings from FLAPS_RELEASE. */

struct flaps {
    uint32_t hold_ms;    /* May be changed; 0: no port is held. */
    struct hmap ports;   /* struct flap, of those that were down lately. */
    long long next_at;   /* Not later than when one is to be looked at. */
    uint64_t n_held;     /* Times that a port began to be. */
};

void flaps_init(struct flaps *, uint32_t hold_ms);
void flaps_destroy(struct flaps *);

/* The switch says that the port is up, or not; 'was_up' is what the topology
 * has.  Returns what it should have from now on. */
bool flaps_take(struct flaps *, const struct topology_end *, bool was_up,
                bool up, long long now);
/* How many ports are held: up, but taken as down. */
size_t flaps_n_held(const struct flaps *);
/* The next port that is held no more: it is up.  False if there is none. */
bool flaps_release(struct flaps *, long long now,
                   struct topology_end *ret_port);
/* Forgets the ports of a switch. */
void flaps_forget_switch(struct flaps *, uint64_t dpid);
/* When flaps_release() is next of use; LLONG_MAX: never. */
long long flaps_wakeup(const struct flaps *);

#endif /* flaps.h */
