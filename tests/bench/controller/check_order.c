/* SPDX-License-Identifier: Apache-2.0 */
/* Make before break across switches, end to end: the real controller, and
 * switches that do not exist but confirm when they like, some of them slow.
 *
 *     check_order CONTROLLER
 *
 * Hosts move, vanish and return, weights change, links fail, all at once; once
 * with rules that name ports, once with fast-failover groups.  Whenever a
 * switch has changed its flows, every service rule of every switch is followed
 * along the flows and groups that the switches hold at that moment, as they
 * would send a packet.  It
 *
 *     arrives  at a host's port (perhaps where the host was), or
 *     is cut   at a link or port that is down at that moment, or
 *     strays   at a switch that does not know the host, or
 *     is lost  at one that does not, but from which no way leads there: the
 *              host's port is down, or all ways over links that are up end
 *              elsewhere, or
 *     loops.
 *
 * Nothing may stray or loop.  A loop is excused if it leads through a switch
 * that at that moment goes round a dead port of a group by itself. */
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "ofp-ext/sal_pipeline.h"
#include "openvswitch/vlog.h"
#include "random.h"
#include "tests/bench/controller/load.h"
#include "util.h"

#define K 4
#define SERVICES 12
#define INSTANCES 3
#define EVENTS 400
#define SLOW_MAX_MS 400 /* The controller waits for two seconds at most. */
#define SLOW_SWITCHES 3
#define TIMEOUT_US 60000000
#define HOPS_MAX 32

/* How a flow sends on; 0, 0: not at all. */
struct sending {
    uint32_t port, group;
};

struct choice {
    int host;
    struct sending by;
};

/* What a switch holds, as far as packets of services are concerned. */
static struct view {
    struct sending *routes; /* Of each host. */
    struct choice *choices;
    size_t n, allocated;
} *views;

enum fate {
    ARRIVES, CUT, STRAYS, LOST, LOOPS, LOOPS_BY_BYPASS, N_FATES
};
static uint64_t fates[N_FATES];

static struct load load;
static struct load_controller controller;
static uint64_t commits;
static int passed, failed, skipped;

static void
report(bool ok, const char *what, const char *figure)
{
    printf("  %s    %-48s %s\n", ok ? "PASS" : "FAIL", what, figure);
    fflush(stdout);
    passed += ok;
    failed += !ok;
}

static void
look_at(int sw)
{
    struct view *view = &views[sw];
    const struct load_flow *flow;
    uint32_t position = 0;

    memset(view->routes, 0, load.n_agents * sizeof *view->routes);
    view->n = 0;
    while ((flow = load_flows_next(&load.switches[sw].flows, &position))) {
        const struct load_key *key = load_key(&load.book, flow);
        const struct load_act *act = load_act(&load.book, flow);
        bool route = key->table == SAL_TABLE_FORWARD;

        if (!route && key->table != SAL_TABLE_SERVICE) {
            continue;
        }
        int host = (route ? key->destination : act->destination)
                   - load.agents[0].locator;
        struct sending by = {act->port, act->group};
        if (host < 0 || host >= load.n_agents || (!by.port && !by.group)) {
            continue;
        }
        if (route) {
            view->routes[host] = by;
            continue;
        }
        if (view->n == view->allocated) {
            view->choices = x2nrealloc(view->choices, &view->allocated,
                                       sizeof *view->choices);
        }
        view->choices[view->n++] = (struct choice) {host, by};
    }
}

/* By links that are up, from there to where the host says it is. */
static bool
is_within_reach(int sw, int host)
{
    const struct load_agent *agent = &load.agents[host];

    load_distances(&load);
    return load.distance[agent->sw * load.n_switches + sw] != INT_MAX
           && load.switches[agent->sw].ports[agent->port].up;
}

/* The port that a switch sends by, of a group the first that is up; 0 if it
 * does not. */
static uint32_t
port_of(int sw, const struct sending *by, bool *bypasses)
{
    const struct load_group *group
        = load_group_find(&load.switches[sw], by->group);

    for (int i = 0; group && i < group->n; i++) {
        if (load.switches[sw].ports[group->ports[i]].up) {
            *bypasses |= i > 0;
            return group->ports[i];
        }
    }
    return group && group->n ? group->ports[0] : by->port;
}

