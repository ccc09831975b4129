/* SPDX-License-Identifier: Apache-2.0 */
/* UDP flows and what the service table can do besides forwarding to the
 * resolver, packet by packet, byte by byte. */
#include "agents/datapath_held.h"
#include "tests/bpf/bpf_pair.h"

#define ASK_PORT 5353
#define TARGET_PORT 9953

/* The client's datagram, as it and as the server's stack see it, and an
 * answer. */
static const struct segment ask = {
    .src = ID_C, .dst = WEB, .sport = ASK_PORT, .dport = 53,
    .payload = "who?", .udp = true};
static const struct segment asked = {
    .src = ID_C, .dst = ID_S, .sport = ASK_PORT, .dport = TARGET_PORT,
    .payload = "who?", .udp = true};
static const struct segment tell = {
    .src = ID_S, .dst = ID_C, .sport = TARGET_PORT, .dport = ASK_PORT,
    .payload = "me", .udp = true};
static const struct segment told = {
    .src = WEB, .dst = ID_C, .sport = 53, .dport = ASK_PORT,
    .payload = "me", .udp = true};

static void
put_udp_target(struct host *host, const struct service_prefix *prefix)
{
    struct local_target t = {.prefix = *prefix, .protocol = 17,
                             .service_port = 53, .port = TARGET_PORT};
    host_tables_put_target(&host->tables, &t);
    host_apply(host);
}

static void
set_up_udp(void)
{
    test_device();
    set_up();
    put_udp_target(&server, &web);
    put_udp_target(&other, &web);
}

/* A control packet of a UDP flow. */
static struct sal_packet
udp_control(const struct host *host, const struct sal_flow *flow, uint8_t type)
{
    struct sal_packet p = control_of(host, flow, type);
    p.udp = true;
    if (type == SAL_TYPE_DATA) {
        p.service_id = p.endpoint_id = NULL;
    }
    return p;
}

/* The client's ACK: the server's SYN-ACK sent back. */
static struct sal_packet
udp_ack(const struct sal_flow *ours, const struct sal_flow *theirs)
{
    struct sal_packet p = udp_control(&server, theirs, SAL_TYPE_ACK);
    p.src = LOC_C;
    p.dst = LOC_S;
    p.src_flow = ntohl(ours->id);
    p.dst_flow = ntohl(theirs->id);
    return p;
}

/* The frame up to the length that its outer IP header says: what is behind
 * that is padding. */
static struct frame
unpadded(const struct frame *f)
{
    struct frame cut = *f;
    cut.len = MIN(cut.len, 14 + get16(f, 16));
    return cut;
}

static void
expect_sal(const struct frame *is, const struct sal_packet *p,
           const struct segment *inner)
{
    struct frame want, cut = unpadded(is);
    build_sal(&want, p, inner);
    CU_ASSERT_TRUE(frame_equal(&cut, &want, 12));
}

static void
expect_delivered(const struct segment *inner)
{
    struct frame is, want;
    build_inner(&want, inner);
    CU_ASSERT_TRUE_FATAL(test_delivered(&is));
    CU_ASSERT_TRUE(frame_equal(&is, &want, 12));
    CU_ASSERT_EQUAL(memcmp(is.data, test_sal_mac, 6), 0);
}

static void
expect_none_delivered(void)
{
    struct frame is;
    CU_ASSERT_FALSE(test_delivered(&is));
}

/* What the client sends for 'segment'. */
static struct frame
client_sends(const struct segment *segment)
{
    struct frame f;
    build_inner(&f, segment);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    return f;
}

