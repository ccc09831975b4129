/* SPDX-License-Identifier: Apache-2.0 */
/* Any string as an endpoint. */
#include "tests/fuzz/fuzz.h"

#include "proto/endpoint.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *s = fuzz_string(data, size);
    struct endpoint endpoint;

    if (!endpoint_parse(s, &endpoint)) {
        if (endpoint.kind == ENDPOINT_UNIX) {
            FUZZ_CHECK(endpoint.path[0] && !endpoint.host[0]);
            FUZZ_CHECK(!strcmp(s + 5, endpoint.path));
        } else {
            FUZZ_CHECK(endpoint.host[0] && !endpoint.path[0]);
            FUZZ_CHECK(strstr(s, endpoint.host));
        }
    }
    free(s);
    return 0;
}
