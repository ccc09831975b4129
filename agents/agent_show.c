/* SPDX-License-Identifier: Apache-2.0 */
/* State dumps of the agent, as text for people and as JSON. */
#include "agents/agent_private.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include "agents/desired.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "packets.h"
#include "proto/daemon/daemon.h"
#include "util.h"

static void
put_address(struct json *json, const char *key, uint32_t address)
{
    json_object_put_format(json, key, IP_FMT, IP_ARGS(htonl(address)));
}

static void
put_int(struct json *json, const char *key, long long int value)
{
    json_object_put(json, key, json_integer_create(value));
}

static void
put_bool(struct json *json, const char *key, bool value)
{
    json_object_put(json, key, json_boolean_create(value));
}

/* Takes 'json'. */
static void
put_json(struct json *json, struct ds *out)
{
    json_to_ds(json, JSSF_SORT, out);
    ds_put_char(out, '\n');
    json_destroy(json);
}

struct json *
agent_json_from_datapath(struct agent *agent,
                         void (*format)(struct datapath *, bool json,
                                        struct ds *))
{
    struct ds s = DS_EMPTY_INITIALIZER;
    format(agent->datapath, true, &s);
    struct json *json = json_from_string(ds_cstr(&s));
    ds_destroy(&s);
    return json;
}

static const char *
source_of(const struct agent *agent, const struct registration *reg)
{
    return (local_services_find(&agent->state.commands, &reg->service)
                ? "salctl"
            : reg->state < REGISTRATION_UNWANTED ? "file"
                                                 : "-");
}

static char *
target_of(const struct local_service *service)
{
    return (service->target_address
                ? xasprintf(IP_FMT":%"PRIu16,
                            IP_ARGS(htonl(service->target_address)),
                            service->target_port)
                : xasprintf("%"PRIu16, service->target_port));
}

static struct json *
service_to_json(const struct agent *agent, const struct registration *reg)
{
    const struct local_service *service = &reg->service;
    struct json *json = json_object_create();
    char id[SERVICE_PREFIX_STRLEN];
    char *target = target_of(service);

    json_object_put_string(json, "name", service->name);
    json_object_put_string(json, "prefix",
                           service_prefix_format(&service->prefix, id));
    json_object_put_string(json, "protocol",
                           local_service_protocol_name(service->protocol));
    put_int(json, "port", service->service_port);
    json_object_put_string(json, "target", target);
    put_int(json, "weight", service->weight);
    put_int(json, "priority", service->priority);
    put_int(json, "capacity", service->capacity);
    const struct health_check *check
        = health_find(health_prober_health(agent->health), service);
    if (check) {
        json_object_put_string(json, "health",
                               !check->known ? "unknown"
                               : check->healthy ? "good" : "bad");
    }
    json_object_put_string(json, "source", source_of(agent, reg));
    json_object_put_string(json, "state", registration_state_name(reg->state));
    put_bool(json, "confirmed", reg->confirmed);
    put_address(json, "address", reg->service_v4);
    if (reg->error) {
        json_object_put_string(json, "error", reg->error);
    }
    free(target);
    return json;
}

void
agent_show_services(struct agent *agent, bool json, struct ds *out)
{
    size_t n;
    const struct registration **regs = registrations_sorted(
        controller_session_registrations(agent->session), &n);

    if (json) {
        struct json *array = json_array_create_empty();
        for (size_t i = 0; i < n; i++) {
            json_array_add(array, service_to_json(agent, regs[i]));
        }
        put_json(array, out);
    } else {
        ds_put_format(out, "%-32s %-5s %5s %-21s %6s %-6s %-10s %s\n", "NAME",
                      "PROTO", "PORT", "TARGET", "WEIGHT", "FROM", "STATE",
                      "ADDRESS");
        for (size_t i = 0; i < n; i++) {
            const struct local_service *service = &regs[i]->service;
            char *target = target_of(service);
            ds_put_format(
                out, "%-32s %-5s %5"PRIu16" %-21s %6"PRIu32" %-6s %-10s "IP_FMT
                "%s%s\n", service->name[0] ? service->name : "-",
                local_service_protocol_name(service->protocol),
                service->service_port, target, service->weight,
                source_of(agent, regs[i]),
                registration_state_name(regs[i]->state),
                IP_ARGS(htonl(regs[i]->service_v4)),
                regs[i]->error ? "  " : "",
                regs[i]->error ? regs[i]->error : "");
            free(target);
        }
    }
    free(regs);
}

