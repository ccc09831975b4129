/* SPDX-License-Identifier: Apache-2.0 */
/* What the eBPF programs and user space share: keys and values of the maps,
 * names of the counters.  Both sides compile this one file; a static assert
 * guards each size and the offsets that matter.  Whoever changes a layout
 * raises SAL_MAPS_LAYOUT, so that a new daemon does not take over maps that
 * it would misread.
 *
 * Addresses and ports are in network byte order here.  An IPv4 address is
 * stored as an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2). */
#ifndef SALIENT_SAL_MAPS_H
#define SALIENT_SAL_MAPS_H 1

#include "ofp-ext/sal.h"

#define SAL_MAPS_LAYOUT 20

struct sal_addr {
    sal_u32 w[4];
};
#define SAL_ADDR_MAPPED 0x0000ffff /* w[2] of an IPv4 address, host order. */

/* A connection as one side sees it. */
struct sal_tuple {
    struct sal_addr local, remote;
    sal_u16 lport, rport;
    sal_u8 proto;
    sal_u8 pad[3];
};

enum sal_flow_state {
    SAL_FLOW_HALF_OPEN = 1, /* SYN sent or received, not bound. */
    SAL_FLOW_BOUND = 2,
    SAL_FLOW_CLOSING = 3, /* The socket is gone; late segments may come. */
};

#define SAL_FLOW_SERVER 0x01  /* We answered the SYN. */
#define SAL_FLOW_REWRITE 0x08 /* Local and wire tuple differ. */
#define SAL_FLOW_OUTER6 0x10  /* Locators are IPv6; both of them. */
#define SAL_FLOW_LOCAL 0x40   /* Both ends are here, see egress.bpf.h. */
#define SAL_FLOW_INNER6 0x80  /* Inner packets are IPv6: so are the tuples. */

#define SAL_FLOW_END_FIN_IN 0x01  /* FIN seen from the peer. */
#define SAL_FLOW_END_FIN_OUT 0x02 /* FIN seen from the local stack. */
#define SAL_FLOW_END_RST_IN 0x04  /* The peer aborted. */

#define SAL_FLOW_MARK_HELD 0x01    /* The daemon holds datagrams of it. */
#define SAL_FLOW_MARK_COUNTED 0x02 /* Counts in sal_limits. */
#define SAL_FLOW_MARK_KEPT 0x04    /* UDP, in sal_flows, or found no room. */
#define SAL_FLOW_MARK_DATAGRAM 0x08 /* Each datagram is resolved by itself. */
#define SAL_FLOW_MARK_OLD_ECHO 0x10 /* What comes next may be out of date. */

/* Bound TCP flows live in sal_flows (by flow ID) and sal_tuples (local tuple
 * to flow ID), and so do UDP flows that have carried some packets.  Half-open
 * and closing ones, and UDP's short ones, live in the LRU tables
 * sal_half_flows and sal_half_tuples, which overflow harmlessly. */
