/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's side of the registration API, played by a scripted
 * agent. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <limits.h>
#include "controller/addresses.h"
#include "controller/agent_session.h"
#include "tests/unit/agent_answers.h"
#include "util.h"

#define ERROR(NAME) SALIENT__V1__ERROR_CODE__ERROR_##NAME

static const struct agent_session_config config = {
    .identity_network = ADDRESS_IDENTITY_NETWORK,
    .identity_len = ADDRESS_IDENTITY_LEN,
    .service_network = ADDRESS_SERVICE_NETWORK,
    .service_len = ADDRESS_SERVICE_LEN,
    .resolver_v4 = 0x0afffffe,
    .sal_port = SAL_UDP_PORT,
    .keepalive_interval_ms = 1000,
    .lease_ms = 3000,
    .probe_interval_ms = 1000,
    .handshake_timeout_ms = 5000,
    .wait_timeout_ms = 2000,
    .max_instances = 3,
};

struct bench {
    struct address_pool *identities, *services;
    struct registry *registry;
    struct agent_session session;
    struct identity agent, controller;
    uint8_t nonce[IDENTITY_NONCE_LEN];
    uint8_t key[IDENTITY_SESSION_KEY_LEN];
    /* What was heard last. */
    int ups, changes, closes, sends;
    Salient__V1__Envelope__BodyCase last;
    uint64_t last_id;
    Salient__V1__ErrorCode error;
    char field[64], reason[128];
    bool confirmed, complete, attached, known;
    uint64_t confirm_us;
    uint32_t service_v4, identity_v4;
    size_t n_services, n_removed;
    uint64_t next_id;
};

/* As on_hops() says. */
static void
check_hops(Salient__V1__Hop *const hops[], size_t n)
{
    CU_ASSERT_EQUAL_FATAL(n, 2);
    CU_ASSERT(hops[0]->locator.len == 4 && hops[0]->locator.data[0] == 10
              && hops[0]->weight == 3);
    CU_ASSERT(hops[1]->locator.len == 16 && hops[1]->locator.data[0] == 0xfd
              && hops[1]->weight == 1);
}

static void
on_send(struct agent_session *s, const Salient__V1__Envelope *e, void *b_)
{
    struct bench *b = b_;

    b->sends++;
    b->last = e->body_case;
    b->last_id = e->request_id;
    switch ((int) e->body_case) {
    case SALIENT__V1__ENVELOPE__BODY_ERROR:
        b->error = e->error->code;
        ovs_strlcpy(b->field, e->error->field, sizeof b->field);
        CU_ASSERT(e->error->message[0]);
        break;
    case SALIENT__V1__ENVELOPE__BODY_REGISTERED:
        b->confirmed = e->registered->confirmed;
        b->confirm_us = e->registered->confirm_us;
        b->service_v4 = e->registered->service_v4;
        break;
    case SALIENT__V1__ENVELOPE__BODY_UNREGISTERED:
        b->confirmed = e->unregistered->confirmed;
        b->confirm_us = e->unregistered->confirm_us;
        break;
    case SALIENT__V1__ENVELOPE__BODY_WELCOME:
        b->identity_v4 = e->welcome->identity_v4;
        break;
    case SALIENT__V1__ENVELOPE__BODY_SERVICE_TABLE:
        b->complete = e->service_table->complete;
        b->n_services = e->service_table->n_services;
        b->n_removed = e->service_table->n_removed;
        if (b->n_services) {
            check_hops(e->service_table->services[0]->hops,
                       e->service_table->services[0]->n_hops);
        }
        break;
    case SALIENT__V1__ENVELOPE__BODY_RESOLVED:
        CU_ASSERT_EQUAL(e->resolved->prefix->length, 256);
        CU_ASSERT_EQUAL(e->resolved->path_class, 5);
        CU_ASSERT_EQUAL(e->resolved->ttl_ms, 77);
        check_hops(e->resolved->hops, e->resolved->n_hops);
        break;
    case SALIENT__V1__ENVELOPE__BODY_IDENTIFIED:
        b->attached = e->identified->attached;
        b->known = e->identified->endpoint_id.len == SAL_ENDPOINT_ID_LEN;
        b->identity_v4 = e->identified->identity_v4;
        CU_ASSERT_EQUAL(e->identified->ttl_ms, 33);
        break;
    }
}

