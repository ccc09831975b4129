/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/claims.h"

#include "packets.h"
#include "tests/unit/unit.h"

#define LOCATOR 0x0a000001
#define IDENTITY 0x64400001

/* What was done last, and how often. */
static struct {
    unsigned int asked, entered, delivered, cut;
    bool can_ask, proved, proved_elsewhere, gone;
    struct claim claim;
    struct sal_peer_key key;
    struct sal_peer peer;
    uint32_t ttl_ms, ifindex;
    uint8_t first; /* Octet of the frame. */
    struct migration_locator where;
} did;

static bool
ask(const struct claim *claim, void *aux)
{
    (void) aux;
    if (did.can_ask) {
        did.asked++;
        did.claim = *claim;
    }
    return did.can_ask;
}

static void
enter(const struct sal_peer_key *key, const struct sal_peer *peer,
      uint32_t ttl_ms, void *aux)
{
    (void) aux;
    did.entered++;
    did.key = *key;
    did.peer = *peer;
    did.ttl_ms = ttl_ms;
}

static void
deliver(const void *frame, size_t len, uint32_t ifindex, void *aux)
{
    (void) aux;
    (void) len;
    did.delivered++;
    did.first = *(const uint8_t *) frame;
    did.ifindex = ifindex;
}

static bool
is_proved(const uint8_t endpoint[SAL_ENDPOINT_ID_LEN],
          const struct migration_locator *locator, void *aux)
{
    (void) aux;
    (void) endpoint;
    return locator->port ? did.proved : did.proved || did.proved_elsewhere;
}

static size_t
cut(const uint8_t endpoint[SAL_ENDPOINT_ID_LEN],
    const struct migration_locator *locator, void *aux)
{
    (void) aux;
    (void) endpoint;
    did.cut++;
    did.where = *locator;
    return did.gone ? 0 : 1;
}

static const struct claims_ops ops = {ask, enter, deliver, is_proved, cut};

static void
set_up(struct claims *c)
{
    memset(&did, 0, sizeof did);
    did.can_ask = true;
    claims_init(c, &ops, NULL);
}

static const uint8_t alice[SAL_ENDPOINT_ID_LEN] = {0xaa};
static const uint8_t mallory[SAL_ENDPOINT_ID_LEN] = {0xee};

static struct migration_locator
at(uint32_t address, uint16_t port)
{
    struct migration_locator locator;
    migration_locator_from_v4(address, &locator);
    locator.port = port;
    return locator;
}

/* A SYN of 'len' octets 'mark'. */
static void
take(struct claims *c, uint32_t locator, const uint8_t *endpoint, uint8_t mark,
     int64_t now)
{
    struct sal_held held = {.kind = SAL_HELD_IDENTIFY, .ifindex = 7};
    struct migration_locator outer = at(locator, 0);
    uint8_t frame[100];

    memcpy(&held.claim.locator, outer.address, 16);
    memcpy(held.claim.endpoint, endpoint, sizeof held.claim.endpoint);
    held.tuple.remote.w[2] = htonl(SAL_ADDR_MAPPED);
    held.tuple.remote.w[3] = htonl(IDENTITY);
    memset(frame, mark, sizeof frame);
    held.len = sizeof frame;
    claims_take(c, &held, frame, now);
}

static void
answer(struct claims *c, bool attached, const uint8_t *endpoint, int64_t now)
{
    struct claim_answer a = {.attached = attached, .known = endpoint != NULL,
                             .identity_v4 = endpoint ? IDENTITY : 0,
                             .ttl_ms = 5000};
    struct claim claim = did.claim;
    if (endpoint) {
        memcpy(a.endpoint, endpoint, sizeof a.endpoint);
    }
    claims_answered(c, &claim, &a, now);
}

