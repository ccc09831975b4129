/* SPDX-License-Identifier: Apache-2.0 */
/* Puts idle flows into a data plane, as if they had been bound: for tests and
 * benchmarks with more of them than can be connected. */
#ifndef SALIENT_FILL_FLOWS_H
#define SALIENT_FILL_FLOWS_H 1

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>
#include <time.h>
#include "agents/datapath_private.h"
#include "agents/sal.skel.h"
#include "util.h"

/* Flow 'i': a client's, from 100.64.0.1 to services in 198.18.0.0/15, 50,000
 * ports each. */
static inline void
fill_flow(uint32_t i, uint64_t now, struct sal_flow *flow)
{
    memset(flow, 0, sizeof *flow);
    flow->id = htonl(0x80000000u + i);
    flow->peer_id = htonl(0x40000000u + i);
    addr_from_host_v4(&flow->peer_locator, 0x0a000002 + i % 200);
    addr_from_host_v4(&flow->own_locator, 0x0a000001);
    flow->ifindex = 1;
    flow->entropy = htons(49152 + i % 16384);
    flow->state = SAL_FLOW_BOUND;
    addr_from_host_v4(&flow->local.local, 0x64400001);
    addr_from_host_v4(&flow->local.remote, 0xc6120001 + i / 50000);
    flow->local.lport = htons(10000 + i % 50000);
    flow->local.rport = htons(80);
    flow->local.proto = IPPROTO_TCP;
    flow->wire = flow->local;
    flow->created_ns = now;
}

/* 0 or a negative errno. */
static inline int
fill_flows(struct datapath *dp, uint32_t n)
{
    enum { BATCH = 4096 };
    struct sal_flow *flows = xcalloc(BATCH, sizeof *flows);
    struct sal_tuple *tuples = xcalloc(BATCH, sizeof *tuples);
    uint32_t *ids = xcalloc(BATCH, sizeof *ids);
    struct timespec ts;
    int error = 0;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    uint64_t now = ts.tv_sec * 1000000000ULL + ts.tv_nsec;
    for (uint32_t done = 0; done < n && !error;) {
        uint32_t count = MIN(n - done, BATCH);
        for (uint32_t i = 0; i < count; i++) {
            fill_flow(done + i, now, &flows[i]);
            ids[i] = flows[i].id;
            tuples[i] = flows[i].local;
        }
        done += count;
        uint32_t n_flows = count, n_tuples = count;
        error = bpf_map_update_batch(
            bpf_map__fd(dp->skeleton->maps.sal_flows), ids, flows, &n_flows,
            NULL);
        if (!error) {
            error = bpf_map_update_batch(
                bpf_map__fd(dp->skeleton->maps.sal_tuples), tuples, ids,
                &n_tuples, NULL);
        }
    }
    free(flows);
    free(tuples);
    free(ids);
    if (!error) {
        /* The programs count what they bind. */
        int n_cpus = libbpf_num_possible_cpus();
        uint64_t *values = xcalloc(n_cpus, sizeof *values);
        uint32_t key = SAL_COUNT_FLOW_ENTERED;
        int fd = bpf_map__fd(dp->skeleton->maps.sal_counters);
        bpf_map_lookup_elem(fd, &key, values);
        values[0] += n;
        error = bpf_map_update_elem(fd, &key, values, BPF_ANY);
        free(values);
    }
    return error;
}

#endif /* fill_flows.h */
