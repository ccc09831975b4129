/* SPDX-License-Identifier: Apache-2.0 */
/* What of a switch waits for other switches, and since when: services as a
 * whole, the routes of a host, groups.
 *
 *     put_waits_begin()
 *     put_waits_hold() what has to wait, as long as it has patience
 *     put_waits_end() forgets what has not been held since
 *
 * Pure.  One thread; for put_order.c, which says who owns it. */
#ifndef CONTROLLER_PUT_WAITS_H
#define CONTROLLER_PUT_WAITS_H 1

#include <stdbool.h>
#include "controller/rules.h"

struct put_waits;

struct put_waits *put_waits_create(void);
void put_waits_destroy(struct put_waits *);

void put_waits_begin(struct put_waits *);
/* False if what the rule is part of has waited for 'patience_ms'. */
bool put_waits_hold(struct put_waits *, const struct rule *, long long now,
                    long long patience_ms);
/* True if it has been held since put_waits_begin(). */
bool put_waits_has(const struct put_waits *, const struct rule *);
/* For how long it has waited; 0 if it does not. */
long long put_waits_age(const struct put_waits *, const struct rule *,
                        long long now);
/* When the longest wait began; LLONG_MAX: nothing waits. */
long long put_waits_end(struct put_waits *);

#endif /* put_waits.h */
