/* SPDX-License-Identifier: Apache-2.0 */
/* The migrator's shell: packets, clocks, the data plane's news and moves. */
#include "agents/agent_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agents/datapath_flows.h"
#include "agents/migrator.h"
#include "agents/wake_queue.h"
#include "agents/whereabouts.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(agent_migration);

/* The data plane does not wake us for each of its news: after some, we look
 * again by ourselves. */
#define NEWS_INTERVAL_MS 25
#define NEWS_AT_ONCE 4096

/* A new locator is announced to peers when the network knows it, or after so
 * long: its switches answer for it then, and a peer that asked for its
 * Ethernet address in vain would ask again only after a second. */
#define ATTACH_WAIT_MS 150
/* The controller tells what it has decided; its switches need a moment. */
#define ATTACH_SETTLE_MS 15

#define ASK_INTERVAL_MS 50

/* Between a change of routes and the probes that it causes. */
#define ROUTE_WAIT_MS 100

#define WAKE_AT_ONCE 256

/* Looks at the neighbor table before flows are woken: of so many groups a
 * millisecond. */
#define MAX_DROPS 16

/* Most moves are over by then. */
#define BUSY_MS 200

struct own_locator {
    struct migration_locator locator;
    int64_t ready_ms; /* It may be announced. */
    bool attached;
};

struct agent_migration {
    struct migrator *migrator;
    struct agent_events *events;
    uv_timer_t timer;
    uv_poll_t news;
    uv_timer_t news_timer;
    bool news_open;
    int n_handles;
    uv_timer_t attach_timer, route_timer, idle_timer, wake_timer;
    struct wake_queue wake;
    int64_t began_ms; /* The last move of ours. */
    struct own_locator locators[AGENT_MAX_UPLINKS][MIGRATOR_N_FAMILIES];
    /* When neighbors that did not answer were asked anew. */
    int64_t asked_ms;
    int64_t dropped_ms; /* When what waits for some was dropped, */
    unsigned int n_drops; /* and how often then. */
};

struct migrator *
agent_migrator(const struct agent *agent)
{
    return agent->migration ? agent->migration->migrator : NULL;
}

struct agent_events *
agent_migration_events(const struct agent *agent)
{
    return agent->migration ? agent->migration->events : NULL;
}

void
agent_migration_clock(const struct agent *agent, struct migrator_clock *clock)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    clock->unix_ms = now.tv_sec * 1000LL + now.tv_nsec / 1000000;
    clock->ms = agent_now(agent);
}

/* What the migrator does. */

/* A packet that is sent again was perhaps not answered because its next hop
 * was not: the kernel would ask for that only once a second. */
static void
ask_neighbors(struct agent *agent, int ifindex)
{
    struct agent_migration *migration = agent->migration;

    if (agent_now(agent) >= migration->asked_ms + ASK_INTERVAL_MS) {
        migration->asked_ms = agent_now(agent);
        host_netdev_forget_neighbors(agent->netdev, ifindex);
    }
}

static int
send_packet(const struct migrator_packet *packet, void *agent_)
{
    struct agent *agent = agent_;
    struct probe_socket *sock = agent_socket(agent);
    struct probe_path path = {.ifindex = packet->ifindex,
                              .own = packet->own,
                              .other = packet->other};

    if (!sock) {
        return -ENOTCONN;
    }
    if (packet->again) {
        ask_neighbors(agent, path.ifindex);
    }
    int error = migration_locator_is_none(&path.other)
                ? agent_rendezvous_send(agent, &path, packet->data,
                                        packet->len)
                : probe_socket_send(sock, &path, packet->data, packet->len);
    if (error) {
        static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(6, 3);
        char own[MIGRATOR_LOCATOR_LEN], other[MIGRATOR_LOCATOR_LEN];
        VLOG_DBG_RL(&rl, "from %s to %s: %s",
                    migrator_format_locator(&path.own, own),
                    migrator_format_locator(&path.other, other),
                    ovs_strerror(-error));
    }
    return error;
}