struct sal_flow {
    /* First cache line: what each DATA packet needs. */
    sal_u32 id;      /* Ours; network byte order, as on the wire. */
    sal_u32 peer_id; /* The peer's; 0 while unknown. */
    struct sal_addr peer_locator;
    struct sal_addr own_locator;
    sal_u32 ifindex; /* Uplink; 0 = held, there is no way to the peer now. */
    sal_u16 entropy; /* UDP source port; the SAL port if a NAT is in between,
                      * at whichever end. */
    sal_u8 state;    /* enum sal_flow_state. */
    sal_u8 flags;    /* SAL_FLOW_*. */
    sal_u64 nonce;
    sal_u8 flags_class; /* Path class for the header's byte 12. */
    sal_u8 marks;       /* SAL_FLOW_MARK_*. */
    sal_u16 peer_port; /* UDP port that a NAT gave the peer; 0: SAL port. */
    sal_u32 group; /* Flows with the peer that migrate together; host order. */
    /* Second: the Ethernet addresses learnt for the way to peer_locator, good
     * until l2_expires_ns (of a flow that is held: until its packets are refused
     * rather than lost), and what rewriting local to wire adds to the checksum of addresses and ports. */
    sal_u64 l2_expires_ns;
    sal_u8 l2[12]; /* Destination, source. */
    sal_u32 address_diff, port_diff;
    sal_u32 ack_in; /* TCP: the last acknowledgement from the peer, */
    union {
        sal_u64 entropy_ns; /* When 'entropy' was drawn, of half-open flows. */
        struct {
            sal_u32 own_stamp;    /* What our TCP sent since MARK_OLD_ECHO, */
            sal_u32 own_stamp_ms; /* and when: CLOCK_MONOTONIC. */
        };
    };
    struct sal_tuple local; /* As the local stack sees it. */
    struct sal_tuple wire;  /* As it is inside the SAL. */
    sal_u32 isn_in;         /* First TCP sequence number, either way; */
    sal_u32 isn_out;        /* network byte order. */
    sal_u8 service_id[SAL_SERVICE_ID_LEN];
    sal_u64 created_ns, last_in_ns, last_out_ns; /* CLOCK_MONOTONIC. */
    sal_u64 in_packets, in_bytes, out_packets, out_bytes; /* Inner. */
    sal_u32 ack_out;   /* our last one, */
    sal_u16 window_in; /* the peer's window; network byte order. */
    sal_u16 path_mtu;  /* Of outer packets, learnt; 0: what the uplink has. */
    sal_u32 seq_end;   /* The end of what our TCP sent; host byte order. */
    sal_u32 ends; /* SAL_FLOW_END_*; both directions' packets set them. */
    sal_u8 peer_endpoint[SAL_ENDPOINT_ID_LEN]; /* All zero: unknown. */
    /* Where the peer was before it moved; its DATA is taken from there, too,
     * until then: what it sent before is late, not wrong. */
    struct sal_addr previous_locator;
    sal_u64 previous_expires_ns; /* CLOCK_MONOTONIC. */
    sal_u64 path_expires_ns;
};

/* sal_paths: a peer's locator -> what was learnt of the way there. */
struct sal_path {
    sal_u32 mtu; /* Of outer packets. */
    sal_u32 pad;
    sal_u64 expires_ns; /* CLOCK_MONOTONIC. */
};

/* sal_fragments: a datagram that the local stack fragmented -> its ports,
 * which only the first fragment has. */
struct sal_fragment_key {
    struct sal_addr local, remote;
    sal_u32 id; /* IP's; network byte order. */
};
struct sal_fragment {
    sal_u16 lport, rport;
    sal_u32 held; /* The first one waits with the daemon: so do the others. */
};

/* sal_events, a ring buffer: what the daemon must know of flows. */
enum sal_flow_event_type {
    SAL_FLOW_EVENT_BOUND = 1,
    SAL_FLOW_EVENT_CLOSED = 2,
    SAL_FLOW_EVENT_UNKNOWN = 3, /* A struct sal_unknown_flow. */
};
struct sal_flow_event {
    sal_u32 id;   /* As in sal_flow. */
    sal_u32 type; /* enum sal_flow_event_type. */
};

/* sal_peers: who is at a locator, as far as that is known; what to think of the
 * inner source of SYNs from there.  An endpoint that the network sees there has
 * the key with endpoint ID 0, one that only says so its own. */
struct sal_peer_key {
    struct sal_addr locator;
    sal_u8 endpoint[SAL_ENDPOINT_ID_LEN];
};
enum sal_peer_state {
    SAL_PEER_ATTACHED = 1,
    SAL_PEER_CLAIMED = 2,
    SAL_PEER_REFUSED = 3,
};
struct sal_peer {
    sal_u8 endpoint[SAL_ENDPOINT_ID_LEN];
    sal_u32 identity_v4; /* Network byte order; 0: any that is not known. */
    sal_u32 state;       /* enum sal_peer_state. */
    sal_u64 expires_ns;  /* CLOCK_MONOTONIC. */
    sal_u64 asked_ns;    /* The last time. */
};

