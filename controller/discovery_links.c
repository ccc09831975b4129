/* SPDX-License-Identifier: Apache-2.0 */
/* Links and their latencies: sends link probes, takes them in. */
#include "controller/discovery_private.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include "controller/latency.h"
#include "flow.h"
#include "hash.h"
#include "openflow/openflow.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(discovery_links);

static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(60, 20);

/* First delay between the probes of a port without a link; doubles. */
#define FIRST_DELAY_MS 50

struct probed_port {
    struct hmap_node node; /* By datapath ID and number. */
    struct topology_end end;
    long long due;
    uint32_t delay;
    bool up;
    struct latency latency;     /* Of what arrives here, from */
    struct topology_end sender; /* there. */
};

/* The way to a switch and back. */
struct probed_switch {
    struct hmap_node node; /* By datapath ID. */
    uint64_t dpid;
    struct latency round_trip;
    long long due;
};

void
discovery_destroy_links(struct discovery *d)
{
    struct probed_port *port;
    struct probed_switch *sw;

    HMAP_FOR_EACH_POP (port, node, &d->ports) {
        free(port);
    }
    hmap_destroy(&d->ports);
    HMAP_FOR_EACH_POP (sw, node, &d->switches) {
        free(sw);
    }
    hmap_destroy(&d->switches);
}

/* Switches. */

static struct probed_switch *
find_switch(const struct discovery *d, uint64_t dpid)
{
    struct probed_switch *sw;

    HMAP_FOR_EACH_WITH_HASH (sw, node, hash_uint64(dpid), &d->switches) {
        if (sw->dpid == dpid) {
            return sw;
        }
    }
    return NULL;
}

static struct probed_switch *
get_switch(struct discovery *d, uint64_t dpid)
{
    struct probed_switch *sw = find_switch(d, dpid);

    if (!sw) {
        sw = xzalloc(sizeof *sw);
        sw->dpid = dpid;
        hmap_insert(&d->switches, &sw->node, hash_uint64(dpid));
    }
    return sw;
}

/* Ports. */

static uint32_t
hash_end(uint64_t dpid, uint32_t port)
{
    return hash_uint64_basis(dpid, port);
}

static struct probed_port *
find_port(const struct discovery *d, uint64_t dpid, uint32_t number)
{
    struct probed_port *port;

    HMAP_FOR_EACH_WITH_HASH (port, node, hash_end(dpid, number), &d->ports) {
        if (port->end.dpid == dpid && port->end.port == number) {
            return port;
        }
    }
    return NULL;
}

static void
hurry(struct discovery *d, struct probed_port *port, long long now)
{
    port->due = now;
    port->delay = FIRST_DELAY_MS;
    d->next_due = MIN(d->next_due, now);
}

void
discovery_port(struct discovery *d, uint64_t dpid, uint32_t number, bool up,
               long long now)
{
    struct probed_port *port = find_port(d, dpid, number);

    if (!port) {
        port = xzalloc(sizeof *port);
        port->end.dpid = dpid;
        port->end.port = number;
        hmap_insert(&d->ports, &port->node, hash_end(dpid, number));
    }
    if (up && !port->up) {
        hurry(d, port, now);
    }
    port->up = up;
}

static void
remove_port(struct discovery *d, struct probed_port *port)
{
    hmap_remove(&d->ports, &port->node);
    free(port);
}

void
discovery_port_gone(struct discovery *d, uint64_t dpid, uint32_t number)
{
    struct probed_port *port = find_port(d, dpid, number);

    if (port) {
        remove_port(d, port);
    }
}

void
discovery_switch_gone(struct discovery *d, uint64_t dpid)
{
    struct probed_port *port;

    HMAP_FOR_EACH_SAFE (port, node, &d->ports) {
        if (port->end.dpid == dpid) {
            remove_port(d, port);
        }
    }
    struct probed_switch *sw = find_switch(d, dpid);
    if (sw) {
        hmap_remove(&d->switches, &sw->node);
        free(sw);
    }
}

/* Both ends have heard each other.  To have heard is not enough: our own probe
 * may have been lost before the far switch handed in probes. */
static bool
has_link(const struct discovery *d, const struct topology_end *end)
{
    const struct topology_switch *sw = topology_switch(d->topology,
                                                       end->dpid);
    const struct topology_port *port
        = topology_port(d->topology, end->dpid, end->port);
    struct topology_end far;

    return sw && port && topology_port_link(d->topology, sw, port, &far);
}

void
discovery_switch_ready(struct discovery *d, uint64_t dpid, long long now)
{
    struct probed_port *port;

    /* Any port may lead there; those with a link need not hurry. */
    HMAP_FOR_EACH (port, node, &d->ports) {
        if (port->up && !has_link(d, &port->end)) {
            hurry(d, port, now);
        }
    }
}

/* Sending. */

static long long
clock_us(const struct discovery *d, long long now)
{
    return d->ops->now_us ? d->ops->now_us(d->aux) : now * 1000;
}

/* To the switch and straight back: what of a link probe's time is not the
 * link's. */
static void
probe_switch(struct discovery *d, uint64_t dpid, long long now)
{
    static const struct eth_addr nobody;
    struct probed_switch *sw = get_switch(d, dpid);
    struct packet_link_probe probe
        = {.from = {dpid, ofp_to_u16(OFPP_CONTROLLER)}};
    uint8_t frame[PACKET_BUFFER_LEN];

    if (!d->ops->now_us || now < sw->due) {
        return;
    }
    sw->due = now + d->config.link_probe_interval_ms;
    probe.stamp = clock_us(d, now);
    size_t len = packet_build_link_probe(d->config.link_key, &probe, &nobody,
                                         frame);
    d->ops->send(dpid, 0, probe.from.port, frame, len, d->aux);
}

