/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/channel_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "openvswitch/util.h"
#include "openvswitch/vlog.h"
#include "proto/tls.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(channel);

/* What a peer does wrong must not fill the log. */
static struct vlog_rate_limit peer_rl = VLOG_RATE_LIMIT_INIT(10, 20);

#define LINGER_MS 1000
#define TCP_KEEPALIVE_S 30
#define PEER_CLOSED "the peer closed the connection"

static unsigned int patience_ms = CHANNEL_PATIENCE_MS;

/* A peer that sends many requests at once gets the answers in pieces of this
 * size, not one by one. */
#define GATHERED_MAX (64 * 1024)

/* Messages on their way to the kernel. */
struct channel_write {
    uv_write_t req;
    struct channel *channel;
    void *data; /* Owned. */
};

void
channel_set_patience(unsigned int ms)
{
    patience_ms = ms;
}

unsigned int
channel_patience(void)
{
    return patience_ms;
}

char *
channel_format_address(const char *kind, const struct sockaddr_storage *ss)
{
    char host[INET6_ADDRSTRLEN];

    if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const void *) ss;
        uv_ip6_name(sin6, host, sizeof host);
        return xasprintf("%s:[%s]:%u", kind, host,
                         ntohs(sin6->sin6_port));
    } else {
        const struct sockaddr_in *sin = (const void *) ss;
        uv_ip4_name(sin, host, sizeof host);
        return xasprintf("%s:%s:%u", kind, host, ntohs(sin->sin_port));
    }
}

struct channel *
channel_create(uv_loop_t *loop, char *peer)
{
    struct channel *channel = xzalloc(sizeof *channel);

    /* libuv writes without MSG_NOSIGNAL: a peer that went away must be an
     * error, not the end of the process. */
    signal(SIGPIPE, SIG_IGN);

    channel->loop = loop;
    channel->peer = peer;
    channel->state = CHANNEL_CONNECTING;
    frame_decoder_init(&channel->decoder);
    ofpbuf_init(&channel->gathered, 0);
    uv_timer_init(loop, &channel->deadline);
    channel->deadline.data = channel;
    channel->pending = 1;
    return channel;
}

void
channel_limit(struct channel *channel, uint32_t body_max)
{
    frame_decoder_limit(&channel->decoder, body_max);
}

static void
channel_destroy(struct channel *channel)
{
    frame_decoder_destroy(&channel->decoder);
    ofpbuf_uninit(&channel->gathered);
    tls_session_destroy(channel->tls);
    if (channel->addresses) {
        uv_freeaddrinfo(channel->addresses);
    }
    free(channel->peer);
    free(channel->reason);
    free(channel);
}

void
channel_unref(struct channel *channel)
{
    if (!--channel->pending) {
        if (channel->ops) {
            channel->ops->closed(channel, channel->reason, channel->aux);
        }
        channel_destroy(channel);
    }
}

static void
on_deadline_closed(uv_handle_t *handle)
{
    channel_unref(handle->data);
}

void
channel_io_closed(uv_handle_t *handle)
{
    channel_unref(handle->data);
}

void
channel_io_init(struct channel *channel, bool tcp)
{
    if (tcp) {
        uv_tcp_init(channel->loop, &channel->io.tcp);
    } else {
        uv_pipe_init(channel->loop, &channel->io.pipe, 0);
    }
    channel->io.handle.data = channel;
    channel->pending++;
}

static void channel_flush(struct channel *);

void
channel_fail(struct channel *channel, char *reason)
{
    if (channel->state == CHANNEL_CLOSING) {
        free(reason);
        return;
    }
    if (channel->state == CHANNEL_OPEN && channel->gathering) {
        /* Nobody waits for this, but the kernel may take it. */
        channel->gathering = false;
        channel_flush(channel);
        if (channel->state == CHANNEL_CLOSING) {
            free(reason);
            return;
        }
    }
    if (channel->state == CHANNEL_LINGERING) {
        /* It is over as far as the owner is concerned. */
        free(reason);
        reason = NULL;
    }
    channel->state = CHANNEL_CLOSING;
    channel->reason = reason;
    VLOG_DBG("%s: closing: %s", channel->peer, reason ? reason : "as asked");

    uv_close((uv_handle_t *) &channel->deadline, on_deadline_closed);
    if (channel->resolving) {
        uv_cancel((uv_req_t *) &channel->resolve_req);
    } else if (channel->io.handle.data
               && !uv_is_closing(&channel->io.handle)) {
        uv_close(&channel->io.handle, channel_io_closed);
    }
}

