/* SPDX-License-Identifier: Apache-2.0 */
/* libsal's connection to the agent: one command, one answer.  No dependency
 * but protobuf-c. */
#ifndef SALIENT_AGENT_CLIENT_H
#define SALIENT_AGENT_CLIENT_H 1

/* 'argv' ends with NULL.  0 with '*ret_output' (malloced), or negative errno
 * as in libsal.h; the agent's sentence is left for sal_error(). */
int agent_client_call(const char *const argv[], unsigned int timeout_ms,
                      char **ret_output);

/* A command that goes on answering, in JSON lines. */
struct agent_stream;
int agent_stream_open(const char *const argv[], unsigned int timeout_ms,
                      struct agent_stream **ret_stream);
void agent_stream_close(struct agent_stream *);
int agent_stream_fd(const struct agent_stream *);
/* The next line, without its end: 1 with '*ret_line' (malloced), 0 if none
 * came in time, -ECONNRESET if the agent has ended it. */
int agent_stream_next(struct agent_stream *, unsigned int timeout_ms,
                      char **ret_line);

#endif /* agent_client.h */
