/* SPDX-License-Identifier: Apache-2.0 */
#include "controller/rule_encode.h"

#include <stdlib.h>
#include <string.h>
#include "controller/openflow_codec.h"
#include "controller/tiles.h"
#include "openflow/openflow.h"
#include "openvswitch/hmap.h"
#include "openvswitch/ofp-bundle.h"
#include "openvswitch/ofpbuf.h"
#include "hash.h"
#include "packets.h"
#include "unaligned.h"
#include "util.h"

/* Beyond that, the library encodes: names can be of any length, so that a peer
 * could ask for any number of shapes. */
#define TEMPLATES_MAX 1024

#define GROWTH_MAX (64 * 1024) /* Of the output, at once. */

/* What may differ between rules of one shape. */
enum variable {
    VAR_SERVICE,
    VAR_TILE,
    VAR_ADDRESS,
    VAR_MAC,
    VAR_TARGET,
    VAR_PORT,
    N_VARIABLES,
};
#define VARIABLE_MAX sizeof(struct service_id) /* Octets. */

/* Compared by memcmp(). */
struct shape {
    uint32_t protocol;   /* enum ofputil_protocol. */
    uint16_t prefix_len;
    uint16_t flags;
    uint8_t kind;
    uint8_t service_protocol;
    uint8_t path_class;
    uint8_t tile_bits;
    uint8_t deletes;
    uint8_t in_bundle;
    uint8_t padding[2];
};
BUILD_ASSERT_DECL(sizeof(struct shape) == 16);

struct template {
    struct hmap_node node;
    struct shape shape;
    bool usable;
    uint16_t size;
    uint16_t places[N_VARIABLES]; /* 0: not in the message. */
    uint8_t *message;             /* Owned. */
};

static struct hmap templates = HMAP_INITIALIZER(&templates);
static uint16_t templates_sal_port; /* Which all templates are for. */

size_t
rule_templates_count(void)
{
    const struct template *template;
    size_t n = 0;

    HMAP_FOR_EACH (template, node, &templates) {
        n += template->usable;
    }
    return n;
}

void
rule_templates_clear(void)
{
    struct template *template;

    HMAP_FOR_EACH_POP (template, node, &templates) {
        free(template->message);
        free(template);
    }
    hmap_destroy(&templates);
    hmap_init(&templates);
}

/* By the library. */

bool
rule_change_append_plainly(const struct rule_change *change,
                           const struct rule_encoding *encoding, uint32_t xid,
                           struct ofpbuf *output)
{
    const struct rule_dialect *dialect = encoding->dialect;
    struct ofpbuf *b = rule_change_encode(change, dialect);

    if (!b) {
        return false;
    }
    openflow_set_xid(b, xid);
    if (encoding->in_bundle) {
        b = openflow_bundle_add(
            ofputil_protocol_to_ofp_version(dialect->protocol),
            encoding->bundle_id, b);
    }
    ofpmsg_update_length(b); /* The encoders leave that to us. */
    ofpbuf_put(output, b->data, b->size);
    ofpbuf_delete(b);
    return true;
}

/* Variables. */

static bool
is_v6(const struct rule *rule)
{
    return rule->kind == RULE_SERVICE6 || rule->kind == RULE_ENDPOINT6
           || rule->kind == RULE_HOST6;
}

static bool
is_host(const struct rule *rule)
{
    return rule->kind == RULE_HOST || rule->kind == RULE_HOST6;
}

/* As it is in messages.  Returns the length. */
static size_t
get_address(const struct rule *rule, const struct in6_addr *address,
            uint8_t bytes[])
{
    if (is_v6(rule)) {
        memcpy(bytes, address, sizeof *address);
        return sizeof *address;
    }
    memcpy(bytes, &address->s6_addr[12], 4);
    return 4;
}

static size_t
get_service(const struct rule *rule, uint8_t bytes[])
{
    size_t whole = rule->prefix_len / 8, bits = rule->prefix_len % 8;

    memset(bytes, 0, sizeof rule->service);
    memcpy(bytes, &rule->service, whole);
    if (bits) {
        bytes[whole] = rule->service.bytes[whole] & (0xff00 >> bits);
    }
    return sizeof rule->service;
}

/* The octets that stand for 'variable' in a message.  Returns their number,
 * 0 if rules of this kind do not have it. */
