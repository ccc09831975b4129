/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/fair_limit.h"

#include <stdlib.h>
#include <string.h>
#include "hash.h"
#include "util.h"

#define WINDOW_MS 1000
#define SLOTS_MIN 16

/* Free while 'n' is 0. */
struct fair_limit_port {
    uint32_t port;
    uint32_t n; /* Packets in this second. */
};

void
fair_limit_destroy(struct fair_limit *limit)
{
    free(limit->slots);
    memset(limit, 0, sizeof *limit);
}

static struct fair_limit_port *
find(const struct fair_limit *limit, uint32_t port)
{
    size_t i = hash_int(port, 0) & (limit->n_slots - 1);

    while (limit->slots[i].n && limit->slots[i].port != port) {
        i = (i + 1) & (limit->n_slots - 1);
    }
    return &limit->slots[i];
}

static void
grow(struct fair_limit *limit)
{
    struct fair_limit old = *limit;

    limit->n_slots = MAX(SLOTS_MIN, 2 * old.n_slots);
    limit->slots = xcalloc(limit->n_slots, sizeof *limit->slots);
    for (size_t i = 0; i < old.n_slots; i++) {
        if (old.slots[i].n) {
            *find(limit, old.slots[i].port) = old.slots[i];
        }
    }
    free(old.slots);
}

/* Forgets what was counted, and memory that few ports do not need. */
static void
begin(struct fair_limit *limit, long long now)
{
    size_t n = now - limit->since < 2 * WINDOW_MS ? limit->n_ports : 0;

    if (limit->n_slots > SLOTS_MIN && limit->n_ports < limit->n_slots / 8) {
        fair_limit_destroy(limit);
    }
    if (limit->n_ports) {
        memset(limit->slots, 0, limit->n_slots * sizeof *limit->slots);
    }
    limit->n_before = n;
    limit->n_ports = 0;
    limit->n_taken = 0;
    limit->since = now;
}

/* How many of the port's packets have come, with this one. */
static uint32_t
count(struct fair_limit *limit, uint32_t port)
{
    if (2 * limit->n_ports >= limit->n_slots) {
        grow(limit);
    }
    struct fair_limit_port *found = find(limit, port);
    if (!found->n) {
        if (limit->n_ports >= FAIR_LIMIT_PORTS_MAX) {
            return UINT32_MAX;
        }
        found->port = port;
        limit->n_ports++;
    }
    if (found->n < UINT32_MAX) {
        found->n++;
    }
    return found->n;
}

bool
fair_limit_take(struct fair_limit *limit, uint32_t port, uint32_t pps,
                long long now)
{
    if (now - limit->since >= WINDOW_MS || now < limit->since) {
        begin(limit, now);
    }
    uint32_t n = count(limit, port);
    size_t sharers = MAX(limit->n_ports, limit->n_before);
    if (limit->n_taken >= pps && n > MAX(1, pps / sharers)) {
        return false;
    }
    limit->n_taken++;
    return true;
}
