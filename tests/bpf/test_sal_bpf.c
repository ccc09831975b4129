/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a connection, packet by packet, byte by byte. */
#include "tests/bpf/bpf_pair.h"

static void
test_syn_goes_to_resolver(void)
{
    struct frame f, want;
    struct sal_flow flow;

    set_up();
    build_inner(&f, &client_syn);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &flow));
    CU_ASSERT_EQUAL(map_count(FLOWS(&client)), 0);

    CU_ASSERT_NOT_EQUAL(flow.id, 0);
    CU_ASSERT_NOT_EQUAL(flow.nonce, 0);
    CU_ASSERT_EQUAL(flow.peer_id, 0);
    CU_ASSERT_EQUAL(ntohs(flow.entropy) & 0xc000, 0xc000);
    CU_ASSERT_EQUAL(memcmp(flow.service_id, web.id.bytes, 32), 0);
    struct sal_packet syn = control_of(&client, &flow, SAL_TYPE_SYN);
    syn.dst = RESOLVER;
    syn.tos = 0x10;
    build_sal(&want, &syn, &client_syn);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_SYN), 1);
    tear_down();
}

/* Sent again, a SYN keeps flow ID and nonce, says so, and draws its source
 * port anew; with another sequence number it is another connection. */
static void
test_syn_retry(void)
{
    struct frame f, want;
    struct sal_flow first, again;
    bool entropy_changed = false;

    set_up();
    build_inner(&f, &client_syn);
    run_egress(&client, &f);
    CU_ASSERT_TRUE(only_flow(HALF_FLOWS(&client), &first));
    for (int i = 0; i < 4; i++) {
        build_inner(&f, &client_syn);
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &again));
        CU_ASSERT_EQUAL(first.id, again.id);
        CU_ASSERT_EQUAL(first.nonce, again.nonce);
        entropy_changed |= first.entropy != again.entropy;
        struct sal_packet syn = control_of(&client, &again, SAL_TYPE_SYN);
        syn.tos = 0x10;
        syn.flags_class = SAL_FLAG_RETRY;
        build_sal(&want, &syn, &client_syn);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    }
    CU_ASSERT_TRUE(entropy_changed);

    struct segment anew = client_syn;
    anew.seq = 99;
    build_inner(&f, &anew);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_NOT_EQUAL(get32(&f, 46), ntohl(first.id));
    CU_ASSERT_EQUAL(f.data[54], 0); /* Flags: no retry. */
    CU_ASSERT_EQUAL(map_count(HALF_TUPLES(&client)), 1);
    tear_down();
}

static void
test_syn_reaches_target(void)
{
    struct frame f, want;
    struct sal_flow flow, peer;

    set_up();
    f = send_syn(&server);
    CU_ASSERT_TRUE(only_flow(HALF_FLOWS(&client), &peer));
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);

    struct segment inner = client_syn;
    inner.dst = ID_S;
    inner.dport = 8080;
    build_inner(&want, &inner);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    CU_ASSERT_EQUAL(memcmp(f.data, test_sal_mac, 6), 0);

    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &flow));
    CU_ASSERT_EQUAL(flow.peer_id, peer.id);
    CU_ASSERT_EQUAL(flow.nonce, peer.nonce);
    CU_ASSERT_EQUAL(ntohl(flow.peer_locator.w[3]), LOC_C);
    CU_ASSERT_EQUAL(flow.state, SAL_FLOW_HALF_OPEN);
    CU_ASSERT_TRUE(flow.flags & SAL_FLOW_SERVER);

    /* The same SYN again makes no second flow. */
    f = send_syn(&server);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&server)), 1);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_SYN_AGAIN), 1);
    tear_down();
}

