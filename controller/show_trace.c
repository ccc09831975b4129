/* SPDX-License-Identifier: Apache-2.0 */
/* trace SERVICE --from HOST. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "controller/show.h"
#include "controller/trace.h"
#include "ofp-ext/sal.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "packets.h"
#include "util.h"

struct request {
    const char *service, *from, *protocol;
    unsigned int port; /* Of the service; 0: not asked. */
    struct service_prefix prefix;
    struct trace_question question;
};

/* The arguments.  NULL, or what is wrong. */
static const char *
parse(int argc, const char *const argv[], struct request *r)
{
    unsigned int number;

    *r = (struct request) {.protocol = "tcp"};
    r->question.protocol = IPPROTO_TCP;
    r->question.entropy = SAL_ENTROPY_BASE;
    for (int i = 0; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (argv[i][0] != '-' && !r->service) {
            r->service = argv[i];
            continue;
        } else if (!value) {
            return "a value is missing";
        } else if (!strcmp(argv[i], "--from")) {
            r->from = value;
        } else if (!strcmp(argv[i], "--protocol")) {
            r->protocol = value;
        } else if (!strcmp(argv[i], "--entropy")
                   && str_to_uint(value, 0, &number)
                   && number <= UINT16_MAX) {
            r->question.entropy = number;
        } else if (!strcmp(argv[i], "--port")
                   && str_to_uint(value, 10, &r->port) && r->port
                   && r->port <= UINT16_MAX) {
            /* It is the host's business, see port_is_served(). */
        } else {
            return "an argument makes no sense";
        }
        i++;
    }
    if (!strcmp(r->protocol, "udp")) {
        r->question.protocol = IPPROTO_UDP;
    } else if (strcmp(r->protocol, "tcp")) {
        return "the protocols are tcp and udp";
    }
    return !r->service || !r->from ? "SERVICE and --from HOST are needed"
                                   : NULL;
}

static bool
parse_service(const char *text, struct service_prefix *prefix)
{
    return strncmp(text, "0x", 2)
           ? !service_name_check(text)
             && !service_prefix_from_name(text, prefix)
           : !service_prefix_from_string(text, prefix);
}

/* By locator, name or endpoint ID. */
static const struct topology_attachment *
find_host(const struct controller *c, const char *text)
{
    const struct registry_endpoint *endpoint;
    struct in6_addr locator;
    ovs_be32 v4;

    if (ip_parse(text, &v4)) {
        locator = locator_from_v4(ntohl(v4));
        return topology_attachment(c->topology, &locator);
    } else if (ipv6_parse(text, &locator)) {
        return topology_attachment(c->topology, &locator);
    }
    REGISTRY_FOR_EACH_ENDPOINT (endpoint, c->registry) {
        char id[ENDPOINT_ID_STRLEN];
        const struct topology_attachment *at
            = topology_attachment_of(c->topology, &endpoint->id);

        if (at && (!strcmp(endpoint->name, text)
                   || !strcmp(endpoint_id_format(&endpoint->id, id),
                              text))) {
            return at;
        }
    }
    return NULL;
}

/* What the hosts write into the header. */
static uint8_t
path_class(const struct controller *c, struct service_prefix prefix)
{
    for (;; prefix.len--) {
        service_prefix_normalize(&prefix);
        const struct registry_service *service
            = registry_service(c->registry, &prefix);
        if (service || !prefix.len) {
            return service ? service->definition.path_class : 0;
        }
    }
}

/* Switches do not look at ports: what the instance has not registered, its
 * host refuses. */
static bool
port_is_served(const struct controller *c, const struct request *r,
               const struct trace *trace)
{
    const struct registry_service *service
        = trace->service ? registry_service(c->registry,
                                            &trace->service->prefix) : NULL;
    const struct registry_instance *instance;

    if (!service || !trace->target) {
        return false;
    }
    REGISTRY_FOR_EACH_INSTANCE_OF (instance, service) {
        if (instance->port == r->port
            && instance->protocol == r->question.protocol
            && endpoint_id_equal(&instance->endpoint->id,
                                 &trace->target->endpoint)) {
            return true;
        }
    }
    return false;
}

/* Pieces of both forms. */