void
agent_show_names(struct agent *agent, bool json, struct ds *out)
{
    size_t n;
    const struct names_entry **entries = names_sorted(&agent->state.names, &n);
    struct json *array = json ? json_array_create_empty() : NULL;
    char id[SERVICE_PREFIX_STRLEN];

    if (!json) {
        ds_put_format(out, "%-40s %-15s %s\n", "NAME", "ADDRESS", "PREFIX");
    }
    for (size_t i = 0; i < n; i++) {
        const struct names_entry *entry = entries[i];
        service_prefix_format(&entry->prefix, id);
        if (json) {
            struct json *object = json_object_create();
            json_object_put_string(object, "name", entry->name);
            put_address(object, "address", entry->address);
            json_object_put_string(object, "prefix", id);
            json_array_add(array, object);
        } else {
            char address[INET_ADDRSTRLEN];
            struct in_addr in = {htonl(entry->address)};
            inet_ntop(AF_INET, &in, address, sizeof address);
            ds_put_format(out, "%-40s %-15s %s\n",
                          entry->name[0] ? entry->name : "-", address, id);
        }
    }
    if (json) {
        put_json(array, out);
    }
    free(entries);
}

void
agent_show_leases(struct agent *agent, bool json, struct ds *out)
{
    struct json *array = json ? json_array_create_empty() : NULL;
    const struct lease *lease;

    if (!json) {
        ds_put_format(out, "%-15s %10s %-40s %s\n", "ADDRESS", "UNUSED",
                      "NAME", "SERVICE ID");
    }
    LIST_FOR_EACH (lease, node, &agent->leases.all) {
        struct service_prefix prefix = {.id = lease->id,
                                        .len = SAL_SERVICE_ID_BITS};
        char id[SERVICE_PREFIX_STRLEN], address[INET_ADDRSTRLEN];
        struct in_addr in = {htonl(lease->address)};
        int64_t unused_ms = agent_now(agent) - lease->used_ms;

        service_prefix_format(&prefix, id);
        inet_ntop(AF_INET, &in, address, sizeof address);
        if (json) {
            struct json *object = json_object_create();
            json_object_put_string(object, "address", address);
            json_object_put_string(object, "name", lease->name);
            json_object_put_string(object, "prefix", id);
            put_int(object, "unused_ms", unused_ms);
            json_array_add(array, object);
        } else {
            ds_put_format(out, "%-15s %9.1fs %-40s %s\n", address,
                          unused_ms / 1e3, lease->name[0] ? lease->name : "-",
                          id);
        }
    }
    if (json) {
        put_json(array, out);
    }
}

/* Status. */

static void
format_hex(const uint8_t *bytes, size_t n, char *hex)
{
    for (size_t i = 0; i < n; i++) {
        sprintf(hex + 2 * i, "%02x", bytes[i]);
    }
}

/* Left out if there is none. */
static void
put_v6(struct json *json, const char *key, const struct in6_addr *address)
{
    if (!IN6_IS_ADDR_UNSPECIFIED(address)) {
        char s[INET6_ADDRSTRLEN];
        inet_ntop(AF_INET6, address, s, sizeof s);
        json_object_put_string(json, key, s);
    }
}

