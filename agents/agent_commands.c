/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of sald's control socket. */
#include "agents/agent_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agents/desired.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(commands);

/* What a command with --wait waits for at most, and one without. */
#define WAIT_MAX_MS 30000
#define ACKNOWLEDGE_MAX_MS 3000
#define WAITERS_INTERVAL_MS 250

/* A register or unregister command whose outcome is not known yet. */
struct waiter {
    struct ovs_list node; /* In agent->waiters. */
    struct control_call *call;
    struct local_service service; /* Key; the name is owned. */
    bool remove;
    bool wait;               /* --wait */
    unsigned int generation; /* Of the registration when asked for. */
    int64_t deadline_ms;
};

static const struct registration *
find(const struct agent *agent, const struct local_service *key)
{
    return registrations_find(
        controller_session_registrations(agent->session), key);
}

static void
waiter_destroy(struct waiter *waiter)
{
    ovs_list_remove(&waiter->node);
    free(waiter->service.name);
    free(waiter);
}

/* 'reg' or, of what is gone, 'end'; neither if there is no controller. */
static void
waiter_done(struct waiter *waiter, const struct registration *reg,
            const struct registration_end *end)
{
    const struct local_service *service = &waiter->service;
    bool confirmed = reg ? reg->confirmed : end && end->confirmed;
    uint64_t confirm_us = reg ? reg->confirm_us : end ? end->confirm_us : 0;
    struct ds out = DS_EMPTY_INITIALIZER;

    if (control_wants_json(waiter->call)) {
        struct json *json = json_object_create();
        json_object_put_string(json, "name", service->name);
        json_object_put_string(json, "result",
                               waiter->remove ? "unregistered" : "registered");
        json_object_put(json, "confirmed",
                        json_boolean_create(confirmed));
        if (reg && reg->service_v4) {
            json_object_put_format(json, "address", IP_FMT,
                                   IP_ARGS(htonl(reg->service_v4)));
        }
        if (confirmed) {
            json_object_put(json, "confirm_us",
                            json_integer_create(confirm_us));
        }
        json_to_ds(json, JSSF_SORT, &out);
        ds_put_char(&out, '\n');
        json_destroy(json);
    } else {
        ds_put_format(&out, "%s port %"PRIu16" %s", service->name,
                      service->service_port,
                      waiter->remove ? "unregistered" : "registered");
        if (reg && reg->service_v4) {
            ds_put_format(&out, ", address "IP_FMT,
                          IP_ARGS(htonl(reg->service_v4)));
        }
        if (confirmed) {
            ds_put_format(&out, ", confirmed by the switches in %"PRIu64
                          " us", confirm_us);
        }
        ds_put_char(&out, '\n');
    }
    control_reply(waiter->call, ds_cstr(&out));
    ds_destroy(&out);
    waiter_destroy(waiter);
}

static void
waiter_fail(struct waiter *waiter, const char *why)
{
    char *error = xasprintf("%s port %"PRIu16": %s", waiter->service.name,
                            waiter->service.service_port, why);
    control_fail(waiter->call, error);
    free(error);
    waiter_destroy(waiter);
}

/* A command without --wait does not wait for a controller that is away: the
 * change is recorded and told later. */
static void
waiter_timed_out(struct agent *agent, struct waiter *waiter)
{
    bool up = controller_session_is_up(agent->session);

    if (waiter->wait) {
        waiter_fail(waiter, up ? "not confirmed in time; it stays requested"
                               : "the controller is not connected; it will "
                                 "be told");
        return;
    }
    struct ds out = DS_EMPTY_INITIALIZER;
    if (control_wants_json(waiter->call)) {
        struct json *json = json_object_create();
        json_object_put_string(json, "name", waiter->service.name);
        json_object_put_string(json, "result", "requested");
        json_object_put(json, "confirmed", json_boolean_create(false));
        json_to_ds(json, JSSF_SORT, &out);
        ds_put_char(&out, '\n');
        json_destroy(json);
    } else {
        ds_put_format(&out, "%s requested; the controller will be told when "
                      "it is connected\n", waiter->service.name);
    }
    control_reply(waiter->call, ds_cstr(&out));
    ds_destroy(&out);
    waiter_destroy(waiter);
}

