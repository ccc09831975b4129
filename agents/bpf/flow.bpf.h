/* SPDX-License-Identifier: Apache-2.0 */
/* The flow tables: look up, make, bind, close. */
#ifndef SALIENT_FLOW_BPF_H
#define SALIENT_FLOW_BPF_H 1

#include "agents/bpf/hash.bpf.h"
#include "agents/bpf/limit.bpf.h"

/* An entry may be deleted and its memory used for another flow while we look
 * at it, hence the second look at the key. */
static __always_inline struct sal_flow *
flow_by_id(__u32 id)
{
    struct sal_flow *flow = bpf_map_lookup_elem(&sal_flows, &id);
    return flow && flow->id == id ? flow : NULL;
}

static __always_inline struct sal_flow *
flow_by_tuple(const struct sal_tuple *tuple)
{
    __u32 *id = bpf_map_lookup_elem(&sal_tuples, tuple);
    return id ? flow_by_id(*id) : NULL;
}

static __always_inline struct sal_flow *
half_flow_by_id(__u32 id)
{
    struct sal_flow *flow = bpf_map_lookup_elem(&sal_half_flows, &id);
    return flow && flow->id == id ? flow : NULL;
}

/* The two LRU tables evict on their own, so one may name what the other has
 * forgotten. */
static __always_inline struct sal_flow *
half_flow_by_tuple(const struct sal_tuple *tuple)
{
    __u32 *id = bpf_map_lookup_elem(&sal_half_tuples, tuple);
    struct sal_flow *flow = id ? half_flow_by_id(*id) : NULL;
    return flow && tuple_equal(&flow->local, tuple) ? flow : NULL;
}

/* Draws the UDP source port, unless a NAT is in between: there all flows of
 * the host share one mapping, with the daemon, that of the SAL port. */
static __always_inline void
flow_entropy(const struct sal_settings *settings, struct sal_flow *flow,
             __u64 random)
{
    if (flow->entropy == settings->sal_port) {
        return;
    }
    flow->entropy = bpf_htons(SAL_ENTROPY_BASE
                              | ((random >> 32) & SAL_ENTROPY_MASK));
}

/* Chooses the uplink by which client 'flow' leaves. */
static __always_inline void
flow_choose_uplink(const struct sal_settings *settings, struct sal_flow *flow,
                   __u64 random)
{
    int v6 = flow->flags & SAL_FLOW_OUTER6;
    __u32 slot = (random >> 48) & (SAL_UPLINK_SLOTS - 1);
    const struct sal_uplink *uplink =
        bpf_map_lookup_elem(&sal_uplinks, &slot);
    const struct sal_addr *locator =
        !uplink ? NULL : v6 ? &uplink->locator_v6 : &uplink->locator_v4;
    if (locator && uplink->ifindex && !addr_is_zero(locator)) {
        flow->ifindex = uplink->ifindex;
        flow->own_locator = *locator;
        flow->entropy = uplink->flags & SAL_UPLINK_NAT ? settings->sal_port
                                                       : 0;
    } else {
        flow->ifindex = v6 ? settings->uplink_ifindex_v6
                           : settings->uplink_ifindex;
        flow->own_locator = v6 ? settings->locator_v6 : settings->locator_v4;
        flow->entropy = 0;
    }
}

/* The daemon is woken this often at most, and looks again by itself a little
 * later: a wake-up for each flow would cost more than the flow. */
#define NOTIFY_INTERVAL_NS 20000000ULL

/* Tells the daemon about 'flow'.  ('now': not each kind of program may ask for
 * the coarse clock.) */
GLOBAL int
flow_notify_at(const struct sal_flow *flow, __u8 type, __u64 now)
{
    __u32 key = 0;
    struct sal_notify *notify = bpf_map_lookup_elem(&sal_notify, &key);
    if (!flow || !notify || flow->flags & SAL_FLOW_LOCAL) {
        return 0;
    }
    struct sal_flow_event event = {.id = flow->id, .type = type};
    int wake = now - notify->woken_ns > NOTIFY_INTERVAL_NS;
    if (bpf_ringbuf_output(&sal_events, &event, sizeof event,
                           wake ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP)) {
        __sync_fetch_and_add(&notify->lost, 1);
        count(SAL_COUNT_FLOW_EVENT_LOST);
    } else if (wake) {
        notify->woken_ns = now;
    }
    return 0;
}

