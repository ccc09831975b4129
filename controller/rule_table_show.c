/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of rules as text and JSON, in the order of the pipeline. */
#include "controller/rule_table.h"

#include <stdlib.h>
#include <string.h>
#include "controller/rule_bundle.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "util.h"

static int
compare_in_pipeline(const void *a_, const void *b_)
{
    const struct rule *a = a_, *b = b_;
    int tables = rule_table_id(a) - rule_table_id(b);
    if (tables) {
        return tables;
    }
    int priorities = rule_priority(a) - rule_priority(b);
    if (priorities) {
        return -priorities;
    }
    if (rule_is_bundled(a) && rule_is_bundled(b)) {
        int services = memcmp(&a->service, &b->service, sizeof a->service);
        if (services) {
            return services;
        }
    }
    return memcmp(a, b, RULE_KEY_LEN);
}

/* The caller frees the array. */
static struct rule *
sorted_rules(const struct rule_table *table, size_t *ret_n)
{
    struct rule *sorted = xmalloc((rule_table_count(table) + 1)
                                  * sizeof *sorted);
    size_t i = 0, n = 0;
    for (const struct rule *rule; (rule = rule_table_next(table, &i));) {
        sorted[n++] = *rule;
    }
    qsort(sorted, n, sizeof *sorted, compare_in_pipeline);
    *ret_n = n;
    return sorted;
}

void
rule_table_format(const struct rule_table *table, struct ds *s)
{
    size_t n;
    struct rule *sorted = sorted_rules(table, &n);
    for (size_t i = 0; i < n; i++) {
        rule_format(&sorted[i], s);
        ds_put_char(s, '\n');
    }
    free(sorted);
}

struct json *
rule_table_to_json(const struct rule_table *table)
{
    size_t n;
    struct rule *sorted = sorted_rules(table, &n);
    struct json *array = json_array_create_empty();
    for (size_t i = 0; i < n; i++) {
        struct ds s = DS_EMPTY_INITIALIZER;
        rule_format(&sorted[i], &s);
        json_array_add(array, json_string_create(ds_cstr(&s)));
        ds_destroy(&s);
    }
    free(sorted);
    return array;
}
