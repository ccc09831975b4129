/* SPDX-License-Identifier: Apache-2.0 */
/* What openflow_server.c (listeners) and openflow_connection.c (one switch's
 * socket) share. */
#ifndef CONTROLLER_OPENFLOW_SERVER_PRIVATE_H
#define CONTROLLER_OPENFLOW_SERVER_PRIVATE_H 1

#include "controller/openflow_server.h"
#include "openvswitch/list.h"

struct tls_context;
struct tls_session;

struct openflow_server {
    uv_loop_t *loop;
    struct ovs_list listeners;   /* struct openflow_listener. */
    struct switch_session_config config;
    const struct openflow_server_ops *ops;
    void *aux;
    struct ovs_list connections; /* struct switch_connection. */
    size_t n_connections;        /* Until their last close callback. */
    size_t n_listeners;          /* Likewise. */
    struct openflow_server_stats stats;
    bool stopping;
    uint8_t read_buf[65536]; /* Shared: consumed in the read callback. */
};

struct switch_connection {
    struct ovs_list node;
    struct openflow_server *server;
    uv_tcp_t tcp;
    uv_timer_t timer;
    struct tls_session *tls; /* NULL: bytes are what they are. */
    bool tls_up;             /* Its handshake is done. */
    struct switch_session session;
    char peer[72];
    void *user;
    bool announced; /* ops->up was called. */
    char *reason;   /* Why the session ended; owned. */
    bool reading, closing;
    uint64_t dropped;
    long long tables_at; /* When its table features were asked for. */
    int n_handles;
};

/* Takes the connection that waits at 'listener'.  'tls' may be NULL. */
void switch_connection_accept(struct openflow_server *,
                              uv_stream_t *listener, struct tls_context *tls);
/* Writes what the session has queued. */
void switch_connection_flush(struct switch_connection *);
void switch_connection_close(struct switch_connection *);

/* Frees a server that was stopped, with its last handle. */
void openflow_server_unref(struct openflow_server *);

#endif /* openflow_server_private.h */
