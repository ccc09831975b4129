/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/probe_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "util.h"

struct probe_socket {
    uv_poll_t poll;
    int fd;
    uint16_t port;
    uint64_t received;
};

static void
drain(uv_poll_t *poll, int status, int events)
{
    struct probe_socket *sock = poll->data;
    uint8_t byte;

    /* Bounded, so that a flood does not keep the loop. */
    for (int i = 0; i < 64; i++) {
        if (recv(sock->fd, &byte, sizeof byte, MSG_DONTWAIT) < 0) {
            break;
        }
        sock->received++;
    }
}

int
probe_socket_open(uv_loop_t *loop, uint16_t port, struct probe_socket **ret)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -errno;
    }
    if (bind(fd, (struct sockaddr *) &address, sizeof address)) {
        int error = -errno;
        close(fd);
        return error;
    }
    struct probe_socket *sock = xzalloc(sizeof *sock);
    sock->fd = fd;
    sock->port = port;
    uv_poll_init(loop, &sock->poll, fd);
    sock->poll.data = sock;
    uv_poll_start(&sock->poll, UV_READABLE, drain);
    *ret = sock;
    return 0;
}

static void
poll_closed(uv_handle_t *handle)
{
    struct probe_socket *sock = handle->data;

    close(sock->fd);
    free(sock);
}

void
probe_socket_close(struct probe_socket *sock)
{
    if (sock) {
        uv_close((uv_handle_t *) &sock->poll, poll_closed);
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

int
probe_socket_send(struct probe_socket *sock, const struct probe_path *path,
                  const void *data, size_t len)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(sock->port),
                             .sin_addr.s_addr = htonl(path->destination)};
    struct in_pktinfo info = {.ipi_ifindex = path->ifindex,
                              .ipi_spec_dst.s_addr = htonl(path->source)};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof info)];
    } control;
    struct iovec iov = {CONST_CAST(void *, data), len};
    struct msghdr msg = {.msg_name = &to,
                         .msg_namelen = sizeof to,
                         .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};

    memset(&control, 0, sizeof control);
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = IPPROTO_IP;
    cmsg->cmsg_type = IP_PKTINFO;
    cmsg->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(cmsg), &info, sizeof info);
    return sendmsg(sock->fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}
