/* SPDX-License-Identifier: Apache-2.0 */
/* Discovery over simulated wires: what is sent out of a port arrives at the
 * other end of its wire, as a packet-in. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <limits.h>
#include "controller/discovery.h"
#include "proto/identity.h"
#include "util.h"

#define N_PORTS 4
#define WIRE_US 5000

struct bench {
    struct topology *topology;
    struct discovery *discovery;
    struct topology_end wires[2][N_PORTS + 1]; /* By switch - 1 and port. */
    bool cut;             /* No frame arrives. */
    long long now_us;     /* Where links take time: WIRE_US. */
    int sends, returned;
    uint8_t last[PACKET_BUFFER_LEN];
    size_t last_len;
    uint8_t key[IDENTITY_SESSION_KEY_LEN];
    struct endpoint_id known;
    int attached, appeared, asked;
    bool soon, forwards;
    struct { struct topology_end at; uint8_t frame[PACKET_BUFFER_LEN];
             size_t len; } queue[64];
    size_t n_queue;
};

static void
on_send(uint64_t dpid, uint32_t in_port, uint32_t port, const void *frame,
        size_t len, void *b_)
{
    struct bench *b = b_;
    struct topology_end far = {dpid, port}; /* Straight back. */

    if (port <= N_PORTS) {
        far = b->wires[dpid - 1][port];
    }

    b->sends++;
    b->returned += in_port == port;
    memcpy(b->last, frame, len);
    b->last_len = len;
    if (far.dpid && !b->cut && b->n_queue < ARRAY_SIZE(b->queue)) {
        b->queue[b->n_queue].at = far;
        memcpy(b->queue[b->n_queue].frame, frame, len);
        b->queue[b->n_queue++].len = len;
    }
}

static const uint8_t *
session_key(const struct endpoint_id *id, uint64_t *ret_session, void *b_)
{
    struct bench *b = b_;

    *ret_session = 1;
    return endpoint_id_equal(id, &b->known) ? b->key : NULL;
}

static void
on_attached(const struct topology_probe *probe, bool appeared, void *b_)
{
    struct bench *b = b_;

    b->attached++;
    b->appeared += appeared;
}

static void
on_ask(const struct endpoint_id *id, void *b_)
{
    ((struct bench *) b_)->asked++;
}

static bool
on_forward(const struct topology_end *at, const void *frame, size_t len,
           void *b_)
{
    return ((struct bench *) b_)->forwards;
}

static bool
resolves_soon(const struct topology_end *at,
              const struct sal_service_header *header, void *b_)
{
    return ((struct bench *) b_)->soon;
}

static const struct discovery_ops ops = {
    .send = on_send,
    .session_key = session_key,
    .ask = on_ask,
    .attached = on_attached,
    .forward = on_forward,
    .resolves_soon = resolves_soon,
};

static long long
now_us(void *b_)
{
    return ((struct bench *) b_)->now_us;
}

static bool
is_reserved(const struct in6_addr *address, const void *aux)
{
    return locator_get_v4(address) == 0x0a0000fe;
}

static void
bench_start_with(struct bench *b, const struct discovery_ops *bench_ops)
{
    const struct discovery_config config = {
        .link_key = {1, 2, 3},
        .sal_port = SAL_UDP_PORT,
        .link_probe_interval_ms = 1000,
        .link_timeout_ms = 3000,
        .host_timeout_ms = 5000,
        .reset_pps = 10,
        .plain_timeout_ms = 10000,
        .plain_max = 3,
        .mac = {{{2, 9, 9, 9, 9, 9}}},
        .is_reserved = is_reserved,
    };
    const struct eth_addr mac = {{{2, 0, 0, 0, 0, 1}}};

    memset(b, 0, sizeof *b);
    b->topology = topology_create();
    b->discovery = discovery_create(&config, bench_ops, b, b->topology);
    b->known.bytes[0] = 42;
    memset(b->key, 9, sizeof b->key);
    for (uint64_t dpid = 1; dpid <= 2; dpid++) {
        topology_switch_set(b->topology, dpid, true);
        for (uint32_t port = 1; port <= N_PORTS; port++) {
            topology_port_set(b->topology, dpid, port, &mac, "p", true, 0);
            discovery_port(b->discovery, dpid, port, true, 0);
        }
    }
    b->wires[0][1] = (struct topology_end) {2, 3};
    b->wires[1][3] = (struct topology_end) {1, 1};
}

