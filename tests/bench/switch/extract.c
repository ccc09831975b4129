/* SPDX-License-Identifier: Apache-2.0 */
/* What taking a packet's headers apart costs: miniflow_extract(), which the
 * userspace datapath calls for each packet it receives.
 *
 *     extract PCAP COUNT
 *
 * Goes through the packets of the file until it has extracted COUNT of them.
 * To be run under valgrind --tool=callgrind --collect-atstart=no, which then
 * counts the instructions of miniflow_extract() alone. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "dp-packet.h"
#include "flow.h"
#include "util.h"

#define PCAP_HEADER_LEN 24
#define PCAP_RECORD_LEN 16

/* One stack frame with a whole flow, as the datapath has it. */
static void
extract(const uint8_t *frame, size_t length)
{
    struct {
        struct miniflow mf;
        uint64_t buf[FLOW_U64S];
    } m;
    struct dp_packet packet;

    dp_packet_use_const(&packet, frame, length);
    pkt_metadata_init(&packet.md, u32_to_odp(1));
    CALLGRIND_TOGGLE_COLLECT;
    miniflow_extract(&packet, &m.mf);
    CALLGRIND_TOGGLE_COLLECT;
}

int
main(int argc, char *argv[])
{
    static uint8_t record[PCAP_HEADER_LEN];
    uint64_t aligned[1024]; /* Headers are 16-bit aligned from byte 2 on. */
    uint8_t *frame = (uint8_t *) aligned + 2;
    FILE *file = argc == 3 ? fopen(argv[1], "rb") : NULL;
    unsigned long left = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    uint32_t length;

    if (!file || fread(record, PCAP_HEADER_LEN, 1, file) != 1) {
        fprintf(stderr, "usage: %s PCAP COUNT\n", argv[0]);
        return 2;
    }
    for (; left && fread(record, PCAP_RECORD_LEN, 1, file) == 1; left--) {
        memcpy(&length, record + 8, sizeof length);
        if (length > sizeof aligned - 2
            || fread(frame, length, 1, file) != 1) {
            return 1;
        }
        extract(frame, length);
    }
    fclose(file);
    return left != 0;
}
