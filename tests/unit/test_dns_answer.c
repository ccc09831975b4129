/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include "tests/unit/dns_question.h"

static struct names names;
static struct dns_zone zone;

static void
setup(void)
{
    static const char *const all[] = {"web.shop.acme", "db.shop.acme",
                                      "none.acme"};
    names_init(&names);
    for (size_t i = 0; i < 3; i++) {
        struct service_prefix prefix;
        service_prefix_from_name(all[i], &prefix);
        names_put(&names, all[i], &prefix, i < 2 ? 0xc6120001 + i : 0);
    }
    zone = (struct dns_zone) {.names = &names,
                              .complete = true,
                              .suffix = "sal",
                              .ttl = 5,
                              .pool = 0xc6120000,
                              .pool_len = 15};
}

/* Answer to 'wire', parsed; NULL if it is not to be replied to. */
static ldns_pkt *
ask_wire(const uint8_t *wire, size_t len, enum dns_verdict *ret_verdict)
{
    uint8_t *reply;
    size_t reply_len;
    ldns_pkt *pkt;
    *ret_verdict = dns_answer(&zone, wire, len, 0, &reply, &reply_len);
    if (*ret_verdict != DNS_REPLY) {
        return NULL;
    }
    CU_ASSERT_EQUAL_FATAL(ldns_wire2pkt(&pkt, reply, reply_len),
                          LDNS_STATUS_OK);
    free(reply);
    CU_ASSERT_TRUE(ldns_pkt_qr(pkt));
    return pkt;
}

static ldns_pkt *
ask(const char *name, ldns_rr_type type)
{
    uint8_t wire[DNS_MESSAGE_MAX];
    enum dns_verdict verdict;
    size_t len = dns_question(name, type, wire);
    ldns_pkt *pkt = ask_wire(wire, len, &verdict);
    CU_ASSERT_PTR_NOT_NULL_FATAL(pkt);
    CU_ASSERT_EQUAL(ldns_pkt_id(pkt), 0x1234);
    CU_ASSERT_TRUE(ldns_pkt_rd(pkt));
    CU_ASSERT_EQUAL(ldns_pkt_qdcount(pkt), 1);
    return pkt;
}

/* The only answer record as text, "" if there is none. */
static char *
answer_text(const ldns_pkt *pkt)
{
    static char text[1024];
    text[0] = '\0';
    if (ldns_pkt_ancount(pkt)) {
        CU_ASSERT_EQUAL(ldns_pkt_ancount(pkt), 1);
        char *s = ldns_rr2str(ldns_rr_list_rr(ldns_pkt_answer(pkt), 0));
        snprintf(text, sizeof text, "%s", s);
        free(s);
    }
    return text;
}

static bool
has_soa(const ldns_pkt *pkt)
{
    return (ldns_pkt_nscount(pkt) == 1
            && ldns_rr_get_type(ldns_rr_list_rr(ldns_pkt_authority(pkt), 0))
                   == LDNS_RR_TYPE_SOA);
}

static void
test_address(void)
{
    ldns_pkt *pkt = ask("web.shop.acme.sal.", LDNS_RR_TYPE_A);
    CU_ASSERT_EQUAL(ldns_pkt_get_rcode(pkt), LDNS_RCODE_NOERROR);
    CU_ASSERT_TRUE(ldns_pkt_aa(pkt));
    CU_ASSERT_STRING_EQUAL(answer_text(pkt),
                           "web.shop.acme.sal.\t5\tIN\tA\t198.18.0.1\n");
    ldns_pkt_free(pkt);

    /* The spelling of the question stays. */
    pkt = ask("wEb.ShOp.AcMe.SaL.", LDNS_RR_TYPE_A);
    CU_ASSERT_STRING_EQUAL(answer_text(pkt),
                           "wEb.ShOp.AcMe.SaL.\t5\tIN\tA\t198.18.0.1\n");
    ldns_pkt_free(pkt);
}

