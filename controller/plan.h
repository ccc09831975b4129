/* SPDX-License-Identifier: Apache-2.0 */
/* The plan: what every switch should hold, kept up to date.
 *
 * Takes the changes out of registry and topology, recomputes what depends on
 * them (paths, routes, rules), and says which switches have something new.
 * Full recompute is the truth; the plan only avoids what did not change, and
 * plan_check() compares the two.
 *
 *     any event -> registry_*(), topology_*()
 *     once an event loop round -> plan_run()
 *     while (plan_pop_changed(plan, &dpid))
 *         plan_diff() with what is installed, send, barrier, apply
 *
 * Pure.  One thread.  The plan owns paths, routes and desired tables; registry
 * and topology stay the caller's and must outlive it. */
#ifndef CONTROLLER_PLAN_H
#define CONTROLLER_PLAN_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/path_class.h"
#include "controller/registry.h"
#include "controller/routes.h"
#include "controller/rule_table.h"
#include "controller/rules.h"
#include "controller/topology.h"

struct ds;
struct paths;
struct plan;

/* 'classes' stays the caller's and must outlive the plan; NULL if there are
 * none. */
struct plan *plan_create(const struct rules_config *,
                         const struct routes_config *,
                         const struct path_classes *, struct registry *,
                         struct topology *);
void plan_destroy(struct plan *);

/* Another configuration: the next run computes everything anew. */
void plan_configure(struct plan *, const struct rules_config *,
                    const struct routes_config *);

/* The service table of 'dpid' takes no more than 'limit' rules (SIZE_MAX: any
 * number): from the next run on it gets the services that go into them
 * (overflow.h); who misses is for resolve.h.  Forgotten with the switch. */
void plan_set_limit(struct plan *, uint64_t dpid, size_t limit);
size_t plan_limit(const struct plan *, uint64_t dpid);
/* True if not everything has gone into the limit. */
bool plan_is_cut(const struct plan *, uint64_t dpid);
/* The switch has no room for our groups: its rules name ports. */
void plan_set_no_groups(struct plan *, uint64_t dpid);
bool plan_has_no_groups(const struct plan *, uint64_t dpid);
/* It has no room for a route to each host: who can as well be reached by the
 * way to a switch that has room gets none, and the rest goes there. */
void plan_set_short_of_hosts(struct plan *, uint64_t dpid, bool);
bool plan_is_short_of_hosts(const struct plan *, uint64_t dpid);
/* How much a service is used, for the choice among those that do not all fit.
 * Asked at each run; a limited switch follows with the next one. */
void plan_set_usage(struct plan *,
                    uint32_t (*use)(const struct service_prefix *,
                                    const void *aux), const void *aux);

/* What a run did, and what others need to hear. */
struct plan_result {
    struct registry_change *services; /* Changes of the registry: agents'
                                       * service tables. */
    size_t n_services;
    struct topology_changes topology; /* Attachments: push to agents. */
    size_t n_switches;                /* Desired tables that changed. */
    bool everything;                  /* Nothing was mended: all rules of all
                                       * switches were computed anew. */
};

/* Brings everything up to date.  '*ret_result' (may be NULL) is the caller's:
 * plan_result_destroy(). */
void plan_run(struct plan *, struct plan_result *ret_result);
void plan_result_destroy(struct plan_result *);

/* Desired rules of a switch; NULL if the topology does not know it.  Valid
 * until the next plan_run(). */
const struct rule_table *plan_desired(const struct plan *, uint64_t dpid);

/* Takes one switch off the set of those whose desired rules changed, in order
 * of datapath ID.  False if the set is empty. */
bool plan_pop_changed(struct plan *, uint64_t *ret_dpid);

/* Stores in 'changes' (initialised) what turns 'installed' into the desired
 * rules of 'dpid'.
 *
 * 'full' compares everything, as rule_diff() does: for a switch that
 * (re)connected, or whose last changes did not all succeed.  Otherwise only
 * rules that were touched since the last plan_diff() of this switch are looked
 * at, which gives the same if what that one said has been applied to
 * 'installed' by now. */
void plan_diff(struct plan *, uint64_t dpid,
               const struct rule_table *installed, bool full,
               struct rule_changes *changes);

/* The next plan_diff() of 'dpid' looks at the keys of 'changes' once more:
 * they were not sent.  Does not count as a change of desired rules. */
void plan_touch_again(struct plan *, uint64_t dpid,
                      const struct rule_changes *changes);

/* Grows with every run that changed a desired rule.  A change of the registry
 * is in the switches once each has confirmed its table of that generation. */
uint64_t plan_generation(const struct plan *);

/* The generation that last changed a way to a host. */
uint64_t plan_ways_generation(const struct plan *);
/* The generation since which no service is resolved to 'locator', if nobody
 * has it any more, or it is cut off. */
uint64_t plan_gone_since(const struct plan *, const struct in6_addr *locator);

const struct paths *plan_paths(const struct plan *);
const struct routes *plan_routes(const struct plan *);

/* Hands in the flows that a switch held when the controller started, before
 * the first plan_run() that knows their services and hosts: tilings are kept,
 * so that a restart writes no rule. */
void plan_remember(struct plan *, uint64_t dpid,
                   const struct rule_table *installed);

/* Recomputes everything from nothing and compares.  True if it is the same,
 * else says in 'why' what differs. */
bool plan_check(const struct plan *, struct ds *why);

#endif /* plan.h */
