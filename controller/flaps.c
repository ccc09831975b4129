/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/flaps.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include "hash.h"
#include "util.h"

struct flap {
    struct hmap_node node; /* By port. */
    struct topology_end port;
    double points;         /* At */
    long long at;          /* this time. */
    bool up;               /* What the switch says. */
    bool held;
};

/* With fewer points a port is as good as new. */
#define FORGET 0.5

void
flaps_init(struct flaps *flaps, uint32_t hold_ms)
{
    flaps->hold_ms = hold_ms;
    hmap_init(&flaps->ports);
    flaps->next_at = LLONG_MAX;
    flaps->n_held = 0;
}

static void
forget(struct flaps *flaps, struct flap *flap)
{
    hmap_remove(&flaps->ports, &flap->node);
    free(flap);
}

void
flaps_forget_switch(struct flaps *flaps, uint64_t dpid)
{
    struct flap *flap;

    HMAP_FOR_EACH_SAFE (flap, node, &flaps->ports) {
        if (flap->port.dpid == dpid) {
            forget(flaps, flap);
        }
    }
}

void
flaps_destroy(struct flaps *flaps)
{
    struct flap *flap;

    HMAP_FOR_EACH_SAFE (flap, node, &flaps->ports) {
        forget(flaps, flap);
    }
    hmap_destroy(&flaps->ports);
}

static uint32_t
hash_port(const struct topology_end *port)
{
    return hash_uint64_basis(port->dpid, port->port);
}

static struct flap *
find(const struct flaps *flaps, const struct topology_end *port)
{
    struct flap *flap;

    HMAP_FOR_EACH_WITH_HASH (flap, node, hash_port(port), &flaps->ports) {
        if (flap->port.dpid == port->dpid && flap->port.port == port->port) {
            return flap;
        }
    }
    return NULL;
}

/* In milliseconds. */
static double
half_life(const struct flaps *flaps)
{
    return MAX(flaps->hold_ms, 1) / log2((double) FLAPS_MAX / FLAPS_RELEASE);
}

static void
decay(const struct flaps *flaps, struct flap *flap, long long now)
{
    if (now > flap->at) {
        flap->points *= exp2(-(now - flap->at) / half_life(flaps));
        flap->at = now;
    }
}

/* When it will have no more than so many points. */
static long long
when(const struct flaps *flaps, const struct flap *flap, double points)
{
    double halvings = log2(flap->points / points);

    return flap->at + (long long) ceil(MAX(halvings, 0)
                                       * half_life(flaps));
}

/* Not to be missed by a rounding error when its time has come. */
static bool
is_stable(const struct flap *flap)
{
    return flap->points < FLAPS_RELEASE + 0.01;
}

static void
look_again(struct flaps *flaps, const struct flap *flap)
{
    long long at = when(flaps, flap,
                        flap->held && flap->up ? FLAPS_RELEASE : FORGET);

    flaps->next_at = MIN(flaps->next_at, at);
}

static struct flap *
create(struct flaps *flaps, const struct topology_end *port, long long now)
{
    struct flap *flap = xzalloc(sizeof *flap);

    flap->port = *port;
    flap->at = now;
    hmap_insert(&flaps->ports, &flap->node, hash_port(port));
    return flap;
}

bool
flaps_take(struct flaps *flaps, const struct topology_end *port, bool was_up,
           bool up, long long now)
{
    struct flap *flap = find(flaps, port);
    bool falls = !up && (flap ? flap->up : was_up);

    if (!flaps->hold_ms || (!flap && !falls)) {
        return up;
    }
    if (!flap) {
        flap = create(flaps, port, now);
    }
    decay(flaps, flap, now);
    if (falls) {
        flap->points = MIN(flap->points + 1, FLAPS_MAX);
    }
    flap->up = up;
    if (up && !flap->held && flap->points >= FLAPS_SUPPRESS) {
        flap->held = true;
        flaps->n_held++;
    } else if (up && flap->held && is_stable(flap)) {
        flap->held = false;
    }
    look_again(flaps, flap);
    return up && !flap->held;
}

size_t
flaps_n_held(const struct flaps *flaps)
{
    const struct flap *flap;
    size_t n = 0;

    HMAP_FOR_EACH (flap, node, &flaps->ports) {
        n += flap->held && flap->up;
    }
    return n;
}

bool
flaps_release(struct flaps *flaps, long long now,
              struct topology_end *ret_port)
{
    struct flap *flap;

    if (now < flaps->next_at) {
        return false;
    }
    flaps->next_at = LLONG_MAX;
    HMAP_FOR_EACH_SAFE (flap, node, &flaps->ports) {
        decay(flaps, flap, now);
        if (flap->held && flap->up
            && (is_stable(flap) || !flaps->hold_ms)) {
            flap->held = false;
            *ret_port = flap->port;
            flaps->next_at = now; /* There may be others. */
            return true;
        }
        if (flap->points < FORGET + 0.01) {
            forget(flaps, flap);
        } else {
            look_again(flaps, flap);
        }
    }
    return false;
}

long long
flaps_wakeup(const struct flaps *flaps)
{
    return flaps->next_at;
}
