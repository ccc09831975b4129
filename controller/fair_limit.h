/* SPDX-License-Identifier: Apache-2.0 */
/* How many packets a second of one kind the controller takes from a switch,
 * fairly: while there is room, any; beyond that, each port that sends at all,
 * now or in the second before, still has an equal share.  So a second brings
 * twice the limit at most (where ports are more than packets, one of each; when
 * many ports begin at once, that second more), and who sends little loses
 * nothing to who floods.
 *
 * What has no meters in the switch is limited by this alone.
 *
 * Pure.  One thread; zeroed memory is a limit that has seen nothing. */
#ifndef CONTROLLER_FAIR_LIMIT_H
#define CONTROLLER_FAIR_LIMIT_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ports of one second that are told apart; a switch that makes up more gets
 * no share for them. */
#define FAIR_LIMIT_PORTS_MAX 65536

struct fair_limit {
    long long since;   /* The second that is counted, from then on. */
    uint32_t n_taken;
    size_t n_ports;    /* In 'slots'. */
    size_t n_before;   /* In the second before. */
    size_t n_slots;    /* A power of two, or 0. */
    struct fair_limit_port *slots; /* Owned. */
};

/* True if the packet from 'port' may be taken, of 'pps' a second. */
bool fair_limit_take(struct fair_limit *, uint32_t port, uint32_t pps,
                     long long now);
void fair_limit_destroy(struct fair_limit *);

#endif /* fair_limit.h */
