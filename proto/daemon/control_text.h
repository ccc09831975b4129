/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of control.h: which command is meant, what help says, where a long
 * output is cut.  Pure. */
#ifndef SALIENT_CONTROL_TEXT_H
#define SALIENT_CONTROL_TEXT_H 1

#include <stdbool.h>
#include <stddef.h>

struct control_command;

/* Octets of output in one message, comfortably below FRAME_BODY_MAX. */
#define CONTROL_PIECE_MAX (256 * 1024)

/* Octets of 's' for the next message; never cuts a UTF-8 character. */
size_t control_piece_length(const char *s);

/* The command that 'argv' starts with, the one of more words first, and how
 * many words of 'argv' its name takes.  NULL if there is none. */
const struct control_command *control_find(const struct control_command *,
                                           int argc,
                                           const char *const argv[],
                                           int *ret_words);

/* Answers "help", "help WORDS" and what is no command.  Returns the exit
 * status; stores a malloced text in one of the two. */
int control_help(const struct control_command *, int argc,
                 const char *const argv[], bool as_json, char **ret_output,
                 char **ret_error);

#endif /* control_text.h */
