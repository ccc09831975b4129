/* SPDX-License-Identifier: Apache-2.0 */
#include "agents/libsal/libsal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agents/libsal/agent_client.h"

#define KEY_OFS 24 /* Bits 192 to 255 of a service ID. */
#define NAME_LEN 192
#define WAIT_MS 40000 /* More than the agent waits for the switches. */

/* Service IDs. */

int
sal_id_from_name(const char *name, struct service_prefix *id)
{
    return service_prefix_from_name(name, id);
}

uint64_t
sal_key_of(const void *key, size_t len)
{
    uint8_t digest[crypto_generichash_BYTES_MIN];
    uint64_t value = 0;

    crypto_generichash(digest, sizeof digest, key, len, NULL, 0);
    for (size_t i = 0; i < sizeof value; i++) {
        value = value << 8 | digest[i];
    }
    return value;
}

int
sal_id_set_shard(struct service_prefix *id, uint64_t i, unsigned int bits)
{
    if (id->len > NAME_LEN || bits > 64 || (bits < 64 && i >> bits)) {
        return -EINVAL;
    }
    uint64_t key = bits ? i << (64 - bits) : 0;
    for (size_t k = 0; k < sizeof key; k++) {
        id->id.bytes[KEY_OFS + k] = key >> (56 - 8 * k);
    }
    id->len = NAME_LEN + bits;
    return 0;
}

int
sal_id_set_key(struct service_prefix *id, uint64_t key)
{
    return sal_id_set_shard(id, key, 64);
}

/* Calling. */

/* The addresses of an ID on this host; a family of 0: there is none. */
struct addresses {
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static int
ask_addresses(const struct service_prefix *id, uint16_t port,
              struct addresses *addresses)
{
    char text[SERVICE_PREFIX_STRLEN];
    char v4[INET_ADDRSTRLEN] = "", v6[INET6_ADDRSTRLEN] = "";
    const char *argv[] = {"resolve", service_prefix_format(id, text), NULL};
    char *output;
    int error = agent_client_call(argv, SAL_TIMEOUT_MS, &output);

    if (error) {
        return error;
    }
    memset(addresses, 0, sizeof *addresses);
    int n = sscanf(output, "%15[0-9.] 0x%*s %45[0-9a-f:.]", v4, v6);
    if (n < 1 || inet_pton(AF_INET, v4, &addresses->v4.sin_addr) != 1
        || (n > 1
            && inet_pton(AF_INET6, v6, &addresses->v6.sin6_addr) != 1)) {
        error = -EPROTO;
    } else {
        addresses->v4.sin_family = addresses->v4.sin_addr.s_addr ? AF_INET : 0;
        addresses->v4.sin_port = htons(port);
        addresses->v6.sin6_family = n > 1 ? AF_INET6 : 0;
        addresses->v6.sin6_port = htons(port);
    }
    free(output);
    return error;
}

static bool
is_wanted(int has, int family)
{
    return has && (family == AF_UNSPEC || family == has);
}

static bool
family_makes_sense(int family)
{
    return family == AF_UNSPEC || family == AF_INET || family == AF_INET6;
}

int
sal_resolve(const struct service_prefix *id, int family, uint16_t port,
            struct sockaddr_storage *ss)
{
    struct addresses addresses;
    int error = family_makes_sense(family)
                ? ask_addresses(id, port, &addresses) : -EINVAL;

