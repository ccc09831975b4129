/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that are OpenFlow meters, and the way back; which a switch should
 * have. */
#include "controller/rules.h"

#include <errno.h>
#include "controller/rule_table.h"
#include "controller/topology.h"
#include "openvswitch/ofp-meter.h"
#include "openvswitch/ofpbuf.h"
#include "util.h"

/* Flags of all of ours; the burst is what may come in a second. */
#define METER_FLAGS (OFPMF13_PKTPS | OFPMF13_BURST)

struct ofpbuf *
rule_encode_meter(const struct rule *rule, const struct rule_dialect *dialect,
                  int command)
{
    struct ofputil_meter_band band = {
        .type = OFPMBT13_DROP, .rate = rule->port, .burst_size = rule->port};
    struct ofputil_meter_mod mod = {
        .command = command,
        .meter = {
            .meter_id = rule->meter,
            .flags = METER_FLAGS,
            .n_bands = command != OFPMC13_DELETE,
            .bands = &band,
        },
    };
    return ofputil_encode_meter_mod(
        ofputil_protocol_to_ofp_version(dialect->protocol), &mod);
}

static bool
is_our_number(uint32_t id)
{
    uint32_t kind = id;

    if ((id & SAL_METER_PORT_MASK) == SAL_METER_PORT_BASE) {
        kind = (id & ~SAL_METER_PORT_MASK) >> 16;
    }
    return kind > 0 && kind < SAL_METER_N_KINDS;
}

int
rule_from_meter(const struct ofputil_meter_config *meter,
                struct rule *ret_rule)
{
    struct rule rule = RULE_INIT(RULE_METER);

    if (!is_our_number(meter->meter_id)) {
        return -ENOENT;
    }
    rule.meter = meter->meter_id;
    if (meter->n_bands) {
        rule.port = meter->bands[0].rate;
    }
    if (meter->n_bands != 1 || meter->flags != METER_FLAGS
        || meter->bands[0].type != OFPMBT13_DROP
        || meter->bands[0].burst_size != rule.port) {
        rule.flags |= RULE_STALE;
    }
    *ret_rule = rule;
    return 0;
}

uint32_t
rules_meter_pps(const struct rules_config *config, enum sal_meter_kind kind)
{
    switch (kind) {
    case SAL_METER_HOST_PROBE:
        return config->host_probe_pps;
    case SAL_METER_SERVICE_MISS:
        return config->service_miss_pps;
    case SAL_METER_LINK_PROBE:
        return config->link_probe_pps;
    case SAL_METER_LEARN:
    default:
        return config->plain_host_pps;
    }
}

static void
put_meter(uint32_t id, uint32_t pps, struct rule_table *table)
{
    struct rule rule = RULE_INIT(RULE_METER);

    rule.meter = id;
    rule.port = MAX(pps, 1);
    rule_table_put(table, &rule);
}

static void
put_of_port(enum rule_kind kind, uint32_t port, struct rule_table *table)
{
    struct rule rule = RULE_INIT(kind);

    rule.in_port = port;
    rule_table_put(table, &rule);
}

void
rules_compute_port_meters(const struct rules_config *config, bool sal,
                          uint32_t port, struct rule_table *table)
{
    bool v6 = rules_has_v6(config);

    for (int kind = 1; kind < SAL_METER_N_KINDS; kind++) {
        if ((kind != SAL_METER_LEARN || config->plain_hosts)
            && (kind != SAL_METER_SERVICE_MISS || sal)) {
            put_meter(SAL_METER_PORT(kind, port),
                      rules_meter_pps(config, kind) / RULES_METER_PORT_SHARE,
                      table);
        }
    }
    put_of_port(RULE_LINK_PROBE, port, table);
    put_of_port(sal ? RULE_HOST_PROBE : RULE_STOCK_PROBE, port, table);
    if (v6) {
        put_of_port(sal ? RULE_HOST_PROBE6 : RULE_STOCK_PROBE6, port, table);
    }
    if (sal) {
        put_of_port(RULE_SERVICE_MISS, port, table);
    }
    if (config->plain_hosts) {
        put_of_port(RULE_LEARN, port, table);
        put_of_port(RULE_ALIVE, port, table);
        put_of_port(RULE_ALIVE6, port, table);
    }
}

bool
rules_has_port_meters(const struct topology_switch *sw)
{
    return sw->max_meters >= RULES_N_METERS * (1 + hmap_count(&sw->ports));
}

void
rules_compute_shared_meters(const struct rules_config *config,
                            uint32_t max_meters, struct rule_table *table)
{
    for (int kind = 1; max_meters >= RULES_N_METERS
                       && kind < SAL_METER_N_KINDS; kind++) {
        put_meter(kind, rules_meter_pps(config, kind), table);
    }
}

void
rules_compute_meters(const struct rules_config *config,
                     const struct topology_switch *sw,
                     struct rule_table *table)
{
    const struct topology_port *port;

    rules_compute_shared_meters(config, sw->max_meters, table);
    if (!rules_has_port_meters(sw)) {
        return;
    }
    TOPOLOGY_FOR_EACH_PORT (port, sw) {
        rules_compute_port_meters(config, sw->has_sal, port->number, table);
    }
}
