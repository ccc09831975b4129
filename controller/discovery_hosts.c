/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts: PROBEs, plain hosts, and who has a locator. */
#include "controller/discovery_private.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include "hash.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/vlog.h"
#include "packets.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(discovery_hosts);

static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(60, 20);

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

void
discovery_destroy_hosts(struct discovery *d)
{
    struct dispute *dispute;

    HMAP_FOR_EACH_POP (dispute, node, &d->disputes) {
        free(dispute);
    }
    hmap_destroy(&d->disputes);
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

/* Those that have not been heard of for half of their time, five times until
 * they lapse. */
static void
ask_plain_hosts(struct discovery *d, long long now)
{
    const struct topology_attachment *host;

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

/* The same of endpoints, ten times.  They send PROBEs by themselves, but those
 * may get lost. */
static void
ask_endpoints(struct discovery *d, long long now)
{
    const struct topology_attachment *host;

    d->ask_at = LLONG_MAX;
    TOPOLOGY_FOR_EACH_ATTACHMENT (host, d->topology) {
        if (host->plain) {
            continue;
        }
        d->ask_at = now + MAX(1, d->config.host_timeout_ms / 20);
        if (host->deadline - now <= d->config.host_timeout_ms / 2) {
            d->ops->ask(&host->endpoint, d->aux);
            d->stats.hosts_asked++;
        }
    }
}

void
discovery_run_hosts(struct discovery *d, long long now)
{
    if (now >= d->sweep_at) {
        ask_plain_hosts(d, now);
    }
    if (now >= d->ask_at) {
        ask_endpoints(d, now);
    }
}

/* Disputes. */

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

/* PROBEs. */

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
        d->ask_at = MIN(d->ask_at, now + d->config.host_timeout_ms / 2);
        d->ops->attached(&tp, result > 0, d->aux);
    }
}

bool
discovery_take_host_probe(struct discovery *d, const struct topology_end *at,
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

/* Packets of plain hosts. */

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

/* No room for another plain host there. */
static bool
is_crowded(const struct discovery *d, const struct topology_end *at)
{
    const struct topology_port *port = topology_port(d->topology, at->dpid,
                                                     at->port);

    return d->stats.plain_hosts >= d->config.plain_max
           || (port && ovs_list_size(&port->attachments)
                       >= MAX(d->config.plain_max / 4, DISCOVERY_PLAIN_PORT));
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
    } else if (!known && is_crowded(d, at)) {
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
