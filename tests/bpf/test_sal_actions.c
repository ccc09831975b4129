/* SPDX-License-Identifier: Apache-2.0 */
/* What the service table can do besides forwarding to the resolver: FORWARD to
 * locators, resolving on, and the same for others as a service router. */
#include "tests/bpf/bpf_udp.h"

static struct service_hop
hop_to(const struct service_prefix *prefix, uint32_t locator, uint32_t weight)
{
    struct service_hop hop = {.prefix = *prefix, .weight = weight};
    struct sal_addr addr;
    addr_from_host_v4(&addr, locator);
    memcpy(hop.locator, &addr, sizeof hop.locator);
    return hop;
}

static void
put_hop(struct host *host, const struct service_prefix *prefix,
        uint32_t locator, uint32_t weight)
{
    struct service_hop hop = hop_to(prefix, locator, weight);
    host_tables_put_hop(&host->tables, &hop);
}

/* Where each of 'n' new connections of the client's goes; counts by the last
 * byte of the locator. */
static void
count_hops(unsigned int n, unsigned int counts[256])
{
    memset(counts, 0, 256 * sizeof *counts);
    for (unsigned int i = 0; i < n; i++) {
        struct segment syn = client_syn;
        struct frame f;
        syn.seq = i;
        build_inner(&f, &syn);
        if (run_egress(&client, &f) == TC_ACT_REDIRECT
            && f.data[44] == SAL_TYPE_SYN) {
            counts[f.data[33]]++;
        }
    }
}

static void
test_hops_by_weight(void)
{
    unsigned int counts[256];

    set_up();
    client.tables.settings.resolver_v4 = 0; /* Not needed. */
    put_rule(&client, &web, SERVICE_FORWARD);
    put_hop(&client, &web, LOC_S, 1);
    put_hop(&client, &web, LOC_T, 3);
    host_apply(&client);
    count_hops(2000, counts);
    CU_ASSERT_EQUAL(counts[2] + counts[3], 2000);
    CU_ASSERT(counts[2] > 400 && counts[2] < 600);

    /* Another weight, one less, none: then there is no way. */
    put_hop(&client, &web, LOC_S, 3);
    host_apply(&client);
    count_hops(2000, counts);
    CU_ASSERT(counts[2] > 850 && counts[2] < 1150);
    struct service_hop gone_hop = hop_to(&web, LOC_T, 0);
    host_tables_remove_hop(&client.tables, &gone_hop);
    host_apply(&client);
    count_hops(100, counts);
    CU_ASSERT_EQUAL(counts[2], 100);
    gone_hop = hop_to(&web, LOC_S, 0);
    host_tables_remove_hop(&client.tables, &gone_hop);
    host_apply(&client);
    count_hops(10, counts);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_NO_UPLINK), 10);
    client.tables.settings.resolver_v4 = RESOLVER;
    host_apply(&client);
    count_hops(10, counts);
    CU_ASSERT_EQUAL(counts[RESOLVER & 0xff], 10);
    tear_down();
}

/* A SYN sent again picks afresh; a shorter prefix's hops serve what is below
 * it; the rule's path class is in the header. */
static void
test_hops_retry(void)
{
    struct service_prefix shop;
    bool seen[256] = {false};
    struct frame f;

    set_up();
    service_prefix_from_name("shop.acme", &shop);
    struct service_rule rule = {.prefix = shop, .action = SERVICE_FORWARD,
                                .path_class = 5};
    host_tables_put_rule(&client.tables, &rule);
    put_hop(&client, &shop, LOC_S, 1);
    put_hop(&client, &shop, LOC_T, 1);
    host_apply(&client);
    for (int i = 0; i < 40; i++) {
        build_inner(&f, &client_syn);
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT_EQUAL(f.data[54], (i ? SAL_FLAG_RETRY : 0) | 5);
        seen[f.data[33]] = true;
    }
    CU_ASSERT_TRUE(seen[2] && seen[3]);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 1);
    tear_down();
}

/* Random changes of hops: the maps hold what the tables say, and what comes
 * out is in proportion. */
