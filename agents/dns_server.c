/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/dns_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agents/dns_forward.h"
#include "openvswitch/list.h"
#include "openvswitch/util.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(dns);

#define MAX_CONNECTIONS 64
#define CONNECTION_IDLE_MS 10000
#define TCP_BACKLOG 16
#define PORT_TRIES 64
/* Octets of replies that may wait for a client. */
#define MAX_UNREAD (4 * DNS_MESSAGE_MAX)

struct dns_server {
    uv_loop_t *loop;
    const struct agent_dns_config *config;
    const struct dns_zone *zone;
    uv_udp_t udp;
    uv_tcp_t tcp;
    uint16_t port;
    struct dns_forwarder *forwarder;
    struct ovs_list connections;
    size_t n_connections;
    struct dns_counters counters;
    size_t handles; /* Open. */
    uint8_t buf[DNS_MESSAGE_MAX];
};

static void
server_handle_closed(uv_handle_t *handle)
{
    struct dns_server *server = handle->data;

    if (!--server->handles) {
        free(server);
    }
}

static void
count_reply(struct dns_server *server, const uint8_t *reply)
{
    struct dns_counters *counters = &server->counters;

    switch (reply[3] & 0x0f) {
    case LDNS_RCODE_NOERROR:
        counters->noerror++;
        break;
    case LDNS_RCODE_NXDOMAIN:
        counters->nxdomain++;
        break;
    case LDNS_RCODE_REFUSED:
        counters->refused++;
        break;
    case LDNS_RCODE_SERVFAIL:
        counters->servfail++;
        break;
    default:
        counters->other++;
        break;
    }
}

static enum dns_verdict
answer(struct dns_server *server, const uint8_t *query, size_t len,
       size_t max_len, uint8_t **ret_reply, size_t *ret_len)
{
    enum dns_verdict verdict = dns_answer(server->zone, query, len, max_len,
                                          ret_reply, ret_len);
    switch (verdict) {
    case DNS_REPLY:
        server->counters.queries++;
        count_reply(server, *ret_reply);
        break;
    case DNS_FORWARD:
        server->counters.queries++;
        server->counters.forwarded++;
        break;
    case DNS_IGNORE:
        server->counters.ignored++;
        break;
    }
    return verdict;
}

/* UDP. */

struct udp_client {
    struct dns_server *server;
    struct sockaddr_in address;
    uint8_t header[DNS_HEADER_LEN]; /* Of the query. */
};

/* A full socket buffer loses the reply; the client asks again. */
static void
udp_reply(struct dns_server *server, const struct sockaddr_in *to,
          uint8_t *reply, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *) reply, len);
    uv_udp_try_send(&server->udp, &buf, 1, (const struct sockaddr *) to);
}

static void
udp_forwarded(uint8_t *reply, size_t len, void *client_)
{
    struct udp_client *client = client_;
    struct dns_server *server = client->server;

    if (reply) {
        server->counters.forward_answered++;
        udp_reply(server, &client->address, reply, len);
    } else {
        server->counters.forward_failed++;
        reply = dns_error_reply(client->header, sizeof client->header,
                                LDNS_RCODE_SERVFAIL, &len);
        udp_reply(server, &client->address, reply, len);
        free(reply);
    }
    free(client);
}

static void
udp_forward(struct dns_server *server, const struct sockaddr_in *from,
            const uint8_t *query, size_t len)
{
    struct udp_client *client = xmalloc(sizeof *client);

    client->server = server;
    client->address = *from;
    memcpy(client->header, query, sizeof client->header);
    if (!dns_forward_start(server->forwarder, query, len, false,
                           udp_forwarded, client)) {
        udp_forwarded(NULL, 0, client);
    }
}

static void
udp_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct dns_server *server = handle->data;
    *buf = uv_buf_init((char *) server->buf, sizeof server->buf);
}

static void
udp_received(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf,
             const struct sockaddr *from, unsigned int flags)
{
    struct dns_server *server = udp->data;
    const struct sockaddr_in *client = (const struct sockaddr_in *) from;
    uint8_t *reply;
    size_t len;

    if (n <= 0 || !from || (flags & UV_UDP_PARTIAL)) {
        return;
    }
    switch (answer(server, server->buf, n, 0, &reply, &len)) {
    case DNS_REPLY:
        udp_reply(server, client, reply, len);
        free(reply);
        break;
    case DNS_FORWARD:
        udp_forward(server, client, server->buf, n);
        break;
    case DNS_IGNORE:
        break;
    }
}

/* TCP.  Queries of a connection are answered one after the other. */

struct connection {
    struct dns_server *server;
    struct ovs_list node;
    uv_tcp_t tcp;
    uv_timer_t idle;
    unsigned int handles; /* Open; 0 or 2. */
    bool closing;
    struct dns_forward *forward; /* The query under way elsewhere. */
    uint8_t header[DNS_HEADER_LEN];
    size_t len; /* In 'buf': messages behind their lengths. */
    uint8_t buf[2 + DNS_MESSAGE_MAX];
};

