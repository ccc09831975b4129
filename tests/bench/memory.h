/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory the calling process has, in MiB. */
#ifndef TESTS_BENCH_MEMORY_H
#define TESTS_BENCH_MEMORY_H 1

#include <malloc.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* Resident now, without what malloc() keeps for later. */
static inline double
memory_mb(void)
{
    unsigned long size, resident = 0;

    malloc_trim(0);
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%lu %lu", &size, &resident) != 2) {
        fprintf(stderr, "cannot read /proc/self/statm\n");
    }
    if (f) {
        fclose(f);
    }
    return resident * (sysconf(_SC_PAGESIZE) / 1048576.0);
}

/* The most that was resident so far. */
static inline double
peak_mb(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024.0;
}

#endif /* memory.h */
