/* SPDX-License-Identifier: Apache-2.0 */
/* Whose address is the inner source of a SYN? */
#include "tests/bpf/bpf_pair.h"

#include "agents/datapath_held.h"

static struct {
    unsigned int n;
    struct sal_held held;
    struct frame frame;
} taken;

static void
note_taken(const struct sal_held *held, void *frame, void *aux)
{
    (void) aux;
    taken.n++;
    taken.held = *held;
    taken.frame.len = held->len;
    memcpy(taken.frame.data, frame, held->len);
}

static unsigned int
take_held(void)
{
    taken.n = 0;
    CU_ASSERT_EQUAL(datapath_held_take(server.dp, note_taken, NULL), 0);
    return taken.n;
}

static void
set_up_check(uint32_t ask_ms)
{
    set_up();
    CU_ASSERT_EQUAL(datapath_set_identity(server.dp, true, ask_ms), 0);
    take_held();
}

/* Says at the server who is at LOC_C. */
static void
know(enum sal_peer_state state, const uint8_t *endpoint, uint32_t identity,
     uint32_t ttl_ms)
{
    struct sal_peer_key key;
    struct sal_peer peer = {.state = state, .identity_v4 = htonl(identity)};

    memset(&key, 0, sizeof key);
    addr_from_host_v4(&key.locator, LOC_C);
    if (state != SAL_PEER_ATTACHED) {
        memcpy(key.endpoint, client.tables.settings.endpoint_id,
               sizeof key.endpoint);
    }
    memcpy(peer.endpoint, endpoint, sizeof peer.endpoint);
    CU_ASSERT_EQUAL(datapath_put_peer(server.dp, &key, &peer, ttl_ms), 0);
}

static const uint8_t *
client_endpoint(void)
{
    return client.tables.settings.endpoint_id;
}

/* A SYN with 'source' inside arrives at the server.  True if it got
 * through. */
static bool
syn_from(uint32_t source)
{
    struct segment syn = client_syn;
    struct sal_packet p = {
        .src = LOC_C, .dst = LOC_S, .entropy = 50000, .type = SAL_TYPE_SYN,
        .src_flow = 0x1234, .nonce = {1}, .service_id = web.id.bytes,
        .endpoint_id = client_endpoint()};
    struct frame f;
    static uint16_t port = 40000;

    syn.src = source;
    syn.sport = ++port;
    build_sal(&f, &p, &syn);
    size_t n = map_count(HALF_FLOWS(&server));
    bool redirected = run_ingress(&server, &f) == TC_ACT_REDIRECT;
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&server)), n + redirected);
    return redirected;
}

#define REFUSED() counter(&server, SAL_COUNT_IN_IDENTITY)

static void
test_attached(void)
{
    set_up_check(60000);
    know(SAL_PEER_ATTACHED, client_endpoint(), ID_C, 60000);
    CU_ASSERT_TRUE(syn_from(ID_C));
    CU_ASSERT_EQUAL(REFUSED(), 0);
    CU_ASSERT_FALSE(syn_from(ID_T));
    CU_ASSERT_FALSE(syn_from(ID_T));
    CU_ASSERT_EQUAL(REFUSED(), 2);
    CU_ASSERT_EQUAL(take_held(), 0); /* Just asked. */

    /* The right address, but another endpoint is there. */
    know(SAL_PEER_ATTACHED, other.tables.settings.endpoint_id, ID_C, 60000);
    CU_ASSERT_FALSE(syn_from(ID_C));
    CU_ASSERT_EQUAL(REFUSED(), 3);
    tear_down();
}

/* Who is not known is asked for; the SYN comes back as it was. */
static void
test_unknown(void)
{
    struct frame f;

    set_up_check(60000);
    CU_ASSERT_FALSE(syn_from(ID_C));
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_IDENTIFY), 1);
    CU_ASSERT_EQUAL(take_held(), 1);
    CU_ASSERT_EQUAL(taken.held.kind, SAL_HELD_IDENTIFY);
    CU_ASSERT_EQUAL(taken.held.ifindex, 1);
    CU_ASSERT_EQUAL(ntohl(taken.held.claim.locator.w[3]), LOC_C);
    CU_ASSERT_EQUAL(memcmp(taken.held.claim.endpoint, client_endpoint(),
                           SAL_ENDPOINT_ID_LEN), 0);
    CU_ASSERT_EQUAL(ntohl(taken.held.tuple.remote.w[3]), ID_C);

    know(SAL_PEER_CLAIMED, client_endpoint(), ID_C, 60000);
    f = taken.frame;
    CU_ASSERT_EQUAL(run_marked(server.dp->skeleton->progs.sal_ingress, &f,
                               SAL_MARK_IDENTIFIED), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&server)), 1);

    /* Forgotten meanwhile: it is not asked for in a circle. */
    CU_ASSERT_EQUAL(datapath_set_identity(server.dp, true, 60000), 0);
    know(SAL_PEER_CLAIMED, client_endpoint(), ID_C, 0);
    f = taken.frame;
    CU_ASSERT_EQUAL(run_marked(server.dp->skeleton->progs.sal_ingress, &f,
                               SAL_MARK_IDENTIFIED), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_IDENTIFY_BUSY), 1);
    CU_ASSERT_EQUAL(take_held(), 0);
    tear_down();
}

