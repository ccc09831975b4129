/* SPDX-License-Identifier: Apache-2.0 */
/* The last changes: what happened, when, and how long it took until every
 * switch concerned had confirmed what followed from it.
 *
 *     event_log_add()        something happens: a port goes down, an agent
 *                            registers
 *     event_log_planned()    the plan has taken it in; its rules have this
 *                            generation
 *     event_log_confirmed()  the switches have confirmed that generation
 *
 * Pure.  One thread; keeps 'size' events, the oldest go. */
#ifndef CONTROLLER_EVENT_LOG_H
#define CONTROLLER_EVENT_LOG_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENT_LOG_N_BUCKETS 12

struct ds;
struct json;
struct event_log;

struct event_log *event_log_create(size_t size);
void event_log_destroy(struct event_log *);

/* 'trigger_us': any monotonic clock; 'wall_ms': since 1970, for people. */
void event_log_add(struct event_log *, long long trigger_us,
                   long long wall_ms, const char *text);

/* The plan has run.  'changed': rules of 'generation' follow from what was
 * added since the last run; otherwise it had no effect on rules. */
void event_log_planned(struct event_log *, uint64_t generation, bool changed);

/* All switches have confirmed 'generation'. */
void event_log_confirmed(struct event_log *, uint64_t generation,
                         long long now_us);

/* Events ever, and those that wait for confirmation. */
uint64_t event_log_count(const struct event_log *);
size_t event_log_n_pending(const struct event_log *);

/* How long confirmed events took: bucket i counts those of at most
 * event_log_bucket_us(i), and more than the bucket before; the last one has no
 * limit (LLONG_MAX). */
struct event_log_times {
    uint64_t buckets[EVENT_LOG_N_BUCKETS];
    uint64_t n, sum_us;
};
const struct event_log_times *event_log_times(const struct event_log *);
long long event_log_bucket_us(int i);

/* For `show events`: the newest 'n', oldest first. */
struct json *event_log_to_json(const struct event_log *, size_t n);
void event_log_format(const struct event_log *, size_t n, struct ds *);

#endif /* event_log.h */