static void
test_attached(void)
{
    static const uint8_t nobody[SAL_ENDPOINT_ID_LEN];
    struct claims c;

    set_up(&c);
    CU_ASSERT_EQUAL(claims_deadline(&c), INT64_MAX);
    take(&c, LOCATOR, alice, 1, 100);
    take(&c, LOCATOR, alice, 2, 101);
    CU_ASSERT_EQUAL(did.asked, 1); /* Once for both. */
    CU_ASSERT_EQUAL(did.claim.identity_v4, IDENTITY);
    CU_ASSERT_EQUAL(memcmp(did.claim.endpoint, alice, 16), 0);
    CU_ASSERT_EQUAL(in6_addr_get_mapped_ipv4(&did.claim.locator),
                    htonl(LOCATOR));
    CU_ASSERT_EQUAL(claims_deadline(&c), 100 + CLAIMS_ANSWER_MS);

    answer(&c, true, mallory, 110);
    CU_ASSERT_EQUAL(did.entered, 1);
    CU_ASSERT_EQUAL(did.peer.state, SAL_PEER_ATTACHED);
    CU_ASSERT_EQUAL(memcmp(did.key.endpoint, nobody, 16), 0);
    CU_ASSERT_EQUAL(memcmp(did.peer.endpoint, mallory, 16), 0);
    CU_ASSERT_EQUAL(did.peer.identity_v4, htonl(IDENTITY));
    CU_ASSERT_EQUAL(did.ttl_ms, 5000);
    /* The data plane judges by it. */
    CU_ASSERT_EQUAL(did.delivered, 2);
    CU_ASSERT_EQUAL(did.first, 2);
    CU_ASSERT_EQUAL(did.ifindex, 7);
    CU_ASSERT_EQUAL(claims_deadline(&c), INT64_MAX);

    /* Nothing is to be proved: the network has seen to that. */
    struct migration_locator locator = at(LOCATOR, 0);
    claims_bound(&c, mallory, &locator, 120);
    CU_ASSERT_EQUAL(claims_deadline(&c), INT64_MAX);
    claims_destroy(&c);
}

/* Leaves one claim believed at time 100. */
static void
believe(struct claims *c)
{
    set_up(c);
    take(c, LOCATOR, alice, 1, 100);
    answer(c, false, alice, 100);
    CU_ASSERT_EQUAL(did.peer.state, SAL_PEER_CLAIMED);
    CU_ASSERT_EQUAL(memcmp(did.key.endpoint, alice, 16), 0);
    CU_ASSERT_EQUAL(memcmp(did.peer.endpoint, alice, 16), 0);
    CU_ASSERT_EQUAL(did.delivered, 1);
}

static void
test_claimed(void)
{
    struct migration_locator here = at(LOCATOR, 4000),
                             there = at(LOCATOR + 1, 0);
    struct claims c;

    /* No flow, no proof: it is forgotten. */
    believe(&c);
    CU_ASSERT_EQUAL(claims_deadline(&c), 100 + CLAIMS_WATCH_MS);
    claims_run(&c, 100 + CLAIMS_WATCH_MS);
    CU_ASSERT_EQUAL(claims_deadline(&c), INT64_MAX);
    CU_ASSERT_EQUAL(hmap_count(&c.watched), 0);
    claims_destroy(&c);

    /* A flow, and a proof. */
    believe(&c);
    claims_bound(&c, alice, &here, 200);
    claims_bound(&c, alice, &here, 300);
    claims_bound(&c, alice, &there, 200); /* Of no claim. */
    claims_bound(&c, mallory, &here, 200);
    CU_ASSERT_EQUAL(claims_deadline(&c), 200 + CLAIMS_PROOF_MS);
    did.proved = true;
    claims_run(&c, 200 + CLAIMS_PROOF_MS);
    CU_ASSERT_EQUAL(did.cut, 0);
    CU_ASSERT_EQUAL(hmap_count(&c.watched), 1);
    claims_bound(&c, alice, &here, 300 + CLAIMS_PROOF_MS);
    CU_ASSERT_EQUAL(hmap_count(&c.watched), 1);
    claims_destroy(&c);

    /* A flow, and none; whoever else is behind that NAT is not refused. */
    for (int elsewhere = 0; elsewhere < 2; elsewhere++) {
        believe(&c);
        did.proved_elsewhere = elsewhere;
        claims_bound(&c, alice, &here, 200);
        claims_run(&c, 200 + CLAIMS_PROOF_MS - 1);
        CU_ASSERT_EQUAL(did.cut, 0);
        claims_run(&c, 200 + CLAIMS_PROOF_MS);
        CU_ASSERT_EQUAL(did.cut, 1);
        CU_ASSERT_TRUE(migration_locator_equal(&did.where, &here));
        CU_ASSERT_EQUAL(c.counters.unproved, 1);
        CU_ASSERT_EQUAL(did.entered, elsewhere ? 1 : 2);
        CU_ASSERT_EQUAL(did.peer.state, elsewhere ? SAL_PEER_CLAIMED
                                                  : SAL_PEER_REFUSED);
        CU_ASSERT_EQUAL(memcmp(did.key.endpoint, alice, 16), 0);
        claims_destroy(&c);
    }

    /* Whose flows were over sooner had no time for it, and may come again. */
    believe(&c);
    did.gone = true;
    claims_bound(&c, alice, &here, 200);
    claims_run(&c, 200 + CLAIMS_PROOF_MS);
    CU_ASSERT_EQUAL(did.cut, 1);
    CU_ASSERT_EQUAL(c.counters.unproved, 0);
    CU_ASSERT_EQUAL(did.peer.state, SAL_PEER_CLAIMED);
    claims_destroy(&c);
}

