/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include "agents/migration_message.h"
#include "agents/migration_peer.h"
#include "ofp-ext/service_id.h"
#include "util.h"

static const uint8_t key[IDENTITY_SESSION_KEY_LEN] = {7, 7, 7};

static void
fill_random(void *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ((uint8_t *) p)[i] = unit_random();
    }
}

static void
random_message(enum migration_kind kind, struct migration_message *m)
{
    memset(m, 0, sizeof *m);
    m->signal.kind = kind;
    m->signal.nat = unit_random_below(2);
    m->signal.need_flows = unit_random_below(2);
    m->signal.mac = kind == MIGRATION_DONE || kind == MIGRATION_BOUND
                    || unit_random_below(2);
    m->signal.nonce = unit_random() | 1;
    m->seq = unit_random() | 1;
    m->ack = unit_random();
    m->group = unit_random();
    m->parts = 1 + unit_random_below(MIGRATION_MAX_PARTS);
    m->part = 1 + unit_random_below(m->parts);
    fill_random(m->sender, sizeof m->sender);
    fill_random(m->receiver, sizeof m->receiver);
    if (kind != MIGRATION_BOUND) {
        fill_random(m->public_key, sizeof m->public_key);
        if (unit_random_below(2)) {
            migration_locator_from_v4(unit_random(), &m->signal.locator);
        } else {
            fill_random(m->signal.locator.address, 16);
        }
        m->signal.locator.port = unit_random_below(2) ? unit_random() : 0;
    }
    if (kind == MIGRATION_CHALLENGE || kind == MIGRATION_DONE) {
        fill_random(&m->signal.challenge, sizeof m->signal.challenge);
    }
    if (kind == MIGRATION_DONE) {
        m->n_flows = 1 + unit_random_below(MIGRATION_FLOWS_PER_PART);
        for (size_t i = 0; i < m->n_flows; i++) {
            m->flows[i] = unit_random() | 1;
        }
    }
}

static bool
same_message(const struct migration_message *a,
             const struct migration_message *b)
{
    return a->signal.kind == b->signal.kind && a->signal.nat == b->signal.nat
           && a->signal.need_flows == b->signal.need_flows
           && a->signal.mac == b->signal.mac
           && a->signal.nonce == b->signal.nonce
           && migration_locator_equal(&a->signal.locator, &b->signal.locator)
           && a->signal.challenge.stamp == b->signal.challenge.stamp
           && !memcmp(a->signal.challenge.tag, b->signal.challenge.tag,
                      MIGRATION_TAG_LEN)
           && a->seq == b->seq && a->ack == b->ack && a->group == b->group
           && a->part == b->part && a->parts == b->parts
           && !memcmp(a->sender, b->sender, sizeof a->sender)
           && !memcmp(a->receiver, b->receiver, sizeof a->receiver)
           && !memcmp(a->public_key, b->public_key, sizeof a->public_key)
           && a->n_flows == b->n_flows
           && !memcmp(a->flows, b->flows, a->n_flows * sizeof a->flows[0]);
}

static void
test_round_trip(void)
{
    for (int i = 0; i < 4000; i++) {
        struct migration_message m, parsed;
        uint8_t packet[SAL_MAX_HEADER_LEN];
        uint8_t wrong[IDENTITY_SESSION_KEY_LEN] = {7, 7, 6};

        random_message(i % 4, &m);
        size_t len = migration_message_build(&m, key, packet);
        CU_ASSERT_EQUAL_FATAL(migration_message_parse(packet, len, &parsed),
                              0);
        CU_ASSERT_TRUE(same_message(&m, &parsed));
        CU_ASSERT_EQUAL(migration_message_authentic(&parsed, packet, len, key),
                        m.signal.mac);
        CU_ASSERT_FALSE(migration_message_authentic(&parsed, packet, len,
                                                    wrong));
    }
}

/* No answer is longer than what it answers, whatever the addresses. */
static void
test_no_amplification(void)
{
    uint8_t packet[SAL_MAX_HEADER_LEN];
    size_t shortest[4] = {SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX};
    size_t longest[4] = {0};

    for (int i = 0; i < 2000; i++) {
        struct migration_message m;
        random_message(i % 4, &m);
        m.n_flows = 0;
        m.part = m.parts = 1;
        size_t len = migration_message_build(&m, key, packet);
        shortest[i % 4] = MIN(shortest[i % 4], len);
        longest[i % 4] = MAX(longest[i % 4], len);
    }
    CU_ASSERT_EQUAL(shortest[MIGRATION_RSYN], MIGRATION_RSYN_LEN);
    CU_ASSERT_TRUE(longest[MIGRATION_CHALLENGE] <= shortest[MIGRATION_RSYN]);
    CU_ASSERT_TRUE(longest[MIGRATION_BOUND] <= shortest[MIGRATION_DONE]);
}

