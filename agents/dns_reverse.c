/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses to names: of services (the pool, the /48, leases) and of hosts.
 *
 * Nobody tells an agent the names of other hosts, but what connects to a
 * server is a host's identity address, and logs look it up.  It has a name
 * that says it, "100-64-0-7._host.sal" ("fd64-0-0-11-22-33-44-55._host.sal"),
 * which leads back to the address; no service can have that name. */
#include "agents/dns_private.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include "util.h"

#define REVERSE4 "in-addr.arpa"
#define REVERSE6 "ip6.arpa"
#define HOST_LABEL "_host"

/* What a reverse name says. */
struct reverse {
    bool v6;
    uint8_t bytes[16]; /* In network byte order, the rest 0. */
    unsigned int bits; /* So many are given. */
};

/* Octets, the last first. */
static bool
parse4(char *labels, struct reverse *r)
{
    uint8_t octets[4];
    size_t n = 0;

    for (char *save = NULL, *label = strtok_r(labels, ".", &save); label;
         label = strtok_r(NULL, ".", &save)) {
        unsigned int value;
        if (n == 4 || label[strspn(label, "0123456789")] || strlen(label) > 3
            || !str_to_uint(label, 10, &value) || value > 255) {
            return false;
        }
        octets[n++] = value;
    }
    for (size_t i = 0; i < n; i++) {
        r->bytes[i] = octets[n - 1 - i];
    }
    r->bits = 8 * n;
    return true;
}

/* Nibbles, the last first. */
static bool
parse6(char *labels, struct reverse *r)
{
    uint8_t nibbles[32];
    size_t n = 0;

    for (char *save = NULL, *label = strtok_r(labels, ".", &save); label;
         label = strtok_r(NULL, ".", &save)) {
        int value = label[1] ? -1 : hexit_value(label[0]);
        if (n == 32 || value < 0) {
            return false;
        }
        nibbles[n++] = value;
    }
    for (size_t i = 0; i < n; i++) {
        r->bytes[i / 2] |= nibbles[n - 1 - i] << (i % 2 ? 0 : 4);
    }
    r->bits = 4 * n;
    return true;
}

static bool
parse(const char *name, struct reverse *r)
{
    char rest[SERVICE_NAME_MAX + 1];

    memset(r, 0, sizeof *r);
    if (names_strip_suffix(name, REVERSE4, rest)) {
        return parse4(rest, r);
    }
    r->v6 = true;
    return names_strip_suffix(name, REVERSE6, rest) && parse6(rest, r);
}

static uint32_t
address4(const struct reverse *r)
{
    return (uint32_t) r->bytes[0] << 24 | r->bytes[1] << 16 | r->bytes[2] << 8
           | r->bytes[3];
}

static bool
in_pool(const struct reverse *r, uint32_t pool, uint8_t len)
{
    return !r->v6 && len && r->bits >= len
           && !((address4(r) ^ pool) & (UINT32_MAX << (32 - len)));
}

static bool
in_net(const struct reverse *r, const struct in6_addr *net)
{
    return r->v6 && r->bits >= 48 && !IN6_IS_ADDR_UNSPECIFIED(net)
           && !memcmp(r->bytes, net, 6);
}

/* The zone that a denial names: the first two octets, the usual cut
 * ("18.198.in-addr.arpa"), or the /48. */
static const char *
apex_of(const struct exchange *x, const struct reverse *r)
{
    const char *apex = x->name.s;
    unsigned int labels = r->v6 ? r->bits / 4 - 12
                          : r->bits > 16 ? r->bits / 8 - 2 : 0;

    while (labels--) {
        apex = strchr(apex, '.') + 1;
    }
    return apex;
}

static void
answer_ptr(struct exchange *x, const struct reverse *r, const char *name)
{
    char *text = xasprintf("%s.%s", name, x->zone->suffix);
    ldns_rdf *target
        = dns_asks_for(x, LDNS_RR_TYPE_PTR) ? dns_name(text) : NULL;

    free(text);
    if (target) {
        ldns_rr *rr = dns_new_rr(dns_owner_as_asked(x), LDNS_RR_TYPE_PTR,
                                 x->zone->ttl);
        dns_set_rdf(rr, target, 0);
        dns_put(x, rr);
    } else {
        dns_deny(x, LDNS_RCODE_NOERROR, apex_of(x, r));
    }
}