static void
test_negative(void)
{
    static const struct {
        const char *name;
        ldns_rr_type type;
        ldns_pkt_rcode rcode;
    } cases[] = {
        {"web.shop.acme.sal.", LDNS_RR_TYPE_AAAA, LDNS_RCODE_NOERROR},
        {"web.shop.acme.sal.", LDNS_RR_TYPE_MX, LDNS_RCODE_NOERROR},
        {"none.acme.sal.", LDNS_RR_TYPE_A, LDNS_RCODE_NOERROR},
        {"shop.acme.sal.", LDNS_RR_TYPE_A, LDNS_RCODE_NOERROR},
        {"sal.", LDNS_RR_TYPE_A, LDNS_RCODE_NOERROR},
        {"nope.sal.", LDNS_RR_TYPE_A, LDNS_RCODE_NXDOMAIN},
        {"x.web.shop.acme.sal.", LDNS_RR_TYPE_A, LDNS_RCODE_NXDOMAIN},
        {"w\\046b.acme.sal.", LDNS_RR_TYPE_A, LDNS_RCODE_NXDOMAIN},
        {"web\\.shop.acme.sal.", LDNS_RR_TYPE_A, LDNS_RCODE_NXDOMAIN},
        {"9.0.18.198.in-addr.arpa.", LDNS_RR_TYPE_PTR, LDNS_RCODE_NXDOMAIN},
        {"1.0.18.198.in-addr.arpa.", LDNS_RR_TYPE_A, LDNS_RCODE_NOERROR},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ldns_pkt *pkt = ask(cases[i].name, cases[i].type);
        CU_ASSERT_EQUAL(ldns_pkt_get_rcode(pkt), cases[i].rcode);
        CU_ASSERT_EQUAL(ldns_pkt_ancount(pkt), 0);
        CU_ASSERT_TRUE(has_soa(pkt));
        ldns_pkt_free(pkt);
    }
}

static void
test_apex(void)
{
    ldns_pkt *pkt = ask("sal.", LDNS_RR_TYPE_SOA);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(answer_text(pkt), "SOA\tsal. nobody.invalid. "));
    ldns_pkt_free(pkt);
    pkt = ask("sal.", LDNS_RR_TYPE_NS);
    CU_ASSERT_STRING_EQUAL(answer_text(pkt), "sal.\t5\tIN\tNS\tsal.\n");
    ldns_pkt_free(pkt);
    pkt = ask("sal.", LDNS_RR_TYPE_AXFR);
    CU_ASSERT_EQUAL(ldns_pkt_get_rcode(pkt), LDNS_RCODE_REFUSED);
    ldns_pkt_free(pkt);
}

static void
test_reverse(void)
{
    ldns_pkt *pkt = ask("2.0.18.198.in-addr.arpa.", LDNS_RR_TYPE_PTR);
    CU_ASSERT_STRING_EQUAL(
        answer_text(pkt),
        "2.0.18.198.in-addr.arpa.\t5\tIN\tPTR\tdb.shop.acme.sal.\n");
    ldns_pkt_free(pkt);

    static const char *const others[] = {
        "1.0.20.198.in-addr.arpa.", "198.in-addr.arpa.",
        "1.1.0.18.198.in-addr.arpa.", "x.0.18.198.in-addr.arpa.",
        "256.0.18.198.in-addr.arpa.", "in-addr.arpa."};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        pkt = ask(others[i], LDNS_RR_TYPE_PTR);
        CU_ASSERT_EQUAL(ldns_pkt_get_rcode(pkt), LDNS_RCODE_REFUSED);
        ldns_pkt_free(pkt);
    }
}

static void
test_others(void)
{
    uint8_t wire[DNS_MESSAGE_MAX];
    enum dns_verdict verdict;
    size_t len = dns_question("www.example.com.", LDNS_RR_TYPE_A, wire);
    ldns_pkt *pkt = ask_wire(wire, len, &verdict);
    CU_ASSERT_EQUAL(ldns_pkt_get_rcode(pkt), LDNS_RCODE_REFUSED);
    CU_ASSERT_FALSE(ldns_pkt_ra(pkt));
    ldns_pkt_free(pkt);

    zone.forward = true;
    CU_ASSERT_PTR_NULL(ask_wire(wire, len, &verdict));
    CU_ASSERT_EQUAL(verdict, DNS_FORWARD);
    pkt = ask("nope.sal.", LDNS_RR_TYPE_A); /* Never leaves the host. */
    CU_ASSERT_EQUAL(ldns_pkt_get_rcode(pkt), LDNS_RCODE_NXDOMAIN);
    CU_ASSERT_TRUE(ldns_pkt_ra(pkt));
    ldns_pkt_free(pkt);
    zone.forward = false;
}

