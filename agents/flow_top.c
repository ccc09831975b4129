/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/flow_top.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include "agents/flow_format.h"
#include "openvswitch/hmap.h"
#include "openvswitch/json.h"
#include "hash.h"
#include "util.h"

struct traffic {
    uint64_t bytes, packets;
};

/* A flow at the first look. */
struct earlier {
    struct hmap_node node; /* By ID. */
    uint32_t id;
    struct traffic traffic;
};

/* A flow at the second, and what it carried in between. */
struct busy_flow {
    struct sal_flow flow;
    struct traffic traffic;
};

struct flow_top {
    struct hmap before;
    size_t n_wanted, n_flows, n_busy;
    struct traffic sum;
    struct busy_flow *best; /* A heap: its root is the least busy. */
    size_t n_best, allocated_best;
};

struct flow_top *
flow_top_create(size_t n)
{
    struct flow_top *top = xzalloc(sizeof *top);

    hmap_init(&top->before);
    top->n_wanted = n;
    return top;
}

void
flow_top_destroy(struct flow_top *top)
{
    if (top) {
        struct earlier *earlier;
        HMAP_FOR_EACH_POP (earlier, node, &top->before) {
            free(earlier);
        }
        hmap_destroy(&top->before);
        free(top->best);
        free(top);
    }
}

static struct traffic
traffic_of(const struct sal_flow *flow)
{
    return (struct traffic) {
        .bytes = flow->in_bytes + flow->out_bytes,
        .packets = flow->in_packets + flow->out_packets,
    };
}

static struct earlier *
find(const struct flow_top *top, uint32_t id)
{
    struct earlier *earlier;

    HMAP_FOR_EACH_WITH_HASH (earlier, node, hash_int(id, 0), &top->before) {
        if (earlier->id == id) {
            return earlier;
        }
    }
    return NULL;
}

void
flow_top_before(struct flow_top *top, const struct sal_flow *flow)
{
    struct earlier *earlier = find(top, flow->id);

    if (!earlier) {
        earlier = xmalloc(sizeof *earlier);
        earlier->id = flow->id;
        hmap_insert(&top->before, &earlier->node, hash_int(flow->id, 0));
    }
    earlier->traffic = traffic_of(flow);
}

/* A flow ID that was given to another flow meanwhile starts anew. */
static struct traffic
since(const struct flow_top *top, const struct sal_flow *flow)
{
    const struct earlier *earlier = find(top, flow->id);
    struct traffic now = traffic_of(flow);

    if (earlier && earlier->traffic.bytes <= now.bytes
        && earlier->traffic.packets <= now.packets) {
        now.bytes -= earlier->traffic.bytes;
        now.packets -= earlier->traffic.packets;
    }
    return now;
}

/* Negative: 'a' is busier. */
static int
compare_busy(const void *a_, const void *b_)
{
    const struct busy_flow *a = a_, *b = b_;

    return (a->traffic.bytes != b->traffic.bytes
                ? (a->traffic.bytes > b->traffic.bytes ? -1 : 1)
                : (int) (ntohl(a->flow.id) > ntohl(b->flow.id))
                      - (ntohl(a->flow.id) < ntohl(b->flow.id)));
}

static void
swap(struct busy_flow *a, struct busy_flow *b)
{
    struct busy_flow c = *a;
    *a = *b;
    *b = c;
}

static void
sift_down(struct flow_top *top)
{
    for (size_t i = 0, child; (child = 2 * i + 1) < top->n_best; i = child) {
        if (child + 1 < top->n_best
            && compare_busy(&top->best[child + 1], &top->best[child]) > 0) {
            child++;
        }
        if (compare_busy(&top->best[child], &top->best[i]) <= 0) {
            return;
        }
        swap(&top->best[child], &top->best[i]);
    }
}

static void
sift_up(struct flow_top *top)
{
    for (size_t i = top->n_best - 1, parent; i; i = parent) {
        parent = (i - 1) / 2;
        if (compare_busy(&top->best[i], &top->best[parent]) <= 0) {
            return;
        }
        swap(&top->best[i], &top->best[parent]);
    }
}

void
flow_top_after(struct flow_top *top, const struct sal_flow *flow)
{
    struct busy_flow busy = {*flow, since(top, flow)};

    top->n_flows++;
    if (!busy.traffic.packets) {
        return;
    }
    top->n_busy++;
    top->sum.bytes += busy.traffic.bytes;
    top->sum.packets += busy.traffic.packets;
    if (top->n_best < top->n_wanted) {
        if (top->n_best == top->allocated_best) {
            top->best = x2nrealloc(top->best, &top->allocated_best,
                                   sizeof *top->best);
        }
        top->best[top->n_best++] = busy;
        sift_up(top);
    } else if (compare_busy(&busy, &top->best[0]) < 0) {
        top->best[0] = busy;
        sift_down(top);
    }
}

static struct json *
busy_to_json(const struct busy_flow *busy, const struct flow_top_times *times)
{
    struct json *json = flow_to_json(&busy->flow, times->now_ns);

    json_object_put(json, "bits_per_second",
                    json_integer_create(busy->traffic.bytes * 8000
                                        / times->interval_ms));
    json_object_put(json, "packets_per_second",
                    json_integer_create(busy->traffic.packets * 1000
                                        / times->interval_ms));
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
print_json(const struct flow_top *top, const struct flow_top_times *times,
           struct ds *out)
{
    struct json *array = json_array_create_empty();

    for (size_t i = 0; i < top->n_best; i++) {
        json_array_add(array, busy_to_json(&top->best[i], times));
    }
    json_to_ds(array, JSSF_SORT, out);
    ds_put_char(out, '\n');
    json_destroy(array);
}

void
flow_top_print(struct flow_top *top, const struct flow_top_times *times_,
               const struct names *names, bool as_json, struct ds *out)
{
    struct flow_top_times times = *times_;

    times.interval_ms = MAX(times.interval_ms, 1);
    if (top->n_best) {
        qsort(top->best, top->n_best, sizeof *top->best, compare_busy);
    }
    if (as_json) {
        print_json(top, &times, out);
        return;
    }
    put_rate(&top->sum, times.interval_ms, out);
    ds_put_format(out, " in all, %"PRIuSIZE" of %"PRIuSIZE" flows busy\n",
                  top->n_busy, top->n_flows);
    for (size_t i = 0; i < top->n_best; i++) {
        put_rate(&top->best[i].traffic, times.interval_ms, out);
        ds_put_char(out, ' ');
        flow_put_text(&top->best[i].flow, names, times.now_ns, out);
    }
}
