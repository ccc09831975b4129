/* SPDX-License-Identifier: Apache-2.0 */
/* How fast the controller is: the real process, switches and agents that do
 * not exist, real sockets.  Prints `bench NAME VALUE UNIT` lines.
 *
 *     bench_controller CONTROLLER JSON PART...
 *
 * A part is register:EDGES:SERVICES, changes:EDGES:SERVICES,
 * failover:K:SERVICES, or failoverports:K:SERVICES: without groups.  Services
 * have three instances.
 *
 * The load shares the machine with what it measures.  Wall time therefore
 * contains the time that all the switches take; the controller's CPU time is
 * printed beside it. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "ofp-ext/sal_pipeline.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/vlog.h"
#include "tests/bench/controller/load.h"
#include "util.h"

#define INSTANCES 3
#define REGISTRATIONS 200
#define FAILURES 20
#define TIMEOUT_US 900000000 /* Ten million rules take their time. */
#define IDLE_US 5000000
#define TIDY_US 3000000 /* After so long the controller has given back what
                         * memory a start needed. */

static struct load load;
static struct load_controller controller;
static const char *program;
static struct ds json = DS_EMPTY_INITIALIZER;
static bool failed;

static void OVS_PRINTF_FORMAT(3, 4)
report(double value, const char *unit, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    char *name = xvasprintf(format, args);
    va_end(args);
    printf("bench controller.%s %.3f %s\n", name, value, unit);
    fflush(stdout);
    ds_put_format(&json, "%s  \"controller.%s\": {\"value\": %.3f, "
                  "\"unit\": \"%s\"}", json.length ? ",\n" : "", name, value,
                  unit);
    free(name);
}

static void
fail(const char *what)
{
    fprintf(stderr, "failed: %s; %zu differences\n", what,
            load_check(&load, true));
    failed = true;
}

static bool
run_until(bool (*condition)(struct load *), const char *what)
{
    bool ok = load_run_until(&load, condition, TIMEOUT_US);

    if (!ok) {
        fail(what);
    }
    return ok;
}

/* Everything is registered, confirmed and right. */
static bool
run_until_settled(const char *when)
{
    char what[80];

    snprintf(what, sizeof what, "every host is seen %s", when);
    if (!run_until(load_agents_are_attached, what)) {
        return false;
    }
    snprintf(what, sizeof what, "all registrations are confirmed %s", when);
    if (!run_until(load_agents_are_answered, what)) {
        return false;
    }
    snprintf(what, sizeof what, "the rules are right %s", when);
    return run_until(load_is_settled, what);
}

static void
check(const char *what)
{
    size_t n = load_check(&load, true);

    if (n || load.faults) {
        fprintf(stderr, "%s: %zu differences, %llu faults\n", what, n,
                (unsigned long long) load.faults);
        failed = true;
        load.faults = 0;
    }
}

/* The oracle must miss any flow of these tables that is not there. */
static void
check_the_check(void)
{
    static const uint8_t tables[] = {SAL_TABLE_ADMIT, SAL_TABLE_CLASSIFY,
                                     SAL_TABLE_SERVICE, SAL_TABLE_FORWARD};
    struct load_switch *sw = &load.switches[load.n_switches - 1];

    for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
        struct load_flow found = {0, 0};
        const struct load_flow *flow;
        uint32_t position = 0;

        while ((flow = load_flows_next(&sw->flows, &position))) {
            const struct load_key *key = load_key(&load.book, flow);

            /* A flow without a match is the service table's miss. */
            if (key->table == tables[i] && !key->any) {
                found = *flow;
            }
        }
        if (!found.key) {
            fail("there is a flow to remove");
            continue;
        }
        load_flows_remove(&sw->flows, found.key);
        if (!load_check(&load, false)) {
            fail("the oracle sees that a flow is missing");
        }
        load_flows_put(&sw->flows, found);
    }
}

static size_t
count_flows(void)
{
    size_t n = 0;

    for (int i = 0; i < load.n_switches; i++) {
        n += load.switches[i].flows.n;
    }
    return n;
}

/* Distributions. */

static int
compare_doubles(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;
    return x < y ? -1 : x > y;
}

static double
percentile(double samples[], int n, int p)
{
    qsort(samples, n, sizeof *samples, compare_doubles);
    return samples[MIN(n - 1, n * p / 100)];
}

/* A network comes and goes. */

static void
begin(int n_services, bool groups)
{
    load.n_services = n_services;
    load.services = xcalloc(n_services, sizeof *load.services);
    for (int i = 0; i < n_services; i++) {
        load.services[i] = (struct load_service) {INSTANCES, {1, 1, 1}};
    }
    load.groups = groups;
    load_begin(&load, &controller, program);
}

