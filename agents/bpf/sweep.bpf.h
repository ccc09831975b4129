/* SPDX-License-Identifier: Apache-2.0 */
/* UDP flows end by falling silent.  The daemon finds those that have; whether
 * they still are silent is seen here, where they end. */
#ifndef SALIENT_SWEEP_BPF_H
#define SALIENT_SWEEP_BPF_H 1

#include "agents/bpf/flow.bpf.h"

static long
flow_sweep(__u32 i, struct sal_sweep **context)
{
    struct sal_sweep *sweep = *context;
    if (!sweep || i >= SAL_SWEEP_MAX) {
        return 1;
    }
    struct sal_flow *flow = flow_by_id(sweep->ids[i]);
    if (sweep->any) {
        if (flow) {
            flow_notify_at(flow, SAL_FLOW_EVENT_CLOSED, bpf_ktime_get_ns());
            flow_forget(flow);
            sweep->n_swept++;
        } else if ((flow = half_flow_by_id(sweep->ids[i]))) {
            flow_notify_at(flow, SAL_FLOW_EVENT_CLOSED, bpf_ktime_get_ns());
            half_flow_delete(flow);
            sweep->n_swept++;
        }
        return 0;
    }
    if (!flow || flow->local.proto != IPPROTO_UDP
        || flow->created_ns >= sweep->idle_since_ns
        || flow->last_in_ns >= sweep->idle_since_ns
        || flow->last_out_ns >= sweep->idle_since_ns) {
        return 0;
    }
    flow_notify_at(flow, SAL_FLOW_EVENT_CLOSED, bpf_ktime_get_ns());
    flow_forget(flow);
    count(SAL_COUNT_FLOW_IDLE);
    sweep->n_swept++;
    return 0;
}

static __always_inline int
flows_sweep(void)
{
    __u32 key = 0;
    struct sal_sweep *sweep = bpf_map_lookup_elem(&sal_sweeps, &key);
    if (sweep) {
        sweep->n_swept = 0;
        bpf_loop(sweep->n, flow_sweep, &sweep, 0);
    }
    return 0;
}

#endif /* sweep.bpf.h */
