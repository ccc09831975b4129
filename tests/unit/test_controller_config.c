/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's configuration: defaults, every key, and sentences about
 * what is wrong. */
#include "tests/unit/unit.h"

#include "controller/addresses.h"
#include "controller/controller_config.h"

static struct controller_config *
good(const char *text)
{
    struct controller_config *config = NULL;
    char *error = NULL;

    CU_ASSERT_EQUAL(controller_config_parse("c.yaml", text, strlen(text),
                                            &config, &error), 0);
    if (error) {
        printf("%s\n", error);
    }
    free(error);
    return config;
}

static void
bad(const char *text, const char *says)
{
    struct controller_config *config;
    char *error = NULL;

    CU_ASSERT_FATAL(controller_config_parse("c.yaml", text, strlen(text),
                                            &config, &error) < 0);
    if (!strstr(error, says)) {
        printf("\n'%s' does not say '%s'\n", error, says);
    }
    CU_ASSERT(strstr(error, says) != NULL);
    CU_ASSERT(!strncmp(error, "c.yaml:", 7));
    free(error);
}

static void
test_defaults(void)
{
    struct controller_config *config = good("{}");

    CU_ASSERT_FATAL(config != NULL);
    CU_ASSERT_EQUAL(config->openflow.n, 1);
    CU_ASSERT_STRING_EQUAL(config->openflow.addresses[0],
                           "tcp:127.0.0.1:6653");
    CU_ASSERT_EQUAL(config->api.n, 1);
    CU_ASSERT_EQUAL(config->agents.identity_network,
                    ADDRESS_IDENTITY_NETWORK);
    CU_ASSERT_EQUAL(config->agents.resolver_v4, config->rules.resolver_v4);
    CU_ASSERT_EQUAL(config->agents.sal_port, SAL_UDP_PORT);
    CU_ASSERT_EQUAL(config->n_services, 0);
    CU_ASSERT(!config->api.ca && !config->openflow.ca);
    controller_config_destroy(config);
}

/* The commented file says the defaults. */
static void
test_example_is_the_default(void)
{
    struct controller_config *a = good("{}"), *b = NULL;
    char *error = NULL;

    CU_ASSERT_EQUAL_FATAL(controller_config_load("controller/controller.yaml",
                                                 &b, &error), 0);
    CU_ASSERT_STRING_EQUAL(a->openflow.addresses[0],
                           b->openflow.addresses[0]);
    CU_ASSERT_STRING_EQUAL(a->api.addresses[0], b->api.addresses[0]);
    CU_ASSERT_STRING_EQUAL(a->control, b->control);
    CU_ASSERT(!memcmp(&a->session, &b->session, sizeof a->session));
    CU_ASSERT(!memcmp(&a->agents, &b->agents, sizeof a->agents));
    CU_ASSERT(!memcmp(&a->rules, &b->rules, sizeof a->rules));
    CU_ASSERT(!memcmp(&a->routes, &b->routes, sizeof a->routes));
    CU_ASSERT_EQUAL(a->confirm_timeout_ms, b->confirm_timeout_ms);
    CU_ASSERT_EQUAL(a->forget_switch_ms, b->forget_switch_ms);
    CU_ASSERT_EQUAL(a->hold_ms, b->hold_ms);
    CU_ASSERT_EQUAL(a->flap_hold_ms, b->flap_hold_ms);
    CU_ASSERT_EQUAL(a->link_probe_interval_ms, b->link_probe_interval_ms);
    CU_ASSERT_EQUAL(a->link_timeout_ms, b->link_timeout_ms);
    CU_ASSERT_EQUAL(a->host_timeout_ms, b->host_timeout_ms);
    CU_ASSERT_EQUAL(a->reset_pps, b->reset_pps);
    controller_config_destroy(a);
    controller_config_destroy(b);
}

