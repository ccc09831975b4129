/* SPDX-License-Identifier: Apache-2.0 */
/* Host-local service addresses.
 *
 * The controller assigns addresses to services that are defined or registered.
 * A name below such a service ("cart.shop.acme" where somebody serves all of
 * "shop.acme", a shard "7.web.shop.acme") has a service ID but no address; it
 * gets one from a pool that means nothing outside this host.
 *
 * A lease has no end: applications keep addresses for as long as they like.
 * When the pool is used up, the one that was not asked for longest goes, if
 * that was long ago.  Where in the pool an ID begins to look is a function of
 * the ID, so that it mostly gets the same address again after a restart.
 *
 * Pure; not thread-safe. */
#ifndef SALIENT_LEASES_H
#define SALIENT_LEASES_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ofp-ext/service_id.h"
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"

#define LEASES_MAX 16384
#define LEASE_MIN_AGE_MS (10 * 60 * 1000) /* Since it was last asked for. */

struct lease {
    struct hmap_node id_node, address_node;
    struct ovs_list node;  /* In leases->all, longest unused first. */
    struct service_id id;
    char *name;            /* As it was asked for; "" if by ID. */
    uint32_t address;      /* Host byte order. */
    int64_t used_ms;
};

struct leases {
    struct hmap by_id, by_address;
    struct ovs_list all;
    uint32_t pool;   /* Host byte order. */
    uint32_t n_pool; /* Addresses that may be leased: pool + 1 onwards. */
};

/* 'pool_len' is 8 to 30.  The pool's first and last address are not used. */
void leases_init(struct leases *, uint32_t pool, uint8_t pool_len);
void leases_destroy(struct leases *);

/* Would an address of this pool be one of another one's? */
bool leases_overlap(const struct leases *, uint32_t pool, uint8_t pool_len);

bool leases_in_pool(const struct leases *, uint32_t address);

/* The lease of 'id', made if there is none.  NULL if the pool is used up.
 * '*ret_new': it was made now.  '*ret_gone' is the address that another ID
 * lost for it, 0 if none. */
const struct lease *leases_get(struct leases *, const struct service_id *id,
                               const char *name, int64_t now, bool *ret_new,
                               uint32_t *ret_gone);
/* Takes over what a predecessor leased.  False if it does not fit. */
bool leases_restore(struct leases *, const struct service_id *id,
                    uint32_t address, int64_t now);

const struct lease *leases_by_address(const struct leases *, uint32_t address);
size_t leases_count(const struct leases *);

#endif /* leases.h */
