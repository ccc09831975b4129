/* SPDX-License-Identifier: Apache-2.0 */
/* How channels come in. */
#include "proto/channel_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "openvswitch/util.h"
#include "openvswitch/vlog.h"
#include "proto/tls.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(channel_listen);

static struct vlog_rate_limit accept_rl = VLOG_RATE_LIMIT_INIT(10, 20);

#define BACKLOG 1024 /* All come back at once after a restart. */

struct channel_listener {
    union channel_io io;
    struct endpoint endpoint;
    struct tls_context *tls; /* NULL without TLS. */
    channel_accept_cb *accept;
    void *aux;
    dev_t device; /* Of our Unix socket, to remove no other. */
    ino_t inode;
};

static char *
format_peer(const struct channel_listener *listener,
            const struct channel *channel)
{
    const char *kind = listener->tls ? "tls" : "tcp";
    struct sockaddr_storage ss;
    int len = sizeof ss;

    if (listener->endpoint.kind == ENDPOINT_UNIX) {
        return xasprintf("unix:%s", listener->endpoint.path);
    }
    memset(&ss, 0, sizeof ss);
    if (uv_tcp_getpeername(&channel->io.tcp, (struct sockaddr *) &ss, &len)) {
        return xasprintf("%s:gone", kind);
    }
    return channel_format_address(kind, &ss);
}

static void
on_connection(uv_stream_t *stream, int status)
{
    struct channel_listener *listener = stream->data;

    if (status < 0) {
        VLOG_WARN_RL(&accept_rl, "cannot accept: %s", uv_strerror(status));
        return;
    }
    struct channel *channel = channel_create(stream->loop, NULL);
    channel->accepted = true;
    channel_io_init(channel, listener->endpoint.kind != ENDPOINT_UNIX);
    int error = uv_accept(stream, &channel->io.stream);
    channel->peer = error ? xstrdup("gone") : format_peer(listener, channel);
    if (error) {
        VLOG_WARN_RL(&accept_rl, "cannot accept: %s", uv_strerror(error));
        channel_fail(channel, NULL);
        return;
    }

    const struct channel_ops *ops = NULL;
    channel->aux = listener->accept(channel, listener->aux, &ops);
    if (!channel->aux || !ops) {
        channel_fail(channel, NULL);
        return;
    }
    channel->ops = ops;
    if (listener->tls) {
        channel->tls = tls_session_create(listener->tls, NULL);
    }
    channel_start(channel);
}

/* 0 if 'path' is free (a stale socket is removed). */
static int
clear_path(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct stat st;

    if (lstat(path, &st)) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return -EEXIST;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    ovs_strlcpy(sun.sun_path, path, sizeof sun.sun_path);
    int error = connect(fd, (struct sockaddr *) &sun, sizeof sun) ? errno : 0;
    close(fd);
    if (!error || error == EAGAIN) {
        return -EADDRINUSE; /* Somebody listens (and may be busy). */
    }
    if (error != ECONNREFUSED) {
        return -error;
    }
    return unlink(path) && errno != ENOENT ? -errno : 0;
}

/* A socket bound to 'path', mode 0600 from its first moment: Linux takes the
 * mode of the new file from the socket. */
