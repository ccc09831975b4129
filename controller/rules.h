/* SPDX-License-Identifier: Apache-2.0 */
/* Rules: what the controller wants a switch to do, as small values.
 *
 * A rule is a flow entry described by what it is for, not by its match and
 * actions: 72 bytes, no pointers, comparable with memcmp().  It becomes an
 * OpenFlow flow only when it is sent (rule_to_flow_mod()), and a flow read
 * from a switch becomes a rule again (rule_from_flow()).
 *
 * Which rules a switch should have follows from topology, paths and routes:
 * rules_compute_forwarding(), rules_compute_service().
 *
 * Pure; any thread.  Does not allocate, except for what ofputil_* does. */
#ifndef CONTROLLER_RULES_H
#define CONTROLLER_RULES_H 1

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "ofp-ext/sal_pipeline.h"
#include "ofp-ext/service_id.h"
#include "openvswitch/ofp-flow.h"
#include "openvswitch/types.h"

struct ds;
struct ofpbuf;
struct ofputil_group_desc;
struct ofputil_meter_config;
struct paths;
struct route;
struct rule_table;
struct service_routes;
struct topology;
struct topology_attachment;
struct topology_switch;

/* What all switches of a deployment have in common. */
struct rules_config {
    uint32_t resolver_v4;         /* Host byte order; not 0. */
    struct in6_addr resolver_v6;  /* :: = no IPv6 underneath. */
    struct eth_addr resolver_mac; /* What ARP for the resolver answers. */
    uint16_t sal_port;            /* UDP, host byte order. */
    uint32_t host_probe_pps;      /* Limits of what reaches the controller, */
    uint32_t service_miss_pps;    /* packets a second and switch. */
    uint32_t link_probe_pps;
    bool anti_spoofing;           /* Admit from a host port only what comes
                                   * from the host that was seen there. */
    bool groups;                  /* SAL switches send by way of fast-failover
                                   * groups, one set for each destination
                                   * switch.  They then go round a dead link by
                                   * themselves, and a change of ways changes
                                   * groups only. */
    uint32_t service_rules;       /* So many a switch; 0 = as many as it
                                   * takes. */
    bool plain_hosts;             /* Hosts without Salient are learnt and
                                   * served; needs 'anti_spoofing', which
                                   * tells known from unknown ones. */
    uint32_t plain_host_pps;      /* Of what unknown hosts send. */
    bool hop_by_hop;              /* A SYN stays unresolved as long as the next
                                   * switch would choose the same instance. */
    uint32_t rest_port;           /* Of one switch, that has no room for all
                                   * host routes: whoever can be reached by
                                   * this port on a shortest path has none.
                                   * 0: all have. */
};

#define RULES_RESOLVER_V4_DEFAULT 0x0afffffe /* 10.255.255.254 */
#define RULES_RESOLVER_V6_DEFAULT /* fd53:414c::1 */                         \
    {.s6_addr = {0xfd, 0x53, 0x41, 0x4c, [15] = 1}}
#define RULES_RESOLVER_MAC_DEFAULT {{{0x02, 0x53, 0x41, 0x4c, 0x00, 0x01}}}
#define RULES_CONFIG_DEFAULT                                                  \
    {                                                                         \
        .resolver_v4 = RULES_RESOLVER_V4_DEFAULT,                             \
        .resolver_v6 = RULES_RESOLVER_V6_DEFAULT,                             \
        .resolver_mac = RULES_RESOLVER_MAC_DEFAULT, .sal_port = SAL_UDP_PORT, \
        .host_probe_pps = 1000, .service_miss_pps = 1000,                     \
        .link_probe_pps = 1000, .plain_host_pps = 100,                        \
        .anti_spoofing = true, .groups = true,                                \
    }

/* True if hosts may use IPv6 underneath. */
static inline bool
rules_has_v6(const struct rules_config *config)
{
    return !IN6_IS_ADDR_UNSPECIFIED(&config->resolver_v6);
}