/* A peer broke the rules, which is worth a line. */
static void
fail_peer(struct channel *channel, char *reason)
{
    if (channel->state == CHANNEL_OPEN
        || (channel->state == CHANNEL_HANDSHAKING && channel->accepted)) {
        VLOG_WARN_RL(&peer_rl, "%s: %s; closing the connection",
                     channel->peer, reason);
    }
    channel_fail(channel, reason);
}

static void
on_deadline(uv_timer_t *timer)
{
    struct channel *channel = timer->data;

    if (channel->state == CHANNEL_CONNECTING) {
        channel_fail(channel, xasprintf("cannot connect to %s: no answer in "
                                        "time", channel->peer));
    } else {
        fail_peer(channel, xasprintf("%s did not come in time",
                                     channel->awaited));
    }
}

void
channel_await(struct channel *channel, const char *awaited, unsigned int ms)
{
    channel->awaited = awaited;
    uv_timer_start(&channel->deadline, on_deadline, ms, 0);
}

static void
on_write(uv_write_t *req, int status)
{
    struct channel_write *write = CONTAINER_OF(req, struct channel_write, req);
    struct channel *channel = write->channel;

    free(write->data);
    free(write);
    if (status < 0) {
        channel_fail(channel, xasprintf("cannot send: %s",
                                        uv_strerror(status)));
    } else if (channel->state == CHANNEL_OPEN && channel->ops->drained
               && !uv_stream_get_write_queue_size(&channel->io.stream)) {
        channel->ops->drained(channel, channel->aux);
    }
}

/* Sends 'n' bytes as they are; takes 'data' over. */
static void
channel_output(struct channel *channel, void *data, size_t n)
{
    struct channel_write *write = xmalloc(sizeof *write);
    uv_buf_t buf = uv_buf_init(data, n);

    write->channel = channel;
    write->data = data;
    int error = uv_write(&write->req, &channel->io.stream, &buf, 1, on_write);
    if (error) {
        free(data);
        free(write);
        channel_fail(channel, xasprintf("cannot send: %s",
                                        uv_strerror(error)));
    } else if (uv_stream_get_write_queue_size(&channel->io.stream)
               > CHANNEL_QUEUE_MAX) {
        fail_peer(channel, xstrdup("the peer does not read what it is sent"));
    }
}

/* Sends what has been gathered. */
static void
channel_flush(struct channel *channel)
{
    size_t n = channel->tls ? tls_session_pending(channel->tls)
                            : channel->gathered.size;

    if (!n) {
        return;
    }
    void *data;
    if (channel->tls) {
        data = xmalloc(n);
        tls_session_output(channel->tls, data, n);
    } else {
        data = ofpbuf_steal_data(&channel->gathered);
        ofpbuf_init(&channel->gathered, 0);
    }
    channel_output(channel, data, n);
}

static void
fail_framing(struct channel *channel, int error)
{
    const char *what = error == -EMSGSIZE ? "a message is longer than 1 MiB"
                       : error == -EPROTONOSUPPORT
                       ? "the peer speaks another version of the framing"
                       : "the peer does not speak the registration API";
    fail_peer(channel, xstrdup(what));
}

static void
dispatch(struct channel *channel, const uint8_t *body, size_t len)
{
    Salient__V1__Envelope *envelope =
        salient__v1__envelope__unpack(NULL, len, body);

    if (!envelope) {
        fail_peer(channel, xstrdup("a message is no Envelope"));
        return;
    }
    channel->ops->receive(channel, envelope, channel->aux);
    salient__v1__envelope__free_unpacked(envelope, NULL);
}

