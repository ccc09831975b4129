/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "agents/lost_flow.h"

static struct identity us, peer, other;

static void
setup(void)
{
    identity_generate(&us);
    identity_generate(&peer);
    identity_generate(&other);
}

static const struct lost_flow probe = {.type = SAL_TYPE_PROBE,
                                       .src_flow = 0x11223344,
                                       .dst_flow = 0x55667788};

static void
test_probe(void)
{
    uint8_t packet[LOST_FLOW_FIN_LEN];
    struct lost_flow got;

    CU_ASSERT_EQUAL(lost_flow_build(&us, &probe, NULL, packet),
                    LOST_FLOW_PROBE_LEN);
    CU_ASSERT_EQUAL(packet[2], SAL_TYPE_PROBE);
    CU_ASSERT_EQUAL(lost_flow_parse(packet, LOST_FLOW_PROBE_LEN, &got), 0);
    CU_ASSERT_EQUAL(got.type, SAL_TYPE_PROBE);
    CU_ASSERT_EQUAL(got.src_flow, probe.src_flow);
    CU_ASSERT_EQUAL(got.dst_flow, probe.dst_flow);
    CU_ASSERT_EQUAL(got.nonce, 0);
    CU_ASSERT_EQUAL(memcmp(got.endpoint, us.endpoint_id,
                           sizeof got.endpoint), 0);
    CU_ASSERT_FALSE(lost_flow_authentic(&peer, &got, packet));
    for (size_t len = 0; len < LOST_FLOW_PROBE_LEN; len++) {
        CU_ASSERT(lost_flow_parse(packet, len, &got) < 0);
    }
    /* Any one bit. */
    for (size_t bit = 0; bit < LOST_FLOW_PROBE_LEN * 8; bit++) {
        packet[bit / 8] ^= 1 << bit % 8;
        CU_ASSERT(lost_flow_parse(packet, LOST_FLOW_PROBE_LEN, &got) < 0);
        packet[bit / 8] ^= 1 << bit % 8;
    }
}

static uint16_t
sum(const uint8_t *p, size_t n)
{
    uint32_t total = 0;
    for (size_t i = 0; i < n; i += 2) {
        total += p[i] << 8 | p[i + 1];
    }
    while (total >> 16) {
        total = (total & 0xffff) + (total >> 16);
    }
    return ~total;
}

static void
test_fin(void)
{
    uint8_t packet[LOST_FLOW_FIN_LEN], forged[LOST_FLOW_FIN_LEN];
    struct lost_flow fin = probe, got;
    size_t refused = 0;

    fin.type = SAL_TYPE_FIN;
    fin.nonce = 0x0123456789abcdefULL;
    CU_ASSERT_EQUAL(lost_flow_build(&us, &fin, peer.public_key, packet),
                    LOST_FLOW_FIN_LEN);
    CU_ASSERT_EQUAL(lost_flow_parse(packet, sizeof packet, &got), 0);
    CU_ASSERT_EQUAL(got.nonce, fin.nonce);
    CU_ASSERT_TRUE(lost_flow_authentic(&peer, &got, packet));
    /* For somebody else; of somebody else. */
    CU_ASSERT_FALSE(lost_flow_authentic(&other, &got, packet));
    CU_ASSERT_FALSE(lost_flow_authentic(&us, &got, packet));

    /* Any one bit changed, the checksum mended. */
    for (size_t bit = 0; bit < sizeof packet * 8; bit++) {
        if (bit / 8 == 14 || bit / 8 == 15) {
            continue;
        }
        memcpy(forged, packet, sizeof forged);
        forged[bit / 8] ^= 1 << bit % 8;
        forged[14] = forged[15] = 0;
        uint16_t s = sum(forged, sizeof forged);
        forged[14] = s >> 8;
        forged[15] = s;
        refused += lost_flow_parse(forged, sizeof forged, &got)
                   || !lost_flow_authentic(&peer, &got, forged);
    }
    CU_ASSERT_EQUAL(refused, (sizeof packet - 2) * 8);

    /* A key of low order makes none. */
    static const uint8_t low[SAL_PUBLIC_KEY_LEN];
    CU_ASSERT(lost_flow_build(&us, &fin, low, packet) < 0);
}

static void
test_challenge(void)
{
    uint8_t secret[LOST_FLOW_SECRET_LEN] = {1};
    uint64_t c = lost_flow_challenge(secret, 1, 2, 3);

    CU_ASSERT_NOT_EQUAL(c, 0);
    CU_ASSERT_EQUAL(c, lost_flow_challenge(secret, 1, 2, 3));
    CU_ASSERT_NOT_EQUAL(c, lost_flow_challenge(secret, 2, 2, 3));
    CU_ASSERT_NOT_EQUAL(c, lost_flow_challenge(secret, 1, 3, 3));
    CU_ASSERT_NOT_EQUAL(c, lost_flow_challenge(secret, 1, 2, 4));
    secret[0] = 2;
    CU_ASSERT_NOT_EQUAL(c, lost_flow_challenge(secret, 1, 2, 3));
}

UNIT_MAIN("lost_flow", UNIT_TEST(setup), UNIT_TEST(test_probe),
          UNIT_TEST(test_fin), UNIT_TEST(test_challenge))
