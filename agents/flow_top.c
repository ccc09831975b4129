/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/flow_top.h"

#include <stdlib.h>
#include <string.h>
#include "agents/flow_filter.h"
#include "openvswitch/json.h"
#include "openvswitch/shash.h"
#include "util.h"

struct traffic {
    uint64_t bytes, packets;
};

struct flow_top {
    struct shash before; /* Flow ID -> struct traffic. */
};

/* A flow of the second dump, and what it carried in between. */
struct busy_flow {
    const struct json *flow;
    struct traffic traffic;
};

static uint64_t
number_of(const struct json *flow, const char *key)
{
    const struct json *value
        = (flow->type == JSON_OBJECT ? shash_find_data(flow->object, key)
                                     : NULL);
    return value && value->type == JSON_INTEGER ? value->integer : 0;
}

static const char *
id_of(const struct json *flow)
{
    const struct json *value
        = (flow->type == JSON_OBJECT ? shash_find_data(flow->object, "id")
                                     : NULL);
    return value && value->type == JSON_STRING ? value->string : "";
}

static struct traffic
traffic_of(const struct json *flow)
{
    struct traffic traffic = {
        .bytes = number_of(flow, "in_bytes") + number_of(flow, "out_bytes"),
        .packets
        = number_of(flow, "in_packets") + number_of(flow, "out_packets"),
    };
    return traffic;
}

static size_t
length_of(const struct json *flows)
{
    return flows->type == JSON_ARRAY ? flows->array.n : 0;
}

struct flow_top *
flow_top_create(const struct json *flows)
{
    struct flow_top *top = xmalloc(sizeof *top);

    shash_init(&top->before);
    for (size_t i = 0; i < length_of(flows); i++) {
        const struct json *flow = flows->array.elems[i];
        struct traffic traffic = traffic_of(flow);
        struct traffic *old = shash_replace(
            &top->before, id_of(flow), xmemdup(&traffic, sizeof traffic));
        free(old);
    }
    return top;
}

void
flow_top_destroy(struct flow_top *top)
{
    if (top) {
        shash_destroy_free_data(&top->before);
        free(top);
    }
}

/* A flow ID that was given to another flow meanwhile starts anew. */
static struct traffic
since(const struct flow_top *top, const struct json *flow)
{
    const struct traffic *before = shash_find_data(&top->before, id_of(flow));
    struct traffic now = traffic_of(flow);

    if (before && before->bytes <= now.bytes
        && before->packets <= now.packets) {
        now.bytes -= before->bytes;
        now.packets -= before->packets;
    }
    return now;
}

static int
compare_busy(const void *a_, const void *b_)
{
    const struct busy_flow *a = a_, *b = b_;

    return (a->traffic.bytes != b->traffic.bytes
                ? (a->traffic.bytes > b->traffic.bytes ? -1 : 1)
                : strcmp(id_of(a->flow), id_of(b->flow)));
}

static struct json *
busy_to_json(const struct busy_flow *busy, int64_t interval_ms)
{
    struct json *json = json_deep_clone(busy->flow);

    json_object_put(json, "bits_per_second",
                    json_integer_create(busy->traffic.bytes * 8000
                                        / interval_ms));
    json_object_put(json, "packets_per_second",
                    json_integer_create(busy->traffic.packets * 1000
                                        / interval_ms));
    return json;
}

static void
put_rate(const struct traffic *traffic, int64_t interval_ms, struct ds *out)
{
    ds_put_format(out, "%9.3f Mbit/s %9.0f pps",
                  traffic->bytes * 8e-3 / interval_ms,
                  traffic->packets * 1e3 / interval_ms);
}

static void
print_text(const struct busy_flow busy[], size_t n, int64_t interval_ms,
           const struct names *names, struct ds *out)
{
    for (size_t i = 0; i < n; i++) {
        put_rate(&busy[i].traffic, interval_ms, out);
        ds_put_char(out, ' ');
        flow_filter_put_flow(busy[i].flow, names, out);
    }
}

void
flow_top_print(const struct flow_top *top, const struct json *flows,
               int64_t interval_ms, size_t n, const struct names *names,
               bool as_json, struct ds *out)
{
    size_t n_flows = length_of(flows), n_busy = 0;
    struct busy_flow *busy = xmalloc((n_flows + 1) * sizeof *busy);
    struct traffic sum = {0, 0};

    interval_ms = MAX(interval_ms, 1);
    for (size_t i = 0; i < n_flows; i++) {
        const struct json *flow = flows->array.elems[i];
        struct traffic traffic = since(top, flow);
        if (traffic.packets && flow->type == JSON_OBJECT) {
            busy[n_busy++] = (struct busy_flow) {flow, traffic};
            sum.bytes += traffic.bytes;
            sum.packets += traffic.packets;
        }
    }
    qsort(busy, n_busy, sizeof *busy, compare_busy);
    n = MIN(n, n_busy);
    if (as_json) {
        struct json *array = json_array_create_empty();
        for (size_t i = 0; i < n; i++) {
            json_array_add(array, busy_to_json(&busy[i], interval_ms));
        }
        json_to_ds(array, JSSF_SORT, out);
        ds_put_char(out, '\n');
        json_destroy(array);
    } else {
        put_rate(&sum, interval_ms, out);
        ds_put_format(out, " in all, %"PRIuSIZE" of %"PRIuSIZE" flows busy\n",
                      n_busy, n_flows);
        print_text(busy, n, interval_ms, names, out);
    }
    free(busy);
}
