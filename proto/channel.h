/* SPDX-License-Identifier: Apache-2.0 */
/* A connection of the registration API: Envelopes over a libuv stream.
 *
 * Endpoints are written
 *
 *     tcp:HOST:PORT   tcp:[HOST6]:PORT   tls:HOST:PORT   unix:/path
 *
 * One thread: the loop's.  A channel's memory is released only after its close
 * callback has run. */
#ifndef SALIENT_CHANNEL_H
#define SALIENT_CHANNEL_H 1

#include <stdbool.h>
#include <uv.h>
#include "salient.pb-c.h"

struct channel;
struct channel_listener;

/* Mutual TLS, 1.3 or later: each side shows a certificate that the CA signed;
 * who connects also checks that the certificate names HOST.  Needed for "tls:"
 * endpoints, ignored for others; read once, within the call. */
struct channel_tls {
    const char *certificate; /* PEM files; this one may hold a chain. */
    const char *private_key;
    const char *ca;
};

struct channel_ops {
    /* The connection (and the TLS handshake) is up; also called for accepted
     * channels.  May be NULL. */
    void (*open)(struct channel *, void *aux);
    /* 'envelope' belongs to the channel and is gone after the call. */
    void (*receive)(struct channel *, const Salient__V1__Envelope *envelope,
                    void *aux);
    /* All that was sent is with the kernel: time to send more of something
     * long.  May be NULL. */
    void (*drained)(struct channel *, void *aux);
    /* Last call on a channel, also for a connection attempt that failed.
     * 'reason' is a clause without a period, or NULL if channel_close() asked
     * for it.  The channel is freed afterwards.  Always called from the loop,
     * never from within a function of this header. */
    void (*closed)(struct channel *, const char *reason, void *aux);
};

/* Starts to connect.  0 or negative errno with '*ret_error' (malloced) if
 * 'endpoint' makes no sense; later failures reach ops->closed. */
int channel_connect(uv_loop_t *, const char *endpoint,
                    const struct channel_tls *, const struct channel_ops *,
                    void *aux, struct channel **ret_channel,
                    char **ret_error);

/* Listens; calls 'accept' for each connection before anything is received; it
 * returns the ops' aux and stores the ops, or returns NULL to refuse.  A Unix
 * socket is created with mode 0600 (a stale one is replaced, a live one is
 * -EADDRINUSE) and removed on close. */
typedef void *channel_accept_cb(struct channel *, void *listener_aux,
                                const struct channel_ops **ret_ops);
int channel_listen(uv_loop_t *, const char *endpoint,
                   const struct channel_tls *, channel_accept_cb *accept,
                   void *listener_aux, struct channel_listener **ret_listener,
                   char **ret_error);
/* Port bound (for "tcp:HOST:0"); 0 for a Unix socket. */
int channel_listener_port(const struct channel_listener *);
/* Reads the files again, for channels to come (a certificate was renewed).
 * Without effect on endpoints other than "tls:".  0 or negative errno with
 * '*ret_error': then all stays as it was. */
int channel_listener_set_tls(struct channel_listener *,
                             const struct channel_tls *, char **ret_error);
/* Accepted channels live on. */
void channel_listener_close(struct channel_listener *);

/* Peers get CHANNEL_PATIENCE_MS to answer a connection attempt, to send the
 * first message of a connection that was accepted, and to complete a message
 * they have begun.  Tests are less patient; affects what starts afterwards. */
#define CHANNEL_PATIENCE_MS 10000
void channel_set_patience(unsigned int ms);

/* Closes the channel on a message above 'body_max' bytes (1..FRAME_BODY_MAX,
 * which is also the default): a listener may hold who has not yet proved his
 * identity to less. */
void channel_limit(struct channel *, uint32_t body_max);

/* Sends a copy.  Before ops->open and after channel_close() nothing is sent.
 * A message above FRAME_BODY_MAX is a fault of the caller; it closes the
 * channel, because the peer may wait for it.  A peer that does not read is
 * closed once CHANNEL_QUEUE_MAX bytes wait for it.  Who has more to say than
 * that sends the next part from ops->drained. */
#define CHANNEL_QUEUE_MAX (8 * 1024 * 1024)
void channel_send(struct channel *, const Salient__V1__Envelope *);

/* Convenience: Error reply to 'request_id'. */
void channel_send_error(struct channel *, uint64_t request_id,
                        Salient__V1__ErrorCode, const char *field,
                        const char *message);

/* Flushes what is queued (bounded by a second), then closes.  Idempotent. */
void channel_close(struct channel *);

/* For log messages: "tcp:10.0.0.1:40000", "unix:/run/...", or the endpoint
 * that was connected to.  Owned by the channel. */
const char *channel_peer(const struct channel *);

#endif /* channel.h */
