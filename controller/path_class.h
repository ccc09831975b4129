/* SPDX-License-Identifier: Apache-2.0 */
/* Path classes, as configuration describes them: how the packets travel whose
 * SAL header has the class's number (SAL_PATH_CLASS_MASK).
 *
 *     lowest-latency  the way with the least measured latency
 *     avoid           not over these links, nor through these switches
 *     waypoint        through this switch
 *
 * Pure data. */
#ifndef CONTROLLER_PATH_CLASS_H
#define CONTROLLER_PATH_CLASS_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/topology.h"

#define PATH_CLASSES_MAX 15    /* Numbers 1..15. */
#define PATH_CLASS_NAME_MAX 63
#define PATH_CLASS_AVOID_MAX 32

enum path_class_kind {
    PATH_CLASS_NONE, /* No such class. */
    PATH_CLASS_LOWEST_LATENCY,
    PATH_CLASS_AVOID,
    PATH_CLASS_WAYPOINT,
};

struct path_class {
    char name[PATH_CLASS_NAME_MAX + 1];
    enum path_class_kind kind;
    uint64_t waypoint;                             /* PATH_CLASS_WAYPOINT. */
    uint64_t switches[PATH_CLASS_AVOID_MAX]; /* PATH_CLASS_AVOID: these */
    size_t n_switches;
    struct topology_end links[PATH_CLASS_AVOID_MAX]; /* and the links at these
                                                      * ports, both ways. */
    size_t n_links;
};

struct path_classes {
    struct path_class classes[PATH_CLASSES_MAX + 1]; /* By number; 0: none. */
    size_t n;
    bool latency; /* Somebody goes by latency. */
    bool hop_by_hop; /* All SAL switches resolve, not only those that hosts may
                      * be behind; see rules_compute_service(). */
};

#endif /* path_class.h */
