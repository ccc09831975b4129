/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of flows, the key of flow IDs, and very many flows. */
#include "tests/bpf/bpf_pair.h"
#include "tests/bpf/fill_flows.h"

#include "agents/datapath_cursor.h"
#include "agents/flow_top.h"
#include "openvswitch/json.h"

/* Connects from 'port'.  The verdict about the SYN at the server. */
static int
connect_port(uint16_t port)
{
    struct segment syn = client_syn, ack = client_syn;
    struct segment syn_ack = *server_syn_ack(ID_S);
    struct frame f;

    syn.sport = ack.sport = syn_ack.dport = port;
    build_inner(&f, &syn);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    resolve_to(&f, LOC_S);
    run_ingress(&server, &f);
    if (f.data[42 + 2] == SAL_TYPE_RESET) {
        memset(f.data, 0, 12);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
        return -ECONNREFUSED;
    }
    build_inner(&f, &syn_ack);
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    ack.flags = ACK;
    ack.seq = 1001;
    ack.ack = 5001;
    build_inner(&f, &ack);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    return 0;
}

/* The server's socket aborts. */
static void
abort_port(uint16_t port)
{
    struct segment rst = *server_syn_ack(ID_S);
    struct frame f;

    rst.flags = RST | ACK;
    rst.dport = port;
    build_inner(&f, &rst);
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
}

static void
expect_n_flows(const struct host *host, size_t n)
{
    CU_ASSERT_EQUAL(map_count(FLOWS(host)), n);
    CU_ASSERT_EQUAL(datapath_n_flows(host->dp), n);
}

static void
test_client_limit(void)
{
    set_up();
    CU_ASSERT_EQUAL(datapath_set_limits(server.dp, 3, 0), 0);
    for (uint16_t port = 40000; port < 40003; port++) {
        CU_ASSERT_EQUAL(connect_port(port), 0);
    }
    expect_n_flows(&server, 3);
    for (uint64_t i = 1; i <= 5; i++) {
        CU_ASSERT_EQUAL(connect_port(41000), -ECONNREFUSED);
        CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_CLIENT_LIMIT), i);
    }
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_SERVICE_LIMIT), 0);
    expect_n_flows(&server, 3);

    /* Another client has its own limit. */
    struct sal_limit_key key = {.kind = SAL_LIMIT_CLIENT};
    uint32_t n = 0;
    addr_from_host_v4((struct sal_addr *) key.who, ID_C);
    int fd = bpf_map__fd(server.dp->skeleton->maps.sal_limits);
    CU_ASSERT_EQUAL(bpf_map_lookup_elem(fd, &key, &n), 0);
    CU_ASSERT_EQUAL(n, 3);

    abort_port(40001);
    expect_n_flows(&server, 2);
    CU_ASSERT_EQUAL(connect_port(41000), 0);
    CU_ASSERT_EQUAL(connect_port(41001), -ECONNREFUSED);

    /* The same tuple anew: the old flow's place is free again. */
    CU_ASSERT_EQUAL(datapath_set_limits(server.dp, 4, 0), 0);
    CU_ASSERT_EQUAL(connect_port(40000), 0);
    expect_n_flows(&server, 3);
    bpf_map_lookup_elem(fd, &key, &n);
    CU_ASSERT_EQUAL(n, 3);

    abort_port(40000);
    abort_port(40002);
    abort_port(41000);
    expect_n_flows(&server, 0);
    CU_ASSERT_EQUAL(map_count(server.dp->skeleton->maps.sal_limits), 0);
    tear_down();
}

static void
test_service_limit(void)
{
    set_up();
    CU_ASSERT_EQUAL(connect_port(39999), 0); /* Before there is a limit. */
    CU_ASSERT_EQUAL(datapath_set_limits(server.dp, 0, 2), 0);
    CU_ASSERT_EQUAL(connect_port(40000), 0);
    CU_ASSERT_EQUAL(connect_port(40001), 0);
    CU_ASSERT_EQUAL(connect_port(40002), -ECONNREFUSED);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_SERVICE_LIMIT), 1);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_CLIENT_LIMIT), 0);
    abort_port(39999); /* Was not counted, so is not taken away. */
    CU_ASSERT_EQUAL(connect_port(40002), -ECONNREFUSED);
    CU_ASSERT_EQUAL(datapath_set_limits(server.dp, 0, 0), 0);
    CU_ASSERT_EQUAL(connect_port(40002), 0);
    abort_port(40000);
    abort_port(40001);
    abort_port(40002);
    CU_ASSERT_EQUAL(map_count(server.dp->skeleton->maps.sal_limits), 0);
    tear_down();
}

