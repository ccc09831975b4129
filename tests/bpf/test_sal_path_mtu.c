/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP errors about outer packets, in each combination of IP versions: path
 * MTUs, and a SYN that no router can pass on. */
#include <time.h>
#include "tests/bpf/bpf_v6.h"

/* An ICMP error of version 'out', from a router, about 'about'. */
static struct frame
router_error(int out, uint8_t type, uint8_t code, uint32_t rest,
             const struct frame *about, size_t quoted)
{
    static const struct ip router[2] = {{{10, 9, 9, 9}},
                                        {{0x20, 1, 0xd, 0xb8, 9, [15] = 9}}};
    struct frame f;
    size_t len = 8 + quoted;
    put_link(&f, no_mac, out);
    put_ip(&f, out, &router[out], &loc_c[out], out ? 58 : 1, len, 0);
    size_t start = f.len;
    put8(&f, type);
    put8(&f, code);
    put16(&f, 0);
    put32(&f, rest);
    put_bytes(&f, about->data + 14, quoted);
    set16(&f, start + 2,
          test_checksum(f.data + start, len,
                        out ? pseudo(1, &router[1], &loc_c[1], len, 58) : 0));
    return f;
}

static struct frame
too_big(int out, uint32_t mtu, const struct frame *about)
{
    return out ? router_error(1, 2, 0, mtu, about, about->len - 14)
               : router_error(0, 3, 4, mtu, about, about->len - 14);
}

static uint16_t
path_mtu_of(struct host *host)
{
    struct sal_flow flow;
    CU_ASSERT_TRUE(only_flow(FLOWS(host), &flow));
    return flow.path_mtu;
}

static void
expect_ignored(struct frame f)
{
    uint64_t before = counter(&client, SAL_COUNT_IN_ICMP_UNKNOWN);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_UNSPEC);
    CU_ASSERT_EQUAL(path_mtu_of(&client), 0);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_ICMP_UNKNOWN), before + 1);
}

static void
test_path_mtu(void)
{
    FOR_EACH_COMBINATION (in, out) {
        const size_t l4 = 14 + IP_HEADER(out), sal = l4 + 8;
        const int overhead = out ? 64 : 44;
        struct sal_flow ours, theirs;
        set_up_both(out);
        connect_pair(in, out, &ours, &theirs);
        struct frame data = request_frame(in, out, &ours, 0, 0), f = data;

        /* Forged: anything that does not fit the flow, or a checksum. */
        static const int guesses[] = {0, 4, 8}; /* Version, flow IDs. */
        for (size_t i = 1; i < ARRAY_SIZE(guesses); i++) {
            f = data;
            f.data[sal + guesses[i]] ^= 1;
            expect_ignored(too_big(out, 1400, &f));
        }
        f = data;
        f.data[l4 + 1] ^= 1; /* Source port. */
        expect_ignored(too_big(out, 1400, &f));
        f = data;
        f.data[l4 - 1] ^= 1; /* Destination address. */
        expect_ignored(too_big(out, 1400, &f));
        f = too_big(out, 1400, &data);
        f.data[14 + IP_HEADER(out) + 2] ^= 1;
        expect_ignored(f);

        /* The SAL port was not meant, or too little is quoted: not ours. */
        f = data;
        f.data[l4 + 3] ^= 1;
        f = too_big(out, 1400, &f);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_UNSPEC);
        f = router_error(out, out ? 2 : 3, out ? 0 : 4, 1400, &data,
                         IP_HEADER(out) + 8 + 15);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_UNSPEC);
        CU_ASSERT_EQUAL(path_mtu_of(&client), 0);

        f = too_big(out, 1400, &data);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_UNSPEC);
        CU_ASSERT_EQUAL(path_mtu_of(&client), 1400);
        CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_PATH_MTU), 1);
        /* More than we know is no news. */
        f = too_big(out, 1450, &data);
        run_ingress(&client, &f);
        CU_ASSERT_EQUAL(path_mtu_of(&client), 1400);

        /* What fits leaves; what does not is answered. */
        char text[1400];
        struct inner_packet p = request(in);
        size_t fits = 1400 - overhead - IP_HEADER(in) - 20;
        memset(text, 'x', sizeof text);
        text[fits] = '\0';
        p.payload = text;
        build_plain(&f, &p);
        run_egress(&client, &f);
        CU_ASSERT_EQUAL(f.len, 14 + 1400);
        text[fits] = 'x';
        text[fits + 1] = '\0';
        build_plain(&f, &p);
        struct frame large = f;
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_PATH_MTU), 1);
        if (in) {
            struct frame want;
            build_icmp6(&want, &p, 2, 0, 1400 - overhead, 20);
            expect_answer(&f, &want);
        } else {
            CU_ASSERT_EQUAL(get16(&f, 16), 20 + 8 + 40);
            CU_ASSERT_EQUAL(f.data[23], 1);
            CU_ASSERT_EQUAL(test_checksum(f.data + 14, 20, 0), 0);
            CU_ASSERT_EQUAL(get16(&f, 34), 0x0304);
            CU_ASSERT_EQUAL(get32(&f, 38), (uint32_t) 1400 - overhead);
            CU_ASSERT_EQUAL(test_checksum(f.data + 34, 48, 0), 0);
            CU_ASSERT_EQUAL(memcmp(f.data + 42, large.data + 14, 40), 0);
        }

        /* Nobody makes it less than what IP promises. */
        f = too_big(out, 68, &data);
        run_ingress(&client, &f);
        CU_ASSERT_EQUAL(path_mtu_of(&client), out ? 1280 : 576);
        CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_PATH_MTU), 2);
        run_ingress(&client, &f); /* That is no news any more. */
        CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_PATH_MTU), 2);
        tear_down();
    }
}

