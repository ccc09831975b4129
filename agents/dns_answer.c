/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/dns_private.h"

#include <stdlib.h>
#include <string.h>
#include "util.h"

#define DNS_PLAIN_SIZE 512 /* Without EDNS, RFC 1035. */
#define ANSWER_BADVERS_EXTENDED 1 /* RCODE 16, its upper eight bits. */

/* Octets of a query that stand in no service name, as one that never can. */
#define FOREIGN_OCTET '\001'

static void
dname_to_text(const ldns_rdf *dname, struct dname_text *text)
{
    const uint8_t *p = ldns_rdf_data(dname);
    size_t size = ldns_rdf_size(dname), out = 0;

    for (size_t i = 0; i < size && p[i];) {
        size_t end = i + 1 + p[i];
        if (end > size || end > LDNS_MAX_DOMAINLEN) {
            break;
        }
        if (out) {
            text->s[out++] = '.';
        }
        for (i++; i < end; i++) {
            uint8_t c = p[i] >= 'A' && p[i] <= 'Z' ? p[i] | 0x20 : p[i];
            text->s[out++] = c > ' ' && c < 0x7f && c != '.' ? c
                                                             : FOREIGN_OCTET;
        }
    }
    text->s[out] = '\0';
}

ldns_rdf *
dns_name(const char *text)
{
    return ldns_dname_new_frm_str(text);
}

ldns_rr *
dns_new_rr(ldns_rdf *owner, ldns_rr_type type, uint32_t ttl)
{
    ldns_rr *rr = ldns_rr_new_frm_type(type);

    ldns_rr_set_owner(rr, owner);
    ldns_rr_set_ttl(rr, ttl);
    ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
    return rr;
}

ldns_rdf *
dns_owner_as_asked(const struct exchange *x)
{
    return ldns_rdf_clone(ldns_rr_owner(x->question));
}

void
dns_set_rdf(ldns_rr *rr, ldns_rdf *rdf, size_t i)
{
    ldns_rdf_deep_free(ldns_rr_set_rdf(rr, rdf, i));
}

/* The zone has no secondaries and no mailbox: RFC 6303's form. */
static ldns_rr *
new_soa(const struct exchange *x, const char *apex)
{
    const uint32_t times[] = {
        x->zone->names->serial,
        3600,         /* Refresh, retry, expire: nobody transfers it. */
        1200,
        604800,
        x->zone->ttl, /* Of negative answers. */
    };
    ldns_rr *rr = dns_new_rr(dns_name(apex), LDNS_RR_TYPE_SOA, x->zone->ttl);

    dns_set_rdf(rr, dns_name(apex), 0);
    dns_set_rdf(rr, dns_name("nobody.invalid"), 1);
    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        ldns_rdf_type type = (i ? LDNS_RDF_TYPE_PERIOD : LDNS_RDF_TYPE_INT32);
        dns_set_rdf(rr, ldns_native2rdf_int32(type, times[i]), 2 + i);
    }
    return rr;
}

void
dns_put(struct exchange *x, ldns_rr *rr)
{
    ldns_pkt_push_rr(x->reply, LDNS_SECTION_ANSWER, rr);
}

void
dns_deny(struct exchange *x, ldns_pkt_rcode rcode, const char *apex)
{
    ldns_pkt_set_rcode(x->reply, rcode);
    ldns_pkt_push_rr(x->reply, LDNS_SECTION_AUTHORITY, new_soa(x, apex));
}

bool
dns_asks_for(const struct exchange *x, ldns_rr_type type)
{
    return x->type == type || x->type == LDNS_RR_TYPE_ANY;
}

static void
put_address(struct exchange *x, ldns_pkt_section section, ldns_rdf *owner,
            ldns_rdf *address)
{
    bool v4 = ldns_rdf_get_type(address) == LDNS_RDF_TYPE_A;
    ldns_rr *rr = dns_new_rr(ldns_rdf_clone(owner),
                             v4 ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA,
                             x->zone->ttl);
    dns_set_rdf(rr, address, 0);
    ldns_pkt_push_rr(x->reply, section, rr);
}

bool
dns_put_addresses(struct exchange *x, ldns_pkt_section section,
                  ldns_rdf *owner, const struct dns_addresses *addresses)
{
    bool all = section == LDNS_SECTION_ADDITIONAL, put = false;

    if (addresses->v4 && (all || dns_asks_for(x, LDNS_RR_TYPE_A))) {
        ovs_be32 address = htonl(addresses->v4);
        put_address(x, section, owner,
                    ldns_rdf_new_frm_data(LDNS_RDF_TYPE_A, sizeof address,
                                          &address));
        put = true;
    }
    if (!IN6_IS_ADDR_UNSPECIFIED(&addresses->v6)
        && (all || dns_asks_for(x, LDNS_RR_TYPE_AAAA))) {
        put_address(x, section, owner,
                    ldns_rdf_new_frm_data(LDNS_RDF_TYPE_AAAA,
                                          sizeof addresses->v6,
                                          &addresses->v6));
        put = true;
    }
    ldns_rdf_deep_free(owner);
    return put;
}

