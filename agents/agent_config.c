/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/agent_config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include "openvswitch/util.h"
#include "proto/daemon/config_file.h"
#include "util.h"

#define DEFAULT_STATE_DIR "/var/lib/salient"
#define DEFAULT_PIN_PATH "/sys/fs/bpf/salient"
#define DEFAULT_MAX_FLOWS (128 * 1024)

/* Reports 'what' about 'value' of 'key'.  The printed value is bounded. */
static void
complain(struct config_node *node, const char *key, const char *value,
         const char *what, const char *remedy)
{
    char *message = xasprintf("\"%.80s\" %s", value, what);
    config_error_key(node, key, message, remedy);
    free(message);
}

static void
complain_item(struct config_node *list, size_t i, const char *what,
              const char *remedy)
{
    char *message = xasprintf("\"%.80s\" %s",
                              config_sequence_string(list, i), what);
    config_error_item(list, i, message, remedy);
    free(message);
}

/* "address:port"; the port may be left out if '*port' has a default. */
static bool
parse_address(const char *s, struct agent_address *out)
{
    struct agent_address address = {.port = out->port};
    const char *error = local_service_parse_target(s, &address.address,
                                                   &address.port);
    if (error || !address.address || !address.port) {
        return false;
    }
    *out = address;
    return true;
}

static bool
is_endpoint(const char *value)
{
    return !strncmp(value, "tcp:", 4) || !strncmp(value, "tls:", 4)
           || !strncmp(value, "unix:", 5);
}

#define NOT_AN_ENDPOINT                                                       \
    "is not an endpoint", "write tcp:HOST:PORT, tls:HOST:PORT or unix:/path"

/* With an identity address of its own, a host does without a controller. */
static void
read_identity(struct config_node *root, struct agent_config *config)
{
    const char *s = config_string(root, "identity_address", NULL);
    struct in_addr in;

    if (!s) {
        return;
    }
    if (inet_pton(AF_INET, s, &in) != 1 || !in.s_addr) {
        complain(root, "identity_address", s, "is not an IPv4 address",
                 "use one of its own for each host, such as 100.64.0.1");
        return;
    }
    config->identity_address = ntohl(in.s_addr);
}

/* One of "controller" and "controllers". */
static void
read_controllers(struct config_node *root, struct agent_config *config)
{
    struct config_node *list = config_sequence(root, "controllers");

    if (!list && config->identity_address
        && !config_string(root, "controller", NULL)) {
        return;
    }
    if (!list) {
        const char *value = config_string_required(root, "controller");
        if (value) {
            if (!is_endpoint(value)) {
                complain(root, "controller", value, NOT_AN_ENDPOINT);
            }
            config->controllers[config->n_controllers++] = xstrdup(value);
        }
        return;
    }
    if (config_string(root, "controller", NULL)) {
        config_error(root, "controller and controllers are both set",
                     "keep one of them");
    }
    size_t n = config_sequence_length(list);
    if (!n || n > AGENT_MAX_CONTROLLERS) {
        config_error(list, "there are none or too many", "list 1 to 8");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const char *value = config_sequence_string(list, i);
        if (!value) {
            return;
        }
        if (!is_endpoint(value)) {
            complain_item(list, i, NOT_AN_ENDPOINT);
        }
        config->controllers[config->n_controllers++] = xstrdup(value);
    }
}

static void
read_tls(struct config_node *root, struct agent_config *config)
{
    struct config_node *tls = config_mapping(root, "tls");
    bool wanted = false;

    if (tls) {
        config->tls_certificate
            = nullable_xstrdup(config_string_required(tls, "certificate"));
        config->tls_private_key
            = nullable_xstrdup(config_string_required(tls, "private_key"));
        config->tls_ca = nullable_xstrdup(config_string_required(tls, "ca"));
    }
    for (size_t i = 0; i < config->n_controllers; i++) {
        wanted |= !strncmp(config->controllers[i], "tls:", 4);
    }
    if (wanted && !tls) {
        config_error(root, "a tls: controller needs certificates",
                     "add tls: with certificate, private_key and ca");
    }
}

