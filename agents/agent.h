/* SPDX-License-Identifier: Apache-2.0 */
/* The agent: ties session, names, data plane, interfaces, name server and
 * control socket together.  It decides as little as it can: what is wanted is
 * computed by pure modules (controller_session, desired), what is done is
 * done by thin ones (datapath, netdev, dns_server).
 *
 * One thread: the loop's. */
#ifndef SALIENT_AGENT_H
#define SALIENT_AGENT_H 1

#include <uv.h>
#include "agents/agent_config.h"

struct agent;

/* Starts everything, taking over what a predecessor left in the kernel.
 * Takes 'config' over in any case.  Negative errno with '*ret_error'
 * (malloced sentence); nothing of ours is left in the kernel then that was
 * not there before. */
int agent_start(uv_loop_t *, struct agent_config *config,
                struct agent **ret_agent, char **ret_error);

/* Reads the configuration file again and applies what changed. */
void agent_reload(struct agent *);

/* Unregisters (bounded by stop_timeout), then removes everything from the
 * kernel; or with keep_on_stop leaves both.  Then calls 'stopped'; once the
 * loop has run out of our handles, agent_destroy() is due. */
void agent_stop(struct agent *, void (*stopped)(void *aux), void *aux);
void agent_destroy(struct agent *);

#endif /* agent.h */
