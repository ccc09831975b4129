/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "agents/agent_config.h"

#define MINIMAL "name: h1\ncontroller: tcp:10.0.0.1:6091\nuplinks: [eth0]\n"

static struct agent_config *
parse(const char *text)
{
    struct agent_config *config = NULL;
    char *error = NULL;
    if (agent_config_parse("agent.yaml", text, strlen(text), &config,
                           &error)) {
        fprintf(stderr, "%s\n", error);
        free(error);
        CU_FAIL_FATAL("refused");
    }
    return config;
}

static void
test_defaults(void)
{
    struct agent_config *config = parse(MINIMAL);
    CU_ASSERT_STRING_EQUAL(config->name, "h1");
    CU_ASSERT_EQUAL(config->n_controllers, 1);
    CU_ASSERT_STRING_EQUAL(config->controllers[0], "tcp:10.0.0.1:6091");
    CU_ASSERT_EQUAL(config->n_uplinks, 1);
    CU_ASSERT_STRING_EQUAL(config->uplinks[0], "eth0");
    CU_ASSERT_STRING_EQUAL(config->device, "sal0");
    CU_ASSERT_STRING_EQUAL(config->key_file, "/var/lib/salient/sald.key");
    CU_ASSERT_STRING_EQUAL(config->control_socket, AGENT_CONTROL_SOCKET);
    CU_ASSERT_TRUE(config->dns.enabled);
    CU_ASSERT_EQUAL(config->dns.listen.address, 0x7f000037);
    CU_ASSERT_EQUAL(config->dns.listen.port, 53);
    CU_ASSERT_STRING_EQUAL(config->dns.suffix, "sal");
    CU_ASSERT_EQUAL(config->dns.n_upstreams, 0);
    CU_ASSERT_FALSE(config->keep_on_stop);
    CU_ASSERT_TRUE(config->check_identity);
    CU_ASSERT_EQUAL(config->services.n, 0);
    agent_config_destroy(config);
}

