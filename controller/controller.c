/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/controller.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>
#include "controller/controller_private.h"
#include "openvswitch/vlog.h"
#include "proto/channel.h"
#include "timeval.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(controller);

/* Rounds that follow one another without a look at the sockets, at most. */
#define MAX_ROUNDS 4
/* Computing everything anew takes seconds with hundreds of switches and
 * thousands of services.  When many come at once, as after a start, it must
 * not be done for each: for as long as it took, but no longer than this,
 * messages come first. */
#define REST_MAX_US 1000000
#define REST_MIN_US 20000
/* After the last plan that took long, when all switches have it, memory is
 * given back. */
#define TIDY_MS 2000

void
controller_event_text(struct controller *c, const char *text)
{
    VLOG_DBG("%s", text);
    event_log_add(c->events, c->input_us, time_wall_msec(), text);
}

void
controller_event(struct controller *c, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    char *text = xvasprintf(format, args);
    va_end(args);
    controller_event_text(c, text);
    free(text);
}

/* Takes the changes of registry and topology into the plan. */
static void
plan(struct controller *c, struct plan_result *ret_result)
{
    uint64_t before = plan_generation(c->plan);
    long long start = controller_now_us();

    plan_run(c->plan, ret_result);
    long long end = controller_now_us();
    if (end - start >= REST_MIN_US) {
        c->tidy_at = controller_now(c) + TIDY_MS;
        if (ret_result->everything) {
            c->rest_until_us = end + MIN(end - start, REST_MAX_US);
        }
    }
    if (ret_result->topology.graph) {
        controller_event(c, "links or switches changed");
    }
    event_log_planned(c->events, plan_generation(c->plan),
                      plan_generation(c->plan) != before);
}

/* Plans, writes to the switches, and tells the agents: somebody may wait for
 * the switches. */
static void
plan_and_put(struct controller *c, long long now)
{
    struct plan_result result;

    plan(c, &result);
    controller_put_all(c, now);
    openflow_server_flush(c->openflow);
    controller_push_result(c, &result);
    plan_result_destroy(&result);
}

/* True as long as changes of the network wait. */
static bool
rests(const struct controller *c)
{
    return topology_has_changes(c->topology)
           && controller_now_us() < c->rest_until_us;
}

/* Lists of changes and messages to hundreds of switches are gone, but what was
 * allocated meanwhile lies between them, so that free() gives nothing back. */
static void
tidy_up(struct controller *c, long long now)
{
    if (now < c->tidy_at) {
        return;
    } else if (c->confirmed == plan_generation(c->plan)) {
        c->tidy_at = LLONG_MAX;
        malloc_trim(0);
    } else {
        c->tidy_at = now + TIDY_MS;
    }
}

/* What follows from the inputs since the last round.  True if it made new
 * ones. */
static bool
controller_round(struct controller *c)
{
    long long now = controller_now(c);

    openflow_server_reap(c->openflow);
    registry_run(c->registry, now);
    topology_run(c->topology, now);
    controller_forget_switches(c, now);
    controller_check_switches(c, now);
    controller_release_ports(c, now);
    discovery_run(c->discovery, now);
    controller_count_usage(c, now);
    bool resting = rests(c);
    bool waits = controller_hold(c, now) || resting;
    if (!waits) {
        plan_and_put(c, now);
    }
    controller_update_confirmed(c);
    if (!resting) {
        controller_answer_waits(c); /* For what is planned. */
    }
    openflow_server_flush(c->openflow);
    tidy_up(c, now);
    return !waits && !rests(c) && (registry_has_changes(c->registry)
                                   || topology_has_changes(c->topology));
}

static void timer_fired(uv_timer_t *);

static void
arm_timer(struct controller *c)
{
    long long now = controller_now(c);
    long long at = discovery_wakeup(c->discovery);

    /* These two change nothing now, they only tell when they will. */
    at = MIN(at, c->usage_at);
    at = MIN(at, c->tidy_at);
    at = MIN(at, flaps_wakeup(&c->flaps));
    at = MIN(at, registry_run(c->registry, now));
    at = MIN(at, topology_run(c->topology, now));
    at = MIN(at, controller_switches_wakeup(c));
    if (!c->hold.over
        && c->config->session.role != OFPCR12_ROLE_SECONDARY) {
        at = MIN(at, c->hold.until);
    }
    if (rests(c)) {
        at = MIN(at, now + (c->rest_until_us - controller_now_us()) / 1000);
    }
    if (at == LLONG_MAX) {
        uv_timer_stop(&c->timer);
    } else {
        uv_timer_start(&c->timer, timer_fired, MAX(1, at - now), 0);
    }
}

static void
before_blocking(uv_prepare_t *prepare)
{
    struct controller *c = prepare->data;

    for (int i = 0; i < MAX_ROUNDS && controller_round(c); i++) {
        continue;
    }
    arm_timer(c);
}

/* Of whom nobody is the owner but Salient itself. */
static bool
is_reserved(const struct in6_addr *address, const void *config_)
{
    const struct controller_config *config = config_;
    const struct agent_session_config *agents = &config->agents;
    uint32_t v4 = locator_get_v4(address);

    if (v4) {
        return v4 == config->rules.resolver_v4
               || !((v4 ^ agents->identity_network)
                    >> (32 - agents->identity_len))
               || !((v4 ^ agents->service_network)
                    >> (32 - agents->service_len));
    }
    return ipv6_addr_equals(address, &config->rules.resolver_v6)
           || !memcmp(address, &agents->identity_prefix_v6, 6)
           || !memcmp(address, &agents->service_prefix_v6, 6);
}

static void
timer_fired(uv_timer_t *timer)
{
    struct controller *c = timer->data;

    /* The round does the work. */
    c->input_us = controller_now_us();
}

