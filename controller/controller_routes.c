/* SPDX-License-Identifier: Apache-2.0 */
/* Routes for agents: where a service is, for those whose switches do not
 * resolve, and for those who ask. */
#include "controller/controller_private.h"
#include "controller/paths.h"
#include "packets.h"
#include "util.h"

/* Good for so long; a push follows every change, an answer has to be asked for
 * again. */
#define RESOLVED_TTL_MS 5000
#define RESOLVED_TTL_HOLD_MS 1000

/* The switch that the endpoint is attached to, if no switch with SAL fields
 * can be reached from there; 0 if the network resolves for it, or does not see
 * it. */
static uint64_t
find_delegate(const struct controller *c, const struct endpoint_id *id)
{
    const struct paths *paths = plan_paths(c->plan);

    for (int v6 = 0; v6 < 2; v6++) {
        const struct topology_attachment *at
            = topology_attachment_by(c->topology, id, v6);
        uint32_t index = at ? paths_index(paths, at->dpid) : PATHS_NO_SWITCH;
        if (index != PATHS_NO_SWITCH) {
            return paths_delegates(paths, index) ? at->dpid : 0;
        }
    }
    return 0;
}

static void
add_hop(struct agent_hops *hops, const struct in6_addr *locator,
        uint32_t weight)
{
    for (size_t i = 0; i < hops->n; i++) {
        if (ipv6_addr_equals(&hops->hops[i].locator, locator)) {
            return; /* It serves by another protocol as well. */
        }
    }
    if (hops->n < AGENT_HOPS_MAX) {
        hops->hops[hops->n++] = (struct agent_hop) {*locator, weight};
    }
}

static void
add_routes(const struct controller *c, uint64_t dpid,
           const struct service_prefix *prefix, struct agent_hops *hops)
{
    const struct service_routes *service
        = routes_of(plan_routes(c->plan), prefix);

    for (size_t i = 0; service && i < service->n_routes; i++) {
        const struct route *route = service->routes[i];
        for (size_t j = 0; route_is_at(route, dpid) && j < route->n_targets;
             j++) {
            add_hop(hops, &route->targets[j].locator,
                    route->targets[j].weight);
        }
    }
}

void
controller_hops(const struct agent_session *session,
                const struct service_prefix *prefix, struct agent_hops *hops,
                void *c_)
{
    const struct controller *c = c_;
    uint64_t dpid = find_delegate(c, &session->id);

    hops->n = 0;
    if (dpid) {
        add_routes(c, dpid, prefix, hops);
    }
}

/* An endpoint by its ID. */
static bool
resolve_endpoint(const struct controller *c, uint64_t dpid,
                 const struct service_id *id, struct agent_answer *answer)
{
    const struct topology_attachment *host;

    TOPOLOGY_FOR_EACH_ATTACHMENT (host, c->topology) {
        struct service_prefix own;
        service_prefix_of_endpoint(host->endpoint.bytes, &own);
        if (!host->plain && service_prefix_contains_id(&own, id)) {
            answer->prefix = own;
            if (dpid) {
                add_hop(&answer->hops, &host->locator, 1);
            }
        }
    }
    return answer->prefix.len != 0;
}

static bool
is_endpoint_service(const struct service_id *id)
{
    static const uint8_t nobody[SAL_ENDPOINT_ID_LEN];
    struct service_prefix all;

    service_prefix_of_endpoint(nobody, &all);
    all.len = 64;
    service_prefix_normalize(&all);
    return service_prefix_contains_id(&all, id);
}

/* The longest prefix that somebody serves. */
static bool
resolve_service(const struct controller *c, uint64_t dpid,
                const struct service_id *id, struct agent_answer *answer)
{
    struct service_prefix prefix = {.id = *id, .len = SAL_SERVICE_ID_BITS};

    for (;; prefix.len--) {
        service_prefix_normalize(&prefix);
        const struct service_routes *service
            = routes_of(plan_routes(c->plan), &prefix);
        if (service) {
            answer->prefix = prefix;
            answer->path_class = service->path_class;
            if (dpid) {
                add_routes(c, dpid, &prefix, &answer->hops);
            }
            return true;
        }
        if (!prefix.len) {
            return false;
        }
    }
}

int
controller_resolve(const struct agent_session *session,
                   const struct service_id *id, struct agent_answer *answer,
                   void *c_)
{
    const struct controller *c = c_;
    uint64_t dpid = find_delegate(c, &session->id);

    memset(answer, 0, sizeof *answer);
    answer->ttl_ms = RESOLVED_TTL_MS;
    if (is_endpoint_service(id) ? resolve_endpoint(c, dpid, id, answer)
                                : resolve_service(c, dpid, id, answer)) {
        return 0;
    }
    if (!c->hold.over) {
        /* Who serves it may not be back yet; the switches know. */
        answer->prefix = (struct service_prefix) {*id, SAL_SERVICE_ID_BITS};
        answer->ttl_ms = RESOLVED_TTL_HOLD_MS;
        return 0;
    }
    return -ENOENT;
}

/* Pushes. */

struct news {
    struct controller *c;
    bool all;
    struct registry_change *changes;
    size_t n, allocated;
};

static void
add_news(struct news *news, const struct service_prefix *prefix)
{
    if (news->n >= news->allocated) {
        news->changes = x2nrealloc(news->changes, &news->allocated,
                                   sizeof *news->changes);
    }
    news->changes[news->n++] = (struct registry_change) {
        .prefix = *prefix, .exists = true, .names_changed = true};
}

static void
tell_news(struct agent_session *session, void *news_)
{
    const struct news *news = news_;
    bool was = session->delegated;

    session->delegated = find_delegate(news->c, &session->id) != 0;
    if (was != session->delegated || (was && news->all)) {
        agent_session_push_services(session, false);
    } else if (was) {
        agent_session_push_changes(session, news->changes, news->n);
    }
}

/* Agents that pick instances by themselves hear of whatever their routes
 * depend on, as soon as it is planned. */
void
controller_push_routes(struct controller *c, const struct plan_result *result)
{
    struct news news = {.c = c, .all = result->topology.graph};

    if (!result->topology.graph && !result->topology.n_hosts
        && !paths_any_delegates(plan_paths(c->plan))) {
        return;
    }
    for (size_t i = 0; i < result->n_services; i++) {
        /* Others have told them of names that changed. */
        if (result->services[i].exists && !result->services[i].names_changed) {
            add_news(&news, &result->services[i].prefix);
        }
    }
    for (size_t i = 0; i < result->topology.n_hosts; i++) {
        const struct registry_endpoint *endpoint = registry_endpoint(
            c->registry, &result->topology.hosts[i].endpoint);
        const struct registry_instance *instance;
        if (endpoint) {
            LIST_FOR_EACH (instance, endpoint_node, &endpoint->instances) {
                add_news(&news, &instance->service->prefix);
            }
        }
    }
    api_server_for_each(c->api, tell_news, &news);
    free(news.changes);
}
