/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, routes and link events, in a network namespace of the test's
 * own.  Needs root; without, it says so and passes nothing. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>
#include "agents/host_netdev.h"
#include "agents/probe_socket.h"
#include "openvswitch/dynamic-string.h"
#include "util.h"

static uv_loop_t loop;
static struct host_netdev *netdev;
static size_t n_changes;
static struct netdev_uplink last_change;

static bool
is_root(void)
{
    return !geteuid();
}

/* Runs 'command'; what it printed, malloced. */
static char *
sh(const char *command)
{
    struct ds s = DS_EMPTY_INITIALIZER;
    char buf[512];
    FILE *pipe = popen(command, "r");
    while (fgets(buf, sizeof buf, pipe)) {
        ds_put_cstr(&s, buf);
    }
    CU_ASSERT_EQUAL(pclose(pipe), 0);
    return ds_steal_cstr(&s);
}

static void
run(const char *command)
{
    free(sh(command));
}

static void
changed(const struct netdev_uplink *was, const struct netdev_uplink *is,
        void *aux)
{
    n_changes++;
    last_change = *is;
}

/* Turns the loop until 'condition' holds, bounded. */
#define UNTIL(CONDITION)                                                      \
    do {                                                                      \
        for (int i = 0; i < 1000 && !(CONDITION); i++) {                      \
            uv_run(&loop, UV_RUN_NOWAIT);                                     \
            poll(NULL, 0, 2);                                                 \
        }                                                                     \
        CU_ASSERT_FATAL(CONDITION);                                           \
    } while (0)

static void
setup(void)
{
    static char *const names[] = {(char *) "up0", (char *) "late0"};
    char *error = NULL;
    CU_ASSERT_EQUAL_FATAL(unshare(CLONE_NEWNET), 0);
    run("ip link add sal0 type ifb && ip link set sal0 up && "
        "ip link set lo up && "
        "ip link add up0 type veth peer name up1 && "
        "ip link set up1 up && ip addr add 10.0.0.1/24 dev up0");
    uv_loop_init(&loop);
    CU_ASSERT_EQUAL_FATAL(host_netdev_open(&loop, names, 2, changed, NULL,
                                           &netdev, &error), 0);
    CU_ASSERT_EQUAL(host_netdev_n_uplinks(netdev), 2);
    CU_ASSERT_NOT_EQUAL(host_netdev_uplink(netdev, 0)->ifindex, 0);
    CU_ASSERT_FALSE(host_netdev_uplink(netdev, 0)->up);
    CU_ASSERT_EQUAL(host_netdev_uplink(netdev, 0)->address, 0x0a000001);
    CU_ASSERT_EQUAL(host_netdev_uplink(netdev, 1)->ifindex, 0);
}

static void
apply(uint32_t address, size_t n_routes, bool localnet)
{
    char *error = NULL;
    struct netdev_desired desired = {
        .ifindex = if_nametoindex("sal0"),
        .address = address,
        .routes = {{.address = 0xc6120000, .len = 15},
                   {.address = 0x64400000, .len = 10}},
        .n_routes = n_routes,
        .route_localnet = localnet,
    };
    if (host_netdev_apply(netdev, &desired, &error)) {
        fprintf(stderr, "%s\n", error);
        free(error);
        CU_FAIL("apply");
    }
}

static void
apply_v6(const char *identity)
{
    char *error = NULL;
    struct netdev_desired desired = {
        .ifindex = if_nametoindex("sal0"),
        .address = 0x64400002,
        .routes = {{.address = 0xc6120000, .len = 15},
                   {.len = 48}},
        .n_routes = identity ? 2 : 1,
    };
    if (identity) {
        inet_pton(AF_INET6, identity, &desired.address_v6);
        inet_pton(AF_INET6, "fd5a::", &desired.routes[1].address_v6);
    }
    CU_ASSERT_EQUAL(host_netdev_apply(netdev, &desired, &error), 0);
    free(error);
}

static void
expect(const char *command, const char *output)
{
    char *got = sh(command);
    CU_ASSERT_STRING_EQUAL(got, output);
    if (strcmp(got, output)) {
        fprintf(stderr, "%s: expected \"%s\", got \"%s\"\n", command, output,
                got);
    }
    free(got);
}

#define ADDRESSES "ip -o addr show dev sal0 | awk '$3 == \"inet\" {print $4}'"
#define ROUTES "ip route show dev sal0 | sed 's/ *$//'"

