/* SPDX-License-Identifier: Apache-2.0 */
/* Tells service routers where this host is; whereabouts.h.  They are the hops
 * of the rule for our own endpoint service: whom others ask for us. */
#include "agents/agent_private.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agents/whereabouts.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(whereabouts);

#define MAX_ROUTERS 4
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 5000

struct service_router {
    struct migration_locator locator;
    uint32_t seq; /* Of what was told last, and its nonce; 0: nothing yet. */
    uint64_t nonce;
    uint8_t public_key[SAL_PUBLIC_KEY_LEN]; /* Of who challenged us. */
    unsigned int attempts; /* Since something changed, or it knew. */
    int64_t next_ms;
    struct migration_locator known; /* Where it knows us to be, or none. */
};

struct agent_whereabouts {
    struct service_router routers[MAX_ROUTERS];
    size_t n;
    uint32_t seq;
};

static bool
is_own_address(const struct agent *agent, const uint8_t address[16])
{
    size_t n = host_netdev_n_uplinks(agent->netdev);

    for (size_t i = 0; i < n; i++) {
        const struct netdev_uplink *uplink
            = host_netdev_uplink(agent->netdev, i);
        struct migration_locator v4 = {.port = 0};
        migration_locator_from_v4(uplink->address, &v4);
        if (!memcmp(address, v4.address, 16)
            || !memcmp(address, &uplink->address_v6, 16)) {
            return true;
        }
    }
    return false;
}

/* Our address of 'family' on the 'attempt'-th best of the uplinks that have
 * one; those behind a NAT are seen elsewhere.  False if there is none. */
static bool
choose_uplink(const struct agent *agent, bool v6, unsigned int attempt,
              struct probe_path *path)
{
    struct probe_path paths[AGENT_MAX_UPLINKS];
    uint32_t priorities[AGENT_MAX_UPLINKS];
    size_t n = 0;

    for (size_t i = 0; i < host_netdev_n_uplinks(agent->netdev); i++) {
        const struct netdev_uplink *uplink
            = host_netdev_uplink(agent->netdev, i);
        const struct agent_uplink_config *options
            = &agent->config->uplink_options[i];
        struct probe_path own = {.ifindex = uplink->ifindex};
        size_t k = n;

        if (v6) {
            memcpy(own.own.address, &uplink->address_v6, 16);
        } else if (uplink->address) {
            migration_locator_from_v4(uplink->address, &own.own);
        }
        if (!uplink->ifindex || !uplink->up || options->behind_nat
            || migration_locator_is_none(&own.own)) {
            continue;
        }
        for (; k && priorities[k - 1] > options->priority; k--) {
            priorities[k] = priorities[k - 1];
            paths[k] = paths[k - 1];
        }
        priorities[k] = options->priority;
        paths[k] = own;
        n++;
    }
    if (n) {
        *path = paths[attempt % n];
    }
    return n;
}

/* Another uplink after two attempts by one. */
static void
ask(struct agent *agent, struct service_router *router)
{
    struct agent_whereabouts *all = agent->whereabouts;
    struct probe_socket *sock = agent_socket(agent);
    struct whereabouts w = {.kind = WHEREABOUTS_ASK};
    uint8_t packet[WHEREABOUTS_LEN];
    struct probe_path path;
    struct timespec now;
    uint32_t v4;

    router->next_ms = agent_now(agent)
                      + MIN(RETRY_MIN_MS << MIN(router->attempts, 10),
                            RETRY_MAX_MS);
    if (!sock
        || !choose_uplink(agent,
                          !migration_locator_to_v4(&router->locator, &v4),
                          router->attempts / 2, &path)) {
        return;
    }
    router->attempts++;
    clock_gettime(CLOCK_REALTIME, &now);
    all->seq = probe_next_seq(all->seq, now.tv_sec * 1000LL
                                        + now.tv_nsec / 1000000);
    router->seq = all->seq;
    randombytes_buf(&router->nonce, sizeof router->nonce);
    router->nonce |= 1;
    path.other = router->locator;
    memcpy(w.host, agent->identity.endpoint_id, sizeof w.host);
    w.seq = router->seq;
    w.nonce = router->nonce;
    w.locator = path.own;
    whereabouts_build(&agent->identity, &w, NULL, packet);
    probe_socket_send(sock, &path, packet, sizeof packet);
}

static void
arm(struct agent *agent)
{
    const struct agent_whereabouts *all = agent->whereabouts;
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < all->n; i++) {
        next = MIN(next, all->routers[i].next_ms);
    }
    if (next == INT64_MAX
        || uv_is_closing((uv_handle_t *) &agent->whereabouts_timer)) {
        uv_timer_stop(&agent->whereabouts_timer);
    } else {
        uv_timer_start(&agent->whereabouts_timer, agent_whereabouts_timer,
                       MAX(next - agent_now(agent), 0), 0);
    }
}

