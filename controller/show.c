/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of the controller's control socket. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "controller/paths.h"
#include "controller/show.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "packets.h"
#include "util.h"

void
show_reply_json(struct control_call *call, struct json *json)
{
    char *text = json_to_string(json, JSSF_PRETTY | JSSF_SORT);

    json_destroy(json);
    control_reply(call, text);
    free(text);
}

void
show_reply_text(struct control_call *call, struct ds *ds)
{
    control_reply(call, ds_cstr(ds));
    ds_destroy(ds);
}

void
show_reply_either(struct control_call *call, struct json *json, struct ds *ds)
{
    if (control_wants_json(call)) {
        show_reply_json(call, json);
        ds_destroy(ds);
    } else {
        json_destroy(json);
        show_reply_text(call, ds);
    }
}

void
show_put_integer(struct json *json, const char *key, long long value)
{
    json_object_put(json, key, json_integer_create(value));
}

void
show_put_dpid(struct json *json, const char *key, uint64_t dpid)
{
    json_object_put(json, key, json_string_create_nocopy(
                        xasprintf("%016" PRIx64, dpid)));
}

char *
show_address(const struct in6_addr *address)
{
    struct ds ds = DS_EMPTY_INITIALIZER;

    ipv6_format_mapped(address, &ds);
    return ds_steal_cstr(&ds);
}

void
show_put_address(struct json *json, const char *key,
                 const struct in6_addr *address)
{
    json_object_put(json, key,
                    json_string_create_nocopy(show_address(address)));
}

/* Status. */

static void
count_switches(const struct controller *c, struct controller_status *status)
{
    const struct managed_switch *sw;
    /* Heard in this turn of the loop: no rule is the worse for it yet. */
    bool unplanned = c->hold.over && (registry_has_changes(c->registry)
                                      || topology_has_changes(c->topology));

    HMAP_FOR_EACH (sw, node, &c->switches) {
        status->known++;
        if (!sw->put) {
            continue;
        }
        status->connected++;
        status->stock += !switch_connection_session(sw->connection)->sal;
        status->in_sync += controller_in_sync(c, sw);
        status->refused += sw->put->n_refusals;
        bool standby = sw->put->state == PUT_STANDBY;
        status->standby += standby;
        status->pending += !standby
                           && (unplanned || sw->dirty
                               || sw->put->state != PUT_READY);
    }
}

/* A host has a locator or more. */
static size_t
count_hosts(const struct controller *c)
{
    const struct topology_attachment *host;
    size_t n = 0;

    TOPOLOGY_FOR_EACH_ATTACHMENT (host, c->topology) {
        n += !host->plain
             && host == topology_attachment_of(c->topology, &host->endpoint);
    }
    return n;
}

static size_t
count_links(const struct controller *c)
{
    const struct topology_switch *sw;
    const struct topology_port *port;
    struct topology_end far;
    size_t halves = 0;

    TOPOLOGY_FOR_EACH_SWITCH (sw, c->topology) {
        TOPOLOGY_FOR_EACH_PORT (port, sw) {
            halves += topology_port_link(c->topology, sw, port, &far);
        }
    }
    return halves / 2;
}

void
show_get_status(const struct controller *c,
                struct controller_status *status)
{
    const struct registry_endpoint *endpoint;
    long long now = controller_now(c);

    memset(status, 0, sizeof *status);
    count_switches(c, status);
    status->links = count_links(c);
    status->hosts = count_hosts(c);
    REGISTRY_FOR_EACH_ENDPOINT (endpoint, c->registry) {
        status->endpoints++;
        status->away += endpoint->state == REGISTRY_AWAY;
    }
    status->instances = registry_n_instances(c->registry);
    status->services = hmap_count(registry_services(c->registry));
    status->generation = plan_generation(c->plan);
    status->confirmed = c->confirmed;
    status->hold_left = c->hold.over ? 0 : MAX(0, c->hold.until - now);
}