enum rule_kind {
    RULE_NONE,
    /* SAL_TABLE_ADMIT, on all switches. */
    RULE_LINK_PROBE,  /* LLDP -> controller. */
    RULE_ADMIT_ALL,   /* -> SAL_TABLE_CLASSIFY, as all that follow. */
    RULE_ADMIT_ASK,   /* Who has the resolver?  (ARP) */
    RULE_ADMIT_ASK6,  /* (ND) */
    RULE_LEARN,       /* From nobody that is known -> controller. */
    RULE_ALIVE,       /* A plain host's answer to our question (ARP reply). */
    RULE_ALIVE6,      /* (Neighbour advertisement.) */
    RULE_ADMIT_ND,    /* Who has somebody?  From a link-local address, as
                       * hosts ask when they check a neighbour. */
    RULE_ADMIT_LINK,  /* Whatever comes from 'in_port'. */
    RULE_ADMIT_ARP,   /* ARP of 'address' at 'source' from 'in_port'. */
    RULE_ADMIT_HOST,  /* IPv4. */
    RULE_ADMIT_HOST6, /* IPv6. */
    /* SAL_TABLE_ADMIT, on SAL switches. */
    RULE_HOST_PROBE,  /* PROBE to the resolver -> controller. */
    RULE_HOST_PROBE6, /* The same to resolver_v6; so with all of this kind. */
    /* SAL_TABLE_ADMIT, on stock switches. */
    RULE_STOCK_PROBE, /* UDP from and to the SAL port, to the resolver
                       * -> controller. */
    RULE_STOCK_PROBE6,
    /* SAL_TABLE_CLASSIFY, on all switches. */
    RULE_ARP,         /* ARP for 'address' is answered: it is at 'mac'. */
    RULE_ARP_PROBE,   /* "Is this address free?" (RFC 5227): drop.  Answering
                       * would make a host think its own address taken. */
    RULE_ND,          /* The same for IPv6 -> SAL_TABLE_ND. */
    RULE_ND_PROBE,    /* Duplicate address detection (RFC 4862): drop. */
    RULE_ND_UNKNOWN,  /* Who has somebody we do not know?  Drop: solicitations
                       * are answered here or not at all. */
    RULE_DEFAULT,     /* -> SAL_TABLE_FORWARD. */
    /* SAL_TABLE_CLASSIFY, on SAL switches. */
    RULE_RESOLVE,     /* Types with a service ID -> SAL_TABLE_SERVICE. */
    RULE_RESOLVE6,
    RULE_GUARD,       /* Anything else to the resolver: drop. */
    RULE_GUARD6,
    /* SAL_TABLE_CLASSIFY, on stock switches. */
    RULE_UPLINK,      /* To the resolver: out of 'port', towards the nearest
                       * SAL switch. */
    RULE_UPLINK6,
    /* SAL_TABLE_ND. */
    RULE_ND_ANSWER,   /* The target's address is an option that a packet has
                       * only once it is an advertisement, so Open vSwitch
                       * wants another table to set it. */
    /* SAL_TABLE_SERVICE. */
    RULE_SERVICE,     /* A tile of a service -> the instance 'target' at 'mac',
                       * out of 'port'. */
    RULE_SERVICE6,    /* The same for what came over IPv6. */
    RULE_ENDPOINT,    /* The service that an endpoint itself is -> its locator;
                       * any protocol. */
    RULE_ENDPOINT6,
    RULE_SERVICE_MISS, /* -> controller, which answers RESET. */
    /* SAL_TABLE_FORWARD. */
    RULE_HOST,        /* IPv4 to 'address': out of 'port'. */
    RULE_HOST6,       /* IPv6. */
    RULE_REST,        /* To all others: out of 'port'. */
    RULE_REST6,
    RULE_FLOOD,       /* Broadcast and multicast: the RULE_FLOOD_GROUPs 0 to
                       * 'port' - 1. */
    /* No flow but an OpenFlow group: the first of 'ports' that is up. */
    RULE_GROUP,
    RULE_FLOOD_GROUP, /* All of 'port_set', but where it came from. */
    /* No flow but an OpenFlow meter: 'port' packets a second. */
    RULE_METER,
    RULE_N_KINDS,

