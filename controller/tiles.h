/* SPDX-License-Identifier: Apache-2.0 */
/* Weights as a binary tiling of the source port's entropy bits.
 *
 * The low SAL_ENTROPY_BITS bits of a SAL packet's UDP source port are uniform.
 * A tile is a set of them that one masked match describes: all values whose
 * low 'bits' bits are 'value'.  A tiling gives each tile to an instance so
 * that tiles are disjoint, cover everything, and each instance's share is its
 * weight's, exactly where the sum of the weights divides a power of two, else
 * within a stated tolerance (largest remainder).  After Wang, Butnariu,
 * Rexford, "OpenFlow-Based Server Load Balancing Gone Wild", 2011.
 *
 * The tiling before a change is an input: what an instance keeps of its share
 * stays where it is, and a tiling that already fits its weights comes back
 * unchanged.  Staying in place scatters shares over many small tiles in the
 * long run; once there are more than twice as many as needed, they are dealt
 * out afresh.  Without history the result depends on keys and weights only.
 * Instances are named by a 32-bit key of the caller's.
 *
 * Pure; any thread. */
#ifndef CONTROLLER_TILES_H
#define CONTROLLER_TILES_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ofp-ext/sal.h"

#define TILES_BITS_MAX SAL_ENTROPY_BITS
#define TILES_MAX (1u << TILES_BITS_MAX)
/* Default tolerance, thousandths of an instance's own share. */
#define TILES_TOLERANCE_DEFAULT 50

struct tile {
    uint16_t value; /* Low 'bits' bits of the source port. */
    uint8_t bits;   /* 0..TILES_BITS_MAX; share = 2^-bits. */
    uint32_t key;   /* The instance. */
};

struct tile_weight {
    uint32_t key;    /* Unique among the weights. */
    uint32_t weight; /* 0 = no share. */
};

/* In ascending order of the values' reversed bits, i.e. of the place in the
 * binary tree.  No two siblings have the same key. */
struct tiling {
    struct tile *tiles;
    size_t n;
};

#define TILING_INITIALIZER {NULL, 0}

void tiling_destroy(struct tiling *);

/* Computes the tiling for 'n' weights given 'previous' (may be NULL).
 * '*ret_tiling' becomes the caller's.  The result is empty if all weights are
 * 0.  -E2BIG if more than TILES_MAX instances have a weight. */
int tiling_compute(const struct tile_weight weights[], size_t n,
                   unsigned int tolerance_permille,
                   const struct tiling *previous, struct tiling *ret_tiling);

/* The quotas that tiling_compute() deals out: for each weight its number of
 * units of 2^-B.  B is the number of bits that gives exact shares, if there is
 * one, otherwise the smallest that keeps every share within tolerance,
 * otherwise TILES_BITS_MAX.  No weight but 0 gets 0 units.  Returns B, or
 * -E2BIG. */
int tiling_quotas(const struct tile_weight weights[], size_t n,
                  unsigned int tolerance_permille, uint32_t ret_quotas[]);

bool tiling_equal(const struct tiling *, const struct tiling *);

/* Who has 'source_port'?  For tests and traces: linear.  Returns the tile's
 * index, or -1. */
int tiling_lookup(const struct tiling *, uint16_t source_port);

/* The mask of a tile's udp_src match, whose value is tile->value.  The bits
 * above the entropy are left alone: a NAT may have changed them. */
static inline uint16_t
tile_mask(const struct tile *tile)
{
    return (1u << tile->bits) - 1;
}

#endif /* tiles.h */
