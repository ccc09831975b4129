/* SPDX-License-Identifier: Apache-2.0 */
/* A network that does not exist, for the real controller: switches and agents
 * on real sockets, all in one process and one loop.
 *
 * The load has one topology at a time.  Switches keep the flows that they are
 * told of (load_flows.h), and answer at once; what they are told to send goes
 * along the links of the topology.  load_check() compares their
 * tables with what the graph and the registrations ask for.
 *
 * One thread: the loop's. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H 1

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>
#include "controller/openflow_codec.h"
#include "openvswitch/hmap.h"
#include "proto/channel.h"
#include "proto/identity.h"
#include "tests/bench/controller/load_flows.h"

#define LOAD_INSTANCES_MAX 4

struct load_port {
    int peer, peer_port; /* -1: a host's port, or nobody's. */
    int host;            /* -1: none. */
    bool up;
};

/* Fast failover: the first port that is up. */
#define LOAD_GROUP_PORTS 7
struct load_group {
    struct hmap_node node;
    uint32_t id;
    int n;
    uint16_t ports[LOAD_GROUP_PORTS];
};

#define LOAD_NO_PORT UINT32_MAX
struct load_meter {
    struct hmap_node node;
    uint32_t id, rate;
    uint32_t port; /* Of the check: whose packets go through; 0 = of all that
                    * have no meter. */
};

struct load_switch {
    int index; /* The datapath ID is one more. */
    int n_ports;
    struct load_port *ports; /* 1..n_ports. */
    struct load_flows flows;
    struct hmap groups; /* struct load_group. */
    struct hmap meters; /* struct load_meter. */
    uv_tcp_t tcp;
    uv_connect_t connecting;
    uv_timer_t retry;
    bool open, up, written;
    int slow_ms;     /* Does nothing sooner than that. */
    uv_timer_t late; /* Runs while it is to do something. */
    struct ofpbuf *telling; /* The request for its flows, while it answers. */
    uint32_t tell_position;
    struct openflow_stream input;
    struct ofpbuf output, bundle;
};

struct load_agent {
    int index, sw, port;
    struct identity identity;
    uint8_t key[IDENTITY_SESSION_KEY_LEN];
    uint32_t locator, seq;
    struct channel *channel;
    uv_timer_t timer;
    bool up, attached;
    uint64_t request_id, awaited; /* The last request that waits. */
    uint64_t answered_us;
};

struct load_service {
    int n; /* Instances. */
    uint8_t weight[LOAD_INSTANCES_MAX];
};

struct load {
    uv_loop_t *loop;
    uint16_t openflow_port;
    char api[128];
    struct load_switch *switches;
    int n_switches;
    struct load_book book; /* What their flows say. */
    bool *has_hosts;
    int *distance; /* n_switches * n_switches; INT_MAX: no way. */
    struct load_agent *agents;
    int n_agents;
    struct load_service *services;
    int n_services;
    bool groups;     /* fast_failover, which is the controller's default. */
    bool registered; /* Agents say what they serve when they connect. */
    bool stopping;
    int open_handles;
    /* Where agents' frames go instead of to a switch of ours; may be NULL. */
    void (*inject)(struct load *, int sw, int port, const void *, size_t);
    /* After flows of switch 'sw' changed, together; may be NULL. */
    void (*committed)(struct load *, int sw);
    uint32_t resolver;
    uint16_t sal_port;
    uint64_t flow_mods, faults, last_written_us;
    uint64_t next_check_us; /* load_is_settled() looks no sooner. */
    uv_timer_t tick;        /* So that load_run_until() looks at times. */
};

uint64_t load_now_us(void);

/* Topologies: a core with 'edges' switches around it, or a fat tree. */
void load_star(struct load *, int edges, int hosts_per_edge);
void load_fat_tree(struct load *, int k);
void load_distances(struct load *);
/* Does this port lead to the host by a shortest way? */
bool load_leads_to(const struct load *, int sw, uint32_t port, int host);
void load_free(struct load *);

/* Switches. */
void load_switch_start(struct load *, struct load_switch *);
void load_switch_stop(struct load_switch *);
void load_switch_packet_in(struct load_switch *, int port, const void *,
                           size_t);
/* Both ends of the link at this port. */
void load_set_link(struct load *, int sw, int port, bool up);
/* A port without a link. */
void load_set_port(struct load *, int sw, int port, bool up);

/* Groups of a switch.  load_group_mod() is false if that makes no sense. */
const struct load_group *load_group_find(const struct load_switch *,
                                         uint32_t id);
bool load_group_mod(struct load_switch *, const struct ofp_header *);
void load_groups_tell(const struct load_switch *, struct ovs_list *replies);
void load_groups_forget(struct load_switch *);

/* The same for meters; load_meters_forget() leaves an empty set. */
struct load_meter *load_meter_find(const struct load_switch *, uint32_t id);
void load_meter_set(struct load_switch *, uint32_t id, uint32_t rate);
bool load_meter_mod(struct load_switch *, const struct ofp_header *);
void load_meters_tell(const struct load_switch *, struct ovs_list *replies);
void load_meters_forget(struct load_switch *);

/* Agents.  The instance 'j' of service 'i' is always on the same one. */
int load_agent_of(const struct load *, int i, int j);
void load_agent_start(struct load *, struct load_agent *);
void load_agent_stop(struct load_agent *);
/* Here I am: at 'sw' and 'port'. */
void load_probe(struct load_agent *);
/* Says what services[i].weight[j] is. */
void load_register(struct load *, int i, int j, bool wait);
void load_register_all(struct load *, struct load_agent *);
bool load_agents_are_answered(struct load *);
bool load_agents_are_attached(struct load *);
void load_service_name(int i, char name[64]);

/* Every flow of every switch against graph and registrations.  The number of
 * differences; the first ones are said on stderr if 'say'. */
size_t load_check(const struct load *, bool say);

/* The controller. */
struct load_controller {
    pid_t pid;
    char dir[64], config[96];
};
void load_controller_configure(struct load *, struct load_controller *);
void load_controller_start(struct load_controller *, const char *program);
void load_controller_kill(struct load_controller *, int signal);
void load_controller_remove(struct load_controller *);
double load_controller_cpu_us(const struct load_controller *);
double load_controller_memory_mb(const struct load_controller *);

/* Starts the controller, and all switches and agents of the topology, which
 * register all 'services' when they are connected. */
void load_begin(struct load *, struct load_controller *, const char *program);
/* Stops them.  The load is then as new. */
void load_end(struct load *, struct load_controller *);
/* Runs the loop until 'condition' holds.  False if it does not in time. */
bool load_run_until(struct load *, bool (*condition)(struct load *),
                    uint64_t timeout_us);
void load_run_for(struct load *, uint64_t us);
/* Switches have confirmed nothing new for a while. */
bool load_is_quiet(struct load *);
/* And what they hold is right. */
bool load_is_settled(struct load *);

#endif /* load.h */
