/* SPDX-License-Identifier: Apache-2.0 */
/* A peer that holds its key, and with it says anything in any order, while
 * uplinks come and go: 16 bytes of the input are a step.  It may move its own
 * flows; those of another peer stay where they are, and nothing grows without
 * bound. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include "agents/migrator.h"
#include "openvswitch/json.h"
#include <sodium.h>
#include "util.h"

enum { N_FLOWS = 6, HOSTILE_FLOWS = 4, STEP = 16 };

struct world {
    struct migrator *migrator;
    struct datapath_flow flows[N_FLOWS];
    struct migration_challenge challenge; /* The last one, and its nonce. */
    uint64_t nonce;
};

static int
op_send(const struct migrator_packet *packet, void *world_)
{
    struct world *world = world_;
    struct migration_message message;

    FUZZ_CHECK(packet->len <= SAL_MAX_HEADER_LEN);
    FUZZ_CHECK(!migration_message_parse(packet->data, packet->len,
                                        &message));
    if (message.signal.kind == MIGRATION_CHALLENGE) {
        world->challenge = message.signal.challenge;
    } else if (message.signal.kind == MIGRATION_RSYN) {
        world->nonce = message.signal.nonce;
    }
    return 0;
}

static int
op_look(uint32_t id, struct datapath_flow *flow, void *world_)
{
    const struct world *world = world_;

    if (id < 1 || id > N_FLOWS) {
        return -ENOENT;
    }
    *flow = world->flows[id - 1];
    flow->unanswered = id % 2;
    flow->quiet_ms = id * 1000;
    return 0;
}

static void
op_move(const struct datapath_move *move, const uint32_t ids[], size_t n,
        void *world_)
{
    struct world *world = world_;

    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK(ids[i] >= 1 && ids[i] <= N_FLOWS);
        struct datapath_flow *flow = &world->flows[ids[i] - 1];
        FUZZ_CHECK(!memcmp(flow->peer_endpoint, move->peer_endpoint,
                           sizeof flow->peer_endpoint));
        flow->path = move->path;
        flow->group = move->group;
    }
}

static void
op_wake(const uint32_t ids[], size_t n, int64_t good_ms, void *world)
{
}

static void
op_event(const struct migrator_event *event, void *world)
{
}

static bool
op_ask(const uint8_t peer[SAL_ENDPOINT_ID_LEN], void *world)
{
    return true;
}

static const struct migrator_ops ops = {
    .send = op_send, .look = op_look, .move = op_move, .wake = op_wake,
    .event = op_event, .ask = op_ask};

/* The same at each start. */
static void
make_identity(uint8_t seed, struct identity *identity)
{
    memset(identity->secret_key, seed, sizeof identity->secret_key);
    identity->secret_key[0] &= 0xf8;
    identity->secret_key[31] = (seed & 0x7f) | 0x40;
    crypto_scalarmult_base(identity->public_key, identity->secret_key);
    identity_endpoint_id(identity->public_key, identity->endpoint_id);
}

static void
set_uplinks(struct world *world, uint8_t bits,
            const struct migrator_clock *clock)
{
    struct migrator_uplink uplinks[2];

    memset(uplinks, 0, sizeof uplinks);
    for (int i = 0; i < 2; i++) {
        uplinks[i].ifindex = 1 + i;
        uplinks[i].rank = i;
        uplinks[i].usable = bits & 1 << i;
        migration_locator_from_v4(0x0a000001 + (i << 8) + (bits >> 4),
                                  &uplinks[i].locators[MIGRATOR_V4]);
        if (bits & 4) {
            uplinks[i].locators[MIGRATOR_V6].address[0] = 0x20;
            uplinks[i].locators[MIGRATOR_V6].address[15] = 1 + i;
        }
    }
    migrator_set_uplinks(world->migrator, uplinks, 2, clock);
}

