/* SPDX-License-Identifier: Apache-2.0 */
/* What must not get through: every field hostile, forgeries, replays, noise.
 * Each refusal is counted under its own reason, and no flow changes. */
#include <poll.h>
#include "agents/datapath_flows.h"
#include "tests/bpf/bpf_pair.h"

/* Offsets of a frame. */
enum {
    IP_VERSION = 14,
    IP_LEN = 16,
    IP_FRAG = 20,
    IP_PROTO = 23,
    UDP_DST = 36,
    UDP_LEN_OFS = 38,
    UDP_SUM = 40,
    SAL = 42,
    DATA_INNER = SAL + 16,
    SYN_INNER = SAL + 84,
};

static struct sal_flow ours, theirs; /* Bound, of connect_hosts(). */

static void
snapshot(struct host *host, struct sal_flow *flow)
{
    CU_ASSERT_TRUE(only_flow(FLOWS(host), flow));
}

/* All that decides who owns a flow. */
static bool
flow_unchanged(struct host *host, const struct sal_flow *before)
{
    struct sal_flow now;
    return only_flow(FLOWS(host), &now)
           && !memcmp(&now, before,
                      offsetof(struct sal_flow, last_in_ns))
           && now.in_packets == before->in_packets;
}

/* The client's DATA towards the server, as the network delivers it. */
static struct frame
good_data(void)
{
    struct segment s = {.src = ID_C, .dst = WEB, .sport = 40000,
                        .dport = 80, .seq = 1001, .ack = 5001,
                        .flags = PSH | ACK, .payload = "payload"};
    struct sal_packet p = data_of(&client, &ours);
    struct frame f;
    build_sal(&f, &p, &s);
    return f;
}

static void
fix_ip_checksum(struct frame *f, size_t ofs)
{
    set16(f, ofs + 10, 0);
    set16(f, ofs + 10, test_checksum(f->data + ofs, 20, 0));
}

static void
fix_sal_checksum(struct frame *f)
{
    size_t len = MIN(f->data[SAL + 1] * 4, (int) (f->len - SAL));
    set16(f, SAL + 14, 0);
    set16(f, SAL + 14, test_checksum(f->data + SAL, len, 0));
}

static void
expect_drop(struct host *host, struct frame f, enum sal_counter reason)
{
    uint64_t before = counter(host, reason);
    int verdict = run_ingress(host, &f);
    if (verdict != TC_ACT_SHOT || counter(host, reason) != before + 1) {
        fprintf(stderr, "\nverdict %d, reason %d not counted; counted:",
                verdict, reason);
        for (int i = 0; i < SAL_N_COUNTERS; i++) {
            if (counter(host, i)) {
                fprintf(stderr, " %d", i);
            }
        }
        fputc('\n', stderr);
    }
    CU_ASSERT_EQUAL(verdict, TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(host, reason), before + 1);
}

/* One byte of a good packet changed; checksums fixed where they would
 * otherwise be what is noticed. */
struct mutation {
    size_t ofs;
    uint8_t value;
    enum sal_counter reason;
};