static void
bench_start(struct bench *b)
{
    bench_start_with(b, &ops);
}

static void
bench_stop(struct bench *b)
{
    discovery_destroy(b->discovery);
    topology_destroy(b->topology);
}

static void
deliver(struct bench *b, long long now)
{
    for (int i = 0; i < 4; i++) {
        b->now_us = now * 1000;
        discovery_run(b->discovery, now);
        size_t n = b->n_queue;
        b->n_queue = 0;
        for (size_t j = 0; j < n; j++) {
            bool by_wire = b->queue[j].at.port <= N_PORTS;
            b->now_us = now * 1000 + (by_wire ? WIRE_US : 0);
            discovery_packet_in(b->discovery, &b->queue[j].at,
                                b->queue[j].frame, b->queue[j].len, now);
        }
    }
}

static bool
is_linked(const struct bench *b)
{
    const struct topology_switch *sw = topology_switch(b->topology, 1);
    struct topology_end far;

    return topology_port_link(b->topology, sw,
                              topology_port(b->topology, 1, 1), &far)
           && far.dpid == 2 && far.port == 3;
}

static void
test_links(void)
{
    struct bench b;

    bench_start(&b);
    deliver(&b, 0);
    CU_ASSERT(is_linked(&b));
    CU_ASSERT_EQUAL(discovery_stats(b.discovery)->link_probes_forged, 0);

    /* Then rarely, and it lapses without probes. */
    int sends = b.sends;
    long long now = 0;
    while (now < 20000) {
        now = MAX(now + 1, discovery_wakeup(b.discovery));
        deliver(&b, now);
        topology_run(b.topology, now);
        CU_ASSERT_FATAL(is_linked(&b));
    }
    int per_port = (b.sends - sends) / (2 * N_PORTS);
    CU_ASSERT(per_port >= 19 && per_port <= 26); /* 20 and a few at first. */
    b.cut = true;
    while (now < 24000) {
        now = MAX(now + 1, discovery_wakeup(b.discovery));
        deliver(&b, now);
        topology_run(b.topology, now);
    }
    CU_ASSERT(!is_linked(&b));
    bench_stop(&b);
}

/* Also of a link that has been away. */
static void
test_latencies(void)
{
    struct discovery_ops timed = ops;
    struct bench b;

    timed.now_us = now_us;
    bench_start_with(&b, &timed);
    long long now = 0;
    for (int round = 0; round < 2; round++) {
        for (long long end = now + 20000; now < end; now += 100) {
            deliver(&b, now);
            topology_run(b.topology, now);
        }
        CU_ASSERT_FATAL(is_linked(&b));
        CU_ASSERT_EQUAL(topology_port(b.topology, 1, 1)->latency_us, WIRE_US);
        CU_ASSERT_EQUAL(topology_port(b.topology, 2, 3)->latency_us, WIRE_US);
        b.cut = true;
        for (long long end = now + 5000; now < end; now += 100) {
            deliver(&b, now);
            topology_run(b.topology, now);
        }
        CU_ASSERT(!is_linked(&b));
        b.cut = false;
    }
    CU_ASSERT_EQUAL(discovery_stats(b.discovery)->latencies_changed, 2);
    bench_stop(&b);
}

static void
test_links_of_a_busy_switch_are_kept(void)
{
    struct bench b;

    bench_start(&b);
    deliver(&b, 0);
    b.cut = true;
    for (long long now = 0; now < 20000; now += 700) {
        discovery_keep_links(b.discovery, 2, now);
        deliver(&b, now);
        topology_run(b.topology, now);
        CU_ASSERT(is_linked(&b));
    }
    topology_run(b.topology, 23000);
    CU_ASSERT(!is_linked(&b));
    discovery_keep_links(b.discovery, 2, 23000); /* Nothing to keep. */
    CU_ASSERT(!is_linked(&b));
    bench_stop(&b);
}

