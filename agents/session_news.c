/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/session_private.h"

#include <stdlib.h>
#include <string.h>
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(session_news);

/* A large ServiceTable comes in several messages, of which the first is the
 * "complete" one: what it lacks is forgotten only if it does not follow. */
#define STALE_NAMES_MS 1000

#define RESOLVE_DEFAULT_TTL_MS 30000

/* Pushes. */

static bool
parse_prefix(const Salient__V1__Prefix *in, struct service_prefix *out)
{
    if (!in || in->id.len != SAL_SERVICE_ID_LEN
        || in->length > SAL_SERVICE_ID_BITS) {
        return false;
    }
    memcpy(out->id.bytes, in->id.data, SAL_SERVICE_ID_LEN);
    out->len = in->length;
    service_prefix_normalize(out);
    return true;
}

static bool
take_ports(struct names *names, const struct service_prefix *prefix,
           const Salient__V1__Service *service)
{
    struct names_port ports[NAMES_MAX_PORTS];
    size_t n = 0;

    for (size_t i = 0; i < service->n_ports && n < NAMES_MAX_PORTS; i++) {
        const Salient__V1__ServicePort *port = service->ports[i];
        if (port->port && port->port <= UINT16_MAX
            && port->protocol <= UINT8_MAX) {
            ports[n++] = (struct names_port) {.protocol = port->protocol,
                                              .port = port->port};
        }
    }
    return names_set_ports(names, prefix, ports, n);
}

/* A service whose name does not mean its prefix would send clients of one
 * service to another. */
static bool
parse_service(const Salient__V1__Service *in, struct service_prefix *prefix)
{
    struct service_prefix of_name;

    return (parse_prefix(in->prefix, prefix)
            && (!in->name[0]
                || (!service_prefix_from_name(in->name, &of_name)
                    && service_prefix_equal(&of_name, prefix))));
}

/* A malformed hop is skipped. */
static struct route_hop *
parse_hops(Salient__V1__Hop *const hops[], size_t n, size_t *ret_n)
{
    struct route_hop *parsed = xcalloc(MIN(n, HOST_TABLES_MAX_HOPS) + 1,
                                       sizeof *parsed);

    *ret_n = 0;
    for (size_t i = 0; i < n && *ret_n < HOST_TABLES_MAX_HOPS; i++) {
        if (route_hop_from_bytes(hops[i]->locator.data, hops[i]->locator.len,
                                 hops[i]->weight, &parsed[*ret_n])) {
            ++*ret_n;
        }
    }
    return parsed;
}

/* True if that changed anything. */
static bool
take_route(struct controller_session *s, const Salient__V1__Service *service,
           const struct service_prefix *prefix)
{
    struct service_route route = {
        .name = service->name,
        .prefix = *prefix,
        .action = SERVICE_FORWARD,
        .path_class = service->path_class & SAL_PATH_CLASS_MASK,
        .datagram = service->datagram,
        .expires_ms = INT64_MAX,
    };
    if (!route.path_class && !route.datagram && !service->n_hops) {
        return service_routes_remove(s->config.routes, prefix);
    }
    route.hops = parse_hops(service->hops, service->n_hops, &route.n_hops);
    bool changed = service_routes_put(s->config.routes, &route);
    free(route.hops);
    return changed;
}

/* Everything is stale until it is heard of again. */
static void
mark_stale(struct controller_session *s, int64_t now)
{
    const struct names_entry *entry;

    names_clear(&s->stale);
    HMAP_FOR_EACH (entry, prefix_node, &s->config.names->by_prefix) {
        names_put(&s->stale, NULL, &entry->prefix, 0);
    }
    s->stale_ms = now + STALE_NAMES_MS;
}

void
session_forget_stale(struct controller_session *s)
{
    const struct names_entry *entry;

    HMAP_FOR_EACH (entry, prefix_node, &s->stale.by_prefix) {
        service_routes_remove(s->config.routes, &entry->prefix);
        if (names_remove(s->config.names, &entry->prefix)) {
            s->events |= SESSION_EVENT_NAMES;
        }
    }
    names_clear(&s->stale);
}

