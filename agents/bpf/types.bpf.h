/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs know of the packet in hand. */
#ifndef SALIENT_TYPES_BPF_H
#define SALIENT_TYPES_BPF_H 1

#include <linux/types.h>
#include "agents/bpf/sal_maps.h"

/* A packet on an uplink that is SAL, as far as the outer headers tell. */
struct outer {
    struct sal_addr src, dst;
    __u32 sal_ofs; /* From the start of the frame. */
    __u32 sal_len; /* SAL header and inner packet. */
    __be16 src_port;
    __u16 udp_checksum;
    __u8 tos; /* Or IPv6's traffic class. */
    __u8 v6;
};

/* What the headers of an inner packet say. */
struct inner {
    struct sal_addr src, dst;
    __be32 seq, ack; /* TCP's. */
    __be16 sport, dport;
    __be16 window; /* TCP's. */
    __u8 v6;
    __u8 proto;
    __u8 tos; /* Or IPv6's traffic class. */
    __u8 tcp_flags;
};

/* A control packet whose SAL header is in scratch->header and good. */
struct control {
    struct outer outer;
    struct inner inner; /* All zero if the inner format is none. */
    __u32 header_len;
    __u32 inner_len;
    __u8 has_inner;
    __u8 reset_flags; /* For a RESET that answers it. */
    __u8 quoted; /* Only the headers of the datagram are here, which is too
                  * large to travel with its SYN. */
};

/* The inner packet that the local stack sends, as read from its headers. */
struct egress {
    struct sal_tuple tuple;
    __be32 seq, ack;
    __u32 len; /* With the IP header. */
    __u32 segment_len; /* The same, of each datagram of UDP_SEGMENT. */
    __u32 payload; /* Of TCP; a FIN counts. */
    __u8 tos; /* Or IPv6's traffic class. */
    __u8 tcp_flags;
    __u8 v6;
    __u8 fragment; /* The first one of a datagram. */
};

/* What the IP headers of a fragment say. */
struct fragment {
    struct sal_addr src, dst;
    __be32 id;
    __u32 len;           /* With the IP header. */
    __u32 transport_ofs; /* From the IP header on. */
    __u8 proto;
    __u8 tos;
    __u8 is_first;
    __u8 v6;
};

#endif /* types.bpf.h */
