/* SPDX-License-Identifier: Apache-2.0 */
/* Asks upstream resolvers what the agent's name server does not know itself.
 *
 * Each query has a socket of its own (so a source port that an off-path
 * attacker must guess), connected to the resolver, and a random ID.  The
 * resolvers are tried in turn.  At most DNS_FORWARD_MAX are under way.  One
 * thread: the loop's. */
#ifndef SALIENT_DNS_FORWARD_H
#define SALIENT_DNS_FORWARD_H 1

#include <stdbool.h>
#include <uv.h>
#include "agents/agent_config.h"

#define DNS_FORWARD_MAX 256
#define DNS_FORWARD_TIMEOUT_MS 2000 /* Of one attempt. */

struct dns_forwarder;
struct dns_forward; /* A query under way. */

/* 'reply' is NULL if nobody answered; its ID is the query's.  The forward is
 * gone afterwards. */
typedef void dns_forward_cb(uint8_t *reply, size_t len, void *aux);

/* 'config' (its upstreams) outlives the forwarder. */
struct dns_forwarder *dns_forwarder_create(uv_loop_t *,
                                           const struct agent_dns_config *);
/* What is under way fails now; memory goes when the handles have closed. */
void dns_forwarder_destroy(struct dns_forwarder *);

/* Copies 'query' (at least a header).  NULL if too many are under way; 'done'
 * is never called from in here. */
struct dns_forward *dns_forward_start(struct dns_forwarder *,
                                      const uint8_t *query, size_t len,
                                      bool tcp, dns_forward_cb *done,
                                      void *aux);
/* 'done' will not be called. */
void dns_forward_cancel(struct dns_forward *);

#endif /* dns_forward.h */
