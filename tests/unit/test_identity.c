/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>
#include "proto/identity.h"

static char folder[64];
static char path[128];

static void
folder_make(void)
{
    strcpy(folder, "/tmp/salient-identity-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/key", folder);
}

static void
folder_remove(void)
{
    unlink(path);
    /* Fails if a temporary file was left behind. */
    CU_ASSERT_EQUAL(rmdir(folder), 0);
}

static void
write_key(const void *data, size_t n, mode_t mode)
{
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fwrite(data, 1, n, file), n);
    fclose(file);
    CU_ASSERT_EQUAL(chmod(path, mode), 0);
}

static void
test_load_makes_and_keeps(void)
{
    struct identity first, again;
    struct stat st;

    folder_make();
    CU_ASSERT_EQUAL(identity_load(path, &first), 0);
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
    CU_ASSERT_EQUAL(st.st_size, IDENTITY_SECRET_LEN);
    CU_ASSERT_EQUAL(identity_load(path, &again), 0);
    CU_ASSERT_EQUAL(memcmp(&first, &again, sizeof first), 0);
    folder_remove();

    folder_make();
    CU_ASSERT_EQUAL(identity_load(path, &again), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(&first, &again, sizeof first), 0);
    folder_remove();
}

static void
test_load_refuses(void)
{
    static const uint8_t zero[IDENTITY_SECRET_LEN];
    uint8_t key[IDENTITY_SECRET_LEN + 1];
    struct identity identity;

    memset(key, 7, sizeof key);
    folder_make();
    write_key(key, IDENTITY_SECRET_LEN, 0400);
    CU_ASSERT_EQUAL(identity_load(path, &identity), 0);
    struct identity before = identity;

    write_key(key, IDENTITY_SECRET_LEN, 0640);
    CU_ASSERT_EQUAL(identity_load(path, &identity), -EPERM);
    write_key(key, IDENTITY_SECRET_LEN, 0604);
    CU_ASSERT_EQUAL(identity_load(path, &identity), -EPERM);
    write_key(key, IDENTITY_SECRET_LEN - 1, 0600);
    CU_ASSERT_EQUAL(identity_load(path, &identity), -EINVAL);
    write_key(key, IDENTITY_SECRET_LEN + 1, 0600);
    CU_ASSERT_EQUAL(identity_load(path, &identity), -EINVAL);
    write_key(zero, sizeof zero, 0600);
    CU_ASSERT_EQUAL(identity_load(path, &identity), -EINVAL);
    unlink(path);
    CU_ASSERT_EQUAL(symlink("/dev/zero", path), 0);
    CU_ASSERT_EQUAL(identity_load(path, &identity), -EINVAL);
    unlink(path);
    CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
    CU_ASSERT_EQUAL(identity_load(path, &identity), -EINVAL);

    /* Failures leave the result alone. */
    CU_ASSERT_EQUAL(memcmp(&before, &identity, sizeof before), 0);
    folder_remove();

    CU_ASSERT_EQUAL(identity_load("/nonexistent/key", &identity), -ENOENT);
}

static void
test_endpoint_id(void)
{
    /* RFC 7748, section 6.1: Alice's key pair. */
    static const uint8_t secret[IDENTITY_SECRET_LEN] = {
        0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1,
        0x72, 0x51, 0xb2, 0x66, 0x45, 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0,
        0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a};
    static const uint8_t public_start[] = {0x85, 0x20, 0xf0, 0x09};
    struct identity identity;
    uint8_t id[SAL_ENDPOINT_ID_LEN], digest[SAL_ENDPOINT_ID_LEN];

    folder_make();
    write_key(secret, sizeof secret, 0600);
    CU_ASSERT_EQUAL(identity_load(path, &identity), 0);
    CU_ASSERT_EQUAL(memcmp(identity.public_key, public_start, 4), 0);
    crypto_generichash(digest, sizeof digest, identity.public_key,
                       SAL_PUBLIC_KEY_LEN, NULL, 0);
    identity_endpoint_id(identity.public_key, id);
    CU_ASSERT_EQUAL(memcmp(id, digest, sizeof id), 0);
    CU_ASSERT_EQUAL(memcmp(id, identity.endpoint_id, sizeof id), 0);
    folder_remove();

    identity_clear(&identity);
    CU_ASSERT(sodium_is_zero((void *) &identity, sizeof identity));
}

