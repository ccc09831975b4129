/* SPDX-License-Identifier: Apache-2.0 */
/* IPv6 inside and outside, byte by byte: each step of a connection in each of
 * the four combinations, what is refused, ECN and DSCP, checksums. */
#include "tests/bpf/bpf_v6.h"

static void
test_connection(void)
{
    FOR_EACH_COMBINATION (in, out) {
        struct sal_flow ours, theirs;
        struct frame f, want;
        set_up_both(out);
        connect_pair(in, out, &ours, &theirs);

        struct inner_packet p = request(in);
        build_plain(&f, &p);
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        want = request_frame(in, out, &ours, 0, 0);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        memset(f.data, 0, 12);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
        p = at_target(p);
        build_plain(&want, &p);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 0));

        p = answer_of(in, PSH | ACK, "odd");
        build_plain(&f, &p);
        CU_ASSERT_EQUAL(run_egress(&server, &f), TC_ACT_REDIRECT);
        p = from_service(p);
        struct sal_packet sal = header_of(&server, &theirs, SAL_TYPE_DATA);
        build_tunnelled(&want, out, &loc_s[out], &loc_c[out], &sal, 0, &p);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        memset(f.data, 0, 12);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
        build_plain(&want, &p);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 0));
        tear_down();
    }
}

/* As run(), whose context is not XDP's. */
static int
run_xdp(struct host *host, struct frame *frame)
{
    struct frame in = *frame;
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in.data,
                .data_size_in = in.len, .data_out = frame->data,
                .data_size_out = sizeof frame->data, .repeat = 1);
    int fd = bpf_program__fd(host->dp->skeleton->progs.sal_xdp);
    CU_ASSERT_EQUAL_FATAL(bpf_prog_test_run_opts(fd, &opts), 0);
    frame->len = opts.data_size_out;
    return opts.retval;
}

/* XDP strips the same headers, and tc does the rest. */
static void
test_xdp(void)
{
    FOR_EACH_COMBINATION (in, out) {
        struct sal_flow ours, theirs;
        struct frame want;
        set_up_both(out);
        connect_pair(in, out, &ours, &theirs);
        struct frame f = request_frame(in, out, &ours, 0, 0);
        CU_ASSERT_EQUAL(run_xdp(&server, &f), XDP_PASS);
        /* Its note for tc comes first: which flow. */
        CU_ASSERT_EQUAL(memcmp(f.data + 4, &theirs.id, 4), 0);
        f.len -= 8;
        memmove(f.data, f.data + 8, f.len);
        struct inner_packet p = request(in);
        build_plain(&want, &p);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_XDP), 1);

        /* What it leaves alone. */
        f = request_frame(in, out, &ours, 3, 2);
        want = f;
        run_xdp(&server, &f);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 0));
        f = request_frame(in, out, &ours, 0, 0);
        f.data[14 + (out ? 23 : 15)] ^= 1; /* The peer's locator. */
        want = f;
        run_xdp(&server, &f);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 0));
        tear_down();
    }
}

/* The datagram reaches the server, and a bare SYN-ACK the client. */
static void
test_datagram(void)
{
    FOR_EACH_COMBINATION (in, out) {
        struct sal_flow ours, theirs;
        struct frame f, want;
        test_device();
        set_up_both(out);
        struct inner_packet p = syn_packet(in);
        p.udp = true;
        p.dport = 53;
        p.tos = 0;
        p.payload = "ask"; /* In 4 inside 6: less than an IPv6 header. */
        build_plain(&f, &p);
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
        struct sal_packet sal = header_of(&client, &ours, SAL_TYPE_SYN);
        build_tunnelled(&want, out, &loc_c[out], &resolver_at[out], &sal, 0,
                        &p);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));

        resolve(&f, out);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&server), &theirs));
        sal = header_of(&server, &theirs, SAL_TYPE_SYN_ACK);
        build_tunnelled(&want, out, &loc_s[out], &loc_c[out], &sal, 0, NULL);
        CU_ASSERT_TRUE(f.len >= want.len);
        f.len = want.len; /* Padding. */
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        memset(f.data, 0, 12);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);

        /* Bound: DATA, and the answer. */
        build_plain(&f, &p);
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        memset(f.data, 0, 12);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
        struct inner_packet there = at_target(p);
        build_plain(&want, &there);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 0));
        tear_down();
    }
}

static void
test_refused_here(void)
{
    struct frame f, want;
    set_up_both(1);
    struct inner_packet p = syn_packet(1);
    p.dst = closed_at[1];
    p.tos = 0;
    build_plain(&f, &p);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    struct inner_packet rst = {.v6 = 1, .src = p.dst, .dst = p.src,
                               .sport = 80, .dport = 40000, .ack = 1001,
                               .flags = RST | ACK};
    build_plain(&want, &rst);
    expect_answer(&f, &want);

    p.udp = true;
    p.payload = "anybody?";
    build_plain(&f, &p);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    build_icmp6(&want, &p, 1, 4, 0, 8);
    expect_answer(&f, &want);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_RULE_REJECT), 2);
    tear_down();
}

/* The server refuses by RESET, which becomes a RST. */
static void
test_refused_there(void)
{
    FOR_EACH_COMBINATION (in, out) {
        struct sal_flow ours;
        struct frame f, want;
        set_up_both(out);
        struct inner_packet p = syn_packet(in);
        p.dport = 81;
        build_plain(&f, &p);
        run_egress(&client, &f);
        CU_ASSERT_TRUE_FATAL(only_flow(HALF_FLOWS(&client), &ours));
        /* Three times it is resolved on, in case that another host serves. */
        for (unsigned int i = 1; i <= 4; i++) {
            resolve(&f, out);
            CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
            CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_NO_TARGET), i);
            CU_ASSERT_EQUAL(f.data[SAL_AT(out) + 2], SAL_TYPE_RESET);
            CU_ASSERT_EQUAL(memcmp(f.data + 14 + (out ? 24 : 16),
                                   loc_c[out].bytes, IP_BYTES(out)), 0);
            memset(f.data, 0, 12);
            CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
        }
        struct inner_packet rst = {.v6 = in, .src = web_at[in],
                                   .dst = id_c[in], .sport = 81,
                                   .dport = 40000, .ack = 1001,
                                   .flags = RST | ACK};
        build_plain(&want, &rst);
        expect_answer(&f, &want);
        CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 0);
        tear_down();
    }
}