static void
waiter_run(struct agent *agent, struct waiter *waiter)
{
    const struct registration *reg = find(agent, &waiter->service);

    if (!reg) {
        if (waiter->remove) {
            waiter_done(waiter, NULL, registrations_find_end(
                controller_session_registrations(agent->session),
                &waiter->service));
        } else {
            waiter_fail(waiter, "unregistered by another command");
        }
    } else if (reg->generation != waiter->generation) {
        waiter_fail(waiter, "changed by another command");
    } else if (reg->state == REGISTRATION_REGISTERED
               && (reg->confirmed || !waiter->wait)) {
        /* Whoever hears of it connects at once. */
        if (!agent_apply_is_due(agent)) {
            waiter_done(waiter, reg, NULL);
        }
    } else if (reg->error) {
        /* Refused, or the confirmation did not come. */
        waiter_fail(waiter, reg->error);
    } else if (agent_now(agent) >= waiter->deadline_ms
               || (!waiter->wait
                   && !controller_session_is_up(agent->session))) {
        waiter_timed_out(agent, waiter);
    }
}

static void
waiter_timer(uv_timer_t *timer)
{
    agent_waiters_run(timer->data);
}

void
agent_waiters_run(struct agent *agent)
{
    struct waiter *waiter;

    LIST_FOR_EACH_SAFE (waiter, node, &agent->waiters) {
        waiter_run(agent, waiter);
    }
    if (ovs_list_is_empty(&agent->waiters)) {
        uv_timer_stop(&agent->waiter_timer);
    } else if (!uv_is_active((uv_handle_t *) &agent->waiter_timer)) {
        uv_timer_start(&agent->waiter_timer, waiter_timer,
                       WAITERS_INTERVAL_MS, WAITERS_INTERVAL_MS);
    }
}

void
agent_waiters_fail_all(struct agent *agent)
{
    struct waiter *waiter;

    LIST_FOR_EACH_SAFE (waiter, node, &agent->waiters) {
        waiter_fail(waiter, "the agent stops");
    }
}

/* For people: the name, or the prefix of what has none.  malloced. */
static char *
label_of(const struct local_service *service)
{
    char id[SERVICE_PREFIX_STRLEN];

    return xstrdup(service->name[0]
                       ? service->name
                       : service_prefix_format(&service->prefix, id));
}

static void
wait_for(struct agent *agent, struct control_call *call,
         const struct local_service *service, bool remove, bool wait)
{
    const struct registration *reg = find(agent, service);
    struct waiter *waiter = xzalloc(sizeof *waiter);

    waiter->call = call;
    waiter->service = *service;
    waiter->service.name = label_of(service);
    waiter->remove = remove;
    waiter->wait = wait;
    waiter->generation = reg ? reg->generation : 0;
    waiter->deadline_ms
        = agent_now(agent) + (wait ? WAIT_MAX_MS : ACKNOWLEDGE_MAX_MS);
    ovs_list_push_back(&agent->waiters, &waiter->node);
    agent_waiters_run(agent);
}

/* Arguments of register and unregister:
 * NAME|ID[:PORT] [--port N] [--protocol P] [--target T] [--weight W]
 * [--priority P] [--capacity C] [--wait] */

struct service_args {
    struct local_service service; /* 'name' points into 'name'. */
    char name[SERVICE_NAME_MAX + 1];
    bool wait;
};

/* NULL, or a malloced sentence. */
static char *
parse_number(const char *option, const char *value, unsigned int min,
             unsigned int max, unsigned int *ret)
{
    unsigned int number;

    if (value[strspn(value, "0123456789")] || !str_to_uint(value, 10, &number)
        || number < min || number > max) {
        return xasprintf("%s: \"%.40s\" is not a number from %u to %u",
                         option, value, min, max);
    }
    *ret = number;
    return NULL;
}

static char *
parse_option(const char *option, const char *value,
             struct service_args *args)
{
    struct local_service *service = &args->service;
    unsigned int number = 0;
    char *error = NULL;

