/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/agent_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "openvswitch/vlog.h"
#include "packets.h"
#include "proto/daemon/daemon.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(agent);

#define DRAIN_POLL_MS 20
#define SAVE_DELAY_MS 500 /* Names may change in bursts. */

int64_t
agent_now(const struct agent *agent)
{
    return uv_now(agent->loop);
}

/* State file. */

int
agent_save_state(struct agent *agent)
{
    int error = agent_state_save(agent->state_path, &agent->state);

    if (error) {
        static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(6, 3);
        VLOG_ERR_RL(&rl, "%s: %s", agent->state_path, ovs_strerror(-error));
    }
    uv_timer_stop(&agent->save_timer);
    return error;
}

static void
save_timer(uv_timer_t *timer)
{
    agent_save_state(timer->data);
}

static void
save_soon(struct agent *agent)
{
    if (!agent->stopping && !uv_is_active((uv_handle_t *)
                                          &agent->save_timer)) {
        uv_timer_start(&agent->save_timer, save_timer, SAVE_DELAY_MS, 0);
    }
}

/* The session. */

static void drain_start(struct agent *);

static void
session_timer(uv_timer_t *timer)
{
    struct agent *agent = timer->data;

    if (agent->connect_error) {
        char *reason = agent->connect_error;
        agent->connect_error = NULL;
        controller_session_disconnected(agent->session, reason,
                                        agent_now(agent));
        free(reason);
    } else {
        controller_session_run(agent->session, agent_now(agent));
    }
    agent_session_changed(agent);
}

static void
arm_session_timer(struct agent *agent)
{
    int64_t deadline = controller_session_deadline(agent->session);
    int64_t now = agent_now(agent);

    if (agent->connect_error) {
        deadline = now;
    }
    if (deadline == INT64_MAX) {
        uv_timer_stop(&agent->session_timer);
    } else {
        uv_timer_start(&agent->session_timer, session_timer,
                       deadline > now ? deadline - now : 0, 0);
    }
}

/* Leased addresses must be nobody else's. */
static void
check_lease_pool(struct agent *agent)
{
    const struct session_welcome *welcome = &agent->state.welcome;
    bool overlap = (leases_overlap(&agent->leases, welcome->service_pool_v4,
                                   welcome->service_pool_len)
                    || leases_overlap(&agent->leases,
                                      welcome->identity_pool_v4,
                                      welcome->identity_pool_len));

    if (overlap && agent->config->dns.leases) {
        VLOG_ERR("dns.lease_pool overlaps a pool of the controller's; names "
                 "below services do not resolve until it is changed");
        agent->config->dns.leases = false;
        agent->zone.lease = NULL;
        agent->zone.lease_pool_len = 0;
    }
}

static void
zone_from_welcome(struct agent *agent)
{
    const struct session_welcome *welcome = &agent->state.welcome;

    check_lease_pool(agent);
    agent->zone.pool = welcome->service_pool_v4;
    agent->zone.pool_len = welcome->service_pool_len;
    agent->zone.identity_pool = welcome->identity_pool_v4;
    agent->zone.identity_pool_len = welcome->identity_pool_len;
    agent->zone.identity_net_v6 = welcome->identity_prefix_v6;
    agent->zone.net_v6 = welcome->service_prefix_v6;
}

static void
take_welcome(struct agent *agent)
{
    agent->state.welcome = *controller_session_welcome(agent->session);
    agent->state.have_welcome = true;
    health_prober_set_identity(agent->health,
                               agent->state.welcome.identity_v4);
    zone_from_welcome(agent);
}