static void
test_all_keys(void)
{
    struct agent_config *config = parse(
        "name: h1\n"
        "controllers: [tls:10.0.0.1:6091, unix:/run/c.sock]\n"
        "tls: {certificate: /c, private_key: /k, ca: /a}\n"
        "state_dir: /s\n"
        "key_file: /s/key\n"
        "control_socket: /s/sock\n"
        "uplinks:\n"
        "  - eth0\n"
        "  - {name: eth1, priority: 1, weight: 3, behind_nat: true}\n"
        "balance_interval: 5s\n"
        "migration:\n"
        "  enabled: false\n"
        "  hysteresis: 250ms\n"
        "  probe_interval: 0s\n"
        "  accept_old: 2s\n"
        "prefer_ipv6: true\n"
        "check_identity: false\n"
        "device: sal9\n"
        "pin_path: /sys/fs/bpf/x\n"
        "max_flows: 4096\n"
        "limits: {flows_per_client: 7, flows_per_service: 8}\n"
        "key_rotation: 2s\n"
        "udp_idle: 4s\n"
        "keep_on_stop: true\n"
        "stop_timeout: 1s\n"
        "dns:\n"
        "  enabled: true\n"
        "  listen: 127.0.0.9:5353\n"
        "  suffix: svc.example\n"
        "  ttl: 1s\n"
        "  upstream: [10.9.9.9, 10.9.9.8:5300]\n"
        "services:\n"
        "  - name: web.shop.acme\n"
        "    port: 80\n"
        "  - {name: web.shop.acme, port: 443, target: 8443, weight: 0}\n"
        "  - name: dns.acme\n"
        "    protocol: udp\n"
        "    port: 53\n"
        "    target: 127.0.0.1:5300\n"
        "    weight: 65535\n");
    CU_ASSERT_EQUAL(config->n_controllers, 2);
    CU_ASSERT_STRING_EQUAL(config->tls_ca, "/a");
    CU_ASSERT_EQUAL(config->n_uplinks, 2);
    CU_ASSERT_STRING_EQUAL(config->uplinks[1], "eth1");
    const struct agent_uplink_config *options = config->uplink_options;
    CU_ASSERT(options[0].priority == 1 && options[0].weight == 1
              && !options[0].behind_nat);
    CU_ASSERT(options[1].priority == 1 && options[1].weight == 3
              && options[1].behind_nat);
    CU_ASSERT_EQUAL(config->balance_interval_ms, 5000);
    CU_ASSERT_FALSE(config->migration.enabled);
    CU_ASSERT_EQUAL(config->migration.hysteresis_ms, 250);
    CU_ASSERT_EQUAL(config->migration.probe_ms, 0);
    CU_ASSERT_EQUAL(config->migration.late_ms, 2000);
    CU_ASSERT_EQUAL(config->max_flows, 4096);
    CU_ASSERT_TRUE(config->prefer_ipv6);
    CU_ASSERT_FALSE(config->check_identity);
    CU_ASSERT_EQUAL(config->max_flows_per_client, 7);
    CU_ASSERT_EQUAL(config->max_flows_per_service, 8);
    CU_ASSERT_EQUAL(config->key_rotation_ms, 2000);
    CU_ASSERT_EQUAL(config->udp_idle_ms, 4000);
    CU_ASSERT_TRUE(config->keep_on_stop);
    CU_ASSERT_EQUAL(config->stop_timeout_ms, 1000);
    CU_ASSERT_EQUAL(config->dns.listen.port, 5353);
    CU_ASSERT_STRING_EQUAL(config->dns.suffix, "svc.example");
    CU_ASSERT_EQUAL(config->dns.ttl, 1);
    CU_ASSERT_EQUAL(config->dns.n_upstreams, 2);
    CU_ASSERT_EQUAL(config->dns.upstreams[0].port, 53);
    CU_ASSERT_EQUAL(config->dns.upstreams[1].port, 5300);
    CU_ASSERT_EQUAL(config->services.n, 3);

    struct local_service key = {.protocol = 17, .service_port = 53};
    service_prefix_from_name("dns.acme", &key.prefix);
    const struct local_service *dns
        = local_services_find(&config->services, &key);
    CU_ASSERT_PTR_NOT_NULL_FATAL(dns);
    CU_ASSERT_EQUAL(dns->target_address, 0x7f000001);
    CU_ASSERT_EQUAL(dns->target_port, 5300);
    CU_ASSERT_EQUAL(dns->weight, 65535);
    key.protocol = 6;
    key.service_port = 443;
    service_prefix_from_name("web.shop.acme", &key.prefix);
    const struct local_service *tls
        = local_services_find(&config->services, &key);
    CU_ASSERT_PTR_NOT_NULL_FATAL(tls);
    CU_ASSERT_EQUAL(tls->target_address, 0);
    CU_ASSERT_EQUAL(tls->target_port, 8443);
    CU_ASSERT_EQUAL(tls->weight, 0);
    agent_config_destroy(config);
}

