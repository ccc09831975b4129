/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "controller/paths.h"
#include "controller/topology.h"
#include "tests/unit/topology_builder.h"
#include "openvswitch/util.h"
#include "util.h"

/*        1
 *      /   \         2 and 3 are equally near from 1 to 4;
 *     2     3        5 hangs off 4.
 *      \   /
 *        4 --- 5                                             */
static struct topology *
diamond(void)
{
    struct topology *topology = topology_create();
    for (int i = 1; i <= 5; i++) {
        build_switch(topology, i, 4, i != 1 && i != 2);
    }
    build_link(topology, 1, 1, 2, 1);
    build_link(topology, 1, 2, 3, 1);
    build_link(topology, 2, 2, 4, 1);
    build_link(topology, 3, 2, 4, 2);
    build_link(topology, 4, 3, 5, 1);
    return topology;
}

static void
test_diamond(void)
{
    struct topology *topology = diamond();
    struct paths *paths = paths_compute(topology, NULL);
    uint32_t ports[4];

    CU_ASSERT_EQUAL(paths_n_switches(paths), 5);
    CU_ASSERT_EQUAL(paths_index(paths, 1), 0);
    CU_ASSERT_EQUAL(paths_index(paths, 5), 4);
    CU_ASSERT_EQUAL(paths_index(paths, 6), PATHS_NO_SWITCH);
    CU_ASSERT_EQUAL(paths_distance(paths, 0, 4), 3);
    CU_ASSERT_EQUAL(paths_next_hop(paths, 0, 4), 1);
    CU_ASSERT_EQUAL(paths_next_hops(paths, 0, 4, ports, 4), 2);
    CU_ASSERT(ports[0] == 1 && ports[1] == 2);
    CU_ASSERT_EQUAL(paths_next_hops(paths, 0, 4, ports, 1), 2);
    CU_ASSERT_EQUAL(paths_next_hop(paths, 2, 2), 0);

    /* Equal ones protect each other; 4 -- 5 is a bridge. */
    CU_ASSERT_EQUAL(paths_alternate(paths, 0, 3, 1), 2);
    CU_ASSERT_EQUAL(paths_alternate(paths, 0, 3, 2), 1);
    CU_ASSERT_EQUAL(paths_alternate(paths, 3, 4, 3), 0);
    /* From 2 to 4 by way of 1 would loop back: 1 may send it to 2. */
    CU_ASSERT_EQUAL(paths_alternate(paths, 1, 3, 2), 0);

    CU_ASSERT_EQUAL(paths_nearest_sal(paths, 0), 2);
    CU_ASSERT_EQUAL(paths_nearest_sal(paths, 1), 3);
    CU_ASSERT_EQUAL(paths_nearest_sal(paths, 4), 4);
    paths_destroy(paths);
    topology_destroy(topology);
}

/* Only switches that hosts may be behind resolve; a stock one has the nearest
 * SAL switch resolve for it. */
static void
test_resolves(void)
{
    struct topology *topology = topology_create();
    build_switch(topology, 1, 2, false); /* stock - SAL - SAL - SAL */
    build_switch(topology, 2, 2, true);
    build_switch(topology, 3, 2, true);
    build_switch(topology, 4, 2, true);
    build_link(topology, 1, 2, 2, 1);
    build_link(topology, 2, 2, 3, 1);
    build_link(topology, 3, 2, 4, 1);
    struct paths *paths = paths_compute(topology, NULL);
    CU_ASSERT(!paths_resolves(paths, 0));
    CU_ASSERT(paths_resolves(paths, 1));
    CU_ASSERT(!paths_resolves(paths, 2));
    CU_ASSERT(paths_resolves(paths, 3));
    paths_destroy(paths);

    build_port(topology, 1, 1, false);
    paths = paths_compute(topology, NULL);
    CU_ASSERT(!paths_resolves(paths, 1));
    paths_destroy(paths);
    topology_destroy(topology);
}

