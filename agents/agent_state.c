/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/agent_state.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "openvswitch/json.h"
#include "util.h"

#define STATE_VERSION 1
#define STATE_MAX_BYTES (64 * 1024 * 1024)

void
agent_state_init(struct agent_state *state)
{
    memset(state, 0, sizeof *state);
    names_init(&state->names);
    local_services_init(&state->commands);
    service_routes_init(&state->routes);
    service_routes_init(&state->learned);
}

void
agent_state_destroy(struct agent_state *state)
{
    if (state) {
        names_destroy(&state->names);
        local_services_destroy(&state->commands);
    service_routes_destroy(&state->routes);
    service_routes_destroy(&state->learned);
    }
}

/* To JSON. */

static void
put_address(struct json *object, const char *key, uint32_t address)
{
    struct in_addr in = {htonl(address)};
    char s[INET_ADDRSTRLEN];

    inet_ntop(AF_INET, &in, s, sizeof s);
    json_object_put_string(object, key, s);
}

static void
put_int(struct json *object, const char *key, long long int value)
{
    json_object_put(object, key, json_integer_create(value));
}

static void
put_prefix(struct json *object, const struct service_prefix *prefix)
{
    char s[SERVICE_PREFIX_STRLEN];
    json_object_put_string(object, "prefix", service_prefix_format(prefix, s));
}

/* Left out if there is none. */
static void
put_v6(struct json *object, const char *key, const struct in6_addr *address)
{
    char s[INET6_ADDRSTRLEN];

    if (!IN6_IS_ADDR_UNSPECIFIED(address)) {
        inet_ntop(AF_INET6, address, s, sizeof s);
        json_object_put_string(object, key, s);
    }
}

static struct json *
welcome_to_json(const struct session_welcome *welcome)
{
    struct json *object = json_object_create();

    put_address(object, "identity_v4", welcome->identity_v4);
    put_address(object, "identity_pool_v4", welcome->identity_pool_v4);
    put_int(object, "identity_pool_len", welcome->identity_pool_len);
    put_address(object, "service_pool_v4", welcome->service_pool_v4);
    put_int(object, "service_pool_len", welcome->service_pool_len);
    put_address(object, "resolver_v4", welcome->resolver_v4);
    put_v6(object, "resolver_v6", &welcome->resolver_v6);
    put_v6(object, "identity_prefix_v6", &welcome->identity_prefix_v6);
    put_v6(object, "service_prefix_v6", &welcome->service_prefix_v6);
    put_int(object, "sal_port", welcome->sal_port);
    put_int(object, "keepalive_interval_ms", welcome->keepalive_interval_ms);
    put_int(object, "lease_ms", welcome->lease_ms);
    put_int(object, "probe_interval_ms", welcome->probe_interval_ms);
    return object;
}

/* Protocol and port by turns. */
static struct json *
ports_to_json(const struct names_entry *entry)
{
    struct json *array = json_array_create_empty();

    for (size_t i = 0; i < entry->n_ports; i++) {
        json_array_add(array, json_integer_create(entry->ports[i].protocol));
        json_array_add(array, json_integer_create(entry->ports[i].port));
    }
    return array;
}

static struct json *
names_to_json(const struct names *names)
{
    struct json *array = json_array_create_empty();
    size_t n;
    const struct names_entry **entries = names_sorted(names, &n);

    for (size_t i = 0; i < n; i++) {
        struct json *object = json_object_create();
        json_object_put_string(object, "name", entries[i]->name);
        put_prefix(object, &entries[i]->prefix);
        put_address(object, "address", entries[i]->address);
        if (entries[i]->n_ports) {
            json_object_put(object, "ports", ports_to_json(entries[i]));
        }
        json_array_add(array, object);
    }
    free(entries);
    return array;
}

static struct json *
services_to_json(const struct local_services *services)
{
    struct json *array = json_array_create_empty();

    for (size_t i = 0; i < services->n; i++) {
        const struct local_service *service = &services->items[i];
        struct json *object = json_object_create();
        json_object_put_string(object, "name", service->name);
        put_prefix(object, &service->prefix);
        put_int(object, "protocol", service->protocol);
        put_int(object, "port", service->service_port);
        put_address(object, "target_address", service->target_address);
        put_int(object, "target_port", service->target_port);
        put_int(object, "weight", service->weight);
        put_int(object, "priority", service->priority);
        put_int(object, "capacity", service->capacity);
        json_array_add(array, object);
    }
    return array;
}

