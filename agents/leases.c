/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/leases.h"

#include <stdlib.h>
#include <string.h>
#include "hash.h"
#include "util.h"

void
leases_init(struct leases *leases, uint32_t pool, uint8_t pool_len)
{
    hmap_init(&leases->by_id);
    hmap_init(&leases->by_address);
    ovs_list_init(&leases->all);
    leases->pool = pool & (UINT32_MAX << (32 - pool_len));
    leases->n_pool = MIN((UINT32_C(1) << (32 - pool_len)) - 2, LEASES_MAX);
}

static void
remove_lease(struct leases *leases, struct lease *lease)
{
    hmap_remove(&leases->by_id, &lease->id_node);
    hmap_remove(&leases->by_address, &lease->address_node);
    ovs_list_remove(&lease->node);
    free(lease->name);
    free(lease);
}

void
leases_destroy(struct leases *leases)
{
    struct lease *lease;

    LIST_FOR_EACH_SAFE (lease, node, &leases->all) {
        remove_lease(leases, lease);
    }
    hmap_destroy(&leases->by_id);
    hmap_destroy(&leases->by_address);
}

static uint32_t
hash_id(const struct service_id *id)
{
    return hash_bytes(id->bytes, sizeof id->bytes, 0);
}

bool
leases_overlap(const struct leases *leases, uint32_t pool, uint8_t pool_len)
{
    uint32_t last = leases->pool + leases->n_pool + 1; /* Broadcast's. */
    uint64_t end = (uint64_t) pool + (UINT64_C(1) << (32 - pool_len)) - 1;

    return pool_len && pool <= last && leases->pool <= end;
}

bool
leases_in_pool(const struct leases *leases, uint32_t address)
{
    return address > leases->pool && address - leases->pool <= leases->n_pool;
}

size_t
leases_count(const struct leases *leases)
{
    return hmap_count(&leases->by_id);
}

static struct lease *
find_id(const struct leases *leases, const struct service_id *id)
{
    struct lease *lease;

    HMAP_FOR_EACH_WITH_HASH (lease, id_node, hash_id(id), &leases->by_id) {
        if (!memcmp(lease->id.bytes, id->bytes, sizeof id->bytes)) {
            return lease;
        }
    }
    return NULL;
}

const struct lease *
leases_by_address(const struct leases *leases, uint32_t address)
{
    struct lease *lease;

    HMAP_FOR_EACH_WITH_HASH (lease, address_node, hash_int(address, 0),
                             &leases->by_address) {
        if (lease->address == address) {
            return lease;
        }
    }
    return NULL;
}

static struct lease *
insert(struct leases *leases, const struct service_id *id, uint32_t address)
{
    struct lease *lease = xzalloc(sizeof *lease);

    lease->id = *id;
    lease->address = address;
    lease->name = xstrdup("");
    hmap_insert(&leases->by_id, &lease->id_node, hash_id(id));
    hmap_insert(&leases->by_address, &lease->address_node,
                hash_int(address, 0));
    ovs_list_push_back(&leases->all, &lease->node);
    return lease;
}

static void
touch(struct leases *leases, struct lease *lease, int64_t now)
{
    lease->used_ms = now;
    ovs_list_remove(&lease->node);
    ovs_list_push_back(&leases->all, &lease->node);
}

/* Makes room.  The address that became free, or 0. */
static uint32_t
evict(struct leases *leases, int64_t now)
{
    struct lease *oldest
        = CONTAINER_OF(ovs_list_front(&leases->all), struct lease, node);
    uint32_t address = oldest->address;

    if (now - oldest->used_ms < LEASE_MIN_AGE_MS) {
        return 0;
    }
    remove_lease(leases, oldest);
    return address;
}

static uint32_t
free_address(const struct leases *leases, const struct service_id *id)
{
    uint32_t start = hash_id(id) % leases->n_pool;
    uint32_t address;

    do {
        address = leases->pool + 1 + start;
        start = (start + 1) % leases->n_pool;
    } while (leases_by_address(leases, address));
    return address;
}

const struct lease *
leases_get(struct leases *leases, const struct service_id *id,
           const char *name, int64_t now, bool *ret_new, uint32_t *ret_gone)
{
    struct lease *lease = find_id(leases, id);

    *ret_new = !lease;
    *ret_gone = 0;
    if (!lease) {
        if (leases_count(leases) >= leases->n_pool
            && !(*ret_gone = evict(leases, now))) {
            *ret_new = false;
            return NULL;
        }
        lease = insert(leases, id, free_address(leases, id));
    }
    if (name && name[0] && strcmp(lease->name, name)) {
        free(lease->name);
        lease->name = xstrdup(name);
    }
    touch(leases, lease, now);
    return lease;
}

bool
leases_restore(struct leases *leases, const struct service_id *id,
               uint32_t address, int64_t now)
{
    if (!leases_in_pool(leases, address) || find_id(leases, id)
        || leases_by_address(leases, address)) {
        return false;
    }
    touch(leases, insert(leases, id, address), now);
    return true;
}
