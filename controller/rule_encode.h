/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of rules as bytes for a switch.
 *
 * libopenvswitch encodes any rule, in some microseconds.  But service rules
 * and host routes come by the thousand, and those of one shape (kind, lengths
 * of prefix and tile, flags, ...) differ in a few numbers that stand at the
 * same place in each message.  So the library encodes samples of each shape,
 * from which the places of those numbers are found, and then a change is a
 * copy with its own numbers.  A shape for which that does not give exactly
 * what the library makes, and every other rule, is left to the library.
 *
 * Pure.  One thread: the templates belong to the process. */
#ifndef CONTROLLER_RULE_ENCODE_H
#define CONTROLLER_RULE_ENCODE_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/rule_table.h"

struct rule_encoding {
    const struct rule_dialect *dialect;
    bool in_bundle;     /* Wrapped, to be added to bundle 'bundle_id'. */
    uint32_t bundle_id;
};

/* Appends the message for a change to 'output'.  False, and nothing appended,
 * if libopenvswitch cannot express the rule. */
bool rule_change_append(const struct rule_change *,
                        const struct rule_encoding *, uint32_t xid,
                        struct ofpbuf *output);

/* The same by the library alone: the oracle. */
bool rule_change_append_plainly(const struct rule_change *,
                                const struct rule_encoding *, uint32_t xid,
                                struct ofpbuf *output);

/* For tests: shapes that are copied. */
size_t rule_templates_count(void);
void rule_templates_clear(void);

#endif /* rule_encode.h */
