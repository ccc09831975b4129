/* SPDX-License-Identifier: Apache-2.0 */
/* Single flows: news, look, move.  (Waking them is datapath_wake.c.) */
#include "agents/datapath_flows.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agents/datapath_cursor.h"
#include "agents/datapath_private.h"
#include "agents/sal.skel.h"
#include "util.h"

static uint64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/* Both are an IPv6 address, or an IPv4-mapped one, in network byte order. */
static void
locator_from_addr(const struct sal_addr *addr, ovs_be16 port,
                  struct migration_locator *locator)
{
    BUILD_ASSERT(sizeof locator->address == sizeof *addr);
    memcpy(locator->address, addr, sizeof *addr);
    locator->port = ntohs(port);
}

static void
locator_to_addr(const struct migration_locator *locator, struct sal_addr *addr)
{
    memcpy(addr, locator->address, sizeof *addr);
}

bool
flow_waits(const struct sal_flow *map)
{
    return map->seq_end
           && (int32_t) (map->seq_end - ntohl(map->ack_in)) > 0;
}

static void
flow_from_map(const struct sal_flow *map, uint64_t now, uint16_t sal_port,
              struct datapath_flow *flow)
{
    memset(flow, 0, sizeof *flow);
    flow->id = ntohl(map->id);
    flow->peer_id = ntohl(map->peer_id);
    flow->group = map->group;
    memcpy(flow->peer_endpoint, map->peer_endpoint,
           sizeof flow->peer_endpoint);
    flow->protocol = map->local.proto;
    flow->server = map->flags & SAL_FLOW_SERVER;
    flow->bound = map->state == SAL_FLOW_BOUND
                  && !(map->flags & SAL_FLOW_LOCAL);
    flow->path.ifindex = map->ifindex;
    flow->path.nat = map->entropy == sal_port && !map->peer_port;
    locator_from_addr(&map->own_locator, 0, &flow->path.own);
    locator_from_addr(&map->peer_locator, map->peer_port, &flow->path.peer);
    memcpy(flow->service.bytes, map->service_id, sizeof flow->service.bytes);
    flow->in_bytes = map->in_bytes;
    flow->out_bytes = map->out_bytes;
    uint64_t heard = MAX(map->last_in_ns, map->created_ns);
    flow->quiet_ms = now > heard ? (now - heard) / 1000000 : 0;
    /* An acknowledgement needs no answer. */
    flow->unanswered = map->local.proto == IPPROTO_TCP
                       ? flow_waits(map) : map->last_out_ns > heard;
}

static uint16_t
sal_port_of(struct datapath *dp)
{
    struct sal_settings settings = {0};
    datapath_get_settings(dp, &settings);
    return settings.sal_port;
}

int
datapath_flow_get(struct datapath *dp, uint32_t id, struct datapath_flow *flow)
{
    struct sal_flow map;
    uint32_t key = htonl(id);
    int error = bpf_map_lookup_elem(bpf_map__fd(dp->skeleton->maps.sal_flows),
                                    &key, &map);
    if (error) {
        error = bpf_map_lookup_elem(
            bpf_map__fd(dp->skeleton->maps.sal_half_flows), &key, &map);
    }
    if (error) {
        return error;
    }
    flow_from_map(&map, now_ns(), sal_port_of(dp), flow);
    return 0;
}

struct visit {
    void (*visit)(const struct datapath_flow *, void *aux);
    void *aux;
    uint16_t sal_port;
};

static void
visit_flows(const struct sal_flow *flows, size_t n, const struct visit *visit)
{
    uint64_t now = now_ns();
    for (size_t i = 0; i < n; i++) {
        struct datapath_flow flow;
        flow_from_map(&flows[i], now, visit->sal_port, &flow);
        if (flow.bound) {
            visit->visit(&flow, visit->aux);
        }
    }
}

void
datapath_flows_visit(struct datapath *dp,
                     void (*callback)(const struct datapath_flow *, void *),
                     void *aux)
{
    const struct visit visit = {callback, aux, sal_port_of(dp)};
    struct flow_cursor *cursor = flow_cursor_open(dp);
    const struct sal_flow *flows;
    size_t n;

    while ((n = flow_cursor_next(cursor, &flows))) {
        visit_flows(flows, n, &visit);
    }
    flow_cursor_close(cursor);
}

