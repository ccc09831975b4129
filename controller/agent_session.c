/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/agent_session_private.h"

#include <limits.h>
#include <string.h>
#include "packets.h"
#include "util.h"

void
agent_session_init(struct agent_session *s,
                   const struct agent_session_config *config,
                   const struct agent_session_ops *ops, void *aux,
                   struct registry *registry)
{
    memset(s, 0, sizeof *s);
    s->config = config;
    s->ops = ops;
    s->aux = aux;
    s->registry = registry;
    ovs_list_init(&s->waits);
}

void
agent_session_start(struct agent_session *s, const struct identity *identity,
                    const uint8_t nonce[IDENTITY_NONCE_LEN],
                    long long now_us)
{
    s->identity = *identity;
    memcpy(s->nonce, nonce, sizeof s->nonce);
    s->deadline = now_us / 1000 + s->config->handshake_timeout_ms;
}

static void
end(struct agent_session *s)
{
    if (s->state == AGENT_SESSION_UP) {
        registry_session_end(s->registry, &s->id, s->session);
    }
    s->state = AGENT_SESSION_CLOSED;
}

void
agent_session_destroy(struct agent_session *s)
{
    struct agent_wait *wait;

    end(s);
    LIST_FOR_EACH_POP (wait, node, &s->waits) {
        free(wait);
    }
    identity_clear(&s->identity);
    memset(s->key, 0, sizeof s->key);
}

void
agent_session_close(struct agent_session *s, const char *reason)
{
    if (s->state != AGENT_SESSION_CLOSED) {
        end(s);
        s->ops->close(s, reason, s->aux);
    }
}

/* Answers. */

void
agent_session_reply(struct agent_session *s, uint64_t request_id,
      Salient__V1__Envelope__BodyCase body_case, void *body)
{
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;

    envelope.request_id = request_id;
    envelope.body_case = body_case;
    envelope.hello = body; /* Any member: all are pointers. */
    s->ops->send(s, &envelope, s->aux);
}

void
request_fail(const struct agent_request *r, Salient__V1__ErrorCode code,
             const char *field, const char *message)
{
    Salient__V1__Error error = SALIENT__V1__ERROR__INIT;

    error.code = code;
    error.field = CONST_CAST(char *, field);
    error.message = CONST_CAST(char *, message);
    r->session->errors++;
    REPLY(r->session, r->id, ERROR, &error);
}

/* Dispatch. */

static void
handle_up(const struct agent_request *r, const Salient__V1__Envelope *e)
{
    Salient__V1__KeepaliveReply alive = SALIENT__V1__KEEPALIVE_REPLY__INIT;

    switch ((int) e->body_case) {
    case SALIENT__V1__ENVELOPE__BODY_REGISTER:
        agent_session_register(r, e->register_);
        break;
    case SALIENT__V1__ENVELOPE__BODY_UNREGISTER:
        agent_session_unregister(r, e->unregister);
        break;
    case SALIENT__V1__ENVELOPE__BODY_RESOLVE:
        agent_session_resolve(r, e->resolve);
        break;
    case SALIENT__V1__ENVELOPE__BODY_IDENTIFY:
        agent_session_identify(r, e->identify);
        break;
    case SALIENT__V1__ENVELOPE__BODY_KEEPALIVE:
        REPLY(r->session, r->id, KEEPALIVE_REPLY, &alive);
        break;
    case SALIENT__V1__ENVELOPE__BODY_HELLO:
    case SALIENT__V1__ENVELOPE__BODY_PROOF:
        request_fail(r, ERROR(INVALID), "", "the session is open already");
        break;
    default:
        request_fail(r, ERROR(UNSUPPORTED), "",
                     "the controller does not know this request");
    }
}

static void
handle_request(const struct agent_request *r, const Salient__V1__Envelope *e)
{
    struct agent_session *s = r->session;

    if (s->state == AGENT_SESSION_UP) {
        handle_up(r, e);
    } else if (s->state == AGENT_SESSION_HELLO
               && e->body_case == SALIENT__V1__ENVELOPE__BODY_HELLO) {
        agent_session_hello(r, e->hello);
    } else if (s->state == AGENT_SESSION_PROOF
               && e->body_case == SALIENT__V1__ENVELOPE__BODY_PROOF) {
        agent_session_proof(r, e->proof);
    } else {
        request_fail(r, ERROR(NOT_AUTHENTICATED), "",
                     s->state == AGENT_SESSION_HELLO
                         ? "say Hello first" : "answer the Challenge first");
    }
}

void
agent_session_receive(struct agent_session *s,
                      const Salient__V1__Envelope *e, long long now_us)
{
    struct agent_request r = {s, e->request_id, now_us};
    long long now = now_us / 1000;

    if (s->state == AGENT_SESSION_CLOSED) {
        return;
    }
    s->requests++;
    if (s->state == AGENT_SESSION_UP) {
        s->deadline = now + s->config->lease_ms;
        registry_renew(s->registry, &s->id, s->deadline);
    }
    if (!e->request_id) {
        request_fail(&r, ERROR(INVALID), "request_id",
                     "a request needs a request_id other than 0");
    } else {
        handle_request(&r, e);
    }
}

void
agent_session_run(struct agent_session *s, long long now_us)
{
    long long now = now_us / 1000;
    struct agent_wait *wait;

    if (s->state == AGENT_SESSION_CLOSED) {
        return;
    }
    LIST_FOR_EACH_SAFE (wait, node, &s->waits) {
        if (now < wait->deadline) {
            break; /* All wait equally long, so they are in order. */
        }
        agent_session_answer_wait(s, wait, false, now_us);
    }
    if (now >= s->deadline) {
        agent_session_close(s, s->state == AGENT_SESSION_UP
                               ? "the agent was silent for a whole lease"
                               : "the handshake took too long");
    }
}

long long
agent_session_wakeup(const struct agent_session *s)
{
    if (s->state == AGENT_SESSION_CLOSED) {
        return LLONG_MAX;
    }
    if (ovs_list_is_empty(&s->waits)) {
        return s->deadline;
    }
    const struct agent_wait *first
        = CONTAINER_OF(ovs_list_front(&s->waits), struct agent_wait, node);
    return MIN(s->deadline, first->deadline);
}

const char *
agent_session_state_string(enum agent_session_state state)
{
    switch (state) {
    case AGENT_SESSION_HELLO:
        return "hello";
    case AGENT_SESSION_PROOF:
        return "proof";
    case AGENT_SESSION_UP:
        return "up";
    case AGENT_SESSION_CLOSED:
        return "closed";
    }
    return "?";
}
