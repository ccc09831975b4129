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
           && (n != 1 || paths_alternate(a, from, to, port)
                         == paths_alternate(b, from, to, port));
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

size_t
paths_changed_ways(const struct paths *before, const struct paths *after,
                   uint32_t from, bool ret_changed[])
{
    size_t n = 0;

    for (uint32_t to = 0; to < after->n; to++) {
        ret_changed[to] = !is_same_way(before, after, from, to);
        n += ret_changed[to];
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
