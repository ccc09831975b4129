/* SPDX-License-Identifier: Apache-2.0 */
/* Floods of SYNs: how many are looked at, and whose. */
#include <time.h>

#include "tests/bpf/bpf_pair.h"

/* What a server lets in at once, and then in a second; see admit.bpf.h. */
enum { SAVINGS = 4096, PER_SECOND = 1024 };

static uint64_t forged;

/* A SYN that nobody has sent before. */
static struct frame
forge_syn(uint32_t locator)
{
    struct frame f;
    struct segment syn = client_syn;
    struct sal_packet p = {.src = locator, .dst = LOC_S, .entropy = 50000,
                           .type = SAL_TYPE_SYN, .src_flow = ++forged,
                           .service_id = web.id.bytes,
                           .endpoint_id = client.tables.settings.endpoint_id};
    syn.src = ID_C + 0x10000 + forged % 10000;
    syn.sport = 1024 + forged / 10000;
    for (int i = 0; i < 4; i++) {
        p.nonce[i] = p.nonce[4 + i] = forged >> 8 * i;
    }
    build_sal(&f, &p, &syn);
    return f;
}

static uint32_t
stranger(void)
{
    return 0x0a010000 + forged;
}

/* Sends SYNs of 'locator', or of strangers, until one is not looked at. */
static struct frame
flood_until_refused(uint32_t locator)
{
    for (int i = 0; i < 1000000; i++) {
        struct frame f = forge_syn(locator ? locator : stranger()), sent = f;
        uint64_t before = counter(&server, SAL_COUNT_IN_SYN_FLOOD);
        int verdict = run_ingress(&server, &f);
        if (counter(&server, SAL_COUNT_IN_SYN_FLOOD) > before) {
            CU_ASSERT_EQUAL(verdict, TC_ACT_SHOT);
            return sent;
        }
        CU_ASSERT_EQUAL(verdict, TC_ACT_REDIRECT);
    }
    CU_FAIL_FATAL("no SYN was refused");
    return forge_syn(locator);
}

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void
test_bounded(void)
{
    set_up();
    double start = now();
    for (int i = 0; i < 500; i++) {
        flood_until_refused(0);
    }
    uint64_t in = counter(&server, SAL_COUNT_IN_SYN);
    CU_ASSERT(in >= SAVINGS);
    CU_ASSERT(in <= SAVINGS + PER_SECOND * (now() - start) + 64);
    CU_ASSERT_EQUAL(counter(&server, SAL_COUNT_IN_SYN_FLOOD), 500);
    CU_ASSERT(map_count(HALF_FLOWS(&server)) <= in);
    tear_down();
}

/* Who wants to connect sends his SYN again; that it was refused once is no
 * matter then. */
static void
test_sent_again(void)
{
    set_up();
    for (int i = 0; i < 200; i++) {
        struct frame f = flood_until_refused(0);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    }
    tear_down();
}

/* A client that has connected before is not held up by what others do, nor by
 * how often it connects; who pretends to be it is. */
static void
test_known_client(void)
{
    struct sal_flow ours, theirs;
    struct frame f;
    set_up();
    connect_hosts(&ours, &theirs);
    for (uint16_t port = 41000; port < 41100; port++) {
        struct segment syn = client_syn;
        flood_until_refused(0);
        syn.sport = port;
        build_inner(&f, &syn);
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        resolve_to(&f, LOC_S);
        CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    }
    flood_until_refused(LOC_C);
    CU_ASSERT(counter(&server, SAL_COUNT_IN_SYN) >= 2 * SAVINGS);
    tear_down();
}

UNIT_MAIN("sal_flood", UNIT_TEST(test_bounded), UNIT_TEST(test_sent_again),
          UNIT_TEST(test_known_client))
