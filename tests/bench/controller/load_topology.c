/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/controller/load.h"

#include <limits.h>
#include <string.h>
#include "util.h"

static void
create(struct load *l, int n_switches, int n_ports, int n_agents)
{
    load_book_init(&l->book);
    l->n_switches = n_switches;
    l->switches = xcalloc(n_switches, sizeof *l->switches);
    l->has_hosts = xcalloc(n_switches, sizeof *l->has_hosts);
    l->distance = xcalloc((size_t) n_switches * n_switches,
                          sizeof *l->distance);
    l->agents = xcalloc(n_agents, sizeof *l->agents);
    for (int i = 0; i < n_switches; i++) {
        struct load_switch *sw = &l->switches[i];

        sw->index = i;
        sw->n_ports = n_ports;
        sw->ports = xcalloc(n_ports + 1, sizeof *sw->ports);
        for (int port = 1; port <= n_ports; port++) {
            sw->ports[port] = (struct load_port) {-1, 0, -1, true};
        }
        load_flows_init(&sw->flows);
        hmap_init(&sw->groups);
        hmap_init(&sw->meters);
    }
}

static void
add_link(struct load *l, int a, int a_port, int b, int b_port)
{
    l->switches[a].ports[a_port] = (struct load_port) {b, b_port, -1, true};
    l->switches[b].ports[b_port] = (struct load_port) {a, a_port, -1, true};
}

static void
add_host(struct load *l, int sw, int port)
{
    struct load_agent *agent = &l->agents[l->n_agents];

    agent->index = l->n_agents++;
    agent->sw = sw;
    agent->port = port;
    agent->locator = 0x0a010000 + agent->index + 1;
    identity_generate(&agent->identity);
    l->switches[sw].ports[port].host = agent->index;
    l->has_hosts[sw] = true;
}

void
load_star(struct load *l, int edges, int hosts_per_edge)
{
    create(l, edges + 1, MAX(edges, hosts_per_edge + 1),
           edges * hosts_per_edge);
    /* A port that is no link may be a host's, and its switch then resolves. */
    l->switches[0].n_ports = edges;
    for (int i = 1; i <= edges; i++) {
        add_link(l, 0, i, i, 1);
        for (int j = 0; j < hosts_per_edge; j++) {
            add_host(l, i, 2 + j);
        }
        l->switches[i].n_ports = 1 + hosts_per_edge;
    }
    load_distances(l);
}

/* Core first, then each pod's aggregation and edge switches.  Ports 1..k/2
 * lead up, the others down. */
void
load_fat_tree(struct load *l, int k)
{
    int half = k / 2, n_core = half * half;

    create(l, n_core + k * k, k, k * k * k / 4);
    for (int pod = 0; pod < k; pod++) {
        int aggregation = n_core + pod * k, edge = aggregation + half;

        for (int i = 0; i < half; i++) {
            for (int j = 0; j < half; j++) {
                add_link(l, i * half + j, pod + 1, aggregation + i, j + 1);
                add_link(l, aggregation + i, half + j + 1, edge + j, i + 1);
                add_host(l, edge + i, half + j + 1);
            }
        }
    }
    load_distances(l);
}

static void
distances_from(struct load *l, int from, int queue[])
{
    int *distance = &l->distance[(size_t) from * l->n_switches];
    int head = 0, tail = 0;

    for (int i = 0; i < l->n_switches; i++) {
        distance[i] = INT_MAX;
    }
    distance[from] = 0;
    queue[tail++] = from;
    while (head < tail) {
        const struct load_switch *sw = &l->switches[queue[head++]];

        for (int i = 1; i <= sw->n_ports; i++) {
            int peer = sw->ports[i].peer;

            if (peer >= 0 && sw->ports[i].up && distance[peer] == INT_MAX) {
                distance[peer] = distance[sw->index] + 1;
                queue[tail++] = peer;
            }
        }
    }
}

void
load_distances(struct load *l)
{
    int *queue = xcalloc(l->n_switches, sizeof *queue);

    for (int i = 0; i < l->n_switches; i++) {
        distances_from(l, i, queue);
    }
    free(queue);
}

bool
load_leads_to(const struct load *l, int sw, uint32_t port, int host)
{
    int target = l->agents[host].sw;

    if (port < 1 || port > l->switches[sw].n_ports) {
        return false;
    }
    const struct load_port *p = &l->switches[sw].ports[port];
    if (sw == target) {
        return p->host == host;
    }
    const int *to = &l->distance[(size_t) target * l->n_switches];
    return p->peer >= 0 && p->up && to[sw] != INT_MAX
           && to[p->peer] == to[sw] - 1;
}

void
load_free(struct load *l)
{
    for (int i = 0; i < l->n_switches; i++) {
        struct load_switch *sw = &l->switches[i];

        load_flows_destroy(&sw->flows);
        load_groups_forget(sw);
        load_meters_forget(sw);
        hmap_destroy(&sw->meters);
        free(sw->ports);
    }
    load_book_destroy(&l->book);
    free(l->switches);
    free(l->has_hosts);
    free(l->distance);
    free(l->agents);
    free(l->services);
}
