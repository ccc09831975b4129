/* SPDX-License-Identifier: Apache-2.0 */
/* Bundles: the rules of one service and protocol on one switch, as one value.
 *
 * There are many service rules, and they repeat: all switches have the same
 * tiles of a service, tiles of one instance do the same, and what is installed
 * is what is desired.  So they are kept in three layers, and equal values
 * exist once in the process:
 *
 *     action    where to, at which MAC address, out of which port
 *     tiling    the service, its tiles, and for each the number of an action
 *     bundle    a tiling and its actions
 *
 * Equal bundles are the same pointer, which makes comparing tables cheap.  A
 * bundle does not change; to change one, take it apart (struct rule_builder),
 * and make another.
 *
 * Pure.  One thread: the pools of values belong to the process, and are empty
 * when the last bundle is gone. */
#ifndef CONTROLLER_RULE_BUNDLE_H
#define CONTROLLER_RULE_BUNDLE_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/rule_changes.h"
#include "controller/rules.h"

struct rule_bundle;

/* True for the kinds that go into bundles. */
static inline bool
rule_is_bundled(const struct rule *rule)
{
    return rule->kind == RULE_SERVICE || rule->kind == RULE_SERVICE6;
}

/* Of the part of a rule's key that its bundle has in common. */
uint32_t rule_bundle_hash(const struct rule *);

struct rule_builder {
    struct rule common;             /* What the key has but for the tile. */
    struct rule_builder_tile *tiles; /* In order of their place. */
    size_t n, allocated;
};

#define RULE_BUILDER_INITIALIZER {.tiles = NULL}

/* Starts a bundle with the common key of 'rule'; the builder must be empty. */
void rule_builder_begin(struct rule_builder *, const struct rule *);
/* Starts with what is in 'bundle'. */
void rule_builder_unpack(struct rule_builder *, const struct rule_bundle *);
/* Forgets all, but keeps the memory for the next one. */
void rule_builder_clear(struct rule_builder *);
void rule_builder_destroy(struct rule_builder *);
bool rule_builder_is_for(const struct rule_builder *, const struct rule *);
/* As of rule tables: true if it made a difference. */
bool rule_builder_put(struct rule_builder *, const struct rule *);
bool rule_builder_remove(struct rule_builder *, const struct rule *key);
bool rule_builder_find(const struct rule_builder *, const struct rule *key,
                       struct rule *ret_rule);
/* Rule 'i' of 'n'. */
void rule_builder_get(const struct rule_builder *, size_t i,
                      struct rule *ret_rule);
/* The bundle of all this; the caller owns a reference.  NULL if empty. */
struct rule_bundle *rule_builder_pack(const struct rule_builder *);

struct rule_bundle *rule_bundle_ref(struct rule_bundle *);
void rule_bundle_unref(struct rule_bundle *);
bool rule_bundle_is_for(const struct rule_bundle *, const struct rule *);
size_t rule_bundle_count(const struct rule_bundle *);
void rule_bundle_get(const struct rule_bundle *, size_t i,
                     struct rule *ret_rule);
bool rule_bundle_find(const struct rule_bundle *, const struct rule *key,
                      struct rule *ret_rule);
bool rule_bundle_same_key(const struct rule_bundle *,
                          const struct rule_bundle *);
/* Adds to 'changes' what turns 'have' into 'want'.  Both have the same key;
 * one of them may be NULL. */
void rule_bundle_diff(const struct rule_bundle *want,
                      const struct rule_bundle *have, struct rule_changes *);
/* rule_bundle_hash() of its rules. */
uint32_t rule_bundle_key_hash(const struct rule_bundle *);

/* Values that exist, for tests of leaks. */
size_t rule_bundle_pool_count(void);

#endif /* rule_bundle.h */