/* Any octet of an authenticated message counts. */
static void
test_every_octet(void)
{
    struct migration_message m, parsed;
    uint8_t packet[SAL_MAX_HEADER_LEN];

    random_message(MIGRATION_DONE, &m);
    m.n_flows = 3;
    size_t len = migration_message_build(&m, key, packet);
    for (size_t i = 0; i < len; i++) {
        packet[i] ^= 0x40;
        CU_ASSERT_TRUE(migration_message_parse(packet, len, &parsed)
                       || !migration_message_authentic(&parsed, packet, len,
                                                       key));
        packet[i] ^= 0x40;
    }
    for (size_t i = 0; i < len; i++) {
        CU_ASSERT_EQUAL(migration_message_parse(packet, i, &parsed), -EPROTO);
    }
}

static void
fix_checksum(uint8_t *packet, size_t len)
{
    uint32_t sum = 0;
    packet[SAL_OFS_CHECKSUM] = packet[SAL_OFS_CHECKSUM + 1] = 0;
    for (size_t i = 0; i < len; i += 2) {
        sum += packet[i] << 8 | packet[i + 1];
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[SAL_OFS_CHECKSUM] = ~sum >> 8;
    packet[SAL_OFS_CHECKSUM + 1] = ~sum;
}

/* 'packet' with the octet at 'ofs' replaced and the checksum right. */
static bool
refused(const uint8_t *packet, size_t len, size_t ofs, uint8_t octet)
{
    uint8_t copy[SAL_MAX_HEADER_LEN];
    struct migration_message parsed;

    memcpy(copy, packet, len);
    copy[ofs] = octet;
    fix_checksum(copy, len);
    return migration_message_parse(copy, len, &parsed) == -EPROTO;
}

/* Offsets in what the builder makes: endpoint ID, migration, public key,
 * locator, ... */
#define OFS_ENDPOINT SAL_OFS_OPTIONS
#define OFS_MIGRATION (OFS_ENDPOINT + 20)
#define OFS_KEY (OFS_MIGRATION + 16)
#define OFS_LOCATOR (OFS_KEY + 36)

static void
test_refusals(void)
{
    struct migration_message m, parsed;
    uint8_t packet[SAL_MAX_HEADER_LEN];
    size_t migration = OFS_MIGRATION + 2;

    random_message(MIGRATION_RSYN, &m);
    migration_locator_from_v4(0x0a000001, &m.signal.locator);
    size_t len = migration_message_build(&m, key, packet);
    CU_ASSERT_EQUAL(packet[OFS_LOCATOR], SAL_OPTION_LOCATOR4);
    CU_ASSERT_FALSE(refused(packet, len, SAL_OFS_PROTO, 6));

    CU_ASSERT_TRUE(refused(packet, len, SAL_OFS_VERSION, 0x20));
    CU_ASSERT_TRUE(refused(packet, len, SAL_OFS_HEADER_LEN, len / 4 - 1));
    CU_ASSERT_TRUE(refused(packet, len, SAL_OFS_TYPE, SAL_TYPE_SYN));
    CU_ASSERT_TRUE(refused(packet, len, SAL_OFS_TYPE, SAL_TYPE_RSYN_ACK));
    CU_ASSERT_TRUE(refused(packet, len, SAL_OFS_INNER, SAL_INNER_IPV4));
    CU_ASSERT_TRUE(refused(packet, len, SAL_OFS_SERVICE,
                           packet[SAL_OFS_SERVICE] ^ 1));
    CU_ASSERT_TRUE(refused(packet, len, SAL_OFS_SERVICE + 31, 1));
    CU_ASSERT_TRUE(refused(packet, len, OFS_ENDPOINT + 1, 17));
    CU_ASSERT_TRUE(refused(packet, len, OFS_ENDPOINT + 1, 1));
    CU_ASSERT_TRUE(refused(packet, len, OFS_ENDPOINT + 1, 255));
    CU_ASSERT_TRUE(refused(packet, len, OFS_ENDPOINT, 99)); /* Missing. */
    CU_ASSERT_TRUE(refused(packet, len, OFS_KEY, 99));
    CU_ASSERT_TRUE(refused(packet, len, OFS_LOCATOR, 99));
    CU_ASSERT_TRUE(refused(packet, len, OFS_LOCATOR, SAL_OPTION_LOCATOR6));
    CU_ASSERT_TRUE(refused(packet, len,
                           migration + SAL_MIGRATION_OFS_FLAGS,
                           SAL_MIGRATION_BOUND));
    CU_ASSERT_TRUE(refused(packet, len, migration + SAL_MIGRATION_OFS_PART,
                           0));
    CU_ASSERT_TRUE(refused(packet, len, migration + SAL_MIGRATION_OFS_PARTS,
                           MIGRATION_MAX_PARTS + 1));

    /* An RSYN shorter than its answer. */
    packet[SAL_OFS_HEADER_LEN] = len / 4 - 1;
    fix_checksum(packet, len - 4);
    CU_ASSERT_EQUAL(migration_message_parse(packet, len - 4, &parsed),
                    -EPROTO);
}

static void
test_unknown_options(void)
{
    struct migration_message m, parsed;
    uint8_t packet[SAL_MAX_HEADER_LEN];

    random_message(MIGRATION_DONE, &m);
    m.n_flows = 1;
    size_t len = migration_message_build(&m, key, packet);
    memset(packet + len, 0, 12);
    packet[len] = 200; /* Six octets, padded to eight; then padding. */
    packet[len + 1] = 6;
    len += 12;
    packet[SAL_OFS_HEADER_LEN] = len / 4;
    fix_checksum(packet, len);
    CU_ASSERT_EQUAL(migration_message_parse(packet, len, &parsed), 0);
    CU_ASSERT_TRUE(same_message(&m, &parsed));

    /* The same option twice. */
    memcpy(packet + len, packet + OFS_ENDPOINT, 20);
    len += 20;
    packet[SAL_OFS_HEADER_LEN] = len / 4;
    fix_checksum(packet, len);
    CU_ASSERT_EQUAL(migration_message_parse(packet, len, &parsed), -EPROTO);
}

/* Keys: both ends have the same, nobody else; nothing else is taken. */
static void
test_peer(void)
{
    struct identity a, b, eve;
    struct migration_peer of_a, of_b, of_eve; /* What each has of its peer. */
    struct migration_details details = {.unix_ms = 1800000000000};
    struct migration_signal signal = {.kind = MIGRATION_RSYN, .nonce = 1};
    struct migration_packet in;
    struct migration_message message;
    struct migration_received received;
    uint8_t packet[SAL_MAX_HEADER_LEN];

    identity_generate(&a);
    identity_generate(&b);
    identity_generate(&eve);
    migration_peer_init(&of_a, b.endpoint_id, 0);
    migration_peer_init(&of_b, a.endpoint_id, 0);
    migration_peer_init(&of_eve, b.endpoint_id, 0);
    migration_locator_from_v4(0x0a000001, &signal.locator);
    in.data = packet;
    in.source = signal.locator;

    /* Another's key under a's name. */
    struct identity mixed = eve;
    memcpy(mixed.endpoint_id, a.endpoint_id, sizeof a.endpoint_id);
    in.len = migration_peer_seal(&of_eve, &mixed, &signal, &details, packet);
    CU_ASSERT_EQUAL(migration_message_parse(packet, in.len, &message), 0);
    CU_ASSERT_EQUAL(migration_peer_open(&of_b, &b, &in, &message, &received),
                    -EPERM);
    CU_ASSERT_FALSE(of_b.has_key);

    /* Meant for somebody else. */
    in.len = migration_peer_seal(&of_a, &a, &signal, &details, packet);
    CU_ASSERT_EQUAL(migration_message_parse(packet, in.len, &message), 0);
    CU_ASSERT_EQUAL(migration_peer_open(&of_b, &eve, &in, &message,
                                        &received), -EPERM);

    CU_ASSERT_EQUAL(migration_peer_open(&of_b, &b, &in, &message, &received),
                    0);
    CU_ASSERT_TRUE(of_b.has_key);
    CU_ASSERT_FALSE(received.signal.mac);
    CU_ASSERT_EQUAL(of_b.n_forged, 2);

    /* Eve knows both public keys, and the endpoint IDs. */
    mixed = eve;
    memcpy(mixed.endpoint_id, a.endpoint_id, sizeof a.endpoint_id);
    memcpy(mixed.public_key, a.public_key, sizeof a.public_key);
    of_eve.has_key = true;
    signal.mac = true;
    in.len = migration_peer_seal(&of_eve, &mixed, &signal, &details, packet);
    CU_ASSERT_EQUAL(migration_message_parse(packet, in.len, &message), 0);
    CU_ASSERT_EQUAL(migration_peer_open(&of_b, &b, &in, &message, &received),
                    -EPERM);

    /* Nor can she send what b has said back to it. */
    in.len = migration_peer_seal(&of_b, &b, &signal, &details, packet);
    CU_ASSERT_EQUAL(migration_message_parse(packet, in.len, &message), 0);
    CU_ASSERT_EQUAL(migration_peer_open(&of_b, &b, &in, &message, &received),
                    -EPERM);
    CU_ASSERT_EQUAL(migration_peer_open(&of_a, &a, &in, &message, &received),
                    0);
    CU_ASSERT_TRUE(received.signal.mac);
    CU_ASSERT_EQUAL(memcmp(of_a.key, of_b.key, sizeof of_a.key), 0);
    migration_peer_clear(&of_a);
    CU_ASSERT_FALSE(of_a.has_key);
}

/* A public key of low order, which makes every shared secret zero. */
static void
test_low_order_key(void)
{
    struct identity self;
    struct migration_peer peer;
    struct migration_message message;
    struct migration_received received;
    struct migration_packet in = {.data = NULL};
    uint8_t zero[SAL_PUBLIC_KEY_LEN] = {0}, id[SAL_ENDPOINT_ID_LEN];

    identity_generate(&self);
    identity_endpoint_id(zero, id);
    migration_peer_init(&peer, id, 0);
    random_message(MIGRATION_RSYN, &message);
    memcpy(message.sender, id, sizeof id);
    memcpy(message.receiver, self.endpoint_id, sizeof id);
    memset(message.public_key, 0, sizeof message.public_key);
    CU_ASSERT_EQUAL(migration_peer_open(&peer, &self, &in, &message,
                                        &received), -EPERM);
    CU_ASSERT_FALSE(peer.has_key);
}

static void
test_answers_are_limited(void)
{
    struct migration m = {.state = MIGRATION_ESTABLISHED, .key_known = true,
                          .peer_seq_known = true, .peer_seq = 10};
    struct migration_received forged = {.signal = {.kind = MIGRATION_RSYN},
                                        .seq = 11};
    struct migration_received true_one = {
        .signal = {.kind = MIGRATION_RSYN, .mac = true}, .seq = 11};
    struct migration_peer peer;
    uint8_t id[SAL_ENDPOINT_ID_LEN] = {1};
    int n = 0;

    migration_peer_init(&peer, id, 5000);
    for (int i = 0; i < 1000; i++) {
        n += migration_peer_admit(&peer, &m, &forged, 5000);
    }
    CU_ASSERT_EQUAL(n, MIGRATION_ANSWER_BURST);
    CU_ASSERT_EQUAL(peer.n_limited, 1000 - n);
    CU_ASSERT_TRUE(migration_peer_admit(&peer, &m, &true_one, 5000));

    n = 0;
    for (int i = 0; i < 10000; i++) {
        n += migration_peer_admit(&peer, &m, &forged, 5000 + i);
    }
    CU_ASSERT_TRUE(abs(n - 10 * MIGRATION_ANSWER_PER_S) <= 1);
    /* A clock that jumps fills the bucket, not more. */
    n = 0;
    for (int i = 0; i < 1000; i++) {
        n += migration_peer_admit(&peer, &m, &forged, INT64_MAX);
    }
    CU_ASSERT_EQUAL(n, MIGRATION_ANSWER_BURST);
}

static void
test_parts(void)
{
    struct migration_parts parts;

    CU_ASSERT_EQUAL(migration_parts_needed(0), 1);
    CU_ASSERT_EQUAL(migration_parts_needed(MIGRATION_FLOWS_PER_PART), 1);
    CU_ASSERT_EQUAL(migration_parts_needed(MIGRATION_FLOWS_PER_PART + 1), 2);
    CU_ASSERT_TRUE(migration_parts_needed(10000) <= MIGRATION_MAX_PARTS);
    for (unsigned int n = 1; n <= MIGRATION_MAX_PARTS; n++) {
        migration_parts_begin(&parts, n);
        CU_ASSERT_FALSE(migration_parts_confirm(&parts, 0));
        CU_ASSERT_FALSE(migration_parts_confirm(&parts, 255));
        for (unsigned int i = n; i > 1; i--) {
            CU_ASSERT_FALSE(migration_parts_confirm(&parts, i));
            CU_ASSERT_FALSE(migration_parts_confirm(&parts, i));
        }
        CU_ASSERT_TRUE(migration_parts_confirm(&parts, 1));
    }
}

UNIT_MAIN("migration_message", UNIT_TEST(test_round_trip),
          UNIT_TEST(test_no_amplification), UNIT_TEST(test_every_octet),
          UNIT_TEST(test_refusals), UNIT_TEST(test_unknown_options),
          UNIT_TEST(test_peer), UNIT_TEST(test_low_order_key),
          UNIT_TEST(test_answers_are_limited), UNIT_TEST(test_parts))
