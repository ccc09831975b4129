/* SPDX-License-Identifier: Apache-2.0 */
/* How fast the controller's core is, without sockets: fat trees, services,
 * changes.  Prints `bench NAME VALUE UNIT` lines, in CPU time.
 *
 *     bench_plan [K [SERVICES [INSTANCES_PER_SERVICE [groups]]]]
 *
 * K is the fat tree's (5/4 K^2 switches, K^3/4 hosts).  'groups' measures with
 * fast-failover groups. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "controller/addresses.h"
#include "controller/plan.h"
#include "openvswitch/dynamic-string.h"
#include "tests/bench/memory.h"
#include "util.h"

static struct registry *registry;
static struct topology *topology;
static struct plan *plan;
static struct rule_table **installed;
static int k, n_switches, n_hosts, n_services, n_instances;

/* CPU time, not the wall's: there is nothing to wait for, and the machine may
 * have other things to do. */
static double
now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

static void
add_link(uint64_t a, uint32_t a_port, uint64_t b, uint32_t b_port)
{
    struct topology_end x = {a, a_port}, y = {b, b_port};
    topology_link_seen(topology, &x, &y, INT64_MAX);
    topology_link_seen(topology, &y, &x, INT64_MAX);
}

/* Switches: core 1..(k/2)^2, then each pod's k/2 aggregation and k/2 edge
 * switches.  Ports 1..k/2 up, k/2+1..k down (core: 1..k, one a pod). */
static uint64_t
aggregation(int pod, int i)
{
    return 1 + k / 2 * k / 2 + pod * k + i;
}

static uint64_t
edge(int pod, int i)
{
    return aggregation(pod, k / 2 + i);
}

static void
build_fat_tree(void)
{
    const struct eth_addr mac = {{{2, 0, 0, 0, 0, 1}}};

    n_switches = k / 2 * k / 2 + k * k;
    for (int i = 1; i <= n_switches; i++) {
        topology_switch_set(topology, i, true);
        for (int port = 1; port <= k; port++) {
            topology_port_set(topology, i, port, &mac, "p", true, 1000);
        }
    }
    for (int pod = 0; pod < k; pod++) {
        for (int i = 0; i < k / 2; i++) {
            for (int j = 0; j < k / 2; j++) {
                add_link(1 + i * (k / 2) + j, pod + 1, aggregation(pod, i),
                         j + 1);
                add_link(aggregation(pod, i), k / 2 + j + 1, edge(pod, j),
                         i + 1);
            }
        }
    }
}

static struct endpoint_id
host_id(int i)
{
    struct endpoint_id id = {{i, i >> 8, i >> 16, 7}};
    return id;
}

static void
attach_hosts(void)
{
    n_hosts = k * k * k / 4;
    for (int i = 0; i < n_hosts; i++) {
        uint64_t session;
        struct topology_probe probe;
        int pod = i / (k * k / 4), e = i / (k / 2) % (k / 2);

        memset(&probe, 0, sizeof probe);
        probe.endpoint = host_id(i);
        probe.locator = locator_from_v4(0x0a000001 + i);
        probe.mac = (struct eth_addr) {{{2, 1, 0, i >> 16, i >> 8, i}}};
        probe.at = (struct topology_end) {edge(pod, e),
                                          k / 2 + 1 + i % (k / 2)};
        probe.seq = 1;
        registry_session_begin(registry, &probe.endpoint, "h", 0, INT64_MAX,
                               &session);
        topology_attach(topology, &probe, INT64_MAX);
    }
}

static void
serve(int service, int instance, int weight)
{
    struct registry_key key;
    char name[40];

    memset(&key, 0, sizeof key);
    snprintf(name, sizeof name, "s%d.ns%d.acme", service, service % 100);
    service_prefix_from_name(name, &key.prefix);
    key.endpoint = host_id((service * 7 + instance * 13) % n_hosts);
    key.protocol = 6;
    key.port = 1000 + instance;
    registry_register(registry, &key, name,
        &(struct registry_offer) {.weight = weight}, NULL);
}

/* Diffs and applies; returns the number of rules written. */
static size_t
put_all(void)
{
    struct rule_changes changes = RULE_CHANGES_INITIALIZER;
    uint64_t dpid;
    size_t n = 0;

    while (plan_pop_changed(plan, &dpid)) {
        plan_diff(plan, dpid, installed[dpid], false, &changes);
        rule_changes_apply(&changes, changes.n, installed[dpid]);
        n += changes.n;
    }
    rule_changes_destroy(&changes);
    return n;
}

static int
compare_doubles(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;
    return x < y ? -1 : x > y;
}

static void
print_distribution(const char *name, double samples[], int n)
{
    qsort(samples, n, sizeof *samples, compare_doubles);
    printf("bench plan.%s_p50 %.1f us\n", name, samples[n / 2]);
    printf("bench plan.%s_p99 %.1f us\n", name, samples[n * 99 / 100]);
}

