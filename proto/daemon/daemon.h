/* SPDX-License-Identifier: Apache-2.0 */
/* What every Salient daemon does the same way: logging to stderr in one form
 * (Open vSwitch's vlog), readiness, signals.  One thread: the loop's. */
#ifndef SALIENT_DAEMON_H
#define SALIENT_DAEMON_H 1

#include <uv.h>

#define SALIENT_VERSION "0.1.0"

/* Sets up vlog: console only, "<UTC time>|<module>|<level>|<text>", level
 * INFO.  'program' is argv[0]. */
void daemon_log_init(const char *program);

/* Takes one "-v" argument: "LEVEL" or "MODULE:LEVEL", level among off, err,
 * warn, info, dbg.  NULL, or a malloced sentence. */
char *daemon_log_level(const char *spec);

/* Calls 'stop' once on SIGINT or SIGTERM and 'reload' (may be NULL) on each
 * SIGHUP; a second SIGINT or SIGTERM ends the process at once.  SIGPIPE is
 * ignored. */
struct daemon_signals;
struct daemon_signals *daemon_signals_start(uv_loop_t *,
                                            void (*stop)(void *aux),
                                            void (*reload)(void *aux),
                                            void *aux);
void daemon_signals_stop(struct daemon_signals *);

/* Tells the service manager (WatchdogSec=) that the loop still turns; does not
 * keep the loop alive.  NULL where nobody wants to know. */
struct daemon_watchdog;
struct daemon_watchdog *daemon_watchdog_start(uv_loop_t *);
void daemon_watchdog_stop(struct daemon_watchdog *);

/* sd_notify(3), where a service manager asks for it. */
void daemon_notify_ready(void);
void daemon_notify_stopping(void);
/* Around a reload, for Type=notify-reload and for people who look. */
void daemon_notify_reloading(void);

#endif /* daemon.h */