static int
look_at_flow(uint32_t id, struct datapath_flow *flow, void *agent_)
{
    struct agent *agent = agent_;
    return datapath_flow_get(agent->datapath, id, flow);
}

static void
move_flows(const struct datapath_move *move, const uint32_t ids[], size_t n,
           void *agent_)
{
    struct agent *agent = agent_;
    int error = datapath_flows_move(agent->datapath, move, ids, n);

    if (error < 0) {
        static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(6, 3);
        VLOG_ERR_RL(&rl, "cannot move flows: %s", ovs_strerror(-error));
    }
}

/* Some at a time: packets for the rest do not wait for that. */
static void
wake_timer(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    struct wake_queue *queue = &agent->migration->wake;
    const uint32_t *ids;
    int64_t good_ms;
    size_t n = wake_queue_take(queue, WAKE_AT_ONCE, &ids, &good_ms);

    if (n) {
        datapath_flows_wake(agent->datapath, ids, n, good_ms);
    }
    if (!wake_queue_is_empty(queue)) {
        uv_timer_start(timer, wake_timer, 1, 0);
    }
}

/* What was sent to where a peer no longer is waits in the kernel for the
 * neighbor's answer, three seconds; TCP does not send again what is there. */
static void
drop_waiting(struct agent *agent)
{
    struct agent_migration *migration = agent->migration;

    if (migration->dropped_ms != agent_now(agent)) {
        migration->dropped_ms = agent_now(agent);
        migration->n_drops = 0;
    }
    if (migration->n_drops++ >= MAX_DROPS) {
        return;
    }
    for (size_t i = 0; i < host_netdev_n_uplinks(agent->netdev); i++) {
        const struct netdev_uplink *uplink
            = host_netdev_uplink(agent->netdev, i);
        if (uplink->ifindex && uplink->up) {
            host_netdev_forget_neighbors(agent->netdev, uplink->ifindex);
        }
    }
}

static void
wake_flows(const uint32_t ids[], size_t n, int64_t good_ms, void *agent_)
{
    struct agent *agent = agent_;
    struct wake_queue *queue = &agent->migration->wake;
    size_t first = MIN(n, WAKE_AT_ONCE);

    drop_waiting(agent);
    datapath_flows_wake(agent->datapath, ids, first, good_ms);
    wake_queue_add(queue, ids + first, n - first, good_ms);
    if (!wake_queue_is_empty(queue)) {
        uv_timer_start(&agent->migration->wake_timer, wake_timer, 1, 0);
    }
}

static void
note_event(const struct migrator_event *event, void *agent_)
{
    struct agent *agent = agent_;

    if (event->type == MIGRATOR_MOVING) {
        agent->migration->began_ms = agent_now(agent);
    }
    agent_events_add(agent, event);
}

static const struct migrator_ops migrator_ops = {
    .send = send_packet,
    .look = look_at_flow,
    .move = move_flows,
    .wake = wake_flows,
    .event = note_event,
    .ask = agent_rendezvous_ask,
};

/* Time. */

static void
migration_timer(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    struct migrator_clock clock;

    agent_migration_clock(agent, &clock);
    migrator_run(agent_migrator(agent), &clock);
    agent_migration_arm(agent);
}

void
agent_migration_arm(struct agent *agent)
{
    struct agent_migration *migration = agent->migration;

    if (!migration) {
        return;
    }
    int64_t deadline = migrator_deadline(migration->migrator);
    if (deadline == INT64_MAX) {
        uv_timer_stop(&migration->timer);
    } else {
        int64_t wait = deadline - agent_now(agent);
        uv_timer_start(&migration->timer, migration_timer, MAX(wait, 0), 0);
    }
    agent_migrate_waiters_run(agent);
}

/* News of flows. */

