/* SPDX-License-Identifier: Apache-2.0 */
/* What goes into a service table that is too small for all: the most specific
 * services first, among equal ones those that are used most, each with all of
 * its rules or none.
 *
 * A prefix must not catch what a longer one that did not fit should have had,
 * so it stays out as well if one that it contains does.
 *
 * Pure; any thread. */
#ifndef CONTROLLER_OVERFLOW_H
#define CONTROLLER_OVERFLOW_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ofp-ext/service_id.h"

struct overflow_item {
    struct service_prefix prefix;
    size_t n_rules;
    uint32_t use;   /* The more, the more it is used. */
    void *aux;      /* The caller's. */
    bool fits;      /* The result. */
};

/* Sorts the items, marks those that go into 'limit' rules, and returns how
 * many rules they have.  The result depends on nothing but what is in the
 * items. */
size_t overflow_choose(struct overflow_item[], size_t n, size_t limit);

#endif /* overflow.h */
