/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/controller_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "controller/addresses.h"
#include "controller/put_order.h"
#include "ofp-ext/service_id.h"
#include "proto/daemon/config_file.h"
#include "proto/endpoint.h"
#include "socket-util.h"
#include "util.h"

#define DAY_MS (24LL * 3600 * 1000)
#define PPS_MAX 1000000
/* An agent that the network sees sends a PROBE only every so many intervals
 * (agents/probe.h), to refresh. */
#define PROBE_REFRESH_FACTOR 16

static void
replace(char **s, const char *value)
{
    char *copy = xstrdup(value); /* 'value' may be what '*s' is. */

    free(*s);
    *s = copy;
}

static void
clear_listen(struct listen_config *listen)
{
    for (size_t i = 0; i < listen->n; i++) {
        free(listen->addresses[i]);
    }
    listen->n = 0;
}

static void
destroy_listen(struct listen_config *listen)
{
    clear_listen(listen);
    free(listen->certificate);
    free(listen->private_key);
    free(listen->ca);
}

static void
add_listen(struct listen_config *listen, const char *address)
{
    listen->addresses[listen->n++] = xstrdup(address);
}

static struct controller_config *
defaults(void)
{
    struct controller_config *config = xzalloc(sizeof *config);

    add_listen(&config->openflow, "tcp:127.0.0.1:6653"); /* IANA: openflow. */
    config->session = switch_session_defaults;
    config->order_timeout_ms = PUT_ORDER_PATIENCE_MS;
    config->confirm_timeout_ms = 30000;
    config->forget_switch_ms = 60000;
    add_listen(&config->api, "tcp:127.0.0.1:6654");
    config->agents = (struct agent_session_config) {
        .identity_network = ADDRESS_IDENTITY_NETWORK,
        .identity_len = ADDRESS_IDENTITY_LEN,
        .service_network = ADDRESS_SERVICE_NETWORK,
        .service_len = ADDRESS_SERVICE_LEN,
        .identity_prefix_v6 = ADDRESS_IDENTITY_PREFIX_V6,
        .service_prefix_v6 = ADDRESS_SERVICE_PREFIX_V6,
        .keepalive_interval_ms = 5000,
        .lease_ms = 16000,
        .probe_interval_ms = 2000,
        .handshake_timeout_ms = 10000,
        .wait_timeout_ms = 10000,
        .max_instances = 100000,
        .max_agents = 16384,
    };
    config->control = xstrdup("/run/salient/controller.sock");
    config->flap_hold_ms = 3000;
    config->hold_ms = 10000; /* Open vSwitch backs off for at most 8 s. */
    config->link_probe_interval_ms = 5000;
    config->link_timeout_ms = 16000;
    config->host_timeout_ms = 100000;
    config->reset_pps = 1000;
    config->plain_timeout_ms = 300000;
    config->plain_max = 10000;
    config->usage_interval_ms = 10000;
    config->n_events = 1024;
    config->rules = (struct rules_config) RULES_CONFIG_DEFAULT;
    config->routes = (struct routes_config) ROUTES_CONFIG_DEFAULT;
    return config;
}

void
controller_config_destroy(struct controller_config *config)
{
    if (config) {
        destroy_listen(&config->openflow);
        destroy_listen(&config->api);
        for (size_t i = 0; i < config->n_services; i++) {
            free(config->services[i].name);
        }
        free(config->services);
        free(config->costs);
        free(config->control);
        free(config);
    }
}

static uint32_t
duration(struct config_node *node, const char *key, uint32_t def)
{
    return config_duration_ms(node, key, 1, DAY_MS, def);
}

/* NULL, or what is wrong with 'text', as a malloced clause. */
static char *
check_address(const char *text, bool sockets_only, bool tls)
{
    struct endpoint endpoint;
    const char *wrong = endpoint_parse(text, &endpoint);

    if (wrong) {
        return xasprintf("'%s' %s", text, wrong);
    } else if (endpoint.kind == ENDPOINT_UNIX && sockets_only) {
        return xasprintf("'%s': switches connect over TCP or TLS only", text);
    } else if (endpoint.kind == ENDPOINT_TLS && !tls) {
        return xasprintf("'%s' needs certificates in a section 'tls'", text);
    }
    return NULL;
}