static struct json *
routes_to_json(const struct service_routes *routes)
{
    struct json *array = json_array_create_empty();

    for (size_t i = 0; i < routes->n; i++) {
        const struct service_route *route = &routes->items[i];
        struct json *object = json_object_create();
        struct json *hops = json_array_create_empty();
        char hop[ROUTE_HOP_STRLEN];
        json_object_put_string(object, "name", route->name);
        put_prefix(object, &route->prefix);
        json_object_put_string(object, "action",
                               service_action_name(route->action));
        put_address(object, "address", route->address);
        put_int(object, "path_class", route->path_class);
        put_int(object, "datagram", route->datagram);
        for (size_t j = 0; j < route->n_hops; j++) {
            json_array_add(hops, json_string_create(
                               route_hop_format(&route->hops[j], hop)));
        }
        json_object_put(object, "locators", hops);
        json_array_add(array, object);
    }
    return array;
}

struct json *
agent_state_to_json(const struct agent_state *state)
{
    struct json *object = json_object_create();

    put_int(object, "version", STATE_VERSION);
    if (state->have_welcome) {
        json_object_put(object, "welcome", welcome_to_json(&state->welcome));
    }
    json_object_put(object, "names_complete",
                    json_boolean_create(state->names_complete));
    json_object_put(object, "names", names_to_json(&state->names));
    json_object_put(object, "services", services_to_json(&state->commands));
    json_object_put(object, "routes", routes_to_json(&state->routes));
    json_object_put(object, "learned_routes", routes_to_json(&state->learned));
    return object;
}

/* From JSON.  Each getter clears '*ok' if the member is missing, of another
 * type or out of range. */

static const struct json *
get(const struct json *object, const char *key, enum json_type type, bool *ok)
{
    const struct json *member
        = (object->type == JSON_OBJECT ? shash_find_data(object->object, key)
                                       : NULL);
    if (!member || member->type != type) {
        *ok = false;
        return NULL;
    }
    return member;
}

static long long int
get_int(const struct json *object, const char *key, long long int min,
        long long int max, bool *ok)
{
    const struct json *member = get(object, key, JSON_INTEGER, ok);

    if (!member || member->integer < min || member->integer > max) {
        *ok = false;
        return 0;
    }
    return member->integer;
}

static const char *
get_string(const struct json *object, const char *key, bool *ok)
{
    const struct json *member = get(object, key, JSON_STRING, ok);
    return member ? member->string : "";
}

static uint32_t
get_address(const struct json *object, const char *key, bool *ok)
{
    struct in_addr in = {0};

    if (inet_pton(AF_INET, get_string(object, key, ok), &in) != 1) {
        *ok = false;
    }
    return ntohl(in.s_addr);
}

static struct in6_addr
get_v6(const struct json *object, const char *key, bool *ok)
{
    struct in6_addr in = {0};

    if (shash_find_data(json_object(object), key)
        && inet_pton(AF_INET6, get_string(object, key, ok), &in) != 1) {
        *ok = false;
    }
    return in;
}

static bool
welcome_from_json(const struct json *object, struct session_welcome *welcome)
{
    bool ok = true;

    welcome->identity_v4 = get_address(object, "identity_v4", &ok);
    welcome->identity_pool_v4 = get_address(object, "identity_pool_v4", &ok);
    welcome->identity_pool_len
        = get_int(object, "identity_pool_len", 1, 32, &ok);
    welcome->service_pool_v4 = get_address(object, "service_pool_v4", &ok);
    welcome->service_pool_len
        = get_int(object, "service_pool_len", 1, 32, &ok);
    welcome->resolver_v4 = get_address(object, "resolver_v4", &ok);
    welcome->resolver_v6 = get_v6(object, "resolver_v6", &ok);
    welcome->identity_prefix_v6 = get_v6(object, "identity_prefix_v6", &ok);
    welcome->service_prefix_v6 = get_v6(object, "service_prefix_v6", &ok);
    welcome->sal_port = get_int(object, "sal_port", 1, UINT16_MAX, &ok);
    welcome->keepalive_interval_ms
        = get_int(object, "keepalive_interval_ms", 1, UINT32_MAX, &ok);
    welcome->lease_ms = get_int(object, "lease_ms", 1, UINT32_MAX, &ok);
    welcome->probe_interval_ms
        = get_int(object, "probe_interval_ms", 1, UINT32_MAX, &ok);
    return ok && welcome->identity_v4;
}

