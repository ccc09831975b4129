/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/rule_table.h"

#include <errno.h>
#include <stdlib.h>
#include "controller/rule_bundle.h"
#include "openvswitch/ofpbuf.h"
#include "openvswitch/util.h"
#include "byte-order.h"
#include "hash.h"
#include "util.h"

/* Open addressing, linear probing, no tombstones: a switch may have a hundred
 * thousand rules, and a node for each would cost as much again as the rule.
 * Service rules are in bundles, in a table of the same kind; the bundle that
 * was changed last is taken apart, in 'builder', until another one is. */
struct rule_table {
    struct rule *slots; /* RULE_NONE = free. */
    size_t mask;        /* Slots, a power of two, less one. */
    size_t n;

    struct rule_bundle **bundles; /* NULL = free. */
    size_t bundle_mask;
    size_t n_bundles;
    size_t n_bundled;             /* Rules in them. */
    struct rule_builder builder;
    struct rule *shown;           /* What find and next point to. */

    /* A switch tells its flows in an order of its own, in which the tiles of a
     * service are far apart.  They wait here for settle(). */
    struct rule *loose;
    size_t n_loose, allocated_loose;
};

#define SLOTS_MIN 16
#define SLOTS_KEPT 64 /* What a small table may keep when it is cleared. */
#define BUNDLES_MIN 4

BUILD_ASSERT_DECL(RULE_KEY_LEN % 8 == 0);
BUILD_ASSERT_DECL(sizeof(size_t) == 8);

/* Which of 'shown'. */
enum { SHOWN_FIND, SHOWN_NEXT, SHOWN_N };

static size_t
hash_rule(const struct rule *rule)
{
    uint64_t words[RULE_KEY_LEN / 8];
    memcpy(words, rule, sizeof words);
    return hash_words64(words, ARRAY_SIZE(words), 0);
}

struct rule_table *
rule_table_create(void)
{
    struct rule_table *table = xzalloc(sizeof *table);
    table->slots = xcalloc(SLOTS_MIN, sizeof *table->slots);
    table->mask = SLOTS_MIN - 1;
    table->bundles = xcalloc(BUNDLES_MIN, sizeof *table->bundles);
    table->bundle_mask = BUNDLES_MIN - 1;
    table->shown = xmalloc(SHOWN_N * sizeof *table->shown);
    return table;
}

static void
free_foreign(const struct rule *rule)
{
    if (rule->kind == RULE_FOREIGN) {
        minimatch_destroy(rule->foreign.match);
        free(rule->foreign.match);
    }
}

static void
clear_slots(struct rule_table *table)
{
    for (size_t i = 0; table->n && i <= table->mask; i++) {
        free_foreign(&table->slots[i]);
    }
    if (table->mask < SLOTS_KEPT) {
        if (table->n) {
            memset(table->slots, 0, (table->mask + 1) * sizeof *table->slots);
        }
    } else {
        free(table->slots);
        table->slots = xcalloc(SLOTS_MIN, sizeof *table->slots);
        table->mask = SLOTS_MIN - 1;
    }
    table->n = 0;
}

static void
clear_bundles(struct rule_table *table)
{
    free(table->loose);
    table->loose = NULL;
    table->n_loose = table->allocated_loose = 0;
    rule_builder_clear(&table->builder);
    if (!table->n_bundles) {
        return;
    }
    for (size_t i = 0; i <= table->bundle_mask; i++) {
        rule_bundle_unref(table->bundles[i]);
    }
    free(table->bundles);
    table->bundles = xcalloc(BUNDLES_MIN, sizeof *table->bundles);
    table->bundle_mask = BUNDLES_MIN - 1;
    table->n_bundles = table->n_bundled = 0;
}

void
rule_table_clear(struct rule_table *table)
{
    clear_slots(table);
    clear_bundles(table);
}

void
rule_table_destroy(struct rule_table *table)
{
    if (table) {
        rule_table_clear(table);
        rule_builder_destroy(&table->builder);
        free(table->slots);
        free(table->bundles);
        free(table->shown);
        free(table);
    }
}

/* Single rules. */

/* The slot of the rule with this key, or the free one where it would be. */
static struct rule *
find_slot(const struct rule_table *table, const struct rule *key)
{
    size_t i = hash_rule(key) & table->mask;
    while (table->slots[i].kind != RULE_NONE
           && !rule_same_key(&table->slots[i], key)) {
        i = (i + 1) & table->mask;
    }
    return &table->slots[i];
}

static void
grow(struct rule_table *table)
{
    struct rule *old = table->slots;
    size_t n_old = table->mask + 1;

    table->mask = 2 * n_old - 1;
    table->slots = xcalloc(table->mask + 1, sizeof *table->slots);
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].kind != RULE_NONE) {
            *find_slot(table, &old[i]) = old[i];
        }
    }
    free(old);
}

