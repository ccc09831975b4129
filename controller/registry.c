/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/registry.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include "controller/addresses.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/util.h"
#include "hash.h"
#include "util.h"

/* A prefix that changed and was not yet taken. */
struct change {
    struct hmap_node node;
    struct service_prefix prefix;
    bool names_changed;
};

struct registry {
    struct address_pool *identities;
    struct address_pool *services_pool;
    struct hmap endpoints;   /* struct registry_endpoint. */
    struct hmap identities6; /* The same, by IPv6 identity address. */
    struct hmap services;    /* struct registry_service. */
    struct hmap instances;   /* struct registry_instance. */
    struct hmap changes;     /* struct change. */
    struct ovs_list leases;  /* Endpoints, earliest deadline first. */
    uint64_t last_session;
    uint64_t generation;
    uint64_t zones_generation;
};

static uint32_t
hash_prefix(const struct service_prefix *prefix)
{
    return hash_bytes(prefix, sizeof *prefix, 0);
}

static uint32_t
hash_key(const struct registry_key *key)
{
    uint32_t hash = endpoint_id_hash(&key->endpoint);
    hash = hash_2words(hash, hash_prefix(&key->prefix));
    return hash_2words(hash, key->port << 8 | key->protocol);
}

struct registry *
registry_create(struct address_pool *identities, struct address_pool *services)
{
    struct registry *registry = xzalloc(sizeof *registry);
    registry->identities = identities;
    registry->services_pool = services;
    hmap_init(&registry->endpoints);
    hmap_init(&registry->identities6);
    hmap_init(&registry->services);
    hmap_init(&registry->instances);
    hmap_init(&registry->changes);
    ovs_list_init(&registry->leases);
    return registry;
}

void
registry_destroy(struct registry *registry)
{
    if (!registry) {
        return;
    }
    struct registry_instance *instance;
    HMAP_FOR_EACH_POP (instance, key_node, &registry->instances) {
        free(instance);
    }
    struct registry_endpoint *endpoint;
    HMAP_FOR_EACH_POP (endpoint, id_node, &registry->endpoints) {
        free(endpoint);
    }
    struct registry_service *service;
    HMAP_FOR_EACH_POP (service, prefix_node, &registry->services) {
        free(service->name);
        free(service);
    }
    struct change *change;
    HMAP_FOR_EACH_POP (change, node, &registry->changes) {
        free(change);
    }
    hmap_destroy(&registry->endpoints);
    hmap_destroy(&registry->identities6);
    hmap_destroy(&registry->services);
    hmap_destroy(&registry->instances);
    hmap_destroy(&registry->changes);
    free(registry);
}

/* Changes. */

static void
note_change(struct registry *registry, const struct service_prefix *prefix,
            bool names_changed)
{
    uint32_t hash = hash_prefix(prefix);
    struct change *change;

    registry->generation++;
    HMAP_FOR_EACH_WITH_HASH (change, node, hash, &registry->changes) {
        if (service_prefix_equal(&change->prefix, prefix)) {
            change->names_changed |= names_changed;
            return;
        }
    }
    change = xmalloc(sizeof *change);
    change->prefix = *prefix;
    change->names_changed = names_changed;
    hmap_insert(&registry->changes, &change->node, hash);
}

static int
compare_changes(const void *a_, const void *b_)
{
    const struct registry_change *a = a_, *b = b_;
    return service_prefix_compare(&a->prefix, &b->prefix);
}

size_t
registry_take_changes(struct registry *registry,
                      struct registry_change **ret_changes)
{
    size_t n = hmap_count(&registry->changes), i = 0;
    if (!n) {
        *ret_changes = NULL;
        return 0;
    }

    struct registry_change *changes = xmalloc(n * sizeof *changes);
    struct change *change;
    HMAP_FOR_EACH_POP (change, node, &registry->changes) {
        changes[i].prefix = change->prefix;
        changes[i].names_changed = change->names_changed;
        changes[i].exists = registry_service(registry, &change->prefix);
        i++;
        free(change);
    }
    qsort(changes, n, sizeof *changes, compare_changes);
    *ret_changes = changes;
    return n;
}

bool
registry_has_changes(const struct registry *registry)
{
    return !hmap_is_empty(&registry->changes);
}

uint64_t
registry_generation(const struct registry *registry)
{
    return registry->generation;
}

uint64_t
registry_zones_generation(const struct registry *registry)
{
    return registry->zones_generation;
}

/* Lookups. */