static void
test_costs(void)
{
    struct topology *topology = diamond();
    struct topology_end end = {1, 1};
    CU_ASSERT_EQUAL(topology_link_set_cost(topology, &end, 10), 0);
    struct paths *paths = paths_compute(topology, NULL);
    CU_ASSERT_EQUAL(paths_next_hop(paths, 0, 3), 2);
    CU_ASSERT_EQUAL(paths_next_hop(paths, 0, 1), 2);
    CU_ASSERT_EQUAL(paths_distance(paths, 0, 1), 3);
    CU_ASSERT_EQUAL(paths_distance(paths, 1, 0), 1);
    paths_destroy(paths);

    /* Costs that do not fit into 32 bits together are still no cut. */
    CU_ASSERT_EQUAL(topology_link_set_cost(topology, &end, UINT32_MAX), 0);
    end.port = 2;
    CU_ASSERT_EQUAL(topology_link_set_cost(topology, &end, UINT32_MAX), 0);
    paths = paths_compute(topology, NULL);
    CU_ASSERT_NOT_EQUAL(paths_distance(paths, 0, 4), PATHS_UNREACHABLE);
    paths_destroy(paths);
    topology_destroy(topology);
}

static void
test_empty(void)
{
    struct topology *topology = topology_create();
    struct paths *paths = paths_compute(topology, NULL);
    CU_ASSERT_EQUAL(paths_n_switches(paths), 0);
    CU_ASSERT_EQUAL(paths_index(paths, 1), PATHS_NO_SWITCH);
    paths_destroy(paths);
    paths_destroy(NULL);

    build_switch(topology, 7, 1, false);
    paths = paths_compute(topology, NULL);
    CU_ASSERT_EQUAL(paths_nearest_sal(paths, 0), PATHS_NO_SWITCH);
    paths_destroy(paths);
    topology_destroy(topology);
}

/* Oracle: Floyd-Warshall over a matrix of the cheapest parallel links. */
enum { N = 12 };
#define FAR 1000000000ULL

struct cable {
    int a, b;
    uint32_t a_port, b_port, a_cost, b_cost;
};

static void
floyd_warshall(uint64_t d[N][N])
{
    for (int k = 0; k < N; k++) {
        for (int i = 0; i < N; i++) {
            for (int j = 0; j < N; j++) {
                if (d[i][k] + d[k][j] < d[i][j]) {
                    d[i][j] = d[i][k] + d[k][j];
                }
            }
        }
    }
}

static void
set_cost(struct topology *topology, int sw, uint32_t port, uint32_t cost)
{
    struct topology_end end = {sw + 1, port};
    CU_ASSERT_EQUAL(topology_link_set_cost(topology, &end, cost), 0);
}

/* Random cables, parallel ones and loops among them. */
static int
random_cables(struct topology *topology, struct cable cables[], int max)
{
    uint32_t next_port[N];
    int n = unit_random_below(max);
    uint32_t costs = unit_random_below(2) ? 1 : 5;

    for (int i = 0; i < N; i++) {
        build_switch(topology, i + 1, 2 * max, unit_random_below(3) == 0);
        next_port[i] = 1;
    }
    for (int i = 0; i < n; i++) {
        struct cable *c = &cables[i];
        c->a = unit_random_below(N);
        c->b = unit_random_below(N);
        c->a_port = next_port[c->a]++;
        c->b_port = next_port[c->b]++;
        c->a_cost = 1 + unit_random_below(costs);
        c->b_cost = 1 + unit_random_below(costs);
        build_link(topology, c->a + 1, c->a_port, c->b + 1, c->b_port);
        set_cost(topology, c->a, c->a_port, c->a_cost);
        set_cost(topology, c->b, c->b_port, c->b_cost);
    }
    return n;
}

/* Cost and far end of what leaves 'sw' at 'port'. */
static bool
follow(const struct cable cables[], int n, int sw, uint32_t port, int *to,
       uint32_t *cost)
{
    for (int i = 0; i < n; i++) {
        const struct cable *c = &cables[i];
        if (c->a == sw && c->a_port == port) {
            *to = c->b;
            *cost = c->a_cost;
            return true;
        }
        if (c->b == sw && c->b_port == port) {
            *to = c->a;
            *cost = c->b_cost;
            return true;
        }
    }
    return false;
}

