/* SPDX-License-Identifier: Apache-2.0 */
/* What the controller tells a session: services and their routes, answers,
 * attachments. */
#include "tests/unit/fake_controller.h"

#include "packets.h"

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

static bool
is_attached(const struct fake *fake, uint32_t v4)
{
    struct in6_addr locator = in6_addr_mapped_ipv4(htonl(v4));
    return controller_session_attached(fake->session, &locator);
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

UNIT_MAIN("session_news", UNIT_TEST(test_service_table),
          UNIT_TEST(test_service_table_cut), UNIT_TEST(test_service_routes),
          UNIT_TEST(test_resolve), UNIT_TEST(test_identify),
          UNIT_TEST(test_attachment))
