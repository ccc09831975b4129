/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/holder.h"

#include "tests/unit/unit.h"

static struct {
    unsigned int n;
    uint8_t first; /* Byte of the last one. */
    size_t len;
    uint32_t mark;
} sent;

static void
send_frame(const void *frame, size_t len, uint32_t mark, void *aux)
{
    (void) aux;
    sent.n++;
    sent.first = *(const uint8_t *) frame;
    sent.len = len;
    sent.mark = mark;
}

static unsigned int asked;

static void
ask(const struct service_id *id, void *aux)
{
    (void) id;
    (void) aux;
    asked++;
}

static const struct holder_ops ops = {.resolve = ask, .send = send_frame};

static void
set_up(struct holder *holder)
{
    memset(&sent, 0, sizeof sent);
    asked = 0;
    holder_init(holder, &ops, NULL);
}

static struct sal_held
about(uint8_t kind, uint16_t port)
{
    struct sal_held held = {.kind = kind, .tuple = {.lport = port}};
    return held;
}

static void
take(struct holder *holder, uint16_t port, uint8_t attempts, int64_t now)
{
    uint8_t frame[1400];
    struct sal_held held = about(SAL_HELD_BIND, port);
    held.len = sizeof frame;
    held.attempts = attempts;
    memset(frame, port, sizeof frame);
    holder_take(holder, &held, frame, now);
}

static void
test_bound(void)
{
    struct holder holder;

    set_up(&holder);
    CU_ASSERT_EQUAL(holder_deadline(&holder), INT64_MAX);
    take(&holder, 1, 0, 100);
    take(&holder, 2, 0, 100);
    CU_ASSERT_EQUAL(holder_deadline(&holder), 100 + HOLDER_BIND_MS);
    struct sal_held news = about(SAL_HELD_BOUND, 2);
    holder_take(&holder, &news, NULL, 110);
    CU_ASSERT_EQUAL(sent.n, 1);
    CU_ASSERT_EQUAL(sent.first, 2);
    CU_ASSERT_EQUAL(sent.len, 1400);
    CU_ASSERT_EQUAL(sent.mark, 0);
    holder_take(&holder, &news, NULL, 110);
    CU_ASSERT_EQUAL(sent.n, 1);
    news = about(SAL_HELD_REFUSED, 1);
    holder_take(&holder, &news, NULL, 110);
    CU_ASSERT_EQUAL(sent.n, 1);
    CU_ASSERT_EQUAL(holder.n, 0);
    CU_ASSERT_EQUAL(holder.bytes, 0);
    CU_ASSERT_EQUAL(holder.stats.held, 2);
    CU_ASSERT_EQUAL(holder.stats.sent, 1);
    CU_ASSERT_EQUAL(holder.stats.refused, 1);
    holder_destroy(&holder);
}

/* Not answered: sent again, a few times, marked; the data plane hands it back
 * with the count that the mark says. */
static void
test_no_answer(void)
{
    struct holder holder;
    int64_t now = 0;

    set_up(&holder);
    take(&holder, 7, 0, now);
    for (unsigned int i = 1; i < HOLDER_BIND_ATTEMPTS; i++) {
        holder_run(&holder, now + HOLDER_BIND_MS - 1);
        CU_ASSERT_EQUAL(sent.n, i - 1);
        now += HOLDER_BIND_MS;
        holder_run(&holder, now);
        CU_ASSERT_EQUAL(sent.n, i);
        CU_ASSERT_EQUAL(sent.mark, SAL_MARK_AGAIN | i);
        CU_ASSERT_EQUAL(holder.n, 0);
        take(&holder, 7, i, now);
    }
    holder_run(&holder, now + HOLDER_BIND_MS);
    CU_ASSERT_EQUAL(sent.n, HOLDER_BIND_ATTEMPTS - 1);
    CU_ASSERT_EQUAL(holder.n, 0);
    CU_ASSERT_EQUAL(holder.stats.held, 1);
    CU_ASSERT_EQUAL(holder.stats.timed_out, 1);
    holder_destroy(&holder);
}

static void
test_bounds(void)
{
    struct holder holder;

    set_up(&holder);
    for (int i = 0; i < HOLDER_MAX_PER_FLOW + 3; i++) {
        take(&holder, 1, 0, 0);
    }
    CU_ASSERT_EQUAL(holder.n, HOLDER_MAX_PER_FLOW);
    CU_ASSERT_EQUAL(holder.stats.full, 3);
    for (int i = 0; i < 2 * HOLDER_MAX_PACKETS; i++) {
        take(&holder, 2 + i, 0, 0);
    }
    CU_ASSERT_EQUAL(holder.n, HOLDER_MAX_PACKETS);
    CU_ASSERT(holder.bytes <= HOLDER_MAX_BYTES);
    CU_ASSERT_EQUAL(holder.stats.held, HOLDER_MAX_PACKETS);
    holder_run(&holder, INT64_MAX - 1);
    CU_ASSERT_EQUAL(holder.n, 0);
    CU_ASSERT_EQUAL(holder.bytes, 0);
    holder_destroy(&holder);
}

static void
delay(struct holder *holder, uint16_t port, uint8_t service, uint8_t attempts)
{
    uint8_t frame[60];
    struct sal_held held = about(SAL_HELD_RESOLVE, port);
    held.len = sizeof frame;
    held.attempts = attempts;
    held.tuple.proto = 6;
    held.service_id[0] = service;
    memset(frame, port, sizeof frame);
    holder_take(holder, &held, frame, 0);
}

/* One question for a service; its answer releases all its packets. */
static void
test_resolve(void)
{
    struct holder holder;
    struct service_prefix prefix = {.id.bytes = {1}, .len = 64};

    set_up(&holder);
    delay(&holder, 1, 1, 0);
    delay(&holder, 2, 1, 0);
    delay(&holder, 2, 1, 0); /* TCP's SYN again. */
    delay(&holder, 3, 2, 0);
    CU_ASSERT_EQUAL(asked, 2);
    CU_ASSERT_EQUAL(holder.n, 3);
    holder_resolved(&holder, &prefix, true);
    CU_ASSERT_EQUAL(sent.n, 2);
    CU_ASSERT_EQUAL(sent.mark, SAL_MARK_AGAIN | 1);
    prefix.id.bytes[0] = 2;
    holder_resolved(&holder, &prefix, false);
    CU_ASSERT_EQUAL(sent.n, 3);
    CU_ASSERT_EQUAL(sent.mark, SAL_MARK_REFUSE);
    CU_ASSERT_EQUAL(holder.n, 0);

    /* No answer; an answer that does not help. */
    delay(&holder, 4, 4, 0);
    CU_ASSERT_EQUAL(holder_deadline(&holder), HOLDER_RESOLVE_MS);
    holder_run(&holder, HOLDER_RESOLVE_MS);
    CU_ASSERT_EQUAL(sent.n, 4);
    CU_ASSERT_EQUAL(sent.mark, SAL_MARK_REFUSE);
    CU_ASSERT_EQUAL(holder.stats.timed_out, 1);
    delay(&holder, 5, 5, HOLDER_RESOLVE_ATTEMPTS);
    CU_ASSERT_EQUAL(sent.n, 5);
    CU_ASSERT_EQUAL(sent.mark, SAL_MARK_REFUSE);
    CU_ASSERT_EQUAL(holder.n, 0);
    holder_destroy(&holder);
}

UNIT_MAIN("holder", UNIT_TEST(test_resolve), UNIT_TEST(test_bound),
          UNIT_TEST(test_no_answer), UNIT_TEST(test_bounds))