static const char *
endpoint_name(const struct controller *c, const struct endpoint_id *id)
{
    const struct registry_endpoint *endpoint = registry_endpoint(c->registry,
                                                                 id);
    return endpoint ? endpoint->name : "?";
}

static const char *
port_name(const struct controller *c, uint64_t dpid, uint32_t number)
{
    const struct topology_port *port = topology_port(c->topology, dpid,
                                                     number);
    return port ? port->name : "?";
}

static unsigned int
share_permille(const struct route *route, const struct route_target *target)
{
    uint64_t places = 0;

    for (size_t i = 0; i < route->tiling.n; i++) {
        if (route->tiling.tiles[i].key == target->key) {
            places += TILES_MAX >> route->tiling.tiles[i].bits;
        }
    }
    return (places * 1000 + TILES_MAX / 2) / TILES_MAX;
}

static enum route_policy
policy_of(const struct controller *c, const struct service_routes *routes)
{
    const struct registry_service *service
        = registry_service(c->registry, &routes->prefix);
    enum route_policy policy = service ? service->definition.policy
                                       : ROUTE_DEFAULT;
    return policy == ROUTE_DEFAULT ? c->config->routes.policy : policy;
}

/* Text. */

static void
format_step(const struct controller *c, const struct trace_step *step,
            struct ds *ds)
{
    ds_put_format(ds, "switch %016" PRIx64 "  in port %" PRIu32 " (%s)\n",
                  step->dpid, step->in_port,
                  port_name(c, step->dpid, step->in_port));
    for (size_t i = 0; i < step->n_rules; i++) {
        ds_put_cstr(ds, "    ");
        rule_format(&step->rules[i], ds);
        ds_put_char(ds, '\n');
    }
    if (step->bucket >= 0) {
        ds_put_format(ds, "    bucket %d of the group: the first whose port "
                      "is up\n", step->bucket);
    }
    if (step->out_port) {
        ds_put_format(ds, "    out port %" PRIu32 " (%s)\n", step->out_port,
                      port_name(c, step->dpid, step->out_port));
    }
}

static void
format_why(const struct controller *c, const struct trace *trace,
           struct ds *ds)
{
    const struct route *route = trace->route;

    if (!route) {
        return;
    }
    ds_put_format(ds, "why: policy %s, %" PRIuSIZE " instances in %" PRIuSIZE
                  " tiles of the source port:\n",
                  route_policy_string(policy_of(c, trace->service)),
                  route->n_targets, route->tiling.n);
    for (size_t i = 0; i < route->n_targets; i++) {
        const struct route_target *target = &route->targets[i];
        unsigned int share = share_permille(route, target);
        bool chosen = trace->target
                      && ipv6_addr_equals(&trace->target->locator,
                                          &target->locator);
        char *address = show_address(&target->locator);

        ds_put_format(ds, "  %c %s (%s) weight %" PRIu32 ", %u.%u %%\n",
                      chosen ? '*' : ' ', address,
                      endpoint_name(c, &target->endpoint), target->weight,
                      share / 10, share % 10);
        free(address);
    }
}

static void
format_trace(const struct controller *c, const struct request *r,
             const struct trace *trace, struct ds *ds)
{
    char prefix[SERVICE_PREFIX_STRLEN];

    ds_put_format(ds, "SYN for %s (%s), %s, source port %u, path class %u, "
                  "from %s\n", r->service,
                  service_prefix_format(&r->prefix, prefix), r->protocol,
                  r->question.entropy, r->question.path_class, r->from);
    for (size_t i = 0; i < trace->n_steps; i++) {
        format_step(c, &trace->steps[i], ds);
    }
    ds_put_cstr(ds, trace_end_string(trace->end));
    if (trace->target) {
        char *address = show_address(&trace->target->locator);
        ds_put_format(ds, "%s %s (%s)",
                      trace->end == TRACE_DELIVERED ? " to" : ", for", address,
                      endpoint_name(c, &trace->target->endpoint));
        free(address);
    }
    ds_put_char(ds, '\n');
    if (r->port && trace->end == TRACE_DELIVERED) {
        ds_put_format(ds, "port %u: %s\n", r->port,
                      port_is_served(c, r, trace)
                      ? "served there"
                      : "refused by that host, it has not registered it");
    }
    format_why(c, trace, ds);
}

