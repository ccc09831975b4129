/* SPDX-License-Identifier: Apache-2.0 */
/* One agent's session of the registration API, as a state machine.
 *
 *     HELLO -> PROOF -> UP -> CLOSED
 *
 * Envelopes from the agent go in; answers, pushes and events go out through a
 * table of functions.  The session enters what it hears into the registry; who
 * waits for the switches to confirm is kept here as a list that the controller
 * walks.
 *
 * Everything that an agent sends is checked; a request that fails is answered
 * with an Error that names the field.
 *
 * Pure: times are passed in, the key pair and the nonce of the handshake too.
 * One thread; the registry stays the caller's.  A function of the table must
 * not destroy the session. */
#ifndef CONTROLLER_AGENT_SESSION_H
#define CONTROLLER_AGENT_SESSION_H 1

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/registry.h"
#include "controller/topology.h"
#include "proto/identity.h"
#include "salient.pb-c.h"

/* What all agents are told, and what limits them. */
struct agent_session_config {
    uint32_t identity_network, service_network, resolver_v4; /* Host order. */
    uint8_t identity_len, service_len;
    struct in6_addr resolver_v6; /* :: = none; so with the next two, /48. */
    struct in6_addr identity_prefix_v6, service_prefix_v6;
    uint16_t sal_port;
    uint32_t keepalive_interval_ms, lease_ms, probe_interval_ms;
    uint32_t handshake_timeout_ms, wait_timeout_ms;
    uint32_t max_instances; /* Registrations of one endpoint. */
    uint32_t max_agents;    /* Connections. */
};

enum agent_session_state {
    AGENT_SESSION_HELLO,  /* Waits for Hello. */
    AGENT_SESSION_PROOF,  /* Challenge sent, waits for Proof. */
    AGENT_SESSION_UP,
    AGENT_SESSION_CLOSED,
};

/* A Register or Unregister that is answered when the switches confirm. */
struct agent_wait {
    struct ovs_list node; /* In struct agent_session 'waits'. */
    uint64_t request_id;
    struct registry_key key;
    bool unregister;
    uint64_t generation;  /* Of the plan, that carries it; 0: none yet. */
    long long received_us, deadline;
};

/* Instances of a service, for an agent whose switches do not resolve. */
#define AGENT_HOPS_MAX 24
struct agent_hops {
    struct agent_hop {
        struct in6_addr locator; /* IPv4 as ::ffff:a.b.c.d. */
        uint32_t weight;         /* 1..65535. */
    } hops[AGENT_HOPS_MAX];
    size_t n;
};

/* What an agent asked for. */
struct agent_answer {
    struct service_prefix prefix; /* Good for all of it. */
    struct agent_hops hops;       /* None: the switches resolve. */
    uint8_t path_class;
    uint32_t ttl_ms;
};

/* Who is at a locator, for an agent that doubts it. */
struct agent_claim {
    struct in6_addr locator;     /* IPv4 as ::ffff:a.b.c.d. */
    struct endpoint_id endpoint; /* All zero: not said. */
    uint32_t identity_v4;        /* Host byte order; 0: IPv6. */
};
struct agent_identity {
    bool attached;               /* At that locator. */
    bool known;                  /* Else the next two are of no meaning. */
    struct endpoint_id endpoint;
    uint32_t identity_v4;
    uint32_t ttl_ms;
};

struct agent_session;

struct agent_session_ops {
    void (*send)(struct agent_session *, const Salient__V1__Envelope *,
                 void *aux);
    /* Welcome was sent: push what the agent should know. */
    void (*up)(struct agent_session *, void *aux);
    /* The registry changed; 'what' is a phrase for the event log. */
    void (*changed)(struct agent_session *, const char *what,
                    long long now_us, void *aux);
    /* Where is the service, for this agent?  None: its switches resolve. */
    void (*hops)(const struct agent_session *, const struct service_prefix *,
                 struct agent_hops *ret_hops, void *aux);
    /* The same for an ID; -ENOENT if nobody serves it. */
    int (*resolve)(const struct agent_session *, const struct service_id *,
                   struct agent_answer *ret_answer, void *aux);
    void (*identify)(const struct agent_session *, const struct agent_claim *,
                     struct agent_identity *ret_identity, void *aux);
    /* Close the connection after what was sent. */
    void (*close)(struct agent_session *, const char *reason, void *aux);
};