static void
read_uplinks(struct config_node *root, struct agent_config *config)
{
    struct config_node *list = config_sequence(root, "uplinks");
    size_t n = list ? config_sequence_length(list) : 0;

    if (!n || n > AGENT_MAX_UPLINKS) {
        config_error(list ? list : root, "uplinks: there are none or too many",
                     "list 1 to 8 interfaces of the data network, such as "
                     "uplinks: [eth0]");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct agent_uplink_config *options = &config->uplink_options[i];
        const char *uplink;

        *options = (struct agent_uplink_config) {.priority = i + 1,
                                                 .weight = 1};
        if (config_sequence_is_mapping(list, i)) {
            struct config_node *node = config_sequence_mapping(list, i);
            if (!node) {
                return;
            }
            uplink = config_string_required(node, "name");
            options->priority
                = config_int(node, "priority", 0, UINT16_MAX, i + 1);
            options->weight = config_int(node, "weight", 0, UINT16_MAX, 1);
            options->behind_nat = config_bool(node, "behind_nat", false);
        } else {
            uplink = config_sequence_string(list, i);
        }
        if (!uplink) {
            return;
        }
        if (!uplink[0] || strlen(uplink) >= IFNAMSIZ || strchr(uplink, '/')) {
            char *message = xasprintf("\"%.80s\" is not an interface name",
                                      uplink);
            config_error_item(list, i, message,
                              "use a name that \"ip link\" shows");
            free(message);
        }
        config->uplinks[config->n_uplinks++] = xstrdup(uplink);
    }
}

static void
read_upstreams(struct config_node *dns, struct agent_dns_config *config)
{
    struct config_node *list = config_sequence(dns, "upstream");
    size_t n = list ? config_sequence_length(list) : 0;

    if (n > AGENT_MAX_UPSTREAMS) {
        config_error(list, "there are too many", "list up to 3");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const char *s = config_sequence_string(list, i);
        struct agent_address address = {.port = 53};
        if (!s) {
            return;
        }
        if (!parse_address(s, &address)) {
            complain_item(list, i, "is not a name server",
                          "write its IPv4 address, or address:port");
        }
        config->upstreams[config->n_upstreams++] = address;
    }
}

static void
read_dns(struct config_node *root, struct agent_dns_config *config)
{
    struct config_node *dns = config_mapping(root, "dns");
    const char *suffix = dns ? config_string(dns, "suffix", "sal") : "sal";

    config->enabled = true;
    config->listen.address = AGENT_DNS_ADDRESS;
    config->listen.port = AGENT_DNS_PORT;
    config->suffix = xstrdup(suffix);
    config->ttl = 5;
    config->leases = true;
    config->lease_pool = AGENT_LEASE_POOL;
    config->lease_pool_len = AGENT_LEASE_POOL_LEN;
    if (!dns) {
        return;
    }
    config->enabled = config_bool(dns, "enabled", true);
    const char *listen = config_string(dns, "listen", NULL);
    if (listen && !parse_address(listen, &config->listen)) {
        complain(dns, "listen", listen, "is not an IPv4 address:port",
                 "use for example 127.0.0.55:53");
    }
    const char *error = service_name_check(suffix);
    if (error) {
        complain(dns, "suffix", suffix, error, "use for example sal");
    }
    config->ttl = config_duration_ms(dns, "ttl", 0, 3600 * 1000, 5000) / 1000;
    config->leases = config_bool(dns, "leases", true);
    config_ipv4_prefix(dns, "lease_pool", &config->lease_pool,
                       &config->lease_pool_len);
    if (config->lease_pool_len < 8 || config->lease_pool_len > 30) {
        config_error(dns, "lease_pool: the prefix length is not 8 to 30",
                     "use for example 240.0.0.0/20");
    }
    read_upstreams(dns, config);
}

static void
read_metrics(struct config_node *root, struct agent_config *config)
{
    const char *metrics = config_string(root, "metrics", NULL);

    if (metrics && !parse_address(metrics, &config->metrics)) {
        complain(root, "metrics", metrics, "is not an IPv4 address:port",
                 "use for example 127.0.0.1:9633");
    }
}

static void
read_health(struct config_node *node, struct local_service *service)
{
    const char *health = config_string(node, "health", "none");

    if (!strcmp(health, "tcp")) {
        service->health = HEALTH_TCP;
    } else if (!strcmp(health, "http")) {
        service->health = HEALTH_HTTP;
    } else if (strcmp(health, "none")) {
        complain(node, "health", health, "is unknown",
                 "use tcp, http or none");
    }
    if (service->health != HEALTH_NONE
        && service->protocol != IPPROTO_TCP) {
        complain(node, "health", health, "needs a server that speaks TCP",
                 "leave it out");
    }
    service->health_interval_ms
        = config_duration_ms(node, "health_interval", 100, 3600 * 1000,
                             5000);
    service->health_threshold
        = config_int(node, "health_threshold", 1, 100, 3);
}

