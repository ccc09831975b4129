/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/paths.h"
#include "controller/paths_private.h"

#include <stdlib.h>
#include "openvswitch/util.h"
#include "util.h"

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

    paths_read_graph(paths, topology, graph);
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
        paths_read_host_ports(&paths->nodes[i], topology);
    }
    paths_grow_trees(paths);

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

uint32_t
paths_distance_by(const struct paths *paths, const struct edge *edge,
                  uint32_t to)
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
        if (paths_distance_by(paths, &node->edges[i], to) == distance) {
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
        uint32_t distance = paths_distance_by(paths, edge, to);
        if (distance < least) {
            least = distance;
            best = edge->port;
        }
    }
    return best;
}

uint32_t
paths_group(const struct paths *paths, uint8_t class, uint32_t to)
{
    return paths->nodes[to].group | class << PATHS_GROUP_CLASS_SHIFT;
}

uint32_t
paths_group_to(const struct paths *paths, uint32_t group)
{
    for (uint32_t to = 0; to < paths->n; to++) {
        if (group - paths->nodes[to].group < PATHS_GROUP_VARIANTS) {
            return to;
        }
    }
    return PATHS_NO_SWITCH;
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