static size_t
get_variable(const struct rule *rule, enum variable variable, uint8_t bytes[])
{
    if (variable == VAR_PORT) {
        put_unaligned_be32((ovs_be32 *) bytes, htonl(rule->port));
        return 4;
    }
    if (is_host(rule)) {
        return variable == VAR_ADDRESS
               ? get_address(rule, &rule->address, bytes) : 0;
    }
    switch (variable) {
    case VAR_SERVICE:
        return get_service(rule, bytes);
    case VAR_TILE:
        put_unaligned_be16((ovs_be16 *) bytes,
                           htons(rule->tile_value
                                 & ((1u << rule->tile_bits) - 1)));
        return 2;
    case VAR_MAC:
        memcpy(bytes, &rule->mac, sizeof rule->mac);
        return sizeof rule->mac;
    case VAR_TARGET:
        return get_address(rule, &rule->target, bytes);
    case VAR_ADDRESS:
    case VAR_PORT:
    case N_VARIABLES:
        break;
    }
    return 0;
}

static void
set_address(const struct rule *rule, struct in6_addr *address, uint8_t octet)
{
    memset(address, octet, sizeof *address);
    if (!is_v6(rule)) {
        in6_addr_set_mapped_ipv4(address, htonl(octet * 0x01010101u));
    }
}

/* Sets the variable to a value that is made of 'octet'. */
static void
set_variable(struct rule *rule, enum variable variable, uint8_t octet)
{
    switch (variable) {
    case VAR_SERVICE:
        if (!is_host(rule)) {
            struct service_prefix prefix = {.len = rule->prefix_len};
            memset(&prefix.id, octet, sizeof prefix.id);
            service_prefix_normalize(&prefix);
            rule->service = prefix.id;
        }
        break;
    case VAR_TILE:
        rule->tile_value = octet * 0x0101 & ((1u << rule->tile_bits) - 1);
        break;
    case VAR_ADDRESS:
        if (is_host(rule)) {
            set_address(rule, &rule->address, octet);
        }
        break;
    case VAR_MAC:
        memset(&rule->mac, octet, sizeof rule->mac);
        break;
    case VAR_TARGET:
        set_address(rule, &rule->target, octet);
        break;
    case VAR_PORT:
        rule->port = octet * (rule->flags & RULE_VIA_GROUP ? 0x01010101u
                                                           : 0x0101u);
        break;
    case N_VARIABLES:
        break;
    }
}

/* Making a template. */

/* All bits of one differ from those of the other; as a port, neither is
 * reserved. */
#define SAMPLE 0x01
#define OTHER_SAMPLE 0xfe

/* Finds where 'a' has what stands for the variable in the rule 'of_a', given
 * that 'b' differs from it in this variable alone. */
static bool
find_place(const struct ofpbuf *a, const struct rule *of_a,
           const struct ofpbuf *b, const struct rule *of_b,
           enum variable variable, uint16_t *ret_place)
{
    uint8_t in_a[VARIABLE_MAX], in_b[VARIABLE_MAX];
    size_t len = get_variable(of_a, variable, in_a);
    const uint8_t *p = a->data, *q = b->data;
    size_t first = 0, skip = 0;

    get_variable(of_b, variable, in_b);
    if (a->size != b->size) {
        return false;
    }
    while (first < a->size && p[first] == q[first]) {
        first++;
    }
    if (first == a->size) {
        *ret_place = 0;
        return true;
    }
    while (skip < len && in_a[skip] == in_b[skip]) {
        skip++;
    }
    if (first < skip || first - skip + len > a->size) {
        return false;
    }
    size_t place = first - skip, end = place + len;
    *ret_place = place;
    return !memcmp(p + place, in_a, len) && !memcmp(q + place, in_b, len)
           && !memcmp(p + end, q + end, a->size - end);
}

static void
set_be32(uint8_t *message, size_t place, uint32_t value)
{
    put_unaligned_be32((ovs_be32 *) (message + place), htonl(value));
}

static void
append_copy(const struct template *template, const struct rule *rule,
            const struct rule_encoding *encoding, uint32_t xid,
            struct ofpbuf *output)
{
    size_t inner = 0;

    if (ofpbuf_tailroom(output) < template->size) {
        /* Few reallocations, little that stays unused: a hundred switches may
         * have such buffers waiting. */
        ofpbuf_prealloc_tailroom(output, template->size
                                         + MIN(output->size, GROWTH_MAX));
    }
    uint8_t *message = ofpbuf_put(output, template->message, template->size);

    if (encoding->in_bundle) {
        set_be32(message, offsetof(struct ofp_header, xid), xid);
        inner = sizeof(struct ofp_header);
        set_be32(message,
                 inner + offsetof(struct ofp14_bundle_ctrl_msg, bundle_id),
                 encoding->bundle_id);
        inner += sizeof(struct ofp14_bundle_ctrl_msg);
    }
    set_be32(message, inner + offsetof(struct ofp_header, xid), xid);
    for (int i = 0; i < N_VARIABLES; i++) {
        if (template->places[i]) {
            get_variable(rule, i, message + template->places[i]);
        }
    }
}

