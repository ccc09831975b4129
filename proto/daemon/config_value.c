/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes to values.  Pure. */
#include "proto/daemon/config_node.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "openvswitch/dynamic-string.h"
#include "util.h"

/* Nothing was written, or YAML's word for nothing. */
static bool
is_null(const struct config_node *node)
{
    return node->kind == CONFIG_SCALAR && !node->quoted
           && (!node->value[0] || !strcmp(node->value, "~")
               || !strcmp(node->value, "null"));
}

struct config_node *
config_node_find(struct config_node *mapping, const char *key)
{
    if (!mapping || mapping->kind != CONFIG_MAPPING) {
        return NULL;
    }
    if (!svec_contains_unsorted(&mapping->asked, key)) {
        svec_add(&mapping->asked, key);
    }
    struct config_node *child = shash_find_data(&mapping->by_key, key);
    return child && !is_null(child) ? child : NULL;
}

/* As config_node_find(), but nothing is found after an error. */
static struct config_node *
find(struct config_node *mapping, const char *key)
{
    struct config_node *child = config_node_find(mapping, key);
    return child && !child->file->error ? child : NULL;
}

static const char *
kind_name(const struct config_node *node)
{
    return node->kind == CONFIG_SCALAR ? "a single value"
           : node->kind == CONFIG_SEQUENCE ? "a list" : "a mapping";
}

static void
kind_error(const struct config_node *node, const char *wanted,
           const char *remedy)
{
    config_node_error(node, xasprintf("is %s, not %s", kind_name(node),
                                      wanted), remedy);
}

/* "VALUE <what>" */
static void
value_error(const struct config_node *node, const char *what,
            const char *remedy)
{
    char *quoted = config_quote(node->value);
    config_node_error(node, xasprintf("%s %s", quoted, what), remedy);
    free(quoted);
}

static struct config_node *
find_scalar(struct config_node *mapping, const char *key)
{
    struct config_node *child = find(mapping, key);
    if (child && child->kind != CONFIG_SCALAR) {
        kind_error(child, "a single value", "write \"key: value\"");
        return NULL;
    }
    return child;
}

const char *
config_string(struct config_node *mapping, const char *key, const char *def)
{
    struct config_node *child = find_scalar(mapping, key);
    return child ? child->value : def;
}

/* True if one letter more, less, other, or changed with the next makes 'a' of
 * 'b'. */
static bool
is_misspelt(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a && *b && a[1] == b[0] && a[0] == b[1] ? !strcmp(a + 2, b + 2)
           : (*a && !strcmp(a + 1, b)) || (*b && !strcmp(a, b + 1))
             || (*a && *b && !strcmp(a + 1, b + 1));
}

/* The key that may have been meant for 'key', or NULL. */
static struct config_node *
find_misspelt(const struct config_node *mapping, const char *key)
{
    for (size_t i = 0; i < mapping->n; i++) {
        struct config_node *child = mapping->children[i];
        if (child->key && strlen(key) > 2 && is_misspelt(child->key, key)) {
            return child;
        }
    }
    return NULL;
}

const char *
config_string_required(struct config_node *mapping, const char *key)
{
    const char *value = config_string(mapping, key, NULL);

    if (!value && mapping) {
        char *remedy = xasprintf("write \"%s: ...\"", key);
        struct config_node *misspelt = find_misspelt(mapping, key);
        if (misspelt) {
            config_node_error(misspelt, xstrdup("unknown key"), remedy);
        } else {
            config_node_error(mapping, xasprintf("\"%s\" is missing", key),
                              remedy);
        }
        free(remedy);
    }
    return value ? value : "";
}

