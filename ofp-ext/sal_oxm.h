/* SPDX-License-Identifier: Apache-2.0 */
/* OpenFlow numbers of the SAL match fields.
 *
 * The fields are OXM experimenter fields (OpenFlow 1.3.1+, oxm_class 0xffff
 * followed by the 32-bit experimenter ID), readable, maskable, not settable.
 * Prerequisite of all: IPv4 or IPv6, UDP, exact udp_dst == SAL_UDP_PORT.
 * sal_service also requires a sal_type match that has SAL_TYPE_SERVICE_BIT in
 * value and mask.
 *
 * The experimenter ID spells "SAL".  Read as an IEEE OUI it has the group bit
 * set, so it can never be assigned to anybody. */
#ifndef SALIENT_SAL_OXM_H
#define SALIENT_SAL_OXM_H 1

#define SAL_OXM_EXPERIMENTER 0x0053414c

/* oxm_field values. */
enum sal_oxm_field {
    SAL_OXM_TYPE = 1,     /* 1 byte:  sal_type, maskable. */
    SAL_OXM_FLAGS = 2,    /* 1 byte:  sal_flags (with the path class), maskable. */
    SAL_OXM_PROTO = 3,    /* 1 byte:  sal_proto, exact or absent. */
    SAL_OXM_SRC_FLOW = 4, /* 4 bytes: sal_src_flow, maskable. */
    SAL_OXM_DST_FLOW = 5, /* 4 bytes: sal_dst_flow, maskable. */
    SAL_OXM_SERVICE = 6,  /* 32 bytes: sal_service, arbitrary mask. */
};

#endif /* sal_oxm.h */
