/* SPDX-License-Identifier: Apache-2.0 */
/* The SAL (Service Access Layer) header on the wire.
 *
 *     IPv4 or IPv6 | UDP | SAL header | inner packet
 *
 * This is the only definition of the format.  The switch patch, the eBPF
 * programs, the agent, the controller, the packet dissector's test and the
 * unit tests all take their offsets and numbers from here; a static assert
 * guards each one.
 *
 * All multi-byte fields are big-endian.  Plain C11, no libc: the file compiles
 * for the BPF target as well as for the host. */
#ifndef SALIENT_SAL_H
#define SALIENT_SAL_H 1

#ifdef __BPF__
#include <linux/types.h>
typedef __u8 sal_u8;
typedef __u16 sal_u16;
typedef __u32 sal_u32;
typedef __u64 sal_u64;
#else
#include <stddef.h>
#include <stdint.h>
typedef uint8_t sal_u8;
typedef uint16_t sal_u16;
typedef uint32_t sal_u32;
typedef uint64_t sal_u64;
#endif

/* UDP destination port of every SAL packet, host byte order.  IANA lists
 * 6089-6098 as unassigned. */
#define SAL_UDP_PORT 6090

/* The UDP source port of a flow carries its entropy in the low
 * SAL_ENTROPY_BITS bits; the bits above are those of SAL_ENTROPY_BASE.  ECMP,
 * RSS and the choice of an instance (a binary tiling of these bits) work on
 * it.  SAL_ENTROPY_BASE..65535 is IANA's dynamic range (RFC 6335). */
#define SAL_ENTROPY_BITS 14
#define SAL_ENTROPY_BASE 0xc000
#define SAL_ENTROPY_MASK 0x3fff

#define SAL_VERSION 1

/* Bit of 'type' that says: bytes 32..63 hold a service ID. */
#define SAL_TYPE_SERVICE_BIT 0x10

/* Packet types.  0 is never used: a switch reads an absent field as 0. */
enum sal_type {
    SAL_TYPE_DATA = 0x01,      /* Payload of a bound flow; 16-byte header. */
    SAL_TYPE_ACK = 0x02,       /* Completes a handshake that has no data yet. */
    SAL_TYPE_FIN = 0x03,       /* Closes a flow (daemon to daemon, MACed). */
    SAL_TYPE_RESET = 0x04,     /* Refuses or aborts; echoes flow ID and nonce. */
    SAL_TYPE_RSYN_ACK = 0x05,  /* Migration: challenge. */
    SAL_TYPE_RSYN_DONE = 0x06, /* Migration: answer to the challenge. */

    SAL_TYPE_SYN = 0x11,       /* First packet of a flow; resolved.  A datagram
                                * that is too large beside the header is cut
                                * after its UDP header and follows as DATA. */
    SAL_TYPE_SYN_ACK = 0x12,   /* Server to client, directly; binds the flow. */
    SAL_TYPE_RSYN = 0x13,      /* Migration: new locator; resolved if need be. */
    SAL_TYPE_DATAGRAM = 0x14,  /* One self-contained datagram; resolved. */
    SAL_TYPE_PROBE = 0x15,     /* "I am here": to the resolver address it tells
                                * the edge switch's controller where a host is
                                * attached; to a peer it asks about a flow. */
};

/* High four bits of byte 12. */
#define SAL_FLAG_RETRY 0x80    /* A SYN sent again: resolve afresh.  RESET: not
                                * served here, another host may do so. */
#define SAL_FLAG_HOP_MASK 0x60 /* SYN, DATAGRAM, RSYN: times it was resolved on
                                * by a service router, or by the client after
                                * such a RESET, which repeats them; at most 3.
                                * The MAC of an RSYN does not cover them. */
#define SAL_FLAG_NAT 0x10      /* SYN: the sender is behind a NAT; it hears what
                                * is sent to the UDP port this came from. */
#define SAL_FLAGS_MASK 0xf0
/* Low four bits of byte 12: path class, 0 = default. */
#define SAL_PATH_CLASS_MASK 0x0f

/* Inner formats: IANA protocol numbers. */
#define SAL_INNER_IPV4 4
#define SAL_INNER_IPV6 41
#define SAL_INNER_NONE 59