static struct json *
discovery_to_json(const struct controller *c)
{
    const struct discovery_stats *stats = discovery_stats(c->discovery);
    struct json *json = json_object_create();

    show_put_integer(json, "link_probes_sent", stats->link_probes_sent);
    show_put_integer(json, "link_probes_seen", stats->link_probes_seen);
    show_put_integer(json, "link_probes_late", stats->link_probes_late);
    show_put_integer(json, "link_probes_forged", stats->link_probes_forged);
    show_put_integer(json, "host_probes_seen", stats->host_probes_seen);
    show_put_integer(json, "host_probes_unknown",
                     stats->host_probes_unknown);
    show_put_integer(json, "host_probes_forged", stats->host_probes_forged);
    show_put_integer(json, "host_probes_stale", stats->host_probes_stale);
    show_put_integer(json, "host_probes_refused",
                     stats->host_probes_refused);
    show_put_integer(json, "hosts_superseded", stats->hosts_superseded);
    show_put_integer(json, "plain_hosts", stats->plain_hosts);
    show_put_integer(json, "plain_seen", stats->plain_seen);
    show_put_integer(json, "plain_refused", stats->plain_refused);
    show_put_integer(json, "plain_asked", stats->plain_asked);
    show_put_integer(json, "hosts_asked", stats->hosts_asked);
    show_put_integer(json, "resets_sent", stats->resets_sent);
    show_put_integer(json, "resets_limited", stats->resets_limited);
    show_put_integer(json, "left_to_retry", stats->left_to_retry);
    show_put_integer(json, "forwarded", stats->forwarded);
    show_put_integer(json, "unrecognised", stats->unrecognised);
    return json;
}

static struct json *
status_to_json(const struct controller *c, const struct controller_status *s)
{
    const struct openflow_server_stats *stats
        = openflow_server_stats(c->openflow);
    struct json *json = json_object_create();

    show_put_integer(json, "uptime_ms", controller_now(c) - c->started_at);
    show_put_integer(json, "switches_known", s->known);
    show_put_integer(json, "switches_connected", s->connected);
    show_put_integer(json, "switches_in_sync", s->in_sync);
    show_put_integer(json, "switches_stock", s->stock);
    show_put_integer(json, "switches_standby", s->standby);
    json_object_put_string(json, "role", switch_session_role_string(
                                             c->config->session.role));
    show_put_integer(json, "links", s->links);
    show_put_integer(json, "hosts_attached", s->hosts);
    show_put_integer(json, "endpoints", s->endpoints);
    show_put_integer(json, "endpoints_away", s->away);
    show_put_integer(json, "agents_connected", api_server_n_up(c->api));
    show_put_integer(json, "registrations", s->instances);
    show_put_integer(json, "services", s->services);
    show_put_integer(json, "ports_held", flaps_n_held(&c->flaps));
    show_put_integer(json, "pending_puts", s->pending);
    show_put_integer(json, "pending_events",
                     event_log_n_pending(c->events));
    show_put_integer(json, "refused_rules", s->refused);
    show_put_integer(json, "generation", s->generation);
    show_put_integer(json, "confirmed_generation", s->confirmed);
    show_put_integer(json, "hold_left_ms", s->hold_left);
    show_put_integer(json, "switches_refused_as_duplicates",
                     stats->refused_duplicate);
    show_put_integer(json, "switches_refused_by_tls", stats->refused_tls);
    json_object_put(json, "discovery", discovery_to_json(c));
    return json;
}

