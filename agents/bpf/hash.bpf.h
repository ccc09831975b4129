/* SPDX-License-Identifier: Apache-2.0 */
/* Flow IDs and nonces: SipHash-2-4 (Aumasson and Bernstein, 2012) under a key
 * of the daemon's, over an input that never repeats on this host (time, CPU,
 * per-CPU sequence), so the output is unpredictable without the key. */
#ifndef SALIENT_HASH_BPF_H
#define SALIENT_HASH_BPF_H 1

#include "agents/bpf/maps.bpf.h"

static __always_inline __u64
rotate_left(__u64 x, int n)
{
    return x << n | x >> (64 - n);
}

static __always_inline void
sip_round(__u64 v[4])
{
    v[0] += v[1];
    v[1] = rotate_left(v[1], 13) ^ v[0];
    v[0] = rotate_left(v[0], 32);
    v[2] += v[3];
    v[3] = rotate_left(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate_left(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate_left(v[1], 17) ^ v[2];
    v[2] = rotate_left(v[2], 32);
}

/* SipHash-2-4 of two 64-bit words. */
static __always_inline __u64
sip_hash(const sal_u64 key[2], __u64 a, __u64 b)
{
    __u64 v[4] = {key[0] ^ 0x736f6d6570736575ULL,
                  key[1] ^ 0x646f72616e646f6dULL,
                  key[0] ^ 0x6c7967656e657261ULL,
                  key[1] ^ 0x7465646279746573ULL};
    const __u64 words[3] = {a, b, 16ULL << 56};
#pragma clang loop unroll(full)
    for (int i = 0; i < 3; i++) {
        v[3] ^= words[i];
        sip_round(v);
        sip_round(v);
        v[0] ^= words[i];
    }
    v[2] ^= 0xff;
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) {
        sip_round(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* 64 unpredictable bits. */
GLOBAL __u64
keyed_random(const struct sal_settings *settings, struct scratch *scratch)
{
    if (!settings || !scratch) {
        return 0;
    }
    __u64 sequence = scratch->sequence++;
    return sip_hash(settings->hash_key, bpf_ktime_get_ns(),
                    sequence << 16 | (bpf_get_smp_processor_id() & 0xffff));
}

#endif /* hash.bpf.h */
