/* SPDX-License-Identifier: Apache-2.0 */
/* What rules_flow.c (rules to OpenFlow) and rules_read.c (the way back) share.
 * For nobody else. */
#ifndef CONTROLLER_RULES_PRIVATE_H
#define CONTROLLER_RULES_PRIVATE_H 1

#include "controller/rules.h"

struct match;
struct mf_field;
struct ofpbuf;

/* Set by rules_sal_supported(). */
struct sal_fields {
    const struct mf_field *type;
    const struct mf_field *flags;
    const struct mf_field *proto;
    const struct mf_field *service;
};
extern struct sal_fields rules_sal_fields;

/* 'match' is a catch-all to begin with. */
int rules_build_match(const struct rule *, const struct rules_config *,
                      struct match *);
void rules_build_actions(const struct rule *, const struct rule_dialect *,
                         struct ofpbuf *ofpacts);

#endif /* rules_private.h */