/* Both sides of a session come to the same key; nobody else does. */
static void
test_session(void)
{
    struct identity agent, controller, eve;
    uint8_t nonce[IDENTITY_NONCE_LEN] = {1}, other_nonce[sizeof nonce] = {2};
    uint8_t a[IDENTITY_SESSION_KEY_LEN], b[sizeof a], c[sizeof a];

    identity_generate(&agent);
    identity_generate(&controller);
    identity_generate(&eve);
    CU_ASSERT_EQUAL(identity_session_key(&agent, controller.public_key, nonce,
                                         true, a), 0);
    CU_ASSERT_EQUAL(identity_session_key(&controller, agent.public_key, nonce,
                                         false, b), 0);
    CU_ASSERT_EQUAL(memcmp(a, b, sizeof a), 0);

    uint8_t proof[IDENTITY_PROOF_LEN];
    identity_proof(a, proof);
    CU_ASSERT(identity_proof_verify(b, proof));
    for (int i = 0; i < 8 * IDENTITY_PROOF_LEN; i++) {
        proof[i / 8] ^= 1 << i % 8;
        CU_ASSERT_FALSE(identity_proof_verify(b, proof));
        proof[i / 8] ^= 1 << i % 8;
    }

    /* Eve claims the agent's key, or replays in another session, or both
     * sides play the same part. */
    CU_ASSERT_EQUAL(identity_session_key(&eve, controller.public_key, nonce,
                                         true, c), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(a, c, sizeof a), 0);
    CU_ASSERT_EQUAL(identity_session_key(&agent, controller.public_key,
                                         other_nonce, true, c), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(a, c, sizeof a), 0);
    CU_ASSERT_EQUAL(identity_session_key(&agent, controller.public_key, nonce,
                                         false, c), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(a, c, sizeof a), 0);
}

static void
test_low_order_keys(void)
{
    static const uint8_t low[][SAL_PUBLIC_KEY_LEN] = {{0}, {1}};
    struct identity identity;
    uint8_t nonce[IDENTITY_NONCE_LEN] = {0}, key[IDENTITY_SESSION_KEY_LEN];

    identity_generate(&identity);
    for (size_t i = 0; i < sizeof low / sizeof low[0]; i++) {
        CU_ASSERT_EQUAL(identity_session_key(&identity, low[i], nonce, true,
                                             key), -EINVAL);
    }
}

static void
test_mac(void)
{
    uint8_t key[IDENTITY_SESSION_KEY_LEN], mac[IDENTITY_MAC_LEN];
    uint8_t other[IDENTITY_MAC_LEN], data[100] = {0};

    memset(key, 3, sizeof key);
    identity_mac(key, data, sizeof data, mac);
    identity_mac(key, data, sizeof data, other);
    CU_ASSERT_EQUAL(memcmp(mac, other, sizeof mac), 0);
    for (int i = 0; i < 8 * sizeof data; i++) {
        data[i / 8] ^= 1 << i % 8;
        identity_mac(key, data, sizeof data, other);
        CU_ASSERT_NOT_EQUAL(memcmp(mac, other, sizeof mac), 0);
        data[i / 8] ^= 1 << i % 8;
    }
    identity_mac(key, data, sizeof data - 1, other);
    CU_ASSERT_NOT_EQUAL(memcmp(mac, other, sizeof mac), 0);
    key[0] ^= 1;
    identity_mac(key, data, sizeof data, other);
    CU_ASSERT_NOT_EQUAL(memcmp(mac, other, sizeof mac), 0);
}

UNIT_MAIN("identity", UNIT_TEST(test_load_makes_and_keeps),
          UNIT_TEST(test_load_refuses), UNIT_TEST(test_endpoint_id),
          UNIT_TEST(test_session), UNIT_TEST(test_low_order_keys),
          UNIT_TEST(test_mac))
