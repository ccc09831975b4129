/* SPDX-License-Identifier: Apache-2.0 */
/* libsal against a control socket that a thread plays the agent on. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>
#include "agents/libsal/libsal.h"
#include "openvswitch/dynamic-string.h"
#include "proto/daemon/control.h"
#include "util.h"

static char dir[] = "/tmp/test_libsal.XXXXXX";
static char *path;
static uv_loop_t loop;
static uv_thread_t thread;
static uv_async_t stopper;
static struct control_server *server;
static char last[1024]; /* Arguments of the last command. */

static void
note(int argc, const char *const argv[])
{
    struct ds s = DS_EMPTY_INITIALIZER;
    for (int i = 0; i < argc; i++) {
        ds_put_format(&s, "%s%s", i ? " " : "", argv[i]);
    }
    ovs_strlcpy(last, ds_cstr(&s), sizeof last);
    ds_destroy(&s);
}

static void
fake_resolve(struct control_call *call, int argc, const char *const argv[],
             void *aux)
{
    note(argc, argv);
    if (strstr(argv[0], "0x00")) {
        control_fail(call, "no host-local address can be had");
    } else if (strstr(argv[0], "0xff")) {
        control_reply(call, "nonsense\n");
    } else {
        control_reply(call, strstr(argv[0], "0x4444") ? "127.0.0.1  0x4444/16\n"
                            : strstr(argv[0], "0x6666")
                              ? "0.0.0.0  0x6666/16  ::1\n"
                              : "127.0.0.1  0x1234/16  ::1\n");
    }
}

static void
fake_register(struct control_call *call, int argc, const char *const argv[],
              void *aux)
{
    note(argc, argv);
    control_reply(call, "registered\n");
}

static void
fake_peer(struct control_call *call, int argc, const char *const argv[],
          void *aux)
{
    note(argc, argv);
    control_reply(call, "identity 100.64.0.7 locator 10.0.0.3 role server "
                  "state bound service 0x12/8 endpoint "
                  "000102030405060708090a0b0c0d0eff\n");
}

static void
fake_events(struct control_call *call, int argc, const char *const argv[],
            void *aux)
{
    note(argc, argv);
    control_reply_part(call, "");
    control_reply_part(
        call, "{\"duration_ms\":23,\"event\":\"moved\",\"flows\":4,"
        "\"group\":0,\"interface_to\":\"eth1\",\"own_from\":\"10.0.0.1\","
        "\"own_to\":\"10.0.1.1\",\"peer\":"
        "\"000102030405060708090a0b0c0d0eff\",\"peer_to\":\"10.0.0.2\","
        "\"reason\":\"lost\",\"time_ms\":1}\n{\"event\":\"held\",");
    control_reply_part(
        call, "\"peer\":\"000102030405060708090a0b0c0d0eff\"}\n");
    control_reply(call, "{\"event\":\"moved\",\"peer\":\"short\"}\n");
}

static const struct control_command commands[] = {
    {"events", "", "", 1, 1, fake_events},
    {"resolve", "", "", 1, 1, fake_resolve},
    {"register", "", "", 1, -1, fake_register},
    {"unregister", "", "", 1, -1, fake_register},
    {"peer", "", "", 2, 2, fake_peer},
    {NULL, NULL, NULL, 0, 0, NULL},
};

static void
on_stop(uv_async_t *async)
{
    control_server_stop(server);
    uv_close((uv_handle_t *) async, NULL);
}

static void
run(void *aux)
{
    uv_run(&loop, UV_RUN_DEFAULT);
}

static void
setup(void)
{
    char *error = NULL;
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    path = xasprintf("%s/sald.sock", dir);
    setenv("SALIENT_SOCKET", path, 1);

    struct service_prefix id;
    struct sockaddr_storage ss;
    sal_id_from_name("a.b", &id);
    CU_ASSERT_EQUAL(sal_resolve(&id, AF_UNSPEC, 80, &ss), -ENOENT);

    uv_loop_init(&loop);
    uv_async_init(&loop, &stopper, on_stop);
    CU_ASSERT_EQUAL_FATAL(control_server_start(&loop, path, commands, NULL,
                                               &server, &error), 0);
    uv_thread_create(&thread, run, NULL);
}

