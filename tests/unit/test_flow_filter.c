/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include "agents/flow_filter.h"
#include "agents/flow_format.h"
#include "agents/flow_top.h"
#include "openvswitch/json.h"
#include "util.h"

#define NOW 10000000000ULL

static struct names names;

static struct sal_addr
addr(const char *text)
{
    struct sal_addr a = {{0}};
    CU_ASSERT_TRUE(sal_addr_parse(text, &a));
    return a;
}

/* A bound flow from 100.64.0.1:40000 to 198.18.0.1. */
static struct sal_flow
make_flow(bool server, const char *peer, int port, const char *service)
{
    struct sal_flow flow;
    struct service_prefix prefix;

    memset(&flow, 0, sizeof flow);
    service_prefix_from_name(service, &prefix);
    memcpy(flow.service_id, prefix.id.bytes, sizeof flow.service_id);
    flow.id = htonl(1);
    flow.state = SAL_FLOW_BOUND;
    flow.flags = server ? SAL_FLOW_SERVER : 0;
    flow.peer_locator = addr(peer);
    flow.own_locator = addr("10.0.0.1");
    flow.local.local = addr("100.64.0.1");
    flow.local.remote = addr("198.18.0.1");
    flow.local.lport = htons(40000);
    flow.local.rport = htons(port);
    flow.local.proto = IPPROTO_TCP;
    flow.wire = flow.local;
    flow.created_ns = NOW - 1500000000;
    return flow;
}

static struct sal_flow flows[4];

static void
setup(void)
{
    struct service_prefix prefix;
    names_init(&names);
    service_prefix_from_name("web.shop.acme", &prefix);
    names_put(&names, "web.shop.acme", &prefix, 0xc6120001);
    flows[0] = make_flow(false, "10.0.0.2", 80, "web.shop.acme");
    flows[1] = make_flow(false, "10.0.0.3", 443, "web.shop.acme");
    flows[2] = make_flow(true, "10.0.0.3", 80, "db.acme");
    flows[3] = make_flow(true, "fd00::3", 53, "db.acme");
    flows[3].local.proto = IPPROTO_UDP;
    flows[3].local.remote = addr("fd00::4");
    flows[3].state = SAL_FLOW_HALF_OPEN;
}

static size_t
count(const char *a, const char *b)
{
    const char *argv[] = {"--count", a, b};
    struct flow_filter filter;
    char *error = flow_filter_parse(b ? 3 : a ? 2 : 1, argv, &filter);
    size_t n = 0;
    CU_ASSERT_PTR_NULL_FATAL(error);
    CU_ASSERT_TRUE(filter.count);
    CU_ASSERT_EQUAL(filter.limit, FLOW_FILTER_LIMIT);
    for (size_t i = 0; i < ARRAY_SIZE(flows); i++) {
        n += flow_filter_matches(&filter, &flows[i]);
    }
    return n;
}

static void
test_filters(void)
{
    CU_ASSERT_EQUAL(count(NULL, NULL), 4);
    CU_ASSERT_EQUAL(count("role=client", NULL), 2);
    CU_ASSERT_EQUAL(count("role=server", NULL), 2);
    CU_ASSERT_EQUAL(count("peer=10.0.0.3", NULL), 2);
    CU_ASSERT_EQUAL(count("peer=fd00::3", NULL), 1);
    CU_ASSERT_EQUAL(count("peer=10.0.0.3", "role=client"), 1);
    CU_ASSERT_EQUAL(count("port=80", NULL), 2);
    CU_ASSERT_EQUAL(count("port=40000", NULL), 4);
    CU_ASSERT_EQUAL(count("state=half-open", NULL), 1);
    CU_ASSERT_EQUAL(count("state=bound", NULL), 3);
    CU_ASSERT_EQUAL(count("state=closing", NULL), 0);
    CU_ASSERT_EQUAL(count("address=198.18.0.1", NULL), 3);
    CU_ASSERT_EQUAL(count("address=fd00:0::4", NULL), 1);
    CU_ASSERT_EQUAL(count("address=100.64.0.1", NULL), 4);
    CU_ASSERT_EQUAL(count("address=100.64.0.2", NULL), 0);
    CU_ASSERT_EQUAL(count("service=web.shop.acme", NULL), 2);
    CU_ASSERT_EQUAL(count("service=acme", NULL), 4);
    CU_ASSERT_EQUAL(count("service=other", NULL), 0);
    CU_ASSERT_EQUAL(count("proto=udp", NULL), 1);
    CU_ASSERT_EQUAL(count("proto=tcp", NULL), 3);

    const char *limit[] = {"--limit", "7", "port=80"};
    struct flow_filter filter;
    CU_ASSERT_PTR_NULL(flow_filter_parse(3, limit, &filter));
    CU_ASSERT_EQUAL(filter.limit, 7);
    CU_ASSERT_EQUAL(filter.port, 80);
    const char *equals[] = {"--limit=1000000"};
    CU_ASSERT_PTR_NULL(flow_filter_parse(1, equals, &filter));
    CU_ASSERT_EQUAL(filter.limit, 1000000);
}

