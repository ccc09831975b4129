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
#define IP6_UDP_LEN 48

static int
family_of(int fd)
{
    int family;
    socklen_t len = sizeof family;

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) ? -errno
                                                                : family;
}

int
sal_datagram_open_family(const struct service_prefix *id, int family,
                         uint16_t port)
{
    int fd = sal_connect_family(id, family, SOCK_DGRAM | SOCK_CLOEXEC, port);
    int v4 = IP_PMTUDISC_DO, v6 = IPV6_PMTUDISC_DO;

    if (fd >= 0
        && (family_of(fd) == AF_INET6
            ? setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &v6, sizeof v6)
            : setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &v4, sizeof v4))) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int
sal_datagram_open(const struct service_prefix *id, uint16_t port)
{
    return sal_datagram_open_family(id, AF_UNSPEC, port);
}

int
sal_datagram_send(int fd, const void *data, size_t len)
{
    return send(fd, data, len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int
sal_datagram_max(int fd)
{
    int family = family_of(fd), mtu;
    socklen_t len = sizeof mtu;
    bool v6 = family == AF_INET6;

    if (family < 0) {
        return family;
    }
    if (v6 ? getsockopt(fd, IPPROTO_IPV6, IPV6_MTU, &mtu, &len)
           : getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &len)) {
        return -errno;
    }
    int headers = v6 ? IP6_UDP_LEN : IP_UDP_LEN;
    return mtu > headers ? mtu - headers : 0;
}

ssize_t
sal_datagram_receive(int fd, void *data, size_t size, int timeout_ms,
                     struct sockaddr_storage *from)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof ss;
    int ready = poll(&pollfd, 1, timeout_ms);

    if (ready <= 0) {
        return ready ? -errno : -ETIMEDOUT;
    }
    ssize_t n = recvfrom(fd, data, size, 0, (struct sockaddr *) &ss, &len);
    if (n < 0) {
        return -errno;
    }
    if (from) {
        *from = ss;
    }
    return n;
}

int
sal_datagram_answer(int fd, const struct sockaddr_storage *to,
                    const void *data, size_t len)
{
    socklen_t to_len = to->ss_family == AF_INET6
                       ? sizeof(struct sockaddr_in6)
                       : sizeof(struct sockaddr_in);

    return sendto(fd, data, len, MSG_NOSIGNAL, (const struct sockaddr *) to,
                  to_len) < 0 ? -errno : 0;
}
