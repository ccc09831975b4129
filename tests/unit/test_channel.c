/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "openvswitch/vlog.h"
#include "proto/channel_private.h"
#include "proto/frame.h"
#include "tests/unit/certificates.h"

/* What one end of a channel has seen. */
struct end {
    struct channel *channel;
    int opened, received, drained, closed;
    char reason[200];      /* "" if it was asked for. */
    uint64_t last_id;
    size_t last_len;       /* Of the message of an Error. */
    bool echo, close_after_reply, refuse;
    int to_send;           /* Messages to send when opened. */
};

static uv_loop_t loop;
static uv_timer_t guard;
static bool expired;
static struct end client, server;
static struct channel_listener *listener;
static char endpoint[100];
static char folder[64], path[100];
static const struct channel_tls *listen_tls, *connect_tls;

static void
send_error(struct channel *channel, uint64_t id, size_t len)
{
    char *text = malloc(len + 1);
    memset(text, 'x', len);
    text[len] = '\0';
    channel_send_error(channel, id, SALIENT__V1__ERROR_CODE__ERROR_INTERNAL,
                       NULL, text);
    free(text);
}

static void
on_open(struct channel *channel, void *aux)
{
    struct end *end = aux;

    end->opened++;
    for (int i = 1; i <= end->to_send; i++) {
        send_error(channel, i, unit_random_below(10000));
    }
}

static void
on_receive(struct channel *channel, const Salient__V1__Envelope *envelope,
           void *aux)
{
    struct end *end = aux;

    CU_ASSERT_PTR_EQUAL(end->channel, channel);
    end->received++;
    end->last_id = envelope->request_id;
    end->last_len = envelope->body_case == SALIENT__V1__ENVELOPE__BODY_ERROR
                    ? strlen(envelope->error->message) : 0;
    if (end->echo) {
        channel_send(channel, envelope);
    }
    if (end->close_after_reply) {
        send_error(channel, 77, 1000000);
        channel_close(channel);
        channel_close(channel);
    }
}

static void
on_drained(struct channel *channel, void *aux)
{
    struct end *end = aux;
    end->drained++;
}

static void
on_closed(struct channel *channel, const char *reason, void *aux)
{
    struct end *end = aux;

    end->closed++;
    end->channel = NULL;
    snprintf(end->reason, sizeof end->reason, "%s", reason ? reason : "");
}

static const struct channel_ops ops = {.open = on_open,
                                       .receive = on_receive,
                                       .drained = on_drained,
                                       .closed = on_closed};

static void *
on_accept(struct channel *channel, void *aux,
          const struct channel_ops **ret_ops)
{
    CU_ASSERT_PTR_EQUAL(aux, &server);
    if (server.refuse) {
        return NULL;
    }
    server.channel = channel;
    *ret_ops = &ops;
    return &server;
}

static void
on_guard(uv_timer_t *timer)
{
    expired = true;
}

/* Runs the loop until '*counter' is at least 'n', at most 20 s. */
static void
run_until(const int *counter, int n)
{
    expired = false;
    uv_timer_start(&guard, on_guard, 20000, 0);
    while (*counter < n && !expired) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&guard);
    CU_ASSERT_FALSE(expired);
}

static void
listen_on(const char *spec)
{
    char *error = NULL;

    CU_ASSERT_EQUAL_FATAL(channel_listen(&loop, spec, listen_tls, on_accept,
                                         &server, &listener, &error), 0);
    int port = channel_listener_port(listener);
    if (port) {
        snprintf(endpoint, sizeof endpoint, "%.3s:127.0.0.1:%d", spec, port);
    } else {
        snprintf(endpoint, sizeof endpoint, "%s", spec);
    }
}

static void
connect_to(const char *spec)
{
    char *error = NULL;

    CU_ASSERT_EQUAL_FATAL(channel_connect(&loop, spec, connect_tls, &ops,
                                          &client, &client.channel, &error),
                          0);
    CU_ASSERT_STRING_EQUAL(channel_peer(client.channel), spec);
}

