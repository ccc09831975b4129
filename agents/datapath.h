/* SPDX-License-Identifier: Apache-2.0 */
/* The host's eBPF data plane, seen from the daemon: loads and pins programs
 * and maps, makes sal0, attaches to uplinks, applies host tables, dumps flows
 * and counters.  It decides nothing.
 *
 * Programs and maps are pinned below 'pin_path', so that they outlive the
 * daemon; datapath_open() takes over what a predecessor left if its layout is
 * the same, and replaces it otherwise.  One thread. */
#ifndef SALIENT_DATAPATH_H
#define SALIENT_DATAPATH_H 1

#include <stdbool.h>
#include <stdint.h>
#include "agents/host_tables.h"
#include "openvswitch/dynamic-string.h"

struct datapath;

/* How uplinks receive.  AUTO: native XDP, except on veth, where tc keeps whole
 * GSO packets whole; tc where the device has no native XDP. */
enum datapath_ingress {
    DATAPATH_INGRESS_AUTO,
    DATAPATH_INGRESS_TC,
    DATAPATH_INGRESS_XDP,
};

struct datapath_config {
    const char *pin_path; /* Below a bpf file system: "/sys/fs/bpf/salient". */
    const char *device;   /* "sal0". */
    uint32_t max_flows;
    enum datapath_ingress ingress;
};

/* Probes the kernel, loads, pins, creates the device.  Negative errno and
 * '*ret_error' (malloced; names the missing feature or capability and the
 * remedy). */
int datapath_open(const struct datapath_config *, struct datapath **,
                  char **ret_error);
/* Leaves everything running. */
void datapath_close(struct datapath *);
/* Detaches, unpins, deletes the device: nothing is left. */
void datapath_remove(struct datapath *);

int datapath_sal_ifindex(const struct datapath *);

/* Ingress on an uplink; the uplink that new flows leave by is the first
 * attached one.  Idempotent. */
int datapath_attach(struct datapath *, int ifindex, char **ret_error);
int datapath_detach(struct datapath *, int ifindex);
/* The share of new flows that leaves by an attached uplink is 'weight' (as
 * long as all weights are 0: all by the first one); 'nat': its flows keep
 * their UDP source port, since a NAT is in between. */
int datapath_set_uplink(struct datapath *, int ifindex, uint32_t weight,
                        bool nat);

/* Reads what the maps hold. */
int datapath_installed(struct datapath *, struct host_tables *ret_tables);
/* Applies a diff; on failure what could be applied is. */
int datapath_apply(struct datapath *, const struct host_tables_diff *,
                   char **ret_error);

/* Flows in the table of bound ones: connections that are open. */
uint64_t datapath_n_flows(const struct datapath *);

/* A new key for flow IDs and nonces. */
int datapath_rotate_key(struct datapath *);
/* Of bound flows that we serve; 0: any number. */
int datapath_set_limits(struct datapath *, uint32_t per_client,
                        uint32_t per_service);

/* State dumps for salctl. */
void datapath_format_status(struct datapath *, bool json, struct ds *);
void datapath_format_flows(struct datapath *, bool json, struct ds *);
struct names;
void datapath_format_rules(struct datapath *, const struct names *, bool json,
                           struct ds *);
void datapath_format_counters(struct datapath *, bool json, struct ds *);

#endif /* datapath.h */