static void
test_a_late_switch(void)
{
    struct bench b;

    bench_start(&b);
    b.cut = true; /* The other has no rules yet. */
    deliver(&b, 0);
    for (long long now = 50; now < 3000; now += 50) {
        deliver(&b, now);
    }
    b.cut = false;
    CU_ASSERT(discovery_wakeup(b.discovery) > 3000);
    discovery_switch_ready(b.discovery, 2, 3000);
    CU_ASSERT_EQUAL(discovery_wakeup(b.discovery), 3000);
    deliver(&b, 3000);
    CU_ASSERT(is_linked(&b));
    bench_stop(&b);
}

static void
test_ports_that_are_down_are_not_probed(void)
{
    struct bench b;

    bench_start(&b);
    for (uint32_t port = 1; port <= N_PORTS; port++) {
        discovery_port(b.discovery, 1, port, false, 0);
    }
    discovery_switch_gone(b.discovery, 2);
    deliver(&b, 0);
    CU_ASSERT_EQUAL(b.sends, 0);
    CU_ASSERT_EQUAL(discovery_wakeup(b.discovery), LLONG_MAX);
    discovery_port(b.discovery, 1, 2, true, 10);
    deliver(&b, 10);
    CU_ASSERT_EQUAL(b.sends, 1);
    discovery_port_gone(b.discovery, 1, 2);
    deliver(&b, 10000);
    CU_ASSERT_EQUAL(b.sends, 1);
    bench_stop(&b);
}

/* The number of half-links that are not the one wire there is. */
static int
count_false_links(const struct bench *b)
{
    const struct topology_switch *sw;
    const struct topology_port *port;
    int n = 0;

    TOPOLOGY_FOR_EACH_SWITCH (sw, b->topology) {
        TOPOLOGY_FOR_EACH_PORT (port, sw) {
            struct topology_end far = b->wires[sw->dpid - 1][port->number];
            n += port->peer_dpid && (port->peer_dpid != far.dpid
                                     || port->peer_port != far.port);
        }
    }
    return n;
}

static void
test_forged_and_replayed_links(void)
{
    const struct topology_end at = {2, 3};
    uint8_t recorded[PACKET_BUFFER_LEN];
    struct bench b;

    bench_start(&b);
    for (uint32_t port = 2; port <= N_PORTS; port++) {
        discovery_port(b.discovery, 1, port, false, 0);
    }
    discovery_switch_gone(b.discovery, 2);
    b.cut = true;
    deliver(&b, 0);
    CU_ASSERT_EQUAL(b.sends, 1);
    size_t len = b.last_len;
    memcpy(recorded, b.last, len);
    for (size_t i = 14; i < len; i++) {
        recorded[i] ^= 1;
        discovery_packet_in(b.discovery, &at, recorded, len, 1);
        recorded[i] ^= 1;
        CU_ASSERT_EQUAL(count_false_links(&b), 0);
    }
    uint64_t forged = discovery_stats(b.discovery)->link_probes_forged;
    CU_ASSERT(forged >= 32); /* Each octet of the MAC, and what it covers. */
    for (long long late = 3001; late < 10000; late += 1000) {
        discovery_packet_in(b.discovery, &at, recorded, len, late);
    }
    CU_ASSERT_EQUAL(discovery_stats(b.discovery)->link_probes_late, 7);
    CU_ASSERT_EQUAL(discovery_stats(b.discovery)->link_probes_forged, forged);
    bench_stop(&b);
}

/* Frames of hosts. */

static void
put16(uint8_t *p, uint16_t value)
{
    p[0] = value >> 8;
    p[1] = value;
}