static struct registry_endpoint *
find_endpoint(const struct registry *registry, const struct endpoint_id *id)
{
    struct registry_endpoint *endpoint;
    HMAP_FOR_EACH_WITH_HASH (endpoint, id_node, endpoint_id_hash(id),
                             &registry->endpoints) {
        if (endpoint_id_equal(&endpoint->id, id)) {
            return endpoint;
        }
    }
    return NULL;
}

static struct registry_service *
find_service(const struct registry *registry,
             const struct service_prefix *prefix)
{
    struct registry_service *service;
    HMAP_FOR_EACH_WITH_HASH (service, prefix_node, hash_prefix(prefix),
                             &registry->services) {
        if (service_prefix_equal(&service->prefix, prefix)) {
            return service;
        }
    }
    return NULL;
}

static struct registry_instance *
find_instance(const struct registry *registry, const struct registry_key *key)
{
    struct registry_instance *instance;
    HMAP_FOR_EACH_WITH_HASH (instance, key_node, hash_key(key),
                             &registry->instances) {
        if (instance->port == key->port && instance->protocol == key->protocol
            && endpoint_id_equal(&instance->endpoint->id, &key->endpoint)
            && service_prefix_equal(&instance->service->prefix,
                                    &key->prefix)) {
            return instance;
        }
    }
    return NULL;
}

const struct registry_endpoint *
registry_endpoint(const struct registry *registry,
                  const struct endpoint_id *id)
{
    return find_endpoint(registry, id);
}

const struct registry_service *
registry_service(const struct registry *registry,
                 const struct service_prefix *prefix)
{
    return find_service(registry, prefix);
}

const struct registry_instance *
registry_instance(const struct registry *registry,
                  const struct registry_key *key)
{
    return find_instance(registry, key);
}

const struct hmap *
registry_services(const struct registry *registry)
{
    return &registry->services;
}

const struct hmap *
registry_endpoints(const struct registry *registry)
{
    return &registry->endpoints;
}

size_t
registry_n_instances(const struct registry *registry)
{
    return hmap_count(&registry->instances);
}

/* Services. */

static void
remove_service(struct registry *registry, struct registry_service *service)
{
    note_change(registry, &service->prefix, true);
    address_pool_release(registry->services_pool, &service->prefix,
                         sizeof service->prefix);
    hmap_remove(&registry->services, &service->prefix_node);
    free(service->name);
    free(service);
}

/* Finds the service of 'prefix' or makes it, and gives it 'name' (may be
 * NULL). */
static int
get_service(struct registry *registry, const struct service_prefix *prefix,
            const char *name, struct registry_service **ret_service)
{
    struct service_prefix named;
    if (name && (service_prefix_from_name(name, &named)
                 || !service_prefix_equal(&named, prefix))) {
        return -EINVAL;
    }

    struct registry_service *service = find_service(registry, prefix);
    if (!service) {
        uint32_t address;
        int error = address_pool_assign(registry->services_pool, prefix,
                                        sizeof *prefix, 0, &address);
        if (error) {
            return error;
        }
        service = xzalloc(sizeof *service);
        service->prefix = *prefix;
        service->service_v4 = address;
        ovs_list_init(&service->instances);
        hmap_insert(&registry->services, &service->prefix_node,
                    hash_prefix(prefix));
        note_change(registry, prefix, true);
    }
    if (name && !service->name) {
        service->name = xstrdup(name);
        note_change(registry, prefix, true);
    } else if (name && strcmp(service->name, name)) {
        return -EEXIST;
    }
    *ret_service = service;
    return 0;
}

static bool
same_definition(const struct service_definition *a,
                const struct service_definition *b)
{
    return a->policy == b->policy && a->path_class == b->path_class
           && a->datagram == b->datagram;
}

static void
set_definition(struct registry *registry, struct registry_service *service,
               const struct service_definition *definition)
{
    static const struct service_definition nothing;

    definition = definition ? definition : &nothing;
    if (!same_definition(&service->definition, definition)) {
        service->definition = *definition;
        note_change(registry, &service->prefix, true);
    }
}

int
registry_define(struct registry *registry, const char *name,
                const struct service_definition *definition)
{
    struct service_prefix prefix;
    struct registry_service *service;
    int error = service_prefix_from_name(name, &prefix);
    if (!error) {
        error = get_service(registry, &prefix, name, &service);
    }
    if (!error) {
        service->defined = true;
        set_definition(registry, service, definition);
    }
    return error;
}

