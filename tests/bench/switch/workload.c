/* SPDX-License-Identifier: Apache-2.0 */
/* Writes what a switch is measured with: flow tables for ovs-ofctl and packets
 * as pcap files.
 *
 *     workload DIR N PACKETS
 *
 * makes, for N services and as many destinations of plain IPv4,
 *
 *     tiles.flows        the controller's pipeline, an instance a tile
 *     tiles_only.flows   the same, but a packet is only seen at the
 *                        granularity of its tile
 *     hash.flows         the same, an instance a group, selection_method=hash
 *     dp_hash.flows      the same, selection_method=dp_hash
 *     *.groups           their groups (not for more than 10,000 services)
 *     plain.flows        the forwarding part alone, without SAL fields
 *     syn.pcap           PACKETS SYNs
 *     syn-fresh.pcap     others of the same kind
 *     syn-one.pcap       SYNs of one service from everywhere
 *     syn-each.pcap      one SYN of each service (of PACKETS, if there are
 *                        more), in random order
 *     syn-unknown.pcap   SYNs of services that do not exist
 *     data.pcap          DATA packets of bound flows, to random destinations
 *     data-each.pcap     the same, one to each destination
 *     ip.pcap, ip-fresh.pcap, ip-each.pcap: plain UDP as long as a SYN
 *     routed.pcap        the same to destinations that are routed
 *     udp.pcap, tcp.pcap           small packets, every one a new flow
 *     udp-few.pcap, tcp-few.pcap   small packets of 256 flows
 *
 * Popularity of services and destinations is Zipf's (s = 1) with ranks dealt
 * out at random.  Everything follows from fixed seeds, so all switches and all
 * ways of picking an instance get the same. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include "ofp-ext/sal.h"
#include "ofp-ext/sal_pipeline.h"

#define RESOLVER 0x0afffffeu /* 10.255.255.254 */
#define GATEWAY_MAC "\x02\x53\x41\x4c\x00\x01"
#define N_OUT 4              /* Ports that instances are behind: 3..6. */
#define FEW_FLOWS 256
#define GROUP_BITS 4         /* Bits of udp_src that hash.flows looks at. */
#define MAX_GROUPS 10000

struct service {
    uint8_t id[SAL_SERVICE_ID_LEN];
    int len;
};

static const char *dir;
static struct service *services;
static uint32_t *by_rank;     /* Index of the service of a rank. */
static double *cumulative;    /* Of the popularity, by rank. */
static uint32_t n_services, n_packets;

/* Random numbers: splitmix64. */

static uint64_t seed;

static uint64_t
random64(void)
{
    uint64_t z = seed += 0x9e3779b97f4a7c15ULL;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}

static uint32_t
random_below(uint32_t n)
{
    return (random64() >> 32) * n >> 32;
}

static void
random_bytes(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = random64();
    }
}

/* Services: one in sixteen an organisation (/64), then names below those
 * (/128), below these (/192), whole names (/256) and shards (/200).  A prefix
 * is as the name's hash makes it, see ofp-ext/service_id.h. */

static void
extend(struct service *service, uint32_t i, int from_len)
{
    /* Any earlier one of that length will do; the first two are roots. */
    for (int tries = 0; tries < 64; tries++) {
        const struct service *parent = &services[random_below(i)];
        if (parent->len == from_len) {
            memcpy(service->id, parent->id, from_len / 8);
            return;
        }
    }
    random_bytes(service->id, from_len / 8);
}

static void
make_services(void)
{
    static const int lengths[] = {192, 64, 128, 192, 128, 192, 192, 256,
                                  192, 128, 192, 192, 200, 192, 192, 256};
    services = calloc(n_services, sizeof *services);
    for (uint32_t i = 0; i < n_services; i++) {
        struct service *service = &services[i];
        service->len = lengths[i % 16];
        if (i < 2 || service->len == 64) {
            random_bytes(service->id, service->len / 8);
            continue;
        }
        int parent_len = service->len > 192 ? 192 : service->len - 64;
        extend(service, i, parent_len);
        random_bytes(service->id + parent_len / 8,
                     (service->len - parent_len) / 8);
    }
}

static void
make_popularity(void)
{
    double sum = 0;

    by_rank = malloc(n_services * sizeof *by_rank);
    cumulative = malloc(n_services * sizeof *cumulative);
    for (uint32_t i = 0; i < n_services; i++) {
        by_rank[i] = i;
        cumulative[i] = sum += 1.0 / (i + 1);
    }
    for (uint32_t i = n_services - 1; i > 0; i--) {
        uint32_t j = random_below(i + 1);
        uint32_t tmp = by_rank[i];
        by_rank[i] = by_rank[j];
        by_rank[j] = tmp;
    }
}