static __always_inline void
flow_notify(const struct sal_flow *flow, __u8 type)
{
    flow_notify_at(flow, type, bpf_ktime_get_coarse_ns());
}

/* Gives scratch->flow an ID and a source port and enters it as half open.
 * False if no ID was free in eight attempts. */
GLOBAL int
half_flow_insert(struct sal_settings *settings)
{
    struct scratch *scratch = scratch_get();
    if (!settings || !scratch) {
        return 0;
    }
    struct sal_flow *flow = &scratch->flow;
    for (int i = 0; i < 8; i++) {
        __u64 random = keyed_random(settings, scratch);
        __u32 id = random;
        if (!id || bpf_map_lookup_elem(&sal_flows, &id)) {
            continue;
        }
        flow->id = id;
        flow_entropy(settings, flow, random);
        if (bpf_map_update_elem(&sal_half_flows, &id, flow, BPF_NOEXIST)) {
            continue;
        }
        if (bpf_map_update_elem(&sal_half_tuples, &flow->local, &id,
                                BPF_ANY)) {
            bpf_map_delete_elem(&sal_half_flows, &id);
            break;
        }
        return 1;
    }
    count(SAL_COUNT_FLOW_ID_EXHAUSTED);
    return 0;
}

static __always_inline void
half_flow_delete(struct sal_flow *flow)
{
    __u32 id = flow->id;
    __u32 *owner = bpf_map_lookup_elem(&sal_half_tuples, &flow->local);
    if (owner && *owner == id) {
        bpf_map_delete_elem(&sal_half_tuples, &flow->local);
    }
    bpf_map_delete_elem(&sal_half_flows, &id);
}

static __always_inline void
tuple_release(const struct sal_tuple *tuple, __u32 id)
{
    __u32 *owner = bpf_map_lookup_elem(&sal_tuples, tuple);
    if (owner && *owner == id) {
        bpf_map_delete_elem(&sal_tuples, tuple);
    }
}

/* Forgets a flow of the table of bound ones, without a word. */
static __noinline int
flow_forget(struct sal_flow *flow)
{
    struct limit_who who;
    if (!flow) {
        return 0;
    }
    __u32 id = flow->id;
    int counted = flow->marks & SAL_FLOW_MARK_COUNTED;
    limit_who(&who, flow);
    tuple_release(&flow->local, id);
    /* Only once: two CPUs may be at it. */
    if (!bpf_map_delete_elem(&sal_flows, &id)) {
        if (counted) {
            limit_change_both(&who, 0);
        }
        count_exactly(SAL_COUNT_FLOW_REMOVED);
    }
    return 0;
}

static __always_inline void
flow_delete(struct sal_flow *flow)
{
    flow_notify(flow, SAL_FLOW_EVENT_CLOSED);
    flow_forget(flow);
}

/* Moves half-open 'flow' to the table of bound flows, in place of an older
 * one with its tuple.  False if the table is full.
 *
 * Its next packet may come on another CPU meanwhile.  It must find the flow
 * half open, and bind it itself, or with its tuple in place: what the stack
 * answers to it is looked up by that. */
static __noinline int
flow_bind(struct sal_flow *flow)
{
    if (!flow) {
        return 0;
    }
    __u32 id = flow->id;
    if (flow_by_id(id)) {
        return 1;
    }
    struct sal_flow *old = flow_by_tuple(&flow->local);
    if (old && old->id != id) {
        flow_delete(old);
        count(SAL_COUNT_FLOW_REUSED);
    }

    limit_add(flow);
    long error = bpf_map_update_elem(&sal_tuples, &flow->local, &id, BPF_ANY);
    if (!error) {
        error = bpf_map_update_elem(&sal_flows, &id, flow, BPF_NOEXIST);
    }
    if (error) {
        limit_undo(flow);
        if (error == -EEXIST) {
            return 1;
        }
        tuple_release(&flow->local, id);
        count(SAL_COUNT_FLOW_TABLE_FULL);
        return 0;
    }
    struct sal_flow *bound = flow_by_id(id);
    if (bound) {
        bound->state = SAL_FLOW_BOUND;
    }
    flow_notify(flow, SAL_FLOW_EVENT_BOUND);
    half_flow_delete(flow);
    count(SAL_COUNT_FLOW_BOUND);
    count_exactly(SAL_COUNT_FLOW_ENTERED);
    return 1;
}

/* Most UDP flows are a question and an answer, and those stay in the LRU
 * table.  One that has carried this many packets gets a place that no flood
 * of SYNs takes away, if there is one. */