static void
test_apply(void)
{
    apply(0x64400001, 2, false);
    expect(ADDRESSES, "100.64.0.1/32\n");
    expect(ROUTES,
           "100.64.0.0/10 proto 90 scope link src 100.64.0.1\n"
           "198.18.0.0/15 proto 90 scope link src 100.64.0.1\n");

    /* Nothing to do. */
    apply(0x64400001, 2, false);
    expect(ADDRESSES, "100.64.0.1/32\n");

    /* Another identity, one route less, somebody else's route untouched. */
    run("ip route add 192.0.2.0/24 dev sal0");
    apply(0x64400002, 1, true);
    expect(ADDRESSES, "100.64.0.2/32\n");
    expect(ROUTES,
           "192.0.2.0/24 scope link\n"
           "198.18.0.0/15 proto 90 scope link src 100.64.0.2\n");
    expect("cat /proc/sys/net/ipv4/conf/sal0/route_localnet", "1\n");

    /* What was lost comes back (the kernel drops all routes of a device with
     * its last address). */
    run("ip addr flush dev sal0");
    apply(0x64400002, 1, false);
    expect(ADDRESSES, "100.64.0.2/32\n");
    expect(ROUTES, "198.18.0.0/15 proto 90 scope link src 100.64.0.2\n");
    expect("cat /proc/sys/net/ipv4/conf/sal0/route_localnet", "0\n");
}

#define ADDRESSES6 \
    "ip -6 -o addr show dev sal0 scope global | awk '{print $4}'"
#define ROUTES6 "ip -6 route show dev sal0 proto 90 | sed 's/ *$//'"

static void
test_apply_ipv6(void)
{
    apply_v6("fd64::1");
    expect(ADDRESSES, "100.64.0.2/32\n");
    expect(ADDRESSES6, "fd64::1/128\n");
    expect(ROUTES6, "fd5a::/48 src fd64::1 metric 1024 pref medium\n");
    apply_v6("fd64::1");
    apply_v6("fd64::2"); /* Another identity. */
    expect(ADDRESSES6, "fd64::2/128\n");
    expect(ROUTES6, "fd5a::/48 src fd64::2 metric 1024 pref medium\n");
    apply_v6(NULL);
    expect(ADDRESSES6, "");
    expect(ROUTES6, "");
}

/* Which address of an uplink is its locator: global, and lasting. */
static void
test_uplink_ipv6(void)
{
    const struct netdev_uplink *up0 = host_netdev_uplink(netdev, 0);
    struct in6_addr want;
    CU_ASSERT_TRUE(IN6_IS_ADDR_UNSPECIFIED(&up0->address_v6));
    run("ip addr add 2001:db8::9/64 dev up0 nodad preferred_lft 0 && "
        "ip addr add 2001:db8::1/64 dev up0 nodad");
    inet_pton(AF_INET6, "2001:db8::1", &want);
    UNTIL(!memcmp(&up0->address_v6, &want, sizeof want));
    run("ip addr del 2001:db8::1/64 dev up0");
    UNTIL(IN6_IS_ADDR_UNSPECIFIED(&up0->address_v6));
    run("ip addr flush dev up0 scope global && "
        "ip addr add 10.0.9.1/24 dev up0");
    UNTIL(up0->address == 0x0a000901);
}

