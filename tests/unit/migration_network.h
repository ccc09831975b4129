/* SPDX-License-Identifier: Apache-2.0 */
/* Two daemons in one program: real machines, keys and packets of the migration
 * protocol; the network is an array, the clock a variable.
 *
 *     host 0, addresses 10.0.0.x    ------------    host 1, addresses 10.1.0.x
 *
 * Includes CUnit's assertions: for unit tests only. */
#ifndef SALIENT_MIGRATION_NETWORK_H
#define SALIENT_MIGRATION_NETWORK_H 1

#include "tests/unit/unit.h"

#include "agents/migration.h"
#include "agents/migration_message.h"
#include "agents/migration_peer.h"

#define NETWORK_SLOTS 256

/* Flows of a group other than 0: the mover's, as the receiver numbers them. */
#define NETWORK_FLOWS 10000

struct packet {
    bool used;
    uint8_t data[SAL_MAX_HEADER_LEN];
    size_t len;
    bool resolve;
    int sender;
    struct migration_locator source, to;
};

struct host {
    struct identity identity;
    uint8_t secret[MIGRATION_SECRET_LEN];
    struct migration_peer peer;
    struct migration machine;
    struct migration_locator held[2]; /* Where packets reach it. */
    struct migration_locator registered; /* What the rendezvous knows. */
    struct migration_parts sent, got; /* Of a list of flows. */
    uint32_t flows[NETWORK_FLOWS];
    size_t n_flows;
    bool got_flow[NETWORK_FLOWS];
    int n_list_parts; /* Received. */
    struct packet rsyn; /* Of the step under way; length 0 = none. */
    int n_bound, n_used, n_confirmed;
};

struct network {
    struct host hosts[2];
    struct packet slots[NETWORK_SLOTS];
    int64_t now;
    /* Addresses at which each host answered a challenge, in order. */
    struct migration_locator proved[2][256];
    int n_proved[2];
    int n_sent, n_overflow;
    uint8_t part, parts; /* Of what is being answered; 0 = 1 of 1. */
};

static inline struct migration_locator
host_address(int host, int i)
{
    struct migration_locator locator;
    migration_locator_from_v4(0x0a000000 + (host << 16) + i, &locator);
    return locator;
}

static inline void
network_context(struct network *net, int host,
                struct migration_context *context)
{
    context->now = net->now;
    context->nonce = unit_random() | 1;
    context->secret = net->hosts[host].secret;
}

static inline void
network_put(struct network *net, const struct packet *packet)
{
    net->n_sent++;
    for (int i = 0; i < NETWORK_SLOTS; i++) {
        if (!net->slots[i].used) {
            net->slots[i] = *packet;
            net->slots[i].used = true;
            return;
        }
    }
    net->n_overflow++; /* A router drops it. */
}

/* RSYN-DONE with the list of flows, in parts. */
static inline void
network_send_list(struct network *net, int host, struct packet *packet,
                  const struct migration_signal *signal)
{
    struct host *h = &net->hosts[host];
    struct migration_details details = {
        .group = h->machine.group, .unix_ms = net->now,
        .parts = migration_parts_needed(h->n_flows)};

    migration_parts_begin(&h->sent, details.parts);
    for (size_t i = 0; i < h->n_flows; i += MIGRATION_FLOWS_PER_PART) {
        size_t left = h->n_flows - i;
        details.part++;
        details.flows = h->flows + i;
        details.n_flows = left < MIGRATION_FLOWS_PER_PART
                          ? left : MIGRATION_FLOWS_PER_PART;
        packet->len = migration_peer_seal(&h->peer, &h->identity, signal,
                                          &details, packet->data);
        network_put(net, packet);
    }
}

