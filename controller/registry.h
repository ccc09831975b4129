/* SPDX-License-Identifier: Apache-2.0 */
/* Who serves what: endpoints, services, instances.
 *
 *     endpoint   a host or container, known by its endpoint ID
 *     service    a service prefix, with or without a name
 *     instance   the registration of a service, protocol and port by an
 *                endpoint, with a weight
 *
 * Soft state: it lives as long as its lease.  An agent that goes away
 * (restart, crash, lost management network) keeps its instances until the
 * lease ends; an explicit unregister acts at once.  A service whose last
 * instance died by lease stays *known* (clients are refused at once, its
 * address stays reserved); after an explicit unregister of the last instance
 * it is gone (the name becomes NXDOMAIN), unless configuration defines it.
 *
 * An endpoint is forgotten, and its identity address free, when its lease ends
 * or when it is removed; agents remember their address and ask for it again.
 *
 * Effects come out as lists of what changed: registry_take_changes().
 *
 * Pure: `now` is passed in, in milliseconds of any monotonic clock.  One
 * thread; the registry owns all structs it hands out, they are read-only
 * to others and valid until the next call that takes a non-const registry. */
#ifndef CONTROLLER_REGISTRY_H
#define CONTROLLER_REGISTRY_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/endpoint_id.h"
#include "controller/policy.h"
#include "ofp-ext/service_id.h"
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"

struct address_pool;
struct ds;
struct json;

#define REGISTRY_NAME_MAX 63     /* Octets of the name of an endpoint, or of a
                                  * zone. */
#define REGISTRY_WEIGHT_MAX 65535

enum registry_endpoint_state {
    REGISTRY_CONNECTED, /* Its session is open. */
    REGISTRY_AWAY,      /* The session is gone, the lease still runs. */
};

struct registry_endpoint {
    struct hmap_node id_node;      /* In the registry, by 'id'. */
    struct hmap_node identity_node; /* By what its IPv6 address is made of. */
    struct ovs_list lease_node;    /* In order of 'lease_deadline'. */
    struct ovs_list instances;     /* registry_instance.endpoint_node. */
    struct endpoint_id id;
    char name[REGISTRY_NAME_MAX + 1];
    char zone[REGISTRY_NAME_MAX + 1]; /* "" = it does not say. */
    uint32_t identity_v4;          /* Host byte order. */
    enum registry_endpoint_state state;
    uint64_t session;              /* Of the latest session, see below. */
    long long int lease_deadline;  /* Milliseconds. */
    uint32_t n_instances;
};

/* What configuration says of a service. */
struct service_definition {
    enum route_policy policy; /* ROUTE_DEFAULT: that of all. */
    uint8_t path_class;       /* 0 = default. */
    bool datagram;            /* Each datagram is resolved by itself. */
};

struct registry_service {
    struct hmap_node prefix_node;  /* In the registry, by 'prefix'. */
    struct ovs_list instances;     /* registry_instance.service_node. */
    struct service_prefix prefix;
    char *name;                    /* NULL if registered by prefix only. */
    uint32_t service_v4;           /* Host byte order; 0 = none assigned. */
    uint32_t n_instances;
    bool defined;                  /* By configuration: never forgotten. */
    struct service_definition definition;
};

/* What an instance is ready to do. */
struct registry_offer {
    uint16_t weight;   /* 0 = drain: no new connections. */
    uint16_t priority; /* For ROUTE_FAILOVER; the lowest serves. */
    uint32_t capacity; /* For ROUTE_LOCAL_FIRST; 0 = no limit. */
};

struct registry_instance {
    struct hmap_node key_node;     /* In the registry, by the full key. */
    struct ovs_list endpoint_node; /* In endpoint->instances. */
    struct ovs_list service_node;  /* In service->instances. */
    struct registry_endpoint *endpoint;
    struct registry_service *service;
    uint16_t port;                 /* Service port, host byte order. */
    uint8_t protocol;              /* IANA. */
    struct registry_offer offer;
};

struct registry;

/* The pools assign identity and service addresses; they stay the caller's and
 * must outlive the registry. */
struct registry *registry_create(struct address_pool *identities,
                                 struct address_pool *services);
void registry_destroy(struct registry *);

/* A session of endpoint 'id' begins, its key proved.  'name' (1 to 63 octets)
 * is for people.  'wanted_v4' is the identity address it remembers, 0 = none.
 * Returns through 'ret_session' a number that grows with every session; an
 * older session of the same endpoint is thereby superseded, and what it still
 * does (registry_session_end) has no effect.
 *
 * -EINVAL: the name.  -ENOSPC: no identity address is free.  -EADDRINUSE:
 * another endpoint has the same IPv6 identity address. */
