/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/overflow.h"

#include <stdlib.h>

static int
compare(const void *a_, const void *b_)
{
    const struct overflow_item *a = a_, *b = b_;
    if (a->prefix.len != b->prefix.len) {
        return a->prefix.len > b->prefix.len ? -1 : 1;
    }
    if (a->use != b->use) {
        return a->use > b->use ? -1 : 1;
    }
    return service_prefix_compare(&a->prefix, &b->prefix);
}

/* Does 'item' contain one of the 'n' before it that did not fit? */
static bool
would_catch(const struct overflow_item *item,
            const struct overflow_item items[], size_t n)
{
    for (size_t i = 0; i < n && items[i].prefix.len > item->prefix.len; i++) {
        if (!items[i].fits
            && service_prefix_contains(&item->prefix, &items[i].prefix)) {
            return true;
        }
    }
    return false;
}

size_t
overflow_choose(struct overflow_item items[], size_t n, size_t limit)
{
    size_t used = 0;
    bool all = true; /* So far. */

    if (n) {
        qsort(items, n, sizeof *items, compare);
    }
    for (size_t i = 0; i < n; i++) {
        items[i].fits = items[i].n_rules <= limit - used
                        && (all || !would_catch(&items[i], items, i));
        if (items[i].fits) {
            used += items[i].n_rules;
        } else {
            all = false;
        }
    }
    return used;
}