/* The client's SYN reaches 'to', whose answer is returned. */
static struct frame
syn_reaches(struct host *to)
{
    struct frame f = client_sends(&ask);
    resolve_to(&f, to->locator);
    CU_ASSERT_EQUAL(run_ingress(to, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    return f;
}

/* One datagram binds both ends, though the server's application is silent. */
static void
test_one_way(void)
{
    struct sal_flow ours, theirs;
    struct frame f;

    set_up_udp();
    f = syn_reaches(&server);
    expect_delivered(&asked);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    CU_ASSERT_EQUAL(theirs.state, SAL_FLOW_HALF_OPEN);
    struct sal_packet p = udp_control(&server, &theirs, SAL_TYPE_SYN_ACK);
    expect_sal(&f, &p, NULL);

    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    expect_none_delivered();
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    CU_ASSERT_EQUAL(ours.state, SAL_FLOW_BOUND);
    CU_ASSERT_EQUAL(ours.peer_id, theirs.id);
    p = udp_ack(&ours, &theirs);
    expect_sal(&f, &p, NULL);

    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_ACK), 1);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    CU_ASSERT_EQUAL(theirs.state, SAL_FLOW_BOUND);
    expect_none_delivered();

    f = client_sends(&ask);
    p = udp_control(&client, &ours, SAL_TYPE_DATA);
    expect_sal(&f, &p, &ask);
    build_inner(&f, &tell);
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
    p = udp_control(&server, &theirs, SAL_TYPE_DATA);
    expect_sal(&f, &p, &told);
    tear_down();
}

/* Where the kernel does not let the server's data plane cut the datagram off,
 * it comes back with the SYN-ACK, and goes back with the ACK. */
static void
test_syn_ack_with_datagram(void)
{
    struct sal_flow ours, theirs;
    struct frame f;

    set_up_udp();
    syn_reaches(&server);
    expect_delivered(&asked);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    struct sal_packet p = udp_control(&server, &theirs, SAL_TYPE_SYN_ACK);
    build_sal(&f, &p, &ask);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    expect_none_delivered();
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    CU_ASSERT_EQUAL(ours.state, SAL_FLOW_BOUND);
    p = udp_ack(&ours, &theirs);
    expect_sal(&f, &p, &ask);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_SHOT);
    expect_none_delivered();
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    CU_ASSERT_EQUAL(theirs.state, SAL_FLOW_BOUND);

    /* Anybody else's datagram is not taken for it. */
    struct segment forged = ask;
    forged.src = ID_T;
    p = udp_control(&server, &theirs, SAL_TYPE_SYN_ACK);
    build_sal(&f, &p, &forged);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_WRONG_TUPLE), 1);
    tear_down();
}

/* Until the SYN-ACK is here, each datagram says the same, so that all reach
 * one server; each is answered, as the SYN-ACK may have got lost. */
static void
test_burst(void)
{
    struct sal_flow ours, theirs;
    struct frame f;

    set_up_udp();
    for (int i = 0; i < 5; i++) {
        f = client_sends(&ask);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
        struct sal_packet p = udp_control(&client, &ours, SAL_TYPE_SYN);
        expect_sal(&f, &p, &ask);
        resolve_to(&f, LOC_S);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
        expect_delivered(&asked);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
        p = udp_control(&server, &theirs, SAL_TYPE_SYN_ACK);
        expect_sal(&f, &p, NULL);
    }
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_SYN_AGAIN), 4);
    tear_down();
}

/* A retried SYN was resolved to another server: the one whose SYN-ACK comes
 * late is told, and forgets. */