static uint32_t
random_by_popularity(void)
{
    double x = (random64() >> 11) * 0x1p-53 * cumulative[n_services - 1];
    uint32_t low = 0, high = n_services - 1;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (cumulative[middle] < x) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return by_rank[low];
}

/* Flow tables. */

static FILE *
create(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    return file;
}

/* The weights of a service's instances and the tiles they become.  A single
 * service is of the third kind. */
struct split {
    uint8_t n_weights, weights[3];
    uint8_t n_tiles;
    struct { uint8_t value, bits, instance; } tiles[4];
};

static const struct split splits[] = {
    {1, {1}, 1, {{0, 0, 0}}},
    {2, {1, 1}, 2, {{0, 1, 0}, {1, 1, 1}}},
    {3, {1, 1, 2}, 3, {{0, 1, 2}, {1, 2, 0}, {3, 2, 1}}},
    {2, {3, 5}, 4, {{0, 1, 1}, {1, 2, 0}, {3, 3, 0}, {7, 3, 1}}},
};

static const struct split *
split_of(uint32_t i)
{
    return &splits[(i + 2) % 4];
}

static void
put_instance(FILE *file, uint32_t service, int instance)
{
    uint32_t n = service * 4 + instance;
    fprintf(file, "set_field:02:00:%02x:%02x:%02x:%02x->eth_dst,"
            "set_field:10.%u.%u.%u->ip_dst,set_field:65535->in_port,"
            "output:%u", n >> 24, n >> 16 & 0xff, n >> 8 & 0xff, n & 0xff,
            32 + (n >> 16), n >> 8 & 0xff, n & 0xff, 3 + n % N_OUT);
}

static void
put_service_match(FILE *file, uint32_t i)
{
    const struct service *service = &services[i];

    fprintf(file, "table=%d,priority=%d,udp,udp_dst=%d,sal_type=0x10/0x10,"
            "sal_service=0x", SAL_TABLE_SERVICE,
            SAL_PRIORITY_SERVICE(service->len), SAL_UDP_PORT);
    for (int j = 0; j < SAL_SERVICE_ID_LEN; j++) {
        fprintf(file, "%02x", service->id[j]);
    }
    if (service->len < SAL_SERVICE_ID_BITS) {
        fprintf(file, "/%d", service->len);
    }
}

static void
put_tiles(FILE *file, uint32_t i)
{
    const struct split *split = split_of(i);

    for (int j = 0; j < split->n_tiles; j++) {
        put_service_match(file, i);
        if (split->tiles[j].bits) {
            fprintf(file, ",udp_src=%#x/%#x", split->tiles[j].value,
                    (1 << split->tiles[j].bits) - 1);
        }
        fputs(",actions=", file);
        put_instance(file, i, split->tiles[j].instance);
        putc('\n', file);
    }
}

static void
put_group(FILE *flows, FILE *groups, uint32_t i, const char *method)
{
    const struct split *split = split_of(i);

    put_service_match(flows, i);
    fprintf(flows, ",actions=group:%u\n", i + 1);
    fprintf(groups, "group_id=%u,type=select,selection_method=%s", i + 1,
            method);
    for (int j = 0; j < split->n_weights; j++) {
        fprintf(groups, ",bucket=bucket_id:%d,weight:%u,actions=", j,
                split->weights[j]);
        put_instance(groups, i, j);
    }
    putc('\n', groups);
}

/* The rules that do not depend on services, but for meters and ND.  'action'
 * is done before a service is looked for. */
static void
put_base(FILE *file, const char *action)
{
    fprintf(file, "priority=%d,dl_type=0x88cc,actions=controller\n"
            "priority=%d,arp,arp_spa=0.0.0.0,arp_op=1,actions=drop\n"
            "priority=%d,arp,arp_tpa=10.255.255.254,arp_op=1,"
            "actions=in_port\n",
            SAL_PRIORITY_LINK_PROBE, SAL_PRIORITY_ARP_PROBE,
            SAL_PRIORITY_ARP);
    fprintf(file, "priority=%d,udp,ip_dst=10.255.255.254,udp_dst=%d,"
            "sal_type=%#x,actions=controller\n",
            SAL_PRIORITY_HOST_PROBE, SAL_UDP_PORT, SAL_TYPE_PROBE);
    fprintf(file, "priority=%d,udp,ip_dst=10.255.255.254,udp_dst=%d,"
            "sal_type=0x10/0x10,actions=%sgoto_table:%d\n",
            SAL_PRIORITY_RESOLVE, SAL_UDP_PORT, action, SAL_TABLE_SERVICE);
    fprintf(file, "priority=%d,ip,ip_dst=10.255.255.254,actions=drop\n",
            SAL_PRIORITY_GUARD);
    /* The product lets a meter drop most of these. */
    fprintf(file, "table=%d,priority=%d,actions=drop\n", SAL_TABLE_SERVICE,
            SAL_PRIORITY_SERVICE_MISS);
}

