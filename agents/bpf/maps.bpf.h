/* SPDX-License-Identifier: Apache-2.0 */
/* The maps.  User space sets the sizes of the flow tables before loading. */
#ifndef SALIENT_MAPS_BPF_H
#define SALIENT_MAPS_BPF_H 1

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "agents/bpf/types.bpf.h"

/* Do without what Linux 6.3 added to bpf_skb_adjust_room() (for tests). */
const volatile __u8 no_decap_flags = 0;

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct sal_settings);
} sal_settings SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SAL_UPLINK_SLOTS);
    __type(key, __u32);
    __type(value, struct sal_uplink);
} sal_uplinks SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 256);
    __type(key, struct sal_addr);
    __type(value, __u32);
} sal_locators SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 4096);
    __type(key, struct sal_addr);
    __type(value, struct sal_path);
} sal_paths SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, struct sal_peer_key);
    __type(value, struct sal_peer);
} sal_peers SEC(".maps");

/* What admit.bpf.h knows of SYNs: what senders that we know have spent, by
 * locator; what all others have; nonces of those that were not looked at. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 4096);
    __type(key, struct sal_addr);
    __type(value, __u64);
} sal_syn_sources SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, __u64);
} sal_syn_budgets SEC(".maps");

#define SYN_NONCES 262144 /* A power of 2. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SYN_NONCES);
    __type(key, __u32);
    __type(value, __u64);
} sal_syn_nonces SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 131072);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sal_addr);
    __type(value, struct sal_service_value);
} sal_addresses SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, 1048576);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sal_rule_key);
    __type(value, struct sal_rule);
} sal_rules SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 65536);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sal_rule_key);
    __type(value, struct sal_hops);
} sal_hops SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 65536);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sal_target_key);
    __type(value, struct sal_target);
} sal_targets SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 65536);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, __u32);
    __type(value, struct sal_flow);
} sal_flows SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 65536);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sal_tuple);
    __type(value, __u32);
} sal_tuples SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, __u32);
    __type(value, struct sal_flow);
} sal_half_flows SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, struct sal_tuple);
    __type(value, __u32);
} sal_half_tuples SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 4096);
    __type(key, struct sal_fragment_key);
    __type(value, struct sal_fragment);
} sal_fragments SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct sal_sweep);
} sal_sweeps SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 131072);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sal_limit_key);
    __type(value, __u32);
} sal_limits SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, SAL_N_COUNTERS);
    __type(key, __u32);
    __type(value, __u64);
} sal_counters SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 512 * 1024);
} sal_events SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 1024 * 1024);
} sal_held SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct sal_notify);
} sal_notify SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct sal_move);
} sal_moves SEC(".maps");

/* A function that the verifier checks once and by itself, where it checks a
 * static one anew for each call and what it knows there.  Its arguments are
 * the context, numbers, and pointers to whole objects, which may be keys and
 * values of maps only since Linux 6.2. */
#define GLOBAL __noinline

/* Room that the 512 bytes of stack do not have.  Not pinned. */
struct scratch {
    struct sal_flow flow;
    struct sal_target_key target;
    struct sal_rule_key hops_key;
    __u8 service_id[SAL_SERVICE_ID_LEN]; /* Of the packet in hand. */
    struct sal_addr next; /* Where a packet to be resolved goes. */
    struct control control;
    struct egress packet; /* For egress_first(). */
    struct fragment fragment;
    struct sal_fragment_key fragment_key;
    __u64 sequence;   /* Makes each input of the hash unique. */
    __u8 header[1024]; /* A whole SAL header. */
    __u8 chunk[512];
    struct sal_held held;
    __u8 held_frame[SAL_HELD_MAX]; /* Follows 'held'. */
};
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct scratch);
} sal_scratch SEC(".maps");

static __always_inline void
count_many(enum sal_counter counter, __u64 n)
{
    __u32 key = counter;
    __u64 *value = bpf_map_lookup_elem(&sal_counters, &key);
    if (value) {
        *value += n;
    }
}

static __always_inline void
count(enum sal_counter counter)
{
    count_many(counter, 1);
}

/* As count(), but exact: what runs in a process may be interrupted by what
 * runs for a packet. */
static __always_inline void
count_exactly(enum sal_counter counter)
{
    __u32 key = counter;
    __u64 *value = bpf_map_lookup_elem(&sal_counters, &key);
    if (value) {
        __sync_fetch_and_add(value, 1);
    }
}

static __always_inline struct sal_settings *
settings_get(void)
{
    __u32 key = 0;
    return bpf_map_lookup_elem(&sal_settings, &key);
}

static __always_inline struct scratch *
scratch_get(void)
{
    __u32 key = 0;
    return bpf_map_lookup_elem(&sal_scratch, &key);
}

#endif /* maps.bpf.h */
