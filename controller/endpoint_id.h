/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoint IDs: the 128-bit hash of an endpoint's public key.
 *
 * Pure; any thread. */
#ifndef CONTROLLER_ENDPOINT_ID_H
#define CONTROLLER_ENDPOINT_ID_H 1

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "ofp-ext/sal.h"

struct endpoint_id {
    uint8_t bytes[SAL_ENDPOINT_ID_LEN];
};

/* 32 hex digits and NUL. */
#define ENDPOINT_ID_STRLEN (2 * SAL_ENDPOINT_ID_LEN + 1)

static inline bool
endpoint_id_equal(const struct endpoint_id *a, const struct endpoint_id *b)
{
    return !memcmp(a, b, sizeof *a);
}

/* The ID is a hash already, so its first bytes are as good as any.  Whoever
 * mines keys to collide here loads one chain of one table, no more. */
static inline uint32_t
endpoint_id_hash(const struct endpoint_id *id)
{
    uint32_t hash;
    memcpy(&hash, id->bytes, sizeof hash);
    return hash;
}

/* Writes the ID as hex digits into 'buf' and returns it. */
static inline char *
endpoint_id_format(const struct endpoint_id *id, char buf[ENDPOINT_ID_STRLEN])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < SAL_ENDPOINT_ID_LEN; i++) {
        buf[2 * i] = digits[id->bytes[i] >> 4];
        buf[2 * i + 1] = digits[id->bytes[i] & 15];
    }
    buf[2 * SAL_ENDPOINT_ID_LEN] = '\0';
    return buf;
}

#endif /* endpoint_id.h */
