/* SPDX-License-Identifier: Apache-2.0 */
/* The data plane's tables at size: look-ups in the service table, memory of
 * idle flows, how long looking at all of them takes.
 *
 *     tables [N_FLOWS]
 *
 * Prints "bench NAME VALUE UNIT" lines. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agents/datapath_cursor.h"
#include "tests/bpf/fill_flows.h"
#include "lookup.skel.h"
#include "util.h"

static uint64_t
now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void
check(int error, const char *what)
{
    if (error) {
        fprintf(stderr, "tables: %s: %s\n", what, ovs_strerror(abs(error)));
        exit(EXIT_FAILURE);
    }
}

/* As lookup.bpf.c, but a /192. */
static void
put_rule(int fd, uint32_t i)
{
    struct sal_rule_key key = {.prefixlen = 192};
    struct sal_rule rule = {.action = SAL_RULE_FORWARD, .prefixlen = 192};
    uint64_t x = i * 0x9e3779b97f4a7c15ULL;
    uint64_t words[4] = {x % 100, x >> 40, x, 0};
    memcpy(key.service_id, words, sizeof words);
    check(bpf_map_update_elem(fd, &key, &rule, BPF_ANY), "rule");
}

static void
time_lookups(struct lookup_bpf *bpf, const char *label)
{
    enum { ROUNDS = 5, LOOKUPS = 1000000 };
    static uint8_t packet[64];
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet,
                .data_size_in = sizeof packet, .repeat = 1);
    uint64_t best = UINT64_MAX;

    bpf->bss->n_lookups = LOOKUPS;
    for (int i = 0; i < ROUNDS; i++) {
        bpf->bss->n_found = 0;
        uint64_t start = now_ns();
        check(bpf_prog_test_run_opts(bpf_program__fd(bpf->progs.run_lookups),
                                     &opts), "look-ups");
        best = MIN(best, now_ns() - start);
        check(bpf->bss->n_found == LOOKUPS ? 0 : -ENOENT, "found");
    }
    printf("bench host.lookup_%s %.0f ns\n", label, (double) best / LOOKUPS);
}

static void
lookups(void)
{
    static const struct {
        uint32_t n;
        const char *label;
    } sizes[] = {{1000, "1k"}, {100000, "100k"}, {1000000, "1m"}};
    struct lookup_bpf *bpf = lookup_bpf__open_and_load();
    uint32_t n = 0;

    check(bpf ? 0 : -EINVAL, "load");
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        for (; n < sizes[i].n; n++) {
            put_rule(bpf_map__fd(bpf->maps.rules), n);
        }
        bpf->bss->n_rules = n;
        time_lookups(bpf, sizes[i].label);
    }
    lookup_bpf__destroy(bpf);
}

/* What the kernel says that a map takes; 6.4 and later count entries. */
static uint64_t
memory_of(const struct bpf_map *map)
{
    char path[64], line[128];
    unsigned long long memory = 0;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", bpf_map__fd(map));
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        sscanf(line, "memlock: %llu", &memory);
    }
    if (file) {
        fclose(file);
    }
    return memory;
}

static uint64_t
memory_of_flows(const struct datapath *dp)
{
    return memory_of(dp->skeleton->maps.sal_flows)
           + memory_of(dp->skeleton->maps.sal_tuples);
}

static void
idle_flows(uint32_t n)
{
    struct datapath *dp;
    char *error = NULL;
    size_t count, total = 0;
    const struct sal_flow *flows;

    check(datapath_load(NULL, n, &dp, &error), error);
    uint64_t before = memory_of_flows(dp), start = now_ns();
    check(fill_flows(dp, n), "fill");
    printf("bench host.idle_flows %u flows\n", n);
    printf("bench host.idle_flows_fill %.3f s\n", (now_ns() - start) / 1e9);
    uint64_t after = memory_of_flows(dp);
    printf("bench host.idle_flow_memory %.0f byte\n",
           (double) (after - before) / n);
    printf("bench host.idle_flows_memory %.0f MB\n", after / 1e6);

    start = now_ns();
    struct flow_cursor *cursor = flow_cursor_open(dp);
    uint64_t longest = 0, last = start;
    while ((count = flow_cursor_next(cursor, &flows))) {
        total += count;
        uint64_t now = now_ns();
        longest = MAX(longest, now - last);
        last = now;
    }
    flow_cursor_close(cursor);
    check(total == n ? 0 : -ENOENT, "walk");
    printf("bench host.idle_flows_walk %.3f s\n", (last - start) / 1e9);
    printf("bench host.idle_flows_batch %.3f ms\n", longest / 1e6);

    struct ds out = DS_EMPTY_INITIALIZER;
    start = now_ns();
    datapath_format_status(dp, true, &out);
    printf("bench host.idle_flows_status %.3f ms\n",
           (now_ns() - start) / 1e6);
    ds_destroy(&out);
    datapath_close(dp);
}

int
main(int argc, char *argv[])
{
    lookups();
    idle_flows(argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000);
    return EXIT_SUCCESS;
}
