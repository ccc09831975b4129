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

int
sal_resolve(const struct service_prefix *id, uint16_t port,
            struct sockaddr_in *sin)
{
    char text[SERVICE_PREFIX_STRLEN], address[INET_ADDRSTRLEN];
    const char *argv[] = {"resolve", service_prefix_format(id, text), NULL};
    char *output;
    int error = agent_client_call(argv, SAL_TIMEOUT_MS, &output);

    if (error) {
        return error;
    }
    memset(sin, 0, sizeof *sin);
    sin->sin_family = AF_INET;
    sin->sin_port = htons(port);
    if (sscanf(output, "%15[0-9.]", address) != 1
        || inet_pton(AF_INET, address, &sin->sin_addr) != 1) {
        error = -EPROTO;
    }
    free(output);
    return error;
}

int
sal_connect(const struct service_prefix *id, int type, uint16_t port)
{
    struct sockaddr_in sin;
    int error = port ? sal_resolve(id, port, &sin) : -EINVAL;

    if (error) {
        return error;
    }
    int fd = socket(AF_INET, type, 0);
    if (fd < 0) {
        return -errno;
    }
    if (connect(fd, (struct sockaddr *) &sin, sizeof sin)
        && errno != EINPROGRESS) {
        error = -errno;
        close(fd);
        return error;
    }
    return fd;
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

int
sal_listen(struct sal_service *service, int backlog)
{
    bool tcp = service->protocol == IPPROTO_TCP;
    struct sockaddr_in sin = {.sin_family = AF_INET,
                              .sin_port = htons(service->target_port)};
    socklen_t len = sizeof sin;
    int fd = socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC,
                    0);
    int on = 1, error = 0;

    if (fd < 0) {
        return -errno;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *) &sin, sizeof sin)
        || (tcp && listen(fd, backlog))
        || getsockname(fd, (struct sockaddr *) &sin, &len)) {
        error = -errno;
    } else {
        service->target_port = ntohs(sin.sin_port);
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
