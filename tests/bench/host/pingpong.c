/* SPDX-License-Identifier: Apache-2.0 */
/* One TCP connection, or many, measured.
 *
 *     pingpong server PORT
 *     pingpong latency ADDRESS PORT SECONDS    one byte there and back
 *     pingpong connections ADDRESS PORT SECONDS
 *
 * Prints one line: "latency MEDIAN_NS P99_NS" or "connections PER_SECOND". */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t
now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void
die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static struct sockaddr_in
address_of(const char *address, const char *port)
{
    struct sockaddr_in sin = {.sin_family = AF_INET,
                              .sin_port = htons(atoi(port))};
    inet_pton(AF_INET, address, &sin.sin_addr);
    return sin;
}

static void
no_delay(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* Serves one connection after the other; each byte is sent back. */
static void
serve(const char *port)
{
    struct sockaddr_in sin = address_of("0.0.0.0", port);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *) &sin, sizeof sin) || listen(listener, 4096)) {
        die("listen");
    }
    for (;;) {
        char byte;
        int fd = accept(listener, NULL, NULL);
        no_delay(fd);
        while (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1) {
        }
        close(fd);
    }
}

static int
connect_to(const struct sockaddr_in *sin)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    no_delay(fd);
    if (fd < 0 || connect(fd, (const void *) sin, sizeof *sin)) {
        die("connect");
    }
    return fd;
}

static void
exchange(int fd)
{
    char byte = 'x';
    if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) {
        die("exchange");
    }
}

static int
compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;
    return x < y ? -1 : x > y;
}

static void
measure_latency(const struct sockaddr_in *sin, double seconds)
{
    enum { MAX = 4 << 20 };
    uint32_t *samples = malloc(MAX * sizeof *samples);
    size_t n = 0;
    int fd = connect_to(sin);
    for (int i = 0; i < 100; i++) {
        exchange(fd);
    }
    uint64_t end = now_ns() + seconds * 1e9, start;
    while ((start = now_ns()) < end && n < MAX) {
        exchange(fd);
        samples[n++] = now_ns() - start;
    }
    qsort(samples, n, sizeof *samples, compare);
    printf("latency %u %u\n", samples[n / 2], samples[n * 99 / 100]);
    free(samples);
    close(fd);
}

/* The client closes first and by RST, so that no port is left in
 * TIME-WAIT. */
static void
measure_connections(const struct sockaddr_in *sin, double seconds)
{
    uint64_t start = now_ns(), end = start + seconds * 1e9, n = 0;
    const struct linger at_once = {1, 0};
    while (now_ns() < end) {
        int fd = connect_to(sin);
        exchange(fd);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(fd);
        n++;
    }
    printf("connections %.0f\n", n * 1e9 / (now_ns() - start));
}

int
main(int argc, char *argv[])
{
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && !strcmp(argv[1], "server")) {
        serve(argv[2]);
    } else if (argc == 5) {
        struct sockaddr_in sin = address_of(argv[2], argv[3]);
        if (!strcmp(argv[1], "latency")) {
            measure_latency(&sin, atof(argv[4]));
            return EXIT_SUCCESS;
        } else if (!strcmp(argv[1], "connections")) {
            measure_connections(&sin, atof(argv[4]));
            return EXIT_SUCCESS;
        }
    }
    fputs("usage: pingpong server PORT | latency|connections ADDRESS PORT "
          "SECONDS\n", stderr);
    return EXIT_FAILURE;
}
