/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include "proto/frame.h"

/* Appends a frame of 'len' bytes 'fill' at 'p'; returns its end. */
static uint8_t *
put_frame(uint8_t *p, uint8_t fill, uint32_t len)
{
    frame_header_put(p, len);
    memset(p + FRAME_HEADER_LEN, fill, len);
    return p + FRAME_HEADER_LEN + len;
}

static bool
all_are(const uint8_t *p, size_t n, uint8_t value)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != value) {
            return false;
        }
    }
    return true;
}

static void
test_header_bytes(void)
{
    static const uint8_t expected[] = {'S', 'L', 1, 0, 0, 0x01, 0x02, 0x03};
    uint8_t header[FRAME_HEADER_LEN];

    frame_header_put(header, 0x010203);
    CU_ASSERT_EQUAL(memcmp(header, expected, sizeof header), 0);
}

static void
test_byte_by_byte(void)
{
    uint8_t stream[64];
    uint8_t *end = put_frame(put_frame(stream, 'a', 5), 'b', 1);
    struct frame_decoder decoder;
    const uint8_t *body;
    size_t len;
    int frames = 0;

    frame_decoder_init(&decoder);
    CU_ASSERT_EQUAL(frame_decoder_next(&decoder, &body, &len), 0);
    for (uint8_t *p = stream; p < end; p++) {
        frame_decoder_push(&decoder, p, 1);
        int rc = frame_decoder_next(&decoder, &body, &len);
        bool whole = p == stream + FRAME_HEADER_LEN + 4 || p == end - 1;
        CU_ASSERT_EQUAL(rc, whole);
        if (rc == 1) {
            CU_ASSERT_EQUAL(len, frames ? 1 : 5);
            CU_ASSERT(all_are(body, len, frames ? 'b' : 'a'));
            frames++;
        }
        CU_ASSERT_EQUAL(frame_decoder_is_partial(&decoder), !whole);
    }
    CU_ASSERT_EQUAL(frames, 2);
    frame_decoder_destroy(&decoder);
}

/* Frames of random lengths, cut at random places, come out as they went in. */
static void
test_random_cuts(void)
{
    enum { N = 200, MAX_LEN = 3000 };
    static uint8_t stream[N * (FRAME_HEADER_LEN + MAX_LEN)];
    uint32_t lens[N];
    uint8_t *end = stream;
    for (int i = 0; i < N; i++) {
        lens[i] = 1 + unit_random_below(MAX_LEN);
        end = put_frame(end, i, lens[i]);
    }

    struct frame_decoder decoder;
    frame_decoder_init(&decoder);
    int frames = 0;
    for (uint8_t *p = stream; p < end;) {
        size_t n = 1 + unit_random_below(unit_random_below(2) ? 7 : 9000);
        n = n < end - p ? n : end - p;
        frame_decoder_push(&decoder, p, n);
        p += n;

        const uint8_t *body;
        size_t len;
        while (frame_decoder_next(&decoder, &body, &len) == 1) {
            CU_ASSERT_FATAL(frames < N);
            CU_ASSERT_EQUAL(len, lens[frames]);
            CU_ASSERT(all_are(body, len, frames));
            frames++;
        }
    }
    CU_ASSERT_EQUAL(frames, N);
    CU_ASSERT_EQUAL(decoder.error, 0);
    frame_decoder_destroy(&decoder);
}

static void
check_error(const void *bytes, size_t n, int error)
{
    struct frame_decoder decoder;
    const uint8_t *body = NULL;
    size_t len = 0;

    frame_decoder_init(&decoder);
    frame_decoder_push(&decoder, bytes, n);
    CU_ASSERT_EQUAL(frame_decoder_next(&decoder, &body, &len), error);

    /* Good bytes afterwards change nothing, and nothing piles up. */
    uint8_t good[FRAME_HEADER_LEN + 1];
    put_frame(good, 'x', 1);
    frame_decoder_push(&decoder, good, sizeof good);
    CU_ASSERT_EQUAL(frame_decoder_next(&decoder, &body, &len), error);
    CU_ASSERT_PTR_NULL(body);
    CU_ASSERT_EQUAL(decoder.allocated, 0);
    frame_decoder_destroy(&decoder);
}