static const struct mutation data_mutations[] = {
    {SAL + 0, 0x20, SAL_COUNT_IN_VERSION},
    {SAL + 0, 0x00, SAL_COUNT_IN_VERSION},
    {SAL + 1, 3, SAL_COUNT_IN_HEADER_LEN},
    {SAL + 1, 0, SAL_COUNT_IN_HEADER_LEN},
    {SAL + 1, 5, SAL_COUNT_IN_HEADER_LEN},
    {SAL + 1, 255, SAL_COUNT_IN_HEADER_LEN},
    {SAL + 2, 0x00, SAL_COUNT_IN_TYPE},
    {SAL + 2, 0x07, SAL_COUNT_IN_TYPE},
    {SAL + 2, 0x10, SAL_COUNT_IN_TYPE},
    {SAL + 2, 0x16, SAL_COUNT_IN_TYPE},
    {SAL + 2, 0xff, SAL_COUNT_IN_TYPE},
    {SAL + 3, 17, SAL_COUNT_IN_INNER_MALFORMED},
    {SAL + 3, 0, SAL_COUNT_IN_INNER_MALFORMED},
    {SAL + 13, 41, SAL_COUNT_IN_TRUNCATED},
    {SAL + 13, 59, SAL_COUNT_IN_INNER_FORMAT},
    {SAL + 13, 0, SAL_COUNT_IN_INNER_FORMAT},
    {DATA_INNER + 0, 0x46, SAL_COUNT_IN_INNER_MALFORMED},
    {DATA_INNER + 0, 0x65, SAL_COUNT_IN_INNER_MALFORMED},
    {DATA_INNER + 3, 46, SAL_COUNT_IN_INNER_MALFORMED},
    {DATA_INNER + 3, 48, SAL_COUNT_IN_INNER_MALFORMED},
    {DATA_INNER + 2, 0xff, SAL_COUNT_IN_INNER_MALFORMED},
    {DATA_INNER + 6, 0x20, SAL_COUNT_IN_INNER_FRAGMENT},
    {DATA_INNER + 7, 1, SAL_COUNT_IN_INNER_FRAGMENT},
    {DATA_INNER + 9, 17, SAL_COUNT_IN_INNER_MALFORMED},
    {DATA_INNER + 15, 2, SAL_COUNT_IN_WRONG_TUPLE},
    {DATA_INNER + 19, 2, SAL_COUNT_IN_WRONG_TUPLE},
    {DATA_INNER + 20, 1, SAL_COUNT_IN_WRONG_TUPLE},
    {DATA_INNER + 23, 81, SAL_COUNT_IN_WRONG_TUPLE},
    {DATA_INNER + 32, 0x40, SAL_COUNT_IN_INNER_MALFORMED},
    {DATA_INNER + 32, 0xf0, SAL_COUNT_IN_INNER_MALFORMED},
    {DATA_INNER + 33, SYN, SAL_COUNT_IN_INNER_MALFORMED},
    {DATA_INNER + 33, SYN | ACK, SAL_COUNT_IN_INNER_MALFORMED},
    {IP_FRAG, 0x20, SAL_COUNT_IN_OUTER_FRAGMENT},
    {IP_LEN + 1, 200, SAL_COUNT_IN_OUTER_MALFORMED},
    {IP_LEN, 0xff, SAL_COUNT_IN_OUTER_MALFORMED},
    {UDP_LEN_OFS + 1, 7, SAL_COUNT_IN_OUTER_MALFORMED},
    {UDP_LEN_OFS, 0xff, SAL_COUNT_IN_OUTER_MALFORMED},
    {UDP_SUM, 0x12, SAL_COUNT_IN_UDP_CHECKSUM},
};

static void
test_data_mutations(void)
{
    set_up();
    connect_hosts(&ours, &theirs);
    snapshot(&server, &theirs);
    for (size_t i = 0; i < ARRAY_SIZE(data_mutations); i++) {
        const struct mutation *m = &data_mutations[i];
        struct frame f = good_data();
        f.data[m->ofs] = m->value;
        if (m->ofs < UDP_DST) {
            fix_ip_checksum(&f, 14);
        }
        expect_drop(&server, f, m->reason);
    }
    CU_ASSERT_TRUE(flow_unchanged(&server, &theirs));
    struct frame f = good_data();
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    tear_down();
}

static void
set_lengths(struct frame *f, size_t len)
{
    f->len = len;
    set16(f, IP_LEN, len - 14);
    set16(f, UDP_LEN_OFS, len - 34);
    fix_ip_checksum(f, 14);
}