void
agent_session_changed(struct agent *agent)
{
    unsigned int events = controller_session_take_events(agent->session);

    if (events & SESSION_EVENT_WELCOME) {
        take_welcome(agent);
    }
    if (events & SESSION_EVENT_NAMES) {
        agent->state.names_complete
            |= controller_session_names_complete(agent->session);
        agent->zone.complete = agent->state.names_complete;
    }
    if (events & (SESSION_EVENT_WELCOME | SESSION_EVENT_NAMES)) {
        save_soon(agent);
    }
    if (events & (SESSION_EVENT_WELCOME | SESSION_EVENT_NAMES
                  | SESSION_EVENT_REGISTRATIONS)) {
        agent_apply_soon(agent);
    }
    if (events & SESSION_EVENT_RESOLVED) {
        agent_take_resolved(agent);
    }
    if (events & SESSION_EVENT_IDENTIFIED) {
        agent_take_identified(agent);
    }
    if (events & SESSION_EVENT_STATE) {
        agent_claims_refresh(agent);
    }
    if (events & SESSION_EVENT_ATTACHMENT) {
        agent_migration_uplinks_changed(agent);
    }
    if (events & (SESSION_EVENT_WELCOME | SESSION_EVENT_PROBE)) {
        agent_probe_start(agent);
    } else if (!controller_session_is_up(agent->session)) {
        agent_probe_stop(agent);
    }
    if (events & (SESSION_EVENT_REGISTRATIONS | SESSION_EVENT_STATE)) {
        agent_waiters_run(agent);
    }
    const struct registrations *registrations
        = controller_session_registrations(agent->session);
    if (agent->stopping && hmap_is_empty(&registrations->map)) {
        drain_start(agent);
    } else {
        arm_session_timer(agent);
    }
}

/* Services. */

void
agent_update_services(struct agent *agent)
{
    struct local_services wanted;

    local_services_merge(&agent->config->services, &agent->masked,
                         &agent->state.commands, &wanted);
    health_prober_set_identity(agent->health,
                               agent->state.welcome.identity_v4);
    health_prober_set(agent->health, &wanted);
    for (size_t i = 0; i < wanted.n; i++) {
        if (!health_is_good(health_prober_health(agent->health),
                            &wanted.items[i])) {
            wanted.items[i].weight = 0;
        }
    }
    controller_session_set_services(agent->session, &wanted,
                                    agent_now(agent));
    local_services_destroy(&wanted);
    if (!agent->config->n_controllers) {
        agent_routes_changed(agent);
    }
    agent_session_changed(agent);
}

static void
health_changed(void *agent)
{
    agent_update_services(agent);
}

/* Addresses that a predecessor leased are still in use. */
static void
restore_leases(struct agent *agent)
{
    const struct host_tables *installed = &agent->installed;

    for (size_t i = 0; i < installed->n_addresses; i++) {
        const struct service_address *address = &installed->addresses[i];
        ovs_be32 v4 = in6_addr_get_mapped_ipv4(&address->address);
        if (v4) {
            leases_restore(&agent->leases, &address->id, ntohl(v4),
                           agent_now(agent));
        }
    }
}

/* What a predecessor served and nobody wants any more is still registered at
 * the controller, which cannot know. */
static void
unregister_leftovers(struct agent *agent)
{
    const struct host_tables *installed = &agent->installed;

    for (size_t i = 0; i < installed->n_targets; i++) {
        const struct local_target *target = &installed->targets[i];
        const struct names_entry *entry
            = names_by_prefix(&agent->state.names, &target->prefix);
        struct local_service service = {
            .name = entry ? entry->name : NULL,
            .prefix = target->prefix,
            .protocol = target->protocol,
            .service_port = target->service_port,
            .target_address
                = ntohl(in6_addr_get_mapped_ipv4(&target->address)),
            .target_port = target->port,
        };
        if (!registrations_find(
                controller_session_registrations(agent->session), &service)) {
            VLOG_INFO("%s port %"PRIu16" is no longer served",
                      entry ? entry->name : "a service", service.service_port);
            controller_session_unregister(agent->session, &service,
                                          agent_now(agent));
        }
    }
}

void
agent_reload(struct agent *agent)
{
    struct agent_config *fresh;
    char *error = NULL;

    if (agent_config_load(agent->config->path, &fresh, &error)) {
        VLOG_ERR("not reloaded: %s", error);
        free(error);
        return;
    }
    const char *key = agent_config_needs_restart(agent->config, fresh);
    if (key) {
        VLOG_WARN("%s: %s changed, which takes effect at the next start",
                  agent->config->path, key);
    }
    local_services_destroy(&agent->config->services);
    agent->config->services = fresh->services;
    local_services_init(&fresh->services);
    service_routes_destroy(&agent->config->routes);
    agent->config->routes = fresh->routes;
    service_routes_init(&fresh->routes);
    agent->config->default_action = fresh->default_action;
    agent->config->service_router = fresh->service_router;
    agent->config->check_identity = fresh->check_identity;
    agent->config->max_flows_per_client = fresh->max_flows_per_client;
    agent->config->max_flows_per_service = fresh->max_flows_per_service;
    agent->config->udp_idle_ms = fresh->udp_idle_ms;
    agent->config->key_rotation_ms = fresh->key_rotation_ms;
    agent->config->keep_on_stop = fresh->keep_on_stop;
    agent->config->balance_interval_ms = fresh->balance_interval_ms;
    agent->config->migration = fresh->migration;
    agent_migration_configure(agent);
    agent->config->prefer_ipv6 = fresh->prefer_ipv6;
    if (agent->config->n_uplinks == fresh->n_uplinks) {
        memcpy(agent->config->uplink_options, fresh->uplink_options,
               sizeof fresh->uplink_options);
        agent_uplinks_changed(agent);
    }
    agent_balance_start(agent);
    agent->config->stop_timeout_ms = fresh->stop_timeout_ms;
    agent_config_destroy(fresh);
    local_services_destroy(&agent->masked);
    agent_update_services(agent);
    agent_apply_soon(agent);
    agent_upkeep_reload(agent);
    VLOG_INFO("reloaded %s, %zu services", agent->config->path,
              agent->config->services.n);
}

