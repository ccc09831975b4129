/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of agent_session.h share: agent_session.c (a session's life
 * and who handles what), agent_handshake.c and agent_requests.c. */
#ifndef CONTROLLER_AGENT_SESSION_PRIVATE_H
#define CONTROLLER_AGENT_SESSION_PRIVATE_H 1

#include "controller/agent_session.h"

/* A request under way. */
struct agent_request {
    struct agent_session *session;
    uint64_t id;
    long long now_us;
};

/* Answers a request with 'body', of the type that 'body_case' says. */
void agent_session_reply(struct agent_session *, uint64_t request_id,
                         Salient__V1__Envelope__BodyCase body_case,
                         void *body);
#define REPLY(SESSION, ID, CASE, BODY)                                        \
    agent_session_reply(SESSION, ID, SALIENT__V1__ENVELOPE__BODY_##CASE, BODY)

/* Answers it with an Error.  'field' is the one at fault, or "". */
void request_fail(const struct agent_request *, Salient__V1__ErrorCode,
                  const char *field, const char *message);
#define ERROR(NAME) SALIENT__V1__ERROR_CODE__ERROR_##NAME

/* agent_handshake.c */
void agent_session_hello(const struct agent_request *,
                         const Salient__V1__Hello *);
void agent_session_proof(const struct agent_request *,
                         const Salient__V1__Proof *);

/* agent_requests.c */
void agent_session_register(const struct agent_request *,
                            const Salient__V1__Register *);
void agent_session_unregister(const struct agent_request *,
                              const Salient__V1__Unregister *);
void agent_session_resolve(const struct agent_request *,
                           const Salient__V1__Resolve *);
void agent_session_identify(const struct agent_request *,
                            const Salient__V1__Identify *);

#endif /* agent_session_private.h */
