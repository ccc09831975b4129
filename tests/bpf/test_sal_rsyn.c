/* SPDX-License-Identifier: Apache-2.0 */
/* A service router sends an RSYN on to where the endpoint is that it is for,
 * over IPv4 and IPv6, byte by byte: only the outer destination, TTL, UDP
 * checksum and the count of hops change, and its MAC stays right. */
#include "agents/migration_message.h"
#include "tests/bpf/bpf_pair.h"

#define LOC_R 0x0a000009
#define ID_R 0x64400009
#define RSYN_LEN 204

static const uint8_t locators[][16] = {
    {0x20, 1, 0xd, 0xb8, [15] = 1}, /* Of the mover, */
    {0x20, 1, 0xd, 0xb8, [15] = 2}, /* of its peer, */
    {0x20, 1, 0xd, 0xb8, [15] = 9}, /* of the router. */
};
static const uint8_t key[IDENTITY_SESSION_KEY_LEN] = {1, 2, 3};
static const uint8_t mover_id[SAL_ENDPOINT_ID_LEN] = {0xaa, 0xbb};
static const uint8_t peer_id[SAL_ENDPOINT_ID_LEN] = {0xcc, 0xdd};

static struct host router;
static struct service_prefix peer;

static size_t
ip_len(int v6)
{
    return v6 ? 40 : 20;
}

static size_t
sal_at(int v6)
{
    return 14 + ip_len(v6) + 8;
}

static void
put_hop_at(const struct service_prefix *prefix, const void *address)
{
    struct service_hop hop = {.prefix = *prefix, .weight = 1};
    memcpy(hop.locator, address, sizeof hop.locator);
    host_tables_put_hop(&router.tables, &hop);
}

static void
put_hop_v4(const struct service_prefix *prefix, uint32_t address)
{
    struct in6_addr in6 = mapped(address);
    put_hop_at(prefix, &in6);
}

static void
set_up_router(void)
{
    struct service_prefix root = {.len = 0};
    struct sal_settings settings;
    uint32_t ifindex = 1;

    test_device();
    service_prefix_of_endpoint(peer_id, &peer);
    host_init(&router, LOC_R, ID_R, 16);
    router.tables.settings.resolver_v4 = RESOLVER;
    router.tables.settings.router = true;
    put_rule(&router, &root, SERVICE_FORWARD);
    put_rule(&router, &peer, SERVICE_FORWARD);
    put_hop_v4(&peer, LOC_S);
    host_apply(&router);
    datapath_get_settings(router.dp, &settings);
    settings.uplink_ifindex_v6 = 1;
    memcpy(&settings.locator_v6, locators[2], 16);
    datapath_put_settings(router.dp, &settings);
    bpf_map_update_elem(bpf_map__fd(router.dp->skeleton->maps.sal_locators),
                        locators[2], &ifindex, BPF_ANY);
}

/* The SAL part: by the mover, for the endpoint 'receiver'. */
static void
put_rsyn(struct frame *f, const uint8_t *receiver)
{
    struct migration_message message = {
        .signal = {.kind = MIGRATION_RSYN, .mac = true, .nonce = 5},
        .seq = 7, .group = 3, .part = 1, .parts = 1};
    uint8_t packet[SAL_MAX_HEADER_LEN];

    migration_locator_from_v4(LOC_C, &message.signal.locator);
    memcpy(message.sender, mover_id, sizeof mover_id);
    memcpy(message.receiver, receiver, SAL_ENDPOINT_ID_LEN);
    CU_ASSERT_EQUAL_FATAL(migration_message_build(&message, key, packet),
                          RSYN_LEN);
    put_bytes(f, packet, RSYN_LEN);
}

static struct frame
rsyn(int v6, const uint8_t *receiver, uint32_t dst)
{
    struct frame f;

    put_ethernet(&f, no_mac);
    if (v6) {
        set16(&f, 12, 0x86dd);
        put32(&f, 6u << 28);
        put16(&f, 8 + RSYN_LEN);
        put16(&f, 17 << 8 | 64);
        put_bytes(&f, locators[0], 16);
        put_bytes(&f, locators[2], 16);
    } else {
        put_ipv4(&f, LOC_C, dst, 17, 28 + RSYN_LEN, 0);
    }
    put16(&f, SAL_UDP_PORT);
    put16(&f, SAL_UDP_PORT);
    put16(&f, 8 + RSYN_LEN);
    put16(&f, 0);
    put_rsyn(&f, receiver);
    return f;
}