static void
test_ids(void)
{
    struct service_prefix name, id;
    CU_ASSERT_EQUAL(sal_id_from_name("kv.shop.acme", &name), 0);
    CU_ASSERT_EQUAL(sal_id_from_name("KV", &id), -EINVAL);

    id = name;
    CU_ASSERT_EQUAL(sal_id_set_key(&id, 0x0123456789abcdefULL), 0);
    CU_ASSERT_EQUAL(id.len, 256);
    CU_ASSERT_TRUE(service_prefix_contains(&name, &id));
    CU_ASSERT_EQUAL(id.id.bytes[24], 0x01);
    CU_ASSERT_EQUAL(id.id.bytes[31], 0xef);
    CU_ASSERT_EQUAL(sal_id_set_key(&id, 1), -EINVAL); /* Has one already. */

    /* Each key is in exactly one shard. */
    for (int i = 0; i < 200; i++) {
        uint64_t key = unit_random();
        size_t n = 0;
        id = name;
        sal_id_set_key(&id, key);
        for (uint64_t shard = 0; shard < 8; shard++) {
            struct service_prefix range = name;
            CU_ASSERT_EQUAL(sal_id_set_shard(&range, shard, 3), 0);
            CU_ASSERT_EQUAL(range.len, 195);
            n += service_prefix_contains(&range, &id);
        }
        CU_ASSERT_EQUAL(n, 1);
    }
    id = name;
    CU_ASSERT_EQUAL(sal_id_set_shard(&id, 8, 3), -EINVAL);
    CU_ASSERT_EQUAL(sal_id_set_shard(&id, 0, 65), -EINVAL);
    CU_ASSERT_EQUAL(sal_id_set_shard(&id, 0, 0), 0);
    CU_ASSERT_TRUE(service_prefix_equal(&id, &name));

    CU_ASSERT_EQUAL(sal_key_of("alice", 5), sal_key_of("alice", 5));
    CU_ASSERT_NOT_EQUAL(sal_key_of("alice", 5), sal_key_of("bob", 3));
}

static void
test_resolve(void)
{
    struct service_prefix id;
    struct sockaddr_storage ss;
    const struct sockaddr_in *sin = (const void *) &ss;
    const struct sockaddr_in6 *sin6 = (const void *) &ss;
    static const int v4_families[] = {AF_UNSPEC, AF_INET};
    static const int v6_families[] = {AF_UNSPEC, AF_INET6};

    service_prefix_from_string("0x1234/16", &id);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(sal_resolve(&id, v4_families[i], 7000, &ss), 0);
        CU_ASSERT_EQUAL(sin->sin_family, AF_INET);
        CU_ASSERT_EQUAL(ntohl(sin->sin_addr.s_addr), 0x7f000001);
        CU_ASSERT_EQUAL(ntohs(sin->sin_port), 7000);
    }
    CU_ASSERT_EQUAL(strncmp(last, "0x1234000", 9), 0);
    CU_ASSERT_STRING_EQUAL(sal_error(), "");
    CU_ASSERT_EQUAL(sal_resolve(&id, AF_UNIX, 7000, &ss), -EINVAL);

    /* What has addresses of one version only. */
    service_prefix_from_string("0x6666/16", &id);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(sal_resolve(&id, v6_families[i], 7000, &ss), 0);
        CU_ASSERT_EQUAL(sin6->sin6_family, AF_INET6);
        CU_ASSERT_TRUE(IN6_IS_ADDR_LOOPBACK(&sin6->sin6_addr));
        CU_ASSERT_EQUAL(ntohs(sin6->sin6_port), 7000);
    }
    CU_ASSERT_EQUAL(sal_resolve(&id, AF_INET, 1, &ss), -EADDRNOTAVAIL);
    service_prefix_from_string("0x4444/16", &id);
    CU_ASSERT_EQUAL(sal_resolve(&id, AF_INET6, 1, &ss), -EADDRNOTAVAIL);
    CU_ASSERT_EQUAL(sal_connect_family(&id, AF_INET6, SOCK_STREAM, 1),
                    -EADDRNOTAVAIL);

    service_prefix_from_string("0x00/8", &id);
    CU_ASSERT_EQUAL(sal_resolve(&id, AF_UNSPEC, 1, &ss), -EREMOTEIO);
    CU_ASSERT_STRING_EQUAL(sal_error(), "no host-local address can be had");
    service_prefix_from_string("0xff/8", &id);
    CU_ASSERT_EQUAL(sal_resolve(&id, AF_UNSPEC, 1, &ss), -EPROTO);
}

/* One listener hears both versions of IP; where IPv4 is refused, IPv6 is
 * tried. */
