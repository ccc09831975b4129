/* SPDX-License-Identifier: Apache-2.0 */
/* Maps and rings that are full: what does not fit is refused and counted, what
 * is there goes on.  (Half-open flows: test_sal_hostile.c; bound ones:
 * test_sal_limits.c.) */
#include "tests/bpf/bpf_udp.h"

static struct sal_flow ours, theirs;

/* Fills 'map' with entries that nobody will ask for. */
static size_t
fill(const struct bpf_map *map)
{
    static uint8_t value[1024];
    uint8_t key[64];
    size_t n = 0;

    memset(key, 0xee, sizeof key);
    for (uint32_t i = 0; i < 200000; i++) {
        /* Also the length of a prefix, in the first word of some. */
        uint32_t whole = SAL_SERVICE_ID_BITS;
        memcpy(key, &whole, sizeof whole);
        memcpy(key + 4, &i, sizeof i);
        if (bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_NOEXIST)) {
            break;
        }
        n++;
    }
    return n;
}

static void
data_passes(void)
{
    struct segment s = client_syn;
    struct frame f;
    s.flags = PSH | ACK;
    s.payload = "payload";
    build_inner(&f, &s);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
}

/* Tuples are full though flows are not: nothing is half entered. */
static void
test_tuples(void)
{
    struct frame f;
    set_up();
    connect_hosts(&ours, &theirs);
    CU_ASSERT_EQUAL(fill(TUPLES(&client)), 15);
    struct segment syn = client_syn;
    syn.sport++;
    build_inner(&f, &syn);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    resolve_to(&f, LOC_S);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    struct segment syn_ack = *server_syn_ack(ID_S);
    syn_ack.dport = syn.sport;
    build_inner(&f, &syn_ack);
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[44], SAL_TYPE_RESET); /* The server forgets it. */
    CU_ASSERT(counter(&client, SAL_COUNT_FLOW_TABLE_FULL) > 0);
    CU_ASSERT_EQUAL(map_count(FLOWS(&client)), 1);
    CU_ASSERT_EQUAL(datapath_n_flows(client.dp), 1);
    data_passes();
    tear_down();
}

/* The service table's maps: the daemon is told, and packets meet what is
 * there. */
static void
test_service_table(void)
{
    struct host_tables installed;
    struct host_tables_diff diff;
    struct frame f;
    set_up();
    connect_hosts(&ours, &theirs);
    CU_ASSERT(fill(server.dp->skeleton->maps.sal_targets) > 60000);
    CU_ASSERT(fill(server.dp->skeleton->maps.sal_hops) > 60000);
    CU_ASSERT(fill(server.dp->skeleton->maps.sal_addresses) > 100000);
    put_target(&server, &web, 81, 8081);
    put_address(&server, NOBODY, &web);
    struct service_hop hop = {.prefix = closed, .weight = 1,
                              .locator = {[15] = 1}};
    host_tables_put_hop(&server.tables, &hop);
    host_tables_init(&installed);
    host_tables_diff(&installed, &server.tables, &diff);
    char *error = NULL;
    CU_ASSERT_EQUAL(datapath_apply(server.dp, &diff, &error), -E2BIG);
    CU_ASSERT_PTR_NOT_NULL(error);
    free(error);
    host_tables_diff_destroy(&diff);
    host_tables_destroy(&installed);

    struct segment syn = client_syn;
    syn.sport++;
    syn.dport = 81;
    build_inner(&f, &syn);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    resolve_to(&f, LOC_S);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[44], SAL_TYPE_RESET);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_NO_TARGET), 1);
    data_passes();
    tear_down();
}

/* Nobody reads what is to be held: SYNs leave all the same. */
static void
test_held(void)
{
    uint64_t held, full = 0;
    struct frame f;
    set_up();
    for (uint16_t port = 20000; !full && port < 24000; port++) {
        struct segment s = *large();
        s.sport = port;
        build_inner(&f, &s);
        CU_ASSERT_EQUAL_FATAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT_EQUAL_FATAL(f.data[44], SAL_TYPE_SYN);
        full = counter(&client, SAL_COUNT_OUT_HOLD_FULL);
    }
    held = counter(&client, SAL_COUNT_OUT_HOLD);
    CU_ASSERT(full && held > 500 && held < 800);

    /* DELAY: the connect is refused rather than forgotten. */
    put_rule(&client, &web, SERVICE_DELAY);
    host_apply(&client);
    struct segment s = *large();
    build_inner(&f, &s);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[23], 1); /* ICMP. */
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_HOLD_FULL), full + 1);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_DELAYED), 0);

    take_held(&client);
    CU_ASSERT_EQUAL(taken.n, (int) held);
    tear_down();
}

/* Nobody reads what becomes of flows: they are bound all the same, and the
 * daemon learns that it must look at all of them. */
static void
test_events(void)
{
    struct sal_packet p;
    struct frame f;
    uint64_t bound = 0;
    set_up_udp();
    for (uint32_t i = 1; !counter(&server, SAL_COUNT_FLOW_EVENT_LOST)
                         && i < 60000; i++) {
        struct segment s = ask;
        s.src = 0x64500000 + i;
        p = (struct sal_packet) {.src = LOC_C, .dst = LOC_S, .entropy = 50000,
                                 .type = SAL_TYPE_SYN, .src_flow = i,
                                 .service_id = web.id.bytes, .udp = true,
                                 .endpoint_id = client.tables.settings
                                                    .endpoint_id};
        build_sal(&f, &p, &s);
        CU_ASSERT_EQUAL_FATAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
        p.type = SAL_TYPE_ACK;
        p.dst_flow = get32(&f, 42 + 4);
        p.service_id = NULL;
        p.endpoint_id = NULL;
        build_sal(&f, &p, NULL);
        run_ingress(&server, &f);
        bound++;
    }
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_FLOW_EVENT_LOST), 1);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_FLOW_BOUND), bound);
    struct sal_notify notify;
    uint32_t zero = 0;
    CU_ASSERT_EQUAL(
        bpf_map_lookup_elem(
            bpf_map__fd(server.dp->skeleton->maps.sal_notify), &zero, &notify),
        0);
    CU_ASSERT_EQUAL(notify.lost, 1);
    tear_down();
}

/* First fragments of which nothing follows push each other out, not what is
 * new. */
static void
test_fragments(void)
{
    struct frame first, f;
    set_up_udp();
    f = syn_reaches(&server);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT); /* Bound. */
    build_inner(&first, &ask);
    first.data[20] = 0x20; /* More fragments. */
    for (uint32_t i = 0; i < 20000; i++) {
        f = first;
        set16(&f, 18, i);
        CU_ASSERT_EQUAL_FATAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    }
    CU_ASSERT(map_count(client.dp->skeleton->maps.sal_fragments) <= 4096);
    f = first;
    set16(&f, 18, 19999);
    set16(&f, 20, 2); /* The next one of the last. */
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    f = first;
    set16(&f, 18, 1);
    set16(&f, 20, 2);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_FRAGMENT_LATE), 1);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_FRAGMENTED), 20001);
    tear_down();
}

UNIT_MAIN("sal_full", UNIT_TEST(test_tuples), UNIT_TEST(test_service_table),
          UNIT_TEST(test_held), UNIT_TEST(test_events),
          UNIT_TEST(test_fragments))