static void
test_syn_ack_binds(void)
{
    struct frame f, want;
    struct sal_flow ours, theirs;

    set_up();
    f = send_syn(&server);
    run_ingress(&server, &f);
    build_inner(&f, server_syn_ack(ID_S));
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);

    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    struct sal_packet p = control_of(&server, &theirs, SAL_TYPE_SYN_ACK);
    struct segment inner = *server_syn_ack(ID_S);
    inner.src = WEB;
    inner.sport = 80;
    build_sal(&want, &p, &inner);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));

    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    build_inner(&want, &inner);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 0);
    CU_ASSERT_EQUAL(map_count(HALF_TUPLES(&client)), 0);
    CU_ASSERT_TRUE_FATAL(only_flow(FLOWS(&client), &ours));
    CU_ASSERT_EQUAL(ours.state, SAL_FLOW_BOUND);
    CU_ASSERT_EQUAL(ours.peer_id, theirs.id);
    CU_ASSERT_EQUAL(ntohl(ours.peer_locator.w[3]), LOC_S);

    /* Sent again (our ACK was lost), it still reaches the stack. */
    build_sal(&f, &p, &inner);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    tear_down();
}

static void
test_data_both_ways(void)
{
    struct frame f, want;
    struct sal_flow ours, theirs;
    struct segment out = {.src = ID_C, .dst = WEB, .sport = 40000,
                          .dport = 80, .seq = 1001, .ack = 5001,
                          .flags = PSH | ACK, .payload = "GET / HTTP/1.0\n"};

    set_up();
    connect_hosts(&ours, &theirs);
    build_inner(&f, &out);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    struct sal_packet p = data_of(&client, &ours);
    build_sal(&want, &p, &out);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));

    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    struct segment at_target = out;
    at_target.dst = ID_S;
    at_target.dport = 8080;
    build_inner(&want, &at_target);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));

    struct segment back = {.src = ID_S, .dst = ID_C, .sport = 8080,
                           .dport = 40000, .seq = 5001, .ack = 1016,
                           .flags = PSH | ACK, .payload = "odd"};
    build_inner(&f, &back);
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
    back.src = WEB;
    back.sport = 80;
    p = data_of(&server, &theirs);
    build_sal(&want, &p, &back);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    build_inner(&want, &back);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));

    CU_ASSERT_TRUE(only_flow(FLOWS(&client), &ours));
    CU_ASSERT_EQUAL(ours.in_packets, 2); /* SYN-ACK and DATA. */
    CU_ASSERT_EQUAL(ours.in_bytes, 40 + 43);
    tear_down();
}

/* A SYN on a bound tuple starts afresh: the old flow is forgotten. */
static void
test_tuple_reuse(void)
{
    struct frame f;
    struct sal_flow ours, theirs, anew;
    struct segment syn = client_syn;

    set_up();
    connect_hosts(&ours, &theirs);
    syn.seq = 77777;
    build_inner(&f, &syn);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(map_count(FLOWS(&client)), 0);
    CU_ASSERT_EQUAL(map_count(TUPLES(&client)), 0);
    CU_ASSERT_TRUE(only_flow(HALF_FLOWS(&client), &anew));
    CU_ASSERT_NOT_EQUAL(anew.id, ours.id);
    CU_ASSERT_EQUAL(get32(&f, 50), 0); /* No destination flow ID. */

    /* The server keeps the old flow until the new one is bound. */
    resolve_to(&f, LOC_S);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(map_count(FLOWS(&server)), 1);
    build_inner(&f, server_syn_ack(ID_S));
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(get32(&f, 50), ntohl(anew.id));
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    struct segment ack = client_syn;
    ack.flags = ACK;
    build_inner(&f, &ack);
    run_egress(&client, &f);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE(only_flow(FLOWS(&server), &theirs));
    CU_ASSERT_EQUAL(theirs.peer_id, anew.id);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_FLOW_REUSED), 1);
    tear_down();
}

/* The RST that the application gets for a connect to 'dst'. */
static void
expect_rst(struct frame *f, uint32_t dst)
{
    struct frame want;
    struct segment rst = {.src = dst, .dst = ID_C, .sport = 80,
                          .dport = 40000, .seq = 0, .ack = 1001,
                          .flags = RST | ACK};
    build_inner(&want, &rst);
    f->len = MIN(f->len, want.len); /* The rest is padding. */
    CU_ASSERT_TRUE(frame_equal(f, &want, 12));
    CU_ASSERT_EQUAL(memcmp(f->data, test_sal_mac, 6), 0);
}

