/* SPDX-License-Identifier: Apache-2.0 */
/* Ingress of an uplink: SYNs and DATAGRAMs that are not for this host.  A
 * service router sends them on; others send them back to the client, whose data
 * plane resolves them again.  (Nobody else could: switches admit from a host's
 * port only what comes from that host.)  The header counts how often.
 *
 * A service router sends RSYNs on as well: endpoints are services. */
#ifndef SALIENT_RESOLVE_BPF_H
#define SALIENT_RESOLVE_BPF_H 1

#include "agents/bpf/egress.bpf.h"
#include "agents/bpf/ingress.bpf.h"

#define HOP_ONE 0x20 /* In SAL_FLAG_HOP_MASK. */
/* Of 32 bits: its multiples are spread evenly, however few or many. */
#define GOLDEN_RATIO 0x9e3779b1

/* Refuses a SYN, DATAGRAM or SYN-ACK: the client need not try elsewhere. */
static __always_inline int
refuse_final(struct __sk_buff *skb, struct scratch *scratch,
             struct control *control, enum sal_counter reason)
{
    count(reason);
    return answer(skb, scratch, control, SAL_TYPE_RESET);
}

/* Refuses what another host may serve. */
static __always_inline int
refuse(struct __sk_buff *skb, struct scratch *scratch,
       struct control *control, enum sal_counter reason)
{
    const struct sal_data_header *base = (void *) scratch->header;
    __u8 hops = base->flags_class & SAL_FLAG_HOP_MASK;
    if (hops != SAL_FLAG_HOP_MASK) {
        control->reset_flags = SAL_FLAG_RETRY | hops;
    }
    return refuse_final(skb, scratch, control, reason);
}

/* True if 'outer' is for a service router to resolve. */
static __always_inline int
is_for_router(const struct sal_settings *settings, const struct outer *outer)
{
    const struct sal_addr *resolver = outer->v6 ? &settings->resolver_v6
                                                : &settings->resolver_v4;
    return settings->flags & SAL_SETTINGS_ROUTER
           && addr_equal(&outer->dst, resolver);
}

static __always_inline int
forward_on_v(struct __sk_buff *skb, const struct sal_settings *settings,
             const struct scratch *scratch, const int v6)
{
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    struct udphdr *udp = data + ETH_HLEN + IP_LEN(v6);
    if ((void *) (udp + 1) > end) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    if (v6) {
        struct ipv6hdr *ip = data + ETH_HLEN;
        if (ip->hop_limit <= 1) {
            return drop(SAL_COUNT_IN_HOP_LIMIT);
        }
        ip->hop_limit -= 1;
        addr_to_v6(&ip->daddr, &scratch->next);
    } else {
        struct iphdr *ip = data + ETH_HLEN;
        if (ip->ttl <= 1) {
            return drop(SAL_COUNT_IN_HOP_LIMIT);
        }
        ip->ttl -= 1;
        ip->daddr = scratch->next.w[3];
        ip_checksum(ip);
    }
    udp->check = 0;
    const struct sal_data_header *base = (void *) scratch->header;
    count(base->type == SAL_TYPE_RSYN ? SAL_COUNT_IN_RSYN_ROUTED
                                      : SAL_COUNT_IN_ROUTED);
    return bpf_redirect_neigh(v6 ? settings->uplink_ifindex_v6
                                 : settings->uplink_ifindex, NULL, 0, 0);
}

/* Refuses what cannot be sent on.  An RSYN is dropped: its sender tries again
 * by itself, and asks elsewhere. */
static __always_inline int
refuse_route(struct __sk_buff *skb, struct scratch *scratch,
             struct control *control, enum sal_counter reason)
{
    const struct sal_data_header *base = (void *) scratch->header;
    return base->type == SAL_TYPE_RSYN
           ? drop(reason) : refuse_final(skb, scratch, control, reason);
}

/* Service router: sends the packet on to where 'rule' says.  Only the outer
 * destination changes, as at a switch, so that the server answers the client.
 * The choice hangs on the flow and its source port: a burst stays together, a
 * retry goes elsewhere.  RSYNs, which are the same each time, take turns: the
 * hops are places where one endpoint may be. */
static __noinline int
forward_on(struct __sk_buff *skb, struct sal_settings *settings,
           struct scratch *scratch, struct control *control,
           const struct sal_rule *rule)
{
    if (!settings || !scratch || !control || !rule) {
        return TC_ACT_SHOT;
    }
    struct sal_service_header *sal = (void *) scratch->header;
    struct sal_data_header *base = &sal->control.base;
    __u32 header_len = control->header_len;
    if ((base->flags_class & SAL_FLAG_HOP_MASK) == SAL_FLAG_HOP_MASK
        || header_len < SAL_SERVICE_HEADER_LEN
        || header_len > SAL_MAX_HEADER_LEN) {
        return refuse_route(skb, scratch, control, SAL_COUNT_IN_HOP_LIMIT);
    }
    __u32 random = base->type == SAL_TYPE_RSYN
                   ? rule->hits * GOLDEN_RATIO
                   : sip_hash(settings->hash_key, sal->control.nonce,
                              (__u64) base->src_flow << 32
                              | control->outer.src_port);
    int v6 = choose_next(settings, rule, (const void *) sal->service_id,
                         random);
    if (v6 != control->outer.v6
        || bpf_map_lookup_elem(&sal_locators, &scratch->next)) {
        return refuse_route(skb, scratch, control, SAL_COUNT_IN_NO_WAY);
    }
    base->flags_class += HOP_ONE;
    base->checksum = 0;
    base->checksum = ~header_sum(scratch, header_len);
    if (bpf_skb_store_bytes(skb, control->outer.sal_ofs, scratch->header,
                            header_len, 0)) {
        return drop(SAL_COUNT_IN_FAILED);
    }
    return v6 ? forward_on_v(skb, settings, scratch, 1)
              : forward_on_v(skb, settings, scratch, 0);
}

