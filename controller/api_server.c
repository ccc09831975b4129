/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/api_server.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"
#include "openvswitch/vlog.h"
#include "proto/channel.h"
#include "proto/frame.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(api_server);

static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(60, 20);

#define MAX_LISTENERS 8

/* Hello and Proof are small; whoever has not proved its key yet may not make
 * us hold more. */
#define HANDSHAKE_BODY_MAX 4096

struct api_server {
    uv_loop_t *loop;
    const struct agent_session_config *config;
    const struct api_server_ops *ops;
    void *aux;
    struct registry *registry;
    struct channel_listener *listeners[MAX_LISTENERS];
    size_t n_listeners;
    struct ovs_list agents; /* struct agent, all of them. */
    size_t n_agents;
    struct hmap up;         /* struct agent, by endpoint ID. */
    struct api_server_stats stats;
    bool stopping;
};

struct agent {
    struct agent_session session; /* First: the session is the agent. */
    struct api_server *server;
    struct channel *channel; /* NULL once it is closed. */
    struct ovs_list node;
    struct hmap_node up_node;
    bool is_up;
    uv_timer_t timer;
    uint64_t timer_at;       /* 0: not set. */
};

static long long
now_us(void)
{
    return uv_hrtime() / 1000;
}

static struct agent *
agent_from_session(struct agent_session *session)
{
    return CONTAINER_OF(session, struct agent, session);
}

static void
free_if_done(struct api_server *server)
{
    if (server->stopping && !server->n_agents) {
        hmap_destroy(&server->up);
        free(server);
    }
}

/* Time. */

static void timer_fired(uv_timer_t *);

static void
arm_timer(struct agent *agent)
{
    long long at = agent_session_wakeup(&agent->session);
    long long now = uv_now(agent->server->loop);

    /* The deadline of a session that talks moves on with every message; the
     * timer looks when it fires. */
    if (agent->session.state != AGENT_SESSION_CLOSED
        && (!agent->timer_at || at < agent->timer_at)) {
        agent->timer_at = at;
        uv_timer_start(&agent->timer, timer_fired, MAX(1, at - now), 0);
    }
}

static void
timer_fired(uv_timer_t *timer)
{
    struct agent *agent = timer->data;

    agent->timer_at = 0;
    agent_session_run(&agent->session, now_us());
    arm_timer(agent);
}

/* The session's functions. */

static void
set_down(struct agent *agent, const char *reason)
{
    struct api_server *server = agent->server;

    if (agent->is_up) {
        agent->is_up = false;
        hmap_remove(&server->up, &agent->up_node);
        VLOG_INFO_RL(&rl, "%s (%s): session ends: %s", agent->session.name,
                     agent->channel ? channel_peer(agent->channel) : "?",
                     reason);
        if (!server->stopping) {
            server->ops->down(&agent->session, reason, server->aux);
        }
    }
}

static void
session_send(struct agent_session *session,
             const Salient__V1__Envelope *envelope, void *aux)
{
    struct agent *agent = agent_from_session(session);

    if (agent->channel) {
        channel_send(agent->channel, envelope);
    }
}

static void
session_up(struct agent_session *session, void *aux)
{
    struct agent *agent = agent_from_session(session);
    struct api_server *server = agent->server;
    struct agent_session *older = api_server_find(server, &session->id);
    char id[ENDPOINT_ID_STRLEN];

    if (older) {
        agent_session_close(older, "superseded by a newer session");
    }
    channel_limit(agent->channel, FRAME_BODY_MAX);
    hmap_insert(&server->up, &agent->up_node,
                endpoint_id_hash(&session->id));
    agent->is_up = true;
    VLOG_INFO_RL(&rl, "%s (%s): session of endpoint %s, %s", session->name,
                 channel_peer(agent->channel),
                 endpoint_id_format(&session->id, id), session->software);
    server->ops->up(session, server->aux);
}

static void
session_changed(struct agent_session *session, const char *what,
                long long trigger_us, void *aux)
{
    struct api_server *server = agent_from_session(session)->server;

    server->ops->changed(session, what, trigger_us, server->aux);
}

static void
session_hops(const struct agent_session *session,
             const struct service_prefix *prefix, struct agent_hops *hops,
             void *aux)
{
    const struct api_server *server = agent_from_session(
        CONST_CAST(struct agent_session *, session))->server;

    server->ops->hops(session, prefix, hops, server->aux);
}

static int
session_resolve(const struct agent_session *session,
                const struct service_id *id, struct agent_answer *answer,
                void *aux)
{
    const struct api_server *server = agent_from_session(
        CONST_CAST(struct agent_session *, session))->server;

    return server->ops->resolve(session, id, answer, server->aux);
}

static void
session_identify(const struct agent_session *session,
                 const struct agent_claim *claim,
                 struct agent_identity *identity, void *aux)
{
    const struct api_server *server = agent_from_session(
        CONST_CAST(struct agent_session *, session))->server;

    server->ops->identify(session, claim, identity, server->aux);
}

static void
session_close(struct agent_session *session, const char *reason, void *aux)
{
    struct agent *agent = agent_from_session(session);

    set_down(agent, reason);
    if (agent->channel) {
        channel_close(agent->channel);
    }
}

static const struct agent_session_ops session_ops = {
    .send = session_send,
    .up = session_up,
    .changed = session_changed,
    .hops = session_hops,
    .resolve = session_resolve,
    .identify = session_identify,
    .close = session_close,
};

/* The channel's functions. */

