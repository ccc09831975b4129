/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/session_private.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(session);

#define API_VERSION 1

#define HANDSHAKE_TIMEOUT_MS 5000 /* Each step: connect, Challenge, Welcome. */
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000

/* Keepalives that may stay unanswered. */
#define KEEPALIVES_MISSED_MAX 3

const char *
session_state_name(enum session_state state)
{
    switch (state) {
    case SESSION_STOPPED:
        return "stopped";
    case SESSION_BACKOFF:
        return "backoff";
    case SESSION_CONNECTING:
        return "connecting";
    case SESSION_HELLO:
        return "hello";
    case SESSION_PROOF:
        return "proof";
    case SESSION_UP:
        return "up";
    }
    return "?";
}

struct controller_session *
controller_session_create(const struct session_config *config,
                          const struct session_ops *ops, void *aux)
{
    struct controller_session *s = xzalloc(sizeof *s);

    s->config = *config;
    s->config.name = xstrdup(config->name);
    s->config.software = xstrdup(config->software);
    s->ops = ops;
    s->aux = aux;
    s->backoff_ms = BACKOFF_MIN_MS;
    s->random = config->seed ? config->seed : 1;
    registrations_init(&s->registrations);
    names_init(&s->stale);
    return s;
}

void
controller_session_destroy(struct controller_session *s)
{
    if (s) {
        sodium_memzero(s->key, sizeof s->key);
        session_forget_questions(s);
        registrations_destroy(&s->registrations);
        names_destroy(&s->stale);
        free(CONST_CAST(char *, s->config.name));
        free(CONST_CAST(char *, s->config.software));
        free(s->error);
        free(s);
    }
}

static void
set_error(struct controller_session *s, const char *reason)
{
    char *copy = nullable_xstrdup(reason);

    free(s->error);
    s->error = copy;
}

/* xorshift32. */
static uint32_t
next_random(struct controller_session *s)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 17;
    s->random ^= s->random << 5;
    return s->random;
}

static void
enter_backoff(struct controller_session *s, const char *reason, int64_t now)
{
    bool was_up = s->state == SESSION_UP;

    /* Half to all of the backoff: agents that lost one controller together
     * must not come back together. */
    unsigned int wait
        = s->backoff_ms / 2 + next_random(s) % (s->backoff_ms / 2 + 1);

    set_error(s, reason);
    session_forget_questions(s);
    if (was_up) {
        VLOG_WARN("controller lost: %s", reason);
    } else {
        static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(6, 3);
        VLOG_INFO_RL(&rl, "no controller: %s", reason);
    }
    s->backoff_ms = MIN(s->backoff_ms * 2, BACKOFF_MAX_MS);
    s->state = SESSION_BACKOFF;
    s->deadline_ms = now + wait;
    s->endpoint = (s->endpoint + 1) % s->config.n_endpoints;
    s->handshake_id = 0;
    s->n_attached = 0;
    sodium_memzero(s->key, sizeof s->key);
    registrations_reset(&s->registrations);
    names_clear(&s->stale); /* The next session's table says it again. */
    if (was_up) {
        s->events |= SESSION_EVENT_STATE | SESSION_EVENT_REGISTRATIONS;
    }
}

/* Our own decision to hang up. */
static void
fail(struct controller_session *s, const char *reason, int64_t now)
{
    s->ops->disconnect(s->aux);
    enter_backoff(s, reason, now);
}

void
controller_session_start(struct controller_session *s, int64_t now)
{
    if (s->state == SESSION_STOPPED) {
        s->state = SESSION_BACKOFF;
        s->deadline_ms = now;
    }
}

void
controller_session_stop(struct controller_session *s)
{
    if (s->state > SESSION_BACKOFF) {
        s->ops->disconnect(s->aux);
    }
    s->state = SESSION_STOPPED;
    registrations_reset(&s->registrations);
}

void
session_send(const Salient__V1__Envelope *envelope, void *s_)
{
    struct controller_session *s = s_;
    s->ops->send(envelope, s->aux);
}

/* Steps of the handshake. */

void
controller_session_connected(struct controller_session *s, int64_t now)
{
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;
    Salient__V1__Hello hello = SALIENT__V1__HELLO__INIT;
    const struct identity *identity = s->config.identity;

    if (s->state != SESSION_CONNECTING) {
        return;
    }
    hello.api_version = API_VERSION;
    hello.name = CONST_CAST(char *, s->config.name);
    hello.software = CONST_CAST(char *, s->config.software);
    hello.zone = CONST_CAST(char *, s->config.zone ? s->config.zone : "");
    hello.public_key.data = CONST_CAST(uint8_t *, identity->public_key);
    hello.public_key.len = sizeof identity->public_key;
    hello.identity_v4 = s->identity_v4;
    envelope.request_id = s->registrations.next_request_id++;
    envelope.body_case = SALIENT__V1__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;

    s->handshake_id = envelope.request_id;
    s->state = SESSION_HELLO;
    s->deadline_ms = now + HANDSHAKE_TIMEOUT_MS;
    session_send(&envelope, s);
}