struct tcp_write {
    uv_write_t request;
    uint8_t bytes[]; /* Length and message. */
};

static void connection_run(struct connection *);

static void
connection_handle_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    struct dns_server *server = connection->server;

    if (!--connection->handles) {
        free(connection);
        if (!--server->handles) {
            free(server);
        }
    }
}

static void
connection_close(struct connection *connection)
{
    if (!connection->closing) {
        connection->closing = true;
        dns_forward_cancel(connection->forward);
        ovs_list_remove(&connection->node);
        connection->server->n_connections--;
        uv_close((uv_handle_t *) &connection->tcp, connection_handle_closed);
        uv_close((uv_handle_t *) &connection->idle, connection_handle_closed);
    }
}

static void
connection_idle(uv_timer_t *timer)
{
    connection_close(timer->data);
}

static void
tcp_written(uv_write_t *request, int status)
{
    struct connection *connection = request->handle->data;

    if (status < 0) {
        connection_close(connection);
    }
    free(CONTAINER_OF(request, struct tcp_write, request));
}

static void
tcp_reply(struct connection *connection, const uint8_t *reply, size_t len)
{
    struct tcp_write *write = xmalloc(sizeof *write + 2 + len);
    uv_buf_t buf = uv_buf_init((char *) write->bytes, 2 + len);

    write->bytes[0] = len >> 8;
    write->bytes[1] = len;
    memcpy(write->bytes + 2, reply, len);
    if (uv_write(&write->request, (uv_stream_t *) &connection->tcp, &buf, 1,
                 tcp_written)) {
        free(write);
        connection_close(connection);
    } else if (uv_stream_get_write_queue_size((uv_stream_t *) &connection->tcp)
               > MAX_UNREAD) {
        connection_close(connection); /* It asks and does not read. */
    }
}

static void
tcp_forwarded(uint8_t *reply, size_t len, void *connection_)
{
    struct connection *connection = connection_;
    struct dns_server *server = connection->server;

    connection->forward = NULL;
    if (reply) {
        server->counters.forward_answered++;
        tcp_reply(connection, reply, len);
    } else {
        server->counters.forward_failed++;
        reply = dns_error_reply(connection->header, DNS_HEADER_LEN,
                                LDNS_RCODE_SERVFAIL, &len);
        tcp_reply(connection, reply, len);
        free(reply);
    }
    connection_run(connection);
}

static void
tcp_query(struct connection *connection, const uint8_t *query, size_t len)
{
    struct dns_server *server = connection->server;
    uint8_t *reply;
    size_t reply_len;

    switch (answer(server, query, len, DNS_MESSAGE_MAX, &reply, &reply_len)) {
    case DNS_REPLY:
        tcp_reply(connection, reply, reply_len);
        free(reply);
        break;
    case DNS_FORWARD:
        memcpy(connection->header, query, DNS_HEADER_LEN);
        connection->forward
            = dns_forward_start(server->forwarder, query, len, true,
                                tcp_forwarded, connection);
        if (!connection->forward) {
            server->counters.forward_failed++;
            reply = dns_error_reply(query, len, LDNS_RCODE_SERVFAIL,
                                    &reply_len);
            tcp_reply(connection, reply, reply_len);
            free(reply);
        }
        break;
    case DNS_IGNORE:
        connection_close(connection);
        break;
    }
}

/* Answers what has arrived whole. */
static void
connection_run(struct connection *connection)
{
    while (!connection->closing && !connection->forward
           && connection->len >= 2) {
        size_t len = connection->buf[0] << 8 | connection->buf[1];
        if (connection->len < 2 + len) {
            break;
        }
        tcp_query(connection, connection->buf + 2, len);
        connection->len -= 2 + len;
        memmove(connection->buf, connection->buf + 2 + len, connection->len);
        uv_timer_again(&connection->idle);
    }
}

static void
tcp_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct connection *connection = handle->data;
    *buf = uv_buf_init((char *) connection->buf + connection->len,
                       sizeof connection->buf - connection->len);
}

static void
tcp_received(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *connection = stream->data;

    /* ENOBUFS too: more queries than one buffer while one is forwarded. */
    if (n < 0) {
        connection_close(connection);
        return;
    }
    connection->len += n;
    connection_run(connection);
}

