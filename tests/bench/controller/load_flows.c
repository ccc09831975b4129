/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/controller/load_flows.h"

#include <stdlib.h>
#include <string.h>
#include "flow.h"
#include "hash.h"
#include "openvswitch/meta-flow.h"
#include "openvswitch/ofp-actions.h"
#include "openvswitch/ofp-flow.h"
#include "openvswitch/ofp-msgs.h"
#include "util.h"

#define SLOTS_MIN 16
#define PART_MAX 60000 /* Of a multipart message, about. */

/* Of an OpenFlow 1.5 flow_mod. */
#define OFS_COOKIE 8
#define OFS_TABLE 24
#define OFS_COMMAND 25
#define OFS_PRIORITY 30
#define OFS_FLAGS 44
#define OFS_MATCH 48
/* Of a multipart message. */
#define OFS_PART_FLAGS 10
#define PART_HEADER_LEN 16
#define EMPTY_MATCH_LEN 8
#define MATCH_HEADER_LEN 4

/* A flow_mod in its parts. */
struct text {
    const uint8_t *match, *instructions;
    uint32_t match_len, instructions_len;
    ovs_be16 priority, flags;
    ovs_be64 cookie;
    uint8_t table, command;
};

static bool
read_text(const struct ofp_header *oh, struct text *text)
{
    const uint8_t *message = (const uint8_t *) oh;
    size_t len = ntohs(oh->length);

    if (len < OFS_MATCH + MATCH_HEADER_LEN) {
        return false;
    }
    text->match = message + OFS_MATCH;
    text->match_len = message[OFS_MATCH + 2] << 8 | message[OFS_MATCH + 3];
    size_t end = OFS_MATCH + ROUND_UP(text->match_len, 8);
    if (end > len) {
        return false;
    }
    text->instructions = message + end;
    text->instructions_len = len - end;
    text->table = message[OFS_TABLE];
    text->command = message[OFS_COMMAND];
    memcpy(&text->priority, message + OFS_PRIORITY, sizeof text->priority);
    memcpy(&text->flags, message + OFS_FLAGS, sizeof text->flags);
    memcpy(&text->cookie, message + OFS_COOKIE, sizeof text->cookie);
    return true;
}

/* What the bytes mean. */

static void
understand_match(struct load_key *key, const struct match *match)
{
    union mf_value service;

    mf_get_value(mf_from_name("sal_service"), &match->flow, &service);
    memcpy(&key->service, &service, sizeof key->service);
    key->destination = ntohl(match->flow.nw_dst);
    key->destination_mask = ntohl(match->wc.masks.nw_dst);
    key->sender = ntohl(match->flow.nw_src);
    key->source = match->flow.dl_src;
    key->source_port = ntohs(match->flow.tp_src);
    key->source_port_mask = ntohs(match->wc.masks.tp_src);
    if (match->wc.masks.in_port.ofp_port) {
        key->in_port = ofp_to_u16(match->flow.in_port.ofp_port);
    }
}

static void
understand_actions(struct load_act *act, const struct ofputil_flow_mod *fm)
{
    const struct ofpact *a;

    OFPACT_FOR_EACH_FLATTENED (a, fm->ofpacts, fm->ofpacts_len) {
        if (a->type == OFPACT_OUTPUT) {
            act->port = ofp_to_u16(ofpact_get_OUTPUT(a)->port);
        } else if (a->type == OFPACT_GROUP) {
            act->group = ofpact_get_GROUP(a)->group_id;
        } else if (a->type == OFPACT_GOTO_TABLE) {
            act->next_table = ofpact_get_GOTO_TABLE(a)->table_id;
        } else if (a->type == OFPACT_METER) {
            act->meter = ofpact_get_METER(a)->meter_id;
        } else if (a->type == OFPACT_SET_FIELD) {
            const struct ofpact_set_field *set = ofpact_get_SET_FIELD(a);

            if (set->field->id == MFF_IPV4_DST) {
                act->destination = ntohl(set->value->be32);
            } else if (set->field->id == MFF_ETH_DST) {
                act->mac = set->value->mac;
            } else if (set->field->id == MFF_ARP_SHA) {
                act->answer = set->value->mac;
            }
        } else if (a->type == OFPACT_SET_IPV4_DST) {
            act->destination = ntohl(ofpact_get_SET_IPV4_DST(a)->ipv4);
        } else if (a->type == OFPACT_SET_ETH_DST) {
            act->mac = ofpact_get_SET_ETH_DST(a)->mac;
        }
    }
    act->kind = ntohll(fm->new_cookie) >> 32;
}

/* Either may be NULL. */
static bool
understand(const struct ofp_header *oh, struct load_key *key,
           struct load_act *act)
{
    struct ofputil_flow_mod fm;
    struct ofpbuf ofpacts;