void
session_receive_service_table(struct controller_session *s,
                              const Salient__V1__ServiceTable *table,
                              int64_t now)
{
    struct names *names = s->config.names;
    struct service_prefix prefix;
    bool changed = !s->names_complete && table->complete;

    if (table->complete) {
        mark_stale(s, now);
        s->names_complete = true;
    }
    for (size_t i = 0; i < table->n_removed; i++) {
        if (parse_prefix(table->removed[i], &prefix)) {
            changed |= names_remove(names, &prefix);
            changed |= service_routes_remove(s->config.routes, &prefix);
        }
    }
    for (size_t i = 0; i < table->n_services; i++) {
        const Salient__V1__Service *service = table->services[i];
        if (!parse_service(service, &prefix)) {
            static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(6, 3);
            VLOG_WARN_RL(&rl, "ignored a malformed service \"%s\" from the "
                         "controller", service->name);
            continue;
        }
        changed |= names_put(names, service->name, &prefix,
                             service->service_v4);
        changed |= take_ports(names, &prefix, service);
        changed |= take_route(s, service, &prefix);
        names_remove(&s->stale, &prefix);
    }
    if (changed) {
        s->events |= SESSION_EVENT_NAMES;
    }
}

void
session_receive_attachment(struct controller_session *s,
                           const Salient__V1__Attachment *attachment)
{
    struct in6_addr locator;
    char text[INET6_ADDRSTRLEN];
    size_t i;

    if (!session_parse_v6(&attachment->locator_v6, &locator)) {
        return;
    }
    if (attachment->locator_v4) {
        in6_addr_set_mapped_ipv4(&locator, htonl(attachment->locator_v4));
    }
    ipv6_string_mapped(text, &locator);
    for (i = 0; i < s->n_attached
                && !ipv6_addr_equals(&s->attached[i], &locator); i++) {
        continue;
    }
    if (attachment->attached) {
        if (i == s->n_attached && i < MAX_ATTACHMENTS) {
            s->attached[s->n_attached++] = locator;
            VLOG_INFO("attached at %s, switch %016"PRIx64" port %"PRIu32,
                      text, attachment->datapath, attachment->port);
        }
    } else {
        if (i < s->n_attached) {
            s->attached[i] = s->attached[--s->n_attached];
            VLOG_INFO("no longer attached at %s", text);
        }
        s->events |= SESSION_EVENT_PROBE;
    }
    s->events |= SESSION_EVENT_ATTACHMENT;
}

/* Questions. */

bool
controller_session_resolve(struct controller_session *s,
                           const struct service_id *id, int64_t now)
{
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;
    Salient__V1__Resolve resolve = SALIENT__V1__RESOLVE__INIT;
    struct service_id copy = *id;

    if (s->state != SESSION_UP || s->n_questions >= MAX_QUESTIONS) {
        return false;
    }
    resolve.service_id.data = copy.bytes;
    resolve.service_id.len = sizeof copy.bytes;
    envelope.request_id = s->registrations.next_request_id++;
    envelope.body_case = SALIENT__V1__ENVELOPE__BODY_RESOLVE;
    envelope.resolve = &resolve;
    s->questions[s->n_questions++] = (struct question) {
        .request_id = envelope.request_id,
        .answer = {.service_id = *id}};
    session_send(&envelope, s);
    return true;
}

static void
remove_question(struct controller_session *s, size_t i)
{
    memmove(&s->questions[i], &s->questions[i + 1],
            (--s->n_questions - i) * sizeof s->questions[0]);
}

bool
controller_session_take_resolved(struct controller_session *s,
                                 struct session_resolved *resolved)
{
    for (size_t i = 0; i < s->n_questions; i++) {
        if (s->questions[i].answered) {
            *resolved = s->questions[i].answer;
            remove_question(s, i);
            return true;
        }
    }
    return false;
}

