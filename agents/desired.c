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
    struct own_prefixes own;

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
    own_prefixes_init(&own, input->registrations);
    HMAP_FOR_EACH (entry, prefix_node, &input->names->by_prefix) {
        if (is_hole(&own, &entry->prefix)) {
            put_rule(ret_tables, &entry->prefix, SERVICE_FORWARD);
        }
    }
    names_destroy(&own.set);
    HMAP_FOR_EACH (reg, node, &input->registrations->map) {
        if (reg->service.target_port) {
            put_own(ret_tables, &reg->service);
        }
    }
}
