/* SPDX-License-Identifier: Apache-2.0 */
/* A call: 50 datagrams of 160 bytes a second, each way, numbered.
 *
 *     voice serve PORT
 *     voice call ADDRESS PORT [gap=MS] [rate=PER_SECOND]
 *
 * The server sends back every datagram with the count of those that it has
 * received.  The client calls until SIGTERM, waits for what is under way, and
 * prints JSON lines: each gap of GAP (40) ms or more as it ends, and at the
 * end
 *
 *     {"sent": N, "arrived": N, "answered": N, "late": N, "longest_ms": G,
 *      "gaps": [{"to_ms": 20, "n": N}, ...]}
 *
 * sent - arrived were lost on the way there, arrived - answered on the way
 * back; late ones came after one sent later. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/migration/gaps.h"

struct datagram {
    uint64_t number;  /* From 1. */
    uint64_t arrived; /* By the server: how many so far. */
    uint8_t sound[144];
};

#define DRAIN_NS 1500000000

static volatile sig_atomic_t hung_up;

static void
hang_up(int signum)
{
    hung_up = signum;
}

static int
fail(const char *what)
{
    fprintf(stderr, "voice: %s: %s\n", what, strerror(errno));
    return EXIT_FAILURE;
}

static int
serve(int port)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6,
                                   .sin6_port = htons(port)};
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof address)) {
        return fail("bind");
    }
    uint64_t arrived = 0;
    for (;;) {
        struct sockaddr_in6 peer;
        socklen_t len = sizeof peer;
        struct datagram d;
        if (recvfrom(fd, &d, sizeof d, 0, (struct sockaddr *) &peer, &len)
            == sizeof d) {
            arrived = d.number == 1 ? 1 : arrived + 1;
            d.arrived = arrived;
            sendto(fd, &d, sizeof d, 0, (struct sockaddr *) &peer, len);
        }
    }
}

/* Upper ends of the histogram's bins, ms. */
static const int bins[] = {5, 15, 25, 40, 60, 100, 200, 500, 1000, 1000000};
#define N_BINS (sizeof bins / sizeof bins[0])

struct call {
    int fd;
    struct gaps gaps;
    uint64_t sent, arrived, answered, late, highest;
    uint64_t histogram[N_BINS];
};

static void
hear(struct call *call)
{
    struct datagram d;
    while (recv(call->fd, &d, sizeof d, MSG_DONTWAIT) == sizeof d) {
        int64_t now = now_ns(), gap = now - call->gaps.last;
        if (call->gaps.last) {
            size_t bin = 0;
            while (bin + 1 < N_BINS && gap > bins[bin] * INT64_C(1000000)) {
                bin++;
            }
            call->histogram[bin]++;
        }
        gaps_arrival(&call->gaps, now);
        call->answered++;
        if (d.arrived > call->arrived) {
            call->arrived = d.arrived;
        }
        if (d.number < call->highest) {
            call->late++;
        } else {
            call->highest = d.number;
        }
    }
}

static void
say(struct call *call)
{
    struct datagram d = {.number = ++call->sent};
    memset(d.sound, call->sent, sizeof d.sound);
    /* While there is no way out, send() fails: that is a loss, too. */
    send(call->fd, &d, sizeof d, 0);
}

static void
report(const struct call *call)
{
    printf("{\"sent\": %"PRIu64", \"arrived\": %"PRIu64", \"answered\": "
           "%"PRIu64", \"late\": %"PRIu64", \"longest_ms\": %.3f, \"gaps\": [",
           call->sent, call->arrived, call->answered, call->late,
           call->gaps.longest / 1e6);
    for (size_t i = 0; i < N_BINS; i++) {
        printf("%s{\"to_ms\": %d, \"n\": %"PRIu64"}", i ? ", " : "", bins[i],
               call->histogram[i]);
    }
    printf("]}\n");
}

static int
run_call(const struct sockaddr *address, socklen_t len, double gap_ms,
         double rate)
{
    struct call call = {.fd = socket(address->sa_family, SOCK_DGRAM, 0),
                        .gaps.threshold = gap_ms * 1e6};
    int64_t interval = 1e9 / rate;

    if (call.fd < 0 || connect(call.fd, address, len)) {
        return fail("connect");
    }
    signal(SIGTERM, hang_up);
    signal(SIGINT, hang_up);
    int64_t next = now_ns(), end = 0;
    while (!end || now_ns() < end) {
        if (hung_up && !end) {
            end = now_ns() + DRAIN_NS;
        }
        if (call.answered == call.sent && end) {
            break;
        }
        if (now_ns() >= next && !end) {
            say(&call);
            next += interval;
        }
        struct pollfd poll_fd = {.fd = call.fd, .events = POLLIN};
        int64_t wait = (end ? end : next) - now_ns();
        struct timespec timeout = {wait > 0 ? wait / 1000000000 : 0,
                                   wait > 0 ? wait % 1000000000 : 0};
        if (ppoll(&poll_fd, 1, &timeout, NULL) > 0) {
            hear(&call);
        }
    }
    report(&call);
    return EXIT_SUCCESS;
}

static double
option(char **argv, const char *name, double otherwise)
{
    for (; *argv; argv++) {
        if (!strncmp(*argv, name, strlen(name))) {
            return atof(*argv + strlen(name));
        }
    }
    return otherwise;
}

int
main(int argc, char *argv[])
{
    if (argc == 3 && !strcmp(argv[1], "serve")) {
        return serve(atoi(argv[2]));
    }
    if (argc < 4 || strcmp(argv[1], "call")) {
        fputs("usage: voice serve PORT | call ADDRESS PORT\n", stderr);
        return EXIT_FAILURE;
    }
    double gap = option(argv + 4, "gap=", 40);
    double rate = option(argv + 4, "rate=", 50);
    struct sockaddr_in v4 = {.sin_family = AF_INET,
                             .sin_port = htons(atoi(argv[3]))};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons(atoi(argv[3]))};
    if (inet_pton(AF_INET, argv[2], &v4.sin_addr) == 1) {
        return run_call((struct sockaddr *) &v4, sizeof v4, gap, rate);
    } else if (inet_pton(AF_INET6, argv[2], &v6.sin6_addr) == 1) {
        return run_call((struct sockaddr *) &v6, sizeof v6, gap, rate);
    }
    errno = EINVAL;
    return fail(argv[2]);
}