static void
expect_refused(uint32_t dst, enum sal_counter reason)
{
    struct frame f;
    struct segment syn = client_syn;
    uint64_t before = counter(&client, reason);
    syn.dst = dst;
    build_inner(&f, &syn);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    expect_rst(&f, dst);
    CU_ASSERT_EQUAL(counter(&client, reason), before + 1);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 0);
}

static void
test_refused_at_home(void)
{
    struct frame f;
    struct segment syn = client_syn;

    set_up();
    expect_refused(CLOSED, SAL_COUNT_OUT_RULE_REJECT);
    expect_refused(NOBODY, SAL_COUNT_OUT_UNKNOWN_ADDRESS);
    syn.dst = GONE;
    build_inner(&f, &syn);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_RULE_DROP), 1);
    expect_refused(OWN, SAL_COUNT_OUT_NO_TARGET);

    struct service_prefix root = {.len = 0};
    host_tables_remove_rule(&client.tables, &root);
    host_apply(&client);
    expect_refused(WEB, SAL_COUNT_OUT_NO_RULE);
    put_rule(&client, &root, SERVICE_FORWARD);

    client.tables.settings.resolver_v4 = 0;
    host_apply(&client);
    expect_refused(WEB, SAL_COUNT_OUT_NO_UPLINK);
    client.tables.settings.identity_v4 = ID_C + 1;
    host_apply(&client);
    expect_refused(WEB, SAL_COUNT_OUT_SOURCE);
    client.tables.settings.identity_v4 = 0;
    host_apply(&client);
    expect_refused(WEB, SAL_COUNT_OUT_NO_IDENTITY);
    tear_down();
}

/* Sends a SYN for 'dst' to the server, which refuses; the application gets a
 * RST. */
static void
expect_reset(uint32_t dst, uint16_t port, enum sal_counter reason)
{
    struct frame f, want;
    struct sal_flow flow;
    struct segment syn = client_syn;

    syn.dst = dst;
    syn.dport = port;
    build_inner(&f, &syn);
    run_egress(&client, &f);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &flow));
    resolve_to(&f, LOC_S);
    set_hops(&f, 3); /* The last attempt. */
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(counter(&server, reason), 1);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&server)), 0);

    struct sal_packet reset = control_of(&client, &flow, SAL_TYPE_RESET);
    reset.src = LOC_S;
    reset.dst = LOC_C;
    reset.src_flow = 0;
    reset.dst_flow = ntohl(flow.id);
    build_sal(&want, &reset, &syn);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));

    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    struct segment rst = {.src = dst, .dst = ID_C, .sport = port,
                          .dport = 40000, .ack = 1001, .flags = RST | ACK};
    build_inner(&want, &rst);
    f.len = MIN(f.len, want.len);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 0);
    CU_ASSERT_EQUAL(map_count(HALF_TUPLES(&client)), 0);
}

static void
test_refused_abroad(void)
{
    struct frame f;

    set_up();
    expect_reset(WEB, 81, SAL_COUNT_IN_NO_TARGET);
    put_rule(&client, &own, SERVICE_FORWARD);
    host_apply(&client);
    expect_reset(OWN, 80, SAL_COUNT_IN_NO_RULE);
    tear_down();

    set_up();
    put_rule(&server, &web, SERVICE_FORWARD);
    host_apply(&server);
    expect_reset(WEB, 80, SAL_COUNT_IN_NOT_LOCAL);
    put_rule(&server, &web, SERVICE_DROP);
    host_apply(&server);
    f = send_syn(&server);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_RULE_DROP), 1);
    tear_down();

    set_up();
    server.tables.settings.identity_v4 = 0;
    host_apply(&server);
    expect_reset(WEB, 80, SAL_COUNT_IN_NO_IDENTITY);
    tear_down();
}

