/* SPDX-License-Identifier: Apache-2.0 */
/* Desired, installed, diff, apply: the data plane's tables, sal0's address and
 * routes. */
#include "agents/agent_private.h"

#include <stdlib.h>
#include <string.h>
#include "agents/desired.h"
#include "openvswitch/util.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(agent_apply);

#define APPLY_INTERVAL_MS 20

int
agent_read_installed(struct agent *agent)
{
    if (agent->installed_known) {
        return 0;
    }
    host_tables_destroy(&agent->installed);
    host_tables_init(&agent->installed);
    int error = datapath_installed(agent->datapath, &agent->installed);
    agent->installed_known = !error;
    return error;
}

static int
apply_tables(struct agent *agent, char **ret_error)
{
    struct desired_input input = {
        .welcome = &agent->state.welcome,
        .endpoint_id = agent->identity.endpoint_id,
        .names = &agent->state.names,
        .registrations = controller_session_registrations(agent->session),
        .leases = &agent->leases,
        .prefer_v6 = agent->config->prefer_ipv6,
        .default_action = agent->config->default_action,
        .answers = &agent->resolved,
        .router = agent->config->service_router,
    };
    struct host_tables desired;
    struct host_tables_diff diff;
    int error = agent_read_installed(agent);

    if (error) {
        *ret_error = xasprintf("cannot read the data plane's tables: %s",
                               ovs_strerror(-error));
        return error;
    }
    input.n_routes = agent_routes(agent, input.routes);
    desired_compute(&input, &desired);
    host_tables_diff(&agent->installed, &desired, &diff);
    if (!agent->state.names_complete) {
        /* What a predecessor installed may still be right: without the
         * controller's word nothing is taken away. */
        host_tables_destroy(&diff.remove);
        host_tables_init(&diff.remove);
    }
    if (!host_tables_diff_is_empty(&diff)) {
        error = datapath_apply(agent->datapath, &diff, ret_error);
        if (error) {
            agent->installed_known = false; /* Some of it may have worked. */
        } else {
            host_tables_diff_apply(&diff, &agent->installed);
        }
    }
    host_tables_diff_destroy(&diff);
    host_tables_destroy(&desired);
    agent_whereabouts_tables_changed(agent);
    return error;
}

int
agent_apply_now(struct agent *agent, char **ret_error)
{
    return apply_tables(agent, ret_error);
}

static bool
has_loopback_target(const struct host_tables *tables)
{
    for (size_t i = 0; i < tables->n_targets; i++) {
        const struct in6_addr *address = &tables->targets[i].address;
        if (ntohl(in6_addr_get_mapped_ipv4(address)) >> 24 == 127) {
            return true;
        }
    }
    return false;
}

static int
apply_netdev(struct agent *agent, char **ret_error)
{
    const struct session_welcome *welcome = &agent->state.welcome;
    struct netdev_desired desired = {
        .ifindex = datapath_sal_ifindex(agent->datapath),
        .address = welcome->identity_v4,
        .routes = {{.address = welcome->service_pool_v4,
                    .len = welcome->service_pool_len},
                   {.address = welcome->identity_pool_v4,
                    .len = welcome->identity_pool_len}},
        .n_routes = 2,
        .route_localnet = has_loopback_target(&agent->installed),
    };
    if (!IN6_IS_ADDR_UNSPECIFIED(&welcome->identity_prefix_v6)) {
        desired.address_v6
            = desired_identity_v6(welcome, agent->identity.endpoint_id);
        desired.routes[desired.n_routes++] = (struct netdev_route) {
            .address_v6 = welcome->service_prefix_v6, .len = 48};
        desired.routes[desired.n_routes++] = (struct netdev_route) {
            .address_v6 = welcome->identity_prefix_v6, .len = 48};
    }
    if (agent->config->dns.leases) {
        desired.routes[desired.n_routes].address = agent->leases.pool;
        desired.routes[desired.n_routes++].len
            = agent->config->dns.lease_pool_len;
    }
    return host_netdev_apply(agent->netdev, &desired, ret_error);
}

