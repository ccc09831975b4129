/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/desired.h"

#include <stdlib.h>
#include <string.h>
#include "packets.h"
#include "util.h"

static void
put_rule(struct host_tables *tables, const struct service_prefix *prefix,
         enum service_action action)
{
    struct service_rule rule = {.prefix = *prefix, .action = action};
    host_tables_put_rule(tables, &rule);
}

static void
put_own(struct host_tables *tables, const struct local_service *service)
{
    struct local_target target = {
        .prefix = service->prefix,
        .protocol = service->protocol,
        .service_port = service->service_port,
        .address = service->target_address
                   ? in6_addr_mapped_ipv4(htonl(service->target_address))
                   : in6addr_any,
        .port = service->target_port,
    };
    host_tables_put_target(tables, &target);
    put_rule(tables, &service->prefix, SERVICE_DEMUX);
}

/* Our own prefixes, for finding those that cover a name in as many lookups as
 * there are different lengths, mostly one. */
struct own_prefixes {
    struct names set; /* Entries without name and address. */
    uint16_t lens[SAL_SERVICE_ID_BITS + 1];
    size_t n_lens;
};

static void
own_prefixes_init(struct own_prefixes *own,
                  const struct registrations *registrations)
{
    bool seen[SAL_SERVICE_ID_BITS + 1] = {false};
    const struct registration *reg;

    names_init(&own->set);
    own->n_lens = 0;
    HMAP_FOR_EACH (reg, node, &registrations->map) {
        const struct service_prefix *prefix = &reg->service.prefix;
        names_put(&own->set, NULL, prefix, 0);
        if (!seen[prefix->len]) {
            seen[prefix->len] = true;
            own->lens[own->n_lens++] = prefix->len;
        }
    }
}

/* Does one of ours, shorter than 'name', cover it, but is it not ours? */
static bool
is_hole(const struct own_prefixes *own, const struct service_prefix *name)
{
    if (names_by_prefix(&own->set, name)) {
        return false;
    }
    for (size_t i = 0; i < own->n_lens; i++) {
        struct service_prefix outer = {.id = name->id, .len = own->lens[i]};
        service_prefix_normalize(&outer);
        if (outer.len < name->len && names_by_prefix(&own->set, &outer)) {
            return true;
        }
    }
    return false;
}

struct in6_addr
desired_identity_v6(const struct session_welcome *welcome,
                    const uint8_t *endpoint_id)
{
    struct in6_addr address = in6addr_any;
    if (!IN6_IS_ADDR_UNSPECIFIED(&welcome->identity_prefix_v6)) {
        identity_address_v6(endpoint_id, welcome->identity_prefix_v6.s6_addr,
                            address.s6_addr);
    }
    return address;
}

struct in6_addr
desired_service_v6(const struct session_welcome *welcome,
                   const struct service_prefix *prefix)
{
    struct in6_addr address = in6addr_any;
    if (!IN6_IS_ADDR_UNSPECIFIED(&welcome->service_prefix_v6)) {
        service_address_v6(prefix, welcome->service_prefix_v6.s6_addr,
                           address.s6_addr);
    }
    return address;
}

/* Addresses, to be put in ascending order, as the tables are sorted: appending
 * is cheap, inserting is not. */
struct address_list {
    const struct session_welcome *welcome;
    struct service_address *all;
    size_t n;
};

static int
compare_addresses(const void *a_, const void *b_)
{
    const struct service_address *a = a_, *b = b_;
    return memcmp(&a->address, &b->address, sizeof a->address);
}

/* Both addresses of the service 'prefix'; 'v4' may be 0. */
static void
add_addresses(struct address_list *list, uint32_t v4,
              const struct service_prefix *prefix)
{
    struct service_address address = {.id = prefix->id};
    if (v4) {
        in6_addr_set_mapped_ipv4(&address.address, htonl(v4));
        list->all[list->n++] = address;
    }
    address.address = desired_service_v6(list->welcome, prefix);
    if (!IN6_IS_ADDR_UNSPECIFIED(&address.address)) {
        list->all[list->n++] = address;
    }
}