/* Nobody listens on the target: the stack's RST becomes a RESET. */
static void
test_target_is_closed(void)
{
    struct frame f, want;
    struct sal_flow theirs;

    set_up();
    f = send_syn(&server);
    run_ingress(&server, &f);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    struct segment rst = {.src = ID_S, .dst = ID_C, .sport = 8080,
                          .dport = 40000, .ack = 1001, .flags = RST | ACK};
    build_inner(&f, &rst);
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
    struct sal_packet p = control_of(&server, &theirs, SAL_TYPE_RESET);
    p.service_id = NULL;
    rst.src = WEB;
    rst.sport = 80;
    build_sal(&want, &p, &rst);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&server)), 0);

    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    expect_rst(&f, WEB);
    tear_down();
}

/* The controller's RESET has no inner packet. */
static void
test_bare_reset(void)
{
    struct frame f;
    struct sal_flow flow;

    set_up();
    f = send_syn(&server);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &flow));
    struct sal_packet p = {.src = RESOLVER, .dst = LOC_C, .entropy = 6090,
                           .type = SAL_TYPE_RESET,
                           .dst_flow = ntohl(flow.id)};
    memcpy(p.nonce, &flow.nonce, 8);
    p.nonce[7] ^= 1;
    build_sal(&f, &p, NULL);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_WRONG_NONCE), 1);
    p.nonce[7] ^= 1;
    build_sal(&f, &p, NULL);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    expect_rst(&f, WEB);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 0);

    /* Said twice: it is of no half-open flow any more. */
    build_sal(&f, &p, NULL);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_UNSPEC);
    tear_down();
}

/* Two servers answer one SYN: the first binds, the other is told. */
static void
test_second_server_is_reset(void)
{
    struct frame first, second, f, want;
    struct sal_flow ours, theirs;

    set_up();
    f = send_syn(&server);
    run_ingress(&server, &f);
    f = send_syn(&other);
    run_ingress(&other, &f);
    build_inner(&first, server_syn_ack(ID_S));
    run_egress(&server, &first);
    build_inner(&second, server_syn_ack(ID_T));
    run_egress(&other, &second);
    memset(first.data, 0, 12);
    memset(second.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &first), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(FLOWS(&client), &ours));

    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&other), &theirs));
    f = second;
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_LATE_SYN_ACK), 1);
    struct sal_packet p = control_of(&other, &theirs, SAL_TYPE_RESET);
    p.src = LOC_C;
    p.dst = LOC_T;
    p.src_flow = ntohl(ours.id);
    p.dst_flow = ntohl(theirs.id);
    struct segment inner = *server_syn_ack(ID_T);
    inner.src = WEB;
    inner.sport = 80;
    build_sal(&want, &p, &inner);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    CU_ASSERT_TRUE(only_flow(FLOWS(&client), &theirs));
    CU_ASSERT_EQUAL(memcmp(&theirs, &ours, 64), 0);

    /* The other server's stack gets a RST at the right sequence number. */
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&other, &f), TC_ACT_REDIRECT);
    struct segment rst = {.src = ID_C, .dst = ID_T, .sport = 40000,
                          .dport = 8080, .seq = 1001, .flags = RST};
    build_inner(&want, &rst);
    f.len = MIN(f.len, want.len);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&other)), 0);
    tear_down();
}

/* web and shadow lead to one target; a client may use one port for both. */
static void
test_colliding_tuples_are_mapped(void)
{
    struct frame f, want;
    struct sal_flow ours, theirs;
    struct segment syn = client_syn;

    set_up();
    connect_hosts(&ours, &theirs);
    syn.dst = SHADOW;
    build_inner(&f, &syn);
    run_egress(&client, &f);
    resolve_to(&f, LOC_S);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    uint16_t mapped = get16(&f, 34);
    CU_ASSERT_NOT_EQUAL(mapped, 40000);
    struct segment inner = syn;
    inner.dst = ID_S;
    inner.dport = 8080;
    inner.sport = mapped;
    build_inner(&want, &inner);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));

    struct segment answer = *server_syn_ack(ID_S);
    answer.dport = mapped;
    build_inner(&f, &answer);
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    struct sal_packet p = control_of(&server, &theirs, SAL_TYPE_SYN_ACK);
    answer.src = SHADOW;
    answer.sport = 80;
    answer.dport = 40000;
    build_sal(&want, &p, &answer);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    CU_ASSERT_EQUAL(map_count(FLOWS(&server)), 1);
    tear_down();
}

