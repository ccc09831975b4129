/* SPDX-License-Identifier: Apache-2.0 */
/* The session against a controller that is played by hand: what the session
 * sends is packed and unpacked as on the wire. */
#include "tests/unit/unit.h"

#include "agents/controller_session.h"
#include "packets.h"
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

static void
fake_connect(size_t i, void *fake_)
{
    struct fake *fake = fake_;
    fake->n_connects++;
    fake->endpoint = i;
}

static void
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

static void
fake_disconnect(void *fake_)
{
    struct fake *fake = fake_;
    fake->n_disconnects++;
}

static const struct session_ops fake_ops = {fake_connect, fake_send,
                                            fake_disconnect};

static void
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

static void
fake_drop_sent(struct fake *fake)
{
    for (size_t i = 0; i < fake->n_sent; i++) {
        salient__v1__envelope__free_unpacked(fake->sent[i], NULL);
    }
    fake->n_sent = 0;
}

static void
fake_destroy(struct fake *fake)
{
    fake_drop_sent(fake);
    controller_session_destroy(fake->session);
    names_destroy(&fake->names);
    service_routes_destroy(&fake->routes);
}

/* The oldest message sent, which must be of kind 'body'.  The caller frees
 * it. */
static Salient__V1__Envelope *
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

static uint64_t
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
static void
advance(struct fake *fake)
{
    int64_t deadline = controller_session_deadline(fake->session);
    CU_ASSERT_FATAL(deadline < fake->now + 60000);
    fake->now = MAX(fake->now, deadline);
    controller_session_run(fake->session, fake->now);
}

static void
reply(struct fake *fake, uint64_t id, Salient__V1__Envelope__BodyCase body,
      void *message)
{
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;
    envelope.request_id = id;
    envelope.body_case = body;
    envelope.hello = message; /* Any member of the union. */
    controller_session_received(fake->session, &envelope, fake->now);
}

static uint64_t
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
static uint64_t
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

static Salient__V1__Welcome
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

static void
to_up(struct fake *fake)
{
    uint64_t id = to_proof(fake);
    Salient__V1__Welcome welcome = make_welcome(fake);
    reply(fake, id, BODY(WELCOME), &welcome);
    CU_ASSERT_TRUE_FATAL(controller_session_is_up(fake->session));
}

static struct local_service
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

static const struct registration *
find(struct fake *fake, const struct local_service *key)
{
    return registrations_find(controller_session_registrations(fake->session),
                              key);
}

static void
reply_registered(struct fake *fake, uint64_t id, bool confirmed)
{
    Salient__V1__Registered registered = SALIENT__V1__REGISTERED__INIT;
    registered.service_v4 = 0xc6120001;
    registered.confirmed = confirmed;
    registered.confirm_us = 1234;
    reply(fake, id, BODY(REGISTERED), &registered);
}

/* Lets time pass; the controller answers keepalives. */
static void
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

static void
test_handshake(void)
{
    struct fake fake;
    fake_init(&fake);
    controller_session_set_identity_v4(fake.session, 0x64400007);
    controller_session_start(fake.session, fake.now);
    advance(&fake);
    CU_ASSERT_EQUAL(fake.n_connects, 1);
    CU_ASSERT_PTR_NULL(controller_session_key(fake.session));
    controller_session_connected(fake.session, fake.now);
    Salient__V1__Envelope *hello = take(&fake, BODY(HELLO));
    CU_ASSERT_EQUAL(hello->hello->api_version, 1);
    CU_ASSERT_STRING_EQUAL(hello->hello->name, "host1");
    CU_ASSERT_EQUAL(hello->hello->identity_v4, 0x64400007);
    CU_ASSERT_EQUAL(memcmp(hello->hello->public_key.data,
                           fake.agent.public_key, SAL_PUBLIC_KEY_LEN), 0);
    salient__v1__envelope__free_unpacked(hello, NULL);
    controller_session_stop(fake.session);
    CU_ASSERT_EQUAL(controller_session_deadline(fake.session), INT64_MAX);

    to_up(&fake);
    unsigned int events = controller_session_take_events(fake.session);
    CU_ASSERT_TRUE(events & SESSION_EVENT_WELCOME);
    CU_ASSERT_TRUE(events & SESSION_EVENT_STATE);
    CU_ASSERT_EQUAL(controller_session_take_events(fake.session), 0);
    CU_ASSERT_PTR_NOT_NULL(controller_session_key(fake.session));
    CU_ASSERT_EQUAL(controller_session_welcome(fake.session)->identity_v4,
                    0x64400001);
    CU_ASSERT_EQUAL(fake.n_sent, 0);
    fake_destroy(&fake);
}

