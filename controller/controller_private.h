/* SPDX-License-Identifier: Apache-2.0 */
/* What the files controller*.c and show*.c share. */
#ifndef CONTROLLER_CONTROLLER_PRIVATE_H
#define CONTROLLER_CONTROLLER_PRIVATE_H 1

#include "controller/addresses.h"
#include "controller/api_server.h"
#include "controller/controller.h"
#include "controller/discovery.h"
#include "controller/event_log.h"
#include "controller/fair_limit.h"
#include "controller/flaps.h"
#include "controller/openflow_server.h"
#include "controller/plan.h"
#include "controller/put.h"
#include "controller/usage.h"
#include "proto/daemon/control.h"
#include "proto/daemon/metrics_server.h"

/* A switch that is connected, or was not long ago. */
struct managed_switch {
    struct hmap_node node; /* In controller 'switches', by datapath ID. */
    uint64_t dpid;
    struct switch_connection *connection; /* NULL: gone. */
    struct put *put;                      /* Owned; NULL: gone. */
    struct put_order_member order;
    bool dirty;               /* Desired may differ from what was put. */
    bool news;                /* More than what is held back. */
    uint64_t tried;           /* 'confirmations' when what is held was. */
    bool ready;               /* Has confirmed rules since it connected. */
    uint64_t settled;         /* Generation that is surely installed. */
    size_t hold_position;     /* In its rules, see controller_hold.c. */
    long long changed_at;     /* Last confirmed a change. */
    long long busy_at;        /* Last seen busy or gone. */
    long long keep_at;        /* Its links are next to be kept alive. */
    long long forget_at;      /* While gone. */
    int room_tries;           /* Rounds that lacked room: controller_room.c. */
    long long grow_at;        /* It may have more room by now: when to see, */
    uint32_t grow_after;      /* and how long after the last time. */
    uint32_t counters_xid;    /* Of the last question for counters. */
    struct fair_limit limits[SAL_METER_N_KINDS]; /* Of packets from there. */
    uint64_t n_limited;       /* Those that were too many. */
};

/* After a start, or after another controller was master, what switches hold is
 * left alone until agents and links that explain it are back, or the time is
 * over. */
struct hold {
    bool over;
    long long started_at, until;
    unsigned int n_read;      /* Switches whose flows were read. */
    bool rules_found;         /* One of them held rules of ours. */
    bool back;                /* It ended because everything was back. */
};

struct controller {
    uv_loop_t *loop;
    struct controller_config *config;
    uv_prepare_t prepare;
    uv_timer_t timer;
    bool stopping;
    long long started_at;     /* Milliseconds of the loop's clock. */

    struct address_pool *identities, *services;
    struct registry *registry;
    struct topology *topology;
    struct plan *plan;
    struct discovery *discovery;
    struct event_log *events;

    struct usage usage;       /* Of services, where not all fit. */
    long long usage_at;       /* Counters are next looked at. */

    struct openflow_server *openflow;
    struct api_server *api;
    struct control_server *control;
    struct metrics_server *metrics; /* NULL if not wanted. */

    struct hmap switches;     /* struct managed_switch. */
    struct flaps flaps;       /* Ports that flap. */
    struct hold hold;
    bool tell_all;            /* The next plan's news to agents are all
                               * services, complete. */
    bool waiting;             /* A request may wait for confirmation. */
    uint64_t confirmed;       /* Generation that all switches have. */
    struct put_order order;
    uint64_t packets_limited; /* Too many of one switch. */
    uint64_t confirmations;   /* Grows when a switch confirms, or is gone. */
    long long input_us;       /* When the input at hand arrived. */
    long long rest_until_us;  /* No other change of the network before. */
    long long tidy_at;        /* Free memory is given back; LLONG_MAX: is. */
};

static inline long long
controller_now(const struct controller *c)
{
    return uv_now(c->loop);
}

static inline long long
controller_now_us(void)
{
    return uv_hrtime() / 1000;
}

/* Adds to the event log, with the time of the input at hand. */
void controller_event_text(struct controller *, const char *text);
void controller_event(struct controller *, const char *format, ...)
    OVS_PRINTF_FORMAT(2, 3);

struct managed_switch *controller_switch(const struct controller *,
                                         uint64_t dpid);

/* controller_ports.c */
/* What a switch that connects has. */
void controller_take_ports(struct controller *,
                           const struct switch_session *);
void controller_port_changed(struct switch_connection *,
                             const struct switch_port *, bool gone, void *c);
/* Those that flapped, and do so no more. */
void controller_release_ports(struct controller *, long long now);

/* controller_switches.c */
extern const struct openflow_server_ops controller_openflow_ops;
extern const struct discovery_ops controller_discovery_ops;
void controller_check_switches(struct controller *, long long now);
void controller_put_all(struct controller *, long long now);
void controller_update_confirmed(struct controller *);
void controller_forget_switches(struct controller *, long long now);
void controller_destroy_switches(struct controller *);
/* True if the switch holds what it should. */
bool controller_in_sync(const struct controller *,
                        const struct managed_switch *);
long long controller_switches_wakeup(const struct controller *);

/* controller_agents.c */
extern const struct api_server_ops controller_api_ops;
void controller_push_result(struct controller *, const struct plan_result *);

/* controller_room.c */
void controller_make_room(struct controller *, struct managed_switch *,
                          long long now);
bool controller_take_counters(struct controller *, struct managed_switch *,
                              const struct openflow_message *);
void controller_count_usage(struct controller *, long long now);

/* controller_routes.c: for struct agent_session_ops, and after the pushes of
 * names. */
void controller_hops(const struct agent_session *,
                     const struct service_prefix *, struct agent_hops *,
                     void *controller);
int controller_resolve(const struct agent_session *,
                       const struct service_id *, struct agent_answer *,
                       void *controller);
void controller_push_routes(struct controller *, const struct plan_result *);

/* controller_identify.c: for struct agent_session_ops. */
void controller_identify(const struct agent_session *,
                         const struct agent_claim *, struct agent_identity *,
                         void *controller);

/* controller_agents.c again. */
void controller_answer_waits(struct controller *);
/* Asks agents that the network does not see for a PROBE. */
void controller_ask_for_probes(struct controller *);

/* controller_role.c: changes the role towards all switches; what begins as
 * master begins with a hold. */
void controller_set_role(struct controller *, enum ofp12_controller_role);
/* 'session' may have had to ask with a younger generation. */
void controller_note_generation(struct controller *,
                                const struct switch_session *);

/* controller_hold.c: returns true while the hold lasts. */
bool controller_hold(struct controller *, long long now);
void controller_hold_again(struct controller *, long long now);
void controller_hold_read(struct controller *, const struct put *);

/* controller.c */
void controller_discovery_config(const struct controller_config *,
                                 struct discovery_config *);

/* controller_reload.c; the strings stay the configuration's. */
struct channel_tls controller_tls(const struct listen_config *);
/* Costs of links, and whether their latency matters. */
void controller_set_costs(struct controller *,
                          const struct controller_config *);
void controller_define_services(struct controller *,
                                const struct controller_config *);

/* controller_metrics.c: the page. */
void controller_metrics(struct ds *, void *c_);

/* show.c */
extern const struct control_command controller_commands[];

#endif /* controller_private.h */
