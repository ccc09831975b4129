/* SPDX-License-Identifier: Apache-2.0 */
/* show switches, show rules. */
#include <inttypes.h>
#include <stdlib.h>
#include "controller/show.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "util.h"

static int
compare_switches(const void *a_, const void *b_)
{
    const struct managed_switch *a = *(struct managed_switch *const *) a_;
    const struct managed_switch *b = *(struct managed_switch *const *) b_;

    return a->dpid < b->dpid ? -1 : a->dpid > b->dpid;
}

/* In order of datapath ID; the caller frees the array. */
static struct managed_switch **
sorted_switches(const struct controller *c, size_t *ret_n)
{
    size_t n = hmap_count(&c->switches), i = 0;
    struct managed_switch **sorted = xcalloc(n + 1, sizeof *sorted);
    struct managed_switch *sw;

    HMAP_FOR_EACH (sw, node, &c->switches) {
        sorted[i++] = sw;
    }
    qsort(sorted, n, sizeof *sorted, compare_switches);
    *ret_n = n;
    return sorted;
}

static size_t
count_desired(const struct controller *c, const struct managed_switch *sw)
{
    const struct rule_table *desired = plan_desired(c->plan, sw->dpid);

    return desired ? rule_table_count(desired) : 0;
}

/* JSON. */

static struct json *
refusals_to_json(const struct put *put)
{
    struct json *array = json_array_create_empty();

    for (size_t i = 0; i < MIN(put->n_refusals, PUT_REFUSALS_SHOWN); i++) {
        struct json *json = json_object_create();
        struct ds ds = DS_EMPTY_INITIALIZER;
        char text[128];

        rule_format(&put->refusals[i].rule, &ds);
        json_object_put_string(json, "rule", ds_cstr(&ds));
        json_object_put_string(json, "error",
                               put_refusal_string(&put->refusals[i], text,
                                                  sizeof text));
        json_array_add(array, json);
        ds_destroy(&ds);
    }
    return array;
}

/* What has meters of its own for what goes to the controller. */
static const char *
metered(const struct controller *c, uint64_t dpid)
{
    const struct topology_switch *sw = topology_switch(c->topology, dpid);

    return sw->max_meters < RULES_N_METERS ? "nothing"
           : rules_has_port_meters(sw) ? "port" : "switch";
}

static void
put_session(const struct controller *c, struct json *json,
            const struct managed_switch *sw)
{
    const struct switch_session *s
        = switch_connection_session(sw->connection);

    json_object_put_string(json, "peer",
                           switch_connection_peer(sw->connection));
    json_object_put_string(json, "openflow",
                           switch_session_version_string(s));
    json_object_put_string(json, "role",
                           switch_session_role_string(s->role));
    json_object_put(json, "sal", json_boolean_create(s->sal));
    json_object_put(json, "bundles", json_boolean_create(s->bundles));
    json_object_put_string(json, "hardware", s->hardware);
    json_object_put_string(json, "software", s->software);
    show_put_integer(json, "tables", s->n_tables);
    show_put_integer(json, "meters", s->max_meters);
    json_object_put_string(json, "metered", metered(c, sw->dpid));
    show_put_integer(json, "ports", hmap_count(&s->ports));
    show_put_integer(json, "messages_received", s->counters.received);
    show_put_integer(json, "messages_sent", s->counters.sent);
    show_put_integer(json, "malformed", s->counters.malformed);
    show_put_integer(json, "errors", s->counters.errors);
    show_put_integer(json, "packet_ins", s->counters.packet_ins);
    show_put_integer(json, "packet_ins_limited", sw->n_limited);
    show_put_integer(json, "packet_outs", s->counters.packet_outs);
    show_put_integer(json, "packet_outs_dropped",
                     switch_connection_dropped(sw->connection));
}

static void
put_rounds(struct json *json, const struct put *put)
{
    json_object_put_string(json, "put", put_state_string(put->state));
    json_object_put(json, "holding", json_boolean_create(put->holding));
    show_put_integer(json, "installed", rule_table_count(put->installed));
    show_put_integer(json, "rules_read", put->stats.rules_read);
    show_put_integer(json, "rounds", put->stats.rounds);
    show_put_integer(json, "failed_rounds", put->stats.failed_rounds);
    show_put_integer(json, "adds", put->stats.adds);
    show_put_integer(json, "modifies", put->stats.modifies);
    show_put_integer(json, "deletes", put->stats.deletes);
    show_put_integer(json, "confirmed_generation",
                     put->confirmed_generation);
    json_object_put(json, "refused", refusals_to_json(put));
}

static struct json *
switch_to_json(const struct controller *c, const struct managed_switch *sw)
{
    struct json *json = json_object_create();

    show_put_dpid(json, "dpid", sw->dpid);
    json_object_put(json, "connected", json_boolean_create(sw->put != NULL));
    json_object_put(json, "in_sync",
                    json_boolean_create(controller_in_sync(c, sw)));
    show_put_integer(json, "desired", count_desired(c, sw));
    show_put_integer(json, "settled_generation", sw->settled);
    if (sw->put) {
        put_session(c, json, sw);
        put_rounds(json, sw->put);
    }
    return json;
}

/* Text. */

