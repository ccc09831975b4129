/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/paths.h"

#include <stdlib.h>
#include "controller/topology.h"
#include "openvswitch/util.h"
#include "util.h"

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

/* The graph. */

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

/* Which graph is wanted.  Both NULL and false: that of link costs. */
struct graph {
    const struct path_class *class;
    bool latency;
};

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

static void
read_host_ports(const struct topology *topology, struct node *node)
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

/* Breadth first, from each switch that no tree has yet. */
static void
grow_trees(struct paths *paths)
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

static void
read_graph(struct paths *paths, const struct topology *topology,
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

/* Dijkstra's algorithm with a binary heap in which outdated entries are
 * skipped when they come up. */

struct heap_entry {
    uint32_t distance;
    uint32_t node;
};

struct heap {
    struct heap_entry *entries;
    size_t n, allocated;
};

static void
heap_push(struct heap *heap, uint32_t distance, uint32_t node)
{
    if (heap->n >= heap->allocated) {
        heap->entries = x2nrealloc(heap->entries, &heap->allocated,
                                   sizeof *heap->entries);
    }
    size_t i = heap->n++;
    while (i && heap->entries[(i - 1) / 2].distance > distance) {
        heap->entries[i] = heap->entries[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap->entries[i] = (struct heap_entry) {distance, node};
}

static struct heap_entry
heap_pop(struct heap *heap)
{
    struct heap_entry top = heap->entries[0];
    struct heap_entry last = heap->entries[--heap->n];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= heap->n) {
            break;
        }
        if (child + 1 < heap->n && heap->entries[child + 1].distance
                                   < heap->entries[child].distance) {
            child++;
        }
        if (heap->entries[child].distance >= last.distance) {
            break;
        }
        heap->entries[i] = heap->entries[child];
        i = child;
    }
    if (heap->n) {
        heap->entries[i] = last;
    }
    return top;
}

static uint32_t
add_distance(uint32_t a, uint32_t b)
{
    /* Saturates below "unreachable": far away is still a way. */
    uint64_t sum = (uint64_t) a + b;
    return MIN(sum, PATHS_UNREACHABLE - 1);
}

static void
compute_from(struct paths *paths, uint32_t from, struct heap *heap)
{
    uint32_t *distances = &paths->distances[(size_t) from * paths->n];

    for (uint32_t i = 0; i < paths->n; i++) {
        distances[i] = PATHS_UNREACHABLE;
    }
    distances[from] = 0;
    heap_push(heap, 0, from);
    while (heap->n) {
        struct heap_entry entry = heap_pop(heap);
        if (entry.distance != distances[entry.node]) {
            continue;
        }
        const struct node *node = &paths->nodes[entry.node];
        for (size_t i = 0; i < node->n_edges; i++) {
            const struct edge *edge = &node->edges[i];
            uint32_t distance = add_distance(entry.distance, edge->cost);
            if (distance < distances[edge->to]) {
                distances[edge->to] = distance;
                heap_push(heap, distance, edge->to);
            }
        }
    }
}

static uint32_t
find_nearest_sal(const struct paths *paths, uint32_t from)
{
    uint32_t best = PATHS_NO_SWITCH, least = PATHS_UNREACHABLE;
    for (uint32_t i = 0; i < paths->n; i++) {
        uint32_t distance = paths_distance(paths, from, i);
        if (paths->nodes[i].has_sal && distance < least) {
            best = i;
            least = distance;
        }
    }
    return best;
}

static struct paths *
compute_graph(const struct topology *topology, const struct graph *graph)
{
    struct paths *paths = xzalloc(sizeof *paths);
    struct heap heap = {NULL, 0, 0};

    read_graph(paths, topology, graph);
    paths->distances = xmalloc(((size_t) paths->n * paths->n + 1)
                               * sizeof *paths->distances);
    for (uint32_t i = 0; i < paths->n; i++) {
        compute_from(paths, i, &heap);
    }
    free(heap.entries);
    return paths;
}

static void
compute_class(struct paths *paths, const struct topology *topology,
              const struct path_class *class, uint8_t number)
{
    struct class_paths *result = &paths->classes[number];
    const struct graph graph
        = {class, class->kind == PATH_CLASS_LOWEST_LATENCY};

    result->kind = class->kind;
    result->waypoint = PATHS_NO_SWITCH;
    if (class->kind == PATH_CLASS_WAYPOINT) {
        uint32_t index = paths_index(paths, class->waypoint);
        /* A stock switch would mark nothing. */
        if (index != PATHS_NO_SWITCH && paths->nodes[index].has_sal) {
            result->waypoint = index;
        }
    }
    result->paths = compute_graph(topology, &graph);
}

struct paths *
paths_compute(const struct topology *topology,
              const struct path_classes *classes)
{
    static const struct graph costs;
    static const struct graph latencies = {.latency = true};
    struct paths *paths = compute_graph(topology, &costs);

    for (int i = 1; classes && i <= PATH_CLASSES_MAX; i++) {
        if (classes->classes[i].kind != PATH_CLASS_NONE) {
            compute_class(paths, topology, &classes->classes[i], i);
        }
    }
    if (classes && classes->latency) {
        paths->latency = compute_graph(topology, &latencies);
    }

    for (uint32_t i = 0; i < paths->n; i++) {
        read_host_ports(topology, &paths->nodes[i]);
    }
    grow_trees(paths);

    paths->nearest_sal = xmalloc((paths->n + 1) * sizeof *paths->nearest_sal);
    for (uint32_t i = 0; i < paths->n; i++) {
        paths->nearest_sal[i] = find_nearest_sal(paths, i);
        if (paths->nodes[i].has_hosts
            && paths->nearest_sal[i] != PATHS_NO_SWITCH) {
            paths->nodes[paths->nearest_sal[i]].resolves = true;
        }
        paths->nodes[i].resolves |= classes && classes->hop_by_hop
                                    && paths->nodes[i].has_sal;
    }
    return paths;
}

void
paths_destroy(struct paths *paths)
{
    if (!paths) {
        return;
    }
    for (uint32_t i = 0; i < paths->n; i++) {
        free(paths->nodes[i].edges);
        free(paths->nodes[i].host_ports);
    }
    for (int i = 0; i <= PATH_CLASSES_MAX; i++) {
        paths_destroy(paths->classes[i].paths);
    }
    paths_destroy(paths->latency);
    free(paths->nodes);
    free(paths->distances);
    free(paths->nearest_sal);
    free(paths);
}

/* Answers. */

size_t
paths_n_switches(const struct paths *paths)
{
    return paths->n;
}

uint32_t
paths_index(const struct paths *paths, uint64_t dpid)
{
    uint32_t low = 0, high = paths->n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (paths->nodes[middle].dpid < dpid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < paths->n && paths->nodes[low].dpid == dpid ? low
                                                            : PATHS_NO_SWITCH;
}

uint64_t
paths_dpid(const struct paths *paths, uint32_t index)
{
    return paths->nodes[index].dpid;
}

bool
paths_has_sal(const struct paths *paths, uint32_t index)
{
    return paths->nodes[index].has_sal;
}

bool
paths_resolves(const struct paths *paths, uint32_t index)
{
    return paths->nodes[index].resolves;
}

bool
paths_delegates(const struct paths *paths, uint32_t index)
{
    return paths->nodes[index].has_hosts
           && paths->nearest_sal[index] == PATHS_NO_SWITCH;
}

bool
paths_any_delegates(const struct paths *paths)
{
    for (uint32_t i = 0; i < paths->n; i++) {
        if (paths_delegates(paths, i)) {
            return true;
        }
    }
    return false;
}

uint32_t
paths_distance(const struct paths *paths, uint32_t from, uint32_t to)
{
    return paths->distances[(size_t) from * paths->n + to];
}

uint32_t
paths_latency(const struct paths *paths, uint32_t from, uint32_t to)
{
    return paths_distance(paths->latency ? paths->latency : paths, from, to);
}

enum path_class_kind
paths_class_kind(const struct paths *paths, uint8_t class)
{
    return paths->classes[class].kind;
}

/* Distance to 'to' by way of 'edge'. */
static uint32_t
distance_by(const struct paths *paths, const struct edge *edge, uint32_t to)
{
    uint32_t rest = paths_distance(paths, edge->to, to);
    return rest == PATHS_UNREACHABLE ? rest : add_distance(edge->cost, rest);
}

size_t
paths_next_hops(const struct paths *paths, uint32_t from, uint32_t to,
                uint32_t ports[], size_t max)
{
    const struct node *node = &paths->nodes[from];
    uint32_t distance = paths_distance(paths, from, to);
    size_t n = 0;

    if (from == to || distance == PATHS_UNREACHABLE) {
        return 0;
    }
    for (size_t i = 0; i < node->n_edges; i++) {
        if (distance_by(paths, &node->edges[i], to) == distance) {
            if (n < max) {
                ports[n] = node->edges[i].port;
            }
            n++;
        }
    }
    return n;
}

uint32_t
paths_next_hop(const struct paths *paths, uint32_t from, uint32_t to)
{
    uint32_t port;
    return paths_next_hops(paths, from, to, &port, 1) ? port : 0;
}

uint32_t
paths_alternate(const struct paths *paths, uint32_t from, uint32_t to,
                uint32_t port)
{
    const struct node *node = &paths->nodes[from];
    uint32_t least = PATHS_UNREACHABLE, best = 0;

    if (from == to) {
        return 0;
    }
    uint32_t own = paths_distance(paths, from, to);
    for (size_t i = 0; i < node->n_edges; i++) {
        const struct edge *edge = &node->edges[i];
        uint32_t rest = paths_distance(paths, edge->to, to);
        uint32_t back = paths_distance(paths, edge->to, from);
        if (edge->port == port || rest == PATHS_UNREACHABLE
            || (back != PATHS_UNREACHABLE
                && rest >= (uint64_t) back + own)) {
            continue;
        }
        uint32_t distance = distance_by(paths, edge, to);
        if (distance < least) {
            least = distance;
            best = edge->port;
        }
    }
    return best;
}

/* The next edge, from the i-th on, that begins a shortest path. */
static const struct edge *
next_hop_edge(const struct paths *paths, uint32_t from, uint32_t to,
              size_t *i)
{
    const struct node *node = &paths->nodes[from];
    uint32_t distance = paths_distance(paths, from, to);

    while (*i < node->n_edges) {
        const struct edge *edge = &node->edges[(*i)++];
        if (distance_by(paths, edge, to) == distance) {
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

uint32_t
paths_group(const struct paths *paths, uint8_t class, uint32_t to)
{
    return paths->nodes[to].group | class << PATHS_GROUP_CLASS_SHIFT;
}

uint32_t
paths_link_port(const struct paths *paths, uint32_t index, size_t i)
{
    const struct node *node = &paths->nodes[index];
    return i < node->n_edges ? node->edges[i].port : 0;
}

static int
compare_ports(const void *a_, const void *b_)
{
    const uint32_t *a = a_, *b = b_;
    return *a < *b ? -1 : *a > *b;
}

size_t
paths_flood_ports(const struct paths *paths, uint32_t index, uint32_t ports[],
                  size_t max)
{
    const struct node *node = &paths->nodes[index];
    size_t n = 0;

    for (size_t i = 0; i < node->n_host_ports; i++, n++) {
        if (n < max) {
            ports[n] = node->host_ports[i];
        }
    }
    for (size_t i = 0; i < node->n_edges; i++) {
        if (node->edges[i].in_tree) {
            if (n < max) {
                ports[n] = node->edges[i].port;
            }
            n++;
        }
    }
    qsort(ports, MIN(n, max), sizeof *ports, compare_ports);
    return n;
}

uint32_t
paths_neighbour(const struct paths *paths, uint32_t index, uint32_t port)
{
    const struct node *node = &paths->nodes[index];
    for (size_t i = 0; i < node->n_edges; i++) {
        if (node->edges[i].port == port) {
            return node->edges[i].to;
        }
    }
    return PATHS_NO_SWITCH;
}

bool
paths_has_hosts(const struct paths *paths, uint32_t index)
{
    return paths->nodes[index].has_hosts;
}

bool
paths_same_shape(const struct paths *a, const struct paths *b)
{
    if (a->n != b->n) {
        return false;
    }
    for (uint32_t i = 0; i < a->n; i++) {
        const struct node *x = &a->nodes[i], *y = &b->nodes[i];
        if (x->dpid != y->dpid || x->has_sal != y->has_sal
            || x->has_hosts != y->has_hosts || x->resolves != y->resolves) {
            return false;
        }
    }
    for (size_t i = 0; i < (size_t) a->n * a->n; i++) {
        if ((a->distances[i] == PATHS_UNREACHABLE)
            != (b->distances[i] == PATHS_UNREACHABLE)) {
            return false;
        }
    }
    return true;
}

uint32_t
paths_nearest_sal(const struct paths *paths, uint32_t from)
{
    return paths->nearest_sal[from];
}