static bool
slot_put(struct rule_table *table, const struct rule *rule)
{
    struct rule *slot = find_slot(table, rule);
    if (slot->kind != RULE_NONE) {
        if (rule_equal(slot, rule)) {
            return false;
        }
        *slot = *rule;
        return true;
    }
    if ((table->n + 1) * 4 > (table->mask + 1) * 3) {
        grow(table);
        slot = find_slot(table, rule);
    }
    *slot = *rule;
    table->n++;
    return true;
}

/* Moves up what follows the hole and may stand there (Knuth, volume 3, 6.4,
 * algorithm R). */
static void
fill_hole(struct rule_table *table, size_t hole)
{
    size_t i = hole;
    for (;;) {
        i = (i + 1) & table->mask;
        if (table->slots[i].kind == RULE_NONE) {
            break;
        }
        size_t home = hash_rule(&table->slots[i]) & table->mask;
        if (((i - home) & table->mask) >= ((i - hole) & table->mask)) {
            table->slots[hole] = table->slots[i];
            hole = i;
        }
    }
    memset(&table->slots[hole], 0, sizeof table->slots[hole]);
}

static bool
slot_remove(struct rule_table *table, const struct rule *rule)
{
    struct rule *slot = find_slot(table, rule);
    if (slot->kind == RULE_NONE) {
        return false;
    }
    free_foreign(slot);
    fill_hole(table, slot - table->slots);
    table->n--;
    return true;
}

/* Bundles. */

/* The slot of the bundle that 'key' belongs to, or the free one for it. */
static struct rule_bundle **
find_bundle(const struct rule_table *table, const struct rule *key)
{
    size_t i = rule_bundle_hash(key) & table->bundle_mask;
    while (table->bundles[i] && !rule_bundle_is_for(table->bundles[i], key)) {
        i = (i + 1) & table->bundle_mask;
    }
    return &table->bundles[i];
}

/* The same for the key of 'bundle'. */
static struct rule_bundle **
find_slot_like(const struct rule_table *table,
               const struct rule_bundle *bundle)
{
    size_t i = rule_bundle_key_hash(bundle) & table->bundle_mask;
    while (table->bundles[i]
           && !rule_bundle_same_key(table->bundles[i], bundle)) {
        i = (i + 1) & table->bundle_mask;
    }
    return &table->bundles[i];
}

static void
grow_bundles(struct rule_table *table)
{
    struct rule_bundle **old = table->bundles;
    size_t n_old = table->bundle_mask + 1;

    table->bundle_mask = 2 * n_old - 1;
    table->bundles = xcalloc(table->bundle_mask + 1, sizeof *table->bundles);
    for (size_t i = 0; i < n_old; i++) {
        if (old[i]) {
            size_t j = rule_bundle_key_hash(old[i]) & table->bundle_mask;
            while (table->bundles[j]) {
                j = (j + 1) & table->bundle_mask;
            }
            table->bundles[j] = old[i];
        }
    }
    free(old);
}

static void
fill_bundle_hole(struct rule_table *table, size_t hole)
{
    size_t i = hole;
    for (;;) {
        i = (i + 1) & table->bundle_mask;
        if (!table->bundles[i]) {
            break;
        }
        size_t home = rule_bundle_key_hash(table->bundles[i])
                      & table->bundle_mask;
        if (((i - home) & table->bundle_mask)
            >= ((i - hole) & table->bundle_mask)) {
            table->bundles[hole] = table->bundles[i];
            hole = i;
        }
    }
    table->bundles[hole] = NULL;
}

/* Takes over the reference. */
static void
insert_bundle(struct rule_table *table, struct rule_bundle *bundle)
{
    if ((table->n_bundles + 1) * 4 > (table->bundle_mask + 1) * 3) {
        grow_bundles(table);
    }
    size_t i = rule_bundle_key_hash(bundle) & table->bundle_mask;
    while (table->bundles[i]) {
        i = (i + 1) & table->bundle_mask;
    }
    table->bundles[i] = bundle;
    table->n_bundles++;
    table->n_bundled += rule_bundle_count(bundle);
}

/* Puts the builder's bundle where the others are. */
static void
close_builder(struct rule_table *table)
{
    struct rule_bundle *bundle = rule_builder_pack(&table->builder);
    if (bundle) {
        insert_bundle(table, bundle);
    }
    rule_builder_clear(&table->builder);
}

/* Takes a bundle out; its reference becomes the caller's. */
static struct rule_bundle *
take_bundle(struct rule_table *table, struct rule_bundle **slot)
{
    struct rule_bundle *bundle = *slot;

    table->n_bundled -= rule_bundle_count(bundle);
    table->n_bundles--;
    fill_bundle_hole(table, slot - table->bundles);
    return bundle;
}