/* IPv6 is told of 1280 bytes at least.  A segment of so many, that is still
 * too large, is cut in two, each of which is right. */
static void
test_cut(void)
{
    FOR_EACH_COMBINATION (in, out) {
        if (!in) {
            continue;
        }
        struct sal_flow ours, theirs;
        struct frame f, data, want;
        char text[1240];
        const uint32_t mtu = out ? 1280 : 1000;
        const size_t limit = mtu - (out ? 64 : 44);
        const size_t first = (limit - 60) & ~3;

        test_device();
        set_up_both(out);
        connect_pair(in, out, &ours, &theirs);
        data = request_frame(in, out, &ours, 0, 0);
        f = too_big(out, mtu, &data);
        run_ingress(&client, &f);
        CU_ASSERT_EQUAL(path_mtu_of(&client), mtu);

        for (size_t i = 0; i < sizeof text; i++) {
            text[i] = 'a' + i % 26;
        }
        struct inner_packet p = request(in), piece = p;
        text[1219] = '\0';
        p.payload = text;
        p.flags = PSH | FIN | ACK;
        build_plain(&f, &p);
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_PATH_CUT), 1);
        CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_PATH_MTU), 0);
        piece.seq = p.seq + first;
        piece.flags = p.flags;
        piece.payload = text + first;
        build_plain(&want, &piece);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));

        CU_ASSERT_TRUE_FATAL(test_device_read(&f, true, 5000));
        text[first] = '\0';
        piece = p;
        piece.flags = ACK;
        build_plain(&want, &piece);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT(f.len <= 14 + mtu && f.len > 14 + mtu - 4);

        /* One byte more than IPv6 promises: its sender is told. */
        for (size_t n = 1220; n <= 1221; n++) {
            memset(text, 'x', n);
            text[n] = '\0';
            build_plain(&f, &p);
            CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
            CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_PATH_MTU),
                            n - 1220);
            CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_PATH_CUT), 2);
        }
        build_icmp6(&want, &p, 2, 0, 1280, 20);
        expect_answer(&f, &want);
        CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_FAILED), 0);
        while (test_device_read(&f, true, 0)) {
            continue;
        }
        tear_down();
    }
}

static void
set_expiry(struct sal_flow *flow, uint64_t ns)
{
    flow->path_expires_ns = ns;
    CU_ASSERT_EQUAL(bpf_map_update_elem(bpf_map__fd(FLOWS(&client)), &flow->id,
                                        flow, BPF_EXIST), 0);
}

