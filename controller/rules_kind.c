/* SPDX-License-Identifier: Apache-2.0 */
/* What a rule is: its kind, its place in the pipeline, and its text. */
#include "controller/rules.h"

#include "openvswitch/dynamic-string.h"
#include "packets.h"
#include "util.h"

static const struct kind {
    const char *name;
    uint8_t table;
    uint16_t priority;
    enum sal_cookie_kind cookie;
} kinds[RULE_N_KINDS] = {
    [RULE_LINK_PROBE] = {"link-probe", SAL_TABLE_ADMIT,
                         SAL_PRIORITY_LINK_PROBE, SAL_COOKIE_ADMIT},
    [RULE_ADMIT_ALL] = {"admit-all", SAL_TABLE_ADMIT, SAL_PRIORITY_ADMIT_ALL,
                        SAL_COOKIE_ADMIT},
    [RULE_ADMIT_ASK] = {"admit-ask", SAL_TABLE_ADMIT, SAL_PRIORITY_ADMIT_ASK,
                        SAL_COOKIE_ADMIT},
    [RULE_ADMIT_ASK6] = {"admit-ask6", SAL_TABLE_ADMIT,
                         SAL_PRIORITY_ADMIT_ASK, SAL_COOKIE_ADMIT},
    [RULE_LEARN] = {"learn", SAL_TABLE_ADMIT, SAL_PRIORITY_LEARN,
                    SAL_COOKIE_LEARN},
    [RULE_ALIVE] = {"alive", SAL_TABLE_ADMIT, SAL_PRIORITY_HOST_PROBE,
                    SAL_COOKIE_LEARN},
    [RULE_ALIVE6] = {"alive6", SAL_TABLE_ADMIT, SAL_PRIORITY_HOST_PROBE,
                     SAL_COOKIE_LEARN},
    [RULE_FLOOD] = {"flood", SAL_TABLE_FORWARD, SAL_PRIORITY_FLOOD,
                    SAL_COOKIE_HOST},
    [RULE_ADMIT_ND] = {"admit-nd", SAL_TABLE_ADMIT, SAL_PRIORITY_ADMIT_ASK,
                       SAL_COOKIE_ADMIT},
    [RULE_ADMIT_LINK] = {"admit-link", SAL_TABLE_ADMIT,
                         SAL_PRIORITY_ADMIT_LINK, SAL_COOKIE_ADMIT},
    [RULE_ADMIT_ARP] = {"admit-arp", SAL_TABLE_ADMIT, SAL_PRIORITY_ADMIT_HOST,
                        SAL_COOKIE_ADMIT},
    [RULE_ADMIT_HOST] = {"admit-host", SAL_TABLE_ADMIT,
                         SAL_PRIORITY_ADMIT_HOST, SAL_COOKIE_ADMIT},
    [RULE_ADMIT_HOST6] = {"admit-host", SAL_TABLE_ADMIT,
                          SAL_PRIORITY_ADMIT_HOST, SAL_COOKIE_ADMIT},
    [RULE_HOST_PROBE] = {"host-probe", SAL_TABLE_ADMIT,
                         SAL_PRIORITY_HOST_PROBE, SAL_COOKIE_ADMIT},
    [RULE_HOST_PROBE6] = {"host-probe6", SAL_TABLE_ADMIT,
                          SAL_PRIORITY_HOST_PROBE, SAL_COOKIE_ADMIT},
    [RULE_STOCK_PROBE6] = {"stock-probe6", SAL_TABLE_ADMIT,
                           SAL_PRIORITY_HOST_PROBE, SAL_COOKIE_ADMIT},
    [RULE_STOCK_PROBE] = {"stock-probe", SAL_TABLE_ADMIT,
                          SAL_PRIORITY_HOST_PROBE, SAL_COOKIE_ADMIT},
    [RULE_ARP] = {"arp", SAL_TABLE_CLASSIFY, SAL_PRIORITY_ARP,
                  SAL_COOKIE_ARP},
    [RULE_ARP_PROBE] = {"arp-probe", SAL_TABLE_CLASSIFY,
                        SAL_PRIORITY_ARP_PROBE, SAL_COOKIE_ARP},
    [RULE_ND] = {"nd", SAL_TABLE_CLASSIFY, SAL_PRIORITY_ARP, SAL_COOKIE_ARP},
    [RULE_ND_PROBE] = {"nd-probe", SAL_TABLE_CLASSIFY, SAL_PRIORITY_ARP_PROBE,
                       SAL_COOKIE_ARP},
    [RULE_ND_UNKNOWN] = {"nd-unknown", SAL_TABLE_CLASSIFY,
                         SAL_PRIORITY_ND_UNKNOWN, SAL_COOKIE_ARP},
    [RULE_ND_ANSWER] = {"nd-answer", SAL_TABLE_ND, SAL_PRIORITY_ND,
                        SAL_COOKIE_ARP},
    [RULE_DEFAULT] = {"default", SAL_TABLE_CLASSIFY, SAL_PRIORITY_DEFAULT,
                      SAL_COOKIE_CLASSIFY},
    [RULE_RESOLVE] = {"resolve", SAL_TABLE_CLASSIFY, SAL_PRIORITY_RESOLVE,
                      SAL_COOKIE_CLASSIFY},
    [RULE_RESOLVE6] = {"resolve6", SAL_TABLE_CLASSIFY, SAL_PRIORITY_RESOLVE,
                       SAL_COOKIE_CLASSIFY},
    [RULE_GUARD6] = {"guard6", SAL_TABLE_CLASSIFY, SAL_PRIORITY_GUARD,
                     SAL_COOKIE_CLASSIFY},
    [RULE_UPLINK6] = {"uplink6", SAL_TABLE_CLASSIFY, SAL_PRIORITY_RESOLVE,
                      SAL_COOKIE_CLASSIFY},
    [RULE_GUARD] = {"guard", SAL_TABLE_CLASSIFY, SAL_PRIORITY_GUARD,
                    SAL_COOKIE_CLASSIFY},
    [RULE_UPLINK] = {"uplink", SAL_TABLE_CLASSIFY, SAL_PRIORITY_RESOLVE,
                     SAL_COOKIE_CLASSIFY},
    [RULE_SERVICE] = {"service", SAL_TABLE_SERVICE, 0, SAL_COOKIE_SERVICE},
    [RULE_SERVICE6] = {"service6", SAL_TABLE_SERVICE, 0, SAL_COOKIE_SERVICE},
    [RULE_ENDPOINT] = {"endpoint", SAL_TABLE_SERVICE, 0, SAL_COOKIE_ENDPOINT},
    [RULE_ENDPOINT6] = {"endpoint6", SAL_TABLE_SERVICE, 0,
                        SAL_COOKIE_ENDPOINT},
    [RULE_SERVICE_MISS] = {"service-miss", SAL_TABLE_SERVICE,
                           SAL_PRIORITY_SERVICE_MISS, SAL_COOKIE_MISS},
    [RULE_HOST] = {"host", SAL_TABLE_FORWARD, SAL_PRIORITY_HOST,
                   SAL_COOKIE_HOST},
    [RULE_HOST6] = {"host", SAL_TABLE_FORWARD, SAL_PRIORITY_HOST,
                    SAL_COOKIE_HOST},
    [RULE_REST] = {"rest", SAL_TABLE_FORWARD, SAL_PRIORITY_REST,
                   SAL_COOKIE_HOST},
    [RULE_REST6] = {"rest6", SAL_TABLE_FORWARD, SAL_PRIORITY_REST,
                    SAL_COOKIE_HOST},
    /* As if in a table behind all others: there before what refers to it, gone
     * after. */
    [RULE_GROUP] = {"group", UINT8_MAX, 0, 0},
    [RULE_FLOOD_GROUP] = {"flood-group", UINT8_MAX, 0, 0},
    /* Before the groups: the bundle comes between. */
    [RULE_METER] = {"meter", UINT8_MAX, UINT16_MAX, 0},
};