static void
on_up(struct agent_session *s, void *b_)
{
    struct bench *b = b_;

    b->ups++;
}

static void
on_changed(struct agent_session *s, const char *what, long long now_us,
           void *b_)
{
    struct bench *b = b_;

    b->changes++;
}

static void
on_close(struct agent_session *s, const char *reason, void *b_)
{
    struct bench *b = b_;

    b->closes++;
    ovs_strlcpy(b->reason, reason, sizeof b->reason);
}

static void
on_identify(const struct agent_session *s, const struct agent_claim *claim,
            struct agent_identity *identity, void *aux)
{
    memset(identity, 0, sizeof *identity);
    identity->ttl_ms = 33;
    identity->attached = locator_get_v4(&claim->locator) == 0x0a000001;
    identity->known = identity->attached || claim->endpoint.bytes[0];
    identity->identity_v4 = identity->known ? 0x64400009 : 0;
    CU_ASSERT_EQUAL(claim->identity_v4, 0x64400005);
}

static const struct agent_session_ops ops = {
    .send = on_send,
    .up = on_up,
    .changed = on_changed,
    .hops = answer_hops,
    .resolve = answer_resolve,
    .identify = on_identify,
    .close = on_close,
};

static void
bench_start(struct bench *b)
{
    memset(b, 0, sizeof *b);
    b->identities = address_pool_create(config.identity_network,
                                        config.identity_len);
    b->services = address_pool_create(config.service_network,
                                      config.service_len);
    b->registry = registry_create(b->identities, b->services);
    identity_generate(&b->agent);
    identity_generate(&b->controller);
    memset(b->nonce, 7, sizeof b->nonce);
    agent_session_init(&b->session, &config, &ops, b, b->registry);
    agent_session_start(&b->session, &b->controller, b->nonce, 0);
}

static void
bench_stop(struct bench *b)
{
    agent_session_destroy(&b->session);
    registry_destroy(b->registry);
    address_pool_destroy(b->services);
    address_pool_destroy(b->identities);
}

static void
say(struct bench *b, Salient__V1__Envelope__BodyCase body_case, void *body,
    long long now_us)
{
    Salient__V1__Envelope e = SALIENT__V1__ENVELOPE__INIT;

    e.request_id = ++b->next_id;
    e.body_case = body_case;
    e.hello = body;
    b->error = 0;
    agent_session_receive(&b->session, &e, now_us);
}

static void
hello(struct bench *b, const char *name, uint32_t version)
{
    Salient__V1__Hello m = SALIENT__V1__HELLO__INIT;

    m.api_version = version;
    m.name = CONST_CAST(char *, name);
    m.public_key.data = b->agent.public_key;
    m.public_key.len = sizeof b->agent.public_key;
    say(b, SALIENT__V1__ENVELOPE__BODY_HELLO, &m, 0);
}

static void
proof(struct bench *b, bool right)
{
    Salient__V1__Proof m = SALIENT__V1__PROOF__INIT;
    uint8_t mac[IDENTITY_PROOF_LEN];

    CU_ASSERT(!identity_session_key(&b->agent, b->controller.public_key,
                                    b->nonce, true, b->key));
    identity_proof(b->key, mac);
    mac[0] ^= !right;
    m.mac.data = mac;
    m.mac.len = sizeof mac;
    say(b, SALIENT__V1__ENVELOPE__BODY_PROOF, &m, 0);
}

static void
bench_up(struct bench *b)
{
    bench_start(b);
    hello(b, "h1", 1);
    proof(b, true);
    CU_ASSERT_EQUAL(b->session.state, AGENT_SESSION_UP);
}

