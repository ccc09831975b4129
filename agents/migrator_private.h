/* SPDX-License-Identifier: Apache-2.0 */
/* What migrator*.c share.
 *
 *     migrator.c        peers, groups, flows, timers
 *     migrator_drive.c  a group's machine: what goes in, what comes out
 *     migrator_policy.c when to move, and where to
 *     migrator_command.c  moves that somebody asks for
 *     migrator_show.c   state for people and programs */
#ifndef SALIENT_MIGRATOR_PRIVATE_H
#define SALIENT_MIGRATOR_PRIVATE_H 1

#include "agents/migrator.h"
#include "heap.h"
#include "openvswitch/hmap.h"
#include "openvswitch/list.h"

struct migrator_peer {
    struct hmap_node node;   /* In migrator->peers. */
    struct ovs_list groups;  /* Of struct migrator_group; not empty. */
    size_t n_groups;
    struct migration_peer crypto;
    bool asked;              /* Somebody is to tell where it is, */
    int64_t asked_at;        /* since then. */
};

/* Where a group is, or wants to be. */
struct migrator_place {
    int ifindex; /* 0 = none. */
    bool nat;
    struct migration_locator locator;
};

struct migrator_group {
    struct ovs_list node;    /* In peer->groups. */
    struct heap_node timer;  /* In migrator->timers; by timer_at(). */
    struct migrator *migrator;
    struct migrator_peer *peer;
    struct migration machine;
    uint32_t *ids;           /* Its flows. */
    size_t n_flows, allocated_flows;
    int64_t empty_since;     /* INT64_MAX while there are flows. */

    /* Where the peer was when it last confirmed, by its key, where we are. */
    struct migration_locator confirmed_from;

    struct datapath_path path; /* Of its flows, in the data plane; */
    bool held;                 /* which leave nowhere. */
    struct migrator_place place; /* Announced: the machine's locator. */
    int64_t use_at; /* When flows are to leave from 'place', if not before,
                     * with the confirmation; INT64_MAX = not. */
    bool use_pending;

    /* The move under way, or the last. */
    bool moving;
    enum migrator_reason reason;
    int64_t started_at, took_ms;
    struct datapath_path from;
    struct migrator_place back; /* Still good; ifindex 0 = none. */
    uint64_t ticket;            /* Of the command that caused it. */

    int pinned;          /* By command: the ifindex to stay on; 0 = free. */
    bool list_wanted;    /* The peer may not know all our flows. */
    struct migration_parts sent, got;
    uint64_t got_stamp;  /* Challenge that 'got' belongs to. */

    uint64_t challenged; /* Nonce of the last RSYN answered. */
    int64_t alive_at;    /* The peer was heard. */
    int64_t probe_at;    /* Not before; and how often so far. */
    unsigned int n_probes;
    bool probing;
    int64_t give_up_at;  /* Then another place is tried. */
    int bad;             /* ifindex that did not answer, until: */
    int64_t bad_until;
    unsigned int n_bad;
};

struct migrator_flow {
    struct hmap_node node;  /* In migrator->flows, by ID. */
    uint32_t id;
    uint32_t generation;    /* Of the last resync that knew it. */
    size_t index;           /* In group->ids. */
    uint64_t stamp;         /* Of the challenge by which a list put it into
                             * its group; 0 = it began there. */
    struct migrator_group *group;
};

struct migrator {
    const struct identity *self;
    struct migrator_config config;
    const struct migrator_ops *ops;
    void *aux;
    uint8_t secret[MIGRATION_SECRET_LEN];
    uint64_t n_nonces;
    uint64_t next_stamp; /* One count for all machines: lists of different
                          * groups can be put in order. */
    uint64_t last_ticket;
    struct migrator_uplink uplinks[MIGRATOR_MAX_UPLINKS];
    int64_t usable_since[MIGRATOR_MAX_UPLINKS][MIGRATOR_N_FAMILIES];
    size_t n_uplinks;
    struct hmap peers, flows;
    struct heap timers;
    size_t n_groups;
    uint32_t generation;
    struct hmap_position cursor; /* Of the look at flows. */
    int64_t look_at;             /* Next; */
    int64_t reconsider_at;       /* INT64_MAX = nothing is in wait. */
    int64_t asking_at;           /* Peers that were asked for since then. */
    unsigned int n_asked;
    struct migrator_counters counters;
};

