/* SPDX-License-Identifier: Apache-2.0 */
/* One packet, resolved as the switch's rules would. */
#include "tests/unit/unit.h"

#include <errno.h>
#include "controller/addresses.h"
#include "controller/packet.h"
#include "controller/paths.h"
#include "controller/registry.h"
#include "controller/resolve.h"
#include "controller/routes.h"
#include "controller/rules.h"
#include "tests/unit/topology_builder.h"
#include "packets.h"

static uint16_t
sum(const uint8_t *p, size_t n, uint32_t start)
{
    return packet_checksum(p, n, start);
}

/* A SYN of h9 to the resolver, with checksums. */
static size_t
make_syn(uint8_t frame[256], const struct service_id *service,
         uint16_t source_port, bool v6)
{
    size_t ip_len = v6 ? 40 : 20, udp_len = 8 + SAL_SERVICE_HEADER_LEN;
    uint8_t *ip = frame + 14, *udp = ip + ip_len, *sal = udp + 8;
    memset(frame, 0, 256);
    memset(frame, 0xee, 12);
    frame[12] = v6 ? 0x86 : 0x08;
    frame[13] = v6 ? 0xdd : 0x00;
    if (v6) {
        ip[0] = 0x60;
        ip[5] = udp_len;
        ip[6] = 17;
        ip[8] = ip[24] = 0xfd;
        ip[23] = 9;
        ip[39] = 1;
    } else {
        ip[0] = 0x45;
        ip[3] = ip_len + udp_len;
        ip[9] = 17;
        ip[12] = ip[16] = 10;
        ip[15] = 9;
        ip[19] = 1;
        uint16_t check = sum(ip, 20, 0);
        memcpy(ip + 10, &check, 2);
    }
    udp[0] = source_port >> 8;
    udp[1] = source_port;
    udp[2] = SAL_UDP_PORT >> 8;
    udp[3] = SAL_UDP_PORT & 0xff;
    udp[5] = udp_len;
    sal[0] = SAL_VERSION << 4;
    sal[1] = SAL_SERVICE_HEADER_LEN / 4;
    sal[2] = SAL_TYPE_SYN;
    sal[3] = 6;
    memcpy(sal + SAL_OFS_SERVICE, service->bytes, SAL_SERVICE_ID_LEN);
    uint16_t check = sum(sal, SAL_SERVICE_HEADER_LEN, 0);
    memcpy(sal + SAL_OFS_CHECKSUM, &check, 2);
    return 14 + ip_len + udp_len;
}

static uint32_t
pseudo_header(const uint8_t *ip, bool v6, size_t udp_len)
{
    uint32_t total = 17 + udp_len;
    for (int i = v6 ? 8 : 12; i < (v6 ? 40 : 20); i += 2) {
        total += ip[i] << 8 | ip[i + 1];
    }
    return total;
}

static void
test_resolve(void)
{
    struct address_pool *identities
        = address_pool_create(ADDRESS_IDENTITY_NETWORK, 10);
    struct address_pool *services
        = address_pool_create(ADDRESS_SERVICE_NETWORK, 15);
    struct registry *registry = registry_create(identities, services);
    struct topology *topology = topology_create();
    const struct rules_config rules = RULES_CONFIG_DEFAULT;
    const struct routes_config config = ROUTES_CONFIG_DEFAULT;
    struct routes *routes = routes_create(&config);
    struct service_prefix web, own, found;
    const struct registry_offer offer = {.weight = 1};
    uint32_t seq = 0;

    build_switch(topology, 1, 9, true);
    build_switch(topology, 2, 9, true);
    build_link(topology, 1, 1, 2, 2);
    service_prefix_from_name("web.shop.acme", &web);
    for (int i = 1; i <= 2; i++) {
        struct endpoint_id id = build_endpoint_id(i);
        struct topology_probe probe = build_probe(i, i, 5, ++seq);
        uint64_t session;
        registry_session_begin(registry, &id, "h", 0, BUILDER_NEVER,
                               &session);
        topology_attach(topology, &probe, BUILDER_NEVER);
        probe = build_probe6(i, i, 5, ++seq);
        topology_attach(topology, &probe, BUILDER_NEVER);
        struct registry_key key = {.endpoint = id, .prefix = web,
                                   .port = 80, .protocol = 6};
        registry_register(registry, &key, "web.shop.acme", &offer, NULL);
    }
    struct paths *paths = paths_compute(topology, NULL);
    routes_update_all(routes, registry, topology, paths);
    const struct resolver resolver = {&rules, topology, paths, routes};

    bool seen[3] = {false};
    for (int i = 0; i < 8; i++) {
        bool v6 = i % 2, checked = i & 2;
        uint8_t frame[256], before[256];
        uint32_t port;
        size_t len = make_syn(frame, &web.id, 0xc000 + i / 4, v6);
        uint8_t *ip = frame + 14, *udp = ip + (v6 ? 40 : 20);
        if (checked) {
            uint16_t check = sum(udp, len - (udp - frame),
                                 pseudo_header(ip, v6, len - (udp - frame)));
            memcpy(udp + 6, &check, 2);
        }
        memcpy(before, frame, sizeof before);
        CU_ASSERT_EQUAL_FATAL(resolve_packet(&resolver, 1, frame, len, &port,
                                             &found), 0);
        CU_ASSERT(service_prefix_equal(&found, &web));
        int target = v6 ? ip[39] : ip[19];
        CU_ASSERT_FATAL(target == 1 || target == 2);
        seen[target] = true;
        CU_ASSERT_EQUAL(port, target == 1 ? 5 : 1);
        struct eth_addr mac = build_probe(target, 1, 1, 1).mac;
        CU_ASSERT(!memcmp(frame, &mac, 6));
        CU_ASSERT(!memcmp(frame + 6, before + 6, 6));
        CU_ASSERT(v6 || !sum(ip, 20, 0));
        if (checked) {
            CU_ASSERT_EQUAL(sum(udp, len - (udp - frame),
                                pseudo_header(ip, v6, len - (udp - frame))),
                            0);
        } else {
            CU_ASSERT(!udp[6] && !udp[7]);
        }
        CU_ASSERT(!memcmp(udp + 8, before + (udp - frame) + 8,
                          SAL_SERVICE_HEADER_LEN));
    }
    CU_ASSERT(seen[1] && seen[2]);

    /* An endpoint by its ID; nobody; nothing that asks. */
    struct endpoint_id id = build_endpoint_id(2);
    uint8_t frame[256];
    uint32_t port;
    service_prefix_of_endpoint(id.bytes, &own);
    size_t len = make_syn(frame, &own.id, 0xc000, false);
    CU_ASSERT_EQUAL(resolve_packet(&resolver, 1, frame, len, &port, &found),
                    0);
    CU_ASSERT_EQUAL(frame[14 + 19], 2);
    service_prefix_from_name("db.acme", &own);
    len = make_syn(frame, &own.id, 0xc000, false);
    CU_ASSERT_EQUAL(resolve_packet(&resolver, 1, frame, len, &port, &found),
                    -ENOENT);
    CU_ASSERT(resolve_packet(&resolver, 1, frame, 60, &port, &found) < 0);

    routes_destroy(routes);
    paths_destroy(paths);
    topology_destroy(topology);
    registry_destroy(registry);
    address_pool_destroy(identities);
    address_pool_destroy(services);
}

UNIT_MAIN("resolve", UNIT_TEST(test_resolve))
