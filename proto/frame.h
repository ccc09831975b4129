/* SPDX-License-Identifier: Apache-2.0 */
/* Framing of the registration API: how Envelopes lie in a byte stream.
 *
 *     0: magic 'S' 'L'   2: version (1)   3: reserved (0)
 *     4: length of the body, big-endian, 1..FRAME_BODY_MAX
 *     8: body: one serialized salient.v1.Envelope
 *
 * Pure; not thread-safe, one decoder per stream. */
#ifndef SALIENT_FRAME_H
#define SALIENT_FRAME_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER_LEN 8
#define FRAME_VERSION 1
#define FRAME_BODY_MAX (1024 * 1024)

/* Writes a header for a body of 'body_len' bytes (1..FRAME_BODY_MAX). */
void frame_header_put(uint8_t header[FRAME_HEADER_LEN], uint32_t body_len);

struct frame_decoder {
    uint8_t *buf; /* Owned; bytes not yet consumed. */
    size_t len, allocated, consumed;
    uint32_t body_max; /* 0 = FRAME_BODY_MAX; see frame_decoder_limit(). */
    int error; /* Sticky: a stream that lost its framing is not read on. */
};

void frame_decoder_init(struct frame_decoder *);
void frame_decoder_destroy(struct frame_decoder *);

/* Accepts only bodies of at most 'body_max' bytes (1..FRAME_BODY_MAX) from now
 * on: whoever has not yet said who he is gets less memory. */
void frame_decoder_limit(struct frame_decoder *, uint32_t body_max);

/* Appends 'n' bytes as they came from the network.  Call frame_decoder_next()
 * until it has no more before the next push: the decoder never holds more than
 * one maximum frame plus 'n', and fails with -EMSGSIZE rather than grow. */
void frame_decoder_push(struct frame_decoder *, const void *, size_t n);

/* True if part of a frame waits for the rest of it. */
static inline bool
frame_decoder_is_partial(const struct frame_decoder *decoder)
{
    return decoder->len > decoder->consumed;
}

/* Takes the next whole body.  1: '*ret_body' and '*ret_len' are set, valid
 * until the next call on this decoder.  0: more bytes are needed.  Negative:
 * -EPROTO bad magic, reserved byte or zero length, -EPROTONOSUPPORT another
 * version, -EMSGSIZE too long; from then on always the same. */
int frame_decoder_next(struct frame_decoder *, const uint8_t **ret_body,
                       size_t *ret_len);

#endif /* frame.h */
