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

/* Hands a frame to ingress as if it had just come by that interface. */
int datapath_held_deliver(struct datapath *, const void *frame, size_t len,
                          uint32_t ifindex);

/* Whether the inner sources of SYNs are checked, and how long from now
 * somebody can be asked whose they are (agents/claims.h): those SYNs are
 * held. */
int datapath_set_identity(struct datapath *, bool check, uint32_t ask_ms);
/* Expiry and time of asking in 'peer' are filled in. */
int datapath_put_peer(struct datapath *, const struct sal_peer_key *,
                      const struct sal_peer *, uint32_t ttl_ms);

#endif /* datapath_held.h */
