/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's session with the controller: connects, backs off, proves who it
 * is, keeps the wanted registrations registered, keeps alive, takes pushes.
 *
 * A state machine that does no I/O and reads no clock: 'now' is passed in
 * (milliseconds of any monotonic clock), what is to be done goes out through
 * a table of functions.  The owner calls
 *
 *     controller_session_connected()     the connection is up
 *     controller_session_received()      an Envelope came
 *     controller_session_disconnected()  the connection failed or closed
 *     controller_session_run()           at controller_session_deadline()
 *
 * and, after each, controller_session_take_events().
 *
 * Wanted and registered are two states of one table; after a reconnect
 * everything is announced again, so the controller needs no memory.
 *
 * Pure (it logs); not thread-safe; not re-entrant: the functions of the table
 * must not call back into the session. */
#ifndef SALIENT_CONTROLLER_SESSION_H
#define SALIENT_CONTROLLER_SESSION_H 1

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include "agents/claims.h"
#include "agents/local_services.h"
#include "agents/names.h"
#include "agents/registrations.h"
#include "agents/service_routes.h"
#include "proto/identity.h"
#include "salient.pb-c.h"

struct controller_session;

enum session_state {
    SESSION_STOPPED,
    SESSION_BACKOFF,    /* Waits before the next attempt. */
    SESSION_CONNECTING,
    SESSION_HELLO,      /* Hello sent, waits for Challenge. */
    SESSION_PROOF,      /* Proof sent, waits for Welcome. */
    SESSION_UP,
};
const char *session_state_name(enum session_state);

struct session_ops {
    /* Opens a connection to endpoint number 'i' of the configuration. */
    void (*connect)(size_t i, void *aux);
    void (*send)(const Salient__V1__Envelope *, void *aux);
    /* Closes the connection; controller_session_disconnected() is not to be
     * called for it any more. */
    void (*disconnect)(void *aux);
};

struct session_config {
    const char *name;     /* The endpoint's. */
    const char *software;
    const char *zone;     /* "" = not said. */
    const struct identity *identity; /* Outlives the session. */
    size_t n_endpoints;   /* Tried in turn; 0: there is no controller. */
    uint32_t seed;        /* Of the jitter. */
    /* Updated by ServiceTable pushes; they outlive us.  A service has a route
     * only if there is more to say of it than its name. */
    struct names *names;
    struct service_routes *routes;
};

/* What Welcome said; IPv4 addresses in host byte order, IPv6 addresses all
 * zero if there are none. */
struct session_welcome {
    uint32_t identity_v4;
    uint32_t identity_pool_v4, service_pool_v4;
    uint8_t identity_pool_len, service_pool_len;
    uint32_t resolver_v4;
    struct in6_addr resolver_v6;
    struct in6_addr identity_prefix_v6, service_prefix_v6; /* Two /48. */
    uint16_t sal_port;
    uint32_t keepalive_interval_ms, lease_ms, probe_interval_ms;
};

/* What happened since the last controller_session_take_events(). */
enum session_event {
    SESSION_EVENT_STATE = 1 << 0,         /* Up or down. */
    SESSION_EVENT_WELCOME = 1 << 1,
    SESSION_EVENT_NAMES = 1 << 2,         /* 'names' changed. */
    SESSION_EVENT_ATTACHMENT = 1 << 3,
    SESSION_EVENT_PROBE = 1 << 4,         /* Probe now. */
    SESSION_EVENT_REGISTRATIONS = 1 << 5, /* Some registration's state. */
    SESSION_EVENT_RESOLVED = 1 << 6,      /* An answer can be taken; */
    SESSION_EVENT_IDENTIFIED = 1 << 7,    /* of the other kind. */
};

struct controller_session *
controller_session_create(const struct session_config *,
                          const struct session_ops *, void *aux);
void controller_session_destroy(struct controller_session *);

/* Inputs. */
void controller_session_start(struct controller_session *, int64_t now);
/* Disconnects for good; registrations lapse at the controller. */
void controller_session_stop(struct controller_session *);
void controller_session_connected(struct controller_session *, int64_t now);
void controller_session_received(struct controller_session *,
                                 const Salient__V1__Envelope *, int64_t now);
void controller_session_disconnected(struct controller_session *,
                                     const char *reason, int64_t now);
void controller_session_run(struct controller_session *, int64_t now);
int64_t controller_session_deadline(const struct controller_session *);
unsigned int controller_session_take_events(struct controller_session *);

/* Wants 'service' registered (or changed).  With 'wait' it is not registered
 * before the switches have confirmed. */
void controller_session_register(struct controller_session *,
                                 const struct local_service *, bool wait,
                                 int64_t now);
/* Wants it gone.  The entry stays, REMOVING, until the controller answers, so
 * that the host serves as long as switches may send to it.  Also for what
 * this session never registered ('service->name' may be empty then): a
 * predecessor may have.  */
void controller_session_unregister(struct controller_session *,
                                   const struct local_service *, int64_t now);
/* Registers exactly 'wanted', unregisters the rest. */
void controller_session_set_services(struct controller_session *,
                                     const struct local_services *wanted,
                                     int64_t now);
/* Offered in Hello; 0 = none. */
void controller_session_set_identity_v4(struct controller_session *,
                                        uint32_t);

/* Asks where 'service_id' is.  False if that cannot be asked now: no session,
 * or too many questions are open. */
bool controller_session_resolve(struct controller_session *,
                                const struct service_id *, int64_t now);
/* An answer: the question, and the route (the caller frees its hops, whose
 * name is ""), or found = false. */
struct session_resolved {
    struct service_id service_id;
    bool found;
    struct service_route route;
};
bool controller_session_take_resolved(struct controller_session *,
                                      struct session_resolved *);

/* Asks who is at a locator.  False as above. */
bool controller_session_identify(struct controller_session *,
                                 const struct claim *);
/* An answer: the question, and what came; not 'ok' if that makes no sense. */
struct session_identified {
    struct claim claim;
    bool ok;
    struct claim_answer answer;
};
bool controller_session_take_identified(struct controller_session *,
                                        struct session_identified *);

/* State. */
enum session_state controller_session_state(const struct controller_session *);
bool controller_session_is_up(const struct controller_session *);
/* NULL before the first Welcome. */
const struct session_welcome *
controller_session_welcome(const struct controller_session *);
/* NULL unless up. */
const uint8_t *controller_session_key(const struct controller_session *);
/* True if a complete ServiceTable came in this or an earlier session. */
bool controller_session_names_complete(const struct controller_session *);
/* Does the network see us at 'locator', IPv6 or IPv4-mapped? */
bool controller_session_attached(const struct controller_session *,
                                 const struct in6_addr *locator);
/* At any IPv4 locator but the 'n' of 'own'? */
bool controller_session_attached_elsewhere(const struct controller_session *,
                                           const struct in6_addr own[],
                                           size_t n);
/* ... anywhere? */
bool controller_session_is_attached(const struct controller_session *);
/* Last reason of failure, or NULL; number of times the session came up. */
const char *controller_session_error(const struct controller_session *);
unsigned int controller_session_welcomes(const struct controller_session *);
/* Endpoint in use or tried next. */
size_t controller_session_endpoint(const struct controller_session *);

/* Wanted and registered services; read only. */
const struct registrations *
controller_session_registrations(const struct controller_session *);

#endif /* controller_session.h */
