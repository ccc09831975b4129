/* SPDX-License-Identifier: Apache-2.0 */
/* A part of load_check(): for each switch begin, all its flows, end. */
#ifndef BENCH_LOAD_CHECK_BASE_H
#define BENCH_LOAD_CHECK_BASE_H 1

#include "tests/bench/controller/load.h"

#define LOAD_BASE_FIXED 13

struct load_base {
    const struct load *load;
    const struct load_switch *sw;
    const char *wrong;      /* What was met first; NULL: nothing. */
    int n_fixed[LOAD_BASE_FIXED];
    int n_links, n_resolver;
    uint8_t *admitted;      /* One a host: how often. */
    bool *answered;         /* One a host. */
};

void load_base_init(struct load_base *, const struct load *);
void load_base_destroy(struct load_base *);
void load_base_begin(struct load_base *, const struct load_switch *);
void load_base_flow(struct load_base *, const struct load_key *,
                    const struct load_act *);
/* NULL, or what is wrong. */
const char *load_base_end(struct load_base *);

#endif /* load_check_base.h */