struct news {
    struct agent *agent;
    struct migrator_clock clock;
};

static void
take_news(const struct datapath_flow_event *event, void *news_)
{
    const struct news *news = news_;
    struct migrator *migrator = agent_migrator(news->agent);
    struct datapath_flow flow;

    if (!event->bound) {
        migrator_flow_closed(migrator, event->id, &news->clock);
    } else if (!datapath_flow_get(news->agent->datapath, event->id, &flow)) {
        migrator_flow_bound(migrator, &flow, &news->clock);
        if (flow.server && flow.bound) {
            claims_bound(&news->agent->claims, flow.peer_endpoint,
                         &flow.path.peer, news->clock.ms);
        }
    }
}

static void
take_flow(const struct datapath_flow *flow, void *news_)
{
    const struct news *news = news_;
    migrator_flow_bound(agent_migrator(news->agent), flow, &news->clock);
}

/* Looks at all flows: at the start, and when news were lost. */
static void
resync(struct news *news)
{
    struct migrator *migrator = agent_migrator(news->agent);

    migrator_resync_begin(migrator);
    datapath_flows_visit(news->agent->datapath, take_flow, news);
    migrator_resync_end(migrator, &news->clock);
}

/* True if there were any. */
static bool
take_all_news(struct agent *agent)
{
    struct news news = {.agent = agent};
    bool lost;

    agent_migration_clock(agent, &news.clock);
    int n = datapath_events_take(agent->datapath, NEWS_AT_ONCE, take_news,
                                 &news, &lost);
    if (lost) {
        resync(&news);
    }
    if (n) {
        agent_hold_arm(agent);
    }
    return n > 0;
}

static void
news_timer(uv_timer_t *timer)
{
    struct agent *agent = timer->data;

    if (take_all_news(agent)) {
        uv_timer_start(timer, news_timer, NEWS_INTERVAL_MS, 0);
        agent_migration_arm(agent);
    }
}

static void
news_readable(uv_poll_t *poll, int status, int events)
{
    struct agent *agent = poll->data;
    struct agent_migration *migration = agent->migration;

    take_all_news(agent);
    uv_timer_start(&migration->news_timer, news_timer, NEWS_INTERVAL_MS, 0);
    agent_migration_arm(agent);
}

/* Packets. */

void
agent_migration_received(const struct probe_path *path, const uint8_t *data,
                         size_t len, void *agent_)
{
    struct agent *agent = agent_;
    struct migrator_packet packet = {.data = data, .len = len,
                                     .ifindex = path->ifindex,
                                     .own = path->own,
                                     .other = path->other};
    struct whereabouts whereabouts;
    struct migrator_clock clock;

    if (!whereabouts_parse(data, len, &whereabouts)) {
        if (whereabouts.kind == WHEREABOUTS_ASK
            || whereabouts.kind == WHEREABOUTS_TELL) {
            agent_service_router_received(agent, path, &whereabouts, data);
        } else {
            agent_whereabouts_received(agent, path, &whereabouts, data);
        }
        return;
    }
    if (len > SAL_OFS_TYPE && (data[SAL_OFS_TYPE] == SAL_TYPE_PROBE
                               || data[SAL_OFS_TYPE] == SAL_TYPE_FIN)) {
        agent_lost_flows_received(agent, path, data, len);
        return;
    }
    if (!agent->migration || len < SAL_CONTROL_HEADER_LEN
        || (data[SAL_OFS_TYPE] != SAL_TYPE_RSYN
            && data[SAL_OFS_TYPE] != SAL_TYPE_RSYN_ACK
            && data[SAL_OFS_TYPE] != SAL_TYPE_RSYN_DONE)) {
        return;
    }
    /* It may be about a flow that was bound just now. */
    take_all_news(agent);
    agent_migration_clock(agent, &clock);
    migrator_receive(agent->migration->migrator, &packet, &clock);
    agent_migration_arm(agent);
}

