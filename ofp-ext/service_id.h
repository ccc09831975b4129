/* SPDX-License-Identifier: Apache-2.0 */
/* Service names and service IDs.
 *
 * A service ID is 256 bits, compared by longest prefix:
 *
 *     bits   0-63   hash of the last label           "acme"
 *     bits  64-127  hash of the label before it      "shop"
 *     bits 128-191  hash of the third label          "web"
 *     bits 192-255  key: hash of the remaining labels ("a.b" of
 *                   "a.b.web.shop.acme", dots included), or free for a shard
 *
 * so "acme" is a /64, "shop.acme" a /128, "web.shop.acme" a /192 and any
 * longer name a /256.  The hash is the first 8 bytes of the 16-byte BLAKE2b
 * of the label.
 *
 * Text form: "0x" and 64 hex digits, then "/" and the prefix length:
 * the form in which ovs-ofctl prints the field sal_service.
 *
 * Pure; any thread. */
#ifndef SALIENT_SERVICE_ID_H
#define SALIENT_SERVICE_ID_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ofp-ext/sal.h"

#define SERVICE_NAME_MAX 253 /* Octets, RFC 1035. */
#define SERVICE_LABEL_MAX 63
/* "0x" + 64 digits + "/256" + NUL. */
#define SERVICE_PREFIX_STRLEN (2 + 64 + 4 + 1)

struct service_id {
    uint8_t bytes[SAL_SERVICE_ID_LEN];
};

/* A prefix: bits past 'len' (0..256) are zero. */
struct service_prefix {
    struct service_id id;
    uint16_t len;
};

/* Checks that 'name' is a service name: 1 to 253 octets, labels of 1 to 63
 * lower-case letters, digits and hyphens, no hyphen at either end of a label.
 * Returns NULL if so, otherwise a static sentence that says what is wrong. */
const char *service_name_check(const char *name);

/* Stores the prefix that 'name' stands for.  -EINVAL if service_name_check()
 * objects. */
int service_prefix_from_name(const char *name, struct service_prefix *);

/* Parses "0x<1..64 hex digits>[/len]".  Fewer than 64 digits stand for the
 * leading ones; without "/len" the length is 4 times the number of digits.
 * -EINVAL on anything else, also when a bit past 'len' is set. */
int service_prefix_from_string(const char *, struct service_prefix *);

/* Writes the text form into 'buf' and returns it. */
char *service_prefix_format(const struct service_prefix *,
                            char buf[SERVICE_PREFIX_STRLEN]);

/* The well-known prefix below which every endpoint is itself a service
 * (64 bits), followed by its 128-bit endpoint ID: a /192. */
void service_prefix_of_endpoint(
    const uint8_t endpoint_id[SAL_ENDPOINT_ID_LEN], struct service_prefix *);

/* Inner IPv6 address of the service 'prefix' below the /48 in the first six
 * bytes of 'net': 80 bits of the 16-byte BLAKE2b of its ID, its length (two
 * bytes, big-endian) behind it. */
void service_address_v6(const struct service_prefix *prefix,
                        const uint8_t net[16], uint8_t ret_address[16]);

/* Inner IPv6 address of an endpoint: the /48 and the first 80 bits of its
 * endpoint ID. */
void identity_address_v6(const uint8_t endpoint_id[SAL_ENDPOINT_ID_LEN],
                         const uint8_t net[16], uint8_t ret_address[16]);

/* Clears the bits past 'len' (clamped to 256). */
void service_prefix_normalize(struct service_prefix *);

bool service_prefix_equal(const struct service_prefix *,
                          const struct service_prefix *);
/* Total order: by ID, then by length.  <0, 0, >0. */
int service_prefix_compare(const struct service_prefix *,
                           const struct service_prefix *);
/* True if 'outer' covers 'id' (or all of 'inner'). */
bool service_prefix_contains_id(const struct service_prefix *outer,
                                const struct service_id *id);
bool service_prefix_contains(const struct service_prefix *outer,
                             const struct service_prefix *inner);

#endif /* service_id.h */
