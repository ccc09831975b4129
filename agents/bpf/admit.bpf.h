/* SPDX-License-Identifier: Apache-2.0 */
/* Ingress of an uplink: which SYNs are looked at while there are too many of
 * them.  A SYN costs us and the stack several times what other packets cost,
 * so that a flood of forged ones would take that from the flows that are here.
 *
 * A SYN spends, a flow that is bound pays it back, and time makes up for the
 * rest: who completes handshakes is never held up, however many.  A sender
 * that has completed one has a budget of its own, all others share one.  There
 * is a third for SYNs that are sent again (their nonce is the same): a flood of
 * random ones does not come back, somebody who wants to connect does. */
#ifndef SALIENT_ADMIT_BPF_H
#define SALIENT_ADMIT_BPF_H 1

#include "agents/bpf/flow.bpf.h"

/* What a budget gets back by time alone, and what it can save: 1,024 SYNs a
 * second, and 4,096, of the 16,384 half-open flows. */
#define SYN_INTERVAL_NS 976562ULL
#define SYN_SAVINGS_NS (4096 * SYN_INTERVAL_NS)

/* A budget is the time up to which it is spent. */
static __always_inline int
budget_spend(__u64 *spent_ns, __u64 now)
{
    __u64 spent = *spent_ns;
    if ((__s64) (now - spent) > (__s64) SYN_SAVINGS_NS) {
        spent = now - SYN_SAVINGS_NS;
    }
    if ((__s64) (now - spent) < 0) {
        return 0;
    }
    *spent_ns = spent + SYN_INTERVAL_NS;
    return 1;
}

enum { BUDGET_STRANGERS, BUDGET_AGAIN }; /* Keys of sal_syn_budgets. */

static __always_inline __u64 *
budget_get(__u32 key)
{
    return bpf_map_lookup_elem(&sal_syn_budgets, &key);
}

/* True if a SYN with this nonce came before, not too many others ago: half of
 * the nonce says where the other half is kept, with the one before it. */
static __always_inline int
syn_came_before(__u64 nonce)
{
    __u32 half = nonce, key = (nonce >> 32) & (SYN_NONCES - 1);
    __u64 *last = bpf_map_lookup_elem(&sal_syn_nonces, &key);
    if (!last) {
        return 0;
    }
    __u64 kept = *last;
    if ((__u32) kept == half || kept >> 32 == half) {
        return 1;
    }
    *last = kept << 32 | half;
    return 0;
}

/* False if the control packet in 'skb' is a SYN that is not to be looked at
 * now. */
static __noinline int
syn_admit(struct __sk_buff *skb, const struct outer *outer)
{
    struct sal_control_header sal;
    if (!outer) {
        return 0;
    }
    if (bpf_skb_load_bytes(skb, outer->sal_ofs, &sal, sizeof sal)
        || sal.base.type != SAL_TYPE_SYN || skb->mark == SAL_MARK_IDENTIFIED) {
        return 1;
    }
    __u64 now = bpf_ktime_get_coarse_ns();
    __u64 *own = bpf_map_lookup_elem(&sal_syn_sources, &outer->src);
    if (own && budget_spend(own, now)) {
        return 1;
    }
    __u64 *strangers = budget_get(BUDGET_STRANGERS);
    if (strangers && budget_spend(strangers, now)) {
        return 1;
    }
    __u64 *again = budget_get(BUDGET_AGAIN);
    return syn_came_before(sal.nonce) && again && budget_spend(again, now);
}

/* Server 'flow' is bound: its client has answered us from where it is. */
GLOBAL int
syn_pay_back(const struct sal_flow *flow)
{
    if (!flow) {
        return 0;
    }
    struct sal_addr source = flow->peer_locator;
    __u64 *own = bpf_map_lookup_elem(&sal_syn_sources, &source);
    if (own) {
        *own -= SYN_INTERVAL_NS;
        return 0;
    }
    __u64 fresh = bpf_ktime_get_coarse_ns() - SYN_SAVINGS_NS;
    bpf_map_update_elem(&sal_syn_sources, &source, &fresh, BPF_NOEXIST);
    __u64 *strangers = budget_get(BUDGET_STRANGERS);
    if (strangers) {
        *strangers -= SYN_INTERVAL_NS;
    }
    return 0;
}

#endif /* admit.bpf.h */
