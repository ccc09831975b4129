/* SPDX-License-Identifier: Apache-2.0 */
/* sal0 and the uplinks, by rtnetlink. */
#include "agents/datapath_private.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(datapath_device);

/* A GSO packet with the outer headers on must not exceed the 16-bit length of
 * IP: segments are cut only after encapsulation. */
#define SAL_GSO_MAX_SIZE 65000

static int
route_socket(struct nl_sock **ret_sock)
{
    struct nl_sock *sock = nl_socket_alloc();
    int error = sock ? nl_connect(sock, NETLINK_ROUTE) : -NLE_NOMEM;
    if (error) {
        nl_socket_free(sock);
        return -ENOTSUP;
    }
    *ret_sock = sock;
    return 0;
}

/* libnl has error numbers of its own. */
static int
errno_from_nl(int error)
{
    switch (-error) {
    case 0:
        return 0;
    case NLE_PERM:
        return -EPERM;
    case NLE_EXIST:
        return -EEXIST;
    case NLE_NODEV:
    case NLE_OBJ_NOTFOUND:
        return -ENODEV;
    case NLE_NOMEM:
        return -ENOMEM;
    case NLE_OPNOTSUPP:
        return -EOPNOTSUPP;
    default:
        return -EIO;
    }
}

static int
link_info(struct nl_sock *sock, int ifindex, const char *name,
          struct device_info *info)
{
    struct rtnl_link *link;
    int error = rtnl_link_get_kernel(sock, ifindex, name, &link);
    if (error) {
        return errno_from_nl(error);
    }
    memset(info, 0, sizeof *info);
    info->ifindex = rtnl_link_get_ifindex(link);
    info->ethernet = rtnl_link_get_arptype(link) == ARPHRD_ETHER;
    info->mtu = rtnl_link_get_mtu(link);
    ovs_strlcpy(info->name, rtnl_link_get_name(link), sizeof info->name);
    const char *kind = rtnl_link_get_type(link);
    ovs_strlcpy(info->kind, kind ? kind : "", sizeof info->kind);
    struct nl_addr *mac = rtnl_link_get_addr(link);
    if (mac && nl_addr_get_len(mac) == sizeof info->mac) {
        memcpy(info->mac, nl_addr_get_binary_addr(mac), sizeof info->mac);
    }
    rtnl_link_put(link);
    return 0;
}

static void
add_address(struct nl_object *object, void *info_)
{
    struct device_info *info = info_;
    struct rtnl_addr *addr = (struct rtnl_addr *) object;
    struct nl_addr *local = rtnl_addr_get_local(addr);
    if (rtnl_addr_get_ifindex(addr) != info->ifindex || !local
        || info->n_addresses >= ARRAY_SIZE(info->addresses)) {
        return;
    }
    struct device_address *a = &info->addresses[info->n_addresses];
    memset(a, 0, sizeof *a);
    if (nl_addr_get_family(local) == AF_INET) {
        a->address.s6_addr[10] = a->address.s6_addr[11] = 0xff;
        memcpy(&a->address.s6_addr[12], nl_addr_get_binary_addr(local), 4);
        a->usable = true;
    } else if (nl_addr_get_family(local) == AF_INET6
               && rtnl_addr_get_scope(addr) == RT_SCOPE_UNIVERSE) {
        /* Duplicate address detection may not be through; a temporary
         * address (RFC 8981) is no locator that anybody should remember. */
        memcpy(&a->address, nl_addr_get_binary_addr(local),
               sizeof a->address);
        a->usable = !(rtnl_addr_get_flags(addr)
                      & (IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED
                         | IFA_F_TEMPORARY));
    } else {
        return;
    }
    info->n_addresses++;
}

const struct in6_addr *
device_locator(const struct device_info *info, bool v6)
{
    for (size_t i = 0; i < info->n_addresses; i++) {
        const struct device_address *a = &info->addresses[i];
        if (a->usable && IN6_IS_ADDR_V4MAPPED(&a->address) != v6) {
            return &a->address;
        }
    }
    return NULL;
}

int
device_query(int ifindex, struct device_info *info)
{
    struct nl_sock *sock;
    struct nl_cache *cache;
    int error = route_socket(&sock);
    if (error) {
        return error;
    }
    error = link_info(sock, ifindex, NULL, info);
    if (!error) {
        error = errno_from_nl(rtnl_addr_alloc_cache(sock, &cache));
        if (!error) {
            nl_cache_foreach(cache, add_address, info);
            nl_cache_free(cache);
        }
    }
    nl_socket_free(sock);
    return error;
}

