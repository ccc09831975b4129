/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/daemon/metrics_server.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include "openvswitch/list.h"
#include "openvswitch/util.h"
#include "util.h"

#define MAX_CONNECTIONS 16
#define MAX_REQUEST 4096 /* Octets of request line and header fields. */
#define PATIENCE_MS 5000 /* For a whole connection. */

struct metrics_server {
    uv_loop_t *loop;
    uv_tcp_t tcp;
    uint16_t port;
    metrics_cb *cb;
    void *aux;
    struct ovs_list connections;
    size_t n_connections;
    size_t refs; /* Open handles: ours, and each connection. */
};

struct connection {
    struct metrics_server *server;
    struct ovs_list node;
    uv_tcp_t tcp;
    uv_timer_t timer;
    unsigned int handles;
    bool closing;
    struct ds reply;
    uv_write_t write;
    size_t len;
    char request[MAX_REQUEST + 1];
};

static void
unref(struct metrics_server *server)
{
    if (!--server->refs) {
        free(server);
    }
}

static void
connection_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;

    if (!--connection->handles) {
        unref(connection->server);
        ds_destroy(&connection->reply);
        free(connection);
    }
}

static void
connection_close(struct connection *connection)
{
    if (!connection->closing) {
        connection->closing = true;
        ovs_list_remove(&connection->node);
        connection->server->n_connections--;
        uv_close((uv_handle_t *) &connection->tcp, connection_closed);
        uv_close((uv_handle_t *) &connection->timer, connection_closed);
    }
}

static void
timed_out(uv_timer_t *timer)
{
    connection_close(timer->data);
}

static void
written(uv_write_t *write, int status)
{
    connection_close(write->handle->data);
}

static bool
is_request_for(const char *request, const char *method, const char *path)
{
    size_t n = strlen(method), m = strlen(path);

    return (!strncmp(request, method, n) && request[n] == ' '
            && !strncmp(request + n + 1, path, m)
            && strchr(" ?\r\n", request[n + 1 + m]));
}

static void
answer(struct connection *connection)
{
    struct metrics_server *server = connection->server;
    struct ds page = DS_EMPTY_INITIALIZER;
    bool head = is_request_for(connection->request, "HEAD", "/metrics");
    const char *status = "200 OK";

    if (head || is_request_for(connection->request, "GET", "/metrics")) {
        server->cb(&page, server->aux);
    } else if (!strncmp(connection->request, "GET ", 4)) {
        status = "404 Not Found";
        ds_put_cstr(&page, "There is only /metrics.\n");
    } else {
        status = "405 Method Not Allowed";
    }
    ds_put_format(&connection->reply,
                  "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4\r\n"
                  "Content-Length: %"PRIuSIZE"\r\nConnection: close\r\n\r\n",
                  status, page.length);
    if (!head) {
        ds_put_cstr(&connection->reply, ds_cstr(&page));
    }
    ds_destroy(&page);

    uv_buf_t buf = uv_buf_init(connection->reply.string,
                               connection->reply.length);
    uv_read_stop((uv_stream_t *) &connection->tcp);
    if (uv_write(&connection->write, (uv_stream_t *) &connection->tcp, &buf, 1,
                 written)) {
        connection_close(connection);
    }
}

static void
alloc_request(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct connection *connection = handle->data;
    *buf = uv_buf_init(connection->request + connection->len,
                       MAX_REQUEST - connection->len);
}

static void
received(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *connection = stream->data;

    if (n < 0) { /* Also UV_ENOBUFS: a header without end. */
        connection_close(connection);
        return;
    }
    connection->len += n;
    connection->request[connection->len] = '\0';
    if (strstr(connection->request, "\r\n\r\n")
        || strstr(connection->request, "\n\n")) {
        answer(connection);
    }
}

static void
accepted(uv_stream_t *listener, int status)
{
    struct metrics_server *server = listener->data;

    if (status < 0) {
        return;
    }
    struct connection *connection = xzalloc(sizeof *connection);
    connection->server = server;
    connection->handles = 2;
    ds_init(&connection->reply);
    server->refs++;
    server->n_connections++;
    ovs_list_push_back(&server->connections, &connection->node);
    uv_tcp_init(server->loop, &connection->tcp);
    uv_timer_init(server->loop, &connection->timer);
    connection->tcp.data = connection;
    connection->timer.data = connection;
    if (uv_accept(listener, (uv_stream_t *) &connection->tcp)
        || server->n_connections > MAX_CONNECTIONS
        || uv_read_start((uv_stream_t *) &connection->tcp, alloc_request,
                         received)) {
        connection_close(connection);
        return;
    }
    uv_timer_start(&connection->timer, timed_out, PATIENCE_MS, 0);
}

static void
listener_closed(uv_handle_t *handle)
{
    unref(handle->data);
}

int
metrics_server_start(uv_loop_t *loop, uint32_t address, uint16_t port,
                     metrics_cb *cb, void *aux,
                     struct metrics_server **ret_server, char **ret_error)
{
    struct metrics_server *server = xzalloc(sizeof *server);
    struct sockaddr_in sin = {.sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(address)};
    int len = sizeof sin;

    server->loop = loop;
    server->cb = cb;
    server->aux = aux;
    server->refs = 1;
    ovs_list_init(&server->connections);
    uv_tcp_init(loop, &server->tcp);
    server->tcp.data = server;
    int error = uv_tcp_bind(&server->tcp, (struct sockaddr *) &sin, 0);
    if (!error) {
        error = uv_listen((uv_stream_t *) &server->tcp, 16, accepted);
    }
    if (!error) {
        error = uv_tcp_getsockname(&server->tcp, (struct sockaddr *) &sin,
                                   &len);
    }
    if (error) {
        *ret_error = xasprintf("metrics: cannot listen on port %u: %s; choose "
                               "another address or port", port,
                               uv_strerror(error));
        metrics_server_stop(server);
        return error;
    }
    server->port = ntohs(sin.sin_port);
    *ret_server = server;
    return 0;
}

void
metrics_server_stop(struct metrics_server *server)
{
    struct connection *connection;

    if (server) {
        LIST_FOR_EACH_SAFE (connection, node, &server->connections) {
            connection_close(connection);
        }
        uv_close((uv_handle_t *) &server->tcp, listener_closed);
    }
}

uint16_t
metrics_server_port(const struct metrics_server *server)
{
    return server->port;
}
