/* SPDX-License-Identifier: Apache-2.0 */
/* Several controllers, one of which writes: roles of OpenFlow 1.3 and later.
 *
 * Generation IDs are milliseconds of the wall clock, so whoever became master
 * last wins, and who was master before learns it (ROLE_STATUS, or an error)
 * and stands by.  Nobody takes the role back by himself: two would take it
 * from each other for ever.  But who has just started is the last one, even if
 * his clock says otherwise: until his hold is over he insists. */
#include "controller/controller_private.h"
#include "openvswitch/vlog.h"
#include "timeval.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(controller_role);

/* Above all that was seen, even if our clock is slow. */
static uint64_t
next_generation(const struct controller *c)
{
    uint64_t generation = MAX(time_wall_msec(),
                              c->config->session.generation_id + 1);
    const struct managed_switch *sw;

    HMAP_FOR_EACH (sw, node, &c->switches) {
        if (sw->connection) {
            uint64_t seen
                = switch_connection_session(sw->connection)->generation_seen;
            generation = MAX(generation, seen + 1);
        }
    }
    return generation;
}

static bool
stands_by_somewhere(const struct controller *c)
{
    const struct managed_switch *sw;

    HMAP_FOR_EACH (sw, node, &c->switches) {
        if (sw->put && sw->put->state == PUT_STANDBY) {
            return true;
        }
    }
    return false;
}

void
controller_set_role(struct controller *c, enum ofp12_controller_role role)
{
    struct switch_session_config *session = &c->config->session;

    if (role != OFPCR12_ROLE_SECONDARY
        && (session->role == OFPCR12_ROLE_SECONDARY
            || stands_by_somewhere(c))) {
        /* Others know what the switches hold; we must learn it again. */
        controller_hold_again(c, controller_now(c));
    }
    session->role = role;
    session->generation_id = next_generation(c);
    openflow_server_configure(c->openflow, session);
    VLOG_INFO("role: %s", switch_session_role_string(role));
    controller_event(c, "asks all switches for the role %s",
                     switch_session_role_string(role));
}

void
controller_note_generation(struct controller *c,
                           const struct switch_session *session)
{
    struct switch_session_config *config = &c->config->session;

    if (session->role == OFPCR12_ROLE_PRIMARY
        && config->role == OFPCR12_ROLE_PRIMARY
        && session->config.generation_id > config->generation_id) {
        config->generation_id = session->config.generation_id;
        openflow_server_configure(c->openflow, config);
    }
}