static void
read_service(struct config_node *node, struct agent_config *config)
{
    struct local_service service = {.target_address = 0};
    const char *name = config_string_required(node, "name");
    const char *protocol = config_string(node, "protocol", "tcp");
    const char *error;

    service.name = CONST_CAST(char *, name);
    service.service_port = config_int(node, "port", 1, UINT16_MAX, 0);
    service.target_port = service.service_port;
    service.weight
        = config_int(node, "weight", 0, LOCAL_SERVICE_WEIGHT_MAX, 1);
    service.priority = config_int(node, "priority", 0, UINT16_MAX, 0);
    service.capacity = config_int(node, "capacity", 0, UINT32_MAX, 0);
    service.protocol = local_service_protocol(protocol);
    read_health(node, &service);
    const char *target = config_string(node, "target", NULL);
    if (!name) {
        return;
    }
    if ((error = service_name_check(name))) {
        complain(node, "name", name, error,
                 "use labels of a-z, 0-9 and hyphens, such as web.shop.acme");
        return;
    }
    service_prefix_from_name(name, &service.prefix);
    if (!service.service_port) {
        config_error(node, "port is missing",
                     "add the port that clients connect to, such as port: 80");
    }
    if (!service.protocol) {
        complain(node, "protocol", protocol, "is unknown", "use tcp or udp");
    }
    if (target
        && (error = local_service_parse_target(target, &service.target_address,
                                               &service.target_port))) {
        complain(node, "target", target, error,
                 "write address:port or a port");
    }
    if (local_services_find(&config->services, &service)) {
        complain(node, "name", name, "is here twice with this port",
                 "remove one of them");
        return;
    }
    local_services_put(&config->services, &service);
}

static void
read_services(struct config_node *root, struct agent_config *config)
{
    struct config_node *list = config_sequence(root, "services");
    size_t n = list ? config_sequence_length(list) : 0;

    for (size_t i = 0; i < n; i++) {
        struct config_node *node = config_sequence_mapping(list, i);
        if (node) {
            read_service(node, config);
        }
    }
}

static void
read_locators(struct config_node *node, struct service_route *route)
{
    struct config_node *list = config_sequence(node, "locators");
    size_t n = list ? config_sequence_length(list) : 0;

    if (n > HOST_TABLES_MAX_HOPS) {
        config_error(list, "there are too many", "list up to 32");
        return;
    }
    route->hops = xcalloc(n + 1, sizeof *route->hops);
    for (size_t i = 0; i < n; i++) {
        const char *s = config_sequence_string(list, i);
        if (!s) {
            return;
        }
        const char *error = route_hop_parse(s, &route->hops[route->n_hops]);
        if (error) {
            complain_item(list, i, error,
                          "write an address, or address,weight");
        } else {
            route->n_hops++;
        }
    }
}

static void
read_route_address(struct config_node *node, struct service_route *route)
{
    const char *s = config_string(node, "address", NULL);
    struct in_addr in;

    if (s && inet_pton(AF_INET, s, &in) != 1) {
        complain(node, "address", s, "is not an IPv4 address",
                 "use for example 198.18.0.1");
    } else if (s) {
        route->address = ntohl(in.s_addr);
    }
}

static void
read_route(struct config_node *node, struct agent_config *config)
{
    const char *service = config_string_required(node, "service");
    const char *action = config_string(node, "action", "forward");
    struct service_route route = {.name = "", .expires_ms = INT64_MAX};
    const char *error;

    route.action = route_action_parse(action);
    route.datagram = config_bool(node, "datagram", false);
    route.path_class = config_int(node, "path_class", 0, 15, 0);
    read_route_address(node, &route);
    read_locators(node, &route);
    if (!service) {
        goto out;
    }
    if (!route.action) {
        complain(node, "action", action, "is unknown",
                 "use forward, delay, reject or drop");
    }
    if (!route_prefix_parse(service, &route.prefix)) {
        /* A prefix without a name. */
    } else if ((error = service_name_check(service))) {
        complain(node, "service", service, error,
                 "use labels of a-z, 0-9 and hyphens, such as web.shop.acme");
        goto out;
    } else {
        route.name = CONST_CAST(char *, service);
        service_prefix_from_name(service, &route.prefix);
    }
    if (service_routes_find(&config->routes, &route.prefix)) {
        complain(node, "service", service, "is here twice",
                 "remove one of them");
    }
    service_routes_put(&config->routes, &route);
out:
    free(route.hops);
}

