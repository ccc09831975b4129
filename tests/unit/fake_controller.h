/* SPDX-License-Identifier: Apache-2.0 */
/* A controller that is played by hand, for tests of an agent's session: what
 * the session sends is packed and unpacked as on the wire, and waits in
 * 'sent'; to_up() and its like bring a session to a state. */
#ifndef SALIENT_TEST_FAKE_CONTROLLER_H
#define SALIENT_TEST_FAKE_CONTROLLER_H 1

#include "tests/unit/unit.h"

#include "agents/controller_session.h"
#include "util.h"

#define LEASE_MS 6000
#define KEEPALIVE_MS 1000

struct fake {
    struct controller_session *session;
    struct identity agent, controller;
    struct names names;
    struct service_routes routes;
    uint8_t nonce[IDENTITY_NONCE_LEN];
    size_t n_connects, n_disconnects;
    size_t endpoint;
    Salient__V1__Envelope *sent[64]; /* Not yet looked at. */
    size_t n_sent;
    int64_t now;
};

static inline void
fake_connect(size_t i, void *fake_)
{
    struct fake *fake = fake_;
    fake->n_connects++;
    fake->endpoint = i;
}

static inline void
fake_send(const Salient__V1__Envelope *envelope, void *fake_)
{
    struct fake *fake = fake_;
    size_t len = salient__v1__envelope__get_packed_size(envelope);
    uint8_t *wire = xmalloc(len);

    salient__v1__envelope__pack(envelope, wire);
    CU_ASSERT_FATAL(fake->n_sent < ARRAY_SIZE(fake->sent));
    fake->sent[fake->n_sent] = salient__v1__envelope__unpack(NULL, len, wire);
    CU_ASSERT_PTR_NOT_NULL_FATAL(fake->sent[fake->n_sent]);
    fake->n_sent++;
    free(wire);
}

static inline void
fake_disconnect(void *fake_)
{
    struct fake *fake = fake_;
    fake->n_disconnects++;
}

static const struct session_ops fake_ops = {fake_connect, fake_send,
                                            fake_disconnect};

static inline void
fake_init(struct fake *fake)
{
    memset(fake, 0, sizeof *fake);
    identity_generate(&fake->agent);
    identity_generate(&fake->controller);
    names_init(&fake->names);
    service_routes_init(&fake->routes);
    memset(fake->nonce, 0x42, sizeof fake->nonce);
    fake->now = 1000;

    struct session_config config = {
        .name = "host1",
        .software = "test",
        .identity = &fake->agent,
        .n_endpoints = 2,
        .seed = 1,
        .names = &fake->names,
        .routes = &fake->routes,
    };
    fake->session = controller_session_create(&config, &fake_ops, fake);
}

static inline void
fake_drop_sent(struct fake *fake)
{
    for (size_t i = 0; i < fake->n_sent; i++) {
        salient__v1__envelope__free_unpacked(fake->sent[i], NULL);
    }
    fake->n_sent = 0;
}

static inline void
fake_destroy(struct fake *fake)
{
    fake_drop_sent(fake);
    controller_session_destroy(fake->session);
    names_destroy(&fake->names);
    service_routes_destroy(&fake->routes);
}

/* The oldest message sent, which must be of kind 'body'.  The caller frees
 * it. */
static inline Salient__V1__Envelope *
take(struct fake *fake, Salient__V1__Envelope__BodyCase body)
{
    CU_ASSERT_FATAL(fake->n_sent > 0);
    Salient__V1__Envelope *envelope = fake->sent[0];
    CU_ASSERT_EQUAL_FATAL(envelope->body_case, body);
    fake->n_sent--;
    memmove(&fake->sent[0], &fake->sent[1],
            fake->n_sent * sizeof fake->sent[0]);
    return envelope;
}

static inline uint64_t
take_id(struct fake *fake, Salient__V1__Envelope__BodyCase body)
{
    Salient__V1__Envelope *envelope = take(fake, body);
    uint64_t id = envelope->request_id;
    salient__v1__envelope__free_unpacked(envelope, NULL);
    CU_ASSERT_NOT_EQUAL(id, 0);
    return id;
}

#define BODY(KIND) SALIENT__V1__ENVELOPE__BODY_##KIND

/* Advances time to the session's next deadline, bounded, and runs it. */
static inline void
advance(struct fake *fake)
{
    int64_t deadline = controller_session_deadline(fake->session);
    CU_ASSERT_FATAL(deadline < fake->now + 60000);
    fake->now = MAX(fake->now, deadline);
    controller_session_run(fake->session, fake->now);
}

static inline void
reply(struct fake *fake, uint64_t id, Salient__V1__Envelope__BodyCase body,
      void *message)
{
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;
    envelope.request_id = id;
    envelope.body_case = body;
    envelope.hello = message; /* Any member of the union. */
    controller_session_received(fake->session, &envelope, fake->now);
}