/* Ethernet, IPv4, UDP around 'sal_len' bytes; returns the frame's length. */
static size_t
wrap(uint8_t frame[256], const uint8_t *sal, size_t sal_len)
{
    static const uint8_t macs[] = {2, 'S', 'A', 'L', 0, 1,
                                   2, 0, 0, 0, 7, 7, 8, 0};
    static const uint8_t addresses[] = {10, 0, 0, 7, 10, 255, 255, 254};

    memset(frame, 0, 256);
    memcpy(frame, macs, sizeof macs);
    uint8_t *ip = frame + 14, *udp = ip + 20;
    ip[0] = 0x45;
    put16(ip + 2, 28 + sal_len);
    ip[8] = 64;
    ip[9] = IPPROTO_UDP;
    memcpy(ip + 12, addresses, sizeof addresses);
    uint16_t sum = packet_checksum(ip, 20, 0);
    memcpy(ip + 10, &sum, sizeof sum);
    put16(udp, 50000);
    put16(udp + 2, SAL_UDP_PORT);
    put16(udp + 4, 8 + sal_len);
    memcpy(udp + 8, sal, sal_len);
    return 14 + 28 + sal_len;
}

static void
finish_sal(uint8_t *sal, size_t len)
{
    uint16_t sum = packet_checksum(sal, len, 0);

    memcpy(sal + SAL_OFS_CHECKSUM, &sum, sizeof sum);
}

static size_t
make_probe(const struct bench *b, uint8_t frame[256], uint32_t seq)
{
    uint8_t sal[SAL_SERVICE_HEADER_LEN + 20 + 20] = {
        SAL_VERSION << 4, sizeof sal / 4, SAL_TYPE_PROBE};

    sal[SAL_OFS_SRC_FLOW + 3] = 1;
    sal[SAL_OFS_INNER] = SAL_INNER_NONE;
    sal[SAL_OFS_SEQ + 3] = seq;
    sal[64] = SAL_OPTION_ENDPOINT_ID;
    sal[65] = 18;
    memcpy(sal + 66, b->known.bytes, sizeof b->known.bytes);
    sal[84] = SAL_OPTION_MAC;
    sal[85] = 18;
    identity_mac(b->key, sal, sizeof sal, sal + 86);
    finish_sal(sal, sizeof sal);
    return wrap(frame, sal, sizeof sal);
}

static void
test_hosts(void)
{
    const struct topology_end at = {1, 2}, link = {1, 1};
    struct bench b;
    uint8_t frame[256];

    bench_start(&b);
    deliver(&b, 0);
    size_t len = make_probe(&b, frame, 1);
    discovery_packet_in(b.discovery, &at, frame, len, 10);
    CU_ASSERT_EQUAL(b.attached, 1);
    CU_ASSERT_EQUAL(b.appeared, 1);
    const struct topology_attachment *host
        = topology_attachment_of(b.topology, &b.known);
    CU_ASSERT_FATAL(host != NULL);
    CU_ASSERT_EQUAL(locator_get_v4(&host->locator), 0x0a000007);
    CU_ASSERT_EQUAL(host->port, 2);

    discovery_packet_in(b.discovery, &at, frame, len, 20); /* Replayed. */
    CU_ASSERT_EQUAL(discovery_stats(b.discovery)->host_probes_stale, 1);
    frame[len - 1] ^= 1; /* The MAC; so the checksum, too. */
    discovery_packet_in(b.discovery, &at, frame, len, 20);
    CU_ASSERT_EQUAL(b.attached, 1);

    len = make_probe(&b, frame, 2);
    discovery_packet_in(b.discovery, &link, frame, len, 20);
    CU_ASSERT_EQUAL(discovery_stats(b.discovery)->host_probes_refused, 1);
    b.known.bytes[0]++; /* Now nobody knows the sender. */
    discovery_packet_in(b.discovery, &at, frame, len, 20);
    CU_ASSERT_EQUAL(discovery_stats(b.discovery)->host_probes_unknown, 1);
    b.known.bytes[0]--;
    b.key[0]++;
    discovery_packet_in(b.discovery, &at, frame, len, 20);
    CU_ASSERT_EQUAL(discovery_stats(b.discovery)->host_probes_forged, 1);
    CU_ASSERT_EQUAL(b.attached, 1);
    bench_stop(&b);
}

