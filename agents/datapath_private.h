/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the data plane's user-space half; see datapath.h for the outside.
 *
 *     datapath.c         load, pin, take over, remove
 *     datapath_device.c  sal0, uplinks, their addresses (netlink)
 *     datapath_ethtool.c device features
 *     datapath_attach.c  hooks: tcx, or clsact; sockops
 *     datapath_uplink.c  which interfaces carry SAL
 *     datapath_tables.c  host tables <-> maps
 *     datapath_flows.c   single flows: news, look, move
 *     datapath_wake.c    their TCP, after a move
 *     datapath_cursor.c  all flows, a batch at a time
 *     datapath_held.c    packets that the daemon holds
 *     datapath_rules.c   the service table, for people and programs
 *     datapath_dump.c    state for people and for programs */
#ifndef SALIENT_DATAPATH_PRIVATE_H
#define SALIENT_DATAPATH_PRIVATE_H 1

#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <string.h>
#include "agents/bpf/sal_maps.h"
#include "agents/datapath.h"

struct sal_bpf;
struct ring_buffer;
struct take;
struct datapath_unknown_flow;
struct bpf_program;

#define DATAPATH_MAX_UPLINKS 16

/* What the outer headers of a DATA packet take. */
#define DATAPATH_OVERHEAD_V4 (20 + 8 + SAL_DATA_HEADER_LEN)
#define DATAPATH_OVERHEAD_V6 (40 + 8 + SAL_DATA_HEADER_LEN)

struct datapath_uplink {
    int ifindex;
    bool tcx; /* Else clsact. */
    bool xdp; /* Native XDP strips headers before tc. */
    uint32_t weight; /* Share of new flows. */
    bool nat;
};

struct datapath {
    struct sal_bpf *skeleton;
    char *pin_path; /* NULL: nothing is pinned (tests). */
    char *device;
    int sal_ifindex; /* 0 while there is no device. */
    bool egress_tcx;
    int sockops_link; /* -1: none. */
    enum datapath_ingress ingress;
    struct datapath_uplink uplinks[DATAPATH_MAX_UPLINKS];
    size_t n_uplinks;
    struct ring_buffer *events; /* NULL until somebody wants them. */
    struct take *take;          /* Who does, during a call. */
    void (*unknown)(const struct datapath_unknown_flow *, void *aux);
    void *unknown_aux;
    uint64_t events_lost;       /* As of the last call. */
    struct ring_buffer *held;   /* NULL until somebody takes from it. */
    void (*held_take)(const struct sal_held *, void *frame, void *aux);
    void *held_aux;             /* Both during a call. */
};

/* Loads programs and maps, takes over pinned maps; attaches nothing.
 * 'pin_path' NULL: nothing outlives the process. */
int datapath_load(const char *pin_path, uint32_t max_flows,
                  struct datapath **, char **ret_error);
/* What somebody else loaded, to look at its maps or to remove it: no program,
 * which the verifier would have to read first. */
int datapath_peek(const char *pin_path, struct datapath **, char **ret_error);

/* File descriptors of a map by its name, -1 if there is none. */
int datapath_map(const struct datapath *, const char *name);
int datapath_get_settings(const struct datapath *, struct sal_settings *);
int datapath_put_settings(const struct datapath *,
                          const struct sal_settings *);

/* Stores a malloced sentence unless 'ret_error' is NULL or has one; returns
 * 'error'. */
int datapath_error(char **ret_error, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* datapath_device.c. */
struct device_info {
    int ifindex;
    bool ethernet;
    uint32_t mtu;
    uint8_t mac[6];
    char name[IF_NAMESIZE];
    char kind[16]; /* "veth", "" if it is no virtual device. */
    struct device_address {
        struct in6_addr address; /* IPv4-mapped or not. */
        bool usable; /* As a source: not tentative, not deprecated. */
    } addresses[16]; /* Those of global scope. */
    size_t n_addresses;
};
int device_query(int ifindex, struct device_info *);
/* The address that new flows are to have as their locator, or NULL. */
const struct in6_addr *device_locator(const struct device_info *, bool v6);
/* Makes the ifb device or finds it; brings it up. */
int device_create(const char *name, struct device_info *, char **ret_error);
int device_delete(int ifindex);
int device_set_mtu(int ifindex, uint32_t mtu);
/* datapath_ethtool.c: 'feature' as "ethtool -k" calls it. */
int device_feature_off(const char *device, const char *feature);

/* datapath_uplink.c. */
/* Makes the settings, and sal0's MTU, follow the uplinks. */
int uplinks_refresh(struct datapath *);
void uplinks_detach_all(struct datapath *);

/* datapath_attach.c.  'what' names the pin. */
struct hook {
    const char *what; /* "egress", "ingress". */
    int ifindex;
    bool ingress;
};
int hook_attach(const struct datapath *, const struct hook *, int prog_fd,
                bool *ret_tcx, char **ret_error);
void hook_detach(const struct datapath *, const struct hook *);
/* Native XDP only. */
int xdp_attach(const struct datapath *, int ifindex, int prog_fd);
void xdp_detach(const struct datapath *, int ifindex);
/* Removes pins of hooks whose device is gone. */
void hook_sweep(const struct datapath *);
int sockops_attach(struct datapath *, int prog_fd, char **ret_error);
void sockops_detach(struct datapath *);

/* datapath_flows.c: has its TCP sent what is not acknowledged yet? */
bool flow_waits(const struct sal_flow *);

static inline void
addr_from_host_v4(struct sal_addr *addr, uint32_t v4)
{
    *addr = (struct sal_addr) {
        {0, 0, htonl(SAL_ADDR_MAPPED), htonl(v4)}};
}

/* 0 for an address that is all zero. */
static inline uint32_t
addr_to_host_v4(const struct sal_addr *addr)
{
    return ntohl(addr->w[3]);
}

/* The same bytes: both are IPv6, or IPv4-mapped. */
static inline void
addr_from_in6(struct sal_addr *addr, const struct in6_addr *in6)
{
    memcpy(addr, in6, sizeof *addr);
}

static inline struct in6_addr
addr_to_in6(const struct sal_addr *addr)
{
    struct in6_addr in6;
    memcpy(&in6, addr, sizeof in6);
    return in6;
}

#endif /* datapath_private.h */
