/* SPDX-License-Identifier: Apache-2.0 */
/* Rules as OpenFlow: matches and actions.  The way back is in
 * rules_read.c. */
#include "controller/rules.h"
#include "controller/rules_private.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include "controller/packet.h"
#include "controller/tiles.h"
#include "openvswitch/match.h"
#include "openvswitch/meta-flow.h"
#include "openvswitch/ofp-actions.h"
#include "openvswitch/ofp-msgs.h"
#include "openvswitch/ofpbuf.h"
#include "openvswitch/util.h"
#include "flow.h"
#include "ovs-thread.h"
#include "packets.h"
#include "util.h"

/* The SAL fields, by name: a libopenvswitch without our patches lacks them. */
struct sal_fields rules_sal_fields;

bool
rules_sal_supported(void)
{
    static struct ovsthread_once once = OVSTHREAD_ONCE_INITIALIZER;
    if (ovsthread_once_start(&once)) {
        rules_sal_fields.type = mf_from_name("sal_type");
        rules_sal_fields.flags = mf_from_name("sal_flags");
        rules_sal_fields.proto = mf_from_name("sal_proto");
        rules_sal_fields.service = mf_from_name("sal_service");
        ovsthread_once_done(&once);
    }
    return rules_sal_fields.type && rules_sal_fields.flags
           && rules_sal_fields.proto && rules_sal_fields.service;
}

/* Matches. */

/* The group bit of an Ethernet address. */
static const struct eth_addr multicast = {{{0x01, 0, 0, 0, 0, 0}}};

/* fe80::/10, RFC 4291. */
static const struct in6_addr link_local = {.s6_addr = {0xfe, 0x80}};
static const struct in6_addr link_local_mask = {.s6_addr = {0xff, 0xc0}};

static void
match_sal_u8(struct match *match, const struct mf_field *field, uint8_t value,
             uint8_t mask)
{
    union mf_value v, m;
    memset(&v, 0, sizeof v);
    memset(&m, 0, sizeof m);
    v.u8 = value;
    m.u8 = mask;
    mf_set(field, &v, &m, match, NULL);
}

static void
match_sal_service(struct match *match, const struct rule *rule)
{
    union mf_value v, m;
    struct service_prefix mask = {.len = rule->prefix_len};

    memset(&v, 0, sizeof v);
    memset(&m, 0, sizeof m);
    memset(mask.id.bytes, 0xff, sizeof mask.id.bytes);
    service_prefix_normalize(&mask);
    memcpy(&v, rule->service.bytes, SAL_SERVICE_ID_LEN);
    memcpy(&m, mask.id.bytes, SAL_SERVICE_ID_LEN);
    mf_set(rules_sal_fields.service, &v, &m, match, NULL);
}

static void
match_arp_request(struct match *match)
{
    match_set_dl_type(match, htons(ETH_TYPE_ARP));
    match_set_nw_proto(match, ARP_OP_REQUEST);
}

static void
match_arrival(struct match *match, const struct rule *rule)
{
    match_set_in_port(match, u16_to_ofp(rule->in_port));
    match_set_dl_src(match, rule->source);
}

static void
match_nd(struct match *match, uint8_t type)
{
    match_set_dl_type(match, htons(ETH_TYPE_IPV6));
    match_set_nw_proto(match, IPPROTO_ICMPV6);
    match_set_icmp_type(match, type);
    match_set_icmp_code(match, 0);
}

/* Some kinds come in two, for IPv4 and for IPv6 underneath. */
static bool
is_v6(const struct rule *rule)
{
    switch ((enum rule_kind) rule->kind) {
    case RULE_HOST_PROBE6:
    case RULE_STOCK_PROBE6:
    case RULE_RESOLVE6:
    case RULE_GUARD6:
    case RULE_UPLINK6:
    case RULE_SERVICE6:
    case RULE_ENDPOINT6:
        return true;
    default:
        return false;
    }
}

static void
match_to_resolver(struct match *match, const struct rules_config *config,
                  const struct rule *rule)
{
    if (is_v6(rule)) {
        match_set_dl_type(match, htons(ETH_TYPE_IPV6));
        match_set_ipv6_dst(match, &config->resolver_v6);
    } else {
        match_set_dl_type(match, htons(ETH_TYPE_IP));
        match_set_nw_dst(match, htonl(config->resolver_v4));
    }
}