static void
bench_cold(void)
{
    double start = now_us();
    build_fat_tree();
    attach_hosts();
    installed = xcalloc(n_switches + 1, sizeof *installed);
    for (int i = 1; i <= n_switches; i++) {
        installed[i] = rule_table_create();
    }
    plan_run(plan, NULL);
    size_t rules = put_all();
    printf("bench plan.underlay %.1f ms (%d switches, %d hosts, %zu rules)\n",
           (now_us() - start) / 1e3, n_switches, n_hosts, rules);

    start = now_us();
    for (int s = 0; s < n_services; s++) {
        for (int i = 0; i < n_instances; i++) {
            serve(s, i, 1);
        }
    }
    printf("bench plan.register_all %.1f ms\n", (now_us() - start) / 1e3);
    start = now_us();
    plan_run(plan, NULL);
    printf("bench plan.services %.1f ms\n", (now_us() - start) / 1e3);
    start = now_us();
    rules = put_all();
    printf("bench plan.services_diff %.1f ms (%zu rules)\n",
           (now_us() - start) / 1e3, rules);
    printf("bench plan.memory %.1f MB\n", memory_mb());
    printf("bench plan.memory_peak %.1f MB\n", peak_mb());
}

static void
bench_register(void)
{
    enum { N = 1000 };
    double samples[N], start = now_us();
    size_t rules = 0;

    for (int i = 0; i < N; i++) {
        double t = now_us();
        serve(i * 31 % n_services, 0, 1 + i % 3);
        plan_run(plan, NULL);
        rules += put_all();
        samples[i] = now_us() - t;
    }
    printf("bench plan.changes %.0f /s (one by one, %zu rules)\n",
           N / (now_us() - start) * 1e6, rules);
    print_distribution("change", samples, N);
}

static void
bench_port_down(void)
{
    enum { N = 20 };
    const struct eth_addr mac = {{{2, 0, 0, 0, 0, 1}}};
    double samples[N];
    size_t rules = 0;

    for (int i = 0; i < N; i++) {
        int pod = i % k, a = i / 2 % (k / 2), j = i % (k / 2);
        double t = now_us();
        topology_port_set(topology, aggregation(pod, a), k / 2 + 1 + j, &mac,
                          "p", false, 1000);
        plan_run(plan, NULL);
        rules += put_all();
        samples[i] = now_us() - t;
        topology_port_set(topology, aggregation(pod, a), k / 2 + 1 + j, &mac,
                          "p", true, 1000);
        add_link(aggregation(pod, a), k / 2 + j + 1, edge(pod, j), a + 1);
        plan_run(plan, NULL);
        put_all();
    }
    printf("bench plan.port_down_rules %zu rules\n", rules / N);
    print_distribution("port_down", samples, N);
}

static void
bench_host_down(void)
{
    enum { N = 20 };
    double samples[N];
    size_t rules = 0;

    for (int i = 0; i < N; i++) {
        struct in6_addr locator = locator_from_v4(0x0a000001 + i % n_hosts);
        double t = now_us();
        topology_detach(topology, &locator);
        plan_run(plan, NULL);
        rules += put_all();
        samples[i] = now_us() - t;
    }
    printf("bench plan.host_down_rules %zu rules\n", rules / N);
    print_distribution("host_down", samples, N);
}

int
main(int argc, char *argv[])
{
    struct rules_config rules_config = RULES_CONFIG_DEFAULT;
    const struct routes_config routes_config = ROUTES_CONFIG_DEFAULT;
    struct address_pool *identities
        = address_pool_create(ADDRESS_IDENTITY_NETWORK, 10);
    struct address_pool *services
        = address_pool_create(ADDRESS_SERVICE_NETWORK, 12);

    setvbuf(stdout, NULL, _IOLBF, 0);
    k = argc > 1 ? atoi(argv[1]) : 4;
    n_services = argc > 2 ? atoi(argv[2]) : 1000;
    n_instances = argc > 3 ? atoi(argv[3]) : 3;
    rules_config.groups = argc > 4 && !strcmp(argv[4], "groups");
    if (!services) {
        services = address_pool_create(ADDRESS_SERVICE_NETWORK, 15);
    }
    registry = registry_create(identities, services);
    topology = topology_create();
    plan = plan_create(&rules_config, &routes_config, NULL, registry,
                       topology);

    bench_cold();
    bench_register();
    bench_port_down();
    bench_host_down();

    double start = now_us();
    struct ds why = DS_EMPTY_INITIALIZER;
    bool same = plan_check(plan, &why);
    printf("bench plan.full_check %.1f ms\n", (now_us() - start) / 1e3);
    if (!same) {
        fprintf(stderr, "%s", ds_cstr(&why));
    }
    ds_destroy(&why);

    for (int i = 1; i <= n_switches; i++) {
        rule_table_destroy(installed[i]);
    }
    free(installed);
    plan_destroy(plan);
    topology_destroy(topology);
    registry_destroy(registry);
    address_pool_destroy(identities);
    address_pool_destroy(services);
    return same ? EXIT_SUCCESS : EXIT_FAILURE;
}
