/* SPDX-License-Identifier: Apache-2.0 */
/* Migration on the control socket: migrate, events, show groups. */
#include "agents/agent_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agents/datapath_flows.h"
#include "agents/migrator.h"
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "openvswitch/vlog.h"
#include "timeval.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(agent_events);

/* Events kept for who asks later, and commands that follow them. */
#define KEPT_EVENTS 512
#define MAX_FOLLOWERS 32

#define WAIT_MS 10000

struct kept_event {
    struct migrator_event event;
    int64_t unix_ms;
    char from[16], to[16]; /* Interfaces; they may be gone by now. */
};

struct follower {
    struct ovs_list node; /* In agent_events->followers. */
    struct control_call *call;
};

/* A migrate command with --wait. */
struct migrate_waiter {
    struct ovs_list node; /* In agent_events->waiters. */
    struct control_call *call;
    struct migrator_moves moves;
    int64_t deadline_ms;
};

struct agent_events {
    struct kept_event kept[KEPT_EVENTS];
    size_t n; /* Ever. */
    struct ovs_list followers, waiters;
    size_t n_followers;
};

struct agent_events *
agent_events_create(void)
{
    struct agent_events *events = xzalloc(sizeof *events);

    ovs_list_init(&events->followers);
    ovs_list_init(&events->waiters);
    return events;
}

static void
follower_end(struct agent_events *events, struct follower *follower)
{
    control_reply(follower->call, "");
    ovs_list_remove(&follower->node);
    events->n_followers--;
    free(follower);
}

void
agent_events_destroy(struct agent_events *events)
{
    struct follower *follower;
    struct migrate_waiter *waiter;

    LIST_FOR_EACH_SAFE (follower, node, &events->followers) {
        follower_end(events, follower);
    }
    LIST_FOR_EACH_SAFE (waiter, node, &events->waiters) {
        control_fail(waiter->call, "the agent stops");
        free(waiter);
    }
    free(events);
}

/* Events as text. */

static void
format_peer(const uint8_t id[SAL_ENDPOINT_ID_LEN],
            char text[2 * SAL_ENDPOINT_ID_LEN + 1])
{
    for (int i = 0; i < SAL_ENDPOINT_ID_LEN; i++) {
        sprintf(text + 2 * i, "%02x", id[i]);
    }
}

static struct json *
event_to_json(const struct kept_event *kept)
{
    const struct migrator_event *event = &kept->event;
    struct json *json = json_object_create();
    char peer[2 * SAL_ENDPOINT_ID_LEN + 1];
    const struct {
        const char *key;
        const struct migration_locator *locator;
    } locators[] = {
        {"own_from", &event->from.own},   {"own_to", &event->to.own},
        {"peer_from", &event->from.peer}, {"peer_to", &event->to.peer},
    };

    format_peer(event->peer, peer);
    json_object_put(json, "time_ms", json_integer_create(kept->unix_ms));
    json_object_put_string(json, "event", migrator_event_name(event->type));
    json_object_put_string(json, "reason",
                           migrator_reason_name(event->reason));
    json_object_put_string(json, "peer", peer);
    json_object_put(json, "group", json_integer_create(event->group));
    json_object_put(json, "flows", json_integer_create(event->n_flows));
    for (size_t i = 0; i < ARRAY_SIZE(locators); i++) {
        char buf[MIGRATOR_LOCATOR_LEN];
        json_object_put_string(
            json, locators[i].key,
            migrator_format_locator(locators[i].locator, buf));
    }
    json_object_put_string(json, "interface_from", kept->from);
    json_object_put_string(json, "interface_to", kept->to);
    json_object_put(json, "duration_ms",
                    json_integer_create(event->duration_ms));
    return json;
}

static void
format_event(const struct kept_event *kept, struct ds *out)
{
    const struct migrator_event *event = &kept->event;
    bool by_peer = event->type == MIGRATOR_PEER_MOVED;
    char from[MIGRATOR_LOCATOR_LEN], to[MIGRATOR_LOCATOR_LEN];
    char peer[2 * SAL_ENDPOINT_ID_LEN + 1];

    format_peer(event->peer, peer);
    ds_put_strftime_msec(out, "%H:%M:%S.### ", kept->unix_ms, false);
    ds_put_format(out, "%-10s %-10s peer %.8s group %08x flows %"PRIuSIZE
                  " %s %s (%s) -> %s (%s)",
                  migrator_event_name(event->type),
                  migrator_reason_name(event->reason), peer, event->group,
                  event->n_flows, by_peer ? "peer" : "own",
                  migrator_format_locator(by_peer ? &event->from.peer
                                                  : &event->from.own, from),
                  kept->from,
                  migrator_format_locator(by_peer ? &event->to.peer
                                                  : &event->to.own, to),
                  kept->to);
    if (event->type == MIGRATOR_MOVED) {
        ds_put_format(out, " in %"PRId64" ms", event->duration_ms);
    }
    ds_put_char(out, '\n');
}