static void
test_errors_stick(void)
{
    check_error("G", 1, -EPROTO);
    check_error("SX", 2, -EPROTO);
    check_error("SL\0", 3, -EPROTONOSUPPORT);
    check_error("SL\2\0\0\0\0\1x", 9, -EPROTONOSUPPORT);
    check_error("SL\1\1", 4, -EPROTO);
    check_error("SL\1\0\0\0\0\0", 8, -EPROTO);
    check_error("SL\1\0\0\x10\0\1", 8, -EMSGSIZE);
    check_error("SL\1\0\xff\xff\xff\xff", 8, -EMSGSIZE);
}

static void
test_largest_frame(void)
{
    uint8_t *frame = malloc(FRAME_HEADER_LEN + FRAME_BODY_MAX);
    uint8_t *end = put_frame(frame, 'z', FRAME_BODY_MAX);
    struct frame_decoder decoder;
    const uint8_t *body;
    size_t len;

    frame_decoder_init(&decoder);
    frame_decoder_push(&decoder, frame, end - frame - 1);
    CU_ASSERT_EQUAL(frame_decoder_next(&decoder, &body, &len), 0);
    frame_decoder_push(&decoder, end - 1, 1);
    CU_ASSERT_EQUAL(frame_decoder_next(&decoder, &body, &len), 1);
    CU_ASSERT_EQUAL(len, FRAME_BODY_MAX);
    CU_ASSERT(all_are(body, len, 'z'));

    /* An idle stream does not keep a megabyte. */
    CU_ASSERT_EQUAL(frame_decoder_next(&decoder, &body, &len), 0);
    CU_ASSERT_EQUAL(decoder.allocated, 0);
    frame_decoder_destroy(&decoder);
    free(frame);
}

/* Somebody who pushes and never takes anything out. */
static void
test_memory_is_bounded(void)
{
    enum { CHUNK = 64 * 1024 };
    static uint8_t chunk[CHUNK];
    struct frame_decoder decoder;
    const uint8_t *body;
    size_t len;

    put_frame(chunk, 'y', CHUNK - FRAME_HEADER_LEN);
    frame_decoder_init(&decoder);
    for (int i = 0; i < 1000; i++) {
        frame_decoder_push(&decoder, chunk, CHUNK);
    }
    CU_ASSERT(decoder.len <= FRAME_HEADER_LEN + FRAME_BODY_MAX + CHUNK);
    CU_ASSERT_EQUAL(frame_decoder_next(&decoder, &body, &len), -EMSGSIZE);
    frame_decoder_destroy(&decoder);
    frame_decoder_destroy(NULL);
}

/* Before a peer has proved its identity it may send little. */
static void
test_limit(void)
{
    uint8_t stream[128];
    uint8_t *end = put_frame(put_frame(stream, 'a', 32), 'b', 33);
    struct frame_decoder decoder;
    const uint8_t *body;
    size_t len;

    frame_decoder_init(&decoder);
    frame_decoder_limit(&decoder, 32);
    frame_decoder_push(&decoder, stream, end - stream);
    CU_ASSERT_EQUAL(frame_decoder_next(&decoder, &body, &len), 1);
    CU_ASSERT_EQUAL(frame_decoder_next(&decoder, &body, &len), -EMSGSIZE);
    frame_decoder_destroy(&decoder);

    frame_decoder_init(&decoder);
    frame_decoder_limit(&decoder, 32);
    frame_decoder_limit(&decoder, 33);
    frame_decoder_push(&decoder, stream, end - stream);
    CU_ASSERT_EQUAL(frame_decoder_next(&decoder, &body, &len), 1);
    CU_ASSERT_EQUAL(frame_decoder_next(&decoder, &body, &len), 1);
    CU_ASSERT_EQUAL(len, 33);
    frame_decoder_destroy(&decoder);
}

UNIT_MAIN("frame", UNIT_TEST(test_header_bytes), UNIT_TEST(test_byte_by_byte),
          UNIT_TEST(test_random_cuts), UNIT_TEST(test_errors_stick),
          UNIT_TEST(test_largest_frame), UNIT_TEST(test_memory_is_bounded),
          UNIT_TEST(test_limit))
