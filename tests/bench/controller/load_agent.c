/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/controller/load.h"

#include <netinet/in.h>
#include <string.h>
#include "agents/probe.h"
#include "util.h"

#define RETRY_MS 20
#define KEEPALIVE_MS 20000
#define IP_LEN 20
#define UDP_LEN 8
#define ETH_LEN 14

static void try_to_connect(uv_timer_t *);

uint64_t
load_now_us(void)
{
    return uv_hrtime() / 1000;
}

static struct load *
load_of(const struct load_agent *agent)
{
    return agent->timer.loop->data;
}

static uint64_t
request(struct load_agent *agent, Salient__V1__Envelope__BodyCase body_case,
        void *body)
{
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;

    envelope.request_id = ++agent->request_id;
    envelope.body_case = body_case;
    envelope.hello = body; /* Any member: all are pointers. */
    channel_send(agent->channel, &envelope);
    return envelope.request_id;
}

/* Where the host is. */

static void
put_be16(uint8_t *p, uint16_t value)
{
    p[0] = value >> 8;
    p[1] = value;
}

static void
put_be32(uint8_t *p, uint32_t value)
{
    put_be16(p, value >> 16);
    put_be16(p + 2, value);
}

/* As the edge switch hands it to the controller. */
void
load_probe(struct load_agent *agent)
{
    struct load *l = load_of(agent);
    uint8_t frame[ETH_LEN + IP_LEN + UDP_LEN + PROBE_LEN] = {
        2, 0x53, 0x41, 0x4c, 0, 1, 2, 1};
    uint8_t *ip = frame + ETH_LEN, *udp = ip + IP_LEN;
    struct probe probe = {.locator_v4 = agent->locator};
    uv_timeval64_t now;

    uv_gettimeofday(&now);
    agent->seq = probe_next_seq(agent->seq,
                                now.tv_sec * 1000 + now.tv_usec / 1000);
    probe.seq = agent->seq;
    memcpy(probe.endpoint_id, agent->identity.endpoint_id,
           sizeof probe.endpoint_id);
    put_be32(frame + 8, agent->locator);
    put_be16(frame + 12, 0x0800);
    ip[0] = 0x45;
    put_be16(ip + 2, IP_LEN + UDP_LEN + PROBE_LEN);
    ip[8] = 64;
    ip[9] = IPPROTO_UDP;
    put_be32(ip + 12, agent->locator);
    put_be32(ip + 16, l->resolver);
    put_be16(udp, l->sal_port);
    put_be16(udp + 2, l->sal_port);
    put_be16(udp + 4, UDP_LEN + PROBE_LEN);
    probe_build(&probe, agent->key, udp + UDP_LEN);
    if (l->inject) {
        l->inject(l, agent->sw, agent->port, frame, sizeof frame);
    } else {
        load_switch_packet_in(&l->switches[agent->sw], agent->port, frame,
                              sizeof frame);
    }
}

/* What it serves. */

int
load_agent_of(const struct load *l, int i, int j)
{
    return (i + j * MAX(1, l->n_agents / LOAD_INSTANCES_MAX)) % l->n_agents;
}

void
load_service_name(int i, char name[64])
{
    snprintf(name, 64, "s%d.ns%d.acme", i, i % 100);
}

void
load_register(struct load *l, int i, int j, bool wait)
{
    struct load_agent *agent = &l->agents[load_agent_of(l, i, j)];
    Salient__V1__Register m = SALIENT__V1__REGISTER__INIT;
    char name[64];

    load_service_name(i, name);
    m.which_case = SALIENT__V1__REGISTER__WHICH_NAME;
    m.name = name;
    m.protocol = IPPROTO_TCP;
    m.service_port = 1000 + j;
    m.weight = l->services[i].weight[j];
    m.wait = wait;
    uint64_t id = request(agent, SALIENT__V1__ENVELOPE__BODY_REGISTER, &m);
    if (wait) {
        agent->awaited = id;
        agent->answered_us = 0;
    }
}

/* The last one waits: its answer means that the switches have all. */
void
load_register_all(struct load *l, struct load_agent *agent)
{
    int last_i = -1, last_j = 0;

    for (int i = 0; i < l->n_services; i++) {
        for (int j = 0; j < l->services[i].n; j++) {
            if (load_agent_of(l, i, j) != agent->index) {
                continue;
            }
            if (last_i >= 0) {
                load_register(l, last_i, last_j, false);
            }
            last_i = i;
            last_j = j;
        }
    }
    if (last_i >= 0) {
        load_register(l, last_i, last_j, true);
    }
}

bool
load_agents_are_answered(struct load *l)
{
    for (int i = 0; i < l->n_agents; i++) {
        if (!l->agents[i].up || l->agents[i].awaited) {
            return false;
        }
    }
    return true;
}

