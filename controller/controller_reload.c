/* SPDX-License-Identifier: Apache-2.0 */
/* Another configuration at run time.  What agents were told in Welcome, and
 * where we listen, stays until a restart; the rest takes effect at once. */
#include <string.h>
#include "controller/controller_private.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/vlog.h"
#include "proto/channel.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(controller_reload);

struct channel_tls
controller_tls(const struct listen_config *listen)
{
    return (struct channel_tls) {
        .certificate = listen->certificate,
        .private_key = listen->private_key,
        .ca = listen->ca,
    };
}

void
controller_set_costs(struct controller *c,
                     const struct controller_config *config)
{
    for (size_t i = 0; i < config->n_costs; i++) {
        topology_link_set_cost(c->topology, &config->costs[i].from,
                               config->costs[i].cost);
    }
    if (config->classes.latency) {
        topology_watch_latency(c->topology);
    }
}

/* Services. */

void
controller_define_services(struct controller *c,
                           const struct controller_config *config)
{
    for (size_t i = 0; i < config->n_services; i++) {
        const struct config_service *service = &config->services[i];
        int error = registry_define(c->registry, service->name,
                                    &service->definition);
        if (error) {
            VLOG_ERR("service %s cannot be defined: %s", service->name,
                     ovs_strerror(-error));
        }
    }
}

static bool
is_defined_in(const struct controller_config *config, const char *name)
{
    for (size_t i = 0; i < config->n_services; i++) {
        if (!strcmp(config->services[i].name, name)) {
            return true;
        }
    }
    return false;
}

static void
reload_services(struct controller *c, struct controller_config *config)
{
    struct controller_config *mine = c->config;

    for (size_t i = 0; i < mine->n_services; i++) {
        if (!is_defined_in(config, mine->services[i].name)) {
            registry_undefine(c->registry, mine->services[i].name);
        }
    }
    controller_define_services(c, config);
    struct config_service *services = mine->services;
    size_t n = mine->n_services;
    mine->services = config->services;
    mine->n_services = config->n_services;
    config->services = services; /* Freed with it. */
    config->n_services = n;
}

/* Switches. */

static void
reload_sessions(struct controller *c, const struct controller_config *config)
{
    struct switch_session_config *mine = &c->config->session;
    enum ofp12_controller_role role = mine->role;
    uint64_t generation_id = mine->generation_id;
    bool insist = mine->insist;

    *mine = config->session;
    mine->role = role;
    mine->generation_id = generation_id;
    mine->insist = insist;
    if (config->session.role != role) {
        controller_set_role(c, config->session.role);
    } else {
        openflow_server_configure(c->openflow, mine);
    }
    c->config->confirm_timeout_ms = config->confirm_timeout_ms;
    c->config->order_timeout_ms = config->order_timeout_ms;
    c->order.patience_ms = config->order_timeout_ms;
    c->config->forget_switch_ms = config->forget_switch_ms;
    c->config->hold_ms = config->hold_ms;
    c->config->flap_hold_ms = config->flap_hold_ms;
    c->flaps.hold_ms = config->flap_hold_ms;
}

static void
reload_discovery(struct controller *c, const struct controller_config *config)
{
    struct controller_config *mine = c->config;
    struct discovery_config discovery;

    mine->link_probe_interval_ms = config->link_probe_interval_ms;
    mine->link_timeout_ms = config->link_timeout_ms;
    mine->host_timeout_ms = config->host_timeout_ms;
    mine->reset_pps = config->reset_pps;
    mine->plain_timeout_ms = config->plain_timeout_ms;
    mine->plain_max = config->plain_max;
    controller_discovery_config(mine, &discovery);
    discovery_configure(c->discovery, &discovery);
}

/* Costs that are no longer given are the default again. */
static void
reload_costs(struct controller *c, struct controller_config *config)
{
    struct controller_config *mine = c->config;

    for (size_t i = 0; i < mine->n_costs; i++) {
        topology_link_set_cost(c->topology, &mine->costs[i].from,
                               TOPOLOGY_COST_DEFAULT);
    }
    controller_set_costs(c, config);
    struct config_cost *costs = mine->costs;
    size_t n = mine->n_costs;
    mine->costs = config->costs;
    mine->n_costs = config->n_costs;
    config->costs = costs; /* Freed with it. */
    config->n_costs = n;
}

