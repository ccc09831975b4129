/* SPDX-License-Identifier: Apache-2.0 */
/* The busiest flows, by what they carried between two looks at all of them.
 *
 *     top = flow_top_create(20);
 *     ... flow_top_before(top, flow) for each flow, later
 *     ... flow_top_after(top, flow) for each flow
 *     flow_top_print(top, interval, names, json, out);
 *
 * Pure. */
#ifndef SALIENT_FLOW_TOP_H
#define SALIENT_FLOW_TOP_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agents/bpf/sal_maps.h"
#include "agents/names.h"
#include "openvswitch/dynamic-string.h"

struct flow_top;

/* 'n': how many are wanted, at least 1. */
struct flow_top *flow_top_create(size_t n);
void flow_top_destroy(struct flow_top *);

void flow_top_before(struct flow_top *, const struct sal_flow *);
void flow_top_after(struct flow_top *, const struct sal_flow *);

struct flow_top_times {
    int64_t interval_ms; /* Between the two looks. */
    uint64_t now_ns;     /* CLOCK_MONOTONIC. */
};
void flow_top_print(struct flow_top *, const struct flow_top_times *,
                    const struct names *names, bool json, struct ds *);

#endif /* flow_top.h */
