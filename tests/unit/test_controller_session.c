/* SPDX-License-Identifier: Apache-2.0 */
/* A session's life and its registrations, against a controller that is played
 * by hand. */
#include "tests/unit/fake_controller.h"

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
    const struct registrations *all
        = controller_session_registrations(fake.session);
    CU_ASSERT_PTR_NULL(registrations_find_end(all, &web));
    Salient__V1__Unregistered ok = SALIENT__V1__UNREGISTERED__INIT;
    ok.confirmed = true;
    ok.confirm_us = 700;
    reply(&fake, sent->request_id, BODY(UNREGISTERED), &ok);
    salient__v1__envelope__free_unpacked(sent, NULL);
    CU_ASSERT_PTR_NULL(find(&fake, &web));
    const struct registration_end *end = registrations_find_end(all, &web);
    CU_ASSERT_FATAL(end != NULL);
    CU_ASSERT(end->confirmed && end->confirm_us == 700);

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
    CU_ASSERT_PTR_NULL(registrations_find_end(all, &web));
    end = registrations_find_end(all, &old);
    CU_ASSERT(end && !end->confirmed);

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
          UNIT_TEST(test_bad_welcome), UNIT_TEST(test_out_of_turn),
          UNIT_TEST(test_backoff), UNIT_TEST(test_timeouts),
          UNIT_TEST(test_keepalive), UNIT_TEST(test_register),
          UNIT_TEST(test_unregister), UNIT_TEST(test_refused),
          UNIT_TEST(test_set_services), UNIT_TEST(test_random))