/* The table of bound flows has 16 places: what does not fit is refused, and
 * what the limits count stays right. */
static void
test_table_full(void)
{
    set_up();
    CU_ASSERT_EQUAL(datapath_set_limits(server.dp, 100, 100), 0);
    uint16_t port = 40000;
    for (; port < 40016; port++) {
        CU_ASSERT_EQUAL(connect_port(port), 0);
    }
    expect_n_flows(&server, 16);
    struct segment syn = client_syn;
    struct frame f;
    syn.sport = port;
    build_inner(&f, &syn);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    resolve_to(&f, LOC_S);
    run_ingress(&server, &f);
    struct segment syn_ack = *server_syn_ack(ID_S);
    syn_ack.dport = port;
    build_inner(&f, &syn_ack);
    run_egress(&server, &f);
    memset(f.data, 0, 12);
    run_ingress(&client, &f); /* Its table is full, too. */
    CU_ASSERT_EQUAL(f.data[42 + 2], SAL_TYPE_RESET);
    CU_ASSERT(counter(&client, SAL_COUNT_FLOW_TABLE_FULL) > 0);
    expect_n_flows(&client, 16);
    expect_n_flows(&server, 16);
    struct sal_limit_key key = {.kind = SAL_LIMIT_SERVICE};
    uint32_t n = 0;
    memcpy(key.who, web.id.bytes, sizeof key.who);
    bpf_map_lookup_elem(bpf_map__fd(server.dp->skeleton->maps.sal_limits),
                        &key, &n);
    CU_ASSERT_EQUAL(n, 16);
    tear_down();
}

/* Half-open flows of before, bound ones, new ones: nobody notices. */
static void
test_key_rotation(void)
{
    struct sal_settings before, after;
    struct sal_flow ours, theirs, now;
    struct frame syn;
    set_up();
    connect_hosts(&ours, &theirs);
    datapath_get_settings(client.dp, &before);
    struct segment second = client_syn;
    second.sport = 40001;
    build_inner(&syn, &second);
    CU_ASSERT_EQUAL(run_egress(&client, &syn), TC_ACT_REDIRECT);
    resolve_to(&syn, LOC_S);

    CU_ASSERT_EQUAL(datapath_rotate_key(client.dp), 0);
    CU_ASSERT_EQUAL(datapath_rotate_key(server.dp), 0);
    datapath_get_settings(client.dp, &after);
    CU_ASSERT_NOT_EQUAL(before.hash_key[0], after.hash_key[0]);
    CU_ASSERT_NOT_EQUAL(before.hash_key[1], after.hash_key[1]);
    memcpy(after.hash_key, before.hash_key, sizeof after.hash_key);
    CU_ASSERT_EQUAL(memcmp(&before, &after, sizeof before), 0);

    uint32_t id = ours.id;
    CU_ASSERT_EQUAL(bpf_map_lookup_elem(bpf_map__fd(FLOWS(&client)), &id,
                                        &now), 0);
    CU_ASSERT_EQUAL(now.nonce, ours.nonce);
    struct segment data = client_syn;
    struct frame f;
    data.flags = PSH | ACK;
    data.payload = "payload";
    build_inner(&f, &data);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);

    /* The SYN made with the old key is answered and bound. */
    CU_ASSERT_EQUAL(run_ingress(&server, &syn), TC_ACT_REDIRECT);
    struct segment syn_ack = *server_syn_ack(ID_S);
    syn_ack.dport = 40001;
    build_inner(&f, &syn_ack);
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(map_count(FLOWS(&client)), 2);
    CU_ASSERT_EQUAL(connect_port(40002), 0);
    tear_down();
}