static void
match_sal(struct match *match, const struct rules_config *config,
          const struct rule *rule, uint8_t type, uint8_t type_mask)
{
    match_set_dl_type(match, htons(is_v6(rule) ? ETH_TYPE_IPV6
                                               : ETH_TYPE_IP));
    match_set_nw_proto(match, IPPROTO_UDP);
    match_set_tp_dst(match, htons(config->sal_port));
    match_sal_u8(match, rules_sal_fields.type, type, type_mask);
}

struct eth_addr
rule_waypoint_mac(uint8_t class)
{
    struct eth_addr mac = {{SAL_WAYPOINT_MAC}};
    mac.ea[5] = class;
    return mac;
}

static void
match_path_class(struct match *match, const struct rules_config *config,
                 const struct rule *rule)
{
    uint8_t class = rule->path_class & SAL_PATH_CLASS_MASK;

    if (class) {
        match_set_nw_proto(match, IPPROTO_UDP);
        match_set_tp_dst(match, htons(config->sal_port));
        match_sal_u8(match, rules_sal_fields.flags, class,
                     SAL_PATH_CLASS_MASK);
    }
    if (rule->path_class & RULE_MARKED_CLASS) {
        match_set_dl_src(match, rule_waypoint_mac(class));
    }
}

static void
match_service(struct match *match, const struct rules_config *config,
              const struct rule *rule)
{
    struct tile tile = {.bits = rule->tile_bits};

    match_sal(match, config, rule, SAL_TYPE_SERVICE_BIT,
              SAL_TYPE_SERVICE_BIT);
    if (rule->protocol) {
        match_sal_u8(match, rules_sal_fields.proto, rule->protocol, UINT8_MAX);
    }
    if (rule->prefix_len) {
        match_sal_service(match, rule);
    }
    if (rule->tile_bits) {
        match_set_tp_src_masked(match, htons(rule->tile_value),
                                htons(tile_mask(&tile)));
    }
}

static bool
needs_sal(const struct rule *rule)
{
    return rule->kind == RULE_HOST_PROBE || rule->kind == RULE_HOST_PROBE6
           || rule->kind == RULE_RESOLVE || rule->kind == RULE_RESOLVE6
           || rule_has_target(rule) || rule->path_class;
}

