/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "proto/endpoint.h"

static void
test_good(void)
{
    struct endpoint e;

    CU_ASSERT_PTR_NULL(endpoint_parse("tcp:10.0.0.1:6654", &e));
    CU_ASSERT_EQUAL(e.kind, ENDPOINT_TCP);
    CU_ASSERT_STRING_EQUAL(e.host, "10.0.0.1");
    CU_ASSERT_EQUAL(e.port, 6654);
    CU_ASSERT_PTR_NULL(endpoint_parse("tls:[fe80::1%eth0]:65535", &e));
    CU_ASSERT_EQUAL(e.kind, ENDPOINT_TLS);
    CU_ASSERT_STRING_EQUAL(e.host, "fe80::1%eth0");
    CU_ASSERT_EQUAL(e.port, 65535);
    CU_ASSERT_PTR_NULL(endpoint_parse("tcp:controller.example:0", &e));
    CU_ASSERT_STRING_EQUAL(e.host, "controller.example");
    CU_ASSERT_PTR_NULL(endpoint_parse("unix:/run/a:b", &e));
    CU_ASSERT_EQUAL(e.kind, ENDPOINT_UNIX);
    CU_ASSERT_STRING_EQUAL(e.path, "/run/a:b");
}

static void
test_bad(void)
{
    static const char *const bad[] = {
        "", "tcp", "tcp:", "tcp:x", "tcp:x:", "tcp::1", "tcp:[]:1", "tcp:[::1",
        "tcp:[::1]", "tcp:[::1]1", "tcp:::1:1", "tcp:x:65536", "tcp:x:-1",
        "tcp:x:1x", "tcp:x:000001", "unix:", "ssl:x:1", "10.0.0.1:6654"};
    struct endpoint e = {.port = 7};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (!endpoint_parse(bad[i], &e)) {
            fprintf(stderr, "\"%s\" was taken\n", bad[i]);
            CU_FAIL("bad endpoint taken");
        }
    }
    CU_ASSERT_EQUAL(e.port, 7);
}

static void
test_lengths(void)
{
    char text[400];
    struct endpoint e;

    memset(text, 'x', sizeof text);
    memcpy(text, "unix:", 5);
    text[5 + ENDPOINT_PATH_MAX] = '\0';
    CU_ASSERT_PTR_NULL(endpoint_parse(text, &e));
    CU_ASSERT_EQUAL(strlen(e.path), ENDPOINT_PATH_MAX);
    text[5 + ENDPOINT_PATH_MAX] = 'x';
    text[5 + ENDPOINT_PATH_MAX + 1] = '\0';
    CU_ASSERT_PTR_NOT_NULL(endpoint_parse(text, &e));

    memset(text, 'x', sizeof text);
    memcpy(text, "tcp:", 4);
    strcpy(text + 4 + ENDPOINT_HOST_MAX, ":1");
    CU_ASSERT_PTR_NULL(endpoint_parse(text, &e));
    CU_ASSERT_EQUAL(strlen(e.host), ENDPOINT_HOST_MAX);
    strcpy(text + 4 + ENDPOINT_HOST_MAX, "x:1");
    CU_ASSERT_PTR_NOT_NULL(endpoint_parse(text, &e));
}

UNIT_MAIN("endpoint", UNIT_TEST(test_good), UNIT_TEST(test_bad),
          UNIT_TEST(test_lengths))