/* The flow table is bounded; what does not fit is refused, not half served. */
static void
test_full_table(void)
{
    struct frame f;
    set_up();
    for (int i = 0; i < 20; i++) {
        struct segment syn = client_syn;
        struct segment syn_ack = *server_syn_ack(ID_S);
        syn.sport = syn_ack.dport = 40000 + i;
        build_inner(&f, &syn);
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        resolve_to(&f, LOC_S);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
        build_inner(&f, &syn_ack);
        CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
        memset(f.data, 0, 12);
        run_ingress(&client, &f);
        CU_ASSERT_EQUAL(f.data[44] == SAL_TYPE_RESET, i >= 16);
    }
    CU_ASSERT_EQUAL(map_count(FLOWS(&client)), 16);
    CU_ASSERT_EQUAL(map_count(TUPLES(&client)), 16);
    CU_ASSERT(counter(&client, SAL_COUNT_FLOW_TABLE_FULL) >= 4);
    tear_down();
}

/* RFC 6040: congestion marks cross, or the packet is dropped. */
static void
test_ecn(void)
{
    struct frame f, want;
    struct sal_flow ours, theirs;
    struct segment in = {.src = ID_C, .dst = WEB, .sport = 40000,
                         .dport = 80, .flags = ACK, .tos = 2};

    set_up();
    connect_hosts(&ours, &theirs);
    struct sal_packet p = data_of(&client, &ours);
    p.tos = 3;
    build_sal(&f, &p, &in);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    in.dst = ID_S;
    in.dport = 8080;
    in.tos = 3;
    build_inner(&want, &in);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));

    in.dst = WEB;
    in.dport = 80;
    in.tos = 0;
    build_sal(&f, &p, &in);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_ECN), 1);

    /* Outwards, DSCP and ECN are copied. */
    in.tos = 0xb9;
    build_inner(&f, &in);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[15], 0xb9);
    tear_down();
}

static void
run_local(const struct segment *in, const struct segment *out)
{
    struct frame f, want;
    build_inner(&f, in);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    build_inner(&want, out);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    CU_ASSERT_EQUAL(memcmp(f.data, test_sal_mac, 6), 0);
}

/* A host calls its own service: everything stays at home, both flows are
 * there, a refusal leaves neither. */
static void
test_own_service(void)
{
    struct segment in = client_syn, out;

    set_up();
    put_target(&client, &own, 80, 8080);
    client.tables.settings.resolver_v4 = 0; /* Not needed. */
    host_apply(&client);
    in.dst = OWN;
    in.tos = 0;
    out = in;
    out.src = OWN;
    out.dst = ID_C;
    out.dport = 8080;
    run_local(&in, &out);
    run_local(&in, &out); /* Sent again. */
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 2);

    struct segment back = {.src = ID_C, .dst = OWN, .sport = 8080,
                           .dport = 40000, .seq = 5, .ack = 1001,
                           .flags = SYN | ACK};
    struct segment seen = back;
    seen.src = OWN;
    seen.sport = 80;
    seen.dst = ID_C;
    run_local(&back, &seen);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 0);
    CU_ASSERT_EQUAL(map_count(FLOWS(&client)), 2);
    CU_ASSERT_EQUAL(map_count(TUPLES(&client)), 2);
    in.flags = out.flags = back.flags = seen.flags = PSH | ACK;
    in.payload = out.payload = "question";
    back.payload = seen.payload = "an answer";
    run_local(&in, &out);
    run_local(&back, &seen);
    tear_down();

    set_up();
    put_target(&client, &own, 80, 8080);
    host_apply(&client);
    in.flags = out.flags = SYN;
    in.payload = out.payload = NULL;
    run_local(&in, &out);
    back.flags = seen.flags = RST | ACK;
    back.payload = seen.payload = NULL;
    run_local(&back, &seen);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 0);
    CU_ASSERT_EQUAL(map_count(FLOWS(&client)), 0);
    tear_down();
}

/* UDP: datagrams carry the SYN's header until the server was heard, the
 * server's that of SYN-ACK until the client was heard again. */
