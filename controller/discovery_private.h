/* SPDX-License-Identifier: Apache-2.0 */
/* What discovery.c (life, what switches hand in, RESETs), discovery_links.c
 * (link probes, latencies) and discovery_hosts.c (PROBEs, plain hosts, who has
 * a locator) share.  For nobody else. */
#ifndef CONTROLLER_DISCOVERY_PRIVATE_H
#define CONTROLLER_DISCOVERY_PRIVATE_H 1

#include "controller/discovery.h"
#include "controller/fair_limit.h"
#include "openvswitch/hmap.h"

struct discovery {
    struct discovery_config config;
    const struct discovery_ops *ops;
    void *aux;
    struct topology *topology;
    struct hmap ports;    /* struct probed_port. */
    struct hmap switches; /* struct probed_switch. */
    struct hmap disputes; /* struct dispute. */
    struct discovery_stats stats;
    long long next_due; /* Not later than the earliest 'due'. */
    long long sweep_at; /* Plain hosts are looked at next. */
    long long ask_at;   /* Endpoints are. */
    struct fair_limit resets; /* Among the ports of all switches. */
};

/* Sends the link probes that are due, and sets 'next_due'. */
void discovery_run_links(struct discovery *, long long now);
/* False if the frame is no link probe. */
bool discovery_take_link_probe(struct discovery *,
                               const struct topology_end *at,
                               const void *frame, size_t len, long long now);
void discovery_destroy_links(struct discovery *);

/* Asks hosts that have been silent, and sets 'sweep_at' and 'ask_at'. */
void discovery_run_hosts(struct discovery *, long long now);
/* False if the frame is no PROBE. */
bool discovery_take_host_probe(struct discovery *,
                               const struct topology_end *at,
                               const void *frame, size_t len, long long now);
void discovery_destroy_hosts(struct discovery *);

#endif /* discovery_private.h */