    if (error) {
        return error;
    }
    memset(ss, 0, sizeof *ss);
    if (is_wanted(addresses.v4.sin_family, family)) {
        memcpy(ss, &addresses.v4, sizeof addresses.v4);
    } else if (is_wanted(addresses.v6.sin6_family, family)) {
        memcpy(ss, &addresses.v6, sizeof addresses.v6);
    } else {
        error = -EADDRNOTAVAIL;
    }
    return error;
}

static int
connect_to(const void *address, socklen_t len, int family, int type)
{
    int fd = socket(family, type, 0);

    if (fd >= 0 && connect(fd, address, len) && errno != EINPROGRESS) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd < 0 ? -errno : fd;
}

int
sal_connect_family(const struct service_prefix *id, int family, int type,
                   uint16_t port)
{
    struct addresses addresses;
    int result = port && family_makes_sense(family)
                 ? ask_addresses(id, port, &addresses) : -EINVAL;

    if (result) {
        return result;
    }
    result = -EADDRNOTAVAIL;
    if (is_wanted(addresses.v4.sin_family, family)) {
        result = connect_to(&addresses.v4, sizeof addresses.v4, AF_INET,
                            type);
    }
    if (result < 0 && is_wanted(addresses.v6.sin6_family, family)) {
        int other = connect_to(&addresses.v6, sizeof addresses.v6, AF_INET6,
                               type);
        result = other >= 0 || result == -EADDRNOTAVAIL ? other : result;
    }
    return result;
}

int
sal_connect(const struct service_prefix *id, int type, uint16_t port)
{
    return sal_connect_family(id, AF_UNSPEC, type, port);
}

/* Serving. */

/* "web.shop.acme:80" or "0x...00/200:80". */
struct service_text {
    char name[SERVICE_NAME_MAX + SERVICE_PREFIX_STRLEN + 8];
    char target[8], weight[8];
};

static int
format_service(const struct sal_service *service, struct service_text *text)
{
    struct service_prefix of_name;
    char id[SERVICE_PREFIX_STRLEN];

    if (!service->port || service->weight > 65535
        || (service->protocol != IPPROTO_TCP
            && service->protocol != IPPROTO_UDP)) {
        return -EINVAL;
    }
    if (service->name
        && (service_prefix_from_name(service->name, &of_name)
            || !service_prefix_equal(&of_name, &service->prefix))) {
        return -EINVAL;
    }
    snprintf(text->name, sizeof text->name, "%s:%u",
             service->name ? service->name
                           : service_prefix_format(&service->prefix, id),
             service->port);
    snprintf(text->target, sizeof text->target, "%u",
             service->target_port ? service->target_port : service->port);
    snprintf(text->weight, sizeof text->weight, "%u",
             (unsigned int) service->weight);
    return 0;
}

static int
tell_agent(const struct sal_service *service, bool wait, bool add)
{
    struct service_text text;
    const char *argv[12];
    size_t n = 0;
    char *output;
    int error = format_service(service, &text);

    if (error) {
        return error;
    }
    argv[n++] = add ? "register" : "unregister";
    argv[n++] = text.name;
    argv[n++] = "--protocol";
    argv[n++] = service->protocol == IPPROTO_TCP ? "tcp" : "udp";
    if (add) {
        argv[n++] = "--target";
        argv[n++] = text.target;
        argv[n++] = "--weight";
        argv[n++] = text.weight;
    }
    if (wait) {
        argv[n++] = "--wait";
    }
    argv[n] = NULL;
    error = agent_client_call(argv, wait ? WAIT_MS : SAL_TIMEOUT_MS, &output);
    if (!error) {
        free(output);
    }
    return error;
}

int
sal_register(const struct sal_service *service, bool wait)
{
    return tell_agent(service, wait, true);
}

int
sal_unregister(const struct sal_service *service, bool wait)
{
    return tell_agent(service, wait, false);
}

/* Binds a socket to 'port' of all addresses, IPv4 too if 'family' is AF_INET6;
 * '*port' becomes the one that it has. */
static int
bound_socket(int family, int type, uint16_t *port)
{
    struct sockaddr_in6 in6 = {.sin6_family = family};
    struct sockaddr_in in = {.sin_family = family};
    bool v6 = family == AF_INET6;
    struct sockaddr *address = v6 ? (void *) &in6 : (void *) &in;
    socklen_t len = v6 ? sizeof in6 : sizeof in;
    int fd = socket(family, type | SOCK_CLOEXEC, 0);
    int on = 1, off = 0;

    if (fd < 0) {
        return -errno;
    }
    in6.sin6_port = in.sin_port = htons(*port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if ((v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off))
        || bind(fd, address, len) || getsockname(fd, address, &len)) {
        int error = -errno;
        close(fd);
        return error;
    }
    *port = ntohs(v6 ? in6.sin6_port : in.sin_port);
    return fd;
}

int
sal_listen(struct sal_service *service, int backlog)
{
    bool tcp = service->protocol == IPPROTO_TCP;
    int type = tcp ? SOCK_STREAM : SOCK_DGRAM, error;
    uint16_t port = service->target_port;
    int fd = bound_socket(AF_INET6, type, &port);

    if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) {
        fd = bound_socket(AF_INET, type, &port);
    }
    if (fd < 0) {
        return fd;
    }
    if (tcp && listen(fd, backlog)) {
        error = -errno;
    } else {
        service->target_port = port;
        error = sal_register(service, false);
    }
    if (error) {
        close(fd);
    }
    return error ? error : fd;
}