static struct json *
uplinks_to_json(const struct agent *agent)
{
    struct json *array = json_array_create_empty();

    for (size_t i = 0; i < host_netdev_n_uplinks(agent->netdev); i++) {
        const struct netdev_uplink *netdev
            = host_netdev_uplink(agent->netdev, i);
        const struct agent_uplink *uplink = &agent->uplinks[i];
        struct json *json = json_object_create();
        json_object_put_string(json, "name", netdev->name);
        put_int(json, "ifindex", netdev->ifindex);
        put_bool(json, "up", netdev->up);
        put_address(json, "locator", netdev->address);
        put_bool(json, "hooked", uplink->attached);
        put_int(json, "weight", uplink->weight);
        put_v6(json, "locator_v6", &netdev->address_v6);
        put_bool(json, "attached", agent_uplink_attached(agent, i, false));
        put_bool(json, "attached_v6", agent_uplink_attached(agent, i, true));
        put_int(json, "probes_sent", uplink->probes_sent);
        put_int(json, "probes_failed", uplink->probes_failed);
        if (uplink->error) {
            json_object_put_string(json, "error", uplink->error);
        }
        json_array_add(array, json);
    }
    return array;
}

static struct json *
controller_to_json(const struct agent *agent)
{
    const struct controller_session *session = agent->session;
    struct json *json = json_object_create();

    if (agent->config->n_controllers) {
        json_object_put_string(
            json, "endpoint",
            agent->config->controllers[controller_session_endpoint(session)]);
    }
    json_object_put_string(json, "state",
                           session_state_name(controller_session_state(
                               session)));
    put_int(json, "sessions", controller_session_welcomes(session));
    if (controller_session_error(session)) {
        json_object_put_string(json, "error",
                               controller_session_error(session));
    }
    return json;
}

/* Who resolves for others where we are. */
static struct json *
routers_to_json(const struct agent *agent)
{
    struct json *array = json_array_create_empty();
    struct migration_locator router, known;
    char text[MIGRATOR_LOCATOR_LEN];

    for (size_t i = 0; agent_whereabouts_get(agent, i, &router, &known);
         i++) {
        struct json *json = json_object_create();
        json_object_put_string(json, "locator",
                               migrator_format_locator(&router, text));
        if (!migration_locator_is_none(&known)) {
            json_object_put_string(json, "knows_us_at",
                                   migrator_format_locator(&known, text));
        }
        json_array_add(array, json);
    }
    return array;
}

static void
format_routers(const struct agent *agent, struct ds *out)
{
    struct migration_locator router, known;
    char text[MIGRATOR_LOCATOR_LEN];

    for (size_t i = 0; agent_whereabouts_get(agent, i, &router, &known);
         i++) {
        ds_put_format(out, "router      %s: ",
                      migrator_format_locator(&router, text));
        if (migration_locator_is_none(&known)) {
            ds_put_cstr(out, "does not know where we are\n");
        } else {
            ds_put_format(out, "knows us at %s\n",
                          migrator_format_locator(&known, text));
        }
    }
}

static void
status_to_json(struct agent *agent, struct ds *out)
{
    const struct session_welcome *welcome = &agent->state.welcome;
    struct in6_addr identity_v6
        = desired_identity_v6(welcome, agent->identity.endpoint_id);
    char id[2 * SAL_ENDPOINT_ID_LEN + 1];
    struct json *json = json_object_create();
    struct json *dns = json_object_create();

    format_hex(agent->identity.endpoint_id, SAL_ENDPOINT_ID_LEN, id);
    json_object_put_string(json, "name", agent->config->name);
    json_object_put_string(json, "version", SALIENT_VERSION);
    json_object_put_string(json, "endpoint_id", id);
    put_bool(json, "attached",
             controller_session_is_attached(agent->session));
    put_address(json, "identity_address", welcome->identity_v4);
    put_address(json, "resolver", welcome->resolver_v4);
    put_v6(json, "identity_address_v6", &identity_v6);
    put_v6(json, "resolver_v6", &welcome->resolver_v6);
    put_int(json, "sal_port", welcome->sal_port);
    json_object_put(json, "controller", controller_to_json(agent));
    put_int(json, "names", names_count(&agent->state.names));
    put_bool(json, "names_complete", agent->state.names_complete);
    put_bool(json, "services_settled",
             registrations_settled(
                 controller_session_registrations(agent->session)));
    json_object_put(json, "uplinks", uplinks_to_json(agent));
    json_object_put(json, "service_routers", routers_to_json(agent));
    put_bool(dns, "enabled", agent->dns);
    json_object_put_format(dns, "listen", IP_FMT":%"PRIu16,
                           IP_ARGS(htonl(agent->config->dns.listen.address)),
                           agent->config->dns.listen.port);
    json_object_put_string(dns, "suffix", agent->config->dns.suffix);
    json_object_put(json, "dns", dns);
    json_object_put(json, "datapath",
                    agent_json_from_datapath(agent, datapath_format_status));
    if (agent->apply_error) {
        json_object_put_string(json, "error", agent->apply_error);
    }
    put_json(json, out);
}

