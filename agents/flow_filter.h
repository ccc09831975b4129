/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses and prints flows of the data plane's dump (JSON, as
 * datapath_format_flows() makes it).
 *
 *     state=S  service=NAME  peer=LOCATOR  address=A  port=P  proto=tcp|udp
 *     role=client|server  --count
 *
 * All must hold.  Pure. */
#ifndef SALIENT_FLOW_FILTER_H
#define SALIENT_FLOW_FILTER_H 1

#include <stdbool.h>
#include "agents/names.h"
#include "openvswitch/dynamic-string.h"

struct json;

struct flow_filter {
    const char *state, *peer, *address, *role; /* NULL: any. */
    int port, protocol;                        /* 0: any. */
    bool by_service;
    struct service_prefix service;
    bool count;
};

/* Strings stay the caller's.  NULL, or a malloced sentence. */
char *flow_filter_parse(int argc, const char *const argv[],
                        struct flow_filter *);

bool flow_filter_matches(const struct flow_filter *, const struct json *flow);

/* Prints those of array 'flows' that match.  'names' turns service IDs into
 * names. */
void flow_filter_print(const struct flow_filter *, const struct json *flows,
                       const struct names *names, bool as_json, struct ds *);

/* One line about 'flow', as flow_filter_print() prints it. */
void flow_filter_put_flow(const struct json *flow, const struct names *,
                          struct ds *);

/* Prints the other end of the flow between inner addresses 'local' and
 * 'remote' ("100.64.0.1:40000"), for libsal.  False if there is none. */
bool flow_filter_print_peer(const struct json *flows, const char *local,
                            const char *remote, struct ds *);

#endif /* flow_filter.h */
