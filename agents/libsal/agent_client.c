/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/libsal/agent_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "agents/libsal/libsal.h"
#include "proto/frame.h"
#include "salient.pb-c.h"

#define DEFAULT_SOCKET "/run/salient/sald.sock"
#define REQUEST_ID 1
#define MAX_OUTPUT (16 * 1024 * 1024)

static _Thread_local char last_error[512];

const char *
sal_error(void)
{
    return last_error;
}

struct client {
    int fd;
    int64_t deadline_ms;
    char *output; /* So far. */
    size_t len;
};

static int64_t
now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static int
wait_for(const struct client *client, short int events)
{
    for (;;) {
        int64_t left = client->deadline_ms - now_ms();
        struct pollfd pfd = {.fd = client->fd, .events = events};
        int n = left > 0 ? poll(&pfd, 1, left) : 0;
        if (n > 0) {
            return 0;
        }
        if (!n) {
            return -ETIMEDOUT;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

static int
connect_agent(struct client *client)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    const char *path = getenv("SALIENT_SOCKET");

    path = path && path[0] ? path : DEFAULT_SOCKET;
    if (strlen(path) >= sizeof sun.sun_path) {
        return -ENAMETOOLONG;
    }
    strcpy(sun.sun_path, path);
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                        0);
    if (client->fd < 0) {
        return -errno;
    }
    return (connect(client->fd, (struct sockaddr *) &sun, sizeof sun) ? -errno
                                                                      : 0);
}

/* All or nothing of 'n' octets, in either direction. */
static int
transfer(const struct client *client, uint8_t *p, size_t n, bool out)
{
    while (n) {
        ssize_t done = (out ? send(client->fd, p, n, MSG_NOSIGNAL)
                            : recv(client->fd, p, n, 0));
        if (done > 0) {
            p += done;
            n -= done;
        } else if (!done) {
            return -ECONNRESET;
        } else if (errno == EAGAIN) {
            int error = wait_for(client, out ? POLLOUT : POLLIN);
            if (error) {
                return error;
            }
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static void
put_header(uint8_t header[FRAME_HEADER_LEN], uint32_t len)
{
    const uint8_t bytes[FRAME_HEADER_LEN] = {
        'S', 'L', FRAME_VERSION, 0, len >> 24, len >> 16, len >> 8, len};
    memcpy(header, bytes, sizeof bytes);
}

static int
send_command(const struct client *client, const char *const argv[], bool json)
{
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;
    Salient__V1__Command command = SALIENT__V1__COMMAND__INIT;

    while (argv[command.n_argv]) {
        command.n_argv++;
    }
    command.argv = (char **) argv; /* Packing changes nothing. */
    command.json = json;
    envelope.request_id = REQUEST_ID;
    envelope.body_case = SALIENT__V1__ENVELOPE__BODY_COMMAND;
    envelope.command = &command;

    size_t len = salient__v1__envelope__get_packed_size(&envelope);
    uint8_t *frame = malloc(FRAME_HEADER_LEN + len);
    if (!frame) {
        return -ENOMEM;
    }
    put_header(frame, len);
    salient__v1__envelope__pack(&envelope, frame + FRAME_HEADER_LEN);
    int error = transfer(client, frame, FRAME_HEADER_LEN + len, true);
    free(frame);
    return error;
}

static int
receive_envelope(const struct client *client,
                 Salient__V1__Envelope **ret_envelope)
{
    uint8_t header[FRAME_HEADER_LEN], expected[FRAME_HEADER_LEN];
    int error = transfer(client, header, sizeof header, false);

    if (error) {
        return error;
    }
    uint32_t len = (uint32_t) header[4] << 24 | header[5] << 16
                   | header[6] << 8 | header[7];
    put_header(expected, len);
    if (memcmp(header, expected, sizeof header) || !len
        || len > FRAME_BODY_MAX) {
        return -EPROTO;
    }
    uint8_t *body = malloc(len);
    if (!body) {
        return -ENOMEM;
    }
    error = transfer(client, body, len, false);
    if (!error) {
        *ret_envelope = salient__v1__envelope__unpack(NULL, len, body);
        error = *ret_envelope ? 0 : -EPROTO;
    }
    free(body);
    return error;
}

static int
add_output(struct client *client, const char *text)
{
    size_t n = strlen(text);
    char *output = (client->len + n <= MAX_OUTPUT
                        ? realloc(client->output, client->len + n + 1)
                        : NULL);
    if (!output) {
        return -ENOMEM;
    }
    memcpy(output + client->len, text, n + 1);
    client->output = output;
    client->len += n;
    return 0;
}

static int
refused(const char *why)
{
    snprintf(last_error, sizeof last_error, "%s", why);
    return -EREMOTEIO;
}

/* 1: there is more to come. */
static int
take_reply(struct client *client, const Salient__V1__Envelope *envelope)
{
    if (envelope->request_id != REQUEST_ID) {
        return 1;
    }
    if (envelope->body_case == SALIENT__V1__ENVELOPE__BODY_ERROR) {
        return refused(envelope->error->message);
    }
    if (envelope->body_case != SALIENT__V1__ENVELOPE__BODY_COMMAND_REPLY) {
        return -EPROTO;
    }
    const Salient__V1__CommandReply *reply = envelope->command_reply;
    int error = add_output(client, reply->output);
    if (error) {
        return error;
    }
    return (reply->more     ? 1
            : reply->status ? refused(reply->error)
                            : 0);
}

int
agent_client_call(const char *const argv[], unsigned int timeout_ms,
                  char **ret_output)
{
    struct client client = {.fd = -1, .deadline_ms = now_ms() + timeout_ms};
    int error;

    last_error[0] = '\0';
    if ((error = connect_agent(&client))
        || (error = send_command(&client, argv, false))) {
        goto out;
    }
    do {
        Salient__V1__Envelope *envelope;
        error = receive_envelope(&client, &envelope);
        if (!error) {
            error = take_reply(&client, envelope);
            salient__v1__envelope__free_unpacked(envelope, NULL);
        }
    } while (error > 0);

out:
    if (client.fd >= 0) {
        close(client.fd);
    }
    if (error) {
        free(client.output);
    } else {
        *ret_output = client.output;
    }
    return error;
}

/* Streams. */

struct agent_stream {
    struct client client; /* Its output: lines not fetched yet. */
};

int
agent_stream_open(const char *const argv[], unsigned int timeout_ms,
                  struct agent_stream **ret_stream)
{
    struct agent_stream *stream = calloc(1, sizeof *stream);
    int error;

    last_error[0] = '\0';
    if (!stream) {
        return -ENOMEM;
    }
    stream->client.fd = -1;
    stream->client.deadline_ms = now_ms() + timeout_ms;
    if ((error = connect_agent(&stream->client))
        || (error = send_command(&stream->client, argv, true))) {
        agent_stream_close(stream);
        return error;
    }
    /* The first part, which is empty, says that it is under way. */
    Salient__V1__Envelope *envelope;
    error = receive_envelope(&stream->client, &envelope);
    if (!error) {
        error = take_reply(&stream->client, envelope);
        salient__v1__envelope__free_unpacked(envelope, NULL);
    }
    if (error <= 0) {
        agent_stream_close(stream);
        return error ? error : -ECONNRESET;
    }
    *ret_stream = stream;
    return 0;
}

void
agent_stream_close(struct agent_stream *stream)
{
    if (stream) {
        if (stream->client.fd >= 0) {
            close(stream->client.fd);
        }
        free(stream->client.output);
        free(stream);
    }
}

int
agent_stream_fd(const struct agent_stream *stream)
{
    return stream->client.fd;
}

/* NULL if there is no whole line. */
static char *
take_line(struct client *client)
{
    char *end = client->len ? memchr(client->output, '\n', client->len) : NULL;
    if (!end) {
        return NULL;
    }
    size_t n = end - client->output;
    char *line = strndup(client->output, n);
    client->len -= n + 1;
    memmove(client->output, end + 1, client->len + 1);
    return line;
}

int
agent_stream_next(struct agent_stream *stream, unsigned int timeout_ms,
                  char **ret_line)
{
    struct client *client = &stream->client;

    client->deadline_ms = now_ms() + timeout_ms;
    for (;;) {
        Salient__V1__Envelope *envelope;
        char *line = take_line(client);
        if (line) {
            *ret_line = line;
            return 1;
        }
        struct pollfd pfd = {.fd = client->fd, .events = POLLIN};
        int64_t left = client->deadline_ms - now_ms();
        if (poll(&pfd, 1, left > 0 ? left : 0) <= 0) {
            return 0;
        }
        /* What has begun to arrive arrives wholly, or the agent is gone. */
        client->deadline_ms = now_ms() + SAL_TIMEOUT_MS;
        int error = receive_envelope(client, &envelope);
        if (!error) {
            error = take_reply(client, envelope);
            salient__v1__envelope__free_unpacked(envelope, NULL);
        }
        if (error <= 0) {
            return error ? error : -ECONNRESET;
        }
    }
}
