/* SPDX-License-Identifier: Apache-2.0 */
/* The uplinks: the data plane's hooks on them, and the probes that tell the
 * network where we are. */
#include "agents/agent_private.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "openvswitch/vlog.h"
#include "packets.h"
#include "agents/uplink_policy.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(uplinks);

static size_t
n_uplinks(const struct agent *agent)
{
    return host_netdev_n_uplinks(agent->netdev);
}

static const struct netdev_uplink *
uplink_at(const struct agent *agent, size_t i)
{
    return host_netdev_uplink(agent->netdev, i);
}

static void
detach(struct agent *agent, size_t i)
{
    if (agent->uplinks[i].attached) {
        datapath_detach(agent->datapath, agent->uplinks[i].attached);
        agent->uplinks[i].attached = 0;
    }
}

/* Attaches, or lets the data plane learn the uplink's addresses anew. */
static void
attach(struct agent *agent, size_t i)
{
    const struct netdev_uplink *netdev = uplink_at(agent, i);
    struct agent_uplink *uplink = &agent->uplinks[i];
    char *error = NULL;

    if (datapath_attach(agent->datapath, netdev->ifindex, &error)) {
        VLOG_WARN("%s: %s", netdev->name, error);
    } else {
        if (uplink->attached != netdev->ifindex) {
            VLOG_INFO("%s is an uplink, address "IP_FMT"%s", netdev->name,
                      IP_ARGS(htonl(netdev->address)),
                      IN6_IS_ADDR_UNSPECIFIED(&netdev->address_v6)
                          ? "" : ", IPv6 too");
        }
        uplink->attached = netdev->ifindex;
    }
    free(uplink->error);
    uplink->error = error;
}

/* Tells the data plane how new flows are shared out. */
static void
weigh(struct agent *agent)
{
    struct uplink_policy policies[AGENT_MAX_UPLINKS];
    uint32_t weights[AGENT_MAX_UPLINKS];
    size_t n = n_uplinks(agent);

    for (size_t i = 0; i < n; i++) {
        const struct netdev_uplink *uplink = uplink_at(agent, i);
        const struct agent_uplink_config *options
            = &agent->config->uplink_options[i];
        policies[i] = (struct uplink_policy) {
            .usable = agent->uplinks[i].attached && uplink->up
                      && (uplink->address
                          || !IN6_IS_ADDR_UNSPECIFIED(&uplink->address_v6)),
            .priority = options->priority,
            .weight = options->weight,
        };
    }
    uplink_policy_weights(policies, n, weights);
    for (size_t i = 0; i < n; i++) {
        agent->uplinks[i].weight = weights[i];
        if (agent->uplinks[i].attached) {
            datapath_set_uplink(agent->datapath, agent->uplinks[i].attached,
                                weights[i],
                                agent->config->uplink_options[i].behind_nat);
        }
    }
}

/* One that is down is not in use as long as another is up. */
void
agent_uplinks_changed(struct agent *agent)
{
    size_t n = n_uplinks(agent);
    bool any_up = false;

    /* First, as flows wait for it. */
    agent_migration_uplinks_changed(agent);
    agent_whereabouts_uplinks_changed(agent);
    for (size_t i = 0; i < n; i++) {
        any_up |= uplink_at(agent, i)->up;
    }
    for (size_t i = 0; i < n; i++) {
        const struct netdev_uplink *uplink = uplink_at(agent, i);
        bool wanted = uplink->ifindex && (uplink->up || !any_up);
        if (agent->uplinks[i].attached && !wanted
            && agent_migration_is_busy(agent)) {
            /* Detaching takes the kernel longer than a peer to answer. */
            agent_migration_when_idle(agent);
        } else if (!wanted
                   || uplink->ifindex != agent->uplinks[i].attached) {
            detach(agent, i);
        }
    }
    for (size_t i = 0; i < n; i++) {
        const struct netdev_uplink *uplink = uplink_at(agent, i);
        if (uplink->ifindex && (uplink->up || !any_up)) {
            attach(agent, i);
        }
    }
    weigh(agent);
}

/* Probes. */

static int64_t
unix_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* The locator at which the uplink is to be seen; all zero if there is none, or
 * nobody to tell. */
static struct in6_addr
probed_locator(const struct netdev_uplink *uplink,
               const struct session_welcome *welcome, bool v6)
{
    if (!uplink->up || !welcome) {
        return in6addr_any;
    }
    if (v6) {
        return IN6_IS_ADDR_UNSPECIFIED(&welcome->resolver_v6)
               ? in6addr_any : uplink->address_v6;
    }
    return uplink->address ? in6_addr_mapped_ipv4(htonl(uplink->address))
                           : in6addr_any;
}

/* The socket follows the port that Welcome named. */
struct probe_socket *
agent_socket(struct agent *agent)
{
    uint16_t port = agent->state.welcome.sal_port;

    if (!agent->state.have_welcome || agent->stopping) {
        return agent->probe_socket;
    }
    if (agent->probe_socket
        && probe_socket_port(agent->probe_socket) != port) {
        probe_socket_close(agent->probe_socket);
        agent->probe_socket = NULL;
    }
    if (!agent->probe_socket) {
        int error = probe_socket_open(agent->loop, port,
                                      agent_migration_received, agent,
                                      &agent->probe_socket);
        if (error) {
            static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(6, 3);
            VLOG_WARN_RL(&rl, "cannot bind UDP port %"PRIu16": %s; nothing "
                         "else may use the SAL port", port,
                         ovs_strerror(-error));
        }
    }
    return agent->probe_socket;
}

