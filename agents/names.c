/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/names.h"

#include <stdlib.h>
#include <string.h>
#include "hash.h"
#include "util.h"

void
names_init(struct names *names)
{
    hmap_init(&names->by_prefix);
    hmap_init(&names->by_address);
    shash_init(&names->by_name);
    shash_init(&names->parents);
    names->serial = 1;
}

void
names_destroy(struct names *names)
{
    if (names) {
        names_clear(names);
        hmap_destroy(&names->by_prefix);
        hmap_destroy(&names->by_address);
        shash_destroy(&names->by_name);
        shash_destroy(&names->parents);
    }
}

static uint32_t
hash_prefix(const struct service_prefix *prefix)
{
    return hash_bytes(prefix->id.bytes, sizeof prefix->id.bytes, prefix->len);
}

/* Calls for each proper parent of 'name': one name more, or less, below it. */
static void
count_parents(struct names *names, const char *name, int delta)
{
    for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot, '.')) {
        const char *parent = ++dot;
        struct shash_node *node = shash_find(&names->parents, parent);
        intptr_t count = (node ? (intptr_t) node->data : 0) + delta;

        if (!node) {
            shash_add(&names->parents, parent, (void *) count);
        } else if (count) {
            node->data = (void *) count;
        } else {
            shash_delete(&names->parents, node);
        }
    }
}

static void
set_address(struct names *names, struct names_entry *entry, uint32_t address)
{
    if (entry->address) {
        hmap_remove(&names->by_address, &entry->address_node);
    }
    entry->address = address;
    if (address) {
        struct names_entry *other = CONST_CAST(
            struct names_entry *, names_by_address(names, address));
        if (other) {
            set_address(names, other, 0);
        }
        hmap_insert(&names->by_address, &entry->address_node,
                    hash_int(address, 0));
    }
}

static void
set_name(struct names *names, struct names_entry *entry, const char *name)
{
    if (entry->name && entry->name[0]) {
        count_parents(names, entry->name, -1);
        /* Another entry may have taken the name over. */
        struct shash_node *node = shash_find(&names->by_name, entry->name);
        if (node && node->data == entry) {
            shash_delete(&names->by_name, node);
        }
    }
    free(entry->name);
    entry->name = name ? xstrdup(name) : NULL;
    if (name && name[0]) {
        shash_replace(&names->by_name, name, entry);
        count_parents(names, name, 1);
    }
}

bool
names_put(struct names *names, const char *name,
          const struct service_prefix *prefix, uint32_t address)
{
    struct names_entry *entry = CONST_CAST(struct names_entry *,
                                           names_by_prefix(names, prefix));
    if (!name) {
        name = "";
    }
    if (entry && entry->address == address && !strcmp(entry->name, name)) {
        return false;
    }
    if (!entry) {
        entry = xzalloc(sizeof *entry);
        entry->prefix = *prefix;
        hmap_insert(&names->by_prefix, &entry->prefix_node,
                    hash_prefix(prefix));
    }
    if (!entry->name || strcmp(entry->name, name)) {
        set_name(names, entry, name);
    }
    if (entry->address != address) {
        set_address(names, entry, address);
    }
    names->serial++;
    return true;
}

static void
remove_entry(struct names *names, struct names_entry *entry)
{
    set_address(names, entry, 0);
    set_name(names, entry, NULL);
    hmap_remove(&names->by_prefix, &entry->prefix_node);
    free(entry);
    names->serial++;
}

bool
names_remove(struct names *names, const struct service_prefix *prefix)
{
    struct names_entry *entry = CONST_CAST(struct names_entry *,
                                           names_by_prefix(names, prefix));
    if (!entry) {
        return false;
    }
    remove_entry(names, entry);
    return true;
}

void
names_clear(struct names *names)
{
    struct names_entry *entry;

    HMAP_FOR_EACH_SAFE (entry, prefix_node, &names->by_prefix) {
        remove_entry(names, entry);
    }
}

size_t
names_count(const struct names *names)
{
    return hmap_count(&names->by_prefix);
}

const struct names_entry *
names_by_prefix(const struct names *names, const struct service_prefix *prefix)
{
    const struct names_entry *entry;

    HMAP_FOR_EACH_WITH_HASH (entry, prefix_node, hash_prefix(prefix),
                             &names->by_prefix) {
        if (service_prefix_equal(&entry->prefix, prefix)) {
            return entry;
        }
    }
    return NULL;
}

const struct names_entry *
names_by_name(const struct names *names, const char *name)
{
    return shash_find_data(&names->by_name, name);
}

const struct names_entry *
names_by_address(const struct names *names, uint32_t address)
{
    const struct names_entry *entry;

    HMAP_FOR_EACH_WITH_HASH (entry, address_node, hash_int(address, 0),
                             &names->by_address) {
        if (entry->address == address) {
            return entry;
        }
    }
    return NULL;
}

const struct names_entry *
names_by_service_id(const struct names *names, const struct service_id *id)
{
    struct service_prefix prefix = {.id = *id};

    for (int len = SAL_SERVICE_ID_BITS; len >= 0; len--) {
        prefix.len = len;
        service_prefix_normalize(&prefix);
        const struct names_entry *entry = names_by_prefix(names, &prefix);
        if (entry) {
            return entry;
        }
    }
    return NULL;
}

enum names_result
names_lookup(const struct names *names, const char *name,
             const struct names_entry **ret_entry)
{
    const struct names_entry *entry = names_by_name(names, name);
    if (entry) {
        *ret_entry = entry;
        return NAMES_FOUND;
    }
    return (shash_find(&names->parents, name) ? NAMES_PARENT
                                              : NAMES_UNKNOWN);
}

const struct names_entry *
names_covering(const struct names *names, const char *name,
               const struct service_id *id)
{
    for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot, '.')) {
        const struct names_entry *entry = names_by_name(names, ++dot);
        if (entry && service_prefix_contains_id(&entry->prefix, id)) {
            return entry;
        }
    }
    return NULL;
}

static int
compare_entries(const void *a_, const void *b_)
{
    const struct names_entry *a = *(const struct names_entry *const *) a_;
    const struct names_entry *b = *(const struct names_entry *const *) b_;
    int order = strcmp(a->name, b->name);
    return order ? order : service_prefix_compare(&a->prefix, &b->prefix);
}

const struct names_entry **
names_sorted(const struct names *names, size_t *ret_n)
{
    size_t n = 0;
    const struct names_entry **array
        = xmalloc((names_count(names) + 1) * sizeof *array);
    const struct names_entry *entry;

    HMAP_FOR_EACH (entry, prefix_node, &names->by_prefix) {
        array[n++] = entry;
    }
    qsort(array, n, sizeof *array, compare_entries);
    *ret_n = n;
    return array;
}

bool
names_strip_suffix(const char *name, const char *suffix,
                   char buf[SERVICE_NAME_MAX + 1])
{
    size_t len = strlen(name);
    size_t suffix_len = strlen(suffix);

    if (len && name[len - 1] == '.') {
        len--;
    }
    if (len < suffix_len
        || strncasecmp(name + len - suffix_len, suffix, suffix_len)) {
        return false;
    }
    len -= suffix_len;
    if (len) {
        if (name[len - 1] != '.' || --len > SERVICE_NAME_MAX) {
            return false;
        }
    }
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        buf[i] = c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
    }
    buf[len] = '\0';
    return true;
}
