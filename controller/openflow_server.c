/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/openflow_server_private.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include "openvswitch/vlog.h"
#include "proto/endpoint.h"
#include "proto/tls.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(openflow_server);

static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(60, 20);

#define BACKLOG 1024 /* All come back at once after a restart. */

struct openflow_listener {
    struct ovs_list node;
    struct openflow_server *server;
    uv_tcp_t tcp;
    struct tls_context *tls; /* NULL without TLS. */
};

struct openflow_server *
openflow_server_create(uv_loop_t *loop,
                       const struct switch_session_config *config,
                       const struct openflow_server_ops *ops, void *aux)
{
    struct openflow_server *server = xzalloc(sizeof *server);

    server->loop = loop;
    server->config = *config;
    server->config.defer_tables = true;
    server->ops = ops;
    server->aux = aux;
    ovs_list_init(&server->connections);
    ovs_list_init(&server->listeners);
    return server;
}

void
openflow_server_unref(struct openflow_server *server)
{
    if (server->stopping && !server->n_listeners && !server->n_connections) {
        free(server);
    }
}

static void
listener_closed(uv_handle_t *handle)
{
    struct openflow_listener *listener = handle->data;
    struct openflow_server *server = listener->server;

    tls_context_destroy(listener->tls);
    free(listener);
    server->n_listeners--;
    openflow_server_unref(server);
}

static void
close_listener(struct openflow_listener *listener)
{
    ovs_list_remove(&listener->node);
    uv_close((uv_handle_t *) &listener->tcp, listener_closed);
}

static void
accepted(uv_stream_t *stream, int status)
{
    struct openflow_listener *listener = stream->data;

    if (status < 0) {
        VLOG_WARN_RL(&rl, "accept: %s", uv_strerror(status));
    } else {
        switch_connection_accept(listener->server, stream, listener->tls);
    }
}

static int
bind_and_listen(struct openflow_listener *listener,
                const struct endpoint *endpoint)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE};
    struct addrinfo *addresses;
    char port[6];

    snprintf(port, sizeof port, "%u", endpoint->port);
    int rc = getaddrinfo(endpoint->host, port, &hints, &addresses);
    if (rc) {
        return rc == EAI_SYSTEM ? -errno : -EADDRNOTAVAIL;
    }
    int error = uv_tcp_bind(&listener->tcp, addresses->ai_addr, 0);
    freeaddrinfo(addresses);
    return error ? error
                 : uv_listen((uv_stream_t *) &listener->tcp, BACKLOG,
                             accepted);
}

int
openflow_server_listen(struct openflow_server *server, const char *address,
                       const struct channel_tls *tls, char **ret_error)
{
    struct tls_context *context = NULL;
    struct endpoint endpoint;

    const char *wrong = endpoint_parse(address, &endpoint);
    if (wrong || endpoint.kind == ENDPOINT_UNIX) {
        *ret_error = xasprintf("\"%s\" %s", address,
                               wrong ? wrong : "is no address for switches");
        return -EINVAL;
    }
    if (endpoint.kind == ENDPOINT_TLS) {
        int error = tls_context_create(tls, &context, ret_error);
        if (error) {
            return error;
        }
    }

    struct openflow_listener *listener = xzalloc(sizeof *listener);
    listener->server = server;
    listener->tls = context;
    listener->tcp.data = listener;
    uv_tcp_init(server->loop, &listener->tcp);
    ovs_list_push_back(&server->listeners, &listener->node);
    server->n_listeners++;
    int error = bind_and_listen(listener, &endpoint);
    if (error) {
        *ret_error = xasprintf("cannot listen for switches on %s: %s",
                               address, uv_strerror(error));
        close_listener(listener);
    }
    return error;
}

int
openflow_server_set_tls(struct openflow_server *server,
                        const struct channel_tls *tls, char **ret_error)
{
    struct openflow_listener *listener;

    LIST_FOR_EACH (listener, node, &server->listeners) {
        if (listener->tls) {
            struct tls_context *context;
            int error = tls_context_create(tls, &context, ret_error);
            if (error) {
                return error;
            }
            tls_context_destroy(listener->tls);
            listener->tls = context;
        }
    }
    return 0;
}

void
openflow_server_configure(struct openflow_server *server,
                          const struct switch_session_config *config)
{
    bool role = config->role != server->config.role
                || config->generation_id != server->config.generation_id;
    struct switch_connection *c;

    server->config = *config;
    server->config.defer_tables = true;
    LIST_FOR_EACH (c, node, &server->connections) {
        struct switch_session_config *mine = &c->session.config;

        mine->echo_interval_ms = config->echo_interval_ms;
        mine->echo_timeout_ms = config->echo_timeout_ms;
        mine->handshake_timeout_ms = config->handshake_timeout_ms;
        mine->insist = config->insist;
        mine->retry_ms = config->retry_ms;
        mine->patience_ms = config->patience_ms;
        mine->max_ports = config->max_ports;
        mine->max_rules = config->max_rules;
        mine->max_malformed = config->max_malformed;
        if (role) {
            switch_session_set_role(&c->session, config->role,
                                    config->generation_id);
        }
    }
}

/* Switches of one machine are often one process, which forwards packets, too:
 * asked for the table features of all of them at once, it would pause.  So a
 * few at a time; one that does not answer soon is not waited for. */
#define TABLES_AT_A_TIME 2
#define TABLES_PATIENCE_MS 200

static void
ask_tables(struct openflow_server *server)
{
    long long now = uv_now(server->loop);
    struct switch_connection *c;
    int n = 0;

    LIST_FOR_EACH (c, node, &server->connections) {
        n += switch_session_waits_for_tables(&c->session)
             && now - c->tables_at < TABLES_PATIENCE_MS;
    }
    LIST_FOR_EACH (c, node, &server->connections) {
        if (n < TABLES_AT_A_TIME && c->session.tables_due) {
            switch_session_ask_tables(&c->session);
            c->tables_at = now;
            n += switch_session_waits_for_tables(&c->session);
        }
    }
}

void
openflow_server_flush(struct openflow_server *server)
{
    struct switch_connection *c;

    ask_tables(server);
    LIST_FOR_EACH (c, node, &server->connections) {
        switch_connection_flush(c);
    }
}

void
openflow_server_reap(struct openflow_server *server)
{
    struct switch_connection *c;

    LIST_FOR_EACH_SAFE (c, node, &server->connections) {
        if (c->session.state == SWITCH_SESSION_CLOSED) {
            switch_connection_flush(c); /* It may end with an error message. */
            switch_connection_close(c);
        }
    }
}

void
openflow_server_stop(struct openflow_server *server)
{
    struct openflow_listener *listener;
    struct switch_connection *c;

    if (!server || server->stopping) {
        return;
    }
    server->stopping = true;
    LIST_FOR_EACH_SAFE (listener, node, &server->listeners) {
        close_listener(listener);
    }
    LIST_FOR_EACH_SAFE (c, node, &server->connections) {
        switch_session_close(&c->session, "the controller stops");
        switch_connection_close(c);
    }
    openflow_server_unref(server);
}

const struct openflow_server_stats *
openflow_server_stats(const struct openflow_server *server)
{
    return &server->stats;
}