static void
test_second_server_forgets(void)
{
    struct sal_flow ours, theirs;
    struct frame first, late, f;

    set_up_udp();
    first = syn_reaches(&server);
    expect_delivered(&asked);
    late = syn_reaches(&other);
    struct segment there = asked;
    there.dst = ID_T;
    expect_delivered(&there);
    CU_ASSERT_EQUAL(run_ingress(&client, &first), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    CU_ASSERT_EQUAL(ntohl(ours.peer_locator.w[3]), LOC_S);

    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&other), &theirs));
    CU_ASSERT_EQUAL(run_ingress(&client, &late), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_LATE_SYN_ACK), 1);
    struct sal_packet p = udp_control(&other, &theirs, SAL_TYPE_RESET);
    p.src = LOC_C;
    p.dst = LOC_T;
    p.src_flow = ntohl(ours.id);
    p.dst_flow = ntohl(theirs.id);
    expect_sal(&late, &p, NULL);
    memset(late.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&other, &late), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&other, SAL_COUNT_IN_RESET), 1);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&other)), 0);
    CU_ASSERT_EQUAL(map_count(HALF_TUPLES(&other)), 0);

    /* What its application says afterwards reaches nobody. */
    struct segment from_there = tell;
    from_there.src = ID_T;
    build_inner(&f, &from_there);
    run_egress(&other, &f);
    CU_ASSERT_EQUAL(counter(&other, SAL_COUNT_OUT_UNKNOWN_ADDRESS), 1);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &theirs));
    CU_ASSERT_EQUAL(memcmp(&theirs, &ours, 64), 0);
    tear_down();
}

/* An ACK binds only if flow ID, nonce and peer are right. */
static void
test_forged_ack(void)
{
    static const struct {
        uint32_t src_flow_xor, dst_flow_xor, src_xor;
        uint8_t nonce_xor;
        enum sal_counter reason;
    } cases[] = {
        {0, 0, 0, 1, SAL_COUNT_IN_WRONG_NONCE},
        {1, 0, 0, 0, SAL_COUNT_IN_WRONG_PEER},
        {0, 1, 0, 0, SAL_COUNT_IN_UNKNOWN_FLOW},
        {0, 0, 7, 0, SAL_COUNT_IN_WRONG_PEER},
    };
    struct sal_flow ours, theirs;
    struct frame f;

    set_up_udp();
    f = syn_reaches(&server);
    expect_delivered(&asked);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
        struct sal_packet p = udp_ack(&ours, &theirs);
        p.src_flow ^= cases[i].src_flow_xor;
        p.dst_flow ^= cases[i].dst_flow_xor;
        p.src ^= cases[i].src_xor;
        p.nonce[3] ^= cases[i].nonce_xor;
        uint64_t before = counter(&server, cases[i].reason);
        build_sal(&f, &p, NULL);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_SHOT);
        CU_ASSERT_EQUAL(counter(&server, cases[i].reason), before + 1);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
        CU_ASSERT_EQUAL(theirs.state, SAL_FLOW_HALF_OPEN);
    }
    tear_down();
}

/* A datagram that fills the MTU. */
static const struct segment *
large(void)
{
    static char payload[1428];
    static struct segment s;
    memset(payload, 'x', sizeof payload - 1);
    s = ask;
    s.payload = payload;
    return &s;
}

/* Takes what the data plane gave to hold: the last one. */
static struct {
    struct sal_held held;
    struct frame frame;
    int n;
} taken;

static void
note_taken(const struct sal_held *held, void *frame, void *aux OVS_UNUSED)
{
    taken.n++;
    taken.held = *held;
    taken.frame.len = held->len;
    memcpy(taken.frame.data, frame, held->len);
}

static void
take_held(struct host *host)
{
    taken.n = 0;
    CU_ASSERT_EQUAL(datapath_held_take(host->dp, note_taken, NULL), 0);
}

/* A first datagram that does not fit beside the SYN's header is held; its
 * headers travel with the SYN, and the server binds without it. */
