/* SPDX-License-Identifier: Apache-2.0 */
/* Lets the eBPF programs run as ordinary code, under sanitizers: stands in for
 * <bpf/bpf_helpers.h>, with maps and helpers that do what the kernel's do as
 * far as the programs can tell.
 *
 * The packet lies in the low 2 GiB, because a context's pointers have 32 bits;
 * what is outside its linear part is poisoned, so that address sanitizer sees
 * a read past it.  Each map entry is an allocation of its own.  What was
 * deleted lives until shim_run_end(), as RCU has it.
 *
 * To be included once, before the programs. */
#ifndef SALIENT_BPF_SHIM_H
#define SALIENT_BPF_SHIM_H 1

#define __BPF_HELPERS__ /* Not libbpf's. */

#include <errno.h>
#include <linux/bpf.h>
#include <sanitizer/asan_interface.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SEC(NAME)
#define __uint(NAME, VALUE) int(*NAME)[VALUE]
#define __type(NAME, VALUE) typeof(VALUE) *NAME
#undef __always_inline
#define __always_inline inline __attribute__((always_inline, unused))
#define __noinline __attribute__((noinline, unused))

/* Maps. */

enum { SHIM_MAX_MAPS = 32 };

struct shim_entry {
    struct shim_entry *next; /* Newest first. */
    void *key, *value;
};

struct shim_map {
    const void *id; /* The program's variable. */
    unsigned int type, key_size, value_size, max_entries, n;
    struct shim_entry *entries; /* Of hashes and tries. */
    void **slots;               /* Of arrays. */
};

static struct shim_map shim_maps[SHIM_MAX_MAPS];
static unsigned int shim_n_maps;
static struct shim_entry *shim_deleted;

static struct shim_map *
shim_map(struct shim_map map)
{
    for (unsigned int i = 0; i < shim_n_maps; i++) {
        if (shim_maps[i].id == map.id) {
            return &shim_maps[i];
        }
    }
    if (shim_n_maps == SHIM_MAX_MAPS) {
        abort();
    }
    shim_maps[shim_n_maps] = map;
    return &shim_maps[shim_n_maps++];
}

#define SHIM_MAP(M)                                                           \
    shim_map((struct shim_map) {                                              \
        .id = (M),                                                            \
        .type = sizeof *(M)->type / sizeof(int),                              \
        .key_size = sizeof *(M)->key,                                         \
        .value_size = sizeof *(M)->value,                                     \
        .max_entries = sizeof *(M)->max_entries / sizeof(int)})