/* Before the controller has told all names, "no such name" would be a lie. */
static void
test_incomplete(void)
{
    zone.complete = false;
    ldns_pkt *pkt = ask("nope.sal.", LDNS_RR_TYPE_A);
    CU_ASSERT_EQUAL(ldns_pkt_get_rcode(pkt), LDNS_RCODE_SERVFAIL);
    ldns_pkt_free(pkt);
    pkt = ask("web.shop.acme.sal.", LDNS_RR_TYPE_A);
    CU_ASSERT_EQUAL(ldns_pkt_ancount(pkt), 1);
    ldns_pkt_free(pkt);
    zone.complete = true;
}

static uint32_t
lease(const char *name, const struct service_id *id, void *aux)
{
    uint32_t *address = aux;
    CU_ASSERT_STRING_EQUAL(name, "7.web.shop.acme");
    return *address;
}

static void
test_ipv6(void)
{
    uint32_t address = 0xf0000001;
    struct service_prefix prefix;
    struct in6_addr v6;
    char text[INET6_ADDRSTRLEN], want[200];
    inet_pton(AF_INET6, "fd5a::", &zone.net_v6);
    service_prefix_from_name("web.shop.acme", &prefix);
    service_address_v6(&prefix, zone.net_v6.s6_addr, v6.s6_addr);
    inet_ntop(AF_INET6, &v6, text, sizeof text);
    ldns_pkt *pkt = ask("web.shop.acme.sal.", LDNS_RR_TYPE_AAAA);
    snprintf(want, sizeof want, "web.shop.acme.sal.\t5\tIN\tAAAA\t%s\n",
             text);
    CU_ASSERT_STRING_EQUAL(answer_text(pkt), want);
    ldns_pkt_free(pkt);
    pkt = ask("web.shop.acme.sal.", LDNS_RR_TYPE_ANY);
    CU_ASSERT_EQUAL(ldns_pkt_ancount(pkt), 2);
    ldns_pkt_free(pkt);

    /* A service without IPv4 address has an IPv6 one. */
    pkt = ask("none.acme.sal.", LDNS_RR_TYPE_AAAA);
    CU_ASSERT_EQUAL(ldns_pkt_ancount(pkt), 1);
    ldns_pkt_free(pkt);
    pkt = ask("none.acme.sal.", LDNS_RR_TYPE_A);
    CU_ASSERT_TRUE(has_soa(pkt));
    ldns_pkt_free(pkt);

    /* Leased: that of all 256 bits. */
    zone.lease = lease;
    zone.aux = &address;
    service_prefix_from_name("7.web.shop.acme", &prefix);
    prefix.len = SAL_SERVICE_ID_BITS;
    service_address_v6(&prefix, zone.net_v6.s6_addr, v6.s6_addr);
    inet_ntop(AF_INET6, &v6, text, sizeof text);
    pkt = ask("7.web.shop.acme.sal.", LDNS_RR_TYPE_AAAA);
    snprintf(want, sizeof want, "7.web.shop.acme.sal.\t5\tIN\tAAAA\t%s\n",
             text);
    CU_ASSERT_STRING_EQUAL(answer_text(pkt), want);
    ldns_pkt_free(pkt);
    zone.lease = NULL;
    zone.net_v6 = in6addr_any;
}