bool
load_agents_are_attached(struct load *l)
{
    for (int i = 0; i < l->n_agents; i++) {
        if (!l->agents[i].attached) {
            return false;
        }
    }
    return true;
}

/* The session. */

static void
take_challenge(struct load_agent *agent,
               const Salient__V1__Challenge *challenge)
{
    Salient__V1__Proof proof = SALIENT__V1__PROOF__INIT;
    uint8_t mac[IDENTITY_PROOF_LEN];

    if (identity_session_key(&agent->identity, challenge->public_key.data,
                             challenge->nonce.data, true, agent->key)) {
        load_of(agent)->faults++;
        return;
    }
    identity_proof(agent->key, mac);
    proof.mac.data = mac;
    proof.mac.len = sizeof mac;
    request(agent, SALIENT__V1__ENVELOPE__BODY_PROOF, &proof);
}

static void
take_answer(struct load_agent *agent, uint64_t id, bool confirmed)
{
    if (id && id == agent->awaited) {
        agent->awaited = 0;
        agent->answered_us = load_now_us();
        load_of(agent)->faults += !confirmed;
    }
}

static void
receive(struct channel *channel, const Salient__V1__Envelope *e, void *aux)
{
    struct load_agent *agent = aux;
    struct load *l = load_of(agent);

    switch ((int) e->body_case) {
    case SALIENT__V1__ENVELOPE__BODY_CHALLENGE:
        take_challenge(agent, e->challenge);
        break;
    case SALIENT__V1__ENVELOPE__BODY_WELCOME:
        agent->up = true;
        l->resolver = e->welcome->resolver_v4;
        l->sal_port = e->welcome->sal_port;
        if (l->registered) {
            load_register_all(l, agent);
        }
        break;
    case SALIENT__V1__ENVELOPE__BODY_REGISTERED:
        take_answer(agent, e->request_id, e->registered->confirmed);
        break;
    case SALIENT__V1__ENVELOPE__BODY_ERROR:
        if (!l->faults++) {
            fprintf(stderr, "error: %s: %s\n", e->error->field,
                    e->error->message);
        }
        take_answer(agent, e->request_id, false);
        break;
    case SALIENT__V1__ENVELOPE__BODY_ATTACHMENT:
        agent->attached = e->attachment->attached;
        break;
    case SALIENT__V1__ENVELOPE__BODY_PROBE_REQUEST:
        if (agent->up) {
            load_probe(agent);
        }
        break;
    }
}

static void
opened(struct channel *channel, void *aux)
{
    struct load_agent *agent = aux;
    Salient__V1__Hello hello = SALIENT__V1__HELLO__INIT;
    char name[32];

    snprintf(name, sizeof name, "h%d", agent->index);
    hello.api_version = 1;
    hello.name = name;
    hello.software = CONST_CAST(char *, "bench");
    hello.public_key.data = agent->identity.public_key;
    hello.public_key.len = sizeof agent->identity.public_key;
    request(agent, SALIENT__V1__ENVELOPE__BODY_HELLO, &hello);
}

static void
channel_ended(struct channel *channel, const char *reason, void *aux)
{
    struct load_agent *agent = aux;
    struct load *l = load_of(agent);

    agent->channel = NULL;
    agent->up = agent->attached = false;
    l->open_handles--;
    if (!l->stopping) {
        uv_timer_start(&agent->timer, try_to_connect, RETRY_MS, 0);
    }
}

static const struct channel_ops ops = {
    .open = opened, .receive = receive, .closed = channel_ended};

static void
keep_alive(uv_timer_t *timer)
{
    Salient__V1__Keepalive keepalive = SALIENT__V1__KEEPALIVE__INIT;
    struct load_agent *agent = timer->data;

    if (agent->channel && agent->up) {
        request(agent, SALIENT__V1__ENVELOPE__BODY_KEEPALIVE, &keepalive);
    }
}

static void
try_to_connect(uv_timer_t *timer)
{
    struct load_agent *agent = timer->data;
    struct load *l = load_of(agent);
    char *error;

    if (channel_connect(l->loop, l->api, NULL, &ops, agent, &agent->channel,
                        &error)) {
        ovs_fatal(0, "%s", error);
    }
    l->open_handles++;
    uv_timer_start(timer, keep_alive, KEEPALIVE_MS, KEEPALIVE_MS);
}

void
load_agent_start(struct load *l, struct load_agent *agent)
{
    uv_timer_init(l->loop, &agent->timer);
    agent->timer.data = agent;
    try_to_connect(&agent->timer);
}

void
load_agent_stop(struct load_agent *agent)
{
    if (agent->channel) {
        channel_close(agent->channel);
    }
    uv_close((uv_handle_t *) &agent->timer, NULL);
}
