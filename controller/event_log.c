/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/event_log.h"

#include <inttypes.h>
#include <limits.h>
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "timeval.h"
#include "util.h"

enum event_state {
    EVENT_NEW,       /* The plan has not seen it. */
    EVENT_PENDING,   /* Its rules are under way. */
    EVENT_CONFIRMED,
    EVENT_NO_RULES,  /* No rule followed from it. */
};

struct event {
    uint64_t number;
    uint64_t generation;
    long long trigger_us, wall_ms, took_us;
    enum event_state state;
    char *text;
};

struct event_log {
    struct event *events; /* 'size' of them; number n stands at n % size. */
    size_t size;
    uint64_t n;        /* Ever added; the next one's number. */
    uint64_t first_new, first_pending; /* None before is NEW, PENDING. */
    size_t n_pending;
    struct event_log_times times;
};

struct event_log *
event_log_create(size_t size)
{
    struct event_log *log = xzalloc(sizeof *log);

    log->size = size;
    log->events = xcalloc(size, sizeof *log->events);
    return log;
}

void
event_log_destroy(struct event_log *log)
{
    if (log) {
        for (size_t i = 0; i < log->size; i++) {
            free(log->events[i].text);
        }
        free(log->events);
        free(log);
    }
}

static struct event *
get(const struct event_log *log, uint64_t number)
{
    return CONST_CAST(struct event *,
                      &log->events[number % log->size]);
}

static uint64_t
oldest(const struct event_log *log)
{
    return log->n > log->size ? log->n - log->size : 0;
}

void
event_log_add(struct event_log *log, long long trigger_us, long long wall_ms,
              const char *text)
{
    struct event *event = get(log, log->n);

    if (event->text
        && (event->state == EVENT_NEW || event->state == EVENT_PENDING)) {
        log->n_pending--; /* Pushed out before it was confirmed. */
    }
    free(event->text);
    *event = (struct event) {
        .number = log->n++,
        .trigger_us = trigger_us,
        .wall_ms = wall_ms,
        .text = xstrdup(text),
    };
    log->n_pending++;
}

void
event_log_planned(struct event_log *log, uint64_t generation, bool changed)
{
    for (uint64_t i = MAX(log->first_new, oldest(log)); i < log->n; i++) {
        struct event *event = get(log, i);

        event->generation = generation;
        event->state = changed ? EVENT_PENDING : EVENT_NO_RULES;
        log->n_pending -= !changed;
    }
    log->first_new = log->n;
}

long long
event_log_bucket_us(int i)
{
    static const long long limits[EVENT_LOG_N_BUCKETS] = {
        200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 1000000,
        10000000, LLONG_MAX};
    return limits[i];
}

static void
count_time(struct event_log_times *times, long long took_us)
{
    int i = 0;

    while (took_us > event_log_bucket_us(i)) {
        i++;
    }
    times->buckets[i]++;
    times->n++;
    times->sum_us += MAX(took_us, 0);
}

void
event_log_confirmed(struct event_log *log, uint64_t generation,
                    long long now_us)
{
    uint64_t i = MAX(log->first_pending, oldest(log));

    /* Generations only grow, so events are in their order. */
    for (; i < log->first_new; i++) {
        struct event *event = get(log, i);

        if (event->generation > generation) {
            break;
        }
        if (event->state == EVENT_PENDING) {
            event->state = EVENT_CONFIRMED;
            event->took_us = now_us - event->trigger_us;
            count_time(&log->times, event->took_us);
            log->n_pending--;
        }
    }
    log->first_pending = i;
}

const struct event_log_times *
event_log_times(const struct event_log *log)
{
    return &log->times;
}

uint64_t
event_log_count(const struct event_log *log)
{
    return log->n;
}

size_t
event_log_n_pending(const struct event_log *log)
{
    return log->n_pending;
}

static const char *
state_string(enum event_state state)
{
    switch (state) {
    case EVENT_NEW:
        return "new";
    case EVENT_PENDING:
        return "pending";
    case EVENT_CONFIRMED:
        return "confirmed";
    case EVENT_NO_RULES:
        return "no-rules";
    }
    return "?";
}

static uint64_t
first_shown(const struct event_log *log, size_t n)
{
    return MAX(oldest(log), log->n > n ? log->n - n : 0);
}

static char *
format_time(const struct event *event)
{
    return xastrftime_msec("%H:%M:%S.###", event->wall_ms, true);
}

struct json *
event_log_to_json(const struct event_log *log, size_t n)
{
    struct json *array = json_array_create_empty();

    for (uint64_t i = first_shown(log, n); i < log->n; i++) {
        const struct event *event = get(log, i);
        struct json *json = json_object_create();

        json_object_put(json, "number", json_integer_create(event->number));
        json_object_put(json, "time_ms", json_integer_create(event->wall_ms));
        json_object_put_string(json, "event", event->text);
        json_object_put_string(json, "state", state_string(event->state));
        json_object_put(json, "generation",
                        json_integer_create(event->generation));
        if (event->state == EVENT_CONFIRMED) {
            json_object_put(json, "confirm_us",
                            json_integer_create(event->took_us));
        }
        json_array_add(array, json);
    }
    return array;
}

void
event_log_format(const struct event_log *log, size_t n, struct ds *ds)
{
    for (uint64_t i = first_shown(log, n); i < log->n; i++) {
        const struct event *event = get(log, i);
        char *time = format_time(event);

        ds_put_format(ds, "%6" PRIu64 "  %s  ", event->number, time);
        if (event->state == EVENT_CONFIRMED) {
            ds_put_format(ds, "%8lld us  ", event->took_us);
        } else {
            ds_put_format(ds, "%11s  ", state_string(event->state));
        }
        ds_put_format(ds, "%s\n", event->text);
        free(time);
    }
}
