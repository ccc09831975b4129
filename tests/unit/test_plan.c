/* SPDX-License-Identifier: Apache-2.0 */
/* The plan: incremental equals full recompute, installed follows desired, and
 * packets that follow the rules arrive.  STEPS=n in the environment sets the
 * length of the random walk. */
#include "tests/unit/unit.h"

#include "controller/addresses.h"
#include "controller/paths.h"
#include "controller/plan.h"
#include "controller/rule_table.h"
#include "openvswitch/dynamic-string.h"
#include "tests/unit/topology_builder.h"
#include "packets.h"

enum { SWITCHES = 6, PORTS = 12, HOSTS = 12, SERVICES = 5, HOST_PORT = 7 };

static const char *const names[SERVICES] = {
    "acme", "shop.acme", "web.shop.acme", "a.web.shop.acme", "db.acme"};

static struct address_pool *identities, *services;
static struct registry *registry;
static struct topology *topology;
static struct plan *plan;
static struct rule_table *installed[SWITCHES];
static bool reconnected[SWITCHES]; /* The next diff must be a full one. */
static uint32_t seq;
static bool groups; /* Fast-failover groups in use. */
static bool anti_spoofing;
static bool use_classes;
static bool hop_by_hop;
static bool plain_hosts;
static bool limited; /* Some switches have no room for all services. */

static struct path_classes classes;

/* 1: lowest latency; 2: not through switch 2 nor over one link; 3: by way of
 * switch 4; 4: by way of the stock switch, which cannot be. */
static void
build_classes(void)
{
    memset(&classes, 0, sizeof classes);
    classes.n = 4;
    classes.latency = true;
    classes.classes[1].kind = PATH_CLASS_LOWEST_LATENCY;
    classes.classes[2].kind = PATH_CLASS_AVOID;
    classes.classes[2].switches[classes.classes[2].n_switches++] = 2;
    classes.classes[2].links[classes.classes[2].n_links++]
        = (struct topology_end) {3, 1};
    classes.classes[3].kind = PATH_CLASS_WAYPOINT;
    classes.classes[3].waypoint = 4;
    classes.classes[4].kind = PATH_CLASS_WAYPOINT;
    classes.classes[4].waypoint = 5;
    topology_watch_latency(topology);
}

static void
start_plan(void)
{
    struct rules_config rules_config = RULES_CONFIG_DEFAULT;
    rules_config.groups = groups;
    rules_config.anti_spoofing = anti_spoofing;
    rules_config.hop_by_hop = hop_by_hop;
    rules_config.plain_hosts = plain_hosts;
    if (plain_hosts) {
        topology_watch_host_ports(topology);
    }
    const struct routes_config routes_config = ROUTES_CONFIG_DEFAULT;
    plan = plan_create(&rules_config, &routes_config, &classes, registry,
                       topology);
}

static void
start(void)
{
    identities = address_pool_create(ADDRESS_IDENTITY_NETWORK, 10);
    services = address_pool_create(ADDRESS_SERVICE_NETWORK, 15);
    registry = registry_create(identities, services);
    topology = topology_create();
    memset(&classes, 0, sizeof classes);
    if (use_classes) {
        build_classes();
    }
    classes.hop_by_hop = hop_by_hop;
    start_plan();
    for (int i = 0; i < SWITCHES; i++) {
        installed[i] = rule_table_create();
    }
    seq = 0;
}

static void
stop(void)
{
    plan_destroy(plan);
    topology_destroy(topology);
    registry_destroy(registry);
    address_pool_destroy(identities);
    address_pool_destroy(services);
    for (int i = 0; i < SWITCHES; i++) {
        rule_table_destroy(installed[i]);
    }
}

/* What put does: brings the installed rules up to date.  Returns the number of
 * rules written. */
static size_t
put_all(bool full)
{
    struct rule_changes changes = RULE_CHANGES_INITIALIZER;
    uint64_t dpid;
    size_t n = 0;

    plan_run(plan, NULL);
    while (plan_pop_changed(plan, &dpid)) {
        plan_diff(plan, dpid, installed[dpid - 1],
                  full || reconnected[dpid - 1], &changes);
        reconnected[dpid - 1] = false;
        rule_changes_apply(&changes, changes.n, installed[dpid - 1]);
        CU_ASSERT(rule_table_equal(plan_desired(plan, dpid),
                                   installed[dpid - 1]));
        n += changes.n;
    }
    rule_changes_destroy(&changes);
    return n;
}

static void
check(void)
{
    struct ds why = DS_EMPTY_INITIALIZER;
    bool same = plan_check(plan, &why);
    CU_ASSERT(same);
    if (!same) {
        fprintf(stderr, "%s", ds_cstr(&why));
    }
    ds_destroy(&why);
}

static void
session(int i)
{
    struct endpoint_id id = build_endpoint_id(i);
    uint64_t number;
    CU_ASSERT_EQUAL(registry_session_begin(registry, &id, "h", 0,
                                           BUILDER_NEVER, &number), 0);
}

static void
attach(int i, uint64_t dpid, uint32_t port)
{
    struct topology_probe probe = build_probe(i, dpid, port, ++seq);
    topology_attach(topology, &probe, BUILDER_NEVER);
}

