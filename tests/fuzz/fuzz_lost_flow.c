/* SPDX-License-Identifier: Apache-2.0 */
/* What daemons say to each other about flows that one of them has lost: any
 * bytes, and good messages with some bytes changed (pairs of offset and value
 * behind a first byte that says which), whose checksum is mended. */
#include "agents/lost_flow.h"
#include "tests/fuzz/fuzz_message.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct identity self, peer;
    uint8_t packet[LOST_FLOW_FIN_LEN];
    struct lost_flow flow;

    fuzz_make_identities(&self, &peer);
    lost_flow_parse(data, size, &flow);
    if (!size) {
        return 0;
    }
    flow = (struct lost_flow) {.type = data[0] & 1 ? SAL_TYPE_FIN
                                                   : SAL_TYPE_PROBE,
                               .src_flow = 1, .dst_flow = 2,
                               .nonce = data[0] & 2};
    int len = lost_flow_build(&peer, &flow, self.public_key, packet);
    bool changed = fuzz_change(data, size, packet, len);
    if (!lost_flow_parse(packet, len, &flow) && flow.type == SAL_TYPE_FIN) {
        FUZZ_CHECK(changed || lost_flow_authentic(&self, &flow, packet));
        FUZZ_CHECK(!lost_flow_authentic(&peer, &flow, packet));
    }
    return 0;
}
