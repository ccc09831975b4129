/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "openvswitch/util.h"
#include "openvswitch/dynamic-string.h"
#include "util.h"

/* What is hashed is told apart by these, so that no value made for one purpose
 * serves another. */
#define SESSION_LABEL "salient.v1 session key"
#define PROOF_LABEL "salient.v1 proof"
#define MAC_LABEL "salient.v1 mac"

BUILD_ASSERT_DECL(SAL_PUBLIC_KEY_LEN == crypto_scalarmult_BYTES);
BUILD_ASSERT_DECL(IDENTITY_SECRET_LEN == crypto_scalarmult_SCALARBYTES);

static void
crypto_init(void)
{
    /* Cheap and thread-safe when it was done before. */
    ovs_assert(sodium_init() >= 0);
}

/* Fills in what follows from the secret key. */
static void
derive(struct identity *identity)
{
    crypto_scalarmult_base(identity->public_key, identity->secret_key);
    identity_endpoint_id(identity->public_key, identity->endpoint_id);
}

void
identity_generate(struct identity *identity)
{
    crypto_init();
    randombytes_buf(identity->secret_key, sizeof identity->secret_key);
    derive(identity);
}

void
identity_clear(struct identity *identity)
{
    sodium_memzero(identity, sizeof *identity);
}

/* Reads exactly a key from 'fd'. */
static int
read_secret(int fd, uint8_t secret[IDENTITY_SECRET_LEN])
{
    struct stat st;
    if (fstat(fd, &st)) {
        return -errno;
    }
    if (!S_ISREG(st.st_mode) || st.st_size != IDENTITY_SECRET_LEN) {
        return -EINVAL;
    }
    if (st.st_mode & 077) {
        return -EPERM;
    }
    ssize_t n = read(fd, secret, IDENTITY_SECRET_LEN);
    if (n < 0) {
        return -errno;
    }
    /* A crash between create and write leaves zeros on some file systems. */
    return n == IDENTITY_SECRET_LEN && !sodium_is_zero(secret, n) ? 0
                                                                  : -EINVAL;
}

static int
load_secret(const char *path, uint8_t secret[IDENTITY_SECRET_LEN])
{
    /* O_NONBLOCK: somebody's FIFO must not hold us. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return errno == ELOOP ? -EINVAL : -errno;
    }
    int error = read_secret(fd, secret);
    close(fd);
    return error;
}

static int
write_all(int fd, const void *data, size_t n)
{
    ssize_t written = write(fd, data, n);
    if (written < 0) {
        return -errno;
    }
    if (written != n) {
        return -EIO;
    }
    return fsync(fd) ? -errno : 0;
}

/* Makes the new name in the folder of 'path' survive a power failure. */
static void
sync_folder_of(const char *path)
{
    char *folder = dir_name(path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0) {
        ignore(fsync(fd));
        close(fd);
    }
    free(folder);
}

/* Writes the key under another name and links it to 'path', which so is whole
 * or absent.  -EEXIST if somebody else was faster. */
static int
store_secret(const char *path, const uint8_t secret[IDENTITY_SECRET_LEN])
{
    char *temporary = xasprintf("%s.XXXXXX", path);
    int fd = mkostemp(temporary, O_CLOEXEC); /* Mode 0600. */
    int error = fd < 0 ? -errno : 0;

    if (!error) {
        error = write_all(fd, secret, IDENTITY_SECRET_LEN);
        close(fd);
        if (!error && link(temporary, path)) {
            error = -errno;
        }
        unlink(temporary);
        if (!error) {
            sync_folder_of(path);
        }
    }
    free(temporary);
    return error;
}

int
identity_load(const char *path, struct identity *ret_identity)
{
    struct identity identity;

    crypto_init();
    int error = load_secret(path, identity.secret_key);
    if (error == -ENOENT) {
        randombytes_buf(identity.secret_key, sizeof identity.secret_key);
        error = store_secret(path, identity.secret_key);
        if (error == -EEXIST) {
            error = load_secret(path, identity.secret_key);
        }
    }
    if (!error) {
        derive(&identity);
        *ret_identity = identity;
    }
    identity_clear(&identity);
    return error;
}

void
identity_endpoint_id(const uint8_t public_key[SAL_PUBLIC_KEY_LEN],
                     uint8_t ret_endpoint_id[SAL_ENDPOINT_ID_LEN])
{
    crypto_init();
    crypto_generichash(ret_endpoint_id, SAL_ENDPOINT_ID_LEN, public_key,
                       SAL_PUBLIC_KEY_LEN, NULL, 0);
}

int
identity_session_key(const struct identity *self,
                     const uint8_t peer_public_key[SAL_PUBLIC_KEY_LEN],
                     const uint8_t nonce[IDENTITY_NONCE_LEN], bool initiator,
                     uint8_t ret_key[IDENTITY_SESSION_KEY_LEN])
{
    const uint8_t *hello_key = initiator ? self->public_key : peer_public_key;
    const uint8_t *reply_key = initiator ? peer_public_key : self->public_key;
    uint8_t shared[crypto_scalarmult_BYTES];

    crypto_init();
    if (crypto_scalarmult(shared, self->secret_key, peer_public_key)) {
        return -EINVAL;
    }

    /* RFC 7748, section 6.1: both public keys go into the hash, because the
     * shared secret alone does not say between whom it is. */
    crypto_generichash_state state;
    crypto_generichash_init(&state, shared, sizeof shared,
                            IDENTITY_SESSION_KEY_LEN);
    crypto_generichash_update(&state, (const uint8_t *) SESSION_LABEL,
                              sizeof SESSION_LABEL);
    crypto_generichash_update(&state, hello_key, SAL_PUBLIC_KEY_LEN);
    crypto_generichash_update(&state, reply_key, SAL_PUBLIC_KEY_LEN);
    crypto_generichash_update(&state, nonce, IDENTITY_NONCE_LEN);
    crypto_generichash_final(&state, ret_key, IDENTITY_SESSION_KEY_LEN);

    sodium_memzero(&state, sizeof state);
    sodium_memzero(shared, sizeof shared);
    return 0;
}

void
identity_proof(const uint8_t key[IDENTITY_SESSION_KEY_LEN],
               uint8_t ret_proof[IDENTITY_PROOF_LEN])
{
    crypto_init();
    crypto_generichash(ret_proof, IDENTITY_PROOF_LEN,
                       (const uint8_t *) PROOF_LABEL, sizeof PROOF_LABEL, key,
                       IDENTITY_SESSION_KEY_LEN);
}

bool
identity_proof_verify(const uint8_t key[IDENTITY_SESSION_KEY_LEN],
                      const uint8_t proof[IDENTITY_PROOF_LEN])
{
    uint8_t expected[IDENTITY_PROOF_LEN];

    identity_proof(key, expected);
    bool equal = !sodium_memcmp(expected, proof, sizeof expected);
    sodium_memzero(expected, sizeof expected);
    return equal;
}

void
identity_mac(const uint8_t key[IDENTITY_SESSION_KEY_LEN], const void *data,
             size_t len, uint8_t ret_mac[IDENTITY_MAC_LEN])
{
    crypto_generichash_state state;

    crypto_init();
    crypto_generichash_init(&state, key, IDENTITY_SESSION_KEY_LEN,
                            IDENTITY_MAC_LEN);
    crypto_generichash_update(&state, (const uint8_t *) MAC_LABEL,
                              sizeof MAC_LABEL);
    crypto_generichash_update(&state, data, len);
    crypto_generichash_final(&state, ret_mac, IDENTITY_MAC_LEN);
    sodium_memzero(&state, sizeof state);
}
