/* SPDX-License-Identifier: Apache-2.0 */
/* The registry for people and programs: registry_format(),
 * registry_to_json(). */
#include "controller/registry.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "openvswitch/util.h"
#include "packets.h"
#include "util.h"

/* Services in order of name, then of prefix: the same registry is always
 * shown the same. */
static int
compare_services(const void *a_, const void *b_)
{
    const struct registry_service *a = *(const struct registry_service **) a_;
    const struct registry_service *b = *(const struct registry_service **) b_;
    int diff = strcmp(a->name ? a->name : "", b->name ? b->name : "");
    return diff ? diff : service_prefix_compare(&a->prefix, &b->prefix);
}

static const struct registry_service **
sorted_services(const struct registry *registry, size_t *ret_n)
{
    size_t n = hmap_count(registry_services(registry)), i = 0;
    const struct registry_service **sorted = xmalloc((n + 1) * sizeof *sorted);
    const struct registry_service *service;

    REGISTRY_FOR_EACH_SERVICE (service, registry) {
        sorted[i++] = service;
    }
    qsort(sorted, n, sizeof *sorted, compare_services);
    *ret_n = n;
    return sorted;
}

static int
compare_endpoints(const void *a_, const void *b_)
{
    const struct registry_endpoint *const *a = a_, *const *b = b_;
    int diff = strcmp((*a)->name, (*b)->name);
    return diff ? diff : memcmp(&(*a)->id, &(*b)->id, sizeof (*a)->id);
}

static const struct registry_endpoint **
sorted_endpoints(const struct registry *registry, size_t *ret_n)
{
    size_t n = hmap_count(registry_endpoints(registry)), i = 0;
    const struct registry_endpoint **sorted
        = xmalloc((n + 1) * sizeof *sorted);
    const struct registry_endpoint *endpoint;

    REGISTRY_FOR_EACH_ENDPOINT (endpoint, registry) {
        sorted[i++] = endpoint;
    }
    qsort(sorted, n, sizeof *sorted, compare_endpoints);
    *ret_n = n;
    return sorted;
}

static const char *
state_name(const struct registry_endpoint *endpoint)
{
    return endpoint->state == REGISTRY_CONNECTED ? "connected" : "away";
}

static struct json *
json_ipv4(uint32_t address)
{
    return json_string_create_nocopy(
        xasprintf(IP_FMT, IP_ARGS(htonl(address))));
}

static struct json *
instance_to_json(const struct registry_instance *instance)
{
    char id[ENDPOINT_ID_STRLEN];
    struct json *json = json_object_create();

    json_object_put_string(json, "endpoint", instance->endpoint->name);
    json_object_put_string(json, "endpoint_id",
                           endpoint_id_format(&instance->endpoint->id, id));
    json_object_put(json, "protocol",
                    json_integer_create(instance->protocol));
    json_object_put(json, "port", json_integer_create(instance->port));
    json_object_put(json, "weight",
                    json_integer_create(instance->offer.weight));
    json_object_put(json, "priority",
                    json_integer_create(instance->offer.priority));
    json_object_put(json, "capacity",
                    json_integer_create(instance->offer.capacity));
    return json;
}

static struct json *
service_to_json(const struct registry_service *service)
{
    char prefix[SERVICE_PREFIX_STRLEN];
    struct json *json = json_object_create();
    struct json *instances = json_array_create_empty();
    const struct registry_instance *instance;

    if (service->name) {
        json_object_put_string(json, "name", service->name);
    }
    json_object_put_string(json, "prefix",
                           service_prefix_format(&service->prefix, prefix));
    json_object_put(json, "service_v4", json_ipv4(service->service_v4));
    json_object_put(json, "defined", json_boolean_create(service->defined));
    json_object_put_string(json, "policy",
                           route_policy_string(service->definition.policy));
    json_object_put(json, "path_class",
                    json_integer_create(service->definition.path_class));
    json_object_put(json, "datagram",
                    json_boolean_create(service->definition.datagram));
    REGISTRY_FOR_EACH_INSTANCE_OF (instance, service) {
        json_array_add(instances, instance_to_json(instance));
    }
    json_object_put(json, "instances", instances);
    return json;
}

static struct json *
endpoint_to_json(const struct registry_endpoint *endpoint, long long int now)
{
    char id[ENDPOINT_ID_STRLEN];
    struct json *json = json_object_create();

    json_object_put_string(json, "name", endpoint->name);
    json_object_put_string(json, "endpoint_id",
                           endpoint_id_format(&endpoint->id, id));
    json_object_put(json, "identity_v4", json_ipv4(endpoint->identity_v4));
    json_object_put_string(json, "state", state_name(endpoint));
    json_object_put_string(json, "zone", endpoint->zone);
    json_object_put(json, "lease_left_ms",
                    json_integer_create(endpoint->lease_deadline - now));
    json_object_put(json, "instances",
                    json_integer_create(endpoint->n_instances));
    return json;
}

struct json *
registry_to_json(const struct registry *registry, long long int now)
{
    struct json *json = json_object_create();
    struct json *array = json_array_create_empty();
    size_t n;

    const struct registry_service **services = sorted_services(registry, &n);
    for (size_t i = 0; i < n; i++) {
        json_array_add(array, service_to_json(services[i]));
    }
    free(services);
    json_object_put(json, "services", array);

    array = json_array_create_empty();
    const struct registry_endpoint **endpoints
        = sorted_endpoints(registry, &n);
    for (size_t i = 0; i < n; i++) {
        json_array_add(array, endpoint_to_json(endpoints[i], now));
    }
    free(endpoints);
    json_object_put(json, "endpoints", array);
    return json;
}

static void
format_service(const struct registry_service *service, struct ds *s)
{
    char prefix[SERVICE_PREFIX_STRLEN];
    const struct registry_instance *instance;

    ds_put_format(s, "%s "IP_FMT" %s%s\n", service->name ? service->name : "-",
                  IP_ARGS(htonl(service->service_v4)),
                  service_prefix_format(&service->prefix, prefix),
                  service->defined ? " defined" : "");
    REGISTRY_FOR_EACH_INSTANCE_OF (instance, service) {
        ds_put_format(s, "    %s protocol %u port %u weight %u%s%s\n",
                      instance->endpoint->name, instance->protocol,
                      instance->port, instance->offer.weight,
                      instance->offer.weight ? "" : " (draining)",
                      instance->endpoint->state == REGISTRY_AWAY ? " (away)"
                                                                 : "");
    }
    if (!service->n_instances) {
        ds_put_cstr(s, "    nobody serves it\n");
    }
}

void
registry_format(const struct registry *registry, long long int now,
                struct ds *s)
{
    size_t n;
    const struct registry_service **services = sorted_services(registry, &n);
    for (size_t i = 0; i < n; i++) {
        format_service(services[i], s);
    }
    free(services);

    const struct registry_endpoint **endpoints
        = sorted_endpoints(registry, &n);
    for (size_t i = 0; i < n; i++) {
        char id[ENDPOINT_ID_STRLEN];
        ds_put_format(s,
                      "endpoint %s "IP_FMT" %s, lease ends in %lld ms, %s\n",
                      endpoints[i]->name,
                      IP_ARGS(htonl(endpoints[i]->identity_v4)),
                      state_name(endpoints[i]),
                      endpoints[i]->lease_deadline - now,
                      endpoint_id_format(&endpoints[i]->id, id));
    }
    free(endpoints);
}