static void
begin(const char *listen_spec)
{
    memset(&client, 0, sizeof client);
    memset(&server, 0, sizeof server);
    listener = NULL;
    uv_loop_init(&loop);
    uv_timer_init(&loop, &guard);
    channel_set_patience(CHANNEL_PATIENCE_MS);
    strcpy(folder, "/tmp/salient-channel-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
    if (!strcmp(listen_spec, "unix")) {
        char spec[120];
        snprintf(spec, sizeof spec, "unix:%s", path);
        listen_on(spec);
    } else if (listen_spec[0]) {
        listen_on(listen_spec);
    }
}

/* Everything is given back: the loop is empty, the folder too. */
static void
end_test(void)
{
    channel_listener_close(listener);
    uv_close((uv_handle_t *) &guard, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    CU_ASSERT_EQUAL(uv_loop_close(&loop), 0);
    CU_ASSERT_EQUAL(rmdir(folder), 0);
}

static void
check_conversation(const char *spec, const char *connect_spec)
{
    begin(spec);
    server.echo = true;
    client.to_send = 100;
    connect_to(connect_spec ? connect_spec : endpoint);
    run_until(&client.received, 100);
    CU_ASSERT_EQUAL(client.opened, 1);
    CU_ASSERT_EQUAL(server.opened, 1);
    CU_ASSERT_EQUAL(server.received, 100);
    CU_ASSERT_EQUAL(client.last_id, 100);
    CU_ASSERT(client.drained >= 1);
    channel_close(client.channel);
    run_until(&server.closed, 1);
    run_until(&client.closed, 1);
    CU_ASSERT_STRING_EQUAL(client.reason, "");
    CU_ASSERT_STRING_EQUAL(server.reason, "the peer closed the connection");
    end_test();
}

static void
test_conversation(void)
{
    check_conversation("tcp:127.0.0.1:0", NULL);
    check_conversation("unix", NULL);
}

/* "localhost" may be ::1 first, where nobody listens. */
static void
test_names_and_retry(void)
{
    char spec[100];

    begin("tcp:127.0.0.1:0");
    snprintf(spec, sizeof spec, "tcp:localhost:%d",
             channel_listener_port(listener));
    connect_to(spec);
    run_until(&client.opened, 1);
    channel_close(client.channel);
    run_until(&client.closed, 1);
    end_test();

    /* Given up while the name is being resolved. */
    begin("");
    connect_to("tcp:salient.invalid:1");
    channel_close(client.channel);
    CU_ASSERT_EQUAL(client.closed, 0);
    run_until(&client.closed, 1);
    CU_ASSERT_STRING_EQUAL(client.reason, "");
    end_test();
}

static void
test_connect_failures(void)
{
    static const char *const bad[] = {"", "tcp:1.2.3.4", "tcp:1.2.3.4:0",
                                      "udp:1.2.3.4:5", "unix:"};
    begin("tcp:127.0.0.1:0");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *error = NULL;
        CU_ASSERT_EQUAL(channel_connect(&loop, bad[i], NULL, &ops, &client,
                                        &client.channel, &error), -EINVAL);
        CU_ASSERT_PTR_NOT_NULL(error);
        free(error);
    }

    /* Nobody listens any more. */
    channel_listener_close(listener);
    listener = NULL;
    uv_run(&loop, UV_RUN_NOWAIT);
    connect_to(endpoint);
    channel_send_error(client.channel, 1, 0, NULL, "too early, dropped");
    CU_ASSERT_EQUAL(client.closed, 0);
    run_until(&client.closed, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(client.reason, "connection refused"));
    CU_ASSERT_EQUAL(client.opened, 0);

    connect_to("unix:/nonexistent/socket");
    run_until(&client.closed, 2);
    CU_ASSERT_STRING_EQUAL(client.reason, "cannot connect to unix:/nonexistent"
                           "/socket: no such file or directory");
    end_test();
}

static int
listen_rc(const char *spec)
{
    struct channel_listener *other;
    char *error = NULL;
    int rc = channel_listen(&loop, spec, NULL, on_accept, &server, &other,
                            &error);
    if (rc) {
        CU_ASSERT_PTR_NOT_NULL(error);
        free(error);
    } else {
        channel_listener_close(other);
    }
    return rc;
}

static void
test_unix_socket_file(void)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct stat st;

    begin("unix");
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT(S_ISSOCK(st.st_mode));
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
    CU_ASSERT_EQUAL(listen_rc(endpoint), -EADDRINUSE);
    CU_ASSERT_EQUAL(stat(path, &st), 0);

    /* Somebody replaced our socket: it is not ours to remove. */
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(sun.sun_path, path);
    CU_ASSERT_EQUAL(bind(fd, (struct sockaddr *) &sun, sizeof sun), 0);
    channel_listener_close(listener);
    listener = NULL;
    CU_ASSERT_EQUAL(stat(path, &st), 0);

    /* A stale socket is replaced, and removed in the end. */
    close(fd);
    CU_ASSERT_EQUAL(listen_rc(endpoint), 0);
    CU_ASSERT_EQUAL(stat(path, &st), -1);

    /* A file is not a socket. */
    close(open(path, O_CREAT | O_WRONLY, 0600));
    CU_ASSERT_EQUAL(listen_rc(endpoint), -EEXIST);
    unlink(path);
    end_test();
}

