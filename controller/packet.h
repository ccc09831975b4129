/* SPDX-License-Identifier: Apache-2.0 */
/* The packets that the controller itself builds and reads: link probes (LLDP),
 * hosts' PROBEs, and the RESET for a SYN that nobody serves.
 *
 * Everything read here is hostile until shown otherwise: lengths are checked
 * before every access, a parser returns -EPROTO (malformed), -EPERM (bad
 * authentication) or -ENOMSG (not this kind of packet), and touches its
 * results only on success.
 *
 * Pure; any thread. */
#ifndef CONTROLLER_PACKET_H
#define CONTROLLER_PACKET_H 1

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/endpoint_id.h"
#include "controller/topology.h"
#include "ofp-ext/sal.h"
#include "ofp-ext/service_id.h"
#include "openvswitch/types.h"

#define PACKET_TYPE_LLDP 0x88cc /* IEEE 802.1AB. */

/* Enough for everything built here. */
#define PACKET_BUFFER_LEN 256

/* Link probes: LLDP with the datapath ID, port and a stamp in an
 * organisationally specific TLV that ends in a MAC (keyed BLAKE2b) under a key
 * that only the controller knows, so that no host can fake a link.  The stamp
 * makes a recorded probe useless later. */
#define PACKET_LINK_KEY_LEN 32

struct packet_link_probe {
    struct topology_end from; /* Where it was sent out. */
    uint64_t stamp;           /* The sender's; microseconds. */
};

/* Returns the length of the frame. */
size_t packet_build_link_probe(const uint8_t key[PACKET_LINK_KEY_LEN],
                               const struct packet_link_probe *,
                               const struct eth_addr *port_mac,
                               uint8_t buf[PACKET_BUFFER_LEN]);
/* -ENOMSG: no LLDP, or not of a Salient controller.  -EPERM: not ours. */
int packet_parse_link_probe(const uint8_t key[PACKET_LINK_KEY_LEN],
                            const void *, size_t len,
                            struct packet_link_probe *ret_probe);

/* A PROBE to the resolver: who, from which locator and MAC address.  Options
 * ENDPOINT_ID and MAC are required; where LOCATOR4 or LOCATOR6 options are
 * present, the outer source must be among them. */
struct packet_probe {
    struct endpoint_id endpoint;
    struct in6_addr locator;   /* Outer source; IPv4 as ::ffff:a.b.c.d. */
    struct eth_addr mac;       /* Ethernet source. */
    bool nat;                  /* It names no locator: a NAT is in between. */
    uint32_t seq;
    uint64_t nonce;
    const uint8_t *sal;        /* The SAL header, inside the frame. */
    size_t sal_len;
    size_t mac_ofs;            /* Of the MAC's 16 bytes, from 'sal'. */
};

/* Parses a frame; checks the SAL checksum, not the MAC.  'sal_port' is the UDP
 * port in host byte order. */
int packet_parse_probe(const void *, size_t len, uint16_t sal_port,
                       struct packet_probe *ret_probe);
/* True if the MAC is right under the session's key (IDENTITY_SESSION_KEY_LEN
 * bytes, proto/identity.h). */
bool packet_probe_verify(const struct packet_probe *, const uint8_t key[]);

/* The answer to an Ethernet frame with a SYN (or DATAGRAM, RSYN) that no
 * instance serves: a RESET with the flow ID and nonce of the SYN, from the
 * address it was sent to.  '*ret_len' is the frame's length.
 *
 * -ENOMSG if the frame is nothing that gets an answer. */
int packet_build_reset(const void *syn, size_t syn_len, uint16_t sal_port,
                       uint8_t buf[PACKET_BUFFER_LEN], size_t *ret_len);

/* What a frame asks for that is to be resolved: a SYN, RSYN or DATAGRAM.
 * -ENOMSG for others. */
struct packet_request {
    struct service_id service;
    uint8_t protocol;
    bool v6;               /* It came over IPv6. */
    uint16_t source_port;  /* Of UDP. */
    size_t ip_ofs, udp_ofs; /* In the frame. */
};
int packet_parse_request(const void *, size_t len, uint16_t sal_port,
                         struct packet_request *ret_request);
/* Gives the frame that 'request' was read from another Ethernet and IP
 * destination; the checksums follow. */
void packet_redirect(void *frame, const struct packet_request *,
                     const struct eth_addr *, const struct in6_addr *locator);

/* What a frame that misses in the service table asks for; for logs. */
int packet_parse_service(const void *, size_t len, uint16_t sal_port,
                         struct sal_service_header *ret_header,
                         struct in6_addr *ret_source);

/* What any Ethernet frame says of who sent it: the MAC address and the IPv4
 * (as ::ffff:a.b.c.d) or IPv6 address that goes with it, from ARP or IP.
 * -ENOMSG if it says nothing of the kind; -EPROTO if what it says cannot be (a
 * group address, two MAC addresses). */
int packet_parse_sender(const void *, size_t len, struct eth_addr *ret_mac,
                        struct in6_addr *ret_address);

/* A question that every host answers to 'from': are you there, 'address' at
 * 'mac'?  ARP from the address 0.0.0.0 (RFC 5227), or a solicitation from the
 * link-local address of 'from'.  Returns the frame's length. */
size_t packet_build_question(const struct eth_addr *from,
                             const struct eth_addr *mac,
                             const struct in6_addr *address,
                             uint8_t buf[PACKET_BUFFER_LEN]);

/* Internet checksum (RFC 1071) of 'len' bytes, in network byte order; 'sum' is
 * what was summed before, 0 to begin. */
uint16_t packet_checksum(const void *, size_t len, uint32_t sum);

#endif /* packet.h */