static void
send_probe(struct discovery *d, struct probed_port *port, long long now)
{
    const struct topology_port *tp
        = topology_port(d->topology, port->end.dpid, port->end.port);
    struct packet_link_probe probe = {.from = port->end};
    uint8_t frame[PACKET_BUFFER_LEN];

    if (!tp) {
        return;
    }
    probe_switch(d, port->end.dpid, now);
    probe.stamp = clock_us(d, now);
    size_t len = packet_build_link_probe(d->config.link_key, &probe, &tp->mac,
                                         frame);
    d->ops->send(port->end.dpid, 0, port->end.port, frame, len, d->aux);
    d->stats.link_probes_sent++;
}

static void
schedule_next(struct discovery *d, struct probed_port *port, long long now)
{
    uint32_t interval = d->config.link_probe_interval_ms;

    if (has_link(d, &port->end)) {
        port->delay = interval;
    }
    port->due = now + MIN(port->delay, interval);
    port->delay = MIN(2 * port->delay, interval);
}

void
discovery_run_links(struct discovery *d, long long now)
{
    struct probed_port *port;

    if (now < d->next_due) {
        return;
    }
    d->next_due = LLONG_MAX;
    HMAP_FOR_EACH (port, node, &d->ports) {
        if (!port->up) {
            continue;
        }
        if (now >= port->due) {
            send_probe(d, port, now);
            schedule_next(d, port, now);
        }
        d->next_due = MIN(d->next_due, port->due);
    }
}

/* Receiving. */

static void
measure(struct discovery *d, const struct topology_end *at,
        const struct packet_link_probe *probe, long long age_us)
{
    const struct probed_switch *near = find_switch(d, at->dpid);
    const struct probed_switch *far = find_switch(d, probe->from.dpid);
    struct probed_port *port = find_port(d, at->dpid, at->port);

    if (!d->ops->now_us || !near || !far || !near->round_trip.n
        || !far->round_trip.n || !port) {
        return;
    }
    if (port->sender.dpid != probe->from.dpid
        || port->sender.port != probe->from.port) {
        memset(&port->latency, 0, sizeof port->latency);
        port->sender = probe->from;
    }
    long long rest = ((long long) latency_least(&near->round_trip)
                      + latency_least(&far->round_trip)) / 2;
    if (latency_add(&port->latency, MAX(age_us - rest, 0))) {
        d->stats.latencies_changed++;
    }
    /* Each time: a link that has been away is a new one to the topology. */
    if (port->latency.value) {
        topology_link_set_latency(d->topology, &probe->from,
                                  port->latency.value);
    }
}

static void
take_link_probe(struct discovery *d, const struct topology_end *at,
                const struct packet_link_probe *probe, long long now)
{
    long long age = clock_us(d, now) - (long long) probe->stamp;

    if (age < 0 || age > d->config.link_timeout_ms * 1000LL) {
        d->stats.link_probes_late++; /* Or recorded and played back. */
        return;
    }
    if (probe->from.port == ofp_to_u16(OFPP_CONTROLLER)) {
        if (probe->from.dpid == at->dpid) {
            latency_add(&get_switch(d, at->dpid)->round_trip, age);
        }
        return;
    }
    if (topology_link_seen(d->topology, &probe->from, at,
                           now + d->config.link_timeout_ms)) {
        return;
    }
    d->stats.link_probes_seen++;
    measure(d, at, probe, age);

    struct probed_port *port = find_port(d, at->dpid, at->port);
    if (port && port->up && !has_link(d, at)) {
        hurry(d, port, now);
    }
}

void
discovery_keep_links(struct discovery *d, uint64_t dpid, long long now)
{
    const struct topology_switch *sw = topology_switch(d->topology, dpid);
    long long deadline = now + d->config.link_timeout_ms;
    const struct topology_port *port;

    if (!sw) {
        return;
    }
    TOPOLOGY_FOR_EACH_PORT (port, sw) {
        struct topology_end near = {dpid, port->number};
        struct topology_end far = {port->peer_dpid, port->peer_port};
        const struct topology_port *other
            = topology_port(d->topology, far.dpid, far.port);

        if (other && port->link_deadline < deadline) {
            topology_link_seen(d->topology, &far, &near, deadline);
            if (other->peer_dpid == dpid && other->peer_port == near.port) {
                topology_link_seen(d->topology, &near, &far, deadline);
            }
        }
    }
}

bool
discovery_take_link_probe(struct discovery *d, const struct topology_end *at,
                          const void *frame, size_t len, long long now)
{
    struct packet_link_probe probe;
    int error = packet_parse_link_probe(d->config.link_key, frame, len,
                                        &probe);

    if (error == -ENOMSG) {
        return false;
    }
    if (error) {
        d->stats.link_probes_forged++;
        VLOG_WARN_RL(&rl, "%016" PRIx64 " port %" PRIu32 ": a link probe "
                     "that is not ours: %s", at->dpid, at->port,
                     ovs_strerror(-error));
    } else {
        take_link_probe(d, at, &probe, now);
    }
    return true;
}