static bool
is_kind(const struct rule *rule)
{
    return rule->kind > RULE_NONE && rule->kind < RULE_N_KINDS;
}

uint8_t
rule_table_id(const struct rule *rule)
{
    if (!is_kind(rule)) {
        return rule->kind == RULE_FOREIGN ? rule->foreign.table : 0;
    }
    return kinds[rule->kind].table;
}

uint16_t
rule_priority(const struct rule *rule)
{
    if (!is_kind(rule)) {
        return rule->kind == RULE_FOREIGN ? rule->foreign.priority : 0;
    }
    if (rule_has_target(rule)) {
        return SAL_PRIORITY_SERVICE(rule->prefix_len);
    }
    return rule->path_class & RULE_MARKED_CLASS ? SAL_PRIORITY_HOST_MARKED
           : rule->path_class ? SAL_PRIORITY_HOST_CLASS
           : kinds[rule->kind].priority
             + (rule_meter_kind(rule) && rule->in_port);
}

uint64_t
rule_cookie(const struct rule *rule)
{
    if (!is_kind(rule)) {
        return rule->kind == RULE_FOREIGN ? rule->foreign.cookie : 0;
    }
    return SAL_COOKIE(kinds[rule->kind].cookie, rule->kind);
}

int
rule_meter_kind(const struct rule *rule)
{
    switch (rule->kind) {
    case RULE_LINK_PROBE:
        return SAL_METER_LINK_PROBE;
    case RULE_HOST_PROBE:
    case RULE_HOST_PROBE6:
    case RULE_STOCK_PROBE:
    case RULE_STOCK_PROBE6:
        return SAL_METER_HOST_PROBE;
    case RULE_LEARN:
    case RULE_ALIVE:
    case RULE_ALIVE6:
        return SAL_METER_LEARN;
    case RULE_SERVICE_MISS:
        return SAL_METER_SERVICE_MISS;
    default:
        return 0;
    }
}

