/* SPDX-License-Identifier: Apache-2.0 */
/* How one writes where a connection goes:
 *
 *     tcp:HOST:PORT   tcp:[HOST6]:PORT   tls:HOST:PORT   unix:/path
 *
 * Pure; any thread. */
#ifndef SALIENT_ENDPOINT_H
#define SALIENT_ENDPOINT_H 1

#include <stdint.h>

#define ENDPOINT_HOST_MAX 253
#define ENDPOINT_PATH_MAX 107 /* sun_path of unix(7), less its NUL. */

enum endpoint_kind { ENDPOINT_TCP, ENDPOINT_TLS, ENDPOINT_UNIX };

struct endpoint {
    enum endpoint_kind kind;
    char host[ENDPOINT_HOST_MAX + 1]; /* Name or address, no brackets. */
    uint16_t port;                    /* 0: any (to listen only). */
    char path[ENDPOINT_PATH_MAX + 1];
};

/* Takes 'text' apart.  NULL if that works, otherwise a static clause about
 * 'text' ("lacks a port; ..."). */
const char *endpoint_parse(const char *text, struct endpoint *);

#endif /* endpoint.h */
