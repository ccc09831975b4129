/* SPDX-License-Identifier: Apache-2.0 */
/* docs/operating.md against the code: every key of the configuration and
 * every command stands there, and what stands there exists. */
#include "tests/unit/unit.h"

#include <ctype.h>
#include "agents/agent_private.h"
#include "openvswitch/shash.h"
#include "util.h"

#define MINIMAL "name: h1\ncontroller: tcp:10.0.0.1:6091\nuplinks: [eth0]\n"

static char *page;

static char *
read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    size_t size = 1 << 20;
    char *text = calloc(1, size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_TRUE_FATAL(fread(text, 1, size - 1, file) > 0);
    fclose(file);
    return text;
}

static void
setup(void)
{
    page = read_file("docs/operating.md");
}

/* Is there a table row that begins with `what`? */
static bool
has_row(const char *what, const char *after)
{
    char *row = xasprintf("\n| `%s%s", what, after);
    bool found = strstr(page, row);
    free(row);
    if (!found) {
        fprintf(stderr, "docs/operating.md has no row for %s\n", what);
    }
    return found;
}

/* The keys that exist beside 'key', as the message about an unknown one lists
 * them: "...; known here: a, b, c" or the like: every word of it that is a
 * key. */
static char *
complaint(const char *text)
{
    struct agent_config *config = NULL;
    char *error = NULL;
    CU_ASSERT_TRUE(agent_config_parse("x", text, strlen(text), &config,
                                      &error) < 0);
    CU_ASSERT_PTR_NULL_FATAL(config);
    return error;
}

static void
check_keys(const char *text, const char *section)
{
    char *error = complaint(text);
    char *list = strstr(error, "no_such_key");
    size_t n = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(list);
    for (char *save = NULL,
              *word = strtok_r(list + strlen("no_such_key"), " ,;:", &save);
         word; word = strtok_r(NULL, " ,;:", &save)) {
        bool is_key = (strchr(word, '_') || !strcmp(section, "dns.")
                       || !strcmp(section, "") || !strcmp(section, "-"));
        static const char *const prose[] = {
            "unknown", "key", "use", "one", "of", "the", "keys", "are",
            "known", "here", "or", "and", "a", "there", "exist", "that"};
        for (size_t i = 0; i < ARRAY_SIZE(prose); i++) {
            is_key = is_key && strcmp(word, prose[i]);
        }
        /* Keys of other tables are explained in the row of the table. */
        if (!is_key || !strcmp(word, "tls") || !strcmp(word, "dns")
            || !strcmp(word, "services") || !strcmp(word, "routes")
            || !strcmp(word, "limits")
            || !strcmp(word, "migration")) {
            continue;
        }
        char *key = xasprintf("%s%s", *section == '-' ? "" : section, word);
        CU_ASSERT_TRUE(has_row(key, "`"));
        free(key);
        n++;
    }
    CU_ASSERT_TRUE(n >= 2);
    free(error);
}

static void
test_keys_are_documented(void)
{
    check_keys(MINIMAL "no_such_key: 1\n", "");
    check_keys(MINIMAL "dns: {no_such_key: 1}\n", "dns.");
    check_keys(MINIMAL "limits: {no_such_key: 1}\n", "limits.");
    check_keys(MINIMAL "routes: [{service: a, no_such_key: 1}]\n", "-");
    check_keys(MINIMAL "services: [{name: a, port: 1, no_such_key: 1}]\n",
               "-");
}

/* Rows of the configuration's tables: "| `key` | ...". */
static void
test_documented_keys_exist(void)
{
    char *start = strstr(page, "\n## Configuration");
    char *end = strstr(page, "\n## Starting");
    size_t n = 0;
    CU_ASSERT_FATAL(start && end);
    for (char *row = strstr(start, "\n| `"); row && row < end;
         row = strstr(row + 1, "\n| `")) {
        char key[64];
        CU_ASSERT_EQUAL_FATAL(sscanf(row, "\n| `%63[a-z_.]`", key), 1);
        bool service = strstr(start, "Each entry of `services`") < row;
        char *dot = strchr(key, '.');
        /* A value of the wrong kind: whatever the complaint, it must not be
         * that the key is unknown. */
        char *text
            = (service ? xasprintf(MINIMAL "services: [{%s: {x: {}}}]\n", key)
               : dot   ? xasprintf(MINIMAL "%.*s: {%s: {x: {}}}\n",
                                   (int) (dot - key), key, dot + 1)
                       : xasprintf("%s: {x: {}}\n", key));
        char *error = complaint(text);
        if (strstr(error, "unknown key")) {
            fprintf(stderr, "%s: %s\n", key, error);
            CU_FAIL("documented, but unknown");
        }
        free(error);
        free(text);
        n++;
    }
    CU_ASSERT_TRUE(n > 20);
}

/* salctl has a table of its own, so that its help needs no agent. */
static void
test_salctl_knows_commands(void)
{
    char *source = read_file("agents/salctl.c");
    for (const struct control_command *c = agent_commands; c->name; c++) {
        char *entry = xasprintf("{\"%s\",", c->name);
        if (strcmp(c->name, "show") && !strstr(source, entry)) {
            fprintf(stderr, "salctl does not know %s\n", c->name);
            CU_FAIL("command");
        }
        free(entry);
    }
    free(source);
}

static void
test_commands_are_documented(void)
{
    for (const struct control_command *c = agent_commands; c->name; c++) {
        char *word = xasprintf("`%s", c->name);
        if (!strstr(page, word)) {
            fprintf(stderr, "docs/operating.md has no `%s`\n", c->name);
            CU_FAIL("command");
        }
        free(word);
    }
}

static void
teardown(void)
{
    free(page);
}

UNIT_MAIN("operating_docs", UNIT_TEST(setup),
          UNIT_TEST(test_keys_are_documented),
          UNIT_TEST(test_documented_keys_exist),
          UNIT_TEST(test_salctl_knows_commands),
          UNIT_TEST(test_commands_are_documented), UNIT_TEST(teardown))
