/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of the rules of one switch, in the order in which they should reach
 * it:
 *
 *     1. what is new below the services (groups, host routes,
 *        classification), from the end of the pipeline to its beginning,
 *     2. the services: all changes of one together, what is new before what
 *        goes,
 *     3. what goes below the services, from the beginning to the end
 *
 * so that wherever one cuts them between two services, none is half changed,
 * and no rule refers to what is not there (make before break).
 *
 * Pure.  One thread. */
#ifndef CONTROLLER_RULE_CHANGES_H
#define CONTROLLER_RULE_CHANGES_H 1

#include <stdbool.h>
#include <stddef.h>
#include "controller/rules.h"

enum rule_op { RULE_ADD, RULE_MODIFY, RULE_DELETE };

struct rule_change {
    enum rule_op op;
    struct rule rule; /* Desired, or the one to delete. */
};

struct rule_changes {
    struct rule_change *changes; /* Owned. */
    size_t n;
    size_t allocated;
};

#define RULE_CHANGES_INITIALIZER {NULL, 0, 0}

void rule_changes_destroy(struct rule_changes *);
void rule_changes_add(struct rule_changes *, enum rule_op,
                      const struct rule *);
/* Puts them into the order above; of changes with the same key one stays. */
void rule_changes_sort(struct rule_changes *);
/* True if both are of one service: not to be torn apart. */
bool rule_changes_same_service(const struct rule_change *,
                               const struct rule_change *);

/* The OpenFlow message for a change; the caller frees it with
 * ofpbuf_delete().  NULL if the rule cannot be expressed (-ENOTSUP of
 * rule_to_flow_mod()). */
struct ofpbuf *rule_change_encode(const struct rule_change *,
                                  const struct rule_dialect *);

#endif /* rule_changes.h */
