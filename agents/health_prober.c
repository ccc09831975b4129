/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/health_prober.h"

#include <arpa/inet.h>
#include <string.h>
#include "openvswitch/list.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(health);

struct health_prober {
    struct health health;
    uv_loop_t *loop;
    uv_timer_t timer;
    uint32_t identity_v4;
    struct ovs_list probes; /* struct probe, under way. */
    void (*changed)(void *aux);
    void *aux;
    unsigned int n_handles; /* To be closed before it is freed. */
    bool closing;
};

/* One check. */
struct probe {
    struct ovs_list node;
    struct health_prober *prober;
    struct local_service key; /* Its name is owned. */
    uv_tcp_t tcp;
    uv_timer_t timeout;
    uv_connect_t connect;
    uv_write_t write;
    char request[SERVICE_NAME_MAX + 64];
    char answer[64];
    size_t answer_len;
    unsigned int n_handles;
    bool done;
};

static void
free_if_closed(struct health_prober *prober)
{
    if (prober->closing && !prober->n_handles) {
        health_destroy(&prober->health);
        free(prober);
    }
}

static void run(struct health_prober *);

static void
probe_handle_closed(uv_handle_t *handle)
{
    struct probe *probe = handle->data;
    struct health_prober *prober = probe->prober;

    if (!--probe->n_handles) {
        free(probe->key.name);
        free(probe);
    }
    prober->n_handles--;
    free_if_closed(prober);
}

static void
close_probe(struct probe *probe)
{
    if (!probe->done) {
        probe->done = true;
        ovs_list_remove(&probe->node);
        uv_close((uv_handle_t *) &probe->tcp, probe_handle_closed);
        uv_close((uv_handle_t *) &probe->timeout, probe_handle_closed);
    }
}

static void
finish(struct probe *probe, bool ok)
{
    struct health_prober *prober = probe->prober;

    if (probe->done) {
        return;
    }
    bool changed = health_result(&prober->health, &probe->key, ok,
                                 uv_now(prober->loop));
    if (changed) {
        VLOG_INFO("%s port %"PRIu16": the server is %s", probe->key.name,
                  probe->key.service_port, ok ? "healthy" : "not healthy");
    }
    close_probe(probe);
    if (changed) {
        prober->changed(prober->aux);
    }
    run(prober);
}

/* A server that has answered and does not hang up is well, too. */
static void
timed_out(uv_timer_t *timer)
{
    struct probe *probe = timer->data;

    finish(probe, health_http_is_good(probe->answer, probe->answer_len));
}

/* The beginning of the answer is kept; the rest is read as well, or the server
 * would see a reset. */
static void
allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char rest[4096];
    struct probe *probe = handle->data;
    size_t room = sizeof probe->answer - probe->answer_len;

    *buf = room ? uv_buf_init(probe->answer + probe->answer_len, room)
                : uv_buf_init(rest, sizeof rest);
}

static void
received(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct probe *probe = stream->data;

    if (n > 0 && buf->base == probe->answer + probe->answer_len) {
        probe->answer_len += n;
    }
    if (n < 0) {
        finish(probe, health_http_is_good(probe->answer, probe->answer_len));
    }
}

static void
connected(uv_connect_t *connect, int status)
{
    struct probe *probe = connect->data;

    if (probe->done) {
        return;
    }
    if (status || probe->key.health == HEALTH_TCP) {
        finish(probe, !status);
        return;
    }
    uv_buf_t buf = uv_buf_init(probe->request, strlen(probe->request));
    if (uv_write(&probe->write, (uv_stream_t *) &probe->tcp, &buf, 1, NULL)
        || uv_read_start((uv_stream_t *) &probe->tcp, allocate, received)) {
        finish(probe, false);
    }
}

static void
start_probe(struct health_prober *prober, const struct health_check *check)
{
    const struct local_service *service = &check->service;
    uint32_t address = service->target_address ? service->target_address
                                               : prober->identity_v4;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(address),
                             .sin_port = htons(service->target_port)};
    struct probe *probe = xzalloc(sizeof *probe);

    probe->prober = prober;
    probe->key = *service;
    probe->key.name = xstrdup(service->name);
    snprintf(probe->request, sizeof probe->request,
             "GET / HTTP/1.0\r\nHost: %s\r\n\r\n",
             service->name[0] ? service->name : "localhost");
    ovs_list_push_back(&prober->probes, &probe->node);
    uv_tcp_init(prober->loop, &probe->tcp);
    uv_timer_init(prober->loop, &probe->timeout);
    probe->tcp.data = probe->timeout.data = probe->connect.data = probe;
    probe->n_handles = 2;
    prober->n_handles += 2;
    uv_timer_start(&probe->timeout, timed_out, service->health_interval_ms,
                   0);
    if (!address || uv_tcp_connect(&probe->connect, &probe->tcp,
                                   (struct sockaddr *) &to, connected)) {
        /* Not at once: who runs checks may call us again. */
        uv_timer_start(&probe->timeout, timed_out, 0, 0);
    }
}

static void
timer_fired(uv_timer_t *timer)
{
    run(timer->data);
}

static void
run(struct health_prober *prober)
{
    const struct health_check *check;
    int64_t now = uv_now(prober->loop);

    if (prober->closing) {
        return;
    }
    while ((check = health_take_due(&prober->health, now)) != NULL) {
        start_probe(prober, check);
    }
    int64_t deadline = health_deadline(&prober->health);
    if (deadline == INT64_MAX) {
        uv_timer_stop(&prober->timer);
    } else {
        uv_timer_start(&prober->timer, timer_fired, MAX(deadline - now, 1),
                       0);
    }
}

struct health_prober *
health_prober_create(uv_loop_t *loop, void (*changed)(void *aux), void *aux)
{
    struct health_prober *prober = xzalloc(sizeof *prober);

    health_init(&prober->health);
    ovs_list_init(&prober->probes);
    prober->loop = loop;
    prober->changed = changed;
    prober->aux = aux;
    uv_timer_init(loop, &prober->timer);
    prober->timer.data = prober;
    prober->n_handles = 1;
    return prober;
}

static void
timer_closed(uv_handle_t *handle)
{
    struct health_prober *prober = handle->data;

    prober->n_handles--;
    free_if_closed(prober);
}

void
health_prober_close(struct health_prober *prober)
{
    struct probe *probe;

    if (!prober) {
        return;
    }
    prober->closing = true;
    LIST_FOR_EACH_SAFE (probe, node, &prober->probes) {
        close_probe(probe);
    }
    uv_close((uv_handle_t *) &prober->timer, timer_closed);
}

void
health_prober_set(struct health_prober *prober,
                  const struct local_services *services)
{
    health_set(&prober->health, services, uv_now(prober->loop));
    run(prober);
}

void
health_prober_set_identity(struct health_prober *prober, uint32_t identity_v4)
{
    prober->identity_v4 = identity_v4;
}

const struct health *
health_prober_health(const struct health_prober *prober)
{
    return &prober->health;
}
