/* SPDX-License-Identifier: Apache-2.0 */
/* What agent*.c share. */
#ifndef SALIENT_AGENT_PRIVATE_H
#define SALIENT_AGENT_PRIVATE_H 1

#include "agents/agent.h"
#include "agents/agent_state.h"
#include "agents/claims.h"
#include "agents/controller_session.h"
#include "agents/datapath.h"
#include "agents/dns_server.h"
#include "agents/health_prober.h"
#include "agents/host_tables.h"
#include "agents/holder.h"
#include "agents/host_netdev.h"
#include "agents/leases.h"
#include "agents/migrator.h"
#include "proto/daemon/metrics_server.h"
#include "agents/probe.h"
#include "agents/probe_socket.h"
#include "openvswitch/list.h"
#include "proto/channel.h"
#include "proto/daemon/control.h"
#include "proto/identity.h"

/* Per uplink of the configuration. */
struct agent_uplink {
    int attached; /* ifindex to which the data plane is attached; 0 = none. */
    uint32_t weight; /* Of new flows; 0 = not in use. */
    struct probe_schedule schedules[2]; /* Over IPv4 and IPv6. */
    uint64_t probes_sent, probes_failed;
    char *error; /* Why it could not be attached, or NULL. */
};

struct agent {
    uv_loop_t *loop;
    struct agent_config *config;
    struct identity identity;

    /* What is remembered; the session keeps the names in it up to date. */
    struct agent_state state;
    char *state_path;
    struct local_services masked; /* Of the file, unregistered by salctl. */

    struct controller_session *session;
    struct channel *channel; /* Of the session's connection, or NULL. */
    struct channel_tls tls;
    char *connect_error; /* channel_connect() failed at once. */

    struct datapath *datapath;
    struct host_tables installed; /* What the data plane holds. */
    bool installed_known;
    char *apply_error; /* Of the last apply, or NULL. */
    int64_t applied_ms;

    struct host_netdev *netdev;
    struct agent_uplink uplinks[AGENT_MAX_UPLINKS];
    struct probe_socket *probe_socket;
    struct agent_migration *migration; /* NULL until it is started. */
    struct agent_balance *balance;     /* The same. */
    uint32_t probe_seq;

    struct service_routes resolved; /* Answers to what DELAY rules met. */
    uv_timer_t expire_timer;        /* Of these. */
    struct holder holder;
    struct claims claims;
    uv_poll_t hold_poll; /* Of what the data plane gives us to hold. */
    uv_timer_t hold_timer;
    bool holding; /* hold_poll is open. */

    struct health_prober *health;

    struct leases leases;
    struct dns_zone zone;
    struct dns_server *dns; /* NULL if disabled. */
    struct metrics_server *metrics; /* NULL if not wanted. */
    struct control_server *control;
    struct ovs_list waiters; /* Commands that wait; agent_commands.c. */
    struct ovs_list walks;   /* Commands that look at flows; agent_flows.c. */

    uv_timer_t session_timer, probe_timer, apply_timer, save_timer;
    uv_timer_t upkeep_timer, whereabouts_timer;
    struct agent_whereabouts *whereabouts;       /* NULL until started, */
    struct agent_service_router *service_router; /* as this is. */
    struct agent_lost_flows *lost_flows;
    struct agent_sweep *sweep; /* Under way, or NULL; agent_upkeep.c. */
    int64_t swept_ms;
    int64_t key_rotated_ms;
    uint64_t keys_rotated;
    uv_timer_t waiter_timer, stop_timer, drain_timer;
    bool stopping;
    bool draining;       /* Unregistered; open connections may end. */
    unsigned int n_idle; /* Polls in a row without an open connection. */
    void (*stopped)(void *aux); /* agent_stop()'s. */
    void *stopped_aux;
};

int64_t agent_now(const struct agent *);

/* To be called after each input to the session: acts on its events and sets
 * its timer. */
void agent_session_changed(struct agent *);

/* agent_apply.c: the kernel's state. */

/* Reads what the data plane holds, unless that is known. */
int agent_read_installed(struct agent *);
/* Computes what is wanted and makes it so, soon: many calls, one run. */
void agent_apply_soon(struct agent *);
/* Is that still to come?  Not when it only tries again. */
bool agent_apply_is_due(const struct agent *);

