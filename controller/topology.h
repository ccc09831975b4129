/* SPDX-License-Identifier: Apache-2.0 */
/* Switches, their ports, the links between them, and where hosts are.
 *
 * A *link* is two directed halves, each confirmed by link probes (LLDP) that
 * crossed it; it is usable while both halves are fresh and both ports are up.
 * A port at which link probes arrive is no host port.
 *
 * An *attachment* is an endpoint seen at a host port under a locator and a MAC
 * address: a PROBE that the caller has verified (MAC under the session's
 * key).  PROBEs carry sequence numbers, which grow from one to the next of an
 * endpoint whatever the interface; an older one than the last is a replay or a
 * straggler and changes nothing.  A host may have several attachments,
 * one a locator; the same locator at another port is a move.  A port that
 * goes down withdraws what was attached to it at once.
 *
 * A host without Salient is *plain*: learnt from its traffic, attached under
 * an endpoint ID that is made of its MAC address.  What an endpoint proves to
 * be its own, a plain host cannot take, but has to give.
 *
 * Pure: `now` is passed in, milliseconds of any monotonic clock.  One thread;
 * the topology owns the structs it hands out; they are read-only to others
 * and valid until the next call that takes a non-const topology. */
#ifndef CONTROLLER_TOPOLOGY_H
#define CONTROLLER_TOPOLOGY_H 1

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/endpoint_id.h"
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"
#include "openvswitch/types.h"

struct ds;
struct json;

#define TOPOLOGY_PORT_NAME_MAX 31
#define TOPOLOGY_COST_DEFAULT 1

struct topology_port {
    struct hmap_node node;     /* In topology_switch.ports, by 'number'. */
    uint32_t number;           /* OpenFlow port. */
    struct eth_addr mac;
    char name[TOPOLOGY_PORT_NAME_MAX + 1];
    uint32_t speed_mbps;       /* 0 = unknown. */
    bool up;                   /* Administratively and its link. */

    /* Where the link probes that arrive here come from; dpid 0 = none do. */
    uint64_t peer_dpid;
    uint32_t peer_port;
    uint64_t last_dpid;        /* Where they last came from, if no host was
                                * seen here since; may be the same. */
    uint32_t cost;             /* Of sending out here; >= 1. */
    uint32_t latency_us;       /* Of the link, from here; 0 = not known. */
    long long int link_deadline;

    struct ovs_list attachments; /* topology_attachment.port_node. */
};

struct topology_switch {
    struct hmap_node node;     /* In the topology, by 'dpid'. */
    uint64_t dpid;             /* Datapath ID; not 0. */
    bool has_sal;              /* Understands the SAL match fields. */
    bool connected;            /* Its OpenFlow session is open. */
    uint32_t max_meters;       /* 0: none. */
    bool meters_changed;       /* What its meters follow from. */
    struct hmap ports;         /* struct topology_port. */
    uint32_t n_host_ports;     /* That are up; and a hash of which they */
    uint32_t host_port_set;    /* are. */
};

struct topology_attachment {
    struct hmap_node locator_node;  /* In the topology, by 'locator'. */
    struct hmap_node endpoint_node; /* In the topology, by 'endpoint'. */
    struct ovs_list port_node;      /* In topology_port.attachments. */
    struct endpoint_id endpoint;
    struct in6_addr locator;   /* IPv4 as ::ffff:a.b.c.d. */
    struct eth_addr mac;
    uint64_t dpid;
    uint32_t port;
    bool plain;                /* Nobody proved anything. */
    bool nat;                  /* Others may be behind the same locator. */
    uint64_t session;          /* See topology_attach(). */
    uint32_t seq;              /* Grows with each sign of life. */
    long long int deadline;
};

struct topology;

struct topology *topology_create(void);
void topology_destroy(struct topology *);

/* A switch's OpenFlow session is up; says again what it is.  Ports follow by
 * topology_port_set().  Returns true if the switch was unknown. */
bool topology_switch_set(struct topology *, uint64_t dpid, bool has_sal);
/* How many meters it has for us; 0 until somebody says so. */
void topology_switch_set_meters(struct topology *, uint64_t dpid,
                                uint32_t max_meters);
/* Its session is gone.  The data plane of a switch goes on without a
 * controller, so links and attachments stay until they expire or until
 * topology_switch_remove(). */
void topology_switch_disconnected(struct topology *, uint64_t dpid);
void topology_switch_remove(struct topology *, uint64_t dpid);

/* Adds or changes a port.  Down: the link and the attachments there are
 * withdrawn.  -ENOENT for an unknown switch, -EINVAL for a reserved number. */
int topology_port_set(struct topology *, uint64_t dpid, uint32_t port,
                      const struct eth_addr *mac, const char *name,
                      bool up, uint32_t speed_mbps);
void topology_port_remove(struct topology *, uint64_t dpid, uint32_t port);
/* Removes all ports but 'ports': what a switch that reconnects still has. */
void topology_ports_retain(struct topology *, uint64_t dpid,
                           const uint32_t ports[], size_t n);

/* One end of a link. */
struct topology_end {
    uint64_t dpid;
    uint32_t port;
};

/* A link probe sent out of 'from' arrived, verified, at 'to'; it counts until
 * 'deadline'.  -ENOENT if either port is unknown or down, -ELOOP if both ends
 * are one and the same port. */
int topology_link_seen(struct topology *, const struct topology_end *from,
                       const struct topology_end *to, long long int deadline);
/* Configuration: cost of a link as seen from 'from' (>= 1); the port may be
 * yet to come.  -EINVAL for 0. */