    RULE_FOREIGN = 255, /* Our cookie, but nothing that we would install; see
                         * rule_table_read_flow(). */
};

#define RULE_GROUP_PORTS_MAX 7
#define RULE_FLOOD_SET_LEN 24 /* Bytes; a port is a bit. */
#define RULE_FLOOD_PORTS (8 * RULE_FLOOD_SET_LEN)
/* Group N holds ports N * RULE_FLOOD_PORTS and up. */
#define RULE_FLOOD_GROUP_BASE 0x54000000

/* Members that a kind has no use for are 0, padding included: build a rule
 * from RULE_INIT or memset().  The first RULE_KEY_LEN bytes are the key:
 * table, priority and match follow from them alone. */
struct rule {
    uint8_t kind;           /* enum rule_kind. */
    uint8_t protocol;       /* RULE_SERVICE*: IANA; 0 = any. */
    uint8_t path_class;     /* RULE_HOST*: 0 = all; RULE_MARKED_CLASS. */
    uint8_t tile_bits;
    uint16_t tile_value;
    uint16_t prefix_len;
    union {
        struct service_id service;
        struct {
            struct in6_addr address; /* IPv4 as ::ffff:a.b.c.d. */
            uint32_t in_port;        /* RULE_ADMIT_*; rule_meter_kind(): 0 =
                                      * all that have no rule of theirs. */
            struct eth_addr source;
        };
        uint32_t group;          /* RULE_GROUP: its number.  RULE_FLOOD_GROUP:
                                  * without RULE_FLOOD_GROUP_BASE. */
        uint32_t meter;          /* RULE_METER: its number. */
        struct {            /* RULE_FOREIGN. */
            struct minimatch *match; /* Owned by the rule table. */
            uint64_t cookie;
            uint16_t priority;
            uint8_t table;
        } foreign;
    };
    /* What it does. */
    union {
        struct {
            uint32_t port;      /* OpenFlow port to send to; a group if
                                 * RULE_VIA_GROUP. */
            struct in6_addr target; /* RULE_SERVICE*, RULE_ENDPOINT*: new
                                     * destination; IPv4 as 'address'. */
            struct eth_addr mac;
            uint16_t flags;     /* RULE_STALE, RULE_VIA_GROUP, RULE_MARK. */
            uint32_t padding;   /* 0, as rules are compared by memcmp(). */
        };
        uint16_t ports[RULE_GROUP_PORTS_MAX]; /* RULE_GROUP; 0 = none.  Ends
                                               * before 'flags'. */
        uint8_t port_set[RULE_FLOOD_SET_LEN]; /* RULE_FLOOD_GROUP; so does
                                               * this. */
    };
};
_Static_assert(offsetof(struct rule, port_set) + RULE_FLOOD_SET_LEN
               <= offsetof(struct rule, flags), "port set reaches into flags");
_Static_assert(offsetof(struct rule, ports) + 2 * RULE_GROUP_PORTS_MAX
               <= offsetof(struct rule, flags), "ports reach into flags");

#define RULE_STALE 1     /* Read from a switch, where it does other things. */
#define RULE_VIA_GROUP 2
/* This is the waypoint of the path class in the flags' high byte: the packet
 * is marked by an Ethernet source of its own and matches the class's rules
 * with RULE_MARKED_CLASS from here on. */
#define RULE_MARK 4
#define RULE_MARK_CLASS_SHIFT 8
#define RULE_ONWARD 8 /* RULE_SERVICE*: not resolved, the next switch does. */
#define RULE_MARKED_CLASS 0x10 /* In 'path_class': what is marked. */