static void
mend_sal(struct frame *f, int v6)
{
    size_t ofs = sal_at(v6);
    set16(f, ofs + 14, 0);
    set16(f, ofs + 14, test_checksum(f->data + ofs, RSYN_LEN, 0));
}

static void
set_rsyn_hops(struct frame *f, int v6, unsigned int hops)
{
    f->data[sal_at(v6) + 12] = hops << 5;
    mend_sal(f, v6);
}

/* 'f' as the router is to send it to 'dst'. */
static struct frame
relayed(const struct frame *f, int v6, const void *dst, unsigned int hops)
{
    struct frame want = *f;

    memcpy(want.data + (v6 ? 38 : 30), dst, v6 ? 16 : 4);
    want.data[v6 ? 21 : 22]--;
    if (!v6) {
        set16(&want, 24, 0);
        set16(&want, 24, test_checksum(want.data + 14, 20, 0));
    }
    set16(&want, sal_at(v6) - 2, 0); /* UDP checksum. */
    set_rsyn_hops(&want, v6, hops);
    return want;
}

/* The RSYN in 'f' is still the mover's. */
static bool
is_authentic(const struct frame *f, int v6)
{
    struct migration_message message;
    const uint8_t *packet = f->data + sal_at(v6);

    return !migration_message_parse(packet, RSYN_LEN, &message)
           && migration_message_authentic(&message, packet, RSYN_LEN, key);
}

static void
expect_relayed(const struct frame *in, int v6, const void *dst,
               unsigned int hops)
{
    struct frame f = *in, want = relayed(in, v6, dst, hops);

    CU_ASSERT_EQUAL(run_ingress(&router, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    CU_ASSERT_TRUE(is_authentic(&f, v6));
}

/* To its own address, and to the resolver's. */
static void
test_relayed(void)
{
    const uint8_t to[4] = {10, 0, 0, 2};

    set_up_router();
    for (unsigned int hops = 0; hops < 3; hops++) {
        struct frame f = rsyn(0, peer_id, hops ? RESOLVER : LOC_R);
        set_rsyn_hops(&f, 0, hops);
        CU_ASSERT_TRUE(is_authentic(&f, 0));
        expect_relayed(&f, 0, to, hops + 1);
    }
    CU_ASSERT_EQUAL(counter(&router, SAL_COUNT_IN_RSYN_ROUTED), 3);
    CU_ASSERT_EQUAL(counter(&router, SAL_COUNT_IN_ROUTED), 0);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&router)), 0);
    host_destroy(&router);
}

static void
test_relayed_v6(void)
{
    set_up_router();
    struct in6_addr old = mapped(LOC_S);
    struct service_hop hop = {.prefix = peer};
    memcpy(hop.locator, &old, sizeof hop.locator);
    CU_ASSERT_TRUE(host_tables_remove_hop(&router.tables, &hop));
    put_hop_at(&peer, locators[1]);
    host_apply(&router);

    struct frame f = rsyn(1, peer_id, 0);
    expect_relayed(&f, 1, locators[1], 1);

    /* No way from one version of IP to the other. */
    f = rsyn(0, peer_id, LOC_R);
    CU_ASSERT_EQUAL(run_ingress(&router, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&router, SAL_COUNT_IN_NO_WAY), 1);
    host_destroy(&router);
}

/* The places where the endpoint may be take turns: sent twice, an RSYN has
 * been to both. */
static void
test_turns(void)
{
    int last = 0, in_a_row = 0;

    set_up_router();
    put_hop_v4(&peer, LOC_T);
    host_apply(&router);
    for (int i = 0; i < 100; i++) {
        struct frame f = rsyn(0, peer_id, LOC_R);
        CU_ASSERT_EQUAL(run_ingress(&router, &f), TC_ACT_REDIRECT);
        int to = f.data[33];
        CU_ASSERT(to == 2 || to == 3);
        in_a_row = to == last ? in_a_row + 1 : 1;
        last = to;
        CU_ASSERT(in_a_row <= 2);
    }
    host_destroy(&router);
}

