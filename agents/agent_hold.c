/* SPDX-License-Identifier: Apache-2.0 */
/* Packets that are held for the data plane: moves them between it and the
 * holder, which decides. */
#include "agents/agent_private.h"

#include "agents/datapath_held.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(hold);

static void
send_frame(const void *frame, size_t len, uint32_t mark, void *agent_)
{
    static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 5);
    struct agent *agent = agent_;
    int error = datapath_held_send(agent->datapath, frame, len, mark);

    if (error) {
        VLOG_WARN_RL(&rl, "cannot send what was held: %s",
                     ovs_strerror(-error));
    }
}

/* Where the controller cannot be asked, the packet waits for its deadline:
 * the session may come back before. */
static void
ask(const struct service_id *id, void *agent_)
{
    struct agent *agent = agent_;

    controller_session_resolve(agent->session, id, agent_now(agent));
}

const struct holder_ops agent_hold_ops = {.resolve = ask, .send = send_frame};

static void
take(const struct sal_held *held, void *frame, void *agent_)
{
    struct agent *agent = agent_;

    if (held->kind == SAL_HELD_IDENTIFY) {
        claims_take(&agent->claims, held, frame, agent_now(agent));
    } else {
        holder_take(&agent->holder, held, frame, agent_now(agent));
    }
}

static void run(struct agent *);

static void
timer_due(uv_timer_t *timer)
{
    run(timer->data);
}

static void
run(struct agent *agent)
{
    int error = datapath_held_take(agent->datapath, take, agent);

    if (error) {
        VLOG_ERR("packets that are to be held cannot be read: %s",
                 ovs_strerror(-error));
        uv_poll_stop(&agent->hold_poll);
    }
    holder_run(&agent->holder, agent_now(agent));
    claims_run(&agent->claims, agent_now(agent));
    agent_hold_arm(agent);
}

void
agent_hold_arm(struct agent *agent)
{
    int64_t deadline = MIN(holder_deadline(&agent->holder),
                           claims_deadline(&agent->claims));
    if (deadline == INT64_MAX) {
        uv_timer_stop(&agent->hold_timer);
    } else {
        uv_timer_start(&agent->hold_timer, timer_due,
                       MAX(deadline - agent_now(agent), 0), 0);
    }
}

static void
readable(uv_poll_t *poll, int status, int events OVS_UNUSED)
{
    if (!status) {
        run(poll->data);
    }
}

int
agent_hold_start(struct agent *agent)
{
    int error = uv_poll_init(agent->loop, &agent->hold_poll,
                             datapath_held_fd(agent->datapath));

    if (error) {
        return error;
    }
    agent->hold_poll.data = agent;
    agent->holding = true;
    return uv_poll_start(&agent->hold_poll, UV_READABLE, readable);
}

void
agent_hold_stop(struct agent *agent)
{
    if (agent->holding) {
        agent->holding = false;
        uv_close((uv_handle_t *) &agent->hold_poll, NULL);
    }
}
