/* SPDX-License-Identifier: Apache-2.0 */
/* The topology for people and programs: topology_format(),
 * topology_to_json(). */
#include "controller/topology.h"

#include <stdlib.h>
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "openvswitch/util.h"
#include "packets.h"
#include "util.h"

static int
compare_switches(const void *a_, const void *b_)
{
    const struct topology_switch *a = *(const struct topology_switch **) a_;
    const struct topology_switch *b = *(const struct topology_switch **) b_;
    return a->dpid < b->dpid ? -1 : a->dpid > b->dpid;
}

static const struct topology_switch **
sorted_switches(const struct topology *topology, size_t *ret_n)
{
    size_t n = hmap_count(topology_switches(topology)), i = 0;
    const struct topology_switch **sorted = xmalloc((n + 1) * sizeof *sorted);
    const struct topology_switch *sw;

    TOPOLOGY_FOR_EACH_SWITCH (sw, topology) {
        sorted[i++] = sw;
    }
    qsort(sorted, n, sizeof *sorted, compare_switches);
    *ret_n = n;
    return sorted;
}

static int
compare_ports(const void *a_, const void *b_)
{
    const struct topology_port *a = *(const struct topology_port **) a_;
    const struct topology_port *b = *(const struct topology_port **) b_;
    return a->number < b->number ? -1 : a->number > b->number;
}

static const struct topology_port **
sorted_ports(const struct topology_switch *sw, size_t *ret_n)
{
    size_t n = hmap_count(&sw->ports), i = 0;
    const struct topology_port **sorted = xmalloc((n + 1) * sizeof *sorted);
    const struct topology_port *port;

    TOPOLOGY_FOR_EACH_PORT (port, sw) {
        sorted[i++] = port;
    }
    qsort(sorted, n, sizeof *sorted, compare_ports);
    *ret_n = n;
    return sorted;
}

static int
compare_attachments(const void *a_, const void *b_)
{
    const struct topology_attachment *a
        = *(const struct topology_attachment **) a_;
    const struct topology_attachment *b
        = *(const struct topology_attachment **) b_;
    return memcmp(&a->locator, &b->locator, sizeof a->locator);
}

static const struct topology_attachment **
sorted_attachments(const struct topology *topology, size_t *ret_n)
{
    size_t n = hmap_count(topology_attachments(topology)), i = 0;
    const struct topology_attachment **sorted
        = xmalloc((n + 1) * sizeof *sorted);
    const struct topology_attachment *attachment;

    TOPOLOGY_FOR_EACH_ATTACHMENT (attachment, topology) {
        sorted[i++] = attachment;
    }
    qsort(sorted, n, sizeof *sorted, compare_attachments);
    *ret_n = n;
    return sorted;
}

static void
format_port(const struct topology *topology, const struct topology_switch *sw,
            const struct topology_port *port, struct ds *s)
{
    struct topology_end far;

    ds_put_format(s, "    port %"PRIu32" %s %s", port->number, port->name,
                  port->up ? "up" : "down");
    if (port->speed_mbps) {
        ds_put_format(s, " %"PRIu32" Mbit/s", port->speed_mbps);
    }
    if (topology_port_link(topology, sw, port, &far)) {
        ds_put_format(s, " link to %016"PRIx64" port %"PRIu32" cost %"PRIu32,
                      far.dpid, far.port, port->cost);
        if (port->latency_us) {
            ds_put_format(s, " latency %"PRIu32" us", port->latency_us);
        }
    } else if (port->peer_dpid) {
        ds_put_format(s, " hears %016"PRIx64" port %"PRIu32, port->peer_dpid,
                      port->peer_port);
    }
    ds_put_char(s, '\n');
}