static void
test_udp(void)
{
    struct frame f, want;
    struct sal_flow ours, theirs;
    struct segment ask = {.src = ID_C, .dst = WEB, .sport = 5353,
                          .dport = 53, .payload = "who?", .udp = true};
    struct segment asked = ask;
    asked.dst = ID_S;
    asked.dport = 9953;
    struct segment tell = {.src = ID_S, .dst = ID_C, .sport = 9953,
                           .dport = 5353, .payload = "me", .udp = true};
    struct segment told = tell;
    told.src = WEB;
    told.sport = 53;

    test_device();
    set_up();
    struct local_target t = {.prefix = web, .protocol = 17,
                             .service_port = 53, .port = 9953};
    host_tables_put_target(&server.tables, &t);
    host_apply(&server);
    for (int i = 0; i < 3; i++) { /* A burst: one flow, one server. */
        build_inner(&f, &ask);
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
        struct sal_packet p = control_of(&client, &ours, SAL_TYPE_SYN);
        p.udp = true;
        build_sal(&want, &p, &ask);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        resolve_to(&f, LOC_S);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
        CU_ASSERT_TRUE_FATAL(test_delivered(&f, 10000));
        build_inner(&want, &asked);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    }
    build_inner(&f, &tell);
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
    struct sal_packet p = control_of(&server, &theirs, SAL_TYPE_SYN_ACK);
    p.udp = true;
    build_sal(&want, &p, &told);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    build_inner(&want, &told);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));

    /* Bound now, both ways. */
    build_inner(&f, &ask);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
    CU_ASSERT_EQUAL(ours.state, SAL_FLOW_BOUND);
    p = data_of(&client, &ours);
    p.udp = true;
    build_sal(&want, &p, &ask);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    build_inner(&want, &asked);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    build_inner(&f, &tell);
    CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[44], SAL_TYPE_DATA);

    /* Refused: ICMP port unreachable, quoting the datagram. */
    ask.dport = 54;
    build_inner(&f, &ask);
    run_egress(&client, &f);
    resolve_to(&f, LOC_S);
    set_hops(&f, 3);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[44], SAL_TYPE_RESET);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[23], 1);
    CU_ASSERT_EQUAL(get16(&f, 34), 0x0303);
    CU_ASSERT_EQUAL(test_checksum(f.data + 14, 20, 0), 0);
    CU_ASSERT_EQUAL(test_checksum(f.data + 34, 36, 0), 0);
    build_inner(&want, &ask);
    CU_ASSERT_EQUAL(memcmp(f.data + 42, want.data + 14, 28), 0);
    tear_down();
}

/* A service address is a longest-prefix match away from its rule. */
static void
test_longest_prefix(void)
{
    struct frame f;
    struct service_prefix shop;

    set_up();
    service_prefix_from_name("shop.acme", &shop);
    put_rule(&client, &shop, SERVICE_REJECT);
    host_apply(&client);
    expect_refused(WEB, SAL_COUNT_OUT_RULE_REJECT);
    put_rule(&client, &web, SERVICE_FORWARD);
    host_apply(&client);
    build_inner(&f, &client_syn);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[44], SAL_TYPE_SYN);
    host_tables_remove_rule(&client.tables, &web);
    host_apply(&client);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_SYN), 1);
    tear_down();
}

UNIT_MAIN("sal_bpf", UNIT_TEST(test_syn_goes_to_resolver),
          UNIT_TEST(test_syn_retry), UNIT_TEST(test_syn_reaches_target),
          UNIT_TEST(test_syn_ack_binds), UNIT_TEST(test_data_both_ways),
          UNIT_TEST(test_tuple_reuse), UNIT_TEST(test_refused_at_home),
          UNIT_TEST(test_refused_abroad), UNIT_TEST(test_target_is_closed),
          UNIT_TEST(test_bare_reset), UNIT_TEST(test_second_server_is_reset),
          UNIT_TEST(test_colliding_tuples_are_mapped),
          UNIT_TEST(test_full_table), UNIT_TEST(test_ecn),
          UNIT_TEST(test_own_service), UNIT_TEST(test_udp),
          UNIT_TEST(test_longest_prefix))
