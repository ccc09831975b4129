/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "agents/probe.h"
#include "ofp-ext/service_id.h"

static void
test_bytes(void)
{
    uint8_t key[IDENTITY_SESSION_KEY_LEN];
    uint8_t packet[PROBE_LEN], zeroed[PROBE_LEN];
    struct probe probe = {.locator_v4 = 0x0a000102, .seq = 0x01020304};
    memset(key, 0x5a, sizeof key);
    for (size_t i = 0; i < sizeof probe.endpoint_id; i++) {
        probe.endpoint_id[i] = 0xe0 + i;
    }
    CU_ASSERT_EQUAL(probe_build(&probe, key, packet), PROBE_LEN);

    static const uint8_t start[] = {
        SAL_VERSION << 4, PROBE_LEN / 4, SAL_TYPE_PROBE, 0, /* proto */
        1, 2, 3, 4,                                         /* src flow */
        0, 0, 0, 0,                                         /* dst flow */
        0, SAL_INNER_NONE};
    CU_ASSERT_EQUAL(memcmp(packet, start, sizeof start), 0);
    static const uint8_t control[16] = {1, 2, 3, 4};
    CU_ASSERT_EQUAL(memcmp(packet + SAL_OFS_SEQ, control, sizeof control), 0);

    struct service_prefix service;
    service_prefix_of_endpoint(probe.endpoint_id, &service);
    CU_ASSERT_EQUAL(memcmp(packet + SAL_OFS_SERVICE, service.id.bytes,
                           SAL_SERVICE_ID_LEN), 0);

    const uint8_t *option = packet + SAL_OFS_OPTIONS;
    CU_ASSERT_EQUAL(option[0], SAL_OPTION_ENDPOINT_ID);
    CU_ASSERT_EQUAL(option[1], 18);
    CU_ASSERT_EQUAL(memcmp(option + 2, probe.endpoint_id, 16), 0);
    option += 20;
    static const uint8_t locator[8] = {SAL_OPTION_LOCATOR4, 6, 10, 0, 1, 2};
    CU_ASSERT_EQUAL(memcmp(option, locator, sizeof locator), 0);
    option += 8;
    CU_ASSERT_EQUAL(option[0], SAL_OPTION_MAC);
    CU_ASSERT_EQUAL(option[1], 18);

    /* The Internet checksum of the whole, checksum included, is 0. */
    uint32_t sum = 0;
    for (size_t i = 0; i < PROBE_LEN; i += 2) {
        sum += packet[i] << 8 | packet[i + 1];
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    CU_ASSERT_EQUAL(sum, 0xffff);

    /* The MAC is over the header with checksum and MAC 0. */
    uint8_t mac[IDENTITY_MAC_LEN];
    memcpy(zeroed, packet, PROBE_LEN);
    memset(zeroed + SAL_OFS_CHECKSUM, 0, 2);
    memset(zeroed + (option - packet) + 2, 0, IDENTITY_MAC_LEN);
    identity_mac(key, zeroed, PROBE_LEN, mac);
    CU_ASSERT_EQUAL(memcmp(mac, option + 2, IDENTITY_MAC_LEN), 0);
    key[0] ^= 1;
    identity_mac(key, zeroed, PROBE_LEN, mac);
    CU_ASSERT_NOT_EQUAL(memcmp(mac, option + 2, IDENTITY_MAC_LEN), 0);
}

static void
test_ipv6(void)
{
    uint8_t key[IDENTITY_SESSION_KEY_LEN] = {1};
    uint8_t packet[PROBE_LEN_V6], mac[IDENTITY_MAC_LEN];
    struct probe probe = {.seq = 1};
    for (size_t i = 0; i < 16; i++) {
        probe.locator_v6.s6_addr[i] = 0x20 + i;
    }
    CU_ASSERT_EQUAL(probe_build(&probe, key, packet), PROBE_LEN_V6);
    CU_ASSERT_EQUAL(packet[1] * 4, PROBE_LEN_V6);
    const uint8_t *option = packet + SAL_OFS_OPTIONS + 20;
    CU_ASSERT_EQUAL(option[0], SAL_OPTION_LOCATOR6);
    CU_ASSERT_EQUAL(option[1], 18);
    CU_ASSERT_EQUAL(memcmp(option + 2, &probe.locator_v6, 16), 0);
    CU_ASSERT_EQUAL(option[18] | option[19], 0);
    option += 20;
    CU_ASSERT_EQUAL(option[0], SAL_OPTION_MAC);
    CU_ASSERT_EQUAL(option[1], 18);
    uint8_t was[IDENTITY_MAC_LEN];
    memcpy(was, option + 2, sizeof was);
    memset(packet + SAL_OFS_CHECKSUM, 0, 2);
    memset(packet + (option - packet) + 2, 0, sizeof was);
    identity_mac(key, packet, PROBE_LEN_V6, mac);
    CU_ASSERT_EQUAL(memcmp(mac, was, sizeof was), 0);
}

static void
test_seq(void)
{
    const int64_t now = 1790000000000; /* 2026 */
    uint32_t seq = probe_next_seq(0, now);

    CU_ASSERT_NOT_EQUAL(seq, 0);
    CU_ASSERT_EQUAL(probe_next_seq(seq, now), seq + 1);
    CU_ASSERT_EQUAL(probe_next_seq(seq, now - 60000), seq + 1);
    CU_ASSERT_EQUAL(probe_next_seq(seq, now + 1000), seq + 10);
    /* A restarted agent, half a second after its predecessor's burst. */
    CU_ASSERT_TRUE(probe_next_seq(0, now + 500) > seq + 2);
}

/* Runs the schedule for 'ms' and stores when probes went out. */
static size_t
run(struct probe_schedule *schedule, int64_t from, int64_t ms, bool attached,
    int64_t sent[], size_t max)
{
    size_t n = 0;
    for (int64_t now = from; now < from + ms; now++) {
        CU_ASSERT_TRUE(probe_schedule_deadline(schedule) >= now);
        if (probe_schedule_due(schedule, attached, 1000, now) && n < max) {
            sent[n++] = now - from;
        }
    }
    return n;
}

static void
test_schedule(void)
{
    struct probe_schedule schedule = {.active = false};
    int64_t sent[8];

    CU_ASSERT_EQUAL(probe_schedule_deadline(&schedule), INT64_MAX);
    CU_ASSERT_EQUAL(run(&schedule, 0, 100, false, sent, 8), 0);

    probe_schedule_start(&schedule, 5000);
    CU_ASSERT_EQUAL(run(&schedule, 5000, 2500, false, sent, 8), 5);
    CU_ASSERT_EQUAL(sent[0], 0);
    CU_ASSERT_EQUAL(sent[1], 50);
    CU_ASSERT_EQUAL(sent[2], 200);
    CU_ASSERT_EQUAL(sent[3], 1200);
    CU_ASSERT_EQUAL(sent[4], 2200);

    /* Seen by the network: a refresh now and then. */
    probe_schedule_start(&schedule, 10000);
    CU_ASSERT_EQUAL(run(&schedule, 10000, 20000, true, sent, 8), 4);
    CU_ASSERT_EQUAL(sent[3], 200 + 16 * 1000);

    probe_schedule_stop(&schedule);
    CU_ASSERT_EQUAL(run(&schedule, 40000, 20000, false, sent, 8), 0);
}

/* A loop that was held up does not send the burst in one go. */
static void
test_schedule_late(void)
{
    struct probe_schedule schedule;
    probe_schedule_start(&schedule, 0);
    CU_ASSERT_TRUE(probe_schedule_due(&schedule, false, 1000, 9000));
    CU_ASSERT_FALSE(probe_schedule_due(&schedule, false, 1000, 9000));
    CU_ASSERT_TRUE(probe_schedule_due(&schedule, false, 1000, 9001));
}

UNIT_MAIN("probe", UNIT_TEST(test_bytes), UNIT_TEST(test_ipv6),
          UNIT_TEST(test_seq), UNIT_TEST(test_schedule),
          UNIT_TEST(test_schedule_late))