static void
test_listen_failures(void)
{
    char spec[100];

    begin("tcp:[::]:0");
    snprintf(spec, sizeof spec, "tcp:[::]:%d",
             channel_listener_port(listener));
    CU_ASSERT_EQUAL(listen_rc(spec), -EADDRINUSE);
    CU_ASSERT_EQUAL(listen_rc("tcp:192.0.2.1:0"), -EADDRNOTAVAIL);
    CU_ASSERT_EQUAL(listen_rc("tcp:salient.invalid:0"), -EADDRNOTAVAIL);
    CU_ASSERT_EQUAL(listen_rc("nonsense"), -EINVAL);
    CU_ASSERT_EQUAL(listen_rc("unix:/nonexistent/socket"), -ENOENT);
    end_test();
}

/* A peer without a channel: a plain socket that says 'bytes'. */
static int
raw_connect(const void *bytes, size_t n)
{
    struct sockaddr_in sin = {.sin_family = AF_INET};
    sin.sin_port = htons(channel_listener_port(listener));
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *) &sin, sizeof sin),
                          0);
    CU_ASSERT_EQUAL(write(fd, bytes, n), n);
    return fd;
}

enum after { STAYS, ENDS, RESETS };

static void
check_bad_peer(const void *bytes, size_t n, enum after after,
               const char *expected)
{
    begin("tcp:127.0.0.1:0");
    if (strstr(expected, "in time")) {
        channel_set_patience(50);
    }
    int fd = raw_connect(bytes, n);
    if (after == ENDS) {
        shutdown(fd, SHUT_WR);
    } else if (after == RESETS) {
        struct linger linger = {.l_onoff = 1};
        run_until(&server.opened, 1);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        close(fd);
    }
    run_until(&server.closed, 1);
    if (strcmp(server.reason, expected)) {
        fprintf(stderr, "got      %s\nexpected %s\n", server.reason, expected);
        CU_FAIL("wrong reason");
    }
    if (after != RESETS) {
        /* The peer notices too. */
        char byte;
        CU_ASSERT(read(fd, &byte, 1) <= 0);
        close(fd);
    }
    end_test();
}