static void
test_large_first_datagram(void)
{
    struct sal_flow ours, theirs;
    struct frame f, want, datagram;

    set_up_udp();
    build_inner(&datagram, large());
    f = client_sends(large());
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    struct sal_packet p = udp_control(&client, &ours, SAL_TYPE_SYN);
    put_ethernet(&want, no_mac);
    put_sal(&want, &p, 4, 28);
    put_bytes(&want, datagram.data + 14, 28);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    take_held(&client);
    CU_ASSERT_EQUAL(taken.n, 1);
    CU_ASSERT_EQUAL(taken.held.kind, SAL_HELD_BIND);
    CU_ASSERT_EQUAL(taken.held.attempts, 0);
    CU_ASSERT_TRUE(frame_equal(&taken.frame, &datagram, 0));

    resolve_to(&f, LOC_S);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    expect_none_delivered();
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    p = udp_control(&server, &theirs, SAL_TYPE_SYN_ACK);
    expect_sal(&f, &p, NULL);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    take_held(&client);
    CU_ASSERT_EQUAL(taken.n, 1);
    CU_ASSERT_EQUAL(taken.held.kind, SAL_HELD_BOUND);
    CU_ASSERT_EQUAL(taken.held.len, 0);

    /* The answer to that was an ACK; the datagram follows as DATA. */
    p = udp_ack(&ours, &theirs);
    expect_sal(&f, &p, NULL);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    f = client_sends(large());
    p = udp_control(&client, &ours, SAL_TYPE_DATA);
    expect_sal(&f, &p, large());
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    struct segment there = *large();
    there.dst = ID_S;
    there.dport = TARGET_PORT;
    build_inner(&want, &there);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    tear_down();
}

/* Refused: the application is told, the daemon too. */
static void
test_large_refused(void)
{
    struct frame f, quote;

    set_up_udp();
    struct segment closed_port = *large();
    closed_port.dport = 54;
    f = client_sends(&closed_port);
    resolve_to(&f, LOC_S);
    set_hops(&f, 3);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[44], SAL_TYPE_RESET);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(get16(&f, 34), 0x0303);
    build_inner(&quote, &closed_port);
    CU_ASSERT_EQUAL(memcmp(f.data + 42, quote.data + 14, 28), 0);
    take_held(&client);
    CU_ASSERT_EQUAL(taken.n, 2);
    CU_ASSERT_EQUAL(taken.held.kind, SAL_HELD_REFUSED);
    tear_down();
}

/* The server's own large answer does not wait: its SYN-ACK is on the way. */
static void
test_large_answer(void)
{
    struct sal_flow theirs;
    struct frame f;

    set_up_udp();
    syn_reaches(&server);
    expect_delivered(&asked);
    struct segment answer = tell, seen = told;
    answer.payload = seen.payload = large()->payload;
    build_inner(&f, &answer);
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    struct sal_packet p = udp_control(&server, &theirs, SAL_TYPE_DATA);
    expect_sal(&f, &p, &seen);
    tear_down();
}

/* What the daemon hands back is sent by sal0 like anything else. */
static void
test_hand_back(void)
{
    struct frame f, is;

    set_up_udp();
    build_inner(&f, &ask);
    CU_ASSERT_EQUAL(datapath_held_send(client.dp, f.data, f.len, 0), 0);
    /* Nothing is attached to the test's sal0, an ifb device, which hands to
     * nobody what was not redirected to it; it is seen on the way in. */
    struct pollfd poll_fd = {.fd = test_device(), .events = POLLIN};
    CU_ASSERT_EQUAL_FATAL(poll(&poll_fd, 1, 1000), 1);
    is.len = recv(poll_fd.fd, is.data, sizeof is.data, 0);
    CU_ASSERT_TRUE(frame_equal(&is, &f, 12));
    tear_down();
}

static void
own_datagram(const struct segment *in, const struct segment *out)
{
    struct frame f = client_sends(in), want;
    build_inner(&want, out);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    CU_ASSERT_EQUAL(memcmp(f.data, test_sal_mac, 6), 0);
}

