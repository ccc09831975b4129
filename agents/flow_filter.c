/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/flow_filter.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include "agents/flow_format.h"
#include "agents/local_services.h"
#include "util.h"

static char *
parse_number(const char *what, const char *value, unsigned int max,
             unsigned int *ret)
{
    unsigned int number;

    if (value[strspn(value, "0123456789")] || !str_to_uint(value, 10, &number)
        || !number || number > max) {
        return xasprintf("%s: \"%.40s\" is not 1 to %u", what, value, max);
    }
    *ret = number;
    return NULL;
}

static char *
parse_address(const char *what, const char *value, struct sal_addr *ret)
{
    return (sal_addr_parse(value, ret)
                ? NULL
                : xasprintf("%s: \"%.60s\" is no address", what, value));
}

static char *
parse_state(const char *value, int *ret_state)
{
    for (int state = SAL_FLOW_HALF_OPEN; state <= SAL_FLOW_CLOSING; state++) {
        struct sal_flow flow = {.state = state};
        if (!strcmp(value, flow_state_name(&flow))) {
            *ret_state = state;
            return NULL;
        }
    }
    return xasprintf("state: \"%.40s\" is none of half-open, bound, closing",
                     value);
}

static char *
parse_filter(const char *arg, struct flow_filter *filter)
{
    const char *equals = strchr(arg, '=');
    const char *value = equals ? equals + 1 : "";
    size_t len = equals ? equals - arg : 0;
    unsigned int port = 0;

#define KEY_IS(KEY) (len == strlen(KEY) && !strncmp(arg, KEY, len))
    if (!strcmp(arg, "--count")) {
        filter->count = true;
    } else if (KEY_IS("--limit")) {
        return parse_number("--limit", value, FLOW_FILTER_LIMIT_MAX,
                            &filter->limit);
    } else if (KEY_IS("state")) {
        return parse_state(value, &filter->state);
    } else if (KEY_IS("peer")) {
        filter->by_peer = true;
        return parse_address("peer", value, &filter->peer);
    } else if (KEY_IS("address")) {
        filter->by_address = true;
        return parse_address("address", value, &filter->address);
    } else if (KEY_IS("role")) {
        filter->role = value[0];
        if (strcmp(value, "client") && strcmp(value, "server")) {
            return xasprintf("role: \"%.40s\" is neither client nor server",
                             value);
        }
    } else if (KEY_IS("port")) {
        char *error = parse_number("port", value, UINT16_MAX, &port);
        filter->port = port;
        return error;
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
                         "peer=, address=, port=, proto=, role=, --count, "
                         "--limit N",
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
    filter->limit = FLOW_FILTER_LIMIT;
    for (int i = 0; i < argc; i++) {
        char *error
            = (!strcmp(argv[i], "--limit") && i + 1 < argc
                   ? parse_number(argv[i], argv[i + 1], FLOW_FILTER_LIMIT_MAX,
                                  &filter->limit)
                   : parse_filter(argv[i], filter));
        if (error) {
            return error;
        }
        i += !strcmp(argv[i], "--limit");
    }
    return NULL;
}

static bool
equal(const struct sal_addr *a, const struct sal_addr *b)
{
    return !memcmp(a, b, sizeof *a);
}

static bool
service_fits(const struct flow_filter *filter, const struct sal_flow *flow)
{
    struct service_id id;

    memcpy(id.bytes, flow->service_id, sizeof id.bytes);
    return service_prefix_contains_id(&filter->service, &id);
}

bool
flow_filter_matches(const struct flow_filter *filter,
                    const struct sal_flow *flow)
{
    const struct sal_tuple *local = &flow->local;

    return ((!filter->state || filter->state == flow->state)
            && (!filter->role || filter->role == flow_role_name(flow)[0])
            && (!filter->by_peer
                || equal(&filter->peer, &flow->peer_locator))
            && (!filter->by_address || equal(&filter->address, &local->local)
                || equal(&filter->address, &local->remote))
            && (!filter->port || ntohs(local->lport) == filter->port
                || ntohs(local->rport) == filter->port)
            && (!filter->protocol || local->proto == filter->protocol)
            && (!filter->by_service || service_fits(filter, flow)));
}