/* Destinations of plain traffic: 10.96.0.0 on, far from the instances. */
static uint32_t
destination(uint32_t i)
{
    return 0x0a600000 + i * 3;
}

#define ROUTED 0x04000000 /* 10.96.0.0 -> 14.96.0.0 */

static void
put_routes(FILE *file)
{
    fprintf(file, "priority=%d,actions=goto_table:%d\n", SAL_PRIORITY_DEFAULT,
            SAL_TABLE_FORWARD);
    for (uint32_t i = 0; i < n_services; i++) {
        uint32_t a = destination(i);
        fprintf(file, "table=%d,priority=%d,ip,ip_dst=%u.%u.%u.%u,"
                "actions=output:%u\n", SAL_TABLE_FORWARD, SAL_PRIORITY_HOST,
                a >> 24, a >> 16 & 0xff, a >> 8 & 0xff, a & 0xff,
                3 + i % N_OUT);
        /* What a router does, but for its own MAC: setting the source would
         * make a megaflow for each sender.  Resolution does as much. */
        a += ROUTED;
        fprintf(file, "table=%d,priority=%d,ip,ip_dst=%u.%u.%u.%u,"
                "actions=set_field:02:00:%02x:%02x:%02x:%02x->eth_dst,dec_ttl,"
                "output:%u\n", SAL_TABLE_FORWARD, SAL_PRIORITY_HOST,
                a >> 24, a >> 16 & 0xff, a >> 8 & 0xff, a & 0xff, a >> 24,
                a >> 16 & 0xff, a >> 8 & 0xff, a & 0xff, 3 + i % N_OUT);
    }
}

static void
write_flows(void)
{
    FILE *plain = create("plain.flows");
    FILE *tiles = create("tiles.flows");
    FILE *tiles_only = create("tiles_only.flows");
    char copy[64];

    put_routes(plain);
    put_base(tiles_only, "");
    snprintf(copy, sizeof copy, "move:NXM_OF_UDP_SRC[0..%d]->"
             "NXM_NX_REG0[0..%d],", SAL_RESOLVE_PORT_BITS - 1,
             SAL_RESOLVE_PORT_BITS - 1);
    put_base(tiles, copy);
    for (uint32_t i = 0; i < n_services; i++) {
        put_tiles(tiles, i);
        put_tiles(tiles_only, i);
    }
    fclose(plain);
    fclose(tiles);
    fclose(tiles_only);
}

static void
write_groups(const char *flows_name, const char *groups_name,
             const char *method)
{
    FILE *flows = create(flows_name);
    FILE *groups = create(groups_name);

    put_base(flows, "");
    for (uint32_t i = 0; i < n_services; i++) {
        put_group(flows, groups, i, method);
    }
    fclose(flows);
    fclose(groups);
}

/* Packets. */

struct packet {
    uint8_t data[256];
    size_t n;
};

static void
put_be16(uint8_t *p, uint16_t x)
{
    p[0] = x >> 8;
    p[1] = x;
}

static void
put_be32(uint8_t *p, uint32_t x)
{
    put_be16(p, x >> 16);
    put_be16(p + 2, x);
}

/* RFC 1071; 'n' is even. */
static uint32_t
add_words(const uint8_t *p, size_t n, uint32_t sum)
{
    for (size_t i = 0; i < n; i += 2) {
        sum += p[i] << 8 | p[i + 1];
    }
    return sum;
}

