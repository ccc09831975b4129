/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and checksums of SAL control packets, written and read byte by
 * byte: pointers may be unaligned, and nothing here looks past what it is
 * given.  Pure; for the codecs (probe, lost_flow, migration_message,
 * whereabouts). */
#ifndef SALIENT_WIRE_BYTES_H
#define SALIENT_WIRE_BYTES_H 1

#include <stddef.h>
#include <stdint.h>

static inline void
put_be16(uint8_t *p, uint16_t value)
{
    p[0] = value >> 8;
    p[1] = value;
}

static inline void
put_be32(uint8_t *p, uint32_t value)
{
    put_be16(p, value >> 16);
    put_be16(p + 2, value);
}

static inline void
put_be64(uint8_t *p, uint64_t value)
{
    put_be32(p, value >> 32);
    put_be32(p + 4, value);
}

static inline uint16_t
get_be16(const uint8_t *p)
{
    return p[0] << 8 | p[1];
}

static inline uint32_t
get_be32(const uint8_t *p)
{
    return (uint32_t) get_be16(p) << 16 | get_be16(p + 2);
}

static inline uint64_t
get_be64(const uint8_t *p)
{
    return (uint64_t) get_be32(p) << 32 | get_be32(p + 4);
}

/* RFC 1071, over an even number of bytes, in host order.  0 over a packet that
 * holds its own right checksum. */
static inline uint16_t
internet_checksum(const uint8_t *p, size_t len)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i += 2) {
        sum += get_be16(p + i);
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return ~sum;
}

#endif /* wire_bytes.h */
