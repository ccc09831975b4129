/* SPDX-License-Identifier: Apache-2.0 */
/* The process that is measured. */
#include "tests/bench/controller/load.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "util.h"

static uint16_t
free_port(void)
{
    struct sockaddr_in sin = {.sin_family = AF_INET};
    socklen_t len = sizeof sin;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *) &sin, sizeof sin)
        || getsockname(fd, (struct sockaddr *) &sin, &len)) {
        ovs_fatal(errno, "no TCP port is free");
    }
    close(fd);
    return ntohs(sin.sin_port);
}

void
load_controller_configure(struct load *l, struct load_controller *c)
{
    ovs_strlcpy(c->dir, "/tmp/salient-bench-XXXXXX", sizeof c->dir);
    if (!mkdtemp(c->dir)) {
        ovs_fatal(errno, "%s", c->dir);
    }
    l->openflow_port = free_port();
    snprintf(l->api, sizeof l->api, "unix:%s/api", c->dir);
    snprintf(c->config, sizeof c->config, "%s/controller.yaml", c->dir);

    FILE *file = fopen(c->config, "w");
    if (!file) {
        ovs_fatal(errno, "%s", c->config);
    }
    /* Long waits, because the machine may be busy with other things. */
    fprintf(file, "openflow:\n  listen: [\"tcp:127.0.0.1:%u\"]\n"
            "  echo_timeout: 15m\n  confirm_timeout: 15m\n"
            "  order_timeout: 1m\n  handshake_timeout: 15m\n"
            "api:\n  listen: [\"%s\"]\n  lease: 15m\n"
            "  handshake_timeout: 15m\n  keepalive_interval: 5m\n"
            "  wait_timeout: 15m\n"
            "control: %s/control\nlink_timeout: 15m\n"
            "host_timeout: 15m\n"
            "fast_failover: %s\n",
            l->openflow_port, l->api, c->dir, l->groups ? "true" : "false");
    fclose(file);
}

void
load_controller_start(struct load_controller *c, const char *program)
{
    char log[96];

    snprintf(log, sizeof log, "%s/log", c->dir);
    c->pid = fork();
    if (c->pid < 0) {
        ovs_fatal(errno, "fork");
    }
    if (!c->pid) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

        prctl(PR_SET_PDEATHSIG, SIGKILL); /* Do not outlive the load. */
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execl(program, program, "--config", c->config, (char *) NULL);
        _exit(127);
    }
}

void
load_controller_kill(struct load_controller *c, int signal)
{
    if (c->pid > 0) {
        kill(c->pid, signal);
        waitpid(c->pid, NULL, 0);
        c->pid = 0;
    }
}

void
load_controller_remove(struct load_controller *c)
{
    static const char *const names[] = {"api", "control", "log",
                                        "controller.yaml"};
    char path[128];

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        snprintf(path, sizeof path, "%s/%s", c->dir, names[i]);
        unlink(path);
    }
    rmdir(c->dir);
}

double
load_controller_cpu_us(const struct load_controller *c)
{
    struct timespec ts = {0, 0};
    clockid_t clock;

    if (!clock_getcpuclockid(c->pid, &clock)) {
        clock_gettime(clock, &ts);
    }
    return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

double
load_controller_memory_mb(const struct load_controller *c)
{
    char path[64], line[256];
    double kb = 0;

    snprintf(path, sizeof path, "/proc/%d/status", (int) c->pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        if (!strncmp(line, "VmRSS:", 6)) {
            kb = atof(line + 6);
        }
    }
    if (file) {
        fclose(file);
    }
    return kb / 1024;
}
