/* SPDX-License-Identifier: Apache-2.0 */
/* The controller: ties the pure core (registry, topology, plan) to switches,
 * agents and people.
 *
 *     a message, a timer     changes registry or topology
 *     once a loop round      plan_run(), then put what changed
 *     a barrier's reply      confirms; who waits is answered
 *
 * Start reading at controller_round().  One thread: the loop's. */
#ifndef CONTROLLER_CONTROLLER_H
#define CONTROLLER_CONTROLLER_H 1

#include <uv.h>
#include "controller/controller_config.h"

struct controller;

/* Takes 'config' over.  Listens and runs with the loop.  0, or a negative
 * errno with '*ret_error' (malloced sentence). */
int controller_start(uv_loop_t *, struct controller_config *config,
                     struct controller **ret_controller, char **ret_error);

/* Takes 'config' over: what can change at run time does so at once; what else
 * differs is reported to need a restart. */
void controller_reload(struct controller *, struct controller_config *config);

/* Closes everything; then the loop ends and controller_destroy() may be
 * called.  Switches keep their rules. */
void controller_stop(struct controller *);
void controller_destroy(struct controller *);

#endif /* controller.h */