int
rules_build_match(const struct rule *rule, const struct rules_config *config,
                  struct match *match)
{
    if (needs_sal(rule) && !rules_sal_supported()) {
        return -ENOTSUP;
    }
    if (rule_meter_kind(rule) && rule->in_port) {
        match_set_in_port(match, u16_to_ofp(rule->in_port));
    }
    switch ((enum rule_kind) rule->kind) {
    case RULE_LINK_PROBE:
        match_set_dl_type(match, htons(PACKET_TYPE_LLDP));
        return 0;
    case RULE_ADMIT_ASK:
        match_arp_request(match);
        match_set_nw_dst(match, htonl(config->resolver_v4));
        return 0;
    case RULE_ADMIT_ASK6:
        match_nd(match, ND_NEIGHBOR_SOLICIT);
        match_set_nd_target(match, &config->resolver_v6);
        return 0;
    case RULE_ADMIT_LINK:
        match_set_in_port(match, u16_to_ofp(rule->in_port));
        return 0;
    case RULE_ADMIT_ARP:
        match_arrival(match, rule);
        match_set_dl_type(match, htons(ETH_TYPE_ARP));
        match_set_nw_src(match, in6_addr_get_mapped_ipv4(&rule->address));
        match_set_arp_sha(match, rule->source);
        return 0;
    case RULE_ADMIT_HOST:
        match_arrival(match, rule);
        match_set_dl_type(match, htons(ETH_TYPE_IP));
        match_set_nw_src(match, in6_addr_get_mapped_ipv4(&rule->address));
        return 0;
    case RULE_ADMIT_HOST6:
        match_arrival(match, rule);
        match_set_dl_type(match, htons(ETH_TYPE_IPV6));
        match_set_ipv6_src(match, &rule->address);
        return 0;
    case RULE_ALIVE:
        match_set_dl_type(match, htons(ETH_TYPE_ARP));
        match_set_nw_proto(match, ARP_OP_REPLY);
        match_set_dl_dst(match, config->resolver_mac);
        return 0;
    case RULE_ALIVE6:
        match_nd(match, ND_NEIGHBOR_ADVERT);
        match_set_dl_dst(match, config->resolver_mac);
        return 0;
    case RULE_FLOOD:
        match_set_dl_dst_masked(match, multicast, multicast);
        return 0;
    case RULE_ADMIT_ND:
        match_nd(match, ND_NEIGHBOR_SOLICIT);
        match_set_ipv6_src_masked(match, &link_local, &link_local_mask);
        return 0;
    case RULE_ARP:
        match_arp_request(match);
        match_set_nw_dst(match, in6_addr_get_mapped_ipv4(&rule->address));
        return 0;
    case RULE_ARP_PROBE:
        match_arp_request(match);
        match_set_nw_src(match, 0);
        return 0;
    case RULE_ND:
        match_nd(match, ND_NEIGHBOR_SOLICIT);
        match_set_nd_target(match, &rule->address);
        return 0;
    case RULE_ND_PROBE:
        match_nd(match, ND_NEIGHBOR_SOLICIT);
        match_set_ipv6_src(match, &in6addr_any);
        return 0;
    case RULE_ND_UNKNOWN:
        match_nd(match, ND_NEIGHBOR_SOLICIT);
        return 0;
    case RULE_ND_ANSWER:
        match_nd(match, ND_NEIGHBOR_ADVERT);
        match_set_nd_target(match, &rule->address);
        return 0;
    case RULE_HOST_PROBE:
    case RULE_HOST_PROBE6:
        match_to_resolver(match, config, rule);
        match_sal(match, config, rule, SAL_TYPE_PROBE, UINT8_MAX);
        return 0;
    case RULE_RESOLVE:
    case RULE_RESOLVE6:
        match_to_resolver(match, config, rule);
        match_sal(match, config, rule, SAL_TYPE_SERVICE_BIT,
                  SAL_TYPE_SERVICE_BIT);
        return 0;
    case RULE_STOCK_PROBE:
    case RULE_STOCK_PROBE6:
        match_to_resolver(match, config, rule);
        match_set_nw_proto(match, IPPROTO_UDP);
        match_set_tp_src(match, htons(config->sal_port));
        match_set_tp_dst(match, htons(config->sal_port));
        return 0;
    case RULE_GUARD:
    case RULE_GUARD6:
    case RULE_UPLINK:
    case RULE_UPLINK6:
        match_to_resolver(match, config, rule);
        return 0;
    case RULE_SERVICE:
    case RULE_SERVICE6:
    case RULE_ENDPOINT:
    case RULE_ENDPOINT6:
        match_service(match, config, rule);
        return 0;
    case RULE_HOST:
        match_set_dl_type(match, htons(ETH_TYPE_IP));
        match_set_nw_dst(match, in6_addr_get_mapped_ipv4(&rule->address));
        match_path_class(match, config, rule);
        return 0;
    case RULE_HOST6:
        match_set_dl_type(match, htons(ETH_TYPE_IPV6));
        match_set_ipv6_dst(match, &rule->address);
        match_path_class(match, config, rule);
        return 0;
    case RULE_REST:
        match_set_dl_type(match, htons(ETH_TYPE_IP));
        return 0;
    case RULE_REST6:
        match_set_dl_type(match, htons(ETH_TYPE_IPV6));
        return 0;
    case RULE_ADMIT_ALL:
    case RULE_DEFAULT:
    case RULE_SERVICE_MISS:
    case RULE_LEARN:
        return 0;
    case RULE_FLOOD_GROUP:
    case RULE_GROUP:
    case RULE_METER:
    case RULE_NONE:
    case RULE_N_KINDS:
    case RULE_FOREIGN:
        break;
    }
    return -EINVAL;
}

/* Actions. */

static void
set_field(struct ofpbuf *ofpacts, enum mf_field_id id, const void *value)
{
    ofpact_put_set_field(ofpacts, mf_from_id(id), value, NULL);
}

/* The low 'n_bits' bits. */
static void
move_bits(struct ofpbuf *ofpacts, enum mf_field_id from, enum mf_field_id to,
          unsigned int n_bits)
{
    struct ofpact_reg_move *move = ofpact_put_REG_MOVE(ofpacts);
    move->src.field = mf_from_id(from);
    move->src.n_bits = n_bits;
    move->dst.field = mf_from_id(to);
    move->dst.n_bits = n_bits;
}

static void
move_field(struct ofpbuf *ofpacts, enum mf_field_id from, enum mf_field_id to)
{
    move_bits(ofpacts, from, to, mf_from_id(from)->n_bits);
}

static void
output(struct ofpbuf *ofpacts, ofp_port_t port)
{
    struct ofpact_output *action = ofpact_put_OUTPUT(ofpacts);
    action->port = port;
    /* Whole packets to the controller; no meaning elsewhere. */
    action->max_len = port == OFPP_CONTROLLER ? UINT16_MAX : 0;
}

/* A switch sends nothing back to the port it came from, but what it is for may
 * well be there: make it forget. */
