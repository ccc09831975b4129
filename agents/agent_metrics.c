/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's figures in Prometheus' text format. */
#include "agents/agent_private.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "packets.h"
#include "proto/daemon/daemon.h"
#include "util.h"

static void
put_head(struct ds *out, const char *name, const char *type, const char *help)
{
    ds_put_format(out, "# HELP salient_%s %s\n# TYPE salient_%s %s\n", name,
                  help, name, type);
}

static void
put_gauge(struct ds *out, const char *name, const char *help, uint64_t value)
{
    put_head(out, name, "gauge", help);
    ds_put_format(out, "salient_%s %"PRIu64"\n", name, value);
}

/* Each member of 'json' that is a number, as a counter of one event. */
static void
put_counters(struct ds *out, const char *name, const char *help,
             const struct json *json)
{
    if (json->type != JSON_OBJECT) {
        return;
    }
    const struct shash_node **nodes = shash_sort(json->object);
    put_head(out, name, "counter", help);
    for (size_t i = 0; i < shash_count(json->object); i++) {
        const struct json *value = nodes[i]->data;
        if (value->type == JSON_INTEGER) {
            ds_put_format(out, "salient_%s{event=\"%s\"} %lld\n", name,
                          nodes[i]->name, value->integer);
        }
    }
    free(nodes);
}

static void
put_member(struct ds *out, const struct json *object, const char *key,
           const char *name, const char *help)
{
    const struct json *value
        = (object->type == JSON_OBJECT ? shash_find_data(object->object, key)
                                       : NULL);
    if (value && value->type == JSON_INTEGER) {
        put_gauge(out, name, help, value->integer);
    }
}

static void
put_registrations(struct agent *agent, struct ds *out)
{
    const struct registrations *registrations
        = controller_session_registrations(agent->session);
    size_t counts[REGISTRATION_REMOVING + 1] = {0};
    const struct registration *reg;

    HMAP_FOR_EACH (reg, node, &registrations->map) {
        counts[reg->state]++;
    }
    put_head(out, "registrations", "gauge",
             "Services of this host by their state at the controller.");
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        ds_put_format(out, "salient_registrations{state=\"%s\"} %"PRIuSIZE"\n",
                      registration_state_name(i), counts[i]);
    }
}

static void
put_uplinks(struct agent *agent, struct ds *out)
{
    static const struct {
        const char *name, *type, *help;
    } metrics[] = {
        {"uplink_up", "gauge", "1 if the interface is up."},
        {"uplink_attached", "gauge", "1 if the network sees us there."},
        {"uplink_probes_total", "counter", "PROBEs sent."},
        {"uplink_probe_errors_total", "counter", "PROBEs not sent."},
    };

    for (size_t m = 0; m < ARRAY_SIZE(metrics); m++) {
        put_head(out, metrics[m].name, metrics[m].type, metrics[m].help);
        for (size_t i = 0; i < host_netdev_n_uplinks(agent->netdev); i++) {
            const struct netdev_uplink *link
                = host_netdev_uplink(agent->netdev, i);
            const struct agent_uplink *uplink = &agent->uplinks[i];
            const uint64_t values[ARRAY_SIZE(metrics)] = {
                link->up,
                agent_uplink_attached(agent, i, false)
                || agent_uplink_attached(agent, i, true),
                uplink->probes_sent,
                uplink->probes_failed,
            };
            ds_put_format(out, "salient_%s{uplink=\"%s\"} %"PRIu64"\n",
                          metrics[m].name, link->name, values[m]);
        }
    }
}

void
agent_show_metrics(struct agent *agent, struct ds *out)
{
    struct json *mine = agent_counters_to_json(agent);
    struct json *status = agent_json_from_datapath(agent, datapath_format_status);
    struct json *counters = agent_json_from_datapath(agent, datapath_format_counters);

    put_head(out, "agent_info", "gauge", "Always 1.");
    ds_put_cstr(out, "salient_agent_info{name=");
    json_string_escape(agent->config->name, out);
    ds_put_format(out, ",version=\"%s\"} 1\n", SALIENT_VERSION);
    put_gauge(out, "controller_up", "1 if there is a session.",
              controller_session_is_up(agent->session));
    put_gauge(out, "attached", "1 if the network sees this host somewhere.",
              controller_session_is_attached(agent->session));
    put_gauge(out, "names", "Services whose names are known.",
              names_count(&agent->state.names));
    put_gauge(out, "apply_failed",
              "1 if the data plane is not as it should be; the log says why.",
              agent->apply_error != NULL);
    if (agent_migrator(agent)) {
        put_gauge(out, "migration_peers", "Endpoints with flows.",
                  migrator_n_peers(agent_migrator(agent)));
        put_gauge(out, "migration_groups",
                  "Groups of flows that migrate together.",
                  migrator_n_groups(agent_migrator(agent)));
    }
    put_registrations(agent, out);
    put_uplinks(agent, out);
    put_member(out, status, "flows", "flows", "Flows of the data plane.");
    put_member(out, status, "half_flows", "half_open_flows",
               "Flows that are not bound yet.");
    put_member(out, status, "max_flows", "max_flows",
               "Flows that the table can hold.");
    put_counters(out, "agent_events_total", "Events of the daemon.", mine);
    put_counters(out, "datapath_events_total",
                 "Packets and flows of the data plane.", counters);
    json_destroy(mine);
    json_destroy(status);
    json_destroy(counters);
}