/* Names below a service that is served. */
static void
test_lease(void)
{
    uint32_t address = 0xf0000001;
    zone.lease = lease;
    zone.aux = &address;
    ldns_pkt *pkt = ask("7.Web.shop.acme.sal.", LDNS_RR_TYPE_A);
    CU_ASSERT_STRING_EQUAL(answer_text(pkt),
                           "7.Web.shop.acme.sal.\t5\tIN\tA\t240.0.0.1\n");
    ldns_pkt_free(pkt);
    pkt = ask("7.web.shop.acme.sal.", LDNS_RR_TYPE_AAAA);
    CU_ASSERT_EQUAL(ldns_pkt_get_rcode(pkt), LDNS_RCODE_NOERROR);
    CU_ASSERT_TRUE(has_soa(pkt));
    ldns_pkt_free(pkt);
    /* shop.acme itself is nobody's. */
    pkt = ask("cart.shop.acme.sal.", LDNS_RR_TYPE_A);
    CU_ASSERT_EQUAL(ldns_pkt_get_rcode(pkt), LDNS_RCODE_NXDOMAIN);
    ldns_pkt_free(pkt);
    address = 0; /* None left: not our last word. */
    pkt = ask("7.web.shop.acme.sal.", LDNS_RR_TYPE_A);
    CU_ASSERT_EQUAL(ldns_pkt_get_rcode(pkt), LDNS_RCODE_SERVFAIL);
    ldns_pkt_free(pkt);
    zone.lease = NULL;
}

/* All answer records, one a line, the owner cut off. */
static const char *
answers(const char *name, ldns_rr_type type, ldns_pkt_rcode *ret_rcode)
{
    static char text[4096];
    ldns_pkt *pkt = ask(name, type);
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < ldns_pkt_ancount(pkt); i++) {
        char *s = ldns_rr2str(ldns_rr_list_rr(ldns_pkt_answer(pkt), i));
        len += snprintf(text + len, sizeof text - len, "%s",
                        strstr(s, "IN\t") + 3);
        free(s);
    }
    *ret_rcode = ldns_pkt_get_rcode(pkt);
    /* A denial says for how long. */
    CU_ASSERT_TRUE(len || has_soa(pkt)
                   || *ret_rcode == LDNS_RCODE_REFUSED);
    ldns_pkt_free(pkt);
    return text;
}

struct expected {
    const char *name;
    ldns_rr_type type;
    ldns_pkt_rcode rcode;
    const char *answers;
};

static void
expect_all(const struct expected all[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ldns_pkt_rcode rcode;
        const char *text = answers(all[i].name, all[i].type, &rcode);
        if (rcode != all[i].rcode || strcmp(text, all[i].answers)) {
            fprintf(stderr, "%s: rcode %d, %s", all[i].name, rcode, text);
        }
        CU_ASSERT_EQUAL(rcode, all[i].rcode);
        CU_ASSERT_STRING_EQUAL(text, all[i].answers);
    }
}

#define NOERROR LDNS_RCODE_NOERROR
#define NXDOMAIN LDNS_RCODE_NXDOMAIN
#define REFUSED LDNS_RCODE_REFUSED
#define SRV LDNS_RR_TYPE_SRV
#define PTR LDNS_RR_TYPE_PTR