static void
do_register(struct bench *b, const char *name, int port, uint32_t weight,
            bool wait)
{
    Salient__V1__Register m = SALIENT__V1__REGISTER__INIT;

    m.which_case = SALIENT__V1__REGISTER__WHICH_NAME;
    m.name = CONST_CAST(char *, name);
    m.protocol = IPPROTO_TCP;
    m.service_port = port;
    m.weight = weight;
    m.wait = wait;
    say(b, SALIENT__V1__ENVELOPE__BODY_REGISTER, &m, 1000);
}

static void
do_unregister(struct bench *b, const char *name, int port)
{
    Salient__V1__Unregister m = SALIENT__V1__UNREGISTER__INIT;

    m.which_case = SALIENT__V1__UNREGISTER__WHICH_NAME;
    m.name = CONST_CAST(char *, name);
    m.protocol = IPPROTO_TCP;
    m.service_port = port;
    say(b, SALIENT__V1__ENVELOPE__BODY_UNREGISTER, &m, 1000);
}

static void
test_handshake(void)
{
    struct bench b;

    bench_start(&b);
    hello(&b, "h1", 1);
    CU_ASSERT_EQUAL(b.last, SALIENT__V1__ENVELOPE__BODY_CHALLENGE);
    CU_ASSERT_EQUAL(b.last_id, 1);
    proof(&b, true);
    CU_ASSERT_EQUAL(b.last, SALIENT__V1__ENVELOPE__BODY_WELCOME);
    CU_ASSERT_EQUAL(b.ups, 1);
    CU_ASSERT(address_pool_contains(b.identities, b.identity_v4));
    CU_ASSERT(!memcmp(b.key, b.session.key, sizeof b.key));
    const struct registry_endpoint *endpoint
        = registry_endpoint(b.registry, &b.session.id);
    CU_ASSERT_FATAL(endpoint != NULL);
    CU_ASSERT_STRING_EQUAL(endpoint->name, "h1");
    CU_ASSERT_EQUAL(endpoint->state, REGISTRY_CONNECTED);
    CU_ASSERT(!memcmp(endpoint->id.bytes, b.agent.endpoint_id,
                      sizeof endpoint->id.bytes));
    bench_stop(&b);
}

static void
test_wrong_proof(void)
{
    struct bench b;

    bench_start(&b);
    hello(&b, "h1", 1);
    proof(&b, false);
    CU_ASSERT_EQUAL(b.error, ERROR(NOT_AUTHENTICATED));
    CU_ASSERT_EQUAL(b.closes, 1);
    CU_ASSERT_EQUAL(b.ups, 0);
    CU_ASSERT_EQUAL(hmap_count(registry_endpoints(b.registry)), 0);
    proof(&b, true); /* Too late. */
    CU_ASSERT_EQUAL(b.ups, 0);
    bench_stop(&b);
}

static void
test_bad_hello(void)
{
    struct bench b;

    bench_start(&b);
    hello(&b, "h1", 2);
    CU_ASSERT_EQUAL(b.error, ERROR(UNSUPPORTED));
    CU_ASSERT_STRING_EQUAL(b.field, "hello.api_version");
    hello(&b, "", 1);
    CU_ASSERT_STRING_EQUAL(b.field, "hello.name");
    hello(&b, "two\nlines", 1);
    CU_ASSERT_EQUAL(b.error, ERROR(INVALID));
    hello(&b, "half\xc3", 1); /* Cut UTF-8. */
    CU_ASSERT_EQUAL(b.error, ERROR(INVALID));
    CU_ASSERT_STRING_EQUAL(b.field, "hello.name");
    memset(b.agent.public_key, 0, sizeof b.agent.public_key);
    hello(&b, "h1", 1); /* A key of low order. */
    CU_ASSERT_STRING_EQUAL(b.field, "hello.public_key");
    CU_ASSERT_EQUAL(b.session.state, AGENT_SESSION_CLOSED);
    bench_stop(&b);
}

