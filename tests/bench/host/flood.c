/* SPDX-License-Identifier: Apache-2.0 */
/* Sends packets as an attacker would, at a steady rate:
 *
 *     flood KIND INTERFACE MAC ADDRESS RATE SECONDS [SERVICE [HEX]]
 *
 * KIND is
 *     udp      ordinary UDP to another port, as long as the SYNs
 *     syn      SYNs for SERVICE from sources that do not exist
 *     udp-syn  the same of UDP flows
 *     data     DATA for guessed flow IDs
 *     reset    RESETs for guessed flow IDs, with guessed nonces
 *     syn-ack  SYN-ACKs for guessed flow IDs, with guessed nonces
 *     probe    PROBEs, which are the daemon's
 *     replay   the frame HEX, from other sources than its own
 *
 * Prints how many were sent. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "ofp-ext/sal.h"
#include "ofp-ext/service_id.h"

enum { BATCH = 32, FRAME_MAX = 1024, IP = 14, UDP = 34, SAL = 42 };

static uint64_t state; /* Never the same: floods are not to repeat. */

static uint64_t
random_u64(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static uint64_t
now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void
fail(const char *what)
{
    fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static void
put16(uint8_t *p, uint32_t value)
{
    p[0] = value >> 8;
    p[1] = value;
}

static void
put32(uint8_t *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value);
}

static uint16_t
checksum(const uint8_t *p, size_t n, uint32_t sum)
{
    for (size_t i = 0; i < n; i++) {
        sum += i & 1 ? p[i] : p[i] << 8;
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return ~sum;
}

struct flood {
    const char *kind;
    uint8_t mac[6];
    uint32_t address;
    struct service_prefix service;
    uint8_t replay[FRAME_MAX];
    size_t replay_len;
};

static void
put_ipv4(uint8_t *ip, uint8_t proto, uint16_t len, uint32_t src, uint32_t dst)
{
    memset(ip, 0, 20);
    ip[0] = 0x45;
    put16(ip + 2, len);
    ip[6] = 0x40;
    ip[8] = 64;
    ip[9] = proto;
    put32(ip + 12, src);
    put32(ip + 16, dst);
    put16(ip + 10, checksum(ip, 20, 0));
}

/* Of the pool of identities, and never the same client's twice in a while. */
static size_t
put_inner(uint8_t *ip, bool udp)
{
    uint64_t r = random_u64();
    uint32_t src = 0x64410000 + (r & 0x3fffff) % 0x3e0000, dst = 0xc6120001;
    uint8_t *l4 = ip + 20;
    size_t len = udp ? 36 : 40;

    put_ipv4(ip, udp ? 17 : 6, len, src, dst);
    memset(l4, 0, len - 20);
    put16(l4, 1024 + (r >> 32) % 60000);
    put16(l4 + 2, udp ? 53 : 80);
    if (udp) {
        put16(l4 + 4, len - 20);
        memcpy(l4 + 8, "flooding", 8);
    } else {
        put32(l4 + 4, r >> 16);
        l4[12] = 0x50;
        l4[13] = 2;
        put16(l4 + 14, 64240);
    }
    uint32_t pseudo = (src >> 16) + (src & 0xffff) + (dst >> 16)
                      + (dst & 0xffff) + ip[9] + len - 20;
    put16(l4 + (udp ? 6 : 16), checksum(l4, len - 20, pseudo));
    return len;
}

/* The SAL header and what follows; its length. */
static size_t
put_sal(uint8_t *sal, const struct flood *flood)
{
    const char *kind = flood->kind;
    bool udp = !strcmp(kind, "udp-syn");
    bool syn = udp || !strcmp(kind, "syn");
    uint8_t type = syn                         ? SAL_TYPE_SYN
                   : !strcmp(kind, "data")     ? SAL_TYPE_DATA
                   : !strcmp(kind, "reset")    ? SAL_TYPE_RESET
                   : !strcmp(kind, "syn-ack")  ? SAL_TYPE_SYN_ACK
                                               : SAL_TYPE_PROBE;
    size_t header = type == SAL_TYPE_DATA    ? SAL_DATA_HEADER_LEN
                    : type == SAL_TYPE_RESET ? SAL_CONTROL_HEADER_LEN
                                             : 84;
    memset(sal, 0, header);
    sal[0] = SAL_VERSION << 4;
    sal[1] = header / 4;
    sal[2] = type;
    sal[3] = udp ? 17 : 6;
    put32(sal + 4, random_u64() | 1);
    put32(sal + 8, syn || type == SAL_TYPE_PROBE ? 0 : random_u64() | 1);
    sal[13] = type == SAL_TYPE_RESET || type == SAL_TYPE_PROBE
              ? SAL_INNER_NONE : SAL_INNER_IPV4;
    if (header > SAL_DATA_HEADER_LEN) {
        put32(sal + 24, random_u64());
        put32(sal + 28, random_u64());
    }
    if (header > SAL_CONTROL_HEADER_LEN) {
        memcpy(sal + 32, flood->service.id.bytes, 32);
        sal[64] = SAL_OPTION_ENDPOINT_ID;
        sal[65] = 18;
        put32(sal + 66, random_u64());
    }
    if (type != SAL_TYPE_DATA) {
        put16(sal + 14, checksum(sal, header, 0));
    }
    size_t inner = sal[13] == SAL_INNER_IPV4 ? put_inner(sal + header, udp)
                                             : 0;
    if (type == SAL_TYPE_SYN_ACK) {
        uint8_t *tcp = sal + header + 20;
        tcp[13] = 0x12;
    } else if (type == SAL_TYPE_DATA) {
        sal[header + 20 + 13] = 0x10;
    }
    return header + inner;
}

static size_t
put_frame(uint8_t *f, const struct flood *flood)
{
    uint32_t src = 0x0a010000 + random_u64() % 0xfe0000;
    size_t len;

    if (!strcmp(flood->kind, "replay")) {
        memcpy(f, flood->replay, flood->replay_len);
        len = flood->replay_len - SAL;
    } else if (!strcmp(flood->kind, "udp")) {
        len = 124;
        memset(f + SAL, 0x55, len);
    } else {
        len = put_sal(f + SAL, flood);
    }
    memcpy(f, flood->mac, 6);
    memcpy(f + 6, "\2\0\0\0\6\6", 6);
    put16(f + 12, ETHERTYPE_IP);
    put_ipv4(f + IP, 17, 28 + len, src, flood->address);
    put16(f + UDP, 49152 + random_u64() % 16384);
    put16(f + UDP + 2, strcmp(flood->kind, "udp") ? SAL_UDP_PORT : 9);
    put16(f + UDP + 4, 8 + len);
    put16(f + UDP + 6, 0);
    return SAL + len;
}

static int
open_socket(const char *interface)
{
    struct sockaddr_ll ll = {.sll_family = AF_PACKET,
                             .sll_ifindex = if_nametoindex(interface)};
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *) &ll, sizeof ll)) {
        fail(interface);
    }
    return fd;
}