struct agent_session {
    /* For everybody to read. */
    enum agent_session_state state;
    struct endpoint_id id;      /* From PROOF on. */
    char name[REGISTRY_NAME_MAX + 1];
    char zone[REGISTRY_NAME_MAX + 1];
    char software[64];
    uint8_t key[IDENTITY_SESSION_KEY_LEN]; /* When UP; also of PROBEs. */
    uint64_t session;           /* registry_session_begin(). */
    struct ovs_list waits;      /* struct agent_wait. */
    uint64_t requests, errors;
    bool delegated;             /* For the controller: it was told hops. */

    /* Private. */
    struct {
        bool active, complete; /* 'complete': of the first part. */
        struct hmap_position next;
        size_t mask;           /* Of the map, when 'next' was taken. */
    } pushing;                 /* All services. */
    const struct agent_session_config *config;
    const struct agent_session_ops *ops;
    void *aux;
    struct registry *registry;
    struct identity identity;   /* Ours, of this session. */
    uint8_t nonce[IDENTITY_NONCE_LEN];
    uint32_t wanted_v4;
    size_t n_waits;
    long long deadline;         /* Of the handshake, or of the silence. */
};

/* 'identity' (copied) and 'nonce' are fresh for this session. */
void agent_session_init(struct agent_session *,
                        const struct agent_session_config *,
                        const struct agent_session_ops *, void *aux,
                        struct registry *);
void agent_session_start(struct agent_session *,
                         const struct identity *identity,
                         const uint8_t nonce[IDENTITY_NONCE_LEN],
                         long long now_us);
/* Ends the session in the registry if it is UP; wipes the keys. */
void agent_session_destroy(struct agent_session *);

void agent_session_receive(struct agent_session *,
                           const Salient__V1__Envelope *, long long now_us);

/* Ends a handshake or a silence that took too long, answers waits that ran
 * out. */
void agent_session_run(struct agent_session *, long long now_us);
/* In milliseconds. */
long long agent_session_wakeup(const struct agent_session *);

/* Answers a wait and frees it: 'confirmed', or that the time ran out. */
void agent_session_answer_wait(struct agent_session *, struct agent_wait *,
                               bool confirmed, long long now_us);

/* Pushes.  No effect unless UP. */
void agent_session_push_attachment(struct agent_session *,
                                   const struct topology_attachment *);
void agent_session_push_detached(struct agent_session *,
                                 const struct in6_addr *locator);
void agent_session_push_probe_request(struct agent_session *);
/* All services that have a name or an address; 'complete' as in the API. */
/* Begins to tell of all services, anew if that is under way: a part at once,
 * another with each agent_session_push_more(), for which the owner calls when
 * the agent has been sent what there was, so that memory does not grow with
 * the number of services times agents. */
void agent_session_push_services(struct agent_session *, bool complete);
void agent_session_push_more(struct agent_session *);
void agent_session_push_changes(struct agent_session *,
                                const struct registry_change *, size_t n);

/* Hops as the API has them.  'hops' must outlive '*ret_wire'.  Returns their
 * number. */
struct agent_hops_wire {
    Salient__V1__Hop hops[AGENT_HOPS_MAX];
    Salient__V1__Hop *pointers[AGENT_HOPS_MAX];
};
size_t agent_hops_encode(const struct agent_hops *,
                         struct agent_hops_wire *ret_wire);

void agent_session_close(struct agent_session *, const char *reason);

const char *agent_session_state_string(enum agent_session_state);

#endif /* agent_session.h */