static void
attach6(int i, uint64_t dpid, uint32_t port)
{
    struct topology_probe probe = build_probe6(i, dpid, port, ++seq);
    topology_attach(topology, &probe, BUILDER_NEVER);
}

static struct in6_addr
locator_of(int i, bool v6)
{
    return v6 ? build_probe6(i, 1, 1, 1).locator
              : build_probe(i, 1, 1, 1).locator;
}

static struct registry_key
key_of(int i, int service, int port)
{
    struct registry_key key;
    memset(&key, 0, sizeof key);
    key.endpoint = build_endpoint_id(i);
    service_prefix_from_name(names[service], &key.prefix);
    key.protocol = port % 2 ? 6 : 17;
    key.port = port;
    return key;
}

static void
offer(int i, int service, int port, const struct registry_offer *what)
{
    struct registry_key key = key_of(i, service, port);
    registry_register(registry, &key, names[service], what, NULL);
}

static void
serve(int i, int service, int port, int weight)
{
    offer(i, service, port, &(struct registry_offer) {.weight = weight});
}

/* A ring of switches, every second pair also linked across; 5 is stock. */
static void
build_fabric(void)
{
    for (int i = 1; i <= SWITCHES; i++) {
        build_switch(topology, i, PORTS, i != 5);
    }
    for (int i = 1; i <= SWITCHES; i++) {
        build_link(topology, i, 1, i % SWITCHES + 1, 2);
    }
    for (int i = 1; i <= SWITCHES / 2; i++) {
        build_link(topology, i, 3, i + SWITCHES / 2, 3);
    }
}

/* The port that a rule sends to: of a group, the first that is up.  0 if there
 * is none. */
static uint32_t
out_port(uint64_t dpid, const struct rule *rule)
{
    if (!(rule->flags & RULE_VIA_GROUP)) {
        return rule->port;
    }
    struct rule key = RULE_INIT(RULE_GROUP);
    key.group = rule->port;
    const struct rule *group = rule_table_find(installed[dpid - 1], &key);
    CU_ASSERT_PTR_NOT_NULL_FATAL(group);
    for (int i = 0; i < RULE_GROUP_PORTS_MAX && group->ports[i]; i++) {
        const struct topology_port *port
            = topology_port(topology, dpid, group->ports[i]);
        if (port && port->up) {
            return group->ports[i];
        }
    }
    return 0;
}

/* A packet on its way. */
struct packet {
    uint64_t at;
    uint32_t in;  /* Port; 0 = none. */
    struct in6_addr to;
    uint8_t class;
    bool marked;
    bool visited[SWITCHES + 1];
    bool avoided; /* Used what class 2 avoids, where it could not help it. */
};

/* The rule of the forwarding table that matches. */
static const struct rule *
match_packet(const struct packet *packet)
{
    const struct rule_table *table = installed[packet->at - 1];
    struct rule key = RULE_INIT(IN6_IS_ADDR_V4MAPPED(&packet->to)
                                ? RULE_HOST : RULE_HOST6);
    const struct rule *rule = NULL;
    key.address = packet->to;
    if (packet->class && packet->marked) {
        key.path_class = packet->class | RULE_MARKED_CLASS;
        rule = rule_table_find(table, &key);
    }
    if (!rule && packet->class) {
        key.path_class = packet->class;
        rule = rule_table_find(table, &key);
    }
    if (!rule) {
        key.path_class = 0;
        rule = rule_table_find(table, &key);
    }
    return rule;
}

/* Sends the packet by 'rule'.  Returns where it comes out: dpid * 1000 + port,
 * 0 if it is dropped, 1 if it is at another switch. */
static uint32_t
send_packet(struct packet *packet, const struct rule *rule, bool any_port)
{
    uint64_t dpid = packet->at;
    const struct topology_switch *sw = topology_switch(topology, dpid);
    uint32_t out = out_port(dpid, rule);
    const struct topology_port *port = topology_port(topology, dpid, out);
    struct topology_end far;

    if (rule->flags & RULE_MARK) {
        CU_ASSERT_EQUAL(rule->flags >> RULE_MARK_CLASS_SHIFT, packet->class);
        packet->marked = true;
        any_port = true;
    }
    if (!out || (packet->in && out == packet->in && !any_port)) {
        return 0; /* A switch sends nothing back. */
    }
    if (!port || !topology_port_link(topology, sw, port, &far)) {
        return dpid * 1000 + out;
    }
    packet->avoided |= dpid == 3 && out == 1;
    packet->avoided |= far.dpid == 3 && far.port == 1;
    packet->at = far.dpid;
    packet->in = far.port;
    return 1;
}

/* Follows it to where it comes out; 0 if it is dropped or loops. */
static uint32_t
follow_packet(struct packet *packet)
{
    for (int hops = 0; hops < 4 * SWITCHES; hops++) {
        packet->visited[packet->at] = true;
        const struct rule *rule = match_packet(packet);
        if (!rule) {
            return 0;
        }
        uint32_t end = send_packet(packet, rule, false);
        if (end != 1) {
            return end;
        }
    }
    return 0;
}

static uint32_t
follow_host(uint64_t dpid, const struct in6_addr *address)
{
    struct packet packet = {.at = dpid, .to = *address};
    return follow_packet(&packet);
}

/* The SAL switch that 'dpid' hands SYNs on to, itself if it is one; 0 if there
 * is none. */
