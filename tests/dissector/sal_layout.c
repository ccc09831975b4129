/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the numbers of ofp-ext/sal.h in the form in which salient.lua writes
 * them, so that the two can be compared line by line. */
#include <stdio.h>
#include "ofp-ext/sal.h"

#define NUMBER(NAME) printf(#NAME "=%d\n", (int) (SAL_##NAME))
#define TYPE(NAME) printf("TYPES %d=" #NAME "\n", SAL_TYPE_##NAME)
#define OPTION(NAME) printf("OPTIONS %d=" #NAME "\n", SAL_OPTION_##NAME)
/* From the structs rather than from the macros, where there is a field. */
#define OFS(NAME, STRUCT, FIELD)                                              \
    printf("OFS_" #NAME "=%zu\n", offsetof(struct STRUCT, FIELD))

int
main(void)
{
    NUMBER(UDP_PORT);
    NUMBER(VERSION);
    NUMBER(TYPE_SERVICE_BIT);
    NUMBER(FLAG_RETRY);
    NUMBER(FLAG_HOP_MASK);
    NUMBER(FLAGS_MASK);
    NUMBER(PATH_CLASS_MASK);
    NUMBER(INNER_IPV4);
    NUMBER(INNER_IPV6);
    NUMBER(INNER_NONE);
    NUMBER(SERVICE_ID_LEN);
    NUMBER(OFS_OPTIONS);
    printf("DATA_HEADER_LEN=%zu\n", sizeof(struct sal_data_header));
    printf("CONTROL_HEADER_LEN=%zu\n", sizeof(struct sal_control_header));
    printf("SERVICE_HEADER_LEN=%zu\n", sizeof(struct sal_service_header));

    OFS(VERSION, sal_data_header, version);
    OFS(HEADER_LEN, sal_data_header, header_len);
    OFS(TYPE, sal_data_header, type);
    OFS(PROTO, sal_data_header, proto);
    OFS(SRC_FLOW, sal_data_header, src_flow);
    OFS(DST_FLOW, sal_data_header, dst_flow);
    OFS(FLAGS_CLASS, sal_data_header, flags_class);
    OFS(INNER, sal_data_header, inner);
    OFS(CHECKSUM, sal_data_header, checksum);
    OFS(SEQ, sal_control_header, seq);
    OFS(ACK, sal_control_header, ack);
    OFS(NONCE, sal_control_header, nonce);
    OFS(SERVICE, sal_service_header, service_id);

    TYPE(DATA);
    TYPE(ACK);
    TYPE(FIN);
    TYPE(RESET);
    TYPE(RSYN_ACK);
    TYPE(RSYN_DONE);
    TYPE(SYN);
    TYPE(SYN_ACK);
    TYPE(RSYN);
    TYPE(DATAGRAM);
    TYPE(PROBE);

    OPTION(PAD);
    OPTION(ENDPOINT_ID);
    OPTION(PUBLIC_KEY);
    OPTION(LOCATOR4);
    OPTION(LOCATOR6);
    OPTION(MAC);
    OPTION(MIGRATION);
    OPTION(CHALLENGE);
    OPTION(FLOWS);
    return 0;
}