static void
test_hops_random(void)
{
    set_up();
    for (int round = 0; round < 60; round++) {
        const struct service_prefix *prefix
            = unit_random_below(2) ? &web : &shadow;
        struct service_hop hop = hop_to(prefix, LOC_S + unit_random_below(40),
                                        1 + unit_random_below(9));
        size_t n = 0;
        for (size_t i = 0; i < client.tables.n_hops; i++) {
            n += service_prefix_equal(&client.tables.hops[i].prefix, prefix);
        }
        if (unit_random_below(3) && n < HOST_TABLES_MAX_HOPS) {
            host_tables_put_hop(&client.tables, &hop);
        } else {
            host_tables_remove_hop(&client.tables, &hop);
        }
        put_rule(&client, prefix, SERVICE_FORWARD);
        host_apply(&client);
    }
    unsigned int counts[256], weights[256] = {0}, total = 0;
    for (size_t i = 0; i < client.tables.n_hops; i++) {
        const struct service_hop *hop = &client.tables.hops[i];
        if (service_prefix_equal(&hop->prefix, &web)) {
            weights[hop->locator[15]] = hop->weight;
            total += hop->weight;
        }
    }
    count_hops(4000, counts);
    for (int i = 0; i < 256 && total; i++) {
        double want = 4000.0 * weights[i] / total;
        CU_ASSERT(counts[i] >= want * 0.6 - 30
                  && counts[i] <= want * 1.5 + 30);
    }
    tear_down();
}

/* Resolving on. */

/* The instance has gone: the host sends the SYN back, and the client's data
 * plane sends it to another, with another source port; a hop limit ends that.
 * TCP, then UDP. */
static void
resolve_on(const struct segment *first)
{
    struct sal_flow flow;
    struct frame f, want;
    bool entropy_changed = false; /* One draw may repeat the last. */

    host_tables_remove_rule(&server.tables, &web);
    struct service_prefix root = {.len = 0};
    put_rule(&server, &root, SERVICE_FORWARD); /* As agents have it. */
    host_apply(&server);
    f = client_sends(first);
    for (unsigned int hops = 0;; hops++) {
        resolve_to(&f, LOC_S);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &flow));
        struct sal_packet p = control_of(&client, &flow, SAL_TYPE_RESET);
        p.udp = first->udp;
        p.src = LOC_S;
        p.dst = LOC_C;
        p.src_flow = 0;
        p.dst_flow = ntohl(flow.id);
        p.flags_class = hops < 3 ? SAL_FLAG_RETRY | hops << 5 : 0;
        p.tos = 0;
        build_sal(&want, &p, first);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        uint16_t entropy = flow.entropy;
        memset(f.data, 0, 12);
        if (hops == 3) {
            break;
        }
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &flow));
        entropy_changed |= flow.entropy != entropy;
        p = control_of(&client, &flow, SAL_TYPE_SYN);
        p.udp = first->udp;
        p.flags_class = (hops + 1) << 5;
        p.tos = first->tos;
        build_sal(&want, &p, first);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        CU_ASSERT_EQUAL(ntohl(flow.peer_locator.w[3]), RESOLVER);
    }
    CU_ASSERT_TRUE(entropy_changed);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_RESOLVED_ON), 3);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 0);
}

static void
test_resolve_on(void)
{
    set_up_udp();
    resolve_on(&client_syn);
    tear_down();
    set_up_udp();
    resolve_on(&ask);
    tear_down();
}

/* Somewhere else it is served: as if nothing had happened. */
static void
test_resolve_on_finds(void)
{
    struct sal_flow ours;
    struct frame f;

    set_up_udp();
    host_tables_remove_rule(&server.tables, &web);
    host_apply(&server);
    f = client_sends(&ask);
    resolve_to(&f, LOC_S);
    run_ingress(&server, &f);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    resolve_to(&f, LOC_T);
    CU_ASSERT_EQUAL(run_ingress(&other, &f), TC_ACT_REDIRECT);
    struct segment there = asked;
    there.dst = ID_T;
    expect_delivered(&there);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    CU_ASSERT_EQUAL(ours.state, SAL_FLOW_BOUND);
    CU_ASSERT_EQUAL(ntohl(ours.peer_locator.w[3]), LOC_T);
    tear_down();
}