static void
test_bad_filters(void)
{
    static const char *const bad[] = {
        "", "x", "x=y", "=", "port=0", "port=65536", "port=http", "role=boss",
        "proto=sctp", "service=A", "--counts", "state", "state=open",
        "peer=x", "address=1.2.3", "--limit", "--limit=0", "--limit=1000001"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct flow_filter filter;
        char *error = flow_filter_parse(1, &bad[i], &filter);
        CU_ASSERT_PTR_NOT_NULL(error);
        free(error);
    }
}

static const char *
string_of(const struct json *object, const char *key)
{
    return json_string(shash_find_data(json_object(object), key));
}

static void
test_output(void)
{
    struct ds out = DS_EMPTY_INITIALIZER;
    flow_put_text(&flows[0], &names, NOW, &out);
    CU_ASSERT_STRING_EQUAL(
        ds_cstr(&out), "0x00000001 bound     tcp 100.64.0.1:40000 -> "
        "198.18.0.1:80 peer 10.0.0.2 via 10.0.0.1 endpoint - age 1.5s "
        "in 0/0 out 0/0 web.shop.acme\n");
    ds_clear(&out);
    flow_put_text(&flows[3], NULL, NOW, &out);
    CU_ASSERT_PTR_NOT_NULL(strstr(
        ds_cstr(&out), "half-open udp 100.64.0.1:40000 <- [fd00::4]:53 peer "
        "fd00::3 "));
    ds_clear(&out);

    struct json *json = flow_to_json(&flows[1], NOW);
    CU_ASSERT_STRING_EQUAL(string_of(json, "id"), "0x00000001");
    CU_ASSERT_STRING_EQUAL(string_of(json, "role"), "client");
    CU_ASSERT_STRING_EQUAL(string_of(json, "peer_locator"), "10.0.0.3");
    CU_ASSERT_STRING_EQUAL(string_of(json, "peer_endpoint"), "");
    json_destroy(json);

    /* As libsal asks. */
    struct sal_flow flow = flows[2];
    memset(flow.peer_endpoint, 0xab, sizeof flow.peer_endpoint);
    flow_put_peer(&flow, &out);
    CU_ASSERT_EQUAL(strncmp(ds_cstr(&out), "identity 198.18.0.1 locator "
                            "10.0.0.3 role server state bound service 0x",
                            71), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(ds_cstr(&out), " endpoint abababababababab"
                                  "abababababababab\n"));
    ds_destroy(&out);
    names_destroy(&names);
}

/* Flow 'id' that has carried 'bytes' in 'packets'. */
static struct sal_flow
busy(uint32_t id, uint64_t bytes, uint64_t packets)
{
    struct sal_flow flow = flows[0];
    flow.id = htonl(id);
    flow.in_bytes = bytes;
    flow.in_packets = packets;
    return flow;
}

enum { IDLE = 1, SLOW, REUSED, NEW };

