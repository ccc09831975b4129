/* SPDX-License-Identifier: Apache-2.0 */
/* The oracle's other half: whom a switch admits, whose addresses it answers
 * for, and that it has no flow besides what it should have. */
#include "tests/bench/controller/load_check_base.h"

#include <string.h>
#include "flow.h"
#include "ofp-ext/sal_pipeline.h"
#include "packets.h"
#include "util.h"

/* What every switch has, whatever hosts and links there are: how many flows of
 * that table and priority, and how many more for each port. */
static const struct fixed {
    uint8_t table;
    uint16_t priority;
    int n, by_port;
} fixed[] = {
    {SAL_TABLE_ADMIT, SAL_PRIORITY_LINK_PROBE + 1, 0, 1},
    {SAL_TABLE_ADMIT, SAL_PRIORITY_LINK_PROBE, 1, 0},
    {SAL_TABLE_ADMIT, SAL_PRIORITY_HOST_PROBE + 1, 0, 2}, /* IPv4, IPv6. */
    {SAL_TABLE_ADMIT, SAL_PRIORITY_HOST_PROBE, 2, 0},
    {SAL_TABLE_ADMIT, SAL_PRIORITY_ADMIT_ASK, 3, 0},      /* ARP, ND twice. */
    {SAL_TABLE_CLASSIFY, SAL_PRIORITY_ARP_PROBE, 2, 0},
    {SAL_TABLE_CLASSIFY, SAL_PRIORITY_ND_UNKNOWN, 1, 0},
    {SAL_TABLE_CLASSIFY, SAL_PRIORITY_RESOLVE, 2, 0},
    {SAL_TABLE_CLASSIFY, SAL_PRIORITY_GUARD, 2, 0},
    {SAL_TABLE_CLASSIFY, SAL_PRIORITY_DEFAULT, 1, 0},
    {SAL_TABLE_ND, SAL_PRIORITY_ND, 1, 0},                /* The resolver. */
    {SAL_TABLE_SERVICE, SAL_PRIORITY_SERVICE_MISS + 1, 0, 1},
    {SAL_TABLE_SERVICE, SAL_PRIORITY_SERVICE_MISS, 1, 0},
};
BUILD_ASSERT_DECL(ARRAY_SIZE(fixed) == LOAD_BASE_FIXED);

/* The resolver's, by ARP and by ND. */
#define ANSWERS_OF_RESOLVER 2
/* By ARP, and by IPv4. */
#define ADMITTED_TWICE 2

void
load_base_init(struct load_base *base, const struct load *l)
{
    memset(base, 0, sizeof *base);
    base->load = l;
    base->admitted = xcalloc(MAX(1, l->n_agents), sizeof *base->admitted);
    base->answered = xcalloc(MAX(1, l->n_agents), sizeof *base->answered);
}

void
load_base_destroy(struct load_base *base)
{
    free(base->admitted);
    free(base->answered);
}

void
load_base_begin(struct load_base *base, const struct load_switch *sw)
{
    base->sw = sw;
    base->wrong = NULL;
    base->n_links = base->n_resolver = 0;
    memset(base->n_fixed, 0, sizeof base->n_fixed);
    memset(base->admitted, 0, base->load->n_agents * sizeof *base->admitted);
    memset(base->answered, 0, base->load->n_agents * sizeof *base->answered);
}

static struct eth_addr
mac_of(uint32_t locator)
{
    return (struct eth_addr) {{{2, 1, locator >> 24, locator >> 16,
                                locator >> 8, locator}}};
}

static bool
has_link(const struct load_base *base, uint32_t number)
{
    if (number < 1 || number > base->sw->n_ports) {
        return false;
    }
    const struct load_port *port = &base->sw->ports[number];
    return port->up && port->peer >= 0
           && base->load->switches[port->peer].ports[port->peer_port].up;
}

/* A host's own addresses from its own port; and from links, what others have
 * admitted. */
