/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/host_netdev.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "openvswitch/util.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(host_netdev);

/* Marks our routes ("ip route" shows "proto 90"), as the routing daemons mark
 * theirs. */
#define ROUTE_PROTOCOL 90

#define EVENT_BUFFER_SIZE (1 << 20)
#define EVENTS_AT_ONCE 256

struct host_netdev {
    struct nl_sock *requests; /* Blocking: one question, one answer. */
    struct nl_sock *events;
    uv_poll_t poll;
    host_netdev_changed_cb *changed;
    void *aux;
    void (*on_routes)(void *aux); /* NULL: nobody wants to know. */
    void *routes_aux;
    bool routes_changed; /* By what was received just now; */
    bool uplinks_changed; /* so are links or addresses, perhaps. */
    size_t n_uplinks;
    struct netdev_uplink uplinks[];
};

/* libnl has error numbers of its own. */
static int
errno_from_nl(int error)
{
    switch (abs(error)) {
    case 0:
        return 0;
    case NLE_PERM:
    case NLE_NOACCESS:
        return -EPERM;
    case NLE_NODEV:
    case NLE_OBJ_NOTFOUND:
        return -ENODEV;
    case NLE_EXIST:
        return -EEXIST;
    case NLE_NOMEM:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

static int
fail(char **ret_error, int nl_error, const char *what)
{
    int error = errno_from_nl(nl_error);

    *ret_error = xasprintf("%s: %s%s", what, nl_geterror(nl_error),
                           error == -EPERM ? "; run with CAP_NET_ADMIN" : "");
    return error;
}

/* Addresses. */

/* Any address as IPv6 or IPv4-mapped; all zero if it is none. */
static struct in6_addr
in6_of(const struct nl_addr *addr)
{
    struct in6_addr in6 = in6addr_any;

    if (addr && nl_addr_get_family(addr) == AF_INET6
        && nl_addr_get_len(addr) == sizeof in6) {
        memcpy(&in6, nl_addr_get_binary_addr(addr), sizeof in6);
    } else if (addr && nl_addr_get_family(addr) == AF_INET
               && nl_addr_get_len(addr) == 4) {
        in6.s6_addr[10] = in6.s6_addr[11] = 0xff;
        memcpy(&in6.s6_addr[12], nl_addr_get_binary_addr(addr), 4);
    }
    return in6;
}

static struct in6_addr
mapped(uint32_t address)
{
    return in6_addr_mapped_ipv4(htonl(address));
}

/* 'len' is that of its IP version. */
static struct nl_addr *
new_addr(const struct in6_addr *address, uint8_t len)
{
    bool v4 = IN6_IS_ADDR_V4MAPPED(address);
    struct nl_addr *addr
        = v4 ? nl_addr_build(AF_INET, &address->s6_addr[12], 4)
             : nl_addr_build(AF_INET6, address, sizeof *address);

    nl_addr_set_prefixlen(addr, len);
    return addr;
}

/* Calls back for each address of 'ifindex', but link-local ones. */
struct address_walk {
    int ifindex;
    void (*each)(struct rtnl_addr *, struct address_walk *);
    struct nl_sock *sock;
    struct in6_addr address, address_v6; /* In or out. */
    bool found;
    int error;
};

static void
walk_address(struct nl_object *object, void *walk_)
{
    struct address_walk *walk = walk_;
    struct rtnl_addr *addr = (struct rtnl_addr *) object;

    int family = rtnl_addr_get_family(addr);

    if (rtnl_addr_get_ifindex(addr) == walk->ifindex
        && (family == AF_INET
            || (family == AF_INET6
                && rtnl_addr_get_scope(addr) == RT_SCOPE_UNIVERSE))) {
        walk->each(addr, walk);
    }
}

static int
walk_addresses(struct address_walk *walk)
{
    struct nl_cache *cache;
    int error = rtnl_addr_alloc_cache(walk->sock, &cache);

    if (!error) {
        nl_cache_foreach(cache, walk_address, walk);
        nl_cache_free(cache);
    }
    return error;
}

/* Uplinks. */

static void
take_first_address(struct rtnl_addr *addr, struct address_walk *walk)
{
    struct in6_addr address = in6_of(rtnl_addr_get_local(addr));
    bool v4 = rtnl_addr_get_family(addr) == AF_INET;
    struct in6_addr *first = v4 ? &walk->address : &walk->address_v6;

    if (IN6_IS_ADDR_UNSPECIFIED(first)
        && rtnl_addr_get_scope(addr) == RT_SCOPE_UNIVERSE
        && (v4 || !(rtnl_addr_get_flags(addr)
                    & (IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED
                       | IFA_F_TEMPORARY)))) {
        *first = address;
    }
}

static void
read_uplink(struct host_netdev *netdev, const char *name,
            struct netdev_uplink *uplink)
{
    struct rtnl_link *link;

    memset(uplink, 0, sizeof *uplink);
    ovs_strlcpy(uplink->name, name, sizeof uplink->name);
    if (rtnl_link_get_kernel(netdev->requests, 0, name, &link)) {
        return;
    }
    unsigned int flags = rtnl_link_get_flags(link);
    uplink->ifindex = rtnl_link_get_ifindex(link);
    uplink->up = (flags & IFF_UP) && (flags & IFF_RUNNING);
    uplink->mtu = rtnl_link_get_mtu(link);
    rtnl_link_put(link);

    struct address_walk walk = {.ifindex = uplink->ifindex,
                                .each = take_first_address,
                                .sock = netdev->requests};
    walk_addresses(&walk);
    uplink->address = ntohl(in6_addr_get_mapped_ipv4(&walk.address));
    uplink->address_v6 = walk.address_v6;
}

static void
read_uplinks(struct host_netdev *netdev, bool tell)
{
    for (size_t i = 0; i < netdev->n_uplinks; i++) {
        struct netdev_uplink was = netdev->uplinks[i];
        struct netdev_uplink *is = &netdev->uplinks[i];

        read_uplink(netdev, was.name, is);
        if (tell && memcmp(&was, is, sizeof was)) {
            netdev->changed(&was, is, netdev->aux);
        }
    }
}

/* Events only say that something changed; what, we read: so a lost one does
 * no harm. */
static int
take_message(struct nl_msg *msg, void *netdev_)
{
    struct host_netdev *netdev = netdev_;
    const struct nlmsghdr *header = nlmsg_hdr(msg);
    struct nlattr *attributes[RTA_MAX + 1];

    if (header->nlmsg_type != RTM_NEWROUTE
        && header->nlmsg_type != RTM_DELROUTE) {
        netdev->uplinks_changed = true;
        return NL_OK;
    }
    if (nlmsg_parse(nlmsg_hdr(msg), sizeof(struct rtmsg), attributes,
                    RTA_MAX, NULL)) {
        return NL_OK;
    }
    for (size_t i = 0; i < netdev->n_uplinks; i++) {
        netdev->routes_changed
            |= !attributes[RTA_OIF]
               || nla_get_u32(attributes[RTA_OIF])
                  == netdev->uplinks[i].ifindex;
    }
    return NL_OK;
}

static void
events_ready(uv_poll_t *poll, int status, int uv_events)
{
    struct host_netdev *netdev = poll->data;
    int error = 0;

    /* All that are there, before anything is read: a link that goes down takes
     * a dozen routes with it, while peers' answers wait for us. */
    for (int i = 0; i < EVENTS_AT_ONCE && !error; i++) {
        error = nl_recvmsgs_default(netdev->events);
    }
    if (netdev->uplinks_changed || (error && error != -NLE_AGAIN)) {
        netdev->uplinks_changed = false;
        read_uplinks(netdev, true);
    }
    if (netdev->routes_changed && netdev->on_routes) {
        netdev->on_routes(netdev->routes_aux);
    }
    netdev->routes_changed = false;
}

void
host_netdev_watch_routes(struct host_netdev *netdev,
                         void (*changed)(void *aux), void *aux)
{
    netdev->on_routes = changed;
    netdev->routes_aux = aux;
}

static int
open_events(struct host_netdev *netdev)
{
    struct nl_sock *sock = netdev->events;

    nl_socket_disable_seq_check(sock);
    nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, take_message,
                        netdev);
    int error = nl_connect(sock, NETLINK_ROUTE);
    if (!error) {
        error = nl_socket_add_memberships(sock, RTNLGRP_LINK,
                                          RTNLGRP_IPV4_IFADDR,
                                          RTNLGRP_IPV6_IFADDR,
                                          RTNLGRP_IPV4_ROUTE,
                                          RTNLGRP_IPV6_ROUTE, 0);
    }
    if (!error) {
        nl_socket_set_buffer_size(sock, EVENT_BUFFER_SIZE, 0);
        error = nl_socket_set_nonblocking(sock);
    }
    return error;
}

int
host_netdev_open(uv_loop_t *loop, char *const names[], size_t n,
                 host_netdev_changed_cb *changed, void *aux,
                 struct host_netdev **ret_netdev, char **ret_error)
{
    struct host_netdev *netdev
        = xzalloc(sizeof *netdev + n * sizeof netdev->uplinks[0]);

    netdev->changed = changed;
    netdev->aux = aux;
    netdev->n_uplinks = n;
    for (size_t i = 0; i < n; i++) {
        ovs_strlcpy(netdev->uplinks[i].name, names[i],
                    sizeof netdev->uplinks[i].name);
    }
    netdev->requests = nl_socket_alloc();
    netdev->events = nl_socket_alloc();
    int error = nl_connect(netdev->requests, NETLINK_ROUTE);
    if (!error) {
        error = open_events(netdev);
    }
    if (error) {
        error = fail(ret_error, error, "cannot open rtnetlink");
        nl_socket_free(netdev->requests);
        nl_socket_free(netdev->events);
        free(netdev);
        return error;
    }
    uv_poll_init(loop, &netdev->poll, nl_socket_get_fd(netdev->events));
    netdev->poll.data = netdev;
    uv_poll_start(&netdev->poll, UV_READABLE, events_ready);
    read_uplinks(netdev, false);
    *ret_netdev = netdev;
    return 0;
}

static void
poll_closed(uv_handle_t *handle)
{
    struct host_netdev *netdev = handle->data;

    nl_socket_free(netdev->requests);
    nl_socket_free(netdev->events);
    free(netdev);
}

void
host_netdev_close(struct host_netdev *netdev)
{
    if (netdev) {
        uv_close((uv_handle_t *) &netdev->poll, poll_closed);
    }
}

size_t
host_netdev_n_uplinks(const struct host_netdev *netdev)
{
    return netdev->n_uplinks;
}

const struct netdev_uplink *
host_netdev_uplink(const struct host_netdev *netdev, size_t i)
{
    return &netdev->uplinks[i];
}

/* The SAL device's addresses. */

static bool
is_wanted(struct rtnl_addr *addr, const struct in6_addr *wanted)
{
    struct in6_addr local = in6_of(rtnl_addr_get_local(addr));

    return ipv6_addr_equals(&local, wanted)
           && (rtnl_addr_get_prefixlen(addr)
               == (IN6_IS_ADDR_V4MAPPED(wanted) ? 32 : 128));
}

static void
find_address(struct rtnl_addr *addr, struct address_walk *walk)
{
    walk->found |= is_wanted(addr, &walk->address);
}

static int
add_address(struct nl_sock *sock, int ifindex, const struct in6_addr *address)
{
    struct address_walk walk = {.ifindex = ifindex,
                                .each = find_address,
                                .sock = sock,
                                .address = *address};
    int error = walk_addresses(&walk);

    if (error || walk.found) {
        return error;
    }
    struct rtnl_addr *addr = rtnl_addr_alloc();
    bool v4 = IN6_IS_ADDR_V4MAPPED(address);
    struct nl_addr *local = new_addr(address, v4 ? 32 : 128);
    rtnl_addr_set_ifindex(addr, ifindex);
    if (!v4) {
        rtnl_addr_set_flags(addr, IFA_F_NODAD); /* Nobody else is there. */
    }
    error = rtnl_addr_set_local(addr, local);
    if (!error) {
        error = rtnl_addr_add(sock, addr, NLM_F_EXCL);
    }
    nl_addr_put(local);
    rtnl_addr_put(addr);
    return error == -NLE_EXIST ? 0 : error;
}

static bool route_is_v6(const struct netdev_route *);

/* A host may have IPv6 switched off, and a device whose MTU is below 1280 has
 * none: then there is IPv4 only. */
static void
without_ipv6(struct netdev_desired *desired)
{
    size_t n = 0;

    for (size_t i = 0; i < desired->n_routes; i++) {
        if (!route_is_v6(&desired->routes[i])) {
            desired->routes[n++] = desired->routes[i];
        }
    }
    desired->n_routes = n;
    desired->address_v6 = in6addr_any;
}

static int
add_addresses(struct nl_sock *sock, struct netdev_desired *desired)
{
    struct in6_addr v4 = mapped(desired->address);
    int error = desired->address ? add_address(sock, desired->ifindex, &v4)
                                 : 0;

    if (!error && !IN6_IS_ADDR_UNSPECIFIED(&desired->address_v6)) {
        int no_v6 = add_address(sock, desired->ifindex, &desired->address_v6);
        if (no_v6) {
            static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 1);
            VLOG_WARN_RL(&rl, "no IPv6 inside: the kernel refuses the "
                         "identity address: %s", nl_geterror(no_v6));
            without_ipv6(desired);
        }
    }
    return error;
}