#define RULE_KEY_LEN offsetof(struct rule, port)
#define RULE_INIT(KIND) ((struct rule) {.kind = (KIND)})
_Static_assert(sizeof(struct rule) == 72, "rules are many, keep them small");

static inline bool
rule_same_key(const struct rule *a, const struct rule *b)
{
    return !memcmp(a, b, RULE_KEY_LEN);
}

static inline bool
rule_equal(const struct rule *a, const struct rule *b)
{
    return !memcmp(a, b, sizeof *a);
}

/* A rule of SAL_TABLE_SERVICE that resolves. */
static inline bool
rule_has_target(const struct rule *rule)
{
    return rule->kind == RULE_SERVICE || rule->kind == RULE_SERVICE6
           || rule->kind == RULE_ENDPOINT || rule->kind == RULE_ENDPOINT6;
}

/* No flow. */
static inline bool
rule_is_group(const struct rule *rule)
{
    return rule->kind == RULE_GROUP || rule->kind == RULE_FLOOD_GROUP;
}

/* What limits the packets that the rule hands in, as enum sal_meter_kind; 0 if
 * it hands in none. */
int rule_meter_kind(const struct rule *);
/* The meter they go through: the port's own one if the rule is one port's; 0
 * if it hands in none. */
uint32_t rule_meter(const struct rule *);

/* The Ethernet source that marks what has passed the class's waypoint. */
struct eth_addr rule_waypoint_mac(uint8_t class);

uint8_t rule_table_id(const struct rule *);
uint16_t rule_priority(const struct rule *);
uint64_t rule_cookie(const struct rule *);

/* How to speak to a switch. */
struct rule_dialect {
    const struct rules_config *config;
    enum ofputil_protocol protocol; /* OFPUTIL_P_OF15_OXM, _OF13_OXM. */
    bool meters;                    /* It has meters. */
};

/* Turns a rule that is no group into a flow_mod: 'command' is OFPFC_ADD, which
 * also replaces, or OFPFC_DELETE_STRICT, which spares others' flows.
 * 'ofpacts' must be initialised and outlive '*ret_fm', which refers to its
 * data; the caller releases with minimatch_destroy(&fm.match).
 *
 * -ENOTSUP if libopenvswitch does not know the SAL fields.  -EINVAL for a kind
 * that does not exist. */
int rule_to_flow_mod(const struct rule *, const struct rule_dialect *,
                     int command, struct ofpbuf *ofpacts,
                     struct ofputil_flow_mod *ret_fm);

/* Reads a flow back.  0: '*ret_rule' is the rule, and stale if the switch's
 * actions or timeouts are not what rule_to_flow_mod() makes of it.
 * -ENOENT: the flow is not ours, by its cookie.
 * -EBADMSG: the cookie is ours, the flow is not one of our kinds. */
int rule_from_flow(const struct ofputil_flow_stats *,
                   const struct rule_dialect *, struct rule *ret_rule);

/* The same for groups: 'command' is OFPGC11_ADD, OFPGC11_MODIFY or
 * OFPGC11_DELETE; the caller frees the message. */
struct ofpbuf *rule_encode_group(const struct rule *,
                                 const struct rule_dialect *, int command);
/* 0 or -ENOENT: not ours, by its number. */
int rule_from_group(const struct ofputil_group_desc *, struct rule *ret_rule);

/* True if libopenvswitch has the SAL match fields. */
bool rules_sal_supported(void);


/* The same for meters, which go into no bundle: 'command' is OFPMC13_ADD,
 * OFPMC13_MODIFY or OFPMC13_DELETE. */
struct ofpbuf *rule_encode_meter(const struct rule *,
                                 const struct rule_dialect *, int command);
/* 0 or -ENOENT: not ours, by its number. */
int rule_from_meter(const struct ofputil_meter_config *,
                    struct rule *ret_rule);

