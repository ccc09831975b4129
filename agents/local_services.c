/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/local_services.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include "util.h"

void
local_services_init(struct local_services *set)
{
    memset(set, 0, sizeof *set);
}

void
local_services_destroy(struct local_services *set)
{
    if (set) {
        for (size_t i = 0; i < set->n; i++) {
            free(set->items[i].name);
        }
        free(set->items);
        local_services_init(set);
    }
}

void
local_services_copy(struct local_services *dst,
                    const struct local_services *src)
{
    local_services_init(dst);
    for (size_t i = 0; i < src->n; i++) {
        local_services_put(dst, &src->items[i]);
    }
}

int
local_service_compare(const struct local_service *a,
                      const struct local_service *b)
{
    int order = service_prefix_compare(&a->prefix, &b->prefix);
    if (order) {
        return order;
    }
    if (a->protocol != b->protocol) {
        return a->protocol < b->protocol ? -1 : 1;
    }
    if (a->service_port != b->service_port) {
        return a->service_port < b->service_port ? -1 : 1;
    }
    return 0;
}

static const char *
name_of(const struct local_service *service)
{
    return service->name ? service->name : "";
}

bool
local_service_equal(const struct local_service *a,
                    const struct local_service *b)
{
    return (!local_service_compare(a, b) && !strcmp(name_of(a), name_of(b))
            && a->target_address == b->target_address
            && a->target_port == b->target_port && a->weight == b->weight
            && a->priority == b->priority && a->capacity == b->capacity
            && a->health == b->health
            && a->health_interval_ms == b->health_interval_ms
            && a->health_threshold == b->health_threshold);
}

/* Index of the first item that is not below 'key'. */
static size_t
lower_bound(const struct local_services *set, const struct local_service *key)
{
    size_t low = 0, high = set->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (local_service_compare(&set->items[middle], key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool
is_at(const struct local_services *set, size_t i,
      const struct local_service *key)
{
    return i < set->n && !local_service_compare(&set->items[i], key);
}

bool
local_services_put(struct local_services *set,
                   const struct local_service *service)
{
    size_t i = lower_bound(set, service);

    if (is_at(set, i, service)) {
        if (local_service_equal(&set->items[i], service)) {
            return false;
        }
        free(set->items[i].name);
    } else {
        if (set->n >= set->allocated) {
            set->items
                = x2nrealloc(set->items, &set->allocated, sizeof *set->items);
        }
        memmove(&set->items[i + 1], &set->items[i],
                (set->n - i) * sizeof *set->items);
        set->n++;
    }
    set->items[i] = *service;
    set->items[i].name = xstrdup(name_of(service));
    return true;
}

bool
local_services_remove(struct local_services *set,
                      const struct local_service *key)
{
    size_t i = lower_bound(set, key);

    if (!is_at(set, i, key)) {
        return false;
    }
    free(set->items[i].name);
    memmove(&set->items[i], &set->items[i + 1],
            (set->n - i - 1) * sizeof *set->items);
    set->n--;
    return true;
}

const struct local_service *
local_services_find(const struct local_services *set,
                    const struct local_service *key)
{
    size_t i = lower_bound(set, key);
    return is_at(set, i, key) ? &set->items[i] : NULL;
}

void
local_services_merge(const struct local_services *file,
                     const struct local_services *masked,
                     const struct local_services *commands,
                     struct local_services *ret_merged)
{
    local_services_copy(ret_merged, file);
    for (size_t i = 0; i < masked->n; i++) {
        local_services_remove(ret_merged, &masked->items[i]);
    }
    for (size_t i = 0; i < commands->n; i++) {
        local_services_put(ret_merged, &commands->items[i]);
    }
}

uint8_t
local_service_protocol(const char *name)
{
    return (!strcmp(name, "tcp")   ? IPPROTO_TCP
            : !strcmp(name, "udp") ? IPPROTO_UDP
                                   : 0);
}

const char *
local_service_protocol_name(uint8_t protocol)
{
    return (protocol == IPPROTO_TCP   ? "tcp"
            : protocol == IPPROTO_UDP ? "udp"
                                      : "?");
}

static const char *
parse_port(const char *s, uint16_t *port)
{
    unsigned int value;

    if (!str_to_uint(s, 10, &value) || s[strspn(s, "0123456789")] || !value
        || value > UINT16_MAX) {
        return "has a port that is not 1 to 65535";
    }
    *port = value;
    return NULL;
}

const char *
local_service_parse_target(const char *s, uint32_t *address, uint16_t *port)
{
    const char *colon = strchr(s, ':');
    char host[INET_ADDRSTRLEN];
    struct in_addr in;

    if (!colon && !strchr(s, '.')) {
        return parse_port(s, port);
    }
    size_t len = colon ? colon - s : strlen(s);
    if (len >= sizeof host) {
        return "is not an IPv4 address, port, or address:port";
    }
    memcpy(host, s, len);
    host[len] = '\0';
    if (inet_pton(AF_INET, host, &in) != 1) {
        return "is not an IPv4 address, port, or address:port";
    }
    if (IN_MULTICAST(ntohl(in.s_addr)) || ntohl(in.s_addr) >= 0xf0000000) {
        return "is not an address of this host";
    }
    if (colon) {
        const char *error = parse_port(colon + 1, port);
        if (error) {
            return error;
        }
    }
    *address = ntohl(in.s_addr);
    return NULL;
}
