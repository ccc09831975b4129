/* SPDX-License-Identifier: Apache-2.0 */
/* Packets that the daemon holds: out of the ring buffer, back to sal0. */
#include "agents/datapath_held.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>
#include "agents/datapath_private.h"
#include "agents/sal.skel.h"
#include "csum.h"
#include "util.h"

int
datapath_held_fd(const struct datapath *dp)
{
    return bpf_map__fd(dp->skeleton->maps.sal_held);
}

/* The sum of the pseudo header, and where the transport header is; 0 if it is
 * not IP without options or extensions. */
static size_t
transport_of(const uint8_t *packet, size_t len, uint32_t *ret_sum,
             uint8_t *ret_proto)
{
    const struct ip *ip4 = (const void *) packet;
    const struct ip6_hdr *ip6 = (const void *) packet;

    if (len >= sizeof *ip4 && ip4->ip_v == 4 && ip4->ip_hl == 5
        && ntohs(ip4->ip_len) == len) {
        *ret_proto = ip4->ip_p;
        *ret_sum = csum_continue(0, &ip4->ip_src, 8);
        return sizeof *ip4;
    }
    if (len >= sizeof *ip6 && packet[0] >> 4 == 6
        && ntohs(ip6->ip6_plen) == len - sizeof *ip6) {
        *ret_proto = ip6->ip6_nxt;
        *ret_sum = csum_continue(0, &ip6->ip6_src, 32);
        return sizeof *ip6;
    }
    return 0;
}

/* The application's packet left its checksum to the device. */
static void
complete_checksum(uint8_t *packet, size_t len)
{
    uint32_t sum;
    uint8_t proto;
    size_t ofs = transport_of(packet, len, &sum, &proto);
    size_t check_ofs = ofs + (proto == IPPROTO_UDP ? 6 : 16);

    if (!ofs || (proto != IPPROTO_UDP && proto != IPPROTO_TCP)
        || len < check_ofs + 2) {
        return;
    }
    memset(packet + check_ofs, 0, 2);
    sum = csum_add16(sum, htons(proto));
    sum = csum_add16(sum, htons(len - ofs));
    sum = csum_continue(sum, packet + ofs, len - ofs);
    ovs_be16 check = csum_finish(sum);
    if (!check && proto == IPPROTO_UDP) {
        check = htons(0xffff);
    }
    memcpy(packet + check_ofs, &check, sizeof check);
}

static int
take_held(void *dp_, void *data, size_t size)
{
    struct datapath *dp = dp_;
    const struct sal_held *held = data;

    if (size >= sizeof *held && held->len <= size - sizeof *held
        && held->len <= SAL_HELD_MAX) {
        uint8_t frame[SAL_HELD_MAX];
        memcpy(frame, held + 1, held->len);
        if (held->len > ETHER_HDR_LEN) {
            complete_checksum(frame + ETHER_HDR_LEN,
                              held->len - ETHER_HDR_LEN);
        }
        dp->held_take(held, frame, dp->held_aux);
    }
    return 0;
}

int
datapath_held_take(struct datapath *dp,
                   void (*take)(const struct sal_held *, void *, void *),
                   void *aux)
{
    if (!dp->held) {
        dp->held = ring_buffer__new(datapath_held_fd(dp), take_held, dp, NULL);
    }
    if (!dp->held) {
        return errno ? -errno : -ENOMEM;
    }
    dp->held_take = take;
    dp->held_aux = aux;
    int n = ring_buffer__consume(dp->held);
    return MIN(n, 0);
}

/* Running a program with a packet is the one way to send it that needs no
 * capability beyond those for eBPF: the program's copy really leaves. */
int
datapath_held_send(struct datapath *dp, const void *frame, size_t len,
                   uint32_t mark)
{
    struct __sk_buff context = {.mark = mark};
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame,
                .data_size_in = len, .ctx_in = &context,
                .ctx_size_in = sizeof context, .repeat = 1);
    int error = bpf_prog_test_run_opts(
        bpf_program__fd(dp->skeleton->progs.sal_inject), &opts);
    return error ? error : (int) opts.retval < 0 ? -EIO : 0;
}