static void
remove_other_address(struct rtnl_addr *addr, struct address_walk *walk)
{
    if (!is_wanted(addr, &walk->address)
        && !is_wanted(addr, &walk->address_v6)) {
        int error = rtnl_addr_delete(walk->sock, addr, 0);
        walk->error = walk->error ? walk->error : error;
    }
}

static int
remove_other_addresses(struct nl_sock *sock,
                       const struct netdev_desired *desired)
{
    struct address_walk walk = {.ifindex = desired->ifindex,
                                .each = remove_other_address,
                                .sock = sock,
                                .address = mapped(desired->address),
                                .address_v6 = desired->address_v6};
    int error = walk_addresses(&walk);
    return error ? error : walk.error;
}

/* The SAL device's routes. */

static bool
route_is_v6(const struct netdev_route *route)
{
    return !IN6_IS_ADDR_UNSPECIFIED(&route->address_v6);
}

static struct in6_addr
route_destination(const struct netdev_route *route)
{
    return route_is_v6(route) ? route->address_v6 : mapped(route->address);
}

static struct in6_addr
route_source(const struct netdev_desired *desired,
             const struct netdev_route *route)
{
    return route_is_v6(route) ? desired->address_v6 : mapped(desired->address);
}

static struct rtnl_route *
new_route(const struct netdev_desired *desired,
          const struct netdev_route *wanted)
{
    struct rtnl_route *route = rtnl_route_alloc();
    struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
    bool v6 = route_is_v6(wanted);
    struct in6_addr to = route_destination(wanted);
    struct in6_addr from = route_source(desired, wanted);
    struct nl_addr *dst = new_addr(&to, wanted->len);
    struct nl_addr *src = new_addr(&from, v6 ? 128 : 32);

    rtnl_route_set_family(route, v6 ? AF_INET6 : AF_INET);
    rtnl_route_set_table(route, RT_TABLE_MAIN);
    rtnl_route_set_protocol(route, ROUTE_PROTOCOL);
    rtnl_route_set_scope(route, v6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK);
    rtnl_route_set_dst(route, dst);
    rtnl_route_set_pref_src(route, src);
    rtnl_route_nh_set_ifindex(hop, desired->ifindex);
    rtnl_route_add_nexthop(route, hop);
    nl_addr_put(dst);
    nl_addr_put(src);
    return route;
}