static uint64_t
run(int fd, const struct flood *flood, uint64_t rate, uint64_t seconds)
{
    static uint8_t frames[BATCH][FRAME_MAX];
    struct mmsghdr msgs[BATCH];
    struct iovec iov[BATCH];
    uint64_t start = now_ns(), end = start + seconds * 1000000000ULL;
    uint64_t sent = 0, now;

    memset(msgs, 0, sizeof msgs);
    while ((now = now_ns()) < end) {
        if (sent * 1000000000ULL > (now - start) * rate) {
            usleep(200);
            continue;
        }
        for (int i = 0; i < BATCH; i++) {
            iov[i] = (struct iovec) {frames[i], put_frame(frames[i], flood)};
            msgs[i].msg_hdr.msg_iov = &iov[i];
            msgs[i].msg_hdr.msg_iovlen = 1;
        }
        int n = sendmmsg(fd, msgs, BATCH, 0);
        if (n < 0 && errno != ENOBUFS && errno != EAGAIN) {
            fail("sendmmsg");
        }
        sent += n > 0 ? n : 0;
    }
    return sent;
}

int
main(int argc, char *argv[])
{
    struct flood flood = {.kind = argc > 1 ? argv[1] : ""};
    unsigned int m[6];
    struct in_addr in;

    if (argc < 7 || inet_pton(AF_INET, argv[4], &in) != 1
        || sscanf(argv[3], "%x:%x:%x:%x:%x:%x", &m[0], &m[1], &m[2], &m[3],
                  &m[4], &m[5]) != 6
        || (argc > 7
            && service_prefix_from_name(argv[7], &flood.service))) {
        fprintf(stderr, "usage: flood KIND INTERFACE MAC ADDRESS RATE SECONDS "
                "[SERVICE [HEX]]\n");
        return EXIT_FAILURE;
    }
    for (int i = 0; i < 6; i++) {
        flood.mac[i] = m[i];
    }
    flood.address = ntohl(in.s_addr);
    for (const char *hex = argc > 8 ? argv[8] : "";
         hex[0] && hex[1] && flood.replay_len < FRAME_MAX; hex += 2) {
        unsigned int octet;
        sscanf(hex, "%2x", &octet);
        flood.replay[flood.replay_len++] = octet;
    }
    state = now_ns() | 1;
    printf("%llu\n", (unsigned long long) run(
               open_socket(argv[2]), &flood, strtoull(argv[5], NULL, 10),
               strtoull(argv[6], NULL, 10)));
    return EXIT_SUCCESS;
}
