/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/put.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include "controller/rule_encode.h"
#include "ofp-ext/sal_pipeline.h"
#include "openflow/openflow.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(put);

static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(60, 20);

static void
start_reading(struct put *put, long long now)
{
    struct switch_session *s = put->session;
    uint8_t v = s->version;

    put->state = PUT_READING;
    put->full = true;
    rule_table_clear(put->going);
    rule_table_clear(put->coming);
    put->started_at = now;
    s->patience_until = now + s->config.patience_ms;
    put->meters_xid = 0;
    if (put->dialect.meters) {
        put->meters_xid = switch_session_send(s, openflow_meters_request(v));
    }
    put->flows_xid = switch_session_send(
        s, openflow_flows_request(v, SAL_COOKIE_BASE, SAL_COOKIE_MASK));
    put->groups_xid = switch_session_send(s, openflow_groups_request(v));
    put->barrier_xid = switch_session_send(s, openflow_barrier_request(v));
}

struct put *
put_create(struct switch_session *session, const struct rules_config *config,
           long long now)
{
    struct put *put = xzalloc(sizeof *put);

    put->session = session;
    put->dialect.config = config;
    put->dialect.protocol = openflow_protocol(session->version);
    put->dialect.meters = session->max_meters >= RULES_N_METERS;
    put->bundles = session->bundles;
    put->installed = rule_table_create();
    put->refused = rule_table_create();
    put->going = rule_table_create();
    put->coming = rule_table_create();
    put->retry_at = LLONG_MAX;
    if (session->role != OFPCR12_ROLE_SECONDARY) {
        start_reading(put, now);
    }
    return put;
}

bool
put_read_again(struct put *put, long long now)
{
    if (put->state != PUT_READY || !put_queue_is_empty(&put->queue)) {
        put->read_again = put->state == PUT_ROUND
                          || put->state == PUT_READY;
        return false;
    }
    put->read_again = false;
    rule_table_clear(put->installed);
    start_reading(put, now);
    return true;
}

static void
forget_round(struct put *put)
{
    rule_changes_destroy(&put->round);
    memset(&put->round, 0, sizeof put->round);
    free(put->failed);
    put->failed = NULL;
}

void
put_role_changed(struct put *put, long long now)
{
    bool standby = put->session->role == OFPCR12_ROLE_SECONDARY;

    if (standby && put->state != PUT_STANDBY) {
        forget_round(put);
        put_queue_clear(&put->queue);
        put_order_held_destroy(&put->held);
        rule_table_clear(put->installed);
        put->state = PUT_STANDBY;
        put->barrier_xid = 0; /* Its reply confirms nothing any more. */
        put->holding = false;
        put->session->patience_until = 0;
    } else if (!standby && put->state == PUT_STANDBY) {
        start_reading(put, now);
    }
}

void
put_destroy(struct put *put)
{
    if (put) {
        forget_round(put);
        put_queue_clear(&put->queue);
        put_order_held_destroy(&put->held);
        rule_table_destroy(put->installed);
        rule_table_destroy(put->refused);
        rule_table_destroy(put->going);
        rule_table_destroy(put->coming);
        free(put);
    }
}

/* Refusals. */

const char *
put_refusal_string(const struct put_refusal *refusal, char *buf, size_t size)
{
    return refusal->sent ? openflow_error_string(refusal->error, buf, size)
                         : "libopenvswitch cannot express it";
}

static bool
is_refused(const struct put *put, const struct rule *rule)
{
    if (rule->kind == RULE_FOREIGN) {
        return put->skip_foreign;
    }
    const struct rule *refused = rule_table_find(put->refused, rule);
    return refused && rule_equal(refused, rule);
}

static void
log_refusal(const struct put *put, const struct put_refusal *refusal)
{
    struct ds ds = DS_EMPTY_INITIALIZER;
    char text[128];

    rule_format(&refusal->rule, &ds);
    VLOG_WARN_RL(&rl, "%016" PRIx64 ": refuses \"%s\": %s",
                 put->session->datapath_id, ds_cstr(&ds),
                 put_refusal_string(refusal, text, sizeof text));
    ds_destroy(&ds);
}

