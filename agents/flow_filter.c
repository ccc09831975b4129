/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/flow_filter.h"

#include <stdlib.h>
#include <string.h>
#include "agents/local_services.h"
#include "openvswitch/json.h"
#include "util.h"

static char *
parse_filter(const char *arg, struct flow_filter *filter)
{
    const char *equals = strchr(arg, '=');
    const char *value = equals ? equals + 1 : "";
    size_t len = equals ? equals - arg : 0;
    unsigned int port;

#define KEY_IS(KEY) (len == strlen(KEY) && !strncmp(arg, KEY, len))
    if (!strcmp(arg, "--count")) {
        filter->count = true;
    } else if (KEY_IS("state")) {
        filter->state = value;
    } else if (KEY_IS("peer")) {
        filter->peer = value;
    } else if (KEY_IS("address")) {
        filter->address = value;
    } else if (KEY_IS("role")) {
        filter->role = value;
        if (strcmp(value, "client") && strcmp(value, "server")) {
            return xasprintf("role: \"%.40s\" is neither client nor server",
                             value);
        }
    } else if (KEY_IS("port")) {
        if (!str_to_uint(value, 10, &port) || !port || port > UINT16_MAX) {
            return xasprintf("port: \"%.40s\" is not 1 to 65535", value);
        }
        filter->port = port;
    } else if (KEY_IS("proto")) {
        filter->protocol = local_service_protocol(value);
        if (!filter->protocol) {
            return xasprintf("proto: \"%.40s\" is neither tcp nor udp", value);
        }
    } else if (KEY_IS("service")) {
        filter->by_service = true;
        if (service_prefix_from_name(value, &filter->service)
            && service_prefix_from_string(value, &filter->service)) {
            return xasprintf("service: \"%.80s\" is neither a name nor a "
                             "service ID", value);
        }
    } else {
        return xasprintf("\"%.40s\" is no filter; use state=, service=, "
                         "peer=, address=, port=, proto=, role=, --count",
                         arg);
    }
#undef KEY_IS
    return NULL;
}

char *
flow_filter_parse(int argc, const char *const argv[],
                  struct flow_filter *filter)
{
    memset(filter, 0, sizeof *filter);
    for (int i = 0; i < argc; i++) {
        char *error = parse_filter(argv[i], filter);
        if (error) {
            return error;
        }
    }
    return NULL;
}

static const struct json *
member(const struct json *object, const char *key)
{
    return (object && object->type == JSON_OBJECT
                ? shash_find_data(object->object, key)
                : NULL);
}

static const char *
string_of(const struct json *object, const char *key)
{
    const struct json *value = member(object, key);
    return value && value->type == JSON_STRING ? value->string : "";
}

static long long int
integer_of(const struct json *object, const char *key)
{
    const struct json *value = member(object, key);
    return value && value->type == JSON_INTEGER ? value->integer : 0;
}

static bool
string_fits(const char *wanted, const struct json *object, const char *key)
{
    return !wanted || !strcmp(string_of(object, key), wanted);
}

static bool
service_fits(const struct flow_filter *filter, const struct json *flow)
{
    struct service_prefix service;

    return (!filter->by_service
            || (!service_prefix_from_string(string_of(flow, "service"),
                                            &service)
                && service_prefix_contains(&filter->service, &service)));
}

bool
flow_filter_matches(const struct flow_filter *filter, const struct json *flow)
{
    const struct json *inner = member(flow, "inner");

    return (string_fits(filter->state, flow, "state")
            && string_fits(filter->role, flow, "role")
            && string_fits(filter->peer, flow, "peer_locator")
            && (string_fits(filter->address, inner, "local")
                || string_fits(filter->address, inner, "remote"))
            && (!filter->port
                || integer_of(inner, "local_port") == filter->port
                || integer_of(inner, "remote_port") == filter->port)
            && (!filter->protocol
                || integer_of(inner, "protocol") == filter->protocol)
            && service_fits(filter, flow));
}

/* "web.shop.acme", or the ID's beginning. */
static void
put_service(const struct json *flow, const struct names *names, struct ds *out)
{
    const char *text = string_of(flow, "service");
    struct service_prefix service;
    const struct names_entry *entry
        = (!service_prefix_from_string(text, &service)
               ? names_by_service_id(names, &service.id)
               : NULL);

    if (entry && entry->name[0]) {
        ds_put_cstr(out, entry->name);
    } else {
        ds_put_format(out, "%.18s...", text);
    }
}

void
flow_filter_put_flow(const struct json *flow, const struct names *names,
                     struct ds *out)
{
    const struct json *inner = member(flow, "inner");
    bool server = !strcmp(string_of(flow, "role"), "server");

    ds_put_format(
        out, "%s %-9s %s %s:%lld %s %s:%lld peer %s via %s endpoint %s age %.1fs "
        "in %lld/%lld out %lld/%lld ", string_of(flow, "id"),
        string_of(flow, "state"),
        local_service_protocol_name(integer_of(inner, "protocol")),
        string_of(inner, "local"), integer_of(inner, "local_port"),
        server ? "<-" : "->", string_of(inner, "remote"),
        integer_of(inner, "remote_port"), string_of(flow, "peer_locator"),
        string_of(flow, "own_locator"),
        string_of(flow, "peer_endpoint")[0]
            ? string_of(flow, "peer_endpoint") : "-",
        integer_of(flow, "age_ms") / 1e3,
        integer_of(flow, "in_packets"), integer_of(flow, "in_bytes"),
        integer_of(flow, "out_packets"), integer_of(flow, "out_bytes"));
    put_service(flow, names, out);
    ds_put_char(out, '\n');
}

void
flow_filter_print(const struct flow_filter *filter, const struct json *flows,
                  const struct names *names, bool as_json, struct ds *out)
{
    size_t n = flows->type == JSON_ARRAY ? flows->array.n : 0, matched = 0;

    if (as_json && !filter->count) {
        ds_put_char(out, '[');
    }
    for (size_t i = 0; i < n; i++) {
        const struct json *flow = flows->array.elems[i];
        if (!flow_filter_matches(filter, flow)) {
            continue;
        }
        matched++;
        if (filter->count) {
            continue;
        }
        if (as_json) {
            ds_put_cstr(out, matched > 1 ? "," : "");
            json_to_ds(flow, JSSF_SORT, out);
        } else {
            flow_filter_put_flow(flow, names, out);
        }
    }
    if (filter->count) {
        ds_put_format(out, "%"PRIuSIZE"\n", matched);
    } else if (as_json) {
        ds_put_cstr(out, "]\n");
    }
}

static bool
is_end(const struct json *inner, const char *key, const char *port_key,
       const char *wanted)
{
    char *end = xasprintf("%s:%lld", string_of(inner, key),
                          integer_of(inner, port_key));
    bool equal = !strcmp(end, wanted);
    free(end);
    return equal;
}

bool
flow_filter_print_peer(const struct json *flows, const char *local,
                       const char *remote, struct ds *out)
{
    size_t n = flows->type == JSON_ARRAY ? flows->array.n : 0;

    for (size_t i = 0; i < n; i++) {
        const struct json *flow = flows->array.elems[i];
        const struct json *inner = member(flow, "inner");
        if (is_end(inner, "local", "local_port", local)
            && is_end(inner, "remote", "remote_port", remote)) {
            ds_put_format(out, "identity %s locator %s role %s state %s "
                          "service %s\n", string_of(inner, "remote"),
                          string_of(flow, "peer_locator"),
                          string_of(flow, "role"), string_of(flow, "state"),
                          string_of(flow, "service"));
            return true;
        }
    }
    return false;
}