static void
receive_challenge(struct controller_session *s,
                  const Salient__V1__Challenge *challenge, int64_t now)
{
    if (challenge->public_key.len != SAL_PUBLIC_KEY_LEN
        || challenge->nonce.len != IDENTITY_NONCE_LEN
        || identity_session_key(s->config.identity, challenge->public_key.data,
                                challenge->nonce.data, true, s->key)) {
        fail(s, "the controller's Challenge is malformed", now);
        return;
    }

    uint8_t mac[IDENTITY_PROOF_LEN];
    identity_proof(s->key, mac);

    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;
    Salient__V1__Proof proof = SALIENT__V1__PROOF__INIT;
    proof.mac.data = mac;
    proof.mac.len = sizeof mac;
    envelope.request_id = s->registrations.next_request_id++;
    envelope.body_case = SALIENT__V1__ENVELOPE__BODY_PROOF;
    envelope.proof = &proof;

    s->handshake_id = envelope.request_id;
    s->state = SESSION_PROOF;
    s->deadline_ms = now + HANDSHAKE_TIMEOUT_MS;
    session_send(&envelope, s);
}

static bool
parse_pool(const Salient__V1__Ipv4Prefix *pool, uint32_t *address,
           uint8_t *len)
{
    if (!pool || !pool->address || pool->length < 1 || pool->length > 32) {
        return false;
    }
    *len = pool->length;
    *address = pool->address & (UINT32_MAX << (32 - pool->length));
    return true;
}

bool
session_parse_v6(const ProtobufCBinaryData *in, struct in6_addr *out)
{
    memset(out, 0, sizeof *out);
    if (in->len == sizeof *out) {
        memcpy(out, in->data, sizeof *out);
    }
    return !in->len || in->len == sizeof *out;
}

/* NULL, or what is wrong with it. */
static const char *
parse_welcome(const struct controller_session *s,
              const Salient__V1__Welcome *in, struct session_welcome *out)
{
    if (in->endpoint_id.len != SAL_ENDPOINT_ID_LEN
        || memcmp(in->endpoint_id.data, s->config.identity->endpoint_id,
                  SAL_ENDPOINT_ID_LEN)) {
        return "the controller's Welcome is for another endpoint";
    }
    if (!parse_pool(in->identity_pool_v4, &out->identity_pool_v4,
                    &out->identity_pool_len)
        || !parse_pool(in->service_pool_v4, &out->service_pool_v4,
                       &out->service_pool_len)) {
        return "the controller's Welcome has a bad address pool";
    }
    if (!in->identity_v4 || !in->resolver_v4) {
        return "the controller's Welcome lacks an address";
    }
    if (!in->sal_port || in->sal_port > UINT16_MAX) {
        return "the controller's Welcome has a bad SAL port";
    }
    if (!in->keepalive_interval_ms || !in->lease_ms
        || !in->probe_interval_ms) {
        return "the controller's Welcome has a zero interval";
    }
    if (!session_parse_v6(&in->resolver_v6, &out->resolver_v6)
        || !session_parse_v6(&in->identity_prefix_v6, &out->identity_prefix_v6)
        || !session_parse_v6(&in->service_prefix_v6,
                             &out->service_prefix_v6)) {
        return "the controller's Welcome has a bad IPv6 address";
    }
    out->identity_v4 = in->identity_v4;
    out->resolver_v4 = in->resolver_v4;
    out->sal_port = in->sal_port;
    out->keepalive_interval_ms = in->keepalive_interval_ms;
    out->lease_ms = in->lease_ms;
    out->probe_interval_ms = in->probe_interval_ms;
    return NULL;
}

static void
receive_welcome(struct controller_session *s, const Salient__V1__Welcome *body,
                int64_t now)
{
    struct session_welcome welcome;
    const char *error = parse_welcome(s, body, &welcome);

    if (error) {
        fail(s, error, now);
        return;
    }
    s->welcome = welcome;
    s->have_welcome = true;
    s->identity_v4 = welcome.identity_v4;
    s->handshake_id = 0;
    s->state = SESSION_UP;
    s->backoff_ms = BACKOFF_MIN_MS;
    s->welcomes++;
    set_error(s, NULL);
    s->last_received_ms = now;
    s->next_keepalive_ms = now + welcome.keepalive_interval_ms;
    s->events |= SESSION_EVENT_STATE | SESSION_EVENT_WELCOME;
    VLOG_INFO("controller up, identity address "IP_FMT,
              IP_ARGS(htonl(welcome.identity_v4)));
    registrations_send(&s->registrations, now, session_send, s);
}

