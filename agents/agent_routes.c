/* SPDX-License-Identifier: Apache-2.0 */
/* Where services are that others serve: routes of the configuration, of
 * salctl, of the controller, and answers to what DELAY rules made us ask. */
#include "agents/agent_private.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include "openvswitch/json.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(routes);

/* Later ones overrule. */
size_t
agent_routes(const struct agent *agent,
             const struct service_routes *ret_sets[4])
{
    ret_sets[0] = &agent->state.learned;
    ret_sets[1] = &agent->resolved;
    ret_sets[2] = &agent->config->routes;
    ret_sets[3] = &agent->state.routes;
    return 4;
}

static const char *const set_names[] = {"controller", "resolved", "file",
                                        "salctl"};

/* Without a controller, what a name means is known from here alone. */

/* An address of the service pool that no name has: the same each time, if
 * that is possible. */
static uint32_t
choose_address(const struct agent *agent, const struct service_prefix *prefix)
{
    const struct session_welcome *welcome = &agent->state.welcome;
    uint32_t size = (uint64_t) 1 << (32 - welcome->service_pool_len);
    uint32_t start;

    memcpy(&start, prefix->id.bytes + (prefix->len > 128 ? 16 : 0),
           sizeof start);
    for (uint32_t i = 0; i < size; i++) {
        uint32_t host = (start + i) % size;
        uint32_t address = welcome->service_pool_v4 + host;
        if (host && host != size - 1
            && !names_by_address(&agent->state.names, address)) {
            return address;
        }
    }
    return 0;
}

static void
put_name(struct agent *agent, const char *name,
         const struct service_prefix *prefix, uint32_t address)
{
    if (!name[0]) {
        return;
    }
    if (!address) {
        const struct names_entry *entry
            = names_by_prefix(&agent->state.names, prefix);
        address = entry && entry->address ? entry->address
                                          : choose_address(agent, prefix);
    }
    names_put(&agent->state.names, name, prefix, address);
}

/* Addresses that are said come first: those that are chosen must not take
 * them. */
static void
put_route_names(struct agent *agent, bool with_address)
{
    const struct service_routes *sets[4];
    size_t n = agent_routes(agent, sets);

    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < sets[i]->n; j++) {
            const struct service_route *route = &sets[i]->items[j];
            if (with_address == !!route->address) {
                put_name(agent, route->name, &route->prefix, route->address);
            }
        }
    }
}

static void
make_static_names(struct agent *agent)
{
    const struct registrations *registrations
        = controller_session_registrations(agent->session);
    const struct registration *reg;

    names_clear(&agent->state.names);
    put_route_names(agent, true);
    put_route_names(agent, false);
    HMAP_FOR_EACH (reg, node, &registrations->map) {
        put_name(agent, reg->service.name, &reg->service.prefix, 0);
    }
    agent->state.names_complete = true;
    agent->zone.complete = true;
}

void
agent_static_welcome(struct agent *agent)
{
    agent->state.welcome = (struct session_welcome) {
        .identity_v4 = agent->config->identity_address,
        .identity_pool_v4 = 0x64400000, .identity_pool_len = 10,
        .service_pool_v4 = 0xc6120000, .service_pool_len = 15,
        .sal_port = SAL_UDP_PORT,
        .keepalive_interval_ms = 1000, .lease_ms = 3000,
        .probe_interval_ms = 1000,
    };
    agent->state.have_welcome = true;
}

void
agent_routes_changed(struct agent *agent)
{
    if (!agent->config->n_controllers) {
        make_static_names(agent);
    }
    agent_apply_soon(agent);
}

/* DELAY. */

static void
expire_timer(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    bool changed;
    int64_t next = service_routes_expire(&agent->resolved, agent_now(agent),
                                         &changed);
    if (changed) {
        agent_apply_soon(agent);
    }
    if (next != INT64_MAX) {
        uv_timer_start(timer, expire_timer,
                       MAX(next - agent_now(agent), 1), 0);
    }
}

void
agent_route_learned(struct agent *agent, const struct service_route *route)
{
    if (service_routes_put(&agent->resolved, route)) {
        expire_timer(&agent->expire_timer);
        agent_apply_soon(agent);
    }
}