static bool
cold_start(const char *name)
{
    uint64_t start = load_now_us();

    if (!run_until_settled("at first")) {
        check("cold start");
        return false;
    }
    report((load.last_written_us - start) / 1e3, "ms", "cold_start_ms%s",
           name);
    report(load_controller_cpu_us(&controller) / 1e3, "ms",
           "cold_start_cpu_ms%s", name);
    report(count_flows(), "rules", "rules%s", name);
    load_run_for(&load, TIDY_US);
    report(load_controller_memory_mb(&controller), "MB", "memory_mb%s", name);
    return true;
}

/* Parts. */

static bool
one_registration(int i, double *ret_ms)
{
    struct load_service *service = &load.services[i];
    struct load_agent *agent;
    uint64_t start = load_now_us();

    service->weight[INSTANCES] = 1;
    service->n = INSTANCES + 1;
    load_register(&load, i, INSTANCES, true);
    agent = &load.agents[load_agent_of(&load, i, INSTANCES)];
    if (!run_until(load_agents_are_answered, "a registration is confirmed")) {
        return false;
    }
    *ret_ms = (agent->answered_us - start) / 1e3;
    return true;
}

static void
register_latency(int edges)
{
    int n = MIN(REGISTRATIONS, load.n_services);
    double samples[REGISTRATIONS], cpu_ms[REGISTRATIONS], sum = 0;

    for (int i = 0; i < n; i++) {
        double cpu = load_controller_cpu_us(&controller);

        if (!one_registration(i, &samples[i])) {
            return;
        }
        cpu_ms[i] = (load_controller_cpu_us(&controller) - cpu) / 1e3;
        sum += cpu_ms[i];
    }
    report(percentile(samples, n, 50), "ms", "register_p50_ms.%d", edges);
    report(percentile(samples, n, 99), "ms", "register_p99_ms.%d", edges);
    report(sum / n, "ms", "register_cpu_ms.%d", edges);
    /* What is above it in the p99 was waiting. */
    report(percentile(cpu_ms, n, 99), "ms", "register_cpu_p99_ms.%d", edges);
    check("registrations");
}

static void
restart(int edges)
{
    uint64_t before = load.flow_mods;

    load_controller_kill(&controller, SIGKILL);
    for (int i = 0; i < load.n_agents; i++) {
        load.agents[i].up = load.agents[i].attached = false;
    }
    uint64_t start = load_now_us();
    load_controller_start(&controller, program);
    if (run_until(load_agents_are_attached, "every host is seen again")
        && run_until(load_agents_are_answered, "all is confirmed again")) {
        report((load_now_us() - start) / 1e3, "ms", "restart_ms.%d", edges);
        report(load_controller_cpu_us(&controller) / 1e3, "ms",
               "restart_cpu_ms.%d", edges);
        run_until(load_is_quiet, "it is quiet after the restart");
        report(load.flow_mods - before, "rules", "restart_rules_written%s",
               edges == 10 ? "" : xasprintf(".%d", edges));
        check("restart");
    }
}

static void
idle(void)
{
    run_until(load_is_settled, "nothing is left to do");
    double cpu = load_controller_cpu_us(&controller);

    load_run_for(&load, IDLE_US);
    cpu = load_controller_cpu_us(&controller) - cpu;
    report(cpu * 100 / IDLE_US, "%", "idle_cpu");
}

static void
run_register(int edges, int n_services)
{
    char name[32];

    snprintf(name, sizeof name, ".%d", edges);
    load_star(&load, edges, MAX(1, 30 / edges));
    begin(n_services, true);
    report(n_services, "services", "services.%d", edges);
    if (cold_start(name)) {
        register_latency(edges);
        check_the_check();
        if (edges == 10) {
            idle();
        }
        restart(edges);
    }
    load_end(&load, &controller);
}

/* Distinct services, each final state confirmed. */
static void
change_all(int edges)
{
    uint64_t start = load_now_us(), mods = load.flow_mods;
    double cpu = load_controller_cpu_us(&controller);
    int n = load.n_services;

    for (int i = 0; i < n; i++) {
        load.services[i].weight[0] = 3;
        load_register(&load, i, 0, i >= n - load.n_agents);
    }
    if (!run_until(load_agents_are_answered, "all changes are confirmed")) {
        return;
    }
    double wall = load_now_us() - start;
    cpu = load_controller_cpu_us(&controller) - cpu;
    report(n / wall * 1e6, "/s", "changes_per_s%s",
           edges == 1 ? "" : xasprintf(".%d", edges));
    report(n / wall * 1e6 * edges, "/s", "changes_times_switches_per_s.%d",
           edges);
    report(n / cpu * 1e6, "/s", "changes_per_cpu_s.%d", edges);
    report((load.flow_mods - mods) / (double) n, "rules",
           "changes_rules.%d", edges);
    check("changes");
}

