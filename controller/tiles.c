/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/tiles.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "openvswitch/util.h"
#include "util.h"

/* Places: the 2^bits leaves of the binary tree from left to right.  An aligned
 * run of 2^k places is a subtree, i.e. one tile.  The place of a source port
 * is its low bits reversed, since the root of the tree looks at bit 0. */

#define NOBODY UINT32_MAX

/* A weight on its way to places. */
struct share {
    uint32_t key;
    uint32_t weight;
    uint32_t want; /* Places. */
    uint32_t have;
};

struct block {
    uint32_t owner; /* Index of a share, or NOBODY. */
    uint32_t place;
    uint32_t size;  /* A power of two. */
};

/* Everything of one computation. */
struct field {
    struct share *shares;  /* In order of key. */
    uint32_t n_shares;
    unsigned int bits;
    uint32_t size;         /* 1 << bits. */
    uint32_t *owners;      /* Of each place. */
    struct block *blocks;  /* Scratch; at most 'size'. */
    size_t n_blocks;
};

void
tiling_destroy(struct tiling *tiling)
{
    if (tiling) {
        free(tiling->tiles);
        tiling->tiles = NULL;
        tiling->n = 0;
    }
}

bool
tiling_equal(const struct tiling *a, const struct tiling *b)
{
    if (a->n != b->n) {
        return false;
    }
    for (size_t i = 0; i < a->n; i++) {
        const struct tile *x = &a->tiles[i], *y = &b->tiles[i];
        if (x->value != y->value || x->bits != y->bits || x->key != y->key) {
            return false;
        }
    }
    return true;
}

int
tiling_lookup(const struct tiling *tiling, uint16_t source_port)
{
    for (size_t i = 0; i < tiling->n; i++) {
        const struct tile *tile = &tiling->tiles[i];
        if (!((source_port ^ tile->value) & tile_mask(tile))) {
            return i;
        }
    }
    return -1;
}

/* Quotas. */

struct remainder {
    uint64_t left;
    uint32_t key;
    uint32_t index;
};

static int
compare_remainders(const void *a_, const void *b_)
{
    const struct remainder *a = a_, *b = b_;
    if (a->left != b->left) {
        return a->left > b->left ? -1 : 1;
    }
    return a->key < b->key ? -1 : a->key > b->key;
}

/* Deals 'units' out by largest remainder, at least one to every weight. */
static void
deal_units(const struct tile_weight weights[], size_t n, uint64_t sum,
           uint32_t units, uint32_t quotas[])
{
    struct remainder *remainders = xmalloc(n * sizeof *remainders);
    uint32_t left = units;

    for (size_t i = 0; i < n; i++) {
        uint64_t product = (uint64_t) weights[i].weight * units;
        quotas[i] = product / sum;
        left -= quotas[i];
        remainders[i] = (struct remainder) {product % sum, weights[i].key, i};
    }
    qsort(remainders, n, sizeof *remainders, compare_remainders);
    for (size_t i = 0; left; i++, left--) {
        quotas[remainders[i].index]++;
    }
    free(remainders);

    /* Who came away empty takes one from who has most. */
    size_t most = 0;
    for (size_t i = 0; i < n; i++) {
        if (!quotas[i] && weights[i].weight) {
            for (size_t j = 0; j < n; j++) {
                if (quotas[j] > quotas[most]) {
                    most = j;
                }
            }
            quotas[most]--;
            quotas[i]++;
        }
    }
}

static bool
within_tolerance(const struct tile_weight weights[], size_t n, uint64_t sum,
                 uint32_t units, const uint32_t quotas[],
                 unsigned int tolerance_permille)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t ideal = (uint64_t) weights[i].weight * units;
        uint64_t real = quotas[i] * sum;
        uint64_t error = real > ideal ? real - ideal : ideal - real;
        /* In this order nothing overflows: weights have at most 32 bits, sums
         * of 2^14 of them 46, units 14. */
        if (error > ideal * tolerance_permille / 1000) {
            return false;
        }
    }
    return true;
}

/* False if some weight is out of tolerance however its units are rounded:
 * spares to deal them out. */
