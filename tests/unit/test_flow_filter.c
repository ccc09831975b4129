/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "agents/flow_filter.h"
#include "agents/flow_top.h"
#include "openvswitch/json.h"

static struct json *flows;
static struct names names;

/* One flow as the data plane dumps it. */
static struct json *
make_flow(const char *role, const char *peer, int port, const char *service)
{
    struct service_prefix prefix;
    char id[SERVICE_PREFIX_STRLEN];
    struct json *flow = json_object_create(), *inner = json_object_create();
    service_prefix_from_name(service, &prefix);
    prefix.len = 256;
    json_object_put_string(flow, "id", "0x00000001");
    json_object_put_string(flow, "state", "bound");
    json_object_put_string(flow, "role", role);
    json_object_put_string(flow, "peer_locator", peer);
    json_object_put_string(flow, "own_locator", "10.0.0.1");
    json_object_put_string(flow, "service",
                           service_prefix_format(&prefix, id));
    json_object_put_string(inner, "local", "100.64.0.1");
    json_object_put_string(inner, "remote", "198.18.0.1");
    json_object_put(inner, "local_port", json_integer_create(40000));
    json_object_put(inner, "remote_port", json_integer_create(port));
    json_object_put(inner, "protocol", json_integer_create(6));
    json_object_put(flow, "inner", inner);
    json_object_put(flow, "age_ms", json_integer_create(1500));
    return flow;
}

static void
setup(void)
{
    struct service_prefix prefix;
    names_init(&names);
    service_prefix_from_name("web.shop.acme", &prefix);
    names_put(&names, "web.shop.acme", &prefix, 0xc6120001);
    flows = json_array_create_empty();
    json_array_add(flows, make_flow("client", "10.0.0.2", 80,
                                    "web.shop.acme"));
    json_array_add(flows, make_flow("client", "10.0.0.3", 443,
                                    "web.shop.acme"));
    json_array_add(flows, make_flow("server", "10.0.0.3", 80, "db.acme"));
}

static size_t
count(const char *a, const char *b)
{
    const char *argv[] = {"--count", a, b};
    struct flow_filter filter;
    struct ds out = DS_EMPTY_INITIALIZER;
    char *error = flow_filter_parse(b ? 3 : a ? 2 : 1, argv, &filter);
    CU_ASSERT_PTR_NULL_FATAL(error);
    flow_filter_print(&filter, flows, &names, false, &out);
    size_t n = strtoul(ds_cstr(&out), NULL, 10);
    ds_destroy(&out);
    return n;
}

static void
test_filters(void)
{
    CU_ASSERT_EQUAL(count(NULL, NULL), 3);
    CU_ASSERT_EQUAL(count("role=client", NULL), 2);
    CU_ASSERT_EQUAL(count("peer=10.0.0.3", NULL), 2);
    CU_ASSERT_EQUAL(count("peer=10.0.0.3", "role=client"), 1);
    CU_ASSERT_EQUAL(count("port=80", NULL), 2);
    CU_ASSERT_EQUAL(count("port=40000", NULL), 3);
    CU_ASSERT_EQUAL(count("state=half-open", NULL), 0);
    CU_ASSERT_EQUAL(count("address=198.18.0.1", NULL), 3);
    CU_ASSERT_EQUAL(count("address=100.64.0.1", NULL), 3);
    CU_ASSERT_EQUAL(count("address=100.64.0.2", NULL), 0);
    CU_ASSERT_EQUAL(count("service=web.shop.acme", NULL), 2);
    CU_ASSERT_EQUAL(count("service=acme", NULL), 3);
    CU_ASSERT_EQUAL(count("service=other", NULL), 0);
    CU_ASSERT_EQUAL(count("proto=udp", NULL), 0);
    CU_ASSERT_EQUAL(count("proto=tcp", NULL), 3);
}

static void
test_bad_filters(void)
{
    static const char *const bad[] = {
        "", "x", "x=y", "=", "port=0", "port=65536", "port=http", "role=boss",
        "proto=sctp", "service=A", "--counts", "state"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct flow_filter filter;
        char *error = flow_filter_parse(1, &bad[i], &filter);
        CU_ASSERT_PTR_NOT_NULL(error);
        free(error);
    }
}

