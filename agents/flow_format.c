/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/flow_format.h"

#include <arpa/inet.h>
#include <string.h>
#include "agents/local_services.h"
#include "openvswitch/json.h"
#include "util.h"

const char *
sal_addr_format(const struct sal_addr *addr, char buf[INET6_ADDRSTRLEN])
{
    if (!addr->w[0] && !addr->w[1] && addr->w[2] == htonl(SAL_ADDR_MAPPED)) {
        return inet_ntop(AF_INET, &addr->w[3], buf, INET6_ADDRSTRLEN);
    }
    return inet_ntop(AF_INET6, addr, buf, INET6_ADDRSTRLEN);
}

bool
sal_addr_parse(const char *text, struct sal_addr *addr)
{
    struct in_addr v4;

    if (inet_pton(AF_INET, text, &v4) == 1) {
        *addr = (struct sal_addr) {
            {0, 0, htonl(SAL_ADDR_MAPPED), v4.s_addr}};
        return true;
    }
    return inet_pton(AF_INET6, text, addr) == 1;
}

const char *
flow_state_name(const struct sal_flow *flow)
{
    switch (flow->state) {
    case SAL_FLOW_HALF_OPEN:
        return "half-open";
    case SAL_FLOW_BOUND:
        return "bound";
    case SAL_FLOW_CLOSING:
        return "closing";
    default:
        return "unknown";
    }
}

const char *
flow_role_name(const struct sal_flow *flow)
{
    return flow->flags & SAL_FLOW_SERVER ? "server" : "client";
}

static void
put_int(struct json *object, const char *name, uint64_t value)
{
    json_object_put(object, name, json_integer_create(value));
}

static void
put_addr(struct json *object, const char *name, const struct sal_addr *addr)
{
    char buf[INET6_ADDRSTRLEN];
    json_object_put_string(object, name, sal_addr_format(addr, buf));
}

static struct json *
tuple_to_json(const struct sal_tuple *tuple)
{
    struct json *object = json_object_create();
    put_addr(object, "local", &tuple->local);
    put_addr(object, "remote", &tuple->remote);
    put_int(object, "local_port", ntohs(tuple->lport));
    put_int(object, "remote_port", ntohs(tuple->rport));
    put_int(object, "protocol", tuple->proto);
    return object;
}

static struct service_prefix
service_of(const struct sal_flow *flow)
{
    struct service_prefix prefix = {.len = SAL_SERVICE_ID_BITS};
    memcpy(prefix.id.bytes, flow->service_id, sizeof prefix.id.bytes);
    return prefix;
}

void
flow_format_endpoint(const struct sal_flow *flow,
                     char text[2 * SAL_ENDPOINT_ID_LEN + 1])
{
    static const uint8_t none[SAL_ENDPOINT_ID_LEN];

    text[0] = '\0';
    if (memcmp(flow->peer_endpoint, none, sizeof none)) {
        for (int i = 0; i < SAL_ENDPOINT_ID_LEN; i++) {
            sprintf(text + 2 * i, "%02x", flow->peer_endpoint[i]);
        }
    }
}

/* A clock that was read before the flow was made is no reason for an age of
 * centuries. */
static uint64_t
age_ns(const struct sal_flow *flow, uint64_t now_ns)
{
    return now_ns > flow->created_ns ? now_ns - flow->created_ns : 0;
}