/* Cut at every length, with outer lengths that agree and that do not. */
static void
test_truncation(void)
{
    set_up();
    connect_hosts(&ours, &theirs);
    snapshot(&server, &theirs);
    struct frame syn = send_syn(&server), data = good_data();
    size_t n_half = map_count(HALF_FLOWS(&server));
    for (size_t len = 34; len < syn.len; len++) {
        struct frame f = syn;
        f.len = len;
        CU_ASSERT_NOT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
        if (len >= SAL) {
            f = syn;
            set_lengths(&f, len);
            expect_drop(&server, f, len < SYN_INNER + 40
                                    ? SAL_COUNT_IN_TRUNCATED
                                    : SAL_COUNT_IN_INNER_MALFORMED);
        }
    }
    for (size_t len = SAL; len < data.len; len++) {
        struct frame f = data;
        set_lengths(&f, len);
        expect_drop(&server, f, len < DATA_INNER + 40
                                ? SAL_COUNT_IN_TRUNCATED
                                : SAL_COUNT_IN_INNER_MALFORMED);
    }
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&server)), n_half);
    CU_ASSERT_TRUE(flow_unchanged(&server, &theirs));

    /* Ethernet pads short frames; that is no offence. */
    data.len += 6;
    CU_ASSERT_EQUAL(run_ingress(&server, &data), TC_ACT_REDIRECT);
    tear_down();
}

static const struct mutation syn_mutations[] = {
    {SAL + 1, 15, SAL_COUNT_IN_HEADER_LEN},
    {SAL + 1, 0, SAL_COUNT_IN_HEADER_LEN},
    {SAL + 1, 22, SAL_COUNT_IN_TRUNCATED},
    {SAL + 1, 255, SAL_COUNT_IN_TRUNCATED},
    {SAL + 3, 17, SAL_COUNT_IN_INNER_MALFORMED},
    {SAL + 11, 1, SAL_COUNT_IN_FLOW_ID},
    {SAL + 13, 41, SAL_COUNT_IN_TRUNCATED},
    {SAL + 13, 59, SAL_COUNT_IN_INNER_FORMAT},
    {SYN_INNER + 0, 0x4f, SAL_COUNT_IN_INNER_MALFORMED},
    {SYN_INNER + 6, 0x20, SAL_COUNT_IN_INNER_FRAGMENT},
    {SYN_INNER + 12, 127, SAL_COUNT_IN_INNER_SOURCE},
    {SYN_INNER + 12, 0, SAL_COUNT_IN_INNER_SOURCE},
    {SYN_INNER + 12, 224, SAL_COUNT_IN_INNER_SOURCE},
    {SYN_INNER + 12, 255, SAL_COUNT_IN_INNER_SOURCE},
    {SYN_INNER + 15, 2, SAL_COUNT_IN_INNER_SOURCE}, /* The server's own. */
    {SYN_INNER + 32, 0x40, SAL_COUNT_IN_INNER_MALFORMED},
    {SYN_INNER + 32, 0x60, SAL_COUNT_IN_INNER_MALFORMED},
    {SYN_INNER + 33, ACK, SAL_COUNT_IN_INNER_MALFORMED},
    {SYN_INNER + 33, SYN | ACK, SAL_COUNT_IN_INNER_MALFORMED},
    {SYN_INNER + 33, SYN | RST, SAL_COUNT_IN_INNER_MALFORMED},
    {SYN_INNER + 33, SYN | FIN, SAL_COUNT_IN_INNER_MALFORMED},
    {IP_FRAG, 0x20, SAL_COUNT_IN_OUTER_FRAGMENT},
    {UDP_SUM, 0x12, SAL_COUNT_IN_UDP_CHECKSUM},
};