static void
status_format(const struct controller_status *s, struct ds *ds)
{
    ds_put_format(ds, "switches    %" PRIuSIZE " connected, %" PRIuSIZE
                  " in sync", s->connected, s->in_sync);
    if (s->stock) {
        ds_put_format(ds, ", %" PRIuSIZE " stock", s->stock);
    }
    if (s->standby) {
        ds_put_format(ds, ", %" PRIuSIZE " written by another controller",
                      s->standby);
    }
    if (s->known != s->connected) {
        ds_put_format(ds, ", %" PRIuSIZE " gone", s->known - s->connected);
    }
    ds_put_format(ds, "\nlinks       %" PRIuSIZE "\n", s->links);
    ds_put_format(ds, "hosts       %" PRIuSIZE " attached, %" PRIuSIZE
                  " endpoints known", s->hosts, s->endpoints);
    if (s->away) {
        ds_put_format(ds, ", %" PRIuSIZE " away", s->away);
    }
    ds_put_format(ds, "\nservices    %" PRIuSIZE ", %" PRIuSIZE
                  " registrations\n", s->services, s->instances);
    ds_put_format(ds, "generation  %" PRIu64 ", confirmed %" PRIu64 "\n",
                  s->generation, s->confirmed);
    if (s->pending) {
        ds_put_format(ds, "pending     rules of %" PRIuSIZE " switches\n",
                      s->pending);
    }
    if (s->refused) {
        ds_put_format(ds, "REFUSED     %" PRIuSIZE " rules: see show "
                      "switches\n", s->refused);
    }
    if (s->hold_left) {
        ds_put_format(ds, "hold        nothing is withdrawn for another "
                      "%lld ms, while agents come back\n", s->hold_left);
    }
}

static void
show_status(struct control_call *call, int argc, const char *const argv[],
            void *c_)
{
    const struct controller *c = c_;
    struct ds ds = DS_EMPTY_INITIALIZER;
    struct controller_status status;

    show_get_status(c, &status);
    if (control_wants_json(call)) {
        show_reply_json(call, status_to_json(c, &status));
    } else {
        status_format(&status, &ds);
        show_reply_text(call, &ds);
    }
}

/* What the core formats itself. */

static struct json *
coverage_to_json(const struct paths_coverage *coverage)
{
    struct json *json = json_object_create();

    show_put_integer(json, "links", coverage->links);
    show_put_integer(json, "links_covered", coverage->links_covered);
    show_put_integer(json, "ways", coverage->ways);
    show_put_integer(json, "ways_covered", coverage->ways_covered);
    return json;
}

static void
coverage_format(const struct paths_coverage *coverage, struct ds *ds)
{
    ds_put_format(ds, "fast failover: %" PRIuSIZE " of %" PRIuSIZE
                  " ends of links, %" PRIuSIZE " of %" PRIuSIZE " ways from "
                  "switch to switch have another port at once\n",
                  coverage->links_covered, coverage->links,
                  coverage->ways_covered, coverage->ways);
}

static void
show_topology(struct control_call *call, int argc, const char *const argv[],
              void *c_)
{
    const struct controller *c = c_;
    bool groups = c->config->rules.groups;
    struct ds ds = DS_EMPTY_INITIALIZER;
    struct paths_coverage coverage = {0};

    if (groups) {
        paths_coverage(plan_paths(c->plan), &coverage);
    }
    if (control_wants_json(call)) {
        struct json *json = topology_to_json(c->topology);
        json_object_put(json, "fast_failover", coverage_to_json(&coverage));
        show_reply_json(call, json);
    } else {
        topology_format(c->topology, &ds);
        if (groups) {
            coverage_format(&coverage, &ds);
        }
        show_reply_text(call, &ds);
    }
}

static void
show_services(struct control_call *call, int argc, const char *const argv[],
              void *c_)
{
    const struct controller *c = c_;
    struct ds ds = DS_EMPTY_INITIALIZER;
    long long now = controller_now(c);

    if (control_wants_json(call)) {
        show_reply_json(call, registry_to_json(c->registry, now));
    } else {
        registry_format(c->registry, now, &ds);
        show_reply_text(call, &ds);
    }
}

static void
show_routes(struct control_call *call, int argc, const char *const argv[],
            void *c_)
{
    const struct controller *c = c_;
    struct ds ds = DS_EMPTY_INITIALIZER;

    if (control_wants_json(call)) {
        show_reply_json(call, routes_to_json(plan_routes(c->plan)));
    } else {
        routes_format(plan_routes(c->plan), &ds);
        show_reply_text(call, &ds);
    }
}

