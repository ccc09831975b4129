/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/probe_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "util.h"

/* A move of many peers at once is a burst of as many packets. */
#define BUFFER_SIZE (4 << 20)

/* Packets taken in one go, so that a flood does not keep the loop. */
#define RECEIVE_AT_ONCE 64

enum { IPV4, IPV6, N_FAMILIES };

struct half {
    uv_poll_t poll;
    int fd; /* -1: none. */
};

struct probe_socket {
    struct half halves[N_FAMILIES];
    int n_open;
    uint16_t port;
    uint64_t received;
    probe_socket_received_cb *callback;
    void *aux;
};

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

static void
locator_from_v6(const struct in6_addr *address,
                struct migration_locator *locator)
{
    memcpy(locator->address, address, sizeof locator->address);
}

/* Takes own address and interface from what came with the packet. */
static void
parse_control(struct msghdr *msg, struct probe_path *path)
{
    struct cmsghdr *c;

    for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            path->ifindex = info.ipi_ifindex;
            migration_locator_from_v4(ntohl(info.ipi_addr.s_addr),
                                      &path->own);
        } else if (c->cmsg_level == IPPROTO_IPV6
                   && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            path->ifindex = info.ipi6_ifindex;
            locator_from_v6(&info.ipi6_addr, &path->own);
        }
    }
}

static void
parse_source(const struct sockaddr_storage *from, uint16_t sal_port,
             struct probe_path *path)
{
    uint16_t port;

    if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *) from;
        locator_from_v6(&v6->sin6_addr, &path->other);
        port = ntohs(v6->sin6_port);
    } else {
        const struct sockaddr_in *v4 = (const void *) from;
        migration_locator_from_v4(ntohl(v4->sin_addr.s_addr), &path->other);
        port = ntohs(v4->sin_port);
    }
    path->other.port = port == sal_port ? 0 : port;
}

static bool
receive_one(struct probe_socket *sock, int fd)
{
    struct sockaddr_storage from;
    uint8_t data[2048];
    union control control;
    struct iovec iov = {data, sizeof data};
    struct msghdr msg = {.msg_name = &from,
                         .msg_namelen = sizeof from,
                         .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};
    ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);

    if (n < 0) {
        return errno != EAGAIN && errno != EWOULDBLOCK;
    }
    struct probe_path path = {.ifindex = 0};
    sock->received++;
    parse_control(&msg, &path);
    parse_source(&from, sock->port, &path);
    sock->callback(&path, data, n, sock->aux);
    return true;
}

static void
readable(uv_poll_t *poll, int status, int events)
{
    struct probe_socket *sock = poll->data;
    int fd = CONTAINER_OF(poll, struct half, poll)->fd;

    for (int i = 0; i < RECEIVE_AT_ONCE && receive_one(sock, fd); i++) {
        continue;
    }
}

static int
open_fd(int family, uint16_t port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons(port)};
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1, size = BUFFER_SIZE;

    if (fd < 0) {
        return -errno;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size)) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size)) {
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
    /* SAL has a checksum of its own, and who sends an RSYN on changes what
     * UDP's covers (RFC 6935). */
    if (family == AF_INET
        ? setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on)
          || setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on)
          || bind(fd, (struct sockaddr *) &v4, sizeof v4)
        : setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on)
          || setsockopt(fd, IPPROTO_UDP, UDP_NO_CHECK6_TX, &on, sizeof on)
          || setsockopt(fd, IPPROTO_UDP, UDP_NO_CHECK6_RX, &on, sizeof on)
          || setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on)
          || bind(fd, (struct sockaddr *) &v6, sizeof v6)) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

static void
open_half(struct probe_socket *sock, uv_loop_t *loop, struct half *half,
          int fd)
{
    half->fd = fd;
    uv_poll_init(loop, &half->poll, fd);
    half->poll.data = sock;
    uv_poll_start(&half->poll, UV_READABLE, readable);
    sock->n_open++;
}

int
probe_socket_open(uv_loop_t *loop, uint16_t port,
                  probe_socket_received_cb *callback, void *aux,
                  struct probe_socket **ret)
{
    int v4 = open_fd(AF_INET, port), v6;

    if (v4 < 0) {
        return v4;
    }
    v6 = open_fd(AF_INET6, port);
    if (v6 < 0 && v6 != -EAFNOSUPPORT) {
        close(v4);
        return v6;
    }
    struct probe_socket *sock = xzalloc(sizeof *sock);
    sock->port = port;
    sock->callback = callback;
    sock->aux = aux;
    open_half(sock, loop, &sock->halves[IPV4], v4);
    sock->halves[IPV6].fd = -1;
    if (v6 >= 0) {
        open_half(sock, loop, &sock->halves[IPV6], v6);
    }
    *ret = sock;
    return 0;
}

static void
poll_closed(uv_handle_t *handle)
{
    struct probe_socket *sock = handle->data;

    close(CONTAINER_OF(handle, struct half, poll)->fd);
    if (!--sock->n_open) {
        free(sock);
    }
}

void
probe_socket_close(struct probe_socket *sock)
{
    for (int i = 0; sock && i < N_FAMILIES; i++) {
        if (sock->halves[i].fd >= 0) {
            uv_close((uv_handle_t *) &sock->halves[i].poll, poll_closed);
        }
    }
}

uint16_t
probe_socket_port(const struct probe_socket *sock)
{
    return sock->port;
}

uint64_t
probe_socket_received(const struct probe_socket *sock)
{
    return sock->received;
}

static void
put_control(struct msghdr *msg, int level, int type, const void *info,
            size_t len)
{
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);

    cmsg->cmsg_level = level;
    cmsg->cmsg_type = type;
    cmsg->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(cmsg), info, len);
    msg->msg_controllen = CMSG_SPACE(len);
}

static int
send_v4(const struct probe_socket *sock, const struct probe_path *path,
        struct msghdr *msg)
{
    uint16_t port = path->other.port ? path->other.port : sock->port;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct in_pktinfo info = {.ipi_ifindex = path->ifindex};

    memcpy(&to.sin_addr, path->other.address + 12, 4);
    memcpy(&info.ipi_spec_dst, path->own.address + 12, 4);
    msg->msg_name = &to;
    msg->msg_namelen = sizeof to;
    put_control(msg, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    return sendmsg(sock->halves[IPV4].fd, msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int
send_v6(const struct probe_socket *sock, const struct probe_path *path,
        struct msghdr *msg)
{
    uint16_t port = path->other.port ? path->other.port : sock->port;
    struct sockaddr_in6 to = {.sin6_family = AF_INET6,
                              .sin6_port = htons(port)};
    struct in6_pktinfo info = {.ipi6_ifindex = path->ifindex};

    if (sock->halves[IPV6].fd < 0) {
        return -EAFNOSUPPORT;
    }
    memcpy(&to.sin6_addr, path->other.address, 16);
    memcpy(&info.ipi6_addr, path->own.address, 16);
    msg->msg_name = &to;
    msg->msg_namelen = sizeof to;
    put_control(msg, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    return sendmsg(sock->halves[IPV6].fd, msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int
probe_socket_send(struct probe_socket *sock, const struct probe_path *path,
                  const void *data, size_t len)
{
    union control control;
    struct iovec iov = {CONST_CAST(void *, data), len};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};
    uint32_t v4;

    memset(&control, 0, sizeof control);
    return migration_locator_to_v4(&path->other, &v4)
           ? send_v4(sock, path, &msg) : send_v6(sock, path, &msg);
}
