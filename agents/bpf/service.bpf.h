/* SPDX-License-Identifier: Apache-2.0 */
/* The service table and the local targets. */
#ifndef SALIENT_SERVICE_BPF_H
#define SALIENT_SERVICE_BPF_H 1

#include "agents/bpf/packet.bpf.h"

/* The rule for 'service_id', or NULL. */
static __always_inline struct sal_rule *
rule_lookup(const __u8 service_id[SAL_SERVICE_ID_LEN])
{
    struct sal_rule_key key;
    key.prefixlen = SAL_SERVICE_ID_BITS;
    __builtin_memcpy(key.service_id, service_id, SAL_SERVICE_ID_LEN);
    struct sal_rule *rule = bpf_map_lookup_elem(&sal_rules, &key);
    if (rule) {
        __sync_fetch_and_add(&rule->hits, 1);
    }
    return rule;
}

/* Writes into 'prefix' the part of 'service_id' that a rule covers. */
static __always_inline void
rule_prefix(__u8 *prefix, const __u8 *service_id, __u32 prefixlen)
{
#pragma clang loop unroll(full)
    for (int i = 0; i < SAL_SERVICE_ID_LEN / 8; i++) {
        __u64 word;
        __s32 bits = (__s32) prefixlen - i * 64;
        __u64 mask = bits >= 64 ? ~0ULL : bits > 0 ? ~(~0ULL >> bits) : 0;
        __builtin_memcpy(&word, service_id + i * 8, sizeof word);
        word &= bpf_cpu_to_be64(mask);
        __builtin_memcpy(prefix + i * 8, &word, sizeof word);
    }
}

/* Writes into 'key' the key of sal_targets: the part of the service ID that the
 * rule covers, protocol, port. */
GLOBAL int
target_key(struct sal_target_key *key, const struct sal_service_value *service,
           __u32 prefixlen, __u8 proto, __be16 port)
{
    if (!key || !service) {
        return -1;
    }
    __builtin_memset(key, 0, sizeof *key);
    rule_prefix(key->prefix, service->service_id, prefixlen);
    key->prefixlen = prefixlen;
    key->proto = proto;
    key->service_port = port;
    return 0;
}

/* The local target for connections to 'port' of the service, or NULL. */
static __noinline struct sal_target *
target_lookup(struct scratch *scratch, const struct sal_rule *rule,
              const __u8 *service_id, __u8 proto, __be16 port)
{
    if (!scratch || !rule || !service_id) {
        return NULL;
    }
    target_key(&scratch->target, (const void *) service_id, rule->prefixlen,
               proto, port);
    struct sal_target *target =
        bpf_map_lookup_elem(&sal_targets, &scratch->target);
    if (target) {
        __sync_fetch_and_add(&target->hits, 1);
    }
    return target;
}

/* True if packets can leave over IPv6, or IPv4. */
static __always_inline int
can_leave(const struct sal_settings *settings, const int v6)
{
    return v6 ? settings->uplink_ifindex_v6
                && !addr_is_zero(&settings->locator_v6)
              : settings->uplink_ifindex
                && !addr_is_zero(&settings->locator_v4);
}

/* Chooses the hop of 'hops' that 'random' stands for, or another one if that
 * cannot be reached over its IP version.  Stores it in scratch->next; its IP
 * version, 0 for IPv4, 1 for IPv6, or -1 if there is none. */
GLOBAL int
choose_hop(const struct sal_settings *settings, struct scratch *scratch,
           const struct sal_hops *hops, __u32 random)
{
    if (!settings || !scratch || !hops) {
        return -1;
    }
    __u32 n = hops->n;
    if (!n || n > SAL_MAX_HOPS) {
        return -1;
    }
    int can_v4 = can_leave(settings, 0), can_v6 = can_leave(settings, 1);
    __u32 total = hops->hops[(n - 1) & (SAL_MAX_HOPS - 1)].upto;
    __u32 pick = (__u64) random * total >> 32;
    int version = -1;
    for (__u32 i = 0; i < SAL_MAX_HOPS; i++) {
        if (i >= n) {
            break;
        }
        int v6 = addr_is_v6(&hops->hops[i].locator);
        if (v6 ? !can_v6 : !can_v4) {
            continue;
        }
        version = v6;
        scratch->next = hops->hops[i].locator;
        if (hops->hops[i].upto > pick) {
            break;
        }
    }
    return version;
}

/* As choose_hop(), the resolver. */
static __always_inline int
choose_resolver(const struct sal_settings *settings, struct scratch *scratch)
{
    int v4 = can_leave(settings, 0) && !addr_is_zero(&settings->resolver_v4);
    int v6 = can_leave(settings, 1) && !addr_is_zero(&settings->resolver_v6);
    if (v4 && !(v6 && settings->flags & SAL_SETTINGS_PREFER_V6)) {
        scratch->next = settings->resolver_v4;
        return 0;
    }
    scratch->next = settings->resolver_v6;
    return v6 ? 1 : -1;
}

/* Chooses where a packet for 'service' goes that FORWARD 'rule' is for.  As
 * choose_hop(). */
GLOBAL int
choose_next(const struct sal_settings *settings, const struct sal_rule *rule,
            const struct sal_service_value *service, __u32 random)
{
    struct scratch *scratch = scratch_get();
    if (!settings || !scratch || !rule || !service) {
        return -1;
    }
    if (!(rule->flags & SAL_RULE_HOPS)) {
        return choose_resolver(settings, scratch);
    }
    struct sal_rule_key *key = &scratch->hops_key;
    key->prefixlen = rule->prefixlen;
    rule_prefix(key->service_id, service->service_id, rule->prefixlen);
    struct sal_hops *hops = bpf_map_lookup_elem(&sal_hops, key);
    return hops ? choose_hop(settings, scratch, hops, random) : -1;
}

static __always_inline const struct sal_addr *
identity_of(const struct sal_settings *settings, int v6)
{
    return v6 ? &settings->identity_v6 : &settings->identity_v4;
}

/* Stores the address of 'target' for clients of IPv4 or IPv6.  False if it
 * has none. */
static __always_inline int
target_address(const struct sal_settings *settings,
               const struct sal_target *target, int v6,
               struct sal_addr *address)
{
    if (addr_is_zero(&target->address)) {
        *address = *identity_of(settings, v6);
        return !addr_is_zero(address);
    }
    *address = target->address;
    return addr_is_v6(address) == !!v6;
}

#endif /* service.bpf.h */