static bool
may_be_within_tolerance(const struct tile_weight weights[], size_t n,
                        uint64_t sum, uint32_t units,
                        unsigned int tolerance_permille)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t ideal = (uint64_t) weights[i].weight * units;
        uint64_t below = ideal % sum;
        if (MIN(below, sum - below) > ideal * tolerance_permille / 1000) {
            return false;
        }
    }
    return true;
}

static uint64_t
greatest_common_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

int
tiling_quotas(const struct tile_weight weights[], size_t n,
              unsigned int tolerance_permille, uint32_t ret_quotas[])
{
    uint64_t sum = 0, divisor = 0;
    size_t active = 0;

    for (size_t i = 0; i < n; i++) {
        active += weights[i].weight != 0;
        sum += weights[i].weight;
        divisor = greatest_common_divisor(divisor, weights[i].weight);
    }
    if (active > TILES_MAX) {
        return -E2BIG;
    }
    if (!active) {
        memset(ret_quotas, 0, n * sizeof *ret_quotas);
        return 0;
    }

    uint64_t parts = sum / divisor;
    bool exact = IS_POW2(parts) && parts <= TILES_MAX;
    for (unsigned int bits = log_2_ceil(active);; bits++) {
        if (exact ? parts != 1u << bits
            : bits < TILES_BITS_MAX
              && !may_be_within_tolerance(weights, n, sum, 1u << bits,
                                          tolerance_permille)) {
            continue;
        }
        deal_units(weights, n, sum, 1u << bits, ret_quotas);
        if (exact || bits == TILES_BITS_MAX
            || within_tolerance(weights, n, sum, 1u << bits, ret_quotas,
                                tolerance_permille)) {
            return bits;
        }
    }
}

/* Places. */

static uint32_t
reverse_bits(uint32_t value, unsigned int bits)
{
    uint32_t reversed = 0;
    for (unsigned int i = 0; i < bits; i++) {
        reversed |= (value >> i & 1) << (bits - 1 - i);
    }
    return reversed;
}

/* Cuts places from 'place' to 'end', all of one owner, into the largest aligned
 * blocks. */
static void
field_add_blocks(struct field *field, uint32_t place, uint32_t end,
                 uint32_t owner)
{
    while (place < end) {
        uint32_t size = 1u << log_2_floor(end - place);
        if (place) {
            size = MIN(size, place & -place);
        }
        field->blocks[field->n_blocks++]
            = (struct block) {owner, place, size};
        place += size;
    }
}

/* Lists the largest aligned runs of one owner, from left to right. */
static void
field_find_blocks(struct field *field)
{
    uint32_t start = 0;

    field->n_blocks = 0;
    for (uint32_t place = 1; place < field->size; place++) {
        if (field->owners[place] != field->owners[start]) {
            field_add_blocks(field, start, place, field->owners[start]);
            start = place;
        }
    }
    field_add_blocks(field, start, field->size, field->owners[start]);
}

static void
field_give(struct field *field, uint32_t place, uint32_t size, uint32_t owner)
{
    for (uint32_t i = place; i < place + size; i++) {
        field->owners[i] = owner;
    }
    if (owner != NOBODY) {
        field->shares[owner].have += size;
    }
}

static int
compare_blocks(const void *a_, const void *b_)
{
    const struct block *a = a_, *b = b_;
    if (a->owner != b->owner) {
        return a->owner < b->owner ? -1 : 1;
    }
    if (a->size != b->size) {
        return a->size > b->size ? -1 : 1;
    }
    return a->place < b->place ? -1 : a->place > b->place;
}

/* How a share gives away what it has too much: so many of its blocks as they
 * are, the largest that fit first, and the end of one more. */
struct release {
    size_t n_whole;
    const struct block *cut; /* NULL: none. */
    size_t cost;             /* Tiles that change, if takers fit. */
};

/* A block that changes hands is one tile that changes.  A cut one goes, and
 * both its parts are new tiles. */
static void
consider_release(struct release *best, size_t n_whole,
                 const struct block *cut, uint32_t left)
{
    size_t cost = n_whole;

    if (cut) {
        cost += 1 + count_1bits(cut->size - left) + count_1bits(left);
    } else if (left) {
        return;
    }
    if (cost < best->cost) {
        *best = (struct release) {n_whole, cut, cost};
    }
}