/* Packets a second that the configuration allows a switch. */
uint32_t rules_meter_pps(const struct rules_config *, enum sal_meter_kind);
/* Meters that all ports have in common; a switch with fewer gets none. */
#define RULES_N_METERS (SAL_METER_N_KINDS - 1)
/* A port with meters of its own has so much of what the configuration allows
 * a switch. */
#define RULES_METER_PORT_SHARE 4

/* Adds the meters of switch 'sw' and, if it has enough of them, for each port
 * the rules that hand in packets by that port's own ones: what floods in at
 * one port takes nothing from the others. */
void rules_compute_meters(const struct rules_config *,
                          const struct topology_switch *sw,
                          struct rule_table *table);
/* Its parts: the meters that ports have in common, if there are as many; what
 * one port has. */
void rules_compute_shared_meters(const struct rules_config *,
                                 uint32_t max_meters, struct rule_table *);
void rules_compute_port_meters(const struct rules_config *, bool sal,
                               uint32_t port, struct rule_table *table);
/* True if the switch has meters for each of its ports. */
bool rules_has_port_meters(const struct topology_switch *);

/* Adds to 'table' what switch 'dpid' needs but for hosts and services.
 * Nothing if the paths do not know the switch; so with all of these. */
void rules_compute_base(const struct rules_config *, const struct paths *,
                        uint64_t dpid, struct rule_table *table);
/* True if the switch sends by way of groups: then its groups and nothing else
 * follow from the ways, unless resolution is hop by hop. */
bool rules_uses_groups(const struct rules_config *, const struct paths *,
                       uint64_t dpid);
/* Adds the groups towards other switches, if it uses groups; only those that
 * are not 0 (PATHS_SAME) in 'towards', which has one member a switch, unless
 * that is NULL. */
void rules_compute_groups(const struct rules_config *, const struct paths *,
                          uint64_t dpid, const uint8_t towards[],
                          struct rule_table *table);
/* Which of the groups towards its switch a host is reached by. */
uint32_t rules_group_variant(const struct in6_addr *locator);
/* Adds ARP or ND and the routes of one host, if it can be reached: the default
 * one and those of the path classes that differ; where it is attached, also
 * what admits it. */
void rules_compute_host(const struct rules_config *, const struct paths *,
                        const struct topology_attachment *, uint64_t dpid,
                        struct rule_table *table);
/* Adds the base, groups, meters and all hosts. */
void rules_compute_forwarding(const struct rules_config *,
                              const struct topology *, const struct paths *,
                              uint64_t dpid, struct rule_table *table);

/* Adds to 'table' the rules of one service's routes on switch 'dpid'.
 * Nothing on switches that do not resolve.
 *
 * Hop by hop, a tile is handed on unresolved to a next switch that has the
 * very same route, so by induction to one that has, or is, the instance: all
 * on the way choose alike, so it does not loop.  Where the next switch chooses
 * by itself (another zone, another distance), or is a stock switch, or a
 * waypoint is to be marked, the SYN is resolved as at an edge.
 *
 * The rules of one route are a bundle (rule_bundle.h), with
 * rules_service_key(). */
struct rule rules_service_key(const struct service_routes *,
                              const struct route *);
void rules_compute_service(const struct rules_config *, const struct paths *,
                           const struct service_routes *, uint64_t dpid,
                           struct rule_table *table);

/* Adds the rule that makes the endpoint at 'host' a service of its own: the
 * rendezvous for hosts that moved, and how a host is reached by its ID. */
void rules_compute_endpoint(const struct rules_config *, const struct paths *,
                            const struct topology_attachment *host,
                            uint64_t dpid, struct rule_table *table);

/* One line, for logs and dumps: "service 0x.../192 tcp udp_src=1/3 ->
 * 10.0.0.2 port 3". */
void rule_format(const struct rule *, struct ds *);

#endif /* rules.h */
