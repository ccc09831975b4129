/* SPDX-License-Identifier: Apache-2.0 */
/* The server side of control.h. */
#include "proto/daemon/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "openvswitch/list.h"
#include "openvswitch/util.h"
#include "openvswitch/vlog.h"
#include "proto/channel.h"
#include "proto/daemon/control_text.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(control);

#define MAX_ARGS 64

/* Commands of one connection that may be unanswered at a time. */
#define MAX_CALLS 32

struct control_server {
    struct channel_listener *listener;
    const struct control_command *commands;
    void *aux;
    struct ovs_list sessions; /* Of struct control_session. */
};

/* One connection. */
struct control_session {
    struct ovs_list node;
    struct control_server *server; /* NULL once it stopped. */
    struct channel *channel;
    struct ovs_list calls;   /* Of struct control_call, unanswered. */
    size_t n_calls;
    struct ovs_list answers; /* Of struct control_answer, not wholly sent. */
};

struct control_call {
    struct ovs_list node;            /* In 'session', if that is not NULL. */
    struct control_session *session; /* NULL: the peer is gone. */
    uint64_t request_id;
    bool json;
    const struct control_command *command;
};

/* What is left to send of a reply; a dump may be longer than a message. */
struct control_answer {
    struct ovs_list node;
    uint64_t request_id;
    int status;
    char *output, *error;
    size_t sent; /* Octets of 'output'. */
    bool more;   /* Another one follows. */
};

/* Parts of answers that may wait for a peer to read. */
#define MAX_PARTS 1024

static void
answer_destroy(struct control_answer *answer)
{
    free(answer->output);
    free(answer->error);
    free(answer);
}

/* Sends the next piece of 'answer'.  True if that was the last. */
static bool
answer_send_piece(struct control_session *session,
                  struct control_answer *answer)
{
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;
    Salient__V1__CommandReply reply = SALIENT__V1__COMMAND_REPLY__INIT;
    char *rest = answer->output + answer->sent;
    size_t n = control_piece_length(rest);
    bool last = !rest[n];

    char *piece = xmemdup0(rest, n);
    answer->sent += n;
    reply.output = piece;
    reply.more = !last || answer->more;
    reply.status = last ? answer->status : 0;
    reply.error = last ? answer->error : "";
    envelope.request_id = answer->request_id;
    envelope.body_case = SALIENT__V1__ENVELOPE__BODY_COMMAND_REPLY;
    envelope.command_reply = &reply;
    channel_send(session->channel, &envelope);
    free(piece);
    return last;
}

/* Sends until something waits for the peer; on_drained() goes on. */
static void
session_send(struct control_session *session)
{
    struct control_answer *answer;

    LIST_FOR_EACH_SAFE (answer, node, &session->answers) {
        if (!answer_send_piece(session, answer)) {
            return;
        }
        ovs_list_remove(&answer->node);
        answer_destroy(answer);
    }
}

static void
on_drained(struct channel *channel OVS_UNUSED, void *session_)
{
    session_send(session_);
}

/* Takes 'answer'. */
static void
session_queue(struct control_session *session, struct control_answer *answer)
{
    bool idle = ovs_list_is_empty(&session->answers);

    ovs_list_push_back(&session->answers, &answer->node);
    if (idle) {
        session_send(session);
    }
}

static void
session_answer(struct control_session *session, uint64_t request_id,
               int status, const char *output, const char *error)
{
    struct control_answer *answer = xzalloc(sizeof *answer);

    answer->request_id = request_id;
    answer->status = status;
    answer->output = xstrdup(output);
    answer->error = xmemdup0(error, control_piece_length(error));
    session_queue(session, answer);
}

static void
call_answer(struct control_call *call, int status, const char *output,
            const char *error)
{
    struct control_session *session = call->session;

    if (session) {
        ovs_list_remove(&call->node);
        session->n_calls--;
        session_answer(session, call->request_id, status, output, error);
    }
    free(call);
}

void
control_reply(struct control_call *call, const char *output)
{
    call_answer(call, 0, output, "");
}

void
control_fail(struct control_call *call, const char *error)
{
    call_answer(call, 1, "", error);
}

void
control_usage(struct control_call *call, const char *error)
{
    char *text = xasprintf("%s\nusage: %s%s%s", error, call->command->name,
                           call->command->usage[0] ? " " : "",
                           call->command->usage);
    call_answer(call, 2, "", text);
    free(text);
}

bool
control_reply_part(struct control_call *call, const char *output)
{
    struct control_session *session = call->session;

    if (!session || ovs_list_size(&session->answers) >= MAX_PARTS) {
        return false;
    }
    struct control_answer *answer = xzalloc(sizeof *answer);
    answer->request_id = call->request_id;
    answer->output = xstrdup(output);
    answer->error = xstrdup("");
    answer->more = true;
    session_queue(session, answer);
    return true;
}

