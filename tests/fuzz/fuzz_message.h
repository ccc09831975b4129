/* SPDX-License-Identifier: Apache-2.0 */
/* Good SAL messages of daemons with some bytes changed.  An input is one byte
 * that says which message, then pairs of offset and new value. */
#ifndef SALIENT_FUZZ_MESSAGE_H
#define SALIENT_FUZZ_MESSAGE_H 1

#include "proto/identity.h"
#include "ofp-ext/sal.h"
#include "tests/fuzz/fuzz.h"

/* Makes both, once. */
static inline void
fuzz_make_identities(struct identity *a, struct identity *b)
{
    if (!a->endpoint_id[0] && !a->endpoint_id[1]) {
        identity_generate(a);
        identity_generate(b);
    }
}

/* Writes the header's checksum anew, so that a changed message is not refused
 * for that.  'len' is even. */
static inline void
fuzz_mend_checksum(uint8_t *packet, size_t len)
{
    uint32_t sum = 0;

    memset(packet + SAL_OFS_CHECKSUM, 0, 2);
    for (size_t i = 0; i < len; i += 2) {
        sum += packet[i] << 8 | packet[i + 1];
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[SAL_OFS_CHECKSUM] = ~sum >> 8;
    packet[SAL_OFS_CHECKSUM + 1] = ~sum;
}

/* Changes 'packet' as the input says and mends its checksum.  True if anything
 * but the checksum is another than before. */
static inline bool
fuzz_change(const uint8_t *data, size_t size, uint8_t *packet, size_t len)
{
    bool changed = false;

    for (size_t i = 1; i + 1 < size; i += 2) {
        size_t ofs = data[i] % len;
        changed |= (packet[ofs] != data[i + 1] && ofs != SAL_OFS_CHECKSUM
                    && ofs != SAL_OFS_CHECKSUM + 1);
        packet[ofs] = data[i + 1];
    }
    fuzz_mend_checksum(packet, len);
    return changed;
}

#endif /* fuzz_message.h */