static bool
get_prefix(const struct json *object, const char *name,
           struct service_prefix *prefix)
{
    struct service_prefix of_name;
    bool ok = true;

    return (!service_prefix_from_string(get_string(object, "prefix", &ok),
                                        prefix)
            && ok
            && (!name[0]
                || (!service_prefix_from_name(name, &of_name)
                    && service_prefix_equal(&of_name, prefix))));
}

static bool
ports_from_json(const struct json *object, struct names *names,
                const struct service_prefix *prefix)
{
    const struct json *array = shash_find_data(json_object(object), "ports");
    struct names_port ports[NAMES_MAX_PORTS];
    size_t n = array && array->type == JSON_ARRAY ? array->array.n / 2 : 0;

    n = MIN(n, NAMES_MAX_PORTS);
    for (size_t i = 0; i < n; i++) {
        const struct json *protocol = array->array.elems[2 * i];
        const struct json *port = array->array.elems[2 * i + 1];
        if (protocol->type != JSON_INTEGER || port->type != JSON_INTEGER
            || protocol->integer < 0 || protocol->integer > UINT8_MAX
            || port->integer < 1 || port->integer > UINT16_MAX) {
            return false;
        }
        ports[i] = (struct names_port) {.protocol = protocol->integer,
                                        .port = port->integer};
    }
    names_set_ports(names, prefix, ports, n);
    return true;
}

static bool
name_from_json(const struct json *object, struct names *names)
{
    struct service_prefix prefix;
    bool ok = true;
    const char *name = get_string(object, "name", &ok);
    uint32_t address = get_address(object, "address", &ok);

    if (!ok || !get_prefix(object, name, &prefix)) {
        return false;
    }
    names_put(names, name, &prefix, address);
    return ports_from_json(object, names, &prefix);
}

static bool
service_from_json(const struct json *object, struct local_services *services)
{
    struct local_service service = {.health = HEALTH_NONE};
    bool ok = true, old = true;

    service.name = CONST_CAST(char *, get_string(object, "name", &ok));
    service.protocol = get_int(object, "protocol", 1, UINT8_MAX, &ok);
    service.service_port = get_int(object, "port", 1, UINT16_MAX, &ok);
    service.target_address = get_address(object, "target_address", &ok);
    service.target_port = get_int(object, "target_port", 1, UINT16_MAX, &ok);
    service.weight
        = get_int(object, "weight", 0, LOCAL_SERVICE_WEIGHT_MAX, &ok);
    /* A predecessor may not have written these; 0 then. */
    service.priority = get_int(object, "priority", 0, UINT16_MAX, &old);
    service.capacity = get_int(object, "capacity", 0, UINT32_MAX, &old);
    if (!ok || !get_prefix(object, service.name, &service.prefix)) {
        return false;
    }
    local_services_put(services, &service);
    return true;
}

static bool
route_from_json(const struct json *object, struct service_routes *routes)
{
    struct route_hop hops[HOST_TABLES_MAX_HOPS];
    struct service_route route = {.hops = hops, .expires_ms = INT64_MAX};
    bool ok = true;

    route.name = CONST_CAST(char *, get_string(object, "name", &ok));
    route.action = route_action_parse(get_string(object, "action", &ok));
    route.address = get_address(object, "address", &ok);
    route.path_class = get_int(object, "path_class", 0, 15, &ok);
    route.datagram = get_int(object, "datagram", 0, 1, &ok);
    const struct json *locators = get(object, "locators", JSON_ARRAY, &ok);
    if (!ok || !route.action || locators->array.n > HOST_TABLES_MAX_HOPS
        || !get_prefix(object, route.name, &route.prefix)) {
        return false;
    }
    for (size_t i = 0; i < locators->array.n; i++) {
        const struct json *hop = locators->array.elems[i];
        if (hop->type != JSON_STRING
            || route_hop_parse(hop->string, &hops[route.n_hops++])) {
            return false;
        }
    }
    service_routes_put(routes, &route);
    return true;
}