/* Who sends no PROBE is asked for one before it is forgotten. */
static void
test_silent_endpoints(void)
{
    const struct topology_end at = {1, 2};
    struct bench b;
    uint8_t frame[256];
    long long now = 100, last = now;

    bench_start(&b);
    deliver(&b, 0);
    for (int i = 0; i < 3; i++) {
        size_t len = make_probe(&b, frame, 1 + i);
        discovery_packet_in(b.discovery, &at, frame, len, now);
        last = now;
        while (b.asked < (i + 1) * 10) {
            now = MAX(now + 1, discovery_wakeup(b.discovery));
            CU_ASSERT_FATAL(now < last + 5000);
            deliver(&b, now);
            topology_run(b.topology, now);
            CU_ASSERT(b.asked == i * 10 || now >= last + 2500);
        }
        CU_ASSERT_PTR_NOT_NULL(topology_attachment_of(b.topology, &b.known));
    }
    topology_run(b.topology, last + 5000);
    CU_ASSERT_PTR_NULL(topology_attachment_of(b.topology, &b.known));
    deliver(&b, last + 6000);
    CU_ASSERT_EQUAL(b.asked, 30);
    bench_stop(&b);
}

/* One locator, two keys: who has it keeps it while it answers. */
static void
test_disputes(void)
{
    const struct topology_end old = {1, 2}, new = {2, 2};
    const struct discovery_stats *stats;
    struct bench b;
    uint8_t frame[256];
    long long now = 100;

    bench_start(&b);
    deliver(&b, 0);
    stats = discovery_stats(b.discovery);
    size_t len = make_probe(&b, frame, 1);
    discovery_packet_in(b.discovery, &old, frame, len, now);
    struct endpoint_id holder = b.known;
    for (int i = 0; i < 10; i++) {
        now += 400;
        b.known.bytes[0]++; /* The other one, at another switch. */
        len = make_probe(&b, frame, 2 + i);
        discovery_packet_in(b.discovery, &new, frame, len, now);
        b.known = holder;
        if (i < 5) { /* It answers when it is asked. */
            len = make_probe(&b, frame, 2 + i);
            discovery_packet_in(b.discovery, &old, frame, len, now + 1);
        }
        const struct topology_attachment *host
            = topology_attachment_of(b.topology, &holder);
        if (i < 5) {
            CU_ASSERT_EQUAL(b.asked, i + 1);
        }
        /* 400 ms after its last answer it is asked again, and 1200 ms after
         * that it has lost. */
        CU_ASSERT_EQUAL(host != NULL, i < 8);
    }
    CU_ASSERT_EQUAL(b.asked, 6);
    CU_ASSERT_EQUAL(stats->hosts_superseded, 1);
    CU_ASSERT_EQUAL(stats->host_probes_refused, 8);

    /* The same machine with a new key: at once. */
    b.known.bytes[1]++;
    len = make_probe(&b, frame, 1);
    discovery_packet_in(b.discovery, &new, frame, len, now + 1);
    CU_ASSERT_EQUAL(stats->hosts_superseded, 2);
    CU_ASSERT_PTR_NOT_NULL(topology_attachment_of(b.topology, &b.known));
    bench_stop(&b);
}

/* An ARP reply of 'host'. */
static size_t
make_arp(uint8_t frame[256], uint32_t v4, uint8_t host)
{
    const struct eth_addr us = {{{2, 9, 9, 9, 9, 9}}};
    const struct eth_addr mac = {{{2, 0, 0, 0, 1, host}}};
    struct in6_addr address = locator_from_v4(v4);
    size_t len = packet_build_question(&us, &us, &address, frame);

    memcpy(frame + 6, &mac, 6);
    memcpy(frame + 22, &mac, 6);
    memcpy(frame + 28, frame + 38, 4);
    return len;
}

/* Plain hosts: learnt, asked, forgotten, moved; they take nobody's address but
 * give theirs to whom it belongs. */
