/* SPDX-License-Identifier: Apache-2.0 */
/* Many connections that are mostly silent.
 *
 *     many serve PORT
 *     many open ADDRESS PORT N
 *
 * The server returns every byte.  The client opens N connections and prints
 * "N open"; then, for each line that it reads, it sends a byte on every
 * connection, waits for all to come back, and prints "N answered in S s", or
 * "N answered, M did not" after 30 s.  End of file ends it. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/migration/gaps.h"

static int
fail(const char *what)
{
    fprintf(stderr, "many: %s: %s\n", what, strerror(errno));
    return EXIT_FAILURE;
}

static int
serve(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *) &address, sizeof address)
        || listen(fd, 4096) || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) {
        return fail("listen");
    }
    for (;;) {
        if (epoll_wait(epoll, &event, 1, -1) != 1) {
            continue;
        }
        if (event.data.fd == fd) {
            struct epoll_event new = {.events = EPOLLIN};
            new.data.fd = accept(fd, NULL, NULL);
            epoll_ctl(epoll, EPOLL_CTL_ADD, new.data.fd, &new);
            continue;
        }
        char bytes[64];
        ssize_t n = recv(event.data.fd, bytes, sizeof bytes, 0);
        if (n <= 0) {
            close(event.data.fd);
        } else {
            send(event.data.fd, bytes, n, MSG_NOSIGNAL);
        }
    }
}

static void
ask_all(const int *fds, int n, int epoll)
{
    int64_t start = now_ns();
    int answered = 0;

    for (int i = 0; i < n; i++) {
        send(fds[i], "x", 1, MSG_NOSIGNAL);
    }
    while (answered < n && now_ns() - start < 30 * INT64_C(1000000000)) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, 1000);
        for (int i = 0; i < ready; i++) {
            char byte;
            ssize_t got = recv(events[i].data.fd, &byte, 1, MSG_DONTWAIT);
            if (got == 1) {
                answered++;
            } else if (!got || errno != EAGAIN) {
                epoll_ctl(epoll, EPOLL_CTL_DEL, events[i].data.fd, NULL);
            }
        }
    }
    if (answered == n) {
        printf("%d answered in %.3f s\n", n, (now_ns() - start) / 1e9);
    } else {
        printf("%d answered, %d did not\n", answered, n - answered);
    }
    fflush(stdout);
}

static int
open_all(const char *host, int port, int n)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port)};
    int epoll = epoll_create1(0), *fds = calloc(n, sizeof *fds);

    if (!fds || inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        errno = EINVAL;
        return fail(host);
    }
    for (int i = 0; i < n; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};
        if (connect(fds[i], (struct sockaddr *) &address, sizeof address)
            || epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event)) {
            return fail("connect");
        }
    }
    printf("%d open\n", n);
    fflush(stdout);
    char line[16];
    while (fgets(line, sizeof line, stdin)) {
        ask_all(fds, n, epoll);
    }
    return EXIT_SUCCESS;
}

int
main(int argc, char *argv[])
{
    struct rlimit files = {1 << 18, 1 << 18};

    setrlimit(RLIMIT_NOFILE, &files);
    if (argc == 3 && !strcmp(argv[1], "serve")) {
        return serve(atoi(argv[2]));
    } else if (argc == 5 && !strcmp(argv[1], "open")) {
        return open_all(argv[2], atoi(argv[3]), atoi(argv[4]));
    }
    fputs("usage: many serve PORT | open ADDRESS PORT N\n", stderr);
    return EXIT_FAILURE;
}