/* Finds all places by way of samples of the shape of 'change'. */
static bool
find_places(const struct rule_change *change,
            const struct rule_encoding *encoding, struct template *template)
{
    struct rule_change sample = *change;
    struct ofpbuf a, b;
    bool ok;

    for (int i = 0; i < N_VARIABLES; i++) {
        set_variable(&sample.rule, i, SAMPLE);
    }
    ofpbuf_init(&a, 512);
    ofpbuf_init(&b, 512);
    ok = rule_change_append_plainly(&sample, encoding, 0, &a)
         && a.size <= UINT16_MAX;
    for (int i = 0; ok && i < N_VARIABLES; i++) {
        struct rule_change other = sample;

        set_variable(&other.rule, i, OTHER_SAMPLE);
        ofpbuf_clear(&b);
        ok = rule_change_append_plainly(&other, encoding, 0, &b)
             && find_place(&a, &sample.rule, &b, &other.rule, i,
                           &template->places[i]);
    }
    if (ok) {
        template->size = a.size;
        template->message = xmemdup(a.data, a.size);
    }
    ofpbuf_uninit(&a);
    ofpbuf_uninit(&b);
    return ok;
}

/* Does the template give what the library makes of 'change'? */
static bool
is_exact(const struct template *template, const struct rule_change *change,
         const struct rule_encoding *encoding)
{
    const uint32_t xid = 0x12345678;
    struct ofpbuf copy, plain;

    ofpbuf_init(&copy, 512);
    ofpbuf_init(&plain, 512);
    append_copy(template, &change->rule, encoding, xid, &copy);
    bool ok = rule_change_append_plainly(change, encoding, xid, &plain)
              && ofpbuf_equal(&copy, &plain);
    ofpbuf_uninit(&copy);
    ofpbuf_uninit(&plain);
    return ok;
}

static struct template *
make_template(const struct rule_change *change,
              const struct rule_encoding *encoding, const struct shape *shape)
{
    struct template *template = xzalloc(sizeof *template);

    template->shape = *shape;
    template->usable = find_places(change, encoding, template)
                       && is_exact(template, change, encoding);
    hmap_insert(&templates, &template->node,
                hash_bytes(shape, sizeof *shape, 0));
    return template;
}

/* Which template. */

/* Is 'rule' of a kind of which there are many, and ordinary? */
static bool
may_be_copied(const struct rule *rule)
{
    bool v6 = is_v6(rule);

    if ((!(rule->flags & RULE_VIA_GROUP)
         && rule->port >= (uint32_t) OFPP_MAX)
        || rule->prefix_len > 8 * sizeof rule->service
        || rule->tile_bits > TILES_BITS_MAX) {
        return false;
    }
    if (is_host(rule)) {
        return IN6_IS_ADDR_V4MAPPED(&rule->address) != v6;
    }
    /* What is not resolved has no target. */
    return rule_has_target(rule)
           && (rule->flags & RULE_ONWARD
               || IN6_IS_ADDR_V4MAPPED(&rule->target) != v6);
}

static struct shape
shape_of(const struct rule_change *change,
         const struct rule_encoding *encoding)
{
    const struct rule *rule = &change->rule;
    bool deletes = change->op == RULE_DELETE;

    return (struct shape) {
        .protocol = encoding->dialect->protocol,
        .prefix_len = rule->prefix_len,
        .flags = deletes ? 0 : rule->flags,
        .kind = rule->kind,
        .service_protocol = rule->protocol,
        .path_class = rule->path_class,
        .tile_bits = rule->tile_bits,
        .deletes = deletes,
        .in_bundle = encoding->in_bundle,
    };
}

/* NULL if there is none and no room for one more. */
static const struct template *
get_template(const struct rule_change *change,
             const struct rule_encoding *encoding)
{
    struct shape shape = shape_of(change, encoding);
    const struct rules_config *config = encoding->dialect->config;
    struct template *template;

    if (config->sal_port != templates_sal_port) {
        rule_templates_clear();
        templates_sal_port = config->sal_port;
    }
    HMAP_FOR_EACH_WITH_HASH (template, node,
                             hash_bytes(&shape, sizeof shape, 0),
                             &templates) {
        if (!memcmp(&template->shape, &shape, sizeof shape)) {
            return template;
        }
    }
    return hmap_count(&templates) < TEMPLATES_MAX
           ? make_template(change, encoding, &shape) : NULL;
}

bool
rule_change_append(const struct rule_change *change,
                   const struct rule_encoding *encoding, uint32_t xid,
                   struct ofpbuf *output)
{
    if (may_be_copied(&change->rule)) {
        const struct template *template = get_template(change, encoding);

        if (template && template->usable) {
            append_copy(template, &change->rule, encoding, xid, output);
            return true;
        }
    }
    return rule_change_append_plainly(change, encoding, xid, output);
}
