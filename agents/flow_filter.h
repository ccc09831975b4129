/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses flows.
 *
 *     state=S  service=NAME  peer=LOCATOR  address=A  port=P  proto=tcp|udp
 *     role=client|server  --count  --limit N
 *
 * All must hold.  Pure. */
#ifndef SALIENT_FLOW_FILTER_H
#define SALIENT_FLOW_FILTER_H 1

#include <stdbool.h>
#include "agents/bpf/sal_maps.h"
#include "ofp-ext/service_id.h"

/* Flows that are printed unless told otherwise, and at most. */
#define FLOW_FILTER_LIMIT 10000
#define FLOW_FILTER_LIMIT_MAX 1000000

struct flow_filter {
    int state;                /* enum sal_flow_state; 0: any. */
    int role;                 /* 'c', 's'; 0: any. */
    bool by_peer, by_address, by_service;
    struct sal_addr peer, address;
    struct service_prefix service;
    int port, protocol;       /* 0: any. */
    bool count;
    unsigned int limit;
};

/* NULL, or a malloced sentence. */
char *flow_filter_parse(int argc, const char *const argv[],
                        struct flow_filter *);

bool flow_filter_matches(const struct flow_filter *, const struct sal_flow *);

#endif /* flow_filter.h */
