/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/discovery.h"
#include "controller/discovery_private.h"

#include <limits.h>
#include "hash.h"
#include "util.h"

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
    d->sweep_at = d->ask_at = LLONG_MAX;
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
    if (d) {
        discovery_destroy_links(d);
        discovery_destroy_hosts(d);
        fair_limit_destroy(&d->resets);
        free(d);
    }
}

void
discovery_run(struct discovery *d, long long now)
{
    discovery_run_hosts(d, now);
    discovery_run_links(d, now);
}

long long
discovery_wakeup(const struct discovery *d)
{
    return MIN(d->next_due, MIN(d->sweep_at, d->ask_at));
}

/* SYNs that nobody serves. */

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
    } else if (!fair_limit_take(&d->resets, hash_uint64_basis(at->dpid,
                                                              at->port),
                                d->config.reset_pps, now)) {
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
    if (!discovery_take_link_probe(d, at, frame, len, now)
        && !discovery_take_host_probe(d, at, frame, len, now)) {
        answer_reset(d, at, frame, len, now);
    }
}

const struct discovery_stats *
discovery_stats(const struct discovery *d)
{
    return &d->stats;
}