static void
test_syn_mutations(void)
{
    set_up();
    for (size_t i = 0; i < ARRAY_SIZE(syn_mutations); i++) {
        const struct mutation *m = &syn_mutations[i];
        struct frame f = send_syn(&server);
        f.data[m->ofs] = m->value;
        fix_ip_checksum(&f, 14);
        fix_sal_checksum(&f);
        expect_drop(&server, f, m->reason);
    }
    /* Any single byte of the header, its checksum left alone. */
    for (size_t ofs = SAL + 3; ofs < SYN_INNER; ofs++) {
        struct frame f = send_syn(&server);
        f.data[ofs] ^= 1 + unit_random_below(255);
        expect_drop(&server, f, SAL_COUNT_IN_CHECKSUM);
    }
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&server)), 0);

    struct frame f = send_syn(&server);
    memset(f.data + SAL + 4, 0, 4); /* Source flow ID 0. */
    fix_sal_checksum(&f);
    expect_drop(&server, f, SAL_COUNT_IN_FLOW_ID);
    tear_down();
}

/* DATA for a good flow from somebody else, or of somebody else. */
static void
test_forged_data(void)
{
    struct segment s = {.src = ID_C, .dst = WEB, .sport = 40000,
                        .dport = 80, .flags = RST | ACK};
    struct frame f;
    set_up();
    connect_hosts(&ours, &theirs);
    snapshot(&server, &theirs);

    struct sal_packet p = data_of(&client, &ours);
    p.src = LOC_T;
    build_sal(&f, &p, &s);
    expect_drop(&server, f, SAL_COUNT_IN_WRONG_PEER);
    p = data_of(&client, &ours);
    p.src_flow ^= 1;
    build_sal(&f, &p, &s);
    expect_drop(&server, f, SAL_COUNT_IN_WRONG_PEER);
    p = data_of(&client, &ours);
    p.dst_flow ^= 1;
    build_sal(&f, &p, &s);
    expect_drop(&server, f, SAL_COUNT_IN_UNKNOWN_FLOW);
    p.dst_flow = 0;
    build_sal(&f, &p, &s);
    expect_drop(&server, f, SAL_COUNT_IN_UNKNOWN_FLOW);

    /* Guessing flow IDs does not help. */
    for (int i = 0; i < 1000; i++) {
        p.dst_flow = unit_random();
        p.src_flow = unit_random();
        build_sal(&f, &p, &s);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_SHOT);
    }
    CU_ASSERT_TRUE(flow_unchanged(&server, &theirs));
    CU_ASSERT_EQUAL(theirs.state, SAL_FLOW_BOUND);
    tear_down();
}

/* The peer of 'ours' moves to LOC_T: what it sent before is still taken, for a
 * while, and nobody else's. */
static void
test_data_of_moved_peer(void)
{
    struct segment s = {.src = ID_C, .dst = WEB, .sport = 40000,
                        .dport = 80, .seq = 1001, .ack = 5001,
                        .flags = ACK};
    struct sal_flow moved;
    struct frame f;
    set_up();
    connect_hosts(&ours, &theirs);
    struct sal_packet old = data_of(&client, &ours), new = old;
    new.src = LOC_T;
    build_sal(&f, &new, &s);
    expect_drop(&server, f, SAL_COUNT_IN_WRONG_PEER);

    struct datapath_flow flow;
    uint32_t ids[] = {ntohl(theirs.id), ~ntohl(theirs.id)};
    CU_ASSERT_EQUAL_FATAL(datapath_flow_get(server.dp, ids[0], &flow), 0);
    struct datapath_move move = {.path = flow.path, .group = 7,
                                 .late_ms = 60000};
    migration_locator_from_v4(LOC_T, &move.path.peer);
    CU_ASSERT_EQUAL(datapath_flows_move(server.dp, &move, ids, 2), 0);
    memcpy(move.peer_endpoint, flow.peer_endpoint, sizeof flow.peer_endpoint);
    CU_ASSERT_EQUAL(datapath_flows_move(server.dp, &move, ids, 2), 1);
    snapshot(&server, &moved);
    CU_ASSERT_EQUAL(moved.group, 7);
    CU_ASSERT_EQUAL(addr_to_host_v4(&moved.peer_locator), LOC_T);
    CU_ASSERT_EQUAL(addr_to_host_v4(&moved.previous_locator), LOC_C);

    build_sal(&f, &new, &s);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    build_sal(&f, &old, &s);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_PREVIOUS), 1);
    old.src = LOC_T + 1;
    build_sal(&f, &old, &s);
    expect_drop(&server, f, SAL_COUNT_IN_WRONG_PEER);

    /* Moved once more, and the time for what is late is over. */
    migration_locator_from_v4(LOC_C, &move.path.peer);
    move.late_ms = 0;
    CU_ASSERT_EQUAL(datapath_flows_move(server.dp, &move, ids, 1), 1);
    build_sal(&f, &new, &s);
    expect_drop(&server, f, SAL_COUNT_IN_WRONG_PEER);
    tear_down();
}

