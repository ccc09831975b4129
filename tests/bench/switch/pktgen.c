/* SPDX-License-Identifier: Apache-2.0 */
/* Sends prepared Ethernet frames on an interface, over and over.
 *
 *     pktgen INTERFACE FILE COUNT BURST PAUSE_US
 *
 * FILE is a sequence of frames, each preceded by its length in two bytes, big
 * endian.  Sends COUNT frames (0: until SIGTERM), BURST at a time, with a pause
 * of PAUSE_US microseconds between bursts.  Prints how many were sent. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_BURST 64

struct frames {
    struct iovec *iov;
    size_t n;
};

static volatile sig_atomic_t stop;

static void
on_signal(int signo)
{
    (void) signo;
    stop = 1;
}

static void
die(const char *what)
{
    fprintf(stderr, "pktgen: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct frames
read_frames(const char *name)
{
    struct frames frames = { NULL, 0 };
    size_t allocated = 0;
    unsigned char len[2];
    FILE *file = fopen(name, "rb");

    if (!file) {
        die(name);
    }
    while (fread(len, sizeof len, 1, file) == 1) {
        size_t size = len[0] << 8 | len[1];

        if (frames.n >= allocated) {
            allocated = allocated ? 2 * allocated : 1024;
            frames.iov = realloc(frames.iov, allocated * sizeof *frames.iov);
        }
        frames.iov[frames.n].iov_base = malloc(size);
        frames.iov[frames.n].iov_len = size;
        if (fread(frames.iov[frames.n].iov_base, size, 1, file) != 1) {
            die(name);
        }
        frames.n++;
    }
    fclose(file);
    if (!frames.n) {
        errno = ENODATA;
        die(name);
    }
    return frames;
}

static int
open_interface(const char *name)
{
    struct sockaddr_ll sll = { .sll_family = AF_PACKET };
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    int on = 1;

    sll.sll_ifindex = if_nametoindex(name);
    if (fd < 0 || !sll.sll_ifindex
        || bind(fd, (struct sockaddr *) &sll, sizeof sll)) {
        die(name);
    }
    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
    return fd;
}

int
main(int argc, char *argv[])
{
    static struct mmsghdr messages[MAX_BURST];
    unsigned long long count, sent = 0;
    struct frames frames;
    int burst, pause, fd;
    size_t next = 0;

    if (argc != 6) {
        fprintf(stderr, "usage: pktgen INTERFACE FILE COUNT BURST PAUSE_US\n");
        return 2;
    }
    frames = read_frames(argv[2]);
    fd = open_interface(argv[1]);
    count = strtoull(argv[3], NULL, 10);
    burst = atoi(argv[4]) < MAX_BURST ? atoi(argv[4]) : MAX_BURST;
    pause = atoi(argv[5]);
    signal(SIGTERM, on_signal);

    while (!stop && (!count || sent < count)) {
        int n;

        for (int i = 0; i < burst; i++) {
            messages[i].msg_hdr.msg_iov = &frames.iov[(next + i) % frames.n];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        n = sendmmsg(fd, messages, burst, 0);
        if (n < 0 && errno != ENOBUFS && errno != EINTR && errno != EAGAIN) {
            die("sendmmsg");
        }
        if (n > 0) {
            sent += n;
            next = (next + n) % frames.n;
        }
        if (pause) {
            usleep(pause);
        }
    }
    printf("%llu\n", sent);
    return 0;
}
