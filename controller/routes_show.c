/* SPDX-License-Identifier: Apache-2.0 */
/* The routes for people and programs: routes_format(), routes_to_json(). */
#include "controller/routes.h"

#include <stdlib.h>
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "openvswitch/util.h"
#include "packets.h"
#include "util.h"

static int
compare_services(const void *a_, const void *b_)
{
    const struct service_routes *a = *(const struct service_routes **) a_;
    const struct service_routes *b = *(const struct service_routes **) b_;
    return service_prefix_compare(&a->prefix, &b->prefix);
}

static const struct service_routes **
sorted_services(const struct routes *routes, size_t *ret_n)
{
    size_t n = hmap_count(routes_services(routes)), i = 0;
    const struct service_routes **sorted = xmalloc((n + 1) * sizeof *sorted);
    const struct service_routes *service;

    ROUTES_FOR_EACH_SERVICE (service, routes) {
        sorted[i++] = service;
    }
    qsort(sorted, n, sizeof *sorted, compare_services);
    *ret_n = n;
    return sorted;
}

/* Thousandths of the new connections. */
static unsigned int
share_permille(const struct route *route, const struct route_target *target,
               size_t *ret_tiles)
{
    uint64_t places = 0;

    *ret_tiles = 0;
    for (size_t i = 0; i < route->tiling.n; i++) {
        if (route->tiling.tiles[i].key == target->key) {
            places += TILES_MAX >> route->tiling.tiles[i].bits;
            (*ret_tiles)++;
        }
    }
    return (places * 1000 + TILES_MAX / 2) / TILES_MAX;
}

static void
format_route(const struct route *route, struct ds *s)
{
    ds_put_format(s, "    protocol %u over IPv%c at", route->protocol,
                  route->v6 ? '6' : '4');
    for (size_t i = 0; i < route->n_dpids; i++) {
        ds_put_format(s, " %016"PRIx64, route->dpids[i]);
    }
    ds_put_format(s, ", %"PRIuSIZE" tiles\n", route->tiling.n);
    for (size_t i = 0; i < route->n_targets; i++) {
        const struct route_target *target = &route->targets[i];
        size_t n_tiles;
        unsigned int share = share_permille(route, target, &n_tiles);
        ds_put_cstr(s, "        ");
        ipv6_format_mapped(&target->locator, s);
        ds_put_format(s, " at %016"PRIx64" port %"PRIu32
                      " weight %"PRIu32": %u.%u %% in %"PRIuSIZE" tiles\n",
                      target->dpid, target->port, target->weight, share / 10,
                      share % 10, n_tiles);
    }
}

void
routes_format(const struct routes *routes, struct ds *s)
{
    size_t n;
    const struct service_routes **services = sorted_services(routes, &n);
    for (size_t i = 0; i < n; i++) {
        char prefix[SERVICE_PREFIX_STRLEN];
        ds_put_format(s, "%s\n",
                      service_prefix_format(&services[i]->prefix, prefix));
        for (size_t j = 0; j < services[i]->n_routes; j++) {
            format_route(services[i]->routes[j], s);
        }
    }
    free(services);
}

static struct json *
json_dpid(uint64_t dpid)
{
    return json_string_create_nocopy(xasprintf("%016"PRIx64, dpid));
}

static struct json *
target_to_json(const struct route *route, const struct route_target *target)
{
    char id[ENDPOINT_ID_STRLEN];
    struct json *json = json_object_create();
    size_t n_tiles;

    json_object_put_string(json, "endpoint_id",
                           endpoint_id_format(&target->endpoint, id));
    struct ds locator = DS_EMPTY_INITIALIZER;
    ipv6_format_mapped(&target->locator, &locator);
    json_object_put(json, "locator",
                    json_string_create_nocopy(ds_steal_cstr(&locator)));
    json_object_put(json, "dpid", json_dpid(target->dpid));
    json_object_put(json, "port", json_integer_create(target->port));
    json_object_put(json, "weight", json_integer_create(target->weight));
    json_object_put(json, "share_permille", json_integer_create(
        share_permille(route, target, &n_tiles)));
    json_object_put(json, "tiles", json_integer_create(n_tiles));
    return json;
}

static struct json *
route_to_json(const struct route *route)
{
    struct json *json = json_object_create();
    struct json *array = json_array_create_empty();

    json_object_put(json, "protocol", json_integer_create(route->protocol));
    json_object_put(json, "ip", json_integer_create(route->v6 ? 6 : 4));
    for (size_t i = 0; i < route->n_dpids; i++) {
        json_array_add(array, json_dpid(route->dpids[i]));
    }
    json_object_put(json, "switches", array);
    array = json_array_create_empty();
    for (size_t i = 0; i < route->n_targets; i++) {
        json_array_add(array, target_to_json(route, &route->targets[i]));
    }
    json_object_put(json, "targets", array);
    return json;
}

struct json *
routes_to_json(const struct routes *routes)
{
    struct json *json = json_array_create_empty();
    size_t n;

    const struct service_routes **services = sorted_services(routes, &n);
    for (size_t i = 0; i < n; i++) {
        char prefix[SERVICE_PREFIX_STRLEN];
        struct json *service = json_object_create();
        struct json *array = json_array_create_empty();
        json_object_put_string(service, "prefix",
                               service_prefix_format(&services[i]->prefix,
                                                     prefix));
        for (size_t j = 0; j < services[i]->n_routes; j++) {
            json_array_add(array, route_to_json(services[i]->routes[j]));
        }
        json_object_put(service, "routes", array);
        json_array_add(json, service);
    }
    free(services);
    return json;
}