/* The way that changes the fewest tiles, given all blocks of the share,
 * largest first. */
static struct release
find_release(const struct block blocks[], size_t n, uint32_t excess)
{
    struct release best = {.cost = SIZE_MAX};
    const struct block *larger = NULL; /* The smallest that does not fit. */
    uint32_t left = excess;
    size_t n_whole = 0;

    for (size_t i = 0; i < n && left; i++) {
        if (blocks[i].size <= left) {
            left -= blocks[i].size;
            n_whole++;
        } else {
            larger = &blocks[i];
        }
        consider_release(&best, n_whole, left ? larger : NULL, left);
    }
    return best;
}

static void
field_release(struct field *field, struct share *share,
              const struct block blocks[], size_t n)
{
    uint32_t left = share->have - share->want;
    struct release release = find_release(blocks, n, left);

    for (size_t i = 0; release.n_whole; i++) {
        if (blocks[i].size <= left) {
            field_give(field, blocks[i].place, blocks[i].size, NOBODY);
            left -= blocks[i].size;
            release.n_whole--;
        }
    }
    if (left) {
        field_give(field, release.cut->place + release.cut->size - left, left,
                   NOBODY);
    }
    share->have = share->want;
}

static void
field_release_all(struct field *field)
{
    field_find_blocks(field);
    qsort(field->blocks, field->n_blocks, sizeof *field->blocks,
          compare_blocks);
    for (size_t i = 0, end; i < field->n_blocks; i = end) {
        uint32_t owner = field->blocks[i].owner;
        for (end = i + 1; end < field->n_blocks
                          && field->blocks[end].owner == owner; end++) {
            continue;
        }
        if (owner != NOBODY
            && field->shares[owner].have > field->shares[owner].want) {
            field_release(field, &field->shares[owner], &field->blocks[i],
                          end - i);
        }
    }
}

/* Free blocks by size, as in a buddy allocator. */
struct free_list {
    uint32_t *places;
    size_t n, allocated;
};

static void
free_list_push(struct free_list *list, uint32_t place)
{
    if (list->n >= list->allocated) {
        list->places = x2nrealloc(list->places, &list->allocated,
                                  sizeof *list->places);
    }
    list->places[list->n++] = place;
}

/* Takes a block of 2^order places, splitting the smallest that is larger.
 * False if all that is free is smaller. */
static bool
take_free(struct free_list lists[], unsigned int bits, unsigned int order,
          uint32_t *ret_place)
{
    unsigned int from = order;
    while (from <= bits && !lists[from].n) {
        from++;
    }
    if (from > bits) {
        return false;
    }
    uint32_t place = lists[from].places[--lists[from].n];
    while (from > order) {
        from--;
        free_list_push(&lists[from], place + (1u << from));
    }
    *ret_place = place;
    return true;
}

/* Fills every share up from what is free, large pieces first, so that they
 * still find a whole block. */
