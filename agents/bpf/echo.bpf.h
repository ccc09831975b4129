/* SPDX-License-Identifier: Apache-2.0 */
/* The first segment after a silence, in which the peer was elsewhere or we
 * were.  It may acknowledge what arrived before the silence began, since the
 * acknowledgements were lost then; the time stamp that it echoes, and the age
 * of what it acknowledges selectively, are as old as the silence.  TCP would
 * take that for a round trip, and set its timer to as much.  So it is given an
 * echo of what it sent after the silence, which undoes what doubled its timer;
 * of what it would have sent ECHO_LATEST_MS ago, if all that it sent again was
 * sent in vain before that; or of 0, which is none, if we saw nothing.  Selective
 * acknowledgements become an option that nobody knows.  What the segment
 * acknowledges as such stays, and the next one is left alone.
 *
 * While our flow is still held, a bare acknowledgement is dropped: we shall
 * send again what it acknowledges as soon as we may, and the answer to that
 * tells TCP more. */
#ifndef SALIENT_ECHO_BPF_H
#define SALIENT_ECHO_BPF_H 1

#include "agents/bpf/flow.bpf.h"

/* More than any round trip; less than TCP's second timer. */
#define ECHO_OLD_NS 500000000ULL

/* Neither a record of round trips nor a timer of seconds. */
#define ECHO_LATEST_MS 100

static __always_inline int
echo_is_silent(const struct sal_flow *flow, __u64 now)
{
    __u64 heard = flow->last_in_ns > flow->created_ns ? flow->last_in_ns
                                                      : flow->created_ns;
    return now > heard + ECHO_OLD_NS;
}

static __always_inline void
echo_mark(struct sal_flow *flow)
{
    if (!(flow->marks & SAL_FLOW_MARK_OLD_ECHO)) {
        flow->own_stamp = 0;
        flow->marks |= SAL_FLOW_MARK_OLD_ECHO;
    }
}

/* To be called when 'flow' gets another path, or its old one again; or when
 * something comes in before that. */
static __always_inline void
echo_expect_old(struct sal_flow *flow)
{
    if (flow->local.proto == IPPROTO_TCP && flow->seq_end
        && (__s32) (flow->seq_end - bpf_ntohl(flow->ack_in)) > 0
        && echo_is_silent(flow, bpf_ktime_get_ns())) {
        echo_mark(flow);
    }
}

/* To be called when TCP sends again, 'gap' ns after it last sent anything.  If
 * its timer is long by now, nobody may tell us when the silence ends before the
 * peer does. */
static __always_inline void
echo_sent_again(struct sal_flow *flow, __u64 now, __u64 gap)
{
    if (gap > ECHO_OLD_NS && flow->state == SAL_FLOW_BOUND
        && echo_is_silent(flow, now)) {
        echo_mark(flow);
    }
}

/* TCP's header from the data offset on, and options where all stacks put
 * them: for the sake of alignment, two no-operations stand before each. */
struct echo_segment {
    __u8 doff, flags;
    __be16 window, check, urgent;
    __be32 stamps, value, echo; /* NOP, NOP, 8, 10; time stamps. */
    __be32 sack, left;          /* NOP, NOP, 5, length; the first block. */
};
#define ECHO_OFS (__builtin_offsetof(struct tcphdr, ack_seq) + 4)
#define ECHO_STAMPS 0x0101080a
#define ECHO_SACK 0x01010500
#define ECHO_NO_SACK 0x0101fd00 /* RFC 4727: for experiments. */

/* Reads the header and the time stamps of the inner segment at the start of
 * 'skb'.  False if it has none. */
static __always_inline int
echo_stamps(struct __sk_buff *skb, __u32 ofs, struct echo_segment *s)
{
    return !bpf_skb_load_bytes(skb, ofs, s,
                               __builtin_offsetof(struct echo_segment, sack))
           && (s->doff >> 4) * 4 >= TCP_LEN + 12
           && s->stamps == bpf_htonl(ECHO_STAMPS);
}

/* Notes when our first segment of 'flow' after a silence was sent.  Which it
 * was is known later: one that may still be answered stays. */