static void
test_ipv6(void)
{
    struct sal_service service = {.protocol = IPPROTO_TCP, .weight = 1,
                                  .port = 7000};
    struct sockaddr_in6 only6 = {.sin6_family = AF_INET6,
                                 .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6};
    socklen_t len = sizeof only6;
    struct sal_peer peer;
    char expected[64];

    service_prefix_from_string("0x1234/16", &service.prefix);
    int listener = sal_listen(&service, 5);
    CU_ASSERT_FATAL(listener >= 0);
    for (int i = 0; i < 3; i++) {
        int fd = sal_connect_family(&service.prefix, families[i], SOCK_STREAM,
                                    service.target_port);
        CU_ASSERT_FATAL(fd >= 0);
        int accepted = accept(listener, NULL, NULL);
        CU_ASSERT_FATAL(accepted >= 0);
        CU_ASSERT_EQUAL(sal_get_peer(accepted, &peer), 0);
        snprintf(expected, sizeof expected, "%s:%u ",
                 families[i] == AF_INET6 ? "[::1]" : "127.0.0.1",
                 service.target_port);
        CU_ASSERT_EQUAL(strncmp(last, expected, strlen(expected)), 0);
        close(fd);
        close(accepted);
    }
    close(listener);

    listener = socket(AF_INET6, SOCK_STREAM, 0);
    int on = 1;
    setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    CU_ASSERT_EQUAL(bind(listener, (struct sockaddr *) &only6, len), 0);
    CU_ASSERT_EQUAL(listen(listener, 5), 0);
    getsockname(listener, (struct sockaddr *) &only6, &len);
    uint16_t port = ntohs(only6.sin6_port);
    CU_ASSERT_EQUAL(sal_connect_family(&service.prefix, AF_INET, SOCK_STREAM,
                                       port), -ECONNREFUSED);
    int fd = sal_connect(&service.prefix, SOCK_STREAM, port);
    CU_ASSERT(fd >= 0);
    close(fd);
    close(listener);
    CU_ASSERT_EQUAL(sal_connect(&service.prefix, SOCK_STREAM, port),
                    -ECONNREFUSED);
}

static void
test_serve_and_connect(void)
{
    struct sal_service service = {.protocol = IPPROTO_TCP, .weight = 3};
    struct sal_peer peer;
    char expected[256];

    sal_id_from_name("kv.shop.acme", &service.prefix);
    CU_ASSERT_EQUAL(sal_listen(&service, 5), -EINVAL); /* No port. */
    service.port = 7000;
    service.name = "other";
    CU_ASSERT_EQUAL(sal_listen(&service, 5), -EINVAL); /* Another's name. */
    service.name = "kv.shop.acme";
    int listener = sal_listen(&service, 5);
    CU_ASSERT_FATAL(listener >= 0);
    CU_ASSERT_NOT_EQUAL(service.target_port, 0);
    snprintf(expected, sizeof expected,
             "kv.shop.acme:7000 --protocol tcp --target %u --weight 3",
             service.target_port);
    CU_ASSERT_STRING_EQUAL(last, expected);

    /* The fake agent says that every service is at 127.0.0.1. */
    struct service_prefix id;
    service_prefix_from_string("0x1234/16", &id);
    int fd = sal_connect(&id, SOCK_STREAM, service.target_port);
    CU_ASSERT_FATAL(fd >= 0);
    int accepted = accept(listener, NULL, NULL);
    CU_ASSERT_FATAL(accepted >= 0);
    CU_ASSERT_EQUAL(sal_get_peer(accepted, &peer), 0);
    CU_ASSERT_STRING_EQUAL(peer.identity, "100.64.0.7");
    CU_ASSERT_STRING_EQUAL(peer.locator, "10.0.0.3");
    CU_ASSERT_STRING_EQUAL(peer.state, "bound");
    CU_ASSERT_TRUE(peer.server);
    CU_ASSERT_EQUAL(peer.service.len, 8);
    CU_ASSERT_EQUAL(peer.endpoint[1], 1);
    CU_ASSERT_EQUAL(peer.endpoint[15], 0xff);
    snprintf(expected, sizeof expected, "127.0.0.1:%u ", service.target_port);
    CU_ASSERT_EQUAL(strncmp(last, expected, strlen(expected)), 0);
    CU_ASSERT_EQUAL(sal_get_peer(listener, &peer), -ENOTCONN);
    close(fd);
    close(accepted);
    close(listener);
    CU_ASSERT_EQUAL(sal_connect(&id, SOCK_STREAM, service.target_port),
                    -ECONNREFUSED);
    CU_ASSERT_EQUAL(sal_connect(&id, SOCK_STREAM, 0), -EINVAL);

    /* A shard has no name. */
    service.name = NULL;
    sal_id_set_shard(&service.prefix, 1, 2);
    CU_ASSERT_EQUAL(sal_unregister(&service, true), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(last, "/194:7000 --protocol tcp --wait"));
}

