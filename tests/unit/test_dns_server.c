/* SPDX-License-Identifier: Apache-2.0 */
/* The name server over loopback, asked by plain sockets.
 *
 *     client --- server ("sal.") --- upstream ("example.", another server)
 */
#include "tests/unit/dns_question.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "agents/dns_server.h"
#include "util.h"

#define WAIT_MS 10000 /* Longer than a forward may take. */

static uv_loop_t loop;
static struct names names, upstream_names;
static struct dns_zone zone, upstream_zone;
static struct agent_dns_config config, upstream_config;
static struct dns_server *server, *upstream;

static struct dns_server *
start(struct agent_dns_config *c, struct dns_zone *z, struct names *n,
      const char *suffix)
{
    struct dns_server *started = NULL;
    struct service_prefix prefix;
    char *error = NULL;

    names_init(n);
    service_prefix_from_name("web.shop.acme", &prefix);
    names_put(n, "web.shop.acme", &prefix, 0xc6120001);
    *z = (struct dns_zone) {.names = n,
                            .complete = true,
                            .suffix = suffix,
                            .ttl = 5,
                            .forward = c->n_upstreams > 0};
    c->listen.address = 0x7f000001;
    if (dns_server_start(&loop, c, z, &started, &error)) {
        fprintf(stderr, "%s\n", error);
        CU_FAIL_FATAL("start");
    }
    return started;
}

static void
setup(void)
{
    uv_loop_init(&loop);
    upstream = start(&upstream_config, &upstream_zone, &upstream_names,
                     "example");
    config.n_upstreams = 1;
    config.upstreams[0].address = 0x7f000001;
    config.upstreams[0].port = dns_server_port(upstream);
    server = start(&config, &zone, &names, "sal");
}

static int
client(int type)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(dns_server_port(server)),
                             .sin_addr.s_addr = htonl(0x7f000001)};
    int fd = socket(AF_INET, type, 0);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *) &to, sizeof to), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* Runs the loop until 'fd' has something to read; then reads.  -1: nothing
 * came, 0: closed. */
static ssize_t
receive(int fd, uint8_t *buf, size_t size)
{
    for (int waited = 0; waited < WAIT_MS; waited += 5) {
        uv_run(&loop, UV_RUN_NOWAIT);
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        if (poll(&pfd, 1, 5)) {
            return recv(fd, buf, size, 0);
        }
    }
    return -1;
}

static ldns_pkt *
parse(const uint8_t *wire, ssize_t len)
{
    ldns_pkt *pkt = NULL;
    CU_ASSERT_FATAL(len > 0);
    CU_ASSERT_EQUAL_FATAL(ldns_wire2pkt(&pkt, wire, len), LDNS_STATUS_OK);
    CU_ASSERT_EQUAL(ldns_pkt_id(pkt), DNS_QUESTION_ID);
    return pkt;
}

static ldns_pkt *
ask_udp(const char *name)
{
    uint8_t wire[DNS_MESSAGE_MAX];
    int fd = client(SOCK_DGRAM);
    size_t len = dns_question(name, LDNS_RR_TYPE_A, wire);
    CU_ASSERT_EQUAL(send(fd, wire, len, 0), len);
    ssize_t n = receive(fd, wire, sizeof wire);
    close(fd);
    return parse(wire, n);
}

/* Reads one message behind its length. */
static ldns_pkt *
receive_tcp(int fd)
{
    uint8_t buf[2 + DNS_MESSAGE_MAX];
    size_t len = 0;
    while (len < 2 || len < 2 + (size_t) (buf[0] << 8 | buf[1])) {
        /* No further than this message. */
        size_t want = len < 2 ? 2 - len : 2 + (buf[0] << 8 | buf[1]) - len;
        ssize_t n = receive(fd, buf + len, want);
        CU_ASSERT_FATAL(n > 0);
        len += n;
    }
    return parse(buf + 2, len - 2);
}

static void
send_tcp(int fd, const char *name)
{
    uint8_t buf[2 + DNS_MESSAGE_MAX];
    size_t len = dns_question(name, LDNS_RR_TYPE_A, buf + 2);
    buf[0] = len >> 8;
    buf[1] = len;
    CU_ASSERT_EQUAL(send(fd, buf, 2 + len, MSG_NOSIGNAL), 2 + len);
}