/* Rules and routes; what all rules have to do with stays. */
static void
reload_plan(struct controller *c, const struct controller_config *config)
{
    struct rules_config rules = config->rules;
    struct rules_config *mine = &c->config->rules;
    struct managed_switch *sw;

    rules.resolver_v4 = mine->resolver_v4;
    rules.resolver_v6 = mine->resolver_v6;
    rules.sal_port = mine->sal_port;
    rules.plain_hosts = mine->plain_hosts;
    bool same_rules = !memcmp(&rules, mine, sizeof rules);
    if (same_rules
        && !memcmp(&config->routes, &c->config->routes,
                   sizeof config->routes)
        && !memcmp(&config->classes, &c->config->classes,
                   sizeof config->classes)) {
        return;
    }
    *mine = rules;
    c->config->classes = config->classes; /* The plan refers to ours. */
    c->config->routes = config->routes;
    plan_configure(c->plan, mine, &c->config->routes);
    HMAP_FOR_EACH (sw, node, &c->switches) {
        if (sw->put && !same_rules) {
            /* Meters are compared when a switch is read. */
            put_read_again(sw->put, controller_now(c));
            sw->dirty = true;
        }
    }
}

/* Certificates that were renewed. */
static void
reload_tls(struct controller *c)
{
    const struct channel_tls openflow = controller_tls(&c->config->openflow);
    const struct channel_tls api = controller_tls(&c->config->api);
    char *error = NULL;

    if (openflow_server_set_tls(c->openflow, &openflow, &error)
        || api_server_set_tls(c->api, &api, &error)) {
        VLOG_ERR("%s; the old certificate stays", error);
        free(error);
    }
}

static void
reload_agents(struct controller *c, const struct controller_config *config)
{
    struct agent_session_config *mine = &c->config->agents;

    mine->handshake_timeout_ms = config->agents.handshake_timeout_ms;
    mine->wait_timeout_ms = config->agents.wait_timeout_ms;
    mine->max_instances = config->agents.max_instances;
    mine->max_agents = config->agents.max_agents;
}

/* What needs a restart. */

static bool
same_string(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

static bool
same_listen(const struct listen_config *a, const struct listen_config *b)
{
    for (size_t i = 0; i < MAX(a->n, b->n); i++) {
        if (i >= a->n || i >= b->n
            || strcmp(a->addresses[i], b->addresses[i])) {
            return false;
        }
    }
    return same_string(a->certificate, b->certificate)
           && same_string(a->private_key, b->private_key)
           && same_string(a->ca, b->ca);
}

static void
report_unchangeable(const struct controller_config *a,
                    const struct controller_config *b, struct ds *ds)
{
    const struct agent_session_config *x = &a->agents, *y = &b->agents;
    const struct {
        const char *key;
        bool same;
    } keys[] = {
        {"openflow.listen, openflow.tls", same_listen(&a->openflow,
                                                      &b->openflow)},
        {"api.listen, api.tls", same_listen(&a->api, &b->api)},
        {"api.keepalive_interval",
         x->keepalive_interval_ms == y->keepalive_interval_ms},
        {"api.lease", x->lease_ms == y->lease_ms},
        {"plain_hosts", a->rules.plain_hosts == b->rules.plain_hosts},
        {"control", !strcmp(a->control, b->control)},
        {"metrics", a->metrics_address == b->metrics_address
                    && a->metrics_port == b->metrics_port},
        {"identity_pool", x->identity_network == y->identity_network
                          && x->identity_len == y->identity_len},
        {"service_pool", x->service_network == y->service_network
                         && x->service_len == y->service_len},
        {"resolver", x->resolver_v4 == y->resolver_v4
                     && !memcmp(&x->resolver_v6, &y->resolver_v6,
                                sizeof x->resolver_v6)},
        {"identity_prefix", !memcmp(&x->identity_prefix_v6,
                                    &y->identity_prefix_v6,
                                    sizeof x->identity_prefix_v6)},
        {"service_prefix", !memcmp(&x->service_prefix_v6,
                                   &y->service_prefix_v6,
                                   sizeof x->service_prefix_v6)},
        {"sal_port", x->sal_port == y->sal_port},
        {"host_probe_interval",
         x->probe_interval_ms == y->probe_interval_ms},
        {"limits.events", a->n_events == b->n_events},
    };

    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (!keys[i].same) {
            ds_put_format(ds, "%s%s", ds->length ? ", " : "", keys[i].key);
        }
    }
}

void
controller_reload(struct controller *c, struct controller_config *config)
{
    struct ds rest = DS_EMPTY_INITIALIZER;

    c->input_us = controller_now_us();
    report_unchangeable(c->config, config, &rest);
    reload_tls(c);
    reload_services(c, config);
    reload_agents(c, config);
    reload_sessions(c, config);
    reload_discovery(c, config);
    reload_costs(c, config);
    reload_plan(c, config);
    controller_config_destroy(config);
    char *text = rest.length
                 ? xasprintf("configuration was read again; these changes "
                             "need a restart: %s", ds_cstr(&rest))
                 : xstrdup("configuration was read again");
    controller_event(c, "%s", text);
    VLOG_INFO("%s", text);
    free(text);
    ds_destroy(&rest);
}
