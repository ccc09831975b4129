/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's name server: UDP and TCP on one loopback address.
 *
 * What to answer, dns_answer() decides.  Names of others go to the upstream
 * resolvers, if there are any, as they came; their answers come back as they
 * are.  Everything is bounded: queries under way, TCP connections, the time
 * of each.  One thread: the loop's. */
#ifndef SALIENT_DNS_SERVER_H
#define SALIENT_DNS_SERVER_H 1

#include <stdint.h>
#include <uv.h>
#include "agents/agent_config.h"
#include "agents/dns_answer.h"

struct dns_server;

struct dns_counters {
    uint64_t queries;   /* UDP and TCP. */
    uint64_t noerror, nxdomain, refused, servfail, other; /* Replies, ours. */
    uint64_t ignored;   /* No queries. */
    uint64_t forwarded, forward_answered, forward_failed;
    uint64_t tcp_connections, tcp_refused;
};

/* Listens on 'config->listen' (port 0: any free one).  'zone' and 'config'
 * outlive the server; 'zone' may change between callbacks.  Negative errno
 * with '*ret_error' (malloced, says what to do). */
int dns_server_start(uv_loop_t *, const struct agent_dns_config *config,
                     const struct dns_zone *zone,
                     struct dns_server **ret_server, char **ret_error);
/* The memory goes when all handles have closed. */
void dns_server_stop(struct dns_server *);

uint16_t dns_server_port(const struct dns_server *);
const struct dns_counters *dns_server_counters(const struct dns_server *);

#endif /* dns_server.h */
