/* SPDX-License-Identifier: Apache-2.0 */
/* In which zone a switch is: that of most of the endpoints whose new
 * connections it resolves, by what they say of themselves (Hello.zone).
 *
 * A snapshot, computed from registry, topology and paths; immutable after.
 * Pure.  The creator owns it. */
#ifndef CONTROLLER_ZONES_H
#define CONTROLLER_ZONES_H 1

#include <stdbool.h>
#include <stdint.h>

struct paths;
struct registry;
struct topology;
struct zones;

struct zones *zones_compute(const struct registry *, const struct topology *,
                            const struct paths *);
void zones_destroy(struct zones *);

/* The zone of a switch, by its index in the paths; "" if nobody there says.
 * Valid as long as 'zones'. */
const char *zones_of(const struct zones *, uint32_t index);
bool zones_equal(const struct zones *, const struct zones *);

#endif /* zones.h */