/* Moves up to SAL_MOVE_MAX flows. */
static int
move_some(struct datapath *dp, struct sal_move *move, const uint32_t ids[],
          size_t n)
{
    int map = bpf_map__fd(dp->skeleton->maps.sal_moves);
    uint32_t zero = 0;

    move->n = n;
    for (size_t i = 0; i < n; i++) {
        move->ids[i] = htonl(ids[i]);
    }
    int error = bpf_map_update_elem(map, &zero, move, BPF_ANY);
    if (!error) {
        LIBBPF_OPTS(bpf_test_run_opts, opts);
        error = bpf_prog_test_run_opts(
            bpf_program__fd(dp->skeleton->progs.sal_move), &opts);
    }
    if (!error) {
        error = bpf_map_lookup_elem(map, &zero, move);
    }
    return error ? error : move->n_moved;
}

int
datapath_flows_move(struct datapath *dp, const struct datapath_move *wanted,
                    const uint32_t ids[], size_t n)
{
    struct sal_move *move = xzalloc(sizeof *move);
    int total = 0;

    memcpy(move->peer_endpoint, wanted->peer_endpoint,
           sizeof move->peer_endpoint);
    locator_to_addr(&wanted->path.own, &move->own_locator);
    locator_to_addr(&wanted->path.peer, &move->peer_locator);
    if (wanted->late_ms) {
        move->previous_expires_ns = now_ns() + wanted->late_ms * 1000000ULL;
    }
    move->ifindex = wanted->path.ifindex;
    move->group = wanted->group;
    move->peer_port = htons(wanted->path.peer.port);
    move->flags = wanted->path.nat ? SAL_UPLINK_NAT : 0;
    for (size_t i = 0; i < n && total >= 0; i += SAL_MOVE_MAX) {
        int moved = move_some(dp, move, ids + i, MIN(n - i, SAL_MOVE_MAX));
        total = moved < 0 ? moved : total + moved;
    }
    free(move);
    return total;
}

/* News. */

int
datapath_events_fd(const struct datapath *dp)
{
    return bpf_map__fd(dp->skeleton->maps.sal_events);
}

struct take {
    void (*take)(const struct datapath_flow_event *, void *aux);
    void *aux;
    unsigned int n, max;
};

void
datapath_on_unknown_flow(struct datapath *dp,
                         void (*callback)(const struct datapath_unknown_flow *,
                                          void *aux), void *aux)
{
    dp->unknown = callback;
    dp->unknown_aux = aux;
}

static void
take_unknown(struct datapath *dp, const struct sal_unknown_flow *map)
{
    struct datapath_unknown_flow unknown = {.id = ntohl(map->event.id),
                                            .peer_id = ntohl(map->peer_id)};
    locator_from_addr(&map->own, 0, &unknown.own);
    locator_from_addr(&map->other, map->peer_port, &unknown.other);
    unknown.sal_len = map->sal_len;
    if (dp->unknown) {
        dp->unknown(&unknown, dp->unknown_aux);
    }
}

static int
take_event(void *dp_, void *data, size_t len)
{
    struct datapath *dp = dp_;
    struct take *take = dp->take;
    const struct sal_flow_event *map = data;

    if (len >= sizeof(struct sal_unknown_flow)
        && map->type == SAL_FLOW_EVENT_UNKNOWN) {
        take_unknown(dp, data);
    } else if (len >= sizeof *map) {
        struct datapath_flow_event event = {
            .id = ntohl(map->id),
            .bound = map->type == SAL_FLOW_EVENT_BOUND};
        take->take(&event, take->aux);
    }
    /* A negative number ends the round, without this one being lost. */
    return ++take->n < take->max ? 0 : -EAGAIN;
}

int
datapath_events_take(struct datapath *dp, unsigned int max,
                     void (*callback)(const struct datapath_flow_event *,
                                      void *), void *aux, bool *ret_lost)
{
    struct take take = {callback, aux, 0, max};
    struct sal_notify notify;
    uint32_t zero = 0;

    *ret_lost = false;
    if (!dp->events) {
        dp->events = ring_buffer__new(datapath_events_fd(dp), take_event,
                                      dp, NULL);
    }
    if (!dp->events) {
        return errno ? -errno : -ENOMEM;
    }
    dp->take = &take;
    ring_buffer__consume(dp->events);
    dp->take = NULL;
    if (!bpf_map_lookup_elem(bpf_map__fd(dp->skeleton->maps.sal_notify),
                             &zero, &notify)) {
        *ret_lost = notify.lost != dp->events_lost;
        dp->events_lost = notify.lost;
    }
    return take.n;
}