static void
put_v6(const struct exchange *x, const struct service_prefix *prefix,
       struct dns_addresses *addresses)
{
    const struct in6_addr *net = &x->zone->net_v6;

    if (!IN6_IS_ADDR_UNSPECIFIED(net)) {
        service_address_v6(prefix, net->s6_addr, addresses->v6.s6_addr);
    }
}

void
dns_addresses_of(const struct exchange *x, const char *name,
                 struct dns_addresses *addresses)
{
    const struct dns_zone *zone = x->zone;
    const struct names_entry *entry = names_by_name(zone->names, name);
    struct service_prefix prefix;

    memset(addresses, 0, sizeof *addresses);
    if (entry) {
        addresses->v4 = entry->address;
        put_v6(x, &entry->prefix, addresses);
    } else if (zone->lease && !service_prefix_from_name(name, &prefix)) {
        /* A lease makes both addresses known to the data plane. */
        addresses->v4 = zone->lease(name, &prefix.id, zone->aux);
        if (addresses->v4) {
            prefix.len = SAL_SERVICE_ID_BITS;
            put_v6(x, &prefix, addresses);
        }
    }
}

/* With the addresses of the service 'name'. */
static void
answer_addresses(struct exchange *x, const char *name)
{
    struct dns_addresses addresses;

    dns_addresses_of(x, name, &addresses);
    if (!dns_put_addresses(x, LDNS_SECTION_ANSWER, dns_owner_as_asked(x),
                           &addresses)) {
        dns_deny(x, LDNS_RCODE_NOERROR, x->zone->suffix);
    }
}

static void
answer_apex(struct exchange *x)
{
    const char *suffix = x->zone->suffix;

    if (dns_asks_for(x, LDNS_RR_TYPE_SOA)) {
        dns_put(x, new_soa(x, suffix));
    } else if (x->type == LDNS_RR_TYPE_NS) {
        ldns_rr *rr
            = dns_new_rr(dns_owner_as_asked(x), LDNS_RR_TYPE_NS, x->zone->ttl);
        dns_set_rdf(rr, dns_name(suffix), 0);
        dns_put(x, rr);
    } else {
        dns_deny(x, LDNS_RCODE_NOERROR, suffix);
    }
}

/* A service above 'name' serves it as well: true, and answered. */
static bool
answer_covered(struct exchange *x, const char *name)
{
    const struct dns_zone *zone = x->zone;
    struct service_prefix prefix;

    if (!zone->lease || service_prefix_from_name(name, &prefix)
        || !names_covering(zone->names, name, &prefix.id)) {
        return false;
    }
    if (!dns_asks_for(x, LDNS_RR_TYPE_A)
        && !dns_asks_for(x, LDNS_RR_TYPE_AAAA)) {
        dns_deny(x, LDNS_RCODE_NOERROR, zone->suffix);
        return true;
    }
    if (zone->lease(name, &prefix.id, zone->aux)) {
        answer_addresses(x, name);
    } else {
        ldns_pkt_set_aa(x->reply, false);
        ldns_pkt_set_rcode(x->reply, LDNS_RCODE_SERVFAIL);
    }
    return true;
}

static void
answer_forward_name(struct exchange *x, const char *service)
{
    const struct names_entry *entry;
    enum names_result result;

    if (!service[0]) {
        answer_apex(x);
        return;
    }
    result = names_lookup(x->zone->names, service, &entry);
    if (result != NAMES_FOUND
        && (service[0] == '_' ? dns_answer_srv(x, service)
                                    || dns_answer_host(x, service)
            : strstr(service, "._host") ? dns_answer_host(x, service)
                                        : answer_covered(x, service))) {
        return;
    }
    switch (result) {
    case NAMES_FOUND:
        answer_addresses(x, service);
        break;
    case NAMES_PARENT:
        dns_deny(x, LDNS_RCODE_NOERROR, x->zone->suffix);
        break;
    case NAMES_UNKNOWN:
        if (x->zone->complete) {
            dns_deny(x, LDNS_RCODE_NXDOMAIN, x->zone->suffix);
        } else {
            ldns_pkt_set_aa(x->reply, false);
            ldns_pkt_set_rcode(x->reply, LDNS_RCODE_SERVFAIL);
        }
        break;
    }
}

/* Fills in the reply; false: to be forwarded. */
static bool
answer_question(struct exchange *x)
{
    char service[SERVICE_NAME_MAX + 1];
    ldns_rr_class class = ldns_rr_get_class(x->question);

    if (class == LDNS_RR_CLASS_IN || class == LDNS_RR_CLASS_ANY) {
        if (names_strip_suffix(x->name.s, x->zone->suffix, service)) {
            ldns_pkt_set_aa(x->reply, true);
            if (x->type == LDNS_RR_TYPE_AXFR || x->type == LDNS_RR_TYPE_IXFR) {
                ldns_pkt_set_rcode(x->reply, LDNS_RCODE_REFUSED);
            } else {
                answer_forward_name(x, service);
            }
            return true;
        }
        if (dns_answer_reverse(x)) {
            ldns_pkt_set_aa(x->reply, true);
            return true;
        }
    }
    ldns_pkt_set_rcode(x->reply, LDNS_RCODE_REFUSED);
    return !x->zone->forward;
}