int
registry_undefine(struct registry *registry, const char *name)
{
    struct service_prefix prefix;
    int error = service_prefix_from_name(name, &prefix);
    if (error) {
        return error;
    }
    struct registry_service *service = find_service(registry, &prefix);
    if (!service || !service->defined) {
        return -ENOENT;
    }
    service->defined = false;
    set_definition(registry, service, NULL);
    if (!service->n_instances) {
        remove_service(registry, service);
    }
    return 0;
}

/* Instances. */

/* Is this the only instance of the service with its protocol and port? */
static bool
is_only_one(const struct registry_instance *instance)
{
    const struct registry_instance *other;
    REGISTRY_FOR_EACH_INSTANCE_OF (other, instance->service) {
        if (other != instance && other->port == instance->port
            && other->protocol == instance->protocol) {
            return false;
        }
    }
    return true;
}

static void
remove_instance(struct registry *registry, struct registry_instance *instance)
{
    note_change(registry, &instance->service->prefix, is_only_one(instance));
    instance->service->n_instances--;
    instance->endpoint->n_instances--;
    hmap_remove(&registry->instances, &instance->key_node);
    ovs_list_remove(&instance->endpoint_node);
    ovs_list_remove(&instance->service_node);
    free(instance);
}

int
registry_register(struct registry *registry, const struct registry_key *key,
                  const char *name, const struct registry_offer *offer,
                  const struct registry_service **ret_service)
{
    if (!key->port || !key->protocol) {
        return -EINVAL;
    }
    struct registry_endpoint *endpoint = find_endpoint(registry,
                                                       &key->endpoint);
    if (!endpoint) {
        return -ENOENT;
    }
    struct registry_service *service;
    int error = get_service(registry, &key->prefix, name, &service);
    if (error) {
        return error;
    }

    struct registry_instance *instance = find_instance(registry, key);
    if (!instance) {
        instance = xzalloc(sizeof *instance);
        instance->endpoint = endpoint;
        instance->service = service;
        instance->port = key->port;
        instance->protocol = key->protocol;
        hmap_insert(&registry->instances, &instance->key_node, hash_key(key));
        ovs_list_push_back(&endpoint->instances, &instance->endpoint_node);
        ovs_list_push_back(&service->instances, &instance->service_node);
        endpoint->n_instances++;
        service->n_instances++;
        note_change(registry, &key->prefix, is_only_one(instance));
    } else if (instance->offer.weight != offer->weight
               || instance->offer.priority != offer->priority
               || instance->offer.capacity != offer->capacity) {
        note_change(registry, &key->prefix, false);
    }
    instance->offer = *offer;
    if (ret_service) {
        *ret_service = service;
    }
    return 0;
}

/* On somebody's wish: the service goes with its last instance. */
static void
unregister_instance(struct registry *registry,
                    struct registry_instance *instance)
{
    struct registry_service *service = instance->service;
    remove_instance(registry, instance);
    if (!service->n_instances && !service->defined) {
        remove_service(registry, service);
    }
}

int
registry_unregister(struct registry *registry, const struct registry_key *key)
{
    struct registry_instance *instance = find_instance(registry, key);
    if (!instance) {
        return -ENOENT;
    }
    unregister_instance(registry, instance);
    return 0;
}

/* Endpoints. */

/* Puts the endpoint into its place among the leases.  Leases are mostly of one
 * length, so that place is at or near the end. */
static void
set_lease(struct registry *registry, struct registry_endpoint *endpoint,
          long long int deadline)
{
    struct registry_endpoint *before;

    endpoint->lease_deadline = deadline;
    LIST_FOR_EACH_REVERSE (before, lease_node, &registry->leases) {
        if (before->lease_deadline <= deadline) {
            /* ovs_list_insert() inserts before its first argument. */
            ovs_list_insert(before->lease_node.next, &endpoint->lease_node);
            return;
        }
    }
    ovs_list_push_front(&registry->leases, &endpoint->lease_node);
}

static void
forget_endpoint(struct registry *registry, struct registry_endpoint *endpoint)
{
    ovs_assert(ovs_list_is_empty(&endpoint->instances));
    address_pool_release(registry->identities, &endpoint->id,
                         sizeof endpoint->id);
    hmap_remove(&registry->endpoints, &endpoint->id_node);
    hmap_remove(&registry->identities6, &endpoint->identity_node);
    ovs_list_remove(&endpoint->lease_node);
    registry->zones_generation += endpoint->zone[0] != '\0';
    free(endpoint);
}

