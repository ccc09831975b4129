/* SPDX-License-Identifier: Apache-2.0 */
/* Packets that the daemon holds: out of the ring buffer, back to sal0, or to
 * where they came from. */
#include "agents/datapath_held.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>
#include <time.h>
#include "agents/datapath_private.h"
#include "agents/packet_split.h"
#include "agents/sal.skel.h"
#include "csum.h"
#include "random.h"
#include "util.h"

static uint64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
}

int
datapath_held_fd(const struct datapath *dp)
{
    return bpf_map__fd(dp->skeleton->maps.sal_held);
}

/* The sum of the pseudo header, and where the transport header is; 0 if it is
 * not IP without options or extensions, or a fragment, whose sum the stack has
 * completed. */
static size_t
transport_of(const uint8_t *packet, size_t len, uint32_t *ret_sum,
             uint8_t *ret_proto)
{
    const struct ip *ip4 = (const void *) packet;
    const struct ip6_hdr *ip6 = (const void *) packet;

    if (len >= sizeof *ip4 && ip4->ip_v == 4 && ip4->ip_hl == 5
        && ntohs(ip4->ip_len) == len
        && !(ip4->ip_off & htons(IP_MF | IP_OFFMASK))) {
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

/* Where the inner packet of the SAL packet in 'frame' begins; 0 if that is not
 * as the data plane has seen it. */
static size_t
inner_of(const uint8_t *frame, size_t len)
{
    size_t sal = ETHER_HDR_LEN + 8;

    if (len < ETHER_HDR_LEN + sizeof(struct ip6_hdr) + 8 + 2) {
        return 0;
    }
    sal += frame[ETHER_HDR_LEN] >> 4 == 4 ? sizeof(struct ip)
                                          : sizeof(struct ip6_hdr);
    size_t inner = sal + frame[sal + SAL_OFS_HEADER_LEN] * 4;
    return inner < len ? inner : 0;
}

/* A SYN that came.  On a virtual device the sender's packet may have left its
 * checksum to a device that is not there: then it is that of the pseudo header
 * alone.  Any other is the sender's, and may be wrong. */
static void
complete_inner_checksum(uint8_t *frame, size_t len)
{
    size_t inner = inner_of(frame, len);
    uint32_t sum;
    uint8_t proto;
    ovs_be16 check;

    if (!inner) {
        return;
    }
    uint8_t *packet = frame + inner;
    size_t packet_len = len - inner;
    size_t ofs = transport_of(packet, packet_len, &sum, &proto);
    size_t check_ofs = ofs + (proto == IPPROTO_UDP ? 6 : 16);
    if (!ofs || packet_len < check_ofs + 2) {
        return;
    }
    memcpy(&check, packet + check_ofs, sizeof check);
    sum = csum_add16(sum, htons(proto));
    sum = csum_add16(sum, htons(packet_len - ofs));
    if (check == (ovs_be16) ~csum_finish(sum)) {
        complete_checksum(packet, packet_len);
    }
}

struct taking {
    struct datapath *dp;
    struct sal_held held;
};

static void
take_frame(void *frame, size_t len, void *taking_)
{
    struct taking *taking = taking_;
    struct datapath *dp = taking->dp;

    if (taking->held.kind == SAL_HELD_IDENTIFY) {
        complete_inner_checksum(frame, len);
    } else if (len > ETHER_HDR_LEN) {
        complete_checksum((uint8_t *) frame + ETHER_HDR_LEN,
                          len - ETHER_HDR_LEN);
    }
    taking->held.len = len;
    dp->held_take(&taking->held, frame, dp->held_aux);
}

static int
take_held(void *dp, void *data, size_t size)
{
    const struct sal_held *held = data;

    if (size >= sizeof *held && held->len <= size - sizeof *held
        && held->len <= SAL_HELD_MAX) {
        struct taking taking = {.dp = dp, .held = *held};
        uint8_t frame[SAL_HELD_MAX];
        memcpy(frame, held + 1, held->len);
        if (held->segment && held->tuple.proto == IPPROTO_UDP) {
            packet_split_segments(frame, held->len, held->segment, take_frame,
                                  &taking);
        } else {
            take_frame(frame, held->len, &taking);
        }
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
static int
inject(struct datapath *dp, const void *frame, size_t len,
       struct __sk_buff context)
{
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame,
                .data_size_in = len, .ctx_in = &context,
                .ctx_size_in = sizeof context, .repeat = 1);
    int error = bpf_prog_test_run_opts(
        bpf_program__fd(dp->skeleton->progs.sal_inject), &opts);
    return error ? error : (int) opts.retval < 0 ? -EIO : 0;
}

struct sending {
    struct datapath *dp;
    uint32_t mark;
    int error;
};

static void
send_frame(void *frame, size_t len, void *sending_)
{
    struct sending *sending = sending_;
    int error = inject(sending->dp, frame, len,
                       (struct __sk_buff) {.mark = sending->mark});

    if (!sending->error) {
        sending->error = error;
    }
}

int
datapath_held_send(struct datapath *dp, const void *frame, size_t len,
                   uint32_t mark)
{
    struct sending sending = {.dp = dp, .mark = mark};

    if (len <= SAL_INJECT_MAX) {
        return inject(dp, frame, len, (struct __sk_buff) {.mark = mark});
    }
    packet_split_fragments(frame, len, SAL_INJECT_MAX, random_uint32(),
                           send_frame, &sending);
    return sending.error;
}

int
datapath_held_deliver(struct datapath *dp, const void *frame, size_t len,
                      uint32_t ifindex)
{
    return inject(dp, frame, len,
                  (struct __sk_buff) {.mark = SAL_MARK_IDENTIFIED,
                                      .ifindex = ifindex});
}

int
datapath_set_identity(struct datapath *dp, bool check, uint32_t ask_ms)
{
    struct sal_settings settings;
    int error = datapath_get_settings(dp, &settings);

    if (error) {
        return error;
    }
    settings.flags &= ~SAL_SETTINGS_IDENTITY;
    settings.flags |= check ? SAL_SETTINGS_IDENTITY : 0;
    settings.identify_until_ns
        = ask_ms ? now_ns() + ask_ms * UINT64_C(1000000) : 0;
    return datapath_put_settings(dp, &settings);
}

int
datapath_put_peer(struct datapath *dp, const struct sal_peer_key *key,
                  const struct sal_peer *peer, uint32_t ttl_ms)
{
    struct sal_peer value = *peer;

    value.asked_ns = now_ns();
    value.expires_ns = value.asked_ns + ttl_ms * UINT64_C(1000000);
    return bpf_map_update_elem(bpf_map__fd(dp->skeleton->maps.sal_peers), key,
                               &value, BPF_ANY);
}
