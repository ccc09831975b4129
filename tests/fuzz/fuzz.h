/* SPDX-License-Identifier: Apache-2.0 */
/* What every fuzz target is: one function that takes any bytes and returns 0.
 * It must not crash, leak, hang, or keep state from one call to the next.
 * What must hold is said with FUZZ_CHECK(). */
#ifndef SALIENT_FUZZ_H
#define SALIENT_FUZZ_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(CONDITION)                                                 \
    do {                                                                      \
        if (!(CONDITION)) {                                                   \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__,  \
                    #CONDITION);                                              \
            abort();                                                          \
        }                                                                     \
    } while (0)

/* The input as a string of its own, so that reading past its end is seen. */
static inline char *
fuzz_string(const uint8_t *data, size_t size)
{
    char *s = malloc(size + 1);
    if (size) {
        memcpy(s, data, size);
    }
    s[size] = '\0';
    return s;
}

#endif /* fuzz.h */
