/* SPDX-License-Identifier: Apache-2.0 */
/* OpenFlow messages from and to bytes.
 *
 * The patched libopenvswitch does the work.  This module adds what a
 * controller needs around it: it cuts a TCP stream into messages at aligned
 * addresses, checks lengths before anything is decoded, refuses what only a
 * controller sends, and names the switch's errors in one way.
 *
 * Pure; any thread, one stream or iterator by one thread at a time. */
#ifndef CONTROLLER_OPENFLOW_CODEC_H
#define CONTROLLER_OPENFLOW_CODEC_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "openvswitch/ofp-errors.h"
#include "openvswitch/ofp-flow.h"
#include "openvswitch/ofp-group.h"
#include "openvswitch/ofp-meter.h"
#include "openvswitch/ofp-msgs.h"
#include "openvswitch/ofp-packet.h"
#include "openvswitch/ofp-port.h"
#include "openvswitch/ofp-switch.h"
#include "openvswitch/ofpbuf.h"

/* Versions that the controller speaks: 1.5 and 1.3, as a HELLO bitmap. */
#define OPENFLOW_VERSIONS ((1u << OFP15_VERSION) | (1u << OFP13_VERSION))

/* Cuts a byte stream into messages. */
struct openflow_stream {
    uint8_t *buf; /* Owned; bytes not yet consumed. */
    size_t len, allocated, consumed;
    bool broken; /* Sticky: the framing is lost. */
};

void openflow_stream_init(struct openflow_stream *);
void openflow_stream_destroy(struct openflow_stream *);
void openflow_stream_push(struct openflow_stream *, const void *, size_t);

/* Takes the next whole message: 1 and '*ret_message', an aligned copy that the
 * caller deletes (ofpbuf_delete()).  0: more bytes are needed.  -EPROTO: a
 * length below that of a header; from then on always. */
int openflow_stream_next(struct openflow_stream *,
                         struct ofpbuf **ret_message);

/* False if what has come first cannot be a HELLO of any version, nor an error:
 * a peer that speaks HTTP or TLS is not to wait for the rest of a message. */
bool openflow_stream_may_begin(const struct openflow_stream *);

/* A decoded message.  Pointers lead into the bytes it was decoded from. */
struct openflow_message {
    enum ofptype type;
    uint8_t version;
    uint32_t xid; /* Host byte order. */
    const struct ofp_header *header;
    bool more; /* Multipart: further parts follow. */
    union {
        uint32_t hello_versions; /* Bitmap. */
        enum ofperr error;       /* 0: a code that nobody knows. */
        struct ofputil_switch_features features;
        struct ofputil_port_status port_status;
        struct {
            const uint8_t *data;
            size_t len;
            uint32_t in_port;
            uint64_t cookie; /* UINT64_MAX: no flow. */
            uint8_t table_id;
            enum ofp_packet_in_reason reason;
        } packet_in;
        struct {
            uint32_t id;
            uint16_t type; /* OFPBCT_*. */
        } bundle;
        struct {
            enum ofp12_controller_role role;
            uint64_t generation_id; /* UINT64_MAX: none. */
        } role;
        struct {
            char manufacturer[64], hardware[64], software[64];
        } desc;
        struct ofputil_group_features group_features;
        uint32_t n_flows; /* Of an aggregate. */
        struct ofputil_meter_features meter_features;
    };
};

/* Decodes what switches send.  Port, flow, group and meter lists are left to
 * the iterators below.  0, or the OpenFlow error that a reply should carry. */
enum ofperr openflow_decode(const struct ofpbuf *, struct openflow_message *);

/* Iterator over the elements of one part of a multipart reply. */
struct openflow_parts {
    struct ofpbuf msg;
    struct ofpbuf ofpacts;
    uint8_t version;
};

void openflow_parts_begin(struct openflow_parts *,
                          const struct openflow_message *);
void openflow_parts_end(struct openflow_parts *);

