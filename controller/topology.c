/* SPDX-License-Identifier: Apache-2.0 */
/* Switches, ports and links.  Attachments are in topology_hosts.c. */
#include "controller/topology.h"
#include "controller/topology_private.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include "openvswitch/util.h"
#include "hash.h"
#include "openflow/openflow-1.1.h"
#include "util.h"

/* What configuration says of a port, there or not. */
struct link_cost {
    struct hmap_node node; /* By both. */
    struct topology_end from;
    uint32_t cost;
};

static uint32_t
hash_end(uint64_t dpid, uint32_t port)
{
    return hash_uint64_basis(dpid, port);
}

static struct link_cost *
find_cost(const struct topology *topology, uint64_t dpid, uint32_t port)
{
    struct link_cost *cost;
    HMAP_FOR_EACH_WITH_HASH (cost, node, hash_end(dpid, port),
                             &topology->costs) {
        if (cost->from.dpid == dpid && cost->from.port == port) {
            return cost;
        }
    }
    return NULL;
}

struct topology *
topology_create(void)
{
    struct topology *topology = xzalloc(sizeof *topology);
    hmap_init(&topology->switches);
    hmap_init(&topology->costs);
    topology->next_deadline = LLONG_MAX;
    topology_hosts_init(topology);
    return topology;
}

static void
free_switch(struct topology_switch *sw)
{
    struct topology_port *port;
    HMAP_FOR_EACH_POP (port, node, &sw->ports) {
        free(port);
    }
    hmap_destroy(&sw->ports);
    free(sw);
}

void
topology_destroy(struct topology *topology)
{
    if (!topology) {
        return;
    }
    topology_hosts_destroy(topology);
    struct topology_switch *sw;
    HMAP_FOR_EACH_POP (sw, node, &topology->switches) {
        free_switch(sw);
    }
    hmap_destroy(&topology->switches);
    struct link_cost *cost;
    HMAP_FOR_EACH_POP (cost, node, &topology->costs) {
        free(cost);
    }
    hmap_destroy(&topology->costs);
    free(topology);
}

/* Lookups. */

static struct topology_switch *
find_switch(const struct topology *topology, uint64_t dpid)
{
    struct topology_switch *sw;
    HMAP_FOR_EACH_WITH_HASH (sw, node, hash_uint64(dpid),
                             &topology->switches) {
        if (sw->dpid == dpid) {
            return sw;
        }
    }
    return NULL;
}

static struct topology_port *
find_port(const struct topology_switch *sw, uint32_t number)
{
    struct topology_port *port;
    HMAP_FOR_EACH_WITH_HASH (port, node, hash_int(number, 0), &sw->ports) {
        if (port->number == number) {
            return port;
        }
    }
    return NULL;
}

struct topology_port *
topology_find_port(const struct topology *topology, uint64_t dpid,
                   uint32_t number)
{
    const struct topology_switch *sw = find_switch(topology, dpid);
    return sw ? find_port(sw, number) : NULL;
}

const struct topology_switch *
topology_switch(const struct topology *topology, uint64_t dpid)
{
    return find_switch(topology, dpid);
}

const struct topology_port *
topology_port(const struct topology *topology, uint64_t dpid, uint32_t port)
{
    return topology_find_port(topology, dpid, port);
}

const struct hmap *
topology_switches(const struct topology *topology)
{
    return &topology->switches;
}

/* True if the half-link from 'far' into 'port', which belongs to 'dpid', and
 * the one back are both there. */
static bool
is_link(const struct topology *topology, uint64_t dpid,
        const struct topology_port *port)
{
    if (!port->peer_dpid || !port->up) {
        return false;
    }
    const struct topology_port *far
        = topology_find_port(topology, port->peer_dpid, port->peer_port);
    return far && far->up && far->peer_dpid == dpid
           && far->peer_port == port->number;
}

bool
topology_port_link(const struct topology *topology,
                   const struct topology_switch *sw,
                   const struct topology_port *port,
                   struct topology_end *ret_far)
{
    if (!is_link(topology, sw->dpid, port)) {
        return false;
    }
    *ret_far = (struct topology_end) {port->peer_dpid, port->peer_port};
    return true;
}

bool
topology_is_host_port(const struct topology_port *port)
{
    return !port->peer_dpid;
}

/* Changes. */

void
topology_note_graph(struct topology *topology)
{
    topology->graph_changed = true;
    topology->generation++;
}

bool
topology_has_changes(const struct topology *topology)
{
    return topology->graph_changed || topology->n_meters_changed
           || !hmap_is_empty(&topology->host_changes);
}