/* Life. */

void
controller_discovery_config(const struct controller_config *config,
                            struct discovery_config *discovery)
{
    *discovery = (struct discovery_config) {
        .sal_port = config->rules.sal_port,
        .link_probe_interval_ms = config->link_probe_interval_ms,
        .link_timeout_ms = config->link_timeout_ms,
        .host_timeout_ms = config->host_timeout_ms,
        .reset_pps = config->reset_pps,
        .plain_timeout_ms = config->rules.plain_hosts
                            ? config->plain_timeout_ms : 0,
        .plain_max = config->plain_max,
        .mac = config->rules.resolver_mac,
        .is_reserved = is_reserved,
        .reserved_aux = config,
    };
}

static void
create_core(struct controller *c)
{
    const struct controller_config *config = c->config;
    struct discovery_config discovery;

    controller_discovery_config(config, &discovery);
    c->identities = address_pool_create(config->agents.identity_network,
                                        config->agents.identity_len);
    c->services = address_pool_create(config->agents.service_network,
                                      config->agents.service_len);
    usage_init(&c->usage);
    c->registry = registry_create(c->identities, c->services);
    c->topology = topology_create();
    controller_set_costs(c, config);
    if (config->rules.plain_hosts) {
        topology_watch_host_ports(c->topology);
    }
    c->plan = plan_create(&config->rules, &config->routes, &config->classes,
                          c->registry, c->topology);
    put_order_init(&c->order, c->plan, c->topology);
    c->order.patience_ms = c->config->order_timeout_ms;
    randombytes_buf(discovery.link_key, sizeof discovery.link_key);
    c->discovery = discovery_create(&discovery, &controller_discovery_ops, c,
                                    c->topology);
    c->events = event_log_create(config->n_events);
    controller_define_services(c, config);
}

static int
listen_for_switches(struct controller *c, char **ret_error)
{
    const struct listen_config *listen = &c->config->openflow;
    const struct channel_tls tls = controller_tls(listen);
    int error = 0;

    for (size_t i = 0; i < listen->n && !error; i++) {
        error = openflow_server_listen(c->openflow, listen->addresses[i],
                                       &tls, ret_error);
    }
    return error;
}

static int
listen_for_agents(struct controller *c, char **ret_error)
{
    const struct listen_config *listen = &c->config->api;
    const struct channel_tls tls = controller_tls(listen);
    int error = 0;

    for (size_t i = 0; i < listen->n && !error; i++) {
        error = api_server_listen(c->api, listen->addresses[i],
                                  tls.certificate ? &tls : NULL, ret_error);
    }
    return error;
}

static int
start_servers(struct controller *c, char **ret_error)
{
    const struct controller_config *config = c->config;
    int error = listen_for_switches(c, ret_error);

    if (!error) {
        error = listen_for_agents(c, ret_error);
    }
    if (!error) {
        error = control_server_start(c->loop, config->control,
                                     controller_commands, c, &c->control,
                                     ret_error);
    }
    if (!error && config->metrics_port) {
        error = metrics_server_start(c->loop, config->metrics_address,
                                     config->metrics_port,
                                     controller_metrics, c, &c->metrics,
                                     ret_error);
    }
    return error;
}

int
controller_start(uv_loop_t *loop, struct controller_config *config,
                 struct controller **ret_controller, char **ret_error)
{
    struct controller *c = xzalloc(sizeof *c);

    c->loop = loop;
    c->config = config;
    c->tidy_at = LLONG_MAX;
    hmap_init(&c->switches);
    flaps_init(&c->flaps, config->flap_hold_ms);
    uv_update_time(loop);
    c->started_at = controller_now(c);
    controller_hold_again(c, c->started_at);
    /* Whoever started last is master. */
    config->session.generation_id = time_wall_msec();
    config->session.insist = true;
    c->input_us = controller_now_us();
    create_core(c);
    c->openflow = openflow_server_create(loop, &config->session,
                                         &controller_openflow_ops, c);
    c->api = api_server_create(loop, &config->agents, c->registry,
                               &controller_api_ops, c);
    uv_prepare_init(loop, &c->prepare);
    uv_timer_init(loop, &c->timer);
    c->prepare.data = c->timer.data = c;

    int error = start_servers(c, ret_error);
    if (error) {
        controller_stop(c);
        uv_run(loop, UV_RUN_DEFAULT);
        controller_destroy(c);
        return error;
    }
    uv_prepare_start(&c->prepare, before_blocking);
    VLOG_INFO("switches: %s%s; agents: %s%s; control: %s",
              config->openflow.addresses[0],
              config->openflow.n > 1 ? " and others" : "",
              config->api.addresses[0],
              config->api.n > 1 ? " and others" : "", config->control);
    *ret_controller = c;
    return 0;
}

void
controller_stop(struct controller *c)
{
    if (c->stopping) {
        return;
    }
    c->stopping = true;
    openflow_server_flush(c->openflow);
    openflow_server_stop(c->openflow);
    api_server_stop(c->api);
    if (c->control) {
        control_server_stop(c->control);
    }
    metrics_server_stop(c->metrics);
    uv_close((uv_handle_t *) &c->prepare, NULL);
    uv_close((uv_handle_t *) &c->timer, NULL);
}

void
controller_destroy(struct controller *c)
{
    if (c) {
        controller_destroy_switches(c);
        flaps_destroy(&c->flaps);
        event_log_destroy(c->events);
        discovery_destroy(c->discovery);
        plan_destroy(c->plan);
        topology_destroy(c->topology);
        registry_destroy(c->registry);
        usage_destroy(&c->usage);
        address_pool_destroy(c->services);
        address_pool_destroy(c->identities);
        controller_config_destroy(c->config);
        free(c);
    }
}
