/* SPDX-License-Identifier: Apache-2.0 */
/* Make before break across switches: no packet is resolved to a host that the
 * next switch does not know, and none goes round in circles.
 *
 *     coming   a service rule, or another way to a host, is installed when
 *              everybody on the way to the host knows it, and nobody there
 *              sends back to us
 *     going    service rules go everywhere before the host's routes go, and
 *              groups go after the rules that use them
 *
 * What packets may meet is put_walk.h's.  So ways change from the host's end:
 * the switch next to the host waits for nobody, hence somebody can always go
 * on (the order of RFC 6976, without its timers).
 *
 * Within a switch a bundle or the order of a round does that.  Across switches
 * put_order_split() takes out of a switch's changes those that must wait for
 * others; whoever sends the rest hands them in again (plan_touch_again()) once
 * something was confirmed elsewhere.  A service is changed as a whole or not
 * yet.
 *
 * Each change waits for 'patience_ms' at most: a switch that confirms nothing
 * must not stop the others.  (Each by itself: where something changes all the
 * time, something always waits.)
 *
 * Pure.  One thread; members stay the caller's. */
#ifndef CONTROLLER_PUT_ORDER_H
#define CONTROLLER_PUT_ORDER_H 1

#include <stdbool.h>
#include <stdint.h>
#include "controller/plan.h"
#include "controller/rule_table.h"
#include "controller/topology.h"
#include "openvswitch/hmap.h"

struct put_waits;

#define PUT_ORDER_PATIENCE_MS 2000

/* A switch that is written. */
struct put_order_member {
    struct hmap_node node; /* In struct put_order, by datapath ID. */
    uint64_t dpid;
    const struct rule_table *installed;
    const struct rule_table *going;  /* Routes and groups that are on their way
                                      * out, */
    const struct rule_table *coming; /* and in, new or changed. */
    bool unsettled;        /* Not everything desired is confirmed. */
    /* Everything that was desired up to this generation is confirmed, but
     * perhaps routes that are to go. */
    uint64_t upper_generation;
    uint64_t services_generation; /* The same, but perhaps groups, too. */
};

struct put_order {
    long long patience_ms;
    const struct plan *plan;
    const struct topology *topology;
    struct hmap members;
};

void put_order_init(struct put_order *, const struct plan *,
                    const struct topology *);
void put_order_destroy(struct put_order *);

void put_order_join(struct put_order *, struct put_order_member *);
void put_order_leave(struct put_order *, struct put_order_member *);
/* NULL if there is none. */
const struct put_order_member *put_order_find(const struct put_order *,
                                              uint64_t dpid);

/* What must wait; zeroed memory is none. */
struct put_order_held {
    struct rule_changes changes; /* Owned. */
    bool upper; /* Among them: services, or routes that come. */
    bool groups;
    long long since;     /* The longest wait began, if there is any. */
    struct put_waits *waits; /* NULL: nothing has waited.  Owned. */
};

/* Takes down what 'changes' will do, in a member's tables. */
void put_order_note(const struct rule_changes *changes,
                    struct rule_table *going, struct rule_table *coming);

/* Moves what must wait from 'changes' of switch 'dpid' to 'held', in the same
 * order.  'held' is what waited there the last time. */
void put_order_split(const struct put_order *, uint64_t dpid,
                     struct rule_changes *changes,
                     struct put_order_held *held, long long now);
void put_order_held_destroy(struct put_order_held *);

#endif /* put_order.h */
