/* SPDX-License-Identifier: Apache-2.0 */
/* The host agent: command line, loop, signals.  The agent itself is
 * agents/agent.c. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>
#include "agents/agent.h"
#include "agents/agent_config.h"
#include "openvswitch/vlog.h"
#include "proto/daemon/daemon.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(sald);

enum { EXIT_USAGE = 2 };

struct options {
    const char *config;
    bool check;
};

static void
print_help(void)
{
    printf("sald: the host agent of Salient\n\n"
           "usage: sald [OPTION]...\n\n"
           "  -c, --config FILE   configuration, default %s\n"
           "  -k, --check-config  check the configuration and exit\n"
           "  -v, --verbose SPEC  log level: LEVEL or MODULE:LEVEL, LEVEL "
           "being off, err,\n"
           "                      warn, info or dbg; may be repeated\n"
           "  -h, --help          this text\n"
           "  -V, --version       version\n\n"
           "Runs in the foreground and logs to stderr.  SIGTERM stops it and "
           "removes what it\ninstalled (unless keep_on_stop is set), SIGHUP "
           "reloads the services of the\nconfiguration.  Needs CAP_BPF, "
           "CAP_NET_ADMIN, CAP_PERFMON, and\nCAP_NET_BIND_SERVICE for DNS on "
           "port 53.\n", AGENT_CONFIG_PATH);
}

static void
parse_options(int argc, char *argv[], struct options *options)
{
    static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check-config", no_argument, NULL, 'k'},
        {"verbose", required_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    char *error;

    for (;;) {
        switch (getopt_long(argc, argv, "c:kv:hV", long_options, NULL)) {
        case 'c':
            options->config = optarg;
            break;
        case 'k':
            options->check = true;
            break;
        case 'v':
            error = daemon_log_level(optarg);
            if (error) {
                fprintf(stderr, "sald: %s\n", error);
                exit(EXIT_USAGE);
            }
            break;
        case 'h':
            print_help();
            exit(EXIT_SUCCESS);
        case 'V':
            printf("sald %s\n", SALIENT_VERSION);
            exit(EXIT_SUCCESS);
        case -1:
            if (optind < argc) {
                fprintf(stderr, "sald: unexpected argument \"%s\"; see sald "
                        "--help\n", argv[optind]);
                exit(EXIT_USAGE);
            }
            return;
        default:
            fprintf(stderr, "see sald --help\n");
            exit(EXIT_USAGE);
        }
    }
}

struct sald {
    struct agent *agent;
    struct daemon_signals *signals;
};

/* Nothing keeps the loop any more. */
static void
stopped(void *sald_)
{
    struct sald *sald = sald_;
    daemon_signals_stop(sald->signals);
}

static void
stop(void *sald_)
{
    struct sald *sald = sald_;

    daemon_notify_stopping();
    agent_stop(sald->agent, stopped, sald);
}

static void
reload(void *sald_)
{
    struct sald *sald = sald_;
    agent_reload(sald->agent);
}

static int
run(struct agent_config *config)
{
    struct sald sald = {NULL, NULL};
    char *error = NULL;
    uv_loop_t loop;

    uv_loop_init(&loop);
    if (agent_start(&loop, config, &sald.agent, &error)) {
        fprintf(stderr, "sald: %s\n", error);
        free(error);
        uv_loop_close(&loop);
        return EXIT_FAILURE;
    }
    sald.signals = daemon_signals_start(&loop, stop, reload, &sald);
    struct daemon_watchdog *watchdog = daemon_watchdog_start(&loop);
    daemon_notify_ready();
    uv_run(&loop, UV_RUN_DEFAULT);
    daemon_watchdog_stop(watchdog);
    uv_run(&loop, UV_RUN_DEFAULT);
    agent_destroy(sald.agent);
    uv_loop_close(&loop);
    return EXIT_SUCCESS;
}

int
main(int argc, char *argv[])
{
    struct options options = {.config = AGENT_CONFIG_PATH};
    struct agent_config *config;
    char *error = NULL;

    daemon_log_init(argv[0]);
    parse_options(argc, argv, &options);
    if (agent_config_load(options.config, &config, &error)) {
        fprintf(stderr, "sald: %s\n", error);
        free(error);
        return EXIT_FAILURE;
    }
    if (options.check) {
        printf("%s: fine, %zu services\n", options.config,
               config->services.n);
        agent_config_destroy(config);
        return EXIT_SUCCESS;
    }
    return run(config);
}
