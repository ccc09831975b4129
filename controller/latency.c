/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/latency.h"

#include "openvswitch/util.h"
#include "util.h"

uint32_t
latency_least(const struct latency *latency)
{
    uint32_t least = UINT32_MAX;
    for (unsigned int i = 0; i < latency->n; i++) {
        least = MIN(least, latency->samples[i]);
    }
    return latency->n ? least : 0;
}

/* A quarter, and no less than a step and a bit: what lies at the border
 * between two steps must not go to and fro. */
static bool
is_clearly_different(uint32_t a, uint32_t b)
{
    uint32_t distance = a > b ? a - b : b - a;
    return distance > MAX(b / 4, LATENCY_STEP_US + LATENCY_STEP_US / 2);
}

bool
latency_add(struct latency *latency, uint32_t sample_us)
{
    latency->samples[latency->next] = sample_us;
    latency->next = (latency->next + 1) % LATENCY_WINDOW;
    latency->n = MIN(latency->n + 1, LATENCY_WINDOW);

    uint32_t least = latency_least(latency);
    if (latency->value && !is_clearly_different(least, latency->value)) {
        latency->doubts = 0;
        return false;
    }
    if (++latency->doubts < LATENCY_PATIENCE) {
        return false;
    }
    latency->doubts = 0;
    uint32_t old = latency->value;
    latency->value = MAX(ROUND_UP(least, LATENCY_STEP_US), LATENCY_STEP_US);
    return latency->value != old;
}