static void
read_tls(struct config_node *node, struct listen_config *listen)
{
    struct config_node *tls = config_mapping(node, "tls");

    if (tls) {
        const char *certificate = config_string_required(tls, "certificate");
        const char *key = config_string_required(tls, "private_key");
        const char *ca = config_string_required(tls, "ca");
        if (certificate && key && ca) {
            listen->certificate = xstrdup(certificate);
            listen->private_key = xstrdup(key);
            listen->ca = xstrdup(ca);
        }
    }
}

static void
read_listen(struct config_node *node, bool sockets_only,
            struct listen_config *listen)
{
    struct config_node *list = config_sequence(node, "listen");
    size_t n = list ? config_sequence_length(list) : 0;

    read_tls(node, listen);
    if (!list) {
        return;
    }
    clear_listen(listen);
    if (!n || n > CONTROLLER_CONFIG_LISTEN_MAX) {
        config_error(list, "one to eight addresses belong here",
                     sockets_only ? "write [tcp:ADDRESS:PORT]"
                                  : "write [tcp:ADDRESS:PORT, unix:/PATH]");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const char *text = config_sequence_string(list, i);
        if (!text) {
            return;
        }
        char *what = check_address(text, sockets_only,
                                   listen->certificate != NULL);
        if (what) {
            config_error_item(list, i, what, "write tcp:ADDRESS:PORT");
            free(what);
            return;
        }
        add_listen(listen, text);
    }
}

static void
read_openflow(struct config_node *node, struct controller_config *config)
{
    const char *role = config_string(node, "role", "equal");

    read_listen(node, true, &config->openflow);
    if (!switch_session_role_from_string(role, &config->session.role)) {
        config_error_key(node, "role", "is no role",
                         "write equal, master or slave");
    }
    config->session.echo_interval_ms
        = duration(node, "echo_interval", config->session.echo_interval_ms);
    config->session.echo_timeout_ms
        = duration(node, "echo_timeout", config->session.echo_timeout_ms);
    config->session.handshake_timeout_ms = duration(
        node, "handshake_timeout", config->session.handshake_timeout_ms);
    config->session.retry_ms
        = duration(node, "retry", config->session.retry_ms);
    config->session.patience_ms
        = duration(node, "patience", config->session.patience_ms);
    config->order_timeout_ms
        = duration(node, "order_timeout", config->order_timeout_ms);
    config->confirm_timeout_ms
        = duration(node, "confirm_timeout", config->confirm_timeout_ms);
    config->forget_switch_ms
        = duration(node, "forget_switch", config->forget_switch_ms);
}

static void
read_api(struct config_node *node, struct controller_config *config)
{
    struct agent_session_config *agents = &config->agents;

    read_listen(node, false, &config->api);
    agents->keepalive_interval_ms = duration(node, "keepalive_interval",
                                             agents->keepalive_interval_ms);
    agents->lease_ms = duration(node, "lease", agents->lease_ms);
    agents->handshake_timeout_ms = duration(node, "handshake_timeout",
                                            agents->handshake_timeout_ms);
    agents->wait_timeout_ms = duration(node, "wait_timeout",
                                       agents->wait_timeout_ms);
    if (agents->lease_ms <= agents->keepalive_interval_ms) {
        config_error(node, "lease: must be longer than keepalive_interval",
                     "use three times keepalive_interval");
    }
}

static void
check_pool(struct config_node *root, const char *key, uint32_t network,
           uint8_t len)
{
    /* address_pool_create() is the judge of what it can work with. */
    struct address_pool *pool = address_pool_create(network, len);

    if (!pool) {
        config_error_key(root, key, "unusable as a pool",
                         "write a network with a length of 8 to 30 and no "
                         "bits set past it: 100.64.0.0/10");
    }
    address_pool_destroy(pool);
}

/* An address of both pools would be an endpoint's and a service's. */
static void
check_pools_apart(struct config_node *root,
                  const struct agent_session_config *agents)
{
    uint8_t len = MIN(agents->identity_len, agents->service_len);

    if (len && !((agents->identity_network ^ agents->service_network)
                 >> (32 - len))) {
        config_error_key(root, "service_pool",
                         "overlaps identity_pool",
                         "choose networks apart from each other");
    }
}