/* Uplinks. */

static void
attach_timer(uv_timer_t *timer)
{
    agent_migration_uplinks_changed(timer->data);
}

/* When the locator may be announced. */
static int64_t
ready_at(struct agent *agent, size_t i, int family,
         const struct migration_locator *locator)
{
    struct own_locator *own = &agent->migration->locators[i][family];
    int64_t now = agent_now(agent);
    bool attached = !controller_session_is_up(agent->session)
                    || agent_uplink_attached(agent, i, family == MIGRATOR_V6);

    if (!migration_locator_equal(locator, &own->locator)) {
        own->locator = *locator;
        own->attached = attached;
        own->ready_ms = attached ? now : now + ATTACH_WAIT_MS;
    } else if (attached && !own->attached) {
        own->attached = true;
        own->ready_ms = MIN(own->ready_ms, now + ATTACH_SETTLE_MS);
    }
    return own->ready_ms;
}

/* Stores the locator unless the network does not know it yet. */
static void
put_locator(struct agent *agent, size_t i, int family,
            const struct migration_locator *locator,
            struct migrator_uplink *uplink)
{
    struct agent_migration *migration = agent->migration;
    struct own_locator *own = &migration->locators[i][family];

    if (!uplink->usable || migration_locator_is_none(locator)) {
        memset(own, 0, sizeof *own);
        return;
    }
    int64_t left = ready_at(agent, i, family, locator) - agent_now(agent);
    if (left > 0) {
        uint64_t due = uv_timer_get_due_in(&migration->attach_timer);
        uv_timer_start(&migration->attach_timer, attach_timer,
                       due ? MIN(due, left) : left, 0);
    } else {
        uplink->locators[family] = *locator;
    }
}

static void
put_uplink(struct agent *agent, size_t i, struct migrator_uplink *uplink)
{
    const struct netdev_uplink *netdev = host_netdev_uplink(agent->netdev, i);
    struct migration_locator v4 = {.port = 0}, v6 = {.port = 0};

    ovs_strlcpy(uplink->name, netdev->name, sizeof uplink->name);
    uplink->ifindex = netdev->ifindex;
    uplink->usable = netdev->ifindex && netdev->up;
    uplink->nat = agent->config->uplink_options[i].behind_nat;
    /* Those of equal priority share the flows: no one is better. */
    uplink->rank = agent->config->uplink_options[i].priority;
    if (netdev->address) {
        migration_locator_from_v4(netdev->address, &v4);
    }
    memcpy(v6.address, &netdev->address_v6, sizeof v6.address);
    put_locator(agent, i, MIGRATOR_V4, &v4, uplink);
    put_locator(agent, i, MIGRATOR_V6, &v6, uplink);
}

void
agent_migration_uplinks_changed(struct agent *agent)
{
    struct migrator *migrator = agent_migrator(agent);
    struct migrator_uplink uplinks[AGENT_MAX_UPLINKS];
    size_t n = host_netdev_n_uplinks(agent->netdev);
    struct migrator_clock clock;

    if (!migrator) {
        return;
    }
    memset(uplinks, 0, sizeof uplinks);
    for (size_t i = 0; i < n; i++) {
        put_uplink(agent, i, &uplinks[i]);
    }
    agent_migration_clock(agent, &clock);
    migrator_set_uplinks(migrator, uplinks, n, &clock);
    agent_migration_arm(agent);
}

static void
idle_timer(uv_timer_t *timer)
{
    agent_uplinks_changed(timer->data);
}

bool
agent_migration_is_busy(const struct agent *agent)
{
    return agent->migration
           && agent_now(agent) < agent->migration->began_ms + BUSY_MS;
}

void
agent_migration_when_idle(struct agent *agent)
{
    uv_timer_start(&agent->migration->idle_timer, idle_timer, BUSY_MS, 0);
}

