/* SPDX-License-Identifier: Apache-2.0 */
/* Batches and datagrams that are cut, against what puts them together. */
#include "agents/packet_split.h"

#include <string.h>
#include "csum.h"
#include "tests/unit/unit.h"
#include "util.h"

#define FRAME_MAX 10000

struct whole {
    bool v6;
    uint8_t data[FRAME_MAX]; /* Of all pieces, in place. */
    size_t end, n, largest;
    uint32_t id;
    bool last;
};

static size_t
headers_of(bool v6)
{
    return 14 + (v6 ? 40 : 20);
}

static size_t
make(uint8_t *frame, bool v6, size_t payload)
{
    size_t headers = headers_of(v6), len = headers + 8 + payload;
    for (size_t i = 0; i < len; i++) {
        frame[i] = unit_random();
    }
    frame[14] = v6 ? 0x60 : 0x45;
    frame[v6 ? 20 : 23] = 17;
    return len;
}

static uint16_t
at16(const uint8_t *p)
{
    return p[0] << 8 | p[1];
}

static void
check_ip(const struct whole *whole, const uint8_t *frame, size_t len)
{
    if (whole->v6) {
        CU_ASSERT_EQUAL(at16(frame + 18), len - 54);
    } else {
        CU_ASSERT_EQUAL(at16(frame + 16), len - 14);
        CU_ASSERT_EQUAL(csum(frame + 14, 20), 0);
    }
}

static void
take_fragment(void *frame_, size_t len, void *whole_)
{
    struct whole *whole = whole_;
    const uint8_t *frame = frame_, *ip6 = frame + 54;
    size_t data = headers_of(whole->v6) + (whole->v6 ? 8 : 0);
    size_t ofs = whole->v6 ? at16(ip6 + 2) & 0xfff8
                           : (at16(frame + 20) & 0x1fff) * 8;
    bool more = whole->v6 ? ip6[3] & 1 : frame[20] & 0x20;

    check_ip(whole, frame, len);
    CU_ASSERT_EQUAL(frame[whole->v6 ? 20 : 23], whole->v6 ? 44 : 17);
    CU_ASSERT_EQUAL(whole->v6 ? (uint32_t) at16(ip6 + 6) : at16(frame + 18),
                    whole->id & 0xffff);
    CU_ASSERT_EQUAL(ofs, whole->end);
    CU_ASSERT_FALSE(whole->last);
    CU_ASSERT(!more || (len - data) % 8 == 0);
    memcpy(whole->data + ofs, frame + data, len - data);
    whole->end = ofs + len - data;
    whole->last = !more;
    whole->largest = MAX(whole->largest, len);
    whole->n++;
}

static void
test_fragments(void)
{
    static uint8_t frame[FRAME_MAX];
    for (int i = 0; i < 2000; i++) {
        struct whole whole = {.v6 = i % 2, .id = unit_random()};
        size_t max = 101 + unit_random_below(3300);
        size_t len = make(frame, whole.v6, unit_random_below(9000));
        size_t headers = headers_of(whole.v6);
        packet_split_fragments(frame, len, max, whole.id, take_fragment,
                               &whole);
        CU_ASSERT_TRUE(whole.last);
        CU_ASSERT(whole.largest <= max);
        CU_ASSERT_EQUAL_FATAL(whole.end, len - headers);
        CU_ASSERT_EQUAL(memcmp(whole.data, frame + headers, whole.end), 0);
    }
}

static void
take_segment(void *frame_, size_t len, void *whole_)
{
    struct whole *whole = whole_;
    const uint8_t *frame = frame_;
    size_t headers = headers_of(whole->v6);

    check_ip(whole, frame, len);
    CU_ASSERT_EQUAL(at16(frame + headers + 4), len - headers);
    CU_ASSERT_EQUAL(at16(frame + headers + 6), 0);
    CU_ASSERT_FALSE(whole->last);
    memcpy(whole->data + whole->end, frame + headers + 8, len - headers - 8);
    whole->end += len - headers - 8;
    whole->last = len - headers - 8 < whole->largest;
    whole->n++;
}

static void
test_segments(void)
{
    static uint8_t frame[FRAME_MAX];
    for (int i = 0; i < 2000; i++) {
        size_t payload = 1 + unit_random_below(9000);
        size_t segment = 1 + unit_random_below(2000);
        struct whole whole = {.v6 = i % 2, .largest = segment};
        size_t len = make(frame, whole.v6, payload);
        packet_split_segments(frame, len, segment, take_segment, &whole);
        CU_ASSERT_EQUAL(whole.n, DIV_ROUND_UP(payload, segment));
        CU_ASSERT_EQUAL_FATAL(whole.end, payload);
        CU_ASSERT_EQUAL(memcmp(whole.data, frame + len - payload, payload), 0);
    }
}

/* Whatever is no datagram gives nothing. */
static void
test_others(void)
{
    static uint8_t frame[FRAME_MAX];
    struct whole whole = {.v6 = false};
    size_t len = make(frame, false, 500);
    packet_split_segments(frame, len, 0, take_segment, &whole);
    for (size_t n = 0; n < 42; n++) {
        packet_split_fragments(frame, n, 200, 1, take_fragment, &whole);
        packet_split_segments(frame, n, 10, take_segment, &whole);
    }
    frame[23] = 6;
    packet_split_fragments(frame, len, 200, 1, take_fragment, &whole);
    frame[23] = 17;
    frame[14] = 0x46;
    packet_split_segments(frame, len, 10, take_segment, &whole);
    CU_ASSERT_EQUAL(whole.n, 0);
}

UNIT_MAIN("packet_split", UNIT_TEST(test_fragments), UNIT_TEST(test_segments),
          UNIT_TEST(test_others))