static bool
is_same_net48(const struct in6_addr *a, const struct in6_addr *b)
{
    return !memcmp(a, b, 6);
}

/* A /48: bits past it are derived. */
static void
read_net48(struct config_node *root, const char *key, struct in6_addr *net)
{
    static const uint8_t zeros[10];

    config_ipv6(root, key, net);
    if (memcmp(&net->s6_addr[6], zeros, sizeof zeros)) {
        config_error_key(root, key, "has bits set past 48",
                         "write the first 48 bits: fd53:414c:1::");
    }
}

static void
read_v6(struct config_node *root, struct controller_config *config)
{
    struct agent_session_config *agents = &config->agents;
    struct in6_addr *identities = &agents->identity_prefix_v6;
    struct in6_addr *services = &agents->service_prefix_v6;

    config_ipv6(root, "resolver_v6", &config->rules.resolver_v6);
    agents->resolver_v6 = config->rules.resolver_v6;
    read_net48(root, "identity_prefix_v6", identities);
    read_net48(root, "service_prefix_v6", services);
    if (IN6_IS_ADDR_UNSPECIFIED(identities)
        != IN6_IS_ADDR_UNSPECIFIED(services)) {
        config_error_key(root, "service_prefix_v6",
                         "one of identity_prefix_v6 and service_prefix_v6 is "
                         "'none', the other is not",
                         "give both, or none of the two");
    } else if (!IN6_IS_ADDR_UNSPECIFIED(services)
               && (is_same_net48(identities, services)
                   || is_same_net48(services, &agents->resolver_v6)
                   || is_same_net48(identities, &agents->resolver_v6))) {
        config_error_key(root, "service_prefix_v6",
                         "identity_prefix_v6, service_prefix_v6 and the "
                         "network of resolver_v6 overlap",
                         "choose networks apart from each other");
    }
}

static void
read_network(struct config_node *root, struct controller_config *config)
{
    struct agent_session_config *agents = &config->agents;

    config_ipv4_prefix(root, "identity_pool", &agents->identity_network,
                       &agents->identity_len);
    check_pool(root, "identity_pool", agents->identity_network,
               agents->identity_len);
    config_ipv4_prefix(root, "service_pool", &agents->service_network,
                       &agents->service_len);
    check_pool(root, "service_pool", agents->service_network,
               agents->service_len);
    check_pools_apart(root, agents);
    config->rules.resolver_v4
        = config_ipv4(root, "resolver", config->rules.resolver_v4);
    config->rules.sal_port = config_int(root, "sal_port", 1, UINT16_MAX,
                                        config->rules.sal_port);
    config->rules.groups = config_bool(root, "fast_failover",
                                       config->rules.groups);
    const char *resolution = config_string(root, "resolution", "edge");
    config->rules.hop_by_hop = !strcmp(resolution, "hop-by-hop");
    config->classes.hop_by_hop = config->rules.hop_by_hop;
    if (!config->rules.hop_by_hop && strcmp(resolution, "edge")) {
        char *what = xasprintf("there is no '%s'", resolution);
        config_error_key(root, "resolution", what, "write edge or hop-by-hop");
        free(what);
    }
    config->rules.anti_spoofing = config_bool(root, "anti_spoofing",
                                              config->rules.anti_spoofing);
    read_v6(root, config);
    config->rules.plain_hosts = config_bool(root, "plain_hosts",
                                            config->rules.plain_hosts);
    if (config->rules.plain_hosts && !config->rules.anti_spoofing) {
        config_error_key(root, "plain_hosts", "needs anti_spoofing, which "
                         "tells known hosts from unknown ones",
                         "leave anti_spoofing: true");
    }
    agents->resolver_v4 = config->rules.resolver_v4;
    agents->sal_port = config->session.sal_port = config->rules.sal_port;
}

