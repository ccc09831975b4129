/* SPDX-License-Identifier: Apache-2.0 */
/* Frame of the eBPF tests: hosts whose programs run by BPF_PROG_TEST_RUN, and
 * packets put together byte by byte, on purpose without the code under test.
 *
 * A host here is one loaded data plane with nothing attached. */
#ifndef SALIENT_BPF_HOST_H
#define SALIENT_BPF_HOST_H 1

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "agents/datapath_private.h"
#include "agents/sal.skel.h"
#include "tests/unit/unit.h"
#include "util.h"

/* sal0 of every test host.  Programs that only name it need no such device;
 * those that hand it copies of packets need test_device(). */
#define TEST_SAL_IFINDEX 77
static const uint8_t test_sal_mac[6] = {2, 0, 0, 0, 0, 0x77};

struct frame {
    uint8_t data[2048];
    size_t len;
};

struct host {
    struct datapath *dp;
    struct host_tables tables;
    uint32_t locator;
};

/* A TCP segment, or a UDP datagram, in IPv4. */
struct segment {
    uint32_t src, dst; /* Host byte order, as all numbers here. */
    uint16_t sport, dport;
    uint32_t seq, ack;
    uint8_t flags;
    uint8_t tos;
    const char *payload;
    bool udp; /* Then seq, ack, flags mean nothing. */
    const uint32_t *options; /* Of TCP: words. */
    size_t n_options;
};

/* The outer and SAL headers. */
struct sal_packet {
    uint32_t src, dst;
    uint16_t entropy;
    uint8_t tos;
    uint8_t type;
    uint32_t src_flow, dst_flow;
    uint8_t flags_class;
    uint8_t nonce[8];
    const uint8_t *service_id;  /* NULL: header of 32 bytes. */
    const uint8_t *endpoint_id; /* NULL: none. */
    bool udp;
};

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

static inline void
put8(struct frame *f, uint8_t value)
{
    f->data[f->len++] = value;
}

static inline void
put16(struct frame *f, uint16_t value)
{
    put8(f, value >> 8);
    put8(f, value);
}

static inline void
put32(struct frame *f, uint32_t value)
{
    put16(f, value >> 16);
    put16(f, value);
}

static inline void
put_bytes(struct frame *f, const void *p, size_t n)
{
    memcpy(f->data + f->len, p, n);
    f->len += n;
}

