/* SPDX-License-Identifier: Apache-2.0 */
/* Ports of switches: what the topology has of them.  Those that flap are taken
 * as down (flaps.h). */
#include <inttypes.h>
#include "controller/controller_private.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(controller_ports);

static bool
is_up(const struct controller *c, const struct topology_end *end)
{
    const struct topology_port *port = topology_port(c->topology, end->dpid,
                                                     end->port);
    return port && port->up;
}

static bool
take_flap(struct controller *c, const struct topology_end *end, bool up)
{
    return flaps_take(&c->flaps, end, is_up(c, end), up, controller_now(c));
}

static void
set_port(struct controller *c, uint64_t dpid, const struct switch_port *port)
{
    const struct topology_end end = {dpid, port->number};
    struct eth_addr mac;
    bool up = take_flap(c, &end, port->up);

    memcpy(mac.ea, port->mac, sizeof mac.ea);
    topology_port_set(c->topology, dpid, port->number, &mac, port->name, up,
                      port->speed / 1000);
    discovery_port(c->discovery, dpid, port->number, up, controller_now(c));
}

static void
remove_port(struct controller *c, uint64_t dpid, uint32_t number)
{
    const struct topology_end end = {dpid, number};

    take_flap(c, &end, false);
    topology_port_remove(c->topology, dpid, number);
    discovery_port_gone(c->discovery, dpid, number);
}

/* Ports that vanished while the switch was away. */
static void
remove_old_ports(struct controller *c, const struct switch_session *s)
{
    const struct topology_switch *known
        = topology_switch(c->topology, s->datapath_id);
    const struct topology_port *port;
    size_t n = 0;

    uint32_t *old = xcalloc(hmap_count(&known->ports) + 1, sizeof *old);
    TOPOLOGY_FOR_EACH_PORT (port, known) {
        if (!switch_session_port(s, port->number)) {
            old[n++] = port->number;
        }
    }
    while (n > 0) {
        remove_port(c, s->datapath_id, old[--n]);
    }
    free(old);
}

void
controller_take_ports(struct controller *c, const struct switch_session *s)
{
    const struct switch_port *port;

    remove_old_ports(c, s);
    HMAP_FOR_EACH (port, hmap_node, &s->ports) {
        set_port(c, s->datapath_id, port);
    }
}

static void
note_change(struct controller *c, const struct topology_end *end,
            const char *name, const char *what)
{
    controller_event(c, "port %s (%" PRIu32 ") of %016" PRIx64 " %s", name,
                     end->port, end->dpid, what);
}

void
controller_port_changed(struct switch_connection *connection,
                        const struct switch_port *port, bool gone, void *c_)
{
    struct controller *c = c_;
    struct managed_switch *sw = *switch_connection_user(connection);
    const struct topology_end end = {sw->dpid, port->number};
    bool was_up = is_up(c, &end);
    uint64_t n_held = c->flaps.n_held;

    c->input_us = controller_now_us();
    if (gone) {
        remove_port(c, sw->dpid, port->number);
    } else {
        set_port(c, sw->dpid, port);
    }
    bool up = is_up(c, &end);
    if (c->flaps.n_held != n_held) {
        note_change(c, &end, port->name,
                    "flaps: it is taken as down until it is stable");
    } else if (was_up != up) {
        note_change(c, &end, port->name,
                    gone ? "is gone" : up ? "is up" : "is down");
    }
    if (up && !was_up) {
        controller_ask_for_probes(c);
    }
}

void
controller_release_ports(struct controller *c, long long now)
{
    struct topology_end end;

    while (flaps_release(&c->flaps, now, &end)) {
        const struct managed_switch *sw = controller_switch(c, end.dpid);
        const struct switch_port *port
            = sw && sw->connection
              ? switch_session_port(switch_connection_session(sw->connection),
                                    end.port) : NULL;
        if (port && port->up) {
            set_port(c, end.dpid, port);
            note_change(c, &end, port->name, "is up, and stable");
            controller_ask_for_probes(c);
        }
    }
}