#define KEEP_PACKETS 8

static __noinline int
flow_keep(struct sal_flow *flow)
{
    if (!flow) {
        return 0;
    }
    __u32 id = flow->id;
    flow->marks |= SAL_FLOW_MARK_KEPT;
    limit_add(flow);
    if (bpf_map_update_elem(&sal_flows, &id, flow, BPF_NOEXIST)) {
        limit_undo(flow);
        return 0;
    }
    count_exactly(SAL_COUNT_FLOW_ENTERED);
    if (bpf_map_update_elem(&sal_tuples, &flow->local, &id, BPF_ANY)) {
        limit_undo(flow);
        if (!bpf_map_delete_elem(&sal_flows, &id)) {
            count_exactly(SAL_COUNT_FLOW_REMOVED);
        }
        return 0;
    }
    half_flow_delete(flow);
    count(SAL_COUNT_FLOW_KEPT);
    return 0;
}

/* To be called when nothing more is done with 'flow', which moves. */
static __always_inline void
flow_keep_if_used(struct sal_flow *flow)
{
    if (flow->local.proto == IPPROTO_UDP && flow->state == SAL_FLOW_BOUND
        && !(flow->marks & SAL_FLOW_MARK_KEPT)
        && !(flow->flags & SAL_FLOW_LOCAL)
        && flow->in_packets + flow->out_packets >= KEEP_PACKETS) {
        flow_keep(flow);
    }
}

/* Binds half-open 'flow' and returns where it is then, or NULL.  UDP flows
 * stay where they are. */
static __always_inline struct sal_flow *
bind_and_find(struct sal_flow *flow)
{
    __u32 id = flow->id;
    if (flow->local.proto == IPPROTO_UDP) {
        struct sal_flow *old = flow_by_tuple(&flow->local);
        if (old && old->id != id) {
            flow_delete(old);
            count(SAL_COUNT_FLOW_REUSED);
        }
        flow->state = SAL_FLOW_BOUND;
        flow_notify(flow, SAL_FLOW_EVENT_BOUND);
        count(SAL_COUNT_FLOW_BOUND);
        return flow;
    }
    return flow_bind(flow) ? flow_by_id(id) : NULL;
}

/* The socket of bound 'flow' is gone.  If it is to linger, the flow stays
 * reachable in the LRU tables: the peer may still send its FIN (orphans in
 * FIN-WAIT-2 report their close before it arrives), TIME-WAIT answers it
 * again, and an abort may have to be repeated. */
static __noinline int
flow_close(struct sal_flow *flow, int linger)
{
    if (!flow) {
        return 0;
    }
    __u32 id = flow->id;
    flow->state = SAL_FLOW_CLOSING;
    if (linger
        && !bpf_map_update_elem(&sal_half_flows, &id, flow, BPF_ANY)) {
        bpf_map_update_elem(&sal_half_tuples, &flow->local, &id, BPF_ANY);
    }
    flow_delete(flow);
    count(SAL_COUNT_FLOW_CLOSED);
    return 1;
}

/* Follows the TCP flags of a segment of bound 'flow', which goes the way that
 * 'fin' stands for.  Sockops reports closes exactly; where it is missing, both
 * FINs or a RST stand for it. */
static __always_inline void
flow_track_close(const struct sal_settings *settings, struct sal_flow *flow,
                 __u8 tcp_flags, __u32 fin)
{
    if (!(tcp_flags & (TCP_FIN | TCP_RST))) {
        return;
    }
    const __u32 both = SAL_FLOW_END_FIN_IN | SAL_FLOW_END_FIN_OUT;
    const int in = fin == SAL_FLOW_END_FIN_IN;
    __u32 ends = tcp_flags & TCP_FIN ? fin : 0;
    if (tcp_flags & TCP_RST && in) {
        ends |= SAL_FLOW_END_RST_IN;
    }
    /* Atomic: both ends may say FIN at once, and whoever is second must see
     * it, or nobody would close the flow. */
    ends |= __sync_fetch_and_or(&flow->ends, ends);
    /* Our own RST ends a socket, or is said on behalf of none. */
    if ((tcp_flags & TCP_RST
         && (!in || !(settings->flags & SAL_SETTINGS_SOCKOPS)))
        || ((ends & both) == both
            && !(settings->flags & SAL_SETTINGS_SOCKOPS))) {
        flow_close(flow, 1);
    }
}

#endif /* flow.bpf.h */