static void
receive_reply(struct controller_session *s,
              const Salient__V1__Envelope *envelope, int64_t now)
{
    const struct registration *reg;

    if (session_receive_answer(s, envelope, now)) {
        return;
    }
    if (!registrations_reply(&s->registrations, envelope, now, &reg)) {
        if (envelope->body_case == SALIENT__V1__ENVELOPE__BODY_ERROR) {
            static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(6, 3);
            VLOG_WARN_RL(&rl, "the controller reports: %s",
                         envelope->error->message);
        }
        return;
    }
    /* The name is known before the next ServiceTable push tells everybody. */
    if (reg && reg->service_v4
        && names_put(s->config.names, reg->service.name, &reg->service.prefix,
                     reg->service_v4)) {
        s->events |= SESSION_EVENT_NAMES;
    }
    if (reg) {
        names_remove(&s->stale, &reg->service.prefix);
    }
    s->events |= SESSION_EVENT_REGISTRATIONS;
}

static void
receive_up(struct controller_session *s, const Salient__V1__Envelope *envelope,
           int64_t now)
{
    switch (envelope->body_case) {
    case SALIENT__V1__ENVELOPE__BODY_REGISTERED:
    case SALIENT__V1__ENVELOPE__BODY_UNREGISTERED:
    case SALIENT__V1__ENVELOPE__BODY_RESOLVED:
    case SALIENT__V1__ENVELOPE__BODY_IDENTIFIED:
    case SALIENT__V1__ENVELOPE__BODY_ERROR:
        receive_reply(s, envelope, now);
        break;
    case SALIENT__V1__ENVELOPE__BODY_SERVICE_TABLE:
        session_receive_service_table(s, envelope->service_table, now);
        break;
    case SALIENT__V1__ENVELOPE__BODY_ATTACHMENT:
        session_receive_attachment(s, envelope->attachment);
        break;
    case SALIENT__V1__ENVELOPE__BODY_PROBE_REQUEST:
        s->events |= SESSION_EVENT_PROBE;
        break;
    default: /* KeepaliveReply; what a newer controller has to say. */
        break;
    }
}

void
controller_session_received(struct controller_session *s,
                            const Salient__V1__Envelope *envelope, int64_t now)
{
    s->last_received_ms = now;
    if (s->state == SESSION_UP) {
        receive_up(s, envelope, now);
    } else if (s->state != SESSION_HELLO && s->state != SESSION_PROOF) {
        return;
    } else if (envelope->body_case == SALIENT__V1__ENVELOPE__BODY_ERROR) {
        fail(s, envelope->error->message, now);
    } else if (envelope->request_id != s->handshake_id) {
        fail(s, "the controller spoke out of turn", now);
    } else if (s->state == SESSION_HELLO
               && (envelope->body_case
                   == SALIENT__V1__ENVELOPE__BODY_CHALLENGE)) {
        receive_challenge(s, envelope->challenge, now);
    } else if (s->state == SESSION_PROOF
               && envelope->body_case == SALIENT__V1__ENVELOPE__BODY_WELCOME) {
        receive_welcome(s, envelope->welcome, now);
    } else {
        fail(s, "the controller broke the handshake", now);
    }
}

void
controller_session_disconnected(struct controller_session *s,
                                const char *reason, int64_t now)
{
    if (s->state > SESSION_BACKOFF) {
        enter_backoff(s, reason ? reason : "connection closed", now);
    }
}

/* Time. */

/* Silence after which the controller is given up: well within the lease, so
 * that another one can be told in time. */
static int64_t
silence_deadline(const struct controller_session *s)
{
    int64_t limit = ((int64_t) s->welcome.keepalive_interval_ms
                     * KEEPALIVES_MISSED_MAX);
    return s->last_received_ms + MIN(limit, (int64_t) s->welcome.lease_ms);
}

static void
run_up(struct controller_session *s, int64_t now)
{
    if (now >= silence_deadline(s)) {
        fail(s, "it answers no keepalives", now);
        return;
    }
    if (now >= s->next_keepalive_ms) {
        Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;
        Salient__V1__Keepalive keepalive = SALIENT__V1__KEEPALIVE__INIT;

        envelope.request_id = s->registrations.next_request_id++;
        envelope.body_case = SALIENT__V1__ENVELOPE__BODY_KEEPALIVE;
        envelope.keepalive = &keepalive;
        s->next_keepalive_ms = now + s->welcome.keepalive_interval_ms;
        session_send(&envelope, s);
    }
    if (names_count(&s->stale) && now >= s->stale_ms) {
        session_forget_stale(s);
    }
    registrations_send(&s->registrations, now, session_send, s);
}