#define SAL_SERVICE_ID_LEN 32   /* Bytes. */
#define SAL_SERVICE_ID_BITS 256
#define SAL_ENDPOINT_ID_LEN 16  /* Bytes. */
#define SAL_PUBLIC_KEY_LEN 32   /* X25519, bytes. */

struct sal_data_header {
    sal_u8 version;          /* Version in the high four bits, 0 in the low. */
    sal_u8 header_len;       /* Whole SAL header, options too, 32-bit words. */
    sal_u8 type;             /* enum sal_type. */
    sal_u8 proto;            /* Transport protocol, IANA: 6, 17, ... */
    sal_u32 src_flow;        /* Flow ID of the sender; 0 only in the RESET of
                              * one that made no flow. */
    sal_u32 dst_flow;        /* Flow ID of the receiver; 0 while unknown. */
    sal_u8 flags_class;      /* SAL_FLAG_* | path class. */
    sal_u8 inner;            /* SAL_INNER_*. */
    sal_u16 checksum;        /* Internet checksum (RFC 1071) of the whole SAL
                              * header with this field 0; 0 on DATA. */
};

struct sal_control_header {
    struct sal_data_header base;
    sal_u32 seq;
    sal_u32 ack;
    sal_u64 nonce;
};

struct sal_service_header {
    struct sal_control_header control;
    sal_u8 service_id[SAL_SERVICE_ID_LEN];
};

/* Header lengths in bytes.  A packet is valid only if its header_len covers
 * at least sal_type_min_len() of its type and no more than SAL_MAX_HEADER_LEN.
 * Options begin at byte 64, so whoever carries options carries the service ID
 * field too (zero where the type has no use for it). */
#define SAL_DATA_HEADER_LEN 16
#define SAL_CONTROL_HEADER_LEN 32
#define SAL_SERVICE_HEADER_LEN 64
#define SAL_MAX_HEADER_LEN 1020

/* Offsets, for those who cannot use the structs. */
#define SAL_OFS_VERSION 0
#define SAL_OFS_HEADER_LEN 1
#define SAL_OFS_TYPE 2
#define SAL_OFS_PROTO 3
#define SAL_OFS_SRC_FLOW 4
#define SAL_OFS_DST_FLOW 8
#define SAL_OFS_FLAGS_CLASS 12
#define SAL_OFS_INNER 13
#define SAL_OFS_CHECKSUM 14
#define SAL_OFS_SEQ 16
#define SAL_OFS_ACK 20
#define SAL_OFS_NONCE 24
#define SAL_OFS_SERVICE 32
#define SAL_OFS_OPTIONS 64

/* Options: one byte of type, one byte of length (octets of the whole option,
 * header included, before padding), value, zero padding to 4 bytes.  An
 * unknown option is skipped. */
struct sal_option {
    sal_u8 type;   /* enum sal_option_type. */
    sal_u8 length; /* >= 2. */
};

enum sal_option_type {
    SAL_OPTION_PAD = 0,         /* One zero word: type 0, length ignored. */
    SAL_OPTION_ENDPOINT_ID = 1, /* 16 bytes: who sends. */
    SAL_OPTION_PUBLIC_KEY = 2,  /* 32 bytes: X25519. */
    SAL_OPTION_LOCATOR4 = 3,    /* 4 bytes; may repeat. */
    SAL_OPTION_LOCATOR6 = 4,    /* 16 bytes; may repeat. */
    SAL_OPTION_MAC = 5,         /* 16 bytes: authentication code. */
    SAL_OPTION_MIGRATION = 6,   /* 12 bytes: SAL_MIGRATION_OFS_*. */
    SAL_OPTION_CHALLENGE = 7,   /* 24 bytes: 64-bit stamp, 128-bit tag. */
    SAL_OPTION_FLOWS = 8,       /* n times 4 bytes: flow IDs of the receiver;
                                 * may repeat. */
};

/* Value of SAL_OPTION_MIGRATION, which every RSYN* carries; docs/migration.md.
 * Offsets only: an option's value is not aligned. */
#define SAL_MIGRATION_OFS_GROUP 0  /* 32 bits: the flows that move together;
                                    * 0 = those that are in no other group. */
