/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/packet.h"

#include <errno.h>
#include <sodium.h>
#include "openvswitch/util.h"
#include "proto/identity.h"
#include "byte-order.h"
#include "packets.h"
#include "unaligned.h"
#include "util.h"

BUILD_ASSERT_DECL(PACKET_LINK_KEY_LEN == crypto_generichash_KEYBYTES);

uint16_t
packet_checksum(const void *data, size_t len, uint32_t sum)
{
    const uint8_t *p = data;
    for (size_t i = 0; i + 1 < len; i += 2) {
        sum += (uint32_t) p[i] << 8 | p[i + 1];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    if (len % 2) {
        sum += (uint32_t) p[len - 1] << 8;
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return htons(~sum);
}

/* Link probes: LLDP (IEEE 802.1AB).  The standard TLVs are for people with a
 * packet dump; the controller itself reads only its own.  */

enum lldp_tlv {
    LLDP_END = 0,
    LLDP_CHASSIS_ID = 1,
    LLDP_PORT_ID = 2,
    LLDP_TTL = 3,
    LLDP_ORGANISATION = 127,
};

#define LLDP_CHASSIS_LOCAL 7 /* Subtypes: "locally assigned". */
#define LLDP_PORT_LOCAL 7
#define LLDP_TTL_SECONDS 120

/* "SAL" as organisation; see SAL_OXM_EXPERIMENTER. */
static const uint8_t organisation[3] = {0x53, 0x41, 0x4c};
#define ORGANISATION_SUBTYPE 1
static const struct eth_addr lldp_destination
    = {{{0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e}}};

#define LINK_MAC_LEN 16

/* Value of our TLV behind organisation and subtype. */
struct link_tlv {
    ovs_be64 dpid;
    ovs_be32 port;
    ovs_be32 reserved;
    ovs_be64 stamp;
    uint8_t mac[LINK_MAC_LEN]; /* Of what is before it. */
};
BUILD_ASSERT_DECL(sizeof(struct link_tlv) == 24 + LINK_MAC_LEN);

static void
link_mac(const uint8_t key[PACKET_LINK_KEY_LEN], const struct link_tlv *tlv,
         uint8_t mac[LINK_MAC_LEN])
{
    crypto_generichash(mac, LINK_MAC_LEN, (const uint8_t *) tlv,
                       offsetof(struct link_tlv, mac), key,
                       PACKET_LINK_KEY_LEN);
}

static uint8_t *
put_tlv(uint8_t *p, enum lldp_tlv type, const void *value, size_t len)
{
    put_unaligned_be16((ovs_be16 *) p, htons(type << 9 | len));
    memcpy(p + 2, value, len);
    return p + 2 + len;
}

/* An identifier with a subtype, in hex digits. */
static uint8_t *
put_id(uint8_t *p, enum lldp_tlv type, uint8_t subtype, uint64_t id)
{
    char text[1 + 16 + 1];
    int n = snprintf(text, sizeof text, "%c%"PRIx64, subtype, id);
    return put_tlv(p, type, text, n);
}

size_t
packet_build_link_probe(const uint8_t key[PACKET_LINK_KEY_LEN],
                        const struct packet_link_probe *probe,
                        const struct eth_addr *port_mac,
                        uint8_t buf[PACKET_BUFFER_LEN])
{
    const ovs_be16 ttl = htons(LLDP_TTL_SECONDS);
    const ovs_be16 type = htons(PACKET_TYPE_LLDP);
    uint8_t value[4 + sizeof(struct link_tlv)];
    uint8_t *p = buf;

    memset(buf, 0, PACKET_BUFFER_LEN);
    memcpy(p, &lldp_destination, ETH_ADDR_LEN);
    memcpy(p + ETH_ADDR_LEN, port_mac, ETH_ADDR_LEN);
    memcpy(p + 2 * ETH_ADDR_LEN, &type, sizeof type);
    p += ETH_HEADER_LEN;
    p = put_id(p, LLDP_CHASSIS_ID, LLDP_CHASSIS_LOCAL, probe->from.dpid);
    p = put_id(p, LLDP_PORT_ID, LLDP_PORT_LOCAL, probe->from.port);
    p = put_tlv(p, LLDP_TTL, &ttl, sizeof ttl);

    struct link_tlv tlv = {
        .dpid = htonll(probe->from.dpid),
        .port = htonl(probe->from.port),
        .stamp = htonll(probe->stamp),
    };
    link_mac(key, &tlv, tlv.mac);
    memcpy(value, organisation, sizeof organisation);
    value[3] = ORGANISATION_SUBTYPE;
    memcpy(value + 4, &tlv, sizeof tlv);
    p = put_tlv(p, LLDP_ORGANISATION, value, sizeof value);
    p = put_tlv(p, LLDP_END, "", 0);
    return MAX(p - buf, ETH_TOTAL_MIN);
}

static bool
is_our_tlv(unsigned int type, const uint8_t *value, size_t len)
{
    return type == LLDP_ORGANISATION && len == 4 + sizeof(struct link_tlv)
           && !memcmp(value, organisation, sizeof organisation)
           && value[3] == ORGANISATION_SUBTYPE;
}

int
packet_parse_link_probe(const uint8_t key[PACKET_LINK_KEY_LEN],
                        const void *data, size_t len,
                        struct packet_link_probe *ret_probe)
{
    const uint8_t *p = data;
    const uint8_t *end = p + len;

    if (len < ETH_HEADER_LEN || p[12] != PACKET_TYPE_LLDP >> 8
        || p[13] != (PACKET_TYPE_LLDP & 0xff)) {
        return -ENOMSG;
    }
    for (p += ETH_HEADER_LEN; end - p >= 2;) {
        unsigned int type = p[0] >> 1;
        size_t n = (p[0] & 1) << 8 | p[1];
        p += 2;
        if (type == LLDP_END) {
            return -ENOMSG;
        }
        if (n > end - p) {
            return -EPROTO;
        }
        if (is_our_tlv(type, p, n)) {
            struct link_tlv tlv;
            uint8_t mac[LINK_MAC_LEN];
            memcpy(&tlv, p + 4, sizeof tlv);
            link_mac(key, &tlv, mac);
            if (sodium_memcmp(mac, tlv.mac, sizeof mac)) {
                return -EPERM;
            }
            ret_probe->from.dpid = ntohll(tlv.dpid);
            ret_probe->from.port = ntohl(tlv.port);
            ret_probe->stamp = ntohll(tlv.stamp);
            return 0;
        }
        p += n;
    }
    return -EPROTO;
}

/* SAL packets, outside in. */

struct layers {
    const uint8_t *eth;
    const uint8_t *ip;
    const uint8_t *udp;
    const uint8_t *sal;
    size_t sal_len;  /* Header, options too. */
    bool is_v6;
    struct in6_addr source;
};

static uint16_t
read_be16(const uint8_t *p)
{
    return p[0] << 8 | p[1];
}

/* Finds the IP header's end.  'len' is what is left of the frame. */
static int
parse_ip(struct layers *layers, uint16_t eth_type, size_t len,
         size_t *ret_header_len, size_t *ret_payload_len)
{
    const uint8_t *ip = layers->ip;
    size_t header_len, total;

    if (eth_type == ETH_TYPE_IP) {
        if (len < IP_HEADER_LEN || ip[0] >> 4 != 4) {
            return -EPROTO;
        }
        header_len = (ip[0] & 15) * 4;
        total = read_be16(ip + 2);
        if (header_len < IP_HEADER_LEN || total < header_len || total > len) {
            return -EPROTO;
        }
        /* Fragments are nothing that a SAL host sends here. */
        if (ip[9] != IPPROTO_UDP || read_be16(ip + 6) & 0x3fff) {
            return -ENOMSG;
        }
        layers->source = in6_addr_mapped_ipv4(
            get_unaligned_be32((const ovs_be32 *) (ip + 12)));
    } else if (eth_type == ETH_TYPE_IPV6) {
        if (len < IPV6_HEADER_LEN || ip[0] >> 4 != 6) {
            return -EPROTO;
        }
        header_len = IPV6_HEADER_LEN;
        total = header_len + read_be16(ip + 4);
        if (total > len) {
            return -EPROTO;
        }
        if (ip[6] != IPPROTO_UDP) {
            return -ENOMSG;
        }
        layers->is_v6 = true;
        memcpy(&layers->source, ip + 8, sizeof layers->source);
    } else {
        return -ENOMSG;
    }
    *ret_header_len = header_len;
    *ret_payload_len = total - header_len;
    return 0;
}

static int
parse_layers(const void *data, size_t len, uint16_t sal_port,
             struct layers *layers)
{
    size_t ip_len, left;

    memset(layers, 0, sizeof *layers);
    if (len < ETH_HEADER_LEN) {
        return -EPROTO;
    }
    layers->eth = data;
    layers->ip = layers->eth + ETH_HEADER_LEN;
    int error = parse_ip(layers, read_be16(layers->eth + 12),
                         len - ETH_HEADER_LEN, &ip_len, &left);
    if (error) {
        return error;
    }

    layers->udp = layers->ip + ip_len;
    if (left < UDP_HEADER_LEN || read_be16(layers->udp + 4) < UDP_HEADER_LEN
        || read_be16(layers->udp + 4) > left) {
        return -EPROTO;
    }
    if (read_be16(layers->udp + 2) != sal_port) {
        return -ENOMSG;
    }
    left = read_be16(layers->udp + 4) - UDP_HEADER_LEN;

    const uint8_t *sal = layers->udp + UDP_HEADER_LEN;
    if (left < SAL_DATA_HEADER_LEN
        || sal[SAL_OFS_VERSION] >> 4 != SAL_VERSION) {
        return -EPROTO;
    }
    layers->sal = sal;
    layers->sal_len = sal[SAL_OFS_HEADER_LEN] * 4;
    size_t min_len = sal_type_min_len(sal[SAL_OFS_TYPE]);
    if (!min_len || layers->sal_len < min_len || layers->sal_len > left) {
        return -EPROTO;
    }
    if (sal[SAL_OFS_TYPE] != SAL_TYPE_DATA
        && packet_checksum(sal, layers->sal_len, 0)) {
        return -EPROTO;
    }
    return 0;
}

/* What the options of a PROBE say. */
struct options {
    bool has_endpoint, has_locator, has_source;
    size_t mac_ofs; /* 0 = none. */
};

static int
read_option(const struct layers *layers, size_t ofs, unsigned int type,
            size_t value_len, struct options *options,
            struct packet_probe *probe)
{
    const uint8_t *value = layers->sal + ofs;

    switch (type) {
    case SAL_OPTION_ENDPOINT_ID:
        if (value_len != SAL_ENDPOINT_ID_LEN || options->has_endpoint) {
            return -EPROTO;
        }
        memcpy(probe->endpoint.bytes, value, SAL_ENDPOINT_ID_LEN);
        options->has_endpoint = true;
        return 0;
    case SAL_OPTION_LOCATOR4:
        if (value_len != 4) {
            return -EPROTO;
        }
        options->has_locator = true;
        options->has_source |= !layers->is_v6
                               && !memcmp(value, layers->ip + 12, 4);
        return 0;
    case SAL_OPTION_LOCATOR6:
        if (value_len != 16) {
            return -EPROTO;
        }
        options->has_locator = true;
        options->has_source |= layers->is_v6
                               && !memcmp(value, &layers->source, 16);
        return 0;
    case SAL_OPTION_MAC:
        if (value_len != IDENTITY_MAC_LEN || options->mac_ofs) {
            return -EPROTO;
        }
        options->mac_ofs = ofs;
        return 0;
    default:
        return 0; /* Unknown: skipped. */
    }
}

static int
read_options(const struct layers *layers, struct options *options,
             struct packet_probe *probe)
{
    memset(options, 0, sizeof *options);
    for (size_t ofs = SAL_OFS_OPTIONS; ofs < layers->sal_len;) {
        unsigned int type = layers->sal[ofs];
        size_t length = type == SAL_OPTION_PAD ? 4 : layers->sal[ofs + 1];
        if (length < sizeof(struct sal_option)
            || ofs + length > layers->sal_len) {
            return -EPROTO;
        }
        int error = read_option(layers, ofs + sizeof(struct sal_option), type,
                                length - sizeof(struct sal_option), options,
                                probe);
        if (error) {
            return error;
        }
        ofs += ROUND_UP(length, 4);
    }
    return 0;
}

int
packet_parse_probe(const void *data, size_t len, uint16_t sal_port,
                   struct packet_probe *ret_probe)
{
    struct packet_probe probe;
    struct layers layers;
    struct options options;

    memset(&probe, 0, sizeof probe);
    int error = parse_layers(data, len, sal_port, &layers);
    if (error) {
        return error;
    }
    if (layers.sal[SAL_OFS_TYPE] != SAL_TYPE_PROBE) {
        return -ENOMSG;
    }
    error = read_options(&layers, &options, &probe);
    if (error) {
        return error;
    }
    if (!options.has_endpoint) {
        return -EPROTO;
    }
    if (!options.mac_ofs || (options.has_locator && !options.has_source)) {
        return -EPERM;
    }
    probe.locator = layers.source;
    probe.nat = !options.has_locator;
    memcpy(&probe.mac, layers.eth + ETH_ADDR_LEN, ETH_ADDR_LEN);
    probe.seq = ntohl(get_unaligned_be32(
        (const ovs_be32 *) (layers.sal + SAL_OFS_SEQ)));
    memcpy(&probe.nonce, layers.sal + SAL_OFS_NONCE, sizeof probe.nonce);
    probe.nonce = ntohll(probe.nonce);
    probe.sal = layers.sal;
    probe.sal_len = layers.sal_len;
    probe.mac_ofs = options.mac_ofs;
    *ret_probe = probe;
    return 0;
}

bool
packet_probe_verify(const struct packet_probe *probe, const uint8_t key[])
{
    uint8_t copy[SAL_MAX_HEADER_LEN], mac[IDENTITY_MAC_LEN];

    memcpy(copy, probe->sal, probe->sal_len);
    memset(copy + SAL_OFS_CHECKSUM, 0, 2);
    memset(copy + probe->mac_ofs, 0, sizeof mac);
    identity_mac(key, copy, probe->sal_len, mac);
    return !sodium_memcmp(mac, probe->sal + probe->mac_ofs, sizeof mac);
}

int
packet_parse_service(const void *data, size_t len, uint16_t sal_port,
                     struct sal_service_header *ret_header,
                     struct in6_addr *ret_source)
{
    struct layers layers;
    int error = parse_layers(data, len, sal_port, &layers);
    if (error) {
        return error;
    }
    if (!(layers.sal[SAL_OFS_TYPE] & SAL_TYPE_SERVICE_BIT)) {
        return -ENOMSG;
    }
    memcpy(ret_header, layers.sal, sizeof *ret_header);
    *ret_source = layers.source;
    return 0;
}

/* Whether it asks for a service, so that it may be resolved and refused. */
static bool
is_request(const struct layers *layers)
{
    uint8_t type = layers->sal[SAL_OFS_TYPE];

    return (type == SAL_TYPE_SYN || type == SAL_TYPE_RSYN
            || type == SAL_TYPE_DATAGRAM);
}

int
packet_parse_request(const void *data, size_t len, uint16_t sal_port,
                     struct packet_request *ret_request)
{
    struct layers layers;
    int error = parse_layers(data, len, sal_port, &layers);
    if (error) {
        return error;
    }
    if (!is_request(&layers)) {
        return -ENOMSG;
    }
    memcpy(ret_request->service.bytes, layers.sal + SAL_OFS_SERVICE,
           SAL_SERVICE_ID_LEN);
    ret_request->protocol = layers.sal[SAL_OFS_PROTO];
    ret_request->v6 = layers.is_v6;
    ret_request->source_port = read_be16(layers.udp);
    ret_request->ip_ofs = layers.ip - layers.eth;
    ret_request->udp_ofs = layers.udp - layers.eth;
    return 0;
}

/* RFC 1624: the checksum at 'p' after 'n' bytes that it covers have
 * changed. */
static void
update_checksum(uint8_t *p, const uint8_t *old, const uint8_t *new, size_t n)
{
    uint32_t sum = (uint16_t) ~read_be16(p);
    for (size_t i = 0; i < n; i += 2) {
        sum += (uint16_t) ~read_be16(old + i);
        sum += read_be16(new + i);
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    p[0] = (uint16_t) ~sum >> 8;
    p[1] = (uint8_t) ~sum;
}

void
packet_redirect(void *frame_, const struct packet_request *request,
                const struct eth_addr *mac, const struct in6_addr *locator)
{
    uint8_t *frame = frame_;
    uint8_t *ip = frame + request->ip_ofs;
    uint8_t *udp_checksum = frame + request->udp_ofs + 6;
    size_t n = request->v6 ? 16 : 4;
    uint8_t *destination = ip + (request->v6 ? 24 : 16);
    const uint8_t *new = &locator->s6_addr[request->v6 ? 0 : 12];

    memcpy(frame, mac, ETH_ADDR_LEN);
    if (!request->v6) {
        update_checksum(ip + 10, destination, new, n);
    }
    if (udp_checksum[0] || udp_checksum[1]) { /* Else there is none. */
        update_checksum(udp_checksum, destination, new, n);
        if (!udp_checksum[0] && !udp_checksum[1]) {
            udp_checksum[0] = udp_checksum[1] = 0xff;
        }
    }
    memcpy(destination, new, n);
}

/* RESET. */

static size_t
build_reset_v4(const struct layers *syn, uint8_t *ip, size_t udp_len)
{
    size_t total = IP_HEADER_LEN + udp_len;

    ip[0] = 0x45;
    ip[1] = syn->ip[1] & 0xfc; /* DSCP, but no ECN: there is no inner TCP. */
    ip[2] = total >> 8;
    ip[3] = total;
    ip[6] = 0x40; /* Don't fragment. */
    ip[8] = 64;
    ip[9] = IPPROTO_UDP;
    memcpy(ip + 12, syn->ip + 16, 4);
    memcpy(ip + 16, syn->ip + 12, 4);
    uint16_t checksum = packet_checksum(ip, IP_HEADER_LEN, 0);
    memcpy(ip + 10, &checksum, sizeof checksum);
    return IP_HEADER_LEN;
}

static size_t
build_reset_v6(const struct layers *syn, uint8_t *ip, size_t udp_len)
{
    ip[0] = 0x60;
    ip[4] = udp_len >> 8;
    ip[5] = udp_len;
    ip[6] = IPPROTO_UDP;
    ip[7] = 64;
    memcpy(ip + 8, syn->ip + 24, 16);
    memcpy(ip + 24, syn->ip + 8, 16);
    return IPV6_HEADER_LEN;
}

/* Over IPv6 a UDP checksum of 0 is for those only who have agreed on it (RFC
 * 6935), and this one is cheap. */
static void
put_checksum_v6(uint8_t *udp, const uint8_t *ip, size_t udp_len)
{
    uint32_t sum = IPPROTO_UDP + udp_len;
    for (int i = 8; i < IPV6_HEADER_LEN; i += 2) {
        sum += read_be16(ip + i);
    }
    uint16_t checksum = packet_checksum(udp, udp_len, sum);
    checksum = checksum ? checksum : 0xffff;
    memcpy(udp + 6, &checksum, sizeof checksum);
}

static void
build_reset_sal(const struct layers *syn, uint8_t *sal)
{
    sal[SAL_OFS_VERSION] = SAL_VERSION << 4;
    sal[SAL_OFS_HEADER_LEN] = SAL_CONTROL_HEADER_LEN / 4;
    sal[SAL_OFS_TYPE] = SAL_TYPE_RESET;
    sal[SAL_OFS_PROTO] = syn->sal[SAL_OFS_PROTO];
    /* From the flow it was for, which a SYN does not know: 0. */
    memcpy(sal + SAL_OFS_SRC_FLOW, syn->sal + SAL_OFS_DST_FLOW, 4);
    memcpy(sal + SAL_OFS_DST_FLOW, syn->sal + SAL_OFS_SRC_FLOW, 4);
    sal[SAL_OFS_INNER] = SAL_INNER_NONE;
    memcpy(sal + SAL_OFS_ACK, syn->sal + SAL_OFS_SEQ, 4);
    memcpy(sal + SAL_OFS_NONCE, syn->sal + SAL_OFS_NONCE, 8);
    uint16_t checksum = packet_checksum(sal, SAL_CONTROL_HEADER_LEN, 0);
    memcpy(sal + SAL_OFS_CHECKSUM, &checksum, sizeof checksum);
}

int
packet_build_reset(const void *syn, size_t syn_len, uint16_t sal_port,
                   uint8_t buf[PACKET_BUFFER_LEN], size_t *ret_len)
{
    const size_t udp_len = UDP_HEADER_LEN + SAL_CONTROL_HEADER_LEN;
    struct layers layers;

    int error = parse_layers(syn, syn_len, sal_port, &layers);
    if (error) {
        return error;
    }
    /* A RESET never answers a RESET, nor a PROBE. */
    if (!is_request(&layers)) {
        return -ENOMSG;
    }

    memset(buf, 0, PACKET_BUFFER_LEN);
    memcpy(buf, layers.eth + ETH_ADDR_LEN, ETH_ADDR_LEN);
    memcpy(buf + ETH_ADDR_LEN, layers.eth, ETH_ADDR_LEN);
    memcpy(buf + 2 * ETH_ADDR_LEN, layers.eth + 2 * ETH_ADDR_LEN, 2);
    uint8_t *p = buf + ETH_HEADER_LEN;
    p += layers.is_v6 ? build_reset_v6(&layers, p, udp_len)
                      : build_reset_v4(&layers, p, udp_len);

    /* From the flow's own source port, so that it takes the flow's way; a NAT
     * lets pass only what goes to the port that it gave the flow. */
    bool nat = layers.sal[SAL_OFS_TYPE] == SAL_TYPE_SYN
               && layers.sal[SAL_OFS_FLAGS_CLASS] & SAL_FLAG_NAT;
    uint8_t *flow_port = p + (nat ? 2 : 0), *other_port = p + (nat ? 0 : 2);
    memcpy(flow_port, layers.udp, 2);
    other_port[0] = sal_port >> 8;
    other_port[1] = sal_port;
    p[4] = udp_len >> 8;
    p[5] = udp_len;
    build_reset_sal(&layers, p + UDP_HEADER_LEN);
    if (layers.is_v6) {
        put_checksum_v6(p, buf + ETH_HEADER_LEN, udp_len);
    }
    *ret_len = p + udp_len - buf;
    return 0;
}