static enum fate
follow(int sw, struct sending by, int host)
{
    bool bypasses = false;

    for (int hops = 0; hops < HOPS_MAX; hops++) {
        uint32_t port = port_of(sw, &by, &bypasses);
        if (!port) {
            return is_within_reach(sw, host) ? STRAYS : LOST;
        }
        const struct load_port *p = &load.switches[sw].ports[port];
        if (!p->up) {
            return CUT;
        } else if (p->peer < 0) {
            return ARRIVES;
        }
        sw = p->peer;
        by = views[sw].routes[host];
    }
    return bypasses ? LOOPS_BY_BYPASS : LOOPS;
}

static void
follow_all(void)
{
    for (int i = 0; i < load.n_switches; i++) {
        for (size_t j = 0; j < views[i].n; j++) {
            const struct choice *choice = &views[i].choices[j];
            fates[follow(i, choice->by, choice->host)]++;
        }
    }
}

static void
committed(struct load *l, int sw)
{
    look_at(sw);
    commits++;
    follow_all();
}

static bool
run_until_settled(void)
{
    return load_run_until(&load, load_agents_are_attached, TIMEOUT_US)
           && load_run_until(&load, load_agents_are_answered, TIMEOUT_US)
           && load_run_until(&load, load_is_settled, TIMEOUT_US);
}

/* What happens. */

static struct home {
    int sw, port;
} *homes;

static void
change_weight(void)
{
    int i = random_range(SERVICES), j = random_range(INSTANCES);

    /* Never all drained: load_check() knows shares only. */
    load.services[i].weight[j] = j ? random_range(4) : 1 + random_range(3);
    if (load.agents[load_agent_of(&load, i, j)].up) {
        load_register(&load, i, j, false);
    }
}

static void
move_host(void)
{
    struct load_agent *agent = &load.agents[random_range(load.n_agents)];
    struct home *there = &homes[random_range(load.n_agents)];

    agent->sw = there->sw;
    agent->port = there->port;
    if (agent->up) {
        load_probe(agent);
    }
}

static void
toggle_port(void)
{
    const struct home *home = &homes[random_range(load.n_agents)];
    bool up = load.switches[home->sw].ports[home->port].up;

    load_set_port(&load, home->sw, home->port, !up);
}

static void
toggle_link(void)
{
    int sw = random_range(load.n_switches);
    int port = 1 + random_range(load.switches[sw].n_ports);

    if (load.switches[sw].ports[port].peer >= 0) {
        load_set_link(&load, sw, port, !load.switches[sw].ports[port].up);
    }
}

static void
choose_slow_switches(int n)
{
    for (int i = 0; i < load.n_switches; i++) {
        load.switches[i].slow_ms = 0;
    }
    while (n-- > 0) {
        load.switches[random_range(load.n_switches)].slow_ms
            = 1 + random_range(SLOW_MAX_MS);
    }
}

/* Everybody is at home again, all ports and links are up. */
static void
restore(void)
{
    choose_slow_switches(0);
    for (int i = 0; i < load.n_switches; i++) {
        for (int port = 1; port <= load.switches[i].n_ports; port++) {
            const struct load_port *p = &load.switches[i].ports[port];
            if (p->up) {
                continue;
            } else if (p->peer >= 0) {
                load_set_link(&load, i, port, true);
            } else {
                load_set_port(&load, i, port, true);
            }
        }
    }
    for (int i = 0; i < load.n_agents; i++) {
        load.agents[i].sw = homes[i].sw;
        load.agents[i].port = homes[i].port;
        load_probe(&load.agents[i]);
    }
    load_distances(&load);
}

