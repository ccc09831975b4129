/* SPDX-License-Identifier: Apache-2.0 */
/* What sessions of agents are answered in tests and by the fuzzer: two hops
 * for everything; every service resolves but those whose ID begins with 0. */
#ifndef SALIENT_TEST_AGENT_ANSWERS_H
#define SALIENT_TEST_AGENT_ANSWERS_H 1

#include <errno.h>
#include <string.h>
#include "controller/agent_session.h"

static inline void
answer_hops(const struct agent_session *s, const struct service_prefix *prefix,
            struct agent_hops *hops, void *aux)
{
    hops->n = 2;
    hops->hops[0] = (struct agent_hop) {locator_from_v4(0x0a000001), 3};
    hops->hops[1] = (struct agent_hop) {
        {.s6_addr = {0xfd, [15] = 1}}, 1};
}

static inline int
answer_resolve(const struct agent_session *s, const struct service_id *id,
               struct agent_answer *answer, void *aux)
{
    if (!id->bytes[0]) {
        return -ENOENT;
    }
    memset(answer, 0, sizeof *answer);
    answer->prefix = (struct service_prefix) {*id, 256};
    answer->path_class = 5;
    answer->ttl_ms = 77;
    answer_hops(s, &answer->prefix, &answer->hops, aux);
    return 0;
}

#endif /* agent_answers.h */
