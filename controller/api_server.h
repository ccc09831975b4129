/* SPDX-License-Identifier: Apache-2.0 */
/* Agents connect here: listeners of the registration API, and one
 * agent_session per connection.
 *
 * An endpoint has one session: a newer one, its key proved, supersedes the
 * older, whose connection is closed.
 *
 * One thread: the loop's. */
#ifndef CONTROLLER_API_SERVER_H
#define CONTROLLER_API_SERVER_H 1

#include <uv.h>
#include "controller/agent_session.h"

struct api_server;
struct channel_tls;

struct api_server_ops {
    /* An agent's session is up. */
    void (*up)(struct agent_session *, void *aux);
    void (*changed)(struct agent_session *, const char *what,
                    long long now_us, void *aux);
    /* The session of an agent that was up is about to end. */
    void (*down)(struct agent_session *, const char *reason, void *aux);
    /* As in struct agent_session_ops. */
    void (*hops)(const struct agent_session *, const struct service_prefix *,
                 struct agent_hops *, void *aux);
    int (*resolve)(const struct agent_session *, const struct service_id *,
                   struct agent_answer *, void *aux);
    void (*identify)(const struct agent_session *, const struct agent_claim *,
                     struct agent_identity *, void *aux);
};

struct api_server_stats {
    uint64_t accepted, refused_limit;
};

/* Creates the server; it listens nowhere yet.  'config' and 'registry' must
 * outlive it. */
struct api_server *api_server_create(uv_loop_t *,
                                     const struct agent_session_config *,
                                     struct registry *,
                                     const struct api_server_ops *,
                                     void *aux);
/* Listens on a further endpoint ("tcp:HOST:PORT", "tls:...", "unix:PATH"). */
int api_server_listen(struct api_server *, const char *endpoint,
                      const struct channel_tls *, char **ret_error);
/* Reads the certificates again, for connections to come. */
int api_server_set_tls(struct api_server *, const struct channel_tls *,
                       char **ret_error);

/* Closes listeners and sessions (no 'down' callbacks); frees the server with
 * the last connection, so keep the loop running. */
void api_server_stop(struct api_server *);

/* The session of an endpoint that is up; NULL if there is none. */
struct agent_session *api_server_find(const struct api_server *,
                                      const struct endpoint_id *);
/* Calls 'each' for every session that is up. */
void api_server_for_each(struct api_server *,
                         void (*each)(struct agent_session *, void *aux),
                         void *aux);
size_t api_server_n_up(const struct api_server *);
const struct api_server_stats *api_server_stats(const struct api_server *);
/* Where the agent connects from; the server's. */
const char *api_server_peer(const struct agent_session *);

#endif /* api_server.h */
