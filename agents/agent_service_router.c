/* SPDX-License-Identifier: Apache-2.0 */
/* Service-router mode: where other endpoints are.  They tell us
 * (whereabouts.h); it becomes a route of the endpoint's service, by which the
 * data plane sends RSYNs on. */
#include "agents/agent_private.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "agents/whereabouts.h"
#include "openvswitch/hmap.h"
#include "openvswitch/vlog.h"
#include "hash.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(service_router);

#define SLOT_MS 5000 /* A challenge is good for one to two of them. */

/* What a host told is forgotten unless it says so again. */
#define LIFETIME_MS (3 * WHEREABOUTS_REFRESH_MS)
#define MAX_ENDPOINTS 4096
#define MAX_PER_LOCATOR 64 /* Endpoints, so that one host cannot take all. */

/* Messages that may each cost an X25519 operation: a second, and at once. */
#define PER_S 300
#define BURST 300

struct told {
    struct hmap_node node; /* By endpoint. */
    uint8_t endpoint[SAL_ENDPOINT_ID_LEN];
    struct migration_locator locator;
    uint32_t seq;
    int64_t expires_ms;
};

struct agent_service_router {
    struct hmap told;
    uint8_t secret[WHEREABOUTS_SECRET_LEN];
    int64_t credit_ms, credited_at; /* 1000 are one message. */
    struct service_router_counters counters;
};

static bool
admit(struct agent *agent)
{
    struct agent_service_router *self = agent->service_router;
    int64_t now = agent_now(agent);

    self->credit_ms += (now - self->credited_at) * PER_S;
    self->credit_ms = MIN(self->credit_ms, BURST * 1000);
    self->credited_at = now;
    if (self->credit_ms < 1000) {
        self->counters.limited++;
        return false;
    }
    self->credit_ms -= 1000;
    return true;
}

static struct told *
find(struct agent_service_router *self,
     const uint8_t endpoint[SAL_ENDPOINT_ID_LEN])
{
    struct told *told;

    HMAP_FOR_EACH_WITH_HASH (told, node,
                             hash_bytes(endpoint, SAL_ENDPOINT_ID_LEN, 0),
                             &self->told) {
        if (!memcmp(told->endpoint, endpoint, sizeof told->endpoint)) {
            return told;
        }
    }
    return NULL;
}

static void
forget_old(struct agent_service_router *self, int64_t now)
{
    struct told *told, *next;

    HMAP_FOR_EACH_SAFE (told, next, node, &self->told) {
        if (now >= told->expires_ms) {
            hmap_remove(&self->told, &told->node);
            free(told);
        }
    }
}

/* May one more endpoint be at 'locator'? */
static bool
has_room(const struct agent_service_router *self,
         const struct migration_locator *locator)
{
    const struct told *told;
    size_t n = 0;

    HMAP_FOR_EACH (told, node, &self->told) {
        n += migration_locator_equal(&told->locator, locator);
    }
    return n < MAX_PER_LOCATOR && hmap_count(&self->told) < MAX_ENDPOINTS;
}

/* The entry for the host, a new one if need be; NULL if there are too
 * many. */
static struct told *
entry_for(struct agent *agent, const struct whereabouts *w)
{
    struct agent_service_router *self = agent->service_router;
    struct told *told = find(self, w->host);

    if (told) {
        return told;
    }
    forget_old(self, agent_now(agent));
    if (!has_room(self, &w->locator)) {
        self->counters.full++;
        return NULL;
    }
    told = xzalloc(sizeof *told);
    memcpy(told->endpoint, w->host, sizeof told->endpoint);
    hmap_insert(&self->told, &told->node,
                hash_bytes(w->host, SAL_ENDPOINT_ID_LEN, 0));
    return told;
}

static void
put_route(struct agent *agent, const struct told *told)
{
    struct route_hop hop = {.weight = 1};
    struct service_route route = {.name = "", .action = SERVICE_FORWARD,
                                  .hops = &hop, .n_hops = 1,
                                  .expires_ms = told->expires_ms};

    service_prefix_of_endpoint(told->endpoint, &route.prefix);
    memcpy(hop.locator, told->locator.address, sizeof hop.locator);
    agent_route_learned(agent, &route);
}

