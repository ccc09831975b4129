/* SPDX-License-Identifier: Apache-2.0 */
/* One switch's socket: bytes, perhaps through TLS, to and from its session. */
#include "controller/openflow_server_private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "openvswitch/vlog.h"
#include "proto/tls.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(openflow_connection);

static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(60, 20);

/* Bytes that may wait for a switch before packet-outs are dropped, and before
 * nothing is read from it any more. */
#define CONGESTED_BYTES (256 * 1024)
#define STOP_READING_BYTES (1024 * 1024)

struct write_request {
    uv_write_t req;
    struct switch_connection *connection;
    void *data; /* Owned. */
};

static long long
now_ms(const struct openflow_server *server)
{
    return uv_now(server->loop);
}

/* Writing. */

static void start_reading(struct switch_connection *);

static void
written(uv_write_t *req, int status)
{
    struct write_request *w = (struct write_request *) req;
    struct switch_connection *c = w->connection;

    free(w->data);
    free(w);
    if (c->closing) {
        return;
    }
    if (status < 0) {
        switch_session_close(&c->session, uv_strerror(status));
    } else if (!c->reading && !uv_stream_get_write_queue_size(
                                  (uv_stream_t *) &c->tcp)) {
        start_reading(c);
    }
}

/* Writes as much as the kernel takes at once, which is all it costs then.
 * Returns the number of bytes. */
static size_t
try_write(struct switch_connection *c, void *data, size_t n)
{
    uv_buf_t buf = uv_buf_init(data, n);
    int rc = uv_try_write((uv_stream_t *) &c->tcp, &buf, 1);

    return MAX(rc, 0); /* An error comes again. */
}

/* Takes 'data' over. */
static void
write_bytes(struct switch_connection *c, void *data, size_t n)
{
    size_t done = try_write(c, data, n);
    if (done == n) {
        free(data);
        return;
    }

    struct write_request *w = xmalloc(sizeof *w);
    uv_buf_t buf = uv_buf_init((char *) data + done, n - done);

    w->connection = c;
    w->data = data;
    int error = uv_write(&w->req, (uv_stream_t *) &c->tcp, &buf, 1, written);
    if (error) {
        free(w->data);
        free(w);
        switch_session_close(&c->session, uv_strerror(error));
    }
    if (c->reading && uv_stream_get_write_queue_size((uv_stream_t *) &c->tcp)
                          > STOP_READING_BYTES) {
        uv_read_stop((uv_stream_t *) &c->tcp);
        c->reading = false;
    }
}

/* Sends what TLS has ready. */
static void
flush_tls(struct switch_connection *c)
{
    size_t n = tls_session_pending(c->tls);

    if (n && !c->closing) {
        void *data = xmalloc(n);
        tls_session_output(c->tls, data, n);
        write_bytes(c, data, n);
    }
}

void
switch_connection_flush(struct switch_connection *c)
{
    struct ofpbuf *output = &c->session.output;

    if (!output->size || c->closing || (c->tls && !c->tls_up)) {
        return;
    }
    if (c->tls) {
        int error = tls_session_write(c->tls, output->data, output->size);
        ofpbuf_clear(output);
        if (error) {
            switch_session_close(&c->session, "TLS failed");
        }
        flush_tls(c);
    } else {
        size_t n = output->size;
        write_bytes(c, ofpbuf_steal_data(output), n);
        ofpbuf_init(output, 0);
    }
}

/* Reading. */

static void
allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct switch_connection *c = handle->data;

    *buf = uv_buf_init((char *) c->server->read_buf,
                       sizeof c->server->read_buf);
}

static void
tls_failed(struct switch_connection *c, int error, char *reason)
{
    flush_tls(c); /* The peer is told why. */
    switch_session_close(&c->session,
                         error == -ENOTCONN
                         ? "the switch closed the connection" : reason);
    free(reason);
}

static void
tls_handshake(struct switch_connection *c)
{
    char *reason = NULL;
    int rc = tls_session_handshake(c->tls, &reason);

    if (rc < 0) {
        VLOG_WARN_RL(&rl, "%s: %s", c->peer, reason);
        c->server->stats.refused_tls++;
        tls_failed(c, rc, reason);
        return;
    }
    flush_tls(c);
    if (rc > 0) {
        c->tls_up = true;
    }
}

