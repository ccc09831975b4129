/* SPDX-License-Identifier: Apache-2.0 */
/* The oracle: from the graph and the registrations, without the controller's
 * own code for rules, to what each switch must hold. */
#include "tests/bench/controller/load_check_base.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include "hash.h"
#include "flow.h"
#include "ofp-ext/sal_pipeline.h"
#include "ofp-ext/service_id.h"
#include "packets.h"
#include "util.h"

#define SAMPLES 64
#define TILES_MAX 64
/* weight_tolerance_permille is 50 by default. */
#define TOLERANCE 0.0505
#define SAID_MAX 5
/* Link probes, PROBEs over IPv4 and IPv6, SYNs that nobody serves. */
#define LIMITS_OF_A_PORT 4

struct known_service {
    struct hmap_node node;
    struct service_id id;
    int index;
};

/* What a switch says about a service. */
struct tiles {
    struct tile_seen {
        uint16_t value, mask;
        int host;
    } tiles[TILES_MAX];
    int n;
};

enum answer { UNKNOWN, NO, YES };

struct check {
    const struct load *l;
    const struct load_switch *sw;
    int *service_of;      /* By number of the match; -1: none. */
    struct tiles *tiles;  /* One a service. */
    uint64_t *right;      /* One a service: hash of tiles that were right. */
    uint8_t *answers;     /* By number of actions, of leads_to_its_own(). */
    bool *hosts;          /* Has a route. */
    bool *endpoints;      /* Is found as a service of its own. */
    struct load_base base; /* All else that a switch has. */
    int n_limits;         /* Flows of one port, to the controller. */
    size_t differences;
    bool say;
};

static void OVS_PRINTF_FORMAT(2, 3)
differs(struct check *c, const char *format, ...)
{
    va_list args;

    if (c->say && c->differences < SAID_MAX) {
        fprintf(stderr, "switch %d: ", c->sw->index + 1);
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        putc('\n', stderr);
    }
    c->differences++;
}

static int
find_service(const struct hmap *services, const struct service_id *id)
{
    const struct known_service *service;

    HMAP_FOR_EACH_WITH_HASH (service, node, hash_bytes(id, sizeof *id, 0),
                             services) {
        if (!memcmp(&service->id, id, sizeof service->id)) {
            return service->index;
        }
    }
    return -1;
}

/* Finds out which service each match is about. */
static void
know_services(struct check *c)
{
    const struct load_book *book = &c->l->book;
    struct hmap services = HMAP_INITIALIZER(&services);
    struct known_service *service;

    for (int i = 0; i < c->l->n_services; i++) {
        struct service_prefix prefix;
        char name[64];

        service = xmalloc(sizeof *service);
        load_service_name(i, name);
        service_prefix_from_name(name, &prefix);
        service->id = prefix.id;
        service->index = i;
        hmap_insert(&services, &service->node,
                    hash_bytes(&service->id, sizeof service->id, 0));
    }
    for (size_t i = 1; i <= book->n_keys; i++) {
        c->service_of[i] = find_service(&services, &book->keys[i]->service);
    }
    HMAP_FOR_EACH_POP (service, node, &services) {
        free(service);
    }
    hmap_destroy(&services);
}

static int
find_host(const struct check *c, uint32_t locator)
{
    int host = locator - c->l->agents[0].locator;

    return host >= 0 && host < c->l->n_agents ? host : -1;
}

/* A group has all equal ports and no other, or the only one and at most one
 * that takes its place; none that is down. */
static bool
group_leads_to(const struct check *c, uint32_t id, int host)
{
    const struct load_group *group = load_group_find(c->sw, id);
    int index = c->sw->index, wanted = 0, found = 0;

    if (!group || !group->n
        || !load_leads_to(c->l, index, group->ports[0], host)) {
        return false;
    }
    for (int i = 0; i < group->n; i++) {
        if (group->ports[i] > c->sw->n_ports
            || !c->sw->ports[group->ports[i]].up) {
            return false;
        }
        found += load_leads_to(c->l, index, group->ports[i], host);
    }
    for (int port = 1; port <= c->sw->n_ports; port++) {
        wanted += load_leads_to(c->l, index, port, host);
    }
    return found == MIN(wanted, LOAD_GROUP_PORTS)
           && group->n <= MAX(found, 2);
}

static bool
leads_to(const struct check *c, const struct load_act *act, int host)
{
    return act->group
           ? group_leads_to(c, act->group, host)
           : load_leads_to(c->l, c->sw->index, act->port, host);
}

/* The same for the host that the actions themselves name: the answer for this
 * switch is kept. */
