/* SPDX-License-Identifier: Apache-2.0 */
/* What daemons say to each other about flows that one of them has lost. */
#include "agents/lost_flow.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct identity self;
    struct lost_flow flow;

    if (!self.endpoint_id[0] && !self.endpoint_id[1]) {
        identity_generate(&self);
    }
    if (!lost_flow_parse(data, size, &flow)) {
        FUZZ_CHECK(flow.src_flow && flow.dst_flow);
        FUZZ_CHECK(flow.type == SAL_TYPE_PROBE || size == LOST_FLOW_FIN_LEN);
        if (flow.type == SAL_TYPE_FIN) {
            FUZZ_CHECK(!lost_flow_authentic(&self, &flow, data));
        }
    }
    return 0;
}
