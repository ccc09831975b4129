/* SPDX-License-Identifier: Apache-2.0 */
/* Tells when the kernel announced a change of an interface or address, and
 * when packets then passed another interface of its network namespace.
 *
 *     watch INTERFACE [salient|tcp]
 *
 * Prints JSON lines, times by CLOCK_MONOTONIC: {"ready": true}, each
 * {"event_at": T, "what": "link down"}, and after each event the first
 *
 *     {"first_out": T}  DATA (salient) or a TCP segment with payload (tcp)
 *     {"first_in": T}   that left and arrived at INTERFACE
 *     {"control_in": T, "type": N, "len": N}  every SAL control packet of
 *                       migration that arrived there
 *
 * A real-time thread of its own, so that a busy machine adds little. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "ofp-ext/sal.h"
#include "tests/migration/gaps.h"

static int
fail(const char *what)
{
    fprintf(stderr, "watch: %s: %s\n", what, strerror(errno));
    return EXIT_FAILURE;
}

static int
open_netlink(void)
{
    struct sockaddr_nl address = {
        .nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    return fd >= 0
           && !bind(fd, (struct sockaddr *) &address, sizeof address)
           ? fd : -1;
}

static int
open_packets(int ifindex)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(ETH_P_ALL),
                                  .sll_ifindex = ifindex};
    int size = 4 << 20, fd = socket(AF_PACKET, SOCK_RAW, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    return fd >= 0
           && !bind(fd, (struct sockaddr *) &address, sizeof address)
           ? fd : -1;
}

/* What matters of a frame. */
struct seen {
    bool data; /* Payload of a connection. */
    int control; /* enum sal_type of migration, or 0. */
    int len;
};

static struct seen
look(const uint8_t *frame, ssize_t len, bool tcp)
{
    struct seen seen = {.len = len};
    uint16_t type = len >= 14 ? frame[12] << 8 | frame[13] : 0;
    size_t ip = 14, l4;
    uint8_t protocol;

    if (type == ETH_P_IP && len >= 54) {
        protocol = frame[ip + 9];
        l4 = ip + (frame[ip] & 15) * 4;
    } else if (type == ETH_P_IPV6 && len >= 74) {
        protocol = frame[ip + 6];
        l4 = ip + 40;
    } else {
        return seen;
    }
    if (tcp) {
        size_t header = l4 + (frame[l4 + 12] >> 4) * 4;
        seen.data = protocol == IPPROTO_TCP && (ssize_t) header < len
                    && len > 80;
    } else if (protocol == IPPROTO_UDP
               && (frame[l4 + 2] << 8 | frame[l4 + 3]) == SAL_UDP_PORT) {
        int sal = frame[l4 + 8 + SAL_OFS_TYPE];
        seen.data = sal == SAL_TYPE_DATA;
        seen.control = sal == SAL_TYPE_RSYN || sal == SAL_TYPE_RSYN_ACK
                       || sal == SAL_TYPE_RSYN_DONE ? sal : 0;
    }
    return seen;
}

static void
say_event(int64_t now, const char *what)
{
    printf("{\"event_at\": %.6f, \"what\": \"%s\"}\n", now / 1e9, what);
    fflush(stdout);
}

/* True if something changed. */
static bool
hear_netlink(int fd)
{
    char buffer[8192];
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    int64_t now = now_ns();
    bool changed = false;

    for (struct nlmsghdr *nl = (void *) buffer; n > 0 && NLMSG_OK(nl, n);
         nl = NLMSG_NEXT(nl, n)) {
        if (nl->nlmsg_type == RTM_NEWLINK) {
            const struct ifinfomsg *info = NLMSG_DATA(nl);
            if (!(info->ifi_flags & IFF_UP)
                || !(info->ifi_flags & IFF_RUNNING)) {
                say_event(now, "link down");
                changed = true;
            }
        } else if (nl->nlmsg_type == RTM_DELADDR) {
            say_event(now, "address removed");
            changed = true;
        } else if (nl->nlmsg_type == RTM_NEWADDR) {
            say_event(now, "address added");
            changed = true;
        }
    }
    return changed;
}

int
main(int argc, char *argv[])
{
    int ifindex = argc >= 2 ? if_nametoindex(argv[1]) : 0;
    bool tcp = argc >= 3 && !strcmp(argv[2], "tcp");
    bool want_out = false, want_in = false;
    struct sched_param priority = {.sched_priority = 50};

    if (!ifindex) {
        fputs("usage: watch INTERFACE [salient|tcp]\n", stderr);
        return EXIT_FAILURE;
    }
    struct pollfd fds[] = {{.fd = open_netlink(), .events = POLLIN},
                           {.fd = open_packets(ifindex), .events = POLLIN}};
    if (fds[0].fd < 0 || fds[1].fd < 0) {
        return fail(argv[1]);
    }
    sched_setscheduler(0, SCHED_FIFO, &priority); /* Else without. */
    printf("{\"ready\": true}\n");
    fflush(stdout);
    for (;;) {
        poll(fds, 2, -1);
        if (fds[0].revents && hear_netlink(fds[0].fd)) {
            want_out = want_in = true;
        }
        if (!fds[1].revents) {
            continue;
        }
        static uint8_t frame[65536];
        struct sockaddr_ll from;
        socklen_t len = sizeof from;
        ssize_t n = recvfrom(fds[1].fd, frame, sizeof frame, 0,
                             (struct sockaddr *) &from, &len);
        bool out = from.sll_pkttype == PACKET_OUTGOING;
        struct seen seen = look(frame, n, tcp);
        if (seen.data && (out ? want_out : want_in)) {
            printf("{\"%s\": %.6f}\n", out ? "first_out" : "first_in",
                   now_ns() / 1e9);
            fflush(stdout);
            *(out ? &want_out : &want_in) = false;
        } else if (seen.control && !out) {
            printf("{\"control_in\": %.6f, \"type\": %d, \"len\": %d}\n",
                   now_ns() / 1e9, seen.control, seen.len);
            fflush(stdout);
        }
    }
}