struct route_walk {
    struct nl_sock *sock;
    const struct netdev_desired *desired;
    bool present[HOST_NETDEV_MAX_ROUTES];
    int error;
};

/* Index of the wanted route that 'route' is, or n_routes. */
static size_t
wanted_route(struct rtnl_route *route, const struct netdev_desired *desired)
{
    struct nl_addr *dst = rtnl_route_get_dst(route);
    struct in6_addr to = in6_of(dst);
    struct in6_addr from = in6_of(rtnl_route_get_pref_src(route));
    size_t i;

    for (i = 0; i < desired->n_routes; i++) {
        const struct netdev_route *wanted = &desired->routes[i];
        struct in6_addr wanted_to = route_destination(wanted);
        struct in6_addr wanted_from = route_source(desired, wanted);
        if (ipv6_addr_equals(&to, &wanted_to)
            && nl_addr_get_prefixlen(dst) == wanted->len
            && ipv6_addr_equals(&from, &wanted_from)) {
            break;
        }
    }
    return i;
}

static void
walk_route(struct nl_object *object, void *walk_)
{
    struct route_walk *walk = walk_;
    struct rtnl_route *route = (struct rtnl_route *) object;

    if (rtnl_route_get_protocol(route) != ROUTE_PROTOCOL
        || rtnl_route_get_table(route) != RT_TABLE_MAIN
        || rtnl_route_get_nnexthops(route) != 1
        || (rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, 0))
            != walk->desired->ifindex)) {
        return;
    }
    size_t i = wanted_route(route, walk->desired);
    if (i < walk->desired->n_routes) {
        walk->present[i] = true;
    } else {
        int error = rtnl_route_delete(walk->sock, route, 0);
        walk->error = walk->error ? walk->error : error;
    }
}

