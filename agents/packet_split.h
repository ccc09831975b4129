/* SPDX-License-Identifier: Apache-2.0 */
/* Inner packets that were held and are larger than what can be handed back at
 * once, or than one datagram: what the kernel would do with them.
 *
 * Pure.  A frame is Ethernet, then IPv4 without options or IPv6 without
 * extension headers, then UDP; of any other nothing comes out. */
#ifndef SALIENT_PACKET_SPLIT_H
#define SALIENT_PACKET_SPLIT_H 1

#include <stddef.h>
#include <stdint.h>

/* 'frame' is good during the call. */
typedef void packet_split_func(void *frame, size_t len, void *aux);

/* Cuts a batch of UDP_SEGMENT into its datagrams, each with 'segment' bytes of
 * data but for the last.  Their UDP checksums are 0. */
void packet_split_segments(const void *frame, size_t len, size_t segment,
                           packet_split_func *, void *aux);

/* Cuts a datagram, whose checksum is right, into IP fragments in frames of
 * 'max' bytes at most, which is more than 100; 'id' is IP's. */
void packet_split_fragments(const void *frame, size_t len, size_t max,
                            uint32_t id, packet_split_func *, void *aux);

#endif /* packet_split.h */
