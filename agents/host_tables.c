/* SPDX-License-Identifier: Apache-2.0 */
/* Pure: no I/O, no clock.  Sorted arrays; see host_tables.h. */
#include "agents/host_tables.h"

#include <stdlib.h>
#include <string.h>
#include "util.h"

/* Describes one of the three arrays, so that they share their code. */
struct table {
    void **elements;
    size_t *n, *allocated;
    size_t size;
    int (*compare)(const void *, const void *); /* By key. */
    bool (*equal)(const void *, const void *);  /* By key and value. */
};

enum { N_TABLES = 4 };

static int
address_compare(const void *a_, const void *b_)
{
    const struct service_address *a = a_, *b = b_;
    return memcmp(&a->address, &b->address, sizeof a->address);
}

static bool
address_equal(const void *a_, const void *b_)
{
    const struct service_address *a = a_, *b = b_;
    return !address_compare(a, b)
           && !memcmp(&a->id, &b->id, sizeof a->id);
}

static int
rule_compare(const void *a_, const void *b_)
{
    const struct service_rule *a = a_, *b = b_;
    return service_prefix_compare(&a->prefix, &b->prefix);
}

static bool
rule_equal(const void *a_, const void *b_)
{
    const struct service_rule *a = a_, *b = b_;
    return !rule_compare(a, b) && a->action == b->action
           && a->path_class == b->path_class && a->datagram == b->datagram;
}

static int
target_compare(const void *a_, const void *b_)
{
    const struct local_target *a = a_, *b = b_;
    int cmp = service_prefix_compare(&a->prefix, &b->prefix);
    if (!cmp) {
        cmp = (int) a->protocol - b->protocol;
    }
    return cmp ? cmp : (int) a->service_port - b->service_port;
}

static bool
target_equal(const void *a_, const void *b_)
{
    const struct local_target *a = a_, *b = b_;
    return !target_compare(a, b)
           && !memcmp(&a->address, &b->address, sizeof a->address)
           && a->port == b->port;
}

static int
hop_compare(const void *a_, const void *b_)
{
    const struct service_hop *a = a_, *b = b_;
    int cmp = service_prefix_compare(&a->prefix, &b->prefix);
    return cmp ? cmp : memcmp(a->locator, b->locator, sizeof a->locator);
}

static bool
hop_equal(const void *a_, const void *b_)
{
    const struct service_hop *a = a_, *b = b_;
    return !hop_compare(a, b) && a->weight == b->weight;
}

static void
tables_of(struct host_tables *t, struct table tables[N_TABLES])
{
    tables[0] = (struct table) {
        (void **) &t->addresses, &t->n_addresses, &t->allocated_addresses,
        sizeof *t->addresses,    address_compare, address_equal};
    tables[1] = (struct table) {
        (void **) &t->rules, &t->n_rules,  &t->allocated_rules,
        sizeof *t->rules,    rule_compare, rule_equal};
    tables[2] = (struct table) {
        (void **) &t->targets, &t->n_targets,  &t->allocated_targets,
        sizeof *t->targets,    target_compare, target_equal};
    tables[3] = (struct table) {
        (void **) &t->hops, &t->n_hops,  &t->allocated_hops,
        sizeof *t->hops,    hop_compare, hop_equal};
}

static char *
table_at(const struct table *table, size_t i)
{
    return (char *) *table->elements + i * table->size;
}

/* Index of the first element that is not less than 'key'; true if it has
 * that key. */