static void
test_plain_hosts(void)
{
    const struct topology_end here = {1, 2}, there = {2, 2}, link = {1, 1};
    struct in6_addr locator = locator_from_v4(0x0a000007);
    struct bench b;
    uint8_t frame[256];
    long long now = 100;

    bench_start(&b);
    deliver(&b, 0);
    const struct discovery_stats *stats = discovery_stats(b.discovery);
    size_t len = make_arp(frame, 0x0a000007, 1);
    discovery_learn(b.discovery, &link, frame, len, now); /* No host port. */
    CU_ASSERT_EQUAL(stats->plain_refused, 1);
    discovery_learn(b.discovery, &here, frame, len, now);
    const struct topology_attachment *host = topology_attachment(b.topology,
                                                                 &locator);
    CU_ASSERT_FATAL(host && host->plain && host->port == 2);
    CU_ASSERT_EQUAL(stats->plain_hosts, 1);

    /* It is asked after half of its time; an answer keeps it. */
    while (!stats->plain_asked) {
        now = discovery_wakeup(b.discovery);
        CU_ASSERT_FATAL(now <= 10000);
        deliver(&b, now);
        topology_run(b.topology, now);
    }
    CU_ASSERT(now > 5000);
    discovery_learn(b.discovery, &here, frame, len, now);
    topology_run(b.topology, 10200);
    CU_ASSERT_PTR_NOT_NULL(topology_attachment(b.topology, &locator));

    /* It seems to be elsewhere: only once it does not answer here. */
    for (int i = 0; i < 6; i++) {
        now += 600;
        discovery_learn(b.discovery, &there, frame, len, now);
        host = topology_attachment(b.topology, &locator);
        CU_ASSERT_FATAL(host != NULL);
        CU_ASSERT_EQUAL(host->dpid, i < 4 ? 1 : 2);
        if (i < 2) {
            discovery_learn(b.discovery, &here, frame, len, now + 1);
        }
    }

    /* Reserved addresses, too many, and one that an endpoint proves to
     * have. */
    len = make_arp(frame, 0x0a0000fe, 2);
    uint64_t refused = stats->plain_refused;
    discovery_learn(b.discovery, &here, frame, len, now);
    CU_ASSERT_EQUAL(stats->plain_refused, refused + 1);
    for (int i = 0; i < 5; i++) {
        len = make_arp(frame, 0x0a000100 + i, 2);
        discovery_learn(b.discovery, &here, frame, len, now);
    }
    CU_ASSERT_EQUAL(stats->plain_hosts, 3);
    CU_ASSERT_EQUAL(stats->plain_refused, refused + 4);
    len = make_probe(&b, frame, 1);
    discovery_packet_in(b.discovery, &here, frame, len, now);
    host = topology_attachment(b.topology, &locator);
    CU_ASSERT_FATAL(host && !host->plain && host->dpid == 1);
    len = make_arp(frame, 0x0a000007, 1);
    discovery_learn(b.discovery, &there, frame, len, now);
    CU_ASSERT_EQUAL(stats->plain_refused, refused + 5);
    CU_ASSERT(!topology_attachment(b.topology, &locator)->plain);

    /* Silent ones go. */
    topology_run(b.topology, now + 20000);
    deliver(&b, now + 20000);
    CU_ASSERT_EQUAL(stats->plain_hosts, 0);
    bench_stop(&b);
}