static void
read_timers(struct config_node *root, struct controller_config *config)
{
    config->hold_ms = config_duration_ms(root, "hold_time", 0, DAY_MS,
                                         config->hold_ms);
    config->flap_hold_ms = config_duration_ms(root, "flap_hold", 0, DAY_MS,
                                              config->flap_hold_ms);
    config->link_probe_interval_ms = duration(
        root, "link_probe_interval", config->link_probe_interval_ms);
    config->link_timeout_ms = duration(root, "link_timeout",
                                       config->link_timeout_ms);
    config->agents.probe_interval_ms = duration(
        root, "host_probe_interval", config->agents.probe_interval_ms);
    config->host_timeout_ms = duration(root, "host_timeout",
                                       config->host_timeout_ms);
    config->usage_interval_ms = duration(root, "usage_interval",
                                         config->usage_interval_ms);
    config->plain_timeout_ms = duration(root, "plain_timeout",
                                        config->plain_timeout_ms);
    if (config->link_timeout_ms <= config->link_probe_interval_ms) {
        config_error(root, "link_timeout: must be longer than "
                           "link_probe_interval",
                     "use three times link_probe_interval");
    }
    if (config->host_timeout_ms
        <= 2 * PROBE_REFRESH_FACTOR * config->agents.probe_interval_ms) {
        config_error(root, "host_timeout: must be longer than 32 times "
                           "host_probe_interval",
                     "use 50 times host_probe_interval");
    }
}

static void
read_limits(struct config_node *node, struct controller_config *config)
{
    config->agents.max_instances = config_int(
        node, "registrations", 1, 10000000, config->agents.max_instances);
    config->agents.max_agents = config_int(
        node, "agents", 1, 1000000, config->agents.max_agents);
    config->session.max_connections = config_int(
        node, "switches", 1, 1000000, config->session.max_connections);
    config->session.max_ports = config_int(
        node, "ports", 1, 65279, config->session.max_ports);
    config->session.max_rules = config_int(
        node, "rules", 1, 100000000, config->session.max_rules);
    config->session.max_malformed = config_int(
        node, "malformed", 1, 1000000, config->session.max_malformed);
    config->n_events = config_int(node, "events", 1, 1000000,
                                  config->n_events);
    config->rules.host_probe_pps = config_int(
        node, "host_probe_pps", 1, PPS_MAX, config->rules.host_probe_pps);
    config->rules.service_miss_pps = config_int(
        node, "service_miss_pps", 1, PPS_MAX, config->rules.service_miss_pps);
    config->rules.link_probe_pps = config_int(
        node, "link_probe_pps", 1, PPS_MAX, config->rules.link_probe_pps);
    config->rules.service_rules = config_int(
        node, "service_rules", 0, UINT32_MAX, config->rules.service_rules);
    config->rules.plain_host_pps = config_int(
        node, "plain_host_pps", 1, PPS_MAX, config->rules.plain_host_pps);
    config->plain_max = config_int(node, "plain_hosts", 1, 1000000,
                                   config->plain_max);
    config->reset_pps = config_int(node, "reset_pps", 1, PPS_MAX,
                                   config->reset_pps);
}

/* Path classes and links. */

static bool
read_dpid(struct config_node *node, const char *key, const char *text,
          uint64_t *ret_dpid)
{
    size_t len = strspn(text, "0123456789abcdef");

    if (!len || len > 16 || text[len]) {
        char *what = xasprintf("'%s' is no datapath ID", text);
        config_error_key(node, key, what, "write 16 hexadecimal digits, as "
                         "'show switches' does: \"0000000000000001\"");
        free(what);
        return false;
    }
    *ret_dpid = strtoull(text, NULL, 16);
    return true;
}

static void
read_end(struct config_node *node, struct topology_end *ret_end)
{
    read_dpid(node, "switch", config_string_required(node, "switch"),
              &ret_end->dpid);
    ret_end->port = config_int(node, "port", 1, UINT16_MAX, 0);
    if (!ret_end->port) {
        config_error_key(node, "port", "is missing",
                         "write the OpenFlow number of the port");
    }
}

static void
read_costs(struct config_node *root, struct controller_config *config)
{
    struct config_node *list = config_sequence(root, "links");
    size_t n = list ? config_sequence_length(list) : 0;

    config->costs = xcalloc(n ? n : 1, sizeof *config->costs);
    for (size_t i = 0; i < n; i++) {
        struct config_node *node = config_sequence_mapping(list, i);
        struct config_cost *cost = &config->costs[config->n_costs++];
        read_end(node, &cost->from);
        cost->cost = config_int(node, "cost", 1, UINT16_MAX, 1);
    }
}

