/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's configuration, agent.yaml.  docs/operating.md is the reference
 * for people; agent_config_load() is what it must agree with.
 *
 * Loading reads a file; the result is plain data, owned by the caller. */
#ifndef SALIENT_AGENT_CONFIG_H
#define SALIENT_AGENT_CONFIG_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agents/local_services.h"
#include "agents/service_routes.h"
#include "agents/migrator.h"

#define AGENT_CONFIG_PATH "/etc/salient/agent.yaml"
#define AGENT_CONTROL_SOCKET "/run/salient/sald.sock"
#define CONTROLLER_CONTROL_SOCKET "/run/salient/controller.sock"

/* 127.0.0.53 and .54 belong to systemd-resolved, which also refuses to use
 * them as an upstream. */
#define AGENT_DNS_ADDRESS 0x7f000037 /* 127.0.0.55. */
#define AGENT_DNS_PORT 53

/* Of the reserved block 240.0.0.0/4, which Linux treats as ordinary. */
#define AGENT_LEASE_POOL 0xf0000000
#define AGENT_LEASE_POOL_LEN 20

#define AGENT_MAX_UPLINKS 8
#define AGENT_MAX_CONTROLLERS 8
#define AGENT_MAX_UPSTREAMS 3

struct agent_address {
    uint32_t address; /* Host byte order. */
    uint16_t port;
};

struct agent_dns_config {
    bool enabled;
    struct agent_address listen;
    char *suffix;        /* "sal": lower case, no dots at its ends. */
    uint32_t ttl;        /* Seconds, of positive and negative answers. */
    bool leases;         /* Names below a service get host-local addresses. */
    uint32_t lease_pool; /* Host byte order. */
    uint8_t lease_pool_len;
    struct agent_address upstreams[AGENT_MAX_UPSTREAMS];
    size_t n_upstreams;  /* 0: names outside the suffix are refused. */
};

/* Which uplink flows use; uplink_policy.h. */
struct agent_uplink_config {
    uint32_t priority; /* Low ones first; default: the place in the list. */
    uint32_t weight;   /* Among those of equal priority. */
    bool behind_nat;
};

struct agent_config {
    char *path;           /* Where it was loaded from. */
    char *name;           /* Endpoint's name for people. */
    char *zone;           /* Where the host is; "" = not said. */
    char *controllers[AGENT_MAX_CONTROLLERS]; /* channel.h's endpoints. */
    size_t n_controllers; /* 0: no controller; then identity_address is set. */
    uint32_t identity_address; /* Host byte order; 0: the controller's word. */
    char *tls_certificate, *tls_private_key, *tls_ca; /* All or none. */
    char *state_dir;
    char *key_file;
    char *control_socket;
    char *uplinks[AGENT_MAX_UPLINKS];
    struct agent_uplink_config uplink_options[AGENT_MAX_UPLINKS];
    size_t n_uplinks;     /* At least 1. */
    struct migrator_config migration;
    int64_t balance_interval_ms; /* Of flows over uplinks; 0 = never. */
    bool prefer_ipv6;     /* New flows over IPv6 if both are possible. */
    char *device;         /* "sal0". */
    char *pin_path;
    uint32_t max_flows;
    uint32_t max_flows_per_client, max_flows_per_service; /* 0: any. */
    int64_t udp_idle_ms;     /* UDP flows end after so long a silence. */
    int64_t key_rotation_ms; /* Of the key of flow IDs; 0 = never. */
    bool keep_on_stop;    /* SIGTERM leaves the data plane running. */
    int64_t stop_timeout_ms; /* For the controller to confirm at a stop. */
    struct agent_dns_config dns;
    struct agent_address metrics; /* Port 0: none. */
    struct service_routes routes;
    enum service_action default_action; /* Of what nothing is said about. */
    bool service_router;  /* Resolve SYNs for others. */
    bool check_identity;  /* Clients' inner addresses must be their own. */
    struct local_services services;
};

/* 0 or negative errno with '*ret_error' (malloced sentence that names file,
 * line, key and remedy).  The result is freed with agent_config_destroy(). */
int agent_config_load(const char *path, struct agent_config **ret_config,
                      char **ret_error);
/* As above, from memory. */
int agent_config_parse(const char *name, const char *text, size_t len,
                       struct agent_config **ret_config, char **ret_error);
void agent_config_destroy(struct agent_config *);

/* NULL if a running agent can change from 'old' to 'new' by reloading,
 * otherwise the key that needs a restart.  'services' can always change. */
const char *agent_config_needs_restart(const struct agent_config *old,
                                       const struct agent_config *new);

#endif /* agent_config.h */
