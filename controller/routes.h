/* SPDX-License-Identifier: Apache-2.0 */
/* Service routes: for each edge switch, service prefix, protocol and kind of
 * locator (IPv4 or IPv6), which instances get which share of the new
 * connections.  What comes over IPv6 can only go on to an IPv6 locator.
 *
 * An instance counts if its weight is not 0, its endpoint is attached, and the
 * attachment can be reached from the switch.  An endpoint that registers
 * several ports of one service and protocol counts once, with the largest of
 * the weights: the ports are inside, where no switch looks.
 *
 * Which instances a switch uses, with which weights, is for the service's
 * policy to say (policy.h).  Under most policies all switches see the same
 * instances, so switches share their routes: a `struct route` is one set of
 * instances with its tiling, and a switch refers to one.
 *
 * The tiling is the one piece of history here (see tiles.h).  Everything else
 * is a function of registry, topology and paths; routes_update() of the
 * services that changed must equal routes_update() of all.
 *
 * Switches that resolve have routes, and those from which none that does can
 * be reached: their agents are told.
 *
 * Pure.  One thread; routes are the module's, read-only to others, valid until
 * the next routes_update(). */
#ifndef CONTROLLER_ROUTES_H
#define CONTROLLER_ROUTES_H 1

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/endpoint_id.h"
#include "controller/policy.h"
#include "controller/tiles.h"
#include "ofp-ext/service_id.h"
#include "openvswitch/hmap.h"
#include "openvswitch/types.h"

struct ds;
struct json;
struct paths;
struct registry;
struct topology;
struct zones;

struct routes_config {
    enum route_policy policy;        /* Where no service says otherwise; not
                                      * ROUTE_DEFAULT. */
    unsigned int tolerance_permille; /* Of shares, see tiles.h. */
};

#define ROUTES_CONFIG_DEFAULT {ROUTE_SPREAD, TILES_TOLERANCE_DEFAULT}

/* An instance as the network sees it. */
struct route_target {
    struct endpoint_id endpoint;
    uint32_t key;        /* In the tiling: the identity address. */
    uint32_t weight;     /* > 0; what the policy makes of it. */
    struct in6_addr locator; /* IPv4 as ::ffff:a.b.c.d. */
    struct eth_addr mac;
    uint64_t dpid;       /* Where it is attached. */
    uint32_t port;
};

struct route {
    uint8_t protocol;             /* IANA. */
    bool v6;                      /* For what comes over IPv6. */
    struct route_target *targets; /* In order of key. */
    size_t n_targets;             /* > 0. */
    struct tiling tiling;
    uint64_t *dpids;              /* Whose route it is, ascending. */
    size_t n_dpids;
};

/* The routes of a service; one with no instance that counts has none, which
 * is what makes the switches ask the controller (RESET). */
struct service_routes {
    struct hmap_node node;        /* In the routes, by 'prefix'. */
    struct service_prefix prefix;
    uint8_t path_class;           /* How SYNs are to travel. */
    struct route **routes;        /* By protocol, IPv4 before IPv6, then
                                   * lowest dpid. */
    size_t n_routes;
};

struct routes;

struct routes *routes_create(const struct routes_config *);
/* For routes that are computed from now on. */
void routes_configure(struct routes *, const struct routes_config *);
void routes_destroy(struct routes *);

/* The zones that ROUTE_LOCAL_FIRST goes by, from the next update on; they stay
 * the caller's and must outlive it.  NULL: there are none. */
void routes_set_zones(struct routes *, const struct zones *);

/* Recomputes the routes of one service; a service that the registry does not
 * know has none.  True if something changed; then '*ret_old' is what was
 * before (NULL if nothing), the caller's to destroy. */
bool routes_update(struct routes *, const struct registry *,
                   const struct topology *, const struct paths *,
                   const struct service_prefix *,
                   struct service_routes **ret_old);
void service_routes_destroy(struct service_routes *);

/* Recomputes all of them. */
void routes_update_all(struct routes *, const struct registry *,
                       const struct topology *, const struct paths *);

/* After a restart the switches still hold the tilings of before: hands in that
 * of 'dpid', or what it has of it.  It is the history of the service's next
 * update, then forgotten.  'key' as in route_target. */
struct route_memory {
    uint64_t dpid;
    struct service_prefix prefix;
    uint8_t protocol;
    bool v6;
    struct tiling tiling; /* The caller's. */
};
void routes_remember(struct routes *, const struct route_memory *);

/* NULL if there are none. */
const struct service_routes *routes_of(const struct routes *,
                                       const struct service_prefix *);
/* The route that 'dpid' uses; NULL if it has none. */
const struct route *route_at(const struct service_routes *, uint64_t dpid,
                             uint8_t protocol, bool v6);
bool route_is_at(const struct route *, uint64_t dpid);
/* The target with 'key'; NULL if there is none. */
const struct route_target *route_target(const struct route *, uint32_t key);

/* Same prefix assumed: same targets, tilings and switches. */
bool service_routes_equal(const struct service_routes *,
                          const struct service_routes *);

const struct hmap *routes_services(const struct routes *);
#define ROUTES_FOR_EACH_SERVICE(SERVICE, ROUTES)                              \
    HMAP_FOR_EACH (SERVICE, node, routes_services(ROUTES))

/* For `show routes`. */
struct json *routes_to_json(const struct routes *);
void routes_format(const struct routes *, struct ds *);

#endif /* routes.h */
