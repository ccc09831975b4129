/* SPDX-License-Identifier: Apache-2.0 */
/* The first segment after a silence says nothing of times; no other one
 * changes. */
#include "tests/bpf/bpf_pair.h"

#include <time.h>
#include "agents/datapath_flows.h"

#define STAMPS 0x0101080a
#define SECOND 1000000000ULL

/* What the client sends, and has no answer to. */
static const struct segment question = {
    .src = ID_C, .dst = WEB, .sport = 40000, .dport = 80, .seq = 1001,
    .ack = 5001, .flags = PSH | ACK, .payload = "question"};

/* What the server answers, as the client sees it; then the client has
 * acknowledgements up to 1001 + 4. */
static const struct segment answer = {
    .src = WEB, .dst = ID_C, .sport = 80, .dport = 40000, .seq = 5001,
    .ack = 1005, .flags = PSH | ACK, .payload = "odd"};

static uint64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

/* The client's flow has been silent for 'ns', and is held, or gets its path
 * again.  Whether its next time stamps are taken to be old. */
static uint8_t
move_after(uint64_t ns, int ifindex)
{
    struct sal_flow flow;
    struct datapath_flow seen;
    struct datapath_move move;

    CU_ASSERT_TRUE_FATAL(only_flow(FLOWS(&client), &flow));
    flow.created_ns = flow.last_in_ns = now_ns() - ns;
    bpf_map_update_elem(bpf_map__fd(FLOWS(&client)), &flow.id, &flow,
                        BPF_EXIST);
    uint32_t id = ntohl(flow.id);
    CU_ASSERT_EQUAL(datapath_flow_get(client.dp, id, &seen), 0);
    memset(&move, 0, sizeof move);
    move.path = seen.path;
    move.path.ifindex = ifindex;
    memcpy(move.peer_endpoint, seen.peer_endpoint, sizeof move.peer_endpoint);
    CU_ASSERT_EQUAL(datapath_flows_move(client.dp, &move, &id, 1), 1);
    CU_ASSERT_TRUE_FATAL(only_flow(FLOWS(&client), &flow));
    return flow.marks & SAL_FLOW_MARK_OLD_ECHO;
}

static uint8_t
resume(uint64_t ns)
{
    return move_after(ns, 1);
}

static void
set_up_question(void)
{
    struct sal_flow ours, theirs;
    struct frame f;

    set_up();
    connect_hosts(&ours, &theirs);
    build_inner(&f, &question);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
}

/* The answer with options 'sent' comes, and reaches the stack with 'seen'. */
static void
expect(const uint32_t *sent, const uint32_t *seen, size_t n)
{
    struct sal_flow theirs;
    struct segment s = answer;
    struct frame f, want;

    CU_ASSERT_TRUE_FATAL(only_flow(FLOWS(&server), &theirs));
    struct sal_packet p = data_of(&server, &theirs);
    s.options = sent;
    s.n_options = n;
    build_sal(&f, &p, &s);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    s.options = seen;
    build_inner(&want, &s);
    CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
}

static void
test_echo_is_forgotten_once(void)
{
    static const uint32_t old[] = {STAMPS, 0x12345678, 0x89abcdef};
    static const uint32_t none[] = {STAMPS, 0x12345678, 0};

    set_up_question();
    expect(old, old, 3);
    CU_ASSERT_TRUE(resume(2 * SECOND));
    expect(old, none, 3);
    expect(old, old, 3);
    CU_ASSERT_TRUE(resume(2 * SECOND));
    expect(none, none, 3);
    expect(old, old, 3);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_OLD_ECHO), 2);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_DATA), 5);
    tear_down();
}

/* The echo is that of what was sent first since. */
static void
test_echo_of_first(void)
{
    static const uint32_t first[] = {STAMPS, 0xfedcba98, 3};
    static const uint32_t second[] = {STAMPS, 0xfedcba99, 3};
    static const uint32_t old[] = {STAMPS, 0x12345678, 0x89abcdef};
    static const uint32_t seen[] = {STAMPS, 0x12345678, 0xfedcba98};
    static const uint32_t none[] = {STAMPS, 0x12345678, 0};
    const uint32_t *sent[] = {NULL, first, second};
    struct sal_flow ours;
    struct frame f, want;

    set_up_question();
    CU_ASSERT_TRUE(resume(2 * SECOND));
    for (int i = 0; i < 3; i++) {
        struct segment s = question;
        s.options = sent[i];
        s.n_options = sent[i] ? 3 : 0;
        build_inner(&f, &s);
        CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
        CU_ASSERT_TRUE(only_flow(FLOWS(&client), &ours));
        struct sal_packet p = data_of(&client, &ours);
        build_sal(&want, &p, &s);
        CU_ASSERT_TRUE(frame_equal(&f, &want, 12));
    }
    expect(old, seen, 3);
    expect(old, old, 3);
    CU_ASSERT_TRUE(resume(2 * SECOND));
    expect(old, none, 3);
    tear_down();
}

/* The client sends its question again; 'age' ns later the answer comes with an
 * old echo.  The echo that reaches the stack, 0 if that was left alone. */
