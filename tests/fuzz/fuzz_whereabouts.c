/* SPDX-License-Identifier: Apache-2.0 */
/* What hosts and service routers say to each other about where hosts are: any
 * bytes, and good messages with some bytes changed (pairs of offset and value
 * behind a first byte that says which), whose checksum is mended. */
#include "agents/whereabouts.h"
#include "tests/fuzz/fuzz_message.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct identity host, router;
    uint8_t packet[WHEREABOUTS_LEN];
    struct whereabouts w;

    fuzz_make_identities(&host, &router);
    whereabouts_parse(data, size, &w);
    if (!size) {
        return 0;
    }
    w = (struct whereabouts) {.kind = 1 + data[0] % 4, .seq = 1, .nonce = 1,
                              .locator = {.address = {[15] = 1}}};
    bool by_host = w.kind == WHEREABOUTS_ASK || w.kind == WHEREABOUTS_TELL;
    const struct identity *from = by_host ? &host : &router;
    const struct identity *to = by_host ? &router : &host;
    memcpy(w.host, host.endpoint_id, sizeof w.host);
    whereabouts_build(from, &w, to->public_key, packet);

    bool changed = fuzz_change(data, size, packet, sizeof packet);
    if (!whereabouts_parse(packet, sizeof packet, &w)) {
        FUZZ_CHECK(!whereabouts_authentic(from, &w, packet));
    }
    if (!changed) {
        FUZZ_CHECK(!whereabouts_parse(packet, sizeof packet, &w));
        FUZZ_CHECK(whereabouts_authentic(to, &w, packet)
                   == (w.kind == WHEREABOUTS_TELL
                       || w.kind == WHEREABOUTS_KNOWN));
    }
    return 0;
}