/* Next element: 1, 0 at the end, -EPROTO if the rest makes no sense. */
int openflow_next_port(struct openflow_parts *, struct ofputil_phy_port *);
/* 'flow->ofpacts' lives until the next call. */
int openflow_next_flow(struct openflow_parts *,
                       struct ofputil_flow_stats *flow);
/* The caller ofputil_uninit_group_desc()s it. */
int openflow_next_group(struct openflow_parts *, struct ofputil_group_desc *);
/* 'meter->bands' lives until the next call. */
int openflow_next_meter(struct openflow_parts *,
                        struct ofputil_meter_config *);

/* Does a table features reply tell of matching the SAL fields?  '*ret_table'
 * is the number of tables in this part. */
bool openflow_has_sal_fields(const struct openflow_message *,
                             unsigned int *ret_tables);

/* Flow format of a negotiated version. */
enum ofputil_protocol openflow_protocol(uint8_t version);

/* Requests.  All return a message for the caller to send or delete. */
struct ofpbuf *openflow_hello(void);
struct ofpbuf *openflow_features_request(uint8_t version);
struct ofpbuf *openflow_ports_request(uint8_t version);
struct ofpbuf *openflow_desc_request(uint8_t version);
struct ofpbuf *openflow_table_features_request(uint8_t version);
struct ofpbuf *openflow_group_features_request(uint8_t version);
struct ofpbuf *openflow_meter_features_request(uint8_t version);
/* All flows whose cookie equals 'cookie' in the bits of 'mask'. */
struct ofpbuf *openflow_flows_request(uint8_t version, uint64_t cookie,
                                      uint64_t mask);
/* How many of those flows are PROBEs of the SAL: a switch that has some has
 * the fields, one that lacks them refuses the question with OFPBMC_BAD_FIELD,
 * and either costs it nothing.  NULL if libopenvswitch lacks them. */
struct ofpbuf *openflow_sal_flows_request(uint8_t version, uint64_t cookie,
                                          uint64_t mask, uint16_t sal_port);
struct ofpbuf *openflow_groups_request(uint8_t version);
struct ofpbuf *openflow_meters_request(uint8_t version);
struct ofpbuf *openflow_barrier_request(uint8_t version);
struct ofpbuf *openflow_echo_request(uint8_t version);
struct ofpbuf *openflow_echo_reply(const struct openflow_message *);
struct ofpbuf *openflow_error_reply(enum ofperr,
                                    const struct ofp_header *request);
struct ofpbuf *openflow_role_request(uint8_t version,
                                     enum ofp12_controller_role,
                                     uint64_t generation_id);
/* 'type' is one of OFPBCT_*_REQUEST; bundles are atomic and ordered. */
struct ofpbuf *openflow_bundle_control(uint8_t version, uint32_t id,
                                       uint16_t type);
/* Wraps 'message' and takes it over; the xid stays the same, as the
 * specification asks for. */
struct ofpbuf *openflow_bundle_add(uint8_t version, uint32_t id,
                                   struct ofpbuf *message);
/* Sends 'data' out of 'port' (OFPP_IN_PORT: back where 'in_port' says;
 * OFPP_TABLE: through the flow tables). */
struct ofpbuf *openflow_packet_out(uint8_t version, uint32_t in_port,
                                   uint32_t port, const void *data,
                                   size_t len);
/* Flow entries as 'match' and 'ofpacts' describe them. */
struct ofpbuf *openflow_flow_mod(uint8_t version,
                                 const struct ofputil_flow_mod *);

void openflow_set_xid(struct ofpbuf *, uint32_t xid);
uint32_t openflow_get_xid(const struct ofpbuf *);

/* What a switch's error means for who asked: -ENOSPC a full table, -EEXIST,
 * -ENOENT, -EOPNOTSUPP a feature that is missing, -EPERM, -EINVAL, otherwise
 * -EPROTO. */
int openflow_errno(enum ofperr);
/* "OFPFMFC_TABLE_FULL (the table has no space)"; static storage of the
 * library for the name, so never freed. */
const char *openflow_error_string(enum ofperr, char *buf, size_t size);

#endif /* openflow_codec.h */
