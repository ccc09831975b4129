/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of rules, desired or installed, and their difference.
 *
 *     desired = what plan.h computes for a switch
 *     installed = what the switch has confirmed, or what was read from it
 *     changes = rule_diff(desired, installed)
 *     apply: send them, barrier, then rule_changes_apply(changes, installed)
 *
 * apply(diff(desired, installed), installed) == desired.
 *
 * Pure.  One thread; the creator owns a table. */
#ifndef CONTROLLER_RULE_TABLE_H
#define CONTROLLER_RULE_TABLE_H 1

#include <stdbool.h>
#include <stddef.h>
#include "controller/rule_changes.h"
#include "controller/rules.h"

struct rule_bundle;
struct rule_table;

struct rule_table *rule_table_create(void);
void rule_table_destroy(struct rule_table *);
void rule_table_clear(struct rule_table *);
struct rule_table *rule_table_clone(const struct rule_table *);

/* Adds a rule, in place of one with the same key.  True if that made a
 * difference. */
bool rule_table_put(struct rule_table *, const struct rule *);
/* Removes the rule with the key of 'rule'; true if there was one. */
bool rule_table_remove(struct rule_table *, const struct rule *);
/* NULL if there is none; valid until the table changes or another rule is
 * looked for in it. */
const struct rule *rule_table_find(const struct rule_table *,
                                   const struct rule *key);
/* While flows are being read, one that came twice counts twice. */
size_t rule_table_count(const struct rule_table *);
bool rule_table_equal(const struct rule_table *, const struct rule_table *);

/* Bundles (rule_bundle.h) as a whole; references stay the callers'.  Puts one
 * in place of that with the same key: true if that made a difference. */
bool rule_table_put_bundle(struct rule_table *, struct rule_bundle *);
bool rule_table_remove_bundle(struct rule_table *, const struct rule *key);
/* That of which 'key' is a rule; NULL if there is none. */
struct rule_bundle *rule_table_bundle(const struct rule_table *,
                                      const struct rule *key);

/* That with the same key as 'bundle'. */
struct rule_bundle *rule_table_bundle_like(const struct rule_table *,
                                           const struct rule_bundle *);

/* Iterates, in no particular order; the table must not change meanwhile.  What
 * is returned is valid until the next call.
 *
 *     size_t i = 0;
 *     for (const struct rule *r; (r = rule_table_next(table, &i)); ) ... */
const struct rule *rule_table_next(const struct rule_table *,
                                   size_t *position);
/* The same for rules that are not bundled, and for bundles. */
const struct rule *rule_table_next_single(const struct rule_table *,
                                          size_t *position);
struct rule_bundle *rule_table_next_bundle(const struct rule_table *,
                                           size_t *position);

/* Records a flow that was read from the switch.  Others' flows are ignored
 * (returns false); a flow with our cookie that no rule describes is kept as
 * RULE_FOREIGN, so that a diff deletes it.  Such a rule, also in changes,
 * is valid as long as it is in this table: encode changes before you apply
 * them. */
bool rule_table_read_flow(struct rule_table *,
                          const struct ofputil_flow_stats *,
                          const struct rule_dialect *);

/* The same for a group: others' groups are ignored. */
bool rule_table_read_group(struct rule_table *,
                           const struct ofputil_group_desc *);

/* And for a meter. */
bool rule_table_read_meter(struct rule_table *,
                           const struct ofputil_meter_config *);

/* Stores in 'changes' (initialised; what was in it is dropped) what turns
 * 'installed' into 'desired'. */
void rule_diff(const struct rule_table *desired,
               const struct rule_table *installed, struct rule_changes *);
/* The same, but looks only at rules whose key is in 'touched', and for one that
 * is bundled at its whole bundle; keys may repeat there, the operation does
 * not matter. */
void rule_diff_touched(const struct rule_table *desired,
                       const struct rule_table *installed,
                       const struct rule_changes *touched,
                       struct rule_changes *);
/* Applies the first 'n' changes. */
void rule_changes_apply(const struct rule_changes *, size_t n,
                        struct rule_table *installed);

void rule_table_format(const struct rule_table *, struct ds *);
struct json *rule_table_to_json(const struct rule_table *);

#endif /* rule_table.h */
