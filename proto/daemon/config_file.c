/* SPDX-License-Identifier: Apache-2.0 */
/* YAML text to nodes, and the sentences about them.  Pure: config_load.c reads
 * the file. */
#include "proto/daemon/config_node.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>
#include "openvswitch/dynamic-string.h"
#include "util.h"

/* What a configuration written by people never reaches, and what keeps a
 * hostile one from taking memory or stack. */
#define MAX_DEPTH 16
#define MAX_NODES 200000
#define MAX_QUOTED 60

char *
config_quote(const char *s)
{
    struct ds ds = DS_EMPTY_INITIALIZER;
    size_t n = strnlen(s, MAX_QUOTED + 1);

    ds_put_char(&ds, '"');
    for (size_t i = 0; i < MIN(n, MAX_QUOTED); i++) {
        ds_put_char(&ds, iscntrl((unsigned char) s[i]) ? '?' : s[i]);
    }
    ds_put_cstr(&ds, n > MAX_QUOTED ? "...\"" : "\"");
    return ds_steal_cstr(&ds);
}

/* "services[0].weight" */
static void
put_path(struct ds *ds, const struct config_node *node)
{
    if (!node->parent) {
        return;
    }
    put_path(ds, node->parent);
    if (!node->key) {
        ds_put_format(ds, "[%zu]", node->index);
        return;
    }
    char *quoted = config_quote(node->key);
    ds_put_format(ds, "%s%.*s", node->parent->parent ? "." : "",
                  (int) strlen(quoted) - 2, quoted + 1);
    free(quoted);
}

void
config_node_error(const struct config_node *node, char *what,
                  const char *remedy)
{
    struct config_file *file = node->file;

    if (!file->error) {
        struct ds ds = DS_EMPTY_INITIALIZER;
        ds_put_format(&ds, "%s:%u: ", file->name, node->line);
        put_path(&ds, node);
        ds_put_format(&ds, "%s%s; %s", node->parent ? ": " : "", what, remedy);
        file->error = ds_steal_cstr(&ds);
    }
    free(what);
}

void
config_error(struct config_node *node, const char *what, const char *remedy)
{
    if (node) {
        config_node_error(node, xstrdup(what), remedy);
    }
}

void
config_error_key(struct config_node *node, const char *key, const char *what,
                 const char *remedy)
{
    if (node) {
        struct config_node *child = config_node_find(node, key);
        config_node_error(child ? child : node,
                          child ? xstrdup(what)
                                : xasprintf("\"%s\" %s", key, what), remedy);
    }
}

void
config_error_item(struct config_node *node, size_t i, const char *what,
                  const char *remedy)
{
    if (node) {
        config_error(i < node->n ? node->children[i] : node, what, remedy);
    }
}

/* An error of the text itself, before there are nodes to point to. */
static void
text_error(struct config_file *file, const yaml_mark_t *mark,
           const char *sentence)
{
    if (!file->error) {
        file->error = xasprintf("%s:%zu: %s", file->name, mark->line + 1,
                                sentence);
    }
}

static struct config_node *
node_create(struct config_file *file, enum config_kind kind, size_t line)
{
    struct config_node *node = xzalloc(sizeof *node);

    node->file = file;
    node->kind = kind;
    node->line = line;
    shash_init(&node->by_key);
    svec_init(&node->asked);
    file->n_nodes++;
    return node;
}

/* At most MAX_DEPTH deep. */
static void
node_destroy(struct config_node *node)
{
    if (!node) {
        return;
    }
    for (size_t i = 0; i < node->n; i++) {
        node_destroy(node->children[i]);
    }
    free(node->children);
    shash_destroy(&node->by_key);
    svec_destroy(&node->asked);
    free(node->key);
    free(node->value);
    free(node);
}

static void
node_append(struct config_node *parent, struct config_node *child)
{
    if (parent->n >= parent->allocated) {
        parent->children = x2nrealloc(parent->children, &parent->allocated,
                                      sizeof *parent->children);
    }
    child->parent = parent;
    child->index = parent->n;
    parent->children[parent->n++] = child;
    if (child->key) {
        shash_add(&parent->by_key, child->key, child);
    }
}

/* The text on its way to nodes. */
struct reader {
    struct config_file *file;
    struct config_node *at; /* Innermost open mapping or sequence. */
    char *key;              /* Read, its value not yet. */
    unsigned int depth;
    bool end;
};

/* Puts a node where the reader stands.  False on error. */
static bool
reader_add(struct reader *reader, struct config_node *node,
           const yaml_mark_t *mark)
{
    struct config_file *file = reader->file;

    if (file->n_nodes > MAX_NODES) {
        text_error(file, mark, "the file has too many values; split it");
    } else if (!reader->at && file->root) {
        text_error(file, mark, "a second document starts here; keep one");
    } else if (!reader->at && node->kind != CONFIG_MAPPING) {
        text_error(file, mark, "the file is no list of \"key: value\" lines; "
                   "start with a key");
    }
    if (file->error) {
        node_destroy(node);
        return false;
    }

    if (reader->at) {
        node->key = reader->key;
        reader->key = NULL;
        node_append(reader->at, node);
    } else {
        file->root = node;
    }
    return true;
}