static void
read_avoid(struct config_node *node, struct path_class *class)
{
    struct config_node *switches = config_sequence(node, "switches");
    struct config_node *links = config_sequence(node, "links");

    class->n_switches = switches ? config_sequence_length(switches) : 0;
    class->n_links = links ? config_sequence_length(links) : 0;
    if (class->n_switches > PATH_CLASS_AVOID_MAX
        || class->n_links > PATH_CLASS_AVOID_MAX) {
        config_error(node, "avoids too much",
                     "name at most 32 switches and 32 links");
        class->n_switches = class->n_links = 0;
    } else if (!class->n_switches && !class->n_links) {
        config_error(node, "avoids nothing", "give it switches or links");
    }
    for (size_t i = 0; i < class->n_switches; i++) {
        read_dpid(node, "switches", config_sequence_string(switches, i),
                  &class->switches[i]);
    }
    for (size_t i = 0; i < class->n_links; i++) {
        read_end(config_sequence_mapping(links, i), &class->links[i]);
    }
}

static void
read_class(struct config_node *node, struct path_classes *classes)
{
    const char *name = config_string_required(node, "name");
    const char *kind = config_string_required(node, "kind");
    int number = config_int(node, "number", 1, PATH_CLASSES_MAX, 1);
    struct path_class *class = &classes->classes[number];

    if (class->kind != PATH_CLASS_NONE) {
        config_error_key(node, "number", "another class has this number",
                         "use another of 1 to 15");
        return;
    }
    if (strlen(name) > PATH_CLASS_NAME_MAX) {
        config_error_key(node, "name", "is too long",
                         "use at most 63 characters");
        return;
    }
    ovs_strlcpy(class->name, name, sizeof class->name);
    if (!strcmp(kind, "lowest-latency")) {
        class->kind = PATH_CLASS_LOWEST_LATENCY;
        classes->latency = true;
    } else if (!strcmp(kind, "avoid")) {
        class->kind = PATH_CLASS_AVOID;
        read_avoid(node, class);
    } else if (!strcmp(kind, "waypoint")) {
        class->kind = PATH_CLASS_WAYPOINT;
        read_dpid(node, "waypoint", config_string_required(node, "waypoint"),
                  &class->waypoint);
    } else {
        char *what = xasprintf("there is no kind '%s'", kind);
        config_error_key(node, "kind", what,
                         "write lowest-latency, avoid or waypoint");
        free(what);
    }
    classes->n++;
}

static void
read_classes(struct config_node *root, struct controller_config *config)
{
    struct config_node *list = config_sequence(root, "path_classes");
    size_t n = list ? config_sequence_length(list) : 0;

    for (size_t i = 0; i < n; i++) {
        read_class(config_sequence_mapping(list, i), &config->classes);
    }
}

/* The number of the class that 'node' names, 0 if none. */
static uint8_t
read_class_name(struct config_node *node, const struct path_classes *classes)
{
    const char *name = config_string(node, "path_class", NULL);

    for (int i = 1; name && i <= PATH_CLASSES_MAX; i++) {
        if (classes->classes[i].kind != PATH_CLASS_NONE
            && !strcmp(classes->classes[i].name, name)) {
            return i;
        }
    }
    if (name) {
        char *what = xasprintf("there is no path class '%s'", name);
        config_error_key(node, "path_class", what,
                         "name one of path_classes");
        free(what);
    }
    return 0;
}

static enum route_policy
read_policy_name(struct config_node *node, enum route_policy def)
{
    const char *name = config_string(node, "policy", NULL);
    enum route_policy policy = def;

    if (name && !route_policy_from_string(name, &policy)) {
        char *what = xasprintf("there is no policy '%s'", name);
        config_error_key(node, "policy", what, "write " ROUTE_POLICY_NAMES);
        free(what);
    }
    return policy;
}

