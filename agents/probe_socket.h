/* SPDX-License-Identifier: Apache-2.0 */
/* The ordinary UDP socket on the SAL port (one for IPv4 and one for IPv6),
 * over which daemons talk: PROBE, RSYN*.  The data plane leaves to it what is
 * not its own.  One thread: the loop's. */
#ifndef SALIENT_PROBE_SOCKET_H
#define SALIENT_PROBE_SOCKET_H 1

#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include "agents/migration.h"

struct probe_socket;

/* Where a packet leaves, or came in. */
struct probe_path {
    int ifindex;                         /* By this interface; 0 = any, */
    struct migration_locator own;        /* from this address of it, */
    struct migration_locator other;      /* to this one; port 0 is the SAL
                                          * port. */
};

/* Called from the loop with each packet that came, valid during the call; its
 * path is the one that an answer takes. */
typedef void probe_socket_received_cb(const struct probe_path *,
                                      const uint8_t *data, size_t len,
                                      void *aux);

/* Binds to 'port' on all addresses; without IPv6 if the kernel has none.
 * Negative errno. */
int probe_socket_open(uv_loop_t *, uint16_t port, probe_socket_received_cb *,
                      void *aux, struct probe_socket **);
void probe_socket_close(struct probe_socket *);
uint16_t probe_socket_port(const struct probe_socket *);
uint64_t probe_socket_received(const struct probe_socket *);

/* Sends at once or fails: -EAGAIN if the socket is full. */
int probe_socket_send(struct probe_socket *, const struct probe_path *,
                      const void *, size_t len);

#endif /* probe_socket.h */
