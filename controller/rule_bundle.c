/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/rule_bundle.h"

#include <stdlib.h>
#include <string.h>
#include "openvswitch/hmap.h"
#include "openvswitch/util.h"
#include "hash.h"
#include "packets.h"
#include "util.h"

/* Pools: values by their hash, counted. */

struct rule_action {
    struct hmap_node node;
    unsigned int refs;
    uint32_t port;
    struct in6_addr target;
    struct eth_addr mac;
    uint16_t flags;
};

/* A tile as the tiling has it. */
struct packed_tile {
    uint16_t value;
    uint16_t action; /* Which of the bundle's, by first use. */
    uint8_t bits;
    uint8_t padding; /* 0: tilings are compared by memcmp(). */
};

struct rule_tiling {
    struct hmap_node node;
    unsigned int refs;
    uint32_t n;
    uint32_t key_hash;
    struct service_id service;
    uint16_t prefix_len;
    uint8_t kind, protocol, path_class;
    struct packed_tile tiles[];
};

struct rule_bundle {
    struct hmap_node node;
    struct rule_tiling *tiling;
    unsigned int refs;
    uint32_t n_actions;
    struct rule_action *actions[];
};

static struct hmap actions_pool = HMAP_INITIALIZER(&actions_pool);
static struct hmap tilings = HMAP_INITIALIZER(&tilings);
static struct hmap bundles = HMAP_INITIALIZER(&bundles);

size_t
rule_bundle_pool_count(void)
{
    return hmap_count(&actions_pool) + hmap_count(&tilings)
           + hmap_count(&bundles);
}

/* The last one out gives the buckets back. */
static void
pool_remove(struct hmap *pool, struct hmap_node *node)
{
    hmap_remove(pool, node);
    if (hmap_is_empty(pool)) {
        hmap_destroy(pool);
        hmap_init(pool);
    }
}

static struct rule_action *
action_intern(const struct rule *rule)
{
    uint32_t hash = hash_bytes(&rule->target, sizeof rule->target,
                               hash_2words(rule->port, rule->flags));
    struct rule_action *action;

    HMAP_FOR_EACH_WITH_HASH (action, node, hash, &actions_pool) {
        if (ipv6_addr_equals(&action->target, &rule->target)
            && eth_addr_equals(action->mac, rule->mac)
            && action->port == rule->port && action->flags == rule->flags) {
            action->refs++;
            return action;
        }
    }
    action = xzalloc(sizeof *action);
    action->refs = 1;
    action->port = rule->port;
    action->target = rule->target;
    action->mac = rule->mac;
    action->flags = rule->flags;
    hmap_insert(&actions_pool, &action->node, hash);
    return action;
}

static void
action_unref(struct rule_action *action)
{
    if (!--action->refs) {
        pool_remove(&actions_pool, &action->node);
        free(action);
    }
}

static void
action_get(const struct rule_action *action, struct rule *rule)
{
    rule->port = action->port;
    rule->target = action->target;
    rule->mac = action->mac;
    rule->flags = action->flags;
}

/* Keys. */

struct common_key {
    struct service_id service;
    uint16_t prefix_len;
    uint8_t kind, protocol, path_class, padding[3];
};
BUILD_ASSERT_DECL(sizeof(struct common_key) == 40);

uint32_t
rule_bundle_hash(const struct rule *rule)
{
    struct common_key key = {rule->service, rule->prefix_len, rule->kind,
                             rule->protocol, rule->path_class, {0}};
    uint64_t words[sizeof key / 8];

    memcpy(words, &key, sizeof key);
    return hash_words64(words, ARRAY_SIZE(words), 0);
}

static bool
tiling_is_for(const struct rule_tiling *tiling, const struct rule *rule)
{
    return !memcmp(&tiling->service, &rule->service, sizeof rule->service)
           && tiling->prefix_len == rule->prefix_len
           && tiling->kind == rule->kind
           && tiling->protocol == rule->protocol
           && tiling->path_class == rule->path_class;
}

bool
rule_bundle_is_for(const struct rule_bundle *bundle, const struct rule *rule)
{
    return tiling_is_for(bundle->tiling, rule);
}

bool
rule_bundle_same_key(const struct rule_bundle *a, const struct rule_bundle *b)
{
    const struct rule_tiling *x = a->tiling, *y = b->tiling;

    return x == y
           || (x->key_hash == y->key_hash && x->prefix_len == y->prefix_len
               && x->kind == y->kind && x->protocol == y->protocol
               && x->path_class == y->path_class
               && !memcmp(&x->service, &y->service, sizeof x->service));
}

