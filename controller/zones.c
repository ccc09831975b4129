/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/zones.h"

#include <stdlib.h>
#include <string.h>
#include "controller/paths.h"
#include "controller/registry.h"
#include "controller/topology.h"
#include "openvswitch/util.h"
#include "util.h"

struct zones {
    char (*names)[REGISTRY_NAME_MAX + 1]; /* By index of switch. */
    uint32_t n;
};

/* What one attached endpoint says. */
struct vote {
    uint32_t index;
    const char *zone;
};

static int
compare_votes(const void *a_, const void *b_)
{
    const struct vote *a = a_, *b = b_;
    if (a->index != b->index) {
        return a->index < b->index ? -1 : 1;
    }
    return strcmp(a->zone, b->zone);
}

static size_t
collect_votes(const struct registry *registry, const struct topology *topology,
              const struct paths *paths, struct vote votes[])
{
    const struct topology_attachment *host;
    size_t n = 0;

    TOPOLOGY_FOR_EACH_ATTACHMENT (host, topology) {
        const struct registry_endpoint *endpoint
            = registry_endpoint(registry, &host->endpoint);
        uint32_t at = paths_index(paths, host->dpid);
        if (endpoint && endpoint->zone[0] && at != PATHS_NO_SWITCH) {
            uint32_t sal = paths_nearest_sal(paths, at);
            if (sal != PATHS_NO_SWITCH) {
                votes[n++] = (struct vote) {sal, endpoint->zone};
            }
        }
    }
    if (n) {
        qsort(votes, n, sizeof *votes, compare_votes);
    }
    return n;
}

struct zones *
zones_compute(const struct registry *registry,
              const struct topology *topology, const struct paths *paths)
{
    struct zones *zones = xzalloc(sizeof *zones);
    struct vote *votes = xmalloc((hmap_count(topology_attachments(topology))
                                  + 1) * sizeof *votes);
    size_t n = collect_votes(registry, topology, paths, votes);

    zones->n = paths_n_switches(paths);
    zones->names = xcalloc(zones->n + 1, sizeof *zones->names);
    /* Runs of equal votes; the longest of a switch wins, then the first in
     * the order of names. */
    for (size_t i = 0, end, most = 0; i < n; i = end) {
        for (end = i + 1; end < n && !compare_votes(&votes[i], &votes[end]);
             end++) {
            continue;
        }
        if (!i || votes[i - 1].index != votes[i].index) {
            most = 0;
        }
        if (end - i > most) {
            most = end - i;
            ovs_strlcpy(zones->names[votes[i].index], votes[i].zone,
                        sizeof zones->names[0]);
        }
    }
    free(votes);
    return zones;
}

void
zones_destroy(struct zones *zones)
{
    if (zones) {
        free(zones->names);
        free(zones);
    }
}

const char *
zones_of(const struct zones *zones, uint32_t index)
{
    return index < zones->n ? zones->names[index] : "";
}

bool
zones_equal(const struct zones *a, const struct zones *b)
{
    return a->n == b->n
           && !memcmp(a->names, b->names, a->n * sizeof *a->names);
}