/* Computes what is wanted and makes it so; negative errno and a sentence. */
int agent_apply_now(struct agent *, char **ret_error);

/* agent_routes.c: where services are that others serve. */

/* The sets of routes; later ones overrule. */
size_t agent_routes(const struct agent *,
                    const struct service_routes *ret_sets[4]);
/* To be called when a set has changed. */
void agent_routes_changed(struct agent *);
/* What the controller would say, of a host that has none. */
void agent_static_welcome(struct agent *);
/* Takes the controller's answers to what was asked for held packets, and for
 * peers that move. */
void agent_take_resolved(struct agent *);
/* Takes a route that is good for a while. */
void agent_route_learned(struct agent *, const struct service_route *);
void agent_show_routes(struct agent *, bool json, struct ds *out);
void agent_route_add(struct control_call *, int argc,
                     const char *const argv[], void *agent);
void agent_route_del(struct control_call *, int argc,
                     const char *const argv[], void *agent);

/* agent_hold.c: packets that cannot leave yet.  The data plane is open. */
extern const struct holder_ops agent_hold_ops;
int agent_hold_start(struct agent *);
void agent_hold_stop(struct agent *);
/* To be called after each input to the holder, or to the claims: sets the
 * timer. */
void agent_hold_arm(struct agent *);

/* agent_claims.c: whose the inner addresses of clients are. */
extern const struct claims_ops agent_claims_ops;
/* To be called when the session comes or goes, and now and then: the data
 * plane is to know that we live. */
void agent_claims_refresh(struct agent *);
void agent_take_identified(struct agent *);

/* Host-local address of a service ID that has no other, installed in the data
 * plane when this returns; 0 if none can be had. */
uint32_t agent_lease(const char *name, const struct service_id *,
                     void *agent);

/* The name that was leased an address, IPv6 or IPv4-mapped, or NULL. */
const char *agent_leased(const struct in6_addr *, void *agent);

/* Tells the session which services are wanted now. */
void agent_update_services(struct agent *);

/* Writes the state file at once; logs failure. */
int agent_save_state(struct agent *);

/* agent_uplinks.c: interfaces and probes. */
void agent_uplinks_changed(struct agent *);
void agent_probe_start(struct agent *);
/* Does the network see us at the uplink's address?  Behind a NAT: anywhere
 * that is no address of ours. */
bool agent_uplink_attached(const struct agent *, size_t i, bool v6);
void agent_probe_stop(struct agent *);
void agent_probe_timer(uv_timer_t *);
void agent_probe_arm(struct agent *);

/* The socket on the SAL port, opened if it is not; NULL if it cannot be. */
struct probe_socket *agent_socket(struct agent *);

/* agent_migration.c: the migrator and what it acts on. */
void agent_migration_start(struct agent *);
void agent_migration_stop(struct agent *);
/* Takes over what the configuration says now. */
void agent_migration_configure(struct agent *);
void agent_migration_uplinks_changed(struct agent *);
/* True while moves wait for answers that come soon; has
 * agent_uplinks_changed() called when they should have come. */
bool agent_migration_is_busy(const struct agent *);
void agent_migration_when_idle(struct agent *);
void agent_migration_received(const struct probe_path *, const uint8_t *data,
                              size_t len, void *agent);
/* To be called after each input to the migrator: sets its timer. */
void agent_migration_arm(struct agent *);
struct migrator *agent_migrator(const struct agent *); /* NULL: none. */
void agent_migration_clock(const struct agent *, struct migrator_clock *);

/* agent_balance.c: moves running flows to even the load of uplinks, as often
 * as the configuration says; to be called again when that has changed. */
void agent_balance_start(struct agent *);
void agent_balance_stop(struct agent *);

/* agent_rendezvous.c: finding peers that have moved. */

/* Sends an RSYN to where the service table says that its endpoint is, or is
 * known: to each hop of the rule, or to the resolver.  Negative errno. */
int agent_rendezvous_send(struct agent *, const struct probe_path *,
                          const uint8_t *data, size_t len);
bool agent_rendezvous_ask(const uint8_t peer[SAL_ENDPOINT_ID_LEN],
                          void *agent);
struct session_resolved;
/* False if the answer is not about such a peer. */
bool agent_rendezvous_answered(struct agent *,
                               const struct session_resolved *);

