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
#include "agents/sal.skel.h"
#include "openvswitch/json.h"
#include "ofp-ext/service_id.h"
#include "util.h"

static const struct {
    const char *name, *text;
} counter_names[SAL_N_COUNTERS] = {
#define X(ID, NAME, TEXT) {NAME, TEXT},
    SAL_COUNTERS(X)
#undef X
};

/* A dump must end even while entries come and go. */
enum { MAX_DUMPED_FLOWS = 4 << 20 };

static const char *
format_addr(const struct sal_addr *addr, char buf[INET6_ADDRSTRLEN])
{
    if (!addr->w[0] && !addr->w[1] && addr->w[2] == htonl(SAL_ADDR_MAPPED)) {
        return inet_ntop(AF_INET, &addr->w[3], buf, INET6_ADDRSTRLEN);
    }
    return inet_ntop(AF_INET6, addr, buf, INET6_ADDRSTRLEN);
}

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
    json_object_put_string(object, name, format_addr(addr, buf));
}

/* Counters. */

static void
read_counters(struct datapath *dp, uint64_t totals[SAL_N_COUNTERS])
{
    int fd = bpf_map__fd(dp->skeleton->maps.sal_counters);
    int n_cpus = libbpf_num_possible_cpus();
    uint64_t *values = xcalloc(MAX(n_cpus, 1), sizeof *values);
    for (uint32_t i = 0; i < SAL_N_COUNTERS; i++) {
        totals[i] = 0;
        if (!bpf_map_lookup_elem(fd, &i, values)) {
            for (int cpu = 0; cpu < n_cpus; cpu++) {
                totals[i] += values[cpu];
            }
        }
    }
    free(values);
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

static const char *
state_name(const struct sal_flow *flow)
{
    switch (flow->state) {
    case SAL_FLOW_HALF_OPEN:
        return "half-open";
    case SAL_FLOW_BOUND:
        return "bound";
    case SAL_FLOW_CLOSING:
        return "closing";
    default:
        return "unknown";
    }
}

static struct json *
tuple_to_json(const struct sal_tuple *tuple)
{
    struct json *object = json_object_create();
    put_addr(object, "local", &tuple->local);
    put_addr(object, "remote", &tuple->remote);
    put_u64(object, "local_port", ntohs(tuple->lport));
    put_u64(object, "remote_port", ntohs(tuple->rport));
    put_u64(object, "protocol", tuple->proto);
    return object;
}

static void
service_to_string(const struct sal_flow *flow, char text[SERVICE_PREFIX_STRLEN])
{
    struct service_prefix prefix = {.len = SAL_SERVICE_ID_BITS};
    memcpy(prefix.id.bytes, flow->service_id, sizeof prefix.id.bytes);
    service_prefix_format(&prefix, text);
}

/* "" while it is unknown. */
static void
format_endpoint(const struct sal_flow *flow,
                char text[2 * SAL_ENDPOINT_ID_LEN + 1])
{
    static const uint8_t none[SAL_ENDPOINT_ID_LEN];

    text[0] = '\0';
    if (memcmp(flow->peer_endpoint, none, sizeof none)) {
        for (int i = 0; i < SAL_ENDPOINT_ID_LEN; i++) {
            sprintf(text + 2 * i, "%02x", flow->peer_endpoint[i]);
        }
    }
}

static struct json *
flow_to_json(const struct sal_flow *flow, uint64_t now)
{
    struct json *object = json_object_create();
    char service[SERVICE_PREFIX_STRLEN], id[16];
    char endpoint[2 * SAL_ENDPOINT_ID_LEN + 1];
    service_to_string(flow, service);
    snprintf(id, sizeof id, "0x%08x", ntohl(flow->id));
    json_object_put_string(object, "id", id);
    snprintf(id, sizeof id, "0x%08x", ntohl(flow->peer_id));
    json_object_put_string(object, "peer_id", id);
    json_object_put_string(object, "state", state_name(flow));
    json_object_put_string(object, "role", flow->flags & SAL_FLOW_SERVER
                                           ? "server" : "client");
    json_object_put_string(object, "service", service);
    json_object_put(object, "inner", tuple_to_json(&flow->local));
    json_object_put(object, "wire", tuple_to_json(&flow->wire));
    put_addr(object, "own_locator", &flow->own_locator);
    put_addr(object, "peer_locator", &flow->peer_locator);
    format_endpoint(flow, endpoint);
    json_object_put_string(object, "peer_endpoint", endpoint);
    put_u64(object, "group", flow->group);
    put_u64(object, "peer_port", ntohs(flow->peer_port));
    put_u64(object, "udp_source", ntohs(flow->entropy));
    put_u64(object, "peer_port", ntohs(flow->peer_port));
    put_u64(object, "ifindex", flow->ifindex);
    put_u64(object, "age_ms", (now - flow->created_ns) / 1000000);
    put_u64(object, "in_packets", flow->in_packets);
    put_u64(object, "in_bytes", flow->in_bytes);
    put_u64(object, "out_packets", flow->out_packets);
    put_u64(object, "out_bytes", flow->out_bytes);
    return object;
}

static void
flow_to_text(const struct sal_flow *flow, uint64_t now, struct ds *out)
{
    char local[INET6_ADDRSTRLEN], remote[INET6_ADDRSTRLEN];
    char peer[INET6_ADDRSTRLEN], service[SERVICE_PREFIX_STRLEN];
    service_to_string(flow, service);
    ds_put_format(out,
                  "%08x %-9s %s %s:%u %s %s:%u peer %s/%08x age %.1fs "
                  "in %"PRIu64"/%"PRIu64" out %"PRIu64"/%"PRIu64
                  " service %.18s...\n",
                  ntohl(flow->id), state_name(flow),
                  flow->local.proto == IPPROTO_TCP ? "tcp" : "udp",
                  format_addr(&flow->local.local, local),
                  ntohs(flow->local.lport),
                  flow->flags & SAL_FLOW_SERVER ? "<-" : "->",
                  format_addr(&flow->local.remote, remote),
                  ntohs(flow->local.rport),
                  format_addr(&flow->peer_locator, peer),
                  ntohl(flow->peer_id), (now - flow->created_ns) / 1e9,
                  flow->in_packets, flow->in_bytes, flow->out_packets,
                  flow->out_bytes, service);
}

/* Calls 'visit' for each flow of map 'fd'; returns their number. */
static uint64_t
for_each_flow(int fd, void (*visit)(const struct sal_flow *, void *aux),
              void *aux)
{
    uint64_t n = 0;
    uint32_t key, next;
    void *prev = NULL;
    while (n < MAX_DUMPED_FLOWS && !bpf_map_get_next_key(fd, prev, &next)) {
        struct sal_flow flow;
        key = next;
        prev = &key;
        if (!visit) {
            n++;
        } else if (!bpf_map_lookup_elem(fd, &key, &flow)) {
            visit(&flow, aux);
            n++;
        }
    }
    return n;
}

uint64_t
datapath_n_flows(const struct datapath *dp)
{
    return for_each_flow(bpf_map__fd(dp->skeleton->maps.sal_flows), NULL,
                         NULL);
}

struct flow_dump {
    struct json *array; /* NULL: text. */
    struct ds *out;
    uint64_t now;
};

static void
dump_flow(const struct sal_flow *flow, void *dump_)
{
    struct flow_dump *dump = dump_;
    if (dump->array) {
        json_array_add(dump->array, flow_to_json(flow, dump->now));
    } else {
        flow_to_text(flow, dump->now, dump->out);
    }
}

void
datapath_format_flows(struct datapath *dp, bool as_json, struct ds *out)
{
    struct flow_dump dump = {
        .array = as_json ? json_array_create_empty() : NULL,
        .out = out,
        .now = now_ns()};
    for_each_flow(bpf_map__fd(dp->skeleton->maps.sal_flows), dump_flow, &dump);
    for_each_flow(bpf_map__fd(dp->skeleton->maps.sal_half_flows), dump_flow,
                  &dump);
    if (as_json) {
        put_json(dump.array, out);
    }
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
            char buf[INET_ADDRSTRLEN];
            inet_ntop(AF_INET, &info.addresses[j], buf, sizeof buf);
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
    put_u64(status, "sal_port", ntohs(settings.sal_port));
    put_u64(status, "layout", settings.layout);
    json_object_put(status, "uplinks", uplinks_to_json(dp));

    const struct bpf_map *flows = dp->skeleton->maps.sal_flows;
    put_u64(status, "flows", for_each_flow(bpf_map__fd(flows), NULL, NULL));
    put_u64(status, "max_flows", bpf_map__max_entries(flows));
    put_u64(status, "half_flows",
            for_each_flow(bpf_map__fd(dp->skeleton->maps.sal_half_flows),
                          NULL, NULL));
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