/* Without a way to the peer packets are refused, so that TCP keeps what is
 * new; a little later they are let through to sal0, which drops them. */
static void
test_held(void)
{
    struct segment s = {.src = ID_C, .dst = WEB, .sport = 40000,
                        .dport = 80, .seq = 1001, .ack = 5001,
                        .flags = ACK};
    struct datapath_flow flow;
    struct frame f;
    uint32_t id;
    set_up();
    connect_hosts(&ours, &theirs);
    id = ntohl(ours.id);
    CU_ASSERT_EQUAL_FATAL(datapath_flow_get(client.dp, id, &flow), 0);
    struct datapath_move move = {.path = flow.path};
    memcpy(move.peer_endpoint, flow.peer_endpoint, sizeof flow.peer_endpoint);
    int verdict = TC_ACT_UNSPEC;
    for (int i = 0; i < 50 && verdict != TC_ACT_SHOT; i++) {
        /* Unless we were not run for as long as that lasts. */
        move.path.ifindex = flow.path.ifindex;
        CU_ASSERT_EQUAL(datapath_flows_move(client.dp, &move, &id, 1), 1);
        move.path.ifindex = 0;
        CU_ASSERT_EQUAL(datapath_flows_move(client.dp, &move, &id, 1), 1);
        build_inner(&f, &s);
        verdict = run_egress(&client, &f);
    }
    CU_ASSERT_EQUAL(verdict, TC_ACT_SHOT);
    CU_ASSERT(counter(&client, SAL_COUNT_OUT_HELD) >= 1);
    for (int i = 0; i < 100 && verdict == TC_ACT_SHOT; i++) {
        poll(NULL, 0, 10);
        /* Held again: that does not begin anew. */
        datapath_flows_move(client.dp, &move, &id, 1);
        build_inner(&f, &s);
        verdict = run_egress(&client, &f);
    }
    CU_ASSERT_EQUAL(verdict, TC_ACT_UNSPEC);
    move.path = flow.path;
    CU_ASSERT_EQUAL(datapath_flows_move(client.dp, &move, &id, 1), 1);
    build_inner(&f, &s);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    tear_down();
}

/* A RESET, whoever sends it, does not end a bound flow here: it goes to the
 * daemon, which asks for its MAC. */
static void
test_reset_of_bound_flow(void)
{
    struct frame f;
    set_up();
    connect_hosts(&ours, &theirs);
    snapshot(&server, &theirs);
    struct sal_packet p = control_of(&client, &ours, SAL_TYPE_RESET);
    p.service_id = NULL;
    build_sal(&f, &p, NULL);
    struct frame before = f;
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_UNSPEC);
    CU_ASSERT_TRUE(frame_equal(&f, &before, 0));
    p.dst_flow = 0;
    build_sal(&f, &p, NULL);
    expect_drop(&server, f, SAL_COUNT_IN_FLOW_ID);
    CU_ASSERT_TRUE(flow_unchanged(&server, &theirs));
    tear_down();
}

