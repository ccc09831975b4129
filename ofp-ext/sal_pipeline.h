/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenFlow pipeline that every Salient switch runs: table numbers,
 * priorities, cookies.  The controller writes it, tests and people read it. */
#ifndef SALIENT_SAL_PIPELINE_H
#define SALIENT_SAL_PIPELINE_H 1

#define SAL_TABLE_ADMIT 0    /* Probes; hosts may only be themselves -> 1. */
#define SAL_TABLE_CLASSIFY 1 /* ARP/ND, SYNs to the resolver -> 10. */
#define SAL_TABLE_ND 5       /* Second half of a neighbour advertisement. */
#define SAL_TABLE_SERVICE 10 /* Service ID -> instance; rewrites, outputs. */
#define SAL_TABLE_FORWARD 20 /* Host routes by locator and path class. */

/* Priorities of SAL_TABLE_ADMIT. */
#define SAL_PRIORITY_LINK_PROBE 60000 /* LLDP among switches -> controller. */
#define SAL_PRIORITY_HOST_PROBE 50000 /* PROBE to the resolver -> controller. */
#define SAL_PRIORITY_ADMIT_ASK 40000  /* Anybody may ask for the resolver. */
#define SAL_PRIORITY_ADMIT_HOST 30000 /* A host's own addresses, its own port. */
#define SAL_PRIORITY_ADMIT_LINK 20000 /* What other switches have admitted. */
#define SAL_PRIORITY_LEARN 10         /* Unknown hosts -> controller. */
#define SAL_PRIORITY_ADMIT_ALL 0      /* Instead of the three, if not checked. */

/* Priorities of SAL_TABLE_CLASSIFY. */
#define SAL_PRIORITY_ARP_PROBE 40001  /* Address conflict detection: drop. */
#define SAL_PRIORITY_ARP 40000        /* ARP and ND, answered here. */
#define SAL_PRIORITY_ND_UNKNOWN 39999 /* Nobody that we know: drop. */
#define SAL_PRIORITY_RESOLVE 30000    /* SYN, RSYN, DATAGRAM -> service. */
#define SAL_PRIORITY_GUARD 20000      /* What else claims the resolver: drop. */
#define SAL_PRIORITY_DEFAULT 0        /* -> forward. */

/* All SYNs are told apart by at least this many low bits of udp_src, whatever
 * the tiles of their service need.  Otherwise a switch's cache, which it
 * searches mask by mask, would have a mask for each size of tile.  Each more
 * bit doubles the cache entries of services with few instances; three bits are
 * the best compromise (docs/ovs-extension.md, Performance). */
#define SAL_RESOLVE_PORT_BITS 3

/* Priority of a prefix of length N (0..256) in SAL_TABLE_SERVICE. */
#define SAL_PRIORITY_SERVICE(N) (1000 + (N))
#define SAL_PRIORITY_SERVICE_MISS 1 /* Metered to the controller. */

/* Priority in SAL_TABLE_ND. */
#define SAL_PRIORITY_ND 1000

/* Priorities of SAL_TABLE_FORWARD. */
#define SAL_PRIORITY_HOST_MARKED 3000 /* The same behind the waypoint. */
#define SAL_PRIORITY_HOST_CLASS 2000 /* Host route of one path class. */
#define SAL_PRIORITY_HOST 1000       /* Host route. */
#define SAL_PRIORITY_FLOOD 500       /* Broadcasts, over a spanning tree. */
#define SAL_PRIORITY_REST 1          /* Where there is no room for all hosts. */

/* Ethernet source, but for its last byte, the path class, of what has passed
 * the waypoint of its class.  Anti-spoofing keeps hosts from using it. */
#define SAL_WAYPOINT_MAC {0x02, 0x53, 0x41, 0x4c, 0x02, 0x00}

/* Our flows are told from others' by their cookie:
 *     63..40 "SAL" | 39..32 enum sal_cookie_kind | 31..0 detail of the kind */
#define SAL_COOKIE_BASE 0x53414c0000000000ULL
#define SAL_COOKIE_MASK 0xffffff0000000000ULL
#define SAL_COOKIE(KIND, DETAIL)                                              \
    (SAL_COOKIE_BASE | ((uint64_t) (KIND) << 32) | (uint32_t) (DETAIL))

enum sal_cookie_kind {
    SAL_COOKIE_CLASSIFY = 1,
    SAL_COOKIE_ARP = 2,
    SAL_COOKIE_SERVICE = 3,
    SAL_COOKIE_MISS = 4,
    SAL_COOKIE_HOST = 5,
    SAL_COOKIE_ADMIT = 6,
    SAL_COOKIE_ENDPOINT = 7,
    SAL_COOKIE_LEARN = 8,
};

/* Meters: packets that reach the controller are limited per kind, */
enum sal_meter_kind {
    SAL_METER_HOST_PROBE = 1,
    SAL_METER_SERVICE_MISS = 2,
    SAL_METER_LINK_PROBE = 3,
    SAL_METER_LEARN = 4,
    SAL_METER_N_KINDS
};
/* and per kind and port, where the switch has so many.  The kind's number is
 * the meter that ports have in common. */
#define SAL_METER_PORT_BASE 0x53000000 /* 'S'; the high byte marks ours. */
#define SAL_METER_PORT_MASK 0xff000000
#define SAL_METER_PORT(KIND, PORT)                                            \
    (SAL_METER_PORT_BASE | (uint32_t) (KIND) << 16 | (uint16_t) (PORT))

#endif /* sal_pipeline.h */
