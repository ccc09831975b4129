/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/openflow_server.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "openvswitch/list.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(openflow_server);

static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(60, 20);

#define MAX_CONNECTIONS 4096
#define READ_SIZE 65536
/* Bytes that may wait for a switch before packet-outs are dropped, and before
 * nothing is read from it any more. */
#define CONGESTED_BYTES (256 * 1024)
#define STOP_READING_BYTES (1024 * 1024)

struct openflow_server {
    uv_loop_t *loop;
    uv_tcp_t listener;
    struct switch_session_config config;
    const struct openflow_server_ops *ops;
    void *aux;
    struct ovs_list connections; /* struct switch_connection. */
    size_t n_connections;
    struct openflow_server_stats stats;
    bool stopping;
    int n_handles; /* Of the server itself, until their close callback. */
    uint8_t read_buf[READ_SIZE]; /* Shared: consumed in the read callback. */
};

struct switch_connection {
    struct ovs_list node;
    struct openflow_server *server;
    uv_tcp_t tcp;
    uv_timer_t timer;
    struct switch_session session;
    char peer[64];
    void *user;
    bool announced; /* ops->up was called. */
    char *reason;   /* Why the session ended; owned. */
    bool reading, closing;
    uint64_t dropped;
    int n_handles;
};

struct write_request {
    uv_write_t req;
    struct switch_connection *connection;
    void *data; /* Owned. */
};

static void connection_close(struct switch_connection *);

static long long
now_ms(const struct openflow_server *server)
{
    return uv_now(server->loop);
}

static void
server_free_if_done(struct openflow_server *server)
{
    if (!server->n_handles && !server->n_connections) {
        free(server);
    }
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

static void
flush(struct switch_connection *c)
{
    struct ofpbuf *output = &c->session.output;

    if (!output->size || c->closing) {
        return;
    }
    struct write_request *w = xmalloc(sizeof *w);
    uv_buf_t buf = uv_buf_init(output->data, output->size);
    w->connection = c;
    w->data = ofpbuf_steal_data(output);
    buf.base = w->data;
    ofpbuf_init(output, 0);
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

void
openflow_server_flush(struct openflow_server *server)
{
    struct switch_connection *c;

    LIST_FOR_EACH (c, node, &server->connections) {
        flush(c);
    }
}

void
openflow_server_reap(struct openflow_server *server)
{
    struct switch_connection *c;

    LIST_FOR_EACH_SAFE (c, node, &server->connections) {
        if (c->session.state == SWITCH_SESSION_CLOSED) {
            flush(c); /* It may end with an error message. */
            connection_close(c);
        }
    }
}

/* Reading. */

static void
allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct switch_connection *c = handle->data;

    *buf = uv_buf_init((char *) c->server->read_buf, READ_SIZE);
}

static void
received(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct switch_connection *c = stream->data;

    if (n > 0) {
        switch_session_receive(&c->session, buf->base, n,
                               now_ms(c->server));
    } else if (n < 0) {
        switch_session_close(&c->session,
                             n == UV_EOF ? "the switch closed the connection"
                                         : uv_strerror(n));
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
        connection_close(other);
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
        free(c->reason);
        free(c);
        server->n_connections--;
        if (server->stopping) {
            server_free_if_done(server);
        }
    }
}

static void
connection_close(struct switch_connection *c)
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
             ss.ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", ip,
             ntohs(((struct sockaddr_in *) &ss)->sin_port));
}

static void
accepted(uv_stream_t *listener, int status)
{
    struct openflow_server *server = listener->data;

    if (status < 0) {
        VLOG_WARN_RL(&rl, "accept: %s", uv_strerror(status));
        return;
    }
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
        connection_close(c);
        return;
    }
    format_peer(c);
    if (server->n_connections > MAX_CONNECTIONS) {
        server->stats.refused_limit++;
        VLOG_WARN_RL(&rl, "%s: refused: %d connections are open", c->peer,
                     MAX_CONNECTIONS);
        connection_close(c);
        return;
    }
    server->stats.accepted++;
    uv_tcp_nodelay(&c->tcp, 1);
    uv_timer_start(&c->timer, timer_fired,
                   server->config.handshake_timeout_ms, 0);
    start_reading(c);
}

/* The server. */

static void
server_handle_closed(uv_handle_t *handle)
{
    struct openflow_server *server = handle->data;

    server->n_handles--;
    server_free_if_done(server);
}

void
openflow_server_stop(struct openflow_server *server)
{
    struct switch_connection *c;

    if (!server || server->stopping) {
        return;
    }
    server->stopping = true;
    uv_close((uv_handle_t *) &server->listener, server_handle_closed);
    LIST_FOR_EACH_SAFE (c, node, &server->connections) {
        switch_session_close(&c->session, "the controller stops");
        connection_close(c);
    }
}

static int
listen_on(struct openflow_server *server, const char *address, uint16_t port)
{
    struct sockaddr_storage ss;
    int error = uv_ip4_addr(address, port, (struct sockaddr_in *) &ss);

    if (error) {
        error = uv_ip6_addr(address, port, (struct sockaddr_in6 *) &ss);
    }
    if (!error) {
        error = uv_tcp_bind(&server->listener, (struct sockaddr *) &ss, 0);
    }
    return error ? error
                 : uv_listen((uv_stream_t *) &server->listener, 128,
                             accepted);
}

int
openflow_server_start(uv_loop_t *loop, const char *address, uint16_t port,
                      const struct switch_session_config *config,
                      const struct openflow_server_ops *ops, void *aux,
                      struct openflow_server **ret_server, char **ret_error)
{
    struct openflow_server *server = xzalloc(sizeof *server);

    server->loop = loop;
    server->config = *config;
    server->ops = ops;
    server->aux = aux;
    server->n_handles = 1;
    ovs_list_init(&server->connections);
    uv_tcp_init(loop, &server->listener);
    server->listener.data = server;

    int error = listen_on(server, address, port);
    if (error) {
        *ret_error = xasprintf("cannot listen for switches on %s port %u: %s",
                               address, port, uv_strerror(error));
        openflow_server_stop(server);
        return error;
    }
    *ret_server = server;
    return 0;
}

uint16_t
openflow_server_port(const struct openflow_server *server)
{
    struct sockaddr_storage ss;
    int len = sizeof ss;

    if (uv_tcp_getsockname(&server->listener, (struct sockaddr *) &ss,
                           &len)) {
        return 0;
    }
    return ntohs(((struct sockaddr_in *) &ss)->sin_port);
}

const struct openflow_server_stats *
openflow_server_stats(const struct openflow_server *server)
{
    return &server->stats;
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