/* Everything about the packet that is not about names. */
static bool
answer_packet(struct exchange *x)
{
    const ldns_rr_list *questions = ldns_pkt_question(x->query);

    if (ldns_pkt_get_opcode(x->query) != LDNS_PACKET_QUERY) {
        ldns_pkt_set_rcode(x->reply, LDNS_RCODE_NOTIMPL);
        return true;
    }
    if (ldns_rr_list_rr_count(questions) != 1) {
        ldns_pkt_set_rcode(x->reply, LDNS_RCODE_FORMERR);
        return true;
    }
    x->question = ldns_rr_list_rr(questions, 0);
    x->type = ldns_rr_get_type(x->question);
    dname_to_text(ldns_rr_owner(x->question), &x->name);
    ldns_pkt_push_rr(x->reply, LDNS_SECTION_QUESTION,
                     ldns_rr_clone(x->question));
    if (ldns_pkt_edns(x->query) && ldns_pkt_edns_version(x->query)) {
        ldns_pkt_set_edns_extended_rcode(x->reply, ANSWER_BADVERS_EXTENDED);
        return true;
    }
    return answer_question(x);
}

static size_t
udp_limit(const ldns_pkt *query)
{
    size_t size = ldns_pkt_edns(query) ? ldns_pkt_edns_udp_size(query) : 0;
    return MIN(MAX(size, DNS_PLAIN_SIZE), DNS_UDP_SIZE);
}

/* An empty reply to 'query'. */
static ldns_pkt *
new_reply(const ldns_pkt *query, bool forward)
{
    ldns_pkt *reply = ldns_pkt_new();

    ldns_pkt_set_id(reply, ldns_pkt_id(query));
    ldns_pkt_set_qr(reply, true);
    ldns_pkt_set_opcode(reply, ldns_pkt_get_opcode(query));
    ldns_pkt_set_rd(reply, ldns_pkt_rd(query));
    ldns_pkt_set_ra(reply, forward);
    if (ldns_pkt_edns(query)) {
        ldns_pkt_set_edns_udp_size(reply, DNS_UDP_SIZE);
    }
    return reply;
}

/* Sends no half answers: a reply that is too long goes empty, truncated, and
 * the client comes again by TCP. */
static bool
pack(ldns_pkt *reply, size_t max_len, uint8_t **ret_wire, size_t *ret_len)
{
    if (ldns_pkt2wire(ret_wire, reply, ret_len) != LDNS_STATUS_OK) {
        return false;
    }
    if (*ret_len > max_len) {
        free(*ret_wire);
        ldns_rr_list_deep_free(ldns_pkt_answer(reply));
        ldns_pkt_set_answer(reply, ldns_rr_list_new());
        ldns_pkt_set_ancount(reply, 0);
        ldns_rr_list_deep_free(ldns_pkt_authority(reply));
        ldns_pkt_set_authority(reply, ldns_rr_list_new());
        ldns_pkt_set_nscount(reply, 0);
        ldns_pkt_set_tc(reply, true);
        return ldns_pkt2wire(ret_wire, reply, ret_len) == LDNS_STATUS_OK;
    }
    return true;
}

enum dns_verdict
dns_answer(const struct dns_zone *zone, const uint8_t *query, size_t len,
           size_t max_len, uint8_t **ret_reply, size_t *ret_len)
{
    struct exchange x = {.zone = zone};
    enum dns_verdict verdict = DNS_REPLY;

    if (len < DNS_HEADER_LEN || LDNS_QR_WIRE(query)) {
        return DNS_IGNORE;
    }
    if (ldns_wire2pkt(&x.query, query, len) != LDNS_STATUS_OK) {
        *ret_reply = dns_error_reply(query, len, LDNS_RCODE_FORMERR, ret_len);
        return DNS_REPLY;
    }
    x.reply = new_reply(x.query, zone->forward);
    if (!answer_packet(&x)) {
        verdict = DNS_FORWARD;
    } else if (!pack(x.reply, max_len ? max_len : udp_limit(x.query),
                     ret_reply, ret_len)) {
        *ret_reply
            = dns_error_reply(query, len, LDNS_RCODE_SERVFAIL, ret_len);
    }
    ldns_pkt_free(x.reply);
    ldns_pkt_free(x.query);
    return verdict;
}

uint8_t *
dns_error_reply(const uint8_t *query, size_t len, uint8_t rcode,
                size_t *ret_len)
{
    uint8_t *reply = xzalloc(DNS_HEADER_LEN);

    ovs_assert(len >= DNS_HEADER_LEN);
    /* ID; QR, opcode and RD as asked; the rest empty. */
    memcpy(reply, query, 2);
    reply[2] = 0x80 | (query[2] & 0x79);
    reply[3] = rcode & 0x0f;
    *ret_len = DNS_HEADER_LEN;
    return reply;
}
