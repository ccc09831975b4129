/* SPDX-License-Identifier: Apache-2.0 */
/* Flows read from a switch, as rules.  What a rule should look like is found
 * out by building it again (rules_flow.c). */
#include "controller/rules.h"
#include "controller/rules_private.h"

#include <errno.h>
#include "openvswitch/match.h"
#include "openvswitch/meta-flow.h"
#include "openvswitch/ofp-actions.h"
#include "openvswitch/ofpbuf.h"
#include "openvswitch/util.h"
#include "flow.h"
#include "packets.h"
#include "util.h"

/* Two sets of actions are the same if they print the same; the binary form
 * differs in what does not matter (ofpact->raw).  Compared member by member,
 * as printing is slow and switches have many flows. */
static bool
same_action(const struct ofpact *a, const struct ofpact *b)
{
    if (a->type != b->type) {
        return false;
    }
    switch (a->type) {
    case OFPACT_OUTPUT:
        return ofpact_get_OUTPUT(a)->port == ofpact_get_OUTPUT(b)->port
               && (ofpact_get_OUTPUT(a)->max_len
                       == ofpact_get_OUTPUT(b)->max_len
                   || ofpact_get_OUTPUT(a)->port != OFPP_CONTROLLER);
    case OFPACT_SET_FIELD: {
        const struct ofpact_set_field *x = ofpact_get_SET_FIELD(a);
        const struct ofpact_set_field *y = ofpact_get_SET_FIELD(b);
        return x->field == y->field
               && !memcmp(x->value, y->value, x->field->n_bytes)
               && !memcmp(ofpact_set_field_mask(x), ofpact_set_field_mask(y),
                          x->field->n_bytes);
    }
    case OFPACT_REG_MOVE: {
        const struct ofpact_reg_move *x = ofpact_get_REG_MOVE(a);
        const struct ofpact_reg_move *y = ofpact_get_REG_MOVE(b);
        return x->src.field == y->src.field && x->src.ofs == y->src.ofs
               && x->src.n_bits == y->src.n_bits
               && x->dst.field == y->dst.field && x->dst.ofs == y->dst.ofs;
    }
    case OFPACT_GROUP:
        return ofpact_get_GROUP(a)->group_id == ofpact_get_GROUP(b)->group_id;
    case OFPACT_METER:
        return ofpact_get_METER(a)->meter_id == ofpact_get_METER(b)->meter_id;
    case OFPACT_GOTO_TABLE:
        return ofpact_get_GOTO_TABLE(a)->table_id
               == ofpact_get_GOTO_TABLE(b)->table_id;
    default:
        return false;
    }
}

static bool
same_actions(const struct ofpact *a, size_t a_len, const struct ofpact *b,
             size_t b_len)
{
    const struct ofpact *a_end = ofpact_end(a, a_len);
    const struct ofpact *b_end = ofpact_end(b, b_len);

    while (a < a_end && b < b_end) {
        if (!same_action(a, b)) {
            return false;
        }
        a = ofpact_next(a);
        b = ofpact_next(b);
    }
    return a >= a_end && b >= b_end;
}

static bool
read_prefix_len(const uint8_t mask[SAL_SERVICE_ID_LEN], uint16_t *ret_len)
{
    struct service_prefix prefix = {.len = 0};
    while (prefix.len < SAL_SERVICE_ID_BITS
           && mask[prefix.len / 8] & 0x80 >> prefix.len % 8) {
        prefix.len++;
    }
    memset(prefix.id.bytes, 0xff, sizeof prefix.id.bytes);
    service_prefix_normalize(&prefix);
    *ret_len = prefix.len;
    return !memcmp(prefix.id.bytes, mask, SAL_SERVICE_ID_LEN);
}

static void
read_path_class(const struct match *match, struct rule *rule)
{
    union mf_value value, mask;

    if (!rules_sal_supported()) {
        return;
    }
    mf_get(rules_sal_fields.flags, match, &value, &mask);
    rule->path_class = value.u8 & SAL_PATH_CLASS_MASK;
    if (rule->path_class && !eth_addr_is_zero(match->wc.masks.dl_src)) {
        rule->path_class |= RULE_MARKED_CLASS;
    }
}

/* Reads what a kind's match leaves open.  Whether the rest of the match is as
 * it should be is found out by building it again. */
