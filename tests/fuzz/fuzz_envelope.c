/* SPDX-License-Identifier: Apache-2.0 */
/* From the network to a message: frames, then protobuf.  An odd first byte:
 * the rest is a stream.  An even one: the rest is the body of one frame, so
 * that mutations reach the messages and do not all die in the framing.
 *
 * A message that was understood says the same after it was packed. */
#include "tests/fuzz/fuzz.h"

#include "proto/frame.h"
#include "salient.pb-c.h"

static uint8_t *
pack(const Salient__V1__Envelope *envelope, size_t *ret_len)
{
    size_t len = salient__v1__envelope__get_packed_size(envelope);
    uint8_t *bytes = malloc(len + 1);

    FUZZ_CHECK(salient__v1__envelope__pack(envelope, bytes) == len);
    *ret_len = len;
    return bytes;
}

static void
check_message(const uint8_t *body, size_t len)
{
    Salient__V1__Envelope *first =
        salient__v1__envelope__unpack(NULL, len, body);
    if (!first) {
        return;
    }

    size_t first_len, second_len;
    uint8_t *first_bytes = pack(first, &first_len);
    Salient__V1__Envelope *second =
        salient__v1__envelope__unpack(NULL, first_len, first_bytes);
    /* protobuf-c takes an unknown field of number 0 if the number is written
     * in two octets, packs it into one, and takes that no more. */
    if (second) {
        FUZZ_CHECK(second->request_id == first->request_id);
        FUZZ_CHECK(second->body_case == first->body_case);
        uint8_t *second_bytes = pack(second, &second_len);
        FUZZ_CHECK(first_len == second_len
                   && !memcmp(first_bytes, second_bytes, first_len));
        free(second_bytes);
        salient__v1__envelope__free_unpacked(second, NULL);
    }
    free(first_bytes);
    salient__v1__envelope__free_unpacked(first, NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame_decoder decoder;
    const uint8_t *body;
    size_t len;

    if (size < 2) {
        return 0;
    }
    frame_decoder_init(&decoder);
    if (!(data[0] & 1)) {
        uint8_t header[FRAME_HEADER_LEN];
        frame_header_put(header, size - 1);
        frame_decoder_push(&decoder, header, sizeof header);
    }
    frame_decoder_push(&decoder, data + 1, size - 1);
    while (frame_decoder_next(&decoder, &body, &len) > 0) {
        check_message(body, len);
    }
    frame_decoder_destroy(&decoder);
    return 0;
}