/* True for rules that only switches with SAL fields get. */
static bool
needs_sal_fields(const struct rule *rule)
{
    switch (rule->kind) {
    case RULE_HOST_PROBE:
    case RULE_HOST_PROBE6:
    case RULE_RESOLVE:
    case RULE_RESOLVE6:
        return true;
    default:
        return rule_has_target(rule);
    }
}

/* A round that deletes meters, which comes last, makes room for new ones. */
static void
refuse_meter(struct put *put, long long now)
{
    for (size_t i = 0; i < put->round.n; i++) {
        if (put->round.changes[i].op == RULE_DELETE
            && put->round.changes[i].rule.kind == RULE_METER) {
            put->retry_at = now;
            return;
        }
    }
    put->meters_refused = true;
}

static void
refuse(struct put *put, const struct put_refusal *refusal, long long now)
{
    log_refusal(put, refusal);
    put->stats.refused++;
    if (refusal->rule.kind == RULE_FOREIGN) {
        put->skip_foreign = true; /* Only 'installed' may hold such a rule. */
    } else {
        rule_table_put(put->refused, &refusal->rule);
        if (put->n_refusals < PUT_REFUSALS_SHOWN) {
            put->refusals[put->n_refusals++] = *refusal;
        }
    }
    if (refusal->sent && openflow_errno(refusal->error) == -ENOSPC) {
        put->plain_once = true; /* A bundle tells of the first one only. */
        put->groups_full |= rule_is_group(&refusal->rule);
        put->service_table_full |= rule_has_target(&refusal->rule);
        put->host_table_full |= rule_table_id(&refusal->rule)
                                == SAL_TABLE_FORWARD;
        put->admit_table_full |= rule_table_id(&refusal->rule)
                                 == SAL_TABLE_ADMIT;
    }
    if (refusal->sent && refusal->rule.kind == RULE_METER) {
        refuse_meter(put, now);
    }
    put->no_sal_fields |= refusal->sent
                          && refusal->error == OFPERR_OFPBMC_BAD_FIELD
                          && needs_sal_fields(&refusal->rule);
    put->retry_at = MIN(put->retry_at, now + put->session->config.retry_ms);
}

/* Reading. */

static void
read_flows(struct put *put, const struct openflow_message *m)
{
    struct ofputil_flow_stats flow;
    struct openflow_parts parts;
    int error;

    openflow_parts_begin(&parts, m);
    while ((error = openflow_next_flow(&parts, &flow)) > 0) {
        rule_table_read_flow(put->installed, &flow, &put->dialect);
    }
    openflow_parts_end(&parts);
    if (rule_table_count(put->installed) > put->session->config.max_rules) {
        switch_session_close(put->session, "the switch tells of more flows "
                                           "than any switch has");
    }
    if (error < 0) {
        put->session->counters.malformed++;
        VLOG_WARN_RL(&rl, "%016" PRIx64 ": a flow in its answer makes no "
                     "sense; the rest of that answer is ignored",
                     put->session->datapath_id);
    }
}

static void
read_groups(struct put *put, const struct openflow_message *m)
{
    struct ofputil_group_desc group;
    struct openflow_parts parts;

    openflow_parts_begin(&parts, m);
    while (openflow_next_group(&parts, &group) > 0) {
        rule_table_read_group(put->installed, &group);
        ofputil_uninit_group_desc(&group);
    }
    openflow_parts_end(&parts);
}

static void
read_meters(struct put *put, const struct openflow_message *m)
{
    struct ofputil_meter_config meter;
    struct openflow_parts parts;

    openflow_parts_begin(&parts, m);
    while (openflow_next_meter(&parts, &meter) > 0) {
        rule_table_read_meter(put->installed, &meter);
    }
    openflow_parts_end(&parts);
}

static enum put_event
finish_reading(struct put *put)
{
    put->stats.rules_read = rule_table_count(put->installed);
    put->state = PUT_READY;
    put->barrier_xid = 0;
    put->session->patience_until = 0;
    VLOG_DBG("%016" PRIx64 ": holds %" PRIuSIZE " of our rules",
             put->session->datapath_id, put->stats.rules_read);
    return PUT_READ;
}

/* Rounds. */

/* Leaves out what the switch has refused. */
static void
drop_refused(struct put *put, struct rule_changes *changes)
{
    size_t n = 0;

    for (size_t i = 0; i < changes->n; i++) {
        const struct rule_change *change = &changes->changes[i];

        if (!is_refused(put, &change->rule)) {
            changes->changes[n++] = *change;
        }
    }
    put->full |= n != changes->n;
    changes->n = n;
}

