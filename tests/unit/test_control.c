/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "openvswitch/vlog.h"
#include "openvswitch/json.h"
#include "proto/daemon/control.h"
#include "proto/daemon/control_text.h"
#include "proto/frame.h"
#include "salient.pb-c.h"
#include "util.h"

static uv_loop_t loop;
static struct control_server *server;
static char folder[64], path[100];
static struct control_call *kept; /* A command that waits. */
static int calls;

static void
cmd_echo(struct control_call *call, int argc, const char *const argv[],
         void *aux)
{
    struct ds ds = DS_EMPTY_INITIALIZER;

    CU_ASSERT_PTR_EQUAL(aux, &calls);
    calls++;
    ds_put_cstr(&ds, control_wants_json(call) ? "json" : "text");
    for (int i = 0; i < argc; i++) {
        ds_put_format(&ds, " %s", argv[i]);
    }
    control_reply(call, ds_cstr(&ds));
    ds_destroy(&ds);
}

static void
cmd_fail(struct control_call *call, int argc, const char *const argv[],
         void *aux)
{
    control_fail(call, "it does not work; try tomorrow");
}

static void
cmd_usage(struct control_call *call, int argc, const char *const argv[],
          void *aux)
{
    control_usage(call, "that is no host");
}

static void
cmd_keep(struct control_call *call, int argc, const char *const argv[],
         void *aux)
{
    kept = call;
}

static void
cmd_long(struct control_call *call, int argc, const char *const argv[],
         void *aux)
{
    struct ds ds = DS_EMPTY_INITIALIZER;

    /* Three octets a character: pieces must not cut it. */
    for (int i = 0; i < atoi(argv[0]); i++) {
        ds_put_cstr(&ds, "\xe2\x82\xac");
    }
    control_reply(call, ds_cstr(&ds));
    ds_destroy(&ds);
}

static void
cmd_stop(struct control_call *call, int argc, const char *const argv[],
         void *aux)
{
    control_reply(call, "stopping");
    control_server_stop(server);
    server = NULL;
}

static const struct control_command commands[] = {
    {"show", "[WHAT]", "show something", 0, 1, cmd_echo},
    {"show hosts", "", "show the hosts", 0, 0, cmd_usage},
    {"show all things", "[X]...", "show everything there is", 0, -1,
     cmd_echo},
    {"fail", "", "fail", 0, 0, cmd_fail},
    {"move", "FROM TO [WITH-A-VERY-LONG-ARGUMENT]", "move it", 2, 3,
     cmd_echo},
    {"usage", "HOST", "complain", 1, 1, cmd_usage},
    {"keep", "", "wait", 0, 0, cmd_keep},
    {"long", "N", "say much", 1, 1, cmd_long},
    {"stop", "", "stop the server", 0, 0, cmd_stop},
    {NULL, NULL, NULL, 0, 0, NULL},
};

static void
begin(void)
{
    char *error = NULL;

    vlog_set_levels(NULL, VLF_ANY_DESTINATION, VLL_OFF);
    uv_loop_init(&loop);
    strcpy(folder, "/tmp/salient-control-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/controller.sock", folder);
    kept = NULL;
    calls = 0;
    CU_ASSERT_EQUAL_FATAL(control_server_start(&loop, path, commands, &calls,
                                               &server, &error), 0);
}

static void
end_test(void)
{
    control_server_stop(server);
    server = NULL;
    uv_run(&loop, UV_RUN_DEFAULT);
    CU_ASSERT_EQUAL(uv_loop_close(&loop), 0);
    CU_ASSERT_EQUAL(rmdir(folder), 0);
}

struct outcome {
    int status;
    char *out, *err;
};

static char *
slurp(const char *name)
{
    char *file_name = xasprintf("%s/%s", folder, name);
    FILE *file = fopen(file_name, "r");
    struct ds ds = DS_EMPTY_INITIALIZER;
    char bytes[4096];
    size_t n;

    while ((n = fread(bytes, 1, sizeof bytes, file))) {
        ds_put_buffer(&ds, bytes, n);
    }
    fclose(file);
    unlink(file_name);
    free(file_name);
    ds_put_cstr(&ds, "");
    return ds_steal_cstr(&ds);
}

static void
child_run(const char *command, bool json, unsigned int timeout_ms)
{
    const char *argv[70];
    int argc = 0;
    char *copy = xstrdup(command);

    for (char *word = strtok(copy, " "); word && argc < 70;
         word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    CU_ASSERT_EQUAL(chdir(folder), 0);
    CU_ASSERT_PTR_NOT_NULL(freopen("out", "w", stdout));
    CU_ASSERT_PTR_NOT_NULL(freopen("err", "w", stderr));
    int status = control_call_blocking(path, argc, argv, json, timeout_ms);
    fflush(NULL);
    _exit(status);
}

static void
on_tick(uv_timer_t *timer)
{
}

/* Runs the client in a process of its own, the server in this one. */
static struct outcome
run(const char *command, bool json, unsigned int timeout_ms)
{
    fflush(NULL);
    pid_t pid = fork();
    if (!pid) {
        child_run(command, json, timeout_ms);
    }

    int status = 0;
    uv_timer_t tick;
    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_tick, 2, 2);
    while (waitpid(pid, &status, WNOHANG) == 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *) &tick, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    CU_ASSERT(WIFEXITED(status));
    struct outcome outcome = {WEXITSTATUS(status), slurp("out"),
                              slurp("err")};
    return outcome;
}

