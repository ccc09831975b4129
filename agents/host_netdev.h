/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's interfaces, addresses and routes (rtnetlink, by libnl).
 *
 * Watches the uplinks, and keeps on the SAL device exactly the address and
 * the routes that it is told: reads what is there, adds what is missing,
 * removes what is too much.  It touches nothing else.  One thread: the
 * loop's. */
#ifndef SALIENT_HOST_NETDEV_H
#define SALIENT_HOST_NETDEV_H 1

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct host_netdev;

struct netdev_uplink {
    char name[IFNAMSIZ];
    int ifindex;      /* 0: there is no such interface. */
    bool up;          /* Administratively, and the carrier is there. */
    uint32_t address; /* First IPv4 address, host byte order; 0 = none. */
    struct in6_addr address_v6; /* First lasting one of global scope, after
                                 * duplicate address detection, that is not
                                 * deprecated; all zero = none. */
    uint32_t mtu;
};

#define HOST_NETDEV_MAX_ROUTES 6

struct netdev_route {
    uint32_t address; /* Host byte order. */
    uint8_t len;
    struct in6_addr address_v6; /* Instead, unless all zero. */
};

/* What the SAL device is to have. */
struct netdev_desired {
    int ifindex;
    uint32_t address; /* With /32; also the routes' preferred source. */
    struct in6_addr address_v6; /* With /128; all zero: no IPv6. */
    struct netdev_route routes[HOST_NETDEV_MAX_ROUTES];
    size_t n_routes;
    bool route_localnet; /* Local targets on 127.0.0.0/8 are to be reached. */
};

/* Called from the loop when an uplink is not what it was. */
typedef void host_netdev_changed_cb(const struct netdev_uplink *was,
                                    const struct netdev_uplink *is,
                                    void *aux);

/* 'names' are the uplinks'; they need not exist yet.  Negative errno with
 * '*ret_error' (malloced). */
int host_netdev_open(uv_loop_t *, char *const names[], size_t n,
                     host_netdev_changed_cb *, void *aux,
                     struct host_netdev **ret_netdev, char **ret_error);
/* Changes nothing in the kernel. */
void host_netdev_close(struct host_netdev *);

size_t host_netdev_n_uplinks(const struct host_netdev *);
const struct netdev_uplink *host_netdev_uplink(const struct host_netdev *,
                                               size_t i);

/* Makes it so.  Idempotent; on failure what could be done is.  Without IPv6
 * if the kernel does not let the device have it. */
int host_netdev_apply(struct host_netdev *, const struct netdev_desired *,
                      char **ret_error);

/* Has 'changed' called from the loop when routes by an uplink changed. */
void host_netdev_watch_routes(struct host_netdev *,
                              void (*changed)(void *aux), void *aux);

/* Forgets the neighbors on the interface that do not answer, so that the next
 * packet to one asks at once. */
void host_netdev_forget_neighbors(struct host_netdev *, int ifindex);

#endif /* host_netdev.h */