/* Takes the bundle of 'key' apart. */
static void
open_builder(struct rule_table *table, const struct rule *key)
{
    if (table->builder.n && rule_builder_is_for(&table->builder, key)) {
        return;
    }
    close_builder(table);
    struct rule_bundle **slot = find_bundle(table, key);
    if (*slot) {
        struct rule_bundle *bundle = take_bundle(table, slot);
        rule_builder_unpack(&table->builder, bundle);
        rule_bundle_unref(bundle);
    } else {
        rule_builder_begin(&table->builder, key);
    }
}

/* Of the bundle of 'key', which is not in the builder. */
static struct rule_bundle *
closed_bundle(const struct rule_table *table, const struct rule *key)
{
    return table->n_bundles ? *find_bundle(table, key) : NULL;
}

/* Service rules that have been read. */

static void
loosely_put(struct rule_table *table, const struct rule *rule)
{
    if (table->n_loose >= table->allocated_loose) {
        table->loose = x2nrealloc(table->loose, &table->allocated_loose,
                                  sizeof *table->loose);
    }
    table->loose[table->n_loose++] = *rule;
}

static int
compare_places(const void *a_, const void *b_)
{
    const uint64_t *a = a_, *b = b_;
    return *a < *b ? -1 : *a > *b;
}

/* Bundles what has been read, service by service; of two rules with one key
 * the later stays. */
static void
bundle_loose(struct rule_table *table)
{
    struct rule *loose = table->loose;
    size_t n = table->n_loose;
    uint64_t *places = xmalloc(n * sizeof *places);

    for (size_t i = 0; i < n; i++) {
        places[i] = (uint64_t) rule_bundle_hash(&loose[i]) << 32 | i;
    }
    qsort(places, n, sizeof *places, compare_places);
    table->loose = NULL;
    table->n_loose = table->allocated_loose = 0;
    for (size_t i = 0; i < n; i++) {
        rule_table_put(table, &loose[places[i] & UINT32_MAX]);
    }
    free(places);
    free(loose);
}

/* Nothing that a caller sees changes by these two, hence the const. */
static void
settle_loose(const struct rule_table *table)
{
    if (table->n_loose) {
        bundle_loose(CONST_CAST(struct rule_table *, table));
    }
}

/* All bundles are where they belong. */
static void
settle(const struct rule_table *table)
{
    settle_loose(table);
    if (table->builder.n) {
        close_builder(CONST_CAST(struct rule_table *, table));
    }
}

/* Both. */

bool
rule_table_put(struct rule_table *table, const struct rule *rule)
{
    if (!rule_is_bundled(rule)) {
        return slot_put(table, rule);
    }
    settle_loose(table);
    open_builder(table, rule);
    return rule_builder_put(&table->builder, rule);
}

bool
rule_table_remove(struct rule_table *table, const struct rule *rule)
{
    if (!rule_is_bundled(rule)) {
        return slot_remove(table, rule);
    }
    if (!rule_table_find(table, rule)) {
        return false;
    }
    open_builder(table, rule);
    return rule_builder_remove(&table->builder, rule);
}

const struct rule *
rule_table_find(const struct rule_table *table, const struct rule *key)
{
    if (!rule_is_bundled(key)) {
        const struct rule *slot = find_slot(table, key);
        return slot->kind == RULE_NONE ? NULL : slot;
    }
    settle_loose(table);
    struct rule *found = &table->shown[SHOWN_FIND];
    if (table->builder.n && rule_builder_is_for(&table->builder, key)) {
        return rule_builder_find(&table->builder, key, found) ? found : NULL;
    }
    const struct rule_bundle *bundle = closed_bundle(table, key);
    return bundle && rule_bundle_find(bundle, key, found) ? found : NULL;
}

size_t
rule_table_count(const struct rule_table *table)
{
    return table->n + table->n_bundled + table->builder.n + table->n_loose;
}

bool
rule_table_put_bundle(struct rule_table *table, struct rule_bundle *bundle)
{
    settle(table);
    struct rule_bundle **slot = find_slot_like(table, bundle);
    if (*slot == bundle) {
        return false;
    }
    if (*slot) {
        table->n_bundled += rule_bundle_count(bundle);
        table->n_bundled -= rule_bundle_count(*slot);
        rule_bundle_unref(*slot);
        *slot = rule_bundle_ref(bundle);
    } else {
        insert_bundle(table, rule_bundle_ref(bundle));
    }
    return true;
}

bool
rule_table_remove_bundle(struct rule_table *table, const struct rule *key)
{
    settle(table);
    struct rule_bundle **slot = find_bundle(table, key);
    if (!*slot) {
        return false;
    }
    rule_bundle_unref(take_bundle(table, slot));
    return true;
}

struct rule_bundle *
rule_table_bundle(const struct rule_table *table, const struct rule *key)
{
    settle(table);
    return *find_bundle(table, key);
}