static void
check(const char *command, bool json, int status, const char *out,
      const char *err)
{
    struct outcome outcome = run(command, json, 20000);

    CU_ASSERT_EQUAL(outcome.status, status);
    if (strcmp(outcome.out, out) || strcmp(outcome.err, err)) {
        fprintf(stderr, "%s: got \"%s\", \"%s\"\n", command, outcome.out,
                outcome.err);
        CU_FAIL("wrong output");
    }
    free(outcome.out);
    free(outcome.err);
}

static void
test_commands(void)
{
    begin();
    check("show", false, 0, "text\n", "");
    check("show a", true, 0, "json a\n", "");
    check("show all things a b c", false, 0, "text a b c\n", "");
    check("show all", false, 0, "text all\n", "");
    check("fail", false, 1, "", "it does not work; try tomorrow\n");
    check("move a", false, 2, "", "an argument is missing\nusage: move FROM "
          "TO [WITH-A-VERY-LONG-ARGUMENT]\n");
    check("move a b c d", false, 2, "", "there are too many arguments\n"
          "usage: move FROM TO [WITH-A-VERY-LONG-ARGUMENT]\n");
    check("show hosts", false, 2, "", "that is no host\nusage: show hosts\n");
    check("usage x", false, 2, "", "that is no host\nusage: usage HOST\n");
    check("shown", false, 2, "", "there is no command \"shown\"; "
          "\"help\" lists them\n");
    CU_ASSERT_EQUAL(calls, 4);
    end_test();
}

