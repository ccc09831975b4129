/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes from a switch: the session lives or says why it ended, and lists
 * in answers are read to their end. */
#include "tests/fuzz/fuzz.h"

#include "controller/switch_session.h"
#include "openvswitch/vlog.h"

static void
read_parts(const struct openflow_message *m)
{
    struct openflow_parts parts;
    struct ofputil_flow_stats flow;
    struct ofputil_group_desc group;
    struct ofputil_meter_config meter;

    openflow_parts_begin(&parts, m);
    switch ((int) m->type) {
    case OFPTYPE_FLOW_STATS_REPLY:
        while (openflow_next_flow(&parts, &flow) > 0) {
            FUZZ_CHECK(flow.ofpacts_len <= parts.ofpacts.size);
        }
        break;
    case OFPTYPE_GROUP_DESC_STATS_REPLY:
        while (openflow_next_group(&parts, &group) > 0) {
            ofputil_uninit_group_desc(&group);
        }
        break;
    case OFPTYPE_METER_CONFIG_STATS_REPLY:
        while (openflow_next_meter(&parts, &meter) > 0) {
            FUZZ_CHECK(!meter.n_bands || meter.bands);
        }
        break;
    }
    openflow_parts_end(&parts);
}

static void
event(struct switch_session *s, const struct switch_event *e, void *aux)
{
    int *closes = aux;

    *closes += e->type == SWITCH_EVENT_CLOSED;
    if (e->type == SWITCH_EVENT_MESSAGE) {
        read_parts(e->message);
    } else if (e->type == SWITCH_EVENT_CLOSED) {
        FUZZ_CHECK(e->reason && e->reason[0]);
    }
}

/* First octet: bit 0 the handshake is done, bit 1 OpenFlow 1.3, the rest how
 * the bytes are cut. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t hello15[] = {6, 0, 0, 8, 0, 0, 0, 1};
    static const uint8_t hello13[] = {4, 0, 0, 8, 0, 0, 0, 1};
    struct switch_session s;
    int closes = 0;

    vlog_set_levels(NULL, VLF_ANY_DESTINATION, VLL_OFF);
    if (!size) {
        return 0;
    }
    uint8_t mode = *data++;
    size--;
    switch_session_init(&s, &switch_session_defaults, event, &closes, 0);
    if (mode & 1) {
        switch_session_receive(&s, mode & 2 ? hello13 : hello15, 8, 1);
        /* As if everything had been answered. */
        memset(&s.asked, 0, sizeof s.asked);
        s.state = SWITCH_SESSION_UP;
        s.version = mode & 2 ? OFP13_VERSION : OFP15_VERSION;
    }
    size_t piece = mode >> 2 ? mode >> 2 : size;
    while (size) {
        size_t n = piece < size ? piece : size;
        switch_session_receive(&s, data, n, 2);
        data += n;
        size -= n;
    }
    switch_session_run(&s, 100000);
    FUZZ_CHECK(closes == (s.state == SWITCH_SESSION_CLOSED));
    FUZZ_CHECK(closes == 1);
    switch_session_destroy(&s);
    return 0;
}