    ofpbuf_init(&ofpacts, 0);
    bool ok = !ofputil_decode_flow_mod(&fm, oh, OFPUTIL_P_OF15_OXM, NULL, NULL,
                                       &ofpacts, OFPP_MAX, 254);
    if (ok) {
        struct match match;

        minimatch_expand(&fm.match, &match);
        minimatch_destroy(&fm.match);
        if (key) {
            understand_match(key, &match);
        }
        if (act) {
            understand_actions(act, &fm);
        }
    }
    ofpbuf_uninit(&ofpacts);
    return ok;
}

/* The book. */

void
load_book_init(struct load_book *book)
{
    memset(book, 0, sizeof *book);
    hmap_init(&book->key_map);
    hmap_init(&book->act_map);
}

void
load_book_destroy(struct load_book *book)
{
    for (size_t i = 1; i <= book->n_keys; i++) {
        free(book->keys[i]);
    }
    for (size_t i = 1; i <= book->n_acts; i++) {
        free(book->acts[i]);
    }
    free(book->keys);
    free(book->acts);
    hmap_destroy(&book->key_map);
    hmap_destroy(&book->act_map);
}

/* The same match is always encoded in the same way, so bytes tell whether two
 * are the same. */
static struct load_key *
find_key(const struct load_book *book, const struct text *text, uint32_t hash)
{
    struct load_key *key;

    HMAP_FOR_EACH_WITH_HASH (key, node, hash, &book->key_map) {
        if (key->table == text->table && key->priority == text->priority
            && key->len == text->match_len
            && !memcmp(key->match, text->match, key->len)) {
            return key;
        }
    }
    return NULL;
}

/* The number; 0 if nobody understands it. */
static uint32_t
know_key(struct load_book *book, const struct text *text,
         const struct ofp_header *oh)
{
    uint32_t hash = hash_bytes(text->match, text->match_len, text->table);
    struct load_key *key = find_key(book, text, hash);

    if (key) {
        return key->number;
    }
    key = xzalloc(sizeof *key + text->match_len);
    if (!understand(oh, key, NULL)) {
        free(key);
        return 0;
    }
    key->number = ++book->n_keys;
    key->table = text->table;
    key->priority = text->priority;
    key->len = text->match_len;
    key->any = key->len <= MATCH_HEADER_LEN;
    memcpy(key->match, text->match, key->len);
    hmap_insert(&book->key_map, &key->node, hash);
    while (book->n_keys >= book->allocated_keys) {
        book->keys = x2nrealloc(book->keys, &book->allocated_keys,
                                sizeof *book->keys);
    }
    book->keys[key->number] = key;
    return key->number;
}

static struct load_act *
find_act(const struct load_book *book, const struct text *text, uint32_t hash)
{
    struct load_act *act;

    HMAP_FOR_EACH_WITH_HASH (act, node, hash, &book->act_map) {
        if (act->cookie == text->cookie && act->flags == text->flags
            && act->len == text->instructions_len
            && !memcmp(act->instructions, text->instructions, act->len)) {
            return act;
        }
    }
    return NULL;
}

static uint32_t
know_act(struct load_book *book, const struct text *text,
         const struct ofp_header *oh)
{
    uint32_t hash = hash_bytes(text->instructions, text->instructions_len,
                               hash_uint64((OVS_FORCE uint64_t) text->cookie));
    struct load_act *act = find_act(book, text, hash);

    if (act) {
        return act->number;
    }
    act = xzalloc(sizeof *act + text->instructions_len);
    if (!understand(oh, NULL, act)) {
        free(act);
        return 0;
    }
    act->number = ++book->n_acts;
    act->cookie = text->cookie;
    act->flags = text->flags;
    act->len = text->instructions_len;
    memcpy(act->instructions, text->instructions, act->len);
    hmap_insert(&book->act_map, &act->node, hash);
    while (book->n_acts >= book->allocated_acts) {
        book->acts = x2nrealloc(book->acts, &book->allocated_acts,
                                sizeof *book->acts);
    }
    book->acts[act->number] = act;
    return act->number;
}

/* A table: open addressing, linear probing. */

void
load_flows_init(struct load_flows *flows)
{
    flows->n = 0;
    flows->n_slots = SLOTS_MIN;
    flows->slots = xcalloc(flows->n_slots, sizeof *flows->slots);
}

void
load_flows_destroy(struct load_flows *flows)
{
    free(flows->slots);
}

static uint32_t
home_of(const struct load_flows *flows, uint32_t key)
{
    return hash_int(key, 0) & (flows->n_slots - 1);
}

/* Where the key is, or the empty slot where it would be. */
static struct load_flow *
slot_of(const struct load_flows *flows, uint32_t key)
{
    uint32_t i = home_of(flows, key);

    while (flows->slots[i].key && flows->slots[i].key != key) {
        i = (i + 1) & (flows->n_slots - 1);
    }
    return &flows->slots[i];
}