/* Each bad Welcome ends the attempt; the session tries the next endpoint. */
static void
test_bad_welcome(void)
{
    for (int wrong = 0; wrong < 8; wrong++) {
        struct fake fake;
        fake_init(&fake);
        uint64_t id = to_proof(&fake);
        Salient__V1__Welcome welcome = make_welcome(&fake);
        Salient__V1__Ipv4Prefix pool = service_pool;
        uint8_t other[SAL_ENDPOINT_ID_LEN] = {1};
        switch (wrong) {
        case 0: welcome.endpoint_id.data = other; break;
        case 1: welcome.endpoint_id.len = 4; break;
        case 2: welcome.identity_v4 = 0; break;
        case 3: welcome.resolver_v4 = 0; break;
        case 4: welcome.sal_port = 65536; break;
        case 5: pool.length = 33; welcome.service_pool_v4 = &pool; break;
        case 6: welcome.identity_pool_v4 = NULL; break;
        case 7: welcome.keepalive_interval_ms = 0; break;
        }
        reply(&fake, id, BODY(WELCOME), &welcome);
        CU_ASSERT_EQUAL(controller_session_state(fake.session),
                        SESSION_BACKOFF);
        CU_ASSERT_EQUAL(fake.n_disconnects, 1);
        CU_ASSERT_PTR_NOT_NULL(controller_session_error(fake.session));
        CU_ASSERT_PTR_NULL(controller_session_welcome(fake.session));
        advance(&fake);
        CU_ASSERT_EQUAL(fake.endpoint, 1);
        fake_destroy(&fake);
    }
}

static void
test_out_of_turn(void)
{
    struct fake fake;
    fake_init(&fake);
    uint64_t hello = to_hello(&fake);
    Salient__V1__Welcome welcome = make_welcome(&fake);
    reply(&fake, hello, BODY(WELCOME), &welcome);
    CU_ASSERT_EQUAL(controller_session_state(fake.session), SESSION_BACKOFF);
    fake_destroy(&fake);

    fake_init(&fake);
    hello = to_hello(&fake);
    Salient__V1__Error error = SALIENT__V1__ERROR__INIT;
    error.message = (char *) "go away";
    reply(&fake, hello, BODY(ERROR), &error);
    CU_ASSERT_EQUAL(controller_session_state(fake.session), SESSION_BACKOFF);
    CU_ASSERT_STRING_EQUAL(controller_session_error(fake.session), "go away");
    fake_destroy(&fake);
}

/* Waits grow to a limit, and differ from agent to agent. */
static void
test_backoff(void)
{
    struct fake fake;
    int64_t longest = 0;
    fake_init(&fake);
    controller_session_start(fake.session, fake.now);
    for (int i = 0; i < 12; i++) {
        advance(&fake);
        CU_ASSERT_EQUAL(fake.n_connects, i + 1);
        CU_ASSERT_EQUAL(fake.endpoint, i % 2);
        controller_session_disconnected(fake.session, "refused", fake.now);
        int64_t wait = controller_session_deadline(fake.session) - fake.now;
        CU_ASSERT_TRUE(wait >= 50 && wait <= 5000);
        if (i == 0) {
            CU_ASSERT_TRUE(wait <= 100);
        }
        longest = MAX(longest, wait);
    }
    CU_ASSERT_TRUE(longest >= 2500);
    fake_destroy(&fake);
}

static void
test_timeouts(void)
{
    struct fake fake;
    fake_init(&fake);
    to_hello(&fake);
    advance(&fake); /* No Challenge. */
    CU_ASSERT_EQUAL(controller_session_state(fake.session), SESSION_BACKOFF);
    CU_ASSERT_EQUAL(fake.n_disconnects, 1);

    advance(&fake); /* Connects again; nobody accepts. */
    CU_ASSERT_EQUAL(fake.n_connects, 2);
    advance(&fake);
    CU_ASSERT_EQUAL(fake.n_disconnects, 2);
    fake_destroy(&fake);
}

static void
test_keepalive(void)
{
    struct fake fake;
    fake_init(&fake);
    to_up(&fake);
    int64_t up = fake.now;
    Salient__V1__KeepaliveReply ok = SALIENT__V1__KEEPALIVE_REPLY__INIT;
    for (int i = 1; i <= 5; i++) {
        advance(&fake);
        CU_ASSERT_EQUAL(fake.now, up + i * KEEPALIVE_MS);
        reply(&fake, take_id(&fake, BODY(KEEPALIVE)), BODY(KEEPALIVE_REPLY),
              &ok);
    }
    /* No answers any more. */
    int64_t last = fake.now;
    while (controller_session_is_up(fake.session)
           && fake.now < last + LEASE_MS) {
        advance(&fake);
    }
    CU_ASSERT_EQUAL(fake.now, last + 3 * KEEPALIVE_MS);
    CU_ASSERT_EQUAL(fake.n_disconnects, 1);
    CU_ASSERT_TRUE(controller_session_take_events(fake.session)
                   & SESSION_EVENT_STATE);
    fake_destroy(&fake);
}