static inline void
network_send(struct network *net, int host,
             const struct migration_action *action, uint32_t ack)
{
    struct host *h = &net->hosts[host];
    struct migration_details details = {.ack = ack, .unix_ms = net->now,
                                        .group = h->machine.group,
                                        .part = net->part,
                                        .parts = net->parts};
    struct packet packet = {.sender = host, .resolve = action->resolve,
                            .source = h->machine.local, .to = action->to};

    if (action->signal.kind == MIGRATION_DONE) {
        int n = net->n_proved[host]++;
        net->proved[host][n % 256] = h->machine.local;
        if (action->signal.need_flows) {
            network_send_list(net, host, &packet, &action->signal);
            return;
        }
        migration_parts_begin(&h->sent, 1);
    }
    if (action->signal.kind == MIGRATION_RSYN && h->rsyn.len) {
        memcpy(packet.data, h->rsyn.data, h->rsyn.len);
        packet.len = h->rsyn.len;
    } else {
        packet.len = migration_peer_seal(&h->peer, &h->identity,
                                         &action->signal, &details,
                                         packet.data);
    }
    if (action->signal.kind == MIGRATION_RSYN) {
        h->rsyn = packet;
    }
    network_put(net, &packet);
}

static inline bool
network_has_proved(const struct network *net, int host,
                   const struct migration_locator *locator)
{
    for (int i = 0; i < 256 && i < net->n_proved[host]; i++) {
        if (migration_locator_equal(&net->proved[host][i], locator)) {
            return true;
        }
    }
    return false;
}

static inline void
network_act(struct network *net, int host,
            const struct migration_actions *actions, uint32_t ack)
{
    struct host *h = &net->hosts[host];

    h->rsyn.len = 0;
    for (size_t i = 0; i < actions->n; i++) {
        const struct migration_action *action = &actions->actions[i];
        switch (action->type) {
        case MIGRATION_SEND:
            network_send(net, host, action, ack);
            break;
        case MIGRATION_BIND:
            CU_ASSERT_TRUE(network_has_proved(net, !host, &action->to));
            h->n_bound++;
            break;
        case MIGRATION_USE:
            h->n_used++;
            break;
        case MIGRATION_CONFIRMED:
            h->n_confirmed++;
            break;
        }
    }
}

/* A list, or a confirmation, in parts: whether the machine is to have it. */
static inline bool
network_collect(struct host *h, const struct migration_message *message,
                const struct migration_received *received)
{
    if (message->signal.kind == MIGRATION_BOUND) {
        return migration_parts_confirm(&h->sent, message->part);
    }
    if (message->n_flows && received->signal.mac) {
        if (!h->got.missing) {
            migration_parts_begin(&h->got, message->parts);
        }
        for (size_t i = 0; i < message->n_flows; i++) {
            h->got_flow[message->flows[i] - 1] = true;
        }
        h->n_list_parts++;
        h->machine.flows_known |= migration_parts_confirm(&h->got,
                                                          message->part);
    }
    return true;
}

/* A packet comes in at 'host', from wherever it says. */
static inline void
network_receive(struct network *net, int host, const struct packet *packet)
{
    struct host *h = &net->hosts[host];
    struct migration_packet in = {packet->data, packet->len, packet->source};
    struct migration_context context;
    struct migration_message message;
    struct migration_received received;
    struct migration_actions actions;

    network_context(net, host, &context);
    if (!migration_message_parse(in.data, in.len, &message)
        && !migration_peer_open(&h->peer, &h->identity, &in, &message,
                                &received)
        && migration_peer_admit(&h->peer, &h->machine, &received, net->now)
        && network_collect(h, &message, &received)) {
        migration_receive(&h->machine, &context, &received, &actions);
        if (message.signal.kind == MIGRATION_DONE) {
            net->part = message.part;
            net->parts = message.parts;
        }
        network_act(net, host, &actions, message.seq);
        net->part = net->parts = 0;
    }
}

/* The host that a packet reaches; -1 = none. */
static inline int
network_route(const struct network *net, const struct packet *packet)
{
    const struct migration_locator *to
        = packet->resolve ? &net->hosts[!packet->sender].registered
                          : &packet->to;
    for (int host = 0; host < 2; host++) {
        for (int i = 0; i < 2; i++) {
            if (!migration_locator_is_none(to)
                && migration_locator_equal(to, &net->hosts[host].held[i])) {
                return host;
            }
        }
    }
    return -1;
}

