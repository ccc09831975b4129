/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that look at the flows.  There may be a million: they are walked a
 * few milliseconds at a time, and the loop goes on in between. */
#include "agents/agent_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agents/datapath_cursor.h"
#include "agents/flow_filter.h"
#include "agents/flow_format.h"
#include "agents/flow_top.h"
#include "openvswitch/json.h"
#include "util.h"

#define WALK_SLICE_NS 5000000 /* Of the loop's time, at once. */
#define TOP_INTERVAL_MS 1000
#define TOP_DEFAULT 20
#define TOP_MAX 100000

struct walk {
    uv_timer_t timer;
    struct ovs_list node; /* In agent->walks. */
    struct agent *agent;
    struct control_call *call;
    struct flow_cursor *cursor;
    /* For each flow, and after the last one. */
    void (*visit)(struct walk *, const struct sal_flow *);
    void (*done)(struct walk *);
    uint64_t now_ns; /* When it began. */

    struct flow_filter filter; /* Of "flows". */
    size_t n_matched;
    struct ds out;

    struct flow_top *top;      /* Of "top". */
    int64_t started_ms;        /* The first look. */
};

static void
walk_closed(uv_handle_t *handle)
{
    struct walk *walk = handle->data;

    flow_top_destroy(walk->top);
    ds_destroy(&walk->out);
    free(walk);
}

static void
walk_end(struct walk *walk)
{
    ovs_list_remove(&walk->node);
    flow_cursor_close(walk->cursor);
    uv_close((uv_handle_t *) &walk->timer, walk_closed);
}

static void
walk_step(uv_timer_t *timer)
{
    struct walk *walk = timer->data;
    uint64_t end = uv_hrtime() + WALK_SLICE_NS;

    do {
        const struct sal_flow *flows;
        size_t n = flow_cursor_next(walk->cursor, &flows);
        if (!n) {
            walk->done(walk);
            return;
        }
        for (size_t i = 0; i < n; i++) {
            walk->visit(walk, &flows[i]);
        }
    } while (uv_hrtime() < end);
    /* Not 0: libuv runs timers until none is due, before it looks at
     * anything else. */
    uv_timer_start(timer, walk_step, 1, 0);
}

static void
walk_start(struct walk *walk)
{
    walk->now_ns = uv_hrtime();
    flow_cursor_close(walk->cursor);
    walk->cursor = flow_cursor_open(walk->agent->datapath);
    walk_step(&walk->timer);
}

/* NULL if the agent stops; 'call' is answered then. */
static struct walk *
walk_create(struct agent *agent, struct control_call *call)
{
    if (agent->stopping) {
        control_fail(call, "the agent stops");
        return NULL;
    }
    struct walk *walk = xzalloc(sizeof *walk);
    walk->agent = agent;
    walk->call = call;
    ds_init(&walk->out);
    ovs_list_push_back(&agent->walks, &walk->node);
    uv_timer_init(agent->loop, &walk->timer);
    walk->timer.data = walk;
    return walk;
}

void
agent_walks_fail_all(struct agent *agent)
{
    struct walk *walk;

    LIST_FOR_EACH_SAFE (walk, node, &agent->walks) {
        control_fail(walk->call, "the agent stops");
        walk_end(walk);
    }
}

/* "flows". */

static void
flows_visit(struct walk *walk, const struct sal_flow *flow)
{
    if (!flow_filter_matches(&walk->filter, flow)
        || ++walk->n_matched > walk->filter.limit || walk->filter.count) {
        return;
    }
    if (control_wants_json(walk->call)) {
        struct json *json = flow_to_json(flow, walk->now_ns);
        ds_put_char(&walk->out, walk->n_matched > 1 ? ',' : '[');
        json_to_ds(json, JSSF_SORT, &walk->out);
        json_destroy(json);
    } else {
        flow_put_text(flow, &walk->agent->state.names, walk->now_ns,
                      &walk->out);
    }
}

static void
flows_done(struct walk *walk)
{
    if (walk->filter.count) {
        ds_put_format(&walk->out, "%"PRIuSIZE"\n", walk->n_matched);
    } else if (control_wants_json(walk->call)) {
        ds_put_cstr(&walk->out, walk->n_matched ? "]\n" : "[]\n");
    } else if (walk->n_matched > walk->filter.limit) {
        ds_put_format(&walk->out, "and %"PRIuSIZE" more; filter them, or use "
                      "--limit N\n", walk->n_matched - walk->filter.limit);
    }
    control_reply(walk->call, ds_cstr(&walk->out));
    walk_end(walk);
}

