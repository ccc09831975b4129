/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of frames comes out the same however the network cuts it.  The
 * first byte says how it is cut. */
#include "tests/fuzz/fuzz.h"

#include "proto/frame.h"

/* What was decoded, in one number. */
struct digest {
    uint64_t hash;
    int frames, error;
};

static void
digest_add(struct digest *digest, const uint8_t *body, size_t len)
{
    digest->frames++;
    for (size_t i = 0; i < len; i++) {
        digest->hash = (digest->hash ^ body[i]) * 0x100000001b3ULL;
    }
    digest->hash = (digest->hash ^ len) * 0x100000001b3ULL;
}

static struct digest
decode(const uint8_t *data, size_t size, size_t chunk)
{
    struct digest digest = {.frames = 0};
    struct frame_decoder decoder;

    frame_decoder_init(&decoder);
    while (size && !digest.error) {
        size_t n = size < chunk ? size : chunk;
        uint8_t *copy = malloc(n);
        memcpy(copy, data, n);
        frame_decoder_push(&decoder, copy, n);
        free(copy);
        data += n;
        size -= n;

        const uint8_t *body;
        size_t len;
        int rc;
        while ((rc = frame_decoder_next(&decoder, &body, &len)) > 0) {
            FUZZ_CHECK(len >= 1 && len <= FRAME_BODY_MAX);
            digest_add(&digest, body, len);
        }
        FUZZ_CHECK(decoder.len <= FRAME_HEADER_LEN + FRAME_BODY_MAX);
        digest.error = rc;
        FUZZ_CHECK(frame_decoder_next(&decoder, &body, &len) == rc);
    }
    frame_decoder_destroy(&decoder);
    return digest;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) {
        return 0;
    }
    struct digest whole = decode(data + 1, size - 1, SIZE_MAX);
    struct digest cut = decode(data + 1, size - 1, 1 + data[0]);
    FUZZ_CHECK(whole.hash == cut.hash && whole.frames == cut.frames
               && whole.error == cut.error);
    return 0;
}
