/* SPDX-License-Identifier: Apache-2.0 */
/* Egress of sal0: what local applications send to services and clients. */
#ifndef SALIENT_EGRESS_BPF_H
#define SALIENT_EGRESS_BPF_H 1

#include "agents/bpf/echo.bpf.h"
#include "agents/bpf/hold.bpf.h"
#include "agents/bpf/path.bpf.h"
#include "agents/bpf/service.bpf.h"

/* In place of a verdict: the packet is ICMP, for egress_icmp(). */
#define EGRESS_ICMP (-3)
/* It is a fragment, or too short for anything else: for egress_fragment(). */
#define EGRESS_FRAGMENT (-4)

/* Makes the first fragment in 'skb' look like the headers of the datagram that
 * it belongs to, with some of its data behind them. */
static __noinline int
fragment_to_headers(struct __sk_buff *skb, const struct egress *packet)
{
    struct scratch *scratch = scratch_get();
    if (!scratch || !packet) {
        return -1;
    }
    struct iphdr *ip4 = (void *) scratch->chunk;
    struct ipv6hdr *ip6 = (void *) scratch->chunk;
    const int v6 = packet->v6;
    const __u32 udp_ofs = ETH_HLEN + (v6 ? IP6_LEN + IP6_FRAGMENT_LEN
                                         : IP4_LEN);
    __u8 *udp_at = scratch->chunk + (v6 ? IP6_LEN : IP4_LEN);
    if (bpf_skb_load_bytes(skb, ETH_HLEN, scratch->chunk,
                           v6 ? IP6_LEN : IP4_LEN)
        || bpf_skb_load_bytes(skb, udp_ofs, udp_at, UDP_LEN)) {
        return -1;
    }
    __be16 udp_len = ((struct udphdr *) udp_at)->len;
    if (v6) {
        ip6->nexthdr = IPPROTO_UDP;
        ip6->payload_len = udp_len;
        return bpf_skb_store_bytes(skb, ETH_HLEN, scratch->chunk,
                                   INNER_MIN(1), 0);
    }
    ip4->frag_off = 0;
    ip4->tot_len = bpf_htons(bpf_ntohs(udp_len) + IP4_LEN);
    ip_checksum(ip4);
    return bpf_skb_store_bytes(skb, ETH_HLEN, scratch->chunk, INNER_MIN(0),
                               0);
}

/* Refuses the SYN, or the datagram, in 'skb' towards the application. */
static __noinline int
deliver_refusal(struct __sk_buff *skb, const struct sal_settings *settings,
                const struct egress *packet)
{
    if (!settings || !packet) {
        return TC_ACT_SHOT;
    }
    if (packet->tuple.proto == IPPROTO_UDP) {
        return packet->fragment && fragment_to_headers(skb, packet)
               ? TC_ACT_SHOT
               : deliver_unreachable(skb, settings, &packet->tuple);
    }
    return deliver_rst(skb, settings, &packet->tuple, 0,
                       bpf_htonl(bpf_ntohl(packet->seq) + 1));
}

static __always_inline int
refuse_connect(struct __sk_buff *skb, const struct sal_settings *settings,
               const struct egress *packet, enum sal_counter reason)
{
    count(reason);
    return deliver_refusal(skb, settings, packet);
}

/* Sends client 'flow' to scratch->next, of the IP version. */
static __always_inline void
flow_to_next(const struct sal_settings *settings, const struct scratch *scratch,
             struct sal_flow *flow, int outer_v6, __u64 random)
{
    if (outer_v6) {
        flow->flags |= SAL_FLOW_OUTER6;
    } else {
        flow->flags &= ~SAL_FLOW_OUTER6;
    }
    flow->peer_locator = scratch->next;
    flow_choose_uplink(settings, flow, random);
}

/* Makes the client's half-open flow for the SYN 'packet'; it is returned, and
 * lives in the LRU table. */