/* Who is there. */

/* 32 hexits, or "-": unknown. */
static bool
parse_endpoint(const char *hex, uint8_t endpoint[SAL_ENDPOINT_LEN])
{
    if (!strcmp(hex, "-")) {
        return true;
    }
    for (size_t i = 0; i < SAL_ENDPOINT_LEN; i++) {
        unsigned int octet;
        if (sscanf(hex + 2 * i, "%2x", &octet) != 1) {
            return false;
        }
        endpoint[i] = octet;
    }
    return true;
}

static int
parse_peer(const char *output, struct sal_peer *peer)
{
    char role[8], service[SERVICE_PREFIX_STRLEN];
    char endpoint[2 * SAL_ENDPOINT_LEN + 1];

    memset(peer, 0, sizeof *peer);
    if (sscanf(output, "identity %45s locator %45s role %7s state %15s "
               "service %70s endpoint %32s", peer->identity, peer->locator,
               role, peer->state, service, endpoint) != 6
        || service_prefix_from_string(service, &peer->service)
        || !parse_endpoint(endpoint, peer->endpoint)) {
        return -EPROTO;
    }
    peer->server = !strcmp(role, "server");
    return 0;
}

/* "10.0.0.1:80", "[fd00::1]:80". */
static int
format_address(const struct sockaddr_storage *ss, char *buf, size_t size)
{
    const struct sockaddr_in *sin = (const void *) ss;
    const struct sockaddr_in6 *sin6 = (const void *) ss;
    char address[INET6_ADDRSTRLEN];

    if (ss->ss_family == AF_INET) {
        inet_ntop(AF_INET, &sin->sin_addr, address, sizeof address);
        snprintf(buf, size, "%s:%u", address, ntohs(sin->sin_port));
    } else if (ss->ss_family == AF_INET6) {
        /* A dual-stack socket has IPv4 addresses as IPv4-mapped ones. */
        bool mapped = IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr);
        inet_ntop(mapped ? AF_INET : AF_INET6,
                  sin6->sin6_addr.s6_addr + (mapped ? 12 : 0), address,
                  sizeof address);
        snprintf(buf, size, mapped ? "%s:%u" : "[%s]:%u", address,
                 ntohs(sin6->sin6_port));
    } else {
        return -EAFNOSUPPORT;
    }
    return 0;
}

int
sal_get_peer(int fd, struct sal_peer *peer)
{
    struct sockaddr_storage local, remote;
    socklen_t local_len = sizeof local, remote_len = sizeof remote;
    char local_text[INET6_ADDRSTRLEN + 8], remote_text[INET6_ADDRSTRLEN + 8];
    const char *argv[] = {"peer", local_text, remote_text, NULL};
    char *output;
    int error;

    if (getsockname(fd, (struct sockaddr *) &local, &local_len)
        || getpeername(fd, (struct sockaddr *) &remote, &remote_len)) {
        return -errno;
    }
    if ((error = format_address(&local, local_text, sizeof local_text))
        || (error = format_address(&remote, remote_text, sizeof remote_text))
        || (error = agent_client_call(argv, SAL_TIMEOUT_MS, &output))) {
        return error == -EREMOTEIO ? -ENOENT : error;
    }
    error = parse_peer(output, peer);
    free(output);
    return error;
}