static inline void
network_deliver(struct network *net, int slot)
{
    struct packet packet = net->slots[slot];
    int host = network_route(net, &packet);

    net->slots[slot].used = false;
    if (host >= 0) {
        network_receive(net, host, &packet);
    }
}

/* The daemon of 'host' starts, for the first time or again. */
static inline void
network_start(struct network *net, int host)
{
    struct host *h = &net->hosts[host];
    struct migration_locator local = h->machine.local, peer = h->machine.peer;
    uint32_t group = h->machine.group;
    struct migration_context context;
    struct migration_actions actions;

    for (size_t i = 0; i < sizeof h->secret; i++) {
        h->secret[i] = unit_random();
    }
    memset(&h->machine, 0, sizeof h->machine);
    h->machine.group = group;
    memcpy(h->machine.peer_id, net->hosts[!host].identity.endpoint_id,
           sizeof h->machine.peer_id);
    migration_peer_init(&h->peer, h->machine.peer_id, net->now);
    network_context(net, host, &context);
    migration_start(&h->machine, &context, &local, &peer, &actions);
    network_act(net, host, &actions, 0);
}

/* A new locator; the old one stays for a while if 'soft'. */
static inline void
network_move(struct network *net, int host,
             const struct migration_locator *to, bool soft)
{
    struct host *h = &net->hosts[host];
    struct migration_context context;
    struct migration_actions actions;
    static const struct migration_locator none;

    h->held[1] = soft ? h->machine.local : none;
    h->held[0] = *to;
    network_context(net, host, &context);
    if (migration_locator_is_none(to)) {
        migration_lose_local(&h->machine, &actions);
    } else {
        migration_set_local(&h->machine, &context, to, &actions);
    }
    network_act(net, host, &actions, 0);
}

static inline void
network_run_timers(struct network *net)
{
    for (int host = 0; host < 2; host++) {
        struct migration_context context;
        struct migration_actions actions;
        network_context(net, host, &context);
        migration_run(&net->hosts[host].machine, &context, &actions);
        network_act(net, host, &actions, 0);
    }
}

/* To the next timer. */
static inline void
network_advance(struct network *net)
{
    int64_t next = INT64_MAX;
    for (int host = 0; host < 2; host++) {
        int64_t deadline = migration_deadline(&net->hosts[host].machine);
        next = deadline < next ? deadline : next;
    }
    if (next != INT64_MAX && next > net->now) {
        net->now = next;
    }
    network_run_timers(net);
}

static inline void
network_init(struct network *net)
{
    memset(net, 0, sizeof *net);
    net->now = 1800000000000;
    for (int host = 0; host < 2; host++) {
        struct host *h = &net->hosts[host];
        identity_generate(&h->identity);
        h->machine.local = host_address(host, 1);
        h->machine.peer = host_address(!host, 1);
        h->held[0] = h->registered = h->machine.local;
    }
    network_start(net, 0);
    network_start(net, 1);
}

static inline bool
network_is_quiet(const struct network *net)
{
    for (int i = 0; i < NETWORK_SLOTS; i++) {
        if (net->slots[i].used) {
            return false;
        }
    }
    return true;
}

/* Delivers all that is on its way, in order, until nothing is. */
static inline void
network_drain(struct network *net)
{
    for (int round = 0; round < 100 && !network_is_quiet(net); round++) {
        for (int i = 0; i < NETWORK_SLOTS; i++) {
            if (net->slots[i].used) {
                network_deliver(net, i);
            }
        }
    }
    CU_ASSERT_TRUE(network_is_quiet(net));
}

/* Both know where the other is. */
static inline bool
network_is_settled(const struct network *net)
{
    for (int host = 0; host < 2; host++) {
        const struct migration *m = &net->hosts[host].machine;
        if (m->state != MIGRATION_ESTABLISHED
            || !migration_locator_equal(&m->peer,
                                        &net->hosts[!host].machine.local)) {
            return false;
        }
    }
    return true;
}

#endif /* migration_network.h */