static void
test_nothing_before_welcome(void)
{
    Salient__V1__Keepalive keepalive = SALIENT__V1__KEEPALIVE__INIT;
    struct bench b;

    bench_start(&b);
    do_register(&b, "web.shop.acme", 80, 1, false);
    CU_ASSERT_EQUAL(b.error, ERROR(NOT_AUTHENTICATED));
    proof(&b, true);
    CU_ASSERT_EQUAL(b.error, ERROR(NOT_AUTHENTICATED));
    hello(&b, "h1", 1);
    say(&b, SALIENT__V1__ENVELOPE__BODY_KEEPALIVE, &keepalive, 0);
    CU_ASSERT_EQUAL(b.error, ERROR(NOT_AUTHENTICATED));
    CU_ASSERT_EQUAL(registry_n_instances(b.registry), 0);
    agent_session_push_probe_request(&b.session);
    CU_ASSERT_NOT_EQUAL(b.last, SALIENT__V1__ENVELOPE__BODY_PROBE_REQUEST);
    bench_stop(&b);
}

static void
test_register_and_unregister(void)
{
    struct bench b;

    bench_up(&b);
    do_register(&b, "web.shop.acme", 80, 1, false);
    CU_ASSERT_EQUAL(b.last, SALIENT__V1__ENVELOPE__BODY_REGISTERED);
    CU_ASSERT_EQUAL(b.last_id, b.next_id);
    CU_ASSERT(!b.confirmed);
    CU_ASSERT(address_pool_contains(b.services, b.service_v4));
    CU_ASSERT_EQUAL(b.changes, 1);
    do_unregister(&b, "web.shop.acme", 81);
    CU_ASSERT_EQUAL(b.error, ERROR(NOT_FOUND));
    do_unregister(&b, "web.shop.acme", 80);
    CU_ASSERT_EQUAL(b.last, SALIENT__V1__ENVELOPE__BODY_UNREGISTERED);
    CU_ASSERT_EQUAL(registry_n_instances(b.registry), 0);
    bench_stop(&b);
}

static void
test_bad_registrations(void)
{
    struct bench b;

    bench_up(&b);
    do_register(&b, "-web.shop.acme", 80, 1, false);
    CU_ASSERT_STRING_EQUAL(b.field, "register.name");
    do_register(&b, "web.shop.acme", 0, 1, false);
    CU_ASSERT_STRING_EQUAL(b.field, "register.service_port");
    do_register(&b, "web.shop.acme", 65536, 1, false);
    CU_ASSERT_STRING_EQUAL(b.field, "register.service_port");
    do_register(&b, "web.shop.acme", 80, 65536, false);
    CU_ASSERT_STRING_EQUAL(b.field, "register.weight");

    Salient__V1__Register m = SALIENT__V1__REGISTER__INIT;
    m.protocol = IPPROTO_TCP;
    m.service_port = 80;
    say(&b, SALIENT__V1__ENVELOPE__BODY_REGISTER, &m, 0);
    CU_ASSERT_EQUAL(b.error, ERROR(INVALID));
    CU_ASSERT_STRING_EQUAL(b.field, "register.which");
    m.which_case = SALIENT__V1__REGISTER__WHICH_NAME;
    m.name = CONST_CAST(char *, "web.shop.acme");
    m.protocol = 1;
    say(&b, SALIENT__V1__ENVELOPE__BODY_REGISTER, &m, 0);
    CU_ASSERT_STRING_EQUAL(b.field, "register.protocol");
    CU_ASSERT_EQUAL(b.changes, 0);
    CU_ASSERT_EQUAL(registry_n_instances(b.registry), 0);
    bench_stop(&b);
}

static void
register_prefix(struct bench *b, const struct service_prefix *prefix,
                size_t id_len)
{
    Salient__V1__Register m = SALIENT__V1__REGISTER__INIT;
    Salient__V1__Prefix wire = SALIENT__V1__PREFIX__INIT;

    wire.id.data = CONST_CAST(uint8_t *, prefix->id.bytes);
    wire.id.len = id_len;
    wire.length = prefix->len;
    m.which_case = SALIENT__V1__REGISTER__WHICH_PREFIX;
    m.prefix = &wire;
    m.protocol = IPPROTO_UDP;
    m.service_port = 53;
    m.weight = 1;
    say(b, SALIENT__V1__ENVELOPE__BODY_REGISTER, &m, 0);
}

