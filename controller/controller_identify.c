/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at a locator: what agents ask before they believe the inner source of
 * a connection from there. */
#include "controller/controller_private.h"
#include "util.h"

/* Who leaves is asked for again soon: another may come to the locator.  (An
 * agent asks at once when somebody else speaks from there.) */
#define ATTACHED_TTL_MS 60000
#define CLAIMED_TTL_MS 5000
#define HOLD_TTL_MS 1000

static const struct registry_endpoint *
owner_of(const struct controller *c, uint32_t identity_v4)
{
    const struct endpoint_id *id;
    size_t len;

    id = address_pool_owner(c->identities, identity_v4, &len);
    return id && len == sizeof *id ? registry_endpoint(c->registry, id) : NULL;
}

static void
answer(const struct registry_endpoint *who, struct agent_identity *identity)
{
    if (who) {
        identity->known = true;
        identity->endpoint = who->id;
        identity->identity_v4 = who->identity_v4;
    }
}

/* Whoever may be behind a NAT, or on a plain host that is one, may not be an
 * endpoint that the network sees elsewhere. */
static bool
is_impossible(const struct controller *c, const struct agent_claim *claim,
              const struct topology_attachment *at)
{
    return at && !endpoint_id_equal(&at->endpoint, &claim->endpoint)
           && topology_is_pinned(c->topology, &claim->endpoint);
}

void
controller_identify(const struct agent_session *session OVS_UNUSED,
                    const struct agent_claim *claim,
                    struct agent_identity *identity, void *c_)
{
    const struct controller *c = c_;
    const struct topology_attachment *at
        = topology_attachment(c->topology, &claim->locator);

    memset(identity, 0, sizeof *identity);
    if (at && !at->plain && !at->nat) {
        identity->attached = true;
        identity->ttl_ms = ATTACHED_TTL_MS;
        answer(registry_endpoint(c->registry, &at->endpoint), identity);
        return;
    }
    identity->ttl_ms = c->hold.over ? CLAIMED_TTL_MS : HOLD_TTL_MS;
    if (is_impossible(c, claim, at)) {
        identity->known = true;
        identity->endpoint = at->endpoint;
        return;
    }
    const struct registry_endpoint *who
        = registry_endpoint(c->registry, &claim->endpoint);
    answer(who || !claim->identity_v4 ? who : owner_of(c, claim->identity_v4),
           identity);
}