static void
test_register(void)
{
    struct fake fake;
    struct local_service web = service("web.shop.acme", 80, 2);
    fake_init(&fake);
    controller_session_register(fake.session, &web, false, fake.now);
    CU_ASSERT_EQUAL(find(&fake, &web)->state, REGISTRATION_WANTED);
    to_up(&fake);

    /* Announced at once. */
    Salient__V1__Envelope *sent = take(&fake, BODY(REGISTER));
    CU_ASSERT_EQUAL(sent->register_->which_case,
                    SALIENT__V1__REGISTER__WHICH_NAME);
    CU_ASSERT_STRING_EQUAL(sent->register_->name, "web.shop.acme");
    CU_ASSERT_EQUAL(sent->register_->protocol, 6);
    CU_ASSERT_EQUAL(sent->register_->service_port, 80);
    CU_ASSERT_EQUAL(sent->register_->weight, 2);
    CU_ASSERT_FALSE(sent->register_->wait);
    reply_registered(&fake, sent->request_id, false);
    salient__v1__envelope__free_unpacked(sent, NULL);
    CU_ASSERT_EQUAL(find(&fake, &web)->state, REGISTRATION_REGISTERED);
    /* Its name is known from now on. */
    CU_ASSERT_EQUAL(names_by_name(&fake.names, "web.shop.acme")->address,
                    0xc6120001);

    /* The same again is no news, another target neither. */
    unsigned int generation = find(&fake, &web)->generation;
    web.target_port = 8080;
    controller_session_register(fake.session, &web, false, fake.now);
    CU_ASSERT_EQUAL(fake.n_sent, 0);
    CU_ASSERT_EQUAL(find(&fake, &web)->generation, generation);
    CU_ASSERT_EQUAL(find(&fake, &web)->service.target_port, 8080);

    /* A weight is, and so is the wish for confirmation. */
    web.weight = 3;
    controller_session_register(fake.session, &web, false, fake.now);
    uint64_t old = take_id(&fake, BODY(REGISTER));
    controller_session_register(fake.session, &web, true, fake.now);
    uint64_t new = take_id(&fake, BODY(REGISTER));
    reply_registered(&fake, old, false); /* Overtaken: does not count. */
    CU_ASSERT_EQUAL(find(&fake, &web)->state, REGISTRATION_SENT);
    reply_registered(&fake, new, true);
    CU_ASSERT_TRUE(find(&fake, &web)->confirmed);
    CU_ASSERT_EQUAL(find(&fake, &web)->confirm_us, 1234);
    CU_ASSERT_TRUE(registrations_settled(
        controller_session_registrations(fake.session)));

    /* After a reconnect, all over. */
    controller_session_disconnected(fake.session, NULL, fake.now);
    CU_ASSERT_EQUAL(find(&fake, &web)->state, REGISTRATION_WANTED);
    to_up(&fake);
    take_id(&fake, BODY(REGISTER));
    fake_destroy(&fake);
}

