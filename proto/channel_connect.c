/* SPDX-License-Identifier: Apache-2.0 */
/* How a channel connects: resolve the name, try its addresses in turn. */
#include "proto/channel_private.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include "openvswitch/util.h"
#include "proto/tls.h"
#include "util.h"

static void connect_next(struct channel *);

static void
fail_connect(struct channel *channel, int status)
{
    channel_fail(channel, xasprintf("cannot connect to %s: %s", channel->peer,
                                    uv_strerror(status)));
}

/* The socket of an address that did not work is gone. */
static void
on_attempt_closed(uv_handle_t *handle)
{
    struct channel *channel = handle->data;

    if (channel->state == CHANNEL_CONNECTING) {
        connect_next(channel);
    }
    channel_unref(channel);
}

static void
attempt_failed(struct channel *channel, int status)
{
    if (channel->next_address) {
        uv_close(&channel->io.handle, on_attempt_closed);
    } else {
        fail_connect(channel, status);
    }
}

static void
on_connect(uv_connect_t *req, int status)
{
    struct channel *channel = req->data;

    if (channel->state != CHANNEL_CONNECTING) {
        return; /* Cancelled by the close that is under way. */
    }
    if (status) {
        attempt_failed(channel, status);
    } else {
        channel_start(channel);
    }
}

static void
connect_next(struct channel *channel)
{
    const struct addrinfo *ai = channel->next_address;

    channel->next_address = ai->ai_next;
    channel_io_init(channel, true);
    int error = uv_tcp_connect(&channel->connect_req, &channel->io.tcp,
                               ai->ai_addr, on_connect);
    if (error) {
        attempt_failed(channel, error);
    }
}

static void
on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *addresses)
{
    struct channel *channel = req->data;

    channel->resolving = false;
    channel->addresses = channel->next_address = addresses;
    if (channel->state == CHANNEL_CONNECTING) {
        if (status) {
            fail_connect(channel, status);
        } else {
            connect_next(channel);
        }
    }
    channel_unref(channel);
}

static void
connect_tcp(struct channel *channel)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST};
    const char *host = channel->endpoint.host;
    char port[6];

    /* An address needs no resolver, and so no thread. */
    snprintf(port, sizeof port, "%u", channel->endpoint.port);
    if (!getaddrinfo(host, port, &hints, &channel->addresses)) {
        channel->next_address = channel->addresses;
        connect_next(channel);
        return;
    }

    hints.ai_flags = AI_ADDRCONFIG;
    channel->resolve_req.data = channel;
    int error = uv_getaddrinfo(channel->loop, &channel->resolve_req,
                               on_resolved, host, port, &hints);
    if (error) {
        fail_connect(channel, error);
        return;
    }
    channel->resolving = true;
    channel->pending++;
}

/* What is wrong with 'text', malloced, or NULL. */
static char *
parse(const char *text, struct endpoint *endpoint)
{
    const char *wrong = endpoint_parse(text, endpoint);

    if (!wrong && endpoint->kind != ENDPOINT_UNIX && !endpoint->port) {
        wrong = "has port 0, which is no port to connect to";
    }
    return wrong ? xasprintf("\"%s\" %s", text, wrong) : NULL;
}

int
channel_connect(uv_loop_t *loop, const char *endpoint,
                const struct channel_tls *tls, const struct channel_ops *ops,
                void *aux, struct channel **ret_channel, char **ret_error)
{
    struct tls_context *context = NULL;
    struct endpoint parsed;

    char *wrong = parse(endpoint, &parsed);
    if (wrong) {
        *ret_error = wrong;
        return -EINVAL;
    }
    if (parsed.kind == ENDPOINT_TLS) {
        int error = tls_context_create(tls, &context, ret_error);
        if (error) {
            return error;
        }
    }

    struct channel *channel = channel_create(loop, xstrdup(endpoint));
    channel->ops = ops;
    channel->aux = aux;
    channel->endpoint = parsed;
    channel->connect_req.data = channel;
    if (context) {
        channel->tls = tls_session_create(context, parsed.host);
        tls_context_destroy(context);
    }
    channel_await(channel, "an answer", channel_patience());
    if (parsed.kind == ENDPOINT_UNIX) {
        channel_io_init(channel, false);
        uv_pipe_connect(&channel->connect_req, &channel->io.pipe, parsed.path,
                        on_connect);
    } else {
        connect_tcp(channel);
    }
    *ret_channel = channel;
    return 0;
}
