/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's dealings with agents. */
#include "controller/controller_private.h"
#include "util.h"

/* What the network knows of the endpoint from an earlier session. */
static void
push_attachments(struct controller *c, struct agent_session *session)
{
    const struct topology_attachment *at;

    TOPOLOGY_FOR_EACH_ATTACHMENT (at, c->topology) {
        if (endpoint_id_equal(&at->endpoint, &session->id)) {
            agent_session_push_attachment(session, at);
        }
    }
}

static void
agent_up(struct agent_session *session, void *c_)
{
    struct controller *c = c_;

    c->input_us = controller_now_us();
    controller_event(c, "%s has a session", session->name);
    /* During the hold the table lacks the services of those who are not back,
     * so it must not make the agent forget them. */
    agent_session_push_services(session, c->hold.over);
    push_attachments(c, session);
    agent_session_push_probe_request(session);
}

static void
agent_changed(struct agent_session *session, const char *what,
              long long trigger_us, void *c_)
{
    struct controller *c = c_;

    c->input_us = trigger_us;
    c->waiting = true;
    controller_event_text(c, what);
}

static void
agent_down(struct agent_session *session, const char *reason, void *c_)
{
    struct controller *c = c_;

    c->input_us = controller_now_us();
    controller_event(c, "%s lost its session: %s", session->name, reason);
}

const struct api_server_ops controller_api_ops = {
    .up = agent_up,
    .changed = agent_changed,
    .down = agent_down,
    .hops = controller_hops,
    .resolve = controller_resolve,
    .identify = controller_identify,
};

/* Pushes. */

static void
push_changes(struct agent_session *session, void *result_)
{
    const struct plan_result *result = result_;

    agent_session_push_changes(session, result->services,
                               result->n_services);
}

static void
push_complete(struct agent_session *session, void *aux)
{
    agent_session_push_services(session, true);
}

static void
push_hosts(struct controller *c, const struct topology_changes *changes)
{
    for (size_t i = 0; i < changes->n_hosts; i++) {
        const struct topology_change *change = &changes->hosts[i];
        const struct topology_attachment *at
            = topology_attachment(c->topology, &change->locator);
        struct agent_session *session = api_server_find(c->api,
                                                        &change->endpoint);

        if (!session) {
            continue;
        }
        if (change->attached && at
            && endpoint_id_equal(&at->endpoint, &change->endpoint)) {
            agent_session_push_attachment(session, at);
        } else {
            agent_session_push_detached(session, &change->locator);
        }
    }
}

void
controller_push_result(struct controller *c, const struct plan_result *result)
{
    bool names = false;

    for (size_t i = 0; i < result->n_services; i++) {
        names |= result->services[i].names_changed;
    }
    if (c->tell_all) {
        c->tell_all = false;
        api_server_for_each(c->api, push_complete, NULL);
    } else if (names) {
        api_server_for_each(c->api, push_changes,
                            CONST_CAST(struct plan_result *, result));
    }
    push_hosts(c, &result->topology);
    controller_push_routes(c, result);
}

static void
ask_one(struct agent_session *session, void *c_)
{
    const struct controller *c = c_;

    if (!topology_attachment_of(c->topology, &session->id)) {
        agent_session_push_probe_request(session);
    }
}

void
controller_ask_for_probes(struct controller *c)
{
    api_server_for_each(c->api, ask_one, c);
}

/* Requests that wait for the switches. */

/* A registration is in the plan once the network knows where the endpoint is
 * (which does not mean that its policy uses it); one with weight 0, and its
 * removal, at once. */
static bool
is_planned(const struct controller *c, const struct agent_wait *wait)
{
    const struct registry_instance *instance
        = registry_instance(c->registry, &wait->key);

    if (!c->hold.over || registry_has_changes(c->registry)
        || topology_has_changes(c->topology)) {
        return false;
    }
    return wait->unregister || !instance || !instance->offer.weight
           || topology_attachment_of(c->topology, &wait->key.endpoint);
}

static void
answer_session(struct agent_session *session, void *c_)
{
    struct controller *c = c_;
    struct agent_wait *wait;

    LIST_FOR_EACH_SAFE (wait, node, &session->waits) {
        if (!wait->generation && is_planned(c, wait)) {
            wait->generation = plan_generation(c->plan);
        }
        if (wait->generation && wait->generation <= c->confirmed) {
            agent_session_answer_wait(session, wait, true,
                                      controller_now_us());
        }
    }
    c->waiting |= !ovs_list_is_empty(&session->waits);
}

void
controller_answer_waits(struct controller *c)
{
    if (c->waiting) {
        c->waiting = false;
        api_server_for_each(c->api, answer_session, c);
    }
}