/* sal_held, a ring buffer: packets that the daemon holds, and news of what they
 * wait for.  It hands them back to sal_egress, with a mark. */
enum sal_held_kind {
    SAL_HELD_BIND = 1,    /* A datagram that waits for its flow to be bound. */
    SAL_HELD_RESOLVE = 2, /* A first packet that met a DELAY rule. */
    SAL_HELD_BOUND = 3,   /* No packet: the flow of 'tuple' is bound; */
    SAL_HELD_REFUSED = 4, /* it will not be. */
    SAL_HELD_IDENTIFY = 5, /* A SYN that came: whose is its source? */
};
struct sal_held {
    sal_u8 kind;     /* enum sal_held_kind. */
    sal_u8 attempts; /* How often it was handed back already. */
    sal_u16 len;     /* Of the frame that follows; host order. */
    sal_u32 ifindex; /* Where the packet was. */
    struct sal_tuple tuple;
    sal_u32 segment; /* Of UDP_SEGMENT: data in each datagram; or 0. */
    sal_u32 pad;
    union {
        sal_u8 service_id[SAL_SERVICE_ID_LEN]; /* RESOLVE. */
        struct sal_peer_key claim;             /* IDENTIFY. */
    };
};
/* The longest frame: a jumbo frame. */
#define SAL_HELD_MAX (14 + 9216)
/* What the kernel takes from user space at once: a page, less room for what it
 * adds.  Larger ones are handed back as IP fragments. */
#define SAL_INJECT_MAX 3400
/* skb->mark of frames that are handed back; the low byte is 'attempts'. */
#define SAL_MARK_AGAIN 0x5a1d0000
#define SAL_MARK_ATTEMPTS 0x000000ff
#define SAL_MARK_REFUSE 0x5a1e0000 /* Tell the application no. */
#define SAL_MARK_IDENTIFIED 0x5a1f0000 /* A SYN that comes again. */

/* DATA came for a flow that is not here; not each is told of. */
struct sal_unknown_flow {
    struct sal_flow_event event; /* UNKNOWN; the rest as in sal_flow. */
    sal_u32 peer_id;
    sal_u16 peer_port; /* UDP port that it came from. */
    sal_u16 sal_len;   /* Of SAL header and what follows; host order. */
    struct sal_addr own, other; /* Locators. */
};

/* sal_notify, an array of one. */
struct sal_notify {
    sal_u64 woken_ns; /* The daemon, the last time. */
    sal_u64 lost;     /* Events that found no room: it must look at all flows.
                       */
    sal_u64 unknown_ns; /* When it was last told of an unknown flow. */
    sal_u64 identify_ns; /* SYNs that it was given since then, to have their */
    sal_u64 identify_n;  /* sender identified. */
};

/* sal_moves, an array of one: work for the program sal_move, which gives the
 * flows 'ids' of one peer another path.  The daemon fills it in and runs the
 * program; only that can change a flow while packets use it. */
#define SAL_MOVE_MAX 1024
struct sal_move {
    sal_u8 peer_endpoint[SAL_ENDPOINT_ID_LEN]; /* Others are left alone. */
    struct sal_addr own_locator, peer_locator;
    sal_u64 previous_expires_ns; /* For a peer that moves. */
    sal_u32 ifindex;
    sal_u32 group;
    sal_u16 peer_port;
    sal_u16 flags;   /* SAL_UPLINK_*: of our own side. */
    sal_u32 n;       /* In 'ids'. */
    sal_u32 n_moved; /* Of these were there; the program's result. */
    sal_u32 pad2;
    sal_u32 ids[SAL_MOVE_MAX];
};

/* sal_wake hands its packet to the stack skb->mark times, but no more than: */
#define SAL_WAKE_MAX 16

/* sal_sweeps, an array of one: work for the program sal_sweep, which forgets
 * those of the flows 'ids' that are UDP's and idle, or any. */
