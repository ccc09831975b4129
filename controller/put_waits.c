/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/put_waits.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "hash.h"
#include "openvswitch/hmap.h"
#include "openvswitch/util.h"
#include "util.h"

struct wait {
    struct hmap_node node;
    struct rule key; /* A rule of what waits. */
    long long since;
    bool held;       /* Since put_waits_begin(). */
};

struct put_waits {
    struct hmap waits;
};

struct put_waits *
put_waits_create(void)
{
    struct put_waits *waits = xmalloc(sizeof *waits);

    hmap_init(&waits->waits);
    return waits;
}

void
put_waits_destroy(struct put_waits *waits)
{
    struct wait *wait;

    if (waits) {
        HMAP_FOR_EACH_POP (wait, node, &waits->waits) {
            free(wait);
        }
        hmap_destroy(&waits->waits);
        free(waits);
    }
}

/* An address or a group's number stands where services have theirs. */
static bool
is_of_same(const struct rule *a, const struct rule *b)
{
    return a->kind == b->kind && a->protocol == b->protocol
           && a->prefix_len == b->prefix_len
           && !memcmp(&a->service, &b->service, sizeof a->service);
}

static uint32_t
hash_key(const struct rule *rule)
{
    return hash_bytes(&rule->service, sizeof rule->service,
                      rule->kind + (rule->protocol << 8));
}

static struct wait *
find(const struct put_waits *waits, const struct rule *rule)
{
    struct wait *wait;

    HMAP_FOR_EACH_WITH_HASH (wait, node, hash_key(rule), &waits->waits) {
        if (is_of_same(&wait->key, rule)) {
            return wait;
        }
    }
    return NULL;
}

void
put_waits_begin(struct put_waits *waits)
{
    struct wait *wait;

    HMAP_FOR_EACH (wait, node, &waits->waits) {
        wait->held = false;
    }
}

bool
put_waits_hold(struct put_waits *waits, const struct rule *rule,
               long long now, long long patience_ms)
{
    struct wait *wait = find(waits, rule);

    if (!wait) {
        wait = xzalloc(sizeof *wait);
        wait->key = *rule;
        wait->since = now;
        hmap_insert(&waits->waits, &wait->node, hash_key(rule));
    }
    wait->held |= now - wait->since < patience_ms;
    return wait->held;
}

bool
put_waits_has(const struct put_waits *waits, const struct rule *rule)
{
    const struct wait *wait = find(waits, rule);
    return wait && wait->held;
}

long long
put_waits_age(const struct put_waits *waits, const struct rule *rule,
              long long now)
{
    const struct wait *wait = find(waits, rule);
    return wait ? now - wait->since : 0;
}

long long
put_waits_end(struct put_waits *waits)
{
    long long since = LLONG_MAX;
    struct wait *wait;

    HMAP_FOR_EACH_SAFE (wait, node, &waits->waits) {
        if (wait->held) {
            since = MIN(since, wait->since);
        } else {
            hmap_remove(&waits->waits, &wait->node);
            free(wait);
        }
    }
    return since;
}
