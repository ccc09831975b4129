/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/desired.h"

#include <stdlib.h>
#include <string.h>
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
        .address = service->target_address,
        .port = service->target_port,
    };
    host_tables_put_target(tables, &target);
    put_rule(tables, &service->prefix, SERVICE_DEMUX);
}

/* Registered here below 'prefix' or as it: a more specific rule decides. */
static bool
covers_name(const struct registrations *registrations,
            const struct service_prefix *name, bool *ret_own)
{
    const struct registration *reg;
    bool covered = false;

    *ret_own = false;
    HMAP_FOR_EACH (reg, node, &registrations->map) {
        const struct service_prefix *own = &reg->service.prefix;
        *ret_own |= service_prefix_equal(own, name);
        covered |= service_prefix_contains(own, name);
    }
    return covered;
}

static int
compare_addresses(const void *a_, const void *b_)
{
    const struct names_entry *a = *(const struct names_entry *const *) a_;
    const struct names_entry *b = *(const struct names_entry *const *) b_;
    return a->address < b->address ? -1 : a->address > b->address;
}

/* In ascending order, as the tables are sorted: appending is cheap, inserting
 * is not. */
static void
put_addresses(struct host_tables *tables, const struct names *names)
{
    const struct names_entry *entry;
    const struct names_entry **entries
        = xmalloc((names_count(names) + 1) * sizeof *entries);
    size_t n = 0;

    HMAP_FOR_EACH (entry, prefix_node, &names->by_prefix) {
        if (entry->address) {
            entries[n++] = entry;
        }
    }
    qsort(entries, n, sizeof *entries, compare_addresses);
    for (size_t i = 0; i < n; i++) {
        struct service_address address = {.address = entries[i]->address,
                                          .id = entries[i]->prefix.id};
        host_tables_put_address(tables, &address);
    }
    free(entries);
}

static void
put_leases(struct host_tables *tables, const struct leases *leases)
{
    const struct lease *lease;

    LIST_FOR_EACH (lease, node, &leases->all) {
        struct service_address address = {.address = lease->address,
                                          .id = lease->id};
        host_tables_put_address(tables, &address);
    }
}

void
desired_compute(const struct desired_input *input,
                struct host_tables *ret_tables)
{
    const struct service_prefix everything = {.len = 0};
    const struct registration *reg;
    const struct names_entry *entry;

    host_tables_init(ret_tables);

    struct host_settings *settings = &ret_tables->settings;
    settings->identity_v4 = input->welcome->identity_v4;
    settings->resolver_v4 = input->welcome->resolver_v4;
    settings->sal_port = input->welcome->sal_port;
    memcpy(settings->endpoint_id, input->endpoint_id,
           sizeof settings->endpoint_id);

    put_addresses(ret_tables, input->names);
    if (input->leases) {
        put_leases(ret_tables, input->leases);
    }
    put_rule(ret_tables, &everything, SERVICE_FORWARD);
    HMAP_FOR_EACH (entry, prefix_node, &input->names->by_prefix) {
        bool own;
        if (covers_name(input->registrations, &entry->prefix, &own) && !own) {
            put_rule(ret_tables, &entry->prefix, SERVICE_FORWARD);
        }
    }
    HMAP_FOR_EACH (reg, node, &input->registrations->map) {
        if (reg->service.target_port) {
            put_own(ret_tables, &reg->service);
        }
    }
}
