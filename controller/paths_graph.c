/* SPDX-License-Identifier: Apache-2.0 */
/* The graph, as the topology has it now. */
#include "controller/paths.h"
#include "controller/paths_private.h"

#include <stdlib.h>
#include "controller/topology.h"
#include "openvswitch/util.h"
#include "util.h"

static int
compare_nodes(const void *a_, const void *b_)
{
    const struct node *a = a_, *b = b_;
    return a->dpid < b->dpid ? -1 : a->dpid > b->dpid;
}

static int
compare_edges(const void *a_, const void *b_)
{
    const struct edge *a = a_, *b = b_;
    return a->port < b->port ? -1 : a->port > b->port;
}

/* A link whose latency is not known yet. */
#define LATENCY_UNKNOWN_US 1000

static uint32_t
cost_of(const struct graph *graph, const struct topology_port *port)
{
    if (!graph->latency) {
        return port->cost;
    }
    return port->latency_us ? port->latency_us : LATENCY_UNKNOWN_US;
}

static bool
is_in(const struct path_class *class, uint64_t dpid, uint32_t port)
{
    for (size_t i = 0; i < class->n_links; i++) {
        if (class->links[i].dpid == dpid && class->links[i].port == port) {
            return true;
        }
    }
    return false;
}

/* Does the class have no use for the link? */
static bool
is_avoided(const struct graph *graph, const struct topology_switch *sw,
           const struct topology_port *port)
{
    const struct path_class *class = graph->class;

    if (!class) {
        return false;
    }
    if (!sw->has_sal) {
        return true;
    }
    if (class->kind != PATH_CLASS_AVOID) {
        return false;
    }
    for (size_t i = 0; i < class->n_switches; i++) {
        if (class->switches[i] == sw->dpid) {
            return true;
        }
    }
    return is_in(class, sw->dpid, port->number)
           || is_in(class, port->peer_dpid, port->peer_port);
}

static void
read_edges(struct paths *paths, const struct topology *topology,
           const struct graph *graph, struct node *node)
{
    const struct topology_switch *sw = topology_switch(topology, node->dpid);
    const struct topology_port *port;

    node->edges = xmalloc((hmap_count(&sw->ports) + 1) * sizeof *node->edges);
    TOPOLOGY_FOR_EACH_PORT (port, sw) {
        struct topology_end far;
        /* A cable from a switch to itself leads nowhere. */
        if (topology_port_link(topology, sw, port, &far)
            && far.dpid != node->dpid && !is_avoided(graph, sw, port)) {
            node->edges[node->n_edges++] = (struct edge) {
                port->number, cost_of(graph, port),
                paths_index(paths, far.dpid), far.port, false};
        }
    }
    qsort(node->edges, node->n_edges, sizeof *node->edges, compare_edges);
}

void
paths_read_host_ports(struct node *node, const struct topology *topology)
{
    const struct topology_switch *sw = topology_switch(topology, node->dpid);
    const struct topology_port *port;

    node->host_ports = xmalloc((hmap_count(&sw->ports) + 1)
                               * sizeof *node->host_ports);
    TOPOLOGY_FOR_EACH_PORT (port, sw) {
        if (port->up && topology_is_host_port(port)) {
            node->host_ports[node->n_host_ports++] = port->number;
        }
    }
}

static struct edge *
find_edge(struct node *node, uint32_t port)
{
    for (size_t i = 0; i < node->n_edges; i++) {
        if (node->edges[i].port == port) {
            return &node->edges[i];
        }
    }
    return NULL;
}

void
paths_grow_trees(struct paths *paths)
{
    uint32_t *queue = xmalloc((paths->n + 1) * sizeof *queue);
    bool *seen = xcalloc(paths->n + 1, sizeof *seen);

    for (uint32_t root = 0; root < paths->n; root++) {
        uint32_t first = 0, last = 0;
        if (!seen[root]) {
            seen[root] = true;
            queue[last++] = root;
        }
        while (first < last) {
            struct node *node = &paths->nodes[queue[first++]];
            for (size_t i = 0; i < node->n_edges; i++) {
                struct edge *edge = &node->edges[i];
                struct edge *back = find_edge(&paths->nodes[edge->to],
                                              edge->far_port);
                if (!seen[edge->to] && back) {
                    seen[edge->to] = edge->in_tree = back->in_tree = true;
                    queue[last++] = edge->to;
                }
            }
        }
    }
    free(queue);
    free(seen);
}

static bool
is_group_taken(const struct paths *paths, uint32_t n, uint32_t group)
{
    for (uint32_t i = 0; i < n; i++) {
        if (paths->nodes[i].group == group) {
            return true;
        }
    }
    return false;
}

/* Numbers the groups by a hash of the datapath ID, so that a switch that comes
 * or goes leaves the others' numbers alone; collisions are rare. */
static void
number_groups(struct paths *paths)
{
    for (uint32_t i = 0; i < paths->n; i++) {
        uint64_t mix = paths->nodes[i].dpid * 0x9e3779b97f4a7c15ULL;
        uint32_t number = mix >> 40;
        uint32_t group;
        do {
            group = PATHS_GROUP_BASE
                    | (number
                       & ((1 << PATHS_GROUP_CLASS_SHIFT)
                          - PATHS_GROUP_VARIANTS));
            number += PATHS_GROUP_VARIANTS;
        } while (is_group_taken(paths, i, group));
        paths->nodes[i].group = group;
    }
}

void
paths_read_graph(struct paths *paths, const struct topology *topology,
                 const struct graph *graph)
{
    const struct topology_switch *sw;

    paths->nodes = xzalloc((hmap_count(topology_switches(topology)) + 1)
                           * sizeof *paths->nodes);
    TOPOLOGY_FOR_EACH_SWITCH (sw, topology) {
        struct node *node = &paths->nodes[paths->n++];
        node->dpid = sw->dpid;
        node->has_sal = sw->has_sal;
        node->has_hosts = sw->n_host_ports != 0;
    }
    qsort(paths->nodes, paths->n, sizeof *paths->nodes, compare_nodes);
    number_groups(paths);
    for (uint32_t i = 0; i < paths->n; i++) {
        read_edges(paths, topology, graph, &paths->nodes[i]);
    }
}
