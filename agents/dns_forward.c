/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/dns_forward.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "agents/dns_answer.h"
#include "openvswitch/list.h"
#include "util.h"

#define ROUNDS 2 /* Times each resolver is asked. */

struct dns_forwarder {
    uv_loop_t *loop;
    const struct agent_dns_config *config;
    struct ovs_list forwards;
    size_t n_forwards;
    size_t refs; /* Attempts whose handles are open, and the owner. */
};

/* One attempt owns the handles; a retry is a new one. */
struct attempt {
    struct dns_forwarder *forwarder;
    struct dns_forward *forward; /* NULL: given up. */
    union {
        uv_handle_t handle;
        uv_udp_t udp;
        uv_tcp_t tcp;
        uv_stream_t stream;
    } socket;
    uv_timer_t timer;
    unsigned int handles; /* Open. */
    uint16_t id;          /* What the resolver must echo. */
    uint8_t *buf;         /* Of 2 + DNS_MESSAGE_MAX; query, then reply. */
    size_t len;           /* Received so far. */
    union {
        uv_udp_send_t send;
        uv_write_t write;
    } request;
    uv_connect_t connect;
};

struct dns_forward {
    struct dns_forwarder *forwarder;
    struct ovs_list node;
    dns_forward_cb *done;
    void *aux;
    bool tcp;
    uint8_t *query;
    size_t len;
    unsigned int n_attempts;
    struct attempt *attempt;
};

static bool start_attempt(struct dns_forward *);

static void
forwarder_unref(struct dns_forwarder *forwarder)
{
    if (!--forwarder->refs) {
        free(forwarder);
    }
}

struct dns_forwarder *
dns_forwarder_create(uv_loop_t *loop, const struct agent_dns_config *config)
{
    struct dns_forwarder *forwarder = xzalloc(sizeof *forwarder);

    forwarder->loop = loop;
    forwarder->config = config;
    forwarder->refs = 1;
    ovs_list_init(&forwarder->forwards);
    return forwarder;
}

static void
attempt_handle_closed(uv_handle_t *handle)
{
    struct attempt *attempt = handle->data;

    if (!--attempt->handles) {
        forwarder_unref(attempt->forwarder);
        free(attempt->buf);
        free(attempt);
    }
}

static void
attempt_abandon(struct attempt *attempt)
{
    if (attempt) {
        attempt->forward->attempt = NULL;
        attempt->forward = NULL;
        uv_close(&attempt->socket.handle, attempt_handle_closed);
        uv_close((uv_handle_t *) &attempt->timer, attempt_handle_closed);
    }
}

void
dns_forward_cancel(struct dns_forward *forward)
{
    if (forward) {
        attempt_abandon(forward->attempt);
        ovs_list_remove(&forward->node);
        forward->forwarder->n_forwards--;
        free(forward->query);
        free(forward);
    }
}

static void
finish(struct dns_forward *forward, uint8_t *reply, size_t len)
{
    dns_forward_cb *done = forward->done;
    void *aux = forward->aux;

    if (reply) {
        memcpy(reply, forward->query, 2); /* The client's ID. */
    }
    /* 'reply' lies in the attempt, which lives until its close callback. */
    dns_forward_cancel(forward);
    done(reply, len, aux);
}

void
dns_forwarder_destroy(struct dns_forwarder *forwarder)
{
    struct dns_forward *forward;

    if (forwarder) {
        LIST_FOR_EACH_SAFE (forward, node, &forwarder->forwards) {
            finish(forward, NULL, 0);
        }
        forwarder_unref(forwarder);
    }
}

/* The next resolver, or the end. */
static void
attempt_failed(struct attempt *attempt)
{
    struct dns_forward *forward = attempt->forward;

    if (forward) {
        attempt_abandon(attempt);
        if (!start_attempt(forward)) {
            finish(forward, NULL, 0);
        }
    }
}

static void
timed_out(uv_timer_t *timer)
{
    attempt_failed(timer->data);
}

static bool
is_our_reply(const struct attempt *attempt, const uint8_t *reply, size_t len)
{
    return (len >= DNS_HEADER_LEN && (reply[2] & 0x80)
            && (reply[0] << 8 | reply[1]) == attempt->id);
}

/* UDP. */

static void
alloc_reply(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct attempt *attempt = handle->data;

    buf->base = (char *) attempt->buf + attempt->len;
    buf->len = 2 + DNS_MESSAGE_MAX - attempt->len;
}

static void
udp_received(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf,
             const struct sockaddr *from, unsigned int flags)
{
    struct attempt *attempt = udp->data;

    if (!attempt->forward || (!n && !from)) {
        return;
    }
    if (n < 0) {
        attempt_failed(attempt); /* ICMP: nobody listens there. */
    } else if (!(flags & UV_UDP_PARTIAL)
               && is_our_reply(attempt, attempt->buf, n)) {
        finish(attempt->forward, attempt->buf, n);
    }
}

static void
udp_sent(uv_udp_send_t *request, int status)
{
    struct attempt *attempt = request->handle->data;

    if (status < 0 && status != UV_ECANCELED) {
        attempt_failed(attempt);
    }
}