void
agent_whereabouts_timer(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    struct agent_whereabouts *all = agent->whereabouts;

    for (size_t i = 0; i < all->n && !agent->stopping; i++) {
        if (agent_now(agent) >= all->routers[i].next_ms) {
            ask(agent, &all->routers[i]);
        }
    }
    arm(agent);
}

/* Whom to tell, as the tables are now.  What is known of those that stay is
 * kept. */
static void
find_routers(struct agent *agent)
{
    struct agent_whereabouts *all = agent->whereabouts;
    struct agent_whereabouts was = *all;
    struct service_prefix self;
    size_t n_hops = 0;

    service_prefix_of_endpoint(agent->identity.endpoint_id, &self);
    const struct service_rule *rule
        = host_tables_find_rule(&agent->installed, &self.id);
    const struct service_hop *hops
        = rule && rule->action == SERVICE_FORWARD
          ? host_tables_find_hops(&agent->installed, &rule->prefix, &n_hops)
          : NULL;
    all->n = 0;
    for (size_t i = 0; i < n_hops && all->n < MAX_ROUTERS; i++) {
        struct service_router *router = &all->routers[all->n];
        if (is_own_address(agent, hops[i].locator)) {
            continue;
        }
        *router = (struct service_router) {.next_ms = agent_now(agent)};
        memcpy(router->locator.address, hops[i].locator,
               sizeof router->locator.address);
        for (size_t k = 0; k < was.n; k++) {
            if (migration_locator_equal(&was.routers[k].locator,
                                        &router->locator)) {
                *router = was.routers[k];
            }
        }
        all->n++;
    }
}

/* True if we are no longer where the router knows us to be. */
static bool
has_moved(const struct agent *agent, const struct service_router *router)
{
    struct probe_path path;
    uint32_t v4;

    return choose_uplink(agent,
                         !migration_locator_to_v4(&router->locator, &v4), 0,
                         &path)
           && !migration_locator_equal(&path.own, &router->known);
}

void
agent_whereabouts_tables_changed(struct agent *agent)
{
    if (agent->whereabouts && !agent->stopping) {
        find_routers(agent);
        agent_whereabouts_timer(&agent->whereabouts_timer);
    }
}

void
agent_whereabouts_uplinks_changed(struct agent *agent)
{
    struct agent_whereabouts *all = agent->whereabouts;

    for (size_t i = 0; all && i < all->n; i++) {
        struct service_router *router = &all->routers[i];
        if (has_moved(agent, router)) {
            router->attempts = 0;
            router->next_ms = agent_now(agent);
        }
    }
    agent_whereabouts_tables_changed(agent);
}

static void
answer_challenge(struct agent *agent, struct service_router *router,
                 const struct probe_path *path, const struct whereabouts *w)
{
    struct whereabouts tell = *w;
    uint8_t packet[WHEREABOUTS_LEN];

    tell.kind = WHEREABOUTS_TELL;
    memcpy(router->public_key, w->public_key, sizeof router->public_key);
    if (!whereabouts_build(&agent->identity, &tell, router->public_key,
                           packet)) {
        probe_socket_send(agent_socket(agent), path, packet, sizeof packet);
    }
}

void
agent_whereabouts_received(struct agent *agent, const struct probe_path *path,
                           const struct whereabouts *w, const uint8_t *packet)
{
    struct agent_whereabouts *all = agent->whereabouts;

    for (size_t i = 0; all && i < all->n; i++) {
        struct service_router *router = &all->routers[i];
        if (!router->seq || w->seq != router->seq || w->nonce != router->nonce
            || !migration_locator_equal(&path->other, &router->locator)
            || !migration_locator_equal(&path->own, &w->locator)) {
            continue;
        }
        if (w->kind == WHEREABOUTS_CHALLENGE) {
            answer_challenge(agent, router, path, w);
        } else if (!memcmp(w->public_key, router->public_key,
                           sizeof w->public_key)
                   && whereabouts_authentic(&agent->identity, w, packet)) {
            router->seq = 0;
            router->attempts = 0;
            router->known = w->locator;
            router->next_ms = agent_now(agent) + WHEREABOUTS_REFRESH_MS;
            arm(agent);
        }
    }
}

void
agent_whereabouts_start(struct agent *agent)
{
    agent->whereabouts = xzalloc(sizeof *agent->whereabouts);
}

void
agent_whereabouts_stop(struct agent *agent)
{
    free(agent->whereabouts);
    agent->whereabouts = NULL;
}

bool
agent_whereabouts_get(const struct agent *agent, size_t i,
                      struct migration_locator *ret_router,
                      struct migration_locator *ret_known)
{
    const struct agent_whereabouts *all = agent->whereabouts;

    if (!all || i >= all->n) {
        return false;
    }
    *ret_router = all->routers[i].locator;
    *ret_known = all->routers[i].known;
    return true;
}