static void
take_answer(struct session_resolved *answer,
            const Salient__V1__Resolved *resolved, int64_t now)
{
    struct service_route *route = &answer->route;
    uint32_t ttl = resolved->ttl_ms ? resolved->ttl_ms
                                    : RESOLVE_DEFAULT_TTL_MS;

    /* An answer about something else is none. */
    if (!parse_prefix(resolved->prefix, &route->prefix)
        || !service_prefix_contains_id(&route->prefix, &answer->service_id)) {
        return;
    }
    answer->found = true;
    route->name = "";
    route->action = SERVICE_FORWARD;
    route->path_class = resolved->path_class & SAL_PATH_CLASS_MASK;
    route->expires_ms = now + ttl;
    route->hops = parse_hops(resolved->hops, resolved->n_hops,
                             &route->n_hops);
}

bool
controller_session_identify(struct controller_session *s,
                            const struct claim *claim)
{
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;
    Salient__V1__Identify identify = SALIENT__V1__IDENTIFY__INIT;
    struct claim copy = *claim;

    if (s->state != SESSION_UP || s->n_doubts >= MAX_DOUBTS) {
        return false;
    }
    identify.locator.data = copy.locator.s6_addr;
    identify.locator.len = sizeof copy.locator;
    if (IN6_IS_ADDR_V4MAPPED(&copy.locator)) {
        identify.locator.data += 12;
        identify.locator.len = 4;
    }
    identify.endpoint_id.data = copy.endpoint;
    identify.endpoint_id.len = sizeof copy.endpoint;
    identify.identity_v4 = copy.identity_v4;
    envelope.request_id = s->registrations.next_request_id++;
    envelope.body_case = SALIENT__V1__ENVELOPE__BODY_IDENTIFY;
    envelope.identify = &identify;
    s->doubts[s->n_doubts++] = (struct doubt) {
        .request_id = envelope.request_id, .answer = {.claim = *claim}};
    session_send(&envelope, s);
    return true;
}

bool
controller_session_take_identified(struct controller_session *s,
                                   struct session_identified *identified)
{
    for (size_t i = 0; i < s->n_doubts; i++) {
        if (s->doubts[i].answered) {
            *identified = s->doubts[i].answer;
            memmove(&s->doubts[i], &s->doubts[i + 1],
                    (--s->n_doubts - i) * sizeof s->doubts[0]);
            return true;
        }
    }
    return false;
}

static void
take_identified(struct session_identified *identified,
                const Salient__V1__Identified *in)
{
    struct claim_answer *answer = &identified->answer;

    if (in->endpoint_id.len
        && in->endpoint_id.len != sizeof answer->endpoint) {
        return;
    }
    identified->ok = true;
    answer->known = in->endpoint_id.len != 0;
    answer->attached = answer->known && in->attached;
    memcpy(answer->endpoint, in->endpoint_id.data, in->endpoint_id.len);
    answer->identity_v4 = in->identity_v4;
    answer->ttl_ms = in->ttl_ms;
}

static bool
receive_identified(struct controller_session *s,
                   const Salient__V1__Envelope *envelope)
{
    for (size_t i = 0; i < s->n_doubts; i++) {
        struct doubt *doubt = &s->doubts[i];
        if (doubt->request_id == envelope->request_id && !doubt->answered) {
            doubt->answered = true;
            if (envelope->body_case
                == SALIENT__V1__ENVELOPE__BODY_IDENTIFIED) {
                take_identified(&doubt->answer, envelope->identified);
            }
            s->events |= SESSION_EVENT_IDENTIFIED;
            return true;
        }
    }
    return false;
}

/* True if 'envelope' answers a question. */
bool
session_receive_answer(struct controller_session *s,
                       const Salient__V1__Envelope *envelope, int64_t now)
{
    for (size_t i = 0; i < s->n_questions; i++) {
        struct question *question = &s->questions[i];
        if (question->request_id == envelope->request_id
            && !question->answered) {
            question->answered = true;
            if (envelope->body_case
                == SALIENT__V1__ENVELOPE__BODY_RESOLVED) {
                take_answer(&question->answer, envelope->resolved, now);
            }
            s->events |= SESSION_EVENT_RESOLVED;
            return true;
        }
    }
    return receive_identified(s, envelope);
}

/* Who asked gives up by itself. */
void
session_forget_questions(struct controller_session *s)
{
    for (size_t i = 0; i < s->n_questions; i++) {
        free(s->questions[i].answer.route.hops);
    }
    s->n_questions = s->n_doubts = 0;
}
