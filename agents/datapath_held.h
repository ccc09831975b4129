/* SPDX-License-Identifier: Apache-2.0 */
/* The data plane's packets that the daemon holds; holder.h says for what.
 * One thread. */
#ifndef SALIENT_DATAPATH_HELD_H
#define SALIENT_DATAPATH_HELD_H 1

#include "agents/bpf/sal_maps.h"
#include "agents/datapath.h"

/* Readable when there is something to take. */
int datapath_held_fd(const struct datapath *);
/* Calls 'take' for all that there is; negative errno if that is impossible.
 * Checksums in 'frame' are complete, whatever offload was under way. */
int datapath_held_take(struct datapath *,
                       void (*take)(const struct sal_held *, void *frame,
                                    void *aux), void *aux);
/* Hands a frame to sal0 as if an application had just sent it. */
int datapath_held_send(struct datapath *, const void *frame, size_t len,
                       uint32_t mark);

#endif /* datapath_held.h */
