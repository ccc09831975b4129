/* SPDX-License-Identifier: Apache-2.0 */
/* Switches connect here: a TCP listener and the connections it accepted.
 *
 * Each connection is a switch_session plus the socket under it.  A switch that
 * does not read gets no more packet-outs and is not read from either; the
 * session's echo timer then ends it.
 *
 * Two connections with one datapath ID: the older stays if it is alive (it is
 * asked at once), the newer is refused.
 *
 * One thread: the loop's.  A connection is freed after its 'down' callback. */
#ifndef CONTROLLER_OPENFLOW_SERVER_H
#define CONTROLLER_OPENFLOW_SERVER_H 1

#include <uv.h>
#include "controller/switch_session.h"

struct openflow_server;
struct switch_connection;

struct openflow_server_ops {
    /* The switch is known; its ports are in its session. */
    void (*up)(struct switch_connection *, void *aux);
    /* A port is new or has changed; 'gone': it is about to be forgotten. */
    void (*port)(struct switch_connection *, const struct switch_port *,
                 bool gone, void *aux);
    void (*message)(struct switch_connection *,
                    const struct openflow_message *, void *aux);
    /* Last call on a connection that was 'up'. */
    void (*down)(struct switch_connection *, const char *reason, void *aux);
};

struct openflow_server_stats {
    uint64_t accepted, refused_duplicate, refused_limit, malformed;
};

/* Listens on 'address' ("127.0.0.1", "::") and 'port' (0: any).  0, or a
 * negative errno with '*ret_error' (malloced sentence). */
int openflow_server_start(uv_loop_t *, const char *address, uint16_t port,
                          const struct switch_session_config *,
                          const struct openflow_server_ops *, void *aux,
                          struct openflow_server **ret_server,
                          char **ret_error);
uint16_t openflow_server_port(const struct openflow_server *);
const struct openflow_server_stats *
openflow_server_stats(const struct openflow_server *);

/* Drops connections whose session has ended; 'down' is called from here, too.
 * openflow_server_flush() writes what was queued in the sessions.  The owner
 * calls both before its loop blocks, in this order, with whatever makes it
 * queue more in between. */
void openflow_server_reap(struct openflow_server *);
void openflow_server_flush(struct openflow_server *);

/* Closes listener and connections; 'down' is called for those that were up.
 * The memory goes with the last close callback of the loop. */
void openflow_server_stop(struct openflow_server *);

struct switch_session *switch_connection_session(struct switch_connection *);
const char *switch_connection_peer(const struct switch_connection *);
/* The owner's pointer, NULL at first. */
void **switch_connection_user(struct switch_connection *);

/* Sends a packet out of a port.  False (and counted) if the switch does not
 * keep up. */
bool switch_connection_packet_out(struct switch_connection *,
                                  uint32_t in_port, uint32_t port,
                                  const void *data, size_t len);
uint64_t switch_connection_dropped(const struct switch_connection *);

#endif /* openflow_server.h */