static void
grow(struct load_flows *flows)
{
    struct load_flows old = *flows;

    flows->n_slots *= 2;
    flows->slots = xcalloc(flows->n_slots, sizeof *flows->slots);
    for (uint32_t i = 0; i < old.n_slots; i++) {
        if (old.slots[i].key) {
            *slot_of(flows, old.slots[i].key) = old.slots[i];
        }
    }
    free(old.slots);
}

void
load_flows_put(struct load_flows *flows, struct load_flow flow)
{
    if (flows->n >= flows->n_slots / 4 * 3) {
        grow(flows);
    }
    struct load_flow *slot = slot_of(flows, flow.key);
    flows->n += !slot->key;
    *slot = flow;
}

bool
load_flows_remove(struct load_flows *flows, uint32_t key)
{
    struct load_flow *slot = slot_of(flows, key);
    uint32_t mask = flows->n_slots - 1;

    if (!slot->key) {
        return false;
    }
    flows->n--;
    /* Those behind it move up, if that is nearer to their home. */
    uint32_t hole = slot - flows->slots;
    for (uint32_t i = (hole + 1) & mask; flows->slots[i].key;
         i = (i + 1) & mask) {
        uint32_t home = home_of(flows, flows->slots[i].key);

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            flows->slots[hole] = flows->slots[i];
            hole = i;
        }
    }
    flows->slots[hole] = (struct load_flow) {0, 0};
    return true;
}

const struct load_flow *
load_flows_next(const struct load_flows *flows, uint32_t *position)
{
    while (*position < flows->n_slots) {
        const struct load_flow *flow = &flows->slots[(*position)++];

        if (flow->key) {
            return flow;
        }
    }
    return NULL;
}

bool
load_flows_mod(struct load_flows *flows, struct load_book *book,
               const struct ofp_header *oh)
{
    struct load_flow flow;
    struct text text;

    if (!read_text(oh, &text)) {
        return false;
    }
    flow.key = know_key(book, &text, oh);
    if (!flow.key) {
        return false;
    }
    if (text.command == OFPFC_DELETE_STRICT) {
        return load_flows_remove(flows, flow.key);
    }
    flow.act = know_act(book, &text, oh);
    if (!flow.act || text.command != OFPFC_ADD) {
        return false;
    }
    load_flows_put(flows, flow);
    return true;
}

/* Telling. */

/* Counters, as Open vSwitch encodes them: all of them zero. */
static void
put_counters(struct ofpbuf *b, const struct ofp_header *request)
{
    static uint8_t counters[64];
    static size_t len;

    if (!len) {
        struct ofputil_flow_stats stats = {.idle_age = -1, .hard_age = -1};
        struct ovs_list replies;

        ofpmp_init(&replies, request);
        match_init_catchall(&stats.match);
        ofputil_append_flow_stats_reply(&stats, &replies, NULL);
        const struct ofpbuf *reply = ofpbuf_from_list(ovs_list_back(&replies));
        size_t ofs = PART_HEADER_LEN + sizeof(struct ofp15_flow_desc)
                     + EMPTY_MATCH_LEN;
        len = reply->size - ofs;
        ovs_assert(len <= sizeof counters);
        memcpy(counters, (const uint8_t *) reply->data + ofs, len);
        ofpbuf_list_delete(&replies);
    }
    ofpbuf_put(b, counters, len);
}

static void
put_flow(struct ofpbuf *b, const struct load_key *key,
         const struct load_act *act, const struct ofp_header *request)
{
    size_t start = b->size;
    struct ofp15_flow_desc *desc = ofpbuf_put_zeros(b, sizeof *desc);

    desc->table_id = key->table;
    desc->priority = key->priority;
    desc->flags = act->flags;
    desc->cookie = act->cookie;
    ofpbuf_put(b, key->match, key->len);
    ofpbuf_put_zeros(b, ROUND_UP(key->len, 8) - key->len);
    put_counters(b, request);
    ofpbuf_put(b, act->instructions, act->len);
    desc = ofpbuf_at_assert(b, start, sizeof *desc);
    desc->length = htons(b->size - start);
}

bool
load_flows_tell(const struct load_flows *flows, const struct load_book *book,
                const struct ofp_header *request, uint32_t *position,
                struct ofpbuf *out)
{
    struct ofpbuf *b = ofpraw_alloc_reply(OFPRAW_OFPST15_FLOW_REPLY, request,
                                          PART_MAX);
    const struct load_flow *flow = NULL;

    while (b->size < PART_MAX && (flow = load_flows_next(flows, position))) {
        put_flow(b, load_key(book, flow), load_act(book, flow),
                 request);
    }
    ofpmsg_update_length(b);
    ovs_be16 flags = htons(flow ? OFPSF_REPLY_MORE : 0);
    memcpy((uint8_t *) b->data + OFS_PART_FLAGS, &flags, sizeof flags);
    ofpbuf_put(out, b->data, b->size);
    ofpbuf_delete(b);
    return flow != NULL;
}