struct rule_bundle *
rule_table_bundle_like(const struct rule_table *table,
                       const struct rule_bundle *bundle)
{
    settle(table);
    return *find_slot_like(table, bundle);
}

const struct rule *
rule_table_next_single(const struct rule_table *table, size_t *position)
{
    while (*position <= table->mask) {
        const struct rule *rule = &table->slots[(*position)++];
        if (rule->kind != RULE_NONE) {
            return rule;
        }
    }
    return NULL;
}

struct rule_bundle *
rule_table_next_bundle(const struct rule_table *table, size_t *position)
{
    settle(table);
    while (*position <= table->bundle_mask) {
        struct rule_bundle *bundle = table->bundles[(*position)++];
        if (bundle) {
            return bundle;
        }
    }
    return NULL;
}

/* A position: in the low half which rule, in the high half of which bundle;
 * first the single rules (0), then the bundles. */
#define POSITION(BUNDLE, RULE) ((size_t) (BUNDLE) << 32 | (RULE))

static const struct rule *
next_bundled(const struct rule_table *table, size_t *position)
{
    struct rule *shown = &table->shown[SHOWN_NEXT];
    size_t which = *position >> 32, i = *position & UINT32_MAX;

    for (; which <= table->bundle_mask + 1; which++, i = 0) {
        const struct rule_bundle *bundle = table->bundles[which - 1];
        if (bundle && i < rule_bundle_count(bundle)) {
            *position = POSITION(which, i + 1);
            rule_bundle_get(bundle, i, shown);
            return shown;
        }
    }
    *position = POSITION(which, 0);
    return NULL;
}

const struct rule *
rule_table_next(const struct rule_table *table, size_t *position)
{
    settle(table);
    if (*position < POSITION(1, 0)) {
        const struct rule *rule = rule_table_next_single(table, position);
        if (rule) {
            return rule;
        }
        *position = POSITION(1, 0);
    }
    return next_bundled(table, position);
}

struct rule_table *
rule_table_clone(const struct rule_table *table)
{
    struct rule_table *clone = rule_table_create();
    settle(table);
    for (size_t i = 0; i <= table->mask; i++) {
        const struct rule *r = &table->slots[i];
        struct rule copy = *r;
        if (r->kind == RULE_NONE) {
            continue;
        }
        if (r->kind == RULE_FOREIGN) {
            copy.foreign.match = xmalloc(sizeof *copy.foreign.match);
            minimatch_clone(copy.foreign.match, r->foreign.match);
        }
        slot_put(clone, &copy);
    }
    for (size_t i = 0; i <= table->bundle_mask; i++) {
        if (table->bundles[i]) {
            insert_bundle(clone, rule_bundle_ref(table->bundles[i]));
        }
    }
    return clone;
}

bool
rule_table_equal(const struct rule_table *a, const struct rule_table *b)
{
    const struct rule_bundle *bundle;
    const struct rule *rule;
    size_t i = 0, j = 0;

    settle(a);
    settle(b);
    if (a->n != b->n || a->n_bundles != b->n_bundles) {
        return false;
    }
    while ((rule = rule_table_next_single(a, &i))) {
        const struct rule *other = rule_table_find(b, rule);
        if (!other || !rule_equal(rule, other)) {
            return false;
        }
    }
    while ((bundle = rule_table_next_bundle(a, &j))) {
        if (rule_table_bundle_like(b, bundle) != bundle) {
            return false;
        }
    }
    return true;
}

bool
rule_table_read_flow(struct rule_table *table,
                     const struct ofputil_flow_stats *fs,
                     const struct rule_dialect *dialect)
{
    struct rule rule;
    int error = rule_from_flow(fs, dialect, &rule);
    if (error == -ENOENT) {
        return false;
    }
    if (error) {
        rule = RULE_INIT(RULE_FOREIGN);
        rule.foreign.match = xmalloc(sizeof *rule.foreign.match);
        minimatch_init(rule.foreign.match, &fs->match);
        rule.foreign.cookie = ntohll(fs->cookie);
        rule.foreign.priority = fs->priority;
        rule.foreign.table = fs->table_id;
    }
    if (rule_is_bundled(&rule)) {
        loosely_put(table, &rule);
    } else {
        rule_table_put(table, &rule);
    }
    return true;
}

bool
rule_table_read_group(struct rule_table *table,
                      const struct ofputil_group_desc *group)
{
    struct rule rule;
    if (rule_from_group(group, &rule)) {
        return false;
    }
    rule_table_put(table, &rule);
    return true;
}

bool
rule_table_read_meter(struct rule_table *table,
                      const struct ofputil_meter_config *meter)
{
    struct rule rule;
    if (rule_from_meter(meter, &rule)) {
        return false;
    }
    rule_table_put(table, &rule);
    return true;
}