static void
test_unregister(void)
{
    struct fake fake;
    struct local_service web = service("web.shop.acme", 80, 2);
    struct local_service old = service("old.shop.acme", 80, 1);
    fake_init(&fake);
    to_up(&fake);
    controller_session_register(fake.session, &web, false, fake.now);
    reply_registered(&fake, take_id(&fake, BODY(REGISTER)), false);

    controller_session_unregister(fake.session, &web, fake.now);
    Salient__V1__Envelope *sent = take(&fake, BODY(UNREGISTER));
    CU_ASSERT_TRUE(sent->unregister->wait);
    CU_ASSERT_STRING_EQUAL(sent->unregister->name, "web.shop.acme");
    /* Served until the switches have confirmed. */
    CU_ASSERT_EQUAL(find(&fake, &web)->state, REGISTRATION_REMOVING);
    Salient__V1__Unregistered ok = SALIENT__V1__UNREGISTERED__INIT;
    reply(&fake, sent->request_id, BODY(UNREGISTERED), &ok);
    salient__v1__envelope__free_unpacked(sent, NULL);
    CU_ASSERT_PTR_NULL(find(&fake, &web));

    /* What a predecessor left, known by its prefix alone. */
    old.name = NULL;
    controller_session_unregister(fake.session, &old, fake.now);
    sent = take(&fake, BODY(UNREGISTER));
    CU_ASSERT_EQUAL(sent->unregister->which_case,
                    SALIENT__V1__UNREGISTER__WHICH_PREFIX);
    CU_ASSERT_EQUAL(sent->unregister->prefix->length, 192);
    CU_ASSERT_EQUAL(memcmp(sent->unregister->prefix->id.data,
                           old.prefix.id.bytes, 32), 0);
    Salient__V1__Error error = SALIENT__V1__ERROR__INIT;
    error.code = SALIENT__V1__ERROR_CODE__ERROR_NOT_FOUND;
    reply(&fake, sent->request_id, BODY(ERROR), &error);
    salient__v1__envelope__free_unpacked(sent, NULL);
    CU_ASSERT_PTR_NULL(find(&fake, &old));

    /* Unregistered while the connection was down: said when it is back. */
    controller_session_register(fake.session, &web, false, fake.now);
    take_id(&fake, BODY(REGISTER));
    controller_session_disconnected(fake.session, NULL, fake.now);
    controller_session_unregister(fake.session, &web, fake.now);
    to_up(&fake);
    take_id(&fake, BODY(UNREGISTER));
    fake_destroy(&fake);
}

static void
test_refused(void)
{
    struct fake fake;
    struct local_service web = service("web.shop.acme", 80, 2);
    fake_init(&fake);
    to_up(&fake);
    controller_session_register(fake.session, &web, true, fake.now);
    Salient__V1__Error error = SALIENT__V1__ERROR__INIT;
    error.code = SALIENT__V1__ERROR_CODE__ERROR_CONFLICT;
    error.message = (char *) "taken";
    reply(&fake, take_id(&fake, BODY(REGISTER)), BODY(ERROR), &error);
    CU_ASSERT_EQUAL(find(&fake, &web)->state, REGISTRATION_REFUSED);
    CU_ASSERT_STRING_EQUAL(find(&fake, &web)->error, "taken");

    /* Tried again, not at once. */
    int64_t refused = fake.now;
    Salient__V1__KeepaliveReply ok = SALIENT__V1__KEEPALIVE_REPLY__INIT;
    while (find(&fake, &web)->state == REGISTRATION_REFUSED
           && fake.now < refused + 60000) {
        advance(&fake);
        if (fake.n_sent
            && fake.sent[0]->body_case == BODY(KEEPALIVE)) {
            reply(&fake, take_id(&fake, BODY(KEEPALIVE)),
                  BODY(KEEPALIVE_REPLY), &ok);
        }
    }
    CU_ASSERT_EQUAL(fake.now, refused + 10000);

    /* Registered, though the switches did not confirm in time. */
    error.code = SALIENT__V1__ERROR_CODE__ERROR_TIMEOUT;
    reply(&fake, take_id(&fake, BODY(REGISTER)), BODY(ERROR), &error);
    CU_ASSERT_EQUAL(find(&fake, &web)->state, REGISTRATION_REGISTERED);
    CU_ASSERT_FALSE(find(&fake, &web)->confirmed);
    fake_destroy(&fake);
}

static void
test_set_services(void)
{
    struct fake fake;
    struct local_services set;
    struct local_service a = service("a.x", 80, 1), b = service("b.x", 80, 1);
    fake_init(&fake);
    to_up(&fake);
    local_services_init(&set);
    local_services_put(&set, &a);
    controller_session_set_services(fake.session, &set, fake.now);
    reply_registered(&fake, take_id(&fake, BODY(REGISTER)), false);

    local_services_remove(&set, &a);
    local_services_put(&set, &b);
    controller_session_set_services(fake.session, &set, fake.now);
    CU_ASSERT_EQUAL(find(&fake, &a)->state, REGISTRATION_REMOVING);
    CU_ASSERT_EQUAL(find(&fake, &b)->state, REGISTRATION_SENT);
    local_services_destroy(&set);
    fake_destroy(&fake);
}

static Salient__V1__Service
make_service(const char *name, struct service_prefix *prefix,
             Salient__V1__Prefix *wire, uint32_t address)
{
    Salient__V1__Service out = SALIENT__V1__SERVICE__INIT;
    Salient__V1__Prefix init = SALIENT__V1__PREFIX__INIT;
    service_prefix_from_name(name, prefix);
    *wire = init;
    wire->id.data = prefix->id.bytes;
    wire->id.len = SAL_SERVICE_ID_LEN;
    wire->length = prefix->len;
    out.name = (char *) name;
    out.prefix = wire;
    out.service_v4 = address;
    return out;
}