static __always_inline struct sal_flow *
client_flow_make(struct sal_settings *settings, struct scratch *scratch,
                 const struct egress *packet, const __u8 *service_id,
                 int outer_v6)
{
    struct sal_flow *flow = &scratch->flow;

    __builtin_memset(flow, 0, sizeof *flow);
    flow->state = SAL_FLOW_HALF_OPEN;
    flow->flags = packet->v6 ? SAL_FLOW_INNER6 : 0;
    flow->local = packet->tuple;
    flow->wire = packet->tuple;
    flow_to_next(settings, scratch, flow, outer_v6,
                 keyed_random(settings, scratch));
    flow->nonce = keyed_random(settings, scratch);
    flow->isn_out = packet->seq;
    __builtin_memcpy(flow->service_id, service_id, SAL_SERVICE_ID_LEN);
    flow->created_ns = bpf_ktime_get_ns();
    flow->entropy_ns = bpf_ktime_get_coarse_ns();
    if (!half_flow_insert(settings)) {
        return NULL;
    }
    return half_flow_by_id(flow->id);
}

/* True if both ends of a flow within this host are there: they are bound. */
static __always_inline int
local_flows_bind(struct sal_flow *client)
{
    struct sal_flow *server = half_flow_by_id(client->peer_id);
    if (!server) {
        return 0;
    }
    client->state = SAL_FLOW_BOUND;
    server->state = SAL_FLOW_BOUND;
    return 1;
}

/* A service of this very host, called from here.  The packets never leave:
 * they are rewritten and handed back to the stack.  To the server its client
 * has the service's address (and the client's port), because a packet to the
 * client's own address would not come back to us.  Each end has a flow of its
 * own; peer_id names the other one:
 *
 *     client's flow  local  identity:port -> service:80
 *                    wire   service:port  -> target:8080
 *     server's flow  local  target:8080   -> service:port
 *                    wire   service:80    -> identity:port */
static __noinline int
local_flows_make(struct sal_settings *settings, struct scratch *scratch,
                 const struct egress *packet, const struct sal_target *target)
{
    if (!settings || !scratch || !packet || !target) {
        return 0;
    }
    struct sal_flow *flow = &scratch->flow;
    __builtin_memset(flow, 0, sizeof *flow);
    flow->state = SAL_FLOW_HALF_OPEN;
    flow->flags = SAL_FLOW_LOCAL | (packet->v6 ? SAL_FLOW_INNER6 : 0);
    flow->isn_out = packet->seq;
    flow->created_ns = bpf_ktime_get_ns();
    flow->local = packet->tuple;
    flow->wire = packet->tuple;
    flow->wire.local = packet->tuple.remote;
    if (!target_address(settings, target, packet->v6, &flow->wire.remote)) {
        return 0;
    }
    flow->wire.rport = target->port;
    flow_prepare_rewrite(flow);
    if (!half_flow_insert(settings)) {
        return 0;
    }
    __u32 client_id = flow->id;

    flow->flags = SAL_FLOW_LOCAL | SAL_FLOW_SERVER
                  | (flow->flags & SAL_FLOW_INNER6);
    flow->peer_id = client_id;
    flow->local.local = flow->wire.remote;
    flow->local.lport = flow->wire.rport;
    flow->local.remote = packet->tuple.remote;
    flow->local.rport = packet->tuple.lport;
    flow->wire.local = packet->tuple.remote;
    flow->wire.lport = packet->tuple.rport;
    flow->wire.remote = packet->tuple.local;
    flow->wire.rport = packet->tuple.lport;
    flow_prepare_rewrite(flow);
    if (!half_flow_insert(settings)) {
        return 0;
    }
    struct sal_flow *client = half_flow_by_id(client_id);
    if (client) {
        client->peer_id = flow->id;
    }
    return client != NULL;
}