static void
read_key(const struct match *match, struct rule *rule)
{
    switch (rule->kind) {
    case RULE_ARP:
        rule->address = in6_addr_mapped_ipv4(match->flow.nw_dst);
        break;
    case RULE_HOST:
        rule->address = in6_addr_mapped_ipv4(match->flow.nw_dst);
        read_path_class(match, rule);
        break;
    case RULE_ND:
    case RULE_ND_ANSWER:
        rule->address = match->flow.nd_target;
        break;
    case RULE_HOST6:
        rule->address = match->flow.ipv6_dst;
        read_path_class(match, rule);
        break;
    case RULE_ADMIT_ARP:
    case RULE_ADMIT_HOST:
        rule->address = in6_addr_mapped_ipv4(match->flow.nw_src);
        rule->source = match->flow.dl_src;
        rule->in_port = ofp_to_u16(match->flow.in_port.ofp_port);
        break;
    case RULE_ADMIT_HOST6:
        rule->address = match->flow.ipv6_src;
        rule->source = match->flow.dl_src;
        /* Fall through. */
    case RULE_ADMIT_LINK:
        rule->in_port = ofp_to_u16(match->flow.in_port.ofp_port);
        break;
    case RULE_SERVICE:
    case RULE_SERVICE6:
    case RULE_ENDPOINT:
    case RULE_ENDPOINT6: {
        union mf_value value, mask;
        if (!rules_sal_supported()) {
            break;
        }
        mf_get(rules_sal_fields.proto, match, &value, &mask);
        rule->protocol = value.u8;
        mf_get(rules_sal_fields.service, match, &value, &mask);
        memcpy(rule->service.bytes, &value, SAL_SERVICE_ID_LEN);
        read_prefix_len((const uint8_t *) &mask, &rule->prefix_len);
        rule->tile_value = ntohs(match->flow.tp_src);
        rule->tile_bits = count_1bits(ntohs(match->wc.masks.tp_src));
        break;
    }
    default:
        if (rule_meter_kind(rule) && match->wc.masks.in_port.ofp_port) {
            rule->in_port = ofp_to_u16(match->flow.in_port.ofp_port);
        }
        break;
    }
}

static bool
may_mark(const struct rule *rule)
{
    return rule->kind == RULE_HOST || rule->kind == RULE_HOST6
           || rule_has_target(rule);
}

static void
read_actions(const struct ofpact *ofpacts, size_t len, struct rule *rule)
{
    enum mf_field_id mac_field
        = rule_has_target(rule) ? MFF_ETH_DST
          : rule->kind == RULE_ND_ANSWER ? MFF_ND_TLL : MFF_ETH_SRC;
    const struct ofpact *a;

    if (rule_has_target(rule)) {
        rule->flags |= RULE_ONWARD;
    }
    OFPACT_FOR_EACH (a, ofpacts, len) {
        if (a->type == OFPACT_OUTPUT) {
            ofp_port_t port = ofpact_get_OUTPUT(a)->port;
            if (ofp_to_u16(port) < ofp_to_u16(OFPP_MAX)) {
                rule->port = ofp_to_u16(port);
            }
        } else if (a->type == OFPACT_GROUP && rule->kind == RULE_FLOOD) {
            rule->port++;
        } else if (a->type == OFPACT_GROUP) {
            rule->port = ofpact_get_GROUP(a)->group_id;
            rule->flags |= RULE_VIA_GROUP;
        } else if (a->type == OFPACT_SET_FIELD) {
            const struct ofpact_set_field *set = ofpact_get_SET_FIELD(a);
            if (set->field->id == MFF_ETH_SRC && may_mark(rule)) {
                rule->flags |= RULE_MARK | set->value->mac.ea[5]
                                           << RULE_MARK_CLASS_SHIFT;
            } else if (set->field->id == mac_field) {
                rule->mac = set->value->mac;
            } else if (set->field->id == MFF_IPV4_DST
                       && rule_has_target(rule)) {
                rule->target = in6_addr_mapped_ipv4(set->value->be32);
                rule->flags &= ~RULE_ONWARD;
            } else if (set->field->id == MFF_IPV6_DST
                       && rule_has_target(rule)) {
                rule->target = set->value->ipv6;
                rule->flags &= ~RULE_ONWARD;
            }
        }
    }
}

int
rule_from_flow(const struct ofputil_flow_stats *fs,
               const struct rule_dialect *dialect, struct rule *ret_rule)
{
    uint64_t cookie = ntohll(fs->cookie);
    if ((cookie & SAL_COOKIE_MASK) != SAL_COOKIE_BASE) {
        return -ENOENT;
    }

    uint32_t kind = cookie;
    if (kind <= RULE_NONE || kind >= RULE_N_KINDS) {
        return -EBADMSG;
    }
    struct rule rule = RULE_INIT(kind);
    read_key(&fs->match, &rule);
    read_actions(fs->ofpacts, fs->ofpacts_len, &rule);

    struct match match = MATCH_CATCHALL_INITIALIZER;
    if (fs->table_id != rule_table_id(&rule)
        || fs->priority != rule_priority(&rule)
        || rules_build_match(&rule, dialect->config, &match)) {
        return -EBADMSG;
    }
    /* Reading a flow makes "any Ethernet packet" explicit. */
    if (match_has_default_packet_type(&fs->match)) {
        match_set_default_packet_type(&match);
    }
    if (!match_equal(&match, &fs->match)) {
        return -EBADMSG;
    }

    uint64_t stub[1024 / 8];
    struct ofpbuf ofpacts = OFPBUF_STUB_INITIALIZER(stub);
    rules_build_actions(&rule, dialect, &ofpacts);
    if (cookie != rule_cookie(&rule) || fs->idle_timeout || fs->hard_timeout
        || !same_actions(fs->ofpacts, fs->ofpacts_len, ofpacts.data,
                         ofpacts.size)) {
        rule.flags |= RULE_STALE;
    }
    ofpbuf_uninit(&ofpacts);
    *ret_rule = rule;
    return 0;
}