bool
agent_uplink_attached(const struct agent *agent, size_t i, bool v6)
{
    struct in6_addr own[AGENT_MAX_UPLINKS];
    size_t n = n_uplinks(agent);

    if (v6) {
        return controller_session_attached(agent->session,
                                           &uplink_at(agent, i)->address_v6);
    }
    for (size_t j = 0; j < n; j++) {
        own[j] = in6_addr_mapped_ipv4(htonl(uplink_at(agent, j)->address));
    }
    return agent->config->uplink_options[i].behind_nat
           ? controller_session_attached_elsewhere(agent->session, own, n)
           : controller_session_attached(agent->session, &own[i]);
}

static void
send_probe(struct agent *agent, size_t i, bool v6)
{
    const struct session_welcome *welcome
        = controller_session_welcome(agent->session);
    const struct netdev_uplink *uplink = uplink_at(agent, i);
    const uint8_t *key = controller_session_key(agent->session);
    struct probe_socket *sock = agent_socket(agent);
    struct probe_path path = {.ifindex = uplink->ifindex};
    struct in6_addr locator = probed_locator(uplink, welcome, v6);
    uint8_t packet[PROBE_LEN_V6];

    if (!sock || !key) {
        return;
    }
    agent->probe_seq = probe_next_seq(agent->probe_seq, unix_ms());
    struct probe probe = {.locator_v4 = v6 ? 0 : uplink->address,
                          .locator_v6 = locator,
                          .behind_nat
                              = !v6 && agent->config->uplink_options[i]
                                           .behind_nat,
                          .seq = agent->probe_seq};
    memcpy(probe.endpoint_id, agent->identity.endpoint_id,
           sizeof probe.endpoint_id);
    size_t len = probe_build(&probe, key, packet);

    memcpy(path.own.address, &locator, sizeof locator);
    if (v6) {
        memcpy(path.other.address, &welcome->resolver_v6, 16);
    } else {
        migration_locator_from_v4(welcome->resolver_v4, &path.other);
    }
    int error = probe_socket_send(sock, &path, packet, len);
    if (error) {
        static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(6, 3);
        VLOG_WARN_RL(&rl, "%s: cannot send a probe: %s", uplink->name,
                     ovs_strerror(-error));
        agent->uplinks[i].probes_failed++;
    } else {
        agent->uplinks[i].probes_sent++;
        VLOG_DBG("%s: probe %"PRIu32" over IPv%d", uplink->name, probe.seq,
                 v6 ? 6 : 4);
    }
}

void
agent_probe_arm(struct agent *agent)
{
    int64_t deadline = INT64_MAX;

    for (size_t i = 0; i < n_uplinks(agent); i++) {
        for (int v6 = 0; v6 < 2; v6++) {
            deadline = MIN(deadline,
                           probe_schedule_deadline(
                               &agent->uplinks[i].schedules[v6]));
        }
    }
    if (deadline == INT64_MAX || uv_is_closing((uv_handle_t *)
                                               &agent->probe_timer)) {
        uv_timer_stop(&agent->probe_timer);
    } else {
        int64_t now = agent_now(agent);
        uv_timer_start(&agent->probe_timer, agent_probe_timer,
                       deadline > now ? deadline - now : 0, 0);
    }
}

void
agent_probe_timer(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    const struct session_welcome *welcome
        = controller_session_welcome(agent->session);

    for (size_t i = 0; welcome && i < 2 * n_uplinks(agent); i++) {
        bool v6 = i % 2;
        bool attached = agent_uplink_attached(agent, i / 2, v6);
        if (probe_schedule_due(&agent->uplinks[i / 2].schedules[v6], attached,
                               welcome->probe_interval_ms,
                               agent_now(agent))) {
            send_probe(agent, i / 2, v6);
        }
    }
    agent_probe_arm(agent);
}

void
agent_probe_start(struct agent *agent)
{
    const struct session_welcome *welcome
        = controller_session_welcome(agent->session);

    for (size_t i = 0; i < 2 * n_uplinks(agent); i++) {
        struct probe_schedule *schedule
            = &agent->uplinks[i / 2].schedules[i % 2];
        struct in6_addr locator
            = probed_locator(uplink_at(agent, i / 2), welcome, i % 2);
        if (controller_session_is_up(agent->session)
            && !IN6_IS_ADDR_UNSPECIFIED(&locator)) {
            probe_schedule_start(schedule, agent_now(agent));
        } else {
            probe_schedule_stop(schedule);
        }
    }
    /* The first ones at once, not at the loop's next turn. */
    agent_probe_timer(&agent->probe_timer);
}

void
agent_probe_stop(struct agent *agent)
{
    for (size_t i = 0; i < n_uplinks(agent); i++) {
        probe_schedule_stop(&agent->uplinks[i].schedules[0]);
        probe_schedule_stop(&agent->uplinks[i].schedules[1]);
    }
    agent_probe_arm(agent);
}
