/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/daemon/daemon.h"

#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include "openvswitch/util.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(daemon);

struct daemon_signals {
    uv_signal_t interrupt, terminate, hangup;
    int open_handles;
    void (*stop)(void *aux);
    void (*reload)(void *aux);
    void *aux;
};

void
daemon_log_init(const char *program)
{
    ovs_set_program_name(program, SALIENT_VERSION);
    vlog_set_levels(NULL, VLF_ANY_DESTINATION, VLL_OFF);
    vlog_set_levels(NULL, VLF_CONSOLE, VLL_INFO);
    vlog_set_pattern(VLF_CONSOLE, "%D{%Y-%m-%dT%H:%M:%S.###Z}|%c|%p|%m");
}

char *
daemon_log_level(const char *spec)
{
    const char *colon = strrchr(spec, ':');
    const char *level_name = colon ? colon + 1 : spec;
    enum vlog_level level = vlog_get_level_val(level_name);

    if (level >= VLL_N_LEVELS) {
        return xasprintf("\"%s\" is no log level; use off, err, warn, info or "
                         "dbg, for one module \"MODULE:LEVEL\"", level_name);
    }

    struct vlog_module *module = NULL;
    if (colon) {
        char *module_name = xmemdup0(spec, colon - spec);
        module = vlog_module_from_name(module_name);
        free(module_name);
        if (!module) {
            return xasprintf("\"%.*s\" is no module that logs; a log line "
                             "names its module after the time",
                             (int) (colon - spec), spec);
        }
    }
    vlog_set_levels(module, VLF_CONSOLE, level);
    return NULL;
}

static void
on_stop(uv_signal_t *handle, int signum)
{
    struct daemon_signals *signals = handle->data;

    /* From here the default action applies again, so a second signal ends the
     * process even if the loop never gets to run. */
    uv_signal_stop(&signals->interrupt);
    uv_signal_stop(&signals->terminate);
    VLOG_INFO("%s: stopping; once more to end at once",
              signum == SIGINT ? "SIGINT" : "SIGTERM");
    signals->stop(signals->aux);
}

static void
on_reload(uv_signal_t *handle, int signum OVS_UNUSED)
{
    struct daemon_signals *signals = handle->data;

    if (signals->reload) {
        signals->reload(signals->aux);
    } else {
        VLOG_INFO("SIGHUP: there is nothing to reload");
    }
}

static void
watch(uv_loop_t *loop, struct daemon_signals *signals, uv_signal_t *handle,
      uv_signal_cb cb, int signum)
{
    uv_signal_init(loop, handle);
    handle->data = signals;
    signals->open_handles++;
    int error = uv_signal_start(handle, cb, signum);
    if (error) {
        VLOG_ERR("cannot watch signal %d: %s", signum, uv_strerror(error));
    }
}

struct daemon_signals *
daemon_signals_start(uv_loop_t *loop, void (*stop)(void *aux),
                     void (*reload)(void *aux), void *aux)
{
    struct daemon_signals *signals = xzalloc(sizeof *signals);

    signals->stop = stop;
    signals->reload = reload;
    signals->aux = aux;
    signal(SIGPIPE, SIG_IGN);
    watch(loop, signals, &signals->interrupt, on_stop, SIGINT);
    watch(loop, signals, &signals->terminate, on_stop, SIGTERM);
    watch(loop, signals, &signals->hangup, on_reload, SIGHUP);
    return signals;
}

static void
on_closed(uv_handle_t *handle)
{
    struct daemon_signals *signals = handle->data;

    if (!--signals->open_handles) {
        free(signals);
    }
}

void
daemon_signals_stop(struct daemon_signals *signals)
{
    if (signals) {
        uv_close((uv_handle_t *) &signals->interrupt, on_closed);
        uv_close((uv_handle_t *) &signals->terminate, on_closed);
        uv_close((uv_handle_t *) &signals->hangup, on_closed);
    }
}

struct daemon_watchdog {
    uv_timer_t timer;
};

static void
pet_watchdog(uv_timer_t *timer OVS_UNUSED)
{
    sd_notify(0, "WATCHDOG=1");
}

struct daemon_watchdog *
daemon_watchdog_start(uv_loop_t *loop)
{
    uint64_t limit_us;

    if (sd_watchdog_enabled(0, &limit_us) <= 0) {
        return NULL;
    }
    struct daemon_watchdog *watchdog = xzalloc(sizeof *watchdog);
    uint64_t interval_ms = MAX(1, limit_us / 1000 / 3);
    uv_timer_init(loop, &watchdog->timer);
    uv_timer_start(&watchdog->timer, pet_watchdog, 0, interval_ms);
    uv_unref((uv_handle_t *) &watchdog->timer);
    return watchdog;
}

static void
watchdog_closed(uv_handle_t *handle)
{
    free(handle); /* Its first member. */
}

void
daemon_watchdog_stop(struct daemon_watchdog *watchdog)
{
    if (watchdog) {
        uv_close((uv_handle_t *) &watchdog->timer, watchdog_closed);
    }
}

void
daemon_notify_ready(void)
{
    sd_notify(0, "READY=1");
}

void
daemon_notify_stopping(void)
{
    sd_notify(0, "STOPPING=1");
}

void
daemon_notify_reloading(void)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
               (unsigned long long) uv_hrtime() / 1000);
}