static void
test_events(void)
{
    n_changes = 0;
    run("ip link set up0 up");
    UNTIL(host_netdev_uplink(netdev, 0)->up);
    CU_ASSERT_TRUE(n_changes >= 1);
    CU_ASSERT_STRING_EQUAL(last_change.name, "up0");

    /* Carrier lost at the other end. */
    run("ip link set up1 down");
    UNTIL(!host_netdev_uplink(netdev, 0)->up);
    run("ip link set up1 up");
    UNTIL(host_netdev_uplink(netdev, 0)->up);

    run("ip addr del 10.0.0.1/24 dev up0");
    UNTIL(host_netdev_uplink(netdev, 0)->address == 0);
    run("ip addr add 10.0.9.1/24 dev up0");
    UNTIL(host_netdev_uplink(netdev, 0)->address == 0x0a000901);

    /* An interface that appears, and goes. */
    run("ip link add late0 type veth peer name late1 && "
        "ip addr add 10.1.0.1/24 dev late0 && ip link set late1 up && "
        "ip link set late0 up");
    UNTIL(host_netdev_uplink(netdev, 1)->up
          && host_netdev_uplink(netdev, 1)->address == 0x0a010001);
    run("ip link del late0");
    UNTIL(!host_netdev_uplink(netdev, 1)->ifindex);

    /* Other interfaces are none of our business. */
    size_t before = n_changes;
    run("ip link add x0 type veth peer name x1 && ip link set x0 up && "
        "ip link del x0");
    for (int i = 0; i < 20; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    CU_ASSERT_EQUAL(n_changes, before);
}

#define RX_PACKETS                                                            \
    "ip -s -o link show dev up1 | sed 's/.*RX: [^0-9]*[0-9]* //' "            \
    "| awk '{print $1}'"

static size_t n_routes_changed;

static void
routes_changed(void *aux)
{
    n_routes_changed++;
}

/* Routes by uplinks are told; neighbors that do not answer are forgotten,
 * others not. */
static void
test_routes_and_neighbors(void)
{
    host_netdev_watch_routes(netdev, routes_changed, NULL);
    size_t before = n_routes_changed;
    run("ip route add 10.78.0.0/24 dev up0");
    UNTIL(n_routes_changed > before);
    host_netdev_watch_routes(netdev, NULL, NULL);

    run("ip neigh add 10.0.9.8 dev up0 nud failed");
    run("ip neigh add 10.0.9.9 lladdr 02:00:00:00:00:09 dev up0");
    host_netdev_forget_neighbors(netdev, if_nametoindex("up0"));
    char *left = sh("ip neigh show dev up0");
    CU_ASSERT_PTR_NULL(strstr(left, "10.0.9.8"));
    CU_ASSERT_PTR_NOT_NULL(strstr(left, "10.0.9.9"));
    free(left);
}

static char packets[100];

static void
got_packet(const struct probe_path *path, const uint8_t *data, size_t len,
           void *aux)
{
    uint32_t own, other;
    char *end = packets + strlen(packets);

    if (migration_locator_to_v4(&path->other, &other)
        && migration_locator_to_v4(&path->own, &own)
        && own == 0x7f000002 && path->ifindex) {
        sprintf(end, "%.*s from %u.0.0.%u port %u ", (int) len, data,
                other >> 24, other & 0xff, path->other.port);
    } else if (path->own.address[15] == 1) {
        sprintf(end, "%.*s v6 ", (int) len, data);
    }
}

/* A probe leaves by the interface, from the address and to the port it was
 * told, although no route leads there. */
static void
test_probe_socket(void)
{
    struct probe_socket *sock;
    struct probe_path path = {.ifindex = if_nametoindex("up0")};
    char *fields;
    migration_locator_from_v4(0x0a000901, &path.own);
    migration_locator_from_v4(0x0afffffe, &path.other);
    CU_ASSERT_EQUAL_FATAL(probe_socket_open(&loop, 6090, got_packet, NULL,
                                            &sock), 0);
    struct probe_socket *other;
    CU_ASSERT_EQUAL(probe_socket_open(&loop, 6090, got_packet, NULL, &other),
                    -EADDRINUSE);
    run("ip neigh add 10.255.255.254 lladdr 02:00:00:00:00:01 dev up0");
    char *before = sh(RX_PACKETS);
    CU_ASSERT_EQUAL(probe_socket_send(sock, &path, "hello", 5), 0);
    fields = sh(RX_PACKETS);
    CU_ASSERT_TRUE(atoi(fields) > atoi(before));
    free(before);
    free(fields);

    /* What comes in tells where an answer goes. */
    memset(&path, 0, sizeof path);
    migration_locator_from_v4(0x7f000001, &path.own);
    migration_locator_from_v4(0x7f000002, &path.other);
    CU_ASSERT_EQUAL(probe_socket_send(sock, &path, "one", 3), 0);
    memset(path.own.address, 0, 15);
    path.own.address[15] = 1;
    path.other = path.own;
    CU_ASSERT_EQUAL(probe_socket_send(sock, &path, "two", 3), 0);
    for (int i = 0; i < 100 && probe_socket_received(sock) < 2; i++) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    CU_ASSERT_STRING_EQUAL(packets, "one from 127.0.0.1 port 0 two v6 ");
    probe_socket_close(sock);
}

static void
test_close(void)
{
    host_netdev_close(netdev);
    CU_ASSERT_EQUAL(uv_run(&loop, UV_RUN_DEFAULT), 0);
    CU_ASSERT_EQUAL(uv_loop_close(&loop), 0);
    /* Closing changes nothing. */
    expect(ADDRESSES, "100.64.0.2/32\n");
}

static void
test_needs_root(void)
{
    fprintf(stderr, "host_netdev: not root, skipped\n");
}

int
main(void)
{
    static const struct unit_test tests[] = {
        UNIT_TEST(setup), UNIT_TEST(test_apply), UNIT_TEST(test_apply_ipv6),
        UNIT_TEST(test_events), UNIT_TEST(test_uplink_ipv6),
        UNIT_TEST(test_routes_and_neighbors),
        UNIT_TEST(test_probe_socket), UNIT_TEST(test_close)};
    static const struct unit_test skipped[] = {UNIT_TEST(test_needs_root)};
    return (is_root() ? unit_run("host_netdev", tests, ARRAY_SIZE(tests))
                      : unit_run("host_netdev", skipped, 1));
}
