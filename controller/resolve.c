/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/resolve.h"

#include <errno.h>
#include <string.h>
#include "controller/packet.h"
#include "controller/paths.h"
#include "controller/routes.h"
#include "controller/rule_table.h"
#include "controller/rules.h"
#include "controller/topology.h"
#include "util.h"

/* A rule of the table that resolves 'request', if there is one. */
static bool
find_rule(const struct rule_table *table, const struct packet_request *request,
          struct rule *ret_rule)
{
    size_t i = 0;
    for (const struct rule *rule; (rule = rule_table_next(table, &i));) {
        bool v6 = rule->kind == RULE_SERVICE6 || rule->kind == RULE_ENDPOINT6;
        if (rule_has_target(rule) && v6 == request->v6
            && (!rule->protocol || rule->protocol == request->protocol)
            && !((request->source_port ^ rule->tile_value)
                 & ((1u << rule->tile_bits) - 1))) {
            *ret_rule = *rule;
            return true;
        }
    }
    return false;
}

/* An endpoint's service ID holds its endpoint ID. */
static bool
compute_endpoint(const struct resolver *resolver,
                 const struct rules_config *config, uint64_t dpid,
                 const struct packet_request *request,
                 struct rule_table *table)
{
    struct endpoint_id id;
    struct service_prefix own;

    memcpy(id.bytes, &request->service.bytes[8], sizeof id.bytes);
    service_prefix_of_endpoint(id.bytes, &own);
    if (!service_prefix_contains_id(&own, &request->service)) {
        return false;
    }
    const struct topology_attachment *host
        = topology_attachment_by(resolver->topology, &id, request->v6);
    if (host) {
        rules_compute_endpoint(config, resolver->paths, host, dpid, table);
    }
    return true;
}

static bool
find(const struct resolver *resolver, const struct rules_config *config,
     uint64_t dpid, const struct packet_request *request,
     struct rule *ret_rule)
{
    struct service_prefix prefix = {request->service, SAL_SERVICE_ID_BITS};
    struct rule_table *table = rule_table_create();
    bool found = false;

    if (compute_endpoint(resolver, config, dpid, request, table)) {
        found = find_rule(table, request, ret_rule);
    }
    for (; !found; prefix.len--) {
        service_prefix_normalize(&prefix);
        const struct service_routes *service = routes_of(resolver->routes,
                                                         &prefix);
        if (service) {
            rule_table_clear(table);
            rules_compute_service(config, resolver->paths, service, dpid,
                                  table);
            found = find_rule(table, request, ret_rule);
        }
        if (!prefix.len) {
            break;
        }
    }
    rule_table_destroy(table);
    return found;
}

int
resolve_packet(const struct resolver *resolver, uint64_t dpid, void *frame,
               size_t len, uint32_t *ret_port,
               struct service_prefix *ret_prefix)
{
    /* A packet-out names a port. */
    struct rules_config config = *resolver->config;
    struct packet_request request;
    struct rule rule;
    int error = packet_parse_request(frame, len, config.sal_port, &request);

    if (error) {
        return error;
    }
    config.groups = false;
    if (!find(resolver, &config, dpid, &request, &rule)) {
        return -ENOENT;
    }
    if (!(rule.flags & RULE_ONWARD)) {
        packet_redirect(frame, &request, &rule.mac, &rule.target);
    }
    if (rule.flags & RULE_MARK) {
        const struct eth_addr mark
            = rule_waypoint_mac(rule.flags >> RULE_MARK_CLASS_SHIFT);
        memcpy((uint8_t *) frame + sizeof mark, &mark, sizeof mark);
    }
    *ret_port = rule.port;
    *ret_prefix = (struct service_prefix) {rule.service, rule.prefix_len};
    return 0;
}
