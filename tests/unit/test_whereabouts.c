/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "agents/whereabouts.h"

static struct identity host, router, other;
static const uint8_t secret[WHEREABOUTS_SECRET_LEN] = {1, 2, 3};

static void
setup(void)
{
    identity_generate(&host);
    identity_generate(&router);
    identity_generate(&other);
}

static struct whereabouts
make(enum whereabouts_kind kind, bool v6)
{
    struct whereabouts w = {.kind = kind, .seq = 0x01020304,
                            .nonce = 0x1122334455667788, .stamp = 99,
                            .tag = {7, 8, 9}};

    memcpy(w.host, host.endpoint_id, sizeof w.host);
    if (v6) {
        w.locator.address[0] = 0x20;
        w.locator.address[15] = 1;
    } else {
        migration_locator_from_v4(0x0a000001, &w.locator);
    }
    return w;
}

/* Who sends a message of this kind, and who gets it. */
static const struct identity *
sender_of(enum whereabouts_kind kind)
{
    return kind == WHEREABOUTS_ASK || kind == WHEREABOUTS_TELL ? &host
                                                               : &router;
}

static const struct identity *
receiver_of(enum whereabouts_kind kind)
{
    return sender_of(kind) == &host ? &router : &host;
}

static void
build(const struct whereabouts *w, uint8_t packet[WHEREABOUTS_LEN])
{
    CU_ASSERT_EQUAL_FATAL(
        whereabouts_build(sender_of(w->kind), w,
                          receiver_of(w->kind)->public_key, packet), 0);
}

static void
test_round_trip(void)
{
    uint8_t packet[WHEREABOUTS_LEN];
    struct whereabouts got;

    setup();
    for (int kind = WHEREABOUTS_ASK; kind <= WHEREABOUTS_KNOWN; kind++) {
        for (int v6 = 0; v6 < 2; v6++) {
            const struct identity *sender = sender_of(kind);
            const struct identity *receiver = receiver_of(kind);
            bool mac = kind == WHEREABOUTS_TELL || kind == WHEREABOUTS_KNOWN;
            bool challenge = kind == WHEREABOUTS_CHALLENGE
                             || kind == WHEREABOUTS_TELL;
            struct whereabouts w = make(kind, v6);
            build(&w, packet);
            CU_ASSERT_EQUAL_FATAL(
                whereabouts_parse(packet, sizeof packet, &got), 0);
            CU_ASSERT_EQUAL(got.kind, w.kind);
            CU_ASSERT_EQUAL(got.seq, w.seq);
            CU_ASSERT_EQUAL(got.nonce, w.nonce);
            CU_ASSERT_EQUAL(got.stamp, challenge ? w.stamp : 0);
            CU_ASSERT_TRUE(migration_locator_equal(&got.locator,
                                                   &w.locator));
            CU_ASSERT_EQUAL(memcmp(got.host, host.endpoint_id,
                                   sizeof got.host), 0);
            CU_ASSERT_EQUAL(memcmp(got.public_key, sender->public_key,
                                   sizeof got.public_key), 0);
            CU_ASSERT_EQUAL(whereabouts_authentic(receiver, &got, packet),
                            mac);
            CU_ASSERT_FALSE(whereabouts_authentic(&other, &got, packet));
        }
    }
}

static void
mend(uint8_t packet[WHEREABOUTS_LEN])
{
    uint32_t sum = 0;

    packet[SAL_OFS_CHECKSUM] = packet[SAL_OFS_CHECKSUM + 1] = 0;
    for (size_t i = 0; i < WHEREABOUTS_LEN; i += 2) {
        sum += packet[i] << 8 | packet[i + 1];
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[SAL_OFS_CHECKSUM] = ~sum >> 8;
    packet[SAL_OFS_CHECKSUM + 1] = ~sum;
}

/* Any bit of a TELL: whoever mends the checksum as well cannot mend the MAC.
 * (The count of hops is MACed here: nobody sends PROBEs on.) */
static void
test_every_bit(void)
{
    uint8_t packet[WHEREABOUTS_LEN];
    struct whereabouts w = make(WHEREABOUTS_TELL, false), got;

    setup();
    w = make(WHEREABOUTS_TELL, false);
    build(&w, packet);
    for (size_t bit = 0; bit < WHEREABOUTS_LEN * 8; bit++) {
        uint8_t bad[WHEREABOUTS_LEN];
        memcpy(bad, packet, sizeof bad);
        bad[bit / 8] ^= 1 << bit % 8;
        CU_ASSERT(whereabouts_parse(bad, sizeof bad, &got) < 0);
        mend(bad);
        if (bit / 16 != SAL_OFS_CHECKSUM / 2
            && !whereabouts_parse(bad, sizeof bad, &got)) {
            CU_ASSERT_FALSE(whereabouts_authentic(&router, &got, bad));
        }
    }
    for (size_t len = 0; len < sizeof packet; len++) {
        CU_ASSERT(whereabouts_parse(packet, len, &got) < 0);
    }
}

/* Nobody can say where somebody else is. */
static void
test_somebody_else(void)
{
    uint8_t packet[WHEREABOUTS_LEN];
    struct whereabouts w, got;

    setup();
    w = make(WHEREABOUTS_TELL, false);
    CU_ASSERT_EQUAL(whereabouts_build(&other, &w, router.public_key, packet),
                    0);
    CU_ASSERT(whereabouts_parse(packet, sizeof packet, &got) < 0);
    /* Nor is a host its own router. */
    w.kind = WHEREABOUTS_KNOWN;
    CU_ASSERT_EQUAL(whereabouts_build(&host, &w, host.public_key, packet), 0);
    CU_ASSERT(whereabouts_parse(packet, sizeof packet, &got) < 0);
}

/* A challenge is good for one host, place, question and time. */
static void
test_challenge(void)
{
    uint8_t tag[SAL_CHALLENGE_TAG_LEN], again[SAL_CHALLENGE_TAG_LEN];
    struct whereabouts w;

    setup();
    w = make(WHEREABOUTS_ASK, false);
    whereabouts_challenge(secret, &w, 5, tag);
    whereabouts_challenge(secret, &w, 5, again);
    CU_ASSERT_EQUAL(memcmp(tag, again, sizeof tag), 0);
    whereabouts_challenge(secret, &w, 6, again);
    CU_ASSERT_NOT_EQUAL(memcmp(tag, again, sizeof tag), 0);
    for (int i = 0; i < 4; i++) {
        struct whereabouts changed = w;
        changed.host[0] ^= i == 0;
        changed.locator.address[15] ^= i == 1;
        changed.seq ^= i == 2;
        changed.nonce ^= i == 3;
        whereabouts_challenge(secret, &changed, 5, again);
        CU_ASSERT_NOT_EQUAL(memcmp(tag, again, sizeof tag), 0);
    }
}

UNIT_MAIN("whereabouts", UNIT_TEST(test_round_trip), UNIT_TEST(test_every_bit),
          UNIT_TEST(test_somebody_else), UNIT_TEST(test_challenge))
