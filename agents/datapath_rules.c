/* SPDX-License-Identifier: Apache-2.0 */
/* The service table as it is in the data plane, with its counters. */
#include "agents/datapath_private.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "agents/names.h"
#include "agents/sal.skel.h"
#include "agents/service_routes.h"
#include "openvswitch/json.h"
#include "util.h"

static uint64_t
rule_hits(struct datapath *dp, const struct sal_rule_key *key)
{
    struct sal_rule rule;
    return !bpf_map_lookup_elem(bpf_map__fd(dp->skeleton->maps.sal_rules), key,
                                &rule)
           && rule.prefixlen == key->prefixlen ? rule.hits : 0;
}

static uint64_t
target_hits(struct datapath *dp, const struct local_target *target)
{
    struct sal_target_key key;
    struct sal_target value;

    memset(&key, 0, sizeof key);
    memcpy(key.prefix, target->prefix.id.bytes, sizeof key.prefix);
    key.prefixlen = target->prefix.len;
    key.service_port = htons(target->service_port);
    key.proto = target->protocol;
    return bpf_map_lookup_elem(bpf_map__fd(dp->skeleton->maps.sal_targets),
                               &key, &value)
           ? 0 : value.hits;
}

static struct json *
hops_to_json(const struct host_tables *t, const struct service_prefix *prefix)
{
    struct json *array = json_array_create_empty();
    for (size_t i = 0; i < t->n_hops; i++) {
        if (service_prefix_equal(&t->hops[i].prefix, prefix)) {
            struct route_hop hop = {.weight = t->hops[i].weight};
            char text[ROUTE_HOP_STRLEN];
            memcpy(hop.locator, t->hops[i].locator, sizeof hop.locator);
            json_array_add(array, json_string_create(
                               route_hop_format(&hop, text)));
        }
    }
    return array;
}

static struct json *
targets_to_json(struct datapath *dp, const struct host_tables *t,
                const struct service_prefix *prefix)
{
    struct json *array = json_array_create_empty();
    for (size_t i = 0; i < t->n_targets; i++) {
        const struct local_target *target = &t->targets[i];
        if (service_prefix_equal(&target->prefix, prefix)) {
            struct json *object = json_object_create();
            json_object_put(object, "protocol",
                            json_integer_create(target->protocol));
            json_object_put(object, "port",
                            json_integer_create(target->service_port));
            json_object_put(object, "hits", json_integer_create(
                                target_hits(dp, target)));
            json_array_add(array, object);
        }
    }
    return array;
}

static struct json *
rule_to_json(struct datapath *dp, const struct host_tables *t,
             const struct service_rule *rule, const struct names *names)
{
    const struct names_entry *entry = names_by_prefix(names, &rule->prefix);
    struct json *object = json_object_create();
    char prefix[SERVICE_PREFIX_STRLEN];
    struct sal_rule_key key = {.prefixlen = rule->prefix.len};

    memcpy(key.service_id, rule->prefix.id.bytes, sizeof key.service_id);
    json_object_put_string(object, "name", entry ? entry->name : "");
    json_object_put_string(object, "prefix",
                           service_prefix_format(&rule->prefix, prefix));
    json_object_put_string(object, "action",
                           service_action_name(rule->action));
    json_object_put(object, "hits",
                    json_integer_create(rule_hits(dp, &key)));
    json_object_put(object, "datagram", json_boolean_create(rule->datagram));
    json_object_put(object, "path_class",
                    json_integer_create(rule->path_class));
    json_object_put(object, "locators", hops_to_json(t, &rule->prefix));
    json_object_put(object, "targets", targets_to_json(dp, t, &rule->prefix));
    return object;
}

static void
rule_to_text(const struct json *rule, struct ds *out)
{
    const struct shash *object = json_object(rule);
    const char *name = json_string(shash_find_data(object, "name"));
    const struct json *hits = shash_find_data(object, "hits");
    const struct json *locators = shash_find_data(object, "locators");
    const struct json *datagram = shash_find_data(object, "datagram");

    ds_put_format(out, "%12"PRId64"  %-8s %s", json_integer(hits),
                  json_string(shash_find_data(object, "action")),
                  name[0] ? name
                          : json_string(shash_find_data(object, "prefix")));
    for (size_t i = 0; i < locators->array.n; i++) {
        ds_put_format(out, " %s", json_string(locators->array.elems[i]));
    }
    ds_put_format(out, "%s\n", datagram->type == JSON_TRUE ? " datagram" : "");
}

void
datapath_format_rules(struct datapath *dp, const struct names *names,
                      bool as_json, struct ds *out)
{
    struct json *array = json_array_create_empty();
    struct host_tables tables;

    datapath_installed(dp, &tables);
    for (size_t i = 0; i < tables.n_rules; i++) {
        json_array_add(array, rule_to_json(dp, &tables, &tables.rules[i],
                                           names));
    }
    if (as_json) {
        json_to_ds(array, JSSF_PRETTY | JSSF_SORT, out);
        ds_put_char(out, '\n');
    } else {
        for (size_t i = 0; i < array->array.n; i++) {
            rule_to_text(array->array.elems[i], out);
        }
    }
    json_destroy(array);
    host_tables_destroy(&tables);
}
