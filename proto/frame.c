/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "util.h"

#define FRAME_MAX (FRAME_HEADER_LEN + FRAME_BODY_MAX)

/* An idle stream gives back a buffer that is larger than this. */
#define KEEP_ALLOCATED (64 * 1024)

static const uint8_t frame_start[] = {'S', 'L', FRAME_VERSION, 0};

void
frame_header_put(uint8_t header[FRAME_HEADER_LEN], uint32_t body_len)
{
    ovs_assert(body_len && body_len <= FRAME_BODY_MAX);
    memcpy(header, frame_start, sizeof frame_start);
    header[4] = body_len >> 24;
    header[5] = body_len >> 16;
    header[6] = body_len >> 8;
    header[7] = body_len;
}

void
frame_decoder_init(struct frame_decoder *decoder)
{
    *decoder = (struct frame_decoder) {.error = 0};
}

void
frame_decoder_destroy(struct frame_decoder *decoder)
{
    if (decoder) {
        free(decoder->buf);
        frame_decoder_init(decoder);
    }
}

void
frame_decoder_limit(struct frame_decoder *decoder, uint32_t body_max)
{
    ovs_assert(body_max && body_max <= FRAME_BODY_MAX);
    decoder->body_max = body_max;
}

/* Moves what is not yet consumed to the front of the buffer. */
static void
compact(struct frame_decoder *decoder)
{
    if (!decoder->consumed) {
        return;
    }
    decoder->len -= decoder->consumed;
    if (decoder->len) {
        memmove(decoder->buf, decoder->buf + decoder->consumed, decoder->len);
    }
    decoder->consumed = 0;
}

static void
reserve(struct frame_decoder *decoder, size_t n)
{
    if (decoder->len + n <= decoder->allocated) {
        return;
    }
    /* Doubling keeps a frame that arrives in crumbs linear. */
    decoder->allocated = MAX(decoder->len + n, 2 * decoder->allocated);
    decoder->buf = xrealloc(decoder->buf, decoder->allocated);
}

void
frame_decoder_push(struct frame_decoder *decoder, const void *data, size_t n)
{
    if (decoder->error || !n) {
        return;
    }
    compact(decoder);
    if (decoder->len >= FRAME_MAX) {
        /* The caller did not take out what was whole: memory stays bounded
         * all the same. */
        decoder->error = -EMSGSIZE;
        return;
    }
    reserve(decoder, n);
    memcpy(decoder->buf + decoder->len, data, n);
    decoder->len += n;
}

/* Checks as much of a header as is there, so that a foreign protocol is
 * noticed at its first byte.  0 or the decoder's error. */
static int
check_header(const uint8_t *header, size_t n)
{
    static const int errors[] = {-EPROTO, -EPROTO, -EPROTONOSUPPORT, -EPROTO};

    for (size_t i = 0; i < MIN(n, sizeof frame_start); i++) {
        if (header[i] != frame_start[i]) {
            return errors[i];
        }
    }
    return 0;
}

static uint32_t
get_be32(const uint8_t *p)
{
    return (uint32_t) p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static int
fail(struct frame_decoder *decoder, int error)
{
    decoder->error = error;
    free(decoder->buf);
    decoder->buf = NULL;
    decoder->len = decoder->allocated = decoder->consumed = 0;
    return error;
}

/* Nothing is left to consume. */
static void
release(struct frame_decoder *decoder)
{
    decoder->len = decoder->consumed = 0;
    if (decoder->allocated > KEEP_ALLOCATED) {
        free(decoder->buf);
        decoder->buf = NULL;
        decoder->allocated = 0;
    }
}

int
frame_decoder_next(struct frame_decoder *decoder, const uint8_t **ret_body,
                   size_t *ret_len)
{
    if (decoder->error) {
        return fail(decoder, decoder->error);
    }
    size_t n = decoder->len - decoder->consumed;
    if (!n) {
        release(decoder);
        return 0;
    }

    const uint8_t *frame = decoder->buf + decoder->consumed;
    int error = check_header(frame, n);
    if (error) {
        return fail(decoder, error);
    }
    if (n < FRAME_HEADER_LEN) {
        return 0;
    }
    uint32_t body_len = get_be32(frame + 4);
    uint32_t body_max = decoder->body_max ? decoder->body_max : FRAME_BODY_MAX;
    if (!body_len || body_len > body_max) {
        return fail(decoder, body_len ? -EMSGSIZE : -EPROTO);
    }
    if (n - FRAME_HEADER_LEN < body_len) {
        return 0;
    }
    decoder->consumed += FRAME_HEADER_LEN + body_len;
    *ret_body = frame + FRAME_HEADER_LEN;
    *ret_len = body_len;
    return 1;
}