static void
test_prefixes(void)
{
    static const uint8_t other[SAL_ENDPOINT_ID_LEN] = {1};
    struct service_prefix prefix;
    struct bench b;

    bench_up(&b);
    service_prefix_from_name("shop.acme", &prefix);
    register_prefix(&b, &prefix, 31);
    CU_ASSERT_STRING_EQUAL(b.field, "register.prefix");
    register_prefix(&b, &prefix, 32);
    CU_ASSERT_EQUAL(b.last, SALIENT__V1__ENVELOPE__BODY_REGISTERED);
    prefix.id.bytes[31] = 1; /* Past the length. */
    register_prefix(&b, &prefix, 32);
    CU_ASSERT_EQUAL(b.error, ERROR(INVALID));
    prefix.len = 257;
    register_prefix(&b, &prefix, 32);
    CU_ASSERT_EQUAL(b.error, ERROR(INVALID));

    /* The rendezvous of endpoints: one's own only. */
    service_prefix_of_endpoint(other, &prefix);
    register_prefix(&b, &prefix, 32);
    CU_ASSERT_EQUAL(b.error, ERROR(CONFLICT));
    prefix.len = 64;
    service_prefix_normalize(&prefix);
    register_prefix(&b, &prefix, 32);
    CU_ASSERT_EQUAL(b.error, ERROR(CONFLICT));
    service_prefix_of_endpoint(b.agent.endpoint_id, &prefix);
    register_prefix(&b, &prefix, 32);
    CU_ASSERT_EQUAL(b.last, SALIENT__V1__ENVELOPE__BODY_REGISTERED);
    bench_stop(&b);
}

static void
test_limits(void)
{
    struct bench b;

    bench_up(&b);
    for (int i = 1; i <= 4; i++) {
        do_register(&b, "web.shop.acme", i, 1, false);
    }
    CU_ASSERT_EQUAL(b.error, ERROR(EXHAUSTED));
    do_register(&b, "web.shop.acme", 3, 9, false); /* A change, no more. */
    CU_ASSERT_EQUAL(b.last, SALIENT__V1__ENVELOPE__BODY_REGISTERED);
    CU_ASSERT_EQUAL(registry_n_instances(b.registry), 3);
    bench_stop(&b);
}

static void
test_wait(void)
{
    struct bench b;

    bench_up(&b);
    int sends = b.sends;
    do_register(&b, "web.shop.acme", 80, 1, true);
    CU_ASSERT_EQUAL(b.sends, sends);
    CU_ASSERT_EQUAL(b.changes, 1);
    struct agent_wait *wait = CONTAINER_OF(ovs_list_front(&b.session.waits),
                                           struct agent_wait, node);
    agent_session_answer_wait(&b.session, wait, true, 1234);
    CU_ASSERT_EQUAL(b.last, SALIENT__V1__ENVELOPE__BODY_REGISTERED);
    CU_ASSERT_EQUAL(b.last_id, b.next_id);
    CU_ASSERT(b.confirmed);
    CU_ASSERT_EQUAL(b.confirm_us, 234);

    do_register(&b, "web.shop.acme", 81, 1, true);
    CU_ASSERT_EQUAL(agent_session_wakeup(&b.session), 2001);
    agent_session_run(&b.session, 2000999);
    CU_ASSERT(!ovs_list_is_empty(&b.session.waits));
    agent_session_run(&b.session, 2001000);
    CU_ASSERT_EQUAL(b.error, ERROR(TIMEOUT));
    CU_ASSERT_STRING_EQUAL(b.field, "register.wait");
    CU_ASSERT(ovs_list_is_empty(&b.session.waits));
    CU_ASSERT_EQUAL(registry_n_instances(b.registry), 2);
    bench_stop(&b);
}