static void
show_events(struct control_call *call, int argc, const char *const argv[],
            void *c_)
{
    const struct controller *c = c_;
    struct ds ds = DS_EMPTY_INITIALIZER;
    int n = 50;

    if (argc > 0 && (!str_to_int(argv[0], 10, &n) || n < 1)) {
        control_usage(call, "the number of events must be 1 or more");
        return;
    }
    if (control_wants_json(call)) {
        show_reply_json(call, event_log_to_json(c->events, n));
    } else {
        event_log_format(c->events, n, &ds);
        show_reply_text(call, &ds);
    }
}

static void
recompute(struct control_call *call, int argc, const char *const argv[],
          void *c_)
{
    const struct controller *c = c_;
    struct ds why = DS_EMPTY_INITIALIZER;

    if (strcmp(argv[0], "--check")) {
        control_usage(call, "only --check is known");
    } else if (plan_check(c->plan, &why)) {
        control_reply(call, control_wants_json(call)
                            ? "{\"equal\": true}"
                            : "a full recompute gives the same rules\n");
    } else {
        control_fail(call, ds_cstr(&why));
    }
    ds_destroy(&why);
}

static void
role(struct control_call *call, int argc, const char *const argv[], void *c_)
{
    struct controller *c = c_;
    enum ofp12_controller_role role;

    if (!switch_session_role_from_string(argv[0], &role)) {
        control_usage(call, "the roles are equal, master and slave");
        return;
    }
    c->input_us = controller_now_us();
    controller_set_role(c, role);
    control_reply(call, control_wants_json(call)
                        ? "{}" : "asked for; see show switches\n");
}

static void
resync(struct control_call *call, int argc, const char *const argv[],
       void *c_)
{
    struct controller *c = c_;
    struct managed_switch *sw;
    size_t n = 0, busy = 0;

    if (!c->hold.over) {
        control_fail(call, "the hold after the start is not over; see show "
                           "status");
        return;
    }
    HMAP_FOR_EACH (sw, node, &c->switches) {
        if (sw->put) {
            bool reads = put_read_again(sw->put, controller_now(c));
            n += reads;
            busy += !reads;
        }
    }
    char *text = control_wants_json(call)
                 ? xasprintf("{\"reading\": %" PRIuSIZE ", \"busy\": %"
                             PRIuSIZE "}", n, busy)
                 : xasprintf("%" PRIuSIZE " switches are read again, %"
                             PRIuSIZE " are busy with changes\n", n, busy);
    control_reply(call, text);
    free(text);
}

const struct control_command controller_commands[] = {
    {"show status", "", "is everything up and confirmed?", 0, 0, show_status},
    {"show switches", "", "sessions, what they can do, rules, refusals", 0, 0,
     show_switches},
    {"show topology", "", "switches, ports, links, attachments", 0, 0,
     show_topology},
    {"show hosts", "", "endpoints: session, addresses, where they are", 0, 0,
     show_hosts},
    {"show services", "", "services, their addresses and instances", 0, 0,
     show_services},
    {"show routes", "", "per service: instances, shares, tiles", 0, 0,
     show_routes},
    {"show rules", "[DATAPATH]", "desired and installed rules", 0, 1,
     show_rules},
    {"show events", "[N]", "the last changes and how long they took", 0, 1,
     show_events},
    {"trace", "SERVICE --from HOST [--protocol tcp|udp] [--port N] "
     "[--entropy N]",
     "which rules a SYN meets, and why that instance", 3, 9, show_trace},
    {"role", "equal|master|slave", "towards all switches; see controller.yaml",
     1, 1, role},
    {"resync", "", "read the switches' rules again and repair them", 0, 0,
     resync},
    {"recompute", "--check", "compare with a recompute from nothing", 1, 1,
     recompute},
    {NULL, NULL, NULL, 0, 0, NULL},
};