/* Start. */

static void
uplink_changed(const struct netdev_uplink *was, const struct netdev_uplink *is,
               void *agent_)
{
    struct agent *agent = agent_;

    VLOG_INFO("%s: %s, address "IP_FMT, is->name,
              !is->ifindex ? "gone" : is->up ? "up" : "down",
              IP_ARGS(htonl(is->address)));
    agent_uplinks_changed(agent);
    agent_probe_start(agent);
}

static int
make_dir(const char *path, char **ret_error)
{
    if (mkdir(path, 0700) && errno != EEXIST) {
        int error = -errno;
        *ret_error = xasprintf("cannot make the folder %s: %s", path,
                               ovs_strerror(-error));
        return error;
    }
    return 0;
}

static int
make_dirs(const struct agent_config *config, char **ret_error)
{
    char *run = dir_name(config->control_socket);
    int error = make_dir(config->state_dir, ret_error);

    if (!error) {
        error = make_dir(run, ret_error);
    }
    free(run);
    return error;
}

static int
load_identity(struct agent *agent, char **ret_error)
{
    const char *path = agent->config->key_file;
    int error = identity_load(path, &agent->identity);

    if (error) {
        *ret_error = xasprintf(
            "key_file %s: %s", path,
            error == -EPERM
                ? "others may read it; chmod 600"
            : error == -EINVAL
                ? "it holds no key; move it away and a new one is made"
                : ovs_strerror(-error));
    }
    return error;
}

/* A damaged state file is no reason not to start; it is kept for whoever
 * wants to know. */
static void
load_state(struct agent *agent)
{
    int error = agent_state_load(agent->state_path, &agent->state);

    if (error) {
        char *aside = xasprintf("%s.damaged", agent->state_path);
        VLOG_ERR("%s: %s; starting without it%s", agent->state_path,
                 error == -EINVAL ? "damaged" : ovs_strerror(-error),
                 rename(agent->state_path, aside) ? "" : ", kept as .damaged");
        free(aside);
    }
    agent->zone = (struct dns_zone) {
        .names = &agent->state.names,
        .complete = agent->state.names_complete,
        .suffix = agent->config->dns.suffix,
        .ttl = agent->config->dns.ttl,
        .lease = agent->config->dns.leases ? agent_lease : NULL,
        .leased = agent_leased,
        .lease_pool = agent->config->dns.lease_pool,
        .lease_pool_len
        = agent->config->dns.leases ? agent->config->dns.lease_pool_len : 0,
        .aux = agent,
        .forward = agent->config->dns.n_upstreams > 0,
    };
    zone_from_welcome(agent);
}

static void
create_session(struct agent *agent)
{
    const struct session_config config = {
        .name = agent->config->name,
        .software = "sald " SALIENT_VERSION,
        .zone = agent->config->zone,
        .identity = &agent->identity,
        .n_endpoints = agent->config->n_controllers,
        .seed = randombytes_random(),
        .names = &agent->state.names,
        .routes = &agent->state.learned,
    };

    agent->session = controller_session_create(&config, &agent_session_ops,
                                               agent);
    if (agent->state.have_welcome) {
        controller_session_set_identity_v4(agent->session,
                                           agent->state.welcome.identity_v4);
    }
    agent->tls.certificate = agent->config->tls_certificate;
    agent->tls.private_key = agent->config->tls_private_key;
    agent->tls.ca = agent->config->tls_ca;
}