/* A half-open server flow: only its client may end or bind it. */
static void
test_half_open_forgeries(void)
{
    struct frame f;
    struct sal_flow half, mine;
    struct segment ack = {.src = ID_C, .dst = WEB, .sport = 40000,
                          .dport = 80, .seq = 1001, .ack = 5001,
                          .flags = ACK};
    set_up();
    f = send_syn(&server);
    run_ingress(&server, &f);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &half));
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &mine));

    struct sal_packet reset = control_of(&client, &mine, SAL_TYPE_RESET);
    reset.service_id = NULL;
    reset.dst = LOC_S;
    reset.dst_flow = ntohl(half.id);
    reset.src = LOC_T;
    build_sal(&f, &reset, NULL);
    expect_drop(&server, f, SAL_COUNT_IN_WRONG_PEER);
    reset.src = LOC_C;
    reset.nonce[0] ^= 1;
    build_sal(&f, &reset, NULL);
    expect_drop(&server, f, SAL_COUNT_IN_WRONG_NONCE);

    /* DATA before the SYN-ACK is sent is nobody's ACK. */
    struct sal_packet data = data_of(&client, &mine);
    data.dst = LOC_S;
    data.dst_flow = ntohl(half.id);
    build_sal(&f, &data, &ack);
    expect_drop(&server, f, SAL_COUNT_IN_NOT_BOUND);
    data.src = LOC_T;
    build_sal(&f, &data, &ack);
    expect_drop(&server, f, SAL_COUNT_IN_WRONG_PEER);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&server)), 1);
    CU_ASSERT_EQUAL(map_count(FLOWS(&server)), 0);

    /* DATA does not bind the client's end. */
    data = data_of(&client, &mine);
    data.src = LOC_S;
    data.dst = LOC_C;
    data.dst_flow = ntohl(mine.id);
    data.src_flow = 0;
    struct segment back = {.src = WEB, .dst = ID_C, .sport = 80,
                           .dport = 40000, .flags = ACK};
    build_sal(&f, &data, &back);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(map_count(FLOWS(&client)), 0);
    tear_down();
}

/* SYN-ACKs that are not the answer to our SYN. */
static void
test_forged_syn_ack(void)
{
    struct frame f;
    struct sal_flow mine;
    set_up();
    send_syn(&server);
    CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &mine));
    struct segment inner = *server_syn_ack(WEB);
    inner.sport = 80;
    struct sal_packet good = control_of(&client, &mine, SAL_TYPE_SYN_ACK);
    good.src = LOC_T;
    good.dst = LOC_C;
    good.dst_flow = ntohl(mine.id);
    good.src_flow = 0x1234;

    struct sal_packet p = good;
    p.nonce[3] ^= 0x10;
    build_sal(&f, &p, &inner);
    expect_drop(&client, f, SAL_COUNT_IN_WRONG_NONCE);
    p = good;
    p.src_flow = 0;
    build_sal(&f, &p, &inner);
    expect_drop(&client, f, SAL_COUNT_IN_FLOW_ID);
    p = good;
    build_sal(&f, &p, NULL);
    expect_drop(&client, f, SAL_COUNT_IN_INNER_FORMAT);
    struct segment wrong = inner;
    wrong.dport++;
    build_sal(&f, &good, &wrong);
    expect_drop(&client, f, SAL_COUNT_IN_WRONG_TUPLE);
    wrong = inner;
    wrong.flags = ACK;
    build_sal(&f, &good, &wrong);
    expect_drop(&client, f, SAL_COUNT_IN_INNER_MALFORMED);
    CU_ASSERT_EQUAL(map_count(FLOWS(&client)), 0);

    /* Of a flow that we do not have: its server is told to forget it. */
    p = good;
    p.dst_flow ^= 1;
    build_sal(&f, &p, &inner);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.data[SAL + 2], SAL_TYPE_RESET);
    CU_ASSERT_EQUAL(get32(&f, SAL + 8), 0x1234);
    CU_ASSERT_EQUAL(get32(&f, 30), LOC_T);
    tear_down();
}

