/* SPDX-License-Identifier: Apache-2.0 */
/* The plan: what changes when one thing changes, fast failover, a restart of
 * the controller; and packets that follow the rules arrive. */
#include "tests/unit/plan_delivery.h"

static void
test_quickstart(void)
{
    start();
    for (int i = 1; i <= 3; i++) {
        build_switch(topology, i, 4, true);
    }
    build_link(topology, 1, 1, 2, 1);
    build_link(topology, 2, 2, 3, 1);
    build_link(topology, 3, 2, 1, 2);
    CU_ASSERT(put_all(false) > 0);
    CU_ASSERT_EQUAL(plan_generation(plan), 1);
    CU_ASSERT_EQUAL(put_all(false), 0);
    CU_ASSERT_EQUAL(plan_generation(plan), 1);

    for (int i = 0; i < 4; i++) {
        session(i);
        attach(i, i ? i : 1, i ? 3 : 4);
    }
    serve(1, 2, 1, 1);
    serve(2, 2, 1, 1);
    serve(3, 2, 1, 2);
    struct plan_result result;
    plan_run(plan, &result);
    CU_ASSERT_EQUAL(result.n_services, 1);
    CU_ASSERT_EQUAL(result.topology.n_hosts, 4);
    CU_ASSERT_EQUAL(result.n_switches, 3);
    plan_result_destroy(&result);
    put_all(false);
    check();
    check_delivery();

    /* Exact weights over all source ports, as switch 1 resolves. */
    struct service_prefix web;
    service_prefix_from_name(names[2], &web);
    uint32_t counts[4] = {0};
    for (int port = SAL_ENTROPY_BASE; port <= UINT16_MAX; port++) {
        uint32_t locator;
        CU_ASSERT_NOT_EQUAL(follow_syn(1, &web.id, 6, port, &locator), 0);
        counts[locator & 3]++;
    }
    CU_ASSERT_EQUAL(counts[0], 0);
    CU_ASSERT_EQUAL(counts[1], 4096);
    CU_ASSERT_EQUAL(counts[2], 4096);
    CU_ASSERT_EQUAL(counts[3], 8192);

    /* A server's link goes down: nobody is sent there any more. */
    build_port(topology, 3, 3, false);
    CU_ASSERT(put_all(false) > 0);
    check();
    check_delivery();
    stop();
}

/* A flap within one round writes nothing. */
static void
test_flap(void)
{
    start();
    build_fabric();
    session(1);
    attach(1, 1, HOST_PORT);
    serve(1, 0, 1, 5);
    put_all(false);
    struct registry_key key = key_of(1, 0, 1);
    registry_unregister(registry, &key);
    serve(1, 0, 1, 5);
    CU_ASSERT_EQUAL(put_all(false), 0);
    serve(1, 0, 1, 6);
    CU_ASSERT_EQUAL(put_all(false), 0); /* Alone it has all anyway. */
    stop();
}

/* One instance more changes the rules of its service, nothing else. */
static void
test_only_what_is_concerned(void)
{
    start();
    build_fabric();
    for (int i = 0; i < 5; i++) {
        session(i);
        attach(i, 1 + i, HOST_PORT);
        serve(i, 2, 1, 1);
        serve(i, 4, 1, 1);
    }
    put_all(false);
    serve(4, 2, 1, 0);
    put_all(false);

    serve(4, 2, 1, 1);
    struct rule_changes changes = RULE_CHANGES_INITIALIZER;
    struct service_prefix web;
    service_prefix_from_name(names[2], &web);
    uint64_t dpid;
    plan_run(plan, NULL);
    int n = 0;
    while (plan_pop_changed(plan, &dpid)) {
        plan_diff(plan, dpid, installed[dpid - 1], false, &changes);
        /* Four tiles become three each, and those of the newcomer. */
        CU_ASSERT(changes.n > 0 && changes.n < 40);
        for (size_t i = 0; i < changes.n; i++) {
            CU_ASSERT_EQUAL(changes.changes[i].rule.kind, RULE_SERVICE);
            CU_ASSERT_EQUAL(changes.changes[i].rule.prefix_len, web.len);
        }
        n++;
    }
    CU_ASSERT_EQUAL(n, SWITCHES - 1); /* The stock one has none. */
    rule_changes_destroy(&changes);
    stop();
}

