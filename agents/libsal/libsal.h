/* SPDX-License-Identifier: Apache-2.0 */
/* libsal: for programs that want more of Salient than a name.
 *
 * A program needs no library to call a service: it connects to its name.  This
 * one is for who wants to choose a shard by its key, to serve a service or a
 * range of its keys, or to know who the peer really is.
 *
 *     struct service_prefix id;
 *     sal_id_from_name("kv.shop.acme", &id);
 *     sal_id_set_key(&id, sal_key_of("alice", 5));
 *     int fd = sal_connect(&id, SOCK_STREAM, 6379);
 *
 * The sockets are ordinary kernel sockets.  The library talks to the host's
 * agent (sald) over its control socket, $SALIENT_SOCKET or
 * /run/salient/sald.sock, one short connection a call; calls block, at most
 * SAL_TIMEOUT_MS (sal_register() with 'wait': longer).
 *
 * Functions return 0 (or a file descriptor) or a negative errno:
 *
 *     -ECONNREFUSED, -ENOENT  the agent is not there
 *     -ETIMEDOUT              the agent does not answer
 *     -EREMOTEIO              the agent refused; sal_error() says why
 *     -EINVAL                 an argument makes no sense
 *
 * Any thread; no global state but sal_error()'s, which is the thread's. */
#ifndef SALIENT_LIBSAL_H
#define SALIENT_LIBSAL_H 1

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include "ofp-ext/service_id.h"

#define SAL_TIMEOUT_MS 5000
#define SAL_ENDPOINT_LEN 16 /* Octets of an endpoint ID. */

/* The agent's last sentence in this thread; "" if there was none. */
const char *sal_error(void);

/* Service IDs. */

/* As service_prefix_from_name(): "kv.shop.acme" is a /192, whose last 64 bits
 * are free for a key. */
int sal_id_from_name(const char *name, struct service_prefix *);

/* 64 bits of a key's octets (BLAKE2b), spread evenly. */
uint64_t sal_key_of(const void *key, size_t len);

/* Sets the key, bits 192 to 255: '*id' becomes a /256 below what it was.
 * -EINVAL if it is longer than a /192. */
int sal_id_set_key(struct service_prefix *id, uint64_t key);

/* Makes '*id' (a /192) shard 'i' of 2^bits: the keys whose first 'bits' bits
 * are 'i'.  'bits' is 0 to 64.  -EINVAL if 'i' is too large for it. */
int sal_id_set_shard(struct service_prefix *id, uint64_t i, unsigned int bits);

/* Calling. */

/* 'family' is AF_INET, AF_INET6, or AF_UNSPEC for whichever there is, IPv4
 * first.  A host has IPv6 service addresses where the controller says so;
 * -EADDRNOTAVAIL if it has none of the family. */

/* The address that stands for the ID on this host: give it to connect() or
 * sendto().  It stays valid while it is used. */
int sal_resolve(const struct service_prefix *, int family, uint16_t port,
                struct sockaddr_storage *);

/* A connected socket of 'type' (SOCK_STREAM or SOCK_DGRAM, with SOCK_CLOEXEC
 * and SOCK_NONBLOCK if wanted; in the latter case the connection may be under
 * way), or what connect() said.  With AF_UNSPEC the other version of IP is
 * tried if connect() fails. */
int sal_connect_family(const struct service_prefix *, int family, int type,
                       uint16_t port);
/* The same with AF_UNSPEC. */
int sal_connect(const struct service_prefix *, int type, uint16_t port);

/* DATAGRAMs.
 *
 * Where the service's definition (or a route of the agent's) says so, each UDP
 * datagram is resolved by itself: a request may reach another server than the
 * one before, and its answer comes from whichever it was.  Nothing is bound,
 * so there is nothing to wait for.  The service decides, not its callers: for
 * another service the same calls make an ordinary UDP flow. */

/* A socket for datagrams to the service, which are never fragmented. */
int sal_datagram_open_family(const struct service_prefix *, int family,
                             uint16_t port);
