/* SPDX-License-Identifier: Apache-2.0 */
/* The eBPF data plane (agents/bpf/), compiled for the host.  An input is a
 * sequence of packets and socket events that one host gets:
 *
 *     action (1 byte) | length (2, little endian) | frame or event
 *
 * The host has flows of each kind; their IDs, tuples and nonces are below, so
 * that the corpus (made by corpus_bpf.py) hits them.  What must hold:
 * nothing outside the packet and the maps is touched, whatever is dropped is
 * counted, what leaves is well-formed, and no bound flow changes its peer.
 *
 * With SALIENT_PRINT_COUNTERS in the environment it says what each input
 * counted: whether a seed still does what it is for. */
#include "tests/fuzz/bpf_shim.h"

#include "tests/fuzz/fuzz.h"

/* Programs rely on what x86, arm64 and the verifier allow. */
#pragma clang attribute push(__attribute__((no_sanitize("alignment"))),       \
                             apply_to = function)
#pragma clang diagnostic ignored "-Wunused-function"
#include "agents/bpf/sal.bpf.c"

enum action {
    ACTION_EGRESS = 0,
    ACTION_INGRESS = 1,
    ACTION_XDP = 2, /* Then ingress, as on a device that has native XDP. */
    ACTION_SOCKET = 3,
    ACTION_MASK = 3,
    ACTION_MEND = 4,     /* Checksums and lengths are made right first. */
    ACTION_NONLINEAR = 8, /* Only the first 60 bytes lie in one piece. */
    ACTION_NO_IDENTITY = 16,
    ACTION_ROUTER = 32, /* The host is a service router. */
};

enum { SAL_IFINDEX = 77, UPLINK_IFINDEX = 1, FRAME_MAX = 16384 };

#define OWN4 0x0a000001  /* 10.0.0.1; peers are .2 and up. */
#define PEER4 0x0a000002
#define RESOLVER4 0x0aff0001
#define ID4 0x64400001     /* 100.64.0.1 */
#define CLIENT4 0x64400002 /* Identity of the peer. */
#define WEB4 0xc6120001    /* 198.18.0.1: elsewhere; .2 REJECT; .3 served */
#define OWN_SERVICE4 0xc6120003 /* here; .4 DROP. */

/* The same in IPv6: fd00:: locators, fd10:: identities, fd20:: services. */
enum { NET_LOCATOR6 = 0xfd00, NET_IDENTITY6 = 0xfd10, NET_SERVICE6 = 0xfd20 };

static const uint8_t sal_mac[6] = {2, 0, 0, 0, 0, 0x77};

/* Service IDs are made of one byte. */
static void
fill_id(uint8_t id[SAL_SERVICE_ID_LEN], uint8_t byte)
{
    memset(id, byte, SAL_SERVICE_ID_LEN);
}

static struct sal_addr
v4(uint32_t host)
{
    return (struct sal_addr) {
        {0, 0, bpf_htonl(SAL_ADDR_MAPPED), bpf_htonl(host)}};
}

static struct sal_addr
v6(uint16_t net, uint16_t host)
{
    return (struct sal_addr) {
        {bpf_htonl((uint32_t) net << 16), 0, 0, bpf_htonl(host)}};
}

static void
put_settings(bool identity, bool router)
{
    struct sal_settings settings = {
        .layout = SAL_MAPS_LAYOUT,
        .sal_ifindex = SAL_IFINDEX,
        .uplink_ifindex = UPLINK_IFINDEX,
        .sal_port = bpf_htons(SAL_UDP_PORT),
        .flags = SAL_SETTINGS_SOCKOPS,
        .uplink_mtu = 1500,
        .resolver_v4 = v4(RESOLVER4),
        .locator_v4 = v4(OWN4),
        .resolver_v6 = v6(NET_LOCATOR6, 0xff),
        .locator_v6 = v6(NET_LOCATOR6, 1),
        .uplink_ifindex_v6 = UPLINK_IFINDEX,
        .hash_key = {1, 2},
        .netns_cookie = 1,
    };
    uint32_t key = 0;
    if (identity) {
        settings.identity_v4 = v4(ID4);
        settings.identity_v6 = v6(NET_IDENTITY6, 1);
    }
    if (router) {
        settings.flags |= SAL_SETTINGS_ROUTER;
    }
    memcpy(settings.sal_mac, sal_mac, sizeof sal_mac);
    bpf_map_update_elem(&sal_settings, &key, &settings, BPF_ANY);
}