static bool
takes_something_away(const struct rule_changes *changes)
{
    for (size_t i = 0; i < changes->n; i++) {
        if (changes->changes[i].op != RULE_ADD) {
            return true;
        }
    }
    return false;
}

/* What of a round goes where: no bundle takes meters, and one must be there
 * before the first rule that names it, and as long as the last one. */
enum part { PART_METERS, PART_BUNDLE, PART_GONE_METERS };

static enum part
part_of(const struct rule_change *change)
{
    return change->rule.kind != RULE_METER ? PART_BUNDLE
           : change->op == RULE_DELETE ? PART_GONE_METERS : PART_METERS;
}

static void
send_part(struct put *put, enum part part, long long now)
{
    struct switch_session *s = put->session;
    const struct rule_encoding encoding = {
        &put->dialect, put->in_bundle && part == PART_BUNDLE, put->bundle_id};

    for (size_t i = 0; i < put->round.n; i++) {
        const struct rule_change *change = &put->round.changes[i];

        if (part_of(change) != part) {
            continue;
        }
        if (rule_change_append(change, &encoding, put->first_xid + i,
                               &s->output)) {
            s->counters.sent++;
        } else {
            put->failed[i] = true;
            refuse(put, &(struct put_refusal) {.rule = change->rule}, now);
        }
    }
}

static void
send_bundle(struct put *put, long long now)
{
    struct switch_session *s = put->session;
    uint8_t v = s->version;

    if (!put->in_bundle) {
        send_part(put, PART_BUNDLE, now);
        return;
    }
    put->bundle_id++;
    put->open_xid = switch_session_send(
        s, openflow_bundle_control(v, put->bundle_id, OFPBCT_OPEN_REQUEST));
    send_part(put, PART_BUNDLE, now);
    put->commit_xid = switch_session_send(
        s, openflow_bundle_control(v, put->bundle_id,
                                   OFPBCT_COMMIT_REQUEST));
}

static void
start_round(struct put *put, long long now)
{
    struct switch_session *s = put->session;

    put->state = PUT_ROUND;
    put->started_at = now;
    s->patience_until = now + s->config.patience_ms;
    put_queue_take(&put->queue, &put->round);
    put->in_bundle = put->bundles && !put->plain_once;
    put->plain_once = false;
    put->committed = !put->in_bundle;
    put->failed = xzalloc(put->round.n);
    if (s->next_xid > UINT32_MAX - put->round.n - 16) {
        s->next_xid = 1; /* The round's xids must be consecutive. */
    }
    put->first_xid = s->next_xid;
    s->next_xid += put->round.n;
    send_part(put, PART_METERS, now);
    send_bundle(put, now);
    send_part(put, PART_GONE_METERS, now);
    put->barrier_xid = switch_session_send(
        s, openflow_barrier_request(s->version));
}

static void
retry_refused(struct put *put, long long now)
{
    if (now >= put->retry_at) {
        put->n_refusals = 0;
        put->skip_foreign = false;
        rule_table_clear(put->refused);
        put->full = true;
        put->retry_at = LLONG_MAX;
    }
}

/* Takes out what has to wait for other switches. */
static void
hold_back(struct put *put, struct plan *plan, const struct put_order *order,
          struct rule_changes *changes, long long now)
{
    if (!order) {
        put_order_held_destroy(&put->held);
        return;
    }
    put_order_split(order, put->session->datapath_id, changes, &put->held,
                    now);
    if (put_is_held(put)) {
        put->held_until = put->held.since + order->patience_ms;
        plan_touch_again(plan, put->session->datapath_id,
                         &put->held.changes);
    }
}

/* All that was desired up to 'generation' is installed, but what is held. */
static void
confirm(struct put *put, uint64_t generation)
{
    if (!put->held.upper) {
        put->services_generation = generation;
    }
    if (!put->held.upper && !put->held.groups) {
        put->upper_generation = generation;
    }
    if (!put_is_held(put)) {
        put->confirmed_generation = generation;
    }
}