static void
test_top(void)
{
    const struct sal_flow before[] = {
        busy(IDLE, 9000000, 900), busy(SLOW, 1000, 10),
        busy(REUSED, 5000, 50)};
    const struct sal_flow after[] = {
        busy(IDLE, 9000000, 900), busy(SLOW, 2000, 20),
        busy(NEW, 125000, 100), busy(REUSED, 4000, 40)};
    const struct flow_top_times times = {.interval_ms = 500, .now_ns = NOW};

    for (size_t wanted = 1; wanted <= 10; wanted++) {
        struct flow_top *top = flow_top_create(wanted);
        struct ds out = DS_EMPTY_INITIALIZER;
        for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
            flow_top_before(top, &before[i]);
        }
        for (size_t i = 0; i < ARRAY_SIZE(after); i++) {
            flow_top_after(top, &after[i]);
        }
        if (wanted == 1) {
            flow_top_print(top, &times, &names, false, &out);
            CU_ASSERT_PTR_NOT_NULL(strstr(ds_cstr(&out),
                                          "3 of 4 flows busy\n"));
            CU_ASSERT_PTR_NOT_NULL(strstr(ds_cstr(&out), "2.000 Mbit/s"));
            CU_ASSERT_PTR_NULL(strstr(ds_cstr(&out), "0x00000002"));
        } else {
            static const struct {
                const char *id;
                long long int bps, pps;
            } expected[] = {{"0x00000004", 2000000, 200},
                            {"0x00000003", 64000, 80},
                            {"0x00000002", 16000, 20}};
            flow_top_print(top, &times, &names, true, &out);
            struct json *json = json_from_string(ds_cstr(&out));
            CU_ASSERT_EQUAL_FATAL(json->array.n, MIN(wanted, 3));
            for (size_t i = 0; i < json->array.n; i++) {
                struct json *flow = json->array.elems[i];
                struct shash *o = json_object(flow);
                CU_ASSERT_STRING_EQUAL(string_of(flow, "id"), expected[i].id);
                CU_ASSERT_EQUAL(json_integer(shash_find_data(
                                    o, "bits_per_second")), expected[i].bps);
                CU_ASSERT_EQUAL(json_integer(shash_find_data(
                                    o, "packets_per_second")),
                                expected[i].pps);
            }
            json_destroy(json);
        }
        ds_destroy(&out);
        flow_top_destroy(top);
    }
}

static int
compare_u64(const void *a_, const void *b_)
{
    const uint64_t *a = a_, *b = b_;
    return *a > *b ? -1 : *a < *b;
}

/* The heap against sorting everything. */
static void
test_top_random(void)
{
    enum { N = 2000, WANTED = 37 };
    const struct flow_top_times times = {.interval_ms = 1000, .now_ns = NOW};
    struct flow_top *top = flow_top_create(WANTED);
    struct ds out = DS_EMPTY_INITIALIZER;
    static uint64_t bytes[N];

    for (uint32_t i = 0; i < N; i++) {
        struct sal_flow flow = busy(i + 1, 1000, 10);
        flow_top_before(top, &flow);
    }
    for (uint32_t i = 0; i < N; i++) {
        bytes[i] = unit_random_below(1000000);
        struct sal_flow flow = busy(i + 1, 1000 + bytes[i], 11);
        flow_top_after(top, &flow);
    }
    qsort(bytes, N, sizeof bytes[0], compare_u64);
    flow_top_print(top, &times, &names, true, &out);
    struct json *json = json_from_string(ds_cstr(&out));
    CU_ASSERT_EQUAL_FATAL(json->array.n, WANTED);
    for (size_t i = 0; i < WANTED; i++) {
        CU_ASSERT_EQUAL(json_integer(shash_find_data(
                            json_object(json->array.elems[i]),
                            "bits_per_second")), bytes[i] * 8);
    }
    json_destroy(json);
    ds_destroy(&out);
    flow_top_destroy(top);
}

UNIT_MAIN("flow_filter", UNIT_TEST(setup), UNIT_TEST(test_filters),
          UNIT_TEST(test_bad_filters), UNIT_TEST(test_top),
          UNIT_TEST(test_top_random), UNIT_TEST(test_output))