/* True if the endpoint service 'service_id' is this host itself. */
static __always_inline int
is_our_endpoint(const struct sal_settings *settings, const __u8 *service_id)
{
    __u64 theirs[2], ours[2];
    __builtin_memcpy(theirs, service_id + 8, sizeof theirs);
    __builtin_memcpy(ours, settings->endpoint_id, sizeof ours);
    return theirs[0] == ours[0] && theirs[1] == ours[1];
}

/* Service router: an RSYN.  What is for us is the daemon's; what is for whom no
 * rule says where it is, too, which ignores it. */
static __noinline int
ingress_rsyn(struct __sk_buff *skb, struct sal_settings *settings,
             struct scratch *scratch, struct control *control)
{
    if (!settings || !scratch || !control) {
        return TC_ACT_SHOT;
    }
    const struct sal_service_header *sal = (void *) scratch->header;
    struct sal_rule *rule = is_our_endpoint(settings, sal->service_id)
                            ? NULL : rule_lookup(sal->service_id);
    if (!rule || rule->action != SAL_RULE_FORWARD
        || !(rule->flags & SAL_RULE_HOPS)) {
        count(SAL_COUNT_IN_PASSED);
        return PASS;
    }
    return forward_on(skb, settings, scratch, control, rule);
}

/* True if 'inner' is what was sent in 'flow': it came back with the answer. */
static __always_inline int
inner_is_ours(const struct inner *inner, const struct sal_flow *flow)
{
    const struct sal_tuple *wire = &flow->wire;
    return addr_equal(&inner->src, &wire->local)
           && addr_equal(&inner->dst, &wire->remote)
           && inner->sport == wire->lport && inner->dport == wire->rport
           && inner->proto == wire->proto;
}

static __always_inline int
send_again_v(struct __sk_buff *skb, const struct sal_settings *settings,
             const struct scratch *scratch, const struct control *control,
             const struct sal_flow *flow, const int v6)
{
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    if (data + SAL_OFS(v6) > end) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    write_outer(data, OUTER_LEN(v6) + control->outer.sal_len, settings, flow,
                control->inner.tos, v6);
    if (bpf_skb_store_bytes(skb, SAL_OFS(v6), scratch->header, SYN_HEADER_LEN,
                            0)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    count(SAL_COUNT_OUT_RESOLVED_ON);
    return bpf_redirect_neigh(flow->ifindex, NULL, 0, 0);
}

/* A RESET of client 'flow' that says: not here, try another.  It brought the
 * packet back, which goes out again at once, resolved afresh.  The verdict, or
 * NOT_RESOLVED if the application is to be told no. */
#define NOT_RESOLVED (-2)
static __noinline int
resolve_on(struct __sk_buff *skb, struct sal_settings *settings,
           const struct control *control, struct sal_flow *flow)
{
    struct scratch *scratch = scratch_get();
    if (!scratch || !settings || !control || !flow) {
        return NOT_RESOLVED;
    }
    const struct sal_data_header *base = (void *) scratch->header;
    __u8 hops = base->flags_class & SAL_FLAG_HOP_MASK;
    if (!(base->flags_class & SAL_FLAG_RETRY) || hops == SAL_FLAG_HOP_MASK
        || flow->flags & SAL_FLOW_SERVER || !control->has_inner
        || control->header_len != SYN_HEADER_LEN
        || !inner_is_ours(&control->inner, flow)
        || control->inner.seq != flow->isn_out) {
        return NOT_RESOLVED;
    }
    __u64 random = keyed_random(settings, scratch);
    struct sal_rule *rule = rule_lookup(flow->service_id);
    if (!rule || rule->action != SAL_RULE_FORWARD
        || choose_next(settings, rule, (const void *) flow->service_id,
                       random)
           != control->outer.v6) {
        return NOT_RESOLVED;
    }
    flow_to_next(settings, scratch, flow, control->outer.v6, random);
    flow_entropy(settings, flow, random);
    flow->entropy_ns = bpf_ktime_get_coarse_ns();
    build_header(settings, scratch, flow,
                 flow->marks & SAL_FLOW_MARK_DATAGRAM ? SAL_TYPE_DATAGRAM
                                                      : SAL_TYPE_SYN,
                 (hops + HOP_ONE)
                 | (flow->entropy == settings->sal_port ? SAL_FLAG_NAT : 0),
                 SYN_HEADER_LEN);
    return control->outer.v6
           ? send_again_v(skb, settings, scratch, control, flow, 1)
           : send_again_v(skb, settings, scratch, control, flow, 0);
}

#endif /* resolve.bpf.h */