static void
test_help(void)
{
    begin();
    struct outcome outcome = run("help", false, 20000);
    CU_ASSERT_EQUAL(outcome.status, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(outcome.out, "show hosts              "
                                  "        show the hosts\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(outcome.out, "help [COMMAND]"));
    CU_ASSERT_PTR_NOT_NULL(strstr(outcome.out, "ARGUMENT]\n      "));
    free(outcome.out);
    free(outcome.err);
    outcome = run("help", true, 20000);
    CU_ASSERT_EQUAL(outcome.status, 0);
    struct json *json = json_from_string(outcome.out);
    CU_ASSERT_EQUAL_FATAL(json->type, JSON_ARRAY);
    const struct json *last = json->array.elems[json->array.n - 1];
    CU_ASSERT_STRING_EQUAL(json_string(shash_find_data(last->object,
                                                       "command")), "help");
    json_destroy(json);
    free(outcome.out);
    free(outcome.err);
    check("help fail", false, 0, "fail                            fail\n",
          "");
    check("help show hosts", false, 0,
          "show hosts                      show the hosts\n", "");
    check("help nothing", false, 2, "", "there is no command \"nothing\"; "
          "\"help\" lists them\n");
    end_test();
}

/* A dump that is longer than a message, longer than any queue. */
static void
test_long_output(void)
{
    begin();
    struct outcome outcome = run("long 4000000", false, 60000);
    CU_ASSERT_EQUAL(outcome.status, 0);
    CU_ASSERT_EQUAL(strlen(outcome.out), 12000001);
    CU_ASSERT_EQUAL(strspn(outcome.out, "\xe2\x82\xac"), 12000000);
    free(outcome.out);
    free(outcome.err);
    end_test();
}

static void
test_pieces(void)
{
    char *text = xmalloc(CONTROL_PIECE_MAX + 10);

    for (int extra = 0; extra < 4; extra++) {
        memset(text, 'x', CONTROL_PIECE_MAX + 9);
        strcpy(text + CONTROL_PIECE_MAX - extra, "\xf0\x9f\x98\x80");
        CU_ASSERT_EQUAL(control_piece_length(text),
                        CONTROL_PIECE_MAX - extra);
    }
    strcpy(text + CONTROL_PIECE_MAX - 4, "\xf0\x9f\x98\x80");
    CU_ASSERT_EQUAL(control_piece_length(text), CONTROL_PIECE_MAX);
    /* What is no UTF-8 makes progress too. */
    memset(text, 0x80, CONTROL_PIECE_MAX + 9);
    text[CONTROL_PIECE_MAX + 9] = '\0';
    CU_ASSERT(control_piece_length(text) > 0);
    CU_ASSERT_EQUAL(control_piece_length(""), 0);
    free(text);
}

/* The client has sent its command before it gave up; the server reads it. */
static void
run_until_kept(void)
{
    for (int i = 0; i < 1000 && !kept; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(kept);
}

/* A command that waits, and a client that does not. */
static void
test_peer_gone(void)
{
    begin();
    char *expected = xasprintf("cannot reach the controller at %s: no answer "
                               "within 100 ms; is salient-controller "
                               "running?\n", path);
    struct outcome outcome = run("keep", false, 100);
    CU_ASSERT_EQUAL(outcome.status, 3);
    CU_ASSERT_STRING_EQUAL(outcome.err, expected);
    free(outcome.out);
    free(outcome.err);
    free(expected);
    run_until_kept();
    control_reply(kept, "too late");
    end_test();

    /* The same with the server gone before the answer. */
    begin();
    outcome = run("keep", false, 100);
    free(outcome.out);
    free(outcome.err);
    run_until_kept();
    struct control_call *late = kept;
    end_test();
    control_fail(late, "too late");
}

static void
test_stop_command(void)
{
    begin();
    check("stop", false, 0, "stopping\n", "");
    end_test();
}

static void
test_unreachable(void)
{
    begin();
    end_test();
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(strcpy(folder,
                                 "/tmp/salient-control-XXXXXX")));
    uv_loop_init(&loop);
    strcpy(path, "/nonexistent/controller.sock");
    check("x", false, 3, "", "cannot reach the controller at "
          "/nonexistent/controller.sock: No such file or directory; "
          "is salient-controller running?\n");
    strcpy(path, "/nonexistent/sald.sock");
    check("x", false, 3, "", "cannot reach the agent at "
          "/nonexistent/sald.sock: No such file or directory; "
          "is sald running?\n");
    strcpy(path, "/controller/x");
    check("x", false, 3, "", "cannot reach the daemon at /controller/x: "
          "No such file or directory; is it running?\n");
    end_test();
}

/* Sends 'bytes' and reads until the server ends or 'n_replies' came. */
static int
raw_talk(const uint8_t *bytes, size_t n, int n_replies)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct frame_decoder decoder;
    int replies = 0;

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    strcpy(sun.sun_path, path);
    CU_ASSERT_EQUAL(connect(fd, (struct sockaddr *) &sun, sizeof sun), 0);
    CU_ASSERT_EQUAL(write(fd, bytes, n), n);
    frame_decoder_init(&decoder);
    for (int i = 0; i < 1000 && replies < n_replies; i++) {
        uint8_t input[4096];
        const uint8_t *body;
        size_t len;
        uv_run(&loop, UV_RUN_NOWAIT);
        ssize_t got = read(fd, input, sizeof input);
        if (got > 0) {
            frame_decoder_push(&decoder, input, got);
        }
        while (frame_decoder_next(&decoder, &body, &len) > 0) {
            Salient__V1__Envelope *reply =
                salient__v1__envelope__unpack(NULL, len, body);
            CU_ASSERT_PTR_NOT_NULL_FATAL(reply);
            CU_ASSERT_EQUAL(reply->request_id, 9);
            CU_ASSERT_EQUAL(reply->body_case,
                            SALIENT__V1__ENVELOPE__BODY_ERROR);
            salient__v1__envelope__free_unpacked(reply, NULL);
            replies++;
        }
    }
    frame_decoder_destroy(&decoder);
    close(fd);
    return replies;
}

static void
test_not_a_command(void)
{
    uint8_t frame[FRAME_HEADER_LEN + 1024];
    Salient__V1__Envelope envelope = SALIENT__V1__ENVELOPE__INIT;
    Salient__V1__Keepalive keepalive = SALIENT__V1__KEEPALIVE__INIT;
    Salient__V1__Command command = SALIENT__V1__COMMAND__INIT;
    char *argv[65];

    begin();
    envelope.request_id = 9;
    envelope.body_case = SALIENT__V1__ENVELOPE__BODY_KEEPALIVE;
    envelope.keepalive = &keepalive;
    size_t len = salient__v1__envelope__pack(&envelope,
                                             frame + FRAME_HEADER_LEN);
    frame_header_put(frame, len);
    CU_ASSERT_EQUAL(raw_talk(frame, FRAME_HEADER_LEN + len, 1), 1);

    /* Too many words. */
    for (int i = 0; i < 65; i++) {
        argv[i] = (char *) "x";
    }
    command.n_argv = 65;
    command.argv = argv;
    envelope.body_case = SALIENT__V1__ENVELOPE__BODY_COMMAND;
    envelope.command = &command;
    len = salient__v1__envelope__pack(&envelope, frame + FRAME_HEADER_LEN);
    frame_header_put(frame, len);
    CU_ASSERT_EQUAL(raw_talk(frame, FRAME_HEADER_LEN + len, 1), 1);

    end_test();
}

UNIT_MAIN("control", UNIT_TEST(test_commands), UNIT_TEST(test_help),
          UNIT_TEST(test_long_output), UNIT_TEST(test_pieces),
          UNIT_TEST(test_peer_gone), UNIT_TEST(test_stop_command),
          UNIT_TEST(test_unreachable), UNIT_TEST(test_not_a_command))