static bool
table_find(const struct table *table, const void *key, size_t *ret_index)
{
    size_t low = 0, high = *table->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->compare(table_at(table, middle), key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *ret_index = low;
    return low < *table->n && !table->compare(table_at(table, low), key);
}

static void
table_put(struct table *table, const void *element)
{
    size_t i;
    if (!table_find(table, element, &i)) {
        if (*table->n >= *table->allocated) {
            *table->allocated = *table->allocated ? *table->allocated * 2 : 8;
            *table->elements = xrealloc(*table->elements,
                                        *table->allocated * table->size);
        }
        memmove(table_at(table, i + 1), table_at(table, i),
                (*table->n - i) * table->size);
        ++*table->n;
    }
    memcpy(table_at(table, i), element, table->size);
}

static bool
table_remove(struct table *table, const void *key)
{
    size_t i;
    if (!table_find(table, key, &i)) {
        return false;
    }
    --*table->n;
    memmove(table_at(table, i), table_at(table, i + 1),
            (*table->n - i) * table->size);
    return true;
}

void
host_tables_init(struct host_tables *tables)
{
    memset(tables, 0, sizeof *tables);
}

void
host_tables_destroy(struct host_tables *tables)
{
    if (tables) {
        free(tables->addresses);
        free(tables->rules);
        free(tables->targets);
        free(tables->hops);
        host_tables_init(tables);
    }
}

void
host_tables_copy(struct host_tables *dst_, const struct host_tables *src_)
{
    struct table dst[N_TABLES], src[N_TABLES];
    tables_of(dst_, dst);
    tables_of(CONST_CAST(struct host_tables *, src_), src);
    dst_->settings = src_->settings;
    for (int t = 0; t < N_TABLES; t++) {
        size_t n = *src[t].n;
        *dst[t].n = *dst[t].allocated = n;
        *dst[t].elements = n ? xmemdup(*src[t].elements, n * src[t].size)
                             : NULL;
    }
}

static void
put(struct host_tables *tables, int which, const void *element)
{
    struct table table[N_TABLES];
    tables_of(tables, table);
    table_put(&table[which], element);
}

static bool
removed(struct host_tables *tables, int which, const void *key)
{
    struct table table[N_TABLES];
    tables_of(tables, table);
    return table_remove(&table[which], key);
}

void
host_tables_put_address(struct host_tables *tables,
                        const struct service_address *address)
{
    put(tables, 0, address);
}

void
host_tables_put_rule(struct host_tables *tables,
                     const struct service_rule *rule)
{
    put(tables, 1, rule);
}

static void
put_all(struct host_tables *tables, int which, void *elements, size_t n)
{
    struct table table[N_TABLES];
    tables_of(tables, table);
    if (n) {
        qsort(elements, n, table[which].size, table[which].compare);
    }
    for (size_t i = 0; i < n; i++) {
        table_put(&table[which], (char *) elements + i * table[which].size);
    }
}

void
host_tables_put_addresses(struct host_tables *tables,
                          struct service_address addresses[], size_t n)
{
    put_all(tables, 0, addresses, n);
}

void
host_tables_put_rules(struct host_tables *tables, struct service_rule rules[],
                      size_t n)
{
    put_all(tables, 1, rules, n);
}

void
host_tables_put_target(struct host_tables *tables,
                       const struct local_target *target)
{
    put(tables, 2, target);
}

void
host_tables_put_hop(struct host_tables *tables, const struct service_hop *hop)
{
    put(tables, 3, hop);
}

bool
host_tables_remove_address(struct host_tables *tables,
                           const struct in6_addr *address)
{
    struct service_address key = {.address = *address};
    return removed(tables, 0, &key);
}

bool
host_tables_remove_rule(struct host_tables *tables,
                        const struct service_prefix *prefix)
{
    struct service_rule key = {.prefix = *prefix};
    return removed(tables, 1, &key);
}

bool
host_tables_remove_target(struct host_tables *tables,
                          const struct local_target *key)
{
    return removed(tables, 2, key);
}

bool
host_tables_remove_hop(struct host_tables *tables,
                       const struct service_hop *key)
{
    return removed(tables, 3, key);
}

static bool
settings_equal(const struct host_settings *a, const struct host_settings *b)
{
    return a->identity_v4 == b->identity_v4
           && a->resolver_v4 == b->resolver_v4
           && !memcmp(&a->identity_v6, &b->identity_v6, sizeof a->identity_v6)
           && !memcmp(&a->resolver_v6, &b->resolver_v6, sizeof a->resolver_v6)
           && a->prefer_v6 == b->prefer_v6 && a->sal_port == b->sal_port
           && a->router == b->router
           && !memcmp(a->endpoint_id, b->endpoint_id, sizeof a->endpoint_id);
}

/* Leading bits that two IDs share. */
static unsigned int
common_bits(const struct service_id *a, const struct service_id *b)
{
    for (size_t i = 0; i < sizeof a->bytes; i++) {
        uint8_t differ = a->bytes[i] ^ b->bytes[i];
        if (differ) {
            return i * 8 + __builtin_clz(differ) - 24;
        }
    }
    return SAL_SERVICE_ID_BITS;
}

/* Rules are sorted by bits, then length: what covers 'id' comes before it, and
 * is no longer than what it has in common with the last rule before it. */
const struct service_rule *
host_tables_find_rule(const struct host_tables *tables,
                      const struct service_id *id)
{
    struct service_rule key = {.prefix = {.id = *id,
                                          .len = SAL_SERVICE_ID_BITS}};
    struct table table[N_TABLES];
    size_t i;

    tables_of(CONST_CAST(struct host_tables *, tables), table);
    for (;;) {
        if (table_find(&table[1], &key, &i)) {
            return &tables->rules[i];
        }
        if (!i) {
            return NULL;
        }
        const struct service_prefix *before = &tables->rules[i - 1].prefix;
        unsigned int common = common_bits(&before->id, id);
        if (common >= before->len) {
            return &tables->rules[i - 1];
        }
        key.prefix = (struct service_prefix) {.id = *id, .len = common};
        service_prefix_normalize(&key.prefix);
    }
}

const struct service_hop *
host_tables_find_hops(const struct host_tables *tables,
                      const struct service_prefix *prefix, size_t *ret_n)
{
    const struct service_hop key = {.prefix = *prefix};
    struct table table[N_TABLES];
    size_t first, n = 0;

    tables_of(CONST_CAST(struct host_tables *, tables), table);
    table_find(&table[3], &key, &first);
    while (first + n < tables->n_hops
           && service_prefix_equal(&tables->hops[first + n].prefix, prefix)) {
        n++;
    }
    *ret_n = n;
    return tables->hops + first;
}

bool
host_tables_equal(const struct host_tables *a_, const struct host_tables *b_)
{
    struct table a[N_TABLES], b[N_TABLES];
    tables_of(CONST_CAST(struct host_tables *, a_), a);
    tables_of(CONST_CAST(struct host_tables *, b_), b);
    for (int t = 0; t < N_TABLES; t++) {
        if (*a[t].n != *b[t].n) {
            return false;
        }
        for (size_t i = 0; i < *a[t].n; i++) {
            if (!a[t].equal(table_at(&a[t], i), table_at(&b[t], i))) {
                return false;
            }
        }
    }
    return settings_equal(&a_->settings, &b_->settings);
}

/* Merges two sorted tables. */
static void
table_diff(const struct table *old, const struct table *new,
           struct table *to_put, struct table *to_remove)
{
    size_t i = 0, j = 0;
    while (i < *old->n || j < *new->n) {
        int cmp = i >= *old->n   ? 1
                  : j >= *new->n ? -1
                                 : old->compare(table_at(old, i),
                                                table_at(new, j));
        if (cmp < 0) {
            table_put(to_remove, table_at(old, i++));
        } else if (cmp > 0) {
            table_put(to_put, table_at(new, j++));
        } else {
            if (!old->equal(table_at(old, i), table_at(new, j))) {
                table_put(to_put, table_at(new, j));
            }
            i++;
            j++;
        }
    }
}

void
host_tables_diff(const struct host_tables *installed,
                 const struct host_tables *desired,
                 struct host_tables_diff *diff)
{
    struct table old[N_TABLES], new[N_TABLES];
    struct table to_put[N_TABLES], to_remove[N_TABLES];

    memset(diff, 0, sizeof *diff);
    tables_of(CONST_CAST(struct host_tables *, installed), old);
    tables_of(CONST_CAST(struct host_tables *, desired), new);
    tables_of(&diff->put, to_put);
    tables_of(&diff->remove, to_remove);
    for (int t = 0; t < N_TABLES; t++) {
        table_diff(&old[t], &new[t], &to_put[t], &to_remove[t]);
    }
    diff->settings_changed =
        !settings_equal(&installed->settings, &desired->settings);
    if (diff->settings_changed) {
        diff->put.settings = desired->settings;
    }
}

void
host_tables_diff_destroy(struct host_tables_diff *diff)
{
    if (diff) {
        host_tables_destroy(&diff->put);
        host_tables_destroy(&diff->remove);
    }
}

bool
host_tables_diff_is_empty(const struct host_tables_diff *diff)
{
    return !diff->settings_changed && !diff->put.n_addresses
           && !diff->put.n_rules && !diff->put.n_targets
           && !diff->put.n_hops && !diff->remove.n_addresses
           && !diff->remove.n_rules && !diff->remove.n_targets
           && !diff->remove.n_hops;
}

void
host_tables_diff_apply(const struct host_tables_diff *diff,
                       struct host_tables *tables)
{
    struct table to_put[N_TABLES], to_remove[N_TABLES], table[N_TABLES];
    tables_of(CONST_CAST(struct host_tables *, &diff->put), to_put);
    tables_of(CONST_CAST(struct host_tables *, &diff->remove), to_remove);
    tables_of(tables, table);
    for (int t = 0; t < N_TABLES; t++) {
        for (size_t i = 0; i < *to_put[t].n; i++) {
            table_put(&table[t], table_at(&to_put[t], i));
        }
        for (size_t i = 0; i < *to_remove[t].n; i++) {
            table_remove(&table[t], table_at(&to_remove[t], i));
        }
    }
    if (diff->settings_changed) {
        tables->settings = diff->put.settings;
    }
}