void
topology_format(const struct topology *topology, struct ds *s)
{
    size_t n, n_ports;

    const struct topology_switch **switches = sorted_switches(topology, &n);
    for (size_t i = 0; i < n; i++) {
        const struct topology_switch *sw = switches[i];
        ds_put_format(s, "switch %016"PRIx64" %s%s\n", sw->dpid,
                      sw->has_sal ? "sal" : "stock",
                      sw->connected ? "" : " (disconnected)");
        const struct topology_port **ports = sorted_ports(sw, &n_ports);
        for (size_t j = 0; j < n_ports; j++) {
            format_port(topology, sw, ports[j], s);
        }
        free(ports);
    }
    free(switches);

    const struct topology_attachment **attachments
        = sorted_attachments(topology, &n);
    for (size_t i = 0; i < n; i++) {
        const struct topology_attachment *a = attachments[i];
        char id[ENDPOINT_ID_STRLEN];
        ds_put_cstr(s, "host ");
        ipv6_format_mapped(&a->locator, s);
        ds_put_format(s, " "ETH_ADDR_FMT" at %016"PRIx64" port %"PRIu32", ",
                      ETH_ADDR_ARGS(a->mac), a->dpid, a->port);
        if (a->plain) {
            ds_put_cstr(s, "plain\n");
        } else {
            ds_put_format(s, "endpoint %s\n",
                          endpoint_id_format(&a->endpoint, id));
        }
    }
    free(attachments);
}

static struct json *
json_dpid(uint64_t dpid)
{
    return json_string_create_nocopy(xasprintf("%016"PRIx64, dpid));
}

static struct json *
port_to_json(const struct topology *topology, const struct topology_switch *sw,
             const struct topology_port *port)
{
    struct json *json = json_object_create();
    struct topology_end far;

    json_object_put(json, "number", json_integer_create(port->number));
    json_object_put_string(json, "name", port->name);
    json_object_put(json, "up", json_boolean_create(port->up));
    json_object_put(json, "speed_mbps",
                    json_integer_create(port->speed_mbps));
    json_object_put(json, "host_port",
                    json_boolean_create(topology_is_host_port(port)));
    if (topology_port_link(topology, sw, port, &far)) {
        struct json *link = json_object_create();
        json_object_put(link, "dpid", json_dpid(far.dpid));
        json_object_put(link, "port", json_integer_create(far.port));
        json_object_put(link, "cost", json_integer_create(port->cost));
        json_object_put(link, "latency_us",
                        json_integer_create(port->latency_us));
        json_object_put(json, "link", link);
    }
    return json;
}

static struct json *
switch_to_json(const struct topology *topology,
               const struct topology_switch *sw)
{
    struct json *json = json_object_create();
    struct json *array = json_array_create_empty();
    size_t n;

    json_object_put(json, "dpid", json_dpid(sw->dpid));
    json_object_put(json, "sal", json_boolean_create(sw->has_sal));
    json_object_put(json, "connected", json_boolean_create(sw->connected));
    const struct topology_port **ports = sorted_ports(sw, &n);
    for (size_t i = 0; i < n; i++) {
        json_array_add(array, port_to_json(topology, sw, ports[i]));
    }
    free(ports);
    json_object_put(json, "ports", array);
    return json;
}

static struct json *
attachment_to_json(const struct topology_attachment *attachment)
{
    char id[ENDPOINT_ID_STRLEN];
    struct json *json = json_object_create();
    struct ds s = DS_EMPTY_INITIALIZER;

    ipv6_format_mapped(&attachment->locator, &s);
    json_object_put_string(json, "locator", ds_cstr(&s));
    json_object_put(json, "plain", json_boolean_create(attachment->plain));
    ds_destroy(&s);
    json_object_put_string(json, "endpoint_id",
                           endpoint_id_format(&attachment->endpoint, id));
    json_object_put(json, "mac", json_string_create_nocopy(xasprintf(
        ETH_ADDR_FMT, ETH_ADDR_ARGS(attachment->mac))));
    json_object_put(json, "dpid", json_dpid(attachment->dpid));
    json_object_put(json, "port", json_integer_create(attachment->port));
    return json;
}

struct json *
topology_to_json(const struct topology *topology)
{
    struct json *json = json_object_create();
    struct json *array = json_array_create_empty();
    size_t n;

    const struct topology_switch **switches = sorted_switches(topology, &n);
    for (size_t i = 0; i < n; i++) {
        json_array_add(array, switch_to_json(topology, switches[i]));
    }
    free(switches);
    json_object_put(json, "switches", array);

    array = json_array_create_empty();
    const struct topology_attachment **attachments
        = sorted_attachments(topology, &n);
    for (size_t i = 0; i < n; i++) {
        json_array_add(array, attachment_to_json(attachments[i]));
    }
    free(attachments);
    json_object_put(json, "hosts", array);
    return json;
}
