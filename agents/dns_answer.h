/* SPDX-License-Identifier: Apache-2.0 */
/* Answers one DNS query from the table of names (packets by ldns).
 *
 *   SERVICE.SUFFIX   A     the service address, if there is one
 *                    AAAA  the IPv6 service address; other types: NODATA
 *   below a SERVICE        the same with a host-local address, if they are
 *                          leased
 *   parents, SUFFIX        NODATA (RFC 8020); SOA and NS at SUFFIX
 *   _http._tcp.SERVICE  SRV  and A, AAAA of the target; _tcp.SERVICE: all
 *   REVERSE          PTR   of addresses of services and hosts
 *   100-64-0-7._host A     what PTR says of hosts' identity addresses
 *   unknown                NXDOMAIN, or SERVFAIL before the names are known
 *   anything else          REFUSED, or to be forwarded
 *
 * Negative answers carry an SOA (RFC 2308).  Any bytes are a legal argument:
 * the fuzzer calls dns_answer().
 *
 * Pure; not thread-safe. */
#ifndef SALIENT_DNS_ANSWER_H
#define SALIENT_DNS_ANSWER_H 1

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agents/names.h"

#define DNS_HEADER_LEN 12
#define DNS_UDP_SIZE 1232 /* What we offer by EDNS, and send at most. */
#define DNS_MESSAGE_MAX 65535

struct dns_zone {
    const struct names *names;
    bool complete;       /* 'names' has all there are. */
    const char *suffix;  /* "sal". */
    uint32_t ttl;        /* Seconds. */
    uint32_t pool;       /* Service pool, host byte order, for PTR. */
    uint8_t pool_len;    /* 0: no pool known. */
    uint32_t identity_pool, lease_pool; /* The same of these. */
    uint8_t identity_pool_len, lease_pool_len;
    struct in6_addr identity_net_v6;
    struct in6_addr net_v6; /* The /48 of service addresses; all zero: none. */
    /* Address of a name that has none of its own but that a service above it
     * serves; 0 if none can be had.  May be NULL. */
    uint32_t (*lease)(const char *name, const struct service_id *, void *aux);
    /* The name that has a leased address, IPv6 or IPv4-mapped, or NULL.  May
     * be NULL. */
    const char *(*leased)(const struct in6_addr *, void *aux);
    void *aux;
    bool forward;        /* There is an upstream for other names. */
};

enum dns_verdict {
    DNS_REPLY,   /* '*ret_reply' (malloced) is to be sent. */
    DNS_FORWARD, /* Not our name. */
    DNS_IGNORE,  /* No query at all. */
};

/* 'max_len': of a reply; 0 for UDP, where the query's EDNS size decides. */
enum dns_verdict dns_answer(const struct dns_zone *, const uint8_t *query,
                            size_t len, size_t max_len, uint8_t **ret_reply,
                            size_t *ret_len);

/* A reply to 'query' (at least a header long) that says only 'rcode'.
 * malloced. */
uint8_t *dns_error_reply(const uint8_t *query, size_t len, uint8_t rcode,
                         size_t *ret_len);

#endif /* dns_answer.h */
