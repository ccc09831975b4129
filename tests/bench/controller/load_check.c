/* SPDX-License-Identifier: Apache-2.0 */
/* The oracle: from the graph and the registrations, without the controller's
 * own code for rules, to what each switch must hold. */
#include "tests/bench/controller/load.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include "flow.h"
#include "hash.h"
#include "ofp-ext/sal_pipeline.h"
#include "ofp-ext/service_id.h"
#include "openflow/openflow.h"
#include "openvswitch/meta-flow.h"
#include "openvswitch/ofp-actions.h"
#include "util.h"

#define SAMPLES 64
#define TILES_MAX 64
/* weight_tolerance_permille is 50 by default. */
#define TOLERANCE 0.0505
#define SAID_MAX 5

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

struct check {
    const struct load *l;
    const struct load_switch *sw;
    struct hmap services;
    struct tiles *tiles;  /* One a service. */
    bool *hosts;          /* Has a route. */
    bool *endpoints;      /* Is found as a service of its own. */
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

static void
know_services(struct check *c)
{
    hmap_init(&c->services);
    for (int i = 0; i < c->l->n_services; i++) {
        struct known_service *service = xmalloc(sizeof *service);
        struct service_prefix prefix;
        char name[64];

        load_service_name(i, name);
        service_prefix_from_name(name, &prefix);
        service->id = prefix.id;
        service->index = i;
        hmap_insert(&c->services, &service->node,
                    hash_bytes(&service->id, sizeof service->id, 0));
    }
}

static int
find_service(const struct check *c, const void *id)
{
    struct known_service *service;

    HMAP_FOR_EACH_WITH_HASH (service, node,
                             hash_bytes(id, sizeof service->id, 0),
                             &c->services) {
        if (!memcmp(&service->id, id, sizeof service->id)) {
            return service->index;
        }
    }
    return -1;
}

static int
find_host(const struct check *c, uint32_t locator)
{
    int host = locator - c->l->agents[0].locator;

    return host >= 0 && host < c->l->n_agents ? host : -1;
}

/* What the actions do to a packet. */
static void
read_effect(const struct ofputil_flow_mod *fm, struct load_effect *effect)
{
    const struct ofpact *a;

    OFPACT_FOR_EACH_FLATTENED (a, fm->ofpacts, fm->ofpacts_len) {
        if (a->type == OFPACT_OUTPUT) {
            effect->port = ofp_to_u16(ofpact_get_OUTPUT(a)->port);
        } else if (a->type == OFPACT_GROUP) {
            effect->group = ofpact_get_GROUP(a)->group_id;
        } else if (a->type == OFPACT_SET_FIELD) {
            const struct ofpact_set_field *set = ofpact_get_SET_FIELD(a);

            if (set->field->id == MFF_IPV4_DST) {
                effect->destination = ntohl(set->value->be32);
            } else if (set->field->id == MFF_ETH_DST) {
                effect->mac = set->value->mac;
            }
        } else if (a->type == OFPACT_SET_IPV4_DST) {
            effect->destination = ntohl(ofpact_get_SET_IPV4_DST(a)->ipv4);
        } else if (a->type == OFPACT_SET_ETH_DST) {
            effect->mac = ofpact_get_SET_ETH_DST(a)->mac;
        }
    }
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
leads_to(const struct check *c, const struct load_effect *effect, int host)
{
    return effect->group
           ? group_leads_to(c, effect->group, host)
           : load_leads_to(c->l, c->sw->index, effect->port, host);
}

static void
check_route(struct check *c, const struct match *match,
            const struct load_effect *effect)
{
    int host = find_host(c, ntohl(match->flow.nw_dst));

    if (match->wc.masks.nw_dst != OVS_BE32_MAX || host < 0) {
        differs(c, "a route to no host of ours");
    } else if (!leads_to(c, effect, host)) {
        differs(c, "port %u, group %x: no shortest way to host %d",
                effect->port, effect->group, host);
    } else {
        c->hosts[host] = true;
    }
}

static void
check_service_flow(struct check *c, const struct match *match,
                   const struct load_effect *effect)
{
    union mf_value id;
    int host = find_host(c, effect->destination);
    const struct eth_addr mac = {{{2, 1,
        effect->destination >> 24, effect->destination >> 16,
        effect->destination >> 8, effect->destination}}};

    mf_get_value(mf_from_name("sal_service"), &match->flow, &id);
    int service = find_service(c, &id);
    if (service < 0 || host < 0) {
        differs(c, "a rule for an unknown %s",
                service < 0 ? "service" : "host");
    } else if (!eth_addr_equals(mac, effect->mac)) {
        differs(c, "service %d: not the MAC address of host %d", service,
                host);
    } else if (!leads_to(c, effect, host)) {
        differs(c, "service %d: port %u, group %x: no shortest way to host %d",
                service, effect->port, effect->group, host);
    } else if (c->tiles[service].n == TILES_MAX) {
        differs(c, "service %d: too many rules", service);
    } else {
        c->tiles[service].tiles[c->tiles[service].n++] = (struct tile_seen) {
            ntohs(match->flow.tp_src), ntohs(match->wc.masks.tp_src), host};
    }
}

/* Every endpoint is a service by its ID. */
static void
check_endpoint_flow(struct check *c, const struct match *match,
                    const struct load_effect *effect)
{
    int host = find_host(c, effect->destination);
    uint8_t endpoint[SAL_ENDPOINT_ID_LEN];
    struct service_prefix prefix;
    union mf_value id;

    mf_get_value(mf_from_name("sal_service"), &match->flow, &id);
    if (host < 0) {
        differs(c, "an endpoint at no host of ours");
        return;
    }
    identity_endpoint_id(c->l->agents[host].identity.public_key, endpoint);
    service_prefix_of_endpoint(endpoint, &prefix);
    if (memcmp(&id, &prefix.id, sizeof prefix.id)) {
        differs(c, "the endpoint of host %d has another ID", host);
    } else if (!leads_to(c, effect, host)) {
        differs(c, "endpoint of host %d: port %u, group %x: no shortest way",
                host, effect->port, effect->group);
    } else {
        c->endpoints[host] = true;
    }
}

bool
load_read_flow(const struct load_flow *flow, struct match *match,
               struct load_effect *effect)
{
    const struct ofp_header *oh = (const void *) flow->message;
    struct ofputil_flow_mod fm;
    struct ofpbuf ofpacts;

    memset(effect, 0, sizeof *effect);
    ofpbuf_init(&ofpacts, 0);
    bool ok = !ofputil_decode_flow_mod(&fm, oh, OFPUTIL_P_OF15_OXM, NULL, NULL,
                                       &ofpacts, OFPP_MAX, 254);
    if (ok) {
        minimatch_expand(&fm.match, match);
        minimatch_destroy(&fm.match);
        read_effect(&fm, effect);
        effect->table = fm.table_id;
        effect->kind = ntohll(fm.new_cookie) >> 32;
        if (fm.table_id == SAL_TABLE_FORWARD) {
            effect->destination = ntohl(match->flow.nw_dst);
        }
    }
    ofpbuf_uninit(&ofpacts);
    return ok;
}

static void
check_flow(struct check *c, const struct load_flow *flow)
{
    struct load_effect effect;
    struct match match;

    if (!load_read_flow(flow, &match, &effect)) {
        differs(c, "a flow that cannot be decoded");
    } else if (effect.table == SAL_TABLE_FORWARD) {
        check_route(c, &match, &effect);
    } else if (effect.table == SAL_TABLE_SERVICE
               && effect.kind == SAL_COOKIE_SERVICE) {
        check_service_flow(c, &match, &effect);
    } else if (effect.table == SAL_TABLE_SERVICE
               && effect.kind == SAL_COOKIE_ENDPOINT) {
        check_endpoint_flow(c, &match, &effect);
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

static void
check_switch(struct check *c)
{
    const struct load_flow *flow;

    memset(c->hosts, 0, c->l->n_agents);
    memset(c->endpoints, 0, c->l->n_agents);
    for (int i = 0; i < c->l->n_services; i++) {
        c->tiles[i].n = 0;
    }
    HMAP_FOR_EACH (flow, node, &c->sw->flows) {
        check_flow(c, flow);
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
            check_cover(c, i);
            check_shares(c, i);
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
        .tiles = xcalloc(MAX(1, l->n_services), sizeof *c.tiles),
        .hosts = xcalloc(l->n_agents, sizeof *c.hosts),
        .endpoints = xcalloc(l->n_agents, sizeof *c.endpoints),
    };
    struct known_service *service;

    know_services(&c);
    for (int i = 0; i < l->n_switches; i++) {
        c.sw = &l->switches[i];
        check_switch(&c);
    }
    HMAP_FOR_EACH_POP (service, node, &c.services) {
        free(service);
    }
    hmap_destroy(&c.services);
    free(c.tiles);
    free(c.hosts);
    free(c.endpoints);
    return c.differences;
}