static void
read_routes(struct config_node *root, struct agent_config *config)
{
    struct config_node *list = config_sequence(root, "routes");
    size_t n = list ? config_sequence_length(list) : 0;
    const char *action = config_string(root, "default_route", "forward");

    for (size_t i = 0; i < n; i++) {
        struct config_node *node = config_sequence_mapping(list, i);
        if (node) {
            read_route(node, config);
        }
    }
    config->default_action = route_action_parse(action);
    if (!config->default_action) {
        complain(root, "default_route", action, "is unknown",
                 "use forward, delay, reject or drop");
    }
    config->service_router = config_bool(root, "service_router", false);
    config->check_identity = config_bool(root, "check_identity", true);
}

static void
read_paths(struct config_node *root, struct agent_config *config)
{
    config->state_dir
        = xstrdup(config_string(root, "state_dir", DEFAULT_STATE_DIR));
    char *key_file = xasprintf("%s/sald.key", config->state_dir);
    config->key_file = xstrdup(config_string(root, "key_file", key_file));
    free(key_file);
    config->control_socket = xstrdup(
        config_string(root, "control_socket", AGENT_CONTROL_SOCKET));
    config->pin_path
        = xstrdup(config_string(root, "pin_path", DEFAULT_PIN_PATH));
    config->device = xstrdup(config_string(root, "device", "sal0"));
    if (!config->device[0] || strlen(config->device) >= IFNAMSIZ
        || strchr(config->device, '/')) {
        complain(root, "device", config->device, "is not an interface name",
                 "use for example sal0");
    }
}

static void
read_limits(struct config_node *root, struct agent_config *config)
{
    struct config_node *limits = config_mapping(root, "limits");

    if (limits) {
        config->max_flows_per_client
            = config_int(limits, "flows_per_client", 0, 16 << 20, 0);
        config->max_flows_per_service
            = config_int(limits, "flows_per_service", 0, 16 << 20, 0);
    }
}

static void
read_migration(struct config_node *root, struct migrator_config *config)
{
    struct config_node *node = config_mapping(root, "migration");

    *config = (struct migrator_config) {.enabled = true,
                                        .hysteresis_ms = 5000,
                                        .probe_ms = 1000,
                                        .late_ms = 10000};
    if (node) {
        config->enabled = config_bool(node, "enabled", true);
        config->hysteresis_ms = config_duration_ms(
            node, "hysteresis", 0, 3600 * 1000, config->hysteresis_ms);
        config->probe_ms = config_duration_ms(
            node, "probe_interval", 0, 60 * 1000, config->probe_ms);
        config->late_ms = config_duration_ms(node, "accept_old", 0,
                                             60 * 1000, config->late_ms);
    }
}

static struct agent_config *
read_all(struct config_node *root)
{
    struct agent_config *config = xzalloc(sizeof *config);

    local_services_init(&config->services);
    service_routes_init(&config->routes);
    const char *name = config_string_required(root, "name");
    config->name = xstrdup(name ? name : "");
    if (name && (!name[0] || strlen(name) > 63)) {
        complain(root, "name", name, "is empty or too long",
                 "use 1 to 63 octets");
    }
    const char *zone = config_string(root, "zone", "");
    config->zone = xstrdup(zone);
    if (strlen(zone) > 63) {
        complain(root, "zone", zone, "is too long", "use at most 63 octets");
    }
    read_identity(root, config);
    read_controllers(root, config);
    read_tls(root, config);
    read_paths(root, config);
    read_uplinks(root, config);
    read_migration(root, &config->migration);
    config->balance_interval_ms
        = config_duration_ms(root, "balance_interval", 0, 3600 * 1000, 0);
    config->prefer_ipv6 = config_bool(root, "prefer_ipv6", false);
    config->max_flows
        = config_int(root, "max_flows", 1024, 16 << 20, DEFAULT_MAX_FLOWS);
    read_limits(root, config);
    config->udp_idle_ms = config_duration_ms(
        root, "udp_idle", 1000, 24 * 3600 * 1000, 180 * 1000);
    config->key_rotation_ms = config_duration_ms(
        root, "key_rotation", 0, 30 * 24 * 3600 * INT64_C(1000),
        3600 * 1000);
    config->keep_on_stop = config_bool(root, "keep_on_stop", false);
    config->stop_timeout_ms
        = config_duration_ms(root, "stop_timeout", 0, 60 * 1000, 3000);
    read_dns(root, &config->dns);
    read_metrics(root, config);
    read_services(root, config);
    read_routes(root, config);
    return config;
}