static void
answer(struct agent *agent, const struct probe_path *path,
       const struct whereabouts *w, enum whereabouts_kind kind)
{
    struct probe_socket *sock = agent_socket(agent);
    struct whereabouts out = *w;
    uint8_t packet[WHEREABOUTS_LEN];

    out.kind = kind;
    if (sock
        && !whereabouts_build(&agent->identity, &out, w->public_key,
                              packet)) {
        probe_socket_send(sock, path, packet, sizeof packet);
    }
}

static void
take_ask(struct agent *agent, const struct probe_path *path,
         const struct whereabouts *w)
{
    struct agent_service_router *self = agent->service_router;
    struct whereabouts out = *w;

    if (admit(agent)) {
        out.stamp = agent_now(agent) / SLOT_MS;
        whereabouts_challenge(self->secret, w, out.stamp, out.tag);
        self->counters.challenged++;
        answer(agent, path, &out, WHEREABOUTS_CHALLENGE);
    }
}

static bool
challenge_is_ours(struct agent *agent, const struct whereabouts *w)
{
    uint64_t slot = agent_now(agent) / SLOT_MS;
    uint8_t tag[SAL_CHALLENGE_TAG_LEN];

    whereabouts_challenge(agent->service_router->secret, w, w->stamp, tag);
    return (w->stamp == slot || w->stamp + 1 == slot)
           && !sodium_memcmp(tag, w->tag, sizeof tag);
}

static void
take_tell(struct agent *agent, const struct probe_path *path,
          const struct whereabouts *w, const uint8_t *packet)
{
    struct agent_service_router *self = agent->service_router;
    struct told *told = find(self, w->host);

    if (!challenge_is_ours(agent, w)) {
        self->counters.forged++;
        return;
    }
    if (told && agent_now(agent) < told->expires_ms
        && (int32_t) (w->seq - told->seq) < 0) {
        self->counters.refused++; /* It has been elsewhere since. */
        return;
    }
    if (!admit(agent)) {
        return;
    }
    if (!whereabouts_authentic(&agent->identity, w, packet)) {
        self->counters.forged++;
        return;
    }
    told = entry_for(agent, w);
    if (told) {
        self->counters.told++;
        told->seq = w->seq;
        told->locator = w->locator;
        told->expires_ms = agent_now(agent) + LIFETIME_MS;
        put_route(agent, told);
        answer(agent, path, w, WHEREABOUTS_KNOWN);
    }
}

/* The host says where it is, and that must be where it is seen. */
void
agent_service_router_received(struct agent *agent,
                              const struct probe_path *path,
                              const struct whereabouts *w,
                              const uint8_t *packet)
{
    struct agent_service_router *self = agent->service_router;

    if (!self) {
        return;
    }
    if (!agent->config->service_router
        || !migration_locator_equal(&w->locator, &path->other)
        || !memcmp(w->host, agent->identity.endpoint_id, sizeof w->host)) {
        self->counters.refused++;
    } else if (w->kind == WHEREABOUTS_ASK) {
        take_ask(agent, path, w);
    } else {
        take_tell(agent, path, w, packet);
    }
}

void
agent_service_router_start(struct agent *agent)
{
    struct agent_service_router *self = xzalloc(sizeof *self);

    hmap_init(&self->told);
    self->credit_ms = BURST * 1000;
    self->credited_at = agent_now(agent);
    randombytes_buf(self->secret, sizeof self->secret);
    agent->service_router = self;
}

void
agent_service_router_stop(struct agent *agent)
{
    struct agent_service_router *self = agent->service_router;

    if (self) {
        forget_old(self, INT64_MAX);
        hmap_destroy(&self->told);
        free(self);
        agent->service_router = NULL;
    }
}

const struct service_router_counters *
agent_service_router_counters(const struct agent *agent)
{
    static const struct service_router_counters none;
    return agent->service_router ? &agent->service_router->counters : &none;
}