/* What a RESET brings back is sent again only if it is ours. */
static void
test_resolve_on_forged(void)
{
    struct sal_flow flow;
    struct frame f;

    set_up_udp();
    client_sends(&ask);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &flow));
    struct sal_packet p = udp_control(&client, &flow, SAL_TYPE_RESET);
    p.src = LOC_S;
    p.dst = LOC_C;
    p.src_flow = 0;
    p.dst_flow = ntohl(flow.id);
    p.flags_class = SAL_FLAG_RETRY;
    struct segment forged = ask;
    forged.dst = SHADOW;
    p.nonce[0] ^= 1;
    build_sal(&f, &p, &ask);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_SHOT);
    p.nonce[0] ^= 1;
    build_sal(&f, &p, &forged);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_RESOLVED_ON), 0);
    tear_down();
}

/* The service router. */

#define LOC_R 0x0a000009
#define ID_R 0x64400009

static struct host router;

static void
set_up_router(void)
{
    set_up_udp();
    host_init(&router, LOC_R, ID_R, 16);
    router.tables.settings.resolver_v4 = RESOLVER;
    router.tables.settings.router = true;
    put_rule(&router, &web, SERVICE_FORWARD);
    put_hop(&router, &web, LOC_S, 1);
    put_hop(&router, &web, LOC_T, 1);
    put_rule(&router, &closed, SERVICE_REJECT);
    host_apply(&router);
}

static void
tear_down_router(void)
{
    host_destroy(&router);
    tear_down();
}

/* SYNs to the resolver address, or to its own, go on to an instance: only the
 * outer destination, the TTL and the hops change. */
static void
test_router(void)
{
    bool seen[256] = {false};
    struct sal_flow flow;
    struct frame f, want;

    set_up_router();
    for (int i = 0; i < 40; i++) {
        struct segment syn = client_syn;
        syn.seq = i;
        f = client_sends(&syn);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &flow)
                             || i > 0);
        if (i % 2) {
            resolve_to(&f, LOC_R);
        }
        memset(f.data, 0, 12);
        want = f;
        CU_ASSERT_EQUAL(run_ingress(&router, &f), TC_ACT_REDIRECT);
        seen[f.data[33]] = true;
        resolve_to(&want, 0x0a000000 | f.data[33]);
        set_hops(&want, 1);
        want.data[22]--; /* TTL. */
        set16(&want, 24, 0);
        set16(&want, 24, test_checksum(want.data + 14, 20, 0));
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    }
    CU_ASSERT_TRUE(seen[2] && seen[3]);
    CU_ASSERT_EQUAL(counter(&router, SAL_COUNT_IN_ROUTED), 40);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&router)), 0);

    /* What is sent again with the same source port goes the same way. */
    f = client_sends(&ask);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&router, &f), TC_ACT_REDIRECT);
    uint8_t to = f.data[33];
    for (int i = 0; i < 10; i++) {
        f = client_sends(&ask);
        memset(f.data, 0, 12);
        CU_ASSERT_EQUAL(run_ingress(&router, &f), TC_ACT_REDIRECT);
        CU_ASSERT_EQUAL(f.data[33], to);
    }
    tear_down_router();
}

static void
test_router_refuses(void)
{
    struct frame f;

    set_up_router();
    /* Resolved three times already. */
    f = client_sends(&client_syn);
    memset(f.data, 0, 12);
    set_hops(&f, 3);
    CU_ASSERT_EQUAL(run_ingress(&router, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[44], SAL_TYPE_RESET);
    CU_ASSERT_EQUAL(f.data[54], 0);
    CU_ASSERT_EQUAL(counter(&router, SAL_COUNT_IN_HOP_LIMIT), 1);

    /* Nobody serves it. */
    struct segment syn = client_syn;
    syn.dst = SHADOW;
    f = client_sends(&syn);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&router, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[44], SAL_TYPE_RESET);
    CU_ASSERT_EQUAL(counter(&router, SAL_COUNT_IN_NO_RULE), 1);

    /* Who is no router leaves alone what is for the resolver. */
    router.tables.settings.router = false;
    host_apply(&router);
    f = client_sends(&client_syn);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&router, &f), TC_ACT_UNSPEC);
    tear_down_router();
}

UNIT_MAIN("sal_actions", UNIT_TEST(test_hops_by_weight),
          UNIT_TEST(test_hops_retry), UNIT_TEST(test_hops_random),
          UNIT_TEST(test_resolve_on), UNIT_TEST(test_resolve_on_finds),
          UNIT_TEST(test_resolve_on_forged), UNIT_TEST(test_router),
          UNIT_TEST(test_router_refuses))
