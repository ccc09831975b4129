/* SPDX-License-Identifier: Apache-2.0 */
/* A UDP service of the hosts of bpf_pair.h: its datagrams, as each stack sees
 * them, what becomes of them, and what the data plane gives to hold. */
#ifndef SALIENT_BPF_UDP_H
#define SALIENT_BPF_UDP_H 1

#include "agents/datapath_held.h"
#include "tests/bpf/bpf_pair.h"

#define ASK_PORT 5353
#define TARGET_PORT 9953

/* The client's datagram, as it and as the server's stack see it, and an
 * answer. */
static const struct segment ask = {
    .src = ID_C, .dst = WEB, .sport = ASK_PORT, .dport = 53,
    .payload = "who?", .udp = true};
static const struct segment asked = {
    .src = ID_C, .dst = ID_S, .sport = ASK_PORT, .dport = TARGET_PORT,
    .payload = "who?", .udp = true};
static const struct segment tell = {
    .src = ID_S, .dst = ID_C, .sport = TARGET_PORT, .dport = ASK_PORT,
    .payload = "me", .udp = true};
static const struct segment told = {
    .src = WEB, .dst = ID_C, .sport = 53, .dport = ASK_PORT,
    .payload = "me", .udp = true};

static inline void
put_udp_target(struct host *host, const struct service_prefix *prefix)
{
    struct local_target t = {.prefix = *prefix, .protocol = 17,
                             .service_port = 53, .port = TARGET_PORT};
    host_tables_put_target(&host->tables, &t);
    host_apply(host);
}

static inline void
set_up_udp(void)
{
    test_device();
    set_up();
    put_udp_target(&server, &web);
    put_udp_target(&other, &web);
}

/* A control packet of a UDP flow. */
static inline struct sal_packet
udp_control(const struct host *host, const struct sal_flow *flow, uint8_t type)
{
    struct sal_packet p = control_of(host, flow, type);
    p.udp = true;
    if (type == SAL_TYPE_DATA) {
        p.service_id = p.endpoint_id = NULL;
    }
    return p;
}

/* The client's ACK: the server's SYN-ACK sent back. */
static inline struct sal_packet
udp_ack(const struct sal_flow *ours, const struct sal_flow *theirs)
{
    struct sal_packet p = udp_control(&server, theirs, SAL_TYPE_ACK);
    p.src = LOC_C;
    p.dst = LOC_S;
    p.src_flow = ntohl(ours->id);
    p.dst_flow = ntohl(theirs->id);
    return p;
}

/* The frame up to the length that its outer IP header says: what is behind
 * that is padding. */
static inline struct frame
unpadded(const struct frame *f)
{
    struct frame cut = *f;
    cut.len = MIN(cut.len, 14 + get16(f, 16));
    return cut;
}

static inline void
expect_sal(const struct frame *is, const struct sal_packet *p,
           const struct segment *inner)
{
    struct frame want, cut = unpadded(is);
    build_sal(&want, p, inner);
    CU_ASSERT_TRUE(frame_equal(&cut, &want, 12));
}

static inline void
expect_delivered(const struct segment *inner)
{
    struct frame is, want;
    build_inner(&want, inner);
    CU_ASSERT_TRUE_FATAL(test_delivered(&is, 10000));
    CU_ASSERT_TRUE(frame_equal(&is, &want, 12));
    CU_ASSERT_EQUAL(memcmp(is.data, test_sal_mac, 6), 0);
}

static inline void
expect_none_delivered(void)
{
    struct frame is;
    CU_ASSERT_FALSE(test_delivered(&is, 300));
}

/* What the client sends for 'segment'. */
static inline struct frame
client_sends(const struct segment *segment)
{
    struct frame f;
    build_inner(&f, segment);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    return f;
}

/* The client's SYN reaches 'to', whose answer is returned. */
static inline struct frame
syn_reaches(struct host *to)
{
    struct frame f = client_sends(&ask);
    resolve_to(&f, to->locator);
    CU_ASSERT_EQUAL(run_ingress(to, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    return f;
}

/* A datagram that fills the MTU. */
static inline const struct segment *
large(void)
{
    static char payload[1428];
    static struct segment s;
    memset(payload, 'x', sizeof payload - 1);
    s = ask;
    s.payload = payload;
    return &s;
}

/* Takes what the data plane gave to hold: the last one. */
static struct {
    struct sal_held held;
    struct frame frame;
    int n;
} taken;

static inline void
note_taken(const struct sal_held *held, void *frame, void *aux OVS_UNUSED)
{
    taken.n++;
    taken.held = *held;
    taken.frame.len = held->len;
    memcpy(taken.frame.data, frame, held->len);
}

static inline void
take_held(struct host *host)
{
    taken.n = 0;
    CU_ASSERT_EQUAL(datapath_held_take(host->dp, note_taken, NULL), 0);
}

#endif /* bpf_udp.h */
