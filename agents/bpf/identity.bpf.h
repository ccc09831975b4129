/* SPDX-License-Identifier: Apache-2.0 */
/* Ingress of an uplink: is the inner source of a SYN its sender's own address?
 * IPv6 identity addresses are derived from endpoint IDs, which is seen here.
 * Who is where (and has which IPv4 identity address) is in sal_peers; what is
 * not, the daemon finds out while it holds the SYN (agents/claims.h).  Only
 * SYNs are looked at: whatever follows belongs to a flow that one has made. */
#ifndef SALIENT_IDENTITY_BPF_H
#define SALIENT_IDENTITY_BPF_H 1

#include "agents/bpf/hold.bpf.h"

/* The daemon is not asked again about a sender that was known otherwise, and
 * not about more SYNs than these in a window. */
#define IDENTIFY_AGAIN_NS 1000000000ULL
#define IDENTIFY_WINDOW_NS 10000000ULL
#define IDENTIFY_PER_WINDOW 64

enum identity_verdict {
    IDENTITY_GOOD,
    IDENTITY_BAD,
    IDENTITY_UNKNOWN,
};

static __always_inline int
endpoint_is_zero(const __u8 *endpoint)
{
    const __u64 *x = (const void *) endpoint;
    return !(x[0] | x[1]);
}

/* As identity_address_v6(): a /48, which is that of our own address, and the
 * first 80 bits of the endpoint ID. */
static __always_inline int
identity_v6_is_of(const struct sal_settings *settings,
                  const struct sal_addr *address, const __u8 *endpoint)
{
    const __u16 *x = (const void *) address, *id = (const void *) endpoint;
    const __u16 *own = (const void *) &settings->identity_v6;
    return x[0] == own[0] && x[1] == own[1] && x[2] == own[2]
           && x[3] == id[0] && x[4] == id[1] && x[5] == id[2]
           && x[6] == id[3] && x[7] == id[4];
}

static __noinline int
identity_fits(const struct sal_settings *settings,
              const struct sal_flow *flow, const struct sal_peer *peer)
{
    if (!settings || !flow || !peer || peer->state == SAL_PEER_REFUSED
        || (!endpoint_is_zero(flow->peer_endpoint)
            && !endpoint_equal(flow->peer_endpoint, peer->endpoint))) {
        return 0;
    }
    if (flow->flags & SAL_FLOW_INNER6) {
        return identity_v6_is_of(settings, &flow->wire.remote,
                                 peer->endpoint);
    }
    return flow->wire.remote.w[3] == peer->identity_v4
           || (!peer->identity_v4 && peer->state == SAL_PEER_CLAIMED);
}

static __noinline int
identity_verdict(const struct sal_settings *settings,
                 const struct sal_flow *flow)
{
    if (!settings || !flow) {
        return IDENTITY_BAD;
    }
    if (flow->flags & SAL_FLOW_INNER6
        && !identity_v6_is_of(settings, &flow->wire.remote,
                              flow->peer_endpoint)) {
        return IDENTITY_BAD;
    }
    __u64 now = bpf_ktime_get_ns();
    struct sal_peer_key key = {.locator = flow->peer_locator};
    struct sal_peer *peer = bpf_map_lookup_elem(&sal_peers, &key);
    if (!peer || peer->state != SAL_PEER_ATTACHED
        || now >= peer->expires_ns) {
        __builtin_memcpy(key.endpoint, flow->peer_endpoint,
                         sizeof key.endpoint);
        peer = bpf_map_lookup_elem(&sal_peers, &key);
    }
    if (!peer || now >= peer->expires_ns) {
        return IDENTITY_UNKNOWN;
    }
    if (identity_fits(settings, flow, peer)) {
        return IDENTITY_GOOD;
    }
    /* Somebody else may be there by now. */
    if (now - peer->asked_ns < IDENTIFY_AGAIN_NS) {
        return IDENTITY_BAD;
    }
    peer->asked_ns = now;
    return IDENTITY_UNKNOWN;
}

/* Gives the SYN in 'skb' to the daemon. */
static __always_inline void
identify(struct __sk_buff *skb, struct scratch *scratch)
{
    const struct sal_flow *flow = &scratch->flow;
    __u32 zero = 0;
    struct sal_notify *notify = bpf_map_lookup_elem(&sal_notify, &zero);
    __u64 now = bpf_ktime_get_coarse_ns();
    if (!notify) {
        return;
    }
    if (now - notify->identify_ns >= IDENTIFY_WINDOW_NS) {
        notify->identify_ns = now;
        notify->identify_n = 0;
    }
    scratch->held.claim.locator = flow->peer_locator;
    __builtin_memcpy(scratch->held.claim.endpoint, flow->peer_endpoint,
                     sizeof flow->peer_endpoint);
    if (skb->mark == SAL_MARK_IDENTIFIED
        || __sync_fetch_and_add(&notify->identify_n, 1) >= IDENTIFY_PER_WINDOW
        || !hold(skb, scratch, &flow->wire, SAL_HELD_IDENTIFY)) {
        count(SAL_COUNT_IN_IDENTIFY_BUSY);
    } else {
        count(SAL_COUNT_IN_IDENTIFY);
    }
}

/* True if the SYN in 'skb', whose flow to be is in 'scratch', may go on.
 * Counts what may not, and what cannot be known. */
static __noinline int
identity_ok(struct __sk_buff *skb, const struct sal_settings *settings,
            struct scratch *scratch)
{
    if (!settings || !scratch) {
        return 0;
    }
    switch (identity_verdict(settings, &scratch->flow)) {
    case IDENTITY_GOOD:
        return 1;
    case IDENTITY_BAD:
        count(SAL_COUNT_IN_IDENTITY);
        return 0;
    default:
        if (bpf_ktime_get_ns() < settings->identify_until_ns) {
            identify(skb, scratch);
            return 0;
        }
        count(SAL_COUNT_IN_IDENTITY_UNCHECKED);
        return 1;
    }
}

#endif /* identity.bpf.h */
