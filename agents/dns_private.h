/* SPDX-License-Identifier: Apache-2.0 */
/* What dns_answer.c, dns_reverse.c and dns_srv.c share: one query and the
 * reply under construction. */
#ifndef SALIENT_DNS_PRIVATE_H
#define SALIENT_DNS_PRIVATE_H 1

#include <ldns/ldns.h>
#include "agents/dns_answer.h"

/* A name as lower-case text without the final dot. */
struct dname_text {
    char s[LDNS_MAX_DOMAINLEN + 1];
};

struct exchange {
    const struct dns_zone *zone;
    ldns_pkt *query, *reply;
    ldns_rr *question;
    ldns_rr_type type;
    struct dname_text name;
};

/* Text made here, so it is well-formed; a name that grew too long by
 * our suffix is NULL. */
ldns_rdf *dns_name(const char *text);
/* The records of a query keep its spelling (draft-vixie-dnsext-dns0x20). */
ldns_rdf *dns_owner_as_asked(const struct exchange *);
/* Takes 'owner'. */
ldns_rr *dns_new_rr(ldns_rdf *owner, ldns_rr_type, uint32_t ttl);
/* Takes 'rdf'. */
void dns_set_rdf(ldns_rr *, ldns_rdf *rdf, size_t i);
bool dns_asks_for(const struct exchange *, ldns_rr_type);
/* Takes 'rr'. */
void dns_put(struct exchange *, ldns_rr *rr);
/* NODATA or NXDOMAIN. */
void dns_deny(struct exchange *, ldns_pkt_rcode, const char *apex);
/* Addresses, with the owner 'name' (taken), in a section; 0 and all zero are
 * none.  False if there was nothing that was asked for. */
struct dns_addresses {
    uint32_t v4; /* Host byte order. */
    struct in6_addr v6;
};
bool dns_put_addresses(struct exchange *, ldns_pkt_section, ldns_rdf *owner,
                       const struct dns_addresses *);
/* Of a service, leased if it has none of its own; all zero if there are
 * none. */
void dns_addresses_of(const struct exchange *, const char *name,
                      struct dns_addresses *);

/* dns_reverse.c.  False: the name is not theirs. */
bool dns_answer_reverse(struct exchange *);
/* "100-64-0-1._host", without the suffix. */
bool dns_answer_host(struct exchange *, const char *name);

/* dns_srv.c: "_http._tcp.web.shop.acme", "_tcp.web.shop.acme", without the
 * suffix. */
bool dns_answer_srv(struct exchange *, const char *name);

#endif /* dns_private.h */
