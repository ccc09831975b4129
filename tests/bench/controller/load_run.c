/* SPDX-License-Identifier: Apache-2.0 */
/* Beginning, waiting, end. */
#include "tests/bench/controller/load.h"

#include <signal.h>
#include <string.h>
#include "util.h"

#define TICK_MS 5
#define QUIET_US 200000
#define PROGRESS_US 10000000

static void
ticked(uv_timer_t *timer)
{
    /* Only lets load_run_until() look again. */
}

void
load_begin(struct load *l, struct load_controller *controller,
           const char *program)
{
    l->loop = uv_default_loop();
    l->loop->data = l;
    l->registered = true;
    uv_timer_init(l->loop, &l->tick);
    uv_timer_start(&l->tick, ticked, TICK_MS, TICK_MS);
    load_controller_configure(l, controller);
    load_controller_start(controller, program);
    for (int i = 0; i < l->n_switches; i++) {
        load_switch_start(l, &l->switches[i]);
    }
    for (int i = 0; i < l->n_agents; i++) {
        load_agent_start(l, &l->agents[i]);
    }
}

void
load_end(struct load *l, struct load_controller *controller)
{
    l->stopping = true;
    for (int i = 0; i < l->n_switches; i++) {
        load_switch_stop(&l->switches[i]);
    }
    for (int i = 0; i < l->n_agents; i++) {
        load_agent_stop(&l->agents[i]);
    }
    uv_close((uv_handle_t *) &l->tick, NULL);
    load_controller_kill(controller, SIGTERM);
    uv_run(l->loop, UV_RUN_DEFAULT);
    load_controller_remove(controller);
    load_free(l);
    memset(l, 0, sizeof *l);
}

/* For who waits long. */
static void
tell_progress(const struct load *l, uint64_t waited_us)
{
    int up = 0, tell = 0, attached = 0, waiting = 0;

    for (int i = 0; i < l->n_switches; i++) {
        up += l->switches[i].up;
        tell += l->switches[i].telling != NULL;
    }
    for (int i = 0; i < l->n_agents; i++) {
        attached += l->agents[i].attached;
        waiting += l->agents[i].awaited != 0;
    }
    fprintf(stderr, "%3.0f s: %d of %d switches up (%d tell their flows), "
            "%d of %d hosts attached (%d wait for an answer), "
            "%llu rules written\n", waited_us / 1e6, up, l->n_switches, tell,
            attached, l->n_agents, waiting,
            (unsigned long long) l->flow_mods);
}

bool
load_run_until(struct load *l, bool (*condition)(struct load *),
               uint64_t timeout_us)
{
    uint64_t start = load_now_us(), told = start;

    while (!condition(l)) {
        uint64_t now = load_now_us();

        if (now > start + timeout_us) {
            return false;
        }
        if (now > told + PROGRESS_US) {
            tell_progress(l, now - start);
            told = now;
        }
        uv_run(l->loop, UV_RUN_ONCE);
    }
    return true;
}

static bool
never(struct load *l OVS_UNUSED)
{
    return false;
}

void
load_run_for(struct load *l, uint64_t us)
{
    load_run_until(l, never, us);
}

bool
load_is_quiet(struct load *l)
{
    return load_now_us() > l->last_written_us + QUIET_US;
}

bool
load_is_settled(struct load *l)
{
    if (!load_is_quiet(l) || load_now_us() < l->next_check_us) {
        return false;
    }
    if (load_check(l, false)) {
        l->next_check_us = load_now_us() + QUIET_US / 2;
        return false;
    }
    return true;
}