static void
put_event(const struct kept_event *kept, bool as_json, struct ds *out)
{
    if (as_json) {
        struct json *json = event_to_json(kept);
        json_to_ds(json, JSSF_SORT, out);
        ds_put_char(out, '\n');
        json_destroy(json);
    } else {
        format_event(kept, out);
    }
}

static const char *
uplink_name(const struct agent *agent, int ifindex)
{
    for (size_t i = 0; i < host_netdev_n_uplinks(agent->netdev); i++) {
        const struct netdev_uplink *uplink
            = host_netdev_uplink(agent->netdev, i);
        if (ifindex && uplink->ifindex == ifindex) {
            return uplink->name;
        }
    }
    return "-";
}

void
agent_events_add(struct agent *agent, const struct migrator_event *event)
{
    struct agent_events *events = agent_migration_events(agent);
    struct kept_event *kept = &events->kept[events->n++ % KEPT_EVENTS];
    static struct vlog_rate_limit rl = VLOG_RATE_LIMIT_INIT(60, 20);
    struct migrator_clock clock;
    struct follower *follower;
    struct ds text = DS_EMPTY_INITIALIZER;

    agent_migration_clock(agent, &clock);
    kept->event = *event;
    kept->unix_ms = clock.unix_ms;
    ovs_strlcpy(kept->from, uplink_name(agent, event->from.ifindex),
                sizeof kept->from);
    ovs_strlcpy(kept->to, uplink_name(agent, event->to.ifindex),
                sizeof kept->to);
    format_event(kept, &text);
    ds_chomp(&text, '\n');
    VLOG_INFO_RL(&rl, "%s", ds_cstr(&text));
    ds_destroy(&text);
    LIST_FOR_EACH_SAFE (follower, node, &events->followers) {
        struct ds out = DS_EMPTY_INITIALIZER;
        put_event(kept, control_wants_json(follower->call), &out);
        if (!control_reply_part(follower->call, ds_cstr(&out))) {
            follower_end(events, follower);
        }
        ds_destroy(&out);
    }
}

static void
follow(struct control_call *call, struct agent_events *events)
{
    struct follower *follower;

    /* Those whose peer is gone make room. */
    LIST_FOR_EACH_SAFE (follower, node, &events->followers) {
        if (!control_reply_part(follower->call, "")) {
            follower_end(events, follower);
        }
    }
    if (events->n_followers >= MAX_FOLLOWERS) {
        control_fail(call, "32 commands follow the events already");
        return;
    }
    follower = xzalloc(sizeof *follower);
    follower->call = call;
    ovs_list_push_back(&events->followers, &follower->node);
    events->n_followers++;
    control_reply_part(call, "");
}

void
agent_events_command(struct control_call *call, int argc,
                     const char *const argv[], void *agent_)
{
    struct agent *agent = agent_;
    struct agent_events *events = agent_migration_events(agent);
    struct ds out = DS_EMPTY_INITIALIZER;

    if (!events) {
        control_fail(call, "the agent starts or stops");
        return;
    }
    if (argc) {
        if (strcmp(argv[0], "--follow")) {
            control_usage(call, "unknown option");
        } else {
            follow(call, events);
        }
        return;
    }
    for (size_t i = events->n > KEPT_EVENTS ? events->n - KEPT_EVENTS : 0;
         i < events->n; i++) {
        put_event(&events->kept[i % KEPT_EVENTS], control_wants_json(call),
                  &out);
    }
    control_reply(call, ds_cstr(&out));
    ds_destroy(&out);
}

/* show groups */

static void
format_groups(const struct json *peers, struct ds *out)
{
    for (size_t i = 0; i < peers->array.n; i++) {
        const struct shash *peer = peers->array.elems[i]->object;
        const struct json *groups = shash_find_data(peer, "groups");
        for (size_t k = 0; k < groups->array.n; k++) {
            const struct shash *group = groups->array.elems[k]->object;
#define STRING(OBJECT, KEY) json_string(shash_find_data(OBJECT, KEY))
#define INTEGER(KEY) json_integer(shash_find_data(group, KEY))
            ds_put_format(out, "%s group %08"PRIx64" %-12s flows %"PRId64
                          " %s -> %s%s\n",
                          STRING(peer, "peer"), INTEGER("group"),
                          STRING(group, "state"), INTEGER("flows"),
                          STRING(group, "own_locator"),
                          STRING(group, "peer_locator"),
                          json_boolean(shash_find_data(group, "held"))
                              ? " held" : "");
#undef STRING
#undef INTEGER
        }
    }
}