int registry_session_begin(struct registry *, const struct endpoint_id *id,
                           const char *name, uint32_t wanted_v4,
                           long long int lease_deadline,
                           uint64_t *ret_session);
/* Where the endpoint is, as it says; at most REGISTRY_NAME_MAX octets.  No
 * effect if there is no such endpoint. */
void registry_set_zone(struct registry *, const struct endpoint_id *,
                       const char *zone);
/* The session is gone (closed or broken): the endpoint is AWAY, its instances
 * stay until the lease ends. */
void registry_session_end(struct registry *, const struct endpoint_id *id,
                          uint64_t session);
/* Any sign of life.  -ENOENT for an unknown endpoint. */
int registry_renew(struct registry *, const struct endpoint_id *id,
                   long long int lease_deadline);

/* What Register and Unregister are about. */
struct registry_key {
    struct endpoint_id endpoint;
    struct service_prefix prefix;
    uint16_t port;      /* 1..65535. */
    uint8_t protocol;   /* 6, 17, ...; not 0. */
};

/* Registers an instance or changes what it offers.  'name' is the
 * service's name, NULL if it is registered by prefix; a name is remembered by
 * the service from then on.  '*ret_service' (may be NULL) is the service.
 *
 * -ENOENT: no such endpoint.  -EINVAL: port or protocol 0, or the prefix is
 * not the one that 'name' stands for.  -EEXIST: the service has another name
 * already (a collision of hashes).  -ENOSPC: no service address is free. */
int registry_register(struct registry *, const struct registry_key *,
                      const char *name, const struct registry_offer *,
                      const struct registry_service **ret_service);

/* Withdraws an instance at once; with the last one, an undefined service goes
 * too.  -ENOENT if there is no such instance. */
int registry_unregister(struct registry *, const struct registry_key *);

/* Withdraws all instances of an endpoint and forgets it (clean stop). */
void registry_remove_endpoint(struct registry *, const struct endpoint_id *);

/* Configuration: the service exists whether or not somebody serves it.
 * Defined again, it changes.  NULL defines nothing but that.  Errors as for
 * registry_register(). */
int registry_define(struct registry *, const char *name,
                    const struct service_definition *);
/* The definition is gone; the service stays while it has instances. */
int registry_undefine(struct registry *, const char *name);

/* Ends the leases whose deadline is <= 'now'.  Returns the earliest deadline
 * that is left, LLONG_MAX if none: the time of the next call. */
long long int registry_run(struct registry *, long long int now);

/* Lookups: NULL if there is none. */
const struct registry_endpoint *
registry_endpoint(const struct registry *, const struct endpoint_id *);
const struct registry_service *
registry_service(const struct registry *, const struct service_prefix *);
const struct registry_instance *
registry_instance(const struct registry *, const struct registry_key *);

/* Iterates over everything, in no particular order.
 *
 *     const struct registry_service *s;
 *     REGISTRY_FOR_EACH_SERVICE (s, registry) { ... } */
const struct hmap *registry_services(const struct registry *);
const struct hmap *registry_endpoints(const struct registry *);
#define REGISTRY_FOR_EACH_SERVICE(SERVICE, REGISTRY)                          \
    HMAP_FOR_EACH (SERVICE, prefix_node, registry_services(REGISTRY))
#define REGISTRY_FOR_EACH_ENDPOINT(ENDPOINT, REGISTRY)                        \
    HMAP_FOR_EACH (ENDPOINT, id_node, registry_endpoints(REGISTRY))
#define REGISTRY_FOR_EACH_INSTANCE_OF(INSTANCE, SERVICE)                      \
    LIST_FOR_EACH (INSTANCE, service_node, &(SERVICE)->instances)

size_t registry_n_instances(const struct registry *);

/* A service that changed since the changes were last taken. */
struct registry_change {
    struct service_prefix prefix;
    bool exists;        /* False: the service is gone. */
    bool names_changed; /* It appeared, vanished, or its name, address, ports
                         * or definition changed: agents' service tables need
                         * to know. */
};

/* Hands over all changes since the last call, each prefix once, in order of
 * prefix: '*ret_changes' (caller frees with free(), NULL if none).  Returns
 * their number. */
size_t registry_take_changes(struct registry *,
                             struct registry_change **ret_changes);
bool registry_has_changes(const struct registry *);
/* Grows when an endpoint says another zone than before, or leaves. */
uint64_t registry_zones_generation(const struct registry *);
/* Grows with every change of anything that routes depend on. */
uint64_t registry_generation(const struct registry *);

/* For `show services`: a new JSON object, and text. */
struct json *registry_to_json(const struct registry *, long long int now);
void registry_format(const struct registry *, long long int now, struct ds *);

#endif /* registry.h */
