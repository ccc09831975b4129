/* SPDX-License-Identifier: Apache-2.0 */
/* Follows one SYN through the desired rules, switch by switch, as the switches
 * would: which rules it meets, what they do, where it ends.
 *
 * Pure.  One thread; what a trace refers to is valid until the plan or the
 * topology changes. */
#ifndef CONTROLLER_TRACE_H
#define CONTROLLER_TRACE_H 1

#include <stdbool.h>
#include <stdint.h>
#include "controller/plan.h"

#define TRACE_STEPS_MAX 64
#define TRACE_RULES_MAX 5

struct trace_question {
    const struct topology_attachment *from;
    struct service_id id;
    uint8_t protocol;
    uint8_t path_class;
    uint16_t entropy; /* UDP source port. */
};

enum trace_end {
    TRACE_DELIVERED,    /* To the port where the instance is. */
    TRACE_ASTRAY,       /* To a port where nobody is known to be. */
    TRACE_NOT_ADMITTED, /* The host's port does not take its packets. */
    TRACE_NO_SERVICE,   /* To the controller, which answers RESET. */
    TRACE_NO_ROOM,      /* To the controller, which resolves it. */
    TRACE_NO_SAL,       /* A stock switch without a way to one with SAL. */
    TRACE_NO_ROUTE,     /* A switch does not know the way to the instance. */
    TRACE_NO_PORT,      /* All ports of a group, or the only one, are down. */
    TRACE_LOOP,         /* TRACE_STEPS_MAX switches. */
};

/* One switch. */
struct trace_step {
    uint64_t dpid;
    uint32_t in_port, out_port;        /* 'out_port' 0: none. */
    struct rule rules[TRACE_RULES_MAX]; /* In the order they are met. */
    size_t n_rules;
    int bucket; /* Of the group that is the last rule; -1: no group. */
};

struct trace {
    struct trace_step steps[TRACE_STEPS_MAX];
    size_t n_steps;
    enum trace_end end;
    /* From the switch that resolved on; -1 and NULL before. */
    int resolved_at;
    const struct topology_attachment *target; /* NULL: nobody there. */
    /* Why this one; NULL for an endpoint, which is its own service. */
    const struct service_routes *service;
    const struct route *route;
};

void trace_run(const struct plan *, const struct topology *,
               const struct trace_question *, struct trace *);
/* A clause. */
const char *trace_end_string(enum trace_end);

#endif /* trace.h */
