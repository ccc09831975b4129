/* SPDX-License-Identifier: Apache-2.0 */
/* Upkeep of the data plane: idle UDP flows, its hash key, limits of flows, the
 * check of identities. */
#include "agents/agent_private.h"

#include <stdlib.h>
#include <string.h>
#include "agents/datapath_cursor.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(upkeep);

#define UPKEEP_INTERVAL_MS 250

/* Between two looks for idle flows: a part of the time that makes them so. */
#define SWEEPS_PER_IDLE 8
#define SWEEP_INTERVAL_MAX_MS 30000
#define SWEEP_SLICE_NS 2000000 /* Of the loop's time, each */
#define SWEEP_TICK_MS 20       /* so often. */

/* A look at all flows under way, a slice at each tick of the timer. */
struct agent_sweep {
    struct flow_cursor *cursor;
    uint64_t idle_since_ns;
    uint32_t *ids; /* Of what seems idle. */
    size_t n, allocated;
};

/* Flow IDs and nonces that were made stay as they are: they are kept with
 * their flow and never computed again. */
int
agent_rotate_key(struct agent *agent)
{
    int error = datapath_rotate_key(agent->datapath);

    if (error) {
        static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 3);
        VLOG_WARN_RL(&rl, "the key of flow IDs stays: %s",
                     ovs_strerror(-error));
    } else {
        agent->keys_rotated++;
    }
    agent->key_rotated_ms = agent_now(agent);
    return error;
}

static void
sweep_start(struct agent *agent)
{
    struct agent_sweep *sweep = xzalloc(sizeof *sweep);

    sweep->cursor = flow_cursor_open(agent->datapath);
    sweep->idle_since_ns
        = uv_hrtime() - agent->config->udp_idle_ms * UINT64_C(1000000);
    agent->sweep = sweep;
}

static void
sweep_end(struct agent *agent)
{
    flow_cursor_close(agent->sweep->cursor);
    free(agent->sweep->ids);
    free(agent->sweep);
    agent->sweep = NULL;
    agent->swept_ms = agent_now(agent);
}

static void
sweep_note(struct agent_sweep *sweep, const struct sal_flow *flow)
{
    uint64_t since = sweep->idle_since_ns;

    if (flow->local.proto == IPPROTO_UDP && flow->created_ns < since
        && flow->last_in_ns < since && flow->last_out_ns < since) {
        if (sweep->n == sweep->allocated) {
            sweep->ids = x2nrealloc(sweep->ids, &sweep->allocated,
                                    sizeof *sweep->ids);
        }
        sweep->ids[sweep->n++] = flow->id;
    }
}

/* Flows of the LRU tables leave by themselves. */
static void
sweep_step(struct agent *agent)
{
    struct agent_sweep *sweep = agent->sweep;
    uint64_t end = uv_hrtime() + SWEEP_SLICE_NS;

    do {
        const struct sal_flow *flows;
        size_t n = flow_cursor_next(sweep->cursor, &flows);
        if (!n) {
            sweep_end(agent);
            return;
        }
        sweep->n = 0;
        for (size_t i = 0; i < n && flow_cursor_in_bound(sweep->cursor); i++) {
            sweep_note(sweep, &flows[i]);
        }
        if (sweep->n) {
            datapath_sweep(agent->datapath, sweep->idle_since_ns, sweep->ids,
                           sweep->n);
        }
    } while (uv_hrtime() < end);
}

static void
sweep_run(struct agent *agent)
{
    int64_t interval = MIN(agent->config->udp_idle_ms / SWEEPS_PER_IDLE,
                           SWEEP_INTERVAL_MAX_MS);

    if (agent->sweep) {
        sweep_step(agent);
        uv_timer_set_repeat(&agent->upkeep_timer,
                            agent->sweep ? SWEEP_TICK_MS
                                         : UPKEEP_INTERVAL_MS);
    } else if (agent_now(agent) - agent->swept_ms >= interval) {
        sweep_start(agent);
    }
}

static void
upkeep_timer(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    int64_t interval = agent->config->key_rotation_ms;

    sweep_run(agent);
    agent_claims_refresh(agent);
    if (interval && agent_now(agent) - agent->key_rotated_ms >= interval) {
        agent_rotate_key(agent);
    }
}

void
agent_upkeep_reload(struct agent *agent)
{
    int error = datapath_set_limits(agent->datapath,
                                    agent->config->max_flows_per_client,
                                    agent->config->max_flows_per_service);

    if (error) {
        VLOG_WARN("cannot set the limits of flows: %s", ovs_strerror(-error));
    }
}

void
agent_upkeep_start(struct agent *agent)
{
    agent_upkeep_reload(agent);
    /* A predecessor's key may be old. */
    if (agent->config->key_rotation_ms) {
        agent_rotate_key(agent);
    }
    agent->swept_ms = agent_now(agent);
    uv_timer_start(&agent->upkeep_timer, upkeep_timer, UPKEEP_INTERVAL_MS,
                   UPKEEP_INTERVAL_MS);
}

void
agent_upkeep_stop(struct agent *agent)
{
    if (agent->sweep) {
        sweep_end(agent);
    }
}