    if (!strcmp(option, "--port")) {
        error = parse_number(option, value, 1, UINT16_MAX, &number);
        service->service_port = number;
    } else if (!strcmp(option, "--weight")) {
        error = parse_number(option, value, 0, LOCAL_SERVICE_WEIGHT_MAX,
                             &number);
        service->weight = number;
    } else if (!strcmp(option, "--priority")) {
        error = parse_number(option, value, 0, UINT16_MAX, &number);
        service->priority = number;
    } else if (!strcmp(option, "--capacity")) {
        error = parse_number(option, value, 0, UINT32_MAX, &number);
        service->capacity = number;
    } else if (!strcmp(option, "--protocol")) {
        service->protocol = local_service_protocol(value);
        if (!service->protocol) {
            error = xasprintf("--protocol: \"%.40s\" is neither tcp nor udp",
                              value);
        }
    } else if (!strcmp(option, "--target")) {
        const char *wrong = local_service_parse_target(
            value, &service->target_address, &service->target_port);
        if (wrong) {
            error = xasprintf("--target: \"%.40s\" %s", value, wrong);
        }
    } else {
        error = xasprintf("unknown option %.40s", option);
    }
    return error;
}

static char *
parse_name(const char *arg, struct service_args *args)
{
    const char *colon = strchr(arg, ':');
    size_t len = colon ? colon - arg : strlen(arg);
    const char *wrong;

    if (len > SERVICE_NAME_MAX) {
        return xstrdup("the name has more than 253 octets");
    }
    memcpy(args->name, arg, len);
    args->name[len] = '\0';
    args->service.name = args->name;
    if (!service_prefix_from_string(args->name, &args->service.prefix)) {
        /* A prefix without a name, such as a range of keys. */
        args->name[0] = '\0';
        return colon ? parse_option("--port", colon + 1, args) : NULL;
    }
    if ((wrong = service_name_check(args->name))) {
        return xasprintf("\"%.80s\" %s", args->name, wrong);
    }
    service_prefix_from_name(args->name, &args->service.prefix);
    return colon ? parse_option("--port", colon + 1, args) : NULL;
}

static char *
parse_service_args(int argc, const char *const argv[],
                   struct service_args *args)
{
    char *error = NULL;

    memset(args, 0, sizeof *args);
    args->service.weight = 1;
    args->service.protocol = IPPROTO_TCP;
    for (int i = 0; i < argc && !error; i++) {
        if (!strcmp(argv[i], "--wait")) {
            args->wait = true;
        } else if (!strncmp(argv[i], "--", 2)) {
            const char *equals = strchr(argv[i], '=');
            if (equals) {
                char *option = xmemdup0(argv[i], equals - argv[i]);
                error = parse_option(option, equals + 1, args);
                free(option);
            } else if (i + 1 < argc) {
                error = parse_option(argv[i], argv[i + 1], args);
                i++;
            } else {
                error = xasprintf("%.40s needs a value", argv[i]);
            }
        } else if (!args->service.name) {
            error = parse_name(argv[i], args);
        } else {
            error = xasprintf("unexpected argument \"%.40s\"", argv[i]);
        }
    }
    if (!error && !args->service.name) {
        error = xstrdup("the service's name is missing");
    }
    return error;
}

static void
register_command(struct control_call *call, int argc, const char *const argv[],
                 void *agent_)
{
    struct agent *agent = agent_;
    struct service_args args;
    struct local_service *service = &args.service;
    char *error = parse_service_args(argc, argv, &args);

    if (!error && !service->service_port) {
        error = xstrdup("the port that clients connect to is missing; write "
                        "NAME:PORT or --port N");
    }
    if (error) {
        control_usage(call, error);
        free(error);
        return;
    }
    if (agent->stopping) {
        control_fail(call, "the agent stops");
        return;
    }
    if (!service->target_port) {
        service->target_port = service->service_port;
    }
    local_services_put(&agent->state.commands, service);
    if (agent_save_state(agent)) {
        local_services_remove(&agent->state.commands, service);
        control_fail(call, "cannot write the state file; see the log");
        return;
    }
    local_services_remove(&agent->masked, service);
    VLOG_INFO("register %s port %"PRIu16" weight %"PRIu32, service->name,
              service->service_port, service->weight);
    if (args.wait) {
        controller_session_register(agent->session, service, true,
                                    agent_now(agent));
    }
    agent_update_services(agent);
    wait_for(agent, call, service, false, args.wait);
}

