/* SPDX-License-Identifier: Apache-2.0 */
/* Joins pairs of Ethernet interfaces of its network namespace like cables that
 * are DELAY microseconds long.  (The kernel at hand may have no netem.)
 *
 *     relay DELAY_US A B [A B]...
 *
 * Frames are copied, so nothing that needs the kernel's offloads passes:
 * switch them off at the ends.  Prints "ready".  Frames that find a queue full
 * are dropped and counted; the counts are printed at SIGTERM. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "tests/migration/gaps.h"

#define MAX_INTERFACES 8
#define QUEUE_LEN 8192 /* A power of 2. */
#define FRAME_LEN 2048

struct frame {
    int64_t due;
    uint16_t len;
    uint8_t data[FRAME_LEN];
};

/* One direction: what came in at 'from' leaves at 'to'. */
struct direction {
    int from, to; /* Sockets. */
    struct frame *queue;
    uint32_t head, tail; /* Sent, received. */
    uint64_t n_passed, n_dropped;
};

static volatile sig_atomic_t stopping;

static void
stop(int signum)
{
    stopping = signum;
}

static int
fail(const char *what)
{
    fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
    return EXIT_FAILURE;
}

static int
open_interface(const char *name)
{
    int size = 8 << 20, ifindex = if_nametoindex(name);
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(ETH_P_ALL),
                                  .sll_ifindex = ifindex};
    struct packet_mreq promiscuous = {.mr_ifindex = ifindex,
                                      .mr_type = PACKET_MR_PROMISC};
    int on = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    if (!ifindex || fd < 0
        || setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on)
        || setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous,
                      sizeof promiscuous)
        || bind(fd, (struct sockaddr *) &address, sizeof address)) {
        return -1;
    }
    return fd;
}

static void
take_in(struct direction *d, int64_t delay)
{
    for (int i = 0; i < 256; i++) {
        bool full = d->tail - d->head == QUEUE_LEN;
        struct frame spare, *frame
            = full ? &spare : &d->queue[d->tail % QUEUE_LEN];
        ssize_t n = recv(d->from, frame->data, FRAME_LEN,
                         MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0) {
            return;
        }
        if (full || n > FRAME_LEN) {
            d->n_dropped++;
            continue;
        }
        frame->len = n;
        frame->due = now_ns() + delay;
        d->tail++;
    }
}

static void
give_out(struct direction *d, int64_t now)
{
    while (d->head != d->tail) {
        struct frame *frame = &d->queue[d->head % QUEUE_LEN];
        if (frame->due > now) {
            return;
        }
        /* Whatever cannot be sent (the interface is down) is lost. */
        if (send(d->to, frame->data, frame->len, MSG_DONTWAIT) < 0) {
            d->n_dropped++;
        } else {
            d->n_passed++;
        }
        d->head++;
    }
}

static int64_t
next_due(const struct direction *directions, int n)
{
    int64_t due = INT64_MAX;
    for (int i = 0; i < n; i++) {
        const struct direction *d = &directions[i];
        if (d->head != d->tail && d->queue[d->head % QUEUE_LEN].due < due) {
            due = d->queue[d->head % QUEUE_LEN].due;
        }
    }
    return due;
}

static void
run(struct direction *directions, int n, int64_t delay)
{
    struct pollfd polls[MAX_INTERFACES];

    for (int i = 0; i < n; i++) {
        polls[i] = (struct pollfd) {.fd = directions[i].from,
                                    .events = POLLIN};
    }
    while (!stopping) {
        int64_t due = next_due(directions, n), wait = due - now_ns();
        struct timespec timeout = {0, 500000000};
        if (due != INT64_MAX) {
            timeout.tv_nsec = wait > 0 ? wait % 1000000000 : 0;
        }
        if (ppoll(polls, n, &timeout, NULL) > 0) {
            for (int i = 0; i < n; i++) {
                if (polls[i].revents) {
                    int error;
                    socklen_t len = sizeof error;
                    /* ENETDOWN is told once, and would be told for ever. */
                    getsockopt(directions[i].from, SOL_SOCKET, SO_ERROR,
                               &error, &len);
                    take_in(&directions[i], delay);
                }
            }
        }
        for (int i = 0; i < n; i++) {
            give_out(&directions[i], now_ns());
        }
    }
}

int
main(int argc, char *argv[])
{
    struct direction directions[MAX_INTERFACES];
    int n = argc - 2;

    if (n < 2 || n % 2 || n > MAX_INTERFACES) {
        fputs("usage: relay DELAY_US A B [A B]...\n", stderr);
        return EXIT_FAILURE;
    }
    for (int i = 0; i < n; i++) {
        struct direction *d = &directions[i];
        memset(d, 0, sizeof *d);
        d->from = open_interface(argv[2 + i]);
        if (d->from < 0) {
            return fail(argv[2 + i]);
        }
        d->queue = calloc(QUEUE_LEN, sizeof *d->queue);
        if (!d->queue) {
            return fail("memory");
        }
    }
    for (int i = 0; i < n; i++) {
        directions[i].to = directions[i ^ 1].from;
    }
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    printf("ready\n");
    fflush(stdout);
    run(directions, n, atol(argv[1]) * INT64_C(1000));
    for (int i = 0; i < n; i++) {
        printf("%s: %"PRIu64" passed, %"PRIu64" dropped\n", argv[2 + i],
               directions[i].n_passed, directions[i].n_dropped);
    }
    return EXIT_SUCCESS;
}
