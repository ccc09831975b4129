/* SPDX-License-Identifier: Apache-2.0 */
/* Host tables to maps and back. */
#include "agents/datapath_private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agents/sal.skel.h"
#include "openvswitch/vlog.h"
#include "util.h"

VLOG_DEFINE_THIS_MODULE(datapath_tables);

/* Visits all entries of a hash or trie, bounded by twice its capacity: an
 * entry that vanishes under the cursor starts the walk afresh. */
#define MAP_FOR_EACH(FD, KEY, NEXT, LIMIT)                                    \
    for (size_t left_ = (LIMIT),                                              \
                more_ = !bpf_map_get_next_key(FD, NULL, NEXT);                \
         more_ && left_ && (memcpy(KEY, NEXT, sizeof *(KEY)), 1);             \
         more_ = !bpf_map_get_next_key(FD, KEY, NEXT), left_--)

enum { WALK_LIMIT = 4 << 20 };

static void
address_to_map(const struct service_address *address, struct sal_addr *key,
               struct sal_service_value *value)
{
    addr_from_in6(key, &address->address);
    memcpy(value->service_id, address->id.bytes, sizeof value->service_id);
}

static void
rule_key(const struct service_prefix *prefix, struct sal_rule_key *key)
{
    key->prefixlen = prefix->len;
    memcpy(key->service_id, prefix->id.bytes, sizeof key->service_id);
}

static void
target_key(const struct local_target *target, struct sal_target_key *key)
{
    memset(key, 0, sizeof *key);
    memcpy(key->prefix, target->prefix.id.bytes, sizeof key->prefix);
    key->prefixlen = target->prefix.len;
    key->service_port = htons(target->service_port);
    key->proto = target->protocol;
}

BUILD_ASSERT_DECL((int) SERVICE_FORWARD == (int) SAL_RULE_FORWARD);
BUILD_ASSERT_DECL((int) SERVICE_DEMUX == (int) SAL_RULE_DEMUX);
BUILD_ASSERT_DECL((int) SERVICE_REJECT == (int) SAL_RULE_REJECT);
BUILD_ASSERT_DECL((int) SERVICE_DROP == (int) SAL_RULE_DROP);
BUILD_ASSERT_DECL((int) SERVICE_DELAY == (int) SAL_RULE_DELAY);
BUILD_ASSERT_DECL((int) HOST_TABLES_MAX_HOPS == (int) SAL_MAX_HOPS);

/* Remembers the first failure of a batch and goes on. */
struct batch {
    int error;
    char **ret_error;
};

static void
batch_note(struct batch *batch, int error, const char *what)
{
    if (error && !batch->error) {
        batch->error = error;
        datapath_error(batch->ret_error, error, "cannot write %s: %s%s", what,
                       strerror(-error),
                       error == -E2BIG || error == -ENOSPC
                       ? " (the table is full)" : "");
    }
}

static void
put_targets(struct datapath *dp, const struct host_tables *t,
            struct batch *batch)
{
    int fd = bpf_map__fd(dp->skeleton->maps.sal_targets);
    for (size_t i = 0; i < t->n_targets; i++) {
        struct sal_target_key key;
        struct sal_target value = {.port = htons(t->targets[i].port)};
        target_key(&t->targets[i], &key);
        addr_from_in6(&value.address, &t->targets[i].address);
        batch_note(batch, bpf_map_update_elem(fd, &key, &value, BPF_ANY),
                   "a local target");
    }
}

/* Hops.  The map has all of a rule in one value, so that packets never see
 * half of a change. */

static uint32_t
hop_weight(const struct sal_hops *hops, uint32_t i)
{
    return hops->hops[i].upto - (i ? hops->hops[i - 1].upto : 0);
}

/* Sets the weight of 'hop'; 0 removes it. */
static void
change_hop(struct sal_hops *hops, const struct service_hop *hop,
           uint32_t weight)
{
    struct sal_hops old = *hops;
    bool found = false;
    uint32_t sum = 0;

    hops->n = 0;
    for (uint32_t i = 0; i < old.n && i < SAL_MAX_HOPS; i++) {
        uint32_t w = hop_weight(&old, i);
        if (!memcmp(&old.hops[i].locator, hop->locator,
                    sizeof hop->locator)) {
            found = true;
            w = weight;
        }
        if (w) {
            hops->hops[hops->n].locator = old.hops[i].locator;
            hops->hops[hops->n++].upto = sum += w;
        }
    }
    if (!found && weight && hops->n < SAL_MAX_HOPS) {
        memcpy(&hops->hops[hops->n].locator, hop->locator,
               sizeof hop->locator);
        hops->hops[hops->n++].upto = sum + weight;
    }
}