static void
test_bad_peers(void)
{
#define BYTES(S) S, sizeof S - 1
    check_bad_peer(BYTES("GET / HTTP/1.1\r\n"), STAYS,
                   "the peer does not speak the registration API");
    check_bad_peer(BYTES("SL\2"), STAYS,
                   "the peer speaks another version of the framing");
    check_bad_peer(BYTES("SL\1\0\x7f\xff\xff\xff"), STAYS,
                   "a message is longer than 1 MiB");
    check_bad_peer(BYTES("SL\1\0\0\0\0\3\xff\xff\xff"), STAYS,
                   "a message is no Envelope");
    check_bad_peer(BYTES("SL\1\0\0\0\0\3\xff"), ENDS,
                   "the peer closed the connection within a message");
    check_bad_peer(BYTES(""), ENDS, "the peer closed the connection");
    check_bad_peer(BYTES(""), RESETS,
                   "cannot receive: connection reset by peer");
    check_bad_peer(BYTES(""), STAYS,
                   "the first message did not come in time");
    check_bad_peer(BYTES("SL\1\0\0\0\0\3\xff"), STAYS,
                   "the first message did not come in time");
    /* A good message (request_id 1, nothing else), and half of one. */
    check_bad_peer(BYTES("SL\1\0\0\0\0\2\x08\1SL\1\0\0"), STAYS,
                   "the rest of a message did not come in time");
}

