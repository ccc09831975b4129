/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the connections that health.h asks for.
 *
 * A check that has not succeeded within its interval has failed; so there is
 * one connection a service at most.
 *
 * On the loop's thread.  The creator owns it; health_prober_close() frees it
 * once its handles are closed. */
#ifndef SALIENT_HEALTH_PROBER_H
#define SALIENT_HEALTH_PROBER_H 1

#include <uv.h>
#include "agents/health.h"

struct health_prober;

/* 'changed' is called when a service's health has changed. */
struct health_prober *health_prober_create(uv_loop_t *,
                                           void (*changed)(void *aux),
                                           void *aux);
void health_prober_close(struct health_prober *);

/* Checks those of 'services' that ask for it. */
void health_prober_set(struct health_prober *, const struct local_services *);
/* What the target address 0 stands for, host byte order; 0: nothing yet. */
void health_prober_set_identity(struct health_prober *, uint32_t identity_v4);
const struct health *health_prober_health(const struct health_prober *);

#endif /* health_prober.h */
