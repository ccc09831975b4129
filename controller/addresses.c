/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/addresses.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "openvswitch/hmap.h"
#include "openvswitch/util.h"
#include "hash.h"
#include "util.h"

#define KEY_MAX 40

struct lease {
    struct hmap_node key_node;
    struct hmap_node address_node;
    uint32_t address;
    uint8_t key_len;
    uint8_t key[KEY_MAX];
};

struct address_pool {
    struct hmap by_key;
    struct hmap by_address;
    uint32_t network;
    unsigned int len;
};

struct address_pool *
address_pool_create(uint32_t network, unsigned int len)
{
    if (len < 8 || len > 30 || network & (UINT32_MAX >> len)) {
        return NULL;
    }
    struct address_pool *pool = xzalloc(sizeof *pool);
    hmap_init(&pool->by_key);
    hmap_init(&pool->by_address);
    pool->network = network;
    pool->len = len;
    return pool;
}

void
address_pool_destroy(struct address_pool *pool)
{
    if (!pool) {
        return;
    }
    struct lease *lease;
    HMAP_FOR_EACH_POP (lease, key_node, &pool->by_key) {
        free(lease);
    }
    hmap_destroy(&pool->by_key);
    hmap_destroy(&pool->by_address);
    free(pool);
}

static struct lease *
find_key(const struct address_pool *pool, const void *key, size_t len)
{
    struct lease *lease;
    HMAP_FOR_EACH_WITH_HASH (lease, key_node, hash_bytes(key, len, 0),
                             &pool->by_key) {
        if (lease->key_len == len && !memcmp(lease->key, key, len)) {
            return lease;
        }
    }
    return NULL;
}

static struct lease *
find_address(const struct address_pool *pool, uint32_t address)
{
    struct lease *lease;
    HMAP_FOR_EACH_WITH_HASH (lease, address_node, hash_int(address, 0),
                             &pool->by_address) {
        if (lease->address == address) {
            return lease;
        }
    }
    return NULL;
}

/* FNV-1a.  Not hash_bytes(), whose result depends on what the CPU can do:
 * an address must outlive the machine that assigned it. */
static uint32_t
stable_hash(const uint8_t *key, size_t len)
{
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ key[i]) * 0x100000001b3ULL;
    }
    return hash ^ hash >> 32;
}

/* The first free address from the key's own place on. */
static int
search(const struct address_pool *pool, const void *key, size_t len,
       uint32_t *ret_address)
{
    size_t size = address_pool_size(pool);
    if (hmap_count(&pool->by_address) >= size) {
        return -ENOSPC;
    }
    uint32_t place = stable_hash(key, len) % size;
    for (size_t i = 0; i < size; i++) {
        uint32_t address = pool->network + 1 + (place + i) % size;
        if (!find_address(pool, address)) {
            *ret_address = address;
            return 0;
        }
    }
    return -ENOSPC;
}

int
address_pool_assign(struct address_pool *pool, const void *key, size_t len,
                    uint32_t wanted, uint32_t *ret_address)
{
    ovs_assert(len > 0 && len <= KEY_MAX);

    struct lease *lease = find_key(pool, key, len);
    if (lease) {
        *ret_address = lease->address;
        return 0;
    }

    uint32_t address = wanted;
    if (!address_pool_contains(pool, wanted) || find_address(pool, wanted)) {
        int error = search(pool, key, len, &address);
        if (error) {
            return error;
        }
    }

    lease = xzalloc(sizeof *lease);
    lease->address = address;
    lease->key_len = len;
    memcpy(lease->key, key, len);
    hmap_insert(&pool->by_key, &lease->key_node, hash_bytes(key, len, 0));
    hmap_insert(&pool->by_address, &lease->address_node, hash_int(address, 0));
    *ret_address = address;
    return 0;
}

void
address_pool_release(struct address_pool *pool, const void *key, size_t len)
{
    struct lease *lease = find_key(pool, key, len);
    if (lease) {
        hmap_remove(&pool->by_key, &lease->key_node);
        hmap_remove(&pool->by_address, &lease->address_node);
        free(lease);
    }
}

uint32_t
address_pool_lookup(const struct address_pool *pool, const void *key,
                    size_t len)
{
    const struct lease *lease = find_key(pool, key, len);
    return lease ? lease->address : 0;
}

const void *
address_pool_owner(const struct address_pool *pool, uint32_t address,
                   size_t *ret_len)
{
    const struct lease *lease = find_address(pool, address);
    if (!lease) {
        return NULL;
    }
    *ret_len = lease->key_len;
    return lease->key;
}

bool
address_pool_contains(const struct address_pool *pool, uint32_t address)
{
    /* Unsigned: what is below the network wraps to a large offset. */
    return address - pool->network - 1 < address_pool_size(pool);
}

uint32_t
address_pool_network(const struct address_pool *pool)
{
    return pool->network;
}

unsigned int
address_pool_prefix_len(const struct address_pool *pool)
{
    return pool->len;
}

size_t
address_pool_used(const struct address_pool *pool)
{
    return hmap_count(&pool->by_key);
}

size_t
address_pool_size(const struct address_pool *pool)
{
    return (1u << (32 - pool->len)) - 2;
}
