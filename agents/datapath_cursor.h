/* SPDX-License-Identifier: Apache-2.0 */
/* Walks over all flows of the data plane, some hundred at a time: there may be
 * a million, and the daemon has other things to do.
 *
 *     struct flow_cursor *cursor = flow_cursor_open(dp);
 *     while ((n = flow_cursor_next(cursor, &flows)) > 0) { ... }
 *     flow_cursor_close(cursor);
 *
 * Flows that are there from beginning to end are seen once.  The data plane
 * must outlive the cursor.  One thread. */
#ifndef SALIENT_DATAPATH_CURSOR_H
#define SALIENT_DATAPATH_CURSOR_H 1

#include <stddef.h>
#include "agents/bpf/sal_maps.h"
#include "agents/datapath.h"

struct flow_cursor;

struct flow_cursor *flow_cursor_open(const struct datapath *);
void flow_cursor_close(struct flow_cursor *);

/* The next flows, valid until the next call; 0 at the end. */
size_t flow_cursor_next(struct flow_cursor *, const struct sal_flow **flows);

/* Whether the last ones are of the table of bound flows. */
bool flow_cursor_in_bound(const struct flow_cursor *);

/* Forgets those of the flows 'ids' (network byte order, as in sal_flow) that
 * are UDP's and have carried nothing since 'idle_since_ns' (CLOCK_MONOTONIC).
 * How many, or a negative errno. */
int datapath_sweep(struct datapath *, uint64_t idle_since_ns,
                   const uint32_t ids[], size_t n);

/* The flow of a local tuple, bound or not.  -ENOENT if there is none. */
int datapath_flow_by_tuple(const struct datapath *, const struct sal_tuple *,
                           struct sal_flow *);

#endif /* datapath_cursor.h */
