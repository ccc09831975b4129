/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to a name server, as a resolver sends them. */
#ifndef SALIENT_TEST_DNS_QUESTION_H
#define SALIENT_TEST_DNS_QUESTION_H 1

#include "tests/unit/unit.h"

#include <ldns/ldns.h>
#include "agents/dns_answer.h"

#define DNS_QUESTION_ID 0x1234

/* Writes the question for 'name' to 'wire'; returns its length. */
static inline size_t
dns_question(const char *name, ldns_rr_type type,
             uint8_t wire[DNS_MESSAGE_MAX])
{
    ldns_pkt *pkt = ldns_pkt_query_new(ldns_dname_new_frm_str(name), type,
                                       LDNS_RR_CLASS_IN, LDNS_RD);
    uint8_t *out;
    size_t len;
    ldns_pkt_set_id(pkt, DNS_QUESTION_ID);
    CU_ASSERT_EQUAL_FATAL(ldns_pkt2wire(&out, pkt, &len), LDNS_STATUS_OK);
    memcpy(wire, out, len);
    free(out);
    ldns_pkt_free(pkt);
    return len;
}

#endif /* dns_question.h */