/* Tells the rule of 'key', if there is one, whether it has hops. */
static void
mark_rule(struct datapath *dp, const struct sal_rule_key *key, bool has_hops)
{
    int fd = bpf_map__fd(dp->skeleton->maps.sal_rules);
    struct sal_rule rule;
    if (!bpf_map_lookup_elem(fd, key, &rule)
        && rule.prefixlen == key->prefixlen
        && has_hops != !!(rule.flags & SAL_RULE_HOPS)) {
        rule.flags ^= SAL_RULE_HOPS;
        bpf_map_update_elem(fd, key, &rule, BPF_EXIST);
    }
}

/* The hops from 'i' on that are of one rule: changes them in the map, returns
 * where the next rule's begin. */
static size_t
change_hops(struct datapath *dp, const struct host_tables *t, size_t i,
            bool remove, struct batch *batch)
{
    int fd = bpf_map__fd(dp->skeleton->maps.sal_hops);
    const struct service_prefix *prefix = &t->hops[i].prefix;
    struct sal_hops value = {.n = 0};
    struct sal_rule_key key;
    int error;

    rule_key(prefix, &key);
    bpf_map_lookup_elem(fd, &key, &value);
    for (; i < t->n_hops && service_prefix_equal(&t->hops[i].prefix, prefix);
         i++) {
        change_hop(&value, &t->hops[i], remove ? 0 : t->hops[i].weight);
    }
    if (value.n) {
        error = bpf_map_update_elem(fd, &key, &value, BPF_ANY);
    } else {
        error = bpf_map_delete_elem(fd, &key);
        error = error == -ENOENT ? 0 : error;
    }
    batch_note(batch, error, "where a service is");
    mark_rule(dp, &key, value.n > 0);
    return i;
}

static void
put_or_remove_hops(struct datapath *dp, const struct host_tables *t,
                   bool remove, struct batch *batch)
{
    for (size_t i = 0; i < t->n_hops;) {
        i = change_hops(dp, t, i, remove, batch);
    }
}

/* True if the rule of 'prefix' is to look at its hops: those that stay are in
 * the map already. */
static bool
has_hops(struct datapath *dp, const struct sal_rule_key *key)
{
    struct sal_hops value;
    return !bpf_map_lookup_elem(bpf_map__fd(dp->skeleton->maps.sal_hops), key,
                                &value);
}

/* What was counted stays. */
static void
keep_hits(int fd, const struct sal_rule_key *key, struct sal_rule *rule)
{
    struct sal_rule old;
    if (!bpf_map_lookup_elem(fd, key, &old)
        && old.prefixlen == key->prefixlen) {
        rule->hits = old.hits;
    }
}

static void
put_rules(struct datapath *dp, const struct host_tables *t,
          struct batch *batch)
{
    int fd = bpf_map__fd(dp->skeleton->maps.sal_rules);
    for (size_t i = 0; i < t->n_rules; i++) {
        const struct service_rule *rule = &t->rules[i];
        struct sal_rule_key key;
        rule_key(&rule->prefix, &key);
        struct sal_rule value = {
            .action = rule->action,
            .path_class = rule->path_class,
            .flags = (rule->datagram ? SAL_RULE_DATAGRAM : 0)
                     | (has_hops(dp, &key) ? SAL_RULE_HOPS : 0),
            .prefixlen = rule->prefix.len};
        keep_hits(fd, &key, &value);
        batch_note(batch, bpf_map_update_elem(fd, &key, &value, BPF_ANY),
                   "a service rule");
    }
}

static void
put_addresses(struct datapath *dp, const struct host_tables *t,
              struct batch *batch)
{
    int fd = bpf_map__fd(dp->skeleton->maps.sal_addresses);
    for (size_t i = 0; i < t->n_addresses; i++) {
        struct sal_addr key;
        struct sal_service_value value;
        address_to_map(&t->addresses[i], &key, &value);
        batch_note(batch, bpf_map_update_elem(fd, &key, &value, BPF_ANY),
                   "a service address");
    }
}