/* A host's own UDP service: nothing leaves, and both flows are bound. */
static void
test_own_udp_service(void)
{
    struct segment in = ask, out = ask, back = tell, seen = told;

    set_up_udp();
    put_udp_target(&client, &own);
    client.tables.settings.resolver_v4 = 0; /* Not needed. */
    host_apply(&client);
    in.dst = OWN;
    out.src = OWN;
    out.dst = ID_C;
    out.dport = TARGET_PORT;
    back.src = ID_C;
    back.dst = OWN;
    seen.src = OWN;
    for (int i = 0; i < 3; i++) {
        own_datagram(&in, &out);
    }
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 2);
    own_datagram(&back, &seen);
    own_datagram(&in, &out);
    in.payload = out.payload = large()->payload;
    own_datagram(&in, &out);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_LOCAL_SERVICE), 1);
    in.dport = 54;
    struct frame f = client_sends(&in);
    CU_ASSERT_EQUAL(get16(&f, 34), 0x0303);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_NO_TARGET), 1);
    tear_down();
}

/* FORWARD to locators. */

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
        CU_ASSERT(counts[i] >= want * 0.6 - 30 && counts[i] <= want * 1.5 + 30);
    }
    tear_down();
}

/* DELAY: the packet is given to hold, and nothing leaves; handed back, it is
 * refused if the daemon says so, or goes its way by the new rule. */
static void
test_delay(void)
{
    struct frame f, syn;

    set_up_udp();
    put_rule(&client, &web, SERVICE_DELAY);
    host_apply(&client);
    build_inner(&syn, &client_syn);
    f = syn;
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
    take_held(&client);
    CU_ASSERT_EQUAL(taken.n, 1);
    CU_ASSERT_EQUAL(taken.held.kind, SAL_HELD_RESOLVE);
    CU_ASSERT_EQUAL(memcmp(taken.held.service_id, web.id.bytes, 32), 0);
    CU_ASSERT_TRUE(frame_equal(&taken.frame, &syn, 0));
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 0);
    build_inner(&f, &ask);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_DELAYED), 2);

    f = syn;
    CU_ASSERT_EQUAL(run_egress_marked(&client, &f, SAL_MARK_AGAIN | 2),
                    TC_ACT_SHOT);
    take_held(&client);
    CU_ASSERT_EQUAL(taken.held.attempts, 2);
    f = syn;
    CU_ASSERT_EQUAL(run_egress_marked(&client, &f, SAL_MARK_REFUSE),
                    TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[47], RST | ACK);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_DELAY_REFUSED), 1);
    put_rule(&client, &web, SERVICE_FORWARD);
    host_apply(&client);
    f = syn;
    CU_ASSERT_EQUAL(run_egress_marked(&client, &f, SAL_MARK_AGAIN),
                    TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[44], SAL_TYPE_SYN);
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
    uint16_t entropy;

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
        entropy = flow.entropy;
        memset(f.data, 0, 12);
        if (hops == 3) {
            break;
        }
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &flow));
        CU_ASSERT_NOT_EQUAL(flow.entropy, entropy);
        p = control_of(&client, &flow, SAL_TYPE_SYN);
        p.udp = first->udp;
        p.flags_class = (hops + 1) << 5;
        p.tos = first->tos;
        build_sal(&want, &p, first);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        CU_ASSERT_EQUAL(ntohl(flow.peer_locator.w[3]), RESOLVER);
    }
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

/* DATAGRAM. */

static void
set_up_datagram(void)
{
    set_up_udp();
    struct service_rule rule = {.prefix = web, .action = SERVICE_FORWARD,
                                .datagram = true};
    host_tables_put_rule(&client.tables, &rule);
    host_apply(&client);
}

/* Each datagram has a source port of its own, and so finds an instance of its
 * own; each answer reaches the client, and nothing is bound. */
