/* SPDX-License-Identifier: Apache-2.0 */
/* A measured time, without its noise.
 *
 * What is added to a round trip by waiting (for the CPU, in a queue) is never
 * negative, so the least of the last LATENCY_WINDOW samples is what the link
 * itself takes.  The value in use changes only after LATENCY_PATIENCE samples
 * in a row that say clearly something else.
 *
 * Pure; any thread. */
#ifndef CONTROLLER_LATENCY_H
#define CONTROLLER_LATENCY_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LATENCY_WINDOW 8
#define LATENCY_PATIENCE 4
#define LATENCY_STEP_US 500 /* Values in use are multiples of it. */

struct latency {
    uint32_t samples[LATENCY_WINDOW]; /* Microseconds. */
    unsigned int n;      /* Samples there are, and */
    unsigned int next;   /* where the next goes. */
    unsigned int doubts; /* Samples in a row against 'value'. */
    uint32_t value;      /* In use; 0 = none yet. */
};

/* The least sample of the window; 0 if there is none. */
uint32_t latency_least(const struct latency *);
/* True if that changed 'value'. */
bool latency_add(struct latency *, uint32_t sample_us);

#endif /* latency.h */
