/* SPDX-License-Identifier: Apache-2.0 */
/* salient-controller: options, then the loop. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include "controller/controller.h"
#include "openvswitch/vlog.h"
#include "proto/daemon/daemon.h"

VLOG_DEFINE_THIS_MODULE(main);

struct program {
    const char *config_path;
    bool check;
    struct controller *controller;
    struct daemon_signals *signals;
    struct daemon_watchdog *watchdog;
};

static const char usage[] =
    "salient-controller: services' names in the network's switches\n"
    "usage: salient-controller [OPTION]...\n"
    "  --config FILE      configuration (YAML); without it, the defaults\n"
    "  --check-config     read the configuration, say what is wrong, end\n"
    "  -v, --verbose SPEC log level: off, err, warn, info, dbg, or\n"
    "                     MODULE:LEVEL; may be repeated\n"
    "  --version          print the version and end\n"
    "  --help             print this and end\n"
    "Ask it anything with: salctl --socket SOCKET show status\n";

static void
stop(void *program_)
{
    struct program *program = program_;

    VLOG_INFO("stops; the switches keep their rules");
    daemon_notify_stopping();
    controller_stop(program->controller);
    daemon_signals_stop(program->signals);
    daemon_watchdog_stop(program->watchdog);
}

static void
reload(void *program_)
{
    struct program *program = program_;
    struct controller_config *config;
    char *error;

    daemon_notify_reloading();
    if (controller_config_load(program->config_path, &config, &error)) {
        VLOG_ERR("%s; the old configuration stays", error);
        free(error);
    } else {
        controller_reload(program->controller, config);
    }
    daemon_notify_ready();
}

static int
run(struct program *program, struct controller_config *config)
{
    uv_loop_t *loop = uv_default_loop();
    char *error;

    if (controller_start(loop, config, &program->controller, &error)) {
        VLOG_ERR("%s", error);
        free(error);
        return EXIT_FAILURE;
    }
    program->signals = daemon_signals_start(loop, stop, reload, program);
    program->watchdog = daemon_watchdog_start(loop);
    daemon_notify_ready();
    uv_run(loop, UV_RUN_DEFAULT);
    controller_destroy(program->controller);
    uv_loop_close(loop);
    return EXIT_SUCCESS;
}

static void
set_log_level(const char *spec)
{
    char *error = daemon_log_level(spec);

    if (error) {
        fprintf(stderr, "salient-controller: -v: %s\n", error);
        exit(2);
    }
}

/* Returns the exit status, or -1 if the program should run. */
static int
parse_options(int argc, char *argv[], struct program *program)
{
    enum { OPT_CONFIG = 256, OPT_CHECK, OPT_VERSION, OPT_HELP };
    static const struct option options[] = {
        {"config", required_argument, NULL, OPT_CONFIG},
        {"check-config", no_argument, NULL, OPT_CHECK},
        {"verbose", required_argument, NULL, 'v'},
        {"version", no_argument, NULL, OPT_VERSION},
        {"help", no_argument, NULL, OPT_HELP},
        {NULL, 0, NULL, 0},
    };
    int opt;

    while ((opt = getopt_long(argc, argv, "v:", options, NULL)) != -1) {
        switch (opt) {
        case OPT_CONFIG:
            program->config_path = optarg;
            break;
        case OPT_CHECK:
            program->check = true;
            break;
        case 'v':
            set_log_level(optarg);
            break;
        case OPT_VERSION:
            puts("salient-controller " SALIENT_VERSION);
            return EXIT_SUCCESS;
        case OPT_HELP:
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        default:
            fputs("see salient-controller --help\n", stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "salient-controller: unexpected argument \"%s\"; see "
                "salient-controller --help\n", argv[optind]);
        return 2;
    }
    return -1;
}

int
main(int argc, char *argv[])
{
    struct controller_config *config;
    struct program program = {0};
    char *error;

    daemon_log_init(argv[0]);
    int status = parse_options(argc, argv, &program);
    if (status >= 0) {
        return status;
    }
    if (controller_config_load(program.config_path, &config, &error)) {
        fprintf(stderr, "salient-controller: %s\n", error);
        free(error);
        return EXIT_FAILURE;
    }
    if (program.check) {
        controller_config_destroy(config);
        return EXIT_SUCCESS;
    }
    return run(&program, config);
}
