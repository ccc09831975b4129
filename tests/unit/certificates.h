/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a certificate authority and certificates below a temporary folder, for
 * tests of TLS. */
#ifndef SALIENT_CERTIFICATES_H
#define SALIENT_CERTIFICATES_H 1

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include "proto/channel.h"
#include "tests/unit/unit.h"

struct authority {
    EVP_PKEY *key;
    X509 *certificate;
    char file[128];
};

/* Certificate and key files of one party. */
struct party {
    char certificate[128], key[128];
};

struct certificate_options {
    const char *san;   /* "IP:127.0.0.1", "DNS:host", or NULL. */
    const char *usage; /* "serverAuth", "clientAuth", or NULL. */
    bool expired;
};

static inline void
certificate_extend(X509 *certificate, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, NULL, nid, value);
    CU_ASSERT_PTR_NOT_NULL_FATAL(extension);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

/* Signed by 'ca', or by itself. */
static inline X509 *
certificate_make(EVP_PKEY *key, const char *name, const struct authority *ca,
                 const struct certificate_options *options)
{
    X509 *certificate = X509_new();
    X509_NAME *subject = X509_get_subject_name(certificate);

    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate),
                     1 + unit_random_below(1 << 30));
    X509_gmtime_adj(X509_getm_notBefore(certificate), -7200);
    X509_gmtime_adj(X509_getm_notAfter(certificate),
                    options->expired ? -3600 : 3600);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               (const unsigned char *) name, -1, -1, 0);
    X509_set_issuer_name(certificate, ca ? X509_get_subject_name(
                                               ca->certificate) : subject);
    X509_set_pubkey(certificate, key);
    certificate_extend(certificate, NID_basic_constraints,
                       ca ? "critical,CA:FALSE" : "critical,CA:TRUE");
    if (options->san) {
        certificate_extend(certificate, NID_subject_alt_name, options->san);
    }
    if (options->usage) {
        certificate_extend(certificate, NID_ext_key_usage, options->usage);
    }
    CU_ASSERT_FATAL(X509_sign(certificate, ca ? ca->key : key,
                              EVP_sha256()) > 0);
    return certificate;
}

static inline void
certificate_write(const char *file, X509 *certificate)
{
    FILE *stream = fopen(file, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    PEM_write_X509(stream, certificate);
    fclose(stream);
}

static inline void
authority_make(struct authority *ca, const char *folder, const char *name)
{
    const struct certificate_options options = {.san = NULL};

    ca->key = EVP_EC_gen("P-256");
    ca->certificate = certificate_make(ca->key, name, NULL, &options);
    snprintf(ca->file, sizeof ca->file, "%s/%s.pem", folder, name);
    certificate_write(ca->file, ca->certificate);
}

static inline void
authority_destroy(struct authority *ca)
{
    EVP_PKEY_free(ca->key);
    X509_free(ca->certificate);
    remove(ca->file);
}

/* 'passphrase' may be NULL. */
static inline void
party_make(struct party *party, const char *folder, const char *name,
           const struct authority *ca,
           const struct certificate_options *options, const char *passphrase)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = certificate_make(key, name, ca, options);

    snprintf(party->certificate, sizeof party->certificate, "%s/%s.pem",
             folder, name);
    snprintf(party->key, sizeof party->key, "%s/%s.key", folder, name);
    certificate_write(party->certificate, certificate);
    FILE *stream = fopen(party->key, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    PEM_write_PrivateKey(stream, key, passphrase ? EVP_aes_128_cbc() : NULL,
                         NULL, 0, NULL, (void *) passphrase);
    fclose(stream);
    EVP_PKEY_free(key);
    X509_free(certificate);
}

static inline void
party_remove(const struct party *party)
{
    remove(party->certificate);
    remove(party->key);
}

static inline struct channel_tls
party_tls(const struct party *party, const struct authority *ca)
{
    struct channel_tls tls = {party->certificate, party->key, ca->file};
    return tls;
}

#endif /* certificates.h */
