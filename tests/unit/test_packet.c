/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include "controller/packet.h"
#include "proto/identity.h"
#include "packets.h"

static const uint8_t key[PACKET_LINK_KEY_LEN] = {1, 2, 3};

static void
test_checksum(void)
{
    /* The example of RFC 1071, section 3. */
    const uint8_t data[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    CU_ASSERT_EQUAL(ntohs(packet_checksum(data, sizeof data, 0)),
                    (uint16_t) ~0xddf2);
    CU_ASSERT_EQUAL(ntohs(packet_checksum(data, 1, 0)), 0xffff);
    CU_ASSERT_EQUAL(ntohs(packet_checksum(data + 4, 3, 0)),
                    (uint16_t) ~(0xf4f5 + 0xf600 - 0xffff));
}

static void
test_link_probe(void)
{
    const struct eth_addr mac = {{{2, 0, 0, 0, 0, 9}}};
    const struct packet_link_probe probe = {
        {0x1122334455667788, 0xfffffe00}, 0x0102030405060708};
    struct packet_link_probe parsed;
    uint8_t buf[PACKET_BUFFER_LEN];
    size_t len = packet_build_link_probe(key, &probe, &mac, buf);

    CU_ASSERT(len >= 60 && len <= sizeof buf);
    CU_ASSERT_EQUAL(buf[0], 0x01);
    CU_ASSERT_EQUAL(memcmp(buf + 6, &mac, 6), 0);
    CU_ASSERT_EQUAL(packet_parse_link_probe(key, buf, len, &parsed), 0);
    CU_ASSERT_EQUAL(parsed.from.dpid, probe.from.dpid);
    CU_ASSERT_EQUAL(parsed.from.port, probe.from.port);
    CU_ASSERT_EQUAL(parsed.stamp, probe.stamp);

    /* Another controller's, or a host's invention. */
    const uint8_t other_key[PACKET_LINK_KEY_LEN] = {1, 2, 4};
    CU_ASSERT_EQUAL(packet_parse_link_probe(other_key, buf, len, &parsed),
                    -EPERM);

    /* Every truncation, every flipped bit: never taken for genuine with other
     * content, never read past the end (sanitizers). */
    for (size_t n = 0; n < len; n++) {
        uint8_t *copy = malloc(n + 1);
        memcpy(copy, buf, n);
        int error = packet_parse_link_probe(key, copy, n, &parsed);
        CU_ASSERT(error <= 0);
        CU_ASSERT(error || parsed.from.dpid == probe.from.dpid);
        free(copy);
    }
    for (size_t bit = 0; bit < len * 8; bit++) {
        buf[bit / 8] ^= 1 << bit % 8;
        if (!packet_parse_link_probe(key, buf, len, &parsed)) {
            CU_ASSERT_EQUAL(parsed.from.dpid, probe.from.dpid);
            CU_ASSERT_EQUAL(parsed.from.port, probe.from.port);
            CU_ASSERT_EQUAL(parsed.stamp, probe.stamp);
        }
        buf[bit / 8] ^= 1 << bit % 8;
    }

    /* Somebody's ordinary LLDP, and no LLDP at all. */
    static const uint8_t plain[] = {
        1, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 1, 0x88, 0xcc,
        0x02, 0x02, 7, 'x', 0x04, 0x02, 7, 'y', 0x06, 2, 0, 120, 0, 0};
    CU_ASSERT_EQUAL(packet_parse_link_probe(key, plain, sizeof plain,
                                            &parsed), -ENOMSG);
    buf[12] = 8;
    buf[13] = 0;
    CU_ASSERT_EQUAL(packet_parse_link_probe(key, buf, len, &parsed), -ENOMSG);
}

/* Ethernet, IP, UDP around a SAL header of 'sal_len' bytes; returns where the
 * SAL header stands. */
static uint8_t *
wrap(uint8_t *frame, uint32_t src, uint32_t dst, size_t sal_len)
{
    size_t udp_len = 8 + sal_len, total = 20 + udp_len;
    static const uint8_t eth[] = {2, 0x53, 0x41, 0x4c, 0, 1,
                                  2, 0, 0, 0, 0, 7, 8, 0};
    memcpy(frame, eth, sizeof eth);
    uint8_t *ip = frame + 14;
    memset(ip, 0, total);
    ip[0] = 0x45;
    ip[2] = total >> 8;
    ip[3] = total;
    ip[8] = 64;
    ip[9] = 17;
    src = htonl(src);
    dst = htonl(dst);
    memcpy(ip + 12, &src, 4);
    memcpy(ip + 16, &dst, 4);
    uint8_t *udp = ip + 20;
    udp[0] = 0xc1;
    udp[1] = 0x23;
    udp[2] = SAL_UDP_PORT >> 8;
    udp[3] = SAL_UDP_PORT & 0xff;
    udp[4] = udp_len >> 8;
    udp[5] = udp_len;
    return udp + 8;
}

static void
seal(uint8_t *sal, size_t len)
{
    sal[SAL_OFS_VERSION] = SAL_VERSION << 4;
    sal[SAL_OFS_HEADER_LEN] = len / 4;
    memset(sal + SAL_OFS_CHECKSUM, 0, 2);
    uint16_t checksum = packet_checksum(sal, len, 0);
    memcpy(sal + SAL_OFS_CHECKSUM, &checksum, 2);
}

#define LOCATOR 0x0a000001
#define RESOLVER 0x0afffffe
#define PROBE_SAL_LEN (64 + 20 + 8 + 20)
#define PROBE_FRAME_LEN (14 + 28 + PROBE_SAL_LEN)

static void
build_probe(uint8_t *frame, const uint8_t session_key[32])
{
    uint8_t *sal = wrap(frame, LOCATOR, RESOLVER, PROBE_SAL_LEN);
    const uint32_t seq = htonl(77), locator = htonl(LOCATOR);

    sal[SAL_OFS_VERSION] = SAL_VERSION << 4;
    sal[SAL_OFS_HEADER_LEN] = PROBE_SAL_LEN / 4;
    sal[SAL_OFS_TYPE] = SAL_TYPE_PROBE;
    memcpy(sal + SAL_OFS_SEQ, &seq, 4);
    uint8_t *option = sal + SAL_OFS_OPTIONS;
    option[0] = SAL_OPTION_ENDPOINT_ID;
    option[1] = 18;
    memset(option + 2, 0xee, 16);
    option += 20;
    option[0] = SAL_OPTION_LOCATOR4;
    option[1] = 6;
    memcpy(option + 2, &locator, 4);
    option += 8;
    option[0] = SAL_OPTION_MAC;
    option[1] = 18;
    identity_mac(session_key, sal, PROBE_SAL_LEN, option + 2);
    seal(sal, PROBE_SAL_LEN);
}

static void
test_probe(void)
{
    uint8_t frame[PROBE_FRAME_LEN];
    uint8_t session_key[IDENTITY_SESSION_KEY_LEN] = {9, 9};
    struct packet_probe probe;

    build_probe(frame, session_key);
    CU_ASSERT_EQUAL_FATAL(packet_parse_probe(frame, sizeof frame,
                                             SAL_UDP_PORT, &probe), 0);
    CU_ASSERT_EQUAL(probe.endpoint.bytes[15], 0xee);
    CU_ASSERT_EQUAL(locator_get_v4(&probe.locator), LOCATOR);
    CU_ASSERT_EQUAL(probe.seq, 77);
    CU_ASSERT_EQUAL(memcmp(&probe.mac, frame + 6, 6), 0);
    CU_ASSERT(packet_probe_verify(&probe, session_key));
    session_key[0] ^= 1;
    CU_ASSERT(!packet_probe_verify(&probe, session_key));
    session_key[0] ^= 1;

    /* Padded to the Ethernet minimum or beyond: no matter. */
    uint8_t padded[PROBE_FRAME_LEN + 9] = {0};
    memcpy(padded, frame, sizeof frame);
    CU_ASSERT_EQUAL(packet_parse_probe(padded, sizeof padded, SAL_UDP_PORT,
                                       &probe), 0);

    CU_ASSERT_EQUAL(packet_parse_probe(frame, sizeof frame, 1, &probe),
                    -ENOMSG);
    for (size_t n = 0; n < sizeof frame; n++) {
        uint8_t *copy = malloc(n + 1);
        memcpy(copy, frame, n);
        CU_ASSERT(packet_parse_probe(copy, n, SAL_UDP_PORT, &probe) < 0);
        free(copy);
    }

    /* Sent on from another address (NAT, or a lie). */
    frame[14 + 15] ^= 1;
    CU_ASSERT_EQUAL(packet_parse_probe(frame, sizeof frame, SAL_UDP_PORT,
                                       &probe), -EPERM);
    frame[14 + 15] ^= 1;
    /* A fragment. */
    frame[14 + 6] |= 0x20;
    CU_ASSERT_EQUAL(packet_parse_probe(frame, sizeof frame, SAL_UDP_PORT,
                                       &probe), -ENOMSG);
    frame[14 + 6] = 0;
}

/* No change of the SAL part, with the checksum mended, passes the MAC. */
static void
test_probe_tampering(void)
{
    uint8_t frame[PROBE_FRAME_LEN];
    uint8_t session_key[IDENTITY_SESSION_KEY_LEN] = {9, 9};
    uint8_t *sal = frame + 14 + 28;
    struct packet_probe probe;
    int parsed = 0;

    for (size_t bit = 0; bit < PROBE_SAL_LEN * 8; bit++) {
        build_probe(frame, session_key);
        sal[bit / 8] ^= 1 << bit % 8;
        CU_ASSERT(bit / 8 / 2 == SAL_OFS_CHECKSUM / 2 || bit / 8 < 2
                  || packet_parse_probe(frame, sizeof frame, SAL_UDP_PORT,
                                        &probe) == -EPROTO);
        if (bit / 8 / 2 == SAL_OFS_CHECKSUM / 2) {
            continue;
        }
        memset(sal + SAL_OFS_CHECKSUM, 0, 2);
        uint16_t checksum = packet_checksum(sal, PROBE_SAL_LEN, 0);
        memcpy(sal + SAL_OFS_CHECKSUM, &checksum, 2);
        if (!packet_parse_probe(frame, sizeof frame, SAL_UDP_PORT, &probe)) {
            CU_ASSERT(!packet_probe_verify(&probe, session_key));
            parsed++;
        }
    }
    CU_ASSERT(parsed > 100);
}

#define SYN_FRAME_LEN (14 + 28 + 64)

static void
build_syn(uint8_t *frame)
{
    uint8_t *sal = wrap(frame, LOCATOR, RESOLVER, 64);
    sal[SAL_OFS_TYPE] = SAL_TYPE_SYN;
    sal[SAL_OFS_PROTO] = 6;
    memset(sal + SAL_OFS_SRC_FLOW, 0xab, 4);
    memset(sal + SAL_OFS_NONCE, 0xcd, 8);
    memset(sal + SAL_OFS_SERVICE, 0x11, 32);
    seal(sal, 64);
}

static void
test_reset(void)
{
    uint8_t frame[SYN_FRAME_LEN], buf[PACKET_BUFFER_LEN];
    size_t len;

    build_syn(frame);
    CU_ASSERT_EQUAL_FATAL(packet_build_reset(frame, sizeof frame,
                                             SAL_UDP_PORT, buf, &len), 0);
    CU_ASSERT_EQUAL(len, 14 + 28 + 32);
    CU_ASSERT_EQUAL(memcmp(buf, frame + 6, 6), 0);
    CU_ASSERT_EQUAL(memcmp(buf + 6, frame, 6), 0);
    const uint8_t *ip = buf + 14, *udp = ip + 20, *sal = udp + 8;
    CU_ASSERT_EQUAL(packet_checksum(ip, 20, 0), 0);
    CU_ASSERT_EQUAL(memcmp(ip + 12, frame + 14 + 16, 4), 0);
    CU_ASSERT_EQUAL(memcmp(ip + 16, frame + 14 + 12, 4), 0);
    CU_ASSERT_EQUAL(udp[0] << 8 | udp[1], 0xc123);
    CU_ASSERT_EQUAL(udp[2] << 8 | udp[3], SAL_UDP_PORT);
    CU_ASSERT_EQUAL(udp[4] << 8 | udp[5], 8 + 32);
    CU_ASSERT_EQUAL(udp[6] << 8 | udp[7], 0);
    CU_ASSERT_EQUAL(sal[SAL_OFS_VERSION], SAL_VERSION << 4);
    CU_ASSERT_EQUAL(sal[SAL_OFS_HEADER_LEN], 8);
    CU_ASSERT_EQUAL(sal[SAL_OFS_TYPE], SAL_TYPE_RESET);
    CU_ASSERT_EQUAL(sal[SAL_OFS_DST_FLOW], 0xab);

    /* To who is behind a NAT: to the port that it has there. */
    uint8_t to_nat[PACKET_BUFFER_LEN];
    uint8_t *syn = frame + 14 + 28;
    syn[SAL_OFS_FLAGS_CLASS] = SAL_FLAG_NAT;
    seal(syn, 64);
    CU_ASSERT_EQUAL_FATAL(packet_build_reset(frame, sizeof frame,
                                             SAL_UDP_PORT, to_nat, &len), 0);
    CU_ASSERT_EQUAL(to_nat[34] << 8 | to_nat[35], SAL_UDP_PORT);
    CU_ASSERT_EQUAL(to_nat[36] << 8 | to_nat[37], 0xc123);
    CU_ASSERT_EQUAL(sal[SAL_OFS_NONCE + 7], 0xcd);
    CU_ASSERT_EQUAL(packet_checksum(sal, 32, 0), 0);

    /* Nothing answers an answer. */
    uint8_t again[PACKET_BUFFER_LEN];
    CU_ASSERT_EQUAL(packet_build_reset(buf, len, SAL_UDP_PORT, again, &len),
                    -ENOMSG);

    struct sal_service_header header;
    struct in6_addr source;
    CU_ASSERT_EQUAL(packet_parse_service(frame, sizeof frame, SAL_UDP_PORT,
                                         &header, &source), 0);
    CU_ASSERT_EQUAL(header.service_id[31], 0x11);
    CU_ASSERT_EQUAL(locator_get_v4(&source), LOCATOR);
}

static void
test_reset_v6(void)
{
    uint8_t v4[SYN_FRAME_LEN], frame[SYN_FRAME_LEN + 20];
    uint8_t buf[PACKET_BUFFER_LEN];
    size_t len;

    build_syn(v4);
    memset(frame, 0, sizeof frame);
    memcpy(frame, v4, 12);
    frame[12] = 0x86;
    frame[13] = 0xdd;
    frame[14] = 0x60;
    frame[14 + 5] = 8 + 64;
    frame[14 + 6] = 17;
    frame[14 + 8] = 0xfd;
    frame[14 + 24] = 0xfe;
    memcpy(frame + 14 + 40, v4 + 14 + 20, 8 + 64);
    CU_ASSERT_EQUAL_FATAL(packet_build_reset(frame, sizeof frame,
                                             SAL_UDP_PORT, buf, &len), 0);
    CU_ASSERT_EQUAL(len, 14 + 40 + 8 + 32);
    CU_ASSERT_EQUAL(buf[14 + 8], 0xfe);
    CU_ASSERT_EQUAL(buf[14 + 24], 0xfd);
    CU_ASSERT_EQUAL(buf[14 + 5], 8 + 32);
}

/* Noise, and packets with a few bytes of noise, at exact allocations: the
 * parsers neither crash nor read too far. */
static void
test_random(void)
{
    for (int round = 0; round < 50000; round++) {
        uint8_t base[PROBE_FRAME_LEN], buf[PACKET_BUFFER_LEN];
        uint8_t session_key[IDENTITY_SESSION_KEY_LEN] = {9, 9};
        size_t len = sizeof base, out;

        if (round % 2) {
            build_probe(base, session_key);
        } else {
            build_syn(base);
            len = SYN_FRAME_LEN;
        }
        for (int i = unit_random_below(6); i > 0; i--) {
            base[unit_random_below(len)] = unit_random();
        }
        if (!unit_random_below(3)) {
            seal(base + 14 + 28, len - 14 - 28);
        }
        len -= unit_random_below(4) ? 0 : unit_random_below(len);
        uint8_t *frame = malloc(len + !len);
        memcpy(frame, base, len);

        struct packet_probe probe;
        struct packet_link_probe link;
        struct sal_service_header header;
        struct in6_addr source;
        if (!packet_parse_probe(frame, len, SAL_UDP_PORT, &probe)) {
            CU_ASSERT(probe.mac_ofs + 16 <= probe.sal_len);
            CU_ASSERT(probe.sal + probe.sal_len <= frame + len);
            packet_probe_verify(&probe, session_key);
        }
        if (!packet_build_reset(frame, len, SAL_UDP_PORT, buf, &out)) {
            CU_ASSERT(out <= sizeof buf);
        }
        packet_parse_service(frame, len, SAL_UDP_PORT, &header, &source);
        packet_parse_link_probe(key, frame, len, &link);
        free(frame);
    }
}

/* Who sent it? */
static void
test_senders(void)
{
    const struct eth_addr from = {{{2, 0, 0, 0, 0, 1}}};
    const struct eth_addr to = {{{2, 0, 0, 0, 0, 9}}};
    struct in6_addr v4 = locator_from_v4(0x0a000009), address;
    uint8_t frame[PACKET_BUFFER_LEN];
    struct eth_addr mac;

    /* A question of ours, turned round as a host does (RFC 826). */
    size_t len = packet_build_question(&from, &to, &v4, frame);
    CU_ASSERT_EQUAL(packet_parse_sender(frame, len, &mac, &address),
                    -ENOMSG); /* It comes from 0.0.0.0. */
    memcpy(frame + 6, &to, 6);
    frame[21] = 2;
    memcpy(frame + 22, &to, 6);
    memcpy(frame + 28, frame + 38, 4);
    CU_ASSERT_EQUAL(packet_parse_sender(frame, len, &mac, &address), 0);
    CU_ASSERT(eth_addr_equals(mac, to));
    CU_ASSERT_EQUAL(locator_get_v4(&address), 0x0a000009);
    frame[27] ^= 1; /* Two MAC addresses. */
    CU_ASSERT_EQUAL(packet_parse_sender(frame, len, &mac, &address),
                    -EPROTO);
    frame[27] ^= 1;
    frame[28] = 0xe0; /* A group. */
    CU_ASSERT_EQUAL(packet_parse_sender(frame, len, &mac, &address),
                    -EPROTO);
    CU_ASSERT_EQUAL(packet_parse_sender(frame, 20, &mac, &address), -EPROTO);

    struct in6_addr v6 = {.s6_addr = {0xfd, [15] = 9}};
    len = packet_build_question(&from, &to, &v6, frame);
    CU_ASSERT_EQUAL(packet_parse_sender(frame, len, &mac, &address), 0);
    CU_ASSERT(eth_addr_equals(mac, from));
    CU_ASSERT_EQUAL(address.s6_addr[0], 0xfe);
    CU_ASSERT_EQUAL(address.s6_addr[15], 1);
    /* The checksum is right: summed with it, it gives 0. */
    uint32_t sum = 58 + 32;
    for (int i = 14 + 8; i < 14 + 40; i += 2) {
        sum += frame[i] << 8 | frame[i + 1];
    }
    CU_ASSERT_EQUAL(packet_checksum(frame + 54, 32, sum), 0);
    frame[6] |= 1;
    CU_ASSERT_EQUAL(packet_parse_sender(frame, len, &mac, &address),
                    -EPROTO);
}

UNIT_MAIN("packet", UNIT_TEST(test_senders), UNIT_TEST(test_checksum),
          UNIT_TEST(test_link_probe), UNIT_TEST(test_probe),
          UNIT_TEST(test_probe_tampering), UNIT_TEST(test_reset),
          UNIT_TEST(test_reset_v6), UNIT_TEST(test_random))