static int
apply_routes(struct nl_sock *sock, const struct netdev_desired *desired)
{
    struct route_walk walk = {.sock = sock, .desired = desired};
    static const int families[] = {AF_INET, AF_INET6};
    int error;

    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        struct nl_cache *cache;
        error = rtnl_route_alloc_cache(sock, families[i], 0, &cache);
        if (error) {
            return error;
        }
        nl_cache_foreach(cache, walk_route, &walk);
        nl_cache_free(cache);
    }
    error = walk.error;
    for (size_t i = 0; i < desired->n_routes; i++) {
        if (!walk.present[i]) {
            struct rtnl_route *route
                = new_route(desired, &desired->routes[i]);
            int error2 = rtnl_route_add(sock, route,
                                        NLM_F_CREATE | NLM_F_REPLACE);
            error = error ? error : error2;
            rtnl_route_put(route);
        }
    }
    return error;
}

/* The kernel drops packets to and from 127.0.0.0/8 on other interfaces than
 * lo unless told otherwise. */
static void
apply_route_localnet(const struct netdev_desired *desired)
{
    char device[IFNAMSIZ], wanted = desired->route_localnet ? '1' : '0';

    if (!if_indextoname(desired->ifindex, device)) {
        return;
    }
    char *path
        = xasprintf("/proc/sys/net/ipv4/conf/%s/route_localnet", device);
    FILE *file = fopen(path, "r+e");
    if (file) {
        if (getc(file) != wanted) {
            rewind(file);
            putc(wanted, file);
        }
        if (fclose(file)) {
            VLOG_WARN("%s: %s", path, ovs_strerror(errno));
        }
    } else if (desired->route_localnet) {
        VLOG_WARN("%s: %s; targets on 127.0.0.0/8 cannot be reached", path,
                  ovs_strerror(errno));
    }
    free(path);
}