static void
test_datagram(void)
{
    struct sal_flow ours, theirs;
    uint16_t last = 0;
    bool changed = false;
    struct frame f, want;

    set_up_datagram();
    for (int i = 0; i < 6; i++) {
        struct host *to = i % 2 ? &other : &server;
        f = client_sends(&ask);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
        struct sal_packet p = udp_control(&client, &ours, SAL_TYPE_DATAGRAM);
        expect_sal(&f, &p, &ask);
        CU_ASSERT_EQUAL(p.dst_flow, 0);
        changed |= i && last != ours.entropy;
        last = ours.entropy;

        resolve_to(&f, to->locator);
        CU_ASSERT_EQUAL(run_ingress(to, &f), TC_ACT_REDIRECT);
        struct segment there = asked;
        there.dst = to == &server ? ID_S : ID_T;
        build_inner(&want, &there);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));

        struct segment answer = tell;
        answer.src = there.dst;
        build_inner(&f, &answer);
        CU_ASSERT_EQUAL(run_egress(to, &f), TC_ACT_REDIRECT);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(to), &theirs));
        p = udp_control(to, &theirs, SAL_TYPE_DATAGRAM);
        p.dst = LOC_C;
        CU_ASSERT_EQUAL(p.dst_flow, ntohl(ours.id));
        expect_sal(&f, &p, &told);
        memset(f.data, 0, 12);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
        build_inner(&want, &told);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    }
    CU_ASSERT_TRUE(changed);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_DATAGRAM), 6);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_DATAGRAM), 6);
    tear_down();
}

/* Too large beside the header: the sender is told how much fits. */
static void
test_datagram_too_big(void)
{
    struct frame f, quote;

    set_up_datagram();
    build_inner(&quote, large());
    f = client_sends(large());
    CU_ASSERT_EQUAL(get16(&f, 34), 0x0304);
    CU_ASSERT_EQUAL(get32(&f, 38), 1500 - 28 - 84);
    CU_ASSERT_EQUAL(test_checksum(f.data + 34, 36, 0), 0);
    CU_ASSERT_EQUAL(memcmp(f.data + 42, quote.data + 14, 28), 0);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_DATAGRAM_TOO_BIG), 1);
    struct segment fits = *large();
    char payload[1360 + 1];
    memset(payload, 'y', 1360);
    payload[1360] = '\0';
    fits.payload = payload;
    f = client_sends(&fits);
    CU_ASSERT_EQUAL(f.data[44], SAL_TYPE_DATAGRAM);
    CU_ASSERT_EQUAL(f.len, 1514);
    tear_down();
}

/* Answers are taken from whoever knows the nonce, and from nobody else; a
 * refusal reaches the application. */
static void
test_datagram_forged(void)
{
    struct sal_flow ours;
    struct frame f;

    set_up_datagram();
    client_sends(&ask);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    struct sal_packet p = udp_control(&client, &ours, SAL_TYPE_DATAGRAM);
    p.src = LOC_T;
    p.dst = LOC_C;
    p.src_flow = 7;
    p.dst_flow = ntohl(ours.id);
    build_sal(&f, &p, &told);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    p.nonce[5] ^= 1;
    build_sal(&f, &p, &told);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_WRONG_NONCE), 1);
    p.nonce[5] ^= 1;
    struct segment forged = told;
    forged.src = SHADOW;
    build_sal(&f, &p, &forged);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_WRONG_TUPLE), 1);
    p.dst_flow ^= 1;
    build_sal(&f, &p, &told);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_UNKNOWN_FLOW), 1);

    struct segment closed_port = ask;
    closed_port.dport = 54;
    f = client_sends(&closed_port);
    resolve_to(&f, LOC_S);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[44], SAL_TYPE_DATAGRAM); /* Resolved on. */
    resolve_to(&f, LOC_S);
    set_hops(&f, 3);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(get16(&f, 34), 0x0303);
    tear_down();
}

/* ICMP errors about inner packets. */

/* An error from 'src' about 'about' to its sender. */
static void
build_icmp(struct frame *f, uint32_t src, const struct segment *about,
           uint8_t code, uint32_t rest)
{
    put_ethernet(f, test_sal_mac);
    put_ipv4(f, src, about->src, 1, 20 + 8 + 28, 0);
    put16(f, 0x0300 | code);
    put16(f, 0);
    put32(f, rest);
    struct frame quote;
    build_inner(&quote, about);
    put_bytes(f, quote.data + 14, 28);
    /* The UDP checksum that is quoted nobody looks at. */
    set16(f, 34 + 8 + 26, 0xbeef);
    set16(f, 36, test_checksum(f->data + 34, 36, 0));
}