static void
forget_in_port(struct ofpbuf *ofpacts)
{
    const ovs_be16 no_port = htons(ofp_to_u16(OFPP_NONE));

    set_field(ofpacts, MFF_IN_PORT, &no_port);
}

static void
output_rule(struct ofpbuf *ofpacts, const struct rule *rule)
{
    if (rule->flags & RULE_MARK) {
        const struct eth_addr mac
            = rule_waypoint_mac(rule->flags >> RULE_MARK_CLASS_SHIFT);
        set_field(ofpacts, MFF_ETH_SRC, &mac);
        if (!rule_has_target(rule)) {
            forget_in_port(ofpacts);
        }
    }
    if (rule->flags & RULE_VIA_GROUP) {
        ofpact_put_GROUP(ofpacts)->group_id = rule->port;
    } else {
        output(ofpacts, u16_to_ofp(rule->port));
    }
}

static void
send_to_controller(struct ofpbuf *ofpacts, const struct rule_dialect *dialect,
                   const struct rule *rule)
{
    if (dialect->meters) {
        ofpact_put_METER(ofpacts)->meter_id = rule_meter(rule);
    }
    output(ofpacts, OFPP_CONTROLLER);
}

/* Turns the request around (RFC 826) and sends it back where it came from. */
static void
answer_arp(struct ofpbuf *ofpacts, const struct rule *rule)
{
    const ovs_be16 reply = htons(ARP_OP_REPLY);
    const ovs_be32 address = in6_addr_get_mapped_ipv4(&rule->address);

    move_field(ofpacts, MFF_ETH_SRC, MFF_ETH_DST);
    set_field(ofpacts, MFF_ETH_SRC, &rule->mac);
    set_field(ofpacts, MFF_ARP_OP, &reply);
    move_field(ofpacts, MFF_ARP_SHA, MFF_ARP_THA);
    set_field(ofpacts, MFF_ARP_SHA, &rule->mac);
    move_field(ofpacts, MFF_ARP_SPA, MFF_ARP_TPA);
    set_field(ofpacts, MFF_ARP_SPA, &address);
    output(ofpacts, OFPP_IN_PORT);
}

static void
goto_table(struct ofpbuf *ofpacts, uint8_t table)
{
    ofpact_put_GOTO_TABLE(ofpacts)->table_id = table;
}

/* Turns the solicitation into an advertisement (RFC 4861), but for the
 * address itself. */
static void
prepare_nd(struct ofpbuf *ofpacts, const struct rule *rule)
{
    const uint8_t advertisement = ND_NEIGHBOR_ADVERT;
    const uint8_t target_option = ND_OPT_TARGET_LINKADDR;
    const ovs_be32 flags = htonl(ND_RSO_SOLICITED | ND_RSO_OVERRIDE);

    move_field(ofpacts, MFF_ETH_SRC, MFF_ETH_DST);
    set_field(ofpacts, MFF_ETH_SRC, &rule->mac);
    move_field(ofpacts, MFF_IPV6_SRC, MFF_IPV6_DST);
    set_field(ofpacts, MFF_IPV6_SRC, &rule->address);
    set_field(ofpacts, MFF_ND_RESERVED, &flags);
    set_field(ofpacts, MFF_ND_OPTIONS_TYPE, &target_option);
    set_field(ofpacts, MFF_ICMPV6_TYPE, &advertisement);
    goto_table(ofpacts, SAL_TABLE_ND);
}

static void
answer_nd(struct ofpbuf *ofpacts, const struct rule *rule)
{
    set_field(ofpacts, MFF_ND_TLL, &rule->mac);
    output(ofpacts, OFPP_IN_PORT);
}

static void
deliver(struct ofpbuf *ofpacts, const struct rule *rule)
{
    if (rule->flags & RULE_ONWARD) {
        output_rule(ofpacts, rule);
        return;
    }
    set_field(ofpacts, MFF_ETH_DST, &rule->mac);
    if (is_v6(rule)) {
        set_field(ofpacts, MFF_IPV6_DST, &rule->target);
    } else {
        const ovs_be32 address = in6_addr_get_mapped_ipv4(&rule->target);
        set_field(ofpacts, MFF_IPV4_DST, &address);
    }
    forget_in_port(ofpacts);
    output_rule(ofpacts, rule);
}