static void
put_service(uint8_t byte, uint32_t address, uint32_t action)
{
    struct sal_rule_key key = {.prefixlen = 192};
    struct sal_rule rule = {.action = action, .prefixlen = 192};
    struct sal_service_value value;
    struct sal_addr addr = v4(address), addr6 = v6(NET_SERVICE6, byte);

    memset(&value, 0, sizeof value);
    fill_id(value.service_id, byte);
    bpf_map_update_elem(&sal_addresses, &addr, &value, BPF_ANY);
    bpf_map_update_elem(&sal_addresses, &addr6, &value, BPF_ANY);
    memset(key.service_id, byte, 24);
    bpf_map_update_elem(&sal_rules, &key, &rule, BPF_ANY);
}

/* A service with hops of both IP versions, whose datagrams are DATAGRAMs. */
static void
put_hops(uint8_t byte, uint32_t address)
{
    struct sal_rule_key key = {.prefixlen = 192};
    struct sal_rule rule = {.action = SAL_RULE_FORWARD, .prefixlen = 192,
                            .flags = SAL_RULE_HOPS | SAL_RULE_DATAGRAM,
                            .path_class = 3};
    struct sal_hops hops = {.n = 2};

    put_service(byte, address, SAL_RULE_FORWARD);
    memset(key.service_id, byte, 24);
    hops.hops[0] = (struct sal_hop) {v4(PEER4), 3};
    hops.hops[1] = (struct sal_hop) {v6(NET_LOCATOR6, 2), 4};
    bpf_map_update_elem(&sal_hops, &key, &hops, BPF_ANY);
    bpf_map_update_elem(&sal_rules, &key, &rule, BPF_ANY);
}

static void
put_target(uint8_t byte, uint8_t proto, uint16_t service_port, uint16_t port)
{
    struct sal_target_key key = {.prefixlen = 192, .proto = proto,
                                 .service_port = bpf_htons(service_port)};
    struct sal_target target;
    memset(&target, 0, sizeof target);
    target.port = bpf_htons(port);
    memset(key.prefix, byte, 24);
    bpf_map_update_elem(&sal_targets, &key, &target, BPF_ANY);
}

/* The host's flows; 'byte' repeated is the ID, byte + 1 the peer's. */
static const struct flow_spec {
    uint8_t byte, state, flags, proto;
    uint16_t port; /* The client's. */
    bool peer_unknown, inner6, outer6;
} specs[] = {
    {0x10, SAL_FLOW_BOUND, 0, IPPROTO_TCP, 40000, 0, 0, 0},
    {0x20, SAL_FLOW_BOUND, SAL_FLOW_SERVER, IPPROTO_TCP, 40001, 0, 0, 0},
    {0x30, SAL_FLOW_HALF_OPEN, 0, IPPROTO_TCP, 40002, 1, 0, 0},
    {0x40, SAL_FLOW_HALF_OPEN, SAL_FLOW_SERVER, IPPROTO_TCP, 40003, 0, 0, 0},
    {0x50, SAL_FLOW_CLOSING, 0, IPPROTO_TCP, 40004, 0, 0, 0},
    {0x60, SAL_FLOW_BOUND, 0, IPPROTO_UDP, 40005, 0, 0, 0},
    {0x70, SAL_FLOW_BOUND, SAL_FLOW_SERVER, IPPROTO_UDP, 40006, 0, 0, 0},
    {0x80, SAL_FLOW_HALF_OPEN, 0, IPPROTO_UDP, 40007, 1, 0, 0},
    {0x90, SAL_FLOW_HALF_OPEN, SAL_FLOW_SERVER, IPPROTO_UDP, 40008, 0, 0, 0},
    {0xb0, SAL_FLOW_BOUND, 0, IPPROTO_TCP, 40010, 0, 1, 0},
    {0xb4, SAL_FLOW_BOUND, SAL_FLOW_SERVER, IPPROTO_TCP, 40011, 0, 1, 0},
    {0xb8, SAL_FLOW_BOUND, 0, IPPROTO_TCP, 40012, 0, 0, 1},
    {0xbc, SAL_FLOW_BOUND, SAL_FLOW_SERVER, IPPROTO_TCP, 40013, 0, 1, 1},
    {0xc0, SAL_FLOW_BOUND, 0, IPPROTO_UDP, 40014, 0, 1, 1},
    {0xc4, SAL_FLOW_HALF_OPEN, 0, IPPROTO_TCP, 40015, 1, 1, 1},
    {0xc8, SAL_FLOW_HALF_OPEN, SAL_FLOW_SERVER, IPPROTO_TCP, 40016, 0, 1, 1},
};
enum { N_SPECS = sizeof specs / sizeof specs[0] };