/* The only port under which the service is registered, if it is one. */
static char *
choose_port(const struct agent *agent, struct local_service *service)
{
    const struct registrations *registrations
        = controller_session_registrations(agent->session);
    const struct registration *reg;
    char *label = label_of(service);
    char *error = NULL;
    size_t n = 0;

    HMAP_FOR_EACH (reg, node, &registrations->map) {
        if (service_prefix_equal(&reg->service.prefix, &service->prefix)
            && reg->service.protocol == service->protocol
            && reg->state < REGISTRATION_UNWANTED) {
            service->service_port = reg->service.service_port;
            n++;
        }
    }
    if (!n) {
        error = xasprintf("%s is not registered here", label);
    } else if (n > 1) {
        error = xasprintf("%s is registered with %"PRIuSIZE" ports; say which "
                          "with NAME:PORT", label, n);
    }
    free(label);
    return error;
}

/* Who unregisters may end the instance next: no connection is to reach it once
 * he has our answer, though applying may wait for more otherwise. */
static void
apply_removal(struct agent *agent)
{
    char *error = NULL;

    if (agent->state.have_welcome && agent_apply_now(agent, &error)) {
        agent_apply_soon(agent); /* Says what is wrong, and tries again. */
    }
    free(error);
}

static void
unregister_command(struct control_call *call, int argc,
                   const char *const argv[], void *agent_)
{
    struct agent *agent = agent_;
    struct service_args args;
    struct local_service *service = &args.service;
    char *error = parse_service_args(argc, argv, &args);

    if (error) {
        control_usage(call, error);
        free(error);
        return;
    }
    if (!service->service_port) {
        error = choose_port(agent, service);
    } else if (!find(agent, service)) {
        char *label = label_of(service);
        error = xasprintf("%s port %"PRIu16" is not registered here", label,
                          service->service_port);
        free(label);
    }
    if (error) {
        control_fail(call, error);
        free(error);
        return;
    }
    if (local_services_remove(&agent->state.commands, service)) {
        agent_save_state(agent);
    }
    if (local_services_find(&agent->config->services, service)) {
        local_services_put(&agent->masked, service);
    }
    VLOG_INFO("unregister %s port %"PRIu16, service->name,
              service->service_port);
    agent_update_services(agent);
    apply_removal(agent);
    wait_for(agent, call, service, true, args.wait);
}

/* Questions. */

static void
reply_ds(struct control_call *call, struct ds *out)
{
    control_reply(call, ds_cstr(out));
    ds_destroy(out);
}

static void
show_status(struct control_call *call, int argc, const char *const argv[],
            void *agent)
{
    struct ds out = DS_EMPTY_INITIALIZER;
    agent_show_status(agent, control_wants_json(call), &out);
    reply_ds(call, &out);
}

static void
show_services(struct control_call *call, int argc, const char *const argv[],
              void *agent)
{
    struct ds out = DS_EMPTY_INITIALIZER;
    agent_show_services(agent, control_wants_json(call), &out);
    reply_ds(call, &out);
}

static void
show_names(struct control_call *call, int argc, const char *const argv[],
           void *agent)
{
    struct ds out = DS_EMPTY_INITIALIZER;
    agent_show_names(agent, control_wants_json(call), &out);
    reply_ds(call, &out);
}

static void
show_counters(struct control_call *call, int argc, const char *const argv[],
              void *agent)
{
    struct ds out = DS_EMPTY_INITIALIZER;
    agent_show_counters(agent, control_wants_json(call), &out);
    reply_ds(call, &out);
}

static void
metrics(struct control_call *call, int argc, const char *const argv[],
        void *agent)
{
    struct ds out = DS_EMPTY_INITIALIZER;
    agent_show_metrics(agent, &out);
    reply_ds(call, &out);
}