static uint64_t
follow_uplinks(uint64_t dpid, bool v6)
{
    for (int hops = 0; !topology_switch(topology, dpid)->has_sal; hops++) {
        struct rule key = RULE_INIT(v6 ? RULE_UPLINK6 : RULE_UPLINK);
        struct topology_end far;
        const struct rule *rule = rule_table_find(installed[dpid - 1], &key);
        const struct topology_switch *sw = topology_switch(topology, dpid);
        if (!rule || hops > SWITCHES
            || !topology_port_link(topology, sw,
                                   topology_port(topology, dpid, rule->port),
                                   &far)) {
            return 0;
        }
        dpid = far.dpid;
    }
    return dpid;
}

/* Does the rule match a SYN for 'id'? */
static bool
resolves(const struct rule *r, const struct service_id *id, bool v6,
         uint8_t protocol, uint16_t source_port)
{
    struct service_prefix prefix = {r->service, r->prefix_len};
    return rule_has_target(r)
           && (r->kind == RULE_SERVICE6 || r->kind == RULE_ENDPOINT6) == v6
           && (!r->protocol || r->protocol == protocol)
           && service_prefix_contains_id(&prefix, id)
           && !((source_port ^ r->tile_value) & ((1u << r->tile_bits) - 1));
}

/* The path class that hosts put into the SYN of the service. */
static uint8_t
class_of(const struct rule *rule)
{
    struct service_prefix prefix = {rule->service, rule->prefix_len};
    const struct registry_service *service = registry_service(registry,
                                                              &prefix);
    return service ? service->definition.path_class : 0;
}

static const struct rule *
best_service_rule(uint64_t dpid, const struct service_id *id, bool v6,
                  uint8_t protocol, uint16_t source_port)
{
    static struct rule best;
    size_t i = 0;

    best = RULE_INIT(RULE_NONE);
    for (const struct rule *r;
         (r = rule_table_next(installed[dpid - 1], &i));) {
        if (resolves(r, id, v6, protocol, source_port)) {
            /* Tiles are disjoint, so no two of one length match. */
            CU_ASSERT(!best.kind || best.prefix_len != r->prefix_len);
            if (!best.kind || r->prefix_len > best.prefix_len) {
                best = *r;
            }
        }
    }
    return best.kind ? &best : NULL;
}

/* Follows a SYN: to the first SAL switch, through its service table by longest
 * prefix, on to the instance.  Stores the locator it was resolved to (:: if
 * nobody serves). */
static uint32_t
follow_syn_over(bool v6, uint64_t dpid, const struct service_id *id,
                uint8_t protocol, uint16_t source_port,
                struct in6_addr *ret_locator)
{
    *ret_locator = in6addr_any;
    dpid = follow_uplinks(dpid, v6);
    if (!dpid) {
        return 0;
    }

    struct packet packet = {.at = dpid};
    const struct rule *best;
    for (int hops = 0;; hops++) {
        best = best_service_rule(packet.at, id, v6, protocol, source_port);
        if (!best || hops > 2 * SWITCHES) {
            CU_ASSERT(!hops); /* What was handed on is not lost. */
            return 0;
        }
        packet.visited[packet.at] = true;
        packet.class = class_of(best);
        if (!(best->flags & RULE_ONWARD)) {
            break;
        }
        CU_ASSERT(hop_by_hop);
        if (send_packet(&packet, best, false) != 1) {
            return 0;
        }
    }
    *ret_locator = packet.to = best->target;
    uint32_t end = send_packet(&packet, best, true);
    return end == 1 ? follow_packet(&packet) : end;
}

static uint32_t
follow_syn(uint64_t dpid, const struct service_id *id, uint8_t protocol,
           uint16_t source_port, uint32_t *ret_locator)
{
    struct in6_addr locator;
    uint32_t end = follow_syn_over(false, dpid, id, protocol, source_port,
                                   &locator);
    *ret_locator = locator_get_v4(&locator);
    return end;
}

/* A broadcast that enters switch 'dpid' by 'in': counts how often it comes out
 * of each port of each switch.  Ends, or it is a storm. */
static void
broadcast(uint64_t dpid, uint32_t in, int out[SWITCHES + 1][PORTS + 1],
          int *budget)
{
    const struct topology_switch *sw = topology_switch(topology, dpid);
    struct rule key = RULE_INIT(RULE_FLOOD_GROUP);
    const struct rule *group = rule_table_find(installed[dpid - 1], &key);
    CU_ASSERT_FATAL(--*budget > 0);
    for (uint32_t p = 1; group && p <= PORTS; p++) {
        const struct topology_port *port = topology_port(topology, dpid, p);
        struct topology_end far;
        if (p == in || !(group->port_set[p / 8] & 1 << p % 8)) {
            continue;
        }
        out[dpid][p]++;
        if (port && topology_port_link(topology, sw, port, &far)) {
            broadcast(far.dpid, far.port, out, budget);
        }
    }
}

