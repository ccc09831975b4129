/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/service_routes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "util.h"

void
service_routes_init(struct service_routes *routes)
{
    memset(routes, 0, sizeof *routes);
}

static void
route_clear(struct service_route *route)
{
    free(route->name);
    free(route->hops);
}

void
service_routes_destroy(struct service_routes *routes)
{
    for (size_t i = 0; i < routes->n; i++) {
        route_clear(&routes->items[i]);
    }
    free(routes->items);
    service_routes_init(routes);
}

/* Index of the first route that is not before 'prefix'. */
static size_t
lower_bound(const struct service_routes *routes,
            const struct service_prefix *prefix)
{
    size_t low = 0, high = routes->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (service_prefix_compare(&routes->items[middle].prefix, prefix)
            < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool
is_at(const struct service_routes *routes, size_t i,
      const struct service_prefix *prefix)
{
    return i < routes->n
           && service_prefix_equal(&routes->items[i].prefix, prefix);
}

const struct service_route *
service_routes_find(const struct service_routes *routes,
                    const struct service_prefix *prefix)
{
    size_t i = lower_bound(routes, prefix);

    return is_at(routes, i, prefix) ? &routes->items[i] : NULL;
}

static bool
hops_equal(const struct service_route *a, const struct service_route *b)
{
    bool equal = a->n_hops == b->n_hops;

    for (size_t i = 0; equal && i < a->n_hops; i++) {
        equal = a->hops[i].weight == b->hops[i].weight
                && !memcmp(a->hops[i].locator, b->hops[i].locator,
                           sizeof a->hops[i].locator);
    }
    return equal;
}

static bool
route_equal(const struct service_route *a, const struct service_route *b)
{
    return !strcmp(a->name, b->name) && a->action == b->action
           && a->address == b->address && a->path_class == b->path_class
           && a->datagram == b->datagram && a->expires_ms == b->expires_ms
           && hops_equal(a, b);
}

bool
service_routes_put(struct service_routes *routes,
                   const struct service_route *route)
{
    size_t i = lower_bound(routes, &route->prefix);

    if (is_at(routes, i, &route->prefix)) {
        if (route_equal(&routes->items[i], route)) {
            return false;
        }
    } else {
        if (routes->n >= routes->allocated) {
            routes->items = x2nrealloc(routes->items, &routes->allocated,
                                       sizeof *routes->items);
        }
        memmove(&routes->items[i + 1], &routes->items[i],
                (routes->n++ - i) * sizeof *routes->items);
        routes->items[i] = (struct service_route) {.name = NULL};
    }
    struct service_route copy = *route;
    copy.name = xstrdup(route->name);
    copy.hops = route->n_hops
                ? xmemdup(route->hops, route->n_hops * sizeof *route->hops)
                : NULL;
    route_clear(&routes->items[i]);
    routes->items[i] = copy;
    return true;
}

static void
remove_at(struct service_routes *routes, size_t i)
{
    route_clear(&routes->items[i]);
    memmove(&routes->items[i], &routes->items[i + 1],
            (--routes->n - i) * sizeof *routes->items);
}

bool
service_routes_remove(struct service_routes *routes,
                      const struct service_prefix *prefix)
{
    size_t i = lower_bound(routes, prefix);

    if (!is_at(routes, i, prefix)) {
        return false;
    }
    remove_at(routes, i);
    return true;
}

int64_t
service_routes_expire(struct service_routes *routes, int64_t now,
                      bool *ret_changed)
{
    int64_t next = INT64_MAX;

    *ret_changed = false;
    for (size_t i = routes->n; i-- > 0;) {
        if (routes->items[i].expires_ms <= now) {
            remove_at(routes, i);
            *ret_changed = true;
        } else {
            next = MIN(next, routes->items[i].expires_ms);
        }
    }
    return next;
}

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

bool
route_hop_from_bytes(const uint8_t *bytes, size_t len, uint32_t weight,
                     struct route_hop *ret_hop)
{
    struct route_hop hop = {.weight = weight};

    if (!weight || weight > SERVICE_ROUTE_WEIGHT_MAX
        || (len != 4 && len != 16)) {
        return false;
    }
    if (len == 4) {
        memcpy(hop.locator, mapped, sizeof mapped);
    }
    memcpy(hop.locator + 16 - len, bytes, len);
    *ret_hop = hop;
    return true;
}

const char *
route_hop_parse(const char *s, struct route_hop *ret_hop)
{
    struct route_hop hop = {.weight = 1};
    char address[INET6_ADDRSTRLEN];
    size_t len = strcspn(s, ",");
    unsigned int weight;

    if (s[len]) {
        const char *digits = s + len + 1;
        if (digits[strspn(digits, "0123456789")]
            || !str_to_uint(digits, 10, &weight) || !weight
            || weight > SERVICE_ROUTE_WEIGHT_MAX) {
            return "has a weight that is not 1 to 65535";
        }
        hop.weight = weight;
    }
    if (len >= sizeof address) {
        return "is not an address";
    }
    memcpy(address, s, len);
    address[len] = '\0';
    if (inet_pton(AF_INET, address, hop.locator + 12) == 1) {
        memcpy(hop.locator, mapped, sizeof mapped);
    } else if (inet_pton(AF_INET6, address, hop.locator) != 1) {
        return "is not an address";
    }
    *ret_hop = hop;
    return NULL;
}

char *
route_hop_format(const struct route_hop *hop, char buf[ROUTE_HOP_STRLEN])
{
    char address[INET6_ADDRSTRLEN];

    if (!memcmp(hop->locator, mapped, sizeof mapped)) {
        inet_ntop(AF_INET, hop->locator + 12, address, sizeof address);
    } else {
        inet_ntop(AF_INET6, hop->locator, address, sizeof address);
    }
    snprintf(buf, ROUTE_HOP_STRLEN, hop->weight == 1 ? "%s" : "%s,%u", address,
             hop->weight);
    return buf;
}

int
route_prefix_parse(const char *s, struct service_prefix *ret_prefix)
{
    uint8_t id[SAL_ENDPOINT_ID_LEN] = {0};
    struct service_prefix prefix;
    bool any;

    if (strncmp(s, "endpoint:", 9)) {
        return service_prefix_from_string(s, ret_prefix);
    }
    s += 9;
    any = !strcmp(s, "any");
    for (size_t i = 0; i < sizeof id && !any; i++) {
        int high = hexit_value(s[2 * i]);
        int low = high < 0 ? high : hexit_value(s[2 * i + 1]);
        if (low < 0) {
            return -EINVAL;
        }
        id[i] = high << 4 | low;
    }
    if (!any && s[2 * sizeof id]) {
        return -EINVAL;
    }
    service_prefix_of_endpoint(id, &prefix);
    if (any) {
        prefix.len -= 8 * sizeof id;
        service_prefix_normalize(&prefix);
    }
    *ret_prefix = prefix;
    return 0;
}

static const char *const action_names[] = {
    [SERVICE_FORWARD] = "forward", [SERVICE_DEMUX] = "demux",
    [SERVICE_REJECT] = "reject",   [SERVICE_DROP] = "drop",
    [SERVICE_DELAY] = "delay",
};

enum service_action
route_action_parse(const char *name)
{
    for (size_t i = 1; i < ARRAY_SIZE(action_names); i++) {
        if (i != SERVICE_DEMUX && !strcmp(name, action_names[i])) {
            return i;
        }
    }
    return 0;
}

const char *
service_action_name(enum service_action action)
{
    return action && action < ARRAY_SIZE(action_names) ? action_names[action]
                                                       : "?";
}