static void
rotate_key(struct control_call *call, int argc, const char *const argv[],
           void *agent)
{
    int error = agent_rotate_key(agent);

    if (error) {
        char *why = xasprintf("the key stays: %s", ovs_strerror(-error));
        control_fail(call, why);
        free(why);
    } else {
        control_reply(call, control_wants_json(call) ? "{}\n" : "done\n");
    }
}

/* What resolve found: a name's own address, or a leased one. */
struct resolved {
    char name[SERVICE_NAME_MAX + 1]; /* "" if asked for by ID. */
    struct service_prefix prefix;
    uint32_t address;
};

/* NULL, or a malloced sentence. */
static char *
resolve_name(struct agent *agent, struct resolved *r)
{
    const struct names *names = &agent->state.names;
    const struct names_entry *entry = NULL;

    if (service_prefix_from_name(r->name, &r->prefix)) {
        return xasprintf("\"%.80s\" %s", r->name,
                         service_name_check(r->name));
    }
    if (names_lookup(names, r->name, &entry) == NAMES_FOUND) {
        r->address = entry->address;
        return NULL;
    }
    if (!names_covering(names, r->name, &r->prefix.id)) {
        return xasprintf(
            "%s: %s", r->name,
            agent->state.names_complete
                ? "no such service"
                : "not known; the controller has not told the names yet");
    }
    r->address = agent_lease(r->name, &r->prefix.id, agent);
    return r->address ? NULL : xstrdup("no host-local address can be had; is "
                                       "dns.leases off, or the pool used up?");
}

/* Any ID: whether somebody serves it, the first packet will tell. */
static char *
resolve_id(struct agent *agent, struct resolved *r)
{
    const struct names_entry *entry
        = names_by_prefix(&agent->state.names, &r->prefix);

    if (entry && entry->address) {
        ovs_strlcpy(r->name, entry->name, sizeof r->name);
        r->address = entry->address;
        return NULL;
    }
    r->address = agent_lease("", &r->prefix.id, agent);
    return r->address ? NULL : xstrdup("no host-local address can be had; is "
                                       "dns.leases off, or the pool used up?");
}

/* The IPv6 address, if there are any; a lease's is that of the whole ID. */
static bool
format_v6(const struct agent *agent, const struct resolved *r,
          char buf[INET6_ADDRSTRLEN])
{
    struct service_prefix prefix = r->prefix;

    if (leases_in_pool(&agent->leases, r->address)) {
        prefix.len = SAL_SERVICE_ID_BITS;
    }
    struct in6_addr v6 = desired_service_v6(&agent->state.welcome, &prefix);
    return !IN6_IS_ADDR_UNSPECIFIED(&v6)
           && inet_ntop(AF_INET6, &v6, buf, INET6_ADDRSTRLEN);
}

static void
resolve(struct control_call *call, int argc, const char *const argv[],
        void *agent_)
{
    struct agent *agent = agent_;
    struct resolved r = {.name = ""};
    char id[SERVICE_PREFIX_STRLEN];
    char *error;

    if (!service_prefix_from_string(argv[0], &r.prefix)) {
        error = resolve_id(agent, &r);
    } else {
        /* With or without the suffix. */
        if (!names_strip_suffix(argv[0], agent->config->dns.suffix, r.name)) {
            ovs_strlcpy(r.name, argv[0], sizeof r.name);
        }
        error = resolve_name(agent, &r);
    }
    if (error) {
        control_fail(call, error);
        free(error);
        return;
    }

    struct ds out = DS_EMPTY_INITIALIZER;
    char v6[INET6_ADDRSTRLEN] = "";
    bool has_v6 = format_v6(agent, &r, v6);
    service_prefix_format(&r.prefix, id);
    if (control_wants_json(call)) {
        struct json *json = json_object_create();
        if (has_v6) {
            json_object_put_string(json, "address_v6", v6);
        }
        json_object_put_string(json, "name", r.name);
        json_object_put_format(json, "address", IP_FMT,
                               IP_ARGS(htonl(r.address)));
        json_object_put_string(json, "prefix", id);
        json_object_put(json, "leased",
                        json_boolean_create(leases_in_pool(&agent->leases,
                                                           r.address)));
        json_to_ds(json, JSSF_SORT, &out);
        ds_put_char(&out, '\n');
        json_destroy(json);
    } else {
        ds_put_format(&out, IP_FMT"  %s%s%s\n", IP_ARGS(htonl(r.address)), id,
                      has_v6 ? "  " : "", v6);
    }
    reply_ds(call, &out);
}

