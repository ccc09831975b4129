/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include "openvswitch/vlog.h"
#include "proto/daemon/daemon.h"

VLOG_DEFINE_THIS_MODULE(test_daemon);

static void
test_log_levels(void)
{
    daemon_log_init("/usr/sbin/lt-thing");
    CU_ASSERT(VLOG_IS_INFO_ENABLED());
    CU_ASSERT_FALSE(VLOG_IS_DBG_ENABLED());

    CU_ASSERT_PTR_NULL(daemon_log_level("test_daemon:dbg"));
    CU_ASSERT(VLOG_IS_DBG_ENABLED());
    CU_ASSERT_PTR_NULL(daemon_log_level("err"));
    CU_ASSERT_FALSE(VLOG_IS_WARN_ENABLED());
    CU_ASSERT(VLOG_IS_ERR_ENABLED());

    static const char *const bad[] = {"", "loud", "test_daemon:", ":dbg",
                                      "no_such_module:dbg", "dbg:dbg:dbg"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char *error = daemon_log_level(bad[i]);
        CU_ASSERT_PTR_NOT_NULL(error);
        free(error);
    }
    CU_ASSERT_FALSE(VLOG_IS_WARN_ENABLED());
}

struct seen {
    struct daemon_signals *signals;
    int stops, reloads;
};

static void
on_stop(void *aux)
{
    struct seen *seen = aux;
    seen->stops++;
    daemon_signals_stop(seen->signals);
}

static void
on_reload(void *aux)
{
    struct seen *seen = aux;
    seen->reloads++;
    raise(SIGTERM);
}

static void
test_signals(void)
{
    struct seen seen = {.stops = 0};
    uv_loop_t loop;

    uv_loop_init(&loop);
    seen.signals = daemon_signals_start(&loop, on_stop, on_reload, &seen);
    raise(SIGPIPE);
    raise(SIGHUP);
    uv_run(&loop, UV_RUN_DEFAULT);
    CU_ASSERT_EQUAL(seen.reloads, 1);
    CU_ASSERT_EQUAL(seen.stops, 1);
    CU_ASSERT_EQUAL(uv_loop_close(&loop), 0);
    daemon_signals_stop(NULL);
}

static void
stop_and_hang(void *aux)
{
    raise(SIGTERM); /* The loop does not run again. */
    _exit(1);
}

/* A daemon that hangs while stopping is ended by the second signal. */
static void
test_second_signal(void)
{
    pid_t pid = fork();
    if (!pid) {
        uv_loop_t loop;
        uv_loop_init(&loop);
        daemon_signals_start(&loop, stop_and_hang, NULL, NULL);
        raise(SIGINT);
        uv_run(&loop, UV_RUN_DEFAULT);
        _exit(2);
    }
    int status;
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

UNIT_MAIN("daemon", UNIT_TEST(test_log_levels), UNIT_TEST(test_signals),
          UNIT_TEST(test_second_signal))