void
agent_groups_command(struct control_call *call, int argc,
                     const char *const argv[], void *agent_)
{
    struct agent *agent = agent_;
    struct ds out = DS_EMPTY_INITIALIZER;

    if (!agent_migrator(agent)) {
        control_fail(call, "the agent starts or stops");
        return;
    }
    struct json *json = migrator_to_json(agent_migrator(agent));
    if (control_wants_json(call)) {
        json_to_ds(json, JSSF_SORT, &out);
        ds_put_char(&out, '\n');
    } else {
        format_groups(json, &out);
    }
    json_destroy(json);
    control_reply(call, ds_cstr(&out));
    ds_destroy(&out);
}

/* migrate */

struct migrate_args {
    const char *what, *which;
    const char *to;
    bool wait;
};

/* A malloced sentence, or NULL. */
static char *
parse_args(int argc, const char *const argv[], struct migrate_args *args)
{
    memset(args, 0, sizeof *args);
    for (int i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--wait")) {
            args->wait = true;
        } else if (!strncmp(argv[i], "--to=", 5)) {
            args->to = argv[i] + 5;
        } else if (!strcmp(argv[i], "--to")) {
            if (++i >= argc) {
                return xstrdup("--to needs an interface");
            }
            args->to = argv[i];
        } else if (!strncmp(argv[i], "--", 2)) {
            return xasprintf("unknown option %.40s", argv[i]);
        } else if (!args->what) {
            args->what = argv[i];
        } else if (!args->which) {
            args->which = argv[i];
        } else {
            return xasprintf("unexpected argument \"%.40s\"", argv[i]);
        }
    }
    return args->which ? NULL : xstrdup("an argument is missing");
}

static int
ifindex_of(const struct agent *agent, const char *name)
{
    for (size_t i = 0; i < host_netdev_n_uplinks(agent->netdev); i++) {
        const struct netdev_uplink *uplink
            = host_netdev_uplink(agent->netdev, i);
        if (!strcmp(uplink->name, name)) {
            return uplink->ifindex;
        }
    }
    return 0;
}

/* Flows of a service. */
struct collect {
    const struct service_prefix *service;
    uint32_t *ids;
    size_t n, allocated;
};

static void
collect_flow(const struct datapath_flow *flow, void *collect_)
{
    struct collect *collect = collect_;
    struct service_prefix service = {.id = flow->service,
                                     .len = SAL_SERVICE_ID_BITS};

    if (service_prefix_contains(collect->service, &service)) {
        if (collect->n >= collect->allocated) {
            collect->ids = x2nrealloc(collect->ids, &collect->allocated,
                                      sizeof *collect->ids);
        }
        collect->ids[collect->n++] = flow->id;
    }
}

static bool
parse_peer(const char *text, uint8_t peer[SAL_ENDPOINT_ID_LEN])
{
    bool ok = strlen(text) == 2 * SAL_ENDPOINT_ID_LEN;

    for (int i = 0; ok && i < SAL_ENDPOINT_ID_LEN; i++) {
        peer[i] = hexits_value(text + 2 * i, 2, &ok);
    }
    return ok;
}

/* What is to move.  The result's pointers are into the other arguments.  A
 * malloced sentence, or NULL. */
static char *
choose(struct agent *agent, const struct migrate_args *args,
       struct collect *collect, uint8_t peer[SAL_ENDPOINT_ID_LEN],
       struct migrator_choice *choice)
{
    struct service_prefix service;
    char *end;

    if (!strcmp(args->what, "interface")) {
        choice->ifindex = ifindex_of(agent, args->which);
        return choice->ifindex ? NULL
               : xasprintf("%.40s is not an uplink", args->which);
    }
    if (!strcmp(args->what, "peer")) {
        choice->peer = peer;
        return parse_peer(args->which, peer)
               ? NULL : xstrdup("an endpoint ID has 32 hexadecimal digits");
    }
    choice->flows = collect->ids = xmalloc(sizeof *collect->ids);
    collect->allocated = 1;
    if (!strcmp(args->what, "flow")) {
        collect->ids[0] = strtoul(args->which, &end, 16);
        choice->n_flows = 1;
        return *end || end == args->which
               ? xasprintf("\"%.40s\" is no flow ID", args->which) : NULL;
    }
    if (!strcmp(args->what, "service")) {
        if (service_prefix_from_name(args->which, &service)
            && service_prefix_from_string(args->which, &service)) {
            return xasprintf("\"%.80s\" is neither a name nor a service ID",
                             args->which);
        }
        collect->service = &service;
        datapath_flows_visit(agent->datapath, collect_flow, collect);
        choice->flows = collect->ids;
        choice->n_flows = collect->n;
        return NULL;
    }
    return xasprintf("\"%.40s\" is not flow, interface, peer or service",
                     args->what);
}

