/* SPDX-License-Identifier: Apache-2.0 */
/* State for people (text) and programs (JSON). */
#include "agents/datapath_private.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agents/datapath_cursor.h"
#include "agents/flow_format.h"
#include "agents/sal.skel.h"
#include "openvswitch/json.h"
#include "util.h"

static const struct {
    const char *name, *text;
} counter_names[SAL_N_COUNTERS] = {
#define X(ID, NAME, TEXT) {NAME, TEXT},
    SAL_COUNTERS(X)
#undef X
};

static void
put_json(struct json *json, struct ds *out)
{
    json_to_ds(json, JSSF_PRETTY | JSSF_SORT, out);
    ds_put_char(out, '\n');
    json_destroy(json);
}

static void
put_u64(struct json *object, const char *name, uint64_t value)
{
    json_object_put(object, name, json_integer_create(value));
}

static void
put_addr(struct json *object, const char *name, const struct sal_addr *addr)
{
    char buf[INET6_ADDRSTRLEN];
    json_object_put_string(object, name, sal_addr_format(addr, buf));
}

/* Counters. */

static uint64_t
read_counter(const struct datapath *dp, uint32_t counter)
{
    int n_cpus = libbpf_num_possible_cpus();
    uint64_t *values = xcalloc(MAX(n_cpus, 1), sizeof *values), total = 0;
    if (!bpf_map_lookup_elem(bpf_map__fd(dp->skeleton->maps.sal_counters),
                             &counter, values)) {
        for (int cpu = 0; cpu < n_cpus; cpu++) {
            total += values[cpu];
        }
    }
    free(values);
    return total;
}

static void
read_counters(struct datapath *dp, uint64_t totals[SAL_N_COUNTERS])
{
    for (uint32_t i = 0; i < SAL_N_COUNTERS; i++) {
        totals[i] = read_counter(dp, i);
    }
}

void
datapath_format_counters(struct datapath *dp, bool as_json, struct ds *out)
{
    uint64_t totals[SAL_N_COUNTERS];
    read_counters(dp, totals);
    if (as_json) {
        struct json *object = json_object_create();
        for (int i = 0; i < SAL_N_COUNTERS; i++) {
            put_u64(object, counter_names[i].name, totals[i]);
        }
        put_json(object, out);
        return;
    }
    for (int i = 0; i < SAL_N_COUNTERS; i++) {
        if (totals[i]) {
            ds_put_format(out, "%-22s %12"PRIu64"  %s\n",
                          counter_names[i].name, totals[i],
                          counter_names[i].text);
        }
    }
}

/* Flows. */

static uint64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

void
datapath_format_flows(struct datapath *dp, bool as_json, struct ds *out)
{
    struct json *array = as_json ? json_array_create_empty() : NULL;
    struct flow_cursor *cursor = flow_cursor_open(dp);
    const struct sal_flow *flows;
    uint64_t now = now_ns();
    size_t n;

    while ((n = flow_cursor_next(cursor, &flows))) {
        for (size_t i = 0; i < n; i++) {
            if (as_json) {
                json_array_add(array, flow_to_json(&flows[i], now));
            } else {
                flow_put_text(&flows[i], NULL, now, out);
            }
        }
    }
    flow_cursor_close(cursor);
    if (as_json) {
        put_json(array, out);
    }
}

/* Counting them takes the longer the more there are. */
uint64_t
datapath_n_flows(const struct datapath *dp)
{
    uint64_t removed = read_counter(dp, SAL_COUNT_FLOW_REMOVED);
    uint64_t entered = read_counter(dp, SAL_COUNT_FLOW_ENTERED);
    return entered > removed ? entered - removed : 0;
}

/* That table is small. */
static uint64_t
n_half_flows(const struct datapath *dp)
{
    struct flow_cursor *cursor = flow_cursor_open(dp);
    const struct sal_flow *flows;
    uint64_t total = 0;
    size_t n;

    while ((n = flow_cursor_next(cursor, &flows))
           && !flow_cursor_in_bound(cursor)) {
        total += n;
    }
    flow_cursor_close(cursor);
    return total;
}