/* Files of before there were routes have none. */
static bool
routes_from_json(const struct json *json, const char *key,
                 struct service_routes *routes)
{
    const struct json *array = shash_find_data(json->object, key);
    bool ok = !array || array->type == JSON_ARRAY;

    for (size_t i = 0; ok && array && i < array->array.n; i++) {
        ok = route_from_json(array->array.elems[i], routes);
    }
    return ok;
}

static bool
read_all(const struct json *json, struct agent_state *state)
{
    bool ok = true;

    get_int(json, "version", STATE_VERSION, STATE_VERSION, &ok);
    const struct json *names = get(json, "names", JSON_ARRAY, &ok);
    const struct json *services = get(json, "services", JSON_ARRAY, &ok);
    if (!ok) {
        return false;
    }
    const struct json *welcome = shash_find_data(json->object, "welcome");
    if (welcome) {
        state->have_welcome = true;
        ok = welcome_from_json(welcome, &state->welcome);
    }
    const struct json *complete
        = shash_find_data(json->object, "names_complete");
    state->names_complete = complete && complete->type == JSON_TRUE;
    for (size_t i = 0; ok && i < names->array.n; i++) {
        ok = name_from_json(names->array.elems[i], &state->names);
    }
    for (size_t i = 0; ok && i < services->array.n; i++) {
        ok = service_from_json(services->array.elems[i], &state->commands);
    }
    ok = ok && routes_from_json(json, "routes", &state->routes)
         && routes_from_json(json, "learned_routes", &state->learned);
    return ok;
}

int
agent_state_from_json(const struct json *json, struct agent_state *state)
{
    if (!read_all(json, state)) {
        agent_state_destroy(state);
        agent_state_init(state);
        return -EINVAL;
    }
    return 0;
}

/* Files. */

static int
read_file(const char *path, char **ret_text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    size_t done = 0;

    if (fd < 0) {
        return -errno;
    }
    if (fstat(fd, &st) || st.st_size > STATE_MAX_BYTES) {
        close(fd);
        return -EINVAL;
    }
    char *text = xmalloc(st.st_size + 1);
    while (done < st.st_size) {
        ssize_t n = read(fd, text + done, st.st_size - done);
        if (n <= 0) {
            break;
        }
        done += n;
    }
    close(fd);
    text[done] = '\0';
    *ret_text = text;
    return 0;
}

int
agent_state_load(const char *path, struct agent_state *state)
{
    char *text = NULL;
    int error = read_file(path, &text);

    if (error) {
        return error == -ENOENT ? 0 : error;
    }
    /* json_from_string() returns a JSON string that says what is wrong if the
     * text is not JSON; read_all() then finds no object. */
    struct json *json = json_from_string(text);
    error = agent_state_from_json(json, state);
    json_destroy(json);
    free(text);
    return error;
}

static int
write_all(int fd, const char *p, size_t len)
{
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n > 0) {
            p += n;
            len -= n;
        }
    }
    return fsync(fd) ? -errno : 0;
}

int
agent_state_save(const char *path, const struct agent_state *state)
{
    char *temporary = xasprintf("%s.new", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int error = fd < 0 ? -errno : 0;

    if (!error) {
        struct json *json = agent_state_to_json(state);
        char *text = json_to_string(json, JSSF_PRETTY | JSSF_SORT);
        error = write_all(fd, text, strlen(text));
        free(text);
        json_destroy(json);
        if (close(fd) && !error) {
            error = -errno;
        }
        if (!error && rename(temporary, path)) {
            error = -errno;
        }
        if (error) {
            unlink(temporary);
        }
    }
    free(temporary);
    return error;
}
