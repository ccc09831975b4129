/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a YAML configuration file and says precisely what is wrong with it.
 *
 * A file is loaded whole (libyaml) into nodes that remember their line.  The
 * owner of a configuration asks for each key by name and type; whatever it
 * never asked for is reported as unknown by config_file_finish(), with the
 * keys that exist there.  Every message has the form
 *
 *     agent.yaml:7: services[0].weight: 70000 is out of range; use 1 to 65535
 *
 * The first error wins; after one, getters return defaults (a required string
 * is "", a node is NULL) and change nothing, so callers check once, at the
 * end.  Every function takes a NULL node for an empty one.  A key without a
 * value, or with the value null, is as good as absent.  Anchors, aliases and
 * tags are refused.
 *
 * config_file_load() reads a file; all else is pure.  One thread. */
#ifndef SALIENT_CONFIG_FILE_H
#define SALIENT_CONFIG_FILE_H 1

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config_file;
struct config_node; /* A mapping, a sequence or a scalar; owned by the file. */

/* 0 or negative errno with '*ret_error' (malloced sentence). */
int config_file_load(const char *path, struct config_file **ret_file,
                     char **ret_error);
/* As above from memory; 'name' stands in messages (fuzzing, tests). */
int config_file_parse(const char *name, const char *text, size_t len,
                      struct config_file **ret_file, char **ret_error);
void config_file_destroy(struct config_file *);

/* The top mapping. */
struct config_node *config_file_root(struct config_file *);

/* Reports unknown keys.  NULL if all is well, otherwise the first error,
 * owned by the file. */
const char *config_file_finish(struct config_file *);

/* Records an error at 'node'; 'remedy' says what to write instead. */
void config_error(struct config_node *, const char *what, const char *remedy);
/* The same at the value of 'key' (at the mapping, if it is absent) or at item
 * 'i' of a sequence. */
void config_error_key(struct config_node *, const char *key, const char *what,
                      const char *remedy);
void config_error_item(struct config_node *, size_t i, const char *what,
                       const char *remedy);

/* Scalars of mapping 'node'.  An absent key gives 'def' (for strings: NULL
 * means "required" only with the _required form).  Strings belong to the
 * file.  'min' and 'max' are inclusive. */
const char *config_string(struct config_node *, const char *key,
                          const char *def);
const char *config_string_required(struct config_node *, const char *key);
int64_t config_int(struct config_node *, const char *key, int64_t min,
                   int64_t max, int64_t def);
bool config_bool(struct config_node *, const char *key, bool def);
/* IPv4 address, host byte order. */
uint32_t config_ipv4(struct config_node *, const char *key, uint32_t def);
/* IPv6 address; "none" is ::. */
void config_ipv6(struct config_node *, const char *key,
                 struct in6_addr *address);
/* "a.b.c.d/len". */
void config_ipv4_prefix(struct config_node *, const char *key,
                        uint32_t *address, uint8_t *length);
/* "250ms", "10s", "2m", in milliseconds. */
int64_t config_duration_ms(struct config_node *, const char *key, int64_t min,
                           int64_t max, int64_t def);

/* The value of 'key' as a node, or NULL if absent.  config_mapping() and
 * config_sequence() report a value of another kind. */
struct config_node *config_mapping(struct config_node *, const char *key);
struct config_node *config_sequence(struct config_node *, const char *key);
size_t config_sequence_length(const struct config_node *);
bool config_sequence_is_mapping(const struct config_node *, size_t i);
/* Item as a mapping (error if not) or as a string (error if not). */
struct config_node *config_sequence_mapping(struct config_node *, size_t i);
const char *config_sequence_string(struct config_node *, size_t i);

#endif /* config_file.h */
