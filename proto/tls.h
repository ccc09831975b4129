/* SPDX-License-Identifier: Apache-2.0 */
/* TLS 1.3 with certificates on both sides, as a transformer of bytes: it
 * reads its three PEM files once and does no other I/O.
 *
 * The peer's certificate must be signed by the CA, valid today and made for
 * its part (extended key usage, if it has one).  Who connects also checks that
 * the certificate names the host it meant to reach (subjectAltName).  There is
 * no resumption: each connection shows its certificates.
 *
 * One thread at a time per object. */
#ifndef SALIENT_TLS_H
#define SALIENT_TLS_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct channel_tls;
struct tls_context;
struct tls_session;

/* 0 or negative errno with '*ret_error', a malloced sentence. */
int tls_context_create(const struct channel_tls *, struct tls_context **,
                       char **ret_error);
/* Sessions made with it live on. */
void tls_context_destroy(struct tls_context *);

/* 'host' is the name or address to be reached; NULL makes the server. */
struct tls_session *tls_session_create(struct tls_context *, const char *host);
void tls_session_destroy(struct tls_session *);

/* Takes bytes that came from the network. */
void tls_session_feed(struct tls_session *, const void *, size_t n);

/* 1: the handshake is done.  0: it needs more from the peer.  -EPROTO with
 * '*ret_error', a malloced clause. */
int tls_session_handshake(struct tls_session *, char **ret_error);

/* Bytes stored in 'buf' (1..'n'), 0 if more is needed from the network,
 * -ENOTCONN if the peer said goodbye, -EPROTO with '*ret_error'. */
int tls_session_read(struct tls_session *, void *buf, size_t n,
                     char **ret_error);

/* Encrypts.  0, or -EPROTO if the session failed before. */
int tls_session_write(struct tls_session *, const void *, size_t n);

/* Says goodbye. */
void tls_session_end(struct tls_session *);

/* Bytes that wait to be sent; tls_session_output() takes 'n' of them, no more
 * than there are. */
size_t tls_session_pending(const struct tls_session *);
void tls_session_output(struct tls_session *, void *buf, size_t n);

#endif /* tls.h */