static void
note_removal(struct batch *batch, int error, const char *what)
{
    batch_note(batch, error == -ENOENT ? 0 : error, what);
}

static void
remove_all(struct datapath *dp, const struct host_tables *t,
           struct batch *batch)
{
    int fd = bpf_map__fd(dp->skeleton->maps.sal_addresses);
    for (size_t i = 0; i < t->n_addresses; i++) {
        struct sal_addr key;
        addr_from_in6(&key, &t->addresses[i].address);
        note_removal(batch, bpf_map_delete_elem(fd, &key),
                     "a service address");
    }
    fd = bpf_map__fd(dp->skeleton->maps.sal_rules);
    for (size_t i = 0; i < t->n_rules; i++) {
        struct sal_rule_key key;
        rule_key(&t->rules[i].prefix, &key);
        note_removal(batch, bpf_map_delete_elem(fd, &key), "a service rule");
    }
    fd = bpf_map__fd(dp->skeleton->maps.sal_targets);
    for (size_t i = 0; i < t->n_targets; i++) {
        struct sal_target_key key;
        target_key(&t->targets[i], &key);
        note_removal(batch, bpf_map_delete_elem(fd, &key), "a local target");
    }
}

static int
put_host_settings(struct datapath *dp, const struct host_settings *host)
{
    struct sal_settings settings;
    int error = datapath_get_settings(dp, &settings);
    if (error) {
        return error;
    }
    memset(&settings.identity_v4, 0, sizeof settings.identity_v4);
    memset(&settings.resolver_v4, 0, sizeof settings.resolver_v4);
    if (host->identity_v4) {
        addr_from_host_v4(&settings.identity_v4, host->identity_v4);
    }
    if (host->resolver_v4) {
        addr_from_host_v4(&settings.resolver_v4, host->resolver_v4);
    }
    addr_from_in6(&settings.identity_v6, &host->identity_v6);
    addr_from_in6(&settings.resolver_v6, &host->resolver_v6);
    settings.flags = (settings.flags & ~SAL_SETTINGS_PREFER_V6)
                     | (host->prefer_v6 ? SAL_SETTINGS_PREFER_V6 : 0);
    settings.sal_port = htons(host->sal_port ? host->sal_port : SAL_UDP_PORT);
    settings.flags &= ~SAL_SETTINGS_ROUTER;
    if (host->router) {
        settings.flags |= SAL_SETTINGS_ROUTER;
    }
    memcpy(settings.endpoint_id, host->endpoint_id,
           sizeof settings.endpoint_id);
    error = datapath_put_settings(dp, &settings);
    return error || !dp->n_uplinks ? error : uplinks_refresh(dp);
}

/* Targets and hops go in before the rules that lead to them, rules before the
 * addresses that lead to them; out the other way round. */
int
datapath_apply(struct datapath *dp, const struct host_tables_diff *diff,
               char **ret_error)
{
    struct batch batch = {.ret_error = ret_error};
    if (ret_error) {
        *ret_error = NULL;
    }
    if (diff->settings_changed) {
        batch_note(&batch, put_host_settings(dp, &diff->put.settings),
                   "the settings");
    }
    put_targets(dp, &diff->put, &batch);
    put_or_remove_hops(dp, &diff->put, false, &batch);
    put_rules(dp, &diff->put, &batch);
    put_addresses(dp, &diff->put, &batch);
    remove_all(dp, &diff->remove, &batch);
    put_or_remove_hops(dp, &diff->remove, true, &batch);
    return batch.error;
}

static void
read_settings(struct datapath *dp, struct host_settings *host)
{
    struct sal_settings settings;
    if (!datapath_get_settings(dp, &settings)) {
        host->identity_v4 = addr_to_host_v4(&settings.identity_v4);
        host->resolver_v4 = addr_to_host_v4(&settings.resolver_v4);
        host->identity_v6 = addr_to_in6(&settings.identity_v6);
        host->resolver_v6 = addr_to_in6(&settings.resolver_v6);
        host->prefer_v6 = settings.flags & SAL_SETTINGS_PREFER_V6;
        host->sal_port = ntohs(settings.sal_port);
        host->router = settings.flags & SAL_SETTINGS_ROUTER;
        memcpy(host->endpoint_id, settings.endpoint_id,
               sizeof host->endpoint_id);
    }
}