/* migrator.c */
struct migrator_peer *migrator_find_peer(const struct migrator *,
                                         const uint8_t id[]);
struct migrator_group *migrator_find_group(const struct migrator_peer *,
                                           uint32_t number);
/* NULL if the peer has too many.  Its machine is not started. */
struct migrator_group *migrator_add_group(struct migrator *,
                                          struct migrator_peer *,
                                          uint32_t number);
struct migrator_flow *migrator_find_flow(const struct migrator *, uint32_t id);
/* Takes it from where it was. */
void migrator_put_flow(struct migrator_flow *, struct migrator_group *);
/* To be called after whatever changes a group. */
void migrator_arm(struct migrator_group *);

/* migrator_drive.c */
void migrator_context(struct migrator *, const struct migrator_clock *,
                      struct migration_context *);
/* The machine begins at 'place'; 'peer' may be none. */
void migrator_group_start(struct migrator_group *,
                          const struct migrator_place *,
                          const struct migration_locator *peer,
                          const struct migrator_clock *);
void migrator_group_announce(struct migrator_group *,
                             const struct migrator_place *,
                             const struct migrator_clock *);
void migrator_group_lose(struct migrator_group *,
                         const struct migrator_clock *);
void migrator_group_run(struct migrator_group *,
                        const struct migrator_clock *);
/* Tells the data plane. */
void migrator_group_apply(struct migrator_group *);
void migrator_group_use(struct migrator_group *,
                        const struct migrator_clock *);

/* migrator_policy.c */
bool migrator_has_place(const struct migrator_uplink *, int family);
void migrator_place_at(const struct migrator_uplink *, int family,
                       struct migrator_place *);
/* The best place for the group but on uplink 'not' (0 = any); false if there
 * is none.  The peer's IP version comes before the rank: the other one takes a
 * detour by the rendezvous. */
bool migrator_choose_place(const struct migrator_group *, int not,
                           const struct migrator_clock *,
                           struct migrator_place *ret_place);
bool migrator_place_of_path(const struct migrator *,
                            const struct datapath_path *,
                            struct migrator_place *ret_place);
/* A message for the group came to 'own' by 'ifindex'. */
bool migrator_place_of_address(const struct migrator *, int ifindex,
                               const struct migration_locator *own,
                               struct migrator_place *ret_place);
void migrator_begin(struct migrator_group *, const struct migrator_place *,
                    enum migrator_reason, const struct migrator_clock *);
void migrator_reconsider(struct migrator_group *,
                         const struct migrator_clock *);
void migrator_reconsider_all(struct migrator *, const struct migrator_clock *);
void migrator_probe(struct migrator_group *, const struct migrator_clock *);
void migrator_policy_run(struct migrator_group *,
                         const struct migrator_clock *);
int64_t migrator_policy_deadline(const struct migrator_group *);
void migrator_look(struct migrator *, const struct migrator_clock *);
void migrator_tell(struct migrator_group *, enum migrator_event_type,
                   const struct datapath_path *from,
                   const struct migrator_clock *);

static inline bool
migrator_is_v4(const struct migration_locator *locator)
{
    uint32_t v4;
    return migration_locator_to_v4(locator, &v4);
}

static inline int
migrator_family(const struct migration_locator *locator)
{
    return migrator_is_v4(locator) ? MIGRATOR_V4 : MIGRATOR_V6;
}

static inline bool
migrator_same_family(const struct migration_locator *a,
                     const struct migration_locator *b)
{
    return migrator_is_v4(a) == migrator_is_v4(b);
}

#endif /* migrator_private.h */