/* A peer may be silent between messages but not within one. */
static void
watch_progress(struct channel *channel, bool progress)
{
    if (progress) {
        uv_timer_stop(&channel->deadline);
    }
    if (frame_decoder_is_partial(&channel->decoder)
        && !uv_is_active((uv_handle_t *) &channel->deadline)) {
        channel_await(channel, "the rest of a message", patience_ms);
    }
}

/* Takes in plain bytes. */
static void
channel_input(struct channel *channel, const void *data, size_t n)
{
    const uint8_t *body;
    size_t len;
    bool progress = false;
    int rc = 0;

    frame_decoder_push(&channel->decoder, data, n);
    while (channel->state == CHANNEL_OPEN
           && (rc = frame_decoder_next(&channel->decoder, &body, &len)) > 0) {
        dispatch(channel, body, len);
        progress = true;
    }
    if (channel->state == CHANNEL_OPEN) {
        if (rc < 0) {
            fail_framing(channel, rc);
        } else {
            watch_progress(channel, progress);
        }
    }
}

static void
channel_opened(struct channel *channel)
{
    channel->state = CHANNEL_OPEN;
    if (channel->accepted) {
        channel_await(channel, "the first message", patience_ms);
    } else {
        uv_timer_stop(&channel->deadline);
    }
    if (channel->ops->open) {
        channel->ops->open(channel, channel->aux);
    }
}

static void
fail_tls(struct channel *channel, int error, char *reason)
{
    if (error == -ENOTCONN) {
        channel_fail(channel, xstrdup(PEER_CLOSED));
    } else {
        fail_peer(channel, reason);
    }
}

static void
tls_handshake(struct channel *channel)
{
    char *reason = NULL;
    int rc = tls_session_handshake(channel->tls, &reason);

    /* Also after a failure: the peer is told why. */
    channel_flush(channel);
    if (rc < 0) {
        fail_tls(channel, rc, reason);
    } else if (rc > 0 && channel->state == CHANNEL_HANDSHAKING) {
        channel_opened(channel);
    }
}

/* Takes in encrypted bytes. */
static void
tls_input(struct channel *channel, const void *data, size_t n)
{
    tls_session_feed(channel->tls, data, n);
    if (channel->state == CHANNEL_HANDSHAKING) {
        tls_handshake(channel);
    }
    while (channel->state == CHANNEL_OPEN) {
        char plain[16 * 1024]; /* What one TLS record holds. */
        char *reason = NULL;
        int rc = tls_session_read(channel->tls, plain, sizeof plain, &reason);
        if (rc > 0) {
            channel_input(channel, plain, rc);
            continue;
        }
        channel_flush(channel);
        if (rc < 0) {
            fail_tls(channel, rc, reason);
        }
        break;
    }
}

static void
on_alloc(uv_handle_t *handle OVS_UNUSED, size_t size OVS_UNUSED, uv_buf_t *buf)
{
    /* libuv reads right after it asks, so one buffer a thread is enough. */
    static __thread char bytes[64 * 1024];

    *buf = uv_buf_init(bytes, sizeof bytes);
}

static void
on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct channel *channel = stream->data;

    if (n == UV_EOF) {
        bool partial = frame_decoder_is_partial(&channel->decoder);
        channel_fail(channel, xasprintf(PEER_CLOSED"%s",
                                        partial ? " within a message" : ""));
    } else if (n < 0) {
        channel_fail(channel, xasprintf("cannot receive: %s", uv_strerror(n)));
    } else if (n > 0 && channel->state != CHANNEL_LINGERING) {
        channel->gathering = true;
        if (channel->tls) {
            tls_input(channel, buf->base, n);
        } else {
            channel_input(channel, buf->base, n);
        }
        channel->gathering = false;
        if (channel->state == CHANNEL_OPEN) {
            channel_flush(channel);
        }
    }
}