/* What was learnt holds for ten minutes: for its flow, and for the next ones
 * to the same peer. */
static void
test_path_mtu_ages(void)
{
    struct inner_packet p = request(0);
    struct sal_flow ours, theirs;
    struct timespec now;
    struct sal_path path;
    struct frame f;
    char text[1400];

    memset(text, 'x', sizeof text);
    text[1390] = '\0';
    p.payload = text;
    set_up_both(0);
    connect_pair(0, 0, &ours, &theirs);
    struct frame data = request_frame(0, 0, &ours, 0, 0);
    f = too_big(0, 1400, &data);
    run_ingress(&client, &f);
    clock_gettime(CLOCK_MONOTONIC, &now);
    CU_ASSERT_TRUE_FATAL(only_flow(FLOWS(&client), &ours));
    CU_ASSERT_EQUAL(ours.path_mtu, 1400);
    int64_t left = ours.path_expires_ns - now.tv_sec * INT64_C(1000000000);
    CU_ASSERT(left > INT64_C(500000000000) && left < INT64_C(602000000000));
    build_plain(&f, &p);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_PATH_MTU), 1);

    /* The next flow knows. */
    int fd = bpf_map__fd(client.dp->skeleton->maps.sal_paths);
    CU_ASSERT_EQUAL_FATAL(bpf_map_lookup_elem(fd, &ours.peer_locator, &path),
                          0);
    CU_ASSERT_EQUAL(path.mtu, 1400);
    CU_ASSERT_EQUAL(path.expires_ns, ours.path_expires_ns);
    connect_pair(0, 0, &ours, &theirs);
    CU_ASSERT_EQUAL(ours.path_mtu, 1400);
    CU_ASSERT_EQUAL(ours.path_expires_ns, path.expires_ns);

    /* Ten minutes later what is large leaves again, and is not answered. */
    set_expiry(&ours, 1);
    build_plain(&f, &p);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(f.len, 14 + 44 + 40 + 1390);
    CU_ASSERT_EQUAL(path_mtu_of(&client), 0);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_OUT_PATH_MTU), 1);
    path.expires_ns = 1;
    bpf_map_update_elem(fd, &ours.peer_locator, &path, BPF_EXIST);
    connect_pair(0, 0, &ours, &theirs);
    CU_ASSERT_EQUAL(ours.path_mtu, 0);

    /* The router says so again: that is news. */
    data = request_frame(0, 0, &ours, 0, 0);
    f = too_big(0, 1300, &data);
    run_ingress(&client, &f);
    CU_ASSERT_EQUAL(path_mtu_of(&client), 1300);
    tear_down();
}

/* A SYN that no router can pass on: its connect ends at once. */
static void
test_unreachable(void)
{
    FOR_EACH_COMBINATION (in, out) {
        struct frame syn, f, want;
        set_up_both(out);
        struct inner_packet p = syn_packet(in);
        build_plain(&syn, &p);
        run_egress(&client, &syn);
        resolve(&syn, out); /* A switch sent it to the server. */

        f = syn; /* Without the nonce nobody is believed. */
        f.data[SAL_AT(out) + 24] ^= 1;
        f = router_error(out, out ? 1 : 3, out ? 0 : 1, 0, &f,
                         IP_HEADER(out) + 8 + 32);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_UNSPEC);
        CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 1);

        f = router_error(out, out ? 1 : 3, out ? 0 : 1, 0, &syn,
                         IP_HEADER(out) + 8 + 32);
        CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&client)), 0);
        struct inner_packet rst = {.v6 = in, .src = web_at[in],
                                   .dst = id_c[in], .sport = 80,
                                   .dport = 40000, .ack = 1001,
                                   .flags = RST | ACK};
        build_plain(&want, &rst);
        expect_answer(&f, &want);
        tear_down();
    }
}

UNIT_MAIN("sal_path_mtu", UNIT_TEST(test_path_mtu), UNIT_TEST(test_cut),
          UNIT_TEST(test_path_mtu_ages), UNIT_TEST(test_unreachable))