static int
open_datapath(struct agent *agent, char **ret_error)
{
    const struct datapath_config config = {
        .pin_path = agent->config->pin_path,
        .device = agent->config->device,
        .max_flows = agent->config->max_flows,
    };
    int error = datapath_open(&config, &agent->datapath, ret_error);

    if (!error) {
        error = agent_read_installed(agent);
        if (error) {
            *ret_error = xasprintf("cannot read the data plane's tables: %s",
                                   ovs_strerror(-error));
        }
    }
    if (!error && (error = agent_hold_start(agent))) {
        *ret_error = xasprintf("cannot wait for packets to hold: %s",
                               ovs_strerror(-error));
    }
    return error;
}

static void
put_metrics(struct ds *out, void *agent)
{
    agent_show_metrics(agent, out);
}

static int
open_servers(struct agent *agent, char **ret_error)
{
    int error = 0;

    if (agent->config->dns.enabled) {
        error = dns_server_start(agent->loop, &agent->config->dns,
                                 &agent->zone, &agent->dns, ret_error);
    }
    if (!error && agent->config->metrics.port) {
        error = metrics_server_start(agent->loop,
                                     agent->config->metrics.address,
                                     agent->config->metrics.port, put_metrics,
                                     agent, &agent->metrics, ret_error);
    }
    if (!error) {
        error = control_server_start(agent->loop,
                                     agent->config->control_socket,
                                     agent_commands, agent, &agent->control,
                                     ret_error);
        if (error == -EADDRINUSE) {
            char *reason = *ret_error;
            *ret_error = xasprintf("%s; another sald runs already, or "
                                   "control_socket is another daemon's",
                                   reason);
            free(reason);
        }
    }
    return error;
}

static uv_timer_t *
timer_at(struct agent *agent, size_t i)
{
    uv_timer_t *const timers[] = {
        &agent->session_timer, &agent->probe_timer,  &agent->apply_timer,
        &agent->save_timer,    &agent->waiter_timer, &agent->stop_timer,
        &agent->drain_timer,   &agent->hold_timer,
        &agent->expire_timer,   &agent->upkeep_timer,
        &agent->whereabouts_timer,
    };
    return i < ARRAY_SIZE(timers) ? timers[i] : NULL;
}

static struct agent *
create(uv_loop_t *loop, struct agent_config *config)
{
    struct agent *agent = xzalloc(sizeof *agent);
    uv_timer_t *timer;

    agent->loop = loop;
    agent->config = config;
    agent->state_path = xasprintf("%s/sald.json", config->state_dir);
    agent_state_init(&agent->state);
    local_services_init(&agent->masked);
    host_tables_init(&agent->installed);
    holder_init(&agent->holder, &agent_hold_ops, agent);
    claims_init(&agent->claims, &agent_claims_ops, agent);
    service_routes_init(&agent->resolved);
    ovs_list_init(&agent->waiters);
    ovs_list_init(&agent->walks);
    leases_init(&agent->leases, config->dns.lease_pool,
                config->dns.lease_pool_len);
    agent->health = health_prober_create(loop, health_changed, agent);
    for (size_t i = 0; (timer = timer_at(agent, i)); i++) {
        uv_timer_init(loop, timer);
        timer->data = agent;
    }
    return agent;
}

/* Closes everything but the data plane.  Memory stays until
 * agent_destroy(). */
static void
close_all(struct agent *agent)
{
    uv_timer_t *timer;

    agent->stopping = true;
    agent_waiters_fail_all(agent);
    agent_walks_fail_all(agent);
    agent_upkeep_stop(agent);
    agent_lost_flows_stop(agent);
    agent_whereabouts_stop(agent);
    agent_service_router_stop(agent);
    if (agent->session) {
        controller_session_stop(agent->session);
    }
    agent_session_ops.disconnect(agent);
    control_server_stop(agent->control);
    dns_server_stop(agent->dns);
    metrics_server_stop(agent->metrics);
    agent_balance_stop(agent);
    agent_migration_stop(agent);
    probe_socket_close(agent->probe_socket);
    agent_hold_stop(agent);
    host_netdev_close(agent->netdev);
    health_prober_close(agent->health);
    agent->control = NULL;
    agent->dns = NULL;
    agent->metrics = NULL;
    agent->probe_socket = NULL;
    agent->netdev = NULL;
    for (size_t i = 0; (timer = timer_at(agent, i)); i++) {
        uv_close((uv_handle_t *) timer, NULL);
    }
}

