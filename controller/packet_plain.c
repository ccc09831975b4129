/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of plain hosts: who sent this, and are you there? */
#include "controller/packet.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <string.h>
#include "byte-order.h"
#include "packets.h"
#include "unaligned.h"

#define ARP_LEN 28 /* Behind the Ethernet header; RFC 826. */
#define ND_LEN 32  /* Solicitation with one option. */

static uint16_t
read_be16(const uint8_t *p)
{
    return p[0] << 8 | p[1];
}

static bool
is_host_v4(ovs_be32 address)
{
    uint32_t a = ntohl(address);
    return a >> 24 && a >> 24 != 127 && a < 0xe0000000;
}

static bool
is_host_v6(const struct in6_addr *address)
{
    return !IN6_IS_ADDR_UNSPECIFIED(address) && !IN6_IS_ADDR_LOOPBACK(address)
           && !IN6_IS_ADDR_MULTICAST(address)
           && !IN6_IS_ADDR_V4MAPPED(address);
}

static int
take_v4(const uint8_t *p, struct in6_addr *ret_address)
{
    ovs_be32 address = get_unaligned_be32((const ovs_be32 *) p);

    if (!address) {
        return -ENOMSG; /* It asks for an address, or whether one is free. */
    }
    if (!is_host_v4(address)) {
        return -EPROTO;
    }
    *ret_address = in6_addr_mapped_ipv4(address);
    return 0;
}

static int
parse_arp(const uint8_t *frame, size_t len, struct in6_addr *ret_address)
{
    const uint8_t *arp = frame + ETH_HEADER_LEN;

    if (len < ETH_HEADER_LEN + ARP_LEN || read_be16(arp) != ARP_HRD_ETHERNET
        || read_be16(arp + 2) != ARP_PRO_IP || arp[4] != ETH_ADDR_LEN
        || arp[5] != 4 || memcmp(arp + 8, frame + ETH_ADDR_LEN,
                                 ETH_ADDR_LEN)) {
        return -EPROTO;
    }
    return take_v4(arp + 14, ret_address);
}

int
packet_parse_sender(const void *data, size_t len, struct eth_addr *ret_mac,
                    struct in6_addr *ret_address)
{
    const uint8_t *frame = data;
    struct in6_addr address;
    int error = -ENOMSG;

    if (len < ETH_HEADER_LEN) {
        return -EPROTO;
    }
    if (frame[ETH_ADDR_LEN] & 1) {
        return -EPROTO;
    }
    switch (read_be16(frame + 12)) {
    case ETH_TYPE_ARP:
        error = parse_arp(frame, len, &address);
        break;
    case ETH_TYPE_IP:
        error = len < ETH_HEADER_LEN + IP_HEADER_LEN
                ? -EPROTO : take_v4(frame + ETH_HEADER_LEN + 12, &address);
        break;
    case ETH_TYPE_IPV6:
        if (len < ETH_HEADER_LEN + IPV6_HEADER_LEN) {
            return -EPROTO;
        }
        memcpy(&address, frame + ETH_HEADER_LEN + 8, sizeof address);
        error = is_host_v6(&address) ? 0
                : IN6_IS_ADDR_UNSPECIFIED(&address) ? -ENOMSG : -EPROTO;
        break;
    }
    if (!error) {
        memcpy(ret_mac, frame + ETH_ADDR_LEN, sizeof *ret_mac);
        *ret_address = address;
    }
    return error;
}

static void
build_arp(const struct eth_addr *from, const struct in6_addr *address,
          uint8_t *arp)
{
    const ovs_be32 target = in6_addr_get_mapped_ipv4(address);

    arp[1] = ARP_HRD_ETHERNET;
    arp[2] = ARP_PRO_IP >> 8;
    arp[4] = ETH_ADDR_LEN;
    arp[5] = 4;
    arp[7] = ARP_OP_REQUEST;
    memcpy(arp + 8, from, ETH_ADDR_LEN);
    memcpy(arp + 24, &target, 4);
}

static void
build_solicitation(const struct eth_addr *from,
                   const struct in6_addr *address, uint8_t *ip)
{
    uint8_t *nd = ip + IPV6_HEADER_LEN;
    struct in6_addr source = {.s6_addr = {0xfe, 0x80}};

    /* The interface identifier of RFC 4291, appendix A. */
    memcpy(&source.s6_addr[8], from, 3);
    source.s6_addr[8] ^= 2;
    source.s6_addr[11] = 0xff;
    source.s6_addr[12] = 0xfe;
    memcpy(&source.s6_addr[13], &from->ea[3], 3);

    ip[0] = 0x60;
    ip[5] = ND_LEN;
    ip[6] = IPPROTO_ICMPV6;
    ip[7] = 255;
    memcpy(ip + 8, &source, sizeof source);
    memcpy(ip + 24, address, sizeof *address);
    nd[0] = ND_NEIGHBOR_SOLICIT;
    memcpy(nd + 8, address, sizeof *address);
    nd[24] = ND_OPT_SOURCE_LINKADDR;
    nd[25] = 1;
    memcpy(nd + 26, from, ETH_ADDR_LEN);

    uint32_t sum = IPPROTO_ICMPV6 + ND_LEN;
    for (int i = 8; i < IPV6_HEADER_LEN; i += 2) {
        sum += read_be16(ip + i);
    }
    uint16_t checksum = packet_checksum(nd, ND_LEN, sum);
    memcpy(nd + 2, &checksum, sizeof checksum);
}

size_t
packet_build_question(const struct eth_addr *from, const struct eth_addr *mac,
                      const struct in6_addr *address,
                      uint8_t buf[PACKET_BUFFER_LEN])
{
    bool v4 = IN6_IS_ADDR_V4MAPPED(address);
    const ovs_be16 type = htons(v4 ? ETH_TYPE_ARP : ETH_TYPE_IPV6);
    uint8_t *rest = buf + ETH_HEADER_LEN;

    memset(buf, 0, PACKET_BUFFER_LEN);
    memcpy(buf, mac, ETH_ADDR_LEN);
    memcpy(buf + ETH_ADDR_LEN, from, ETH_ADDR_LEN);
    memcpy(buf + 2 * ETH_ADDR_LEN, &type, sizeof type);
    if (v4) {
        build_arp(from, address, rest);
        return ETH_TOTAL_MIN;
    }
    build_solicitation(from, address, rest);
    return ETH_HEADER_LEN + IPV6_HEADER_LEN + ND_LEN;
}