#define SAL_SWEEP_MAX 1024
struct sal_sweep {
    sal_u64 idle_since_ns; /* Nothing went in or out since. */
    sal_u32 n;             /* In 'ids'. */
    sal_u32 n_swept;       /* The program's result. */
    sal_u32 any;           /* If so, whatever they are. */
    sal_u32 pad;
    sal_u32 ids[SAL_SWEEP_MAX];
};

/* sal_settings, an array of one. */
struct sal_settings {
    sal_u32 layout; /* SAL_MAPS_LAYOUT. */
    sal_u32 sal_ifindex;
    sal_u32 uplink_ifindex; /* Where new flows leave; 0 = none yet. */
    sal_u16 sal_port;       /* Network byte order. */
    sal_u8 sal_mac[6];
    sal_u8 flags; /* SAL_SETTINGS_*. */
    sal_u8 pad;
    sal_u16 uplink_mtu; /* Host byte order. */
    struct sal_addr identity_v4;
    struct sal_addr resolver_v4;
    struct sal_addr locator_v4; /* Of the uplink. */
    struct sal_addr identity_v6;
    struct sal_addr resolver_v6;
    struct sal_addr locator_v6; /* Of uplink_ifindex_v6. */
    sal_u8 endpoint_id[SAL_ENDPOINT_ID_LEN];
    sal_u64 hash_key[2]; /* SipHash, for flow IDs and nonces. */
    sal_u64 netns_cookie;
    sal_u32 uplink_ifindex_v6; /* Where new flows over IPv6 leave. */
    sal_u32 max_flows_per_client; /* Of bound flows that we serve; 0: no */
    sal_u32 max_flows_per_service; /* limit. */
    sal_u32 pad2;
    sal_u64 identify_until_ns; /* The daemon lives and can ask who is where;
                                * CLOCK_MONOTONIC. */
};
#define SAL_SETTINGS_SOCKOPS 0x01   /* Closes are reported by sockops. */
#define SAL_SETTINGS_PREFER_V6 0x02 /* New flows over IPv6, if they can. */
#define SAL_SETTINGS_ROUTER 0x04 /* Resolves SYNs and RSYNs for others. */
#define SAL_SETTINGS_IDENTITY 0x08 /* Inner sources of SYNs are checked. */

/* sal_uplinks, an array of SAL_UPLINK_SLOTS: where new flows leave.  Each
 * flow draws a slot, and an uplink has slots in proportion to its weight.
 * With an empty slot it leaves as sal_settings says. */
#define SAL_UPLINK_SLOTS 64 /* A power of 2. */
struct sal_uplink {
    sal_u32 ifindex; /* 0 = empty. */
    sal_u32 flags;   /* SAL_UPLINK_*. */
    struct sal_addr locator_v4, locator_v6; /* All zero: none. */
};
#define SAL_UPLINK_NAT 0x01 /* A NAT is in between. */

/* sal_limits: bound flows that we serve, by client (its inner address, then
 * zeros) and by service ID -> their number.  Kept while there is a limit. */
enum sal_limit_kind {
    SAL_LIMIT_CLIENT = 1,
    SAL_LIMIT_SERVICE = 2,
};
struct sal_limit_key {
    sal_u8 who[SAL_SERVICE_ID_LEN];
    sal_u32 kind; /* enum sal_limit_kind. */
};

/* sal_locators: our own outer addresses -> the interface they are on. */

/* sal_addresses: inner address of a service -> its ID. */
struct sal_service_value {
    sal_u8 service_id[SAL_SERVICE_ID_LEN];
};

/* sal_rules: the service table, a longest-prefix-match trie. */
struct sal_rule_key {
    sal_u32 prefixlen; /* Bits. */
    sal_u8 service_id[SAL_SERVICE_ID_LEN];
};

enum sal_rule_action {
    SAL_RULE_FORWARD = 1,
    SAL_RULE_DEMUX = 2,
    SAL_RULE_REJECT = 3,
    SAL_RULE_DROP = 4,
    SAL_RULE_DELAY = 5, /* The daemon asks, and replaces the rule. */
};