/* Puts the rule in at once: packets wait for it. */
static bool
install(struct agent *agent, const struct service_route *route)
{
    char *error = NULL;

    service_routes_put(&agent->resolved, route);
    expire_timer(&agent->expire_timer);
    bool ok = !agent_apply_now(agent, &error);
    free(error);
    return ok;
}

/* Takes the controller's answers. */
void
agent_take_resolved(struct agent *agent)
{
    struct session_resolved answer;

    while (controller_session_take_resolved(agent->session, &answer)) {
        if (agent_rendezvous_answered(agent, &answer)) {
            free(answer.route.hops);
            continue;
        }
        struct service_prefix asked = {.id = answer.service_id,
                                       .len = SAL_SERVICE_ID_BITS};
        bool found = answer.found && install(agent, &answer.route);
        holder_resolved(&agent->holder,
                        found ? &answer.route.prefix : &asked, found);
        free(answer.route.hops);
    }
}

/* salctl. */

struct route_args {
    struct service_route route; /* 'name' points into 'name'. */
    struct route_hop hops[HOST_TABLES_MAX_HOPS];
    char name[SERVICE_NAME_MAX + 1];
};

/* NULL, or a malloced sentence. */
static char *
parse_service(const char *arg, struct route_args *args)
{
    const char *wrong;

    args->route.name = args->name;
    args->route.expires_ms = INT64_MAX;
    args->route.action = SERVICE_FORWARD;
    args->route.hops = args->hops;
    if (!route_prefix_parse(arg, &args->route.prefix)) {
        return NULL;
    }
    if ((wrong = service_name_check(arg))) {
        return xasprintf("\"%.80s\" %s", arg, wrong);
    }
    ovs_strlcpy(args->name, arg, sizeof args->name);
    service_prefix_from_name(arg, &args->route.prefix);
    return NULL;
}

static char *
parse_value(const char *option, const char *value, struct route_args *args)
{
    struct service_route *route = &args->route;
    unsigned int number;
    struct in_addr in;

    if (!strcmp(option, "--action")) {
        route->action = route_action_parse(value);
        return route->action ? NULL
               : xasprintf("--action: \"%.40s\" is not forward, delay, reject "
                           "or drop", value);
    } else if (!strcmp(option, "--path-class")) {
        if (!str_to_uint(value, 10, &number) || number > 15) {
            return xasprintf("--path-class: \"%.40s\" is not 0 to 15", value);
        }
        route->path_class = number;
        return NULL;
    } else if (!strcmp(option, "--address")) {
        if (inet_pton(AF_INET, value, &in) != 1) {
            return xasprintf("--address: \"%.40s\" is not an IPv4 address",
                             value);
        }
        route->address = ntohl(in.s_addr);
        return NULL;
    }
    return xasprintf("unknown option %.40s", option);
}

static char *
parse_hop(const char *arg, struct route_args *args)
{
    struct service_route *route = &args->route;

    if (route->n_hops >= HOST_TABLES_MAX_HOPS) {
        return xasprintf("there are more than %d locators",
                         HOST_TABLES_MAX_HOPS);
    }
    const char *wrong = route_hop_parse(arg, &args->hops[route->n_hops]);
    if (wrong) {
        return xasprintf("\"%.80s\" %s", arg, wrong);
    }
    route->n_hops++;
    return NULL;
}

static char *
parse_route(int argc, const char *const argv[], struct route_args *args)
{
    char *error = parse_service(argv[0], args);

    for (int i = 1; i < argc && !error; i++) {
        if (!strcmp(argv[i], "--datagram")) {
            args->route.datagram = true;
        } else if (!strncmp(argv[i], "--", 2)) {
            error = i + 1 < argc ? parse_value(argv[i], argv[i + 1], args)
                                 : xasprintf("%.40s needs a value", argv[i]);
            i++;
        } else {
            error = parse_hop(argv[i], args);
        }
    }
    return error;
}

