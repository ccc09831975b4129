/* SPDX-License-Identifier: Apache-2.0 */
/* Where services are that others serve, as far as this host does not leave
 * that to the resolver: what the configuration, salctl and the controller say
 * about single prefixes.  Each becomes a rule of the service table.
 *
 * Pure; not thread-safe. */
#ifndef SALIENT_SERVICE_ROUTES_H
#define SALIENT_SERVICE_ROUTES_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agents/host_tables.h"
#include "ofp-ext/service_id.h"

#define SERVICE_ROUTE_WEIGHT_MAX 65535

/* An instance, or a host that resolves for others. */
struct route_hop {
    uint8_t locator[16]; /* IPv6, or IPv4-mapped; network byte order. */
    uint32_t weight;     /* 1..65535. */
};

struct service_route {
    char *name; /* "" if it is a prefix without one.  Owned by the set. */
    struct service_prefix prefix;
    enum service_action action; /* All but DEMUX. */
    uint32_t address;   /* What the name resolves to here, where no controller
                         * says so; host byte order, 0 = the agent's choice. */
    uint8_t path_class; /* 0..15. */
    bool datagram;      /* Each datagram is resolved by itself. */
    struct route_hop *hops; /* Owned by the set; none: to the resolver. */
    size_t n_hops;          /* Up to HOST_TABLES_MAX_HOPS. */
    int64_t expires_ms;     /* INT64_MAX: stays. */
};

/* Key: prefix.  Sorted by it. */
struct service_routes {
    struct service_route *items;
    size_t n, allocated;
};

void service_routes_init(struct service_routes *);
void service_routes_destroy(struct service_routes *);

/* Adds or replaces by key; copies.  True if that changed anything. */
bool service_routes_put(struct service_routes *, const struct service_route *);
/* Removes by key; false if there was none. */
bool service_routes_remove(struct service_routes *,
                           const struct service_prefix *);
const struct service_route *
service_routes_find(const struct service_routes *,
                    const struct service_prefix *);
/* Removes what has expired; returns when the next one does. */
int64_t service_routes_expire(struct service_routes *, int64_t now,
                              bool *ret_changed);

/* 'bytes' is an IPv4 or IPv6 address, of 4 or 16 bytes. */
bool route_hop_from_bytes(const uint8_t *bytes, size_t len, uint32_t weight,
                          struct route_hop *);
/* Parses "10.0.0.2" or "2001:db8::2", and ",3" behind it for the weight.
 * NULL, or a static phrase that says what is wrong. */
const char *route_hop_parse(const char *, struct route_hop *);
#define ROUTE_HOP_STRLEN 64
char *route_hop_format(const struct route_hop *, char buf[ROUTE_HOP_STRLEN]);

/* Parses a prefix without a name: "0x.../LEN", "endpoint:" and the ID of an
 * endpoint, or "endpoint:any".  -EINVAL if it is none of them. */
int route_prefix_parse(const char *, struct service_prefix *);

/* "forward", "delay", "reject", "drop" <-> action; 0 / "?" for others. */
enum service_action route_action_parse(const char *);
const char *service_action_name(enum service_action);

#endif /* service_routes.h */
