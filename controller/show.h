/* SPDX-License-Identifier: Apache-2.0 */
/* What show*.c share: answers as text and as JSON. */
#ifndef CONTROLLER_SHOW_H
#define CONTROLLER_SHOW_H 1

#include "controller/controller_private.h"

struct ds;
struct json;

/* Both take their argument over. */
void show_reply_json(struct control_call *, struct json *);
void show_reply_text(struct control_call *, struct ds *);
/* Replies with that of the two that was asked for.  Takes both over. */
void show_reply_either(struct control_call *, struct json *, struct ds *);
void show_put_integer(struct json *, const char *key, long long value);
void show_put_dpid(struct json *, const char *key, uint64_t dpid);
void show_put_address(struct json *, const char *key, const struct in6_addr *);
/* IPv4 or IPv6, malloced. */
char *show_address(const struct in6_addr *);

/* show_switches.c */
control_handler show_switches, show_rules;
/* show_hosts.c */
control_handler show_hosts;
/* show_trace.c */
control_handler show_trace;

/* Counts of everything. */
struct controller_status {
    size_t known, connected, in_sync, stock, standby, refused, pending;
    size_t links, hosts, endpoints, away, instances, services;
    uint64_t generation, confirmed;
    long long hold_left;
};

void show_get_status(const struct controller *, struct controller_status *);

#endif /* show.h */