/* agent_whereabouts.c: tells service routers where we are. */
struct whereabouts;
void agent_whereabouts_start(struct agent *);
void agent_whereabouts_stop(struct agent *);
void agent_whereabouts_timer(uv_timer_t *);
/* To be called when the installed tables, and when uplinks have changed. */
void agent_whereabouts_tables_changed(struct agent *);
void agent_whereabouts_uplinks_changed(struct agent *);
/* A router's CHALLENGE or KNOWN. */
void agent_whereabouts_received(struct agent *, const struct probe_path *,
                                const struct whereabouts *,
                                const uint8_t *packet);
/* The 'i'-th router, and where it knows us to be (or none); false if there are
 * not so many. */
bool agent_whereabouts_get(const struct agent *, size_t i,
                           struct migration_locator *ret_router,
                           struct migration_locator *ret_known);

/* agent_service_router.c: where others are. */
struct service_router_counters {
    uint64_t challenged, told; /* Hosts that said where they are, proved it. */
    uint64_t refused, forged, limited, full;
};
void agent_service_router_start(struct agent *);
void agent_service_router_stop(struct agent *);
/* A host's ASK or TELL. */
void agent_service_router_received(struct agent *, const struct probe_path *,
                                   const struct whereabouts *,
                                   const uint8_t *packet);
const struct service_router_counters *
agent_service_router_counters(const struct agent *);

/* agent_migration_commands.c. */
struct agent_events;
struct agent_events *agent_events_create(void);
void agent_events_destroy(struct agent_events *);
struct agent_events *agent_migration_events(const struct agent *);
void agent_events_add(struct agent *, const struct migrator_event *);
void agent_migrate_waiters_run(struct agent *);
void agent_migrate_command(struct control_call *, int argc,
                           const char *const argv[], void *agent);
void agent_events_command(struct control_call *, int argc,
                          const char *const argv[], void *agent);
void agent_groups_command(struct control_call *, int argc,
                          const char *const argv[], void *agent);

/* agent_commands.c: the control socket. */
extern const struct control_command agent_commands[];
void agent_waiters_run(struct agent *);
void agent_waiters_fail_all(struct agent *);

/* agent_flows.c: commands that look at all flows. */
void agent_flows_command(struct control_call *, int argc,
                         const char *const argv[], void *agent);
void agent_top_command(struct control_call *, int argc,
                       const char *const argv[], void *agent);
void agent_peer_command(struct control_call *, int argc,
                        const char *const argv[], void *agent);
void agent_walks_fail_all(struct agent *);

/* agent_upkeep.c: what is to be done now and then. */
void agent_upkeep_start(struct agent *);
/* The configuration changed. */
void agent_upkeep_reload(struct agent *);
void agent_upkeep_stop(struct agent *);
int agent_rotate_key(struct agent *);

/* agent_lost_flows.c: flows that one end has lost. */
struct lost_flow_counters {
    uint64_t asked;      /* Of ours: the peer was told, */
    uint64_t proved;     /* and that it is true. */
    uint64_t challenged; /* Of peers': they were asked whether it is true, */
    uint64_t closed;     /* and it was. */
    uint64_t forged, refused, limited;
};
void agent_lost_flows_start(struct agent *);
void agent_lost_flows_stop(struct agent *);
void agent_lost_flows_received(struct agent *, const struct probe_path *,
                               const uint8_t *, size_t len);
const struct lost_flow_counters *
agent_lost_flow_counters(const struct agent *);

/* agent_show.c. */
void agent_show_services(struct agent *, bool json, struct ds *);
void agent_show_names(struct agent *, bool json, struct ds *);
void agent_show_leases(struct agent *, bool json, struct ds *);
void agent_show_status(struct agent *, bool json, struct ds *);
void agent_show_counters(struct agent *, bool json, struct ds *);
struct json *agent_counters_to_json(struct agent *);
/* What the data plane formats, as a part of ours. */
struct json *agent_json_from_datapath(struct agent *,
                                      void (*format)(struct datapath *,
                                                     bool json, struct ds *));

/* agent_metrics.c. */
void agent_show_metrics(struct agent *, struct ds *);

/* agent_channel.c: how the session connects, sends and disconnects. */
extern const struct session_ops agent_session_ops;

#endif /* agent_private.h */
