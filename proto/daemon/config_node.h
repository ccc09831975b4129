/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of config_file.h: the tree that config_file.c reads and
 * config_value.c answers from.  Pure. */
#ifndef SALIENT_CONFIG_NODE_H
#define SALIENT_CONFIG_NODE_H 1

#include "openvswitch/shash.h"
#include "proto/daemon/config_file.h"
#include "svec.h"

enum config_kind { CONFIG_SCALAR, CONFIG_SEQUENCE, CONFIG_MAPPING };

struct config_node {
    struct config_file *file;
    struct config_node *parent; /* NULL for the root. */
    enum config_kind kind;
    unsigned int line;          /* From 1. */
    char *key;                  /* In a mapping, or NULL. */
    size_t index;               /* In a sequence. */

    char *value;                /* CONFIG_SCALAR. */
    bool quoted;                /* Written as 'x' or "x". */

    struct config_node **children; /* In the order of the file. */
    size_t n, allocated;
    struct shash by_key;        /* CONFIG_MAPPING: the same children. */
    struct svec asked;          /* CONFIG_MAPPING: keys that exist. */
};

struct config_file {
    char *name;
    struct config_node *root;
    size_t n_nodes;
    char *error; /* The first one. */
};

/* The child of 'mapping' that has 'key', or NULL if it is absent or null.
 * Remembers that 'key' exists. */
struct config_node *config_node_find(struct config_node *mapping,
                                     const char *key);

/* config_error() with a printed 'what'; takes it over. */
void config_node_error(const struct config_node *, char *what,
                       const char *remedy);

/* Up to 60 characters of 's' in quotes, safe for a terminal.  Malloced. */
char *config_quote(const char *s);

#endif /* config_node.h */