/* JSON. */

static struct json *
step_to_json(const struct controller *c, const struct trace_step *step)
{
    struct json *json = json_object_create();
    struct json *rules = json_array_create_empty();

    for (size_t i = 0; i < step->n_rules; i++) {
        const struct rule *rule = &step->rules[i];
        struct json *item = json_object_create();
        struct ds ds = DS_EMPTY_INITIALIZER;

        rule_format(rule, &ds);
        json_object_put_string(item, "rule", ds_cstr(&ds));
        if (!rule_is_group(rule)) {
            show_put_integer(item, "table", rule_table_id(rule));
            show_put_integer(item, "priority", rule_priority(rule));
        }
        if (rule_has_target(rule)) {
            show_put_integer(item, "tile_bits", rule->tile_bits);
            show_put_integer(item, "tile_value", rule->tile_value);
        }
        json_array_add(rules, item);
        ds_destroy(&ds);
    }
    show_put_dpid(json, "dpid", step->dpid);
    show_put_integer(json, "in_port", step->in_port);
    show_put_integer(json, "out_port", step->out_port);
    json_object_put_string(json, "out_name",
                           port_name(c, step->dpid, step->out_port));
    if (step->bucket >= 0) {
        show_put_integer(json, "bucket", step->bucket);
    }
    json_object_put(json, "rules", rules);
    return json;
}

static struct json *
route_to_json(const struct controller *c, const struct route *route)
{
    struct json *array = json_array_create_empty();

    for (size_t i = 0; i < route->n_targets; i++) {
        const struct route_target *target = &route->targets[i];
        struct json *json = json_object_create();

        show_put_address(json, "locator", &target->locator);
        json_object_put_string(json, "endpoint",
                               endpoint_name(c, &target->endpoint));
        show_put_integer(json, "weight", target->weight);
        show_put_integer(json, "share_permille",
                         share_permille(route, target));
        json_array_add(array, json);
    }
    return array;
}

static struct json *
trace_to_json(const struct controller *c, const struct request *r,
              const struct trace *trace)
{
    struct json *json = json_object_create();
    struct json *steps = json_array_create_empty();

    for (size_t i = 0; i < trace->n_steps; i++) {
        json_array_add(steps, step_to_json(c, &trace->steps[i]));
    }
    json_object_put(json, "steps", steps);
    json_object_put_string(json, "end", trace_end_string(trace->end));
    json_object_put(json, "delivered",
                    json_boolean_create(trace->end == TRACE_DELIVERED));
    show_put_integer(json, "resolved_at", trace->resolved_at);
    if (r->port) {
        json_object_put(json, "port_served", json_boolean_create(
                            port_is_served(c, r, trace)));
    }
    if (trace->target) {
        show_put_address(json, "target", &trace->target->locator);
        json_object_put_string(json, "endpoint", endpoint_name(
                                   c, &trace->target->endpoint));
    }
    if (trace->route) {
        json_object_put_string(json, "policy", route_policy_string(
                                   policy_of(c, trace->service)));
        show_put_integer(json, "tiles", trace->route->tiling.n);
        json_object_put(json, "instances", route_to_json(c, trace->route));
    }
    return json;
}

void
show_trace(struct control_call *call, int argc, const char *const argv[],
           void *c_)
{
    const struct controller *c = c_;
    struct request r;
    struct trace trace;

    const char *wrong = parse(argc, argv, &r);
    if (wrong) {
        control_usage(call, wrong);
        return;
    }
    if (!parse_service(r.service, &r.prefix)) {
        control_fail(call, "that is neither a service's name nor an ID");
        return;
    }
    r.question.from = find_host(c, r.from);
    if (!r.question.from) {
        control_fail(call, "the network does not see that host; see show "
                           "hosts");
        return;
    }
    r.question.id = r.prefix.id;
    r.question.path_class = path_class(c, r.prefix);
    trace_run(c->plan, c->topology, &r.question, &trace);
    if (control_wants_json(call)) {
        show_reply_json(call, trace_to_json(c, &r, &trace));
    } else {
        struct ds ds = DS_EMPTY_INITIALIZER;
        format_trace(c, &r, &trace, &ds);
        show_reply_text(call, &ds);
    }
}