int
host_netdev_apply(struct host_netdev *netdev,
                  const struct netdev_desired *wanted, char **ret_error)
{
    struct netdev_desired possible = *wanted, *desired = &possible;
    struct nl_sock *sock = netdev->requests;
    int error;

    /* Routes name the address as their source, so it comes first and goes
     * last. */
    if ((error = add_addresses(sock, desired))) {
        return fail(ret_error, error, "cannot set the identity address");
    }
    if ((error = apply_routes(sock, desired))) {
        return fail(ret_error, error, "cannot set the routes of the pools");
    }
    if ((error = remove_other_addresses(sock, desired))) {
        return fail(ret_error, error, "cannot remove an old address");
    }
    apply_route_localnet(desired);
    return 0;
}

static void
forget_neighbor(struct nl_object *object, void *netdev_)
{
    struct host_netdev *netdev = netdev_;
    struct rtnl_neigh *neighbor = (struct rtnl_neigh *) object;

    if (rtnl_neigh_get_state(neighbor) & (NUD_INCOMPLETE | NUD_FAILED)) {
        rtnl_neigh_delete(netdev->requests, neighbor, 0);
    }
}

void
host_netdev_forget_neighbors(struct host_netdev *netdev, int ifindex)
{
    struct nl_cache *cache;
    struct rtnl_neigh *wanted = rtnl_neigh_alloc();

    rtnl_neigh_set_ifindex(wanted, ifindex);
    if (!rtnl_neigh_alloc_cache(netdev->requests, &cache)) {
        nl_cache_foreach_filter(cache, (struct nl_object *) wanted,
                                forget_neighbor, netdev);
        nl_cache_free(cache);
    }
    rtnl_neigh_put(wanted);
}