static void
show_leases(struct control_call *call, int argc, const char *const argv[],
            void *agent)
{
    struct ds out = DS_EMPTY_INITIALIZER;
    agent_show_leases(agent, control_wants_json(call), &out);
    reply_ds(call, &out);
}

static void
show_routes(struct control_call *call, int argc, const char *const argv[],
            void *agent)
{
    struct ds out = DS_EMPTY_INITIALIZER;
    agent_show_routes(agent, control_wants_json(call), &out);
    reply_ds(call, &out);
}

static void
show_rules(struct control_call *call, int argc, const char *const argv[],
           void *agent_)
{
    struct agent *agent = agent_;
    struct ds out = DS_EMPTY_INITIALIZER;
    datapath_format_rules(agent->datapath, &agent->state.names,
                          control_wants_json(call), &out);
    reply_ds(call, &out);
}

const struct control_command agent_commands[] = {
    {"status", "", "what the agent does and how it fares", 0, 0, show_status},
    {"register",
     "NAME|ID[:PORT] [--port N] [--protocol tcp|udp] [--target ADDR:PORT] "
     "[--weight W] [--priority P] [--capacity C] [--wait]",
     "serve NAME on this host, until unregistered", 1, -1, register_command},
    {"unregister", "NAME|ID[:PORT] [--port N] [--protocol tcp|udp] [--wait]",
     "serve NAME no longer", 1, -1, unregister_command},
    {"show services", "", "services of this host", 0, 0, show_services},
    {"show names", "", "all services' names, addresses and IDs", 0, 0,
     show_names},
    {"flows", "[KEY=VALUE]... [--limit N] [--count]",
     "flows of the data plane", 0, -1,
     agent_flows_command},
    {"show flows", "[KEY=VALUE]... [--limit N] [--count]", "same as flows", 0,
     -1,
     agent_flows_command},
    {"top", "[N]", "the N (20) busiest flows, over a second", 0, 1,
     agent_top_command},
    {"peer", "LOCAL:PORT REMOTE:PORT", "the other end of a connection", 2, 2,
     agent_peer_command},
    {"migrate",
     "flow ID|interface IF|peer EID|service NAME [--to IF] [--wait]",
     "move running flows to another uplink", 2, -1, agent_migrate_command},
    {"events", "[--follow]", "moves of flows", 0, 1, agent_events_command},
    {"show groups", "", "groups of flows that move together", 0, 0,
     agent_groups_command},
    {"metrics", "", "figures in Prometheus' format", 0, 0, metrics},
    {"rotate-key", "", "a new key for flow IDs and nonces", 0, 0,
     rotate_key},
    {"show counters", "", "counters", 0, 0, show_counters},
    {"show status", "", "same as status", 0, 0, show_status},
    {"show", "", "same as status", 0, 0, show_status},
    {"route add",
     "NAME|ID|endpoint:EID|endpoint:any [LOCATOR[,WEIGHT]]... "
     "[--action forward|delay|reject|drop] "
     "[--datagram] [--path-class N] [--address A]",
     "say where a service is, or what to do with it", 1, -1, agent_route_add},
    {"route del", "NAME|ID|endpoint:EID|endpoint:any", "undo that", 1, 1,
     agent_route_del},
    {"show routes", "", "where services are that others serve", 0, 0,
     show_routes},
    {"show rules", "", "the service table, with counters", 0, 0, show_rules},
    {"show leases", "", "host-local addresses of names below services", 0, 0,
     show_leases},
    {"resolve", "NAME|ID", "service addresses and ID of a name", 1, 1,
     resolve},
    {NULL, NULL, NULL, 0, 0, NULL},
};