uint32_t
rule_bundle_key_hash(const struct rule_bundle *bundle)
{
    return bundle->tiling->key_hash;
}

/* Where a tile stands: its value's bits reversed, so that tilings, which come
 * in that order (tiles.h), are built by appending. */
static uint32_t
tile_place(uint16_t value, uint8_t bits)
{
    uint32_t v = value;
    v = (v & 0x5555) << 1 | (v >> 1 & 0x5555);
    v = (v & 0x3333) << 2 | (v >> 2 & 0x3333);
    v = (v & 0x0f0f) << 4 | (v >> 4 & 0x0f0f);
    v = (v & 0x00ff) << 8 | v >> 8;
    return v << 8 | bits;
}

/* The builder. */

struct rule_builder_tile {
    uint32_t place;
    uint16_t value;
    uint8_t bits;
    struct rule_action *action; /* Owns a reference. */
};

void
rule_builder_begin(struct rule_builder *builder, const struct rule *rule)
{
    ovs_assert(!builder->n);
    builder->common = RULE_INIT(rule->kind);
    builder->common.protocol = rule->protocol;
    builder->common.path_class = rule->path_class;
    builder->common.prefix_len = rule->prefix_len;
    builder->common.service = rule->service;
}

void
rule_builder_clear(struct rule_builder *builder)
{
    for (size_t i = 0; i < builder->n; i++) {
        action_unref(builder->tiles[i].action);
    }
    builder->n = 0;
}

void
rule_builder_destroy(struct rule_builder *builder)
{
    rule_builder_clear(builder);
    free(builder->tiles);
    builder->tiles = NULL;
    builder->allocated = 0;
}

bool
rule_builder_is_for(const struct rule_builder *builder,
                    const struct rule *rule)
{
    const struct rule *common = &builder->common;

    return !memcmp(&common->service, &rule->service, sizeof rule->service)
           && common->prefix_len == rule->prefix_len
           && common->kind == rule->kind
           && common->protocol == rule->protocol
           && common->path_class == rule->path_class;
}

