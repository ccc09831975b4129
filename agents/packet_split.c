/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams of a batch, fragments of a datagram. */
#include "agents/packet_split.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <string.h>
#include "csum.h"
#include "util.h"

struct view {
    const uint8_t *frame;
    bool v6;
    size_t headers; /* Ethernet's and IP's. */
    size_t payload; /* Of IP. */
};

static bool
view_init(struct view *view, const void *frame, size_t len)
{
    struct ip ip; /* A copy: behind Ethernet's header it is not aligned. */

    view->frame = frame;
    if (len < ETHER_HDR_LEN + sizeof ip + sizeof(struct udphdr)) {
        return false;
    }
    memcpy(&ip, view->frame + ETHER_HDR_LEN, sizeof ip);
    view->v6 = ip.ip_v == 6;
    view->headers = ETHER_HDR_LEN + (view->v6 ? sizeof(struct ip6_hdr)
                                              : sizeof ip);
    if (len < view->headers + sizeof(struct udphdr)) {
        return false;
    }
    view->payload = len - view->headers;
    return view->v6 ? view->frame[ETHER_HDR_LEN
                                  + offsetof(struct ip6_hdr, ip6_nxt)]
                      == IPPROTO_UDP
                    : ip.ip_v == 4 && ip.ip_hl == 5 && ip.ip_p == IPPROTO_UDP;
}

/* Makes the headers at 'frame' those of a packet with 'payload' bytes. */
static void
set_length(const struct view *view, uint8_t *frame, size_t payload)
{
    uint16_t total = htons(payload + (view->v6 ? 0 : sizeof(struct ip)));
    uint16_t check = 0;
    uint8_t *ip = frame + ETHER_HDR_LEN;

    if (view->v6) {
        memcpy(ip + offsetof(struct ip6_hdr, ip6_plen), &total, sizeof total);
        return;
    }
    memcpy(ip + offsetof(struct ip, ip_len), &total, sizeof total);
    memcpy(ip + offsetof(struct ip, ip_sum), &check, sizeof check);
    check = csum(ip, sizeof(struct ip));
    memcpy(ip + offsetof(struct ip, ip_sum), &check, sizeof check);
}

void
packet_split_segments(const void *frame, size_t len, size_t segment,
                      packet_split_func *emit, void *aux)
{
    struct view view;

    if (!segment || !view_init(&view, frame, len)) {
        return;
    }
    const size_t headers = view.headers + sizeof(struct udphdr);
    uint8_t *piece = xmalloc(len);
    memcpy(piece, frame, headers);
    for (size_t ofs = headers; ofs < len; ofs += segment) {
        size_t n = MIN(segment, len - ofs);
        struct udphdr udp;
        memcpy(&udp, view.frame + view.headers, sizeof udp);
        udp.uh_ulen = htons(sizeof udp + n);
        udp.uh_sum = 0;
        memcpy(piece + view.headers, &udp, sizeof udp);
        memcpy(piece + headers, view.frame + ofs, n);
        set_length(&view, piece, sizeof udp + n);
        emit(piece, headers + n, aux);
    }
    free(piece);
}

/* Writes what says which fragment it is; returns where its data goes. */
static size_t
put_fragment(const struct view *view, uint8_t *piece, uint32_t id, size_t ofs,
             bool more)
{
    uint8_t *ip = piece + ETHER_HDR_LEN;

    if (view->v6) {
        struct ip6_frag header = {.ip6f_nxt = IPPROTO_UDP,
                                  .ip6f_offlg = htons(ofs | more),
                                  .ip6f_ident = htonl(id)};
        ip[offsetof(struct ip6_hdr, ip6_nxt)] = IPPROTO_FRAGMENT;
        memcpy(piece + view->headers, &header, sizeof header);
        return view->headers + sizeof header;
    }
    uint16_t ident = htons(id), offset = htons(ofs / 8 | (more ? IP_MF : 0));
    memcpy(ip + offsetof(struct ip, ip_id), &ident, sizeof ident);
    memcpy(ip + offsetof(struct ip, ip_off), &offset, sizeof offset);
    return view->headers;
}

void
packet_split_fragments(const void *frame, size_t len, size_t max, uint32_t id,
                       packet_split_func *emit, void *aux)
{
    struct view view;

    if (!view_init(&view, frame, len)) {
        return;
    }
    const size_t more = view.headers + (view.v6 ? sizeof(struct ip6_frag) : 0);
    if (max < more + 8) {
        return; /* No room for the smallest fragment. */
    }
    size_t room = (max - more) & ~(size_t) 7;
    uint8_t *piece = xmalloc(max);
    memcpy(piece, frame, view.headers);
    for (size_t ofs = 0; ofs < view.payload; ofs += room) {
        size_t n = MIN(room, view.payload - ofs);
        size_t data = put_fragment(&view, piece, id, ofs,
                                   ofs + n < view.payload);
        memcpy(piece + data, view.frame + view.headers + ofs, n);
        set_length(&view, piece, data - view.headers + n);
        emit(piece, data + n, aux);
    }
    free(piece);
}
