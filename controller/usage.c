/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/usage.h"

#include <stdlib.h>
#include "hash.h"
#include "util.h"

struct usage_entry {
    struct hmap_node node;
    struct service_prefix prefix;
    uint64_t misses;      /* In this interval. */
    double rate;          /* Of rules, noted in this interval. */
    uint32_t use;         /* Of the interval before. */
};

void
usage_init(struct usage *usage)
{
    hmap_init(&usage->entries);
}

void
usage_destroy(struct usage *usage)
{
    struct usage_entry *entry;
    HMAP_FOR_EACH_POP (entry, node, &usage->entries) {
        free(entry);
    }
    hmap_destroy(&usage->entries);
}

static uint32_t
hash_prefix(const struct service_prefix *prefix)
{
    return hash_bytes(prefix, sizeof *prefix, 0);
}

static struct usage_entry *
find(const struct usage *usage, const struct service_prefix *prefix)
{
    struct usage_entry *entry;
    HMAP_FOR_EACH_WITH_HASH (entry, node, hash_prefix(prefix),
                             &usage->entries) {
        if (service_prefix_equal(&entry->prefix, prefix)) {
            return entry;
        }
    }
    return NULL;
}

static struct usage_entry *
get(struct usage *usage, const struct service_prefix *prefix)
{
    struct usage_entry *entry = find(usage, prefix);
    if (!entry) {
        entry = xzalloc(sizeof *entry);
        entry->prefix = *prefix;
        hmap_insert(&usage->entries, &entry->node, hash_prefix(prefix));
    }
    return entry;
}

void
usage_note_miss(struct usage *usage, const struct service_prefix *prefix)
{
    get(usage, prefix)->misses++;
}

void
usage_note_rule(struct usage *usage, const struct service_prefix *prefix,
                uint64_t n_packets, uint32_t duration_s)
{
    if (n_packets) {
        get(usage, prefix)->rate += n_packets / (double) MAX(duration_s, 1);
    }
}

static uint32_t
steps(double rate)
{
    uint64_t hundredths = rate * 100;
    return hundredths ? log_2_floor(hundredths) + 1 : 0;
}

void
usage_turn(struct usage *usage, uint32_t ms)
{
    struct usage_entry *entry;
    HMAP_FOR_EACH_SAFE (entry, node, &usage->entries) {
        entry->use = steps(MAX(entry->rate, entry->misses * 1000.0 / ms));
        entry->rate = 0;
        entry->misses = 0;
        if (!entry->use) {
            hmap_remove(&usage->entries, &entry->node);
            free(entry);
        }
    }
}

uint32_t
usage_of(const struct service_prefix *prefix, const void *usage)
{
    const struct usage_entry *entry = find(usage, prefix);
    return entry ? entry->use : 0;
}
