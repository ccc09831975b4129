/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of a flow have moved, and no switch knows endpoint service IDs:
 * the controller does. */
#include "agents/agent_private.h"

#include <string.h>
#include "agents/migrator.h"
#include "ofp-ext/service_id.h"

bool
agent_rendezvous_ask(const uint8_t peer[SAL_ENDPOINT_ID_LEN], void *agent_)
{
    struct agent *agent = agent_;
    struct service_prefix prefix;

    service_prefix_of_endpoint(peer, &prefix);
    return controller_session_resolve(agent->session, &prefix.id,
                                      agent_now(agent));
}

bool
agent_rendezvous_answered(struct agent *agent,
                          const struct session_resolved *answer)
{
    struct migrator *migrator = agent_migrator(agent);
    struct migration_locator locators[HOST_TABLES_MAX_HOPS];
    const uint8_t *peer = answer->service_id.bytes + 8;
    struct service_prefix prefix;
    struct migrator_clock clock;
    size_t n = answer->found ? answer->route.n_hops : 0;

    /* It may be the answer to a packet for some other service. */
    service_prefix_of_endpoint(peer, &prefix);
    if (!migrator
        || memcmp(&prefix.id, &answer->service_id, sizeof prefix.id)) {
        return false;
    }
    memset(locators, 0, sizeof locators);
    for (size_t i = 0; i < n; i++) {
        memcpy(locators[i].address, answer->route.hops[i].locator,
               sizeof locators[i].address);
    }
    agent_migration_clock(agent, &clock);
    bool asked = migrator_peer_at(migrator, peer, locators, n, &clock);
    agent_migration_arm(agent);
    return asked;
}