#define SAL_RULE_HOPS 0x01     /* FORWARD: sal_hops says where to. */
#define SAL_RULE_DATAGRAM 0x02 /* UDP: each datagram is resolved by itself. */

struct sal_rule {
    sal_u8 action;     /* enum sal_rule_action. */
    sal_u8 flags;      /* SAL_RULE_*. */
    sal_u8 path_class; /* Of new flows. */
    sal_u8 pad;
    sal_u32 prefixlen; /* The rule's own; keys of sal_targets need it. */
    sal_u64 hits;
};

/* sal_hops: where rules with SAL_RULE_HOPS forward to.  The key is the rule's,
 * exactly. */
#define SAL_MAX_HOPS 32
struct sal_hop {
    struct sal_addr locator;
    sal_u32 upto; /* Sum of the weights of this one and those before it. */
};
struct sal_hops {
    sal_u32 n; /* 1..SAL_MAX_HOPS. */
    struct sal_hop hops[SAL_MAX_HOPS];
};

/* sal_targets: where SYNs for a local service go. */
struct sal_target_key {
    sal_u8 prefix[SAL_SERVICE_ID_LEN]; /* Bits past prefixlen are 0. */
    sal_u16 prefixlen;                 /* Host byte order. */
    sal_u16 service_port;
    sal_u8 proto;
    sal_u8 pad[3];
};
struct sal_target {
    struct sal_addr address; /* All zero: the identity address. */
    sal_u16 port;
    sal_u8 pad[6];
    sal_u64 hits;
};

/* Counters: sal_counters, a per-CPU array of 64-bit numbers.  Whatever is
 * refused has a reason of its own. */
