/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes from those who ask a daemon: to its control socket, and to its page
 * for Prometheus.  Each connection ends, and its memory goes.
 *
 * The first octet modulo 3: 0 the control socket, 1 the same with the bytes
 * framed as one Envelope, 2 the page. */
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "openvswitch/vlog.h"
#include "proto/daemon/control.h"
#include "proto/daemon/metrics_server.h"
#include "proto/frame.h"
#include "salient.pb-c.h"

#define TURNS 20 /* Of the loop, while the client waits for an answer. */

static char folder[] = "/tmp/salient-fuzz-XXXXXX";
static char path[sizeof folder + 10];

static void
remove_folder(void)
{
    rmdir(folder);
}

static void
cmd_words(struct control_call *call, int argc, const char *const argv[],
          void *aux)
{
    struct ds ds = DS_EMPTY_INITIALIZER;
    for (int i = 0; i < argc; i++) {
        ds_put_format(&ds, "%s\n", argv[i]);
        control_reply_part(call, argv[i]);
    }
    control_reply(call, ds_cstr(&ds));
    ds_destroy(&ds);
}

static void
cmd_refuse(struct control_call *call, int argc, const char *const argv[],
           void *aux)
{
    if (control_wants_json(call)) {
        control_fail(call, argv[0]);
    } else {
        control_usage(call, argv[argc - 1]);
    }
}

static const struct control_command commands[] = {
    {"show", "[WHAT]...", "show something", 0, -1, cmd_words},
    {"show hosts", "", "show the hosts", 0, 0, cmd_words},
    {"refuse", "X [Y]", "refuse something", 1, 2, cmd_refuse},
    {NULL, NULL, NULL, 0, 0, NULL},
};

static void
page(struct ds *out, void *aux)
{
    ds_put_cstr(out, "x 1\n");
}

static int
open_client(int family, const void *to, socklen_t len)
{
    /* Does not leave a port waiting. */
    const struct linger linger = {1, 0};
    int fd = socket(family, SOCK_STREAM, 0);

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    FUZZ_CHECK(!connect(fd, to, len));
    return fd;
}

/* Sends everything, then hears what comes; returns how much. */
static size_t
converse(uv_loop_t *loop, int fd, const uint8_t *data, size_t size,
         uint8_t *answer, size_t room)
{
    size_t sent = 0, got = 0;

    for (int turn = 0; turn < TURNS; turn++) {
        if (sent < size) {
            size_t piece = (size + 1) / 2;
            ssize_t n = send(fd, data + sent,
                             piece < size - sent ? piece : size - sent,
                             MSG_DONTWAIT | MSG_NOSIGNAL);
            sent = n < 0 && errno != EAGAIN ? size : sent + (n > 0 ? n : 0);
        } else {
            shutdown(fd, SHUT_WR);
        }
        uv_run(loop, UV_RUN_NOWAIT);
        ssize_t n = recv(fd, answer + got, room - got, MSG_DONTWAIT);
        if (!n || (n < 0 && errno != EAGAIN)) {
            break;
        }
        got += n > 0 ? n : 0;
    }
    return got;
}

/* Whole frames, each a CommandReply. */
static void
check_replies(const uint8_t *data, size_t size)
{
    struct frame_decoder decoder;
    const uint8_t *body;
    size_t len;

    frame_decoder_init(&decoder);
    frame_decoder_push(&decoder, data, size);
    while (frame_decoder_next(&decoder, &body, &len) > 0) {
        Salient__V1__Envelope *envelope
            = salient__v1__envelope__unpack(NULL, len, body);
        FUZZ_CHECK(envelope);
        FUZZ_CHECK(envelope->body_case
                       == SALIENT__V1__ENVELOPE__BODY_COMMAND_REPLY
                   || envelope->body_case
                          == SALIENT__V1__ENVELOPE__BODY_ERROR);
        salient__v1__envelope__free_unpacked(envelope, NULL);
    }
    frame_decoder_destroy(&decoder);
}

static void
try_control(uv_loop_t *loop, const uint8_t *data, size_t size)
{
    static uint8_t answer[1 << 20];
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct control_server *server;
    char *error = NULL;

    FUZZ_CHECK(!control_server_start(loop, path, commands, NULL, &server,
                                     &error));
    strcpy(to.sun_path, path);
    int fd = open_client(AF_UNIX, &to, sizeof to);
    check_replies(answer, converse(loop, fd, data, size, answer,
                                   sizeof answer));
    close(fd);
    control_server_stop(server);
}

static void
try_page(uv_loop_t *loop, const uint8_t *data, size_t size)
{
    uint8_t answer[4096];
    struct metrics_server *server;
    char *error = NULL;

    FUZZ_CHECK(!metrics_server_start(loop, INADDR_LOOPBACK, 0, page, NULL,
                                     &server, &error));
    const struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons(metrics_server_port(server)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = open_client(AF_INET, &to, sizeof to);
    size_t n = converse(loop, fd, data, size, answer, sizeof answer);
    FUZZ_CHECK(!n || (n > 9 && !memcmp(answer, "HTTP/1.1 ", 9)));
    close(fd);
    metrics_server_stop(server);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uv_loop_t loop;

    if (!path[0]) {
        vlog_set_levels(NULL, VLF_ANY_DESTINATION, VLL_OFF);
        FUZZ_CHECK(mkdtemp(folder));
        snprintf(path, sizeof path, "%s/control", folder);
        atexit(remove_folder);
    }
    if (!size) {
        return 0;
    }
    uv_loop_init(&loop);
    if (data[0] % 3 == 2) {
        try_page(&loop, data + 1, size - 1);
    } else if (data[0] % 3 == 1 && size > 1) {
        uint8_t *framed = malloc(FRAME_HEADER_LEN + size - 1);
        frame_header_put(framed, size - 1);
        memcpy(framed + FRAME_HEADER_LEN, data + 1, size - 1);
        try_control(&loop, framed, FRAME_HEADER_LEN + size - 1);
        free(framed);
    } else {
        try_control(&loop, data + 1, size - 1);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    FUZZ_CHECK(!uv_loop_close(&loop));
    return 0;
}