/* identity_address_v6(): the first 80 bits of the endpoint ID. */
#define IDENTITY6_LEN 10

static uint32_t
hash_identity6(const struct endpoint_id *id)
{
    return hash_bytes(id, IDENTITY6_LEN, 0);
}

static bool
identity6_is_taken(const struct registry *registry,
                   const struct endpoint_id *id)
{
    const struct registry_endpoint *endpoint;
    HMAP_FOR_EACH_WITH_HASH (endpoint, identity_node, hash_identity6(id),
                             &registry->identities6) {
        if (!memcmp(&endpoint->id, id, IDENTITY6_LEN)) {
            return true;
        }
    }
    return false;
}

int
registry_session_begin(struct registry *registry, const struct endpoint_id *id,
                       const char *name, uint32_t wanted_v4,
                       long long int lease_deadline, uint64_t *ret_session)
{
    size_t name_len = strnlen(name, REGISTRY_NAME_MAX + 1);
    if (!name_len || name_len > REGISTRY_NAME_MAX) {
        return -EINVAL;
    }

    struct registry_endpoint *endpoint = find_endpoint(registry, id);
    if (!endpoint) {
        uint32_t address;
        if (identity6_is_taken(registry, id)) {
            return -EADDRINUSE;
        }
        int error = address_pool_assign_endpoint(registry->identities, id,
                                                 wanted_v4, &address);
        if (error) {
            return error;
        }
        endpoint = xzalloc(sizeof *endpoint);
        endpoint->id = *id;
        endpoint->identity_v4 = address;
        ovs_list_init(&endpoint->instances);
        hmap_insert(&registry->endpoints, &endpoint->id_node,
                    endpoint_id_hash(id));
        hmap_insert(&registry->identities6, &endpoint->identity_node,
                    hash_identity6(id));
    } else {
        ovs_list_remove(&endpoint->lease_node);
    }
    set_lease(registry, endpoint, lease_deadline);
    memcpy(endpoint->name, name, name_len + 1);
    endpoint->state = REGISTRY_CONNECTED;
    endpoint->session = ++registry->last_session;
    *ret_session = endpoint->session;
    return 0;
}

void
registry_set_zone(struct registry *registry, const struct endpoint_id *id,
                  const char *zone)
{
    struct registry_endpoint *endpoint = find_endpoint(registry, id);
    if (!endpoint || !strcmp(endpoint->zone, zone)) {
        return;
    }
    struct registry_instance *instance;
    ovs_strlcpy(endpoint->zone, zone, sizeof endpoint->zone);
    registry->zones_generation++;
    LIST_FOR_EACH (instance, endpoint_node, &endpoint->instances) {
        note_change(registry, &instance->service->prefix, false);
    }
}

void
registry_session_end(struct registry *registry, const struct endpoint_id *id,
                     uint64_t session)
{
    struct registry_endpoint *endpoint = find_endpoint(registry, id);
    if (endpoint && endpoint->session == session) {
        endpoint->state = REGISTRY_AWAY;
    }
}

int
registry_renew(struct registry *registry, const struct endpoint_id *id,
               long long int lease_deadline)
{
    struct registry_endpoint *endpoint = find_endpoint(registry, id);
    if (!endpoint) {
        return -ENOENT;
    }
    ovs_list_remove(&endpoint->lease_node);
    set_lease(registry, endpoint, lease_deadline);
    return 0;
}

void
registry_remove_endpoint(struct registry *registry,
                         const struct endpoint_id *id)
{
    struct registry_endpoint *endpoint = find_endpoint(registry, id);
    if (!endpoint) {
        return;
    }
    struct registry_instance *instance;
    LIST_FOR_EACH_SAFE (instance, endpoint_node, &endpoint->instances) {
        unregister_instance(registry, instance);
    }
    forget_endpoint(registry, endpoint);
}

long long int
registry_run(struct registry *registry, long long int now)
{
    struct registry_endpoint *endpoint;
    LIST_FOR_EACH_SAFE (endpoint, lease_node, &registry->leases) {
        if (endpoint->lease_deadline > now) {
            return endpoint->lease_deadline;
        }
        struct registry_instance *instance;
        LIST_FOR_EACH_SAFE (instance, endpoint_node, &endpoint->instances) {
            remove_instance(registry, instance);
        }
        forget_endpoint(registry, endpoint);
    }
    return LLONG_MAX;
}
