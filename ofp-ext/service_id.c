/* SPDX-License-Identifier: Apache-2.0 */
#include "ofp-ext/service_id.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The label under which endpoints are services.  It has a character that no
 * service name may have, so no name hashes to it by construction. */
#define ENDPOINT_LABEL "_endpoint"

#define PART_LEN 8 /* Bytes of the ID that one label fills. */
#define PARTS 3    /* Labels with a part of their own. */

static bool
is_label_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

/* Checks the label of 'len' octets at 'label'. */
static const char *
label_check(const char *label, size_t len)
{
    if (!len) {
        return "has an empty label";
    }
    if (len > SERVICE_LABEL_MAX) {
        return "has a label of more than 63 octets";
    }
    if (label[0] == '-' || label[len - 1] == '-') {
        return "has a label that starts or ends with a hyphen";
    }
    for (size_t i = 0; i < len; i++) {
        if (label[i] >= 'A' && label[i] <= 'Z') {
            return "has an upper-case letter; write it in lower case";
        }
        if (!is_label_char(label[i])) {
            return "has a character other than a-z, 0-9, '-' and '.'";
        }
    }
    return NULL;
}

const char *
service_name_check(const char *name)
{
    size_t len = strnlen(name, SERVICE_NAME_MAX + 1);
    if (!len) {
        return "is empty";
    }
    if (len > SERVICE_NAME_MAX) {
        return "has more than 253 octets";
    }
    for (const char *label = name;;) {
        size_t n = strcspn(label, ".");
        const char *wrong = label_check(label, n);
        if (wrong) {
            return wrong;
        }
        if (!label[n]) {
            return NULL;
        }
        label += n + 1;
    }
}

/* Most names of a deployment end alike, and a hash costs 500 ns: the last
 * parts are remembered. */
#define N_REMEMBERED 64

struct remembered_part {
    size_t len; /* 0: free. */
    char s[SERVICE_LABEL_MAX];
    uint8_t part[PART_LEN];
};

static struct remembered_part *
remembered_slot(const char *s, size_t len)
{
    static __thread struct remembered_part slots[N_REMEMBERED];
    uint32_t hash = 2166136261; /* FNV-1a. */

    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (uint8_t) s[i]) * 16777619;
    }
    return &slots[(hash ^ hash >> 16) % N_REMEMBERED];
}

static void
hash_part(const char *s, size_t len, uint8_t part[PART_LEN])
{
    uint8_t digest[crypto_generichash_BYTES_MIN];
    struct remembered_part *slot
        = len && len <= SERVICE_LABEL_MAX ? remembered_slot(s, len) : NULL;

    if (slot && slot->len == len && !memcmp(slot->s, s, len)) {
        memcpy(part, slot->part, PART_LEN);
        return;
    }
    crypto_generichash(digest, sizeof digest, (const uint8_t *) s, len, NULL,
                       0);
    memcpy(part, digest, PART_LEN);
    if (slot) {
        slot->len = len;
        memcpy(slot->s, s, len);
        memcpy(slot->part, part, PART_LEN);
    }
}

int
service_prefix_from_name(const char *name, struct service_prefix *ret_prefix)
{
    if (service_name_check(name)) {
        return -EINVAL;
    }

    struct service_prefix prefix = {.len = 0};
    const char *end = name + strlen(name);
    for (int i = 0; i < PARTS; i++) {
        const char *label = end;
        while (label > name && label[-1] != '.') {
            label--;
        }
        hash_part(label, end - label, prefix.id.bytes + i * PART_LEN);
        prefix.len += PART_LEN * 8;
        if (label == name) {
            *ret_prefix = prefix;
            return 0;
        }
        end = label - 1;
    }
    hash_part(name, end - name, prefix.id.bytes + PARTS * PART_LEN);
    prefix.len = SAL_SERVICE_ID_BITS;
    *ret_prefix = prefix;
    return 0;
}

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
service_prefix_from_string(const char *s, struct service_prefix *ret_prefix)
{
    struct service_prefix prefix = {.len = 0};
    unsigned int n = 0;

    if (s[0] != '0' || (s[1] != 'x' && s[1] != 'X')) {
        return -EINVAL;
    }
    for (s += 2; hex_value(*s) >= 0; s++, n++) {
        if (n >= 2 * SAL_SERVICE_ID_LEN) {
            return -EINVAL;
        }
        prefix.id.bytes[n / 2] |= hex_value(*s) << (n % 2 ? 0 : 4);
    }
    if (!n) {
        return -EINVAL;
    }
    prefix.len = 4 * n;

    if (*s == '/') {
        unsigned int len = 0;
        size_t digits = strspn(++s, "0123456789");
        if (!digits || digits > 3) {
            return -EINVAL;
        }
        for (; digits; digits--) {
            len = len * 10 + (*s++ - '0');
        }
        if (len > SAL_SERVICE_ID_BITS) {
            return -EINVAL;
        }
        prefix.len = len;
    }
    if (*s) {
        return -EINVAL;
    }

    struct service_prefix normal = prefix;
    service_prefix_normalize(&normal);
    if (memcmp(&normal.id, &prefix.id, sizeof normal.id)) {
        return -EINVAL;
    }
    *ret_prefix = prefix;
    return 0;
}

