/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's name server: the first byte chooses the zone's state, the rest
 * is a query.  Whatever comes out is a reply with the query's ID. */
#include <stdlib.h>
#include <string.h>
#include "agents/dns_answer.h"
#include "tests/fuzz/fuzz.h"
#include "util.h"

static struct names names;

static void
fill(void)
{
    static const char *const all[] = {"web.shop.acme", "db.shop.acme", "x"};

    names_init(&names);
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        struct service_prefix prefix;
        FUZZ_CHECK(!service_prefix_from_name(all[i], &prefix));
        names_put(&names, all[i], &prefix, i ? 0xc6120000 + i : 0);
        struct names_port ports[] = {{6, 80}, {17, 53}};
        names_set_ports(&names, &prefix, ports, i);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *reply = NULL;
    size_t len = 0;

    if (!names.serial) {
        fill();
    }
    if (!size) {
        return 0;
    }
    const struct dns_zone zone = {
        .names = &names,
        .complete = data[0] & 1,
        .suffix = data[0] & 2 ? "svc.example" : "sal",
        .ttl = 5,
        .pool = 0xc6120000,
        .pool_len = data[0] & 4 ? 15 : 0,
        .forward = data[0] & 8,
        .identity_pool = 0x64400000,
        .identity_pool_len = 10,
        .net_v6 = {.s6_addr = {0xfd, 0x5a}},
        .identity_net_v6 = {.s6_addr = {0xfd, 0x64}},
    };
    size_t max_len = data[0] & 16 ? DNS_MESSAGE_MAX : 0;
    const uint8_t *query = data + 1;

    if (dns_answer(&zone, query, size - 1, max_len, &reply, &len)
        == DNS_REPLY) {
        FUZZ_CHECK(len >= DNS_HEADER_LEN && len <= DNS_MESSAGE_MAX);
        FUZZ_CHECK(!memcmp(reply, query, 2) && reply[2] & 0x80);
        FUZZ_CHECK(max_len || len <= DNS_UDP_SIZE);
        free(reply);
    }
    return 0;
}
