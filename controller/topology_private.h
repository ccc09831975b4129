/* SPDX-License-Identifier: Apache-2.0 */
/* What topology.c (switches, ports, links) and topology_hosts.c (attachments)
 * share.  For nobody else. */
#ifndef CONTROLLER_TOPOLOGY_PRIVATE_H
#define CONTROLLER_TOPOLOGY_PRIVATE_H 1

#include "controller/topology.h"

struct topology {
    struct hmap switches;     /* struct topology_switch, by dpid. */
    struct hmap by_locator;   /* struct topology_attachment. */
    struct hmap by_endpoint;  /* struct topology_attachment. */
    struct hmap sequences;    /* struct sequence, by endpoint. */
    struct hmap host_changes; /* struct host_change, by locator. */
    struct hmap costs;        /* struct link_cost. */
    bool watches_latency, watches_host_ports;
    bool graph_changed;
    size_t n_meters_changed;  /* Switches. */
    uint64_t generation;
    long long int next_deadline;
};

struct topology_port *topology_find_port(const struct topology *,
                                         uint64_t dpid, uint32_t number);
void topology_note_graph(struct topology *);

void topology_hosts_init(struct topology *);
void topology_hosts_destroy(struct topology *);
void topology_withdraw_attachments(struct topology *, struct topology_port *);
/* Returns the earliest deadline left, LLONG_MAX if none. */
long long int topology_expire_attachments(struct topology *,
                                          long long int now);

#endif /* topology_private.h */
