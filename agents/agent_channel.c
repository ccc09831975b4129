/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to a controller that the session (controller_session.h) asks
 * for: at most one channel, which is agent->channel; what others still say is
 * not heard. */
#include "agents/agent_private.h"

static void
channel_opened(struct channel *channel, void *agent_)
{
    struct agent *agent = agent_;

    if (channel == agent->channel) {
        controller_session_connected(agent->session, agent_now(agent));
        agent_session_changed(agent);
    }
}

static void
channel_received(struct channel *channel,
                 const Salient__V1__Envelope *envelope, void *agent_)
{
    struct agent *agent = agent_;

    if (channel == agent->channel) {
        controller_session_received(agent->session, envelope,
                                    agent_now(agent));
        agent_session_changed(agent);
    }
}

static void
channel_closed(struct channel *channel, const char *reason, void *agent_)
{
    struct agent *agent = agent_;

    if (channel == agent->channel) {
        agent->channel = NULL;
        controller_session_disconnected(agent->session, reason,
                                        agent_now(agent));
        agent_session_changed(agent);
    }
}

static const struct channel_ops channel_ops = {
    .open = channel_opened,
    .receive = channel_received,
    .closed = channel_closed,
};

static void
session_connect(size_t i, void *agent_)
{
    struct agent *agent = agent_;
    const struct channel_tls *tls = agent->tls.ca ? &agent->tls : NULL;

    /* The session is not to be called back from here: its timer does. */
    channel_connect(agent->loop, agent->config->controllers[i], tls,
                    &channel_ops, agent, &agent->channel,
                    &agent->connect_error);
}

static void
session_send(const Salient__V1__Envelope *envelope, void *agent_)
{
    struct agent *agent = agent_;

    if (agent->channel) {
        channel_send(agent->channel, envelope);
    }
}

static void
session_disconnect(void *agent_)
{
    struct agent *agent = agent_;

    if (agent->channel) {
        channel_close(agent->channel);
        agent->channel = NULL;
    }
}

const struct session_ops agent_session_ops = {
    .connect = session_connect,
    .send = session_send,
    .disconnect = session_disconnect,
};