static void
apply_timer(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    char *error = NULL;

    if (!agent->state.have_welcome || agent->stopping) {
        return;
    }
    agent->applied_ms = agent_now(agent);
    if (!apply_tables(agent, &error)) {
        apply_netdev(agent, &error);
    }
    if (error && (!agent->apply_error || strcmp(error, agent->apply_error))) {
        VLOG_ERR("%s", error);
    }
    free(agent->apply_error);
    agent->apply_error = error;
    if (error) {
        uv_timer_start(&agent->apply_timer, apply_timer, 1000, 0);
    }
    agent_waiters_run(agent);
}

bool
agent_apply_is_due(const struct agent *agent)
{
    return !agent->apply_error
           && uv_is_active((const uv_handle_t *) &agent->apply_timer);
}

/* At once, unless the last time was just now: while thousands of answers
 * arrive, computing everything for each would be all that we do. */
void
agent_apply_soon(struct agent *agent)
{
    int64_t due = agent->applied_ms + APPLY_INTERVAL_MS - agent_now(agent);

    if (!uv_is_closing((uv_handle_t *) &agent->apply_timer)
        && (!uv_is_active((uv_handle_t *) &agent->apply_timer) || due <= 0)) {
        uv_timer_start(&agent->apply_timer, apply_timer, MAX(due, 0), 0);
    }
}

/* Both addresses of a lease. */
static void
put_lease(const struct agent *agent, const struct lease *lease,
          struct host_tables *tables)
{
    const struct service_prefix prefix = {.id = lease->id,
                                          .len = SAL_SERVICE_ID_BITS};
    struct service_address address = {
        .address = in6_addr_mapped_ipv4(htonl(lease->address)),
        .id = lease->id};

    host_tables_put_address(tables, &address);
    address.address = desired_service_v6(&agent->state.welcome, &prefix);
    if (!IN6_IS_ADDR_UNSPECIFIED(&address.address)) {
        host_tables_put_address(tables, &address);
    }
}

/* At once, as the name server's answer is used at once; the whole tables
 * need not be computed for it. */
uint32_t
agent_lease(const char *name, const struct service_id *id, void *agent_)
{
    struct agent *agent = agent_;
    struct host_tables empty, wanted;
    struct host_tables_diff diff;
    uint32_t gone;
    bool new;
    char *error = NULL;

    if (!agent->config->dns.leases || !agent->state.have_welcome
        || agent->stopping) {
        return 0;
    }
    const struct lease *lease = leases_get(&agent->leases, id, name,
                                           agent_now(agent), &new, &gone);
    if (!lease || !new) {
        return lease ? lease->address : 0;
    }
    host_tables_init(&empty);
    host_tables_init(&wanted);
    put_lease(agent, lease, &wanted);
    host_tables_diff(&empty, &wanted, &diff);
    int failed = datapath_apply(agent->datapath, &diff, &error);
    if (!failed) {
        put_lease(agent, lease, &agent->installed);
    }
    host_tables_diff_destroy(&diff);
    host_tables_destroy(&wanted);
    host_tables_destroy(&empty);
    if (failed || gone) {
        free(error);
        agent_apply_soon(agent); /* Tries again, and removes what is gone. */
    }
    return failed ? 0 : lease->address;
}

const char *
agent_leased(const struct in6_addr *address, void *agent_)
{
    struct agent *agent = agent_;
    const struct lease *lease;

    if (IN6_IS_ADDR_V4MAPPED(address)) {
        ovs_be32 v4;
        memcpy(&v4, &address->s6_addr[12], sizeof v4);
        lease = leases_by_address(&agent->leases, ntohl(v4));
        return lease && lease->name[0] ? lease->name : NULL;
    }
    LIST_FOR_EACH (lease, node, &agent->leases.all) {
        struct service_prefix prefix = {.id = lease->id,
                                        .len = SAL_SERVICE_ID_BITS};
        struct in6_addr v6;
        service_address_v6(&prefix,
                           agent->state.welcome.service_prefix_v6.s6_addr,
                           v6.s6_addr);
        if (lease->name[0] && IN6_ARE_ADDR_EQUAL(&v6, address)) {
            return lease->name;
        }
    }
    return NULL;
}