/* What 'dpid' sends by its port 'p', which is down, has another port at once
 * if its group has one, and arrives. */
static void
follow_bypasses(uint64_t dpid, uint32_t p, int *bypassed, int *concerned)
{
    const struct rule_table *table = installed[dpid - 1];
    size_t next = 0;

    for (const struct rule *rule; (rule = rule_table_next(table, &next));) {
        struct rule key = RULE_INIT(RULE_GROUP);
        key.group = rule->port;
        const struct rule *group
            = rule->kind == RULE_HOST && rule->flags & RULE_VIA_GROUP
              ? rule_table_find(table, &key) : NULL;
        if (!group || group->ports[0] != p) {
            continue;
        }
        struct packet packet = {
            .at = dpid, .to = rule->address,
            .class = rule->path_class & SAL_PATH_CLASS_MASK,
            .marked = rule->path_class & RULE_MARKED_CLASS};
        uint8_t class = packet.class;
        const struct topology_attachment *at
            = topology_attachment(topology, &rule->address);
        uint32_t end = follow_packet(&packet);

        ++*concerned;
        *bypassed += group->ports[1] != 0;
        if (!group->ports[1]) {
            CU_ASSERT_EQUAL(end, 0);
        } else if (class == 3 && !(rule->path_class & RULE_MARKED_CLASS)) {
            CU_ASSERT(packet.visited[4]); /* What is behind may need us. */
        } else {
            CU_ASSERT_EQUAL(end, at->dpid * 1000 + at->port);
            CU_ASSERT(class != 2 || !packet.avoided);
        }
    }
}

/* Every link in turn goes down, and nobody is told: switches go round it by
 * themselves where the graph allows (in one without triangles, a neighbour has
 * no loop-free alternate).  Returns how many uses of a link by a switch for a
 * host, in a class, were protected, stores how many there were. */
static int
fail_each_link(int *ret_concerned)
{
    int bypassed = 0, concerned = 0;

    for (uint64_t dpid = 1; dpid <= SWITCHES; dpid++) {
        for (uint32_t p = 1; p <= 3; p++) {
            const struct topology_port *port = topology_port(topology, dpid,
                                                             p);
            struct topology_end far = {port->peer_dpid, port->peer_port};
            build_port(topology, dpid, p, false);
            build_port(topology, far.dpid, far.port, false);
            follow_bypasses(dpid, p, &bypassed, &concerned);
            build_port(topology, dpid, p, true);
            build_port(topology, far.dpid, far.port, true);
            build_link(topology, dpid, p, far.dpid, far.port);
        }
    }
    *ret_concerned = concerned;
    return bypassed;
}

/* Those of path classes, too: once more with links of different latency. */
static void
test_class_failover(void)
{
    int concerned[2], bypassed[2];

    for (int classes_too = 0; classes_too < 2; classes_too++) {
        options.classes = classes_too;
        start();
        build_fabric();
        for (int i = 0; i < HOSTS; i++) {
            session(i);
            attach(i, 1 + i % SWITCHES, HOST_PORT + i / SWITCHES);
        }
        for (uint64_t dpid = 1; dpid <= SWITCHES; dpid++) {
            struct topology_end end = {dpid, 1};
            topology_link_set_latency(topology, &end, 1000 * dpid);
        }
        put_all(false);
        bypassed[classes_too] = fail_each_link(&concerned[classes_too]);
        put_all(false); /* Links that were down have forgotten latencies. */
        check();
        stop();
    }
    printf("of path classes: %d of %d\n", bypassed[1] - bypassed[0],
           concerned[1] - concerned[0]);
    CU_ASSERT((bypassed[1] - bypassed[0]) * 4 > concerned[1] - concerned[0]);
    options.classes = false;
}

