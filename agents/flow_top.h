/* SPDX-License-Identifier: Apache-2.0 */
/* The busiest flows: two dumps of the data plane (JSON, as
 * datapath_format_flows() makes them), some time apart.
 *
 * Pure; not thread-safe. */
#ifndef SALIENT_FLOW_TOP_H
#define SALIENT_FLOW_TOP_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agents/names.h"
#include "openvswitch/dynamic-string.h"

struct json;
struct flow_top;

/* Remembers what the flows of the first dump had carried. */
struct flow_top *flow_top_create(const struct json *flows);
void flow_top_destroy(struct flow_top *);

/* Prints the 'n' flows of the second dump that carried most since, and the sum
 * of all.  A flow that is in the second dump only has carried everything
 * since. */
void flow_top_print(const struct flow_top *, const struct json *flows,
                    int64_t interval_ms, size_t n, const struct names *,
                    bool as_json, struct ds *);

#endif /* flow_top.h */
