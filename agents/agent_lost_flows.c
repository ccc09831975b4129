/* SPDX-License-Identifier: Apache-2.0 */
/* Flows that one end has lost; see lost_flow.h. */
#include "agents/agent_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "agents/datapath_cursor.h"
#include "agents/datapath_flows.h"
#include "agents/lost_flow.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(lost_flows);

#define SLOT_MS 5000 /* A challenge is good for one to two of them. */

/* Messages about lost flows that are looked at, at once and a second: each may
 * cost an X25519 operation. */
#define LOST_FLOWS_BURST 200
#define LOST_FLOWS_PER_S 200

/* Flows of which the peer's SAL port was told. */
#define N_TOLD 256

struct agent_lost_flows {
    uint8_t secret[LOST_FLOW_SECRET_LEN];
    int64_t credit_ms, credited_at; /* 1000 are one message. */
    uint32_t told[N_TOLD]; /* Flow IDs, by themselves; 0: none. */
    struct lost_flow_counters counters;
};

static bool
admit(struct agent *agent)
{
    struct agent_lost_flows *lost = agent->lost_flows;
    int64_t now = agent_now(agent);

    lost->credit_ms += (now - lost->credited_at) * LOST_FLOWS_PER_S;
    lost->credit_ms = MIN(lost->credit_ms, LOST_FLOWS_BURST * 1000);
    lost->credited_at = now;
    if (lost->credit_ms < 1000) {
        lost->counters.limited++;
        return false;
    }
    lost->credit_ms -= 1000;
    return true;
}

static void
say(struct agent *agent, const struct probe_path *path,
    const struct lost_flow *flow, const uint8_t *peer_key)
{
    struct probe_socket *sock = agent_socket(agent);
    uint8_t packet[LOST_FLOW_FIN_LEN];
    int len = lost_flow_build(&agent->identity, flow, peer_key, packet);

    if (len > 0 && sock) {
        probe_socket_send(sock, path, packet, len);
    }
}

/* Where to tell the peer.  Its daemon listens on the SAL port; behind a NAT it
 * hears what is sent to where its DATA comes from.  Which it is DATA does not
 * say, so each second time of a flow it is the latter.  The source address may
 * be forged: no port where somebody may serve is bothered, and with no more
 * than what came from there. */
static uint16_t
port_to_tell(struct agent_lost_flows *lost,
             const struct datapath_unknown_flow *unknown)
{
    uint32_t *told = &lost->told[unknown->id % N_TOLD];

    if (*told != unknown->id) {
        *told = unknown->id;
        return 0;
    }
    *told = 0;
    return unknown->other.port > IPPORT_RESERVED
           && unknown->sal_len >= LOST_FLOW_PROBE_LEN ? unknown->other.port
                                                      : 0;
}

/* DATA came for a flow that we do not have. */
static void
unknown_flow(const struct datapath_unknown_flow *unknown, void *agent_)
{
    struct agent *agent = agent_;
    const struct lost_flow flow = {.type = SAL_TYPE_PROBE,
                                   .src_flow = unknown->id,
                                   .dst_flow = unknown->peer_id};
    struct probe_path path = {.own = unknown->own, .other = unknown->other};

    if (unknown->id && unknown->peer_id && admit(agent)) {
        path.other.port = port_to_tell(agent->lost_flows, unknown);
        agent->lost_flows->counters.asked++;
        say(agent, &path, &flow, NULL);
    }
}

static uint64_t
challenge(const struct agent *agent, const struct lost_flow *flow, int slot)
{
    return lost_flow_challenge(agent->lost_flows->secret, flow->dst_flow,
                               flow->src_flow,
                               agent_now(agent) / SLOT_MS + slot);
}

/* The peer says that it has lost the other end of a flow that we have. */
static void
flow_was_lost(struct agent *agent, const struct probe_path *path,
              const struct lost_flow *flow, const uint8_t *packet)
{
    struct agent_lost_flows *lost = agent->lost_flows;

    if (flow->type == SAL_TYPE_PROBE) {
        const struct lost_flow answer = {.type = SAL_TYPE_PROBE,
                                         .src_flow = flow->dst_flow,
                                         .dst_flow = flow->src_flow,
                                         .nonce = challenge(agent, flow, 0)};
        lost->counters.challenged++;
        say(agent, path, &answer, NULL);
    } else if ((flow->nonce == challenge(agent, flow, 0)
                || flow->nonce == challenge(agent, flow, -1))
               && lost_flow_authentic(&agent->identity, flow, packet)) {
        VLOG_DBG("the peer has lost flow %08x; it ends", flow->dst_flow);
        lost->counters.closed++;
        datapath_flow_end(agent->datapath, flow->dst_flow);
    } else {
        lost->counters.forged++;
    }
}

void
agent_lost_flows_received(struct agent *agent, const struct probe_path *path,
                          const uint8_t *packet, size_t len)
{
    struct datapath_flow have;
    struct lost_flow flow;

    if (!agent->lost_flows || lost_flow_parse(packet, len, &flow)
        || !admit(agent)) {
        return;
    }
    int missing = datapath_flow_get(agent->datapath, flow.dst_flow, &have);
    if (missing && flow.type == SAL_TYPE_PROBE && flow.nonce) {
        /* Our PROBE is answered. */
        const struct lost_flow fin = {.type = SAL_TYPE_FIN,
                                      .src_flow = flow.dst_flow,
                                      .dst_flow = flow.src_flow,
                                      .nonce = flow.nonce};
        agent->lost_flows->counters.proved++;
        say(agent, path, &fin, flow.public_key);
    } else if (!missing && have.peer_id == flow.src_flow
               && !memcmp(have.peer_endpoint, flow.endpoint,
                          sizeof flow.endpoint)
               && (flow.type == SAL_TYPE_FIN || !flow.nonce)) {
        flow_was_lost(agent, path, &flow, packet);
    } else {
        agent->lost_flows->counters.refused++;
    }
}

void
agent_lost_flows_start(struct agent *agent)
{
    agent->lost_flows = xzalloc(sizeof *agent->lost_flows);
    agent->lost_flows->credit_ms = LOST_FLOWS_BURST * 1000;
    agent->lost_flows->credited_at = agent_now(agent);
    randombytes_buf(agent->lost_flows->secret,
                    sizeof agent->lost_flows->secret);
    datapath_on_unknown_flow(agent->datapath, unknown_flow, agent);
}

void
agent_lost_flows_stop(struct agent *agent)
{
    free(agent->lost_flows);
    agent->lost_flows = NULL;
}

const struct lost_flow_counters *
agent_lost_flow_counters(const struct agent *agent)
{
    static const struct lost_flow_counters none;
    return agent->lost_flows ? &agent->lost_flows->counters : &none;
}
