/* SPDX-License-Identifier: Apache-2.0 */
/* Any sequence of Envelopes from an agent: each is answered or refused, the
 * registry stays within its limits. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include "controller/addresses.h"
#include "controller/agent_session.h"
#include "openvswitch/vlog.h"
#include "tests/unit/agent_answers.h"

static const struct agent_session_config config = {
    .identity_network = 0xc0a80000,
    .identity_len = 28,
    .service_network = 0xc0a90000,
    .service_len = 30, /* Two addresses: the pool runs out. */
    .lease_ms = 3000,
    .handshake_timeout_ms = 5000,
    .wait_timeout_ms = 2000,
    .max_instances = 8,
};

static unsigned int n_sent, n_closed;

static void
on_send(struct agent_session *s, const Salient__V1__Envelope *e, void *aux)
{
    size_t size = salient__v1__envelope__get_packed_size(e);

    FUZZ_CHECK(size > 0 && size < 1024 * 1024);
    n_sent++;
}

static void
on_up(struct agent_session *s, void *aux)
{
    agent_session_push_services(s, true);
    agent_session_push_probe_request(s);
}

static void
on_changed(struct agent_session *s, const char *what, long long now_us,
           void *aux)
{
    for (const char *p = what; *p; p++) {
        FUZZ_CHECK((unsigned char) *p >= ' '); /* It goes to the log. */
    }
}

static void
on_close(struct agent_session *s, const char *reason, void *aux)
{
    n_closed++;
}

static void
on_identify(const struct agent_session *s, const struct agent_claim *claim,
            struct agent_identity *identity, void *aux)
{
    *identity = (struct agent_identity) {
        .attached = true, .known = claim->endpoint.bytes[0] & 1,
        .endpoint = claim->endpoint, .identity_v4 = claim->identity_v4};
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
make_up(struct agent_session *s, struct registry *registry)
{
    FUZZ_CHECK(!registry_session_begin(registry, &s->id, "x", 0, 3000,
                                       &s->session));
    s->state = AGENT_SESSION_UP;
    s->deadline = 3000;
}

static void
receive(struct agent_session *s, const uint8_t *body, size_t len,
        long long now_us)
{
    unsigned int before = n_sent + n_closed;
    bool open = s->state != AGENT_SESSION_CLOSED;
    size_t waits = ovs_list_size(&s->waits);
    Salient__V1__Envelope *e
        = salient__v1__envelope__unpack(NULL, len, body);

    if (!e) {
        return; /* The channel closes on that. */
    }
    agent_session_receive(s, e, now_us);
    FUZZ_CHECK(!open || n_sent + n_closed > before
               || ovs_list_size(&s->waits) == waits + 1);
    salient__v1__envelope__free_unpacked(e, NULL);
}

/* First octet: bit 0 the session is up.  Then pieces: length (one octet, in
 * units of one), Envelope. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct identity identity = {.secret_key = {64, 1, 2}};
    static const uint8_t nonce[IDENTITY_NONCE_LEN] = {1};
    struct address_pool *identities = address_pool_create(0xc0a80000, 28);
    struct address_pool *services = address_pool_create(0xc0a90000, 30);
    struct registry *registry = registry_create(identities, services);
    struct agent_session s;
    long long now_us = 0;

    vlog_set_levels(NULL, VLF_ANY_DESTINATION, VLL_OFF);
    n_sent = n_closed = 0;
    agent_session_init(&s, &config, &ops, NULL, registry);
    agent_session_start(&s, &identity, nonce, 0);
    if (size && data[0] & 1) {
        make_up(&s, registry);
    }
    for (size_t i = 1; i < size;) {
        size_t len = data[i++];
        len = len < size - i ? len : size - i;
        receive(&s, data + i, len, now_us);
        i += len;
        now_us += 1000;
    }
    FUZZ_CHECK(registry_n_instances(registry) <= config.max_instances);
    agent_session_run(&s, 10000000);
    FUZZ_CHECK(s.state == AGENT_SESSION_CLOSED);
    FUZZ_CHECK(ovs_list_is_empty(&s.waits));
    FUZZ_CHECK(n_closed == 1);
    agent_session_destroy(&s);
    registry_run(registry, 100000);
    FUZZ_CHECK(registry_n_instances(registry) == 0);
    registry_destroy(registry);
    address_pool_destroy(services);
    address_pool_destroy(identities);
    return 0;
}