void
channel_start(struct channel *channel)
{
    if (channel->state != CHANNEL_CONNECTING) {
        return; /* Closed by its owner already. */
    }
    if (channel->io.handle.type == UV_TCP) {
        uv_tcp_nodelay(&channel->io.tcp, 1);
        uv_tcp_keepalive(&channel->io.tcp, 1, TCP_KEEPALIVE_S);
    }
    int error = uv_read_start(&channel->io.stream, on_alloc, on_read);
    if (error) {
        channel_fail(channel, xasprintf("cannot receive: %s",
                                        uv_strerror(error)));
    } else if (channel->tls) {
        channel->state = CHANNEL_HANDSHAKING;
        channel_await(channel, "the TLS handshake", patience_ms);
        tls_handshake(channel);
    } else {
        channel_opened(channel);
    }
}

void
channel_send(struct channel *channel, const Salient__V1__Envelope *envelope)
{
    if (channel->state != CHANNEL_OPEN) {
        return;
    }
    size_t len = salient__v1__envelope__get_packed_size(envelope);
    if (!len || len > FRAME_BODY_MAX) {
        /* The peer may wait for it for ever, so let it know the hard way. */
        VLOG_ERR("%s: a message of %zu bytes cannot be sent", channel->peer,
                 len);
        channel_fail(channel, xasprintf("a message of %zu bytes cannot be "
                                        "sent", len));
        return;
    }

    struct ofpbuf *gathered = &channel->gathered;
    if (ofpbuf_tailroom(gathered) < FRAME_HEADER_LEN + len) {
        /* Few reallocations of what becomes long. */
        ofpbuf_prealloc_tailroom(gathered, FRAME_HEADER_LEN + len
                                           + gathered->size);
    }
    uint8_t *data = ofpbuf_put_uninit(gathered, FRAME_HEADER_LEN + len);
    frame_header_put(data, len);
    salient__v1__envelope__pack(envelope, data + FRAME_HEADER_LEN);
    if (channel->tls) {
        int error = tls_session_write(channel->tls, data,
                                      FRAME_HEADER_LEN + len);
        ofpbuf_clear(gathered);
        if (error) {
            channel_fail(channel, xstrdup("cannot send: TLS failed"));
            return;
        }
    }
    size_t n = channel->tls ? tls_session_pending(channel->tls)
                            : gathered->size;
    if (!channel->gathering || n >= GATHERED_MAX) {
        channel_flush(channel);
    }
}

void
channel_send_error(struct channel *channel, uint64_t request_id,
                   Salient__V1__ErrorCode code, const char *field,
                   const char *message)
{
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;
    Salient__V1__Error error = SALIENT__V1__ERROR__INIT;

    error.code = code;
    error.field = CONST_CAST(char *, field ? field : "");
    error.message = CONST_CAST(char *, message);
    envelope.request_id = request_id;
    envelope.body_case = SALIENT__V1__ENVELOPE__BODY_ERROR;
    envelope.error = &error;
    channel_send(channel, &envelope);
}

static void
on_shutdown(uv_shutdown_t *req OVS_UNUSED, int status OVS_UNUSED)
{
    /* The deadline or the peer's end ends it. */
}

void
channel_close(struct channel *channel)
{
    if (channel->state < CHANNEL_OPEN) {
        channel_fail(channel, NULL);
    } else if (channel->state == CHANNEL_OPEN) {
        /* A socket that is closed while bytes of the peer are unread resets
         * the connection, and the peer loses what we sent last.  So: finish
         * sending, and discard until the peer ends too. */
        if (channel->tls) {
            tls_session_end(channel->tls);
        }
        channel_flush(channel);
        if (channel->state != CHANNEL_OPEN) {
            return;
        }
        channel->state = CHANNEL_LINGERING;
        channel_await(channel, "the peer's end", LINGER_MS);
        if (uv_shutdown(&channel->shutdown_req, &channel->io.stream,
                        on_shutdown)) {
            channel_fail(channel, NULL);
        }
    }
}

const char *
channel_peer(const struct channel *channel)
{
    return channel->peer;
}