/* Who tries again and again is refused for longer each time. */
static void
test_unproved_again(void)
{
    static const uint32_t seconds[] = {10, 20, 40, 80, 80, 10};
    struct migration_locator here = at(LOCATOR, 4000);
    struct claims c;
    int64_t now = 100;

    believe(&c);
    for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
        unsigned int before = did.cut;
        claims_bound(&c, alice, &here, now);
        now += CLAIMS_PROOF_MS;
        claims_run(&c, now);
        CU_ASSERT_EQUAL(did.cut, before + 1);
        CU_ASSERT_EQUAL(did.peer.state, SAL_PEER_REFUSED);
        CU_ASSERT_EQUAL(did.ttl_ms, seconds[i] * 1000);
        now += did.ttl_ms;
        if (i == 4) {
            now += CLAIMS_WATCH_MS; /* It gave up, and is forgotten. */
        }
        claims_run(&c, now);
        CU_ASSERT_EQUAL(hmap_count(&c.watched), i == 4 ? 0 : 1);
        take(&c, LOCATOR, alice, 1, now);
        answer(&c, false, alice, now);
        CU_ASSERT_EQUAL(did.peer.state, SAL_PEER_CLAIMED);
    }
    claims_destroy(&c);
}

static void
test_refused(void)
{
    static const uint8_t nobody[SAL_ENDPOINT_ID_LEN];
    struct claims c;

    /* The address is another's. */
    set_up(&c);
    take(&c, LOCATOR, alice, 1, 100);
    answer(&c, false, mallory, 110);
    CU_ASSERT_EQUAL(did.peer.state, SAL_PEER_REFUSED);
    CU_ASSERT_EQUAL(memcmp(did.key.endpoint, alice, 16), 0);
    CU_ASSERT_EQUAL(hmap_count(&c.watched), 0);
    /* Who does not say who he is cannot prove it. */
    take(&c, LOCATOR, nobody, 1, 100);
    answer(&c, false, NULL, 110);
    CU_ASSERT_EQUAL(did.peer.state, SAL_PEER_REFUSED);
    CU_ASSERT_EQUAL(c.counters.refused, 2);
    claims_destroy(&c);
}

/* The controller does not know the endpoint, or not even the question. */
static void
test_unknown(void)
{
    for (int i = 0; i < 2; i++) {
        struct claims c;
        set_up(&c);
        take(&c, LOCATOR, alice, 1, 100);
        if (i) {
            struct claim claim = did.claim;
            claims_answered(&c, &claim, NULL, 110);
        } else {
            answer(&c, false, NULL, 110);
        }
        CU_ASSERT_EQUAL(did.peer.state, SAL_PEER_CLAIMED);
        CU_ASSERT_EQUAL(did.peer.identity_v4, 0);
        CU_ASSERT(did.ttl_ms > 0);
        CU_ASSERT_EQUAL(did.delivered, 1);
        claims_destroy(&c);
    }
}

