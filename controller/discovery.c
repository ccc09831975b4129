/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/discovery.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include "controller/latency.h"
#include "flow.h"
#include "hash.h"
#include "openflow/openflow.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(discovery);

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

/* A locator that another endpoint claims than the one that has it. */
struct dispute {
    struct hmap_node node; /* By locator. */
    struct in6_addr locator;
    struct endpoint_id claimant;
    uint64_t session;      /* Of the last PROBE of who has it. */
    uint32_t seq;
    long long since;
};

/* Disputes there may be at a time, and how long one is remembered. */
#define DISPUTES_MAX 1024
#define DISPUTE_FORGET_MS 60000

/* The way to a switch and back. */
struct probed_switch {
    struct hmap_node node; /* By datapath ID. */
    uint64_t dpid;
    struct latency round_trip;
    long long due;
};

struct discovery {
    struct discovery_config config;
    const struct discovery_ops *ops;
    void *aux;
    struct topology *topology;
    struct hmap ports;
    struct hmap switches; /* struct probed_switch. */
    struct hmap disputes; /* struct dispute. */
    struct discovery_stats stats;
    long long next_due; /* Not later than the earliest 'due'. */
    long long sweep_at; /* Plain hosts are looked at next. */
    /* Token bucket of RESETs, in thousandths of a packet. */
    uint64_t tokens;
    long long tokens_at;
};

struct discovery *
discovery_create(const struct discovery_config *config,
                 const struct discovery_ops *ops, void *aux,
                 struct topology *topology)
{
    struct discovery *d = xzalloc(sizeof *d);

    d->config = *config;
    d->ops = ops;
    d->aux = aux;
    d->topology = topology;
    d->next_due = LLONG_MAX;
    d->sweep_at = LLONG_MAX;
    d->tokens = config->reset_pps * 1000ULL;
    hmap_init(&d->ports);
    hmap_init(&d->switches);
    hmap_init(&d->disputes);
    return d;
}

void
discovery_configure(struct discovery *d,
                    const struct discovery_config *config)
{
    d->config.link_probe_interval_ms = config->link_probe_interval_ms;
    d->config.link_timeout_ms = config->link_timeout_ms;
    d->config.host_timeout_ms = config->host_timeout_ms;
    d->config.reset_pps = config->reset_pps;
    d->config.plain_timeout_ms = config->plain_timeout_ms;
    d->config.plain_max = config->plain_max;
}