static void
check(ldns_pkt *pkt, ldns_pkt_rcode rcode, size_t answers)
{
    CU_ASSERT_EQUAL(ldns_pkt_get_rcode(pkt), rcode);
    CU_ASSERT_EQUAL(ldns_pkt_ancount(pkt), answers);
    ldns_pkt_free(pkt);
}

static void
test_udp(void)
{
    check(ask_udp("web.shop.acme.sal."), LDNS_RCODE_NOERROR, 1);
    check(ask_udp("nope.sal."), LDNS_RCODE_NXDOMAIN, 0);
    CU_ASSERT_EQUAL(dns_server_counters(server)->queries, 2);
    CU_ASSERT_EQUAL(dns_server_counters(server)->nxdomain, 1);
}

static void
test_forward(void)
{
    check(ask_udp("web.shop.acme.example."), LDNS_RCODE_NOERROR, 1);
    check(ask_udp("nope.example."), LDNS_RCODE_NXDOMAIN, 0);
    check(ask_udp("www.elsewhere."), LDNS_RCODE_REFUSED, 0);
    CU_ASSERT_EQUAL(dns_server_counters(server)->forwarded, 3);
    CU_ASSERT_EQUAL(dns_server_counters(server)->forward_answered, 3);
}

static void
test_tcp(void)
{
    int fd = client(SOCK_STREAM);
    /* Several at once, ours and others', are answered in order. */
    send_tcp(fd, "web.shop.acme.sal.");
    send_tcp(fd, "nope.example.");
    send_tcp(fd, "nope.sal.");
    send_tcp(fd, "web.shop.acme.example.");
    check(receive_tcp(fd), LDNS_RCODE_NOERROR, 1);
    check(receive_tcp(fd), LDNS_RCODE_NXDOMAIN, 0);
    check(receive_tcp(fd), LDNS_RCODE_NXDOMAIN, 0);
    check(receive_tcp(fd), LDNS_RCODE_NOERROR, 1);
    close(fd);
}