/* Takes in encrypted bytes. */
static void
received_tls(struct switch_connection *c, const void *data, size_t n)
{
    tls_session_feed(c->tls, data, n);
    if (!c->tls_up) {
        tls_handshake(c);
    }
    while (c->tls_up && c->session.state != SWITCH_SESSION_CLOSED) {
        char plain[16 * 1024]; /* What one TLS record holds. */
        char *reason = NULL;
        int rc = tls_session_read(c->tls, plain, sizeof plain, &reason);

        if (rc < 0) {
            tls_failed(c, rc, reason);
        }
        if (rc <= 0) {
            break;
        }
        switch_session_receive(&c->session, plain, rc, now_ms(c->server));
    }
}

static void
received(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct switch_connection *c = stream->data;

    if (n < 0) {
        switch_session_close(&c->session,
                             n == UV_EOF ? "the switch closed the connection"
                                         : uv_strerror(n));
    } else if (n > 0 && c->tls) {
        received_tls(c, buf->base, n);
    } else if (n > 0) {
        switch_session_receive(&c->session, buf->base, n, now_ms(c->server));
    }
}

static void
start_reading(struct switch_connection *c)
{
    c->reading = !uv_read_start((uv_stream_t *) &c->tcp, allocate, received);
}

/* The session's events. */

static void timer_fired(uv_timer_t *);

static struct switch_connection *
find_other(const struct switch_connection *c)
{
    struct switch_connection *other;

    LIST_FOR_EACH (other, node, &c->server->connections) {
        if (other != c && other->announced
            && other->session.datapath_id == c->session.datapath_id) {
            return other;
        }
    }
    return NULL;
}

static void
handle_up(struct switch_connection *c)
{
    struct openflow_server *server = c->server;
    struct switch_connection *other = find_other(c);
    const struct switch_session *s = &c->session;

    if (other && other->session.state == SWITCH_SESSION_CLOSED) {
        switch_connection_close(other);
    } else if (other) {
        server->stats.refused_duplicate++;
        VLOG_WARN_RL(&rl, "%s: refused: datapath %016" PRIx64 " is connected "
                     "already, as %s", c->peer, s->datapath_id, other->peer);
        switch_session_probe(&other->session, now_ms(server));
        uv_timer_start(&other->timer, timer_fired,
                       server->config.echo_timeout_ms, 0);
        switch_session_close(&c->session, "duplicate datapath ID");
        return;
    }
    VLOG_INFO("%016" PRIx64 " (%s): up, OpenFlow %s, %s %s, %s, "
              "%" PRIuSIZE " ports", s->datapath_id, c->peer,
              switch_session_version_string(s), s->hardware, s->software,
              s->sal ? "SAL fields"
                     : "stock: no SAL fields, so plain forwarding only",
              hmap_count(&s->ports));
    c->announced = true;
    server->ops->up(c, server->aux);
    timer_fired(&c->timer); /* From now on it is for echoes. */
}

/* Tells the owner that the session has ended.  Not from the session's own
 * callback: the owner may be in the middle of using it. */
static void
announce_end(struct switch_connection *c)
{
    const char *reason = c->reason ? c->reason : "closed";

    if (c->announced) {
        VLOG_INFO("%016" PRIx64 " (%s): down: %s", c->session.datapath_id,
                  c->peer, reason);
        c->announced = false;
        c->server->ops->down(c, reason, c->server->aux);
    } else {
        VLOG_INFO_RL(&rl, "%s: closed in the handshake: %s", c->peer, reason);
    }
}

static void
session_event(struct switch_session *session,
              const struct switch_event *event, void *aux)
{
    struct switch_connection *c = aux;
    const struct openflow_server_ops *ops = c->server->ops;

    switch (event->type) {
    case SWITCH_EVENT_UP:
        handle_up(c);
        break;
    case SWITCH_EVENT_PORT:
    case SWITCH_EVENT_PORT_GONE:
        if (c->announced) {
            ops->port(c, event->port, event->type == SWITCH_EVENT_PORT_GONE,
                      c->server->aux);
        }
        break;
    case SWITCH_EVENT_MESSAGE:
        if (c->announced) {
            ops->message(c, event->message, c->server->aux);
        }
        break;
    case SWITCH_EVENT_ROLE:
        if (c->announced) {
            ops->role(c, c->server->aux);
        }
        break;
    case SWITCH_EVENT_CLOSED:
        c->reason = xstrdup(event->reason);
        break;
    }
}

