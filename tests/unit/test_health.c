/* SPDX-License-Identifier: Apache-2.0 */
/* Health checks: the state machine, and real connections to a server that dies
 * and comes back. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>
#include "agents/health_prober.h"
#include "util.h"

static struct local_service
service(const char *name, enum health_kind kind)
{
    struct local_service s = {
        .name = CONST_CAST(char *, name),
        .protocol = IPPROTO_TCP,
        .service_port = 80,
        .target_port = 8080,
        .target_address = 0x7f000001,
        .weight = 1,
        .health = kind,
        .health_interval_ms = 100,
        .health_threshold = 3,
    };
    service_prefix_from_name(name, &s.prefix);
    return s;
}

static void
test_states(void)
{
    struct local_service web = service("web.acme", HEALTH_TCP);
    struct local_service plain = service("plain.acme", HEALTH_NONE);
    struct local_services set;
    struct health health;

    local_services_init(&set);
    health_init(&health);
    local_services_put(&set, &web);
    local_services_put(&set, &plain);
    health_set(&health, &set, 0);
    CU_ASSERT(health_is_good(&health, &plain));
    CU_ASSERT(!health_is_good(&health, &web)); /* Not known yet. */
    CU_ASSERT_EQUAL(health_deadline(&health), 0);
    CU_ASSERT_PTR_NOT_NULL(health_take_due(&health, 0));
    CU_ASSERT_PTR_NULL(health_take_due(&health, 1000)); /* Under way. */
    CU_ASSERT_EQUAL(health_deadline(&health), INT64_MAX);
    CU_ASSERT(health_result(&health, &web, true, 5));
    CU_ASSERT(health_is_good(&health, &web));

    /* Three failures in a row, not two. */
    static const bool results[] = {false, false, true, false, false, false};
    for (int i = 0; i < 6; i++) {
        CU_ASSERT_EQUAL(health_deadline(&health), 100 * (i + 1));
        CU_ASSERT_PTR_NOT_NULL(health_take_due(&health, 100 * (i + 1)));
        CU_ASSERT_EQUAL(health_result(&health, &web, results[i], 0), i == 5);
    }
    CU_ASSERT(!health_is_good(&health, &web));
    for (int i = 7; i < 10; i++) {
        health_take_due(&health, 100 * i);
        CU_ASSERT_EQUAL(health_result(&health, &web, true, 0), i == 9);
    }

    /* Another target: nothing is known; gone: a late result finds nothing. */
    web.target_port = 8081;
    local_services_put(&set, &web);
    health_take_due(&health, 5000);
    health_set(&health, &set, 5000);
    CU_ASSERT(!health_is_good(&health, &web));
    local_services_remove(&set, &web);
    health_set(&health, &set, 5000);
    CU_ASSERT(!health_result(&health, &web, true, 5001));
    CU_ASSERT(health_is_good(&health, &web));
    health_destroy(&health);
    local_services_destroy(&set);
}

static void
test_http_answers(void)
{
    CU_ASSERT(health_http_is_good("HTTP/1.1 200 OK", 15));
    CU_ASSERT(health_http_is_good("HTTP/1.0 301", 12));
    CU_ASSERT(!health_http_is_good("HTTP/1.0 503", 12));
    CU_ASSERT(!health_http_is_good("HTTP/1.0 20", 11));
    CU_ASSERT(!health_http_is_good("SSH-2.0-OpenSSH", 15));
}

/* A server in the same loop, which says 'status'. */
static struct {
    uv_loop_t loop;
    uv_tcp_t server;
    const char *status;
    int changes;
} world;

static void
client_closed(uv_handle_t *handle)
{
    free(handle);
}

static void
said(uv_write_t *write, int status)
{
    uv_close((uv_handle_t *) write->handle, client_closed);
    free(write);
}

static void
accepted(uv_stream_t *server, int status)
{
    uv_tcp_t *client = xzalloc(sizeof *client);
    uv_write_t *write = xzalloc(sizeof *write);
    uv_buf_t buf = uv_buf_init(CONST_CAST(char *, world.status),
                               strlen(world.status));
    uv_tcp_init(&world.loop, client);
    uv_accept(server, (uv_stream_t *) client);
    uv_write(write, (uv_stream_t *) client, &buf, 1, said);
}

static uint16_t
start_server(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(port)};
    int len = sizeof at;
    uv_tcp_init(&world.loop, &world.server);
    CU_ASSERT_EQUAL_FATAL(uv_tcp_bind(&world.server, (struct sockaddr *) &at,
                                      0), 0);
    CU_ASSERT_EQUAL_FATAL(uv_listen((uv_stream_t *) &world.server, 16,
                                    accepted), 0);
    uv_tcp_getsockname(&world.server, (struct sockaddr *) &at, &len);
    return ntohs(at.sin_port);
}

static void
changed(void *aux)
{
    world.changes++;
}

static bool
wait_for(struct health_prober *prober, const struct local_service *s,
         bool good)
{
    uint64_t end = uv_hrtime() + 10 * UINT64_C(1000000000);
    while (health_is_good(health_prober_health(prober), s) != good
           && uv_hrtime() < end) {
        uv_run(&world.loop, UV_RUN_ONCE);
    }
    return health_is_good(health_prober_health(prober), s) == good;
}

static void
test_connections(void)
{
    struct local_services set;
    uv_loop_init(&world.loop);
    local_services_init(&set);
    struct local_service tcp = service("tcp.acme", HEALTH_TCP);
    struct local_service http = service("http.acme", HEALTH_HTTP);
    world.status = "HTTP/1.0 200 OK\r\n\r\n";
    tcp.target_port = http.target_port = start_server(0);
    tcp.target_address = 0; /* The identity address. */
    tcp.health_interval_ms = http.health_interval_ms = 20;
    local_services_put(&set, &tcp);
    local_services_put(&set, &http);
    struct health_prober *prober
        = health_prober_create(&world.loop, changed, NULL);
    health_prober_set_identity(prober, INADDR_LOOPBACK);
    health_prober_set(prober, &set);
    CU_ASSERT(wait_for(prober, &tcp, true));
    CU_ASSERT(wait_for(prober, &http, true));
    CU_ASSERT_EQUAL(world.changes, 2);

    /* It says that it is not well. */
    world.status = "HTTP/1.0 503 Sorry\r\n\r\n";
    CU_ASSERT(wait_for(prober, &http, false));
    CU_ASSERT(health_is_good(health_prober_health(prober), &tcp));
    world.status = "HTTP/1.0 204 Fine\r\n\r\n";
    CU_ASSERT(wait_for(prober, &http, true));

    /* It dies, and comes back. */
    uv_close((uv_handle_t *) &world.server, NULL);
    CU_ASSERT(wait_for(prober, &tcp, false));
    CU_ASSERT(wait_for(prober, &http, false));
    start_server(tcp.target_port);
    CU_ASSERT(wait_for(prober, &tcp, true));

    uv_close((uv_handle_t *) &world.server, NULL);
    health_prober_close(prober);
    while (uv_run(&world.loop, UV_RUN_DEFAULT)) {
        continue;
    }
    CU_ASSERT_EQUAL(uv_loop_close(&world.loop), 0);
    local_services_destroy(&set);
}

UNIT_MAIN("health", UNIT_TEST(test_states), UNIT_TEST(test_http_answers),
          UNIT_TEST(test_connections))
