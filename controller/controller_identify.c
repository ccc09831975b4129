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
at_locator(const struct controller *c, const struct in6_addr *locator)
{
    const struct topology_attachment *at = topology_attachment(c->topology,
                                                               locator);

    /* A plain host may be a router with a NAT. */
    return at && !at->plain ? registry_endpoint(c->registry, &at->endpoint)
                            : NULL;
}

static const struct registry_endpoint *
owner_of(const struct controller *c, uint32_t identity_v4)
{
    const struct endpoint_id *id;
    size_t len;

    id = address_pool_owner(c->identities, identity_v4, &len);
    return id && len == sizeof *id ? registry_endpoint(c->registry, id) : NULL;
}

void
controller_identify(const struct agent_session *session OVS_UNUSED,
                    const struct agent_claim *claim,
                    struct agent_identity *identity, void *c_)
{
    const struct controller *c = c_;
    const struct registry_endpoint *who = at_locator(c, &claim->locator);

    memset(identity, 0, sizeof *identity);
    identity->attached = who != NULL;
    identity->ttl_ms = who ? ATTACHED_TTL_MS
                       : c->hold.over ? CLAIMED_TTL_MS : HOLD_TTL_MS;
    if (!who) {
        who = registry_endpoint(c->registry, &claim->endpoint);
    }
    if (!who && claim->identity_v4) {
        who = owner_of(c, claim->identity_v4);
    }
    if (who) {
        identity->known = true;
        identity->endpoint = who->id;
        identity->identity_v4 = who->identity_v4;
    }
}