/* Where the tile of 'place' is, or would be. */
static size_t
builder_position(const struct rule_builder *builder, uint32_t place)
{
    size_t low = 0, high = builder->n;

    if (high && builder->tiles[high - 1].place < place) {
        return high;
    }
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (builder->tiles[middle].place < place) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct rule_builder_tile *
builder_tile(const struct rule_builder *builder, const struct rule *key)
{
    uint32_t place = tile_place(key->tile_value, key->tile_bits);
    size_t i = builder_position(builder, place);

    return i < builder->n && builder->tiles[i].place == place
           ? &builder->tiles[i] : NULL;
}

static struct rule_builder_tile *
builder_insert(struct rule_builder *builder, size_t i)
{
    if (builder->n >= builder->allocated) {
        builder->tiles = x2nrealloc(builder->tiles, &builder->allocated,
                                    sizeof *builder->tiles);
    }
    memmove(&builder->tiles[i + 1], &builder->tiles[i],
            (builder->n - i) * sizeof *builder->tiles);
    builder->n++;
    return &builder->tiles[i];
}

bool
rule_builder_put(struct rule_builder *builder, const struct rule *rule)
{
    struct rule_action *action = action_intern(rule);
    struct rule_builder_tile *tile = builder_tile(builder, rule);

    if (tile) {
        bool differs = tile->action != action;
        action_unref(tile->action);
        tile->action = action;
        return differs;
    }
    uint32_t place = tile_place(rule->tile_value, rule->tile_bits);
    tile = builder_insert(builder, builder_position(builder, place));
    *tile = (struct rule_builder_tile) {place, rule->tile_value,
                                        rule->tile_bits, action};
    return true;
}

bool
rule_builder_remove(struct rule_builder *builder, const struct rule *key)
{
    struct rule_builder_tile *tile = builder_tile(builder, key);

    if (!tile) {
        return false;
    }
    action_unref(tile->action);
    builder->n--;
    memmove(tile, tile + 1,
            (builder->tiles + builder->n - tile) * sizeof *tile);
    return true;
}

static void
builder_get_tile(const struct rule_builder *builder,
                 const struct rule_builder_tile *tile, struct rule *ret_rule)
{
    *ret_rule = builder->common;
    ret_rule->tile_value = tile->value;
    ret_rule->tile_bits = tile->bits;
    action_get(tile->action, ret_rule);
}

void
rule_builder_get(const struct rule_builder *builder, size_t i,
                 struct rule *ret_rule)
{
    builder_get_tile(builder, &builder->tiles[i], ret_rule);
}

bool
rule_builder_find(const struct rule_builder *builder, const struct rule *key,
                  struct rule *ret_rule)
{
    const struct rule_builder_tile *tile = builder_tile(builder, key);

    if (tile) {
        builder_get_tile(builder, tile, ret_rule);
    }
    return tile != NULL;
}

void
rule_builder_unpack(struct rule_builder *builder,
                    const struct rule_bundle *bundle)
{
    struct rule first;

    rule_bundle_get(bundle, 0, &first);
    rule_builder_begin(builder, &first);
    for (size_t i = 0; i < bundle->tiling->n; i++) {
        const struct packed_tile *packed = &bundle->tiling->tiles[i];
        struct rule_action *action = bundle->actions[packed->action];

        action->refs++;
        *builder_insert(builder, i) = (struct rule_builder_tile) {
            tile_place(packed->value, packed->bits), packed->value,
            packed->bits, action};
    }
}

/* Packing. */

/* Numbers the actions by their first use.  Linear, as services have few
 * instances; the last one is often the next. */
static uint32_t
number_actions(const struct rule_builder *builder,
               struct packed_tile tiles[], struct rule_action *actions[])
{
    uint32_t n = 0;

    for (size_t i = 0; i < builder->n; i++) {
        const struct rule_builder_tile *tile = &builder->tiles[i];
        uint32_t j;

        for (j = 0; j < n && actions[j] != tile->action; j++) {
            continue;
        }
        if (j == n) {
            actions[n++] = tile->action;
        }
        tiles[i] = (struct packed_tile) {tile->value, j, tile->bits, 0};
    }
    return n;
}

static struct rule_tiling *
tiling_intern(const struct rule_builder *builder,
              const struct packed_tile tiles[])
{
    const struct rule *common = &builder->common;
    size_t size = builder->n * sizeof *tiles;
    uint32_t key_hash = rule_bundle_hash(common);
    uint32_t hash = hash_bytes(tiles, size, key_hash);
    struct rule_tiling *tiling;

    HMAP_FOR_EACH_WITH_HASH (tiling, node, hash, &tilings) {
        if (tiling->n == builder->n && !memcmp(tiling->tiles, tiles, size)
            && tiling_is_for(tiling, common)) {
            tiling->refs++;
            return tiling;
        }
    }
    tiling = xmalloc(sizeof *tiling + size);
    tiling->refs = 1;
    tiling->n = builder->n;
    tiling->key_hash = key_hash;
    tiling->service = common->service;
    tiling->prefix_len = common->prefix_len;
    tiling->kind = common->kind;
    tiling->protocol = common->protocol;
    tiling->path_class = common->path_class;
    memcpy(tiling->tiles, tiles, size);
    hmap_insert(&tilings, &tiling->node, hash);
    return tiling;
}

static void
tiling_unref(struct rule_tiling *tiling)
{
    if (!--tiling->refs) {
        pool_remove(&tilings, &tiling->node);
        free(tiling);
    }
}

/* Takes over the reference to 'tiling'. */
static struct rule_bundle *
bundle_intern(struct rule_tiling *tiling,
              struct rule_action *const actions[], uint32_t n)
{
    size_t size = n * sizeof *actions;
    uint32_t hash = hash_bytes(actions, size, hash_pointer(tiling, 0));
    struct rule_bundle *bundle;

    HMAP_FOR_EACH_WITH_HASH (bundle, node, hash, &bundles) {
        if (bundle->tiling == tiling && bundle->n_actions == n
            && !memcmp(bundle->actions, actions, size)) {
            tiling_unref(tiling);
            bundle->refs++;
            return bundle;
        }
    }
    bundle = xmalloc(sizeof *bundle + size);
    bundle->tiling = tiling;
    bundle->refs = 1;
    bundle->n_actions = n;
    memcpy(bundle->actions, actions, size);
    for (size_t i = 0; i < n; i++) {
        actions[i]->refs++;
    }
    hmap_insert(&bundles, &bundle->node, hash);
    return bundle;
}

struct rule_bundle *
rule_builder_pack(const struct rule_builder *builder)
{
    struct packed_tile tile_stub[64], *tiles = tile_stub;
    struct rule_action *action_stub[64], **actions = action_stub;

    if (!builder->n) {
        return NULL;
    }
    if (builder->n > ARRAY_SIZE(tile_stub)) {
        tiles = xmalloc(builder->n * sizeof *tiles);
        actions = xmalloc(builder->n * sizeof *actions);
    }
    uint32_t n = number_actions(builder, tiles, actions);
    struct rule_bundle *bundle = bundle_intern(tiling_intern(builder, tiles),
                                               actions, n);
    if (tiles != tile_stub) {
        free(tiles);
        free(actions);
    }
    return bundle;
}

/* Bundles. */

struct rule_bundle *
rule_bundle_ref(struct rule_bundle *bundle)
{
    bundle->refs++;
    return bundle;
}

void
rule_bundle_unref(struct rule_bundle *bundle)
{
    if (bundle && !--bundle->refs) {
        pool_remove(&bundles, &bundle->node);
        for (size_t i = 0; i < bundle->n_actions; i++) {
            action_unref(bundle->actions[i]);
        }
        tiling_unref(bundle->tiling);
        free(bundle);
    }
}

size_t
rule_bundle_count(const struct rule_bundle *bundle)
{
    return bundle->tiling->n;
}

void
rule_bundle_get(const struct rule_bundle *bundle, size_t i,
                struct rule *ret_rule)
{
    const struct rule_tiling *tiling = bundle->tiling;
    const struct packed_tile *tile = &tiling->tiles[i];

    memset(ret_rule, 0, sizeof *ret_rule);
    ret_rule->kind = tiling->kind;
    ret_rule->protocol = tiling->protocol;
    ret_rule->path_class = tiling->path_class;
    ret_rule->prefix_len = tiling->prefix_len;
    ret_rule->service = tiling->service;
    ret_rule->tile_value = tile->value;
    ret_rule->tile_bits = tile->bits;
    action_get(bundle->actions[tile->action], ret_rule);
}

bool
rule_bundle_find(const struct rule_bundle *bundle, const struct rule *key,
                 struct rule *ret_rule)
{
    const struct rule_tiling *tiling = bundle->tiling;
    uint32_t place = tile_place(key->tile_value, key->tile_bits);
    size_t low = 0, high = tiling->n;

    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct packed_tile *tile = &tiling->tiles[middle];
        if (tile_place(tile->value, tile->bits) < place) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == tiling->n || tiling->tiles[low].value != key->tile_value
        || tiling->tiles[low].bits != key->tile_bits) {
        return false;
    }
    rule_bundle_get(bundle, low, ret_rule);
    return true;
}