static void
test_output(void)
{
    static const char *const argv[] = {"role=client"};
    struct flow_filter filter;
    struct ds out = DS_EMPTY_INITIALIZER;
    CU_ASSERT_PTR_NULL(flow_filter_parse(1, argv, &filter));
    flow_filter_print(&filter, flows, &names, false, &out);
    CU_ASSERT_PTR_NOT_NULL(strstr(
        ds_cstr(&out), "bound     tcp 100.64.0.1:40000 -> 198.18.0.1:80 "
        "peer 10.0.0.2 via 10.0.0.1 endpoint - age 1.5s"));
    CU_ASSERT_PTR_NOT_NULL(strstr(ds_cstr(&out), " web.shop.acme\n"));
    ds_clear(&out);
    flow_filter_print(&filter, flows, &names, true, &out);
    struct json *json = json_from_string(ds_cstr(&out));
    CU_ASSERT_EQUAL_FATAL(json->type, JSON_ARRAY);
    CU_ASSERT_EQUAL(json->array.n, 2);
    CU_ASSERT_TRUE(json_equal(json->array.elems[0], flows->array.elems[0]));
    json_destroy(json);
    ds_destroy(&out);

    /* As libsal asks. */
    ds_init(&out);
    CU_ASSERT_TRUE(flow_filter_print_peer(flows, "100.64.0.1:40000",
                                          "198.18.0.1:443", &out));
    CU_ASSERT_EQUAL(strncmp(ds_cstr(&out), "identity 198.18.0.1 locator "
                            "10.0.0.3 role client state bound service 0x",
                            71), 0);
    CU_ASSERT_FALSE(flow_filter_print_peer(flows, "100.64.0.1:40000",
                                           "198.18.0.1:81", &out));
    ds_destroy(&out);

    /* A dump that is not what we expect prints nothing, and harms nothing. */
    struct json *odd = json_from_string("[1, {}, {\"inner\": 3}, null]");
    flow_filter_parse(0, NULL, &filter);
    ds_init(&out);
    flow_filter_print(&filter, odd, &names, false, &out);
    ds_destroy(&out);
    json_destroy(odd);
    json_destroy(flows);
    names_destroy(&names);
}

/* Flow 'id' that has carried 'bytes' in 'packets'. */
static struct json *
busy(const char *id, int bytes, int packets)
{
    struct json *flow = make_flow("client", "10.0.0.2", 80, "web.shop.acme");
    json_object_put_string(flow, "id", id);
    json_object_put(flow, "in_bytes", json_integer_create(bytes));
    json_object_put(flow, "in_packets", json_integer_create(packets));
    return flow;
}

static void
test_top(void)
{
    struct json *before = json_array_create_empty();
    struct json *after = json_array_create_empty();
    struct ds out = DS_EMPTY_INITIALIZER;
    json_array_add(before, busy("idle", 9000000, 900));
    json_array_add(before, busy("slow", 1000, 10));
    json_array_add(before, busy("reused", 5000, 50));
    json_array_add(after, busy("idle", 9000000, 900));
    json_array_add(after, busy("slow", 2000, 20));
    json_array_add(after, busy("new", 125000, 100));
    json_array_add(after, busy("reused", 4000, 40));

    struct flow_top *top = flow_top_create(before);
    flow_top_print(top, after, 500, 10, &names, true, &out);
    struct json *json = json_from_string(ds_cstr(&out));
    CU_ASSERT_EQUAL_FATAL(json->array.n, 3);
    static const struct {
        const char *id;
        long long int bps, pps;
    } expected[] = {{"new", 2000000, 200}, {"reused", 64000, 80},
                    {"slow", 16000, 20}};
    for (size_t i = 0; i < 3; i++) {
        struct shash *flow = json->array.elems[i]->object;
        struct json *id = shash_find_data(flow, "id");
        struct json *bps = shash_find_data(flow, "bits_per_second");
        struct json *pps = shash_find_data(flow, "packets_per_second");
        CU_ASSERT_STRING_EQUAL(id->string, expected[i].id);
        CU_ASSERT_EQUAL(bps->integer, expected[i].bps);
        CU_ASSERT_EQUAL(pps->integer, expected[i].pps);
    }
    json_destroy(json);
    ds_clear(&out);

    flow_top_print(top, after, 500, 1, &names, false, &out);
    CU_ASSERT_PTR_NOT_NULL(strstr(ds_cstr(&out), "3 of 4 flows busy\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(ds_cstr(&out), "2.000 Mbit/s"));
    CU_ASSERT_PTR_NULL(strstr(ds_cstr(&out), "slow"));
    ds_destroy(&out);
    flow_top_destroy(top);
    json_destroy(before);
    json_destroy(after);
}

UNIT_MAIN("flow_filter", UNIT_TEST(setup), UNIT_TEST(test_filters),
          UNIT_TEST(test_bad_filters), UNIT_TEST(test_top),
          UNIT_TEST(test_output))