static void
field_fill(struct field *field)
{
    struct free_list lists[TILES_BITS_MAX + 1];
    memset(lists, 0, sizeof lists);

    field_find_blocks(field);
    /* Pushed from right to left, so that the leftmost is taken first. */
    for (size_t i = field->n_blocks; i-- > 0;) {
        const struct block *block = &field->blocks[i];
        if (block->owner == NOBODY) {
            free_list_push(&lists[log_2_floor(block->size)], block->place);
        }
    }
    for (int order = field->bits; order >= 0; order--) {
        for (uint32_t i = 0; i < field->n_shares; i++) {
            const struct share *share = &field->shares[i];
            uint32_t place;
            while (share->want - share->have >= 1u << order
                   && take_free(lists, field->bits, order, &place)) {
                field_give(field, place, 1u << order, i);
            }
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        free(lists[i].places);
    }
}

static int
compare_shares(const void *a_, const void *b_)
{
    const struct share *a = a_, *b = b_;
    return a->key < b->key ? -1 : a->key > b->key;
}

static uint32_t
field_find_share(const struct field *field, uint32_t key)
{
    uint32_t low = 0, high = field->n_shares;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (field->shares[middle].key < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < field->n_shares && field->shares[low].key == key ? low
                                                                  : NOBODY;
}

static void
field_clear(struct field *field)
{
    for (uint32_t i = 0; i < field->size; i++) {
        field->owners[i] = NOBODY;
    }
    for (uint32_t i = 0; i < field->n_shares; i++) {
        field->shares[i].have = 0;
    }
}

/* Puts the previous owners back onto their places. */
static void
field_restore(struct field *field, const struct tiling *previous)
{
    for (size_t i = 0; i < previous->n; i++) {
        const struct tile *tile = &previous->tiles[i];
        uint32_t size = 1u << (field->bits - tile->bits);
        uint32_t place = reverse_bits(tile->value, tile->bits) * size;
        uint32_t owner = field_find_share(field, tile->key);
        for (uint32_t j = place; j < place + size; j++) {
            field->owners[j] = owner;
        }
    }
    for (uint32_t i = 0; i < field->size; i++) {
        if (field->owners[i] != NOBODY) {
            field->shares[field->owners[i]].have++;
        }
    }
}

static bool
field_fits(const struct field *field)
{
    for (uint32_t i = 0; i < field->n_shares; i++) {
        if (field->shares[i].have != field->shares[i].want) {
            return false;
        }
    }
    return true;
}

/* The fewest tiles that the shares could have. */
static size_t
field_least_tiles(const struct field *field)
{
    size_t n = 0;
    for (uint32_t i = 0; i < field->n_shares; i++) {
        n += count_1bits(field->shares[i].want);
    }
    return n;
}

/* Leaves the result in 'blocks'. */
static void
field_solve(struct field *field, const struct tiling *previous)
{
    field_clear(field);
    if (previous) {
        field_restore(field, previous);
        if (!field_fits(field)) {
            field_release_all(field);
            field_fill(field);
            field_find_blocks(field);
            if (field->n_blocks <= 2 * field_least_tiles(field)) {
                return;
            }
            field_clear(field);
            field_fill(field);
        }
    } else {
        field_fill(field);
    }
    field_find_blocks(field);
}

static void
field_get_tiling(const struct field *field, struct tiling *tiling)
{
    tiling->n = field->n_blocks;
    tiling->tiles = xmalloc(field->n_blocks * sizeof *tiling->tiles);
    for (size_t i = 0; i < field->n_blocks; i++) {
        const struct block *block = &field->blocks[i];
        unsigned int bits = field->bits - log_2_floor(block->size);
        tiling->tiles[i] = (struct tile) {
            .value = reverse_bits(block->place / block->size, bits),
            .bits = bits,
            .key = field->shares[block->owner].key,
        };
    }
}

int
tiling_compute(const struct tile_weight weights[], size_t n,
               unsigned int tolerance_permille, const struct tiling *previous,
               struct tiling *ret_tiling)
{
    uint32_t *quotas = xmalloc((n + 1) * sizeof *quotas);
    int bits = tiling_quotas(weights, n, tolerance_permille, quotas);
    struct field field = {.bits = MAX(bits, 0)};

    field.shares = xmalloc((n + 1) * sizeof *field.shares);
    for (size_t i = 0; bits >= 0 && i < n; i++) {
        if (quotas[i]) {
            field.shares[field.n_shares++] = (struct share) {
                weights[i].key, weights[i].weight, quotas[i], 0};
        }
    }
    free(quotas);
    if (!field.n_shares) {
        free(field.shares);
        if (bits >= 0) {
            *ret_tiling = (struct tiling) TILING_INITIALIZER;
        }
        return MIN(bits, 0);
    }
    qsort(field.shares, field.n_shares, sizeof *field.shares, compare_shares);

    /* The tree must be as deep as the deepest tile of before. */
    for (size_t i = 0; previous && i < previous->n; i++) {
        field.bits = MAX(field.bits, MIN(previous->tiles[i].bits,
                                         TILES_BITS_MAX));
    }
    for (uint32_t i = 0; i < field.n_shares; i++) {
        field.shares[i].want <<= field.bits - bits;
    }
    field.size = 1u << field.bits;
    field.owners = xmalloc(field.size * sizeof *field.owners);
    field.blocks = xmalloc(field.size * sizeof *field.blocks);
    field_solve(&field, previous);
    field_get_tiling(&field, ret_tiling);
    free(field.shares);
    free(field.owners);
    free(field.blocks);
    return 0;
}
