/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups in a service table, as the data plane makes them, timed by whoever
 * runs this. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "agents/bpf/sal_maps.h"

char LICENSE[] SEC("license") = "Apache-2.0";

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, 1048576);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sal_rule_key);
    __type(value, struct sal_rule);
} rules SEC(".maps");

__u32 n_rules, n_lookups, n_found;

/* The prefix of rule 'i': what user space put in. */
static __always_inline void
rule_key(__u32 i, struct sal_rule_key *key)
{
    __u64 x = i * 0x9e3779b97f4a7c15ULL;
    __u64 words[4] = {x % 100, x >> 40, x, ~x};
    key->prefixlen = SAL_SERVICE_ID_BITS;
    __builtin_memcpy(key->service_id, words, sizeof words);
}

static long
look_up(__u32 i, void *context)
{
    struct sal_rule_key key;
    rule_key((i * 2654435761u) % n_rules, &key);
    if (bpf_map_lookup_elem(&rules, &key)) {
        n_found++;
    }
    return 0;
}

/* The packet means nothing. */
SEC("tc")
int
run_lookups(struct __sk_buff *skb)
{
    if (n_rules) {
        bpf_loop(n_lookups, look_up, 0, 0);
    }
    return 0;
}
