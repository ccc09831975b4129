/* SPDX-License-Identifier: Apache-2.0 */
/* Builds topologies for unit tests: switches by number, links both ways. */
#ifndef SALIENT_TEST_TOPOLOGY_BUILDER_H
#define SALIENT_TEST_TOPOLOGY_BUILDER_H 1

#include <limits.h>
#include "controller/topology.h"

#define BUILDER_NEVER LLONG_MAX

static inline void
build_port(struct topology *topology, uint64_t dpid, uint32_t port, bool up)
{
    const struct eth_addr mac = {{{2, 0, 0, dpid, port >> 8, port}}};
    CU_ASSERT_EQUAL_FATAL(topology_port_set(topology, dpid, port, &mac, "eth",
                                            up, 1000), 0);
}

/* A switch with ports 1..n. */
static inline void
build_switch(struct topology *topology, uint64_t dpid, uint32_t n_ports,
             bool has_sal)
{
    topology_switch_set(topology, dpid, has_sal);
    for (uint32_t port = 1; port <= n_ports; port++) {
        build_port(topology, dpid, port, true);
    }
}

static inline void
build_link(struct topology *topology, uint64_t a, uint32_t a_port, uint64_t b,
           uint32_t b_port)
{
    const struct topology_end x = {a, a_port}, y = {b, b_port};
    CU_ASSERT_EQUAL_FATAL(topology_link_seen(topology, &x, &y, BUILDER_NEVER),
                          0);
    CU_ASSERT_EQUAL_FATAL(topology_link_seen(topology, &y, &x, BUILDER_NEVER),
                          0);
}

static inline struct endpoint_id
build_endpoint_id(int i)
{
    struct endpoint_id id = {{i, i >> 8, 'e', 'p'}};
    return id;
}

/* A PROBE of endpoint 'i', locator 10.0.x.y. */
static inline struct topology_probe
build_probe(int i, uint64_t dpid, uint32_t port, uint32_t seq)
{
    struct topology_probe probe;
    memset(&probe, 0, sizeof probe);
    probe.endpoint = build_endpoint_id(i);
    probe.locator = locator_from_v4(0x0a000000 + i);
    probe.mac = (struct eth_addr) {{{2, 1, 0, 0, i >> 8, i}}};
    probe.at = (struct topology_end) {dpid, port};
    probe.session = 1;
    probe.seq = seq;
    return probe;
}

/* The same by its IPv6 locator, fd00::xy. */
static inline struct topology_probe
build_probe6(int i, uint64_t dpid, uint32_t port, uint32_t seq)
{
    struct topology_probe probe = build_probe(i, dpid, port, seq);
    probe.locator = (struct in6_addr) {.s6_addr = {0xfd, [14] = i >> 8,
                                                   [15] = i}};
    return probe;
}

#endif /* topology_builder.h */
