/* SPDX-License-Identifier: Apache-2.0 */
/* Services that this host is to serve.
 *
 * They come from two places: the configuration file and salctl.  What salctl
 * said wins until it is taken back; a service of the file that salctl
 * unregistered stays masked until the file is read again.
 *
 * Pure; not thread-safe. */
#ifndef SALIENT_LOCAL_SERVICES_H
#define SALIENT_LOCAL_SERVICES_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ofp-ext/service_id.h"

#define LOCAL_SERVICE_WEIGHT_MAX 65535

struct local_service {
    char *name; /* Owned by the set that holds it. */
    struct service_prefix prefix;
    uint8_t protocol;      /* IANA. */
    uint16_t service_port; /* What clients connect to. */
    uint16_t target_port;
    uint32_t target_address; /* Host byte order; 0 = the identity address. */
    uint32_t weight;         /* 0 = drain. */
    uint32_t priority;       /* Of the service's policy failover. */
    uint32_t capacity;       /* Of the policy local-first; 0 = no limit. */
    enum health_kind {
        HEALTH_NONE, /* Not checked. */
        HEALTH_TCP,  /* Does the target accept a connection? */
        HEALTH_HTTP, /* Does it answer GET / with 200 to 399? */
    } health;                /* Of the file only; see health.h. */
    uint32_t health_interval_ms;
    uint32_t health_threshold; /* Results in a row that count. */
};

/* Key: prefix, protocol, service port.  Sorted by it. */
struct local_services {
    struct local_service *items;
    size_t n, allocated;
};

void local_services_init(struct local_services *);
void local_services_destroy(struct local_services *);
void local_services_copy(struct local_services *dst,
                         const struct local_services *src);

/* <0, 0, >0 by key. */
int local_service_compare(const struct local_service *,
                          const struct local_service *);
/* Also target, weight and all else. */
bool local_service_equal(const struct local_service *,
                         const struct local_service *);

/* Adds or replaces by key; copies.  True if that changed anything. */
bool local_services_put(struct local_services *, const struct local_service *);
/* Removes by key; false if there was none. */
bool local_services_remove(struct local_services *,
                           const struct local_service *);
const struct local_service *
local_services_find(const struct local_services *,
                    const struct local_service *key);

/* file - masked + commands. */
void local_services_merge(const struct local_services *file,
                          const struct local_services *masked,
                          const struct local_services *commands,
                          struct local_services *ret_merged);

/* "tcp", "udp" <-> IANA number; 0 / "?" for what is neither. */
uint8_t local_service_protocol(const char *name);
const char *local_service_protocol_name(uint8_t protocol);

/* Parses "8080", "127.0.0.1:8080" or "127.0.0.1" (port left alone).  NULL, or
 * a static phrase that says what is wrong.  Outputs are left alone then. */
const char *local_service_parse_target(const char *, uint32_t *address,
                                       uint16_t *port);

#endif /* local_services.h */