static struct sal_flow made[N_SPECS];

static void
make_flow(const struct flow_spec *spec, struct sal_flow *flow)
{
    bool server = spec->flags & SAL_FLOW_SERVER;
    bool tcp = spec->proto == IPPROTO_TCP;

    memset(flow, 0, sizeof *flow);
    flow->id = spec->byte * 0x01010101u;
    flow->peer_id = spec->peer_unknown ? 0 : (spec->byte + 1) * 0x01010101u;
    flow->peer_locator
        = spec->outer6 ? v6(NET_LOCATOR6, spec->peer_unknown ? 0xff : 2)
                       : v4(spec->peer_unknown ? RESOLVER4 : PEER4);
    flow->own_locator = spec->outer6 ? v6(NET_LOCATOR6, 1) : v4(OWN4);
    flow->ifindex = UPLINK_IFINDEX;
    flow->entropy = bpf_htons(50000);
    flow->state = spec->state;
    flow->flags = spec->flags | (spec->inner6 ? SAL_FLOW_INNER6 : 0)
                  | (spec->outer6 ? SAL_FLOW_OUTER6 : 0);
    memset(&flow->nonce, spec->byte + 2, sizeof flow->nonce);
    struct sal_addr identity
        = spec->inner6 ? v6(NET_IDENTITY6, 1) : v4(ID4);
    struct sal_addr client
        = spec->inner6 ? v6(NET_IDENTITY6, 2) : v4(CLIENT4);
    struct sal_addr served
        = spec->inner6 ? v6(NET_SERVICE6, 3) : v4(OWN_SERVICE4);
    struct sal_addr web = spec->inner6 ? v6(NET_SERVICE6, 1) : v4(WEB4);
    flow->wire.local = server ? served : identity;
    flow->wire.lport = bpf_htons(server ? tcp ? 80 : 53 : spec->port);
    flow->wire.remote = server ? client : web;
    flow->wire.rport = bpf_htons(server ? spec->port : tcp ? 80 : 53);
    flow->wire.proto = spec->proto;
    flow->local = flow->wire;
    if (server) {
        flow->local.local = identity;
        flow->local.lport = bpf_htons(tcp ? 8080 : 9953);
        flow->isn_out = 1;
    }
    if (tcp && spec->state == SAL_FLOW_BOUND) {
        /* A silence has ended, or is about to end. */
        flow->marks = SAL_FLOW_MARK_OLD_ECHO;
        flow->seq_end = 2;
        flow->ifindex = spec->byte == 0xbc ? 0 : UPLINK_IFINDEX;
    }
    flow_prepare_rewrite(flow);
    fill_id(flow->service_id, server ? 0x03 : 0x01);
}

/* Where the program under test keeps such a flow. */
static void
put_flow(struct sal_flow *flow)
{
    uint32_t id = flow->id;
    if (flow->state == SAL_FLOW_BOUND && flow->wire.proto == IPPROTO_TCP) {
        bpf_map_update_elem(&sal_flows, &id, flow, BPF_ANY);
        bpf_map_update_elem(&sal_tuples, &flow->local, &id, BPF_ANY);
    } else {
        bpf_map_update_elem(&sal_half_flows, &id, flow, BPF_ANY);
        bpf_map_update_elem(&sal_half_tuples, &flow->local, &id, BPF_ANY);
    }
}

