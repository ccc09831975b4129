/* SPDX-License-Identifier: Apache-2.0 */
/* Flow tables of switches that do not exist, tens of millions of flows.
 *
 * The same matches and the same actions are in many switches.  The bytes of
 * each, and what they mean, are written once into a book that all switches
 * share; a flow is two numbers.
 *
 * One thread.  Entries of the book live as long as the book. */
#ifndef BENCH_LOAD_FLOWS_H
#define BENCH_LOAD_FLOWS_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ofp-ext/service_id.h"
#include "openflow/openflow.h"
#include "openvswitch/hmap.h"
#include "openvswitch/ofpbuf.h"
#include "openvswitch/types.h"

/* What tells flows of a switch apart. */
struct load_key {
    struct hmap_node node;
    uint32_t number;
    /* What matters of it. */
    struct service_id service;
    uint32_t destination, destination_mask;
    uint16_t source_port, source_port_mask;
    uint32_t in_port; /* 0: any. */
    uint32_t sender;  /* IPv4 or ARP. */
    struct eth_addr source;
    uint8_t table;
    bool any; /* Matches everything. */
    ovs_be16 priority;
    uint32_t len; /* Of the match, without padding. */
    uint8_t match[];
};

/* What a flow does. */
struct load_act {
    struct hmap_node node;
    uint32_t number;
    /* What matters of it. */
    uint8_t kind;               /* SAL_COOKIE_*. */
    struct eth_addr mac;        /* That packets are sent to, */
    uint32_t destination;       /* and the address; 0: unchanged. */
    uint32_t port, group, meter; /* 0: none. */
    struct eth_addr answer;      /* To ARP. */
    uint8_t next_table;          /* 0: none. */
    ovs_be16 flags;
    ovs_be64 cookie;
    uint32_t len;
    uint8_t instructions[];
};

struct load_book {
    struct hmap key_map, act_map;
    struct load_key **keys; /* By number; the first is number 1. */
    struct load_act **acts;
    size_t n_keys, allocated_keys, n_acts, allocated_acts;
};

struct load_flow {
    uint32_t key, act; /* Numbers; 0: none. */
};

/* Of one switch. */
struct load_flows {
    struct load_flow *slots;
    uint32_t n, n_slots; /* A power of two. */
};

void load_book_init(struct load_book *);
void load_book_destroy(struct load_book *);

void load_flows_init(struct load_flows *);
void load_flows_destroy(struct load_flows *);
/* Does what a flow_mod of OpenFlow 1.5 says.  False if it cannot be decoded,
 * is neither OFPFC_ADD nor OFPFC_DELETE_STRICT, or deletes what is not
 * there. */
bool load_flows_mod(struct load_flows *, struct load_book *,
                    const struct ofp_header *);
void load_flows_put(struct load_flows *, struct load_flow);
bool load_flows_remove(struct load_flows *, uint32_t key);
/* The flow in the first slot from '*position' on that has one, and leaves
 * '*position' behind it; NULL at the end. */
const struct load_flow *load_flows_next(const struct load_flows *,
                                        uint32_t *position);

static inline const struct load_key *
load_key(const struct load_book *book, const struct load_flow *flow)
{
    return book->keys[flow->key];
}

static inline const struct load_act *
load_act(const struct load_book *book, const struct load_flow *flow)
{
    return book->acts[flow->act];
}

/* Appends one part of the answer to 'request', which asks for all flows, and
 * leaves '*position' where the next one goes on.  True if there is a next
 * one. */
bool load_flows_tell(const struct load_flows *, const struct load_book *,
                     const struct ofp_header *request, uint32_t *position,
                     struct ofpbuf *);

#endif /* load_flows.h */