static void
run_changes(int edges, int n_services)
{
    load_star(&load, edges, MAX(1, 4 / edges));
    begin(n_services, true);
    if (run_until_settled("at first")) {
        change_all(edges);
    }
    load_end(&load, &controller);
}

struct failure {
    double ms, cpu_ms;
    uint64_t rules;
};

static uint64_t mods_before;

/* A link that is back takes its packets again: what was written for its
 * failure is undone. */
static bool
back(struct load *l)
{
    return l->flow_mods > mods_before && load_is_settled(l);
}

static bool
one_failure(int k, int i, struct failure *failure)
{
    int half = k / 2, n_core = half * half;
    int aggregation = n_core + i % k * k + i / k % half;
    /* Up to the core and down to the edge in turn. */
    int port = 1 + i / 2 % half + ((i + i / k) & 1 ? half : 0);
    double cpu = load_controller_cpu_us(&controller);
    uint64_t start = load_now_us();

    mods_before = load.flow_mods;
    load_set_link(&load, aggregation, port, false);
    load_distances(&load);
    load.last_written_us = start;
    if (!run_until(load_is_settled, "a dead link is bypassed")) {
        return false;
    }
    failure->ms = (load.last_written_us - start) / 1e3;
    failure->cpu_ms = (load_controller_cpu_us(&controller) - cpu) / 1e3;
    failure->rules = load.flow_mods - mods_before;

    mods_before = failure->rules ? load.flow_mods : 0;
    load_set_link(&load, aggregation, port, true);
    load_distances(&load);
    load.last_written_us = load_now_us();
    return run_until(back, "a link is back");
}

static void
failures(int k, const char *what)
{
    double samples[FAILURES], cpu_ms = 0, rules = 0;

    for (int i = 0; i < FAILURES; i++) {
        struct failure failure;

        if (!one_failure(k, i, &failure)) {
            return;
        }
        samples[i] = failure.ms;
        cpu_ms += failure.cpu_ms / FAILURES;
        rules += failure.rules / (double) FAILURES;
    }
    report(percentile(samples, FAILURES, 50), "ms", "%s_p50_ms.k%d", what, k);
    report(percentile(samples, FAILURES, 99), "ms", "%s_p99_ms.k%d", what, k);
    report(cpu_ms, "ms", "%s_cpu_ms.k%d", what, k);
    report(rules, "rules", "%s_rules.k%d", what, k);
    check("failures");
}

static void
run_failover(int k, int n_services, bool groups)
{
    load_fat_tree(&load, k);
    begin(n_services, groups);
    if (run_until_settled("at first")) {
        failures(k, groups ? "failover" : "failover_ports");
    }
    load_end(&load, &controller);
}

static void
write_json(const char *path)
{
    FILE *file = fopen(path, "w");

    if (!file) {
        ovs_fatal(errno, "%s", path);
    }
    fprintf(file, "{\n%s\n}\n", ds_cstr(&json));
    fclose(file);
    ds_destroy(&json);
}

int
main(int argc, char *argv[])
{
    if (argc < 4) {
        fprintf(stderr, "usage: bench_controller CONTROLLER JSON PART...\n");
        return 2;
    }
    set_program_name(argv[0]);
    vlog_set_levels(NULL, VLF_ANY_DESTINATION, VLL_OFF);
    signal(SIGPIPE, SIG_IGN);
    program = argv[1];
    for (int i = 3; i < argc; i++) {
        char part[32];
        int size, services;

        if (sscanf(argv[i], "%31[a-z]:%d:%d", part, &size, &services) != 3
            || size < 1 || services < 1) {
            ovs_fatal(0, "%s: not PART:SIZE:SERVICES", argv[i]);
        } else if (!strcmp(part, "register")) {
            run_register(size, services);
        } else if (!strcmp(part, "changes")) {
            run_changes(size, services);
        } else if (!strcmp(part, "failover")) {
            run_failover(size, services, true);
        } else if (!strcmp(part, "failoverports")) {
            run_failover(size, services, false);
        } else {
            ovs_fatal(0, "%s: no such part", part);
        }
    }
    write_json(argv[2]);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
