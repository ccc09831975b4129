/* SPDX-License-Identifier: Apache-2.0 */
/* The client side of control.h: one command, no loop. */
#include "proto/daemon/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "openvswitch/util.h"
#include "proto/frame.h"
#include "salient.pb-c.h"
#include "timeval.h"
#include "util.h"

#define STATUS_UNREACHABLE 3
#define REQUEST_ID 1

struct client {
    const char *path;
    int fd;
    long long int deadline; /* time_msec() at which patience ends. */
    struct frame_decoder decoder;
    int status;
    bool done;
};

/* Who is expected behind a socket of this name. */
static const struct {
    const char *part; /* Of the file's name. */
    const char *who, *program;
} daemons[] = {
    {"controller", "the controller", "salient-controller"},
    {"sald", "the agent", "sald"},
    {"agent", "the agent", "sald"},
    {"", "the daemon", "it"},
};

static int
unreachable(const struct client *client, const char *why)
{
    const char *slash = strrchr(client->path, '/');
    const char *name = slash ? slash + 1 : client->path;
    size_t i = 0;

    while (!strstr(name, daemons[i].part)) {
        i++;
    }
    fflush(stdout);
    fprintf(stderr, "cannot reach %s at %s: %s; is %s running?\n",
            daemons[i].who, client->path, why, daemons[i].program);
    return STATUS_UNREACHABLE;
}

/* Waits for 'events'.  0 or negative errno, -ETIMEDOUT in the end. */
static int
wait_for(const struct client *client, short int events)
{
    for (;;) {
        long long int left = client->deadline - time_msec();
        struct pollfd pfd = {.fd = client->fd, .events = events};
        int n = left > 0 ? poll(&pfd, 1, MIN(left, INT_MAX)) : 0;
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
connect_unix(struct client *client)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};

    if (strlen(client->path) >= sizeof sun.sun_path) {
        return -ENAMETOOLONG;
    }
    ovs_strlcpy(sun.sun_path, client->path, sizeof sun.sun_path);
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                        0);
    if (client->fd < 0) {
        return -errno;
    }
    /* A Unix socket connects at once or says EAGAIN: its queue is full. */
    return connect(client->fd, (struct sockaddr *) &sun, sizeof sun)
           ? -errno : 0;
}

static int
send_all(const struct client *client, const uint8_t *data, size_t n)
{
    while (n) {
        ssize_t sent = send(client->fd, data, n, MSG_NOSIGNAL);
        if (sent >= 0) {
            data += sent;
            n -= sent;
        } else if (errno == EAGAIN) {
            int error = wait_for(client, POLLOUT);
            if (error) {
                return error;
            }
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static int
send_command(const struct client *client, int argc, const char *const argv[],
             bool json)
{
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;
    Salient__V1__Command command = SALIENT__V1__COMMAND__INIT;

    command.n_argv = argc;
    command.argv = (char **) argv; /* Packing changes nothing. */
    command.json = json;
    envelope.request_id = REQUEST_ID;
    envelope.body_case = SALIENT__V1__ENVELOPE__BODY_COMMAND;
    envelope.command = &command;

    size_t len = salient__v1__envelope__get_packed_size(&envelope);
    if (len > FRAME_BODY_MAX) {
        return -E2BIG;
    }
    uint8_t *frame = xmalloc(FRAME_HEADER_LEN + len);
    frame_header_put(frame, len);
    salient__v1__envelope__pack(&envelope, frame + FRAME_HEADER_LEN);
    int error = send_all(client, frame, FRAME_HEADER_LEN + len);
    free(frame);
    return error;
}

static void
print_line(FILE *stream, const char *text)
{
    size_t n = strlen(text);
    if (n) {
        fflush(stdout);
        fprintf(stream, "%s%s", text, text[n - 1] == '\n' ? "" : "\n");
    }
}

static int
handle_reply(struct client *client, const uint8_t *body, size_t len)
{
    Salient__V1__Envelope *envelope =
        salient__v1__envelope__unpack(NULL, len, body);

    if (!envelope) {
        return -EBADMSG;
    }
    if (envelope->request_id != REQUEST_ID) {
        /* Not ours to understand. */
    } else if (envelope->body_case
               == SALIENT__V1__ENVELOPE__BODY_COMMAND_REPLY) {
        const Salient__V1__CommandReply *reply = envelope->command_reply;
        if (reply->more) {
            fputs(reply->output, stdout);
            fflush(stdout);
        } else {
            print_line(stdout, reply->output);
            print_line(stderr, reply->error);
            client->status = reply->status;
            client->done = true;
        }
    } else if (envelope->body_case == SALIENT__V1__ENVELOPE__BODY_ERROR) {
        print_line(stderr, envelope->error->message);
        client->status = 1;
        client->done = true;
    }
    salient__v1__envelope__free_unpacked(envelope, NULL);
    return 0;
}

static int
receive_reply(struct client *client)
{
    while (!client->done) {
        uint8_t bytes[64 * 1024];
        const uint8_t *body;
        size_t len;

        int rc = frame_decoder_next(&client->decoder, &body, &len);
        if (rc > 0) {
            rc = handle_reply(client, body, len);
        } else if (!rc) {
            rc = wait_for(client, POLLIN);
            ssize_t n = rc ? 0 : read(client->fd, bytes, sizeof bytes);
            if (!rc && n > 0) {
                frame_decoder_push(&client->decoder, bytes, n);
            } else if (!rc && !n) {
                rc = -ECONNRESET;
            } else if (!rc && errno != EAGAIN && errno != EINTR) {
                rc = -errno;
            }
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int
control_call_blocking(const char *path, int argc, const char *const argv[],
                      bool json, unsigned int timeout_ms)
{
    struct client client = {.path = path, .fd = -1};
    char *why = NULL;

    client.deadline = time_msec() + timeout_ms;
    frame_decoder_init(&client.decoder);
    int error = connect_unix(&client);
    if (!error) {
        error = send_command(&client, argc, argv, json);
    }
    if (!error) {
        error = receive_reply(&client);
    }
    if (error == -ETIMEDOUT) {
        why = xasprintf("no answer within %u ms", timeout_ms);
    } else if (error) {
        why = xstrdup(ovs_strerror(-error));
    }
    int status = why ? unreachable(&client, why) : client.status;
    free(why);
    frame_decoder_destroy(&client.decoder);
    if (client.fd >= 0) {
        close(client.fd);
    }
    return status;
}