/* The fake agent's services are on the loopback device: no DATAGRAM, but the
 * same calls. */
static void
datagrams_over(int family)
{
    struct sal_service service = {.protocol = IPPROTO_UDP, .port = 53,
                                  .weight = 1};
    struct service_prefix id;
    struct sockaddr_storage from;
    char buf[16];

    service_prefix_from_string("0x1234/16", &id);
    service.prefix = id;
    int server_fd = sal_listen(&service, 0);
    CU_ASSERT_FATAL(server_fd >= 0);
    int fd = sal_datagram_open_family(&id, family, service.target_port);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(sal_datagram_receive(fd, buf, sizeof buf, 0, NULL),
                    -ETIMEDOUT);
    CU_ASSERT_EQUAL(sal_datagram_send(fd, "ping", 4), 0);
    CU_ASSERT_EQUAL(sal_datagram_receive(server_fd, buf, sizeof buf, 5000,
                                         &from), 4);
    CU_ASSERT_EQUAL(memcmp(buf, "ping", 4), 0);
    CU_ASSERT_EQUAL(sal_datagram_answer(server_fd, &from, "pong", 4), 0);
    CU_ASSERT_EQUAL(sal_datagram_receive(fd, buf, sizeof buf, 5000, NULL), 4);
    CU_ASSERT_EQUAL(memcmp(buf, "pong", 4), 0);
    int max = sal_datagram_max(fd);
    CU_ASSERT(max > 1000 && max < 65536 * 2);
    static char large[70000];
    CU_ASSERT_EQUAL(sal_datagram_send(fd, large, sizeof large), -EMSGSIZE);
    close(server_fd);
    CU_ASSERT_EQUAL(sal_datagram_send(fd, "gone", 4), 0);
    CU_ASSERT_EQUAL(sal_datagram_receive(fd, buf, sizeof buf, 5000, NULL),
                    -ECONNREFUSED);
    close(fd);
}

static void
test_datagrams(void)
{
    datagrams_over(AF_INET);
    datagrams_over(AF_INET6);
    datagrams_over(AF_UNSPEC);
    CU_ASSERT_EQUAL(sal_datagram_max(-1), -EBADF);
}

static void
teardown(void)
{
    uv_async_send(&stopper);
    uv_thread_join(&thread);
    CU_ASSERT_EQUAL(uv_loop_close(&loop), 0);

    struct service_prefix id;
    struct sockaddr_storage ss;
    sal_id_from_name("a.b", &id);
    CU_ASSERT_EQUAL(sal_resolve(&id, AF_UNSPEC, 80, &ss), -ENOENT);
    rmdir(dir);
    free(path);
}

static void
test_moves(void)
{
    struct sal_moves *moves;
    struct sal_move move;
    CU_ASSERT_EQUAL_FATAL(sal_moves_open(&moves), 0);
    CU_ASSERT_STRING_EQUAL(last, "--follow");
    CU_ASSERT_TRUE(sal_moves_fd(moves) >= 0);
    CU_ASSERT_EQUAL(sal_moves_next(moves, 5000, &move), 1);
    CU_ASSERT_STRING_EQUAL(move.event, "moved");
    CU_ASSERT_STRING_EQUAL(move.reason, "lost");
    CU_ASSERT_STRING_EQUAL(move.own_locator, "10.0.1.1");
    CU_ASSERT_STRING_EQUAL(move.peer_locator, "10.0.0.2");
    CU_ASSERT_EQUAL(move.endpoint[1], 1);
    CU_ASSERT_EQUAL(move.endpoint[15], 0xff);
    CU_ASSERT_EQUAL(move.flows, 4);
    CU_ASSERT_EQUAL(move.duration_ms, 23);
    CU_ASSERT_EQUAL(sal_moves_next(moves, 5000, &move), 1);
    CU_ASSERT_STRING_EQUAL(move.event, "held");
    int end = sal_moves_next(moves, 5000, &move);
    CU_ASSERT_TRUE(end == -ECONNRESET || end == -EPROTO);
    sal_moves_close(moves);
    sal_moves_close(NULL);
}

UNIT_MAIN("libsal", UNIT_TEST(setup), UNIT_TEST(test_ids),
          UNIT_TEST(test_resolve), UNIT_TEST(test_ipv6), UNIT_TEST(test_serve_and_connect),
          UNIT_TEST(test_datagrams), UNIT_TEST(test_moves),
          UNIT_TEST(teardown))
