/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "proto/daemon/metrics_server.h"

static uv_loop_t loop;
static struct metrics_server *server;

static void
page(struct ds *out, void *aux)
{
    for (int i = 0; i < 20000; i++) {
        ds_put_format(out, "x{i=\"%d\"} 1\n", i);
    }
}

static void
setup(void)
{
    char *error = NULL;
    uv_loop_init(&loop);
    CU_ASSERT_EQUAL_FATAL(metrics_server_start(&loop, 0x7f000001, 0, page,
                                               NULL, &server, &error), 0);

    struct metrics_server *other = NULL;
    CU_ASSERT_EQUAL(metrics_server_start(&loop, 0x7f000001,
                                         metrics_server_port(server), page,
                                         NULL, &other, &error), -EADDRINUSE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(error);
    free(error);
}

static int
client(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(metrics_server_port(server)),
                             .sin_addr.s_addr = htonl(0x7f000001)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *) &to, sizeof to), 0);
    return fd;
}

/* Sends 'request', reads until the server closes.  Freed by the caller. */
static char *
ask(const char *request, size_t *ret_len)
{
    char *reply = calloc(1, 1 << 20);
    size_t len = 0;
    int fd = client();
    send(fd, request, strlen(request), MSG_NOSIGNAL);
    for (int waited = 0; waited < 8000; waited++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        if (poll(&pfd, 1, 1)) {
            ssize_t n = recv(fd, reply + len, (1 << 20) - 1 - len, 0);
            if (n <= 0) {
                break;
            }
            len += n;
        }
    }
    close(fd);
    *ret_len = len;
    return reply;
}

static void
expect(const char *request, const char *start)
{
    size_t len;
    char *reply = ask(request, &len);
    CU_ASSERT_EQUAL(strncmp(reply, start, strlen(start)), 0);
    free(reply);
}

static void
test_requests(void)
{
    size_t len;
    char *reply = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", &len);
    CU_ASSERT_EQUAL(strncmp(reply, "HTTP/1.1 200 OK\r\n", 17), 0);
    char *body = strstr(reply, "\r\n\r\n");
    CU_ASSERT_PTR_NOT_NULL_FATAL(body);
    CU_ASSERT_PTR_NOT_NULL(strstr(reply, "Content-Length: "));
    CU_ASSERT_EQUAL(strtoul(strstr(reply, "Content-Length: ") + 16, NULL, 10),
                    len - (body + 4 - reply));
    CU_ASSERT_STRING_EQUAL(reply + len - 15, "x{i=\"19999\"} 1\n");
    free(reply);

    reply = ask("HEAD /metrics HTTP/1.1\r\n\r\n", &len);
    CU_ASSERT_EQUAL(strncmp(reply, "HTTP/1.1 200 OK\r\n", 17), 0);
    CU_ASSERT_STRING_EQUAL(reply + len - 4, "\r\n\r\n");
    free(reply);

    expect("GET /metrics?x=1 HTTP/1.0\r\n\r\n", "HTTP/1.1 200 ");
    expect("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 ");
    expect("GET /metricsx HTTP/1.1\r\n\r\n", "HTTP/1.1 404 ");
    expect("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 ");
    expect("\r\n\r\n", "HTTP/1.1 405 ");
}

/* A header without end, and too many who say nothing. */
static void
test_hostile(void)
{
    enum { N = 24 };
    char *long_request = malloc(10001);
    memset(long_request, 'a', 10000);
    long_request[10000] = '\0';
    size_t len;
    char *reply = ask(long_request, &len);
    CU_ASSERT_EQUAL(len, 0);
    free(reply);
    free(long_request);

    int fds[N];
    char byte;
    size_t refused = 0;
    for (size_t i = 0; i < N; i++) {
        fds[i] = client();
        uv_run(&loop, UV_RUN_NOWAIT);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    for (size_t i = 0; i < N; i++) {
        refused += recv(fds[i], &byte, 1, MSG_DONTWAIT) == 0;
    }
    CU_ASSERT_EQUAL(refused, N - 16);
    for (size_t i = 0; i < N; i++) {
        close(fds[i]);
    }
    expect("GET /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200 ");
}

static void
test_stop(void)
{
    int fd = client();
    uv_run(&loop, UV_RUN_NOWAIT);
    metrics_server_stop(server);
    CU_ASSERT_EQUAL(uv_run(&loop, UV_RUN_DEFAULT), 0);
    CU_ASSERT_EQUAL(uv_loop_close(&loop), 0);
    close(fd);
}

UNIT_MAIN("metrics_server", UNIT_TEST(setup), UNIT_TEST(test_requests),
          UNIT_TEST(test_hostile), UNIT_TEST(test_stop))