void
rules_build_actions(const struct rule *rule,
                    const struct rule_dialect *dialect,
                    struct ofpbuf *ofpacts)
{
    switch ((enum rule_kind) rule->kind) {
    case RULE_LINK_PROBE:
    case RULE_HOST_PROBE:
    case RULE_HOST_PROBE6:
    case RULE_STOCK_PROBE:
    case RULE_STOCK_PROBE6:
    case RULE_LEARN:
    case RULE_ALIVE:
    case RULE_ALIVE6:
    case RULE_SERVICE_MISS:
        send_to_controller(ofpacts, dialect, rule);
        break;
    case RULE_FLOOD:
        for (uint32_t i = 0; i < rule->port; i++) {
            ofpact_put_GROUP(ofpacts)->group_id = RULE_FLOOD_GROUP_BASE + i;
        }
        break;
    case RULE_ARP:
        answer_arp(ofpacts, rule);
        break;
    case RULE_ND:
        prepare_nd(ofpacts, rule);
        break;
    case RULE_ND_ANSWER:
        answer_nd(ofpacts, rule);
        break;
    case RULE_ADMIT_ALL:
    case RULE_ADMIT_ASK:
    case RULE_ADMIT_ASK6:
    case RULE_ADMIT_LINK:
    case RULE_ADMIT_ARP:
    case RULE_ADMIT_HOST:
    case RULE_ADMIT_HOST6:
    case RULE_ADMIT_ND:
        goto_table(ofpacts, SAL_TABLE_CLASSIFY);
        break;
    case RULE_RESOLVE:
    case RULE_RESOLVE6:
        /* Nobody reads the register.  Copying makes a datapath flow match the
         * bits whatever tile it is of, so that there are fewer masks. */
        move_bits(ofpacts, MFF_UDP_SRC, MFF_REG0, SAL_RESOLVE_PORT_BITS);
        goto_table(ofpacts, SAL_TABLE_SERVICE);
        break;
    case RULE_DEFAULT:
        goto_table(ofpacts, SAL_TABLE_FORWARD);
        break;
    case RULE_SERVICE:
    case RULE_SERVICE6:
    case RULE_ENDPOINT:
    case RULE_ENDPOINT6:
        deliver(ofpacts, rule);
        break;
    case RULE_UPLINK:
    case RULE_UPLINK6:
    case RULE_HOST:
    case RULE_HOST6:
    case RULE_REST:
    case RULE_REST6:
        output_rule(ofpacts, rule);
        break;
    case RULE_ARP_PROBE:
    case RULE_ND_PROBE:
    case RULE_ND_UNKNOWN:
    case RULE_GUARD: /* No action: drop. */
    case RULE_GUARD6:
    case RULE_FLOOD_GROUP:
    case RULE_GROUP:
    case RULE_METER:
    case RULE_NONE:
    case RULE_N_KINDS:
    case RULE_FOREIGN:
        break;
    }
}

int
rule_to_flow_mod(const struct rule *rule, const struct rule_dialect *dialect,
                 int command, struct ofpbuf *ofpacts,
                 struct ofputil_flow_mod *ret_fm)
{
    struct match match = MATCH_CATCHALL_INITIALIZER;
    bool is_delete = command == OFPFC_DELETE_STRICT;

    if (rule->kind != RULE_FOREIGN) {
        int error = rules_build_match(rule, dialect->config, &match);
        if (error) {
            return error;
        }
    } else if (!is_delete) {
        return -EINVAL;
    }
    if (!is_delete) {
        rules_build_actions(rule, dialect, ofpacts);
    }

    memset(ret_fm, 0, sizeof *ret_fm);
    if (rule->kind == RULE_FOREIGN) {
        minimatch_clone(&ret_fm->match, rule->foreign.match);
    } else {
        minimatch_init(&ret_fm->match, &match);
    }
    ret_fm->priority = rule_priority(rule);
    ret_fm->table_id = rule_table_id(rule);
    ret_fm->command = command;
    ret_fm->buffer_id = UINT32_MAX;
    ret_fm->out_port = OFPP_ANY;
    ret_fm->out_group = OFPG_ANY;
    ret_fm->ofpacts = ofpacts->data;
    ret_fm->ofpacts_len = ofpacts->size;
    if (is_delete) {
        /* The whole cookie: somebody else's flow with this match stays, and so
         * does ours if it just replaced one of an odd kind. */
        ret_fm->cookie = htonll(rule_cookie(rule));
        /* But for one bit: with a full mask Open vSwitch looks for the flow
         * among all that have this cookie, thousands of them, one by one. */
        ret_fm->cookie_mask = htonll(UINT64_MAX >> 1);
        ret_fm->new_cookie = OVS_BE64_MAX;
    } else {
        ret_fm->new_cookie = htonll(rule_cookie(rule));
    }
    return 0;
}