char *
service_prefix_format(const struct service_prefix *prefix,
                      char buf[SERVICE_PREFIX_STRLEN])
{
    static const char digits[] = "0123456789abcdef";
    char *p = buf;

    *p++ = '0';
    *p++ = 'x';
    for (size_t i = 0; i < sizeof prefix->id.bytes; i++) {
        *p++ = digits[prefix->id.bytes[i] >> 4];
        *p++ = digits[prefix->id.bytes[i] & 15];
    }
    snprintf(p, buf + SERVICE_PREFIX_STRLEN - p, "/%u", prefix->len % 1000u);
    return buf;
}

void
service_prefix_of_endpoint(const uint8_t endpoint_id[SAL_ENDPOINT_ID_LEN],
                           struct service_prefix *ret_prefix)
{
    memset(ret_prefix, 0, sizeof *ret_prefix);
    hash_part(ENDPOINT_LABEL, strlen(ENDPOINT_LABEL), ret_prefix->id.bytes);
    memcpy(ret_prefix->id.bytes + PART_LEN, endpoint_id, SAL_ENDPOINT_ID_LEN);
    ret_prefix->len = (PART_LEN + SAL_ENDPOINT_ID_LEN) * 8;
}

void
service_prefix_normalize(struct service_prefix *prefix)
{
    if (prefix->len >= SAL_SERVICE_ID_BITS) {
        prefix->len = SAL_SERVICE_ID_BITS;
        return;
    }
    size_t byte = prefix->len / 8;
    prefix->id.bytes[byte] &= ~(0xff >> prefix->len % 8);
    memset(prefix->id.bytes + byte + 1, 0, SAL_SERVICE_ID_LEN - byte - 1);
}

bool
service_prefix_equal(const struct service_prefix *a,
                     const struct service_prefix *b)
{
    return !service_prefix_compare(a, b);
}

int
service_prefix_compare(const struct service_prefix *a,
                       const struct service_prefix *b)
{
    int diff = memcmp(a->id.bytes, b->id.bytes, sizeof a->id.bytes);
    return diff ? diff : (int) a->len - (int) b->len;
}

bool
service_prefix_contains_id(const struct service_prefix *outer,
                           const struct service_id *id)
{
    size_t bytes = outer->len / 8;
    unsigned int bits = outer->len % 8;

    if (memcmp(outer->id.bytes, id->bytes, bytes)) {
        return false;
    }
    return !bits
           || !((outer->id.bytes[bytes] ^ id->bytes[bytes]) >> (8 - bits));
}

bool
service_prefix_contains(const struct service_prefix *outer,
                        const struct service_prefix *inner)
{
    return outer->len <= inner->len
           && service_prefix_contains_id(outer, &inner->id);
}

#define NET_LEN 6 /* Bytes of a /48. */

void
service_address_v6(const struct service_prefix *prefix, const uint8_t net[16],
                   uint8_t ret_address[16])
{
    uint8_t text[SAL_SERVICE_ID_LEN + 2];
    uint8_t digest[crypto_generichash_BYTES_MIN];

    memcpy(text, prefix->id.bytes, SAL_SERVICE_ID_LEN);
    text[SAL_SERVICE_ID_LEN] = prefix->len >> 8;
    text[SAL_SERVICE_ID_LEN + 1] = prefix->len;
    crypto_generichash(digest, sizeof digest, text, sizeof text, NULL, 0);
    memcpy(ret_address, net, NET_LEN);
    memcpy(ret_address + NET_LEN, digest, 16 - NET_LEN);
}

void
identity_address_v6(const uint8_t endpoint_id[SAL_ENDPOINT_ID_LEN],
                    const uint8_t net[16], uint8_t ret_address[16])
{
    memcpy(ret_address, net, NET_LEN);
    memcpy(ret_address + NET_LEN, endpoint_id, 16 - NET_LEN);
}