/* It reaches each port that a host may be behind once, and ends. */
static void
check_broadcast(uint64_t from, const bool reached[SWITCHES + 1])
{
    int out[SWITCHES + 1][PORTS + 1] = {{0}}, budget = 2 * SWITCHES;
    if (!plain_hosts) {
        return;
    }
    broadcast(from, HOST_PORT, out, &budget);
    for (uint64_t dpid = 1; dpid <= SWITCHES; dpid++) {
        for (uint32_t p = 1; p <= PORTS; p++) {
            const struct topology_port *port = topology_port(topology, dpid,
                                                             p);
            bool is_own = dpid == from && p == HOST_PORT;
            if (port && port->up && topology_is_host_port(port)) {
                CU_ASSERT_EQUAL(out[dpid][p], reached[dpid] && !is_own);
            }
        }
    }
}

/* Oracle: which hosts can be reached, over links, by flooding. */
static void
flood(uint64_t from, bool reached[SWITCHES + 1])
{
    reached[from] = true;
    for (uint32_t p = 1; p <= PORTS; p++) {
        struct topology_end far;
        const struct topology_port *port = topology_port(topology, from, p);
        if (port && topology_port_link(topology,
                                       topology_switch(topology, from), port,
                                       &far) && !reached[far.dpid]) {
            flood(far.dpid, reached);
        }
    }
}

static uint32_t where_attached(const struct in6_addr *,
                               const bool reached[SWITCHES + 1]);

/* Oracle: is there a way over SAL switches alone, without what class 2 avoids
 * if 'avoiding'?  Whatever 'to' is, it is only arrived at. */
static bool
is_way(uint64_t from, uint64_t to, bool avoiding, bool seen[SWITCHES + 1])
{
    if (from == to) {
        return true;
    }
    const struct topology_switch *sw = topology_switch(topology, from);
    if (!sw->has_sal || seen[from] || (avoiding && from == 2)) {
        return false;
    }
    seen[from] = true;
    for (uint32_t p = 1; p <= PORTS; p++) {
        struct topology_end far;
        const struct topology_port *port = topology_port(topology, from, p);
        if (port && topology_port_link(topology, sw, port, &far)
            && far.dpid != from
            && !(avoiding && ((from == 3 && p == 1)
                              || (far.dpid == 3 && far.port == 1)))
            && is_way(far.dpid, to, avoiding, seen)) {
            return true;
        }
    }
    return false;
}

static bool
has_way(uint64_t from, uint64_t to, bool avoiding)
{
    bool seen[SWITCHES + 1] = {false};
    return is_way(from, to, avoiding, seen);
}

static bool
is_sal(uint64_t dpid)
{
    const struct topology_switch *sw = topology_switch(topology, dpid);
    return sw && sw->has_sal;
}

/* Whatever the class, packets arrive; and the way is what the class asks for,
 * where that can be. */
static void
check_classes(uint64_t from, const bool reached[SWITCHES + 1])
{
    for (int class = 1; use_classes && class <= 4; class++) {
        struct in6_addr locator = locator_of(unit_random_below(HOSTS),
                                             unit_random_below(2));
        uint32_t expected = where_attached(&locator, reached);
        struct packet packet = {.at = from, .to = locator, .class = class};
        CU_ASSERT_EQUAL(follow_packet(&packet), expected);
        uint64_t to = expected / 1000;
        if (!expected || !is_sal(from)) {
            continue;
        }
        if (class == 2 && has_way(from, to, true)) {
            CU_ASSERT(!packet.avoided);
            CU_ASSERT(!packet.visited[2] || from == 2 || to == 2);
        }
        if (class == 3 && is_sal(4) && has_way(from, 4, false)) {
            CU_ASSERT(packet.visited[4] && packet.marked);
        }
    }
}

static uint32_t
where_attached(const struct in6_addr *locator,
               const bool reached[SWITCHES + 1])
{
    const struct topology_attachment *host = topology_attachment(topology,
                                                                 locator);
    return host && reached[host->dpid] ? host->dpid * 1000 + host->port : 0;
}

static void
check_hosts(uint64_t from, const bool reached[SWITCHES + 1])
{
    for (int i = 0; i < 2 * HOSTS; i++) {
        struct in6_addr locator = locator_of(i / 2, i % 2);
        CU_ASSERT_EQUAL(follow_host(from, &locator),
                        where_attached(&locator, reached));
    }
}

/* Of 'i' among the instances of 's'; UINT32_MAX if it is none. */
static uint32_t
priority_of(int i, int s, bool v6, uint8_t protocol, const bool reached[])
{
    struct in6_addr locator = locator_of(i, v6);
    uint32_t priority = UINT32_MAX;
    if (!where_attached(&locator, reached)
        || topology_attachment(topology, &locator)->plain) {
        return priority;
    }
    for (int port = 1; port <= 3; port++) {
        struct registry_key key = key_of(i, s, port);
        const struct registry_instance *instance = registry_instance(registry,
                                                                     &key);
        if (instance && instance->offer.weight
            && instance->protocol == protocol) {
            priority = MIN(priority, instance->offer.priority);
        }
    }
    return priority;
}

/* Does 'i' serve exactly prefix 's' for 'protocol', as the SAL switch that
 * resolves for 'reached' should see it? */
static bool
is_instance(int i, int s, bool v6, uint8_t protocol, const bool reached[])
{
    return priority_of(i, s, v6, protocol, reached) <= UINT16_MAX;
}

