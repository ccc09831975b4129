/* SPDX-License-Identifier: Apache-2.0 */
/* All flows, a batch at a time; one; the idle ones. */
#include "agents/datapath_cursor.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agents/datapath_flows.h"
#include "agents/datapath_private.h"
#include "agents/sal.skel.h"
#include "util.h"

/* Flows read by one system call, at first and at most. */
enum { CURSOR_BATCH = 512, CURSOR_BATCH_MAX = 1 << 17 };

struct flow_cursor {
    int maps[2];       /* What is left to walk. */
    size_t n_maps;
    uint32_t position; /* In the first of them, if 'started'. */
    bool started;
    size_t read_from;  /* Index of the map of the last batch. */
    uint32_t size;     /* Of the arrays. */
    struct sal_flow *flows;
    uint32_t *keys;
};

static void
set_size(struct flow_cursor *cursor, uint32_t size)
{
    cursor->size = size;
    cursor->flows = xrealloc(cursor->flows, size * sizeof *cursor->flows);
    cursor->keys = xrealloc(cursor->keys, size * sizeof *cursor->keys);
}

struct flow_cursor *
flow_cursor_open(const struct datapath *dp)
{
    struct flow_cursor *cursor = xzalloc(sizeof *cursor);

    /* The last comes first. */
    cursor->maps[0] = bpf_map__fd(dp->skeleton->maps.sal_flows);
    cursor->maps[1] = bpf_map__fd(dp->skeleton->maps.sal_half_flows);
    cursor->n_maps = ARRAY_SIZE(cursor->maps);
    set_size(cursor, CURSOR_BATCH);
    return cursor;
}

void
flow_cursor_close(struct flow_cursor *cursor)
{
    if (cursor) {
        free(cursor->flows);
        free(cursor->keys);
        free(cursor);
    }
}

/* Reads a batch of the current map; that may be its last, or empty. */
static uint32_t
read_batch(struct flow_cursor *cursor)
{
    for (;;) {
        uint32_t n = cursor->size;
        int error = bpf_map_lookup_batch(
            cursor->maps[cursor->n_maps - 1],
            cursor->started ? &cursor->position : NULL, &cursor->position,
            cursor->keys, cursor->flows, &n, NULL);
        if (error == -ENOSPC && cursor->size < CURSOR_BATCH_MAX) {
            /* One of the map's buckets holds more than that. */
            set_size(cursor, cursor->size * 2);
            continue;
        }
        cursor->read_from = cursor->n_maps - 1;
        cursor->started = true;
        if (error) {
            cursor->n_maps--;
            cursor->started = false;
        }
        return !error || error == -ENOENT ? n : 0;
    }
}

size_t
flow_cursor_next(struct flow_cursor *cursor, const struct sal_flow **flows)
{
    uint32_t n = 0;

    while (!n && cursor->n_maps) {
        n = read_batch(cursor);
    }
    *flows = cursor->flows;
    return n;
}

bool
flow_cursor_in_bound(const struct flow_cursor *cursor)
{
    return cursor->read_from == 0;
}

int
datapath_flow_by_tuple(const struct datapath *dp,
                       const struct sal_tuple *tuple,
                       struct sal_flow *flow)
{
    const struct {
        const struct bpf_map *tuples, *flows;
    } tables[] = {
        {dp->skeleton->maps.sal_tuples, dp->skeleton->maps.sal_flows},
        {dp->skeleton->maps.sal_half_tuples,
         dp->skeleton->maps.sal_half_flows},
    };
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
        uint32_t id;
        if (!bpf_map_lookup_elem(bpf_map__fd(tables[i].tuples), tuple, &id)
            && !bpf_map_lookup_elem(bpf_map__fd(tables[i].flows), &id, flow)) {
            return 0;
        }
    }
    return -ENOENT;
}

static int
sweep_some(struct datapath *dp, struct sal_sweep *sweep)
{
    int map = bpf_map__fd(dp->skeleton->maps.sal_sweeps);
    uint32_t zero = 0;
    int error = bpf_map_update_elem(map, &zero, sweep, BPF_ANY);
    if (!error) {
        LIBBPF_OPTS(bpf_test_run_opts, opts);
        error = bpf_prog_test_run_opts(
            bpf_program__fd(dp->skeleton->progs.sal_sweep), &opts);
    }
    if (!error) {
        error = bpf_map_lookup_elem(map, &zero, sweep);
    }
    return error ? error : (int) sweep->n_swept;
}

int
datapath_sweep(struct datapath *dp, uint64_t idle_since_ns,
               const uint32_t ids[], size_t n)
{
    struct sal_sweep *sweep = xzalloc(sizeof *sweep);
    int total = 0;

    sweep->idle_since_ns = idle_since_ns;
    for (size_t i = 0; i < n && total >= 0; i += SAL_SWEEP_MAX) {
        sweep->n = MIN(n - i, SAL_SWEEP_MAX);
        memcpy(sweep->ids, ids + i, sweep->n * sizeof *ids);
        int swept = sweep_some(dp, sweep);
        total = swept < 0 ? swept : total + swept;
    }
    free(sweep);
    return total;
}

void
datapath_flow_end(struct datapath *dp, uint32_t id)
{
    struct sal_sweep *sweep = xzalloc(sizeof *sweep);

    sweep->any = 1;
    sweep->n = 1;
    sweep->ids[0] = htonl(id);
    sweep_some(dp, sweep);
    free(sweep);
}
