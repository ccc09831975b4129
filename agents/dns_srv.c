/* SPDX-License-Identifier: Apache-2.0 */
/* SRV records (RFC 2782), from the ports that servers registered.
 *
 *     _http._tcp.web.shop.acme.sal
 *     _8080._tcp.web.shop.acme.sal
 *     _tcp.web.shop.acme.sal         all of them
 *
 * The target is the service's own name: which of its instances serves is
 * decided by the first packet, not here.  Registrations do not say what a port
 * is for, so "_http" is the port that IANA calls so, if it is registered; or
 * else the only port there is. */
#include "agents/dns_private.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include "util.h"

static const struct {
    const char *name;
    uint16_t port;
} iana[] = {
    {"amqp", 5672},   {"domain", 53},     {"ftp", 21},
    {"http", 80},     {"https", 443},     {"imap", 143},
    {"imaps", 993},   {"kerberos", 88},   {"ldap", 389},
    {"ldaps", 636},   {"mqtt", 1883},     {"mysql", 3306},
    {"nfs", 2049},    {"ntp", 123},       {"postgresql", 5432},
    {"redis", 6379},  {"sip", 5060},      {"smtp", 25},
    {"snmp", 161},    {"ssh", 22},        {"submission", 587},
    {"syslog", 514},  {"xmpp-client", 5222},
};

/* 0 if 'label' names no port. */
static uint16_t
port_of(const char *label)
{
    unsigned int port;

    if (label[0] && strlen(label) <= 5
        && !label[strspn(label, "0123456789")]
        && str_to_uint(label, 10, &port) && port <= UINT16_MAX) {
        return port;
    }
    for (size_t i = 0; i < ARRAY_SIZE(iana); i++) {
        if (!strcmp(label, iana[i].name)) {
            return iana[i].port;
        }
    }
    return 0;
}

/* The name, cut at its dots. */
struct srv_name {
    char label[64];        /* "http"; "" for all. */
    uint8_t protocol;
    const char *service;   /* "web.shop.acme". */
};

static bool
parse(const char *name, struct srv_name *srv)
{
    srv->label[0] = '\0';
    if (name[0] == '_' && strncmp(name, "_tcp.", 5)
        && strncmp(name, "_udp.", 5)) {
        size_t len = strcspn(++name, ".");
        if (!len || len >= sizeof srv->label || !name[len]) {
            return false;
        }
        memcpy(srv->label, name, len);
        srv->label[len] = '\0';
        name += len + 1;
    }
    srv->protocol = !strncmp(name, "_tcp.", 5)   ? IPPROTO_TCP
                    : !strncmp(name, "_udp.", 5) ? IPPROTO_UDP
                                                 : 0;
    srv->service = name + 5;
    return srv->protocol && srv->service[0];
}

/* The service, or what covers it. */
static const struct names_entry *
find(const struct exchange *x, const char *name)
{
    const struct names *names = x->zone->names;
    const struct names_entry *entry = names_by_name(names, name);
    struct service_prefix prefix;

    if (!entry && x->zone->lease && !service_prefix_from_name(name, &prefix)) {
        entry = names_covering(names, name, &prefix.id);
    }
    return entry;
}

/* Which of the ports are meant; how many. */
static size_t
choose(const struct srv_name *srv, const struct names_entry *entry,
       uint16_t ports[NAMES_MAX_PORTS])
{
    uint16_t wanted = port_of(srv->label);
    size_t n = 0;

    for (size_t i = 0; i < entry->n_ports; i++) {
        if (entry->ports[i].protocol == srv->protocol) {
            ports[n++] = entry->ports[i].port;
        }
    }
    for (size_t i = 0; wanted && i < n; i++) {
        if (ports[i] == wanted) {
            ports[0] = wanted;
            return 1;
        }
    }
    bool is_number = srv->label[0] && !srv->label[strspn(srv->label,
                                                         "0123456789")];
    return !srv->label[0] || (n == 1 && !is_number) ? n : 0;
}

static ldns_rr *
new_srv(const struct exchange *x, uint16_t port, const ldns_rdf *target)
{
    ldns_rr *rr = dns_new_rr(dns_owner_as_asked(x), LDNS_RR_TYPE_SRV,
                             x->zone->ttl);

    dns_set_rdf(rr, ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, 0), 0);
    dns_set_rdf(rr, ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, 0), 1);
    dns_set_rdf(rr, ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, port), 2);
    dns_set_rdf(rr, ldns_rdf_clone(target), 3);
    return rr;
}

bool
dns_answer_srv(struct exchange *x, const char *name)
{
    uint16_t ports[NAMES_MAX_PORTS];
    struct srv_name srv;

    if (!parse(name, &srv)) {
        return false;
    }
    const struct names_entry *entry = find(x, srv.service);
    size_t n = entry ? choose(&srv, entry, ports) : 0;
    if (!n) {
        return false;
    }
    char *text = xasprintf("%s.%s", srv.service, x->zone->suffix);
    ldns_rdf *target = dns_name(text);
    free(text);
    if (!target || !dns_asks_for(x, LDNS_RR_TYPE_SRV)) {
        ldns_rdf_deep_free(target);
        dns_deny(x, LDNS_RCODE_NOERROR, x->zone->suffix);
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        dns_put(x, new_srv(x, ports[i], target));
    }
    struct dns_addresses addresses;
    dns_addresses_of(x, srv.service, &addresses);
    dns_put_addresses(x, LDNS_SECTION_ADDITIONAL, target, &addresses);
    return true;
}