static void
tcp_accept(uv_stream_t *listener, int status)
{
    struct dns_server *server = listener->data;

    if (status < 0) {
        return;
    }
    struct connection *connection = xzalloc(sizeof *connection);
    connection->server = server;
    connection->handles = 2;
    server->handles++;
    server->n_connections++;
    ovs_list_push_back(&server->connections, &connection->node);
    uv_tcp_init(server->loop, &connection->tcp);
    uv_timer_init(server->loop, &connection->idle);
    connection->tcp.data = connection;
    connection->idle.data = connection;
    server->counters.tcp_connections++;
    if (uv_accept(listener, (uv_stream_t *) &connection->tcp)
        || server->n_connections > MAX_CONNECTIONS
        || uv_read_start((uv_stream_t *) &connection->tcp, tcp_alloc,
                         tcp_received)) {
        server->counters.tcp_refused++;
        connection_close(connection);
        return;
    }
    uv_timer_start(&connection->idle, connection_idle, CONNECTION_IDLE_MS,
                   CONNECTION_IDLE_MS);
}

/* Start and stop. */

/* A socket with 'address', of which a TCP one listens; or a negative errno. */
static int
open_socket(int type, const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    if (fd < 0) {
        return -errno;
    }
    if ((type == SOCK_STREAM
         && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on))
        || bind(fd, (const struct sockaddr *) address, sizeof *address)
        || (type == SOCK_STREAM && listen(fd, TCP_BACKLOG))) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

/* The same port for both.  One that UDP was told to choose may be in use by
 * TCP: then it chooses again. */
static int
open_both(const struct agent_dns_config *config, int *ret_udp, int *ret_tcp,
          uint16_t *ret_port)
{
    int error = 0;

    for (int i = 0; i < PORT_TRIES; i++) {
        struct sockaddr_in address = {
            .sin_family = AF_INET,
            .sin_port = htons(config->listen.port),
            .sin_addr.s_addr = htonl(config->listen.address),
        };
        socklen_t len = sizeof address;
        int udp = open_socket(SOCK_DGRAM, &address);
        if (udp < 0) {
            return udp;
        }
        getsockname(udp, (struct sockaddr *) &address, &len);
        int tcp = open_socket(SOCK_STREAM, &address);
        if (tcp >= 0) {
            *ret_udp = udp;
            *ret_tcp = tcp;
            *ret_port = ntohs(address.sin_port);
            return 0;
        }
        close(udp);
        error = tcp;
        if (config->listen.port || error != -EADDRINUSE) {
            break;
        }
    }
    return error;
}

static int
listen_both(struct dns_server *server)
{
    int udp, tcp;
    int error = open_both(server->config, &udp, &tcp, &server->port);

    if (error) {
        return error;
    }
    error = uv_udp_open(&server->udp, udp);
    if (error) {
        close(udp);
        close(tcp);
        return error;
    }
    error = uv_tcp_open(&server->tcp, tcp);
    if (error) {
        close(tcp);
        return error;
    }
    error = uv_listen((uv_stream_t *) &server->tcp, TCP_BACKLOG, tcp_accept);
    return error ? error
                 : uv_udp_recv_start(&server->udp, udp_alloc, udp_received);
}

int
dns_server_start(uv_loop_t *loop, const struct agent_dns_config *config,
                 const struct dns_zone *zone, struct dns_server **ret_server,
                 char **ret_error)
{
    struct dns_server *server = xzalloc(sizeof *server);

    server->loop = loop;
    server->config = config;
    server->zone = zone;
    ovs_list_init(&server->connections);
    uv_udp_init(loop, &server->udp);
    uv_tcp_init(loop, &server->tcp);
    server->udp.data = server;
    server->tcp.data = server;
    server->handles = 2;
    server->forwarder = dns_forwarder_create(loop, config);

    int error = listen_both(server);
    if (error) {
        struct in_addr in = {htonl(config->listen.address)};
        char address[INET_ADDRSTRLEN];
        inet_ntop(AF_INET, &in, address, sizeof address);
        *ret_error = xasprintf(
            "cannot listen for DNS on %s:%u: %s%s", address,
            config->listen.port, uv_strerror(error),
            error == UV_EADDRINUSE
                ? "; another name server has that address, set dns.listen to "
                  "a free one such as 127.0.0.56:53"
            : error == UV_EACCES ? "; run with CAP_NET_BIND_SERVICE"
            : error == UV_EADDRNOTAVAIL
                ? "; is the interface lo up?"
                : "");
        dns_server_stop(server);
        return error;
    }
    *ret_server = server;
    return 0;
}

void
dns_server_stop(struct dns_server *server)
{
    struct connection *connection;

    if (!server) {
        return;
    }
    LIST_FOR_EACH_SAFE (connection, node, &server->connections) {
        connection_close(connection);
    }
    dns_forwarder_destroy(server->forwarder);
    server->forwarder = NULL;
    uv_close((uv_handle_t *) &server->udp, server_handle_closed);
    uv_close((uv_handle_t *) &server->tcp, server_handle_closed);
}

uint16_t
dns_server_port(const struct dns_server *server)
{
    return server->port;
}

const struct dns_counters *
dns_server_counters(const struct dns_server *server)
{
    return &server->counters;
}
