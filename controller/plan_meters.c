/* SPDX-License-Identifier: Apache-2.0 */
/* Meters follow from the ports that a switch has, whatever their state, and
 * from how many meters it has: neither from ways nor from hosts, so a port that
 * flaps changes none. */
#include "controller/plan.h"
#include "controller/plan_private.h"

#include <stdlib.h>
#include "util.h"

void
plan_remember_meters(const struct plan *plan, struct plan_switch *sw)
{
    const struct topology_switch *known = topology_switch(plan->topology,
                                                          sw->dpid);
    const struct topology_port *port;

    free(sw->metered);
    sw->metered = NULL;
    sw->n_metered = 0;
    if (!known || !rules_has_port_meters(known)) {
        return;
    }
    sw->metered = xcalloc(hmap_count(&known->ports) + 1,
                          sizeof *sw->metered);
    TOPOLOGY_FOR_EACH_PORT (port, known) {
        sw->metered[sw->n_metered++] = port->number;
    }
}

void
plan_update_meters(struct plan *plan, uint64_t dpid)
{
    const struct topology_switch *known = topology_switch(plan->topology,
                                                          dpid);
    struct plan_switch *sw = plan_find_switch(plan, dpid);
    const struct rules_config *config = &plan->rules_config;

    if (!known || !sw) {
        return;
    }
    if (sw->apart) {
        sw->stale = true;
        return;
    }
    rule_table_clear(plan->before);
    rule_table_clear(plan->after);
    for (size_t i = 0; i < sw->n_metered; i++) {
        rules_compute_port_meters(config, known->has_sal, sw->metered[i],
                                  plan->before);
    }
    rules_compute_shared_meters(config, UINT32_MAX, plan->before);
    rules_compute_meters(config, known, plan->after);
    plan_replace(sw, plan->before, plan->after);
    plan_remember_meters(plan, sw);
}