static bool
leads_to_its_own(struct check *c, const struct load_act *act, int host)
{
    uint8_t *answer = &c->answers[act->number];

    if (*answer == UNKNOWN) {
        *answer = leads_to(c, act, host) ? YES : NO;
    }
    return *answer == YES;
}

static void
check_route(struct check *c, const struct load_key *key,
            const struct load_act *act)
{
    int host = find_host(c, key->destination);

    if (key->destination_mask != UINT32_MAX || host < 0) {
        differs(c, "a route to no host of ours");
    } else if (!leads_to(c, act, host)) {
        differs(c, "port %u, group %x: no shortest way to host %d",
                act->port, act->group, host);
    } else {
        c->hosts[host] = true;
    }
}

static void
check_service_flow(struct check *c, const struct load_key *key,
                   const struct load_act *act)
{
    int host = find_host(c, act->destination);
    const struct eth_addr mac = {{{2, 1,
        act->destination >> 24, act->destination >> 16,
        act->destination >> 8, act->destination}}};

    int service = c->service_of[key->number];
    if (service < 0 || host < 0) {
        differs(c, "a rule for an unknown %s",
                service < 0 ? "service" : "host");
    } else if (!eth_addr_equals(mac, act->mac)) {
        differs(c, "service %d: not the MAC address of host %d", service,
                host);
    } else if (!leads_to_its_own(c, act, host)) {
        differs(c, "service %d: port %u, group %x: no shortest way to host %d",
                service, act->port, act->group, host);
    } else if (c->tiles[service].n == TILES_MAX) {
        differs(c, "service %d: too many rules", service);
    } else {
        c->tiles[service].tiles[c->tiles[service].n++] = (struct tile_seen) {
            key->source_port, key->source_port_mask, host};
    }
}

/* Every endpoint is a service by its ID. */
static void
check_endpoint_flow(struct check *c, const struct load_key *key,
                    const struct load_act *act)
{
    int host = find_host(c, act->destination);
    uint8_t endpoint[SAL_ENDPOINT_ID_LEN];
    struct service_prefix prefix;

    if (host < 0) {
        differs(c, "an endpoint at no host of ours");
        return;
    }
    identity_endpoint_id(c->l->agents[host].identity.public_key, endpoint);
    service_prefix_of_endpoint(endpoint, &prefix);
    if (memcmp(&key->service, &prefix.id, sizeof prefix.id)) {
        differs(c, "the endpoint of host %d has another ID", host);
    } else if (!leads_to_its_own(c, act, host)) {
        differs(c, "endpoint of host %d: port %u, group %x: no shortest way",
                host, act->port, act->group);
    } else {
        c->endpoints[host] = true;
    }
}

/* What goes to the controller is limited, that of each port by itself. */
static void
check_limit(struct check *c, const struct load_key *key,
            const struct load_act *act)
{
    struct load_meter *meter = load_meter_find(c->sw, act->meter);

    if (!meter || !meter->rate) {
        differs(c, "to the controller without a limit");
    } else if (meter->port != LOAD_NO_PORT && meter->port != key->in_port) {
        differs(c, "ports %u and %u share a limit", meter->port,
                key->in_port);
    } else {
        meter->port = key->in_port;
        c->n_limits += key->in_port != 0;
    }
}

static void
check_flow(struct check *c, const struct load_flow *flow)
{
    const struct load_key *key = load_key(&c->l->book, flow);
    const struct load_act *act = load_act(&c->l->book, flow);

    load_base_flow(&c->base, key, act);
    if (act->port == ofp_to_u16(OFPP_CONTROLLER)) {
        check_limit(c, key, act);
    } else if (key->table == SAL_TABLE_FORWARD) {
        check_route(c, key, act);
    } else if (key->table == SAL_TABLE_SERVICE
               && act->kind == SAL_COOKIE_SERVICE) {
        check_service_flow(c, key, act);
    } else if (key->table == SAL_TABLE_SERVICE
               && act->kind == SAL_COOKIE_ENDPOINT) {
        check_endpoint_flow(c, key, act);
    }
}

/* Any source port must find exactly one tile. */
static void
check_cover(struct check *c, int service)
{
    const struct tiles *tiles = &c->tiles[service];
    double sum = 0;

    for (int i = 0; i < tiles->n; i++) { /* Exact: powers of two. */
        sum += 1.0 / (1 << __builtin_popcount(tiles->tiles[i].mask));
    }
    if (sum != 1) {
        differs(c, "service %d: rules for %.4f of the source ports", service,
                sum);
    }
    for (int s = 0; s < SAMPLES; s++) {
        uint16_t port = hash_int(s, service);
        int n = 0;

        for (int i = 0; i < tiles->n; i++) {
            n += (port & tiles->tiles[i].mask) == tiles->tiles[i].value;
        }
        if (n != 1) {
            differs(c, "service %d: %d rules match source port %u", service,
                    n, port);
            return;
        }
    }
}

