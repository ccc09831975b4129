/* SPDX-License-Identifier: Apache-2.0 */
/* Are the servers behind this host's services alive?
 *
 * A service may ask to be checked: a TCP connection to its target, or an HTTP
 * request, every so often.  One that is not known to be healthy is registered
 * with weight 0, so that it gets no new connections; what is open stays.
 * After 'threshold' results in a row of the other kind it changes its state,
 * the first success after the start counts alone.
 *
 * Pure; not thread-safe.  Who connects is health_prober.h. */
#ifndef SALIENT_HEALTH_H
#define SALIENT_HEALTH_H 1

#include <stdbool.h>
#include <stdint.h>
#include "agents/local_services.h"
#include "openvswitch/hmap.h"

struct health_check {
    struct hmap_node node;        /* By the service's key. */
    struct local_service service; /* Owned. */
    bool healthy;
    bool known;                   /* Something was found out. */
    bool running;                 /* A check is under way. */
    unsigned int run;             /* Results in a row against 'healthy'. */
    int64_t next_ms;
    uint64_t checks, failures;
};

struct health {
    struct hmap checks;
};

void health_init(struct health *);
void health_destroy(struct health *);

/* Checks exactly those of 'services' that ask for it; what is known of those
 * that were checked before stays.  A check under way of one that is gone is
 * forgotten: its result finds nothing. */
void health_set(struct health *, const struct local_services *, int64_t now);

/* False if the service is checked and not known to be healthy. */
bool health_is_good(const struct health *, const struct local_service *);
/* NULL if the service is not checked. */
const struct health_check *health_find(const struct health *,
                                       const struct local_service *);

/* The next service to be checked, taken as being checked from now on; NULL if
 * none is due. */
const struct health_check *health_take_due(struct health *, int64_t now);
/* The result.  True if the service's health is another than before. */
bool health_result(struct health *, const struct local_service *key, bool ok,
                   int64_t now);
/* When health_take_due() is next to be called; INT64_MAX: not before a
 * result. */
int64_t health_deadline(const struct health *);

/* Does the beginning of an HTTP answer say that all is well?  Status 200 to
 * 399. */
bool health_http_is_good(const char *answer, size_t len);

#endif /* health.h */