static void
refusals_format(const struct put *put, struct ds *ds)
{
    for (size_t i = 0; i < MIN(put->n_refusals, PUT_REFUSALS_SHOWN); i++) {
        char text[128];

        ds_put_cstr(ds, "    refused: ");
        rule_format(&put->refusals[i].rule, ds);
        ds_put_format(ds, ": %s\n", put_refusal_string(
                          &put->refusals[i], text, sizeof text));
    }
}

static void
switch_format(const struct controller *c, const struct managed_switch *sw,
              struct ds *ds)
{
    ds_put_format(ds, "%016" PRIx64 "  ", sw->dpid);
    if (!sw->put) {
        ds_put_cstr(ds, "gone\n");
        return;
    }
    const struct switch_session *s
        = switch_connection_session(sw->connection);
    ds_put_format(ds, "%s, OpenFlow %s, %s %s, %s, meters by %s\n",
                  switch_connection_peer(sw->connection),
                  switch_session_version_string(s), s->hardware, s->software,
                  s->sal ? "SAL" : "stock (no SAL fields)",
                  metered(c, sw->dpid));
    ds_put_format(ds, "    %s: %" PRIuSIZE " rules installed, %" PRIuSIZE
                  " desired; %" PRIu64 " rounds, %" PRIu64 " added, %" PRIu64
                  " changed, %" PRIu64 " deleted\n",
                  controller_in_sync(c, sw) ? "in sync"
                  : sw->put->holding ? "holding"
                  : put_state_string(sw->put->state),
                  rule_table_count(sw->put->installed), count_desired(c, sw),
                  sw->put->stats.rounds, sw->put->stats.adds,
                  sw->put->stats.modifies, sw->put->stats.deletes);
    if (s->counters.malformed || s->counters.errors) {
        ds_put_format(ds, "    %" PRIu64 " malformed messages, %" PRIu64
                      " errors\n", s->counters.malformed,
                      s->counters.errors);
    }
    refusals_format(sw->put, ds);
}

void
show_switches(struct control_call *call, int argc, const char *const argv[],
              void *c_)
{
    const struct controller *c = c_;
    struct json *array = json_array_create_empty();
    struct ds ds = DS_EMPTY_INITIALIZER;
    size_t n;
    struct managed_switch **switches = sorted_switches(c, &n);
    bool as_json = control_wants_json(call);

    for (size_t i = 0; i < n; i++) {
        if (as_json) {
            json_array_add(array, switch_to_json(c, switches[i]));
        } else {
            switch_format(c, switches[i], &ds);
        }
    }
    free(switches);
    show_reply_either(call, array, &ds);
}

/* Rules. */

static void
differences_format(const struct rule_table *desired,
                   const struct rule_table *installed, struct ds *ds)
{
    static const char *const verbs[] = {
        [RULE_ADD] = "missing", [RULE_MODIFY] = "different",
        [RULE_DELETE] = "superfluous"};
    struct rule_changes changes = RULE_CHANGES_INITIALIZER;

    rule_diff(desired, installed, &changes);
    for (size_t i = 0; i < changes.n; i++) {
        ds_put_format(ds, "  %s: ", verbs[changes.changes[i].op]);
        rule_format(&changes.changes[i].rule, ds);
        ds_put_char(ds, '\n');
    }
    rule_changes_destroy(&changes);
}

static void
rules_of_format(const struct controller *c, const struct managed_switch *sw,
                struct ds *ds)
{
    const struct rule_table *desired = plan_desired(c->plan, sw->dpid);

    ds_put_format(ds, "%016" PRIx64 "\n", sw->dpid);
    if (!sw->put) {
        ds_put_cstr(ds, "  gone; desired:\n");
        if (desired) {
            rule_table_format(desired, ds);
        }
        return;
    }
    rule_table_format(sw->put->installed, ds);
    if (desired) {
        differences_format(desired, sw->put->installed, ds);
    }
}

static struct json *
rules_of_json(const struct controller *c, const struct managed_switch *sw)
{
    const struct rule_table *desired = plan_desired(c->plan, sw->dpid);
    struct json *json = json_object_create();

    show_put_dpid(json, "dpid", sw->dpid);
    if (desired) {
        json_object_put(json, "desired", rule_table_to_json(desired));
    }
    if (sw->put) {
        json_object_put(json, "installed",
                        rule_table_to_json(sw->put->installed));
        json_object_put(json, "equal",
                        json_boolean_create(
                            desired && rule_table_equal(
                                           desired, sw->put->installed)));
    }
    return json;
}

void
show_rules(struct control_call *call, int argc, const char *const argv[],
           void *c_)
{
    const struct controller *c = c_;
    struct json *array = json_array_create_empty();
    struct ds ds = DS_EMPTY_INITIALIZER;
    bool as_json = control_wants_json(call);
    char *end = NULL;
    uint64_t only = argc ? strtoull(argv[0], &end, 16) : 0;
    size_t n, shown = 0;
    struct managed_switch **switches = sorted_switches(c, &n);

    for (size_t i = 0; i < n && !(end && *end); i++) {
        if (argc && switches[i]->dpid != only) {
            continue;
        }
        shown++;
        if (as_json) {
            json_array_add(array, rules_of_json(c, switches[i]));
        } else {
            rules_of_format(c, switches[i], &ds);
        }
    }
    free(switches);
    if (argc && !shown) {
        control_fail(call, "no such switch; show switches lists the datapath "
                           "IDs (hexadecimal)");
        json_destroy(array);
        ds_destroy(&ds);
    } else {
        show_reply_either(call, array, &ds);
    }
}