/* The same where the policy may leave some out. */
static bool
is_chosen(int i, int s, bool v6, uint8_t protocol, const bool reached[])
{
    struct service_prefix prefix;
    uint32_t own = priority_of(i, s, v6, protocol, reached);
    service_prefix_from_name(names[s], &prefix);
    const struct registry_service *service = registry_service(registry,
                                                              &prefix);
    for (int j = 0; j < HOSTS && service->definition.policy == ROUTE_FAILOVER;
         j++) {
        if (priority_of(j, s, v6, protocol, reached) < own) {
            return false;
        }
    }
    return own <= UINT16_MAX;
}

/* A SYN for names[s] must reach an instance of the longest prefix that has
 * one. */
static void
check_service(uint64_t from, int s, bool v6, uint8_t protocol,
              const bool reached[SWITCHES + 1])
{
    struct service_prefix wanted;
    service_prefix_from_name(names[s], &wanted);
    struct in6_addr locator;
    uint32_t end = follow_syn_over(v6, from, &wanted.id, protocol,
                                   SAL_ENTROPY_BASE | (unit_random()
                                                       & SAL_ENTROPY_MASK),
                                   &locator);
    int best = -1, best_len = -1;
    for (int t = 0; t < SERVICES; t++) {
        struct service_prefix prefix;
        service_prefix_from_name(names[t], &prefix);
        if (service_prefix_contains(&prefix, &wanted)
            && prefix.len > best_len) {
            for (int i = 0; i < HOSTS; i++) {
                if (is_instance(i, t, v6, protocol, reached)) {
                    best = t;
                    best_len = prefix.len;
                }
            }
        }
    }
    if (limited && IN6_IS_ADDR_UNSPECIFIED(&locator)) {
        return; /* No room for it there: the controller resolves it. */
    }
    if (best < 0) {
        CU_ASSERT(IN6_IS_ADDR_UNSPECIFIED(&locator));
        return;
    }
    int i = locator.s6_addr[15];
    CU_ASSERT_FATAL(i >= 0 && i < HOSTS);
    struct in6_addr own = locator_of(i, v6);
    CU_ASSERT(ipv6_addr_equals(&locator, &own));
    CU_ASSERT(is_chosen(i, best, v6, protocol, reached));
    CU_ASSERT_EQUAL(end, where_attached(&locator, reached));
}

/* Every endpoint is a service by its ID, for any protocol. */
static void
check_endpoints(uint64_t from, const bool reached[SWITCHES + 1])
{
    for (int i = 0; i < 2 * HOSTS; i++) {
        struct endpoint_id id = build_endpoint_id(i / 2);
        struct in6_addr own = locator_of(i / 2, i % 2), locator;
        struct service_prefix prefix;
        service_prefix_of_endpoint(id.bytes, &prefix);
        uint32_t expected = where_attached(&own, reached);
        if (expected && topology_attachment(topology, &own)->plain) {
            expected = 0; /* It is nobody's service. */
        }
        uint32_t end = follow_syn_over(i % 2, from, &prefix.id, i,
                                       unit_random(), &locator);
        if (limited && IN6_IS_ADDR_UNSPECIFIED(&locator)) {
            continue;
        }
        CU_ASSERT_EQUAL(end, expected);
        CU_ASSERT(!expected || ipv6_addr_equals(&locator, &own));
    }
}

static bool
has_sal_nearby(const bool reached[SWITCHES + 1])
{
    for (int i = 1; i <= SWITCHES; i++) {
        const struct topology_switch *sw = topology_switch(topology, i);
        if (reached[i] && sw && sw->has_sal) {
            return true;
        }
    }
    return false;
}

/* Would the switch take an IP packet with these addresses from 'in'? */
static bool
is_admitted(uint64_t dpid, uint32_t in, const struct eth_addr *mac,
            const struct in6_addr *locator)
{
    bool link = false, host = false, arp = false;
    size_t i = 0;
    for (const struct rule *r;
         (r = rule_table_next(installed[dpid - 1], &i));) {
        bool own = r->in_port == in && eth_addr_equals(r->source, *mac)
                   && !memcmp(&r->address, locator, sizeof *locator);
        link |= r->kind == RULE_ADMIT_ALL
                || (r->kind == RULE_ADMIT_LINK && r->in_port == in);
        host |= (r->kind == RULE_ADMIT_HOST || r->kind == RULE_ADMIT_HOST6)
                && own;
        arp |= r->kind == RULE_ADMIT_ARP && own;
    }
    CU_ASSERT_EQUAL(host && IN6_IS_ADDR_V4MAPPED(locator), arp);
    return link || host;
}

/* Hosts are admitted as themselves where they are, other switches' packets in
 * any case, nothing else. */
static void
check_admission(uint64_t dpid)
{
    const struct topology_switch *sw = topology_switch(topology, dpid);
    for (int step = 0; step < 20; step++) {
        int i = unit_random_below(HOSTS);
        bool v6 = unit_random_below(2);
        struct in6_addr locator = locator_of(i, v6);
        struct eth_addr mac = build_probe(unit_random_below(4)
                                          ? i : unit_random_below(HOSTS),
                                          1, 1, 1).mac;
        const struct topology_attachment *host = topology_attachment(topology,
                                                                     &locator);
        uint32_t in = host && unit_random_below(2)
                      ? host->port : 1 + unit_random_below(PORTS);
        struct topology_end far;
        const struct topology_port *port = topology_port(topology, dpid, in);
        bool expected = !anti_spoofing
            || (port && topology_port_link(topology, sw, port, &far)
                && far.dpid != dpid)
            || (host && host->dpid == dpid && host->port == in
                && eth_addr_equals(mac, host->mac));
        CU_ASSERT_EQUAL(is_admitted(dpid, in, &mac, &locator), expected);
    }
}