/* Nothing is answered, whatever is refused. */
static void
test_refused(void)
{
    set_up_router();
    struct frame f = rsyn(0, peer_id, LOC_R);
    set_rsyn_hops(&f, 0, 3);
    CU_ASSERT_EQUAL(run_ingress(&router, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&router, SAL_COUNT_IN_HOP_LIMIT), 1);

    f = rsyn(0, peer_id, LOC_R);
    f.data[22] = 1; /* TTL. */
    set16(&f, 24, 0);
    set16(&f, 24, test_checksum(f.data + 14, 20, 0));
    CU_ASSERT_EQUAL(run_ingress(&router, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&router, SAL_COUNT_IN_HOP_LIMIT), 2);

    f = rsyn(0, peer_id, LOC_R);
    f.data[sal_at(0) + 100] ^= 1;
    CU_ASSERT_EQUAL(run_ingress(&router, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&router, SAL_COUNT_IN_CHECKSUM), 1);

    f = rsyn(0, peer_id, LOC_R);
    f.data[sal_at(0) + 1] = 8; /* Ends before the service ID. */
    CU_ASSERT_EQUAL(run_ingress(&router, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&router, SAL_COUNT_IN_HEADER_LEN), 1);

    /* What would come back to the router itself. */
    struct service_prefix here;
    static const uint8_t id[SAL_ENDPOINT_ID_LEN] = {0xee};
    service_prefix_of_endpoint(id, &here);
    put_rule(&router, &here, SERVICE_FORWARD);
    put_hop_v4(&here, LOC_R);
    host_apply(&router);
    f = rsyn(0, id, LOC_R);
    CU_ASSERT_EQUAL(run_ingress(&router, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&router, SAL_COUNT_IN_NO_WAY), 1);
    CU_ASSERT_EQUAL(counter(&router, SAL_COUNT_OUT_RESET), 0);
    CU_ASSERT_EQUAL(counter(&router, SAL_COUNT_IN_RSYN_ROUTED), 0);
    host_destroy(&router);
}

static void
expect_passed(struct host *host, const struct frame *in)
{
    struct frame f = *in;

    CU_ASSERT_EQUAL(run_ingress(host, &f), TC_ACT_UNSPEC);
    CU_ASSERT_TRUE(frame_equal(&f, in, 0));
}

/* Its daemon gets what is for the router itself, though a rule covers that,
 * and what is for nobody known; who is no router gets all. */
static void
test_passed(void)
{
    static const uint8_t unknown_id[SAL_ENDPOINT_ID_LEN] = {0xee};
    struct service_prefix endpoints;

    set_up_router();
    struct frame f = rsyn(0, unknown_id, LOC_R);
    expect_passed(&router, &f);

    service_prefix_of_endpoint(peer_id, &endpoints);
    endpoints.len = 64;
    service_prefix_normalize(&endpoints);
    put_rule(&router, &endpoints, SERVICE_FORWARD);
    put_hop_v4(&endpoints, LOC_T);
    host_apply(&router);
    f = rsyn(0, router.tables.settings.endpoint_id, LOC_R);
    expect_passed(&router, &f);
    CU_ASSERT_EQUAL(counter(&router, SAL_COUNT_IN_PASSED), 2);

    f = rsyn(0, peer_id, LOC_R);
    router.tables.settings.router = false;
    host_apply(&router);
    expect_passed(&router, &f);
    f = rsyn(0, peer_id, LOC_S); /* Routed through us, as IP goes. */
    expect_passed(&router, &f);
    CU_ASSERT_EQUAL(counter(&router, SAL_COUNT_IN_RSYN_ROUTED), 0);
    host_destroy(&router);
}

UNIT_MAIN("sal_rsyn", UNIT_TEST(test_relayed), UNIT_TEST(test_relayed_v6),
          UNIT_TEST(test_turns), UNIT_TEST(test_refused),
          UNIT_TEST(test_passed))