static void
test_srv(void)
{
    static const struct expected all[] = {
        {"_http._tcp.web.shop.acme.sal.", SRV, NOERROR,
         "SRV\t0 0 80 web.shop.acme.sal.\n"},
        {"_HTTPS._TCP.Web.Shop.acme.sal.", SRV, NOERROR,
         "SRV\t0 0 443 web.shop.acme.sal.\n"},
        {"_443._tcp.web.shop.acme.sal.", SRV, NOERROR,
         "SRV\t0 0 443 web.shop.acme.sal.\n"},
        {"_tcp.web.shop.acme.sal.", SRV, NOERROR,
         "SRV\t0 0 80 web.shop.acme.sal.\n"
         "SRV\t0 0 443 web.shop.acme.sal.\n"},
        /* Two ports, and no telling which of them is that. */
        {"_redis._tcp.web.shop.acme.sal.", SRV, NXDOMAIN, ""},
        {"_shoe._tcp.web.shop.acme.sal.", SRV, NXDOMAIN, ""},
        {"_81._tcp.web.shop.acme.sal.", SRV, NXDOMAIN, ""},
        /* The only one is whatever is asked for, unless by number. */
        {"_h3._udp.web.shop.acme.sal.", SRV, NOERROR,
         "SRV\t0 0 8443 web.shop.acme.sal.\n"},
        {"_8443._udp.web.shop.acme.sal.", SRV, NOERROR,
         "SRV\t0 0 8443 web.shop.acme.sal.\n"},
        {"_53._udp.web.shop.acme.sal.", SRV, NXDOMAIN, ""},
        {"_http._tcp.web.shop.acme.sal.", LDNS_RR_TYPE_A, NOERROR, ""},
        {"_http._tcp.web.shop.acme.sal.", LDNS_RR_TYPE_TXT, NOERROR, ""},
        {"_tcp.db.shop.acme.sal.", SRV, NXDOMAIN, ""},
        {"_http._tcp.nobody.acme.sal.", SRV, NXDOMAIN, ""},
        {"_http._sctp.web.shop.acme.sal.", SRV, NXDOMAIN, ""},
        {"_tcp.sal.", SRV, NXDOMAIN, ""},
        {"_http._tcp.sal.", SRV, NXDOMAIN, ""},
        {"web.shop.acme.sal.", SRV, NOERROR, ""},
    };
    struct names_port ports[] = {{6, 443}, {17, 8443}, {6, 80}};
    struct service_prefix prefix;
    service_prefix_from_name("web.shop.acme", &prefix);
    CU_ASSERT_TRUE(names_set_ports(&names, &prefix, ports, 3));
    CU_ASSERT_FALSE(names_set_ports(&names, &prefix, ports, 3));
    expect_all(all, sizeof all / sizeof all[0]);

    /* With the target's address. */
    inet_pton(AF_INET6, "fd5a::", &zone.net_v6);
    ldns_pkt *pkt = ask("_http._tcp.web.shop.acme.sal.", SRV);
    CU_ASSERT_EQUAL(ldns_pkt_arcount(pkt), 2);
    ldns_pkt_free(pkt);
    zone.net_v6 = in6addr_any;

    /* Below a service: its ports, at an address of their own. */
    uint32_t address = 0xf0000001;
    zone.lease = lease;
    zone.aux = &address;
    static const struct expected below[] = {
        {"_http._tcp.7.web.shop.acme.sal.", SRV, NOERROR,
         "SRV\t0 0 80 7.web.shop.acme.sal.\n"}};
    expect_all(below, 1);
    zone.lease = NULL;
    CU_ASSERT_TRUE(names_set_ports(&names, &prefix, NULL, 0));
    expect_all(&all[4], 1);
}

static const char *
leased(const struct in6_addr *address, void *aux)
{
    struct in6_addr v4, v6;
    inet_pton(AF_INET6, "::ffff:240.0.0.1", &v4);
    inet_pton(AF_INET6, "fd5a::7", &v6);
    return (IN6_ARE_ADDR_EQUAL(address, &v4)
            || IN6_ARE_ADDR_EQUAL(address, &v6)) ? "7.web.shop.acme" : NULL;
}

