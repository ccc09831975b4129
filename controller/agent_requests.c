/* SPDX-License-Identifier: Apache-2.0 */
/* What an agent may ask for once its session is open. */
#include "controller/agent_session_private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(agent_requests);

/* Requests of one agent that may wait at a time. */
#define MAX_WAITS 10000

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
parse_prefix(const struct agent_request *r, const struct field_names *names,
             const Salient__V1__Prefix *wire, struct service_prefix *prefix)
{
    if (wire->id.len != SAL_SERVICE_ID_LEN
        || wire->length > SAL_SERVICE_ID_BITS) {
        request_fail(r, ERROR(INVALID), names->prefix,
                     "a service prefix has 32 octets and a length of 0 to "
                     "256");
        return false;
    }
    memcpy(prefix->id.bytes, wire->id.data, sizeof prefix->id.bytes);
    prefix->len = wire->length;

    struct service_prefix normal = *prefix;
    service_prefix_normalize(&normal);
    if (!service_prefix_equal(prefix, &normal)) {
        request_fail(r, ERROR(INVALID), names->prefix,
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
parse_target(const struct agent_request *r, const struct field_names *names,
             const struct target *target, struct registry_key *key)
{
    memset(key, 0, sizeof *key);
    key->endpoint = r->session->id;
    if (target->name) {
        const char *wrong = service_name_check(target->name);
        if (wrong) {
            request_fail(r, ERROR(INVALID), names->name, wrong);
            return false;
        }
        service_prefix_from_name(target->name, &key->prefix);
    } else if (!target->prefix) {
        request_fail(r, ERROR(INVALID), names->which,
                     "a name or a prefix is missing");
        return false;
    } else if (!parse_prefix(r, names, target->prefix, &key->prefix)) {
        return false;
    }
    if (target->protocol != IPPROTO_TCP && target->protocol != IPPROTO_UDP) {
        request_fail(r, ERROR(INVALID), names->protocol,
                     "use 6 (TCP) or 17 (UDP)");
        return false;
    }
    if (!target->port || target->port > UINT16_MAX) {
        request_fail(r, ERROR(INVALID), names->port, "use 1 to 65535");
        return false;
    }
    key->protocol = target->protocol;
    key->port = target->port;
    return true;
}

static void
changed(const struct agent_request *r, const char *verb, const char *name,
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
add_wait(const struct agent_request *r, const struct registry_key *key,
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

static bool
may_wait(const struct agent_request *r, const char *field)
{
    if (r->session->n_waits >= MAX_WAITS) {
        request_fail(r, ERROR(EXHAUSTED), field,
                     "too many requests wait for the switches; wait for "
                     "answers");
        return false;
    }
    return true;
}

/* True if another registration fits the limits. */
static bool
check_limits(const struct agent_request *r, const struct registry_key *key,
             bool wait)
{
    struct agent_session *s = r->session;
    const struct registry_endpoint *endpoint
        = registry_endpoint(s->registry, &s->id);

    if (endpoint && endpoint->n_instances >= s->config->max_instances
        && !registry_instance(s->registry, key)) {
        request_fail(r, ERROR(EXHAUSTED), "",
                     "this endpoint has as many registrations as it may have; "
                     "see limits.registrations in the controller's "
                     "configuration");
        return false;
    }
    return !wait || may_wait(r, "register.wait");
}

static void
registration_failed(const struct agent_request *r, int error)
{
    switch (error) {
    case -ENOSPC:
        request_fail(r, ERROR(EXHAUSTED), "",
                     "no service address is free; enlarge service_pool in the "
                     "controller's configuration");
        break;
    case -EINVAL:
        request_fail(r, ERROR(INVALID), "register",
                     "the registry refuses this");
        break;
    default:
        request_fail(r, ERROR(INTERNAL), "", "see the controller's log");
        VLOG_ERR("registration failed: %s", ovs_strerror(-error));
    }
}

void
agent_session_register(const struct agent_request *r,
                       const Salient__V1__Register *m)
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
        request_fail(r, ERROR(INVALID), "register.weight",
                     "use 1 to 65535, or 0 to drain");
        return;
    }
    if (m->priority > UINT16_MAX) {
        request_fail(r, ERROR(INVALID), "register.priority", "use 0 to 65535");
        return;
    }
    if (is_somebody_elses(r->session, &key.prefix)) {
        request_fail(r, ERROR(CONFLICT), by_name ? names.name : names.prefix,
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

void
agent_session_unregister(const struct agent_request *r,
                         const Salient__V1__Unregister *m)
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
    if (m->wait && !may_wait(r, "unregister.wait")) {
        return;
    }
    if (registry_unregister(r->session->registry, &key)) {
        request_fail(r, ERROR(NOT_FOUND), by_name ? names.name : names.prefix,
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

void
agent_session_resolve(const struct agent_request *r,
                      const Salient__V1__Resolve *m)
{
    struct agent_session *s = r->session;
    Salient__V1__Resolved resolved = SALIENT__V1__RESOLVED__INIT;
    Salient__V1__Prefix prefix = SALIENT__V1__PREFIX__INIT;
    struct agent_hops_wire wire;
    struct agent_answer answer;
    struct service_id id;

    if (m->service_id.len != sizeof id.bytes) {
        request_fail(r, ERROR(INVALID), "resolve.service_id",
                     "a service ID has 32 octets");
        return;
    }
    memcpy(id.bytes, m->service_id.data, sizeof id.bytes);
    if (s->ops->resolve(s, &id, &answer, s->aux)) {
        request_fail(r, ERROR(NOT_FOUND), "resolve.service_id",
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
    if (m->endpoint_id.len == sizeof claim->endpoint.bytes) {
        memcpy(claim->endpoint.bytes, m->endpoint_id.data,
               sizeof claim->endpoint.bytes);
    } else if (m->endpoint_id.len) {
        return false;
    }
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

void
agent_session_identify(const struct agent_request *r,
                       const Salient__V1__Identify *m)
{
    struct agent_session *s = r->session;
    Salient__V1__Identified identified = SALIENT__V1__IDENTIFIED__INIT;
    struct agent_identity identity;
    struct agent_claim claim;

    if (!parse_claim(m, &claim)) {
        request_fail(r, ERROR(INVALID), "identify",
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
    struct agent_request r = {s, wait->request_id, now_us};

    if (!confirmed) {
        request_fail(&r, ERROR(TIMEOUT),
                     wait->unregister ? "unregister.wait" : "register.wait",
                     wait->generation || wait->unregister
                         ? "the switches have not confirmed in time; the "
                           "change stays requested"
                         : "the network has not seen this endpoint yet (no "
                           "PROBE at a switch); the registration stays "
                           "requested");
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
