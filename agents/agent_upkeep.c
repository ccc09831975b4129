/* SPDX-License-Identifier: Apache-2.0 */
/* Upkeep of the data plane: its hash key, limits of flows. */
#include "agents/agent_private.h"

#include <string.h>
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(upkeep);

#define UPKEEP_INTERVAL_MS 1000

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
upkeep_timer(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    int64_t interval = agent->config->key_rotation_ms;

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
    uv_timer_start(&agent->upkeep_timer, upkeep_timer, UPKEEP_INTERVAL_MS,
                   UPKEEP_INTERVAL_MS);
}