int
agent_start(uv_loop_t *loop, struct agent_config *config,
            struct agent **ret_agent, char **ret_error)
{
    struct agent *agent = create(loop, config);
    int error;

    if ((error = make_dirs(config, ret_error))
        || (error = load_identity(agent, ret_error))) {
        goto fail;
    }
    load_state(agent);
    if (!config->n_controllers) {
        agent_static_welcome(agent);
    }
    create_session(agent);
    /* The servers before the data plane: their addresses may be taken by an
     * agent that runs already, which must not be disturbed. */
    if ((error = open_servers(agent, ret_error))
        || (error = host_netdev_open(loop, config->uplinks, config->n_uplinks,
                                uplink_changed, agent, &agent->netdev,
                                ret_error))
        || (error = open_datapath(agent, ret_error))) {
        goto fail;
    }
    agent_migration_start(agent);
    agent_balance_start(agent);
    agent_upkeep_start(agent);
    agent_lost_flows_start(agent);
    agent_whereabouts_start(agent);
    agent_service_router_start(agent);
    agent_uplinks_changed(agent);
    restore_leases(agent);
    agent_update_services(agent);
    unregister_leftovers(agent);
    if (config->n_controllers) {
        controller_session_start(agent->session, agent_now(agent));
    }
    agent_routes_changed(agent);
    agent_session_changed(agent);
    *ret_agent = agent;
    return 0;

fail:
    close_all(agent);
    uv_run(loop, UV_RUN_DEFAULT);
    agent_destroy(agent);
    return error;
}

/* Stop. */

static void
finish_stop(struct agent *agent)
{
    close_all(agent);
    if (agent->config->keep_on_stop) {
        datapath_close(agent->datapath);
        VLOG_INFO("stopped; the data plane goes on");
    } else {
        datapath_remove(agent->datapath);
        VLOG_INFO("stopped; everything is removed");
    }
    agent->datapath = NULL;
    agent->stopped(agent->stopped_aux);
}

/* Nobody sends new connections any more.  Those that are open may end by
 * themselves; a handshake under way counts once it is bound, hence twice. */
static void
drain_timer(uv_timer_t *timer)
{
    struct agent *agent = timer->data;

    agent->n_idle = datapath_n_flows(agent->datapath) ? 0 : agent->n_idle + 1;
    if (agent->n_idle >= 2) {
        finish_stop(agent);
    }
}

static void
drain_start(struct agent *agent)
{
    if (!agent->draining) {
        agent->draining = true;
        uv_timer_start(&agent->drain_timer, drain_timer, 0, DRAIN_POLL_MS);
    }
}

static void
stop_timer(uv_timer_t *timer)
{
    struct agent *agent = timer->data;

    if (agent->draining) {
        VLOG_WARN("%"PRIu64" connections are still open; they end here",
                  datapath_n_flows(agent->datapath));
    } else {
        VLOG_WARN("the controller did not confirm in time");
    }
    finish_stop(agent);
}

void
agent_stop(struct agent *agent, void (*stopped)(void *aux), void *aux)
{
    const struct local_services none = {.n = 0};

    if (agent->stopping) {
        return;
    }
    agent->stopping = true;
    agent->stopped = stopped;
    agent->stopped_aux = aux;
    agent_save_state(agent);
    if (agent->config->keep_on_stop) {
        finish_stop(agent);
        return;
    }
    uv_timer_start(&agent->stop_timer, stop_timer,
                   agent->config->stop_timeout_ms, 0);
    if (!controller_session_is_up(agent->session)) {
        drain_start(agent);
        return;
    }
    controller_session_set_services(agent->session, &none, agent_now(agent));
    agent_session_changed(agent);
}

void
agent_destroy(struct agent *agent)
{
    if (!agent) {
        return;
    }
    controller_session_destroy(agent->session);
    for (size_t i = 0; i < AGENT_MAX_UPLINKS; i++) {
        free(agent->uplinks[i].error);
    }
    datapath_close(agent->datapath);
    host_tables_destroy(&agent->installed);
    local_services_destroy(&agent->masked);
    holder_destroy(&agent->holder);
    claims_destroy(&agent->claims);
    service_routes_destroy(&agent->resolved);
    leases_destroy(&agent->leases);
    agent_state_destroy(&agent->state);
    identity_clear(&agent->identity);
    free(agent->state_path);
    free(agent->connect_error);
    free(agent->apply_error);
    agent_config_destroy(agent->config);
    free(agent);
}