static void
format_v6(const struct in6_addr *address, struct ds *out)
{
    if (!IN6_IS_ADDR_UNSPECIFIED(address)) {
        ds_put_cstr(out, ", ");
        ipv6_format_addr(address, out);
    }
}

static void
format_uplinks(const struct agent *agent, struct ds *out)
{
    for (size_t i = 0; i < host_netdev_n_uplinks(agent->netdev); i++) {
        const struct netdev_uplink *netdev
            = host_netdev_uplink(agent->netdev, i);
        const struct agent_uplink *uplink = &agent->uplinks[i];
        ds_put_format(out, "uplink      %s: %s, locator "IP_FMT", %s, "
                      "%"PRIu64" probes%s%s\n", netdev->name,
                      !netdev->ifindex ? "missing"
                      : netdev->up     ? "up"
                                       : "down",
                      IP_ARGS(htonl(netdev->address)),
                      agent_uplink_attached(agent, i, false)
                          ? "attached"
                          : "not seen by the network",
                      uplink->probes_sent, uplink->error ? "; " : "",
                      uplink->error ? uplink->error : "");
        if (!IN6_IS_ADDR_UNSPECIFIED(&netdev->address_v6)) {
            ds_put_format(out, "            %s: locator ", netdev->name);
            ipv6_format_addr(&netdev->address_v6, out);
            ds_put_format(out, ", %s\n",
                          agent_uplink_attached(agent, i, true)
                              ? "attached"
                              : "not seen by the network");
        }
    }
}

static void
format_status(struct agent *agent, struct ds *out)
{
    const struct controller_session *session = agent->session;
    const struct session_welcome *welcome = &agent->state.welcome;
    struct in6_addr identity_v6
        = desired_identity_v6(welcome, agent->identity.endpoint_id);
    const char *error = controller_session_error(session);
    char id[2 * SAL_ENDPOINT_ID_LEN + 1];

    format_hex(agent->identity.endpoint_id, SAL_ENDPOINT_ID_LEN, id);
    ds_put_format(out, "agent       %s, sald %s\n", agent->config->name,
                  SALIENT_VERSION);
    ds_put_format(out, "endpoint    %s\n", id);
    ds_put_format(out, "controller  %s: %s%s%s\n",
                  agent->config->n_controllers
                      ? agent->config->controllers[
                          controller_session_endpoint(session)]
                      : "none",
                  session_state_name(controller_session_state(session)),
                  error ? ", " : "", error ? error : "");
    ds_put_format(out, "identity    "IP_FMT,
                  IP_ARGS(htonl(welcome->identity_v4)));
    format_v6(&identity_v6, out);
    ds_put_format(out, "\nresolver    "IP_FMT,
                  IP_ARGS(htonl(welcome->resolver_v4)));
    format_v6(&welcome->resolver_v6, out);
    ds_put_format(out, ", SAL port %"PRIu16"\n", welcome->sal_port);
    format_uplinks(agent, out);
    format_routers(agent, out);
    ds_put_format(out, "names       %zu%s\n", names_count(&agent->state.names),
                  agent->state.names_complete ? "" : ", not complete yet");
    if (agent->dns) {
        ds_put_format(out, "dns         "IP_FMT":%"PRIu16", suffix %s\n",
                      IP_ARGS(htonl(agent->config->dns.listen.address)),
                      dns_server_port(agent->dns), agent->config->dns.suffix);
    } else {
        ds_put_cstr(out, "dns         disabled\n");
    }
    if (agent->apply_error) {
        ds_put_format(out, "error       %s\n", agent->apply_error);
    }
    datapath_format_status(agent->datapath, false, out);
}