static void
test_service_table(void)
{
    struct fake fake;
    struct service_prefix prefix[3];
    Salient__V1__Prefix wire[3];
    fake_init(&fake);
    to_up(&fake);
    controller_session_take_events(fake.session);

    Salient__V1__Service web
        = make_service("web.shop.acme", &prefix[0], &wire[0], 1);
    Salient__V1__Service db
        = make_service("db.shop.acme", &prefix[1], &wire[1], 2);
    Salient__V1__Service *services[] = {&web, &db};
    Salient__V1__ServiceTable table = SALIENT__V1__SERVICE_TABLE__INIT;
    table.complete = true;
    table.n_services = 2;
    table.services = services;
    CU_ASSERT_FALSE(controller_session_names_complete(fake.session));
    reply(&fake, 0, BODY(SERVICE_TABLE), &table);
    CU_ASSERT_TRUE(controller_session_names_complete(fake.session));
    CU_ASSERT_EQUAL(controller_session_take_events(fake.session),
                    SESSION_EVENT_NAMES);
    CU_ASSERT_EQUAL(names_count(&fake.names), 2);
    reply(&fake, 0, BODY(SERVICE_TABLE), &table);
    CU_ASSERT_EQUAL(controller_session_take_events(fake.session), 0);

    /* A difference: one removed, one whose name lies about its prefix. */
    Salient__V1__Prefix *removed[] = {&wire[1]};
    Salient__V1__Service liar
        = make_service("bank.acme", &prefix[2], &wire[2], 9);
    liar.name = (char *) "evil.acme";
    Salient__V1__Service *liars[] = {&liar};
    table.complete = false;
    table.n_removed = 1;
    table.removed = removed;
    table.n_services = 1;
    table.services = liars;
    reply(&fake, 0, BODY(SERVICE_TABLE), &table);
    CU_ASSERT_EQUAL(names_count(&fake.names), 1);
    CU_ASSERT_PTR_NOT_NULL(names_by_name(&fake.names, "web.shop.acme"));

    /* Complete: what is not in it, nor in what follows, is forgotten. */
    Salient__V1__ServiceTable empty = SALIENT__V1__SERVICE_TABLE__INIT;
    empty.complete = true;
    reply(&fake, 0, BODY(SERVICE_TABLE), &empty);
    CU_ASSERT_EQUAL(names_count(&fake.names), 1);
    Salient__V1__ServiceTable rest = SALIENT__V1__SERVICE_TABLE__INIT;
    rest.n_services = 2;
    rest.services = services;
    db.service_v4 = 2;
    reply(&fake, 0, BODY(SERVICE_TABLE), &rest);
    run_for(&fake, 2000);
    CU_ASSERT_EQUAL(names_count(&fake.names), 2);

    controller_session_take_events(fake.session);
    reply(&fake, 0, BODY(SERVICE_TABLE), &empty);
    CU_ASSERT_EQUAL(controller_session_take_events(fake.session), 0);
    run_for(&fake, 2000);
    CU_ASSERT_EQUAL(names_count(&fake.names), 0);
    CU_ASSERT_EQUAL(controller_session_take_events(fake.session),
                    SESSION_EVENT_NAMES);
    fake_destroy(&fake);
}

/* What a service's entry says besides its name becomes a route. */
static void
test_service_routes(void)
{
    struct fake fake;
    struct service_prefix prefix;
    Salient__V1__Prefix wire;
    uint8_t v4[4] = {10, 0, 0, 2}, v6[16] = {0x20, 1, [15] = 7}, bad[5];
    Salient__V1__Hop hops[3] = {SALIENT__V1__HOP__INIT, SALIENT__V1__HOP__INIT,
                                SALIENT__V1__HOP__INIT};
    Salient__V1__Hop *hop_pointers[] = {&hops[0], &hops[1], &hops[2]};
    fake_init(&fake);
    to_up(&fake);

    Salient__V1__Service web
        = make_service("web.shop.acme", &prefix, &wire, 1);
    Salient__V1__Service *services[] = {&web};
    Salient__V1__ServiceTable table = SALIENT__V1__SERVICE_TABLE__INIT;
    table.n_services = 1;
    table.services = services;
    reply(&fake, 0, BODY(SERVICE_TABLE), &table);
    CU_ASSERT_EQUAL(fake.routes.n, 0);

    web.datagram = true;
    web.path_class = 3;
    hops[0].locator = (ProtobufCBinaryData) {sizeof v4, v4};
    hops[0].weight = 1;
    hops[1].locator = (ProtobufCBinaryData) {sizeof bad, bad};
    hops[1].weight = 1;
    hops[2].locator = (ProtobufCBinaryData) {sizeof v6, v6};
    hops[2].weight = 5;
    web.n_hops = 3;
    web.hops = hop_pointers;
    controller_session_take_events(fake.session);
    reply(&fake, 0, BODY(SERVICE_TABLE), &table);
    CU_ASSERT_EQUAL(controller_session_take_events(fake.session),
                    SESSION_EVENT_NAMES);
    const struct service_route *route
        = service_routes_find(&fake.routes, &prefix);
    CU_ASSERT_PTR_NOT_NULL_FATAL(route);
    CU_ASSERT_TRUE(route->datagram);
    CU_ASSERT_EQUAL(route->path_class, 3);
    CU_ASSERT_EQUAL(route->n_hops, 2); /* Not the malformed one. */
    CU_ASSERT_EQUAL(route->hops[1].weight, 5);
    reply(&fake, 0, BODY(SERVICE_TABLE), &table);
    CU_ASSERT_EQUAL(controller_session_take_events(fake.session), 0);

    Salient__V1__Prefix *removed[] = {&wire};
    table.n_services = 0;
    table.n_removed = 1;
    table.removed = removed;
    reply(&fake, 0, BODY(SERVICE_TABLE), &table);
    CU_ASSERT_EQUAL(fake.routes.n, 0);
    fake_destroy(&fake);
}

