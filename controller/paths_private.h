/* SPDX-License-Identifier: Apache-2.0 */
/* What paths_graph.c (who is linked to whom), paths.c (distances, next hops)
 * and paths_ways.c (the ways that follow) share.  For nobody else. */
#ifndef CONTROLLER_PATHS_PRIVATE_H
#define CONTROLLER_PATHS_PRIVATE_H 1

#include "controller/paths.h"

/* A usable link, seen from the switch it leaves. */
struct edge {
    uint32_t port;
    uint32_t cost;
    uint32_t to; /* Index of the neighbour. */
    uint32_t far_port;
    bool in_tree;
};

struct node {
    uint64_t dpid;
    bool has_sal;
    bool has_hosts;     /* May have. */
    bool resolves;
    uint32_t group;
    struct edge *edges; /* In order of port. */
    size_t n_edges;
    uint32_t *host_ports; /* That are up. */
    size_t n_host_ports;
};

struct paths {
    struct node *nodes; /* In order of dpid. */
    uint32_t n;
    uint32_t *distances; /* n * n, row: from. */
    uint32_t *nearest_sal;
    struct class_paths {
        enum path_class_kind kind;
        struct paths *paths;
        uint32_t waypoint; /* Index, or PATHS_NO_SWITCH. */
    } classes[PATH_CLASSES_MAX + 1]; /* By number. */
    struct paths *latency; /* NULL: nobody asks. */
};

/* Which graph is wanted.  Both NULL and false: that of link costs. */
struct graph {
    const struct path_class *class;
    bool latency;
};

/* Nodes, their groups' numbers, and edges. */
void paths_read_graph(struct paths *, const struct topology *,
                      const struct graph *);
void paths_read_host_ports(struct node *, const struct topology *);
/* Marks the edges of spanning trees: breadth first, from each switch that no
 * tree has yet. */
void paths_grow_trees(struct paths *);

/* Distance to 'to' by way of 'edge'. */
uint32_t paths_distance_by(const struct paths *, const struct edge *,
                           uint32_t to);

#endif /* paths_private.h */