#define SAL_COUNTERS(X)                                                       \
    X(OUT_DATA, "out_data", "DATA packets sent")                              \
    X(OUT_SYN, "out_syn", "SYNs sent")                                        \
    X(OUT_SYN_RETRY, "out_syn_retry", "of these, sent again")                 \
    X(OUT_SYN_ACK, "out_syn_ack", "SYN-ACKs sent")                            \
    X(OUT_ACK, "out_ack", "ACKs sent")                                        \
    X(OUT_RESOLVED_ON, "out_resolved_on",                                     \
      "sent again at once, as a host did not serve it")                       \
    X(OUT_DATAGRAM, "out_datagram", "DATAGRAMs sent")                         \
    X(OUT_DATAGRAM_TOO_BIG, "out_datagram_too_big",                           \
      "too large for a DATAGRAM; the application was told")                   \
    X(OUT_ICMP, "out_icmp", "ICMP errors about packets of flows sent")        \
    X(OUT_RESET, "out_reset", "RESETs sent")                                  \
    X(OUT_UNREACHABLE, "out_unreachable", "local datagrams refused by ICMP")  \
    X(OUT_HOLD, "out_hold", "first datagrams too large for a SYN, held")      \
    X(OUT_HOLD_FULL, "out_hold_full", "to be held, but there was no room")    \
    X(OUT_HOLD_TOO_BIG, "out_hold_too_big", "too large to be held")           \
    X(OUT_RST_LOCAL, "out_rst_local", "local connects refused at once")       \
    X(OUT_NO_IDENTITY, "out_no_identity", "no identity address yet")          \
    X(OUT_SOURCE, "out_source", "source is not the identity address")         \
    X(OUT_NO_UPLINK, "out_no_uplink", "no uplink or resolver yet")            \
    X(OUT_UNKNOWN_ADDRESS, "out_unknown_address",                             \
      "destination is no service address")                                    \
    X(OUT_NO_RULE, "out_no_rule", "no rule of the service table matches")     \
    X(OUT_RULE_REJECT, "out_rule_reject", "refused by a REJECT rule")         \
    X(OUT_RULE_DROP, "out_rule_drop", "dropped by a DROP rule")               \
    X(OUT_DELAYED, "out_delayed", "held by a DELAY rule")                     \
    X(OUT_DELAY_REFUSED, "out_delay_refused",                                 \
      "met a DELAY rule, and could not be resolved")                          \
    X(OUT_LOCAL_SERVICE, "out_local_service",                                 \
      "own service, called from this host")                                   \
    X(OUT_NO_TARGET, "out_no_target", "port of an own service, not served")   \
    X(OUT_NO_FLOW, "out_no_flow", "not the first packet, but of no flow")     \
    X(OUT_NOT_BOUND, "out_not_bound", "flow is not bound yet")                \
    X(OUT_TIME_WAIT, "out_time_wait", "TIME-WAIT ended for a new SYN")        \
    X(OUT_UNSUPPORTED, "out_unsupported", "protocol that is not carried")     \
    X(OUT_FRAGMENTED, "out_fragmented", "fragments of datagrams sent")        \
    X(OUT_FRAGMENT, "out_fragment",                                           \
      "IP fragment of what cannot be sent in fragments")                      \
    X(OUT_FRAGMENT_LATE, "out_fragment_late",                                 \
      "IP fragment whose first one was not seen, or was refused")             \
    X(OUT_EXTENSION, "out_extension", "IPv6 extension header")                \
    X(OUT_MALFORMED, "out_malformed", "inner header is malformed")            \
    X(OUT_HELD, "out_held", "flow has no way to its peer now")                \
    X(OUT_PATH_MTU, "out_path_mtu",                                           \
      "too large for the path; the sender was told")                          \
    X(OUT_PATH_CUT, "out_path_cut",                                           \
      "TCP over IPv6 cut for a path too small for IPv6")                      \
    X(OUT_FAILED, "out_failed", "the kernel refused to encapsulate")          \
    X(FLOW_ID_EXHAUSTED, "flow_id_exhausted", "no free flow ID found")        \
    X(FLOW_TABLE_FULL, "flow_table_full", "the flow table is full")           \
    X(FLOW_BOUND, "flow_bound", "flows bound")                                \
    X(FLOW_ENTERED, "flow_entered", "flows put into the table of bound ones") \
    X(FLOW_REMOVED, "flow_removed", "flows taken from that table")            \
    X(FLOW_KEPT, "flow_kept", "UDP flows that went on: bound ones' table")    \
    X(FLOW_IDLE, "flow_idle", "UDP flows that fell silent, of these")         \
    X(FLOW_CLOSED, "flow_closed", "flows closed")                             \
    X(FLOW_REUSED, "flow_reused", "flows forgotten, their tuple was reused")  \
    X(FLOW_MOVED, "flow_moved", "flows given another path")                   \
    X(FLOW_EVENT_LOST, "flow_event_lost", "the daemon fell behind with flows") \
    X(IN_DATA, "in_data", "DATA packets accepted")                            \
    X(IN_PREVIOUS, "in_previous", "of these, from the peer's previous locator") \
    X(IN_OLD_ECHO, "in_old_echo",                                             \
      "of these, the first after a silence: their time stamps are out of date") \
    X(IN_EARLY_ACK, "in_early_ack",                                           \
      "acknowledgement while the flow was held: we shall ask again")          \
    X(IN_XDP, "in_xdp", "DATA packets stripped by XDP")                       \
    X(IN_SYN, "in_syn", "SYNs accepted")                                      \
    X(IN_SYN_AGAIN, "in_syn_again", "of these, seen before")                  \
    X(IN_SYN_FLOOD, "in_syn_flood", "SYNs not looked at, too many at once")   \
    X(IN_SYN_ACK, "in_syn_ack", "SYN-ACKs accepted")                          \
    X(IN_ACK, "in_ack", "ACKs accepted")                                      \
    X(IN_DATAGRAM, "in_datagram", "DATAGRAMs accepted")                       \
    X(IN_ROUTED, "in_routed", "resolved for others and sent on")              \
    X(IN_RSYN_ROUTED, "in_rsyn_routed",                                       \
      "RSYNs for others' endpoints, sent on to where they are")               \
    X(IN_HOP_LIMIT, "in_hop_limit", "resolved too often")                     \
    X(IN_NO_WAY, "in_no_way", "to be resolved for others, but to nowhere")    \
    X(IN_ICMP, "in_icmp", "ICMP errors about packets of flows accepted")      \
    X(IN_RESET, "in_reset", "RESETs accepted")                                \
    X(IN_PASSED, "in_passed", "left to the daemon's socket")                  \
    X(IN_OUTER_FRAGMENT, "in_outer_fragment", "outer IP fragment")            \
    X(IN_OUTER_EXTENSION, "in_outer_extension",                               \
      "outer IPv6 extension header")                                          \
    X(IN_OUTER_MALFORMED, "in_outer_malformed", "outer IP or UDP malformed")  \
    X(IN_UDP_CHECKSUM, "in_udp_checksum", "outer UDP checksum is wrong")      \
    X(IN_TRUNCATED, "in_truncated", "shorter than its header says")           \
    X(IN_VERSION, "in_version", "version is not ours")                        \
    X(IN_TYPE, "in_type", "unknown type")                                     \
    X(IN_HEADER_LEN, "in_header_len", "header length does not fit the type")  \
    X(IN_CHECKSUM, "in_checksum", "SAL checksum is wrong")                    \
    X(IN_INNER_FORMAT, "in_inner_format", "inner format does not fit")        \
    X(IN_INNER_MALFORMED, "in_inner_malformed", "inner header is malformed")  \
    X(IN_FRAGMENTED, "in_fragmented",                                         \
      "fragments of datagrams accepted, of the DATA packets")                 \
    X(IN_INNER_FRAGMENT, "in_inner_fragment",                                 \
      "inner IP fragment where there may be none")                            \
    X(IN_INNER_EXTENSION, "in_inner_extension",                               \
      "inner IPv6 extension header")                                          \
    X(IN_INNER_SOURCE, "in_inner_source", "inner source address is bogus")    \
    X(IN_IDENTITY, "in_identity", "inner source is not the sender's own")     \
    X(IN_IDENTIFY, "in_identify", "SYNs held until their sender was known")   \
    X(IN_IDENTIFY_BUSY, "in_identify_busy",                                   \
      "to be held for that, but there were too many")                         \
    X(IN_IDENTITY_UNCHECKED, "in_identity_unchecked",                         \
      "SYNs taken though nobody knows whether their source is their own")     \
    X(IN_PROTO, "in_proto", "transport protocol that is not carried")         \
    X(IN_ECN, "in_ecn", "congestion marked, but the inner is not capable")    \
    X(IN_FLOW_ID, "in_flow_id", "flow ID that may not be 0 is 0")             \
    X(IN_UNKNOWN_FLOW, "in_unknown_flow", "no such flow here")                \
    X(IN_NOT_BOUND, "in_not_bound", "DATA for a flow that is not bound")      \
    X(IN_WRONG_PEER, "in_wrong_peer", "not from the flow's peer")             \
    X(IN_WRONG_TUPLE, "in_wrong_tuple", "inner tuple is not the flow's")      \
    X(IN_WRONG_NONCE, "in_wrong_nonce", "nonce is not the flow's")            \
    X(IN_LATE_SYN_ACK, "in_late_syn_ack", "SYN-ACK of another server")        \
    X(IN_NO_RULE, "in_no_rule", "SYN for a service that is not here")         \
    X(IN_NOT_LOCAL, "in_not_local", "SYN whose rule is not DEMUX")            \
    X(IN_RULE_REJECT, "in_rule_reject", "SYN refused by a REJECT rule")       \
    X(IN_RULE_DROP, "in_rule_drop", "SYN dropped by a DROP rule")             \
    X(IN_NO_TARGET, "in_no_target", "SYN for a port that is not served")      \
    X(IN_TARGET_FAMILY, "in_target_family",                                   \
      "target has no address of the SYN's IP version")                        \
    X(IN_NO_IDENTITY, "in_no_identity", "SYN before we have an identity")     \
    X(IN_CLIENT_LIMIT, "in_client_limit", "the client has too many flows")    \
    X(IN_SERVICE_LIMIT, "in_service_limit", "the service has too many flows") \
    X(IN_TUPLE_TAKEN, "in_tuple_taken", "no free tuple to map the SYN to")    \
    X(IN_PATH_MTU, "in_path_mtu", "path MTUs learnt")                         \
    X(IN_MSS, "in_mss",                                                       \
      "SYNs whose MSS was made to fit a path too small for IPv6")             \
    X(IN_ICMP_REFUSED, "in_icmp_refused",                                     \
      "connects ended by ICMP about their SYN")                               \
    X(IN_ICMP_UNKNOWN, "in_icmp_unknown",                                     \
      "ICMP error that quotes no packet of a flow")                           \
    X(IN_FAILED, "in_failed", "the kernel refused to decapsulate")