/* Fills the queue with the difference between desired and installed. */
static void
find_changes(struct put *put, struct plan *plan,
             const struct put_order *order, bool hold, long long now)
{
    struct rule_changes changes = RULE_CHANGES_INITIALIZER;

    plan_diff(plan, put->session->datapath_id, put->installed, put->full,
              &changes);
    put->full = false;
    drop_refused(put, &changes);
    put->holding = hold && takes_something_away(&changes);
    if (put->holding) {
        put->full = true;
        rule_changes_destroy(&changes);
    } else {
        hold_back(put, plan, order, &changes, now);
        put_order_note(&changes, put->going, put->coming);
        put_queue_fill(&put->queue, &changes, plan_generation(plan));
        if (put_queue_is_empty(&put->queue)) {
            confirm(put, plan_generation(plan));
        }
    }
}

void
put_run(struct put *put, struct plan *plan, const struct put_order *order,
        bool hold, long long now)
{
    if (put->state != PUT_READY
        || !plan_desired(plan, put->session->datapath_id)
        || put->session->state != SWITCH_SESSION_UP) {
        return;
    }
    if (put->read_again && put_read_again(put, now)) {
        return;
    }
    retry_refused(put, now);
    if (put_queue_is_empty(&put->queue)) {
        find_changes(put, plan, order, hold, now);
    }
    if (!put_queue_is_empty(&put->queue)) {
        start_round(put, now);
    }
}

static void
count_confirmed(struct put *put)
{
    for (size_t i = 0; i < put->round.n; i++) {
        enum rule_op op = put->round.changes[i].op;
        put->stats.adds += op == RULE_ADD;
        put->stats.modifies += op == RULE_MODIFY;
        put->stats.deletes += op == RULE_DELETE;
    }
}

static enum put_event
finish_round(struct put *put)
{
    bool whole = true;
    size_t n = 0;

    for (size_t i = 0; i < put->round.n; i++) {
        if (put->failed[i]) {
            whole = false;
        } else if (put->committed
                   || put->round.changes[i].rule.kind == RULE_METER) {
            put->round.changes[n++] = put->round.changes[i];
        }
    }
    put->round.n = n;
    if (!whole || !put->committed) {
        /* The rest may build on what is missing now. */
        put_queue_clear(&put->queue);
        put->full = true;
    }
    put->stats.rounds++;
    if (!put->committed) {
        /* The switch has undone the bundle.  If it did not say because of
         * which rule, it will without a bundle. */
        put->stats.failed_rounds++;
        if (whole && put->bundles) {
            VLOG_WARN_RL(&rl, "%016" PRIx64 ": refuses a bundle and names no "
                         "rule; going on without bundles",
                         put->session->datapath_id);
            put->bundles = false;
        }
    }
    count_confirmed(put);
    rule_changes_apply(&put->round, n, put->installed);
    if (put->committed && whole && put_queue_is_empty(&put->queue)) {
        confirm(put, put->queue.generation);
    }
    forget_round(put);
    put->state = PUT_READY;
    put->barrier_xid = 0;
    put->session->patience_until = 0;
    return PUT_CONFIRMED;
}

/* Errors. */

/* Errors about the bundle rather than about the rule in it. */
static bool
is_bundle_error(enum ofperr error)
{
    switch ((int) error) {
    case OFPERR_OFPBFC_UNKNOWN:
    case OFPERR_OFPBFC_EPERM:
    case OFPERR_OFPBFC_BAD_ID:
    case OFPERR_OFPBFC_BUNDLE_EXIST:
    case OFPERR_OFPBFC_BUNDLE_CLOSED:
    case OFPERR_OFPBFC_OUT_OF_BUNDLES:
    case OFPERR_OFPBFC_BAD_TYPE:
    case OFPERR_OFPBFC_BAD_FLAGS:
    case OFPERR_OFPBFC_MSG_BAD_LEN:
    case OFPERR_OFPBFC_MSG_BAD_XID:
    case OFPERR_OFPBFC_MSG_UNSUP:
    case OFPERR_OFPBFC_MSG_CONFLICT:
    case OFPERR_OFPBFC_MSG_TOO_MANY:
    case OFPERR_OFPBFC_TIMEOUT:
    case OFPERR_OFPBFC_BUNDLE_IN_PROGRESS:
        return true;
    default:
        return false;
    }
}