/* Packets arrive where they should, from everywhere. */
static void
check_delivery(void)
{
    for (uint64_t from = 1; from <= SWITCHES; from++) {
        if (!topology_switch(topology, from)) {
            continue;
        }
        bool reached[SWITCHES + 1] = {false};
        flood(from, reached);
        check_hosts(from, reached);
        check_classes(from, reached);
        check_broadcast(from, reached);
        check_admission(from);
        /* Where no host may be, nothing is resolved. */
        if (topology_switch(topology, from)->n_host_ports
            && has_sal_nearby(reached)) {
            for (int s = 0; s < SERVICES; s++) {
                check_service(from, s, unit_random_below(2),
                              unit_random_below(2) ? 6 : 17, reached);
            }
            check_endpoints(from, reached);
        }
    }
}

static void
test_quickstart(void)
{
    start();
    for (int i = 1; i <= 3; i++) {
        build_switch(topology, i, 4, true);
    }
    build_link(topology, 1, 1, 2, 1);
    build_link(topology, 2, 2, 3, 1);
    build_link(topology, 3, 2, 1, 2);
    CU_ASSERT(put_all(false) > 0);
    CU_ASSERT_EQUAL(plan_generation(plan), 1);
    CU_ASSERT_EQUAL(put_all(false), 0);
    CU_ASSERT_EQUAL(plan_generation(plan), 1);

    for (int i = 0; i < 4; i++) {
        session(i);
        attach(i, i ? i : 1, i ? 3 : 4);
    }
    serve(1, 2, 1, 1);
    serve(2, 2, 1, 1);
    serve(3, 2, 1, 2);
    struct plan_result result;
    plan_run(plan, &result);
    CU_ASSERT_EQUAL(result.n_services, 1);
    CU_ASSERT_EQUAL(result.topology.n_hosts, 4);
    CU_ASSERT_EQUAL(result.n_switches, 3);
    plan_result_destroy(&result);
    put_all(false);
    check();
    check_delivery();

    /* Exact weights over all source ports, as switch 1 resolves. */
    struct service_prefix web;
    service_prefix_from_name(names[2], &web);
    uint32_t counts[4] = {0};
    for (int port = SAL_ENTROPY_BASE; port <= UINT16_MAX; port++) {
        uint32_t locator;
        CU_ASSERT_NOT_EQUAL(follow_syn(1, &web.id, 6, port, &locator), 0);
        counts[locator & 3]++;
    }
    CU_ASSERT_EQUAL(counts[0], 0);
    CU_ASSERT_EQUAL(counts[1], 4096);
    CU_ASSERT_EQUAL(counts[2], 4096);
    CU_ASSERT_EQUAL(counts[3], 8192);

    /* A server's link goes down: nobody is sent there any more. */
    build_port(topology, 3, 3, false);
    CU_ASSERT(put_all(false) > 0);
    check();
    check_delivery();
    stop();
}

/* A flap within one round writes nothing. */
static void
test_flap(void)
{
    start();
    build_fabric();
    session(1);
    attach(1, 1, HOST_PORT);
    serve(1, 0, 1, 5);
    put_all(false);
    struct registry_key key = key_of(1, 0, 1);
    registry_unregister(registry, &key);
    serve(1, 0, 1, 5);
    CU_ASSERT_EQUAL(put_all(false), 0);
    serve(1, 0, 1, 6);
    CU_ASSERT_EQUAL(put_all(false), 0); /* Alone it has all anyway. */
    stop();
}

/* One instance more changes the rules of its service, nothing else. */
static void
test_only_what_is_concerned(void)
{
    start();
    build_fabric();
    for (int i = 0; i < 5; i++) {
        session(i);
        attach(i, 1 + i, HOST_PORT);
        serve(i, 2, 1, 1);
        serve(i, 4, 1, 1);
    }
    put_all(false);
    serve(4, 2, 1, 0);
    put_all(false);

    serve(4, 2, 1, 1);
    struct rule_changes changes = RULE_CHANGES_INITIALIZER;
    struct service_prefix web;
    service_prefix_from_name(names[2], &web);
    uint64_t dpid;
    plan_run(plan, NULL);
    int n = 0;
    while (plan_pop_changed(plan, &dpid)) {
        plan_diff(plan, dpid, installed[dpid - 1], false, &changes);
        /* Four tiles become three each, and those of the newcomer. */
        CU_ASSERT(changes.n > 0 && changes.n < 40);
        for (size_t i = 0; i < changes.n; i++) {
            CU_ASSERT_EQUAL(changes.changes[i].rule.kind, RULE_SERVICE);
            CU_ASSERT_EQUAL(changes.changes[i].rule.prefix_len, web.len);
        }
        n++;
    }
    CU_ASSERT_EQUAL(n, SWITCHES - 1); /* The stock one has none. */
    rule_changes_destroy(&changes);
    stop();
}

