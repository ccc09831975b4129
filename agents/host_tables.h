/* SPDX-License-Identifier: Apache-2.0 */
/* What the host's data plane is to hold: settings, service addresses, service
 * rules, local targets.  The daemon computes the desired tables from its
 * configuration and from what the controller told it; the data plane reads
 * the installed ones back from its maps; host_tables_diff() says what to
 * change.  Flows are not in here: the data plane makes them.
 *
 * Pure; not thread-safe. */
#ifndef SALIENT_HOST_TABLES_H
#define SALIENT_HOST_TABLES_H 1

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ofp-ext/service_id.h"

/* IPv4 addresses and ports in host byte order; an "in6_addr" is an IPv6
 * address or an IPv4-mapped one. */
struct host_settings {
    uint32_t identity_v4; /* Ours; 0 = none yet, no IPv4 is carried. */
    uint32_t resolver_v4; /* Outer destination of what is to be resolved. */
    struct in6_addr identity_v6; /* All zero: none. */
    struct in6_addr resolver_v6;
    bool prefer_v6; /* New flows over IPv6 if both are possible. */
    uint16_t sal_port;
    bool router; /* Resolves SYNs for others. */
    uint8_t endpoint_id[SAL_ENDPOINT_ID_LEN];
};

/* Inner address of a service -> its ID.  Key: address. */
struct service_address {
    struct in6_addr address;
    struct service_id id;
};

enum service_action {
    SERVICE_FORWARD = 1, /* To its hops; to the resolver if it has none. */
    SERVICE_DEMUX = 2,   /* To local targets. */
    SERVICE_REJECT = 3,  /* Answered with RST. */
    SERVICE_DROP = 4,
    SERVICE_DELAY = 5,   /* Held; the daemon finds out and replaces it. */
};

/* Service table.  Key: prefix.  Longest prefix wins. */
struct service_rule {
    struct service_prefix prefix;
    enum service_action action;
    uint8_t path_class; /* 0..15, of new flows. */
    bool datagram;      /* UDP: each datagram is resolved by itself. */
};

/* Where a FORWARD rule sends SYNs: the instances themselves, or hosts that
 * resolve.  Key: prefix (the rule's), locator. */
#define HOST_TABLES_MAX_HOPS 32 /* Of one rule; more are ignored. */
struct service_hop {
    struct service_prefix prefix;
    uint8_t locator[16]; /* IPv6, or IPv4-mapped; network byte order. */
    uint32_t weight;     /* 1..65535. */
};

/* Where a SYN for a local service goes.  Key: prefix, protocol, service_port.
 * A SYN for another port of the service is refused. */
struct local_target {
    struct service_prefix prefix;
    uint8_t protocol;
    uint16_t service_port;
    struct in6_addr address; /* A local address, for clients of its IP version;
                              * all zero = the identity addresses. */
    uint16_t port;
};

struct host_tables {
    struct host_settings settings;
    struct service_address *addresses; /* Sorted by key, no duplicates. */
    size_t n_addresses, allocated_addresses;
    struct service_rule *rules;
    size_t n_rules, allocated_rules;
    struct local_target *targets;
    size_t n_targets, allocated_targets;
    struct service_hop *hops;
    size_t n_hops, allocated_hops;
};

void host_tables_init(struct host_tables *);
void host_tables_destroy(struct host_tables *);
void host_tables_copy(struct host_tables *dst, const struct host_tables *src);

/* Adds or replaces by key. */
void host_tables_put_address(struct host_tables *,
                             const struct service_address *);
void host_tables_put_rule(struct host_tables *, const struct service_rule *);
void host_tables_put_target(struct host_tables *, const struct local_target *);
/* Many at once: 'n' calls one by one would move the table's end 'n' times.
 * Sorts the array. */
void host_tables_put_addresses(struct host_tables *,
                               struct service_address[], size_t n);
void host_tables_put_rules(struct host_tables *, struct service_rule[],
                           size_t n);
void host_tables_put_hop(struct host_tables *, const struct service_hop *);
/* Removes by key; false if there was none. */
bool host_tables_remove_address(struct host_tables *,
                                const struct in6_addr *);
bool host_tables_remove_rule(struct host_tables *,
                             const struct service_prefix *);
bool host_tables_remove_target(struct host_tables *,
                               const struct local_target *);

bool host_tables_remove_hop(struct host_tables *, const struct service_hop *);

/* The rule for 'id' (longest prefix), or NULL; valid until the tables
 * change. */
const struct service_rule *host_tables_find_rule(const struct host_tables *,
                                                 const struct service_id *);
/* The hops of the rule for 'prefix': the first of '*ret_n' in a row. */
const struct service_hop *host_tables_find_hops(const struct host_tables *,
                                                const struct service_prefix *,
                                                size_t *ret_n);

bool host_tables_equal(const struct host_tables *, const struct host_tables *);

/* What turns 'installed' into 'desired'.  Order of application: put, then
 * remove, so that nothing served by both is unserved in between. */
struct host_tables_diff {
    struct host_tables put; /* Settings mean something if settings_changed. */
    struct host_tables remove; /* Only keys matter. */
    bool settings_changed;
};
void host_tables_diff(const struct host_tables *installed,
                      const struct host_tables *desired,
                      struct host_tables_diff *ret_diff);
void host_tables_diff_destroy(struct host_tables_diff *);
bool host_tables_diff_is_empty(const struct host_tables_diff *);
/* Property: apply(diff(a, b), a) == b. */
void host_tables_diff_apply(const struct host_tables_diff *,
                            struct host_tables *);

#endif /* host_tables.h */