static void
read_policy(struct config_node *root, struct controller_config *config)
{
    config->routes.policy = read_policy_name(root, config->routes.policy);
    config->classes.latency |= config->routes.policy == ROUTE_NEAREST_LATENCY;
    config->routes.tolerance_permille
        = config_int(root, "weight_tolerance_permille", 0, 1000,
                     config->routes.tolerance_permille);
}

/* A name, or a mapping with one. */
static void
read_service(struct config_node *list, size_t i,
             struct controller_config *config)
{
    struct config_node *node = config_sequence_is_mapping(list, i)
                               ? config_sequence_mapping(list, i) : NULL;
    const char *name = node ? config_string_required(node, "name")
                            : config_sequence_string(list, i);
    const char *wrong = name && name[0] ? service_name_check(name) : NULL;
    struct config_service service = {NULL, {ROUTE_DEFAULT, 0, false}};

    if (wrong) {
        char *what = xasprintf("'%s' is no service name: %s", name, wrong);
        config_error_item(list, i, what, "write a name such as web.shop.acme");
        free(what);
    } else if (name && name[0]) {
        if (node) {
            service.definition.policy = read_policy_name(node, ROUTE_DEFAULT);
            service.definition.datagram = config_bool(node, "datagram",
                                                      false);
            service.definition.path_class
                = read_class_name(node, &config->classes);
            config->classes.latency |= service.definition.policy
                                       == ROUTE_NEAREST_LATENCY;
        }
        service.name = xstrdup(name);
        config->services[config->n_services++] = service;
    }
}

static void
read_services(struct config_node *root, struct controller_config *config)
{
    struct config_node *list = config_sequence(root, "services");
    size_t n = list ? config_sequence_length(list) : 0;

    config->services = xcalloc(n ? n : 1, sizeof *config->services);
    for (size_t i = 0; i < n; i++) {
        read_service(list, i, config);
    }
}

static void
read_metrics(struct config_node *root, struct controller_config *config)
{
    const char *metrics = config_string(root, "metrics", NULL);
    struct sockaddr_storage ss;

    if (metrics && (!inet_parse_active(metrics, 0, &ss, false, NULL)
                    || ss.ss_family != AF_INET)) {
        config_error_key(root, "metrics", "is no IPv4 ADDRESS:PORT",
                         "write for example 127.0.0.1:9634");
    } else if (metrics) {
        const struct sockaddr_in *sin = (const void *) &ss;
        config->metrics_address = ntohl(sin->sin_addr.s_addr);
        config->metrics_port = ntohs(sin->sin_port);
    }
}

static int
read_file(struct config_file *file, struct controller_config **ret_config,
          char **ret_error)
{
    struct controller_config *config = defaults();
    struct config_node *root = config_file_root(file);
    struct config_node *openflow = config_mapping(root, "openflow");
    struct config_node *api = config_mapping(root, "api");
    struct config_node *limits = config_mapping(root, "limits");

    if (openflow) {
        read_openflow(openflow, config);
    }
    if (api) {
        read_api(api, config);
    }
    if (limits) {
        read_limits(limits, config);
    }
    replace(&config->control,
            config_string(root, "control", config->control));
    read_network(root, config);
    read_timers(root, config);
    read_metrics(root, config);
    read_policy(root, config);
    read_costs(root, config);
    read_classes(root, config);
    read_services(root, config);

    const char *error = config_file_finish(file);
    if (error) {
        *ret_error = xstrdup(error);
        controller_config_destroy(config);
        return -EINVAL;
    }
    *ret_config = config;
    return 0;
}

int
controller_config_parse(const char *name, const char *text, size_t len,
                        struct controller_config **ret_config,
                        char **ret_error)
{
    struct config_file *file;
    int error = config_file_parse(name, text, len, &file, ret_error);

    if (!error) {
        error = read_file(file, ret_config, ret_error);
        config_file_destroy(file);
    }
    return error;
}

int
controller_config_load(const char *path,
                       struct controller_config **ret_config,
                       char **ret_error)
{
    struct config_file *file;

    if (!path) {
        return controller_config_parse("defaults", "{}", 2, ret_config,
                                       ret_error);
    }
    int error = config_file_load(path, &file, ret_error);
    if (!error) {
        error = read_file(file, ret_config, ret_error);
        config_file_destroy(file);
    }
    return error;
}