static void
reader_open(struct reader *reader, enum config_kind kind,
            const yaml_mark_t *mark)
{
    if (reader->at && reader->at->kind == CONFIG_MAPPING && !reader->key) {
        text_error(reader->file, mark, "a list or mapping stands where a key "
                   "belongs; write \"key: value\"");
    } else if (reader->depth >= MAX_DEPTH) {
        text_error(reader->file, mark, "values are nested too deep; "
                   "check the indentation");
    } else {
        struct config_node *node = node_create(reader->file, kind,
                                               mark->line + 1);
        if (reader_add(reader, node, mark)) {
            reader->at = node;
            reader->depth++;
        }
    }
}

static void
reader_close(struct reader *reader)
{
    reader->at = reader->at->parent;
    reader->depth--;
}

static void
reader_scalar(struct reader *reader, const yaml_event_t *event)
{
    const char *text = (const char *) event->data.scalar.value;
    const yaml_mark_t *mark = &event->start_mark;

    if (strlen(text) != event->data.scalar.length) {
        text_error(reader->file, mark, "the value has a NUL character; "
                   "take it out");
    } else if (reader->at && reader->at->kind == CONFIG_MAPPING
               && !reader->key) {
        const struct config_node *twin = shash_find_data(&reader->at->by_key,
                                                         text);
        if (twin) {
            char *quoted = config_quote(text);
            char *sentence = xasprintf("the key %s stands in line %u already; "
                                       "keep one", quoted, twin->line);
            text_error(reader->file, mark, sentence);
            free(sentence);
            free(quoted);
            return;
        }
        reader->key = xstrdup(text);
    } else {
        struct config_node *node = node_create(reader->file, CONFIG_SCALAR,
                                               mark->line + 1);
        node->value = xstrdup(text);
        node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        reader_add(reader, node, mark);
    }
}

/* Aliases multiply a short text into a long one, tags ask for types that there
 * are none of. */
static bool
has_property(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor || event->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor
               || event->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor
               || event->data.mapping_start.tag;
    case YAML_ALIAS_EVENT:
        return true;
    default:
        return false;
    }
}

static void
reader_event(struct reader *reader, const yaml_event_t *event)
{
    if (has_property(event)) {
        text_error(reader->file, &event->start_mark, "anchors, aliases and "
                   "tags (&, *, !) are not read; write the value out");
        return;
    }
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        reader_scalar(reader, event);
        break;
    case YAML_SEQUENCE_START_EVENT:
        reader_open(reader, CONFIG_SEQUENCE, &event->start_mark);
        break;
    case YAML_MAPPING_START_EVENT:
        reader_open(reader, CONFIG_MAPPING, &event->start_mark);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        reader_close(reader);
        break;
    case YAML_STREAM_END_EVENT:
        reader->end = true;
        break;
    default:
        break;
    }
}

static void
read_text(struct config_file *file, const char *text, size_t len)
{
    struct reader reader = {.file = file};
    yaml_parser_t parser;

    if (!yaml_parser_initialize(&parser)) {
        out_of_memory();
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *) text, len);
    while (!reader.end && !file->error) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            if (parser.error == YAML_MEMORY_ERROR) {
                out_of_memory();
            }
            char *sentence = xasprintf(
                "not YAML: %s; check indentation, colons and quotes here",
                parser.problem ? parser.problem : "unreadable");
            text_error(file, &parser.problem_mark, sentence);
            free(sentence);
            break;
        }
        reader_event(&reader, &event);
        yaml_event_delete(&event);
    }
    free(reader.key);
    yaml_parser_delete(&parser);
}

int
config_file_parse(const char *name, const char *text, size_t len,
                  struct config_file **ret_file, char **ret_error)
{
    struct config_file *file = xzalloc(sizeof *file);

    file->name = xstrdup(name);
    read_text(file, text, len);
    if (file->error) {
        *ret_error = xstrdup(file->error);
        config_file_destroy(file);
        return -EINVAL;
    }
    if (!file->root) {
        /* An empty file asks for all defaults. */
        file->root = node_create(file, CONFIG_MAPPING, 1);
    }
    *ret_file = file;
    return 0;
}

void
config_file_destroy(struct config_file *file)
{
    if (file) {
        node_destroy(file->root);
        free(file->error);
        free(file->name);
        free(file);
    }
}

struct config_node *
config_file_root(struct config_file *file)
{
    return file->root;
}

static void
report_unknown(const struct config_node *mapping,
               const struct config_node *child)
{
    struct ds remedy = DS_EMPTY_INITIALIZER;

    ds_put_cstr(&remedy, mapping->asked.n ? "known here: " : "take it out");
    for (size_t i = 0; i < mapping->asked.n; i++) {
        ds_put_format(&remedy, "%s%s", i ? ", " : "",
                      mapping->asked.names[i]);
    }
    config_node_error(child, xstrdup("unknown key"), ds_cstr(&remedy));
    ds_destroy(&remedy);
}

static void
find_unknown(const struct config_node *node)
{
    for (size_t i = 0; i < node->n && !node->file->error; i++) {
        const struct config_node *child = node->children[i];
        if (child->key && !svec_contains_unsorted(&node->asked, child->key)) {
            report_unknown(node, child);
        } else {
            find_unknown(child);
        }
    }
}

const char *
config_file_finish(struct config_file *file)
{
    find_unknown(file->root);
    return file->error;
}
