/* SPDX-License-Identifier: Apache-2.0 */
/* Any string as a service name and as the text form of a prefix. */
#include "tests/fuzz/fuzz.h"

#include "ofp-ext/service_id.h"

/* A prefix that was accepted is normal and survives its text form. */
static void
check_prefix(const struct service_prefix *prefix)
{
    struct service_prefix again = *prefix;
    char text[SERVICE_PREFIX_STRLEN];

    FUZZ_CHECK(prefix->len <= SAL_SERVICE_ID_BITS);
    service_prefix_normalize(&again);
    FUZZ_CHECK(service_prefix_equal(prefix, &again));
    memset(&again, 0xff, sizeof again);
    FUZZ_CHECK(!service_prefix_from_string(service_prefix_format(prefix, text),
                                           &again));
    FUZZ_CHECK(service_prefix_equal(prefix, &again));
    FUZZ_CHECK(!service_prefix_compare(prefix, &again));
    FUZZ_CHECK(service_prefix_contains(prefix, &again));
    FUZZ_CHECK(service_prefix_contains_id(prefix, &prefix->id));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *s = fuzz_string(data, size);
    struct service_prefix prefix;

    if (!service_prefix_from_string(s, &prefix)) {
        check_prefix(&prefix);
    }
    bool good = !service_name_check(s);
    FUZZ_CHECK(good == !service_prefix_from_name(s, &prefix));
    if (good) {
        check_prefix(&prefix);

        /* What is above a name contains it. */
        const char *dot = strchr(s, '.');
        struct service_prefix above;
        if (dot) {
            FUZZ_CHECK(!service_prefix_from_name(dot + 1, &above));
            FUZZ_CHECK(above.len <= prefix.len);
            FUZZ_CHECK(above.len == SAL_SERVICE_ID_BITS
                       || service_prefix_contains(&above, &prefix));
        }
    }
    free(s);
    return 0;
}