static void
test_resets(void)
{
    const struct topology_end at = {1, 2};
    uint8_t sal[SAL_SERVICE_HEADER_LEN] = {
        SAL_VERSION << 4, sizeof sal / 4, SAL_TYPE_SYN, IPPROTO_TCP,
        0, 0, 0, 99};
    uint8_t frame[256];
    struct bench b;

    bench_start(&b);
    sal[SAL_OFS_INNER] = SAL_INNER_NONE;
    sal[SAL_OFS_NONCE] = 5;
    finish_sal(sal, sizeof sal);
    size_t len = wrap(frame, sal, sizeof sal);
    discovery_packet_in(b.discovery, &at, frame, len, 0);
    CU_ASSERT_EQUAL(b.returned, 1);
    CU_ASSERT_EQUAL(b.last[14 + 28 + SAL_OFS_TYPE], SAL_TYPE_RESET);
    CU_ASSERT_EQUAL(b.last[14 + 28 + SAL_OFS_NONCE], 5);

    b.soon = true;
    discovery_packet_in(b.discovery, &at, frame, len, 0);
    CU_ASSERT_EQUAL(b.returned, 1);
    CU_ASSERT_EQUAL(discovery_stats(b.discovery)->left_to_retry, 1);
    b.forwards = true;
    discovery_packet_in(b.discovery, &at, frame, len, 1000);
    CU_ASSERT_EQUAL(discovery_stats(b.discovery)->forwarded, 1);
    CU_ASSERT_EQUAL(discovery_stats(b.discovery)->left_to_retry, 1);
    b.forwards = false;
    b.soon = false;
    for (int i = 0; i < 100; i++) {
        discovery_packet_in(b.discovery, &at, frame, len, 0);
    }
    CU_ASSERT_EQUAL(b.returned, 10); /* reset_pps */
    /* A neighbour has its share nevertheless. */
    const struct topology_end near = {1, 3};
    for (int i = 0; i < 100; i++) {
        discovery_packet_in(b.discovery, &near, frame, len, 500);
    }
    CU_ASSERT_EQUAL(b.returned, 15);
    discovery_packet_in(b.discovery, &at, frame, len, 1000);
    CU_ASSERT_EQUAL(b.returned, 16);
    bench_stop(&b);
}

/* One port does not fill the table. */
static void
test_many_plain_hosts(void)
{
    const struct topology_end here = {1, 2}, there = {2, 2};
    const struct discovery_config config = {
        .link_probe_interval_ms = 1000, .link_timeout_ms = 3000,
        .plain_timeout_ms = 10000, .plain_max = 100};
    struct bench b;
    uint8_t frame[256];

    bench_start(&b);
    deliver(&b, 0);
    discovery_configure(b.discovery, &config);
    for (int i = 0; i < 200; i++) {
        size_t len = make_arp(frame, 0x0a000100 + i, 1);
        discovery_learn(b.discovery, &here, frame, len, 100);
    }
    CU_ASSERT_EQUAL(discovery_stats(b.discovery)->plain_hosts, 25);
    for (int i = 0; i < 10; i++) {
        size_t len = make_arp(frame, 0x0a000200 + i, 2);
        discovery_learn(b.discovery, &there, frame, len, 100);
    }
    CU_ASSERT_EQUAL(discovery_stats(b.discovery)->plain_hosts, 35);
    bench_stop(&b);
}

static void
test_noise(void)
{
    const struct topology_end at = {1, 2};
    struct bench b;
    uint8_t frame[256];

    bench_start(&b);
    for (int i = 0; i < 100000; i++) {
        size_t len = unit_random_below(sizeof frame);
        if (i % 2) {
            len = make_probe(&b, frame, 1 + i % 100);
            frame[14 + unit_random_below(len - 14)] = unit_random();
            len -= unit_random_below(8);
        } else {
            for (size_t j = 0; j < len; j++) {
                frame[j] = unit_random();
            }
        }
        discovery_packet_in(b.discovery, &at, frame, len, i);
    }
    CU_ASSERT(b.attached < 50000);
    bench_stop(&b);
}

UNIT_MAIN("discovery",
          UNIT_TEST(test_links), UNIT_TEST(test_latencies),
          UNIT_TEST(test_links_of_a_busy_switch_are_kept),
          UNIT_TEST(test_a_late_switch),
          UNIT_TEST(test_ports_that_are_down_are_not_probed),
          UNIT_TEST(test_forged_and_replayed_links),
          UNIT_TEST(test_hosts), UNIT_TEST(test_silent_endpoints),
          UNIT_TEST(test_disputes),
          UNIT_TEST(test_plain_hosts),
          UNIT_TEST(test_resets), UNIT_TEST(test_many_plain_hosts),
          UNIT_TEST(test_noise))