static int
bind_unix(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    ovs_strlcpy(sun.sun_path, path, sizeof sun.sun_path);
    if (fchmod(fd, 0600)
        || bind(fd, (struct sockaddr *) &sun, sizeof sun)) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

/* The functions below leave it to the caller to close what they opened. */
static int
listen_unix(struct channel_listener *listener)
{
    const char *path = listener->endpoint.path;
    struct stat st;

    int error = clear_path(path);
    if (error) {
        return error;
    }
    int fd = bind_unix(path);
    if (fd < 0) {
        return fd;
    }
    if (!stat(path, &st)) {
        listener->device = st.st_dev;
        listener->inode = st.st_ino;
    }
    error = uv_pipe_open(&listener->io.pipe, fd);
    if (error) {
        close(fd);
        return error;
    }
    return uv_listen(&listener->io.stream, BACKLOG, on_connection);
}

static int
listen_tcp(struct channel_listener *listener)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE};
    struct addrinfo *addresses;
    char port[6];

    snprintf(port, sizeof port, "%u", listener->endpoint.port);
    int rc = getaddrinfo(listener->endpoint.host, port, &hints, &addresses);
    if (rc) {
        return rc == EAI_SYSTEM ? -errno : -EADDRNOTAVAIL;
    }
    int error = uv_tcp_bind(&listener->io.tcp, addresses->ai_addr, 0);
    freeaddrinfo(addresses);
    return error ? error
                 : uv_listen(&listener->io.stream, BACKLOG, on_connection);
}

/* Makes the socket and listens. */
static int
start(struct channel_listener *listener, uv_loop_t *loop)
{
    bool is_unix = listener->endpoint.kind == ENDPOINT_UNIX;

    if (is_unix) {
        uv_pipe_init(loop, &listener->io.pipe, 0);
    } else {
        uv_tcp_init(loop, &listener->io.tcp);
    }
    listener->io.handle.data = listener;
    return is_unix ? listen_unix(listener) : listen_tcp(listener);
}

int
channel_listen(uv_loop_t *loop, const char *endpoint,
               const struct channel_tls *tls, channel_accept_cb *accept,
               void *listener_aux, struct channel_listener **ret_listener,
               char **ret_error)
{
    struct tls_context *context = NULL;
    struct endpoint parsed;
    int error;

    const char *wrong = endpoint_parse(endpoint, &parsed);
    if (wrong) {
        *ret_error = xasprintf("\"%s\" %s", endpoint, wrong);
        return -EINVAL;
    }
    if (parsed.kind == ENDPOINT_TLS) {
        error = tls_context_create(tls, &context, ret_error);
        if (error) {
            return error;
        }
    }

    struct channel_listener *listener = xzalloc(sizeof *listener);
    listener->endpoint = parsed;
    listener->tls = context;
    listener->accept = accept;
    listener->aux = listener_aux;
    error = start(listener, loop);
    if (error) {
        *ret_error = xasprintf("cannot listen on %s: %s", endpoint,
                               ovs_strerror(-error));
        channel_listener_close(listener);
        return error;
    }
    *ret_listener = listener;
    return 0;
}

int
channel_listener_set_tls(struct channel_listener *listener,
                         const struct channel_tls *tls, char **ret_error)
{
    struct tls_context *context;

    if (!listener->tls) {
        return 0;
    }
    int error = tls_context_create(tls, &context, ret_error);
    if (!error) {
        tls_context_destroy(listener->tls);
        listener->tls = context;
    }
    return error;
}

int
channel_listener_port(const struct channel_listener *listener)
{
    struct sockaddr_storage ss;
    int len = sizeof ss;

    if (listener->endpoint.kind == ENDPOINT_UNIX
        || uv_tcp_getsockname(&listener->io.tcp, (struct sockaddr *) &ss,
                              &len)) {
        return 0;
    }
    return ntohs(ss.ss_family == AF_INET6
                 ? ((const struct sockaddr_in6 *) &ss)->sin6_port
                 : ((const struct sockaddr_in *) &ss)->sin_port);
}

static void
on_listener_closed(uv_handle_t *handle)
{
    struct channel_listener *listener = handle->data;

    tls_context_destroy(listener->tls);
    free(listener);
}

void
channel_listener_close(struct channel_listener *listener)
{
    struct stat st;

    if (!listener) {
        return;
    }
    if (listener->inode && !lstat(listener->endpoint.path, &st)
        && st.st_dev == listener->device && st.st_ino == listener->inode) {
        unlink(listener->endpoint.path);
    }
    uv_close(&listener->io.handle, on_listener_closed);
}