/* Every link in turn goes down, and nobody is told: switches go round it by
 * themselves where the graph allows (in one without triangles, a neighbour has
 * no loop-free alternate).  Returns how many uses of a link by a switch for a
 * host were protected, stores how many there were. */
static int
fail_each_link(int *ret_concerned)
{
    int bypassed = 0, concerned = 0;

    for (uint64_t dpid = 1; dpid <= SWITCHES; dpid++) {
        for (uint32_t p = 1; p <= 3; p++) {
            uint32_t before[SWITCHES + 1][HOSTS];
            for (uint64_t from = 1; from <= SWITCHES; from++) {
                for (int i = 0; i < HOSTS; i++) {
                    struct in6_addr locator = locator_of(i, false);
                    before[from][i] = follow_host(from, &locator);
                }
            }
            const struct topology_port *port = topology_port(topology, dpid,
                                                             p);
            struct topology_end far = {port->peer_dpid, port->peer_port};
            build_port(topology, dpid, p, false);
            build_port(topology, far.dpid, far.port, false);
            for (int i = 0; i < HOSTS; i++) {
                struct rule key = RULE_INIT(RULE_HOST);
                key.address = locator_from_v4(0x0a000000 + i);
                const struct rule *rule = rule_table_find(installed[dpid - 1],
                                                          &key);
                struct rule group = RULE_INIT(RULE_GROUP);
                group.group = rule->port;
                const struct rule *g = rule->flags & RULE_VIA_GROUP
                    ? rule_table_find(installed[dpid - 1], &group) : NULL;
                if (!g || g->ports[0] != p) {
                    continue;
                }
                /* Where there is another port, it must do. */
                concerned++;
                bypassed += g->ports[1] != 0;
                CU_ASSERT_EQUAL(follow_host(dpid, &key.address),
                                g->ports[1] ? before[dpid][i] : 0);
            }
            build_port(topology, dpid, p, true);
            build_port(topology, far.dpid, far.port, true);
            build_link(topology, dpid, p, far.dpid, far.port);
        }
    }
    *ret_concerned = concerned;
    return bypassed;
}

static void
test_fast_failover(void)
{
    if (!groups) {
        return;
    }
    start();
    build_fabric();
    for (int i = 0; i < HOSTS; i++) {
        session(i);
        attach(i, 1 + i % SWITCHES, HOST_PORT + i / SWITCHES);
    }
    put_all(false);
    int concerned;
    int bypassed = fail_each_link(&concerned);
    printf("bypassed at once: %d of %d uses of a link\n", bypassed,
           concerned);
    CU_ASSERT(bypassed * 4 > concerned);

    /* Told at last, the controller changes groups and nothing else, but on the
     * stock switch. */
    build_port(topology, 1, 1, false);
    struct rule_changes changes = RULE_CHANGES_INITIALIZER;
    uint64_t dpid;
    plan_run(plan, NULL);
    while (plan_pop_changed(plan, &dpid)) {
        plan_diff(plan, dpid, installed[dpid - 1], false, &changes);
        for (size_t i = 0; i < changes.n; i++) {
            enum rule_kind kind = changes.changes[i].rule.kind;
            bool stock = !topology_switch(topology, dpid)->has_sal;
            CU_ASSERT(kind == (stock ? RULE_HOST : RULE_GROUP)
                      || kind == RULE_ADMIT_LINK);
            CU_ASSERT_EQUAL(changes.changes[i].op,
                            kind == RULE_ADMIT_LINK ? RULE_DELETE
                                                    : RULE_MODIFY);
        }
        rule_changes_apply(&changes, changes.n, installed[dpid - 1]);
    }
    rule_changes_destroy(&changes);
    check();
    check_delivery();
    stop();
}

/* The controller is killed; the next one finds rules, waits until everybody is
 * back, and has nothing to write. */
static void
test_restart(void)
{
    start();
    for (int incarnation = 0; incarnation < 2; incarnation++) {
        if (incarnation) {
            plan_destroy(plan);
            topology_destroy(topology);
            registry_destroy(registry);
            topology = topology_create();
            registry = registry_create(identities, services);
            start_plan();
            for (int i = 0; i < SWITCHES; i++) {
                plan_remember(plan, i + 1, installed[i]);
            }
        }
        build_fabric();
        for (int i = 0; i < HOSTS; i++) {
            int host = incarnation ? HOSTS - 1 - i : i;
            session(host);
            attach(host, 1 + host % SWITCHES, HOST_PORT + host / SWITCHES);
            attach6(host, 1 + host % SWITCHES, HOST_PORT + host / SWITCHES);
            for (int s = 0; s < SERVICES; s++) {
                serve(host, s, 1, 1 + (host + s) % 4);
                if (!incarnation) {
                    put_all(false); /* A long history of tilings. */
                }
            }
        }
        size_t written = put_all(incarnation);
        CU_ASSERT_EQUAL(written, 0);
        check();
        check_delivery();
    }
    stop();
}

