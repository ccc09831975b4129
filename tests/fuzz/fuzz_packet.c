/* SPDX-License-Identifier: Apache-2.0 */
/* The packets that switches hand to the controller: link probes, PROBEs, SYNs
 * that want a RESET.  Hosts write these. */
#include "tests/fuzz/fuzz.h"

#include "controller/packet.h"
#include "proto/identity.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t link_key[PACKET_LINK_KEY_LEN];
    static const uint8_t session_key[IDENTITY_SESSION_KEY_LEN];
    struct packet_link_probe link;
    struct packet_probe probe;
    struct sal_service_header header;
    struct in6_addr source;
    uint8_t buf[PACKET_BUFFER_LEN];
    size_t len;

    packet_parse_link_probe(link_key, data, size, &link);
    if (!packet_parse_probe(data, size, SAL_UDP_PORT, &probe)) {
        FUZZ_CHECK(probe.sal >= data
                   && probe.sal + probe.sal_len <= data + size);
        FUZZ_CHECK(probe.mac_ofs + IDENTITY_MAC_LEN <= probe.sal_len);
        packet_probe_verify(&probe, session_key);
    }
    struct eth_addr mac;
    struct in6_addr address;
    if (!packet_parse_sender(data, size, &mac, &address)) {
        struct eth_addr other;
        struct in6_addr same;
        len = packet_build_question(&mac, &mac, &address, buf);
        FUZZ_CHECK(len <= sizeof buf);
        /* Our own question says who we are, or nothing. */
        FUZZ_CHECK(packet_parse_sender(buf, len, &other, &same) <= 0);
    }
    int served = packet_parse_service(data, size, SAL_UDP_PORT, &header,
                                      &source);
    if (!packet_build_reset(data, size, SAL_UDP_PORT, buf, &len)) {
        uint8_t again[PACKET_BUFFER_LEN];
        size_t again_len;
        FUZZ_CHECK(!served && len <= sizeof buf);
        /* Nothing answers an answer. */
        FUZZ_CHECK(packet_build_reset(buf, len, SAL_UDP_PORT, again,
                                      &again_len));
    }
    return 0;
}
