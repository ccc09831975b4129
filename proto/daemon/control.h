/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon's control socket: commands in, text or JSON out.
 *
 * The wire is the registration API's Command and CommandReply over a Unix
 * socket of mode 0600.  "help" is built in.  One thread: the loop's. */
#ifndef SALIENT_CONTROL_H
#define SALIENT_CONTROL_H 1

#include <stdbool.h>
#include <uv.h>
#include "openvswitch/dynamic-string.h"

struct control_server;
struct control_call; /* One command under way. */

/* Answer a call exactly once, now or later (a command that waits keeps the
 * pointer).  The peer may be gone by then; answering is still required and
 * harmless.  'output' may be long: it is sent in pieces as the peer reads.
 * After control_server_stop() an answer reaches nobody: a command that stops
 * the daemon answers first. */
void control_reply(struct control_call *, const char *output);
void control_fail(struct control_call *, const char *error);
/* status 2: wrong arguments; the usage line is added. */
void control_usage(struct control_call *, const char *error);
bool control_wants_json(const struct control_call *);

/* A part of an answer that goes on; control_reply() ends it.  False if the
 * peer is gone, or does not read: then it is to be ended. */
bool control_reply_part(struct control_call *, const char *output);

/* argv[0] is the first word after the command's name. */
typedef void control_handler(struct control_call *, int argc,
                             const char *const argv[], void *aux);

struct control_command {
    const char *name;  /* May have two words: "show hosts". */
    const char *usage; /* Arguments, "" if none. */
    const char *help;  /* One line. */
    int min_args, max_args; /* -1: no limit. */
    control_handler *handler;
};

/* 'commands' ends with a NULL name and outlives the server. */
int control_server_start(uv_loop_t *, const char *path,
                         const struct control_command *commands, void *aux,
                         struct control_server **ret_server,
                         char **ret_error);
/* What was answered is still sent (bounded by a second). */
void control_server_stop(struct control_server *);

/* Client side (salctl): sends one command, waits at most 'timeout_ms', prints
 * to stdout and stderr, returns the exit status: that of the command, or 3 if
 * the daemon cannot be reached (with a sentence that says what to do). */
int control_call_blocking(const char *path, int argc, const char *const argv[],
                          bool json, unsigned int timeout_ms);

#endif /* control.h */
