/* SPDX-License-Identifier: Apache-2.0 */
/* Which way packets take: by the graph of their class or by the default one;
 * what of that has changed, and how much of it fast failover covers. */
#include "controller/paths.h"
#include "controller/paths_private.h"

#include <stdlib.h>
#include <string.h>
#include "openvswitch/util.h"
#include "util.h"

/* The next edge, from the i-th on, that begins a shortest path. */
static const struct edge *
next_hop_edge(const struct paths *paths, uint32_t from, uint32_t to,
              size_t *i)
{
    const struct node *node = &paths->nodes[from];
    uint32_t distance = paths_distance(paths, from, to);

    while (*i < node->n_edges) {
        const struct edge *edge = &node->edges[(*i)++];
        if (paths_distance_by(paths, edge, to) == distance) {
            return edge;
        }
    }
    return NULL;
}

/* The port and what is behind it, as for next hops. */
static bool
is_same_alternate(const struct paths *a, const struct paths *b, uint32_t from,
                  uint32_t to, uint32_t port)
{
    uint32_t x = paths_alternate(a, from, to, port);

    return x == paths_alternate(b, from, to, port)
           && paths_neighbour(a, from, x) == paths_neighbour(b, from, x);
}

static bool
is_same_way(const struct paths *a, const struct paths *b, uint32_t from,
            uint32_t to)
{
    const struct edge *x, *y;
    size_t i = 0, j = 0;
    uint32_t port = 0;
    int n = 0;

    if (from == to || paths_distance(a, from, to) == PATHS_UNREACHABLE) {
        return true; /* The same in 'b', as the shape is. */
    }
    for (;; n++) {
        x = next_hop_edge(a, from, to, &i);
        y = next_hop_edge(b, from, to, &j);
        if (!x || !y) {
            break;
        }
        if (x->port != y->port || x->to != y->to) {
            return false;
        }
        port = x->port;
    }
    return !x && !y
           && (n != 1 || is_same_alternate(a, b, from, to, port));
}

struct paths_way
paths_way(const struct paths *paths, uint8_t class, bool marked,
          uint32_t from, uint32_t to)
{
    const struct class_paths *own = &paths->classes[class];
    struct paths_way way = {.paths = paths, .to = to};

    if (own->kind == PATH_CLASS_NONE || !paths->nodes[from].has_sal) {
        return way;
    }
    if (own->kind == PATH_CLASS_WAYPOINT && !marked
        && own->waypoint != PATHS_NO_SWITCH) {
        if (from != own->waypoint) {
            if (paths_distance(own->paths, from, own->waypoint)
                != PATHS_UNREACHABLE) {
                way = (struct paths_way) {own->paths, class, own->waypoint,
                                          false};
            }
            return way;
        }
        way.mark = true;
    }
    if (paths_distance(own->paths, from, to) != PATHS_UNREACHABLE
        && !is_same_way(paths, own->paths, from, to)) {
        way.paths = own->paths;
        way.class = class;
    }
    return way;
}

static enum paths_change
changed_way(const struct paths_way *before, const struct paths_way *after,
            uint32_t from)
{
    if (before->class != after->class || before->to != after->to
        || before->mark != after->mark) {
        return PATHS_OTHER_GROUP;
    }
    return is_same_way(before->paths, after->paths, from, before->to)
           ? PATHS_SAME : PATHS_OTHER_HOPS;
}

static enum paths_change
changed_ways(const struct paths *before, const struct paths *after,
             uint32_t from, uint32_t to)
{
    enum paths_change most = is_same_way(before, after, from, to)
                             ? PATHS_SAME : PATHS_OTHER_HOPS;

    for (int class = 1; class <= PATH_CLASSES_MAX; class++) {
        enum path_class_kind kind = after->classes[class].kind;
        bool two = kind == PATH_CLASS_WAYPOINT;

        for (int marked = 0; kind != PATH_CLASS_NONE && marked <= two
                             && most != PATHS_OTHER_GROUP; marked++) {
            const struct paths_way x = paths_way(before, class, marked, from,
                                                 to);
            const struct paths_way y = paths_way(after, class, marked, from,
                                                 to);
            enum paths_change change = changed_way(&x, &y, from);

            most = MAX(most, change);
        }
    }
    return most;
}

size_t
paths_changed_ways(const struct paths *before, const struct paths *after,
                   uint32_t from, uint8_t ret_changes[])
{
    size_t n = 0;

    for (uint32_t to = 0; to < after->n; to++) {
        ret_changes[to] = changed_ways(before, after, from, to);
        n += ret_changes[to] != PATHS_SAME;
    }
    return n;
}

enum use { UNUSED, COVERED, UNCOVERED };

/* Counts one way; 'links' has how each edge of 'from' is used.  A class's
 * graph has some of them, in the same order. */
static void
cover_way(const struct paths *paths, const struct paths_way *way,
          uint32_t from, enum use links[], struct paths_coverage *coverage)
{
    const struct edge *all = paths->nodes[from].edges, *edge;
    uint32_t hops[2];
    size_t n = paths_next_hops(way->paths, from, way->to, hops, 2);
    bool covered = n > 1 || (n && paths_alternate(way->paths, from, way->to,
                                                  hops[0]));
    size_t i = 0, j = 0;

    coverage->ways += n > 0;
    coverage->ways_covered += covered;
    while (n && (edge = next_hop_edge(way->paths, from, way->to, &i))) {
        while (all[j].port != edge->port) {
            j++;
        }
        links[j] = MAX(links[j], covered ? COVERED : UNCOVERED);
    }
}

/* Ways that rules of path classes take. */
static void
cover_classes(const struct paths *paths, uint32_t from, enum use links[],
              struct paths_coverage *coverage)
{
    for (int class = 1; class <= PATH_CLASSES_MAX; class++) {
        bool two = paths->classes[class].kind == PATH_CLASS_WAYPOINT;
        bool counted = false; /* The way to the waypoint is but one. */

        for (uint32_t to = 0; to < paths->n; to++) {
            for (int marked = 0; paths_has_hosts(paths, to) && marked <= two;
                 marked++) {
                struct paths_way way = paths_way(paths, class, marked, from,
                                                 to);
                bool again = way.to != to && counted;
                if (way.class && !again) {
                    cover_way(paths, &way, from, links, coverage);
                    counted |= way.to != to;
                }
            }
        }
    }
}

static void
cover_switch(const struct paths *paths, uint32_t from,
             struct paths_coverage *coverage)
{
    const struct node *node = &paths->nodes[from];
    enum use *links = xcalloc(node->n_edges + 1, sizeof *links);

    for (uint32_t to = 0; to < paths->n; to++) {
        const struct paths_way way = {.paths = paths, .to = to};
        if (paths_has_hosts(paths, to)) {
            cover_way(paths, &way, from, links, coverage);
        }
    }
    cover_classes(paths, from, links, coverage);
    for (size_t i = 0; i < node->n_edges; i++) {
        coverage->links += links[i] != UNUSED;
        coverage->links_covered += links[i] == COVERED;
    }
    free(links);
}

void
paths_coverage(const struct paths *paths, struct paths_coverage *ret_coverage)
{
    memset(ret_coverage, 0, sizeof *ret_coverage);
    for (uint32_t from = 0; from < paths->n; from++) {
        if (paths_has_sal(paths, from)) {
            cover_switch(paths, from, ret_coverage);
        }
    }
}