/* Who is at a locator: an answer that fits, one that does not, an error. */
static void
test_identify(void)
{
    struct fake fake;
    struct session_identified got;
    struct claim claim = {.endpoint = {1}, .identity_v4 = 0x64400001};
    uint8_t endpoint[17] = {2};
    fake_init(&fake);
    in6_addr_set_mapped_ipv4(&claim.locator, htonl(0x0a000001));
    CU_ASSERT_FALSE(controller_session_identify(fake.session, &claim));
    to_up(&fake);
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_TRUE(controller_session_identify(fake.session, &claim));
        uint64_t id = take_id(&fake, BODY(IDENTIFY));
        CU_ASSERT_FALSE(controller_session_take_identified(fake.session,
                                                           &got));
        Salient__V1__Identified answer = SALIENT__V1__IDENTIFIED__INIT;
        Salient__V1__Error error = SALIENT__V1__ERROR__INIT;
        answer.attached = true;
        answer.endpoint_id.data = endpoint;
        answer.endpoint_id.len = i == 0 ? 16 : i == 1 ? 0 : 17;
        answer.identity_v4 = 0x64400009;
        answer.ttl_ms = 500;
        controller_session_take_events(fake.session);
        reply(&fake, id, i == 3 ? BODY(ERROR) : BODY(IDENTIFIED),
              i == 3 ? (void *) &error : (void *) &answer);
        CU_ASSERT_EQUAL(controller_session_take_events(fake.session),
                        SESSION_EVENT_IDENTIFIED);
        CU_ASSERT_TRUE(controller_session_take_identified(fake.session,
                                                          &got));
        CU_ASSERT_EQUAL(memcmp(&got.claim, &claim, sizeof claim), 0);
        CU_ASSERT_EQUAL(got.ok, i < 2);
        if (i < 2) {
            /* Nobody is attached who has no name. */
            CU_ASSERT_EQUAL(got.answer.known, i == 0);
            CU_ASSERT_EQUAL(got.answer.attached, i == 0);
            CU_ASSERT_EQUAL(got.answer.ttl_ms, 500);
        }
        if (!i) {
            CU_ASSERT_EQUAL(memcmp(got.answer.endpoint, endpoint, 16), 0);
            CU_ASSERT_EQUAL(got.answer.identity_v4, 0x64400009);
        }
    }
    int n = 0;
    while (n < 1000 && controller_session_identify(fake.session, &claim)) {
        fake_drop_sent(&fake);
        n++;
    }
    CU_ASSERT(n >= 16 && n < 1000);
    controller_session_disconnected(fake.session, "test", fake.now);
    CU_ASSERT_FALSE(controller_session_take_identified(fake.session, &got));
    fake_destroy(&fake);
}

