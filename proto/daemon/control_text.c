/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/daemon/control_text.h"

#include <stdlib.h>
#include <string.h>
#include "openvswitch/dynamic-string.h"
#include "openvswitch/json.h"
#include "proto/daemon/control.h"
#include "util.h"

size_t
control_piece_length(const char *s)
{
    size_t n = strnlen(s, CONTROL_PIECE_MAX + 1);

    if (n <= CONTROL_PIECE_MAX) {
        return n;
    }
    n = CONTROL_PIECE_MAX;
    /* Octets 10xxxxxx continue a character; there are 3 of them at most. */
    for (int i = 0; i < 3 && (s[n] & 0xc0) == 0x80; i++) {
        n--;
    }
    return n;
}

/* How many of the words of 'name' lead 'argv'; 0 unless all do. */
static int
match_words(const char *name, int argc, const char *const argv[])
{
    int words = 0;

    for (const char *p = name; *p; words++) {
        size_t n = strcspn(p, " ");
        if (words >= argc || strlen(argv[words]) != n
            || strncmp(argv[words], p, n)) {
            return 0;
        }
        p += n;
        p += strspn(p, " ");
    }
    return words;
}

const struct control_command *
control_find(const struct control_command *commands, int argc,
             const char *const argv[], int *ret_words)
{
    const struct control_command *best = NULL;
    int best_words = 0;

    for (const struct control_command *c = commands; c->name; c++) {
        int words = match_words(c->name, argc, argv);
        if (words > best_words) {
            best = c;
            best_words = words;
        }
    }
    if (best) {
        *ret_words = best_words;
    }
    return best;
}

static void
put_line(struct ds *ds, const char *name, const char *usage, const char *help)
{
    char *left = xasprintf("%s%s%s", name, usage[0] ? " " : "", usage);

    if (strlen(left) > 30) {
        ds_put_format(ds, "%s\n%-30s  %s\n", left, "", help);
    } else {
        ds_put_format(ds, "%-30s  %s\n", left, help);
    }
    free(left);
}

/* Do the first words of the command's name equal 'argv'? */
static bool
starts_with(const struct control_command *command, int argc,
            const char *const argv[])
{
    const char *p = command->name;

    for (int i = 0; i < argc; i++) {
        size_t n = strcspn(p, " ");
        if (!n || strlen(argv[i]) != n || strncmp(argv[i], p, n)) {
            return false;
        }
        p += n;
        p += strspn(p, " ");
    }
    return true;
}

/* What the list of commands has of one. */
static void
list_command(const struct control_command *c, struct json *array,
             struct ds *ds)
{
    struct json *json = json_object_create();

    json_object_put_string(json, "command", c->name);
    json_object_put_string(json, "arguments", c->usage);
    json_object_put_string(json, "help", c->help);
    json_array_add(array, json);
    put_line(ds, c->name, c->usage, c->help);
}

/* Takes over 'array' and the text; leaves one of them. */
static char *
choose_form(bool as_json, struct json *array, struct ds *ds)
{
    if (as_json) {
        ds_clear(ds);
        json_to_ds(array, JSSF_PRETTY | JSSF_SORT, ds);
    }
    json_destroy(array);
    return ds_steal_cstr(ds);
}

int
control_help(const struct control_command *commands, int argc,
             const char *const argv[], bool as_json, char **ret_output,
             char **ret_error)
{
    static const struct control_command help = {
        .name = "help", .usage = "[COMMAND]", .help = "list the commands"};
    struct ds ds = DS_EMPTY_INITIALIZER;

    if (argc && strcmp(argv[0], "help")) {
        ds_put_format(&ds, "there is no command \"%.60s\"", argv[0]);
        if (argc > 1) {
            ds_put_format(&ds, " or \"%.60s %.60s\"", argv[0], argv[1]);
        }
        ds_put_cstr(&ds, "; \"help\" lists them");
        *ret_error = ds_steal_cstr(&ds);
        return 2;
    }

    struct json *array = json_array_create_empty();
    argc -= argc > 0;
    for (const struct control_command *c = commands; c->name; c++) {
        if (starts_with(c, argc, argv + 1)) {
            list_command(c, array, &ds);
        }
    }
    if (!argc) {
        list_command(&help, array, &ds);
    } else if (!ds.length) {
        ds_put_format(&ds, "there is no command \"%.60s\"; "
                      "\"help\" lists them", argv[1]);
        *ret_error = choose_form(false, array, &ds);
        return 2;
    }
    *ret_output = choose_form(as_json, array, &ds);
    return 0;
}
