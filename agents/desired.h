/* SPDX-License-Identifier: Apache-2.0 */
/* What this host's data plane and kernel are to hold, computed from what the
 * controller said and what the host itself serves.  Always computed whole;
 * host_tables_diff() finds the difference.
 *
 * Pure; not thread-safe. */
#ifndef SALIENT_DESIRED_H
#define SALIENT_DESIRED_H 1

#include "agents/controller_session.h"
#include "agents/host_tables.h"
#include "agents/leases.h"
#include "agents/names.h"
#include "agents/registrations.h"
#include "agents/service_routes.h"

struct desired_input {
    const struct session_welcome *welcome;
    const uint8_t *endpoint_id; /* SAL_ENDPOINT_ID_LEN bytes. */
    const struct names *names;
    /* Everything in it is served, also what is being unregistered: switches
     * may still send to us. */
    const struct registrations *registrations;
    const struct leases *leases; /* NULL: none. */
    /* Where others' services are; a later set's word counts more. */
    const struct service_routes *routes[4];
    size_t n_routes;
    /* One of them, or NULL: what was asked because of DELAY, which it
     * overrules wherever that was said. */
    const struct service_routes *answers;
    enum service_action default_action; /* Of what nothing is said about. */
    bool prefer_v6;              /* The configuration's. */
    bool router;
};

/* The inner IPv6 addresses; all zero if there is no IPv6 inside. */
struct in6_addr desired_identity_v6(const struct session_welcome *,
                                    const uint8_t *endpoint_id);
struct in6_addr desired_service_v6(const struct session_welcome *,
                                   const struct service_prefix *);

/* Fills in 'ret_tables', which the caller destroys.
 *
 *   addresses  each service's addresses -> its ID, leased ones too
 *   rules      own services -> DEMUX; routes as they say; everything else ->
 *              the default, with rules of their own for services below a
 *              shorter prefix of ours
 *   hops       those of routes
 *   targets    own services' local targets */
void desired_compute(const struct desired_input *,
                     struct host_tables *ret_tables);

#endif /* desired.h */