/* "100-64-0-7._host". */
static void
format_host(const struct reverse *r, char name[64])
{
    char text[INET6_ADDRSTRLEN];

    if (r->v6) {
        /* All of it: no "::", which is no label. */
        char *p = text;
        for (int i = 0; i < 16; i += 2) {
            p += sprintf(p, "%s%x", i ? "-" : "",
                         r->bytes[i] << 8 | r->bytes[i + 1]);
        }
    } else {
        sprintf(text, "%u-%u-%u-%u", r->bytes[0], r->bytes[1], r->bytes[2],
                r->bytes[3]);
    }
    snprintf(name, 64, "%s." HOST_LABEL, text);
}

static void
answer_service(struct exchange *x, const struct reverse *r)
{
    const struct names *names = x->zone->names;
    const struct names_entry *entry
        = (r->v6 ? names_by_v6(names, r->bytes + 6)
                 : names_by_address(names, address4(r)));
    const char *name = entry && entry->name[0] ? entry->name : NULL;

    if (!name && x->zone->leased) {
        struct in6_addr address = IN6ADDR_ANY_INIT;
        if (r->v6) {
            memcpy(&address, r->bytes, sizeof address);
        } else {
            address.s6_addr[10] = address.s6_addr[11] = 0xff;
            memcpy(&address.s6_addr[12], r->bytes, 4);
        }
        name = x->zone->leased(&address, x->zone->aux);
    }
    if (name) {
        answer_ptr(x, r, name);
    } else {
        dns_deny(x, entry ? LDNS_RCODE_NOERROR : LDNS_RCODE_NXDOMAIN,
                 apex_of(x, r));
    }
}

bool
dns_answer_reverse(struct exchange *x)
{
    const struct dns_zone *zone = x->zone;
    struct reverse r;

    if (!parse(x->name.s, &r)) {
        return false;
    }
    bool host = (in_pool(&r, zone->identity_pool, zone->identity_pool_len)
                 || in_net(&r, &zone->identity_net_v6));
    if (!host && !in_pool(&r, zone->pool, zone->pool_len)
        && !in_pool(&r, zone->lease_pool, zone->lease_pool_len)
        && !in_net(&r, &zone->net_v6)) {
        return false;
    }
    if (r.bits != (r.v6 ? 128 : 32)) {
        dns_deny(x, LDNS_RCODE_NOERROR, apex_of(x, &r)); /* RFC 8020. */
    } else if (host) {
        char name[64];
        format_host(&r, name);
        answer_ptr(x, &r, name);
    } else {
        answer_service(x, &r);
    }
    return true;
}

/* Reads 'label' as format_host() writes it; the forms that it does not write
 * are no names. */
static bool
parse_host(const char *label, struct reverse *r)
{
    unsigned int b[8];
    char name[64], tail;

    memset(r, 0, sizeof *r);
    if (sscanf(label, "%3u-%3u-%3u-%3u%c", &b[0], &b[1], &b[2], &b[3], &tail)
        == 4) {
        for (int i = 0; i < 4; i++) {
            r->bytes[i] = b[i];
        }
        r->bits = 32;
    } else if (sscanf(label, "%4x-%4x-%4x-%4x-%4x-%4x-%4x-%4x%c", &b[0], &b[1],
                      &b[2], &b[3], &b[4], &b[5], &b[6], &b[7], &tail) == 8) {
        for (int i = 0; i < 8; i++) {
            r->bytes[2 * i] = b[i] >> 8;
            r->bytes[2 * i + 1] = b[i];
        }
        r->v6 = true;
        r->bits = 128;
    } else {
        return false;
    }
    format_host(r, name);
    return strlen(name) > strlen(label)
           && !strncmp(name, label, strlen(label))
           && name[strlen(label)] == '.';
}

bool
dns_answer_host(struct exchange *x, const char *name)
{
    const struct dns_zone *zone = x->zone;
    struct dns_addresses addresses = {.v4 = 0};
    char label[SERVICE_NAME_MAX + 1];
    struct reverse r;

    if (!names_strip_suffix(name, HOST_LABEL, label)) {
        return false;
    }
    if (!label[0]) {
        dns_deny(x, LDNS_RCODE_NOERROR, zone->suffix);
        return true;
    }
    if (!parse_host(label, &r)
        || !(in_pool(&r, zone->identity_pool, zone->identity_pool_len)
             || in_net(&r, &zone->identity_net_v6))) {
        return false;
    }
    if (r.v6) {
        memcpy(&addresses.v6, r.bytes, sizeof addresses.v6);
    } else {
        addresses.v4 = address4(&r);
    }
    if (!dns_put_addresses(x, LDNS_SECTION_ANSWER, dns_owner_as_asked(x),
                           &addresses)) {
        dns_deny(x, LDNS_RCODE_NOERROR, zone->suffix);
    }
    return true;
}