static void
test_all_reverse(void)
{
    static const struct expected all[] = {
        {"1.0.18.198.in-addr.arpa.", PTR, NOERROR,
         "PTR\tweb.shop.acme.sal.\n"},
        {"1.0.18.198.in-addr.arpa.", LDNS_RR_TYPE_A, NOERROR, ""},
        {"9.0.18.198.in-addr.arpa.", PTR, NXDOMAIN, ""},
        {"0.18.198.in-addr.arpa.", PTR, NOERROR, ""},
        {"18.198.in-addr.arpa.", PTR, NOERROR, ""},
        {"198.in-addr.arpa.", PTR, REFUSED, ""},
        {"1.0.0.10.in-addr.arpa.", PTR, REFUSED, ""},
        {"x.0.18.198.in-addr.arpa.", PTR, REFUSED, ""},
        {"1.1.0.18.198.in-addr.arpa.", PTR, REFUSED, ""},
        {"1.0.0.240.in-addr.arpa.", PTR, NOERROR,
         "PTR\t7.web.shop.acme.sal.\n"},
        {"2.0.0.240.in-addr.arpa.", PTR, NXDOMAIN, ""},
        {"7.0.64.100.in-addr.arpa.", PTR, NOERROR,
         "PTR\t100-64-0-7._host.sal.\n"},
        {"100-64-0-7._host.sal.", LDNS_RR_TYPE_A, NOERROR,
         "A\t100.64.0.7\n"},
        {"100-64-0-7._host.sal.", LDNS_RR_TYPE_AAAA, NOERROR, ""},
        {"10-0-0-7._host.sal.", LDNS_RR_TYPE_A, NXDOMAIN, ""},
        {"100-64-0-07._host.sal.", LDNS_RR_TYPE_A, NXDOMAIN, ""},
        {"100-64-0-256._host.sal.", LDNS_RR_TYPE_A, NXDOMAIN, ""},
        {"x._host.sal.", LDNS_RR_TYPE_A, NXDOMAIN, ""},
        {"_host.sal.", LDNS_RR_TYPE_A, NOERROR, ""},
        {"5.5.0.0.4.4.0.0.3.3.0.0.2.2.0.0.1.1.0.0.0.0.0.0.0.0.0.0.4.6.d.f."
         "ip6.arpa.", PTR, NOERROR,
         "PTR\tfd64-0-0-11-22-33-44-55._host.sal.\n"},
        {"fd64-0-0-11-22-33-44-55._host.sal.", LDNS_RR_TYPE_AAAA, NOERROR,
         "AAAA\tfd64::11:22:33:44:55\n"},
        {"fd64-0-0-11-22-33-44-55._host.sal.", LDNS_RR_TYPE_A, NOERROR, ""},
        {"0.0.0.0.0.0.0.0.a.5.d.f.ip6.arpa.", PTR, NOERROR, ""},
        {"0.0.a.5.d.f.ip6.arpa.", PTR, REFUSED, ""},
        {"7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.a.5.d.f."
         "ip6.arpa.", PTR, NOERROR, "PTR\t7.web.shop.acme.sal.\n"},
        {"8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.a.5.d.f."
         "ip6.arpa.", PTR, NXDOMAIN, ""},
        {"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2."
         "ip6.arpa.", PTR, REFUSED, ""},
    };
    struct service_prefix prefix;
    struct in6_addr v6;
    char name[128], *p = name;
    ldns_pkt_rcode rcode;

    zone.identity_pool = 0x64400000;
    zone.identity_pool_len = 10;
    zone.lease_pool = 0xf0000000;
    zone.lease_pool_len = 20;
    zone.leased = leased;
    inet_pton(AF_INET6, "fd5a::", &zone.net_v6);
    inet_pton(AF_INET6, "fd64::", &zone.identity_net_v6);
    expect_all(all, sizeof all / sizeof all[0]);

    /* There and back. */
    service_prefix_from_name("db.shop.acme", &prefix);
    service_address_v6(&prefix, zone.net_v6.s6_addr, v6.s6_addr);
    for (int i = 15; i >= 0; i--) {
        p += sprintf(p, "%x.%x.", v6.s6_addr[i] & 15, v6.s6_addr[i] >> 4);
    }
    strcpy(p, "ip6.arpa.");
    CU_ASSERT_STRING_EQUAL(answers(name, PTR, &rcode),
                           "PTR\tdb.shop.acme.sal.\n");
    zone.leased = NULL;
    zone.identity_pool_len = zone.lease_pool_len = 0;
    zone.net_v6 = zone.identity_net_v6 = in6addr_any;
}

static void
test_edns(void)
{
    uint8_t wire[DNS_MESSAGE_MAX];
    enum dns_verdict verdict;
    /* OPT: root, type 41, size 4096, version as given, no options. */
    static const uint8_t opt[] = {0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0};
    size_t len = dns_question("web.shop.acme.sal.", LDNS_RR_TYPE_A, wire);
    memcpy(wire + len, opt, sizeof opt);
    wire[11] = 1; /* ARCOUNT */
    len += sizeof opt;
    ldns_pkt *pkt = ask_wire(wire, len, &verdict);
    CU_ASSERT_TRUE(ldns_pkt_edns(pkt));
    CU_ASSERT_EQUAL(ldns_pkt_edns_udp_size(pkt), DNS_UDP_SIZE);
    CU_ASSERT_EQUAL(ldns_pkt_ancount(pkt), 1);
    ldns_pkt_free(pkt);

    wire[len - 5] = 7; /* Version. */
    pkt = ask_wire(wire, len, &verdict);
    CU_ASSERT_EQUAL(ldns_pkt_edns_extended_rcode(pkt), 1);
    CU_ASSERT_EQUAL(ldns_pkt_ancount(pkt), 0);
    ldns_pkt_free(pkt);
}