static void
note_meters(struct topology *topology, struct topology_switch *sw)
{
    topology->n_meters_changed += !sw->meters_changed;
    sw->meters_changed = true;
}

uint64_t
topology_generation(const struct topology *topology)
{
    return topology->generation;
}

/* Counts the host ports again after a change.  Whether there are any is news:
 * only such switches need to resolve. */
static void
count_host_ports(struct topology *topology, struct topology_switch *sw)
{
    const struct topology_port *port;
    uint32_t n = 0;

    uint32_t set = 0;

    HMAP_FOR_EACH (port, node, &sw->ports) {
        if (port->up && topology_is_host_port(port)) {
            n++;
            set += hash_int(port->number, 0); /* Whatever the order. */
        }
    }
    bool changed = !n != !sw->n_host_ports
                   || (topology->watches_host_ports
                       && (n != sw->n_host_ports
                           || set != sw->host_port_set));
    sw->host_port_set = set;
    if (changed) {
        topology_note_graph(topology);
    }
    sw->n_host_ports = n;
}

/* Sets where probes at 'port' come from (dpid 0: nowhere), and notes it if a
 * usable link thereby came or went. */
static void
set_peer(struct topology *topology, uint64_t dpid, struct topology_port *port,
         const struct topology_end *peer)
{
    if (port->peer_dpid == peer->dpid && port->peer_port == peer->port) {
        return;
    }
    bool was = is_link(topology, dpid, port);
    port->latency_us = 0;
    port->peer_dpid = peer->dpid;
    port->peer_port = peer->port;
    port->last_dpid = peer->dpid ? peer->dpid : port->last_dpid;
    if (was || is_link(topology, dpid, port)) {
        topology_note_graph(topology);
    }
    count_host_ports(topology, find_switch(topology, dpid));
}

static void
clear_peer(struct topology *topology, uint64_t dpid,
           struct topology_port *port)
{
    const struct topology_end nowhere = {0, 0};
    set_peer(topology, dpid, port, &nowhere);
    port->link_deadline = 0;
}

/* Switches. */

bool
topology_switch_set(struct topology *topology, uint64_t dpid, bool has_sal)
{
    struct topology_switch *sw = find_switch(topology, dpid);
    bool is_new = !sw;

    if (is_new) {
        sw = xzalloc(sizeof *sw);
        sw->dpid = dpid;
        hmap_init(&sw->ports);
        hmap_insert(&topology->switches, &sw->node, hash_uint64(dpid));
    }
    if (is_new || sw->has_sal != has_sal) {
        sw->has_sal = has_sal;
        topology_note_graph(topology);
    }
    sw->connected = true;
    return is_new;
}

void
topology_switch_set_meters(struct topology *topology, uint64_t dpid,
                           uint32_t max_meters)
{
    struct topology_switch *sw = find_switch(topology, dpid);
    if (sw && sw->max_meters != max_meters) {
        sw->max_meters = max_meters;
        note_meters(topology, sw);
    }
}

void
topology_switch_disconnected(struct topology *topology, uint64_t dpid)
{
    struct topology_switch *sw = find_switch(topology, dpid);
    if (sw) {
        sw->connected = false;
    }
}

static void
withdraw_port(struct topology *topology, struct topology_switch *sw,
              struct topology_port *port)
{
    clear_peer(topology, sw->dpid, port);
    topology_withdraw_attachments(topology, port);
}

static void
remove_port(struct topology *topology, struct topology_switch *sw,
            struct topology_port *port)
{
    withdraw_port(topology, sw, port);
    hmap_remove(&sw->ports, &port->node);
    free(port);
    count_host_ports(topology, sw);
    note_meters(topology, sw);
}

void
topology_switch_remove(struct topology *topology, uint64_t dpid)
{
    struct topology_switch *sw = find_switch(topology, dpid);
    if (!sw) {
        return;
    }
    struct topology_port *port;
    HMAP_FOR_EACH_SAFE (port, node, &sw->ports) {
        remove_port(topology, sw, port);
    }
    hmap_remove(&topology->switches, &sw->node);
    topology->n_meters_changed -= sw->meters_changed;
    free_switch(sw);
    topology_note_graph(topology);
}

/* Ports. */