enum sal_counter {
#define X(ID, NAME, TEXT) SAL_COUNT_##ID,
    SAL_COUNTERS(X)
#undef X
        SAL_N_COUNTERS
};

_Static_assert(sizeof(struct sal_addr) == 16, "sal_addr");
_Static_assert(sizeof(struct sal_tuple) == 40, "sal_tuple");
_Static_assert(sizeof(struct sal_flow) == 344, "sal_flow");
_Static_assert(sizeof(struct sal_path) == 16, "sal_path");
_Static_assert(sizeof(struct sal_fragment_key) == 36, "sal_fragment_key");
_Static_assert(sizeof(struct sal_fragment) == 8, "sal_fragment");
_Static_assert(sizeof(struct sal_flow_event) == 8, "sal_flow_event");
_Static_assert(sizeof(struct sal_held) == 88, "sal_held");
_Static_assert(sizeof(struct sal_peer_key) == 32, "sal_peer_key");
_Static_assert(sizeof(struct sal_peer) == 40, "sal_peer");
_Static_assert(sizeof(struct sal_move) == 80 + 4 * SAL_MOVE_MAX, "sal_move");
_Static_assert(sizeof(struct sal_sweep) == 24 + 4 * SAL_SWEEP_MAX,
               "sal_sweep");