static void
check_pair(const struct paths *paths, const struct cable cables[], int n,
           uint64_t d[N][N], int from, int to)
{
    uint32_t ports[64], expected[64];
    size_t n_expected = 0;

    CU_ASSERT_EQUAL(paths_distance(paths, from, to),
                    d[from][to] >= FAR ? PATHS_UNREACHABLE : d[from][to]);
    for (uint32_t port = 1; from != to && port < 64; port++) {
        int far;
        uint32_t cost;
        if (follow(cables, n, from, port, &far, &cost) && far != from
            && d[from][to] < FAR && cost + d[far][to] == d[from][to]) {
            expected[n_expected++] = port;
        }
    }
    size_t n_ports = paths_next_hops(paths, from, to, ports, 64);
    CU_ASSERT_EQUAL_FATAL(n_ports, n_expected);
    CU_ASSERT_EQUAL(memcmp(ports, expected, n_ports * sizeof *ports), 0);
    CU_ASSERT_EQUAL(paths_next_hop(paths, from, to), n_ports ? ports[0] : 0);

    /* An alternate comes nearer without passing here again: no neighbour's
     * shortest path may lead through 'from'. */
    for (size_t i = 0; i < n_ports; i++) {
        uint32_t alternate = paths_alternate(paths, from, to, ports[i]);
        int far = 0;
        uint32_t cost;
        if (alternate) {
            CU_ASSERT_NOT_EQUAL(alternate, ports[i]);
            CU_ASSERT_FATAL(follow(cables, n, from, alternate, &far, &cost));
            CU_ASSERT(d[far][to] < d[far][from] + d[from][to]);
        } else {
            CU_ASSERT_EQUAL(n_ports, 1);
        }
    }
}

static void
test_random(void)
{
    for (int round = 0; round < 300; round++) {
        struct topology *topology = topology_create();
        struct cable cables[30];
        int n = random_cables(topology, cables, 30);
        uint64_t d[N][N];

        for (int i = 0; i < N; i++) {
            for (int j = 0; j < N; j++) {
                d[i][j] = i == j ? 0 : FAR;
            }
        }
        for (int i = 0; i < n; i++) {
            const struct cable *c = &cables[i];
            if (c->a_cost < d[c->a][c->b]) {
                d[c->a][c->b] = c->a_cost;
            }
            if (c->b_cost < d[c->b][c->a]) {
                d[c->b][c->a] = c->b_cost;
            }
        }
        floyd_warshall(d);

        struct paths *paths = paths_compute(topology, NULL);
        for (int i = 0; i < N; i++) {
            uint32_t sal = paths_nearest_sal(paths, i);
            uint64_t least = FAR;
            for (int j = 0; j < N; j++) {
                check_pair(paths, cables, n, d, i, j);
                if (paths_has_sal(paths, j) && d[i][j] < least) {
                    least = d[i][j];
                }
            }
            CU_ASSERT_EQUAL(sal == PATHS_NO_SWITCH, least == FAR);
            CU_ASSERT(sal == PATHS_NO_SWITCH || d[i][sal] == least);
        }
        paths_destroy(paths);
        topology_destroy(topology);
    }
}

/* A triangle protects every link; a line none; a square with its two equal
 * ways only what goes across.  A class that avoids a link of a triangle has a
 * line left. */
static void
test_coverage(void)
{
    static const struct {
        int n, ring;
        bool class;
        struct paths_coverage expected;
    } cases[] = {
        {3, true, false, {.ways = 6, .ways_covered = 6, .links = 6,
                          .links_covered = 6}},
        {3, false, false, {.ways = 6, .links = 4}},
        {4, true, false, {.ways = 12, .ways_covered = 4, .links = 8}},
        {3, true, true, {.ways = 12, .ways_covered = 6, .links = 6,
                         .links_covered = 2}},
    };
    struct path_classes classes = {.n = 1};

    classes.classes[1].kind = PATH_CLASS_AVOID;
    classes.classes[1].n_links = 1;
    classes.classes[1].links[0] = (struct topology_end) {1, 1};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct topology *topology = topology_create();
        struct paths_coverage coverage;
        int n = cases[i].n;

        for (int s = 1; s <= n; s++) {
            build_switch(topology, s, 4, true);
        }
        for (int s = 1; s < n + cases[i].ring; s++) {
            build_link(topology, s, 1, s % n + 1, 2);
        }
        struct paths *paths = paths_compute(
            topology, cases[i].class ? &classes : NULL);
        paths_coverage(paths, &coverage);
        CU_ASSERT(!memcmp(&coverage, &cases[i].expected, sizeof coverage));
        paths_destroy(paths);
        topology_destroy(topology);
    }
}

UNIT_MAIN("paths", UNIT_TEST(test_diamond), UNIT_TEST(test_coverage),
          UNIT_TEST(test_resolves), UNIT_TEST(test_costs),
          UNIT_TEST(test_empty), UNIT_TEST(test_random))