int topology_link_set_cost(struct topology *, const struct topology_end *from,
                           uint32_t cost);
/* What was measured; whoever calls sees to it that noise does not.  A change
 * is one of the graph only after topology_watch_latency().  -ENOENT if there
 * is no such port. */
int topology_link_set_latency(struct topology *,
                              const struct topology_end *from,
                              uint32_t latency_us);
void topology_watch_latency(struct topology *);

/* What a verified PROBE said. */
struct topology_probe {
    struct endpoint_id endpoint;
    struct in6_addr locator;
    struct eth_addr mac;
    struct topology_end at;
    bool nat;
    uint64_t session;  /* registry_session_begin(): a later session starts its
                        * sequence numbers anew. */
    uint32_t seq;      /* Serial number arithmetic (RFC 1982). */
};

/* Returns 1 if an attachment appeared or changed, 0 if it was confirmed.
 * -ENOENT: no such port.  -ENETDOWN: it is down.  -EBUSY: it has a link, hosts
 * are not behind it.  -ESTALE: sequence number or session is not new.
 * -EADDRINUSE: a live attachment of another endpoint has this locator. */
int topology_attach(struct topology *, const struct topology_probe *,
                    long long int deadline);
/* Traffic says that a plain host is there; 'endpoint', 'session' and 'seq' of
 * 'seen' are of no importance.  Returns as topology_attach(), also -EADDRINUSE
 * if it is known at another port or with another MAC address, which may be
 * gone or not, and -EPERM if an endpoint has the locator. */
int topology_learn(struct topology *, const struct topology_probe *seen,
                   long long int deadline);
/* From now on the set of ports that hosts may be behind belongs to the
 * graph. */
void topology_watch_host_ports(struct topology *);
/* Withdraws one attachment. */
void topology_detach(struct topology *, const struct in6_addr *locator);
/* Withdraws all of an endpoint and forgets its sequence number (clean stop, or
 * its lease ended). */
void topology_detach_endpoint(struct topology *, const struct endpoint_id *);

/* Expires links and attachments whose deadline is <= 'now'.  Returns the
 * earliest deadline left, LLONG_MAX if none. */
long long int topology_run(struct topology *, long long int now);

/* Lookups: NULL if there is none. */
const struct topology_switch *topology_switch(const struct topology *,
                                              uint64_t dpid);
const struct topology_port *topology_port(const struct topology *,
                                          uint64_t dpid, uint32_t port);
const struct topology_attachment *
topology_attachment(const struct topology *, const struct in6_addr *locator);
/* True if the endpoint is attached somewhere, and not behind a NAT. */
bool topology_is_pinned(const struct topology *, const struct endpoint_id *);
/* The attachment of 'endpoint' that traffic to it should use: IPv4 first, then
 * the lowest locator. */
const struct topology_attachment *
topology_attachment_of(const struct topology *, const struct endpoint_id *);
/* The same among its IPv6 (or else its IPv4) locators. */
const struct topology_attachment *
topology_attachment_by(const struct topology *, const struct endpoint_id *,
                       bool v6);
/* True if a usable link leaves the port; then '*ret_far' is its far end. */
bool topology_port_link(const struct topology *,
                        const struct topology_switch *,
                        const struct topology_port *,
                        struct topology_end *ret_far);
/* True if hosts may be behind the port. */
bool topology_is_host_port(const struct topology_port *);

const struct hmap *topology_switches(const struct topology *);
const struct hmap *topology_attachments(const struct topology *);
#define TOPOLOGY_FOR_EACH_SWITCH(SWITCH, TOPOLOGY)                            \
    HMAP_FOR_EACH (SWITCH, node, topology_switches(TOPOLOGY))
#define TOPOLOGY_FOR_EACH_PORT(PORT, SWITCH)                                  \
    HMAP_FOR_EACH (PORT, node, &(SWITCH)->ports)
#define TOPOLOGY_FOR_EACH_ATTACHMENT(ATTACHMENT, TOPOLOGY)                    \
    HMAP_FOR_EACH (ATTACHMENT, locator_node, topology_attachments(TOPOLOGY))

/* What changed since the changes were last taken. */
struct topology_changes {
    bool graph;                    /* Switches, their kind, usable links,
                                    * whether a switch has host ports. */
    struct topology_change {
        struct endpoint_id endpoint;
        struct in6_addr locator;
        bool attached;             /* Now. */
    } *hosts;                      /* In order of endpoint, locator. */
    size_t n_hosts;
    uint64_t *meters;              /* Switches with other ports, or another
                                    * number of meters. */
    size_t n_meters;
};

/* Hands over the changes; free with topology_changes_destroy(). */
void topology_take_changes(struct topology *, struct topology_changes *);
void topology_changes_destroy(struct topology_changes *);
bool topology_has_changes(const struct topology *);
/* Grows with every change of the graph or of an attachment. */
uint64_t topology_generation(const struct topology *);

/* IPv4 locators, host byte order; 0 if the locator is not IPv4. */
static inline uint32_t
locator_get_v4(const struct in6_addr *locator)
{
    return IN6_IS_ADDR_V4MAPPED(locator) ? ntohl(locator->s6_addr32[3]) : 0;
}

static inline struct in6_addr
locator_from_v4(uint32_t v4)
{
    struct in6_addr locator = {.s6_addr32 = {0, 0, htonl(0xffff), htonl(v4)}};
    return locator;
}

/* For `show topology` and `show hosts`. */
struct json *topology_to_json(const struct topology *);
void topology_format(const struct topology *, struct ds *);

#endif /* topology.h */