static const char *
take_admission(struct load_base *base, const struct load_key *key,
               const struct load_act *act)
{
    const struct load *l = base->load;

    if (act->next_table != SAL_TABLE_CLASSIFY || act->port || act->group) {
        return "who is admitted does not get to the next table";
    }
    if (ntohs(key->priority) == SAL_PRIORITY_ADMIT_LINK) {
        base->n_links++;
        return has_link(base, key->in_port)
               ? NULL : "a port without a link is admitted";
    }
    uint32_t host = key->sender - l->agents[0].locator;
    if (host >= l->n_agents || l->agents[host].sw != base->sw->index
        || l->agents[host].port != key->in_port
        || !eth_addr_equals(key->source, mac_of(key->sender))) {
        return "somebody is admitted who is not there";
    }
    base->admitted[host]++;
    return NULL;
}

/* Whoever asks gets the host's own MAC address. */
static const char *
take_answer(struct load_base *base, const struct load_key *key,
            const struct load_act *act)
{
    const struct load *l = base->load;
    uint32_t host = key->destination - l->agents[0].locator;

    if (!key->destination || key->destination == l->resolver) {
        base->n_resolver++;
        return NULL;
    }
    if (host >= l->n_agents || base->answered[host]
        || !eth_addr_equals(act->answer, mac_of(key->destination))
        || act->port != ofp_to_u16(OFPP_IN_PORT)) {
        return "a wrong answer to ARP";
    }
    base->answered[host] = true;
    return NULL;
}

/* Tiles and host routes are looked at by load_check.c. */
static bool
is_of_others(const struct load_key *key)
{
    return key->table == SAL_TABLE_FORWARD
           || (key->table == SAL_TABLE_SERVICE
               && ntohs(key->priority) >= SAL_PRIORITY_SERVICE(0));
}

static const char *
take_fixed(struct load_base *base, const struct load_key *key)
{
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
        if (fixed[i].table == key->table
            && fixed[i].priority == ntohs(key->priority)) {
            base->n_fixed[i]++;
            return NULL;
        }
    }
    return "a flow that should not be there";
}

void
load_base_flow(struct load_base *base, const struct load_key *key,
               const struct load_act *act)
{
    uint16_t priority = ntohs(key->priority);
    const char *wrong = NULL;

    if (is_of_others(key)) {
        return;
    }
    if (key->table == SAL_TABLE_ADMIT
        && (priority == SAL_PRIORITY_ADMIT_HOST
            || priority == SAL_PRIORITY_ADMIT_LINK)) {
        wrong = take_admission(base, key, act);
    } else if (key->table == SAL_TABLE_CLASSIFY
               && priority == SAL_PRIORITY_ARP) {
        wrong = take_answer(base, key, act);
    } else {
        wrong = take_fixed(base, key);
    }
    if (!base->wrong) {
        base->wrong = wrong;
    }
}

static int
count_links(const struct load_base *base)
{
    int n = 0;

    for (int port = 1; port <= base->sw->n_ports; port++) {
        n += has_link(base, port);
    }
    return n;
}

const char *
load_base_end(struct load_base *base)
{
    const struct load *l = base->load;

    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
        if (base->n_fixed[i]
            != fixed[i].n + fixed[i].by_port * base->sw->n_ports) {
            return "a flow that every switch has is missing, or there twice";
        }
    }
    for (int host = 0; host < l->n_agents; host++) {
        int wanted = l->agents[host].sw == base->sw->index ? ADMITTED_TWICE
                                                           : 0;
        if (base->admitted[host] != wanted) {
            return "a host is not admitted at its port";
        }
        if (!base->answered[host]) {
            return "no answer to ARP for a host";
        }
    }
    return base->wrong ? base->wrong
           : base->n_links != count_links(base) ? "a link is not admitted"
           : base->n_resolver != ANSWERS_OF_RESOLVER
             ? "no answer for the resolver" : NULL;
}