static uint32_t
echo_after_again(uint64_t gap, uint64_t age)
{
    static const uint32_t again[] = {STAMPS, 1000000, 3};
    static const uint32_t old[] = {STAMPS, 0x12345678, 0x89abcdef};
    struct segment s = question;
    struct sal_flow flow;
    struct frame f;
    uint32_t echo;

    CU_ASSERT_TRUE_FATAL(only_flow(FLOWS(&client), &flow));
    flow.created_ns = flow.last_in_ns = flow.last_out_ns = now_ns() - gap;
    bpf_map_update_elem(bpf_map__fd(FLOWS(&client)), &flow.id, &flow,
                        BPF_EXIST);
    s.options = again;
    s.n_options = 3;
    build_inner(&f, &s);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(FLOWS(&client), &flow));
    flow.own_stamp_ms -= age / 1000000;
    bpf_map_update_elem(bpf_map__fd(FLOWS(&client)), &flow.id, &flow,
                        BPF_EXIST);

    CU_ASSERT_TRUE_FATAL(only_flow(FLOWS(&server), &flow));
    struct sal_packet p = data_of(&server, &flow);
    s = answer;
    s.options = old;
    s.n_options = 3;
    build_sal(&f, &p, &s);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    memcpy(&echo, f.data + 14 + 20 + 20 + 8, sizeof echo);
    return ntohl(echo) == old[2] ? 0 : ntohl(echo);
}

/* TCP's own timer may be the first to meet the end of the silence; or the
 * answer is, long after all that TCP has sent. */
static void
test_silence_that_nobody_tells(void)
{
    set_up_question();
    CU_ASSERT_EQUAL(echo_after_again(SECOND / 5, 0), 0);
    CU_ASSERT_EQUAL(echo_after_again(2 * SECOND, 0), 1000000);
    uint32_t echo = echo_after_again(2 * SECOND, 4 * SECOND);
    CU_ASSERT_TRUE(echo >= 1003900 && echo < 1004900);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_OLD_ECHO), 2);
    tear_down();
}

static void
test_sack_is_forgotten(void)
{
    static const uint32_t old[] = {STAMPS, 1, 0xffff0000, 0x01010512,
                                   1007, 1009, 1010, 1011};
    static const uint32_t none[] = {STAMPS, 1, 0, 0x0101fd12,
                                    1007, 1009, 1010, 1011};
    /* What came twice: that is no matter of time. */
    static const uint32_t twice[] = {STAMPS, 1, 7, 0x0101050a, 1001, 1003};
    static const uint32_t still[] = {STAMPS, 1, 0, 0x0101050a, 1001, 1003};

    set_up_question();
    CU_ASSERT_TRUE(resume(2 * SECOND));
    expect(old, none, 8);
    expect(old, old, 8);
    CU_ASSERT_TRUE(resume(2 * SECOND));
    expect(twice, still, 6);
    tear_down();
}

/* Before our flow has its path again, a bare acknowledgement would say too
 * little; but data are not kept from TCP. */
static void
test_held(void)
{
    static const uint32_t old[] = {STAMPS, 0x12345678, 0x89abcdef};
    static const uint32_t none[] = {STAMPS, 0x12345678, 0};
    struct segment bare = answer;
    struct sal_flow theirs;
    struct frame f, again;

    set_up_question();
    CU_ASSERT_FALSE(move_after(2 * SECOND, 0));
    CU_ASSERT_TRUE_FATAL(only_flow(FLOWS(&server), &theirs));
    struct sal_packet p = data_of(&server, &theirs);
    bare.payload = NULL;
    bare.flags = ACK;
    bare.options = old;
    bare.n_options = 3;
    build_sal(&f, &p, &bare);
    again = f;
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_SHOT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_EARLY_ACK), 1);
    expect(old, none, 3);

    /* Nothing has been silent any more: what comes is as it is. */
    f = again;
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_EARLY_ACK), 1);
    expect(old, old, 3);
    tear_down();
}

/* Whoever puts options elsewhere, or has none, is left alone. */
static void
test_other_options(void)
{
    static const uint32_t other[] = {0x080a0000, 0x00010000, 0x00070101};
    static const uint32_t few[] = {STAMPS, 1};
    static const uint32_t no_sack[] = {STAMPS, 1, 0, 0x01010101, 1007};

    set_up_question();
    CU_ASSERT_TRUE(resume(2 * SECOND));
    expect(other, other, 3);
    CU_ASSERT_TRUE(resume(2 * SECOND));
    expect(NULL, NULL, 0);
    CU_ASSERT_TRUE(resume(2 * SECOND));
    expect(few, few, 2);
    CU_ASSERT_TRUE(resume(2 * SECOND));
    expect(no_sack, no_sack, 5);
    CU_ASSERT_FALSE(only_flow(HALF_FLOWS(&client), &(struct sal_flow) {0}));
    tear_down();
}

/* Who was not silent, or waits for nothing, learns from each echo. */
static void
test_only_after_silence(void)
{
    static const uint32_t options[] = {STAMPS, 1, 7};
    struct segment last = answer;
    struct sal_flow theirs;
    struct frame f;

    set_up_question();
    CU_ASSERT_FALSE(resume(SECOND / 10));
    expect(options, options, 3);
    CU_ASSERT_TRUE(only_flow(FLOWS(&server), &theirs));
    struct sal_packet p = data_of(&server, &theirs);
    last.ack = question.seq + strlen(question.payload);
    build_sal(&f, &p, &last);
    CU_ASSERT_EQUAL(run_ingress(&client, &f), TC_ACT_REDIRECT);
    CU_ASSERT_FALSE(resume(30 * SECOND));
    expect(options, options, 3);
    CU_ASSERT_EQUAL(counter(&client, SAL_COUNT_IN_OLD_ECHO), 0);
    tear_down();
}

UNIT_MAIN("sal_echo", UNIT_TEST(test_echo_is_forgotten_once),
          UNIT_TEST(test_echo_of_first),
          UNIT_TEST(test_silence_that_nobody_tells),
          UNIT_TEST(test_sack_is_forgotten), UNIT_TEST(test_held),
          UNIT_TEST(test_other_options),
          UNIT_TEST(test_only_after_silence))