/* Silence between messages is nobody's fault here: no clock runs. */
static void
test_silence_is_allowed(void)
{
    static const uint8_t message[] = {'S', 'L', 1, 0, 0, 0, 0, 2, 0x08, 1};
    const uv_handle_t *deadline;

    begin("tcp:127.0.0.1:0");
    int fd = raw_connect(message, 0);
    run_until(&server.opened, 1);
    deadline = (const uv_handle_t *) &server.channel->deadline;
    CU_ASSERT(uv_is_active(deadline));
    CU_ASSERT_EQUAL(write(fd, message, sizeof message), sizeof message);
    run_until(&server.received, 1);
    CU_ASSERT_FALSE(uv_is_active(deadline));

    /* Within a message it runs, and it stops with the message. */
    CU_ASSERT_EQUAL(write(fd, message, 9), 9);
    for (int i = 0; i < 1000 && !uv_is_active(deadline); i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    CU_ASSERT(uv_is_active(deadline));
    CU_ASSERT_EQUAL(write(fd, message + 9, 1), 1);
    run_until(&server.received, 2);
    CU_ASSERT_FALSE(uv_is_active(deadline));

    channel_close(server.channel);
    close(fd);
    run_until(&server.closed, 1);
    end_test();
}

/* Answers to what came before a peer broke the rules still reach it, although
 * all came at once. */
static void
test_answers_before_failure(void)
{
    uint8_t answers[64];
    size_t n = 0;
    ssize_t got;

    begin("tcp:127.0.0.1:0");
    server.echo = true;
    int fd = raw_connect(BYTES("SL\1\0\0\0\0\2\x08\1SL\1\0\0\0\0\2\x08\2"
                               "nonsense"));
    run_until(&server.closed, 1);
    CU_ASSERT_EQUAL(server.received, 2);
    while ((got = read(fd, answers + n, sizeof answers - n)) > 0) {
        n += got;
    }
    CU_ASSERT_EQUAL(n, 20);
    CU_ASSERT(!memcmp(answers, "SL\1\0\0\0\0\2\x08\1SL\1\0\0\0\0\2\x08\2", 20));
    close(fd);
    end_test();
}

/* A server that talks to somebody who does not read. */
static void
test_peer_does_not_read(void)
{
    begin("tcp:127.0.0.1:0");
    int fd = raw_connect(BYTES("SL\1\0\0\0\0\2\x08\1"));
    run_until(&server.received, 1);
    for (int i = 0; i < 100 && !server.closed; i++) {
        if (server.channel) {
            send_error(server.channel, i, 1000000);
        }
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    CU_ASSERT_EQUAL(server.closed, 1);
    CU_ASSERT_STRING_EQUAL(server.reason,
                           "the peer does not read what it is sent");
    close(fd);
    end_test();
}

/* What was sent before channel_close() arrives, although bytes of the peer
 * are unread at that time. */
static void
test_close_flushes(void)
{
    begin("tcp:127.0.0.1:0");
    server.close_after_reply = true;
    client.to_send = 50;
    connect_to(endpoint);
    run_until(&client.closed, 1);
    CU_ASSERT_EQUAL(server.received, 1);
    CU_ASSERT_EQUAL(client.received, 1);
    CU_ASSERT_EQUAL(client.last_id, 77);
    CU_ASSERT_EQUAL(client.last_len, 1000000);
    run_until(&server.closed, 1);
    CU_ASSERT_STRING_EQUAL(server.reason, "");
    end_test();
}

/* A peer that never ends its side holds a close up for a second at most. */
static void
test_close_is_bounded(void)
{
    begin("tcp:127.0.0.1:0");
    int fd = raw_connect("", 0);
    run_until(&server.opened, 1);
    uint64_t start = uv_hrtime();
    channel_close(server.channel);
    run_until(&server.closed, 1);
    CU_ASSERT(uv_hrtime() - start < 5 * 1000000000ULL);
    CU_ASSERT_STRING_EQUAL(server.reason, "");
    close(fd);
    end_test();
}

static void
test_refused(void)
{
    begin("unix");
    server.refuse = true;
    connect_to(endpoint);
    run_until(&client.closed, 1);
    CU_ASSERT_EQUAL(server.opened, 0);
    end_test();
}

static void
test_too_long_to_send(void)
{
    begin("unix");
    connect_to(endpoint);
    run_until(&client.opened, 1);
    send_error(client.channel, 1, FRAME_BODY_MAX);
    run_until(&client.closed, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(client.reason, "cannot be sent"));
    run_until(&server.closed, 1);
    end_test();
}

/* Garbage of all kinds, whole or cut: the server lives and forgets. */
static void
test_random_garbage(void)
{
    begin("tcp:127.0.0.1:0");
    channel_set_patience(100);
    for (int i = 1; i <= 200; i++) {
        uint8_t bytes[64];
        size_t n = unit_random_below(sizeof bytes);
        for (size_t j = 0; j < n; j++) {
            bytes[j] = unit_random();
        }
        if (n >= FRAME_HEADER_LEN && i % 2) {
            frame_header_put(bytes, 1 + unit_random_below(40));
        }
        int fd = raw_connect(bytes, n);
        run_until(&server.opened, i);
        close(fd);
        run_until(&server.closed, i);
    }
    end_test();
}

/* Certificates of a controller and an agent, and of a stranger. */
static struct authority ca, other_ca;
static struct party server_party, client_party, stranger_party;
static struct channel_tls server_tls, client_tls, stranger_tls;
static char certificates[64];

static void
certificates_make(void)
{
    const struct certificate_options server_options = {.san = "IP:127.0.0.1"};
    const struct certificate_options client_options = {.san = NULL};

    strcpy(certificates, "/tmp/salient-channel-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(certificates));
    authority_make(&ca, certificates, "ca");
    authority_make(&other_ca, certificates, "other-ca");
    party_make(&server_party, certificates, "server", &ca, &server_options,
               NULL);
    party_make(&client_party, certificates, "client", &ca, &client_options,
               NULL);
    party_make(&stranger_party, certificates, "stranger", &other_ca,
               &client_options, NULL);
    server_tls = party_tls(&server_party, &ca);
    client_tls = party_tls(&client_party, &ca);
    stranger_tls = party_tls(&stranger_party, &ca);
    listen_tls = &server_tls;
    connect_tls = &client_tls;
}

static void
certificates_remove(void)
{
    authority_destroy(&ca);
    authority_destroy(&other_ca);
    party_remove(&server_party);
    party_remove(&client_party);
    party_remove(&stranger_party);
    CU_ASSERT_EQUAL(rmdir(certificates), 0);
    listen_tls = connect_tls = NULL;
}

static void
test_tls_conversation(void)
{
    certificates_make();
    check_conversation("tls:127.0.0.1:0", NULL);
    certificates_remove();
}

/* What was sent before the close arrives, 1 MB of it. */
static void
test_tls_close_flushes(void)
{
    certificates_make();
    begin("tls:127.0.0.1:0");
    server.close_after_reply = true;
    client.to_send = 50;
    connect_to(endpoint);
    run_until(&client.closed, 1);
    CU_ASSERT_EQUAL(client.last_id, 77);
    CU_ASSERT_EQUAL(client.last_len, 1000000);
    CU_ASSERT_STRING_EQUAL(client.reason, "the peer closed the connection");
    run_until(&server.closed, 1);
    CU_ASSERT_STRING_EQUAL(server.reason, "");
    end_test();
    certificates_remove();
}

static void
test_tls_strangers(void)
{
    char spec[100];

    certificates_make();
    connect_tls = &stranger_tls;
    begin("tls:127.0.0.1:0");
    connect_to(endpoint);
    run_until(&server.closed, 1);
    run_until(&client.closed, 1);
    CU_ASSERT_EQUAL(server.opened, 0);
    CU_ASSERT_EQUAL(server.received, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(server.reason, "certificate is refused"));
    CU_ASSERT_PTR_NOT_NULL(strstr(client.reason, "unknown ca"));

    /* The right certificates, but not the host that was meant. */
    connect_tls = &client_tls;
    end_test();
    begin("tls:0.0.0.0:0");
    snprintf(spec, sizeof spec, "tls:127.0.0.2:%d",
             channel_listener_port(listener));
    connect_to(spec);
    run_until(&client.closed, 1);
    CU_ASSERT_EQUAL(client.opened, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(client.reason, "IP address mismatch"));
    run_until(&server.closed, 1);
    CU_ASSERT_EQUAL(server.opened, 0);
    end_test();

    /* No TLS at all, and nothing at all. */
    connect_tls = NULL;
    for (int silent = 0; silent < 2; silent++) {
        begin("tls:127.0.0.1:0");
        channel_set_patience(silent ? 50 : CHANNEL_PATIENCE_MS);
        int fd = raw_connect("SL\1\0\0\0\0\2\x08\1", silent ? 3 : 10);
        run_until(&server.closed, 1);
        CU_ASSERT_EQUAL(server.opened, 0);
        CU_ASSERT_STRING_EQUAL(server.reason, silent
                               ? "the TLS handshake did not come in time"
                               : "TLS failed: wrong version number");
        close(fd);
        end_test();
    }
    certificates_remove();
}

static void
test_tls_needs_files(void)
{
    begin("");
    CU_ASSERT_EQUAL(listen_rc("tls:127.0.0.1:0"), -EINVAL);
    char *error = NULL;
    CU_ASSERT_EQUAL(channel_connect(&loop, "tls:127.0.0.1:1", NULL, &ops,
                                    &client, &client.channel, &error),
                    -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(error);
    free(error);
    end_test();
}

/* First, and needed by all: tests are quiet about peers that misbehave. */
static void
test_quiet(void)
{
    vlog_set_levels(NULL, VLF_ANY_DESTINATION, VLL_OFF);
}

UNIT_MAIN("channel", UNIT_TEST(test_quiet), UNIT_TEST(test_conversation),
          UNIT_TEST(test_names_and_retry), UNIT_TEST(test_connect_failures),
          UNIT_TEST(test_unix_socket_file), UNIT_TEST(test_listen_failures),
          UNIT_TEST(test_bad_peers), UNIT_TEST(test_silence_is_allowed),
          UNIT_TEST(test_answers_before_failure),
          UNIT_TEST(test_peer_does_not_read), UNIT_TEST(test_close_flushes),
          UNIT_TEST(test_close_is_bounded), UNIT_TEST(test_refused),
          UNIT_TEST(test_too_long_to_send), UNIT_TEST(test_random_garbage),
          UNIT_TEST(test_tls_conversation), UNIT_TEST(test_tls_close_flushes),
          UNIT_TEST(test_tls_strangers), UNIT_TEST(test_tls_needs_files))