static struct segment
datagram(bool of_server, int i)
{
    static char payload[16];
    snprintf(payload, sizeof payload, "%d", i);
    return of_server
           ? (struct segment) {.src = ID_S, .dst = ID_C, .sport = 9953,
                               .dport = 40053, .udp = true,
                               .payload = payload}
           : (struct segment) {.src = ID_C, .dst = WEB, .sport = 40053,
                               .dport = 53, .udp = true, .payload = payload};
}

/* One datagram each way. */
static void
ask_and_answer(int i)
{
    struct segment s = datagram(false, i);
    struct frame f;
    build_inner(&f, &s);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    resolve_to(&f, LOC_S);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    s = datagram(true, i);
    build_inner(&f, &s);
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
}

/* UDP: what goes on is kept where no flood reaches, and forgotten when it has
 * fallen silent. */
static void
test_udp_kept_and_swept(void)
{
    struct sal_flow flow;
    test_device();
    set_up();
    struct local_target dns = {.prefix = web, .protocol = 17,
                               .service_port = 53, .port = 9953};
    host_tables_put_target(&server.tables, &dns);
    host_apply(&server);
    ask_and_answer(0);
    expect_n_flows(&client, 0);
    expect_n_flows(&server, 0);
    for (int i = 1; i < 20; i++) {
        ask_and_answer(i);
    }
    expect_n_flows(&client, 1);
    expect_n_flows(&server, 1);
    CU_ASSERT_EQUAL(map_count(TUPLES(&client)), 1);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 0);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&server)), 0);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_FLOW_KEPT), 1);
    CU_ASSERT_TRUE_FATAL(only_flow(FLOWS(&server), &flow));
    CU_ASSERT_EQUAL(flow.in_packets, 20);
    CU_ASSERT_EQUAL(flow.out_packets, 20);

    /* SYNs from everywhere push out what is half open, not this. */
    for (uint32_t i = 0; i < 20000; i++) {
        struct segment syn = {.src = 0x64500000 + i, .dst = WEB,
                              .sport = 1000 + i % 60000, .dport = 53,
                              .udp = true, .payload = "flood"};
        struct sal_packet p = {.src = 0x0a100000 + i, .dst = LOC_S,
                               .entropy = 50000, .type = SAL_TYPE_SYN,
                               .src_flow = i + 1, .udp = true,
                               .service_id = web.id.bytes,
                               .endpoint_id
                               = client.tables.settings.endpoint_id};
        struct frame f;
        build_sal(&f, &p, &syn);
        run_ingress(&server, &f);
    }
    CU_ASSERT(map_count(HALF_FLOWS(&server)) <= 16384);
    expect_n_flows(&server, 1);
    ask_and_answer(20);

    CU_ASSERT_TRUE(only_flow(FLOWS(&server), &flow));
    CU_ASSERT_EQUAL(flow.in_packets, 21);
    /* Not idle since before its last packet; idle since after. */
    CU_ASSERT_EQUAL(datapath_sweep(server.dp, flow.last_in_ns, &flow.id, 1),
                    0);
    expect_n_flows(&server, 1);
    uint32_t ids[2000];
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        ids[i] = i == 1500 ? flow.id : ~flow.id + i;
    }
    CU_ASSERT_EQUAL(datapath_sweep(server.dp, UINT64_MAX, ids,
                                   ARRAY_SIZE(ids)), 1);
    expect_n_flows(&server, 0);
    CU_ASSERT_EQUAL(map_count(TUPLES(&server)), 0);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_FLOW_IDLE), 1);

    /* Never TCP. */
    CU_ASSERT_EQUAL(connect_port(40000), 0);
    CU_ASSERT_TRUE_FATAL(only_flow(FLOWS(&server), &flow));
    CU_ASSERT_EQUAL(datapath_sweep(server.dp, UINT64_MAX, &flow.id, 1), 0);
    expect_n_flows(&server, 1);
    tear_down();
}

/* Of this process's CPU: whatever else the machine does. */
static double
seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec - start->tv_sec + (now.tv_nsec - start->tv_nsec) / 1e9;
}