static void
reply_moves(struct control_call *call, const struct migrator_moves *moves,
            bool waited)
{
    struct ds out = DS_EMPTY_INITIALIZER;

    if (control_wants_json(call)) {
        struct json *json = json_object_create();
        json_object_put(json, "groups", json_integer_create(moves->n_groups));
        json_object_put(json, "flows", json_integer_create(moves->n_flows));
        json_object_put(json, "stayed", json_integer_create(moves->n_stay));
        if (waited) {
            json_object_put(json, "confirmed",
                            json_integer_create(moves->n_confirmed));
            json_object_put(json, "slowest_ms",
                            json_integer_create(moves->slowest_ms));
        }
        json_to_ds(json, JSSF_SORT, &out);
        json_destroy(json);
    } else {
        ds_put_format(&out, "%"PRIuSIZE" flows in %"PRIuSIZE" groups move",
                      moves->n_flows, moves->n_groups);
        if (moves->n_stay) {
            ds_put_format(&out, ", %"PRIuSIZE" flows are there",
                          moves->n_stay);
        }
        if (waited) {
            ds_put_format(&out, "; %"PRIuSIZE" groups confirmed, the slowest "
                          "in %"PRId64" ms", moves->n_confirmed,
                          moves->slowest_ms);
        }
    }
    ds_put_char(&out, '\n');
    control_reply(call, ds_cstr(&out));
    ds_destroy(&out);
}

void
agent_migrate_waiters_run(struct agent *agent)
{
    struct agent_events *events = agent_migration_events(agent);
    struct migrate_waiter *waiter;

    if (!events) {
        return;
    }
    LIST_FOR_EACH_SAFE (waiter, node, &events->waiters) {
        bool done = migrator_moves_check(agent_migrator(agent),
                                         &waiter->moves);
        if (!done && agent_now(agent) < waiter->deadline_ms) {
            continue;
        }
        if (waiter->moves.n_confirmed < waiter->moves.n_groups) {
            char *error = xasprintf(
                "%"PRIuSIZE" of %"PRIuSIZE" groups were not confirmed",
                waiter->moves.n_groups - waiter->moves.n_confirmed,
                waiter->moves.n_groups);
            control_fail(waiter->call, error);
            free(error);
        } else {
            reply_moves(waiter->call, &waiter->moves, true);
        }
        ovs_list_remove(&waiter->node);
        free(waiter);
    }
}

static void
answer_moves(struct agent *agent, struct control_call *call,
             const struct migrator_moves *moves, bool wait)
{
    struct agent_events *events = agent_migration_events(agent);

    if (!moves->n_groups && !moves->n_stay) {
        control_fail(call, moves->error ? moves->error
                                        : "there are no such flows");
    } else if (!wait) {
        reply_moves(call, moves, false);
    } else {
        struct migrate_waiter *waiter = xzalloc(sizeof *waiter);
        waiter->call = call;
        waiter->moves = *moves;
        waiter->deadline_ms = agent_now(agent) + WAIT_MS;
        ovs_list_push_back(&events->waiters, &waiter->node);
    }
}

void
agent_migrate_command(struct control_call *call, int argc,
                      const char *const argv[], void *agent_)
{
    struct agent *agent = agent_;
    struct migrate_args args;
    struct migrator_choice choice = {.to = 0};
    struct collect collect = {.ids = NULL};
    uint8_t peer[SAL_ENDPOINT_ID_LEN];
    struct migrator_moves moves;
    struct migrator_clock clock;
    char *error = parse_args(argc, argv, &args);

    if (!error && !agent_migrator(agent)) {
        control_fail(call, "the agent starts or stops");
        return;
    }
    if (!error && args.to && !(choice.to = ifindex_of(agent, args.to))) {
        error = xasprintf("%.40s is not an uplink", args.to);
    }
    if (!error) {
        error = choose(agent, &args, &collect, peer, &choice);
    }
    if (error) {
        control_usage(call, error);
    } else {
        agent_migration_clock(agent, &clock);
        migrator_move(agent_migrator(agent), &choice, &clock, &moves);
        answer_moves(agent, call, &moves, args.wait);
        agent_migration_arm(agent);
    }
    free(error);
    free(collect.ids);
}
