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

/* Writes into 'key' the key of sal_targets: the part of 'service_id' that the
 * rule covers, protocol, port. */
static __always_inline void
target_key(struct sal_target_key *key, const __u8 *service_id, __u32 prefixlen,
           __u8 proto, __be16 port)
{
    __builtin_memset(key, 0, sizeof *key);
#pragma clang loop unroll(full)
    for (int i = 0; i < SAL_SERVICE_ID_LEN / 8; i++) {
        __u64 word;
        __s32 bits = (__s32) prefixlen - i * 64;
        __u64 mask = bits >= 64 ? ~0ULL : bits > 0 ? ~(~0ULL >> bits) : 0;
        __builtin_memcpy(&word, service_id + i * 8, sizeof word);
        word &= bpf_cpu_to_be64(mask);
        __builtin_memcpy(key->prefix + i * 8, &word, sizeof word);
    }
    key->prefixlen = prefixlen;
    key->proto = proto;
    key->service_port = port;
}

/* The local target for connections to 'port' of the service, or NULL. */
static __noinline struct sal_target *
target_lookup(struct scratch *scratch, const struct sal_rule *rule,
              const __u8 *service_id, __u8 proto, __be16 port)
{
    if (!scratch || !rule || !service_id) {
        return NULL;
    }
    target_key(&scratch->target, service_id, rule->prefixlen, proto, port);
    struct sal_target *target =
        bpf_map_lookup_elem(&sal_targets, &scratch->target);
    if (target) {
        __sync_fetch_and_add(&target->hits, 1);
    }
    return target;
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