static struct json *
route_to_json(const struct service_route *route, const char *set)
{
    struct json *json = json_object_create();
    struct json *locators = json_array_create_empty();
    char prefix[SERVICE_PREFIX_STRLEN], hop[ROUTE_HOP_STRLEN];

    json_object_put_string(json, "name", route->name);
    json_object_put_string(json, "prefix",
                           service_prefix_format(&route->prefix, prefix));
    json_object_put_string(json, "action",
                           service_action_name(route->action));
    json_object_put_string(json, "from", set);
    json_object_put(json, "datagram", json_boolean_create(route->datagram));
    json_object_put(json, "path_class",
                    json_integer_create(route->path_class));
    if (route->address) {
        json_object_put_format(json, "address", IP_FMT,
                               IP_ARGS(htonl(route->address)));
    }
    for (size_t i = 0; i < route->n_hops; i++) {
        json_array_add(locators, json_string_create(
                           route_hop_format(&route->hops[i], hop)));
    }
    json_object_put(json, "locators", locators);
    return json;
}

static void
route_to_text(const struct service_route *route, const char *set,
              struct ds *out)
{
    char prefix[SERVICE_PREFIX_STRLEN], hop[ROUTE_HOP_STRLEN];

    ds_put_format(out, "%s %s",
                  route->name[0] ? route->name
                                 : service_prefix_format(&route->prefix,
                                                         prefix),
                  service_action_name(route->action));
    for (size_t i = 0; i < route->n_hops; i++) {
        ds_put_format(out, " %s", route_hop_format(&route->hops[i], hop));
    }
    ds_put_format(out, "%s", route->datagram ? " datagram" : "");
    if (route->path_class) {
        ds_put_format(out, " class %u", route->path_class);
    }
    ds_put_format(out, " (%s)\n", set);
}

void
agent_show_routes(struct agent *agent, bool as_json, struct ds *out)
{
    const struct service_routes *sets[4];
    size_t n = agent_routes(agent, sets);
    struct json *array = json_array_create_empty();

    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < sets[i]->n; j++) {
            const struct service_route *route = &sets[i]->items[j];
            if (as_json) {
                json_array_add(array, route_to_json(route, set_names[i]));
            } else {
                route_to_text(route, set_names[i], out);
            }
        }
    }
    if (as_json) {
        json_to_ds(array, JSSF_PRETTY | JSSF_SORT, out);
        ds_put_char(out, '\n');
    }
    json_destroy(array);
}

/* Makes the change so, and tells what became of the route. */
static void
reply_route(struct control_call *call, struct agent *agent,
            const struct service_route *route, const char *result)
{
    struct ds out = DS_EMPTY_INITIALIZER;
    char *error = NULL;

    agent_routes_changed(agent);
    if (agent->state.have_welcome && agent_apply_now(agent, &error)) {
        control_fail(call, error);
        free(error);
        return;
    }
    if (control_wants_json(call)) {
        struct json *json = route_to_json(route, "salctl");
        json_object_put_string(json, "result", result);
        json_to_ds(json, JSSF_SORT, &out);
        ds_put_char(&out, '\n');
        json_destroy(json);
    } else {
        ds_put_format(&out, "%s: ", result);
        route_to_text(route, "salctl", &out);
    }
    control_reply(call, ds_cstr(&out));
    ds_destroy(&out);
}

void
agent_route_add(struct control_call *call, int argc, const char *const argv[],
                void *agent_)
{
    struct agent *agent = agent_;
    struct route_args args = {.route.address = 0};
    char *error = parse_route(argc, argv, &args);

    if (error) {
        control_usage(call, error);
        free(error);
        return;
    }
    service_routes_put(&agent->state.routes, &args.route);
    if (agent_save_state(agent)) {
        service_routes_remove(&agent->state.routes, &args.route.prefix);
        control_fail(call, "cannot write the state file; see the log");
        return;
    }
    VLOG_INFO("route of %s added", argv[0]);
    reply_route(call, agent, &args.route, "added");
}

void
agent_route_del(struct control_call *call, int argc OVS_UNUSED,
                const char *const argv[], void *agent_)
{
    struct agent *agent = agent_;
    struct route_args args = {.route.address = 0};
    char *error = parse_service(argv[0], &args);

    if (error) {
        control_usage(call, error);
        free(error);
        return;
    }
    if (!service_routes_remove(&agent->state.routes, &args.route.prefix)) {
        control_fail(call, service_routes_find(&agent->config->routes,
                                               &args.route.prefix)
                           ? "that route is in the configuration file"
                           : "there is no such route of salctl's");
        return;
    }
    agent_save_state(agent);
    VLOG_INFO("route of %s deleted", argv[0]);
    reply_route(call, agent, &args.route, "deleted");
}