static void
test_no_answer(void)
{
    struct claims c;

    /* Not now, but when somebody else is answered. */
    set_up(&c);
    take(&c, LOCATOR, alice, 1, 100);
    struct claim first = did.claim;
    did.can_ask = false;
    take(&c, LOCATOR + 1, alice, 2, 200);
    CU_ASSERT_EQUAL(did.asked, 1);
    did.can_ask = true;
    struct claim_answer a = {.ttl_ms = 1};
    claims_answered(&c, &first, &a, 250);
    CU_ASSERT_EQUAL(did.asked, 2);
    CU_ASSERT_EQUAL(did.first, 1);

    /* Never: it is lost. */
    claims_run(&c, 200 + CLAIMS_ANSWER_MS - 1);
    CU_ASSERT_EQUAL(c.counters.timed_out, 0);
    claims_run(&c, 200 + CLAIMS_ANSWER_MS);
    CU_ASSERT_EQUAL(c.counters.timed_out, 1);
    CU_ASSERT_EQUAL(c.n_packets, 0);
    CU_ASSERT_EQUAL(c.bytes, 0);
    answer(&c, true, alice, 5000); /* Late: noted all the same. */
    CU_ASSERT_EQUAL(did.peer.state, SAL_PEER_ATTACHED);
    CU_ASSERT_EQUAL(did.delivered, 1);

    /* The session is gone: the data plane decides alone. */
    take(&c, LOCATOR, alice, 3, 6000);
    claims_give_back(&c);
    CU_ASSERT_EQUAL(did.delivered, 2);
    CU_ASSERT_EQUAL(did.first, 3);
    CU_ASSERT_EQUAL(c.n_packets, 0);
    claims_destroy(&c);
}

static void
test_bounds(void)
{
    struct claims c;

    set_up(&c);
    for (int i = 0; i < CLAIMS_MAX_PER_CLAIM + 5; i++) {
        take(&c, LOCATOR, alice, 1, 100);
    }
    CU_ASSERT_EQUAL(c.counters.full, 5);
    for (int i = 0; i < 2 * CLAIMS_MAX_PACKETS; i++) {
        take(&c, LOCATOR + 1 + i, alice, 1, 100);
    }
    CU_ASSERT_EQUAL(c.n_packets, CLAIMS_MAX_PACKETS);
    claims_run(&c, 100 + CLAIMS_ANSWER_MS);
    CU_ASSERT_EQUAL(c.n_packets, 0);

    /* More claims than can be watched are refused. */
    for (int i = 0; i < CLAIMS_MAX_WATCHED; i++) {
        take(&c, LOCATOR + i, alice, 1, 2000);
        answer(&c, false, alice, 2000);
    }
    CU_ASSERT_EQUAL(hmap_count(&c.watched), CLAIMS_MAX_WATCHED);
    CU_ASSERT_EQUAL(c.counters.refused, 0);
    take(&c, LOCATOR - 1, alice, 1, 2000);
    answer(&c, false, alice, 2000);
    CU_ASSERT_EQUAL(did.peer.state, SAL_PEER_REFUSED);
    /* And a flow that cannot be watched ends. */
    struct migration_locator locator = at(LOCATOR, 0);
    claims_bound(&c, alice, &locator, 2000);
    CU_ASSERT_EQUAL(did.cut, 1);
    claims_destroy(&c);
}

UNIT_MAIN("claims", UNIT_TEST(test_attached), UNIT_TEST(test_claimed),
          UNIT_TEST(test_unproved_again),
          UNIT_TEST(test_refused), UNIT_TEST(test_unknown),
          UNIT_TEST(test_no_answer), UNIT_TEST(test_bounds))