static void
test_malformed(void)
{
    uint8_t wire[DNS_MESSAGE_MAX] = {0};
    enum dns_verdict verdict;
    size_t len = dns_question("web.shop.acme.sal.", LDNS_RR_TYPE_A, wire);

    for (size_t cut = 0; cut < len; cut++) {
        ldns_pkt *pkt = ask_wire(wire, cut, &verdict);
        if (cut < DNS_HEADER_LEN) {
            CU_ASSERT_EQUAL(verdict, DNS_IGNORE);
        } else {
            CU_ASSERT_EQUAL(ldns_pkt_get_rcode(pkt), LDNS_RCODE_FORMERR);
            CU_ASSERT_EQUAL(ldns_pkt_id(pkt), 0x1234);
        }
        ldns_pkt_free(pkt);
    }

    wire[2] |= 0x80; /* A reply is not answered: no loops. */
    CU_ASSERT_PTR_NULL(ask_wire(wire, len, &verdict));
    CU_ASSERT_EQUAL(verdict, DNS_IGNORE);
    wire[2] = 4 << 3; /* Opcode NOTIFY. */
    ldns_pkt *pkt = ask_wire(wire, len, &verdict);
    CU_ASSERT_EQUAL(ldns_pkt_get_rcode(pkt), LDNS_RCODE_NOTIMPL);
    ldns_pkt_free(pkt);

    /* A question whose name points at itself. */
    static const uint8_t loop[] = {0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
                                   0xc0, 12, 0, 1, 0, 1};
    pkt = ask_wire(loop, sizeof loop, &verdict);
    CU_ASSERT_EQUAL(ldns_pkt_get_rcode(pkt), LDNS_RCODE_FORMERR);
    ldns_pkt_free(pkt);
}

/* Damaged queries: whatever comes out parses. */
static void
test_random(void)
{
    static const char *const asked[] = {
        "web.shop.acme.sal.", "2.0.18.198.in-addr.arpa.", "sal.", "x.com."};
    uint8_t wire[DNS_MESSAGE_MAX];
    for (int i = 0; i < 20000; i++) {
        enum dns_verdict verdict;
        size_t len = dns_question(asked[unit_random_below(4)],
                                  unit_random_below(260), wire);
        for (uint32_t n = unit_random_below(6); n; n--) {
            wire[unit_random_below(len)] = unit_random();
        }
        len = unit_random_below(4) ? len : unit_random_below(len + 1);
        ldns_pkt *pkt = ask_wire(wire, len, &verdict);
        CU_ASSERT_EQUAL(pkt != NULL, verdict == DNS_REPLY);
        ldns_pkt_free(pkt);
    }
}

/* A name at the limit of 255 octets. */
static void
test_long_name(void)
{
    char name[SERVICE_NAME_MAX + 8];
    struct service_prefix prefix;
    for (size_t i = 0; i < 249; i++) {
        name[i] = i % 2 ? '.' : 'x';
    }
    name[249] = '\0';
    CU_ASSERT_EQUAL_FATAL(service_prefix_from_name(name, &prefix), 0);
    names_put(&names, name, &prefix, 0xc6120077);
    strcpy(name + 249, ".sal.");
    ldns_pkt *pkt = ask(name, LDNS_RR_TYPE_A);
    CU_ASSERT_EQUAL(ldns_pkt_ancount(pkt), 1);
    ldns_pkt_free(pkt);
    pkt = ask("119.0.18.198.in-addr.arpa.", LDNS_RR_TYPE_PTR);
    CU_ASSERT_EQUAL(ldns_pkt_ancount(pkt), 1);
    ldns_pkt_free(pkt);
    names_destroy(&names);
}

UNIT_MAIN("dns_answer", UNIT_TEST(setup), UNIT_TEST(test_address),
          UNIT_TEST(test_negative), UNIT_TEST(test_apex),
          UNIT_TEST(test_reverse), UNIT_TEST(test_others),
          UNIT_TEST(test_incomplete), UNIT_TEST(test_ipv6),
          UNIT_TEST(test_lease), UNIT_TEST(test_srv),
          UNIT_TEST(test_all_reverse), UNIT_TEST(test_edns),
          UNIT_TEST(test_malformed), UNIT_TEST(test_random),
          UNIT_TEST(test_long_name))