bool
control_wants_json(const struct control_call *call)
{
    return call->json;
}

static void
session_command(struct control_session *session, uint64_t request_id,
                const Salient__V1__Command *message)
{
    const struct control_command *commands = session->server->commands;
    int argc = message->n_argv;
    const char *argv[MAX_ARGS + 1] = {NULL};

    if (message->n_argv > MAX_ARGS || session->n_calls >= MAX_CALLS) {
        channel_send_error(session->channel, request_id,
                           SALIENT__V1__ERROR_CODE__ERROR_EXHAUSTED,
                           "command", message->n_argv > MAX_ARGS
                           ? "a command has 64 words at most"
                           : "32 commands wait for their answers already");
        return;
    }
    for (int i = 0; i < argc; i++) {
        argv[i] = message->argv[i];
    }

    int words;
    const struct control_command *command = control_find(commands, argc, argv,
                                                         &words);
    if (!command) {
        char *output = NULL, *error = NULL;
        int status = control_help(commands, argc, argv, message->json,
                                  &output, &error);
        session_answer(session, request_id, status, output ? output : "",
                       error ? error : "");
        free(output);
        free(error);
        return;
    }

    struct control_call *call = xzalloc(sizeof *call);
    call->session = session;
    call->request_id = request_id;
    call->json = message->json;
    call->command = command;
    ovs_list_push_back(&session->calls, &call->node);
    session->n_calls++;

    int n_args = argc - words;
    if (n_args < command->min_args) {
        control_usage(call, "an argument is missing");
    } else if (command->max_args >= 0 && n_args > command->max_args) {
        control_usage(call, "there are too many arguments");
    } else {
        command->handler(call, n_args, argv + words, session->server->aux);
    }
}

static void
on_receive(struct channel *channel, const Salient__V1__Envelope *envelope,
           void *session_)
{
    struct control_session *session = session_;

    if (envelope->body_case == SALIENT__V1__ENVELOPE__BODY_COMMAND) {
        session_command(session, envelope->request_id, envelope->command);
    } else {
        channel_send_error(channel, envelope->request_id,
                           SALIENT__V1__ERROR_CODE__ERROR_UNSUPPORTED, NULL,
                           "a control socket takes Command only");
    }
}

static void
on_closed(struct channel *channel, const char *reason, void *session_)
{
    struct control_session *session = session_;
    struct control_answer *answer;
    struct control_call *call;

    VLOG_DBG("%s: %s", channel_peer(channel), reason ? reason : "closed");
    LIST_FOR_EACH_SAFE (call, node, &session->calls) {
        call->session = NULL; /* Still to be answered, into the void. */
        ovs_list_remove(&call->node);
    }
    LIST_FOR_EACH_SAFE (answer, node, &session->answers) {
        ovs_list_remove(&answer->node);
        answer_destroy(answer);
    }
    if (session->server) {
        ovs_list_remove(&session->node);
    }
    free(session);
}

static const struct channel_ops session_ops = {.receive = on_receive,
                                               .drained = on_drained,
                                               .closed = on_closed};

static void *
on_accept(struct channel *channel, void *server_,
          const struct channel_ops **ret_ops)
{
    struct control_server *server = server_;
    struct control_session *session = xzalloc(sizeof *session);

    session->server = server;
    session->channel = channel;
    ovs_list_init(&session->calls);
    ovs_list_init(&session->answers);
    ovs_list_push_back(&server->sessions, &session->node);
    *ret_ops = &session_ops;
    return session;
}

int
control_server_start(uv_loop_t *loop, const char *path,
                     const struct control_command *commands, void *aux,
                     struct control_server **ret_server, char **ret_error)
{
    struct control_server *server = xzalloc(sizeof *server);
    char *endpoint = xasprintf("unix:%s", path);

    server->commands = commands;
    server->aux = aux;
    ovs_list_init(&server->sessions);
    int error = channel_listen(loop, endpoint, NULL, on_accept, server,
                               &server->listener, ret_error);
    free(endpoint);
    if (error) {
        free(server);
        return error;
    }
    *ret_server = server;
    return 0;
}

void
control_server_stop(struct control_server *server)
{
    struct control_session *session;

    if (!server) {
        return;
    }
    channel_listener_close(server->listener);
    LIST_FOR_EACH_SAFE (session, node, &server->sessions) {
        ovs_list_remove(&session->node);
        session->server = NULL;
        channel_close(session->channel);
    }
    free(server);
}