static void
set_up(void)
{
    struct sal_addr own = v4(OWN4), own6 = v6(NET_LOCATOR6, 1);
    uint32_t ifindex = UPLINK_IFINDEX;
    struct sal_rule_key root = {.prefixlen = 0};
    struct sal_rule forward = {.action = SAL_RULE_FORWARD};

    shim_now_ns = 2000000000;
    put_settings(true, false);
    bpf_map_update_elem(&sal_locators, &own, &ifindex, BPF_ANY);
    bpf_map_update_elem(&sal_locators, &own6, &ifindex, BPF_ANY);
    bpf_map_update_elem(&sal_rules, &root, &forward, BPF_ANY);
    put_service(0x01, WEB4, SAL_RULE_FORWARD);
    put_service(0x02, 0xc6120002, SAL_RULE_REJECT);
    put_service(0x03, OWN_SERVICE4, SAL_RULE_DEMUX);
    put_service(0x04, 0xc6120004, SAL_RULE_DROP);
    put_service(0x05, 0xc6120005, SAL_RULE_DELAY);
    put_hops(0x06, 0xc6120006);
    put_target(0x03, IPPROTO_TCP, 80, 8080);
    put_target(0x03, IPPROTO_UDP, 53, 9953);
    for (size_t i = 0; i < N_SPECS; i++) {
        make_flow(&specs[i], &made[i]);
        put_flow(&made[i]);
    }
}

/* A flow that was bound at the start is gone, or is what it was. */
static void
check_flows(void)
{
    for (size_t i = 0; i < N_SPECS; i++) {
        const struct sal_flow *was = &made[i];
        if (was->state != SAL_FLOW_BOUND) {
            continue;
        }
        const struct sal_flow *is = flow_by_id(was->id);
        is = is ? is : half_flow_by_id(was->id);
        FUZZ_CHECK(!is
                   || (is->peer_id == was->peer_id && is->nonce == was->nonce
                       && addr_equal(&is->peer_locator, &was->peer_locator)
                       && addr_equal(&is->own_locator, &was->own_locator)
                       && tuple_equal(&is->local, &was->local)
                       && tuple_equal(&is->wire, &was->wire)
                       && !memcmp(is->service_id, was->service_id,
                                  SAL_SERVICE_ID_LEN)));
    }
}

static void
print_counters(void)
{
    static const char *const names[] = {
#define X(ID, NAME, TEXT) NAME,
        SAL_COUNTERS(X)
#undef X
    };
    for (uint32_t i = 0; i < SAL_N_COUNTERS; i++) {
        uint64_t *value = bpf_map_lookup_elem(&sal_counters, &i);
        if (*value) {
            fprintf(stderr, " %s=%llu", names[i],
                    (unsigned long long) *value);
        }
    }
    fputc('\n', stderr);
}

static uint64_t
total_count(void)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < SAL_N_COUNTERS; i++) {
        uint64_t *value = bpf_map_lookup_elem(&sal_counters, &i);
        total += *value;
    }
    return total;
}

static uint32_t
get16(const uint8_t *p)
{
    return p[0] << 8 | p[1];
}

static void
put16(uint8_t *p, uint32_t value)
{
    p[0] = value >> 8;
    p[1] = value;
}

static uint16_t
sum_bytes(const uint8_t *p, size_t n, uint64_t sum)
{
    for (size_t i = 0; i < n; i++) {
        sum += i & 1 ? p[i] : p[i] << 8;
    }
    return shim_fold(sum);
}

/* Makes right what hides the rest from the fuzzer: lengths and checksums. */
static void
mend(uint8_t *frame, size_t len)
{
    size_t sal_ofs = 42;
    if (len < sal_ofs + 16) {
        return;
    }
    if (get16(frame + 12) == 0x86dd) {
        sal_ofs = 62;
        if (len < sal_ofs + 16) {
            return;
        }
        put16(frame + 18, len - 54);
    } else {
        put16(frame + 16, len - 14);
        put16(frame + 24, 0);
        put16(frame + 24, (uint16_t) ~sum_bytes(frame + 14, 20, 0));
    }
    put16(frame + sal_ofs - 4, len - (sal_ofs - 8));
    uint8_t *sal = frame + sal_ofs;
    size_t header = sal[1] * 4;
    if (header > 16 && sal_ofs + header <= len) {
        put16(sal + 14, 0);
        put16(sal + 14, (uint16_t) ~sum_bytes(sal, header, 0));
    }
}