static void
add_change(struct rule_changes *changes, enum rule_op op,
           const struct rule_bundle *bundle, size_t i)
{
    struct rule rule;

    rule_bundle_get(bundle, i, &rule);
    rule_changes_add(changes, op, &rule);
}

/* Where tile 'i' stands; beyond all places if there is none. */
static uint64_t
place_in(const struct rule_bundle *bundle, size_t i)
{
    return bundle && i < bundle->tiling->n
           ? tile_place(bundle->tiling->tiles[i].value,
                        bundle->tiling->tiles[i].bits)
           : UINT64_MAX;
}

static const struct rule_action *
action_in(const struct rule_bundle *bundle, size_t i)
{
    return bundle->actions[bundle->tiling->tiles[i].action];
}

void
rule_bundle_diff(const struct rule_bundle *want,
                 const struct rule_bundle *have, struct rule_changes *changes)
{
    uint64_t wanted = place_in(want, 0), had = place_in(have, 0);

    for (size_t i = 0, j = 0; MIN(wanted, had) != UINT64_MAX;) {
        bool both = wanted == had, comes = wanted < had;

        if (!both) {
            add_change(changes, comes ? RULE_ADD : RULE_DELETE,
                       comes ? want : have, comes ? i : j);
        } else if (action_in(want, i) != action_in(have, j)) {
            add_change(changes, RULE_MODIFY, want, i);
        }
        if (both || comes) {
            wanted = place_in(want, ++i);
        }
        if (both || !comes) {
            had = place_in(have, ++j);
        }
    }
}
