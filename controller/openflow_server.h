/* SPDX-License-Identifier: Apache-2.0 */
/* Switches connect here: listeners, TCP or TLS, and the connections they
 * accepted.
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

struct channel_tls;
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
    /* The session's role has changed. */
    void (*role)(struct switch_connection *, void *aux);
    /* Last call on a connection that was 'up'. */
    void (*down)(struct switch_connection *, const char *reason, void *aux);
};

struct openflow_server_stats {
    uint64_t accepted, refused_duplicate, refused_limit, refused_tls,
             malformed;
};

/* Copies 'config'; 'ops' must outlive the server. */
struct openflow_server *
openflow_server_create(uv_loop_t *, const struct switch_session_config *,
                       const struct openflow_server_ops *, void *aux);

/* Listens on "tcp:HOST:PORT" or "tls:HOST:PORT"; several calls, several
 * addresses.  'tls' is for the latter: switches show a certificate that the CA
 * signed.  0, or a negative errno with '*ret_error' (malloced sentence). */
int openflow_server_listen(struct openflow_server *, const char *address,
                           const struct channel_tls *tls, char **ret_error);
const struct openflow_server_stats *
openflow_server_stats(const struct openflow_server *);

/* Reads the certificates again, for connections to come.  0, or a negative
 * errno with '*ret_error' (malloced sentence): then all stays as it was. */
int openflow_server_set_tls(struct openflow_server *,
                            const struct channel_tls *, char **ret_error);

/* What new sessions are like; those that are there get new timers and are
 * asked for the role, if that changes. */
void openflow_server_configure(struct openflow_server *,
                               const struct switch_session_config *);

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