static void
test_fast_failover(void)
{
    start();
    build_fabric();
    for (int i = 0; i < HOSTS; i++) {
        session(i);
        attach(i, 1 + i % SWITCHES, HOST_PORT + i / SWITCHES);
    }
    put_all(false);
    int concerned;
    int bypassed = fail_each_link(&concerned);
    printf("bypassed at once: %d of %d uses of a link\n", bypassed,
           concerned);
    CU_ASSERT(bypassed * 4 > concerned);

    /* Told at last, the controller changes groups and nothing else, but on the
     * stock switch. */
    build_port(topology, 1, 1, false);
    struct rule_changes changes = RULE_CHANGES_INITIALIZER;
    uint64_t dpid;
    plan_run(plan, NULL);
    while (plan_pop_changed(plan, &dpid)) {
        plan_diff(plan, dpid, installed[dpid - 1], false, &changes);
        for (size_t i = 0; i < changes.n; i++) {
            enum rule_kind kind = changes.changes[i].rule.kind;
            bool stock = !topology_switch(topology, dpid)->has_sal;
            CU_ASSERT(kind == (stock ? RULE_HOST : RULE_GROUP)
                      || kind == RULE_ADMIT_LINK);
            CU_ASSERT_EQUAL(changes.changes[i].op,
                            kind == RULE_ADMIT_LINK ? RULE_DELETE
                                                    : RULE_MODIFY);
        }
        rule_changes_apply(&changes, changes.n, installed[dpid - 1]);
    }
    rule_changes_destroy(&changes);
    check();
    check_delivery();
    stop();
}

/* Of a switch that has no room for a route to each host, those routes that
 * remain are protected like all others'. */
static void
test_short_of_hosts(void)
{
    start();
    build_fabric();
    for (int i = 0; i < HOSTS; i++) {
        session(i);
        attach(i, 1 + i % SWITCHES, HOST_PORT + i / SWITCHES);
    }
    put_all(false);
    size_t before = rule_table_count(installed[0]);
    plan_set_short_of_hosts(plan, 1, true);
    put_all(false);
    CU_ASSERT(rule_table_count(installed[0]) < before);

    int by_group = 0, by_port = 0;
    size_t position = 0;
    const struct rule *rule;
    while ((rule = rule_table_next(installed[0], &position))) {
        if (rule->kind == RULE_HOST) {
            const struct topology_attachment *host
                = topology_attachment(topology, &rule->address);
            by_group += (rule->flags & RULE_VIA_GROUP) != 0;
            by_port += host->dpid != 1 && !(rule->flags & RULE_VIA_GROUP);
        }
    }
    CU_ASSERT(by_group > 0 && !by_port);
    check();
    check_delivery();
    stop();
}

/* The controller is killed; the next one finds rules, waits until everybody is
 * back, and has nothing to write. */
static void
test_restart(void)
{
    start();
    for (int incarnation = 0; incarnation < 2; incarnation++) {
        if (incarnation) {
            plan_destroy(plan);
            topology_destroy(topology);
            registry_destroy(registry);
            topology = topology_create();
            registry = registry_create(identities, services);
            start_plan();
            for (int i = 0; i < SWITCHES; i++) {
                plan_remember(plan, i + 1, installed[i]);
            }
        }
        build_fabric();
        for (int i = 0; i < HOSTS; i++) {
            int host = incarnation ? HOSTS - 1 - i : i;
            session(host);
            attach(host, 1 + host % SWITCHES, HOST_PORT + host / SWITCHES);
            attach6(host, 1 + host % SWITCHES, HOST_PORT + host / SWITCHES);
            for (int s = 0; s < SERVICES; s++) {
                serve(host, s, 1, 1 + (host + s) % 4);
                if (!incarnation) {
                    put_all(false); /* A long history of tilings. */
                }
            }
        }
        size_t written = put_all(incarnation);
        CU_ASSERT_EQUAL(written, 0);
        check();
        check_delivery();
    }
    stop();
}

/* The same with more options. */
static void
test_with_options(void)
{
    options = (struct plan_options) {.groups = true, .anti_spoofing = true};
    test_quickstart();
    test_flap();
    test_only_what_is_concerned();
    test_fast_failover();
    test_short_of_hosts();
    test_class_failover();
    test_restart();
    options.classes = true;
    test_restart();
    options.groups = false;
    options.hop_by_hop = true;
    test_restart();
    options = (struct plan_options) {.groups = false};
}

UNIT_MAIN("plan", UNIT_TEST(test_quickstart), UNIT_TEST(test_flap),
          UNIT_TEST(test_only_what_is_concerned), UNIT_TEST(test_restart),
          UNIT_TEST(test_with_options))
