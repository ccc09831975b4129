/* SPDX-License-Identifier: Apache-2.0 */
/* Whose the inner addresses of clients are: between the data plane, which
 * holds SYNs, the controller, which knows, and claims.h, which decides. */
#include "agents/agent_private.h"

#include <stdlib.h>
#include "agents/datapath_held.h"
#include "agents/migrator.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(claims);

/* SYNs are held for so long after the daemon was last heard of: without it,
 * nobody is refused for being new. */
#define ALIVE_MS 2000

static bool
ask(const struct claim *claim, void *agent_)
{
    struct agent *agent = agent_;

    return controller_session_identify(agent->session, claim);
}

static void
enter(const struct sal_peer_key *key, const struct sal_peer *peer,
      uint32_t ttl_ms, void *agent_)
{
    static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 5);
    struct agent *agent = agent_;
    int error = datapath_put_peer(agent->datapath, key, peer, ttl_ms);

    if (error) {
        VLOG_WARN_RL(&rl, "cannot note who is where: %s",
                     ovs_strerror(-error));
    }
}

static void
deliver(const void *frame, size_t len, uint32_t ifindex, void *agent_)
{
    static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 5);
    struct agent *agent = agent_;
    int error = datapath_held_deliver(agent->datapath, frame, len, ifindex);

    if (error) {
        VLOG_WARN_RL(&rl, "cannot give a SYN back: %s",
                     ovs_strerror(-error));
    }
}

static bool
is_proved(const uint8_t endpoint[SAL_ENDPOINT_ID_LEN],
          const struct migration_locator *locator, void *agent_)
{
    const struct migrator *migrator = agent_migrator(agent_);

    return migrator && migrator_peer_is_at(migrator, endpoint, locator);
}

struct cut {
    const uint8_t *endpoint;
    const struct migration_locator *locator;
    uint32_t *ids;
    size_t n, allocated;
};

static void
note_flow(const struct datapath_flow *flow, void *cut_)
{
    struct cut *cut = cut_;

    if (flow->server
        && !memcmp(flow->peer_endpoint, cut->endpoint, SAL_ENDPOINT_ID_LEN)
        && migration_locator_equal(&flow->path.peer, cut->locator)) {
        if (cut->n >= cut->allocated) {
            cut->ids = x2nrealloc(cut->ids, &cut->allocated,
                                  sizeof *cut->ids);
        }
        cut->ids[cut->n++] = flow->id;
    }
}

static size_t
cut_flows(const uint8_t endpoint[SAL_ENDPOINT_ID_LEN],
          const struct migration_locator *locator, void *agent_)
{
    static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(6, 6);
    struct agent *agent = agent_;
    struct cut cut = {.endpoint = endpoint, .locator = locator};
    char where[MIGRATOR_LOCATOR_LEN];

    datapath_flows_visit(agent->datapath, note_flow, &cut);
    for (size_t i = 0; i < cut.n; i++) {
        datapath_flow_end(agent->datapath, cut.ids[i]);
    }
    free(cut.ids);
    VLOG_WARN_RL(&rl, "%s has not proved who it is; %"PRIuSIZE" flows ended",
                 migrator_format_locator(locator, where), cut.n);
    return cut.n;
}

const struct claims_ops agent_claims_ops = {
    .ask = ask,
    .enter = enter,
    .deliver = deliver,
    .is_proved = is_proved,
    .cut = cut_flows,
};

void
agent_claims_refresh(struct agent *agent)
{
    static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(1, 5);
    bool check = agent->config->check_identity;
    bool can_ask = controller_session_is_up(agent->session)
                   && !agent->stopping;
    int error = datapath_set_identity(agent->datapath, check,
                                      can_ask ? ALIVE_MS : 0);

    if (error) {
        VLOG_WARN_RL(&rl, "cannot set the check of identities: %s",
                     ovs_strerror(-error));
    } else if (!check || !can_ask) {
        claims_give_back(&agent->claims);
    }
}

void
agent_take_identified(struct agent *agent)
{
    struct session_identified identified;

    while (controller_session_take_identified(agent->session, &identified)) {
        claims_answered(&agent->claims, &identified.claim,
                        identified.ok ? &identified.answer : NULL,
                        agent_now(agent));
    }
    agent_hold_arm(agent);
}
