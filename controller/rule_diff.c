/* SPDX-License-Identifier: Apache-2.0 */
/* What turns one table of rules into another. */
#include "controller/rule_table.h"

#include <string.h>
#include "controller/rule_bundle.h"
#include "openvswitch/util.h"
#include "util.h"

static void
diff_rule(const struct rule *want, const struct rule *have,
          struct rule_changes *changes)
{
    if (!want) {
        if (have) {
            rule_changes_add(changes, RULE_DELETE, have);
        }
    } else if (!have) {
        rule_changes_add(changes, RULE_ADD, want);
    } else if (!rule_equal(have, want)) {
        rule_changes_add(changes, RULE_MODIFY, want);
    }
}

static void
diff_bundles(const struct rule_bundle *want, const struct rule_bundle *have,
             struct rule_changes *changes)
{
    if (want != have) { /* Equal ones are the same. */
        rule_bundle_diff(want, have, changes);
    }
}

static bool
are_of_one_bundle(const struct rule *a, const struct rule *b)
{
    return a->kind == b->kind && a->protocol == b->protocol
           && a->path_class == b->path_class && a->prefix_len == b->prefix_len
           && !memcmp(&a->service, &b->service, sizeof a->service);
}

void
rule_diff_touched(const struct rule_table *desired,
                  const struct rule_table *installed,
                  const struct rule_changes *touched,
                  struct rule_changes *changes)
{
    const struct rule *last = NULL; /* Tiles of a bundle come in a row. */

    changes->n = 0;
    for (size_t i = 0; i < touched->n; i++) {
        const struct rule *key = &touched->changes[i].rule;
        if (!rule_is_bundled(key)) {
            diff_rule(rule_table_find(desired, key),
                      rule_table_find(installed, key), changes);
        } else if (!last || !are_of_one_bundle(last, key)) {
            diff_bundles(rule_table_bundle(desired, key),
                         rule_table_bundle(installed, key), changes);
            last = key;
        }
    }
    rule_changes_sort(changes);
}

static void
diff_singles(const struct rule_table *desired,
             const struct rule_table *installed, struct rule_changes *changes)
{
    size_t i = 0, j = 0;

    for (const struct rule *want;
         (want = rule_table_next_single(desired, &i));) {
        diff_rule(want, rule_table_find(installed, want), changes);
    }
    for (const struct rule *have;
         (have = rule_table_next_single(installed, &j));) {
        if (!rule_table_find(desired, have)) {
            rule_changes_add(changes, RULE_DELETE, have);
        }
    }
}

void
rule_diff(const struct rule_table *desired, const struct rule_table *installed,
          struct rule_changes *changes)
{
    const struct rule_bundle *bundle;
    size_t i = 0, j = 0;

    changes->n = 0;
    diff_singles(desired, installed, changes);
    while ((bundle = rule_table_next_bundle(desired, &i))) {
        diff_bundles(bundle, rule_table_bundle_like(installed, bundle),
                     changes);
    }
    while ((bundle = rule_table_next_bundle(installed, &j))) {
        if (!rule_table_bundle_like(desired, bundle)) {
            rule_bundle_diff(NULL, bundle, changes);
        }
    }
    rule_changes_sort(changes);
}

void
rule_changes_apply(const struct rule_changes *changes, size_t n,
                   struct rule_table *installed)
{
    for (size_t i = 0; i < MIN(n, changes->n); i++) {
        const struct rule_change *change = &changes->changes[i];
        if (change->op == RULE_DELETE) {
            rule_table_remove(installed, &change->rule);
        } else {
            rule_table_put(installed, &change->rule);
        }
    }
}
