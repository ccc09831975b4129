/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's configuration file.  Every key has a default; see
 * controller/controller.yaml for all of them with comments.
 *
 * The creator owns the configuration; it does not change once loaded. */
#ifndef CONTROLLER_CONFIG_H
#define CONTROLLER_CONFIG_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "controller/agent_session.h"
#include "controller/path_class.h"
#include "controller/routes.h"
#include "controller/rules.h"
#include "controller/switch_session.h"

#define CONTROLLER_CONFIG_LISTEN_MAX 8

/* Where somebody connects; everything owned. */
struct listen_config {
    char *addresses[CONTROLLER_CONFIG_LISTEN_MAX];
    size_t n;
    char *certificate, *private_key, *ca; /* NULL: no TLS. */
};

struct controller_config {
    struct listen_config openflow, api;
    struct switch_session_config session;
    uint32_t order_timeout_ms;   /* A change waits so long for others. */
    uint32_t flap_hold_ms;       /* A port that flaps is taken as down until it
                                  * is stable, so long at most; 0: never. */
    uint32_t confirm_timeout_ms; /* A switch that confirms nothing so long is
                                  * disconnected. */
    uint32_t forget_switch_ms;   /* A switch that is gone so long is no
                                  * longer counted on. */
    struct agent_session_config agents;

    char *control;               /* Path of the control socket. */
    uint32_t hold_ms;            /* After the start, rules are not withdrawn
                                  * while agents come back. */
    uint32_t link_probe_interval_ms, link_timeout_ms, host_timeout_ms;
    uint32_t reset_pps;
    uint32_t plain_timeout_ms, plain_max;
    uint32_t usage_interval_ms; /* Counters of full switches are read so
                                 * often. */
    uint32_t n_events;           /* Of the event log. */
    uint32_t metrics_address;    /* Host order. */
    uint16_t metrics_port;       /* 0: no metrics. */
    struct rules_config rules;
    struct routes_config routes;
    struct path_classes classes;
    struct config_cost {
        struct topology_end from;
        uint32_t cost;
    } *costs;                    /* Of links. */
    size_t n_costs;
    struct config_service {
        char *name;
        struct service_definition definition;
    } *services;                 /* Defined. */
    size_t n_services;
};

/* Loads 'path'; NULL gives the defaults.  0, or a negative errno with
 * '*ret_error' (malloced sentence with file, line, key and remedy). */
int controller_config_load(const char *path,
                           struct controller_config **ret_config,
                           char **ret_error);
/* As above from memory (tests, fuzzing). */
int controller_config_parse(const char *name, const char *text, size_t len,
                            struct controller_config **ret_config,
                            char **ret_error);
void controller_config_destroy(struct controller_config *);

#endif /* controller_config.h */