static void
test_silence_ends_it(void)
{
    Salient__V1__Keepalive keepalive = SALIENT__V1__KEEPALIVE__INIT;
    struct bench b;

    bench_start(&b);
    CU_ASSERT_EQUAL(agent_session_wakeup(&b.session), 5000);
    agent_session_run(&b.session, 5000000);
    CU_ASSERT_EQUAL(b.closes, 1);
    bench_stop(&b);

    bench_up(&b);
    CU_ASSERT_EQUAL(agent_session_wakeup(&b.session), 3000);
    say(&b, SALIENT__V1__ENVELOPE__BODY_KEEPALIVE, &keepalive, 2000000);
    CU_ASSERT_EQUAL(b.last, SALIENT__V1__ENVELOPE__BODY_KEEPALIVE_REPLY);
    CU_ASSERT_EQUAL(agent_session_wakeup(&b.session), 5000);
    CU_ASSERT_EQUAL(registry_run(b.registry, 3000), 5000);
    agent_session_run(&b.session, 5000000);
    CU_ASSERT_EQUAL(b.closes, 1);
    CU_ASSERT_EQUAL(registry_endpoint(b.registry, &b.session.id)->state,
                    REGISTRY_AWAY);
    bench_stop(&b);
}

static void
test_services_are_pushed(void)
{
    struct registry_change *changes;
    struct bench b;

    bench_up(&b);
    agent_session_push_services(&b.session, true);
    CU_ASSERT_EQUAL(b.last, SALIENT__V1__ENVELOPE__BODY_SERVICE_TABLE);
    CU_ASSERT(b.complete);
    CU_ASSERT_EQUAL(b.n_services, 0);
    for (int i = 0; i < 2500; i++) {
        char *name = xasprintf("s%d.shop.acme", i);
        CU_ASSERT(!registry_define(b.registry, name, NULL));
        free(name);
    }
    int sends = b.sends, services = 0;
    agent_session_push_services(&b.session, true);
    CU_ASSERT_EQUAL(b.sends, sends + 1); /* In parts, as they are read, */
    CU_ASSERT(b.complete);               /* the first complete. */
    CU_ASSERT_EQUAL(b.n_services, 500);
    for (services = 500; services < 1500; services += b.n_services) {
        agent_session_push_more(&b.session);
        CU_ASSERT_EQUAL(b.n_services, 500);
        CU_ASSERT(!b.complete);
    }
    /* The map grows under our hands: from the beginning, nothing is missed. */
    for (int i = 2500; i < 9000; i++) {
        char *name = xasprintf("s%d.shop.acme", i);
        CU_ASSERT(!registry_define(b.registry, name, NULL));
        free(name);
    }
    for (services = 0; services < 9000; services += b.n_services) {
        agent_session_push_more(&b.session);
    }
    sends = b.sends;
    agent_session_push_more(&b.session);
    agent_session_push_more(&b.session);
    CU_ASSERT_EQUAL(services, 9000);
    CU_ASSERT_EQUAL(b.sends, sends);

    size_t n = registry_take_changes(b.registry, &changes);
    free(changes);
    registry_undefine(b.registry, "s7.shop.acme");
    n = registry_take_changes(b.registry, &changes);
    agent_session_push_changes(&b.session, changes, n);
    CU_ASSERT_EQUAL(b.n_services, 0);
    CU_ASSERT_EQUAL(b.n_removed, 1);
    free(changes);
    bench_stop(&b);
}

static void
test_request_ids_and_unknown_bodies(void)
{
    Salient__V1__Envelope e = SALIENT__V1__ENVELOPE__INIT;
    struct bench b;

    bench_up(&b);
    e.request_id = 9;
    agent_session_receive(&b.session, &e, 0); /* No body. */
    CU_ASSERT_EQUAL(b.error, ERROR(UNSUPPORTED));
    CU_ASSERT_EQUAL(b.last_id, 9);
    Salient__V1__Keepalive keepalive = SALIENT__V1__KEEPALIVE__INIT;
    e.request_id = 0;
    e.body_case = SALIENT__V1__ENVELOPE__BODY_KEEPALIVE;
    e.keepalive = &keepalive;
    agent_session_receive(&b.session, &e, 0);
    CU_ASSERT_EQUAL(b.error, ERROR(INVALID));
    CU_ASSERT_STRING_EQUAL(b.field, "request_id");
    bench_stop(&b);
}