static void
put_addresses(struct host_tables *tables, const struct desired_input *input)
{
    const struct names_entry *entry;
    const struct lease *lease;
    size_t n = names_count(input->names)
               + (input->leases ? leases_count(input->leases) : 0);
    struct address_list list = {
        .welcome = input->welcome,
        .all = xmalloc((2 * n + 1) * sizeof *list.all)};

    HMAP_FOR_EACH (entry, prefix_node, &input->names->by_prefix) {
        add_addresses(&list, entry->address, &entry->prefix);
    }
    if (input->leases) {
        LIST_FOR_EACH (lease, node, &input->leases->all) {
            struct service_prefix prefix = {.id = lease->id,
                                            .len = SAL_SERVICE_ID_BITS};
            add_addresses(&list, lease->address, &prefix);
        }
    }
    qsort(list.all, list.n, sizeof *list.all, compare_addresses);
    for (size_t i = 0; i < list.n; i++) {
        host_tables_put_address(tables, &list.all[i]);
    }
    free(list.all);
}

static void
put_route(struct host_tables *tables, const struct service_route *route)
{
    struct service_rule rule = {.prefix = route->prefix,
                                .action = route->action,
                                .path_class = route->path_class,
                                .datagram = route->datagram};
    host_tables_put_rule(tables, &rule);
    for (size_t i = 0; i < route->n_hops; i++) {
        struct service_hop hop = {.prefix = route->prefix,
                                  .weight = route->hops[i].weight};
        memcpy(hop.locator, route->hops[i].locator, sizeof hop.locator);
        host_tables_put_hop(tables, &hop);
    }
}

/* True if 'other', if there is one, says more of a prefix than 'route', which
 * is in an earlier set. */
static bool
overrules(const struct service_route *other, bool route_is_answer)
{
    return other && !(route_is_answer && other->action == SERVICE_DELAY);
}

/* Each prefix's route of the last set that has one; where that is DELAY, the
 * answer, once there is one. */
static void
put_routes(struct host_tables *tables, const struct desired_input *input)
{
    for (size_t i = 0; i < input->n_routes; i++) {
        const struct service_routes *routes = input->routes[i];
        for (size_t j = 0; j < routes->n; j++) {
            const struct service_route *route = &routes->items[j];
            bool overruled = input->answers && routes != input->answers
                             && route->action == SERVICE_DELAY
                             && service_routes_find(input->answers,
                                                    &route->prefix);
            for (size_t k = i + 1; k < input->n_routes; k++) {
                overruled |= overrules(service_routes_find(input->routes[k],
                                                           &route->prefix),
                                       routes == input->answers);
            }
            if (!overruled) {
                put_route(tables, route);
            }
        }
    }
}

void
desired_compute(const struct desired_input *input,
                struct host_tables *ret_tables)
{
    const struct service_prefix everything = {.len = 0};
    const struct registration *reg;
    const struct names_entry *entry;
    struct own_prefixes own;

    host_tables_init(ret_tables);

    struct host_settings *settings = &ret_tables->settings;
    settings->identity_v4 = input->welcome->identity_v4;
    settings->resolver_v4 = input->welcome->resolver_v4;
    settings->resolver_v6 = input->welcome->resolver_v6;
    settings->identity_v6 = desired_identity_v6(input->welcome,
                                                input->endpoint_id);
    settings->prefer_v6 = input->prefer_v6;
    settings->router = input->router;
    settings->sal_port = input->welcome->sal_port;
    memcpy(settings->endpoint_id, input->endpoint_id,
           sizeof settings->endpoint_id);

    put_addresses(ret_tables, input);
    put_rule(ret_tables, &everything, input->default_action);
    own_prefixes_init(&own, input->registrations);
    HMAP_FOR_EACH (entry, prefix_node, &input->names->by_prefix) {
        if (is_hole(&own, &entry->prefix)) {
            put_rule(ret_tables, &entry->prefix, input->default_action);
        }
    }
    put_routes(ret_tables, input);
    names_destroy(&own.set);
    HMAP_FOR_EACH (reg, node, &input->registrations->map) {
        if (reg->service.target_port) {
            put_own(ret_tables, &reg->service);
        }
    }
}