/* The same with AF_UNSPEC. */
int sal_datagram_open(const struct service_prefix *, uint16_t port);
/* -EMSGSIZE if an earlier datagram was too large, or this one is:
 * sal_datagram_max() knows how large they may be.  -ECONNREFUSED if an earlier
 * one was refused. */
int sal_datagram_send(int fd, const void *data, size_t len);
/* The largest payload that fits, as far as is known: a service's own limit is
 * known once a datagram was too large.  Or a negative errno. */
int sal_datagram_max(int fd);
/* At a client's socket, or at a server's (sal_listen() with IPPROTO_UDP): the
 * length of the next datagram, and who is to be answered ('from', unless it is
 * NULL).  -ETIMEDOUT if there is none; 'timeout_ms' -1: waits for ever. */
ssize_t sal_datagram_receive(int fd, void *data, size_t size, int timeout_ms,
                             struct sockaddr_storage *from);
/* Of a server. */
int sal_datagram_answer(int fd, const struct sockaddr_storage *to,
                        const void *data, size_t len);

/* Serving. */

struct sal_service {
    struct service_prefix prefix; /* A service, or a shard of one. */
    const char *name;    /* Its name if it is exactly that, else NULL. */
    uint8_t protocol;    /* IPPROTO_TCP or IPPROTO_UDP. */
    uint16_t port;       /* That clients connect to. */
    uint16_t target_port; /* That we listen on; 0: the same. */
    uint32_t weight;     /* 0 to 65535; 0 = no new connections. */
};

/* Registers, or changes, a service of this host.  It stays registered until
 * it is unregistered, also if this program dies.  'wait': until the switches
 * have confirmed. */
int sal_register(const struct sal_service *, bool wait);
int sal_unregister(const struct sal_service *, bool wait);

/* A listening socket for 'service', registered: on target_port, or on a free
 * port if that is 0 ('*service' is updated).  It hears clients of both versions
 * of IP (AF_INET6; IPv4 clients have IPv4-mapped addresses), or is AF_INET
 * where the kernel has no IPv6. */
int sal_listen(struct sal_service *service, int backlog);

/* Who is there. */

struct sal_peer {
    char identity[INET6_ADDRSTRLEN]; /* Inner address of the other end: the
                                      * client's identity address or, if we
                                      * are the client, the service's. */
    char locator[INET6_ADDRSTRLEN];  /* Where it is now, outer address. */
    struct service_prefix service;   /* What was called. */
    bool server;                     /* We are the server. */
    char state[16];                  /* "bound", ... */
    uint8_t endpoint[SAL_ENDPOINT_LEN]; /* Its endpoint ID: the hash of its
                                         * key.  All zero: unknown. */
};

/* Asks about the flow of a connected socket.  -ENOTCONN if the socket is not
 * connected, -ENOENT with sal_error() if it is no flow of Salient's. */
int sal_get_peer(int fd, struct sal_peer *);

/* Moves of running flows to other addresses, ours or the peer's.  Nobody needs
 * to know: connections go on.  Who wants to (to measure the path anew, to
 * tell the user) reads them here. */
struct sal_move {
    char event[16];  /* "moved": ours, confirmed; "peer-moved"; "moving",
                      * "held" (no address is left), "reverted". */
    char reason[16]; /* "lost", "preferred", "command", "silent", ... */
    uint8_t endpoint[SAL_ENDPOINT_LEN]; /* The peer; as in sal_peer. */
    uint64_t flows;  /* How many moved together. */
    char own_locator[56], peer_locator[56]; /* Since the move. */
    int64_t duration_ms;
};

struct sal_moves;

/* Follows the moves from now on.  At most 32 programs of a host do. */
int sal_moves_open(struct sal_moves **);
void sal_moves_close(struct sal_moves *);
/* Readable when there may be some. */
int sal_moves_fd(const struct sal_moves *);
/* 1 with the next one, 0 if there was none within 'timeout_ms',
 * -ECONNRESET if the agent went away. */
int sal_moves_next(struct sal_moves *, unsigned int timeout_ms,
                   struct sal_move *);

#endif /* libsal.h */
