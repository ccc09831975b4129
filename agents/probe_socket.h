/* SPDX-License-Identifier: Apache-2.0 */
/* The ordinary UDP socket on the SAL port, from which daemons' packets (PROBE)
 * are sent.  What arrives on it is counted and dropped: nobody asks this
 * daemon anything yet.  One thread: the loop's. */
#ifndef SALIENT_PROBE_SOCKET_H
#define SALIENT_PROBE_SOCKET_H 1

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct probe_socket;

/* Binds to 'port' on all addresses.  Negative errno. */
int probe_socket_open(uv_loop_t *, uint16_t port, struct probe_socket **);
void probe_socket_close(struct probe_socket *);
uint16_t probe_socket_port(const struct probe_socket *);
uint64_t probe_socket_received(const struct probe_socket *);

struct probe_path {
    int ifindex;          /* Leaves by this interface, */
    uint32_t source;      /* from this address of it, */
    uint32_t destination; /* to the SAL port of this one (host byte order). */
};

/* Sends at once or fails: -EAGAIN if the socket is full. */
int probe_socket_send(struct probe_socket *, const struct probe_path *,
                      const void *, size_t len);

#endif /* probe_socket.h */
