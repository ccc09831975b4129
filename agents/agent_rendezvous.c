/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of a flow have moved: where an RSYN goes that is to find the peer.
 * Switches resolve its endpoint service ID, or a rule of the service table
 * says who does or where the peer may be, or the controller knows. */
#include "agents/agent_private.h"

#include <errno.h>
#include <string.h>
#include "agents/migrator.h"
#include "ofp-ext/service_id.h"

/* The resolver address of the same version of IP, or none. */
static struct migration_locator
resolver_for(const struct agent *agent, const struct migration_locator *own)
{
    const struct session_welcome *welcome = &agent->state.welcome;
    struct migration_locator resolver = {.port = 0};
    uint32_t v4;

    if (!migration_locator_to_v4(own, &v4)) {
        memcpy(resolver.address, &welcome->resolver_v6,
               sizeof resolver.address);
    } else if (welcome->resolver_v4) {
        migration_locator_from_v4(welcome->resolver_v4, &resolver);
    }
    return resolver;
}

/* To all of them: they are not alternatives as those of a SYN are, but places
 * where one endpoint may be.  It answers the first that arrives. */
static int
send_to_hops(struct agent *agent, const struct probe_path *path,
             const struct service_hop hops[], size_t n, const uint8_t *data,
             size_t len)
{
    int result = -EDESTADDRREQ;
    uint32_t v4;

    for (size_t i = 0; i < n; i++) {
        struct probe_path way = *path;
        memcpy(way.other.address, hops[i].locator,
               sizeof way.other.address);
        if (migration_locator_to_v4(&way.own, &v4)
            == migration_locator_to_v4(&way.other, &v4)) {
            int error = probe_socket_send(agent_socket(agent), &way, data,
                                          len);
            result = error && result ? error : 0;
        }
    }
    return result;
}

int
agent_rendezvous_send(struct agent *agent, const struct probe_path *path,
                      const uint8_t *data, size_t len)
{
    struct probe_path way = *path;
    struct service_id id;
    size_t n;

    memcpy(id.bytes, data + SAL_OFS_SERVICE, sizeof id.bytes);
    const struct service_rule *rule
        = host_tables_find_rule(&agent->installed, &id);
    if (rule && (rule->action == SERVICE_REJECT
                 || rule->action == SERVICE_DROP)) {
        return -EACCES;
    }
    if (rule && rule->action == SERVICE_FORWARD) {
        const struct service_hop *hops
            = host_tables_find_hops(&agent->installed, &rule->prefix, &n);
        if (n) {
            return send_to_hops(agent, path, hops, n, data, len);
        }
    }
    way.other = resolver_for(agent, &way.own);
    return migration_locator_is_none(&way.other)
           ? -EDESTADDRREQ
           : probe_socket_send(agent_socket(agent), &way, data, len);
}

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