static __noinline int
echo_note(struct __sk_buff *skb, struct sal_flow *flow, int v6, __u64 now)
{
    struct echo_segment s = {};
    __u32 ms = now / 1000000;
    if (flow
        && (!flow->own_stamp || ms - flow->own_stamp_ms > ECHO_LATEST_MS)
        && echo_stamps(skb, ETH_HLEN + IP_LEN(v6) + ECHO_OFS, &s)) {
        flow->own_stamp = s.value;
        flow->own_stamp_ms = ms;
    }
    return 0;
}

/* TCP's clock ticks once a millisecond (RFC 7323, and Linux since 4.13). */
static __always_inline __be32
echo_instead(const struct sal_flow *flow)
{
    __u32 age = (__u32) (bpf_ktime_get_coarse_ns() / 1000000)
                - flow->own_stamp_ms;
    if (!flow->own_stamp || age <= ECHO_LATEST_MS) {
        return flow->own_stamp;
    }
    return bpf_htonl(bpf_ntohl(flow->own_stamp) + age - ECHO_LATEST_MS);
}

static __always_inline int
echo_replace(struct __sk_buff *skb, __u32 tcp_ofs, __u32 ofs, __be32 from,
             __be32 to)
{
    return bpf_l4_csum_replace(
               skb, tcp_ofs + __builtin_offsetof(struct tcphdr, check), from,
               to, sizeof to)
           || bpf_skb_store_bytes(skb, tcp_ofs + ofs, &to, sizeof to, 0);
}

/* True if what comes in for 'flow' has to pass echo_forget(). */
static __always_inline int
echo_matters(const struct sal_flow *flow)
{
    return flow->marks & SAL_FLOW_MARK_OLD_ECHO || !flow->ifindex;
}

/* Makes the inner segment at the start of 'skb', of 'len' bytes with IP and
 * with TCP's flags and acknowledgement as given, say nothing of times if they
 * are old.  The counter to drop under, or -1. */
GLOBAL int
echo_forget(struct __sk_buff *skb, struct sal_flow *flow, __u8 tcp_flags,
            __be32 ack, __u32 len)
{
    if (!flow) {
        return SAL_COUNT_IN_FAILED;
    }
    const int v6 = !!(flow->flags & SAL_FLOW_INNER6);
    const __u32 tcp_ofs = ETH_HLEN + IP_LEN(v6);
    struct echo_segment s = {};

    if (!flow->ifindex) {
        echo_expect_old(flow);
    }
    if (!(flow->marks & SAL_FLOW_MARK_OLD_ECHO)
        || !echo_stamps(skb, tcp_ofs + ECHO_OFS, &s)) {
        flow->marks &= ~SAL_FLOW_MARK_OLD_ECHO;
        return -1;
    }
    if (!flow->ifindex && tcp_flags == TCP_ACK
        && len == IP_LEN(v6) + (s.doff >> 4) * 4) {
        return SAL_COUNT_IN_EARLY_ACK;
    }
    flow->marks &= ~SAL_FLOW_MARK_OLD_ECHO;
    count(SAL_COUNT_IN_OLD_ECHO);
    if (echo_replace(skb, tcp_ofs, TCP_LEN + 8, s.echo, echo_instead(flow))) {
        return SAL_COUNT_IN_FAILED;
    }
    const __u32 sack = __builtin_offsetof(struct echo_segment, sack);
    if ((s.doff >> 4) * 4 < TCP_LEN + 20
        || bpf_skb_load_bytes(skb, tcp_ofs + ECHO_OFS + sack, &s.sack, 8)
        || (s.sack & bpf_htonl(0xffffff00)) != bpf_htonl(ECHO_SACK)
        || (__s32) (bpf_ntohl(s.left) - bpf_ntohl(ack)) < 0) {
        return -1; /* None, or about what came twice (RFC 2883). */
    }
    return echo_replace(skb, tcp_ofs, TCP_LEN + 12, s.sack,
                        bpf_htonl(ECHO_NO_SACK)
                        | (s.sack & bpf_htonl(0xff)))
           ? SAL_COUNT_IN_FAILED : -1;
}

#endif /* echo.bpf.h */
