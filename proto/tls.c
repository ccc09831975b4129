/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include "proto/channel.h"
#include "util.h"

struct tls_context {
    SSL_CTX *ssl_ctx;
};

struct tls_session {
    SSL *ssl;
    BIO *in, *out; /* Owned by 'ssl'. */
};

/* What OpenSSL met first, the cause of the rest; empties its queue. */
static const char *
first_error(void)
{
    unsigned long int code = ERR_peek_error();
    const char *reason = NULL;

    if (code) {
        reason = ERR_SYSTEM_ERROR(code) ? ovs_strerror(ERR_GET_REASON(code))
                                        : ERR_reason_error_string(code);
    }
    ERR_clear_error();
    return reason ? reason : "unknown error";
}

static int
file_error(const char *path, const char *part, char **ret_error)
{
    *ret_error = xasprintf("cannot use \"%s\" as TLS %s: %s", path, part,
                           first_error());
    return -EINVAL;
}

/* A daemon has nobody to ask for a passphrase. */
static int
no_passphrase(char *buf, int size, int writing, void *aux)
{
    return -1;
}

static int
load_files(SSL_CTX *ssl_ctx, const struct channel_tls *tls, char **ret_error)
{
    if (SSL_CTX_use_certificate_chain_file(ssl_ctx, tls->certificate) != 1) {
        return file_error(tls->certificate, "certificate", ret_error);
    }
    /* Checks too that it is the certificate's key. */
    if (SSL_CTX_use_PrivateKey_file(ssl_ctx, tls->private_key,
                                    SSL_FILETYPE_PEM) != 1) {
        return file_error(tls->private_key, "private key", ret_error);
    }
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(tls->ca);
    if (!names || SSL_CTX_load_verify_file(ssl_ctx, tls->ca) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return file_error(tls->ca, "CA", ret_error);
    }
    SSL_CTX_set_client_CA_list(ssl_ctx, names);
    return 0;
}

int
tls_context_create(const struct channel_tls *tls,
                   struct tls_context **ret_context, char **ret_error)
{
    if (!tls || !tls->certificate || !tls->private_key || !tls->ca) {
        *ret_error = xstrdup("TLS needs three files: a certificate, its "
                             "private key and the CA's certificate");
        return -EINVAL;
    }

    ERR_clear_error();
    SSL_CTX *ssl_ctx = SSL_CTX_new(TLS_method());
    ovs_assert(ssl_ctx);
    SSL_CTX_set_min_proto_version(ssl_ctx, TLS1_3_VERSION);
    SSL_CTX_set_verify(ssl_ctx,
                       SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       NULL);
    SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ssl_ctx, 0);
    SSL_CTX_set_mode(ssl_ctx, SSL_MODE_RELEASE_BUFFERS
                              | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_default_passwd_cb(ssl_ctx, no_passphrase);
    int error = load_files(ssl_ctx, tls, ret_error);
    if (error) {
        SSL_CTX_free(ssl_ctx);
        return error;
    }
    *ret_context = xmalloc(sizeof **ret_context);
    (*ret_context)->ssl_ctx = ssl_ctx;
    return 0;
}

void
tls_context_destroy(struct tls_context *context)
{
    if (context) {
        SSL_CTX_free(context->ssl_ctx);
        free(context);
    }
}

/* The peer's certificate must be 'host''s. */
static void
expect_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    char *address = xmemdup0(host, strcspn(host, "%")); /* fe80::1%eth0 */

    if (X509_VERIFY_PARAM_set1_ip_asc(param, address) != 1) {
        ovs_assert(SSL_set1_host(ssl, host));
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        SSL_set_tlsext_host_name(ssl, host);
    }
    ERR_clear_error();
    free(address);
}

struct tls_session *
tls_session_create(struct tls_context *context, const char *host)
{
    struct tls_session *session = xmalloc(sizeof *session);

    session->ssl = SSL_new(context->ssl_ctx);
    session->in = BIO_new(BIO_s_mem());
    session->out = BIO_new(BIO_s_mem());
    ovs_assert(session->ssl && session->in && session->out);
    SSL_set_bio(session->ssl, session->in, session->out);
    if (host) {
        SSL_set_connect_state(session->ssl);
        expect_host(session->ssl, host);
    } else {
        SSL_set_accept_state(session->ssl);
    }
    return session;
}

void
tls_session_destroy(struct tls_session *session)
{
    if (session) {
        SSL_free(session->ssl);
        free(session);
    }
}

void
tls_session_feed(struct tls_session *session, const void *data, size_t n)
{
    ovs_assert(n <= INT_MAX && BIO_write(session->in, data, n) == n);
}

static int
fail(struct tls_session *session, char **ret_error)
{
    long int verify = SSL_get_verify_result(session->ssl);

    if (verify != X509_V_OK) {
        ERR_clear_error();
        *ret_error = xasprintf("the peer's certificate is refused: %s",
                               X509_verify_cert_error_string(verify));
    } else {
        *ret_error = xasprintf("TLS failed: %s", first_error());
    }
    return -EPROTO;
}

int
tls_session_handshake(struct tls_session *session, char **ret_error)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(session->ssl);
    if (rc == 1) {
        return 1;
    }
    return SSL_get_error(session->ssl, rc) == SSL_ERROR_WANT_READ
           ? 0 : fail(session, ret_error);
}

int
tls_session_read(struct tls_session *session, void *buf, size_t n,
                 char **ret_error)
{
    ERR_clear_error();
    int rc = SSL_read(session->ssl, buf, MIN(n, INT_MAX));
    if (rc > 0) {
        return rc;
    }
    switch (SSL_get_error(session->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return -ENOTCONN;
    default:
        return fail(session, ret_error);
    }
}

int
tls_session_write(struct tls_session *session, const void *data, size_t n)
{
    size_t written;

    /* The memory behind it takes everything, and so SSL_write() does. */
    ERR_clear_error();
    bool done = SSL_write_ex(session->ssl, data, n, &written) == 1
                && written == n;
    ERR_clear_error();
    return done ? 0 : -EPROTO;
}

void
tls_session_end(struct tls_session *session)
{
    ERR_clear_error();
    SSL_shutdown(session->ssl);
    ERR_clear_error();
}

size_t
tls_session_pending(const struct tls_session *session)
{
    return BIO_ctrl_pending(session->out);
}

void
tls_session_output(struct tls_session *session, void *buf, size_t n)
{
    ovs_assert(!n || (n <= INT_MAX && BIO_read(session->out, buf, n) == n));
}
