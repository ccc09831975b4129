/* SPDX-License-Identifier: Apache-2.0 */
/* Packets that cannot leave yet.  The kernel has no place where a program could
 * keep them, so the daemon does: it gets a copy, bounded by the ring buffer
 * and by its own limits, and hands it back to sal0 (program sal_inject) when
 * what it waits for has happened.  Without a daemon only these are lost. */
#ifndef SALIENT_HOLD_BPF_H
#define SALIENT_HOLD_BPF_H 1

#include "agents/bpf/packet.bpf.h"

/* Gives the daemon a copy of 'skb'.  False, and counted, if it cannot. */
GLOBAL int
hold(struct __sk_buff *skb, struct scratch *scratch,
     const struct sal_tuple *tuple, __u8 kind)
{
    if (!scratch || !tuple) {
        return 0;
    }
    struct sal_held *held = &scratch->held;
    __u32 len = skb->len, mark = skb->mark;
    if (len < ETH_HLEN || len > SAL_HELD_MAX) {
        count(SAL_COUNT_OUT_HOLD_TOO_BIG);
        return 0;
    }
    held->kind = kind;
    held->attempts = (mark & ~SAL_MARK_ATTEMPTS) == SAL_MARK_AGAIN
                     ? mark & SAL_MARK_ATTEMPTS : 0;
    held->len = len;
    held->ifindex = skb->ifindex;
    held->tuple = *tuple;
    held->segment = skb->gso_size;
    bound_hint(len);
    if (len < 1 || len > SAL_HELD_MAX
        || bpf_skb_load_bytes(skb, 0, scratch->held_frame, len)
        || bpf_ringbuf_output(&sal_held, held, sizeof *held + len, 0)) {
        count(SAL_COUNT_OUT_HOLD_FULL);
        return 0;
    }
    return 1;
}

/* Tells the daemon, if it holds datagrams of 'flow', what came of it. */
static __always_inline void
release_held(struct scratch *scratch, struct sal_flow *flow, __u8 kind)
{
    if (!(flow->marks & SAL_FLOW_MARK_HELD)) {
        return;
    }
    struct sal_held *held = &scratch->held;
    flow->marks &= ~SAL_FLOW_MARK_HELD;
    held->kind = kind;
    held->attempts = 0;
    held->len = 0;
    held->tuple = flow->local;
    if (bpf_ringbuf_output(&sal_held, held, sizeof *held, 0)) {
        count(SAL_COUNT_OUT_HOLD_FULL);
    }
}

#endif /* hold.bpf.h */
