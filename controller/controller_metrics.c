/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's figures in Prometheus' text format. */
#include <inttypes.h>
#include <limits.h>
#include <sys/resource.h>
#include "controller/show.h"
#include "openvswitch/dynamic-string.h"
#include "proto/daemon/daemon.h"
#include "util.h"

static void
put_head(struct ds *out, const char *name, const char *type, const char *help)
{
    ds_put_format(out, "# HELP salient_controller_%s %s\n"
                  "# TYPE salient_controller_%s %s\n", name, help, name,
                  type);
}

static void
put_gauge(struct ds *out, const char *name, const char *help, uint64_t value)
{
    put_head(out, name, "gauge", help);
    ds_put_format(out, "salient_controller_%s %" PRIu64 "\n", name, value);
}

/* A counter with one label. */
struct labelled {
    const char *label;
    uint64_t value;
};

static void
put_counters(struct ds *out, const char *name, const char *help,
             const struct labelled *values, size_t n)
{
    put_head(out, name, "counter", help);
    for (size_t i = 0; i < n; i++) {
        ds_put_format(out, "salient_controller_%s{event=\"%s\"} %" PRIu64
                      "\n", name, values[i].label, values[i].value);
    }
}

static void
put_status(const struct controller *c, struct ds *out)
{
    struct controller_status s;

    show_get_status(c, &s);
    put_gauge(out, "switches_known", "Switches, also those that are gone.",
              s.known);
    put_gauge(out, "switches_connected", "Sessions with switches.",
              s.connected);
    put_gauge(out, "switches_in_sync",
              "Switches that have confirmed what they should hold.",
              s.in_sync);
    put_gauge(out, "switches_stock", "Switches without SAL fields.", s.stock);
    put_gauge(out, "switches_standby",
              "Switches that another controller writes.", s.standby);
    put_gauge(out, "ports_held", "Ports that flap, and are taken as down.",
              flaps_n_held(&c->flaps));
    put_gauge(out, "pending_puts", "Switches with changes under way.",
              s.pending);
    put_gauge(out, "refused_rules", "Rules that switches refuse.", s.refused);
    put_gauge(out, "links", "Links, in both directions.", s.links);
    put_gauge(out, "hosts_attached", "Endpoints that the network sees.",
              s.hosts);
    put_gauge(out, "endpoints", "Endpoints with a session or away.",
              s.endpoints);
    put_gauge(out, "endpoints_away", "Endpoints that have lost it.", s.away);
    put_gauge(out, "registrations", "Instances of services.", s.instances);
    put_gauge(out, "services", "Services, defined or registered.",
              s.services);
    put_gauge(out, "generation", "Of the desired rules.", s.generation);
    put_gauge(out, "confirmed_generation",
              "That all connected switches have confirmed.", s.confirmed);
    put_gauge(out, "hold_seconds", "Left, until rules may be withdrawn.",
              (s.hold_left + 999) / 1000);
}

/* Over the switches that are connected. */
static void
put_switches(const struct controller *c, struct ds *out)
{
    const struct managed_switch *sw;
    struct switch_counters sum = {0};
    struct put_stats put = {0};
    uint64_t dropped = 0, installed = 0;

    HMAP_FOR_EACH (sw, node, &c->switches) {
        if (sw->put) {
            const struct switch_counters *counters
                = &switch_connection_session(sw->connection)->counters;
            sum.received += counters->received;
            sum.sent += counters->sent;
            sum.malformed += counters->malformed;
            sum.errors += counters->errors;
            sum.packet_ins += counters->packet_ins;
            sum.packet_outs += counters->packet_outs;
            dropped += switch_connection_dropped(sw->connection);
            installed += rule_table_count(sw->put->installed);
            put.rounds += sw->put->stats.rounds;
            put.failed_rounds += sw->put->stats.failed_rounds;
            put.adds += sw->put->stats.adds;
            put.modifies += sw->put->stats.modifies;
            put.deletes += sw->put->stats.deletes;
            put.refused += sw->put->stats.refused;
        }
    }
    put_gauge(out, "rules_installed", "Rules, confirmed by barriers.",
              installed);
    const struct labelled values[] = {
        {"received", sum.received}, {"sent", sum.sent},
        {"malformed", sum.malformed}, {"errors", sum.errors},
        {"packet_ins", sum.packet_ins}, {"packet_outs", sum.packet_outs},
        {"packet_outs_dropped", dropped}, {"rounds", put.rounds},
        {"failed_rounds", put.failed_rounds}, {"rules_added", put.adds},
        {"rules_modified", put.modifies}, {"rules_deleted", put.deletes},
        {"rules_refused", put.refused}};
    put_counters(out, "openflow_events", "Of the switches that are connected; "
                 "starts anew with each session.", values,
                 ARRAY_SIZE(values));
}

