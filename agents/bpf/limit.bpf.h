/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of the flows that we serve, by client and by service.  Counted are
 * bound flows: what is half open may be forged, and has a table of its own. */
#ifndef SALIENT_LIMIT_BPF_H
#define SALIENT_LIMIT_BPF_H 1

#include "agents/bpf/packet.bpf.h"

/* Whom a flow counts for; a copy, since the flow may be gone by then. */
struct limit_who {
    struct sal_addr client;
    __u8 service[SAL_SERVICE_ID_LEN];
};

static __always_inline void
limit_who(struct limit_who *who, const struct sal_flow *flow)
{
    who->client = flow->wire.remote;
    __builtin_memcpy(who->service, flow->service_id, sizeof who->service);
}

static __always_inline void
limit_key(struct sal_limit_key *key, const struct limit_who *who, __u32 kind)
{
    __builtin_memset(key, 0, sizeof *key);
    key->kind = kind;
    if (kind == SAL_LIMIT_CLIENT) {
        __builtin_memcpy(key->who, &who->client, sizeof who->client);
    } else {
        __builtin_memcpy(key->who, who->service, sizeof key->who);
    }
}

/* True if there are 'max' flows or more; 0 is no limit. */
GLOBAL int
limit_is_full(const struct limit_who *who, __u32 kind, __u32 max)
{
    struct sal_limit_key key;
    if (!who || !max) {
        return 0;
    }
    limit_key(&key, who, kind);
    __u32 *n = bpf_map_lookup_elem(&sal_limits, &key);
    return n && *n >= max;
}

/* The counter to refuse new server 'flow' under, or -1. */
GLOBAL int
limit_reached(const struct sal_settings *settings, const struct sal_flow *flow)
{
    struct limit_who who;
    if (!settings || !flow) {
        return -1;
    }
    limit_who(&who, flow);
    if (limit_is_full(&who, SAL_LIMIT_CLIENT,
                      settings->max_flows_per_client)) {
        return SAL_COUNT_IN_CLIENT_LIMIT;
    }
    if (limit_is_full(&who, SAL_LIMIT_SERVICE,
                      settings->max_flows_per_service)) {
        return SAL_COUNT_IN_SERVICE_LIMIT;
    }
    return -1;
}

/* Adds a flow, or takes one away.  What falls to 0 goes: a flow that another
 * CPU adds at that moment is not counted, which does no harm. */
GLOBAL int
limit_change(const struct limit_who *who, __u32 kind, int add)
{
    struct sal_limit_key key;
    if (!who) {
        return 0;
    }
    limit_key(&key, who, kind);
    __u32 *n = bpf_map_lookup_elem(&sal_limits, &key);
    if (!n && add) {
        __u32 one = 1;
        bpf_map_update_elem(&sal_limits, &key, &one, BPF_NOEXIST);
    } else if (n && add) {
        __sync_fetch_and_add(n, 1);
    } else if (n && *n > 1) {
        __sync_fetch_and_add(n, -1);
    } else if (n) {
        bpf_map_delete_elem(&sal_limits, &key);
    }
    return 0;
}

static __always_inline void
limit_change_both(const struct limit_who *who, int add)
{
    limit_change(who, SAL_LIMIT_CLIENT, add);
    limit_change(who, SAL_LIMIT_SERVICE, add);
}

/* 'flow' is about to be bound. */
GLOBAL int
limit_add(struct sal_flow *flow)
{
    struct sal_settings *settings = settings_get();
    struct limit_who who;
    if (!settings || !flow || !(flow->flags & SAL_FLOW_SERVER)
        || flow->flags & SAL_FLOW_LOCAL
        || !(settings->max_flows_per_client
             | settings->max_flows_per_service)) {
        return 0;
    }
    limit_who(&who, flow);
    limit_change_both(&who, 1);
    flow->marks |= SAL_FLOW_MARK_COUNTED;
    return 0;
}

/* It could not be. */
GLOBAL int
limit_undo(struct sal_flow *flow)
{
    struct limit_who who;
    if (flow && flow->marks & SAL_FLOW_MARK_COUNTED) {
        limit_who(&who, flow);
        limit_change_both(&who, 0);
        flow->marks &= ~SAL_FLOW_MARK_COUNTED;
    }
    return 0;
}

#endif /* limit.bpf.h */
