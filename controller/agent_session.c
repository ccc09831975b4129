/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/agent_session.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(agent_session);

#define API_VERSION 1
/* Requests of one agent that may wait at a time. */
#define MAX_WAITS 10000

#define ERROR(NAME) SALIENT__V1__ERROR_CODE__ERROR_##NAME

/* A request under way. */
struct request {
    struct agent_session *session;
    uint64_t id;
    long long now_us;
};

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

static void
reply(struct agent_session *s, uint64_t request_id,
      Salient__V1__Envelope__BodyCase body_case, void *body)
{
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;

    envelope.request_id = request_id;
    envelope.body_case = body_case;
    envelope.hello = body; /* Any member: all are pointers. */
    s->ops->send(s, &envelope, s->aux);
}

#define REPLY(SESSION, ID, CASE, BODY)                                        \
    reply(SESSION, ID, SALIENT__V1__ENVELOPE__BODY_##CASE, BODY)

static void
fail(const struct request *r, Salient__V1__ErrorCode code, const char *field,
     const char *message)
{
    Salient__V1__Error error = SALIENT__V1__ERROR__INIT;

    error.code = code;
    error.field = CONST_CAST(char *, field);
    error.message = CONST_CAST(char *, message);
    r->session->errors++;
    REPLY(r->session, r->id, ERROR, &error);
}

/* The handshake. */

/* Names end up in logs and dumps, where neither control characters nor broken
 * UTF-8 (protobuf-c does not check strings) would do. */
static bool
is_printable(const char *s)
{
    for (; *s; s++) {
        if ((unsigned char) *s < ' ' || (unsigned char) *s >= 0x7f) {
            return false;
        }
    }
    return true;
}

static void
handle_hello(const struct request *r, const Salient__V1__Hello *hello)
{
    struct agent_session *s = r->session;

    if (hello->api_version != API_VERSION) {
        fail(r, ERROR(UNSUPPORTED), "hello.api_version",
             "this controller speaks version 1 of the API");
    } else if (!hello->name[0] || strlen(hello->name) > REGISTRY_NAME_MAX) {
        fail(r, ERROR(INVALID), "hello.name",
             "an endpoint's name has 1 to 63 octets");
    } else if (strlen(hello->zone) > REGISTRY_NAME_MAX) {
        fail(r, ERROR(INVALID), "hello.zone", "a zone has at most 63 octets");
    } else if (!is_printable(hello->name) || !is_printable(hello->software)
               || !is_printable(hello->zone)) {
        fail(r, ERROR(INVALID),
             !is_printable(hello->name) ? "hello.name"
             : !is_printable(hello->zone) ? "hello.zone" : "hello.software",
             "only printable ASCII characters are allowed here");
    } else if (hello->public_key.len != SAL_PUBLIC_KEY_LEN) {
        fail(r, ERROR(INVALID), "hello.public_key",
             "an X25519 public key has 32 octets");
    } else if (identity_session_key(&s->identity, hello->public_key.data,
                                    s->nonce, false, s->key)) {
        fail(r, ERROR(INVALID), "hello.public_key",
             "this public key is of low order; make another");
        /* Each try costs us a multiplication. */
        agent_session_close(s, "its public key is of low order");
    } else {
        Salient__V1__Challenge challenge = SALIENT__V1__CHALLENGE__INIT;

        identity_endpoint_id(hello->public_key.data, s->id.bytes);
        ovs_strlcpy(s->name, hello->name, sizeof s->name);
        ovs_strlcpy(s->software, hello->software, sizeof s->software);
        ovs_strlcpy(s->zone, hello->zone, sizeof s->zone);
        s->wanted_v4 = hello->identity_v4;
        s->state = AGENT_SESSION_PROOF;
        challenge.public_key.data = s->identity.public_key;
        challenge.public_key.len = sizeof s->identity.public_key;
        challenge.nonce.data = s->nonce;
        challenge.nonce.len = sizeof s->nonce;
        REPLY(s, r->id, CHALLENGE, &challenge);
    }
}

/* Empty if there is none. */
static void
put_v6(ProtobufCBinaryData *wire, const struct in6_addr *address)
{
    if (!IN6_IS_ADDR_UNSPECIFIED(address)) {
        wire->data = CONST_CAST(uint8_t *, address->s6_addr);
        wire->len = sizeof *address;
    }
}

static void
send_welcome(const struct request *r, uint32_t identity_v4)
{
    struct agent_session *s = r->session;
    const struct agent_session_config *config = s->config;
    Salient__V1__Welcome welcome = SALIENT__V1__WELCOME__INIT;
    Salient__V1__Ipv4Prefix identities = SALIENT__V1__IPV4_PREFIX__INIT;
    Salient__V1__Ipv4Prefix services = SALIENT__V1__IPV4_PREFIX__INIT;

    identities.address = config->identity_network;
    identities.length = config->identity_len;
    services.address = config->service_network;
    services.length = config->service_len;
    welcome.endpoint_id.data = s->id.bytes;
    welcome.endpoint_id.len = sizeof s->id.bytes;
    welcome.identity_v4 = identity_v4;
    welcome.identity_pool_v4 = &identities;
    welcome.service_pool_v4 = &services;
    welcome.resolver_v4 = config->resolver_v4;
    put_v6(&welcome.resolver_v6, &config->resolver_v6);
    put_v6(&welcome.identity_prefix_v6, &config->identity_prefix_v6);
    put_v6(&welcome.service_prefix_v6, &config->service_prefix_v6);
    welcome.sal_port = config->sal_port;
    welcome.keepalive_interval_ms = config->keepalive_interval_ms;
    welcome.lease_ms = config->lease_ms;
    welcome.probe_interval_ms = config->probe_interval_ms;
    REPLY(s, r->id, WELCOME, &welcome);
}

static void
handle_proof(const struct request *r, const Salient__V1__Proof *proof)
{
    struct agent_session *s = r->session;
    long long lease = r->now_us / 1000 + s->config->lease_ms;

    if (proof->mac.len != IDENTITY_PROOF_LEN
        || !identity_proof_verify(s->key, proof->mac.data)) {
        fail(r, ERROR(NOT_AUTHENTICATED), "proof.mac",
             "the proof is wrong: this is not the holder of the key");
        agent_session_close(s, "wrong proof");
        return;
    }
    int error = registry_session_begin(s->registry, &s->id, s->name,
                                       s->wanted_v4, lease, &s->session);
    if (error == -EADDRINUSE) {
        fail(r, ERROR(CONFLICT), "hello.public_key",
             "another endpoint has the IPv6 identity address of this key; "
             "make another key");
        agent_session_close(s, "its IPv6 identity address is taken");
        return;
    }
    if (error) {
        fail(r, error == -ENOSPC ? ERROR(EXHAUSTED) : ERROR(INTERNAL), "",
             error == -ENOSPC ? "no identity address is free; enlarge "
                                "identity_pool in the controller's "
                                "configuration"
                              : "the session cannot begin");
        agent_session_close(s, "no identity address is free");
        return;
    }
    registry_set_zone(s->registry, &s->id, s->zone);
    s->state = AGENT_SESSION_UP;
    s->deadline = lease;
    send_welcome(r, registry_endpoint(s->registry, &s->id)->identity_v4);
    s->ops->up(s, s->aux);
}

/* Registrations. */

/* Everything below this /64 belongs to the endpoints themselves, each one's
 * ID to it alone: the rendezvous for hosts that moved must not be taken. */
static bool
is_somebody_elses(const struct agent_session *s,
                  const struct service_prefix *prefix)
{
    struct service_prefix own, all;

    service_prefix_of_endpoint(s->id.bytes, &own);
    all = own;
    all.len = 64;
    service_prefix_normalize(&all);
    return service_prefix_contains(&all, prefix)
           && !service_prefix_contains(&own, prefix);
}

/* Field names of a request, for errors. */
struct field_names {
    const char *name, *prefix, *protocol, *port, *which;
};

static bool
parse_prefix(const struct request *r, const struct field_names *names,
             const Salient__V1__Prefix *wire, struct service_prefix *prefix)
{
    if (wire->id.len != SAL_SERVICE_ID_LEN
        || wire->length > SAL_SERVICE_ID_BITS) {
        fail(r, ERROR(INVALID), names->prefix,
             "a service prefix has 32 octets and a length of 0 to 256");
        return false;
    }
    memcpy(prefix->id.bytes, wire->id.data, sizeof prefix->id.bytes);
    prefix->len = wire->length;

    struct service_prefix normal = *prefix;
    service_prefix_normalize(&normal);
    if (!service_prefix_equal(prefix, &normal)) {
        fail(r, ERROR(INVALID), names->prefix,
             "a bit past the prefix length is set; clear it");
        return false;
    }
    return true;
}

/* What Register and Unregister have in common. */
struct target {
    const char *name; /* NULL: by prefix. */
    const Salient__V1__Prefix *prefix;
    uint32_t protocol, port;
};

static bool
parse_target(const struct request *r, const struct field_names *names,
             const struct target *target, struct registry_key *key)
{
    memset(key, 0, sizeof *key);
    key->endpoint = r->session->id;
    if (target->name) {
        const char *wrong = service_name_check(target->name);
        if (wrong) {
            fail(r, ERROR(INVALID), names->name, wrong);
            return false;
        }
        service_prefix_from_name(target->name, &key->prefix);
    } else if (!target->prefix) {
        fail(r, ERROR(INVALID), names->which,
             "a name or a prefix is missing");
        return false;
    } else if (!parse_prefix(r, names, target->prefix, &key->prefix)) {
        return false;
    }
    if (target->protocol != IPPROTO_TCP && target->protocol != IPPROTO_UDP) {
        fail(r, ERROR(INVALID), names->protocol, "use 6 (TCP) or 17 (UDP)");
        return false;
    }
    if (!target->port || target->port > UINT16_MAX) {
        fail(r, ERROR(INVALID), names->port, "use 1 to 65535");
        return false;
    }
    key->protocol = target->protocol;
    key->port = target->port;
    return true;
}

static void
changed(const struct request *r, const char *verb, const char *name,
        const struct registry_key *key)
{
    struct agent_session *s = r->session;
    char prefix[SERVICE_PREFIX_STRLEN];
    char what[SERVICE_NAME_MAX + REGISTRY_NAME_MAX + 64];

    snprintf(what, sizeof what, "%s %s %s %s/%u", s->name, verb,
             name ? name : service_prefix_format(&key->prefix, prefix),
             key->protocol == IPPROTO_TCP ? "tcp" : "udp", key->port);
    s->ops->changed(s, what, r->now_us, s->aux);
}

static void
add_wait(const struct request *r, const struct registry_key *key,
         bool unregister)
{
    struct agent_session *s = r->session;
    struct agent_wait *wait = xzalloc(sizeof *wait);

    wait->request_id = r->id;
    wait->key = *key;
    wait->unregister = unregister;
    wait->received_us = r->now_us;
    wait->deadline = r->now_us / 1000 + s->config->wait_timeout_ms;
    ovs_list_push_back(&s->waits, &wait->node);
    s->n_waits++;
}

static void
send_registered(struct agent_session *s, uint64_t request_id,
                const struct registry_key *key, bool confirmed,
                uint64_t confirm_us)
{
    const struct registry_service *service
        = registry_service(s->registry, &key->prefix);
    Salient__V1__Registered registered = SALIENT__V1__REGISTERED__INIT;
    Salient__V1__Prefix prefix = SALIENT__V1__PREFIX__INIT;

    prefix.id.data = CONST_CAST(uint8_t *, key->prefix.id.bytes);
    prefix.id.len = sizeof key->prefix.id.bytes;
    prefix.length = key->prefix.len;
    registered.prefix = &prefix;
    registered.service_v4 = service ? service->service_v4 : 0;
    registered.confirmed = confirmed;
    registered.confirm_us = confirm_us;
    REPLY(s, request_id, REGISTERED, &registered);
}

static void
send_unregistered(struct agent_session *s, uint64_t request_id,
                  bool confirmed, uint64_t confirm_us)
{
    Salient__V1__Unregistered unregistered = SALIENT__V1__UNREGISTERED__INIT;

    unregistered.confirmed = confirmed;
    unregistered.confirm_us = confirm_us;
    REPLY(s, request_id, UNREGISTERED, &unregistered);
}

/* True if another registration fits the limits. */
static bool
check_limits(const struct request *r, const struct registry_key *key,
             bool wait)
{
    struct agent_session *s = r->session;
    const struct registry_endpoint *endpoint
        = registry_endpoint(s->registry, &s->id);

    if (endpoint && endpoint->n_instances >= s->config->max_instances
        && !registry_instance(s->registry, key)) {
        fail(r, ERROR(EXHAUSTED), "",
             "this endpoint has as many registrations as it may have; see "
             "limits.registrations in the controller's configuration");
        return false;
    }
    if (wait && s->n_waits >= MAX_WAITS) {
        fail(r, ERROR(EXHAUSTED), "register.wait",
             "too many requests wait for the switches; wait for answers");
        return false;
    }
    return true;
}

static void
registration_failed(const struct request *r, int error)
{
    switch (error) {
    case -ENOSPC:
        fail(r, ERROR(EXHAUSTED), "",
             "no service address is free; enlarge service_pool in the "
             "controller's configuration");
        break;
    case -EINVAL:
        fail(r, ERROR(INVALID), "register", "the registry refuses this");
        break;
    default:
        fail(r, ERROR(INTERNAL), "", "see the controller's log");
        VLOG_ERR("registration failed: %s", ovs_strerror(-error));
    }
}

static void
handle_register(const struct request *r, const Salient__V1__Register *m)
{
    static const struct field_names names = {
        "register.name", "register.prefix", "register.protocol",
        "register.service_port", "register.which"};
    bool by_name = m->which_case == SALIENT__V1__REGISTER__WHICH_NAME;
    bool by_prefix = m->which_case == SALIENT__V1__REGISTER__WHICH_PREFIX;
    struct target target = {by_name ? m->name : NULL,
                            by_prefix ? m->prefix : NULL, m->protocol,
                            m->service_port};
    struct registry_key key;

    if (!parse_target(r, &names, &target, &key)) {
        return;
    }
    if (m->weight > REGISTRY_WEIGHT_MAX) {
        fail(r, ERROR(INVALID), "register.weight",
             "use 1 to 65535, or 0 to drain");
        return;
    }
    if (m->priority > UINT16_MAX) {
        fail(r, ERROR(INVALID), "register.priority", "use 0 to 65535");
        return;
    }
    if (is_somebody_elses(r->session, &key.prefix)) {
        fail(r, ERROR(CONFLICT), by_name ? names.name : names.prefix,
             "this prefix belongs to another endpoint's identity");
        return;
    }
    if (!check_limits(r, &key, m->wait)) {
        return;
    }
    const struct registry_offer offer = {m->weight, m->priority, m->capacity};
    int error = registry_register(r->session->registry, &key, target.name,
                                  &offer, NULL);
    if (error) {
        registration_failed(r, error);
        return;
    }
    changed(r, m->weight ? "registers" : "drains", target.name, &key);
    if (m->wait) {
        add_wait(r, &key, false);
    } else {
        send_registered(r->session, r->id, &key, false, 0);
    }
}

static void
handle_unregister(const struct request *r, const Salient__V1__Unregister *m)
{
    static const struct field_names names = {
        "unregister.name", "unregister.prefix", "unregister.protocol",
        "unregister.service_port", "unregister.which"};
    bool by_name = m->which_case == SALIENT__V1__UNREGISTER__WHICH_NAME;
    bool by_prefix = m->which_case == SALIENT__V1__UNREGISTER__WHICH_PREFIX;
    struct target target = {by_name ? m->name : NULL,
                            by_prefix ? m->prefix : NULL, m->protocol,
                            m->service_port};
    struct registry_key key;

    if (!parse_target(r, &names, &target, &key)) {
        return;
    }
    if (m->wait && r->session->n_waits >= MAX_WAITS) {
        fail(r, ERROR(EXHAUSTED), "unregister.wait",
             "too many requests wait for the switches; wait for answers");
        return;
    }
    if (registry_unregister(r->session->registry, &key)) {
        fail(r, ERROR(NOT_FOUND), by_name ? names.name : names.prefix,
             "this endpoint has no such registration");
        return;
    }
    changed(r, "unregisters", target.name, &key);
    if (m->wait) {
        add_wait(r, &key, true);
    } else {
        send_unregistered(r->session, r->id, false, 0);
    }
}

static void
handle_resolve(const struct request *r, const Salient__V1__Resolve *m)
{
    struct agent_session *s = r->session;
    Salient__V1__Resolved resolved = SALIENT__V1__RESOLVED__INIT;
    Salient__V1__Prefix prefix = SALIENT__V1__PREFIX__INIT;
    struct agent_hops_wire wire;
    struct agent_answer answer;
    struct service_id id;

    if (m->service_id.len != sizeof id.bytes) {
        fail(r, ERROR(INVALID), "resolve.service_id",
             "a service ID has 32 octets");
        return;
    }
    memcpy(id.bytes, m->service_id.data, sizeof id.bytes);
    if (s->ops->resolve(s, &id, &answer, s->aux)) {
        fail(r, ERROR(NOT_FOUND), "resolve.service_id",
             "nobody serves this");
        return;
    }
    prefix.id.data = answer.prefix.id.bytes;
    prefix.id.len = sizeof answer.prefix.id.bytes;
    prefix.length = answer.prefix.len;
    resolved.prefix = &prefix;
    resolved.n_hops = agent_hops_encode(&answer.hops, &wire);
    resolved.hops = wire.pointers;
    resolved.path_class = answer.path_class;
    resolved.ttl_ms = answer.ttl_ms;
    REPLY(s, r->id, RESOLVED, &resolved);
}

static bool
parse_claim(const Salient__V1__Identify *m, struct agent_claim *claim)
{
    memset(claim, 0, sizeof *claim);
    if (m->endpoint_id.len
        && m->endpoint_id.len != sizeof claim->endpoint.bytes) {
        return false;
    }
    memcpy(claim->endpoint.bytes, m->endpoint_id.data, m->endpoint_id.len);
    claim->identity_v4 = m->identity_v4;
    if (m->locator.len == 4) {
        ovs_be32 v4;
        memcpy(&v4, m->locator.data, sizeof v4);
        in6_addr_set_mapped_ipv4(&claim->locator, v4);
    } else if (m->locator.len == sizeof claim->locator) {
        memcpy(&claim->locator, m->locator.data, sizeof claim->locator);
    } else {
        return false;
    }
    return true;
}

static void
handle_identify(const struct request *r, const Salient__V1__Identify *m)
{
    struct agent_session *s = r->session;
    Salient__V1__Identified identified = SALIENT__V1__IDENTIFIED__INIT;
    struct agent_identity identity;
    struct agent_claim claim;

    if (!parse_claim(m, &claim)) {
        fail(r, ERROR(INVALID), "identify",
             "a locator has 4 or 16 octets, an endpoint ID 16");
        return;
    }
    s->ops->identify(s, &claim, &identity, s->aux);
    identified.ttl_ms = identity.ttl_ms;
    if (identity.known) {
        identified.attached = identity.attached;
        identified.endpoint_id.data = identity.endpoint.bytes;
        identified.endpoint_id.len = sizeof identity.endpoint.bytes;
        identified.identity_v4 = identity.identity_v4;
    }
    REPLY(s, r->id, IDENTIFIED, &identified);
}

void
agent_session_answer_wait(struct agent_session *s, struct agent_wait *wait,
                          bool confirmed, long long now_us)
{
    struct request r = {s, wait->request_id, now_us};

    if (!confirmed) {
        fail(&r, ERROR(TIMEOUT),
             wait->unregister ? "unregister.wait" : "register.wait",
             wait->generation || wait->unregister
                 ? "the switches have not confirmed in time; the change "
                   "stays requested"
                 : "the network has not seen this endpoint yet (no PROBE at "
                   "a switch); the registration stays requested");
    } else if (wait->unregister) {
        send_unregistered(s, wait->request_id, true,
                          now_us - wait->received_us);
    } else {
        send_registered(s, wait->request_id, &wait->key, true,
                        now_us - wait->received_us);
    }
    ovs_list_remove(&wait->node);
    s->n_waits--;
    free(wait);
}

/* Dispatch. */

static void
handle_up(const struct request *r, const Salient__V1__Envelope *e)
{
    Salient__V1__KeepaliveReply alive = SALIENT__V1__KEEPALIVE_REPLY__INIT;

    switch ((int) e->body_case) {
    case SALIENT__V1__ENVELOPE__BODY_REGISTER:
        handle_register(r, e->register_);
        break;
    case SALIENT__V1__ENVELOPE__BODY_UNREGISTER:
        handle_unregister(r, e->unregister);
        break;
    case SALIENT__V1__ENVELOPE__BODY_RESOLVE:
        handle_resolve(r, e->resolve);
        break;
    case SALIENT__V1__ENVELOPE__BODY_IDENTIFY:
        handle_identify(r, e->identify);
        break;
    case SALIENT__V1__ENVELOPE__BODY_KEEPALIVE:
        REPLY(r->session, r->id, KEEPALIVE_REPLY, &alive);
        break;
    case SALIENT__V1__ENVELOPE__BODY_HELLO:
    case SALIENT__V1__ENVELOPE__BODY_PROOF:
        fail(r, ERROR(INVALID), "", "the session is open already");
        break;
    default:
        fail(r, ERROR(UNSUPPORTED), "",
             "the controller does not know this request");
    }
}

static void
handle_request(const struct request *r, const Salient__V1__Envelope *e)
{
    struct agent_session *s = r->session;

    if (s->state == AGENT_SESSION_UP) {
        handle_up(r, e);
    } else if (s->state == AGENT_SESSION_HELLO
               && e->body_case == SALIENT__V1__ENVELOPE__BODY_HELLO) {
        handle_hello(r, e->hello);
    } else if (s->state == AGENT_SESSION_PROOF
               && e->body_case == SALIENT__V1__ENVELOPE__BODY_PROOF) {
        handle_proof(r, e->proof);
    } else {
        fail(r, ERROR(NOT_AUTHENTICATED), "",
             s->state == AGENT_SESSION_HELLO
                 ? "say Hello first" : "answer the Challenge first");
    }
}

void
agent_session_receive(struct agent_session *s,
                      const Salient__V1__Envelope *e, long long now_us)
{
    struct request r = {s, e->request_id, now_us};
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
        fail(&r, ERROR(INVALID), "request_id",
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