void
agent_show_status(struct agent *agent, bool json, struct ds *out)
{
    if (json) {
        status_to_json(agent, out);
    } else {
        format_status(agent, out);
    }
}

/* Counters. */

struct json *
agent_counters_to_json(struct agent *agent)
{
    static const struct dns_counters no_dns;
    const struct dns_counters *dns
        = agent->dns ? dns_server_counters(agent->dns) : &no_dns;
    const struct holder_stats *held = &agent->holder.stats;
    const struct lost_flow_counters *lost = agent_lost_flow_counters(agent);
    const struct service_router_counters *router
        = agent_service_router_counters(agent);
    struct json *json = json_object_create();

    put_int(json, "dns_queries", dns->queries);
    put_int(json, "dns_noerror", dns->noerror);
    put_int(json, "dns_nxdomain", dns->nxdomain);
    put_int(json, "dns_refused", dns->refused);
    put_int(json, "dns_servfail", dns->servfail);
    put_int(json, "dns_other", dns->other);
    put_int(json, "dns_ignored", dns->ignored);
    put_int(json, "dns_forwarded", dns->forwarded);
    put_int(json, "dns_forward_answered", dns->forward_answered);
    put_int(json, "dns_forward_failed", dns->forward_failed);
    put_int(json, "dns_tcp_connections", dns->tcp_connections);
    put_int(json, "dns_tcp_refused", dns->tcp_refused);
    put_int(json, "sal_packets",
            agent->probe_socket ? probe_socket_received(agent->probe_socket)
                                : 0);
    put_int(json, "keys_rotated", agent->keys_rotated);
    put_int(json, "lost_flows_asked", lost->asked);
    put_int(json, "lost_flows_proved", lost->proved);
    put_int(json, "lost_flows_challenged", lost->challenged);
    put_int(json, "lost_flows_closed", lost->closed);
    put_int(json, "lost_flows_forged", lost->forged);
    put_int(json, "lost_flows_refused", lost->refused);
    put_int(json, "lost_flows_limited", lost->limited);
    put_int(json, "router_challenged", router->challenged);
    put_int(json, "router_told", router->told);
    put_int(json, "router_forged", router->forged);
    put_int(json, "router_refused", router->refused);
    put_int(json, "router_limited", router->limited);
    put_int(json, "router_full", router->full);
    put_int(json, "controller_sessions",
            controller_session_welcomes(agent->session));
    if (agent_migrator(agent)) {
        const struct migrator_counters *migration
            = migrator_counters(agent_migrator(agent));
#define X(NAME) put_int(json, "migration_" #NAME, migration->NAME);
        MIGRATOR_COUNTERS(X)
#undef X
    }
    put_int(json, "held_packets", held->held);
    put_int(json, "held_sent", held->sent);
    put_int(json, "held_refused", held->refused);
    put_int(json, "held_timed_out", held->timed_out);
    put_int(json, "held_full", held->full);
    put_int(json, "held_questions", held->questions);
#define X(NAME) put_int(json, "claims_" #NAME, agent->claims.counters.NAME);
    CLAIMS_COUNTERS(X)
#undef X
    return json;
}

static void
format_counters(const struct json *json, struct ds *out)
{
    const struct shash_node **nodes = shash_sort(json->object);

    for (size_t i = 0; i < shash_count(json->object); i++) {
        const struct json *value = nodes[i]->data;
        ds_put_format(out, "%-22s %12lld\n", nodes[i]->name, value->integer);
    }
    free(nodes);
}

void
agent_show_counters(struct agent *agent, bool json, struct ds *out)
{
    struct json *mine = agent_counters_to_json(agent);

    if (json) {
        struct json *object = json_object_create();
        json_object_put(object, "agent", mine);
        json_object_put(object, "datapath",
                        agent_json_from_datapath(agent, datapath_format_counters));
        put_json(object, out);
    } else {
        format_counters(mine, out);
        datapath_format_counters(agent->datapath, false, out);
        json_destroy(mine);
    }
}