#define SAL_MIGRATION_OFS_FLAGS 4  /* SAL_MIGRATION_*. */
#define SAL_MIGRATION_OFS_PART 5   /* RSYN-DONE: 1..parts of a list of flows, */
#define SAL_MIGRATION_OFS_PARTS 6  /* which RSYN-ACK repeats; else 1 and 1. */
#define SAL_MIGRATION_OFS_PORT 8   /* 16 bits: UDP port of the locator; 0 = the
                                    * SAL port (no NAT in between). */
#define SAL_MIGRATION_LEN 12       /* Bytes not named are 0. */

#define SAL_MIGRATION_BOUND 0x01 /* RSYN-ACK: done, no challenge. */
#define SAL_MIGRATION_NAT 0x02   /* The sender is behind a NAT. */
#define SAL_MIGRATION_LIST 0x04  /* RSYN-ACK: which flows are in the group? */

#define SAL_CHALLENGE_OFS_STAMP 0
#define SAL_CHALLENGE_OFS_TAG 8
#define SAL_CHALLENGE_TAG_LEN 16
#define SAL_CHALLENGE_LEN 24

#define SAL_ASSERT_OFS(STRUCT, FIELD, OFS)                                    \
    _Static_assert(__builtin_offsetof(struct STRUCT, FIELD) == (OFS),         \
                   #STRUCT "." #FIELD " moved")
SAL_ASSERT_OFS(sal_data_header, version, SAL_OFS_VERSION);
SAL_ASSERT_OFS(sal_data_header, header_len, SAL_OFS_HEADER_LEN);
SAL_ASSERT_OFS(sal_data_header, type, SAL_OFS_TYPE);
SAL_ASSERT_OFS(sal_data_header, proto, SAL_OFS_PROTO);
SAL_ASSERT_OFS(sal_data_header, src_flow, SAL_OFS_SRC_FLOW);
SAL_ASSERT_OFS(sal_data_header, dst_flow, SAL_OFS_DST_FLOW);
SAL_ASSERT_OFS(sal_data_header, flags_class, SAL_OFS_FLAGS_CLASS);
SAL_ASSERT_OFS(sal_data_header, inner, SAL_OFS_INNER);
SAL_ASSERT_OFS(sal_data_header, checksum, SAL_OFS_CHECKSUM);
SAL_ASSERT_OFS(sal_control_header, seq, SAL_OFS_SEQ);
SAL_ASSERT_OFS(sal_control_header, ack, SAL_OFS_ACK);
SAL_ASSERT_OFS(sal_control_header, nonce, SAL_OFS_NONCE);
SAL_ASSERT_OFS(sal_service_header, service_id, SAL_OFS_SERVICE);
_Static_assert(sizeof(struct sal_data_header) == SAL_DATA_HEADER_LEN, "DATA");
_Static_assert(sizeof(struct sal_control_header) == SAL_CONTROL_HEADER_LEN,
               "control");
_Static_assert(sizeof(struct sal_service_header) == SAL_SERVICE_HEADER_LEN,
               "service");
_Static_assert(sizeof(struct sal_option) == 2, "option");
_Static_assert(SAL_MIGRATION_OFS_PORT + 2 <= SAL_MIGRATION_LEN, "migration");
_Static_assert(SAL_CHALLENGE_OFS_TAG + SAL_CHALLENGE_TAG_LEN
               == SAL_CHALLENGE_LEN, "challenge");

/* Smallest header of 'type' in bytes; 0 for a type that does not exist. */
static inline unsigned int
sal_type_min_len(sal_u8 type)
{
    switch (type) {
    case SAL_TYPE_DATA:
        return SAL_DATA_HEADER_LEN;
    case SAL_TYPE_ACK:
    case SAL_TYPE_FIN:
    case SAL_TYPE_RESET:
    case SAL_TYPE_RSYN_ACK:
    case SAL_TYPE_RSYN_DONE:
        return SAL_CONTROL_HEADER_LEN;
    case SAL_TYPE_SYN:
    case SAL_TYPE_SYN_ACK:
    case SAL_TYPE_RSYN:
    case SAL_TYPE_DATAGRAM:
    case SAL_TYPE_PROBE:
        return SAL_SERVICE_HEADER_LEN;
    default:
        return 0;
    }
}

#endif /* sal.h */
