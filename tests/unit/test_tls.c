/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <unistd.h>
#include "proto/tls.h"
#include "tests/unit/certificates.h"

static char folder[64];
static struct authority ca, other_ca;
static struct party server_party, client_party;
static const struct certificate_options server_options = {
    .san = "IP:127.0.0.1,DNS:controller.example", .usage = "serverAuth"};
static const struct certificate_options client_options = {
    .usage = "clientAuth"};

static void
begin(void)
{
    strcpy(folder, "/tmp/salient-tls-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    authority_make(&ca, folder, "ca");
    authority_make(&other_ca, folder, "other-ca");
    party_make(&server_party, folder, "server", &ca, &server_options, NULL);
    party_make(&client_party, folder, "client", &ca, &client_options, NULL);
}

static void
end_test(void)
{
    authority_destroy(&ca);
    authority_destroy(&other_ca);
    party_remove(&server_party);
    party_remove(&client_party);
    CU_ASSERT_EQUAL(rmdir(folder), 0);
}

static struct tls_session *
session(const struct party *party, const struct authority *trusted,
        const char *host)
{
    struct channel_tls tls = party_tls(party, trusted);
    struct tls_context *context;
    char *error = NULL;

    int rc = tls_context_create(&tls, &context, &error);
    if (rc) {
        fprintf(stderr, "%s\n", error);
    }
    CU_ASSERT_EQUAL_FATAL(rc, 0);
    struct tls_session *s = tls_session_create(context, host);
    tls_context_destroy(context);
    return s;
}

/* Moves what 'from' has to say to 'to', 'chunk' bytes at a time.  True if
 * there was anything. */
static bool
pump(struct tls_session *from, struct tls_session *to, size_t chunk)
{
    size_t n = tls_session_pending(from);
    bool any = n > 0;

    while (n) {
        uint8_t bytes[4096];
        size_t part = n < chunk ? n : chunk;
        tls_session_output(from, bytes, part);
        tls_session_feed(to, bytes, part);
        n -= part;
    }
    return any;
}

struct outcome {
    int client, server; /* 1: handshake done. */
    char *client_error, *server_error;
};

static struct outcome
handshake(struct tls_session *client, struct tls_session *server)
{
    struct outcome o = {0, 0, NULL, NULL};

    for (int i = 0; i < 20; i++) {
        if (!o.client) {
            o.client = tls_session_handshake(client, &o.client_error);
        }
        bool any = pump(client, server, 1000);
        if (!o.server) {
            o.server = tls_session_handshake(server, &o.server_error);
        }
        any |= pump(server, client, 1000);
        if (!any) {
            break;
        }
    }
    return o;
}

static void
test_conversation(void)
{
    begin();
    struct tls_session *client = session(&client_party, &ca, "127.0.0.1");
    struct tls_session *server = session(&server_party, &ca, NULL);
    struct outcome o = handshake(client, server);
    CU_ASSERT_EQUAL(o.client, 1);
    CU_ASSERT_EQUAL(o.server, 1);

    /* More than one record, and cut anywhere. */
    static uint8_t sent[100000], got[sizeof sent];
    for (size_t i = 0; i < sizeof sent; i++) {
        sent[i] = unit_random();
    }
    CU_ASSERT_EQUAL(tls_session_write(client, sent, sizeof sent), 0);
    size_t n = 0;
    char *error = NULL;
    while (tls_session_pending(client)) {
        uint8_t bytes[3000];
        size_t part = 1 + unit_random_below(sizeof bytes);
        if (part > tls_session_pending(client)) {
            part = tls_session_pending(client);
        }
        tls_session_output(client, bytes, part);
        tls_session_feed(server, bytes, part);
        int rc;
        while ((rc = tls_session_read(server, got + n, sizeof got - n,
                                      &error)) > 0) {
            n += rc;
        }
        CU_ASSERT_EQUAL(rc, 0);
    }
    CU_ASSERT_EQUAL(n, sizeof sent);
    CU_ASSERT_EQUAL(memcmp(sent, got, sizeof sent), 0);

    tls_session_end(client);
    pump(client, server, 1);
    CU_ASSERT_EQUAL(tls_session_read(server, got, 10, &error), -ENOTCONN);
    tls_session_destroy(client);
    tls_session_destroy(server);
    tls_session_destroy(NULL);
    end_test();
}

/* 'client' and 'server' say what they are; the errors are looked for in what
 * each side says. */
static void
check(const struct party *client_p, const struct authority *client_trusts,
      const char *host, const struct party *server_p,
      const char *client_error)
{
    struct tls_session *client = session(client_p, client_trusts, host);
    struct tls_session *server = session(server_p, &ca, NULL);
    struct outcome o = handshake(client, server);

    if (!client_error) {
        CU_ASSERT(o.client == 1 && o.server == 1);
    } else if (o.client != -EPROTO || !strstr(o.client_error, client_error)) {
        fprintf(stderr, "got      %s\nexpected %s\n",
                o.client_error ? o.client_error : "none", client_error);
        CU_FAIL("wrong client error");
    }
    CU_ASSERT(client_error ? o.server != 1 : true);
    free(o.client_error);
    free(o.server_error);
    tls_session_destroy(client);
    tls_session_destroy(server);
}

static void
test_client_checks_server(void)
{
    struct party party;
    struct certificate_options options = server_options;

    begin();
    check(&client_party, &ca, "127.0.0.1", &server_party, NULL);
    check(&client_party, &ca, "controller.example", &server_party, NULL);
    check(&client_party, &ca, "127.0.0.2", &server_party,
          "IP address mismatch");
    check(&client_party, &ca, "example", &server_party, "hostname mismatch");
    check(&client_party, &other_ca, "127.0.0.1", &server_party,
          "unable to get local issuer certificate");

    /* An agent's certificate makes no controller. */
    options.usage = "clientAuth";
    party_make(&party, folder, "party", &ca, &options, NULL);
    check(&client_party, &ca, "127.0.0.1", &party,
          "unsuitable certificate purpose");
    options = server_options;
    options.expired = true;
    party_make(&party, folder, "party", &ca, &options, NULL);
    check(&client_party, &ca, "127.0.0.1", &party, "certificate has expired");
    party_make(&party, folder, "party", &other_ca, &server_options, NULL);
    check(&client_party, &ca, "127.0.0.1", &party,
          "unable to get local issuer certificate");
    party_remove(&party);
    end_test();
}

/* In TLS 1.3 a client learns only afterwards that its certificate is refused:
 * its handshake is done before the server looks. */
static void
check_server_refuses(const struct party *client_p, const char *server_error)
{
    struct tls_session *client = session(client_p, &ca, "127.0.0.1");
    struct tls_session *server = session(&server_party, &ca, NULL);
    struct outcome o = handshake(client, server);

    CU_ASSERT_EQUAL(o.client, 1);
    CU_ASSERT_EQUAL(o.server, -EPROTO);
    if (!o.server_error || !strstr(o.server_error, server_error)) {
        fprintf(stderr, "got      %s\nexpected %s\n",
                o.server_error ? o.server_error : "none", server_error);
        CU_FAIL("wrong server error");
    }
    char byte, *error = NULL;
    CU_ASSERT_EQUAL(tls_session_read(client, &byte, 1, &error), -EPROTO);
    CU_ASSERT_PTR_NOT_NULL(error);
    free(error);
    free(o.server_error);
    tls_session_destroy(client);
    tls_session_destroy(server);
}

static void
test_server_checks_client(void)
{
    struct certificate_options options = client_options;
    struct party party;

    begin();
    party_make(&party, folder, "party", &other_ca, &client_options, NULL);
    check_server_refuses(&party, "unable to get local issuer certificate");
    options.expired = true;
    party_make(&party, folder, "party", &ca, &options, NULL);
    check_server_refuses(&party, "certificate has expired");
    party_make(&party, folder, "party", &ca, &server_options, NULL);
    check_server_refuses(&party, "unsuitable certificate purpose");
    party_remove(&party);
    end_test();
}

/* A client of OpenSSL's own, perhaps without a certificate or with old TLS. */
static void
check_raw_client(bool certificate, int max_version, int expected)
{
    SSL_CTX *ssl_ctx = SSL_CTX_new(TLS_client_method());
    if (certificate) {
        SSL_CTX_use_certificate_chain_file(ssl_ctx, client_party.certificate);
        SSL_CTX_use_PrivateKey_file(ssl_ctx, client_party.key,
                                    SSL_FILETYPE_PEM);
    }
    SSL_CTX_set_max_proto_version(ssl_ctx, max_version);
    SSL *ssl = SSL_new(ssl_ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    struct tls_session *server = session(&server_party, &ca, NULL);
    char *error = NULL;
    int rc = 0;

    SSL_set_bio(ssl, in, out);
    for (int i = 0; i < 10 && !rc; i++) {
        uint8_t bytes[16384];
        SSL_connect(ssl);
        int n = BIO_read(out, bytes, sizeof bytes);
        if (n > 0) {
            tls_session_feed(server, bytes, n);
        }
        rc = tls_session_handshake(server, &error);
        size_t pending = tls_session_pending(server);
        CU_ASSERT_FATAL(pending <= sizeof bytes);
        tls_session_output(server, bytes, pending);
        if (pending) {
            BIO_write(in, bytes, pending);
        }
    }
    CU_ASSERT_EQUAL(rc, expected);
    free(error);
    tls_session_destroy(server);
    SSL_free(ssl);
    SSL_CTX_free(ssl_ctx);
}

static void
test_strangers(void)
{
    begin();
    check_raw_client(true, TLS1_3_VERSION, 1);
    check_raw_client(false, TLS1_3_VERSION, -EPROTO);
    check_raw_client(true, TLS1_2_VERSION, -EPROTO);

    for (int i = 0; i < 300; i++) {
        struct tls_session *server = session(&server_party, &ca, NULL);
        uint8_t bytes[200];
        char *error = NULL;
        size_t n = unit_random_below(sizeof bytes);
        for (size_t j = 0; j < n; j++) {
            bytes[j] = unit_random();
        }
        if (n > 5 && i % 2) {
            memcpy(bytes, "\x16\x03\x01\x00\x80", 5); /* Handshake record. */
        }
        tls_session_feed(server, bytes, n);
        CU_ASSERT(tls_session_handshake(server, &error) <= 0);
        free(error);
        error = NULL;
        CU_ASSERT(tls_session_read(server, bytes, 10, &error) <= 0);
        CU_ASSERT_NOT_EQUAL(tls_session_write(server, bytes, 10), 0);
        free(error);
        tls_session_destroy(server);
    }
    end_test();
}

static void
check_context(const char *certificate, const char *key, const char *ca_file,
              const char *expected)
{
    struct channel_tls tls = {certificate, key, ca_file};
    struct tls_context *context;
    char *error = NULL;

    CU_ASSERT_EQUAL(tls_context_create(&tls, &context, &error), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(error);
    if (!strstr(error, expected)) {
        fprintf(stderr, "got      %s\nexpected %s\n", error, expected);
        CU_FAIL("wrong sentence");
    }
    free(error);
}

static void
test_bad_files(void)
{
    struct party locked;
    const char *c = server_party.certificate, *k = server_party.key;

    begin();
    party_make(&locked, folder, "locked", &ca, &server_options, "secret");
    check_context(NULL, k, ca.file, "TLS needs three files");
    check_context("/nonexistent", k, ca.file, "cannot use \"/nonexistent\" as "
                  "TLS certificate: No such file or directory");
    check_context(c, "/nonexistent", ca.file, "as TLS private key: ");
    check_context(c, k, "/nonexistent", "as TLS CA: ");
    check_context(c, client_party.key, ca.file, "as TLS private key: key "
                  "values mismatch");
    check_context(k, k, ca.file, "as TLS certificate: no start line");
    /* Nobody is asked for a passphrase. */
    check_context(locked.certificate, locked.key, ca.file,
                  "as TLS private key: ");
    party_remove(&locked);
    end_test();
    tls_context_destroy(NULL);
}

UNIT_MAIN("tls", UNIT_TEST(test_conversation),
          UNIT_TEST(test_client_checks_server),
          UNIT_TEST(test_server_checks_client), UNIT_TEST(test_strangers),
          UNIT_TEST(test_bad_files))