static inline uint32_t
get32(const struct frame *f, size_t ofs)
{
    const uint8_t *p = f->data + ofs;
    return (uint32_t) p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static inline uint16_t
get16(const struct frame *f, size_t ofs)
{
    return f->data[ofs] << 8 | f->data[ofs + 1];
}

/* RFC 1071, one 16-bit word after the other. */
static inline uint16_t
test_checksum(const uint8_t *p, size_t n, uint32_t sum)
{
    for (size_t i = 0; i < n; i++) {
        sum += i % 2 ? p[i] : p[i] << 8;
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return ~sum;
}

static inline void
set16(struct frame *f, size_t ofs, uint16_t value)
{
    f->data[ofs] = value >> 8;
    f->data[ofs + 1] = value;
}

static inline void
put_ethernet(struct frame *f, const uint8_t dst[6])
{
    f->len = 0;
    put_bytes(f, dst, 6);
    put_bytes(f, "\0\0\0\0\0\0", 6);
    put16(f, 0x0800);
}

static inline void
put_ipv4(struct frame *f, uint32_t src, uint32_t dst, uint8_t proto,
         uint16_t len, uint8_t tos)
{
    size_t start = f->len;
    put16(f, 0x4500 | tos);
    put16(f, len);
    put32(f, 0x00004000);
    put16(f, 64 << 8 | proto);
    put16(f, 0);
    put32(f, src);
    put32(f, dst);
    set16(f, start + 10, test_checksum(f->data + start, 20, 0));
}

static inline size_t
segment_len(const struct segment *s)
{
    return (s->udp ? 28 : 40) + 4 * s->n_options
           + (s->payload ? strlen(s->payload) : 0);
}

/* The sum of TCP's pseudo header. */
static inline uint32_t
pseudo_sum(uint32_t src, uint32_t dst, uint16_t len, uint8_t proto)
{
    return (src >> 16) + (src & 0xffff) + (dst >> 16) + (dst & 0xffff) + len
           + proto;
}

static inline void
put_datagram(struct frame *f, const struct segment *s)
{
    size_t len = segment_len(s);
    put_ipv4(f, s->src, s->dst, 17, len, s->tos);
    size_t start = f->len;
    put16(f, s->sport);
    put16(f, s->dport);
    put16(f, len - 20);
    put16(f, 0);
    put_bytes(f, s->payload, strlen(s->payload));
    set16(f, start + 6,
          test_checksum(f->data + start, f->len - start,
                        pseudo_sum(s->src, s->dst, len - 20, 17)));
}

static inline void
put_segment(struct frame *f, const struct segment *s)
{
    size_t len = segment_len(s);
    if (s->udp) {
        put_datagram(f, s);
        return;
    }
    put_ipv4(f, s->src, s->dst, 6, len, s->tos);
    size_t start = f->len;
    put16(f, s->sport);
    put16(f, s->dport);
    put32(f, s->seq);
    put32(f, s->ack);
    put16(f, (5 + s->n_options) << 12 | s->flags);
    put16(f, s->flags & RST ? 0 : 64240);
    put32(f, 0);
    for (size_t i = 0; i < s->n_options; i++) {
        put32(f, s->options[i]);
    }
    if (s->payload) {
        put_bytes(f, s->payload, strlen(s->payload));
    }
    set16(f, start + 16,
          test_checksum(f->data + start, f->len - start,
                        pseudo_sum(s->src, s->dst, len - 20, 6)));
}

static inline size_t
sal_header_len(const struct sal_packet *p)
{
    return p->type == SAL_TYPE_DATA ? 16
           : !p->service_id         ? 32
           : p->endpoint_id         ? 84
                                    : 64;
}

/* Outer headers and SAL header; 'inner' bytes are to follow. */
static inline void
put_sal(struct frame *f, const struct sal_packet *p, uint8_t inner_format,
        size_t inner)
{
    size_t header = sal_header_len(p);
    put_ipv4(f, p->src, p->dst, 17, 28 + header + inner, p->tos);
    put16(f, p->entropy);
    put16(f, 6090);
    put16(f, 8 + header + inner);
    put16(f, 0);

    size_t start = f->len;
    put8(f, 0x10);
    put8(f, header / 4);
    put8(f, p->type);
    put8(f, p->udp ? 17 : 6);
    put32(f, p->src_flow);
    put32(f, p->dst_flow);
    put8(f, p->flags_class);
    put8(f, inner_format);
    put16(f, 0);
    if (header > 16) {
        put32(f, 0);
        put32(f, 0);
        put_bytes(f, p->nonce, 8);
        if (header > 32) {
            put_bytes(f, p->service_id, 32);
        }
        if (header > 64) {
            put16(f, 0x0112);
            put_bytes(f, p->endpoint_id, 16);
            put16(f, 0);
        }
        set16(f, start + 14, test_checksum(f->data + start, header, 0));
    }
}

static const uint8_t no_mac[6];

/* An inner packet as the stack sends it to sal0. */
static inline void
build_inner(struct frame *f, const struct segment *s)
{
    put_ethernet(f, test_sal_mac);
    put_segment(f, s);
}

/* A SAL packet with an inner one, as an uplink receives it. */
static inline void
build_sal(struct frame *f, const struct sal_packet *p, const struct segment *s)
{
    put_ethernet(f, no_mac);
    put_sal(f, p, s ? 4 : 59, s ? segment_len(s) : 0);
    if (s) {
        put_segment(f, s);
    }
}

/* Runs a program over 'frame', which becomes what the program left. */
static inline int
run_marked(const struct bpf_program *program, struct frame *frame,
           uint32_t mark)
{
    struct frame in = *frame;
    struct __sk_buff context = {.mark = mark};
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in.data,
                .data_size_in = in.len, .data_out = frame->data,
                .data_size_out = sizeof frame->data, .ctx_in = &context,
                .ctx_size_in = sizeof context, .repeat = 1);
    int error = bpf_prog_test_run_opts(bpf_program__fd(program), &opts);
    if (error) {
        CU_FAIL("BPF_PROG_TEST_RUN failed");
        return -1;
    }
    frame->len = opts.data_size_out;
    return opts.retval;
}

static inline int
run(const struct bpf_program *program, struct frame *frame)
{
    return run_marked(program, frame, 0);
}

static inline int
run_egress_marked(struct host *host, struct frame *frame, uint32_t mark)
{
    return run_marked(host->dp->skeleton->progs.sal_egress, frame, mark);
}

static inline int
run_egress(struct host *host, struct frame *frame)
{
    return run(host->dp->skeleton->progs.sal_egress, frame);
}

static inline int
run_ingress(struct host *host, struct frame *frame)
{
    return run(host->dp->skeleton->progs.sal_ingress, frame);
}

/* True, or the first difference on stderr. */
static inline bool
frame_equal(const struct frame *is, const struct frame *want, size_t from)
{
    if (is->len == want->len
        && !memcmp(is->data + from, want->data + from, is->len - from)) {
        return true;
    }
    size_t i = from;
    while (i < is->len && i < want->len && is->data[i] == want->data[i]) {
        i++;
    }
    fprintf(stderr, "\nframes differ at byte %zu (%zu and %zu bytes):", i,
            is->len, want->len);
    for (size_t j = i & ~15u; j < (i | 15) + 1 && j < is->len; j++) {
        fprintf(stderr, " %02x", is->data[j]);
    }
    fprintf(stderr, " is not");
    for (size_t j = i & ~15u; j < (i | 15) + 1 && j < want->len; j++) {
        fprintf(stderr, " %02x", want->data[j]);
    }
    fputc('\n', stderr);
    return false;
}

static inline uint64_t
counter(const struct host *host, enum sal_counter which)
{
    uint64_t values[256] = {0}, sum = 0;
    uint32_t key = which;
    bpf_map_lookup_elem(bpf_map__fd(host->dp->skeleton->maps.sal_counters),
                        &key, values);
    for (int i = 0; i < libbpf_num_possible_cpus() && i < 256; i++) {
        sum += values[i];
    }
    return sum;
}

/* Makes installed what host->tables says. */
static inline void
host_apply(struct host *host)
{
    struct host_tables installed;
    struct host_tables_diff diff;
    char *error = NULL;
    datapath_installed(host->dp, &installed);
    host_tables_diff(&installed, &host->tables, &diff);
    CU_ASSERT_EQUAL(datapath_apply(host->dp, &diff, &error), 0);
    host_tables_destroy(&installed);
    datapath_installed(host->dp, &installed);
    CU_ASSERT_TRUE(host_tables_equal(&installed, &host->tables));
    host_tables_destroy(&installed);
    host_tables_diff_destroy(&diff);
    free(error);
}

static inline void
host_init(struct host *host, uint32_t locator, uint32_t identity,
          uint32_t max_flows)
{
    char *error = NULL;
    memset(host, 0, sizeof *host);
    if (datapath_load(NULL, max_flows, &host->dp, &error)) {
        fprintf(stderr, "%s\n", error);
        exit(EXIT_FAILURE);
    }
    struct sal_settings settings;
    datapath_get_settings(host->dp, &settings);
    settings.sal_ifindex = TEST_SAL_IFINDEX;
    memcpy(settings.sal_mac, test_sal_mac, 6);
    settings.uplink_ifindex = 1;
    settings.uplink_mtu = 1500;
    settings.flags = SAL_SETTINGS_SOCKOPS;
    addr_from_host_v4(&settings.locator_v4, locator);
    datapath_put_settings(host->dp, &settings);

    struct sal_addr key;
    uint32_t ifindex = 1;
    addr_from_host_v4(&key, locator);
    bpf_map_update_elem(bpf_map__fd(host->dp->skeleton->maps.sal_locators),
                        &key, &ifindex, BPF_ANY);
    host->locator = locator;
    host_tables_init(&host->tables);
    host->tables.settings.identity_v4 = identity;
    host->tables.settings.sal_port = SAL_UDP_PORT;
    for (int i = 0; i < SAL_ENDPOINT_ID_LEN; i++) {
        host->tables.settings.endpoint_id[i] = locator + i;
    }
}

static inline void
host_destroy(struct host *host)
{
    datapath_close(host->dp);
    host_tables_destroy(&host->tables);
}

/* Makes the device that TEST_SAL_IFINDEX names, in a network namespace of this
 * process's own; returns a socket that reads what it is handed. */
static inline int
test_device(void)
{
    static int fd = -1;
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETH_P_ALL),
                             .sll_ifindex = TEST_SAL_IFINDEX};
    if (fd >= 0) {
        return fd;
    }
    if (unshare(CLONE_NEWNET)
        || system("ip link add tsal0 index 77 address 02:00:00:00:00:77 "
                  "type ifb && sysctl -qw net.ipv6.conf.tsal0.disable_ipv6=1 "
                  "&& ip link set tsal0 up")
        || (fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL))) < 0
        || bind(fd, (struct sockaddr *) &at, sizeof at)) {
        fprintf(stderr, "cannot make the test's device\n");
        exit(EXIT_FAILURE);
    }
    return fd;
}

