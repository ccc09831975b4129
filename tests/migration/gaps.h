/* SPDX-License-Identifier: Apache-2.0 */
/* Pauses of a stream, as its receiver sees them: each longer than a threshold
 * is printed when it ends, so that who moved the flow can tell which move it
 * belongs to.  Clocks are CLOCK_MONOTONIC, the same in every namespace.  One
 * thread. */
#ifndef SALIENT_TEST_GAPS_H
#define SALIENT_TEST_GAPS_H 1

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

static inline int64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

struct gaps {
    int64_t last;      /* Arrival; 0 = none yet. */
    int64_t threshold; /* Shorter ones are not printed. */
    int64_t longest;
};

/* Something arrived 'now'. */
static inline void
gaps_arrival(struct gaps *gaps, int64_t now)
{
    if (gaps->last) {
        int64_t gap = now - gaps->last;
        if (gap >= gaps->threshold) {
            printf("{\"gap_from\": %.6f, \"gap_ms\": %.3f}\n",
                   gaps->last / 1e9, gap / 1e6);
            fflush(stdout);
        }
        if (gap > gaps->longest) {
            gaps->longest = gap;
        }
    }
    gaps->last = now;
}

#endif /* gaps.h */