/* Every message names file, line, key and remedy. */
static void
test_errors(void)
{
    static const struct {
        const char *text;
        const char *says[3]; /* What the message must contain. */
    } cases[] = {
        {"controller: tcp:1.2.3.4:1\nuplinks: [e]\n", {"name"}},
        {"name: ''\ncontroller: tcp:1.2.3.4:1\nuplinks: [e]\n", {"name"}},
        {"name: a\nuplinks: [e]\n", {"controller"}},
        {"name: a\ncontroller: 10.0.0.1\nuplinks: [e]\n",
         {"agent.yaml:2: controller: ", "10.0.0.1", "tcp:"}},
        {"name: a\ncontrollers:\n  - tcp:h:1\n  - udp:h:1\nuplinks: [e]\n",
         {"agent.yaml:4: controllers[1]: ", "udp:h:1"}},
        {"name: a\ncontroller: tls:h:1\nuplinks: [e]\n",
         {"tls", "certificate"}},
        {"name: a\ncontroller: tcp:h:1\n", {"uplinks"}},
        {"name: a\ncontroller: tcp:h:1\nuplinks: []\n", {"uplinks"}},
        {"name: a\ncontroller: tcp:h:1\nuplinks: [{weight: 1}]\n",
         {"agent.yaml:3", "name"}},
        {"name: a\ncontroller: tcp:h:1\nuplinks: [{name: e, weight: -1}]\n",
         {"agent.yaml:3", "weight"}},
        {"name: a\ncontroller: tcp:h:1\nuplinks: [{name: e, wait: 1}]\n",
         {"agent.yaml:3", "wait"}},
        {"name: a\ncontroller: tcp:h:1\nuplinks: [a/b]\n", {"uplinks", "a/b"}},
        {MINIMAL "device: averyverylongname\n", {"device"}},
        {MINIMAL "max_flows: 5\n", {"max_flows", "5"}},
        {MINIMAL "uplink: eth0\n", {"agent.yaml:4", "uplink"}},
        {MINIMAL "dns: {suffix: .sal}\n", {"suffix"}},
        {MINIMAL "dns: {listen: localhost}\n", {"listen", "localhost"}},
        {MINIMAL "dns: {listen: 53}\n", {"listen"}},
        {MINIMAL "dns: {upstream: [a]}\n", {"upstream"}},
        {MINIMAL "dns: {upstream: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4]}\n",
         {"upstream"}},
        {MINIMAL "services:\n  - port: 80\n", {"agent.yaml:5", "name"}},
        {MINIMAL "services:\n  - name: A.b\n    port: 80\n",
         {"A.b", "lower case"}},
        {MINIMAL "services:\n  - name: a.b\n", {"agent.yaml:5", "port"}},
        {MINIMAL "services:\n  - name: a.b\n    port: 70000\n",
         {"agent.yaml:6", "70000", "65535"}},
        {MINIMAL "services:\n  - {name: a.b, port: 80, protocol: sctp}\n",
         {"sctp", "tcp or udp"}},
        {MINIMAL "services:\n  - {name: a.b, port: 80, target: 'x:y'}\n",
         {"target", "x:y"}},
        {MINIMAL "services:\n  - {name: a.b, port: 80, weight: -1}\n",
         {"weight", "-1"}},
        {MINIMAL "services:\n  - {name: a.b, port: 80}\n"
                 "  - {name: a.b, port: 80}\n", {"agent.yaml:6", "twice"}},
        {MINIMAL "services: web\n", {"services"}},
        {"- a\n", {"agent.yaml:1"}},
        {"name: [\n", {"agent.yaml:"}},
        {"", {"agent.yaml"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct agent_config *config = NULL;
        char *error = NULL;
        CU_ASSERT_TRUE(agent_config_parse("agent.yaml", cases[i].text,
                                          strlen(cases[i].text), &config,
                                          &error) < 0);
        CU_ASSERT_PTR_NULL(config);
        CU_ASSERT_PTR_NOT_NULL_FATAL(error);
        CU_ASSERT_EQUAL(strncmp(error, "agent.yaml", 10), 0);
        for (size_t j = 0; j < 3 && cases[i].says[j]; j++) {
            if (!strstr(error, cases[i].says[j])) {
                fprintf(stderr, "case %zu: \"%s\" lacks \"%s\"\n", i, error,
                        cases[i].says[j]);
                CU_FAIL("message");
            }
        }
        free(error);
    }
}

static void
test_needs_restart(void)
{
    struct agent_config *a = parse(MINIMAL);
    struct agent_config *b
        = parse(MINIMAL "services: [{name: a.b, port: 80}]\n"
                        "keep_on_stop: true\n");
    struct agent_config *c = parse(MINIMAL "dns: {suffix: other}\n");
    struct agent_config *d
        = parse("name: h1\ncontroller: tcp:10.0.0.2:6091\nuplinks: [eth0]\n");
    CU_ASSERT_PTR_NULL(agent_config_needs_restart(a, a));
    CU_ASSERT_PTR_NULL(agent_config_needs_restart(a, b));
    CU_ASSERT_STRING_EQUAL(agent_config_needs_restart(a, c), "dns");
    CU_ASSERT_STRING_EQUAL(agent_config_needs_restart(a, d), "controllers");
    agent_config_destroy(a);
    agent_config_destroy(b);
    agent_config_destroy(c);
    agent_config_destroy(d);
}

UNIT_MAIN("agent_config", UNIT_TEST(test_defaults), UNIT_TEST(test_all_keys),
          UNIT_TEST(test_errors), UNIT_TEST(test_needs_restart))