/* Nobody listens at the server's port: the client's application learns that;
 * likewise that its datagrams are too big.  And the other way round. */
static void
test_inner_icmp(void)
{
    struct sal_flow ours, theirs;
    struct frame f, want, inner;

    set_up_udp();
    f = syn_reaches(&server);
    expect_delivered(&asked);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    for (int i = 0; i < 2; i++) {
        uint8_t code = i ? 4 : 3;
        uint32_t rest = i ? 1300 : 0;
        build_icmp(&f, ID_S, &asked, code, rest);
        CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
        struct sal_packet p = udp_control(&server, &theirs, SAL_TYPE_DATA);
        build_icmp(&inner, WEB, &ask, code, rest);
        put_ethernet(&want, no_mac);
        put_sal(&want, &p, 4, inner.len - 14);
        put_bytes(&want, inner.data + 14, inner.len - 14);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        memset(f.data, 0, 12);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT_TRUE(frame_equal(&f, &inner, 12));
        CU_ASSERT_EQUAL(memcmp(f.data, test_sal_mac, 6), 0);
    }
    build_icmp(&f, ID_C, &told, 3, 0);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_SHOT); /* Half open. */
    f = client_sends(&ask);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    build_icmp(&f, ID_C, &told, 3, 0);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    build_icmp(&want, ID_C, &tell, 3, 0);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    tear_down();
}

/* Only errors, and only about packets of the flow. */
static void
test_inner_icmp_forged(void)
{
    struct sal_flow ours, theirs;
    struct frame f, inner;

    set_up_udp();
    f = syn_reaches(&server);
    expect_delivered(&asked);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    struct sal_packet p = udp_control(&server, &theirs, SAL_TYPE_DATA);
    for (int i = 0; i < 6; i++) {
        struct segment about = ask;
        about.sport += i == 1;
        about.dst += i == 2;
        build_icmp(&inner, WEB, &about, 3, 0);
        inner.data[34] = i == 3 ? 8 : 3; /* Echo request. */
        inner.data[33] += i == 4;        /* To somebody else. */
        put_ethernet(&f, no_mac);
        put_sal(&f, &p, 4, inner.len - 14);
        put_bytes(&f, inner.data + 14, inner.len - 14 - (i == 5 ? 20 : 0));
        CU_ASSERT_EQUAL(run_ingress(&client, &f),
                        i ? TC_ACT_SHOT : TC_ACT_REDIRECT);
    }
    build_icmp(&f, ID_S, &asked, 3, 0);
    f.data[34] = 0; /* Echo reply. */
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_OUT_UNSUPPORTED), 1);
    tear_down();
}

UNIT_MAIN("sal_actions", UNIT_TEST(test_inner_icmp),
          UNIT_TEST(test_inner_icmp_forged), UNIT_TEST(test_resolve_on),
          UNIT_TEST(test_resolve_on_finds), UNIT_TEST(test_resolve_on_forged),
          UNIT_TEST(test_router), UNIT_TEST(test_router_refuses),
          UNIT_TEST(test_datagram), UNIT_TEST(test_datagram_too_big),
          UNIT_TEST(test_datagram_forged), UNIT_TEST(test_hops_by_weight),
          UNIT_TEST(test_hops_retry), UNIT_TEST(test_hops_random),
          UNIT_TEST(test_delay), UNIT_TEST(test_large_first_datagram),
          UNIT_TEST(test_large_refused), UNIT_TEST(test_large_answer),
          UNIT_TEST(test_hand_back), UNIT_TEST(test_own_udp_service), UNIT_TEST(test_one_way), UNIT_TEST(test_syn_ack_with_datagram), UNIT_TEST(test_burst),
          UNIT_TEST(test_second_server_forgets), UNIT_TEST(test_forged_ack))
