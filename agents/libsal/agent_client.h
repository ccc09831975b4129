/* SPDX-License-Identifier: Apache-2.0 */
/* libsal's connection to the agent: one command, one answer.  No dependency
 * but protobuf-c. */
#ifndef SALIENT_AGENT_CLIENT_H
#define SALIENT_AGENT_CLIENT_H 1

/* 'argv' ends with NULL.  0 with '*ret_output' (malloced), or negative errno
 * as in libsal.h; the agent's sentence is left for sal_error(). */
int agent_client_call(const char *const argv[], unsigned int timeout_ms,
                      char **ret_output);

#endif /* agent_client.h */