static void
test_values(void)
{
    struct controller_config *config = good(
        "openflow:\n"
        "  listen: ['tcp:[::1]:7000', 'tls:[::]:7001']\n"
        "  tls: {certificate: d, private_key: e, ca: f}\n"
        "  echo_interval: 250ms\n"
        "api:\n"
        "  listen: [tcp:10.0.0.1:1, unix:/run/x.sock]\n"
        "  lease: 1m\n"
        "  tls: {certificate: a, private_key: b, ca: c}\n"
        "identity_pool: 10.128.0.0/9\n"
        "resolver: 10.9.9.9\n"
        "resolver_v6: '2001:db8::5'\n"
        "identity_prefix_v6: none\n"
        "service_prefix_v6: none\n"
        "sal_port: 7777\n"
        "policy: nearest\n"
        "hold_time: 0s\n"
        "limits: {registrations: 5, reset_pps: 7}\n"
        "links: [{switch: 'ab', port: 3, cost: 7}]\n"
        "path_classes:\n"
        "  - {name: fast, number: 2, kind: lowest-latency}\n"
        "  - {name: clean, number: 4, kind: avoid, switches: ['3'],\n"
        "     links: [{switch: '1', port: 2}]}\n"
        "services:\n"
        "  - {name: db, path_class: clean}\n"
        "  - web.shop.acme\n"
        "  - {name: acme, policy: local-first, datagram: true}\n");

    CU_ASSERT_FATAL(config != NULL);
    CU_ASSERT_EQUAL(config->openflow.n, 2);
    CU_ASSERT_STRING_EQUAL(config->openflow.addresses[0], "tcp:[::1]:7000");
    CU_ASSERT_STRING_EQUAL(config->openflow.addresses[1], "tls:[::]:7001");
    CU_ASSERT_STRING_EQUAL(config->openflow.certificate, "d");
    CU_ASSERT_EQUAL(config->session.echo_interval_ms, 250);
    CU_ASSERT_EQUAL(config->api.n, 2);
    CU_ASSERT_STRING_EQUAL(config->api.addresses[1], "unix:/run/x.sock");
    CU_ASSERT_EQUAL(config->agents.lease_ms, 60000);
    CU_ASSERT_STRING_EQUAL(config->api.private_key, "b");
    CU_ASSERT_EQUAL(config->agents.identity_len, 9);
    CU_ASSERT_EQUAL(config->agents.resolver_v4, 0x0a090909);
    CU_ASSERT_EQUAL(config->rules.resolver_v4, 0x0a090909);
    CU_ASSERT_EQUAL(config->rules.resolver_v6.s6_addr[15], 5);
    CU_ASSERT_EQUAL(config->agents.resolver_v6.s6_addr[15], 5);
    CU_ASSERT(IN6_IS_ADDR_UNSPECIFIED(&config->agents.identity_prefix_v6));
    CU_ASSERT_EQUAL(config->rules.sal_port, 7777);
    CU_ASSERT_EQUAL(config->routes.policy, ROUTE_NEAREST);
    CU_ASSERT_EQUAL(config->hold_ms, 0);
    CU_ASSERT_EQUAL(config->agents.max_instances, 5);
    CU_ASSERT_EQUAL(config->reset_pps, 7);
    CU_ASSERT_EQUAL_FATAL(config->n_services, 3);
    CU_ASSERT_EQUAL(config->services[0].definition.path_class, 4);
    CU_ASSERT_EQUAL(config->costs[0].from.dpid, 0xab);
    CU_ASSERT_EQUAL(config->costs[0].cost, 7);
    CU_ASSERT(config->classes.latency);
    CU_ASSERT_EQUAL(config->classes.n, 2);
    CU_ASSERT_EQUAL(config->classes.classes[4].switches[0], 3);
    CU_ASSERT_EQUAL(config->classes.classes[4].links[0].port, 2);
    CU_ASSERT_STRING_EQUAL(config->services[1].name, "web.shop.acme");
    CU_ASSERT_EQUAL(config->services[1].definition.policy, ROUTE_DEFAULT);
    CU_ASSERT_STRING_EQUAL(config->services[2].name, "acme");
    CU_ASSERT_EQUAL(config->services[2].definition.policy,
                    ROUTE_LOCAL_FIRST);
    CU_ASSERT(config->services[2].definition.datagram);
    controller_config_destroy(config);
}

static void
test_what_is_wrong(void)
{
    bad("openflow:\n  listn: x\n", "c.yaml:2: openflow.listn");
    bad("openflow: {listen: ['tcp:1.2.3.4']}\n", "port");
    bad("openflow: {listen: ['unix:/x']}\n", "TCP or TLS only");
    bad("openflow: {listen: ['tls:1.2.3.4:5']}\n", "section 'tls'");
    bad("openflow: {listen: []}\n", "one to eight");
    bad("api: {listen: []}\n", "one to eight");
    bad("api: {listen: ['udp:1:2']}\n", "udp:1:2");
    bad("api: {lease: 1s}\n", "longer than keepalive_interval");
    bad("api: {tls: {certificate: a}}\n", "private_key");
    bad("identity_pool: 100.64.0.0/31\n", "identity_pool");
    bad("identity_pool: 100.64.0.1/10\n", "identity_pool");
    bad("identity_pool: 198.18.0.0/15\n", "overlaps identity_pool");
    bad("identity_pool: 198.0.0.0/8\n", "overlaps identity_pool");
    bad("service_pool: 100.100.0.0/16\n", "overlaps identity_pool");
    bad("resolver: 10.0.0\n", "resolver");
    bad("resolver_v6: 10.0.0.1\n", "no IPv6 address");
    bad("identity_prefix_v6: '2001:db8::1'\n", "bits set past 48");
    bad("identity_prefix_v6: none\n", "give both");
    bad("identity_prefix_v6: 'fd53:414c:2::'\n", "overlap");
    bad("sal_port: 0\n", "sal_port");
    bad("link_timeout: 5s\n", "three times link_probe_interval");
    bad("host_timeout: 60s\n", "host_probe_interval");
    bad("policy: best\n", "write spread, nearest");
    bad("services: [Web]\n", "'Web' is no service name");
    bad("services: [{policy: spread}]\n", "\"name\" is missing");
    bad("services: [{name: a, path_class: x}]\n", "no path class 'x'");
    bad("path_classes: [{name: a, kind: avoid}]\n", "avoids nothing");
    bad("path_classes: [{name: a, kind: x}]\n", "no kind 'x'");
    bad("path_classes: [{name: a, kind: waypoint, waypoint: s1}]\n",
        "'s1' is no datapath ID");
    bad("path_classes: [{name: a, kind: lowest-latency},\n"
        "               {name: b, kind: lowest-latency}]\n",
        "another class has this number");
    bad("links: [{switch: '1', cost: 2}]\n", "port");
    bad("services: [{name: a, policy: x}]\n", "there is no policy 'x'");
    bad("services: [{name: a, wieght: 1}]\n", "wieght");
    bad("services: web\n", "services");
    bad("limits: {reset_pps: x}\n", "reset_pps");
    bad("a: b\n", "known here: openflow");
}

UNIT_MAIN("controller_config",
          UNIT_TEST(test_defaults),
          UNIT_TEST(test_example_is_the_default),
          UNIT_TEST(test_values),
          UNIT_TEST(test_what_is_wrong))
