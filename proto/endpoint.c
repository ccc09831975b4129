/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/endpoint.h"

#include <stdbool.h>
#include <string.h>
#include "util.h"

/* Takes the "tcp:" off.  NULL if it is not there. */
static const char *
after(const char *text, const char *start)
{
    size_t n = strlen(start);
    return strncmp(text, start, n) ? NULL : text + n;
}

static const char *
parse_port(const char *s, uint16_t *ret_port)
{
    unsigned int port = 0;

    for (const char *p = s; *p; p++) {
        if (*p < '0' || *p > '9' || p - s >= 5) {
            return "has a port that is no number";
        }
        port = port * 10 + (*p - '0');
    }
    if (!*s) {
        return "lacks the number of its port";
    }
    if (port > UINT16_MAX) {
        return "has a port above 65535";
    }
    *ret_port = port;
    return NULL;
}

static const char *
parse_host_port(const char *s, struct endpoint *endpoint)
{
    bool bracket = *s == '[';
    const char *host = s + bracket;
    const char *end = bracket ? strchr(host, ']') : strrchr(host, ':');

    if (!end) {
        return bracket ? "has a '[' without ']'"
                       : "lacks a port; write HOST:PORT";
    }
    const char *colon = bracket ? end + 1 : end;
    if (*colon != ':') {
        return "lacks a port; write [HOST]:PORT";
    }
    if (end == host) {
        return "lacks a host; 0.0.0.0 or [::] listens on all addresses";
    }
    if (end - host > ENDPOINT_HOST_MAX) {
        return "has a host of more than 253 octets";
    }
    if (!bracket && memchr(host, ':', end - host)) {
        return "has colons in its host; write an IPv6 address as [HOST]:PORT";
    }
    ovs_strlcpy(endpoint->host, host, end - host + 1);
    return parse_port(colon + 1, &endpoint->port);
}

const char *
endpoint_parse(const char *text, struct endpoint *ret_endpoint)
{
    struct endpoint endpoint = {.kind = ENDPOINT_TCP};
    const char *rest, *wrong = NULL;

    if ((rest = after(text, "unix:"))) {
        endpoint.kind = ENDPOINT_UNIX;
        if (strlen(rest) > ENDPOINT_PATH_MAX) {
            wrong = "has a path of more than 107 octets";
        } else if (!*rest) {
            wrong = "lacks a path";
        }
        ovs_strlcpy(endpoint.path, rest, sizeof endpoint.path);
    } else if ((rest = after(text, "tcp:"))) {
        wrong = parse_host_port(rest, &endpoint);
    } else if ((rest = after(text, "tls:"))) {
        endpoint.kind = ENDPOINT_TLS;
        wrong = parse_host_port(rest, &endpoint);
    } else {
        wrong = "is no endpoint; write tcp:HOST:PORT, tls:HOST:PORT or "
                "unix:/path";
    }
    if (!wrong) {
        *ret_endpoint = endpoint;
    }
    return wrong;
}