/* Somebody has made or deleted a meter behind our back. */
static bool
is_about_meters(enum ofperr error)
{
    return error == OFPERR_OFPMMFC_METER_EXISTS
           || error == OFPERR_OFPMMFC_UNKNOWN_METER
           || error == OFPERR_OFPMMFC_INVALID_METER;
}

static void
round_error(struct put *put, const struct openflow_message *m, long long now)
{
    uint32_t i = m->xid - put->first_xid;
    char text[128];

    if (put->in_bundle
        && (m->xid == put->open_xid
            || (i < put->round.n && is_bundle_error(m->error)))) {
        if (put->bundles) {
            VLOG_WARN_RL(&rl, "%016" PRIx64 ": refuses a bundle: %s; going "
                         "on without bundles", put->session->datapath_id,
                         openflow_error_string(m->error, text, sizeof text));
        }
        put->bundles = false;
    } else if (i < put->round.n) {
        if (!put->failed[i]) {
            put->failed[i] = true;
            put->read_again |= is_about_meters(m->error);
            refuse(put, &(struct put_refusal) {
                            .rule = put->round.changes[i].rule,
                            .sent = true, .error = m->error}, now);
        }
    } else if (m->xid != put->commit_xid) {
        VLOG_WARN_RL(&rl, "%016" PRIx64 ": error, xid %" PRIu32 ": %s",
                     put->session->datapath_id, m->xid,
                     openflow_error_string(m->error, text, sizeof text));
    }
}

static void
reading_error(struct put *put, const struct openflow_message *m)
{
    if (m->xid == put->meters_xid) {
        put->dialect.meters = false;
    } else if (m->xid == put->flows_xid || m->xid == put->barrier_xid) {
        switch_session_close(put->session,
                             "the switch does not tell its flows");
    }
}

static void
handle_error(struct put *put, const struct openflow_message *m,
             long long now)
{
    if (put->state == PUT_READING) {
        reading_error(put, m);
    } else {
        round_error(put, m, now);
    }
}

enum put_event
put_message(struct put *put, const struct openflow_message *m, long long now)
{
    if (put->state == PUT_STANDBY) {
        return PUT_NOTHING; /* Late answers to what we asked as master. */
    }
    switch ((int) m->type) {
    case OFPTYPE_FLOW_STATS_REPLY:
        if (put->state == PUT_READING && m->xid == put->flows_xid) {
            read_flows(put, m);
        }
        return PUT_NOTHING;
    case OFPTYPE_GROUP_DESC_STATS_REPLY:
        if (put->state == PUT_READING && m->xid == put->groups_xid) {
            read_groups(put, m);
        }
        return PUT_NOTHING;
    case OFPTYPE_METER_CONFIG_STATS_REPLY:
        if (put->state == PUT_READING && m->xid == put->meters_xid) {
            read_meters(put, m);
        }
        return PUT_NOTHING;
    case OFPTYPE_BUNDLE_CONTROL:
        if (put->state == PUT_ROUND && m->xid == put->commit_xid
            && m->bundle.type == OFPBCT_COMMIT_REPLY) {
            put->committed = true;
        }
        return PUT_NOTHING;
    case OFPTYPE_ERROR:
        handle_error(put, m, now);
        return PUT_NOTHING;
    case OFPTYPE_BARRIER_REPLY:
        if (m->xid && m->xid == put->barrier_xid) {
            return put->state == PUT_READING ? finish_reading(put)
                                             : finish_round(put);
        }
        return PUT_NOTHING;
    default:
        return PUT_NOTHING;
    }
}

long long
put_wakeup(const struct put *put, long long timeout_ms)
{
    switch (put->state) {
    case PUT_STANDBY:
        return LLONG_MAX;
    case PUT_READY:
        return put_is_held(put)
               ? MIN(put->retry_at, put->held_until)
               : put->retry_at;
    default:
        return put->started_at + timeout_ms;
    }
}

void
put_check(struct put *put, long long timeout_ms, long long now)
{
    if (put->state != PUT_READY && put->state != PUT_STANDBY
        && now >= put->started_at + timeout_ms) {
        switch_session_close(put->session,
                             "the switch confirms nothing any more");
    }
}

const char *
put_state_string(enum put_state state)
{
    switch (state) {
    case PUT_STANDBY:
        return "standby";
    case PUT_READING:
        return "reading";
    case PUT_READY:
        return "ready";
    case PUT_ROUND:
        return "round";
    }
    return "?";
}