static void
say(struct world *world, const uint8_t *step, const struct identity *self,
    const struct identity *peer, const struct migrator_clock *clock)
{
    struct migration_message message = {.signal.kind = step[1] % 4};
    struct migration_signal *signal = &message.signal;
    struct migration_peer crypto;
    uint8_t packet[SAL_MAX_HEADER_LEN];

    migration_peer_init(&crypto, self->endpoint_id, 0);
    signal->mac = signal->kind >= MIGRATION_DONE || step[2] & 1;
    signal->need_flows = step[2] & 2 && signal->kind % 2;
    signal->nat = step[2] & 4 && !(signal->kind % 2);
    signal->nonce = step[2] & 8 ? world->nonce | 1 : step[3] | 1;
    migration_locator_from_v4(0x0a010001 + (step[4] & 7), &signal->locator);
    if (signal->kind == MIGRATION_BOUND) {
        memset(&signal->locator, 0, sizeof signal->locator);
    }
    if (step[2] & 16) {
        signal->challenge = world->challenge;
    } else {
        signal->challenge.stamp = step[5];
    }
    message.seq = step[6] + 1;
    message.group = step[7];
    message.parts = 1 + step[8] % 3;
    message.part = 1 + step[9] % message.parts;
    memcpy(message.sender, peer->endpoint_id, sizeof message.sender);
    memcpy(message.receiver, self->endpoint_id, sizeof message.receiver);
    memcpy(message.public_key, peer->public_key, sizeof message.public_key);
    if (signal->kind == MIGRATION_DONE) {
        message.n_flows = 1 + step[10] % 3;
        for (size_t i = 0; i < message.n_flows; i++) {
            message.flows[i] = 1 + (step[11] + i) % 8;
        }
    }
    uint8_t nonce[IDENTITY_NONCE_LEN];
    bool lower = memcmp(peer->endpoint_id, self->endpoint_id, 16) < 0;
    memcpy(nonce + (lower ? 0 : 16), peer->endpoint_id, 16);
    memcpy(nonce + (lower ? 16 : 0), self->endpoint_id, 16);
    FUZZ_CHECK(!identity_session_key(peer, self->public_key, nonce, lower,
                                     crypto.key));
    struct migrator_packet in = {
        .data = packet, .ifindex = 1 + (step[12] & 1),
        .len = migration_message_build(&message, crypto.key, packet)};
    migration_locator_from_v4(0x0a000001 + ((step[12] & 1) << 8), &in.own);
    migration_locator_from_v4(0x0a010001 + (step[13] & 7), &in.other);
    if (step[14] > 250) {
        packet[step[15] % in.len] ^= step[14];
    }
    migrator_receive(world->migrator, &in, clock);
}

static void
start(struct world *world, const struct identity *self,
      const struct identity *peers, const struct migrator_clock *clock)
{
    static const uint8_t secret[MIGRATION_SECRET_LEN] = {4, 5, 6};
    const struct migrator_config config = {.enabled = true,
                                           .hysteresis_ms = 100,
                                           .probe_ms = 500,
                                           .late_ms = 1000};

    world->migrator = migrator_create(self, secret, &ops, world);
    migrator_configure(world->migrator, &config);
    set_uplinks(world, 3, clock);
    for (uint32_t i = 0; i < N_FLOWS; i++) {
        struct datapath_flow *flow = &world->flows[i];
        flow->id = i + 1;
        flow->peer_id = i + 1;
        flow->bound = true;
        memcpy(flow->peer_endpoint,
               peers[i >= HOSTILE_FLOWS].endpoint_id,
               sizeof flow->peer_endpoint);
        flow->path.ifindex = 1;
        migration_locator_from_v4(0x0a000001, &flow->path.own);
        migration_locator_from_v4(i < HOSTILE_FLOWS ? 0x0a010001
                                                    : 0x0a020001,
                                  &flow->path.peer);
        migrator_flow_bound(world->migrator, flow, clock);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world world = {.nonce = 0};
    struct migrator_clock clock = {1000, 1800000000000};
    struct identity self, peers[2];
    struct migration_locator other;

    make_identity(1, &self);
    make_identity(2, &peers[0]);
    make_identity(3, &peers[1]);
    start(&world, &self, peers, &clock);
    for (; size >= STEP; data += STEP, size -= STEP) {
        if (data[0] < 16) {
            set_uplinks(&world, data[1], &clock);
        } else if (data[0] < 64) {
            clock.ms += data[1] * 20;
            clock.unix_ms += data[1] * 20;
            migrator_run(world.migrator, &clock);
        } else if (data[0] < 72) {
            struct migration_locator places[2] = {{.port = 0}};
            migration_locator_from_v4(0x0a010001 + (data[1] & 7), &places[0]);
            places[1].address[0] = data[2];
            migrator_peer_at(world.migrator, peers[data[3] & 1].endpoint_id,
                             places, data[4] % 3, &clock);
        } else {
            say(&world, data, &self, &peers[0], &clock);
        }
    }
    FUZZ_CHECK(migrator_n_peers(world.migrator) <= 2);
    FUZZ_CHECK(migrator_n_groups(world.migrator) <= MIGRATOR_MAX_GROUPS + 1);
    migration_locator_from_v4(0x0a020001, &other);
    for (int i = HOSTILE_FLOWS; i < N_FLOWS; i++) {
        FUZZ_CHECK(migration_locator_equal(&world.flows[i].path.peer,
                                           &other));
    }
    json_destroy(migrator_to_json(world.migrator));
    migrator_destroy(world.migrator);
    return 0;
}