static void
random_topology_event(void)
{
    uint64_t dpid = 1 + unit_random_below(SWITCHES);
    uint32_t port = 1 + unit_random_below(PORTS);

    switch (unit_random_below(8)) {
    case 0:
        if (!unit_random_below(10)) {
            topology_switch_remove(topology, dpid);
            rule_table_clear(installed[dpid - 1]);
            reconnected[dpid - 1] = true;
        }
        break;
    case 1:
        if (!topology_switch(topology, dpid)) {
            build_switch(topology, dpid, PORTS, unit_random_below(4));
        }
        break;
    case 2:
        if (topology_switch(topology, dpid)) {
            build_port(topology, dpid, port, unit_random_below(2));
        }
        break;
    case 3: {
        struct topology_end a = {dpid, port};
        struct topology_end b = {1 + unit_random_below(SWITCHES),
                                 1 + unit_random_below(3)};
        a.port = 1 + a.port % 3;
        topology_link_seen(topology, &a, &b, BUILDER_NEVER);
        topology_link_seen(topology, &b, &a, BUILDER_NEVER);
        break;
    }
    case 4: {
        static const size_t limits[] = {0, 3, 10, 25, SIZE_MAX};
        if (limited) {
            plan_set_limit(plan, dpid, limits[unit_random_below(5)]);
        }
        if (limited && !unit_random_below(20)) {
            plan_set_no_groups(plan, dpid);
        }
        struct topology_end a = {dpid, 1 + port % 3};
        topology_link_set_cost(topology, &a, 1 + unit_random_below(3));
        topology_link_set_latency(topology, &a, unit_random_below(5));
        break;
    }
    default: {
        struct in6_addr locator = locator_of(unit_random_below(HOSTS),
                                             unit_random_below(2));
        topology_detach(topology, &locator);
        break;
    }
    }
}

static void
random_definition(int s)
{
    struct service_definition definition = {
        .policy = unit_random_below(ROUTE_LOCAL_FIRST + 1),
        .path_class = unit_random_below(5)};
    if (unit_random_below(3)) {
        registry_define(registry, names[s], &definition);
    } else {
        registry_undefine(registry, names[s]);
    }
}

static void
random_host_event(void)
{
    int i = unit_random_below(HOSTS), s = unit_random_below(SERVICES);
    int port = 1 + unit_random_below(3);
    struct endpoint_id id = build_endpoint_id(i);
    struct registry_key key = key_of(i, s, port);

    switch (unit_random_below(12)) {
    case 0:
        registry_remove_endpoint(registry, &id);
        topology_detach_endpoint(topology, &id);
        break;
    case 1:
    case 2:
        session(i);
        break;
    case 3:
        registry_unregister(registry, &key);
        break;
    case 4:
    case 5:
        attach(i, 1 + unit_random_below(SWITCHES),
               4 + unit_random_below(PORTS - 3));
        break;
    case 6:
        if (plain_hosts && unit_random_below(2)) {
            struct topology_probe seen = build_probe(
                i, 1 + unit_random_below(SWITCHES),
                4 + unit_random_below(PORTS - 3), 0);
            topology_learn(topology, &seen, BUILDER_NEVER);
            break;
        }
        attach6(i, 1 + unit_random_below(SWITCHES),
                4 + unit_random_below(PORTS - 3));
        break;
    case 7:
        registry_renew(registry, &id, 1); /* Its lease ends. */
        registry_run(registry, 1);
        break;
    case 8:
        if (!unit_random_below(10)) {
            random_definition(s);
        } else {
            static const char *const zones[] = {"", "east", "west"};
            registry_set_zone(registry, &id, zones[unit_random_below(3)]);
        }
        break;
    default:
        offer(i, s, port, &(struct registry_offer) {
            unit_random_below(5), unit_random_below(3), unit_random_below(4)});
        break;
    }
}

static void
test_random(void)
{
    const char *steps_text = getenv("STEPS");
    int steps = steps_text ? atoi(steps_text) : 20000;
    unsigned int failures = CU_get_number_of_failures();
    size_t written = 0;

    start();
    build_fabric();
    for (int step = 0; step < steps; step++) {
        for (int i = unit_random_below(3); i >= 0; i--) {
            if (!unit_random_below(5)) {
                random_topology_event();
            } else {
                random_host_event();
            }
        }
        written += put_all(!unit_random_below(50));
        if (step % 10 == 0) {
            check();
            check_delivery();
        }
        if (CU_get_number_of_failures() > failures) {
            fprintf(stderr, "first failure at step %d\n", step);
            break;
        }
    }
    CU_ASSERT(written > (size_t) steps / 2);
    stop();
}

/* All of it with all options. */
static void
test_with_options(void)
{
    groups = anti_spoofing = true;
    test_quickstart();
    test_flap();
    test_only_what_is_concerned();
    test_fast_failover();
    test_restart();
    test_random();
    use_classes = true;
    test_restart();
    test_random();
    groups = false;
    test_random();
    plain_hosts = true;
    test_random();
    groups = true;
    test_random();
    limited = true;
    test_random();
    groups = false;
    test_random();
    limited = plain_hosts = false;
    hop_by_hop = true;
    test_restart();
    test_random();
    use_classes = false;
    test_random();
    anti_spoofing = hop_by_hop = false;
}

UNIT_MAIN("plan", UNIT_TEST(test_quickstart), UNIT_TEST(test_flap),
          UNIT_TEST(test_only_what_is_concerned), UNIT_TEST(test_restart),
          UNIT_TEST(test_random), UNIT_TEST(test_with_options))
