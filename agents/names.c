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
    hmap_init(&names->by_v6);
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
        hmap_destroy(&names->by_v6);
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
        static const uint8_t no_net[16];
        uint8_t v6[16];
        service_address_v6(prefix, no_net, v6);
        memcpy(entry->v6, v6 + 6, sizeof entry->v6);
        hmap_insert(&names->by_v6, &entry->v6_node,
                    hash_bytes(entry->v6, sizeof entry->v6, 0));
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
    hmap_remove(&names->by_v6, &entry->v6_node);
    free(entry->ports);
    free(entry);
    names->serial++;
}

static int
compare_ports(const void *a_, const void *b_)
{
    const struct names_port *a = a_, *b = b_;

    return a->protocol != b->protocol ? a->protocol - b->protocol
                                      : a->port - b->port;
}

bool
names_set_ports(struct names *names, const struct service_prefix *prefix,
                struct names_port ports[], size_t n)
{
    struct names_entry *entry = CONST_CAST(struct names_entry *,
                                           names_by_prefix(names, prefix));
    bool equal;

    if (!entry) {
        return false;
    }
    n = MIN(n, NAMES_MAX_PORTS);
    if (n) {
        qsort(ports, n, sizeof *ports, compare_ports);
    }
    equal = entry->n_ports == n;
    for (size_t i = 0; equal && i < n; i++) {
        equal = !compare_ports(&entry->ports[i], &ports[i]);
    }
    if (equal) {
        return false;
    }
    free(entry->ports);
    entry->ports = n ? xmemdup(ports, n * sizeof *ports) : NULL;
    entry->n_ports = n;
    names->serial++;
    return true;
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
names_by_v6(const struct names *names, const uint8_t v6[10])
{
    const struct names_entry *entry;

    HMAP_FOR_EACH_WITH_HASH (entry, v6_node, hash_bytes(v6, 10, 0),
                             &names->by_v6) {
        if (!memcmp(entry->v6, v6, sizeof entry->v6)) {
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