static uint16_t
finish_checksum(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

/* IPv4 header of a packet with 'payload' bytes behind it. */
static void
put_ipv4(uint8_t *p, uint32_t src, uint32_t dst, uint8_t protocol,
         size_t payload)
{
    memset(p, 0, 20);
    p[0] = 0x45;
    put_be16(p + 2, 20 + payload);
    p[8] = 64;
    p[9] = protocol;
    put_be32(p + 12, src);
    put_be32(p + 16, dst);
    put_be16(p + 10, finish_checksum(add_words(p, 20, 0)));
}

/* Source and destination address, protocol and length count too. */
static uint16_t
transport_checksum(const uint8_t *ip, size_t payload)
{
    uint32_t sum = add_words(ip + 12, 8, ip[9] + payload);
    uint16_t checksum = finish_checksum(add_words(ip + 20, payload, sum));
    return checksum ? checksum : 0xffff;
}

/* Ethernet, IPv4 and UDP around the 'payload' bytes at data[42]. */
static void
wrap_udp(struct packet *packet, uint32_t dst, uint16_t src_port,
         uint16_t dst_port, size_t payload)
{
    uint8_t *ip = packet->data + 14, *udp = ip + 20;
    uint32_t client = random_below(1024);

    memcpy(packet->data, GATEWAY_MAC, 6);
    put_be16(packet->data + 6, 0x0201);
    put_be32(packet->data + 8, client);
    put_be16(packet->data + 12, 0x0800);
    put_ipv4(ip, 0x0a010000 + client, dst, IPPROTO_UDP, payload + 8);
    put_be16(udp, src_port);
    put_be16(udp + 2, dst_port);
    put_be16(udp + 4, payload + 8);
    put_be16(udp + 6, 0);
    put_be16(udp + 6, transport_checksum(ip, payload + 8));
    packet->n = 42 + payload;
}

/* A SAL packet without service ID at data[42]. */
static void
put_sal(uint8_t *sal, uint8_t type, size_t length)
{
    memset(sal, 0, length);
    sal[SAL_OFS_VERSION] = SAL_VERSION << 4;
    sal[SAL_OFS_HEADER_LEN] = length / 4;
    sal[SAL_OFS_TYPE] = type;
    sal[SAL_OFS_PROTO] = IPPROTO_TCP;
    put_be32(sal + SAL_OFS_SRC_FLOW, random64() | 1);
    sal[SAL_OFS_INNER] = SAL_INNER_IPV4;
}

/* A SYN carries a TCP segment without data.  DATA packets are made as long, so
 * that only the headers differ. */
#define INNER_LEN 40
#define SYN_LEN (SAL_SERVICE_HEADER_LEN + INNER_LEN)

static void
make_syn(struct packet *packet, const uint8_t id[SAL_SERVICE_ID_LEN])
{
    uint8_t *sal = packet->data + 42;

    put_sal(sal, SAL_TYPE_SYN, SAL_SERVICE_HEADER_LEN);
    put_be32(sal + SAL_OFS_SEQ, random64());
    put_be32(sal + SAL_OFS_NONCE, random64());
    memcpy(sal + SAL_OFS_SERVICE, id, SAL_SERVICE_ID_LEN);
    put_be16(sal + SAL_OFS_CHECKSUM,
             finish_checksum(add_words(sal, SAL_SERVICE_HEADER_LEN, 0)));
    put_ipv4(sal + SAL_SERVICE_HEADER_LEN, 0x0a000001, 0x0a000002,
             IPPROTO_TCP, INNER_LEN - 20);
    memset(sal + SAL_SERVICE_HEADER_LEN + 20, 0, INNER_LEN - 20);
    wrap_udp(packet, RESOLVER,
             SAL_ENTROPY_BASE | (random64() & SAL_ENTROPY_MASK),
             SAL_UDP_PORT, SYN_LEN);
}

static void
make_data(struct packet *packet, uint32_t dst)
{
    uint8_t *sal = packet->data + 42;

    put_sal(sal, SAL_TYPE_DATA, SAL_DATA_HEADER_LEN);
    put_be32(sal + SAL_OFS_DST_FLOW, random64() | 1);
    memset(sal + SAL_DATA_HEADER_LEN, 0, SYN_LEN - SAL_DATA_HEADER_LEN);
    wrap_udp(packet, dst,
             SAL_ENTROPY_BASE | (random64() & SAL_ENTROPY_MASK),
             SAL_UDP_PORT, SYN_LEN);
}

static uint16_t
random_port(void)
{
    return 1024 + random_below(4096);
}

static void
make_udp(struct packet *packet, uint32_t dst, size_t payload)
{
    memset(packet->data + 42, 0, payload);
    wrap_udp(packet, dst, random_port(), random_port(), payload);
}

static void
make_tcp(struct packet *packet, uint32_t dst)
{
    uint8_t *ip = packet->data + 14, *tcp = ip + 20;

    make_udp(packet, dst, 12);
    put_ipv4(ip, ntohl(*(uint32_t *) (ip + 12)), dst, IPPROTO_TCP, 20);
    memset(tcp + 4, 0, 16);
    tcp[12] = 0x50;
    tcp[13] = 0x10; /* ACK. */
    put_be16(tcp + 16, transport_checksum(ip, 20));
}

/* Packet files. */

enum kind {
    SYN, SYN_ONE, SYN_EACH, SYN_UNKNOWN, DATA, DATA_EACH, IP, IP_EACH,
    IP_ROUTED, UDP, TCP
};

static void
make_packet(enum kind kind, uint32_t i, struct packet *packet)
{
    uint8_t id[SAL_SERVICE_ID_LEN];

    switch (kind) {
    case SYN:
        make_syn(packet, services[random_by_popularity()].id);
        break;
    case SYN_ONE:
        make_syn(packet, services[0].id);
        break;
    case SYN_EACH:
        make_syn(packet, services[by_rank[i]].id);
        break;
    case SYN_UNKNOWN:
        random_bytes(id, sizeof id);
        make_syn(packet, id);
        break;
    case DATA:
        make_data(packet, destination(random_by_popularity()));
        break;
    case DATA_EACH:
        make_data(packet, destination(by_rank[i]));
        break;
    case IP_ROUTED:
        make_udp(packet, ROUTED + destination(random_by_popularity()),
                 SYN_LEN);
        break;
    case IP:
        make_udp(packet, destination(random_by_popularity()), SYN_LEN);
        break;
    case IP_EACH:
        make_udp(packet, destination(by_rank[i]), SYN_LEN);
        break;
    case UDP:
        make_udp(packet, destination(random_by_popularity()), 18);
        break;
    case TCP:
        make_tcp(packet, destination(random_by_popularity()));
        break;
    }
}

static void
write_packets(const char *name, enum kind kind, uint32_t n, uint64_t seed_)
{
    const uint32_t header[] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 65535, 1};
    FILE *file = create(name);
    struct packet packet;

    seed = seed_;
    fwrite(header, sizeof header, 1, file);
    for (uint32_t i = 0; i < n; i++) {
        make_packet(kind, i, &packet);
        uint32_t record[] = {0, i, packet.n, packet.n};
        fwrite(record, sizeof record, 1, file);
        fwrite(packet.data, packet.n, 1, file);
    }
    if (fclose(file)) {
        perror(name);
        exit(1);
    }
}

