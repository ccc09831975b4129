/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of channel.h: what channel.c (a connection), channel_listen.c (how
 * connections come in) and channel_connect.c (how they go out) share. */
#ifndef SALIENT_CHANNEL_PRIVATE_H
#define SALIENT_CHANNEL_PRIVATE_H 1

#include "proto/channel.h"
#include "proto/endpoint.h"
#include "openvswitch/ofpbuf.h"
#include "proto/frame.h"

struct addrinfo;
struct tls_session;

enum channel_state {
    CHANNEL_CONNECTING,
    CHANNEL_HANDSHAKING, /* TLS. */
    CHANNEL_OPEN,
    CHANNEL_LINGERING, /* We said goodbye; the last bytes are on their way. */
    CHANNEL_CLOSING,   /* Waits for libuv's close callbacks. */
};

union channel_io {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

struct channel {
    uv_loop_t *loop;
    const struct channel_ops *ops; /* NULL: accepted and refused. */
    void *aux;
    enum channel_state state;
    bool accepted;
    char *peer;
    char *reason; /* Why it closes; NULL if we were asked to. */

    union channel_io io;
    uv_timer_t deadline;
    const char *awaited;  /* What the deadline is for. */
    unsigned int pending; /* Callbacks to wait for before memory goes. */

    struct tls_session *tls; /* NULL: bytes are what they are. */
    bool gathering;          /* What is sent waits for the end of what is
                              * being received; TLS gathers by itself. */
    struct ofpbuf gathered;  /* Plain bytes that wait. */
    struct frame_decoder decoder;
    uv_shutdown_t shutdown_req;

    /* While connecting. */
    struct endpoint endpoint;
    uv_getaddrinfo_t resolve_req;
    bool resolving;
    struct addrinfo *addresses, *next_address;
    uv_connect_t connect_req;
};

/* A channel with a timer and no stream yet.  Takes over 'peer'. */
struct channel *channel_create(uv_loop_t *, char *peer);

/* Makes the stream: a TCP socket, or a Unix socket. */
void channel_io_init(struct channel *, bool tcp);
/* Callback that accounts for the stream's end. */
void channel_io_closed(uv_handle_t *);

/* The stream is connected. */
void channel_start(struct channel *);

/* Ends a channel because of 'reason' (malloced, taken over; NULL if we were
 * asked to end it).  Nothing is flushed; ops->closed follows from the loop. */
void channel_fail(struct channel *, char *reason);

/* Ends the channel if 'awaited' does not happen in time. */
void channel_await(struct channel *, const char *awaited, unsigned int ms);

/* Accounts for a callback that came. */
void channel_unref(struct channel *);

/* "KIND:10.0.0.1:40000".  Malloced. */
char *channel_format_address(const char *kind,
                             const struct sockaddr_storage *);

/* Current patience, see channel_set_patience(). */
unsigned int channel_patience(void);

#endif /* channel_private.h */
