/* SPDX-License-Identifier: Apache-2.0 */
/* Flows for people and for programs.  Pure: 'now_ns' is CLOCK_MONOTONIC. */
#ifndef SALIENT_FLOW_FORMAT_H
#define SALIENT_FLOW_FORMAT_H 1

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include "agents/bpf/sal_maps.h"
#include "agents/names.h"
#include "openvswitch/dynamic-string.h"

struct json;

/* "10.0.0.1" or "fd00::1". */
const char *sal_addr_format(const struct sal_addr *,
                            char buf[INET6_ADDRSTRLEN]);
/* False if 'text' is no address. */
bool sal_addr_parse(const char *text, struct sal_addr *);

const char *flow_state_name(const struct sal_flow *);
const char *flow_role_name(const struct sal_flow *);
/* The endpoint ID of the peer in hex; "" while it is unknown. */
void flow_format_endpoint(const struct sal_flow *,
                          char text[2 * SAL_ENDPOINT_ID_LEN + 1]);

struct json *flow_to_json(const struct sal_flow *, uint64_t now_ns);

/* One line.  'names' turns the service ID into a name, and may be NULL. */
void flow_put_text(const struct sal_flow *, const struct names *names,
                   uint64_t now_ns, struct ds *);

/* The other end, for libsal. */
void flow_put_peer(const struct sal_flow *, struct ds *);

#endif /* flow_format.h */