static int
udp_start(struct attempt *attempt, const struct sockaddr *to, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *) attempt->buf + 2, len);
    int error = uv_udp_connect(&attempt->socket.udp, to);

    if (!error) {
        error = uv_udp_try_send(&attempt->socket.udp, &buf, 1, NULL);
        if (error == UV_EAGAIN) {
            error = uv_udp_send(&attempt->request.send, &attempt->socket.udp,
                                &buf, 1, NULL, udp_sent);
        }
    }
    return (error < 0 ? error
                      : uv_udp_recv_start(&attempt->socket.udp, alloc_reply,
                                          udp_received));
}

/* TCP: the message behind its length. */

static void
tcp_received(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct attempt *attempt = stream->data;

    if (!attempt->forward) {
        return;
    }
    if (n < 0) {
        attempt_failed(attempt);
        return;
    }
    attempt->len += n;
    if (attempt->len >= 2) {
        size_t len = attempt->buf[0] << 8 | attempt->buf[1];
        if (attempt->len < 2 + len) {
            return;
        }
        if (is_our_reply(attempt, attempt->buf + 2, len)) {
            finish(attempt->forward, attempt->buf + 2, len);
        } else {
            attempt_failed(attempt);
        }
    }
}

static void
tcp_written(uv_write_t *write, int status)
{
    struct attempt *attempt = write->handle->data;

    if (status == UV_ECANCELED || !attempt->forward) {
        return;
    }
    if (status < 0
        || uv_read_start(&attempt->socket.stream, alloc_reply,
                         tcp_received)) {
        attempt_failed(attempt);
    }
}

static void
tcp_connected(uv_connect_t *connect, int status)
{
    struct attempt *attempt = connect->handle->data;

    if (status == UV_ECANCELED || !attempt->forward) {
        return;
    }
    uv_buf_t buf = uv_buf_init((char *) attempt->buf,
                               2 + attempt->forward->len);
    if (status < 0
        || uv_write(&attempt->request.write, &attempt->socket.stream, &buf, 1,
                    tcp_written)) {
        attempt_failed(attempt);
    }
}

/* Both. */

static int
attempt_begin(struct attempt *attempt)
{
    const struct dns_forward *forward = attempt->forward;
    const struct agent_dns_config *config = forward->forwarder->config;
    const struct agent_address *upstream
        = &config->upstreams[forward->n_attempts % config->n_upstreams];
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(upstream->port),
                             .sin_addr.s_addr = htonl(upstream->address)};

    attempt->buf = xmalloc(2 + DNS_MESSAGE_MAX);
    attempt->buf[0] = forward->len >> 8;
    attempt->buf[1] = forward->len;
    memcpy(attempt->buf + 2, forward->query, forward->len);
    attempt->id = randombytes_random();
    attempt->buf[2] = attempt->id >> 8;
    attempt->buf[3] = attempt->id;
    return (forward->tcp
                ? uv_tcp_connect(&attempt->connect, &attempt->socket.tcp,
                                 (struct sockaddr *) &to, tcp_connected)
                : udp_start(attempt, (struct sockaddr *) &to, forward->len));
}

/* False if there is nobody left to ask. */
static bool
start_attempt(struct dns_forward *forward)
{
    struct dns_forwarder *forwarder = forward->forwarder;

    while (forward->n_attempts < ROUNDS * forwarder->config->n_upstreams) {
        struct attempt *attempt = xzalloc(sizeof *attempt);
        attempt->forwarder = forwarder;
        attempt->forward = forward;
        forward->attempt = attempt;
        forwarder->refs++;
        if (forward->tcp) {
            uv_tcp_init(forwarder->loop, &attempt->socket.tcp);
        } else {
            uv_udp_init(forwarder->loop, &attempt->socket.udp);
        }
        uv_timer_init(forwarder->loop, &attempt->timer);
        attempt->socket.handle.data = attempt;
        attempt->timer.data = attempt;
        attempt->handles = 2;

        int error = attempt_begin(attempt);
        forward->n_attempts++;
        if (!error) {
            uv_timer_start(&attempt->timer, timed_out, DNS_FORWARD_TIMEOUT_MS,
                           0);
            return true;
        }
        attempt_abandon(attempt);
    }
    return false;
}

struct dns_forward *
dns_forward_start(struct dns_forwarder *forwarder, const uint8_t *query,
                  size_t len, bool tcp, dns_forward_cb *done, void *aux)
{
    if (forwarder->n_forwards >= DNS_FORWARD_MAX) {
        return NULL;
    }
    struct dns_forward *forward = xzalloc(sizeof *forward);
    forward->forwarder = forwarder;
    forward->done = done;
    forward->aux = aux;
    forward->tcp = tcp;
    forward->query = xmemdup(query, len);
    forward->len = len;
    ovs_list_push_back(&forwarder->forwards, &forward->node);
    forwarder->n_forwards++;
    if (!start_attempt(forward)) {
        dns_forward_cancel(forward);
        return NULL;
    }
    return forward;
}