static void
test_claimed(void)
{
    set_up_check(60000);
    know(SAL_PEER_CLAIMED, client_endpoint(), ID_C, 60000);
    CU_ASSERT_TRUE(syn_from(ID_C));
    CU_ASSERT_FALSE(syn_from(ID_T));
    know(SAL_PEER_CLAIMED, client_endpoint(), 0, 60000);
    CU_ASSERT_TRUE(syn_from(ID_T)); /* The controller knows of neither. */
    know(SAL_PEER_REFUSED, client_endpoint(), ID_C, 60000);
    CU_ASSERT_FALSE(syn_from(ID_C));
    CU_ASSERT_EQUAL(REFUSED(), 2);

    /* Whoever is attached counts more than what is claimed. */
    know(SAL_PEER_CLAIMED, client_endpoint(), ID_C, 60000);
    know(SAL_PEER_ATTACHED, other.tables.settings.endpoint_id, ID_T, 60000);
    CU_ASSERT_FALSE(syn_from(ID_C));
    CU_ASSERT_EQUAL(REFUSED(), 3);
    tear_down();
}

/* A daemon that is dead, or has nobody to ask, refuses nobody for being new;
 * what is known still holds. */
static void
test_nobody_to_ask(void)
{
    set_up_check(0);
    CU_ASSERT_TRUE(syn_from(ID_C));
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_IDENTITY_UNCHECKED), 1);
    know(SAL_PEER_ATTACHED, client_endpoint(), ID_C, 60000);
    CU_ASSERT_FALSE(syn_from(ID_T));
    CU_ASSERT_TRUE(syn_from(ID_C));
    CU_ASSERT_EQUAL(take_held(), 0);
    CU_ASSERT_EQUAL(datapath_set_identity(server.dp, false, 0), 0);
    CU_ASSERT_TRUE(syn_from(ID_T));
    tear_down();
}

/* A flood of SYNs from nowhere does not bury the daemon. */
static void
test_flood(void)
{
    set_up_check(60000);
    for (int i = 0; i < 3000; i++) {
        syn_from(ID_C);
    }
    uint64_t held = counter(&server, SAL_COUNT_IN_IDENTIFY),
             busy = counter(&server, SAL_COUNT_IN_IDENTIFY_BUSY);
    CU_ASSERT_EQUAL(held + busy, 3000);
    CU_ASSERT(held >= 64);
    CU_ASSERT(take_held() <= held);
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&server)), 0);
    tear_down();
}

/* A checksum that the sender left to a device is completed, any other is
 * not. */
static void
test_partial_checksum(void)
{
    struct segment syn = client_syn;
    struct sal_packet p = {
        .src = LOC_C, .dst = LOC_S, .entropy = 50000, .type = SAL_TYPE_SYN,
        .src_flow = 0x1234, .nonce = {1}, .service_id = web.id.bytes,
        .endpoint_id = client_endpoint()};
    struct frame want, f;

    set_up_check(60000);
    build_sal(&want, &p, &syn);
    size_t at = want.len - 20 + 16;
    uint16_t partial = ~test_checksum(
        NULL, 0, pseudo_sum(syn.src, syn.dst, 20, 6));
    for (int i = 0; i < 3; i++) {
        f = want;
        if (i) {
            set16(&f, at, i == 1 ? partial : 0x1234);
        }
        struct frame sent = f;
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_SHOT);
        CU_ASSERT_EQUAL(take_held(), 1);
        CU_ASSERT_TRUE(frame_equal(&taken.frame, i == 1 ? &want : &sent, 0));
    }
    tear_down();
}

UNIT_MAIN("sal_identity", UNIT_TEST(test_attached), UNIT_TEST(test_unknown),
          UNIT_TEST(test_claimed), UNIT_TEST(test_nobody_to_ask),
          UNIT_TEST(test_flood), UNIT_TEST(test_partial_checksum))