uint32_t
rule_meter(const struct rule *rule)
{
    int kind = rule_meter_kind(rule);

    return kind && rule->in_port ? SAL_METER_PORT(kind, rule->in_port) : kind;
}

/* Text. */

static void
format_address(const struct rule *rule, struct ds *s)
{
    ipv6_format_mapped(&rule->address, s);
}

static void
format_service(const struct rule *rule, struct ds *s)
{
    struct service_prefix prefix = {rule->service, rule->prefix_len};
    char buf[SERVICE_PREFIX_STRLEN];

    ds_put_format(s, " %s protocol %u udp_src=%u/%u -> ",
                  service_prefix_format(&prefix, buf), rule->protocol,
                  rule->tile_value, rule->tile_bits);
    if (rule->flags & RULE_ONWARD) {
        ds_put_cstr(s, "the next switch");
    } else {
        ipv6_format_mapped(&rule->target, s);
        ds_put_format(s, " "ETH_ADDR_FMT, ETH_ADDR_ARGS(rule->mac));
    }
}

void
rule_format(const struct rule *rule, struct ds *s)
{
    ds_put_format(s, "table %u priority %u %s", rule_table_id(rule),
                  rule_priority(rule),
                  is_kind(rule) ? kinds[rule->kind].name : "foreign");
    switch (rule->kind) {
    case RULE_ARP:
    case RULE_ND:
    case RULE_ND_ANSWER:
        ds_put_char(s, ' ');
        format_address(rule, s);
        ds_put_format(s, " is at "ETH_ADDR_FMT, ETH_ADDR_ARGS(rule->mac));
        break;
    case RULE_HOST:
    case RULE_HOST6:
        ds_put_char(s, ' ');
        format_address(rule, s);
        if (rule->path_class) {
            ds_put_format(s, " path class %d%s",
                          rule->path_class & SAL_PATH_CLASS_MASK,
                          rule->path_class & RULE_MARKED_CLASS
                          ? " behind its waypoint" : "");
        }
        break;
    case RULE_ADMIT_ARP:
    case RULE_ADMIT_HOST:
    case RULE_ADMIT_HOST6:
        ds_put_char(s, ' ');
        format_address(rule, s);
        ds_put_format(s, " "ETH_ADDR_FMT, ETH_ADDR_ARGS(rule->source));
        ds_put_format(s, " from port %"PRIu32, rule->in_port);
        break;
    case RULE_ADMIT_LINK:
        ds_put_format(s, " from port %"PRIu32, rule->in_port);
        break;
    case RULE_SERVICE:
    case RULE_SERVICE6:
    case RULE_ENDPOINT:
    case RULE_ENDPOINT6:
        format_service(rule, s);
        break;
    default:
        if (rule_meter_kind(rule) && rule->in_port) {
            ds_put_format(s, " from port %"PRIu32, rule->in_port);
        }
        break;
    }
    if (rule->kind == RULE_METER) {
        ds_put_format(s, " %#"PRIx32" %"PRIu32" packets/s", rule->meter,
                      rule->port);
    } else if (rule->kind == RULE_FLOOD_GROUP) {
        ds_put_format(s, " %"PRIu32" ports", rule->group);
        for (int i = 0; i < RULE_FLOOD_PORTS; i++) {
            if (rule->port_set[i / 8] & 1 << i % 8) {
                ds_put_format(s, " %"PRIu32,
                              rule->group * RULE_FLOOD_PORTS + i);
            }
        }
    } else if (rule->kind == RULE_FLOOD) {
        ds_put_format(s, " by %"PRIu32" groups", rule->port);
    } else if (rule->kind == RULE_GROUP) {
        ds_put_format(s, " %#"PRIx32" ports", rule->group);
        for (int i = 0; i < RULE_GROUP_PORTS_MAX && rule->ports[i]; i++) {
            ds_put_format(s, " %u", rule->ports[i]);
        }
    } else if (rule->flags & RULE_VIA_GROUP) {
        ds_put_format(s, " group %#"PRIx32, rule->port);
    } else if (rule->port) {
        ds_put_format(s, " port %"PRIu32, rule->port);
    }
    if (!rule_is_group(rule) && rule->flags & RULE_MARK) {
        ds_put_cstr(s, ", the waypoint");
    }
    if (rule->flags & RULE_STALE) {
        ds_put_cstr(s, " (stale)");
    }
}
