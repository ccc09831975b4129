/* SPDX-License-Identifier: Apache-2.0 */
/* A pool of IPv4 addresses that are lent to keys.
 *
 * The controller has two: identity addresses (key: endpoint ID) and service
 * addresses (key: service prefix).  The same key gets the same address as
 * long as nobody else holds it: the search starts at a hash of the key, so
 * that even a controller that forgot everything mostly assigns what it
 * assigned before.
 *
 * Pure.  One thread at a time; the creator owns the pool.  Addresses are in
 * host byte order. */
#ifndef CONTROLLER_ADDRESSES_H
#define CONTROLLER_ADDRESSES_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/endpoint_id.h"
#include "ofp-ext/service_id.h"

#define ADDRESS_IDENTITY_NETWORK 0x64400000 /* 100.64.0.0/10, RFC 6598. */
#define ADDRESS_IDENTITY_LEN 10
#define ADDRESS_SERVICE_NETWORK 0xc6120000 /* 198.18.0.0/15, RFC 2544. */
#define ADDRESS_SERVICE_LEN 15

/* IPv6 addresses are derived, not lent.  Unique local (RFC 4193), with "SAL"
 * where a site's own random number belongs. */
#define ADDRESS_IDENTITY_PREFIX_V6                                            \
    {.s6_addr = {0xfd, 0x53, 0x41, 0x4c, 0x00, 0x01}}
#define ADDRESS_SERVICE_PREFIX_V6                                             \
    {.s6_addr = {0xfd, 0x53, 0x41, 0x4c, 0x00, 0x02}}

struct address_pool;

/* The pool 'network'/'len', 8 <= len <= 30; bits of 'network' past 'len' must
 * be zero.  NULL if they are not.  The network's all-zeros and all-ones
 * addresses are never lent. */
struct address_pool *address_pool_create(uint32_t network, unsigned int len);
void address_pool_destroy(struct address_pool *);

/* Lends an address to the key (1 to 40 bytes).  A key that holds an address
 * gets that one.  Otherwise 'wanted' (0 = none) is honoured if it is in the
 * pool and free.  -ENOSPC if the pool is used up. */
int address_pool_assign(struct address_pool *, const void *key, size_t len,
                        uint32_t wanted, uint32_t *ret_address);

/* Takes the key's address back; no effect if it has none. */
void address_pool_release(struct address_pool *, const void *key, size_t len);

/* The key's address, 0 if it has none. */
uint32_t address_pool_lookup(const struct address_pool *, const void *key,
                             size_t len);
/* Who holds 'address': NULL if nobody; valid until the next release. */
const void *address_pool_owner(const struct address_pool *, uint32_t address,
                               size_t *ret_len);

bool address_pool_contains(const struct address_pool *, uint32_t address);
uint32_t address_pool_network(const struct address_pool *);
unsigned int address_pool_prefix_len(const struct address_pool *);
/* Addresses lent, and how many there are to lend. */
size_t address_pool_used(const struct address_pool *);
size_t address_pool_size(const struct address_pool *);

/* The keys the controller uses. */
static inline int
address_pool_assign_endpoint(struct address_pool *pool,
                             const struct endpoint_id *id, uint32_t wanted,
                             uint32_t *ret_address)
{
    return address_pool_assign(pool, id, sizeof *id, wanted, ret_address);
}

#endif /* addresses.h */