/* Decimal, or hexadecimal after "0x".  -EINVAL, -ERANGE. */
static int
parse_int(const char *s, int64_t *ret_value)
{
    const char *digits = s + (*s == '-');
    bool hex = digits[0] == '0' && (digits[1] | 0x20) == 'x';
    if (!(hex ? isxdigit((unsigned char) digits[2])
              : isdigit((unsigned char) digits[0]))) {
        return -EINVAL;
    }

    char *end;
    errno = 0;
    long long value = strtoll(s, &end, hex ? 16 : 10);
    if (*end) {
        return -EINVAL;
    }
    if (errno) {
        return -errno;
    }
    *ret_value = value;
    return 0;
}

int64_t
config_int(struct config_node *mapping, const char *key, int64_t min,
           int64_t max, int64_t def)
{
    struct config_node *child = find_scalar(mapping, key);
    if (!child) {
        return def;
    }

    int64_t value;
    int error = parse_int(child->value, &value);
    if (!error && value >= min && value <= max) {
        return value;
    }
    char *remedy = xasprintf("use %"PRId64" to %"PRId64, min, max);
    if (error == -EINVAL) {
        value_error(child, "is no whole number", remedy);
    } else {
        config_node_error(child, xasprintf("%.30s is out of range",
                                           child->value), remedy);
    }
    free(remedy);
    return def;
}

bool
config_bool(struct config_node *mapping, const char *key, bool def)
{
    static const char *const words[][2] = {
        {"false", "true"}, {"no", "yes"}, {"off", "on"}};
    struct config_node *child = find_scalar(mapping, key);
    if (!child) {
        return def;
    }

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        for (int value = 0; value < 2; value++) {
            if (!strcasecmp(child->value, words[i][value])) {
                return value;
            }
        }
    }
    value_error(child, "is neither true nor false", "use true or false");
    return def;
}

static bool
parse_ipv4(const char *s, uint32_t *ret_address)
{
    struct in_addr in;
    if (inet_pton(AF_INET, s, &in) != 1) {
        return false;
    }
    *ret_address = ntohl(in.s_addr);
    return true;
}

uint32_t
config_ipv4(struct config_node *mapping, const char *key, uint32_t def)
{
    struct config_node *child = find_scalar(mapping, key);
    uint32_t address;

    if (!child) {
        return def;
    }
    if (!parse_ipv4(child->value, &address)) {
        value_error(child, "is no IPv4 address",
                    "write four numbers, 192.0.2.1");
        return def;
    }
    return address;
}

void
config_ipv6(struct config_node *mapping, const char *key,
            struct in6_addr *address)
{
    struct config_node *child = find_scalar(mapping, key);
    struct in6_addr a;

    if (!child) {
        return;
    }
    if (!strcmp(child->value, "none")) {
        *address = in6addr_any;
    } else if (inet_pton(AF_INET6, child->value, &a) != 1) {
        value_error(child, "is no IPv6 address",
                    "write \"2001:db8::1\", or none");
    } else {
        *address = a;
    }
}

static bool
parse_ipv4_prefix(const char *s, uint32_t *ret_address, uint8_t *ret_length)
{
    const char *slash = strchr(s, '/');
    char address[INET_ADDRSTRLEN];
    int64_t length;

    if (!slash || slash - s >= sizeof address
        || slash[1] == '-' || parse_int(slash + 1, &length) || length > 32) {
        return false;
    }
    ovs_strlcpy(address, s, slash - s + 1);
    if (!parse_ipv4(address, ret_address)) {
        return false;
    }
    *ret_length = length;
    return true;
}

void
config_ipv4_prefix(struct config_node *mapping, const char *key,
                   uint32_t *address, uint8_t *length)
{
    struct config_node *child = find_scalar(mapping, key);
    uint32_t a;
    uint8_t l;

    if (!child) {
        return;
    }
    if (!parse_ipv4_prefix(child->value, &a, &l)) {
        value_error(child, "is no IPv4 prefix", "write 192.0.2.0/24");
        return;
    }
    uint32_t mask = l ? UINT32_MAX << (32 - l) : 0;
    if (a & ~mask) {
        uint32_t base = a & mask;
        char *remedy = xasprintf("use %u.%u.%u.%u/%u", base >> 24,
                                 base >> 16 & 255, base >> 8 & 255,
                                 base & 255, l);
        value_error(child, "has bits set past its length", remedy);
        free(remedy);
        return;
    }
    *address = a;
    *length = l;
}

