/* SPDX-License-Identifier: Apache-2.0 */
/* What plan.c (everything that is planned), plan_ways.c (what depends on ways
 * that changed), plan_hosts.c (where hosts were when rules were computed),
 * plan_memory.c (what switches held before), plan_meters.c (the ports that
 * have meters), plan_room.c (switches that have no room for all rules) and
 * plan_check.c (the comparison with a full recompute) share.  For nobody
 * else. */
#ifndef CONTROLLER_PLAN_PRIVATE_H
#define CONTROLLER_PLAN_PRIVATE_H 1

#include "controller/plan.h"

struct plan_switch {
    struct hmap_node node;
    uint64_t dpid;
    struct rule_table *desired;
    struct rule_changes touched; /* Keys that changed since plan_diff(); any
                                  * stands for its whole bundle. */
    bool touched_all;           /* Too many to list them. */
    bool changed;               /* Not popped yet. */
    size_t limit;               /* Of service rules; SIZE_MAX: any number. */
    bool cut;                   /* Not everything fits. */
    bool no_groups;
    bool short_of_hosts;        /* No room for a route to each. */
    bool apart;                 /* One of the three: computed as a whole. */
    bool stale;                 /* To be computed though nothing changed. */
    uint32_t *metered;          /* Ports that have meters of their own in */
    size_t n_metered;           /* 'desired'. */
};

struct plan {
    struct rules_config rules_config;
    struct routes_config routes_config;
    const struct path_classes *classes;
    struct registry *registry;
    struct topology *topology;
    struct paths *paths;
    struct zones *zones;
    struct routes *routes;
    uint32_t (*use)(const struct service_prefix *, const void *aux);
    const void *use_aux;
    uint64_t zones_generation; /* Of the registry, that 'zones' is of. */
    struct hmap switches;      /* struct plan_switch. */
    struct hmap_position popped; /* How far plan_pop_changed() has come. */
    struct hmap hosts;         /* struct plan_host, by locator. */
    struct hmap gone;          /* struct gone_host, by locator; and others, */
    uint64_t gone_generation;  /* not later than this. */
    uint64_t ways_generation;
    struct hmap endpoints;     /* struct plan_endpoint. */
    struct rule_table *before; /* Scratch. */
    struct rule_table *after;  /* Scratch. */
    struct plan_memory *memories; /* Until the hosts are known. */
    size_t n_memories, allocated_memories;
    uint64_t generation;
    bool started;
};

/* Where a host was when its rules were computed: what admits it names its port
 * and MAC address. */
struct plan_host {
    struct hmap_node node;
    struct topology_attachment at;
};

/* The locators, of IPv4 and of IPv6, by which an endpoint was a service of its
 * own when the rules of that were computed. */
struct plan_endpoint {
    struct hmap_node node;
    struct endpoint_id id;
    struct topology_attachment at[2];
    bool attached[2];
};

/* NULL if no rules were computed for it. */
struct plan_host *plan_find_host(const struct plan *, const struct in6_addr *);
void plan_remember_host(struct plan *, const struct topology_attachment *now);
void plan_forget_host(struct plan *, struct plan_host *); /* Or NULL. */
void plan_remember_gone_host(struct plan *, const struct in6_addr *locator);
/* From now on all count as gone with the next generation. */
void plan_forget_gone_hosts(struct plan *);
/* Hosts and endpoints. */
void plan_forget_hosts(struct plan *);
struct plan_endpoint *plan_find_endpoint(const struct plan *,
                                         const struct endpoint_id *);
/* Takes down where the endpoint is now.  Returns NULL, and forgets it, if it
 * is nowhere. */
struct plan_endpoint *plan_remember_endpoint(struct plan *,
                                             const struct endpoint_id *);

struct plan_switch *plan_find_switch(const struct plan *, uint64_t dpid);

/* plan_meters.c: */
/* The switch has other ports than before, or another number of meters. */
void plan_update_meters(struct plan *, uint64_t dpid);
/* All of the switch was computed: takes down which ports have meters. */
void plan_remember_meters(const struct plan *, struct plan_switch *);

/* Everything of one switch, or as much as goes in. */
struct rule_table *plan_compute_switch(const struct plan *,
                                       const struct paths *,
                                       const struct routes *,
                                       const struct plan_switch *,
                                       bool *ret_cut);
/* Adds the rules that make the endpoint a service of its own. */
void plan_compute_endpoint(const struct plan *, const struct paths *,
                           const struct plan_endpoint *, uint64_t dpid,
                           struct rule_table *);
/* Replaces the rules 'before', of which only the keys matter, by 'after'.
 * Bundles are replaced as a whole. */
void plan_replace(struct plan_switch *, const struct rule_table *before,
                  const struct rule_table *after);

/* Tells the routes what was remembered, and forgets it. */
void plan_recall(struct plan *);
void plan_forget_memories(struct plan *);

/* Mends the rules of all switches after plan->paths took the place of 'old',
 * of the same shape: the same switches reach each other, only on other
 * ways. */
void plan_update_ways(struct plan *, const struct paths *old);

/* Adds the service rules, of services and of endpoints, that go into the limit
 * of 'sw'.  True if that is all of them. */
bool plan_compute_limited(const struct plan *, const struct rules_config *,
                          const struct paths *, const struct routes *,
                          const struct plan_switch *, struct rule_table *);

/* Where a switch sends what it has no route for, if it is short of them; 0:
 * nowhere. */
uint32_t plan_rest_port(const struct plan *, const struct paths *,
                        const struct plan_switch *);

#endif /* plan_private.h */