/* Sends RTM_NEWLINK with one 32-bit attribute, for which libnl has no call. */
static int
link_set_u32(struct nl_sock *sock, int ifindex, int attribute, uint32_t value)
{
    struct ifinfomsg header = {.ifi_index = ifindex};
    struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWLINK, 0);
    int error = -NLE_NOMEM;
    if (msg && !nlmsg_append(msg, &header, sizeof header, NLMSG_ALIGNTO)
        && !nla_put_u32(msg, attribute, value)) {
        return errno_from_nl(nl_send_sync(sock, msg)); /* Frees 'msg'. */
    }
    nlmsg_free(msg);
    return errno_from_nl(error);
}

static void
put_ipv6(const char *name, const char *setting, const char *value)
{
    char *path = xasprintf("/proc/sys/net/ipv6/conf/%s/%s", name, setting);
    FILE *file = fopen(path, "we");
    if (file) {
        fputs(value, file);
        fclose(file);
    }
    free(path);
}

/* No router solicitations and the like from sal0, but IPv6, whatever the
 * default for new devices is.  Fails harmlessly where there is no IPv6 or
 * /proc is read-only. */
static void
quiet_ipv6(const char *name)
{
    put_ipv6(name, "addr_gen_mode", "1");
    put_ipv6(name, "disable_ipv6", "0");
}

static int
link_add(struct nl_sock *sock, const char *name)
{
    struct rtnl_link *link = rtnl_link_alloc();
    rtnl_link_set_name(link, name);
    int error = rtnl_link_set_type(link, "ifb");
    if (!error) {
        error = rtnl_link_add(sock, link, NLM_F_CREATE | NLM_F_EXCL);
    }
    rtnl_link_put(link);
    return errno_from_nl(error);
}

static int
link_up(struct nl_sock *sock, int ifindex)
{
    struct rtnl_link *old = rtnl_link_alloc(), *new = rtnl_link_alloc();
    rtnl_link_set_ifindex(old, ifindex);
    rtnl_link_set_ifindex(new, ifindex);
    rtnl_link_set_flags(new, IFF_NOARP | IFF_UP);
    int error = rtnl_link_change(sock, old, new, 0);
    rtnl_link_put(old);
    rtnl_link_put(new);
    return errno_from_nl(error);
}

int
device_create(const char *name, struct device_info *info, char **ret_error)
{
    struct nl_sock *sock;
    int error = route_socket(&sock);
    if (error) {
        return datapath_error(ret_error, error, "cannot open rtnetlink");
    }
    error = link_info(sock, 0, name, info);
    if (error == -ENODEV) {
        error = link_add(sock, name);
        if (!error) {
            error = link_info(sock, 0, name, info);
        }
        quiet_ipv6(name);
    }
    if (!error) {
        error = link_up(sock, info->ifindex);
    }
    if (!error) {
        error = link_set_u32(sock, info->ifindex, IFLA_GSO_MAX_SIZE,
                             SAL_GSO_MAX_SIZE);
    }
    nl_socket_free(sock);
    switch (-error) {
    case 0:
        return 0;
    case EPERM:
        return datapath_error(ret_error, error,
                              "cannot create %s: CAP_NET_ADMIN is missing",
                              name);
    case EOPNOTSUPP:
        return datapath_error(ret_error, error,
                              "cannot create %s: the kernel has no ifb "
                              "devices; it needs CONFIG_IFB (\"modprobe "
                              "ifb numifbs=0\")", name);
    default:
        return datapath_error(ret_error, error, "cannot create %s: %s", name,
                              strerror(-error));
    }
}

int
device_delete(int ifindex)
{
    struct nl_sock *sock;
    int error = route_socket(&sock);
    if (error) {
        return error;
    }
    struct rtnl_link *link = rtnl_link_alloc();
    rtnl_link_set_ifindex(link, ifindex);
    error = errno_from_nl(rtnl_link_delete(sock, link));
    rtnl_link_put(link);
    nl_socket_free(sock);
    return error;
}

int
device_set_mtu(int ifindex, uint32_t mtu)
{
    struct nl_sock *sock;
    int error = route_socket(&sock);
    if (!error) {
        error = link_set_u32(sock, ifindex, IFLA_MTU, mtu);
        nl_socket_free(sock);
    }
    return error;
}
