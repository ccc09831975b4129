/* SPDX-License-Identifier: Apache-2.0 */
/* The migrator's state, for people and programs. */
#include "agents/migrator_private.h"

#include <arpa/inet.h>
#include <stdio.h>
#include "openvswitch/json.h"
#include "openvswitch/util.h"
#include "util.h"

const char *
migrator_reason_name(enum migrator_reason reason)
{
    static const char *const names[] = {
        "start", "lost", "preferred", "command", "silent", "ip-version",
        "peer"};
    return reason < ARRAY_SIZE(names) ? names[reason] : "?";
}

const char *
migrator_event_name(enum migrator_event_type type)
{
    static const char *const names[] = {"moving", "moved", "peer-moved",
                                        "held", "reverted"};
    return type < ARRAY_SIZE(names) ? names[type] : "?";
}

const char *
migrator_format_locator(const struct migration_locator *locator,
                        char buf[MIGRATOR_LOCATOR_LEN])
{
    char address[INET6_ADDRSTRLEN];

    if (migration_locator_is_none(locator)) {
        return "-";
    }
    if (migrator_is_v4(locator)) {
        inet_ntop(AF_INET, locator->address + 12, address, sizeof address);
    } else {
        inet_ntop(AF_INET6, locator->address, address, sizeof address);
    }
    if (locator->port) {
        snprintf(buf, MIGRATOR_LOCATOR_LEN,
                 migrator_is_v4(locator) ? "%s:%"PRIu16 : "[%s]:%"PRIu16,
                 address, locator->port);
    } else {
        snprintf(buf, MIGRATOR_LOCATOR_LEN, "%s", address);
    }
    return buf;
}

static void
put_locator(struct json *json, const char *key,
            const struct migration_locator *locator)
{
    char buf[MIGRATOR_LOCATOR_LEN];
    json_object_put_string(json, key, migrator_format_locator(locator, buf));
}

static void
put_int(struct json *json, const char *key, long long int value)
{
    json_object_put(json, key, json_integer_create(value));
}

static struct json *
group_to_json(const struct migrator_group *group)
{
    struct json *json = json_object_create();

    put_int(json, "group", group->machine.group);
    json_object_put_string(json, "state",
                           migration_state_name(group->machine.state));
    put_int(json, "flows", group->n_flows);
    put_locator(json, "own_locator", &group->path.own);
    put_locator(json, "peer_locator", &group->path.peer);
    put_locator(json, "announced", &group->machine.local);
    put_int(json, "ifindex", group->path.ifindex);
    json_object_put(json, "held", json_boolean_create(group->held));
    json_object_put(json, "moving", json_boolean_create(group->moving));
    json_object_put(json, "pinned", json_boolean_create(group->pinned));
    put_int(json, "rsyns", group->machine.attempts);
    put_int(json, "probes", group->n_probes);
    return json;
}

static struct json *
peer_to_json(const struct migrator_peer *peer)
{
    struct json *json = json_object_create();
    struct json *groups = json_array_create_empty();
    char id[2 * SAL_ENDPOINT_ID_LEN + 1];
    const struct migrator_group *group;

    for (int i = 0; i < SAL_ENDPOINT_ID_LEN; i++) {
        sprintf(id + 2 * i, "%02x", peer->crypto.id[i]);
    }
    LIST_FOR_EACH (group, node, &peer->groups) {
        json_array_add(groups, group_to_json(group));
    }
    json_object_put_string(json, "peer", id);
    json_object_put(json, "key", json_boolean_create(peer->crypto.has_key));
    put_int(json, "forged", peer->crypto.n_forged);
    put_int(json, "limited", peer->crypto.n_limited);
    json_object_put(json, "groups", groups);
    return json;
}

struct json *
migrator_to_json(const struct migrator *m)
{
    struct json *array = json_array_create_empty();
    const struct migrator_peer *peer;

    HMAP_FOR_EACH (peer, node, &m->peers) {
        json_array_add(array, peer_to_json(peer));
    }
    return array;
}
