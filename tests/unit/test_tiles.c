/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include "controller/tiles.h"

/* Share of 'key' in units of 2^-TILES_BITS_MAX. */
static uint32_t
share(const struct tiling *tiling, uint32_t key)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < tiling->n; i++) {
        if (tiling->tiles[i].key == key) {
            sum += TILES_MAX >> tiling->tiles[i].bits;
        }
    }
    return sum;
}

/* Oracle: asks every port.  Each belongs to exactly one tile. */
static void
check_partition(const struct tiling *tiling, uint32_t owners[TILES_MAX])
{
    unsigned int wrong = 0;
    memset(owners, 0xff, TILES_MAX * sizeof *owners);
    for (size_t i = 0; i < tiling->n; i++) {
        const struct tile *tile = &tiling->tiles[i];
        wrong += tile->bits > TILES_BITS_MAX;
        wrong += tile->value & ~tile_mask(tile) ? 1 : 0;
        for (uint32_t port = tile->value; port < TILES_MAX;
             port += 1u << tile->bits) {
            wrong += owners[port] != UINT32_MAX;
            owners[port] = tile->key;
        }
    }
    for (uint32_t port = 0; tiling->n && port < TILES_MAX; port++) {
        wrong += owners[port] == UINT32_MAX;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void
test_exact(void)
{
    struct tile_weight weights[] = {{11, 1}, {22, 1}, {33, 2}};
    struct tiling tiling;
    uint32_t owners[TILES_MAX];

    CU_ASSERT_EQUAL(tiling_compute(weights, 3, 50, NULL, &tiling), 0);
    CU_ASSERT_EQUAL(tiling.n, 3);
    check_partition(&tiling, owners);
    CU_ASSERT_EQUAL(share(&tiling, 11), TILES_MAX / 4);
    CU_ASSERT_EQUAL(share(&tiling, 22), TILES_MAX / 4);
    CU_ASSERT_EQUAL(share(&tiling, 33), TILES_MAX / 2);
    for (int port = 0xc000; port < 0xc040; port++) {
        int i = tiling_lookup(&tiling, port);
        CU_ASSERT_FATAL(i >= 0);
        CU_ASSERT_EQUAL(tiling.tiles[i].key, owners[port & SAL_ENTROPY_MASK]);
    }
    tiling_destroy(&tiling);

    /* Exact although 1/1 would be within tolerance; common factors cancel. */
    struct tile_weight odd[] = {{1, 31 * 7}, {2, 33 * 7}};
    CU_ASSERT_EQUAL(tiling_compute(odd, 2, 50, NULL, &tiling), 0);
    CU_ASSERT_EQUAL(share(&tiling, 1), TILES_MAX / 64 * 31);
    tiling_destroy(&tiling);
}

static void
test_edges(void)
{
    struct tiling tiling = {NULL, 7};
    struct tile_weight weights[] = {{1, 0}, {2, 0}};

    CU_ASSERT_EQUAL(tiling_compute(weights, 0, 50, NULL, &tiling), 0);
    CU_ASSERT_EQUAL(tiling.n, 0);
    CU_ASSERT_EQUAL(tiling_compute(weights, 2, 50, NULL, &tiling), 0);
    CU_ASSERT_EQUAL(tiling.n, 0);
    CU_ASSERT_EQUAL(tiling_lookup(&tiling, 0xc000), -1);

    /* One instance has all: a tile of no bits. */
    weights[1].weight = 65535;
    CU_ASSERT_EQUAL(tiling_compute(weights, 2, 50, NULL, &tiling), 0);
    CU_ASSERT_EQUAL(tiling.n, 1);
    CU_ASSERT_EQUAL(tiling.tiles[0].bits, 0);
    CU_ASSERT_EQUAL(tiling.tiles[0].key, 2);
    tiling_destroy(&tiling);

    /* However small its weight, nobody is left out. */
    weights[0].weight = 1;
    weights[1].weight = UINT32_MAX;
    CU_ASSERT_EQUAL(tiling_compute(weights, 2, 50, NULL, &tiling), 0);
    CU_ASSERT_EQUAL(share(&tiling, 1), 1);
    CU_ASSERT_EQUAL(share(&tiling, 2), TILES_MAX - 1);
    tiling_destroy(&tiling);

    uint32_t n = TILES_MAX + 1;
    struct tile_weight *many = calloc(n, sizeof *many);
    for (uint32_t i = 0; i < n; i++) {
        many[i] = (struct tile_weight) {i, 1};
    }
    CU_ASSERT_EQUAL(tiling_compute(many, n, 50, NULL, &tiling), -E2BIG);
    CU_ASSERT_EQUAL(tiling_compute(many, n - 1, 50, NULL, &tiling), 0);
    CU_ASSERT_EQUAL(tiling.n, TILES_MAX);
    tiling_destroy(&tiling);
    free(many);
}

/* Three equal ones cannot be exact; the fewest bits within 5 % are 6. */
static void
test_tolerance(void)
{
    struct tile_weight weights[] = {{1, 1}, {2, 1}, {3, 1}};
    uint32_t quotas[3];

    CU_ASSERT_EQUAL(tiling_quotas(weights, 3, 50, quotas), 6);
    CU_ASSERT_EQUAL(quotas[0] + quotas[1] + quotas[2], 64);
    CU_ASSERT_EQUAL(quotas[0], 22);
    CU_ASSERT_EQUAL(tiling_quotas(weights, 3, 0, quotas), TILES_BITS_MAX);
    struct tiling tiling;
    CU_ASSERT_EQUAL(tiling_compute(weights, 3, 50, NULL, &tiling), 0);
    CU_ASSERT_EQUAL(tiling.n, 9);
    tiling_destroy(&tiling);
}

static bool
has_tile(const struct tiling *tiling, const struct tile *wanted)
{
    for (size_t i = 0; i < tiling->n; i++) {
        const struct tile *tile = &tiling->tiles[i];
        if (tile->value == wanted->value && tile->bits == wanted->bits
            && tile->key == wanted->key) {
            return true;
        }
    }
    return false;
}

/* New tiles and those that only have another instance. */
static size_t
count_new(const struct tiling *before, const struct tiling *after)
{
    size_t n = 0;

    for (size_t i = 0; i < after->n; i++) {
        n += !has_tile(before, &after->tiles[i]);
    }
    return n;
}

/* A share of 21 places, 16 + 4 + 1, that shrinks to 13 gives half of its
 * largest tile away and keeps the others: two new tiles. */
static void
test_few_tiles_change(void)
{
    for (int i = 0; i < 3; i++) {
        struct tile_weight weights[] = {{1, 1}, {2, 1}, {3, 1}};
        struct tiling before, after;

        CU_ASSERT_EQUAL(tiling_compute(weights, 3, 50, NULL, &before), 0);
        bool has_22 = share(&before, weights[i].key) == TILES_MAX / 64 * 22;
        weights[i].weight = 3;
        CU_ASSERT_EQUAL(tiling_compute(weights, 3, 50, &before, &after), 0);
        /* 21 + 21 to 13 + 13; or 22 = 16 + 4 + 2 gives away 9 = 8 + 1, and
         * keeps 7 = 4 + 2 + 1 of its 16. */
        CU_ASSERT_EQUAL(count_new(&before, &after), has_22 ? 4 : 7);
        tiling_destroy(&before);
        tiling_destroy(&after);
    }
}

static size_t
random_weights(struct tile_weight weights[], size_t max)
{
    size_t n = 1 + unit_random_below(max);
    int style = unit_random_below(4);
    for (size_t i = 0; i < n; i++) {
        weights[i].key = 1000 + i * 7;
        weights[i].weight = style == 0 ? 1
                            : style == 1 ? 1u << unit_random_below(5)
                            : style == 2 ? unit_random_below(10)
                                         : unit_random_below(65536);
    }
    for (size_t i = n; i-- > 1;) { /* Order must not matter. */
        size_t j = unit_random_below(i + 1);
        struct tile_weight w = weights[i];
        weights[i] = weights[j];
        weights[j] = w;
    }
    return n;
}

/* Shares are what the quotas say, and those what the weights say. */
static void
check_shares(const struct tiling *tiling, const struct tile_weight weights[],
             size_t n)
{
    uint32_t quotas[64];
    int bits = tiling_quotas(weights, n, TILES_TOLERANCE_DEFAULT, quotas);
    double sum = 0;

    CU_ASSERT_FATAL(bits >= 0 && bits <= TILES_BITS_MAX);
    for (size_t i = 0; i < n; i++) {
        sum += weights[i].weight;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t have = share(tiling, weights[i].key);
        CU_ASSERT_EQUAL(have, quotas[i] << (TILES_BITS_MAX - bits));
        if (bits < TILES_BITS_MAX && sum) {
            double ideal = weights[i].weight / sum * TILES_MAX;
            double error = have > ideal ? have - ideal : ideal - have;
            CU_ASSERT(error <= ideal * TILES_TOLERANCE_DEFAULT / 1000 + 1e-6);
        }
        CU_ASSERT_EQUAL(!have, !weights[i].weight);
    }
}

/* From scratch, no tiling has fewer tiles: each share is a sum of powers of
 * two, and none appears twice. */
static void
test_random_fresh(void)
{
    static uint32_t owners[TILES_MAX];
    for (int round = 0; round < 2000; round++) {
        struct tile_weight weights[40];
        size_t n = random_weights(weights, 40);
        struct tiling tiling, again;
        size_t least = 0;

        CU_ASSERT_EQUAL(tiling_compute(weights, n, TILES_TOLERANCE_DEFAULT,
                                       NULL, &tiling), 0);
        check_partition(&tiling, owners);
        check_shares(&tiling, weights, n);
        for (size_t i = 0; i < n; i++) {
            least += __builtin_popcount(share(&tiling, weights[i].key));
        }
        CU_ASSERT_EQUAL(tiling.n, least);

        /* What fits stays. */
        CU_ASSERT_EQUAL(tiling_compute(weights, n, TILES_TOLERANCE_DEFAULT,
                                       &tiling, &again), 0);
        CU_ASSERT(tiling_equal(&tiling, &again));
        tiling_destroy(&tiling);
        tiling_destroy(&again);
    }
}

/* Over many changes nobody loses a place that it may keep, unless the tiling
 * had to be dealt out afresh, and the tiles never become too many. */
static void
test_random_changes(void)
{
    static uint32_t before[TILES_MAX], after[TILES_MAX];
    struct tile_weight weights[24];
    size_t n = random_weights(weights, 24);
    struct tiling tiling = TILING_INITIALIZER;
    unsigned int afresh = 0, moves = 0;

    for (int round = 0; round < 3000; round++) {
        struct tiling next;
        if (round % 500 == 499) {
            n = random_weights(weights, 24);
        }
        weights[unit_random_below(n)].weight = unit_random_below(5);
        CU_ASSERT_EQUAL_FATAL(
            tiling_compute(weights, n, TILES_TOLERANCE_DEFAULT, &tiling,
                           &next), 0);
        check_partition(&tiling, before);
        check_partition(&next, after);
        check_shares(&next, weights, n);

        uint32_t moved = 0, least = 0;
        for (uint32_t i = 0; i < TILES_MAX; i++) {
            moved += before[i] != after[i];
        }
        size_t ideal = 0;
        for (size_t i = 0; i < n; i++) {
            uint32_t had = share(&tiling, weights[i].key);
            uint32_t has = share(&next, weights[i].key);
            least += has > had ? has - had : 0;
            ideal += __builtin_popcount(has);
        }
        CU_ASSERT(next.n <= 2 * ideal);
        CU_ASSERT(moved >= least || !next.n);
        if (moved > least && next.n) {
            CU_ASSERT_EQUAL(next.n, ideal);
            afresh++;
        }
        moves++;
        tiling_destroy(&tiling);
        tiling = next;
    }
    CU_ASSERT(afresh * 4 < moves);
    tiling_destroy(&tiling);
}

/* What switches held before a restart may be anything. */
static void
test_random_history(void)
{
    static uint32_t owners[TILES_MAX];
    for (int round = 0; round < 2000; round++) {
        struct tile_weight weights[10];
        size_t n = random_weights(weights, 10);
        struct tile junk[20];
        struct tiling previous = {junk, unit_random_below(21)}, tiling;
        for (size_t i = 0; i < previous.n; i++) {
            junk[i].bits = unit_random_below(TILES_BITS_MAX + 1);
            junk[i].value = unit_random() & tile_mask(&junk[i]);
            junk[i].key = 1000 + unit_random_below(12) * 7;
        }
        CU_ASSERT_EQUAL(tiling_compute(weights, n, TILES_TOLERANCE_DEFAULT,
                                       &previous, &tiling), 0);
        check_partition(&tiling, owners);
        check_shares(&tiling, weights, n);
        tiling_destroy(&tiling);
    }
}

UNIT_MAIN("tiles", UNIT_TEST(test_exact), UNIT_TEST(test_edges),
          UNIT_TEST(test_tolerance), UNIT_TEST(test_few_tiles_change),
          UNIT_TEST(test_random_fresh), UNIT_TEST(test_random_changes),
          UNIT_TEST(test_random_history))