static void
put_servers(const struct controller *c, struct ds *out)
{
    const struct openflow_server_stats *openflow
        = openflow_server_stats(c->openflow);
    const struct api_server_stats *api = api_server_stats(c->api);
    const struct labelled values[] = {
        {"switch_accepted", openflow->accepted},
        {"switch_duplicate", openflow->refused_duplicate},
        {"switch_limit", openflow->refused_limit},
        {"switch_tls", openflow->refused_tls},
        {"agent_accepted", api->accepted},
        {"agent_limit", api->refused_limit}};

    put_gauge(out, "agents_connected", "Sessions with agents.",
              api_server_n_up(c->api));
    put_counters(out, "connections_total",
                 "Connections that came in, and those refused.", values,
                 ARRAY_SIZE(values));
}

static void
put_discovery(const struct controller *c, struct ds *out)
{
    const struct discovery_stats *s = discovery_stats(c->discovery);
    const struct labelled values[] = {
        {"link_probes_sent", s->link_probes_sent},
        {"link_probes_seen", s->link_probes_seen},
        {"link_probes_late", s->link_probes_late},
        {"link_probes_forged", s->link_probes_forged},
        {"host_probes_seen", s->host_probes_seen},
        {"host_probes_unknown", s->host_probes_unknown},
        {"host_probes_forged", s->host_probes_forged},
        {"host_probes_stale", s->host_probes_stale},
        {"host_probes_refused", s->host_probes_refused},
        {"hosts_superseded", s->hosts_superseded},
        {"plain_seen", s->plain_seen},
        {"plain_refused", s->plain_refused},
        {"plain_asked", s->plain_asked},
        {"hosts_asked", s->hosts_asked},
        {"resets_sent", s->resets_sent},
        {"resets_limited", s->resets_limited},
        {"left_to_retry", s->left_to_retry},
        {"syns_forwarded", s->forwarded},
        {"limited", c->packets_limited},
        {"unrecognised", s->unrecognised}};

    put_counters(out, "packets_total", "Packets that switches handed in.",
                 values, ARRAY_SIZE(values));
}

static void
put_times(const struct controller *c, struct ds *out)
{
    const struct event_log_times *times = event_log_times(c->events);
    uint64_t n = 0;

    put_head(out, "change_seconds", "histogram",
             "From the cause of a change to its last barrier.");
    for (int i = 0; i < EVENT_LOG_N_BUCKETS; i++) {
        long long limit = event_log_bucket_us(i);

        n += times->buckets[i];
        ds_put_cstr(out, "salient_controller_change_seconds_bucket{le=\"");
        if (limit == LLONG_MAX) {
            ds_put_cstr(out, "+Inf");
        } else {
            ds_put_format(out, "%g", limit / 1e6);
        }
        ds_put_format(out, "\"} %" PRIu64 "\n", n);
    }
    ds_put_format(out, "salient_controller_change_seconds_sum %.6f\n"
                  "salient_controller_change_seconds_count %" PRIu64 "\n",
                  times->sum_us / 1e6, times->n);
    put_head(out, "events_total", "counter", "Events of the event log.");
    ds_put_format(out, "salient_controller_events_total %" PRIu64 "\n",
                  event_log_count(c->events));
    put_gauge(out, "pending_events", "Changes that are not confirmed yet.",
              event_log_n_pending(c->events));
}

void
controller_metrics(struct ds *out, void *c_)
{
    const struct controller *c = c_;
    struct rusage usage;

    put_head(out, "info", "gauge", "Always 1.");
    ds_put_format(out, "salient_controller_info{version=\"%s\",role=\"%s\"} 1"
                  "\n", SALIENT_VERSION,
                  switch_session_role_string(c->config->session.role));
    put_gauge(out, "uptime_seconds", "Since the start.",
              (controller_now(c) - c->started_at) / 1000);
    getrusage(RUSAGE_SELF, &usage);
    put_head(out, "cpu_seconds_total", "counter", "CPU time of the process.");
    ds_put_format(out, "salient_controller_cpu_seconds_total %.3f\n",
                  usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
                  + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    put_gauge(out, "memory_max_bytes", "Most memory it ever had.",
              usage.ru_maxrss * 1024ULL);
    put_status(c, out);
    put_servers(c, out);
    put_switches(c, out);
    put_discovery(c, out);
    put_times(c, out);
}