static void
read_addresses(struct datapath *dp, struct host_tables *t)
{
    int fd = bpf_map__fd(dp->skeleton->maps.sal_addresses);
    struct service_address *addresses = NULL;
    size_t n = 0, allocated = 0;
    struct sal_addr key, next;
    MAP_FOR_EACH (fd, &key, &next, WALK_LIMIT) {
        struct sal_service_value value;
        if (!bpf_map_lookup_elem(fd, &key, &value)) {
            struct service_address a = {.address = addr_to_in6(&key)};
            memcpy(a.id.bytes, value.service_id, sizeof a.id.bytes);
            if (n == allocated) {
                addresses = x2nrealloc(addresses, &allocated, sizeof a);
            }
            addresses[n++] = a;
        }
    }
    host_tables_put_addresses(t, addresses, n);
    free(addresses);
}

static void
read_rules(struct datapath *dp, struct host_tables *t)
{
    int fd = bpf_map__fd(dp->skeleton->maps.sal_rules);
    struct service_rule *rules = NULL;
    size_t n = 0, allocated = 0;
    struct sal_rule_key key, next;
    MAP_FOR_EACH (fd, &key, &next, WALK_LIMIT) {
        struct sal_rule value;
        if (!bpf_map_lookup_elem(fd, &key, &value)
            && value.prefixlen == key.prefixlen) {
            struct service_rule r = {.prefix.len = key.prefixlen,
                                     .action = value.action,
                                     .path_class = value.path_class,
                                     .datagram = value.flags
                                                 & SAL_RULE_DATAGRAM};
            memcpy(r.prefix.id.bytes, key.service_id,
                   sizeof r.prefix.id.bytes);
            service_prefix_normalize(&r.prefix);
            if (n == allocated) {
                rules = x2nrealloc(rules, &allocated, sizeof r);
            }
            rules[n++] = r;
        }
    }
    host_tables_put_rules(t, rules, n);
    free(rules);
}

static void
read_hops(struct datapath *dp, struct host_tables *t)
{
    int fd = bpf_map__fd(dp->skeleton->maps.sal_hops);
    struct sal_rule_key key, next;
    MAP_FOR_EACH (fd, &key, &next, WALK_LIMIT) {
        struct sal_hops value;
        struct service_hop hop = {.prefix.len = key.prefixlen};
        if (bpf_map_lookup_elem(fd, &key, &value)) {
            continue;
        }
        memcpy(hop.prefix.id.bytes, key.service_id,
               sizeof hop.prefix.id.bytes);
        service_prefix_normalize(&hop.prefix);
        for (uint32_t i = 0; i < value.n && i < SAL_MAX_HOPS; i++) {
            memcpy(hop.locator, &value.hops[i].locator, sizeof hop.locator);
            hop.weight = hop_weight(&value, i);
            host_tables_put_hop(t, &hop);
        }
    }
}

static void
read_targets(struct datapath *dp, struct host_tables *t)
{
    int fd = bpf_map__fd(dp->skeleton->maps.sal_targets);
    struct sal_target_key key, next;
    MAP_FOR_EACH (fd, &key, &next, WALK_LIMIT) {
        struct sal_target value;
        if (!bpf_map_lookup_elem(fd, &key, &value)) {
            struct local_target l = {
                .prefix.len = key.prefixlen,
                .protocol = key.proto,
                .service_port = ntohs(key.service_port),
                .address = addr_to_in6(&value.address),
                .port = ntohs(value.port)};
            memcpy(l.prefix.id.bytes, key.prefix, sizeof l.prefix.id.bytes);
            host_tables_put_target(t, &l);
        }
    }
}

int
datapath_installed(struct datapath *dp, struct host_tables *tables)
{
    host_tables_init(tables);
    read_settings(dp, &tables->settings);
    read_addresses(dp, tables);
    read_hops(dp, tables);
    read_rules(dp, tables);
    read_targets(dp, tables);
    return 0;
}