static const struct {
    const char *name;
    int64_t ms;
} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}};

/* "10s".  -EINVAL, -ERANGE. */
static int
parse_duration(const char *s, int64_t *ret_ms)
{
    size_t n_digits = strspn(s, "0123456789");
    char number[20];
    int64_t value;

    if (!n_digits) {
        return -EINVAL;
    }
    if (n_digits >= sizeof number) {
        return -ERANGE;
    }
    ovs_strlcpy(number, s, n_digits + 1);
    int error = parse_int(number, &value);
    if (error) {
        return error;
    }
    const char *unit = s + n_digits;
    if (!value && !*unit) {
        *ret_ms = 0;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (!strcmp(unit, units[i].name)) {
            return __builtin_mul_overflow(value, units[i].ms, ret_ms)
                   ? -ERANGE : 0;
        }
    }
    return -EINVAL;
}

static void
put_duration(struct ds *ds, int64_t ms)
{
    size_t i = ARRAY_SIZE(units) - 1;
    while (i && (!ms || ms % units[i].ms)) {
        i--;
    }
    ds_put_format(ds, "%"PRId64"%s", ms / units[i].ms, units[i].name);
}

int64_t
config_duration_ms(struct config_node *mapping, const char *key, int64_t min,
                   int64_t max, int64_t def)
{
    struct config_node *child = find_scalar(mapping, key);
    if (!child) {
        return def;
    }

    int64_t ms;
    int error = parse_duration(child->value, &ms);
    if (!error && ms >= min && ms <= max) {
        return ms;
    }
    if (error == -EINVAL) {
        value_error(child, "is no duration", "write 250ms, 10s, 2m or 1h");
        return def;
    }
    struct ds remedy = DS_EMPTY_INITIALIZER;
    ds_put_cstr(&remedy, "use ");
    put_duration(&remedy, min);
    ds_put_cstr(&remedy, " to ");
    put_duration(&remedy, max);
    config_node_error(child, xasprintf("%.30s is out of range", child->value),
                      ds_cstr(&remedy));
    ds_destroy(&remedy);
    return def;
}

static struct config_node *
check_kind(struct config_node *node, enum config_kind kind)
{
    if (!node || node->kind == kind) {
        return node;
    }
    if (kind == CONFIG_MAPPING) {
        kind_error(node, "a mapping", "write indented \"key: value\" lines");
    } else if (kind == CONFIG_SEQUENCE) {
        kind_error(node, "a list", "write lines that start with \"- \"");
    } else {
        kind_error(node, "a single value", "write one word");
    }
    return NULL;
}

struct config_node *
config_mapping(struct config_node *mapping, const char *key)
{
    return check_kind(find(mapping, key), CONFIG_MAPPING);
}

struct config_node *
config_sequence(struct config_node *mapping, const char *key)
{
    return check_kind(find(mapping, key), CONFIG_SEQUENCE);
}

size_t
config_sequence_length(const struct config_node *node)
{
    return node && node->kind == CONFIG_SEQUENCE ? node->n : 0;
}

static struct config_node *
item(struct config_node *node, size_t i, enum config_kind kind)
{
    return i < config_sequence_length(node) && !node->file->error
           ? check_kind(node->children[i], kind) : NULL;
}

bool
config_sequence_is_mapping(const struct config_node *node, size_t i)
{
    return i < config_sequence_length(node)
           && node->children[i]->kind == CONFIG_MAPPING;
}

struct config_node *
config_sequence_mapping(struct config_node *node, size_t i)
{
    return item(node, i, CONFIG_MAPPING);
}

const char *
config_sequence_string(struct config_node *node, size_t i)
{
    const struct config_node *child = item(node, i, CONFIG_SCALAR);
    return child ? child->value : "";
}
