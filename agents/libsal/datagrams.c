/* SPDX-License-Identifier: Apache-2.0 */
/* DATAGRAMs: an ordinary UDP socket, set up so that what does not fit is said
 * rather than fragmented. */
#include "agents/libsal/libsal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <poll.h>
#include <unistd.h>

#define IP_UDP_LEN 28

int
sal_datagram_open(const struct service_prefix *id, uint16_t port)
{
    int fd = sal_connect(id, SOCK_DGRAM | SOCK_CLOEXEC, port);
    int how = IP_PMTUDISC_DO;

    if (fd >= 0
        && setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &how, sizeof how)) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int
sal_datagram_send(int fd, const void *data, size_t len)
{
    return send(fd, data, len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int
sal_datagram_max(int fd)
{
    int mtu;
    socklen_t len = sizeof mtu;

    if (getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &len)) {
        return -errno;
    }
    return mtu > IP_UDP_LEN ? mtu - IP_UDP_LEN : 0;
}

ssize_t
sal_datagram_receive(int fd, void *data, size_t size, int timeout_ms,
                     struct sockaddr_in *from)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    struct sockaddr_in sin;
    socklen_t len = sizeof sin;
    int ready = poll(&pollfd, 1, timeout_ms);

    if (ready <= 0) {
        return ready ? -errno : -ETIMEDOUT;
    }
    ssize_t n = recvfrom(fd, data, size, 0, (struct sockaddr *) &sin, &len);
    if (n < 0) {
        return -errno;
    }
    if (from) {
        *from = sin;
    }
    return n;
}

int
sal_datagram_answer(int fd, const struct sockaddr_in *to, const void *data,
                    size_t len)
{
    return sendto(fd, data, len, MSG_NOSIGNAL, (const struct sockaddr *) to,
                  sizeof *to) < 0 ? -errno : 0;
}
