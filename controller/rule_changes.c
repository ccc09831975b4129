/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/rule_changes.h"

#include <stdlib.h>
#include <string.h>
#include "controller/rule_bundle.h"
#include "openvswitch/ofp-flow.h"
#include "openvswitch/ofp-group.h"
#include "openvswitch/ofpbuf.h"
#include "openvswitch/util.h"
#include "hash.h"
#include "util.h"

void
rule_changes_destroy(struct rule_changes *changes)
{
    if (changes) {
        free(changes->changes);
        *changes = (struct rule_changes) RULE_CHANGES_INITIALIZER;
    }
}

void
rule_changes_add(struct rule_changes *changes, enum rule_op op,
                 const struct rule *rule)
{
    if (changes->n >= changes->allocated) {
        changes->changes = x2nrealloc(changes->changes, &changes->allocated,
                                      sizeof *changes->changes);
    }
    changes->changes[changes->n++] = (struct rule_change) {op, *rule};
}

/* Order. */

enum phase { PHASE_NEW, PHASE_SERVICES, PHASE_GOING };

static enum phase
phase_of(const struct rule_change *change)
{
    return rule_is_bundled(&change->rule) ? PHASE_SERVICES
           : change->op == RULE_DELETE ? PHASE_GOING : PHASE_NEW;
}

/* For IPv4 and IPv6. */
static int
compare_services(const struct rule *a, const struct rule *b)
{
    int diff = memcmp(&a->service, &b->service, sizeof a->service);

    return diff ? diff
           : a->prefix_len != b->prefix_len
               ? (a->prefix_len < b->prefix_len ? -1 : 1)
           : a->protocol - b->protocol;
}

bool
rule_changes_same_service(const struct rule_change *a,
                          const struct rule_change *b)
{
    return phase_of(a) == PHASE_SERVICES && phase_of(b) == PHASE_SERVICES
           && !compare_services(&a->rule, &b->rule);
}

/* A change and most of what decides where it goes, so that few comparisons
 * have to look at the rules: they are large and far apart. */
struct ranked_change {
    uint64_t rank;
    const struct rule_change *change;
};

/* Services come by their hash: any order would do. */
static uint64_t
rank_of(const struct rule_change *change)
{
    const struct rule *rule = &change->rule;
    uint64_t phase = phase_of(change), rest;

    if (phase == PHASE_SERVICES) {
        rest = hash_bytes(&rule->service, sizeof rule->service,
                          rule->prefix_len << 8 | rule->protocol);
    } else {
        uint8_t table = rule_table_id(rule);
        uint16_t priority = UINT16_MAX - rule_priority(rule);
        rest = (phase == PHASE_NEW ? UINT8_MAX - table : table) << 16
               | priority;
    }
    return phase << 32 | rest;
}

static int
compare_changes(const void *a_, const void *b_)
{
    const struct ranked_change *a = a_, *b = b_;

    if (a->rank != b->rank) {
        return a->rank < b->rank ? -1 : 1;
    }
    const struct rule_change *x = a->change, *y = b->change;
    if (phase_of(x) == PHASE_SERVICES) {
        bool x_deletes = x->op == RULE_DELETE;
        int services = compare_services(&x->rule, &y->rule);
        if (services) {
            return services;
        }
        if (x_deletes != (y->op == RULE_DELETE)) {
            return x_deletes ? 1 : -1;
        }
    }
    return memcmp(&x->rule, &y->rule, RULE_KEY_LEN);
}

void
rule_changes_sort(struct rule_changes *changes)
{
    struct rule_change *sorted;
    struct ranked_change *ranked;
    size_t n = 0;

    if (changes->n < 2) {
        return;
    }
    ranked = xmalloc(changes->n * sizeof *ranked);
    for (size_t i = 0; i < changes->n; i++) {
        const struct rule_change *change = &changes->changes[i];
        ranked[i] = (struct ranked_change) {rank_of(change), change};
    }
    qsort(ranked, changes->n, sizeof *ranked, compare_changes);
    sorted = xmalloc(changes->n * sizeof *sorted);
    for (size_t i = 0; i < changes->n; i++) {
        const struct rule_change *change = ranked[i].change;
        if (!n || !rule_same_key(&sorted[n - 1].rule, &change->rule)) {
            sorted[n++] = *change;
        }
    }
    free(ranked);
    free(changes->changes);
    changes->changes = sorted;
    changes->allocated = changes->n;
    changes->n = n;
}

/* Messages. */

struct ofpbuf *
rule_change_encode(const struct rule_change *change,
                   const struct rule_dialect *dialect)
{
    if (rule_is_group(&change->rule)) {
        static const int commands[] = {OFPGC11_ADD, OFPGC11_MODIFY,
                                       OFPGC11_DELETE};
        return rule_encode_group(&change->rule, dialect,
                                 commands[change->op]);
    }

    if (change->rule.kind == RULE_METER) {
        static const int commands[] = {OFPMC13_ADD, OFPMC13_MODIFY,
                                       OFPMC13_DELETE};
        return rule_encode_meter(&change->rule, dialect,
                                 commands[change->op]);
    }

    uint64_t stub[1024 / 8];
    struct ofpbuf ofpacts = OFPBUF_STUB_INITIALIZER(stub);
    struct ofputil_flow_mod fm;
    struct ofpbuf *message = NULL;
    int command = change->op == RULE_DELETE ? OFPFC_DELETE_STRICT : OFPFC_ADD;

    if (!rule_to_flow_mod(&change->rule, dialect, command, &ofpacts, &fm)) {
        message = ofputil_encode_flow_mod(&fm, dialect->protocol);
        minimatch_destroy(&fm.match);
    }
    ofpbuf_uninit(&ofpacts);
    return message;
}