/* Takes over 'file'. */
static int
finish(struct config_file *file, const char *path,
       struct agent_config **ret_config, char **ret_error)
{
    struct agent_config *config = read_all(config_file_root(file));
    const char *error = config_file_finish(file);
    int retval = 0;

    config->path = xstrdup(path);
    if (error) {
        *ret_error = xstrdup(error);
        agent_config_destroy(config);
        retval = -EINVAL;
    } else {
        *ret_config = config;
    }
    config_file_destroy(file);
    return retval;
}

int
agent_config_load(const char *path, struct agent_config **ret_config,
                  char **ret_error)
{
    struct config_file *file;
    int error = config_file_load(path, &file, ret_error);

    return error ? error : finish(file, path, ret_config, ret_error);
}

int
agent_config_parse(const char *name, const char *text, size_t len,
                   struct agent_config **ret_config, char **ret_error)
{
    struct config_file *file;
    int error = config_file_parse(name, text, len, &file, ret_error);

    return error ? error : finish(file, name, ret_config, ret_error);
}

void
agent_config_destroy(struct agent_config *config)
{
    if (!config) {
        return;
    }
    for (size_t i = 0; i < config->n_controllers; i++) {
        free(config->controllers[i]);
    }
    for (size_t i = 0; i < config->n_uplinks; i++) {
        free(config->uplinks[i]);
    }
    free(config->path);
    free(config->name);
    free(config->zone);
    free(config->tls_certificate);
    free(config->tls_private_key);
    free(config->tls_ca);
    free(config->state_dir);
    free(config->key_file);
    free(config->control_socket);
    free(config->device);
    free(config->pin_path);
    free(config->dns.suffix);
    local_services_destroy(&config->services);
    service_routes_destroy(&config->routes);
    free(config);
}

static bool
strings_equal(char *const a[], size_t n_a, char *const b[], size_t n_b)
{
    bool equal = n_a == n_b;

    for (size_t i = 0; equal && i < n_a; i++) {
        equal = !strcmp(a[i], b[i]);
    }
    return equal;
}

static bool
dns_equal(const struct agent_dns_config *a, const struct agent_dns_config *b)
{
    bool equal = (a->enabled == b->enabled
                  && a->listen.address == b->listen.address
                  && a->listen.port == b->listen.port && a->ttl == b->ttl
                  && !strcmp(a->suffix, b->suffix)
                  && a->leases == b->leases
                  && a->lease_pool == b->lease_pool
                  && a->lease_pool_len == b->lease_pool_len
                  && a->n_upstreams == b->n_upstreams);

    for (size_t i = 0; equal && i < a->n_upstreams; i++) {
        equal = (a->upstreams[i].address == b->upstreams[i].address
                 && a->upstreams[i].port == b->upstreams[i].port);
    }
    return equal;
}

const char *
agent_config_needs_restart(const struct agent_config *a,
                           const struct agent_config *b)
{
    const struct {
        const char *key;
        bool equal;
    } keys[] = {
        {"name", !strcmp(a->name, b->name)},
        {"controllers", strings_equal(a->controllers, a->n_controllers,
                                      b->controllers, b->n_controllers)},
        {"tls", nullable_string_is_equal(a->tls_certificate,
                                         b->tls_certificate)
                && nullable_string_is_equal(a->tls_private_key,
                                            b->tls_private_key)
                && nullable_string_is_equal(a->tls_ca, b->tls_ca)},
        {"identity_address", a->identity_address == b->identity_address},
        {"state_dir", !strcmp(a->state_dir, b->state_dir)},
        {"key_file", !strcmp(a->key_file, b->key_file)},
        {"control_socket", !strcmp(a->control_socket, b->control_socket)},
        {"uplinks", strings_equal(a->uplinks, a->n_uplinks, b->uplinks,
                                  b->n_uplinks)},
        {"device", !strcmp(a->device, b->device)},
        {"pin_path", !strcmp(a->pin_path, b->pin_path)},
        {"max_flows", a->max_flows == b->max_flows},
        {"dns", dns_equal(&a->dns, &b->dns)},
        {"metrics", a->metrics.address == b->metrics.address
                    && a->metrics.port == b->metrics.port},
    };
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (!keys[i].equal) {
            return keys[i].key;
        }
    }
    return NULL;
}