/* What goes to the network or the stack has headers that are true. */
static void
check_output(void)
{
    shim_pull(shim.len);
    const uint8_t *frame = shim.area + shim.start, *ip = frame + 14;
    FUZZ_CHECK(shim.len >= 14 + 20);
    if (shim_redirected_to == SAL_IFINDEX) {
        FUZZ_CHECK(!memcmp(frame, sal_mac, sizeof sal_mac));
        return; /* Inner headers are the sender's, who may be wrong. */
    }
    if (get16(frame + 12) == 0x86dd) {
        FUZZ_CHECK(shim.len >= 14 + 40 && ip[0] >> 4 == 6);
        FUZZ_CHECK(get16(ip + 4) + 40 <= shim.len - 14);
        return;
    }
    FUZZ_CHECK(ip[0] == 0x45 && ip[9] == IPPROTO_UDP);
    FUZZ_CHECK(get16(ip + 2) <= shim.len - 14);
    FUZZ_CHECK(get16(ip + 24) == get16(ip + 2) - 20);
    FUZZ_CHECK(sum_bytes(ip, 20, 0) == 0xffff);
    const uint8_t *sal = ip + 28;
    FUZZ_CHECK(sal[0] >> 4 == SAL_VERSION);
    FUZZ_CHECK(28 + sal[1] * 4u <= get16(ip + 2));
    if (sal[2] != SAL_TYPE_DATA) {
        FUZZ_CHECK(sum_bytes(sal, sal[1] * 4, 0) == 0xffff);
    }
}

static void
receive(const uint8_t *frame, size_t len, enum action action)
{
    struct __sk_buff skb = {.ifindex = UPLINK_IFINDEX,
                            .ingress_ifindex = UPLINK_IFINDEX};
    struct xdp_md xdp = {.ingress_ifindex = UPLINK_IFINDEX};
    size_t linear = action & ACTION_NONLINEAR ? 60 : len;
    bool egress = (action & ACTION_MASK) == ACTION_EGRESS;
    int verdict;

    shim_packet_put(frame, len, linear);
    if ((action & ACTION_MASK) == ACTION_XDP) {
        shim.xdp = &xdp;
        shim_settle();
        verdict = sal_xdp(&xdp);
        shim.xdp = NULL;
        FUZZ_CHECK(verdict == XDP_PASS || verdict == XDP_DROP);
        if (verdict == XDP_DROP) {
            return;
        }
    }
    shim.skb = &skb;
    shim_settle();
    shim_move((uint8_t *) &skb.protocol, shim.area + shim.start + 12, 2);
    uint64_t counted = total_count();
    verdict = egress ? sal_egress(&skb) : sal_ingress(&skb);
    FUZZ_CHECK(verdict == TC_ACT_SHOT || verdict == TC_ACT_UNSPEC
               || verdict == TC_ACT_REDIRECT);
    if (verdict == TC_ACT_SHOT) {
        FUZZ_CHECK(total_count() > counted);
    } else if (verdict == TC_ACT_REDIRECT) {
        check_output();
    }
    shim.skb = NULL;
}

static void
socket_event(const uint8_t *data, size_t len)
{
    struct bpf_sock_ops ops;
    memset(&ops, 0, sizeof ops);
    memcpy(&ops, data, len < sizeof ops ? len : sizeof ops);
    sal_sockops(&ops);
}
#pragma clang attribute pop

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *frame = malloc(FRAME_MAX);

    set_up();
    for (int n = 0; n < 16 && size >= 3; n++) {
        enum action action = data[0];
        size_t len = data[1] | data[2] << 8;
        data += 3;
        size -= 3;
        len = len < size ? len : size;
        len = len < FRAME_MAX ? len : FRAME_MAX;
        memcpy(frame, data, len);
        data += len;
        size -= len;
        put_settings(!(action & ACTION_NO_IDENTITY), action & ACTION_ROUTER);
        if ((action & ACTION_MASK) == ACTION_SOCKET) {
            socket_event(frame, len);
        } else if (len >= 14) {
            if (action & ACTION_MEND) {
                mend(frame, len);
            }
            receive(frame, len, action);
        }
        shim_free_deleted();
        check_flows();
    }
    if (getenv("SALIENT_PRINT_COUNTERS")) {
        print_counters();
    }
    shim_clear_maps();
    free(frame);
    return 0;
}