static void
timer_closed(uv_handle_t *handle)
{
    struct agent *agent = handle->data;
    struct api_server *server = agent->server;

    free(agent);
    server->n_agents--;
    free_if_done(server);
}

static void
channel_received(struct channel *channel,
                 const Salient__V1__Envelope *envelope, void *aux)
{
    struct agent *agent = aux;

    agent_session_receive(&agent->session, envelope, now_us());
    arm_timer(agent);
}

static void
channel_closed(struct channel *channel, const char *reason, void *aux)
{
    struct agent *agent = aux;

    if (!agent->is_up && agent->session.state != AGENT_SESSION_CLOSED) {
        VLOG_INFO_RL(&rl, "%s: closed in the handshake: %s",
                     channel_peer(channel), reason ? reason : "closed");
    }
    set_down(agent, reason ? reason : "closed");
    agent->channel = NULL;
    agent_session_destroy(&agent->session);
    ovs_list_remove(&agent->node);
    uv_close((uv_handle_t *) &agent->timer, timer_closed);
}

static void
channel_drained(struct channel *channel OVS_UNUSED, void *agent_)
{
    struct agent *agent = agent_;

    agent_session_push_more(&agent->session);
}

static const struct channel_ops channel_ops = {
    .receive = channel_received,
    .drained = channel_drained,
    .closed = channel_closed,
};

static void
start_session(struct agent *agent)
{
    uint8_t nonce[IDENTITY_NONCE_LEN];
    struct identity identity;

    identity_generate(&identity);
    randombytes_buf(nonce, sizeof nonce);
    agent_session_start(&agent->session, &identity, nonce, now_us());
    identity_clear(&identity);
}

static void *
accept_agent(struct channel *channel, void *aux,
             const struct channel_ops **ret_ops)
{
    struct api_server *server = aux;

    if (server->n_agents >= server->config->max_agents || server->stopping) {
        server->stats.refused_limit++;
        VLOG_WARN_RL(&rl, "%s: refused: %u agents are connected",
                     channel_peer(channel), server->config->max_agents);
        return NULL;
    }
    struct agent *agent = xzalloc(sizeof *agent);
    agent->server = server;
    agent->channel = channel;
    channel_limit(channel, HANDSHAKE_BODY_MAX);
    ovs_list_push_back(&server->agents, &agent->node);
    server->n_agents++;
    server->stats.accepted++;
    uv_timer_init(server->loop, &agent->timer);
    agent->timer.data = agent;
    agent_session_init(&agent->session, server->config, &session_ops, agent,
                       server->registry);
    start_session(agent);
    arm_timer(agent);
    *ret_ops = &channel_ops;
    return agent;
}

/* The server. */

struct api_server *
api_server_create(uv_loop_t *loop, const struct agent_session_config *config,
                  struct registry *registry,
                  const struct api_server_ops *ops, void *aux)
{
    struct api_server *server = xzalloc(sizeof *server);

    server->loop = loop;
    server->config = config;
    server->registry = registry;
    server->ops = ops;
    server->aux = aux;
    ovs_list_init(&server->agents);
    hmap_init(&server->up);
    return server;
}

int
api_server_listen(struct api_server *server, const char *endpoint,
                  const struct channel_tls *tls, char **ret_error)
{
    if (server->n_listeners >= MAX_LISTENERS) {
        *ret_error = xasprintf("more than %d addresses to listen on",
                               MAX_LISTENERS);
        return -E2BIG;
    }
    int error = channel_listen(server->loop, endpoint, tls, accept_agent,
                               server,
                               &server->listeners[server->n_listeners],
                               ret_error);
    if (!error) {
        server->n_listeners++;
    }
    return error;
}

int
api_server_set_tls(struct api_server *server, const struct channel_tls *tls,
                   char **ret_error)
{
    int error = 0;

    for (size_t i = 0; i < server->n_listeners && !error; i++) {
        error = channel_listener_set_tls(server->listeners[i], tls,
                                         ret_error);
    }
    return error;
}

void
api_server_stop(struct api_server *server)
{
    struct agent *agent;

    if (!server) {
        return;
    }
    server->stopping = true;
    for (size_t i = 0; i < server->n_listeners; i++) {
        channel_listener_close(server->listeners[i]);
    }
    LIST_FOR_EACH_SAFE (agent, node, &server->agents) {
        agent_session_close(&agent->session, "the controller stops");
    }
    free_if_done(server);
}

struct agent_session *
api_server_find(const struct api_server *server, const struct endpoint_id *id)
{
    struct agent *agent;

    HMAP_FOR_EACH_WITH_HASH (agent, up_node, endpoint_id_hash(id),
                             &server->up) {
        if (endpoint_id_equal(&agent->session.id, id)) {
            return &agent->session;
        }
    }
    return NULL;
}

void
api_server_for_each(struct api_server *server,
                    void (*each)(struct agent_session *, void *aux),
                    void *aux)
{
    struct agent *agent;

    HMAP_FOR_EACH_SAFE (agent, up_node, &server->up) {
        each(&agent->session, aux);
    }
}

size_t
api_server_n_up(const struct api_server *server)
{
    return hmap_count(&server->up);
}

const struct api_server_stats *
api_server_stats(const struct api_server *server)
{
    return &server->stats;
}

const char *
api_server_peer(const struct agent_session *session)
{
    const struct agent *agent
        = CONTAINER_OF(session, struct agent, session);

    return agent->channel ? channel_peer(agent->channel) : "";
}