static bool
shim_is_array(const struct shim_map *map)
{
    return map->type == BPF_MAP_TYPE_ARRAY
           || map->type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static void *
shim_copy(const void *data, size_t size)
{
    void *copy = malloc(size);
    memcpy(copy, data, size);
    return copy;
}

static bool
shim_prefix_matches(const uint8_t *rule, const uint8_t *key)
{
    uint32_t bits;
    memcpy(&bits, rule, sizeof bits);
    rule += sizeof bits;
    key += sizeof bits;
    for (; bits >= 8; bits -= 8) {
        if (*rule++ != *key++) {
            return false;
        }
    }
    return !bits || !((*rule ^ *key) >> (8 - bits));
}

/* The entry that a look-up finds: exact, or the longest prefix. */
static struct shim_entry *
shim_find(const struct shim_map *map, const void *key, bool exact)
{
    struct shim_entry *best = NULL;
    uint32_t longest = 0;

    for (struct shim_entry *e = map->entries; e; e = e->next) {
        if (map->type != BPF_MAP_TYPE_LPM_TRIE || exact) {
            if (!memcmp(e->key, key, map->key_size)) {
                return e;
            }
        } else if (shim_prefix_matches(e->key, key)) {
            uint32_t bits;
            memcpy(&bits, e->key, sizeof bits);
            if (!best || bits > longest) {
                best = e;
                longest = bits;
            }
        }
    }
    return best;
}

static void
shim_unlink(struct shim_map *map, struct shim_entry *entry)
{
    struct shim_entry **p = &map->entries;
    while (*p != entry) {
        p = &(*p)->next;
    }
    *p = entry->next;
    entry->next = shim_deleted;
    shim_deleted = entry;
    map->n--;
}

static void
shim_insert(struct shim_map *map, const void *key, const void *value)
{
    struct shim_entry *entry = malloc(sizeof *entry);
    entry->key = shim_copy(key, map->key_size);
    entry->value = shim_copy(value, map->value_size);
    entry->next = map->entries;
    map->entries = entry;
    map->n++;
}

static void *
shim_array_lookup(struct shim_map *map, const void *key)
{
    uint32_t index;
    memcpy(&index, key, sizeof index);
    if (index >= map->max_entries) {
        return NULL;
    }
    if (!map->slots) {
        map->slots = calloc(map->max_entries, sizeof *map->slots);
    }
    if (!map->slots[index]) {
        map->slots[index] = calloc(1, map->value_size);
    }
    return map->slots[index];
}

static void *
shim_lookup(struct shim_map *map, const void *key)
{
    if (shim_is_array(map)) {
        return shim_array_lookup(map, key);
    }
    struct shim_entry *entry = shim_find(map, key, false);
    return entry ? entry->value : NULL;
}

static long
shim_update(struct shim_map *map, const void *key, const void *value,
            uint64_t flags)
{
    if (shim_is_array(map)) {
        void *old = shim_array_lookup(map, key);
        if (!old) {
            return -E2BIG;
        }
        memcpy(old, value, map->value_size);
        return 0;
    }
    struct shim_entry *entry = shim_find(map, key, true);
    if (entry ? flags == BPF_NOEXIST : flags == BPF_EXIST) {
        return entry ? -EEXIST : -ENOENT;
    }
    if (entry) {
        shim_unlink(map, entry); /* A hash replaces the element. */
    } else if (map->n >= map->max_entries) {
        if (map->type != BPF_MAP_TYPE_LRU_HASH) {
            return -E2BIG;
        }
        struct shim_entry *oldest = map->entries;
        while (oldest->next) {
            oldest = oldest->next;
        }
        shim_unlink(map, oldest);
    }
    shim_insert(map, key, value);
    return 0;
}

static long
shim_delete(struct shim_map *map, const void *key)
{
    struct shim_entry *entry
        = shim_is_array(map) ? NULL : shim_find(map, key, true);
    if (!entry) {
        return -ENOENT;
    }
    shim_unlink(map, entry);
    return 0;
}

static void
shim_free_deleted(void)
{
    while (shim_deleted) {
        struct shim_entry *entry = shim_deleted;
        shim_deleted = entry->next;
        free(entry->key);
        free(entry->value);
        free(entry);
    }
}

static void
shim_clear_maps(void)
{
    for (unsigned int i = 0; i < shim_n_maps; i++) {
        while (shim_maps[i].entries) {
            shim_unlink(&shim_maps[i], shim_maps[i].entries);
        }
        for (unsigned int j = 0;
             shim_maps[i].slots && j < shim_maps[i].max_entries; j++) {
            if (shim_maps[i].slots[j]) {
                memset(shim_maps[i].slots[j], 0, shim_maps[i].value_size);
            }
        }
    }
    shim_free_deleted();
}

#define bpf_map_lookup_elem(M, KEY) shim_lookup(SHIM_MAP(M), KEY)
#define bpf_map_update_elem(M, KEY, VALUE, FLAGS)                             \
    shim_update(SHIM_MAP(M), KEY, VALUE, FLAGS)
#define bpf_map_delete_elem(M, KEY) shim_delete(SHIM_MAP(M), KEY)

/* The packet. */

enum { SHIM_AREA = 32 * 1024, SHIM_HEADROOM = 1024 };

static struct shim_packet {
    uint8_t *area;      /* SHIM_AREA bytes. */
    uint32_t start;     /* Of the Ethernet header, in 'area'. */
    uint32_t len;
    uint32_t linear;    /* So much of it may be accessed directly. */
    uint32_t meta;      /* Bytes of metadata before it. */
    struct __sk_buff *skb; /* Whose pointers follow the packet; or */
    struct xdp_md *xdp;
} shim;

__attribute__((no_sanitize("address"))) static void
shim_move(uint8_t *to, const uint8_t *from, size_t n)
{
    if (to < from) {
        for (size_t i = 0; i < n; i++) {
            ((volatile uint8_t *) to)[i] = from[i];
        }
    } else {
        while (n--) {
            ((volatile uint8_t *) to)[n] = from[n];
        }
    }
}

/* Makes context and poison agree with the packet. */
static void
shim_settle(void)
{
    uint8_t *data = shim.area + shim.start;
    __asan_poison_memory_region(shim.area, SHIM_AREA);
    __asan_unpoison_memory_region(data - shim.meta, shim.meta + shim.linear);
    if (shim.skb) {
        shim.skb->data_meta = (uintptr_t) (data - shim.meta);
        shim.skb->data = (uintptr_t) data;
        shim.skb->data_end = (uintptr_t) (data + shim.linear);
        shim.skb->len = shim.len;
    }
    if (shim.xdp) {
        shim.xdp->data_meta = (uintptr_t) (data - shim.meta);
        shim.xdp->data = (uintptr_t) data;
        shim.xdp->data_end = (uintptr_t) (data + shim.linear);
    }
}

static void
shim_packet_put(const uint8_t *data, size_t len, size_t linear)
{
    if (!shim.area) {
        shim.area = mmap(NULL, SHIM_AREA, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
        if (shim.area == MAP_FAILED) {
            abort();
        }
    }
    shim.start = SHIM_HEADROOM;
    shim.len = len;
    shim.linear = linear < len ? linear : len;
    shim.meta = 0;
    shim_move(shim.area + shim.start, data, len);
    shim_settle();
}

static long
bpf_skb_load_bytes(const void *skb, uint32_t ofs, void *to, uint32_t n)
{
    if (ofs > 0xffff || (uint64_t) ofs + n > shim.len) {
        memset(to, 0, n);
        return -EFAULT;
    }
    memset(to, 0, n); /* Is the destination as long as it is said to be? */
    shim_move(to, shim.area + shim.start + ofs, n);
    return 0;
}

/* As the kernel's skb_try_make_writable(): pointers are to be loaded anew. */
static long
shim_pull(uint32_t n)
{
    if (n > shim.len) {
        return -ENOMEM;
    }
    if (n > shim.linear) {
        shim.linear = n;
    }
    shim_settle();
    return 0;
}

static long
bpf_skb_store_bytes(struct __sk_buff *skb, uint32_t ofs, const void *from,
                    uint32_t n, uint64_t flags)
{
    if (ofs > 0xffff || (uint64_t) ofs + n > shim.len || shim_pull(ofs + n)) {
        return -EFAULT;
    }
    memcpy(shim.area + shim.start + ofs, from, n);
    return 0;
}

static long
bpf_skb_pull_data(struct __sk_buff *skb, uint32_t n)
{
    return shim_pull(n ? n : shim.len);
}

static bool
shim_is_ip(const struct __sk_buff *skb)
{
    return skb->protocol == __builtin_bswap16(0x0800)
           || skb->protocol == __builtin_bswap16(0x86dd);
}

/* BPF_F_ADJ_ROOM_DECAP_L3_*, which Linux 6.1's headers do not know. */
enum { SHIM_DECAP_L3_IPV4 = 1 << 7, SHIM_DECAP_L3_IPV6 = 1 << 8 };

/* Room behind the Ethernet header, or away with it. */
static long
bpf_skb_adjust_room(struct __sk_buff *skb, int32_t diff, uint32_t mode,
                    uint64_t flags)
{
    enum { MAC = 14 };
    uint8_t *data = shim.area + shim.start;
    uint32_t n = diff < 0 ? -diff : diff;
    uint32_t least = skb->protocol == __builtin_bswap16(0x86dd) ? 40 : 20;

    if (mode != BPF_ADJ_ROOM_MAC || n > 0xfff || !shim_is_ip(skb)) {
        return -ENOTSUP;
    }
    if (diff < 0) {
        if (shim.len < MAC + n + least || shim_pull(MAC + n)) {
            return -ENOTSUP;
        }
        shim_move(data + n, data, MAC);
        shim.start += n;
        shim.len -= n;
        shim.linear -= n;
        if (flags & SHIM_DECAP_L3_IPV4) {
            skb->protocol = __builtin_bswap16(0x0800);
        } else if (flags & SHIM_DECAP_L3_IPV6) {
            skb->protocol = __builtin_bswap16(0x86dd);
        }
    } else {
        if (n > shim.start || shim_pull(MAC)) {
            return -ENOMEM;
        }
        shim_move(data - n, data, MAC);
        shim.start -= n;
        shim.len += n;
        shim.linear += n;
        shim_settle();
        memset(data - n + MAC, 0, n);
        if (flags & BPF_F_ADJ_ROOM_ENCAP_L3_IPV4) {
            skb->protocol = __builtin_bswap16(0x0800);
        } else if (flags & BPF_F_ADJ_ROOM_ENCAP_L3_IPV6) {
            skb->protocol = __builtin_bswap16(0x86dd);
        }
    }
    shim.meta = 0;
    shim_settle();
    return 0;
}

static long
bpf_skb_change_tail(struct __sk_buff *skb, uint32_t len, uint64_t flags)
{
    if (len < 14 || len > 0xffff) {
        return -EINVAL;
    }
    if (len > shim.len) {
        shim_pull(shim.len);
        shim.linear = shim.len = len;
        shim_settle();
    } else {
        shim.len = len;
        shim.linear = shim.linear < len ? shim.linear : len;
        shim_settle();
    }
    return 0;
}

static long
bpf_skb_change_proto(struct __sk_buff *skb, uint16_t protocol, uint64_t flags)
{
    int32_t diff = (int) (protocol == __builtin_bswap16(0x86dd) ? 40 : 20)
                   - (int) (skb->protocol == __builtin_bswap16(0x86dd) ? 40
                                                                       : 20);
    long error = diff ? bpf_skb_adjust_room(skb, diff, BPF_ADJ_ROOM_MAC, 0)
                      : 0;
    if (!error) {
        skb->protocol = protocol;
    }
    return error;
}

static uint16_t
shim_fold(uint64_t sum)
{
    while (sum >> 16) {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    return sum;
}

static int64_t
bpf_csum_diff(const uint32_t *from, uint32_t from_size, const uint32_t *to,
              uint32_t to_size, uint32_t seed)
{
    uint64_t sum = seed;
    if ((from_size | to_size) & 3 || from_size + to_size > 512) {
        return -EINVAL;
    }
    for (uint32_t i = 0; i < from_size / 4; i++) {
        sum += (uint32_t) ~from[i];
    }
    for (uint32_t i = 0; i < to_size / 4; i++) {
        sum += to[i];
    }
    sum = (sum >> 32) + (sum & 0xffffffff);
    return (uint32_t) ((sum >> 32) + sum);
}

static long
bpf_l4_csum_replace(struct __sk_buff *skb, uint32_t ofs, uint64_t from,
                    uint64_t to, uint64_t flags)
{
    uint16_t check;
    uint32_t size = flags & BPF_F_HDR_FIELD_MASK;
    if (ofs & 1 || ofs > 0xffff || shim_pull(ofs + sizeof check)) {
        return -EFAULT;
    }
    if ((size != 0 && size != 2 && size != 4) || (!size && from)) {
        return -EINVAL;
    }
    uint8_t *p = shim.area + shim.start + ofs;
    memcpy(&check, p, sizeof check);
    if (flags & BPF_F_MARK_MANGLED_0 && !check) {
        return 0;
    }
    uint64_t gone = size == 2 ? (uint16_t) ~from : size ? (uint32_t) ~from : 0;
    check = ~shim_fold((uint64_t) (uint16_t) ~check + gone + (uint32_t) to);
    if (flags & BPF_F_MARK_MANGLED_0 && !check) {
        check = 0xffff;
    }
    memcpy(p, &check, sizeof check);
    return 0;
}

/* No device summed up the whole packet. */
static int64_t
bpf_csum_update(struct __sk_buff *skb, uint32_t sum)
{
    return -ENOTSUP;
}

static long
bpf_xdp_adjust_meta(struct xdp_md *ctx, int diff)
{
    if (diff & 3 || shim.meta - diff > 32) {
        return -EINVAL;
    }
    shim.meta -= diff;
    shim_settle();
    return 0;
}

/* Metadata goes with the start of the packet. */
static long
bpf_xdp_adjust_head(struct xdp_md *ctx, int diff)
{
    int64_t start = (int64_t) shim.start + diff;
    if (start < (int64_t) shim.meta + 256
        || diff + 14 > (int) shim.len) {
        return -EINVAL;
    }
    shim_move(shim.area + start - shim.meta, shim.area + shim.start
              - shim.meta, shim.meta);
    shim.start = start;
    shim.len -= diff;
    shim.linear -= diff;
    shim_settle();
    return 0;
}

/* The rest: what they would do is not seen by the programs. */

static uint64_t shim_now_ns;
static uint32_t shim_redirected_to;

static uint64_t
bpf_ktime_get_ns(void)
{
    return ++shim_now_ns;
}

static uint64_t
bpf_ktime_get_coarse_ns(void)
{
    return shim_now_ns;
}

static uint64_t
bpf_ktime_get_boot_ns(void)
{
    return ++shim_now_ns;
}

static uint32_t
bpf_get_smp_processor_id(void)
{
    return 0;
}

static uint32_t
bpf_get_prandom_u32(void)
{
    return shim_now_ns * 2654435761u;
}

static long
bpf_redirect(uint32_t ifindex, uint64_t flags)
{
    shim_redirected_to = ifindex;
    return 7; /* TC_ACT_REDIRECT. */
}

static long
bpf_redirect_neigh(uint32_t ifindex, void *params, int len, uint64_t flags)
{
    shim_redirected_to = ifindex;
    return 7;
}

static long
bpf_clone_redirect(struct __sk_buff *skb, uint32_t ifindex, uint64_t flags)
{
    return 0;
}

static uint64_t
bpf_get_netns_cookie(void *ctx)
{
    return 1;
}

static long
bpf_sock_ops_cb_flags_set(struct bpf_sock_ops *ops, int flags)
{
    return 0;
}

static long
shim_ringbuf_output(const void *data, uint64_t size)
{
    free(shim_copy(data, size)); /* All of it can be read. */
    return 0;
}
#define bpf_ringbuf_output(M, DATA, SIZE, FLAGS)                              \
    ((void) (M), (void) (FLAGS), shim_ringbuf_output(DATA, SIZE))

#define bpf_loop(N, FUNCTION, CONTEXT, FLAGS)                                 \
    ({                                                                        \
        uint32_t i_ = 0;                                                      \
        while (i_ < (N) && !(FUNCTION)(i_, CONTEXT)) {                        \
            i_++;                                                             \
        }                                                                     \
        i_;                                                                   \
    })

/* What the programs do not use (yet) is no mistake. */
static void *const shim_unused[] __attribute__((unused)) = {
    bpf_skb_change_tail,  bpf_skb_change_proto, bpf_ktime_get_boot_ns,
    bpf_get_prandom_u32,  bpf_clone_redirect,
};

#endif /* bpf_shim.h */