static void
walk(bool links, const char *what)
{
    uint64_t commits_before = commits;
    char figure[160];

    memset(fates, 0, sizeof fates);
    for (int i = 0; i < EVENTS; i++) {
        if (i % 20 == 0) {
            choose_slow_switches(SLOW_SWITCHES);
        }
        switch (random_range(links ? 8 : 6)) {
        case 0:
        case 1:
            change_weight();
            break;
        case 2:
        case 3:
            move_host();
            break;
        case 4:
        case 5:
            toggle_port();
            break;
        default:
            toggle_link();
            break;
        }
        load_run_for(&load, random_range(30000));
    }
    restore();
    bool ok = run_until_settled();
    snprintf(figure, sizeof figure, "%"PRIu64" changes of switches; packets: "
             "%"PRIu64" arrive, %"PRIu64" are cut, %"PRIu64" stray, %"PRIu64
             " are lost, %"PRIu64" loop, %"PRIu64" by a bypass",
             commits - commits_before, fates[ARRIVES], fates[CUT], fates[STRAYS],
             fates[LOST], fates[LOOPS], fates[LOOPS_BY_BYPASS]);
    report(ok && !fates[STRAYS] && !fates[LOOPS], what, figure);
    if (!ok) {
        load_check(&load, true);
    }
}

/* The oracle must notice a route that is missing, and one that leads back. */
static bool
oracle_sees(void)
{
    for (int i = 0; i < load.n_switches; i++) {
        for (size_t j = 0; j < views[i].n; j++) {
            const struct choice *choice = &views[i].choices[j];
            bool bypasses;
            uint32_t out = port_of(i, &choice->by, &bypasses);
            int peer = load.switches[i].ports[out].peer;
            if (peer >= 0) {
                struct sending *route = &views[peer].routes[choice->host];
                struct sending by = *route;
                *route = (struct sending) {0, 0};
                bool seen = follow(i, choice->by, choice->host) == STRAYS;
                route->port = load.switches[i].ports[out].peer_port;
                views[i].routes[choice->host] = choice->by;
                seen &= follow(i, choice->by, choice->host) == LOOPS;
                *route = by;
                return seen && follow(i, choice->by, choice->host) == ARRIVES;
            }
        }
    }
    return false;
}

static void
begin(const char *program, bool groups)
{
    load.groups = groups;
    load_fat_tree(&load, K);
    load.n_services = SERVICES;
    load.services = xcalloc(SERVICES, sizeof *load.services);
    for (int i = 0; i < SERVICES; i++) {
        load.services[i] = (struct load_service) {INSTANCES, {1, 1, 1}};
    }
    load.committed = committed;
    views = xcalloc(load.n_switches, sizeof *views);
    for (int i = 0; i < load.n_switches; i++) {
        views[i].routes = xcalloc(load.n_agents, sizeof *views[i].routes);
    }
    homes = xcalloc(load.n_agents, sizeof *homes);
    for (int i = 0; i < load.n_agents; i++) {
        homes[i] = (struct home) {load.agents[i].sw, load.agents[i].port};
    }
    load_begin(&load, &controller, program);
}

static void
finish(void)
{
    load.committed = NULL;
    for (int i = 0; i < load.n_switches; i++) {
        free(views[i].routes);
        free(views[i].choices);
    }
    load_end(&load, &controller);
    free(views);
    free(homes);
}

static void
run(const char *program, bool groups)
{
    memset(fates, 0, sizeof fates);
    begin(program, groups);
    bool up = run_until_settled();
    report(up && !fates[STRAYS] && !fates[LOOPS],
           groups ? "a fat tree, k=4, 16 hosts, 12 services; groups"
                  : "the same; rules name ports", "");
    if (up) {
        report(oracle_sees(), "a route that is missing is noticed", "");
        walk(false, "hosts and weights change, switches are slow");
        walk(true, "links fail and return, too");
    } else {
        skipped += 3;
    }
    if (load.faults) {
        report(false, "the switches understand all", "");
    }
    finish();
}

int
main(int argc, char *argv[])
{
    if (argc != 2) {
        fprintf(stderr, "usage: check_order CONTROLLER\n");
        return 2;
    }
    set_program_name(argv[0]);
    vlog_set_levels(NULL, VLF_ANY_DESTINATION, VLL_OFF);
    signal(SIGPIPE, SIG_IGN);
    const char *seed = getenv("SEED");
    uint32_t number = seed ? strtoul(seed, NULL, 0) : 20120425;
    random_set_seed(number);
    printf("order: SEED=%u\n", number);
    run(argv[1], true);
    run(argv[1], false);
    printf("order: %d passed, %d failed, %d skipped\n", passed, failed,
           skipped);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
