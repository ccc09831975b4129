/* SPDX-License-Identifier: Apache-2.0 */
/* Now and then, evens the load of the uplinks in use by moving running flows;
 * uplink_policy.h decides which. */
#include "agents/agent_private.h"

#include <stdlib.h>
#include "agents/datapath_flows.h"
#include "agents/migrator.h"
#include "agents/uplink_policy.h"
#include "hash.h"
#include "openvswitch/hmap.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(balance);

/* In one round; a round costs the daemon one look at all flows. */
#define MAX_MOVES 64
#define LEAST_PERCENT 10
#define MAX_FLOWS 65536

/* What a flow had carried when we looked last. */
struct carried {
    struct hmap_node node; /* In agent_balance->carried, by ID. */
    uint32_t id;
    uint64_t bytes;
    unsigned int round;
};

struct agent_balance {
    uv_timer_t timer;
    struct hmap carried;
    unsigned int round;
};

struct collection {
    struct agent *agent;
    struct uplink_flow *flows;
    uint32_t *ids;
    size_t n, allocated;
};

static uint64_t
carried_since(struct agent_balance *balance, const struct datapath_flow *flow)
{
    uint64_t bytes = flow->in_bytes + flow->out_bytes;
    struct carried *carried;

    HMAP_FOR_EACH_WITH_HASH (carried, node, hash_int(flow->id, 0),
                             &balance->carried) {
        if (carried->id == flow->id) {
            uint64_t since = bytes >= carried->bytes
                             ? bytes - carried->bytes : bytes;
            carried->bytes = bytes;
            carried->round = balance->round;
            return since;
        }
    }
    carried = xmalloc(sizeof *carried);
    *carried = (struct carried) {.id = flow->id, .bytes = bytes,
                                 .round = balance->round};
    hmap_insert(&balance->carried, &carried->node, hash_int(flow->id, 0));
    return 0; /* Not known for a whole interval yet. */
}

static void
collect(const struct datapath_flow *flow, void *c_)
{
    struct collection *c = c_;
    const struct agent *agent = c->agent;
    uint64_t load = carried_since(agent->balance, flow);

    for (uint32_t i = 0; load && i < agent->config->n_uplinks; i++) {
        if (agent->uplinks[i].attached == flow->path.ifindex
            && c->n < MAX_FLOWS) {
            if (c->n >= c->allocated) {
                c->flows = x2nrealloc(c->flows, &c->allocated,
                                      sizeof *c->flows);
                c->ids = xrealloc(c->ids, c->allocated * sizeof *c->ids);
            }
            c->flows[c->n] = (struct uplink_flow) {load, i};
            c->ids[c->n++] = flow->id;
            return;
        }
    }
}

static void
forget_ended(struct agent_balance *balance)
{
    struct carried *carried;

    HMAP_FOR_EACH_SAFE (carried, node, &balance->carried) {
        if (carried->round != balance->round) {
            hmap_remove(&balance->carried, &carried->node);
            free(carried);
        }
    }
}

/* Has all flows that are planned for 'uplink', but were not there, moved. */
static void
move_to(struct agent *agent, const struct collection *c,
        const uint32_t *before, uint32_t uplink)
{
    uint32_t ids[MAX_MOVES];
    struct migrator_choice choice = {.flows = ids,
                                     .to = agent->uplinks[uplink].attached};

    for (size_t i = 0; i < c->n && choice.n_flows < MAX_MOVES; i++) {
        if (c->flows[i].uplink == uplink && before[i] != uplink) {
            ids[choice.n_flows++] = c->ids[i];
        }
    }
    if (choice.n_flows) {
        struct migrator_clock clock;
        struct migrator_moves moves;
        agent_migration_clock(agent, &clock);
        migrator_move(agent_migrator(agent), &choice, &clock, &moves);
        agent_migration_arm(agent);
        VLOG_INFO("%"PRIuSIZE" flows move to %s to even the load%s%s",
                  moves.n_flows, agent->config->uplinks[uplink],
                  moves.error ? "; " : "", moves.error ? moves.error : "");
    }
}

static void
even(struct agent *agent, struct collection *c)
{
    static const struct uplink_balance how = {MAX_MOVES, LEAST_PERCENT};
    uint32_t weights[AGENT_MAX_UPLINKS], in_use = 0;
    size_t n = agent->config->n_uplinks;

    for (size_t i = 0; i < n; i++) {
        weights[i] = agent->uplinks[i].weight;
        in_use += weights[i] > 0;
    }
    if (in_use < 2 || !agent_migrator(agent)) {
        return; /* Fail-over is the migrator's. */
    }
    uint32_t *before = xmalloc(c->n * sizeof *before);
    for (size_t i = 0; i < c->n; i++) {
        before[i] = c->flows[i].uplink;
    }
    if (uplink_policy_balance(weights, n, c->flows, c->n, &how)) {
        for (uint32_t i = 0; i < n; i++) {
            move_to(agent, c, before, i);
        }
    }
    free(before);
}

static void
balance_timer(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    struct collection c = {.agent = agent};

    agent->balance->round++;
    datapath_flows_visit(agent->datapath, collect, &c);
    forget_ended(agent->balance);
    if (c.n) {
        even(agent, &c);
    }
    free(c.flows);
    free(c.ids);
}

void
agent_balance_start(struct agent *agent)
{
    int64_t interval = agent->config->balance_interval_ms;

    if (!agent->balance) {
        agent->balance = xzalloc(sizeof *agent->balance);
        hmap_init(&agent->balance->carried);
        uv_timer_init(agent->loop, &agent->balance->timer);
        agent->balance->timer.data = agent;
    }
    if (interval) {
        uv_timer_start(&agent->balance->timer, balance_timer, interval,
                       interval);
    } else {
        uv_timer_stop(&agent->balance->timer);
    }
}

static void
balance_closed(uv_handle_t *timer)
{
    struct agent_balance *balance
        = CONTAINER_OF((uv_timer_t *) timer, struct agent_balance, timer);

    balance->round++;
    forget_ended(balance);
    hmap_destroy(&balance->carried);
    free(balance);
}

void
agent_balance_stop(struct agent *agent)
{
    if (agent->balance) {
        uv_close((uv_handle_t *) &agent->balance->timer, balance_closed);
        agent->balance = NULL;
    }
}