/* Life of a connection. */

static void
timer_fired(uv_timer_t *timer)
{
    struct switch_connection *c = timer->data;
    long long now = now_ms(c->server);

    switch_session_run(&c->session, now);
    if (c->session.state != SWITCH_SESSION_CLOSED) {
        long long wakeup = switch_session_wakeup(&c->session);
        uv_timer_start(timer, timer_fired, MAX(1, wakeup - now), 0);
    }
}

static void
handle_closed_cb(uv_handle_t *handle)
{
    struct switch_connection *c = handle->data;
    struct openflow_server *server = c->server;

    if (!--c->n_handles) {
        server->stats.malformed += c->session.counters.malformed;
        switch_session_destroy(&c->session);
        tls_session_destroy(c->tls);
        free(c->reason);
        free(c);
        server->n_connections--;
        openflow_server_unref(server);
    }
}

void
switch_connection_close(struct switch_connection *c)
{
    if (!c->closing) {
        c->closing = true;
        announce_end(c);
        ovs_list_remove(&c->node);
        uv_close((uv_handle_t *) &c->tcp, handle_closed_cb);
        uv_close((uv_handle_t *) &c->timer, handle_closed_cb);
    }
}

static void
format_peer(struct switch_connection *c)
{
    struct sockaddr_storage ss;
    int len = sizeof ss;
    char ip[48] = "?";

    if (!uv_tcp_getpeername(&c->tcp, (struct sockaddr *) &ss, &len)) {
        uv_ip_name((struct sockaddr *) &ss, ip, sizeof ip);
    }
    snprintf(c->peer, sizeof c->peer,
             ss.ss_family == AF_INET6 ? "%s:[%s]:%u" : "%s:%s:%u",
             c->tls ? "tls" : "tcp", ip,
             ntohs(((struct sockaddr_in *) &ss)->sin_port));
}

void
switch_connection_accept(struct openflow_server *server,
                         uv_stream_t *listener, struct tls_context *tls)
{
    struct switch_connection *c = xzalloc(sizeof *c);

    c->server = server;
    c->n_handles = 2;
    uv_tcp_init(server->loop, &c->tcp);
    uv_timer_init(server->loop, &c->timer);
    c->tcp.data = c->timer.data = c;
    ovs_list_push_back(&server->connections, &c->node);
    server->n_connections++;
    switch_session_init(&c->session, &server->config, session_event, c,
                        now_ms(server));
    if (uv_accept(listener, (uv_stream_t *) &c->tcp)) {
        switch_connection_close(c);
        return;
    }
    c->tls = tls ? tls_session_create(tls, NULL) : NULL;
    format_peer(c);
    if (server->n_connections > server->config.max_connections) {
        server->stats.refused_limit++;
        VLOG_WARN_RL(&rl, "%s: refused: %u connections are open", c->peer,
                     server->config.max_connections);
        switch_connection_close(c);
        return;
    }
    server->stats.accepted++;
    uv_tcp_nodelay(&c->tcp, 1);
    uv_timer_start(&c->timer, timer_fired,
                   server->config.handshake_timeout_ms, 0);
    start_reading(c);
}

struct switch_session *
switch_connection_session(struct switch_connection *c)
{
    return &c->session;
}

const char *
switch_connection_peer(const struct switch_connection *c)
{
    return c->peer;
}

void **
switch_connection_user(struct switch_connection *c)
{
    return &c->user;
}

bool
switch_connection_packet_out(struct switch_connection *c, uint32_t in_port,
                             uint32_t port, const void *data, size_t len)
{
    size_t waiting = uv_stream_get_write_queue_size((uv_stream_t *) &c->tcp)
                     + c->session.output.size;

    if (waiting > CONGESTED_BYTES || c->closing) {
        c->dropped++;
        return false;
    }
    c->session.counters.packet_outs++;
    switch_session_send(&c->session,
                        openflow_packet_out(c->session.version, in_port, port,
                                            data, len));
    return true;
}

uint64_t
switch_connection_dropped(const struct switch_connection *c)
{
    return c->dropped;
}