static inline uint64_t
to_hello(struct fake *fake)
{
    controller_session_start(fake->session, fake->now);
    advance(fake);
    CU_ASSERT_EQUAL(controller_session_state(fake->session),
                    SESSION_CONNECTING);
    controller_session_connected(fake->session, fake->now);
    return take_id(fake, BODY(HELLO));
}

/* Challenges and checks the proof; returns its request ID. */
static inline uint64_t
to_proof(struct fake *fake)
{
    uint64_t hello = to_hello(fake);
    Salient__V1__Challenge challenge = SALIENT__V1__CHALLENGE__INIT;
    challenge.public_key.data = fake->controller.public_key;
    challenge.public_key.len = SAL_PUBLIC_KEY_LEN;
    challenge.nonce.data = fake->nonce;
    challenge.nonce.len = sizeof fake->nonce;
    reply(fake, hello, BODY(CHALLENGE), &challenge);

    uint8_t key[IDENTITY_SESSION_KEY_LEN];
    CU_ASSERT_EQUAL_FATAL(
        identity_session_key(&fake->controller, fake->agent.public_key,
                             fake->nonce, false, key), 0);
    Salient__V1__Envelope *proof = take(fake, BODY(PROOF));
    CU_ASSERT_EQUAL_FATAL(proof->proof->mac.len, IDENTITY_PROOF_LEN);
    CU_ASSERT_TRUE(identity_proof_verify(key, proof->proof->mac.data));
    uint64_t id = proof->request_id;
    salient__v1__envelope__free_unpacked(proof, NULL);
    return id;
}

static Salient__V1__Ipv4Prefix identity_pool
    = {PROTOBUF_C_MESSAGE_INIT(&salient__v1__ipv4_prefix__descriptor),
       0x64400000, 10};
static Salient__V1__Ipv4Prefix service_pool
    = {PROTOBUF_C_MESSAGE_INIT(&salient__v1__ipv4_prefix__descriptor),
       0xc6120000, 15};

static inline Salient__V1__Welcome
make_welcome(struct fake *fake)
{
    Salient__V1__Welcome welcome = SALIENT__V1__WELCOME__INIT;
    welcome.endpoint_id.data = fake->agent.endpoint_id;
    welcome.endpoint_id.len = SAL_ENDPOINT_ID_LEN;
    welcome.identity_v4 = 0x64400001;
    welcome.identity_pool_v4 = &identity_pool;
    welcome.service_pool_v4 = &service_pool;
    welcome.resolver_v4 = 0x0afffffe;
    welcome.sal_port = 6090;
    welcome.keepalive_interval_ms = KEEPALIVE_MS;
    welcome.lease_ms = LEASE_MS;
    welcome.probe_interval_ms = 2000;
    return welcome;
}

static inline void
to_up(struct fake *fake)
{
    uint64_t id = to_proof(fake);
    Salient__V1__Welcome welcome = make_welcome(fake);
    reply(fake, id, BODY(WELCOME), &welcome);
    CU_ASSERT_TRUE_FATAL(controller_session_is_up(fake->session));
}

static inline struct local_service
service(const char *name, uint16_t port, uint32_t weight)
{
    struct local_service s = {.name = (char *) name,
                              .protocol = 6,
                              .service_port = port,
                              .target_port = port,
                              .weight = weight};
    CU_ASSERT_EQUAL_FATAL(service_prefix_from_name(name, &s.prefix), 0);
    return s;
}

static inline const struct registration *
find(struct fake *fake, const struct local_service *key)
{
    return registrations_find(controller_session_registrations(fake->session),
                              key);
}

static inline void
reply_registered(struct fake *fake, uint64_t id, bool confirmed)
{
    Salient__V1__Registered registered = SALIENT__V1__REGISTERED__INIT;
    registered.service_v4 = 0xc6120001;
    registered.confirmed = confirmed;
    registered.confirm_us = 1234;
    reply(fake, id, BODY(REGISTERED), &registered);
}

/* Lets time pass; the controller answers keepalives. */
static inline void
run_for(struct fake *fake, int64_t ms)
{
    Salient__V1__KeepaliveReply ok = SALIENT__V1__KEEPALIVE_REPLY__INIT;
    int64_t end = fake->now + ms;
    while (controller_session_deadline(fake->session) <= end) {
        advance(fake);
        while (fake->n_sent && fake->sent[0]->body_case == BODY(KEEPALIVE)) {
            reply(fake, take_id(fake, BODY(KEEPALIVE)), BODY(KEEPALIVE_REPLY),
                  &ok);
        }
    }
    fake->now = end;
}

#endif /* fake_controller.h */