static void
test_resolve(void)
{
    Salient__V1__Resolve m = SALIENT__V1__RESOLVE__INIT;
    uint8_t id[SAL_SERVICE_ID_LEN] = {1};
    struct bench b;

    bench_up(&b);
    m.service_id.data = id;
    m.service_id.len = sizeof id;
    say(&b, SALIENT__V1__ENVELOPE__BODY_RESOLVE, &m, 0);
    CU_ASSERT_EQUAL(b.last, SALIENT__V1__ENVELOPE__BODY_RESOLVED);
    id[0] = 0;
    say(&b, SALIENT__V1__ENVELOPE__BODY_RESOLVE, &m, 0);
    CU_ASSERT_EQUAL(b.last, SALIENT__V1__ENVELOPE__BODY_ERROR);
    CU_ASSERT_EQUAL(b.error, SALIENT__V1__ERROR_CODE__ERROR_NOT_FOUND);
    m.service_id.len = 31;
    say(&b, SALIENT__V1__ENVELOPE__BODY_RESOLVE, &m, 0);
    CU_ASSERT_EQUAL(b.error, SALIENT__V1__ERROR_CODE__ERROR_INVALID);
    CU_ASSERT_STRING_EQUAL(b.field, "resolve.service_id");
    bench_stop(&b);
}

static void
identify(struct bench *b, const uint8_t *locator, size_t locator_len,
         size_t endpoint_len)
{
    Salient__V1__Identify m = SALIENT__V1__IDENTIFY__INIT;
    uint8_t endpoint[32] = {7};

    m.locator.data = CONST_CAST(uint8_t *, locator);
    m.locator.len = locator_len;
    m.endpoint_id.data = endpoint;
    m.endpoint_id.len = endpoint_len;
    m.identity_v4 = 0x64400005;
    b->error = 0;
    say(b, SALIENT__V1__ENVELOPE__BODY_IDENTIFY, &m, 0);
}

static void
test_identify(void)
{
    static const uint8_t v4[] = {10, 0, 0, 1}, v6[16] = {0xfd};
    struct bench b;

    bench_up(&b);
    identify(&b, v4, 4, 0);
    CU_ASSERT_EQUAL(b.last, SALIENT__V1__ENVELOPE__BODY_IDENTIFIED);
    CU_ASSERT_TRUE(b.attached);
    CU_ASSERT_TRUE(b.known);
    CU_ASSERT_EQUAL(b.identity_v4, 0x64400009);
    identify(&b, v6, 16, 16);
    CU_ASSERT_FALSE(b.attached);
    CU_ASSERT_TRUE(b.known);
    identify(&b, v6, 16, 0);
    CU_ASSERT_EQUAL(b.last, SALIENT__V1__ENVELOPE__BODY_IDENTIFIED);
    CU_ASSERT_FALSE(b.known);

    static const size_t bad[][2] = {{0, 16}, {3, 16}, {17, 16}, {4, 15},
                                    {4, 17}};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        static const uint8_t bytes[17];
        identify(&b, bytes, bad[i][0], bad[i][1]);
        CU_ASSERT_EQUAL(b.error, ERROR(INVALID));
        CU_ASSERT_STRING_EQUAL(b.field, "identify");
    }
    bench_stop(&b);
}

UNIT_MAIN("agent_session", UNIT_TEST(test_resolve), UNIT_TEST(test_identify),
          UNIT_TEST(test_handshake),
          UNIT_TEST(test_wrong_proof),
          UNIT_TEST(test_bad_hello),
          UNIT_TEST(test_nothing_before_welcome),
          UNIT_TEST(test_register_and_unregister),
          UNIT_TEST(test_bad_registrations),
          UNIT_TEST(test_prefixes),
          UNIT_TEST(test_limits),
          UNIT_TEST(test_wait),
          UNIT_TEST(test_silence_ends_it),
          UNIT_TEST(test_services_are_pushed),
          UNIT_TEST(test_request_ids_and_unknown_bodies))