void
controller_session_run(struct controller_session *s, int64_t now)
{
    switch (s->state) {
    case SESSION_STOPPED:
        break;
    case SESSION_BACKOFF:
        if (now >= s->deadline_ms) {
            s->state = SESSION_CONNECTING;
            s->deadline_ms = now + HANDSHAKE_TIMEOUT_MS;
            s->ops->connect(s->endpoint, s->aux);
        }
        break;
    case SESSION_CONNECTING:
    case SESSION_HELLO:
    case SESSION_PROOF:
        if (now >= s->deadline_ms) {
            fail(s, s->state == SESSION_CONNECTING
                        ? "it does not accept the connection"
                        : "it does not answer", now);
        }
        break;
    case SESSION_UP:
        run_up(s, now);
        break;
    }
}

int64_t
controller_session_deadline(const struct controller_session *s)
{
    if (s->state == SESSION_STOPPED) {
        return INT64_MAX;
    }
    if (s->state != SESSION_UP) {
        return s->deadline_ms;
    }
    int64_t deadline = MIN(silence_deadline(s), s->next_keepalive_ms);
    if (names_count(&s->stale)) {
        deadline = MIN(deadline, s->stale_ms);
    }
    return MIN(deadline, registrations_deadline(&s->registrations));
}

unsigned int
controller_session_take_events(struct controller_session *s)
{
    unsigned int events = s->events;
    s->events = 0;
    return events;
}

/* What is wanted. */

static void
send_wanted(struct controller_session *s, int64_t now)
{
    if (s->state == SESSION_UP) {
        registrations_send(&s->registrations, now, session_send, s);
    }
    s->events |= SESSION_EVENT_REGISTRATIONS;
}

/* Where there is no controller nobody confirms anything. */
static void
settle_alone(struct controller_session *s)
{
    if (!s->config.n_endpoints) {
        registrations_settle(&s->registrations);
        s->events |= SESSION_EVENT_REGISTRATIONS;
    }
}

void
controller_session_register(struct controller_session *s,
                            const struct local_service *service, bool wait,
                            int64_t now)
{
    registrations_want(&s->registrations, service, wait);
    send_wanted(s, now);
}

void
controller_session_unregister(struct controller_session *s,
                              const struct local_service *service, int64_t now)
{
    registrations_unwant(&s->registrations, service);
    settle_alone(s);
    send_wanted(s, now);
}

void
controller_session_set_services(struct controller_session *s,
                                const struct local_services *wanted,
                                int64_t now)
{
    registrations_set(&s->registrations, wanted);
    settle_alone(s);
    send_wanted(s, now);
}

void
controller_session_set_identity_v4(struct controller_session *s,
                                   uint32_t identity_v4)
{
    s->identity_v4 = identity_v4;
}

/* State. */

enum session_state
controller_session_state(const struct controller_session *s)
{
    return s->state;
}

bool
controller_session_is_up(const struct controller_session *s)
{
    return s->state == SESSION_UP;
}

const struct session_welcome *
controller_session_welcome(const struct controller_session *s)
{
    return s->have_welcome ? &s->welcome : NULL;
}

const uint8_t *
controller_session_key(const struct controller_session *s)
{
    return s->state == SESSION_UP ? s->key : NULL;
}

bool
controller_session_names_complete(const struct controller_session *s)
{
    return s->names_complete;
}

bool
controller_session_attached(const struct controller_session *s,
                            const struct in6_addr *locator)
{
    for (size_t i = 0; i < s->n_attached; i++) {
        if (ipv6_addr_equals(&s->attached[i], locator)) {
            return true;
        }
    }
    return false;
}

bool
controller_session_attached_elsewhere(const struct controller_session *s,
                                      const struct in6_addr own[], size_t n)
{
    for (size_t i = 0; i < s->n_attached; i++) {
        size_t j;
        for (j = 0; j < n && !ipv6_addr_equals(&s->attached[i], &own[j]);
             j++) {
            continue;
        }
        if (j == n && IN6_IS_ADDR_V4MAPPED(&s->attached[i])) {
            return true;
        }
    }
    return false;
}

bool
controller_session_is_attached(const struct controller_session *s)
{
    return s->n_attached > 0;
}

const char *
controller_session_error(const struct controller_session *s)
{
    return s->error;
}

unsigned int
controller_session_welcomes(const struct controller_session *s)
{
    return s->welcomes;
}

size_t
controller_session_endpoint(const struct controller_session *s)
{
    return s->endpoint;
}

const struct registrations *
controller_session_registrations(const struct controller_session *s)
{
    return &s->registrations;
}