/* The next packet that went through the test's device, the one way or the
 * other; false if none did within 'timeout' ms. */
static inline bool
test_device_read(struct frame *frame, bool outgoing, int timeout)
{
    struct pollfd poll_fd = {.fd = test_device(), .events = POLLIN};
    while (poll(&poll_fd, 1, timeout) == 1) {
        struct sockaddr_ll from;
        socklen_t len = sizeof from;
        frame->len = recvfrom(poll_fd.fd, frame->data, sizeof frame->data, 0,
                              (struct sockaddr *) &from, &len);
        if ((from.sll_pkttype == PACKET_OUTGOING) == outgoing
            && frame->len > 14) {
            return true;
        }
    }
    return false;
}

/* The next packet that the test's device was handed. */
static inline bool
test_delivered(struct frame *frame, int timeout)
{
    return test_device_read(frame, false, timeout);
}

static inline size_t
map_count(const struct bpf_map *map)
{
    uint8_t key[256], next[256];
    void *prev = NULL;
    size_t n = 0;
    while (n < 100000
           && !bpf_map_get_next_key(bpf_map__fd(map), prev, next)) {
        memcpy(key, next, sizeof key);
        prev = key;
        n++;
    }
    return n;
}

/* The only flow of a map; false if there is not exactly one. */
static inline bool
only_flow(const struct bpf_map *map, struct sal_flow *flow)
{
    uint32_t key;
    return map_count(map) == 1
           && !bpf_map_get_next_key(bpf_map__fd(map), NULL, &key)
           && !bpf_map_lookup_elem(bpf_map__fd(map), &key, flow)
           && flow->id == key;
}

#define HALF_FLOWS(HOST) ((HOST)->dp->skeleton->maps.sal_half_flows)
#define HALF_TUPLES(HOST) ((HOST)->dp->skeleton->maps.sal_half_tuples)
#define FLOWS(HOST) ((HOST)->dp->skeleton->maps.sal_flows)
#define TUPLES(HOST) ((HOST)->dp->skeleton->maps.sal_tuples)

#endif /* bpf_host.h */