void
discovery_destroy(struct discovery *d)
{
    struct probed_port *port;

    if (d) {
        HMAP_FOR_EACH_POP (port, node, &d->ports) {
            free(port);
        }
        hmap_destroy(&d->ports);
        struct probed_switch *sw;
        HMAP_FOR_EACH_POP (sw, node, &d->switches) {
            free(sw);
        }
        hmap_destroy(&d->switches);
        struct dispute *dispute;
        HMAP_FOR_EACH_POP (dispute, node, &d->disputes) {
            free(dispute);
        }
        hmap_destroy(&d->disputes);
        free(d);
    }
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

/* Sending link probes. */

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

/* Plain hosts. */

void
discovery_ask_plain(struct discovery *d, const struct topology_end *at,
                    const struct eth_addr *mac,
                    const struct in6_addr *address)
{
    uint8_t frame[PACKET_BUFFER_LEN];

    if (d->config.plain_timeout_ms) {
        size_t len = packet_build_question(&d->config.mac, mac, address,
                                           frame);
        d->ops->send(at->dpid, 0, at->port, frame, len, d->aux);
        d->stats.plain_asked++;
    }
}

/* Asks those that have not been heard of for half of their time, five times
 * until they lapse. */
static void
sweep(struct discovery *d, long long now)
{
    const struct topology_attachment *host;

    if (now < d->sweep_at) {
        return;
    }
    d->stats.plain_hosts = 0;
    TOPOLOGY_FOR_EACH_ATTACHMENT (host, d->topology) {
        d->stats.plain_hosts += host->plain;
        if (host->plain
            && host->deadline - now <= d->config.plain_timeout_ms / 2) {
            const struct topology_end at = {host->dpid, host->port};
            discovery_ask_plain(d, &at, &host->mac, &host->locator);
        }
    }
    d->sweep_at = d->stats.plain_hosts
                  ? now + MAX(1, d->config.plain_timeout_ms / 10) : LLONG_MAX;
}

void
discovery_run(struct discovery *d, long long now)
{
    struct probed_port *port;

    sweep(d, now);
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

long long
discovery_wakeup(const struct discovery *d)
{
    return MIN(d->next_due, d->sweep_at);
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

static bool
handle_link_probe(struct discovery *d, const struct topology_end *at,
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

static void
count_attach_error(struct discovery *d, const struct topology_probe *tp,
                   int error)
{
    char id[ENDPOINT_ID_STRLEN];

    if (error == -ESTALE) {
        d->stats.host_probes_stale++;
        return;
    }
    d->stats.host_probes_refused++;
    VLOG_WARN_RL(&rl, "%016" PRIx64 " port %" PRIu32 ": PROBE of %s refused: "
                 "%s", tp->at.dpid, tp->at.port,
                 endpoint_id_format(&tp->endpoint, id),
                 error == -EBUSY ? "the port has a link to a switch"
                 : error == -EADDRINUSE
                     ? "another endpoint has this locator"
                     : ovs_strerror(-error));
}

static uint32_t
hash_locator(const struct in6_addr *locator)
{
    return hash_bytes(locator, sizeof *locator, 0);
}

static struct dispute *
find_dispute(struct discovery *d, const struct in6_addr *locator)
{
    struct dispute *dispute;

    HMAP_FOR_EACH_WITH_HASH (dispute, node, hash_locator(locator),
                             &d->disputes) {
        if (ipv6_addr_equals(&dispute->locator, locator)) {
            return dispute;
        }
    }
    return NULL;
}

static void
end_dispute(struct discovery *d, struct dispute *dispute)
{
    if (dispute) {
        hmap_remove(&d->disputes, &dispute->node);
        free(dispute);
    }
}

static void
forget_disputes(struct discovery *d, long long now)
{
    struct dispute *dispute;

    HMAP_FOR_EACH_SAFE (dispute, node, &d->disputes) {
        if (now - dispute->since > DISPUTE_FORGET_MS) {
            end_dispute(d, dispute);
        }
    }
}

static void
begin_dispute(struct discovery *d, const struct topology_probe *claim,
              const struct topology_attachment *holder, long long now)
{
    if (hmap_count(&d->disputes) >= DISPUTES_MAX) {
        forget_disputes(d, now);
    }
    if (hmap_count(&d->disputes) < DISPUTES_MAX) {
        struct dispute *dispute = xzalloc(sizeof *dispute);
        dispute->locator = claim->locator;
        dispute->claimant = claim->endpoint;
        dispute->session = holder->session;
        dispute->seq = holder->seq;
        dispute->since = now;
        hmap_insert(&d->disputes, &dispute->node,
                    hash_locator(&claim->locator));
    }
    if (holder->plain) {
        const struct topology_end at = {holder->dpid, holder->port};
        discovery_ask_plain(d, &at, &holder->mac, &holder->locator);
    } else {
        d->ops->ask(&holder->endpoint, d->aux);
    }
}

/* Another endpoint has the locator.  True if it is there no more, and makes
 * place. */
static bool
supersede(struct discovery *d, const struct topology_probe *claim,
          long long now)
{
    const struct topology_attachment *holder
        = topology_attachment(d->topology, &claim->locator);
    struct dispute *dispute = find_dispute(d, &claim->locator);
    bool same_machine = holder->dpid == claim->at.dpid
                        && holder->port == claim->at.port
                        && eth_addr_equals(holder->mac, claim->mac);

    if (dispute && (!endpoint_id_equal(&dispute->claimant, &claim->endpoint)
                    || dispute->session != holder->session
                    || dispute->seq != holder->seq)) {
        end_dispute(d, dispute); /* It has answered, or somebody else asks. */
        dispute = NULL;
    }
    if (!same_machine && !dispute) {
        begin_dispute(d, claim, holder, now);
        return false;
    }
    if (!same_machine && now - dispute->since < DISCOVERY_DISPUTE_MS) {
        return false;
    }
    char old[ENDPOINT_ID_STRLEN], new[ENDPOINT_ID_STRLEN];
    VLOG_INFO_RL(&rl, "%016" PRIx64 " port %" PRIu32 ": %s takes the locator "
                 "of %s, which does not answer", claim->at.dpid,
                 claim->at.port, endpoint_id_format(&claim->endpoint, new),
                 endpoint_id_format(&holder->endpoint, old));
    end_dispute(d, dispute);
    topology_detach(d->topology, &claim->locator);
    d->stats.hosts_superseded++;
    return true;
}

static void
take_host_probe(struct discovery *d, const struct topology_end *at,
                const struct packet_probe *probe, uint64_t session,
                long long now)
{
    struct topology_probe tp = {
        .endpoint = probe->endpoint,
        .locator = probe->locator,
        .mac = probe->mac,
        .at = *at,
        .nat = probe->nat,
        .session = session,
        .seq = probe->seq,
    };
    long long deadline = now + d->config.host_timeout_ms;
    int result = topology_attach(d->topology, &tp, deadline);

    if (result == -EADDRINUSE && supersede(d, &tp, now)) {
        result = topology_attach(d->topology, &tp, deadline);
    }

    if (result < 0) {
        count_attach_error(d, &tp, result);
    } else {
        d->stats.host_probes_seen++;
        d->ops->attached(&tp, result > 0, d->aux);
    }
}

static bool
handle_host_probe(struct discovery *d, const struct topology_end *at,
                  const void *frame, size_t len, long long now)
{
    struct packet_probe probe;
    int error = packet_parse_probe(frame, len, d->config.sal_port, &probe);

    if (error == -ENOMSG) {
        return false;
    }
    if (error) {
        d->stats.unrecognised++;
        VLOG_WARN_RL(&rl, "%016" PRIx64 " port %" PRIu32 ": malformed PROBE",
                     at->dpid, at->port);
        return true;
    }

    uint64_t session;
    const uint8_t *key = d->ops->session_key(&probe.endpoint, &session,
                                             d->aux);
    if (!key) {
        d->stats.host_probes_unknown++;
        VLOG_DBG_RL(&rl, "%016" PRIx64 " port %" PRIu32 ": PROBE of an "
                    "endpoint without a session", at->dpid, at->port);
    } else if (!packet_probe_verify(&probe, key)) {
        d->stats.host_probes_forged++;
        VLOG_WARN_RL(&rl, "%016" PRIx64 " port %" PRIu32 ": PROBE with a "
                     "wrong MAC", at->dpid, at->port);
    } else {
        take_host_probe(d, at, &probe, session, now);
    }
    return true;
}

static void
count_plain_error(struct discovery *d, const struct topology_end *at,
                  const struct in6_addr *address, int error)
{
    struct ds ds = DS_EMPTY_INITIALIZER;

    d->stats.plain_refused++;
    ipv6_format_mapped(address, &ds);
    VLOG_WARN_RL(&rl, "%016" PRIx64 " port %" PRIu32 ": a host that claims "
                 "%s is refused: %s", at->dpid, at->port, ds_cstr(&ds),
                 error == -EPERM ? "an endpoint has this address"
                 : error == -EADDRINUSE
                     ? "another host has it, and answers"
                 : error == -EACCES ? "it is reserved"
                 : error == -ENOSPC ? "there are too many hosts already"
                                    : ovs_strerror(-error));
    ds_destroy(&ds);
}

void
discovery_learn(struct discovery *d, const struct topology_end *at,
                const void *frame, size_t len, long long now)
{
    struct topology_probe seen = {.at = *at};
    int error = packet_parse_sender(frame, len, &seen.mac, &seen.locator);

    if (error || !d->config.plain_timeout_ms) {
        d->stats.unrecognised += error != -ENOMSG;
        return;
    }
    long long deadline = now + d->config.plain_timeout_ms;
    bool known = topology_attachment(d->topology, &seen.locator);
    if (eth_addr_equals(seen.mac, d->config.mac)
        || d->config.is_reserved(&seen.locator, d->config.reserved_aux)) {
        error = -EACCES;
    } else if (d->stats.plain_hosts >= d->config.plain_max && !known) {
        error = -ENOSPC;
    } else {
        error = topology_learn(d->topology, &seen, deadline);
        if (error == -EADDRINUSE && supersede(d, &seen, now)) {
            error = topology_learn(d->topology, &seen, deadline);
        }
    }
    if (error < 0) {
        count_plain_error(d, at, &seen.locator, error);
        return;
    }
    d->stats.plain_seen++;
    d->stats.plain_hosts += !known;
    d->sweep_at = MIN(d->sweep_at, now + d->config.plain_timeout_ms / 10);
}

static bool
take_token(struct discovery *d, long long now)
{
    uint64_t limit = d->config.reset_pps * 1000ULL;
    uint64_t elapsed = MIN(now - d->tokens_at, 1000);

    d->tokens = MIN(d->tokens + elapsed * d->config.reset_pps, limit);
    d->tokens_at = now;
    if (d->tokens < 1000) {
        return false;
    }
    d->tokens -= 1000;
    return true;
}

static void
answer_reset(struct discovery *d, const struct topology_end *at,
             const void *frame, size_t len, long long now)
{
    struct sal_service_header header;
    uint8_t buf[PACKET_BUFFER_LEN];
    struct in6_addr source;
    size_t reset_len;

    if (d->ops->forward(at, frame, len, d->aux)) {
        d->stats.forwarded++;
    } else if (!packet_parse_service(frame, len, d->config.sal_port, &header,
                                     &source)
        && d->ops->resolves_soon(at, &header, d->aux)) {
        d->stats.left_to_retry++;
    } else if (packet_build_reset(frame, len, d->config.sal_port, buf,
                                  &reset_len)) {
        d->stats.unrecognised++;
    } else if (!take_token(d, now)) {
        d->stats.resets_limited++;
    } else {
        d->stats.resets_sent++;
        d->ops->send(at->dpid, at->port, at->port, buf, reset_len, d->aux);
    }
}

void
discovery_packet_in(struct discovery *d, const struct topology_end *at,
                    const void *frame, size_t len, long long now)
{
    if (!handle_link_probe(d, at, frame, len, now)
        && !handle_host_probe(d, at, frame, len, now)) {
        answer_reset(d, at, frame, len, now);
    }
}

const struct discovery_stats *
discovery_stats(const struct discovery *d)
{
    return &d->stats;
}
