/* SPDX-License-Identifier: Apache-2.0 */
/* Meters of switches that do not exist: they limit nothing. */
#include "tests/bench/controller/load.h"

#include "hash.h"
#include "openflow/openflow.h"
#include "openvswitch/ofp-meter.h"
#include "util.h"

struct load_meter *
load_meter_find(const struct load_switch *sw, uint32_t id)
{
    struct load_meter *meter;

    HMAP_FOR_EACH_WITH_HASH (meter, node, hash_int(id, 0), &sw->meters) {
        if (meter->id == id) {
            return meter;
        }
    }
    return NULL;
}

void
load_meter_set(struct load_switch *sw, uint32_t id, uint32_t rate)
{
    struct load_meter *meter = load_meter_find(sw, id);

    if (!meter) {
        meter = xzalloc(sizeof *meter);
        meter->id = id;
        hmap_insert(&sw->meters, &meter->node, hash_int(id, 0));
    }
    meter->rate = rate;
}

bool
load_meter_mod(struct load_switch *sw, const struct ofp_header *oh)
{
    struct ofputil_meter_mod mm;
    struct ofpbuf bands;

    ofpbuf_init(&bands, 0);
    bool ok = !ofputil_decode_meter_mod(oh, &mm, &bands);
    struct load_meter *meter = ok ? load_meter_find(sw, mm.meter.meter_id)
                                  : NULL;
    if (ok && mm.command == OFPMC13_DELETE) {
        if (meter) {
            hmap_remove(&sw->meters, &meter->node);
            free(meter);
        }
    } else if (ok) {
        ok = mm.meter.n_bands == 1 && !meter == (mm.command == OFPMC13_ADD)
             && mm.meter.flags == (OFPMF13_PKTPS | OFPMF13_BURST)
             && mm.meter.bands[0].burst_size == mm.meter.bands[0].rate;
        if (ok) {
            load_meter_set(sw, mm.meter.meter_id, mm.meter.bands[0].rate);
        }
    }
    ofpbuf_uninit(&bands);
    return ok;
}

void
load_meters_tell(const struct load_switch *sw, struct ovs_list *replies)
{
    const struct load_meter *meter;

    HMAP_FOR_EACH (meter, node, &sw->meters) {
        struct ofputil_meter_band band = {
            .type = OFPMBT13_DROP, .rate = meter->rate,
            .burst_size = meter->rate};
        const struct ofputil_meter_config config = {
            .meter_id = meter->id, .flags = OFPMF13_PKTPS | OFPMF13_BURST,
            .n_bands = 1, .bands = &band};
        ofputil_append_meter_config(replies, &config);
    }
}

void
load_meters_forget(struct load_switch *sw)
{
    struct load_meter *meter;

    HMAP_FOR_EACH_POP (meter, node, &sw->meters) {
        free(meter);
    }
    hmap_destroy(&sw->meters);
    hmap_init(&sw->meters);
}
