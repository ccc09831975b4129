/* SPDX-License-Identifier: Apache-2.0 */
/* show hosts. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "controller/show.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "packets.h"
#include "util.h"

static int
compare_endpoints(const void *a_, const void *b_)
{
    const struct registry_endpoint *a
        = *(const struct registry_endpoint *const *) a_;
    const struct registry_endpoint *b
        = *(const struct registry_endpoint *const *) b_;
    int diff = strcmp(a->name, b->name);

    return diff ? diff : memcmp(&a->id, &b->id, sizeof a->id);
}

static const struct registry_endpoint **
sorted_endpoints(const struct controller *c, size_t *ret_n)
{
    size_t n = hmap_count(registry_endpoints(c->registry)), i = 0;
    const struct registry_endpoint **sorted = xcalloc(n + 1, sizeof *sorted);
    const struct registry_endpoint *endpoint;

    REGISTRY_FOR_EACH_ENDPOINT (endpoint, c->registry) {
        sorted[i++] = endpoint;
    }
    qsort(sorted, n, sizeof *sorted, compare_endpoints);
    *ret_n = n;
    return sorted;
}

static struct json *
attachment_to_json(const struct topology_attachment *at, long long now)
{
    struct json *json = json_object_create();

    show_put_address(json, "locator", &at->locator);
    json_object_put(json, "mac", json_string_create_nocopy(xasprintf(
                        ETH_ADDR_FMT, ETH_ADDR_ARGS(at->mac))));
    show_put_dpid(json, "dpid", at->dpid);
    show_put_integer(json, "port", at->port);
    show_put_integer(json, "expires_in_ms", at->deadline - now);
    return json;
}

static struct json *
host_to_json(const struct controller *c,
             const struct registry_endpoint *endpoint)
{
    const struct agent_session *session = api_server_find(c->api,
                                                          &endpoint->id);
    struct json *attachments = json_array_create_empty();
    struct json *json = json_object_create();
    const struct topology_attachment *at;
    char id[ENDPOINT_ID_STRLEN];

    json_object_put_string(json, "name", endpoint->name);
    json_object_put_string(json, "endpoint_id",
                           endpoint_id_format(&endpoint->id, id));
    json_object_put(json, "identity_v4",
                    json_string_create_nocopy(xasprintf(
                        IP_FMT, IP_ARGS(htonl(endpoint->identity_v4)))));
    json_object_put(json, "connected",
                    json_boolean_create(session != NULL));
    if (session) {
        json_object_put_string(json, "peer", api_server_peer(session));
        json_object_put_string(json, "software", session->software);
    }
    show_put_integer(json, "lease_left_ms",
                     endpoint->lease_deadline - controller_now(c));
    show_put_integer(json, "registrations", endpoint->n_instances);
    TOPOLOGY_FOR_EACH_ATTACHMENT (at, c->topology) {
        if (endpoint_id_equal(&at->endpoint, &endpoint->id)) {
            json_array_add(attachments,
                           attachment_to_json(at, controller_now(c)));
        }
    }
    json_object_put(json, "attachments", attachments);
    return json;
}

static void
host_format(const struct controller *c,
            const struct registry_endpoint *endpoint, struct ds *ds)
{
    const struct topology_attachment *at;
    bool attached = false;

    ds_put_format(ds, "%-16s " IP_FMT "  %s, %" PRIu32 " registrations",
                  endpoint->name, IP_ARGS(htonl(endpoint->identity_v4)),
                  endpoint->state == REGISTRY_CONNECTED ? "connected"
                                                        : "away",
                  endpoint->n_instances);
    TOPOLOGY_FOR_EACH_ATTACHMENT (at, c->topology) {
        if (endpoint_id_equal(&at->endpoint, &endpoint->id)) {
            char *locator = show_address(&at->locator);

            ds_put_format(ds, "%s %s (" ETH_ADDR_FMT ") at port %" PRIu32
                          " of %016" PRIx64, attached ? ";" : ", locator",
                          locator, ETH_ADDR_ARGS(at->mac), at->port,
                          at->dpid);
            attached = true;
            free(locator);
        }
    }
    ds_put_cstr(ds, attached ? "\n" : ", not attached\n");
}

void
show_hosts(struct control_call *call, int argc, const char *const argv[],
           void *c_)
{
    const struct controller *c = c_;
    struct json *array = json_array_create_empty();
    struct ds ds = DS_EMPTY_INITIALIZER;
    bool as_json = control_wants_json(call);
    size_t n;
    const struct registry_endpoint **hosts = sorted_endpoints(c, &n);

    for (size_t i = 0; i < n; i++) {
        if (as_json) {
            json_array_add(array, host_to_json(c, hosts[i]));
        } else {
            host_format(c, hosts[i], &ds);
        }
    }
    free(hosts);
    show_reply_either(call, array, &ds);
}