/* What is not for the programs reaches the stack untouched. */
static void
test_passed(void)
{
    static const uint8_t daemons[] = {
        SAL_TYPE_FIN, SAL_TYPE_RSYN, SAL_TYPE_RSYN_ACK, SAL_TYPE_RSYN_DONE,
        SAL_TYPE_PROBE};
    struct frame f, before;

    set_up();
    connect_hosts(&ours, &theirs);
    for (size_t i = 0; i < ARRAY_SIZE(daemons); i++) {
        struct sal_packet p = control_of(&client, &ours, daemons[i]);
        build_sal(&f, &p, NULL);
        before = f;
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_UNSPEC);
        CU_ASSERT_TRUE(frame_equal(&f, &before, 0));
    }
    /* Another UDP port, TCP, another host's packet in transit, ARP. */
    for (int i = 0; i < 4; i++) {
        f = i == 2 ? send_syn(&server) : good_data();
        switch (i) {
        case 0:
            set16(&f, UDP_DST, 6091);
            break;
        case 1:
            f.data[IP_PROTO] = 6;
            break;
        case 2:
            f.data[33] = 99;
            break;
        case 3:
            set16(&f, 12, 0x0806);
        }
        before = f;
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_UNSPEC);
        CU_ASSERT_TRUE(frame_equal(&f, &before, 0));
    }
    f = good_data();
    f.data[33] = 99; /* DATA in transit. */
    before = f;
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_UNSPEC);
    CU_ASSERT_TRUE(frame_equal(&f, &before, 0));
    tear_down();
}

/* A UDP checksum is optional, but if there, it is checked. */
static void
test_udp_checksum(void)
{
    struct frame f;
    set_up();
    connect_hosts(&ours, &theirs);
    f = good_data();
    size_t len = f.len - 34;
    set16(&f, UDP_SUM,
          test_checksum(f.data + 34, len, pseudo_sum(LOC_C, LOC_S, len, 17)));
    struct frame wrong = f;
    wrong.data[f.len - 1] ^= 1;
    expect_drop(&server, wrong, SAL_COUNT_IN_UDP_CHECKSUM);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);

    /* Of more than one chunk, and of odd length. */
    static char payload[1200];
    memset(payload, 'x', sizeof payload - 2);
    struct segment s = {.src = ID_C, .dst = WEB, .sport = 40000,
                        .dport = 80, .flags = ACK, .payload = payload};
    struct sal_packet p = data_of(&client, &ours);
    for (size_t cut = 0; cut < 8; cut++) {
        payload[sizeof payload - 3 - cut] = '\0';
        build_sal(&f, &p, &s);
        len = f.len - 34;
        set16(&f, UDP_SUM,
              test_checksum(f.data + 34, len,
                            pseudo_sum(LOC_C, LOC_S, len, 17)));
        wrong = f;
        wrong.data[100 + unit_random_below(f.len - 100)] ^= 0x40;
        expect_drop(&server, wrong, SAL_COUNT_IN_UDP_CHECKSUM);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    }
    tear_down();
}

/* From local programs. */
static void
test_hostile_application(void)
{
    struct frame f;
    set_up();
    build_inner(&f, &client_syn);
    f.data[20] = 0x20;
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_FRAGMENT), 1);
    build_inner(&f, &client_syn);
    f.data[23] = 132;
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_UNSUPPORTED), 1);
    build_inner(&f, &client_syn);
    f.data[14] = 0x46;
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
    build_inner(&f, &client_syn);
    f.len = 40;
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_MALFORMED), 2);

    struct segment s = client_syn;
    s.flags = ACK;
    build_inner(&f, &s);
    s.ack = 0x12345678;
    build_inner(&f, &s);
    /* The connection ends: a RST where its stack expects the next octet. */
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_NO_FLOW), 1);
    CU_ASSERT_EQUAL(f.data[14 + 20 + 13], RST);
    CU_ASSERT_EQUAL(get32(&f, 14 + 20 + 4), 0x12345678);
    s.flags = RST | ACK; /* Nothing answers that. */
    build_inner(&f, &s);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
    s.flags = ACK;
    build_inner(&f, &client_syn);
    run_egress(&client, &f);
    build_inner(&f, &s);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_NOT_BOUND), 1);
    tear_down();
}

