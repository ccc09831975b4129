/* SPDX-License-Identifier: Apache-2.0 */
/* Wanted against acknowledged registrations, and the requests that turn one
 * into the other.  Part of the controller session.
 *
 * Pure; not thread-safe. */
#ifndef SALIENT_REGISTRATIONS_H
#define SALIENT_REGISTRATIONS_H 1

#include <stdbool.h>
#include <stdint.h>
#include "agents/local_services.h"
#include "openvswitch/hmap.h"
#include "salient.pb-c.h"

enum registration_state {
    REGISTRATION_WANTED,     /* Not sent yet on this connection. */
    REGISTRATION_SENT,
    REGISTRATION_REGISTERED,
    REGISTRATION_REFUSED,    /* 'error' says why; tried again later. */
    REGISTRATION_UNWANTED,   /* To be unregistered, not sent yet. */
    REGISTRATION_REMOVING,   /* Unregister sent. */
};
const char *registration_state_name(enum registration_state);

struct registration {
    struct hmap_node node;
    struct local_service service; /* Owned. */
    enum registration_state state;
    uint64_t request_id;   /* Of the request under way; 0 = none. */
    struct hmap_node request_node; /* In registrations.requests then. */
    unsigned int generation; /* Counts changes of mind, for who waits. */
    bool wait;             /* Ask for the switches' confirmation. */
    bool confirmed;        /* The switches had it. */
    uint64_t confirm_us;
    uint32_t service_v4;   /* Host byte order; 0 = not known yet. */
    int64_t retry_ms;      /* Not to be sent before. */
    char *error;           /* NULL, or the controller's sentence. */
};

/* What the controller said when an entry went. */
struct registration_end {
    struct local_service key; /* No name, no target. */
    bool confirmed;           /* No switch sends any more. */
    uint64_t confirm_us;
};

struct registrations {
    struct hmap map;
    struct registration_end last_end;
    struct hmap requests; /* Those under way, by request_id. */
    size_t n_waiting;     /* To be sent, at once or at their retry_ms. */
    uint64_t next_request_id; /* Shared with the session's other requests. */
};

void registrations_init(struct registrations *);
void registrations_destroy(struct registrations *);

/* Wants 'service' registered, or changed.  With 'wait' the switches'
 * confirmation is asked for. */
void registrations_want(struct registrations *, const struct local_service *,
                        bool wait);
/* Wants it gone.  The entry stays until the controller has answered, so that
 * the host serves as long as a switch may send to it.  Also for what was
 * never wanted here: a predecessor may have registered it. */
void registrations_unwant(struct registrations *,
                          const struct local_service *);
/* Wants exactly 'wanted'. */
void registrations_set(struct registrations *,
                       const struct local_services *wanted);

/* There is no controller: what is wanted is registered, the rest is gone. */
void registrations_settle(struct registrations *);

/* The connection is gone: everything is to be said again. */
void registrations_reset(struct registrations *);

/* Calls 'send' for each request that is due. */
void registrations_send(struct registrations *, int64_t now,
                        void (*send)(const Salient__V1__Envelope *, void *aux),
                        void *aux);
/* Time of the next registrations_send(); INT64_MAX if nothing waits. */
int64_t registrations_deadline(const struct registrations *);

/* Takes Registered, Unregistered or Error.  True if it answered one of our
 * requests (and changed something).  '*ret_registered' is the entry that
 * Registered confirmed, else NULL. */
bool registrations_reply(struct registrations *, const Salient__V1__Envelope *,
                         int64_t now,
                         const struct registration **ret_registered);

const struct registration *
registrations_find(const struct registrations *,
                   const struct local_service *key);
/* NULL if another entry has gone since, or none yet. */
const struct registration_end *
registrations_find_end(const struct registrations *,
                       const struct local_service *key);
/* True if nothing waits for an answer or for being sent. */
bool registrations_settled(const struct registrations *);
/* All entries sorted by name and port; the caller frees the array. */
const struct registration **
registrations_sorted(const struct registrations *, size_t *ret_n);

#endif /* registrations.h */