void
agent_flows_command(struct control_call *call, int argc,
                    const char *const argv[], void *agent)
{
    struct flow_filter filter;
    char *error = flow_filter_parse(argc, argv, &filter);

    if (error) {
        control_usage(call, error);
        free(error);
        return;
    }
    struct walk *walk = walk_create(agent, call);
    if (walk) {
        walk->filter = filter;
        walk->visit = flows_visit;
        walk->done = flows_done;
        walk_start(walk);
    }
}

/* "top": the busiest flows, over a second. */

static void
top_visit_before(struct walk *walk, const struct sal_flow *flow)
{
    flow_top_before(walk->top, flow);
}

static void
top_visit_after(struct walk *walk, const struct sal_flow *flow)
{
    flow_top_after(walk->top, flow);
}

/* The looks take their time where there are many flows: what counts is from
 * the beginning of the one to that of the other. */
static void
top_print(struct walk *walk)
{
    const struct flow_top_times times = {
        .interval_ms = walk->now_ns / 1000000 - walk->started_ms,
        .now_ns = walk->now_ns,
    };

    flow_top_print(walk->top, &times, &walk->agent->state.names,
                   control_wants_json(walk->call), &walk->out);
    control_reply(walk->call, ds_cstr(&walk->out));
    walk_end(walk);
}

static void
top_look_again(uv_timer_t *timer)
{
    struct walk *walk = timer->data;

    walk->visit = top_visit_after;
    walk->done = top_print;
    walk_start(walk);
}

static void
top_wait(struct walk *walk)
{
    uv_timer_start(&walk->timer, top_look_again, TOP_INTERVAL_MS, 0);
}

void
agent_top_command(struct control_call *call, int argc,
                  const char *const argv[], void *agent)
{
    unsigned int n = TOP_DEFAULT;

    if (argc
        && (argv[0][strspn(argv[0], "0123456789")]
            || !str_to_uint(argv[0], 10, &n) || !n || n > TOP_MAX)) {
        char *error = xasprintf("N: \"%.40s\" is not a number from 1 to %d",
                                argv[0], TOP_MAX);
        control_usage(call, error);
        free(error);
        return;
    }
    struct walk *walk = walk_create(agent, call);
    if (walk) {
        walk->top = flow_top_create(n);
        walk->visit = top_visit_before;
        walk->done = top_wait;
        walk->started_ms = uv_hrtime() / 1000000;
        walk_start(walk);
    }
}

/* "peer LOCAL:PORT REMOTE:PORT", as the application's socket has them. */

/* "10.0.0.1:80", "[fd00::1]:80". */
static bool
parse_end(const char *text, struct sal_addr *addr, ovs_be16 *port)
{
    char address[INET6_ADDRSTRLEN + 2];
    const char *colon = strrchr(text, ':');
    unsigned int number;

    if (!colon || (size_t) (colon - text) >= sizeof address
        || !str_to_uint(colon + 1, 10, &number) || number > UINT16_MAX) {
        return false;
    }
    if (text[0] == '[' && colon[-1] == ']') {
        text++;
        colon--;
    }
    ovs_strlcpy(address, text, colon - text + 1);
    *port = htons(number);
    return sal_addr_parse(address, addr);
}

void
agent_peer_command(struct control_call *call, int argc,
                   const char *const argv[], void *agent_)
{
    static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
    struct agent *agent = agent_;
    struct sal_tuple tuple;
    struct sal_flow flow;

    memset(&tuple, 0, sizeof tuple);
    if (!parse_end(argv[0], &tuple.local, &tuple.lport)
        || !parse_end(argv[1], &tuple.remote, &tuple.rport)) {
        control_usage(call, "that is not ADDRESS:PORT");
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        tuple.proto = protocols[i];
        if (!datapath_flow_by_tuple(agent->datapath, &tuple, &flow)) {
            struct ds out = DS_EMPTY_INITIALIZER;
            flow_put_peer(&flow, &out);
            control_reply(call, ds_cstr(&out));
            ds_destroy(&out);
            return;
        }
    }
    control_fail(call, "there is no such flow");
}