/* A hundred thousand idle flows, the few that are busy among them. */
static void
test_many_flows(void)
{
    enum { N = 100000 };
    struct host many;
    struct timespec start;
    uint8_t *seen = xzalloc(N);
    size_t n, total = 0, batches = 0;
    const struct sal_flow *flows;

    host_init(&many, LOC_C, ID_C, N);
    CU_ASSERT_EQUAL_FATAL(fill_flows(many.dp, N), 0);
    CU_ASSERT_EQUAL(datapath_n_flows(many.dp), N);

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    struct flow_top *top = flow_top_create(3);
    struct flow_cursor *cursor = flow_cursor_open(many.dp);
    while ((n = flow_cursor_next(cursor, &flows))) {
        for (size_t i = 0; i < n; i++) {
            uint32_t number = ntohl(flows[i].id) - 0x80000000u;
            CU_ASSERT_TRUE_FATAL(number < N);
            seen[number]++;
            flow_top_before(top, &flows[i]);
        }
        total += n;
        batches++;
    }
    flow_cursor_close(cursor);
    fprintf(stderr, "%zu flows in %zu batches, %.3f s; ", total, batches,
            seconds_since(&start));
    CU_ASSERT_EQUAL(total, N);
    CU_ASSERT(batches > 50); /* The loop is asked in between. */
    for (size_t i = 0; i < N; i++) {
        CU_ASSERT_EQUAL_FATAL(seen[i], 1);
    }
    flow_top_destroy(top);
    free(seen);

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    struct ds out = DS_EMPTY_INITIALIZER;
    datapath_format_status(many.dp, true, &out);
    fprintf(stderr, "status %.3f s\n", seconds_since(&start));
    struct json *json = json_from_string(ds_cstr(&out));
    CU_ASSERT_EQUAL(json_integer(shash_find_data(json_object(json), "flows")),
                    N);
    json_destroy(json);
    ds_destroy(&out);

    /* By tuple, without a walk. */
    struct sal_flow flow, found;
    fill_flow(77777, 0, &flow);
    CU_ASSERT_EQUAL(datapath_flow_by_tuple(many.dp, &flow.local, &found), 0);
    CU_ASSERT_EQUAL(found.id, flow.id);
    flow.local.lport ^= 1;
    flow.local.proto = IPPROTO_UDP;
    CU_ASSERT_EQUAL(datapath_flow_by_tuple(many.dp, &flow.local, &found),
                    -ENOENT);
    host_destroy(&many);
}

/* What is installed is read in time that grows as the tables do. */
static void
test_many_addresses(void)
{
    enum { N = 100000 };
    struct host many;
    struct timespec start;
    struct host_tables installed;

    host_init(&many, LOC_C, ID_C, 1024);
    int fd = bpf_map__fd(many.dp->skeleton->maps.sal_addresses);
    for (uint32_t i = 0; i < N; i++) {
        struct sal_service_value value;
        struct sal_addr key;
        memset(&value, 0, sizeof value);
        memcpy(value.service_id, &i, sizeof i);
        addr_from_host_v4(&key, 0xc6120000 + i);
        CU_ASSERT_EQUAL_FATAL(bpf_map_update_elem(fd, &key, &value, BPF_ANY),
                              0);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    CU_ASSERT_EQUAL(datapath_installed(many.dp, &installed), 0);
    double took = seconds_since(&start);
    fprintf(stderr, "%d addresses in %.3f s\n", N, took);
    CU_ASSERT(took < 2); /* 0.1 s; one by one it was 4 s. */
    CU_ASSERT_EQUAL(installed.n_addresses, N);
    for (uint32_t i = 0; i < N; i++) {
        struct sal_addr address;
        addr_from_host_v4(&address, 0xc6120000 + i);
        CU_ASSERT_EQUAL_FATAL(memcmp(&installed.addresses[i].address, &address,
                                     sizeof address), 0);
    }
    host_tables_destroy(&installed);
    host_destroy(&many);
}

UNIT_MAIN("sal_limits", UNIT_TEST(test_client_limit),
          UNIT_TEST(test_service_limit), UNIT_TEST(test_table_full),
          UNIT_TEST(test_key_rotation), UNIT_TEST(test_udp_kept_and_swept),
          UNIT_TEST(test_many_flows), UNIT_TEST(test_many_addresses))