/* Noise: good packets with a few random bytes changed, and their checksums
 * made good.  Whatever happens, the bound flow stays who it is. */
static void
test_noise(void)
{
    struct frame seeds[4];
    struct segment inner;

    set_up();
    connect_hosts(&ours, &theirs);
    seeds[0] = good_data();
    struct sal_packet p = control_of(&client, &ours, SAL_TYPE_SYN_ACK);
    inner = client_syn;
    inner.flags = SYN | ACK;
    build_sal(&seeds[1], &p, &inner);
    p.type = SAL_TYPE_RESET;
    build_sal(&seeds[2], &p, &inner);
    p.type = SAL_TYPE_SYN;
    p.dst_flow = 0;
    build_sal(&seeds[3], &p, &client_syn);
    seeds[3].data[SYN_INNER + 20] ^= 0xff; /* Another connection. */
    for (int i = 0; i < 20000; i++) {
        struct frame f = seeds[unit_random_below(4)];
        for (int n = 1 + unit_random_below(4); n; n--) {
            size_t ofs = 14 + unit_random_below(f.len - 14);
            f.data[ofs] = unit_random();
        }
        if (unit_random_below(8) == 0) {
            f.len = 34 + unit_random_below(f.len - 34);
        }
        if (f.len > SAL + 20) {
            fix_ip_checksum(&f, 14);
            fix_sal_checksum(&f);
        }
        run_ingress(&server, &f);
    }
    struct sal_flow now;
    bool there = only_flow(FLOWS(&server), &now);
    if (there) {
        CU_ASSERT_EQUAL(memcmp(&now, &theirs, 44), 0);
        CU_ASSERT_EQUAL(memcmp(&now.local, &theirs.local, 80), 0);
    }
    CU_ASSERT_TRUE(there);
    struct frame f = good_data();
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    tear_down();
}

/* Lets the server look at as many SYNs again as it can save up for. */
static void
forgive_syns(void)
{
    uint32_t strangers = 0;
    uint64_t spent_ns = 0;
    int fd = bpf_map__fd(server.dp->skeleton->maps.sal_syn_budgets);
    CU_ASSERT_EQUAL(bpf_map_update_elem(fd, &strangers, &spent_ns, BPF_ANY),
                    0);
}

/* A flood of SYNs, were they looked at, fills the half-open table, never the
 * other one. */
static void
test_syn_flood(void)
{
    struct frame f;
    set_up();
    connect_hosts(&ours, &theirs);
    struct sal_packet p = control_of(&client, &ours, SAL_TYPE_SYN);
    p.dst_flow = 0;
    for (uint32_t i = 0; i < 40000; i++) {
        struct segment s = client_syn;
        if (i % 2048 == 0) {
            forgive_syns();
        }
        s.sport = 1 + i;
        s.src = ID_C + 256 + (i >> 15);
        p.src_flow = i + 1;
        build_sal(&f, &p, &s);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    }
    CU_ASSERT_TRUE(map_count(HALF_FLOWS(&server)) <= 16384);
    snapshot(&server, &theirs);
    f = good_data();
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    tear_down();
}

UNIT_MAIN("sal_hostile", UNIT_TEST(test_data_mutations),
          UNIT_TEST(test_truncation), UNIT_TEST(test_syn_mutations),
          UNIT_TEST(test_forged_data),
          UNIT_TEST(test_data_of_moved_peer), UNIT_TEST(test_held),
          UNIT_TEST(test_reset_of_bound_flow),
          UNIT_TEST(test_half_open_forgeries),
          UNIT_TEST(test_forged_syn_ack), UNIT_TEST(test_passed),
          UNIT_TEST(test_udp_checksum), UNIT_TEST(test_hostile_application),
          UNIT_TEST(test_noise), UNIT_TEST(test_syn_flood))
