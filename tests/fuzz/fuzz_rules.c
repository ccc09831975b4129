/* SPDX-License-Identifier: Apache-2.0 */
/* Flows, groups and meters as a switch claims to have them: OpenFlow 1.5 replies.
 * What is taken for a rule of ours must make the same flow again. */
#include "tests/fuzz/fuzz.h"

#include "controller/rule_table.h"
#include "controller/rules.h"
#include "openvswitch/ofp-group.h"
#include "openvswitch/ofp-meter.h"
#include "openvswitch/ofp-msgs.h"
#include "openvswitch/ofpbuf.h"
#include "openvswitch/vlog.h"

static const struct rules_config config = RULES_CONFIG_DEFAULT;
static const struct rule_dialect dialect
    = {&config, OFPUTIL_P_OF15_OXM, true};

static void
read_flows(struct ofpbuf *message, struct rule_table *table)
{
    struct ofputil_flow_stats fs;
    struct ofpbuf ofpacts;

    ofpbuf_init(&ofpacts, 0);
    while (!ofputil_decode_flow_stats_reply(&fs, message, false, &ofpacts)) {
        rule_table_read_flow(table, &fs, &dialect);
    }
    ofpbuf_uninit(&ofpacts);
}

static void
read_groups(struct ofpbuf *message, struct rule_table *table)
{
    struct ofputil_group_desc group;

    while (!ofputil_decode_group_desc_reply(&group, message, OFP15_VERSION)) {
        rule_table_read_group(table, &group);
        ofputil_uninit_group_desc(&group);
    }
}

static void
read_meters(struct ofpbuf *message, struct rule_table *table)
{
    struct ofputil_meter_config meter;
    struct ofpbuf bands;

    ofpbuf_init(&bands, 0);
    while (!ofputil_decode_meter_config(message, &meter, &bands)) {
        rule_table_read_meter(table, &meter);
    }
    ofpbuf_uninit(&bands);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vlog_set_levels(NULL, VLF_ANY_DESTINATION, VLL_OFF);
    if (size < sizeof(struct ofp_header) || size > 4096) {
        return 0;
    }
    struct ofpbuf *message = ofpbuf_clone_data(data, size);
    struct ofp_header *oh = message->data;
    struct rule_table *table = rule_table_create();
    enum ofpraw raw;

    oh->version = OFP15_VERSION;
    oh->length = htons(size);
    if (!ofpraw_decode(&raw, oh)) {
        switch ((int) ofptype_from_ofpraw(raw)) {
        case OFPTYPE_FLOW_STATS_REPLY:
            read_flows(message, table);
            break;
        case OFPTYPE_GROUP_DESC_STATS_REPLY:
            read_groups(message, table);
            break;
        case OFPTYPE_METER_CONFIG_STATS_REPLY:
            read_meters(message, table);
            break;
        }
    }

    size_t i = 0;
    for (const struct rule *rule; (rule = rule_table_next(table, &i));) {
        struct rule_change change = {RULE_DELETE, *rule};
        ofpbuf_delete(rule_change_encode(&change, &dialect));
    }
    rule_table_destroy(table);
    ofpbuf_delete(message);
    return 0;
}
