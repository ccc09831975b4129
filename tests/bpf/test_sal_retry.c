/* SPDX-License-Identifier: Apache-2.0 */
/* Property: a SYN that is retried, and resolved to another server, never
 * leaves two servers that believe to have the client.
 *
 * One client and two servers, whose programs run for real; the network between
 * them loses, reorders and duplicates at random; their TCP is played here,
 * with the states that matter.  In the end the network delivers everything,
 * and everybody repeats what he repeats until it is quiet. */
#include "tests/bpf/bpf_pair.h"

enum { MAX_IN_FLIGHT = 64, ROUNDS = 40, STEPS = 24, QUIET_STEPS = 60 };

struct packet {
    struct frame frame;
    uint32_t to; /* Locator. */
};

/* A server's TCP, or its application over UDP. */
enum tcp { LISTENING, SYN_RECEIVED, ESTABLISHED, ABORTED };

static struct {
    bool udp;
    struct packet flying[MAX_IN_FLIGHT];
    size_t n;
    enum tcp client, servers[2];
    uint32_t chosen; /* ISN of the server that the client's TCP accepted. */
} net;

static struct host *const hosts[2] = {&server, &other};

static uint32_t
identity_at(int i)
{
    return i ? ID_T : ID_S;
}

static struct segment
client_segment(uint8_t flags)
{
    struct segment s = client_syn;
    s.tos = 0;
    s.udp = net.udp;
    s.dport = net.udp ? 53 : 80;
    if (net.udp) {
        s.payload = "?";
    } else {
        s.flags = flags;
        s.seq += !(flags & SYN);
        s.ack = flags & ACK ? net.chosen + 1 : 0;
    }
    return s;
}

static struct segment
server_segment(int i, uint8_t flags)
{
    struct segment s = {.src = identity_at(i), .dst = ID_C,
                        .sport = net.udp ? 9953 : 8080,
                        .dport = client_syn.sport, .udp = net.udp,
                        .payload = net.udp ? "!" : NULL,
                        .seq = 5000 + 1000 * i + !(flags & SYN),
                        .ack = client_syn.seq + 1, .flags = flags};
    return s;
}

/* The network takes a packet that a program sent. */
static void
launch(const struct frame *f)
{
    if (net.n < MAX_IN_FLIGHT && get16(f, 36) == 6090) {
        struct packet *packet = &net.flying[net.n++];
        packet->frame = *f;
        packet->to = get32(f, 30);
        memset(packet->frame.data, 0, 12);
        if (packet->to == RESOLVER) {
            packet->to = unit_random_below(2) ? LOC_S : LOC_T;
            resolve_to(&packet->frame, packet->to);
        }
    }
}

/* 'host' sends 'segment'; the stack gets nothing back in these tests. */
static void
send_from(struct host *host, const struct segment *segment)
{
    struct frame f;
    build_inner(&f, segment);
    if (run_egress(host, &f) == TC_ACT_REDIRECT && f.len > 42
        && f.data[23] == 17 && get16(&f, 36) == 6090) {
        launch(&f);
    }
}

/* What TCP would say to what it is handed. */
static void
client_hears(const struct frame *f)
{
    uint8_t flags = f->data[47];
    if (net.udp || net.client == ABORTED) {
        return;
    }
    if (flags & RST) {
        net.client = ABORTED;
    } else if (flags == (SYN | ACK)) {
        if (net.client == LISTENING) {
            net.client = ESTABLISHED;
            net.chosen = get32(f, 38);
        }
        /* One server's only: the data plane sees to that. */
        CU_ASSERT_EQUAL(get32(f, 38), net.chosen);
        struct segment ack = client_segment(ACK);
        send_from(&client, &ack);
    }
}

static void
server_hears(int i, const struct frame *f)
{
    uint8_t flags = f->data[47];
    if (net.udp) {
        return;
    }
    if (flags & RST) {
        net.servers[i] = ABORTED;
    } else if (flags == SYN
               && (net.servers[i] == LISTENING || net.servers[i] == ABORTED)) {
        net.servers[i] = SYN_RECEIVED;
        struct segment answer = server_segment(i, SYN | ACK);
        send_from(hosts[i], &answer);
    } else if (flags & ACK && net.servers[i] == SYN_RECEIVED) {
        net.servers[i] = ESTABLISHED;
    }
}

static void
deliver_packet(size_t which)
{
    struct packet packet = net.flying[which];
    net.flying[which] = net.flying[--net.n];
    int at = packet.to == LOC_S ? 0 : packet.to == LOC_T ? 1 : -1;
    struct frame f = packet.frame;
    int verdict = run_ingress(at < 0 ? &client : hosts[at], &f);
    if (verdict != TC_ACT_REDIRECT) {
        return;
    }
    if (f.data[23] == 17 && f.len > 42 && get16(&f, 36) == 6090) {
        launch(&f); /* An answer of the data plane's. */
    } else if (at < 0) {
        client_hears(&f);
    } else {
        server_hears(at, &f);
    }
}

/* What is repeated for as long as it is not answered. */
static void
repeat(int who)
{
    if (who == 2) {
        if (net.udp || net.client == LISTENING) {
            struct segment s = client_segment(SYN);
            send_from(&client, &s);
        } else if (net.client == ESTABLISHED) {
            struct segment s = client_segment(ACK);
            send_from(&client, &s);
        }
    } else if (net.udp ? map_count(HALF_FLOWS(hosts[who])) > 0
                       : net.servers[who] == SYN_RECEIVED) {
        struct segment s = server_segment(who, SYN | ACK);
        send_from(hosts[who], &s);
    }
}