/* Junk closes the connection, or is ignored; the server lives. */
static void
test_hostile(void)
{
    uint8_t junk[600];
    int udp = client(SOCK_DGRAM);
    for (int i = 0; i < 500; i++) {
        size_t len = unit_random_below(sizeof junk);
        for (size_t j = 0; j < len; j++) {
            junk[j] = unit_random();
        }
        if (len > 12) {
            junk[2] |= 0x80; /* No reply, so nothing to wait for. */
        }
        send(udp, junk, len, 0);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    close(udp);
    for (int i = 0; i < 100; i++) {
        int fd = client(SOCK_STREAM);
        for (size_t j = 0; j < sizeof junk; j++) {
            junk[j] = unit_random();
        }
        send(fd, junk, unit_random_below(sizeof junk), MSG_NOSIGNAL);
        uv_run(&loop, UV_RUN_NOWAIT);
        close(fd);
    }
    check(ask_udp("web.shop.acme.sal."), LDNS_RCODE_NOERROR, 1);
}

/* Who asks by TCP and does not read is cut off before the answers take much
 * memory.  They are much longer than the questions. */
static void
test_asks_and_does_not_read(void)
{
    enum { MAX_QUERIES = 100000 };
    uint8_t buf[2 + DNS_MESSAGE_MAX];
    struct names_port ports[NAMES_MAX_PORTS];
    struct service_prefix prefix;
    int fd = client(SOCK_STREAM), sent = 0;
    ssize_t n;

    for (int i = 0; i < NAMES_MAX_PORTS; i++) {
        ports[i] = (struct names_port) {.protocol = 6, .port = i + 1};
    }
    service_prefix_from_name("web.shop.acme", &prefix);
    names_set_ports(&names, &prefix, ports, NAMES_MAX_PORTS);
    size_t len = dns_question("_tcp.web.shop.acme.sal.", LDNS_RR_TYPE_A,
                              buf + 2);
    buf[0] = len >> 8;
    buf[1] = len;
    buf[2 + len - 3] = LDNS_RR_TYPE_SRV; /* Instead of A. */
    do {
        n = send(fd, buf, 2 + len, MSG_NOSIGNAL);
        uv_run(&loop, UV_RUN_NOWAIT);
    } while (n == (ssize_t) (2 + len) && ++sent < MAX_QUERIES);
    CU_ASSERT(n < 0 && (errno == ECONNRESET || errno == EPIPE));
    CU_ASSERT(sent > 100);
    close(fd);
    names_set_ports(&names, &prefix, NULL, 0);
    check(ask_udp("web.shop.acme.sal."), LDNS_RCODE_NOERROR, 1);
}

/* More connections than allowed: the last are closed, none hangs. */
static void
test_many_connections(void)
{
    enum { N = 80 };
    uint8_t byte;
    int fds[N];
    size_t refused = 0;
    for (int i = 0; i < 100; i++) { /* Let earlier ones go. */
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    for (size_t i = 0; i < N; i++) {
        fds[i] = client(SOCK_STREAM);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    for (size_t i = 0; i < N; i++) {
        ssize_t n = recv(fds[i], &byte, 1, MSG_DONTWAIT);
        refused += !n || (n < 0 && errno == ECONNRESET);
    }
    CU_ASSERT_TRUE(refused >= N - 64);
    send_tcp(fds[0], "web.shop.acme.sal.");
    check(receive_tcp(fds[0]), LDNS_RCODE_NOERROR, 1);
    for (size_t i = 0; i < N; i++) {
        close(fds[i]);
    }
}

static void
test_address_in_use(void)
{
    struct agent_dns_config same = config;
    struct dns_server *other = NULL;
    char *error = NULL;
    same.listen.port = dns_server_port(server);
    CU_ASSERT_EQUAL(dns_server_start(&loop, &same, &zone, &other, &error),
                    -EADDRINUSE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(error);
    CU_ASSERT_PTR_NOT_NULL(strstr(error, "dns.listen"));
    free(error);
}

/* The upstream is gone: SERVFAIL, and soon. */
static void
test_upstream_gone(void)
{
    dns_server_stop(upstream);
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_run(&loop, UV_RUN_NOWAIT);
    check(ask_udp("web.shop.acme.example."), LDNS_RCODE_SERVFAIL, 0);
    int fd = client(SOCK_STREAM);
    send_tcp(fd, "web.shop.acme.example.");
    check(receive_tcp(fd), LDNS_RCODE_SERVFAIL, 0);
    close(fd);
}

/* Stopped while queries are under way: nothing is left. */
static void
test_stop(void)
{
    uint8_t wire[DNS_MESSAGE_MAX];
    /* A resolver that never answers. */
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(0x7f000001)};
    socklen_t address_len = sizeof address;
    int silent = socket(AF_INET, SOCK_DGRAM, 0);
    bind(silent, (struct sockaddr *) &address, sizeof address);
    getsockname(silent, (struct sockaddr *) &address, &address_len);
    config.upstreams[0].port = ntohs(address.sin_port);

    int udp = client(SOCK_DGRAM);
    size_t len = dns_question("a.example.", LDNS_RR_TYPE_A, wire);
    send(udp, wire, len, 0);
    CU_ASSERT_EQUAL(receive(silent, wire, sizeof wire), len);
    int tcp = client(SOCK_STREAM);
    uv_run(&loop, UV_RUN_NOWAIT);
    dns_server_stop(server);
    CU_ASSERT_EQUAL(uv_run(&loop, UV_RUN_DEFAULT), 0);
    CU_ASSERT_EQUAL(uv_loop_close(&loop), 0);
    names_destroy(&names);
    names_destroy(&upstream_names);
    close(udp);
    close(tcp);
    close(silent);
}

UNIT_MAIN("dns_server", UNIT_TEST(setup), UNIT_TEST(test_udp),
          UNIT_TEST(test_forward), UNIT_TEST(test_tcp),
          UNIT_TEST(test_hostile), UNIT_TEST(test_asks_and_does_not_read),
          UNIT_TEST(test_many_connections),
          UNIT_TEST(test_address_in_use), UNIT_TEST(test_upstream_gone),
          UNIT_TEST(test_stop))
