/* SPDX-License-Identifier: Apache-2.0 */
/* Finds links and hosts: sends link probes (LLDP) out of every port that is
 * up, takes the link probes and host PROBEs that switches hand in, and answers
 * SYNs that nobody serves with RESET.
 *
 * A port that has no link yet is probed in quick succession at first, then
 * every 'link_probe_interval_ms'.  A port over which a verified probe arrives
 * answers at once, so both halves of a link are known one round trip after
 * the first.
 *
 * A link probe also measures the link's latency: the time from packet-out to
 * packet-in, less half of what a probe to each of the two switches and
 * straight back takes.  The least of some measurements counts (the rest is
 * waiting, in us or in a switch), in coarse steps, and is replaced only after
 * several in a row that differ clearly: routes follow latency and must not
 * follow noise.
 *
 * Two endpoints that claim one locator: the one that is there stays, as long
 * as it answers.  It is asked for a PROBE; if none has come when the other one
 * claims the locator again, DISCOVERY_DISPUTE_MS later or more, that takes its
 * place (a host that was installed anew has a new key).  At the same port and
 * with the same MAC address it does so at once.
 *
 * An endpoint whose PROBEs have not come for half of its time is asked for
 * one, ten times before it is forgotten.
 *
 * Plain hosts (without an agent) are learnt from what they send.  Their first
 * packet finds no rule, so it comes here; it is not sent on, the next one is.
 * They are asked (ARP, ND) before they are forgotten, and when they seem to
 * have moved: as above, one that answers stays where it is.
 *
 * Everything in a packet-in is hostile until its MAC says otherwise.
 *
 * Pure: what is to be sent goes out through 'send', 'now' is passed in.  One
 * thread; the topology stays the caller's. */
#ifndef CONTROLLER_DISCOVERY_H
#define CONTROLLER_DISCOVERY_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/packet.h"
#include "controller/topology.h"

#define DISCOVERY_DISPUTE_MS 1000
#define DISCOVERY_PLAIN_PORT 16

struct discovery;

struct discovery_config {
    uint8_t link_key[PACKET_LINK_KEY_LEN]; /* Random, of this controller. */
    uint16_t sal_port;
    uint32_t link_probe_interval_ms;
    uint32_t link_timeout_ms;  /* A half-link without a probe lapses. */
    uint32_t host_timeout_ms;  /* An attachment without a PROBE lapses. */
    uint32_t reset_pps;        /* RESETs a second, all switches together;
                                * shared as fair_limit.h has it. */
    uint32_t plain_timeout_ms; /* A plain host that is silent lapses; it is
                                * asked from half of it on.  0: there are none
                                * to be learnt. */
    uint32_t plain_max;        /* So many, and no more; behind one port, a
                                * quarter, or DISCOVERY_PLAIN_PORT. */
    struct eth_addr mac;       /* Ours, to ask plain hosts. */
    /* Addresses that are ours, and so nobody else's: the resolver's, and the
     * inner ones. */
    bool (*is_reserved)(const struct in6_addr *, const void *aux);
    const void *reserved_aux;
};

struct discovery_ops {
    /* Microseconds, of the same clock as 'now'; NULL: 'now' is as good as it
     * gets, and latencies are not measured. */
    long long (*now_us)(void *aux);
    /* Sends a frame out of 'port' of switch 'dpid'; from outside ('in_port'
     * 0) or as an answer to where 'in_port' says. */
    void (*send)(uint64_t dpid, uint32_t in_port, uint32_t port,
                 const void *frame, size_t len, void *aux);
    /* The key and session number of an endpoint whose session is up; NULL if
     * there is none. */
    const uint8_t *(*session_key)(const struct endpoint_id *,
                                  uint64_t *ret_session, void *aux);
    /* Please send a PROBE: to an endpoint, if it can be asked. */
    void (*ask)(const struct endpoint_id *, void *aux);
    /* A verified PROBE was taken; 'appeared': the attachment is new or has
     * moved. */
    void (*attached)(const struct topology_probe *, bool appeared, void *aux);
    /* Sends on a SYN that missed, as the rules would that are on their way or
     * did not fit.  False if nobody serves it. */
    bool (*forward)(const struct topology_end *at, const void *frame,
                    size_t len, void *aux);
    /* True if a SYN that missed, and cannot be forwarded, is better left to
     * its sender's next try. */
    bool (*resolves_soon)(const struct topology_end *at,
                          const struct sal_service_header *, void *aux);
};

/* Counters, for dumps. */
struct discovery_stats {
    uint64_t link_probes_sent, link_probes_seen, link_probes_late,
        link_probes_forged;
    uint64_t host_probes_seen, host_probes_unknown, host_probes_forged,
        host_probes_stale, host_probes_refused, hosts_superseded, hosts_asked;
    uint64_t resets_sent, resets_limited, left_to_retry, forwarded;
    uint64_t unrecognised;
    uint64_t latencies_changed;
    uint64_t plain_seen, plain_refused, plain_asked;
    size_t plain_hosts;        /* There are now. */
};

struct discovery *discovery_create(const struct discovery_config *,
                                   const struct discovery_ops *, void *aux,
                                   struct topology *);
void discovery_destroy(struct discovery *);
/* Other timers and limits; key and port stay. */
void discovery_configure(struct discovery *, const struct discovery_config *);

/* A port is there; 'up' starts its probing, anew if it was up already. */
void discovery_port(struct discovery *, uint64_t dpid, uint32_t port, bool up,
                    long long now);
void discovery_port_gone(struct discovery *, uint64_t dpid, uint32_t port);
void discovery_switch_gone(struct discovery *, uint64_t dpid);
/* The switch has confirmed rules: from now on it hands in what it receives, so
 * probes that were lost before are worth repeating. */
void discovery_switch_ready(struct discovery *, uint64_t dpid,
                            long long now);

/* The switch is busy or out of reach, so its silence says nothing about its
 * links: those it has are taken as seen.  (A port that goes down is heard of
 * from its other end.) */
void discovery_keep_links(struct discovery *, uint64_t dpid, long long now);

/* A packet of a host that the switch does not know, or a plain host's
 * answer. */
void discovery_learn(struct discovery *, const struct topology_end *at,
                     const void *frame, size_t len, long long now);
/* A plain host may be there (a switch's rule says so): asks it. */
void discovery_ask_plain(struct discovery *, const struct topology_end *at,
                         const struct eth_addr *mac,
                         const struct in6_addr *address);

/* A packet that a switch handed in. */
void discovery_packet_in(struct discovery *, const struct topology_end *at,
                         const void *frame, size_t len, long long now);

/* Sends the probes that are due. */
void discovery_run(struct discovery *, long long now);
long long discovery_wakeup(const struct discovery *);

const struct discovery_stats *discovery_stats(const struct discovery *);

#endif /* discovery.h */