/* Flows of 'host' that are bound. */
static unsigned int
n_bound(struct host *host)
{
    const struct bpf_map *const maps[] = {FLOWS(host), HALF_FLOWS(host)};
    unsigned int n = 0;
    for (size_t i = 0; i < 2; i++) {
        uint32_t key, *prev = NULL;
        struct sal_flow flow;
        while (!bpf_map_get_next_key(bpf_map__fd(maps[i]), prev, &key)) {
            n += !bpf_map_lookup_elem(bpf_map__fd(maps[i]), &key, &flow)
                 && flow.state == SAL_FLOW_BOUND;
            prev = &key;
        }
    }
    return n;
}

static void
forget_flows(struct host *host)
{
    const struct bpf_map *const maps[] = {FLOWS(host), TUPLES(host),
                                          HALF_FLOWS(host), HALF_TUPLES(host)};
    for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
        uint8_t key[64];
        while (!bpf_map_get_next_key(bpf_map__fd(maps[i]), NULL, key)) {
            bpf_map_delete_elem(bpf_map__fd(maps[i]), key);
        }
    }
}

static void
check_at_any_time(void)
{
    CU_ASSERT(n_bound(&server) + n_bound(&other) <= 1);
    CU_ASSERT(n_bound(&client) <= 1);
    CU_ASSERT(net.servers[0] != ESTABLISHED || net.servers[1] != ESTABLISHED);
}

/* A client's UDP retry, which another source port and server goes with, takes
 * a second; its clock is turned back instead. */
static void
let_udp_retry(void)
{
    struct sal_flow flow;
    uint32_t key;
    int fd = bpf_map__fd(HALF_FLOWS(&client));
    if (!bpf_map_get_next_key(fd, NULL, &key)
        && !bpf_map_lookup_elem(fd, &key, &flow)
        && flow.state == SAL_FLOW_HALF_OPEN) {
        flow.entropy_ns = 0;
        bpf_map_update_elem(fd, &key, &flow, BPF_EXIST);
    }
}

static void
random_round(void)
{
    net.n = 0;
    net.client = net.servers[0] = net.servers[1] = LISTENING;
    repeat(2);
    for (int i = 0; i < STEPS; i++) {
        uint32_t dice = unit_random_below(10);
        if (dice < 3) {
            let_udp_retry();
            repeat(2);
        } else if (dice < 5) {
            repeat(unit_random_below(2));
        } else if (net.n && dice < 7) {
            net.flying[unit_random_below(net.n)] = net.flying[net.n - 1];
            net.n--; /* Lost. */
        } else if (net.n && dice < 8 && net.n < MAX_IN_FLIGHT) {
            net.flying[net.n] = net.flying[unit_random_below(net.n)];
            net.n++; /* Twice. */
        } else if (net.n) {
            deliver_packet(unit_random_below(net.n));
        }
        check_at_any_time();
    }
    for (int i = 0; i < QUIET_STEPS; i++) {
        for (int who = i % 3, left = 3; left && !net.n; left--) {
            repeat(who);
            who = (who + 1) % 3;
        }
        for (int j = 0; net.n && j < MAX_IN_FLIGHT; j++) {
            deliver_packet(unit_random_below(net.n));
        }
        check_at_any_time();
    }
}

/* The client has one server, which has it; the other has nothing. */
static void
check_in_the_end(void)
{
    struct sal_flow ours;
    bool bound = net.udp ? only_flow(HALF_FLOWS(&client), &ours)
                               || only_flow(FLOWS(&client), &ours)
                         : only_flow(FLOWS(&client), &ours);
    CU_ASSERT_TRUE_FATAL(bound);
    int won = ntohl(ours.peer_locator.w[3]) == LOC_T;
    CU_ASSERT_EQUAL(n_bound(hosts[won]), 1);
    CU_ASSERT_EQUAL(map_count(FLOWS(hosts[!won])), 0);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(hosts[!won])), 0);
    CU_ASSERT_EQUAL(map_count(TUPLES(hosts[!won])), 0);
    if (!net.udp) {
        CU_ASSERT_EQUAL(net.client, ESTABLISHED);
        CU_ASSERT_EQUAL(net.servers[won], ESTABLISHED);
        CU_ASSERT(net.servers[!won] == LISTENING
                  || net.servers[!won] == ABORTED);
    }
}

static void
run_rounds(bool udp)
{
    test_device();
    set_up();
    memset(&net, 0, sizeof net);
    net.udp = udp;
    for (int i = 0; i < 2; i++) {
        struct local_target t = {.prefix = web, .protocol = 17,
                                 .service_port = 53, .port = 9953};
        host_tables_put_target(&hosts[i]->tables, &t);
        host_apply(hosts[i]);
    }
    unsigned int late = 0;
    for (int round = 0; round < ROUNDS; round++) {
        random_round();
        check_in_the_end();
        forget_flows(&client);
        forget_flows(&server);
        forget_flows(&other);
    }
    late = counter(&client, SAL_COUNT_IN_LATE_SYN_ACK);
    CU_ASSERT(late > 5); /* It was put to the test. */
    tear_down();
}

static void
test_tcp(void)
{
    run_rounds(false);
}

static void
test_udp(void)
{
    run_rounds(true);
}

UNIT_MAIN("sal_retry", UNIT_TEST(test_tcp), UNIT_TEST(test_udp))