int
topology_port_set(struct topology *topology, uint64_t dpid, uint32_t number,
                  const struct eth_addr *mac, const char *name, bool up,
                  uint32_t speed_mbps)
{
    struct topology_switch *sw = find_switch(topology, dpid);
    if (!sw) {
        return -ENOENT;
    }
    if (!number || number >= OFPP11_MAX) {
        return -EINVAL;
    }

    struct topology_port *port = find_port(sw, number);
    if (!port) {
        port = xzalloc(sizeof *port);
        port->number = number;
        const struct link_cost *cost = find_cost(topology, dpid, number);
        port->cost = cost ? cost->cost : TOPOLOGY_COST_DEFAULT;
        ovs_list_init(&port->attachments);
        hmap_insert(&sw->ports, &port->node, hash_int(number, 0));
        note_meters(topology, sw);
    }
    port->mac = *mac;
    ovs_strlcpy(port->name, name, sizeof port->name);
    port->speed_mbps = speed_mbps;
    if (!up) {
        withdraw_port(topology, sw, port);
    }
    port->up = up;
    count_host_ports(topology, sw);
    return 0;
}

void
topology_port_remove(struct topology *topology, uint64_t dpid, uint32_t number)
{
    struct topology_switch *sw = find_switch(topology, dpid);
    struct topology_port *port = sw ? find_port(sw, number) : NULL;
    if (port) {
        remove_port(topology, sw, port);
    }
}

void
topology_ports_retain(struct topology *topology, uint64_t dpid,
                      const uint32_t ports[], size_t n)
{
    struct topology_switch *sw = find_switch(topology, dpid);
    if (!sw) {
        return;
    }
    struct topology_port *port;
    HMAP_FOR_EACH_SAFE (port, node, &sw->ports) {
        size_t i = 0;
        while (i < n && ports[i] != port->number) {
            i++;
        }
        if (i == n) {
            remove_port(topology, sw, port);
        }
    }
}

/* Links. */

int
topology_link_seen(struct topology *topology, const struct topology_end *from,
                   const struct topology_end *to, long long int deadline)
{
    struct topology_port *sender = topology_find_port(topology, from->dpid,
                                                      from->port);
    struct topology_port *receiver = topology_find_port(topology, to->dpid,
                                                        to->port);
    if (!sender || !receiver || !sender->up || !receiver->up) {
        return -ENOENT;
    }
    if (sender == receiver) {
        return -ELOOP;
    }
    set_peer(topology, to->dpid, receiver, from);
    receiver->link_deadline = deadline;
    topology->next_deadline = MIN(topology->next_deadline, deadline);
    topology_withdraw_attachments(topology, receiver);
    return 0;
}

int
topology_link_set_cost(struct topology *topology,
                       const struct topology_end *from, uint32_t cost)
{
    if (!cost) {
        return -EINVAL;
    }
    struct link_cost *known = find_cost(topology, from->dpid, from->port);
    if (!known) {
        known = xmalloc(sizeof *known);
        known->from = *from;
        hmap_insert(&topology->costs, &known->node,
                    hash_end(from->dpid, from->port));
    }
    known->cost = cost;

    struct topology_port *port = topology_find_port(topology, from->dpid,
                                                    from->port);
    if (port && port->cost != cost) {
        port->cost = cost;
        if (is_link(topology, from->dpid, port)) {
            topology_note_graph(topology);
        }
    }
    return 0;
}

int
topology_link_set_latency(struct topology *topology,
                          const struct topology_end *from,
                          uint32_t latency_us)
{
    struct topology_port *port = topology_find_port(topology, from->dpid,
                                                    from->port);
    if (!port) {
        return -ENOENT;
    }
    if (port->latency_us != latency_us) {
        port->latency_us = latency_us;
        if (topology->watches_latency
            && is_link(topology, from->dpid, port)) {
            topology_note_graph(topology);
        }
    }
    return 0;
}

void
topology_watch_host_ports(struct topology *topology)
{
    topology->watches_host_ports = true;
}

void
topology_watch_latency(struct topology *topology)
{
    topology->watches_latency = true;
}

long long int
topology_run(struct topology *topology, long long int now)
{
    /* The remembered deadline may be earlier than the earliest there is, for
     * deadlines move on; it is never later. */
    if (now < topology->next_deadline) {
        return topology->next_deadline;
    }

    long long int next = topology_expire_attachments(topology, now);
    struct topology_switch *sw;
    HMAP_FOR_EACH (sw, node, &topology->switches) {
        struct topology_port *port;
        HMAP_FOR_EACH (port, node, &sw->ports) {
            if (!port->peer_dpid) {
                continue;
            }
            if (port->link_deadline <= now) {
                clear_peer(topology, sw->dpid, port);
            } else {
                next = MIN(next, port->link_deadline);
            }
        }
    }
    topology->next_deadline = next;
    return next;
}
