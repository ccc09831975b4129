/* SPDX-License-Identifier: Apache-2.0 */
/* The hold time after a start: the data plane works, but the registrations,
 * attachments and links that explain its rules come back one after the
 * other. Until they are all back, nothing is planned, so that nothing is
 * withdrawn. */
#include <inttypes.h>
#include "controller/controller_private.h"
#include "openvswitch/vlog.h"

VLOG_DEFINE_THIS_MODULE(controller_hold);

/* A link or a host is behind the port that the rule sends to. */
static bool
port_is_back(const struct controller *c, uint64_t dpid, uint32_t number)
{
    const struct topology_switch *sw = topology_switch(c->topology, dpid);
    const struct topology_port *port = topology_port(c->topology, dpid,
                                                     number);
    struct topology_end far;

    return port && (!ovs_list_is_empty(&port->attachments)
                    || topology_port_link(c->topology, sw, port, &far));
}

static bool
instance_is_back(const struct controller *c, const struct rule *rule)
{
    struct service_prefix prefix = {.id = rule->service,
                                    .len = rule->prefix_len};
    const struct registry_service *service
        = registry_service(c->registry, &prefix);
    const struct topology_attachment *at
        = topology_attachment(c->topology, &rule->target);
    const struct registry_instance *instance;

    if (!service || !at) {
        return false;
    }
    REGISTRY_FOR_EACH_INSTANCE_OF (instance, service) {
        if (endpoint_id_equal(&instance->endpoint->id, &at->endpoint)) {
            return true;
        }
    }
    return false;
}

static bool
rule_is_explained(const struct controller *c, uint64_t dpid,
                  const struct rule *rule)
{
    switch (rule->kind) {
    case RULE_SERVICE:
    case RULE_SERVICE6:
        if (rule->flags & RULE_ONWARD) {
            return port_is_back(c, dpid, rule->port);
        }
        return instance_is_back(c, rule)
               && (rule->flags & RULE_VIA_GROUP
                   || port_is_back(c, dpid, rule->port));
    case RULE_ENDPOINT:
    case RULE_ENDPOINT6:
        return topology_attachment(c->topology, &rule->target)
               && (rule->flags & RULE_VIA_GROUP
                   || port_is_back(c, dpid, rule->port));
    case RULE_HOST:
    case RULE_HOST6:
        return topology_attachment(c->topology, &rule->address)
               && (rule->flags & RULE_VIA_GROUP
                   || port_is_back(c, dpid, rule->port));
    case RULE_GROUP:
        for (int i = 0; i < RULE_GROUP_PORTS_MAX && rule->ports[i]; i++) {
            if (!port_is_back(c, dpid, rule->ports[i])) {
                return false;
            }
        }
        return true;
    case RULE_UPLINK:
    case RULE_UPLINK6:
    case RULE_REST:
    case RULE_REST6:
        return port_is_back(c, dpid, rule->port);
    default:
        return true;
    }
}

/* Goes on where it stopped the last time: there may be millions of rules. */
static bool
switch_is_explained(const struct controller *c, struct managed_switch *sw)
{
    const struct rule *rule;

    if (!sw->put || sw->put->state == PUT_READING) {
        return false;
    }
    if (sw->put->state == PUT_STANDBY) {
        return true; /* Its rules are not ours to withdraw. */
    }
    for (size_t next = sw->hold_position;
         (rule = rule_table_next(sw->put->installed, &next)) != NULL;
         sw->hold_position = next) {
        if (!rule_is_explained(c, sw->dpid, rule)) {
            return false;
        }
    }
    return true;
}

static bool
switches_are_explained(const struct controller *c)
{
    struct managed_switch *sw;

    HMAP_FOR_EACH (sw, node, &c->switches) {
        if (!switch_is_explained(c, sw)) {
            return false;
        }
    }
    return true;
}

static bool
everything_is_back(const struct controller *c)
{
    struct managed_switch *sw;

    if (!c->hold.n_read || !switches_are_explained(c)) {
        return false;
    }
    /* Once more from the beginning: what was there may have gone again. */
    HMAP_FOR_EACH (sw, node, &c->switches) {
        sw->hold_position = 0;
    }
    return switches_are_explained(c);
}

/* A switch with a million flows, or one that has no time for us, tells them
 * for longer than the hold lasts; and only then its hosts are seen again. */
static bool
may_extend(const struct controller *c, long long now)
{
    long long end = c->hold.started_at + c->config->hold_ms;

    return !c->hold.over && now >= end
           && now < end + c->config->confirm_timeout_ms;
}

static bool
still_reads(const struct controller *c)
{
    const struct managed_switch *sw;

    HMAP_FOR_EACH (sw, node, &c->switches) {
        if (sw->put && sw->put->state == PUT_READING) {
            return true;
        }
    }
    return false;
}

void
controller_hold_again(struct controller *c, long long now)
{
    struct managed_switch *sw;

    c->hold = (struct hold) {.started_at = now,
                             .until = now + c->config->hold_ms};
    HMAP_FOR_EACH (sw, node, &c->switches) {
        sw->hold_position = 0;
    }
}

void
controller_hold_read(struct controller *c, const struct put *put)
{
    if (may_extend(c, controller_now(c))) {
        c->hold.until = controller_now(c) + c->config->hold_ms;
    }
    c->hold.n_read++;
    c->hold.rules_found |= put->stats.rules_read > 0;
}

bool
controller_hold(struct controller *c, long long now)
{
    struct hold *hold = &c->hold;

    if (hold->over) {
        return false;
    }
    if (c->config->session.role == OFPCR12_ROLE_SECONDARY) {
        return true; /* Plans nothing, lest it withdraws all when promoted. */
    }
    bool nothing_to_hold = hold->n_read && !hold->rules_found;
    bool back = !nothing_to_hold && everything_is_back(c);
    if (may_extend(c, now) && now >= hold->until && still_reads(c)) {
        hold->until = now + c->config->hold_ms;
    }
    if (now < hold->until && !nothing_to_hold && !back) {
        return true;
    }
    hold->over = true;
    c->config->session.insist = false;
    openflow_server_configure(c->openflow, &c->config->session);
    hold->back = back;
    if (hold->rules_found) {
        VLOG_INFO("the hold ends after %lld ms: %s",
                  now - hold->started_at,
                  back ? "all agents and links of the switches' rules are back"
                       : "its time is over");
    }
    c->tell_all = true;
    return false;
}