/* A question, its answers: one that fits, one that does not, an error. */
static void
test_resolve(void)
{
    struct fake fake;
    struct service_prefix prefix;
    struct session_resolved resolved;
    Salient__V1__Prefix wire;
    fake_init(&fake);
    service_prefix_from_name("web.shop.acme", &prefix);
    CU_ASSERT_FALSE(controller_session_resolve(fake.session, &prefix.id,
                                               fake.now));
    to_up(&fake);
    make_service("shop.acme", &prefix, &wire, 1);
    struct service_prefix web;
    service_prefix_from_name("web.shop.acme", &web);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(controller_session_resolve(fake.session, &web.id,
                                                  fake.now));
        uint64_t id = take_id(&fake, BODY(RESOLVE));
        CU_ASSERT_FALSE(controller_session_take_resolved(fake.session,
                                                         &resolved));
        Salient__V1__Resolved answer = SALIENT__V1__RESOLVED__INIT;
        Salient__V1__Error error = SALIENT__V1__ERROR__INIT;
        answer.prefix = &wire;
        answer.ttl_ms = 500;
        if (i == 1) {
            wire.length = 192; /* Of "shop.acme" with zeros: not web's. */
        }
        controller_session_take_events(fake.session);
        reply(&fake, id, i == 2 ? BODY(ERROR) : BODY(RESOLVED),
              i == 2 ? (void *) &error : (void *) &answer);
        CU_ASSERT_EQUAL(controller_session_take_events(fake.session),
                        SESSION_EVENT_RESOLVED);
        CU_ASSERT_TRUE(controller_session_take_resolved(fake.session,
                                                        &resolved));
        CU_ASSERT_EQUAL(resolved.found, i == 0);
        CU_ASSERT_EQUAL(memcmp(&resolved.service_id, &web.id, sizeof web.id),
                        0);
        if (!i) {
            CU_ASSERT_EQUAL(resolved.route.prefix.len, 128);
            CU_ASSERT_EQUAL(resolved.route.expires_ms, fake.now + 500);
        }
        free(resolved.route.hops);
    }

    /* No more than so many at once; none after the connection has gone. */
    int n = 0;
    while (n < 1000 && controller_session_resolve(fake.session, &web.id,
                                                  fake.now)) {
        fake_drop_sent(&fake);
        n++;
    }
    CU_ASSERT(n >= 16 && n < 1000);
    controller_session_disconnected(fake.session, "test", fake.now);
    CU_ASSERT_FALSE(controller_session_take_resolved(fake.session,
                                                     &resolved));
    fake_destroy(&fake);
}

/* The names of a controller that went away before it had told all stay. */
static void
test_service_table_cut(void)
{
    struct fake fake;
    struct service_prefix prefix;
    Salient__V1__Prefix wire;
    fake_init(&fake);
    to_up(&fake);
    Salient__V1__Service web
        = make_service("web.shop.acme", &prefix, &wire, 1);
    Salient__V1__Service *services[] = {&web};
    Salient__V1__ServiceTable table = SALIENT__V1__SERVICE_TABLE__INIT;
    table.n_services = 1;
    table.services = services;
    reply(&fake, 0, BODY(SERVICE_TABLE), &table);
    Salient__V1__ServiceTable empty = SALIENT__V1__SERVICE_TABLE__INIT;
    empty.complete = true;
    reply(&fake, 0, BODY(SERVICE_TABLE), &empty);
    controller_session_disconnected(fake.session, "gone", fake.now);
    to_up(&fake);
    run_for(&fake, 2000);
    CU_ASSERT_EQUAL(names_count(&fake.names), 1);
    fake_destroy(&fake);
}

static bool
is_attached(const struct fake *fake, uint32_t v4)
{
    struct in6_addr locator = in6_addr_mapped_ipv4(htonl(v4));
    return controller_session_attached(fake->session, &locator);
}

