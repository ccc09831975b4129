/* SPDX-License-Identifier: Apache-2.0 */
/* A download in which every 64-bit word is different and is verified.
 *
 *     words serve PORT [mptcp]
 *     words fetch ADDRESS PORT MIB [mptcp] [rate=MIB/S] [gap=MS]
 *
 * The client asks for MIB MiB; the server sends word i = mix(i),
 * little-endian, and closes.  It is the server that keeps to the rate, so that
 * no buffer of the client hides a gap.  The client prints JSON lines: each gap
 * of GAP (5) ms or more as it ends, {"mib": N} from time to time, and at the
 * end
 *
 *     {"bytes": N, "wrong": N, "error": "", "seconds": S, "longest_ms": G}
 *
 * It never connects again: a connection that breaks is an error.  The server
 * serves each connection in a process of its own. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/migration/gaps.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define MIB (1024 * 1024)
#define BLOCK (256 * 1024)
#define PACE_NS 2000000 /* A piece each so often. */

struct request {
    uint64_t bytes;
    uint64_t rate; /* Bytes a second; 0 = as fast as can be. */
};

/* splitmix64's finaliser: words far apart do not resemble each other. */
static uint64_t
mix(uint64_t i)
{
    i += UINT64_C(0x9e3779b97f4a7c15);
    i = (i ^ i >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    i = (i ^ i >> 27) * UINT64_C(0x94d049bb133111eb);
    return i ^ i >> 31;
}

static int
fail(const char *what)
{
    fprintf(stderr, "words: %s: %s\n", what, strerror(errno));
    return EXIT_FAILURE;
}

static bool
option(char **argv, const char *name, const char **ret_value)
{
    size_t len = strlen(name);
    for (; *argv; argv++) {
        if (!strncmp(*argv, name, len)) {
            *ret_value = *argv + len;
            return true;
        }
    }
    return false;
}

static int
open_socket(int family, char **argv)
{
    const char *rest;
    return socket(family, SOCK_STREAM,
                  option(argv, "mptcp", &rest) ? IPPROTO_MPTCP : 0);
}

/* Keeps to 'rate' bytes a second on average since '*start'; what was missed by
 * much is not caught up with. */
static void
keep_pace(int64_t *start, uint64_t sent, uint64_t rate)
{
    int64_t ahead = *start + sent * 1e9 / rate - now_ns();
    if (ahead > 0) {
        struct timespec wait = {ahead / 1000000000, ahead % 1000000000};
        nanosleep(&wait, NULL);
    } else if (ahead < -100000000) {
        *start -= ahead;
    }
}

static void
send_words(int fd)
{
    static uint64_t block[BLOCK / 8];
    struct request request;
    uint64_t next = 0;

    if (recv(fd, &request, sizeof request, MSG_WAITALL) != sizeof request) {
        return;
    }
    size_t piece = request.rate * PACE_NS / 1000000000 / 8 * 8;
    if (!piece || piece > BLOCK) {
        piece = BLOCK;
    }
    int64_t start = now_ns();
    while (next * 8 < request.bytes) {
        uint64_t left = request.bytes - next * 8;
        size_t n = left < piece ? left : piece;
        for (size_t i = 0; i < n / 8; i++) {
            block[i] = mix(next + i);
        }
        for (size_t sent = 0; sent < n;) {
            ssize_t just = send(fd, (char *) block + sent, n - sent,
                                MSG_NOSIGNAL);
            if (just <= 0) {
                fail("send");
                return;
            }
            sent += just;
        }
        next += n / 8;
        if (request.rate) {
            keep_pace(&start, next * 8, request.rate);
        }
    }
}

static int
serve(char **argv)
{
    /* Dual stack: IPv4 peers too. */
    struct sockaddr_in6 address = {.sin6_family = AF_INET6,
                                   .sin6_port = htons(atoi(argv[0]))};
    int on = 1, fd = open_socket(AF_INET6, argv);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof address)
        || listen(fd, 64)) {
        return fail("listen");
    }
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int connection = accept(fd, NULL, NULL);
        if (connection >= 0) {
            if (!fork()) {
                close(fd);
                send_words(connection);
                return EXIT_SUCCESS;
            }
            close(connection);
        }
    }
}

static int
connect_to(char **argv)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *v4 = (void *) &address;
    struct sockaddr_in6 *v6 = (void *) &address;
    socklen_t len = sizeof *v4;

    if (inet_pton(AF_INET, argv[0], &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(atoi(argv[1]));
    } else if (inet_pton(AF_INET6, argv[0], &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(atoi(argv[1]));
        len = sizeof *v6;
    } else {
        errno = EINVAL;
        return -1;
    }
    int fd = open_socket(address.ss_family, argv);
    if (fd < 0 || connect(fd, (struct sockaddr *) &address, len)) {
        return -1;
    }
    return fd;
}

static int
fetch(char **argv)
{
    static uint64_t block[BLOCK / 8];
    const char *text;
    struct request request = {
        .bytes = strtoull(argv[2], NULL, 10) * MIB,
        .rate = option(argv, "rate=", &text) ? atof(text) * MIB : 0};
    uint64_t wanted = request.bytes, received = 0, wrong = 0, told = 0;
    struct gaps gaps = {
        .threshold = (option(argv, "gap=", &text) ? atof(text) : 5) * 1e6};

    int fd = connect_to(argv);
    if (fd < 0) {
        return fail("connect");
    }
    int64_t start = now_ns();
    if (send(fd, &request, sizeof request, 0) != sizeof request) {
        return fail("send");
    }
    ssize_t n = 0;
    errno = 0;
    while (received < wanted) {
        size_t ofs = received % BLOCK;
        n = recv(fd, (char *) block + ofs, BLOCK - ofs, 0);
        if (n <= 0) {
            break;
        }
        gaps_arrival(&gaps, now_ns());
        for (size_t i = ofs / 8; i < (ofs + n) / 8; i++) {
            wrong += block[i] != mix(received / BLOCK * (BLOCK / 8) + i);
        }
        if (wrong) {
            break;
        }
        received += n;
        if (received - told >= MIB) {
            told = received;
            printf("{\"mib\": %"PRIu64", \"at\": %.6f}\n", received / MIB,
                   now_ns() / 1e9);
            fflush(stdout);
        }
    }
    printf("{\"bytes\": %"PRIu64", \"wrong\": %"PRIu64", \"error\": \"%s\", "
           "\"seconds\": %.3f, \"longest_ms\": %.3f}\n", received, wrong,
           n < 0 ? strerror(errno) : received < wanted ? "closed early" : "",
           (now_ns() - start) / 1e9, gaps.longest / 1e6);
    return received == wanted && !wrong ? EXIT_SUCCESS : EXIT_FAILURE;
}

int
main(int argc, char *argv[])
{
    if (argc >= 3 && !strcmp(argv[1], "serve")) {
        return serve(argv + 2);
    } else if (argc >= 5 && !strcmp(argv[1], "fetch")) {
        return fetch(argv + 2);
    }
    fputs("usage: words serve PORT | fetch ADDRESS PORT MIB\n", stderr);
    return EXIT_FAILURE;
}
