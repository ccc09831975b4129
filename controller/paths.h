/* SPDX-License-Identifier: Apache-2.0 */
/* Shortest paths between switches, and the next hops that follow from them.
 *
 * A snapshot: computed from the usable links of a topology, immutable after.
 * Distances come from Dijkstra's algorithm from every switch; next hops are
 * not stored, they are the ports whose link lies on a shortest path.  All
 * answers are in a fixed order (by port), so that the same graph always gives
 * the same rules.
 *
 * Pure.  The creator owns it; const functions may be called by any thread. */
#ifndef CONTROLLER_PATHS_H
#define CONTROLLER_PATHS_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/path_class.h"

#define PATHS_UNREACHABLE UINT32_MAX
#define PATHS_NO_SWITCH UINT32_MAX

struct paths;

/* 'classes' may be NULL. */
struct paths *paths_compute(const struct topology *,
                            const struct path_classes *classes);
void paths_destroy(struct paths *);

/* Switches are numbered 0..n-1 in order of datapath ID. */
size_t paths_n_switches(const struct paths *);
uint32_t paths_index(const struct paths *, uint64_t dpid); /* or NO_SWITCH */
uint64_t paths_dpid(const struct paths *, uint32_t index);
bool paths_has_sal(const struct paths *, uint32_t index);

/* The OpenFlow group "towards switch 'to' in the graph of 'class'" (0 =
 * default) has this number or one of the next PATHS_GROUP_VARIANTS - 1, on
 * whatever switch it is.  Follows from the set of switches alone. */
#define PATHS_GROUP_BASE 0x53000000 /* 'S'; the high byte marks ours. */
#define PATHS_GROUP_BASE_MASK 0xff000000
#define PATHS_GROUP_CLASS_SHIFT 20
#define PATHS_GROUP_VARIANTS 4
uint32_t paths_group(const struct paths *, uint8_t class, uint32_t to);
/* The switch that one of those groups of the default graph leads to;
 * PATHS_NO_SWITCH if there is none. */
uint32_t paths_group_to(const struct paths *, uint32_t group);

/* The port of the switch's i-th link, in ascending order; 0 if there are no
 * more. */
uint32_t paths_link_port(const struct paths *, uint32_t index, size_t i);

/* The switch that the link of 'port' leads to; PATHS_NO_SWITCH if there is no
 * link. */
uint32_t paths_neighbour(const struct paths *, uint32_t index, uint32_t port);

/* Where broadcasts go: the ports of the switch that hosts may be behind, and
 * those whose link is in a spanning tree of what it reaches (breadth first
 * from the lowest datapath ID, one link of parallel ones), so that every
 * switch gets a broadcast once, whatever the loops.  Stores up to 'max' ports
 * in ascending order, returns how many there are. */
size_t paths_flood_ports(const struct paths *, uint32_t index,
                         uint32_t ports[], size_t max);

/* True if hosts may be behind the switch. */
bool paths_has_hosts(const struct paths *, uint32_t index);

/* True if the two know the same switches, in the same role, and the same ones
 * reach each other: nothing differs but the ways. */
bool paths_same_shape(const struct paths *, const struct paths *);

/* What of the way to a switch has changed, most of that of the path
 * classes. */
enum paths_change {
    PATHS_SAME,
    PATHS_OTHER_HOPS, /* Other next hops, or another alternate for a single
                       * one; by the same groups, with other ports. */
    PATHS_OTHER_GROUP /* A class goes by another graph than before. */
};
/* Of two of the same shape and with the same classes: says in 'ret_changes',
 * one a switch, what has changed of the ways from 'from' to there.  Returns how
 * many have. */
size_t paths_changed_ways(const struct paths *before,
                          const struct paths *after, uint32_t from,
                          uint8_t ret_changes[]);

/* True if the switch needs service rules: it has SAL, and hosts may be behind
 * it or behind a stock switch whose nearest SAL switch it is, or resolution is
 * hop by hop. */
bool paths_resolves(const struct paths *, uint32_t index);

/* True if hosts may be behind the switch and no switch with SAL can be reached
 * from there: agents then choose instances by themselves.  Service routes, but
 * no rules, are made for it. */
bool paths_delegates(const struct paths *, uint32_t index);
bool paths_any_delegates(const struct paths *);

/* Sum of link costs, PATHS_UNREACHABLE if there is no way. */
uint32_t paths_distance(const struct paths *, uint32_t from, uint32_t to);

/* The same, where the cost of a link is its latency. */
uint32_t paths_latency(const struct paths *, uint32_t from, uint32_t to);

/* Path classes.  Each has a graph of its own, from which that is missing which
 * it avoids, and in which nothing leads through a stock switch: that would
 * not know the class and send the packet back.  A switch from which the
 * destination cannot be reached in the class's graph uses the default way.
 * So no packet loops: in the class's graph it comes nearer with each hop and
 * never leaves the switches that have a way there; outside of them it comes
 * nearer on the default way until it meets one of them, or is there.
 *
 * To pass a waypoint, a packet first goes to the waypoint by the class's
 * graph, whatever its destination, and is marked there (by its Ethernet
 * source); a marked packet goes to its destination by the class's graph.  Each
 * stage by itself has no loops, and there is no way back to the first. */
struct paths_way {
    const struct paths *paths; /* The graph to go by, */
    uint8_t class;             /* of this class; 0 is the default one, also
                                * where that of the class has the same next
                                * hops and the same alternate. */
    uint32_t to;               /* The switch to go to; the destination, or the
                                * waypoint. */
    bool mark;                 /* This is the waypoint. */
};
/* The way from 'from' to 'to' of 'class' (0 = default). */
struct paths_way paths_way(const struct paths *, uint8_t class, bool marked,
                           uint32_t from, uint32_t to);
enum path_class_kind paths_class_kind(const struct paths *, uint8_t class);

/* The port of 'from' towards 'to': the lowest of the equal ones, 0 if 'to' is
 * unreachable or 'from' itself. */
uint32_t paths_next_hop(const struct paths *, uint32_t from, uint32_t to);

/* Stores up to 'max' ports of 'from' that begin a shortest path to 'to', in
 * ascending order, and returns how many there are (maybe more than 'max'). */
size_t paths_next_hops(const struct paths *, uint32_t from, uint32_t to,
                       uint32_t ports[], size_t max);

/* A loop-free alternate (RFC 5286) for traffic from 'from' to 'to' should the
 * link of 'port' fail: the port of a neighbour N that is nearer to 'to' than
 * to 'from' plus the way on, dist(N,to) < dist(N,from) + dist(from,to).  The
 * one with the shortest way, then the lowest port; 0 if there is none. */
uint32_t paths_alternate(const struct paths *, uint32_t from, uint32_t to,
                         uint32_t port);

/* How much of the network fast failover covers: pairs of a switch with SAL and
 * one where hosts may be ('ways'; once more for each path class in whose graph
 * it differs), and links by which such ways leave a switch (each end counts);
 * covered if the switch by itself has another port for all of it. */
struct paths_coverage {
    size_t ways, ways_covered, links, links_covered;
};
void paths_coverage(const struct paths *, struct paths_coverage *);

/* The switch with SAL nearest to 'from', 'from' itself included; then the
 * lowest datapath ID.  PATHS_NO_SWITCH if none can be reached. */
uint32_t paths_nearest_sal(const struct paths *, uint32_t from);

#endif /* paths.h */