struct json *
flow_to_json(const struct sal_flow *flow, uint64_t now_ns)
{
    struct json *object = json_object_create();
    struct service_prefix prefix = service_of(flow);
    char service[SERVICE_PREFIX_STRLEN];
    char endpoint[2 * SAL_ENDPOINT_ID_LEN + 1];

    flow_format_endpoint(flow, endpoint);
    json_object_put_format(object, "id", "0x%08x", ntohl(flow->id));
    json_object_put_format(object, "peer_id", "0x%08x", ntohl(flow->peer_id));
    json_object_put_string(object, "state", flow_state_name(flow));
    json_object_put_string(object, "role", flow_role_name(flow));
    json_object_put_string(object, "service",
                           service_prefix_format(&prefix, service));
    json_object_put(object, "inner", tuple_to_json(&flow->local));
    json_object_put(object, "wire", tuple_to_json(&flow->wire));
    put_addr(object, "own_locator", &flow->own_locator);
    put_addr(object, "peer_locator", &flow->peer_locator);
    json_object_put_string(object, "peer_endpoint", endpoint);
    put_int(object, "group", flow->group);
    put_int(object, "udp_source", ntohs(flow->entropy));
    put_int(object, "peer_port", ntohs(flow->peer_port));
    put_int(object, "ifindex", flow->ifindex);
    if (flow->path_mtu) {
        put_int(object, "path_mtu", flow->path_mtu);
    }
    put_int(object, "age_ms", age_ns(flow, now_ns) / 1000000);
    put_int(object, "in_packets", flow->in_packets);
    put_int(object, "in_bytes", flow->in_bytes);
    put_int(object, "out_packets", flow->out_packets);
    put_int(object, "out_bytes", flow->out_bytes);
    return object;
}

/* "web.shop.acme", or the ID's beginning. */
static void
put_service(const struct sal_flow *flow, const struct names *names,
            struct ds *out)
{
    struct service_prefix prefix = service_of(flow);
    const struct names_entry *entry
        = names ? names_by_service_id(names, &prefix.id) : NULL;

    if (entry && entry->name[0]) {
        ds_put_cstr(out, entry->name);
    } else {
        char text[SERVICE_PREFIX_STRLEN];
        ds_put_format(out, "%.18s...", service_prefix_format(&prefix, text));
    }
}

static void
put_end(const struct sal_addr *addr, ovs_be16 port, struct ds *out)
{
    char buf[INET6_ADDRSTRLEN];
    bool v6 = strchr(sal_addr_format(addr, buf), ':');
    ds_put_format(out, v6 ? "[%s]:%d" : "%s:%d", buf, ntohs(port));
}

void
flow_put_text(const struct sal_flow *flow, const struct names *names,
              uint64_t now_ns, struct ds *out)
{
    char peer[INET6_ADDRSTRLEN], own[INET6_ADDRSTRLEN];
    char endpoint[2 * SAL_ENDPOINT_ID_LEN + 1];

    flow_format_endpoint(flow, endpoint);
    ds_put_format(out, "0x%08x %-9s %s ", ntohl(flow->id),
                  flow_state_name(flow),
                  local_service_protocol_name(flow->local.proto));
    put_end(&flow->local.local, flow->local.lport, out);
    ds_put_cstr(out, flow->flags & SAL_FLOW_SERVER ? " <- " : " -> ");
    put_end(&flow->local.remote, flow->local.rport, out);
    ds_put_format(out, " peer %s via %s endpoint %s age %.1fs "
                  "in %"PRIu64"/%"PRIu64" out %"PRIu64"/%"PRIu64" ",
                  sal_addr_format(&flow->peer_locator, peer),
                  sal_addr_format(&flow->own_locator, own),
                  endpoint[0] ? endpoint : "-", age_ns(flow, now_ns) / 1e9,
                  (uint64_t) flow->in_packets, (uint64_t) flow->in_bytes,
                  (uint64_t) flow->out_packets, (uint64_t) flow->out_bytes);
    put_service(flow, names, out);
    ds_put_char(out, '\n');
}

void
flow_put_peer(const struct sal_flow *flow, struct ds *out)
{
    char remote[INET6_ADDRSTRLEN], locator[INET6_ADDRSTRLEN];
    char service[SERVICE_PREFIX_STRLEN];
    char endpoint[2 * SAL_ENDPOINT_ID_LEN + 1];
    struct service_prefix prefix = service_of(flow);

    flow_format_endpoint(flow, endpoint);
    ds_put_format(out, "identity %s locator %s role %s state %s service %s "
                  "endpoint %s\n",
                  sal_addr_format(&flow->local.remote, remote),
                  sal_addr_format(&flow->peer_locator, locator),
                  flow_role_name(flow), flow_state_name(flow),
                  service_prefix_format(&prefix, service),
                  endpoint[0] ? endpoint : "-");
}