/* A local target of one IP version serves no clients of the other. */
static void
test_target_family(void)
{
    set_up_both(0);
    struct local_target t = {.prefix = web, .protocol = 6,
                             .service_port = 80, .port = 8080,
                             .address = mapped(0x7f000001)};
    host_tables_put_target(&server.tables, &t);
    host_apply(&server);
    for (int in = 0; in < 2; in++) {
        struct frame f;
        struct inner_packet p = syn_packet(in);
        build_plain(&f, &p);
        run_egress(&client, &f);
        resolve(&f, 0);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
        CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_TARGET_FAMILY), in);
    }
    tear_down();
}

/* What the local stack may not send. */
static void
test_local_headers(void)
{
    static const struct {
        uint8_t next;
        enum sal_counter reason;
    } cases[] = {
        {0, SAL_COUNT_OUT_EXTENSION},  {43, SAL_COUNT_OUT_EXTENSION},
        {60, SAL_COUNT_OUT_EXTENSION}, {44, SAL_COUNT_OUT_FRAGMENT},
        {58, SAL_COUNT_OUT_UNSUPPORTED}, {132, SAL_COUNT_OUT_UNSUPPORTED},
    };
    struct frame f;
    set_up_both(0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct inner_packet p = syn_packet(1);
        uint64_t before = counter(&client, cases[i].reason);
        build_plain(&f, &p);
        f.data[20] = cases[i].next;
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
        CU_ASSERT_EQUAL(counter(&client, cases[i].reason), before + 1);
    }
    /* An IPv4-mapped address in IPv6 is not IPv4. */
    struct inner_packet p = syn_packet(1);
    struct in6_addr v4 = in6_of(&id_c[0], 0);
    memcpy(p.src.bytes, &v4, 16);
    build_plain(&f, &p);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_MALFORMED), 1);
    tear_down();
}

/* RFC 6040, figure 4, and RFC 2983's pipe: DSCP inside stays. */
static void
test_ecn(void)
{
    /* By [inner][outer]: Not-ECT, ECT(1), ECT(0), CE; -1 is dropped. */
    static const int result[4][4] = {
        {0, 0, 0, -1}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
    FOR_EACH_COMBINATION (in, out) {
        struct sal_flow ours, theirs;
        set_up_both(out);
        connect_pair(in, out, &ours, &theirs);
        for (int i = 0; i < 16; i++) {
            int inner = i / 4, outer = i % 4;
            struct frame want;
            struct frame f = request_frame(in, out, &ours, 0x48 | outer,
                                           0xb8 | inner);
            int verdict = run_ingress(&server, &f);
            if (result[inner][outer] < 0) {
                CU_ASSERT_EQUAL(verdict, TC_ACT_SHOT);
                CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_ECN), 1);
                continue;
            }
            CU_ASSERT_EQUAL(verdict, TC_ACT_REDIRECT);
            struct inner_packet p = at_target(request(in));
            p.tos = 0xb8 | result[inner][outer];
            build_plain(&want, &p);
            CU_ASSERT_TRUE(frame_equal(&f, &want, 0));
        }
        /* Outwards both are copied. */
        struct inner_packet p = request(in);
        struct frame f, want = request_frame(in, out, &ours, 0xba, 0xba);
        p.tos = 0xba;
        build_plain(&f, &p);
        run_egress(&client, &f);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        tear_down();
    }
}

#ifndef BPF_F_TEST_SKB_CHECKSUM_COMPLETE
#define BPF_F_TEST_SKB_CHECKSUM_COMPLETE 4
#endif

/* A device may have summed up the whole packet: that sum stays right when
 * headers go and addresses change.  The kernel checks it after the run. */
static void
test_whole_checksum(void)
{
    FOR_EACH_COMBINATION (in, out) {
        struct sal_flow ours, theirs;
        struct frame left;
        set_up_both(out);
        connect_pair(in, out, &ours, &theirs);
        for (int ce = 0; ce < 2; ce++) {
            struct frame f = request_frame(in, out, &ours, ce ? 3 : 2, 2);
            LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f.data,
                        .data_size_in = f.len, .data_out = left.data,
                        .data_size_out = sizeof left.data, .repeat = 1,
                        .flags = BPF_F_TEST_SKB_CHECKSUM_COMPLETE);
            int fd = bpf_program__fd(server.dp->skeleton->progs.sal_ingress);
            int error = bpf_prog_test_run_opts(fd, &opts);
            if (error == -EINVAL) {
                continue; /* Before Linux 6.13. */
            }
            CU_ASSERT_EQUAL(error, 0);
            CU_ASSERT_EQUAL(opts.retval, TC_ACT_REDIRECT);
        }
        tear_down();
    }
}

UNIT_MAIN("sal_v6", UNIT_TEST(test_connection), UNIT_TEST(test_xdp),
          UNIT_TEST(test_datagram), UNIT_TEST(test_refused_here),
          UNIT_TEST(test_refused_there), UNIT_TEST(test_target_family),
          UNIT_TEST(test_local_headers), UNIT_TEST(test_ecn),
          UNIT_TEST(test_whole_checksum))
