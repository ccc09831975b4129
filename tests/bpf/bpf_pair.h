/* SPDX-License-Identifier: Apache-2.0 */
/* The hosts that the eBPF tests play with:
 *
 *     client 10.0.0.1 (100.64.0.1) ---- 10.0.0.2 (100.64.0.2) server
 *     connects to 198.18.0.1:80 = web.shop.acme, served by :8080 there
 *
 *     another server, 10.0.0.3, serves the same. */
#ifndef SALIENT_BPF_PAIR_H
#define SALIENT_BPF_PAIR_H 1

#include "tests/bpf/bpf_host.h"

#define LOC_C 0x0a000001
#define LOC_S 0x0a000002
#define LOC_T 0x0a000003
#define RESOLVER 0x0aff0001
#define ID_C 0x64400001
#define ID_S 0x64400002
#define ID_T 0x64400003
#define WEB 0xc6120001
#define CLOSED 0xc6120002 /* A service whose rule is REJECT. */
#define SHADOW 0xc6120003 /* Another service with web's target. */
#define GONE 0xc6120004   /* A service whose rule is DROP. */
#define OWN 0xc6120005    /* A service of the client's own. */
#define NOBODY 0xc6120009

static struct host client, server, other;
static struct service_prefix web, closed, shadow, gone, own;

static inline struct in6_addr
mapped(uint32_t v4)
{
    struct sal_addr addr;
    addr_from_host_v4(&addr, v4);
    return addr_to_in6(&addr);
}

static inline void
put_address(struct host *host, uint32_t address,
            const struct service_prefix *prefix)
{
    struct service_address a = {.address = mapped(address),
                                .id = prefix->id};
    host_tables_put_address(&host->tables, &a);
}

static inline void
put_rule(struct host *host, const struct service_prefix *prefix,
         enum service_action action)
{
    struct service_rule r = {.prefix = *prefix, .action = action};
    host_tables_put_rule(&host->tables, &r);
}

static inline void
put_target(struct host *host, const struct service_prefix *prefix,
           uint16_t service_port, uint16_t port)
{
    struct local_target t = {.prefix = *prefix, .protocol = 6,
                             .service_port = service_port, .port = port};
    host_tables_put_target(&host->tables, &t);
}

static inline void
init_server(struct host *host, uint32_t locator, uint32_t identity)
{
    host_init(host, locator, identity, 16);
    put_rule(host, &web, SERVICE_DEMUX);
    put_rule(host, &shadow, SERVICE_DEMUX);
    put_rule(host, &gone, SERVICE_DROP);
    put_rule(host, &closed, SERVICE_FORWARD);
    put_target(host, &web, 80, 8080);
    put_target(host, &shadow, 80, 8080);
    host_apply(host);
}

static inline void
set_up(void)
{
    struct service_prefix root = {.len = 0};
    service_prefix_from_name("web.shop.acme", &web);
    service_prefix_from_name("closed.shop.acme", &closed);
    service_prefix_from_name("shadow.shop.acme", &shadow);
    service_prefix_from_name("gone.shop.acme", &gone);
    service_prefix_from_name("own.shop.acme", &own);
    host_init(&client, LOC_C, ID_C, 16);
    client.tables.settings.resolver_v4 = RESOLVER;
    put_address(&client, WEB, &web);
    put_address(&client, CLOSED, &closed);
    put_address(&client, SHADOW, &shadow);
    put_address(&client, GONE, &gone);
    put_address(&client, OWN, &own);
    put_rule(&client, &root, SERVICE_FORWARD);
    put_rule(&client, &closed, SERVICE_REJECT);
    put_rule(&client, &gone, SERVICE_DROP);
    put_rule(&client, &own, SERVICE_DEMUX);
    host_apply(&client);
    init_server(&server, LOC_S, ID_S);
    init_server(&other, LOC_T, ID_T);
}

static inline void
tear_down(void)
{
    host_destroy(&client);
    host_destroy(&server);
    host_destroy(&other);
}

static const struct segment client_syn = {
    .src = ID_C, .dst = WEB, .sport = 40000, .dport = 80, .seq = 1000,
    .flags = SYN, .tos = 0x10};

/* The network delivers 'f' to 'locator', as a switch that resolves does. */
static inline void
resolve_to(struct frame *f, uint32_t locator)
{
    f->data[30] = locator >> 24;
    f->data[31] = locator >> 16;
    f->data[32] = locator >> 8;
    f->data[33] = locator;
    set16(f, 24, 0);
    set16(f, 24, test_checksum(f->data + 14, 20, 0));
    memset(f->data, 0, 12);
}

/* Makes the SYN or DATAGRAM 'f' one that has been resolved on 'hops' times. */
static inline void
set_hops(struct frame *f, unsigned int hops)
{
    f->data[54] = (f->data[54] & ~SAL_FLAG_HOP_MASK) | hops << 5;
    set16(f, 56, 0);
    set16(f, 56, test_checksum(f->data + 42, f->data[43] * 4, 0));
}

/* What 'flow' puts into control packets. */
static inline struct sal_packet
control_of(const struct host *host, const struct sal_flow *flow, uint8_t type)
{
    struct sal_packet p = {
        .src = host->locator, .dst = ntohl(flow->peer_locator.w[3]),
        .entropy = ntohs(flow->entropy), .type = type,
        .src_flow = ntohl(flow->id), .dst_flow = ntohl(flow->peer_id),
        .service_id = flow->service_id,
        .endpoint_id = host->tables.settings.endpoint_id};
    memcpy(p.nonce, &flow->nonce, 8);
    return p;
}

static inline struct frame
send_syn(struct host *to)
{
    struct frame f;
    build_inner(&f, &client_syn);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    resolve_to(&f, to->locator);
    return f;
}

static inline const struct segment *
server_syn_ack(uint32_t identity)
{
    static struct segment s;
    s = (struct segment) {.src = identity, .dst = ID_C, .sport = 8080,
                          .dport = 40000, .seq = 5000, .ack = 1001,
                          .flags = SYN | ACK};
    return &s;
}

/* Leaves client and server bound. */
static inline void
connect_hosts(struct sal_flow *ours, struct sal_flow *theirs)
{
    struct frame f = send_syn(&server);
    run_ingress(&server, &f);
    build_inner(&f, server_syn_ack(ID_S));
    run_egress(&server, &f);
    memset(f.data, 0, 12);
    run_ingress(&client, &f);
    CU_ASSERT_TRUE_FATAL(only_flow(FLOWS(&client), ours));

    struct segment ack = client_syn;
    ack.flags = ACK;
    ack.seq = 1001;
    ack.ack = 5001;
    build_inner(&f, &ack);
    CU_ASSERT_EQUAL(run_egress(&client, &f), TC_ACT_REDIRECT);
    memset(f.data, 0, 12);
    CU_ASSERT_EQUAL(run_ingress(&server, &f), TC_ACT_REDIRECT);
    CU_ASSERT_TRUE_FATAL(only_flow(FLOWS(&server), theirs));
    CU_ASSERT_EQUAL(map_count(HALF_FLOWS(&server)), 0);
    CU_ASSERT_EQUAL(map_count(HALF_TUPLES(&server)), 0);
}

static inline struct sal_packet
data_of(const struct host *host, const struct sal_flow *flow)
{
    struct sal_packet p = control_of(host, flow, SAL_TYPE_DATA);
    p.service_id = NULL;
    p.endpoint_id = NULL;
    return p;
}

#endif /* bpf_pair.h */