/* Hands the packet of local 'flow' to the other end. */
static __always_inline int
forward_local(struct __sk_buff *skb, const struct sal_settings *settings,
              const struct sal_flow *flow)
{
    if (rewrite_inner(skb, flow, 1)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    return deliver(skb, settings, flow->flags & SAL_FLOW_INNER6);
}

static __noinline int
local_syn(struct __sk_buff *skb, struct sal_settings *settings,
          struct scratch *scratch, const struct egress *packet,
          const struct sal_target *target)
{
    if (!settings || !scratch || !packet) {
        return TC_ACT_SHOT;
    }
    struct sal_flow *flow = half_flow_by_tuple(&packet->tuple);
    count(SAL_COUNT_OUT_LOCAL_SERVICE);
    if (!flow || flow->state != SAL_FLOW_HALF_OPEN
        || !(flow->flags & SAL_FLOW_LOCAL)
        || flow->isn_out != packet->seq) {
        if (!local_flows_make(settings, scratch, packet, target)) {
            return refuse_connect(skb, settings, packet,
                                  SAL_COUNT_FLOW_TABLE_FULL);
        }
        flow = half_flow_by_tuple(&packet->tuple);
    }
    if (!flow || (packet->tuple.proto == IPPROTO_UDP
                  && !local_flows_bind(flow))) {
        return drop(SAL_COUNT_OUT_NO_FLOW);
    }
    return packet->fragment ? EGRESS_FRAGMENT
                            : forward_local(skb, settings, flow);
}

/* The answer of a local server to a local client. */
static __noinline int
local_answer(struct __sk_buff *skb, struct sal_settings *settings,
             struct sal_flow *flow, int is_rst)
{
    if (!settings || !flow) {
        return TC_ACT_SHOT;
    }
    int verdict = forward_local(skb, settings, flow);
    struct sal_flow *client = half_flow_by_id(flow->peer_id);
    if (client && is_rst) {
        half_flow_delete(client);
    } else if (client) {
        flow_bind(client);
    }
    if (is_rst) {
        half_flow_delete(flow);
    } else if (flow->state == SAL_FLOW_HALF_OPEN) {
        flow_bind(flow);
    }
    return verdict;
}

/* Datagrams of an unanswered flow keep their source port this long. */
#define UDP_RETRY_NS 1000000000ULL

/* True if 'packet' can travel behind the header of a SYN or SYN-ACK of
 * 'flow'. */
static __always_inline int
fits_handshake(const struct sal_settings *settings,
               const struct egress *packet, const struct sal_flow *flow)
{
    return packet->segment_len + OUTER_LEN(flow_outer_v6(flow)) + SYN_HEADER_LEN
           <= path_mtu(settings, flow)
           || packet->tuple.proto != IPPROTO_UDP;
}

static __always_inline int
egress_rewrite(struct __sk_buff *skb, const struct sal_flow *flow)
{
    return flow->flags & SAL_FLOW_REWRITE
           ? rewrite_inner(skb, flow, 1) : 0;
}

/* Sends a datagram of 'flow' as a DATAGRAM, or says how large it may be. */
GLOBAL int
send_datagram(struct __sk_buff *skb, struct sal_settings *settings,
              const struct egress *packet, struct sal_flow *flow)
{
    struct scratch *scratch = scratch_get();
    if (!scratch || !settings || !packet || !flow) {
        return TC_ACT_SHOT;
    }
    if (!fits_handshake(settings, packet, flow)) {
        count(SAL_COUNT_OUT_DATAGRAM_TOO_BIG);
        if (packet->fragment && fragment_to_headers(skb, packet)) {
            return TC_ACT_SHOT;
        }
        return deliver_too_big(skb, settings, &packet->tuple,
                               path_mtu(settings, flow) - SYN_HEADER_LEN
                               - OUTER_LEN(flow_outer_v6(flow)));
    }
    if (egress_rewrite(skb, flow)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    flow->out_packets += 1;
    flow->out_bytes += packet->len;
    flow->last_out_ns = bpf_ktime_get_coarse_ns();
    count(SAL_COUNT_OUT_DATAGRAM);
    return send_control(skb, settings, scratch, flow, SAL_TYPE_DATAGRAM,
                        flow->entropy == settings->sal_port ? SAL_FLAG_NAT : 0,
                        SYN_HEADER_LEN, packet->tos);
}

struct syn_result {
    __u8 flags; /* For the SYN's header. */
    enum sal_counter reason; /* Why there is no flow. */
};

/* The client's half-open flow for SYN 'packet', which 'rule' forwards: a new
 * one, or that of a SYN sent before.  NULL if there is none. */
static __noinline struct sal_flow *
client_flow_get(struct sal_settings *settings, struct scratch *scratch,
                const struct egress *packet, const struct sal_rule *rule,
                struct syn_result *result)
{
    if (!settings || !scratch || !packet || !rule || !result) {
        return NULL;
    }
    __u64 now = bpf_ktime_get_coarse_ns();
    struct sal_flow *flow = half_flow_by_tuple(&packet->tuple);
    const int datagram = rule->flags & SAL_RULE_DATAGRAM
                         && packet->tuple.proto == IPPROTO_UDP;
    int again = flow && !(flow->flags & SAL_FLOW_SERVER)
                && flow->isn_out == packet->seq
                && (datagram ? flow->marks & SAL_FLOW_MARK_DATAGRAM
                             : flow->state == SAL_FLOW_HALF_OPEN);
    if (again && !datagram && packet->tuple.proto == IPPROTO_UDP
        && now - flow->entropy_ns < UDP_RETRY_NS) {
        return flow; /* One burst of datagrams is to reach one server. */
    }
    __u64 random = keyed_random(settings, scratch);
    int outer_v6 = choose_next(settings, rule,
                               (const void *) scratch->service_id, random);
    if (outer_v6 < 0) {
        result->reason = SAL_COUNT_OUT_NO_UPLINK;
        return NULL;
    }
    if (again) {
        /* Another source port, so that it is resolved afresh. */
        flow_to_next(settings, scratch, flow, outer_v6, random);
        flow_entropy(settings, flow, random);
        flow->entropy_ns = now;
        if (!datagram) {
            result->flags = SAL_FLAG_RETRY;
            count(SAL_COUNT_OUT_SYN_RETRY);
        }
        return flow;
    }
    flow = client_flow_make(settings, scratch, packet, scratch->service_id,
                            outer_v6);
    if (!flow) {
        result->reason = SAL_COUNT_FLOW_TABLE_FULL;
        return NULL;
    }
    flow->flags_class = rule->path_class & SAL_PATH_CLASS_MASK;
    if (datagram) {
        flow->state = SAL_FLOW_BOUND;
        flow->marks = SAL_FLOW_MARK_DATAGRAM;
    }
    return flow;
}

/* Sends the SYN, or what travels with it, of client 'flow'. */
GLOBAL int
send_syn(struct __sk_buff *skb, struct sal_settings *settings,
         const struct egress *packet, struct sal_flow *flow, __u8 flags)
{
    struct scratch *scratch = scratch_get();
    if (!scratch || !settings || !packet || !flow) {
        return TC_ACT_SHOT;
    }
    if (flow->entropy == settings->sal_port) {
        flags |= SAL_FLAG_NAT;
    }
    flow->last_out_ns = bpf_ktime_get_coarse_ns();
    count(SAL_COUNT_OUT_SYN);
    if (!fits_handshake(settings, packet, flow)) {
        /* Only its headers travel now; it follows once the flow is bound.  If
         * it cannot be held it is lost, as any datagram may be. */
        if (hold(skb, scratch, &packet->tuple, SAL_HELD_BIND)) {
            count(SAL_COUNT_OUT_HOLD);
            flow->marks |= SAL_FLOW_MARK_HELD;
        }
        if ((packet->fragment && fragment_to_headers(skb, packet))
            || bpf_skb_change_tail(skb, ETH_HLEN + INNER_MIN(packet->v6), 0)) {
            return drop(SAL_COUNT_OUT_FAILED);
        }
    } else {
        flow->out_packets += 1;
        flow->out_bytes += packet->len;
    }
    return send_control(skb, settings, scratch, flow, SAL_TYPE_SYN, flags,
                        SYN_HEADER_LEN, packet->tos);
}

/* DELAY: the daemon finds out where the service is, and hands the packet back
 * when it has replaced the rule; marked, if that cannot be done. */
static __always_inline int
egress_delayed(struct __sk_buff *skb, const struct sal_settings *settings,
               struct scratch *scratch, const struct egress *packet)
{
    if (skb->mark == SAL_MARK_REFUSE) {
        return refuse_connect(skb, settings, packet,
                              SAL_COUNT_OUT_DELAY_REFUSED);
    }
    __builtin_memcpy(scratch->held.service_id, scratch->service_id,
                     SAL_SERVICE_ID_LEN);
    if (!hold(skb, scratch, &packet->tuple, SAL_HELD_RESOLVE)) {
        return deliver_refusal(skb, settings, packet);
    }
    count(SAL_COUNT_OUT_DELAYED);
    return TC_ACT_SHOT;
}

/* A connection to a service of this host's own. */
static __always_inline int
egress_own(struct __sk_buff *skb, struct sal_settings *settings,
           struct scratch *scratch, const struct egress *packet,
           const struct sal_rule *rule)
{
    struct sal_target *target =
        target_lookup(scratch, rule, scratch->service_id, packet->tuple.proto,
                      packet->tuple.rport);
    struct sal_addr address;
    if (!target || !target_address(settings, target, packet->v6, &address)) {
        return refuse_connect(skb, settings, packet, SAL_COUNT_OUT_NO_TARGET);
    }
    return local_syn(skb, settings, scratch, packet, target);
}

/* A connection's first packet, or a datagram of a flow that is not bound, as
 * scratch->packet says. */
GLOBAL int
egress_first(struct __sk_buff *skb)
{
    struct sal_settings *settings = settings_get();
    struct scratch *scratch = scratch_get();
    if (!scratch || !settings) {
        return TC_ACT_SHOT;
    }
    const struct egress *packet = &scratch->packet;
    const struct sal_addr *identity = identity_of(settings, packet->v6);
    if (addr_is_zero(identity)) {
        return refuse_connect(skb, settings, packet,
                              SAL_COUNT_OUT_NO_IDENTITY);
    }
    if (!addr_equal(&packet->tuple.local, identity)) {
        return refuse_connect(skb, settings, packet, SAL_COUNT_OUT_SOURCE);
    }
    struct sal_service_value *service =
        bpf_map_lookup_elem(&sal_addresses, &packet->tuple.remote);
    if (!service) {
        return refuse_connect(skb, settings, packet,
                              SAL_COUNT_OUT_UNKNOWN_ADDRESS);
    }
    __builtin_memcpy(scratch->service_id, service->service_id,
                     SAL_SERVICE_ID_LEN);
    struct sal_rule *rule = rule_lookup(scratch->service_id);
    if (!rule) {
        return refuse_connect(skb, settings, packet, SAL_COUNT_OUT_NO_RULE);
    }

    /* The tuple is used anew: whoever had it is gone. */
    struct sal_flow *flow = flow_by_tuple(&packet->tuple);
    if (flow) {
        flow_delete(flow);
        count(SAL_COUNT_FLOW_REUSED);
    }
    switch (rule->action) {
    case SAL_RULE_FORWARD:
        break;
    case SAL_RULE_DEMUX:
        return egress_own(skb, settings, scratch, packet, rule);
    case SAL_RULE_DELAY:
        return egress_delayed(skb, settings, scratch, packet);
    case SAL_RULE_DROP:
        return drop(SAL_COUNT_OUT_RULE_DROP);
    default:
        return refuse_connect(skb, settings, packet,
                              SAL_COUNT_OUT_RULE_REJECT);
    }
    struct syn_result result = {0};
    flow = client_flow_get(settings, scratch, packet, rule, &result);
    if (!flow) {
        return refuse_connect(skb, settings, packet, result.reason);
    }
    return flow->marks & SAL_FLOW_MARK_DATAGRAM
           ? send_datagram(skb, settings, packet, flow)
           : send_syn(skb, settings, packet, flow, result.flags);
}

static __always_inline int
egress_syn(struct __sk_buff *skb, const struct egress *packet)
{
    struct scratch *scratch = scratch_get();
    if (!scratch) {
        return TC_ACT_SHOT;
    }
    scratch->packet = *packet;
    return egress_first(skb);
}

/* The server's answer to a SYN: its SYN-ACK, or a RST where nobody listens. */
static __noinline int
egress_answer(struct __sk_buff *skb, struct sal_settings *settings,
              const struct egress *packet)
{
    struct scratch *scratch = scratch_get();
    if (!scratch || !settings || !packet) {
        return TC_ACT_SHOT;
    }
    struct sal_flow *flow = half_flow_by_tuple(&packet->tuple);
    int syn_ack = packet->tcp_flags & TCP_SYN;
    if (!flow && syn_ack) {
        flow = flow_by_tuple(&packet->tuple); /* Sent again, late. */
    }
    if (!flow) {
        count(SAL_COUNT_OUT_NO_FLOW);
        if ((packet->tcp_flags & (TCP_ACK | TCP_RST | TCP_SYN)) != TCP_ACK) {
            return TC_ACT_SHOT;
        }
        /* A connection that outlived its flow, by an upgrade that replaced
         * the tables: it ends at once rather than by a time-out. */
        return deliver_rst(skb, settings, &packet->tuple, packet->ack, 0);
    }
    if (!(flow->flags & SAL_FLOW_SERVER)) {
        return drop(SAL_COUNT_OUT_NOT_BOUND);
    }
    if (flow->flags & SAL_FLOW_LOCAL
        && (syn_ack || packet->tcp_flags & TCP_RST)) {
        return local_answer(skb, settings, flow, !syn_ack);
    }
    if (!syn_ack && !(packet->tcp_flags & TCP_RST)) {
        /* An ACK in answer to a SYN comes from TIME-WAIT: this client, or one
         * that it is told from only by the service it called, had the tuple
         * before.  A client would answer with RST (RFC 9293, 3.10.7.3), which
         * ends TIME-WAIT, and its next SYN gets through. */
        if (!(packet->tcp_flags & TCP_ACK)
            || flow_by_tuple(&packet->tuple)) {
            return drop(SAL_COUNT_OUT_NOT_BOUND);
        }
        count(SAL_COUNT_OUT_TIME_WAIT);
        return deliver_rst(skb, settings, &packet->tuple, packet->ack, 0);
    }
    if (egress_rewrite(skb, flow)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    flow->out_packets += 1;
    flow->out_bytes += packet->len;
    flow->last_out_ns = bpf_ktime_get_coarse_ns();
    if (syn_ack) {
        flow->isn_out = packet->seq;
        count(SAL_COUNT_OUT_SYN_ACK);
        return send_control(skb, settings, scratch, flow, SAL_TYPE_SYN_ACK, 0,
                            SYN_HEADER_LEN, packet->tos);
    }
    count(SAL_COUNT_OUT_RESET);
    int verdict = send_control(skb, settings, scratch, flow, SAL_TYPE_RESET, 0,
                               SAL_CONTROL_HEADER_LEN, packet->tos);
    half_flow_delete(flow);
    return verdict;
}

/* A datagram.  Until the server was heard, datagrams carry the SYN header, and
 * until the client was heard again the server's carry that of SYN-ACK.  The
 * verdict, or UDP_UNANSWERED if it is for egress_syn() (not called from here:
 * the stack is short). */
#define UDP_UNANSWERED (-2)
static __noinline int
egress_udp(struct __sk_buff *skb, struct sal_settings *settings,
           const struct egress *packet)
{
    struct scratch *scratch = scratch_get();
    if (!scratch || !settings || !packet) {
        return TC_ACT_SHOT;
    }
    struct sal_flow *flow = flow_by_tuple(&packet->tuple);
    if (!flow) {
        flow = half_flow_by_tuple(&packet->tuple);
    }
    const int client = flow && !(flow->flags & SAL_FLOW_SERVER);
    const int datagram = flow && flow->marks & SAL_FLOW_MARK_DATAGRAM;
    if (flow && flow->path_mtu && !datagram) {
        int verdict = path_check(skb, settings, flow, &packet->tuple,
                                 packet->len);
        if (verdict != PATH_FITS) {
            return verdict;
        }
    }
    if (!flow || (client && (flow->state == SAL_FLOW_HALF_OPEN || datagram))) {
        return UDP_UNANSWERED;
    }
    if (datagram) {
        return send_datagram(skb, settings, packet, flow);
    }
    /* A client that has our SYN-ACK takes DATA; the header of another one is
     * for the case that it was lost, and does not fit beside everything. */
    int bound = flow->state == SAL_FLOW_BOUND
                || !fits_handshake(settings, packet, flow);
    if (egress_rewrite(skb, flow)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    __u64 now = bpf_ktime_get_coarse_ns();
    flow->out_packets += 1;
    flow->out_bytes += packet->len;
    flow->last_out_ns = now;
    if (flow->flags & SAL_FLOW_LOCAL) {
        return deliver(skb, settings, packet->v6);
    }
    if (bound) {
        int verdict = send_data(skb, settings, flow, now, packet->tos);
        flow_keep_if_used(flow);
        return verdict;
    }
    count(SAL_COUNT_OUT_SYN_ACK);
    return send_control(skb, settings, scratch, flow, SAL_TYPE_SYN_ACK, 0,
                        SYN_HEADER_LEN, packet->tos);
}

/* What is of no bound flow. */
static __always_inline int
egress_other(struct __sk_buff *skb, struct sal_settings *settings,
             const struct egress *packet)
{
    if ((packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
        return egress_syn(skb, packet);
    }
    struct sal_flow *flow = half_flow_by_tuple(&packet->tuple);
    if (flow && flow->state == SAL_FLOW_CLOSING) {
        if (egress_rewrite(skb, flow)) {
            return drop(SAL_COUNT_OUT_FAILED);
        }
        if (flow->flags & SAL_FLOW_LOCAL) {
            return deliver(skb, settings, packet->v6);
        }
        return send_data(skb, settings, flow, bpf_ktime_get_coarse_ns(),
                         packet->tos);
    }
    return egress_answer(skb, settings, packet);
}

/* Reads IP's part of 'packet' at 'ip'.  The counter to drop under, or -1. */
static __always_inline int
egress_parse_ip(const void *ip, struct egress *packet, const int v6)
{
    if (v6) {
        const struct ipv6hdr *ip6 = ip;
        __u8 next = ip6->nexthdr;
        if (ip6->version != 6) {
            return SAL_COUNT_OUT_MALFORMED;
        }
        if (next == IP6_FRAGMENT) {
            return SAL_COUNT_OUT_FRAGMENT;
        }
        if (next == IP6_HOP_BY_HOP || next == IP6_ROUTING
            || next == IP6_DESTINATION) {
            return SAL_COUNT_OUT_EXTENSION;
        }
        if (ip6_is_reserved(&ip6->saddr) || ip6_is_reserved(&ip6->daddr)) {
            return SAL_COUNT_OUT_MALFORMED;
        }
        addr_from_v6(&packet->tuple.local, &ip6->saddr);
        addr_from_v6(&packet->tuple.remote, &ip6->daddr);
        packet->tuple.proto = next;
        packet->len = bpf_ntohs(ip6->payload_len) + IP6_LEN;
        packet->tos = ip6_traffic_class(ip6);
        packet->v6 = 1;
    } else {
        const struct iphdr *ip4 = ip;
        if (ip4->version != 4 || ip4->ihl != 5) {
            return SAL_COUNT_OUT_MALFORMED;
        }
        if (ip4->frag_off & bpf_htons(IP_FRAGMENT)) {
            return SAL_COUNT_OUT_FRAGMENT;
        }
        addr_from_v4(&packet->tuple.local, ip4->saddr);
        addr_from_v4(&packet->tuple.remote, ip4->daddr);
        packet->tuple.proto = ip4->protocol;
        packet->len = bpf_ntohs(ip4->tot_len);
        packet->tos = ip4->tos;
    }
    return packet->tuple.proto == IPPROTO_TCP
           || packet->tuple.proto == IPPROTO_UDP
           ? -1 : SAL_COUNT_OUT_UNSUPPORTED;
}

/* Reads the headers of what the stack sends.  The counter to drop under, or
 * -1. */
static __always_inline int
egress_parse(struct __sk_buff *skb, struct egress *packet, const int v6)
{
    void *data = packet_data(skb);
    void *end = packet_end(skb);
    const __u32 want = ETH_HLEN + INNER_TCP_MIN(v6);
    if (data + want > end) {
        bpf_skb_pull_data(skb, skb->len < want ? skb->len : want);
        data = packet_data(skb);
        end = packet_end(skb);
        if (data + ETH_HLEN + INNER_MIN(v6) > end) {
            return SAL_COUNT_OUT_FRAGMENT; /* The last one can be so short. */
        }
    }
    int reason = egress_parse_ip(data + ETH_HLEN, packet, v6);
    if (reason >= 0) {
        return reason;
    }
    const struct tcphdr *tcp = data + ETH_HLEN + IP_LEN(v6);
    packet->tuple.lport = tcp->source;
    packet->tuple.rport = tcp->dest;
    packet->segment_len = skb->gso_size ? INNER_MIN(v6) + skb->gso_size
                                        : packet->len;
    if (packet->tuple.proto == IPPROTO_TCP) {
        if (data + want > end) {
            return SAL_COUNT_OUT_MALFORMED;
        }
        packet->seq = tcp->seq;
        packet->ack = tcp->ack_seq;
        packet->tcp_flags = ((const __u8 *) tcp)[TCP_FLAGS_OFS];
        packet->payload = packet->len - IP_LEN(v6) - tcp->doff * 4
                          + (packet->tcp_flags & TCP_FIN);
    }
    return -1;
}

static __always_inline int
egress(struct __sk_buff *skb, struct sal_settings *settings, const int v6)
{
    struct egress packet = {0};
    int reason = egress_parse(skb, &packet, v6);
    if (reason == SAL_COUNT_OUT_FRAGMENT) {
        return EGRESS_FRAGMENT;
    }
    if (reason >= 0) {
        return reason == SAL_COUNT_OUT_UNSUPPORTED
                       && packet.tuple.proto == (v6 ? IPPROTO_ICMPV6
                                                    : IPPROTO_ICMP)
               ? EGRESS_ICMP : drop(reason);
    }
    if (packet.tuple.proto == IPPROTO_UDP) {
        int verdict = egress_udp(skb, settings, &packet);
        return verdict == UDP_UNANSWERED
               ? egress_syn(skb, &packet) : verdict;
    }

    struct sal_flow *flow = NULL;
    if (!(packet.tcp_flags & TCP_SYN)) {
        flow = flow_by_tuple(&packet.tuple);
    }
    if (!flow) {
        return egress_other(skb, settings, &packet);
    }
    if (flow->path_mtu) {
        int verdict = path_check(skb, settings, flow, &packet.tuple,
                                 packet.len);
        if (verdict != PATH_FITS) {
            return verdict;
        }
    }
    if (flow->flags & SAL_FLOW_REWRITE
        && rewrite_inner_v(skb, flow, 1, v6)) {
        return drop(SAL_COUNT_OUT_FAILED);
    }
    __u64 now = bpf_ktime_get_coarse_ns();
    flow->out_packets += 1;
    flow->out_bytes += packet.len;
    flow->ack_out = packet.ack;
    if (packet.payload) {
        __u32 seq_end = bpf_ntohl(packet.seq) + packet.payload;
        if (!flow->seq_end || (__s32) (seq_end - flow->seq_end) > 0) {
            flow->seq_end = seq_end;
        } else {
            echo_sent_again(flow, now, now - flow->last_out_ns);
        }
    }
    flow->last_out_ns = now;
    if (flow->marks & SAL_FLOW_MARK_OLD_ECHO) {
        echo_note(skb, flow, v6, now);
    }
    int verdict = flow->flags & SAL_FLOW_LOCAL
                  ? deliver(skb, settings, v6)
                  : send_data(skb, settings, flow, now, packet.tos);
    flow_track_close(settings, flow, packet.tcp_flags,
                     SAL_FLOW_END_FIN_OUT);
    return verdict;
}

#endif /* egress.bpf.h */