_Static_assert(sizeof(struct sal_settings) == 184, "sal_settings");
_Static_assert(sizeof(struct sal_uplink) == 40, "sal_uplink");
_Static_assert(sizeof(struct sal_limit_key) == 36, "sal_limit_key");
_Static_assert(sizeof(struct sal_service_value) == 32, "sal_service_value");
_Static_assert(sizeof(struct sal_rule_key) == 36, "sal_rule_key");
_Static_assert(sizeof(struct sal_rule) == 16, "sal_rule");
_Static_assert(sizeof(struct sal_hops) == 4 + 20 * SAL_MAX_HOPS, "sal_hops");
_Static_assert(sizeof(struct sal_target_key) == 40, "sal_target_key");
_Static_assert(sizeof(struct sal_target) == 32, "sal_target");
SAL_ASSERT_OFS(sal_flow, nonce, 48);
SAL_ASSERT_OFS(sal_flow, peer_port, 58);
SAL_ASSERT_OFS(sal_flow, group, 60);
SAL_ASSERT_OFS(sal_flow, l2_expires_ns, 64);
SAL_ASSERT_OFS(sal_flow, local, 104);
SAL_ASSERT_OFS(sal_flow, wire, 144);
SAL_ASSERT_OFS(sal_flow, service_id, 192);
SAL_ASSERT_OFS(sal_flow, created_ns, 224);
SAL_ASSERT_OFS(sal_flow, peer_endpoint, 296);
SAL_ASSERT_OFS(sal_settings, identity_v4, 24);
SAL_ASSERT_OFS(sal_settings, hash_key, 136);

#endif /* sal_maps.h */