/* Status. */

static struct json *
uplinks_to_json(const struct datapath *dp)
{
    struct json *array = json_array_create_empty();
    for (size_t i = 0; i < dp->n_uplinks; i++) {
        struct device_info info;
        if (device_query(dp->uplinks[i].ifindex, &info)) {
            continue;
        }
        struct json *uplink = json_object_create();
        json_object_put_string(uplink, "interface", info.name);
        put_u64(uplink, "ifindex", info.ifindex);
        put_u64(uplink, "mtu", info.mtu);
        json_object_put_string(uplink, "ingress",
                               dp->uplinks[i].tcx ? "tcx" : "clsact");
        json_object_put(uplink, "xdp",
                        json_boolean_create(dp->uplinks[i].xdp));
        struct json *locators = json_array_create_empty();
        for (size_t j = 0; j < info.n_addresses; j++) {
            struct sal_addr addr;
            char buf[INET6_ADDRSTRLEN];
            addr_from_in6(&addr, &info.addresses[j].address);
            sal_addr_format(&addr, buf);
            json_array_add(locators, json_string_create(buf));
        }
        json_object_put(uplink, "locators", locators);
        json_array_add(array, uplink);
    }
    return array;
}

static struct json *
status_to_json(struct datapath *dp)
{
    struct sal_settings settings = {0};
    struct device_info device = {0};
    struct json *status = json_object_create();

    datapath_get_settings(dp, &settings);
    if (dp->sal_ifindex && !device_query(dp->sal_ifindex, &device)) {
        json_object_put_string(status, "device", device.name);
        put_u64(status, "mtu", device.mtu);
        json_object_put_string(status, "egress",
                               dp->egress_tcx ? "tcx" : "clsact");
    }
    json_object_put_string(status, "close_tracking",
                           settings.flags & SAL_SETTINGS_SOCKOPS
                           ? "sockops" : "fin-rst");
    put_addr(status, "identity_v4", &settings.identity_v4);
    put_addr(status, "resolver_v4", &settings.resolver_v4);
    put_addr(status, "identity_v6", &settings.identity_v6);
    put_addr(status, "resolver_v6", &settings.resolver_v6);
    put_u64(status, "sal_port", ntohs(settings.sal_port));
    put_u64(status, "layout", settings.layout);
    json_object_put(status, "uplinks", uplinks_to_json(dp));

    const struct bpf_map *flows = dp->skeleton->maps.sal_flows;
    put_u64(status, "flows", datapath_n_flows(dp));
    put_u64(status, "max_flows", bpf_map__max_entries(flows));
    put_u64(status, "half_flows", n_half_flows(dp));
    put_u64(status, "max_flows_per_client", settings.max_flows_per_client);
    put_u64(status, "max_flows_per_service", settings.max_flows_per_service);
    return status;
}

/* "name: value", one a line; a nested value as JSON. */
static void
status_to_text(const struct json *status, struct ds *out)
{
    const struct shash_node **nodes = shash_sort(json_object(status));
    size_t n = shash_count(json_object(status));
    for (size_t i = 0; i < n; i++) {
        const struct json *value = nodes[i]->data;
        ds_put_format(out, "%s: ", nodes[i]->name);
        if (value->type == JSON_STRING) {
            ds_put_cstr(out, json_string(value));
        } else {
            json_to_ds(value, JSSF_SORT, out);
        }
        ds_put_char(out, '\n');
    }
    free(nodes);
}

void
datapath_format_status(struct datapath *dp, bool as_json, struct ds *out)
{
    struct json *status = status_to_json(dp);
    if (as_json) {
        put_json(status, out);
    } else {
        status_to_text(status, out);
        json_destroy(status);
    }
}