/* Routes may change in bursts. */
static void
route_timer(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    struct migrator_clock clock;

    agent_migration_clock(agent, &clock);
    migrator_suspect(agent_migrator(agent), &clock);
    agent_migration_arm(agent);
}

static void
routes_changed(void *agent_)
{
    struct agent *agent = agent_;
    struct agent_migration *migration = agent->migration;

    if (migration && !uv_is_active((uv_handle_t *) &migration->route_timer)) {
        uv_timer_start(&migration->route_timer, route_timer, ROUTE_WAIT_MS,
                       0);
    }
}

/* Life. */

void
agent_migration_configure(struct agent *agent)
{
    const struct migrator_config *config = &agent->config->migration;

    if (agent->migration) {
        migrator_configure(agent->migration->migrator, config);
    }
}

void
agent_migration_start(struct agent *agent)
{
    struct agent_migration *migration = xzalloc(sizeof *migration);
    uint8_t secret[MIGRATION_SECRET_LEN];
    struct news news = {.agent = agent};

    randombytes_buf(secret, sizeof secret);
    migration->migrator = migrator_create(&agent->identity, secret,
                                          &migrator_ops, agent);
    sodium_memzero(secret, sizeof secret);
    migrator_configure(migration->migrator, &agent->config->migration);
    migration->events = agent_events_create();
    uv_timer_init(agent->loop, &migration->timer);
    uv_timer_init(agent->loop, &migration->news_timer);
    uv_timer_init(agent->loop, &migration->attach_timer);
    migration->timer.data = migration->news_timer.data = agent;
    uv_timer_init(agent->loop, &migration->route_timer);
    migration->attach_timer.data = migration->route_timer.data = agent;
    uv_timer_init(agent->loop, &migration->idle_timer);
    uv_timer_init(agent->loop, &migration->wake_timer);
    migration->idle_timer.data = migration->wake_timer.data = agent;
    migration->began_ms = INT64_MIN / 2;
    migration->n_handles = 6;
    if (!uv_poll_init(agent->loop, &migration->news,
                      datapath_events_fd(agent->datapath))) {
        migration->news.data = agent;
        migration->n_handles++;
        migration->news_open = true;
        uv_poll_start(&migration->news, UV_READABLE, news_readable);
    } else {
        VLOG_ERR("cannot wait for news of flows; new ones do not migrate");
    }
    agent->migration = migration;
    host_netdev_watch_routes(agent->netdev, routes_changed, agent);
    agent_socket(agent);
    agent_migration_uplinks_changed(agent);
    agent_migration_clock(agent, &news.clock);
    resync(&news);
    agent_migration_arm(agent);
}

static void
handle_closed(uv_handle_t *handle)
{
    struct agent_migration *migration = handle->data;

    if (!--migration->n_handles) {
        free(migration);
    }
}

void
agent_migration_stop(struct agent *agent)
{
    struct agent_migration *migration = agent->migration;

    if (!migration) {
        return;
    }
    agent->migration = NULL;
    agent_events_destroy(migration->events);
    migrator_destroy(migration->migrator);
    wake_queue_destroy(&migration->wake);
    migration->timer.data = migration->news_timer.data = migration;
    migration->news.data = migration->attach_timer.data = migration;
    migration->route_timer.data = migration->idle_timer.data = migration;
    migration->wake_timer.data = migration;
    uv_close((uv_handle_t *) &migration->timer, handle_closed);
    uv_close((uv_handle_t *) &migration->news_timer, handle_closed);
    uv_close((uv_handle_t *) &migration->attach_timer, handle_closed);
    uv_close((uv_handle_t *) &migration->route_timer, handle_closed);
    uv_close((uv_handle_t *) &migration->idle_timer, handle_closed);
    uv_close((uv_handle_t *) &migration->wake_timer, handle_closed);
    if (migration->news_open) {
        uv_close((uv_handle_t *) &migration->news, handle_closed);
    }
}