int
main(int argc, char *argv[])
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s DIR N PACKETS\n", argv[0]);
        return 2;
    }
    dir = argv[1];
    n_services = strtoul(argv[2], NULL, 10);
    n_packets = strtoul(argv[3], NULL, 10);
    if (!n_services || !n_packets) {
        return 2;
    }
    uint32_t each = n_services < n_packets ? n_services : n_packets;

    seed = 1;
    make_services();
    make_popularity();
    write_flows();
    if (n_services <= MAX_GROUPS) {
        char method[64];
        snprintf(method, sizeof method, "hash,fields(udp_src=%#x)",
                 (1 << GROUP_BITS) - 1);
        write_groups("hash.flows", "hash.groups", method);
        write_groups("dp_hash.flows", "dp_hash.groups", "dp_hash");
    }
    write_packets("syn.pcap", SYN, n_packets, 2);
    write_packets("syn-fresh.pcap", SYN, n_packets, 3);
    write_packets("syn-one.pcap", SYN_ONE, n_packets, 4);
    write_packets("syn-each.pcap", SYN_EACH, each, 5);
    write_packets("syn-unknown.pcap", SYN_UNKNOWN, n_packets, 6);
    write_packets("data.pcap", DATA, n_packets, 7);
    write_packets("data-each.pcap", DATA_EACH, each, 5);
    write_packets("routed.pcap", IP_ROUTED, n_packets, 2);
    write_packets("ip.pcap", IP, n_packets, 2);
    write_packets("ip-fresh.pcap", IP, n_packets, 3);
    write_packets("ip-each.pcap", IP_EACH, each, 5);
    write_packets("udp.pcap", UDP, n_packets, 8);
    write_packets("tcp.pcap", TCP, n_packets, 8);
    write_packets("udp-few.pcap", UDP, FEW_FLOWS, 9);
    write_packets("tcp-few.pcap", TCP, FEW_FLOWS, 9);
    return 0;
}