static void
test_attachment(void)
{
    struct fake fake;
    fake_init(&fake);
    to_up(&fake);
    controller_session_take_events(fake.session);
    Salient__V1__Attachment attachment = SALIENT__V1__ATTACHMENT__INIT;
    attachment.locator_v4 = 0x0a000101;
    attachment.attached = true;
    reply(&fake, 0, BODY(ATTACHMENT), &attachment);
    CU_ASSERT_TRUE(is_attached(&fake, 0x0a000101));
    CU_ASSERT_FALSE(is_attached(&fake, 0x0a000102));
    CU_ASSERT_EQUAL(controller_session_take_events(fake.session),
                    SESSION_EVENT_ATTACHMENT);

    /* Withdrawn: say at once where we are. */
    attachment.attached = false;
    reply(&fake, 0, BODY(ATTACHMENT), &attachment);
    CU_ASSERT_FALSE(is_attached(&fake, 0x0a000101));
    CU_ASSERT_EQUAL(controller_session_take_events(fake.session),
                    SESSION_EVENT_ATTACHMENT | SESSION_EVENT_PROBE);

    /* The same over IPv6; half an address is none. */
    struct in6_addr v6 = {{{0x20, 0x01, [15] = 7}}};
    attachment.locator_v4 = 0;
    attachment.locator_v6.data = v6.s6_addr;
    attachment.locator_v6.len = 8;
    attachment.attached = true;
    reply(&fake, 0, BODY(ATTACHMENT), &attachment);
    CU_ASSERT_FALSE(controller_session_is_attached(fake.session));
    attachment.locator_v6.len = sizeof v6;
    reply(&fake, 0, BODY(ATTACHMENT), &attachment);
    CU_ASSERT_TRUE(controller_session_attached(fake.session, &v6));
    attachment.attached = false;
    reply(&fake, 0, BODY(ATTACHMENT), &attachment);
    CU_ASSERT_FALSE(controller_session_attached(fake.session, &v6));
    attachment.locator_v6.len = 0;
    controller_session_take_events(fake.session);

    Salient__V1__ProbeRequest request = SALIENT__V1__PROBE_REQUEST__INIT;
    reply(&fake, 0, BODY(PROBE_REQUEST), &request);
    CU_ASSERT_EQUAL(controller_session_take_events(fake.session),
                    SESSION_EVENT_PROBE);

    /* More locators than an endpoint may have do no harm. */
    attachment.attached = true;
    for (uint32_t i = 0; i < 100; i++) {
        attachment.locator_v4 = i;
        reply(&fake, 0, BODY(ATTACHMENT), &attachment);
    }
    controller_session_disconnected(fake.session, "gone", fake.now);
    CU_ASSERT_FALSE(is_attached(&fake, 0));
    fake_destroy(&fake);
}

/* Any sequence of inputs: the session never gets stuck, and after it is fed a
 * good handshake everything wanted is registered. */
static void
test_random(void)
{
    static const char *const names[] = {"a.x", "b.x", "c.x", "d.x"};
    struct fake fake;
    fake_init(&fake);
    controller_session_start(fake.session, fake.now);
    Salient__V1__KeepaliveReply keepalive = SALIENT__V1__KEEPALIVE_REPLY__INIT;
    Salient__V1__Error error = SALIENT__V1__ERROR__INIT;
    for (int step = 0; step < 5000; step++) {
        struct local_service s = service(names[unit_random_below(4)], 80,
                                         unit_random_below(3));
        fake.now += unit_random_below(300);
        switch (unit_random_below(7)) {
        case 0:
            controller_session_run(fake.session, fake.now);
            break;
        case 1:
            controller_session_connected(fake.session, fake.now);
            break;
        case 2:
            controller_session_disconnected(fake.session, "x", fake.now);
            break;
        case 3:
            controller_session_register(fake.session, &s,
                                        unit_random_below(2), fake.now);
            break;
        case 4:
            controller_session_unregister(fake.session, &s, fake.now);
            break;
        case 5:
            error.code = unit_random_below(9);
            reply(&fake, unit_random_below(2 * step + 1), BODY(ERROR), &error);
            break;
        case 6:
            reply(&fake, unit_random_below(2 * step + 1),
                  BODY(KEEPALIVE_REPLY), &keepalive);
            break;
        }
        fake_drop_sent(&fake);
        CU_ASSERT_TRUE_FATAL(controller_session_deadline(fake.session)
                             <= fake.now + 60000);
    }
    controller_session_stop(fake.session);
    to_up(&fake);
    const struct registrations *all
        = controller_session_registrations(fake.session);
    CU_ASSERT_EQUAL(fake.n_sent, hmap_count(&all->map));
    while (fake.n_sent) {
        bool add = fake.sent[0]->body_case == BODY(REGISTER);
        Salient__V1__Unregistered ok = SALIENT__V1__UNREGISTERED__INIT;
        uint64_t id = take_id(&fake, fake.sent[0]->body_case);
        if (add) {
            reply_registered(&fake, id, true);
        } else {
            reply(&fake, id, BODY(UNREGISTERED), &ok);
        }
    }
    CU_ASSERT_TRUE(registrations_settled(all));
    fake_destroy(&fake);
}

UNIT_MAIN("controller_session", UNIT_TEST(test_handshake),
          UNIT_TEST(test_service_routes), UNIT_TEST(test_resolve),
          UNIT_TEST(test_identify),
          UNIT_TEST(test_bad_welcome), UNIT_TEST(test_out_of_turn),
          UNIT_TEST(test_backoff), UNIT_TEST(test_timeouts),
          UNIT_TEST(test_keepalive), UNIT_TEST(test_register),
          UNIT_TEST(test_unregister), UNIT_TEST(test_refused),
          UNIT_TEST(test_set_services), UNIT_TEST(test_service_table),
          UNIT_TEST(test_service_table_cut),
          UNIT_TEST(test_attachment), UNIT_TEST(test_random))
