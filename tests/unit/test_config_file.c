/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <unistd.h>
#include "proto/daemon/config_file.h"

/* The file that most tests read. */
static const char agent_yaml[] =
    "# An agent.\n"
    "controller: tcp:10.0.0.1:6654\n"
    "name: \"h 1\"\n"
    "keepalive: 250ms\n"
    "resolver: 10.0.255.254\n"
    "pool: 100.64.0.0/10\n"
    "debug: yes\n"
    "empty:\n"
    "services:\n"
    "  - name: web.shop.acme\n"
    "    port: 80\n"
    "    tags: [a, 'b']\n"
    "  - name: db.shop.acme\n"
    "    port: 0x50\n";

static struct config_file *
parse(const char *text)
{
    struct config_file *file = NULL;
    char *error = NULL;

    CU_ASSERT_EQUAL(config_file_parse("agent.yaml", text, strlen(text), &file,
                                      &error), 0);
    if (error) {
        fprintf(stderr, "%s\n", error);
        free(error);
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    return file;
}

static void
check_text_error(const char *text, size_t len, const char *expected)
{
    struct config_file *file = NULL;
    char *error = NULL;

    CU_ASSERT_EQUAL(config_file_parse("x.yaml", text, len, &file, &error),
                    -EINVAL);
    CU_ASSERT_PTR_NULL(file);
    CU_ASSERT_PTR_NOT_NULL_FATAL(error);
    if (strcmp(error, expected)) {
        fprintf(stderr, "got      %s\nexpected %s\n", error, expected);
        CU_FAIL("wrong sentence");
    }
    free(error);
}

static void
check_finish(struct config_file *file, const char *expected)
{
    const char *error = config_file_finish(file);

    if (!error || strcmp(error, expected)) {
        fprintf(stderr, "got      %s\nexpected %s\n", error ? error : "none",
                expected);
        CU_FAIL("wrong sentence");
    }
    config_file_destroy(file);
}

static void
test_values(void)
{
    struct config_file *file = parse(agent_yaml);
    struct config_node *root = config_file_root(file);
    uint32_t address = 0;
    uint8_t length = 0;

    CU_ASSERT_STRING_EQUAL(config_string_required(root, "controller"),
                           "tcp:10.0.0.1:6654");
    CU_ASSERT_STRING_EQUAL(config_string(root, "name", "x"), "h 1");
    CU_ASSERT_STRING_EQUAL(config_string(root, "absent", "x"), "x");
    CU_ASSERT_STRING_EQUAL(config_string(root, "empty", "x"), "x");
    CU_ASSERT_EQUAL(config_duration_ms(root, "keepalive", 1, 1000, 7), 250);
    CU_ASSERT_EQUAL(config_duration_ms(root, "absent", 1, 1000, 7), 7);
    CU_ASSERT_EQUAL(config_ipv4(root, "resolver", 0), 0x0a00fffe);
    config_ipv4_prefix(root, "pool", &address, &length);
    CU_ASSERT_EQUAL(address, 0x64400000);
    CU_ASSERT_EQUAL(length, 10);
    config_ipv4_prefix(root, "absent", &address, &length);
    CU_ASSERT_EQUAL(length, 10);
    CU_ASSERT(config_bool(root, "debug", false));
    CU_ASSERT(config_bool(root, "absent", true));
    CU_ASSERT_PTR_NULL(config_mapping(root, "empty"));

    struct config_node *services = config_sequence(root, "services");
    CU_ASSERT_EQUAL(config_sequence_length(services), 2);
    for (size_t i = 0; i < 2; i++) {
        struct config_node *service = config_sequence_mapping(services, i);
        CU_ASSERT_EQUAL(config_int(service, "port", 1, 65535, 0), 80);
        CU_ASSERT_EQUAL(config_int(service, "weight", 1, 65535, 1), 1);
        CU_ASSERT_STRING_EQUAL(config_string_required(service, "name"),
                               i ? "db.shop.acme" : "web.shop.acme");
        struct config_node *tags = config_sequence(service, "tags");
        CU_ASSERT_EQUAL(config_sequence_length(tags), i ? 0 : 2);
        CU_ASSERT_STRING_EQUAL(config_sequence_string(tags, 1), i ? "" : "b");
    }
    CU_ASSERT_PTR_NULL(config_sequence_mapping(services, 2));
    CU_ASSERT_PTR_NULL(config_file_finish(file));
    config_file_destroy(file);
    config_file_destroy(NULL);
}

static void
test_empty_file(void)
{
    static const char *const texts[] = {"", "# nothing\n", "{}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct config_file *file = parse(texts[i]);
        CU_ASSERT_EQUAL(config_int(config_file_root(file), "a", 0, 9, 3), 3);
        CU_ASSERT_PTR_NULL(config_file_finish(file));
        config_file_destroy(file);
    }
}

static void
test_unknown_keys(void)
{
    struct config_file *file = parse("port: 1\nsub:\n  a: 1\n  wieght: 2\n");
    struct config_node *root = config_file_root(file);
    config_int(root, "port", 0, 9, 0);
    struct config_node *sub = config_mapping(root, "sub");
    config_int(sub, "a", 0, 9, 0);
    config_int(sub, "weight", 0, 9, 0);
    config_int(sub, "weight", 0, 9, 0);
    check_finish(file, "agent.yaml:4: sub.wieght: unknown key; "
                       "known here: a, weight");

    /* In lists too, and what nobody asked for as a whole. */
    file = parse("l:\n- x: 1\n- x: 1\n  \"y\\e[0m\": 2\n");
    struct config_node *l = config_sequence(config_file_root(file), "l");
    config_int(config_sequence_mapping(l, 0), "x", 0, 9, 0);
    config_int(config_sequence_mapping(l, 1), "x", 0, 9, 0);
    check_finish(file, "agent.yaml:4: l[1].y?[0m: unknown key; "
                       "known here: x");
    check_finish(parse("a: 1\n"), "agent.yaml:1: a: unknown key; take it out");
}

/* Each getter's sentences. */
static void
test_int_errors(void)
{
    static const char *const cases[][2] = {
        {"70000", "70000 is out of range; use 1 to 65535"},
        {"0", "0 is out of range; use 1 to 65535"},
        {"-1", "-1 is out of range; use 1 to 65535"},
        {"99999999999999999999",
         "99999999999999999999 is out of range; use 1 to 65535"},
        {"8o", "\"8o\" is no whole number; use 1 to 65535"},
        {"0x", "\"0x\" is no whole number; use 1 to 65535"},
        {"' 8'", "\" 8\" is no whole number; use 1 to 65535"},
        {"''", "\"\" is no whole number; use 1 to 65535"},
        {"1.5", "\"1.5\" is no whole number; use 1 to 65535"},
        {"[1]", "is a list, not a single value; write \"key: value\""},
        {"{a: 1}", "is a mapping, not a single value; write \"key: value\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[100], expected[200];
        snprintf(text, sizeof text, "services:\n- weight: %s\n", cases[i][0]);
        snprintf(expected, sizeof expected,
                 "agent.yaml:2: services[0].weight: %s", cases[i][1]);

        struct config_file *file = parse(text);
        struct config_node *l = config_sequence(config_file_root(file),
                                                "services");
        CU_ASSERT_EQUAL(config_int(config_sequence_mapping(l, 0), "weight", 1,
                                   65535, 5), 5);
        check_finish(file, expected);
    }
}

static void
test_other_errors(void)
{
    struct config_file *file = parse("a: maybe\n");
    CU_ASSERT(config_bool(config_file_root(file), "a", true));
    check_finish(file, "agent.yaml:1: a: \"maybe\" is neither true nor false; "
                       "use true or false");

    static const char *const durations[][2] = {
        {"5", "\"5\" is no duration; write 250ms, 10s, 2m or 1h"},
        {"s", "\"s\" is no duration; write 250ms, 10s, 2m or 1h"},
        {"-5s", "\"-5s\" is no duration; write 250ms, 10s, 2m or 1h"},
        {"1500ms", "1500ms is out of range; use 500ms to 1s"},
        {"0", "0 is out of range; use 500ms to 1s"},
        {"9223372036854775807h",
         "9223372036854775807h is out of range; use 500ms to 1s"},
        {"92233720368547758070s",
         "92233720368547758070s is out of range; use 500ms to 1s"},
    };
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        char text[100], expected[200];
        snprintf(text, sizeof text, "\nd: %s\n", durations[i][0]);
        snprintf(expected, sizeof expected, "agent.yaml:2: d: %s",
                 durations[i][1]);
        file = parse(text);
        CU_ASSERT_EQUAL(config_duration_ms(config_file_root(file), "d", 500,
                                           1000, 600), 600);
        check_finish(file, expected);
    }

    file = parse("a: 10.0.0\n");
    CU_ASSERT_EQUAL(config_ipv4(config_file_root(file), "a", 9), 9);
    check_finish(file, "agent.yaml:1: a: \"10.0.0\" is no IPv4 address; "
                       "write four numbers, 192.0.2.1");

    file = parse("a: 10.0.0.1\n");
    struct in6_addr v6 = in6addr_loopback;
    config_ipv6(config_file_root(file), "b", &v6);
    config_ipv6(config_file_root(file), "a", &v6);
    CU_ASSERT(IN6_IS_ADDR_LOOPBACK(&v6));
    check_finish(file, "agent.yaml:1: a: \"10.0.0.1\" is no IPv6 address; "
                       "write \"2001:db8::1\", or none");

    file = parse("a: {}\n");
    CU_ASSERT_STRING_EQUAL(config_string_required(config_file_root(file),
                                                  "b"), "");
    check_finish(file, "agent.yaml:1: \"b\" is missing; write \"b: ...\"");

    /* What may have been meant. */
    static const char *const misspelt[] = {"nmae", "nam", "names", "mame",
                                           "ame", "nname"};
    for (size_t i = 0; i < sizeof misspelt / sizeof misspelt[0]; i++) {
        char text[64], want[128];
        snprintf(text, sizeof text, "a: 1\n%s: x\n", misspelt[i]);
        snprintf(want, sizeof want, "agent.yaml:2: %s: unknown key; write "
                 "\"name: ...\"", misspelt[i]);
        file = parse(text);
        config_string_required(config_file_root(file), "name");
        check_finish(file, want);
    }
    file = parse("nemo: x\n");
    config_string_required(config_file_root(file), "name");
    check_finish(file, "agent.yaml:1: \"name\" is missing; write "
                       "\"name: ...\"");

    file = parse("a: 1\n");
    CU_ASSERT_PTR_NULL(config_sequence(config_file_root(file), "a"));
    check_finish(file, "agent.yaml:1: a: is a single value, not a list; "
                       "write lines that start with \"- \"");

    file = parse("a: [1]\n");
    struct config_node *a = config_sequence(config_file_root(file), "a");
    CU_ASSERT_PTR_NULL(config_sequence_mapping(a, 0));
    check_finish(file, "agent.yaml:1: a[0]: is a single value, not a "
                       "mapping; write indented \"key: value\" lines");
}

static void
test_prefix_errors(void)
{
    static const char *const bad[] = {"10.0.0.0", "10.0.0.0/33", "10/8",
                                      "10.0.0.0/-1", "/8", "10.0.0.0/",
                                      "1111111111111111111/8"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[100];
        uint32_t address = 1;
        uint8_t length = 2;
        snprintf(text, sizeof text, "a: %s\n", bad[i]);
        struct config_file *file = parse(text);
        config_ipv4_prefix(config_file_root(file), "a", &address, &length);
        CU_ASSERT_PTR_NOT_NULL(config_file_finish(file));
        CU_ASSERT(address == 1 && length == 2);
        config_file_destroy(file);
    }

    uint32_t address;
    uint8_t length;
    struct config_file *file = parse("a: 10.1.2.3/8\n");
    config_ipv4_prefix(config_file_root(file), "a", &address, &length);
    check_finish(file, "agent.yaml:1: a: \"10.1.2.3/8\" has bits set past its "
                       "length; use 10.0.0.0/8");
    file = parse("a: 0.0.0.0/0\n");
    config_ipv4_prefix(config_file_root(file), "a", &address, &length);
    CU_ASSERT_PTR_NULL(config_file_finish(file));
    CU_ASSERT(address == 0 && length == 0);
    config_file_destroy(file);
}

/* The first error is the one told; the rest of the reading is harmless. */
static void
test_first_error_wins(void)
{
    struct config_file *file = parse("a: x\nb: 2\nc: [1]\nd: {e: 1}\n");
    struct config_node *root = config_file_root(file);

    config_int(root, "a", 0, 9, 1);
    CU_ASSERT_EQUAL(config_int(root, "b", 0, 9, 1), 1);
    CU_ASSERT_EQUAL(config_int(root, "b", 0, 1, 1), 1);
    CU_ASSERT_PTR_NULL(config_sequence(root, "c"));
    CU_ASSERT_EQUAL(config_sequence_length(NULL), 0);
    CU_ASSERT_PTR_NULL(config_mapping(NULL, "e"));
    CU_ASSERT_STRING_EQUAL(config_string_required(NULL, "e"), "");
    config_error(root, "late", "never mind");
    config_error(NULL, "late", "never mind");
    check_finish(file, "agent.yaml:1: a: \"x\" is no whole number; "
                       "use 0 to 9");
}

static void
test_errors_of_the_owner(void)
{
    struct config_file *file = parse("s:\n- name: A.b\n");
    struct config_node *s = config_sequence(config_file_root(file), "s");
    struct config_node *first = config_sequence_mapping(s, 0);
    config_string_required(first, "name");
    config_error_key(first, "name", "has an upper-case letter", "write a.b");
    check_finish(file, "agent.yaml:2: s[0].name: has an upper-case letter; "
                       "write a.b");

    file = parse("a: [x, y]\n");
    config_error_item(config_sequence(config_file_root(file), "a"), 1,
                      "is bad", "write z");
    check_finish(file, "agent.yaml:1: a[1]: is bad; write z");

    file = parse("\na: 1\n");
    config_error_key(config_file_root(file), "b", "is needed with \"a\"",
                     "write b: 1");
    check_finish(file, "agent.yaml:2: \"b\" is needed with \"a\"; "
                       "write b: 1");
}

static void
test_bad_text(void)
{
#define CHECK(TEXT, EXPECTED) check_text_error(TEXT, sizeof TEXT - 1, EXPECTED)
    CHECK("a: 1\na: 2\n", "x.yaml:2: the key \"a\" stands in line 1 already; "
                          "keep one");
    CHECK("- 1\n", "x.yaml:1: the file is no list of \"key: value\" lines; "
                   "start with a key");
    CHECK("hello\n", "x.yaml:1: the file is no list of \"key: value\" lines; "
                     "start with a key");
    CHECK("a: &x 1\nb: *x\n", "x.yaml:1: anchors, aliases and tags (&, *, !) "
                              "are not read; write the value out");
    CHECK("a: !!int 1\n", "x.yaml:1: anchors, aliases and tags (&, *, !) "
                          "are not read; write the value out");
    CHECK("a: 1\n---\nb: 1\n", "x.yaml:3: a second document starts here; "
                               "keep one");
    CHECK("[1]\n", "x.yaml:1: the file is no list of \"key: value\" lines; "
                   "start with a key");
    CHECK("? [1]\n: 2\n", "x.yaml:1: a list or mapping stands where a key "
                          "belongs; write \"key: value\"");
    CHECK("a: \"x\\0y\"\n", "x.yaml:1: the value has a NUL character; "
                            "take it out");
    CHECK("a: 1\n b: 2\n", "x.yaml:2: not YAML: mapping values are not "
          "allowed in this context; check indentation, colons and quotes "
          "here");
    CHECK("a: [[[[[[[[[[[[[[[[[[[[[[[[\n", "x.yaml:1: values are nested too "
          "deep; check the indentation");
}

static void
test_load(void)
{
    struct config_file *file = NULL;
    char *error = NULL;

    CU_ASSERT_EQUAL(config_file_load("/nonexistent/a.yaml", &file, &error),
                    -ENOENT);
    CU_ASSERT_STRING_EQUAL(error, "cannot read /nonexistent/a.yaml: "
                                  "No such file or directory");
    free(error);
    CU_ASSERT_EQUAL(config_file_load("/tmp", &file, &error), -EISDIR);
    free(error);

    char path[] = "/tmp/salient-config-XXXXXX";
    int fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, agent_yaml, sizeof agent_yaml - 1),
                    sizeof agent_yaml - 1);
    close(fd);
    CU_ASSERT_EQUAL(config_file_load(path, &file, &error), 0);
    CU_ASSERT_STRING_EQUAL(config_string(config_file_root(file), "name", ""),
                           "h 1");
    config_file_destroy(file);
    unlink(path);
}

UNIT_MAIN("config_file", UNIT_TEST(test_values), UNIT_TEST(test_empty_file),
          UNIT_TEST(test_unknown_keys), UNIT_TEST(test_int_errors),
          UNIT_TEST(test_other_errors), UNIT_TEST(test_prefix_errors),
          UNIT_TEST(test_first_error_wins),
          UNIT_TEST(test_errors_of_the_owner), UNIT_TEST(test_bad_text),
          UNIT_TEST(test_load))