/* Each instance has the share that its weight asks for. */
static void
check_shares(struct check *c, int service)
{
    const struct load_service *s = &c->l->services[service];
    const struct tiles *tiles = &c->tiles[service];
    int total = 0;

    for (int j = 0; j < s->n; j++) {
        total += s->weight[j];
    }
    for (int j = 0; j < s->n; j++) {
        int host = load_agent_of(c->l, service, j);
        double wanted = 0, share = 0;

        for (int i = 0; i < s->n; i++) { /* One host may serve two. */
            if (load_agent_of(c->l, service, i) == host) {
                wanted += (double) s->weight[i] / total;
            }
        }
        for (int i = 0; i < tiles->n; i++) {
            if (tiles->tiles[i].host == host) {
                share += 1.0 / (1 << __builtin_popcount(tiles->tiles[i].mask));
            }
        }
        if (fabs(share - wanted) > TOLERANCE) {
            differs(c, "service %d, host %d: share %.3f instead of %.3f",
                    service, host, share, wanted);
        }
    }
}

/* Whatever the order in which the tiles were found; never 0. */
static uint64_t
hash_tiles(const struct tiles *tiles)
{
    uint64_t sum = 1;

    for (int i = 0; i < tiles->n; i++) {
        const struct tile_seen *tile = &tiles->tiles[i];
        uint64_t words[2] = {(uint64_t) tile->value << 16 | tile->mask,
                             tile->host};
        ovs_u128 hash;

        hash_bytes128(words, sizeof words, 0, &hash);
        sum += hash.u64.lo;
    }
    return sum ? sum : 1;
}

/* What is right in one switch is so in the next one. */
static void
check_service(struct check *c, int service)
{
    uint64_t hash = hash_tiles(&c->tiles[service]);
    size_t before = c->differences;

    if (c->right[service] == hash) {
        return;
    }
    check_cover(c, service);
    check_shares(c, service);
    if (c->differences == before) {
        c->right[service] = hash;
    }
}

static void
check_switch(struct check *c)
{
    const struct load_flow *flow;
    struct load_meter *meter;
    uint32_t position = 0;

    load_base_begin(&c->base, c->sw);
    c->n_limits = 0;
    HMAP_FOR_EACH (meter, node, &c->sw->meters) {
        meter->port = LOAD_NO_PORT;
    }
    memset(c->hosts, 0, c->l->n_agents);
    memset(c->endpoints, 0, c->l->n_agents);
    memset(c->answers, UNKNOWN, c->l->book.n_acts + 1);
    for (int i = 0; i < c->l->n_services; i++) {
        c->tiles[i].n = 0;
    }
    while ((flow = load_flows_next(&c->sw->flows, &position))) {
        check_flow(c, flow);
    }
    const char *wrong = load_base_end(&c->base);
    if (wrong) {
        differs(c, "%s", wrong);
    }
    if (c->n_limits != LIMITS_OF_A_PORT * c->sw->n_ports) {
        differs(c, "%d limits of ports", c->n_limits);
    }
    for (int i = 0; i < c->l->n_agents; i++) {
        if (!c->hosts[i]) {
            differs(c, "no route to host %d", i);
        }
        if (c->endpoints[i] != c->l->has_hosts[c->sw->index]) {
            differs(c, "the endpoint of host %d is %s", i,
                    c->endpoints[i] ? "where no host is" : "missing");
        }
    }
    for (int i = 0; i < c->l->n_services; i++) {
        if (c->l->has_hosts[c->sw->index]) {
            check_service(c, i);
        } else if (c->tiles[i].n) {
            differs(c, "service %d: a rule where no host is", i);
        }
    }
}

size_t
load_check(const struct load *l, bool say)
{
    struct check c = {
        .l = l,
        .say = say,
        .service_of = xcalloc(l->book.n_keys + 1, sizeof *c.service_of),
        .tiles = xcalloc(MAX(1, l->n_services), sizeof *c.tiles),
        .right = xcalloc(MAX(1, l->n_services), sizeof *c.right),
        .answers = xcalloc(l->book.n_acts + 1, sizeof *c.answers),
        .hosts = xcalloc(l->n_agents, sizeof *c.hosts),
        .endpoints = xcalloc(l->n_agents, sizeof *c.endpoints),
    };

    know_services(&c);
    load_base_init(&c.base, l);
    for (int i = 0; i < l->n_switches; i++) {
        c.sw = &l->switches[i];
        check_switch(&c);
    }
    load_base_destroy(&c.base);
    free(c.service_of);
    free(c.tiles);
    free(c.right);
    free(c.answers);
    free(c.hosts);
    free(c.endpoints);
    return c.differences;
}
