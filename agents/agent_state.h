/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent remembers across restarts, in one JSON file:
 *
 *   - what salctl registered, and routes that it added,
 *   - the identity address and the rest of the last Welcome, and the names
 *     known then: the controller decides these, but while it cannot be
 *     reached a restarted agent goes on with what it last said.
 *
 * The file is replaced atomically and has mode 0600.  One thread. */
#ifndef SALIENT_AGENT_STATE_H
#define SALIENT_AGENT_STATE_H 1

#include <stdbool.h>
#include "agents/controller_session.h"
#include "agents/local_services.h"
#include "agents/names.h"
#include "agents/service_routes.h"

struct json;

struct agent_state {
    bool have_welcome;
    struct session_welcome welcome;
    bool names_complete;
    struct names names;
    struct service_routes learned;  /* From the controller. */
    struct local_services commands; /* From salctl. */
    struct service_routes routes;   /* The same. */
};

void agent_state_init(struct agent_state *);
void agent_state_destroy(struct agent_state *);

/* Pure conversions.  From JSON, into an empty state: -EINVAL (and the state is
 * still empty) unless every part makes sense. */
struct json *agent_state_to_json(const struct agent_state *);
int agent_state_from_json(const struct json *, struct agent_state *);

/* Loads into an initialized, empty state; no file is no error.  -EINVAL for a
 * file that is damaged, else negative errno. */
int agent_state_load(const char *path, struct agent_state *);
int agent_state_save(const char *path, const struct agent_state *);

#endif /* agent_state.h */
